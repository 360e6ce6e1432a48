"""Rules: a criterion with its selection and the statistic it needs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from submodels.pruning import selection
from submodels.pruning.criteria.magnitude import magnitude_score
from submodels.pruning.criteria.wanda import wanda_score
from submodels.pruning.patterns import NofM, Pattern
from submodels.pruning.statistics import InputNorms


@dataclass(frozen=True)
class Rule:
    """How one linear layer is pruned.

    statistic: what is collected on the inputs of a block's linear layers (the interface of `InputNorms`); None for a
        rule that looks at weights only.
    prune: (weight, statistic of the layer or None, pattern) -> mask of the weight's shape, True = kept.
    """

    statistic: type[InputNorms] | None
    prune: Callable[[torch.Tensor, torch.Tensor | None, Pattern], torch.Tensor]


def prune_by_wanda(weight: torch.Tensor, squared_norms: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    scores = wanda_score(weight, squared_norms)
    if isinstance(pattern, NofM):
        return selection.per_group(scores, pattern.n, pattern.m)
    return selection.per_row(scores, pattern.ratio)


def prune_by_magnitude(weight: torch.Tensor, _: None, pattern: Pattern) -> torch.Tensor:
    scores = magnitude_score(weight)
    if isinstance(pattern, NofM):
        return selection.per_group(scores, pattern.n, pattern.m)
    return selection.per_matrix(scores, pattern.ratio)


MAGNITUDE = Rule(statistic=None, prune=prune_by_magnitude)
WANDA = Rule(statistic=InputNorms, prune=prune_by_wanda)
