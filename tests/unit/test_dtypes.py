"""What a stage computes in where nobody says it: float32 on a CPU, the checkpoint's data type elsewhere."""

import json

import pytest
import torch
from tiny_models import change_tensors, save_model

from submodels.checkpoints.base import Weights, checkpoint_dtype
from submodels.config import check_grid
from submodels.dtypes import find_dtype
from submodels.errors import SubmodelsError
from submodels.grid import Grid
from submodels.planning.work import Work

BIG = {
    "hub": "a/b", "revision": "main",
    "shape": {
        "parameters": 10**9, "prunable": 8 * 10**8, "blocks": 10, "hidden": 2000, "intermediate": 6000,
        "vocabulary": 30000, "dtype": "bfloat16",
    },
}  # fmt: skip
GRID = {
    "name": "g",
    "base_models": ["big"],
    "models": {"big": BIG},
    "submodels": [{"methods": ["wanda", "sparsegpt"], "calibration_sets": ["c4"], "sparsities": [0.5]}],
    "benchmarks": ["humaneval"],
}


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cuda", "float16"),
        ("auto", "cuda:1", "float16"),
        ("bfloat16", "cpu", "bfloat16"),
        ("float32", "cuda", "float32"),
    ],
)
def test_the_device_decides(asked, device, expected):
    assert find_dtype(asked, device, "float16") == expected


def test_what_is_not_known_yet_stays_open():
    assert find_dtype("auto", "cuda") == "auto"
    with pytest.raises(SubmodelsError, match="unknown dtype 'int8'; known: auto, bfloat16, float16, float32"):
        find_dtype("int8", "cpu")


@pytest.mark.parametrize("key", ["dtype", "torch_dtype", None])
def test_the_dtype_of_a_checkpoint(tmp_path, key):
    """What its configuration names, under the key of today or of old; without one, that of its weights."""
    model = save_model(tmp_path / "m", dtype=torch.float16)
    config = json.loads((model / "config.json").read_text())
    config.pop("dtype")
    (model / "config.json").write_text(json.dumps(config | ({key: "bfloat16"} if key else {})))
    assert checkpoint_dtype(model) == ("bfloat16" if key else "float16")


@pytest.mark.parametrize("stage", ["pruning", "evaluation"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "float32"),
        ({"device": "cuda"}, "auto"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"device": "cuda", "dtype": "float32"}, "float32"),
    ],
)
def test_a_grid_says_what_rules_compute_in(stage, settings, expected):
    grid = check_grid(GRID | {stage: settings}, "grid.yaml")
    assert getattr(grid, stage).computed_in == expected


def test_settings_of_samples_follow_the_dtype_and_not_its_name():
    def computed_in(**evaluation):
        return check_grid(GRID | {"evaluation": evaluation}, "grid.yaml").evaluation.computed_in

    assert computed_in() == computed_in(dtype="float32")
    assert computed_in(device="cuda") != computed_in()


def test_plans_follow_the_dtype():
    """A bfloat16 checkpoint: on a CPU its blocks and hidden states are held, and multiplied, in float32."""

    def cost(method="wanda", **pruning):
        plan = Work(Grid(check_grid(GRID | {"pruning": pruning}, "grid.yaml"), "grid.yaml"))
        return plan.cost("prune", model="big", submodel=f"{method}-c4-0.50-s0")

    assert cost() == cost(dtype="float32")
    assert cost(device="cuda") == cost(device="cuda", dtype="bfloat16")
    assert cost().memory > cost(dtype="bfloat16").memory + 0.9 * 128 * 2048 * 2000 * 2, (
        "the hidden states twice as large"
    )
    values = [cost("sparsegpt", dtype=dtype).product for dtype in ("float32", "bfloat16")]
    assert values[0] == values[1], "values are stored in the checkpoint's dtype"


def test_a_tensor_is_converted_piece_by_piece(tmp_path, monkeypatch):
    model = save_model(tmp_path / "m", dtype=torch.bfloat16)
    name = "model.embed_tokens.weight"
    stored = torch.arange(40 * 16, dtype=torch.bfloat16).reshape(40, 16)
    change_tensors(model / "model.safetensors", {name: stored})
    monkeypatch.setattr("submodels.checkpoints.base._PIECE", 7)
    room = torch.empty(40, 16)
    Weights(model).read(name, room)
    assert torch.equal(room, stored.float())
