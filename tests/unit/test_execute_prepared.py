"""What is made once on a machine: read-only in the sandbox, the same verdicts with and without it."""

import os

import pytest
from sandbox_support import need_language, need_sandbox

from submodels import files
from submodels.evaluation.execute import execute
from submodels.evaluation.prepared import prepared
from submodels.evaluation.runners import cpp, cpp_headers, find_tools, java
from submodels.evaluation.sandbox import Worker

BITS = "#include <bits/stdc++.h>\n"
CPP = {
    "task_id": "twice",
    "prompt": "int f(int x) {\n",
    "test": "int main() {\n    assert(f(2) == 4);\n    return 0;\n}\n",
}
JAVA = {
    "task_id": "twice",
    "prompt": "class Solution {\n    int f(int x) {\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n"
    "        if (new Solution().f(2) != 4) throw new AssertionError();\n    }\n}\n",
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "submodels"


def test_made_once_for_what_it_is_made_from(cache):
    made = []

    def make(place):
        made.append(place)
        (place / "sub").mkdir()
        (place / "sub" / "file").write_text(str(len(made)))
        (place / "sub").chmod(0o700)

    assert prepared("thing", ["a", 1], None) is None
    place = prepared("thing", ["a", 1], make)
    assert prepared("thing", ["a", 1], make) == prepared("thing", ["a", 1], None) == place
    assert (place / "sub" / "file").read_text() == "1"
    assert [oct(path.stat().st_mode & 0o777) for path in (place, place / "sub", place / "sub" / "file")] == [
        "0o755",
        "0o755",
        "0o644",
    ]
    assert (prepared("thing", ["a", 2], make) / "sub" / "file").read_text() == "2"
    assert len(list(cache.iterdir())) == 2


def test_a_faster_job_wins(cache):
    def make(place):
        prepared("thing", [], lambda other: (other / "by").write_text("the other"))
        (place / "by").write_text("this one")

    assert (prepared("thing", [], make) / "by").read_text() == "the other"
    assert len(list(cache.iterdir())) == 1


def test_what_cannot_be_made_is_said_and_gone_without(cache, capsys):
    def fails(place):
        (place / "half").touch()
        raise RuntimeError("no compiler")

    assert prepared("thing", [], fails) is None
    assert "thing cannot be prepared, samples take longer without it: no compiler" in capsys.readouterr().err
    assert list(cache.iterdir()) == []
    cache.rmdir()
    cache.touch()  # no directory can be made there
    assert prepared("thing", [], lambda place: None) is None
    assert "cannot be prepared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "early"),
    [
        (BITS, True),
        (
            "\n  // a word\n/* two\n * lines **/\n#include<assert.h>\n# include <sys/types.h>\n#include<bits/stdc++.h>",
            True,
        ),
        ("#include <vector>\n", False),
        ("#define NDEBUG\n" + BITS, False),
        ("/* a */\n#define int long\n/* b */\n" + BITS, False),
        ("using namespace std;\n" + BITS, False),
        ('#include "own.h"\n' + BITS, False),
        ("// " + BITS, False),
        ("// \\\n" + BITS, False),
        ("/* " + BITS + "*/\n", False),
        ("#ifdef X\n" + BITS + "#endif\n", False),
        ("/*" + "*" * 50_000, False),
        ("\n" * 50_000, False),
    ],
)
def test_the_header_comes_first_only_where_that_changes_nothing(start, early):
    blocks = [("bits/stdc++.h",), ("assert.h", "sys/types.h", "bits/stdc++.h")]
    tools = {"g++": "/usr/bin/g++"} | {cpp_headers.name_of(block): "/run/x" for block in blocks}
    job = cpp.job(CPP | {"prompt": start}, "", "n", tools, 1, 256)
    assert (job["steps"][0]["command"][4:-2] == ["-include", "/run/x/headers.h"]) is early
    job = cpp.job(CPP | {"prompt": start}, "", "n", {"g++": "/usr/bin/g++"}, 1, 256)
    assert "-include" not in job["steps"][0]["command"]


def run(tmp_path, item, completions, language):
    files.write_jsonl(tmp_path / "items.jsonl", [item])
    rows = [{"task_id": "twice", "completion": text} for text in completions]
    files.write_jsonl(tmp_path / "samples.jsonl", rows)
    out = tmp_path / "out.jsonl"
    execute(tmp_path / "items.jsonl", language, tmp_path / "samples.jsonl", out, memory_mb=256)
    return [row["result"] for row in files.read_jsonl(out)]


def test_cpp(cache, tmp_path, monkeypatch):
    need_language("cpp")
    need_sandbox("bubblewrap")
    item = CPP | {"prompt": f"#include <cassert>\n{BITS}using namespace std;\n{CPP['prompt']}"}
    vector = "vector<int> v(x, 2); return accumulate(v.begin(), v.end(), 0); }"
    completions = [vector, "return y; }", "#include <bits/stdc++.h>\nreturn 3; }"]
    monkeypatch.setattr(cpp_headers, "WORTH_IT", 9)
    plain = run(tmp_path, item, completions, "cpp")
    assert not cache.exists()
    assert [result.partition(":")[0] for result in plain] == ["passed", "compile error", "failed"]
    monkeypatch.setattr(cpp_headers, "WORTH_IT", 3)
    assert run(tmp_path, item, completions, "cpp") == plain
    assert len(list(cache.iterdir())) == 1
    # It is there now, but a program that lacks a header still does.
    assert run(tmp_path, CPP, [vector], "cpp")[0].startswith("compile error")

    made = cpp.prepare([(item, vector)], find_tools("cpp"))
    for sandbox in ("bubblewrap", "unshare"):
        need_sandbox(sandbox)
        with Worker(sandbox, find_tools("cpp").values(), None, made) as worker:
            job = cpp.job(item, vector, "n", find_tools("cpp") | worker.places, 10, 256)
            job["steps"] = [job["steps"][0] | {"command": [*job["steps"][0]["command"], "-H"]}]
            said = worker.run(job)["stderr"].splitlines()
            place = f"/run/prepared/{cpp_headers.name_of(('cassert', 'bits/stdc++.h'))}"
            assert said[0] == f"! {place}/headers.h.gch"  # GCC's mark for one that is used
            writes = f"open('{place}/headers.h', 'a')"
            step = {"python": {"solution": writes, "test": ""}, "timeout": 10, "memory_mb": 256}
            report = worker.run({"files": {}, "java": None, "steps": [step]})["steps"][0]["report"]
            assert report.startswith("failed: OSError: [Errno 30] Read-only") or "PermissionError" in report


def test_java(cache, tmp_path, monkeypatch):
    need_language("java")
    completions = ["return 2 * x; } }", "return 3 * x; } }", "return y; } }"]
    plain = run(tmp_path, JAVA, completions, "java")
    assert not cache.exists()
    assert [result.partition(":")[0] for result in plain] == ["passed", "failed", "compile error"]
    monkeypatch.setattr(java, "_WORTH_IT", 3)
    assert run(tmp_path, JAVA, completions, "java") == plain
    (place,) = cache.iterdir()
    assert sorted(os.listdir(place)) == ["compiler.jar", "compiler.jsa"]
    (place / "compiler.jsa").write_bytes(b"from another machine" * 1000)
    assert run(tmp_path, JAVA, completions, "java") == plain
