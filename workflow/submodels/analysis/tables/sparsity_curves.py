"""Accuracy against the share of weights pruned, by domain of the benchmarks."""

from collections.abc import Callable

import pandas as pd

from submodels.analysis.formats import interval, not_run, percent
from submodels.analysis.study import CalibrationSet, Setting, Study
from submodels.analysis.tables.shared import LEVEL, Table, level, mean_level, setting_columns, with_remarks
from submodels.pruning import patterns
from submodels.terms import CONTROL, DENSE, GENERIC

CAPTION = "Accuracy against sparsity."
RANDOM_TOKENS = "random tokens"  # name of the control's series


def compute(study: Study) -> pd.DataFrame:
    """Accuracy of each domain by pruned fraction: matched, unmatched, generic and control sets, and methods without."""
    rows = []
    for model in study.models:
        for domain in study.domains():
            benchmarks = study.scored(model, domain)
            base = {"model": model, "domain": domain, "n_benchmarks": len(benchmarks)}
            base |= {"remarks": study.remarks(benchmarks)}
            rows.append(
                base
                | {"method": "none", "series": DENSE, "sparsity": None, "pruned_fraction": 0.0}
                | level(study, model, [DENSE], benchmarks)
            )
            for setting in study.compared(model):
                at = {"sparsity": setting.sparsity, "pruned_fraction": setting.pruned_fraction}
                for name, of_benchmark in _series(study, model, setting).items():
                    items = [study.set_items(model, setting, of_benchmark(name), name) for name in benchmarks]
                    if all(map(len, items)):  # empty where the setting has no such set
                        row = base | setting.columns | {"series": name} | at
                        rows.append(row | mean_level(study, items))
            for (method, sparsity), ids in study.without_calibration(model).items():
                at = {"sparsity": sparsity, "pruned_fraction": patterns.parse(sparsity).fraction}
                rows.append(base | {"method": method, "series": method} | at | level(study, model, ids, benchmarks))
    columns = ["model", "domain", "n_benchmarks", "remarks", "method", "calibration_size", "series", "sparsity"]
    columns += ["pruned_fraction", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


def _series(study: Study, model: str, setting: Setting) -> dict[str, Callable[[str], list[CalibrationSet]]]:
    """Series name -> the calibration sets it averages, by benchmark."""
    sets = study.by_calibration(model, setting)
    chosen: dict[str, Callable[[str], list[CalibrationSet]]] = {
        "matched": lambda benchmark: study.matched(model, setting, benchmark)[0],
        "unmatched": lambda benchmark: study.matched(model, setting, benchmark)[1],
    }
    for domain, label in ((GENERIC, GENERIC), (CONTROL, RANDOM_TOKENS)):
        special = [calibration for calibration in sets if calibration.domain == domain]
        chosen[label] = lambda benchmark, special=special: special
    return chosen


def show(frame: pd.DataFrame) -> pd.DataFrame:
    size = [name for name in setting_columns(frame) if name == "calibration_size"]
    shown = frame[["model", "domain", "method", *size, "series", "sparsity"]].fillna("")
    shown["score (%)"] = [
        f"{percent(row.value)} {interval(row.low, row.high)}" if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    return with_remarks(shown, frame)


TABLE = Table(CAPTION, compute, show)
