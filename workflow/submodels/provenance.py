"""Manifests: the record of how a file was made. Every stage writes a manifest beside its product.

A manifest holds the stage's parameters, the fingerprints of its inputs, the versions of what computed it, the git
commit of the workflow, wall time and peak memory, the hashes of its products, and the stage's own `results`.
"""

import datetime
import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import submodels
from submodels import files

FORMAT = 1
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
_OF_STAGE = {"generate": ("lm_eval",)}  # further ones; a process that starts warm has imported those of other stages


class Manifest:
    """Collects what a stage did; create it when the stage starts, `write` it when the product is complete."""

    def __init__(
        self,
        stage: str,
        parameters: dict,
        inputs: dict[str, Path | str] | None = None,
        started: float | None = None,
    ):
        """`parameters`: small scientific values. `inputs`: name -> file, hashed now, or name -> known fingerprint.

        `started`: seconds since the epoch, if the stage began before all of these were known.
        """
        self._started = started or time.time()
        self.content = {
            "stage": stage,
            "format": FORMAT,
            "parameters": parameters,
            "inputs": {name: _identity(source) for name, source in (inputs or {}).items()},
        }

    @property
    def fingerprint(self) -> str:
        """Identity of the product: the stage, its parameters and its inputs' contents, but not time or place."""
        inputs = {name: entry["sha256"] for name, entry in self.content["inputs"].items()}
        return files.fingerprint([self.content["stage"], self.content["parameters"], inputs])

    def write(self, path: Path | str, products: Iterable[Path] = (), earlier: float = 0.0, **results) -> None:
        """products: the files that this manifest describes, in its directory or below. earlier: seconds of killed runs
        that this run continued."""
        started = datetime.datetime.fromtimestamp(self._started, datetime.UTC)
        directory = Path(path).parent
        files.write_json(
            path,
            self.content
            | {
                "fingerprint": self.fingerprint,
                "products": {str(file.relative_to(directory)): files.sha256_file(file) for file in products},
                "results": results,
                "versions": versions(self.content["stage"]),
                "git": git_state(),
                "started": started.isoformat(timespec="seconds"),
                "wall_seconds": round(earlier + time.time() - self._started, 3),
                "peak_memory_mb": round(peak_memory_mb(), 1),
            },
        )


def _identity(source: Path | str) -> dict:
    if isinstance(source, Path):
        return {"path": str(source), "sha256": files.sha256_file(source)}
    return {"sha256": source}


def versions(stage: str) -> dict[str, str]:
    """Versions of Python, of this package and of the libraries already imported that compute the stage's numbers."""
    found = {"python": platform.python_version(), "submodels": submodels.__version__}
    for library in (*_LIBRARIES, *_OF_STAGE.get(stage, ())):
        if library in sys.modules:
            found[library] = _version(library)
    return found


_version = cache(importlib.metadata.version)  # reads the package's whole description


@cache
def git_state() -> dict | None:
    """Commit of the checkout this package runs from and whether it has uncommitted changes; None outside git."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    headers = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    return {"commit": headers["branch.oid"], "dirty": any(not line.startswith("#") for line in lines)}


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
