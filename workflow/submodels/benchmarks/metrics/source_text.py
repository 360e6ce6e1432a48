"""Bits per byte of source files, whole and apart for code and for prose (comments and docstrings).

A token belongs to the class of its first character that is not white space, or of its first character; its bits count
for that class, over the bytes of all characters of the class. The two classes weighted by their bytes give the whole.
An item's values are those of its file, with the `bytes`, `code_bytes` and `prose_bytes` by which they are weighted.
"""

from itertools import pairwise
from math import isfinite, log

from submodels.benchmarks.metrics.base import AS_TOKENS, Samples, Scorer, Scores, document_fault, text_fault
from submodels.benchmarks.prose import prose
from submodels.terms import LANGUAGES

METRICS = ("bits_per_byte", "code_bits_per_byte", "prose_bits_per_byte")


def _fault(item: dict) -> str | None:
    if fault := document_fault(item) or text_fault(item, "language"):
        return fault
    if item["language"] not in LANGUAGES:
        return f"`language` must be one of {', '.join(LANGUAGES)} (got {item['language']})"
    return None


def _check(task_id: str, line: dict, size: int) -> None:
    if line["bytes"] != size or len(line["starts"]) != len(line["loglikelihoods"]):
        raise ValueError(
            f"{task_id} has {size} bytes; its sample has {line['bytes']} bytes, {len(line['starts'])} tokens and "
            f"{len(line['loglikelihoods'])} log-likelihoods; generate again"
        )
    if not all(map(isfinite, line["loglikelihoods"])):
        raise ValueError(
            f"{task_id}: a log-likelihood that is not finite; look for NaN or infinite values in the model's weights"
        )


def bits_by_class(text: str, language: str, starts: list[int], loglikelihoods: list[float]) -> dict[str, float]:
    """Bits and bytes of a file by class, for the place in the text where each token starts and its log-likelihood in
    nats: `code_bits`, `code_bytes`, `prose_bits`, `prose_bytes`."""
    is_prose = prose(text, language)
    found = dict.fromkeys(("code_bits", "code_bytes", "prose_bits", "prose_bytes"), 0.0)
    for character, belongs in zip(text, is_prose, strict=True):
        found["prose_bytes" if belongs else "code_bytes"] += len(character.encode())
    for (start, end), loglikelihood in zip(pairwise([*starts, len(text)]), loglikelihoods, strict=True):
        place = next((n for n in range(start, end) if not text[n].isspace()), min(start, len(text) - 1))
        found["prose_bits" if is_prose[place] else "code_bits"] -= loglikelihood / log(2)
    return found


def _score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
    from submodels.bootstrap import ratio_of_sums  # imports numpy, which the registry avoids

    values, columns = {}, {metric: [] for metric in METRICS}
    for item in items:
        (line,) = samples[item["task_id"]]
        _check(item["task_id"], line, len(item["text"].encode()))
        found = bits_by_class(item["text"], item["language"], line["starts"], line["loglikelihoods"])
        found |= {kind: found[f"code_{kind}"] + found[f"prose_{kind}"] for kind in ("bits", "bytes")}
        values[item["task_id"]] = {}
        for metric in METRICS:
            of = metric.removesuffix("bits_per_byte")
            bits, length = found[f"{of}bits"], found[f"{of}bytes"]
            columns[metric].append((bits, length))
            values[item["task_id"]] |= {metric: bits / length if length else 0.0}
        values[item["task_id"]] |= {name: found[name] for name in ("bytes", "code_bytes", "prose_bytes")}
    statistics = {metric: (column, ratio_of_sums) for metric, column in columns.items()}
    return Scores(values, {"scored": len(items)}, statistics=statistics)


SCORER = Scorer(
    "loglikelihood_rolling",
    lambda samples: [*METRICS],
    _fault,
    _score,
    lambda item: [(AS_TOKENS, item["text"])],
    documents=True,
    higher_is_better=False,
    by_token=True,
)
