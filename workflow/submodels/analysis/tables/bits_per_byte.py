"""How well sub-models predict held-out source files: calibration sets x languages, apart for code and for prose."""

import pandas as pd

from submodels.analysis import perplexities
from submodels.analysis.formats import marked
from submodels.analysis.metric import Metric
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import LEVEL, SETTING, Table, level_columns, matrix
from submodels.terms import DENSE, NOT_RUN

CAPTION = (
    "Bits per byte of held-out source files, lower is better: whole, of their code, and of their prose (comments and "
    "docstrings)."
)
METRIC = Metric("bits_per_byte", higher_is_better=False)
PARTS = {"all": "bits_per_byte", "code": "code_bits_per_byte", "prose": "prose_bits_per_byte"}


def benchmarks_of(study: Study) -> list[str]:
    """The benchmarks of held-out source files: those with bits per byte of code and of prose."""
    scored = {
        name
        for (_, name), score in study.scores.items()
        if any(PARTS["code"] in entry["items"] for entry in score["submodels"].values())
    }
    return [name for name in study.perplexities if name in scored]


def compute(study: Study) -> pd.DataFrame:
    """One row for each setting, part, benchmark, and dense, calibration set or method without calibration data."""
    rows, benchmarks = [], benchmarks_of(study)
    for model in study.models if benchmarks else ():
        for setting in study.compared(model):
            groups = study.scored_by_calibration(model, setting)
            languages = {calibration.name: calibration.language for calibration in groups}
            shown = {DENSE: [DENSE]} | {calibration.name: ids for calibration, ids in groups.items()}
            for (method, sparsity), ids in study.without_calibration(model).items():
                if sparsity == setting.sparsity:
                    shown[method] = ids
            for part, metric in PARTS.items():
                for name, ids in shown.items():
                    for benchmark in benchmarks:
                        language = study.benchmark(benchmark)["language"]
                        about = {"part": part, "calibration": name, "benchmark": benchmark, "language": language}
                        about |= {"matched": languages.get(name) == language, "remarks": study.remarks([benchmark])}
                        level = perplexities.level(study, model, ids, benchmark, metric=metric)
                        rows.append({"model": model, **setting.columns, **about, **_columns(level)})
    columns = [*SETTING, "part", "calibration", "benchmark", "language", "matched", "remarks", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


def _columns(pooled: perplexities.Pooled | None) -> dict:
    if pooled is None:
        return {"status": NOT_RUN, "reason": "no score, or no byte of this part"}
    return level_columns(pooled.interval, pooled.n_items)


def show(frame: pd.DataFrame) -> pd.DataFrame:
    cells = [
        f"{METRIC.show(row.value)} {METRIC.show_interval(row.low, row.high)}" if row.status == "ok" else NOT_RUN
        for row in frame.itertuples()
    ]
    columns = [marked(row.benchmark, row.remarks) for row in frame.itertuples()]
    return matrix(frame.assign(cell=cells, column=columns), [*SETTING, "part", "calibration"], "column")


TABLE = Table(CAPTION, compute, show)
