"""A real Slurm on this machine: a controller and two nodes, on loopback, in the partitions `cpu` and `gpu`.

All daemons are children of the test process and end with it. The nodes are virtual, two slurmd with names of their own;
each has the machine's cores, more memory than any test asks for, and `gpu01` two stand-ins for GPUs.
"""

import os
import re
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "setpriv")
PACKAGES = "slurmctld slurmd slurm-client munge"
# Nowhere else: the executor takes SLURM_CONF from the environment of its job steps.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
DEVICES = CONFIGURATION.with_name("gres.conf")
OURS = "# Written by the tests of submodels.\n"
PORTS = {"slurmctld": 6817, "cpu01": 6818, "gpu01": 6828}
PARTITIONS = {"cpu": "cpu01", "gpu": "gpu01"}
# Without cgroups, which containers lack: processes by /proc, memory by polling, no binding to cores.
SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,bf_interval=5,sched_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
MinJobAge=7200
KillWait=2
JobCompType=jobcomp/filetxt
JobCompLoc={directory}/finished.log
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/%n.log
NodeName=cpu01 NodeHostname={host} NodeAddr=127.0.0.1 Port={cpu01} CPUs={cpus} RealMemory=64000
NodeName=gpu01 NodeHostname={host} NodeAddr=127.0.0.1 Port={gpu01} CPUs={cpus} RealMemory=64000 Gres=gpu:fake:2
PartitionName=cpu Nodes=cpu01 Default=YES
PartitionName=gpu Nodes=gpu01
"""


def obstacle() -> str | None:
    """Why no Slurm can be started here; None if one can."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(missing)} on PATH; install Slurm (Debian: apt-get install {PACKAGES})"
    if CONFIGURATION.exists() and not CONFIGURATION.read_text(encoding="utf-8").startswith(OURS):
        return f"{CONFIGURATION} exists: this machine belongs to a Slurm already"
    try:
        socket.gethostbyname(_host())
    except OSError:
        return f"the host's name {_host()} has no address; add it to /etc/hosts"
    return None


class Job(NamedTuple):
    """A job as Slurm knows it; `comment` names rule and wildcards."""

    id: str
    state: str
    partition: str
    node: str
    memory: str
    directory: str
    comment: str


class Cluster:
    """Starts with `start`; `stop` ends whatever runs and removes what was written outside `directory`."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        for name in ("state", *PARTITIONS.values()):
            (self.directory / name).mkdir()
        devices = [self.directory / f"device{number}" for number in range(2)]
        for device in devices:  # slurmd wants character devices: copies of /dev/null
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        settings = {"host": _host(), "directory": self.directory, "cpus": os.cpu_count()} | PORTS
        CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
        CONFIGURATION.write_text(OURS + SETTINGS.format(**settings), encoding="utf-8")
        names = ",".join(map(str, devices))
        DEVICES.write_text(f"{OURS}NodeName=gpu01 Name=gpu Type=fake File={names}\n", encoding="utf-8")
        if not _answers("munge", "-n"):
            self._start_munged()
        self.start_controller()
        for node in PARTITIONS.values():
            self.start_node(node)

    def _start_munged(self) -> None:
        for directory in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
            command = ["install", "-d", "-o", "munge", "-g", "munge", "-m", "0755", directory]
            subprocess.run(command, check=True)
        user = ("--reuid=munge", "--regid=munge", "--init-groups")
        self._run("munged", *user, "munged", "--foreground", "--force")
        wait_until(lambda: _answers("munge", "-n"), "munged answers")

    def start_controller(self) -> None:
        self._run("slurmctld", "slurmctld", "-D")
        wait_until(lambda: "UP" in _output("scontrol", "ping"), "slurmctld answers")

    def stop_controller(self) -> None:
        self._end("slurmctld")

    def start_node(self, node: str) -> None:
        self._run(node, "slurmd", "-D", "-N", node)
        wait_until(lambda: self._up(node), f"{node} is up")

    def _up(self, node: str) -> bool:
        state = _output("sinfo", "--noheader", "--nodes", node, "--format", "%t").strip()
        if state.startswith("down"):
            subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], capture_output=True)
        return state in ("idle", "mix", "alloc")

    def lose_node(self, node: str) -> list[Job]:
        """The node dies with all that runs on it; the jobs it had."""
        lost = [job for job in self.jobs(states="running") if job.node == node]
        self._daemons.pop(node).kill()
        for job in lost:
            kill_processes(job)
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=down", "reason=lost"], check=True)
        return lost

    def jobs(self, directory: Path | None = None, states: str = "all") -> list[Job]:
        """Jobs in these states, of the runs in a directory, by their submission; finished ones are not forgotten."""
        lines = _output("squeue", "--noheader", f"--states={states}", "--sort=i", "--format=%i|%T|%P|%N|%m|%Z|%k")
        jobs = [Job(*line.split("|")) for line in lines.splitlines()]
        return [job for job in jobs if directory is None or job.directory == str(directory)]

    def stop(self) -> None:
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        for name in [*PARTITIONS.values(), "slurmctld", "munged"]:
            if name in self._daemons:
                self._end(name)
        for path in (CONFIGURATION, DEVICES):
            path.unlink(missing_ok=True)

    def _run(self, name: str, *command: str) -> None:
        """Start a daemon that ends with this process; `command` may begin with further options of setpriv."""
        with open(self.directory / f"{name}.out", "ab") as out:
            command = ["setpriv", "--pdeathsig=TERM", *command]
            self._daemons[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def kill_processes(job: Job) -> None:
    """SIGKILL for every process of a job, its keepers included."""
    step = re.compile(rf"slurmstepd: \[{job.id}\.")
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("SLURM_JOB_ID") == job.id or step.match(" ".join(process.cmdline()))
            if mine:
                process.kill()
        except psutil.Error:
            continue  # gone meanwhile


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout
