"""A trained model of 260k parameters, dense and pruned, through every benchmark there is: one grid, from its data to
its page. It knows simple stories, so scores are at chance; that all of them are there, and say what they are, is what
counts.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from local_sources import local_sources
from sandbox_support import need_language
from test_report_browser import findings

from submodels import files
from submodels.benchmarks.registry import benchmark_names, load_benchmark
from submodels.evaluation.runners import LANGUAGES

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

BENCHMARKS = {name: load_benchmark(name) for name in benchmark_names() if not name.startswith("tiny_")}
MODEL, SUBMODELS = "stories", ["dense", "wanda-web-0.50-s0"]
LIMIT = 2
CASES = [(name, submodel) for name in BENCHMARKS for submodel in SUBMODELS]


@pytest.fixture(scope="module")
def ran(root, shared, tmp_path_factory) -> Path:
    """A directory in which the grid has run."""
    for language in LANGUAGES:
        need_language(language)
    directory, data = tmp_path_factory.mktemp("real"), shared / "data"
    sources = local_sources(data, directory)
    hub = [name for name, task in BENCHMARKS.items() if task.source.kind in ("hub", "held_out")]
    grid = {
        "name": "stories260K",
        "base_models": [MODEL],
        "models": {MODEL: {"path": str(data / "models/stories260K"), "description": "trained on simple stories"}},
        "calibration_sets": {
            "web": {
                "domain": "generic",
                "source": {"file": str(data / "calibration/c4_sample.jsonl.gz")},
                "template": "{text}",
            }
        },
        "submodels": [{"calibration_sets": ["web"], "sparsities": [0.5]}],
        "calibration": {"rows": 16, "seqlen": 128},
        "benchmarks": list(BENCHMARKS),
        "sources": {name: sources.get(name, "fixture") for name in hub},
        "evaluation": {"limit": LIMIT, "batch_size": 128, "synonyms": "none"},
    }
    (directory / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--cores", "2"]
    command += ["--configfile", str(directory / "grid.yaml"), "--directory", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return directory


def made_up(ran: Path, name: str) -> bool:
    return yaml.safe_load((ran / "grid.yaml").read_text(encoding="utf-8"))["sources"].get(name) == "fixture"


def score(ran: Path, name: str) -> dict:
    return files.read_json(ran / f"results/stories260K/scores/{MODEL}/{name}.json")


@pytest.mark.parametrize(("name", "submodel"), CASES)
def test_every_benchmark_has_a_score_with_all_that_belongs_to_it(ran, name, submodel):
    task, entry = BENCHMARKS[name], score(ran, name)["submodels"][submodel]
    assert (entry["status"], entry["reason"]) == ("ok", None)
    assert 1 <= entry["n_items"] <= LIMIT
    assert {len(values) for values in entry["items"].values()} == {entry["n_items"]}
    assert entry["n_samples"] == entry["n_items"] * task.repeats == sum(entry["counts"].values())
    assert task.primary in entry["metrics"]
    for metric in entry["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
        assert metric["stderr"] >= 0
        assert metric["value"] >= 0
        assert not task.higher_is_better or metric["value"] <= 1
    assert entry["wall_seconds"]["generate"] > 0
    assert (entry["wall_seconds"]["execute"] is not None) == task.is_code
    assert entry["prompt_tokens"] > 0
    assert (entry["generated_tokens"] > 0) == (task.output_type == "generate_until")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_score_says_what_it_is(ran, name):
    found = score(ran, name)
    assert found["protocol"] == ("paper" if name.endswith("_paper") else "strict")
    assert bool(found["quirks"]) == (found["protocol"] == "paper")
    assert found["fixture"] == made_up(ran, name)
    assert found["contamination"]["items"] == 0
    partial = found["partial"]
    assert found["fixture"] or partial["items"] == LIMIT < partial["of"]


def test_what_the_context_does_not_hold_is_cut_and_counted(ran):
    """Eight worked examples need more than 512 tokens; a line to be translated does not."""
    for name in ("gsm8k", "gsm8k_paper", "mbpp"):
        assert score(ran, name)["truncated"]["prompts"] == LIMIT, name
    assert score(ran, "gsm8k")["truncated"]["answers"] == 0
    assert score(ran, "humaneval")["truncated"]["answers"] > 0  # 500 tokens and a prompt are more than 512
    for name in ("openbookqa", "arc_easy", "wikitext2"):
        assert score(ran, name)["truncated"] is None, name


def test_pruning_is_felt_where_the_model_knows_something(ran):
    perplexities = {id: entry["metrics"]["perplexity"] for id, entry in score(ran, "wikitext2")["submodels"].items()}
    dense, pruned = (perplexities[id] for id in SUBMODELS)
    assert 20 < dense["value"] < 1000
    assert pruned["value"] > dense["high"] or pruned["value"] > 1.05 * dense["value"]


def test_the_page_shows_every_score_with_its_marks(ran):
    page = (ran / "results/stories260K/report/index.html").read_text(encoding="utf-8")
    listed = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    remarks = {entry["name"]: entry["remarks"] for entry in listed["benchmarks"]}
    shown = {}
    for run, benchmark, _, _, value, _, _, items, *_ in listed["rows"]:
        case = listed["benchmarks"][benchmark]["name"], listed["runs"][run]["submodel"]
        shown.setdefault(case, []).append((value, items))
    assert shown.keys() == set(CASES)
    for (name, submodel), cells in shown.items():
        entry = score(ran, name)["submodels"][submodel]
        assert len(cells) == len(entry["metrics"])
        assert all(isinstance(value, int | float) and items == entry["n_items"] for value, items in cells)
        assert ("fixture" if made_up(ran, name) else f"first {LIMIT} items") in remarks[name]
        assert ("paper protocol" in remarks[name]) == name.endswith("_paper")
        cut = score(ran, name)["truncated"] or {}
        for what in ("prompts", "answers"):
            assert (f"truncated {what}" in remarks[name]) == (cut.get(what, 0) > 0)
    table = pd.read_csv(ran / "results/stories260K/tables/scores.csv")
    assert set(zip(table["benchmark"], table["submodel"], strict=True)) == set(CASES)
    assert set(table["status"]) == {"ok"}


def test_the_page_opens_in_a_browser_without_fault(ran):
    assert findings(ran / "results/stories260K/report/index.html") == []
