"""`snakemake fetch`: everything that a grid needs from elsewhere, and nothing else."""

import json

import yaml
from dag import planned, snakemake
from fake_hub import COMMIT, serving

SIZES = {"parameters": 100, "prunable": 60, "blocks": 2, "hidden": 4, "intermediate": 8, "vocabulary": 10}
ROWS = {"hub": "house/rows", "revision": "1234567", "split": "train", "files": ["train.jsonl"]}
GRID = {
    "name": "fetching",
    "base_models": ["small", "tiny-llama"],
    "models": {"small": {"hub": "house/small", "revision": "main", "shape": SIZES | {"dtype": "bfloat16"}}},
    "calibration_sets": {
        name: {"domain": "code", "source": ROWS, "template": "{text}"} for name in ("used", "mixed", "unused")
    }
    | {"both": {"domain": "generic", "source": {"mix": {"mixed": 1, "csr": 1}}}},
    "submodels": [{"calibration_sets": ["used", "both"], "sparsities": [0.5]}],
    "benchmarks": ["tiny_csr", "gsm8k", "wmt14_en_fr"],
    "sources": {"gsm8k": "fixture"},
}


def write(directory, grid):
    path = directory / "grid.yaml"
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    return "--configfile", str(path)


def test_only_what_the_grid_uses_is_fetched(tmp_path):
    jobs = planned(tmp_path, "--cores", "1", "fetch", *write(tmp_path, GRID))
    assert jobs == {
        "fetch": 1,
        "fetch_base_model": 1,
        "fetch_calibration_set": 2,
        "fetch_benchmark": 1,
        "fetch_wordnet": 1,
    }
    without = GRID | {"evaluation": {"synonyms": "none"}, "benchmarks": ["tiny_csr", "gsm8k"]}
    jobs = planned(tmp_path, "--cores", "1", "fetch", *write(tmp_path, without))
    assert jobs == {"fetch": 1, "fetch_base_model": 1, "fetch_calibration_set": 2}


def test_what_it_brings_is_all_that_a_later_run_lacks(tmp_path):
    grid = GRID | {"benchmarks": ["tiny_csr"]}
    arguments = write(tmp_path, grid)
    with serving(tmp_path / "cache") as environment:
        snakemake(tmp_path, "--cores", "1", "fetch", *arguments, environment=environment)
    places = ["calibration_sets/mixed@1234567", "calibration_sets/used@1234567", "models/small@main"]
    manifests = sorted((tmp_path / "resources/fetched").rglob("manifest.json"))
    found = [manifest.parent.relative_to(tmp_path / "resources/fetched").as_posix() for manifest in manifests]
    assert [place.rpartition("-")[0] for place in found] == places
    for manifest in manifests:
        assert json.loads(manifest.read_text(encoding="utf-8"))["parameters"]["revision"] == COMMIT
    assert not [rule for rule in planned(tmp_path, *arguments) if rule.startswith("fetch")]


def test_a_gated_model_is_one_clear_line(tmp_path):
    models = {"small": GRID["models"]["small"] | {"hub": "house/gated"}}
    grid = GRID | {"models": models, "base_models": ["small"], "benchmarks": ["tiny_csr"]}
    with serving(tmp_path / "cache") as environment:
        done = snakemake(
            tmp_path, "--cores", "1", "--retries", "0", "fetch", *write(tmp_path, grid),
            check=False, environment=environment,
        )  # fmt: skip
    assert done.returncode != 0
    line = (
        "error: model house/gated@main: access must be granted first; accept its licence at "
        "https://huggingface.co/house/gated, then `hf auth login` or set HF_TOKEN"
    )
    assert line in (done.stdout + done.stderr).splitlines()
