"""The sub-model file: one bit per weight of every pruned parameter, and the kept values where a method changes them.

`submodel.safetensors` holds, under each pruned parameter's own name, a uint8 vector: the mask (out_features,
in_features) in row-major order, eight weights a byte, least significant bit first, 1 = kept, zeros after the last
weight. Methods that update weights add `<parameter>.values`, the kept weights in row-major order. The file's
safetensors metadata has one key, `submodel`, a JSON object: `format`, `shapes` (parameter -> [out, in]), `method`,
`sparsity`, `seed`, `calibration` (name and SHA-256 of the windows, or null), `base` (identity of the base model) and,
if there are any, `values` (their data type). One key, because safetensors stores several in random order and equal
masks should be equal bytes.

This module reads and writes only with NumPy: comparing masks needs no torch.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors.numpy import save_file

from submodels import files
from submodels.errors import SubmodelsError

FORMAT = 1
FILE_NAME = "submodel.safetensors"
# Data type -> safetensors' name, bytes.
VALUE_TYPES = {"float64": ("F64", 8), "float32": ("F32", 4), "bfloat16": ("BF16", 2), "float16": ("F16", 2)}
_HEADER_KEYS = {"format", "shapes", "method", "sparsity", "seed", "calibration", "base"}


def pack(mask: np.ndarray) -> np.ndarray:
    """(out, in) bool -> (ceil(out * in / 8),) uint8."""
    return np.packbits(mask.ravel(), bitorder="little")


def unpack_bits(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The inverse of `pack`: (ceil(out * in / 8),) uint8 -> (out, in) bool."""
    size = shape[0] * shape[1]
    return np.unpackbits(packed, count=size, bitorder="little").astype(bool).reshape(shape)


class Writer:
    """Writes a sub-model parameter by parameter, so that only one parameter is in memory.

    A safetensors file begins with its header, and how many values are kept is known only at the end. So the header's
    place is reserved at its greatest possible length and filled last, padded with spaces, which the format allows.
    """

    def __init__(self, file: BinaryIO, masks: BinaryIO, about: dict):
        self._file, self._masks, self._about = file, masks, about
        self._values: str | None = about.get("values")
        self._counts: dict[str, int] = {}  # kept weights, in the order of writing
        room = len(self._header({name: out * columns for name, (out, columns) in about["shapes"].items()}))
        self._room = -(-room // 8) * 8
        file.write(bytes(8 + self._room))

    def add(self, name: str, packed: np.ndarray, values: np.ndarray | None = None) -> None:
        """In the order of the shapes. packed: the mask by `pack`. values: the kept weights, row-major, as raw bytes."""
        self._counts[name] = 0
        if values is not None:
            written = self._file.write(values)
            self._counts[name] = written // VALUE_TYPES[self._values][1]
        self._masks.write(packed)

    def close(self) -> None:
        """Put the masks behind the values and the header before them."""
        if missing := self._about["shapes"].keys() - self._counts.keys():
            raise ValueError(f"no mask of {', '.join(sorted(missing))}")
        self._masks.seek(0)
        shutil.copyfileobj(self._masks, self._file)
        if len(header := self._header(self._counts)) > self._room:
            raise ValueError("parameters must be added in the order of their shapes")
        self._file.seek(0)
        self._file.write(self._room.to_bytes(8, "little") + header.ljust(self._room))

    def _header(self, counts: dict[str, int]) -> bytes:
        """The file's header, given how many weights of each parameter are kept."""
        entries, end = {"__metadata__": {"submodel": json.dumps(self._about, sort_keys=True)}}, 0
        if self._values is not None:
            kind, size = VALUE_TYPES[self._values]
            for name, count in counts.items():
                start, end = end, end + count * size
                entries[values_name(name)] = {"dtype": kind, "shape": [count], "data_offsets": [start, end]}
        for name in counts:
            length = packed_length(self._about["shapes"][name])
            start, end = end, end + length
            entries[name] = {"dtype": "U8", "shape": [length], "data_offsets": [start, end]}
        return json.dumps(entries, separators=(",", ":")).encode()


@contextmanager
def writing(
    directory: Path,
    shapes: dict[str, tuple[int, int]],
    *,
    method: str,
    sparsity: str,
    seed: int,
    calibration: dict | None,
    base: str,
    values: str | None = None,
    general: dict | None = None,
) -> Iterator[Writer]:
    """Yield a `Writer` of `directory`/submodel.safetensors, which appears, complete, when the block ends.

    values: the data type of the updated weights, a key of `VALUE_TYPES`; None for methods that change none.
    calibration, general: name and hash of the windows of a set, and of a generic set where the method takes two.
    """
    about = {
        "format": FORMAT,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "method": method,
        "sparsity": sparsity,
        "seed": seed,
        "calibration": calibration,
        "base": base,
    } | {key: value for key, value in (("values", values), ("general", general)) if value}
    path = Path(directory) / FILE_NAME
    with (
        files.atomic_path(path) as temporary,
        open(temporary, "wb") as file,
        tempfile.TemporaryFile(dir=path.parent) as masks,
    ):
        writer = Writer(file, masks, about)
        yield writer
        writer.close()


def packed_length(shape: tuple[int, int]) -> int:
    """Bytes of a packed mask."""
    return -(-shape[0] * shape[1] // 8)


def values_name(parameter: str) -> str:
    return f"{parameter}.values"


class Masks:
    """The masks of one sub-model, read one parameter at a time; the file is not kept mapped or open."""

    def __init__(self, directory: Path):
        self.path = Path(directory) / FILE_NAME
        if not self.path.is_file():
            raise SubmodelsError(f"{self.path}: no such file; give the directory that `submodels prune` wrote")
        metadata, self._entries = files.read_safetensors_header(self.path, "prune again")
        self.header = self._read_header(metadata)
        self.shapes: dict[str, tuple[int, int]] = {name: tuple(s) for name, s in self.header["shapes"].items()}
        expected = set(self.shapes)
        if self.has_values:
            expected |= {values_name(name) for name in self.shapes}
        if expected != self._entries.keys():
            raise SubmodelsError(f"{self.path}: the tensors differ from the shapes in the header; prune again")

    def _read_header(self, metadata: dict[str, str]) -> dict:
        try:
            header = json.loads(metadata["submodel"])
        except (KeyError, ValueError) as error:
            raise SubmodelsError(f"{self.path}: not a sub-model file (no `submodel` metadata)") from error
        if header.get("format") != FORMAT:
            raise SubmodelsError(
                f"{self.path}: format {header.get('format')!r}, but this version reads format {FORMAT}; prune again"
            )
        if missing := _HEADER_KEYS - header.keys():
            raise SubmodelsError(f"{self.path}: the header lacks {', '.join(sorted(missing))}; prune again")
        return header

    @property
    def has_values(self) -> bool:
        """Whether the kept weights differ from the base model's, and are stored."""
        return "values" in self.header

    def packed(self, name: str) -> np.ndarray:
        """The packed mask of one parameter, checked: uint8, the length its shape asks for, zero padding bits."""
        entry, size = self._entries[name], self.shapes[name][0] * self.shapes[name][1]
        length = packed_length(self.shapes[name])
        if entry.type != "U8" or entry.shape != (length,):
            raise SubmodelsError(
                f"{self.path}: {name} is {entry.type} {list(entry.shape)}, expected U8 [{length}]; prune again"
            )
        bits = np.fromfile(self.path, np.uint8, count=length, offset=entry.offset)
        if size % 8 and bits[-1] >> (size % 8):
            raise SubmodelsError(f"{self.path}: {name} has bits set after its last weight; prune again")
        return bits

    def mask(self, name: str) -> np.ndarray:
        """(out_features, in_features) bool, True = kept."""
        return unpack_bits(self.packed(name), self.shapes[name])

    def __iter__(self) -> Iterator[str]:
        """Names of the pruned parameters, in alphabetical order."""
        return iter(sorted(self.shapes))


def unpack(submodel_dir: Path, out: Path) -> None:
    """Write the masks as plain bool tensors (True = kept), under the names of the pruned parameters, to `out`."""
    masks = Masks(submodel_dir)
    with files.atomic_path(out) as temporary:
        save_file({name: masks.mask(name) for name in masks}, temporary)
