"""The paper's Table I, measured: what each pruning method needs, what it costs, and what a set of the domain gains."""

import pandas as pd

from submodels.analysis import paper
from submodels.analysis.claims import CLAIMS, evaluate
from submodels.analysis.formats import not_testable, number
from submodels.analysis.metric import ACCURACY
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import COST, Table, cost, setting_columns, show_cost, with_remarks
from submodels.pruning.methods import METHODS
from submodels.terms import NOT_RUN

CAPTION = (
    "The paper’s Table I, measured. Needs: what a method looks at beside the weights. Domain gain: accuracy in "
    "percentage points, matched minus unmatched calibration sets of the same method, paired over items. Of the ticks "
    "in the paper’s table only those for MaskLLM are known here."
)
_OF_GAIN = ["value", "low", "high", "n", "status", "reason"]
COLUMNS = ["model", "method", "sparsity", "calibration_size", "product", "needs", "paper", *COST, *_OF_GAIN, "remarks"]
_GAIN = CLAIMS["matched_beats_unmatched"]


def compute(study: Study) -> pd.DataFrame:
    """One row for each base model, method, sparsity and size of calibration sets."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            ids = [id for ids in study.scored_by_calibration(model, setting).values() for id in ids]
            if ids:
                found = evaluate(_GAIN, study, model, setting)
                rows.append(_row(study, model, setting.columns, ids) | {key: found.get(key) for key in _OF_GAIN})
        for (method, sparsity), ids in study.without_calibration(model).items():
            gain = {"status": NOT_RUN, "reason": "takes no calibration data"}
            rows.append(_row(study, model, {"method": method, "sparsity": sparsity}, ids) | gain)
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(study: Study, model: str, setting: dict, ids: list[str]) -> dict:
    name = setting["method"]
    about = {"product": METHODS[name].product, "needs": needs(name), "paper": paper.TABLE_I.get(name, "")}
    about |= {"remarks": study.remarks(study.accuracies)}
    return {"model": model} | setting | about | cost(study, model, ids)


def needs(name: str) -> str:
    method = METHODS[name]
    looks = {"calibration data": method.needs_calibration, "gradients": method.needs_gradients}
    looks["training"] = method.trains
    return ", ".join(what for what, needed in looks.items() if needed) or "nothing"


def show(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[[*setting_columns(frame), "product", "needs", "paper"]].fillna("")
    shown = shown.rename(columns={"paper": "ticks in the paper"})
    shown["time (min)"] = [number(seconds / 60) for seconds in frame["wall_seconds"]]
    shown = shown.join(show_cost(frame).drop(columns=["sub-models", "time (s)", "pruned (%)"]))
    shown["domain gain"] = [
        ACCURACY.show_change(row.value, row.low, row.high) if row.status == "ok" else not_testable(row.reason)
        for row in frame.itertuples()
    ]
    return with_remarks(shown, frame)


TABLE = Table(CAPTION, compute, show)
