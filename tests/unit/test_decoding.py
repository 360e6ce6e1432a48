"""A batch that stays full: rows that join and leave, prompts read ahead, and what they share."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import DECODERS, VOCABULARY, save_model
from transformers import LlamaConfig, LlamaForCausalLM

from submodels.checkpoints.decoder import Decoder
from submodels.evaluation.decoding import Batch, Writing
from submodels.evaluation.live_rows import LiveRows, Read
from submodels.evaluation.packed import PackedLinear, pack_linears


@torch.inference_mode()
def single(model, prompt: list[int], count: int, ended=lambda tokens: False) -> list[int]:
    """Greedy tokens by whole forward passes of one text."""
    new = []
    while len(new) < count and not (new and ended(new)):
        new.append(model(torch.tensor([[*prompt, *new]])).logits[0, -1].argmax().item())
    return new


def written(model, texts, *, rows, tokens=1000, ended=lambda number, tokens: False, **drawn) -> list[list[int]]:
    found = {}
    for finished in Batch(Decoder(model), texts, rows=rows, tokens=tokens, ended=ended, **drawn).write():
        assert finished.keys().isdisjoint(found)
        found |= finished
    return [found[number] for number in range(len(texts))]


def some_texts(count: int, longest: int = 24) -> list[Writing]:
    dice = torch.Generator().manual_seed(0)

    def below(most: int) -> int:
        return int(torch.randint(1, most, (1,), generator=dice))

    return [Writing([below(VOCABULARY) for _ in range(below(longest))], n, below(14)) for n in range(count)]


@pytest.mark.parametrize("family", DECODERS)
def test_texts_are_those_of_single_forward_passes(family, tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path, family)).eval()
    texts = some_texts(9)
    wanted = [single(model, text.prompt, text.room) for text in texts]
    for rows, tokens in ((1, 1000), (3, 1000), (3, 30), (16, 5)):
        assert written(model, texts, rows=rows, tokens=tokens) == wanted


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = save_model(tmp_path_factory.mktemp("decoding"))
    return transformers.AutoModelForCausalLM.from_pretrained(directory).eval()


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 90)), min_size=1, max_size=12),
    rows=st.integers(1, 5),
    alike=st.integers(0, 20),
)
def test_rows_of_any_length_join_and_leave(model, lengths, rows, alike):
    """Long answers move all rows to the left, and prompts that begin alike share the beginning."""
    shared = [(3 * n + 1) % VOCABULARY for n in range(alike)]
    texts = [
        Writing([*shared, *((7 * n + k) % VOCABULARY for k in range(length))], n, room)
        for n, (length, room) in enumerate(lengths)
    ]
    wanted = [single(model, text.prompt, min(12, text.room)) for text in texts]
    found = written(model, texts, rows=rows)
    assert [tokens[:12] for tokens in found] == wanted
    assert [len(tokens) for tokens in found] == [text.room for text in texts]


def test_a_row_ends_where_it_is_told_to(model):
    texts = [Writing([n + 1, n + 2], n, 40) for n in range(8)]

    def ended(tokens):
        return sum(tokens) % 5 == 0

    wanted = [single(model, text.prompt, text.room, ended) for text in texts]
    assert written(model, texts, rows=3, ended=lambda number, tokens: ended(tokens)) == wanted
    assert len({*map(len, wanted)}) > 2


def test_the_batch_stays_full_while_prompts_wait(model):
    texts = [Writing([n + 1], n, 1 + 3 * n) for n in range(10)]
    steps = []
    model.model.layers[1].register_forward_hook(lambda module, args, output: steps.append(args[0].shape[:2]))
    batch = Batch(Decoder(model), texts, rows=3, tokens=1000, ended=lambda number, tokens: False)
    for _ in batch.write():
        if batch.waiting:
            assert batch.live <= 3
    decoded = [rows for rows, length in steps[2:]]  # the ten prompts were read before, and their logits made
    written = sum(text.room - 1 for text in texts)  # the first token of each follows from its prompt
    assert sum(decoded) == written
    assert decoded[: written // 3 - 30] == [3] * (written // 3 - 30)
    assert steps[:2] == [(10, 1), (10, 1)]


def test_a_prompt_and_a_shared_beginning_are_read_once(model):
    shared, read = [1, 2] * 10, []
    model.model.layers[1].register_forward_hook(lambda module, args, output: read.append(args[0].shape[:2]))
    texts = [Writing([*shared, 5 + n, 9 + n], sample, 2) for n in range(3) for sample in range(4)]
    written(model, texts, rows=4)
    assert [shape for shape in map(tuple, read) if shape[1] > 1] == [(1, 20), (3, 2)]


def test_a_long_prompt_is_read_in_pieces(model):
    read, text = [], Writing([5] * 25, 0, 3)
    wanted = single(model, text.prompt, 3)
    model.model.layers[1].register_forward_hook(lambda module, args, output: read.append(args[0].shape[1]))
    assert written(model, [text], rows=1, tokens=10) == [wanted]
    assert read[:3] == [10, 10, 5]


def test_draws_depend_on_their_seed_alone(model):
    texts = [Writing([1, 2, 3], seed, 12) for seed in (5, 6, 7, 5)]
    drawn = {"settings": {"temperature": 2.0, "top_k": 0, "top_p": 1.0}}
    found = written(model, texts, rows=4, **drawn)
    assert found[0] == found[3]
    assert len({*map(tuple, found)}) == 3
    assert written(model, texts, rows=1, **drawn) == found
    assert written(model, texts[::-1], rows=2, **drawn) == found[::-1]


def test_rows_by_hand():
    def read(*values):
        return Read([(torch.tensor(values)[None, :, None].float(), -torch.tensor(values)[None, :, None].float())], None)

    rows = LiveRows(3, longest=5, longest_prompt=3, blocks=1)
    rows.add(read(1, 2, 3))
    rows.add(read(4))
    mask, positions = rows.step()
    assert mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert positions.tolist() == [[3], [1]]
    keys, values = rows.update(torch.tensor([5.0, 6.0])[:, None, None, None], -torch.ones(2, 1, 1, 1), 0)
    assert keys.flatten(1).tolist() == [[1, 2, 3, 5], [0, 0, 4, 6]]
    assert values.flatten(1).tolist() == [[-1, -2, -3, -1], [0, 0, -4, -1]]
    rows.add(read(7, 8))
    rows.remove(0)
    assert rows.lengths == [2, 2]
    _, positions = rows.step()
    assert positions.tolist() == [[2], [2]]
    keys, _ = rows.update(torch.tensor([9.0, 10.0])[:, None, None, None], torch.ones(2, 1, 1, 1), 0)
    assert keys.flatten(1).tolist() == [[7, 8, 9], [4, 6, 10]]


def test_no_tensor_is_made_on_another_device_than_the_models():
    """On the meta device, which computes nothing: a tensor left on the CPU would be an error."""
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).eval()
    batch = Batch(Decoder(model), some_texts(4), rows=2, tokens=100, ended=lambda number, tokens: False)
    devices = []
    batch._draw = lambda rows, logits: devices.append(logits.device.type) or [1] * len(rows)
    assert sum(len(finished) for finished in batch.write()) == 4
    assert {*devices} == {"meta"}


def test_packed_layers_compute_what_plain_ones_do(monkeypatch):
    from submodels.evaluation import packed

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(600, 700), torch.nn.Linear(700, 600, bias=False), torch.nn.Linear(600, 4)
    )
    inputs = torch.randn(3, 5, 600)
    wanted = model(inputs)
    monkeypatch.setattr(packed, "_GAIN", 0)
    assert pack_linears(model) == 2, "the small one stays"
    assert [type(layer) for layer in model] == [PackedLinear, PackedLinear, torch.nn.Linear]
    torch.testing.assert_close(model(inputs), wanted)
    assert pack_linears(model) == 0


def test_nothing_is_packed_where_it_is_not_faster_or_not_possible(monkeypatch):
    from submodels.evaluation import packed

    model = torch.nn.Sequential(torch.nn.Linear(600, 700))
    monkeypatch.setattr(packed, "_GAIN", 1e9)
    assert pack_linears(model) == 0
    monkeypatch.setattr(packed, "_GAIN", 0)
    monkeypatch.setattr(packed, "PackedLinear", lambda linear: torch.ops.mkldnn.no_such_operator(linear.weight))
    assert pack_linears(model) == 0
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(600, 700))
    assert pack_linears(model) == 0
