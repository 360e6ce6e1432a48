"""Dry runs of the workflow, and what they would do."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import snakemakes
import yaml

ROOT = Path(__file__).resolve().parents[2]
_FINISHED = 1_700_000_000  # when everything in a finished tree was made


def clone(to: Path) -> Path:
    """What a fresh clone holds of the workflow: nothing fetched, nothing made."""
    to.mkdir(parents=True)
    for name in ("Snakefile", "config.yaml", "workflow", "resources", "envs", "profiles"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("fetched", "__pycache__")
            shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, to / name)
    shutil.copy(ROOT / "slurm", to / "slurm", follow_symlinks=False)
    return to


def newer(to: Path, module: str, line: str) -> Path:
    """A clone of a newer release: one of its modules ends with a further line, such as `GENERATE += 1`."""
    with open(clone(to) / "workflow/submodels" / module, "a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    return to


def snakemake(
    directory: Path,
    *arguments: str,
    check: bool = True,
    workflow: Path = ROOT,
    environment: Mapping[str, str] = os.environ,
) -> subprocess.CompletedProcess:
    """Run Snakemake of this environment on the checkout, in a working directory of its own."""
    place = ["--snakefile", str(workflow / "Snakefile"), "--directory", str(directory)]
    result = snakemakes.run([*place, *arguments], Path.cwd(), {**environment, "LC_ALL": "C.UTF-8"})
    if check and result.returncode:
        raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{result.stdout}\n{result.stderr}")
    return result


def planned(directory: Path, *arguments: str, **options) -> dict[str, int]:
    """Jobs per rule that a run would do, without the total. options: those of `snakemake`."""
    result = snakemake(directory, "--cores", "2", "--dry-run", "--quiet", "rules", *arguments, **options)
    found = {rule: int(count) for rule, count in re.findall(r"(?m)^(\w+) +(\d+)$", result.stdout + result.stderr)}
    found.pop("total", None)
    return found


def write_grid(directory: Path, grid: dict) -> None:
    (directory / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")


def plan(directory: Path) -> dict[str, int]:
    """`planned` for the directory's grid."""
    return planned(directory, "--configfile", str(directory / "grid.yaml"))


def run_grid(directory: Path, grid: dict) -> Path:
    """Make the directory one in which the grid has been run."""
    write_grid(directory, grid)
    finish(directory, "--configfile", str(directory / "grid.yaml"))
    assert plan(directory) == {}
    return directory


def finish(directory: Path, *arguments: str, **options) -> None:
    """Make a finished tree without running a job: every output as a stand-in file, recorded as up to date.

    options: those of `snakemake`.
    """
    summary = snakemake(directory, *arguments, "--cores", "1", "--summary", **options).stdout
    lines = [line.split("\t")[0] for line in summary.splitlines() if line.startswith(("results/", "resources/"))]
    outputs = [directory / line for line in lines]
    directories = {parent for path in outputs for parent in path.parents}
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.suffix or path in directories:
            path.mkdir(exist_ok=True)
        elif not path.exists():
            path.write_text(f"stand-in for {path.name}\n", encoding="utf-8")
    snakemake(directory, *arguments, "--cores", "1", "--touch", "--forceall", **options)
    for path in [*directory.iterdir(), *(directory / "results").rglob("*")]:
        os.utime(path, (_FINISHED, _FINISHED))
