"""Linear layers whose weights lie in memory as oneDNN's products of few rows read them, on a CPU.

A step of decoding multiplies a handful of rows by every matrix. The plain product first reorders the whole matrix,
each time; on many machines that takes several times as long as the product. Here a matrix is reordered once, in place
of the plain one.
"""

import time
from collections.abc import Callable

import torch
from torch import nn

_ROWS = 16  # of a typical step; a packed matrix serves any number of rows
_LEAST = 1 << 18  # numbers; smaller matrices stay in the caches, where nothing is gained
_GAIN = 1.1  # times as fast as the plain layer, else it is not worth another rounding
_TRIALS, _FLUSHED = 5, 1 << 26


class PackedLinear(nn.Module):
    """A linear layer [..., in_features] -> [..., out_features] without a plain weight."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), _ROWS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")


@torch.inference_mode()
def pack_linears(model: nn.Module) -> int:
    """Pack the layers of a model on a CPU that are faster packed, found out for each shape; how many they are.

    Without these operators of PyTorch, which are private, no layer is packed.
    """
    faster: dict[tuple, bool] = {}
    packed = 0
    for parent in [*model.modules()]:
        for name, layer in [*parent.named_children()]:
            if type(layer) is not nn.Linear or layer.weight.device.type != "cpu" or layer.weight.numel() < _LEAST:
                continue
            shape = (*layer.weight.shape, layer.weight.dtype, layer.bias is None)
            if shape not in faster:
                faster[shape] = _is_faster(layer)
            if faster[shape]:
                setattr(parent, name, PackedLinear(layer))
                packed += 1
    return packed


def _is_faster(linear: nn.Linear) -> bool:
    """Whether a layer is faster packed, by the fastest of a few products in turns, and gives the same."""
    inputs = torch.ones(_ROWS, linear.in_features, dtype=linear.weight.dtype)
    try:
        packed = PackedLinear(linear)
        same = torch.allclose(packed(inputs), linear(inputs), rtol=1e-2, atol=1e-2)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    times = [(_seconds(linear, inputs), _seconds(packed, inputs)) for _ in range(_TRIALS)]
    plain, reordered = map(min, zip(*times, strict=True))
    return same and plain > _GAIN * reordered


def _seconds(layer: Callable, inputs: torch.Tensor) -> float:
    """Of one product. The buffer pushes its matrix out of the caches, as the other layers of a step do."""
    torch.ones(_FLUSHED, dtype=torch.int8)
    started = time.perf_counter()
    layer(inputs)
    return time.perf_counter() - started
