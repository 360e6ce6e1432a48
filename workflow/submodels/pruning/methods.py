"""Methods by name. A new method is one entry here and one rule in `rules.py`.

The table itself needs no torch: code that only plans (the grid, its validation) reads it without that slow import.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from submodels.errors import unknown

if TYPE_CHECKING:
    from submodels.pruning.rules import Rule

_RULES = "submodels.pruning.rules"


@dataclass(frozen=True)
class Method:
    """version: raised whenever the method's results change; finished sub-models are then out of date.

    needs_calibration: whether the method looks at activations, so that it takes calibration windows.
    target: place of its rule, `module:name`.
    description: one line for readers.
    updates_weights: whether it changes the weights it keeps, so that the sub-model holds their values.
    """

    version: int
    needs_calibration: bool
    target: str
    description: str
    updates_weights: bool = False

    def rule(self) -> "Rule":
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


METHODS = {
    "magnitude": Method(1, False, f"{_RULES}:MAGNITUDE", "small weights go, compared over the matrix"),
    "magnitude_row": Method(1, False, f"{_RULES}:MAGNITUDE_ROW", "small weights go, compared within an output row"),
    "random": Method(1, False, f"{_RULES}:RANDOM", "control: weights of every output row go at random"),
    "ria": Method(1, True, f"{_RULES}:RIA", "relative importance and activations, compared over the matrix"),
    "ria_row": Method(1, True, f"{_RULES}:RIA_ROW", "relative importance and activations, within an output row"),
    "sparsegpt": Method(
        2, True, f"{_RULES}:SPARSEGPT", "least output error; the kept weights make up for it", updates_weights=True
    ),
    "wanda": Method(1, True, f"{_RULES}:WANDA", "weight times input norm, compared within an output row"),
}


def get_method(name: str) -> Method:
    if name not in METHODS:
        raise unknown("pruning method", name, METHODS)
    return METHODS[name]
