"""How far apart the masks of calibration sets are."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    Plot,
    by_setting,
    colourbar,
    domain_legend,
    domains_of,
    empty_cells,
    fit_cell_width,
    heatmap,
    heatmap_panels,
    in_order,
    label_ticks,
    name_axes,
    of_model,
    title_figure,
)

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
    panels = by_setting(frame, "no two sub-models of one method and sparsity were compared")
    sets = in_order(tables, model, [*frame["a"], *frame["b"]])
    columns = [*sets, RANDOM_MASKS]
    domains = domains_of(frame, "a") | domains_of(frame, "b")
    width = fit_cell_width(0.44, len(columns))
    figure, axes = heatmap_panels(len(panels), len(sets), len(columns), width)
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        values, texts = empty_cells(sets, columns)
        random = panel["random_kept"].iloc[0]
        for row in panel.itertuples():
            a, b = sets.index(row.a), sets.index(row.b)
            for i, j, distance in (
                (a, b, row.kept_distance),
                (b, a, row.kept_distance),
                (a, -1, random),
                (b, -1, random),
            ):
                values[i, j], texts[i][j] = distance, f"{distance:.2f}"
        image = heatmap(axis, values, texts, "viridis", (0, frame["random_kept"].max()), width)
        label_ticks(axis, sets, columns, domains, domains, width)
        axis.set_title(title, loc="left")
    name_axes(axes, "calibration set", "calibration set")
    colourbar(figure, axes, image, "Jaccard distance of kept weights (0: the same weights)")
    domain_legend(figure, domains.values())
    title_figure(figure, f"{model}: how far apart are the kept weights?")
    return figure, frame


FIGURE = Plot(CAPTION, draw)
