"""Scoring keeps what stands: a score is computed again where the samples or the settings changed."""

from pathlib import Path

import pytest

from submodels import files
from submodels.errors import SubmodelsError
from submodels.evaluation import score as stage

ITEMS = {
    "tiny_csr": [{"task_id": f"csr/{n}", "query": "?", "choices": ["a", "b"], "gold": 0} for n in range(3)],
    "tiny_math": [{"task_id": f"math/{n}", "question": "?", "answer": f"#### {n}"} for n in range(3)],
}
RIGHT, WRONG = [-1.0, -2.0], [-2.0, -1.0]


def samples(root, submodel, right=3):
    directory = root / "generations" / submodel
    lines = [
        {"task_id": item["task_id"], "loglikelihoods": RIGHT if number < right else WRONG, "greedy": [True, False]}
        for number, item in enumerate(ITEMS["tiny_csr"])
    ]
    files.write_jsonl(directory / "tiny_csr.jsonl.gz", lines)
    lines = [{"task_id": f"math/{n}", "completion": f" #### {n}", "sample": 0} for n in range(3)]
    files.write_jsonl(directory / "tiny_math.jsonl.gz", lines)
    files.write_json(
        directory / "contamination.json", {"benchmarks": {name: {"seen": []} for name in ITEMS}, "draws": {}}
    )


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Score the sub-models on the benchmarks; returns which pairs were computed."""
    for name, items in ITEMS.items():
        files.write_jsonl(tmp_path / f"{name}.jsonl", items)
    computed, inner = [], stage._score_submodel

    def counted(task, items, path, **options):
        computed.append((task.name, Path(path).parent.name))
        return inner(task, items, path, **options)

    monkeypatch.setattr(stage, "_score_submodel", counted)

    def run(submodels, benchmarks=("tiny_csr",), **settings):
        computed.clear()
        stage.score_all(
            {name: tmp_path / f"{name}.jsonl" for name in benchmarks}, submodels, tmp_path / "generations",
            tmp_path / "executions", tmp_path / "scores/m", model="m", resamples=100, **settings,
        )  # fmt: skip
        return sorted(computed)

    return run


def read(tmp_path, benchmark="tiny_csr"):
    found = files.read_json(tmp_path / f"scores/m/{benchmark}.json")
    return {id: entry["metrics"]["acc"]["value"] for id, entry in found["submodels"].items()}


def test_only_what_is_new_is_computed(score, tmp_path):
    for submodel, right in (("dense", 3), ("one", 2), ("two", 1)):
        samples(tmp_path, submodel, right)
    assert score(["dense", "one"]) == [("tiny_csr", "dense"), ("tiny_csr", "one")]
    written = (tmp_path / "scores/m/tiny_csr.json").stat().st_mtime_ns
    assert score(["dense", "one"]) == []
    assert (tmp_path / "scores/m/tiny_csr.json").stat().st_mtime_ns == written
    assert score(["dense", "one", "two"]) == [("tiny_csr", "two")]
    assert read(tmp_path) == pytest.approx({"dense": 1, "one": 2 / 3, "two": 1 / 3})
    assert score(["dense", "one", "two"], ["tiny_csr", "tiny_math"]) == [
        ("tiny_math", submodel) for submodel in ("dense", "one", "two")
    ]
    assert files.read_json(tmp_path / "scores/m.json")["benchmarks"].keys() == ITEMS.keys()
    assert score(["two"]) == []
    assert read(tmp_path).keys() == {"two"}


@pytest.mark.parametrize("settings", [{"seed": 1}, {"limit": 2}])
def test_other_settings_compute_everything(score, tmp_path, settings):
    samples(tmp_path, "dense")
    score(["dense"])
    if "limit" in settings:  # the samples are then those of a pilot
        lines = files.read_jsonl(tmp_path / "generations/dense/tiny_csr.jsonl.gz")
        files.write_jsonl(tmp_path / "generations/dense/tiny_csr.jsonl.gz", lines[:2])
    assert score(["dense"], **settings) == [("tiny_csr", "dense")]


def test_other_samples_and_other_items_are_scored_again(score, tmp_path):
    samples(tmp_path, "dense")
    samples(tmp_path, "one")
    score(["dense", "one"])
    samples(tmp_path, "one", right=0)
    assert score(["dense", "one"]) == [("tiny_csr", "one")]
    assert read(tmp_path) == {"dense": 1, "one": 0}
    files.write_jsonl(tmp_path / "tiny_csr.jsonl", [item | {"gold": 1} for item in ITEMS["tiny_csr"]])
    assert score(["dense", "one"]) == [("tiny_csr", "dense"), ("tiny_csr", "one")]
    assert read(tmp_path) == {"dense": 0, "one": 1}


def test_a_fault_in_one_benchmark_spares_the_others(score, tmp_path):
    samples(tmp_path, "dense")
    (tmp_path / "generations/dense/tiny_csr.jsonl.gz").unlink()
    with pytest.raises(SubmodelsError, match=r"tiny_csr\.jsonl\.gz: no such file"):
        score(["dense"], ["tiny_csr", "tiny_math"])
    assert (tmp_path / "scores/m/tiny_math.json").exists()
    assert not (tmp_path / "scores/m.json").exists()


def test_workers_change_no_number(score, tmp_path, monkeypatch):
    monkeypatch.undo()  # processes need no count
    for submodel, right in (("dense", 3), ("one", 2), ("two", 1)):
        samples(tmp_path, submodel, right)
    score(["dense", "one", "two"], ["tiny_csr", "tiny_math"])
    alone = [files.read_json(tmp_path / f"scores/m/{name}.json")["submodels"] for name in ITEMS]
    for name in ITEMS:
        (tmp_path / f"scores/m/{name}.json").unlink()
    score(["dense", "one", "two"], ["tiny_csr", "tiny_math"], workers=2)
    assert [files.read_json(tmp_path / f"scores/m/{name}.json")["submodels"] for name in ITEMS] == alone
