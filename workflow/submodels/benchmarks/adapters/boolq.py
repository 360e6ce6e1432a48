"""BoolQ (Clark et al. 2019) as SuperGLUE has it, aps/super_glue: a passage and a question, no or yes."""

from submodels.benchmarks.adapters.rows import each

CHOICES = ["no", "yes"]  # the label is the index


def items(rows) -> list[dict]:
    return each(
        rows,
        lambda row: {
            "query": f"{row['passage']}\nQuestion: {row['question']}?",
            "choices": CHOICES,
            "gold": int(row["label"]),
        },
    )


def fixture() -> list[dict]:
    asked = [("is a hen a bird", 1), ("is a whale a fish", 0), ("does iron float on water", 0), ("is ice water", 1)]
    passage = "Hens are birds. Whales are mammals that live in the sea. Iron sinks. Ice is frozen water."
    return [
        {"question": question, "passage": passage, "idx": n, "label": label}
        for n, (question, label) in enumerate(asked)
    ]
