"""Sparsity patterns: reading, canonical form, errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.errors import SubmodelsError
from submodels.pruning.patterns import NofM, Unstructured, parse


@pytest.mark.parametrize(
    ("text", "pattern", "canonical"),
    [
        ("0.50", Unstructured(0.5), "0.50"),
        ("0.5", Unstructured(0.5), "0.50"),
        (".7", Unstructured(0.7), "0.70"),
        ("0.05", Unstructured(0.05), "0.05"),
        (0.6, Unstructured(0.6), "0.60"),
        ("2of4", NofM(2, 4), "2of4"),
        ("4of8", NofM(4, 8), "4of8"),
        ("1of4", NofM(1, 4), "1of4"),
    ],
)
def test_reads_patterns_and_writes_their_canonical_form(text, pattern, canonical):
    assert parse(text) == pattern
    assert str(parse(text)) == canonical


@given(st.integers(1, 99))
def test_canonical_ratios_read_back(percent):
    text = f"{percent / 100:.2f}"
    assert str(parse(text)) == text
    assert parse(text).ratio == percent / 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "between 0 and 1"),
        ("0.00", "between 0 and 1"),
        ("1", "between 0 and 1"),
        ("50", "between 0 and 1"),
        ("0.555", "two decimals"),
        ("-0.5", "expected a ratio"),
        ("half", "expected a ratio"),
        ("", "expected a ratio"),
        ("2:4", "expected a ratio"),
        ("nan", "expected a ratio"),
        ("4of4", "0 < 4 < 4"),
        ("0of4", "0 < 0 < 4"),
    ],
)
def test_says_what_is_wrong_with_a_pattern(text, message):
    with pytest.raises(SubmodelsError, match=message):
        parse(text)
