"""Decoder blocks, streamed: the model without its weights, and one block's weights at a time.

A `BlockStream` builds the architecture with every parameter on the meta device (no memory), finds the decoder blocks
by structure, reads the embeddings to embed the calibration windows, and lends out one block after another; the next
block is read while the present block computes.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils._pytree import tree_map

from submodels.checkpoints.base import Weights, checkpoint_dtype, load_config, usable_device
from submodels.checkpoints.decoder import Call, Decoder, find_linears, run_block
from submodels.checkpoints.tensors import empty_model, find_tensors, is_finite
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
    calls: list[Call]
    home: torch.device

    def forward(self, block: nn.Module, index: int, device: torch.device) -> torch.Tensor:
        """Output of block `index`, on `device`: (sequences, length, hidden_size)."""
        return run_block(block, self.hidden.to(device), _move(self.calls[index], device))

    def part(self, size: int) -> "Batch":
        """Only the first `size` sequences."""
        sequences = len(self.hidden)

        def cut(leaf):
            return leaf[:size] if isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) == sequences else leaf

        counted = None if self.counted is None else self.counted[:size]
        return Batch(self.hidden[:size], counted, tree_map(cut, self.calls), self.home)

    def advance(self, block: nn.Module, index: int, device: torch.device) -> None:
        """Replace the hidden states by the output of block `index`."""
        self.hidden = self.forward(block, index, device).to(self.home)


class BlockStream:
    """A checkpoint as a sequence of decoder blocks.

    dtype: of the computation; None = that of the checkpoint, `stored`. Only weights in use hold memory: the embeddings
    while the windows are embedded, then the block lent out and the next one. An unusable checkpoint is refused at once,
    from its names and shapes.
    """

    def __init__(self, model_dir: Path, *, dtype: torch.dtype | None = None, device: str = "cpu"):
        self.weights = Weights(model_dir)
        self.config = load_config(model_dir)
        self.stored = getattr(torch, checkpoint_dtype(model_dir))
        self.dtype = dtype or self.stored
        self.device = usable_device(device)
        if self.device.type == "cuda":  # weights are copied while the computation goes on
            self._computing, self._reading = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        self.model = empty_model(self.config, f"{model_dir}/config.json", self.dtype)
        self._decoder = Decoder(self.model)
        self._body_path, self.body = self._decoder.body_path, self._decoder.body
        self.path, self.blocks = self._decoder.path, self._decoder.blocks
        self._linears = [find_linears(block, self.name(index)) for index, block in enumerate(self.blocks)]
        self._stored = self._find_tensors()

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

    def _find_tensors(self) -> dict[str, str]:
        """Parameter or buffer to read -> its stored tensor; an error if the checkpoint does not fit the model."""
        stored = find_tensors(self.weights, self.model)
        prefix, inner = f"{self.model.base_model_prefix}.", self.path.removeprefix(f"{self.model.base_model_prefix}.")
        beyond = re.compile(rf"(?:{re.escape(prefix)})?{re.escape(inner)}\.(\d+)\.")
        unread = stored.unread.items()
        if more := [tensor for tensor, name in unread if (m := beyond.match(name)) and int(m[1]) >= len(self)]:
            raise SubmodelsError(
                f"{self.weights.model_dir}: config.json asks for {len(self)} blocks, but the weights hold {more[0]}"
            )
        read = {_join(self._body_path, name) for name in self.body.state_dict()}
        return {name: stored.name(name) for name in read & (stored.names.keys() | stored.converted.keys())}

    def _read(
        self, path: str, wanted: dict[str, torch.Tensor], room: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The tensors `path`.`name` on the device, all finite, in `room` (name -> tensor), which grows as needed.

        wanted: name -> a tensor of that shape; tensors that the architecture computes itself are not read.
        """
        wanted = {name: like for name, like in wanted.items() if _join(path, name) in self._stored}
        cuda = self.device.type == "cuda"
        for name, like in wanted.items():
            if name not in room or room[name].shape != like.shape:
                dtype = self.dtype if like.is_floating_point() else like.dtype
                room[name] = torch.empty(like.shape, dtype=dtype, device=self.device)
                if cuda:  # the computation may have used this memory and may not have finished with it
                    self._reading.wait_stream(self._computing)
            with torch.cuda.stream(self._reading) if cuda else nullcontext():
                self.weights.read(self._stored[_join(path, name)], room[name])
                if like.is_floating_point() and not is_finite(room[name]):
                    raise SubmodelsError(
                        f"{_join(path, name)}: NaN or infinite weights in {self.weights.model_dir}, read as "
                        f"{self.dtype}"
                    )
        if cuda:
            self._reading.synchronize()
        return {name: room[name] for name in wanted}

    def __iter__(self) -> Iterator[nn.Module]:
        """Lend out block after block with its weights in memory, until the next block is requested.

        Two sets of buffers take turns, one in use, one being filled: nothing is allocated again, so that memory does
        not grow by the holes that blocks of slightly different layout would leave.
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
                if self.device.type == "cuda":  # queued work still reads weights that the next block but one replaces
                    self._computing.synchronize()
                block.to("meta")

    def embed(self, windows: Windows, batch_size: int, *, offload: bool = False) -> list[Batch]:
        """Run the model up to its first block on the calibration windows, in batches.

        Each block is replaced by a recorder of its arguments, so blocks that are called differently (sliding-window
        and full attention in turn) each get their arguments. offload: batches are kept on the host between blocks.
        """
        blocks = self.path.removeprefix(f"{self._body_path}.") + "."
        outside = {name: like for name, like in self.body.state_dict().items() if not name.startswith(blocks)}
        self.body.load_state_dict(self._read(self._body_path, outside, {}), strict=False, assign=True)
        self._move_outside(self.device)
        home = torch.device("cpu") if offload else self.device
        batches = [self._record(part, home) for part in windows.batches(batch_size)]
        self._move_outside(torch.device("meta"))
        return batches

    def _move_outside(self, device: torch.device) -> None:
        """Move everything except the blocks."""
        path, _, name = self.path.rpartition(".")
        parent = self.model.get_submodule(path)
        setattr(parent, name, nn.ModuleList())
        self.body.to(device)
        setattr(parent, name, self.blocks)

    def _record(self, windows: Windows, home: torch.device) -> Batch:
        """One batch: the arguments of the blocks, without running the blocks."""
        ids, tokens, counted = _move(windows, self.device)
        mask = None if tokens is None else tokens.long()
        hidden, calls = self._decoder.record(input_ids=ids, attention_mask=mask, use_cache=False)
        return Batch(hidden.to(home), counted, _move(calls, home), home)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


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
