"""Stage score: every sub-model's score on each benchmark, from files of samples only.

A score that is up to date is kept: an added benchmark or sub-model scores no other again.
"""

from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from submodels import defaults, files, provenance, versions
from submodels.benchmarks.metrics import SCORERS, Samples, Scores
from submodels.benchmarks.metrics.translation import SYNONYMS, synonyms_identity
from submodels.benchmarks.registry import Benchmark, Limit, limit_of, load_benchmark, load_items
from submodels.bootstrap import Interval, bootstrap_interval, stratified_bootstrap
from submodels.contamination import SEEN, read_seen
from submodels.contamination import quirks as contamination_quirks
from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.samples import read_samples, samples_of
from submodels.evaluation.truncation import losses
from submodels.layout import manifest_of
from submodels.terms import NOT_RUN
from submodels.verdict import Verdict

SAMPLE_FIELDS = {
    "generate_until": ("completion",),
    "multiple_choice": ("loglikelihoods",),
    "loglikelihood_rolling": ("loglikelihood", "tokens", "bytes"),
}


def score_all(
    benchmarks: dict[str, Path],
    submodels: list[str],
    generations: Path,
    executions: Path,
    out: Path,
    *,
    workers: int = 1,
    **settings,
) -> None:
    """Score the sub-models of a base model on every benchmark (name -> items) into `out`/<benchmark>.json; then write
    `out`.json, which lists these files.

    generations, executions: directories in which `generate` and `execute` left each sub-model's samples, under its id.
    workers: processes at once. `settings`: those of `score`. Scores of the same samples, items and settings are kept.
    """
    out, tasks = Path(out), [load_benchmark(name) for name in benchmarks]
    seen = [Path(generations) / id / SEEN for id in submodels]
    done, faults, kept = {}, [], 0
    # Fork copies the page tables of the whole process: a large process can be refused the memory for it.
    processes = get_context("forkserver")
    with ProcessPoolExecutor(workers, processes) if workers > 1 else nullcontext() as pool:
        for task, items in zip(tqdm(tasks, desc="score", unit="benchmark"), benchmarks.values(), strict=True):
            directory = executions if task.is_code else generations
            samples = {id: samples_of(Path(directory) / id, task.name) for id in submodels}
            path = out / f"{task.name}.json"
            try:
                kept += score(task.name, items, samples, path, seen=seen, keep=True, pool=pool, **settings)
            except SubmodelsError as error:  # the other benchmarks are still scored
                faults.append(str(error))
            else:
                done[task.name] = files.sha256_file(path)
    if faults:
        raise SubmodelsError("\n".join(faults))
    files.write_json(out.with_name(f"{out.name}.json"), {"benchmarks": done, "kept": kept})


def score(
    benchmark: str,
    items_path: Path,
    samples: dict[str, Path],
    out: Path,
    *,
    model: str,
    synonyms: str = "none",
    resamples: int = defaults.RESAMPLES,
    seed: int = 0,
    limit: Limit = None,
    seen: list[Path] | None = None,
    sampling: int | str | None = None,
    keep: bool = False,
    pool: Executor | None = None,
) -> int:
    """Score the samples of each sub-model (id -> file: executions for code, else generations) and write `out`.

    Intervals are percentile bootstraps over items. `limit`: only the first items were asked, of all benchmarks or by
    benchmark. `seen`: for each sub-model the file of items that `generate` found in calibration rows; without it the
    overlap is unknown, and the score says so. `sampling`: how the samples were drawn, as in `generate`. `keep`: keep
    the scores of equal samples that are in `out` already. `pool`: scores sub-models in parallel. Returns how many
    scores were kept.
    """
    if synonyms not in SYNONYMS:
        raise unknown("kind of synonyms", synonyms, SYNONYMS)
    task = load_benchmark(benchmark).with_sampling(sampling)
    asked = load_items(task, items_path)
    limit = limit_of(limit, task.name)
    items = asked[:limit]
    held = read_seen(seen, task.name) if seen else None
    sentences = contamination_quirks(task.name, held or [])
    if held and task.protocol == "strict":
        raise SubmodelsError(f"{sentences[0]} Protocol strict gives no score to a sub-model that has seen its items")
    bootstrap = {"resamples": resamples, "seed": seed, "level": defaults.LEVEL}
    about = {
        "model": model,
        "benchmark": task.name,
        "domain": task.domain,
        "language": task.language,
        "protocol": task.protocol,
        "quirks": [*task.quirks, *sentences],
        "contamination": None if held is None else {"items": len({pair["item"] for pair in held})},
        "fixture": any(item.get("fixture", False) for item in items),
        "faulty_items": {item["task_id"]: item["faulty"] for item in items if "faulty" in item},
        "partial": {"items": len(items), "of": len(asked)} if len(items) < len(asked) else None,
        "sampling": task.sampling,
        "primary": task.primary,
        "higher_is_better": task.higher_is_better,
        "synonyms": synonyms if task.takes_synonyms else None,
        "bootstrap": bootstrap,
        "items": {"path": str(items_path), "fingerprint": files.sha256_file(items_path), "limit": limit},
        "version": versions.SCORE,
        "decided_by": files.fingerprint([task.task, task.scorer, task.takes_synonyms and synonyms_identity(synonyms)]),
        "task_ids": [item["task_id"] for item in items],
    }
    known = files.read_json(out) if keep and Path(out).is_file() else {}
    entries = known["submodels"] if all(known.get(key) == about[key] for key in _DECIDES) else {}
    standing = {
        id: entries[id]
        for id, path in samples.items()
        if id in entries and Path(path).is_file() and entries[id]["fingerprint"] == files.sha256_file(path)
    }
    kept, new = len(standing), {id: Path(path) for id, path in samples.items() if id not in standing}
    work = partial(_score_submodel, task, items, synonyms=synonyms, bootstrap=bootstrap)
    standing |= zip(new, (pool.map if pool else map)(work, new.values()), strict=True)
    about["submodels"] = {id: standing[id] for id in samples}
    about["truncated"] = _most(entry["truncated"] for entry in about["submodels"].values())
    if not about.items() <= known.items():
        made_by = {"versions": provenance.versions("score"), "git": provenance.git_state()}
        files.write_json_lines(out, made_by | about, key="submodels")
    return kept


# The members of a score file that decide a sub-model's entry, beside its samples.
_DECIDES = ("benchmark", "bootstrap", "items", "version", "decided_by")


def _most(truncated: Iterable[dict[str, int]]) -> dict[str, int] | None:
    """The greatest losses of a sub-model to the context; None if no sub-model lost anything."""
    losses = list(truncated)
    most = {key: max((each[key] for each in losses), default=0) for key in ("prompts", "answers")}
    return most if any(most.values()) else None


def _score_submodel(task: Benchmark, items: list[dict], path: Path, *, synonyms: str, bootstrap: dict) -> dict:
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
    """Metric -> each item's value, in the order of the items: every name is stored once."""
    rows = [scores.items[item["task_id"]] for item in items]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _manifests(task: Benchmark, samples: Path) -> tuple[dict, dict]:
    """The manifests of execution, for code, and of generation; empty where a manifest does not exist."""
    executed = _manifest(samples) if task.is_code else {}
    generated = executed.get("inputs", {}).get("samples", {}).get("path", samples)
    return executed, _manifest(Path(generated))


def _check_drawn(task: Benchmark, samples: Path, generated: dict) -> None:
    """Refuse samples whose manifest says that they were drawn in another way than the score would claim."""
    drawn = generated.get("parameters", {}).get("task", task.task)
    for key in ("repeats", "generation_kwargs"):
        if drawn.get(key) != task.task.get(key):
            raise SubmodelsError(
                f"{samples}: drawn with {key}: {drawn.get(key)}, but {task.name} says {task.task.get(key)}; generate "
                "again, or tell both stages how many samples are drawn (`--samples`)"
            )


def _cost(executed: dict, generated: dict) -> dict:
    """Seconds and tokens that the samples took, from the manifests; None where a manifest does not say."""
    results = generated.get("results", {})
    return {
        "wall_seconds": {"generate": results.get("wall_seconds"), "execute": executed.get("wall_seconds")},
        "prompt_tokens": results.get("prompt_tokens"),
        "generated_tokens": results.get("generated_tokens"),
    }


def _manifest(samples: Path) -> dict:
    path = manifest_of(samples)
    return files.read_json(path) if path.is_file() else {}


def _interval(scores: Scores, metric: str, bootstrap: dict) -> Interval:
    """The metric's mean over items, or the scorer's statistic if it has one for this metric."""
    if metric in scores.statistics:
        columns, statistic = scores.statistics[metric]
        return stratified_bootstrap([columns], statistic=statistic, **bootstrap)
    return bootstrap_interval([values[metric] for values in scores.items.values()], **bootstrap)


def group_samples(task: Benchmark, items: list[dict], path: Path) -> Samples:
    """The lines of a samples file by item; an error unless every item is there exactly `repeats` times."""
    needed = [*SAMPLE_FIELDS[task.output_type], *(("passed", "result") if task.is_code else ())]
    needed += ["starts", "loglikelihoods"] if task.by_token else []
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
    return Verdict.parse(unrun[0]["result"]).detail or unrun[0]["result"]
