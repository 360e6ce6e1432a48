"""Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024): orthogonal momentum.

`torch.optim.Muon` always orthogonalises in bfloat16; on a CPU without instructions for it, that takes most of a
training step. Here the dtype is a parameter; in bfloat16 the numbers are those of `torch.optim.Muon`.
"""

from collections.abc import Iterable
from math import sqrt

import torch

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic polynomial that draws singular values towards 1


class Muon(torch.optim.Optimizer):
    """Only for matrices; steps as large as AdamW's (Liu et al., 2025), no weight decay.

    dtype: of the orthogonalisation.
    """

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float, dtype: torch.dtype):
        super().__init__(matrices, {"lr": lr, "dtype": dtype})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix not in self.state:
                    self.state[matrix]["momentum"] = torch.zeros_like(matrix)
                momentum = self.state[matrix]["momentum"]
                momentum.lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonalise(matrix.grad.lerp(momentum, MOMENTUM), group["dtype"])  # Nesterov's momentum
                matrix.add_(update, alpha=-group["lr"] * 0.2 * sqrt(max(matrix.shape)))


def orthogonalise(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Approximately U V^T of a matrix with singular value decomposition U S V^T, by Newton-Schulz steps in `dtype`.

    The singular values end between 0.7 and 1.2, which trains as well as 1.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(dtype, copy=True)
    x = x.T if tall else x
    x.div_(x.norm().clamp(min=1e-7))
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
