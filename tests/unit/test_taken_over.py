"""What another grid of the checkout has made is taken over, and the files of that grid stay as they are."""

# ruff: noqa: F811 (an argument is called as the fixture that it is)

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny_models
from generate_support import CODE, CSR, TEXT, model_dir  # noqa: F401 (fixture)
from sandbox_support import need_sandbox

from submodels import files
from submodels.benchmarks.items import write_items
from submodels.calibration.calibrate import calibrate
from submodels.evaluation import engine, execute
from submodels.evaluation.generate import generate
from submodels.pruning import prune as pruning
from submodels.world import corpus, train

ITEMS = {
    "tiny_python": [CODE[n % 3] | {"task_id": f"python/{n}"} for n in range(5)],
    "tiny_csr": [CSR[n % 3] | {"task_id": f"csr/{n}"} for n in range(7)],
    "tiny_text": TEXT,
}


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def forbid(monkeypatch):
    """Make a function fail where it is called."""

    def forbidden(*arguments, **options):
        raise AssertionError("made twice")

    return lambda module, name: monkeypatch.setattr(module, name, forbidden)


def tree(directory) -> dict[str, tuple[int, bytes]]:
    """Times and contents of all files there."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file()
    }


def check(first, second, products=None):
    """Both hold the same products; the second manifest is the first one's, and says where it is from."""
    made, taken = (files.read_json(f"results/{name}/manifest.json") for name in (first, second))
    assert taken["taken_from"] == f"results/{first}/manifest.json"
    assert taken["products"] == made["products"]
    for key in ("fingerprint", "versions", "git", "started", "wall_seconds"):
        assert taken[key] == made[key]
    for name in made["products"]:
        pair = [Path(f"results/{grid}/{name}") for grid in (first, second)]
        assert pair[0].read_bytes() == pair[1].read_bytes()
        assert not pair[0].samefile(pair[1])  # Snakemake touches what a rule declares
    return made, taken


def test_the_tiny_world_and_its_models(forbid):
    few = dict.fromkeys(corpus.TRAIN_DOCUMENTS, 2)
    corpus.write_world(Path("results/one/world"), 0, few, calibration_rows=2)
    train.train(Path("results/one/world/train.jsonl"), "llama", Path("results/one/base_models/m"), steps=1)
    before = tree("results/one")
    forbid(train, "_fit")
    forbid(corpus, "check_disjoint")
    corpus.write_world(Path("results/two/world"), 0, few, calibration_rows=2)
    train.train(Path("results/two/world/train.jsonl"), "llama", Path("results/two/base_models/m"), steps=1)
    check("one/world", "two/world")
    check("one/base_models/m", "two/base_models/m")
    assert tree("results/one") == before
    with pytest.raises(AssertionError, match="made twice"):
        corpus.write_world(Path("results/three/world"), 1, few, calibration_rows=2)
    with pytest.raises(AssertionError, match="made twice"):
        train.train(Path("results/two/world/train.jsonl"), "llama", Path("results/two/base_models/other"), steps=1)


def test_items(forbid):
    write_items("gsm8k", Path("results/one/benchmarks/gsm8k.jsonl"), fixture=True)
    write_items("gsm8k", Path("results/two/benchmarks/gsm8k.jsonl"), fixture=True)
    manifest = files.read_json("results/two/benchmarks/gsm8k.manifest.json")
    assert manifest["taken_from"] == "results/one/benchmarks/gsm8k.manifest.json"
    rows = [{"question": "How many are 2 and 2?", "answer": "2 + 2 = 4\n#### 4"}]
    files.write_jsonl("rows.jsonl", rows)
    write_items("gsm8k", Path("results/three/benchmarks/gsm8k.jsonl"), rows=Path("rows.jsonl"))
    assert len(files.read_jsonl("results/three/benchmarks/gsm8k.jsonl")) == 1


@pytest.fixture
def base(tmp_path):
    return tiny_models.save_model(tmp_path / "base")


def drawn(model, out, **spec):
    entry = {"domain": "code", "template": "{text}", "source": {"file": "rows.jsonl"}} | spec
    calibrate(json.dumps(entry), model, Path(out), rows=2, seqlen=8)


def test_windows_under_another_domain(model_dir, forbid):
    files.write_jsonl("rows.jsonl", [{"text": "def f(x): return x"}, {"text": "print('hello')"}])
    drawn(model_dir, "results/one/calibration/m/mine-s0")
    forbid(__import__("submodels.calibration.calibrate", fromlist=["x"]), "draw_set")
    drawn(model_dir, "results/two/calibration/m/mine-s0", domain="generic")
    made, taken = check("one/calibration/m/mine-s0", "two/calibration/m/mine-s0")
    assert (made["results"]["domain"], taken["results"]["domain"]) == ("code", "generic")
    with pytest.raises(AssertionError, match="made twice"):
        drawn(model_dir, "results/two/calibration/m/mine-s0", template="# {text}")
    with pytest.raises(AssertionError, match="made twice"):
        drawn(model_dir, "results/two/calibration/m/other-s0")  # another id


def test_masks(base, forbid, monkeypatch):
    one, two = (
        Path("results/one/submodels/m/magnitude-none-0.50-s0"),
        Path("results/two/submodels/m/magnitude-none-0.50-s0"),
    )
    pruning.prune(base, None, "magnitude", "0.50", one)
    before = tree("results/one")
    forbid(pruning, "prune_blocks")
    pruning.prune(base, None, "magnitude", "0.50", two)
    check(one.relative_to("results"), two.relative_to("results"))
    assert tree("results/one") == before
    with pytest.raises(AssertionError, match="made twice"):
        pruning.prune(base, None, "magnitude", "0.60", Path("results/three/submodels/m/magnitude-none-0.50-s0"))


def test_a_product_that_changed_since_is_made_anew(base):
    one, two = (Path(f"results/{name}/submodels/m/magnitude-none-0.50-s0") for name in ("one", "two"))
    pruning.prune(base, None, "magnitude", "0.50", one)
    mask = one / "submodel.safetensors"
    whole = mask.read_bytes()
    mask.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    pruning.prune(base, None, "magnitude", "0.50", two)
    assert "taken_from" not in files.read_json(two / "manifest.json")
    assert (two / "submodel.safetensors").read_bytes() == whole


@pytest.fixture
def items():
    for name, rows in ITEMS.items():
        files.write_jsonl(f"{name}.jsonl", rows)
    return {name: Path(f"{name}.jsonl") for name in ITEMS}


@pytest.fixture
def asked(monkeypatch):
    """How many requests the model answers."""
    counts, answer = [], engine._answer

    def counted(lm, how, requests, *rest):
        counts.append(len(requests))
        return answer(lm, how, requests, *rest)

    monkeypatch.setattr(engine, "_answer", counted)
    return lambda: sum(counts)


def answers(model, items, grid, **settings):
    out = Path(f"results/{grid}/generations/m/dense")
    generate(model, None, items, out, threads=1, batch_size=4, **settings)
    return {name: files.read_jsonl(out / f"{name}.jsonl.gz") for name in items}


def test_samples_and_those_of_a_pilot(model_dir, items, asked):
    whole = answers(model_dir, items, "whole")
    every, before = asked(), tree("results/whole")
    assert answers(model_dir, items, "copy") == whole
    assert answers(model_dir, items, "pilot", limit=3) == {
        name: [line for line in lines if line["task_id"] in [item["task_id"] for item in ITEMS[name][:3]]]
        for name, lines in whole.items()
    }
    assert asked() == every
    assert tree("results/whole") == before
    copied, pilot = (
        files.read_json(f"results/{name}/generations/m/dense/tiny_csr.manifest.json") for name in ("copy", "pilot")
    )
    assert copied["taken_from"] == "results/whole/generations/m/dense/tiny_csr.manifest.json"
    assert pilot["results"]["partial"] == {"items": 3, "of": 7}
    assert sum(one["items"] for one in pilot["results"]["taken"]) == 3


def test_a_pilots_items_serve_the_full_run_item_by_item(model_dir, items, asked):
    answers(model_dir, items, "pilot", limit=2)
    before = asked()
    grown = answers(model_dir, items, "whole")
    rest = asked() - before
    shutil.rmtree("results")
    fresh = answers(model_dir, items, "fresh")
    assert rest == asked() - before - rest - before  # what is left of the whole
    for name in ("tiny_python", "tiny_csr", "tiny_text"):
        assert [line["task_id"] for line in grown[name]] == [line["task_id"] for line in fresh[name]]
    assert grown["tiny_python"] == fresh["tiny_python"]


def test_a_raised_limit_keeps_the_items_that_were_asked(model_dir, items, asked):
    answers(model_dir, items, "grid", limit=2)
    before = asked()
    answers(model_dir, items, "grid", limit=2)
    assert asked() == before
    answers(model_dir, items, "grid", limit=3)
    few = {name: files.read_json(f"results/grid/generations/m/dense/{name}.manifest.json")["results"] for name in items}
    assert all(
        results["taken"] == [{"from": f"results/grid/generations/m/dense/{name}.manifest.json", "items": 2}]
        for name, results in few.items()
    )
    assert few["tiny_csr"]["prompt_tokens"] > 0


def test_other_settings_take_nothing(model_dir, items, asked):
    answers(model_dir, items, "one")
    before = asked()
    answers(model_dir, items, "two", seed=1)
    assert asked() == 2 * before


@pytest.fixture
def programs(monkeypatch):
    """The programs that run in a sandbox, as a list that grows."""
    need_sandbox("unshare")
    run, programs = execute._Judge.run, []

    def counted(judged, worker, item, completion):
        if "task_id" in item:  # not what asks for libraries
            programs.append(completion)
        return run(judged, worker, item, completion)

    monkeypatch.setattr(execute._Judge, "run", counted)
    return programs


def test_verdicts(items, programs):
    def verdicts(grid, count, **settings):
        lines = [
            {
                "task_id": item["task_id"],
                "completion": item["canonical_solution"] + f"# {grid if count > 4 else 'same'}\n",
            }
            for item in ITEMS["tiny_python"][:count]
        ]
        directory = Path(f"results/{grid}")
        files.write_jsonl(directory / "generations/m/dense/tiny_python.jsonl.gz", lines)
        execute.execute_all(
            {"tiny_python": items["tiny_python"]}, directory / "generations/m/dense", directory / "executions/m/dense",
            sandbox="unshare", **settings,
        )  # fmt: skip
        found = files.read_jsonl(directory / "executions/m/dense/tiny_python.jsonl.gz")
        assert [line["result"] for line in found] == ["passed"] * count
        return files.read_json(directory / "executions/m/dense/tiny_python.manifest.json")

    verdicts("pilot", 3)
    assert len(programs) == 3
    before = tree("results/pilot")
    copied = verdicts("copy", 3)
    assert len(programs) == 3
    assert copied["taken_from"] == "results/pilot/executions/m/dense/tiny_python.manifest.json"
    grown = verdicts("grown", 4)
    assert len(programs) == 4
    assert grown["results"]["taken"] == 3
    assert tree("results/pilot") == before
    verdicts("patient", 4, timeout=20)
    assert len(programs) == 8


def test_submodels_of_a_base_model_share_verdicts_but_no_time_outs(items, programs):
    item = ITEMS["tiny_python"][0]
    endless = "    while True:\n        pass\n"

    def verdicts(model, submodel, *completions):
        directory = Path("results/grid")
        lines = [{"task_id": item["task_id"], "completion": completion} for completion in completions]
        files.write_jsonl(directory / f"generations/{model}/{submodel}/tiny_python.jsonl.gz", lines)
        generations, out = (directory / f"{stage}/{model}/{submodel}" for stage in ("generations", "executions"))
        items_file = {"tiny_python": items["tiny_python"]}
        execute.execute_all(items_file, generations, out, sandbox="unshare", timeout=1.0)
        found = files.read_jsonl(out / "tiny_python.jsonl.gz")
        return [line["result"] for line in found], files.read_json(out / "tiny_python.manifest.json")["results"]

    right = item["canonical_solution"]
    assert verdicts("m", "dense", right, endless)[0] == ["passed", "timed out"]
    results, about = verdicts("m", "one", endless, right)
    assert results == ["timed out", "passed"]
    assert programs == [right, endless, endless]
    assert (about["run"], about["shared"], about["taken"]) == (2, 1, 0)
    assert about["sandbox"] == "unshare"
    assert verdicts("other", "dense", right)[1]["shared"] == 0


def test_links_where_nobody_touches_and_copies_elsewhere(model_dir, items):
    answers(model_dir, items, "one")
    answers(model_dir, items, "two")
    pair = [Path(f"results/{name}/generations/m/dense/tiny_csr.jsonl.gz") for name in ("one", "two")]
    assert os.path.samefile(*pair)
