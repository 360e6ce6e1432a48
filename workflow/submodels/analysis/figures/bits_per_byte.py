"""What pruning costs on held-out source files, by calibration set and programming language."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    NoData,
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
    if frame.empty:
        raise NoData("the grid has no benchmark of held-out source files")
    frame["added"] = frame["value"] - frame["value_dense"]
    settings = by_setting(frame, "")
    panels = {f"{title}: {part}": rows[rows["part"] == part] for title, rows in settings.items() for part in PARTS}
    panels = {title: rows for title, rows in panels.items() if len(rows)}
    languages = list(dict.fromkeys(frame["language"]))
    sets = in_order(tables, model, frame["calibration"])
    relative = of_model(tables["relative"], model)
    domains = dict(zip(relative["calibration"], relative["calibration_domain"], strict=True))
    of_interest = frame["calibration"].map(lambda name: domains.get(name, CONTROL) != CONTROL)
    highest = frame.loc[of_interest if of_interest.any() else frame.index, "added"].max()
    width = fit_cell_width(0.85, len(languages))
    figure, axes = heatmap_panels(len(panels), len(sets), len(languages), width)
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        values, texts = empty_cells(sets, languages)
        for row in panel.itertuples():
            i, j = sets.index(row.calibration), languages.index(row.language)
            values[i, j], texts[i][j] = row.added, f"{row.added:+.3f}"
            if row.matched:
                frame_cell(axis, i, j)
        image = heatmap(axis, values, texts, "Oranges", (0, max(highest, 1e-9)), width)
        label_ticks(axis, sets, languages, domains, {}, width)
        axis.set_title(title, loc="left")
    name_axes(axes, "calibration set", "language of the files")
    colourbar(figure, axes, image, "bits per byte added by pruning (lower is better)")
    title_figure(figure, f"{model}: which data keep a language?", remarks_of(frame, "benchmark"))
    return figure, frame


FIGURE = Plot(CAPTION, draw)
