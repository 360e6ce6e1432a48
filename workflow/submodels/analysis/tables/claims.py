"""The paper's claims and their verdicts in this grid; the claims themselves are in `analysis/claims.py`."""

import pandas as pd

from submodels.analysis.claims import CLAIMS, evaluate
from submodels.analysis.formats import measured, not_testable
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import Table, setting_columns, with_remarks

CAPTION = "The paper’s claims and their verdicts."
COLUMNS = [
    *("claim", "sentence", "measure", "source", "paper", "unit", "direction", "table", "remarks"),
    *("model", "method", "sparsity", "calibration_size", "value", "low", "high", "n", "verdict", "status", "reason"),
]


def compute(study: Study) -> pd.DataFrame:
    """One row for each claim, base model, method, sparsity and size of calibration sets."""
    rows = []
    for name, claim in CLAIMS.items():
        for model in study.models:
            for setting in study.compared(model):
                rows.append(
                    {"claim": name, "sentence": claim.sentence, "measure": claim.measure, "source": claim.source}
                    | {"paper": claim.paper, "unit": claim.unit, "direction": claim.direction, "table": claim.table}
                    | {"remarks": study.remarks(study.accuracies) if claim.unit == "points" else ""}
                    | {"model": model, **setting.columns}
                    | {"value": None, "low": None, "high": None, "n": None, "verdict": None}
                    | evaluate(claim, study, model, setting)
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def show(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["claim", *setting_columns(frame)]].copy()
    shown["measured"] = [
        f"{measured(row.value, row.unit)} [{measured(row.low, row.unit)}, {measured(row.high, row.unit)}]"
        if row.status == "ok"
        else ""
        for row in frame.itertuples()
    ]
    shown["verdict"] = [row.verdict if row.status == "ok" else not_testable(row.reason) for row in frame.itertuples()]
    return with_remarks(shown, frame)


TABLE = Table(CAPTION, compute, show)
