"""How far apart the masks of sub-models are, block by block."""

import pandas as pd

from submodels.analysis.overlap import expected_random_distance
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import SETTING, Table

CAPTION = "Jaccard distance of kept weights by decoder block: mean and range over pairs."


def compute(study: Study) -> pd.DataFrame:
    """Distance of kept weights by decoder block and kind of pair: mean and range over pairs."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            pairs = pairs[(pairs["level"] == "layer") & (pairs["kind"] != "other")]
            for (kind, layer), group in pairs.groupby(["kind", "layer"]):
                distances = group["kept_distance"]
                rows.append(
                    {"model": model, **setting.columns, "kind": kind}
                    | {"layer": int(layer), "mean": distances.mean(), "min": distances.min(), "max": distances.max()}
                    | {"n_pairs": len(distances)}
                    | {"random": expected_random_distance(1 - setting.pruned_fraction)}
                )
    columns = [*SETTING, "kind", "layer", "mean", "min", "max", "n_pairs", "random"]
    return pd.DataFrame(rows, columns=columns)


TABLE = Table(CAPTION, compute, lambda frame: frame.round(3))
