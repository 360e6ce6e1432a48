"""Checkpoints: identity of base models, loading and exporting sub-models."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_models import draw_windows, save_model, save_windows
from tokenizers import Tokenizer, models, pre_tokenizers

from submodels.checkpoints.base import Weights, fingerprint_base, identity, load_config, weight_files
from submodels.checkpoints.export import export
from submodels.checkpoints.load import load_submodel, load_tokenizer
from submodels.errors import SubmodelsError
from submodels.pruning.masks import Masks
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
    assert "updated by the method" in (tmp_path / "out" / "README.md").read_text()


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
    known = identity(model)
    assert known["fingerprint"] == fingerprint_base(model)
    (model / "manifest.json").write_text(json.dumps({"results": {"identity": known | {"fingerprint": "recorded"}}}))
    assert fingerprint_base(model) == "recorded"
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    assert fingerprint_base(model) not in ("recorded", known["fingerprint"])
    (model / "manifest.json").write_text("{}")
    assert fingerprint_base(model) == identity(model)["fingerprint"]


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
    with pytest.raises(SubmodelsError, match=rf"names {shard.name}, not there"):
        Weights(model)
