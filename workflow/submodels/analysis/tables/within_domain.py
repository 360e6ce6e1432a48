"""Two calibration sets of one domain: do they make the same sub-model?"""

from dataclasses import asdict
from itertools import combinations

import pandas as pd

from submodels.analysis.formats import not_run
from submodels.analysis.metric import ACCURACY
from submodels.analysis.study import Study, paired
from submodels.analysis.tables.shared import SETTING, Table, by_sets, setting_columns, with_remarks
from submodels.bootstrap import stratified_bootstrap
from submodels.terms import NOT_RUN

CAPTION = "Two calibration sets of one domain, against sets of other domains."
COLUMNS = [*SETTING, "domain", "a", "b", "same_language", "remarks", "difference", "low", "high"]
COLUMNS += ["n_items", "status", "reason", "within_distance", "cross_distance", "seed_floor"]


def compute(study: Study) -> pd.DataFrame:
    """Differences in accuracy and in weights between two calibration sets of one domain, and to sets of others."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            between = by_sets(pairs[pairs["level"] == "model"])
            groups = study.by_calibration(model, setting)
            sets = [calibration for calibration in groups if not calibration.is_special]
            for a, b in combinations(sets, 2):
                if a.domain != b.domain:
                    continue
                rows.append(
                    {"model": model, **setting.columns, "domain": a.domain}
                    | {"a": a.name, "b": b.name, "same_language": a.language == b.language}
                    | {"remarks": study.remarks(study.scored(model, a.domain))}
                    | _accuracy_apart(study, model, groups[a], groups[b], study.scored(model, a.domain))
                    | {
                        "within_distance": _mean_distance([between.get(frozenset((a, b)))]),
                        "cross_distance": _mean_distance(
                            [rows for of, rows in between.items() if _kind(rows) == "cross domain" and of & {a, b}]
                        ),
                        "seed_floor": _mean_distance([between.get(frozenset((name,))) for name in (a, b)]),
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def _accuracy_apart(study: Study, model: str, a: list[str], b: list[str], benchmarks: list[str]) -> dict:
    groups = [paired(study.items(model, a, name), study.items(model, b, name)) for name in benchmarks]
    if not groups or not all(len(group) for group in groups):
        return {"status": NOT_RUN, "reason": "a sub-model lacks a benchmark of this domain"}
    difference, _, low, high = stratified_bootstrap(groups, **asdict(study.resampling))
    n_items = sum(len(group) for group in groups)
    return {"difference": difference, "low": low, "high": high, "n_items": n_items, "status": "ok", "reason": None}


def _kind(pairs: pd.DataFrame) -> str:
    return pairs["kind"].iloc[0]


def _mean_distance(pairs: list[pd.DataFrame | None]) -> float | None:
    chosen = [rows["kept_distance"] for rows in pairs if rows is not None]
    return float(pd.concat(chosen).mean()) if chosen else None


def show(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[[*setting_columns(frame), "domain", "a", "b"]].copy()
    shown["accuracy a − b (points)"] = [
        ACCURACY.show_change(row.difference, row.low, row.high) if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    for column in ("within_distance", "cross_distance", "seed_floor"):
        shown[column.replace("_", " ")] = ["" if pd.isna(value) else f"{value:.3f}" for value in frame[column]]
    return with_remarks(shown, frame)


TABLE = Table(CAPTION, compute, show)
