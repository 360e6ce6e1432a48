"""Where items of Hub benchmarks come from: fetched rows, a local file, a fixture; what runs again when they change."""

import pytest
from dag import clone, plan, planned, run_grid, snakemake, write_grid

from submodels.benchmarks.registry import load_benchmark
from submodels.config import check_grid
from submodels.grid import Grid

GRID = {
    "name": "sources",
    "base_models": ["tiny-llama"],
    "submodels": [{"methods": ["magnitude"], "sparsities": [0.5]}],
    "benchmarks": ["gsm8k", "openbookqa", "arc_easy", "hellaswag"],
    "sources": {
        "gsm8k": "gsm8k.jsonl",
        "arc_easy": {"path": "arc.jsonl", "adapter": "multiple_choice"},
        "openbookqa": "fixture",
    },
    "evaluation": {"synonyms": "none"},
}
ALWAYS = {"all": 1, "tabulate": 1, "figures": 1, "report": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A working directory in which the grid has been run."""
    directory = tmp_path_factory.mktemp("finished")
    for name in ("gsm8k.jsonl", "arc.jsonl"):
        (directory / name).write_text("{}\n", encoding="utf-8")
    return run_grid(directory, GRID)


def commands(directory):
    configuration = ["--configfile", str(directory / "grid.yaml"), "--cores", "1"]
    return snakemake(directory, *configuration, "--dry-run", "--printshellcmds").stdout


def test_every_kind_of_source(tmp_path):
    for name in ("gsm8k.jsonl", "arc.jsonl"):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    write_grid(tmp_path, GRID)
    jobs = plan(tmp_path)
    assert (jobs["fetch_benchmark"], jobs["benchmark_items"]) == (1, 4)  # hellaswag alone comes from the Hub
    printed = commands(tmp_path)
    assert "items --benchmark gsm8k --rows gsm8k.jsonl --adapter gsm8k " in printed
    assert "items --benchmark arc_easy --rows arc.jsonl --adapter multiple_choice " in printed
    assert "items --benchmark openbookqa --fixture --adapter openbookqa " in printed
    fetched = Grid(check_grid(GRID, "grid.yaml"), "grid.yaml").rows("hellaswag")
    revision = load_benchmark("hellaswag").source.revision
    assert fetched.startswith(f"resources/fetched/benchmarks/hellaswag@{revision[:12]}-")
    assert f"items --benchmark hellaswag --rows {fetched} --adapter hellaswag " in printed
    assert 'HF_HUB_OFFLINE=0 python -m submodels fetch-benchmark --source \'{"hub":"Rowan/hellaswag"' in printed


def test_editing_a_local_source_makes_no_other_items(project):
    (project / "gsm8k.jsonl").write_text('{"question": "?"}\n', encoding="utf-8")
    assert plan(project) == ALWAYS | {"benchmark_items": 1, "generate": 2, "score": 1}


def test_another_source_of_one_benchmark_makes_no_other_items(project):
    write_grid(project, GRID | {"sources": GRID["sources"] | {"arc_easy": "fixture"}})
    assert plan(project) == ALWAYS | {"describe": 1, "benchmark_items": 1, "generate": 2, "score": 1}


def test_another_revision_of_a_hub_benchmark_fetches_no_other(project, tmp_path):
    """The workflow with another commit in one task file: its rows are fetched beside the old ones."""
    path = clone(tmp_path / "copy") / "resources/tasks/hellaswag.yaml"
    text = path.read_text(encoding="utf-8")
    pinned = load_benchmark("hellaswag").source.revision
    path.write_text(text.replace(f"revision: {pinned}", f"revision: {'b' * 40}"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    jobs = planned(project, "--configfile", str(project / "grid.yaml"), workflow=tmp_path / "copy")
    assert jobs == ALWAYS | {"fetch_benchmark": 1, "benchmark_items": 1, "generate": 2, "score": 1}
