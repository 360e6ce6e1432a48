"""How much memory pruning takes, in bytes: plain numbers, so that plans and rules know it without torch."""

import math

from submodels.pruning.patterns import NofM, Pattern


def fixed_bytes(size: int, *, embeddings: int, block: int, matrix: int) -> int:
    """Independent of the windows: the block at work and the next one, or the embeddings if they are larger, and the
    scores of the largest matrix while they are sorted. size: bytes of a weight; the other arguments count weights.
    """
    return max(embeddings * size, 2 * block * size + 16 * matrix)


def gram_bytes(inputs: list[int]) -> int:
    """Float32 Gram matrices of a block's linear layers and the work on the largest; inputs: their in_features."""
    return 4 * (sum(columns**2 for columns in inputs) + 7 * max(inputs) ** 2)


def working_bytes(size: int, length: int, *, hidden: int, widest: int) -> int:
    """Memory of a block's forward pass for one window at its widest point."""
    return length * (12 * hidden + 5 * widest) * size


def windows_at_once(length: int, windows: int) -> int:
    """How many of the `windows` of a step go through the whole model together: those that hold 4,096 tokens."""
    return max(1, min(windows, 4096 // length))


def whole_bytes(
    size: int,
    state: float,
    *,
    weights: int,
    prunable: int,
    matrix: int,
    blocks: int,
    length: int,
    hidden: int,
    widest: int,
    vocabulary: int,
) -> float:
    """Of a method with gradients: the weights, its state for every prunable weight, the work on the largest matrix, and
    the activations of `length` tokens: of every block its input, of one block at a time everything, and the logits
    with their gradients."""
    working = working_bytes(size, length, hidden=hidden, widest=widest)
    kept = blocks * length * hidden * size + 3 * 4 * length * vocabulary
    return weights * size + prunable * state + 8 * matrix + 2 * working + kept


def importance_bytes(pattern: Pattern) -> float:
    """D-Pruner's state: a float32 sum for every weight."""
    return 4.0


def logits_bytes(pattern: NofM) -> float:
    """Of what MaskLLM trains: for every candidate a logit and its two moments, float32."""
    return 12 * math.comb(pattern.m, pattern.n) / pattern.m


def learned_masks_bytes(pattern: NofM) -> float:
    """MaskLLM's state: for every candidate also the gradient of its logit and its share in the mask; for every weight
    the mask, its gradient and the prior."""
    return logits_bytes(pattern) * 5 / 3 + 13
