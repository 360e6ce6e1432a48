"""Stage `prune`: base model + calibration windows -> a sub-model: a mask, and the kept values where they change."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from submodels import defaults, files
from submodels.allocator import keep_freed_memory
from submodels.checkpoints import masks
from submodels.checkpoints.base import find_context, fingerprint_base
from submodels.dtypes import AUTO, find_dtype
from submodels.errors import SubmodelsError
from submodels.products import take_over
from submodels.provenance import Manifest
from submodels.pruning import memory, patterns
from submodels.pruning.blocks import BlockStream
from submodels.pruning.methods import Method, get_method, get_one_shot
from submodels.pruning.patterns import NofM, Pattern
from submodels.pruning.progress import Progress
from submodels.pruning.rules import Pruned, Rule
from submodels.pruning.sequential import prune_blocks
from submodels.pruning.whole_model import Job, Settings, predictable
from submodels.pruning.windows import Windows, read_windows
from submodels.terms import DTYPES

STATE = "training.safetensors"  # of an unfinished job with gradients, beside the mask that it makes


def prune(
    model: Path,
    windows: Path | None,
    method: str,
    sparsity: str,
    out: Path,
    *,
    calibration: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = AUTO,
    batch_size: int = defaults.PRUNED_AT_ONCE,
    offload: bool = False,
    threads: int | None = None,
    general: Path | None = None,
    general_weight: float = defaults.GENERAL_WEIGHT,
    tokens: int = defaults.TRAINED_TOKENS,
    prior: str = defaults.PRIOR,
) -> None:
    """Prune the base model in directory `model` and write `out`/submodel.safetensors and `out`/manifest.json.

    windows: calibration windows (`windows.safetensors`); None for a method that needs none.
    method: a name in `METHODS`. sparsity: `0.50`, `2of4`, ...
    calibration: the calibration set's name, recorded; by default the name of the windows' directory.
    seed: the seed of the calibration draw, recorded; it also seeds methods that choose at random.
    dtype: of the computation, see `find_dtype`; statistics are always float32, values always in the checkpoint's dtype.
    batch_size: windows computed together. offload: hidden states wait on the host, the device holds only blocks.
    threads: CPU threads, None = PyTorch's choice.
    general, general_weight, tokens, prior: of methods with gradients, see `whole_model.Settings`; `general` is a file
    of windows. Such a job saves its state beside the mask from time to time; a killed job continues from there.
    The manifest says how many tokens the method computed (`tokens`), each as often as it did.
    The process keeps freed memory from here on (`allocator.keep_freed_memory`).
    """
    started, out = time.time(), Path(out)
    chosen, pattern = _check_method(method, sparsity, windows, general, general_weight, prior)
    dtype = find_dtype(dtype, device)
    if batch_size < 1:
        raise SubmodelsError(f"batch size {batch_size}: must be at least 1")
    if out.exists() and not out.is_dir():
        raise SubmodelsError(f"{out}: not a directory; choose another --out")
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory()
    (out / "manifest.json").unlink(missing_ok=True)  # an old manifest must not belong to a new mask
    stream = _open(model, dtype, device)
    inputs, source, read = {}, None, None
    if windows is not None:
        read = read_windows(windows, **_limits(stream))
        inputs["windows"] = Path(windows)
        source = _source(windows, calibration)
    inputs["base"] = fingerprint_base(model)
    parameters = {"method": method, "sparsity": str(pattern), "seed": seed}
    numerics = {"version": chosen.version, "dtype": _name(stream.dtype)}
    told = {"general_weight": general_weight, "tokens": tokens, "prior": prior}
    numerics |= {name: value for name, value in told.items() if name in chosen.settings}
    if general is not None:
        inputs["general"] = Path(general)
    if chosen.gradients and stream.dtype == torch.float16:
        raise SubmodelsError(f"method '{method}': gradients vanish in float16; use --dtype bfloat16 or float32")
    manifest = Manifest("prune", parameters | numerics, inputs, started=started)
    progress = Progress(out / STATE, f"{manifest.fingerprint} {stream.device.type}")
    if take_over(manifest, out / "manifest.json"):
        progress.discard()
        return
    if chosen.gradients:
        generic = None if general is None else read_windows(general, **_limits(stream))
        settings = Settings(generic, general_weight, tokens, prior)
        job = Job(Path(model), stream, predictable(read), pattern, seed, batch_size, offload, settings, progress)
        results, seen = _end_to_end(chosen, job)
    else:
        rule, seen = chosen.rule(), 0 if read is None else read.n_tokens
        memory.check(stream, read, rule, batch_size, offload=offload)
        results = _streamed(stream, read, rule, pattern, seed, batch_size, offload)

    about = parameters | {"calibration": source, "general": general and _source(general), "base": inputs["base"]}
    if chosen.updates_weights:
        about["values"] = _name(stream.stored)
    try:
        with masks.writing(out, stream.shapes, **about) as writer:
            pruned = _write_pruned(results, writer)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        advice = memory.SMALLER if chosen.gradients else "take fewer windows or --offload"
        raise SubmodelsError(f"{model}: out of memory on {device}; {advice}") from error

    how = {"device": device, "batch_size": batch_size, "offload": offload}
    if stream.device.type == "cuda":
        how["peak_device_memory_mb"] = round(torch.cuda.max_memory_reserved(stream.device) / 1e6, 1)
    results = _results(pruned, stream.shapes)
    results |= {"tokens": seen, "bytes": (out / masks.FILE_NAME).stat().st_size}
    products = [out / masks.FILE_NAME]
    manifest.write(out / "manifest.json", products, progress.earlier, calibration=source, **how, **results)
    progress.discard()


def _check_method(
    method: str, sparsity: str, windows: Path | None, general: Path | None, general_weight: float, prior: str
) -> tuple[Method, Pattern]:
    """The method and the pattern; an error if the method needs windows, or takes none, and the call differs."""
    chosen, pattern = get_method(method), patterns.parse(sparsity)
    if chosen.needs_calibration and windows is None:
        raise SubmodelsError(f"method '{method}' needs calibration windows; give --windows")
    if not chosen.needs_calibration and windows is not None:
        raise SubmodelsError(f"method '{method}' looks at weights only; leave out --windows")
    if ("general" in chosen.settings) != (general is not None):
        need = "needs windows of a generic set; give" if general is None else "takes one set of windows; leave out"
        raise SubmodelsError(f"method '{method}' {need} --general")
    if chosen.only_patterns and not isinstance(pattern, NofM):
        raise SubmodelsError(f"method '{method}' makes masks of patterns such as 2of4 (got {sparsity})")
    if chosen.trains:
        get_one_shot(prior)
    if not 0 <= general_weight < math.inf:
        raise SubmodelsError(f"general weight {general_weight}: must be a number from 0")
    return chosen, pattern


def _open(model: Path, dtype: str, device: str) -> BlockStream:
    """The base model's blocks, to be computed in `dtype`."""
    stream = BlockStream(model, dtype=None if dtype == AUTO else getattr(torch, dtype), device=device)
    if _name(stream.dtype) not in DTYPES:
        raise SubmodelsError(
            f"{model}: its weights are {_name(stream.dtype)}; give --dtype, one of {', '.join(DTYPES)}"
        )
    return stream


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _source(windows: Path, name: str | None = None) -> dict[str, str]:
    """What the mask says of a set: its name, by default that of the directory, and the hash of its windows."""
    return {"name": name or Path(windows).parent.name, "sha256": files.sha256_file(windows)}


def _limits(stream: BlockStream) -> dict[str, int | None]:
    """What windows may hold, for `read_windows`."""
    return {"vocabulary": stream.config.get_text_config().vocab_size, "context": find_context(stream.config)}


@torch.inference_mode()
def _streamed(
    stream: BlockStream,
    windows: Windows | None,
    rule: Rule,
    pattern: Pattern,
    seed: int,
    batch_size: int,
    offload: bool,
) -> Iterator[tuple[str, Pruned]]:
    """The pruned parameters, block by block."""
    batches = [] if windows is None else stream.embed(windows, batch_size, offload=offload)
    yield from prune_blocks(stream, batches, rule, pattern, seed)


def _end_to_end(method: Method, job: Job) -> tuple[Iterator[tuple[str, Pruned]], int]:
    """The pruned parameters of a method with gradients, and how many tokens it computes; memory is checked now."""
    rule = method.rule()
    windows, one_shot = rule.one_shot(job)
    need = memory.estimate(job.stream, windows, one_shot, job.batch_size, offload=job.offload)[0]
    first = need.total(0 if windows is None else len(windows.ids), job.batch_size)
    memory.check_whole(job.stream, job.windows.ids.shape[1], method.gradients, job.pattern, first)
    return rule.prune(job), rule.tokens(job)


def _write_pruned(results: Iterator[tuple[str, Pruned]], writer: masks.Writer) -> dict[str, int]:
    """Write each mask as it is made; returns parameter -> number of pruned weights."""
    pruned = {}
    for name, result in results:
        values = None if result.weight is None else result.weight[result.kept].view(torch.uint8).cpu().numpy()
        writer.add(name, pack(result.kept), values)
        pruned[name] = result.kept.numel() - int(result.kept.sum())
    return pruned


def pack(kept: torch.Tensor) -> np.ndarray:
    """`masks.pack` of a bool tensor; on a GPU it is packed there, so that an eighth of the bytes are copied."""
    if kept.device.type == "cpu":
        return masks.pack(kept.numpy())
    bits = torch.nn.functional.pad(kept.flatten().to(torch.uint8), (0, -kept.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8, device=kept.device)).sum(dim=1, dtype=torch.uint8).cpu().numpy()


def _results(pruned: dict[str, int], shapes: dict[str, tuple[int, int]]) -> dict:
    """The results in the manifest: how many weights were pruned, overall and in every parameter."""
    weights = {name: shape[0] * shape[1] for name, shape in shapes.items()}
    return {
        "weights": sum(weights.values()),
        "pruned": sum(pruned.values()),
        "sparsity": sum(pruned.values()) / sum(weights.values()),
        "modules": {name: {"pruned": pruned[name], "sparsity": pruned[name] / weights[name]} for name in pruned},
    }
