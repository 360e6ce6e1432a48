import json
import subprocess
import sys

import pytest
import yaml

from submodels.calibration.registry import (
    find_calibration_set,
    find_components,
    load_calibration_sets,
    parse_components,
)
from submodels.calibration.sources import LOCATORS
from submodels.errors import SubmodelsError

GOOD = {"domain": "code", "language": "java", "source": {"tiny_world": "java"}, "template": "{text}"}


def load(tmp_path, **entries):
    path = tmp_path / "sets.yaml"
    path.write_text(yaml.safe_dump(entries))
    return load_calibration_sets(path)


def test_every_shipped_set_is_valid_and_the_paper_is_complete():
    sets = load_calibration_sets()
    paper = """py_alpaca apps github_python code-java code-javascript code-cpp ob_qa hellaswag commonsense_qa
        wmt14 croissant opus_books math_qa math_qa_amini math_inst math_o c4"""
    demo = "python java cpp javascript math math_steps csr translation mix random_tokens code_and_math"
    assert set(paper.split() + demo.split()) <= sets.keys()
    assert sets["python"].source.kind == "tiny_world"
    assert sets["python"].language == "python"
    assert sets["wmt14"].source.hub == "wmt/wmt14"
    assert sets["random_tokens"].template is None
    assert {spec.source.kind for spec in sets.values()} <= LOCATORS.keys() | {"random_tokens", "mix"}
    assert [name for name, spec in sets.items() if spec.paper_padding] == ["wmt14"]  # the one set the authors pad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": "coding"}, "mine: domain: Input should be 'code', 'math', 'csr', .*got 'coding'"),
        ({"colour": "red"}, "mine: colour: unknown key; valid keys: domain, language, source"),
        (
            {"source": {"tiny_world": "java", "file": "a.jsonl"}},
            "mine: source: give exactly one .*got tiny_world, file",
        ),
        ({"source": {}}, "mine: source: give exactly one .*got none"),
        ({"source": {"hubb": "a/b"}}, "mine: source.hubb: unknown key; valid keys: hub, config"),
        ({"source": {"hub": "a/b", "split": "train"}}, "mine: source: a hub source needs revision and split"),
        ({"source": {"file": "a.jsonl", "split": "train"}}, "mine: source: split belongs to a hub source, not to file"),
        ({"domain": "math"}, "mine: language belongs to domain code, not to math"),
        ({"template": None}, "mine: a template is needed"),
        (
            {"source": {"mix": {"mine": 1, "java": 2}}},
            "mine: template belongs to a set that has rows .* not to mix",
        ),
        (
            {"source": {"random_tokens": True}},
            "mine: template belongs to a set that has rows .* not to random_tokens",
        ),
        ({"source": {"mix": {"java": 1}}}, r"mine: source.mix: Dictionary should have at least 2 items"),
        ({"source": {"mix": {"a": 0, "b": 1}}}, r"mine: source.mix.a: Input should be greater than 0 \(got 0\)"),
        ({"source": {"mix": {"a": -1.5, "b": 1}}}, r"mine: source.mix.a: Input should be greater than 0 \(got -1.5\)"),
        ({"source": {"mix": {"a": float("inf"), "b": 1}}}, r"mine: source.mix.a: Input should be a finite number"),
        ({"template": "{text"}, "mine: template: .*literal braces are doubled"),
        ({"template": "no field"}, "mine: template: .*no field"),
    ],
)
def test_bad_entries_name_file_key_and_choices(tmp_path, change, message):
    with pytest.raises(SubmodelsError, match=f"sets.yaml: {message}"):
        load(tmp_path, mine=GOOD | change)


MIX = {"domain": "generic", "source": {"mix": {"one": 2, "two": 1}}}


@pytest.mark.parametrize(
    ("two", "message"),
    [
        ({}, "mine: source.mix: unknown calibration set 'two'; known: mine, one$"),
        (
            {"two": MIX | {"source": {"mix": {"one": 1, "mine": 1}}}},
            "mine: source.mix: 'two' is itself a mix; name its components instead\n",
        ),
    ],
)
def test_a_mix_is_of_known_sets_that_are_no_mixes(tmp_path, two, message):
    with pytest.raises(SubmodelsError, match=f"sets.yaml: {message}"):
        load(tmp_path, mine=MIX, one=GOOD, **two)


def test_components_of_a_mix_come_in_its_order():
    assert list(find_components(load_calibration_sets()["code_and_math"])) == ["python", "math"]
    given = parse_components(json.dumps({"two": GOOD, "one": GOOD, "more": GOOD}))
    assert list(find_components(find_calibration_set(json.dumps(MIX)), given)) == ["one", "two"]
    with pytest.raises(SubmodelsError, match=r"source.mix: unknown calibration set 'two'; known: one"):
        find_components(find_calibration_set(json.dumps(MIX)), parse_components(json.dumps({"one": GOOD})))
    with pytest.raises(SubmodelsError, match=r"^component one: domain: Input should be"):
        parse_components(json.dumps({"one": GOOD | {"domain": "coding"}}))
    for text in ("{'one'", "[1]"):
        with pytest.raises(SubmodelsError, match=r"^components: not (valid JSON|a JSON object)"):
            parse_components(text)


def test_all_faults_come_together(tmp_path):
    with pytest.raises(SubmodelsError) as error:
        load(tmp_path, one=GOOD | {"domain": "x"}, two=GOOD | {"language": "cobol"})
    assert [line.split(": ")[1:3] for line in str(error.value).splitlines()] == [["one", "domain"], ["two", "language"]]


def test_a_set_as_json():
    assert find_calibration_set(json.dumps(GOOD)).source.tiny_world == "java"
    with pytest.raises(SubmodelsError, match=r"^calibration set: source.hubb: unknown key; valid keys: hub, config"):
        find_calibration_set(json.dumps(GOOD | {"source": {"hubb": "a/b"}}))
    with pytest.raises(SubmodelsError, match=r"^calibration set: not valid JSON"):
        find_calibration_set("{'domain': 'code'}")


def test_import_is_light():
    code = (
        "import sys; from submodels.calibration.registry import load_calibration_sets; load_calibration_sets();"
        "heavy = {'torch', 'transformers', 'tokenizers', 'numpy', 'pyarrow', 'datasets'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("mine: [1", "not valid YAML (while parsing"),
        ("mine: !!python/name:os.system", "not plain YAML (could not determine a constructor"),
        ("- mine", "a registry is a mapping"),
    ],
)
def test_a_file_that_is_no_registry_is_one_line(tmp_path, text, message):
    path = tmp_path / "sets.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SubmodelsError) as error:
        load_calibration_sets(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
