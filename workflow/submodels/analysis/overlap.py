"""Stage `overlap`: which weights do sub-models share? Jaccard distances between their masks.

Works on packed bits with NumPy alone, one parameter of all sub-models at a time.
"""

import csv
import itertools
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from submodels import files
from submodels.errors import SubmodelsError
from submodels.pruning.masks import Masks

COLUMNS = ("a", "b", "level", "layer", "module", "kept_distance", "pruned_distance", "n_weights")
_BLOCK_PARAMETER = re.compile(r"\D*?\.(?P<layer>\d+)\.(?P<module>.+)\.weight")


def jaccard_distance(intersection: int, size_a: int, size_b: int) -> float:
    """1 - |A & B| / |A | B| of two sets given by three counts; two empty sets are equal, distance 0."""
    union = size_a + size_b - intersection
    return 1 - intersection / union if union else 0.0


def expected_random_distance(kept: float) -> float:
    """Jaccard distance of the kept sets of two large independent random masks that each keep the fraction `kept`.

    They share kept ** 2 of the weights out of a union of 2 * kept - kept ** 2, so the distance is
    1 - kept / (2 - kept): 2/3 when half is kept. For the pruned sets, pass the pruned fraction.
    """
    if not 0 < kept <= 1:
        raise ValueError(f"kept fraction {kept} must lie in (0, 1]")
    return 1 - kept / (2 - kept)


def overlap(submodel_dirs: list[Path], out: Path) -> None:
    """Compare every pair of sub-models and write a CSV with the columns `COLUMNS` to `out`.

    level: `model` (all pruned weights), `layer` (one block), `module_kind` (e.g. self_attn.q_proj in all blocks) or
    `module` (one matrix); `layer` and `module` are empty where they do not apply. A sub-model's name is that of its
    directory. A single sub-model has no pair: the file then holds its header alone.
    """
    submodels = {Path(directory).name: Masks(directory) for directory in submodel_dirs}
    if len(submodels) != len(submodel_dirs):
        raise SubmodelsError("overlap: two sub-model directories have one name; names must differ")
    _check_comparable(submodels)
    pairs = list(itertools.combinations(submodels, 2))
    counts = _count(submodels, pairs) if pairs else {}
    with files.atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for pair in pairs:
            for (level, layer, module), (both, a, b, weights) in counts[pair].items():
                kept = jaccard_distance(both, a, b)
                pruned = jaccard_distance(weights - (a + b - both), weights - a, weights - b)
                writer.writerow((*pair, level, layer, module, kept, pruned, weights))


def _check_comparable(submodels: dict[str, Masks]) -> None:
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


def _count(submodels: dict[str, Masks], pairs: list[tuple[str, str]]) -> dict:
    """pair -> (level, layer, module) -> array [weights kept by both, kept by a, kept by b, weights], int64.

    Keys come in the order model, layers, kinds of module, modules.
    """
    shapes = next(iter(submodels.values())).shapes
    parameters = sorted(shapes, key=layer_and_module)
    modules: dict = {pair: {} for pair in pairs}
    for parameter in tqdm(parameters, desc="overlap", unit="matrix", mininterval=1):
        layer, module = layer_and_module(parameter)
        words = {name: _as_words(masks.packed(parameter)) for name, masks in submodels.items()}
        kept = {name: _ones(bits) for name, bits in words.items()}
        weights = shapes[parameter][0] * shapes[parameter][1]
        for a, b in pairs:
            both = _ones(words[a] & words[b])
            modules[a, b][layer, module] = np.array([both, kept[a], kept[b], weights], dtype=np.int64)
    return {pair: _sum_levels(modules[pair]) for pair in pairs}


def _sum_levels(modules: dict[tuple[int, str], np.ndarray]) -> dict:
    model, layers, kinds = 0, defaultdict(int), defaultdict(int)
    for (layer, module), count in modules.items():
        model = model + count
        layers["layer", layer, ""] += count
        kinds["module_kind", "", module] += count
    single = {("module", layer, module): count for (layer, module), count in modules.items()}
    return {("model", "", ""): model, **layers, **kinds, **single}


def _as_words(packed: np.ndarray) -> np.ndarray:
    """Packed bytes as 64-bit words, filled up with zeros: counting bits is then eight times fewer operations."""
    return np.pad(packed, (0, -len(packed) % 8)).view(np.uint64)


def _ones(words: np.ndarray) -> int:
    return int(np.bitwise_count(words).sum(dtype=np.int64))
