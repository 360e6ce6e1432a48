"""The change of every benchmark's score by pruning with a calibration set: sub-models against their base model."""

from dataclasses import asdict

import pandas as pd

from submodels.analysis import perplexities
from submodels.analysis.formats import marked, not_run
from submodels.analysis.metric import Metric
from submodels.analysis.study import CalibrationSet, Setting, Study
from submodels.analysis.tables.shared import SETTING, Table, matrix
from submodels.bootstrap import Interval, paired_bootstrap
from submodels.terms import DENSE, NOT_RUN

CAPTION = (
    "Change against the dense base model: accuracies in percentage points, perplexities in their own unit. ≈: the "
    "interval contains zero."
)
COLUMNS = ["model", "method", "sparsity", "calibration_size", "calibration", "calibration_domain", "benchmark"]
COLUMNS += ["benchmark_domain", "language", "primary", "higher_is_better", "remarks", "matched", "submodels", "dense"]
COLUMNS += ["value", "kept", "difference", "low", "high", "inside_noise", "n_items", "n_seeds", "status", "reason"]


def compute(study: Study) -> pd.DataFrame:
    """Calibration set x benchmark: change against the dense base model, with magnitude and random-token controls.

    `kept` is the share of an accuracy that is left; for a perplexity it is empty.
    """
    rows = []
    for model in study.models:
        grouped: dict[tuple[Setting, CalibrationSet], list[str]] = {}
        for id in study.evaluated(model)[1:]:
            entry = study.submodels(model)[id]
            grouped.setdefault((study.setting(entry), study.calibration(entry)), []).append(id)
        for benchmark in study.benchmarks:
            metric = study.metric(benchmark)
            against_dense = _against_dense if metric.higher_is_better else _perplexity_against_dense
            for (setting, calibration), ids in grouped.items():
                rows.append(
                    {
                        "model": model,
                        **setting.columns,
                        "calibration": calibration.name,
                        "calibration_domain": calibration.domain,
                        "benchmark": benchmark,
                        "benchmark_domain": study.benchmark(benchmark)["domain"],
                        "language": study.benchmark(benchmark)["language"],
                        "primary": metric.name,
                        "higher_is_better": metric.higher_is_better,
                        "remarks": study.remarks([benchmark]),
                        "matched": study.matches(calibration, benchmark),
                        "submodels": " ".join(ids),
                    }
                    | against_dense(study, model, ids, benchmark)
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def _against_dense(study: Study, model: str, ids: list[str], benchmark: str) -> dict:
    items, dense = study.items(model, ids, benchmark), study.items(model, [DENSE], benchmark)
    if not len(items) or not len(dense):
        return _no_change(study, model, ids, benchmark)
    difference = paired_bootstrap(items, dense, **asdict(study.resampling))
    ran = [id for id in ids if study.score(model, id, benchmark)["status"] == "ok"]
    value, baseline = items.mean(), dense.mean()
    kept = value / baseline if baseline else None
    return {"dense": baseline, "value": value, "kept": kept} | _changed(difference, len(items), len(ran))


def _perplexity_against_dense(study: Study, model: str, ids: list[str], benchmark: str) -> dict:
    change = perplexities.change(study, model, ids, [DENSE], benchmark)
    if change is None:
        return _no_change(study, model, ids, benchmark)
    value, baseline = (perplexities.level(study, model, side, benchmark).interval.value for side in (ids, [DENSE]))
    row = {"dense": baseline, "value": value, "kept": None}
    return row | _changed(change.interval, change.n_items, change.n_submodels)


def _changed(difference: Interval, n_items: int, n_seeds: int) -> dict:
    return {
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "inside_noise": difference.low <= 0 <= difference.high,
        "n_items": n_items,
        "n_seeds": n_seeds,
        "status": "ok",
        "reason": None,
    }


def _no_change(study: Study, model: str, ids: list[str], benchmark: str) -> dict:
    ran = any(study.score(model, id, benchmark)["status"] == "ok" for id in ids)
    reason = study.score(model, DENSE if ran else ids[0], benchmark)["reason"]
    dense_lacks = "the dense baseline was not run: " if ran else ""
    return {"status": NOT_RUN, "reason": dense_lacks + (reason or "no reason recorded")}


def show(frame: pd.DataFrame) -> pd.DataFrame:
    """Matrix of changes; `≈` marks changes whose interval contains zero."""
    cells, columns = [], []
    for row in frame.itertuples():
        metric, name = Metric(row.primary, row.higher_is_better), marked(row.benchmark, row.remarks)
        ran = row.status == "ok"
        cells.append(metric.show_change(row.difference, row.low, row.high) if ran else not_run(row.reason))
        columns.append(name if metric.higher_is_better else f"{name}, {metric.label()}")
    shown = frame.assign(cell=cells, column=columns)
    return matrix(shown, [*SETTING, "calibration"], "column")


TABLE = Table(CAPTION, compute, show)
