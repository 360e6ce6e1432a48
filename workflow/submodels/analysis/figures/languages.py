"""Scores of the code sets on each programming language."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    Plot,
    by_setting,
    colourbar,
    empty_cells,
    fit_cell_width,
    frame_cell,
    heatmap,
    heatmap_panels,
    in_order,
    label_ticks,
    name_axes,
    of_model,
    remarks_of,
    title_figure,
)
from submodels.terms import NOT_RUN

CAPTION = (
    "Score of the code sets, generic sets and controls on each programming language. Framed: the set of the "
    "benchmark’s language. Blank cells are not in the grid."
)


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Code calibration sets x programming languages: score; the matching language is framed."""
    frame = of_model(tables["code_languages"], model)
    panels = by_setting(frame, "the grid has no benchmark of a programming language")
    benchmarks = list(dict.fromkeys(frame["benchmark"]))
    language_of = dict(zip(frame["benchmark"], frame["language"], strict=True))
    names = [name if language_of[name] in name else f"{name} ({language_of[name]})" for name in benchmarks]
    sets = in_order(tables, model, frame["calibration"])
    width = fit_cell_width(0.85, len(benchmarks))
    figure, axes = heatmap_panels(len(panels), len(sets), len(benchmarks), width)
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        values, texts = empty_cells(sets, benchmarks)
        for row in panel.itertuples():
            i, j = sets.index(row.calibration), benchmarks.index(row.benchmark)
            values[i, j] = 100 * row.value
            texts[i][j] = f"{100 * row.value:.0f}" if row.status == "ok" else NOT_RUN
            if row.matched:
                frame_cell(axis, i, j)
        image = heatmap(axis, values, texts, "Blues", (0, 100), width)
        label_ticks(axis, sets, names, {}, {}, width)
        axis.set_title(title, loc="left")
    name_axes(axes, "calibration set", "benchmark")
    relative = of_model(tables["relative"], model)
    measures = relative.loc[relative["benchmark"].isin(benchmarks), "primary"].unique()
    colourbar(figure, axes, image, f"{', '.join(measures)} (%)")
    title = f"{model}: is a sub-model specific to the programming language of its calibration set?"
    title_figure(figure, title, remarks_of(frame, "benchmark"))
    return figure, frame


FIGURE = Plot(CAPTION, draw)
