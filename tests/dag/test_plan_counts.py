"""The plan's jobs are those that Snakemake would run, from nothing and in a tree that is partly finished."""

import csv
import re
import shutil
from collections import Counter

import pytest
import yaml
from dag import clone, finish, planned, snakemake

from submodels.config import read_grid
from submodels.grid import TIMINGS, Expansion
from submodels.planning.jobs import find_jobs, left, targets
from submodels.planning.work import Work

SMALL = {
    "name": "small",
    "base_models": ["tiny-llama", "tiny-gemma"],
    "submodels": [
        {"calibration_sets": ["python", "code_and_math"], "sparsities": [0.5], "seeds": [0, 1]},
        {"base_models": ["tiny-llama"], "methods": ["sparsegpt"], "calibration_sets": ["math"], "sparsities": ["2of4"]},
        {"methods": ["magnitude"], "sparsities": [0.5], "evaluate": False},
    ],
    "benchmarks": ["tiny_python", "tiny_math", "humaneval", "gsm8k", "wmt14_en_fr", "openbookqa"],
    "sources": {"openbookqa": "fixture"},
    "keep": ["tiny-llama/wanda-python-0.50-s0"],
}
HUB = {
    "name": "hub",
    "base_models": ["mistral-7b-instruct", "gemma-1.1-7b-it"],
    "submodels": [
        {"calibration_sets": ["py_alpaca", "c4", "mine", "all"], "sparsities": [0.5, "2of4"], "rows": [32, 128]},
        {"base_models": ["gemma-1.1-7b-it"], "methods": ["random"], "sparsities": [0.7], "seeds": [0, 1]},
    ],
    "calibration_sets": {
        "mine": {"domain": "code", "source": {"file": "mine.jsonl"}, "template": "{text}"},
        "all": {"domain": "generic", "source": {"mix": {"mine": 1, "math_qa": 1, "csr": 2, "random_tokens": 1}}},
    },
    "benchmarks": ["mbpp", "hellaswag", "multiple_java", "java_to_cpp", "wikitext2"],
    "pruning": {"device": "cuda"},
    "evaluation": {"device": "cuda", "dtype": "bfloat16", "batch_size": "auto", "limit": 20},
}


def planned_here(path, directory, monkeypatch):
    """Jobs per rule that the plan of a grid counts in a directory."""
    monkeypatch.chdir(directory)
    grid = Expansion(read_grid(path), str(path))
    return Counter(job.rule for job in left(find_jobs(grid), targets(grid)))


def without_all(jobs):
    """Snakemake counts its target, `all`, which does nothing; a plan does not."""
    return {rule: count for rule, count in jobs.items() if rule != "all"}


def write(directory, grid):
    path = directory / "grid.yaml"
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    (directory / "mine.jsonl").write_text("{}\n", encoding="utf-8")
    return path


def shipped(root):
    return sorted([root / "config.yaml", *(root / "resources/grids").glob("*.yaml")])


@pytest.mark.parametrize("grid", [SMALL, HUB], ids=["small", "hub"])
def test_counts_from_nothing(grid, tmp_path, monkeypatch):
    path = write(tmp_path, grid)
    assert planned_here(path, tmp_path, monkeypatch) == without_all(planned(tmp_path, "--configfile", str(path)))


def test_counts_of_the_grids_that_ship(root, tmp_path, monkeypatch):
    for path in shipped(root):
        expected = without_all(planned(tmp_path, "--configfile", str(path)))
        assert planned_here(path, tmp_path, monkeypatch) == expected, path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    path = write(directory, SMALL)
    finish(directory, "--configfile", str(path))
    return directory


MASK = "results/submodels/tiny-llama/wanda-python-0.50-s0/"
PARTS = {
    "nothing": [],
    "scores": ["results/report", "results/scores/tiny-gemma"],
    "one mask": [f"{MASK}submodel.safetensors", "results/overlap", "results/tables", "results/report"],
    "a mask that nothing needs any more": [MASK],
    "generations": ["results/generations/tiny-llama", "results/executions/tiny-gemma", "results/checkpoints"],
    "a base model": ["results/base_models/tiny-gemma", "results/report"],
    "contamination": ["results/contamination", "results/generations", "results/report"],
    "a fetched benchmark": ["resources/fetched/benchmarks/gsm8k", "results/benchmarks", "results/report"],
}


@pytest.mark.parametrize("missing", PARTS.values(), ids=PARTS)
def test_what_is_done_is_subtracted(missing, finished, tmp_path, monkeypatch):
    directory = shutil.copytree(finished, tmp_path / "project")
    for name in missing:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    expected = without_all(planned(directory, "--configfile", str(directory / "grid.yaml")))
    assert planned_here(directory / "grid.yaml", directory, monkeypatch) == expected


def test_the_rule_prints_and_always_runs(tmp_path):
    path = write(tmp_path, HUB)
    for _ in range(2):
        done = snakemake(tmp_path, "--configfile", str(path), "--cores", "1", "plan")
        assert "Plan of hub" in done.stdout
    assert sum(planned(tmp_path, "--configfile", str(path)).values()) - 1 == int(
        re.search(r"Plan of hub: ([\d,]+) jobs to run, 0 done", done.stdout)[1]
    )
    rows = list(csv.DictReader((tmp_path / "results/plan/plan.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[-1]["rule"] == "total"
    assert (tmp_path / "results/plan/plan.html").is_file()
    assert (tmp_path / "results/logs/plan.log").read_text(encoding="utf-8").startswith("Plan of hub")


def test_rules_ask_for_what_the_plan_says(tmp_path, monkeypatch):
    path = write(tmp_path, HUB)
    monkeypatch.chdir(tmp_path)
    work = Work(Expansion(read_grid(path), str(path)))
    printed = snakemake(tmp_path, "--configfile", str(path), "--cores", "1", "--dry-run").stdout
    found = {}
    for block in re.split(r"\n(?=(?:local)?rule )", printed):
        if (rule := re.match(r"rule (\w+):", block)) and (asked := re.search(r"resources: (.*mem_mb.*)", block)):
            wildcards = re.search(r"wildcards: (.*)", block)
            key = tuple(tuple(one.split("=")) for one in wildcards[1].split(", ")) if wildcards else ()
            found[rule[1], key] = dict(one.split("=") for one in asked[1].split(", "))
    assert {rule for rule, _ in found} == {*TIMINGS, "benchmark_items"} - {"train_base_model", "export"}
    for (rule, key), asked in found.items():
        assert int(asked["mem_mb"]) == work.memory_mb(rule, **dict(key))
        assert int(asked["runtime"]) == work.minutes(rule, **dict(key))
        assert int(asked.get("gpu", 0)) == work.gpus(rule)
    assert sum(int(asked.get("gpu", 0)) for asked in found.values()) == sum(
        count for rule, count in planned_here(path, tmp_path, monkeypatch).items() if rule in ("prune", "generate")
    )


def test_other_figures_rerun_nothing(finished, tmp_path):
    """Requests are no parameters."""
    workflow = clone(tmp_path / "clone")
    figures = workflow / "resources/hardware.yaml"
    text = figures.read_text(encoding="utf-8")
    figures.write_text(text.replace("requests: {memory: 1.4", "requests: {memory: 9.9"), encoding="utf-8")
    assert figures.read_text(encoding="utf-8") != text
    assert planned(finished, "--configfile", str(finished / "grid.yaml"), workflow=workflow) == {}
