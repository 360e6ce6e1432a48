"""Source files as rows: which are taken, from a directory and from a commit of a real git repository."""

import json
import os
import subprocess

import pyarrow.parquet
import pytest

from submodels import files
from submodels.calibration.registry import RowSource
from submodels.calibration.source_files import LARGEST, collect_files, commit, state, take, walk
from submodels.errors import SubmodelsError
from submodels.fetch import fetch_calibration_set

PYTHON = ["**/*.py"]
TAKEN = {"a.py": "a = 1\n", "lib/b.py": "b = 2\n", "lib/deep/c.py": "# ü\n"}
PASSED_OVER = {
    "vendor/v.py": b"v = 1\n",
    "lib/node_modules/n.py": b"n = 1\n",
    ".venv/lib/h.py": b"h = 1\n",
    "huge.py": b"x = 1\n" * (LARGEST // 6 + 1),
    "zero.py": b"x\0y\n",
    "latin.py": "# ü\n".encode("latin-1"),
    "empty.py": b"",
    "spaces.py": b" \n\n",
    "long.py": b"x = 1\n" * 1000 + b"y" * 1001 + b"\n",
    "wide.py": (b"z" * 101 + b"\n") * 3,
}
REASONS = {"binary": 2, "empty": 2, "huge": 1, "minified": 2, "vendored": 3}


def fill(directory):
    for path, content in ({path: text.encode() for path, text in TAKEN.items()} | PASSED_OVER).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    (directory / "other.txt").write_text("no source\n", encoding="utf-8")
    (directory / "link.py").symlink_to(directory / "a.py")
    (directory / "around").symlink_to(directory)


@pytest.fixture
def code_base(tmp_path):
    directory = tmp_path / "code"
    directory.mkdir()
    fill(directory)
    return directory


def git(directory, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(code_base):
    """The same files in git, with a submodule, and a second commit that empties the first file."""
    git(code_base, "init", "--quiet")
    inner = code_base.parent / "inner"
    inner.mkdir()
    (inner / "inner.py").write_text("inner = 1\n", encoding="utf-8")
    git(inner, "init", "--quiet")
    git(inner, "add", ".")
    git(inner, "commit", "--quiet", "-m", "inner")
    git(code_base, "submodule", "--quiet", "add", str(inner), "inner")
    git(code_base, "add", "--all", "--force")
    git(code_base, "commit", "--quiet", "-m", "first")
    first = git(code_base, "rev-parse", "HEAD")
    (code_base / "a.py").write_text("a = 2\n", encoding="utf-8")
    git(code_base, "commit", "--quiet", "-a", "-m", "second")
    return code_base, first


def test_what_is_taken_of_a_directory(code_base, tmp_path):
    source = RowSource(directory=code_base, files=PYTHON)
    collect_files(source, tmp_path / "out")
    rows = files.read_jsonl(tmp_path / "out/rows.jsonl.gz")
    assert [(row["path"], row["text"]) for row in rows] == sorted(TAKEN.items())
    results = files.read_json(tmp_path / "out/manifest.json")["results"]
    assert (results["rows"], results["passed_over"]) == (3, REASONS)


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (["*.py"], ["a.py"]),
        (["**/*.py"], ["a.py", "lib/b.py", "lib/deep/c.py"]),
        (["lib/*.py"], ["lib/b.py"]),
        (["lib/**/*.py"], ["lib/b.py", "lib/deep/c.py"]),
        (["lib/**"], ["lib/b.py", "lib/deep/c.py"]),
        (["?.py", "**/c.*"], ["a.py", "lib/deep/c.py"]),
        (["other.txt"], ["other.txt"]),
        (["**/*.py", "!**/b.*", "!a.py"], ["lib/deep/c.py"]),
    ],
)
def test_patterns(code_base, patterns, paths):
    rows, _ = take(walk(code_base), patterns, "here")
    assert [row["path"] for row in rows] == paths


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert take(walk(tmp_path), PYTHON, "here")[0] == [{"path": "a.py", "text": "a = 1\n"}]


def test_nothing_to_take(code_base):
    with pytest.raises(SubmodelsError, match=r"here: no source file matches \*\*/\*\.rs$"):
        take(walk(code_base), ["**/*.rs"], "here")
    with pytest.raises(SubmodelsError, match=r"matches vendor/\*\.py but 1 vendored$"):
        take(walk(code_base), ["vendor/*.py"], "here")


def test_the_state_follows_every_matching_file(code_base):
    source = RowSource(directory=code_base, files=PYTHON)
    states = [state(source)]
    (code_base / "other.txt").write_text("edited\n", encoding="utf-8")
    assert state(source) == states[0]
    (code_base / "new.py").write_text("n = 1\n", encoding="utf-8")
    states.append(state(source))
    (code_base / "new.py").write_text("n = 2\n", encoding="utf-8")
    os.utime(code_base / "new.py", ns=(1, 1))
    states.append(state(source))
    (code_base / "new.py").rename(code_base / "newer.py")
    states.append(state(source))
    assert len(set(states)) == 4
    (code_base / "newer.py").unlink()
    assert state(source) == states[0]


def test_a_commit_of_git(repository, tmp_path):
    """What is in the commit, not in the working tree; nothing of submodules, links and hooks."""
    directory, first = repository
    url = f"file://{directory}"
    with commit(url, first) as found:
        rows, passed_over = take(found, PYTHON, url)
    assert [(row["path"], row["text"]) for row in rows] == sorted(TAKEN.items())
    assert passed_over == REASONS
    with commit(url, git(directory, "rev-parse", "HEAD")) as found:
        assert take(found, ["a.py"], url)[0] == [{"path": "a.py", "text": "a = 2\n"}]
    source = {"git": url, "revision": first, "files": PYTHON}
    fetch_calibration_set(json.dumps(source), tmp_path / "fetched")
    assert pyarrow.parquet.read_table(tmp_path / "fetched/rows.parquet").to_pylist() == rows
    manifest = files.read_json(tmp_path / "fetched/manifest.json")
    assert manifest["parameters"].items() >= source.items()
    assert manifest["results"]["passed_over"] == REASONS


def test_a_server_that_gives_no_single_commits(repository):
    directory, first = repository
    git(directory, "config", "uploadpack.allowAnySHA1InWant", "false")
    git(directory, "config", "protocol.version", "0")
    with commit(f"file://{directory}", first) as found:
        assert len(take(found, PYTHON, "here")[0]) == len(TAKEN)


def test_hooks_of_the_users_templates_do_not_run(repository, tmp_path, monkeypatch):
    directory, first = repository
    hooks = tmp_path / "template/hooks"
    hooks.mkdir(parents=True)
    for name in ("reference-transaction", "post-checkout", "post-update"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
        (hooks / name).chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    with commit(f"file://{directory}", first) as found:
        take(found, PYTHON, "here")
    assert not (tmp_path / "ran").exists()


def test_faults_of_git_say_what_git_said(repository, tmp_path):
    directory, _ = repository
    with pytest.raises(SubmodelsError, match="git fetch: "), commit(f"file://{tmp_path}/none", "0" * 40):
        pass
    with pytest.raises(SubmodelsError, match="git ls-tree: "), commit(f"file://{directory}", "0" * 40):
        pass


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ({"directory": "code"}, "a directory source needs files"),
        ({"directory": "code", "files": ["*.py"], "split": "train"}, "split belongs to a hub source, not to directory"),
        ({"git": "https://host/x", "files": ["*.py"]}, "a git source needs revision and files"),
        ({"git": "https://host/x", "revision": "1234567", "files": ["*.py"]}, "give the whole commit"),
        ({"git": "ext::sh -c id", "revision": "0" * 40, "files": ["*.py"]}, "git"),
        ({"git": "--upload-pack=id", "revision": "0" * 40, "files": ["*.py"]}, "git"),
        ({"file": "rows.jsonl", "files": ["*.py"]}, "files belongs to a hub or directory or git source, not to file"),
        ({"hub": "a/b", "revision": "main"}, "a hub source needs revision and split"),
        ({"hub": "a/b", "revision": "main", "split": "train", "files": ["!a"]}, "begin with `!` belong to a directory"),
    ],
)
def test_faults_of_an_entry(source, fault):
    with pytest.raises(ValueError, match=fault):
        RowSource(**source)
