"""A grid file: every fault is one line that names file, key, value and what is valid."""

import copy

import pytest
import yaml

from submodels.config import check_grid, read_grid
from submodels.errors import SubmodelsError

GRID = {
    "name": "test",
    "base_models": ["tiny-llama"],
    "submodels": [{"calibration_sets": ["python"], "sparsities": [0.5]}],
    "benchmarks": ["tiny_python"],
}
SIZES = {"parameters": 100, "prunable": 60, "blocks": 2, "hidden": 4, "intermediate": 8, "vocabulary": 10}
SHAPE = SIZES | {"dtype": "bfloat16"}


def fault(*path_and_value):
    """The message for GRID with the value at a path replaced."""
    *path, value = path_and_value
    grid = copy.deepcopy(GRID)
    inner = grid
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(SubmodelsError) as raised:
        check_grid(grid, "grid.yaml")
    return str(raised.value)


def test_the_demo_grid_is_valid(root):
    assert read_grid(root / "config.yaml").name == "demo"


def test_sparsities_are_canonical():
    grid = check_grid(
        GRID | {"submodels": [{"calibration_sets": ["python"], "sparsities": [0.5, "2of4"]}]}, "grid.yaml"
    )
    assert grid.submodels[0].sparsities == ["0.50", "2of4"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("base_modles", ["tiny-llama"]), ["grid.yaml: base_modles: unknown key", "base_models"]),
        (("base_models", []), ["grid.yaml: base_models", "at least 1"]),
        (("base_models", ["tiny-llma"]), ["grid.yaml: base_models[0]", "'tiny-llma'", "tiny-llama"]),
        (("base_models", ["tiny-llama", "tiny-llama"]), ["grid.yaml: base_models", "listed twice: tiny-llama"]),
        (("benchmarks", ["humanevil"]), ["grid.yaml: benchmarks[0]", "'humanevil'", "humaneval"]),
        (("submodels", 0, "calibration_sets", ["pyton"]), ["submodels[0].calibration_sets", "'pyton'", "python"]),
        (("submodels", 0, "sparsities", [1.5]), ["submodels[0].sparsities[0]", "1.5"]),
        (("submodels", 0, "sparsities", ["2of"]), ["submodels[0].sparsities[0]", "2of", "2of4"]),
        (("submodels", 0, "sparsities", [0.5, "0.50"]), ["submodels[0].sparsities", "listed twice: 0.50"]),
        (("submodels", 0, "methods", ["wonda"]), ["submodels[0]", "'wonda'", "wanda"]),
        (("submodels", 0, "methods", ["magnitude"]), ["submodels[0]", "magnitude", "takes no calibration_sets"]),
        (
            ("submodels", 0, "methods", ["maskllm"]),
            ["submodels[0]", "maskllm", "patterns such as 2of4 only (got 0.50)", "separate block"],
        ),
        (
            ("submodels", 0, "methods", ["dpruner"]),
            ["grid.yaml: pruning.general: method 'dpruner' needs a generic calibration set", "`general: c4`"],
        ),
        (("pruning", {"general": "c5"}), ["pruning.general: unknown calibration set 'c5'", "c4"]),
        (("pruning", {"prior": "maskllm"}), ["pruning: unknown method without gradients 'maskllm'", "sparsegpt"]),
        (("pruning", {"general_weight": -1}), ["pruning.general_weight", "-1"]),
        (("submodels", 0, "calibration_sets", []), ["submodels[0]", "wanda", "needs calibration_sets"]),
        (("submodels", 0, "seeds", [-1]), ["submodels[0].seeds[0]", "-1"]),
        (("submodels", 0, "base_models", ["tiny-gemma"]), ["submodels[0].base_models", "'tiny-gemma'", "tiny-llama"]),
        (("sources", {"gsm": "rows.jsonl"}), ["grid.yaml: sources: unknown benchmark 'gsm'", "gsm8k"]),
        (
            ("calibration", {"sources": {"pie": "a.jsonl"}}),
            ["calibration.sources: unknown calibration set 'pie'", "python"],
        ),
        (
            ("calibration", {"sources": {"random_tokens": "a.jsonl"}}),
            ["a random_tokens calibration set has no rows itself"],
        ),
        (("sources", {"tiny_math": "fixture"}), ["sources.tiny_math", "its items do not come from the Hub"]),
        (("sources", {"gsm8k": {"path": "a.jsonl", "adapter": "gsm"}}), ["sources.gsm8k", "'gsm'", "'gsm8k'"]),
        (("evaluation", {"sandbox": "docker"}), ["evaluation.sandbox", "'docker'", "'bubblewrap'"]),
        (("evaluation", {"samples": 0}), ["evaluation.samples: samples must be `greedy` or a number", "(got 0)"]),
        (("evaluation", {"samples": "gready"}), ["evaluation.samples: samples must be `greedy`", "(got 'gready')"]),
        (("evaluation", {"samples": True}), ["evaluation.samples: samples must be `greedy`", "(got True)"]),
        (("evaluation", {"samples": 2.5}), ["evaluation.samples: samples must be `greedy`", "(got 2.5)"]),
        (("evaluation", {"batch": 3}), ["evaluation.batch: unknown key", "batch_size"]),
        (("calibration", {"rows": 0}), ["calibration.rows", "0"]),
        (("calibration", {"tokens_per_set": 0}), ["calibration.tokens_per_set", "0"]),
        (
            ("calibration", {"rows": 64, "tokens_per_set": 9000}),
            ["calibration: rows (64) and tokens_per_set (9000) exclude each other"],
        ),
        (("submodels", 0, "rows", [32, 0]), ["submodels[0].rows[1]", "0"]),
        (("submodels", 0, "rows", [32, 32]), ["submodels[0].rows", "listed twice: 32"]),
        (
            ("submodels", 0, {"methods": ["magnitude"], "sparsities": [0.5], "rows": [32]}),
            ["submodels[0]: rows need calibration_sets"],
        ),
        (
            ("calibration_sets", {"both": {"domain": "generic", "source": {"mix": {"python": 2, "mth": 1}}}}),
            ["grid.yaml: calibration_sets.both.source.mix: unknown calibration set 'mth'", "math"],
        ),
        (
            ("calibration_sets", {"both": {"domain": "generic", "source": {"mix": {"python": 2, "code_and_math": 1}}}}),
            ["grid.yaml: calibration_sets.both.source.mix: 'code_and_math' is itself a mix"],
        ),
        (
            ("calibration_sets", {"both": {"domain": "generic", "source": {"mix": {"python": 2, "math": 0}}}}),
            ["grid.yaml: calibration_sets.both.source.mix.math: Input should be greater than 0 (got 0)"],
        ),
        (("models", {"mine": {"hub": "a/b"}}), ["models.mine", "revision"]),
        (("models", {"mine": {}}), ["models.mine", "exactly one of"]),
        (
            ("models", {"mine": {"hub": "a/b", "revision": "main"}}),
            ["models.mine: a Hub model needs a shape (parameters"],
        ),
        (("models", {"mine": {"path": "x", "shape": SHAPE}}), ["models.mine: shape belongs to a Hub model"]),
        (
            ("models", {"mine": {"hub": "a/b", "revision": "main", "shape": SHAPE | {"prunable": 101}}}),
            ["models.mine.shape: prunable (101) is more than parameters (100)"],
        ),
        (("models", {"tiny-llama": {"path": "x"}}), ["models", "'tiny-llama' is already in the registry"]),
    ],
)
def test_faults_name_key_value_and_choices(change, words):
    message = fault(*change)
    for word in words:
        assert word in message
    assert message.startswith("grid.yaml: ")


def test_rows_have_a_default_that_a_budget_replaces():
    for calibration, rows, tokens in (({}, 128, None), ({"rows": 8}, 8, None), ({"tokens_per_set": 900}, None, 900)):
        grid = check_grid(GRID | {"calibration": calibration}, "grid.yaml")
        assert (grid.calibration.size.rows, grid.calibration.size.tokens) == (rows, tokens)
        assert check_grid(grid.model_dump(mode="json"), "grid.yaml") == grid  # as `describe` reads it


def test_every_fault_is_reported_at_once():
    with pytest.raises(SubmodelsError) as raised:
        check_grid(GRID | {"seed": -1, "nmae": "x"}, "grid.yaml")
    assert len(str(raised.value).splitlines()) == 2


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(SubmodelsError, match=r"none\.yaml: no such file"):
        read_grid(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [", encoding="utf-8")
    with pytest.raises(SubmodelsError, match=r"broken\.yaml: not valid YAML"):
        read_grid(broken)


def test_a_grid_survives_yaml(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(GRID), encoding="utf-8")
    assert read_grid(path) == check_grid(GRID, "here")


@pytest.mark.parametrize(
    ("samples", "benchmarks", "faults"),
    [
        ("greedy", ["tiny_python", "tiny_java", "tiny_math", "gsm8k_paper"], []),
        (1, ["tiny_python", "tiny_java", "mbpp"], []),
        (20, ["tiny_python", "tiny_math"], []),
        ("greedy", ["humaneval_paper"], ["greedy: humaneval_paper: draws its samples as the paper's authors did"]),
        (10, ["mbpp_paper", "humaneval"], ["10: mbpp_paper: draws its samples as the paper's authors did"]),
        (
            5,
            ["tiny_java", "tiny_python", "mbpp"],
            [f"5: {name}: its answers are greedy, so 5 samples would be copies" for name in ("tiny_java", "mbpp")],
        ),
    ],
)
def test_samples_that_a_benchmark_cannot_give_are_refused(samples, benchmarks, faults):
    grid = GRID | {"benchmarks": benchmarks, "evaluation": {"samples": samples}}
    if not faults:
        assert check_grid(grid, "grid.yaml").evaluation.samples == samples
        return
    with pytest.raises(SubmodelsError) as raised:
        check_grid(grid, "grid.yaml")
    lines = str(raised.value).splitlines()
    assert len(lines) == len(faults)
    for line, fault in zip(lines, faults, strict=True):
        assert line.startswith(f"grid.yaml: evaluation.samples: {fault}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_models: [7]", "base_models[0]: Input should be a valid string (got 7); write it in quotes"),
        ("base_models: [no]", "base_models[0]: Input should be a valid string (got False); write it in quotes"),
        ("benchmarks: [2024-01-01]", "benchmarks[0]: Input should be a valid string (got datetime.date(2024, 1, 1))"),
        ("name: 0.50", "name: Input should be a valid string (got 0.5); write it in quotes"),
        ("name: ", "name: Input should be a valid string (got None)"),
        ("models: {no: {path: x}}", "line 2: YAML does not read the key no as a text; write it in quotes"),
        ("seed: 010", "line 2: YAML reads 010 as the number 8; write it as 8"),
        ("submodels: [{methods: [magnitude], sparsities: [2:4]}]", "line 2: YAML reads 2:4 as the number 124; write a "
         "sparsity pattern as 2of4"),
        ("submodels: [{methods: [magnitude], sparsities: ['2:4']}]", "sparsity '2:4': expected a ratio such as 0.50 or "
         "a pattern such as 2of4"),
        ("seed: 1\nseed: 1", "line 3: the key 'seed' is there twice, first in line 2"),
    ],
)  # fmt: skip
def test_what_yaml_takes_for_something_else(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text("# a grid\n" + text + "\n", encoding="utf-8")
    with pytest.raises(SubmodelsError) as raised:
        read_grid(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
