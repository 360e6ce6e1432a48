"""Bootstrap statistics over the items of benchmarks."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from submodels import defaults


class Interval(NamedTuple):
    """A value with its bootstrap standard error and percentile interval."""

    value: float
    stderr: float
    low: float
    high: float


Statistic = Callable[[list[np.ndarray]], np.ndarray]


def mean_of_groups(means: list[np.ndarray]) -> np.ndarray:
    """Mean over groups of their single column: every benchmark weighs the same, regardless of its number of items."""
    return np.mean([mean[..., 0] for mean in means], axis=0)


def ratio_of_sums(means: list[np.ndarray]) -> np.ndarray:
    """Sum of the first column divided by the sum of the second column, of one group with two columns."""
    (mean,) = means
    return mean[..., 0] / mean[..., 1]


def exp_of_ratio(means: list[np.ndarray]) -> np.ndarray:
    """exp of `ratio_of_sums`: perplexity, from columns (negative log-likelihood in nats, tokens)."""
    return np.exp(ratio_of_sums(means))


def stratified_bootstrap(
    groups: Sequence[np.ndarray],
    *,
    statistic: Statistic = mean_of_groups,
    resamples: int = defaults.RESAMPLES,
    seed: int = 0,
    level: float = defaults.LEVEL,
) -> Interval:
    """A statistic of column means, with its percentile bootstrap over items drawn inside each group.

    groups: arrays [items, columns], one a benchmark; the columns of an item are drawn together, so comparisons are
    paired. statistic: maps a list of column means, each [..., columns], to values [...]. The standard error is the
    standard deviation of the resampled values (Efron and Tibshirani 1993). Equal seeds draw equal items for all
    sub-models of a benchmark. Raises ValueError for a group without items.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"a bootstrap needs resamples >= 1 and 0 < level < 1, got {resamples} and {level}")
    means, drawn = _resample(groups, resamples, seed)
    values, tail = statistic(drawn), (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(statistic(means)), float(values.std()), float(low), float(high))


def half_widths(groups: Sequence[np.ndarray], *, resamples: int, seed: int, level: float) -> np.ndarray:
    """Half the width of the interval of each column's mean over groups: arrays [items, columns] -> [columns].

    Equal to `stratified_bootstrap` of every column by itself, for many sub-models at once.
    """
    _, drawn = _resample(groups, resamples, seed)
    low, high = np.quantile(np.mean(drawn, axis=0), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return (high - low) / 2


def _resample(groups: Sequence[np.ndarray], resamples: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The column means [columns] of each group, and those of its resamples [resamples, columns]."""
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    for items in arrays:
        if items.ndim != 2 or not len(items):
            raise ValueError(f"a bootstrap needs at least one item, [items, columns], got shape {items.shape}")
    draws = _draws(tuple(map(len, arrays)), resamples, seed)
    drawn = [counts @ items / len(items) for counts, items in zip(draws, arrays, strict=True)]
    return [items.mean(axis=0) for items in arrays], drawn


@lru_cache(maxsize=4)
def _draws(sizes: tuple[int, ...], resamples: int, seed: int) -> list[np.ndarray]:
    """How often each item is drawn: for each group [resamples, items], whole numbers as float64 for the products.

    Kept for the next sub-models of the same benchmarks: drawing takes far longer than the use of the draws.
    """
    rng = np.random.default_rng(seed)
    return [_counts(rng.integers(n, size=(resamples, n))) for n in sizes]


def _counts(drawn: np.ndarray) -> np.ndarray:
    """How often each of n items is in each row: indices [rows, n] -> [rows, n], float64."""
    rows, n = drawn.shape
    places = drawn + n * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def bootstrap_interval(
    values: Sequence[float], *, resamples: int = defaults.RESAMPLES, seed: int = 0, level: float = defaults.LEVEL
) -> Interval:
    """Mean of one benchmark's items, values [items], with its bootstrap over them."""
    column = np.asarray(values, dtype=np.float64)[..., None]
    return stratified_bootstrap([column], resamples=resamples, seed=seed, level=level)


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    resamples: int = defaults.RESAMPLES,
    seed: int = 0,
    level: float = defaults.LEVEL,
) -> Interval:
    """Mean difference a - b of two sub-models on the same items, which are resampled together.

    a, b: [items], in the same order of items. Raises ValueError for different lengths.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values need the same items, got shapes {a.shape} and {b.shape}")
    return bootstrap_interval(a - b, resamples=resamples, seed=seed, level=level)
