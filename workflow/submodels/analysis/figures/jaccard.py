"""How far apart the masks of calibration sets are."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    Cell,
    Plot,
    by_setting,
    domain_legend,
    domains_of,
    draw_heatmaps,
    in_order,
    of_model,
    title_figure,
)
from submodels.analysis.formats import product_note

CAPTION = (
    "Jaccard distance of kept weights between calibration sets. Diagonal: two draws of one set, the noise floor. "
    "Last column: two random masks of this sparsity, the end of the colour scale. Blank cells are not in the "
    "grid."
)
RANDOM_MASKS = "random masks"


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Distance of kept weights between calibration sets; the diagonal is the floor between seeds of one set.

    Colours run from 0 to the distance of random masks, which the last column shows.
    """
    frame = of_model(tables["jaccard"], model)
    settings = by_setting(frame, "no two sub-models of one method and sparsity were compared")
    sets = in_order(tables, model, [*frame["a"], *frame["b"]])
    domains = domains_of(frame, "a") | domains_of(frame, "b")
    figure = draw_heatmaps(
        {title: _cells(rows) for title, rows in settings.items()},
        sets,
        {name: name for name in [*sets, RANDOM_MASKS]},
        colours="viridis",
        limits=(0, frame["random_kept"].max()),
        cell_width=0.44,
        names=("calibration set", "calibration set"),
        measure="Jaccard distance of kept weights (0: the same weights)",
        row_domains=domains,
        column_domains=domains,
    )
    domain_legend(figure, domains.values())
    title_figure(figure, f"{model}: how far apart are the kept weights?", product_note(frame["method"]))
    return figure, frame


def _cells(rows: pd.DataFrame) -> list[Cell]:
    """Both halves of the matrix, and the last column."""
    random = rows["random_kept"].iloc[0]
    found = []
    for row in rows.itertuples():
        for a, b, distance in (
            (row.a, row.b, row.kept_distance),
            (row.b, row.a, row.kept_distance),
            (row.a, RANDOM_MASKS, random),
            (row.b, RANDOM_MASKS, random),
        ):
            found.append(Cell(a, b, distance, f"{distance:.2f}"))
    return found


FIGURE = Plot(CAPTION, draw)
