"""Stage `overlap`: which weights do sub-models share? Jaccard distances between their masks.

Works on packed bits with only NumPy, one parameter of all sub-models at a time: every mask is read once, and memory
does not grow with the number of blocks.
"""

import csv
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from submodels import files
from submodels.checkpoints.masks import Masks
from submodels.errors import SubmodelsError, unknown

LEVELS = ("model", "layer", "module_kind", "module")
COLUMNS = ("a", "b", "level", "layer", "module", "kept_distance", "pruned_distance", "n_weights")
_PIECE = 128 * 1024  # bytes of each mask compared at a time: long enough for NumPy's loops, small enough for the cache
_BLOCK_PARAMETER = re.compile(r"\D*?\.(?P<layer>\d+)\.(?P<module>.+)\.weight")


def jaccard_distance(intersection: np.ndarray, size_a: np.ndarray, size_b: np.ndarray) -> np.ndarray:
    """1 - |A & B| / |A | B| of two sets given by three counts; two empty sets are equal, distance 0.

    The three counts have one shape, int64, or are numbers; returns float64 of that shape.
    """
    union = np.asarray(size_a + size_b - intersection)
    return np.where(union > 0, 1 - intersection / np.maximum(union, 1), 0.0)


def expected_random_distance(kept: float) -> float:
    """Jaccard distance of the kept sets of two large independent random masks that each keep the fraction `kept`.

    They share kept ** 2 of the weights out of a union of 2 * kept - kept ** 2, so the distance is
    1 - kept / (2 - kept): 2/3 when half is kept. For the pruned sets, pass the pruned fraction.
    """
    if not 0 < kept <= 1:
        raise ValueError(f"kept fraction {kept} must be in (0, 1]")
    return 1 - kept / (2 - kept)


def overlap(submodel_dirs: list[Path], out: Path, levels: Iterable[str] = LEVELS) -> None:
    """Compare every pair of sub-models and write a CSV with the columns `COLUMNS` to `out`.

    level: `model` (all pruned weights), `layer` (one block), `module_kind` (e.g. self_attn.q_proj in all blocks) or
    `module` (one matrix); `layer` and `module` are empty where they do not apply. Every pair has a row of `model`;
    rows of the other `levels` are for pairs of one method and sparsity, whose distances can be compared: 240 masks
    of a 7B model would have 7.6 million rows otherwise. A sub-model's name is that of its directory. A single sub-model
    has no pair: the file then holds only its header.
    """
    if wrong := set(levels) - set(LEVELS):
        raise unknown("level", min(wrong), LEVELS)
    submodels = {Path(directory).name: Masks(directory) for directory in submodel_dirs}
    if len(submodels) != len(submodel_dirs):
        raise SubmodelsError("overlap: two sub-model directories have one name; names must differ")
    check_comparable(submodels)
    names = list(submodels)
    alike = [(masks.header["method"], masks.header["sparsity"]) for masks in submodels.values()]
    counted = _count(submodels, {"model", *levels}) if len(names) > 1 else {}
    measured = [(place, *_distances(shared, weights), weights) for place, (shared, weights) in counted.items()]
    with files.atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i, j in itertools.combinations(range(len(names)), 2):
            for place, kept, pruned, weights in measured:
                if place[0] == "model" or alike[i] == alike[j]:
                    writer.writerow((names[i], names[j], *place, kept[i][j], pruned[i][j], weights))


def _distances(shared: np.ndarray, weights: int) -> tuple[list[list[float]], list[list[float]]]:
    """Distances of kept and of pruned weights, each m rows of m values, of which the upper triangle is used."""
    sizes = np.diagonal(shared)
    a, b = sizes[:, None], sizes[None, :]
    pruned = jaccard_distance(weights - (a + b - shared), weights - a, weights - b)
    return jaccard_distance(shared, a, b).tolist(), pruned.tolist()


def check_comparable(submodels: dict[str, Masks]) -> None:
    for first, other in itertools.pairwise(submodels.values()):
        if other.header["base"] != first.header["base"]:
            raise SubmodelsError(f"{other.path} and {first.path} come from different base models: not comparable")
        if other.shapes != first.shapes:
            raise SubmodelsError(f"{other.path} and {first.path} prune different parameters or shapes: not comparable")


def layer_and_module(parameter: str) -> tuple[int, str]:
    """`model.layers.3.self_attn.q_proj.weight` -> (3, "self_attn.q_proj")."""
    match = _BLOCK_PARAMETER.fullmatch(parameter)
    if match is None:
        raise SubmodelsError(f"{parameter}: not the name of a weight in a numbered decoder block")
    return int(match["layer"]), match["module"]


def intersections(packed: list[np.ndarray]) -> np.ndarray:
    """How many bits two masks share, for every pair of masks.

    packed: m vectors of equal length, uint8. Returns (m, m) int64: above the diagonal the bits set in both masks, on it
    the bits set in each, below it zeros. All pairs of one piece are counted while it is in the cache, in 64-bit words.
    """
    number, length = len(packed), len(packed[0])
    words = np.zeros((number, -(-min(length, _PIECE) // 8)), dtype=np.uint64)
    rows = words.view(np.uint8)
    both, ones = np.empty_like(words), np.empty(words.shape, dtype=np.uint8)
    counts, diagonal = np.zeros((number, number), dtype=np.int64), np.diag_indices(number)
    for start in range(0, length, _PIECE):
        size = min(_PIECE, length - start)
        for row, bits in zip(rows, packed, strict=True):
            row[:size] = bits[start : start + size]
        rows[:, size:] = 0  # the part that the last, shorter piece does not fill
        counts[diagonal] += _ones(words, ones)
        for i in range(number - 1):
            shared = np.bitwise_and(words[i], words[i + 1 :], out=both[i + 1 :])
            counts[i, i + 1 :] += _ones(shared, ones[i + 1 :])
    return counts


def _ones(words: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    """Bits set in each row: (n, words) uint64 -> (n,); `buffer`, (n, words) uint8, is overwritten."""
    return np.bitwise_count(words, out=buffer).sum(axis=1, dtype=np.uint32)


def _count(submodels: dict[str, Masks], levels: set[str]) -> dict[tuple, tuple[np.ndarray, int]]:
    """(level, layer, module) -> (`intersections` of all masks there, weights), in the order of `LEVELS`."""
    shapes = next(iter(submodels.values())).shapes
    places: dict[str, dict[tuple, tuple[np.ndarray, int]]] = {level: {} for level in LEVELS if level in levels}
    for parameter in tqdm(sorted(shapes, key=layer_and_module), desc="overlap", unit="matrix", mininterval=1):
        shared = intersections([masks.packed(parameter) for masks in submodels.values()])
        weights = shapes[parameter][0] * shapes[parameter][1]
        layer, module = layer_and_module(parameter)
        place = {"model": ("", ""), "layer": (layer, ""), "module_kind": ("", module), "module": (layer, module)}
        for level, sums in places.items():
            before, size = sums.get(place[level], (0, 0))
            sums[place[level]] = before + shared, size + weights
    return {(level, *place): counts for level, sums in places.items() for place, counts in sums.items()}
