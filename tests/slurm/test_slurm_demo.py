"""The reduced demo by `snakemake --profile slurm` from a fresh clone, through a real Slurm with two partitions."""

from collections import Counter

import pytest
import runs
from cluster import wait_until

pytestmark = pytest.mark.slurm
RULES = {"world", "train", "calibrate", "prune", "generate", "execute", "score", "overlap"}
RULES |= {"tabulate", "figures", "report"}
ON_GPUS = {"prune", "generate"}
LONGEST = 1800  # seconds that a grid may take on a loaded machine


def test_the_demo_and_another_grid_at_once_equal_the_local_run(cluster, local, tmp_path):
    """Two Snakemakes in one checkout: each its own jobs, logs and files."""
    directory, log = runs.checkout(tmp_path / "slurm"), tmp_path / "demo.log"
    demo = runs.start(directory, "--profile", "slurm", log=log)
    wait_until(lambda: cluster.jobs(directory, states="PENDING,RUNNING"), "the demo has jobs in the queue", 300)
    other = runs.write_grid(directory, "shorter", runs.shorter)
    status, said = runs.snakemake(directory, "--profile", "slurm", "--configfile", other)
    assert status == 0, said[-5000:]
    assert demo.wait(LONGEST) == 0, log.read_text(encoding="utf-8")[-5000:]
    assert f"{directory}/results/shorter/logs/slurm/rule_score/" in said  # no other grid's jobs are looked for there

    assert runs.differences(local, directory) == []
    jobs = cluster.jobs(directory)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert max(Counter(job.comment for job in jobs).values()) == 2  # once for each grid
    places = {(job.comment.split("_")[1], job.partition, job.node) for job in jobs}
    assert places == {(rule, "gpu", "gpu01") if rule in ON_GPUS else (rule, "cpu", "cpu01") for rule in RULES}
    status, said = runs.snakemake(directory, "--profile", "slurm")
    assert "Nothing to be done" in said
    assert "Nothing to be done" in runs.snakemake(directory, "--cores", "2", "--dry-run", "--configfile", other)[1]
