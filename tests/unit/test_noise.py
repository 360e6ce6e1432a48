"""The noise floor by hand: sub-models that differ in the seed of the calibration draw alone."""

import analysis_fixture
import pandas as pd
import pytest
from test_tables import accuracy, study

from submodels.analysis.tables import TABLES

noise, show_noise = TABLES["noise"].compute, TABLES["noise"].show
MATH = {f"wanda-math-0.50-s{seed}": values for seed, values in enumerate(([1, 1, 0, 0], [1, 1, 1, 0]))}
PYTHON = {f"wanda-python-0.50-s{seed}": values for seed, values in enumerate(([0, 0, 0, 0], [1, 0, 0, 0]))}
CSR = {"wanda-csr-0.50-s0": [1, 1, 1, 1]}


def scores(groups, primary="accuracy"):
    return {id: accuracy(values, primary) for group in groups for id, values in group.items()}


def test_by_hand():
    """math 0.5 and 0.75, python 0 and 0.25: both variances 1/32, so any two draws differ by sqrt(2 / 32) = 0.25."""
    row = noise(study({"tiny_csr": {"dense": accuracy([1] * 4)} | scores([MATH, PYTHON, CSR])})).iloc[0]
    assert (row["benchmark"], row["domain"], row["sets"], row["n_draws"]) == ("tiny_csr", "csr", "python math", 4)
    assert row["spread"] == pytest.approx((1 / 32) ** 0.5)
    assert row["floor"] == pytest.approx(0.25)
    # python 0.125, math 0.625, csr 1: all further apart than 0.18 (two draws each) and 0.22 (two and one)
    assert (row["n_pairs"], row["n_below"]) == (3, 0)
    assert pd.isna(row["below"]) or row["below"] == ""


def test_pairs_of_sets_that_differ_by_less_than_their_draws_are_named():
    close = {"wanda-csr-0.50-s0": [1, 1, 1, 0]}  # 0.75 against 0.625 of math: 0.125 < 0.177 * sqrt(1 + 1/2)
    row = noise(study({"tiny_csr": {"dense": accuracy([1] * 4)} | scores([MATH, PYTHON, close])})).iloc[0]
    assert (row["n_pairs"], row["below"]) == (3, "math/csr")


def test_the_interval_over_items_stands_beside_it():
    """Half the width of each draw's interval: none for python's first draw, whose items came out alike."""
    made = study({"tiny_csr": {"dense": accuracy([1] * 4)} | scores([PYTHON])})
    shown = TABLES["scores"].compute(made).query("metric == 'accuracy'").set_index("submodel")
    assert noise(made).iloc[0]["items"] > 0
    alone = {"wanda-python-0.50-s0": [0] * 4, "wanda-python-0.50-s1": [1] * 4}
    row = noise(study({"tiny_csr": {"dense": accuracy([1] * 4)} | scores([alone])})).iloc[0]
    assert (row["items"], row["spread"]) == (0, pytest.approx(0.5**0.5))
    assert len(shown) == 3


def test_nothing_is_measured_where_no_set_is_drawn_twice():
    once = {"wanda-math-0.50-s0": [1, 0], "wanda-python-0.50-s0": [1, 1]}
    assert noise(study({"tiny_csr": {"dense": accuracy([1, 1])} | scores([once])})).empty
    absent = {"wanda-math-0.50-s0": accuracy([1, 0]), "wanda-math-0.50-s1": analysis_fixture.not_run("no node")}
    assert noise(study({"tiny_csr": {"dense": accuracy([1, 1])} | absent})).empty


def test_a_domain_of_several_benchmarks_has_a_row_of_its_mean():
    """tiny_python 0.5 and 0.75, tiny_java 0 and 0.25: means 0.25 and 0.5, variance 1/32."""
    python = {"dense": accuracy([1] * 4, "pass@1")} | scores([MATH], "pass@1")
    java = {"dense": accuracy([1] * 4, "pass@1")}
    java |= scores([dict(zip(MATH, PYTHON.values(), strict=True))], "pass@1")
    frame = noise(study({"tiny_python": python, "tiny_java": java}))
    assert frame["benchmark"].fillna("").tolist() == ["", "tiny_python", "tiny_java"]
    assert frame.iloc[0]["spread"] == pytest.approx((1 / 32) ** 0.5)
    assert show_noise(frame)["score"].tolist()[0] == "code, mean"


def test_a_perplexity_keeps_its_unit():
    draws = {f"wanda-math-0.50-s{seed}": analysis_fixture.perplexity({"0": (v, 1)}) for seed, v in enumerate((4, 6))}
    frame = noise(study({"tiny_text": {"dense": analysis_fixture.perplexity({"0": (3, 1)})} | draws}))
    assert frame.iloc[0]["spread"] == pytest.approx(2**0.5)
    assert show_noise(frame).iloc[0]["two draws differ by"] == "2.000"
    assert show_noise(frame).iloc[0]["score"] == "tiny_text (lower is better)"
