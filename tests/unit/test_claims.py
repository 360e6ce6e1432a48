"""Claims: verdicts on constructed data whose answer is known, and the paper's figures by hand."""

import analysis_fixture
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tables import accuracy, overlap_row, study

from submodels.analysis import paper
from submodels.analysis.claims import CLAIMS, smallest_mean, verdict
from submodels.analysis.tables import TABLES
from submodels.bootstrap import stratified_bootstrap

claims = TABLES["claims"].compute
N = 40
RIGHT, WRONG = [1.0] * N, [0.0] * N
HALF = [float(i % 2) for i in range(N)]
SETS = ("python", "java", "math", "csr", "translation", "mix")
DRAWN = analysis_fixture.BOOTSTRAP


def row_of(claim: str, benchmarks: dict[str, dict[str, list[float]]], overlap: list[dict] = ()) -> dict:
    """The claim's row for benchmark -> calibration set -> values; sets not named answer half of the items."""
    scores = {}
    for name, by_set in benchmarks.items():
        primary = analysis_fixture.BENCHMARKS[name][2]
        ids = {f"wanda-{one}-0.50-s0": accuracy(by_set.get(one, HALF), primary) for one in SETS}
        scores[name] = {"dense": accuracy(RIGHT, primary), **ids}
    frame = claims(study(scores, overlap))
    return frame[frame["claim"] == claim].iloc[0].to_dict()


def test_matched_beats_unmatched():
    row = row_of("matched_beats_unmatched", {"tiny_csr": {"csr": RIGHT}})
    assert row["value"] == 0.5
    assert row["verdict"] == "supported"
    assert row_of("matched_beats_unmatched", {"tiny_csr": {"csr": WRONG}})["verdict"] == "not supported"
    same = row_of("matched_beats_unmatched", {"tiny_csr": {}})
    assert (same["value"], same["verdict"]) == (0.0, "undecided")


def test_every_benchmark_weighs_the_same():
    row = row_of("matched_beats_unmatched", {"tiny_csr": {"csr": RIGHT}, "tiny_math": {"math": WRONG}})
    assert row["value"] == 0.0


def test_other_languages_are_unmatched():
    row = row_of("matched_beats_unmatched", {"tiny_java": {"java": RIGHT, "python": WRONG}})
    assert row["value"] == pytest.approx(1 - (0.5 * 3 + 0) / 4)


def test_generic_is_never_best():
    assert row_of("generic_never_best", {"tiny_csr": {"csr": RIGHT}})["verdict"] == "supported"
    row = row_of("generic_never_best", {"tiny_csr": {"csr": RIGHT}, "tiny_math": {"mix": RIGHT}})
    assert row["verdict"] == "not supported"


def test_csr_flat():
    flat = {"tiny_csr": {}, "tiny_math": {"math": RIGHT, "csr": WRONG}}
    row = row_of("csr_flat", flat)
    assert (row["value"], row["verdict"]) == (-1.0, "supported")
    assert (
        row_of("csr_flat", {"tiny_csr": {"csr": RIGHT, "math": WRONG}, "tiny_math": {}})["verdict"] == "not supported"
    )


def test_csr_flat_without_csr_is_not_run():
    row = row_of("csr_flat", {"tiny_math": {}})
    assert row["status"] == "not run"
    assert "CSR benchmark" in row["reason"]
    assert row["value"] != row["value"]


def test_code_math_accuracy_weighs_both_sides_alike():
    row = row_of("code_math_accuracy", {"tiny_python": {"math": RIGHT}, "tiny_java": {"math": RIGHT}, "tiny_math": {}})
    assert row["value"] == pytest.approx(0.25)
    assert row["verdict"] == "supported"


def test_language_specificity_ignores_sets_that_are_not_code():
    row = row_of("language_specificity", {"tiny_java": {"java": RIGHT, "python": WRONG, "math": RIGHT}})
    assert (row["value"], row["verdict"]) == (1.0, "supported")


def test_distances():
    ids = {one: f"wanda-{one}-0.50-s0" for one in SETS}
    near = [overlap_row(ids["python"], ids["math"], 0.1 + 0.1 * k, "layer", k) for k in range(3)]
    far = [overlap_row(ids["python"], ids["csr"], 0.4 + 0.1 * k, "layer", k) for k in range(3)]
    row = row_of("code_math_distance", {"tiny_csr": {}}, near + far)
    assert row["value"] == pytest.approx(-0.3)
    assert row["verdict"] == "supported"
    within = [overlap_row(ids["python"], ids["java"], 0.5 + 0.1 * k, "layer", k) for k in range(3)]
    row = row_of("within_domain_distance", {"tiny_csr": {}}, within + far)
    assert row["value"] == pytest.approx(0.1)
    assert row["verdict"] == "not supported"
    assert row_of("within_domain_distance", {"tiny_csr": {}})["status"] == "not run"


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.1, 0.2, +1, "supported"),
        (0.1, 0.2, -1, "not supported"),
        (-0.2, -0.1, -1, "supported"),
        (-0.2, -0.1, +1, "not supported"),
        (-0.1, 0.1, +1, "undecided"),
        (0.0, 0.1, +1, "undecided"),
    ],
)
def test_verdict(low, high, direction, expected):
    assert verdict(low, high, direction) == expected


def test_paper_figures_by_hand():
    assert paper.gemma_mean("code", ("math",)) == pytest.approx((44.44 + 45.26 + 45.05) / 3)
    assert paper.gemma_spread("csr") == pytest.approx(39.0 - 36.47)
    assert paper.gemma_best_over_generic() == pytest.approx(39.0 - 38.1)
    assert paper.gemma_code_math_gain() == pytest.approx(((44.9167 - 41.025) + (32.7467 - 27.4717)) / 2, abs=1e-3)
    gains = [61 - 56.27, 60.1 - (55.2 + 54.2 + 55.7) / 3, 57.1 - (54.2 + 54.2 + 50.9) / 3, 60.2 - 57.07]
    assert paper.language_gain() == pytest.approx(sum(gains) / 4, abs=5e-3)
    assert set(CLAIMS) >= {"matched_beats_unmatched", "generic_never_best", "csr_flat", "language_specificity"}


def test_bootstrap_has_the_known_spread():
    """The mean of n fair coin flips has standard error 0.5 / sqrt(n): 95% lies within 1.96 of them."""
    many = stratified_bootstrap([np.array([[0.0], [1.0]] * 50)], resamples=4000)
    assert many.value == 0.5
    assert (many.low, many.high) == (pytest.approx(0.5 - 0.098, abs=0.01), pytest.approx(0.5 + 0.098, abs=0.01))


def test_bootstrap_resamples_inside_groups():
    """Groups without spread inside give no interval, however far apart they are."""
    assert stratified_bootstrap([np.zeros((5, 1)), np.ones((50, 1))], **DRAWN) == (0.5, 0.0, 0.5, 0.5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_bootstrap_interval_is_ordered_and_inside_the_data(values):
    value, _, low, high = stratified_bootstrap([np.array(values)[:, None]], **DRAWN)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert min(values) - 1e-9 <= value <= max(values) + 1e-9


def test_bootstrap_refuses_an_empty_group():
    with pytest.raises(ValueError, match="at least one item"):
        stratified_bootstrap([np.zeros((0, 1))], **DRAWN)


def test_the_smallest_of_equal_leads_is_not_held_against_a_claim():
    """Many benchmarks without any lead, none below zero for certain; the bootstrap of the minimum would say so."""
    rng = np.random.default_rng(0)
    groups = [rng.permutation([-1.0, 1.0] * 20).reshape(-1, 1) for _ in range(12)]
    together = stratified_bootstrap(groups, statistic=lambda means: np.min([one[..., 0] for one in means], axis=0))
    assert together.high < 0
    found = smallest_mean(groups, resamples=1000, seed=0, level=0.95)
    assert verdict(found.low, found.high, +1) == "undecided"


def test_smallest_mean_finds_the_one_below_and_all_above():
    above, below = np.full((20, 1), 0.5), np.full((20, 1), -0.5)
    assert smallest_mean([above, below, above], **DRAWN) == (-0.5, 0.0, -0.5, -0.5)
    assert smallest_mean([above, above], **DRAWN).low == 0.5


def test_every_claim_names_a_table():
    assert {claim.table for claim in CLAIMS.values()} <= set(TABLES)
