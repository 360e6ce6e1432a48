"""SparseGPT (Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", 2023).

Column by column, prune the weights that cost least and let the columns to the right make up for the error: the optimal
brain surgeon update under the Hessian X^T X of the layer's squared output error on the calibration inputs.
"""

from collections.abc import Callable

import torch

from submodels.errors import SubmodelsError

BLOCK = 128  # columns that are updated among themselves before one product updates all columns to their right
DAMPING = 0.01  # of the mean of the Hessian's diagonal


def prune_and_update(
    weight: torch.Tensor, gram: torch.Tensor, select: Callable[[torch.Tensor], torch.Tensor], width: int = BLOCK
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prune a layer's weight and update the kept weights.

    weight: (out_features, in_features), any float dtype, left as it is.
    gram: (in_features, in_features) float32, X^T X over the calibration tokens, up to one positive factor; `InputGram`.
    select: scores (out_features, columns) float32 -> mask of the same shape, True = kept; called on every `width`
        columns (fewer at the end), updated for the pruning of the columns to their left.
    Returns the mask (out_features, in_features) bool and the updated weight of that shape, float32, 0 where pruned.
    An input that is always 0 takes no part: its weights become 0.
    Errors: a Hessian that is not positive definite.
    """
    factor = inverse_factor(gram)
    # One row per input: every step works on whole columns of the weight.
    columns = weight.t().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    columns[gram.diagonal() == 0] = 0
    kept = torch.empty_like(columns, dtype=torch.bool)
    block = max(BLOCK // width, 1) * width  # every group of `width` columns is within one block
    for start in range(0, len(columns), block):
        here, rest = slice(start, start + block), slice(start + block, None)
        error = _prune_block(columns[here], kept[here], factor[here, here], select, width)
        columns[rest] -= factor[here, rest].t() @ error
    return kept.t().contiguous(), columns.t().contiguous()


def _prune_block(
    columns: torch.Tensor, kept: torch.Tensor, factor: torch.Tensor, select: Callable, width: int
) -> torch.Tensor:
    """Prune and update `columns` (block, out_features) and fill in `kept`, both in place.

    Returns the errors (block, out_features), which the columns to the right of the block have to compensate.
    """
    error = torch.empty_like(columns)
    deviation = factor.diagonal().unsqueeze(1)
    for j, column in enumerate(columns):
        if j % width == 0:
            group = slice(j, j + width)
            # The root of the loss w ** 2 / deviation ** 2 of pruning a weight: it has the same order.
            kept[group] = select((columns[group] / deviation[group]).abs_().t()).t()
        torch.div(column, deviation[j], out=error[j]).masked_fill_(kept[j], 0)
        column.masked_fill_(~kept[j], 0)
        columns[j + 1 :].addr_(factor[j, j + 1 :], error[j], alpha=-1)
    return error


def inverse_factor(gram: torch.Tensor) -> torch.Tensor:
    """Upper triangular U (in_features, in_features) float32 with U^T U the inverse of the Hessian.

    The Hessian is the Gram matrix with 1 on the diagonal of inputs that are always 0, and `DAMPING` times the mean of
    the diagonal added to the whole diagonal. Steps and precision are those of the reference implementation.
    """
    hessian = gram.clone()
    diagonal = hessian.diagonal()
    diagonal.masked_fill_(diagonal == 0, 1)
    diagonal += DAMPING * diagonal.mean()
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        return torch.linalg.cholesky(inverse, upper=True)
    except torch.linalg.LinAlgError as error:
        raise SubmodelsError(
            "the Hessian of the calibration inputs is not positive definite, even damped: give more calibration "
            "tokens, or compute in float32 (--dtype float32)"
        ) from error
