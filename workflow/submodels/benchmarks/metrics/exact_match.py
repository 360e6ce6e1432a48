"""Exact match of the final number of a worked answer, three ways; the answer of an item ends in `#### 42`.

`exact_match` needs that mark: a sample without `####` and a number after it is wrong, even if it contains the number.
Numbers are compared after normalisation: commas between digits, a full stop at the end, zeros at the end of a decimal
part and a plus sign are ignored, so `1,000`, `1000.` and `1000.00` are the same.

`chain_of_thought` reads answers after the examples of Wei et al. as lm-eval's task gsm8k_cot does, and is equal to it
on every sample: `exact_match` takes the number of the first "The answer is", `flexible` the last number of all.

`gsm8k_paper` is the extraction of arXiv 2501.05248's code: the first number after the first "the answer is", else the
last number; numbers are compared as texts.
"""

import re
from collections import Counter
from collections.abc import Callable

from submodels.benchmarks.metrics.base import AS_WORDS, Samples, Scorer, Scores, Texts, mean, text_fault

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


def _texts(item: dict) -> Texts:
    return [(AS_WORDS, item["question"]), (AS_WORDS, f"{item['question']}\n{item['answer']}")]


# lm-eval's patterns. The full stop after the first pattern's number matches any character, so a number that ends the
# text loses its last digit, in lm-eval as here.
_STATED = re.compile(r"The answer is (-?[0-9.,]+).")
_ANY = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_PAPER = re.compile(r"-?\d+\.?\d*")
_PAPER_GOLD = re.compile(r"#### (-?[0-9.,]+)")


def stated_number(text: str) -> str | None:
    """The number of the first `The answer is`, as lm-eval compares it; None if there is none."""
    match = _STATED.search(text)
    return match and _bare(match.group(1))


def last_number(text: str) -> str | None:
    """The last number, as lm-eval finds and compares it; None if there is none."""
    numbers = _ANY.findall(text)
    return _bare(numbers[-1]) if numbers else None


def _bare(number: str) -> str:
    """Without commas, dollar signs and a full stop at the end, the only characters that lm-eval ignores."""
    return number.replace(",", "").replace("$", "").removesuffix(".")


def _gold(answer: str) -> str:
    return _bare(answer.split("####")[-1].strip())


def paper_number(text: str) -> str | None:
    """The number that the paper's code takes for the answer; None if there is none."""
    _, trigger, after = text.lower().partition("the answer is")
    if trigger:
        after = after.partition("the answer is")[0]
    found = _PAPER.findall((after if trigger else text).replace(",", ""))
    return (found[0] if trigger else found[-1]).removesuffix(".") if found else None


def _paper_gold(answer: str) -> str | None:
    match = _PAPER_GOLD.search(answer)
    return match and match.group(1).replace(",", "")


def _scorer(gold: Callable[[str], str | None], metrics: dict[str, Callable[[str], str | None]]) -> Scorer:
    """`metrics`: name -> how a number is found in a sample. Counts are those of the first metric."""
    first = next(iter(metrics))

    def score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
        values, counts = {}, Counter(correct=0, wrong=0, unanswered=0)
        for item in items:
            right = gold(item["answer"])
            texts = [line["completion"] for line in samples[item["task_id"]]]
            found = {name: [find(text) for text in texts] for name, find in metrics.items()}
            values[item["task_id"]] = {
                name: mean([float(number == right) for number in numbers]) for name, numbers in found.items()
            }
            counts.update("unanswered" if n is None else "correct" if n == right else "wrong" for n in found[first])
        return Scores(values, dict(counts))

    return Scorer("generate_until", lambda samples: list(metrics), _fault, score, _texts)


SCORER = _scorer(final_number, {"exact_match": final_number})
CHAIN_OF_THOUGHT = _scorer(_gold, {"exact_match": stated_number, "flexible": last_number})
PAPER = _scorer(_paper_gold, {"exact_match": paper_number})
