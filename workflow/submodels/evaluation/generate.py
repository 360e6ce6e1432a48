"""Stage generate: what a sub-model says to every benchmark, one file each.

Base model and mask are loaded once for all benchmarks that are missing or stale. A finished benchmark is kept, so a
killed run continues and an added benchmark reruns no other.
"""

import os
from pathlib import Path

from submodels import files, versions
from submodels.calibration.tokenising import FILES as TOKENIZER_FILES
from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.benchmarks import Benchmark, load_benchmark, load_items
from submodels.provenance import Manifest
from submodels.pruning.masks import FILE_NAME as MASK_FILE
from submodels.terms import DTYPES


def generate(
    model: Path,
    submodel: Path | None,
    benchmarks: dict[str, Path],
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int = 16,
    threads: int | None = None,
    limit: int | None = None,
) -> None:
    """Write `<benchmark>.jsonl.gz` and `<benchmark>.manifest.json` for each benchmark (name -> items), then done.json.

    model, submodel: directories; without a sub-model the dense base model answers. limit: only the first items.
    threads: CPU threads, None = PyTorch's choice.
    Device, batch size and threads are recorded but make no file stale.
    """
    # Before the first import of huggingface_hub, which reads them once: no job but `fetch` uses the network.
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    from submodels.checkpoints.base import fingerprint_base

    if dtype not in (*DTYPES, "auto"):
        raise unknown("dtype", dtype, (*DTYPES, "auto"))
    if min(batch_size, *(1 if value is None else value for value in (threads, limit))) < 1:
        raise SubmodelsError("batch size, threads and limit must be at least 1")
    speaker = {"base_model": fingerprint_base(model)} | _companions(model)
    if submodel is not None:
        speaker["mask"] = _mask_hash(submodel)
    tasks = [load_benchmark(name) for name in benchmarks]
    items = [load_items(task, path, limit) for task, path in zip(tasks, benchmarks.values(), strict=True)]
    settings = {"seed": seed, "dtype": dtype, "limit": limit, "version": versions.GENERATE}
    work = []
    for task, path, rows in zip(tasks, benchmarks.values(), items, strict=True):
        manifest = Manifest("generate", {"task": task.task} | settings, speaker | {"items": Path(path)})
        if not _stands(out, task.name, manifest):
            work.append((task, rows, manifest))
    if work:
        import torch

        lm = _load(model, submodel, device, dtype, batch_size, threads)
        used = {"device": device, "batch_size": batch_size, "threads": torch.get_num_threads(), "bos": lm.adds_bos}
        for task, rows, manifest in work:
            _run(lm, task, rows, manifest, out, seed, used)
    done = {task.name: files.read_json(_manifest_path(out, task.name))["fingerprint"] for task in tasks}
    files.write_json(Path(out) / "done.json", {"benchmarks": done})


def _companions(model: Path) -> dict[str, str]:
    """Hashes of what else decides the texts: the tokenizer and the generation settings (end tokens)."""
    paths = [Path(model) / name for name in (*TOKENIZER_FILES, "generation_config.json")]
    return {path.name: files.sha256_file(path) for path in paths if path.is_file()}


def _mask_hash(submodel: Path) -> str:
    path = Path(submodel) / MASK_FILE
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; prune first, or give no sub-model for the dense base model")
    return files.sha256_file(path)


def _manifest_path(out: Path, name: str) -> Path:
    return Path(out) / f"{name}.manifest.json"


def _samples_path(out: Path, name: str) -> Path:
    return Path(out) / f"{name}.jsonl.gz"


def _stands(out: Path, name: str, manifest: Manifest) -> bool:
    """Whether the samples there were made from the same weights, items and settings, and are whole."""
    paths = _manifest_path(out, name), _samples_path(out, name)
    if not all(path.is_file() for path in paths):
        return False
    known = files.read_json(paths[0])
    same = known["fingerprint"] == manifest.fingerprint
    return same and known["results"]["samples_sha256"] == files.sha256_file(paths[1])


def _load(model: Path, submodel: Path | None, device: str, dtype: str, batch_size: int, threads: int | None):
    import torch

    from submodels.checkpoints.load import load_submodel, load_tokenizer
    from submodels.evaluation.engine import EngineLM

    if threads is not None:
        torch.set_num_threads(threads)
    return EngineLM(load_submodel(model, submodel, dtype=dtype, device=device), load_tokenizer(model), batch_size)


def _run(lm, task: Benchmark, items: list[dict], manifest: Manifest, out: Path, seed: int, used: dict) -> None:
    from submodels.evaluation.engine import run

    lines = run(lm, task, items, seed)
    path = _samples_path(out, task.name)
    files.write_jsonl(path, lines)
    manifest.write(
        _manifest_path(out, task.name),
        items=len(items),
        samples=len(lines),
        samples_sha256=files.sha256_file(path),
        **used,
    )
