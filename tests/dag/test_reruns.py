"""What runs again after a change: exactly what depends on it. Counts of dry runs over a finished tree.

The tree is finished by `--touch` over stand-in files: what Snakemake compares is paths, times, contents, parameters
and code, and all of those are the real ones.
"""

import os
import shutil

import pytest
import yaml
from dag import clone, finish, newer, plan, planned, run_grid, write_grid

GRID = {
    "name": "reruns",
    "base_models": ["tiny-llama", "tiny-gemma"],
    "submodels": [
        {"calibration_sets": ["python", "csr", "mine"], "sparsities": [0.5, 0.7]},
        {"methods": ["magnitude"], "sparsities": [0.5]},
        {"base_models": ["tiny-llama"], "calibration_sets": ["both"], "sparsities": [0.5], "evaluate": False},
    ],
    "benchmarks": ["tiny_python", "tiny_csr"],
    "evaluation": {"synonyms": "none"},
    "calibration_sets": {
        "mine": {"domain": "code", "source": {"file": "mine.jsonl"}, "template": "{text}"},
        "both": {"domain": "generic", "source": {"mix": {"mine": 2, "csr": 1}}},
    },
}
ALWAYS = {"all": 1, "tabulate": 1, "figures": 1, "report": 1}
NEW_SAMPLES = ALWAYS | {"generate": 16, "execute": 16, "score": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A working directory in which the grid has been run."""
    directory = tmp_path_factory.mktemp("finished")
    (directory / "mine.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    return run_grid(directory, GRID)


def changed(**changes):
    return yaml.safe_load(yaml.safe_dump(GRID | changes))


def test_editing_a_calibration_file_reruns_its_branch(project):
    """The set's own windows for both base models, and those of the mix that it is part of."""
    (project / "mine.jsonl").write_text('{"text": "y"}\n', encoding="utf-8")
    assert plan(project) == ALWAYS | {
        "calibrate": 3, "prune": 5, "generate": 4, "execute": 4, "score": 2, "overlap": 2,
    }  # fmt: skip


def test_editing_a_pool_of_the_tiny_world_reruns_its_branch(project):
    pool = project / "results/reruns/world/calibration/csr.jsonl"
    pool.write_text(pool.read_text(encoding="utf-8") + '{"text": "z"}\n', encoding="utf-8")
    assert plan(project) == ALWAYS | {
        "calibrate": 3, "prune": 5, "generate": 4, "execute": 4, "score": 2, "overlap": 2,
    }  # fmt: skip


def test_editing_a_file_that_only_a_mix_reads_reruns_the_mix(finished, tmp_path):
    """A grid in which the components themselves are not calibration sets of any sub-model."""
    grid = changed(benchmarks=["tiny_csr"])
    grid["submodels"] = [
        {"calibration_sets": ["python"], "sparsities": [0.5]},
        {"calibration_sets": ["both"], "sparsities": [0.5]},
    ]
    shutil.copy(finished / "mine.jsonl", tmp_path)
    run_grid(tmp_path, grid)
    (tmp_path / "mine.jsonl").write_text('{"text": "y"}\n', encoding="utf-8")
    branch = {"calibrate": 2, "prune": 2, "generate": 2, "score": 2, "overlap": 2}
    assert plan(tmp_path) == ALWAYS | branch
    shutil.copy(finished / "mine.jsonl", tmp_path)
    grid["calibration_sets"]["both"]["source"]["mix"]["mine"] = 3
    write_grid(tmp_path, grid)
    assert plan(tmp_path) == ALWAYS | branch | {"describe": 1}


def test_adding_a_size_reruns_no_other(project):
    grid = changed()
    grid["submodels"].append({"calibration_sets": ["csr"], "sparsities": [0.5], "rows": [32, 64]})
    write_grid(project, grid)
    assert plan(project) == ALWAYS | {
        "describe": 1, "calibrate": 4, "prune": 4, "generate": 4, "execute": 4, "score": 2, "overlap": 2,
    }  # fmt: skip


def test_touching_a_file_reruns_nothing(project):
    os.utime(project / "mine.jsonl")
    os.utime(project / "results/reruns/world/calibration/csr.jsonl")
    assert plan(project) == {}


def test_adding_a_calibration_set_reruns_no_other(project):
    grid = changed()
    grid["submodels"][0]["calibration_sets"].append("math")
    write_grid(project, grid)
    assert plan(project) == ALWAYS | {
        "describe": 1, "calibrate": 2, "prune": 4, "generate": 4, "execute": 4, "score": 2, "overlap": 2,
    }  # fmt: skip


@pytest.mark.parametrize("added", ["tiny_math", "tiny_javascript"])
def test_adding_a_benchmark_makes_no_mask_again(project, added):
    """Every sub-model is asked it; the stages themselves keep the samples, verdicts and scores that stand."""
    write_grid(project, changed(benchmarks=["tiny_python", "tiny_csr", added]))
    assert plan(project) == NEW_SAMPLES | {"describe": 1}


@pytest.mark.parametrize("change", [{"timeout": 3}, {"memory_mb": 512}, {"sandbox": "unshare"}])
def test_what_decides_verdicts_runs_the_programs_again(project, change):
    write_grid(project, changed(evaluation={"synonyms": "none"} | change))
    assert plan(project) == ALWAYS | {"describe": 1, "execute": 16, "score": 2}


def test_a_toolchain_that_appears_runs_the_programs_that_lacked_it(finished, tmp_path):
    """A grid of two languages, finished where Java programs could not run."""
    shutil.copy(finished / "mine.jsonl", tmp_path)
    write_grid(tmp_path, changed(benchmarks=["tiny_python", "tiny_java"]))
    arguments, poor = ["--configfile", str(tmp_path / "grid.yaml")], without_toolchains(tmp_path / "bin")
    finish(tmp_path, *arguments, environment=poor)
    assert planned(tmp_path, *arguments, environment=poor) == {}
    assert plan(tmp_path) == ALWAYS | {"describe": 1, "execute": 16, "score": 2}


def without_toolchains(directory):
    """An environment in which only the programs are found that Snakemake itself asks for; `directory` for them."""
    directory.mkdir()
    for name in ("bash", "which"):
        (directory / name).symlink_to(shutil.which(name))
    return {**os.environ, "PATH": str(directory)}


def test_adding_a_sparsity_reruns_no_other(project):
    grid = changed()
    grid["submodels"][1]["sparsities"].append(0.6)
    write_grid(project, grid)
    assert plan(project) == ALWAYS | {
        "describe": 1, "prune": 2, "generate": 2, "execute": 2, "score": 2, "overlap": 2,
    }  # fmt: skip


def plan_by(workflow, project):
    """What another workflow would run of the project's grid."""
    return planned(project, "--configfile", str(project / "grid.yaml"), workflow=workflow)


def with_task(copy, name, **changes):
    """A clone in which a task file is written again, with changes."""
    path = clone(copy) / f"resources/tasks/{name}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return copy


def test_raising_a_version_renews_what_it_made(project, tmp_path):
    """Another GENERATE: every sample is made, run and scored again, and no mask."""
    assert plan_by(newer(tmp_path / "copy", "versions.py", "GENERATE += 1000"), project) == NEW_SAMPLES


def test_another_way_to_draw_a_figure_draws_figures_and_the_report(project, tmp_path):
    raised = newer(tmp_path / "copy", "versions.py", "FIGURES += 1000")
    assert plan_by(raised, project) == {"all": 1, "figures": 1, "report": 1}


def test_another_version_of_a_method_renews_its_sub_models(project, tmp_path):
    """Magnitude's: one sub-model of each base model; those of Wanda stay."""
    line = 'METHODS["magnitude"] = Method(1001, False, METHODS["magnitude"].target, "a newer one")'
    plan = plan_by(newer(tmp_path / "copy", "pruning/methods.py", line), project)
    assert plan == ALWAYS | {"prune": 2, "generate": 2, "execute": 2, "score": 2, "overlap": 2}


@pytest.fixture
def trained(finished, tmp_path):
    """A working directory in which a grid of two methods with gradients has been run."""
    shutil.copy(finished / "mine.jsonl", tmp_path)
    return run_grid(tmp_path, _trained())


def _trained(**pruning):
    grid = changed(base_models=["tiny-llama"], pruning={"general": "mine", "tokens": 1000} | pruning)
    methods = {"dpruner": 0.5, "maskllm": "2of4", "wanda": 0.5}
    grid["submodels"] = [
        {"methods": [name], "calibration_sets": ["python"], "sparsities": [at]} for name, at in methods.items()
    ]
    return grid


@pytest.mark.parametrize("change", [{"general_weight": 2}, {"tokens": 2000}, {"prior": "wanda"}], ids=str)
def test_a_setting_of_one_method_prunes_again_with_that_method(trained, change):
    write_grid(trained, _trained(**change))
    assert plan(trained) == ALWAYS | {
        "describe": 1, "prune": 1, "generate": 1, "execute": 1, "score": 1, "overlap": 1,
    }  # fmt: skip


def test_editing_the_generic_set_reruns_what_takes_general_importance_from_it(trained):
    (trained / "mine.jsonl").write_text('{"text": "y"}\n', encoding="utf-8")
    assert plan(trained) == ALWAYS | {
        "calibrate": 1, "prune": 1, "generate": 1, "execute": 1, "score": 1, "overlap": 1,
    }  # fmt: skip


def test_adding_a_base_model_reruns_no_other(project):
    grid = changed(base_models=["tiny-llama", "tiny-gemma", "third"], models={"third": {"tiny_world": "llama"}})
    write_grid(project, grid)
    assert plan(project) == ALWAYS | {
        "describe": 1, "train_base_model": 1, "calibrate": 3, "prune": 7, "generate": 8, "execute": 8, "score": 1,
        "overlap": 1,
    }  # fmt: skip


def test_another_revision_of_a_hub_set_reruns_its_branch(finished, tmp_path):
    """One of two calibration sets of the Hub is pinned to another commit; it is fetched again, and only it."""
    source = {"hub": "house/rows", "revision": "a" * 40, "split": "train"}
    sets = {name: {"domain": "code", "source": dict(source), "template": "{text}"} for name in ("one", "two")}
    grid = changed(calibration_sets=sets)
    grid["submodels"] = [{"calibration_sets": ["one", "two"], "sparsities": [0.5, 0.7]}]
    run_grid(tmp_path, grid)
    grid["calibration_sets"]["one"]["source"]["revision"] = "b" * 40
    write_grid(tmp_path, grid)
    assert plan(tmp_path) == ALWAYS | {
        "describe": 1, "fetch_calibration_set": 1, "calibrate": 2, "prune": 4, "generate": 4, "execute": 4, "score": 2,
        "overlap": 2,
    }  # fmt: skip


@pytest.mark.parametrize("change", [{"limit": 5}, {"dtype": "bfloat16"}, {"backend": "vllm", "device": "cuda"}])
def test_what_decides_samples_makes_every_sample_again(project, change):
    write_grid(project, changed(evaluation={"synonyms": "none"} | change))
    assert plan(project) == NEW_SAMPLES | {"describe": 1}


@pytest.mark.parametrize("samples", ["greedy", 3])
def test_how_many_samples_are_drawn_decides_those_of_pass_at_k(project, samples):
    write_grid(project, changed(evaluation={"synonyms": "none", "samples": samples}))
    assert plan(project) == NEW_SAMPLES | {"describe": 1}


def test_as_many_samples_as_the_task_file_says_change_nothing(project):
    write_grid(project, changed(evaluation={"synonyms": "none", "samples": 10}))
    assert plan(project) == ALWAYS | {"describe": 1}


def test_another_task_file_makes_its_samples_again(project, tmp_path):
    assert plan_by(with_task(tmp_path / "copy", "tiny_csr"), project) == {}  # without comments, in another order
    task = yaml.safe_load((clone(tmp_path / "read") / "resources/tasks/tiny_python.yaml").read_text(encoding="utf-8"))
    longer = {"generation_kwargs": task["generation_kwargs"] | {"max_gen_toks": 1000}}
    assert plan_by(with_task(tmp_path / "other", "tiny_python", **longer), project) == NEW_SAMPLES


def test_another_seed_trains_the_tiny_models_anew(project):
    write_grid(project, changed(seed=1))
    assert plan(project) == NEW_SAMPLES | {
        "describe": 1, "world": 1, "train_base_model": 2, "calibrate": 7, "prune": 15, "overlap": 2,
    }  # fmt: skip


def test_what_pruning_computes_in_prunes_again(project):
    """Tables and figures quote it no less; windows stay. Naming what `auto` stands for here changes nothing."""
    write_grid(project, changed(pruning={"dtype": "float32"}, evaluation={"synonyms": "none", "dtype": "float32"}))
    assert plan(project) == ALWAYS | {"describe": 1}
    write_grid(project, changed(pruning={"dtype": "bfloat16"}))
    assert plan(project) == ALWAYS | {
        "describe": 1, "prune": 15, "generate": 14, "execute": 14, "score": 2, "overlap": 2,
    }  # fmt: skip


def test_where_it_runs_reruns_nothing_scientific(project):
    write_grid(project, changed(evaluation={"synonyms": "none", "batch_size": 7}, pruning={"batch_size": 3}))
    assert plan(project) == ALWAYS | {"describe": 1}


def test_a_template_reruns_its_set(project):
    grid = changed()
    grid["calibration_sets"]["mine"]["template"] = "# {text}"
    write_grid(project, grid)
    assert plan(project) == ALWAYS | {
        "describe": 1, "calibrate": 3, "prune": 5, "generate": 4, "execute": 4, "score": 2, "overlap": 2,
    }  # fmt: skip


def test_a_models_prompt_format_reruns_its_instructions(finished, tmp_path):
    """One of two models gets a format: its answers to the benchmark of instructions are made and scored again."""
    models = {"tuned": {"tiny_world": "llama"}, "plain": {"tiny_world": "llama"}}
    grid = changed(base_models=list(models), models=models, benchmarks=["tiny_csr", "wmt14_en_fr"])
    grid |= {"submodels": [{"methods": ["magnitude"], "sparsities": [0.5]}], "sources": {"wmt14_en_fr": "fixture"}}
    shutil.copy(finished / "mine.jsonl", tmp_path)
    run_grid(tmp_path, grid)
    grid["models"]["tuned"]["prompt"] = "llama2"
    write_grid(tmp_path, grid)
    assert plan(tmp_path) == ALWAYS | {"describe": 1, "generate": 2, "score": 1}


def test_a_models_prompt_format_reruns_its_calibration_sets_of_instructions(finished, tmp_path):
    """All sub-models of that base model are asked in the format; what they said without instructions stands."""
    models = {"tuned": {"tiny_world": "llama"}, "plain": {"tiny_world": "llama"}}
    grid = changed(base_models=list(models), models=models, benchmarks=["tiny_csr"])
    grid["calibration_sets"]["mine"]["style"] = "instruction"
    grid["submodels"] = [{"calibration_sets": ["mine", "csr"], "sparsities": [0.5]}]
    shutil.copy(finished / "mine.jsonl", tmp_path)
    write_grid(tmp_path, grid)
    finish(tmp_path, "--configfile", str(tmp_path / "grid.yaml"))
    grid["models"]["tuned"]["prompt"] = "llama2"
    write_grid(tmp_path, grid)
    assert plan(tmp_path) == ALWAYS | {
        "describe": 1, "calibrate": 1, "prune": 1, "generate": 3, "score": 1, "overlap": 1,
    }  # fmt: skip
