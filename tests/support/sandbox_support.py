"""Run the stage `execute` as this user or, when started as root, as an ordinary one, in each sandbox."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import tqdm

import submodels
from submodels import files
from submodels.evaluation.execute import execute
from submodels.evaluation.runners import find_tools, java, language_runner, missing_toolchain
from submodels.evaluation.sandbox import SANDBOXES, start_worker

ORDINARY = 65534
USERS = ("root", "ordinary") if os.geteuid() == 0 else ("ordinary",)
MEMORY_MB = 300
_OUTSIDE = ("/", "/tmp", "/var/tmp", "/dev/shm", "/etc", "/usr", "/usr/bin", "/run", str(Path(os.__file__).parent))
_CALL = """
import json, sys
from importlib import import_module
module, function = sys.argv[1].split(":")
getattr(import_module(module), function)(**json.load(open(sys.argv[2])))
"""


def need_sandbox(sandbox: str) -> None:
    if sandbox != "none" and not shutil.which(SANDBOXES[sandbox].EXECUTABLE):
        _lacking(f"{SANDBOXES[sandbox].EXECUTABLE} is not installed")


def need_language(language: str) -> None:
    if missing_toolchain(language):
        _lacking(missing_toolchain(language))


def _lacking(what: str) -> None:
    """Users' machines may lack a tool; the machine that checks the project may not."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def run(
    items: list[dict], completions: list[tuple[str, str]], language: str, sandbox: str, user: str, **limits
) -> list:
    """Results, in order, of (task_id, completion) pairs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        home = Path(place)
        rows = [{"task_id": task_id, "completion": completion} for task_id, completion in completions]
        files.write_jsonl(home / "items.jsonl", items)
        files.write_jsonl(home / "samples.jsonl", rows)
        arguments = {"benchmark_items": home / "items.jsonl", "samples": home / "samples.jsonl"}
        arguments |= {"out": home / "out.jsonl.gz", "language": language, "sandbox": sandbox} | limits
        if user == "ordinary" and os.geteuid() == 0:
            _as_ordinary_user(home, arguments)
        else:
            execute(**arguments)
        lines = files.read_jsonl(home / "out.jsonl.gz")
    assert [line["passed"] for line in lines] == [line["result"] == "passed" for line in lines]
    return [line["result"] for line in lines]


def _as_ordinary_user(home: Path, arguments: dict) -> None:
    """In a process of an ordinary user whose Python lies in a home directory that only that user may enter."""
    call_as(home, "ordinary", "submodels.evaluation.execute:execute", arguments)


def call_as(home: Path, user: str, function: str, arguments: dict) -> None:
    """Call `module:function` in a process of its own whose home is `home`, with arguments that JSON can hold."""
    (home / "arguments.json").write_text(json.dumps(arguments, default=str))
    python, prefix = sys.executable, []
    if user == "ordinary" and os.geteuid() == 0:
        place = home / ".python"
        place.mkdir()
        for path in (home, *home.iterdir()):
            os.chown(path, ORDINARY, ORDINARY)
        python = place / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
        script = 'mount --bind "$1" "$2"; shift 2; exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
        prefix = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.base_prefix, place]
    modules = {Path(module.__file__).parent.parent for module in (submodels, tqdm)}
    modules |= {Path(__file__).parent, Path(pytest.__file__).parent.parent}
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": ":".join(map(str, modules))}
    command = [*prefix, python, "-c", _CALL, function, home / "arguments.json"]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def attack_each(language: str, sandbox: str, attacks: list[dict], honest: dict, mark: str, out: str) -> None:
    """One worker runs each attack ({"item", "code", "seconds"}), and `honest` after it; JSON lines of what was seen.

    "left": command lines of processes that run below this one and did not before, and how many rooms there are if more
    than the one for the next sample; "written": files outside whose name has the mark in it, and any change in the home
    directory; "honest": the verdict on the honest sample.
    """
    runner, tools = language_runner(language), find_tools(language)
    java_home = java.java_of(tools[runner.JAVA]) if runner.JAVA else None
    home, seen = Path.home(), []
    with start_worker(sandbox, list(tools.values()), java_home) as worker:
        _judge(worker, runner, tools, honest)
        process, listing = worker._process.pid, _listing(home)
        running, _ = _running()
        for attack in attacks:
            row = {"verdict": _judge(worker, runner, tools, attack), "left": [], "written": []}
            now, namespaces = _running()
            row["left"] = [*(now - running).elements(), *([f"{namespaces - 1} rooms"] if namespaces > 2 else [])]
            row["written"] = [f"{place}/{name}" for place in _OUTSIDE for name in os.listdir(place) if mark in name]
            row["written"] += sorted(map(str, _listing(home) ^ listing))
            seen.append(row | {"honest": _judge(worker, runner, tools, honest)})
        assert worker._process.pid == process
    files.write_jsonl(Path(out), seen)


def _judge(worker, runner, tools: dict[str, Path], sample: dict) -> str:
    nonce = secrets.token_hex(16)
    tools = tools | worker.places
    job = runner.job(sample["item"], sample["code"], nonce, tools, timeout=sample["seconds"], memory_mb=MEMORY_MB)
    outcome = worker.run(job) | {"expected_steps": len(job["steps"]), "quiet": "console" in sample["item"]["test"]}
    return str(runner.verdict(outcome, nonce))


def _running() -> tuple[Counter, int]:
    """The command lines of all processes below this one, and of how many pid namespaces one is the first process.

    Those first processes are counted apart: the sandbox's own is always there, and that of the room for the next sample
    comes a moment after the verdict on the last one.
    """
    parents, commands, firsts = {}, {}, set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may just have ended
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
            if not status["State"].startswith("Z"):
                parents[process.name] = status["PPid"]
                commands[process.name] = (process / "cmdline").read_text()
                if status["NSpid"].split()[-1] == "1":
                    firsts.add(process.name)
    below, level = set(), {str(os.getpid())}
    while level := {number for number, parent in parents.items() if parent in level}:
        below |= level
    return Counter(commands.get(number, "") for number in below - firsts), len(below & firsts)


def _listing(home: Path) -> set[tuple]:
    """What lies in the home directory, save the Python mounted there."""
    found = set()
    for directory, names, leaves in os.walk(home):
        names[:] = [name for name in names if name != ".python"]
        for leaf in leaves:
            state = os.lstat(os.path.join(directory, leaf))
            found.add((directory, leaf, state.st_mtime_ns, state.st_size))
    return found
