"""WinoGrande (Sakaguchi et al. 2020), allenai/winogrande, with partial scoring (Trinh and Le 2018).

Each option fills the blank, and the rest of the sentence, which is the same for all options, is scored: `choices` are
the texts up to and with the option, `continuation` is the rest.
"""

from submodels.benchmarks.adapters.rows import each


def _item(row: dict) -> dict:
    before, after = row["sentence"].split("_", 1)
    return {
        "query": row["sentence"],
        "choices": [before + row[option] for option in ("option1", "option2")],
        "continuation": after.strip(),
        "gold": int(row["answer"]) - 1,
    }


def items(rows) -> list[dict]:
    return each(rows, _item)


def fixture() -> list[dict]:
    sentences = [
        ("The cup did not fit into the box because the _ was too large.", "cup", "box", "1"),
        ("The cup did not fit into the box because the _ was too small.", "cup", "box", "2"),
        ("Ann gave Eve her coat because _ was cold.", "Ann", "Eve", "2"),
    ]
    return [
        {"sentence": sentence, "option1": one, "option2": two, "answer": answer}
        for sentence, one, two, answer in sentences
    ]
