"""The paper's Table I, measured: what each pruning method needs, what it costs, and what a set of the domain gains."""

from collections.abc import Iterable

import pandas as pd

from submodels.analysis import paper
from submodels.analysis.claims import CLAIMS, evaluate
from submodels.analysis.formats import not_testable, number
from submodels.analysis.metric import ACCURACY
from submodels.analysis.study import CalibrationSet, Setting, Study
from submodels.analysis.tables.shared import COST, Table, cost, setting_columns, show_cost, with_remarks
from submodels.pruning.methods import METHODS
from submodels.terms import NOT_RUN

CAPTION = (
    "The paper’s Table I, measured. Time, peak memory, calibration tokens and size are means over the manifests of the "
    "sub-models. Domain gain: accuracy in percentage points with the calibration sets of a benchmark’s domain (and "
    "language) minus that with the other sets, same method and sparsity; mean over benchmarks, paired over items; ≈: "
    "the interval contains zero. Of the ticks in the paper’s table only those for MaskLLM are known here; the other "
    "cells are empty. As run here MaskLLM does need calibration data: it trains its masks on them."
)
_OF_GAIN = ["value", "low", "high", "n", "status", "reason"]
COLUMNS = ["model", "method", "sparsity", "calibration_size", "product", "needs_calibration", "needs_gradients"]
COLUMNS += ["trains", "paper_ticks", *COST, *_OF_GAIN, "remarks"]
_MATCHED = CLAIMS["matched_beats_unmatched"]


def compute(study: Study) -> pd.DataFrame:
    """One row for each base model, method, sparsity and size of calibration sets."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            groups = study.scored_by_calibration(model, setting)
            if groups:
                ids = [id for ids in groups.values() for id in ids]
                rows.append(_row(study, model, setting.columns, ids) | _gain(study, model, setting, groups))
        for (method, sparsity), ids in study.without_calibration(model).items():
            gain = {"status": NOT_RUN, "reason": "takes no calibration data"}
            rows.append(_row(study, model, {"method": method, "sparsity": sparsity}, ids) | gain)
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(study: Study, model: str, setting: dict, ids: list[str]) -> dict:
    name = setting["method"]
    method = METHODS[name]
    about = {"product": method.product, "needs_calibration": method.needs_calibration}
    about |= {"needs_gradients": method.needs_gradients, "trains": method.trains}
    about |= {"paper_ticks": paper.TABLE_I.get(name), "remarks": study.remarks(study.accuracies)}
    return {"model": model} | setting | about | cost(study, model, ids)


def _gain(study: Study, model: str, setting: Setting, sets: Iterable[CalibrationSet]) -> dict:
    """The columns `_OF_GAIN`. Sets of one domain have none, even if their languages differ."""
    domains = {calibration.domain for calibration in sets if not calibration.is_special}
    if len(domains) < 2:
        return {"status": NOT_RUN, "reason": "needs calibration sets of two domains"}
    found = evaluate(_MATCHED, study, model, setting)
    return {key: found.get(key) for key in _OF_GAIN}


def show(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[[*setting_columns(frame), "product"]].astype(object).fillna("")
    shown["needs calibration data"] = ["yes" if needed else "no" for needed in frame["needs_calibration"]]
    shown["needs gradients / training"] = [
        "gradients, training" if row.trains else "gradients" if row.needs_gradients else "no"
        for row in frame.itertuples()
    ]
    shown["the paper’s ticks"] = frame["paper_ticks"].astype(object).fillna("")
    shown["time (min)"] = [number(seconds / 60) for seconds in frame["wall_seconds"]]
    shown = shown.join(show_cost(frame).drop(columns=["sub-models", "time (s)", "pruned (%)"]))
    shown["domain gain"] = [
        ACCURACY.show_change(row.value, row.low, row.high) if row.status == "ok" else not_testable(row.reason)
        for row in frame.itertuples()
    ]
    return with_remarks(shown, frame)


TABLE = Table(CAPTION, compute, show)
