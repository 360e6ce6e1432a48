"""Load a sub-model: the base model in memory, pruned weights zero and kept weights as the method left them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from submodels.checkpoints.base import fingerprint_base, load_config, usable_device
from submodels.checkpoints.masks import Masks, values_name
from submodels.checkpoints.tensors import check_nothing_is_missing, is_finite, read_stored, shown
from submodels.dtypes import AUTO, find_dtype
from submodels.errors import SubmodelsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_submodel(
    model_dir: Path, submodel_dir: Path | None, *, dtype: str = AUTO, device: str = "cpu"
) -> "PreTrainedModel":
    """Base model plus mask, in eval mode on `device`; `submodel_dir` None gives the dense base model.

    dtype: see `find_dtype`.
    """
    dtype, target = find_dtype(dtype, device), usable_device(device)
    read_stored(model_dir)
    masks = None if submodel_dir is None else read_matching_masks(model_dir, submodel_dir)
    from transformers import AutoModelForCausalLM

    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            model_dir, config=load_config(model_dir), dtype=dtype, local_files_only=True, use_safetensors=True,
            trust_remote_code=False, output_loading_info=True,
        )  # fmt: skip
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise SubmodelsError(f"{model_dir}: transformers cannot load the model ({reason})") from error
    check_nothing_is_missing(model_dir, loaded["missing_keys"])
    if masks is not None:
        apply_masks(model, masks)
    model = model.eval().to(target)
    if wrong := [name for name, weight in model.named_parameters() if not is_finite(weight)]:
        raise SubmodelsError(f"{model_dir}: NaN or infinite weights, read as {model.dtype}, in {shown(wrong)}")
    return model


def read_matching_masks(model_dir: Path, submodel_dir: Path) -> Masks:
    """The masks of a sub-model; an error if they were made for another base model."""
    masks = Masks(submodel_dir)
    if masks.header["base"] != fingerprint_base(model_dir):
        raise SubmodelsError(
            f"{masks.path} was pruned from another base model than {model_dir} (their fingerprints differ); "
            "give the base model that it was made from, or prune again"
        )
    return masks


@torch.no_grad()
def apply_masks(model: torch.nn.Module, masks: Masks) -> None:
    """Make `model` the sub-model, in place."""
    parameters = dict(model.named_parameters())
    with masked_weights(masks) as masked:
        for name in masks:
            if name not in parameters or tuple(parameters[name].shape) != masks.shapes[name]:
                raise SubmodelsError(
                    f"{masks.path}: {name} {masks.shapes[name]} is no parameter of the model; prune again"
                )
            parameters[name].copy_(masked(name, parameters[name]))


@contextmanager
def masked_weights(masks: Masks) -> Iterator[Callable[[str, torch.Tensor], torch.Tensor]]:
    """Yield a function (parameter name, base weights) -> the sub-model's weights, a new tensor."""
    with safe_open(masks.path, framework="pt") if masks.has_values else nullcontext() as file:

        def masked(name: str, weight: torch.Tensor) -> torch.Tensor:
            kept = torch.from_numpy(masks.mask(name)).to(weight.device)
            if file is None:
                return weight.masked_fill(~kept, 0)
            values = file.get_tensor(values_name(name)).to(weight.device, weight.dtype)
            return torch.zeros_like(weight).masked_scatter_(kept, values)

        yield masked


def load_tokenizer(model_dir: Path) -> "PreTrainedTokenizerBase":
    """The base model's tokenizer; sub-models share it."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of any type: tokenizers do not check their files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SubmodelsError(f"{model_dir}: transformers cannot read the tokenizer ({reason})") from error
    # For some families transformers makes a tokenizer without any file, which gives no ids for any text.
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens) - tokenizer.get_added_vocab().keys():
        raise SubmodelsError(
            f"{model_dir}: the tokenizer's vocabulary is missing; put the model's tokenizer files there"
        )
    return tokenizer
