"""Methods with gradients: the whole model in memory, every calibration window through all of it, forward and back.

Beside `sequential`, which never holds more than two blocks. Such a method is an `EndToEnd`: a function from a `Job` to
the pruned parameters in the model's order. The memory that it needs is checked before the model is loaded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from submodels.allocator import return_freed_memory
from submodels.checkpoints.decoder import Decoder
from submodels.checkpoints.load import load_submodel
from submodels.errors import SubmodelsError
from submodels.pruning.blocks import Batch, BlockStream
from submodels.pruning.patterns import Pattern
from submodels.pruning.progress import Progress
from submodels.pruning.rules import Pruned, Rule
from submodels.pruning.windows import Windows


@dataclass(frozen=True)
class Settings:
    """What the methods with gradients are told beside the pattern.

    general: windows of a generic set, for `dpruner`. general_weight: of general importance. tokens: the budget of
    training, for `maskllm`. prior: the method whose mask it begins with.
    """

    general: Windows | None = None
    general_weight: float = 1.0
    tokens: int = 0
    prior: str = ""


@dataclass(frozen=True)
class Job:
    """What a method with gradients works on.

    directory: of the base model. stream: the same model block by block, for what needs no gradient. seed: of all that
    is drawn. batch_size, offload: of windows in the stream.
    """

    directory: Path
    stream: BlockStream
    windows: Windows
    pattern: Pattern
    seed: int
    batch_size: int
    offload: bool
    settings: Settings
    progress: Progress

    @cached_property
    def model(self) -> nn.Module:
        """The base model in memory, in eval mode; none of its weights is trained."""
        dtype = str(self.stream.dtype).removeprefix("torch.")
        model = load_submodel(self.directory, None, dtype=dtype, device=str(self.stream.device))
        freeze(model, Decoder(model).blocks)
        return model

    @cached_property
    def linears(self) -> dict[str, nn.Linear]:
        """Pruned parameter -> its layer, in the model's order."""
        return linears_of(self.model, [*self.stream.shapes])

    def release(self) -> None:
        """Give the model's memory back."""
        self.__dict__.pop("model", None)
        self.__dict__.pop("linears", None)
        return_freed_memory()

    def embed(self, windows: Windows) -> list[Batch]:
        """Windows for the stream."""
        return self.stream.embed(windows, self.batch_size, offload=self.offload)


@dataclass(frozen=True)
class EndToEnd:
    """prune: the method. tokens: how many tokens it computes, each as often as it is computed. one_shot: the windows
    and the rule of its pass through the stream, for which no gradient and no model is in memory.
    """

    prune: Callable[[Job], Iterator[tuple[str, Pruned]]]
    tokens: Callable[[Job], int]
    one_shot: Callable[[Job], tuple[Windows | None, Rule]]


def linears_of(model: nn.Module, names: list[str]) -> dict[str, nn.Linear]:
    """The layers of the parameters `names`, in that order."""
    return {name: model.get_submodule(name.removesuffix(".weight")) for name in names}


def freeze(model: nn.Module, blocks: nn.ModuleList) -> None:
    """Nothing is trained; for the backward pass a block keeps its input only, and computes the rest again."""
    model.requires_grad_(False)
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def window_loss(model: nn.Module, windows: Windows) -> torch.Tensor:
    """Mean cross-entropy of the next token, in nats, over all tokens but the first of each window.

    Padding is not predicted, and neither are tokens that do not count.
    """
    ids, tokens, counted = windows
    mask = None if tokens is None else tokens.long()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    targets = ids if counted is None else ids.masked_fill(~counted, -100)
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten())


def n_targets(windows: Windows) -> int:
    """How many tokens `window_loss` predicts."""
    ids, _, counted = windows
    return ids[:, 1:].numel() if counted is None else int(counted[:, 1:].sum())


def predictable(windows: Windows) -> Windows:
    """The windows with a token to predict: a window of a single token has none."""
    counted = torch.ones_like(windows.ids, dtype=torch.bool) if windows.counted is None else windows.counted
    kept = counted[:, 1:].any(dim=1)
    if not kept.any():
        raise SubmodelsError("no calibration window has a token to predict; give windows of two tokens or more")
    return windows if kept.all() else windows.take(kept)


def on_device(windows: Windows, device: torch.device) -> Windows:
    return Windows(*(None if tensor is None else tensor.to(device) for tensor in windows))
