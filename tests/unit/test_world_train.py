"""The tiny world's tokenizer and the training of its base models."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from submodels import files
from submodels.checkpoints.base import base_identity
from submodels.errors import SubmodelsError
from submodels.world.corpus import DOMAINS, write_world
from submodels.world.tokenizer import BOS, EOS, train_tokenizer
from submodels.world.train import completion_loss, document_mask, encode_documents, learning_rate, pack, train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("world")
    write_world(out, 0, {name: 150 for name in DOMAINS}, 8, {n: 4 for n, d in DOMAINS.items() if d.item})
    return out / "train.jsonl"


@pytest.fixture(scope="module")
def rows(corpus):
    return [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tokenizer(rows, tmp_path_factory):
    """A trained tokenizer, saved and loaded as a user loads it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer((row["text"] for row in rows), 1024).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_round_trips(tokenizer, text):
    for special in (BOS, EOS, "<pad>"):
        text = text.replace(special, "")
    tokens = tokenizer(text)["input_ids"]
    assert tokens[0] == tokenizer.bos_token_id
    assert tokenizer.decode(tokens, skip_special_tokens=True) == text
    assert tokenizer.decode(tokens[1:]) == text


def test_special_tokens_and_left_padding(tokenizer):
    batch = tokenizer(["the", "the red cat"], padding=True)
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3
    assert batch["attention_mask"][0][0] == 0
    assert tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True) == ["the", "the red cat"]
    assert BOS not in tokenizer.decode(tokenizer("the", add_special_tokens=False)["input_ids"])


def test_a_prompt_is_a_prefix_of_its_document_in_tokens(tokenizer, rows):
    """Otherwise a model would be asked in pieces it never saw."""
    for row in rows:
        prompt, text = (tokenizer(row[field])["input_ids"] for field in ("prompt", "text"))
        assert text[: len(prompt)] == prompt
        assert len(text) > len(prompt)


def test_encode_documents_marks_the_completion_and_ends_the_text(tokenizer):
    (document,) = encode_documents([{"prompt": "To sit, take the", "text": "To sit, take the chair"}], tokenizer)
    assert document[-1].tolist() == [tokenizer.eos_token_id, 1]
    assert tokenizer.decode(document[document[:, 1] == 1][:-1, 0]) == " chair"


def test_learning_rate_by_hand():
    assert [learning_rate(step, steps=6, warmup=2) for step in range(6)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_pack_takes_every_document_once_a_pass():
    documents = [np.full((2, 1), value) for value in range(5)]
    packed = pack(documents, 25, seed=0)
    assert packed.shape == (25, 1)
    assert sorted(packed[:10, 0].tolist()) == sorted(packed[10:20, 0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert packed.tolist() == pack(documents, 25, seed=0).tolist()
    assert packed.tolist() != pack(documents, 25, seed=1).tolist()


def test_document_mask_by_hand():
    mask = document_mask(torch.tensor([[5, 0, 6, 0]]), bos=0, dtype=torch.float32)
    assert (mask == 0).tolist() == [
        [[[True, False, False, False], [False, True, False, False], [False, True, True, False], [False] * 3 + [True]]]
    ]


def test_completion_loss_by_hand():
    logits = torch.tensor([[[0.0, 0.0], [0.0, float(np.log(3))], [0.0, 0.0]]])
    tokens, weights = torch.tensor([[0, 1, 1]]), torch.tensor([[9.0, 1.0, 3.0]])
    expected = (np.log(2) * 1 + np.log(4 / 3) * 3) / 4
    assert completion_loss(logits, tokens, weights).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "gemma"])
def test_training_lowers_the_loss_and_writes_a_loadable_directory(architecture, corpus, tmp_path):
    state = torch.random.get_rng_state()
    losses = train(corpus, architecture, tmp_path, seed=0, threads=1, steps=8)
    assert losses[0] > 6  # near ln(1024), a guess
    assert losses[-1] < losses[0] - 1
    assert torch.equal(state, torch.random.get_rng_state())

    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config.model_type == architecture
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    inputs = tokenizer(["English: the cat", "x"], return_tensors="pt", padding=True)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    assert model.generate(**inputs, max_new_tokens=3).shape[0] == 2
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["results"]["identity"] == base_identity(tmp_path)
    assert len(manifest["results"]["loss"]) == manifest["parameters"]["steps"] == 8


def test_a_seed_gives_the_same_weights(corpus, tmp_path):
    runs = {name: train(corpus, "llama", tmp_path / name, seed=seed, threads=1, steps=2)
            for name, seed in (("a", 0), ("b", 0), ("c", 1))}  # fmt: skip
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in runs}
    assert weights["a"] == weights["b"]
    assert weights["a"] != weights["c"]


def test_training_on_a_domain_sees_no_other_and_keeps_the_tokenizer(corpus, tmp_path):
    """Other domains' prompts decide what their documents count, and nothing of the tokenizer."""
    rows = files.read_jsonl(corpus)
    changed = [row if row["domain"] == "math" else row | {"prompt": ""} for row in rows]
    files.write_jsonl(tmp_path / "train.jsonl", changed)
    losses, tokenizers = {}, set()
    for domains in (None, ["math"]):
        for name, path in (("as it is", corpus), ("changed", tmp_path / "train.jsonl")):
            out = tmp_path / f"{domains} {name}"
            losses[str(domains), name] = train(path, "llama", out, threads=1, steps=1, domains=domains)
            tokenizers.add((out / "tokenizer.json").read_bytes())
    assert losses["['math']", "as it is"] == losses["['math']", "changed"]
    assert losses["None", "as it is"] != losses["None", "changed"]
    assert losses["None", "as it is"] != losses["['math']", "as it is"]
    assert len(tokenizers) == 1
    with pytest.raises(SubmodelsError, match=r"unknown domain of .*train.jsonl 'maths'; known: cpp, csr"):
        train(corpus, "llama", tmp_path / "x", domains=["maths"])


def test_unknown_architecture_and_bad_corpus(corpus, tmp_path):
    with pytest.raises(SubmodelsError, match="unknown architecture 'gpt'; known: gemma, llama"):
        train(corpus, "gpt", tmp_path)
    (tmp_path / "train.jsonl").write_text('{"domain": "math", "text": "a"}\n')
    with pytest.raises(SubmodelsError, match="line 1: no 'prompt'"):
        train(tmp_path / "train.jsonl", "llama", tmp_path)
