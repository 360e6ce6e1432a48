"""SparseGPT by hand, against least squares, and against its definition in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from submodels.errors import SubmodelsError
from submodels.pruning.criteria.sparsegpt import DAMPING, inverse_factor, prune_and_update
from submodels.pruning.patterns import NofM, Unstructured
from submodels.pruning.rules import SPARSEGPT

T, F = True, False
# Damped: [[2.02, 1], [1, 2.02]], twice [[1.01, 0.5], [0.5, 1.01]].
GRAM = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
# Losses: w_0 ** 2 * (1.01 - 0.5 ** 2 / 1.01) while w_1 can make up for it, w_1 ** 2 * 1.01 on its own.
LOSSES = (1.01 - 0.25 / 1.01, 1.01)
# With w_0 gone, the error 1.01 w_0^2 - 2 * 0.5 w_0 d + 1.01 d^2 is least for w_1 + d, d = w_0 * 0.5 / 1.01.
SHARE = 0.5 / 1.01


def test_factor_by_hand():
    factor = inverse_factor(GRAM).double()
    assert factor[1, 0] == 0
    damped = torch.tensor([[2.02, 1], [1, 2.02]], dtype=torch.float64)
    torch.testing.assert_close(factor.T @ factor, damped.inverse(), atol=1e-6, rtol=1e-6)


def test_the_kept_weight_to_the_right_makes_up_for_the_pruned_one():
    pruned = SPARSEGPT.prune(torch.tensor([[1.0, 10.0], [10.0, 1.0]]), GRAM, NofM(1, 2), 0)
    assert pruned.kept.tolist() == [[F, T], [T, F]]
    torch.testing.assert_close(pruned.weight, torch.tensor([[0, 10 + SHARE], [10, 0]]))


def test_unstructured_compares_the_rows_of_a_block():
    weight = torch.tensor([[1.0, 10.0], [1.0, 1.2]])
    assert LOSSES[0] < 1.2**2 * LOSSES[1]
    # int(4 * 0.25) + 1 = 2 go: both in column 0, where a magnitude of 1 is the least; row 1 loses no second one.
    pruned = SPARSEGPT.prune(weight, GRAM, Unstructured(0.25), 0)
    assert pruned.kept.tolist() == [[F, T], [F, T]]
    torch.testing.assert_close(pruned.weight, torch.tensor([[0, 10 + SHARE], [0, 1.2 + SHARE]]))


def test_a_larger_weight_goes_if_another_can_replace_it():
    assert 1.1**2 * LOSSES[0] < LOSSES[1]
    assert SPARSEGPT.prune(torch.tensor([[1.1, 1.0]]), GRAM, NofM(1, 2), 0).kept.tolist() == [[F, T]]
    assert SPARSEGPT.prune(torch.tensor([[1.2, 1.0]]), GRAM, NofM(1, 2), 0).kept.tolist() == [[T, F]]


def test_groups_are_chosen_from_the_updated_weights():
    gram = torch.tensor([[2.0, 0, 1.9, 0], [0, 2, 0, 0], [1.9, 0, 2, 0], [0, 0, 0, 2]])
    weight = torch.tensor([[1.0, 5.0, 1.0, 1.5]])
    # As it stands column 2 would go; it takes over from column 0 first and grows to 1 + 0.95 / 1.01 = 1.94.
    pruned = SPARSEGPT.prune(weight, gram, NofM(1, 2), 0)
    assert pruned.kept.tolist() == [[F, T, T, F]]
    torch.testing.assert_close(pruned.weight, torch.tensor([[0, 5, 1 + 0.95 / 1.01, 0]]))


def test_a_short_last_group_loses_what_there_is():
    weight, gram = torch.tensor([[4.0, 3, 2, 1, 9], [1, 2, 3, 4, 9]]), torch.eye(5)
    pruned = SPARSEGPT.prune(weight, gram, NofM(2, 4), 0)
    assert pruned.kept.tolist() == [[T, T, F, F, F], [F, F, T, T, F]]
    assert torch.equal(pruned.weight, weight * pruned.kept), "independent inputs cannot stand in for each other"


def test_inputs_that_are_always_zero_take_no_part():
    gram = torch.tensor([[0.0, 0, 0], [0, 2, 1], [0, 1, 2]])
    weight = torch.tensor([[50.0, 1.0, 10.0]])
    pruned = SPARSEGPT.prune(weight, gram, Unstructured(0.4), 0)
    assert pruned.kept.tolist() == [[F, F, T]]
    # Their place on the diagonal is 1, so its mean is 5 / 3.
    torch.testing.assert_close(pruned.weight, torch.tensor([[0, 0, 10 + 1 / (2 + DAMPING * 5 / 3)]]))
    pruned = SPARSEGPT.prune(weight, torch.zeros(3, 3), NofM(1, 3), 0)
    assert pruned.kept.tolist() == [[F, T, T]]
    assert pruned.weight.tolist() == [[0, 0, 0]]


def test_a_hessian_that_is_not_positive_definite_is_one_clear_error():
    with pytest.raises(SubmodelsError, match="not positive definite, even damped: give more calibration tokens"):
        SPARSEGPT.prune(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]), NofM(1, 2), 0)


def correlated_gram(inputs, seed, tokens=None):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens or 4 * inputs, inputs, generator=generator)
    x = x @ (torch.eye(inputs) + 0.5 * torch.randn(inputs, inputs, generator=generator) / inputs**0.5)
    return x.T @ x


def damped(gram):
    gram = gram.double().numpy()
    return gram + DAMPING * gram.diagonal().mean() * np.eye(len(gram))


def test_weights_kept_to_the_right_of_all_pruned_ones_are_least_squares():
    weight, gram = torch.randn(5, 200, generator=torch.Generator().manual_seed(0)), correlated_gram(200, seed=1)
    pruned_columns = 140  # so that the update crosses the border between two blocks of 128

    mask = torch.arange(200) >= pruned_columns
    parts = iter(mask.split(128))
    kept, updated = prune_and_update(weight, gram, lambda scores: next(parts).expand_as(scores))
    assert torch.equal(kept, mask.expand(5, 200))
    hessian, w = damped(gram), weight.double().numpy()
    gone, rest = slice(pruned_columns), slice(pruned_columns, None)
    expected = w[:, rest] + w[:, gone] @ hessian[gone, rest] @ np.linalg.inv(hessian[rest, rest])
    np.testing.assert_allclose(updated[:, rest], expected, atol=1e-4)
    assert (updated[:, gone] == 0).all()


def by_definition(weight, gram, width, prune_lowest):
    """Optimal brain surgeon column by column, with the inverse Hessian of the columns not yet passed made anew."""
    w, hessian = weight.double().numpy().copy(), damped(gram)
    kept = np.ones(w.shape, dtype=bool)
    inverses = [np.linalg.inv(hessian[j:, j:]) for j in range(len(hessian))]
    for j, inverse in enumerate(inverses):
        if j % width == 0:
            losses = [w[:, i] ** 2 / inverses[i][0, 0] for i in range(j, min(j + width, len(hessian)))]
            kept[:, j : j + width] = ~prune_lowest(np.stack(losses, axis=1))
        gone = ~kept[:, j]
        w[gone, j:] -= np.outer(w[gone, j] / inverse[0, 0], inverse[0])
        w[gone, j] = 0
    return kept, w


def lowest_of_block(losses):
    return losses <= np.sort(losses, axis=None)[int(losses.size * 0.5)]


def lowest_of_rows(n):
    return lambda losses: losses.argsort(axis=1, kind="stable").argsort(axis=1) < n


@pytest.mark.parametrize(
    ("pattern", "width", "prune_lowest"),
    [
        (Unstructured(0.5), 128, lowest_of_block),
        (NofM(2, 4), 4, lowest_of_rows(2)),
        (NofM(3, 5), 5, lowest_of_rows(3)),  # 5 does not divide 128: no group may straddle two blocks
        (NofM(70, 140), 140, lowest_of_rows(70)),  # a group wider than a block
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_as_by_definition_in_float64(pattern, width, prune_lowest):
    inputs = 298  # three blocks; ragged for all three group sizes
    weight, gram = torch.randn(12, inputs, generator=torch.Generator().manual_seed(2)), correlated_gram(inputs, seed=3)
    kept, updated = by_definition(weight, gram, width, prune_lowest)
    pruned = SPARSEGPT.prune(weight, gram, pattern, 0)
    assert np.array_equal(pruned.kept.numpy(), kept)
    np.testing.assert_allclose(pruned.weight.numpy(), updated, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(1, 24),
    st.integers(0, 2**31),
    st.sampled_from([Unstructured(0.3), Unstructured(0.7), NofM(2, 4), NofM(4, 8)]),
)
def test_counts_zeros_and_what_does_not_matter(rows, inputs, seed, pattern):
    weight = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed)).bfloat16()
    gram = correlated_gram(inputs, seed, tokens=inputs // 2 + 1)  # fewer tokens than inputs: only damping inverts it
    before, gram_before = weight.clone(), gram.clone()
    pruned = SPARSEGPT.prune(weight, gram, pattern, 0)
    if isinstance(pattern, Unstructured):
        assert (~pruned.kept).sum() == int(weight.numel() * pattern.ratio) + 1
    else:
        for group in pruned.kept.split(pattern.m, dim=1):
            assert (~group).sum(dim=1).tolist() == [min(pattern.n, group.shape[1])] * rows
    assert pruned.weight.dtype == torch.float32
    assert pruned.weight.isfinite().all()
    assert (pruned.weight[~pruned.kept] == 0).all()
    assert pruned.kept.is_contiguous()
    assert pruned.weight.is_contiguous()
    assert torch.equal(weight, before)
    assert torch.equal(gram, gram_before)
    again = SPARSEGPT.prune(weight.float(), 4 * gram, pattern, 1)
    assert torch.equal(again.kept, pruned.kept)
    assert torch.equal(again.weight, pruned.weight)


@pytest.mark.parametrize("pattern", [Unstructured(0.5), NofM(2, 4)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_the_update_lowers_the_error_on_the_calibration_inputs(pattern, seed):
    """Not a theorem for every matrix: a column may take over from another and then go itself."""
    weight, gram = torch.randn(16, 48, generator=torch.Generator().manual_seed(seed)), correlated_gram(48, seed)
    pruned = SPARSEGPT.prune(weight, gram, pattern, 0)

    def error(new):
        return torch.einsum("oi,ij,oj->o", new - weight, gram, new - weight).sum()

    assert error(pruned.weight) < 0.9 * error(weight * pruned.kept)
