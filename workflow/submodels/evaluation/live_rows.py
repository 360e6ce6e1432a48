"""The keys and values of the texts that are being written, in buffers made once.

All texts end in the same column, so a row of any length can join or leave between two steps, and a step writes one
column instead of copying all of them, as transformers' own cache does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_SPARE = 64  # columns beyond the longest text: steps between two moves of all rows to the left


class Read(NamedTuple):
    """A prompt that was read: of each block its keys and values, [heads, length, width], and the logits after it."""

    blocks: list[tuple[torch.Tensor, torch.Tensor]]
    logits: torch.Tensor

    @property
    def length(self) -> int:
        return self.blocks[0][0].shape[1]


class LiveRows(Cache):
    """Up to `most` texts; the first `count` rows are in use, and row r ends in column `end` with `lengths[r]` tokens.

    longest: tokens of the longest text, the prompt included; longest_prompt: of the longest prompt.
    """

    def __init__(self, most: int, longest: int, longest_prompt: int, blocks: int):
        super().__init__(layers=[_Block(self) for _ in range(blocks)])
        self._shape = most, longest + _SPARE
        self._longest_prompt = self.end = longest_prompt
        self.lengths: list[int] = []

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def start(self) -> int:
        """The first column in use."""
        return self.end - max(self.lengths)

    def add(self, read: Read) -> None:
        """A further row, which holds a prompt."""
        for layer, (keys, values) in zip(self.layers, read.blocks, strict=True):
            layer.make(keys, self._shape)
            layer.keys[self.count, :, self.end - read.length : self.end] = keys
            layer.values[self.count, :, self.end - read.length : self.end] = values
        self.lengths.append(read.length)

    def remove(self, row: int) -> None:
        """Take a row out; the last row takes its place."""
        length = self.lengths.pop()
        if row == self.count:
            return
        self.lengths[row] = length
        columns = slice(self.end - length, self.end)
        for buffer in self._buffers():
            buffer[row, :, columns] = buffer[self.count, :, columns]

    def step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Room for one more token of each row: what it sees, bool [count, columns], and its position [count, 1]."""
        if self.end == self._shape[1]:
            self._move_left()
        self.lengths = [length + 1 for length in self.lengths]
        self.end += 1
        lengths = torch.tensor(self.lengths)[:, None]
        mask = torch.arange(self.start, self.end) >= self.end - lengths
        device = self.layers[0].keys.device
        return mask.to(device), (lengths - 1).to(device)

    def _move_left(self) -> None:
        end = max(self._longest_prompt, *self.lengths)
        width = self.end - self.start
        for buffer in self._buffers():
            buffer[: self.count, :, end - width : end] = buffer[: self.count, :, self.start : self.end].clone()
        self.end = end

    def _buffers(self) -> Sequence[torch.Tensor]:
        return [buffer for layer in self.layers for buffer in (layer.keys, layer.values)]


class _Block(DynamicLayer):
    """The keys and values of a block, [rows, heads, columns, width]."""

    def __init__(self, rows: LiveRows):
        super().__init__()
        self._rows = rows

    def make(self, like: torch.Tensor, shape: tuple[int, int]) -> None:
        """The buffers, for keys and values like these; zeros, for a masked column counts as 0 times its value."""
        if not self.is_initialized:
            (heads, _, width), (rows, columns) = like.shape, shape
            self.keys, self.values = (like.new_zeros(rows, heads, columns, width) for _ in range(2))
            self.is_initialized = True

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_, **__) -> tuple[torch.Tensor, torch.Tensor]:
        rows, end = self._rows, self._rows.end
        self.keys[: rows.count, :, end - 1] = keys[:, :, 0]
        self.values[: rows.count, :, end - 1] = values[:, :, 0]
        columns = slice(rows.start, end)
        return self.keys[: rows.count, :, columns], self.values[: rows.count, :, columns]

    def get_seq_length(self) -> int:
        """Tokens before the step's token."""
        return self._rows.end - 1 - self._rows.start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._rows.end - self._rows.start, 0
