"""How long Snakemake plans a grid from nothing, with a bare Snakefile of the same jobs and files beside it."""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from submodels.config import read_grid  # noqa: E402
from submodels.grid import Grid  # noqa: E402
from submodels.terms import DENSE  # noqa: E402

# Ten thousand jobs: the paper's models and sets, two methods, five sparsities, five draws, thirteen benchmarks.
LARGE = {
    "submodels": {"methods": ["wanda", "ria"], "sparsities": [0.4, 0.5, 0.6, 0.7, "2of4"], "seeds": [0, 1, 2, 3, 4]},
    "benchmarks": [
        *("humaneval", "mbpp", "humanevalx_python", "humanevalx_java", "humanevalx_cpp", "humanevalx_javascript"),
        *("multiple_java", "multiple_cpp", "multiple_javascript", "python_to_java", "java_to_python"),
        *("gsm8k", "openbookqa"),
    ],
}

# Jobs and files as in the workflow; no parameters, resources, logs, environments or checks.
BARE = """
import json

GRID = json.load(open({grid!r}))
MODELS, CODE = GRID["models"], GRID["code"]

def mask(w):
    return f"model/{{w.model}}" if w.submodel == "dense" else f"mask/{{w.model}}/{{w.submodel}}"

def masks(w):
    return [f"mask/{{w.model}}/{{id}}" for id in MODELS[w.model] if id != "dense"]

def drawn(pattern):
    def of_submodel(w):
        draw = MODELS[w.model][w.submodel]
        return pattern.format(model=w.model, draw=draw) if draw else []
    return of_submodel

def each(pattern):
    return lambda w: [pattern.format(model=w.model, submodel=id) for id in MODELS[w.model]]

BENCHMARKS = GRID["benchmarks"]

wildcard_constraints:
    model="[^/]+", submodel="[^/]+", benchmark="[^/]+", draw="[^/]+", set="[^/]+"

rule report:
    input:
        expand("score/{{model}}", model=MODELS),
        expand("overlap/{{model}}", model=MODELS),
rule fetch_model:
    output: "model/{{model}}"
    shell: "touch {{output}}"
rule fetch_set:
    output: "set/{{set}}"
    shell: "touch {{output}}"
rule fetch_rows:
    output: "rows/{{benchmark}}"
    shell: "touch {{output}}"
rule items:
    input: "rows/{{benchmark}}"
    output: "items/{{benchmark}}"
    shell: "touch {{output}}"
rule calibrate:
    input: "model/{{model}}", lambda w: "set/" + GRID["draws"][w.draw]
    output: "windows/{{model}}/{{draw}}", "drawn/{{model}}/{{draw}}"
    shell: "touch {{output}}"
rule prune:
    input: "model/{{model}}", drawn("windows/{{model}}/{{draw}}")
    output: "mask/{{model}}/{{submodel}}"
    shell: "touch {{output}}"
rule generate:
    input: "model/{{model}}", mask, drawn("drawn/{{model}}/{{draw}}"), expand("items/{{name}}", name=BENCHMARKS)
    output: "generated/{{model}}/{{submodel}}"
    shell: "touch {{output}}"
rule execute:
    input: "generated/{{model}}/{{submodel}}"
    output: "executed/{{model}}/{{submodel}}"
    shell: "touch {{output}}"
rule score:
    input: each("generated/{{model}}/{{submodel}}"), each("executed/{{model}}/{{submodel}}") if CODE else []
    output: "score/{{model}}"
    shell: "touch {{output}}"
rule overlap:
    input: masks
    output: "overlap/{{model}}"
    shell: "touch {{output}}"
"""


def environment(directory: Path) -> dict[str, str]:
    """With a `scontrol` that fails at once: the Slurm executor calls it when imported, and may wait for its answer."""
    tool = directory / "bin/scontrol"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    tool.chmod(0o755)
    path = os.pathsep.join([str(tool.parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "workflow")}


def dry_run(directory: Path, *arguments: str, quiet: tuple[str, ...] = ("-q",)) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and the output of `snakemake -n -q`."""
    command = [sys.executable, "-m", "snakemake", "-n", *quiet, "--cores", "2", "--directory", str(directory)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, *arguments], env=environment(directory), check=True, capture_output=True, text=True, cwd=directory
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout + done.stderr


def bare(grid: Grid, directory: Path) -> Path:
    """A Snakefile of the same jobs and files."""
    models = {
        model: {DENSE: None} | {id: cell.draw for id, cell in grid.submodels(model).items()} for model in grid.models
    }
    described = {
        "models": models,
        "draws": {draw: cell.calibration for draw, cell in grid.draws().items()},
        "benchmarks": list(grid.benchmarks),
        "code": grid.code,
    }
    (directory / "grid.json").write_text(json.dumps(described), encoding="utf-8")
    path = directory / "Snakefile"
    path.write_text(BARE.format(grid=str(directory / "grid.json")), encoding="utf-8")
    return path


def measure(name: str, grid_file: Path, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        plain = bare(Grid(read_grid(grid_file), name), directory)
        sides = {
            "workflow": ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(grid_file)],
            "bare": ["--snakefile", str(plain)],
        }
        best = {}
        for side, arguments in sides.items():
            said = dry_run(directory, *arguments, quiet=("-q", "rules"))[2]
            jobs = int(re.search(r"(?m)^total +(\d+)$", said)[1])
            best[side] = (
                jobs,
                *map(min, zip(*(dry_run(directory, *arguments)[:2] for _ in range(rounds)), strict=True)),
            )
    for side, (jobs, wall, cpu) in best.items():
        ratio = cpu / best["bare"][2]
        print(f"{name:<8} {side:<9} {jobs:>7} {wall:>8.2f} {cpu:>8.2f} {ratio:>10.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--grid", type=Path, help="instead of the paper's grid and a large one")
    options = parser.parse_args()
    paper = ROOT / "resources/grids/paper.yaml"
    print(f"{'grid':<8} {'side':<9} {'jobs':>7} {'wall s':>8} {'CPU s':>8} {'CPU ratio':>10}")
    if options.grid:
        return measure(options.grid.stem, options.grid.resolve(), options.rounds)
    measure("paper", paper, options.rounds)
    grid = yaml.safe_load(paper.read_text(encoding="utf-8"))
    grid["submodels"][0] |= LARGE["submodels"]
    scratch = Path(tempfile.mkdtemp())
    large = scratch / "large.yaml"
    large.write_text(yaml.safe_dump(grid | {"benchmarks": LARGE["benchmarks"]}), encoding="utf-8")
    measure("large", large, options.rounds)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
