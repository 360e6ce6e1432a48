"""Stage `prune`: base model + calibration windows -> the mask of a sub-model."""

from pathlib import Path

import torch

from submodels.checkpoints.base import fingerprint_base
from submodels.errors import SubmodelsError, unknown
from submodels.files import sha256_file
from submodels.provenance import Manifest
from submodels.pruning import masks, patterns
from submodels.pruning.blocks import BlockStream
from submodels.pruning.methods import get_method
from submodels.pruning.sequential import prune_blocks
from submodels.pruning.windows import read_windows
from submodels.terms import DTYPES


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
    dtype: str | None = None,
    batch_size: int = 8,
    threads: int | None = None,
) -> None:
    """Prune the base model in directory `model` and write `out`/submodel.safetensors and `out`/manifest.json.

    windows: calibration windows (`windows.safetensors`); None for a method that needs none.
    method: a name in `METHODS`. sparsity: `0.50`, `2of4`, ...
    calibration: the calibration set's name, recorded; by default the name of the windows' directory.
    seed: that of the calibration draw, recorded; pruning itself draws nothing.
    dtype: of the computation, None = the checkpoint's own; statistics are float32 in any case.
    batch_size: windows computed together. threads: CPU threads, None = PyTorch's choice.
    """
    chosen, pattern = get_method(method), patterns.parse(sparsity)
    if chosen.needs_calibration and windows is None:
        raise SubmodelsError(f"method '{method}' needs calibration windows; give --windows")
    if not chosen.needs_calibration and windows is not None:
        raise SubmodelsError(f"method '{method}' looks at weights only; leave out --windows")
    if dtype is not None and dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if batch_size < 1:
        raise SubmodelsError(f"batch size {batch_size}: must be at least 1")
    if threads is not None:
        torch.set_num_threads(threads)

    out = Path(out)
    (out / "manifest.json").unlink(missing_ok=True)  # an old manifest must not vouch for a new mask
    stream = BlockStream(model, dtype=dtype and getattr(torch, dtype), device=device)
    inputs, source = {}, None
    if windows is not None:
        text_config = stream.config.get_text_config()
        context = getattr(text_config, "max_position_embeddings", None)
        ids, tokens = read_windows(windows, vocabulary=text_config.vocab_size, context=context)
        inputs["windows"] = Path(windows)
        source = {"name": calibration or Path(windows).parent.name, "sha256": sha256_file(windows)}
    inputs["base"] = fingerprint_base(model)
    parameters = {"method": method, "sparsity": str(pattern), "seed": seed}
    numerics = {"version": chosen.version, "dtype": str(stream.dtype).removeprefix("torch.")}
    manifest = Manifest("prune", parameters | numerics, inputs)

    packed, shapes, pruned = {}, {}, {}
    with torch.inference_mode():
        batches = [] if windows is None else stream.embed(ids, tokens, batch_size)
        for name, kept in prune_blocks(stream, batches, chosen.rule(), pattern):
            packed[name] = masks.pack(kept.cpu().numpy())
            shapes[name] = tuple(kept.shape)
            pruned[name] = kept.numel() - int(kept.sum())
    masks.write_masks(out, packed, shapes, **parameters, calibration=source, base=inputs["base"])
    manifest.write(out / "manifest.json", **_results(pruned, shapes, source, device, batch_size))


def _results(pruned: dict, shapes: dict, calibration: dict | None, device: str, batch_size: int) -> dict:
    """What the manifest says of the product: how many weights went, overall and in every parameter."""
    weights = {name: shape[0] * shape[1] for name, shape in shapes.items()}
    return {
        "calibration": calibration,
        "device": device,
        "batch_size": batch_size,
        "weights": sum(weights.values()),
        "pruned": sum(pruned.values()),
        "sparsity": sum(pruned.values()) / sum(weights.values()),
        "modules": {name: {"pruned": pruned[name], "sparsity": pruned[name] / weights[name]} for name in pruned},
    }
