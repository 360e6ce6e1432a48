"""Directories made once on a machine, shown read-only in every sandbox: a precompiled header, the Java compiler.

They are in $XDG_CACHE_HOME/submodels (~/.cache/submodels), named by a hash of their inputs, and may be deleted at any
time. Only this machine's compilers write there, before any sample runs.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from submodels import files


def prepared(name: str, made_from: list, make: Callable[[Path], None] | None) -> Path | None:
    """The directory `name` made from `made_from` (a JSON value), filled by `make` if it does not exist yet.

    None where it neither exists nor can be made (`make` is None: making it is not worthwhile): samples then run
    without it, with the same results.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "submodels"
        place = cache / f"{name}-{files.fingerprint(made_from)[:16]}"
        if place.is_dir() or make is None:
            return place if place.is_dir() else None
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as directory:
            made = Path(directory, "made")
            made.mkdir()
            make(made)
            for path in (made, *made.rglob("*")):  # a sandbox that root starts reads it as another user
                path.chmod(0o755 if path.is_dir() else 0o644)
            try:
                made.rename(place)
            except OSError:
                if not place.is_dir():  # else another job was faster
                    raise
        return place
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"{name} cannot be prepared, samples take longer without it: {error}", file=sys.stderr)
        return None


def tool_identity(tool: Path) -> list:
    """Identity of a tool, found without running it: another version is another file."""
    path = tool.resolve()
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]
