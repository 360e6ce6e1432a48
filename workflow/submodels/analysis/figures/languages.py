"""Scores of the code sets on each programming language."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    Cell,
    Plot,
    by_setting,
    draw_heatmaps,
    in_order,
    of_model,
    remarks_of,
    title_figure,
)
from submodels.analysis.formats import product_note
from submodels.terms import NOT_RUN

CAPTION = (
    "Score of the code sets, generic sets and controls on each programming language. Framed: the set of the "
    "benchmark’s language. Blank cells are not in the grid."
)


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Code calibration sets x programming languages: score; the matching language is framed."""
    frame = of_model(tables["code_languages"], model)
    settings = by_setting(frame, "the grid has no benchmark of a programming language")
    panels = {
        title: [
            Cell(
                row.calibration,
                row.benchmark,
                100 * row.value,
                f"{100 * row.value:.0f}" if row.status == "ok" else NOT_RUN,
                row.matched,
            )
            for row in rows.itertuples()
        ]
        for title, rows in settings.items()
    }
    language_of = dict(zip(frame["benchmark"], frame["language"], strict=True))
    relative = of_model(tables["relative"], model)
    measures = relative.loc[relative["benchmark"].isin(language_of), "primary"].unique()
    figure = draw_heatmaps(
        panels,
        in_order(tables, model, frame["calibration"]),
        {name: name if language in name else f"{name} ({language})" for name, language in language_of.items()},
        colours="Blues",
        limits=(0, 100),
        cell_width=0.85,
        names=("calibration set", "benchmark"),
        measure=f"{', '.join(measures)} (%)",
    )
    title = f"{model}: is a sub-model specific to the programming language of its calibration set?"
    title_figure(figure, title, remarks_of(frame, "benchmark"), product_note(frame["method"]))
    return figure, frame


FIGURE = Plot(CAPTION, draw)
