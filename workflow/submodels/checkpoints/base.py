"""A base model on disk: a Hugging Face directory with safetensors weights, read one tensor at a time.

Nothing here runs code that comes with a checkpoint: weights are safetensors, architectures come from transformers.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from submodels import files
from submodels.errors import SubmodelsError

if TYPE_CHECKING:
    import torch

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def weight_files(model_dir: Path) -> list[Path]:
    """The safetensors files that make up the model: the shards its index names, or the single file."""
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        raise SubmodelsError(f"{model_dir}: no such directory; a base model is a Hugging Face model directory")
    if not (model_dir / "config.json").is_file():
        raise SubmodelsError(f"{model_dir}: no config.json; a base model is a Hugging Face model directory")
    if (model_dir / INDEX_NAME).is_file():
        weight_map = files.read_json(model_dir / INDEX_NAME).get("weight_map", {})
        paths = [model_dir / name for name in sorted(set(weight_map.values()))]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise SubmodelsError(f"{model_dir}: {INDEX_NAME} names {', '.join(missing)}, not there; download it again")
        if not paths:
            raise SubmodelsError(f"{model_dir / INDEX_NAME}: names no weight file; download it again")
        return paths
    if (model_dir / SINGLE_NAME).is_file():
        return [model_dir / SINGLE_NAME]
    if any(any(model_dir.glob(pattern)) for pattern in _PICKLES):
        raise SubmodelsError(
            f"{model_dir}: only pickled weights, which may run code when read; if you trust them, convert them once "
            "with AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)"
        )
    raise SubmodelsError(f"{model_dir}: no {SINGLE_NAME} and no {INDEX_NAME}")


class Weights:
    """The tensors of a checkpoint by name, read from memory-mapped safetensors only when asked for."""

    def __init__(self, model_dir: Path):
        from safetensors import SafetensorError, safe_open

        self.model_dir = Path(model_dir)
        self._file_of = {}
        for path in weight_files(model_dir):
            try:
                file = safe_open(path, framework="pt")  # reads the header and checks the file's length against it
            except SafetensorError as error:
                raise SubmodelsError(f"{path}: not a complete safetensors file ({error}); download it again") from error
            self._file_of |= dict.fromkeys(file.keys(), file)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file_of[name].get_slice(name).get_shape())

    def read(self, name: str) -> "torch.Tensor":
        return self._file_of[name].get_tensor(name)


def base_files(model_dir: Path) -> dict[str, int]:
    """File name -> size in bytes of what makes the model's numbers: config.json and the weight files."""
    model_dir = Path(model_dir)
    return {path.name: path.stat().st_size for path in [model_dir / "config.json", *weight_files(model_dir)]}


def identity(model_dir: Path, known: dict[str, str] | None = None) -> dict:
    """{"fingerprint", "files": name -> size} of a base model, to be kept in its manifest under results.identity.

    known: SHA-256 of files by name, where they have been hashed already.
    """
    sizes, known = base_files(model_dir), known or {}
    hashes = {name: known.get(name) or files.sha256_file(Path(model_dir) / name) for name in sizes}
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
    except (OSError, ValueError, KeyError) as error:
        raise SubmodelsError(f"{model_dir}/config.json: transformers cannot read it ({error})") from error
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
