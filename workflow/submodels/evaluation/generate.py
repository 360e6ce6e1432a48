"""Stage generate: what a sub-model says to every benchmark, one file each.

Base model and mask are loaded once for all benchmarks that are missing or stale. Finished benchmarks are kept, and of
one begun every finished batch: a killed run continues where it was, and an added benchmark reruns no other.
"""

import os
from pathlib import Path
from typing import Literal

from submodels import files, versions
from submodels.calibration.tokenising import FILES as TOKENIZER_FILES
from submodels.dtypes import AUTO, find_dtype
from submodels.errors import SubmodelsError
from submodels.evaluation import prompts
from submodels.evaluation.backends import find_backend
from submodels.evaluation.benchmarks import Benchmark, check_programs, load_benchmark, load_items
from submodels.evaluation.partial import Partial
from submodels.evaluation.shards import Shards
from submodels.evaluation.truncation import losses
from submodels.provenance import Manifest
from submodels.pruning.masks import FILE_NAME as MASK_FILE


def generate(
    model: Path,
    submodel: Path | None,
    benchmarks: dict[str, Path],
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = AUTO,
    backend: str = "hf",
    batch_size: int | Literal["auto"] = "auto",
    threads: int | None = None,
    limit: int | None = None,
    prompt: str = "base",
    sampling: int | str | None = None,
) -> None:
    """Write `<benchmark>.jsonl.gz` and `<benchmark>.manifest.json` for each benchmark (name -> items), then done.json.

    model, submodel: directories; without a sub-model the dense base model answers. limit: only the first items.
    backend: a name of BACKENDS. batch_size: `auto` begins with what fits and halves when memory runs out.
    dtype: see `find_dtype`. threads: CPU threads, None = PyTorch's choice. prompt: the model's format of instructions.
    sampling: how many samples are drawn where pass@k is scored, or greedy; None leaves that to the task files.
    Device, batch size and threads are recorded; beside the dtype that `auto` takes from the device none makes a file
    stale.
    """
    # Before the first import of huggingface_hub, which reads them once: no job but `fetch` uses the network.
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    from submodels.checkpoints.base import checkpoint_dtype, fingerprint_base

    dtype = find_dtype(dtype, device)
    counts = {"batch size": None if batch_size == "auto" else batch_size, "threads": threads, "limit": limit}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise SubmodelsError(f"{name} must be at least 1{' or auto' * (name == 'batch size')} (got {count})")
    found = find_backend(backend)
    prompts.check(prompt)
    tasks = [load_benchmark(name).with_sampling(sampling) for name in benchmarks]
    items = [load_items(task, path) for task, path in zip(tasks, benchmarks.values(), strict=True)]
    for task, rows, path in zip(tasks, items, benchmarks.values(), strict=True):
        check_programs(task, rows, str(path))
    speaker = {"base_model": fingerprint_base(model)} | _companions(model)
    dtype = checkpoint_dtype(model) if dtype == AUTO else dtype
    if submodel is not None:
        speaker["mask"] = _mask_hash(submodel)
    settings = {"seed": seed, "dtype": dtype, "backend": backend, "limit": limit, "version": versions.GENERATE}
    work = []
    for task, path, rows in zip(tasks, benchmarks.values(), items, strict=True):
        asked = prompts.settings(prompt, task)
        asked |= prompts.date(prompts.format_of(prompt, task), model)
        manifest = Manifest("generate", {"task": task.task} | settings | asked, speaker | {"items": Path(path)})
        if _stands(out, task.name, manifest):
            _unfinished_path(out, task.name).unlink(missing_ok=True)
        else:
            work.append((task, rows, manifest))
    if work:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        with found.open(model, submodel, device=device, dtype=dtype, batch_size=counts["batch size"]) as lm:
            used = {"device": device, "threads": torch.get_num_threads(), "bos": lm.adds_bos}
            used["context"] = lm.max_length
            used["automatic_batch_size"] = batch_size == "auto"
            for task, rows, manifest in work:
                _run(lm, task, rows, manifest, out, limit, prompt, used)
    done = {task.name: files.read_json(_manifest_path(out, task.name))["fingerprint"] for task in tasks}
    files.write_json(Path(out) / "done.json", {"benchmarks": done})


def _companions(model: Path) -> dict[str, str]:
    """Hashes of what else decides the texts: the tokenizer and the generation settings (end tokens)."""
    model = Path(model)
    paths = [*(model / name for name in (*TOKENIZER_FILES, "generation_config.json")), *prompts.template_files(model)]
    return {str(path.relative_to(model)): files.sha256_file(path) for path in paths if path.is_file()}


def _mask_hash(submodel: Path) -> str:
    path = Path(submodel) / MASK_FILE
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; prune first, or give no sub-model for the dense base model")
    return files.sha256_file(path)


def _manifest_path(out: Path, name: str) -> Path:
    return Path(out) / f"{name}.manifest.json"


def _samples_path(out: Path, name: str) -> Path:
    return Path(out) / f"{name}.jsonl.gz"


def _unfinished_path(out: Path, name: str) -> Path:
    return Path(out) / f"{name}.partial.jsonl"


def _stands(out: Path, name: str, manifest: Manifest) -> bool:
    """Whether the samples there were made from the same weights, items and settings, and are whole."""
    paths = _manifest_path(out, name), _samples_path(out, name)
    if not all(path.is_file() for path in paths):
        return False
    known = files.read_json(paths[0])
    same = known["fingerprint"] == manifest.fingerprint
    return same and known["results"]["samples_sha256"] == files.sha256_file(paths[1])


def _run(
    lm, task: Benchmark, rows: list[dict], manifest: Manifest, out: Path, limit: int | None, prompt: str, used: dict
) -> None:
    from submodels.evaluation.engine import run

    items, seed = rows[:limit], manifest.content["parameters"]["seed"]
    unfinished = _unfinished_path(out, task.name)
    with Partial(unfinished, {"fingerprint": manifest.fingerprint}) as partial:
        shards = Shards(partial)
        lines = run(lm, task, items, seed, prompt, shards)
    path = _samples_path(out, task.name)
    files.write_jsonl(path, lines)
    manifest.write(
        _manifest_path(out, task.name),
        items=len(items),
        partial={"items": len(items), "of": len(rows)} if len(items) < len(rows) else None,
        samples=len(lines),
        truncated=losses(lines),
        samples_sha256=files.sha256_file(path),
        prompt_tokens=shards.totals["prompt_tokens"],
        generated_tokens=shards.totals["generated_tokens"],
        wall_seconds=round(shards.totals["seconds"], 3),
        batch_size=shards.batch_size,
        **used | {"bos": used["bos"] and task.bos},
    )
    unfinished.unlink(missing_ok=True)
