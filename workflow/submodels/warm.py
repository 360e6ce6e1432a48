"""Warm starts: a server imports slow modules of the stages once, and forks a process for each job.

    python -m submodels.warm <socket> <process to end with> <module>...

The workflow starts the server where jobs run on this machine and on its CPU (workflow/rules/start.smk), and names its
socket in the environment. `python -m submodels ...` then hands its command line, directory, environment and standard
files over, and waits for the exit status. Without a server, or where it cannot help, the process does the work itself;
the results are the same.

The server answers with two lines: the number of the process, before its work begins, and its exit status. Whoever may
write into the socket's directory may run commands as its owner: the directory must be private.
"""

import json
import os
import random
import shutil
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module

# Stage -> modules that take it seconds to import. Other stages import little, and start by themselves.
SLOW_IMPORTS = {
    "train": ["submodels.world.train"],
    "prune": ["submodels.pruning.prune", "transformers.models.llama.modeling_llama"],
    "generate": ["submodels.evaluation.hf_engine", "transformers.models.llama.modeling_llama"],
}
SERVER = "SUBMODELS_WARM_START"  # names the server's socket in the environment
_CODE = [sys.prefix, sys.version, os.path.realpath(os.path.dirname(__file__))]  # must be the same on both sides
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LOOK_SECONDS = 2.0  # seconds between checks that the server's parent still exists


def run(arguments: list[str]) -> int | None:
    """The exit status of a command line that the server ran for this process; None if it did not begin it."""
    path = os.environ.get(SERVER)
    if not path or not arguments or arguments[0] not in SLOW_IMPORTS:
        return None
    request = {"code": _CODE, "arguments": arguments, "directory": os.getcwd(), "environment": dict(os.environ)}
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        answers = connection.makefile()
        process = int(answers.readline() or 0)
    except OSError:
        return None
    if not process:
        return None
    for number in _FORWARDED:
        signal.signal(number, lambda received, frame: _forward(process, received))
    status = answers.readline()
    answers.read()  # until the process ends
    if not status:
        print(f"error: process {process} of the warm start was killed", file=sys.stderr)
    return int(status or 1)


def _forward(process: int, received: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, received)


def serve(path: str, parent: int, modules: list[str]) -> None:
    """Import the modules and answer at the socket `path`, in a directory for it only, until the parent process ends."""
    server = os.getpid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)  # requests wait for the imports
        listener.settimeout(_LOOK_SECONDS)
        for module in modules:
            import_module(module)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets processes that ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts the jobs themselves
        while os.getppid() == parent:
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                try:
                    if os.fork() == 0:
                        break
                except OSError as error:  # no memory is left: the job starts by itself
                    print(f"warm start: {error}", file=sys.stderr)
                connection.close()
    if os.getpid() == server:
        shutil.rmtree(os.path.dirname(path))
    else:
        _work(connection)


def _work(connection: socket.socket) -> None:
    """Run the process of one request, up to its exit."""
    connection.settimeout(None)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _, handed, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    if request["code"] != _CODE:
        os._exit(0)
    for file, standard in zip(handed, (0, 1, 2), strict=True):
        os.dup2(file, standard)
        os.close(file)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["submodels", *request["arguments"]]
    random.seed()  # else every process would draw the same numbers
    connection.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    status = _call()
    with suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    sys.exit(status)  # the connection ends with this process, which the caller waits for


def _call() -> int:
    """Exit status of the command line in `sys.argv`; its output is written out."""
    from submodels.cli import main

    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # of any type: the caller needs the status
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _end_with(connection: socket.socket) -> None:
    """End this process at once when the process that requested it has ended."""
    while connection.recv(1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
