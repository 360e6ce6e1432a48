"""Scores that are no mean over items: perplexities, pooled over all tokens of a benchmark's documents.

An item of such a score holds the value of one document and the tokens (or bytes) by which it is weighted. Documents are
resampled whole, and together for the sub-models that are compared.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

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
}


@dataclass(frozen=True)
class Pooled:
    """A perplexity, or a difference of two, with the number of documents and of sub-models behind it."""

    interval: Interval
    n_items: int
    n_submodels: int


def level(
    study: Study, model: str, ids: list[str], benchmark: str, wanted: np.ndarray | slice = slice(None)
) -> Pooled | None:
    """Mean over sub-models `ids` of their value on the documents `wanted`; None if none ran or no document is left."""
    return change(study, model, ids, [], benchmark, wanted)


def change(
    study: Study,
    model: str,
    ids: list[str],
    others: list[str],
    benchmark: str,
    wanted: np.ndarray | slice = slice(None),
) -> Pooled | None:
    """Mean value of `ids` minus that of `others` on the documents `wanted`; None if either lacks every score.

    No `others` at all: the mean value itself. wanted: an index into the benchmark's documents.
    """
    primary = study.benchmark(benchmark)["primary"]
    pooling = POOLINGS[primary]
    scored, against = _ran(study, model, ids, benchmark), _ran(study, model, others, benchmark)
    if not scored or (others and not against):
        return None
    values = np.stack([items[primary] for items in [*scored, *against]], axis=1)[wanted]
    weights = np.asarray(scored[0][pooling.weight], dtype=np.float64)[wanted, None]
    if not len(values):
        return None

    def difference(means: list[np.ndarray]) -> np.ndarray:
        (mean,) = means
        pooled = pooling.from_mean(mean[..., :-1] / mean[..., -1:])
        value = pooled[..., : len(scored)].mean(axis=-1)
        return value - pooled[..., len(scored) :].mean(axis=-1) if against else value

    columns = np.hstack([pooling.to_mean(values) * weights, weights])
    interval = stratified_bootstrap([columns], statistic=difference, **asdict(study.resampling))
    return Pooled(interval, len(values), len(scored))


def _ran(study: Study, model: str, ids: list[str], benchmark: str) -> list[dict]:
    scores = [study.score(model, id, benchmark) for id in ids]
    return [score["items"] for score in scores if score["status"] == "ok"]
