"""Change against the dense base model: calibration set by benchmark."""

import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    Cell,
    Plot,
    by_setting,
    comparing,
    domain_legend,
    domains_of,
    draw_heatmaps,
    in_order,
    of_model,
    remarks_of,
    title_figure,
)
from submodels.analysis.formats import product_note
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
    limit = 100 * max(shown["difference"].abs().max(), 0.01) if shown["difference"].notna().any() else 1
    figure = draw_heatmaps(
        {panel["panel"].iloc[0]: map(_cell, panel.itertuples()) for panel in rows},
        in_order(tables, model, shown["calibration"]),
        {name: name for name in shown["benchmark"]},
        colours="RdBu",
        limits=(-limit, limit),
        cell_width=0.66,
        names=("calibration set", "benchmark"),
        measure="change against dense (percentage points)",
        row_domains=domains_of(shown, "calibration"),
        column_domains=domains_of(shown, "benchmark"),
    )
    domain_legend(figure, [*shown["calibration_domain"], *shown["benchmark_domain"]])
    notes = remarks_of(shown, "benchmark"), product_note(shown["method"])
    title_figure(figure, f"{model}: accuracy against the dense base model", *notes)
    columns = ["panel", "calibration", "benchmark", "dense", "value", "difference", "low", "high", "status", "reason"]
    return figure, shown[columns]


def _cell(row) -> Cell:
    text = NOT_RUN if row.status != "ok" else ("≈ " if row.inside_noise else "") + _whole(row.difference)
    return Cell(row.calibration, row.benchmark, 100 * row.difference, text, row.matched)


def _whole(value: float) -> str:
    """A change in whole percentage points with its sign: -0.15 -> `−15`."""
    rounded = round(100 * value)
    return "0" if rounded == 0 else f"{rounded:+d}".replace("-", "−")


FIGURE = Plot(CAPTION, draw)
