"""Streaming decoder blocks: the masks equal those of a plain implementation on the whole model."""

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import CONFIGS, draw_windows, save_model, save_windows

from submodels.errors import SubmodelsError
from submodels.pruning.blocks import BlockStream, find_blocks
from submodels.pruning.masks import Masks
from submodels.pruning.prune import prune


def masks_of(model_dir, out, windows=None, attention_mask=None, *, sparsity="0.50", **options):
    """Prune by Wanda through the stage; parameter -> bool array."""
    path = save_windows(
        out / "w" / "windows.safetensors", draw_windows() if windows is None else windows, attention_mask
    )
    prune(model_dir, path, "wanda", sparsity, out, **options)
    read = Masks(out)
    return {name: read.mask(name) for name in read}


def recorder(inputs):
    """A forward hook that appends the layer's input for the one window of the batch, (length, features) float64."""
    return lambda _, x, __: inputs.append(x[0].flatten(0, -2).double().numpy())


def plain_wanda(model_dir, windows, pruned_of):
    """Wanda with the whole model in memory: one full forward pass per block and window, NumPy for the rest.

    pruned_of(columns): how many weights each row loses.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "layers." in name
    }
    masks = {}
    for index in range(model.config.num_hidden_layers):
        block = {name: linear for name, linear in linears.items() if f"layers.{index}." in name}
        inputs = {name: [] for name in block}
        hooks = [linear.register_forward_hook(recorder(inputs[name])) for name, linear in block.items()]
        with torch.no_grad():
            for window in windows:
                model(input_ids=window[None], use_cache=False)
        for hook in hooks:
            hook.remove()
        for name, linear in block.items():
            weight = linear.weight.detach().numpy()
            scores = np.abs(weight) * np.linalg.norm(np.concatenate(inputs[name]), axis=0)
            kept = np.ones(weight.shape, bool)
            for row, order in enumerate(np.argsort(scores, axis=1)):
                kept[row, order[: pruned_of(weight.shape[1])]] = False
            masks[f"{name}.weight"] = kept
            linear.weight.data *= torch.from_numpy(kept)
    return masks


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask), f"{name}: {(found[name] != mask).sum()} bits differ"


@pytest.mark.parametrize("family", CONFIGS)
def test_masks_equal_a_whole_model_implementation(tmp_path, family):
    model_dir = save_model(tmp_path / "model", family)
    expected = plain_wanda(model_dir, draw_windows(), pruned_of=lambda columns: columns // 2)
    assert_equal(masks_of(model_dir, tmp_path / "out", batch_size=4), expected)


def test_masks_do_not_depend_on_batches_or_shards(tmp_path):
    whole = save_model(tmp_path / "whole", num_hidden_layers=3)
    sharded = save_model(tmp_path / "sharded", num_hidden_layers=3, shard_size="6KB")
    assert len(list(sharded.glob("*.safetensors"))) > 3
    expected = masks_of(whole, tmp_path / "one", batch_size=1)
    for batch_size in (2, 5, 64):
        assert_equal(masks_of(sharded, tmp_path / f"out{batch_size}", batch_size=batch_size), expected)


def test_a_block_is_scored_on_what_the_pruned_blocks_before_it_produce(tmp_path):
    """Heavy pruning of block 0 must change the mask of block 1 and never that of block 0."""
    model_dir = save_model(tmp_path / "model")
    stream = BlockStream(model_dir)
    with torch.inference_mode():
        (batch,) = stream.embed(draw_windows(), None, batch_size=64)
    dense_input = transformers.AutoModelForCausalLM.from_pretrained(model_dir)(
        input_ids=draw_windows(), output_hidden_states=True
    ).hidden_states
    assert torch.equal(batch.hidden, dense_input[0])
    masks = masks_of(model_dir, tmp_path / "out")
    name = "model.layers.1.mlp.down_proj.weight"
    dense_model = transformers.AutoModelForCausalLM.from_pretrained(model_dir)
    captured = []
    dense_model.get_submodule(name.removesuffix(".weight")).register_forward_hook(
        lambda _, x, __: captured.append(x[0])
    )
    dense_model(input_ids=draw_windows())
    scores = dense_model.get_parameter(name).abs() * captured[0].flatten(0, 1).norm(dim=0)
    dense_mask = (scores >= scores.sort(dim=1).values[:, scores.shape[1] // 2, None]).numpy()
    assert (masks[name] != dense_mask).any()


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2", "opt"])
def test_padding_leaves_no_trace(tmp_path, family):
    model_dir = save_model(tmp_path / "model", family)
    windows = draw_windows()
    padded = torch.cat([windows, torch.full((len(windows), 4), 7)], dim=1)
    mask = torch.cat([torch.ones_like(windows), torch.zeros(len(windows), 4, dtype=torch.int64)], dim=1)
    expected = masks_of(model_dir, tmp_path / "plain", windows)
    assert_equal(masks_of(model_dir, tmp_path / "padded", padded, mask), expected)
    counted = masks_of(model_dir, tmp_path / "counted", padded)
    assert any((counted[name] != expected[name]).any() for name in expected), "padding must matter when it is counted"


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_windows_padded_to_128_cost_and_give_what_windows_padded_to_40_do(tmp_path, family):
    model_dir = save_model(tmp_path / "model", family, max_position_embeddings=128)
    windows, mask = draw_windows(length=128), torch.zeros(6, 128, dtype=torch.int64)
    for row, length in enumerate((40, 3, 17, 9, 40, 12)):
        mask[row, :length] = 1
    stream = BlockStream(model_dir)
    with torch.inference_mode():
        batches = stream.embed(windows, mask.bool(), batch_size=2)
    assert [batch.hidden.shape[1] for batch in batches] == [40, 17, 40]
    assert [batch.tokens.shape[1] for batch in batches] == [40, 17, 40]
    expected = masks_of(model_dir, tmp_path / "short", windows[:, :40].clone(), mask[:, :40].clone(), batch_size=2)
    assert_equal(masks_of(model_dir, tmp_path / "long", windows, mask, batch_size=2), expected)


def test_padding_on_the_left_and_of_different_lengths(tmp_path):
    """A window padded left or right gives the statistics of its tokens alone."""
    model_dir = save_model(tmp_path / "model")
    windows = draw_windows()
    mask = torch.ones_like(windows)
    mask[::2, 6:] = 0
    right = masks_of(model_dir, tmp_path / "right", windows, mask)
    left_windows, left_mask = windows.clone(), mask.clone()
    left_windows[::2], left_mask[::2] = windows[::2].roll(4, dims=1), mask[::2].roll(4, dims=1)
    assert_equal(masks_of(model_dir, tmp_path / "left", left_windows, left_mask), right)


def test_one_block_in_memory_at_a_time(tmp_path):
    stream = BlockStream(save_model(tmp_path / "model", num_hidden_layers=3))

    def resident():
        return {name.rpartition(".")[0] for name, weight in stream.model.named_parameters() if not weight.is_meta}

    with torch.inference_mode():
        stream.embed(draw_windows(), None, batch_size=2)
        assert resident() == set()
        for index in range(len(stream)):
            with stream.block(index):
                assert resident()
                assert all(path.startswith(f"model.layers.{index}.") for path in resident())
    assert resident() == set()


def test_only_linear_layers_of_blocks_are_pruned(tmp_path):
    masks = masks_of(save_model(tmp_path / "model"), tmp_path / "out")
    kinds = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"] + [f"self_attn.{x}_proj" for x in "kovq"]
    assert set(masks) == {f"model.layers.{index}.{kind}.weight" for index in (0, 1) for kind in kinds}


def test_architecture_without_linear_layers_is_refused(tmp_path):
    transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    ).save_pretrained(tmp_path / "model")
    with pytest.raises(SubmodelsError, match=r"h\.0: attn\.c_attn\.weight.*not weights of linear layers"):
        masks_of(tmp_path / "model", tmp_path / "out")


def test_no_list_of_blocks():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.config = transformers.LlamaConfig(num_hidden_layers=1)
    with pytest.raises(SubmodelsError, match="expected one list of 1 decoder blocks of one class, found none"):
        find_blocks(model)


def change(model_dir, **tensors):
    """Rewrite tensors of a saved model; None deletes one."""
    path = model_dir / "model.safetensors"
    state = load_file(path) | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, path, metadata={"format": "pt"})
    return model_dir


def test_infinite_activations_stop_with_the_block_s_name(tmp_path):
    huge = torch.full((16,), 3e38)
    model_dir = change(save_model(tmp_path / "model"), model__layers__1__input_layernorm__weight=huge)
    with pytest.raises(SubmodelsError, match=r"model\.layers\.1\.self_attn\.q_proj: NaN or infinite activations"):
        masks_of(model_dir, tmp_path / "out")
    assert not (tmp_path / "out" / "submodel.safetensors").exists()


def test_weights_that_are_not_numbers_stop_with_their_name(tmp_path):
    bad = torch.full((28, 16), torch.nan)
    model_dir = change(save_model(tmp_path / "model"), model__layers__0__mlp__up_proj__weight=bad)
    with pytest.raises(SubmodelsError, match=r"model\.layers\.0\.mlp\.up_proj\.weight: NaN or infinite weights"):
        masks_of(model_dir, tmp_path / "out")


def test_missing_and_misshapen_tensors(tmp_path):
    model_dir = change(save_model(tmp_path / "a"), model__layers__1__mlp__up_proj__weight=None)
    with pytest.raises(SubmodelsError, match=r"tensor model\.layers\.1\.mlp\.up_proj\.weight is missing"):
        masks_of(model_dir, tmp_path / "out")
    model_dir = change(save_model(tmp_path / "b"), model__layers__1__mlp__up_proj__weight=torch.zeros(28, 15))
    with pytest.raises(SubmodelsError, match=r"has shape \(28, 15\), config\.json asks for \(28, 16\)"):
        masks_of(model_dir, tmp_path / "out")
