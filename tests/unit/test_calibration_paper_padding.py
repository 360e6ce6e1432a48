"""The paper's padding: one set's rows are padded to seqlen, and under its protocol the padding counts."""

import json

import numpy as np
import pytest
from calibration_support import make_model, run, spec, write_rows

from submodels.calibration.registry import CalibrationSet
from submodels.calibration.tokenising import load_text_tokenizer
from submodels.errors import SubmodelsError

ROWS = ["a", "ab", "abab"]  # <s> and 1, 2 and 4 tokens
PADDED = spec(paper_padding=True)
UNKNOWN = 1  # </s>, named the unknown token below


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "unknown", unk_token="</s>")


@pytest.fixture
def pool(tmp_path):
    return write_rows(tmp_path / "pool.jsonl", ROWS)


def test_by_hand(model, pool, tmp_path):
    arrays, results = run(PADDED, model, tmp_path / "out", rows=3, seqlen=4, source=pool, protocol="paper")
    rows = [load_text_tokenizer(model).encode(ROWS[index])[:4] for index in results["indices"]]
    assert arrays["input_ids"].tolist() == [row + [UNKNOWN] * (4 - len(row)) for row in rows]
    assert arrays["attention_mask"].tolist() == [[1] * len(row) + [0] * (4 - len(row)) for row in rows]
    assert arrays["counted"].tolist() == [[1] * 4] * 3
    assert arrays["counted"].dtype == np.int64
    assert results["tokens"] == sum(map(len, rows))
    assert results["counted"] == 12
    words = "rows are padded to 4 tokens with '</s>' (id 1), and the padding counts in the pruning statistics"
    assert words in results["paper_padding"]


@pytest.mark.parametrize(
    ("entry", "options"),
    [
        (PADDED, {"protocol": "strict"}),
        (spec(), {"protocol": "paper"}),
        (PADDED, {"protocol": "paper", "windows": "packed", "rows": 1}),
    ],
)
def test_elsewhere_padding_never_counts(model, pool, tmp_path, entry, options):
    options = {"rows": 3, "seqlen": 4, "source": pool} | options
    arrays, results = run(entry, model, tmp_path / "out", **options)
    plain, _ = run(spec(), model, tmp_path / "plain", **options)
    assert "counted" not in arrays
    assert "paper_padding" not in results
    assert results["counted"] == results["tokens"]
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in plain.items()
    }


def test_a_budget_counts_the_padding_too(model, pool, tmp_path):
    arrays, results = run(PADDED, model, tmp_path / "out", tokens_per_set=10, seqlen=4, source=pool, protocol="paper")
    assert arrays["counted"].tolist() == [[1] * 4, [1] * 4, [1, 1, 0, 0]]
    assert results["counted"] == 10
    assert arrays["attention_mask"][2].sum() == 2  # the last row is cut where the budget ends


def test_in_a_mix_it_stays_with_its_set(model, pool, tmp_path):
    mixed = CalibrationSet.model_validate({"domain": "generic", "source": {"mix": {"padded": 1, "plain": 1}}})
    arrays, results = run(
        mixed, model, tmp_path / "out", rows=4, seqlen=4, protocol="paper",
        source={"padded": pool, "plain": pool}, components={"padded": PADDED, "plain": spec()},
    )  # fmt: skip
    assert arrays["counted"][:2].all()
    assert (arrays["counted"][2:] == arrays["attention_mask"][2:]).all()
    assert "paper_padding" in results["components"]["padded"]
    assert "paper_padding" not in results["components"]["plain"]


def test_which_token_pads(tmp_path):
    """As AutoTokenizer does it where the authors' code works: their models have an unknown token and no [PAD]."""
    from transformers import AutoTokenizer

    directory = make_model(tmp_path / "unknown", unk_token="</s>")
    theirs = AutoTokenizer.from_pretrained(directory)
    theirs.pad_token = "[PAD]"
    padded = theirs("a", padding="max_length", max_length=4)["input_ids"]
    assert padded == [*load_text_tokenizer(directory).encode("a"), UNKNOWN, UNKNOWN]
    assert load_text_tokenizer(directory).paper_pad == ("</s>", UNKNOWN)
    assert load_text_tokenizer(make_model(tmp_path / "slow", unk_token="</s>", add_bos_token=True)).paper_pad == (
        "</s>",
        1,
    )
    assert load_text_tokenizer(make_model(tmp_path / "own", pad_token="<s>")).paper_pad == ("<s>", 0)
    both = make_model(tmp_path / "both", pad_token="<s>", unk_token="</s>")
    assert load_text_tokenizer(both).paper_pad == ("</s>", 1)


def test_a_tokenizer_that_has_neither(pool, tmp_path):
    directory = make_model(tmp_path / "bare")
    with pytest.raises(SubmodelsError, match=r"bare: the paper's padding cannot be repeated.*use protocol strict"):
        run(PADDED, directory, tmp_path / "out", rows=3, seqlen=4, source=pool, protocol="paper")
    run(PADDED, directory, tmp_path / "out", rows=3, seqlen=4, source=pool)


@pytest.mark.real_data
def test_real_tokenizer_pads_with_its_unknown_token(shared, pool, tmp_path):
    model = shared / "data/models/stories260K"
    arrays, _ = run(PADDED, model, tmp_path / "out", rows=2, seqlen=16, source=pool, protocol="paper")
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    assert set(arrays["input_ids"][arrays["attention_mask"] == 0]) == {vocabulary["<unk>"]}
