"""The demo, for real: from nothing to the report, then what a user does next."""

import json
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import torch
from perplexity import perplexity
from safetensors.torch import load_file
from sandbox_support import need_language
from test_report_browser import findings

from submodels import files
from submodels.checkpoints.load import load_submodel, load_tokenizer
from submodels.config import read_grid
from submodels.evaluation.runners import LANGUAGES
from submodels.grid import Grid
from submodels.planning.jobs import find_jobs
from submodels.planning.plan import learn, make_plan, seconds
from submodels.planning.timings import read_timing
from submodels.planning.work import Work

pytestmark = pytest.mark.slow

EXPORTED = "tiny-llama/wanda-python-0.50-s0"
ACCURACY = {
    "tiny_python": 0.9,
    "tiny_java": 0.9,
    "tiny_cpp": 0.9,
    "tiny_javascript": 0.9,
    "tiny_csr": 0.9,
    "tiny_translation": 0.9,
    "tiny_math": 0.6,
}


def snakemake(root, directory, *arguments):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--cores", "2"]
    return subprocess.run([*command, "--directory", str(directory), *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def demo(root, tmp_path_factory):
    """A directory in which the demo has run, with every language."""
    for language in LANGUAGES:
        need_language(language)
    directory = tmp_path_factory.mktemp("demo")
    done = snakemake(root, directory)
    assert done.returncode == 0, done.stderr[-5000:]
    return directory


@pytest.fixture(scope="module")
def scores(demo):
    return pd.read_csv(demo / "results/demo/tables/scores.csv")


@pytest.mark.parametrize("benchmark", ACCURACY)
def test_the_dense_models_can_do_what_pruning_takes_away(scores, benchmark):
    dense = (
        scores.query("submodel == 'dense' and benchmark == @benchmark").groupby(["model", "metric"])["value"].first()
    )
    primary = {"tiny_csr": "acc", "tiny_translation": "meteor", "tiny_math": "exact_match"}.get(benchmark, "pass@1")
    values = dense.xs(primary, level="metric")
    assert len(values) == 2
    assert values.min() >= ACCURACY[benchmark], values


def test_every_submodel_of_the_grid_is_scored(demo, scores):
    grid = files.read_json(demo / "results/demo/grid.json")
    expected = {(model, id) for model, entry in grid["models"].items() for id in entry["evaluated"]}
    assert set(zip(scores["model"], scores["submodel"], strict=True)) == expected
    assert len(expected) - len(grid["models"]) >= 20
    assert set(scores["status"]) == {"ok"}


def test_pruning_separates_the_submodels(demo):
    """What the demo is for: a benchmark of a set's own domain keeps more accuracy than the others do."""
    claims = pd.read_csv(demo / "results/demo/tables/claims.csv").query("claim == 'matched_beats_unmatched'")
    assert len(claims) == 3
    assert set(claims["verdict"]) == {"supported"}


def test_the_methods_are_compared_by_what_their_runs_cost_and_keep(demo):
    table = pd.read_csv(demo / "results/demo/tables/methods.csv", dtype={"sparsity": str})
    found = {cell: group.set_index("method") for cell, group in table.groupby(["model", "sparsity"])}
    methods = {"dense", "wanda", "ria", "sparsegpt", "magnitude", "magnitude_row", "random"}
    for model, more in (("tiny-llama", {"dpruner"}), ("tiny-gemma", set())):
        rows = found.pop((model, "0.50"))
        assert set(rows.index) == methods | more
        pruned, perplexity = rows.drop("dense"), rows["tiny_text_perplexity"]
        assert (pruned["wall_seconds"] > 0).all()
        assert (pruned["peak_memory_mb"] > 0).all()
        assert perplexity.idxmin() == "dense"
        assert perplexity.idxmax() == rows["matched"].idxmin() == "random"
        assert (pruned["bytes"] > 0).all()
    ((cell, rows),) = found.items()
    assert cell == ("tiny-llama", "2of4")
    assert set(rows.index) == {"dense", "wanda", "sparsegpt", "maskllm"}
    assert rows.loc["maskllm", "matched_change_low"] > 0, "learned masks keep more of their domain than Wanda's"
    assert rows.loc["maskllm", "tokens"] > 10 * rows.loc["wanda", "tokens"]


def test_nothing_is_left_to_do(root, demo):
    done = snakemake(root, demo)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_the_report_opens_in_a_browser_without_fault(demo):
    assert findings(demo / "results/demo/report/index.html") == []


def test_the_run_as_a_report_of_snakemake(root, demo):
    done = snakemake(root, demo, "--report", "report.zip")
    assert done.returncode == 0, done.stderr[-5000:]
    with zipfile.ZipFile(demo / "report.zip") as report:
        names = [name.rpartition("/")[2] for name in report.namelist()]
    assert {"report.html", "index.html", "scores.csv", "cross_task-tiny-llama.svg"} <= set(names)


def test_the_exported_checkpoint_is_the_submodel(demo):
    from transformers import AutoModelForCausalLM

    model = EXPORTED.split("/")[0]
    base, mask = demo / "results/demo/base_models" / model, demo / "results/demo/submodels" / EXPORTED
    exported = AutoModelForCausalLM.from_pretrained(
        demo / "results/demo/checkpoints" / EXPORTED, dtype="float32"
    ).eval()
    ours = load_submodel(base, mask)
    prompt = load_tokenizer(base)("def add_price(price):", return_tensors="pt")
    with torch.inference_mode():
        assert (exported(**prompt).logits - ours(**prompt).logits).abs().max() == 0


def test_masks_unpack_to_what_the_manifest_says(demo, tmp_path):
    mask = demo / "results/demo/submodels" / EXPORTED
    out = tmp_path / "masks.safetensors"
    subprocess.run([sys.executable, "-m", "submodels", "unpack", str(mask), "--out", str(out)], check=True)
    kept = load_file(out)
    manifest = files.read_json(mask / "manifest.json")["results"]
    assert sum(int((~bits).sum()) for bits in kept.values()) == manifest["pruned"]
    assert all(bits.dtype == torch.bool for bits in kept.values())


def test_calibration_text_of_the_own_domain_is_kept_best(demo):
    """Perplexity of held-out Python under the Python and the translation sub-model."""
    base = demo / "results/demo/base_models/tiny-llama"
    windows = load_file(demo / "results/demo/calibration/tiny-llama/python-s1/windows.safetensors")
    ids = windows["input_ids"][windows["attention_mask"].sum(dim=1) >= 32][:, :32]
    losses = {
        name: perplexity(load_submodel(base, demo / f"results/demo/submodels/tiny-llama/wanda-{name}-0.60-s0"), ids)
        for name in ("python", "translation")
    }
    assert losses["python"] < losses["translation"]


def test_canonical_solutions_of_the_tiny_world_pass_and_empty_ones_fail(demo, tmp_path):
    for language in ("python", "java", "cpp", "javascript"):
        items = files.read_jsonl(demo / f"results/demo/world/benchmarks/tiny_{language}.jsonl")
        for field, passed in (("canonical_solution", True), (None, False)):
            samples, out = tmp_path / "samples.jsonl", tmp_path / f"{language}-{field}.jsonl"
            files.write_jsonl(
                samples, [{"task_id": item["task_id"], "completion": item[field] if field else ""} for item in items]
            )
            command = ["execute", "--benchmark", f"tiny_{language}", "--grid", "demo"]
            command += ["--samples", str(samples), "--out", str(out)]
            subprocess.run([sys.executable, "-m", "submodels", *command], check=True, cwd=demo)
            assert {row["passed"] for row in files.read_jsonl(out)} == {passed}


def test_every_number_leads_back_to_its_samples(demo):
    for path in sorted((demo / "results/demo/scores").glob("*/*.json")):
        for id, entry in json.loads(path.read_text(encoding="utf-8"))["submodels"].items():
            samples = demo / entry["samples"]
            assert files.sha256_file(samples) == entry["fingerprint"], (path, id)


def test_no_calibration_row_holds_an_item(demo):
    for path in (demo / "results/demo/scores").glob("*/*.json"):
        assert files.read_json(path)["contamination"] == {"items": 0}, path


def hours_of_the_other(work, jobs):
    """Measured and predicted seconds of tiny-gemma's jobs, the prediction made from tiny-llama's times alone."""
    fits, _ = learn(work, [job for job in jobs if job.wildcards.get("model") == "tiny-llama"])
    measured = predicted = 0
    for job in jobs:
        timing = read_timing(work.grid.tree.timing(job.rule, *job.wildcards).format(**job.wildcards))
        if timing and job.wildcards.get("model") == "tiny-gemma":
            measured += timing.seconds
            predicted += seconds(work, job, work.cost(job.rule, **job.wildcards), fits)
    return measured, predicted


def test_the_plan_was_right(root, demo, tmp_path, monkeypatch):
    """Made before: every job, and disk within 5%. Made from one base model's times: the other's within 30%."""
    path = str(root / "config.yaml")
    grid = Grid(read_grid(path), path)
    monkeypatch.chdir(tmp_path)
    before = make_plan(grid, find_jobs(grid, [path]))
    monkeypatch.chdir(demo)
    jobs = find_jobs(grid, [path])
    after = make_plan(grid, jobs)
    assert (before.total.done, after.total.jobs) == (0, 0)
    assert before.total.jobs == after.total.done
    on_disk = sum(path.stat().st_size for path in (demo / "results/demo").rglob("*") if path.is_file())
    assert before.disk.end == pytest.approx(on_disk, rel=0.05)
    measured, predicted = hours_of_the_other(Work(grid), jobs)
    assert predicted == pytest.approx(measured, rel=0.3)
