"""What a killed job continues from: named tensors and the number of finished steps, in one file."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from submodels import files

SAVE_EVERY = 300.0  # seconds between two saves


class Progress:
    """A file that is replaced as a whole from time to time.

    identity: of everything that decides the result; a file of another identity, or a broken file, is ignored.
    save_every: seconds between two saves, more where saving is slow; 0: after every step. earlier: seconds of the runs
    that were killed, up to what they saved.
    """

    def __init__(self, path: Path, identity: str, save_every: float = SAVE_EVERY):
        self.path, self._identity, self._save_every = Path(path), identity, save_every
        self._began = self._saved = time.monotonic()
        self.earlier = self._took = 0.0

    def load(self) -> tuple[dict[str, torch.Tensor], int] | None:
        """The tensors and the number of finished steps; None if there is nothing to continue."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("identity") != self._identity:
                    return None
                found = {name: file.get_tensor(name) for name in file.keys()}, int(about["step"])  # noqa: SIM118
                self.earlier = float(about["seconds"])
                return found
        except (SafetensorError, OSError, ValueError, KeyError):
            return None

    def save_if_due(self, tensors: Callable[[], dict[str, torch.Tensor]], step: int) -> None:
        """Save what `tensors` returns, if the last save was long ago."""
        pause = self._save_every and max(self._save_every, 20 * self._took)  # saving takes a twentieth of the time
        if time.monotonic() - self._saved < pause:
            return
        begun = time.monotonic()
        with files.atomic_path(self.path) as temporary:
            found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors().items()}
            seconds = self.earlier + time.monotonic() - self._began
            save_file(found, temporary, {"identity": self._identity, "step": str(step), "seconds": str(seconds)})
        self._saved = time.monotonic()
        self._took = self._saved - begun

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
