"""What finished jobs say of those to come: made-up times by hand, then whole plans."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels import files
from submodels.config import check_grid
from submodels.grid import Grid
from submodels.planning.costs import Cost
from submodels.planning.jobs import find_jobs
from submodels.planning.plan import learn, make_plan
from submodels.planning.timings import Timing, fit, read_timing
from submodels.planning.work import Work

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def timing_line(seconds, memory="100"):
    return f"{seconds}\t0:00:01\t{memory}\t1\t1\t1\t1\t1\t1\t1\n"


def jobs(*points, start=5.0):
    return [(Cost(start=start, work=work), seconds) for work, seconds in points]


def test_a_line_where_work_differs():
    """2 s of start and 3 times the estimated work, with one job that took a nap."""
    found = fit(jobs((10, 32), (20, 62), (30, 92), (40, 122), (25, 500)))
    assert found == (2, 3, 5)
    assert found.seconds(Cost(start=5, work=100)) == 302


def test_one_ratio_where_it_does_not():
    """Start and work cannot be told apart: 1.5 times the estimate, whatever it is made of."""
    found = fit(jobs((1, 9), (1, 9), (1, 9), (1, 700)))
    assert found == (7.5, 1.5, 4)
    assert found.seconds(Cost(start=5, work=5)) == 15


def test_one_job_is_enough():
    assert fit(jobs((5, 20))) == (10, 2, 1)


@pytest.mark.parametrize("points", [[(0, 100), (50, 50)], [(10, 5), (20, 25), (30, 45)]], ids=["falling", "no start"])
def test_a_line_that_makes_no_sense_is_a_ratio(points):
    """Time does not fall as work grows, and a start takes no less than nothing."""
    found = fit(jobs(*points))
    assert found.start >= 0
    assert found.factor > 0
    assert found.start / 5 == pytest.approx(found.factor)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0.01, 1e5)), min_size=1, max_size=30))
def test_fits_are_never_negative(points):
    found = fit(jobs(*points))
    assert found.start >= 0
    assert found.factor > 0


def test_the_last_run_counts(tmp_path):
    path = tmp_path / "job.tsv"
    path.write_text(HEAD + timing_line(3) + timing_line(4.5, 2), encoding="utf-8")
    assert read_timing(path) == Timing(4.5, 2 * 2**20)
    path.write_text(HEAD + timing_line(0.2, "NA"), encoding="utf-8")
    assert read_timing(path) == Timing(0.2, None)


@pytest.mark.parametrize("text", ["", HEAD, HEAD + "NA\tNA\tNA\n", "not a table"])
def test_what_cannot_be_read_counts_for_nothing(text, tmp_path):
    assert read_timing(tmp_path / "none.tsv") is None
    (tmp_path / "job.tsv").write_text(text, encoding="utf-8")
    assert read_timing(tmp_path / "job.tsv") is None


def hub_model(**sizes):
    shape = {"parameters": 10**9, "prunable": 9 * 10**8, "blocks": 20, "hidden": 2000, "intermediate": 5000}
    return {"hub": "a/b", "revision": "main", "shape": shape | {"vocabulary": 32000, "dtype": "bfloat16"} | sizes}


GRID = {
    "name": "two",
    "base_models": ["small", "large"],
    "models": {
        "small": hub_model(),
        "large": hub_model(parameters=4 * 10**9, prunable=36 * 10**8, blocks=30, hidden=4000, intermediate=9000),
    },
    "submodels": [
        {"calibration_sets": ["py_alpaca", "math_qa", "c4"], "sparsities": [0.5, 0.6]},
        {"methods": ["sparsegpt"], "calibration_sets": ["py_alpaca"], "sparsities": [0.5]},
        {"methods": ["magnitude"], "sparsities": [0.5]},
    ],
    "benchmarks": ["humaneval", "multiple_java", "gsm8k", "hellaswag"],
}
TIMED = ("calibrate", "prune", "generate", "execute", "score")


@pytest.fixture(scope="module")
def grid():
    return Grid(check_grid(GRID, "grid"), "grid")


@pytest.fixture(scope="module")
def jobs_of_models(grid, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        jobs = [job for job in find_jobs(grid, ["grid"]) if job.rule in TIMED]
    return {model: [job for job in jobs if job.wildcards["model"] == model] for model in grid.models}


@pytest.fixture
def found(jobs_of_models, tmp_path, monkeypatch):
    """The timed jobs of the grid by their base model, in a directory where nothing is there yet."""
    monkeypatch.chdir(tmp_path)
    return jobs_of_models


def timing(grid, job):
    """Where Snakemake would write down what the job took."""
    path = Path(grid.tree.timing(job.rule, *job.wildcards).format(**job.wildcards))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def hours(grid, jobs):
    return make_plan(grid, jobs).total.cpu_hours


def test_one_base_model_predicts_another(grid, found):
    """A machine three times as slow as the figures, with starts of its own and noise: what the small model took there
    gives the large one's hours, which the figures alone miss by far.
    """
    work, noise = Work(grid), random.Random(0)

    def took(job):
        cost = work.cost(job.rule, **job.wildcards)
        return (2 * cost.start + 3 * cost.work) * noise.uniform(0.9, 1.1)

    unaware, true = hours(grid, found["large"]), sum(map(took, found["large"]))
    for job in found["small"]:
        timing(grid, job).write_text(HEAD + timing_line(took(job), 1000), encoding="utf-8")
    both = found["small"] + found["large"]
    assert (hours(grid, both) - hours(grid, found["small"])) * 3600 == pytest.approx(true, rel=0.3)
    assert unaware * 3600 < 0.6 * true
    said = " ".join(make_plan(grid, both).assumptions)
    assert "Updated from" in said
    assert "calibrate 1.0 GB" in said.partition("Highest memory measured: ")[2]


@pytest.mark.parametrize(
    ("ago", "manifest", "learnt"),
    [
        (10, {}, True),
        (100, {}, False),
        (10, {"taken_from": "results/other/generations/small/dense/gsm8k.manifest.json"}, False),
        (10, {"results": {"taken": [{"from": "elsewhere", "items": 3}]}}, False),
    ],
    ids=["all", "a benchmark was there", "another grid made it", "another grid made some of it"],
)
def test_a_run_that_did_a_part_teaches_nothing(ago, manifest, learnt, grid, found):
    """A benchmark was added to a finished grid, or another grid had asked it: `generate` took little, for little."""
    job = next(job for job in found["small"] if job.rule == "generate")
    timing(grid, job).write_text(HEAD + timing_line(20, 1000), encoding="utf-8")
    started = datetime.now(UTC) - timedelta(seconds=ago)
    content = {"started": started.isoformat(timespec="seconds"), "results": {}} | manifest
    files.write_json(Path(grid.tree.generated.format(**job.wildcards)).with_name("gsm8k.manifest.json"), content)
    assert ("generate" in learn(Work(grid), found["small"])[0]) == learnt


def test_a_grid_without_times_says_so(grid, found):
    plan = make_plan(grid, found["small"])
    assert any("No finished job has been timed here yet" in sentence for sentence in plan.assumptions)
