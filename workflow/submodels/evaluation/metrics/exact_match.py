"""Exact match of the final number, as GSM8K marks it: `#### 42`.

Strict: a sample without `####` and a number after it is wrong, whatever numbers it contains. Numbers are compared
after normalisation: commas between digits, a full stop at the end, zeros at the end of a decimal part and a plus sign
do not count, so `1,000`, `1000.` and `1000.00` are the same.
"""

import re
from collections import Counter

from submodels.evaluation.metrics.base import Samples, Scorer, Scores, mean, text_fault

_ANSWER = re.compile(r"####[ \t]*([+-]?\d[\d,]*(?:\.\d*)?|[+-]?\.\d+)")


def final_number(text: str) -> str | None:
    """The number after the first `####`, normalised; None if there is none."""
    match = _ANSWER.search(text)
    return match and normalise(match.group(1))


def normalise(number: str) -> str:
    """One spelling for each value: `+1,250.50` -> `1250.5`, `007.` -> `7`, `-0.0` -> `0`."""
    sign = "-" if number.startswith("-") else ""
    whole, _, decimals = number.lstrip("+-").replace(",", "").partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    value = f"{whole}.{decimals}" if decimals else whole
    return value if value == "0" else sign + value


def _fault(item: dict) -> str | None:
    if fault := text_fault(item, "question", "answer"):
        return fault
    return None if final_number(item["answer"]) is not None else "`answer` needs a last line '#### <number>'"


def _score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
    values, counts = {}, Counter(correct=0, wrong=0, unanswered=0)
    for item in items:
        gold = final_number(item["answer"])
        found = [final_number(line["completion"]) for line in samples[item["task_id"]]]
        values[item["task_id"]] = {"exact_match": mean([float(number == gold) for number in found])}
        counts.update("unanswered" if n is None else "correct" if n == gold else "wrong" for n in found)
    return Scores(values, dict(counts))


SCORER = Scorer("generate_until", lambda samples: ["exact_match"], _fault, _score)
