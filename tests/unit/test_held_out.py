"""Held-out source files: which they are, their bits per byte by code and prose, and calibration without them."""

import itertools
import json
from math import log

import pytest
from calibration_support import make_model, run, spec
from generate_support import lm, model_dir  # noqa: F401 (fixtures)

from submodels.benchmarks.adapters import source_files
from submodels.benchmarks.metrics.source_text import SCORER, bits_by_class
from submodels.benchmarks.prose import prose
from submodels.benchmarks.registry import limit_of, load_benchmark
from submodels.cli import _limit
from submodels.config import check_grid
from submodels.errors import SubmodelsError
from submodels.evaluation import engine
from submodels.held_out import is_held_out, rank
from submodels.terms import LANGUAGES

PATHS = [f"src/{number}.py" for number in range(200)]
HELD_OUT = [path for path in PATHS if is_held_out(path)]


def test_about_a_tenth_is_held_out_whatever_else_is_there():
    assert 8 <= len(HELD_OUT) <= 32
    assert is_held_out("src/1.py") == (rank("src/1.py") % 10 == 0)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", '"""Doc."""\nx = 1  # one\n', "pppppppppp........ppppp."),
        ("python", 's = "# no"\n', "." * 11),
        ("python", 'def f():\n    """Doc."""\n    return ""\n', "." * 13 + "p" * 10),
        ("java", "int x; // one\n", "." * 7 + "p" * 6),
        ("java", "/** Doc. */\nint x;\n", "p" * 11),
        ("cpp", "#include <a>\n/* one */ int x;\n", "." * 13 + "p" * 9),
        ("javascript", 'let s = "//"; /* one */\n', "." * 14 + "p" * 9),
    ],
)
def test_prose_is_comments_and_docstrings(language, text, expected):
    found = "".join("p" if belongs else "." for belongs in prose(text, language))
    assert len(found) == len(text)
    # Whether the end of the line belongs to a comment is a matter of the lexer.
    for got, wanted, character in zip(found, expected.ljust(len(text), "."), text, strict=True):
        assert got == wanted or character.isspace()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_character_has_a_class(language):
    for text in ("", "\n\n", "x\r\ny\r\n", "\ufeffx = 1", "'unterminated", "/* open", "ü — 漢字 # ü\n", "\t\x0c x"):
        assert len(prose(text, language)) == len(text)


def test_bits_by_class_by_hand():
    text = "x = 1  # é\n"
    starts = [0, 1, 3, 5, 8, 10]  # `x`, ` =`, ` 1`, `  #`, ` é`, line end
    found = bits_by_class(text, "python", starts, [-log(2) * n for n in (1, 2, 3, 4, 5, 6)])
    assert found["prose_bytes"] in (4, 5)  # `# é` with or without the line end
    assert found["code_bytes"] + found["prose_bytes"] == len(text.encode())
    ends_in_prose = found["prose_bytes"] == 5
    assert found["code_bits"] == pytest.approx(1 + 2 + 3 + (0 if ends_in_prose else 6))
    assert found["prose_bits"] == pytest.approx(4 + 5 + (6 if ends_in_prose else 0))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"bytes": 5}, "s/0 has 4 bytes; its sample has 5 bytes, 2 tokens and 2 log-likelihoods"),
        ({"starts": [0]}, "1 tokens and 2 log-likelihoods; generate again"),
        ({"loglikelihoods": [-1.0, -float("inf")]}, "s/0: a log-likelihood that is not finite"),
    ],
)
def test_samples_that_cannot_be_those_of_the_file(change, fault):
    item = {"task_id": "s/0", "language": "python", "text": "x=1\n"}
    line = {"bytes": 4, "starts": [0, 1], "loglikelihoods": [-1.0, -2.0]}
    assert SCORER.score([item], {"s/0": [line]}, "none").items["s/0"]["bytes"] == 4
    with pytest.raises(ValueError, match=fault):
        SCORER.score([item], {"s/0": [line | change]}, "none")


def test_items_are_the_held_out_rows_by_chance():
    rows = [{"path": path, "text": f"x = {number}\n"} for number, path in enumerate(PATHS)]
    found = source_files.items(rows)
    assert sorted(item["path"] for item in found) == sorted(HELD_OUT)
    assert [item["path"] for item in found] == sorted(HELD_OUT, key=rank)
    assert {item["language"] for item in found} == {"python"}
    others = [f"{number}.rs" for number in range(100)]
    strange, calibrating = next(filter(is_held_out, others)), next(itertools.filterfalse(is_held_out, others))
    with pytest.raises(SubmodelsError, match=rf"row 0: unknown ending of {strange} '\.rs'"):
        source_files.items([{"path": strange, "text": "x"}])
    with pytest.raises(SubmodelsError, match="no file is held out"):
        source_files.items([{"path": calibrating, "text": "x"}])
    with pytest.raises(SubmodelsError, match="no file is held out"):
        source_files.items([row for row in rows if not is_held_out(row["path"])])
    assert source_files.items(source_files.fixture())


def test_calibration_draws_no_held_out_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"path": name, "text": f"the cat number {n} says hello"} for n, name in enumerate(PATHS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    left = len(PATHS) - len(HELD_OUT)
    whole = spec(source={"file": str(path)}, hold_out=True)
    _, results = run(whole, make_model(tmp_path / "model"), tmp_path / "out", rows=left, seqlen=8)
    assert {PATHS[index] for index in results["indices"]} == set(PATHS) - set(HELD_OUT)
    assert results["rows_held_out"] <= len(HELD_OUT)
    with pytest.raises(SubmodelsError, match=f"lower rows to at most {left}"):
        run(whole, tmp_path / "model", tmp_path / "more", rows=left + 1, seqlen=8)
    path.write_text('{"text": "no path"}\n', encoding="utf-8")
    with pytest.raises(SubmodelsError, match="row 0: no text `path`"):
        run(whole, tmp_path / "model", tmp_path / "none", rows=1, seqlen=8)


def test_every_token_is_scored_and_placed(lm):  # noqa: F811
    """Long files in windows, too; the sums are those of whole texts."""
    task = load_benchmark("source_python")
    texts = ["def add(x):\n    # Add.\n    return x + 1\n", "x = 'ü'\n" * 60]
    items = [{"task_id": f"s/{n}", "language": "python", "text": text} for n, text in enumerate(texts)]
    lines = engine.run(lm, task, items, 0)
    for line, item in zip(lines, items, strict=True):
        assert len(line["starts"]) == len(line["loglikelihoods"]) == line["tokens"]
        assert line["loglikelihood"] == pytest.approx(sum(line["loglikelihoods"]), abs=1e-3)
        assert line["bytes"] == len(item["text"].encode())
        assert line["starts"] == sorted(line["starts"])
    whole = load_benchmark("tiny_text")
    for line, same in zip(lines, engine.run(lm, whole, items, 0), strict=True):
        assert line["loglikelihood"] == pytest.approx(same["loglikelihood"], rel=1e-5)
        assert line["tokens"] == same["tokens"]


GRID = {
    "name": "held-out",
    "base_models": ["tiny-llama"],
    "submodels": [{"calibration_sets": ["mine"], "sparsities": [0.5]}],
    "benchmarks": ["source_python"],
    "sources": {"source_python": {"calibration_set": "mine"}},
    "calibration_sets": {
        "mine": {
            "domain": "code",
            "language": "python",
            "source": {"file": "a.jsonl"},
            "template": "{text}",
            "hold_out": True,
        }
    },
}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sources": {}}, "'source_python' scores the files that a calibration set leaves out; name the set"),
        ({"sources": {"source_python": {"calibration_set": "python"}}}, "'python' leaves no files out"),
        ({"sources": {"source_python": {"calibration_set": "nobody"}}}, "unknown calibration set 'nobody'"),
        (
            {"sources": {"source_python": {"calibration_set": "algorithms-java"}}},
            "'algorithms-java' are of language java, those of the benchmark of language python",
        ),
        (
            {"sources": GRID["sources"] | {"gsm8k": {"calibration_set": "mine"}}},
            "sources.gsm8k: its items are no held-out files",
        ),
    ],
)
def test_faults_of_a_grid(change, fault):
    check_grid(GRID, "grid.yaml")
    with pytest.raises(SubmodelsError, match=fault):
        check_grid(GRID | change, "grid.yaml")


def test_a_limit_by_benchmark():
    limited = {"benchmarks": ["source_python", "tiny_csr"], "evaluation": {"limit": {"source_python": 2}}}
    grid = check_grid(GRID | limited, "grid.yaml")
    assert grid.evaluation.limit == {"source_python": 2}
    assert limit_of(grid.evaluation.limit, "source_python") == limit_of(2, "tiny_csr") == 2
    assert limit_of(grid.evaluation.limit, "tiny_csr") is None
    with pytest.raises(SubmodelsError, match="unknown benchmark of the grid 'gsm8k'"):
        check_grid(GRID | {"evaluation": {"limit": {"gsm8k": 2}}}, "grid.yaml")


def test_a_limit_on_the_command_line():
    assert _limit(None) is None
    assert _limit(["5"]) == 5
    assert _limit(["source_python=9", "tiny_csr=2"]) == {"source_python": 9, "tiny_csr": 2}
    for wrong in (["0"], ["five"], ["tiny_csr=0"], ["5", "tiny_csr=2"]):
        with pytest.raises(SubmodelsError, match="--limit"):
            _limit(wrong)
