"""Decoder blocks, streamed: the model without its weights, and one block's weights at a time.

A `BlockStream` builds the architecture with every parameter on the meta device (no memory), finds the decoder blocks
by structure, reads what comes before them to embed the calibration windows, and lends out one block after another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoModelForCausalLM

from submodels.checkpoints.base import Weights, load_config, usable_device
from submodels.errors import SubmodelsError


@dataclass
class Batch:
    """Some calibration windows on their way through the model.

    hidden: (sequences, length, hidden_size), the input of the next block.
    tokens: (sequences, length) bool, False at padding; None = no padding.
    calls: for each block, the arguments that follow the hidden states when the model calls it (attention mask,
        position embeddings, ...), as (args, kwargs).
    """

    hidden: torch.Tensor
    tokens: torch.Tensor | None
    calls: list[tuple[tuple, dict]]


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Path and list of the decoder blocks: the one outermost ModuleList of equal-class layers, one per hidden layer."""
    layers = model.config.get_text_config().num_hidden_layers
    found: dict[str, nn.ModuleList] = {}
    for path, module in model.named_modules():
        nested = any(path.startswith(f"{outer}.") for outer in found)
        if (
            isinstance(module, nn.ModuleList)
            and not nested
            and len(module) == layers
            and len({*map(type, module)}) == 1
        ):
            found[path] = module
    if len(found) != 1:
        raise SubmodelsError(
            f"{type(model).__name__}: expected one list of {layers} decoder blocks of one class, "
            f"found {', '.join(found) or 'none'}; this architecture is not supported"
        )
    return next(iter(found.items()))


def find_linears(block: nn.Module, name: str) -> dict[str, nn.Linear]:
    """The block's linear layers by name within the block; an error if other layers hold matrices too.

    Fused experts or transposed convolutions would stay dense without a word, and the sub-model's sparsity be a lie.
    """
    linears = {path: module for path, module in block.named_modules() if isinstance(module, nn.Linear)}
    prunable = {f"{path}.weight" for path in linears}
    if others := [path for path, weight in block.named_parameters() if weight.ndim > 1 and path not in prunable]:
        raise SubmodelsError(
            f"{name}: {', '.join(others)}: not weights of linear layers; this architecture is not supported"
        )
    return linears


class BlockStream:
    """A checkpoint as a sequence of decoder blocks.

    dtype: of the computation; None = as the checkpoint says. Only what is in use holds memory: one block, or the
    embeddings while the windows are embedded. What cannot work is refused at once, from names and shapes alone.
    """

    def __init__(self, model_dir: Path, *, dtype: torch.dtype | None = None, device: str = "cpu"):
        self.weights = Weights(model_dir)
        self.config = load_config(model_dir)
        self.dtype = dtype or self.config.dtype or torch.float32
        self.device = usable_device(device)
        # Parameters go to the meta device, buffers are computed: rotary frequencies are in no checkpoint.
        with init_empty_weights(include_buffers=False):
            self.model = AutoModelForCausalLM.from_config(self.config, dtype=self.dtype, trust_remote_code=False)
        self.model.eval().requires_grad_(False)
        self.path, self.blocks = find_blocks(self.model)
        self._parent = self.model.get_submodule(self.path.rpartition(".")[0])
        self._check_tensors()
        self._linears = [find_linears(block, self.name(index)) for index, block in enumerate(self.blocks)]

    def __len__(self) -> int:
        return len(self.blocks)

    def name(self, index: int) -> str:
        return f"{self.path}.{index}"

    def linears(self, index: int) -> dict[str, nn.Linear]:
        """The linear layers of a block, by name within the block."""
        return self._linears[index]

    def _check_tensors(self) -> None:
        """Every tensor that will be read is there, with the shape the architecture gives it."""
        prefix = self.path.rpartition(".")[0] + "."
        for name, tensor in self._parent.state_dict(prefix=prefix).items():
            if name not in self.weights:
                raise SubmodelsError(
                    f"{self.weights.model_dir}: the tensor {name} is missing; save the model again with this "
                    "transformers version or download it again"
                )
            if self.weights.shape(name) != tuple(tensor.shape):
                raise SubmodelsError(
                    f"{self.weights.model_dir}: {name} has shape {self.weights.shape(name)}, "
                    f"config.json asks for {tuple(tensor.shape)}"
                )

    def _load(self, module: nn.Module, path: str, names: list[str]) -> None:
        state = {}
        for name in names:
            tensor = self.weights.read(f"{path}.{name}")
            if not torch.isfinite(tensor).all():
                raise SubmodelsError(f"{path}.{name}: NaN or infinite weights in {self.weights.model_dir}")
            state[name] = tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)
        module.load_state_dict(state, strict=False, assign=True)

    @contextmanager
    def block(self, index: int) -> Iterator[nn.Module]:
        """Lend out block `index` with its weights in memory; they are dropped again afterwards."""
        block = self.blocks[index]
        self._load(block, self.name(index), list(block.state_dict()))
        block.to(self.device)
        try:
            yield block
        finally:
            block.to("meta")

    def embed(self, windows: torch.Tensor, tokens: torch.Tensor | None, batch_size: int) -> list[Batch]:
        """Run the model up to its first block on windows (n, length) int64, in batches.

        Each block is replaced by a recorder of its arguments, so blocks that are called differently (sliding-window
        and full attention in turn) each get their own.
        """
        parent_path, _, list_name = self.path.rpartition(".")
        names = [name for name in self._parent.state_dict() if not name.startswith(f"{list_name}.")]
        outside = [module for name, module in self._parent.named_children() if name != list_name]
        self._load(self._parent, parent_path, names)
        for module in outside:
            module.to(self.device)
        slices = [slice(start, start + batch_size) for start in range(0, len(windows), batch_size)]
        batches = [self._record(windows[part], None if tokens is None else tokens[part]) for part in slices]
        for module in outside:
            module.to("meta")
        return batches

    def _record(self, windows: torch.Tensor, tokens: torch.Tensor | None) -> Batch:
        """One batch: what the blocks are called with, without running them."""
        if tokens is not None:  # what is padding in every window to the right would be computed for nothing
            length = int(tokens.any(dim=0).nonzero().max()) + 1
            windows, tokens = windows[:, :length].to(self.device), tokens[:, :length].to(self.device)
        else:
            windows = windows.to(self.device)
        inputs, calls = [], []

        def recorder(hidden, *args, **kwargs):
            inputs.append(hidden)
            calls.append((args, kwargs))
            if len(calls) == len(self.blocks):
                raise _Recorded
            return hidden

        for block in self.blocks:
            block.forward = recorder
        try:
            self._parent(input_ids=windows, attention_mask=None if tokens is None else tokens.long(), use_cache=False)
        except _Recorded:
            pass
        finally:
            for block in self.blocks:
                del block.forward
        return Batch(hidden=inputs[0], tokens=tokens, calls=calls)


class _Recorded(Exception):
    """All blocks have been called; the rest of the forward pass is not needed."""


def run_block(block: nn.Module, batch: Batch, index: int) -> torch.Tensor:
    """Output of block `index` for one batch: (sequences, length, hidden_size)."""
    args, kwargs = batch.calls[index]
    output = block(batch.hidden, *args, **kwargs)
    return output[0] if isinstance(output, tuple) else output
