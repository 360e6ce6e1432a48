"""A killed job continues: its verdicts are on disk, nothing it started is left, the final file is the same."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sandbox_support import need_language, need_sandbox

from submodels import files
from submodels.evaluation.execute import execute
from submodels.evaluation.journal import Journal
from submodels.evaluation.samples import unfinished_of

CALL = "import json, sys; from submodels.evaluation.execute import execute; execute(**json.loads(sys.argv[1]))"
HEADER = {"fingerprint": "abc"}
PYTHON = {
    "task_id": "one",
    "prompt": "import time\ndef f():\n    time.sleep(0.02)\n",
    "test": "def check(f):\n    assert f() % 3 > 0\n",
    "entry_point": "f",
}
JAVA = {
    "task_id": "one",
    "prompt": "class Solution {\n    int f() {\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n"
    "        if (new Solution().f() % 3 == 0) throw new AssertionError();\n    }\n}\n",
}


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def test_rows_come_back_and_are_continued(tmp_path):
    path = tmp_path / "new" / "out.partial"
    with Journal(path, HEADER) as journal:
        assert journal.rows == []
        journal.append({"program": 1, "result": "passed"})
    with Journal(path, HEADER) as journal:
        assert journal.rows == [{"program": 1, "result": "passed"}]
        journal.append({"program": 0, "result": "é"})
    with Journal(path, HEADER) as journal:
        assert journal.rows == [{"program": 1, "result": "passed"}, {"program": 0, "result": "é"}]


@pytest.mark.parametrize("cut", range(1, 28))
def test_a_torn_line_is_dropped_and_written_over(cut, tmp_path):
    path = tmp_path / "out.partial"
    whole = b'{"fingerprint": "abc"}\n{"program": 0}\n{"program": 1}\n'
    path.write_bytes(whole[:-cut])
    kept = 1 if cut <= 15 else 0
    with Journal(path, HEADER) as journal:
        assert journal.rows == [{"program": 0}][:kept]
        journal.append({"program": 2})
    assert lines(path) == [*whole.splitlines(keepends=True)[: 1 + kept], b'{"program": 2}\n']


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"finger',
        b'{"fingerprint": "abc"',
        b'{"fingerprint": "xyz"}\n{"program": 0}\n',
        b'\0\0\n{"program": 0}\n',
    ],
)
def test_a_file_of_another_run_is_begun_anew(content, tmp_path):
    path = tmp_path / "out.partial"
    path.write_bytes(content)
    with Journal(path, HEADER) as journal:
        assert journal.rows == []
    assert path.read_bytes() == b'{"fingerprint": "abc"}\n'


def test_blocks_never_written_end_the_rows(tmp_path):
    path = tmp_path / "out.partial"
    for unwritten in (b"\0\0\0", b"7", b"[]", b"null", b"\xff"):
        path.write_bytes(b'{"fingerprint": "abc"}\n{"program": 0}\n' + unwritten + b'\n{"program": 1}\n')
        with Journal(path, HEADER) as journal:
            assert journal.rows == [{"program": 0}]


def job(home: Path, item: dict, completions: list[str], language: str, sandbox: str, name: str = "out") -> dict:
    files.write_jsonl(home / "items.jsonl", [item])
    rows = [{"task_id": "one", "completion": text, "sample": number} for number, text in enumerate(completions)]
    files.write_jsonl(home / "samples.jsonl", rows)
    arguments = {"benchmark_items": home / "items.jsonl", "samples": home / "samples.jsonl", "language": language}
    return arguments | {"out": home / f"{name}.jsonl.gz", "sandbox": sandbox, "workers": 2}


@pytest.fixture
def stopped_half_way(tmp_path, monkeypatch):
    """Arguments of a job that has decided two of four programs and then lost its worker for good."""
    need_sandbox("unshare")
    arguments = job(tmp_path, PYTHON, [f"    return {n}\n" for n in range(4)], "python", "unshare") | {"workers": 1}
    from submodels.evaluation import execute as stage

    run, seen = stage._Judge.run, []

    def runs_twice(judge, worker, item, completion):
        if len(seen) == 2:
            raise RuntimeError("power cut")
        if item == PYTHON:  # and no program that only asks which libraries there are
            seen.append(completion)
        return run(judge, worker, item, completion)

    monkeypatch.setattr(stage._Judge, "run", runs_twice)
    with pytest.raises(RuntimeError, match="power cut"):
        execute(**arguments)
    monkeypatch.setattr(stage._Judge, "run", run)
    return arguments


def test_what_is_decided_is_not_run_again(stopped_half_way, tmp_path):
    partial, out = tmp_path / "out.partial.jsonl", tmp_path / "out.jsonl.gz"
    assert len(lines(partial)) == 3
    assert not out.exists()
    partial.write_bytes(partial.read_bytes().replace(b'"passed"', b'"failed: as the file says"'))
    assert execute(**stopped_half_way) == {"failed": 3, "passed": 1}
    results = [row["result"] for row in files.read_jsonl(out)]
    assert results == ["failed: AssertionError", "failed: as the file says", "passed", "failed: AssertionError"]
    assert not partial.exists()


@pytest.mark.parametrize("change", [{"timeout": 9.0}, {"memory_mb": 2048}, {"sandbox": "none"}, {"samples": None}])
def test_other_settings_begin_anew(change, stopped_half_way, tmp_path):
    partial = tmp_path / "out.partial.jsonl"
    partial.write_bytes(partial.read_bytes().replace(b'"passed"', b'"failed: as the file says"'))
    if "samples" in change:
        rows = files.read_jsonl(tmp_path / "samples.jsonl")
        files.write_jsonl(tmp_path / "other.jsonl", [rows[0] | {"sample": 7}, *rows[1:]])
        change = {"samples": tmp_path / "other.jsonl"}
    assert execute(**stopped_half_way | change) == {"failed": 2, "passed": 2}


def test_an_interrupt_ends_it_after_the_programs_at_work(tmp_path):
    need_sandbox("unshare")
    slow = [f"    import time; time.sleep(0.5)\n    return {n}\n" for n in range(200)]
    arguments = job(tmp_path, PYTHON, slow, "python", "unshare")
    partial = unfinished_of(arguments["out"])
    process = subprocess.Popen([sys.executable, "-c", CALL, json.dumps(arguments, default=str)], stderr=subprocess.PIPE)
    while not partial.exists() or len(lines(partial)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=20)[1].decode()
    assert 3 <= len(lines(partial)) < 60


def descendants(pid: int) -> set[tuple[int, str]]:
    """(pid, start time) of all processes below one."""
    parents, started = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(entry.parent.name)
        parents[number], started[number] = int(fields[1]), fields[19]
    found, last = set(), {pid}
    while last := {child for child, parent in parents.items() if parent in last}:
        found |= last
    return {(child, started[child]) for child in found}


def alive(process: tuple[int, str]) -> bool:
    try:
        fields = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == process[1] and fields[0] != "Z"


def kill_after(arguments: dict, rows: int, seconds: float) -> bool:
    """Start the job, kill -9 it that long after it had so many rows; whether it had not ended before."""
    partial = unfinished_of(arguments["out"])
    command = [sys.executable, "-c", CALL, json.dumps(arguments, default=str)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not partial.exists() or len(lines(partial)) - 1 < rows):
        time.sleep(0.002)
    time.sleep(seconds)
    running = process.poll() is None
    process.send_signal(signal.SIGSTOP)  # it starts nothing more while its descendants are counted
    started = descendants(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while left := [pid for pid in started if alive(pid)]:
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.01)
    return running


@pytest.mark.parametrize(
    ("language", "sandbox", "kills"), [("python", "bubblewrap", 10), ("python", "unshare", 10), ("java", "unshare", 3)]
)
def test_kill_9_at_random_moments(language, sandbox, kills, tmp_path):
    need_language(language)
    need_sandbox(sandbox)
    item, end = {"python": (PYTHON, "\n"), "java": (JAVA, "; } }")}[language]
    completions = [f"    return {n % 44}{end}" for n in range(48)]  # four of them twice
    execute(**job(tmp_path, item, completions, language, sandbox, "undisturbed"))
    arguments = job(tmp_path, item, completions, language, sandbox)
    partial, dice = unfinished_of(arguments["out"]), random.Random(kills)
    decided, killed = [], 0
    while killed < kills:
        want = dice.randint(len(decided), len(decided) + 3)
        killed += kill_after(arguments, want, dice.uniform(0, 0.05))
        if arguments["out"].exists():
            break  # slow to be killed: all programs are decided
        now = lines(partial)[1:]
        assert now[: len(decided)] == decided  # a line that was written stays
        decided = [line for line in now if line.endswith(b"\n")]
        assert len(decided) >= want
    assert killed >= kills // 2
    execute(**arguments)
    assert not partial.exists()
    assert arguments["out"].read_bytes() == (tmp_path / "undisturbed.jsonl.gz").read_bytes()
    assert [row["sample"] for row in files.read_jsonl(arguments["out"])] == list(range(48))
    assert not list(tmp_path.glob(".[0-9]*"))
