"""GSM8K (Cobbe et al. 2021), openai/gsm8k, asked after the eight worked examples of Wei et al. 2022 (arXiv 2201.11903).

The examples are read from the task file `gsm8k-cot.yaml` of the installed lm-eval.
"""

import random
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from submodels import files
from submodels.benchmarks.adapters.rows import each
from submodels.errors import SubmodelsError

_EXAMPLES = 8
_PAPER_SEED = 42


@cache
def examples() -> list[dict[str, str]]:
    """The worked examples in their published order, each a `question` and a `target`: the reasoning and the answer."""
    path = Path(find_spec("lm_eval").origin).with_name("tasks") / "gsm8k/gsm8k-cot.yaml"  # the import takes seconds
    samples = files.read_yaml(path)["fewshot_config"]["samples"] if path.is_file() else []
    if len(samples) != _EXAMPLES:
        raise SubmodelsError(
            f"{path}: needs the {_EXAMPLES} worked examples of GSM8K, found {len(samples)}; install the version of "
            "lm-eval in envs/requirements.lock"
        )
    return samples


def _item(row: dict, shown: Sequence[dict[str, str]]) -> dict:
    turns = [f"Q: {example['question']}\nA: {example['target']}" for example in shown]
    prompt = "\n\n".join([*turns, f"Q: {row['question']}\nA:"])
    return {"question": row["question"], "answer": row["answer"], "prompt": prompt}


def items(rows) -> list[dict]:
    """The examples in their published order."""
    return each(rows, lambda row: _item(row, examples()))


def paper_items(rows) -> list[dict]:
    """The examples in another order for every question: a single generator shuffles them before each question."""
    generator = random.Random(_PAPER_SEED)

    def item(row: dict) -> dict:
        order = list(range(_EXAMPLES))
        generator.shuffle(order)
        return _item(row, [examples()[i] for i in order])

    return each(rows, item)


def fixture() -> list[dict]:
    rows = []
    for n, name in enumerate(["Ada", "Ben", "Cleo", "Dan"]):
        have, more = 12 + 7 * n, 1000 * n + 5
        rows.append(
            {
                "question": f"{name} has {have} stamps and buys {more} more. How many stamps does {name} have now?",
                "answer": f"{name} has {have} + {more} = <<{have}+{more}={have + more}>>{have + more} stamps.\n"
                f"#### {have + more:,}",
            }
        )
    return rows
