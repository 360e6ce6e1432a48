"""Streaming decoder blocks: what is in memory when, which layers are pruned, on which inputs they are scored."""

import pytest
import torch
import transformers
from tiny_models import CONFIGS, assert_equal_masks, draw_windows, masks_of, save_model

from submodels.checkpoints.decoder import find_blocks
from submodels.errors import SubmodelsError
from submodels.pruning.blocks import BlockStream
from submodels.pruning.windows import Windows


def test_a_block_is_scored_on_what_the_pruned_blocks_before_it_produce(tmp_path):
    """Heavy pruning of block 0 must change the mask of block 1 and never that of block 0."""
    model_dir = save_model(tmp_path / "model")
    stream = BlockStream(model_dir)
    with torch.inference_mode():
        (batch,) = stream.embed(Windows(draw_windows()), batch_size=64)
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


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_windows_padded_to_128_cost_and_give_what_windows_padded_to_40_do(tmp_path, family):
    model_dir = save_model(tmp_path / "model", family, max_position_embeddings=128)
    windows, mask = draw_windows(length=128), torch.zeros(6, 128, dtype=torch.int64)
    for row, length in enumerate((40, 3, 17, 9, 40, 12)):
        mask[row, :length] = 1
    stream = BlockStream(model_dir)
    with torch.inference_mode():
        batches = stream.embed(Windows(windows, mask.bool(), mask.bool()), batch_size=2)
    assert [batch.hidden.shape[1] for batch in batches] == [40, 17, 40]
    assert [batch.counted.shape[1] for batch in batches] == [40, 17, 40]
    expected = masks_of(model_dir, tmp_path / "short", windows[:, :40].clone(), mask[:, :40].clone(), batch_size=2)
    assert_equal_masks(masks_of(model_dir, tmp_path / "long", windows, mask, batch_size=2), expected)


def test_padding_on_the_left_and_of_different_lengths(tmp_path):
    """A window padded left or right gives the statistics of its tokens alone."""
    model_dir = save_model(tmp_path / "model")
    windows = draw_windows()
    mask = torch.ones_like(windows)
    mask[::2, 6:] = 0
    right = masks_of(model_dir, tmp_path / "right", windows, mask)
    left_windows, left_mask = windows.clone(), mask.clone()
    left_windows[::2], left_mask[::2] = windows[::2].roll(4, dims=1), mask[::2].roll(4, dims=1)
    assert_equal_masks(masks_of(model_dir, tmp_path / "left", left_windows, left_mask), right)


def test_the_model_holds_the_weights_of_one_block_at_a_time(tmp_path):
    stream = BlockStream(save_model(tmp_path / "model", num_hidden_layers=3))

    def resident():
        return {name.rpartition(".")[0] for name, weight in stream.model.named_parameters() if not weight.is_meta}

    with torch.inference_mode():
        stream.embed(Windows(draw_windows()), batch_size=2)
        assert resident() == set()
        for index, _ in enumerate(stream):
            assert resident()
            assert all(path.startswith(f"model.layers.{index}.") for path in resident())
    assert resident() == set()


def test_only_linear_layers_of_blocks_are_pruned(tmp_path):
    masks = masks_of(save_model(tmp_path / "model"), tmp_path / "out")
    kinds = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"] + [f"self_attn.{x}_proj" for x in "kovq"]
    assert set(masks) == {f"model.layers.{index}.{kind}.weight" for index in (0, 1) for kind in kinds}


def test_no_list_of_blocks():
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"]())
    model.model.layers = torch.nn.Sequential(*model.model.layers)
    with pytest.raises(SubmodelsError, match="expected one list of 2 decoder blocks of one class, found none"):
        find_blocks(model)
