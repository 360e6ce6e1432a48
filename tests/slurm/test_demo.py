"""The reduced demo by `snakemake --profile slurm` from a fresh clone, through a real Slurm with two partitions."""

from collections import Counter

import pytest
import runs

pytestmark = pytest.mark.slurm

GPU = ["--set-resources", "prune:gpu=1", "generate:gpu=1"]


def test_the_demo_through_slurm_equals_the_local_run(cluster, local, tmp_path):
    directory = runs.checkout(tmp_path / "slurm")
    status, said = runs.snakemake(directory, "--profile", "slurm")
    assert status == 0, said[-5000:]
    assert runs.differences(local, directory) == []
    jobs = cluster.jobs()
    assert {(job.state, job.partition, job.node) for job in jobs} == {("COMPLETED", "cpu", "cpu01")}
    assert set(Counter(job.comment for job in jobs).values()) == {1}
    status, said = runs.snakemake(directory, "--profile", "slurm")
    assert "Nothing to be done" in said


def test_jobs_that_ask_for_a_gpu_go_where_one_is(cluster, local, tmp_path):
    before = len(cluster.jobs())
    directory = runs.begun(tmp_path / "gpu", local)
    wanted = "results/generations/tiny-llama/magnitude-none-0.50-s0/done.json"
    status, said = runs.snakemake(directory, "--profile", "slurm", wanted, *GPU)
    assert status == 0, said[-5000:]
    placed = {job.comment.split("_")[1]: (job.partition, job.node) for job in cluster.jobs()[before:]}
    gpu = {"prune", "generate"}
    assert placed.keys() > gpu
    assert {placed[rule] for rule in gpu} == {("gpu", "gpu01")}
    assert {placed[rule] for rule in placed.keys() - gpu} == {("cpu", "cpu01")}
