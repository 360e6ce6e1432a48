"""Methods with gradients: their scores and relaxation by hand, the path through the whole model, and jobs that die."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import assert_equal_masks, change_tensors, draw_windows, masks_of, save_model, save_windows
from transformers import AutoModelForCausalLM

from submodels.checkpoints.card import model_card
from submodels.checkpoints.decoder import Decoder
from submodels.checkpoints.masks import FILE_NAME, Masks
from submodels.errors import SubmodelsError
from submodels.evaluation.generate import _check_both
from submodels.files import sha256_file
from submodels.pruning import gradients, learned_masks, memory
from submodels.pruning import prune as prune_stage
from submodels.pruning.criteria.dpruner import domain_importance, general_importance, normalised_ranks
from submodels.pruning.criteria.maskllm import annealed, candidates, gumbel, hard_masks, relaxed_masks, with_prior
from submodels.pruning.gradients import mean_importance
from submodels.pruning.learned_masks import add_gradients, drawn_windows, learning_rate, step_count
from submodels.pruning.need import windows_at_once
from submodels.pruning.progress import Progress
from submodels.pruning.prune import STATE, prune
from submodels.pruning.whole_model import freeze, linears_of, n_targets, window_loss
from submodels.pruning.windows import Windows

TOKENS = 400


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


@pytest.fixture
def general(tmp_path):
    return save_windows(tmp_path / "generic/windows.safetensors", draw_windows(seed=9))


def test_domain_importance_by_hand():
    """With g w = 1 and -0.1: |1 - 1 / 2| and |-0.1 - 0.01 / 2|."""
    weight, gradient = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 0.1]])
    assert domain_importance(weight, gradient).tolist()[0] == pytest.approx([0.5, 0.105])
    assert weight.tolist() == [[2.0, -1.0]]


def test_general_importance_by_hand():
    root = torch.tensor([[0.5, 7.0], [0.0, 1.5]])
    assert general_importance(torch.tensor([[2.0, 3.0]]), root).tolist() == [[16.0, 4.0]]


def test_ranks_by_hand():
    scores = torch.tensor([[3.0, 1.0, 2.0, 2.0], [9.0, 8.0, 7.0, 6.0]])
    thirds = [[1, 0, 1 / 3, 2 / 3], [1, 2 / 3, 1 / 3, 0]]
    assert torch.allclose(normalised_ranks(scores, per_row=True), torch.tensor(thirds))
    sevenths = [[3, 0, 1, 2], [7, 6, 5, 4]]
    assert torch.allclose(normalised_ranks(scores, per_row=False), torch.tensor(sevenths) / 7)


def test_candidates_by_hand():
    assert candidates(2, 4).tolist() == [
        [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]
    ]  # fmt: skip
    assert candidates(4, 8).shape == (70, 8)
    assert set(candidates(4, 8).sum(dim=1).tolist()) == {4}


def test_relaxed_masks_by_hand():
    """Two groups of 1:2: with logits (0, ln 3) the second candidate has three quarters of the weight."""
    choices = candidates(1, 2)
    logits = torch.tensor([[0.0, 1.0], [float(np.log(3)), 1.0]])
    none = torch.zeros_like(logits)
    assert torch.allclose(relaxed_masks(logits, none, choices, 1, 1), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    assert torch.allclose(
        relaxed_masks(logits, none, choices, 2, 0.5), torch.tensor([[1 / 82, 81 / 82], [0.5, 0.5]])
    )  # (2 / 0.5) ln 3 = ln 81
    assert torch.allclose(relaxed_masks(none, logits, choices, 9, 1)[0], torch.tensor([0.25, 0.75]))
    assert hard_masks(logits, choices).tolist() == [[False, True], [True, False]]


def test_a_prior_moves_logits_by_the_overlap():
    """Candidates of 2:4 share 2, 1 or 0 weights with the prior."""
    logits = torch.tensor([[0.0], [1.0], [0.0], [1.0], [0.0], [1.0]])
    kept = torch.tensor([[True, True, False, False]])
    moved = with_prior(logits, kept, candidates(2, 4), 3.0) - logits
    assert torch.allclose(moved[:, 0], torch.tensor([1.0, 0, 0, 0, 0, -1.0]) * 3 * logits.std())
    assert hard_masks(
        with_prior(torch.zeros_like(logits) + logits * 1e-3, kept, candidates(2, 4), 3.0), candidates(2, 4)
    )[0].tolist() == [True, True, False, False]


def test_schedules_by_hand():
    assert [annealed(4, 0, done) for done in (0, 0.25, 1)] == [4, 3, 0]
    for steps, scale in ((4000, 1), (2000, 1), (500, 2), (20, 10)):
        rates = [learning_rate(done, steps) for done in (0, 0.5, 1)]
        assert rates == pytest.approx([scale * rate for rate in (5e-4, 2.75e-4, 5e-5)])
    windows = Windows(torch.zeros(16, 10, dtype=torch.int64))
    assert [step_count(windows, tokens) for tokens in (1, 80, 800, 850)] == [1, 1, 10, 11]


def test_every_pass_takes_every_window_once():
    windows = Windows(torch.arange(20)[:, None])
    numbers = torch.cat([drawn_windows(windows, step, seed=3).ids[:, 0] for step in range(5)]).tolist()
    assert sorted(numbers[:20]) == sorted(numbers[20:]) == list(range(20))
    assert numbers[:20] != numbers[20:]
    assert drawn_windows(windows, 1, seed=4).ids.tolist() != drawn_windows(windows, 1, seed=3).ids.tolist()


@given(seed=st.integers(0, 1000), scale=st.floats(1, 500), temperature=st.floats(0.05, 4))
@settings(max_examples=30, deadline=None)
def test_a_relaxed_mask_keeps_n_of_m_in_sum(seed, scale, temperature):
    dice = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 5, generator=dice)
    soft = relaxed_masks(logits, gumbel((6, 5), dice), candidates(2, 4), scale, temperature)
    assert torch.allclose(soft.sum(dim=1), torch.full((5,), 2.0), atol=1e-4)
    assert (soft >= 0).all()
    assert (soft <= 1 + 1e-5).all()
    assert (hard_masks(logits, candidates(2, 4)).sum(dim=1) == 2).all()


def test_importance_is_the_mean_over_single_windows(model, tmp_path):
    loaded = AutoModelForCausalLM.from_pretrained(model)
    name = "model.layers.1.mlp.down_proj.weight"
    weight, windows = loaded.get_parameter(name), Windows(draw_windows())
    found = []
    for part in windows.batches(1):
        (gradient,) = torch.autograd.grad(window_loss(loaded, part), weight)
        found.append(domain_importance(weight.detach(), gradient))
    freeze(loaded, Decoder(loaded).blocks)
    mean = mean_importance(loaded, linears_of(loaded, [name]), windows, Progress(tmp_path / "none", "x"))
    assert torch.allclose(mean[name], torch.stack(found).mean(dim=0), atol=1e-7)
    assert weight.grad is None


def test_padding_is_not_predicted(model):
    loaded = AutoModelForCausalLM.from_pretrained(model)
    ids = draw_windows(1)
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.int64)], dim=1)
    tokens = padded > 0
    assert torch.allclose(
        window_loss(loaded, Windows(padded, tokens, tokens)), window_loss(loaded, Windows(ids)), atol=1e-6
    )


@pytest.mark.parametrize("sparsity", ["0.50", "2of4"])
@pytest.mark.parametrize("method", ["dpruner", "dpruner_matrix"])
def test_general_importance_counts_by_its_weight(method, sparsity, model, general, tmp_path):
    masks = {
        weight: masks_of(
            model, tmp_path / str(weight), method=method, sparsity=sparsity, general=general, general_weight=weight
        )
        for weight in (0.0, 1.0, 1e6)
    }
    names = list(masks[0.0])
    assert any((masks[0.0][name] != masks[1.0][name]).any() for name in names)
    assert any((masks[1e6][name] != masks[1.0][name]).any() for name in names)
    other = save_windows(tmp_path / "other/windows.safetensors", draw_windows(seed=5))
    alone = masks_of(model, tmp_path / "alone", method=method, sparsity=sparsity, general=other, general_weight=0.0)
    assert_equal_masks(alone, masks[0.0])
    for mask in masks[1.0].values():
        if sparsity == "2of4":
            assert (mask.reshape(-1, 4).sum(axis=1) == 2).all()
        elif method == "dpruner":
            assert (mask.sum(axis=1) == mask.shape[1] - int(mask.shape[1] * 0.5)).all()


def learn(model, out, **options):
    return masks_of(
        model, out, method="maskllm", **({"sparsity": "2of4", "tokens": TOKENS, "prior": "wanda"} | options)
    )


@pytest.mark.parametrize(("sparsity", "kept"), [("2of4", 2), ("1of4", 3), ("3of4", 1)])
def test_learned_masks_keep_n_of_m(sparsity, kept, model, tmp_path):
    for mask in learn(model, tmp_path / "out", sparsity=sparsity).values():
        assert (mask.reshape(-1, 4).sum(axis=1) == kept).all()
    assert not (tmp_path / "out" / STATE).exists()


def test_seed_prior_and_budget_decide_the_masks(model, tmp_path):
    first, again = learn(model, tmp_path / "a", seed=1), learn(model, tmp_path / "b", seed=1)
    assert_equal_masks(first, again)
    for number, change in enumerate(({"seed": 2}, {"prior": "magnitude"}, {"tokens": 4 * TOKENS})):
        other = learn(model, tmp_path / str(number), **({"seed": 1} | change))
        assert any((other[name] != first[name]).any() for name in first), change


def test_training_lowers_the_loss(model, tmp_path):
    """More budget gives a lower loss of the pruned model, in the median of ten seeds."""
    losses = {tokens: [] for tokens in (80, 2000, 8000)}
    for seed in range(10):
        for tokens, found in losses.items():
            masks = learn(model, tmp_path / f"{seed}-{tokens}", seed=seed, tokens=tokens, prior="random")
            loaded = AutoModelForCausalLM.from_pretrained(model)
            with torch.no_grad():
                for name, mask in masks.items():
                    loaded.get_parameter(name).mul_(torch.from_numpy(mask))
                found.append(window_loss(loaded, Windows(draw_windows())).item())
    medians = [np.median(found) for found in losses.values()]
    assert medians[0] > medians[1] > medians[2], medians


class Killed(Exception):
    pass


@pytest.mark.parametrize(("method", "after"), [("maskllm", 3), ("dpruner", 2)])
def test_a_killed_job_goes_on_and_ends_with_the_same_mask(method, after, model, general, tmp_path, monkeypatch):
    """The state is saved after every step; the second run begins where the first one was killed."""
    options = {"tokens": TOKENS, "sparsity": "2of4"}
    options |= {"general": general} if method == "dpruner" else {"prior": "wanda"}
    whole = masks_of(model, tmp_path / "whole", method=method, **options)
    monkeypatch.setattr(prune_stage, "Progress", lambda path, identity: Progress(path, identity, save_every=0))
    calls, module = [], learned_masks if method == "maskllm" else gradients

    def dying(*arguments):
        calls.append(1)
        if len(calls) == after + 1:
            raise Killed
        return window_loss(*arguments)

    monkeypatch.setattr(module, "window_loss", dying)
    with pytest.raises(Killed):
        masks_of(model, tmp_path / "out", method=method, **options)
    assert (tmp_path / "out" / STATE).exists()
    assert not (tmp_path / "out" / FILE_NAME).exists()
    steps = len(calls)
    assert_equal_masks(masks_of(model, tmp_path / "out", method=method, **options), whole)
    total = 5 if method == "maskllm" else 6  # steps of 80 tokens, or windows
    assert len(calls) - steps == total - after
    assert not (tmp_path / "out" / STATE).exists()


def test_the_state_of_another_job_is_ignored(tmp_path):
    Progress(tmp_path / "state", "one", save_every=0).save_if_due(lambda: {"x": torch.ones(2)}, 7)
    again = Progress(tmp_path / "state", "one")
    tensors, step = again.load()
    assert (tensors["x"].tolist(), step) == ([1, 1], 7)
    assert again.earlier > 0
    assert Progress(tmp_path / "state", "two").load() is None
    (tmp_path / "state").write_bytes(b"cut off")
    assert Progress(tmp_path / "state", "one").load() is None


def test_the_need_of_memory_is_said_and_checked(model, tmp_path, monkeypatch, capfd):
    learn(model, tmp_path / "a")
    assert "the whole model with gradients needs about" in capfd.readouterr().out
    monkeypatch.setattr(memory, "free_host_memory", lambda: 1000)
    with pytest.raises(SubmodelsError, match=r"not enough memory .*whole model with gradients"):
        learn(model, tmp_path / "b")


def test_faults_are_found_before_work(model, general, tmp_path):
    for method, options, fault in (
        ("maskllm", {"sparsity": "0.50"}, "makes masks of patterns such as 2of4"),
        ("dpruner", {}, "needs windows of a generic set; give --general"),
        ("wanda", {"general": general}, "takes one set of windows; leave out --general"),
        ("maskllm", {"sparsity": "2of4", "prior": "dpruner"}, "unknown method without gradients 'dpruner'"),
        ("dpruner", {"general": general, "general_weight": float("nan")}, "general weight nan: must be a number"),
    ):
        with pytest.raises(SubmodelsError, match=fault):
            prune(model, general, method, options.pop("sparsity", "0.50"), tmp_path / "out", **options)


def test_the_manifest_says_what_the_method_was_told(model, general, tmp_path):
    masks_of(model, tmp_path / "d", method="dpruner", general=general)
    learn(model, tmp_path / "m")
    told = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("d", "m")]
    assert told[0]["parameters"]["general_weight"] == 1.0
    assert "general" in told[0]["inputs"]
    assert {key: told[1]["parameters"][key] for key in ("tokens", "prior")} == {"tokens": TOKENS, "prior": "wanda"}
    assert "tokens" not in told[0]["parameters"]


def test_a_step_in_parts_has_the_gradient_of_the_whole(model, monkeypatch):
    """Windows of different lengths: every token weighs the same, however the windows are split."""
    loaded = AutoModelForCausalLM.from_pretrained(model)
    weight = loaded.get_parameter("model.layers.0.mlp.up_proj.weight")
    ids, mask = draw_windows(), torch.ones(6, 10, dtype=torch.bool)
    mask[1:, 4:] = False
    windows = Windows(ids, mask, mask)
    found = {}
    for at_once in (6, 4, 1):
        monkeypatch.setattr(learned_masks, "windows_at_once", lambda *_, at_once=at_once: at_once)
        weight.grad = None
        found[at_once] = add_gradients(loaded, windows), weight.grad.clone()
    assert n_targets(windows) == 9 + 5 * 3
    for loss, gradient in found.values():
        assert loss == pytest.approx(window_loss(loaded, windows).item(), rel=1e-5)
        assert torch.allclose(gradient, found[6][1], atol=1e-6)


def test_windows_at_once_hold_4096_tokens():
    assert [windows_at_once(length, 8) for length in (16, 512, 1024, 4096, 8192)] == [8, 8, 4, 1, 1]


@pytest.mark.parametrize("method", ["dpruner", "maskllm"])
def test_a_window_of_one_token_predicts_nothing(method, model, tmp_path):
    mask = torch.ones(6, 10, dtype=torch.int64)
    mask[2, 1:] = 0
    with_it = masks_of(model, tmp_path / "a", draw_windows(), mask, method=method)
    rest = [0, 1, 3, 4, 5]
    assert_equal_masks(with_it, masks_of(model, tmp_path / "b", draw_windows()[rest], mask[rest], method=method)
                       if method == "dpruner" else with_it)  # fmt: skip
    assert all(np.isfinite(mask).all() for mask in with_it.values())
    lonely = torch.zeros(6, 10, dtype=torch.int64)
    lonely[:, 0] = 1
    with pytest.raises(SubmodelsError, match="no calibration window has a token to predict"):
        masks_of(model, tmp_path / "c", draw_windows(), lonely, method=method)


@pytest.mark.parametrize("method", ["dpruner", "maskllm"])
def test_bfloat16_works_and_float16_is_refused(method, model, tmp_path):
    found = masks_of(model, tmp_path / "a", method=method, sparsity="2of4", dtype="bfloat16")
    for mask in found.values():
        assert (mask.reshape(-1, 4).sum(axis=1) == 2).all()
    with pytest.raises(SubmodelsError, match="gradients vanish in float16; use --dtype bfloat16"):
        masks_of(model, tmp_path / "b", method=method, sparsity="2of4", dtype="float16")


def test_an_input_that_is_always_zero_is_least_important(model, general, tmp_path):
    """Where the norm's scale of an input is 0, its weights go first, whatever their size."""
    change_tensors(
        model / "model.safetensors",
        {"model.layers.0.input_layernorm.weight": torch.tensor([0.0] + [1.0] * (width(model) - 1))},
    )
    masks = masks_of(model, tmp_path / "out", method="dpruner", general=general, general_weight=1e6)
    assert not masks["model.layers.0.self_attn.q_proj.weight"][:, 0].any()


def width(model):
    return json.loads((model / "config.json").read_text())["hidden_size"]


def test_a_state_is_gone_when_the_mask_is_taken_over(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    windows = save_windows(tmp_path / "w/windows.safetensors", draw_windows())
    places = [Path("results") / name / "submodels/m/x" for name in ("a", "b")]
    options = {"tokens": 80, "prior": "magnitude"}
    prune(model, windows, "maskllm", "2of4", places[0], **options)
    places[1].mkdir(parents=True)
    (places[1] / STATE).write_bytes(b"unfinished")
    prune(model, windows, "maskllm", "2of4", places[1], **options)
    assert sorted(path.name for path in places[1].iterdir()) == ["manifest.json", FILE_NAME]


def test_the_generic_set_is_named_and_its_rows_are_compared_too(model, general, tmp_path):
    masks_of(model, tmp_path / "out", method="dpruner", general=general)
    header = Masks(tmp_path / "out").header
    assert header["general"] == {"name": "generic", "sha256": sha256_file(general)}
    assert "windows and generic for general importance" in model_card("base", Masks(tmp_path / "out"), {}).replace(
        header["calibration"]["name"], "windows"
    ).replace(", and", " and")
    own = tmp_path / "out/w"
    with pytest.raises(SubmodelsError, match="the sub-model also saw rows of 'generic'; give that draw"):
        _check_both(tmp_path / "out", [own])
    _check_both(tmp_path / "out", [own, general.parent])
