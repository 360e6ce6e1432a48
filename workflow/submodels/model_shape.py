"""The shape of a base model: it gives the sizes of jobs and files before the model is fetched or loaded.

The registry states the shape of a model of the Hub. `read_shape` reads the shape of a local directory from headers and
`read_gguf_shape` that of a GGUF file; `count_shape` counts it on the architecture that a configuration makes. Light to
import.
"""

import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from submodels import files
from submodels.checkpoints.gguf import converted_dtype, read_header
from submodels.errors import SubmodelsError
from submodels.terms import DTYPES
from submodels.validation import Strict

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

WIDTHS = ("hidden_size", "n_embd", "d_model")  # names of the width of the hidden states in config.json
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_IN_BLOCK = re.compile(r"(?:(.+?)\.)?(\d+)\..*weight$")  # the list that the block is in, and its number


class ModelShape(Strict):
    """The sizes of a Hub model, known before anything is fetched: they decide the requests of its jobs."""

    parameters: int = Field(ge=1, description="number of weights of the whole model; a tied output head counts once")
    prunable: int = Field(ge=1, description="number of weights in the linear layers inside the decoder blocks")
    blocks: int = Field(ge=1, description="number of decoder blocks")
    hidden: int = Field(ge=1, description="width of the hidden states")
    intermediate: int = Field(ge=1, description="inner width of the MLP of a block")
    keys: int | None = Field(
        None, ge=1, description="width of the attention keys of a block, all heads together; left out: `hidden`"
    )
    vocabulary: int = Field(ge=1, description="number of rows of the embedding")
    dtype: Literal[DTYPES] = Field(description="data type of the weights in the checkpoint")

    @model_validator(mode="after")
    def _part_of_the_whole(self):
        if self.prunable > self.parameters:
            raise ValueError(f"prunable ({self.prunable}) is more than parameters ({self.parameters})")
        return self


def key_width(config: dict) -> int | None:
    """Width of a block's keys, all heads together, by config.json; None if it does not say."""
    heads = next((config[key] for key in _HEADS if config.get(key)), None)
    hidden = next((config[key] for key in WIDTHS if config.get(key)), None)
    if not heads or not hidden:
        return None
    return (config.get("num_key_value_heads") or heads) * (config.get("head_dim") or hidden // heads)


def read_shape(directory: Path) -> ModelShape:
    """The shape of a Hugging Face directory, from its config.json and the headers of its safetensors files.

    Prunable are the matrices in the list of blocks that holds the most numbers: the language model's, if there are
    several lists; `intermediate` is the widest side of these matrices.
    """
    from submodels.checkpoints.base import weight_files  # slow to import; most grids have no local model

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


def read_gguf_shape(path: Path) -> ModelShape:
    """The shape of a GGUF file, from its header; the data type is that of the directory that `convert_gguf` makes."""
    header = read_header(path)
    blocks = {name: tensor.shape for name, tensor in header.tensors.items() if _IN_BLOCK.match(name)}
    matrices = [shape for shape in blocks.values() if len(shape) == 2]
    embedding, heads = header.tensors.get("token_embd.weight"), header.value("attention.head_count")
    if not matrices or embedding is None or len(embedding.shape) != 2:
        raise SubmodelsError(f"{path}: no decoder blocks and embedding in the GGUF header; it is no language model")
    vocabulary, hidden = embedding.shape
    width, key_heads = header.value("attention.key_length"), header.value("attention.head_count_kv") or heads
    return ModelShape(
        parameters=sum(math.prod(tensor.shape) for tensor in header.tensors.values()),
        prunable=sum(map(math.prod, matrices)),
        blocks=len({_IN_BLOCK.match(name)[2] for name in blocks}),
        hidden=hidden,
        intermediate=max(map(max, matrices)),
        keys=key_heads * (width or hidden // heads) if heads and key_heads else None,
        vocabulary=vocabulary,
        dtype=converted_dtype(header),
    )


def count_shape(config: "PreTrainedConfig", where: str) -> ModelShape:
    """The shape of the model that a configuration makes; no weight is read. Errors begin with `where`."""
    from submodels.checkpoints.decoder import find_blocks, find_linears  # these need torch
    from submodels.checkpoints.tensors import empty_model

    dtype = config.dtype or "float32"  # read now: building the model writes the default into its configuration
    model = empty_model(config, where)
    model.tie_weights()
    path, blocks = find_blocks(model)
    linears = [
        linear for index, block in enumerate(blocks) for linear in find_linears(block, f"{path}.{index}").values()
    ]
    embeddings, text = model.get_input_embeddings().weight, model.config.get_text_config()
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),  # a tied head counts once
        prunable=sum(linear.weight.numel() for linear in linears),
        blocks=len(blocks),
        hidden=embeddings.shape[1],
        intermediate=max(linear.in_features for linear in linears),  # the projection back has the widest input
        keys=key_width(text.to_dict()),
        vocabulary=embeddings.shape[0],
        dtype=str(dtype).removeprefix("torch."),
    )
