"""Windows: token ids of rows -> the rectangular arrays a base model is pruned with. Pure, numpy."""

from collections.abc import Sequence

import numpy as np

_PAD = 0  # any id would do: the attention mask is 0 there


def pad_rows(rows: Sequence[Sequence[int]], seqlen: int) -> tuple[np.ndarray, np.ndarray]:
    """One row a window: cut to `seqlen`, padded on the right.

    Returns `input_ids` and `attention_mask` (1 = token), both int64 [len(rows), seqlen].
    """
    input_ids = np.full((len(rows), seqlen), _PAD, dtype=np.int64)
    attention_mask = np.zeros((len(rows), seqlen), dtype=np.int64)
    for window, row in enumerate(rows):
        kept = row[:seqlen]
        input_ids[window, : len(kept)] = kept
        attention_mask[window, : len(kept)] = 1
    return input_ids, attention_mask


def pack_rows(rows: Sequence[Sequence[int]], seqlen: int) -> np.ndarray:
    """Rows joined and cut into full windows: int64 [total // seqlen, seqlen]; the incomplete last one is dropped."""
    joined = np.fromiter((token for row in rows for token in row), dtype=np.int64)
    return joined[: len(joined) // seqlen * seqlen].reshape(-1, seqlen)
