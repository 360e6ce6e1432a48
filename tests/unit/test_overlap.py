"""Overlap of masks: distances by hand, against sets, errors."""

import csv
import itertools
import subprocess
import sys
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from masks_support import write_masks

from submodels.analysis.overlap import (
    _PIECE,
    COLUMNS,
    expected_random_distance,
    intersections,
    jaccard_distance,
    layer_and_module,
    overlap,
)
from submodels.checkpoints import masks
from submodels.errors import SubmodelsError

HEADER = {"method": "wanda", "sparsity": "0.50", "seed": 0, "calibration": None, "base": "b"}


def write(directory, arrays, **changes):
    packed = {name: masks.pack(mask) for name, mask in arrays.items()}
    write_masks(directory, packed, {name: mask.shape for name, mask in arrays.items()}, **(HEADER | changes))
    return directory


def read_rows(path):
    with open(path, newline="") as file:
        return {(row["a"], row["b"], row["level"], row["layer"], row["module"]): row for row in csv.DictReader(file)}


def test_two_masks_by_hand(tmp_path):
    # Nine weights each, so the last byte is padded. Kept: a = {0, 1, 2, 8}, b = {1, 2, 3}; both 2, union 5.
    # Pruned: a = {3..7}, b = {0, 4..8}; both 4, union 7.
    name = "model.layers.0.mlp.up_proj.weight"
    a = np.isin(np.arange(9), [0, 1, 2, 8]).reshape(3, 3)
    b = np.isin(np.arange(9), [1, 2, 3]).reshape(3, 3)
    overlap([write(tmp_path / "a", {name: a}), write(tmp_path / "b", {name: b})], tmp_path / "o.csv")
    rows = read_rows(tmp_path / "o.csv")
    assert list(rows) == [
        ("a", "b", "model", "", ""),
        ("a", "b", "layer", "0", ""),
        ("a", "b", "module_kind", "", "mlp.up_proj"),
        ("a", "b", "module", "0", "mlp.up_proj"),
    ]
    for row in rows.values():
        assert float(row["kept_distance"]) == pytest.approx(1 - 2 / 5)
        assert float(row["pruned_distance"]) == pytest.approx(1 - 4 / 7)
        assert row["n_weights"] == "9"


def test_every_level_equals_the_distance_of_sets(tmp_path):
    generator = np.random.default_rng(0)
    shapes = {"h.0.a": (3, 5), "h.0.b": (2, 7), "h.1.a": (3, 5), "h.1.b": (2, 7), "h.10.a": (4, 4)}
    submodels = {
        name: {f"{key}.weight": generator.random(shape) < share for key, shape in shapes.items()}
        for name, share in (("x", 0.5), ("y", 0.3), ("z", 0.8))
    }
    overlap([write(tmp_path / name, arrays) for name, arrays in submodels.items()], tmp_path / "o.csv")
    rows = read_rows(tmp_path / "o.csv")
    assert len(rows) == 3 * (1 + 3 + 2 + 5)
    for (a, b, _, layer, module), row in rows.items():
        chosen = [key for key in shapes if layer in ("", key.split(".")[1]) and module in ("", key.split(".")[2])]
        kept, pruned = ([_set(submodels[name], chosen, value) for name in (a, b)] for value in (True, False))
        assert float(row["kept_distance"]) == pytest.approx(1 - len(kept[0] & kept[1]) / len(kept[0] | kept[1]))
        assert float(row["pruned_distance"]) == pytest.approx(
            1 - len(pruned[0] & pruned[1]) / len(pruned[0] | pruned[1])
        )
        assert int(row["n_weights"]) == sum(shapes[key][0] * shapes[key][1] for key in chosen)


def test_details_are_for_pairs_of_one_method_and_sparsity_and_only_the_levels_asked_for(tmp_path):
    arrays = {f"h.{i}.x.weight": np.eye(4, dtype=bool) for i in range(2)}
    of = {"a": {}, "b": {}, "c": {"sparsity": "0.70"}, "d": {"method": "ria"}}
    directories = [write(tmp_path / name, arrays, **changes) for name, changes in of.items()]
    overlap(directories, tmp_path / "o.csv", ["layer"])
    detailed = [key for key in read_rows(tmp_path / "o.csv") if key[2] != "model"]
    assert detailed == [("a", "b", "layer", "0", ""), ("a", "b", "layer", "1", "")]
    assert len(read_rows(tmp_path / "o.csv")) == 6 + 2
    with pytest.raises(SubmodelsError, match="unknown level 'block'; known: layer, model, module, module_kind"):
        overlap(directories, tmp_path / "o.csv", ["block"])


def _set(arrays, keys, value):
    return {(key, *index) for key in keys for index in np.argwhere(arrays[f"{key}.weight"] == value).tolist()}


def test_distance_is_zero_for_equal_and_one_for_complementary_masks(tmp_path):
    mask = np.random.default_rng(1).random((16, 16)) < 0.5
    arrays = {"a": mask, "b": mask, "c": ~mask}
    overlap([write(tmp_path / n, {"h.0.x.weight": m}) for n, m in arrays.items()], tmp_path / "o.csv")
    rows = read_rows(tmp_path / "o.csv")
    distance = {key[:2]: float(row["kept_distance"]) for key, row in rows.items() if key[2] == "model"}
    assert distance == {("a", "b"): 0.0, ("a", "c"): 1.0, ("b", "c"): 1.0}


def test_intersections_by_hand():
    packed = [np.array(row, dtype=np.uint8) for row in ([0b1011, 0xFF], [0b0110, 0x0F], [0, 0x80])]
    assert intersections(packed).tolist() == [[11, 1 + 4, 0 + 1], [0, 2 + 4, 0], [0, 0, 1]]


def plain_intersections(packed):
    """One weight at a time, through sets."""
    sets = [set(np.flatnonzero(np.unpackbits(row)).tolist()) for row in packed]
    return [[len(a & b) if j >= i else 0 for j, b in enumerate(sets)] for i, a in enumerate(sets)]


@given(st.integers(1, 5), st.integers(1, 70), st.sampled_from([8, 16, 24, 1024]), st.integers(0, 2**32 - 1))
def test_intersections_equal_those_of_sets(number, length, piece, seed):
    """One mask or several; lengths that fill no piece, several, or the last one in part, by words or by bytes."""
    packed = list(np.random.default_rng(seed).integers(0, 256, (number, length), dtype=np.uint8))
    with patch("submodels.analysis.overlap._PIECE", piece):
        assert intersections(packed).tolist() == plain_intersections(packed)


@pytest.mark.parametrize("length", [_PIECE - 1, _PIECE, 2 * _PIECE + 13])
def test_intersections_of_real_length(length):
    a, b = np.random.default_rng(3).integers(0, 256, (2, length), dtype=np.uint8)
    everything = np.full(length, 0xFF, dtype=np.uint8)
    size_a, size_b, both = (int(np.unpackbits(bits).sum(dtype=np.int64)) for bits in (a, b, a & b))
    expected = [[size_a, both, size_a], [0, size_b, size_b], [0, 0, 8 * length]]
    assert intersections([a, b, everything]).tolist() == expected


def test_memory_does_not_grow_with_the_number_of_blocks(tmp_path):
    def peak(blocks):
        mask = np.random.default_rng(4).random((1024, 1024)) < 0.5
        arrays = {f"h.{i}.x.weight": mask for i in range(blocks)}
        directories = [write(tmp_path / f"{blocks}" / name, arrays) for name in "abc"]
        tracemalloc.start()
        overlap(directories, tmp_path / "o.csv")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(2)  # what is loaded once, whatever is compared
    assert peak(12) < 1.1 * peak(2)


def test_empty_sets_are_equal():
    assert jaccard_distance(0, 0, 0) == 0.0


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_jaccard_is_a_metric(a, b, c):
    def distance(x, y):
        return jaccard_distance(len(x & y), len(x), len(y))

    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12


def test_expected_distance_of_random_masks():
    assert expected_random_distance(0.5) == pytest.approx(2 / 3)
    generator = np.random.default_rng(2)
    for kept in (0.3, 0.5, 0.8):
        a, b = (generator.random(200_000) < kept for _ in range(2))
        assert expected_random_distance(kept) == pytest.approx(1 - (a & b).sum() / (a | b).sum(), abs=0.005)
    with pytest.raises(ValueError, match="kept fraction"):
        expected_random_distance(0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.layers.3.self_attn.q_proj.weight", (3, "self_attn.q_proj")),
        ("gpt_neox.layers.12.mlp.dense_h_to_4h.weight", (12, "mlp.dense_h_to_4h")),
        ("model.layers.0.mlp.experts.5.w1.weight", (0, "mlp.experts.5.w1")),
    ],
)
def test_layer_and_module(name, expected):
    assert layer_and_module(name) == expected


def test_name_without_a_layer():
    with pytest.raises(SubmodelsError, match="lm_head"):
        layer_and_module("lm_head.weight")


@pytest.mark.parametrize(
    ("other", "changes", "message"),
    [
        ({"h.0.x.weight": np.ones((4, 4), bool)}, {"base": "c"}, "different base models"),
        ({"h.0.x.weight": np.ones((2, 8), bool)}, {}, "different parameters or shapes"),
        ({"h.1.x.weight": np.ones((4, 4), bool)}, {}, "different parameters or shapes"),
    ],
)
def test_masks_that_cannot_be_compared(tmp_path, other, changes, message):
    first = write(tmp_path / "a", {"h.0.x.weight": np.ones((4, 4), bool)})
    with pytest.raises(SubmodelsError, match=message):
        overlap([first, write(tmp_path / "b", other, **changes)], tmp_path / "o.csv")
    assert not (tmp_path / "o.csv").exists()


def test_one_submodel_has_no_pair(tmp_path):
    overlap([write(tmp_path / "a", {"h.0.x.weight": np.ones((4, 4), bool)})], tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_one_name_twice(tmp_path):
    first = write(tmp_path / "a", {"h.0.x.weight": np.ones((4, 4), bool)})
    for pair in itertools.permutations([first, write(tmp_path / "b" / "a", {"h.0.x.weight": np.ones((4, 4), bool)})]):
        with pytest.raises(SubmodelsError, match="names must differ"):
            overlap(list(pair), tmp_path / "o.csv")


def test_needs_no_torch():
    code = "import sys, submodels.analysis.overlap; print({'torch', 'pandas', 'transformers'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
