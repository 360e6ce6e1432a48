"""The part of this machine that a sandbox shows: a minimal read-only system and the tools of a language."""

import glob
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from submodels.errors import SubmodelsError

INSIDE = Path(__file__).parent / "inside"  # the trusted programs that run in the sandbox
INSIDE_PLACE = "/run/submodels"
PREPARED_PLACE = "/run/prepared"
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
UNPRIVILEGED = 65534  # "nobody": the user that a sandbox started by root becomes

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/java*")
_DEVICE_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/shm": "/tmp",
}


@dataclass(frozen=True)
class Layout:
    python: str
    binds: dict[str, str] = field(default_factory=dict)  # source -> place inside, read-only
    symlinks: dict[str, str] = field(default_factory=dict)  # place inside -> target of the link
    environment: dict[str, str] = field(default_factory=dict)  # complete: nothing else is inherited


def layout(tools: list[Path], prepared: dict[str, Path] | None = None) -> Layout:
    """The layout for some tools and this interpreter. A tool called through a link finds that link inside too.

    `prepared`: directories by the name they have below PREPARED_PLACE.
    """
    binds, symlinks = {}, dict(_DEVICE_LINKS)
    for path in _SYSTEM:
        if os.path.islink(path):
            symlinks[path] = os.readlink(path)
        elif os.path.isdir(path):
            binds[path] = path
    for path in [name for pattern in _ETC for name in sorted(glob.glob(pattern))]:
        binds[path] = path
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for path in [_prefix(python, Path(sys.base_prefix).resolve()), *(_prefix(tool.resolve()) for tool in tools)]:
        if not path.is_relative_to("/usr"):
            binds[str(path)] = str(path)
    for tool in tools:
        if not any(tool.is_relative_to(place) for place in (*binds, *symlinks)):
            _refuse_tmp(tool, tool)
            symlinks[str(tool)] = str(tool.resolve())
    binds[str(INSIDE)] = INSIDE_PLACE
    binds |= {str(path): f"{PREPARED_PLACE}/{name}" for name, path in (prepared or {}).items()}
    return Layout(str(python), binds, symlinks, clean_environment(tools))


def _prefix(tool: Path, prefix: Path | None = None) -> Path:
    """The directory a tool is installed under, or only the tool where that would show a whole home directory."""
    prefix = prefix or (tool.parent.parent if tool.parent.name == "bin" else tool.parent)
    _refuse_tmp(tool, prefix)
    home = Path.home().resolve()
    if not (prefix == Path("/") or home.is_relative_to(prefix) or prefix == home / ".local"):
        return prefix
    if tool.name.startswith("python"):
        raise SubmodelsError(
            f"this Python is installed directly under {prefix}, which no sandbox may show to generated code; "
            "run submodels with a Python installed in a separate directory"
        )
    return tool


def _refuse_tmp(tool: Path, place: Path) -> None:
    if place.is_relative_to("/tmp"):
        raise SubmodelsError(f"{tool} is installed under /tmp, which is empty in a sandbox; install it elsewhere")


def clean_environment(tools: list[Path]) -> dict[str, str]:
    """The whole environment of the sandbox. A fixed hash seed makes the order of Python's sets repeatable."""
    search = [str(tool.parent) for tool in tools] + ["/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": ":".join(dict.fromkeys(search)),
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
