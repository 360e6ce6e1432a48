"""The expanded grid: ids, counts and paths."""

import shutil

import pytest

from submodels.calibration.registry import load_calibration_sets
from submodels.config import check_grid
from submodels.errors import SubmodelsError
from submodels.grid import Grid

GRID = {
    "name": "test",
    "base_models": ["tiny-llama", "tiny-gemma"],
    "submodels": [
        {"calibration_sets": ["python", "csr"], "sparsities": [0.5, "2of4"], "seeds": [0, 1]},
        {"base_models": ["tiny-gemma"], "methods": ["magnitude"], "sparsities": [0.5], "evaluate": False},
    ],
    "benchmarks": ["tiny_python", "tiny_csr"],
    "keep": ["tiny-gemma/magnitude-none-0.50-s0"],
}


def expand(**changes):
    return Grid(check_grid(GRID | changes, "grid.yaml"), "grid.yaml")


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
    assert list(expand().draws()) == ["csr-s0", "csr-s1", "python-s0", "python-s1"]


def sized(**block):
    return {"calibration_sets": ["python"], "sparsities": [0.5], **block}


def test_sizes_are_an_axis():
    grid = expand(submodels=[sized(rows=[32, 512]), sized()], calibration={"rows": 64}, keep=[])
    ids = ["wanda-python-n32-0.50-s0", "wanda-python-n512-0.50-s0", "wanda-python-0.50-s0"]
    assert list(grid.submodels("tiny-llama")) == ids
    assert {name: grid.size(submodel).rows for name, submodel in grid.draws().items()} == {
        "python-n32-s0": 32, "python-n512-s0": 512, "python-s0": 64,
    }  # fmt: skip
    described = grid.describe()["submodels"]
    assert [described[id]["rows"] for id in ids] == [32, 512, 64]
    assert [described[id]["calibration"] for id in ids] == ["python"] * 3
    assert [described[id]["tokens_per_set"] for id in ids] == [None] * 3


def test_a_budget_holds_where_no_rows_are_named():
    blocks = [sized(), sized(rows=[128]), {"methods": ["magnitude"], "sparsities": [0.5]}]
    grid = expand(submodels=blocks, calibration={"tokens_per_set": 9000}, keep=[])
    described = grid.describe()["submodels"]
    assert {id: (entry["rows"], entry["tokens_per_set"]) for id, entry in described.items()} == {
        "wanda-python-0.50-s0": (None, 9000),
        "wanda-python-n128-0.50-s0": (128, None),
        "magnitude-none-0.50-s0": (None, None),
    }


def test_the_same_size_under_two_names_is_refused():
    """Windows of the default number of rows are the same windows when the number is written out."""
    with pytest.raises(
        SubmodelsError,
        match=r"submodels\[1\]: tiny-llama/wanda-python-n64-0\.50-s0 is in an earlier block already as "
        r"wanda-python-0\.50-s0, with as many rows",
    ):
        expand(submodels=[sized(), sized(rows=[64])], calibration={"rows": 64}, keep=[])


@pytest.mark.parametrize("models", [["tiny-llama"], ["tiny-gemma"]])
def test_a_set_named_like_another_one_with_its_size_is_refused(models):
    """Even where the two are for different base models: one name is one draw."""
    mine = {"python-n32": {"domain": "code", "source": {"file": "mine.jsonl"}, "template": "{text}"}}
    blocks = [sized(rows=[32], base_models=["tiny-llama"]), sized(calibration_sets=["python-n32"], base_models=models)]
    rest = {"methods": ["magnitude"], "sparsities": [0.5]}
    with pytest.raises(
        SubmodelsError,
        match=r"the draw 'python-n32-s0' would be both calibration set 'python' with 32 rows and "
        r"calibration set 'python-n32'; rename a calibration set",
    ):
        expand(submodels=[*blocks, rest], calibration_sets=mine, keep=[])


def test_rows_of_a_mix_are_those_of_its_components():
    sets = {
        "mine": {"domain": "code", "source": {"file": "mine.jsonl"}, "template": "{text}"},
        "all": {"domain": "generic", "source": {"mix": {"mine": 1, "py_alpaca": 1, "csr": 2, "random_tokens": 1}}},
    }
    grid = expand(submodels=[sized(calibration_sets=["all"])], calibration_sets=sets, keep=[])
    (fetched,) = grid.fetched_sets
    assert fetched.startswith("py_alpaca@")
    assert grid.calibration_sources("all") == {
        "mine": "mine.jsonl",
        "py_alpaca": f"resources/fetched/calibration_sets/{fetched}/rows.parquet",
        "csr": "results/test/world/calibration/csr.jsonl",
    }
    assert list(grid.components("all")) == ["mine", "py_alpaca", "csr", "random_tokens"]
    assert grid.calibration_sources("csr") == {"csr": "results/test/world/calibration/csr.jsonl"}
    assert grid.calibration_sources("random_tokens") == grid.components("csr") == {}


def test_a_local_file_in_place_of_a_sets_source_is_read_and_said():
    local = {"sources": {"py_alpaca": "mine.jsonl"}}
    grid = expand(submodels=[sized(calibration_sets=["py_alpaca"])], calibration=local, keep=[])
    assert grid.calibration_sources("py_alpaca") == {"py_alpaca": "mine.jsonl"}
    assert grid.fetched_sets == {}
    assert grid.describe()["local_rows"] == {"py_alpaca": "mine.jsonl"}
    assert load_calibration_sets()["py_alpaca"].source.hub


def test_a_submodel_in_two_blocks_is_refused():
    twice = [*GRID["submodels"], {"calibration_sets": ["csr"], "sparsities": [0.5]}]
    with pytest.raises(
        SubmodelsError, match=r"grid\.yaml: submodels\[2\]: tiny-llama/wanda-csr-0\.50-s0 is in an earlier block"
    ):
        expand(submodels=twice)


def test_keeping_no_sub_model_is_refused():
    with pytest.raises(SubmodelsError, match=r"grid\.yaml: keep: unknown sub-model 'tiny-llama/dense'"):
        expand(keep=["tiny-llama/dense"])


def test_sub_models_are_kept_by_name_and_by_pattern():
    ids = {model: set(expand().submodels(model)) for model in ("tiny-llama", "tiny-gemma")}
    assert expand(keep=[]).kept == []
    assert expand(keep=["tiny-gemma/magnitude-none-0.50-s0"]).kept == [("tiny-gemma", "magnitude-none-0.50-s0")]
    assert set(expand(keep=["tiny-llama/*"]).kept) == {("tiny-llama", id) for id in ids["tiny-llama"]}
    assert set(expand(keep=["*/wanda-*"]).kept) == {
        (model, id) for model in ids for id in ids[model] if id.startswith("wanda-")
    }


def test_all_that_a_grid_makes_is_in_its_own_tree():
    tree = expand(name="mine").tree
    assert {path for path in vars(tree).values() if not path.startswith("results/mine/")} == {"results/mine"}
    assert tree.timing("score", "model") == "results/mine/timings/score/{model}.tsv"
    assert tree.log("world") == "results/mine/logs/world.log"


def test_what_decides_questions_and_what_does_not():
    base = expand().questions("tiny-llama")
    assert expand(evaluation={"samples": 3}).questions("tiny-llama") != base
    assert expand(evaluation={"samples": 10}).questions("tiny-llama") == base
    assert expand(evaluation={"batch_size": 2}).questions("tiny-llama") == base
    assert expand(benchmarks=["tiny_csr"]).questions("tiny-llama") != base
    only = {"benchmarks": ["tiny_csr"]}  # which draws nothing
    assert expand(**only, evaluation={"samples": 3}).questions("tiny-llama") == expand(**only).questions("tiny-llama")


def test_a_benchmark_of_ones_own_is_a_task_file_and_a_file_of_items(tmp_path, monkeypatch, root):
    """The recipe of docs/extending.md, followed to the letter on a copy of resources/."""
    resources = shutil.copytree(root / "resources", tmp_path / "resources")
    monkeypatch.setattr("submodels.resources.ROOT", resources)
    task = (resources / "tasks/tiny_math.yaml").read_text(encoding="utf-8")
    task = task.replace("tiny_math", "my_math").replace("tiny_world: true", "file: my_math.jsonl")
    (resources / "tasks/my_math.yaml").write_text(task, encoding="utf-8")
    grid = expand(benchmarks=["my_math"])
    assert grid.items("my_math") == str(resources / "tasks/my_math.jsonl")


def test_files_that_are_not_there_are_named_with_their_keys(tmp_path):
    grid = {
        "name": "g",
        "base_models": ["mine"],
        "models": {"mine": {"path": str(tmp_path / "none")}},
        "calibration_sets": {
            "own": {"domain": "code", "source": {"file": str(tmp_path / "own.jsonl")}, "template": "{text}"}
        },
        "submodels": [{"calibration_sets": ["own"], "sparsities": [0.5]}],
        "benchmarks": ["gsm8k", "humaneval"],
        "sources": {"gsm8k": str(tmp_path / "test.jsonl")},
    }
    expanded = Grid(check_grid(grid, "mine.yaml"), "mine.yaml")
    with pytest.raises(SubmodelsError) as error:
        expanded.check_files()
    assert str(error.value).splitlines() == [
        f"mine.yaml: models.mine.path: {tmp_path}/none: no such file or directory",
        f"mine.yaml: calibration_sets.own.source.file: {tmp_path}/own.jsonl: no such file or directory",
        f"mine.yaml: sources.gsm8k: {tmp_path}/test.jsonl: no such file or directory",
    ]
    (tmp_path / "none").mkdir()
    for name in ("own", "test"):
        (tmp_path / f"{name}.jsonl").write_text("")
    expanded.check_files()


def test_general_importance_comes_from_a_draw_of_the_generic_set_as_large_as_the_set_itself():
    blocks = [sized(methods=["dpruner"], rows=[32]), sized(methods=["dpruner", "wanda"])]
    grid = expand(submodels=blocks, pruning={"general": "csr"}, keep=[])
    assert list(grid.draws()) == ["csr-n32-s0", "csr-s0", "python-n32-s0", "python-s0"]
    seen = {id: [of.draw for of in grid.draws_of(cell)] for id, cell in grid.submodels("tiny-llama").items()}
    assert seen == {
        "dpruner-python-n32-0.50-s0": ["python-n32-s0", "csr-n32-s0"],
        "dpruner-python-0.50-s0": ["python-s0", "csr-s0"],
        "wanda-python-0.50-s0": ["python-s0"],
    }
    assert "csr" in grid.row_sources()
