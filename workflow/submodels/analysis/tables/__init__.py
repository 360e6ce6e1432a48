"""The report's tables, one file each: its caption, how it is computed and how it is shown.

`layout.TABLE_NAMES` lists them in their order, and a table is the module of its name here. The paper's claims are in
`analysis/claims.py`.
"""

from importlib import import_module

from submodels.analysis.tables.shared import Table
from submodels.layout import TABLE_NAMES

TABLES: dict[str, Table] = {name: import_module(f"{__name__}.{name}").TABLE for name in TABLE_NAMES}
