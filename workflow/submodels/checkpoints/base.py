"""A base model on disk: a Hugging Face directory with safetensors weights, read one tensor at a time.

Nothing here runs code that comes with a checkpoint: weights are safetensors, architectures come from transformers.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from submodels import files
from submodels.dtypes import AUTO
from submodels.errors import SubmodelsError, fetch_first
from submodels.products import read_manifest

if TYPE_CHECKING:
    import torch

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
ADAPTER_NAME = "adapter_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")  # as transformers knows them
# Names of the longest sequence in configurations; most configurations answer to the first name, too.
_CONTEXTS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx", "max_sequence_length",
    "context_length",
)  # fmt: skip
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PIECE = 1 << 23  # elements of a tensor that are read and converted at once
# Safetensors' names of data types -> PyTorch's; the first are those of unquantised weights.
FLOATING = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DTYPES = FLOATING | {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}


def weight_files(model_dir: Path) -> list[Path]:
    """The safetensors files that transformers loads: the single file if there is one, else the index's shards.

    Directories from which it would read other weights are refused.
    """
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        raise SubmodelsError(
            f"{model_dir}: no such directory; a base model is a Hugging Face model directory: "
            f"{fetch_first('one of the Hub', 'fetch-model')}"
        )
    if not (model_dir / "config.json").is_file():
        raise SubmodelsError(f"{model_dir}: no config.json; a base model is a Hugging Face model directory")
    _refuse_other_weights(model_dir)
    if (model_dir / SINGLE_NAME).is_file():
        return [model_dir / SINGLE_NAME]
    if (model_dir / INDEX_NAME).is_file():
        paths = [model_dir / name for name in sorted(set(read_index(model_dir).values()))]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise SubmodelsError(f"{model_dir}: {INDEX_NAME} names missing {', '.join(missing)}; download it again")
        return paths
    if any(any(model_dir.glob(pattern)) for pattern in _PICKLES):
        raise SubmodelsError(
            f"{model_dir}: only pickled weights, which may run code when read; if you trust them, convert them once "
            "with AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)"
        )
    others = sorted(path.name for path in model_dir.glob("*.safetensors"))
    there = f"; nothing says that {', '.join(others[:3])} are its weights: download the model again" if others else ""
    raise SubmodelsError(f"{model_dir}: no {SINGLE_NAME} and no {INDEX_NAME}{there}")


def _refuse_other_weights(model_dir: Path) -> None:
    """Refuse directories from which transformers would load other files than those of the usual names."""
    if (model_dir / ADAPTER_NAME).is_file():
        raise SubmodelsError(
            f"{model_dir}/{ADAPTER_NAME}: transformers adds this adapter to the weights, where pruning does not see "
            "it; merge it with PEFT's merge_and_unload() and save the result, or move it elsewhere"
        )
    config = files.read_json(model_dir / "config.json")
    if isinstance(config, dict) and (named := config.get("transformers_weights")):
        raise SubmodelsError(
            f"{model_dir}/config.json: transformers_weights names {named!r}; remove the key and give the weights "
            f"their usual name, {SINGLE_NAME} or the names in {INDEX_NAME}"
        )
    if parts := sorted(path.name for path in model_dir.iterdir() if _DISTRIBUTED.fullmatch(path.name)):
        raise SubmodelsError(
            f"{model_dir}: {parts[0]} is part of a distributed checkpoint, whose tensors are in pieces; save the model "
            "with save_pretrained(...) on one process"
        )


def has_unread_index(model_dir: Path) -> bool:
    """Whether the directory has an index of shards that is not read, because a single file exists too."""
    return all((Path(model_dir) / name).is_file() for name in (SINGLE_NAME, INDEX_NAME))


def read_index(model_dir: Path) -> dict[str, str]:
    """Tensor -> shard, of a sharded model."""
    path = Path(model_dir) / INDEX_NAME
    index = files.read_json(path)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise SubmodelsError(f"{path}: names no weight file; download it again")
    if not isinstance(index.get("metadata"), dict):
        raise SubmodelsError(f'{path}: transformers cannot read it without "metadata"; add "metadata": {{}}')
    if elsewhere := sorted(name for name in weight_map.values() if not _is_shard(name)):
        raise SubmodelsError(
            f"{path}: names {elsewhere[0]!r}, which is no safetensors file beside it; put the shards into {model_dir} "
            "and their file names into the index"
        )
    return weight_map


def _is_shard(name: str) -> bool:
    return Path(name).name == name and name.endswith(".safetensors")


class Weights:
    """The tensors of a checkpoint by name, each read from its place in its file.

    Files are not kept mapped: mapped pages count as resident memory, and the kernel maps far more of a file than the
    tensor that is read, so the whole model would be resident by the time its last block is read.
    """

    def __init__(self, model_dir: Path):
        self.model_dir = Path(model_dir)
        self._entries: dict[str, files.StoredTensor] = {}
        paths = weight_files(self.model_dir)
        for path in paths:
            self._entries.update(files.read_safetensors_header(path, "download it again")[1])
        if paths != [self.model_dir / SINGLE_NAME]:
            for name, shard in read_index(model_dir).items():
                if name not in self or self._entries[name].path != self.model_dir / shard:
                    raise SubmodelsError(
                        f"{self.model_dir}: the tensor {name} is missing in {shard}, where {INDEX_NAME} has it; "
                        "download it again"
                    )

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def type(self, name: str) -> str:
        """The tensor's data type, as safetensors calls it."""
        return self._entries[name].type

    def read(self, name: str, into: "torch.Tensor") -> None:
        """Copy the tensor `name` into `into`, a tensor of its shape, converting it to that tensor's type and device."""
        import torch

        entry = self._entries[name]
        if entry.type not in _DTYPES:
            raise SubmodelsError(f"{entry.path}: {name} is stored as {entry.type}, not one of {', '.join(_DTYPES)}")
        dtype = getattr(torch, _DTYPES[entry.type])
        with open(entry.path, "rb") as file:
            file.seek(entry.offset)
            if into.dtype == dtype and into.device.type == "cpu" and into.is_contiguous():
                file.readinto(into.flatten().view(torch.uint8).numpy())
                return
            piece = torch.empty(_PIECE, dtype=dtype)  # read whole, the stored tensor would need as much memory again
            for part in into.view(-1).split(_PIECE):
                file.readinto(piece[: len(part)].view(torch.uint8).numpy())
                part.copy_(piece[: len(part)])


def checkpoint_dtype(model_dir: Path) -> str:
    """The data type in config.json, as transformers reads it, or that of the first floating-point tensor."""
    config = files.read_json(Path(model_dir) / "config.json")
    for part in (config, config.get("text_config") or {}):
        named = str(part.get("dtype") or part.get("torch_dtype")).removeprefix("torch.")
        if named in FLOATING.values():
            return named
    weights = Weights(model_dir)
    return next((FLOATING[kind] for name in weights if (kind := weights.type(name)) in FLOATING), "float32")


def known_dtype(dtype: str, model_dir: Path) -> str:
    """`dtype`, or for `auto` the checkpoint's data type."""
    return checkpoint_dtype(model_dir) if dtype == AUTO else dtype


def base_files(model_dir: Path) -> dict[str, int]:
    """File name -> size in bytes of the files that decide the model's numbers: config.json and the weight files."""
    model_dir = Path(model_dir)
    return {path.name: path.stat().st_size for path in [model_dir / "config.json", *weight_files(model_dir)]}


def base_identity(model_dir: Path, known: dict[str, str] | None = None) -> dict:
    """{"fingerprint", "files": name -> size} of a base model, to be kept in its manifest under results.identity.

    known: SHA-256 of files by name, where they have been hashed already.
    """
    sizes, known = base_files(model_dir), known or {}
    with ThreadPoolExecutor() as pool:  # shards at once: hashing runs outside Python's lock
        hashing = {name: pool.submit(files.sha256_file, Path(model_dir) / name) for name in sizes if name not in known}
        hashes = {name: hashing[name].result() if name in hashing else known[name] for name in sizes}
    return {"fingerprint": files.fingerprint(hashes), "files": sizes}


def fingerprint_base(model_dir: Path) -> str:
    """Identity of a base model: SHA-256 over the contents of config.json and of every weight file.

    Hashing only headers and sizes would be cheaper, but two trainings of one architecture share them, and a mask must
    never be applied to the wrong weights. Hashing reads about 1 GB a second, so the model's manifest may hold the
    result: it is reused while the hashed files have the same names and sizes.
    """
    manifest = Path(model_dir) / "manifest.json"
    if manifest.is_file():
        known = files.read_json(manifest).get("results", {}).get("identity")
        if known and known["files"] == base_files(model_dir):
            return known["fingerprint"]
    return base_identity(model_dir)["fingerprint"]


def quantised_types(model_dir: Path) -> dict[str, int]:
    """Type -> number of tensors in the quantised file that a base model was unpacked from; {} for any other model."""
    content = read_manifest(Path(model_dir) / "manifest.json")
    return content["results"].get("quantised", {}) if content else {}


def load_config(model_dir: Path):
    """The model's transformers configuration; an error for a model that this package does not prune."""
    from transformers import AutoConfig

    weight_files(model_dir)
    try:
        config = AutoConfig.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of any type: every configuration class checks its values in its own way
        reason = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
        raise SubmodelsError(f"{model_dir}/config.json: transformers cannot read it ({reason})") from error
    if getattr(config, "quantization_config", None):
        raise SubmodelsError(f"{model_dir}: the weights are quantised; use the unquantised model")
    return config


def find_context(config) -> int | None:
    """The longest sequence, in tokens, by a model's transformers configuration; None if it states none.

    The range of sliding windows and the original range of scaled rotary frequencies are no such limits.
    """
    text = config.get_text_config()
    return next((size for key in _CONTEXTS if (size := getattr(text, key, None))), None)


def usable_device(name: str) -> "torch.device":
    """The device of that name; an error if this machine does not have it."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        remedy = missing_gpu() or "choose another device"
        raise SubmodelsError(f"device '{name}' is not usable here ({reason}); {remedy}") from error
    return device


def missing_gpu() -> str | None:
    """What to do where PyTorch can use no GPU of this machine; None where it can."""
    import torch

    if torch.cuda.is_available():
        return None
    return "no GPU can be used: take device cpu, or install a CUDA build of torch on a machine with a GPU"
