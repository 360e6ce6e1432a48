"""The study that is committed: its tables and figures follow from its scores."""

import runpy
from pathlib import Path

import pytest

from submodels import files

STUDY = Path(__file__).resolve().parents[2] / "docs/study"
GRIDS = sorted(path.parent for path in STUDY.glob("*/grid.json"))


@pytest.fixture(scope="module")
def update():
    return runpy.run_path(str(STUDY / "update.py"))


@pytest.mark.parametrize("grid", GRIDS, ids=lambda path: path.name)
def test_tables_and_figures_follow_from_the_scores(grid, update, tmp_path):
    update["make"](grid, tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("*/*")}
    here = {path.relative_to(grid): path for of in ("tables", "figures") for path in grid.glob(f"{of}/*")}
    assert here.keys() == made.keys()
    for name, path in here.items():
        if name.suffix == ".csv":
            assert path.read_bytes() == made[name], f"{name}: run `python docs/study/update.py`"


@pytest.mark.parametrize("grid", GRIDS, ids=lambda path: path.name)
def test_scores_are_those_of_the_grid_that_is_shown(grid):
    description = files.read_json(grid / "grid.json")
    for model, entry in description["models"].items():
        for benchmark in description["benchmarks"]:
            scores = files.read_json(grid / f"scores/{model}/{benchmark}.json")
            assert list(scores["submodels"]) == entry["evaluated"]
