"""Export a sub-model as an ordinary Hugging Face directory: dense weights with zeros where the mask says so."""

import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from submodels import files
from submodels.checkpoints.base import INDEX_NAME, has_unread_index, quantised_types, weight_files
from submodels.checkpoints.card import model_card
from submodels.checkpoints.load import masked_weights, read_matching_masks
from submodels.checkpoints.masks import Masks
from submodels.checkpoints.tensors import read_stored
from submodels.errors import SubmodelsError

# Files of a model directory beside its weights: configuration, tokenizer, chat template, licence.
_COMPANIONS = (
    "*.json", "*.jinja", "additional_chat_templates/*.jinja", "*.model", "*.tiktoken", "*.txt", "LICENSE*", "NOTICE*",
)  # fmt: skip


def export(model: Path, submodel: Path, out: Path) -> None:
    """Write `out`: the base model's files with the sub-model's weights in place, and a model card.

    Everything that was not pruned, the data types, the sharding and tied embeddings stay as the base model has them.
    `out` appears only when it is complete.
    """
    model, out = Path(model), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SubmodelsError(f"{out}: already exists; remove it or export elsewhere")
    masks = read_matching_masks(model, submodel)
    with files.atomic_directory(out) as temporary:
        _write(model, masks, temporary)


def _write(model: Path, masks: Masks, out: Path) -> None:
    """Weights, companions and card into the directory `out`."""
    stored = read_stored(model)
    if unknown := masks.shapes.keys() - stored.names.keys() - stored.converted.keys():
        raise SubmodelsError(f"{masks.path}: {min(unknown)} is no parameter of the model; prune again")
    parameters = {stored.name(parameter): parameter for parameter in masks}
    with masked_weights(masks) as masked:
        for path in weight_files(model):
            _write_masked(path, parameters, masked, out / path.name)
    for name, companion in companions(model).items():
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(companion, out / name)
    (out / "README.md").write_text(model_card(model.name, masks, quantised_types(model)), encoding="utf-8")


def companions(model: Path) -> dict[str, Path]:
    """Files that belong to a model beside its weights, by the name relative to its directory."""
    passed_over = {"manifest.json"} | ({INDEX_NAME} if has_unread_index(model) else set())
    paths = {path for pattern in _COMPANIONS for path in model.glob(pattern)}
    return {str(path.relative_to(model)): path for path in paths if path.is_file() and path.name not in passed_over}


def _write_masked(path: Path, parameters: dict[str, str], masked: Callable, target: Path) -> None:
    """Copy one weight file with the sub-model's weights in it. parameters: masked tensor -> parameter."""
    tensors = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
            tensors[name] = file.get_tensor(name)
            if name in parameters:
                tensors[name] = masked(parameters[name], tensors[name])
        save_file(tensors, target, metadata=file.metadata())
