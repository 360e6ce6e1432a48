"""Snakemake started often: one process a test run imports it, and forks for each command line.

As a program it answers requests on its standard input, JSON lines of `arguments`, `directory`, `environment` and the
files `stdout` and `stderr` to write, each with a line that holds the exit status.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

_IMPORTED = ("snakemake.cli", "snakemake.api", "snakemake.executors.local", "snakemake.linting.rules", "pulp")


def run(arguments, directory, environment) -> subprocess.CompletedProcess:
    """Run `snakemake <arguments>`; what it says is text."""
    with tempfile.TemporaryDirectory() as place:
        files = {name: str(Path(place, name)) for name in ("stdout", "stderr")}
        request = {"arguments": list(map(str, arguments)), "directory": str(directory), "environment": environment}
        server = _server()
        server.stdin.write(json.dumps(request | files) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        said = [Path(path).read_text(encoding="utf-8", errors="replace") for path in files.values()]
    return subprocess.CompletedProcess(["snakemake", *arguments], status, *said)


@cache
def _server() -> subprocess.Popen:
    pipe = subprocess.PIPE
    server = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)
    atexit.register(server.stdin.close)
    return server


def _serve() -> None:
    for module in _IMPORTED:
        __import__(module)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            _be(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be(request: dict) -> None:
    from snakemake.cli import main

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    status = 0
    try:
        main(request["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
