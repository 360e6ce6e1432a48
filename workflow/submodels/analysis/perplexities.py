"""Scores that are no mean over items: perplexities, pooled over all tokens of a benchmark's documents.

An item of such a score holds the value of one document and the tokens (or bytes) by which it is weighted. Documents are
resampled whole, and together for the sub-models that are compared.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from submodels.analysis.study import Study
from submodels.bootstrap import Interval, stratified_bootstrap


@dataclass(frozen=True)
class Pooling:
    """weight: the item's field with its weight. to_mean, from_mean: from a value to the averaged quantity, and back."""

    weight: str
    to_mean: Callable[[np.ndarray], np.ndarray]
    from_mean: Callable[[np.ndarray], np.ndarray]


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


POOLINGS = {
    "perplexity": Pooling("tokens", np.log, np.exp),
    "bits_per_byte": Pooling("bytes", _as_it_is, _as_it_is),
    "code_bits_per_byte": Pooling("code_bytes", _as_it_is, _as_it_is),
    "prose_bits_per_byte": Pooling("prose_bytes", _as_it_is, _as_it_is),
}


@dataclass(frozen=True)
class Pooled:
    """A perplexity, or a difference of two, with the numbers of documents and of sub-models behind it."""

    interval: Interval
    n_items: int
    n_submodels: int


def level(
    study: Study,
    model: str,
    ids: list[str],
    benchmark: str,
    wanted: np.ndarray | slice = slice(None),
    metric: str | None = None,
) -> Pooled | None:
    """Mean over sub-models `ids` of their value on the documents `wanted`; None if none ran or no document is left."""
    return change(study, model, ids, [], benchmark, wanted, metric)


def change(
    study: Study,
    model: str,
    ids: list[str],
    others: list[str],
    benchmark: str,
    wanted: np.ndarray | slice = slice(None),
    metric: str | None = None,
) -> Pooled | None:
    """Mean value of `ids` minus that of `others` on the documents `wanted`; None if either lacks every score.

    No `others` at all: the mean value itself. wanted: an index into the benchmark's documents. metric: None for the
    benchmark's primary metric.
    """
    return mean_change(study, model, {benchmark: ([ids], [others] if others else [])}, wanted, metric)


Sets = list[list[str]]  # of each calibration set its sub-models, the draws


def mean_change(
    study: Study,
    model: str,
    compared: dict[str, tuple[Sets, Sets]],
    wanted: np.ndarray | slice = slice(None),
    metric: str | None = None,
) -> Pooled | None:
    """The mean over benchmarks of the mean value of some sets minus that of others; None if a side lacks every score.

    compared: benchmark -> the sets of either side. Every set weighs the same, for any number of draws. Documents
    without weight (no byte of the kind that `metric` counts) are left out.
    """
    groups, differences, n_submodels = [], [], 0
    for benchmark, sides in compared.items():
        of = metric or study.benchmark(benchmark)["primary"]
        pooling = POOLINGS[of]
        scored, against = ([_ran(study, model, ids, benchmark) for ids in sets] for sets in sides)
        scored, against = list(filter(None, scored)), list(filter(None, against))
        if not scored or (sides[1] and not against):
            return None
        ran = [items for draws in [*scored, *against] for items in draws]
        values = np.stack([items[of] for items in ran], axis=1)[wanted]
        weights = np.asarray(ran[0][pooling.weight], dtype=np.float64)[wanted, None]
        counted = weights[:, 0] > 0
        if not counted.any():
            return None
        groups.append(np.hstack([pooling.to_mean(values) * weights, weights])[counted])
        shares = [*_shares(scored), *(-share for share in _shares(against))]
        differences.append(partial(_difference, pooling=pooling, shares=np.array(shares)))
        n_submodels += sum(map(len, scored))

    def mean(means: list[np.ndarray]) -> np.ndarray:
        return np.mean([difference(of) for difference, of in zip(differences, means, strict=True)], axis=0)

    interval = stratified_bootstrap(groups, statistic=mean, **asdict(study.resampling))
    return Pooled(interval, sum(map(len, groups)), n_submodels)


def _shares(sets: list[list]) -> list[float]:
    """The weight of each draw in the mean over sets of the mean over draws."""
    return [1 / len(sets) / len(draws) for draws in sets for _ in draws]


def _difference(means: np.ndarray, pooling: Pooling, shares: np.ndarray) -> np.ndarray:
    """Sums [..., sub-models + 1], the last of them the documents' weight, -> values weighted by `shares` [...]."""
    return pooling.from_mean(means[..., :-1] / means[..., -1:]) @ shares


def _ran(study: Study, model: str, ids: list[str], benchmark: str) -> list[dict]:
    scores = [study.score(model, id, benchmark) for id in ids]
    return [score["items"] for score in scores if score["status"] == "ok"]
