"""Selection: from scores to a mask. Low scores are pruned; the mask is True where a weight is kept.

All functions take finite scores (out_features, in_features), float32 or float64, and return a bool mask of the same
shape and device. Where scores tie, per-row and per-group selection prunes the lower column first, as a stable sort
would; but nothing is sorted: finding the k-th smallest value costs a tenth of a sort.
"""

import numpy as np
import torch

# Up to this group size, comparing every pair of columns is faster than looking for the n-th smallest.
_SMALL_GROUP = 8


def per_row(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Prune the int(in_features * ratio) lowest scores of every output row (Wanda's comparison group)."""
    return _prune_lowest(scores, int(scores.shape[1] * ratio))


def per_group(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Prune the `n` lowest scores of every `m` consecutive columns of a row.

    A last group of fewer than `m` columns loses its `n` lowest too, or all its columns if it has at most `n`.
    """
    out_features, in_features = scores.shape
    groups = -(-in_features // m)
    # Columns that fill up the last group score infinity: they come last and are removed again.
    padded = torch.nn.functional.pad(scores, (0, groups * m - in_features), value=torch.inf)
    prune_lowest = _prune_lowest_by_pairs if m <= _SMALL_GROUP else _prune_lowest
    kept = prune_lowest(padded.reshape(out_features * groups, m), n)
    return kept.reshape(out_features, groups * m)[:, :in_features].contiguous()


def per_matrix(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Prune every score up to and including the score at index int(numel * ratio) of the sorted matrix.

    So int(numel * ratio) + 1 weights are pruned, and all weights that tie with the last: the rule of the magnitude
    baseline in the reference implementation of Wanda.
    """
    threshold = _kth_smallest(scores.reshape(1, -1), int(scores.numel() * ratio) + 1)
    return scores > threshold


def _kth_smallest(scores: torch.Tensor, k: int) -> torch.Tensor:
    """The k-th smallest score of every row, k from 1: (rows, columns) -> (rows, 1)."""
    if scores.device.type == "cpu":  # NumPy's vectorised partition takes a third of the time of `kthvalue`
        smallest = np.partition(scores.numpy(force=True), k - 1, axis=1)
        return torch.from_numpy(smallest[:, k - 1 : k].copy())
    return scores.kthvalue(k, dim=1, keepdim=True).values


def _prune_lowest(scores: torch.Tensor, pruned: int) -> torch.Tensor:
    """Prune the `pruned` lowest scores of every row."""
    if pruned == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = _kth_smallest(scores, pruned)
    kept = scores > threshold
    # Rows with several scores at the threshold have lost all of them; the scores in the highest columns are kept again.
    missing = scores.shape[1] - pruned - kept.sum(dim=1, keepdim=True)
    rows = missing.squeeze(1).nonzero().squeeze(1)
    if len(rows):
        tied = scores[rows] == threshold[rows]
        rank_from_the_right = tied.flip(1).cumsum(dim=1).flip(1)
        kept[rows] |= tied & (rank_from_the_right <= missing[rows])
    return kept


def _prune_lowest_by_pairs(scores: torch.Tensor, pruned: int) -> torch.Tensor:
    """As `_prune_lowest`, by ranks: a column's rank is the number of columns of its row that are pruned before it."""
    columns = [column.contiguous() for column in scores.unbind(dim=1)]
    # Start as if every column came after all columns to its right and before all to its left; each pair corrects that.
    ranks = [torch.full_like(column, len(columns) - 1 - j, dtype=torch.uint8) for j, column in enumerate(columns)]
    for right in range(1, len(columns)):
        for left in range(right):
            left_first = (columns[left] <= columns[right]).view(torch.uint8)
            ranks[left] -= left_first
            ranks[right] += left_first
    return torch.stack([rank >= pruned for rank in ranks], dim=1)
