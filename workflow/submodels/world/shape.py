"""The shape of a tiny base model, and how long it is trained. Light to import: plans are made without torch."""

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
STEPS, BATCH, WINDOW = 800, 12, 128  # of training; a window is tokens
