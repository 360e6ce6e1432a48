"""The report's figures, one module for each: its caption and the function that draws it.

`layout.FIGURE_NAMES` lists the names of the modules in the report's order. A caption is also in
workflow/report/<name>.rst, for `snakemake --report`.
"""

from importlib import import_module

from submodels.analysis.figures.shared import Plot
from submodels.layout import FIGURE_NAMES

FIGURES: dict[str, Plot] = {name: import_module(f"{__name__}.{name}").FIGURE for name in FIGURE_NAMES}
