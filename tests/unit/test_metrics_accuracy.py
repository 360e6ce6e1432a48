import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.benchmarks.metrics import SCORERS

score = SCORERS["accuracy"].score


def _one(choices, gold, loglikelihoods):
    item = {"task_id": "a", "choices": choices, "gold": gold}
    return score([item], {"a": [{"loglikelihoods": loglikelihoods}]}, "none")


def test_hand_computed():
    # by sum the short choice wins, -2 > -3; by characters the long one, -2 / 2 < -3 / 6
    scores = _one(["ab", "abcdef"], 1, [-2.0, -3.0])
    assert scores.items == {"a": {"acc": 0.0, "acc_norm": 1.0}}
    assert scores.counts == {"correct": 0, "wrong": 1}
    assert _one(["ab", "abcdef"], 0, [-2.0, -3.0]).items == {"a": {"acc": 1.0, "acc_norm": 0.0}}


def test_characters_not_bytes():
    assert _one(["éé", "abc"], 1, [-2.0, -2.9]).items["a"]["acc_norm"] == 1.0  # by bytes the first would win


def test_of_equal_values_the_first_wins():
    assert _one(["ab", "cd"], 0, [-1.0, -1.0]).items["a"] == {"acc": 1.0, "acc_norm": 1.0}
    assert _one(["ab", "cd"], 1, [-1.0, -1.0]).items["a"] == {"acc": 0.0, "acc_norm": 0.0}


def test_one_continuation_after_several_contexts_has_one_length():
    item = {"task_id": "a", "choices": ["ab", "abcdef"], "continuation": "xyz", "gold": 0}
    scores = score([item], {"a": [{"loglikelihoods": [-2.0, -3.0]}]}, "none")
    assert scores.items["a"] == {"acc": 1.0, "acc_norm": 1.0}  # by the contexts' lengths the second would win
    fault = SCORERS["accuracy"].fault
    assert fault(item | {"query": "q"}) is None
    assert fault(item | {"query": "q", "continuation": ""}) == "`continuation` needs a text that is not empty"


def test_a_missing_choice_is_an_error():
    with pytest.raises(ValueError, match="a has 2 choices but 1 log-likelihoods"):
        _one(["ab", "cd"], 0, [-1.0])


@given(
    st.lists(st.tuples(st.text("abé", min_size=1, max_size=9), st.floats(-50, 0)), min_size=2, max_size=5), st.data()
)
def test_it_is_argmax(rows, data):
    choices, values = map(list, zip(*rows, strict=True))
    gold = data.draw(st.integers(0, len(choices) - 1))
    wanted = {
        "acc": float(np.argmax(values) == gold),
        "acc_norm": float(np.argmax(np.array(values) / [len(choice) for choice in choices]) == gold),
    }
    assert _one(choices, gold, values).items["a"] == wanted
