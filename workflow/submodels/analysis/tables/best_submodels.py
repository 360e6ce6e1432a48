"""The paper's Table III: for each base model, domain and sparsity, dense against the best sub-model."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from submodels.analysis import perplexities
from submodels.analysis.formats import labelled, not_run
from submodels.analysis.metric import ACCURACY, Metric
from submodels.analysis.study import Study, paired
from submodels.analysis.tables.shared import Table, with_remarks
from submodels.bootstrap import Interval, stratified_bootstrap
from submodels.pruning import patterns
from submodels.terms import DENSE, NOT_RUN

CAPTION = (
    "Dense and the best sub-model, controls included, by domain (mean of its benchmarks) and by language. The best is "
    "chosen on one half of the items and reported on the other half. Matched: calibrated on this domain (and "
    "language). Changes: accuracies in percentage points, perplexities in their own unit."
)
COLUMNS = ["model", "domain", "language", "measure", "higher_is_better", "benchmarks", "sparsity", "submodel"]
COLUMNS += ["method", "calibration", "matched", "dense", "value", "difference", "low", "high", "n_benchmarks"]
COLUMNS += ["n_items", "n_candidates", "remarks", "status", "reason"]


def compute(study: Study) -> pd.DataFrame:
    """One row for each base model, domain or language or perplexity, and sparsity.

    The best is chosen on one half of the items (hash of the task id), reported on the other: choosing and reporting
    on the same items would overestimate it. A domain's value is the mean over its benchmarks; every language and every
    perplexity also has separate rows, and the best sub-model has the lowest perplexity.
    """
    rows = []
    for model in study.models:
        ids = study.evaluated(model)[1:]
        entries = study.submodels(model)
        sparsities = {entries[id]["sparsity"] for id in ids}
        for domain, language, benchmarks in _targets(study, model):
            metric = study.metric(benchmarks[0])
            metric = ACCURACY if metric.higher_is_better else metric
            best = _best if metric.higher_is_better else _least_perplexity
            for sparsity in sorted(sparsities, key=lambda name: (patterns.parse(name).fraction, name)):
                candidates = [id for id in ids if entries[id]["sparsity"] == sparsity]
                row = {"model": model, "domain": domain, "language": language, "measure": metric.name}
                row |= {"higher_is_better": metric.higher_is_better, "benchmarks": " ".join(benchmarks)}
                row |= {"sparsity": sparsity, "remarks": study.remarks(benchmarks)}
                rows.append(row | best(study, model, candidates, benchmarks, domain, language))
    return pd.DataFrame(rows, columns=COLUMNS)


def _targets(study: Study, model: str):
    """(domain, language, benchmarks): every domain as a whole, each of its languages; then every perplexity."""
    for domain in study.domains():
        yield domain, None, study.scored(model, domain)
        benchmarks = study.of_domain(domain)
        languages = dict.fromkeys(study.benchmark(name)["language"] for name in benchmarks)
        for language in filter(None, languages):
            yield domain, language, [name for name in benchmarks if study.benchmark(name)["language"] == language]
    for name in study.perplexities:
        yield study.benchmark(name)["domain"], study.benchmark(name)["language"], [name]


def _best(
    study: Study, model: str, candidates: list[str], benchmarks: list[str], domain: str, language: str | None
) -> dict:
    dense = {name: study.items(model, [DENSE], name) for name in benchmarks}
    items = {id: {name: study.items(model, [id], name) for name in benchmarks} for id in candidates}
    ran = [id for id in candidates if all(map(len, items[id].values()))]
    if not all(map(len, dense.values())) or not ran:
        return {"status": NOT_RUN, "reason": "dense or every sub-model lacks a benchmark of this domain"}
    first = {name: study.for_choice(model, name) for name in benchmarks}
    second = {name: ~chosen for name, chosen in first.items()}
    if not all(half.any() for half in [*first.values(), *second.values()]):
        return {"status": NOT_RUN, "reason": "too few items to choose on one half and report on the other"}
    best = max(ran, key=lambda id: _domain_mean(items[id], first))
    groups = [paired(items[best][name], dense[name])[second[name]] for name in benchmarks]
    difference = stratified_bootstrap(groups, **asdict(study.resampling))
    values = {"dense": _domain_mean(dense, second), "value": _domain_mean(items[best], second)}
    values |= {"n_candidates": len(ran)}
    values |= {"n_benchmarks": len(benchmarks), "n_items": sum(len(group) for group in groups)}
    return _chosen(study, model, best, domain, language) | values | _apart(difference)


def _least_perplexity(
    study: Study, model: str, candidates: list[str], benchmarks: list[str], domain: str, language: str | None
) -> dict:
    """As `_best`, for one perplexity."""
    (benchmark,) = benchmarks
    chosen = study.for_choice(model, benchmark)
    dense = perplexities.level(study, model, [DENSE], benchmark, ~chosen)
    levels = {id: perplexities.level(study, model, [id], benchmark, chosen) for id in candidates}
    ran = {id: level.interval.value for id, level in levels.items() if level}
    if dense is None or not ran:
        return {"status": NOT_RUN, "reason": "dense or every sub-model lacks this benchmark, or it has too few items"}
    best = min(ran, key=ran.get)
    difference = perplexities.change(study, model, [best], [DENSE], benchmark, ~chosen)
    value = perplexities.level(study, model, [best], benchmark, ~chosen).interval.value
    values = {"dense": dense.interval.value, "value": value, "n_candidates": len(ran)}
    values |= {"n_benchmarks": 1, "n_items": difference.n_items}
    return _chosen(study, model, best, domain, language) | values | _apart(difference.interval)


def _chosen(study: Study, model: str, id: str, domain: str, language: str | None) -> dict:
    entry = study.submodels(model)[id]
    calibration = study.calibration(entry)
    matched = calibration.matches(domain, language)
    return {"submodel": id, "method": entry["method"], "calibration": calibration.name, "matched": matched}


def _apart(difference: Interval) -> dict:
    change = {"difference": difference.value, "low": difference.low, "high": difference.high}
    return change | {"status": "ok", "reason": None}


def _domain_mean(items: dict[str, np.ndarray], half: dict[str, np.ndarray]) -> float:
    """Mean over benchmarks of the mean over one half of the items."""
    return float(np.mean([values[half[name]].mean() for name, values in items.items()]))


def show(frame: pd.DataFrame) -> pd.DataFrame:
    columns = ["model", "domain", "language", "measure", "sparsity", "best sub-model", "matched", "dense → pruned"]
    shown = pd.DataFrame([_shown(row) for row in frame.itertuples()], columns=[*columns, "change", "items"])
    return with_remarks(shown, frame)


def _shown(row) -> tuple:
    metric = Metric(row.measure, row.higher_is_better)
    place = (row.model, row.domain, row.language, metric.label(), row.sparsity)
    if row.status != "ok":
        return *place, not_run(row.reason), "", "", "", ""
    values = f"{metric.show(row.dense)} → {metric.show(row.value)}"
    change = metric.show_change(row.difference, row.low, row.high)
    return (
        *place,
        labelled(row.submodel, row.method),
        "yes" if row.matched else "no",
        values,
        change,
        str(int(row.n_items)),
    )


TABLE = Table(CAPTION, compute, show)
