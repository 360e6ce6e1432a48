"""One grid, one tree: grids of a checkout do not touch each other, and a name belongs to one grid file."""

import json
import os
import shutil

import pytest
import yaml
from dag import finish, planned, snakemake

GRID = {
    "name": "one",
    "base_models": ["tiny-llama"],
    "submodels": [{"calibration_sets": ["python"], "sparsities": [0.5]}],
    "benchmarks": ["tiny_python", "tiny_csr"],
    "evaluation": {"synonyms": "none"},
    "calibration": {"seqlen": 128},
}


@pytest.fixture
def project(tmp_path):
    """A working directory in which the grid has been run."""
    write(tmp_path, "one")
    finish(tmp_path, "--configfile", str(tmp_path / "one.yaml"))
    return tmp_path


def write(directory, name, **changes):
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(GRID | {"name": name} | changes), encoding="utf-8")
    return path


def plan(directory, name):
    return planned(directory, "--configfile", str(directory / f"{name}.yaml"))


def files_of(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_copy_under_another_name_touches_nothing_of_the_first(project):
    before = files_of(project / "results/one")
    write(project, "two", calibration={"seqlen": 64})
    fresh = plan(project, "two")
    assert fresh["prune"] == fresh["train_base_model"] == fresh["score"] == 1  # the stages find what is made
    finish(project, "--configfile", str(project / "two.yaml"))
    assert files_of(project / "results/one") == before
    assert plan(project, "one") == plan(project, "two") == {}


def test_another_file_of_the_same_name_is_refused(project):
    origin = project / "results/one/origin.json"
    origin.write_text(json.dumps({"grid_files": ["one.yaml"]}), encoding="utf-8")
    other = shutil.copy(project / "one.yaml", project / "other.yaml")
    found = snakemake(project, "--configfile", other, "--cores", "1", "--dry-run", check=False)
    assert found.returncode
    said = " ".join((found.stdout + found.stderr).split())
    assert f"{other}: name: one: results/one/ holds the products of one.yaml" in said
    write(project, "one", seed=1)  # an edited file is the same grid
    assert plan(project, "one")["world"] == 1
    os.rename(project / "one.yaml", project / "renamed.yaml")  # so is one that has moved
    assert plan(project, "renamed")["world"] == 1


def test_a_run_says_whose_tree_it_is_and_what_lies_there_of_old(tmp_path):
    grid = write(tmp_path, "one")
    (tmp_path / "results/submodels").mkdir(parents=True)
    said = snakemake(tmp_path, "--configfile", str(grid), "--cores", "1", "results/one/grid.json").stderr
    assert json.loads((tmp_path / "results/one/origin.json").read_text(encoding="utf-8")) == {
        "grid_files": ["one.yaml"]
    }
    assert said.count("results/ holds submodels from an older layout") == 1


def test_fetched_things_go_by_name_and_revision(tmp_path):
    source = {"hub": "house/rows", "revision": "a" * 40, "split": "train"}
    entry = {"domain": "code", "source": source, "template": "{text}"}
    blocks = [{"calibration_sets": ["mine"], "sparsities": [0.5]}]

    def fetched(name, **changes):
        sets = {"mine": entry | {"source": source | changes}}
        path = write(tmp_path, name, calibration_sets=sets, submodels=blocks)
        summary = snakemake(tmp_path, "--configfile", str(path), "--cores", "1", "--summary").stdout
        return {line.split("\t")[0] for line in summary.splitlines() if line.startswith("resources/fetched/")}

    first = fetched("one")
    assert all(path.startswith(f"resources/fetched/calibration_sets/mine@{'a' * 12}-") for path in first)
    assert fetched("two") == first
    assert fetched("three", revision="b" * 40).isdisjoint(first)
    assert fetched("four", split="test").isdisjoint(first)
