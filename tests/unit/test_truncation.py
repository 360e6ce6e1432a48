"""Requests longer than the context: what is left of them, what lm-eval leaves, and who says so."""

# ruff: noqa: F811 (an argument is called as the fixture that it is)

import pytest
import torch
from generate_support import CSR, MATH, lm, model_dir, with_generation  # noqa: F401 (fixtures)
from hypothesis import given
from hypothesis import strategies as st

from submodels import files
from submodels.benchmarks.registry import load_benchmark
from submodels.errors import SubmodelsError
from submodels.evaluation.generate import generate
from submodels.evaluation.score import score
from submodels.evaluation.truncation import keep_end, losses, prompt_room

LONG = "many words of a long question, " * 60


def test_by_hand():
    assert keep_end([1, 5, 6, 7, 8], 5, bos=1) == [1, 5, 6, 7, 8]
    assert keep_end([1, 5, 6, 7, 8], 3, bos=1) == [1, 7, 8]
    assert keep_end([5, 6, 7, 8], 3, bos=1) == keep_end([5, 6, 7, 8], 3, bos=None) == [6, 7, 8]
    assert keep_end([1], 1, bos=1) == [1]  # no query, only BOS
    for room, bos in ((1, 1), (0, 1), (0, None)):
        with pytest.raises(SubmodelsError, match="leaves no room in the model's context for the 3 tokens before it"):
            keep_end([1, 5, 6], room, bos)
    assert [prompt_room(512, answer) for answer in (1, 200, 256, 257, 500, 512, 9000)] == [511, 312] + [256] * 5
    lines = [
        {"task_id": "a", "truncated": 3},
        {"task_id": "a", "truncated": 3, "cut_short": True},
        {"task_id": "b", "cut_short": True},
        {"task_id": "c"},
    ]
    assert losses(lines) == {"prompts": 1, "answers": 2}
    assert losses([]) == {"prompts": 0, "answers": 0}


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(2, 80), st.integers(0, 9) | st.none())
def test_what_is_kept_is_bos_and_the_end(ids, room, bos):
    kept = keep_end(ids, room, bos)
    assert len(kept) == min(len(ids), room)
    head = int(ids[0] == bos)
    assert kept[:head] == ids[:head]
    assert kept[head:] == ids[len(ids) - len(kept) + head :]


@given(st.integers(2, 4096), st.integers(1, 8192))
def test_prompt_and_answer_fit_and_the_prompt_keeps_half(context, answer):
    room = prompt_room(context, answer)
    assert context // 2 <= room < context
    assert room + min(answer, context - room) <= context
    if 2 * answer <= context:
        assert room + answer == context  # as in lm-eval


@pytest.fixture(scope="module")
def without_bos(model_dir):
    """(ours, lm-eval's own): one model with a tokenizer that adds nothing, since lm-eval cuts BOS away."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import processors
    from transformers import LlamaForCausalLM

    from submodels.checkpoints.load import load_tokenizer
    from submodels.evaluation.hf_engine import EngineLM

    model, tokenizer = LlamaForCausalLM.from_pretrained(model_dir).eval(), load_tokenizer(model_dir)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    return EngineLM(model, tokenizer, batch_size=4), HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4)


def test_answers_to_long_prompts_are_lm_evals(without_bos):
    """Greedy, of no more than half the context, without stop strings: lm-eval's own `generate_until`."""
    from submodels.evaluation.engine import ask, run

    ours, theirs = without_bos
    benchmark = with_generation("tiny_math", max_gen_toks=24, until=[])
    items = [MATH[0] | {"task_id": f"m/{n}", "question": LONG[7 * n :] + str(n)} for n in range(5)]
    lines = run(ours, benchmark, items, seed=0)
    wanted = theirs.generate_until(ask(benchmark, items, 0, ours.tokenizer), disable_tqdm=True)
    assert [line["completion"] for line in lines] == wanted
    assert all(line["truncated"] > 0 for line in lines)


def test_choices_after_long_queries_score_as_lm_evals(without_bos):
    from submodels.evaluation.engine import ask, run

    ours, theirs = without_bos
    items = [item | {"query": LONG[3 * n :] + item["query"]} for n, item in enumerate(CSR)]
    lines = run(ours, load_benchmark("tiny_csr"), items, seed=0)
    wanted = theirs.loglikelihood(ask(load_benchmark("tiny_csr"), items, 0, ours.tokenizer), disable_tqdm=True)
    found = [pair for line in lines for pair in zip(line["loglikelihoods"], line["greedy"], strict=True)]
    assert found == [(pytest.approx(value, rel=1e-5), greedy) for value, greedy in wanted]
    assert all(line["truncated"] > 0 for line in lines)


@torch.inference_mode()
def test_choices_from_the_definition_with_bos_kept(lm):
    """What is read: BOS, then the last tokens of query and choice that fit; the last token of all is only predicted."""
    from submodels.evaluation.engine import run

    item = CSR[0] | {"query": LONG + CSR[0]["query"]}
    (line,) = run(lm, load_benchmark("tiny_csr"), [item], seed=0)
    start = len(lm.tokenizer(item["query"])["input_ids"])
    lost = []
    for choice, found in zip(item["choices"], line["loglikelihoods"], strict=True):
        bos, *ids = lm.tokenizer(f"{item['query']} {choice}")["input_ids"]
        wanted = torch.tensor(ids[start - 1 :])
        read = [bos, *ids[-lm.max_length :][:-1]]
        assert len(read) == lm.max_length
        logs = lm.model(torch.tensor([read])).logits[0, -len(wanted) :].log_softmax(-1)
        assert found == pytest.approx(logs.gather(-1, wanted[:, None]).sum().item(), rel=1e-5)
        lost.append(len(ids) - lm.max_length)
    assert line["truncated"] == max(lost) > 0


@torch.inference_mode()
def _greedy(lm, ids: list[int], steps: int) -> str:
    new = []
    for _ in range(steps):
        new.append(lm.model(torch.tensor([ids + new])).logits[0, -1].argmax().item())
    return lm.tokenizer.decode(new)


@pytest.mark.parametrize(("answer", "kept", "room"), [(20, 236, 20), (128, 128, 128), (1000, 128, 128)])
def test_a_long_prompt_keeps_bos_and_its_end(lm, answer, kept, room):
    """Context 256: room for the whole answer, but never more than half of it; the short prompt beside is untouched."""
    from submodels.evaluation.engine import run

    benchmark = with_generation("tiny_math", max_gen_toks=answer, until=[])
    items = [MATH[0] | {"task_id": "math/1", "question": LONG}, MATH[0]]
    long, short = run(lm, benchmark, items, seed=0)
    bos, *ids = lm.tokenizer(f"Question: {LONG}\nAnswer:")["input_ids"]
    assert long["completion"] == _greedy(lm, [bos, *ids[-kept + 1 :]], room)
    assert long["truncated"] == 1 + len(ids) - kept
    assert long.get("cut_short", False) == (answer > room)
    assert (long["tokens"], "truncated" in short) == (room, False)
    (alone,) = run(lm, benchmark, items[1:], seed=0)
    assert short == alone


def test_a_prompt_that_fits_alone_loses_no_more_than_its_answer_needs(lm):
    """As in lm-eval: the answer's room is kept, where it is no more than half the context."""
    from submodels.evaluation.engine import run

    question = LONG
    while len(lm.tok_encode(f"Question: {question}\nAnswer:")) > lm.max_length - 3:
        question = question[1:]
    length = len(lm.tok_encode(f"Question: {question}\nAnswer:"))
    benchmark = with_generation("tiny_math", max_gen_toks=20, until=[])
    (line,) = run(lm, benchmark, [MATH[0] | {"question": question}], seed=0)
    assert (line["truncated"], line["tokens"]) == (length + 20 - lm.max_length, 20)


def test_a_choice_that_fills_the_context_is_an_error_before_any_work(lm, monkeypatch):
    from submodels.evaluation.engine import run

    item = CSR[0] | {"choices": ["cup", LONG]}
    monkeypatch.setattr(lm, "loglikelihood", lambda *_, **__: pytest.fail("something was scored"))
    with pytest.raises(SubmodelsError, match=r"csr/0: a choice has \d+ tokens and leaves no room for its query"):
        run(lm, load_benchmark("tiny_csr"), [CSR[1], item], seed=0)


def test_manifest_and_score_file_say_what_was_lost(model_dir, tmp_path):
    items = {
        "tiny_math": [MATH[0], *(MATH[0] | {"task_id": f"long/{n}", "question": LONG} for n in range(2))],
        "tiny_csr": [CSR[0] | {"query": LONG}, *CSR[1:]],
    }
    paths = {name: tmp_path / f"{name}.jsonl" for name in items}
    for name, path in paths.items():
        files.write_jsonl(path, items[name])
    generate(model_dir, None, paths, tmp_path / "out")
    wanted = {"tiny_math": {"prompts": 2, "answers": 0}, "tiny_csr": {"prompts": 1, "answers": 0}}
    for name, lost in wanted.items():
        samples = {"dense": tmp_path / f"out/{name}.jsonl.gz"}
        manifest = files.read_json(tmp_path / f"out/{name}.manifest.json")
        assert manifest["results"]["truncated"] == lost
        score(name, paths[name], samples, tmp_path / "score.json", model="m")
        found = files.read_json(tmp_path / "score.json")
        assert found["truncated"] == found["submodels"]["dense"]["truncated"] == lost


def test_a_score_file_names_the_most_that_a_sub_model_lost(tmp_path):
    lines = [{"task_id": f"m/{n}", "completion": "#### 3", "sample": 0} for n in range(3)]
    files.write_jsonl(tmp_path / "items.jsonl", [MATH[0] | {"task_id": f"m/{n}"} for n in range(3)])
    samples = {
        "a": [lines[0] | {"truncated": 4, "cut_short": True}, *lines[1:]],
        "b": [lines[0] | {"truncated": 4}, lines[1] | {"cut_short": True}, lines[2] | {"cut_short": True}],
        "c": lines,
    }
    paths = {id: tmp_path / f"{id}.jsonl" for id in samples}
    for id, path in paths.items():
        files.write_jsonl(path, samples[id])
    score("tiny_math", tmp_path / "items.jsonl", paths, tmp_path / "out.json", model="m")
    found = files.read_json(tmp_path / "out.json")
    assert {id: entry["truncated"] for id, entry in found["submodels"].items()} == {
        "a": {"prompts": 1, "answers": 1},
        "b": {"prompts": 1, "answers": 2},
        "c": {"prompts": 0, "answers": 0},
    }
    assert found["truncated"] == {"prompts": 1, "answers": 2}
    score("tiny_math", tmp_path / "items.jsonl", {"c": paths["c"]}, tmp_path / "out.json", model="m")
    assert files.read_json(tmp_path / "out.json")["truncated"] is None
