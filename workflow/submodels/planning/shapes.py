"""The shape of a base model, known before any of it is fetched or trained: sizes of jobs and files follow from it."""

import math
import re
from collections import Counter, defaultdict
from pathlib import Path

from submodels import files
from submodels.config import WIDTHS, BaseModelSpec, ModelShape, key_width
from submodels.errors import SubmodelsError
from submodels.world.shape import EMBEDDINGS, PIECES, SHAPE

_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_IN_BLOCK = re.compile(r"(?:(.+?)\.)?(\d+)\..*weight$")  # the list that the block is in, and its number


def find_shape(spec: BaseModelSpec) -> ModelShape:
    """What the registry says of a Hub model, what a local directory holds, or what the tiny world builds."""
    if spec.shape is not None:
        return spec.shape
    return tiny_shape(spec.tiny_world) if spec.tiny_world else read_shape(spec.path)


def tiny_shape(architecture: str) -> ModelShape:
    """The shape of a tiny base model: four square matrices and three of the MLP in a block, two norms each."""
    hidden, inner, blocks = (SHAPE[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    prunable = blocks * (4 * hidden**2 + 3 * hidden * inner)
    others = EMBEDDINGS[architecture] * PIECES * hidden + (2 * blocks + 1) * hidden
    return ModelShape(
        parameters=prunable + others, prunable=prunable, blocks=blocks, hidden=hidden, intermediate=inner,
        keys=key_width(SHAPE), vocabulary=PIECES, dtype="float32",
    )  # fmt: skip


def read_shape(directory: Path) -> ModelShape:
    """The shape of a Hugging Face directory, from its config.json and the headers of its safetensors files.

    Prunable are the matrices in the list of blocks that holds most numbers, which is the language model's where there
    are others; `intermediate` is the widest side of any of them.
    """
    from submodels.checkpoints.base import weight_files  # slow to import, and most grids have no local model

    config = files.read_json(Path(directory) / "config.json")
    config = config.get("text_config", config)
    stored: dict[str, files.StoredTensor] = {}
    for path in weight_files(directory):
        stored |= files.read_safetensors_header(path, "download it again")[1]
    blocks = {name: _IN_BLOCK.match(name) for name, tensor in stored.items() if len(tensor.shape) == 2}
    lists: dict[str | None, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, found in blocks.items():
        if found:
            lists[found[1]][name] = stored[name].shape
    matrices = max(lists.values(), key=lambda shapes: sum(map(math.prod, shapes.values())), default=None)
    if not matrices:
        raise SubmodelsError(f"{directory}: no safetensors weights of decoder blocks; download the model again")
    dtypes = Counter(_STORED.get(stored[name].type) for name in matrices)
    widest = max(max(shape) for shape in matrices.values())
    return ModelShape(
        parameters=sum(math.prod(tensor.shape) for tensor in stored.values()),
        prunable=sum(math.prod(shape) for shape in matrices.values()),
        blocks=len({blocks[name][2] for name in matrices}),
        hidden=next((config[key] for key in WIDTHS if key in config), widest),
        intermediate=widest,
        keys=key_width(config),
        vocabulary=config.get("vocab_size") or max(tensor.shape[0] for tensor in stored.values() if tensor.shape),
        dtype=dtypes.most_common(1)[0][0] or "float32",
    )
