"""Figures: every one exists with its data, equal tables give equal bytes, missing data are said."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import analysis_fixture
import pandas as pd
import pytest

from submodels import files
from submodels.analysis.figures import FIGURES, draw_figures
from submodels.errors import SubmodelsError


@pytest.fixture(scope="module")
def drawn():
    directory, paths = analysis_fixture.built_study()
    return {name: Path(directory.name) / paths[name] for name in ("grid", "tables", "figures")}


@pytest.fixture
def small_grid(drawn, tmp_path) -> Path:
    """The grid with one base model only, to draw less."""
    grid = files.read_json(drawn["grid"])
    grid["models"] = {"tiny-llama": grid["models"]["tiny-llama"]}
    files.write_json(tmp_path / "grid.json", grid)
    return tmp_path / "grid.json"


def test_every_figure_of_every_model_has_a_picture_and_its_data(drawn):
    for name in FIGURES:
        for model in analysis_fixture.MODELS:
            root = ElementTree.parse(drawn["figures"] / f"{name}-{model}.svg").getroot()
            assert root.tag.endswith("svg")
            assert len(pd.read_csv(drawn["figures"] / f"{name}-{model}.csv")) > 0


def test_figures_are_deterministic(drawn, small_grid, tmp_path):
    draw_figures(drawn["tables"], small_grid, tmp_path / "again")
    again = sorted((tmp_path / "again").iterdir())
    assert len(again) == 2 * len(FIGURES)
    for path in again:
        assert path.read_bytes() == (drawn["figures"] / path.name).read_bytes(), path.name


def test_calibration_sets_keep_one_order(drawn):
    order = list(analysis_fixture.SETS)
    for name, column in (("cross_task", "calibration"), ("jaccard", "a"), ("languages", "calibration")):
        sets = pd.read_csv(drawn["figures"] / f"{name}-tiny-llama.csv")[column].drop_duplicates().tolist()
        shown = [one for one in sets if one in order]
        assert shown == [one for one in order if one in shown]


def test_missing_data_are_said(drawn, small_grid, tmp_path):
    for path in drawn["tables"].glob("*.csv"):
        frame = pd.read_csv(path, dtype=str)
        kept = frame if path.stem in ("scores", "claims") else frame.iloc[:0]
        kept.to_csv(tmp_path / path.name, index=False)
    draw_figures(tmp_path, small_grid, tmp_path / "figures")
    reason = pd.read_csv(tmp_path / "figures" / "jaccard-tiny-llama.csv")["reason"].item()
    assert "no two sub-models" in reason
    assert pd.read_csv(tmp_path / "figures" / "sparsity-tiny-llama.csv")["reason"].item() == "no sub-model was scored"


def test_missing_tables_are_named(drawn, tmp_path):
    with pytest.raises(SubmodelsError, match=r"code_languages\.csv: no such file; run the tabulate stage"):
        draw_figures(tmp_path, drawn["grid"], tmp_path / "figures")
