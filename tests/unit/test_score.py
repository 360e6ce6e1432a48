"""Stage score on samples written by hand."""

import subprocess
import sys
from math import log

import pytest

from submodels import files
from submodels.benchmarks.registry import load_benchmark
from submodels.bootstrap import bootstrap_interval
from submodels.errors import SubmodelsError
from submodels.evaluation.score import score, score_all

PYTHON = [
    {"task_id": f"p/{n}", "prompt": "def f():\n", "canonical_solution": "    pass\n", "test": "", "entry_point": "f"}
    for n in range(3)
]
CSR = [{"task_id": f"c/{n}", "query": "q", "choices": ["ab", "abcd"], "gold": 0} for n in range(4)]
MATH = [{"task_id": "m/0", "question": "?", "answer": "#### 2"}]
TRANSLATION = [{"task_id": "t/0", "source": "the cat", "target": "le chat"}]
TEXT = [{"task_id": f"w/{n}", "domain": "math", "text": "x" * n} for n in (4, 2)]


@pytest.fixture
def run(tmp_path):
    """Score samples (id -> lines) of a benchmark and return the score file."""

    def run(benchmark, items, samples, **options):
        files.write_jsonl(tmp_path / "items.jsonl", items)
        paths = {}
        for id, lines in samples.items():
            paths[id] = tmp_path / f"{id}.jsonl.gz"
            files.write_jsonl(paths[id], lines)
        score(benchmark, tmp_path / "items.jsonl", paths, tmp_path / "out.json", model="tiny", **options)
        return files.read_json(tmp_path / "out.json")

    return run


def _executed(passed: dict[str, int], result="failed: AssertionError"):
    """Ten samples of each item, of which the first so many passed."""
    return [
        {"task_id": task_id, "completion": "", "sample": i, "passed": i < n, "result": "passed" if i < n else result}
        for task_id, n in passed.items()
        for i in range(10)
    ]


def test_code(run):
    found = run("tiny_python", PYTHON, {"dense": _executed({"p/0": 10, "p/1": 5, "p/2": 0}, "timed out")})
    header = {
        key: found[key]
        for key in ("model", "benchmark", "domain", "language", "primary", "higher_is_better", "synonyms", "bootstrap")
    }
    assert header == {
        "model": "tiny",
        "benchmark": "tiny_python",
        "domain": "code",
        "language": "python",
        "primary": "pass@1",
        "higher_is_better": True,
        "synonyms": None,
        "bootstrap": {"resamples": 1000, "seed": 0, "level": 0.95},
    }
    entry = found["submodels"]["dense"]
    assert (entry["status"], entry["reason"], entry["n_items"], entry["n_samples"]) == ("ok", None, 3, 30)
    assert entry["counts"] == {
        "passed": 15,
        "failed": 0,
        "compile error": 0,
        "timed out": 15,
        "out of memory": 0,
        "sandbox violation": 0,
    }
    assert found["task_ids"] == ["p/0", "p/1", "p/2"]
    assert entry["items"] == {"pass@1": [1.0, 0.5, 0.0], "pass@10": [1.0, 1.0, 0.0]}
    assert entry["metrics"]["pass@1"]["value"] == pytest.approx(0.5)
    assert entry["metrics"]["pass@10"]["value"] == pytest.approx(2 / 3)
    assert entry["metrics"]["pass@1"] == bootstrap_interval([1.0, 0.5, 0.0])._asdict()
    assert entry["fingerprint"] == files.sha256_file(entry["samples"])


def test_not_run_has_a_reason_and_no_numbers(run):
    line = {"completion": "", "passed": None, "result": "not run: no javac on this machine"}
    lines = [line | {"task_id": item["task_id"], "sample": i} for item in PYTHON for i in range(10)]
    found = run("tiny_python", PYTHON, {"a": lines, "b": _executed({"p/0": 1, "p/1": 1, "p/2": 1})})
    entry = found["submodels"]["a"]
    assert (entry["status"], entry["reason"]) == ("not run", "no javac on this machine")
    assert entry["metrics"] == entry["items"] == entry["counts"] == {}
    assert found["submodels"]["b"]["status"] == "ok"
    with pytest.raises(SubmodelsError, match="29 of 30 programs were not run"):
        run("tiny_python", PYTHON, {"a": lines[:-1] + _executed({"p/2": 1})[-1:]})


def test_multiple_choice(run):
    lines = [
        {"task_id": f"c/{n}", "loglikelihoods": values, "greedy": [False, False]}
        for n, values in enumerate([[-1, -3], [-2, -3], [-3, -1], [-1.5, -2]])
    ]
    entry = run("tiny_csr", CSR, {"x": lines})["submodels"]["x"]
    assert {name: value["value"] for name, value in entry["metrics"].items()} == {"acc": 0.75, "acc_norm": 0.25}
    assert {name: values[1] for name, values in entry["items"].items()} == {"acc": 1.0, "acc_norm": 0.0}
    lines[0]["loglikelihoods"] = [float("nan"), -1]
    with pytest.raises(SubmodelsError, match=r"x.jsonl.gz, line 1: a sample needs `loglikelihoods`, a list of numbers"):
        run("tiny_csr", CSR, {"x": lines})
    lines[0]["loglikelihoods"] = [-1]
    with pytest.raises(SubmodelsError, match=r"x.jsonl.gz: c/0 has 2 choices but 1"):
        run("tiny_csr", CSR, {"x": lines})


def test_programs_are_scored_on_executions_and_the_rest_on_generations(tmp_path):
    items = {"tiny_python": PYTHON, "tiny_csr": CSR}
    for name, rows in items.items():
        files.write_jsonl(tmp_path / f"{name}.jsonl", rows)
    files.write_jsonl(tmp_path / "e/x/tiny_python.jsonl.gz", _executed({"p/0": 10, "p/1": 5, "p/2": 0}))
    lines = [{"task_id": item["task_id"], "loglikelihoods": [-1, -3], "greedy": [False, False]} for item in CSR]
    files.write_jsonl(tmp_path / "g/x/tiny_csr.jsonl.gz", lines)
    benchmarks = {name: tmp_path / f"{name}.jsonl" for name in items}
    score_all(benchmarks, ["x"], tmp_path / "g", tmp_path / "e", tmp_path / "scores/tiny", model="tiny")
    found = {name: files.read_json(tmp_path / f"scores/tiny/{name}.json") for name in items}
    assert {name: score["submodels"]["x"]["metrics"][score["primary"]]["value"] for name, score in found.items()} == {
        "tiny_python": 0.5, "tiny_csr": 1,
    }  # fmt: skip
    assert files.read_json(tmp_path / "scores/tiny.json")["benchmarks"] == {
        name: files.sha256_file(tmp_path / f"scores/tiny/{name}.json") for name in items
    }


def test_math_and_translation(run):
    found = run("tiny_math", MATH, {"x": [{"task_id": "m/0", "completion": " 1 + 1\n#### 2", "sample": 0}]})
    assert found["submodels"]["x"]["metrics"]["exact_match"]["value"] == 1.0
    assert found["language"] is None
    found = run("tiny_translation", TRANSLATION, {"x": [{"task_id": "t/0", "completion": " le chat", "sample": 0}]})
    assert found["synonyms"] == "none"
    entry = found["submodels"]["x"]
    assert entry["metrics"]["meteor"]["value"] == pytest.approx(1 - 0.5 / 8)
    assert entry["corpus"]["chrf"] == entry["metrics"]["chrf"]["value"] == 1.0


def test_perplexity_is_that_of_all_tokens(run):
    """3 tokens of 1 bit and 1 token of 5 bits: 2 bits a token, 8 bits in 6 bytes."""
    lines = [
        {"task_id": "w/4", "loglikelihood": -3 * log(2), "tokens": 3, "bytes": 4},
        {"task_id": "w/2", "loglikelihood": -5 * log(2), "tokens": 1, "bytes": 2},
    ]
    found = run("tiny_text", TEXT, {"x": lines})
    assert (found["domain"], found["primary"], found["higher_is_better"]) == ("text", "perplexity", False)
    entry = found["submodels"]["x"]
    assert (entry["n_items"], entry["n_samples"], entry["counts"]) == (2, 2, {"scored": 2})
    assert (found["task_ids"], entry["items"]["perplexity"]) == (["w/4", "w/2"], pytest.approx([2, 32]))
    # Of two documents resampled, a quarter of all draws is the first twice, a quarter the second twice.
    assert entry["metrics"]["perplexity"] == pytest.approx({"value": 4, "stderr": 12.53, "low": 2, "high": 32}, abs=0.5)
    assert entry["metrics"]["bits_per_byte"]["value"] == pytest.approx(8 / 6)
    assert run("tiny_text", TEXT, {"x": lines})["submodels"] == found["submodels"]
    other = run("tiny_text", TEXT, {"x": lines}, seed=1)["submodels"]["x"]["metrics"]["perplexity"]
    assert other["stderr"] != entry["metrics"]["perplexity"]["stderr"]
    lines[0]["loglikelihood"] = float("nan")
    with pytest.raises(SubmodelsError, match=r"x.jsonl.gz: w/4: a log-likelihood of nan for 3 tokens"):
        run("tiny_text", TEXT, {"x": lines})
    del lines[0]["tokens"]
    with pytest.raises(SubmodelsError, match=r"x.jsonl.gz, line 1: a sample needs `tokens`, a number"):
        run("tiny_text", TEXT, {"x": lines})


def test_a_pilot_scores_the_first_items(run):
    lines = _executed({"p/0": 10, "p/1": 0})
    assert run("tiny_python", PYTHON, {"x": lines}, limit=2)["submodels"]["x"]["n_items"] == 2
    with pytest.raises(SubmodelsError, match=r"x.jsonl.gz: item p/2 has 0 samples, tiny_python needs 10"):
        run("tiny_python", PYTHON, {"x": lines})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "item p/2 has 9 samples, tiny_python needs 10"),
        (lambda lines: [*lines, lines[0] | {"sample": 10}], "item p/0 has 11 samples"),
        (lambda lines: [*lines, lines[0] | {"task_id": "q/0"}], "line 31: unknown task_id 'q/0'"),
        (lambda lines: [*lines[:-1], lines[0]], "line 30: sample 0 of p/0 is there twice"),
        (
            lambda lines: [{"task_id": "p/0", "completion": ""}],
            "line 1: a sample needs `passed`, true, false or null; execute the samples first",
        ),
        (lambda lines: [lines[0] | {"passed": "yes"}], "line 1: a sample needs `passed`, true, false or null"),
        (lambda lines: [{"completion": ""}], "line 1: a sample needs `task_id`, a text"),
        (lambda lines: ["p/0"], 'line 1: a sample must be an object, not "p/0"'),
    ],
)
def test_incomplete_samples_are_an_error_that_names_them(run, tmp_path, change, message):
    with pytest.raises(SubmodelsError) as error:
        run("tiny_python", PYTHON, {"x": change(_executed({"p/0": 1, "p/1": 1, "p/2": 1}))})
    assert message in str(error.value)
    assert "x.jsonl.gz" in str(error.value)
    assert not (tmp_path / "out.json").exists()


def test_an_unknown_kind_of_synonyms_is_an_error(run):
    with pytest.raises(SubmodelsError, match="known: none, wordnet"):
        run("tiny_math", MATH, {}, synonyms="all")


def test_scoring_needs_no_heavy_library():
    code = (
        "import sys, submodels.evaluation.score; print({'torch', 'transformers', 'pandas', 'nltk'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_pilot_is_partial_only_if_items_are_left_out(run):
    lines = _executed({"p/0": 10, "p/1": 0})
    assert run("tiny_python", PYTHON, {"x": lines}, limit=2)["partial"] == {"items": 2, "of": 3}
    whole = _executed({"p/0": 10, "p/1": 0, "p/2": 1})
    assert run("tiny_python", PYTHON, {"x": whole}, limit=3)["partial"] is None
    assert run("tiny_python", PYTHON, {"x": whole})["partial"] is None


def _first(samples: int, passed: dict[str, int]) -> list[dict]:
    return [line for line in _executed(passed) if line["sample"] < samples]


@pytest.mark.parametrize(
    ("sampling", "samples", "metrics"),
    [
        ("greedy", 1, {"pass@1": 2 / 3}),
        (1, 1, {"pass@1": 2 / 3}),
        (4, 4, {"pass@1": (1 + 2 / 4 + 0) / 3}),
        (10, 10, {"pass@1": (1 + 2 / 10 + 0) / 3, "pass@10": 2 / 3}),
    ],
)
def test_samples_by_hand(run, sampling, samples, metrics):
    lines = _first(samples, {"p/0": 10, "p/1": 2, "p/2": 0})
    found = run("tiny_python", PYTHON, {"dense": lines}, sampling=sampling)
    assert (found["sampling"], found["primary"]) == (None if sampling == 10 else sampling, "pass@1")
    entry = found["submodels"]["dense"]
    assert (entry["n_items"], entry["n_samples"]) == (3, 3 * samples)
    assert {name: metric["value"] for name, metric in entry["metrics"].items()} == pytest.approx(metrics)
    assert list(entry["items"]) == list(metrics)


def test_samples_that_are_more_or_fewer_than_said_are_no_score(run):
    for sampling, lines in (
        (None, _first(1, {"p/0": 1})),
        (1, _first(2, {"p/0": 1})),
        ("greedy", _first(10, {"p/0": 1})),
    ):
        with pytest.raises(
            SubmodelsError, match=r"item p/0 has \d+ samples, .* needs \d+; generate again, or tell both"
        ):
            run("tiny_python", PYTHON[:1], {"dense": lines}, sampling=sampling)
    assert run("tiny_math", MATH, {"x": [{"task_id": "m/0", "completion": "#### 2"}]}, sampling=7)["sampling"] is None


def test_one_sample_is_not_taken_for_a_greedy_answer(run, tmp_path):
    """What the manifest of their generation says of the samples, the score says too."""
    task = load_benchmark("tiny_python").with_sampling("greedy").task
    files.write_json(tmp_path / "said.manifest.json", {"parameters": {"task": task}, "results": {}})
    said = {"inputs": {"samples": {"path": str(tmp_path / "said.jsonl.gz")}}, "wall_seconds": 1.0}
    files.write_json(tmp_path / "x.manifest.json", said)
    lines = {"x": _first(1, {"p/0": 1})}
    with pytest.raises(
        SubmodelsError, match=r"x\.jsonl\.gz: drawn with generation_kwargs: .*'do_sample': False.*, but"
    ):
        run("tiny_python", PYTHON[:1], lines, sampling=1)
    assert run("tiny_python", PYTHON[:1], lines, sampling="greedy")["sampling"] == "greedy"


def test_protocol_quirks_and_fixture(run):
    line = {"task_id": "m/0", "completion": "#### 2", "sample": 0}
    found = run("tiny_math", MATH, {"x": [line]})
    assert (found["protocol"], found["quirks"], found["fixture"], found["contamination"]) == ("strict", [], False, None)
    found = run("gsm8k_paper", [MATH[0] | {"prompt": "?", "fixture": True}], {"x": [line]})
    assert (found["protocol"], found["fixture"]) == ("paper", True)
    assert "Numbers are compared as texts, so 18.00 is not 18." in found["quirks"]


def test_seconds_and_tokens_are_those_of_the_manifests(run, tmp_path):
    took = {"wall_seconds": 7.5, "prompt_tokens": 120, "generated_tokens": 30}
    generated = {"stage": "generate", "wall_seconds": 99.0, "results": took}
    files.write_json(tmp_path / "x.manifest.json", generated)
    samples = {name: [{"task_id": "m/0", "completion": "#### 2"}] for name in ("x", "y")}
    found = run("tiny_math", MATH, samples)["submodels"]
    keys = ("wall_seconds", "prompt_tokens", "generated_tokens")
    assert [found["x"][key] for key in keys] == [{"generate": 7.5, "execute": None}, 120, 30]
    assert [found["y"][key] for key in keys] == [{"generate": None, "execute": None}, None, None]


def test_programs_took_time_to_write_and_to_run(run, tmp_path):
    """The manifest of an execution leads to that of the generation, in another directory."""
    said = tmp_path / "generations" / "tiny_python.jsonl.gz"
    files.write_json(
        said.with_name("tiny_python.manifest.json"),
        {"results": {"wall_seconds": 7.5, "prompt_tokens": 120, "generated_tokens": 30}},
    )
    files.write_json(
        tmp_path / "x.manifest.json", {"wall_seconds": 3.25, "inputs": {"samples": {"path": str(said)}}, "results": {}}
    )
    lines = _executed({"p/0": 1, "p/1": 1, "p/2": 1})
    found = run("tiny_python", PYTHON, {"x": lines, "y": lines})["submodels"]
    assert found["x"]["wall_seconds"] == {"generate": 7.5, "execute": 3.25}
    assert (found["x"]["prompt_tokens"], found["x"]["generated_tokens"]) == (120, 30)
    assert found["y"]["wall_seconds"] == {"generate": None, "execute": None}
