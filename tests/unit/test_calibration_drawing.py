import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.calibration.drawing import order
from submodels.errors import SubmodelsError


def first(n_rows, *arguments):
    return list(islice(order(*arguments), n_rows))


@pytest.mark.parametrize(
    ("total", "rows"),
    [
        (18612, [12623, 13781, 1326, 8484, 16753, 15922]),  # py_alpaca
        (4957, [3155, 3445, 331, 2121, 4188, 3980]),  # openbookqa
        (39905, [25247, 27562, 2653, 16968, 33506, 31845]),  # hellaswag
        (9741, [6311, 6890, 663, 4242, 8376, 7961]),  # commonsense_qa
        (164923, [100989, 110250, 10612, 67873, 134027, 127383]),  # code-text-java
    ],
)
def test_paper_draws_the_rows_of_the_authors_code(total, rows):
    drawn = first(128, total, 0, "paper")
    assert drawn[:6] == rows
    assert len(drawn) == 128


def test_paper_draws_with_replacement():
    assert len(set(first(128, 4957, 0, "paper"))) == 127


def test_paper_ends_for_a_set_without_a_usable_row():
    assert len(list(order(5, 0, "paper"))) == 50


def test_unknown_protocol():
    with pytest.raises(SubmodelsError, match="unknown protocol 'loose'; known: paper, strict"):
        order(5, 0, "loose")


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_strict_takes_every_row_once(total, seed):
    assert sorted(order(total, seed)) == list(range(total))


def test_seeds_differ():
    assert first(20, 1000, 0) != first(20, 1000, 1)


def test_global_generator_is_untouched():
    random.seed(3)
    state = random.getstate()
    first(10, 100, 0)
    first(10, 100, 0, "paper")
    assert random.getstate() == state
