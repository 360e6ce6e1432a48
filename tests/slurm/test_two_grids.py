"""Two grids in one checkout: neither touches the other's files, nothing is made twice, and both may run at once."""

import shutil

import pytest
import runs
import yaml
from cluster import wait_until

from submodels import files

pytestmark = pytest.mark.slurm


def write(directory, name, change):
    grid = yaml.safe_load(runs.GRID.read_text(encoding="utf-8")) | {"name": name}
    change(grid)
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    return path.name


def shorter(grid):
    grid["calibration"]["seqlen"] = 64


def larger(grid):
    grid["submodels"][0]["calibration_sets"].append("math")
    grid["benchmarks"].append("tiny_csr")


def state(tree):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tree.rglob("*")}


def worked(tree, stage):
    """Manifests of what a stage made itself, by their place."""
    found = {
        path.relative_to(tree / stage).as_posix(): files.read_json(path)
        for path in (tree / stage).rglob("*manifest.json")
    }
    return {place: content for place, content in found.items() if "taken_from" not in content}


@pytest.fixture
def copied(local, tmp_path):
    """A checkout in which the reduced demo has run."""
    return shutil.copytree(local, tmp_path / "copied", symlinks=True)


def test_another_window_length_leaves_the_first_tree_as_it_is(copied):
    first = state(copied / "results/reduced")
    status, said = runs.snakemake(copied, "--cores", "2", "--configfile", write(copied, "shorter", shorter))
    assert status == 0, said[-5000:]
    assert state(copied / "results/reduced") == first
    assert "Nothing to be done" in runs.snakemake(copied, "--cores", "2", "--dry-run")[1]
    tree = copied / "results/shorter"
    assert worked(tree, "world") == worked(tree, "base_models") == {}
    masks = {f"short-llama/wanda-{name}-0.50-s0/manifest.json" for name in ("python", "translation")}
    assert worked(tree, "submodels").keys() == masks  # magnitude sees no windows


def test_only_what_is_new_of_a_larger_grid_is_done(copied):
    status, said = runs.snakemake(copied, "--cores", "2", "--configfile", write(copied, "larger", larger))
    assert status == 0, said[-5000:]
    tree, new, old = copied / "results/larger", "wanda-math-0.50-s0", ["dense", "magnitude-none-0.50-s0"]
    old += [f"wanda-{name}-0.50-s0" for name in ("python", "translation")]
    assert worked(tree, "calibration").keys() == {"short-llama/math-s0/manifest.json"}
    assert worked(tree, "submodels").keys() == {f"short-llama/{new}/manifest.json"}
    answered = {f"short-llama/{submodel}/tiny_csr.manifest.json" for submodel in [*old, new]}
    answered |= {f"short-llama/{new}/{benchmark}.manifest.json" for benchmark in ("tiny_python", "tiny_translation")}
    assert worked(tree, "generations").keys() == answered
    executed = worked(tree, "executions")
    assert executed.keys() == {f"short-llama/{new}/tiny_python.manifest.json"}
    assert sum(content["results"]["run"] for content in executed.values()) > 0
    shared = [f"generations/short-llama/{submodel}/tiny_python.jsonl.gz" for submodel in old]
    for name in shared:
        assert (tree / name).read_bytes() == (copied / "results/reduced" / name).read_bytes()


def test_two_grids_at_once_on_slurm(cluster, local, tmp_path):
    directory = runs.checkout(tmp_path / "both")
    log = tmp_path / "first.log"
    first = runs.start(directory, "--profile", "slurm", log=log)
    wait_until(lambda: cluster.jobs(directory, states="PENDING,RUNNING"), "the first grid has jobs in the queue", 300)
    status, said = runs.snakemake(directory, "--profile", "slurm", "--configfile", write(directory, "shorter", shorter))
    assert status == 0, said[-5000:]
    assert first.wait(1800) == 0, log.read_text(encoding="utf-8")[-5000:]
    assert {job.state for job in cluster.jobs(directory)} == {"COMPLETED"}
    assert runs.differences(local, directory, "tables", "overlap", "scores") == []
    for name in ("config.yaml", "shorter.yaml"):
        assert "Nothing to be done" in runs.snakemake(directory, "--cores", "2", "--dry-run", "--configfile", name)[1]
    assert f"{directory}/results/shorter/logs/slurm/rule_score/" in said  # no other grid's jobs are looked for there
