"""Costs by hand, on round figures, and what must hold of them whatever the figures."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_model

from submodels.model_shape import ModelShape, read_shape
from submodels.planning import costs
from submodels.planning.costs import Asked
from submodels.planning.hardware import Hardware, rate_of, read_hardware
from submodels.pruning import memory, patterns
from submodels.pruning.blocks import BlockStream
from submodels.pruning.methods import METHODS
from submodels.pruning.windows import Windows

MACHINE = {
    "flops": {"float32": 1000.0, "bfloat16": 2000.0, "float16": 2000.0},
    "bandwidth": 500.0,
    "thin": 0.5,
    "block_seconds": 0.0,
    "sorted": 100.0,
    "columns": 10.0,
    "relaxed": 1000.0,
    "start": 0.0,
    "memory": 1e6,
    "host_memory": 0.0,
}
SHAPE = ModelShape(parameters=1000, prunable=800, blocks=2, hidden=10, intermediate=20, vocabulary=10, dtype="float32")


def figures(**changes) -> Hardware:
    """Round figures: the CPU of MACHINE, a GPU twice as fast with a start of 3 s, no overheads."""
    found = read_hardware().model_dump()
    gpu = MACHINE | {"name": "GPU", "flops": {key: 2 * value for key, value in MACHINE["flops"].items()}, "start": 3.0}
    found |= {"cpu": MACHINE | {"name": "core"}, "gpu": gpu, "network": 50.0, "disk": {"read": 400.0}}
    found["process"] = {"light_start": 1.0, "torch_start": 5.0, "light_memory": 10.0, "torch_memory": 100.0}
    found["evaluation"] |= {
        "token_seconds": 0.0, "request_seconds": 0.0, "chosen": 0.5, "choices": 4.0, "hanging": 0.1,
        "sandbox_memory": 7.0, "programs": {"python": 4.0, "java": 2.0}, "scored": {"accuracy": 10.0},
        "resampled": 100.0, "vllm_speed": 4.0,
    }  # fmt: skip
    found["analysis"] |= {"compared": 100.0, "tokenised": 64.0}
    found["files"] |= {
        "token_bytes": 4, "line_bytes": 10, "compression": 2, "piece_bytes": 2.9, "manifest_bytes": 1, "matrices": 7,
        "parameter_bytes": 2, "pair_bytes": 3, "item_score_bytes": 5, "score_bytes": 6,
    }  # fmt: skip
    return Hardware.model_validate(found | changes)


HARDWARE = figures()


def prune(**changes):
    given = {
        "windows": 4, "seqlen": 10, "filled": 1, "batch_size": 2, "kept": 0.5, "solves": False, "values": False,
        "dtype": "float32", "device": "cpu", "offload": False, "threads": 1,
    }  # fmt: skip
    return costs.prune(SHAPE, **given | changes, hardware=HARDWARE)


def answer(asked, **changes):
    given = {"batch_size": 2, "dtype": "float32", "device": "cpu", "backend": "hf", "threads": 1}
    return costs.answer(SHAPE, asked, **given | changes, hardware=HARDWARE)


def test_a_mask_by_hand():
    """One bit a weight; a manifest; two bytes for each of 7 matrices in 2 blocks; kept values if they change."""
    assert costs.mask_bytes(SHAPE, 0.5, values=False, hardware=HARDWARE) == 100 + 1 + 28
    assert costs.mask_bytes(SHAPE, 0.5, values=True, hardware=HARDWARE) == 100 + 1 + 28 + 0.5 * 800 * 4


def test_pruning_by_hand():
    """Two passes of 40 tokens: each 2 x 800 weights and 4 x 10 (length) x 10 (hidden) x 2 (blocks) of attention."""
    found = prune()
    forward = 40 * (2 * 800 + 4 * 10 * 10 * 2) / 1000
    assert found.start == 5
    assert found.work == pytest.approx(2 * forward + 4000 / 400 + 800 / 100)
    assert found.plain == 4030
    assert (found.device_memory, found.temporary) == (0, 0)
    assert prune(threads=2).work == pytest.approx(forward + 4000 / 400 + 800 / 200)
    assert prune(windows=0).work == pytest.approx(4000 / 400 + 800 / 100)
    assert prune(filled=0.5).work == pytest.approx(2 * 20 * (2 * 800 + 4 * 5 * 10 * 2) / 1000 + 10 + 8)


def test_sparsegpt_by_hand():
    """Gram matrices and inverses of six inputs of 10 and one of 20 in each block, and a walk over these 80 columns."""
    grams = sum(2 * 40 * columns**2 + 2 * columns**3 for columns in [10] * 6 + [20])
    more = (2 * grams + 2 * 800 * 10) / 1000 + 2 * 80 / 10
    assert prune(solves=True).work - prune().work == pytest.approx(more)


def whole(**changes):
    given = {
        "tokens": 80, "length": 10, "padded": 20, "windows": 2, "state": 8.0, "saved": 6.0, "held": 4.0, "logits": 0,
        "dtype": "float32", "device": "cpu", "threads": 1,
    }  # fmt: skip
    return costs.prune_whole(SHAPE, prune(), **given | changes, hardware=HARDWARE)


def test_gradients_by_hand():
    """Four times the blocks' 800 weights and attention, three times the head's 100; a state of 8 bytes a weight."""
    more = 80 * (2 * (4 * 800 + 3 * 100) + 4 * 4 * 10 * 10 * 2) / 1000
    assert whole().work - prune().work == pytest.approx(more)
    assert whole(threads=2).work - prune().work == pytest.approx(more / 2)
    activations = 2 * 40 * (12 * 10 + 5 * 20) * 4 + 2 * 40 * 10 * 4 + 3 * 4 * 40 * 10  # of two padded windows
    assert whole().memory == 100 + 1000 * 4 + 800 * 8 + 8 * 200 + activations
    assert whole().temporary == 2 * 4800
    assert whole(held=1000.0).memory == prune().memory + 1000 * 800
    learned = whole(logits=1.5)  # four steps, each with 1.5 logits for every weight
    assert learned.work - whole().work == pytest.approx(4 * 1.5 * 800 / 1000)
    gpu = whole(device="cuda")
    assert gpu.device_memory == whole().memory - 100
    assert gpu.memory == max(prune().memory, 100 + 4800)


@pytest.mark.parametrize(("method", "sparsity"), [("dpruner", "0.50"), ("maskllm", "2of4")])
def test_gradients_need_what_the_stage_itself_says(method, sparsity, tmp_path, capsys):
    save_model(tmp_path, hidden_size=64, intermediate_size=176)
    shape, stream = read_shape(tmp_path), BlockStream(tmp_path, dtype=torch.float32)
    needs = METHODS[method].gradients
    state = needs.state_bytes(patterns.parse(sparsity))
    memory.check_whole(stream, 16, needs, patterns.parse(sparsity), 0)
    said = float(re.search(r"about (\S+) GB", capsys.readouterr().out)[1]) * 1e9
    planned = costs.prune_whole(
        shape, prune(windows=0), tokens=96, length=16, padded=16, windows=needs.windows, state=state, saved=0,
        held=0, logits=0, dtype="float32", device="cpu", threads=1, hardware=HARDWARE,
    )  # fmt: skip
    assert planned.memory - 100 == pytest.approx(said, rel=0.05)  # two digits are said


def test_memory_is_on_the_device_or_offloaded_to_the_host():
    cpu, gpu, offloaded = prune(), prune(device="cuda"), prune(device="cuda", offload=True)
    hidden = 4 * 10 * (10 * 4 + 10)
    assert gpu.start == 8
    assert gpu.device_memory == pytest.approx(cpu.memory - 100)
    assert gpu.memory == 100 + 2 * 400 * 4  # two blocks on their way
    assert offloaded.memory - gpu.memory == gpu.device_memory - offloaded.device_memory == hidden


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_pruning_agrees_with_what_the_stage_itself_estimates(method, stored, tmp_path):
    """The same fixed, batch and window terms; the stage alone knows norms and how long the windows really are."""
    save_model(tmp_path, hidden_size=64, intermediate_size=176, dtype=stored)
    shape, stream, chosen = read_shape(tmp_path), BlockStream(tmp_path, dtype=torch.float32), METHODS[method]
    windows = Windows(torch.ones(6, 16, dtype=torch.int64), torch.ones(6, 16, dtype=torch.bool))
    read = windows if chosen.needs_calibration else None
    (need,) = memory.estimate(stream, read, chosen.rule(), 4, offload=False)
    planned = costs.prune(
        shape, windows=6 if read else 0, seqlen=16, filled=1, batch_size=4, kept=0.5, solves=chosen.updates_weights,
        values=False, dtype="float32", device="cpu", offload=False, threads=1, hardware=HARDWARE,
    )  # fmt: skip
    assert planned.memory - 100 == pytest.approx(need.total(6 if read else 0, 4), rel=0.15)


def test_generating_by_hand():
    """3 items x 2 samples of 4 tokens, 2 at once, up to 5 new tokens: 12 full steps, and 5 until the last texts end.

    Prompts pass the 800 weights of the blocks, answers also the 10 x 10 of the head, at half the rate.
    """
    asked = Asked(items=3, samples=2, read=10, written=4, longest=5)
    reading = 30 * (2 * 800 + 4 * 10 * 10 * 2) / 1000
    writing = 24 * (2 * 900 + 4 * 15 * 10 * 2) / 500
    cache = 2 * 2 * 10 * 12 * 4
    moved = (17 * 3600 + 24 * cache) / 500
    assert answer(asked).work == pytest.approx(reading + writing + moved)
    drawing = 24 * 10 / 100  # tokens, and entries of the vocabulary sorted for each
    assert answer(replace(asked, draws=True)).work == pytest.approx(reading + writing + moved + drawing)
    grouped = SHAPE.model_copy(update={"keys": 2})
    assert costs.written_bytes(SHAPE, 15, 4) == 2 * 2 * 10 * 15 * 4 + 64 * 10
    assert costs.written_bytes(grouped, 15, 4) == 2 * 2 * 2 * 15 * 4 + 64 * 10
    assert answer(asked).device_memory == 2 * costs.written_bytes(SHAPE, 15, 4)
    assert answer(asked, device="cuda", backend="vllm").work == pytest.approx((reading / 2 + writing / 2 + moved) / 4)
    plain = 24 * 4 + 6 * 10
    assert answer(asked).product == plain / 2 + 1
    assert answer(asked).plain == plain + 1


def test_choices_are_only_read_and_meet_the_head_where_they_are_scored():
    asked = Asked(items=3, samples=1, read=10, written=0, longest=0, scored=0.5)
    assert answer(asked).work == pytest.approx((30 * (2 * 800 + 4 * 10 * 10 * 2) + 15 * 2 * 100) / 1000)
    assert answer(asked).product == 3 * 10 / 2 + 1


def test_memory_of_scoring_follows_the_texts_alone():
    """A block's work on 1,024 tokens, 32 MB of logits twice, and the longest text; on a GPU more at once."""
    working = 1024 * (12 * 10 + 5 * 20) * 4
    assert costs.scored_bytes(SHAPE, 50, 4, on_cpu=True) == working + 2 * 2**25 + 50 * (20 + 20) * 4
    many_words = SHAPE.model_copy(update={"vocabulary": 262_144})
    assert costs.scored_bytes(many_words, 50, 4, on_cpu=True) == costs.scored_bytes(SHAPE, 50, 4, on_cpu=True)
    assert costs.scored_bytes(SHAPE, 0, 2, on_cpu=False) == 4 * working + 2 * 2**28
    scored = Asked(items=3, samples=1, read=50, written=0, longest=0, scored=1)
    assert answer(scored, batch_size=64).device_memory == costs.scored_bytes(SHAPE, 50, 4, on_cpu=True)


def test_a_model_is_loaded_once_for_all_benchmarks():
    one = answer(Asked(3, 2, 10, 4, 5))
    given = {"dtype": "bfloat16", "device": "cpu", "backend": "hf", "masked": True, "hardware": HARDWARE}
    found = costs.generate(SHAPE, [one, one], **given)
    assert (found.start, found.work) == (5, pytest.approx(2 * one.work + 4030 / 400))
    assert found.memory == 100 + 2000 + one.device_memory + 10 * 10 * 2  # the head, packed
    assert (found.product, found.temporary) == (2 * one.product, one.temporary)
    scratch = costs.generate(SHAPE, [one], **given | {"backend": "vllm", "device": "cuda"})
    assert scratch.temporary - one.temporary == 4030
    assert scratch.memory == 100 + 2000


def test_the_light_stages_by_hand():
    asked = Asked(items=3, samples=2, read=10, written=4, longest=5)
    executed = costs.execute([(asked, "python"), (asked, "java")], timeout=20, memory=50, threads=2, hardware=HARDWARE)
    assert (executed.start, executed.work) == (1, 6 * (1 / 4 + 1 / 2 + 2 * 0.1 * 20) / 2)
    assert executed.memory == 10 + 7 + 2 * 50
    benchmarks = [(Asked(3, 2, 1, 1, 1), "accuracy", 2), (Asked(5, 1, 1, 1, 1), "accuracy", 1)]
    scored = costs.score(benchmarks, submodels=4, resamples=100, threads=2, hardware=HARDWARE)
    assert scored.work == pytest.approx(4 * (6 / 10 + 2 * 100 * 3 / 100 + 5 / 10 + 100 * 5 / 100) / 2)
    assert scored.product == 4 * (6 + 3 * 2 * 5 + 6 + 5 * 5)
    searched = costs.search(30, 20, HARDWARE)
    assert (searched.start, searched.work) == (0, 50 / HARDWARE.analysis.searched)
    assert searched.memory - costs.search(30, 10, HARDWARE).memory == 10 * costs.WORDS_MEMORY
    shared = costs.overlap(SHAPE, 3, 2, HARDWARE)
    assert shared.work == pytest.approx((3 / 100 + 3 / 400) * 100)
    assert shared.product == (3 + 2 * (2 + 7)) * 3
    drawn = costs.calibrate(4, 16, padded=True, hardware=HARDWARE)
    assert (drawn.work, drawn.product) == (1, 4 * 16 * 8 * 2 + 1)
    assert costs.fetch(100, hardware=HARDWARE).work == 2
    assert costs.export(SHAPE, HARDWARE).product == 4030
    trained = costs.train(SHAPE, 10, threads=1, hardware=HARDWARE)
    operations = HARDWARE.training.operations * 1000 * 10
    assert trained.work == pytest.approx(operations / (1000 * HARDWARE.training.efficiency))


SIZES = st.integers(1, 64)


@given(windows=SIZES, more=SIZES, seqlen=SIZES, solves=st.booleans(), device=st.sampled_from(["cpu", "cuda"]))
def test_pruning_grows_with_tokens(windows, more, seqlen, solves, device):
    less = prune(windows=windows, seqlen=seqlen, solves=solves, device=device)
    for further in ({"windows": windows + more, "seqlen": seqlen}, {"windows": windows, "seqlen": seqlen + more}):
        other = prune(**further, solves=solves, device=device)
        assert other.work > less.work
        assert other.memory + other.device_memory >= less.memory + less.device_memory
        assert other.product == less.product


@given(factor=st.integers(2, 50), device=st.sampled_from(["cpu", "cuda"]), items=SIZES, longest=st.integers(0, 64))
def test_everything_grows_with_the_model(factor, device, items, longest):
    sizes = SHAPE.model_dump()
    grown = {key: sizes[key] * factor for key in ("parameters", "prunable", "hidden", "intermediate", "vocabulary")}
    asked = Asked(items, 2, 10, min(longest, 4), longest)
    given = {"dtype": "float32", "device": device, "backend": "hf"}
    pruning = {
        "windows": 4, "seqlen": 10, "filled": 1, "batch_size": 2, "kept": 0.5, "solves": True, "values": True,
        "dtype": "float32", "device": device, "offload": False, "threads": 1,
    }  # fmt: skip

    def all_costs(shape):
        answered = costs.answer(shape, asked, **given, batch_size=2, threads=1, hardware=HARDWARE)
        return [
            costs.prune(shape, **pruning, hardware=HARDWARE),
            costs.generate(shape, [answered], **given, masked=True, hardware=HARDWARE),
            costs.export(shape, HARDWARE),
            costs.overlap(shape, 3, 3, HARDWARE),
        ]

    for small, large in zip(all_costs(SHAPE), all_costs(ModelShape(**sizes | grown)), strict=True):
        assert large.work > small.work
        assert large.memory + large.device_memory > small.memory + small.device_memory
        assert large.product >= small.product


@given(items=SIZES, samples=SIZES, written=SIZES, more=SIZES)
def test_answers_grow_with_items_samples_and_tokens(items, samples, written, more):
    asked = Asked(items, samples, 10, written, written)
    less = answer(asked)
    for further in (
        replace(asked, items=items + more),
        replace(asked, samples=samples + more),
        replace(asked, written=written + more, longest=written + more),
        replace(asked, read=10 + more),
    ):
        other = answer(further)
        assert other.work > less.work
        assert other.product >= less.product


def test_a_language_or_scorer_without_a_figure_is_as_slow_as_the_slowest():
    rates = {"python": 12.0, "cpp": 0.8}
    assert [rate_of(rates, name) for name in ("python", "cpp", "rust")] == [12.0, 0.8, 0.8]


def test_a_new_scorer_and_a_new_language_are_priced():
    asked = Asked(items=10, samples=1, read=1, written=1, longest=1)
    slowest = min(HARDWARE.evaluation.programs, key=HARDWARE.evaluation.programs.get)
    known, new = (
        costs.execute([(asked, name)], timeout=1, memory=0, threads=1, hardware=HARDWARE) for name in (slowest, "rust")
    )
    assert new == known
    for scorer in (next(iter(HARDWARE.evaluation.scored)), "a new scorer"):
        assert costs.score([(asked, scorer, 1)], submodels=1, resamples=1, threads=1, hardware=HARDWARE).work > 0
