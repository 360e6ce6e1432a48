"""Tiny random models of several families, saved as Hugging Face directories."""

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from submodels.checkpoints.masks import Masks
from submodels.pruning.methods import METHODS
from submodels.pruning.prune import prune

VOCABULARY = 40
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 28,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = _SIZES | {"num_key_value_heads": 1, "head_dim": 8}
# GPT-2's generation names its sizes differently.
_OLD_SIZES = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
_MIXTURE = _GROUPED | {"num_experts_per_tok": 2, "moe_intermediate_size": 8}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**_GROUPED),
    # Grouped-query attention and scaled rotary frequencies.
    "llama3": lambda: transformers.LlamaConfig(
        **_SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2}, rope_parameters=_LLAMA3_ROPE
    ),
    # One rotary base, every head with keys and values of its own.
    "codellama": lambda: transformers.LlamaConfig(
        **_SIZES, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    ),
    "mistral": lambda: transformers.MistralConfig(**_GROUPED, sliding_window=4),
    # Heads that do not add up to the hidden size, a tied head, scaled embeddings.
    "gemma": lambda: transformers.GemmaConfig(**_GROUPED | {"head_dim": 12}),
    # Gemma 2 and 3 alternate sliding-window and full attention: their blocks are called with different masks.
    "gemma2": lambda: transformers.Gemma2Config(**_GROUPED, sliding_window=4),
    # Gemma 3 gives the two kinds of block different rotary frequencies as well.
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **_GROUPED, sliding_window=4, layer_types=["sliding_attention", "full_attention"]
    ),
    "qwen2": lambda: transformers.Qwen2Config(**_SIZES, num_key_value_heads=1),
    "qwen3": lambda: transformers.Qwen3Config(**_GROUPED),
    # Phi-3 fuses query, key and value, and the two halves of its MLP.
    "phi3": lambda: transformers.Phi3Config(**_SIZES, num_key_value_heads=1),
    "olmo2": lambda: transformers.Olmo2Config(**_SIZES, num_key_value_heads=1),
    # Every other block without rotary embeddings.
    "smollm3": lambda: transformers.SmolLM3Config(**_SIZES, num_key_value_heads=1, no_rope_layer_interval=2),
    # Parallel residual, one norm a block, a scaled head.
    "cohere": lambda: transformers.CohereConfig(**_SIZES, num_key_value_heads=1),
    "stablelm": lambda: transformers.StableLmConfig(**_SIZES, num_key_value_heads=1, use_qkv_bias=True),
    # Parallel residual, query, key and value fused, biases.
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**_SIZES),
    # OPT has learned positions and flattens sequences before its MLP.
    "opt": lambda: transformers.OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        ffn_dim=28,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        word_embed_proj_dim=16,
        pad_token_id=0,
    ),
    "gptj": lambda: transformers.GPTJConfig(**_OLD_SIZES, rotary_dim=4),
    "falcon": lambda: transformers.FalconConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_hidden_size=28
    ),
    # BLOOM and MPT have no positions but slopes in their attention masks.
    "bloom": lambda: transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2),
    "mpt": lambda: transformers.MptConfig(vocab_size=VOCABULARY, d_model=16, n_layers=2, n_heads=2, max_seq_len=32),
    # An encoder's blocks, one model further down than in the others, used as a decoder.
    "bert": lambda: transformers.BertConfig(**_SIZES, is_decoder=True),
    # Not supported: transposed matrices, experts, an encoder.
    "gpt2": lambda: transformers.GPT2Config(**_OLD_SIZES),
    "mixtral": lambda: transformers.MixtralConfig(**_GROUPED, num_local_experts=4),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**_MIXTURE, num_experts=4),
    "olmoe": lambda: transformers.OlmoeConfig(**_SIZES, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2),
    "gpt_oss": lambda: transformers.GptOssConfig(**_GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "t5": lambda: transformers.T5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=28, num_layers=2, num_heads=2, decoder_start_token_id=0
    ),
}
UNSUPPORTED = ("gpt2", "mixtral", "qwen3_moe", "olmoe", "gpt_oss", "t5")
DECODERS = tuple(family for family in CONFIGS if family not in UNSUPPORTED)


def save_model(directory, family="llama", *, blocks=2, seed=0, dtype=torch.float32, shard_size="1GB", **changes):
    """Save a random model with weights large enough that blocks change what flows through them."""
    config = CONFIGS[family]()
    config.num_hidden_layers = blocks
    for kinds in ("layer_types", "no_rope_layers"):  # one entry a block
        if getattr(config, kinds, None):
            setattr(config, kinds, (getattr(config, kinds) * blocks)[:blocks])
    for key, value in changes.items():
        setattr(config, key, value)
    auto = transformers.AutoModelForSeq2SeqLM if family == "t5" else transformers.AutoModelForCausalLM
    model = auto.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
            elif name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
            else:  # norms: where a family adds one to them, that one must count
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.to(dtype).save_pretrained(directory, max_shard_size=shard_size)
    return directory


def save_gemma3(directory):
    """A language model inside a larger one; the vision tower has as many blocks as the language model."""
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 8, "patch_size": 4,
    }  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=_GROUPED | {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config=vision,
        mm_tokens_per_image=4,
    )
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
    model.save_pretrained(directory)
    return directory


def change_tensors(path, changes):
    """Rewrite tensors of a safetensors file; None deletes one."""
    state = load_file(path) | changes
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, path, metadata={"format": "pt"})


def draw_windows(count=6, length=10, seed=0):
    """Token ids (count, length) int64 without the padding id."""
    return torch.randint(1, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def save_windows(path, input_ids, attention_mask=None):
    tensors = {"input_ids": input_ids}
    if attention_mask is not None:
        tensors["attention_mask"] = attention_mask
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def masks_of(model_dir, out, windows=None, attention_mask=None, *, method="wanda", sparsity=None, **options):
    """Prune through the stage; parameter -> bool array. A method that looks at weights only gets no windows, and others
    what they need beside the options given: a pattern, a generic set, a short training."""
    path = None
    sparsity = sparsity or ("2of4" if METHODS[method].only_patterns else "0.50")
    if "general" in METHODS[method].settings:
        options = {"general": save_windows(out / "g" / "windows.safetensors", draw_windows(seed=9))} | options
    if "tokens" in METHODS[method].settings:
        options = {"tokens": 400, "prior": "wanda"} | options
    if METHODS[method].needs_calibration:
        windows = draw_windows() if windows is None else windows
        path = save_windows(out / "w" / "windows.safetensors", windows, attention_mask)
    prune(model_dir, path, method, sparsity, out, **options)
    read = Masks(out)
    return {name: read.mask(name) for name in read}


def assert_equal_masks(found, expected):
    """Both: parameter name -> bool array."""
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask), f"{name}: {(found[name] != mask).sum()} bits differ"
