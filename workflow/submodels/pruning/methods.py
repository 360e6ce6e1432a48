"""Methods by name. A new method is one entry here and one rule in `rules.py`.

The table itself needs no torch: whoever only plans (the grid, its validation) reads it without paying for an import.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from submodels.errors import unknown

if TYPE_CHECKING:
    from submodels.pruning.rules import Rule


@dataclass(frozen=True)
class Method:
    """version: goes up whenever the masks the method makes change; finished masks are then out of date.

    needs_calibration: whether it looks at activations, so that it takes calibration windows.
    target: where its rule is, `module:name`.
    """

    version: int
    needs_calibration: bool
    target: str

    def rule(self) -> "Rule":
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


METHODS = {
    "magnitude": Method(version=1, needs_calibration=False, target="submodels.pruning.rules:MAGNITUDE"),
    "wanda": Method(version=1, needs_calibration=True, target="submodels.pruning.rules:WANDA"),
}


def get_method(name: str) -> Method:
    if name not in METHODS:
        raise unknown("pruning method", name, METHODS)
    return METHODS[name]
