"""The recipes of docs/extending.md, followed to the letter in a new clone: commands and files are those of its text."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dag import ROOT, clone, planned
from fake_hub import COMMIT, serving

from submodels.evaluation.sandbox import sandbox_status

GRID = {
    "name": "recipes",
    "base_models": ["tiny-llama"],
    "submodels": [{"calibration_sets": ["csr"], "sparsities": [0.5]}],
    "benchmarks": ["tiny_csr"],
}


def recipe(name):
    """The fenced blocks of the page in the section of a recipe."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    text = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    return re.findall(r"(?ms)^```\w+\n(.*?)^```$", text)


@pytest.fixture
def project(tmp_path):
    return clone(tmp_path / "clone")


def follow(project, commands, environment=os.environ):
    """Run a block of commands as a user of the clone with its environment activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=project, capture_output=True, text=True,
        env={**environment, "PATH": path, "PYTHONPATH": str(project / "workflow")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def plan(project, **changes):
    grid = project / "grid.yaml"
    grid.write_text(yaml.safe_dump(GRID | changes), encoding="utf-8")
    return planned(project, "--configfile", str(grid), workflow=project)


def test_a_base_model(project, tmp_path):
    (commands,) = recipe("A base model")
    assert plan(project).get("fetch_base_model") is None
    with serving(tmp_path / "cache") as environment:
        commands = commands.replace("<owner/name>", "house/shaped").replace("<commit>", "1234567")
        follow(project, commands, environment)
    entry = yaml.safe_load((project / "resources/models.yaml").read_text(encoding="utf-8"))["my-model"]
    assert (entry["hub"], entry["revision"]) == ("house/shaped", COMMIT)
    jobs = plan(project, base_models=["my-model"])
    assert (jobs["fetch_base_model"], jobs["prune"]) == (1, 1)
    assert "train_base_model" not in jobs


def test_a_calibration_set(project):
    rows, entry, by_hand, registered = recipe("A calibration set")
    (project / "my-qa.jsonl").write_text(rows, encoding="utf-8")
    _make_model(project / "my-model")
    follow(project, by_hand)
    with open(project / "resources/calibration_sets.yaml", "a", encoding="utf-8") as registry:
        registry.write(f"\n{entry}")
    follow(project, registered)
    windows = [project / name / "my-qa-s0/windows.safetensors" for name in ("trial", "trial/registered")]
    assert windows[0].read_bytes() == windows[1].read_bytes()
    assert plan(project)["calibrate"] == 1
    submodels = [{"calibration_sets": ["csr", "my-qa"], "sparsities": [0.5]}]
    assert plan(project, submodels=submodels)["calibrate"] == 2


def test_a_code_base(project):
    """The grid's draw of the recipe, and the draw by hand."""
    entry, scored, by_hand = recipe("A code base")
    code = project.parent / "my-project/lib"
    code.mkdir(parents=True)
    for name in ("a", "b", "c", "d"):
        (code / f"{name}.py").write_text(f"{name} = 1\n", encoding="utf-8")
    _make_model(project / "my-model")
    follow(project, by_hand)
    grid = (
        GRID
        | {
            "calibration_sets": yaml.safe_load(entry),
            "submodels": [{"calibration_sets": ["my-code"], "sparsities": [0.5]}],
            "models": {"my-model": {"path": "my-model"}},
            "base_models": ["my-model"],
            "calibration": {"rows": 2, "seqlen": 64},
        }
        | yaml.safe_load(scored)
    )
    jobs = plan(project, **grid)
    assert (jobs["collect_files"], jobs["benchmark_items"], jobs["calibrate"], jobs["prune"]) == (1, 1, 1, 1)
    windows = "results/recipes/calibration/my-model/my-code-s0/windows.safetensors"
    follow(project, f"snakemake {windows} --cores 1 --configfile grid.yaml")
    assert (project / windows).read_bytes() == (project / "trial/my-code-s0/windows.safetensors").read_bytes()


def test_a_benchmark(project):
    (commands,) = recipe("A benchmark")
    said = follow(project, commands)
    jobs = {rule: int(count) for rule, count in re.findall(r"(?m)^(\w+) +(\d+)$", said)}
    assert (jobs["train_base_model"], jobs["prune"], jobs["generate"], jobs["score"]) == (1, 1, 2, 1)
    assert "execute" not in jobs
    assert "resources/tasks/my_math.jsonl" in said
    assert plan(project, benchmarks=["tiny_csr", "my_math"])["generate"] == 2


def test_a_benchmark_of_code(project):
    items, task, commands = recipe("A benchmark of code")
    (project / "resources/tasks/my_code.jsonl").write_text(items, encoding="utf-8")
    follow(project, task)
    jobs = plan(project, benchmarks=["tiny_csr", "my_code"])
    assert (jobs["generate"], jobs["execute"]) == (2, 2)
    if all(sandbox_status().values()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no sandbox works here")
    follow(project, commands)
    executed = (project / "executed.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["passed"] for line in executed] == [True, True]


def _make_model(directory):
    """What `calibrate` reads of a model: a tokenizer and a configuration; a plan also reads the headers of weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = {character: number for number, character in enumerate(["<s>", *pre_tokenizers.ByteLevel.alphabet()])}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(letters), hidden_size=16, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(directory)
