"""Log-likelihoods of choices, item by item, against an independent script: plain transformers, one choice at a time."""

# ruff: noqa: F811 (an argument is called as the fixture that it is)

import random

import pytest
import torch
from generate_support import CSR, lm, model_dir  # noqa: F401 (fixtures)
from transformers import AutoModelForCausalLM, AutoTokenizer

from submodels import files
from submodels.benchmarks.registry import load_benchmark
from submodels.evaluation.generate import generate

WORDS = ["cup", "hammer", "map", "key", "soup", "drinks", "opens", "the", "a", "with", "Anna", "Ben", "1", "22", "é"]


@torch.inference_mode()
def _reference(directory, items: list[dict], bos: bool = True) -> list[dict]:
    """What the definition says: float32, no batch, no padding, no cache; a choice is read after its query and a space.

    Spaces that end a query belong to the choice; without a query, the choice follows BOS.
    """
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    lines = []
    for item in items:
        line = {"task_id": item["task_id"], "loglikelihoods": [], "greedy": []}
        for choice in item["choices"]:
            start = len(tokenizer(item["query"].rstrip(" "), add_special_tokens=bos)["input_ids"])
            ids = tokenizer(f"{item['query']} {choice}", add_special_tokens=bos)["input_ids"]
            logits = model(torch.tensor([ids])).logits[0, start - 1 : -1]
            wanted = torch.tensor(ids[start:])
            chosen = logits.log_softmax(-1).gather(-1, wanted[:, None])
            line["loglikelihoods"].append(chosen.sum().item())
            line["greedy"].append(torch.equal(logits.argmax(-1), wanted))
        lines.append(line)
    return lines


def _compare(directory, items: list[dict], out, batch_size: int, benchmark: str = "tiny_csr") -> list[dict]:
    files.write_jsonl(out / "items.jsonl", items)
    generate(directory, None, {benchmark: out / "items.jsonl"}, out / "samples", batch_size=batch_size)
    found = files.read_jsonl(out / f"samples/{benchmark}.jsonl.gz")
    bos = load_benchmark(benchmark).bos
    assert files.read_json(out / f"samples/{benchmark}.manifest.json")["results"]["bos"] == bos
    for line, reference in zip(found, _reference(directory, items, bos), strict=True):
        assert line["task_id"] == reference["task_id"]
        assert line["loglikelihoods"] == pytest.approx(reference["loglikelihoods"], rel=1e-5, abs=1e-4)
        assert line["greedy"] == reference["greedy"]
    return found


def _items(directory) -> list[dict]:
    """Queries and choices of every length, an empty query, one that ends in spaces, and a choice the model prefers."""
    dice = random.Random(0)

    def text(most: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(1, most)))

    rows = [(text(40), [text(8) for _ in range(dice.randint(2, 5))]) for _ in range(24)]
    rows += [("", ["cup", "the hammer"]), ("Anna drinks from the  ", ["cup", "map", "cup"])]
    rows += [(item["query"], item["choices"]) for item in CSR]
    rows.append(_with_a_greedy_choice(directory, lambda: text(10)))
    return [{"task_id": f"x/{n}", "query": q, "choices": c, "gold": 0} for n, (q, c) in enumerate(rows)]


@torch.inference_mode()
def _with_a_greedy_choice(directory, draw) -> tuple[str, list[str]]:
    """A query after which the likeliest token begins with a space: the rest of it is a choice that is all greedy."""
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    while True:
        query = draw()
        likeliest = model(torch.tensor([tokenizer(query)["input_ids"]])).logits[0, -1].argmax().item()
        if (text := tokenizer.decode([likeliest])).startswith(" ") and text.strip():
            return query, [text[1:], "soup"]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_choice_scores_as_the_independent_script_says(batch_size, model_dir, tmp_path):
    items = _items(model_dir)
    found = _compare(model_dir, items, tmp_path, batch_size)
    values = [value for line in found for value in line["loglikelihoods"]]
    assert len({round(value, 3) for value in values}) > 60
    assert found[-1]["greedy"][0]
    twice = found[25]["loglikelihoods"]
    assert twice[0] == pytest.approx(twice[2])


def test_the_paper_reads_questions_without_bos(model_dir, tmp_path):
    items = [item for item in _items(model_dir) if item["query"]]
    with_bos = _compare(model_dir, items, tmp_path, 4)
    without = _compare(model_dir, items, tmp_path, 4, "openbookqa_paper")
    assert all(
        abs(one - other) > 1e-3
        for a, b in zip(with_bos, without, strict=True)
        for one, other in zip(a["loglikelihoods"], b["loglikelihoods"], strict=True)
    )
    assert _compare(model_dir, items, tmp_path, 4) == with_bos


def test_a_benchmark_without_bos_leaves_it_to_the_next_one(lm):
    from submodels.evaluation.engine import run

    before = run(lm, load_benchmark("tiny_csr"), CSR, seed=0)
    assert run(lm, load_benchmark("openbookqa_paper"), CSR, seed=0) != before
    assert run(lm, load_benchmark("tiny_csr"), CSR, seed=0) == before


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["openbook_qa", "arc_easy"])
def test_a_trained_model_scores_real_questions_as_the_independent_script_says(name, shared, tmp_path):
    (path,) = (shared / "data/commonsense").glob(f"{name}*.jsonl.gz")
    items = [row | {"task_id": f"{name}/{n}"} for n, row in enumerate(files.read_jsonl(path)[:25])]
    found = _compare(shared / "data/models/stories260K", items, tmp_path, 16)
    assert len(found) == 25
