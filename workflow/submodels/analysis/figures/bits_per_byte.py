"""What pruning costs on held-out source files, by calibration set and programming language."""

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
from submodels.terms import CONTROL, DENSE

CAPTION = (
    "Bits per byte that pruning adds to held-out source files, apart for code and for prose (comments and docstrings): "
    "calibration sets by programming language. Framed: the set of the language. Controls may leave the colour scale."
)
PARTS = ("code", "prose")


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Calibration sets x programming languages: bits per byte minus those of the dense model."""
    frame = of_model(tables["bits_per_byte"], model)
    frame = frame[frame["part"].isin(PARTS) & (frame["status"] == "ok")]
    dense = frame[frame["calibration"] == DENSE]
    keys = ["method", "sparsity", "calibration_size", "part", "benchmark"]
    frame = frame[frame["calibration"] != DENSE].merge(dense[[*keys, "value"]], on=keys, suffixes=("", "_dense"))
    frame["added"] = frame["value"] - frame["value_dense"]
    settings = by_setting(frame, "the grid has no benchmark of held-out source files")
    panels = {
        f"{title}: {part}": [
            Cell(row.calibration, row.language, row.added, f"{row.added:+.3f}", row.matched)
            for row in of_part.itertuples()
        ]
        for title, rows in settings.items()
        for part, of_part in rows.groupby("part")
    }
    relative = of_model(tables["relative"], model)
    domains = dict(zip(relative["calibration"], relative["calibration_domain"], strict=True))
    of_interest = frame["calibration"].map(lambda name: domains.get(name, CONTROL) != CONTROL)
    highest = frame.loc[of_interest if of_interest.any() else frame.index, "added"].max()
    figure = draw_heatmaps(
        panels,
        in_order(tables, model, frame["calibration"]),
        {language: language for language in frame["language"]},
        colours="Oranges",
        limits=(0, max(highest, 1e-9)),
        cell_width=0.85,
        names=("calibration set", "language of the files"),
        measure="bits per byte added by pruning (lower is better)",
        row_domains=domains,
    )
    notes = remarks_of(frame, "benchmark"), product_note(frame["method"])
    title_figure(figure, f"{model}: which data keep a language?", *notes)
    return figure, frame


FIGURE = Plot(CAPTION, draw)
