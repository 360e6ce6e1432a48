import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.calibration.row_statistics import length_distribution, ngram_repetition
from submodels.calibration.windowing import cut_lengths, leading_ones, pack_rows, pad_rows

ROWS = st.lists(st.lists(st.integers(0, 2**40), max_size=12), min_size=1, max_size=10)


def test_pad_by_hand():
    input_ids, mask = pad_rows([[5, 6, 7, 8], [9]], 3)
    assert input_ids.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert input_ids.dtype == mask.dtype == np.int64
    assert pad_rows([[5, 6, 7, 8], [9]], 3, pad=2)[0].tolist() == [[5, 6, 7], [9, 2, 2]]


def test_pack_by_hand():
    rows = [[1, 2], [3, 4, 5], [6, 7]]
    assert pack_rows(rows, 3, 6) == [[1, 2, 3], [4, 5, 6]]
    assert pack_rows(rows, 3, 7) == [[1, 2, 3], [4, 5, 6], [7]]
    assert pack_rows(rows, 3, 2) == [[1, 2]]


def test_leading_ones_by_hand():
    ones = leading_ones([2, 0, 5], 3)
    assert ones.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert ones.dtype == np.int64


def test_cut_lengths_by_hand():
    assert cut_lengths([3, 4, 2], 9) == [3, 4, 2]
    assert cut_lengths([3, 4, 2], 8) == [3, 4, 1]
    assert cut_lengths([3, 4, 2], 7) == [3, 4]
    assert cut_lengths([3, 4, 2], 5) == [3, 2]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(1, 400))
def test_cut_lengths_add_up(lengths, total):
    cut = cut_lengths(lengths, total)
    assert sum(cut) == min(total, sum(lengths))
    assert cut[:-1] == lengths[: len(cut) - 1]
    assert 0 < cut[-1] <= lengths[len(cut) - 1]


@given(ROWS, st.integers(1, 8))
def test_padded_windows_hold_exactly_the_tokens(rows, seqlen):
    input_ids, mask = pad_rows(rows, seqlen)
    assert input_ids.shape == mask.shape == (len(rows), seqlen)
    for ids, kept, row in zip(input_ids, mask.astype(bool), rows, strict=True):
        assert ids[kept].tolist() == row[:seqlen]
        assert not np.diff(kept.astype(int)).max(initial=0) > 0  # padding on the right only
        assert not ids[~kept].any()


@given(ROWS, st.integers(1, 8), st.integers(0, 150))
def test_packed_windows_reproduce_the_concatenation(rows, seqlen, total):
    joined = [token for row in rows for token in row]
    windows = pack_rows(rows, seqlen, total)
    assert [token for window in windows for token in window] == joined[:total]
    assert all(len(window) == seqlen for window in windows[:-1])
    assert all(0 < len(window) <= seqlen for window in windows[-1:])


def test_length_distribution_by_hand():
    found = length_distribution([1, 2, 3, 4, 10])
    assert found == {"min": 1, "q1": 2, "median": 3, "q3": 4, "max": 10, "mean": 4}


def test_repetition_by_hand():
    assert ngram_repetition([[1, 1, 1, 1, 1]]) == 0.5  # one distinct of two
    assert ngram_repetition([[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8]]) == pytest.approx(1 / 3)
    assert ngram_repetition([[1, 2, 3, 4, 5, 6]]) == 0
    assert ngram_repetition([[1, 2, 3], [4]]) is None
