"""A benchmark that is interrupted: what stands is kept, what is left follows, and nothing tells the difference."""

# ruff: noqa: F811 (an argument is called as the fixture that it is)

import json
import os
import subprocess

import pytest
import torch
from generate_support import CODE, CSR, MATH, TEXT, items, lm, model_dir, with_generation  # noqa: F401 (fixtures)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import Gemma2Config, LlamaConfig

from submodels import files
from submodels.benchmarks.registry import load_benchmark
from submodels.errors import SubmodelsError
from submodels.evaluation import engine as engine_module
from submodels.evaluation.answers import Answers
from submodels.evaluation.batches import CPU_BATCH, cpu_batch, largest_batch
from submodels.evaluation.engine import run, sample_seed
from submodels.evaluation.generate import generate
from submodels.evaluation.hf_engine import EngineLM, text_bytes
from submodels.evaluation.journal import Journal

SAMPLED = ("tiny_python", {"max_gen_toks": 8, "temperature": 1.5}, CODE)
GREEDY = ("tiny_math", {"max_gen_toks": 8}, [MATH[0] | {"task_id": f"m/{n}"} for n in range(9)])


class Killed(BaseException):
    """As good as SIGKILL: nothing of the stage handles it."""


class Counting(EngineLM):
    """An engine that notes how many answers come together, and stops before those that it is told to stop at."""

    stop_at = None

    def __init__(self, lm, batch_size):
        super().__init__(lm.model, lm.tokenizer, batch_size)
        self.answered = []

    def _count(self, answers):
        if len(self.answered) == self.stop_at:
            raise Killed
        self.answered.append(len(answers))
        return answers

    def generate(self, prompts, settings):
        yield from map(self._count, super().generate(prompts, settings))

    def loglikelihood(self, requests, disable_tqdm=False):
        return super().loglikelihood(self._count(requests), disable_tqdm)

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        return super().loglikelihood_rolling(self._count(requests), disable_tqdm)


CASES = {
    "sampled": (with_generation(SAMPLED[0], **SAMPLED[1]), SAMPLED[2], 4),
    "greedy": (with_generation(GREEDY[0], **GREEDY[1]), GREEDY[2], 2),
    "choices": (load_benchmark("tiny_csr"), [CSR[n % 3] | {"task_id": f"c/{n}"} for n in range(12)], 1),
    "texts": (load_benchmark("tiny_text"), TEXT, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_run_ends_as_an_undisturbed_one_and_asks_nothing_twice(case, lm, tmp_path, monkeypatch):
    benchmark, rows, batch_size = CASES[case]
    monkeypatch.setattr(engine_module, "CHOICES_AT_ONCE", 4)
    monkeypatch.setattr(engine_module, "TEXTS_AT_ONCE", 2)
    whole = Counting(lm, batch_size)
    wanted = run(whole, benchmark, rows, seed=0)
    assert len(whole.answered) >= 3
    for stop_at in range(len(whole.answered)):
        path = tmp_path / f"{stop_at}.jsonl"
        first, second = Counting(lm, batch_size), Counting(lm, batch_size)
        first.stop_at = stop_at
        with pytest.raises(Killed), Journal(path, {"of": "this"}) as journal:
            run(first, benchmark, rows, seed=0, answers=Answers(journal))
        with open(path, "ab") as file:
            file.write(b'{"answers": [[0, "torn')
        with Journal(path, {"of": "this"}) as journal:
            answers = Answers(journal)
            assert json.dumps(run(second, benchmark, rows, seed=0, answers=answers)) == json.dumps(wanted)
        assert first.answered == whole.answered[:stop_at]
        assert sum(first.answered + second.answered) == sum(whole.answered)
        assert answers.totals["prompt_tokens"] == whole.prompt_tokens
        assert answers.totals["generated_tokens"] == whole.generated_tokens
        with Journal(path, {"of": "this"}) as journal:
            assert run(third := Counting(lm, batch_size), benchmark, rows, 0, answers=Answers(journal)) == wanted
        assert third.answered == []
        with Journal(path, {"of": "that"}) as journal:
            assert journal.rows == []


def test_a_sample_depends_on_its_own_seed_alone(lm):
    """Not on the batch, the other items or their order; another seed, item or number is another sample."""
    benchmark = CASES["sampled"][0]
    engine = EngineLM(lm.model, lm.tokenizer, 4)
    wanted = run(engine, benchmark, CODE, seed=0)
    for batch_size in (1, 7, 64):
        assert run(EngineLM(lm.model, lm.tokenizer, batch_size), benchmark, CODE, seed=0) == wanted
    assert run(engine, benchmark, CODE[1:2], seed=0) == [line for line in wanted if line["task_id"] == "python/1"]
    turned = run(engine, benchmark, CODE[::-1], seed=0)
    assert sorted(map(json.dumps, turned)) == sorted(map(json.dumps, wanted))
    same_prompt = [CODE[0], CODE[0] | {"task_id": "python/other"}]
    texts = [line["completion"] for line in run(engine, benchmark, same_prompt, seed=0)]
    assert texts[:10] != texts[10:]
    assert len({*texts}) > 10


def test_seeds_of_samples_are_fixed_numbers():
    """A change of these numbers changes every sample: raise versions.GENERATE with it."""
    assert sample_seed(0, "humaneval", "HumanEval/0", 0) == 5974118141396777191
    others = [(1, "humaneval", "HumanEval/0", 0), (0, "mbpp", "HumanEval/0", 0), (0, "humaneval", "HumanEval/1", 0)]
    seeds = {sample_seed(*other) for other in [*others, *((0, "humaneval", "HumanEval/0", n) for n in range(100))]}
    assert len(seeds) == 103
    assert all(0 <= seed < 2**63 for seed in seeds)


class Small(Counting):
    """An engine whose memory holds few texts at once: with more, it runs out after the first answers."""

    holds = 5

    def __init__(self, lm, batch_size):
        super().__init__(lm, batch_size)
        self.began = []

    def generate(self, prompts, settings):
        self.began.append((self.batch_size, len(prompts)))
        for texts in super().generate(prompts, settings):
            yield texts
            if self.batch_size > self.holds:
                raise torch.OutOfMemoryError("no room")


def test_automatic_batches_halve_when_memory_runs_out_and_lose_nothing(lm, tmp_path):
    benchmark, rows = CASES["sampled"][:2]
    wanted = run(EngineLM(lm.model, lm.tokenizer, 4), benchmark, rows, seed=0)
    engine, answers = Small(lm, None), Answers()
    assert run(engine, benchmark, rows, seed=0, answers=answers) == wanted
    left = [30 - sum(engine.answered[:rounds]) for rounds in range(4)]
    assert engine.began == list(zip((32, 16, 8, 4), left, strict=True))
    assert sum(engine.answered) == 30
    assert answers.batch_size == 4
    assert answers.totals["prompt_tokens"] == 10 * sum(len(lm.tok_encode(item["prompt"])) for item in rows)
    assert answers.totals["generated_tokens"] == sum(line["tokens"] for line in wanted)

    first, second = Small(lm, None), Small(lm, None)
    first.stop_at, first.holds, second.holds = 3, 8, 8
    with pytest.raises(Killed), Journal(tmp_path / "p", {}) as journal:
        run(first, benchmark, rows, seed=0, answers=Answers(journal))
    with Journal(tmp_path / "p", {}) as journal:
        assert run(second, benchmark, rows, seed=0, answers=Answers(journal)) == wanted
    assert second.began == [(8, 30 - sum(first.answered))], "it begins with the size that fitted"
    assert run(engine, CASES["greedy"][0], GREEDY[2], seed=0), "another benchmark begins with the full size again"
    assert engine.began[4] == (32, 9)


@pytest.mark.parametrize(
    ("batch_size", "holds", "message"),
    [(8, 5, "batches of 8; choose a smaller batch size, or"), (None, 0, "one sequence at a time; use a device")],
)
def test_out_of_memory_is_one_clear_error(batch_size, holds, message, lm):
    engine = Small(lm, batch_size)
    engine.holds = holds
    benchmark, rows = CASES["sampled"][:2]
    more = [row | {"task_id": f"{row['task_id']}, {time}"} for row in rows for time in range(4)]
    with pytest.raises(SubmodelsError, match=message):
        run(engine, benchmark, more, seed=0)


class SmallForScores(EngineLM):
    """An engine whose memory holds few of the tokens that are scored."""

    holds = 100

    def score(self, requests):
        if self._scored_tokens > self.holds:
            raise torch.OutOfMemoryError("no room")
        return super().score(requests)


@pytest.mark.parametrize("case", ["choices", "texts"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_scored_batches_halve_when_memory_runs_out_whatever_the_batch_size(case, batch_size, lm):
    benchmark, rows = CASES[case][:2]
    wanted, engine = run(lm, benchmark, rows, seed=0), SmallForScores(lm.model, lm.tokenizer, batch_size)
    found = run(engine, benchmark, rows, seed=0)
    assert 50 < engine._scored_tokens <= 100
    for name in {"loglikelihoods", "loglikelihood"} & wanted[0].keys():
        assert [line[name] for line in found] == [pytest.approx(line[name], abs=1e-4) for line in wanted]
    engine.holds = 0
    with pytest.raises(SubmodelsError, match="out of memory with one sequence at a time"):
        run(engine, benchmark, rows, seed=0)


def test_the_first_batch_fills_the_memory():
    assert [largest_batch(free, 10) for free in (0, 9, 10, 19, 20, 79, 80, 10**9)] == [1, 1, 1, 1, 2, 4, 8, 1024]
    config = LlamaConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2
    )
    # keys and values: 3 layers of 2 heads of 8 numbers in 2 bytes for each of 50 tokens
    cache = 2 * 3 * 2 * 8 * 2 * 50
    assert text_bytes(config, 50, 2) == cache + 100 * 64
    config = Gemma2Config(vocab_size=100, num_hidden_layers=3, head_dim=16, num_key_value_heads=1)
    assert text_bytes(config, 50, 4) == 2 * 3 * 16 * 4 * 50 + 100 * 64


def test_a_cpu_writes_fewer_long_texts_at_once():
    assert [cpu_batch(length) for length in (1, 768, 769, 1256, 6144, 24_576, 50_000)] == [32, 32, 31, 19, 4, 1, 1]


def test_a_small_gpu_begins_with_smaller_batches(lm, monkeypatch):
    """The estimate reads the device's free memory; a device that says it has little stands in for one."""
    engine = EngineLM(lm.model, lm.tokenizer, None)
    needed = text_bytes(lm.model.config, 100, 4)
    monkeypatch.setattr(EngineLM, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (needed * 30, needed * 40))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: needed * 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: needed * 5)
    engine.begin(100, None)
    assert engine.batch_size == 32  # 0.8 * (30 + 20 - 5) = 36
    engine.begin(100, 8)
    assert engine.batch_size == 8


def test_the_stage_continues_discards_what_is_stale_and_cleans_up(model_dir, items, tmp_path, monkeypatch):
    answered = []
    real = EngineLM.generate
    stop_at = None

    def counting(self, prompts, settings):
        for texts in real(self, prompts, settings):
            if len(answered) == stop_at:
                raise Killed
            answered.append(len(texts))
            yield texts

    monkeypatch.setattr(EngineLM, "generate", counting)

    def go(out, stop=None, **options):
        nonlocal stop_at
        stop_at = stop
        answered.clear()
        generate(model_dir, None, {"tiny_python": items["tiny_python"]}, tmp_path / out, **{"batch_size": 8} | options)
        return sum(answered)

    assert go("whole") == 30
    partial = tmp_path / "cut/tiny_python.partial.jsonl"
    with pytest.raises(Killed):
        go("cut", stop=2)
    stopped = sum(answered)
    assert [json.loads(line).keys() for line in partial.read_text().splitlines()][1:] == [
        {"answers", "batch_size", "prompt_tokens", "generated_tokens", "seconds"}
    ] * 2
    assert not (tmp_path / "cut/tiny_python.jsonl.gz").exists()
    ended = subprocess.Popen(["true"])
    ended.wait()
    leftover = files.temporary_path(tmp_path / "cut/tiny_python.jsonl.gz")
    leftover = leftover.with_name(leftover.name.replace(str(os.getpid()), str(ended.pid)))
    leftover.write_bytes(b"left by a killed job")
    assert go("cut") == 30 - stopped
    samples = [(tmp_path / out / "tiny_python.jsonl.gz").read_bytes() for out in ("whole", "cut")]
    assert samples[0] == samples[1]
    kept = {path.name for path in (tmp_path / "cut").iterdir()}
    assert kept == {"tiny_python.jsonl.gz", "tiny_python.manifest.json", "contamination.json", "done.json"}

    for stale in ({"seed": 1}, {"limit": 2}, {"dtype": "bfloat16"}):
        with pytest.raises(Killed):
            go("stale", stop=1)
        assert go("stale", **stale) == (20 if "limit" in stale else 30)
    (tmp_path / "whole/tiny_python.partial.jsonl").write_text("left between the last two steps")
    assert go("whole") == 0
    assert not (tmp_path / "whole/tiny_python.partial.jsonl").exists()


def test_the_manifest_says_what_a_benchmark_took_and_what_is_a_pilot(model_dir, items, tmp_path):
    generate(model_dir, None, items, tmp_path, batch_size="auto", limit=2)
    found = {name: files.read_json(tmp_path / f"{name}.manifest.json")["results"] for name in items}
    lines = files.read_jsonl(tmp_path / "tiny_python.jsonl.gz")
    assert found["tiny_python"]["generated_tokens"] == sum(line["tokens"] for line in lines)
    assert all(1 <= line["tokens"] <= 48 for line in lines)
    assert found["tiny_csr"]["generated_tokens"] == 0 < found["tiny_csr"]["prompt_tokens"]
    for name, total in {"tiny_csr": 3, "tiny_python": 3, "tiny_text": 6, "tiny_math": None}.items():
        assert found[name]["partial"] == (total and {"items": 2, "of": total})
        assert found[name]["wall_seconds"] > 0
        assert (found[name]["batch_size"], found[name]["automatic_batch_size"]) == (CPU_BATCH, True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none()), max_size=6),
    torn=st.integers(0, 400),
)
def test_a_file_cut_anywhere_keeps_the_lines_before_the_cut(rows, torn, tmp_path):
    path = tmp_path / "partial"
    path.unlink(missing_ok=True)
    with Journal(path, {"header": 1}) as journal:
        for row in rows:
            journal.append(row)
    data = path.read_bytes()[:torn]
    path.write_bytes(data)
    whole = max(0, data.count(b"\n") - 1)
    with Journal(path, {"header": 1}) as journal:
        assert journal.rows == rows[:whole]
        journal.append({"last": True})
    with Journal(path, {"header": 1}) as journal:
        assert journal.rows == [*rows[:whole], {"last": True}]
