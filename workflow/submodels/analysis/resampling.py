"""Bootstrap intervals of a study: its settings, and the pairs of its sub-models."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from submodels.analysis.study import Resampling
from submodels.evaluation import statistics
from submodels.evaluation.statistics import Interval, Statistic, mean_of_groups


def stratified_bootstrap(
    groups: Sequence[np.ndarray], resampling: Resampling, statistic: Statistic = mean_of_groups
) -> Interval:
    """`evaluation.statistics.stratified_bootstrap` with the settings of a study."""
    return statistics.stratified_bootstrap(groups, statistic=statistic, **asdict(resampling))


def paired(a: dict[str, float], b: dict[str, float]) -> np.ndarray:
    """Differences a - b [items, 1] over the items both have, in the order of `a`."""
    return np.array([[a[task] - b[task]] for task in a if task in b], dtype=np.float64).reshape(-1, 1)
