"""Masks are exact on the architectures people use: they equal those of a plain implementation on the whole model."""

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_models import DECODERS, UNSUPPORTED, assert_equal_masks, draw_windows, masks_of, save_model

from submodels.checkpoints.export import export
from submodels.errors import SubmodelsError
from submodels.pruning.methods import METHODS

# The families the project is held to; of the other decoders one sparsity is checked.
HELD = ("llama", "llama3", "codellama", "mistral", "gemma", "qwen3", "gpt_neox")
PLAIN = ("wanda", "magnitude")  # methods whose rule this file writes down
SPARSITIES = ("0.50", "0.60", "2of4", "4of8")
# Where the decoder blocks are, by the architecture's own names.
BLOCKS = {
    "gpt_neox": "gpt_neox.layers",
    "opt": "model.decoder.layers",
    "gptj": "transformer.h",
    "falcon": "transformer.h",
    "bloom": "transformer.h",
    "mpt": "transformer.blocks",
    "bert": "bert.encoder.layer",
}


def plain_masks(model_dir, family, windows, method="wanda", sparsity="0.50", dtype=torch.float32):
    """Pruning with the whole model in memory: one full forward pass per block, NumPy for the rest."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype).eval()
    masks = {}
    for index in range(model.config.num_hidden_layers):
        prefix = f"{BLOCKS.get(family, 'model.layers')}.{index}."
        linears = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and name.startswith(prefix)
        }
        inputs = {name: [] for name in linears}
        hooks = [linear.register_forward_hook(recorder(inputs[name])) for name, linear in linears.items()]
        with torch.no_grad():
            model(input_ids=windows, use_cache=False)
        for hook in hooks:
            hook.remove()
        for name, linear in linears.items():
            weight = linear.weight.detach().float().numpy()
            norms = np.linalg.norm(np.concatenate(inputs[name]), axis=0)
            kept = plain_selection(np.abs(weight) * (norms if method == "wanda" else 1), method, sparsity)
            masks[f"{name}.weight"] = kept
            linear.weight.data *= torch.from_numpy(kept)
    return masks


def recorder(inputs):
    """A forward hook that appends the layer's input, (tokens, features) float64."""
    return lambda _, x, __: inputs.append(x[0].flatten(0, -2).double().numpy())


def plain_selection(scores, method, sparsity):
    """Which weights stay, (out, in) bool."""
    kept = np.ones(scores.shape, bool)
    if "of" in sparsity:
        n, m = map(int, sparsity.split("of"))
        for start in range(0, scores.shape[1], m):
            lowest = np.argsort(scores[:, start : start + m], axis=1, kind="stable")[:, :n]
            np.put_along_axis(kept[:, start : start + m], lowest, False, axis=1)
    elif method == "wanda":
        lowest = np.argsort(scores, axis=1, kind="stable")[:, : int(scores.shape[1] * float(sparsity))]
        np.put_along_axis(kept, lowest, False, axis=1)
    else:
        kept = scores > np.sort(scores, axis=None)[int(scores.size * float(sparsity))]
    return kept


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """family -> directory of its tiny model, made once."""
    made = {}

    def make(family):
        if family not in made:
            made[family] = save_model(tmp_path_factory.mktemp(family) / "model", family)
        return made[family]

    return make


CASES = [(family, method, sparsity) for family in HELD for method in PLAIN for sparsity in SPARSITIES]
CASES += [(family, "wanda", "0.50") for family in DECODERS if family not in HELD]


@pytest.mark.parametrize(("family", "method", "sparsity"), CASES)
def test_masks_equal_a_whole_model_implementation(tmp_path, model_of, family, method, sparsity):
    expected = plain_masks(model_of(family), family, draw_windows(), method, sparsity)
    found = masks_of(model_of(family), tmp_path / "out", method=method, sparsity=sparsity, batch_size=4)
    assert_equal_masks(found, expected)


@pytest.mark.parametrize("family", DECODERS)
def test_six_blocks(tmp_path, family):
    """Some models call their blocks in ways that only many of them bring to light."""
    model_dir = save_model(tmp_path / "model", family, blocks=6)
    expected = plain_masks(model_dir, family, draw_windows())
    assert_equal_masks(masks_of(model_dir, tmp_path / "out", batch_size=64), expected)


@pytest.mark.parametrize(
    ("method", "sparsity"),
    [
        (name, sparsity)
        for name in sorted(METHODS.keys() - set(PLAIN))
        for sparsity in ("0.50", "2of4")
        if sparsity == "2of4" or not METHODS[name].only_patterns
    ],
)
@pytest.mark.parametrize("family", HELD)
def test_every_other_method_prunes_the_same_layers_at_the_same_sparsity(tmp_path, model_of, family, method, sparsity):
    """Their rules are tested by themselves; here they meet each architecture's shapes."""
    expected = plain_masks(model_of(family), family, draw_windows(), "wanda", sparsity)
    found = masks_of(model_of(family), tmp_path / "out", method=method, sparsity=sparsity)
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert found[name].mean() == pytest.approx(mask.mean(), abs=0.05), name


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama3", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
        ("codellama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
        ("mistral", {"sliding_window": None}),
        ("gemma2", {"sliding_window": 32}),
        ("smollm3", {"no_rope_layers": [1, 1]}),
    ],
)
def test_what_sets_an_architecture_apart_decides_its_masks(tmp_path, model_of, family, changes):
    """Without this the comparison above could pass with the feature ignored on both sides."""
    plain = save_model(tmp_path / "model", family, **changes)
    found = masks_of(model_of(family), tmp_path / "with")
    without = masks_of(plain, tmp_path / "without")
    assert any((found[name] != without[name]).any() for name in found)


@pytest.mark.parametrize(
    ("family", "theta", "scaling"),
    [
        ("codellama", 1e6, None),
        (
            "llama3",
            5e5,
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        ),
    ],
)
def test_rotary_settings_as_published_checkpoints_spell_them(tmp_path, family, theta, scaling):
    """`rope_theta` and `rope_scaling` beside each other, `torch_dtype`: config.json before transformers 5."""
    model_dir = save_model(tmp_path / "model", family)
    expected = masks_of(model_dir, tmp_path / "new")
    config = json.loads((model_dir / "config.json").read_text())
    del config["rope_parameters"]
    config |= {"rope_theta": theta, "rope_scaling": scaling, "torch_dtype": config.pop("dtype")}
    (model_dir / "config.json").write_text(json.dumps(config))
    assert_equal_masks(masks_of(model_dir, tmp_path / "old"), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gemma", "gpt_neox"])
def test_half_precision_computes_in_its_dtype_and_sums_in_float32(tmp_path, family, dtype):
    """The blocks run in the dtype that is asked for, as whole-model inference does; the norms do not."""
    model_dir = save_model(tmp_path / "model", family, dtype=dtype)
    expected = plain_masks(model_dir, family, draw_windows(), dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    assert_equal_masks(masks_of(model_dir, tmp_path / "out", batch_size=6, dtype=name), expected)
    in_float32 = masks_of(model_dir, tmp_path / "float32", dtype="float32")
    assert_equal_masks(in_float32, plain_masks(model_dir, family, draw_windows()))


def test_statistics_in_float32_count_what_half_precision_would_lose(tmp_path):
    """4096 tokens: a running sum of ones in bfloat16 stops at 256."""
    model_dir = save_model(tmp_path / "model", dtype=torch.bfloat16)
    windows = draw_windows(count=128, length=32)
    expected = plain_masks(model_dir, "llama", windows, dtype=torch.bfloat16)
    assert_equal_masks(masks_of(model_dir, tmp_path / "out", windows, batch_size=128, dtype="bfloat16"), expected)


def read_tensors(directory):
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


@pytest.mark.parametrize("family", DECODERS)
def test_an_exported_sub_model_differs_from_its_base_in_linear_weights_of_blocks_alone(tmp_path, model_of, family):
    """Embeddings, tied or not, the head, norms and biases stay bit for bit."""
    masks = masks_of(model_of(family), tmp_path / "sub")
    export(model_of(family), tmp_path / "sub", tmp_path / "exported")
    before, after = read_tensors(model_of(family)), read_tensors(tmp_path / "exported")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == masks.keys()
    assert all(torch.equal(after[name], before[name] * torch.from_numpy(mask)) for name, mask in masks.items())
    untouched = before.keys() - changed
    assert any("emb" in name or "wte" in name for name in untouched)
    assert any("norm" in name.lower() or "ln_" in name for name in untouched)


def test_tied_and_untied_heads(tmp_path):
    for tied in (True, False):
        model_dir = save_model(tmp_path / f"model-{tied}", tie_word_embeddings=tied)
        assert ("lm_head.weight" in read_tensors(model_dir)) != tied
        masks = masks_of(model_dir, tmp_path / f"out-{tied}")
        assert_equal_masks(masks, plain_masks(model_dir, "llama", draw_windows()))


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt_neox", "opt", "bloom"])
def test_padding_leaves_no_trace(tmp_path, model_of, family):
    windows = draw_windows()
    padded = torch.cat([windows, torch.full((len(windows), 4), 7)], dim=1)
    mask = torch.cat([torch.ones_like(windows), torch.zeros(len(windows), 4, dtype=torch.int64)], dim=1)
    expected = masks_of(model_of(family), tmp_path / "plain", windows)
    assert_equal_masks(masks_of(model_of(family), tmp_path / "padded", padded, mask), expected)
    counted = masks_of(model_of(family), tmp_path / "counted", padded)
    assert any((counted[name] != expected[name]).any() for name in expected), "padding must matter when it is counted"


@pytest.mark.parametrize("method", sorted(name for name in METHODS if METHODS[name].needs_calibration))
def test_padding_of_different_lengths_in_one_batch(tmp_path, model_of, method):
    """Windows of 10, 6 and 3 tokens in one batch give what they give in batches of their own."""
    windows, mask = draw_windows(), torch.ones(6, 10, dtype=torch.int64)
    mask[1::3, 6:], mask[2::3, 3:] = 0, 0
    together = masks_of(model_of("mistral"), tmp_path / "together", windows, mask, method=method, batch_size=6)
    alone = masks_of(model_of("mistral"), tmp_path / "alone", windows, mask, method=method, batch_size=1)
    assert_equal_masks(together, alone)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("family", ["llama3", "gemma2", "opt"])
def test_batches_shards_and_offloading_give_equal_bits(tmp_path, family, method):
    whole = save_model(tmp_path / "whole", family)
    sharded = save_model(tmp_path / "sharded", family, shard_size="4KB")
    assert len(list(sharded.glob("*.safetensors"))) > 3
    expected = masks_of(whole, tmp_path / "one", method=method, batch_size=1)
    for batch_size in (2, 5, 64):
        found = masks_of(sharded, tmp_path / f"out{batch_size}", method=method, batch_size=batch_size)
        assert_equal_masks(found, expected)
    masks_of(whole, tmp_path / "device", method=method, batch_size=4)
    masks_of(whole, tmp_path / "host", method=method, batch_size=4, offload=True)
    on_device, on_host = (tmp_path / place / "submodel.safetensors" for place in ("device", "host"))
    assert on_host.read_bytes() == on_device.read_bytes()


def test_embeddings_and_head_are_in_no_mask_file(tmp_path, model_of):
    masks_of(model_of("gemma"), tmp_path / "out")
    with safe_open(tmp_path / "out" / "submodel.safetensors", framework="np") as file:
        assert all(name.startswith("model.layers.") for name in file.keys())  # noqa: SIM118 (no mapping)


REFUSALS = {
    "gpt2": r"transformer\.h\.0.*attn\.c_attn\.weight.*not supported",
    "mixtral": r"model\.layers\.0.*mlp\.(gate|experts).*not supported",
    "qwen3_moe": r"model\.layers\.0.*mlp\.(gate|experts).*not supported",
    "olmoe": r"model\.layers\.0.*mlp\.(gate|experts).*not supported",
    "gpt_oss": r"model\.layers\.0.*mlp\.(router|experts).*not supported",
    "t5": r"(?i)t5.*not supported",
}


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("family", UNSUPPORTED)
def test_what_cannot_be_pruned_is_refused_by_name(tmp_path, model_of, family, method):
    """Half a model left dense without a word would make the sub-model's sparsity a lie."""
    with pytest.raises(SubmodelsError, match=REFUSALS[family]):
        masks_of(model_of(family), tmp_path / "out", method=method)
    assert not (tmp_path / "out" / "submodel.safetensors").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("family", HELD)
@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_gpu_prunes_what_the_cpu_prunes(tmp_path, family, method, offload):
    """Up to close calls: a GPU adds in another order."""
    model_dir = save_model(tmp_path / "model", family)
    expected = masks_of(model_dir, tmp_path / "cpu", method=method)
    found = masks_of(model_dir, tmp_path / "gpu", method=method, device="cuda", offload=offload)
    bits = sum(mask.size for mask in expected.values())
    different = sum(int((found[name] != mask).sum()) for name, mask in expected.items())
    assert different <= (0.02 if method == "sparsegpt" else 0.002) * bits
