"""How far apart the masks are, block by block."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from submodels.analysis.figures.shared import (
    DOMAIN_COLOURS,
    MATCHED,
    UNMATCHED,
    Plot,
    by_setting,
    legend,
    of_model,
    rows_and_columns,
    title_figure,
    used_axes,
)
from submodels.analysis.formats import product_note
from submodels.terms import CONTROL, GENERIC

CAPTION = (
    "Jaccard distance of kept weights by decoder block: mean over pairs of sub-models; bands reach from the nearest "
    "to the farthest pair."
)
PAIRS = {  # kind of pair -> label, colour, line style, marker
    "cross domain": ("two sets of different domains", UNMATCHED, "-", "s"),
    "within domain": ("two sets of one domain", MATCHED, "-", "o"),
    "seeds": ("two draws of one set (floor)", DOMAIN_COLOURS[GENERIC], "--", "^"),
}


def draw(tables: dict[str, pd.DataFrame], model: str) -> tuple[Figure, pd.DataFrame]:
    """Distance of kept weights by decoder block: pairs within a domain, across domains, seeds, random masks."""
    frame = of_model(tables["jaccard_layers"], model)
    panels = by_setting(frame, "no two sub-models of one method and sparsity were compared")
    n_rows, n_columns = rows_and_columns(len(panels), 5.2)
    size = (5.2 * n_columns, 2.9 * n_rows + 1)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
    axes = used_axes(axes, len(panels))
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        for kind, (label, colour, line, marker) in PAIRS.items():
            of_kind = panel[panel["kind"] == kind].sort_values("layer")
            if len(of_kind):
                axis.plot(
                    of_kind["layer"], of_kind["mean"], line, color=colour, marker=marker, markersize=5, label=label
                )
                axis.fill_between(of_kind["layer"], of_kind["min"], of_kind["max"], color=colour, alpha=0.2, lw=0)
        axis.axhline(panel["random"].iloc[0], color=DOMAIN_COLOURS[CONTROL], ls=":", lw=1.2, label="two random masks")
        axis.set_title(title, loc="left")
        axis.set_xlabel("decoder block")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylim(0, 1.06 * frame[["max", "random"]].max(axis=None))
        axis.grid(axis="y", color="#DDDDDD", lw=0.6)
    for axis in axes[::n_columns]:
        axis.set_ylabel("Jaccard distance of kept weights")
    legend(figure, axes)
    title = f"{model}: how far apart are the kept weights, by decoder block?"
    title_figure(figure, title, product_note(frame["method"]))
    return figure, frame


FIGURE = Plot(CAPTION, draw)
