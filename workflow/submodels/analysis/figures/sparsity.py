"""Accuracy against the share of weights pruned."""

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    DOMAIN_COLOURS,
    MATCHED,
    UNCALIBRATED,
    UNMATCHED,
    NoData,
    Plot,
    legend,
    of_model,
    remarks_of,
    title_figure,
)
from submodels.analysis.formats import method_name, product_note
from submodels.pruning import patterns
from submodels.terms import CONTROL, DENSE, GENERIC

CAPTION = (
    "Accuracy against the share of weights pruned: mean over the benchmarks of a domain, for calibration sets that "
    "match the domain and for sets that do not. Bands are intervals over items; N:M sparsities are single points."
)
SERIES = {  # series -> colour, line style, marker
    "matched": (MATCHED, "-", "o"),
    "unmatched": (UNMATCHED, "-", "s"),
    GENERIC: (DOMAIN_COLOURS[GENERIC], "--", "^"),
    "random tokens": (DOMAIN_COLOURS[CONTROL], ":", "x"),
}
# Methods that need no calibration, in alphabetical order: one colour, each with a different line and marker.
OTHER_SERIES = [(UNCALIBRATED, line, marker) for line, marker in (("-.", "D"), ("--", "v"), (":", "P"), ("-", "*"))]


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Accuracy against the pruned fraction, panels by domain (columns) and calibrating method (rows)."""
    frame = of_model(tables["sparsity_curves"], model)
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
        named = [method_name(method)] * (len(methods) > 1 or bool(product_note([method])))
        named += [calibration_size] * several_sizes
        for axis, domain in zip(row, domains, strict=True):
            _curves(axis, of_size[of_size["domain"] == domain], method)
            axis.set_title(", ".join([domain, *named]), loc="left")
        row[0].set_ylabel("accuracy (%)")
    for axis in axes[-1]:
        axis.set_xlabel("weights pruned (%)")
    legend(figure, axes.flat)
    title = f"{model}: accuracy against sparsity, by domain of the benchmarks"
    title_figure(figure, title, remarks_of(frame, "domain"), product_note(frame["method"]))
    return figure, frame


def _curves(axis: Axes, frame: pd.DataFrame, method: str) -> None:
    dense = frame[frame["series"] == DENSE]
    others = sorted(set(frame["series"]) - {DENSE, *SERIES})
    styles = SERIES | dict(zip(others, cycle(OTHER_SERIES), strict=False))
    for series, (colour, line, marker) in styles.items():
        curve = frame[(frame["series"] == series) & frame["method"].isin([method, series])]
        if curve.empty:
            continue
        structured = curve["sparsity"].map(lambda sparsity: patterns.parse(sparsity).is_structured).astype(bool)
        path = pd.concat([dense, curve[~structured]]).sort_values("pruned_fraction")
        x, y, low, high = (100 * path[name] for name in ("pruned_fraction", "value", "low", "high"))
        axis.plot(x, y, line, color=colour, lw=1.6, marker=marker, markersize=5, label=series)
        axis.fill_between(x, low, high, color=colour, alpha=0.13, lw=0)
        apart = curve[structured]
        axis.plot(100 * apart["pruned_fraction"], 100 * apart["value"], marker, color=colour, markersize=5)
    axis.plot(
        [0] * len(dense), 100 * dense["value"], "o", color="#000000", markersize=6, markerfacecolor="white", label=DENSE
    )
    axis.set_ylim(-3, 103)
    axis.grid(axis="y", color="#DDDDDD", lw=0.6)


FIGURE = Plot(CAPTION, draw)
