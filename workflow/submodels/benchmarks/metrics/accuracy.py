"""Accuracy of multiple choice by log-likelihood.

acc takes the choice of the greatest log-likelihood; acc_norm divides each log-likelihood by the choice's length in
characters first, as lm-eval does. Of equal values the first choice wins.

Where the choices are contexts of one `continuation`, the continuation is scored; it has one length for all choices, so
acc_norm equals acc.
"""

from submodels.benchmarks.metrics.base import AS_WORDS, Samples, Scorer, Scores, Texts, mean, text_fault


def best(values: list[float]) -> int:
    """Index of the first greatest value."""
    return max(range(len(values)), key=values.__getitem__)


def _fault(item: dict) -> str | None:
    if fault := text_fault(item, "query"):
        return fault
    choices, gold = item.get("choices"), item.get("gold")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        return "`choices` needs at least two texts that are not empty"
    if type(gold) is not int or not 0 <= gold < len(choices):
        return f"`gold` needs the index of a choice, 0 to {len(choices) - 1}"
    if "continuation" in item and not (isinstance(item["continuation"], str) and item["continuation"]):
        return "`continuation` needs a text that is not empty"
    return None


def _score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
    values = {}
    for item in items:
        right, right_norm = [], []
        for line in samples[item["task_id"]]:
            raw = line["loglikelihoods"]
            if len(raw) != len(item["choices"]):
                raise ValueError(f"{item['task_id']} has {len(item['choices'])} choices but {len(raw)} log-likelihoods")
            scored = [item["continuation"]] * len(raw) if "continuation" in item else item["choices"]
            norm = [value / len(text) for value, text in zip(raw, scored, strict=True)]
            right.append(float(best(raw) == item["gold"]))
            right_norm.append(float(best(norm) == item["gold"]))
        values[item["task_id"]] = {"acc": mean(right), "acc_norm": mean(right_norm)}
    correct = round(sum(value["acc"] for value in values.values()))
    return Scores(values, {"correct": correct, "wrong": len(items) - correct})


def _texts(item: dict) -> Texts:
    right = item["choices"][item["gold"]]
    if "continuation" in item:
        return [(AS_WORDS, f"{right} {item['continuation']}")]
    return [(AS_WORDS, item["query"]), (AS_WORDS, f"{item['query']} {right}")]


SCORER = Scorer("multiple_choice", lambda samples: ["acc", "acc_norm"], _fault, _score, _texts)
