"""Stage `draw_figures`: the tables as pictures (SVG), each with the data behind it (CSV of the same name).

Every figure exists for every base model; where the data are missing it says so. Equal tables give equal bytes.
Colours are Okabe and Ito's for domains and series, and red to blue for changes: safe for colour-blind readers.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from submodels import files
from submodels.analysis.study import DENSE
from submodels.errors import SubmodelsError

DOMAIN_COLOURS = {
    "code": "#0072B2",
    "math": "#D55E00",
    "csr": "#009E73",
    "translation": "#CC79A7",
    "generic": "#7F7F7F",
    "control": "#000000",
}
SERIES = {  # series -> colour, line style, marker
    "matched": ("#0072B2", "-", "o"),
    "unmatched": ("#D55E00", "-", "s"),
    "mix": ("#009E73", "--", "^"),
    "random tokens": ("#7F7F7F", ":", "x"),
    "magnitude": ("#000000", "-.", "D"),
}
OTHER_SERIES = ("#CC79A7", "-.", "v")
PAIRS = {  # kind of pair -> colour, line style, marker
    "cross domain": ("#D55E00", "-", "s"),
    "within domain": ("#0072B2", "-", "o"),
    "seeds": ("#009E73", "--", "^"),
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
    "legend.frameon": False,
}
CELL = (0.72, 0.34)  # inches


class NoData(Exception):
    """A figure has nothing to show; the message says why."""


def cross_task(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Calibration set x benchmark: change against dense, one panel a method and sparsity, controls below the sets."""
    frame = _of_model(tables["relative"], model)
    calibrated = frame[frame["calibration"] != "none"]
    panels, rows = _settings(calibrated, "no sub-model was scored"), []
    for method, sparsity in panels:
        own = calibrated[(calibrated["method"] == method) & (calibrated["sparsity"] == sparsity)]
        bare = frame[(frame["calibration"] == "none") & (frame["sparsity"] == sparsity)]
        bare = bare.assign(calibration=bare["method"], calibration_domain=None)
        rows.append(pd.concat([own, bare]).assign(panel=f"{method}, {sparsity} pruned"))
    shown = pd.concat(rows)
    benchmarks = list(dict.fromkeys(shown["benchmark"]))
    limit = 100 * max(shown["difference"].abs().max(), 0.01) if shown["difference"].notna().any() else 1
    figure, axes = _stack([_count(own, "calibration") for own in rows], len(benchmarks))
    for axis, own in zip(axes, rows, strict=True):
        sets = list(dict.fromkeys(own["calibration"]))
        values, texts = _grid(sets, benchmarks), [[""] * len(benchmarks) for _ in sets]
        for row in own.itertuples():
            i, j = sets.index(row.calibration), benchmarks.index(row.benchmark)
            values[i, j] = 100 * row.difference
            texts[i][j] = (
                "not run" if row.status != "ok" else ("≈" if row.inside_noise else "") + _signed(row.difference)
            )
        image = _heatmap(axis, values, texts, "RdBu", (-limit, limit))
        _label(axis, sets, benchmarks, _domains(own, "calibration"), _domains(own, "benchmark"))
        axis.set_title(own["panel"].iloc[0], loc="left")
        axis.set_ylabel("calibration set")
    axes[-1].set_xlabel("benchmark")
    _colourbar(figure, axes, image, "change against dense (percentage points)")
    _title(figure, f"{model}: accuracy against the dense base model. ≈: the interval holds zero")
    columns = ["panel", "calibration", "benchmark", "dense", "value", "difference", "low", "high", "status", "reason"]
    return figure, shown[columns]


def jaccard(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Distance of kept weights between calibration sets; the diagonal is the floor between seeds of one set."""
    frame = _of_model(tables["jaccard"], model)
    panels = _settings(frame, "no two sub-models of one method and sparsity were compared")
    rows = [frame[(frame["method"] == method) & (frame["sparsity"] == sparsity)] for method, sparsity in panels]
    top = max(frame["kept_distance"].max(), 0.01)
    names = [list(dict.fromkeys([*own["a"], *own["b"]])) for own in rows]
    figure, axes = _stack([len(sets) for sets in names], max(len(sets) for sets in names))
    for axis, own, sets, (method, sparsity) in zip(axes, rows, names, panels, strict=True):
        sets = [name for name in _set_order(tables["relative"], frame) if name in sets]
        values, texts = _grid(sets, sets), [[""] * len(sets) for _ in sets]
        for row in own.itertuples():
            for i, j in ((sets.index(row.a), sets.index(row.b)), (sets.index(row.b), sets.index(row.a))):
                values[i, j] = row.kept_distance
                texts[i][j] = f"{row.kept_distance:.2f}"
        image = _heatmap(axis, values, texts, "cividis", (0, top))
        domains = _domains(own, "a") | _domains(own, "b")
        _label(axis, sets, sets, domains, domains)
        floor = own.loc[own["kind"] == "seeds", "kept_distance"]
        seeds = f"floor between seeds {floor.mean():.3f}" if len(floor) else "no second seed: no floor"
        axis.set_title(
            f"{method}, {sparsity} pruned. Random masks {own['random_kept'].iloc[0]:.3f}, {seeds}", loc="left"
        )
        axis.set_ylabel("calibration set")
    axes[-1].set_xlabel("calibration set (diagonal: two draws of one set; blank: one draw only)")
    _colourbar(figure, axes, image, "Jaccard distance of kept weights (0 same, 1 disjoint)")
    _title(figure, f"{model}: how far apart are the kept weights?")
    return figure, frame


def jaccard_layers(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Distance of kept weights by decoder block: pairs within a domain, across domains, seeds, random masks."""
    frame = _of_model(tables["jaccard_layers"], model)
    panels = _settings(frame, "no two sub-models of one method and sparsity were compared")
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6), sharey=True, squeeze=False)
    for axis, (method, sparsity) in zip(axes[0], panels, strict=True):
        own = frame[(frame["method"] == method) & (frame["sparsity"] == sparsity)]
        for kind, (colour, line, marker) in PAIRS.items():
            of_kind = own[own["kind"] == kind].sort_values("layer")
            if len(of_kind):
                label = {"seeds": "two seeds of one set (floor)"}.get(kind, f"{kind} pairs")
                axis.plot(
                    of_kind["layer"], of_kind["mean"], line, color=colour, marker=marker, markersize=4, label=label
                )
                axis.fill_between(of_kind["layer"], of_kind["min"], of_kind["max"], color=colour, alpha=0.15, lw=0)
        axis.axhline(own["random"].iloc[0], color="#000000", ls=":", lw=1.2, label="two random masks")
        axis.set_title(f"{method}, {sparsity} pruned", loc="left")
        axis.set_xlabel("decoder block")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", color="#DDDDDD", lw=0.6)
    axes[0, 0].set_ylabel("Jaccard distance of kept weights")
    _legend_below(figure, axes[0])
    _title(figure, f"{model}: distance by decoder block (band: range over pairs)")
    return figure, frame


def sparsity(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Accuracy against the pruned fraction, one panel a domain (columns) and calibrating method (rows)."""
    frame = _of_model(tables["sparsity_curves"], model)
    frame = frame[frame["status"] == "ok"]
    methods = sorted(set(frame.loc[frame["series"].isin(["matched", "unmatched"]), "method"]))
    if not methods:
        raise NoData("no sub-model was scored")
    domains = list(dict.fromkeys(frame["domain"]))
    size = (2.9 * len(domains), 2.6 * len(methods) + 0.7)
    figure, axes = plt.subplots(len(methods), len(domains), figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, method in zip(axes, methods, strict=True):
        for axis, domain in zip(row, domains, strict=True):
            _curves(axis, frame[frame["domain"] == domain], method)
            axis.set_title(domain if len(methods) == 1 else f"{domain}, {method}", loc="left")
        row[0].set_ylabel("accuracy (%)")
    for axis in axes[-1]:
        axis.set_xlabel("weights pruned (%)")
    _legend_below(figure, axes[0])
    title = f"{model}: accuracy against sparsity (band: interval over items; leftmost point: dense; single points: N:M)"
    _title(figure, title)
    return figure, frame


def _curves(axis: Axes, frame: pd.DataFrame, method: str) -> None:
    dense = frame[frame["series"] == DENSE]
    calibrated = ["matched", "unmatched", "mix", "random tokens"]
    for series in dict.fromkeys([*SERIES, *frame["series"]]):
        own = frame[(frame["series"] == series) & ((frame["method"] == method) | ~frame["series"].isin(calibrated))]
        if series == DENSE or own.empty:
            continue
        colour, line, marker = SERIES.get(series, OTHER_SERIES)
        structured = own["sparsity"].astype(str).str.contains("of")
        path = pd.concat([dense, own[~structured]]).sort_values("pruned_fraction")
        axis.plot(100 * path["pruned_fraction"], 100 * path["value"], line, color=colour, lw=1.4, label=series)
        axis.fill_between(
            100 * path["pruned_fraction"], 100 * path["low"], 100 * path["high"], color=colour, alpha=0.13, lw=0
        )
        axis.plot(100 * own["pruned_fraction"], 100 * own["value"], marker, color=colour, markersize=4.5)
    axis.plot([0] * len(dense), 100 * dense["value"], "o", color="#000000", markersize=5, markerfacecolor="white")
    axis.set_ylim(-3, 103)
    axis.grid(axis="y", color="#DDDDDD", lw=0.6)


def languages(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Code calibration sets x programming languages: accuracy; the matching language is framed."""
    frame = _of_model(tables["code_languages"], model)
    panels = _settings(frame, "the grid has no benchmark of a programming language")
    benchmarks = list(dict.fromkeys(frame["benchmark"]))
    spoken = dict(zip(frame["benchmark"], frame["language"], strict=True))
    names = [f"{name}\n({spoken[name]})" if spoken[name] not in name else name for name in benchmarks]
    rows = [frame[(frame["method"] == method) & (frame["sparsity"] == pruned)] for method, pruned in panels]
    figure, axes = _stack([_count(own, "calibration") for own in rows], len(benchmarks), width=0.95)
    for axis, own, (method, pruned) in zip(axes, rows, panels, strict=True):
        sets = list(dict.fromkeys(own["calibration"]))
        values, texts = _grid(sets, benchmarks), [[""] * len(benchmarks) for _ in sets]
        for row in own.itertuples():
            i, j = sets.index(row.calibration), benchmarks.index(row.benchmark)
            values[i, j] = 100 * row.value
            texts[i][j] = f"{100 * row.value:.0f}" if row.status == "ok" else "not run"
            if row.matched:
                frame_of_cell = plt.Rectangle((j - 0.46, i - 0.44), 0.92, 0.88, fill=False, lw=2, ec="#D55E00")
                axis.add_patch(frame_of_cell)
        image = _heatmap(axis, values, texts, "cividis", (0, 100))
        _label(axis, sets, names, {}, {})
        axis.set_title(f"{method}, {pruned} pruned", loc="left")
        axis.set_ylabel("calibration set")
    axes[-1].set_xlabel("benchmark (language)")
    _colourbar(figure, axes, image, "accuracy (%)")
    _title(figure, f"{model}: specific to a language? Framed: calibration set of the benchmark's language")
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
        raise SubmodelsError(f"{tables}/{min(needed)}.csv: no such file; run the tabulate stage first")
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
    names = ["sparsity", "model", "submodel", "calibration", "method", "a", "b"]
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
    figure = plt.figure(figsize=(6, 1.2))
    figure.text(0.5, 0.5, f"not run: {reason}", ha="center", va="center")
    return figure


def _of_model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame[frame["model"] == model]


def _settings(frame: pd.DataFrame, reason: str) -> list[tuple[str, str]]:
    found = list(dict.fromkeys(zip(frame["method"], frame["sparsity"], strict=True)))
    if not found:
        raise NoData(reason)
    return found


def _count(frame: pd.DataFrame, column: str) -> int:
    return frame[column].nunique()


def _set_order(relative: pd.DataFrame, fallback: pd.DataFrame) -> list[str]:
    """Calibration sets in the fixed order that every figure keeps."""
    return list(dict.fromkeys([*relative["calibration"], *fallback["a"], *fallback["b"]]))


def _domains(frame: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(frame[column], frame[f"{column}_domain"], strict=True))


def _grid(rows: list, columns: list) -> np.ndarray:
    return np.full((len(rows), len(columns)), np.nan)


def _signed(value: float) -> str:
    return f"{100 * value:+.0f}".replace("-", "−").replace("+0", "0").replace("−0", "0")


def _stack(heights: list[int], columns: int, width: float = CELL[0]) -> tuple[Figure, list[Axes]]:
    """Heatmap panels below each other, every cell of one size, so that large grids stay readable."""
    inches = [height * CELL[1] + 1.25 for height in heights]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(max(columns * width, 3) + 2.6, sum(inches)),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    return figure, list(axes[:, 0])


def _heatmap(axis: Axes, values: np.ndarray, texts: list[list[str]], colours: str, limits: tuple[float, float]):
    palette = matplotlib.colormaps[colours].with_extremes(bad="#EEEEEE")
    image = axis.imshow(values, cmap=palette, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
        bright = 0.299 * red + 0.587 * green + 0.114 * blue
        axis.text(
            j, i, texts[i][j], ha="center", va="center", fontsize=8, color="#000000" if bright > 0.5 else "#FFFFFF"
        )
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return image


def _label(axis: Axes, rows: list[str], columns: list[str], row_domains: dict, column_domains: dict) -> None:
    """Tick labels with a strip in the domain's colour beside them."""
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xticks(range(len(columns)), [textwrap.fill(name.replace("_", " "), 14) for name in columns])
    if max(map(len, columns)) > 11:
        plt.setp(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
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


def _colourbar(figure: Figure, axes: list[Axes], image, label: str) -> None:
    figure.colorbar(image, ax=axes, label=label, shrink=min(1, 2 / len(axes)), aspect=30, pad=0.02)


def _legend_below(figure: Figure, axes) -> None:
    entries: dict = {}
    for axis in axes:
        entries |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.tight_layout(rect=(0, 0.02, 1, 0.96))
    figure.legend(entries.values(), entries.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=len(entries))


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(textwrap.fill(text, max(40, int(figure.get_figwidth() * 13))), fontsize=11, x=0.01, ha="left")
