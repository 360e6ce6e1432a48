"""Log-likelihoods by pieces of a text and by parts of the vocabulary, against plain forward passes of transformers."""

import itertools
import random
import subprocess
import sys

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import DECODERS, VOCABULARY, save_model

from submodels.checkpoints.decoder import Decoder
from submodels.evaluation import likelihoods
from submodels.evaluation.likelihoods import batches, reads_branches, score_tokens

WITHOUT_BRANCHES = {
    *("bloom", "mpt"),  # their positions follow from the mask
    *("mistral", "gemma2", "gemma3"),  # their windows, in these tests, are shorter than the text that is tried
}


def _requests() -> list[tuple[list[int], list[int]]]:
    """Contexts and continuations of all lengths; then three after the same context each; the last four read the same
    tokens and expect others."""
    dice = random.Random(0)

    def ids(most: int) -> list[int]:
        return [dice.randrange(3, VOCABULARY) for _ in range(dice.randint(1, most))]

    requests = [(ids(20), ids(8)) for _ in range(12)]
    context, continuation = requests[0]
    choices = [(context, ids(8)) for context, _ in requests[:4] for _ in range(3)]
    same = [*((context + continuation[:-1], [token]) for token in (5, 6, 7)), (context, continuation)]
    return [*requests, *choices, *same]


@torch.inference_mode()
def _reference(model, requests) -> list[tuple[float, bool]]:
    """One text at a time, logits of all its tokens, no cache."""
    found = []
    for context, continuation in requests:
        logits = model(input_ids=torch.tensor([[*context, *continuation[:-1]]])).logits[0, len(context) - 1 :].float()
        wanted = torch.tensor(continuation)
        chosen = logits.log_softmax(-1).gather(-1, wanted[:, None])
        found.append((chosen.sum().item(), torch.equal(logits.argmax(-1), wanted)))
    return found


@pytest.mark.parametrize("family", DECODERS)
def test_pieces_and_batches_of_any_size_give_what_a_forward_pass_gives(family, tmp_path):
    """Tied, scaled, capped and projected heads; sliding windows; learned, rotary and sloped positions; tuples."""
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path, family, blocks=3)).eval()
    requests, decoder = _requests(), Decoder(model)
    wanted = _reference(model, requests)
    branching = reads_branches(decoder)
    assert branching == (family not in WITHOUT_BRANCHES)
    for most, branches in itertools.product((1000, 40, 5, 3), {False, branching}):
        found = score_tokens(decoder, requests, most=most, head_bytes=4 * VOCABULARY * 3, branches=branches)
        assert [value for value, _ in found] == pytest.approx([value for value, _ in wanted], rel=1e-5, abs=1e-4)
        assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    context = requests[0][0]
    likeliest = model(input_ids=torch.tensor([context])).logits[0, -1].argmax().item()
    assert score_tokens(decoder, [(context, [likeliest])], most=3, head_bytes=1)[0][1]
    assert not score_tokens(decoder, [(context, [(likeliest + 1) % VOCABULARY])], most=3, head_bytes=1)[0][1]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(1, 40))
def test_a_batch_is_counted_in_tokens(lengths, most):
    rows = [(0,) * length for length in sorted(lengths, reverse=True)]
    found = list(batches(rows, most))
    assert [row for batch in found for row in batch] == rows
    for batch, following in zip(found, [*found[1:], None], strict=True):
        assert len(batch) == 1 or len(batch) * len(batch[0]) <= most
        assert following is None or (len(batch) + 1) * len(batch[0]) > most, "no batch is smaller than it must be"


def test_batches_by_hand():
    rows = [(0,) * length for length in (9, 4, 3, 3, 1, 1)]
    assert [[*map(len, batch)] for batch in batches(rows, 8)] == [[9], [4, 3], [3, 1], [1]]


def test_texts_that_begin_alike_are_branches_of_a_trunk():
    rows = [(1, 2, 3, 4, 5), (1, 2, 3, 6), (1, 2, 3), (7, 8, 9), (7, 1, 1), (1, 2, 9, 9, 9, 9)]
    found = [(tree.rows, tree.trunk) for tree in likelihoods._trees(rows, 100)]
    assert found == [
        (((1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 6)), 3),
        (((1, 2, 9, 9, 9, 9),), 6),
        (((7, 1, 1),), 3),
        (((7, 8, 9),), 3),
    ]
    [tree, *_] = likelihoods._trees(rows, 100)
    assert len(tree) == 6
    assert tree.tokens() == ([1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 3], [0, 0, 0, 1 + 1, 1 + 1, 1 + 2])
    assert [tree.places(row) for row in tree.rows] == [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 5]]
    assert all(len(tree.rows) == 1 for tree in likelihoods._trees(rows, 4))
    assert [*likelihoods._trees([], 4)] == []


def test_a_beginning_is_read_once(tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path)).eval()
    read = []
    model.model.layers[0].mlp.register_forward_hook(lambda module, args, output: read.append(args[0].shape[:-1]))
    requests = [([3] * 30, [token] * 3) for token in (4, 5, 6, 7)]
    for branches, wanted in ((True, [(1, 30 + 4 * 2)]), (False, [(4, 32)])):
        read.clear()
        score_tokens(Decoder(model), requests, most=1000, head_bytes=1 << 20, branches=branches)
        assert read == wanted


@pytest.mark.parametrize("family", ["mistral", "gemma3"])
def test_no_tree_is_longer_than_a_sliding_window(family, tmp_path):
    """Its mask has no window of its own."""
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path, family)).eval()
    window = model.config.get_text_config().sliding_window
    requests = [([3] * length, [token, 5]) for length in (window // 2, 3 * window) for token in (4, 6, 7)]
    found = score_tokens(Decoder(model), requests, most=1000, head_bytes=1 << 20, branches=True)
    for (value, _), (wanted, _) in zip(found, _reference(model, requests), strict=True):
        assert value == pytest.approx(wanted, rel=1e-5, abs=1e-4)


def test_only_scored_tokens_meet_the_head_a_few_at_a_time(tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path)).eval()
    sizes = []
    model.lm_head.register_forward_hook(lambda module, args, output: sizes.append(output.shape[:-1].numel()))
    score_tokens(Decoder(model), [([3] * 30, [4] * 7), ([5] * 9, [6])], most=16, head_bytes=4 * VOCABULARY * 3)
    assert sizes == [3, 3, 1, 1]


def test_keys_and_values_of_one_block_alone_are_kept(tmp_path, monkeypatch):
    """While a long text is read in pieces, no block but the one at work holds any."""
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path, blocks=4)).eval()
    decoder, most_kept = Decoder(model), 0
    real, pasts = likelihoods.run_block, []
    monkeypatch.setattr(likelihoods, "_Past", lambda make=likelihoods._Past: pasts.append(make()) or pasts[-1])

    def watched(*arguments):
        nonlocal most_kept
        output = real(*arguments)
        most_kept = max(most_kept, sum(past.is_initialized for past in pasts))
        return output

    monkeypatch.setattr(likelihoods, "run_block", watched)
    score_tokens(decoder, [([3] * 20, [4])], most=8, head_bytes=1 << 20)
    assert (len(pasts), most_kept) == (4, 1)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
def test_pieces_share_the_masks_of_the_last_one(family, tmp_path, monkeypatch):
    """Causal ones and those of sliding windows: a mask for each kind, not for each piece."""
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path, family, blocks=4)).eval()
    known, real = [], likelihoods._share_masks
    monkeypatch.setattr(likelihoods, "_share_masks", lambda calls, masks: known.append(masks) or real(calls, masks))
    score_tokens(Decoder(model), [([3] * 27, [4])], most=4, head_bytes=1 << 20)
    assert len(known) == 7
    assert [tuple(mask.shape[-2:]) for mask in known[0]] == [(4, 27)] * (2 if family == "gemma3" else 1)


MEMORY = """
import resource, sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
from submodels.checkpoints.decoder import Decoder
from submodels.evaluation.likelihoods import score_tokens
vocabulary, length = map(int, sys.argv[1:])
torch.set_num_threads(1)
config = LlamaConfig(vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=4,
    num_attention_heads=2, max_position_embeddings=length, tie_word_embeddings=True)
decoder = Decoder(LlamaForCausalLM(config).eval())
score_tokens(decoder, [([1] * 20, [2] * 20)], most=1024, head_bytes=1 << 25)
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
score_tokens(decoder, [([1], [2] * length)], most=1024, head_bytes=1 << 25)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded) * 1024)
"""


@pytest.mark.parametrize(("vocabulary", "length"), [(1_000, 8192), (1_000, 16_384), (150_000, 2048)])
def test_memory_follows_neither_the_vocabulary_nor_the_context(vocabulary, length):
    """Logits of all tokens would take 1.2 GB of float32 for the second case, keys and values of all blocks 17 MB."""
    command = [sys.executable, "-c", MEMORY, str(vocabulary), str(length)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 200e6
