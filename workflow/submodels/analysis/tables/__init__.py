"""The report's tables, one module for each: its caption, and the functions that compute and show it.

`layout.TABLE_NAMES` lists the names of the modules in the report's order. The paper's claims are in
`analysis/claims.py`.
"""

from importlib import import_module

from submodels.analysis.tables.shared import Table
from submodels.layout import TABLE_NAMES

TABLES: dict[str, Table] = {name: import_module(f"{__name__}.{name}").TABLE for name in TABLE_NAMES}
