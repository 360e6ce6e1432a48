"""The expanded grid: ids, counts and paths."""

import shutil

import pytest

from submodels.config import check_grid
from submodels.errors import SubmodelsError
from submodels.grid import Expansion

GRID = {
    "name": "test",
    "base_models": ["tiny-llama", "tiny-gemma"],
    "submodels": [
        {"calibration_sets": ["python", "csr"], "sparsities": [0.5, "2of4"], "seeds": [0, 1]},
        {"base_models": ["tiny-gemma"], "methods": ["magnitude"], "sparsities": [0.5], "evaluate": False},
    ],
    "benchmarks": ["tiny_python", "tiny_csr"],
    "export": ["tiny-gemma/magnitude-none-0.50-s0"],
}


def expand(**changes):
    return Expansion(check_grid(GRID | changes, "grid.yaml"), "grid.yaml")


def test_product_of_the_axes():
    grid = expand()
    assert list(grid.submodels("tiny-llama")) == [
        f"wanda-{name}-{sparsity}-s{seed}"
        for name in ("python", "csr")
        for sparsity in ("0.50", "2of4")
        for seed in (0, 1)
    ]
    assert len(grid.submodels("tiny-gemma")) == 9


def test_the_dense_baseline_is_evaluated_and_masks_only_blocks_are_not():
    assert expand().evaluated("tiny-gemma")[0] == "dense"
    assert "magnitude-none-0.50-s0" not in expand().evaluated("tiny-gemma")


def test_draws_are_shared_between_sparsities():
    assert expand().draws() == ["csr-s0", "csr-s1", "python-s0", "python-s1"]


def test_a_submodel_in_two_blocks_is_refused():
    twice = [*GRID["submodels"], {"calibration_sets": ["csr"], "sparsities": [0.5]}]
    with pytest.raises(
        SubmodelsError, match=r"grid\.yaml: submodels\[2\]: tiny-llama/wanda-csr-0\.50-s0 is in an earlier block"
    ):
        expand(submodels=twice)


def test_an_export_of_no_submodel_is_refused():
    with pytest.raises(SubmodelsError, match=r"grid\.yaml: export: unknown sub-model 'tiny-llama/dense'"):
        expand(export=["tiny-llama/dense"])


def test_code_is_scored_on_executions_and_the_rest_on_generations():
    grid = expand()
    assert grid.samples("tiny-llama", "dense", "tiny_python").startswith("results/executions/")
    assert grid.samples("tiny-llama", "dense", "tiny_csr").startswith("results/generations/")


def test_settings_that_change_samples_and_those_that_do_not():
    base = expand().generation_settings("tiny_python")
    assert expand(seed=1).generation_settings("tiny_python") != base
    assert expand(evaluation={"limit": 2}).generation_settings("tiny_python") != base
    assert expand(evaluation={"batch_size": 2}).generation_settings("tiny_python") == base


def test_a_benchmark_of_ones_own_is_a_task_file_and_a_file_of_items(tmp_path, monkeypatch, root):
    """The recipe of the README, followed to the letter on a copy of resources/."""
    resources = shutil.copytree(root / "resources", tmp_path / "resources")
    monkeypatch.setattr("submodels.resources.ROOT", resources)
    task = (resources / "tasks/tiny_math.yaml").read_text(encoding="utf-8")
    task = task.replace("tiny_math", "my_math").replace("tiny_world: true", "file: my_math.jsonl")
    (resources / "tasks/my_math.yaml").write_text(task, encoding="utf-8")
    grid = expand(benchmarks=["my_math"])
    assert grid.items("my_math") == str(resources / "tasks/my_math.jsonl")
