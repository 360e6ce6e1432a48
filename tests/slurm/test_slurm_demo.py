"""The reduced demo by `snakemake --profile slurm` from a fresh clone, through a real Slurm with two partitions."""

import pytest
import runs

pytestmark = pytest.mark.slurm
RULES = {"world", "train", "calibrate", "prune", "generate", "execute", "score", "overlap"}
RULES |= {"tabulate", "figures", "report"}
ON_GPUS = {"prune", "generate"}


def test_the_demo_through_slurm_equals_the_local_run(cluster, local, tmp_path):
    directory = runs.checkout(tmp_path / "slurm")
    status, said = runs.snakemake(directory, "--profile", "slurm")
    assert status == 0, said[-5000:]
    assert runs.differences(local, directory) == []
    jobs = cluster.jobs(directory)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len({job.comment for job in jobs}) == len(jobs)
    places = {(job.comment.split("_")[1], job.partition, job.node) for job in jobs}
    assert places == {(rule, "gpu", "gpu01") if rule in ON_GPUS else (rule, "cpu", "cpu01") for rule in RULES}
    status, said = runs.snakemake(directory, "--profile", "slurm")
    assert "Nothing to be done" in said
