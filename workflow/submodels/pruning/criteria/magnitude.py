"""Magnitude criterion."""

import torch


def magnitude_score(weight: torch.Tensor) -> torch.Tensor:
    """S = |W|.

    weight: (out_features, in_features), any float dtype. Returns scores of the same shape, float32: with bfloat16
    weights the values are exact and the ties are true ties.
    """
    return weight.float().abs()
