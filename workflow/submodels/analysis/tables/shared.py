"""The class of tables, and the pieces that several tables share."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from submodels.analysis.formats import count, method_name, number, percent, product_note
from submodels.analysis.study import CalibrationSet, Study
from submodels.bootstrap import Interval, stratified_bootstrap
from submodels.terms import NOT_RUN

SETTING = ["model", "method", "sparsity", "calibration_size"]  # fixed in a comparison of calibration sets
LEVEL = ["value", "low", "high", "n_items", "status", "reason"]  # the columns of `level`


@dataclass(frozen=True)
class Table:
    """`compute`: the numbers as data. `show`: the numbers as cells of text, made only from the data."""

    caption: str
    compute: Callable[[Study], pd.DataFrame]
    show: Callable[[pd.DataFrame], pd.DataFrame]

    def to_read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Cells as text, with readable names of columns, and the kind of product beside methods that change weights."""
        shown = self.show(frame).rename(columns={"calibration_size": "calibration size"})
        return shown.assign(method=shown["method"].map(method_name)) if "method" in shown else shown

    def about(self, frame: pd.DataFrame) -> str:
        """The caption, with what the kind of product means where the table names it."""
        return f"{self.caption} {product_note(frame['method'])}".rstrip() if "method" in frame else self.caption


def level(study: Study, model: str, ids: list[str], benchmarks: list[str]) -> dict:
    """Mean accuracy of `ids` over `benchmarks` with its interval, or the reason why there is none."""
    items = [study.items(model, ids, name) for name in benchmarks]
    if not items or not all(map(len, items)):
        reasons = [study.score(model, id, name)["reason"] for name in benchmarks for id in ids]
        return {"status": NOT_RUN, "reason": next(filter(None, reasons), "no reason recorded")}
    return mean_level(study, items)


def mean_level(study: Study, items: list[np.ndarray]) -> dict:
    """As `level`, from values by item [items], one array for each benchmark."""
    groups = [values[:, None] for values in items]
    interval = stratified_bootstrap(groups, **asdict(study.resampling))
    return level_columns(interval, sum(len(values) for values in items))


def level_columns(interval: Interval, n_items: int) -> dict:
    """The columns `LEVEL` of a value that was measured."""
    value, _, low, high = interval
    return {"value": value, "low": low, "high": high, "n_items": n_items, "status": "ok", "reason": None}


def by_sets(pairs: pd.DataFrame) -> dict[frozenset[CalibrationSet], pd.DataFrame]:
    """The rows between every two calibration sets, in either order."""
    both = [frozenset(pair) for pair in zip(pairs["set_a"], pairs["set_b"], strict=True)]
    return dict(iter(pairs.groupby(pd.Series(both, index=pairs.index, dtype=object), sort=False)))


COST = ["n_submodels", "submodels", "wall_seconds", "peak_memory_mb", "tokens", "bytes", "pruned"]


def cost(study: Study, model: str, ids: list[str]) -> dict:
    """The columns `COST`: means over sub-models of what their manifests say of their pruning."""
    manifests = [study.manifests[model, id] for id in ids]
    results = [manifest["results"] for manifest in manifests]
    return {
        "n_submodels": len(ids),
        "submodels": " ".join(ids),
        "wall_seconds": _mean([manifest["wall_seconds"] for manifest in manifests]),
        "peak_memory_mb": _mean([manifest["peak_memory_mb"] for manifest in manifests]),
        "tokens": _mean([of.get("tokens") for of in results]),
        "bytes": _mean([of.get("bytes") for of in results]),
        "pruned": _mean([of["sparsity"] for of in results]),
    }


def _mean(values: list[float | None]) -> float | None:
    """None where a manifest of an earlier version does not say."""
    return None if None in values else sum(values) / len(values)


def show_cost(frame: pd.DataFrame) -> pd.DataFrame:
    """The costs of pruning as cells of text."""
    columns = {
        "sub-models": [count(n) for n in frame["n_submodels"]],
        "time (s)": [number(value) for value in frame["wall_seconds"]],
        "peak memory (MB)": [count(value) for value in frame["peak_memory_mb"]],
        "calibration tokens": [count(value) for value in frame["tokens"]],
        "size (MB)": [number(value / 1e6) for value in frame["bytes"].astype(float)],
        "pruned (%)": [percent(value) for value in frame["pruned"]],
    }
    return pd.DataFrame(columns, index=frame.index)


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """Columns of `SETTING`; without the size of calibration sets where all sizes are equal."""
    return [name for name in SETTING if name != "calibration_size" or frame[name].nunique() > 1]


def matrix(frame: pd.DataFrame, rows: list[str], column: str) -> pd.DataFrame:
    """Wide table of `cell`, rows and columns in the order of first appearance; without sizes if all are equal."""
    wide: dict[tuple, dict] = {}
    rows = [name for name in rows if name not in SETTING or name in setting_columns(frame)]
    for record in frame.fillna(dict.fromkeys(rows, "")).to_dict("records"):
        wide.setdefault(tuple(record[key] for key in rows), {})[record[column]] = record["cell"]
    columns = list(dict.fromkeys(frame[column]))
    data = [
        dict(zip(rows, key, strict=True)) | {name: cells.get(name, "") for name in columns}
        for key, cells in wide.items()
    ]
    return pd.DataFrame(data, columns=[*rows, *columns])


def with_remarks(shown: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """A column of remarks, if there are any."""
    remarks = frame["remarks"].astype(object).fillna("")
    return shown.assign(remarks=remarks) if remarks.any() else shown
