"""The registry of backends, which generate a sub-model's answers, and the checkpoint on disk that vLLM needs.

A backend opens a sub-model as a context and yields an `engine.Engine`, which `engine.run` asks.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from submodels.errors import SubmodelsError, unknown


@contextmanager
def _open_hf(model: Path, submodel: Path | None, *, device: str, dtype: str, batch_size: int | None):
    from submodels.checkpoints.load import load_submodel, load_tokenizer
    from submodels.evaluation.hf_engine import EngineLM

    yield EngineLM(load_submodel(model, submodel, dtype=dtype, device=device), load_tokenizer(model), batch_size)


@contextmanager
def _open_vllm(model: Path, submodel: Path | None, *, device: str, dtype: str, batch_size: int | None):
    if device == "cpu":
        raise SubmodelsError("backend vllm generates only on GPUs; set device: cuda, or backend: hf")
    with scratch_checkpoint(model, submodel) as checkpoint:
        from submodels.evaluation.vllm_engine import VllmLM

        yield VllmLM(checkpoint, dtype, batch_size)


@dataclass(frozen=True)
class Backend:
    """`open`: (model, submodel or None, device, dtype, batch size or None for automatic) -> context of an engine."""

    open: Callable[..., AbstractContextManager]
    package: str  # the Python package that must be installed
    environment: str  # the environment file that installs it


BACKENDS = {
    "hf": Backend(_open_hf, "transformers", "envs/submodels.yaml"),
    "vllm": Backend(_open_vllm, "vllm", "envs/vllm.yaml"),
}


def find_backend(name: str) -> Backend:
    """The backend of that name; SubmodelsError if there is none or if its package is not installed."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    backend = BACKENDS[name]
    if find_spec(backend.package) is None:
        raise SubmodelsError(
            f"backend {name}: the package {backend.package} is not installed here; run in the environment of "
            f"{backend.environment}, or choose backend hf"
        )
    return backend


@contextmanager
def scratch_checkpoint(model: Path, submodel: Path | None) -> Iterator[Path]:
    """The sub-model as an ordinary checkpoint in node-local scratch ($TMPDIR), removed on the way out.

    It is removed after an error and after SIGTERM too, which clusters send before they kill a job. Without a sub-model
    the base model's directory is used as it is, or links to its files if it holds other weights beside them.
    """
    from submodels.checkpoints.base import weight_files
    from submodels.checkpoints.export import companions, export
    from submodels.checkpoints.tensors import read_stored

    model, read = Path(model), weight_files(model)
    read_stored(model)
    if submodel is None and set(model.glob("*.safetensors")) == set(read):
        yield model
        return
    needed = 0 if submodel is None else sum(path.stat().st_size for path in read)
    with _exit_on_sigterm(), tempfile.TemporaryDirectory(prefix="submodels-") as scratch:
        if submodel is None:  # libraries differ in their choice between a single file and shards
            for name, path in (companions(model) | {path.name: path for path in read}).items():
                link = Path(scratch) / "checkpoint" / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
            yield Path(scratch) / "checkpoint"
            return
        free = shutil.disk_usage(scratch).free
        if free < needed:
            raise SubmodelsError(
                f"{scratch}: the checkpoint needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; set TMPDIR to a "
                "larger disk of this machine, or choose backend hf"
            )
        export(model, submodel, Path(scratch) / "checkpoint")
        yield Path(scratch) / "checkpoint"


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an ordinary exit, which runs `finally` blocks; a second SIGTERM does not disturb them."""

    def leave(number: int, frame) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
