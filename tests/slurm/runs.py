"""Runs of the workflow from fresh copies of the repository, and what their results share."""

import csv
import gzip
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from submodels import files

ROOT = Path(__file__).resolve().parents[2]
GRID = Path(__file__).with_name("grid.yaml")
TREE = "results/reduced"  # of that grid
# What a user would write into the profile, so that rules which take a GPU on a cluster ask for one here, where none is.
GPUS = "set-resources: {prune: {gpu: 1}, generate: {gpu: 1}}\n"
# When and how long; nothing of what a job did.
TIMES = {"started", "wall_seconds", "peak_memory_mb", "generate_seconds", "execute_seconds"}
TIMES |= {"shared", "taken_from"}  # of other sub-models, and of a grid that runs at once: which job came first
HASHES = {"sha256", "fingerprint"}


def checkout(directory: Path) -> Path:
    """What a fresh clone has, with the reduced demo as its default grid and its GPU rules asking for a GPU."""
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    shutil.copyfile(GRID, directory / "config.yaml")
    with open(directory / "profiles/slurm/config.yaml", "a", encoding="utf-8") as profile:
        profile.write(GPUS)
    return directory


def write_grid(directory: Path, name: str, change: Callable[[dict], None]) -> str:
    """The reduced demo with a change, as a grid of its own."""
    grid = yaml.safe_load(GRID.read_text(encoding="utf-8")) | {"name": name}
    change(grid)
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    return path.name


def shorter(grid: dict) -> None:
    grid["calibration"]["seqlen"] = 64


def begun(directory: Path, finished: Path) -> Path:
    """A fresh copy in which the world and the base model of a finished run stand already."""
    checkout(directory)
    for name in ("world", "base_models"):
        shutil.copytree(finished / TREE / name, directory / TREE / name)
    return directory


def start(directory: Path, *arguments: str, log: Path, **environment: str) -> subprocess.Popen:
    """`snakemake <arguments>`, found on the PATH as a user's is, in `directory`; it says what it says to `log`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    with open(log, "ab") as said:
        return subprocess.Popen(
            ["snakemake", *arguments],
            cwd=directory,
            env=os.environ | {"PATH": path} | environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def snakemake(directory: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and all that was said, within half an hour."""
    log = directory.with_suffix(".log")
    log.unlink(missing_ok=True)
    return start(directory, *arguments, log=log).wait(1800), log.read_text(encoding="utf-8")


def differences(one: Path, other: Path, *parts: str) -> list[str]:
    """Files of the grid's tree that one run has and the other has not, or with other content; hidden files count.

    parts: only these directories.
    """
    first, second = _products(one, parts), _products(other, parts)
    return sorted(first.keys() ^ second.keys()) + [
        name for name in sorted(first.keys() & second.keys()) if first[name] != second[name]
    ]


def _products(directory: Path, parts: tuple[str, ...]) -> dict[str, object]:
    tree = directory / TREE
    parts = parts or tuple({path.name for path in tree.iterdir()} - {"logs", "timings"})
    paths = [path for part in parts for path in [tree / part, *(tree / part).rglob("*")] if path.is_file()]
    return {path.relative_to(tree).as_posix(): _content(path) for path in paths}


def _content(path: Path) -> object:
    """All that must be equal in a file; where a table or the page tells what runs cost, its CSV stands for it."""
    if path.parent.name == "scores":  # lists the hashes of files that tell what runs cost
        return sorted(files.read_json(path)["benchmarks"])
    if path.suffix == ".json":
        return _timeless(files.read_json(path))
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
    if path.stem in ("methods", "scores", "table_one") or path.name in ("index.html", ".snakemake_timestamp"):
        return None
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _timeless(value: object) -> object:
    """Without times, and without the hashes of manifests and of what hashes manifests."""
    if isinstance(value, dict):
        dropped = TIMES | HASHES if str(value.get("path", "")).endswith("manifest.json") else TIMES
        return {key: _timeless(item) for key, item in value.items() if key not in dropped}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
