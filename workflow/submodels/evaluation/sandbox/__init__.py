"""Sandboxes for generated code: no network, no home, no credentials, a minimal read-only system.

A sandbox module says how to start the supervisor (inside/supervisor.py) inside it: `EXECUTABLE`, `INSTALL` and
`start(layout) -> (command, settings)`. One sandbox start serves a worker's whole list of jobs.
"""

import contextlib
import json
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.sandbox import apptainer, bubblewrap, none, unshare
from submodels.evaluation.sandbox.layout import PREPARED_PLACE, clean_environment, layout

SANDBOXES = {"bubblewrap": bubblewrap, "unshare": unshare, "apptainer": apptainer, "none": none}
AUTOMATIC = ("bubblewrap", "unshare", "apptainer")  # tried in this order; "none" must be asked for

_HINT = (
    "install bubblewrap (apt-get install bubblewrap); where user namespaces are switched off, an administrator allows "
    "them with `sysctl -w kernel.unprivileged_userns_clone=1` (Debian) or "
    "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu); in a container, start it with "
    "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined` or `--privileged`. "
    "`sandbox: none` runs generated code with all your rights: use it only on a machine you can afford to lose"
)


class Worker:
    """A supervisor in a sandbox. `run` sends it one job and waits for the outcome; one job at a time."""

    def __init__(
        self, sandbox: str, tools: list[Path] = (), java: Path | None = None, prepared: dict[str, Path] | None = None
    ):
        """`tools`: paths of the programs the jobs call; `java`: the Java program that starts a resident compiler;
        `prepared`: directories by name, which the jobs find at the paths in `places`."""
        if sandbox not in SANDBOXES:
            raise unknown("sandbox", sandbox, [*SANDBOXES, "auto"])
        self.sandbox, self.tools, self.java, self.prepared = sandbox, list(tools), java, prepared or {}
        self._start()

    def another(self) -> "Worker":
        """Another worker with the same settings."""
        return Worker(self.sandbox, self.tools, self.java, self.prepared)

    def _start(self) -> None:
        command, settings = SANDBOXES[self.sandbox].start(layout(self.tools, self.prepared))
        inside = settings["namespaces"]
        self.places = {name: f"{PREPARED_PLACE}/{name}" if inside else str(at) for name, at in self.prepared.items()}
        command[0] = shutil.which(command[0]) or command[0]  # found by this process's PATH, not the clean PATH
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=clean_environment(self.tools),
                cwd="/",
                start_new_session=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise SubmodelsError(f"sandbox {self.sandbox}: cannot start {command[0]}: {error}") from error
        self._send(settings | {"java": self.java and str(self.java), "prepared": self.places})

    def run(self, job: dict) -> dict:
        """The outcome of a job; both are described in inside/supervisor.py."""
        longest = job.get("compile_timeout", 0) + sum(step["timeout"] for step in job["steps"]) + 30
        self._send(job)
        if not select.select([self._process.stdout], [], [], longest)[0]:
            self._process.kill()  # the supervisor enforces time limits; this is for a fault of the supervisor
        line = self._process.stdout.readline()
        if not line:
            raise SubmodelsError(f"sandbox {self.sandbox} stopped: {self._last_words()}")
        return json.loads(line)

    def restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):  # unsent data for a supervisor that has ended
                file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, value: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended; `run` reads its last words
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}, no message"


def start_worker(
    sandbox: str = "auto",
    tools: list[Path] = (),
    java: Path | None = None,
    prepared: dict[str, Path] | None = None,
) -> Worker:
    """A worker in the named sandbox or the first that works, tried with a line of Python. Raises if none works."""
    if sandbox != "auto" and sandbox not in SANDBOXES:
        raise unknown("sandbox", sandbox, [*SANDBOXES, "auto"])
    layout(tools)  # raises for a tool that no sandbox can show: that is no fault of the sandboxes
    reasons = {}
    for name in AUTOMATIC if sandbox == "auto" else (sandbox,):
        try:
            return _tried(name, tools, java, prepared)
        except SubmodelsError as error:
            reasons[name] = str(error)
    tried = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise SubmodelsError(f"no sandbox for generated code works here. Tried {tried}. To fix it: {_HINT}")


def sandbox_status() -> dict[str, str | None]:
    """Each real sandbox -> None if it works here, else the reason."""
    status = {}
    for name in AUTOMATIC:
        try:
            _tried(name).close()
            status[name] = None
        except SubmodelsError as error:
            status[name] = str(error)
    return status


def _tried(
    name: str, tools: list[Path] = (), java: Path | None = None, prepared: dict[str, Path] | None = None
) -> Worker:
    """A worker that has run one line of Python; an error that says why it cannot."""
    module = SANDBOXES[name]
    if module.EXECUTABLE and not shutil.which(module.EXECUTABLE):
        raise SubmodelsError(f"{module.EXECUTABLE} not found ({module.INSTALL})")
    worker = Worker(name, tools, java, prepared)
    step = {"python": {"solution": "", "test": ""}, "timeout": 10.0, "memory_mb": 512}
    try:
        outcome = worker.run({"files": {}, "java": None, "steps": [step]})
        if not (outcome["steps"] and outcome["steps"][0]["report"] == "passed"):
            raise SubmodelsError(f"a sample cannot start in it: {outcome['stderr'].strip() or outcome}")
    except SubmodelsError:
        worker.close()
        raise
    return worker
