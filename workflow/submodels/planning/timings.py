"""Times and memory of finished jobs, and predictions for jobs to come."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

from submodels.planning.costs import Cost

MOST_POINTS = 200  # points of one kind that enter a fit: the number of their pairs grows with the square


class Timing(NamedTuple):
    """Wall time and peak resident memory of a finished job; no memory where it ended before it was measured."""

    seconds: float
    memory: float | None


class Fit(NamedTuple):
    """Seconds of a job of one kind: `start` + `factor` x its estimated work. `jobs`: number of jobs behind the fit."""

    start: float
    factor: float
    jobs: int

    def seconds(self, cost: Cost) -> float:
        return self.start + self.factor * cost.work


def read_timing(path: Path | str) -> Timing | None:
    """The last run in one of Snakemake's benchmark files; None if there is no readable file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        seconds, memory = float(rows[-1]["s"]), rows[-1]["max_rss"]
    except (OSError, IndexError, KeyError, ValueError, TypeError):
        return None
    return Timing(seconds, float(memory) * 2**20 if _is_number(memory) and float(memory) > 0 else None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def fit(measured: Iterable[tuple[Cost, float]]) -> Fit:
    """Fit jobs of one kind, each an estimate and the measured seconds; robust against a few outliers.

    Where their work differs by more than the seconds of a start, a line: the median slope of all pairs (Theil and Sen)
    and the median rest. Else start and work cannot be told apart, and both are scaled by the median ratio.
    """
    points = list(measured)[-MOST_POINTS:]
    work = [cost.work for cost, _ in points]
    if max(work) - min(work) > max(cost.start for cost, _ in points):
        slopes = [
            (later - sooner) / (b.work - a.work)
            for (a, sooner), (b, later) in combinations(points, 2)
            if b.work != a.work
        ]
        factor = median(slopes)
        start = median(seconds - factor * cost.work for cost, seconds in points)
        if factor > 0 and start >= 0:
            return Fit(start, factor, len(points))
    ratio = median(seconds / cost.seconds for cost, seconds in points)
    return Fit(ratio * median(cost.start for cost, _ in points), ratio, len(points))


def fit_kinds(measured: Iterable[tuple[str, Cost, float]]) -> dict[str, Fit]:
    """A fit for each kind of job that has finished jobs."""
    kinds = defaultdict(list)
    for kind, cost, seconds in measured:
        kinds[kind].append((cost, seconds))
    return {kind: fit(points) for kind, points in kinds.items()}
