"""Reading and writing the few file formats of the project. Every write is atomic: a temporary file, then a rename."""

import errno
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from submodels.errors import SubmodelsError

_QUOTED = re.compile(r"\(os error (\d+)\)")
_HOST = platform.node().split(".")[0]
_IDLE_SECONDS = 600
# Ten times as fast where PyYAML was built with libyaml; every cluster job reads the grid and the registries again.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on any error."""
    temporary = temporary_path(path)
    try:
        with room_for(path):
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path | str) -> Path:
    """Where to write what will be renamed to `path`: a name that no other process uses, on this host or another.

    It keeps the suffix of `path`, because writers choose a format by it. What killed processes left under such names
    is deleted: of this host at once, of others when nothing was written there for a while.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = re.compile(rf"\.(.+)-(\d+)\.{re.escape(path.name)}")
    for other in path.parent.iterdir():
        if (match := ours.fullmatch(other.name)) and _abandoned(other, match[1], int(match[2])):
            shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)
    return path.with_name(f".{_HOST}-{os.getpid()}.{path.name}")


def _abandoned(path: Path, host: str, process: int) -> bool:
    if host == _HOST:
        return not Path(f"/proc/{process}").exists()
    try:
        return time.time() - path.stat().st_mtime > _IDLE_SECONDS
    except FileNotFoundError:
        return False


@contextmanager
def room_for(path: Path | str) -> Iterator[None]:
    """Writing `path` in this context ends in a SubmodelsError where the disk is full."""
    try:
        yield
    except Exception as error:
        # safetensors has errors of its own that quote the system's.
        numbers = {getattr(error, "errno", None)} | {int(number) for number in _QUOTED.findall(str(error))}
        if not numbers & _NO_ROOM:
            raise
        raise SubmodelsError(f"{path}: cannot be written, the disk or quota is full; free space there") from error


def write_text(path: Path | str, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(_encoded(text))


def _encoded(text: str) -> bytes:
    """UTF-8. A lone surrogate, which UTF-8 lacks, is written as `\\ud83d`: the very escape that JSON has for it."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path | str, value) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SubmodelsError(f"{path}: no such file") from error
    except ValueError as error:
        raise SubmodelsError(f"{path}: not valid JSON ({error})") from error


def write_json_lines(path: Path | str, value: dict, key: str) -> None:
    """A JSON object whose last member `key`, an object too, has each of its entries on one line, however long."""
    head = json.dumps({name: member for name, member in value.items() if name != key}, indent=2, ensure_ascii=False)
    lines = (f"    {json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in value[key].items())
    write_text(path, head[:-2] + f',\n  "{key}": {{\n' + ",\n".join(lines) + "\n  }\n}\n")


def read_yaml(path: Path | str):
    """Read plain YAML: a tag such as `!function` would name code, and no file of this project may run any."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_YAML)
    except FileNotFoundError as error:
        raise SubmodelsError(f"{path}: no such file") from error
    except yaml.constructor.ConstructorError as error:
        raise SubmodelsError(
            f"{path}: not plain YAML ({_one_line(error)}); tags such as `!function` are not supported"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SubmodelsError(f"{path}: not valid YAML ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def write_jsonl(path: Path | str, rows: Iterable[dict]) -> None:
    """Write one JSON object a line, gzip if the name ends in .gz. Equal rows give equal bytes."""
    data = _encoded("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    if str(path).endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_jsonl(path: Path | str) -> list[dict]:
    """Read JSON lines, gzip if the name ends in .gz; an error names the file and the line."""
    opener = gzip.open if str(path).endswith(".gz") else open
    rows, number = [], 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for line in file:
                number += 1
                if line.strip():
                    rows.append(json.loads(line))
    except FileNotFoundError as error:
        raise SubmodelsError(f"{path}: no such file") from error
    except ValueError as error:
        raise SubmodelsError(f"{path}, line {number}: not valid JSON ({error})") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise SubmodelsError(f"{path}: not a complete gzip file ({error})") from error
    return rows


class StoredTensor(NamedTuple):
    """A tensor of a safetensors file: `type` as safetensors calls it; its bytes begin at `offset` of the file."""

    path: Path
    type: str
    shape: tuple[int, ...]
    offset: int


def read_safetensors_header(path: Path, remedy: str) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Metadata and tensors by name; an error that ends in `remedy` for a file that is not whole."""
    from safetensors import SafetensorError, safe_open  # a slow import, and most stages read no tensors

    try:
        with safe_open(path, framework="np") as file:  # checks the header, and the file's length against it
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise SubmodelsError(f"{path}: not a complete safetensors file ({error}); {remedy}") from error
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return metadata, {
        name: StoredTensor(path, entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in entries.items()
    }


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return sha256_bytes(_encoded(json.dumps(value, sort_keys=True, ensure_ascii=False)))
