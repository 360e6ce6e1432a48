"""The grids that ship: each expands and is planned from a fresh clone, with nothing fetched."""

import re

import pytest
import yaml
from dag import ROOT, clone, planned, snakemake

from submodels.benchmarks.registry import benchmark_names
from submodels.calibration.registry import load_calibration_sets
from submodels.config import read_grid
from submodels.grid import Grid

GRIDS = ROOT / "resources/grids"
PAPER = GRIDS / "paper.yaml"
STUDY = ROOT / "docs/study/grids"


def expansion(path):
    return Grid(read_grid(path), str(path))


@pytest.mark.parametrize("path", sorted(GRIDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_grid_is_planned_with_nothing_fetched(path, tmp_path):
    grid = expansion(path)
    jobs = planned(tmp_path, "--configfile", str(path))
    assert jobs["prune"] == sum(len(grid.submodels(model)) for model in grid.models)
    assert jobs["generate"] == sum(len(grid.evaluated(model)) for model in grid.models)
    assert jobs["score"] == len(grid.models)
    assert sum(count for rule, count in jobs.items() if rule.startswith("fetch_")) == len(grid.fetched())
    assert "export" not in jobs
    assert ("world" in jobs) == any(grid.spec(model).tiny_world for model in grid.models)


@pytest.mark.parametrize("path", sorted(STUDY.glob("laptop*.yaml")), ids=lambda path: path.stem)
def test_a_grid_of_the_study_differs_in_the_origin_of_models_and_rows_alone(path):
    ran, shipped = read_grid(path), read_grid(GRIDS / path.name)
    assert [name.removesuffix("-gguf") for name in ran.base_models] == shipped.base_models
    here = {"base_models": ran.base_models, "models": ran.models, "sources": ran.sources}
    here["submodels"] = [
        axes.model_copy(update={"base_models": axes.base_models and [f"{name}-gguf" for name in axes.base_models]})
        for axes in shipped.submodels
    ]
    here["calibration"] = shipped.calibration.model_copy(update={"sources": ran.calibration.sources})
    assert shipped.model_copy(update=here) == ran
    assert shipped.sources.items() <= ran.sources.items()


def test_the_papers_grid():
    grid = expansion(PAPER)
    assert len(grid.models) == 4
    sets = {cell.calibration for model in grid.models for cell in grid.submodels(model).values()}
    assert len(sets) == 16
    assert [len(grid.submodels(model)) for model in grid.models] == [16] * 4
    assert {cell.sparsity for model in grid.models for cell in grid.submodels(model).values()} == {"0.50"}
    of_the_paper = {name.removesuffix("_paper") for name in benchmark_names() if name.endswith("_paper")}
    assert of_the_paper <= set(grid.benchmarks) <= {name for name in benchmark_names() if not name.startswith("tiny_")}
    assert not any(name.endswith("_paper") for name in grid.benchmarks)
    known = load_calibration_sets()
    for cited in ("codesearchnet-java", "codesearchnet-javascript", "math_qa_amini", "croissant_aligned"):
        assert cited in known
        assert cited not in sets


def test_the_papers_grid_as_run_differs_in_the_protocol_alone():
    paper, as_run = expansion(PAPER), expansion(GRIDS / "paper_as_run.yaml")
    assert as_run.config.submodels == paper.config.submodels
    assert as_run.config.calibration.model_copy(update={"protocol": "strict"}) == paper.config.calibration
    assert {name for name in benchmark_names() if name.endswith("_paper")} <= set(as_run.benchmarks)
    assert {name.removesuffix("_paper") for name in as_run.benchmarks} <= set(paper.benchmarks)


def test_the_sweep_of_sizes():
    grid = expansion(GRIDS / "calibration_size.yaml")
    for model in grid.models:
        assert {cell.rows for cell in grid.submodels(model).values()} == {32, 64, 128, 256}


def test_the_jobs_of_the_papers_grid(tmp_path):
    """A change of the workflow that adds jobs to everybody's queue is seen here."""
    assert planned(tmp_path, "--configfile", str(PAPER)) == {
        "fetch_base_model": 4, "fetch_calibration_set": 16, "fetch_benchmark": 30, "fetch_wordnet": 1,
        "calibrate": 64, "prune": 64, "overlap": 4,
        "benchmark_items": 31, "generate": 68, "execute": 68, "score": 4,
        "describe": 1, "tabulate": 1, "figures": 1, "report": 1, "all": 1,
    }  # fmt: skip


RESOURCES = """
name: partitions
base_models: [tiny-llama]
submodels: [{{methods: [magnitude], sparsities: [0.30]}}]
benchmarks: [tiny_csr]
pruning: {{device: {pruning}}}
evaluation: {{device: {evaluation}}}
"""


def gpus_asked(directory, profile, grid):
    """How many GPUs each rule's jobs ask for, by a dry run with a profile, from the root of a clone."""
    said = snakemake(directory, "--profile", profile, "--configfile", str(grid), "--dry-run", workflow=directory).stdout
    jobs = re.findall(r"(?m)^(?:local)?rule (\w+):\n((?: .*\n)+)", said)
    return {rule: int((re.search(r"\bgpu=(\d+)", body) or [0, 0])[1]) for rule, body in jobs}


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm", "profiles/local-gpu"])
def test_profiles_work_from_a_fresh_clone_and_only_gpu_rules_ask_for_gpus(profile, tmp_path, monkeypatch):
    here = clone(tmp_path / "clone")
    monkeypatch.chdir(here)
    grid = here / "grid.yaml"
    for pruning, evaluation in (("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cpu")):
        grid.write_text(RESOURCES.format(pruning=pruning, evaluation=evaluation), encoding="utf-8")
        asked = gpus_asked(here, profile, grid)
        wanted = {"prune": int(pruning == "cuda"), "generate": int(evaluation == "cuda")}
        assert asked.keys() >= {"prune", "generate", "score", "overlap"}
        assert {rule: asked[rule] for rule in wanted} == wanted
        assert not any(count for rule, count in asked.items() if rule not in wanted)


class Job:
    """What the Slurm executor looks at when it chooses a partition."""

    threads = 1

    def __init__(self, **resources):
        self.resources = resources


def test_partitions_of_the_slurm_profile():
    """The executor's own choice: GPU jobs fit the partition with GPUs alone, and others the one without better."""
    from snakemake_executor_plugin_slurm.partitions import read_partition_file

    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    cpu, gpu = read_partition_file(ROOT / profile["slurm-partition-config"])
    assert (cpu.name, gpu.name) == ("cpu", "gpu")
    small = {"mem_mb": 2000, "runtime": 30}
    assert cpu.score_job_fit(Job(gpu=1, **small)) is None
    assert gpu.score_job_fit(Job(gpu=1, **small)) is not None
    assert cpu.score_job_fit(Job(gpu=0, **small)) > gpu.score_job_fit(Job(gpu=0, **small))
    assert cpu.score_job_fit(Job(gpu=0, gres="gpu:a100:1", **small)) is None


def test_default_profile_beats_no_other():
    """profiles/default replaces whole keys of --profile, so the two may share none."""
    default, *others = (
        yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text(encoding="utf-8"))
        for name in ("default", "slurm", "local-gpu")
    )
    assert not any(default.keys() & other.keys() for other in others)
