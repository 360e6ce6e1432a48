"""Methods by name. A new method is one entry here and one rule in `rules.py`.

The table itself needs no torch: code that only plans (the grid, its validation) reads it without that slow import.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from submodels.errors import unknown

if TYPE_CHECKING:
    from submodels.pruning.rules import Rule
    from submodels.pruning.whole_model import EndToEnd

_RULES = "submodels.pruning.rules"


@dataclass(frozen=True)
class Method:
    """version: raised whenever the method's results change; finished sub-models are then out of date.

    needs_calibration: whether the method looks at activations, so that it takes calibration windows.
    target: place of its rule, `module:name`.
    description: one line for readers.
    updates_weights: whether it changes the weights it keeps, so that the sub-model holds their values.
    needs_gradients: whether the whole model must be in memory, with gradients (`whole_model`).
    settings: which of `SETTINGS` it takes. only_patterns: whether it makes masks of N:M patterns alone.
    """

    version: int
    needs_calibration: bool
    target: str
    description: str
    updates_weights: bool = False
    needs_gradients: bool = False
    settings: tuple[str, ...] = ()
    only_patterns: bool = False

    def rule(self) -> "Rule | EndToEnd":
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


SETTINGS = ("general", "general_weight", "tokens", "prior")  # of methods with gradients, see `whole_model.Settings`
_GENERAL = {"needs_gradients": True, "settings": ("general", "general_weight")}
METHODS = {
    "dpruner": Method(
        1, True, "submodels.pruning.gradients:DPRUNER", "gradients on the set, and general importance", **_GENERAL
    ),
    "dpruner_matrix": Method(
        1, True, "submodels.pruning.gradients:DPRUNER_MATRIX", "the same, compared over the matrix", **_GENERAL
    ),
    "magnitude": Method(1, False, f"{_RULES}:MAGNITUDE", "small weights go, compared over the matrix"),
    "magnitude_row": Method(1, False, f"{_RULES}:MAGNITUDE_ROW", "small weights go, compared within an output row"),
    "maskllm": Method(
        1,
        True,
        "submodels.pruning.learned_masks:MASKLLM",
        "N:M masks learned on the set, weights as they are",
        needs_gradients=True,
        settings=("tokens", "prior"),
        only_patterns=True,
    ),
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
