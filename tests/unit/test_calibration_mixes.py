"""Weighted mixes: each component gives what it would give alone at its share of the size and the same seed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from calibration_support import TEXTS, make_model, run, spec, write_rows

from submodels import files
from submodels.calibration.calibrate import calibrate
from submodels.calibration.registry import CalibrationSet
from submodels.errors import SubmodelsError
from submodels.layout import DRAWN_ROWS

ONE = spec()
TWO = CalibrationSet.model_validate({"domain": "math", "source": {"tiny_world": "math"}, "template": "# {text}"})
NOISE = CalibrationSet.model_validate({"domain": "control", "source": {"random_tokens": True}})
ENTRIES = {"one": ONE, "two": TWO, "noise": NOISE}


def mix(**weights):
    return CalibrationSet.model_validate({"domain": "generic", "source": {"mix": weights}})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture
def pools(tmp_path):
    return {
        "one": write_rows(tmp_path / "one.jsonl", TEXTS),
        "two": write_rows(tmp_path / "two.jsonl", [f"{i} plus {i} is {2 * i}" for i in range(60)]),
    }


@pytest.mark.parametrize("windows", ["rows", "packed"])
@pytest.mark.parametrize(
    ("size", "shares"), [({"rows": 10}, (7, 3)), ({"tokens_per_set": 100}, (67, 33))], ids=["rows", "budget"]
)
def test_a_mix_is_its_components_drawn_alone(model, pools, tmp_path, windows, size, shares):
    options = {"seqlen": 12, "seed": 4, "windows": windows}
    mixed, results = run(
        mix(one=2, two=1), model, tmp_path / "mix", source=pools, components=ENTRIES, **size, **options
    )
    alone = []
    for name, share in zip(("one", "two"), shares, strict=True):
        arrays, found = run(
            ENTRIES[name], model, tmp_path / name, source=pools[name], **dict.fromkeys(size, share), **options
        )
        alone.append(arrays)
        component = results["components"][name]
        assert {key: component[key] for key in ("windows", "tokens", "counted", "indices", "rows_used")} == {
            key: found[key] for key in ("windows", "tokens", "counted", "indices", "rows_used")
        }
        assert component["weight"] == {"one": 2, "two": 1}[name]
    assert (mixed["input_ids"] == np.concatenate([arrays["input_ids"] for arrays in alone])).all()
    for arrays in alone:
        arrays.setdefault("attention_mask", np.ones_like(arrays["input_ids"]))
    if "attention_mask" in mixed:
        assert (mixed["attention_mask"] == np.concatenate([arrays["attention_mask"] for arrays in alone])).all()
    else:
        assert windows == "packed"
        assert "rows" in size
    assert results["tokens"] == sum(arrays["attention_mask"].sum() for arrays in alone)
    assert results["windows"] == len(mixed["input_ids"])
    if "tokens_per_set" in size:
        assert results["counted"] == 100


def test_noise_can_be_a_component(model, pools, tmp_path):
    arrays, results = run(
        mix(one=1, noise=3), model, tmp_path / "out", rows=8, seqlen=6, source={"one": pools["one"]}, components=ENTRIES
    )
    assert arrays["attention_mask"][2:].all()
    assert [entry["windows"] for entry in results["components"].values()] == [2, 6]
    assert "indices" not in results["components"]["noise"]
    drawn = [(row["component"], row["row"]) for row in files.read_jsonl(tmp_path / "out" / DRAWN_ROWS)]
    assert drawn == [("one", index) for index in results["components"]["one"]["indices"]]


def test_the_manifest_follows_what_decides_the_windows(model, pools, tmp_path):
    def fingerprint(spec, **entries):
        calibrate(spec, model, tmp_path / "out", rows=9, seqlen=6, source=pools, components=ENTRIES | entries)
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert {"source:one", "source:two"} <= manifest["inputs"].keys()
        return manifest["fingerprint"]

    first = fingerprint(mix(one=2, two=1))
    assert fingerprint(mix(one=2, two=1)) == first
    changed = [mix(one=1, two=1), mix(two=1, one=2)]  # weights, order
    assert len({first, *map(fingerprint, changed)}) == 3
    assert fingerprint(mix(one=2, two=1), two=TWO.model_copy(update={"template": "{text}"})) != first
    write_rows(pools["two"], ["other"] * 60)
    assert fingerprint(mix(one=2, two=1)) != first


def test_a_registered_mix_by_name(model, pools, tmp_path):
    files = {"python": pools["one"], "math": pools["two"]}
    _, results = run("code_and_math", model, tmp_path / "out", rows=8, seqlen=6, source=files)
    assert [entry["rows_used"] for entry in results["components"].values()] == [4, 4]


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ({"one": 1, "three": 1}, {}, "source.mix: unknown calibration set 'three'; known: noise, one, two"),
        ({"one": 100, "two": 1}, {}, "component 'two' of the mix gets none of 8 rows; raise its weight, or take more"),
        (
            {"one": 8, "two": 1},
            {"rows": 90},
            r"'one' of the mix \(80 rows of 90 rows\): .*80 rows needed, but it has 40",
        ),
        ({"one": 1, "two": 1}, {"source": {}}, "component 'one' of the mix: a tiny_world calibration set needs"),
        ({"one": 1, "two": 1}, {"source": None}, "component 'one' of the mix: a tiny_world calibration set needs"),
        ({"one": 1, "noise": 1}, {}, "unknown component 'two'; known: noise, one"),
    ],
)
def test_faults(model, pools, tmp_path, weights, options, message):
    options = {"rows": 8, "seqlen": 6, "source": pools, "components": ENTRIES} | options
    with pytest.raises(SubmodelsError, match=message):
        calibrate(mix(**weights), model, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_one_file_is_not_for_a_mix_and_several_not_for_a_set(model, pools, tmp_path):
    with pytest.raises(SubmodelsError, match="a mix takes a file for each of its components"):
        calibrate(mix(one=1, two=1), model, tmp_path / "out", source=pools["one"], components=ENTRIES)
    with pytest.raises(SubmodelsError, match="a tiny_world calibration set has no components"):
        calibrate(ONE, model, tmp_path / "out", source=pools)


def test_on_the_command_line(model, pools, tmp_path):
    def submodels(*arguments):
        command = [sys.executable, "-m", "submodels", "calibrate", "--model", str(model), "--seqlen", "6", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    files = [argument for name, pool in pools.items() for argument in ("--source", f"{name}={pool}")]
    given = json.dumps({name: entry.model_dump(mode="json") for name, entry in ENTRIES.items()})
    mixed = ["--spec", mix(one=1, two=1).model_dump_json(), *files, "--components", given, "--tokens-per-set", "50"]
    done = submodels(*mixed, "--out", str(tmp_path / "cli"))
    assert done.returncode == 0, done.stderr
    run(mix(one=1, two=1), model, tmp_path / "here", tokens_per_set=50, seqlen=6, source=pools, components=ENTRIES)
    assert (tmp_path / "cli/windows.safetensors").read_bytes() == (tmp_path / "here/windows.safetensors").read_bytes()
    done = submodels("--spec", "python", *files, "--out", str(tmp_path / "no"))
    assert (done.returncode, done.stderr) == (1, "error: --source is given 2 times; only a mix takes several files\n")
