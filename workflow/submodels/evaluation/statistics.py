"""Bootstrap statistics over the items of one benchmark."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with its bootstrap standard error and percentile interval."""

    value: float
    stderr: float
    low: float
    high: float


def bootstrap_interval(
    values: Sequence[float], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of the items' values, with its percentile bootstrap over items (Efron and Tibshirani 1993).

    values: [items], one a benchmark item, float64. The standard error is the standard deviation of the resampled
    means. Equal seeds draw equal items for all sub-models of a benchmark. Raises ValueError for no items.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"a bootstrap needs at least one item, got shape {values.shape}")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"a bootstrap needs resamples >= 1 and 0 < level < 1, got {resamples} and {level}")
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    means = values[drawn].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(values.mean()), float(means.std()), float(low), float(high))


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean difference a - b of two sub-models on the same items, which are resampled together.

    a, b: [items], in the same order of items. Raises ValueError for different lengths.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values need the same items, got shapes {a.shape} and {b.shape}")
    return bootstrap_interval(a - b, resamples=resamples, seed=seed, level=level)
