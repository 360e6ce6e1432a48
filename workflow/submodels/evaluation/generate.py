"""Stage generate: a sub-model's answers to every benchmark, one file for each benchmark.

Base model and mask are loaded once for all benchmarks that are missing or stale. Finished benchmarks are kept, and
finished batches of an unfinished benchmark: a killed run continues where it stopped, and an added benchmark reruns no
other. Samples of another grid are taken over, and from a run with another limit the items that both runs have.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from submodels import defaults, files, prompts, versions
from submodels.benchmarks.questions import asks_alone
from submodels.benchmarks.registry import Benchmark, Limit, limit_of, load_benchmark, load_items
from submodels.checkpoints.base import TOKENIZER_FILES
from submodels.checkpoints.masks import FILE_NAME as MASK_FILE
from submodels.checkpoints.masks import Masks
from submodels.contamination import SEEN, check_draws
from submodels.dtypes import AUTO, find_dtype
from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.answers import Answers
from submodels.evaluation.backends import find_backend
from submodels.evaluation.journal import Journal
from submodels.evaluation.programs import check_programs
from submodels.evaluation.samples import samples_of, unfinished_of
from submodels.evaluation.truncation import losses
from submodels.layout import DRAWN_WINDOWS, manifest_of
from submodels.products import like, take_over, up_to_date
from submodels.provenance import Manifest


def generate(
    model: Path,
    submodel: Path | None,
    benchmarks: dict[str, Path],
    out: Path,
    *,
    draws: Sequence[Path] = (),
    seed: int = 0,
    device: str = "cpu",
    dtype: str = AUTO,
    backend: str = "hf",
    batch_size: int | Literal["auto"] = "auto",
    threads: int | None = None,
    limit: Limit = None,
    prompt: str = defaults.PROMPT,
    sampling: int | str | None = None,
) -> None:
    """Write `<benchmark>.jsonl.gz` and `<benchmark>.manifest.json` for each benchmark (name -> items), then done.json.

    model, submodel: directories; without a sub-model the dense base model answers. limit: only the first items, of
    all benchmarks or by benchmark.
    draws: the directories of the calibration draws that the sub-model saw, whose rows must hold none of the items (see
    `contamination.check_draws`); without them a calibrated sub-model is not checked, and its scores say so.
    backend: a name of BACKENDS. batch_size: `auto` begins with a size that fits and halves it when memory runs out.
    dtype: see `find_dtype`. threads: CPU threads, None = PyTorch's choice. prompt: the model's format of instructions.
    sampling: how many samples are drawn where pass@k is scored, or greedy; None: as the task files say.
    Device, batch size and threads are recorded; they make no file stale, except through the dtype that `auto` takes
    from the device.
    """
    # Set before the first import of huggingface_hub, which reads them once: only `fetch` uses the network.
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    from submodels.checkpoints.base import fingerprint_base, known_dtype

    dtype = find_dtype(dtype, device)
    counts = {"batch size": None if batch_size == "auto" else batch_size, "threads": threads}
    limits = limit.values() if isinstance(limit, Mapping) else [limit]
    for name, count in [*counts.items(), *(("limit", count) for count in limits)]:
        if count is not None and (not isinstance(count, int) or count < 1):
            raise SubmodelsError(f"{name} must be at least 1{' or auto' * (name == 'batch size')} (got {count})")
    for name in limit if isinstance(limit, Mapping) else ():
        if name not in benchmarks:
            raise unknown("benchmark", name, benchmarks)
    engines = find_backend(backend)
    prompts.check(prompt)
    tasks = [load_benchmark(name).with_sampling(sampling) for name in benchmarks]
    paths = map(Path, benchmarks.values())
    given = [(task, path, load_items(task, path)) for task, path in zip(tasks, paths, strict=True)]
    for task, path, rows in given:
        check_programs(task, rows, str(path))
    if draws or submodel is None or not _saw_rows(submodel):
        check_draws(list(draws), given, Path(out) / SEEN)
    if draws and submodel is not None:
        _check_both(submodel, draws)
    speaker = {"base_model": fingerprint_base(model)} | _companions(model)
    if submodel is not None:
        speaker["mask"] = files.sha256_file(_mask_file(submodel))
    dtype = known_dtype(dtype, model)
    settings = {"seed": seed, "dtype": dtype, "backend": backend, "version": versions.GENERATE}
    work = []
    for task, path, rows in given:
        formatting = prompts.settings(prompt, task)
        formatting |= prompts.date(prompts.format_of(prompt, task), model)
        first = limit_of(limit, task.name)
        manifest = Manifest(
            "generate", {"task": task.task, "limit": first} | settings | formatting, speaker | {"items": path}
        )
        if not _made(manifest, samples_of(out, task.name), rows, first):
            work.append((task, rows, manifest, first))
    if work:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        with engines.open(model, submodel, device=device, dtype=dtype, batch_size=counts["batch size"]) as lm:
            used = {"device": device, "threads": torch.get_num_threads(), "bos": lm.adds_bos}
            used["context"], used["packed"] = lm.max_length, lm.packed
            used["automatic_batch_size"] = batch_size == "auto"
            for task, rows, manifest, first in work:
                _run(lm, task, rows, manifest, out, first, prompt, used)
    done = {task.name: files.read_json(manifest_of(samples_of(out, task.name)))["fingerprint"] for task in tasks}
    files.write_json(Path(out) / "done.json", {"benchmarks": done})


def _companions(model: Path) -> dict[str, str]:
    """Hashes of the other files that decide the texts: the tokenizer and the generation settings (end tokens)."""
    model = Path(model)
    paths = [*(model / name for name in (*TOKENIZER_FILES, "generation_config.json")), *prompts.template_files(model)]
    return {str(path.relative_to(model)): files.sha256_file(path) for path in paths if path.is_file()}


def _mask_file(submodel: Path) -> Path:
    path = Path(submodel) / MASK_FILE
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; prune first, or give no sub-model for the dense base model")
    return path


def _saw_rows(submodel: Path) -> bool:
    """Whether a sub-model was pruned with calibration data."""
    return Masks(_mask_file(submodel).parent).header["calibration"] is not None


def _check_both(submodel: Path, draws: Sequence[Path]) -> None:
    """Refuse to compare the rows of one of two sets alone."""
    general = Masks(_mask_file(submodel).parent).header.get("general")
    if general and general["sha256"] not in {files.sha256_file(Path(draw) / DRAWN_WINDOWS) for draw in draws}:
        raise SubmodelsError(
            f"{submodel}: the sub-model also saw rows of '{general['name']}'; give that draw, too (--draw, repeated)"
        )


def _made(manifest: Manifest, samples: Path, rows: list[dict], limit: int | None) -> bool:
    """Whether the samples are up to date, or could be taken over: from another grid, or from a run of more items."""
    place = manifest_of(samples)
    if not (up_to_date(manifest, place) or take_over(manifest, place, link=True)):
        known = _known(manifest, samples, rows[:limit])
        if len(known.lines) < len(rows[:limit]):
            return False
        _write(manifest, samples, rows, limit, known.in_order(rows[:limit]), known, known.used)
    unfinished_of(samples).unlink(missing_ok=True)
    return True


class _Known:
    """Samples taken over from runs with another limit. `lines`: of each item; `taken`: source and number of items;
    `totals`: their share of that run's tokens and seconds; `used`: the settings and versions they were made with.
    """

    def __init__(self):
        self.lines: dict[str, list[dict]] = {}
        self.taken: list[dict] = []
        self.totals = dict.fromkeys(Answers.TOTALS, 0)
        self.batch_size: int | None = None
        self.used: dict = {}

    def add(self, place: Path, content: dict, wanted: list[str]) -> None:
        grouped: dict[str, list[dict]] = {}
        for line in files.read_jsonl(place.parent / next(iter(content["products"]))):
            grouped.setdefault(line["task_id"], []).append(line)
        new = {id: grouped[id] for id in wanted if id in grouped and id not in self.lines}
        if not new:
            return
        self.lines |= new
        results = content["results"]
        for name in self.totals:
            self.totals[name] += results[_RESULT.get(name, name)] * len(new) / len(grouped)
        self.batch_size, self.used = results["batch_size"], {name: results[name] for name in _USED}
        self.taken.append({"from": str(place), "items": len(new)})

    def in_order(self, rows: list[dict]) -> list[dict]:
        return [line for row in rows for line in self.lines[row["task_id"]]]


_RESULT = {"seconds": "wall_seconds"}  # names of totals in a manifest
_USED = ("device", "threads", "bos", "context", "packed", "automatic_batch_size")


def _known(manifest: Manifest, samples: Path, rows: list[dict]) -> _Known:
    known, wanted = _Known(), [row["task_id"] for row in rows]
    if not asks_alone(manifest.content["parameters"]["task"]):
        return known
    for place, content in like(manifest, manifest_of(samples), but="limit"):
        known.add(place, content, wanted)
    return known


def _run(
    lm, task: Benchmark, rows: list[dict], manifest: Manifest, out: Path, limit: int | None, prompt: str, used: dict
) -> None:
    from submodels.evaluation.engine import run

    seed, samples = manifest.content["parameters"]["seed"], samples_of(out, task.name)
    known = _known(manifest, samples, rows[:limit])
    with Journal(unfinished_of(samples), {"fingerprint": manifest.fingerprint}) as journal:
        answers = Answers(journal)
        lines = run(lm, task, rows[:limit], seed, prompt, answers, known.lines)
    for name in known.totals:
        known.totals[name] += answers.totals[name]
    known.batch_size = answers.batch_size
    _write(manifest, samples, rows, limit, lines, known, used | {"bos": used["bos"] and task.bos})
    unfinished_of(samples).unlink(missing_ok=True)


def _write(
    manifest: Manifest, samples: Path, rows: list[dict], limit: int | None, lines: list[dict], known: _Known, used: dict
) -> None:
    """Write samples and their manifest; known: samples taken over, and the tokens and seconds of all samples."""
    files.write_jsonl(samples, lines)
    items = len(rows[:limit])
    manifest.write(
        manifest_of(samples),
        [samples],
        items=items,
        partial={"items": items, "of": len(rows)} if items < len(rows) else None,
        samples=len(lines),
        truncated=losses(lines),
        taken=known.taken,
        prompt_tokens=round(known.totals["prompt_tokens"]),
        generated_tokens=round(known.totals["generated_tokens"]),
        wall_seconds=round(known.totals["seconds"], 3),
        batch_size=known.batch_size,
        **used,
    )
