"""Paths and texts of a grid with signs that Snakemake or a shell give a meaning; and what it is not told of a grid."""

import json

import numpy as np
import pytest
import yaml
from dag import clone, finish, planned, snakemake
from safetensors.numpy import save_file

SIGNS = ["{x}{y,\\d+}<results><x>{", "%s $HOME `id` 'a\" \\n é *[a]? ~"]


def project(place, sign):
    """A checkout, a grid's file and all that the grid names, each with that sign in its path."""
    root = clone(place / f"check{sign}out")
    for name in ("models", "data"):
        (root / name / sign).mkdir(parents=True)
    (root / "models" / sign / "config.json").write_text('{"hidden_size": 4, "vocab_size": 8}', encoding="utf-8")
    save_file({"layers.0.weight": np.zeros((4, 4), np.float32)}, root / "models" / sign / "model.safetensors")
    (root / "data" / sign / "code.jsonl").write_text('{"text": "a b c d"}\n', encoding="utf-8")
    (root / "data" / sign / "rows.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n', encoding="utf-8")
    task = yaml.safe_load((root / "resources/tasks/tiny_math.yaml").read_text(encoding="utf-8")) | {"task": "mine"}
    task["metadata"]["source"] = {"file": "mine.jsonl"}
    (root / "resources/tasks/mine.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    item = {"task_id": "a", "question": "1 + 1?", "answer": "#### 2"}
    (root / "resources/tasks/mine.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    rows = {
        "domain": "generic",
        "source": {"file": f"data/{sign}/code.jsonl"},
        "template": "{{model}} {text} $ '\" \\ \n",
    }
    grid = {
        "name": "signs",
        "base_models": ["m"],
        "models": {"m": {"path": f"models/{sign}", "description": f"{sign} {{model}}\n"}},
        "calibration_sets": {
            "c": rows,
            "both": {"domain": "generic", "source": {"mix": {"c": 1, "python": 2}}},
        },
        "submodels": [{"calibration_sets": ["c", "both"], "sparsities": [0.5]}],
        "benchmarks": ["gsm8k", "mine"],
        "sources": {"gsm8k": f"data/{sign}/rows.jsonl"},
    }
    (root / f"grid{sign}.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    return root, ["--configfile", str(root / f"grid{sign}.yaml")]


@pytest.mark.parametrize("sign", SIGNS)
def test_any_path_is_a_path(tmp_path, sign):
    root, grid = project(tmp_path, sign)
    jobs = planned(root, *grid, workflow=root)
    assert (jobs["calibrate"], jobs["prune"], jobs["score"], jobs["benchmark_items"]) == (2, 2, 1, 1)
    made = ["results/signs/benchmarks/gsm8k.jsonl", "results/signs/grid.json"]
    snakemake(root, *made, "--cores", "2", *grid, workflow=root)
    assert json.loads((root / made[0]).read_text(encoding="utf-8"))["question"] == "1 + 1?"
    assert (
        json.loads((root / made[1]).read_text(encoding="utf-8"))["models"]["m"]["description"] == f"{sign} {{model}}\n"
    )
    assert "Plan of signs" in snakemake(root, "plan", "--cores", "2", *grid, workflow=root).stdout
    # Links stand only where they must.
    assert (root / "results/signs/links").is_dir() == any(bracket in sign for bracket in "{}<>")


def test_files_behind_links_count_as_themselves(tmp_path):
    root, grid = project(tmp_path, "{x}")
    rows = root / "data/{x}/rows.jsonl"
    rows.rename(root / "rows.jsonl")
    said = snakemake(root, "--cores", "1", "--dry-run", *grid, check=False, workflow=root)
    assert said.returncode != 0
    assert "data/{x}/rows.jsonl: no such file" in said.stdout
    (root / "rows.jsonl").rename(rows)
    finish(root, *grid, workflow=root)
    assert planned(root, *grid, workflow=root) == {}
    for path, rule in [(rows, "benchmark_items"), (root / "models/{x}/config.json", "prune")]:
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        assert rule in planned(root, *grid, workflow=root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed: 1\nseed: 2\n", "other.yaml, line 6: the key 'seed' is there twice, first in line 5"),
        ("calibration: {rows: 010}\n", "other.yaml, line 5: YAML reads 010 as the number 8; write it as 8"),
    ],
)
def test_the_workflow_refuses_what_yaml_would_misread(tmp_path, change, message):
    text = "name: other\nbase_models: [tiny-llama]\nbenchmarks: [tiny_csr]\n"
    text += "submodels: [{methods: [magnitude], sparsities: [0.5]}]\n"
    path = tmp_path / "other.yaml"
    path.write_text(text, encoding="utf-8")
    assert planned(tmp_path, "--configfile", str(path))["prune"] == 1
    path.write_text(text + change, encoding="utf-8")
    said = snakemake(tmp_path, "--cores", "1", "--dry-run", "--configfile", str(path), check=False)
    assert said.returncode != 0
    assert message in said.stdout


def test_two_grids_are_merged_and_both_are_named(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        "name: both\nbase_models: &models [tiny-llama]\nbenchmarks: [tiny_csr]\n"
        "submodels: [{base_models: *models, methods: [magnitude], sparsities: [0.5]}]\n"
    )
    second.write_text('{\n\t"base_models": ["tiny-llama"],\n\t"evaluation": {"limit": 3}\n}')
    grids = ["--configfile", str(first), str(second)]
    assert planned(tmp_path, *grids)["prune"] == 1
    said = snakemake(tmp_path, "--cores", "1", "--dry-run", *grids, "--config", "nmae=x", check=False)
    assert f"{first} + {second}: nmae: unknown key" in said.stdout
