"""The paper's Table IV: the sub-models on the benchmark of each programming language."""

import pandas as pd

from submodels.analysis.formats import interval, marked, not_run, percent
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import LEVEL, SETTING, Table, level, matrix
from submodels.terms import CONTROL, DENSE, GENERIC

CAPTION = (
    "Accuracy (%) by programming language: of the dense model, of methods without calibration data at the same "
    "sparsity, and of the sub-models of each calibration set."
)


def compute(study: Study) -> pd.DataFrame:
    """One row for each setting, benchmark, and dense, code set, generic set or control."""
    rows = []
    benchmarks = [name for name in study.accuracies if study.benchmark(name)["language"]]
    for model in study.models:
        uncalibrated = study.without_calibration(model)
        for setting in study.compared(model):
            groups = study.scored_by_calibration(model, setting)
            if not groups:
                continue
            language_of = {calibration.name: calibration.language for calibration in groups}
            shown = {
                calibration.name: ids
                for calibration, ids in groups.items()
                if calibration.domain in ("code", GENERIC, CONTROL)
            }
            for (method, sparsity), ids in uncalibrated.items():
                if sparsity == setting.sparsity:
                    shown[method] = ids
            for name, ids in {DENSE: [DENSE], **shown}.items():
                for benchmark in benchmarks:
                    row = {"model": model, **setting.columns, "calibration": name}
                    language = study.benchmark(benchmark)["language"]
                    row |= {"benchmark": benchmark, "language": language, "matched": language_of.get(name) == language}
                    row |= {"remarks": study.remarks([benchmark])}
                    rows.append(row | level(study, model, ids, [benchmark]))
    columns = [*SETTING, "calibration", "benchmark", "language", "matched", "remarks", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


def show(frame: pd.DataFrame) -> pd.DataFrame:
    cells = [
        f"{percent(row.value)} {interval(row.low, row.high)}" if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    columns = [marked(row.benchmark, row.remarks) for row in frame.itertuples()]
    return matrix(frame.assign(cell=cells, column=columns), [*SETTING, "calibration"], "column")


TABLE = Table(CAPTION, compute, show)
