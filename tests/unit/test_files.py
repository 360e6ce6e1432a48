"""Files: writes are whole or not there, and a full disk is one clear error whoever notices it."""

import errno
import os
import subprocess
import time

import pytest
from safetensors import SafetensorError

from submodels import files
from submodels.errors import SubmodelsError


def test_a_lone_surrogate_is_written_as_its_escape(tmp_path):
    """Every writer: UTF-8 has no lone surrogates, JSON has an escape. All other text is written as it is."""
    row = {"text": "a \ud83d b é 😀 \u2028", "\udc00": 1}
    lone, text = rb"a \ud83d b", "é 😀 \u2028".encode()
    files.write_jsonl(tmp_path / "a.jsonl", [row])
    files.write_json(tmp_path / "a.json", row)
    files.write_json_lines(tmp_path / "b.json", {"n": 1, "rows": {"x": row}}, "rows")
    files.write_text(tmp_path / "a.txt", row["text"])
    for name in ("a.jsonl", "a.json", "b.json", "a.txt"):
        data = (tmp_path / name).read_bytes()
        assert lone in data
        assert text in data
    assert files.read_jsonl(tmp_path / "a.jsonl") == [row]
    assert files.read_json(tmp_path / "a.json") == row == files.read_json(tmp_path / "b.json")["rows"]["x"]
    assert files.fingerprint(row) != files.fingerprint(row | {"text": ""})


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk(tmp_path, error):
    def write():
        with files.atomic_path(tmp_path / "file.bin") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(SubmodelsError, match=r"file\.bin: cannot be written, the disk or quota is full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), files.atomic_path(tmp_path / "file.bin"):
        raise PermissionError(errno.EACCES, "no")


def test_temporary_names_differ_between_hosts_and_keep_the_suffix(tmp_path, monkeypatch):
    here = files.temporary_path(tmp_path / "new" / "file.jsonl.gz")
    monkeypatch.setattr(files, "_HOST", "elsewhere")
    there = files.temporary_path(tmp_path / "new" / "file.jsonl.gz")
    assert here.parent == there.parent == tmp_path / "new"
    assert here.name != there.name
    assert here.name.endswith(".file.jsonl.gz")


def test_only_what_killed_processes_left_is_deleted(tmp_path):
    ended = [subprocess.Popen(["true"]) for _ in range(2)]
    file, directory = (f".{files._HOST}-{process.pid}.mask.bin" for process in ended if process.wait() == 0)
    kept = [f".{files._HOST}-{os.getppid()}.mask.bin", ".far-7.mask.bin", ".notes.mask.bin", "mask.bin"]
    kept.append(file.replace("mask", "other"))
    for name in [file, ".far-8.mask.bin", *kept]:
        (tmp_path / name).touch()
    (tmp_path / directory).mkdir()
    for name, idle in {".far-7.mask.bin": 500, ".far-8.mask.bin": 700}.items():
        os.utime(tmp_path / name, (time.time() - idle,) * 2)
    files.temporary_path(tmp_path / "mask.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def _yaml(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return files.read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is there twice, first in line 1, and only one of them would"),
        ("a:\n  - b: {c: 1, d: 2, 'c': 3}\n", "line 2: the key 'c' is there twice"),
        ('{"a": 1,\n "a": 2}', "line 2: the key 'a' is there twice"),
        ("a: &x {b: 1}\nc: {<<: *x, d: 1, d: 2}\n", "line 2: the key 'd' is there twice"),
        ("a:\n  no: 1\n", "line 2: YAML does not read the key no as a text; write it in quotes"),
        ("7: 1\n", "line 1: YAML does not read the key 7 as a text"),
        ("2024-01-01: 1\n", "line 1: YAML does not read the key 2024-01-01 as a text"),
        ("~: 1\n", "line 1: YAML does not read the key ~ as a text"),
        ("? [a]\n: 1\n", "line 1: YAML does not read the key a list or mapping as a text"),
        ("a: [0.50,\n  2:4]\n", "line 2: YAML reads 2:4 as the number 124; write a sparsity pattern as 2of4"),
        ("a: 1:30.5\n", r"line 1: YAML reads 1:30.5 as the number 90.5"),
        ("a: 010\n", "line 1: YAML reads 010 as the number 8; write it as 8, or a text in quotes"),
        ("a: !function x.y\n", "not plain YAML"),
        ("a:\n\t- 1\n", "not valid YAML"),
        ("a: *x\n", "not valid YAML"),
        ("--- 1\n--- 2\n", "not valid YAML"),
    ],
)
def test_yaml_that_would_be_misread(tmp_path, text, message):
    with pytest.raises(SubmodelsError, match=message) as error:
        _yaml(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "a.yaml"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: '2:4'\nb: [0.50, 1e-1, .5, 0, 00x, yes]\n", {"a": "2:4", "b": [0.5, "1e-1", 0.5, 0, "00x", True]}),
        ("'no': 1\n'7': 2\n", {"no": 1, "7": 2}),
        ("a: &x {b: 1, c: 2}\nd: &y {<<: *x, b: 3}\ne: {<<: *y}\nf: {<<: [*x, *y], g: *x}\n",
         {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}, "e": {"b": 3, "c": 2},
          "f": {"b": 1, "c": 2, "g": {"b": 1, "c": 2}}}),
        ('{\n\t"a": "\\/\\ud83d\\ude00",\n\t"b": 1e-1\n}', {"a": "/\U0001f600", "b": 0.1}),
        ("a: |\n  2:4\n  010\n", {"a": "2:4\n010\n"}),
        ("\ufeffa: é\r\n", {"a": "é"}),
    ],
)  # fmt: skip
def test_yaml_that_is_meant(tmp_path, text, value):
    assert _yaml(tmp_path, text) == value


def test_keys_of_other_tools_json_may_be_there_twice(tmp_path):
    (tmp_path / "config.json").write_text('\ufeff{"a": 1, "a": 2}')
    assert files.read_json(tmp_path / "config.json") == {"a": 2}
