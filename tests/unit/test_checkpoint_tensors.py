"""Checkpoints under names that their publishers chose, and those that are not whole: as transformers sees them."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import (
    DECODERS,
    assert_equal_masks,
    change_tensors,
    draw_windows,
    masks_of,
    save_gemma3,
    save_model,
)

from submodels.checkpoints.base import fingerprint_base
from submodels.checkpoints.export import export
from submodels.checkpoints.load import load_submodel
from submodels.checkpoints.masks import Masks
from submodels.checkpoints.tensors import read_stored
from submodels.errors import SubmodelsError


def rename(directory, change):
    """Give every tensor of the one file the name that `change` makes of its name; None drops it."""
    path = directory / "model.safetensors"
    tensors = {change(name): tensor for name, tensor in load_file(path).items()}
    tensors.pop(None, None)
    save_file(tensors, path, metadata={"format": "pt"})
    return directory


def without(prefix):
    return lambda name: name.removeprefix(prefix)


def old_gemma3(name):
    """As Gemma 3 was published: the language model with its head in one part."""
    inner = name.removeprefix("model.").removeprefix("language_model.")
    return f"language_model.model.{inner}" if "language_model." in name else name.removeprefix("model.")


def published_gemma3(path):
    if tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 23):
        pytest.skip("transformers before 5.23 itself does not find these tensors; the checkpoint is refused")
    return rename(save_gemma3(path), old_gemma3)


def with_buffers(directory, **buffers):
    change_tensors(directory / "model.safetensors", {name.replace("__", "."): value for name, value in buffers.items()})
    return directory


CAUSAL = torch.ones(1, 1, 32, 32).tril().to(torch.uint8)
# How published checkpoints spell what transformers saves in other words today.
SPELLINGS = {
    "bloom": lambda path: rename(save_model(path, "bloom"), without("transformer.")),
    "falcon": lambda path: rename(save_model(path, "falcon"), without("transformer.")),
    "opt": lambda path: rename(save_model(path, "opt"), without("model.")),
    "llama base class": lambda path: rename(save_model(path, "llama", tie_word_embeddings=True), without("model.")),
    "gpt_neox": lambda path: with_buffers(
        rename(save_model(path, "gpt_neox"), lambda name: name.replace("lm_head.", "embed_out.")),
        gpt_neox__layers__0__attention__bias=CAUSAL,
        gpt_neox__layers__0__attention__masked_bias=torch.tensor(-1e9),
        gpt_neox__layers__0__attention__rotary_emb__inv_freq=torch.ones(1),
    ),
    "gptj": lambda path: with_buffers(save_model(path, "gptj"), transformer__h__0__attn__bias=CAUSAL.bool()),
    "llama": lambda path: with_buffers(
        save_model(path), model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4)
    ),
    "bert": lambda path: rename(
        save_model(path, "bert"),
        lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
    ),
    "gemma3 with vision": save_gemma3,
    "gemma3 as published": published_gemma3,
}


def loaded(directory):
    """What transformers loads, and what it misses."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True, use_safetensors=True
    )


def assert_as_transformers(directory):
    """Every tensor is found where transformers takes it from."""
    model, info = loaded(directory)
    stored, tensors = read_stored(directory), load_file(directory / "model.safetensors")
    assert not info["missing_keys"]
    state = model.state_dict()
    assert stored.names.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, tensors[stored.names[name]].float()), name
    assert {stored.unread[name] for name in stored.unread} == set(info["unexpected_keys"])


@pytest.mark.parametrize("family", DECODERS)
def test_every_tensor_is_found_where_transformers_finds_it(tmp_path, family):
    assert_as_transformers(save_model(tmp_path / "model", family))


def plain_masks(directory):
    """Magnitude at 0.50 in every linear layer of the language model's blocks, whole in memory."""
    model, _ = loaded(directory)
    blocks = next(
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and "vision" not in path and len(module) == 2
    )
    masks = {}
    for path, module in blocks[1].named_modules(prefix=blocks[0]):
        if isinstance(module, torch.nn.Linear):
            scores = module.weight.detach().abs()
            kept = scores > scores.flatten().sort().values[scores.numel() // 2]
            masks[f"{path}.weight"] = kept.numpy()
    return masks


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_published_spellings_are_pruned_loaded_and_exported(tmp_path, spelling):
    directory = SPELLINGS[spelling](tmp_path / "model")
    assert_as_transformers(directory)
    masks = masks_of(directory, tmp_path / "out", method="magnitude")
    assert_equal_masks(masks, plain_masks(directory))
    masks_of(directory, tmp_path / "wanda")
    export(directory, tmp_path / "wanda", tmp_path / "exported")
    before, after = (load_file(path / "model.safetensors") for path in (directory, tmp_path / "exported"))
    assert list(before) == list(after)
    exported, info = loaded(tmp_path / "exported")
    assert not info["missing_keys"]
    ours = load_submodel(directory, tmp_path / "wanda").state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in exported.state_dict().items())
    wanda = Masks(tmp_path / "wanda")
    assert all((exported.get_parameter(name)[~torch.from_numpy(wanda.mask(name))] == 0).all() for name in wanda)


def test_spelling_changes_no_mask(tmp_path):
    """Wanda runs the model: what is embedded, too, must be found under other names."""
    plain, other = save_model(tmp_path / "plain", "bloom"), SPELLINGS["bloom"](tmp_path / "other")
    assert_equal_masks(masks_of(other, tmp_path / "b"), masks_of(plain, tmp_path / "a"))


@pytest.mark.parametrize("spelling", ["gemma3 with vision", "gemma3 as published"])
def test_a_language_model_inside_a_larger_one_is_pruned_like_itself(tmp_path, spelling):
    directory = SPELLINGS[spelling](tmp_path / "model")
    whole, _ = loaded(directory)
    config = whole.config.text_config
    config.save_pretrained(tmp_path / "alone")
    alone = transformers.Gemma3ForCausalLM(config)
    alone.model.load_state_dict(whole.model.language_model.state_dict())
    alone.tie_weights()
    alone.save_pretrained(tmp_path / "alone")
    expected = masks_of(tmp_path / "alone", tmp_path / "a")
    found = masks_of(directory, tmp_path / "b")
    prefix = "model.language_model."
    assert_equal_masks({f"model.{name.removeprefix(prefix)}": mask for name, mask in found.items()}, expected)
    ids = draw_windows()
    with torch.no_grad():
        ours, theirs = (
            load_submodel(*pair)(input_ids=ids).logits
            for pair in ((directory, tmp_path / "b"), (tmp_path / "alone", tmp_path / "a"))
        )
    assert torch.equal(ours, theirs)


def refused(directory, tmp_path, *words, submodel=None):
    """Every stage that loads weights says the same."""

    def prune():
        masks_of(directory, tmp_path / "refused", method="magnitude")

    said = set()
    for use in (prune, lambda: load_submodel(directory, None), lambda: read_stored(directory)):
        with pytest.raises(SubmodelsError) as error:
            use()
        said.add(str(error.value))
    (text,) = said
    assert str(directory) in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("llama", "lm_head.weight"),
        ("llama", "model.embed_tokens.weight"),
        ("llama", "model.layers.1.mlp.down_proj.weight"),
        ("llama", "model.norm.weight"),
        ("qwen2", "model.layers.0.self_attn.q_proj.bias"),
        ("gpt_neox", "gpt_neox.final_layer_norm.bias"),
    ],
)
def test_a_tensor_that_is_missing(tmp_path, family, name):
    directory = save_model(tmp_path / "model", family, tie_word_embeddings=False)
    tensors = load_file(directory / "model.safetensors")
    name = name if name in tensors else "embed_out.weight"
    change_tensors(directory / "model.safetensors", {name: None})
    refused(directory, tmp_path, f"lack {name}; transformers would put random numbers there")


@pytest.mark.parametrize("change", [lambda name: f"module.{name}", lambda name: f"x_{name}"])
def test_every_tensor_misnamed(tmp_path, change):
    """`module.` is what DistributedDataParallel writes."""
    directory = rename(save_model(tmp_path / "model"), change)
    refused(directory, tmp_path, "lm_head.weight", "and 17 more", f"hold {change('lm_head.weight')}")


def test_a_base_class_without_its_head(tmp_path):
    directory = save_model(tmp_path / "model")
    transformers.AutoModel.from_pretrained(directory).save_pretrained(directory)
    assert "norm.weight" in load_file(directory / "model.safetensors")
    refused(directory, tmp_path, "lack lm_head.weight")


def test_a_block_too_many(tmp_path):
    directory = save_model(tmp_path / "model", blocks=3)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(SubmodelsError, match=r"asks for 2 blocks, but the weights hold model\.layers\.2\."):
        masks_of(directory, tmp_path / "out")


def test_one_parameter_under_two_names(tmp_path):
    directory = save_model(tmp_path / "model", "bloom")
    change_tensors(directory / "model.safetensors", {"ln_f.weight": torch.ones(16)})
    refused(
        directory, tmp_path, "ln_f.weight, transformer.ln_f.weight are the same parameter", "transformer.ln_f.weight"
    )


def test_a_shape_that_does_not_fit(tmp_path):
    directory = save_model(tmp_path / "model", tie_word_embeddings=False)
    change_tensors(directory / "model.safetensors", {"lm_head.weight": torch.ones(41, 16)})
    refused(directory, tmp_path, "lm_head.weight has shape (41, 16), config.json asks for (40, 16)")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.uint8], ids=str)
def test_a_quantised_head(tmp_path, dtype):
    directory = save_model(tmp_path / "model")
    change_tensors(directory / "model.safetensors", {"lm_head.weight": torch.ones(40, 16).to(dtype)})
    refused(directory, tmp_path, "lm_head.weight is stored as", "quantised")


@pytest.mark.parametrize("name", ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"])
def test_weights_that_are_no_numbers_are_not_asked(tmp_path, name):
    directory = save_model(tmp_path / "model")
    change_tensors(directory / "model.safetensors", {name: load_file(directory / "model.safetensors")[name] / 0})
    with pytest.raises(SubmodelsError, match=rf"NaN or infinite weights, read as torch.float32, in {name}"):
        load_submodel(directory, None)


@pytest.mark.parametrize("there", ["model.embed_tokens.weight", "lm_head.weight"])
def test_tied_weights_are_one_whichever_is_stored(tmp_path, there):
    directory = save_model(tmp_path / "model", "llama", tie_word_embeddings=True)
    expected = masks_of(directory, tmp_path / "a")
    rename(directory, lambda name: there if "embed" in name else name)
    assert_as_transformers(directory)
    assert_equal_masks(masks_of(directory, tmp_path / "b"), expected)
    rename(directory, lambda name: None if name == there else name)
    refused(directory, tmp_path, "lack lm_head.weight, model.embed_tokens.weight")


def test_two_tensors_for_tied_weights_are_both_read_as_transformers_reads_them(tmp_path):
    directory = save_model(tmp_path / "model", "llama", tie_word_embeddings=True)
    change_tensors(directory / "model.safetensors", {"lm_head.weight": torch.randn(40, 16)})
    assert_as_transformers(directory)
    masks_of(directory, tmp_path / "sub")
    export(directory, tmp_path / "sub", tmp_path / "out")
    assert_as_transformers(tmp_path / "out")
    ours = load_submodel(directory, tmp_path / "sub").state_dict()
    theirs = loaded(tmp_path / "out")[0].state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["lm_head.weight"], ours["model.embed_tokens.weight"])


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "olmoe", "gpt_oss", "gpt2"])
def test_what_transformers_puts_together_is_whole_too(tmp_path, family):
    """Not pruned, but the dense model answers: its experts are stored one by one."""
    directory = save_model(tmp_path / "model", family)
    model, info = loaded(directory)
    stored = read_stored(directory)
    assert not info["missing_keys"]
    assert stored.names.keys() | stored.converted.keys() == model.state_dict().keys()
    ours = load_submodel(directory, None).state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in model.state_dict().items())
    change_tensors(directory / "model.safetensors", {stored.names["lm_head.weight"]: None})
    with pytest.raises(SubmodelsError, match=r"lack lm_head\.weight"):
        read_stored(directory)


def test_what_is_computed_from_other_tensors_is_refused_with_a_way_out(tmp_path):
    directory = save_model(tmp_path / "model", "mixtral")
    stored = read_stored(directory)
    with pytest.raises(SubmodelsError, match=r"computes .* from .*experts\.0\.w1.*save_original_format=False") as error:
        stored.name("model.layers.0.mlp.experts.gate_up_proj")
    assert "and 4 more" in str(error.value)
    model, _ = loaded(directory)
    model.save_pretrained(tmp_path / "again", save_original_format=False)
    again = read_stored(tmp_path / "again")
    assert not again.converted
    assert again.name("model.layers.0.mlp.experts.gate_up_proj") == "model.layers.0.mlp.experts.gate_up_proj"


def test_masks_of_before_fit(tmp_path):
    """The identity of ordinary models is their config.json and weight files, as ever."""
    directory = save_model(tmp_path / "model")
    from submodels import files

    hashes = {name: files.sha256_file(directory / name) for name in ("config.json", "model.safetensors")}
    assert fingerprint_base(directory) == files.fingerprint(hashes)
