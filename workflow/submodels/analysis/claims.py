"""The paper's claims as a registry: one entry for each claim, and one number with an interval for each base model,
method, sparsity and size of calibration sets.

Accuracies: the interval resamples items inside each benchmark, and every benchmark weighs the same. Distances: there
are no items, so it resamples decoder blocks; it then shows only how even the finding is over the blocks.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from submodels.analysis import paper
from submodels.analysis.study import CalibrationSet, Setting, Study, paired
from submodels.bootstrap import Interval, mean_of_groups, stratified_bootstrap
from submodels.terms import GENERIC, NOT_RUN

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"


class NotTestable(Exception):
    """The grid lacks sub-models or benchmarks that a claim needs; the message names them."""


@dataclass(frozen=True)
class Evidence:
    """Items (or decoder blocks), and the functions that compute a claim's number and its interval from them."""

    groups: list[np.ndarray]
    interval: Callable[..., Interval] = stratified_bootstrap  # (groups, resamples, seed, level)


@dataclass(frozen=True)
class Claim:
    """`direction`: the sign of the number if the claim holds. `paper`: the same number from the paper, or None.

    `table`: the table with the numbers behind it.
    """

    sentence: str
    measure: str
    source: str
    paper: float | None
    unit: str
    direction: int
    table: str
    evidence: Callable[[Study, str, Setting], Evidence]


def verdict(low: float, high: float, direction: int) -> str:
    """Supported if the whole interval is on the claimed side of zero, not supported if it is on the other side,
    undecided if it contains zero.

    `direction` is +1 or -1. An interval with a bound equal to zero contains zero.
    """
    if low <= 0 <= high:
        return UNDECIDED
    return SUPPORTED if (low > 0) == (direction > 0) else NOT_SUPPORTED


def matched_gain(study: Study, model: str, setting: Setting) -> Evidence:
    """Matched minus unmatched sets, on every benchmark that has both."""
    groups = []
    for benchmark in study.accuracies:
        same, other = study.matched(model, setting, benchmark)
        groups.append(_difference(study, model, setting, same, other, benchmark))
    return Evidence(_present(groups, "a benchmark with matched and unmatched calibration sets"))


def lead_over_generic(study: Study, model: str, setting: Setting) -> Evidence:
    """Best set with a domain minus the generic sets: the smallest lead over all benchmarks.

    The best is chosen for each benchmark on one half of the items and compared on the other half.
    """
    sets = list(study.by_calibration(model, setting))
    generic = [calibration for calibration in sets if calibration.domain == GENERIC]
    groups = []
    for benchmark in study.accuracies:
        chosen = study.for_choice(model, benchmark)
        items = {
            calibration: study.set_items(model, setting, [calibration], benchmark)
            for calibration in sets
            if not calibration.is_special
        }
        means = {name: values[chosen].mean() for name, values in items.items() if len(values) and chosen.any()}
        against = study.set_items(model, setting, generic, benchmark)
        if means and len(against):
            best = items[max(means, key=means.get)]
            groups.append(paired(best, against)[~chosen])
    groups = _present(groups, "a generic calibration set, others, and items for both halves")
    return Evidence(groups, smallest_mean)


def smallest_mean(groups: list[np.ndarray], *, resamples: int, seed: int, level: float) -> Interval:
    """The smallest mean of several groups [items, 1]; the standard error is that of the group with this mean.

    Bootstrapping a minimum biases it downwards. Instead every group has an interval, at a level that Bonferroni's
    correction raises so that all intervals hold at once; the smallest true mean is then between the smallest lower and
    the smallest upper bound. The interval is below zero only if a group's interval is, above zero only if all are.
    """
    level = 1 - (1 - level) / len(groups)
    intervals = [stratified_bootstrap([group], resamples=resamples, seed=seed, level=level) for group in groups]
    low, high = min(interval.low for interval in intervals), min(interval.high for interval in intervals)
    return min(intervals, key=lambda interval: interval.value)._replace(low=low, high=high)


def csr_spread(study: Study, model: str, setting: Setting) -> Evidence:
    """Best minus worst set on CSR benchmarks, minus the same spread averaged over the other benchmarks.

    Resampling widens each spread, but both sides of the difference alike, so the claim is about the difference.
    """
    sets = [calibration for calibration in study.by_calibration(model, setting) if not calibration.is_special]
    groups, is_csr = [], []
    for benchmark in study.accuracies:
        columns = [study.set_items(model, setting, [calibration], benchmark) for calibration in sets]
        columns = [items for items in columns if len(items)]
        if len(columns) > 1:
            groups.append(np.stack(columns, axis=1))
            is_csr.append(study.benchmark(benchmark)["domain"] == "csr")
    if True not in is_csr or False not in is_csr:
        raise NotTestable("needs a CSR benchmark, another benchmark and two calibration sets")

    def spread_difference(means: list[np.ndarray]) -> np.ndarray:
        spreads = [mean.max(axis=-1) - mean.min(axis=-1) for mean in means]
        csr = [spread for spread, flag in zip(spreads, is_csr, strict=True) if flag]
        rest = [spread for spread, flag in zip(spreads, is_csr, strict=True) if not flag]
        return np.mean(csr, axis=0) - np.mean(rest, axis=0)

    return Evidence(groups, partial(stratified_bootstrap, statistic=spread_difference))


def code_math_accuracy(study: Study, model: str, setting: Setting) -> Evidence:
    """Code sets on math and math sets on code, minus CSR and translation sets on both."""
    sets = list(study.by_calibration(model, setting))
    far = [calibration for calibration in sets if calibration.domain in ("csr", "translation")]
    sides = []
    for of, on in (("math", "code"), ("code", "math")):
        near = [calibration for calibration in sets if calibration.domain == of]
        groups = [_difference(study, model, setting, near, far, name) for name in study.of_domain(on)]
        sides.append(_present(groups, "code and math benchmarks; code, math and other calibration sets"))
    n_code = len(sides[0])

    def mean_of_sides(means: list[np.ndarray]) -> np.ndarray:
        return (mean_of_groups(means[:n_code]) + mean_of_groups(means[n_code:])) / 2

    return Evidence([*sides[0], *sides[1]], partial(stratified_bootstrap, statistic=mean_of_sides))


def language_gain(study: Study, model: str, setting: Setting) -> Evidence:
    """Set of the benchmark's language minus code sets of other languages."""
    every = study.by_calibration(model, setting)
    sets = [calibration for calibration in every if calibration.domain == "code" and calibration.language]
    groups = []
    for benchmark in study.accuracies:
        language = study.benchmark(benchmark)["language"]
        if language:
            same = [calibration for calibration in sets if calibration.language == language]
            other = [calibration for calibration in sets if calibration.language != language]
            groups.append(_difference(study, model, setting, same, other, benchmark))
    return Evidence(_present(groups, "code calibration sets of two languages and a benchmark of one of them"))


def code_math_distance(study: Study, model: str, setting: Setting) -> Evidence:
    """Distance of kept weights, code to math, minus code or math to CSR or translation."""

    def near(domains: set) -> bool:
        return domains == {"code", "math"}

    def far(domains: set) -> bool:
        return len(domains & {"code", "math"}) == 1 and len(domains & {"csr", "translation"}) == 1

    return _distances(study, model, setting, near, far)


def within_domain_distance(study: Study, model: str, setting: Setting) -> Evidence:
    """Distance of kept weights between two sets of one domain, minus sets of two domains."""
    return _distances(study, model, setting, lambda domains: len(domains) == 1, lambda domains: len(domains) == 2)


def _distances(study: Study, model: str, setting: Setting, near: Callable, far: Callable) -> Evidence:
    pairs = study.pairs(model, setting)
    pairs = pairs[(pairs["level"] == "layer") & pairs["kind"].isin(["within domain", "cross domain"])]
    domains = [{a.domain, b.domain} for a, b in zip(pairs["set_a"], pairs["set_b"], strict=True)]
    distances = []
    for wanted in (near, far):
        chosen = pairs[np.array([wanted(both) for both in domains], dtype=bool)]
        distances.append(chosen.groupby("layer")["kept_distance"].mean())
    difference = (distances[0] - distances[1]).dropna().to_numpy().reshape(-1, 1)
    return Evidence(_present([difference], "distances of both kinds of pairs, by decoder block"))


def _difference(
    study: Study, model: str, setting: Setting, a: list[CalibrationSet], b: list[CalibrationSet], benchmark: str
) -> np.ndarray:
    return paired(study.set_items(model, setting, a, benchmark), study.set_items(model, setting, b, benchmark))


def _present(groups: list[np.ndarray], need: str) -> list[np.ndarray]:
    groups = [group for group in groups if len(group)]
    if not groups:
        raise NotTestable(f"needs {need}")
    return groups


_README = "authors’ README, Gemma-1.1-7b-it at 50%"
CLAIMS = {
    "matched_beats_unmatched": Claim(
        "A sub-model keeps the most accuracy on the domain of its calibration set.",
        "accuracy, matched minus unmatched calibration sets",
        _README,
        paper.gemma_matched_gain() / 100,
        "points",
        +1,
        "relative",
        matched_gain,
    ),
    "generic_never_best": Claim(
        "A generic calibration set (the paper’s is C4) is never the best.",
        "accuracy, best set with a domain minus the generic set, on the benchmark where this lead is smallest",
        _README,
        paper.gemma_best_over_generic() / 100,
        "points",
        +1,
        "relative",
        lead_over_generic,
    ),
    "csr_flat": Claim(
        "Commonsense reasoning hardly depends on the calibration set.",
        "best minus worst set on CSR, minus best minus worst set on the other benchmarks",
        _README,
        (paper.gemma_spread("csr") - sum(map(paper.gemma_spread, ("code", "translation", "math"))) / 3) / 100,
        "points",
        -1,
        "relative",
        csr_spread,
    ),
    "code_math_accuracy": Claim(
        "Code and math are close: code sets serve math, and math sets code, better than CSR or translation sets do.",
        "accuracy, code sets on math and math sets on code, minus CSR and translation sets on both",
        _README,
        paper.gemma_code_math_gain() / 100,
        "points",
        +1,
        "relative",
        code_math_accuracy,
    ),
    "code_math_distance": Claim(
        "Code and math sub-models share more weights than either shares with CSR or translation.",
        "Jaccard distance, code to math minus either to CSR or translation",
        "shown as a plot only",
        None,
        "distance",
        -1,
        "jaccard",
        code_math_distance,
    ),
    "language_specificity": Claim(
        "A sub-model keeps the most accuracy on the programming language of its calibration set.",
        "accuracy, same language minus the other code sets",
        "Table IV, CodeLlama-13B at 50%",
        paper.language_gain() / 100,
        "points",
        +1,
        "code_languages",
        language_gain,
    ),
    "within_domain_distance": Claim(
        "Sub-models of one domain share more weights than sub-models of two domains.",
        "Jaccard distance, within a domain minus across domains",
        "shown as a plot only",
        None,
        "distance",
        -1,
        "jaccard_layers",
        within_domain_distance,
    ),
}


def evaluate(claim: Claim, study: Study, model: str, setting: Setting) -> dict:
    """Value, interval and verdict of a claim, or why it cannot be tested here."""
    try:
        evidence = claim.evidence(study, model, setting)
    except NotTestable as reason:
        return {"status": NOT_RUN, "reason": str(reason)}
    value, _, low, high = evidence.interval(evidence.groups, **asdict(study.resampling))
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": sum(len(group) for group in evidence.groups),
        "verdict": verdict(low, high, claim.direction),
        "status": "ok",
        "reason": None,
    }
