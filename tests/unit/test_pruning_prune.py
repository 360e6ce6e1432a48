"""The stage `prune`: products, manifest, errors before work."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_models import (
    VOCABULARY,
    assert_equal_masks,
    change_tensors,
    draw_windows,
    masks_of,
    save_model,
    save_windows,
)

from submodels.checkpoints.masks import FILE_NAME, Masks
from submodels.errors import SubmodelsError
from submodels.files import sha256_file
from submodels.pruning import memory
from submodels.pruning.blocks import BlockStream
from submodels.pruning.methods import METHODS
from submodels.pruning.patterns import Unstructured
from submodels.pruning.prune import prune
from submodels.pruning.rules import MAGNITUDE, WANDA, Pruned, Rule
from submodels.pruning.sequential import prune_blocks
from submodels.pruning.windows import Windows


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


@pytest.fixture
def windows(tmp_path):
    return save_windows(tmp_path / "java-s1" / "windows.safetensors", draw_windows())


def read_manifest(out):
    return json.loads((out / "manifest.json").read_text())


def test_manifest_and_header_say_what_was_done(tmp_path, model, windows):
    prune(model, windows, "wanda", "0.6", tmp_path / "out", seed=1)
    manifest, header = read_manifest(tmp_path / "out"), Masks(tmp_path / "out").header
    parameters = {"method": "wanda", "version": 1, "sparsity": "0.60", "seed": 1, "dtype": "float32"}
    assert manifest["stage"] == "prune"
    assert manifest["parameters"] == parameters
    assert manifest["inputs"]["windows"]["sha256"] == sha256_file(windows)
    assert manifest["inputs"]["base"]["sha256"] == header["base"]
    assert header["calibration"] == {"name": "java-s1", "sha256": sha256_file(windows)}
    assert {key: header[key] for key in ("method", "sparsity", "seed")} == {
        "method": "wanda",
        "sparsity": "0.60",
        "seed": 1,
    }
    # Rows of 16 columns lose 9, rows of 28 lose 16. A block has q, k, v, o with 16 + 8 + 8 + 16 rows of 16 columns,
    # gate and up with 28 + 28 rows of 16, down with 16 rows of 28.
    results = manifest["results"]
    assert results["modules"]["model.layers.0.mlp.down_proj.weight"] == {"pruned": 16 * 16, "sparsity": 16 / 28}
    assert results["pruned"] == 2 * (9 * (48 + 56) + 16 * 16)
    assert results["weights"] == 2 * (16 * (48 + 56) + 28 * 16)


def test_magnitude_needs_no_windows(tmp_path, model):
    prune(model, None, "magnitude", "0.50", tmp_path / "out")
    assert Masks(tmp_path / "out").header["calibration"] is None
    assert "windows" not in read_manifest(tmp_path / "out")["inputs"]
    modules = read_manifest(tmp_path / "out")["results"]["modules"]
    assert {entry["pruned"] for name, entry in modules.items() if "up_proj" in name} == {28 * 16 // 2 + 1}


def test_runs_are_equal_byte_for_byte(tmp_path, model, windows):
    for out in ("a", "b"):
        prune(model, windows, "wanda", "2of4", tmp_path / out, calibration="java")
    first, second = ((tmp_path / out / "submodel.safetensors").read_bytes() for out in ("a", "b"))
    assert first == second
    assert read_manifest(tmp_path / "a")["fingerprint"] == read_manifest(tmp_path / "b")["fingerprint"]


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float32"])
def test_computes_in_the_dtype_asked_for(tmp_path, windows, stored, dtype):
    """On a CPU that is float32 unless another is named."""
    model = save_model(tmp_path / "m", dtype=stored)
    prune(model, windows, "wanda", "0.50", tmp_path / "out", dtype=dtype)
    assert read_manifest(tmp_path / "out")["parameters"]["dtype"] == {"auto": "float32"}.get(dtype, dtype)
    assert read_manifest(tmp_path / "out")["results"]["sparsity"] == 0.5


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.updates_weights])
def test_a_half_precision_checkpoint_and_its_float32_copy_have_equal_masks(tmp_path, method, kind):
    half, full = save_model(tmp_path / "half", dtype=kind), save_model(tmp_path / "full")
    sparsity = "2of4" if METHODS[method].only_patterns else "0.60"
    change_tensors(
        full / "model.safetensors",
        {name: tensor.float() for name, tensor in load_file(half / "model.safetensors").items()},
    )
    assert_equal_masks(
        masks_of(half, tmp_path / "a", method=method, sparsity=sparsity),
        masks_of(full, tmp_path / "b", method=method, sparsity=sparsity),
    )


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("stored", ["bfloat16", "float32", "float64"])
def test_updated_values_are_stored_in_the_dtype_of_the_checkpoint(tmp_path, windows, stored, dtype):
    model = save_model(tmp_path / "m", dtype=getattr(torch, stored))
    prune(model, windows, "sparsegpt", "0.50", tmp_path / "out", dtype=dtype)
    assert Masks(tmp_path / "out").header["values"] == stored
    with safe_open(tmp_path / "out" / FILE_NAME, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys() if name.endswith(".values")}  # noqa: SIM118
    assert {tensor.dtype for tensor in found.values()} == {getattr(torch, stored)}
    if dtype == "bfloat16":  # no more precise than what the next block was computed with
        assert all(torch.equal(tensor, tensor.bfloat16().to(tensor.dtype)) for tensor in found.values())


def test_the_next_block_sees_the_values_that_are_stored(tmp_path):
    """A rule whose update bfloat16 does not hold: 1 + 2**-10 becomes 1, in the block at work too."""

    def update(weight, *_):
        return Pruned(torch.ones_like(weight, dtype=torch.bool), torch.full(weight.shape, 1 + 2**-10))

    stream = BlockStream(save_model(tmp_path / "half", dtype=torch.bfloat16), dtype=torch.float32)
    with torch.inference_mode():
        for name, pruned in prune_blocks(stream, [], Rule(None, update), Unstructured(0.5), 0):
            assert pruned.weight.dtype == torch.bfloat16
            used = stream.model.get_parameter(name)
            assert used.dtype == torch.float32
            assert (used == 1).all()
            assert (pruned.weight == 1).all()


def test_a_failed_run_leaves_no_manifest(tmp_path, model, windows):
    prune(model, windows, "wanda", "0.50", tmp_path / "out")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(SubmodelsError, match="not a complete safetensors file"):
        prune(model, windows, "wanda", "0.60", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "wonda"}, "unknown pruning method 'wonda'; known: dpruner, .*wanda"),
        ({"sparsity": "1.5"}, "between 0 and 1"),
        ({"windows": None}, "method 'wanda' needs calibration windows"),
        ({"method": "magnitude"}, "method 'magnitude' looks at weights only"),
        ({"dtype": "int8"}, "unknown dtype 'int8'; known: auto, bfloat16, float16, float32"),
        ({"batch_size": 0}, "batch size 0"),
        ({"device": "warp"}, "device 'warp' is not usable here"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not usable here"),
    ],
)
def test_bad_arguments(tmp_path, model, windows, change, message):
    arguments = {"model": model, "windows": windows, "method": "wanda", "sparsity": "0.50", "out": tmp_path / "out"}
    with pytest.raises(SubmodelsError, match=message):
        prune(**(arguments | change))


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (draw_windows(length=33), None, "windows of 33 tokens, but the model's context is 32"),
        (torch.tensor([[1, 2], [1, VOCABULARY]]), None, "row 1: token ids outside the vocabulary of 40"),
        (torch.tensor([[-1, 2]]), None, "row 0: token ids outside the vocabulary"),
        (torch.zeros(0, 5, dtype=torch.int64), None, "not empty"),
        (torch.zeros(5, dtype=torch.int64), None, "needs a tensor `input_ids`, int64"),
        (torch.zeros(5, 5), None, "needs a tensor `input_ids`, int64"),
        (draw_windows(2, 5), torch.ones(2, 4, dtype=torch.int64), "must have the shape of `input_ids`"),
        (draw_windows(2, 5), torch.full((2, 5), 2), "hold 0 and 1 only"),
        (draw_windows(2, 5), torch.tensor([[1] * 5, [0] * 5]), "row 1: a window without a token"),
    ],
)
def test_bad_windows(tmp_path, model, ids, mask, message):
    path = save_windows(tmp_path / "w" / "windows.safetensors", ids, mask)
    with pytest.raises(SubmodelsError, match=message):
        prune(model, path, "wanda", "0.50", tmp_path / "out")


def test_windows_that_are_missing_or_cut_off(tmp_path, model, windows):
    with pytest.raises(SubmodelsError, match="no such file"):
        prune(model, tmp_path / "none.safetensors", "wanda", "0.50", tmp_path / "out")
    windows.write_bytes(windows.read_bytes()[:-8])
    with pytest.raises(SubmodelsError, match="not a complete safetensors file"):
        prune(model, windows, "wanda", "0.50", tmp_path / "out")


def test_a_checkpoint_in_float64_wants_a_dtype_away_from_a_cpu(tmp_path, windows):
    model = save_model(tmp_path / "double", dtype=torch.float64)
    with pytest.raises(SubmodelsError, match="its weights are float64; give --dtype, one of float32"):
        prune(model, windows, "wanda", "0.50", tmp_path / "out", device="meta")
    prune(model, windows, "wanda", "0.50", tmp_path / "out")
    assert read_manifest(tmp_path / "out")["parameters"]["dtype"] == "float32"


def test_updated_weights_beyond_the_dtype(tmp_path):
    def enlarge(weight, *_):
        return Pruned(torch.ones_like(weight, dtype=torch.bool), torch.full(weight.shape, 7e4))

    stream = BlockStream(save_model(tmp_path / "half", dtype=torch.float16))
    message = r"model\.layers\.0\.self_attn\.q_proj\.weight: updated weights beyond the range of torch\.float16"
    with torch.inference_mode(), pytest.raises(SubmodelsError, match=message):
        list(prune_blocks(stream, [], Rule(None, enlarge), Unstructured(0.5), 0))


def test_memory_is_estimated_without_the_padding_that_batches_drop(tmp_path):
    stream = BlockStream(save_model(tmp_path / "model", max_position_embeddings=2048))
    ids, mask = torch.ones(4, 2048, dtype=torch.int64), torch.zeros(4, 2048, dtype=torch.bool)
    mask[:, :8] = True
    padded, short = Windows(ids, mask, mask), Windows(ids[:, :8], mask[:, :8], mask[:, :8])
    (need,), (expected,) = (memory.estimate(stream, windows, WANDA, 2, offload=False) for windows in (padded, short))
    assert need == expected
    (full,) = memory.estimate(stream, Windows(ids), WANDA, 2, offload=False)
    assert full.per_window == 2048 * 16 * 4  # hidden states, float32
    assert full.per_batched > 100 * need.per_batched


def test_no_memory_at_all_is_said_before_anything_is_read(tmp_path, monkeypatch):
    stream = BlockStream(save_model(tmp_path / "model"))
    monkeypatch.setattr(memory, "free_host_memory", lambda: 10)
    with pytest.raises(SubmodelsError, match=r"this model needs about .* GB, 1e-08 GB are free; even the smallest job"):
        memory.check(stream, None, MAGNITUDE, 8, offload=False)
