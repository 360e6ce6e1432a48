import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.calibration.sizes import DrawSize, find_size, split
from submodels.errors import SubmodelsError


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (9, [2, 1], [6, 3]),
        (10, [2, 1], [7, 3]),  # 6.67 and 3.33
        (128, [1, 1, 1], [43, 43, 42]),  # ties go to the earlier
        (2, [1, 1, 1], [1, 1, 0]),
        (7, [0.1, 0.2, 0.4], [1, 2, 4]),
        (1000, [0.5, 0.3, 0.2], [500, 300, 200]),
        (5, [4, 3, 2, 1], [2, 2, 1, 0]),  # 2, 1.5, 1, 0.5: the tie goes to the earlier
    ],
)
def test_split_by_hand(total, weights, shares):
    assert split(total, weights) == shares


@given(st.integers(0, 10_000), st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_split_is_exact_and_within_one_of_the_quota(total, weights):
    shares = split(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - total * weight / sum(weights)) < 1 + 1e-6


def test_sizes():
    assert find_size(None, None) == DrawSize(rows=128)
    assert find_size(32, None) == DrawSize(rows=32)
    assert find_size(None, 500) == DrawSize(tokens=500)
    assert str(find_size(None, 500)) == "500 tokens"
    assert DrawSize(tokens=500).share(20) == DrawSize(tokens=20)
    assert DrawSize(rows=500).share(20) == DrawSize(rows=20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((32, 500), r"rows \(32\) and tokens_per_set \(500\) exclude each other"),
        ((0, None), r"rows must be at least 1 \(got 0\)"),
        ((None, 0), r"tokens_per_set must be at least 1 \(got 0\)"),
    ],
)
def test_size_faults(arguments, message):
    with pytest.raises(SubmodelsError, match=message):
        find_size(*arguments)
