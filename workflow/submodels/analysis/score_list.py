"""The report's list of all scores, as the data from which its script makes rows."""

from math import isfinite

import pandas as pd

from submodels.analysis.formats import labelled, method_name, not_run, show_counts
from submodels.analysis.links import Links
from submodels.analysis.metric import Metric
from submodels.analysis.tables.scores import endings

_AXES = ("model", "submodel", "method", "calibration", "calibration_size", "domain", "sparsity", "seed")


def list_scores(scores: pd.DataFrame, benchmarks: list[dict], links: Links) -> dict:
    """Every score, numbers as numbers; repeated values (sub-models, benchmarks, sentences, addresses) are stored once.

    scores: the table; benchmarks: those of page.json. rows: sub-model, benchmark, metric (all three by position),
    whether it is the benchmark's primary metric, value, bounds of its interval, items (null: not run), and by position
    how samples ended, or why the score was not run, and the addresses of samples and of their manifest, in which {} is
    <base model>/<sub-model>/<benchmark>.
    """
    runs, ended, samples, generations = _Distinct(), _Distinct(), _Distinct(), _Distinct()
    metrics: dict[str, _Distinct] = {benchmark["name"]: _Distinct() for benchmark in benchmarks}
    rows, positions = [], {name: position for position, name in enumerate(metrics)}
    for row, counts in zip(scores.itertuples(), endings(scores), strict=True):
        ran = row.status == "ok"
        run = {name: "" if pd.isna(value := getattr(row, name)) else value for name in _AXES}
        run |= {"method": method_name(row.method), "name": labelled(row.submodel, row.method)}
        run["seed"] = run["seed"] and int(run["seed"])
        metric = Metric(row.metric, row.higher_is_better)
        shown = {"label": metric.label(), "percent": metric.higher_is_better}
        end = show_counts(counts) if ran else not_run(row.reason)
        place = f"/{row.model}/{row.submodel}/{row.benchmark}."
        addresses = [
            (address or "").replace(place, "/{}.")
            for address in (
                links.existing(row.samples) if ran else None,
                links.generation(row.model, row.submodel, row.benchmark),
            )
        ]
        rows.append(
            [
                runs.add((row.model, row.submodel), run),
                positions[row.benchmark],
                metrics[row.benchmark].add(row.metric, shown),
                int(row.primary),
                *(_number(value, metric) if ran else None for value in (row.value, row.low, row.high)),
                int(row.n_items) if ran else None,
                ended.add(end, end),
                *(distinct.add(path, path) for distinct, path in zip((samples, generations), addresses, strict=True)),
            ]
        )
    for (model, submodel), run in runs.items():
        run["manifest"] = links.manifest(model, submodel)
    return {
        "runs": list(runs.values()),
        "benchmarks": [
            {"name": entry["name"], "remarks": entry["remarks"], "metrics": list(metrics[entry["name"]].values())}
            for entry in benchmarks
        ],
        "rows": rows,
        "ended": list(ended.values()),
        "samples": list(samples.values()),
        "generations": list(generations.values()),
    }


def _number(value: float, metric: Metric) -> float | str:
    """The value with only the digits that are shown: this halves the size of a large page.

    Numbers that JSON does not know become texts: `inf`, and an empty text for NaN.
    """
    if not isfinite(value):
        return metric.show(value)
    short = round(value, 5)
    return short if metric.show(short) == metric.show(value) else value


class _Distinct(dict):
    """Values by their key, each once, in the order of first appearance."""

    def __init__(self):
        super().__init__()
        self._positions: dict = {}

    def add(self, key, value) -> int:
        """The position of `key`, with `value` if it is new."""
        if key not in self._positions:
            self._positions[key] = len(self._positions)
            self[key] = value
        return self._positions[key]
