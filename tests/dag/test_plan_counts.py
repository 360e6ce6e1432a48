"""The plan's jobs are those that Snakemake would run, from nothing and in every state that a tree can be in."""

import base64
import csv
import re
import shutil
from collections import Counter

import pytest
import yaml
from dag import ROOT, clone, finish, newer, planned, snakemake

from submodels.config import read_grid
from submodels.errors import SubmodelsError
from submodels.grid import Grid
from submodels.planning import jobs
from submodels.planning.work import Work

SMALL = {
    "name": "small",
    "base_models": ["tiny-llama", "tiny-gemma"],
    "submodels": [
        {"calibration_sets": ["python", "code_and_math"], "sparsities": [0.5], "seeds": [0, 1]},
        {"base_models": ["tiny-llama"], "methods": ["sparsegpt"], "calibration_sets": ["mine"], "sparsities": ["2of4"]},
        {"methods": ["magnitude"], "sparsities": [0.5], "evaluate": False},
    ],
    "calibration_sets": {"mine": {"domain": "code", "source": {"file": "mine.jsonl"}, "template": "{text}"}},
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
LOCAL = {"fetch_base_model", "fetch_calibration_set", "fetch_benchmark", "describe"}  # they ask for nothing
SUBMODEL = "results/small/submodels/tiny-llama/wanda-python-0.50-s0"


def write(directory, grid, name="grid.yaml"):
    path = directory / name
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    (directory / "mine.jsonl").write_text("{}\n", encoding="utf-8")
    return path


def find_jobs(path, monkeypatch):
    """The jobs of a grid in its file's directory, and how a plan says them."""
    monkeypatch.chdir(path.parent)
    return jobs.find_jobs(Grid(read_grid(path), str(path)), [str(path)])


def left(found):
    """How many jobs of each rule a plan says are left."""
    return Counter(job.rule for job in found if job.runs)


def planned_jobs(path, workflow=ROOT):
    """The same, by Snakemake; without its target `all`, which does nothing and has no output."""
    counts = planned(path.parent, "--configfile", str(path), "--rerun-incomplete", workflow=workflow)
    return {rule: count for rule, count in counts.items() if rule != "all"}


@pytest.mark.parametrize("grid", [SMALL, HUB], ids=["small", "hub"])
def test_counts_from_nothing(grid, tmp_path, monkeypatch):
    path = write(tmp_path, grid)
    assert left(find_jobs(path, monkeypatch)) == planned_jobs(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A working directory in which the small grid has been run."""
    path = write(tmp_path_factory.mktemp("finished"), SMALL)
    finish(path.parent, "--configfile", str(path))
    return path.parent


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """How many jobs of each rule the small grid has."""
    return planned_jobs(write(tmp_path_factory.mktemp("empty"), SMALL))


def delete(*names):
    def change(project):
        for name in names:
            (found,) = project.glob(name)
            shutil.rmtree(found) if found.is_dir() else found.unlink()

    return change


def kill(output):
    """Mark an output as what a killed job leaves, as Snakemake does."""

    def change(project):
        mark = base64.urlsafe_b64encode(output.encode()).decode()
        (project / ".snakemake/incomplete" / mark).write_text('{"external_jobid": null}', encoding="utf-8")

    return change


def edit_rows(project):
    (project / "mine.jsonl").write_text('{"text": "other"}\n', encoding="utf-8")


def change_a_parameter(project):
    write(project, SMALL | {"evaluation": {"limit": 5}})


STATES = {
    "finished": delete(),
    "no scores": delete("results/small/report", "results/small/scores/tiny-gemma.json"),
    "one mask fewer": delete(
        f"{SUBMODEL}/submodel.safetensors", "results/small/overlap", "results/small/tables", "results/small/report"
    ),
    "a mask fewer that nothing needs any more": delete(SUBMODEL),
    "no generations": delete(
        "results/small/generations/tiny-llama", "results/small/executions/tiny-gemma", "results/small/checkpoints"
    ),
    "no base model": delete("results/small/base_models/tiny-gemma", "results/small/report"),
    "nothing fetched": delete(
        "resources/fetched/benchmarks/gsm8k@*", "results/small/benchmarks", "results/small/report"
    ),
    "killed": kill(f"{SUBMODEL}/submodel.safetensors"),
    "killed while scoring": kill("results/small/scores/tiny-gemma.json"),
    "edited rows": edit_rows,
    "another parameter": change_a_parameter,
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_what_is_done_is_subtracted(change, project, everything, monkeypatch):
    change(project)
    found = find_jobs(project / "grid.yaml", monkeypatch)
    assert left(found) == planned_jobs(project / "grid.yaml")
    assert Counter(job.rule for job in found) == everything


def test_what_another_grid_fetched_is_subtracted(tmp_path, monkeypatch):
    other = write(tmp_path, SMALL | {"name": "other"}, "other.yaml")
    finish(tmp_path, "--configfile", str(other))
    path = write(tmp_path, SMALL)
    found = find_jobs(path, monkeypatch)
    assert left(found) == planned_jobs(path)
    assert {job.rule for job in found if not job.runs} == {"fetch_benchmark", "fetch_wordnet"}


def test_what_another_version_of_the_workflow_made_is_not_subtracted(project, tmp_path, monkeypatch):
    workflow = newer(tmp_path / "copy", "versions.py", "SCORE += 1000")
    monkeypatch.setattr(jobs, "SNAKEFILE", workflow / "Snakefile")
    found = left(find_jobs(project / "grid.yaml", monkeypatch))
    assert found == planned_jobs(project / "grid.yaml", workflow)
    assert found["score"] == 2
    assert "generate" not in found


def test_a_plan_of_a_grid_that_snakemake_refuses_says_why(tmp_path, monkeypatch):
    path = write(tmp_path, SMALL)
    (tmp_path / "mine.jsonl").unlink()
    with pytest.raises(SubmodelsError, match=r"(?s)Snakemake cannot plan this grid:.*mine\.jsonl"):
        find_jobs(path, monkeypatch)


def test_the_rule_prints_and_always_runs(tmp_path):
    path = write(tmp_path, HUB)
    for _ in range(2):
        done = snakemake(tmp_path, "--configfile", str(path), "--cores", "1", "plan")
        assert "Plan of hub" in done.stdout
    assert sum(planned_jobs(path).values()) == int(
        re.search(r"Plan of hub: ([\d,]+) jobs to run, 0 done", done.stdout)[1]
    )
    rows = list(csv.DictReader((tmp_path / "results/hub/plan/plan.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[-1]["rule"] == "total"
    assert (tmp_path / "results/hub/plan/plan.html").is_file()
    assert (tmp_path / "results/hub/logs/plan.log").read_text(encoding="utf-8").startswith("Plan of hub")


def test_rules_ask_for_what_the_plan_says(tmp_path, monkeypatch):
    path = write(tmp_path, HUB)
    found = find_jobs(path, monkeypatch)
    work = Work(Grid(read_grid(path), str(path)))
    printed = snakemake(tmp_path, "--configfile", str(path), "--cores", "1", "--dry-run").stdout
    asked = {}
    for block in re.split(r"\n(?=(?:local)?rule )", printed):
        if rule := re.match(r"(?:local)?rule (\w+):", block):
            wildcards = re.search(r"wildcards: (.*)", block)
            key = tuple(sorted(tuple(one.split("=")) for one in wildcards[1].split(", "))) if wildcards else ()
            resources = re.search(r"resources: (.*mem_mb.*)", block)
            asked[rule[1], key] = dict(one.split("=") for one in resources[1].split(", ")) if resources else None
    del asked["all", ()]
    assert {(job.rule, tuple(sorted(job.wildcards.items()))) for job in found} == set(asked)
    assert {rule for (rule, _), resources in asked.items() if resources is None} == LOCAL
    for (rule, key), resources in asked.items():
        if resources is not None:
            assert int(resources["mem_mb"]) == work.memory_mb(rule, **dict(key))
            assert int(resources["runtime"]) == work.minutes(rule, **dict(key))
            assert int(resources.get("gpu", 0)) == work.gpus(rule)
    assert {rule for rule in {job.rule for job in found} if work.gpus(rule)} == {"prune", "generate"}


def test_other_figures_rerun_nothing(finished, tmp_path):
    """Requests are no parameters."""
    workflow = clone(tmp_path / "clone")
    figures = workflow / "resources/hardware.yaml"
    text = figures.read_text(encoding="utf-8")
    figures.write_text(text.replace("requests: {memory: 1.4", "requests: {memory: 9.9"), encoding="utf-8")
    assert figures.read_text(encoding="utf-8") != text
    assert planned(finished, "--configfile", str(finished / "grid.yaml"), workflow=workflow) == {}
