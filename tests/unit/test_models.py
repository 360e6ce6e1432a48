"""The shapes of the registry's models, counted again on the architectures that transformers builds."""

import json
import subprocess
import sys

import pytest
import transformers
import yaml
from accelerate import init_empty_weights
from fake_hub import COMMIT, REPOSITORIES, serving
from tiny_models import CONFIGS as TINY
from tiny_models import VOCABULARY
from torch import nn

from submodels.config import BaseModelSpec, load_models
from submodels.model_shape import count_shape

CONFIGS = {
    "codellama-7b-instruct": transformers.LlamaConfig(
        vocab_size=32016, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    ),
    "codellama-13b-instruct": transformers.LlamaConfig(
        vocab_size=32016, hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40
    ),
    "mistral-7b-instruct": transformers.MistralConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8,
    ),
    "gemma-1.1-7b-it": transformers.GemmaConfig(
        vocab_size=256000, hidden_size=3072, intermediate_size=24576, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=16, head_dim=256,
    ),
}  # fmt: skip
SHAPES = {name: spec.shape for name, spec in load_models().items() if spec.hub}


def test_every_hub_model_is_counted():
    assert SHAPES.keys() == CONFIGS.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_are_those_of_the_architecture(name):
    config, shape = CONFIGS[name], SHAPES[name]
    with init_empty_weights():
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    linears = [module for module in model.model.layers.modules() if isinstance(module, nn.Linear)]
    assert shape.prunable == sum(linear.weight.numel() for linear in linears)
    assert (shape.blocks, shape.hidden) == (config.num_hidden_layers, config.hidden_size)
    assert (shape.intermediate, shape.vocabulary) == (config.intermediate_size, config.vocab_size)
    config.dtype = "bfloat16"
    assert count_shape(config, name) == shape


@pytest.mark.parametrize("family", ["llama3", "gemma", "phi3", "opt", "falcon"])
def test_shapes_of_other_families(family):
    """Fused, narrow or otherwise named projections: the counts are those of the model's own modules."""
    config = TINY[family]()
    shape = count_shape(config, family)
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (shape.blocks, shape.hidden, shape.vocabulary) == (2, 16, VOCABULARY)
    assert (shape.intermediate, shape.dtype) == (28, "float32")


def test_the_shape_of_a_hub_model_is_printed_as_an_entry(tmp_path):
    """Of its config.json alone."""
    with serving(tmp_path / "cache") as environment:
        command = [sys.executable, "-m", "submodels", "shape", "--hub", "house/shaped", "--revision", "1234567"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    config = transformers.LlamaConfig(**json.loads(REPOSITORIES["models/house/shaped"]["config.json"]))
    entry = BaseModelSpec.model_validate(yaml.safe_load(done.stdout))
    assert (entry.hub, entry.revision, entry.shape) == ("house/shaped", COMMIT, count_shape(config, ""))
