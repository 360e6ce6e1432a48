"""A code base as a calibration set: what runs, and what runs again when one of its files changes."""

import pytest
from dag import plan, run_grid, snakemake, write_grid

GRID = {
    "name": "code-base",
    "base_models": ["tiny-llama"],
    "submodels": [{"calibration_sets": ["mine", "theirs", "csr"], "sparsities": [0.5]}],
    "benchmarks": ["tiny_csr"],
    "calibration_sets": {
        "mine": {"domain": "code", "source": {"directory": "code", "files": ["**/*.py"]}, "template": "{text}"},
        "theirs": {
            "domain": "code",
            "source": {"git": "https://host/theirs.git", "revision": "0" * 40, "files": ["**/*.py"]},
            "template": "{text}",
        },
    },
}
ALWAYS = {"all": 1, "tabulate": 1, "figures": 1, "report": 1}
AGAIN = ALWAYS | {"collect_files": 1, "calibrate": 1, "prune": 1, "generate": 1, "score": 1, "overlap": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    (directory / "code/lib").mkdir(parents=True)
    for name in ("a.py", "lib/b.py", "readme.txt"):
        (directory / "code" / name).write_text("x = 1\n", encoding="utf-8")
    return run_grid(directory, GRID)


def edit(code):
    (code / "lib/b.py").write_text("x = 2, 3\n", encoding="utf-8")


def add(code):
    (code / "lib/c.py").write_text("x = 1\n", encoding="utf-8")


def remove(code):
    (code / "a.py").unlink()


@pytest.mark.parametrize("change", [edit, add, remove])
def test_a_changed_code_base_runs_its_own_branch_again(project, change):
    change(project / "code")
    assert plan(project) == AGAIN


def test_other_files_change_nothing(project):
    (project / "code/readme.txt").write_text("edited\n", encoding="utf-8")
    assert plan(project) == {}


def test_from_nothing(tmp_path):
    (tmp_path / "code").mkdir()
    write_grid(tmp_path, GRID)
    jobs = plan(tmp_path)
    assert (jobs["collect_files"], jobs["fetch_calibration_set"], jobs["calibrate"]) == (1, 1, 3)


def test_a_directory_that_is_not_there(tmp_path):
    write_grid(tmp_path, GRID)
    arguments = ["--configfile", str(tmp_path / "grid.yaml"), "--cores", "1", "--dry-run"]
    done = snakemake(tmp_path, *arguments, check=False)
    assert done.returncode != 0
    assert "calibration_sets.mine.source.directory: code: no such file or directory" in done.stderr + done.stdout
