"""RIA: relative importance and activations (Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method
for Large Language Models", ICLR 2024)."""

import torch


def ria_score(weight: torch.Tensor, squared_norms: torch.Tensor) -> torch.Tensor:
    """S[i, j] = (|W[i, j]| / sum_k |W[k, j]| + |W[i, j]| / sum_k |W[i, k]|) * ||x_j||_2 ** 0.5.

    A weight counts by its share of the weights of its input and of its output, so that no channel is cut off as a
    whole; the exponent 0.5 is the paper's choice.

    weight: (out_features, in_features), any float dtype.
    squared_norms: (in_features,), float32: the sum over calibration tokens of x_j ** 2, up to one positive factor.
    Returns scores (out_features, in_features), float32; 0 in a row or column of zeros.
    """
    magnitude = weight.float().abs()
    from_input = magnitude.sum(dim=0, keepdim=True)
    into_output = magnitude.sum(dim=1, keepdim=True)
    # Where a sum is 0, all its weights are 0: any divisor gives their share, 0.
    shares = magnitude / from_input.masked_fill(from_input == 0, 1)
    shares += magnitude / into_output.masked_fill(into_output == 0, 1)
    return shares.mul_(squared_norms.pow(0.25))
