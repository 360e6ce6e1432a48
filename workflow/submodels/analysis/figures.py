"""Stage `figures`: the tables as pictures (SVG), each with the data behind it (CSV of the same name).

Every figure exists for every base model; where the data are missing it says so. Equal tables give equal bytes.
One colour means one thing in all figures: a domain, or a series of calibration sets. Colours are Okabe and Ito's, and
red to blue for changes: safe for colour-blind readers. No figure is wider than the report's page, so that its text
keeps its size there.
"""

import textwrap
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from tqdm import tqdm

from submodels import files
from submodels.analysis import formats
from submodels.errors import SubmodelsError
from submodels.terms import CONTROL, DENSE, GENERIC, NO_CALIBRATION, NOT_RUN

DOMAIN_COLOURS = {
    "code": "#0072B2",
    "math": "#D55E00",
    "csr": "#009E73",
    "translation": "#CC79A7",
    GENERIC: "#7F7F7F",
    CONTROL: "#000000",
}
MATCHED, UNMATCHED, UNCALIBRATED = "#56B4E9", "#E69F00", "#5E3C99"
SERIES = {  # series -> colour, line style, marker
    "matched": (MATCHED, "-", "o"),
    "unmatched": (UNMATCHED, "-", "s"),
    GENERIC: (DOMAIN_COLOURS[GENERIC], "--", "^"),
    "random tokens": (DOMAIN_COLOURS[CONTROL], ":", "x"),
}
# Methods that need no calibration, in alphabetical order: one colour, each with its own line and marker.
OTHER_SERIES = [(UNCALIBRATED, line, marker) for line, marker in (("-.", "D"), ("--", "v"), (":", "P"), ("-", "*"))]
PAIRS = {  # kind of pair -> label, colour, line style, marker
    "cross domain": ("two sets of different domains", UNMATCHED, "-", "s"),
    "within domain": ("two sets of one domain", MATCHED, "-", "o"),
    "seeds": ("two draws of one set (floor)", DOMAIN_COLOURS[GENERIC], "--", "^"),
}
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
CELL_HEIGHT, PAGE_WIDTH, LABELS = 0.3, 11.4, 1.5  # inches; the last is what the labels of rows take
_LINE_HEIGHT = 0.19  # of the title, inches
RANDOM_MASKS = "random masks"


class NoData(Exception):
    """A figure has nothing to show; the message says why."""


_SETTING = ["method", "sparsity", "calibration_size"]


def cross_task(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Calibration set x benchmark: change against dense, one panel a method and sparsity, controls below the sets.

    Accuracies alone: a perplexity has no percentage points.
    """
    frame = _of_model(tables["relative"], model)
    frame = frame[frame["higher_is_better"].astype(bool)]
    calibrated = _comparing(frame[frame["calibration"] != NO_CALIBRATION])
    panels, rows = _settings(calibrated, "no sub-model was scored"), []
    for title, own in panels.items():
        bare = frame[(frame["calibration"] == NO_CALIBRATION) & frame["sparsity"].isin(own["sparsity"])]
        bare = bare.assign(calibration=bare["method"], calibration_domain=None)
        rows.append(pd.concat([own, bare]).assign(panel=title))
    shown = pd.concat(rows)
    benchmarks = list(dict.fromkeys(shown["benchmark"]))
    sets = _in_order(tables, model, shown["calibration"])
    limit = 100 * max(shown["difference"].abs().max(), 0.01) if shown["difference"].notna().any() else 1
    width = _cell_width(0.66, len(benchmarks))
    figure, axes = _panels(len(panels), len(sets), len(benchmarks), width)
    for axis, own in zip(axes, rows, strict=True):
        values, texts = _grid(sets, benchmarks)
        for row in own.itertuples():
            i, j = sets.index(row.calibration), benchmarks.index(row.benchmark)
            values[i, j] = 100 * row.difference
            texts[i][j] = NOT_RUN if row.status != "ok" else ("≈ " if row.inside_noise else "") + _whole(row.difference)
            if row.matched:
                _mark(axis, i, j)
        image = _heatmap(axis, values, texts, "RdBu", (-limit, limit), width)
        _label(axis, sets, benchmarks, _domains(shown, "calibration"), _domains(shown, "benchmark"), width)
        axis.set_title(own["panel"].iloc[0], loc="left")
    _name_axes(axes, "calibration set", "benchmark")
    _colourbar(figure, axes, image, "change against dense (percentage points)")
    _domain_legend(figure, [*shown["calibration_domain"], *shown["benchmark_domain"]])
    _title(figure, f"{model}: accuracy against the dense base model", _remarks(shown, "benchmark"))
    columns = ["panel", "calibration", "benchmark", "dense", "value", "difference", "low", "high", "status", "reason"]
    return figure, shown[columns]


def jaccard(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Distance of kept weights between calibration sets; the diagonal is the floor between seeds of one set.

    Colours run from 0 to what random masks would give, which has its own column.
    """
    frame = _of_model(tables["jaccard"], model)
    panels = _settings(frame, "no two sub-models of one method and sparsity were compared")
    sets = _in_order(tables, model, [*frame["a"], *frame["b"]])
    columns = [*sets, RANDOM_MASKS]
    domains = _domains(frame, "a") | _domains(frame, "b")
    width = _cell_width(0.44, len(columns))
    figure, axes = _panels(len(panels), len(sets), len(columns), width)
    for axis, (title, own) in zip(axes, panels.items(), strict=True):
        values, texts = _grid(sets, columns)
        random = own["random_kept"].iloc[0]
        for row in own.itertuples():
            a, b = sets.index(row.a), sets.index(row.b)
            for i, j, distance in (
                (a, b, row.kept_distance),
                (b, a, row.kept_distance),
                (a, -1, random),
                (b, -1, random),
            ):
                values[i, j], texts[i][j] = distance, f"{distance:.2f}"
        image = _heatmap(axis, values, texts, "viridis", (0, frame["random_kept"].max()), width)
        _label(axis, sets, columns, domains, domains, width)
        axis.set_title(title, loc="left")
    _name_axes(axes, "calibration set", "calibration set")
    _colourbar(figure, axes, image, "Jaccard distance of kept weights (0: the same weights)")
    _domain_legend(figure, domains.values())
    _title(figure, f"{model}: how far apart are the kept weights?")
    return figure, frame


def jaccard_layers(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Distance of kept weights by decoder block: pairs within a domain, across domains, seeds, random masks."""
    frame = _of_model(tables["jaccard_layers"], model)
    panels = _settings(frame, "no two sub-models of one method and sparsity were compared")
    n_rows, n_columns = _rows_and_columns(len(panels), 5.2)
    size = (5.2 * n_columns, 2.9 * n_rows + 1)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
    axes = _used(axes, len(panels))
    for axis, (title, own) in zip(axes, panels.items(), strict=True):
        for kind, (label, colour, line, marker) in PAIRS.items():
            of_kind = own[own["kind"] == kind].sort_values("layer")
            if len(of_kind):
                axis.plot(
                    of_kind["layer"], of_kind["mean"], line, color=colour, marker=marker, markersize=5, label=label
                )
                axis.fill_between(of_kind["layer"], of_kind["min"], of_kind["max"], color=colour, alpha=0.2, lw=0)
        axis.axhline(own["random"].iloc[0], color=DOMAIN_COLOURS[CONTROL], ls=":", lw=1.2, label="two random masks")
        axis.set_title(title, loc="left")
        axis.set_xlabel("decoder block")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylim(0, 1.06 * frame[["max", "random"]].max(axis=None))
        axis.grid(axis="y", color="#DDDDDD", lw=0.6)
    for axis in axes[::n_columns]:
        axis.set_ylabel("Jaccard distance of kept weights")
    _legend(figure, axes)
    _title(figure, f"{model}: how far apart are the kept weights, by decoder block?")
    return figure, frame


def sparsity(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Accuracy against the pruned fraction, one panel a domain (columns) and calibrating method (rows)."""
    frame = _of_model(tables["sparsity_curves"], model)
    frame = frame[frame["status"] == "ok"]
    calibrated = frame[(frame["series"] != DENSE) & (frame["series"] != frame["method"])]
    methods = list(dict.fromkeys(zip(calibrated["method"], calibrated["calibration_size"], strict=True)))
    if not methods:
        raise NoData("no sub-model was scored")
    several_sizes = calibrated["calibration_size"].nunique() > 1
    domains = list(dict.fromkeys(frame["domain"]))
    size = (max(2.85 * len(domains), 5), 2.6 * len(methods) + 0.9)
    figure, axes = plt.subplots(len(methods), len(domains), figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, (method, calibration_size) in zip(axes, methods, strict=True):
        of_size = frame[frame["calibration_size"].isna() | (frame["calibration_size"] == calibration_size)]
        name = f", {method}" + (f", {calibration_size}" if several_sizes else "") if len(methods) > 1 else ""
        for axis, domain in zip(row, domains, strict=True):
            _curves(axis, of_size[of_size["domain"] == domain], method)
            axis.set_title(f"{domain}{name}", loc="left")
        row[0].set_ylabel("accuracy (%)")
    for axis in axes[-1]:
        axis.set_xlabel("weights pruned (%)")
    _legend(figure, axes.flat)
    _title(figure, f"{model}: accuracy against sparsity, by domain of the benchmarks", _remarks(frame, "domain"))
    return figure, frame


def _curves(axis: Axes, frame: pd.DataFrame, method: str) -> None:
    dense = frame[frame["series"] == DENSE]
    others = sorted(set(frame["series"]) - {DENSE, *SERIES})
    styles = SERIES | dict(zip(others, cycle(OTHER_SERIES), strict=False))
    for series, (colour, line, marker) in styles.items():
        own = frame[(frame["series"] == series) & frame["method"].isin([method, series])]
        if own.empty:
            continue
        structured = own["sparsity"].str.contains("of")
        path = pd.concat([dense, own[~structured]]).sort_values("pruned_fraction")
        x, y, low, high = (100 * path[name] for name in ("pruned_fraction", "value", "low", "high"))
        axis.plot(x, y, line, color=colour, lw=1.6, marker=marker, markersize=5, label=series)
        axis.fill_between(x, low, high, color=colour, alpha=0.13, lw=0)
        apart = own[structured]
        axis.plot(100 * apart["pruned_fraction"], 100 * apart["value"], marker, color=colour, markersize=5)
    axis.plot(
        [0] * len(dense), 100 * dense["value"], "o", color="#000000", markersize=6, markerfacecolor="white", label=DENSE
    )
    axis.set_ylim(-3, 103)
    axis.grid(axis="y", color="#DDDDDD", lw=0.6)


def languages(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Code calibration sets x programming languages: score; the matching language is framed."""
    frame = _of_model(tables["code_languages"], model)
    panels = _settings(frame, "the grid has no benchmark of a programming language")
    benchmarks = list(dict.fromkeys(frame["benchmark"]))
    spoken = dict(zip(frame["benchmark"], frame["language"], strict=True))
    names = [name if spoken[name] in name else f"{name} ({spoken[name]})" for name in benchmarks]
    sets = _in_order(tables, model, frame["calibration"])
    width = _cell_width(0.85, len(benchmarks))
    figure, axes = _panels(len(panels), len(sets), len(benchmarks), width)
    for axis, (title, own) in zip(axes, panels.items(), strict=True):
        values, texts = _grid(sets, benchmarks)
        for row in own.itertuples():
            i, j = sets.index(row.calibration), benchmarks.index(row.benchmark)
            values[i, j] = 100 * row.value
            texts[i][j] = f"{100 * row.value:.0f}" if row.status == "ok" else NOT_RUN
            if row.matched:
                _mark(axis, i, j)
        image = _heatmap(axis, values, texts, "Blues", (0, 100), width)
        _label(axis, sets, names, {}, {}, width)
        axis.set_title(title, loc="left")
    _name_axes(axes, "calibration set", "benchmark")
    relative = _of_model(tables["relative"], model)
    measures = relative.loc[relative["benchmark"].isin(benchmarks), "primary"].unique()
    _colourbar(figure, axes, image, f"{', '.join(measures)} (%)")
    title = f"{model}: is a sub-model specific to the programming language of its calibration set?"
    _title(figure, title, _remarks(frame, "benchmark"))
    return figure, frame


FIGURES: dict[str, Callable[[dict[str, pd.DataFrame], str], tuple[Figure, pd.DataFrame]]] = {
    "cross_task": cross_task,
    "sparsity": sparsity,
    "languages": languages,
    "jaccard": jaccard,
    "jaccard_layers": jaccard_layers,
}


def draw_figures(tables: Path, grid: Path, out: Path) -> None:
    """Draw every figure of `FIGURES` for every base model: <out>/<figure>-<model>.svg and .csv.

    tables: the directory that `tabulate` wrote; grid: description of the grid (JSON).
    """
    read = {path.stem: read_table(path) for path in sorted(Path(tables).glob("*.csv"))}
    needed = {"relative", "sparsity_curves", "code_languages", "jaccard", "jaccard_layers"} - set(read)
    if needed:
        raise SubmodelsError(f"{tables}/{min(needed)}.csv: no such file; run `submodels tabulate` first")
    models = list(files.read_json(grid)["models"])
    matplotlib.use("Agg")
    with tqdm(total=len(models) * len(FIGURES), desc="figures", unit="figure", mininterval=1) as progress:
        for model in models:
            for name, draw in FIGURES.items():
                with plt.rc_context(STYLE):
                    _write(Path(out) / f"{name}-{model}", lambda draw=draw, model=model: draw(read, model))
                progress.update()


def read_table(path: Path) -> pd.DataFrame:
    """A table as `tabulate` wrote it; ids and sparsities stay text (`0.50` is a name, not a number)."""
    names = ["sparsity", "model", "submodel", "calibration", "calibration_size", "method", "a", "b"]
    return pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=[""])


def _write(stem: Path, draw: Callable[[], tuple[Figure, pd.DataFrame]]) -> None:
    try:
        figure, data = draw()
    except NoData as reason:
        figure, data = _empty(str(reason)), pd.DataFrame({"reason": [str(reason)]})
    with files.atomic_path(stem.with_name(stem.name + ".svg")) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.1)
    plt.close(figure)
    files.write_text(stem.with_name(stem.name + ".csv"), data.to_csv(index=False, lineterminator="\n"))


def _empty(reason: str) -> Figure:
    figure = plt.figure(figsize=(8, 1.2))
    figure.text(0.5, 0.5, f"{NOT_RUN}: {reason}", ha="center", va="center")
    return figure


def _of_model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame[frame["model"] == model]


def _settings(frame: pd.DataFrame, reason: str) -> dict[str, pd.DataFrame]:
    """Title of each panel -> its rows: one panel a method, sparsity and size of calibration sets."""
    if frame.empty:
        raise NoData(reason)
    sizes = frame["calibration_size"].nunique()
    return {formats.setting_name(*key, sizes): own for key, own in frame.groupby(_SETTING, sort=False)}


def _comparing(frame: pd.DataFrame) -> pd.DataFrame:
    """Without settings of a single calibration set, which the table of methods shows; all where none has several."""
    several = frame.groupby(_SETTING)["calibration"].transform("nunique") > 1
    return frame[several] if several.any() else frame


def _in_order(tables: dict[str, pd.DataFrame], model: str, names) -> list[str]:
    """Rows in the one order of all figures: dense, calibration sets by domain, methods that need none."""
    relative = _of_model(tables["relative"], model)
    order = dict.fromkeys([*DOMAIN_COLOURS, *relative["calibration_domain"]])
    position = {domain: i for i, domain in enumerate(order)}
    sets = relative[relative["calibration"] != NO_CALIBRATION].drop_duplicates("calibration")
    sets = sets.sort_values("calibration_domain", key=lambda domains: domains.map(position), kind="stable")
    names = list(dict.fromkeys(names))
    ordered = [name for name in [DENSE, *sets["calibration"]] if name in names]
    return [*ordered, *(name for name in names if name not in ordered)]


def _domains(frame: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(frame[column], frame[f"{column}_domain"], strict=True))


def _grid(rows: list, columns: list) -> tuple[np.ndarray, list[list[str]]]:
    """Empty values and texts; what stays empty is not in the grid."""
    return np.full((len(rows), len(columns)), np.nan), [[""] * len(columns) for _ in rows]


def _whole(value: float) -> str:
    """A change in whole percentage points with its sign: -0.15 -> `−15`."""
    rounded = round(100 * value)
    return "0" if rounded == 0 else f"{rounded:+d}".replace("-", "−")


def _rows_and_columns(panels: int, width: float) -> tuple[int, int]:
    """Arrange panels of a width in inches on the page."""
    columns = min(panels, max(1, int(PAGE_WIDTH / width)))
    return -(-panels // columns), columns


def _used(axes: np.ndarray, panels: int) -> list[Axes]:
    for axis in axes.flat[panels:]:
        axis.remove()
    return list(axes.flat[:panels])


def _cell_width(wanted: float, columns: int) -> float:
    """Width of a heatmap's cells, less than `wanted` where so many columns would not fit on the page."""
    return min(wanted, (PAGE_WIDTH - LABELS - 0.2) / columns)


def _panels(panels: int, rows: int, columns: int, cell_width: float) -> tuple[Figure, list[Axes]]:
    """Heatmap panels of the same rows side by side, as many as the page holds; every cell has one size."""
    width = columns * cell_width + 0.2
    n_rows = _rows_and_columns(panels, width + LABELS / 2)[0]
    n_columns = -(-panels // n_rows)
    size = (max(n_columns * width + LABELS, 6), n_rows * (rows * CELL_HEIGHT + 1) + 1.4)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
    return figure, _used(axes, panels)


def _heatmap(
    axis: Axes,
    values: np.ndarray,
    texts: list[list[str]],
    colours: str,
    limits: tuple[float, float],
    cell_width: float,
):
    """Cells in colour with their texts, which are as large as the narrowest cell lets the longest be."""
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


def _mark(axis: Axes, row: int, column: int) -> None:
    """A frame that stands out on every colour."""
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


def _label(
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


def _domain_legend(figure: Figure, domains) -> None:
    present = [domain for domain in DOMAIN_COLOURS if domain in set(domains)]
    handles = [Patch(color=DOMAIN_COLOURS[domain], label=domain) for domain in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="domain", title_fontsize=9)


def _legend(figure: Figure, axes) -> None:
    entries: dict = {}
    for axis in axes:
        entries |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    width = 0.6 + 0.065 * max(map(len, entries))  # inches
    columns = min(len(entries), max(1, int(figure.get_figwidth() / width)))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def _title(figure: Figure, text: str, remarks: str = "") -> None:
    """Above all panels; remarks stand below the title, and the figure grows by their lines."""
    width = int(figure.get_figwidth() * 11)
    noted = textwrap.wrap(remarks, width)
    figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * len(noted))
    figure.suptitle("\n".join([textwrap.fill(text, width), *noted]), fontsize=11, x=0.01, ha="left")


def _remarks(frame: pd.DataFrame, column: str) -> str:
    """What must be known of the scores shown, with the benchmarks or domains it holds for unless for all."""
    noted = frame[frame["remarks"].notna() & (frame["remarks"] != "")]
    held = noted.groupby("remarks", sort=False)[column].unique()
    everywhere = frame[column].nunique()
    return "; ".join(remark if len(of) == everywhere else f"{remark} ({', '.join(of)})" for remark, of in held.items())
