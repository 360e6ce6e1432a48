"""One real Slurm and one undisturbed local run for all tests here."""

import os
import subprocess
from pathlib import Path

import pytest
import runs
from cluster import Cluster, obstacle


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if reason := obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def local(cluster, tmp_path_factory):
    """A fresh copy in which the reduced demo has run without Slurm and undisturbed."""
    directory = runs.checkout(tmp_path_factory.mktemp("local"))
    status, said = runs.snakemake(directory, "--cores", "2")
    assert status == 0, said[-5000:]
    return directory


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory):
    """fault.c, compiled."""
    library = tmp_path_factory.mktemp("library") / "fault.so"
    source = Path(__file__).with_name("fault.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library
