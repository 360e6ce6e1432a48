"""D-Pruner: importance for a domain, from gradients, and general importance, from a generic set (Zhang et al., "Pruning
as a Domain-specific LLM Extractor", Findings of NAACL 2024, arXiv 2405.06275).

Departures from the released code, which nobody has been able to run as it is:

- No cube term: it is no part of the expansion, keeps the sign of the weight, and outweighs all other terms wherever
  the loss is not scaled for float16, so that the score becomes plain magnitude.
- The second-order term has the sign and the factor of the Taylor expansion, and is of one window, whose squared
  gradient is the empirical Fisher information; the code adds the squared gradient of a batch, divided by 2,000.
- The loss is a mean over tokens, in nats, without a loss scale: in the code the terms grow by different powers of it.
- The weights are not trained in between, and gradients are not clipped: the importance is that of the base model's own
  weights, which are the weights that are pruned.
- General importance is added to the score after both are turned into ranks. The code adds it, multiplied by the square
  of the learning rate, to gradients that are ten million times larger, where it has no effect.
"""

import torch


def domain_importance(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """|g w - (g w) ** 2 / 2|: how much the loss of one window changes, to second order, when a weight becomes 0.

    A weight's importance is the mean over windows, as in the code: the changes of two windows do not cancel each other.

    weight: (out_features, in_features), any float dtype.
    gradient: the same shape, of the window's loss in nats. Its square, the empirical Fisher information, stands in for
        the diagonal of the Hessian.
    Returns scores of the same shape, float32, in nats.
    """
    change = weight.float() * gradient.float()
    return (change - change.square() / 2).abs_()


def general_importance(weight: torch.Tensor, inverse_root: torch.Tensor) -> torch.Tensor:
    """w_ij ** 2 / U_jj ** 2: the least output error that removing a weight leaves (Optimal Brain Surgeon).

    inverse_root: (in_features, in_features), float32: the upper Cholesky factor of the inverse of the damped Gram
        matrix of the inputs, as SparseGPT takes it.
    Returns scores (out_features, in_features), float32.
    """
    return (weight.float() / inverse_root.diagonal()).square_()


def normalised_ranks(scores: torch.Tensor, per_row: bool) -> torch.Tensor:
    """Each score's rank in its row or in the matrix, from 0 for the lowest to 1; of equal scores the left is lower.

    scores: (out_features, in_features). Returns the same shape, float32.
    """
    flat = scores if per_row else scores.reshape(1, -1)
    order = flat.argsort(dim=1, stable=True)
    places = torch.linspace(0, 1, flat.shape[1], device=scores.device).expand_as(flat)
    return torch.empty_like(flat, dtype=torch.float32).scatter_(1, order, places).reshape(scores.shape)
