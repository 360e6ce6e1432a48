"""The sub-model file: one bit per weight of every pruned parameter.

`submodel.safetensors` holds, under each pruned parameter's own name, a uint8 vector: the mask (out_features,
in_features) in row-major order, eight weights a byte, least significant bit first, 1 = kept, zeros after the last
weight. Its safetensors metadata has one key, `submodel`, a JSON object: `format`, `shapes` (parameter -> [out, in]),
`method`, `sparsity`, `seed`, `calibration` (name and SHA-256 of the windows, or null) and `base` (identity of the base
model). One key, because safetensors stores several in random order and equal masks should be equal bytes.

This module reads and writes with NumPy alone: comparing masks needs no torch.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from submodels import files
from submodels.errors import SubmodelsError

FORMAT = 1
FILE_NAME = "submodel.safetensors"
_HEADER_KEYS = {"format", "shapes", "method", "sparsity", "seed", "calibration", "base"}


def pack(mask: np.ndarray) -> np.ndarray:
    """(out, in) bool -> (ceil(out * in / 8),) uint8."""
    return np.packbits(mask.ravel(), bitorder="little")


def unpack_bits(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The inverse of `pack`: (ceil(out * in / 8),) uint8 -> (out, in) bool."""
    size = shape[0] * shape[1]
    return np.unpackbits(packed, count=size, bitorder="little").astype(bool).reshape(shape)


def write_masks(
    directory: Path,
    packed: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, int]],
    *,
    method: str,
    sparsity: str,
    seed: int,
    calibration: dict | None,
    base: str,
) -> None:
    """Write packed masks (parameter name -> `pack(mask)`) and what they are to `directory`/submodel.safetensors."""
    header = {
        "format": FORMAT,
        "shapes": {name: list(shapes[name]) for name in sorted(packed)},
        "method": method,
        "sparsity": sparsity,
        "seed": seed,
        "calibration": calibration,
        "base": base,
    }
    with files.atomic_path(Path(directory) / FILE_NAME) as temporary:
        save_file(packed, temporary, metadata={"submodel": json.dumps(header, sort_keys=True)})


class Masks:
    """The masks of one sub-model, read one parameter at a time."""

    def __init__(self, directory: Path):
        self.path = Path(directory) / FILE_NAME
        if not self.path.is_file():
            raise SubmodelsError(f"{self.path}: no such file; give the directory that `submodels prune` wrote")
        try:
            self._file = safe_open(self.path, framework="np")
        except SafetensorError as error:
            raise SubmodelsError(f"{self.path}: not a complete safetensors file ({error}); prune again") from error
        self.header = self._read_header()
        self.shapes: dict[str, tuple[int, int]] = {name: tuple(s) for name, s in self.header["shapes"].items()}
        if set(self.shapes) != set(self._file.keys()):
            raise SubmodelsError(f"{self.path}: the tensors differ from the shapes in the header; prune again")

    def _read_header(self) -> dict:
        try:
            header = json.loads((self._file.metadata() or {})["submodel"])
        except (KeyError, ValueError) as error:
            raise SubmodelsError(f"{self.path}: not a sub-model file (no `submodel` metadata)") from error
        if header.get("format") != FORMAT:
            raise SubmodelsError(
                f"{self.path}: format {header.get('format')!r}, but this version reads format {FORMAT}; prune again"
            )
        if missing := _HEADER_KEYS - header.keys():
            raise SubmodelsError(f"{self.path}: the header lacks {', '.join(sorted(missing))}; prune again")
        return header

    def packed(self, name: str) -> np.ndarray:
        """The packed mask of one parameter, checked: uint8, the length its shape asks for, zero padding bits."""
        bits = self._file.get_tensor(name)
        size = self.shapes[name][0] * self.shapes[name][1]
        if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
            raise SubmodelsError(
                f"{self.path}: {name} is {bits.dtype} {bits.shape}, expected uint8 ({-(-size // 8)},); prune again"
            )
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
    """Write the masks as plain bool tensors (True = kept), one per pruned parameter under its own name, to `out`."""
    masks = Masks(submodel_dir)
    with files.atomic_path(out) as temporary:
        save_file({name: masks.mask(name) for name in masks}, temporary)
