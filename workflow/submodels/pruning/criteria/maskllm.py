"""MaskLLM: N:M masks learned end to end (Fang et al., "MaskLLM: Learnable Semi-Structured Sparsity for Large Language
Models", NeurIPS 2024, arXiv 2409.17481). Written from the paper; its authors' code is under a research licence.

A group of M consecutive inputs of an output row has a logit for each way to keep N of them. In training a group's mask
is the mean of its candidates, weighted by a Gumbel softmax over the logits; in the end it is the candidate with the
highest logit. The base model's weights never change.
"""

from itertools import combinations

import torch


def candidates(kept: int, size: int) -> torch.Tensor:
    """Every way to keep `kept` of `size` weights: (candidates, size), float32, 1 = kept, in lexicographic order."""
    masks = torch.zeros(len(list(combinations(range(size), kept))), size)
    for mask, places in zip(masks, combinations(range(size), kept), strict=True):
        mask[list(places)] = 1
    return masks


def relaxed_masks(
    logits: torch.Tensor, noise: torch.Tensor, choices: torch.Tensor, scale: float, temperature: float
) -> torch.Tensor:
    """softmax((scale * logits + noise) / temperature) @ choices: masks between the candidates, that can be trained.

    logits, noise: (groups, candidates), float32; the noise is drawn from Gumbel(0, 1). choices: `candidates`. Returns
    (groups, size), values from 0 to 1, the sum of a group is the number of kept weights.
    """
    return torch.softmax((scale * logits + noise) / temperature, dim=1) @ choices


def gumbel(shape: tuple[int, ...], generator: torch.Generator | None = None) -> torch.Tensor:
    """Draws from Gumbel(0, 1), float32."""
    uniform = torch.rand(shape, generator=generator).clamp_min_(torch.finfo(torch.float32).tiny)
    return uniform.log_().neg_().log_().neg_()


def annealed(start: float, end: float, progress: float) -> float:
    """The value between `start` and `end`, linear in the progress of training, 0 to 1."""
    return start + (end - start) * progress


def with_prior(logits: torch.Tensor, kept: torch.Tensor, choices: torch.Tensor, strength: float) -> torch.Tensor:
    """Logits that favour the candidates near a given mask.

    logits += (overlap - expected) * std(logits) * strength; overlap: how many weights a candidate keeps of those that
    the given mask keeps, expected: the mean of this number over all candidates (1 for 2:4).

    kept: (groups, size) bool. Returns (groups, candidates).
    """
    overlap = kept.float() @ choices.T
    expected = kept.float().sum(dim=1, keepdim=True) * choices.sum(dim=1)[0] / choices.shape[1]
    return logits + (overlap - expected) * logits.std() * strength


def hard_masks(logits: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
    """The candidate with the highest logit: (groups, candidates) -> (groups, size) bool; the first of equal logits."""
    return choices.bool()[logits.argmax(dim=1)]
