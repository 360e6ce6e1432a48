"""GGUF files: the header by hand and by the library that writes them; a whole small file as a base model."""

import struct

import gguf
import numpy as np
import pytest
import torch
from gguf_files import BLOCKS, HIDDEN, VOCABULARY, write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from submodels import files
from submodels.checkpoints.base import fingerprint_base
from submodels.checkpoints.convert_gguf import convert_gguf
from submodels.checkpoints.gguf import StoredTensor, read_header
from submodels.config import BaseModelSpec
from submodels.errors import SubmodelsError
from submodels.model_shape import read_gguf_shape, read_shape


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A quantised file, its matrices, and the directory made of it."""
    directory = tmp_path_factory.mktemp("gguf")
    stored = write_model(directory / "tiny.gguf")
    convert_gguf(directory / "tiny.gguf", directory / "tiny")
    return directory / "tiny.gguf", stored, directory / "tiny"


def string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def test_a_header_by_hand(tmp_path):
    values = string("general.architecture") + struct.pack("<I", 8) + string("any")
    values += string("any.width") + struct.pack("<II", 4, 7)
    values += string("any.list") + struct.pack("<IIQ", 9, 8, 2) + string("one") + string("another")
    values += string("any.nested") + struct.pack("<IIQIQ3B", 9, 9, 1, 0, 3, 1, 2, 3)
    values += string("any.on") + struct.pack("<I?", 7, True)
    tensors = string("a") + struct.pack("<IQQIQ", 2, 3, 5, 12, 0)
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 5) + values + tensors)
    header = read_header(tmp_path / "a.gguf")
    assert header.values == {"general.architecture": "any", "any.width": 7, "any.on": True}
    assert header.value("width") == 7
    assert header.value("height") is None
    assert header.tensors == {"a": StoredTensor((5, 3), 12)}


def test_the_header_is_that_of_the_library(model):
    file, _, _ = model
    reader, header = gguf.GGUFReader(file), read_header(file)
    expected = {t.name: StoredTensor(tuple(int(n) for n in reversed(t.shape)), t.tensor_type) for t in reader.tensors}
    assert header.tensors == expected
    assert header.values["llama.embedding_length"] == HIDDEN


def test_a_broken_file_is_no_header(model, tmp_path):
    data, path = model[0].read_bytes(), tmp_path / "broken.gguf"
    for size in [*range(0, 200, 7), 1000]:
        path.write_bytes(data[:size])
        with pytest.raises(SubmodelsError, match=r"broken\.gguf: "):
            read_header(path)
    path.write_bytes(data[:4] + struct.pack("<I", 1) + data[8:])
    with pytest.raises(SubmodelsError, match="GGUF of version 1; versions 2 and 3 are read"):
        read_header(path)
    with pytest.raises(SubmodelsError, match="No such file"):
        read_header(tmp_path / "none.gguf")


def test_the_directory_holds_the_unpacked_weights(model):
    _, stored, directory = model
    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    expected = torch.tensor(stored["token_embd.weight"]).to(torch.bfloat16).float()
    assert torch.equal(loaded.model.embed_tokens.weight, expected)
    down = torch.tensor(stored["blk.1.ffn_down.weight"]).to(torch.bfloat16).float()
    assert torch.equal(loaded.model.layers[1].mlp.down_proj.weight, down)
    assert AutoTokenizer.from_pretrained(directory)("abcx").input_ids[-2:] == [97, VOCABULARY.index("x")]


def test_the_manifest_says_what_was_quantised(model):
    file, stored, directory = model
    manifest = files.read_json(directory / "manifest.json")
    assert manifest["results"]["quantised"] == {"F32": 2 * BLOCKS + 1, "Q8_0": len(stored)}
    assert manifest["inputs"]["gguf"]["sha256"] == files.sha256_file(file)
    assert manifest["results"]["identity"]["fingerprint"] == fingerprint_base(directory)
    assert "quantization_config" not in files.read_json(directory / "config.json")


def test_the_shape_is_that_of_the_directory(model):
    file, _, directory = model
    assert read_gguf_shape(file) == read_shape(directory)
    assert BaseModelSpec(gguf=file).find_shape() == read_shape(directory)


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16")])
def test_plain_weights_keep_their_type(kind, dtype, tmp_path):
    write_model(tmp_path / "plain.gguf", gguf.GGMLQuantizationType[kind])
    convert_gguf(tmp_path / "plain.gguf", tmp_path / "plain")
    assert files.read_json(tmp_path / "plain/manifest.json")["results"]["quantised"] == {}
    assert read_shape(tmp_path / "plain").dtype == dtype == read_gguf_shape(tmp_path / "plain.gguf").dtype


def test_faults(model, tmp_path):
    file, _, _ = model
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").touch()
    with pytest.raises(SubmodelsError, match="taken: exists and was not made by this workflow"):
        convert_gguf(file, tmp_path / "taken")
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "no-such-architecture")
    writer.add_tensor("a.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(SubmodelsError, match=r"other\.gguf: transformers cannot read it"):
        convert_gguf(tmp_path / "other.gguf", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(SubmodelsError, match="it is no language model"):
        read_gguf_shape(tmp_path / "other.gguf")
