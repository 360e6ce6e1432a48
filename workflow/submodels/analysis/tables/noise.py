"""The noise floor: differences between scores of sub-models that differ only in the seed of the calibration draw."""

from dataclasses import asdict
from itertools import combinations
from statistics import fmean, variance

import numpy as np
import pandas as pd

from submodels.analysis.formats import count, marked
from submodels.analysis.metric import Metric
from submodels.analysis.study import Setting, Study
from submodels.analysis.tables.shared import Table, setting_columns
from submodels.bootstrap import half_widths

CAPTION = (
    "Changes of a score by another draw of the same calibration set, beside the interval of one score over items; "
    "accuracies in percentage points. Pairs of sets below: their scores differ by less than two draws of one set would."
)
COLUMNS = ["model", "method", "sparsity", "calibration_size", "domain", "benchmark", "higher_is_better", "remarks"]
COLUMNS += ["sets", "n_draws", "spread", "floor", "items", "n_pairs", "n_below", "below"]


def compute(study: Study) -> pd.DataFrame:
    """One row for each base model, setting and benchmark (none: the mean of a domain's) with a set drawn several times.

    spread: standard deviation of the score over the draws of one set, pooled over the sets drawn several times. floor:
    the difference that two draws of one set are expected to make, sqrt(2) times as large. items: half the width of a
    score's interval over items, mean over these draws. below: pairs of sets that differ by less than draws of one set
    would, spread * sqrt(1 / n + 1 / m) for sets of n and m draws.
    """
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            for domain, benchmark, names in _targets(study, model):
                about = {"model": model, **setting.columns, "domain": domain, "benchmark": benchmark}
                about |= {"higher_is_better": study.metric(names[0]).higher_is_better, "remarks": study.remarks(names)}
                floor = _floor(study, model, setting, names)
                if floor:
                    rows.append(about | floor)
    return pd.DataFrame(rows, columns=COLUMNS)


def _targets(study: Study, model: str):
    """(domain, benchmark, benchmarks): the domains with several benchmarks, then every single benchmark."""
    for domain in study.domains():
        names = study.scored(model, domain)
        if len(names) > 1:
            yield domain, None, names
    for name in study.benchmarks:
        yield study.benchmark(name)["domain"], name, [name]


def _floor(study: Study, model: str, setting: Setting, names: list[str]) -> dict | None:
    """None where no set has two draws that ran."""
    draws: dict[str, dict[str, float]] = {}
    for calibration, ids in study.scored_by_calibration(model, setting).items():
        values = {id: _value(study, model, id, names) for id in ids}
        draws[calibration.name] = {id: value for id, value in values.items() if value is not None}
    repeated = {name: values for name, values in draws.items() if len(values) > 1}
    if not repeated:
        return None
    freedom = sum(len(values) - 1 for values in repeated.values())
    squares = sum((len(values) - 1) * variance(values.values()) for values in repeated.values())
    spread = (squares / freedom) ** 0.5
    pairs = list(combinations([name for name, values in draws.items() if values], 2))
    below = [f"{a}/{b}" for a, b in pairs if _apart(draws[a], draws[b]) < spread * _draws(draws[a], draws[b])]
    return {
        "sets": " ".join(repeated),
        "n_draws": sum(map(len, repeated.values())),
        "spread": spread,
        "floor": 2**0.5 * spread,
        "items": _half_width(study, model, [id for values in repeated.values() for id in values], names),
        "n_pairs": len(pairs),
        "n_below": len(below),
        "below": " ".join(below),
    }


def _apart(a: dict[str, float], b: dict[str, float]) -> float:
    return abs(fmean(a.values()) - fmean(b.values()))


def _draws(a: dict[str, float], b: dict[str, float]) -> float:
    return (1 / len(a) + 1 / len(b)) ** 0.5


def _value(study: Study, model: str, id: str, names: list[str]) -> float | None:
    scores = [study.score(model, id, name) for name in names]
    if any(score["status"] != "ok" for score in scores):
        return None
    return fmean(
        score["metrics"][study.benchmark(name)["primary"]]["value"] for score, name in zip(scores, names, strict=True)
    )


def _half_width(study: Study, model: str, ids: list[str], names: list[str]) -> float:
    """Mean over sub-models of half the width of the interval of their score, or of the mean of their scores."""
    if len(names) > 1:
        groups = [np.stack([study.items(model, [id], name) for id in ids], axis=1) for name in names]
        return float(half_widths(groups, **asdict(study.resampling)).mean())
    primary = study.benchmark(names[0])["primary"]
    scores = [study.score(model, id, names[0])["metrics"][primary] for id in ids]
    return fmean((score["high"] - score["low"]) / 2 for score in scores)


def show(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[setting_columns(frame)].copy()
    rows = list(frame.itertuples())
    names = [f"{row.domain}, mean" if pd.isna(row.benchmark) else row.benchmark for row in rows]
    metrics = [Metric(name, row.higher_is_better) for name, row in zip(names, rows, strict=True)]
    shown["score"] = [marked(metric.label(unit=""), row.remarks) for metric, row in zip(metrics, rows, strict=True)]
    for name, column in (("spread over draws", "spread"), ("two draws differ by", "floor"), ("items (±)", "items")):
        shown[name] = [metric.show(value) for metric, value in zip(metrics, frame[column], strict=True)]
    shown["sets drawn again"] = frame["sets"]
    shown["draws"] = [count(n) for n in frame["n_draws"]]
    shown["pairs of sets below"] = [f"{row.n_below} of {row.n_pairs}" for row in rows]
    return shown


TABLE = Table(CAPTION, compute, show)
