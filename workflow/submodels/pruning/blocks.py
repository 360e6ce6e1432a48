"""Decoder blocks, streamed: the model without its weights, and one block's weights at a time.

A `BlockStream` builds the architecture with every parameter on the meta device (no memory), finds the decoder blocks
by structure, reads what comes before them to embed the calibration windows, and lends out one block after another,
the next one read while the one before computes.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import nn
from torch.utils._pytree import tree_map
from transformers import AutoModelForCausalLM, PreTrainedConfig

from submodels.checkpoints.base import FLOATING, Weights, checkpoint_dtype, load_config, usable_device
from submodels.errors import SubmodelsError
from submodels.pruning.windows import Windows


@dataclass
class Batch:
    """Some calibration windows on their way through the model, kept on `home` (the device, or the host) between blocks.

    hidden: (sequences, length, hidden_size), the input of the next block.
    counted: (sequences, length) bool, True where a position enters the statistics; None = everywhere.
    calls: for each block, the arguments that follow the hidden states when the model calls it (attention mask,
        position embeddings, ...), as (args, kwargs).
    """

    hidden: torch.Tensor
    counted: torch.Tensor | None
    calls: list[tuple[tuple, dict]]
    home: torch.device

    def forward(self, block: nn.Module, index: int, device: torch.device) -> torch.Tensor:
        """Output of block `index`, on `device`: (sequences, length, hidden_size)."""
        args, kwargs = _move(self.calls[index], device)
        output = block(self.hidden.to(device), *args, **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def part(self, size: int) -> "Batch":
        """The first `size` sequences alone."""
        sequences = len(self.hidden)

        def cut(leaf):
            return leaf[:size] if isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) == sequences else leaf

        counted = None if self.counted is None else self.counted[:size]
        return Batch(self.hidden[:size], counted, tree_map(cut, self.calls), self.home)

    def advance(self, block: nn.Module, index: int, device: torch.device) -> None:
        """Replace the hidden states by the output of block `index`."""
        self.hidden = self.forward(block, index, device).to(self.home)


def empty_model(config: PreTrainedConfig, where: str, dtype: torch.dtype | None = None) -> nn.Module:
    """The architecture without weights; an error, beginning with `where`, for one that is no causal language model."""
    # Parameters go to the meta device, buffers are computed: rotary frequencies are in no checkpoint.
    try:
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except Exception as error:  # of any type: the constructors of models take what config.json says on trust
        reason = f"{type(error).__name__}: {str(error).split(chr(10))[0]}"
        raise SubmodelsError(
            f"{where}: a {type(config).__name__} makes no causal language model, it is not supported ({reason})"
        ) from error
    return model.eval().requires_grad_(False)


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

    dtype: of the computation; None = that of the checkpoint, `stored`. Only what is in use holds memory: the embeddings
    while the windows are embedded, then the block lent out and the next one. What cannot work is refused at once, from
    names and shapes alone.
    """

    def __init__(self, model_dir: Path, *, dtype: torch.dtype | None = None, device: str = "cpu"):
        self.weights = Weights(model_dir)
        self.config = load_config(model_dir)
        self.stored = getattr(torch, checkpoint_dtype(model_dir))
        self.dtype = dtype or self.stored
        self.device = usable_device(device)
        if self.device.type == "cuda":  # weights are copied beside the computation, which goes on meanwhile
            self._computing, self._reading = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        self.model = empty_model(self.config, f"{model_dir}/config.json", self.dtype)
        self.path, self.blocks = find_blocks(self.model)
        self._tuples = False  # whether blocks return tuples; found out when the windows are embedded
        self._linears = [find_linears(block, self.name(index)) for index, block in enumerate(self.blocks)]
        self._check_tensors()

    def __len__(self) -> int:
        return len(self.blocks)

    def name(self, index: int) -> str:
        return f"{self.path}.{index}"

    def linears(self, index: int) -> dict[str, nn.Linear]:
        """The linear layers of a block, by name within the block."""
        return self._linears[index]

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Every parameter that will be pruned, in the order of blocks: its name -> (out_features, in_features)."""
        return {
            f"{self.name(index)}.{name}.weight": (linear.out_features, linear.in_features)
            for index in range(len(self))
            for name, linear in self.linears(index).items()
        }

    @property
    def body(self) -> nn.Module:
        """The model without its head: everything that will be read."""
        return self.model.base_model

    def _check_tensors(self) -> None:
        """Every tensor that will be read is there, with the shape the architecture gives it."""
        for name, tensor in self.body.state_dict(prefix=f"{self.model.base_model_prefix}.").items():
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
            if tensor.is_floating_point() and self.weights.type(name) not in FLOATING:
                raise SubmodelsError(
                    f"{self.weights.model_dir}: {name} is stored as {self.weights.type(name)}: quantised; use the "
                    "unquantised model"
                )

        beyond = re.compile(rf"{re.escape(self.path)}\.(\d+)\.")
        if more := [name for name in self.weights if (m := beyond.match(name)) and int(m[1]) >= len(self)]:
            raise SubmodelsError(
                f"{self.weights.model_dir}: config.json asks for {len(self)} blocks, but there is {more[0]}"
            )

    def _read(
        self, path: str, wanted: dict[str, torch.Tensor], room: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The tensors `path`.`name` on the device, all finite, in `room` (name -> tensor), which grows as needed.

        wanted: name -> a tensor of that shape.
        """
        cuda = self.device.type == "cuda"
        for name, like in wanted.items():
            if name not in room or room[name].shape != like.shape:
                dtype = self.dtype if like.is_floating_point() else like.dtype
                room[name] = torch.empty(like.shape, dtype=dtype, device=self.device)
                if cuda:  # the memory may have been the computation's, which may not have come to its end there
                    self._reading.wait_stream(self._computing)
            with torch.cuda.stream(self._reading) if cuda else nullcontext():
                self.weights.read(f"{path}.{name}", room[name])
                if like.is_floating_point() and not torch.isfinite(torch.stack(room[name].aminmax())).all():
                    raise SubmodelsError(
                        f"{path}.{name}: NaN or infinite weights in {self.weights.model_dir}, read as {self.dtype}"
                    )
        if cuda:
            self._reading.synchronize()
        return {name: room[name] for name in wanted}

    def __iter__(self) -> Iterator[nn.Module]:
        """Lend out block after block with its weights in memory, until the next one is asked for.

        Two sets of buffers take turns, one in use, one being filled: nothing is allocated anew, so that memory does not
        grow by the holes that blocks of slightly different layout would leave.
        """
        rooms: tuple[dict, dict] = {}, {}

        def read(index: int) -> dict[str, torch.Tensor]:
            return self._read(self.name(index), self.blocks[index].state_dict(), rooms[index % 2])

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reader:
            coming = reader.submit(read, 0)
            for index, block in enumerate(self.blocks):
                block.load_state_dict(coming.result(), strict=False, assign=True)
                coming = reader.submit(read, index + 1) if index + 1 < len(self) else None
                block.to(self.device)  # buffers
                yield block
                if self.device.type == "cuda":  # what is still queued reads the weights that the next but one replaces
                    self._computing.synchronize()
                block.to("meta")

    def embed(self, windows: Windows, batch_size: int, *, offload: bool = False) -> list[Batch]:
        """Run the model up to its first block on the calibration windows, in batches.

        Each block is replaced by a recorder of its arguments, so blocks that are called differently (sliding-window
        and full attention in turn) each get their own. offload: batches are kept on the host between blocks.
        """
        prefix = self.model.base_model_prefix
        blocks = self.path.removeprefix(f"{prefix}.") + "."
        outside = {name: like for name, like in self.body.state_dict().items() if not name.startswith(blocks)}
        self.body.load_state_dict(self._read(prefix, outside, {}), strict=False, assign=True)
        self._move_outside(self.device)
        home = torch.device("cpu") if offload else self.device
        batches = [self._record(part, home) for part in windows.batches(batch_size)]
        self._move_outside(torch.device("meta"))
        return batches

    def _move_outside(self, device: torch.device) -> None:
        """Move everything but the blocks."""
        path, _, name = self.path.rpartition(".")
        parent = self.model.get_submodule(path)
        setattr(parent, name, nn.ModuleList())
        self.body.to(device)
        setattr(parent, name, self.blocks)

    def _record(self, windows: Windows, home: torch.device) -> Batch:
        """One batch: what the blocks are called with, without running them."""
        ids, tokens, counted = _move(windows, self.device)
        inputs, calls = [], []

        def recorder(*args, **kwargs):
            hidden, *args = args or [kwargs.pop("hidden_states")]
            if inputs and hidden.shape != inputs[0].shape:
                raise _TakesFirst
            inputs.append(hidden)
            calls.append((args, kwargs))
            if len(calls) == len(self.blocks):
                raise _Recorded
            return (hidden,) if self._tuples else hidden

        for block in self.blocks:
            block.forward = recorder
        try:
            self.body(input_ids=ids, attention_mask=None if tokens is None else tokens.long(), use_cache=False)
        except _Recorded:
            pass
        except _TakesFirst:
            if self._tuples:
                raise SubmodelsError(f"{self.path}: the blocks' inputs change shape; it is not supported") from None
            self._tuples = True
            return self._record(windows, home)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError) as error:
            raise SubmodelsError(
                f"{type(self.model).__name__} cannot be run up to its blocks ({error}); it is not supported"
            ) from error
        finally:
            for block in self.blocks:
                block.__dict__.pop("forward", None)
        return Batch(inputs[0].to(home), counted, _move(calls, home), home)


class _Recorded(Exception):
    """All blocks have been called; the rest of the forward pass is not needed."""


class _TakesFirst(Exception):
    """The model takes the first element of what a block returns: a tuple is wanted, not a tensor."""


def _move(tree, device: torch.device):
    """The same nested containers with every tensor on `device`; a tensor that occurs twice is copied once."""
    copies: dict[int, torch.Tensor] = {}

    def move(leaf):
        if not isinstance(leaf, torch.Tensor) or leaf.device == device:
            return leaf
        if id(leaf) not in copies:
            copies[id(leaf)] = leaf.to(device)
        return copies[id(leaf)]

    return tree_map(move, tree)
