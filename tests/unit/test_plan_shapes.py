"""The shape of a base model, found without reading a weight."""

import pytest
import torch
from tiny_models import save_gemma3, save_model
from transformers import AutoModelForCausalLM

from submodels.config import BaseModelSpec
from submodels.errors import SubmodelsError
from submodels.model_shape import read_shape
from submodels.pruning.blocks import BlockStream
from submodels.world.shape import tiny_shape
from submodels.world.train import ARCHITECTURES, build_model


@pytest.mark.parametrize("family", ["llama", "gemma", "qwen3", "gpt_neox", "opt", "bloom"])
@pytest.mark.parametrize("shard_size", ["1GB", "4KB"], ids=["one file", "shards"])
def test_a_directory_is_what_pruning_finds(family, shard_size, tmp_path):
    save_model(tmp_path, family, blocks=3, dtype=torch.bfloat16, shard_size=shard_size)
    found, stream = read_shape(tmp_path), BlockStream(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert found.prunable == sum(out * columns for out, columns in stream.shapes.values())
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    assert (found.blocks, found.dtype) == (3, "bfloat16")
    assert (found.hidden, found.vocabulary) == (model.config.hidden_size, model.config.vocab_size)
    text = model.config
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    assert found.keys == heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    assert found.intermediate == max(max(shape) for shape in stream.shapes.values())


def test_the_blocks_are_those_of_the_language_model(tmp_path):
    """Not those of a vision tower beside it."""
    stream = BlockStream(save_gemma3(tmp_path))
    found = read_shape(tmp_path)
    assert found.prunable == sum(out * columns for out, columns in stream.shapes.values())
    assert (found.blocks, found.hidden, found.intermediate, found.vocabulary) == (2, 16, 28, 40)


class Tokenizer:
    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

    def __len__(self):
        return 1024


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_tiny_world_is_what_it_builds(architecture, tmp_path):
    build_model(architecture, Tokenizer(), seed=0).save_pretrained(tmp_path)
    assert read_shape(tmp_path) == tiny_shape(architecture)


def test_a_hub_model_says_it_itself():
    shape = tiny_shape("llama")
    assert BaseModelSpec(hub="a/b", revision="main", shape=shape).find_shape() == shape
    assert BaseModelSpec(tiny_world="gemma").find_shape() == tiny_shape("gemma")


def test_a_directory_without_weights_is_an_error(tmp_path):
    with pytest.raises(SubmodelsError, match=r"config\.json: no such file"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SubmodelsError, match=r"no model\.safetensors"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(SubmodelsError, match=r"model\.safetensors: not a complete safetensors file"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0version ")
    with pytest.raises(SubmodelsError, match=r"model\.safetensors: not a complete safetensors file"):
        read_shape(tmp_path)
