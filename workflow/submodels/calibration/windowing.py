"""Windows: token ids of rows -> the rectangular arrays for pruning a base model. Pure, numpy."""

from collections.abc import Sequence

import numpy as np

PAD = 0  # any id would do: there the attention mask is 0 and nothing is counted


def pad_rows(rows: Sequence[Sequence[int]], seqlen: int, pad: int = PAD) -> tuple[np.ndarray, np.ndarray]:
    """One row a window: cut to `seqlen`, padded on the right with `pad`.

    Returns `input_ids` and `attention_mask` (1 = token), both int64 [len(rows), seqlen].
    """
    input_ids = np.full((len(rows), seqlen), pad, dtype=np.int64)
    for window, row in enumerate(rows):
        kept = row[:seqlen]
        input_ids[window, : len(kept)] = kept
    return input_ids, leading_ones([len(row) for row in rows], seqlen)


def leading_ones(lengths: Sequence[int], seqlen: int) -> np.ndarray:
    """int64 [len(lengths), seqlen], 1 at the first `length` positions of each window."""
    return (np.arange(seqlen) < np.asarray(lengths)[:, None]).astype(np.int64)


def cut_lengths(lengths: Sequence[int], total: int) -> list[int]:
    """The lengths, of which the last are shortened or dropped until they add up to at most `total`."""
    before = np.cumsum([0, *lengths[:-1]]).tolist()
    return [min(length, total - start) for length, start in zip(lengths, before, strict=True) if start < total]


def pack_rows(rows: Sequence[Sequence[int]], seqlen: int, total: int) -> list[list[int]]:
    """The first `total` tokens of the rows joined, cut into windows of `seqlen`; the last may be shorter."""
    joined = [token for row in rows for token in row][:total]
    return [joined[start : start + seqlen] for start in range(0, len(joined), seqlen)]
