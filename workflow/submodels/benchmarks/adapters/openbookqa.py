"""OpenBookQA (Mihaylov et al. 2018), allenai/openbookqa: without its book of facts, as lm-eval asks it."""

from submodels.benchmarks.adapters.rows import each, labelled


def items(rows) -> list[dict]:
    return each(rows, lambda row: labelled(row["question_stem"], row))


def fixture() -> list[dict]:
    kept = [("Bread is kept in", 2), ("Milk is kept in", 0), ("Books are kept on", 1), ("Cars are kept in", 3)]
    choices = {"text": ["a fridge", "a shelf", "a bread box", "a garage"], "label": ["A", "B", "C", "D"]}
    return [
        {"id": f"9-{n}", "question_stem": stem, "choices": choices, "answerKey": "ABCD"[gold]}
        for n, (stem, gold) in enumerate(kept)
    ]
