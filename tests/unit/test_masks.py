"""The sub-model file: packing, round trips, errors."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from masks_support import write_masks
from safetensors.numpy import load_file, save_file

from submodels.checkpoints import masks
from submodels.errors import SubmodelsError

MASKS = {
    "model.layers.0.mlp.weight": np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1]], dtype=bool),
    "model.layers.1.mlp.weight": np.array([[0, 1, 1, 0], [1, 0, 0, 1]], dtype=bool),
}
HEADER = {"method": "wanda", "sparsity": "0.50", "seed": 3, "calibration": {"name": "java", "sha256": "c"}, "base": "b"}


def write(directory, arrays=None, **changes):
    arrays = MASKS if arrays is None else arrays
    packed = {name: masks.pack(mask) for name, mask in arrays.items()}
    shapes = {name: mask.shape for name, mask in arrays.items()}
    write_masks(directory, packed, shapes, **(HEADER | changes))
    return directory


def test_bits_by_hand():
    # Row-major 1 0 0 1 1 0 1 0 | 1: least significant bit first, 1 + 8 + 16 + 64 = 89, then 1.
    assert masks.pack(MASKS["model.layers.0.mlp.weight"]).tolist() == [89, 1]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_packing_round_trip(rows, columns, seed):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    packed = masks.pack(mask)
    assert packed.dtype == np.uint8
    assert len(packed) == -(-mask.size // 8)
    assert np.bitwise_count(packed).sum() == mask.sum()
    assert np.array_equal(masks.unpack_bits(packed, mask.shape), mask)


def test_file_round_trip(tmp_path):
    read = masks.Masks(write(tmp_path))
    assert list(read) == sorted(MASKS)
    assert all(np.array_equal(read.mask(name), MASKS[name]) for name in MASKS)
    assert read.header == HEADER | {"format": 1, "shapes": {name: list(mask.shape) for name, mask in MASKS.items()}}


def test_equal_masks_are_equal_bytes(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", dict(reversed(MASKS.items())))
    assert (first / masks.FILE_NAME).read_bytes() == (second / masks.FILE_NAME).read_bytes()


def test_unpack_writes_one_bool_tensor_a_parameter(tmp_path):
    masks.unpack(write(tmp_path), tmp_path / "plain.safetensors")
    plain = load_file(tmp_path / "plain.safetensors")
    assert plain.keys() == MASKS.keys()
    for name, mask in MASKS.items():
        assert plain[name].dtype == np.bool_
        assert np.array_equal(plain[name], mask)


def rewrite(directory, tensors=None, **header):
    """Write the file by hand with a changed header or changed tensors."""
    path = write(directory) / masks.FILE_NAME
    read = masks.Masks(directory)
    header = read.header | header
    save_file(tensors or load_file(path), path, metadata={"submodel": json.dumps(header)})


def test_missing_file(tmp_path):
    with pytest.raises(SubmodelsError, match="no such file"):
        masks.Masks(tmp_path)


def test_truncated_file(tmp_path):
    path = write(tmp_path) / masks.FILE_NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SubmodelsError, match="not a complete safetensors file"):
        masks.Masks(tmp_path)


def test_other_safetensors_file(tmp_path):
    save_file({"x": np.zeros(1)}, tmp_path / masks.FILE_NAME)
    with pytest.raises(SubmodelsError, match="not a sub-model file"):
        masks.Masks(tmp_path)


def test_newer_format(tmp_path):
    rewrite(tmp_path, format=2)
    with pytest.raises(SubmodelsError, match="format 2, but this version reads format 1"):
        masks.Masks(tmp_path)


def test_tensors_that_differ_from_the_header(tmp_path):
    rewrite(tmp_path, tensors={"model.layers.0.mlp.weight": np.zeros(2, np.uint8)})
    with pytest.raises(SubmodelsError, match="tensors differ from the shapes"):
        masks.Masks(tmp_path)


@pytest.mark.parametrize("bits", [np.zeros(3, np.uint8), np.zeros(2, np.int8), np.zeros((2, 1), np.uint8)])
def test_wrong_length_or_type(tmp_path, bits):
    name = "model.layers.0.mlp.weight"
    rewrite(tmp_path, tensors=load_file(write(tmp_path) / masks.FILE_NAME) | {name: bits})
    with pytest.raises(SubmodelsError, match=r"model\.layers\.0\.mlp\.weight is .* expected U8 \[2\]"):
        masks.Masks(tmp_path).mask(name)


def test_bits_after_the_last_weight(tmp_path):
    name = "model.layers.0.mlp.weight"
    rewrite(tmp_path, tensors=load_file(write(tmp_path) / masks.FILE_NAME) | {name: np.array([0, 2], np.uint8)})
    with pytest.raises(SubmodelsError, match="bits set after its last weight"):
        masks.Masks(tmp_path).packed(name)
