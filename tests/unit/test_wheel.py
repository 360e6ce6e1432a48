"""A wheel holds all that the stages need, wherever it is installed."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """A directory into which a wheel of the tracked files is installed."""
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    tracked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if name.startswith(("workflow/submodels", "resources/", "pyproject.toml", "README.md", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, source / name, follow_symlinks=False)
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(source), str(source)]
    done = subprocess.run([sys.executable, "-m", *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def stage(installed, directory, *arguments):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "submodels", *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


def test_it_holds_every_file_that_is_no_module(root, installed):
    files = {path.relative_to(root / "resources") for path in (root / "resources").rglob("*.yaml")}
    assert {path for path in files if "fetched" not in path.parts} <= {
        path.relative_to(installed / "submodels/shipped") for path in installed.rglob("*.yaml")
    }
    for pattern in ("*.j2", "*.js", "*.java", "*.css"):
        here = {path.name for path in (root / "workflow/submodels").rglob(pattern)}
        assert here <= {path.name for path in installed.rglob(pattern)}


def test_stages_find_registries_and_task_files_in_it(installed, tmp_path):
    done = stage(installed, tmp_path, "items", "--benchmark", "gsm8k", "--fixture", "--out", "items.jsonl")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "items.jsonl").read_text().splitlines()) == 4
    done = stage(installed, tmp_path, "execute", "--benchmark", "nothing", "--samples", "s", "--out", "o")
    assert "unknown benchmark" in done.stderr
    assert "humaneval" in done.stderr
    (tmp_path / "grid.yaml").write_text(
        "name: g\nbase_models: [tiny-llama]\nbenchmarks: [tiny_csr]\n"
        "submodels: [{methods: [magnitude], sparsities: [0.50]}]\n"
    )
    done = stage(installed, tmp_path, "describe", "--grid", "grid.yaml", "--out", "grid.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "grid.json").read_text())["submodels"]
