"""Wanda criterion (Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024)."""

import torch


def wanda_score(weight: torch.Tensor, squared_norms: torch.Tensor) -> torch.Tensor:
    """S[i, j] = |W[i, j]| * ||x_j||_2: a weight matters as much as the signal it carries.

    weight: (out_features, in_features), any float dtype.
    squared_norms: (in_features,), float32: the sum over calibration tokens of x_j ** 2, up to one positive factor
    (only the order of scores within an output row is used, so a mean serves as well as a sum).
    Returns scores (out_features, in_features), float32.
    """
    return weight.float().abs() * squared_norms.sqrt()
