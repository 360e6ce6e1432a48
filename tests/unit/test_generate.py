"""Stage generate with a random two-block Llama: what is asked, what is kept, and what reruns."""

# ruff: noqa: F811 (an argument is called as the fixture that it is)

import math
import shutil

import numpy as np
import pytest
import tiny_models
import torch
import yaml
from generate_support import CODE, CSR, MATH, TEXT, items, lm, model_dir, with_generation  # noqa: F401 (fixtures)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from submodels import files
from submodels.benchmarks.registry import load_benchmark
from submodels.errors import SubmodelsError
from submodels.evaluation import generate as stage
from submodels.evaluation.generate import generate
from submodels.pruning.prune import prune


@torch.inference_mode()
def _greedy(lm, prompt: str, steps: int) -> list[int]:
    """Greedy tokens by whole forward passes: no cache, no padding, no batch."""
    ids = lm.tokenizer(prompt)["input_ids"]
    new = []
    for _ in range(steps):
        new.append(lm.model(torch.tensor([ids + new])).logits[0, -1].argmax().item())
        if new[-1] == lm.tokenizer.eos_token_id:
            return new[:-1]
    return new


def test_accuracy_agrees_with_lm_eval_itself(lm, items):
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    from submodels.benchmarks.metrics import SCORERS
    from submodels.evaluation.engine import run

    benchmark = load_benchmark("tiny_csr")
    task = benchmark.task | {"dataset_kwargs": {"data_files": {"test": str(items["tiny_csr"])}}}
    manager = TaskManager(include_defaults=False)
    theirs = evaluate(lm, manager.load([task]), bootstrap_iters=0)["results"]["tiny_csr"]
    lines = run(lm, benchmark, CSR, seed=0)
    ours = SCORERS["accuracy"].score(CSR, {line["task_id"]: [line] for line in lines}, "none").items.values()
    for metric in ("acc", "acc_norm"):
        assert sum(value[metric] for value in ours) / 3 == pytest.approx(theirs[f"{metric},none"])


@torch.inference_mode()
def _text_loglikelihood(model, ids: list[int], before: int) -> float:
    """From the definition: the sum of log-probabilities of `ids`, each after token `before` and all ids before it."""
    whole = [before, *ids]
    logs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(logs[i - 1, whole[i]].item() for i in range(1, len(whole)))


def test_texts_are_scored_from_the_definition(lm):
    from submodels.evaluation.engine import run

    lines = run(lm, load_benchmark("tiny_text"), TEXT[:-1], seed=0)
    for item, line in zip(TEXT[:-1], lines, strict=True):
        bos, *ids = lm.tokenizer(item["text"])["input_ids"]
        assert bos == lm.tokenizer.bos_token_id
        assert line == {
            "task_id": item["task_id"],
            "loglikelihood": pytest.approx(_text_loglikelihood(lm.model, ids, bos), abs=1e-3),
            "tokens": len(ids),
            "bytes": len(item["text"].encode()),
        }
    assert lines[0]["loglikelihood"] == pytest.approx(lines[2]["loglikelihood"])
    assert (lines[4]["tokens"], lines[1]["bytes"]) == (1, len(TEXT[1]["text"]) + 2)


def test_a_text_longer_than_the_context_is_scored_in_windows(lm):
    """Windows of the context's length that share no predicted token; the last sees as much before it as fits."""
    from submodels.evaluation.engine import run

    item, size = TEXT[-1], lm.max_length
    (line,) = run(lm, load_benchmark("tiny_text"), [item], seed=0)
    bos, *ids = lm.tokenizer(item["text"])["input_ids"]
    assert 2 * size < len(ids) < 3 * size
    wanted = _text_loglikelihood(lm.model, ids[:size], bos)
    wanted += _text_loglikelihood(lm.model, ids[size : 2 * size], ids[size - 1])
    last = len(ids) - 2 * size  # predicted in the last window
    window = ids[-size - 1 :]
    wanted += _text_loglikelihood(lm.model, window[1:], window[0])
    wanted -= _text_loglikelihood(lm.model, window[1:-last], window[0])
    assert line["loglikelihood"] == pytest.approx(wanted, abs=1e-2)
    assert line["tokens"] == len(ids)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_texts_score_as_with_lm_eval_itself(batch_size, lm, items):
    """Item by item against lm-eval's own model, told not to predict BOS; then its task against our score."""
    from lm_eval.api.instance import Instance
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from submodels.benchmarks.metrics import SCORERS
    from submodels.evaluation.engine import run
    from submodels.evaluation.hf_engine import EngineLM

    theirs = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, backend="causal", batch_size=4, add_bos_token=False)
    requests = [Instance("loglikelihood_rolling", item, (item["text"],), n) for n, item in enumerate(TEXT)]
    benchmark = load_benchmark("tiny_text")
    lines = run(EngineLM(lm.model, lm.tokenizer, batch_size), benchmark, TEXT, seed=0)
    wanted = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert [line["loglikelihood"] for line in lines] == pytest.approx(wanted, rel=1e-5)

    task = benchmark.task | {"dataset_kwargs": {"data_files": {"test": str(items["tiny_text"])}}}
    found = evaluate(theirs, TaskManager(include_defaults=False).load([task]), bootstrap_iters=0)["results"][
        "tiny_text"
    ]
    scores = SCORERS["perplexity"].score(TEXT, {line["task_id"]: [line] for line in lines}, "none")
    columns, statistic = scores.statistics["bits_per_byte"]
    assert statistic([np.mean(columns, axis=0)]) == pytest.approx(found["bits_per_byte,none"], rel=1e-5)


def test_a_tokenizer_without_bos_begins_after_the_end_token(lm):
    """As lm-eval does it: every token of the text is predicted, the first after the end of another text."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from submodels.evaluation.engine import run
    from submodels.evaluation.hf_engine import EngineLM

    backend = Tokenizer.from_str(lm.tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="<eos>")
    (line,) = run(EngineLM(lm.model, plain, 4), load_benchmark("tiny_text"), TEXT[:1], seed=0)
    ids = plain(TEXT[0]["text"])["input_ids"]
    assert ids == lm.tokenizer(TEXT[0]["text"])["input_ids"][1:]
    assert line["loglikelihood"] == pytest.approx(_text_loglikelihood(lm.model, ids, plain.eos_token_id), abs=1e-3)
    theirs = HFLM(pretrained=lm.model, tokenizer=plain, backend="causal", batch_size=4)
    request = Instance("loglikelihood_rolling", TEXT[0], (TEXT[0]["text"],), 0)
    assert theirs.loglikelihood_rolling([request], disable_tqdm=True) == pytest.approx([line["loglikelihood"]])


def test_greedy_text_is_that_of_single_forward_passes(lm):
    from submodels.evaluation.engine import run

    benchmark = with_generation("tiny_python", do_sample=True, temperature=1e-4, max_gen_toks=12)
    lines = run(lm, benchmark, CODE, seed=0)
    assert [(line["task_id"], line["sample"]) for line in lines] == [(i["task_id"], n) for i in CODE for n in range(10)]
    for item in CODE:
        wanted = lm.tokenizer.decode(_greedy(lm, item["prompt"], 12))
        found = {line["completion"] for line in lines if line["task_id"] == item["task_id"]}
        assert found == {wanted}


def test_ten_different_samples_that_depend_on_the_seed_alone(lm):
    from submodels.evaluation.engine import run

    benchmark = with_generation("tiny_python", max_gen_toks=12, temperature=1.5)
    state = torch.get_rng_state()
    first, again, other = (run(lm, benchmark, CODE, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({line["completion"] for line in first if line["task_id"] == "python/0"}) > 1
    assert torch.equal(torch.get_rng_state(), state)


def test_each_row_stops_at_its_own_stop_string(lm):
    from submodels.evaluation.engine import Ending, run

    benchmark = load_benchmark("tiny_math")
    (free,) = run(lm, benchmark, MATH, seed=0)
    text = free["completion"]
    stop = text[5:8]
    (stopped,) = run(lm, with_generation("tiny_math", until=[stop, "never"]), MATH, seed=0)
    assert stopped["completion"] == text[: text.index(stop)]

    ending = Ending(lm.tokenizer, {1}, ["\n", "d#"])
    for text in ("abcdefgh", "a\nbcdefg", "abcd#xyz"):
        ids = lm.tokenizer.encode(text, add_special_tokens=False)
        for length in range(1, len(ids) + 1):
            seen = lm.tokenizer.decode(ids[:length])
            if "\n" in seen or "d#" in seen:
                assert ending.reached(ids[:length])
                break
            assert not ending.reached(ids[:length])
        assert (length < len(ids)) == (text != "abcdefgh")
    assert ending.reached([5, 1])
    assert ending.text([5], [6, 1]) == lm.tokenizer.decode([6])
    whole = lm.tokenizer.encode("ab}", add_special_tokens=False)
    assert ending.completed(whole, lambda text: text == "ab}")
    assert not ending.completed(whole, lambda text: False)
    assert not ending.completed(whole[:-1], lambda text: True), "in the middle of a word"


@pytest.mark.parametrize("token", [0, 1], ids=["BOS", "end token"])
def test_rows_end_at_the_end_token_or_where_another_text_begins(lm, token):
    """A bias that makes the token likely: rows of one batch end at different steps and are dropped on the way."""
    from submodels.evaluation.engine import run

    benchmark = with_generation("tiny_python", max_gen_toks=40, temperature=1.0)
    bias = torch.zeros(lm.model.config.vocab_size)
    bias[token] = 3.0
    lm.model.lm_head.bias = torch.nn.Parameter(bias)
    try:
        texts = [line["completion"] for line in run(lm, benchmark, CODE, seed=0)]
    finally:
        lm.model.lm_head.bias = None
    lengths = [len(lm.tokenizer.encode(text)) for text in texts]
    assert min(lengths) < 10 < max(lengths)
    assert not any("<eos>" in text or "<bos>" in text for text in texts)


ARCHITECTURES = {
    "llama": (LlamaConfig, {}),
    "mistral with a sliding window": (MistralConfig, {"sliding_window": 6}),
    "gemma": (GemmaConfig, {"head_dim": 16}),
    "gemma 2, every other block with a sliding window": (Gemma2Config, {"head_dim": 16, "sliding_window": 6}),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batches_of_every_architecture_say_what_single_forward_passes_say(name, lm):
    """Greedy texts of prompts of different lengths, in batches of mixed prompts, against the definition."""
    from submodels.evaluation.engine import run
    from submodels.evaluation.hf_engine import EngineLM

    config_class, extra = ARCHITECTURES[name]
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = config_class(
        vocab_size=len(lm.tokenizer), **shape, num_key_value_heads=2, initializer_range=0.3, eos_token_id=1, **extra
    )
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    items = [MATH[0] | {"task_id": f"m/{n}", "question": "apples and pens? " * n} for n in (1, 3, 2)]
    for batch_size in (1, 2, 8):
        engine = EngineLM(model, lm.tokenizer, batch_size)
        lines = run(engine, with_generation("tiny_math", max_gen_toks=12), items, seed=0)
        for item, line in zip(items, lines, strict=True):
            prompt = f"Question: {item['question']}\nAnswer:"
            assert line["completion"] == lm.tokenizer.decode(_greedy(engine, prompt, 12))


def test_draws_follow_the_probabilities():
    from submodels.evaluation.drawing import draw, uniform_numbers

    probabilities = torch.tensor([0.05, 0.5, 0.15, 0.3])
    logits = probabilities.log().expand(20000, 4)

    uniform = uniform_numbers(0, 20000)

    def shares(**settings):
        tokens = draw(logits, uniform, **settings)
        return (tokens.bincount(minlength=4) / len(tokens)).tolist()

    assert shares() == pytest.approx(probabilities.tolist(), abs=0.015)
    assert shares(top_p=0.7) == pytest.approx([0, 5 / 8, 0, 3 / 8], abs=0.015)  # 0.5 + 0.3 is the first to reach 0.7
    assert shares(top_p=0.95) == pytest.approx([0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95], abs=0.015)
    assert shares(top_k=1) == [0, 1, 0, 0]
    assert shares(top_k=2) == pytest.approx([0, 5 / 8, 0, 3 / 8], abs=0.015)
    assert shares(top_k=3, top_p=0.8) == pytest.approx([0, 5 / 8, 0, 3 / 8], abs=0.015)  # 0.5 + 0.3 of 0.95
    assert shares(top_p=1e-6) == [0, 1, 0, 0]
    squares = probabilities**2 / (probabilities**2).sum()
    assert shares(temperature=0.5) == pytest.approx(squares.tolist(), abs=0.015)
    assert draw(logits[:2]).tolist() == [1, 1]


def test_a_draw_takes_the_token_in_whose_share_the_number_falls():
    from submodels.evaluation.drawing import draw

    logits = torch.tensor([0.05, 0.5, 0.15, 0.3, 0.0]).log().expand(6, 5)
    numbers = torch.tensor([0.0, 0.49, 0.51, 0.81, 0.96, 1 - 2**-53], dtype=torch.float64)
    wanted = [0, 1, 1, 3, 3, 3]
    assert draw(logits, numbers).tolist() == wanted, "the shares lie side by side, in the order of the vocabulary"
    assert draw(logits, numbers, top_p=0.7).tolist() == [1, 1, 1, 3, 3, 3]
    assert draw(logits, numbers, top_k=3).tolist() == [1, 1, 1, 3, 3, 3], "0.5 of 0.95 is 0.526"
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    assert draw(logits, numbers[order]).tolist() == [wanted[i] for i in order]


def test_of_equally_likely_tokens_the_first_are_kept():
    from submodels.evaluation.drawing import draw

    number = torch.tensor([0.99], dtype=torch.float64)
    assert draw(torch.zeros(1, 8), number, top_k=3).tolist() == [2]
    assert draw(torch.zeros(1, 8), number, top_p=0.5).tolist() == [3]
    assert draw(torch.zeros(1, 8), number).tolist() == [7]
    assert draw(torch.tensor([[0.0, 0.0, -torch.inf]]), 1 - torch.tensor([2.0**-53]).double()).tolist() == [1]


@example(vocabulary=77, scale=10.0, top_k=300, top_p=1.0, dtype=torch.float32, seed=74)  # more than there are
@settings(max_examples=60, deadline=None)
@given(
    vocabulary=st.integers(1, 700),
    scale=st.sampled_from([0.0, 0.01, 1.0, 10.0]),
    top_k=st.sampled_from([0, 1, 40, 300]),
    top_p=st.sampled_from([0.3, 0.95, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 1000),
)
def test_the_likeliest_tokens_alone_decide_as_all_of_them_do(vocabulary, scale, top_k, top_p, dtype, seed):
    """Against the definition: a stable sort of the whole vocabulary."""
    from submodels.evaluation.drawing import draw

    torch.manual_seed(seed)
    logits, numbers = (torch.randn(4, vocabulary) * scale).to(dtype), torch.rand(4, dtype=torch.float64)
    for row, number, token in zip(
        logits.float(), numbers, draw(logits, numbers, top_k=top_k, top_p=top_p), strict=True
    ):
        order = sorted(range(vocabulary), key=lambda n, row=row: (-row[n].item(), n))[: top_k or None]
        shares = row.softmax(-1).double()
        cumulative = shares[order].cumsum(0)
        kept = sorted(order[: int((cumulative < top_p * cumulative[-1]).sum()) + 1])
        passed = (shares[kept].cumsum(0) <= number * shares[kept].sum()).sum()
        assert token == kept[min(passed, len(kept) - 1)]


def test_the_first_space_of_an_answer_survives_a_sentencepiece_tokenizer(lm):
    from submodels.evaluation.engine import run
    from submodels.evaluation.hf_engine import EngineLM

    vocabulary = ["<unk>", "<s>", "</s>", "▁", "\n", *"abdefinrtux():"]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    space = vocabulary.index("▁")

    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.model.norm.weight.fill_(1)
    # a model that says a space after everything
    model.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(space), len(vocabulary)).float())
    benchmark = with_generation("tiny_python", do_sample=True, temperature=1e-3, max_gen_toks=4)
    item = CODE[0] | {"prompt": "def f(x):\n"}
    lines = run(EngineLM(model, fast, 8), benchmark, [item], seed=0)
    assert {line["completion"] for line in lines} == {" " * 4}


def test_a_killed_run_continues_and_only_stale_benchmarks_rerun(model_dir, items, tmp_path, monkeypatch):
    out = tmp_path / "out"
    ran = []
    real = stage._run
    monkeypatch.setattr(stage, "_run", lambda lm, task, *rest: (ran.append(task.name), real(lm, task, *rest)))

    def go(names=("tiny_csr", "tiny_math"), **options):
        ran.clear()
        settings = {"batch_size": 8, "limit": 2} | options
        generate(model_dir, None, {name: items[name] for name in names}, out, **settings)
        return ran[:]

    assert go() == ["tiny_csr", "tiny_math"]
    assert [row["task_id"] for row in files.read_jsonl(out / "tiny_csr.jsonl.gz")] == ["csr/0", "csr/1"]
    done = files.read_json(out / "done.json")["benchmarks"]
    assert sorted(done) == ["tiny_csr", "tiny_math"]
    first = (out / "tiny_csr.jsonl.gz").read_bytes()
    assert go() == []
    assert go(batch_size=1) == []
    assert go(("tiny_csr", "tiny_math", "tiny_python")) == ["tiny_python"]
    assert go(limit=3) == ["tiny_csr"]  # tiny_math has no more items
    assert go(seed=1, limit=3) == ["tiny_csr", "tiny_math"]
    assert go() == ["tiny_csr", "tiny_math"]
    assert (out / "tiny_csr.jsonl.gz").read_bytes() == first
    (out / "tiny_csr.manifest.json").unlink()
    assert go() == ["tiny_csr"]
    (out / "tiny_math.jsonl.gz").write_bytes(b"broken")
    assert go() == ["tiny_math"]
    files.write_jsonl(items["tiny_math"], [MATH[0] | {"question": "Another?"}])
    assert go() == ["tiny_math"]
    monkeypatch.setattr(stage.versions, "GENERATE", 999)
    assert go() == ["tiny_csr", "tiny_math"]


def test_greedy_says_what_a_greedy_task_file_says(model_dir, items, tmp_path):
    """Byte for byte, in place of a copy of the task file; other benchmarks keep their samples."""
    task = load_benchmark("tiny_python").task | {"task": "copy", "repeats": 1}
    task["generation_kwargs"] = {"until": [], "max_gen_toks": 48, "do_sample": False}
    (tmp_path / "copy.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    out, copy = tmp_path / "out", {str(tmp_path / "copy.yaml"): items["tiny_python"]}
    names = {name: items[name] for name in ("tiny_python", "tiny_csr", "tiny_math")}
    generate(model_dir, None, names, out)
    before = {name: (out / f"{name}.manifest.json").read_bytes() for name in names}
    drawn = files.read_jsonl(out / "tiny_python.jsonl.gz")
    generate(model_dir, None, copy, tmp_path / "copied")
    generate(model_dir, None, names, out, sampling="greedy")
    assert (out / "tiny_python.jsonl.gz").read_bytes() == (tmp_path / "copied/copy.jsonl.gz").read_bytes()
    assert len(files.read_jsonl(out / "tiny_python.jsonl.gz")) == len(CODE)
    for name in ("tiny_csr", "tiny_math"):
        assert (out / f"{name}.manifest.json").read_bytes() == before[name]
    generate(model_dir, None, names, out, sampling=3)
    assert files.read_jsonl(out / "tiny_python.jsonl.gz") == [line for line in drawn if line["sample"] < 3]


def test_the_stage_writes_texts_like_other_benchmarks(model_dir, items, tmp_path):
    generate(model_dir, None, {"tiny_text": items["tiny_text"]}, tmp_path, limit=2, seed=0)
    first = files.read_jsonl(tmp_path / "tiny_text.jsonl.gz")
    assert [line["task_id"] for line in first] == ["text/0", "text/1"]
    generate(model_dir, None, {"tiny_text": items["tiny_text"]}, tmp_path, limit=2, seed=1)
    assert files.read_jsonl(tmp_path / "tiny_text.jsonl.gz") == first, "nothing is drawn"


def test_another_mask_makes_samples_stale(model_dir, items, tmp_path):
    from masks_support import write_masks

    from submodels.checkpoints.base import fingerprint_base
    from submodels.checkpoints.masks import pack

    name = "model.layers.0.mlp.down_proj.weight"

    def run(kept: bool) -> list[dict]:
        header = {"method": "wanda", "sparsity": "0.50", "seed": 0, "calibration": None}
        packed = {name: pack(np.full((32, 64), kept))}
        write_masks(tmp_path / "sub", packed, {name: (32, 64)}, base=fingerprint_base(model_dir), **header)
        generate(model_dir, tmp_path / "sub", {"tiny_csr": items["tiny_csr"]}, tmp_path / "out")
        return files.read_jsonl(tmp_path / "out/tiny_csr.jsonl.gz")

    generate(model_dir, None, {"tiny_csr": items["tiny_csr"]}, tmp_path / "dense")
    assert run(kept=True) == files.read_jsonl(tmp_path / "dense/tiny_csr.jsonl.gz")
    assert run(kept=False) != run(kept=True)


def test_the_manifest_leads_back_to_what_was_used(model_dir, items, tmp_path):
    generate(model_dir, None, {"tiny_csr": items["tiny_csr"]}, tmp_path / "out")
    manifest = files.read_json(tmp_path / "out/tiny_csr.manifest.json")
    assert manifest["inputs"]["items"]["sha256"] == files.sha256_file(items["tiny_csr"])
    assert manifest["parameters"]["task"] == load_benchmark("tiny_csr").task
    assert manifest["results"]["bos"] is True
    assert manifest["results"]["samples"] == 3
    assert not math.isnan(files.read_jsonl(tmp_path / "out/tiny_csr.jsonl.gz")[0]["loglikelihoods"][0])


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_another_tokenizer_or_end_token_makes_samples_stale(name, model_dir, items, tmp_path):
    model = shutil.copytree(model_dir, tmp_path / "model")

    def fingerprint() -> str:
        generate(model, None, {"tiny_csr": items["tiny_csr"]}, tmp_path / "out", limit=1)
        return files.read_json(tmp_path / "out/tiny_csr.manifest.json")["fingerprint"]

    before = fingerprint()
    assert fingerprint() == before
    files.write_text(model / name, (model / name).read_text() + "\n")
    assert fingerprint() != before


@pytest.mark.parametrize("threads", [None, 1])
def test_threads_are_set_only_when_given(threads, model_dir, items, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    generate(model_dir, None, {"tiny_csr": items["tiny_csr"]}, tmp_path, limit=1, threads=threads)
    assert given == ([] if threads is None else [threads])
    manifest = files.read_json(tmp_path / "tiny_csr.manifest.json")
    assert manifest["results"]["threads"] == torch.get_num_threads()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "unknown dtype 'int8'; known: auto, bfloat16, float16, float32"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not usable here"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"sampling": 0}, "samples must be `greedy` or a number of at least 1"),
        ({"batch_size": "many"}, "batch size must be at least 1 or auto"),
        ({"batch_size": 0}, "batch size must be at least 1 or auto"),
        ({"backend": "hff"}, "unknown backend 'hff'; known: hf, vllm"),
        ({"submodel": "nowhere"}, "nowhere/submodel.safetensors: no such file"),
        ({"benchmarks": {"tiny_csr": "nowhere.jsonl"}}, "nowhere.jsonl: no such file"),
        ({"benchmarks": {"tiny": "x"}}, "unknown benchmark 'tiny'; known: "),
    ],
)
def test_bad_input_is_one_clear_error(model_dir, items, tmp_path, options, message):
    arguments = {"submodel": None, "benchmarks": {"tiny_csr": items["tiny_csr"]}} | options
    with pytest.raises(SubmodelsError, match=message):
        generate(model_dir, out=tmp_path, **arguments)


def test_programs_that_could_not_be_run_are_not_written(model_dir, tmp_path):
    files.write_jsonl(tmp_path / "items.jsonl", [CODE[0] | {"test": "assert add_0(1) == 1"}])
    with pytest.raises(SubmodelsError, match=r"items\.jsonl, row 1 \(python/0\): .* must define `check\(candidate\)`"):
        generate(model_dir, None, {"tiny_python": tmp_path / "items.jsonl"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sub_model_that_saw_no_rows_has_seen_no_items(model_dir, tmp_path):
    """Without --draw nobody looks for items in the rows of a sub-model that saw some."""
    items = tmp_path / "csr.jsonl"
    files.write_jsonl(items, CSR)
    windows = tiny_models.save_windows(tmp_path / "windows.safetensors", tiny_models.draw_windows())
    for method, calibrated in (("magnitude", None), ("wanda", windows)):
        prune(model_dir, calibrated, method, "0.50", tmp_path / method)
        generate(model_dir, tmp_path / method, {"tiny_csr": items}, tmp_path / "out" / method, threads=1)
    found = files.read_json(tmp_path / "out/magnitude/contamination.json")
    assert found["draws"] == {}
    assert found["benchmarks"]["tiny_csr"]["seen"] == []
    assert not (tmp_path / "out/wanda/contamination.json").exists()
