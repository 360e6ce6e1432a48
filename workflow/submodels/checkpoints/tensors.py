"""Which stored tensor is which parameter of the model, found by the rules by which transformers loads a checkpoint.

Publishers and versions of transformers differ in the names of tensors: with or without the prefix of the base model,
with a language model inside a larger model. This module and masks use the parameters' names in the model in memory;
only code that reads or writes weight files needs the stored names.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

from submodels.checkpoints.base import FLOATING, Weights, load_config
from submodels.errors import SubmodelsError

_SHOWN = 4  # names in an error


def empty_model(config: PreTrainedConfig, where: str, dtype: torch.dtype | None = None) -> nn.Module:
    """The architecture without weights; an error, beginning with `where`, if it is no causal language model."""
    # Parameters go to the meta device, buffers are computed: rotary frequencies are in no checkpoint.
    try:
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except Exception as error:  # of any type: the constructors of models do not check the values of config.json
        reason = f"{type(error).__name__}: {str(error).split(chr(10))[0]}"
        raise SubmodelsError(
            f"{where}: a {type(config).__name__} makes no causal language model; it is not supported ({reason})"
        ) from error
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Stored:
    """The tensors of a checkpoint that belong to a model.

    names: parameter or buffer -> the tensor that it is read from; tied parameters share a tensor.
    converted: parameter -> the tensors that transformers computes it from.
    unread: tensors that are no part of the model, which transformers ignores -> its names for them.
    """

    model_dir: Path
    names: dict[str, str]
    converted: dict[str, list[str]]
    unread: dict[str, str]

    def name(self, parameter: str) -> str:
        """The stored tensor that equals a parameter bit for bit; an error if there is none."""
        if parameter in self.names:
            return self.names[parameter]
        raise SubmodelsError(
            f"{self.model_dir}: transformers computes {parameter} from {shown(self.converted[parameter])}; save the "
            "model with AutoModelForCausalLM.from_pretrained(...).save_pretrained(..., save_original_format=False) and "
            "use the saved model"
        )


def read_stored(model_dir: Path) -> Stored:
    """The checkpoint in a directory, by names and shapes only; an error if it is not whole."""
    config = load_config(model_dir)
    return find_tensors(Weights(model_dir), empty_model(config, f"{model_dir}/config.json"))


def find_tensors(weights: Weights, model: nn.Module) -> Stored:
    """Find every tensor of `model` (it may be empty); an error, with names, if a tensor is missing or does not fit."""
    state, directory = model.state_dict(), weights.model_dir
    found, converted, unknown = _rename(weights, model, state)
    if twice := {name: stored for name, stored in found.items() if len(stored) > 1}:
        raise SubmodelsError(
            f"{directory}: {shown(twice[min(twice)])} are the same parameter of the model, {min(twice)}; remove all "
            "but one of them"
        )
    names = {name: stored for name, (stored,) in found.items()}
    _share_tied(names, model)
    missing = state.keys() - names.keys() - converted.keys()
    about = SimpleNamespace(missing_keys=missing, unexpected_keys=set(unknown.values()))
    model._adjust_missing_and_unexpected_keys(about)  # leaves out tensors that transformers computes or does not need
    unread = {stored: name for stored, name in unknown.items() if name in about.unexpected_keys}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    check_nothing_is_missing(directory, about.missing_keys | (missing & parameters), unread)
    for name, stored in names.items():
        _check(weights, name, stored, state[name])
    return Stored(directory, names, converted, unread)


def check_nothing_is_missing(model_dir: Path, missing: Collection[str], unread: Collection[str] = ()) -> None:
    """Refuse a checkpoint that lacks parameters of the model. unread: tensors it has that the model does not know."""
    if missing:
        there = f" (and hold {shown(unread)}, which the model does not know)" if unread else ""
        raise SubmodelsError(
            f"{model_dir}: the weight files lack {shown(missing)}{there}; transformers would put random numbers there: "
            "download the model again, or use a checkpoint that is complete"
        )


def shown(names: Collection[str]) -> str:
    """The first few names in alphabetical order, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(sorted(names)[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _rename(
    weights: Weights, model: nn.Module, state: dict
) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    """Parameter -> its tensors; parameter -> the tensors it is computed from; tensors of no parameter -> their names.

    As `convert_and_load_state_dict_in_model` of transformers does it, with the functions that it calls.
    """
    transforms = get_model_conversion_mapping(model)
    renamings = [transform for transform in transforms if isinstance(transform, WeightRenaming)]
    converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
    targets = {pattern: converter.target_patterns for converter in converters for pattern in converter.source_patterns}
    found, converted, unknown = defaultdict(list), defaultdict(list), {}
    for stored in sorted(weights, key=dot_natural_key):
        name, pattern = rename_source_key(stored, renamings, converters, model.base_model_prefix, state)
        if name not in state and stored in state:
            name, pattern = rename_source_key(stored, [], [], model.base_model_prefix, state)
        if name not in state:
            unknown[stored] = name
        elif pattern is None:
            found[name].append(stored)
        else:
            for target in targets[pattern]:
                converted[name.replace(targets[pattern][0], target)].append(stored)
    return dict(found), dict(converted), unknown


def _share_tied(names: dict[str, str], model: nn.Module) -> None:
    """Give tied parameters that are not stored the tensor of the tied parameter that is stored."""
    tied = defaultdict(set)
    for target, source in model.all_tied_weights_keys.items():
        tied[source] |= {source, target}
    for group in tied.values():
        if there := sorted(group & names.keys()):
            names.update({name: names[there[0]] for name in group - names.keys()})


def _check(weights: Weights, name: str, stored: str, tensor: torch.Tensor) -> None:
    """The stored tensor has the shape and kind of numbers that the architecture asks for."""
    label = stored if stored == name else f"{stored} ({name} in the model)"
    if weights.shape(stored) != tuple(tensor.shape):
        raise SubmodelsError(
            f"{weights.model_dir}: {label} has shape {weights.shape(stored)}, config.json asks for "
            f"{tuple(tensor.shape)}"
        )
    if tensor.is_floating_point() and weights.type(stored) not in FLOATING:
        raise SubmodelsError(
            f"{weights.model_dir}: {label} is stored as {weights.type(stored)}: quantised; use the unquantised model"
        )


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor of floating-point numbers holds neither NaN nor infinities, without a copy of it.

    A tensor without values, empty or on the meta device, holds none.
    """
    return tensor.numel() == 0 or tensor.is_meta or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())
