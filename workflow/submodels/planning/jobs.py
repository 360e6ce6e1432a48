"""The jobs of a grid and which of them are left, from a Snakemake dry run: only this module knows the engine."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from submodels.errors import SubmodelsError
from submodels.grid import Grid
from submodels.trees import GRID_FILES

SNAKEFILE = Path(__file__).parents[3] / "Snakefile"
_BEGUN = re.compile(r"(?:local)?rule (\w+):")
_MADE = "    output: "
_WILDCARDS = "    wildcards: "


class Job(NamedTuple):
    """A job that the grid needs; `runs`: whether it is left to do."""

    rule: str
    wildcards: dict[str, str]
    runs: bool


def find_jobs(grid: Grid, grid_files: list[str]) -> list[Job]:
    """Every job that makes a file of the grid; `runs` is true for jobs of `snakemake --dry-run --rerun-incomplete`.

    grid_files: the files of the grid, as in the origin of its tree.
    """
    if not SNAKEFILE.is_file():
        raise SubmodelsError(f"{SNAKEFILE}: no such file; plans are made in a checkout of the workflow")
    with tempfile.TemporaryDirectory(prefix="submodels-") as directory:
        copy = Path(directory, "grid.json")
        copy.write_text(grid.config.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile", str(copy)]
        command += ["--cores", "1", "--dry-run", "--rerun-incomplete"]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
        how["env"] = os.environ | {GRID_FILES: json.dumps(grid_files)}
        processes = [subprocess.Popen([*command, *mode], **how) for mode in (["--forceall"], [])]
        outputs = [process.communicate()[0] for process in processes]
    for process, text in zip(processes, outputs, strict=True):
        if process.returncode:
            raise SubmodelsError(f"Snakemake cannot plan this grid:\n{text.strip()}")
    every, left = (list(_read(text)) for text in outputs)
    left = {(rule, *wildcards.items()) for rule, wildcards in left}
    return [Job(rule, wildcards, (rule, *wildcards.items()) in left) for rule, wildcards in every]


def _read(output: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rule and wildcards of each job in the output of a dry run; jobs that make no file, as `all`, are left out."""
    for block in re.split(r"(?m)^(?=\[)", output):
        rule, made, wildcards = None, False, {}
        for line in block.splitlines():
            if match := _BEGUN.fullmatch(line):
                rule = match[1]
            elif line.startswith(_MADE):
                made = True
            elif line.startswith(_WILDCARDS):
                wildcards = dict(pair.split("=", 1) for pair in line.removeprefix(_WILDCARDS).split(", "))
        if rule and made:
            yield rule, wildcards
