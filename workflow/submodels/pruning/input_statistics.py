"""Statistics of the inputs of linear layers, collected while a dense block runs over the calibration windows.

A statistic sees the inputs of one layer batch by batch: `add(x, tokens)` with x (sequences, length, in_features), any
float dtype, and tokens (sequences, length) bool, False where a position does not count, or None; `result()` gives one
float32 tensor. `Observer` feeds one statistic for every group of layers that read the same tensor.
"""

import math

import torch
from torch import nn

from submodels.errors import SubmodelsError


def counted(x: torch.Tensor, tokens: torch.Tensor | None) -> torch.Tensor:
    """x (length, features) as float32, zero at positions that do not count; x itself if it needs no change."""
    if tokens is not None:
        x = x.masked_fill(~tokens.unsqueeze(-1), 0)
    return x.float()


class InputNorms:
    """Sum over tokens of x ** 2, per feature: (in_features,).

    Every token weighs the same, whichever sequence it is in. Sequences are summed one by one and added up in float64,
    so the result does not depend on how windows are batched.
    """

    def __init__(self, in_features: int, device: torch.device):
        self._total = torch.zeros(in_features, dtype=torch.float64, device=device)

    def add(self, x: torch.Tensor, tokens: torch.Tensor | None) -> None:
        for i, sequence in enumerate(x):
            self._total += counted(sequence, None if tokens is None else tokens[i]).square().sum(dim=0)

    def result(self) -> torch.Tensor:
        return self._total.float()


class InputGram:
    """Sum over tokens of the outer product x x^T, times 2 / sequences: (in_features, in_features), SparseGPT's Hessian.

    It is kept as a running mean, scaled before multiplying, as the reference implementation does: near ties are common
    in N:M groups, each decision changes many later ones, and another order of rounding would change some of them.
    """

    def __init__(self, in_features: int, device: torch.device):
        self._mean = torch.zeros(in_features, in_features, dtype=torch.float32, device=device)
        self._sequences = 0

    def add(self, x: torch.Tensor, tokens: torch.Tensor | None) -> None:
        for i, sequence in enumerate(x):
            self._mean *= self._sequences / (self._sequences + 1)
            self._sequences += 1
            rows = counted(sequence, None if tokens is None else tokens[i]).t() * math.sqrt(2 / self._sequences)
            self._mean += rows @ rows.t()

    def result(self) -> torch.Tensor:
        return self._mean


class EverythingSeen(Exception):
    """Every linear layer of the block has shown its input; the rest of the forward pass is not needed."""


class Observer:
    """Collects a statistic of the input of every linear layer of one block.

    Use it as a context manager and `announce` each batch before its forward pass. The first pass runs to its end, to
    be sure that every layer is called once; later ones stop by `EverythingSeen` at the input of the last layer.
    Layers that read one and the same tensor (query, key, value) share one statistic.
    """

    def __init__(self, statistic: type[InputNorms] | type[InputGram], linears: dict[str, nn.Linear]):
        self._statistic, self._linears = statistic, linears
        self._statistics: dict[str, InputNorms | InputGram] = {}
        self._leader: dict[str, str] = {}  # layer -> the layer whose statistic it shares
        self._passes = 0
        self._handles: list = []

    def __enter__(self) -> "Observer":
        for name, linear in self._linears.items():
            self._handles.append(linear.register_forward_pre_hook(self._watch(name)))
        return self

    def __exit__(self, *exception) -> None:
        for handle in self._handles:
            handle.remove()
        self._input = None

    def announce(self, shape: tuple[int, int], tokens: torch.Tensor | None) -> None:
        """The next forward pass is over `shape` = (sequences, length); tokens: (sequences, length) bool or None."""
        self._shape, self._tokens = shape, tokens
        self._input, self._input_of, self._seen = None, "", set()
        self._passes += 1

    def _watch(self, name: str):
        def watch(linear: nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
            (x,) = inputs
            if name in self._seen:
                raise SubmodelsError(f"{name}: is called twice in a forward pass; this architecture is not supported")
            if x is not self._input:
                self._input, self._input_of = x, name
                self._add(name, linear, x)
            self._leader[name] = self._input_of
            self._seen.add(name)
            if self._passes > 1 and len(self._seen) == len(self._linears):
                raise EverythingSeen

        return watch

    def _add(self, name: str, linear: nn.Linear, x: torch.Tensor) -> None:
        positions, announced = x.shape[:-1].numel(), self._shape[0] * self._shape[1]
        if positions != announced:
            raise SubmodelsError(
                f"{name}: sees {positions} of {announced} tokens; layers that route tokens are not supported"
            )
        if name not in self._statistics:
            self._statistics[name] = self._statistic(linear.in_features, x.device)
        # Some architectures flatten (sequences, length) before their MLP.
        self._statistics[name].add(x.reshape(*self._shape, x.shape[-1]), self._tokens)

    def results(self) -> dict[str, torch.Tensor]:
        """name -> result of its statistic; the name is missing for a layer that saw no input."""
        results = {name: statistic.result() for name, statistic in self._statistics.items()}
        return {name: results[leader] for name, leader in self._leader.items()}
