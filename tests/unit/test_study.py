"""The study that is committed: its tables and figures follow from its scores."""

import runpy
from pathlib import Path

import analysis_fixture
import pytest
from test_tables import accuracy

from submodels import files
from submodels.analysis.study import Study

STUDY = Path(__file__).resolve().parents[2] / "docs/study"
LANGUAGES = ("python", "java")
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


def test_what_diverse_training_saves(update):
    """Trained on everything, models lose 1/4 on both benchmarks, trained on code 1/2 and 3/4: 3/8 less in the mean."""
    before, after = accuracy([1, 1, 1, 1]), {n: accuracy([0] * n + [1] * (4 - n)) for n in (1, 2, 3)}
    lost = {"all": (1, 1), "code": (2, 3)}
    specs = {
        f"{kind}-{seed}": {"tiny_world": "llama", "domains": ["python"] if kind == "code" else None}
        for kind in lost
        for seed in range(3)
    }
    entries = {f"wanda-{name}-0.50-s0": analysis_fixture.submodel_entry("wanda", name, "0.50", 0) for name in LANGUAGES}
    benchmarks = {f"tiny_{name}": {"domain": "code", "language": name, "primary": "accuracy"} for name in LANGUAGES}
    scores = {
        (model, name): {
            "model": model,
            "bootstrap": analysis_fixture.BOOTSTRAP,
            "higher_is_better": True,
            "submodels": {"dense": before, **dict.fromkeys(entries, after[items])},
            **analysis_fixture.PLAIN,
        }
        for model in specs
        for name, items in zip(benchmarks, lost[model.split("-")[0]], strict=True)
    }
    models = {model: {"submodels": list(entries), "evaluated": ["dense", *entries]} for model in specs}
    grid = {"models": models, "submodels": entries, "benchmarks": benchmarks, "config": {"models": specs}}
    row = update["training_diversity"](Study(grid, scores, {})).squeeze()
    assert row[["architecture", "method", "sparsity"]].tolist() == ["llama", "wanda", "0.50"]
    assert row[["dense_everything", "dense_code", "lost_everything", "lost_code"]].tolist() == [1, 1, 0.25, 0.625]
    assert row[["difference", "low", "high"]].tolist() == [-0.375] * 3
    assert row["items_low"] < -0.375 < row["items_high"]
    assert row[["n_models", "n_items"]].tolist() == [6, 8]
