"""Perplexity of whole documents; lower is better.

perplexity is exp of the mean negative log-likelihood of a token, over the tokens of all documents together (Jelinek et
al. 1977): it is comparable only between models of one tokenizer. bits_per_byte gives the same likelihood in bits, over
UTF-8 bytes instead of tokens, and is comparable between any models. An item's values are those of its document, with
the `tokens` and `bytes` by which it is weighted.
"""

from math import exp, log

from submodels.benchmarks.metrics.base import AS_WORDS, Samples, Scorer, Scores, document_fault

_MOST_NATS = 700  # of a token: exp of more overflows a floating-point number


def _check(task_id: str, line: dict, size: int) -> None:
    if line["bytes"] != size:
        raise ValueError(f"{task_id} has {size} bytes, its sample's text has {line['bytes']} bytes; generate again")
    if not line["tokens"] > 0 or not -_MOST_NATS * line["tokens"] <= line["loglikelihood"] <= 0:
        raise ValueError(
            f"{task_id}: a log-likelihood of {line['loglikelihood']} for {line['tokens']} tokens gives no perplexity; "
            "look for NaN or infinite values in the model's weights"
        )


def _score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
    from submodels.bootstrap import exp_of_ratio, ratio_of_sums  # imports numpy, which the registry avoids

    values, tokens, texts = {}, [], []
    for item in items:
        (line,) = samples[item["task_id"]]
        _check(item["task_id"], line, len(item["text"].encode()))
        nats, bits = -line["loglikelihood"], -line["loglikelihood"] / log(2)
        tokens.append((nats, line["tokens"]))
        texts.append((bits, line["bytes"]))
        values[item["task_id"]] = {
            "perplexity": exp(nats / line["tokens"]),
            "bits_per_byte": bits / line["bytes"],
            "tokens": line["tokens"],
            "bytes": line["bytes"],
        }
    statistics = {"perplexity": (tokens, exp_of_ratio), "bits_per_byte": (texts, ratio_of_sums)}
    return Scores(values, {"scored": len(items)}, statistics=statistics)


SCORER = Scorer(
    "loglikelihood_rolling",
    lambda samples: ["perplexity", "bits_per_byte"],
    document_fault,
    _score,
    lambda item: [(AS_WORDS, item["text"])],
    documents=True,
    higher_is_better=False,
)
