"""MultiPL-E (Cassano et al. 2023, arXiv 2208.08227), nuprl/MultiPL-E: HumanEval translated by program.

A program is prompt + completion + "\\n" + tests. The completion stops before the first of the row's stop strings;
in Java and C++ the tests close the function. The data set has no solutions. It comes in four variants of one schema;
the variant read here has its doctests translated (`transform`) and words of Python replaced (`reworded`).
"""

from functools import partial

from submodels.benchmarks.adapters.humaneval_x import missing_headers
from submodels.benchmarks.adapters.rows import each

_VARIANT = {"doctests": "transform", "prompt_terminology": "reworded"}


def items(rows) -> list[dict]:
    return each(rows, _item)


def _item(row: dict) -> dict:
    for key, wanted in _VARIANT.items():
        if row[key] != wanted:
            raise ValueError(f"`{key}` is {row[key]!r}, a row of another variant; give the rows with {wanted!r}")
    return {
        "task_id": row["name"],
        "prompt": row["prompt"],
        "test": row["tests"],
        "extraction": "before_stop",
        "stop": list(row["stop_tokens"]),
    }


def paper_items(rows) -> list[dict]:
    """As the code of arXiv 2501.05248 ran them: the model reads the prompt stripped, the program has it whole and a
    line end after it; C++ gets the headers of HumanEval-X."""
    return each(rows, _paper_item)


def _paper_item(row: dict) -> dict:
    headers = missing_headers(row["prompt"]) if row["language"] == "cpp" else ""
    start = f"{headers}{row['prompt']}\n"
    return _item(row) | {"prompt": row["prompt"].strip(), "program_start": start, "timeout": PAPER_TIMEOUT}


PAPER_TIMEOUT = 90  # seconds for one sample

_IMPORTS = "import java.util.*;\nimport org.javatuples.*;\n"
_FIXTURE = {
    "java": {
        "prompt": f"{_IMPORTS}class Problem {{\n    // Two times x.\n    public static long twice(long x) {{\n",
        "tests": "    }\n    public static void main(String[] args) {\n    assert(twice((2l)) == (4l));\n"
        "    assert(twice((5l)) == (10l));\n    }\n\n}\n",
        "stop_tokens": ["\n    }\n"],
    },
    "cpp": {
        "prompt": "#include<assert.h>\n#include<bits/stdc++.h>\n// Two times x.\nlong twice(long x) {\n",
        "tests": "}\nint main() {\n    auto candidate = twice;\n    assert(candidate((2)) == (4));\n"
        "    assert(candidate((5)) == (10));\n}\n",
        "stop_tokens": ["\n}"],
    },
    "js": {
        "prompt": "//Two times x.\nfunction twice(x){\n",
        "tests": "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = twice;\n"
        "  assert.deepEqual(candidate(2),4);\n  assert.deepEqual(candidate(5),10);\n}\n\ntest();",
        "stop_tokens": ["\nfunction ", "\n/*", "\n//", "\nconsole.log"],
    },
}


def fixture(language: str) -> list[dict]:
    """One row in the data set's schema; `language`: java, cpp or js."""
    about = {"name": "HumanEval_0_twice", "language": language, "original": "fixture"}
    return [about | _VARIANT | _FIXTURE[language]]


_NAMES = {"java": "java", "cpp": "cpp", "javascript": "js"}  # the data set's names of our languages
ADAPTERS = {f"multipl_e_{language}": items for language in _NAMES}
ADAPTERS |= {f"multipl_e_{language}_paper": paper_items for language in _NAMES}
FIXTURES = {f"multipl_e_{language}": partial(fixture, name) for language, name in _NAMES.items()}
FIXTURES |= {f"{adapter}_paper": rows for adapter, rows in FIXTURES.items()}
