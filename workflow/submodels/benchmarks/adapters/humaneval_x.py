"""HumanEval-X (Zheng et al. 2023, arXiv 2303.17568), THUDM/humaneval-x: HumanEval written by hand in four languages.

A program is prompt + completion + test. A completion in Java, C++ or JavaScript ends where the braces that its prompt
opened are closed.
"""

import re
from collections.abc import Callable
from functools import partial

from submodels.benchmarks.adapters.rows import each

LANGUAGE_OF = {"Python": "python", "Java": "java", "CPP": "cpp", "JavaScript": "javascript"}  # by the head of a task_id

# Items whose canonical solution does not pass here. They are kept: no model can pass them, which lowers all scores.
FAULTY = {
    "CPP/22": "its solution includes boost",
    "CPP/137": "its solution includes boost",
    "CPP/162": "its solution needs libcrypto, which is not linked",
    "JavaScript/112": "its solution does not pass its own tests",
    "JavaScript/155": "its solution does not pass its own tests",
    "JavaScript/162": "its solution requires the npm package js-md5",
}
# HumanEval-X runs C++ programs with these where the prompt lacks them.
CPP_HEADERS = (
    *("#include<stdlib.h>", "#include<algorithm>", "#include<math.h>", "#include<stdio.h>", "#include<vector>"),
    *("#include<string>", "#include<climits>", "#include<cstring>", "#include<iostream>", "#include<cassert>"),
)
_CHECK = re.compile(r"\n\s*check\((\w+)\)\s*$")


def items(rows, language: str) -> list[dict]:
    """Items of one language; rows of other languages are skipped, and `each` names rows whose id is missing."""
    rows = [row for row in rows if row.get("task_id") is None or language_of(row) == language]
    return each(rows, lambda row: program(row, row["prompt"]) | {"prompt": row["prompt"]})


def language_of(row: dict) -> str | None:
    return LANGUAGE_OF.get(str(row.get("task_id")).partition("/")[0])


def program(row: dict, start: str) -> dict:
    """The fields of an item that make its program, which begins with `start` (prompt or declaration) of its row."""
    item = {"task_id": row["task_id"], "canonical_solution": row["canonical_solution"], "test": row["test"]}
    item |= ENDS[language_of(row)](row, start)
    return item | ({"faulty": FAULTY[row["task_id"]]} if row["task_id"] in FAULTY else {})


def missing_headers(start: str) -> str:
    return "".join(f"{header}\n" for header in CPP_HEADERS if header not in start)


def _python(row: dict, start: str) -> dict:
    """The tests' last line calls `check` with the function's name, for which HumanEval has a separate field."""
    call = _CHECK.search(row["test"])
    if call is None:
        raise ValueError("`test` does not end with `check(<function>)`")
    return {"program_start": start, "test": row["test"][: call.start()] + "\n", "entry_point": call.group(1)}


def _braces(row: dict, start: str) -> dict:
    return {"program_start": start, "extraction": "closing_brace"}


def _cpp(row: dict, start: str) -> dict:
    return _braces(row, missing_headers(start) + start)


ENDS: dict[str, Callable[[dict, str], dict]] = {"python": _python, "java": _braces, "cpp": _cpp, "javascript": _braces}

_FIXTURE = {
    "Python": {
        "declaration": "def twice(x: int) -> int:\n",
        "prompt": 'def twice(x: int) -> int:\n    """ Two times x.\n    >>> twice(2)\n    4\n    """\n',
        "canonical_solution": "    return 2 * x\n",
        "test": "\n\ndef check(twice):\n    assert twice(2) == 4\n    assert twice(5) == 10\n\ncheck(twice)\n",
        "example_test": "def check(twice):\n    assert twice(2) == 4\ncheck(twice)\n",
    },
    "Java": {
        "declaration": "class Solution {\n    public int twice(int x) {\n",
        "prompt": "class Solution {\n    /**\n    Two times x.\n     */\n    public int twice(int x) {\n",
        "canonical_solution": "        return 2 * x;\n    }\n}",
        "test": "public class Main {\n    public static void main(String[] args) {\n"
        "        Solution s = new Solution();\n        if (s.twice(2) != 4 || s.twice(5) != 10) {\n"
        "            throw new AssertionError();\n        }\n    }\n}\n",
        "example_test": "",
    },
    "CPP": {
        "declaration": "#include<stdio.h>\nusing namespace std;\nint twice(int x){\n",
        "prompt": "/*\nTwo times x.\n*/\n#include<stdio.h>\nusing namespace std;\nint twice(int x){\n",
        "canonical_solution": "    return 2 * x;\n}\n",
        "test": "#undef NDEBUG\n#include<assert.h>\nint main(){\n    assert (twice(2) == 4);\n"
        "    assert (twice(5) == 10);\n}\n",
        "example_test": "",
    },
    "JavaScript": {
        "declaration": "\nconst twice = (x) => {\n",
        "prompt": "/* Two times x.\n  */\nconst twice = (x) => {\n",
        "canonical_solution": "  return 2 * x;\n}\n",
        "test": "const testTwice = () => {\n  console.assert(twice(2) === 4)\n  console.assert(twice(5) === 10)\n}\n\n"
        "testTwice()\n",
        "example_test": "",
    },
}


def fixture(*languages: str) -> list[dict]:
    """A row in the data set's schema for each of the languages."""
    return [{"task_id": f"{head}/0"} | row for head, row in _FIXTURE.items() if LANGUAGE_OF[head] in languages]


ADAPTERS = {f"humaneval_x_{language}": partial(items, language=language) for language in ENDS}
FIXTURES = {f"humaneval_x_{language}": partial(fixture, language) for language in ENDS}
