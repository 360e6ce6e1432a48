"""What the demo grid would run, from nothing."""

import subprocess
import sys

from dag import planned, snakemake

from submodels.config import read_grid
from submodels.grid import Grid

OTHER_GRID = """
name: other
base_models: [tiny-gemma]
submodels: [{methods: [magnitude], sparsities: [0.30]}]
benchmarks: [tiny_csr]
"""


def test_counts_follow_from_the_grid(root, tmp_path):
    grid = Grid(read_grid(root / "config.yaml"), "config.yaml")
    evaluated = sum(len(grid.evaluated(model)) for model in grid.models)
    draws = {(model, cell.draw) for model in grid.models for cell in grid.submodels(model).values() if cell.draw}
    assert planned(tmp_path) == {
        "all": 1,
        "world": 1,
        "train_base_model": len(grid.models),
        "calibrate": len(draws),
        "prune": sum(len(grid.submodels(model)) for model in grid.models),
        "export": len(grid.kept),
        "generate": evaluated,
        "execute": evaluated,
        "score": len(grid.models),
        "overlap": len(grid.models),
        "describe": 1,
        "tabulate": 1,
        "figures": 1,
        "report": 1,
    }


def test_at_least_twenty_submodels_are_reported(root):
    grid = Grid(read_grid(root / "config.yaml"), "config.yaml")
    assert sum(len(grid.evaluated(model)) - 1 for model in grid.models) >= 20


def test_another_grid_replaces_the_demo(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(OTHER_GRID, encoding="utf-8")
    plan = planned(tmp_path, "--configfile", str(other))
    assert plan["train_base_model"] == plan["prune"] == plan["score"] == 1
    assert plan["generate"] == 2
    printed = snakemake(tmp_path, "--configfile", str(other), "--cores", "1", "--dry-run", "--printshellcmds").stdout
    assert "tiny-gemma" in printed
    assert "tiny-llama" not in printed
    assert "wanda" not in printed


def test_a_faulty_grid_stops_before_any_job(tmp_path):
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text(OTHER_GRID.replace("benchmarks", "benchmark"), encoding="utf-8")
    result = snakemake(tmp_path, "--configfile", str(faulty), "--cores", "1", "--dry-run", check=False)
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert f"{faulty}: benchmark: unknown key" in said
    assert f"{faulty}: benchmarks: missing" in said
    assert "Traceback" not in said


PARSE = """
import sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ResourceSettings

with SnakemakeApi() as api:
    cores = ResourceSettings(cores=1)
    api.workflow(resource_settings=cores, snakefile=Path(sys.argv[1]), workdir=Path(sys.argv[2])).dag()
print(*sorted(sys.modules))
"""


def test_parsing_imports_nothing_heavy(root, tmp_path):
    """Every cluster job parses the Snakefile again. Snakemake's own plugins may import what they like."""

    def modules(snakefile):
        command = [sys.executable, "-c", PARSE, str(snakefile), str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return set(result.stdout.splitlines()[-1].split())

    empty = tmp_path / "Snakefile"
    empty.write_text("rule all:\n", encoding="utf-8")
    ours = modules(root / "Snakefile") - modules(empty)
    assert "submodels.grid" in ours
    assert not ours & {"torch", "transformers", "pandas", "lm_eval", "matplotlib", "datasets", "nltk", "numpy", "scipy"}
