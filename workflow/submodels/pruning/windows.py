"""Calibration windows: the token ids a sub-model is calibrated on."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from submodels.errors import SubmodelsError


def read_windows(path: Path, *, vocabulary: int, context: int | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Read `input_ids` (n, length) int64 and the mask of tokens (n, length) bool, None if nothing is padding.

    vocabulary: rows of the model's embedding. context: the longest sequence the model takes, None = no limit.
    """
    path = Path(path)
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; draw the calibration windows first")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
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
    mask = tensors.get("attention_mask")
    if mask is None:
        return ids, None
    if mask.shape != ids.shape or not ((mask == 0) | (mask == 1)).all():
        raise SubmodelsError(f"{path}: `attention_mask` must have the shape of `input_ids` and hold 0 and 1 only")
    mask = mask.bool()
    if not mask.any(dim=1).all():
        raise SubmodelsError(f"{path}, row {int((~mask.any(dim=1)).nonzero()[0])}: a window without a token")
    return ids, None if mask.all() else mask
