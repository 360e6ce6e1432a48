"""Every fault that a cluster has, on a real Slurm: the grid completes, with the results of an undisturbed run.

Faults happen at one moment, between the write of a product and its rename, by orders to a preloaded library.
"""

import re
import subprocess

import pytest
import runs
from cluster import wait_until

pytestmark = pytest.mark.slurm

MODEL = "short-llama"
WINDOWS = f"{runs.TREE}/calibration/{MODEL}/{{}}/windows.safetensors"
MASK = f"{runs.TREE}/submodels/{MODEL}/{{}}/submodel.safetensors"
OVERLAP = f"{runs.TREE}/overlap/{MODEL}.csv"
SAMPLES = f"{runs.TREE}/generations/{MODEL}/{{}}/{{}}.jsonl.gz"
PYTHON, TRANSLATION, MAGNITUDE = "wanda-python-0.50-s0", "wanda-translation-0.50-s0", "magnitude-none-0.50-s0"
PATIENCE = 900  # seconds; a loaded machine


@pytest.fixture
def disturbed(cluster, local, fault_library, tmp_path):
    disturbed = Disturbed(cluster, runs.begun(tmp_path / "disturbed", local), fault_library)
    yield disturbed
    disturbed.kill()
    subprocess.run(["scancel", "--me"], check=True)  # what a failed test left


class Disturbed:
    """A run that obeys orders, see fault.c; `jobs` are those of Slurm that belong to it."""

    def __init__(self, cluster, directory, library):
        self.directory, self.log = directory, directory.with_suffix(".log")
        self._cluster = cluster
        self._orders = directory.with_suffix(".orders")
        self._orders.mkdir()
        self._environment = {"LD_PRELOAD": str(library), "FAULTS": str(self._orders)}

    def order(self, fault: str, path: str) -> None:
        self._order(path).write_text(fault)

    def _order(self, path):
        return self._orders / path.replace("/", "%")

    def await_obeyed(self, path: str) -> None:
        def obeyed():
            assert self._process.poll() is None, self.said()[-5000:]
            return not self._order(path).exists()

        wait_until(obeyed, f"the order for {path} is obeyed", PATIENCE)

    def start(self, *arguments: str) -> None:
        self._process = runs.start(self.directory, *arguments, log=self.log, **self._environment)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def finish(self) -> int:
        return self._process.wait(PATIENCE)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def jobs(self, states: str = "all") -> list:
        return self._cluster.jobs(self.directory, states)

    def job(self, comment: str):
        """The running job of a rule and wildcards."""
        [found] = [job for job in self.jobs("running") if job.comment == comment]
        return found

    def slurm_said(self, comment: str) -> str:
        """The logs of a rule and wildcards that Slurm kept, those of failed jobs."""
        ids = {job.id for job in self.jobs() if job.comment == comment}
        logs = (self.directory / runs.TREE / "logs/slurm").rglob("*.log")
        return "".join(log.read_text(encoding="utf-8") for log in logs if log.stem in ids)

    def ends(self) -> dict[str, list[str]]:
        """How the jobs of each rule and wildcards ended."""
        ends = {}
        for job in self.jobs():
            ends.setdefault(job.comment, []).append(job.state)
        return ends


def prune(submodel: str) -> str:
    return f"rule_prune_wildcards_{MODEL}_{submodel}"


def calibrate(draw: str) -> str:
    return f"rule_calibrate_wildcards_{MODEL}_{draw}"


def test_jobs_that_fail_in_every_way_are_repeated_and_no_others(disturbed, cluster, local):
    disturbed.order("exit", WINDOWS.format("python-s0"))
    disturbed.order("hang", WINDOWS.format("translation-s0"))
    disturbed.order("kill", MASK.format(PYTHON))
    disturbed.order("hang", MASK.format(TRANSLATION))
    disturbed.order("memory", MASK.format(MAGNITUDE))
    disturbed.order("hang", SAMPLES.format("dense", "tiny_python"))
    disturbed.start("--profile", "slurm")

    disturbed.await_obeyed(WINDOWS.format("translation-s0"))
    running = disturbed.job(calibrate("translation-s0"))
    cluster.stop_controller()
    cluster.start_controller()
    assert disturbed.job(running.comment) == running
    subprocess.run(["scontrol", "update", f"jobid={running.id}", "TimeLimit=1"], check=True)

    disturbed.await_obeyed(MASK.format(TRANSLATION))
    subprocess.run(["scancel", disturbed.job(prune(TRANSLATION)).id], check=True)

    disturbed.await_obeyed(SAMPLES.format("dense", "tiny_python"))
    lost = [job.comment for job in cluster.lose_node("gpu01")]
    cluster.start_node("gpu01")

    assert disturbed.finish() == 0, disturbed.said()[-5000:]
    assert runs.differences(local, disturbed.directory) == []
    expected = {
        calibrate("python-s0"): ["FAILED"],
        calibrate("translation-s0"): ["TIMEOUT"],
        prune(PYTHON): ["FAILED"],
        prune(TRANSLATION): ["CANCELLED"],
        prune(MAGNITUDE): ["FAILED"],
    }
    for comment in lost:
        expected.setdefault(comment, []).append("NODE_FAIL")
    assert f"rule_generate_wildcards_{MODEL}_dense" in lost
    memory = [int(job.memory.removesuffix("M")) for job in disturbed.jobs() if job.comment == prune(MAGNITUDE)]
    assert memory[0] < memory[1]
    assert "Exceeded job memory limit" in disturbed.slurm_said(prune(MAGNITUDE))
    assert disturbed.ends() == {comment: [*expected.get(comment, []), "COMPLETED"] for comment in disturbed.ends()}
    assert disturbed.ends().keys() > expected.keys()


def test_a_killed_snakemake_starts_again_and_no_job_runs_twice(disturbed, local):
    """SIGKILL for Snakemake itself, while its jobs go on; up to the overlap, for time."""
    command = ("--profile", "slurm", OVERLAP)
    disturbed.order("hang", MASK.format(PYTHON))
    disturbed.start(*command)
    disturbed.await_obeyed(MASK.format(PYTHON))
    disturbed.kill()
    orphan = disturbed.job(prune(PYTHON))
    wait_until(lambda: disturbed.jobs("pending,running,completing") == [orphan], "the other jobs end", PATIENCE)

    status, said = runs.snakemake(disturbed.directory, *command)
    assert status != 0
    assert "Directory cannot be locked" in said
    assert runs.snakemake(disturbed.directory, "--unlock")[0] == 0

    status, said = runs.snakemake(disturbed.directory, *command)
    assert status != 0
    remedy = re.search(r"scancel [\d ]+", said)
    assert remedy, said
    assert remedy[0].split()[1:] == [orphan.id]
    subprocess.run(remedy[0].split(), check=True)
    wait_until(lambda: not disturbed.jobs("running,completing"), "the job is cancelled")

    status, said = runs.snakemake(disturbed.directory, *command)
    assert status == 0, said[-5000:]
    assert runs.differences(local, disturbed.directory, "calibration", "submodels", "overlap") == []
    ends = disturbed.ends()
    assert ends.keys() >= {prune(PYTHON), prune(TRANSLATION), prune(MAGNITUDE), f"rule_overlap_wildcards_{MODEL}"}
    assert ends.pop(prune(PYTHON)) == ["CANCELLED", "COMPLETED"]
    assert set(map(tuple, ends.values())) == {("COMPLETED",)}
