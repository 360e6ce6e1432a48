"""Change against the dense base model: calibration set by benchmark."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    Plot,
    by_setting,
    colourbar,
    comparing,
    domain_legend,
    domains_of,
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
from submodels.terms import NO_CALIBRATION, NOT_RUN

CAPTION = (
    "Change of accuracy against the dense base model in percentage points, by calibration set and benchmark. ≈: the "
    "interval contains zero. Framed: calibrated on the benchmark’s domain (and language). Strips show domains; "
    "blank cells are not in the grid."
)


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Calibration set x benchmark: change against dense, one panel for each method and sparsity, controls below.

    Only accuracies: a perplexity has no percentage points.
    """
    frame = of_model(tables["relative"], model)
    frame = frame[frame["higher_is_better"].astype(bool)]
    calibrated = comparing(frame[frame["calibration"] != NO_CALIBRATION])
    panels, rows = by_setting(calibrated, "no sub-model was scored"), []
    for title, panel in panels.items():
        bare = frame[(frame["calibration"] == NO_CALIBRATION) & frame["sparsity"].isin(panel["sparsity"])]
        bare = bare.assign(calibration=bare["method"], calibration_domain=None)
        rows.append(pd.concat([panel, bare]).assign(panel=title))
    shown = pd.concat(rows)
    benchmarks = list(dict.fromkeys(shown["benchmark"]))
    sets = in_order(tables, model, shown["calibration"])
    limit = 100 * max(shown["difference"].abs().max(), 0.01) if shown["difference"].notna().any() else 1
    width = fit_cell_width(0.66, len(benchmarks))
    figure, axes = heatmap_panels(len(panels), len(sets), len(benchmarks), width)
    for axis, panel in zip(axes, rows, strict=True):
        values, texts = empty_cells(sets, benchmarks)
        for row in panel.itertuples():
            i, j = sets.index(row.calibration), benchmarks.index(row.benchmark)
            values[i, j] = 100 * row.difference
            texts[i][j] = NOT_RUN if row.status != "ok" else ("≈ " if row.inside_noise else "") + _whole(row.difference)
            if row.matched:
                frame_cell(axis, i, j)
        image = heatmap(axis, values, texts, "RdBu", (-limit, limit), width)
        label_ticks(axis, sets, benchmarks, domains_of(shown, "calibration"), domains_of(shown, "benchmark"), width)
        axis.set_title(panel["panel"].iloc[0], loc="left")
    name_axes(axes, "calibration set", "benchmark")
    colourbar(figure, axes, image, "change against dense (percentage points)")
    domain_legend(figure, [*shown["calibration_domain"], *shown["benchmark_domain"]])
    title_figure(figure, f"{model}: accuracy against the dense base model", remarks_of(shown, "benchmark"))
    columns = ["panel", "calibration", "benchmark", "dense", "value", "difference", "low", "high", "status", "reason"]
    return figure, shown[columns]


def _whole(value: float) -> str:
    """A change in whole percentage points with its sign: -0.15 -> `−15`."""
    rounded = round(100 * value)
    return "0" if rounded == 0 else f"{rounded:+d}".replace("-", "−")


FIGURE = Plot(CAPTION, draw)
