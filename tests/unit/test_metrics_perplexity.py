from math import exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.metrics import bits_per_byte, weighted_perplexity

from submodels.benchmarks.metrics import SCORERS
from submodels.bootstrap import exp_of_ratio, ratio_of_sums, stratified_bootstrap

score = SCORERS["perplexity"].score

# "a" has 2 tokens of probability 1/2 and 1/8 each, "b" 1 token of 1/4; the é of "é" takes two bytes.
ITEMS = [{"task_id": "a", "text": "word"}, {"task_id": "b", "text": "é"}]
SAMPLES = {
    "a": [{"loglikelihood": -4 * log(2), "tokens": 2, "bytes": 4}],
    "b": [{"loglikelihood": -2 * log(2), "tokens": 1, "bytes": 2}],
}


def _values(scores):
    """The value of each metric over all documents."""
    means = {name: [np.mean(columns, axis=0)] for name, (columns, _) in scores.statistics.items()}
    return {name: scores.statistics[name][1](mean) for name, mean in means.items()}


def test_hand_computed():
    """6 bits over 3 tokens: 2 bits a token, perplexity 4; over 6 bytes: 1 bit a byte."""
    scores = score(ITEMS, SAMPLES, "none")
    assert _values(scores) == {"perplexity": pytest.approx(4), "bits_per_byte": pytest.approx(1)}
    assert scores.items["a"] == {
        "perplexity": pytest.approx(4),
        "bits_per_byte": pytest.approx(1),
        "tokens": 2,
        "bytes": 4,
    }
    assert scores.items["b"] == {
        "perplexity": pytest.approx(4),
        "bits_per_byte": pytest.approx(1),
        "tokens": 1,
        "bytes": 2,
    }
    assert scores.counts == {"scored": 2}


def test_documents_weigh_by_their_tokens():
    """3 tokens of 1 bit and 1 token of 5: 2 bits a token, not the mean of 1 and 5 nor of perplexities 2 and 32."""
    samples = {
        "a": [{"loglikelihood": -3 * log(2), "tokens": 3, "bytes": 4}],
        "b": [{"loglikelihood": -5 * log(2), "tokens": 1, "bytes": 2}],
    }
    scores = score(ITEMS, samples, "none")
    assert _values(scores) == {"perplexity": pytest.approx(4), "bits_per_byte": pytest.approx(8 / 6)}
    assert [scores.items[name]["perplexity"] for name in "ab"] == pytest.approx([2, 32])


@pytest.mark.parametrize("loglikelihood", [nan, -inf, inf, 0.1, -1500.0])
def test_what_gives_no_perplexity_is_an_error(loglikelihood):
    samples = SAMPLES | {"a": [SAMPLES["a"][0] | {"loglikelihood": loglikelihood}]}
    with pytest.raises(ValueError, match=r"a: a log-likelihood of .* for 2 tokens gives no perplexity"):
        score(ITEMS, samples, "none")


def test_the_sample_of_another_text_is_an_error():
    samples = SAMPLES | {"b": [SAMPLES["b"][0] | {"bytes": 1}]}
    with pytest.raises(ValueError, match="b has 2 bytes, its sample's text has 1 bytes; generate again"):
        score(ITEMS, samples, "none")


ROWS = st.lists(st.tuples(st.floats(-90, 0), st.integers(1, 30)), min_size=1, max_size=12)


@given(ROWS)
def test_agrees_with_lm_eval(rows):
    """Its aggregations take (log-likelihood, weight) of each document: bytes for bits, tokens for perplexity."""
    items = [{"task_id": str(n), "text": "x" * (2 * tokens)} for n, (_, tokens) in enumerate(rows)]
    samples = {
        str(n): [{"loglikelihood": value, "tokens": tokens, "bytes": 2 * tokens}]
        for n, (value, tokens) in enumerate(rows)
    }
    values = _values(score(items, samples, "none"))
    assert values["perplexity"] == pytest.approx(weighted_perplexity(rows))
    assert values["bits_per_byte"] == pytest.approx(bits_per_byte([(value, 2 * tokens) for value, tokens in rows]))


@pytest.mark.parametrize(("statistic", "transform"), [(ratio_of_sums, float), (exp_of_ratio, exp)])
def test_the_bootstrap_is_that_of_a_plain_loop(statistic, transform):
    """The same resampled documents, counted one by one and summed by hand."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 40, size=25)
    rows = [(float(nats), int(n)) for nats, n in zip(tokens * rng.gamma(2, size=25), tokens, strict=True)]
    resampled = []
    for drawn_items in np.random.default_rng(7).integers(25, size=(300, 25)):
        drawn = [rows[item] for item in drawn_items]
        resampled.append(transform(sum(nats for nats, _ in drawn) / sum(n for _, n in drawn)))
    found = stratified_bootstrap([rows], statistic=statistic, resamples=300, seed=7, level=0.9)
    assert found.value == pytest.approx(transform(sum(nats for nats, _ in rows) / sum(n for _, n in rows)))
    assert found.stderr == pytest.approx(np.std(resampled))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(resampled, [0.05, 0.95])))
    assert found.low < found.value < found.high
