"""How much memory pruning takes, in bytes: plain numbers, so that plans and rules know it without torch."""


def fixed_bytes(size: int, *, embeddings: int, block: int, matrix: int) -> int:
    """Independent of the windows: the block at work and the next one, or the embeddings if they are larger, and the
    scores of the largest matrix while they are sorted. size: bytes of a weight; the other arguments count weights.
    """
    return max(embeddings * size, 2 * block * size + 16 * matrix)


def gram_bytes(inputs: list[int]) -> int:
    """Float32 Gram matrices of a block's linear layers and the work on the largest; inputs: their in_features."""
    return 4 * (sum(columns**2 for columns in inputs) + 7 * max(inputs) ** 2)


def working_bytes(size: int, length: int, *, hidden: int, widest: int) -> int:
    """Memory of a block's forward pass for one window at its widest point."""
    return length * (12 * hidden + 5 * widest) * size
