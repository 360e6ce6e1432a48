"""Log-likelihoods by pieces of a text and by parts of the vocabulary, against plain forward passes of transformers."""

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
from submodels.evaluation.likelihoods import batches, score_tokens


def _requests() -> list[tuple[list[int], list[int]]]:
    """Contexts and continuations of all lengths; the last four read the same tokens and expect others."""
    dice = random.Random(0)

    def ids(most: int) -> list[int]:
        return [dice.randrange(3, VOCABULARY) for _ in range(dice.randint(1, most))]

    requests = [(ids(20), ids(8)) for _ in range(12)]
    context, continuation = requests[0]
    return [*requests, *((context + continuation[:-1], [token]) for token in (5, 6, 7)), (context, continuation)]


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
    for most in (1000, 40, 5, 3):
        found = score_tokens(decoder, requests, most=most, head_bytes=4 * VOCABULARY * 3)
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
