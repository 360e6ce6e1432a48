import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.calibration.drawing import draw, order
from submodels.errors import SubmodelsError


@pytest.mark.parametrize(
    ("total", "first"),
    [
        (18612, [12623, 13781, 1326, 8484, 16753, 15922]),  # py_alpaca
        (4957, [3155, 3445, 331, 2121, 4188, 3980]),  # openbookqa
        (39905, [25247, 27562, 2653, 16968, 33506, 31845]),  # hellaswag
        (9741, [6311, 6890, 663, 4242, 8376, 7961]),  # commonsense_qa
        (164923, [100989, 110250, 10612, 67873, 134027, 127383]),  # code-text-java
    ],
)
def test_paper_draws_the_rows_of_the_authors_code(total, first):
    drawn = draw(128, total, 0, "paper")
    assert drawn[:6] == first
    assert len(drawn) == 128


def test_paper_draws_with_replacement():
    assert len(set(draw(128, 4957, 0, "paper"))) == 127


def test_paper_takes_at_most_as_many_rows_as_there_are():
    assert len(draw(128, 5, 0, "paper")) == 5


def test_strict_refuses_too_few_rows():
    with pytest.raises(SubmodelsError, match="6 rows asked of a set of 5"):
        draw(6, 5, 0)


def test_unknown_protocol():
    with pytest.raises(SubmodelsError, match="unknown protocol 'loose'; known: paper, strict"):
        draw(1, 5, 0, "loose")


@given(st.integers(1, 300), st.integers(0, 2**32), st.data())
def test_strict_is_distinct_in_range_and_prefix_stable(total, seed, data):
    n_rows = data.draw(st.integers(0, total))
    drawn = draw(n_rows, total, seed)
    assert len(set(drawn)) == n_rows
    assert all(0 <= index < total for index in drawn)
    assert drawn == draw(total, total, seed)[:n_rows]
    assert sorted(order(total, seed)) == list(range(total))


def test_seeds_differ():
    assert draw(20, 1000, 0) != draw(20, 1000, 1)


def test_global_generator_is_untouched():
    random.seed(3)
    state = random.getstate()
    draw(10, 100, 0)
    draw(10, 100, 0, "paper")
    assert random.getstate() == state
