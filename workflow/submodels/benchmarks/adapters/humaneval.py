"""HumanEval (Chen et al. 2021, arXiv 2107.03374) as the code of arXiv 2501.05248 ran it.

The model reads the prompt stripped; the program has it whole, a line end after it and imports before it, so that a
solution may use a module its prompt does not import. The authors import numpy as well; the sandbox has none.
"""

from submodels.benchmarks.adapters.multipl_e import PAPER_TIMEOUT
from submodels.benchmarks.adapters.rows import each

STOP = ["\ndef", "\nclass", "\nif", "\n#", "\nprint"]
_MODULES = "math re sys copy datetime itertools collections heapq functools hashlib string"
_IMPORTS = "".join(f"import {name}\n" for name in _MODULES.split()) + (
    "from typing import *\nfrom collections import *\n"
)


def paper_items(rows) -> list[dict]:
    return each(rows, _paper_item)


def _paper_item(row: dict) -> dict:
    return {
        **{key: row[key] for key in ("task_id", "canonical_solution", "test", "entry_point")},
        "prompt": row["prompt"].strip(),
        "program_start": f"{_IMPORTS}{row['prompt']}\n",
        "extraction": "before_stop",
        "stop": STOP,
        "timeout": PAPER_TIMEOUT,
    }


def fixture() -> list[dict]:
    return [
        {
            "task_id": "HumanEval/0",
            "prompt": '\n\ndef twice(x: int) -> int:\n    """ Two times x.\n    >>> twice(2)\n    4\n    """\n',
            "entry_point": "twice",
            "canonical_solution": "    return 2 * x\n",
            "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(5) == 10\n",
        }
    ]
