import json
import os
import subprocess
import sys

import numpy as np
import pytest
from calibration_support import TEXTS, make_model, run, spec, write_rows
from tokenizers import Tokenizer

from submodels import files
from submodels.calibration.calibrate import calibrate
from submodels.calibration.registry import CalibrationSet
from submodels.calibration.tokenising import load_text_tokenizer
from submodels.errors import SubmodelsError
from submodels.layout import DRAWN_ROWS

HARD = ["", " ", "hello", "the cat<s> says</s>", "naïve 猫\n\ttabs", "x" * 300]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture
def pool(tmp_path):
    return write_rows(tmp_path / "pool.jsonl", TEXTS)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"tokenizer_class": "TokenizersBackend", "model_max_length": 64, "pad_token": "</s>"},
        {"add_bos_token": False},
        {"add_bos_token": True, "add_eos_token": True},
        {"pad_token": "<new>"},
        {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True},
    ],
)
@pytest.mark.parametrize("architecture", ["llama", "gemma"])
def test_ids_equal_those_of_auto_tokenizer(tmp_path, config, architecture):
    from transformers import AutoTokenizer

    directory = make_model(tmp_path / "model", **config)
    (directory / "config.json").write_text(json.dumps({"model_type": architecture, "vocab_size": 300}))
    ours, theirs = load_text_tokenizer(directory), AutoTokenizer.from_pretrained(directory)
    for text in HARD + TEXTS[:3]:
        assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.eos_id == theirs.eos_token_id
    assert set(ours.ordinary_ids).isdisjoint(theirs.all_special_ids)


@pytest.mark.parametrize("config", [{}, {"add_bos_token": True}], ids=["plain", "by transformers"])
def test_a_special_token_that_no_setting_names_is_not_ordinary(tmp_path, config):
    """A chat model's marks, say: random calibration tokens are none of them."""
    directory = make_model(tmp_path / "model", **config)
    backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    backend.add_special_tokens(["<turn>"])
    backend.add_tokens(["<tool>"])
    backend.save(str(directory / "tokenizer.json"))
    ordinary = load_text_tokenizer(directory).ordinary_ids
    assert backend.token_to_id("<turn>") not in ordinary
    assert backend.token_to_id("<tool>") in ordinary


def test_rows(model, pool, tmp_path):
    arrays, results = run(spec(), model, tmp_path / "out", rows=8, seqlen=6, source=pool)
    tokenizer = load_text_tokenizer(model)
    rows = [tokenizer.encode(TEXTS[index]) for index in results["indices"]]
    assert arrays["input_ids"].shape == (8, 6)
    for ids, mask, row in zip(arrays["input_ids"], arrays["attention_mask"], rows, strict=True):
        assert ids[mask == 1].tolist() == row[:6]
    assert results["tokens"] == arrays["attention_mask"].sum()
    assert results["fraction_truncated"] == np.mean([len(row) > 6 for row in rows])
    assert results["row_tokens"]["max"] == max(map(len, rows))
    assert results["preview"] == [TEXTS[index] for index in results["indices"][:3]]
    assert results["rows_in_source"] == 40


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_the_rows_that_were_drawn_are_kept_as_the_template_renders_them(protocol, model, pool, tmp_path):
    """Each once, however often it was drawn."""
    out = tmp_path / "out"
    _, results = run(spec(template="# {text}"), model, out, rows=30, seqlen=6, source=pool, protocol=protocol)
    assert files.read_jsonl(out / DRAWN_ROWS) == [
        {"component": None, "row": index, "text": f"# {TEXTS[index]}"} for index in dict.fromkeys(results["indices"])
    ]


def test_packed_joins_rows_with_beginning_and_end(model, pool, tmp_path):
    arrays, results = run(spec(), model, tmp_path / "out", rows=5, seqlen=16, windows="packed", source=pool)
    tokenizer = load_text_tokenizer(model)
    joined = [token for index in results["indices"] for token in [*tokenizer.encode(TEXTS[index]), tokenizer.eos_id]]
    assert arrays.keys() == {"input_ids"}
    assert arrays["input_ids"].reshape(-1).tolist() == joined[: 5 * 16]
    assert results["tokens"] == 5 * 16
    assert results["fraction_truncated"] is None


def test_random_tokens_are_ordinary_and_seeded(model, tmp_path):
    control = CalibrationSet.model_validate({"domain": "control", "source": {"random_tokens": True}})
    one, results = run(control, model, tmp_path / "one", rows=20, seqlen=50, seed=1)
    two, _ = run(control, model, tmp_path / "two", rows=20, seqlen=50, seed=2)
    ordinary = load_text_tokenizer(model).ordinary_ids
    assert set(np.unique(one["input_ids"])) <= set(ordinary)
    assert len(np.unique(one["input_ids"])) > 0.9 * len(ordinary)  # 1000 draws of about 298 ids
    assert (one["input_ids"] != two["input_ids"]).any()
    assert results["tokens"] == 1000


def test_equal_arguments_give_equal_bytes_and_the_fingerprint_follows_what_matters(model, pool, tmp_path):
    def product(name, **options):
        out = tmp_path / name
        calibrate(spec(), model, out, rows=4, seqlen=8, **({"source": pool} | options))
        return (out / "windows.safetensors").read_bytes(), json.loads((out / "manifest.json").read_text())[
            "fingerprint"
        ]

    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(pool.read_bytes())
    first = product("a")
    assert product("b", source=moved) == first
    assert product("c", seed=1)[0] != first[0]
    assert product("c", seed=1)[1] != first[1]
    moved.write_bytes(pool.read_bytes() + b'{"text": "one more"}\n')
    assert product("d", source=moved)[1] != first[1]


def test_skipping(model, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "hello"}, {"text": None}, {"text": ""}, {"other": 1}, {"text": "hello " * 50}, {"text": "cat"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tolerant = spec(skip_incomplete=True, max_tokens=20)
    _, results = run(tolerant, model, tmp_path / "out", rows=2, seqlen=8, source=path)
    assert sorted(results["indices"]) == [0, 5]
    with pytest.raises(
        SubmodelsError, match=r"rows.jsonl: 3 rows needed, but it has 6, 4 of them skipped; lower rows to at most 2"
    ):
        calibrate(tolerant, model, tmp_path / "more", rows=3, seqlen=8, source=path)
    with pytest.raises(
        SubmodelsError, match=r"rows.jsonl, row \d: (no field 'text'; fields that exist: other|field|the)"
    ):
        calibrate(spec(), model, tmp_path / "strict", rows=6, seqlen=8, source=path)
    assert not (tmp_path / "strict").exists()


def test_paper_protocol_repeats_rows(model, pool, tmp_path):
    _, results = run(spec(), model, tmp_path / "out", rows=128, seqlen=8, source=pool, protocol="paper")
    assert len(results["indices"]) == 40  # as many as the set has, with replacement
    assert len(set(results["indices"])) < 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 41}, "pool.jsonl: 41 rows needed, but it has 40; lower rows to at most 40"),
        ({"windows": "packed", "seqlen": 10_000}, "packed windows of 10000, not for 8; lower rows or seqlen"),
        ({"windows": "folded"}, "unknown kind of windows 'folded'; known: packed, rows"),
        ({"protocol": "loose"}, "unknown protocol 'loose'; known: paper, strict"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"source": None}, "needs `source`"),
    ],
)
def test_errors(model, pool, tmp_path, options, message):
    with pytest.raises(SubmodelsError, match=message):
        calibrate(spec(), model, tmp_path / "out", **({"rows": 8, "seqlen": 8, "source": pool} | options))
    assert not (tmp_path / "out").exists()


def test_unknown_set_and_missing_tokenizer(model, pool, tmp_path):
    with pytest.raises(SubmodelsError, match=r"unknown calibration set 'pyhton'; known: .*python"):
        calibrate("pyhton", model, tmp_path / "out")
    with pytest.raises(SubmodelsError, match=r"no tokenizer; expected one of tokenizer.json"):
        calibrate(spec(), tmp_path, tmp_path / "out", source=pool)


def test_an_entry_as_json_is_the_same_as_a_name(model, pool, tmp_path):
    by_name, _ = run("python", model, tmp_path / "name", rows=4, seqlen=8, source=pool)
    by_entry, _ = run(spec().model_dump_json(), model, tmp_path / "entry", rows=4, seqlen=8, source=pool)
    assert (by_name["input_ids"] == by_entry["input_ids"]).all()
    with pytest.raises(SubmodelsError, match=r"calibration set: domain: Input should be .* \(got 'coding'\)"):
        calibrate('{"domain": "coding", "source": {"file": "a.json"}, "template": "{x}"}', model, tmp_path / "out")


def test_a_tokenizer_of_another_model_is_refused(pool, tmp_path):
    directory = make_model(tmp_path / "model")
    (directory / "config.json").write_text('{"vocab_size": 10}')
    with pytest.raises(SubmodelsError, match=r"config.json says vocab_size 10: the tokenizer belongs to another model"):
        calibrate(spec(), directory, tmp_path / "out", rows=2, seqlen=8, source=pool)


def test_no_torch_is_imported(model, pool, tmp_path):
    code = (
        "import sys; from pathlib import Path; from submodels.calibration.calibrate import calibrate;"
        f"calibrate('python', Path({str(model)!r}), Path({str(tmp_path / 'out')!r}), rows=4, seqlen=8,"
        f" source=Path({str(pool)!r})); print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "template", "total"),
    [
        ("openbookqa_train.json.gz", "{instruction}\n{output}", 4957),
        ("math_qa_dev.json.gz", "{Problem}\n{Rationale}", 4475),
        ("concode_java_dev.jsonl.gz", "{code}", 2000),
        ("commonsense_qa_train.jsonl.gz", "{question[stem]} {question[choices]:lettered}", 9741),
    ],
)
@pytest.mark.parametrize("windows", ["rows", "packed"])
def test_real_sets(shared, tmp_path, name, template, total, windows):
    real = spec(source={"file": shared / "data/calibration" / name}, template=template)
    model = shared / "data/models/stories260K"
    arrays, results = run(real, model, tmp_path / "out", rows=16, seqlen=64, windows=windows)
    assert arrays["input_ids"].shape == (16, 64)
    assert arrays["input_ids"].max() < 512
    assert arrays["input_ids"][0, 0] == 1  # <s>
    assert results["rows_in_source"] == total


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["stories260K", "babyllama105"])
def test_real_tokenizers_equal_auto_tokenizer(shared, name):
    from transformers import AutoTokenizer

    ours = load_text_tokenizer(shared / "data/models" / name)
    theirs = AutoTokenizer.from_pretrained(shared / "data/models" / name)
    for text in [*HARD, "Once upon a time, <s> there was a $ 猫.\n\n def f(x):\treturn x"]:
        assert ours.encode(text) == theirs(text)["input_ids"]
