"""Statistics of a calibration set's token rows, reported as covariates of the sub-models pruned with it. Pure."""

from collections.abc import Sequence

import numpy as np


def length_distribution(lengths: Sequence[int]) -> dict[str, float]:
    """Minimum, quartiles (linear interpolation), maximum and mean of row lengths in tokens."""
    names = ("min", "q1", "median", "q3", "max")
    values = np.percentile(lengths, (0, 25, 50, 75, 100))
    return {name: float(value) for name, value in zip(names, values, strict=True)} | {"mean": float(np.mean(lengths))}


def ngram_repetition(rows: Sequence[Sequence[int]], n: int = 4) -> float | None:
    """1 - distinct / all n-grams of all rows, none across two rows; None if every row is shorter than `n`."""
    distinct, count = set(), 0
    for row in rows:
        grams = list(zip(*(row[start:] for start in range(n)), strict=False))
        distinct.update(grams)
        count += len(grams)
    return 1 - len(distinct) / count if count else None
