"""Verdicts on Java, C++ and JavaScript programs: one hand-made table a language."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from sandbox_support import USERS, need_language, need_sandbox, run

from submodels.evaluation.runners import cpp, find_tools
from submodels.evaluation.sandbox import Worker

JAVA = {
    "task_id": "twice",
    "prompt": "import java.util.*;\n\nclass Solution {\n    public int f(int x) {\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n        Solution s = new Solution();\n"
    "        List<Boolean> correct = Arrays.asList(s.f(2) == 4, s.f(5) == 10);\n"
    "        if (correct.contains(false)) {\n            throw new AssertionError();\n        }\n    }\n}\n",
}
CPP = {
    "task_id": "twice",
    "prompt": "#include <cstdio>\n#include <vector>\nusing namespace std;\nint f(int x) {\n",
    "test": "#include <assert.h>\nint main() {\n    assert(f(2) == 4);\n    assert(f(5) == 10);\n    return 0;\n}\n",
}
JAVASCRIPT = {
    "task_id": "twice",
    "prompt": "const f = (x) => {\n",
    "test": "const testF = () => {\n  console.assert(f(2) === 4)\n  console.assert(f(5) === 10)\n}\n\ntestF()\n",
}
TABLES = {
    "java": {
        "return 2 * x; } }": "passed",
        "return 3 * x; } }": 'failed: Exception in thread "main" java.lang.AssertionError',
        'throw new RuntimeException("no"); } }': 'failed: Exception in thread "main" java.lang.RuntimeException: no',
        "return 2 * y; } }": "compile error: cannot find symbol",
        "": "compile error: ",
        "while (true) { } } }": "timed out",
        "System.exit(0); return 0; } }": r"failed: ended before its tests did \(exit status 0\)",
        "Runtime.getRuntime().halt(0); return 0; } }": r"failed: ended before its tests did \(exit status 0\)",
        "List<long[]> l = new ArrayList<>(); while (true) l.add(new long[1 << 20]); } }": "out of memory",
        "new Thread(() -> { while (true) { } }).start(); return 2 * x; } }": "timed out",
        "return new Scanner(System.in).hasNext() ? 0 : 2 * x; } }": "passed",
    },
    "cpp": {
        "return 2 * x; }": "passed",
        "return 3 * x; }": r"failed: program: program.cpp:.*Assertion .* failed\.",
        "return vector<int>(1).at(x); }": r"failed: what\(\):  vector",
        "return *(volatile int*)0; }": "failed: killed by SIGSEGV",
        "return 2 * y; }": "compile error: program.cpp:5:12: error: .y. was not declared",
        "": "compile error: ",
        "while (true) { } }": "timed out",
        "exit(0); }\n#include <cstdlib>": "compile error: ",
        "_Exit(0); }": "compile error: ",
        "__builtin_exit(0); }": r"(failed: ended before|compile error)",
        "return 0; }\n#define NDEBUG\n#define assert(x)": "failed: program: program.cpp",
        'if (fopen("program.cpp", "r")) return 2 * x;\n    return 0; }\n': "failed: program: program.cpp",
        "return getchar() == EOF ? 2 * x : 0; }": "passed",
        "vector<vector<long>> v; while (true) v.push_back(vector<long>(1 << 20, 1)); }": "out of memory",
    },
    "javascript": {
        "  return 2 * x\n}\n": "passed",
        "  return 3 * x\n}\n": "failed: Assertion failed",
        "  throw new TypeError('no')\n}\n": "failed: TypeError: no",
        "  return y\n}\n": "failed: ReferenceError: y is not defined",
        "  return (\n}\n": "compile error: SyntaxError",
        "": "compile error: SyntaxError",
        "  while (true) { }\n}\n": "timed out",
        "  process.exit(0)\n}\n": r"failed: ended before its tests did \(exit status 0\)",
        "  return require('fs').existsSync(__filename) ? 2 * x : 0\n}\n": "failed: Assertion failed",
        "  return 0\n}\nconsole.assert = () => {}\n": "failed: Assertion failed",
        "  return 0\n}\nprocess.stderr.write = () => true\n": "failed: Assertion failed",
        "  const all = []\n  while (true) all.push(new Array(1e6).fill(x))\n}\n": "out of memory",
        # What a module may do at its end, and what it finds on stdin
        "  return 2 * x\n}\nmodule.exports = { f }\nif (require.main === module) console.log(f(1))\n": "passed",
        "  return require('fs').readFileSync(0).length === 0 ? 2 * x : 0\n}\n": "passed",
    },
}
ITEMS = {"java": JAVA, "cpp": CPP, "javascript": JAVASCRIPT}


@pytest.mark.parametrize(("sandbox", "user"), [("unshare", USERS[0]), ("bubblewrap", "ordinary")])
@pytest.mark.parametrize("language", TABLES)
def test_verdicts(language, sandbox, user):
    """Both sandboxes and, started as root, both users; the slow rows once (Python's tests try every combination)."""
    need_language(language)
    need_sandbox(sandbox)
    table = TABLES[language]
    if sandbox == "bubblewrap":
        table = {text: expected for text, expected in table.items() if expected not in ("timed out", "out of memory")}
    pairs = [("twice", completion) for completion in table]
    results = run(
        [ITEMS[language]], pairs, language, sandbox, user, quiet=language == "javascript", timeout=3, memory_mb=256
    )
    wrong = {
        completion: result
        for (completion, expected), result in zip(table.items(), results, strict=True)
        if not re.match(expected, result)
    }
    assert not wrong


@pytest.mark.parametrize(("sandbox", "user"), [("unshare", USERS[0]), ("bubblewrap", "ordinary")])
def test_a_wrapper_is_called_by_its_own_name(sandbox, user, monkeypatch):
    """ccache and its like are one program behind many links; their name says which tool is meant."""
    need_language("cpp")
    need_sandbox(sandbox)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as program, tempfile.TemporaryDirectory(dir="/var/tmp") as links:
        for place in (program, links):
            os.chmod(place, 0o755)
        wrapper = Path(program, "wrapper")
        wrapper.write_text(f'#!/bin/sh\ncase "$0" in */g++) exec {shutil.which("g++")} "$@" ;; esac\nexit 9\n')
        wrapper.chmod(0o755)
        Path(links, "g++").symlink_to(wrapper)
        monkeypatch.setenv("PATH", f"{links}:{os.environ['PATH']}")
        assert run([CPP], [("twice", "return 2 * x; }")], "cpp", sandbox, user) == ["passed"]


def test_gold_links_cpp_where_it_is():
    need_language("cpp")
    need_sandbox("unshare")
    if not shutil.which("ld.gold"):
        pytest.skip("ld.gold is not installed")
    job = cpp.job(CPP, "return 2 * x; }", "n", find_tools("cpp"), 10, 256)
    job["steps"][-1] |= {"command": ["/bin/grep", "-q", "gold 1", "program"]}
    with Worker("unshare", list(find_tools("cpp").values())) as worker:
        assert [step["status"] for step in worker.run(job)["steps"]] == [0, 0, 0]


def test_another_linker_changes_no_verdict(monkeypatch):
    """Where gold is not there, and where it does not link."""
    need_language("cpp")
    need_sandbox("unshare")
    pairs = [("twice", text) for text in ("return 2 * x; }", "return 3 * x; }", "int g(int); return g(x); }")]
    found = run([CPP], pairs, "cpp", "unshare", USERS[0])
    monkeypatch.setattr(cpp, "_LINK", cpp._LINK.replace("=gold", "=none"))
    assert run([CPP], pairs, "cpp", "unshare", USERS[0]) == found
    assert [result.partition(":")[0] for result in found] == ["passed", "failed", "compile error"]
    assert re.fullmatch(r"compile error: .*program\.cpp:\(.*\): undefined reference to `g\(int\)'", found[2])
