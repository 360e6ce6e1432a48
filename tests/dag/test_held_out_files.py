"""A code base as calibration set and benchmark: its held-out files are scored."""

import pytest
import yaml
from dag import finish, planned

GRID = {
    "name": "held-out",
    "base_models": ["tiny-llama"],
    "submodels": [{"calibration_sets": ["mine", "csr"], "sparsities": [0.5]}],
    "benchmarks": ["source_python", "tiny_csr"],
    "sources": {"source_python": {"calibration_set": "mine"}},
    "calibration_sets": {
        "mine": {
            "domain": "code",
            "language": "python",
            "source": {"directory": "code", "files": ["**/*.py"]},
            "template": "{text}",
            "hold_out": True,
        }
    },
}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID), encoding="utf-8")
    return tmp_path


def plan(directory):
    return planned(directory, "--configfile", str(directory / "grid.yaml"))


def test_rows_are_collected_once_and_nothing_is_executed(project):
    jobs = plan(project)
    assert (jobs["collect_files"], jobs["benchmark_items"], jobs["generate"]) == (1, 1, 3)
    assert "execute" not in jobs


def test_an_edited_file_makes_items_and_the_branch_again(project):
    finish(project, "--configfile", str(project / "grid.yaml"))
    assert plan(project) == {}
    (project / "code/a.py").write_text("x = 2, 3\n", encoding="utf-8")
    jobs = plan(project)
    assert (jobs["collect_files"], jobs["benchmark_items"], jobs["calibrate"], jobs["prune"]) == (1, 1, 1, 1)
    assert (jobs["generate"], jobs["score"]) == (3, 1)
