"""A base model on disk: a Hugging Face directory with safetensors weights, read one tensor at a time.

Nothing here runs code that comes with a checkpoint: weights are safetensors, architectures come from transformers.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from submodels import files
from submodels.errors import SubmodelsError, fetch_first

if TYPE_CHECKING:
    import torch

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PIECE = 1 << 23  # elements of a tensor that are read and converted at once
# Safetensors' names of data types -> PyTorch's; the first are those that hold weights as they are.
FLOATING = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DTYPES = FLOATING | {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}


def weight_files(model_dir: Path) -> list[Path]:
    """The safetensors files that make up the model: the shards its index names, or the single file."""
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        raise SubmodelsError(
            f"{model_dir}: no such directory; a base model is a Hugging Face model directory: "
            f"{fetch_first('one of the Hub', 'fetch-model')}"
        )
    if not (model_dir / "config.json").is_file():
        raise SubmodelsError(f"{model_dir}: no config.json; a base model is a Hugging Face model directory")
    if (model_dir / INDEX_NAME).is_file():
        weight_map = read_index(model_dir)
        paths = [model_dir / name for name in sorted(set(weight_map.values()))]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise SubmodelsError(f"{model_dir}: {INDEX_NAME} names {', '.join(missing)}, not there; download it again")
        return paths
    if (model_dir / SINGLE_NAME).is_file():
        return [model_dir / SINGLE_NAME]
    if any(any(model_dir.glob(pattern)) for pattern in _PICKLES):
        raise SubmodelsError(
            f"{model_dir}: only pickled weights, which may run code when read; if you trust them, convert them once "
            "with AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)"
        )
    raise SubmodelsError(f"{model_dir}: no {SINGLE_NAME} and no {INDEX_NAME}")


def read_index(model_dir: Path) -> dict[str, str]:
    """Tensor -> shard, of a sharded model."""
    path = Path(model_dir) / INDEX_NAME
    index = files.read_json(path)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise SubmodelsError(f"{path}: names no weight file; download it again")
    return weight_map


class Weights:
    """The tensors of a checkpoint by name, each read from its place in its file.

    Files are not kept mapped: mapped pages count as resident memory, and the kernel maps far more of a file around a
    tensor than the tensor, so a model would be resident whole by the time its last block is read.
    """

    def __init__(self, model_dir: Path):
        self.model_dir = Path(model_dir)
        self._entries: dict[str, files.StoredTensor] = {}
        for path in weight_files(model_dir):
            self._entries.update(files.read_safetensors_header(path, "download it again")[1])
        if (self.model_dir / INDEX_NAME).is_file():
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
        """Its data type, as safetensors calls it."""
        return self._entries[name].type

    def read(self, name: str, into: "torch.Tensor") -> None:
        """Copy the tensor `name` into a tensor of its shape, converting it to that one's type and device."""
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
            piece = torch.empty(_PIECE, dtype=dtype)  # whole, the stored tensor would need as much memory again
            for part in into.view(-1).split(_PIECE):
                file.readinto(piece[: len(part)].view(torch.uint8).numpy())
                part.copy_(piece[: len(part)])


def checkpoint_dtype(model_dir: Path) -> str:
    """The data type that config.json names, as transformers reads it, or that of the first floating-point tensor."""
    config = files.read_json(Path(model_dir) / "config.json")
    for part in (config, config.get("text_config") or {}):
        named = str(part.get("dtype") or part.get("torch_dtype")).removeprefix("torch.")
        if named in FLOATING.values():
            return named
    weights = Weights(model_dir)
    return next((FLOATING[kind] for name in weights if (kind := weights.type(name)) in FLOATING), "float32")


def base_files(model_dir: Path) -> dict[str, int]:
    """File name -> size in bytes of what makes the model's numbers: config.json and the weight files."""
    model_dir = Path(model_dir)
    return {path.name: path.stat().st_size for path in [model_dir / "config.json", *weight_files(model_dir)]}


def identity(model_dir: Path, known: dict[str, str] | None = None) -> dict:
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

    Headers and sizes alone would be cheaper, but two trainings of one architecture share them, and a mask must never
    meet the wrong weights. Hashing reads about 1 GB a second, so the model's manifest may carry the result: it is
    reused while the files it was made from have the same names and sizes.
    """
    manifest = Path(model_dir) / "manifest.json"
    if manifest.is_file():
        known = files.read_json(manifest).get("results", {}).get("identity")
        if known and known["files"] == base_files(model_dir):
            return known["fingerprint"]
    return identity(model_dir)["fingerprint"]


def load_config(model_dir: Path):
    """The model's transformers configuration; an error for one this package does not prune."""
    from transformers import AutoConfig

    weight_files(model_dir)
    try:
        config = AutoConfig.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of any type: configuration classes check what they read in their own ways
        reason = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
        raise SubmodelsError(f"{model_dir}/config.json: transformers cannot read it ({reason})") from error
    if getattr(config, "quantization_config", None):
        raise SubmodelsError(f"{model_dir}: the weights are quantised; use the unquantised model")
    return config


def usable_device(name: str) -> "torch.device":
    """The device of that name; an error if this machine has none."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SubmodelsError(f"device '{name}' is not usable here ({reason}); try cpu or cuda") from error
    return device
