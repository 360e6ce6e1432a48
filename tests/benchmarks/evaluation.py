"""Seconds of evaluating one model: this project's engine beside lm-eval's HFLM and the least that the machine allows.

Run it with `python tests/benchmarks/evaluation.py`; README.md, next to this file, says what is measured. The model has
the shape of SmolLM2-135M and random weights, all in float32 on the CPU. Every measurement is a process of its own.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY, CONTEXT = 49_152, 2048
ROWS = {"greedy": 16, "ten samples": 32}  # texts written at once: the bar's, and the engine's own choice on a CPU
BEFORE = 16  # the batch size of a checkout with another engine, and of texts that are scored
LONGEST = 320  # new tokens
SAMPLES = 10
HFLM_BATCHES = (1, 16, 64)
# A row whose last token is k writes k - 1 next: its prompt's last token says how long its answer becomes. 0 ends it.
END = 0


class Counting(LlamaForCausalLM):
    """A model that pays for every logit and then counts down."""

    def forward(self, input_ids=None, **given):
        output = super().forward(input_ids=input_ids, **given)
        kept = input_ids[:, -output.logits.shape[1] :]
        output.logits.scatter_(-1, (kept - 1).clamp(min=END)[..., None], 1e4)
        return output


def make_model(counts: bool, small: bool):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=2 if small else 30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        eos_token_id=END,
    )
    return (Counting if counts else LlamaForCausalLM)(config).eval()


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(VOCABULARY)}, unk_token="w1"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=f"w{END}", pad_token=f"w{END}")


def text(dice: random.Random, length: int) -> str:
    return " ".join(f"w{dice.randrange(LONGEST + 1, VOCABULARY)}" for _ in range(length))


def prompts(count: int, small: bool) -> list[str]:
    """100 to 300 tokens; most answers are short and a few run on to the limit, as HumanEval's do."""
    dice = random.Random(0)
    answers = [min(LONGEST, 10 + int(dice.expovariate(1 / 60))) for _ in range(count)]
    answers[::16] = [LONGEST] * len(answers[::16])
    return [f"{text(dice, dice.randint(99, 299))} w{length // (10 if small else 1)}" for length in answers]


def choices(count: int, query: tuple[int, int], choice: tuple[int, int]) -> list[dict]:
    dice = random.Random(0)
    return [
        {
            "task_id": f"c/{n}",
            "query": text(dice, dice.randint(*query)),
            "choices": [text(dice, dice.randint(*choice)) for _ in range(4)],
            "gold": 0,
        }
        for n in range(count)
    ]


# Workload -> (benchmark of this project that asks in this way, its items, samples of each). Lengths are SmolLM2's
# tokens of the real items.
WORKLOADS: dict[str, Callable[[bool], tuple[str, list[dict], int]]] = {
    "greedy": lambda small: ("tiny_python", code(prompts(6 if small else 96, small)), 1),
    "ten samples": lambda small: ("tiny_python", code(prompts(2 if small else 10, small)), SAMPLES),
    "HellaSwag": lambda small: ("tiny_csr", choices(4 if small else 100, (30, 110), (10, 40)), 1),
    "ARC-easy": lambda small: ("tiny_csr", choices(4 if small else 200, (15, 50), (2, 10)), 1),
    "perplexity": lambda small: ("tiny_text", articles(1 if small else 8, small), 1),
}
WRITTEN = ("greedy", "ten samples")


def code(texts: list[str]) -> list[dict]:
    rest = {"canonical_solution": "", "test": "", "entry_point": ""}
    return [{"task_id": f"p/{n}", "prompt": prompt} | rest for n, prompt in enumerate(texts)]


def articles(count: int, small: bool) -> list[dict]:
    dice = random.Random(0)
    lengths = [dice.randint(200, 300) if small else dice.randint(1500, 6000) for _ in range(count)]
    return [{"task_id": f"t/{n}", "domain": "csr", "text": text(dice, length)} for n, length in enumerate(lengths)]


def settings(samples: int) -> dict:
    drawn = {"do_sample": True, "temperature": 0.8, "top_p": 0.95} if samples > 1 else {"do_sample": False}
    return {"until": [], "max_gen_toks": LONGEST} | drawn


def by_submodels(workload: str, batch_size: int, small: bool) -> None:
    from submodels.evaluation import engine

    try:
        from submodels.benchmarks.registry import Benchmark, load_benchmark
        from submodels.evaluation import decoding
        from submodels.evaluation.hf_engine import EngineLM

        decoding.read_prompts = counting(decoding.read_prompts)
    except ImportError:  # an older checkout
        from submodels.evaluation.benchmarks import Benchmark, load_benchmark

        from submodels.evaluation.engine import EngineLM
    name, items, samples = WORKLOADS[workload](small)
    benchmark = load_benchmark(name)
    if workload in WRITTEN:
        benchmark = Benchmark(benchmark.task | {"generation_kwargs": settings(samples), "repeats": samples})
    lm = EngineLM(make_model(workload in WRITTEN, small), make_tokenizer(), batch_size)
    started = time.perf_counter()
    lines = engine.run(lm, benchmark, items, 0)
    report(time.perf_counter() - started, sum(line.get("tokens", 1) for line in lines))


def counting(read: Callable) -> Callable:
    """`read_prompts` with logits that count down, for it computes them without `Counting.forward`."""

    def wrapped(decoder, prompts, *rest):
        found = read(decoder, prompts, *rest)
        for prompt, after in zip(prompts, found, strict=True):
            after.logits[prompt[-1] - 1] = 2e4  # `Counting` saw no token and wrote END
        return found

    return wrapped


def by_hflm(workload: str, batch_size: int, small: bool) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    _, items, samples = WORKLOADS[workload](small)
    model, tokenizer = make_model(workload in WRITTEN, small), make_tokenizer()
    lm = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size, max_length=CONTEXT)
    kind, arguments = "loglikelihood_rolling", [(item["text"],) for item in items if "text" in item]
    if workload in WRITTEN:
        kind = "generate_until"
        arguments = [(item["prompt"], settings(samples) | {"until": [f"w{END}"]}) for item in items] * samples
    elif not arguments:
        kind = "loglikelihood"
        arguments = [(item["query"], f" {choice}") for item in items for choice in item["choices"]]
    requests = [Instance(kind, {}, argument, number) for number, argument in enumerate(arguments)]
    started = time.perf_counter()
    answers = getattr(lm, kind)(requests, disable_tqdm=True)
    seconds = time.perf_counter() - started
    written = [len(answer.split()) + 1 for answer in answers] if workload in WRITTEN else answers
    report(seconds, sum(written) if workload in WRITTEN else len(written))


def report(seconds: float, answers: int) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": seconds, "answers": answers, "memory": memory}))


def machine(seconds: float) -> tuple[float, float]:
    """FLOP/s of a large product, and bytes/s that are read: medians over so long, for a burst is faster."""
    matrices = [torch.randn(4864, 896) for _ in range(24)]
    rows = torch.randn(1024, 896)

    def median(work: Callable) -> float:
        times, ends = [], time.perf_counter() + seconds
        while time.perf_counter() < ends:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    size = len(matrices) * matrices[0].numel()
    product = median(lambda: [torch.nn.functional.linear(rows, matrix) for matrix in matrices[:6]])
    return 2 * 1024 * size / 4 / product, 4 * size / median(lambda: [matrix.sum() for matrix in matrices])


def needed(workload: str, small: bool) -> tuple[float, float, float]:
    """The least work: operations for prompts, texts and choices, then operations and bytes of steps with full rows."""
    with torch.device("meta"):
        model = make_model(False, small)
    head = VOCABULARY * model.config.hidden_size
    body = sum(p.numel() for p in model.parameters()) - head
    keys = 2 * model.config.num_hidden_layers * 3 * 64  # numbers of the keys and values of a token
    _, items, samples = WORKLOADS[workload](small)

    def count(texts: list[str]) -> int:
        return sum(len(text.split()) for text in texts)

    if workload not in WRITTEN:
        scored = [text for item in items for text in item.get("choices", [item.get("text")])]
        queries = [item.get("query", "") for item in items]
        return 2 * body * count(queries + scored) + 2 * head * count(scored), 0.0, 0.0
    prompts = [item["prompt"] for item in items]
    lengths = [(count([prompt]), int(prompt.split()[-1][1:])) for prompt in prompts]
    written = samples * sum(answer for _, answer in lengths)
    cache = samples * sum(answer * (prompt + answer / 2) for prompt, answer in lengths) * keys
    steps = written / ROWS[workload]
    return 2 * body * count(prompts), 2 * (body + head) * written, 4 * (steps * (body + head) + cache)


def start(part: str, workload: str, batch_size: int, options: argparse.Namespace) -> dict:
    package = options.beside if part == "before" else ROOT
    environment = os.environ | {"PYTHONPATH": str(Path(package) / "workflow"), "TQDM_DISABLE": "1"}
    command = [sys.executable, __file__, "--run", part, workload, str(batch_size)]
    done = subprocess.run(
        command + ["--small"] * options.small, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="all parts take turns so often; medians are shown")
    parser.add_argument("--beside", type=Path, help="a checkout of this project with another engine, shown as `before`")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    parser.add_argument("--hflm", nargs="+", type=int, default=HFLM_BATCHES, help="batch sizes of HFLM")
    parser.add_argument("--small", action="store_true", help="a few short texts: shows that it runs, measures nothing")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        part, workload, batch_size = options.run
        {"hflm": by_hflm}.get(part, by_submodels)(workload, int(batch_size), options.small)
        return
    others = HFLM_BATCHES[:1] if options.small else options.hflm
    compared = [*([("before", BEFORE)] * bool(options.beside)), *(("hflm", size) for size in others)]
    flops, bandwidth = machine(0.5 if options.small else 10)
    print(f"{flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s read")
    heads = f"{'workload':<13}{'part':<14}{'seconds':>9}{'x floor':>9}{'ratio':>7}{'GFLOP/s':>9}{'GB/s':>6}"
    print(f"{heads}{'MB':>7}{'answers':>9}")
    for workload in options.workloads:
        reading, steps, moved = needed(workload, options.small)
        least, operations = reading / flops + max(steps / flops, moved / bandwidth), reading + steps
        parts = [("submodels", ROWS.get(workload, BEFORE)), *compared]
        rounds = [[start(part, workload, size, options) for part, size in parts] for _ in range(options.rounds)]
        ours = statistics.median(results[0]["seconds"] for results in rounds)
        for place, (part, size) in enumerate(parts):
            results = [each[place] for each in rounds]
            seconds = statistics.median(result["seconds"] for result in results)
            memory = max(result["memory"] for result in results)
            name = f"{part}, {size}" if part == "hflm" else part
            print(
                f"{workload:<13}{name:<14}{seconds:>9.1f}{seconds / least:>9.2f}{seconds / ours:>7.2f}"
                f"{operations / seconds / 1e9:>9.1f}{moved / seconds / 1e9:>6.1f}{memory:>7}"
                f"{results[0]['answers']:>9}"
            )


if __name__ == "__main__":
    main()
