"""The real client against a small server that speaks the part of the Hub's protocol the client uses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import COMMIT, serving

from submodels import fetch
from submodels.checkpoints.base import base_identity
from submodels.errors import SubmodelsError
from submodels.fetch import (
    WORDNET_FILES,
    fetch_benchmark,
    fetch_calibration_set,
    fetch_dataset,
    fetch_model,
    fetch_wordnet,
)
from submodels.files import sha256_file
from submodels.rows import read_rows

CALLS = {
    "model": ["fetch_model", "house/small", "main"],
    "abbreviated": ["fetch_model", "house/small", "1234567"],
    "ambiguous": ["fetch_model", "house/small", "9999999"],
    "pickled": ["fetch_model", "house/pickled", "main"],
    "gated": ["fetch_model", "house/gated", "main"],
    "absent": ["fetch_model", "house/absent", "main"],
    "revision": ["fetch_model", "house/small", "v9"],
    "rows": ["fetch_dataset", "house/rows", "1234567", None, "train[:50%]", "train.jsonl"],
    "entry": ["fetch_calibration_set", "house/rows", "main", None, "train", "train.jsonl"],
    "benchmark": ["fetch_benchmark", "house/rows", "main", None, "train", "train.jsonl"],
    "scripted": ["fetch_dataset", "house/scripted", "main", None, "test", ["a/rows.jsonl", "c/rows.jsonl"]],
    "script": ["fetch_dataset", "house/scripted", "main", None, "test", None],
    "nofile": ["fetch_dataset", "house/rows", "main", None, "train", "absent*.jsonl"],
    "nosplit": ["fetch_dataset", "house/rows", "main", None, "dev[:1]", None],
}

SCRIPT = """
import json, sys
from pathlib import Path
from submodels import fetch
from submodels.errors import SubmodelsError

calls, out, said = json.loads(sys.argv[1]), Path(sys.argv[2]), {}
for name, (function, hub, revision, *rest) in calls.items():
    try:
        if function == "fetch_model":
            fetch.fetch_model(hub, revision, out / name)
        elif function in ("fetch_calibration_set", "fetch_benchmark"):
            source = {"hub": hub, "revision": revision, "split": rest[1], "files": [rest[2]]}
            getattr(fetch, function)(json.dumps(source), out / name)
        else:
            config, split, pattern = rest
            patterns = [pattern] if isinstance(pattern, str) else pattern
            fetch.fetch_dataset(hub, revision, config, split, out / name, patterns)
    except SubmodelsError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Directory with what the calls left, and what they said. One process: the client reads its endpoint at import."""
    out = tmp_path_factory.mktemp("fetched")
    command = [sys.executable, "-c", SCRIPT, json.dumps(CALLS), str(out)]
    with serving(tmp_path_factory.mktemp("cache")) as environment:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["model", "abbreviated"])
def test_model_holds_weights_and_tokenizer_but_no_pickle_and_no_code(fetched, name):
    out, said = fetched
    assert name not in said, said
    wanted = {"config.json", "model.safetensors", "tokenizer.json"}
    assert {path.name for path in (out / name).iterdir()} == wanted | {"manifest.json"}
    manifest = json.loads((out / name / "manifest.json").read_text())
    assert manifest["parameters"]["revision"] == COMMIT
    assert manifest["results"]["files"] == {file: sha256_file(out / name / file) for file in wanted}
    assert manifest["results"]["identity"] == base_identity(out / name)


def test_dataset_slice_becomes_parquet_that_calibration_reads(fetched):
    out, said = fetched
    assert "rows" not in said, said
    rows = read_rows(out / "rows" / "rows.parquet", ["text"])
    assert [row["text"] for row in rows] == ["row 0", "row 1"]
    manifest = json.loads((out / "rows" / "manifest.json").read_text())
    assert manifest["parameters"]["revision"] == COMMIT
    assert manifest["results"]["rows"] == 2
    assert manifest["results"]["files"] == {"rows.parquet": sha256_file(out / "rows" / "rows.parquet")}


@pytest.mark.parametrize("name", ["entry", "benchmark"])
def test_a_calibration_set_or_a_benchmark_is_fetched_by_its_source(fetched, name):
    out, said = fetched
    assert name not in said, said
    assert len(read_rows(out / name / "rows.parquet", ["text"])) == 4


def test_json_files_beside_a_loading_script_are_read_and_the_script_is_not_run(fetched):
    out, said = fetched
    assert "scripted" not in said, said
    rows = read_rows(out / "scripted" / "rows.parquet", ["text"])
    assert [row["text"] for row in rows] == ["a", "c"]


def test_a_benchmark_is_fetched_by_its_name(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(fetch, "fetch_dataset", lambda *arguments: calls.append(arguments))
    fetch_benchmark("wmt14_en_fr", tmp_path)
    revision = "b199e406369ec1b7634206d3ded5ba45de2fe696"
    assert calls == [("wmt/wmt14", revision, None, "test", tmp_path, ["fr-en/test-*.parquet"])]


def test_only_hub_sets_are_fetched(tmp_path):
    with pytest.raises(SubmodelsError, match="benchmark tiny_math: its source is tiny_world, not hub; there is nothi"):
        fetch_benchmark("tiny_math", tmp_path / "out")
    with pytest.raises(SubmodelsError, match="calibration set python: its source is tiny_world, not hub"):
        fetch_calibration_set("python", tmp_path / "out")
    with pytest.raises(SubmodelsError, match="source: not valid JSON"):
        fetch_calibration_set("{hub}", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gated", "accept its licence at https://huggingface.co/house/gated, then `hf auth login` or set HF_TOKEN"),
        ("absent", "model house/absent@main: no such repository, or it is private"),
        ("revision", "model house/small@v9: no such revision; see https://huggingface.co/house/small/commits/main"),
        ("ambiguous", "model house/small: 0 commits begin with '9999999'"),
        ("pickled", "model house/pickled@main: no safetensors weights"),
        ("nofile", "dataset house/rows@main: "),
        ("nosplit", "dataset house/rows@main: "),
        ("script", "dataset house/scripted@main: Dataset scripts are no longer supported, but found scripted.py; name"),
    ],
)
def test_refusals_say_what_to_do_and_leave_nothing(fetched, name, message):
    out, said = fetched
    assert message in said[name]
    assert "\n" not in said[name]
    assert not (out / name).exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_no_network_is_said_in_one_line(tmp_path):
    code = (
        "from pathlib import Path; from submodels import fetch; from submodels.errors import SubmodelsError\n"
        f"try: fetch.fetch_model('house/small', 'main', Path({str(tmp_path / 'out')!r}))\n"
        "except SubmodelsError as error: print(error)"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path / "cache")}
    for offline in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):  # other stages set them
        environment.pop(offline, None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    assert done.stdout.startswith(
        "model house/small@main: the Hub cannot be reached; fetch on a machine with a network"
    )


def test_offline_mode_is_respected_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SubmodelsError, match="HF_HUB_OFFLINE is set"):
        fetch_model("house/small", "main", tmp_path / "out")
    with pytest.raises(SubmodelsError, match="HF_HUB_OFFLINE is set"):
        fetch_dataset("house/rows", "main", None, "train", tmp_path / "out")


def test_a_directory_of_something_else_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SubmodelsError, match="exists and was not fetched by this workflow"):
        fetch_model("house/small", "main", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


LICENCE = "  1 WordNet 3.0 Copyright 2006 by Princeton University.  \n"
SYNSET = "03 n 01 thing 0 000 | a thing  \n"


@pytest.fixture
def debian(tmp_path):
    """A WordNet of one noun, laid out as Debian's package lays it out: no lexnames, no index.sense."""
    directory = tmp_path / "debian"
    directory.mkdir()
    for name in WORDNET_FILES:
        (directory / name).write_text(LICENCE if name.startswith(("data", "index")) else "")
    offset = len(LICENCE)
    (directory / "data.noun").write_text(f"{LICENCE}{offset:08d} {SYNSET}")
    (directory / "index.noun").write_text(f"{LICENCE}thing n 1 0 1 0 {offset:08d}  \n")
    return directory


def test_wordnet_of_debian_is_read_by_nltk(tmp_path, debian, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # a copy needs no network
    for _ in range(2):  # the second replaces the first
        fetch_wordnet(tmp_path / "nltk_data", debian)
    made = tmp_path / "nltk_data" / "corpora" / "wordnet"
    manifest = json.loads((tmp_path / "nltk_data" / "manifest.json").read_text())
    assert manifest["results"]["files"]["corpora/wordnet/lexnames"] == sha256_file(made / "lexnames")
    lines = [line.split("\t") for line in (made / "lexnames").read_text().splitlines()]
    assert [int(number) for number, _, _ in lines] == list(range(45))
    assert lines[0] == ["00", "adj.all", "3"]
    assert lines[3] == ["03", "noun.Tops", "1"]
    assert lines[28] == ["28", "noun.time", "1"]
    assert lines[29] == ["29", "verb.body", "2"]
    assert lines[44] == ["44", "adj.ppl", "3"]
    code = (
        f"import nltk; nltk.data.path.insert(0, {str(tmp_path / 'nltk_data')!r});"
        "from nltk.corpus import wordnet; (thing,) = wordnet.synsets('things');"
        "print(thing.name(), thing.lexname())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "thing.n.01 noun.Tops\n", done.stderr


def test_wordnet_without_debian_and_without_permission_to_download(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SubmodelsError, match="HF_HUB_OFFLINE is set"):
        fetch_wordnet(tmp_path / "nltk_data", Path(tmp_path / "nowhere"))
