"""The trusted process inside the sandbox: takes jobs as JSON lines on stdin, answers each with one JSON line on stdout.

First line in: the settings (see `submodels.evaluation.sandbox`). It then runs one sample at a time. Each sample gets a
room, separate namespaces inside the sandbox (user, pid, mount, ipc): a private /tmp and /proc, a process table in
which this supervisor does not exist, and a separate process count. When the first process of that pid namespace ends,
the kernel kills everything the sample started, and its /tmp is gone. Nothing is left for the next sample.

    supervisor -> init (process 1 of the new namespaces, a trusted loop) -> one child a step

A room is kept for the next sample only if the sample left no trace in it: its init has no descendant left (a process
whose parent ends becomes the init's child) and /tmp was never changed. There is nothing else to change: /proc and the
rest are read-only, and the filter of system calls forbids a process to change its init or to leave objects in the
kernel. No byte of a sample ever enters the init. Making a room costs more than running most Python samples.

Job: {"files": {path: text}, "java": source | null, "steps": [step, ...]}; a step has "timeout" (seconds of wall time),
"memory_mb", either "command" (a list) or "python" ({"solution", "test"}), and may have "remove" (files to delete before
it starts). A command finds a nonce on its stdin, and nothing after it.
Outcome: {"steps": [{"status", "report"}, ...], "nonce", "stdout", "stderr", "stopped": null | "timed out" |
"out of memory" | "output" | "processes"}; a status is an exit status or minus a signal; a step that was stopped is not
listed; the nonce and the output are the last step's.
"""

import contextlib
import functools
import gc
import json
import marshal
import os
import resource
import select
import signal
import socket
import sys
import time

import java_compiler
import kernel
import python_sample
import system_calls

PROCESSES = 64  # a JVM has about 20 threads, Node.js about 11; both count
OUTPUT_BYTES = 8_000_000
TAIL_BYTES = 16_000
SAMPLE_TMP_MB = 64
OPEN_FILES = 256
STACK_BYTES = 8 << 20
WATCH_SECONDS = 0.05
SAMPLE_NAMESPACES = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC
# Before Linux 5.14 processes are counted for the user, not for the user namespace, so other work of the user counts.
_COUNTED_IN_NAMESPACE = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14)
_MACHINE = os.uname().machine
_FILTER = system_calls.program(_MACHINE) if _MACHINE in system_calls.MACHINES else None


def main() -> None:
    jobs = os.fdopen(os.dup(0), encoding="utf-8")
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    settings = json.loads(jobs.readline())
    os.umask(0o022)
    enter(settings)
    compiler = None
    if settings["java"]:
        ready = settings["prepared"].get(java_compiler.PREPARED)
        program = java_compiler.ready(ready) if ready else [settings["here"] + "/Compiler.java"]
        compiler = java_compiler.JavaCompiler(settings["java"], program, settings["here"] + "/Launcher.java")
    sys.path = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    own = {os.getpid(), os.getppid(), 1}
    for name in ("java_compiler", "kernel", "python_sample", "system_calls"):
        del sys.modules[name]  # so a sample imports the standard library's module
    gc.freeze()  # a collection in a forked sample would copy every page; it also hides our objects from samples
    room = None
    while True:
        room = room or Room(settings["namespaces"])  # made before the next job is read: the room knows no job
        line = jobs.readline()
        if not line:
            return
        outcome, room = run(json.loads(line), room, compiler, own, jobs.fileno())
        results.write(json.dumps(outcome) + "\n")
        results.flush()
        del line, outcome


def enter(settings: dict) -> None:
    """The steps that the launcher could not do: build the root, leave the privileged user, give up capabilities."""
    if settings["build_root"]:
        import root

        root.build(**settings["build_root"])
    elif settings["mount_proc"]:
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    if settings["drop_to"] is not None:
        os.setgroups([])
        os.setresgid(*[settings["drop_to"]] * 3)
        os.setresuid(*[settings["drop_to"]] * 3)
    elif settings["build_root"]:
        kernel.enter_user_namespace()  # out of the user that built the root
    if settings["namespaces"]:
        kernel.drop_capabilities()
        kernel.die_with_parent()  # ends the whole pid namespace too; without namespaces `_attend` sees the caller end
        os.chdir("/tmp")
    kernel.become_subreaper()  # without namespaces, processes that a sample leaves behind come here


def run(job: dict, room, compiler, own: set[int], caller: int) -> tuple:
    """The outcome of a job, and its room if the next job may use it."""
    files = {path: text.encode("utf-8", "replace") for path, text in job["files"].items()}
    if compiler:
        own = own | {compiler.process.pid}
    if job["java"] is not None:
        try:
            files |= compiler.compile_program(job["java"], job["compile_timeout"])
        except java_compiler.CompileError as error:
            return {"steps": [], "stopped": "compile error", "nonce": "", "stdout": "", "stderr": str(error)}, room
        except TimeoutError:
            return {"steps": [], "stopped": "timed out", "nonce": "", "stdout": "", "stderr": ""}, room
    steps = []
    for step in job["steps"]:
        done, outcome = room.run(step, files, own, caller)
        if done:
            steps.append(done)
        if not done or done["status"] != 0:
            break
        files = {}
    if not room.clean:
        room = room.close()
    return {"steps": steps} | outcome, room


class Room:
    """Namespaces for a sample and their init; `clean`: no sample has changed them."""

    def __init__(self, namespaces: bool):
        self.namespaces, self.clean, self.directory = namespaces, namespaces, None
        if not namespaces:
            import tempfile  # loads libraries that make every later fork slower

            self.directory = tempfile.mkdtemp(prefix="sample-")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        user = os.geteuid(), os.getegid()
        self.init = kernel.fork_into(SAMPLE_NAMESPACES) if namespaces else os.fork()
        if self.init == 0:
            _init(theirs, namespaces, user, self.directory)
        theirs.close()

    def run(self, step: dict, files: dict[str, bytes], own: set[int], caller: int) -> tuple[dict | None, dict]:
        """Run one step; returns its result (None if it was stopped) and the rest of the outcome."""
        pipes = {name: os.pipe() for name in ("order", "stdout", "stderr", "verdict")}
        theirs = [pipes["order"][0], *(pipes[name][1] for name in ("stdout", "stderr", "verdict"))]
        with contextlib.suppress(OSError):  # the init is gone: `_attend` sees that as well
            socket.send_fds(self.control, [b"step"], theirs)
        for file in theirs:
            os.close(file)
        nonce = os.urandom(16).hex()  # made after the room: its memory does not hold it
        if "python" in step:
            step = step | {"python": step["python"] | {"test": _compiled(step["python"]["test"])}}
        with contextlib.suppress(BrokenPipeError), open(pipes["order"][1], "wb") as order:
            message = marshal.dumps((step, files))
            order.write(len(message).to_bytes(8, "big") + message + nonce.encode())
        ended, outcome = self._attend(step, own, caller, {name: pipes[name][0] for name in ("stdout", "stderr")})
        done = None
        if ended:
            status, self.clean = ended
            done = {"status": status, "report": _said(pipes["verdict"][0], nonce)}
        else:
            self.clean = False
        for name in ("stdout", "stderr", "verdict"):
            os.close(pipes[name][0])
        return done, outcome | {"nonce": nonce}

    def _attend(self, step: dict, own: set[int], caller: int, pipes: dict[str, int]) -> tuple[tuple | None, dict]:
        """Read the sample's output until the step has ended, a limit is passed, or the caller or the init is gone."""
        control = self.control.fileno()
        names = {file: name for name, file in pipes.items()}
        poll = select.poll()
        for file in (control, *names):
            poll.register(file, select.POLLIN)
        poll.register(caller, 0)  # only its hanging up
        output = dict.fromkeys(pipes, b"")
        total, ended, stopped, finished = 0, None, None, False
        deadline = time.monotonic() + step["timeout"]
        next_watch = time.monotonic() + WATCH_SECONDS
        while stopped is None:
            ready = poll.poll(0 if finished else WATCH_SECONDS * 1000)
            for file, _ in ready:
                if file == caller:
                    stopped = "abandoned"
                    break
                if file == control:
                    message = self.control.recv(4096)
                    ended = marshal.loads(message) if message else None
                    finished = True
                    poll.unregister(control)
                elif data := os.read(file, 65536):
                    total += len(data)
                    output[names[file]] = (output[names[file]] + data)[-TAIL_BYTES:]
                else:
                    poll.unregister(file)
            if stopped or (finished and not ready):
                break  # the step has ended and the pipes are drained
            now = time.monotonic()
            if total > OUTPUT_BYTES:
                stopped = "output"
            elif now > deadline and not finished:
                stopped = "timed out"
            elif now > next_watch and self.namespaces:
                next_watch = now + WATCH_SECONDS
                stopped = _over_limits(own, step["memory_mb"])
        if isinstance(ended, str):  # not the sample's fault
            raise RuntimeError(f"cannot run a sample: {ended}")
        text = {name: data.decode("utf-8", "replace") for name, data in output.items()}
        return None if stopped else ended, text | {"stopped": stopped}

    def close(self) -> None:
        """Kill the init, and with it every process that the sample started."""
        self.control.close()
        if self.namespaces:
            os.kill(self.init, signal.SIGKILL)  # not reaped yet, so no other process has the number
            os.waitpid(self.init, 0)
            return
        # Without namespaces the sample's processes are found as orphans of this subreaper, until none is left.
        seen = set()
        for victim in iter(lambda: _orphan(self.init, seen), 0):
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            seen.add(victim)
        import shutil

        shutil.rmtree(self.directory, ignore_errors=True)


@functools.lru_cache(maxsize=512)
def _compiled(test: str) -> str | bytes:
    """A benchmark's tests, compiled once for all its samples; their text if that fails: then the sample's run fails."""
    try:
        return marshal.dumps(compile(test, "<test>", "exec"))
    except Exception:
        return test


def _over_limits(own: set[int], memory_mb: int) -> str | None:
    """Check the sum over all processes of the sample: a limit set for one process does not hold for their sum."""
    kilobytes = processes = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in own:
            processes += 1
            with contextlib.suppress(OSError), open(f"/proc/{name}/status", "rb") as file:  # it may just have ended
                # Page tables count: mapping and reading nothing but zeros takes gigabytes of them.
                kilobytes += sum(int(line.split()[1]) for line in file if line.startswith((b"VmRSS:", b"VmPTE:")))
    if kilobytes * 1024 > memory_mb * 1_000_000:
        return "out of memory"
    return "processes" if processes > 4 * PROCESSES else None


def _orphan(init: int, seen) -> int:
    """A child of this supervisor that belongs to the sample: only the compiler is in the supervisor's session."""
    if init not in seen:
        return init
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = [int(number) for number in file.read().split()]
    return next((child for child in children if os.getsid(child) != os.getsid(0)), 0)


def _init(control, namespaces: bool, user: tuple[int, int], directory: str | None) -> None:
    """Process 1 of a room: a loop that forks a child for each step and reports how it ended. Never returns."""
    clean = True
    try:
        _furnish(control, namespaces, user, directory)
        furnished = namespaces and _tmp()
        gc.freeze()
        while True:
            _, files, _, _ = socket.recv_fds(control, 16, 4, socket.MSG_CMSG_CLOEXEC)
            if not files:
                break  # the supervisor is gone
            child = os.fork()
            if child == 0:
                _step(control, namespaces, *files)
            clean = False
            for file in files:
                os.close(file)
            pid = status = 0
            while pid != child:
                pid, status = os.wait()
            clean = namespaces and _FILTER is not None and _nobody_left() and _tmp() == furnished
            control.send(marshal.dumps((os.waitstatus_to_exitcode(status), clean)))
    except BaseException as error:
        if clean:  # else hostile code may have caused the error, which then is no fault of the machine
            control.send(marshal.dumps(f"{type(error).__name__}: {error}"))
    finally:
        os._exit(0)


def _furnish(control, namespaces: bool, user: tuple[int, int], directory: str | None) -> None:
    """Drop everything of the supervisor except the socket to it; prepare /tmp and /proc."""
    os.setsid()
    os.dup2(0, 2)
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, OPEN_FILES)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 receives only signals that it has handlers for
    if namespaces:
        kernel.set_dumpable(True)  # else root owns the files to which the new user is written
        kernel.map_user(*user)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        options = f"size={SAMPLE_TMP_MB}m,nr_inodes=10k,mode=0700"
        kernel.mount("tmpfs", "/tmp", "tmpfs", flags | kernel.MS_NOATIME, options)
        kernel.mount("proc", "/proc", "proc", flags | kernel.MS_NOEXEC)
        with open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("0")  # a sample needs no user namespaces, and many bugs of the kernel are reached through them
        kernel.remount_read_only("/proc")
        kernel.drop_capabilities()
        if _FILTER:
            kernel.filter_system_calls(_FILTER)
        kernel.set_dumpable(False)
        directory = "/tmp"
    _limit(resource.RLIMIT_FSIZE, SAMPLE_TMP_MB << 20)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_STACK, STACK_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    os.environ["TMPDIR"] = os.environ["HOME"] = directory
    os.chdir(directory)


def _tmp() -> tuple:
    """Values that change with any change of the working directory: the last of these times cannot be set back.

    Where the clock of files ticks slowly, a change right after the beginning may have the same time; then the other
    values show it.
    """
    state = os.stat(".")
    return state.st_mode, state.st_nlink, state.st_size, os.listxattr("."), state.st_mtime_ns, state.st_ctime_ns


def _nobody_left() -> bool:
    """True if no descendant of this process is left, running or ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    except ChildProcessError:
        return True


def _step(control, namespaces: bool, order: int, stdout: int, stderr: int, verdict: int) -> None:
    """The child that runs one step. Never returns."""
    try:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for file in (control.detach(), stdout, stderr):
            os.close(file)
        step, files = marshal.loads(_read(order, int.from_bytes(_read(order, 8), "big")))
        for path, data in files.items():
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        for path in step.get("remove", ()):
            os.unlink(path)
        _limit_step(step, namespaces)
        if "python" in step:
            kernel.set_dumpable(True)
            python_sample.run(**step["python"], nonce_pipe=order, verdict_pipe=verdict)
        os.dup2(order, 0)
        os.execv(step["command"][0], step["command"])
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(127)


def _read(file: int, length: int) -> bytes:
    data = b""
    while len(data) < length and (part := os.read(file, length - len(data))):
        data += part
    return data


def _said(file: int, nonce: str) -> str | None:
    """The verdict a Python sample reports; the sample itself may have written the line."""
    os.set_blocking(file, False)
    try:
        line = os.read(file, 65536).split(b"\n")[0]
    except BlockingIOError:  # a process that still runs holds the pipe open
        return None
    if line.startswith(b"passed"):
        right_nonce = line == b"passed " + nonce.encode()
        return "passed" if right_nonce else "failed: said passed without the tests having returned"
    if line and line != b"out of memory" and not line.startswith((b"failed: ", b"compile error: ")):
        return "failed: wrote to the pipe of its verdict"
    return line.decode("utf-8", "replace") or None


def _limit_step(step: dict, namespaces: bool) -> None:
    _limit(resource.RLIMIT_DATA, step["memory_mb"] * 1_000_000)
    _limit(resource.RLIMIT_CPU, int(step["timeout"]) + 1, grace=1)  # SIGXCPU first, then SIGKILL
    if namespaces:
        _limit(resource.RLIMIT_NPROC, PROCESSES if _COUNTED_IN_NAMESPACE else 4096)


def _limit(limit: int, value: int, grace: int = 0) -> None:
    ceiling = resource.getrlimit(limit)[1]
    if ceiling == resource.RLIM_INFINITY:
        resource.setrlimit(limit, (value, value + grace))
    else:
        resource.setrlimit(limit, (min(value, ceiling), min(value, ceiling)))


if __name__ == "__main__":
    # Modules that HumanEval's prompts import, loaded once: a forked sample then imports nothing from disk. Only small
    # modules: the time of a fork grows with the libraries that the process has loaded.
    import bisect  # noqa: F401
    import collections  # noqa: F401
    import copy  # noqa: F401
    import heapq  # noqa: F401
    import itertools  # noqa: F401
    import math  # noqa: F401
    import re  # noqa: F401
    import string  # noqa: F401
    import typing  # noqa: F401

    main()
