"""Two grids in one checkout: neither touches the other's files, and nothing is made twice. At once: test_slurm_demo."""

import shutil

import pytest
import runs

from submodels import files

pytestmark = pytest.mark.slurm


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
    status, said = runs.snakemake(
        copied, "--cores", "2", "--configfile", runs.write_grid(copied, "shorter", runs.shorter)
    )
    assert status == 0, said[-5000:]
    assert state(copied / "results/reduced") == first
    assert "Nothing to be done" in runs.snakemake(copied, "--cores", "2", "--dry-run")[1]
    tree = copied / "results/shorter"
    assert worked(tree, "world") == worked(tree, "base_models") == {}
    masks = {f"short-llama/wanda-{name}-0.50-s0/manifest.json" for name in ("python", "translation")}
    assert worked(tree, "submodels").keys() == masks  # magnitude sees no windows


def test_only_what_is_new_of_a_larger_grid_is_done(copied):
    status, said = runs.snakemake(copied, "--cores", "2", "--configfile", runs.write_grid(copied, "larger", larger))
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
