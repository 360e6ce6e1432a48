"""Against masks, statistics and perplexities of the reference implementation, on two small trained models."""

import functools

import numpy as np
import pytest
import torch
from perplexity import perplexity
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from submodels.bootstrap import paired_bootstrap
from submodels.checkpoints import masks
from submodels.checkpoints.load import load_submodel
from submodels.pruning.patterns import parse
from submodels.pruning.prune import prune
from submodels.pruning.rules import WANDA

pytestmark = pytest.mark.real_data

MODELS = ("stories260K", "babyllama105")
PATTERNS = {"0.5": "0.50", "0.6": "0.60", "0.7": "0.70", "2-4": "2of4", "4-8": "4of8"}
CALIBRATIONS = ("tinystories", "wikitext2")
WANDA_CASES = [(model, "wanda", pattern, text) for model in MODELS for pattern in PATTERNS for text in CALIBRATIONS]
CASES = WANDA_CASES + [(model, "magnitude", "0.5", "none") for model in MODELS]
# (model, method, pattern, calibration): perplexity on TinyStories and on WikiText-2.
PERPLEXITIES = {
    ("stories260K", None, None, None): (4.70168, 163.2161),
    ("stories260K", "wanda", "0.5", "tinystories"): (21.26695, 334.2310),
    ("stories260K", "wanda", "0.5", "wikitext2"): (21.70264, 245.6245),
    ("stories260K", "wanda", "0.7", "tinystories"): (141.13153, 765.6672),
    ("stories260K", "wanda", "4-8", "wikitext2"): (50.71276, 797.2882),
    ("stories260K", "magnitude", "0.5", "none"): (45.20765, 410.9189),
    ("babyllama105", None, None, None): (2.48943, 24.6691),
    ("babyllama105", "wanda", "0.5", "tinystories"): (8.38728, 49.9026),
    ("babyllama105", "wanda", "0.5", "wikitext2"): (8.72937, 49.6710),
    ("babyllama105", "wanda", "2-4", "wikitext2"): (25.47352, 86.0286),
    ("babyllama105", "magnitude", "0.5", "none"): (7.99488, 47.7722),
}
SPARSEGPT_PERPLEXITIES = {
    ("stories260K", "sparsegpt", "0.5", "tinystories"): (20.01172, 288.4259),
    ("stories260K", "sparsegpt", "0.5", "wikitext2"): (23.27406, 258.3714),
    ("stories260K", "sparsegpt", "2-4", "tinystories"): (32.57269, 276.4150),
    ("stories260K", "sparsegpt", "2-4", "wikitext2"): (39.73991, 256.9109),
    ("babyllama105", "sparsegpt", "0.5", "tinystories"): (3.34416, 28.8545),
    ("babyllama105", "sparsegpt", "0.5", "wikitext2"): (3.48857, 27.7356),
    ("babyllama105", "sparsegpt", "2-4", "tinystories"): (4.27823, 31.9898),
    ("babyllama105", "sparsegpt", "2-4", "wikitext2"): (4.62402, 32.0334),
}


@pytest.fixture(scope="module")
def submodel(shared, tmp_path_factory):
    """(model, method, pattern, calibration) -> directory of the pruned sub-model, made once."""

    @functools.cache
    def make(model, method, pattern, calibration):
        windows = shared / "golden" / model / f"calib_{calibration}.safetensors"
        out = tmp_path_factory.mktemp("submodel")
        prune(
            shared / "data" / "models" / model,
            None if calibration == "none" else windows,
            method,
            PATTERNS[pattern],
            out,
            calibration=calibration,
            threads=1,
        )
        return out

    return make


@pytest.mark.parametrize(("model", "method", "pattern", "calibration"), CASES)
def test_masks_equal_the_reference_bit_for_bit(shared, submodel, model, method, pattern, calibration):
    golden = load_file(shared / "golden" / model / f"{method}_{pattern}_{calibration}.safetensors")
    found = masks.Masks(submodel(model, method, pattern, calibration))
    assert set(found) == set(golden)
    different = {name: int(np.bitwise_count(golden[name] ^ found.packed(name)).sum()) for name in golden}
    assert {name: bits for name, bits in different.items() if bits} == {}


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_selection_from_the_reference_s_statistics(shared, model, calibration):
    norms = load_torch(shared / "golden" / model / f"scaler_wanda_0.5_{calibration}.safetensors")
    weights = load_torch(shared / "data" / "models" / model / "model.safetensors")
    golden = load_file(shared / "golden" / model / f"wanda_0.5_{calibration}.safetensors")
    assert golden.keys() == norms.keys()
    for name in golden:
        pruned = WANDA.prune(weights[name], norms[name], parse("0.50"), 0)
        assert np.array_equal(masks.pack(pruned.kept.numpy()), golden[name]), name


def test_a_different_calibration_set_gives_a_different_mask(shared, submodel):
    """The comparison above can fail."""
    golden = load_file(shared / "golden" / "stories260K" / "wanda_0.5_wikitext2.safetensors")
    found = masks.Masks(submodel("stories260K", "wanda", "0.5", "tinystories"))
    different = sum(int(np.bitwise_count(golden[name] ^ found.packed(name)).sum()) for name in golden)
    weights = sum(rows * columns for rows, columns in found.shapes.values())
    assert 0.025 < different / weights < 0.065


@pytest.mark.parametrize("case", PERPLEXITIES, ids=str)
def test_perplexity_equals_the_reference(shared, submodel, case):
    model, method, _, _ = case
    loaded = load_submodel(shared / "data" / "models" / model, submodel(*case) if method else None)
    for text, expected in zip(CALIBRATIONS, PERPLEXITIES[case], strict=True):
        ids = load_torch(shared / "golden" / model / f"eval_{text}.safetensors")["input_ids"]
        assert perplexity(loaded, ids) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("case", SPARSEGPT_PERPLEXITIES, ids=str)
def test_sparsegpt_masks_and_perplexity_agree_with_the_reference(shared, submodel, case):
    """Up to close calls that rounding decides; each changes the columns to its right and the inputs of later blocks.

    On babyllama105 at 2:4 they come early: the reference's own arithmetic on one thread instead of two changes 1.7% of
    the bits, with SDPA instead of eager attention 0.7%. There the first block, whose inputs are still the same, is held
    to 99.9%, and the whole to less.
    """
    model, method, pattern, calibration = case
    golden = load_file(shared / "golden" / model / f"{method}_{pattern}_{calibration}.safetensors")
    found = masks.Masks(submodel(*case))
    assert set(found) == set(golden)
    different = {name: int(np.bitwise_count(golden[name] ^ found.packed(name)).sum()) for name in golden}
    weights = {name: rows * columns for name, (rows, columns) in found.shapes.items()}
    first = [name for name in weights if ".layers.0." in name]
    share, tolerance = (0.02, 0.02) if (model, pattern) == ("babyllama105", "2-4") else (0.001, 0.005)
    assert sum(different[name] for name in first) <= 0.001 * sum(weights[name] for name in first)
    assert sum(different.values()) <= share * sum(weights.values())

    loaded = load_submodel(shared / "data" / "models" / model, submodel(*case))
    for text, expected in zip(CALIBRATIONS, SPARSEGPT_PERPLEXITIES[case], strict=True):
        ids = load_torch(shared / "golden" / model / f"eval_{text}.safetensors")["input_ids"]
        assert perplexity(loaded, ids) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("pattern", ["0.5", "2-4"])
@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_sparsegpt_updates_weights_as_the_reference(shared, submodel, pattern, calibration):
    golden = load_torch(shared / "golden" / "stories260K" / f"weights_sparsegpt_{pattern}_{calibration}.safetensors")
    case = ("stories260K", "sparsegpt", pattern, calibration)
    found = load_submodel(shared / "data" / "models" / "stories260K", submodel(*case)).state_dict()
    for name, expected in golden.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_learned_masks_of_a_real_model_are_better_than_wandas(shared, submodel, tmp_path):
    """On held-out windows, paired: the interval of the difference in nats excludes 0."""
    model, golden = shared / "data/models/stories260K", shared / "golden/stories260K"
    windows = golden / "calib_tinystories.safetensors"
    prune(model, windows, "maskllm", "2of4", tmp_path / "learned", threads=1, tokens=150_000)
    held_out = load_torch(golden / "eval_tinystories.safetensors")["input_ids"]
    places = (tmp_path / "learned", submodel("stories260K", "wanda", "2-4", "tinystories"))
    learned, wanda = (_losses(load_submodel(model, place, dtype="float32"), held_out) for place in places)
    interval = paired_bootstrap(learned, wanda)
    assert interval.high < 0, interval


@torch.inference_mode()
def _losses(model, windows):
    """Mean loss of each window, in nats."""
    logits = model(windows).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), windows[:, 1:], reduction="none")
    return losses.mean(dim=1).double().numpy()


def test_perplexity_by_hand():
    """A model that gives every next token probability 1/4, and one token of each window 1/2."""

    class Fixed(torch.nn.Module):
        def forward(self, input_ids):
            logits = torch.zeros(*input_ids.shape, 4)
            logits[:, 0, 3] = torch.tensor(3.0).log()  # probabilities 1/6 1/6 1/6 1/2
            return type("Output", (), {"logits": logits})

    ids = torch.tensor([[0, 3, 1], [2, 3, 0]])
    assert perplexity(Fixed(), ids, batch_size=1) == pytest.approx(8**0.5)  # (2 * 4) ** (1 / 2)
