"""Checkpoints: identity of base models, loading and exporting sub-models."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_models import CONFIGS, DECODERS, draw_windows, save_model, save_windows
from tokenizers import Tokenizer, models, pre_tokenizers

from submodels.checkpoints.base import (
    Weights,
    base_identity,
    find_context,
    fingerprint_base,
    load_config,
    weight_files,
)
from submodels.checkpoints.export import export
from submodels.checkpoints.load import load_submodel, load_tokenizer
from submodels.checkpoints.masks import Masks
from submodels.errors import SubmodelsError
from submodels.pruning.prune import prune


def make_submodel(tmp_path, **model_options):
    model = save_model(tmp_path / "tiny-model", **model_options)
    words = {word: index for index, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", "one", "two"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(model)
    windows = save_windows(tmp_path / "java" / "windows.safetensors", draw_windows())
    prune(model, windows, "wanda", "0.50", tmp_path / "sub", seed=4)
    return model, tmp_path / "sub"


def logits(model):
    with torch.no_grad():
        return model(input_ids=draw_windows(seed=9)).logits


def test_loaded_submodel_is_the_base_with_zeros(tmp_path):
    base_dir, submodel_dir = make_submodel(tmp_path)
    base, submodel, masks = (
        load_submodel(base_dir, None),
        load_submodel(base_dir, submodel_dir),
        Masks(submodel_dir),
    )
    assert not submodel.training
    for name, weight in submodel.named_parameters():
        expected = base.get_parameter(name)
        if name in masks.shapes:
            expected = expected.detach() * torch.from_numpy(masks.mask(name))
        assert torch.equal(weight, expected), name
    assert not torch.equal(logits(base), logits(submodel))


def test_submodel_of_another_base_is_refused(tmp_path):
    _, submodel_dir = make_submodel(tmp_path)
    other = save_model(tmp_path / "other", seed=1)
    for use in (lambda: load_submodel(other, submodel_dir), lambda: export(other, submodel_dir, tmp_path / "out")):
        with pytest.raises(SubmodelsError, match="pruned from another base model"):
            use()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_word_embeddings": True},
        {"shard_size": "6KB"},
        {"dtype": torch.bfloat16},
        {"family": "gemma"},
        {"family": "gpt_neox"},
    ],
    ids=str,
)
def test_export_reloads_to_the_same_numbers(tmp_path, options):
    base_dir, submodel_dir = make_submodel(tmp_path, **options)
    export(base_dir, submodel_dir, tmp_path / "out")
    exported = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert torch.equal(logits(exported), logits(load_submodel(base_dir, submodel_dir)))
    masks = Masks(submodel_dir)
    for name in masks:
        weight = exported.get_parameter(name).detach().numpy()
        assert np.all(weight[~masks.mask(name)] == 0)
        assert np.count_nonzero(weight) == masks.mask(name).sum()
    # Nothing else changed: names (a tied head is not written twice), data types, sharding, tokenizer.
    for path in base_dir.glob("*.safetensors"):
        before, after = load_file(path), load_file(tmp_path / "out" / path.name)
        assert {name: tensor.dtype for name, tensor in after.items()} == {name: t.dtype for name, t in before.items()}
        assert all(torch.equal(after[name], before[name]) for name in before if name not in masks.shapes)
    for path in base_dir.glob("*.json"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert load_tokenizer(tmp_path / "out")("one two")["input_ids"] == [4, 5]


def test_card_says_first_that_zeros_bring_no_speed(tmp_path):
    base_dir, submodel_dir = make_submodel(tmp_path)
    export(base_dir, submodel_dir, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    title, after = card.split("\n# ", 1)[1].split("\n\n", 1)
    assert title == "tiny-model, wanda at 0.50"
    first = after.split("\n\n")[0].replace("\n", " ")
    assert "zeros" in first
    assert "same size" in first
    assert "no speed-up" in first
    assert card.startswith("---\nbase_model: tiny-model\n")
    assert "| kind of product | mask only |" in card
    assert "| calibration set | java |" in card
    assert "| seed of the calibration draw | 4 |" in card
    assert "(50.00%)" in card


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_updated_weights_are_loaded_and_exported(tmp_path, dtype):
    """SparseGPT: kept weights differ from the base model's, and everywhere they are the same ones."""
    model, submodel = save_model(tmp_path / "model", dtype=dtype), tmp_path / "sub"
    windows = save_windows(tmp_path / "java" / "windows.safetensors", draw_windows())
    prune(model, windows, "sparsegpt", "0.50", submodel)
    export(model, submodel, tmp_path / "out")
    base, exported = (load_file(path / "model.safetensors") for path in (model, tmp_path / "out"))
    loaded, masks = (
        load_submodel(model, submodel, dtype=str(dtype).removeprefix("torch.")).state_dict(),
        Masks(submodel),
    )
    assert base.keys() == exported.keys()
    for name, weight in exported.items():
        assert weight.dtype == dtype
        assert torch.equal(loaded[name], weight), name
        if name in masks.shapes:
            kept = torch.from_numpy(masks.mask(name))
            assert (weight[~kept] == 0).all()
            assert (weight[kept] != base[name][kept]).any(), "some kept weight must have moved"
        else:
            assert torch.equal(weight, base[name])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "updated by the method" in card
    assert "| kind of product | mask + values |" in card


def test_export_never_overwrites_and_leaves_nothing_half_done(tmp_path):
    base_dir, submodel_dir = make_submodel(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(SubmodelsError, match="already exists"):
        export(base_dir, submodel_dir, tmp_path / "full")
    (tmp_path / "parent" / "empty").mkdir(parents=True)
    (base_dir / "bad.json").symlink_to(base_dir)  # a directory where a file is expected: skipped
    export(base_dir, submodel_dir, tmp_path / "parent" / "empty")
    assert [path.name for path in (tmp_path / "parent").iterdir()] == ["empty"]


def test_dtype_of_a_loaded_model(tmp_path):
    base_dir, submodel_dir = make_submodel(tmp_path, dtype=torch.bfloat16)
    assert load_submodel(base_dir, submodel_dir).dtype == torch.float32
    assert load_submodel(base_dir, submodel_dir, dtype="bfloat16").dtype == torch.bfloat16
    assert load_submodel(base_dir, submodel_dir, device="meta").dtype == torch.bfloat16, "as away from a CPU"


def test_fingerprint_follows_the_contents(tmp_path):
    first, second = save_model(tmp_path / "a"), save_model(tmp_path / "b", seed=1)
    copy = shutil.copytree(first, tmp_path / "c")
    (copy / "tokenizer_config.json").write_text("{}")
    assert fingerprint_base(copy) == fingerprint_base(first)
    assert fingerprint_base(second) != fingerprint_base(first)  # the same headers and sizes, other values
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert fingerprint_base(copy) != fingerprint_base(first)


def test_fingerprint_is_reused_from_the_manifest_while_sizes_agree(tmp_path):
    model = save_model(tmp_path / "a")
    known = base_identity(model)
    assert known["fingerprint"] == fingerprint_base(model)
    (model / "manifest.json").write_text(json.dumps({"results": {"identity": known | {"fingerprint": "recorded"}}}))
    assert fingerprint_base(model) == "recorded"
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    assert fingerprint_base(model) not in ("recorded", known["fingerprint"])
    (model / "manifest.json").write_text("{}")
    assert fingerprint_base(model) == base_identity(model)["fingerprint"]


def test_what_is_no_base_model(tmp_path):
    with pytest.raises(SubmodelsError, match="no such directory"):
        weight_files(tmp_path / "none")
    with pytest.raises(SubmodelsError, match=r"no config\.json"):
        weight_files(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SubmodelsError, match=r"no model\.safetensors"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(SubmodelsError, match="only pickled weights, which may run code"):
        weight_files(tmp_path)


def test_configurations_that_cannot_be_used(tmp_path):
    model = save_model(tmp_path / "a")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "no_such_type"}))
    with pytest.raises(SubmodelsError, match="transformers cannot read it"):
        load_config(model)
    quantised = config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (model / "config.json").write_text(json.dumps(quantised))
    with pytest.raises(SubmodelsError, match="the weights are quantised"):
        load_config(model)


def test_missing_and_corrupt_shards(tmp_path):
    model = save_model(tmp_path / "a", shard_size="6KB")
    shard = sorted(model.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(SubmodelsError, match=rf"{shard.name}: not a complete safetensors file"):
        Weights(model)
    shard.unlink()
    with pytest.raises(SubmodelsError, match=rf"names missing {shard.name};"):
        Weights(model)


# --- Which files are the weights --------------------------------------------------------------------------------------


def two_sets_of_weights(tmp_path):
    """A single file, and shards of other weights with their index, in one directory; the single file's weights."""
    model = save_model(tmp_path / "both")
    expected = shutil.copytree(model, tmp_path / "single")
    other = save_model(tmp_path / "other", seed=1, shard_size="6KB")
    for path in other.glob("model*"):
        shutil.copyfile(path, model / path.name)
    return model, expected


def test_a_single_file_comes_before_shards_everywhere_as_in_transformers(tmp_path):
    model, single = two_sets_of_weights(tmp_path)
    assert weight_files(model) == [model / "model.safetensors"]
    assert fingerprint_base(model) == fingerprint_base(single)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model).state_dict()
    ours = load_submodel(model, None).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for base in (model, single):
        prune(base, None, "magnitude", "0.50", tmp_path / f"sub-{base.name}")
        export(base, tmp_path / f"sub-{base.name}", tmp_path / f"out-{base.name}")
    masks = [(tmp_path / f"sub-{base.name}" / "submodel.safetensors").read_bytes() for base in (model, single)]
    assert masks[0] == masks[1]
    exported = [{path.name for path in (tmp_path / f"out-{base.name}").iterdir()} for base in (model, single)]
    assert exported[0] == exported[1]
    assert "model.safetensors.index.json" not in exported[0]
    read_both = load_file(tmp_path / "out-both" / "model.safetensors")
    assert all(torch.equal(read_both[n], t) for n, t in load_file(tmp_path / "out-single/model.safetensors").items())


def test_weights_beside_that_transformers_does_not_read(tmp_path):
    model = save_model(tmp_path / "a")
    before = fingerprint_base(model)
    for name in ("consolidated.safetensors", "model.fp16.safetensors", "model-00001-of-00002.safetensors"):
        shutil.copyfile(save_model(tmp_path / name, seed=2) / "model.safetensors", model / name)
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert weight_files(model) == [model / "model.safetensors"]
    assert fingerprint_base(model) == before
    (model / "model.safetensors").unlink()
    with pytest.raises(SubmodelsError, match=r"only pickled weights"):
        weight_files(model)
    (model / "pytorch_model.bin").unlink()
    with pytest.raises(SubmodelsError, match=r"nothing says that consolidated\.safetensors, model-00001-of-00002"):
        weight_files(model)


def change_index(model, change):
    path = model / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize("place", ["../b/{}", "/tmp/{}", "parts/{}", "./{}"])
def test_shards_that_are_not_beside_their_index(tmp_path, place):
    model = save_model(tmp_path / "a", shard_size="6KB")
    (model / "parts").mkdir()
    for path in model.glob("*.safetensors"):
        shutil.copyfile(path, model / "parts" / path.name)
    change_index(model, lambda index: index["weight_map"].update({"model.norm.weight": place.format(path.name)}))
    for use in (Weights, load_config, fingerprint_base, lambda model: load_submodel(model, None)):
        with pytest.raises(SubmodelsError, match=r"index\.json: names '.*', which is no safetensors file beside it"):
            use(model)


def test_an_index_without_metadata(tmp_path):
    model = save_model(tmp_path / "a", shard_size="6KB")
    change_index(model, lambda index: index.pop("metadata"))
    with pytest.raises(SubmodelsError, match=r'without "metadata"; add "metadata": \{\}'):
        weight_files(model)
    change_index(model, lambda index: index.update(metadata={}))
    assert load_submodel(model, None)


def test_links_into_a_cache_are_followed(tmp_path):
    """As the Hub's cache lays out a snapshot."""
    model = save_model(tmp_path / "a", shard_size="6KB")
    snapshot, blobs = tmp_path / "snapshots" / "0", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert fingerprint_base(snapshot) == fingerprint_base(model)
    ours, theirs = (load_submodel(directory, None).state_dict() for directory in (snapshot, model))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_would_make_transformers_load_other_weights_is_refused(tmp_path):
    model = save_model(tmp_path / "a")
    (model / "adapter_config.json").write_text("{}")
    with pytest.raises(SubmodelsError, match=r"adapter_config\.json: transformers adds this adapter.*merge_and_unload"):
        load_submodel(model, None)
    (model / "adapter_config.json").unlink()
    part = model / "shard-00001-model-00001-of-00002.safetensors"
    shutil.copyfile(model / "model.safetensors", part)
    with pytest.raises(SubmodelsError, match=rf"{part.name} is part of a distributed checkpoint"):
        weight_files(model)
    part.unlink()
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"transformers_weights": "other.safetensors"}))
    with pytest.raises(SubmodelsError, match=r"transformers_weights names 'other\.safetensors'; remove the key"):
        weight_files(model)


# --- What goes with the weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", DECODERS)
def test_the_context_of_every_family(family):
    """By its own name for it, and by the name that transformers maps every other to."""
    config, expected = CONFIGS[family](), {"falcon": 2048, "bloom": None}.get(family, 32)
    assert find_context(config) == expected
    if "max_position_embeddings" in config.attribute_map:
        assert config.max_position_embeddings == expected


def test_the_context_that_a_configuration_states_in_other_words():
    bloom = transformers.BloomConfig(n_layer=1, n_head=2, hidden_size=16)
    assert find_context(bloom) is None
    assert find_context(transformers.BloomConfig(seq_length=1024)) == 1024
    scaled = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
    config = transformers.MistralConfig(max_position_embeddings=64, sliding_window=4, rope_parameters=scaled)
    assert find_context(config) == 64
    inside = transformers.Gemma3Config(text_config={"max_position_embeddings": 77})
    assert find_context(inside) == 77


@pytest.mark.parametrize("family", ["gpt_neox", "opt", "qwen2", "llama", "bloom"])
def test_a_model_without_the_files_of_its_tokenizer(tmp_path, family):
    """Of some families transformers makes a tokenizer that gives no id for any text."""
    with pytest.raises(SubmodelsError, match="tokenizer"):
        load_tokenizer(save_model(tmp_path / "model", family))
    (tmp_path / "model" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(SubmodelsError, match="tokenizer"):
        load_tokenizer(tmp_path / "model")
