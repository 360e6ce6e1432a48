"""Selection: from scores to a mask. Low scores are pruned; the mask is True where a weight is kept.

All functions take scores (out_features, in_features), float, and return a bool mask of the same shape and device.
Where scores tie, per-row and per-group selection prunes the lower column first (stable sort).
"""

import torch


def per_row(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Prune the int(in_features * ratio) lowest scores of every output row (Wanda's comparison group)."""
    pruned = int(scores.shape[1] * ratio)
    return _keep_all_but_lowest(scores, pruned)


def per_group(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Prune the `n` lowest scores of every `m` consecutive columns of a row.

    A last group of fewer than `m` columns loses its `n` lowest too, or all its columns when it has no more than `n`.
    """
    out_features, in_features = scores.shape
    groups = -(-in_features // m)
    # Columns that fill up the last group score infinity: they come last and are cut off again.
    padded = torch.nn.functional.pad(scores, (0, groups * m - in_features), value=torch.inf)
    kept = _keep_all_but_lowest(padded.reshape(out_features * groups, m), n)
    return kept.reshape(out_features, groups * m)[:, :in_features].contiguous()


def per_matrix(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Prune every score up to the one at index int(numel * ratio) of the sorted matrix, that one included.

    So int(numel * ratio) + 1 weights go, and all that tie with the last: the rule of the magnitude baseline in the
    reference implementation of Wanda.
    """
    threshold = scores.flatten().sort().values[int(scores.numel() * ratio)]
    return scores > threshold


def _keep_all_but_lowest(scores: torch.Tensor, pruned: int) -> torch.Tensor:
    lowest = scores.sort(dim=1, stable=True).indices[:, :pruned]
    kept = torch.ones_like(scores, dtype=torch.bool)
    return kept.scatter_(1, lowest, False)
