"""Rows as other people's editors and exporters write them."""

import codecs
import datetime
import decimal
import gzip
import json
import math

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from calibration_support import make_model, run, spec

from submodels.benchmarks.items import write_items
from submodels.benchmarks.registry import load_benchmark, load_items
from submodels.calibration.templates import Incomplete, Template
from submodels.errors import SubmodelsError
from submodels.rows import fault, read_rows

ROWS = [{"q": "one", "a": 1}, {"q": "deux é", "a": 2}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
LIST = json.dumps(ROWS, indent=1)
JSON_NAMES = ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz"]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def to_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("content", [LINES, LIST, json.dumps(ROWS)], ids=["lines", "list", "list on a line"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", JSON_NAMES)
def test_content_decides_how_json_is_read(tmp_path, name, packed, content):
    data = gzip.compress(content.encode()) if packed else content.encode()
    assert list(read_rows(write(tmp_path / name, data), ["q", "a"])) == ROWS


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + LINES.encode(),
        codecs.BOM_UTF16_LE + LINES.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + LIST.encode("utf-16-be"),
        LINES.replace("\n", "\r\n").encode(),
        ("\n\n" + LINES.replace("\n", "\n \n")).encode(),
        LINES.rstrip("\n").encode(),
        gzip.compress(LINES[:20].encode()) + gzip.compress(LINES[20:].encode()),
    ],
    ids=["BOM", "UTF-16", "UTF-16 list", "CRLF", "blank lines", "no last line end", "two gzip members"],
)
def test_editors_and_exporters(tmp_path, data):
    assert list(read_rows(write(tmp_path / "a.json", data))) == ROWS


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_line_ends_end_a_line(tmp_path, sign):
    lines = write(tmp_path / "a.txt", f"one{sign}two\nthree\n")
    assert read_rows(lines) == [{"text": f"one{sign}two"}, {"text": "three"}]
    if sign > "\x1f":
        rows = [{"text": f"one{sign}two"}] * 2
        assert (
            read_rows(write(tmp_path / "a.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)))
            == rows
        )


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_rows_of_a_text_are_its_lines(tmp_path, name, end):
    text = end.join(["one", "", " = deux é = ", ""]).encode()
    for data in (text, gzip.compress(text), codecs.BOM_UTF8 + text):
        assert read_rows(write(tmp_path / name, data)) == [{"text": "one"}, {"text": ""}, {"text": " = deux é = "}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "q,a", r"a.csv: unknown kind of file; known endings: .jsonl"),
        ("a.jsonl.zst", "", "unknown kind of file"),
        ("a.json", '{"data": [{"q": 1}]}', r"holds one object \(its fields: data\), not rows"),
        ("a.json", '{\n "q": ["one", "two"],\n "a": [1, 2]\n}', r"holds one object \(its fields: q, a\), not rows"),
        ("a.json", '[{"q": 1},\n{"q": 2},\n{"q"]', "line 3: not valid JSON"),
        ("a.json", '{"q": 1}\n{"q": 2}\nq: 3\n', "line 3: not valid JSON"),
        ("a.json", "q: 3\n", "line 1: not valid JSON"),
        ("a.json", '{\n "q": 1\n}\n{\n "q": 2\n}\n', "line 4: not valid JSON"),
        ("a.json.gz", "plain", "line 1: not valid JSON"),
        ("a.jsonl", '{"q": 1}\n\n{"q": "tor', "line 3: not valid JSON"),
        ("a.jsonl", '{"q": 1}\n[2]\n', r"row 1: holds \[2\], not an object"),
        ("a.json", "[1, 2]", "row 0: holds 1, not an object"),
        ("a.json", "null", "row 0: holds null, not an object"),
        ("a.jsonl", '{"q": 1}\n{"q": 1, "a": {"b": 1, "b": 2}}\n', "line 2: not valid JSON .*key 'b' is there twice"),
        ("a.json", '[{"q": 1, "q": 2}]', "the key 'q' is there twice"),
        ("a.jsonl", "[" * 100_000, "line 1: not valid JSON"),
        ("a.jsonl", "\n", "holds no rows"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", "", "holds no rows"),
        ("a.txt.gz", b"", "holds no rows"),
        ("a.parquet", "plain text", "not a whole Parquet file"),
        ("a.parquet", "", "not a whole Parquet file"),
        ("a.jsonl", LINES.encode("latin-1"), r"a.jsonl, line 2: not a text in UTF-8; convert it, .*iconv -f LATIN1"),
        ("a.json", LIST.replace("\\u00e9", "é").encode("latin-1"), "line 7: not a text in UTF-8"),
        ("a.txt", "one\ndeux é\n".encode("latin-1"), "line 2: not a text in UTF-8; convert it"),
        ("a.txt", "deux".encode("utf-16-le"), "line 1: holds a NUL character"),
        ("a.txt", codecs.BOM_UTF16_LE + b"a", "not a text in UTF-16"),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-9], "not a complete gzip file"),
        ("a.jsonl", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 30, "not a complete gzip file"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    with pytest.raises(SubmodelsError, match=message) as error:
        read_rows(write(tmp_path / name, content), ["q"])
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_single_object_is_a_row_where_the_name_says_so(tmp_path):
    assert read_rows(write(tmp_path / "a.jsonl", '{"q": {"a": 1}}\n')) == [{"q": {"a": 1}}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt"])
def test_no_file(tmp_path, name):
    with pytest.raises(SubmodelsError, match=rf"{name}: no such file"):
        read_rows(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(SubmodelsError, match=rf"{name}: a directory, not a file"):
        read_rows(tmp_path / name)


def test_an_unreadable_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.symlink_to(path)
    with pytest.raises(SubmodelsError, match=r"a.jsonl: cannot be read \(Too many levels of symbolic links\)"):
        read_rows(path)


def test_parquet_reads_only_the_fields_of_the_template(tmp_path):
    path = to_parquet(tmp_path / "rows.parquet", q=["one", "deux é"], a=[1, 2])
    assert list(read_rows(path)) == ROWS
    assert read_rows(path, ["q"])[1] == {"q": "deux é"}
    with pytest.raises(SubmodelsError, match=r"rows.parquet: no field 'text'; fields that exist: q, a"):
        read_rows(path, ["text"])
    twice = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["q", "q"])
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(SubmodelsError, match=r"rows.parquet: the column 'q' is there twice"):
        read_rows(path, ["q"])


day = datetime.datetime(2019, 4, 25, 12, 57, 54)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pyarrow.array([b"def f", "é".encode(), None]), ["def f", "é", None]),
        (pyarrow.array(["a", "é", None], pyarrow.large_string()), ["a", "é", None]),
        (pyarrow.array([b"\xff", b"ab"]), [b"\xff", "ab"]),
        (pyarrow.array([b"\xff", b"ab"]).view(pyarrow.string()), [b"\xff", "ab"]),
        (pyarrow.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pyarrow.array([b"a", b"\xff", b"a"]).dictionary_encode(), ["a", b"\xff", "a"]),
        (pyarrow.array([1.0, math.nan, None, 3.0]), ["1", None, None, "3"]),
        (pyarrow.array([1.5, math.nan]), ["1.5", None]),
        (pyarrow.array([1.0, 2.0]), ["1.0", "2.0"]),
        (pyarrow.array([1.0, None, math.inf]), ["1.0", None, "inf"]),
        (pyarrow.array([2.0**62, 2.0**63, None]), ["4.611686018427388e+18", "9.223372036854776e+18", None]),
        (pyarrow.array([True, None]), ["True", None]),
        (pyarrow.array([day, None], pyarrow.timestamp("ns")), ["2019-04-25 12:57:54", None]),
        (pyarrow.array([day.date()]), ["2019-04-25"]),
        (pyarrow.array([decimal.Decimal("1.50")]), ["1.50"]),
        (pyarrow.array([[b"a", None], None]), ["['a', None]", None]),
        (pyarrow.array([{"en": b"\xc3\xa9", "n": math.nan}]), ["{'en': 'é', 'n': None}"]),
    ],
)
def test_values_of_parquet(tmp_path, column, values):
    rows = read_rows(to_parquet(tmp_path / "a.parquet", x=column))
    found = [row["x"] for row in rows]
    assert [value if value is None or isinstance(value, bytes) else str(value) for value in found] == values


def test_a_text_inside_a_list_that_is_not_utf8(tmp_path):
    text = pyarrow.array([b"\xff"]).view(pyarrow.string())
    rows = read_rows(to_parquet(tmp_path / "a.parquet", x=pyarrow.ListArray.from_arrays([0, 1], text)))
    with pytest.raises(SubmodelsError, match=r"a.parquet, row 0: field 'x' is not UTF-8"):
        rows[0]


@pytest.mark.parametrize("kind", ["a.parquet", "a.jsonl", "a.json"])
def test_what_pandas_writes_of_whole_numbers_with_a_gap(tmp_path, kind):
    frame = pandas.DataFrame([{"q": "one", "n": 1}, {"q": "two"}, {"q": "three", "n": 3}])
    path = tmp_path / kind
    if kind == "a.parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=kind == "a.jsonl")
    assert [repr(row["n"]) for row in read_rows(path, ["q", "n"])] == ["1", "None", "3"]


def test_numbers_of_json_stay_as_they_are_written(tmp_path):
    text = '{"x": 1.0, "y": 1.0, "z": 1.0}\n{"x": 2.0, "y": null, "z": NaN}\n{"y": 2.5, "z": Infinity}\n'
    rows = read_rows(write(tmp_path / "a.jsonl", text))
    assert [str(row) for row in rows] == [
        "{'x': 1.0, 'y': 1.0, 'z': 1.0}",
        "{'x': 2.0, 'y': None, 'z': None}",
        "{'y': 2.5, 'z': inf}",
    ]


UNUSABLE = {
    "NaN": "is null or NaN",
    "null": "is null or NaN",
    "Infinity": "is an infinite number",
    "-Infinity": "is an infinite number",
    r'"half \ud83d emoji"': r"holds half of a surrogate pair \('\\ud83d'\), which is no character",
    r'"\udc00"': r"holds half of a surrogate pair \('\\udc00'\), which is no character",
}


@pytest.mark.parametrize(("value", "message"), UNUSABLE.items())
def test_a_calibration_row_that_holds_no_text(tmp_path, value, message):
    model = make_model(tmp_path / "model")
    good = [f'{{"text": "number {n}", "other": {value}}}\n' for n in range(4)]
    path = write(tmp_path / "rows.jsonl", "".join([*good, f'{{"text": {value}}}\n']))
    options = {"rows": 4, "seqlen": 16, "source": path}
    with pytest.raises(SubmodelsError, match=rf"rows.jsonl, row 4: field 'text' {message}; fix the row, or .*skip_inc"):
        run(spec(), model, tmp_path / "out", **options | {"rows": 5})
    _, results = run(spec(skip_incomplete=True), model, tmp_path / "out", **options, seed=1)
    assert sorted(results["indices"]) == [0, 1, 2, 3]
    assert results["rows_skipped"] <= 1
    assert {text[:7] for text in results["preview"]} == {"number "}


def test_bytes_in_calibration_rows(tmp_path):
    model = make_model(tmp_path / "model")
    path = to_parquet(tmp_path / "a.parquet", text=["été".encode(), b"\x89PNG"])
    with pytest.raises(SubmodelsError, match=r"a.parquet, row 1: field 'text' holds bytes that are not UTF-8"):
        run(spec(), model, tmp_path / "out", rows=2, seqlen=16, source=path)
    _, results = run(spec(skip_incomplete=True), model, tmp_path / "out", rows=1, seqlen=16, source=path)
    assert results["preview"] == ["été"]


@pytest.mark.parametrize("value", [None, "\ud83d", b"\xff"])
def test_options_that_hold_no_text(value):
    options = [
        {"label": ["A", "B"], "text": ["one", value]},
        [{"label": "A", "text": "one"}, {"label": "B", "text": value}],
        [{"label": "A", "text": "one"}, {"label": value or "\ud83d", "text": "two"}],
        ["one", value if isinstance(value, str) else None],
    ]
    for option in options:
        with pytest.raises(Incomplete, match="row 0: field 'c': an option"):
            Template("{c:lettered}").render({"c": option}, "row 0")
    unlabelled = [{"label": None, "text": "one"}, {"label": None, "text": "two"}]
    assert Template("{c:lettered}").render({"c": unlabelled}, "row 0") == "A: one, B: two"


def test_options_of_no_layout_are_one_line():
    with pytest.raises(SubmodelsError, match="row 0: field 'c': "):
        Template("{c:lettered}").render({"c": {"label": None, "text": ["one"]}}, "row 0")


def test_fault_of_texts():
    assert fault("é \U0001f600 \0") is None
    assert fault(0) is fault(False) is fault("") is None


@pytest.mark.parametrize("value", UNUSABLE)
def test_an_adapter_names_the_row_and_the_field(tmp_path, value):
    lines = [f'{{"question": {text}, "answer": "#### 1"}}\n' for text in ('"q"', value)]
    rows = write(tmp_path / "rows.jsonl", "".join(lines))
    message = rf"rows.jsonl, row 1: field 'question' {UNUSABLE[value]}; fix the row"
    with pytest.raises(SubmodelsError, match=message):
        write_items("gsm8k", tmp_path / "items.jsonl", rows=rows)
    assert not (tmp_path / "items.jsonl").exists()


@pytest.mark.parametrize(
    ("benchmark", "row", "field"),
    [
        ("boolq", {"passage": None, "question": "q", "label": 1}, "passage"),
        ("opus_books_en_fr", {"translation": {"en": math.nan, "fr": "f"}}, r"translation\[en\]"),
        ("arc_easy", {"question": "q", "choices": {"text": ["a", None], "label": ["A", "B"]}, "answerKey": "A"},
         r"choices\[text\]"),
        ("mbpp", {"task_id": None, "text": "t", "code": "c", "test_list": [], "test_setup_code": ""}, "task_id"),
        ("humanevalx_python", {"task_id": None, "prompt": "p"}, "(task_id|prompt)"),
    ],
)  # fmt: skip
def test_missing_values_never_become_text(tmp_path, benchmark, row, field):
    rows = write(tmp_path / "rows.jsonl", json.dumps(row) + "\n")
    with pytest.raises(SubmodelsError, match=rf"rows.jsonl, row 0: field '{field}' is null or NaN; fix"):
        write_items(benchmark, tmp_path / "items.jsonl", rows=rows)


def test_ids_that_pandas_made_floats(tmp_path):
    row = {"text": "t", "code": "def f(): pass", "test_list": ["assert f() is None"] * 3, "test_setup_code": ""}
    frame = pandas.DataFrame([row | {"task_id": 11}, row | {"task_id": 12}])
    frame.to_parquet(tmp_path / "rows.parquet")
    write_items("mbpp", tmp_path / "items.jsonl", rows=tmp_path / "rows.parquet")
    assert [item["task_id"] for item in read_rows(tmp_path / "items.jsonl")] == ["MBPP/11", "MBPP/12"]


ITEM = {"task_id": "a/0", "question": "q", "answer": "#### 1", "note": "n"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("half \ud83d", r"field 'note' holds half"),
        ({"deep": ["\ud83d"]}, r"field 'note\[deep\]\[0\]' holds half"),
        ({"\ud83d": 1}, r"field 'note\[\\ud83d\]' holds half"),
        (math.inf, "field 'note' is an infinite number"),
    ],
)
def test_items_of_ones_own_are_checked_whole(tmp_path, value, message):
    items = [ITEM, ITEM | {"task_id": "a/1", "note": value}]
    path = write(tmp_path / "items.jsonl", "".join(json.dumps(item) + "\n" for item in items))
    with pytest.raises(SubmodelsError, match=r"items.jsonl, row 2 \(a/1\): " + message):
        load_items(load_benchmark("tiny_math"), path)


def test_items_of_ones_own_are_read_like_rows(tmp_path):
    text = json.dumps([ITEM | {"note": math.nan}, ITEM | {"task_id": "b"}])
    path = write(tmp_path / "items.jsonl", codecs.BOM_UTF8 + text.encode())
    assert load_items(load_benchmark("tiny_math"), path) == [ITEM | {"note": None}, ITEM | {"task_id": "b"}]
