"""Libraries that a benchmark's prompts and tests load and programs do not see: the benchmark is not run as a whole."""

import pytest
from sandbox_support import need_language, need_sandbox

from submodels import files
from submodels.evaluation.execute import execute
from submodels.evaluation.runners import LANGUAGES
from submodels.verdict import Verdict

PYTHON = {"prompt": "def f(x):\n", "test": "def check(candidate):\n    assert candidate(2) == 4\n", "entry_point": "f"}
JAVA = {
    "prompt": "class Solution {\n    int f(int x) {\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n"
    "        if (new Solution().f(2) != 4) throw new AssertionError();\n    }\n}\n",
}
CPP = {"prompt": "int f(int x) {\n", "test": "#include <assert.h>\nint main() {\n    assert(f(2) == 4);\n}\n"}
JAVASCRIPT = {
    "prompt": "const f = (x) => {\n",
    "test": "const assert = require('assert')\nassert.equal(f(2), 4)\n",
}
ITEMS = {"python": PYTHON, "java": JAVA, "cpp": CPP, "javascript": JAVASCRIPT}
RIGHT = {
    "python": "    return 2 * x\n",
    "java": "return 2 * x; } }",
    "cpp": "return 2 * x; }",
    "javascript": "  return 2 * x\n}\n",
}
LOADS = {  # a line that loads what no machine has, and its name in the reason
    "python": ("import no_such\n", "no_such"),
    "java": ("import org.nosuch.Thing;\n", "org.nosuch.Thing"),
    "cpp": ("#include <nosuch/thing.hpp>\n", "nosuch/thing.hpp"),
    "javascript": ("const thing = require('no-such')\n", "no-such"),
}


def results(tmp_path, language: str, items: list[dict], completions: list[str] | None = None) -> list[str]:
    """Results of one sample an item: its right solution if no other is given."""
    need_language(language)
    need_sandbox("unshare")
    items = [{"task_id": str(number)} | item for number, item in enumerate(items)]
    completions = completions or [RIGHT[language]] * len(items)
    rows = [{"task_id": item["task_id"], "completion": text} for item, text in zip(items, completions, strict=True)]
    files.write_jsonl(tmp_path / "items.jsonl", items)
    files.write_jsonl(tmp_path / "samples.jsonl", rows)
    execute(tmp_path / "items.jsonl", language, tmp_path / "samples.jsonl", tmp_path / "out.jsonl", sandbox="unshare")
    lines = files.read_jsonl(tmp_path / "out.jsonl")
    assert [line["passed"] for line in lines] == [
        None if line["result"].startswith("not run") else line["result"] == "passed" for line in lines
    ]
    return [line["result"] for line in lines]


@pytest.mark.parametrize("language", ITEMS)
@pytest.mark.parametrize("place", ["prompt", "test"])
def test_a_benchmark_that_needs_it_is_not_run_as_a_whole(language, place, tmp_path):
    item, (line, name) = ITEMS[language], LOADS[language]
    needs = item | {place: line + item[place]}
    said = results(tmp_path, language, [item, needs, item])
    assert said == [said[0]] * 3
    begin = f"not run: needs {name} (prompt or tests of 1 of 3 items). Programs see "
    assert said[0].startswith(begin)
    assert said[0].endswith(", or leave the benchmark out")
    assert not (tmp_path / "out.partial.jsonl").exists()
    # What is known to be faulty stays in: no model can pass it.
    said = results(tmp_path, language, [item, needs | {"faulty": "needs it"}])
    assert said[0] == "passed"
    assert Verdict.parse(said[1]).status in ("failed", "compile error")


def test_a_completion_that_needs_it_failed(tmp_path):
    said = results(tmp_path, "python", [PYTHON] * 2, [RIGHT["python"], "    import no_such\n    return 2 * x\n"])
    assert said == ["passed", "failed: ModuleNotFoundError: No module named 'no_such'"]
    needs = "  return require('no-such')(x)\n}\n"
    said = results(tmp_path, "javascript", [JAVASCRIPT] * 2, [RIGHT["javascript"], needs])
    assert (said[0], said[1].startswith("failed: Error: Cannot find module 'no-such'")) == ("passed", True)


def test_only_items_that_are_asked_count(tmp_path):
    need_sandbox("unshare")
    files.write_jsonl(
        tmp_path / "items.jsonl",
        [PYTHON | {"task_id": "a"}, PYTHON | {"task_id": "b", "test": "import no_such\n" + PYTHON["test"]}],
    )
    files.write_jsonl(tmp_path / "s.jsonl", [{"task_id": "a", "completion": RIGHT["python"]}])
    assert execute(tmp_path / "items.jsonl", "python", tmp_path / "s.jsonl", tmp_path / "out.jsonl") == {"passed": 1}


def test_a_module_of_the_standard_library_that_cannot_be_loaded(tmp_path, monkeypatch):
    """Names prove nothing, so the sandbox is asked: here for a module that finds its own import missing."""
    said = results(tmp_path, "python", [PYTHON | {"test": "import msilib, os.path\n" + PYTHON["test"]}])
    assert said[0].startswith("not run: needs msilib (prompt or tests of 1 of 1 items)")  # Windows alone has all of it


PYTHON_IMPORTS = {
    "import numpy as np, os.path\n": ["numpy", "os.path"],
    "from scipy import stats\nfrom . import near\n": ["scipy"],
    "def check(f):\n    import numpy\n": ["numpy"],
    "class A:\n    def f(self):\n        for x in []:\n            import a.b\n": ["a.b"],
    "try:\n    import numpy\nexcept ImportError:\n    numpy = None\n": [],
    "try:\n    import numpy\nexcept:\n    import other\n": [],
    "try:\n    import numpy\nexcept (ModuleNotFoundError, KeyError):\n    pass\n": [],
    "try:\n    import numpy\nfinally:\n    pass\n": ["numpy"],
    "from contextlib import suppress\nwith suppress(ImportError):\n    import numpy\n": ["contextlib"],
    "if TYPE_CHECKING:\n    import numpy\n": [],
    "import sys\nif sys.version_info < (3, 9):\n    import numpy\n": ["sys"],
    "if x:\n    pass\nelse:\n    import numpy\n": ["numpy"],
    "match x:\n    case 1:\n        import numpy\n": ["numpy"],
    "'''\nimport numpy\n'''\n# import scipy\n": [],
    "from typing import List\n\n\ndef f(x: List):\n": ["typing"],  # a prompt that ends with its def
    "import numpy\n\n\ndef f(x):\n    return (\n": ["numpy"],
}


def test_what_python_texts_import():
    libraries = LANGUAGES["python"].libraries
    for text, names in PYTHON_IMPORTS.items():
        assert list(libraries({"prompt": text, "test": ""})) == [f"import {name}" for name in names], text
        assert list(libraries({"prompt": "", "test": text})) == [f"import {name}" for name in names], text


def test_what_the_other_languages_load():
    texts = {
        "java": "import java.util.*;\nimport org.javatuples.*;\n/*\nimport n.A;\n*/\nimport static a.B.*;\nimport c.D;",
        "cpp": "#include<vector>\n# include <math.h>\n#include <bits/stdc++.h>\n/*\n#include <a.h>\n*/\n#include <b/c>",
        "javascript": "const a = require('fs'), b = require( \"c-d\" ) // require('e')\nrequire('node:os'); require(f)",
    }
    found = {name: LANGUAGES[name].libraries({"prompt": text, "test": ""}) for name, text in texts.items()}
    names = {name: list(libraries.values()) for name, libraries in found.items()}
    assert names == {"java": ["a.B", "c.D"], "cpp": ["math.h", "b/c"], "javascript": ["fs", "c-d"]}
