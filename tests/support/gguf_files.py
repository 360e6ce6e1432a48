"""A small GGUF file, written by the library of the format."""

import gguf
import numpy as np

HIDDEN, INNER, BLOCKS, HEADS, KEY_HEADS = 64, 96, 2, 4, 2
VOCABULARY = [*map(chr, range(33, 33 + 94)), "<s>", "</s>", "ab", "abc"]
SHAPES = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (32, HIDDEN), "attn_v": (32, HIDDEN), "attn_output": (HIDDEN, HIDDEN)}
SHAPES |= {"ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER)}
QUANTISED = gguf.GGMLQuantizationType.Q8_0


def write_model(path, kind=QUANTISED) -> dict[str, np.ndarray]:
    """A Llama with a tied head and random weights; its matrices by name, as they are after quantising."""
    dice, writer, stored = np.random.default_rng(0), gguf.GGUFWriter(path, "llama"), {}
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([1] * 94 + [3, 3, 1, 1])
    writer.add_token_merges(["a b", "ab c"])
    writer.add_bos_token_id(94)
    writer.add_eos_token_id(95)

    def add(name, shape):
        values = dice.normal(0, 0.05, shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
            return
        data = gguf.quants.quantize(values, kind)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
        stored[f"{name}.weight"] = gguf.quants.dequantize(data, kind)

    add("token_embd", (len(VOCABULARY), HIDDEN))
    add("output_norm", (HIDDEN,))
    for block in range(BLOCKS):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{block}.{name}", (HIDDEN,))
        for name, shape in SHAPES.items():
            add(f"blk.{block}.{name}", shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored
