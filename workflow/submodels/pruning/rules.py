"""Rules: a criterion with its comparison group and the statistic it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from submodels.pruning import selection
from submodels.pruning.criteria import sparsegpt
from submodels.pruning.criteria.magnitude import magnitude_score
from submodels.pruning.criteria.random import random_score
from submodels.pruning.criteria.ria import ria_score
from submodels.pruning.criteria.wanda import wanda_score
from submodels.pruning.input_statistics import InputGram, InputNorms
from submodels.pruning.patterns import NofM, Pattern


@dataclass(frozen=True)
class Pruned:
    """The result of a rule for one weight.

    kept: (out_features, in_features) bool, True = kept.
    weight: (out_features, in_features) float32, 0 where pruned; None when the kept weights are unchanged.
    """

    kept: torch.Tensor
    weight: torch.Tensor | None = None


@dataclass(frozen=True)
class Rule:
    """How one linear layer is pruned.

    statistic: the statistic of the layer's inputs, collected while its block runs; None for a rule that needs none.
    prune: (weight (out_features, in_features) of any float dtype, the layer's statistic or None, pattern, seed). The
        seed is for rules that draw: every layer has a different seed, else layers of equal shape would be pruned alike.
    """

    statistic: type[InputNorms] | type[InputGram] | None
    prune: Callable[[torch.Tensor, torch.Tensor | None, Pattern, int], Pruned]


def select(
    scores: torch.Tensor, pattern: Pattern, unstructured: Callable[[torch.Tensor, float], torch.Tensor]
) -> torch.Tensor:
    """Scores to a mask, both (out_features, in_features); `unstructured` compares within the method's group."""
    if isinstance(pattern, NofM):
        return selection.per_group(scores, pattern.n, pattern.m)
    return unstructured(scores, pattern.ratio)


def by_weights(score: Callable[[torch.Tensor], torch.Tensor], unstructured) -> Rule:
    """A rule that scores only the weight."""

    def prune(weight: torch.Tensor, statistic: None, pattern: Pattern, seed: int) -> Pruned:
        return Pruned(select(score(weight), pattern, unstructured))

    return Rule(None, prune)


def by_input_norms(score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], unstructured) -> Rule:
    """A rule that scores the weight by the norms of its inputs."""

    def prune(weight: torch.Tensor, squared_norms: torch.Tensor, pattern: Pattern, seed: int) -> Pruned:
        return Pruned(select(score(weight, squared_norms), pattern, unstructured))

    return Rule(InputNorms, prune)


def prune_by_sparsegpt(weight: torch.Tensor, gram: torch.Tensor, pattern: Pattern, seed: int) -> Pruned:
    width = pattern.m if isinstance(pattern, NofM) else sparsegpt.BLOCK
    keep = partial(select, pattern=pattern, unstructured=selection.per_matrix)
    return Pruned(*sparsegpt.prune_and_update(weight, gram, keep, width))


def prune_at_random(weight: torch.Tensor, statistic: None, pattern: Pattern, seed: int) -> Pruned:
    kept = select(random_score(weight.shape, seed), pattern, selection.per_row)
    return Pruned(kept.to(weight.device))


MAGNITUDE = by_weights(magnitude_score, selection.per_matrix)
MAGNITUDE_ROW = by_weights(magnitude_score, selection.per_row)
RANDOM = Rule(None, prune_at_random)
RIA = by_input_norms(ria_score, selection.per_matrix)
RIA_ROW = by_input_norms(ria_score, selection.per_row)
SPARSEGPT = Rule(InputGram, prune_by_sparsegpt)
WANDA = by_input_norms(wanda_score, selection.per_row)
