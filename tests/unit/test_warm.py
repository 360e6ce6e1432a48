"""Warm starts: a job that the server forks does what it would do by itself, and ends as it would."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submodels import warm

PACKAGE = str(Path(warm.__file__).parents[1])


@pytest.fixture
def server(tmp_path):
    """The environment of a process that may ask a server, whose imports are light."""
    directory = tmp_path / "private"
    directory.mkdir()
    socket = directory / "socket"
    environment = os.environ | {"PYTHONPATH": PACKAGE, "WHO": "server"}
    process = subprocess.Popen(
        [sys.executable, "-m", "submodels.warm", socket, str(os.getpid()), "uuid"], env=environment
    )
    while not socket.exists():
        time.sleep(0.02)
    yield environment | {warm.SERVER: str(socket), "WHO": "job"}
    process.kill()
    process.wait()


def submodels(*arguments, env, python=sys.executable, **options):
    command = [python, "-m", "submodels", "prune", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, **options)


# A job that tells who it is: `uuid` is imported already where the server forked it.
PROBE = """
import os, sys
from submodels import warm
def main():
    print("uuid" in sys.modules, os.environ["WHO"], os.getcwd(), sys.argv[1:], sys.stdin.read(), flush=True)
    print("an error", file=sys.stderr)
    sys.exit(3)
"""


@pytest.fixture
def probe(tmp_path):
    """Put `PROBE` in the place of the command line, for the server and for those who ask it."""
    code = tmp_path / "code/submodels"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("")
    for name in ("warm.py", "__main__.py"):
        (code / name).write_text(Path(PACKAGE, "submodels", name).read_text())
    (code / "cli.py").write_text(PROBE)
    return code


@pytest.fixture
def probed(probe, monkeypatch, request):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", str(probe.parent))
    return request.getfixturevalue("server")


def test_a_job_of_the_server_has_its_callers_place_files_and_status(probed, tmp_path):
    for environment, forked in ((probed, True), (probed | {warm.SERVER: ""}, False)):
        done = submodels("--option", "two words", env=environment, cwd=tmp_path, input="typed")
        said = f"{forked} job {tmp_path} ['prune', '--option', 'two words'] typed\n"
        assert (done.returncode, done.stdout, done.stderr) == (3, said, "an error\n")


@pytest.mark.parametrize("name", ["python", "python3"])
def test_the_name_of_the_interpreter_does_not_matter(probed, name):
    done = submodels(env=probed, input="", python=str(Path(sys.executable).with_name(name)))
    assert (done.returncode, done.stdout[:4]) == (3, "True")


@pytest.mark.parametrize("place", ["nowhere", "of another program"])
def test_without_a_server_a_job_starts_by_itself(probed, tmp_path, place):
    (tmp_path / "of another program").write_text("")
    done = submodels(env=probed | {warm.SERVER: str(tmp_path / place)}, input="")
    assert (done.returncode, done.stdout[:5]) == (3, "False")


def test_the_server_works_for_the_same_code_alone(server, probe):
    done = submodels(env=server | {"PYTHONPATH": str(probe.parent)}, input="")
    assert (done.returncode, done.stdout[:5]) == (3, "False")


def test_a_stage_that_imports_little_starts_by_itself(probed):
    command = [sys.executable, "-m", "submodels", "calibrate"]
    done = subprocess.run(command, env=probed, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:5]) == (3, "False")


def test_an_uncaught_error_is_shown_and_is_status_1(probe, probed):
    (probe / "cli.py").write_text("def main():\n    raise KeyError('lost')\n")
    done = submodels(env=probed)
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'lost'\n")


WAITING = """
import os, signal, sys, time
from pathlib import Path
def main():
    if sys.argv[2] == "gently":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    Path(sys.argv[3]).write_text(str(os.getpid()))
    time.sleep(60)
"""


def ask_to_wait(how, environment, place):
    command = [sys.executable, "-m", "submodels", "prune", how, str(place)]
    caller = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not place.exists() or not place.read_text():
        time.sleep(0.02)
    return caller, int(place.read_text())


def is_there(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("how", "status"), [("gently", 7), ("hard", 1)])
def test_a_signal_reaches_the_job(probe, probed, tmp_path, how, status):
    (probe / "cli.py").write_text(WAITING)
    caller, process = ask_to_wait(how, probed, tmp_path / "process")
    assert process != caller.pid
    caller.send_signal(signal.SIGTERM)
    assert caller.wait(20) == status
    assert not is_there(process)


def test_a_job_ends_with_a_caller_that_is_killed(probe, probed, tmp_path):
    (probe / "cli.py").write_text(WAITING)
    caller, process = ask_to_wait("gently", probed, tmp_path / "process")
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 20
    while is_there(process):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_server_ends_with_its_parent_and_leaves_nothing(tmp_path):
    directory = tmp_path / "private"
    directory.mkdir()
    script = """
import os, subprocess, sys
command = [sys.executable, "-m", "submodels.warm", sys.argv[1], str(os.getpid()), "uuid"]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid)
"""
    command = [sys.executable, "-c", script, str(directory / "socket")]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": PACKAGE}, stdout=subprocess.PIPE, check=True)
    deadline = time.monotonic() + 20
    while is_there(int(done.stdout)) or directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
