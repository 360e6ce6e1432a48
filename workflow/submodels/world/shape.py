"""The shape of a tiny base model, and of its training. Light to import: plans are made without torch."""

from submodels.model_shape import ModelShape, key_width

SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.06,
}
PIECES = 1024  # of the vocabulary
EMBEDDINGS = {"llama": 2, "gemma": 1}  # Gemma ties its output head to its embedding
BATCH, WINDOW = 8, 128  # of training: windows in a step, tokens in a window


def tiny_shape(architecture: str) -> ModelShape:
    """The shape of a tiny base model: four square matrices and three of the MLP in a block, two norms each."""
    hidden, inner, blocks = (SHAPE[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    prunable = blocks * (4 * hidden**2 + 3 * hidden * inner)
    others = EMBEDDINGS[architecture] * PIECES * hidden + (2 * blocks + 1) * hidden
    return ModelShape(
        parameters=prunable + others, prunable=prunable, blocks=blocks, hidden=hidden, intermediate=inner,
        keys=key_width(SHAPE), vocabulary=PIECES, dtype="float32",
    )  # fmt: skip
