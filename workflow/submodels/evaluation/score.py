"""Stage score: every sub-model's score on one benchmark, from files of samples alone."""

from collections.abc import Iterable
from pathlib import Path

from submodels import files, provenance, versions
from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.benchmarks import Benchmark, load_benchmark, load_items
from submodels.evaluation.execute import manifest_path
from submodels.evaluation.metrics import SCORERS, Samples, Scores
from submodels.evaluation.metrics.translation import SYNONYMS
from submodels.evaluation.samples import read_samples
from submodels.evaluation.statistics import Interval, bootstrap_interval, stratified_bootstrap
from submodels.evaluation.truncation import losses
from submodels.terms import NOT_RUN

LEVEL = 0.95  # of intervals
SAMPLE_FIELDS = {
    "generate_until": ("completion",),
    "multiple_choice": ("loglikelihoods",),
    "loglikelihood_rolling": ("loglikelihood", "tokens", "bytes"),
}


def score(
    benchmark: str,
    items_path: Path,
    samples: dict[str, Path],
    out: Path,
    *,
    model: str,
    synonyms: str = "none",
    resamples: int = 1000,
    seed: int = 0,
    limit: int | None = None,
    contamination: Path | None = None,
    sampling: int | str | None = None,
) -> None:
    """Score the samples of each sub-model (id -> file: executions for code, else generations) and write `out`.

    Intervals are percentile bootstraps over items. `limit`: only the first items were asked. `contamination`: what the
    stage of that name found; without it the overlap with calibration rows is unknown, and the score says so.
    `sampling`: how the samples were drawn, as `generate` was told.
    """
    if synonyms not in SYNONYMS:
        raise unknown("kind of synonyms", synonyms, SYNONYMS)
    task = load_benchmark(benchmark).with_sampling(sampling)
    asked = load_items(task, items_path)
    items = asked[:limit]
    seen = {} if contamination is None else _contamination(task, Path(contamination))
    bootstrap = {"resamples": resamples, "seed": seed, "level": LEVEL}
    scored = {id: _score_submodel(task, items, Path(path), synonyms, bootstrap) for id, path in samples.items()}
    files.write_json_lines(
        out,
        {
            "model": model,
            "benchmark": task.name,
            "domain": task.domain,
            "language": task.language,
            "protocol": task.protocol,
            "quirks": [*task.quirks, *seen.pop("quirks", ())],
            "contamination": seen or None,
            "fixture": any(item.get("fixture", False) for item in items),
            "faulty_items": {item["task_id"]: item["faulty"] for item in items if "faulty" in item},
            "partial": {"items": len(items), "of": len(asked)} if len(items) < len(asked) else None,
            "sampling": task.sampling,
            "truncated": _most(entry["truncated"] for entry in scored.values()),
            "primary": task.primary,
            "higher_is_better": task.higher_is_better,
            "synonyms": synonyms if task.takes_synonyms else None,
            "bootstrap": bootstrap,
            "items": {"path": str(items_path), "fingerprint": files.sha256_file(items_path), "limit": limit},
            "version": versions.SCORE,
            "versions": provenance.versions(),
            "git": provenance.git_state(),
            "task_ids": [item["task_id"] for item in items],
            "submodels": scored,
        },
        key="submodels",
    )


def _contamination(task: Benchmark, path: Path) -> dict:
    """How many items calibration rows hold, and the sentences that say so; an error unless the protocol allows it."""
    found = files.read_json(path)["results"]["benchmarks"].get(task.name)
    if found is None:
        raise SubmodelsError(f"{path}: {task.name} was not compared with the calibration rows; run the stage again")
    if found["seen"] and task.protocol == "strict":
        raise SubmodelsError(f"{path}: {found['quirks'][0]} Protocol strict gives no score to what has seen its items")
    items = len({one["item"] for one in found["seen"]})
    return {"path": str(path), "fingerprint": files.sha256_file(path), "items": items, "quirks": found["quirks"]}


def _most(truncated: Iterable[dict[str, int]]) -> dict[str, int] | None:
    """What the sub-models that lost most to the context lost; None if nobody lost anything."""
    losses = list(truncated)
    most = {key: max((each[key] for each in losses), default=0) for key in ("prompts", "answers")}
    return most if any(most.values()) else None


def _score_submodel(task: Benchmark, items: list[dict], path: Path, synonyms: str, bootstrap: dict) -> dict:
    lines = group_samples(task, items, path)
    executed, generated = _manifests(task, path)
    _check_drawn(task, path, generated)
    entry = {
        "status": "ok",
        "reason": None,
        "n_items": len(items),
        "n_samples": len(items) * task.repeats,
        "truncated": losses([line for group in lines.values() for line in group]),
        "counts": {},
        "metrics": {},
        "corpus": {},
        "items": {},
        "samples": str(path),
        "fingerprint": files.sha256_file(path),
    } | _cost(executed, generated)
    if task.is_code and (reason := not_run(lines, path)) is not None:
        return entry | {"status": NOT_RUN, "reason": reason}
    try:
        scores = SCORERS[task.scorer].score(items, lines, synonyms)
    except ValueError as error:
        raise SubmodelsError(f"{path}: {error}") from error
    names = SCORERS[task.scorer].metrics(task.repeats)
    return entry | {
        "counts": scores.counts,
        "metrics": {name: _interval(scores, name, bootstrap)._asdict() for name in names},
        "corpus": scores.corpus,
        "items": _columns(items, scores),
    }


def _columns(items: list[dict], scores: Scores) -> dict[str, list[float]]:
    """Each item's values by name, in the order of the items: the names once, however many items there are."""
    rows = [scores.items[item["task_id"]] for item in items]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _manifests(task: Benchmark, samples: Path) -> tuple[dict, dict]:
    """What made the samples: the manifests of execution, for code, and of generation; empty where none is there."""
    executed = _manifest(samples) if task.is_code else {}
    said = executed.get("inputs", {}).get("samples", {}).get("path", samples)
    return executed, _manifest(Path(said))


def _check_drawn(task: Benchmark, samples: Path, generated: dict) -> None:
    """Refuse samples that were drawn otherwise than the score would say, as far as a manifest tells."""
    drawn = generated.get("parameters", {}).get("task", task.task)
    for key in ("repeats", "generation_kwargs"):
        if drawn.get(key) != task.task.get(key):
            raise SubmodelsError(
                f"{samples}: drawn with {key}: {drawn.get(key)}, but {task.name} says {task.task.get(key)}; generate "
                "again, or tell both stages how many samples are drawn (`--samples`)"
            )


def _cost(executed: dict, generated: dict) -> dict:
    """Seconds and tokens that the samples took, as the manifests say; None where none is there."""
    results = generated.get("results", {})
    return {
        "wall_seconds": {"generate": results.get("wall_seconds"), "execute": executed.get("wall_seconds")},
        "prompt_tokens": results.get("prompt_tokens"),
        "generated_tokens": results.get("generated_tokens"),
    }


def _manifest(samples: Path) -> dict:
    path = manifest_path(samples)
    return files.read_json(path) if path.is_file() else {}


def _interval(scores: Scores, metric: str, bootstrap: dict) -> Interval:
    """The metric's mean over items, unless the scorer has a statistic of its own for it."""
    if metric in scores.statistics:
        columns, statistic = scores.statistics[metric]
        return stratified_bootstrap([columns], statistic=statistic, **bootstrap)
    return bootstrap_interval([values[metric] for values in scores.items.values()], **bootstrap)


def group_samples(task: Benchmark, items: list[dict], path: Path) -> Samples:
    """The lines of a samples file by item; an error unless every item is there exactly `repeats` times."""
    needed = [*SAMPLE_FIELDS[task.output_type], *(("passed", "result") if task.is_code else ())]
    grouped = {item["task_id"]: [] for item in items}
    for line in read_samples(path, grouped, needed):
        grouped[line["task_id"]].append(line)
    for task_id, lines in grouped.items():
        if len(lines) != task.repeats:
            raise SubmodelsError(
                f"{path}: item {task_id} has {len(lines)} samples, {task.name} needs {task.repeats}; generate again, "
                "or tell both stages how many samples are drawn (`--samples`)"
            )
    return grouped


def not_run(lines: Samples, path: Path) -> str | None:
    """Why no program ran; None if all ran. An error if only some did: half a benchmark is no score."""
    unrun = [line for group in lines.values() for line in group if line["passed"] is None]
    if not unrun:
        return None
    total = sum(map(len, lines.values()))
    if len(unrun) < total:
        raise SubmodelsError(f"{path}: {len(unrun)} of {total} programs were not run; execute the samples again")
    return unrun[0]["result"].partition(":")[2].strip() or unrun[0]["result"]
