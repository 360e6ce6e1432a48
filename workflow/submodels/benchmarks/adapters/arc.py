"""ARC (Clark et al. 2018), allenai/ai2_arc: the easy and the challenge set."""

from submodels.benchmarks.adapters.rows import each, labelled


def items(rows) -> list[dict]:
    return each(rows, lambda row: labelled(row["question"], row))


def fixture() -> list[dict]:
    questions = [
        ("Which of these is a planet?", ["Mars", "the Moon", "the Sun", "a comet"], 0),
        ("Which of these is liquid at room temperature?", ["iron", "water", "oxygen"], 1),
        ("What do plants take from the air?", ["light", "salt", "sand", "carbon dioxide"], 3),
        ("Which animal lays eggs?", ["a horse", "a dog", "a hen", "a cow"], 2),
    ]
    return [
        {
            "id": f"Fixture_{n}",
            "question": question,
            "choices": {"text": texts, "label": list("1234" if n == 3 else "ABCD")[: len(texts)]},
            "answerKey": ("1234" if n == 3 else "ABCD")[gold],
        }
        for n, (question, texts, gold) in enumerate(questions)
    ]
