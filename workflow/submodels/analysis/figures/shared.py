"""The class of figures, and the pieces that several figures share.

A colour has the same meaning in all figures: a domain, or a series of calibration sets. Colours are Okabe and Ito's,
and red to blue for changes: safe for colour-blind readers. No figure is wider than the report's page, so that its
text keeps its size there.
"""

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from submodels.analysis import formats
from submodels.terms import CONTROL, DENSE, GENERIC, NO_CALIBRATION

DOMAIN_COLOURS = {
    "code": "#0072B2",
    "math": "#D55E00",
    "csr": "#009E73",
    "translation": "#CC79A7",
    GENERIC: "#7F7F7F",
    CONTROL: "#000000",
}
MATCHED, UNMATCHED, UNCALIBRATED = "#56B4E9", "#E69F00", "#5E3C99"
STYLE = {
    "svg.hashsalt": "submodels",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}
CELL_HEIGHT, PAGE_WIDTH, LABELS = 0.3, 11.4, 1.5  # inches; the last is the width of the labels of rows
_LINE_HEIGHT = 0.19  # of the title, inches


class NoData(Exception):
    """A figure has nothing to show; the message says why."""


@dataclass(frozen=True)
class Plot:
    """A figure of the report. `draw`: tables by name and a base model -> the figure and the data behind it."""

    caption: str
    draw: Callable[[dict[str, pd.DataFrame], str], tuple[Figure, pd.DataFrame]]


_SETTING = ["method", "sparsity", "calibration_size"]


def of_model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame[frame["model"] == model]


def by_setting(frame: pd.DataFrame, reason: str) -> dict[str, pd.DataFrame]:
    """Title of each panel -> its rows: a panel for each method, sparsity and size of calibration sets."""
    if frame.empty:
        raise NoData(reason)
    sizes = frame["calibration_size"].nunique()
    return {formats.setting_name(*key, sizes): rows for key, rows in frame.groupby(_SETTING, sort=False)}


def comparing(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of settings with several calibration sets, or all rows if there are none; the table of methods shows the
    other settings."""
    several = frame.groupby(_SETTING)["calibration"].transform("nunique") > 1
    return frame[several] if several.any() else frame


def in_order(tables: dict[str, pd.DataFrame], model: str, names) -> list[str]:
    """Rows in the order of all figures: dense, calibration sets by domain, methods that need no calibration set."""
    relative = of_model(tables["relative"], model)
    order = dict.fromkeys([*DOMAIN_COLOURS, *relative["calibration_domain"]])
    position = {domain: i for i, domain in enumerate(order)}
    sets = relative[relative["calibration"] != NO_CALIBRATION].drop_duplicates("calibration")
    sets = sets.sort_values("calibration_domain", key=lambda domains: domains.map(position), kind="stable")
    names = list(dict.fromkeys(names))
    ordered = [name for name in [DENSE, *sets["calibration"]] if name in names]
    return [*ordered, *(name for name in names if name not in ordered)]


def domains_of(frame: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(frame[column], frame[f"{column}_domain"], strict=True))


def rows_and_columns(panels: int, width: float) -> tuple[int, int]:
    """Arrange panels of a width in inches on the page."""
    columns = min(panels, max(1, int(PAGE_WIDTH / width)))
    return -(-panels // columns), columns


def used_axes(axes: np.ndarray, panels: int) -> list[Axes]:
    for axis in axes.flat[panels:]:
        axis.remove()
    return list(axes.flat[:panels])


class Cell(NamedTuple):
    """A cell of a heatmap: its row and column by name, its value for the colour, and its text."""

    row: str
    column: str
    value: float
    text: str
    framed: bool = False


def draw_heatmaps(
    panels: dict[str, Iterable[Cell]],
    rows: list[str],
    columns: dict[str, str],
    *,
    colours: str,
    limits: tuple[float, float],
    cell_width: float,
    names: tuple[str, str],
    measure: str,
    row_domains: dict | None = None,
    column_domains: dict | None = None,
) -> Figure:
    """A heatmap for each panel (title -> cells), with one colour scale; cells that are left out are not in the grid.

    columns: name -> label. cell_width: inches, less where so many columns would not fit on the page. names: of the rows
    and of the columns. measure: what the colours say.
    """
    width = min(cell_width, (PAGE_WIDTH - LABELS - 0.2) / len(columns))
    places = {name: j for j, name in enumerate(columns)}
    figure, axes = _heatmap_panels(len(panels), len(rows), len(columns), width)
    for axis, (title, cells) in zip(axes, panels.items(), strict=True):
        values, texts = np.full((len(rows), len(columns)), np.nan), [[""] * len(columns) for _ in rows]
        for cell in cells:
            i, j = rows.index(cell.row), places[cell.column]
            values[i, j], texts[i][j] = cell.value, cell.text
            if cell.framed:
                _frame_cell(axis, i, j)
        image = _heatmap(axis, values, texts, colours, limits, width)
        _label_ticks(axis, rows, list(columns.values()), row_domains or {}, column_domains or {}, width)
        axis.set_title(title, loc="left")
    _name_axes(axes, *names)
    _colourbar(figure, axes, image, measure)
    return figure


def _heatmap_panels(panels: int, rows: int, columns: int, cell_width: float) -> tuple[Figure, list[Axes]]:
    """Heatmap panels of the same rows side by side, as many as the page holds; every cell has one size."""
    width = columns * cell_width + 0.2
    n_rows = rows_and_columns(panels, width + LABELS / 2)[0]
    n_columns = -(-panels // n_rows)
    size = (max(n_columns * width + LABELS, 6), n_rows * (rows * CELL_HEIGHT + 1) + 1.4)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
    return figure, used_axes(axes, panels)


def _heatmap(
    axis: Axes,
    values: np.ndarray,
    texts: list[list[str]],
    colours: str,
    limits: tuple[float, float],
    cell_width: float,
):
    """Coloured cells with texts, in the largest size that lets the longest text fit into a cell."""
    longest = max(len(text) for row in texts for text in row)
    size = min(8.5, 8.5 * cell_width / (0.07 * max(longest, 1)))  # a character of 8.5 points is about 0.07 inches wide
    palette = matplotlib.colormaps[colours].with_extremes(bad="#F2F2F2")
    image = axis.imshow(values, cmap=palette, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
        bright = 0.299 * red + 0.587 * green + 0.114 * blue
        axis.text(
            j, i, texts[i][j], ha="center", va="center", fontsize=size, color="#000000" if bright > 0.5 else "#FFFFFF"
        )
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return image


def _frame_cell(axis: Axes, row: int, column: int) -> None:
    """A frame that is visible on every colour."""
    axis.add_patch(
        Rectangle(
            (column - 0.46, row - 0.43),
            0.92,
            0.86,
            fill=False,
            lw=1.4,
            ec="#000000",
            path_effects=[withStroke(linewidth=3, foreground="#FFFFFF")],
        )
    )


def _label_ticks(
    axis: Axes, rows: list[str], columns: list[str], row_domains: dict, column_domains: dict, cell_width: float
) -> None:
    """Tick labels with a strip in the domain's colour beside them; slanted where a cell is too narrow for them."""
    axis.set_yticks(range(len(rows)), rows)
    wrapped = [
        textwrap.fill(name.replace("_", "_ "), 10, break_long_words=False).replace("_ ", "_") for name in columns
    ]
    # A character of this size is about 0.058 inches wide.
    if max(len(line) for name in wrapped for line in name.splitlines()) * 0.058 < cell_width:
        axis.set_xticks(range(len(columns)), wrapped, fontsize=8)
    else:
        axis.set_xticks(range(len(columns)), columns, fontsize=8, rotation=40, ha="right", rotation_mode="anchor")
    for i, name in enumerate(rows):
        colour = DOMAIN_COLOURS.get(row_domains.get(name))
        if colour:
            axis.plot([-0.5, -0.5], [i - 0.42, i + 0.42], color=colour, lw=5, clip_on=False, solid_capstyle="butt")
    for j, name in enumerate(columns):
        colour = DOMAIN_COLOURS.get(column_domains.get(name))
        if colour:
            edge = len(rows) - 0.5
            axis.plot([j - 0.42, j + 0.42], [edge, edge], color=colour, lw=5, clip_on=False, solid_capstyle="butt")
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)


def _name_axes(axes: list[Axes], rows: str, columns: str) -> None:
    for axis in axes:
        axis.set_xlabel(columns)
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel(rows)


def _colourbar(figure: Figure, axes: list[Axes], image, label: str) -> None:
    shrink = min(1, 4 / figure.get_figwidth())
    figure.colorbar(image, ax=axes, label=label, location="bottom", shrink=shrink, aspect=30, pad=0.03)


def domain_legend(figure: Figure, domains) -> None:
    present = [domain for domain in DOMAIN_COLOURS if domain in set(domains)]
    handles = [Patch(color=DOMAIN_COLOURS[domain], label=domain) for domain in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="domain", title_fontsize=9)


def legend(figure: Figure, axes) -> None:
    entries: dict = {}
    for axis in axes:
        entries |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    width = 0.6 + 0.065 * max(map(len, entries))  # inches
    columns = min(len(entries), max(1, int(figure.get_figwidth() / width)))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def title_figure(figure: Figure, text: str, *notes: str) -> None:
    """A title above all panels, with notes below it; the figure grows by their lines."""
    width = int(figure.get_figwidth() * 11)
    noted = [line for note in notes for line in textwrap.wrap(note, width)]
    figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * len(noted))
    figure.suptitle("\n".join([textwrap.fill(text, width), *noted]), fontsize=11, x=0.01, ha="left")


def remarks_of(frame: pd.DataFrame, column: str) -> str:
    """Remarks on the scores shown, each with its benchmarks or domains unless it is about all of them."""
    noted = frame[frame["remarks"].notna() & (frame["remarks"] != "")]
    held = noted.groupby("remarks", sort=False)[column].unique()
    everywhere = frame[column].nunique()
    return "; ".join(remark if len(of) == everywhere else f"{remark} ({', '.join(of)})" for remark, of in held.items())
