"""The header of a GGUF file: the sizes of a model without its weights. Light: every cluster job reads it again.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. The library `gguf`
makes an object of every token of the vocabulary, which takes seconds.
"""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from submodels.errors import SubmodelsError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_PLAIN = {0: "float32", 1: "float16", 30: "bfloat16"}  # types of ggml that are not quantised


class StoredTensor(NamedTuple):
    """A tensor's shape, in PyTorch's order, and the number of its type in ggml."""

    shape: tuple[int, ...]
    type: int


class Header(NamedTuple):
    """The values that are no arrays, and the tensors, by name."""

    values: dict[str, str | int | float | bool]
    tensors: dict[str, StoredTensor]

    def value(self, name: str):
        """A value of the architecture, such as `embedding_length`; None if it is not there."""
        return self.values.get(f"{self.values.get('general.architecture')}.{name}")


def converted_dtype(header: Header) -> str:
    """The data type that weights have once they are unpacked: their own, or bfloat16 for quantised weights."""
    kinds = {tensor.type for tensor in header.tensors.values() if len(tensor.shape) > 1}
    return _PLAIN[kinds.pop()] if len(kinds) == 1 and kinds <= _PLAIN.keys() else "bfloat16"


def read_header(path: Path) -> Header:
    """The header; SubmodelsError for any other file."""
    try:
        with open(path, "rb") as file:
            return _header(file, path)
    except OSError as error:
        raise SubmodelsError(f"{path}: {error.strerror or error}") from error
    except (struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as error:
        raise SubmodelsError(f"{path}: the GGUF header is broken or cut off; download the file again") from error


def _header(file: BinaryIO, path: Path) -> Header:
    if file.read(4) != b"GGUF":
        raise SubmodelsError(f"{path}: not a GGUF file")
    (version,) = _unpack(file, "I")
    if version not in _VERSIONS:
        raise SubmodelsError(f"{path}: GGUF of version {version}; versions {_VERSIONS[0]} and {_VERSIONS[1]} are read")
    tensors, values = _unpack(file, "QQ")
    found = {}
    for _ in range(values):
        name, value = _string(file), _value(file, *_unpack(file, "I"))
        if value is not None:
            found[name] = value
    return Header(found, dict(_tensor(file) for _ in range(tensors)))


def _tensor(file: BinaryIO) -> tuple[str, StoredTensor]:
    name, (dimensions,) = _string(file), _unpack(file, "I")
    *shape, kind, _ = _unpack(file, f"{dimensions}QIQ")
    return name, StoredTensor(tuple(reversed(shape)), kind)


def _value(file: BinaryIO, kind: int):
    """None for an array, which is passed over."""
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _unpack(file, _NUMBERS[kind])[0]
    kind, count = _unpack(file, "IQ")
    if kind in _NUMBERS:
        file.seek(count * struct.calcsize(f"<{_NUMBERS[kind]}"), 1)
    elif kind == _STRING:
        for _ in range(count):
            file.seek(*struct.unpack("<Q", file.read(8)), 1)
    else:
        for _ in range(count):
            _value(file, kind)
    return None


def _string(file: BinaryIO) -> str:
    return _exactly(file, *_unpack(file, "Q")).decode()


def _unpack(file: BinaryIO, layout: str) -> tuple:
    return struct.unpack(f"<{layout}", _exactly(file, struct.calcsize(f"<{layout}")))


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise struct.error
    return data
