"""Statistics of the inputs of linear layers, collected while a block runs over the calibration windows."""

import torch
from torch import nn

from submodels.errors import SubmodelsError


def squared_norms(x: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
    """Sum over the tokens of each sequence of x ** 2, per feature.

    x: (sequences, length, features), any float dtype. tokens: (sequences, length), bool, False at padding.
    Returns (sequences, features), float32.
    """
    if tokens is not None:
        x = x.masked_fill(~tokens.unsqueeze(-1), 0)
    return x.float().square().sum(dim=1)


class InputNorms:
    """Squared input norms of several linear layers, one vector (in_features,) each.

    Use as a context manager around the forward passes; announce each batch to it first. Every token weighs the same,
    whichever sequence it is in. Sequences are summed one by one and added up in float64, so the result does not depend
    on how windows are batched.
    """

    def __init__(self, linears: dict[str, nn.Linear]):
        self._shape: tuple[int, int] = (0, 0)
        self._tokens: torch.Tensor | None = None
        self._totals = {name: 0 for name in linears}
        self._last_input: torch.Tensor | None = None
        self._last_sum: torch.Tensor | None = None
        self._linears = linears
        self._handles: list = []

    def __enter__(self) -> "InputNorms":
        for name, linear in self._linears.items():
            self._handles.append(linear.register_forward_pre_hook(self._observer(name)))
        return self

    def __exit__(self, *exception) -> None:
        for handle in self._handles:
            handle.remove()
        self._last_input = self._last_sum = None

    def announce(self, shape: tuple[int, int], tokens: torch.Tensor | None) -> None:
        """The next forward pass is over `shape` = (sequences, length); tokens: (sequences, length) bool or None."""
        self._shape, self._tokens = shape, tokens

    def _observer(self, name: str):
        def observe(linear: nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
            (x,) = inputs
            if x is not self._last_input:  # query, key and value read the same tensor: sum it once
                if x.shape[:-1].numel() != self._shape[0] * self._shape[1]:
                    raise SubmodelsError(
                        f"{name}: sees {x.shape[:-1].numel()} of {self._shape[0] * self._shape[1]} tokens; layers that "
                        "route tokens are not supported"
                    )
                # Some architectures flatten (sequences, length) before their MLP.
                by_sequence = x.reshape(*self._shape, x.shape[-1])
                self._last_input = x
                self._last_sum = squared_norms(by_sequence, self._tokens).double().sum(dim=0)
            self._totals[name] = self._totals[name] + self._last_sum

        return observe

    def result(self) -> dict[str, torch.Tensor]:
        """name -> (in_features,) float32; the name is missing for a layer that saw no input."""
        return {name: total.float() for name, total in self._totals.items() if isinstance(total, torch.Tensor)}
