import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submodels.bootstrap import bootstrap_interval, paired_bootstrap, stratified_bootstrap

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_equal_values_leave_no_doubt():
    assert bootstrap_interval([0.25] * 8) == (0.25, 0.0, 0.25, 0.25)


def test_binomial_items():
    """100 items, half of them right: the standard error of a mean of coin flips is sqrt(0.25 / 100) = 0.05."""
    interval = bootstrap_interval([0, 1] * 50, resamples=20000, seed=3)
    assert interval.value == 0.5
    assert interval.stderr == pytest.approx(0.05, abs=0.001)
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.005)
    assert interval.high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.005)


def test_two_items_by_hand():
    """Items 0 and 1: the resampled mean is 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    assert bootstrap_interval([0, 1], resamples=5000, level=0.40) == (0.5, pytest.approx(0.3536, abs=0.01), 0.5, 0.5)
    assert bootstrap_interval([0, 1], resamples=5000, level=0.60)[2:] == (0.0, 1.0)


def test_pairs_are_resampled_together():
    """A sub-model that is better by 0.1 on every item is surely better, however much the items differ."""
    b = np.linspace(0, 0.9, 20)
    assert paired_bootstrap(b + 0.1, b) == pytest.approx((0.1, 0, 0.1, 0.1))
    low, high = bootstrap_interval(b)[2:]
    assert high - low > 0.2


def test_one_group_and_several_give_one_answer():
    """The interval of a benchmark alone is that of a group of benchmarks that holds only this one."""
    a, b = np.random.default_rng(0).random((2, 40))
    assert stratified_bootstrap([(a - b)[:, None]], seed=5) == paired_bootstrap(a, b, seed=5)


def test_groups_weigh_the_same_and_are_resampled_inside():
    groups = [np.zeros((5, 1)), np.ones((50, 1))]
    assert stratified_bootstrap(groups) == (0.5, 0.0, 0.5, 0.5)
    with pytest.raises(ValueError, match="at least one item"):
        stratified_bootstrap([np.zeros((0, 1))])


@settings(max_examples=50)
@given(VALUES, st.integers(0, 5))
def test_bounds_seed_and_antisymmetry(values, seed):
    interval = bootstrap_interval(values, resamples=50, seed=seed)
    assert interval == bootstrap_interval(values, resamples=50, seed=seed)
    assert min(values) - 1e-12 <= interval.low <= interval.high <= max(values) + 1e-12
    there, back = paired_bootstrap(values, [0.5] * len(values)), paired_bootstrap([0.5] * len(values), values)
    assert there.value == pytest.approx(-back.value)
    assert there.low == pytest.approx(-back.high)


def test_a_higher_level_gives_a_wider_interval():
    values = np.random.default_rng(0).random(30)
    narrow, wide = (bootstrap_interval(values, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("arguments", [{"values": []}, {"values": [1], "level": 1.0}, {"values": [1], "resamples": 0}])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="a bootstrap needs"):
        bootstrap_interval(**arguments)
    with pytest.raises(ValueError, match="same items"):
        paired_bootstrap([1, 2], [1])
