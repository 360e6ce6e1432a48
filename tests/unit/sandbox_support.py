"""Run the stage `execute` as this user or, when started as root, as an ordinary one, in each sandbox."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tqdm

import submodels
from submodels import files
from submodels.evaluation.execute import execute
from submodels.evaluation.runners import missing_toolchain
from submodels.evaluation.sandbox import SANDBOXES

ORDINARY = 65534
USERS = ("root", "ordinary") if os.geteuid() == 0 else ("ordinary",)
_CALL = "import json, sys; from submodels.evaluation.execute import execute; execute(**json.loads(sys.argv[1]))"


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
    prefix = home / ".python"
    prefix.mkdir()
    for path in (home, *home.iterdir()):
        os.chown(path, ORDINARY, ORDINARY)
    python = prefix / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
    modules = {Path(module.__file__).parent.parent for module in (submodels, tqdm)}
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": ":".join(map(str, modules))}
    script = 'mount --bind "$1" "$2"; shift 2; exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.base_prefix, str(prefix), str(python), "-c", _CALL]
    done = subprocess.run(
        [*command, json.dumps(arguments, default=str)], env=environment, cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
