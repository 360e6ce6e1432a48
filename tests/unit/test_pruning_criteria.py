"""Criteria and rules, by hand and by property; SparseGPT has its own file."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from submodels.errors import SubmodelsError
from submodels.pruning.criteria.magnitude import magnitude_score
from submodels.pruning.criteria.random import random_score
from submodels.pruning.criteria.ria import ria_score
from submodels.pruning.criteria.wanda import wanda_score
from submodels.pruning.input_statistics import InputGram, InputNorms
from submodels.pruning.methods import METHODS, get_method
from submodels.pruning.patterns import NofM, Unstructured, parse
from submodels.pruning.rules import MAGNITUDE, MAGNITUDE_ROW, RANDOM, RIA, RIA_ROW, WANDA

WEIGHT = torch.tensor([[1.0, -2.0, 3.0, -4.0], [4.0, 3.0, -2.0, 1.0]])
# Norms 4, 1, 2 and 1, so the scores are [4, 2, 6, 4] and [16, 3, 4, 1].
SQUARED_NORMS = torch.tensor([16.0, 1.0, 4.0, 1.0])
T, F = True, False


def kept_by(rule, weight, statistic, pattern, seed=0):
    pruned = rule.prune(weight, statistic, pattern, seed)
    assert pruned.weight is None
    return pruned.kept.tolist()


def test_wanda_score_by_hand():
    assert wanda_score(WEIGHT, SQUARED_NORMS).tolist() == [[4, 2, 6, 4], [16, 3, 4, 1]]


def test_magnitude_score_by_hand():
    assert magnitude_score(WEIGHT).tolist() == [[1, 2, 3, 4], [4, 3, 2, 1]]


def test_ria_score_by_hand():
    weight = torch.tensor([[1.0, -2.0, 1.0], [3.0, 2.0, 0.0]])
    # Column sums 4, 4, 1; row sums 4, 5; norms 16, 1, 81, so the factors are 4, 1, 9.
    expected = torch.tensor([[(1 / 4 + 1 / 4) * 4, 2 / 4 + 2 / 4, (1 + 1 / 4) * 9], [(3 / 4 + 3 / 5) * 4, 0.9, 0]])
    torch.testing.assert_close(ria_score(weight, torch.tensor([256.0, 1.0, 6561.0])), expected)


def test_ria_of_rows_and_columns_of_zeros_is_zero():
    weight = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert ria_score(weight, torch.ones(2)).tolist() == [[0, 0], [0, 2]]
    assert ria_score(torch.zeros(2, 3), torch.ones(3)).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    "score",
    [
        magnitude_score,
        lambda weight: wanda_score(weight, torch.ones(2)),
        lambda weight: ria_score(weight, torch.ones(2)),
    ],
)
def test_scores_of_half_precision_weights_are_float32(score):
    assert score(torch.tensor([[1.0, -1.0078125]], dtype=torch.bfloat16)).dtype == torch.float32


def test_wanda_by_hand():
    # Row 0 drops 2 and, of the two scores 4, the one in the lower column. Row 1 drops 1 and 3.
    assert kept_by(WANDA, WEIGHT, SQUARED_NORMS, Unstructured(0.5)) == [[F, F, T, T], [T, F, T, F]]


def test_wanda_by_hand_1of2():
    assert kept_by(WANDA, WEIGHT, SQUARED_NORMS, NofM(1, 2)) == [[T, F, T, F], [T, F, T, F]]


def test_magnitude_by_hand():
    # Sorted: 1 1 2 2 3 3 4 4. At 0.25 the threshold is element 2, a 2: both ones and both twos go.
    assert kept_by(MAGNITUDE, WEIGHT, None, Unstructured(0.25)) == [[F, F, T, T], [T, T, F, F]]
    # Distinct values 1..8: int(8 * 0.5) + 1 = 5 go, over the whole matrix and not per row.
    distinct = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    assert kept_by(MAGNITUDE, distinct, None, Unstructured(0.5)) == [[F, F, F, F], [F, T, T, T]]
    assert kept_by(MAGNITUDE_ROW, distinct, None, Unstructured(0.5)) == [[F, F, T, T], [F, F, T, T]]


@pytest.mark.parametrize("rule", [MAGNITUDE, MAGNITUDE_ROW])
def test_magnitude_by_hand_2of4(rule):
    assert kept_by(rule, WEIGHT, None, NofM(2, 4)) == [[F, F, T, T], [T, T, F, F]]


def test_ria_by_hand():
    # Column sums 4, 8; row sums 3, 9; all norms 1. Scores: 1/4 + 1/3, 2/8 + 2/3, 3/4 + 3/9, 6/8 + 6/9.
    weight, norms = torch.tensor([[1.0, 2.0], [3.0, 6.0]]), torch.ones(2)
    assert kept_by(RIA, weight, norms, Unstructured(0.25)) == [[F, F], [T, T]]  # int(4 * 0.25) + 1 of the matrix
    assert kept_by(RIA_ROW, weight, norms, Unstructured(0.5)) == [[F, T], [F, T]]
    assert kept_by(RIA, weight, norms, NofM(1, 2)) == [[F, T], [F, T]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 24), st.integers(0, 2**31), st.sampled_from(["0.50", "2of4"]))
def test_wanda_is_idempotent_and_ignores_the_scale_of_the_norms(rows, columns, seed, sparsity):
    generator = torch.Generator().manual_seed(seed)
    weight, norms = torch.randn(rows, columns, generator=generator), torch.rand(columns, generator=generator) + 0.1
    pattern = parse(sparsity)
    kept = WANDA.prune(weight, norms, pattern, 0).kept
    assert torch.equal(WANDA.prune(weight.masked_fill(~kept, 0), norms, pattern, 0).kept, kept)
    assert torch.equal(WANDA.prune(weight, norms * 4.0, pattern, 0).kept, kept)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 24), st.integers(1, 99), st.integers(0, 2**32), st.booleans())
def test_random_prunes_exact_counts_and_depends_on_the_seed_alone(rows, columns, percent, seed, half):
    weight = torch.ones(rows, columns, dtype=torch.bfloat16 if half else torch.float32)
    kept = RANDOM.prune(weight, None, Unstructured(percent / 100), seed).kept
    assert (~kept).sum(dim=1).tolist() == [int(columns * (percent / 100))] * rows
    torch.manual_seed(1)  # the global generator has no say
    assert torch.equal(RANDOM.prune(weight * 2, None, Unstructured(percent / 100), seed).kept, kept)
    groups = RANDOM.prune(weight, None, NofM(2, 4), seed).kept.split(4, dim=1)
    assert all((~group).sum(dim=1).tolist() == [min(2, group.shape[1])] * rows for group in groups)


def test_random_masks_of_two_seeds_agree_by_chance_alone():
    one, other = (RANDOM.prune(torch.ones(64, 256), None, Unstructured(0.5), seed).kept for seed in (0, 1))
    assert 0.48 < (one == other).float().mean() < 0.52
    assert one.float().mean(dim=0).min() > 0.2, "no column is cut off"


def test_random_scores_are_those_of_the_seed():
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(random_score((2, 3), 7), torch.rand(2, 3, generator=generator))


def test_unknown_method_lists_the_known():
    with pytest.raises(SubmodelsError, match=f"unknown pruning method 'wonda'; known: {', '.join(sorted(METHODS))}"):
        get_method("wonda")


ONE_SHOT = [name for name, method in METHODS.items() if not method.needs_gradients]


@pytest.mark.parametrize("name", ONE_SHOT)
@pytest.mark.parametrize("pattern", [Unstructured(0.5), NofM(2, 4)], ids=str)
def test_a_rule_keeps_what_its_method_says(name, pattern):
    method, rule = METHODS[name], METHODS[name].rule()
    assert (rule.statistic is not None) == method.needs_calibration
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(6, 8, generator=generator), torch.randn(1, 30, 8, generator=generator)
    before, statistic = weight.clone(), None
    if rule.statistic is not None:
        collected = rule.statistic(8, weight.device)
        collected.add(x, None)
        statistic = collected.result()
    pruned = rule.prune(weight, statistic, pattern, 0)
    assert pruned.kept.dtype == torch.bool
    assert (pruned.kept.sum() - 24).abs() <= 1  # per matrix, one more goes
    assert (pruned.weight is not None) == method.updates_weights
    assert torch.equal(weight, before)


def test_statistics_of_the_rules():
    statistics = {name: METHODS[name].rule().statistic for name in ONE_SHOT}
    assert statistics == {
        "magnitude": None,
        "magnitude_row": None,
        "random": None,
        "ria": InputNorms,
        "ria_row": InputNorms,
        "sparsegpt": InputGram,
        "wanda": InputNorms,
    }


def test_the_table_of_methods_needs_no_torch():
    code = "import sys, submodels.pruning.methods; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
