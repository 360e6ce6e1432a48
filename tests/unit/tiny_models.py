"""Tiny random models of several families, saved as Hugging Face directories."""

import torch
import transformers
from safetensors.torch import save_file

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
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**_GROUPED),
    "mistral": lambda: transformers.MistralConfig(**_GROUPED, sliding_window=4),
    "gemma": lambda: transformers.GemmaConfig(**_GROUPED),
    # Gemma 2 alternates sliding-window and full attention: its blocks are called with different masks.
    "gemma2": lambda: transformers.Gemma2Config(**_GROUPED, sliding_window=4),
    "qwen3": lambda: transformers.Qwen3Config(**_GROUPED),
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
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**_SIZES),
}


def save_model(directory, family="llama", *, seed=0, dtype=torch.float32, shard_size="1GB", **changes):
    """Save a random model with weights large enough that blocks change what flows through them."""
    config = CONFIGS[family]()
    for key, value in changes.items():
        setattr(config, key, value)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
            elif name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.to(dtype).save_pretrained(directory, max_shard_size=shard_size)
    return directory


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
