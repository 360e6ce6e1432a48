"""Reading and writing the few file formats of the project. Every write is atomic: a temporary file, then a rename."""

import codecs
import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import yaml

from submodels.errors import SubmodelsError

_QUOTED = re.compile(r"\(os error (\d+)\)")
_HOST = platform.node().split(".")[0]
_IDLE_SECONDS = 600
# Ten times as fast where PyYAML was built with libyaml; every cluster job reads the grid and the registries again.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_MISREAD_NUMBER = re.compile(r"[-+]?0[0-7_]+|.*:.*")  # octal, and to the base of 60
_GZIP = b"\x1f\x8b"
AS_UTF8 = "convert it, for example with `iconv -f LATIN1 -t UTF-8`, which names the file's encoding first"
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


@contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """Yield a temporary directory beside `path`, which takes the place of `path` on success, and is deleted on any
    error."""
    temporary = temporary_path(path)
    try:
        with room_for(path):
            temporary.mkdir()
            yield temporary
            replace_directory(Path(path), temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_directory(path: Path, by: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
    os.replace(by, path)


def temporary_path(path: Path | str) -> Path:
    """A path for a file that will be renamed to `path`: no other process, on this host or another, uses its name.

    It keeps the suffix of `path`, because writers choose a format by it. Files that killed processes left under such
    names are deleted: files of this host at once, files of other hosts when nothing was written to them for a while.
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
    """In this context a full disk raises a SubmodelsError that names `path`."""
    try:
        yield
    except Exception as error:
        # safetensors raises its own errors, which quote the system's error.
        numbers = {getattr(error, "errno", None)} | {int(number) for number in _QUOTED.findall(str(error))}
        if not numbers & _NO_ROOM:
            raise
        raise SubmodelsError(f"{path}: cannot be written, the disk or quota is full; free space there") from error


def write_text(path: Path | str, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(_encoded(text))


def _encoded(text: str) -> bytes:
    """UTF-8. A lone surrogate, which UTF-8 lacks, is written as `\\ud83d`, its escape in JSON."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path | str, value) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def open_text(path: Path | str) -> Iterator[io.TextIOWrapper]:
    """A text file opened for reading; in this context every fault of the file is a SubmodelsError that names it.

    Its first bytes say whether it is compressed, and whether it is UTF-8 or UTF-16. Lines end at \\n, \\r\\n or \\r.
    """
    try:
        with _content(path) as content:
            marked = content.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            with io.TextIOWrapper(content, encoding="utf-16" if marked else "utf-8-sig") as text:
                yield text
    except FileNotFoundError as error:
        raise SubmodelsError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise SubmodelsError(f"{path}: a directory, not a file") from error
    except UnicodeDecodeError as error:
        line = "" if error.encoding.startswith("utf-16") else f", line {_undecodable_line(path)}"
        raise SubmodelsError(f"{path}{line}: not a text in {error.encoding.upper()}; {AS_UTF8}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SubmodelsError(f"{path}: not a complete gzip file ({error}); copy or fetch it again") from error
    except OSError as error:
        raise SubmodelsError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def _content(path: Path | str) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, uncompressed."""
    with open(path, "rb") as file, gzip.open(file) if file.peek(2)[:2] == _GZIP else nullcontext(file) as content:
        yield content


def _undecodable_line(path: Path | str) -> int:
    with _content(path) as content:
        for number, line in enumerate(content, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number


def _parse(text: str, path: Path | str, decoder: json.JSONDecoder, line: int = 1):
    """One JSON value, which begins at line `line` of the file."""
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}"
        raise SubmodelsError(f"{path}, {where}: not valid JSON ({error.msg}: column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise SubmodelsError(f"{path}, line {line}: not valid JSON ({error})") from error


def _members(pairs: list[tuple]) -> dict:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"the key {_first_repeated(name for name, _ in pairs)!r} is there twice")
    return members


def _first_repeated(names: Iterable):
    seen = set()
    return next(name for name in names if name in seen or seen.add(name))


_JSON = json.JSONDecoder()
_UNIQUE = json.JSONDecoder(object_pairs_hook=_members)


def read_json(path: Path | str, *, unique: bool = False):
    """`unique`: a key that an object has twice is an error; without it the last value counts, as in other tools."""
    with open_text(path) as file:
        return _parse(file.read(), path, _UNIQUE if unique else _JSON)


def write_json_lines(path: Path | str, value: dict, key: str) -> None:
    """A JSON object whose last member `key`, an object too, has each of its entries on one line, however long."""
    head = json.dumps({name: member for name, member in value.items() if name != key}, indent=2, ensure_ascii=False)
    lines = (f"    {json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in value[key].items())
    write_text(path, head[:-2] + f',\n  "{key}": {{\n' + ",\n".join(lines) + "\n  }\n}\n")


def read_yaml(path: Path | str):
    """Read plain YAML: a tag such as `!function` would name code, and no file of this project may run any.

    Values that YAML silently misreads are errors: a key that occurs twice or is no text, a number such as 2:4 or 010.
    """
    with open_text(path) as file:
        text = file.read()
    try:
        return _UNIQUE.decode(text)  # JSON is read as JSON: YAML knows neither its tabs nor all of its escapes
    except ValueError:
        pass
    try:
        loader = _YAML(text)
        node = loader.get_single_node()
        if misread := next(_misread(node, set()), None):
            raise SubmodelsError(f"{path}, {misread}")
        return None if node is None else loader.construct_document(node)
    except yaml.constructor.ConstructorError as error:
        raise SubmodelsError(
            f"{path}: not plain YAML ({_one_line(error)}); tags such as `!function` are not supported"
        ) from error
    except yaml.YAMLError as error:
        raise SubmodelsError(f"{path}: not valid YAML ({_one_line(error)})") from error


def _misread(node: yaml.Node | None, seen: set[int]) -> Iterator[str]:
    """Values that YAML misreads, each with its line. `seen`: ids of visited nodes, because aliases repeat nodes."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _misread_keys([key for key, _ in node.value if key.tag != _MERGE])
        members = [value for _, value in node.value]
    else:
        members = node.value if isinstance(node, yaml.SequenceNode) else []
    for member in members:
        yield from _misread(member, seen)
    if node.tag in _NUMBERS and _MISREAD_NUMBER.fullmatch(node.value):
        number = yaml.safe_load(node.value)
        remedy = f"a sparsity pattern as {node.value.replace(':', 'of')}" if ":" in node.value else f"it as {number}"
        yield f"{_line(node)}: YAML reads {node.value} as the number {number}; write {remedy}, or a text in quotes"


def _misread_keys(keys: list[yaml.Node]) -> Iterator[str]:
    lines: dict[str, str] = {}
    for key in keys:
        if key.tag != _TEXT:
            shown = key.value if isinstance(key.value, str) else "a list or mapping"
            yield f"{_line(key)}: YAML does not read the key {shown} as a text; write it in quotes"
        elif key.value in lines:
            yield (
                f"{_line(key)}: the key '{key.value}' is there twice, first in {lines[key.value]}, and only one of "
                "them would count; remove one of them"
            )
        else:
            lines[key.value] = _line(key)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


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
    """Read JSON lines, blank ones left out; an error names the file and the line. No key may be there twice."""
    with open_text(path) as file:
        return [_parse(line, path, _UNIQUE, number) for number, line in enumerate(file, start=1) if line.strip()]


class StoredTensor(NamedTuple):
    """A tensor of a safetensors file: `type` as safetensors calls it; its bytes begin at `offset` of the file."""

    path: Path
    type: str
    shape: tuple[int, ...]
    offset: int


def read_safetensors_header(path: Path, remedy: str) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Metadata and tensors by name; an error that ends in `remedy` for a file that is not whole."""
    from safetensors import SafetensorError, safe_open  # a slow import; most stages read no tensors

    try:
        with safe_open(path, framework="np") as file:  # checks the header and the file's length
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


_FICLONE = 0x40049409  # share a file's blocks, see ioctl_ficlone(2)


def copy_file(source: Path, target: Path, sha256: str, *, link: bool = False) -> bool:
    """Copy the file `source` if it has the hash `sha256`; else return False and write nothing.

    Copies share their blocks if the file system supports it. link: make a hard link instead, if it supports links.
    """
    try:
        with atomic_path(target) as temporary:
            if not (link and _linked(source, temporary)):
                with open(source, "rb") as original, open(temporary, "wb") as copy:
                    try:
                        fcntl.ioctl(copy, _FICLONE, original.fileno())
                    except OSError:
                        shutil.copyfileobj(original, copy, 1 << 24)
            if sha256_file(temporary) != sha256:
                raise FileNotFoundError(source)
    except FileNotFoundError:
        return False
    return True


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or a file system without links
        return False
    return True


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return sha256_bytes(_encoded(json.dumps(value, sort_keys=True, ensure_ascii=False)))
