"""MaskLLM: N:M masks learned end to end (Fang et al., "MaskLLM: Learnable Semi-Structured Sparsity for Large Language
Models", NeurIPS 2024, arXiv 2409.17481). Written from the paper; the code of its authors is under a research licence.

Departures, most of them in `learned_masks`:

- The reward for kept weights is a share of all squares; the code's is 1e-5 times a sum that grows with the model and
  shrinks with the number of GPUs that share a layer.
- The prior may be the mask of any method of this project. That of SparseGPT is of its kind with new values, though the
  values are not used; the code's SparseGPT changes none.
- A step has 8 windows of the calibration set, not 256 windows of 4,096 tokens, and the budget is a number of tokens: by
  default a million, where the published masks took two thousand million. With fewer than the 2,000 steps of the recipe
  the learning rate is larger, by the square root of what is missing.
- Any N:M, not 2:4 and 1:4 alone.

A group of M consecutive inputs of an output row has a logit for each way to keep N of them. In training a group's mask
is the mean of its candidates, weighted by a Gumbel softmax over the logits; in the end it is the candidate with the
highest logit. The base model's weights never change. Tensors have the candidates first, [candidates, groups]: a softmax
over the last of two dimensions takes nine times as long on a CPU.
"""

from itertools import combinations

import torch


def candidates(kept: int, size: int) -> torch.Tensor:
    """Every way to keep `kept` of `size` weights: [candidates, size], float32, 1 = kept, in lexicographic order."""
    places = torch.tensor(list(combinations(range(size), kept)))
    return torch.zeros(len(places), size).scatter_(1, places, 1)


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draws from Gumbel(0, 1), float32, on the generator's device."""
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    uniform.clamp_min_(torch.finfo(torch.float32).tiny)
    return uniform.log_().neg_().log_().neg_()


def relaxed_masks(
    logits: torch.Tensor, noise: torch.Tensor, choices: torch.Tensor, scale: float, temperature: float
) -> torch.Tensor:
    """The mean of the candidates, weighted by softmax((scale * logits + noise) / temperature).

    logits, noise: [candidates, groups], float32; noise from Gumbel(0, 1). choices: [candidates, size]. Returns
    [groups, size], values from 0 to 1; the values of a group add up to the number of weights that are kept.
    """
    return (choices.T @ torch.softmax((scale * logits + noise) / temperature, dim=0)).T


def annealed(start: float, end: float, done: float) -> float:
    """The value between `start` and `end`, linear in the share of the training that is done."""
    return start + (end - start) * done


def with_prior(logits: torch.Tensor, kept: torch.Tensor, choices: torch.Tensor, strength: float) -> torch.Tensor:
    """Logits that favour the candidates near a given mask.

    logits + (overlap - expected) * std(logits) * strength. overlap: how many weights a candidate keeps of those that
    the given mask keeps; expected: the mean of this number over all candidates (1 for 2:4).

    kept: [groups, size] bool. Returns [candidates, groups].
    """
    overlap = choices @ kept.float().T
    expected = kept.float().sum(dim=1) * choices[0].sum() / choices.shape[1]
    return logits + (overlap - expected) * logits.std() * strength


def hard_masks(logits: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
    """The candidate with the highest logit: [candidates, groups] -> [groups, size] bool; the first of equal logits."""
    return choices.bool()[logits.argmax(dim=0)]
