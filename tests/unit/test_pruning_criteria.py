"""Criteria and selection, by hand and by property."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from submodels.errors import SubmodelsError
from submodels.pruning import selection
from submodels.pruning.criteria.magnitude import magnitude_score
from submodels.pruning.criteria.wanda import wanda_score
from submodels.pruning.methods import METHODS, get_method
from submodels.pruning.patterns import NofM, Unstructured, parse
from submodels.pruning.rules import MAGNITUDE, WANDA
from submodels.pruning.statistics import InputNorms, squared_norms

WEIGHT = torch.tensor([[1.0, -2.0, 3.0, -4.0], [4.0, 3.0, -2.0, 1.0]])
# Norms 4, 1, 2 and 1, so the scores are [4, 2, 6, 4] and [16, 3, 4, 1].
SQUARED_NORMS = torch.tensor([16.0, 1.0, 4.0, 1.0])
T, F = True, False


def test_wanda_score_by_hand():
    assert wanda_score(WEIGHT, SQUARED_NORMS).tolist() == [[4, 2, 6, 4], [16, 3, 4, 1]]


def test_magnitude_score_by_hand():
    assert magnitude_score(WEIGHT).tolist() == [[1, 2, 3, 4], [4, 3, 2, 1]]


@pytest.mark.parametrize("score", [magnitude_score, lambda weight: wanda_score(weight, torch.ones(2))])
def test_scores_of_half_precision_weights_are_float32(score):
    assert score(torch.tensor([[1.0, -1.0078125]], dtype=torch.bfloat16)).dtype == torch.float32


def test_wanda_by_hand():
    kept = WANDA.prune(WEIGHT, SQUARED_NORMS, Unstructured(0.5))
    # Row 0 drops 2 and, of the two scores 4, the one in the lower column. Row 1 drops 1 and 3.
    assert kept.tolist() == [[F, F, T, T], [T, F, T, F]]


def test_wanda_by_hand_1of2():
    kept = WANDA.prune(WEIGHT, SQUARED_NORMS, NofM(1, 2))
    assert kept.tolist() == [[T, F, T, F], [T, F, T, F]]


def test_magnitude_by_hand():
    # Sorted: 1 1 2 2 3 3 4 4. At 0.25 the threshold is element 2, a 2: both ones and both twos go.
    assert MAGNITUDE.prune(WEIGHT, None, Unstructured(0.25)).tolist() == [[F, F, T, T], [T, T, F, F]]
    # Distinct values 1..8: int(8 * 0.5) + 1 = 5 go, over the whole matrix and not per row.
    distinct = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    assert MAGNITUDE.prune(distinct, None, Unstructured(0.5)).tolist() == [[F, F, F, F], [F, T, T, T]]


def test_magnitude_by_hand_2of4():
    assert MAGNITUDE.prune(WEIGHT, None, NofM(2, 4)).tolist() == [[F, F, T, T], [T, T, F, F]]


def test_ties_prune_the_lower_column_first():
    scores = torch.ones(2, 6)
    assert selection.per_row(scores, 0.5).tolist() == [[F, F, F, T, T, T]] * 2
    assert selection.per_group(scores, 1, 3).tolist() == [[F, T, T, F, T, T]] * 2


def test_rows_lose_the_integer_part_of_their_share():
    assert selection.per_row(torch.rand(3, 64), 0.6).sum(dim=1).tolist() == [64 - 38] * 3
    assert selection.per_row(torch.rand(3, 172), 0.6).sum(dim=1).tolist() == [172 - 103] * 3
    assert selection.per_row(torch.rand(3, 352), 0.7).sum(dim=1).tolist() == [352 - 246] * 3


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (4, [[T, T, F, F]]),
        (5, [[T, T, F, F, F]]),  # a last group of one column
        (6, [[T, T, F, F, F, F]]),  # of two: both go
        (7, [[T, T, F, F, F, F, T]]),  # of three: the two lowest go
    ],
)
def test_last_group_may_be_short(columns, kept):
    scores = torch.tensor([[9.0, 8, 1, 2, 5, 6, 7]])[:, :columns]
    assert selection.per_group(scores, 2, 4).tolist() == kept


def test_infinite_scores_are_kept_before_the_fill_of_a_short_group():
    scores = torch.tensor([[torch.inf, 1.0, torch.inf]])
    assert selection.per_group(scores, 1, 4).tolist() == [[T, F, T]]


matrices = st.tuples(st.integers(1, 6), st.integers(1, 24), st.integers(0, 2**31), st.booleans()).map(
    lambda case: _matrix(*case)
)


def _matrix(rows, columns, seed, with_ties):
    scores = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    return (scores * 4).floor() if with_ties else scores


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(1, 99))
def test_every_row_loses_exactly_its_lowest(scores, percent):
    kept = selection.per_row(scores, percent / 100)
    pruned = int(scores.shape[1] * (percent / 100))
    assert (~kept).sum(dim=1).tolist() == [pruned] * len(scores)
    for row, keep in zip(scores, kept, strict=True):
        if 0 < pruned < len(row):
            assert row[~keep].max() <= row[keep].min()


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(2, 8), st.data())
def test_every_group_loses_exactly_its_lowest(scores, m, data):
    n = data.draw(st.integers(1, m - 1))
    kept = selection.per_group(scores, n, m)
    assert kept.shape == scores.shape
    for start in range(0, scores.shape[1], m):
        group, keep = scores[:, start : start + m], kept[:, start : start + m]
        assert (~keep).sum(dim=1).tolist() == [min(n, group.shape[1])] * len(scores)
        for row, row_keep in zip(group, keep, strict=True):
            if row_keep.any():
                assert row[~row_keep].max() <= row[row_keep].min()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 24), st.integers(0, 2**31), st.sampled_from(["0.50", "2of4"]))
def test_wanda_is_idempotent_and_ignores_the_scale_of_the_norms(rows, columns, seed, sparsity):
    generator = torch.Generator().manual_seed(seed)
    weight, norms = torch.randn(rows, columns, generator=generator), torch.rand(columns, generator=generator) + 0.1
    pattern = parse(sparsity)
    kept = WANDA.prune(weight, norms, pattern)
    assert torch.equal(WANDA.prune(weight.masked_fill(~kept, 0), norms, pattern), kept)
    assert torch.equal(WANDA.prune(weight, norms * 4.0, pattern), kept)


def test_squared_norms_by_hand():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, torch.nan]]])
    tokens = torch.tensor([[True, True], [True, False]])
    assert squared_norms(x, tokens).tolist() == [[10, 20], [25, 36]]


def test_input_norms_weigh_every_token_alike_and_share_equal_inputs():
    query, key, idle = (torch.nn.Linear(2, 1) for _ in range(3))
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    with InputNorms({"query": query, "key": key, "idle": idle}) as norms:
        norms.announce((1, 2), None)
        query(x), key(x)
        query(2 * x), key(x.clone())
    assert {name: total.tolist() for name, total in norms.result().items()} == {"query": [50, 100], "key": [20, 40]}
    query(x)
    assert norms.result()["query"].tolist() == [50, 100], "hooks must be gone"


def test_input_norms_take_flattened_sequences_and_refuse_routed_tokens():
    linear = torch.nn.Linear(2, 1)
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    tokens = torch.tensor([[True, True], [True, False]])
    with InputNorms({"expert": linear}) as norms:
        norms.announce((2, 2), tokens)
        linear(x.flatten(0, 1))
        with pytest.raises(SubmodelsError, match="expert: sees 3 of 4 tokens"):
            linear(x.flatten(0, 1)[:3])
    assert norms.result()["expert"].tolist() == [35, 56]


def test_unknown_method_lists_the_known():
    with pytest.raises(SubmodelsError, match="unknown pruning method 'wonda'; known: magnitude, wanda"):
        get_method("wonda")


@pytest.mark.parametrize("name", METHODS)
def test_a_rule_collects_statistics_if_its_method_needs_calibration(name):
    assert (METHODS[name].rule().statistic is not None) == METHODS[name].needs_calibration


def test_the_table_of_methods_needs_no_torch():
    code = "import sys, submodels.pruning.methods; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
