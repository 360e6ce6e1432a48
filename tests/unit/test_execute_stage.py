"""The stage itself: files in and out, errors before work starts, missing toolchains, missing sandboxes."""

import json
import os
import platform
import subprocess
import sys

import pytest
from sandbox_support import need_language, need_sandbox, run

from submodels import files, versions
from submodels.errors import SubmodelsError
from submodels.evaluation import execute as stage
from submodels.evaluation import runners, sandbox
from submodels.evaluation.execute import execute, execute_all

ITEM = {"task_id": "one", "prompt": "def f():\n", "test": "def check(f):\n    assert f() == 1\n", "entry_point": "f"}
LONE = r"compile error: the program holds half of a surrogate pair ('\ud83d'), which is no character"
GOOD, BAD = "    return 1\n", "    return 2\n"


def write(path, rows):
    files.write_jsonl(path, rows)
    return path


@pytest.fixture
def items(tmp_path):
    return write(tmp_path / "items.jsonl", [ITEM])


def test_every_field_is_kept_in_order_and_counts_are_recorded(items, tmp_path):
    need_sandbox("unshare")
    rows = [
        {"task_id": "one", "completion": BAD, "sample": 0, "note": "é"},
        {"task_id": "one", "completion": GOOD, "sample": 1},
        {"task_id": "one", "completion": BAD, "sample": 2},
    ]
    out = tmp_path / "b.jsonl.gz"
    counts = execute(items, "python", write(tmp_path / "s.jsonl.gz", rows), out, sandbox="unshare")
    assert counts == {"failed": 2, "passed": 1}
    failed = {"passed": False, "result": "failed: AssertionError"}
    assert files.read_jsonl(out) == [rows[0] | failed, rows[1] | {"passed": True, "result": "passed"}, rows[2] | failed]
    manifest = json.loads((tmp_path / "b.manifest.json").read_text())
    results = {"sandbox": "unshare", "tools": {}, "samples": 3, "run": 2, "taken": 0, "shared": 0, "counts": counts}
    assert manifest["results"] == results | {"decided_by": [platform.python_version()]}
    assert manifest["products"] == {"b.jsonl.gz": files.sha256_file(out)}
    assert manifest["parameters"] == {
        "version": versions.EXECUTE,
        "language": "python",
        "quiet": False,
        "sandbox": "unshare",
        "timeout": 10.0,
        "memory_mb": 1024,
    }


def test_no_samples_are_an_error(items, tmp_path):
    with pytest.raises(SubmodelsError, match=r"s\.jsonl: holds no samples; generate again"):
        execute(items, "python", write(tmp_path / "s.jsonl", []), tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": "two", "completion": ""}, r"s\.jsonl, line 4: unknown task_id 'two'"),
        ({"task_id": "one"}, r"s\.jsonl, line 4: a sample needs `completion`, a text"),
        ({"task_id": "one", "completion": None}, r"s\.jsonl, line 4: a sample needs `completion`, a text"),
        ({"task_id": "one", "completion": 7}, r"s\.jsonl, line 4: a sample needs `completion`, a text"),
        ({"task_id": "one", "completion": [GOOD]}, r"s\.jsonl, line 4: a sample needs `completion`, a text"),
        ({"completion": ""}, r"s\.jsonl, line 4: a sample needs `task_id`, a text"),
        ({"task_id": 1, "completion": ""}, r"s\.jsonl, line 4: a sample needs `task_id`, a text"),
        (
            {"task_id": "one", "completion": "", "loss": [float("nan")]},
            r"s\.jsonl, line 4: NaN and Infinity are no JSON; write null, or leave the field out",
        ),
        ([], r"s\.jsonl, line 4: a sample must be an object, not \[\]"),
        (None, r"s\.jsonl, line 4: a sample must be an object, not null"),
        ({"task_id": "one", "completion": "", "sample": 0}, r"s\.jsonl, line 4: sample 0 of one is there twice"),
    ],
)
def test_bad_sample_names_its_line(items, tmp_path, row, message):
    samples = tmp_path / "s.jsonl"
    good = json.dumps({"task_id": "one", "completion": GOOD, "sample": 0})
    samples.write_text(f"{good}\n\n \n{json.dumps(row)}\n")  # blank lines are lines too
    with pytest.raises(SubmodelsError, match=message):
        execute(items, "python", samples, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_odd_characters_are_run_written_and_read_as_one_line_each(items, tmp_path):
    """A lone surrogate, an escape that JSON's readers take, is in no UTF-8 text: no program can hold it, a line can."""
    need_sandbox("unshare")
    odd = {
        "    return 1  # \ud83d\n": LONE,
        "    s = '\u2028 \x85 \u00e9 \ufeff \U0001f600'\n    return len(s) // 9\n": "passed",
        "    return 1\r\n": "passed",
        "    return 1\0\n": "compile error: ",
        "    import sys\n    sys.stderr.buffer.write(b'\\xff\\xfe\\0')\n    return 1\n": "passed",
        "    raise ValueError('\\ud83d \\u2028 \\0')\n": "failed: ValueError: \\ud83d \u2028 \0",
        f"    return {'1' * 10**6} > 0  # {'x' * 10**6}\n": "compile error: ",
    }
    samples = tmp_path / "s.jsonl"
    samples.write_text("".join(json.dumps({"task_id": "one", "completion": text}) + "\n" for text in odd))
    out = tmp_path / "out.jsonl"
    execute(items, "python", samples, out, sandbox="unshare")
    assert len(out.read_bytes().decode("utf-8").splitlines()) >= len(odd)
    rows = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    assert [row["completion"] for row in rows] == list(odd)
    assert rows == files.read_jsonl(out)
    assert not [
        row["result"] for row, said in zip(rows, odd.values(), strict=True) if not row["result"].startswith(said)
    ]


@pytest.mark.parametrize("language", ["java", "cpp", "javascript"])
def test_no_language_runs_a_lone_surrogate(language):
    need_language(language)
    need_sandbox("unshare")
    test = {"java": "class Main {\n    public static void main(String[] a) {\n}}\n", "cpp": "int main() {\n}\n"}
    item = {"task_id": "one", "prompt": "", "test": test.get(language, "")}
    results = run([item], [("one", "// \ud83d\n"), ("one", "// \U0001f600\n")], language, "unshare", "root")
    assert results == [
        LONE,
        "passed",
    ]


def test_a_truncated_file_of_samples_is_named(items, tmp_path):
    samples = write(tmp_path / "s.jsonl.gz", [{"task_id": "one", "completion": GOOD}])
    samples.write_bytes(samples.read_bytes()[:-9])
    with pytest.raises(SubmodelsError, match=r"s\.jsonl\.gz: not a complete gzip file"):
        execute(items, "python", samples, tmp_path / "out.jsonl")


def test_unknown_language_and_unknown_sandbox(items, tmp_path):
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}])
    with pytest.raises(SubmodelsError, match="unknown language 'perl'; known: cpp, java, javascript, python"):
        execute(items, "perl", samples, tmp_path / "out.jsonl")
    with pytest.raises(SubmodelsError, match="unknown sandbox 'bottle'"):
        execute(items, "python", samples, tmp_path / "out.jsonl", sandbox="bottle")


@pytest.mark.parametrize(
    ("language", "changes", "message"),
    [
        ("python", {"entry_point": None}, "needs a text `entry_point`"),
        ("python", {"task_id": 7}, "needs a text `task_id`"),
        ("python", {"task_id": "one"}, "task_id 'one' is there twice"),
        ("python", {"entry_point": "check"}, "`entry_point` is check, the name of the function that the tests define"),
        ("python", {"test": "assert f() == 1"}, r"with an `entry_point`, the `test` must define `check\(candidate\)`"),
        ("python", {"prompt": "# \ud83d"}, r"field 'prompt' holds half of a surrogate pair"),
        ("javascript", {"test": "console.assert(f() === 1)"}, "the `test` uses console.assert, .* say `quiet: true`"),
        ("javascript", {"test": None}, "needs a text `test`"),
        ("java", {"test": "public class Main { void f();"}, "a Java `test` must end with the end of main and of class"),
        ("cpp", {"test": "int main() { return 1;"}, r"a C\+\+ `test` must end with the end of `int main\(\)`"),
        ("cpp", {"test": "void tests() { }"}, r"a C\+\+ `test` must end with the end of `int main\(\)`"),
    ],
)
def test_a_bad_item_is_named_before_anything_runs(language, changes, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no toolchain and no sandbox: the item's fault comes first
    end = "check\nint main() {\n}\n}\n"  # an end for Java and for C++
    items = write(tmp_path / "items.jsonl", [ITEM | {"test": end}, ITEM | {"task_id": "two", "test": end} | changes])
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}])
    with pytest.raises(SubmodelsError, match=rf"items\.jsonl, row 2: {message}"):
        execute(items, language, samples, tmp_path / "out.jsonl")


def test_items_may_be_in_a_list(tmp_path):
    """As every other stage reads them."""
    (tmp_path / "items.jsonl").write_text(json.dumps([ITEM], indent=1))
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}])
    assert execute(tmp_path / "items.jsonl", "python", samples, tmp_path / "o.jsonl", sandbox="none") == {"passed": 1}


def test_a_time_limit_that_is_no_number_is_an_error(tmp_path):
    items = write(tmp_path / "items.jsonl", [ITEM | {"timeout": float("nan")}])
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}])
    with pytest.raises(SubmodelsError, match=r"items\.jsonl, row 1: `timeout` must be a number of seconds"):
        execute(items, "python", samples, tmp_path / "out.jsonl")


def test_missing_toolchain_leaves_every_line_not_run(tmp_path, monkeypatch):
    items = write(tmp_path / "items.jsonl", [ITEM | {"test": "}}"}])
    monkeypatch.setenv("PATH", str(tmp_path))
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}] * 2)
    assert execute(items, "java", samples, tmp_path / "out.jsonl") == {"not run": 2}
    hint = "javac not found; install with: apt-get install default-jdk-headless"
    line = {"task_id": "one", "completion": GOOD, "passed": None, "result": f"not run: {hint}"}
    assert files.read_jsonl(tmp_path / "out.jsonl") == [line, line]
    assert sorted(runners.missing_toolchains()) == ["cpp", "java", "javascript"]
    assert runners.missing_toolchains()["java"] == hint


def test_no_sandbox_is_an_error_that_says_what_was_tried(items, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}])
    with pytest.raises(SubmodelsError, match=r"bubblewrap: bwrap not found .*unshare: unshare not found .*apt-get"):
        execute(items, "python", samples, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert all("not found" in reason for reason in sandbox.sandbox_status().values())
    # Running without one has to be asked for, and is recorded.
    assert execute(items, "python", samples, tmp_path / "out.jsonl", sandbox="none") == {"passed": 1}
    assert json.loads((tmp_path / "out.manifest.json").read_text())["results"]["sandbox"] == "none"


def test_a_sandbox_that_does_not_start_says_why(tmp_path, monkeypatch):
    broken = tmp_path / "unshare"
    broken.write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    with pytest.raises(SubmodelsError, match="unshare: sandbox unshare stopped: unshare: Operation not permitted"):
        sandbox.start_worker()


def test_the_worker_that_tries_the_sandbox_runs_samples(items, tmp_path, monkeypatch):
    """One start for one worker: a start costs as much as several samples."""
    need_sandbox("unshare")
    started, start = [], sandbox.Worker._start
    monkeypatch.setattr(sandbox.Worker, "_start", lambda self: (started.append(self.sandbox), start(self)))
    samples = write(tmp_path / "s.jsonl", [{"task_id": "one", "completion": GOOD}])
    execute(items, "python", samples, tmp_path / "out.jsonl", sandbox="unshare", workers=1)
    assert started == ["unshare"]


@pytest.fixture
def executed(tmp_path):
    """Arguments of a sub-model's execution that is done: Python samples run, Java ones not."""
    need_sandbox("unshare")
    (tmp_path / "generations").mkdir()
    benchmarks = {}
    for name, test in (("tiny_python", ITEM["test"]), ("tiny_java", "check = {}\n{{}}")):
        benchmarks[name] = write(tmp_path / f"{name}.jsonl", [ITEM | {"test": test}])
        write(tmp_path / f"generations/{name}.jsonl.gz", [{"task_id": "one", "completion": GOOD}])
    arguments = {"benchmarks": benchmarks, "generations": tmp_path / "generations", "out": tmp_path / "executions"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "missing_toolchain", lambda language: "no java" if language == "java" else None)
        execute_all(**arguments, sandbox="unshare")
    return arguments | {"sandbox": "unshare"}


@pytest.fixture
def ran(monkeypatch):
    """The names of the files of samples that are run from now on."""
    seen, run_all = [], stage._run_all

    def counted(programs, judged, first, workers, partial, known):
        seen.append(partial.path.name)
        return run_all(programs, judged, first, workers, partial, known)

    monkeypatch.setattr(stage, "_run_all", counted)
    return seen


def test_executions_that_stand_are_kept_and_those_not_run_are_run(executed, ran, monkeypatch):
    done = files.read_json(executed["out"] / "done.json")["benchmarks"]
    before = (executed["out"] / "tiny_python.jsonl.gz").stat()
    for name, fingerprint in done.items():
        assert fingerprint == files.read_json(executed["out"] / f"{name}.manifest.json")["fingerprint"]
    assert [*done] == ["tiny_python", "tiny_java"]
    assert files.read_jsonl(executed["out"] / "tiny_java.jsonl.gz")[0]["result"] == "not run: no java"
    monkeypatch.setattr(stage, "language_runner", lambda language: runners.language_runner("python"))
    monkeypatch.setattr(stage, "find_tools", lambda language: {})
    monkeypatch.setattr(stage, "missing_toolchain", lambda language: None)
    execute_all(**executed)
    assert ran == ["tiny_java.partial.jsonl"]
    assert (executed["out"] / "tiny_python.jsonl.gz").stat().st_mtime_ns == before.st_mtime_ns
    execute_all(**executed)
    assert len(ran) == 1


def test_a_faulty_benchmark_stops_no_other(executed, ran):
    write(executed["benchmarks"]["tiny_java"], [ITEM | {"test": "no end"}])
    write(executed["generations"] / "tiny_python.jsonl.gz", [{"task_id": "one", "completion": BAD}])
    executed["benchmarks"] = dict(reversed(executed["benchmarks"].items()))
    (executed["out"] / "done.json").unlink()
    with pytest.raises(SubmodelsError, match=r"tiny_java\.jsonl, row 1: a Java `test` must end"):
        execute_all(**executed)
    assert ran == ["tiny_python.partial.jsonl"]
    assert not (executed["out"] / "done.json").exists()


def test_without_a_sandbox_what_is_decided_stays(executed, tmp_path, monkeypatch):
    """A killed job's verdicts, and executions that stand, where nothing can run now."""
    monkeypatch.setenv("PATH", str(tmp_path))
    unfinished = executed["out"] / "tiny_python.partial.jsonl"
    unfinished.write_text("{}\n")
    write(executed["generations"] / "tiny_python.jsonl.gz", [{"task_id": "one", "completion": BAD}])
    execute_all(**executed, record_not_run=True)
    assert unfinished.exists()


@pytest.mark.parametrize("change", ["samples", "items", "timeout", "sandbox", "python", "file"])
def test_stale_executions_are_renewed(change, executed, ran, monkeypatch):
    executed["benchmarks"].pop("tiny_java")
    file = executed["out"] / "tiny_python.jsonl.gz"
    if change == "samples":
        write(executed["generations"] / file.name, [{"task_id": "one", "completion": BAD}])
    elif change == "items":
        write(executed["benchmarks"]["tiny_python"], [ITEM | {"test": ITEM["test"].replace("1", "2")}])
    elif change == "python":
        monkeypatch.setattr(stage.platform, "python_version", lambda: "4.0")
    elif change == "file":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        executed[change] = {"timeout": 3.0, "sandbox": "none"}[change]
    execute_all(**executed)
    assert ran == ["tiny_python.partial.jsonl"]
    assert files.read_jsonl(file)[0]["passed"] == (change not in ("samples", "items"))


def test_a_link_that_no_sandbox_shows_is_said_at_once(tmp_path):
    (tmp_path / "node").symlink_to("/usr/bin/env")
    with pytest.raises(SubmodelsError, match="node is installed under /tmp, which is empty in a sandbox"):
        sandbox.start_worker("auto", [tmp_path / "node"])


def test_the_stage_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'pandas'}"
    script = f"import sys, submodels.evaluation.execute; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == ""
