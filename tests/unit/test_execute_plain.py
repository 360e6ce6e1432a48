# ruff: noqa: E501 - programs are easier to read on one line
"""The verdict is that of the plain program, prompt + completion + tests, run by hand: names and what goes to stderr."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from sandbox_support import USERS, need_language, need_sandbox, run

NODE_ASSERT = "const assert = require('node:assert');\n\nfunction test() {\n  let candidate = twice;\n  assert.deepEqual(candidate(2),4);\n}\n\ntest();"
CONSOLE = "const testTwice = () => {\n  console.assert(twice(2) === 4)\n}\n\ntestTwice()\n"
JAVA_MAIN = "public class Main {\n    public static void main(String[] args) {\n        Solution s = new Solution();\n        if (s.twice(2) != 4) {\n            throw new AssertionError();\n        }\n    }\n}\n"
JAVA_INSIDE = "    }\n    public static void main(String[] args) {\n    assert(twice((2l)) == (4l));\n    }\n\n}\n"
CPP = "int main() {\n    auto candidate = twice;\n    assert(candidate((2)) == (4));\n}\n"


def check(function: str, *asserts: str) -> dict:
    return {
        "test": "def check(candidate):\n" + "".join(f"    assert {text}\n" for text in asserts),
        "entry_point": function,
    }


# Language -> item -> completion -> whether it passes.
TABLES = {
    "python": [
        ({"prompt": "def abs(x):\n", **check("abs", "candidate(-3) == 3")}, {
            "    return x if x >= 0 else -x\n": True,
            "    return 42\n": False,
        }),
        ({"prompt": "def sum(n):\n", **check("sum", "candidate(3) == 6")}, {
            "    return n * (n + 1) // 2\n": True,
            "    return n if n < 2 else n + sum(n - 1)\n": True,
            "    return __builtins__.sum([n])\n": False,
        }),
        ({"prompt": "", "test": "assert sorted([2, 1]) == 'mine'\nassert sorted([]) == 'mine'\n"}, {
            "def sorted(xs):\n    return 'mine'\n": True,
            "class sorted(str):\n    def __new__(cls, xs):\n        return 'mine'\n": True,
            "sorted = lambda xs: 'mine'\n": True,
            "from builtins import sorted\n": False,
            "": False,
        }),
        ({"prompt": "def twice(x):\n", **check("twice", "len([candidate(2)]) == 1", "abs(candidate(2) - 4) < 1e-6", "set([candidate(2)]) == {4}")}, {
            "    return 2 * x\n": True,
            "    return 3 * x\n": False,
            # Helpers with names of builtins, of the tests' own and of what a harness may use
            "    return 2 * x\n\n\ndef len(x):\n    return 7\n": False,
            "    return 2 * x\n\n\ndef len(x):\n    return 1\n": True,
            "    return 2 * x\n\n\ndef set(xs):\n    return {*xs}\n": True,
            "    return 2 * x\n\n\nfrom math import *\nfrom os import *\n": True,
            "    return 2 * x\n\n\ndef check(candidate):\n    raise ValueError\n": True,
            "    return 3 * x\n\n\ndef check(candidate):\n    pass\n": False,
            "    return 2 * x\n\n\ncandidate = print = exit = json = sys = open = os = random = exec = compile = 7\n": True,
            "    return 2 * x\n\n\n__name__ = __doc__ = __file__ = __spec__ = __loader__ = None\n": True,
            "    return 2 * x\n\n\nException = BaseException = AssertionError = str = isinstance = None\n": True,
            # What a main block of the completion does counts as well
            "    return 2 * x\n\n\nif __name__ == '__main__':\n    print(twice(1))\n": True,
            "    return 2 * x\n\n\nif __name__ == '__main__':\n    raise SystemExit('usage')\n": False,
            "    return 2 * x\n\n\nif __name__ != '__main__':\n    raise ImportError\n": True,
            # Modules by their name
            "    import __main__\n    return __main__.double(x)\n\n\ndef double(x):\n    return 2 * x\n": True,
            "    import pickle\n    return pickle.loads(pickle.dumps(Box(2 * x))).x\n\n\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Box:\n    x: int\n": True,
            # stderr, warnings, threads
            "    import sys, warnings\n    print('x', file=sys.stderr)\n    warnings.warn('old')\n    return 2 * x\n": True,
            "    import sys\n    sys.stdout = sys.stderr = None\n    return 2 * x\n": True,
        }),
        # The tests' imports are there when the solution runs.
        ({"prompt": "def root(x):\n", "test": "import math\n\n\ndef check(candidate):\n    assert candidate(4) == 2\n", "entry_point": "root"}, {
            "    return math.sqrt(x)\n": True,
            "    return maths.sqrt(x)\n": False,
        }),
    ],
    "java": [
        ({"prompt": "import java.util.*;\nclass Solution {\n    public int twice(int x) {\n", "test": JAVA_MAIN}, {
            "return 2 * x; } }": True,
            "return 3 * x; } }": False,
            "return 2 * x; } }\nclass System { }\nclass Nonce { }\nclass String2 { }": True,
            "return 2 * x; } }\nclass Main { }": False,
            "return 2 * x; } }\nclass Solution { }": False,
            "return 2 * x; } }\nclass Test { }\nclass Launcher { }\nclass Pair { }": True,
            "return 2 * x; } static class Main { } }": True,
            "return 2 * x; } static class Object { } static int out = 3; }": True,
            'System.err.println("java.lang.OutOfMemoryError: not really"); return 2 * x; } }': True,
            'System.out.print("no line end"); return 2 * x; } }': True,
            "assert x < 0; return 2 * x; } }": True,  # HumanEval-X runs java without -ea
            'new Thread(() -> { try { Thread.sleep(300); } catch (Exception e) { } System.out.println("late"); }).start(); return 2 * x; } }': True,
            'Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("end"))); return 2 * x; } }': True,
        }),
        ({"prompt": "import java.util.*;\nclass Problem {\n    public static long twice(long x) {\n", "test": JAVA_INSIDE, "flags": ["-ea"]}, {
            "        return 2 * x;\n": True,
            "        return 3 * x;\n": False,
            '        System.err.println("x"); return 2 * x;\n': True,
            "        assert x < 0; return 2 * x;\n": False,
            "        return 2 * x;\n    }\n    static class Pair { }\n    static class Main { }\n    static void g() {\n": True,
            "        return 2 * x;\n    }\n    static class Problem { }\n    static void g() {\n": False,
        }),
    ],
    "cpp": [
        ({"prompt": "#include <assert.h>\n#include <string>\nlong twice(long x) {\n", "test": CPP}, {
            "    return 2 * x;\n}\n": True,
            "    return 3 * x;\n}\n": False,
            "    return 2 * x;\n}\nint main() { return 0; }\n": False,
            "    return 2 * x;\n}\nusing namespace std;\nint count, puts, nonce, read;\n": False,  # puts of <string>'s <cstdio>
            "    return 2 * x;\n}\nusing namespace std;\nint count, nonce, move, size;\n": True,
            "    return 2 * x;\n}\nnamespace test { int main() { return 0; } }\n#define candidate other\n": True,
            "    return 2 * x;\n}\nstruct Test { };\nclass Solution { };\n": True,
        }),
        # Without a header that declares them these names are free.
        ({"prompt": "#include <assert.h>\nlong twice(long x) {\n", "test": CPP}, {
            "    return 2 * x;\n}\nint puts, remove, rename, getline;\n": True,
            '    return 2 * x;\n}\nnamespace std { int puts; }\n#define puts(x) ;\n': True,
            "    return 2 * x;\n}\nstatic double printf(int x) { return x; }\n": True,
        }),
        ({"prompt": "#include <assert.h>\n#include <iostream>\n#include <thread>\nlong twice(long x) {\n", "test": CPP}, {
            '    std::cerr << "std::bad_alloc, or not";\n    return 2 * x;\n}\n': True,
            '    std::cout << "no line end";\n    std::clog << "x";\n    return 2 * x;\n}\n': True,
            '    return 2 * x;\n}\nstruct Late { ~Late() { std::cout << "late" << std::endl; } } late;\n': True,
            "    return 2 * x;\n}\nstruct Late { ~Late() { abort(); } } late;\n": False,
        }),
    ],
    "javascript": [
        ({"prompt": "function twice(x){\n", "test": NODE_ASSERT}, {
            "  return 2*x\n}\n": True,
            "  return 3*x\n}\n": False,
            # stderr
            "  console.error('x =', x)\n  return 2*x\n}\n": True,
            "  console.warn('x')\n  console.trace('here')\n  return 2*x\n}\n": True,
            "  new Buffer('a')\n  require('punycode')\n  return 2*x\n}\n": True,
            "  process.emitWarning('old', 'DeprecationWarning')\n  return 2*x\n}\n": True,
            "  console.assert(x < 0, 'debug')\n  return 2*x\n}\n": True,
            "  console.error('JavaScript heap out of memory')\n  return 2*x\n}\n": True,
            # After the tests
            "  setTimeout(() => console.log('late'), 20)\n  return 2*x\n}\n": True,
            "  setTimeout(() => { throw new Error('late') }, 20)\n  return 2*x\n}\n": False,
            "  Promise.reject(new Error('no'))\n  return 2*x\n}\n": False,
            "  Promise.reject(new Error('no')).catch(() => {})\n  return 2*x\n}\n": True,
            "  process.exitCode = 3\n  return 2*x\n}\n": False,
            "  process.stdout.write('no line end')\n  return 2*x\n}\n": True,
            # Names
            "  return 2*x\n}\nconst assert = require('assert')\n": False,
            "  return 2*x\n}\nfunction assert() { }\n": False,
            "  const assert = require('assert')\n  assert(x)\n  return 2*x\n}\n": True,
            "  return 2*x\n}\nconst require = 1\n": False,
            "  return 2*x\n}\nconst module = 1\n": False,
            "  return 2*x\n}\nlet exports = 1\n": False,
            "  return 2*x\n}\nvar exports = module.exports = { twice }\n": True,
            "  return 2*x\n}\nconst console = require('console')\nconst Math = {}, JSON = {}\n": True,
            "  return 2*x\n}\nconst process = require('process'), nonce = 1, solution = 1, Script = 1, writeSync = 1, candidate = 1\n": True,
            "  return 2*x\n}\nconst test = 1\n": False,
            "  return 2*x\n}\nfunction test() { throw new Error('mine') }\n": True,
            "  return 2*x\n}\nclass Map { }\nfunction isNaN() { }\nclass Array2 extends Array { }\n": True,
        }),
        ({"prompt": "const twice = (x) => {\n", "test": CONSOLE, "quiet": True}, {
            "  return 2*x\n}\n": True,
            "  return 3*x\n}\n": False,
            "  console.log('x')\n  return 2*x\n}\n": True,
            "  console.error('x')\n  return 2*x\n}\n": False,  # the benchmark's own rule
            "  new Buffer('a')\n  return 2*x\n}\n": False,
            "  setTimeout(() => console.assert(false), 20)\n  return 2*x\n}\n": False,
            "  return 2*x\n}\nconst assert = require('assert')\nassert(true)\n": True,
        }),
    ],
}  # fmt: skip
CASES = [(language, number) for language, table in TABLES.items() for number in range(len(table))]


def by_hand(language: str, item: dict, completion: str) -> bool:
    """Whether the plain program passes; with `quiet` that is an empty stderr as well."""
    call = f"check({item['entry_point']})\n" if "entry_point" in item else ""
    with tempfile.TemporaryDirectory() as place:
        main = "Main" if "class Main" in item["test"] else "Problem"
        name, *commands = {
            "python": ("program.py", ["python3", "program.py"]),
            "javascript": ("program.js", ["node", "program.js"]),
            "java": (f"{main}.java", ["javac", f"{main}.java"], ["java", *item.get("flags", ()), main]),
            "cpp": ("program.cpp", ["g++", "-std=c++17", "-w", "-o", "program", "program.cpp"], ["./program"]),
        }[language]
        Path(place, name).write_text(f"{item['prompt']}{completion}\n{item['test']}\n{call}", encoding="utf-8")
        for command in commands:
            done = subprocess.run(command, cwd=place, capture_output=True, env=os.environ, timeout=60, check=False)
            if done.returncode != 0:
                return False
    return not (item.get("quiet") and done.stderr)


@pytest.mark.parametrize(("language", "number"), CASES)
def test_verdicts_are_those_of_the_plain_program(language, number):
    need_language(language)
    need_sandbox("unshare")
    given, table = TABLES[language][number]
    item = {"task_id": "one"} | given
    results = run(
        [item], [("one", text) for text in table], language, "unshare", USERS[0], quiet=item.get("quiet", False)
    )
    found = {
        text: (result == "passed", by_hand(language, item, text)) for text, result in zip(table, results, strict=True)
    }
    assert found == {text: (passes, passes) for text, passes in table.items()}


def test_ending_early_is_no_pass_though_the_plain_program_ends_well():
    need_language("javascript")
    need_sandbox("unshare")
    item = {"task_id": "one", "prompt": "function twice(x){\n", "test": NODE_ASSERT}
    early = [
        "  process.exit(0)\n}\n",
        "  return 0\n}\nprocess.exit(0)\n",
        "  return 0\n}\nprocess.on('uncaughtException', () => {})\n",
    ]
    results = run([item], [("one", text) for text in early], "javascript", "unshare", USERS[0])
    assert {result[:33] for result in results} == {"failed: ended before its tests di"}


def test_quiet_holds_in_every_language():
    need_sandbox("unshare")
    item = {"task_id": "one", "prompt": "import sys\n", "test": "assert True\n"}
    texts = ["", "print('x')\n", "print('Wrong: x', file=sys.stderr)\n"]
    results = run([item], [("one", text) for text in texts], "python", "unshare", USERS[0], quiet=True)
    assert results == ["passed", "passed", "failed: Wrong: x"]
