"""From an outcome of the sandbox (inside/supervisor.py) to one of the verdicts every language shares.

A pass needs a nonce in the program's last output. The supervisor makes the nonce when the program starts and hands it
over on stdin; a part of the harness that runs before any of the sample takes it from there, so that it is in no file,
no text of a function, no argument, no environment and, once the sample runs, no open file. In C++ and Java a second
half is in the last statement of the tests, so that a program that ends before its tests does not pass.

Limit: the solution shares a process with its tests. It can still search the memory of this process: in C++ with
pointers, or with code that the loader runs before the first initialiser; in Java with `sun.misc.Unsafe` or a debugger
attached to itself; in JavaScript with a heap snapshot or the inspector. Or it can answer with an object whose
comparison lies, or replace functions that the tests call. Such code can forge a pass for itself. It cannot reach other
samples, their verdicts or the machine.

"sandbox violation" is narrow: the process that holds the tests made a system call that only hostile code makes
(inside/system_calls.py) and the kernel ended it. An access that the sandbox merely refuses, such as a file or a
connection, is an ordinary failure: honest code meets it too.
"""

import re
import signal

from submodels.verdict import COMPILE_ERROR, FAILED, OUT_OF_MEMORY, PASSED, TIMED_OUT, VIOLATION, Verdict

_STOPPED = {
    "timed out": Verdict(TIMED_OUT),
    "out of memory": Verdict(OUT_OF_MEMORY),
    "output": Verdict(FAILED, "too much output"),
    "processes": Verdict(FAILED, "too many processes"),
}
_BY_SIGNAL = {-signal.SIGXCPU: Verdict(TIMED_OUT), -signal.SIGSYS: Verdict(VIOLATION, "forbidden system call")}


def program_verdict(outcome: dict, nonces: tuple[str, ...], memory_errors: tuple[str, ...]) -> Verdict:
    """The verdict on a compiled or interpreted program; every step but the last compiles.

    Passed means: exit status 0, the nonces near the end of stdout (threads, timers and buffers may write after them),
    and nothing on stderr where the benchmark is `quiet`.
    """
    steps, stderr = outcome["steps"], outcome["stderr"]
    if outcome["stopped"] == "compile error":
        return Verdict(COMPILE_ERROR, stderr)
    if outcome["stopped"]:
        return _STOPPED[outcome["stopped"]]
    status = steps[-1]["status"] if steps else None
    if status in _BY_SIGNAL:
        return _BY_SIGNAL[status]
    if steps and len(steps) < outcome["expected_steps"]:
        return Verdict(COMPILE_ERROR, _compile_error(stderr))
    if status != 0 and any(text in stderr for text in memory_errors):
        return Verdict(OUT_OF_MEMORY)
    if status != 0 or (outcome["quiet"] and stderr.strip()):
        return Verdict(FAILED, error_line(stderr) or ended(status))
    if not all(nonce in outcome["stdout"] for nonce in nonces):
        return Verdict(FAILED, "ended before its tests did (exit status 0)")
    return Verdict(PASSED)


def python_verdict(outcome: dict) -> Verdict:
    """The verdict on a Python sample, whose forked process reports for itself."""
    if outcome["stopped"]:
        return _STOPPED[outcome["stopped"]]
    step = outcome["steps"][-1] if outcome["steps"] else {"status": None, "report": None}
    if step["status"] in _BY_SIGNAL:
        return _BY_SIGNAL[step["status"]]
    if not step["report"]:
        return Verdict(FAILED, f"ended before its tests did ({ended(step['status'])})")
    report = Verdict.parse(step["report"])
    if report.passed and outcome["quiet"] and outcome["stderr"].strip():
        return Verdict(FAILED, error_line(outcome["stderr"]))
    return report


def ended(status: int | None) -> str:
    if status is None:
        return "ended with its sandbox"
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def error_line(stderr: str) -> str:
    """The last line that names an error, else the last line that is not blank; at most 500 characters."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"(Error|Exception|Assertion)\b", line) and not line.startswith("at ")]
    return (named or lines or [""])[-1][:500]


def _compile_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if "error:" in line or "undefined reference" in line]
    return (lines or [error_line(stderr)])[0][:500]
