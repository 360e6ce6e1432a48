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
