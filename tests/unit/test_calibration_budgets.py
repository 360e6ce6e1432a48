"""Equal token budgets: every set gives exactly the tokens asked for, whatever its rows' lengths."""

import numpy as np
import pytest
from calibration_support import TEXTS, make_model, run, spec, write_rows

from submodels.calibration.registry import CalibrationSet
from submodels.calibration.tokenising import load_text_tokenizer
from submodels.errors import SubmodelsError

CONTROL = CalibrationSet.model_validate({"domain": "control", "source": {"random_tokens": True}})
LENGTHS = {"short": ["a", "b c"] * 200, "long": ["the cat number 3 says hello " * 5] * 40, "ragged": TEXTS}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "plain")


def test_rows_by_hand(model, tmp_path):
    """Each letter is a token, and <s> opens every row."""
    tokenizer = load_text_tokenizer(model)
    rows = ["a", "ab", "abab"]
    assert [len(tokenizer.encode(row)) for row in rows] == [2, 3, 5]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    arrays, results = run(spec(), model, tmp_path / "out", tokens_per_set=7, seqlen=4, source=pool)
    lengths = [min(len(tokenizer.encode(rows[index])), 4) for index in results["indices"]]
    expected = {  # drawn in which order, cut at 4, then at the budget
        (2, 3, 4): [2, 3, 2], (2, 4, 3): [2, 4, 1], (3, 2, 4): [3, 2, 2], (3, 4): [3, 4], (4, 2, 3): [4, 2, 1],
        (4, 3): [4, 3],
    }  # fmt: skip
    assert arrays["attention_mask"].sum(axis=1).tolist() == expected[tuple(lengths)]
    assert results["tokens"] == results["counted"] == 7


@pytest.mark.parametrize("windows", ["rows", "packed"])
@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("tokens", [1, 63, 64, 200])
def test_every_set_gives_exactly_the_budget(model, tmp_path, windows, protocol, tokens):
    for name, texts in LENGTHS.items():
        pool = write_rows(tmp_path / f"{name}.jsonl", texts)
        options = {"tokens_per_set": tokens, "seqlen": 16, "windows": windows, "protocol": protocol, "source": pool}
        arrays, results = run(spec(), model, tmp_path / name, **options)
        mask = arrays.get("attention_mask", np.ones_like(arrays["input_ids"]))
        assert mask.sum() == results["tokens"] == results["counted"] == tokens
        assert mask.any(axis=1).all()
        assert "counted" not in arrays
        if windows == "packed":
            assert len(mask) == -(-tokens // 16)
            assert mask[:-1].all()


def test_a_larger_budget_begins_with_the_smaller(model, tmp_path):
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    for windows in ("rows", "packed"):
        options = {"seqlen": 16, "windows": windows, "source": pool, "seed": 5}
        small, _ = run(spec(), model, tmp_path / "small", tokens_per_set=50, **options)
        large, _ = run(spec(), model, tmp_path / "large", tokens_per_set=120, **options)
        kept = small["attention_mask"] == 1
        assert (large["input_ids"][: len(kept)][kept] == small["input_ids"][kept]).all()


def test_random_tokens(model, tmp_path):
    arrays, results = run(CONTROL, model, tmp_path / "out", tokens_per_set=37, seqlen=16)
    assert arrays["attention_mask"].sum(axis=1).tolist() == [16, 16, 5]
    assert results["counted"] == 37
    whole, _ = run(CONTROL, model, tmp_path / "whole", tokens_per_set=32, seqlen=16)
    rows, _ = run(CONTROL, model, tmp_path / "rows", rows=2, seqlen=16)
    assert (whole["input_ids"] == rows["input_ids"]).all()
    assert whole.keys() == rows.keys() == {"input_ids"}  # full windows need no mask


@pytest.mark.parametrize(("windows", "cut"), [("rows", ", cut at 3 tokens,"), ("packed", "")])
def test_too_little_data_says_how_many_tokens_there_are(model, tmp_path, windows, cut):
    rows = ["a", "ab", "abab"]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    held = {"rows": 2 + 3 + 3, "packed": 3 + 4 + 6}[windows]  # packed rows end with </s>
    message = f"pool.jsonl: 1000 tokens needed, but its 3 usable rows{cut} hold {held}; lower .* to at most {held}"
    with pytest.raises(SubmodelsError, match=message):
        run(spec(), model, tmp_path / "out", tokens_per_set=1000, seqlen=3, windows=windows, source=pool)
    assert not (tmp_path / "out").exists()
    _, results = run(spec(), model, tmp_path / "out", tokens_per_set=held, seqlen=3, windows=windows, source=pool)
    assert results["counted"] == held


def test_rows_and_budget_exclude_each_other(model, tmp_path):
    with pytest.raises(SubmodelsError, match=r"rows \(8\) and tokens_per_set \(64\) exclude each other"):
        run(CONTROL, model, tmp_path / "out", rows=8, tokens_per_set=64)


@pytest.mark.real_data
@pytest.mark.parametrize("windows", ["rows", "packed"])
def test_real_sets_of_different_lengths(shared, tmp_path, windows):
    options = {"tokens_per_set": 8000, "seqlen": 512, "windows": windows}
    found = {}
    for name, template in (("openbookqa_train.json.gz", "{instruction}\n{output}"), ("c4_sample.jsonl.gz", "{text}")):
        real = spec(source={"file": shared / "data/calibration" / name}, template=template)
        _, found[name] = run(real, shared / "data/models/stories260K", tmp_path / name, **options)
    assert [results["counted"] for results in found.values()] == [8000, 8000]
    assert found["openbookqa_train.json.gz"]["rows_used"] > found["c4_sample.jsonl.gz"]["rows_used"]
