"""Calibration windows: the token ids a sub-model is calibrated on."""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from submodels.errors import SubmodelsError


class Windows(NamedTuple):
    """ids: (n, length) int64. tokens: (n, length) bool, False at padding, which attention does not see. counted: (n,
    length) bool, True where a position enters the statistics. None means all True.
    """

    ids: torch.Tensor
    tokens: torch.Tensor | None = None
    counted: torch.Tensor | None = None

    @property
    def n_tokens(self) -> int:
        """How many positions count."""
        return self.ids.numel() if self.counted is None else int(self.counted.sum())

    def batches(self, size: int) -> "list[Windows]":
        """Slices of `size` windows, as `take` makes them."""
        return [self.take(slice(start, start + size)) for start in range(0, len(self.ids), size)]

    def take(self, part: slice | torch.Tensor) -> "Windows":
        """Some of the windows, without the positions on their right that are neither read nor counted."""
        ids, *masks = (None if tensor is None else tensor[part] for tensor in self)
        if None not in masks:
            length = int((masks[0] | masks[1]).any(dim=0).nonzero().max()) + 1
            ids, *masks = (tensor[:, :length] for tensor in (ids, *masks))
        return Windows(ids, *(None if mask is None or mask.all() else mask for mask in masks))


def read_windows(path: Path, *, vocabulary: int, context: int | None) -> Windows:
    """Read `input_ids`, `attention_mask` and `counted` (by default equal to the attention mask), all int64.

    vocabulary: rows of the model's embedding. context: the longest sequence the model takes, None = no limit.
    """
    path = Path(path)
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; draw the calibration windows first")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise SubmodelsError(f"{path}: not a complete safetensors file ({error})") from error
    ids = tensors.get("input_ids")
    if ids is None or ids.dtype != torch.int64 or ids.ndim != 2 or ids.numel() == 0:
        raise SubmodelsError(f"{path}: needs a tensor `input_ids`, int64, (windows, length), not empty")
    if context is not None and ids.shape[1] > context:
        raise SubmodelsError(
            f"{path}: windows of {ids.shape[1]} tokens, but the model's context is {context}; draw shorter windows"
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        row = int(((ids < 0) | (ids >= vocabulary)).any(dim=1).nonzero()[0])
        raise SubmodelsError(
            f"{path}, row {row}: token ids outside the vocabulary of {vocabulary}; the windows were made with another "
            "model's tokenizer"
        )
    tokens = _mask(path, tensors, "attention_mask", ids)
    if tokens is not None and not tokens.any(dim=1).all():
        raise SubmodelsError(f"{path}, row {int((~tokens.any(dim=1)).nonzero()[0])}: a window without a token")
    counted = _mask(path, tensors, "counted", ids) if "counted" in tensors else tokens
    if counted is not None and not counted.any():
        raise SubmodelsError(f"{path}: `counted` leaves no position to collect statistics on")
    return Windows(ids, tokens, counted)


def _mask(path: Path, tensors: dict[str, torch.Tensor], name: str, ids: torch.Tensor) -> torch.Tensor | None:
    """A mask of `ids`' shape as bool; None if the file has no such tensor."""
    mask = tensors.get(name)
    if mask is not None and (mask.shape != ids.shape or not ((mask == 0) | (mask == 1)).all()):
        raise SubmodelsError(f"{path}: `{name}` must have the shape of `input_ids` and hold 0 and 1 only")
    return None if mask is None else mask.bool()
