"""How much of a benchmark is computed at once, and the memory for it. Plain numbers: plans read them without torch."""

from submodels.pruning.need import working_bytes

CPU_BATCH, CPU_WRITTEN = 32, 24_576  # texts generated at once by a CPU, and the most tokens of all of them together
LARGEST_BATCH = 1024
CPU_TOKENS, GPU_TOKENS = 1024, 8192  # read at once where texts are scored
CPU_HEAD, GPU_HEAD = 1 << 25, 1 << 28  # bytes of the float32 logits that are made at once there
_COPIES = 2  # of those logits: in the model's data type, and as float32


def written_bytes(size: int, length: float, *, blocks: int, keys: int, vocabulary: int) -> float:
    """Memory for one text of `length` tokens while it is generated, in bytes.

    Keys and values of every block, and the logits of one position with the copies that drawing a token makes. size:
    bytes of a number. keys: width of a block's keys.
    """
    return 2 * blocks * keys * length * size + 64 * vocabulary


def scored_bytes(size: int, length: float, *, on_cpu: bool, hidden: int, keys: int, widest: int) -> float:
    """Memory for scoring texts, the longest of `length` tokens, in bytes, for any vocabulary.

    It holds a block's forward pass over the tokens read at once, the logits made at once and, for a text that is read
    in pieces, its hidden states twice and the keys and values of one block. widest: inner width of a block.
    """
    tokens, head = (CPU_TOKENS, CPU_HEAD) if on_cpu else (GPU_TOKENS, GPU_HEAD)
    working = working_bytes(size, tokens, hidden=hidden, widest=widest)
    return working + _COPIES * head + length * (2 * hidden + 2 * keys) * size


def cpu_batch(length: float) -> int:
    """Texts of up to `length` tokens, prompts included, that a CPU generates at once unless a batch size is given."""
    return max(1, min(CPU_BATCH, int(CPU_WRITTEN // length)))


def largest_batch(free: float, needed: float) -> int:
    """The largest power of two, from 1 to LARGEST_BATCH, of texts of `needed` bytes each that `free` bytes hold."""
    return min(LARGEST_BATCH, 1 << (max(1, int(free // needed)).bit_length() - 1))
