"""How far apart the masks of sub-models are, by calibration set."""

from itertools import combinations_with_replacement

import pandas as pd

from submodels.analysis.overlap import expected_random_distance
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import SETTING, Table, by_sets, matrix

CAPTION = "Jaccard distance of kept / pruned weights; diagonal: two draws of one set; random: independent masks."
COLUMNS = [*SETTING, "a", "b", "a_domain", "b_domain", "kind"]
COLUMNS += ["kept_distance", "pruned_distance", "n_pairs", "random_kept", "random_pruned"]


def compute(study: Study) -> pd.DataFrame:
    """Mean distance between the masks of every two calibration sets, with the distance of random masks.

    A set against itself compares its seeds: the floor, the distance between two draws of the same set.
    """
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            between_sets = by_sets(pairs[pairs["level"] == "model"])
            pruned = setting.pruned_fraction
            sets = list(study.by_calibration(model, setting))
            for a, b in combinations_with_replacement(sets, 2):
                between = between_sets.get(frozenset((a, b)))
                if between is None:
                    continue
                rows.append(
                    {"model": model, **setting.columns}
                    | {"a": a.name, "b": b.name, "a_domain": a.domain, "b_domain": b.domain}
                    | {
                        "kind": between["kind"].iloc[0],
                        "kept_distance": between["kept_distance"].mean(),
                        "pruned_distance": between["pruned_distance"].mean(),
                        "n_pairs": len(between),
                        "random_kept": expected_random_distance(1 - pruned),
                        "random_pruned": expected_random_distance(pruned),
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def show(frame: pd.DataFrame) -> pd.DataFrame:
    """Symmetric matrix, `kept / pruned`; the diagonal is the floor between seeds."""
    cells = [f"{row.kept_distance:.3f} / {row.pruned_distance:.3f}" for row in frame.itertuples()]
    there = frame.assign(cell=cells)
    back = there[there["a"] != there["b"]].rename(columns={"a": "b", "b": "a"})
    random = there.drop_duplicates([*SETTING, "a"])
    random = random.assign(
        b="random", cell=[f"{r.random_kept:.3f} / {r.random_pruned:.3f}" for r in random.itertuples()]
    )
    both = pd.concat([there, back, random[random["a"] != random["b"]]])
    sets = list(dict.fromkeys([*there["a"], *there["b"]]))
    wide = matrix(both, [*SETTING, "a"], "b")
    keys = list(wide.columns[: wide.columns.get_loc("a") + 1])
    return wide[[*keys, *sets, *random["b"].unique()]].rename(columns={"a": "calibration"})


TABLE = Table(CAPTION, compute, show)
