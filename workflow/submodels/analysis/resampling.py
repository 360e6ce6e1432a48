"""Bootstrap intervals of a statistic over several benchmarks at once."""

from collections.abc import Callable, Sequence

import numpy as np

from submodels.analysis.study import Resampling

Statistic = Callable[[list[np.ndarray]], np.ndarray]


def mean_of_groups(means: list[np.ndarray]) -> np.ndarray:
    """Mean over groups of their single column: every benchmark weighs the same, whatever its number of items."""
    return np.mean([mean[..., 0] for mean in means], axis=0)


def stratified_bootstrap(
    groups: Sequence[np.ndarray], resampling: Resampling, statistic: Statistic = mean_of_groups
) -> tuple[float, float, float]:
    """Value of a statistic of column means, with its percentile interval over items resampled inside each group.

    groups: arrays [items, columns]; the columns of an item are drawn together, so comparisons are paired.
    statistic: maps a list of column means, each [..., columns], to values [...].
    Returns (value, low, high).
    """
    rng = np.random.default_rng(resampling.seed)
    means, drawn = [], []
    for group in groups:
        items = np.asarray(group, dtype=np.float64)
        if items.ndim != 2 or not len(items):
            raise ValueError(f"a group must be [items, columns] with at least one item, got shape {items.shape}")
        counts = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), size=resampling.resamples)
        means.append(items.mean(axis=0))
        drawn.append(counts @ items / len(items))
    tail = (1 - resampling.level) / 2
    low, high = np.quantile(statistic(drawn), [tail, 1 - tail])
    return float(statistic(means)), float(low), float(high)


def paired(a: dict[str, float], b: dict[str, float]) -> np.ndarray:
    """Differences a - b [items, 1] over the items both have, in the order of `a`."""
    return np.array([[a[task] - b[task]] for task in a if task in b], dtype=np.float64).reshape(-1, 1)
