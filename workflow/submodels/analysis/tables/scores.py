"""Every score of every sub-model, as it is in the score files."""

import pandas as pd

from submodels.analysis.formats import count, labelled, marked, not_run, show_counts
from submodels.analysis.metric import Metric
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import Table
from submodels.pruning import patterns
from submodels.pruning.methods import METHODS
from submodels.terms import DENSE, NO_CALIBRATION

CAPTION = "Every score with its interval over items, and how its samples ended."
AXES = ("method", "product", "calibration", "calibration_size", "rows", "domain", "sparsity", "pruned_fraction", "seed")


def compute(study: Study) -> pd.DataFrame:
    """One row for each base model, sub-model, benchmark and metric; a score that was not run keeps its row.

    Every axis of the grid is a column: `calibration_size` is a size with its unit, `rows` is a number. There is one
    column for each way in which samples ended; these columns add up to `n_samples`.
    """
    rows, ended = [], study.outcomes()
    for model in study.models:
        for benchmark in study.benchmarks:
            entry = study.benchmark(benchmark)
            for id in study.evaluated(model):
                score = study.score(model, id, benchmark)
                axes, file = _axes(study, model, id), study.scores.get((model, benchmark), {})
                metrics = score["metrics"] or {entry["primary"]: {}}
                for metric, value in metrics.items():
                    rows.append(
                        {"model": model, "submodel": id}
                        | axes
                        | {
                            "benchmark": benchmark,
                            "benchmark_domain": entry["domain"],
                            "language": entry["language"],
                            "metric": metric,
                            "primary": metric == entry["primary"],
                            "higher_is_better": study.metric(benchmark).higher_is_better,
                            "protocol": file.get("protocol"),
                            "remarks": study.remarks([benchmark]),
                        }
                        | {key: value.get(key) for key in ("value", "stderr", "low", "high")}
                        | {key: score.get(key) for key in ("n_items", "n_samples")}
                        | {name.replace(" ", "_"): score["counts"].get(name) for name in ended}
                        | {key: score.get(key) for key in ("status", "reason", "samples", "fingerprint")}
                        | {f"{stage}_seconds": score["wall_seconds"][stage] for stage in ("generate", "execute")}
                        | {key: score[key] for key in ("prompt_tokens", "generated_tokens")}
                    )
    return pd.DataFrame(rows)


def _axes(study: Study, model: str, id: str) -> dict:
    if id == DENSE:
        entry = {"method": "none", "calibration": NO_CALIBRATION, "pruned_fraction": 0.0}
        return dict.fromkeys(AXES) | entry
    entry = study.submodels(model)[id]
    about = {"calibration_size": study.setting(entry).calibration_size}
    about |= {"pruned_fraction": patterns.parse(entry["sparsity"]).fraction}
    about |= {"product": METHODS[entry["method"]].product}
    return {key: (entry | about)[key] for key in AXES}


def endings(frame: pd.DataFrame) -> list[dict[str, float]]:
    """How the samples of each row ended: `passed` -> 30, ...; NaN for endings that its benchmark does not have."""
    first, last = frame.columns.get_loc("n_samples") + 1, frame.columns.get_loc("status")
    counts = frame.iloc[:, first:last]
    return counts.rename(columns=lambda name: name.replace("_", " ")).to_dict("records")


def show(frame: pd.DataFrame) -> pd.DataFrame:
    rows = list(frame.itertuples())
    shown = frame[["model"]].assign(submodel=[labelled(row.submodel, row.method) for row in rows])
    metrics = [Metric(row.metric, row.higher_is_better) for row in rows]
    shown["benchmark"] = [marked(row.benchmark, row.remarks) for row in rows]
    shown["metric"] = [metric.label() for metric in metrics]
    shown["value"] = [
        metric.show(row.value) if row.status == "ok" else not_run(row.reason)
        for metric, row in zip(metrics, rows, strict=True)
    ]
    shown["interval"] = [metric.show_interval(row.low, row.high) for metric, row in zip(metrics, rows, strict=True)]
    shown["items"] = ["" if pd.isna(n) else str(int(n)) for n in frame["n_items"].where(frame["status"] == "ok")]
    shown["samples"] = [show_counts(counts) for counts in endings(frame)]
    seconds = frame[["generate_seconds", "execute_seconds"]].astype(float).sum(axis="columns", min_count=1)
    shown["time (s)"] = [count(value) for value in seconds]
    for column in ("prompt_tokens", "generated_tokens"):
        shown[column.replace("_", " ")] = [count(value) for value in frame[column]]
    return shown


TABLE = Table(CAPTION, compute, show)
