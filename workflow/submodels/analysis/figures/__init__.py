"""The report's figures, one file each: its caption and how it is drawn.

`layout.FIGURE_NAMES` lists them in their order, and a figure is the module of its name here. Its caption is also in
workflow/report/<name>.rst, for `snakemake --report`.
"""

from importlib import import_module

from submodels.analysis.figures.shared import Plot
from submodels.layout import FIGURE_NAMES

FIGURES: dict[str, Plot] = {name: import_module(f"{__name__}.{name}").FIGURE for name in FIGURE_NAMES}
