"""HellaSwag (Zellers et al. 2019), Rowan/hellaswag: the likeliest ending, cleaned as in lm-eval's task."""

import re

from submodels.benchmarks.adapters.rows import each

_MARK = re.compile(r"\[.*?\]")  # WikiHow's headings and steps


def clean(text: str) -> str:
    """Without WikiHow's marks; `[title]` ends a sentence. Each pair of spaces becomes one space, as in lm-eval."""
    return _MARK.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _item(row: dict) -> dict:
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return {"query": clean(context), "choices": [clean(ending) for ending in row["endings"]], "gold": int(row["label"])}


def items(rows) -> list[dict]:
    return each(rows, _item)


def fixture() -> list[dict]:
    done = [("Cutting bread", "takes a knife", 1), ("Washing up", "fills the sink", 2), ("Painting", "opens a tin", 3)]
    endings = ["sings to a wall.", "cuts a slice.", "washes a plate.", "dips a brush into the paint."]
    return [
        {
            "ind": n,
            "activity_label": label,
            "ctx_a": f"A man {does}.",
            "ctx_b": "the man",
            "ctx": f"A man {does}. the man",
            "endings": [f"{ending} [step] He is done." for ending in endings],
            "source_id": f"fixture~{n}",
            "split": "val",
            "split_type": "indomain",
            "label": str(gold),
        }
        for n, (label, does, gold) in enumerate(done)
    ]
