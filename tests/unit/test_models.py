"""The shapes of the registry's models, counted again on the architectures that transformers builds."""

import json
import re
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
# width, blocks, heads, heads of keys, inner width, rows of the embedding, whether the head is the embedding.
SIZES = {
    "qwen2.5-coder-0.5b-instruct": (896, 24, 14, 2, 4864, 151936, True),
    "qwen2.5-coder-1.5b-instruct": (1536, 28, 12, 2, 8960, 151936, True),
    "qwen2.5-coder-3b-instruct": (2048, 36, 16, 2, 11008, 151936, True),
    "qwen2.5-coder-7b-instruct": (3584, 28, 28, 4, 18944, 152064, False),
    "smollm2-135m-instruct": (576, 30, 9, 3, 1536, 49152, True),
    "smollm2-360m-instruct": (960, 32, 15, 5, 2560, 49152, True),
    "smollm2-1.7b-instruct": (2048, 24, 32, 32, 8192, 49152, True),
    "gemma-3-270m-it": (640, 18, 4, 1, 2048, 262144, True),
    "gemma-3-1b-it": (1152, 26, 4, 1, 6912, 262144, True),
    "llama-3.2-1b-instruct": (2048, 16, 32, 8, 8192, 128256, True),
    "llama-3.2-3b-instruct": (3072, 28, 24, 8, 8192, 128256, True),
}
FAMILIES = {"qwen": transformers.Qwen2Config, "gemma": transformers.Gemma3TextConfig}
for name, (width, blocks, heads, key_heads, inner, rows, tied) in SIZES.items():
    family = FAMILIES.get(re.match("[a-z]+", name)[0], transformers.LlamaConfig)
    CONFIGS[name] = family(
        hidden_size=width, num_hidden_layers=blocks, num_attention_heads=heads, num_key_value_heads=key_heads,
        intermediate_size=inner, vocab_size=rows, tie_word_embeddings=tied,
        head_dim=256 if family is transformers.Gemma3TextConfig else width // heads,
    )  # fmt: skip
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
