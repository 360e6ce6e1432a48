"""Export a sub-model as an ordinary Hugging Face directory: dense weights with zeros where the mask says so."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from submodels import files
from submodels.checkpoints.base import weight_files
from submodels.checkpoints.card import model_card
from submodels.checkpoints.load import masked_weights, read_matching_masks
from submodels.errors import SubmodelsError
from submodels.pruning.masks import Masks

# What makes a model directory beside its weights: configuration, tokenizer, chat template, licence.
_COMPANIONS = ("*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt", "LICENSE*", "NOTICE*")


def export(model: Path, submodel: Path, out: Path) -> None:
    """Write `out`: the base model's files with the sub-model's weights in place, and a model card.

    Everything that was not pruned, the data types, the sharding and tied embeddings stay as the base model has them.
    `out` appears only when it is complete.
    """
    model, out = Path(model), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SubmodelsError(f"{out}: already exists; remove it or export elsewhere")
    masks = read_matching_masks(model, submodel)
    temporary = files.temporary_path(out)
    try:
        with files.room_for(out):
            temporary.mkdir()
            _write(model, masks, temporary)
            os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(model: Path, masks: Masks, out: Path) -> None:
    """Weights, companions and card into the directory `out`."""
    written = set()
    with masked_weights(masks) as masked:
        for path in weight_files(model):
            written |= _write_masked(path, masks, masked, out / path.name)
    if missing := masks.shapes.keys() - written:
        raise SubmodelsError(f"{model}: the weight files lack {', '.join(sorted(missing))}, which the mask prunes")
    for companion in {path for pattern in _COMPANIONS for path in model.glob(pattern)}:
        if companion.is_file() and companion.name != "manifest.json":
            shutil.copyfile(companion, out / companion.name)
    (out / "README.md").write_text(model_card(model.name, masks), encoding="utf-8")


def _write_masked(path: Path, masks: Masks, masked: Callable, target: Path) -> set[str]:
    """Copy one weight file with the sub-model's weights in it; the names of the parameters that were masked."""
    tensors = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
            tensors[name] = file.get_tensor(name)
            if name in masks.shapes:
                tensors[name] = masked(name, tensors[name])
        save_file(tensors, target, metadata=file.metadata())
    return tensors.keys() & masks.shapes.keys()
