"""Methods by name. A new method is one entry here and one rule in `rules.py`.

The table itself needs no torch: code that only plans (the grid, its validation) reads it without that slow import.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from submodels.errors import unknown
from submodels.pruning import need
from submodels.pruning.patterns import Pattern
from submodels.terms import MASK_AND_VALUES, MASK_ONLY

if TYPE_CHECKING:
    from submodels.pruning.rules import Rule
    from submodels.pruning.whole_model import EndToEnd

_RULES = "submodels.pruning.rules"


@dataclass(frozen=True)
class Gradients:
    """Of a method that needs the whole model in memory, with gradients (`whole_model`).

    windows: of a step. state_bytes: memory for every weight that may be pruned, beside the model; saved_bytes: the part
    of it that a killed job continues from; held_bytes: the part that is there while the method looks at single blocks.
    settings: which of the keys of `pruning` it takes, see `whole_model.Settings`.
    """

    windows: int
    state_bytes: Callable[[Pattern], float]
    saved_bytes: Callable[[Pattern], float]
    held_bytes: float
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Method:
    """version: raised whenever the method's results change; finished sub-models are then out of date.

    needs_calibration: whether the method looks at activations, so that it takes calibration windows.
    target: place of its rule, `module:name`.
    description: one line for readers.
    updates_weights: whether it changes the weights it keeps, so that the sub-model holds their values.
    gradients: of a method that needs them; None for a method that looks at a block at a time.
    only_patterns: whether it makes masks of N:M patterns alone.
    """

    version: int
    needs_calibration: bool
    target: str
    description: str
    updates_weights: bool = False
    gradients: Gradients | None = None
    only_patterns: bool = False

    @property
    def product(self) -> str:
        """The kind of product."""
        return MASK_AND_VALUES if self.updates_weights else MASK_ONLY

    @property
    def needs_gradients(self) -> bool:
        return self.gradients is not None

    @property
    def trains(self) -> bool:
        return "tokens" in self.settings

    @property
    def settings(self) -> tuple[str, ...]:
        return self.gradients.settings if self.gradients else ()

    def rule(self) -> "Rule | EndToEnd":
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


_DPRUNER = Gradients(1, need.importance_bytes, need.importance_bytes, 4.0, ("general", "general_weight"))
_MASKLLM = Gradients(8, need.learned_masks_bytes, need.logits_bytes, 1.0, ("tokens", "prior"))
METHODS = {
    "dpruner": Method(
        1,
        True,
        "submodels.pruning.gradients:DPRUNER",
        "gradients on the set, and general importance on a generic set, within an output row",
        gradients=_DPRUNER,
    ),
    "dpruner_matrix": Method(
        1,
        True,
        "submodels.pruning.gradients:DPRUNER_MATRIX",
        "the same as dpruner, compared over the matrix",
        gradients=_DPRUNER,
    ),
    "magnitude": Method(1, False, f"{_RULES}:MAGNITUDE", "small weights go, compared over the matrix"),
    "magnitude_row": Method(1, False, f"{_RULES}:MAGNITUDE_ROW", "small weights go, compared within an output row"),
    "maskllm": Method(
        1,
        True,
        "submodels.pruning.learned_masks:MASKLLM",
        "N:M masks learned on the set, weights as they are",
        gradients=_MASKLLM,
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


def get_one_shot(name: str) -> Method:
    """A method that needs no gradients, for masks to begin with."""
    one_shot = [known for known, method in METHODS.items() if not method.needs_gradients]
    if name not in one_shot:
        raise unknown("method without gradients", name, one_shot)
    return METHODS[name]


def get_method(name: str) -> Method:
    if name not in METHODS:
        raise unknown("pruning method", name, METHODS)
    return METHODS[name]
