"""Files of source code as the rows of a calibration set, one row for each file of a directory or of a git commit.

Passed over are vendored files (a directory of their path begins with a dot or is in VENDORED), huge files (more than
LARGEST bytes), binary files (they hold a zero byte or are not UTF-8), files of white space, and minified files (a line
of more than LONGEST_LINE characters, or more than MEAN_LINE on average, the filter of Codex, arXiv 2107.03374, and of
The Stack, arXiv 2211.15533). Links are not followed.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from submodels import files, versions
from submodels.calibration.registry import RowSource
from submodels.errors import SubmodelsError
from submodels.layout import COLLECTED_ROWS
from submodels.provenance import Manifest

VENDORED = {
    "node_modules", "bower_components", "vendor", "third_party", "third-party", "thirdparty", "site-packages",
    "dist-packages", "venv", "__pycache__",
}  # fmt: skip
LARGEST = 1 << 20
LONGEST_LINE, MEAN_LINE = 1000, 100
# What a repository that is not trusted could make git do is switched off; it is never checked out.
_GIT = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never"]
_GIT += [part for name in ("https", "ssh", "file") for part in ("-c", f"protocol.{name}.allow=always")]
_LISTED = re.compile(r"(?P<mode>\d+) (?P<kind>\w+) (?P<blob>[0-9a-f]+) +(?P<size>\d+|-)\t(?P<path>.*)", re.DOTALL)


class SourceFile(NamedTuple):
    """A file: its path with `/` below the directory or in the repository, its bytes, and when it was changed.

    changed: nanoseconds; 0 in a repository.
    """

    path: str
    size: int
    changed: int
    read: Callable[[], bytes]


def collect_files(source: RowSource, out: Path) -> None:
    """Write `out`/rows.jsonl.gz, the rows `path` and `text` of a directory, and `out`/manifest.json."""
    manifest = Manifest("collect_files", {"version": versions.COLLECT, "files": source.files})
    rows, passed_over = take(walk(source.directory), source.files, str(source.directory))
    product = out / COLLECTED_ROWS
    files.write_jsonl(product, rows)
    manifest.write(
        out / "manifest.json", [product], directory=str(source.directory), rows=len(rows), passed_over=passed_over
    )


def take(found: Iterable[SourceFile], patterns: list[str], where: str) -> tuple[list[dict], dict[str, int]]:
    """Rows `{path, text}` by path, and how many matching files were passed over for which reason."""
    rows, passed_over = [], Counter()
    for file in _matching(found, patterns):
        text, reason = _text(file)
        if reason:
            passed_over[reason] += 1
        else:
            rows.append({"path": file.path, "text": text})
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(passed_over.items()))
        raise SubmodelsError(
            f"{where}: no source file matches {', '.join(patterns)}" + (f" but {reasons}" if reasons else "")
        )
    return rows, dict(sorted(passed_over.items()))


def state(source: RowSource) -> str:
    """A few digits that change when a matching file of a directory is edited, added or removed. No file is read."""
    found = _matching(walk(source.directory), source.files)
    return files.fingerprint([(file.path, file.size, file.changed) for file in found])[:16]


def walk(directory: Path) -> Iterator[SourceFile]:
    """Every file below a directory, in no particular order."""
    waiting = [(directory, "")]
    while waiting:
        place, prefix = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git":
                        waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_file(follow_symlinks=False):
                    stat, path = entry.stat(follow_symlinks=False), Path(entry.path)
                    yield SourceFile(prefix + entry.name, stat.st_size, stat.st_mtime_ns, path.read_bytes)


@contextmanager
def commit(url: str, revision: str) -> Iterator[Iterator[SourceFile]]:
    """Every file of a git repository at a commit. Only this commit is fetched where the server gives single commits."""
    with TemporaryDirectory(prefix="submodels-git-") as repository:
        _git(repository, "init", "--quiet", "--bare")
        try:
            _git(repository, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, revision)
        except SubmodelsError:
            branches_and_tags = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
            _git(repository, "fetch", "--quiet", "--no-tags", "--", url, *branches_and_tags)
        listed = _git(repository, "ls-tree", "-r", "-z", "--long", "--full-tree", revision).decode(errors="replace")
        blobs = [_LISTED.fullmatch(line) for line in listed.split("\0")[:-1]]
        regular = [blob for blob in blobs if blob["kind"] == "blob" and blob["mode"] != "120000"]
        with _blobs(repository) as read:
            yield (
                SourceFile(blob["path"], int(blob["size"]), 0, partial(read, blob["blob"], int(blob["size"])))
                for blob in regular
            )


@contextmanager
def _blobs(repository: str) -> Iterator[Callable[[str, int], bytes]]:
    """(id, size) -> the contents of a file in a repository, by one process for all files."""
    command = [*_GIT, "cat-file", "--batch"]
    environment = os.environ | {"GIT_DIR": repository}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def read(blob: str, size: int) -> bytes:
            process.stdin.write(f"{blob}\n".encode())
            process.stdin.flush()
            process.stdout.readline()  # repeats id and size
            return process.stdout.read(size + 1)[:-1]

        yield read


def _git(repository: str, *arguments: str) -> bytes:
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_DIR": repository}
    done = subprocess.run([*_GIT, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SubmodelsError(f"git {arguments[0]}: {said[-1]}")
    return done.stdout


def _matching(found: Iterable[SourceFile], patterns: list[str]) -> list[SourceFile]:
    """The files that match a pattern, but no pattern that begins with `!`, by path."""
    taken = _any([pattern for pattern in patterns if not pattern.startswith("!")])
    left_out = _any([pattern[1:] for pattern in patterns if pattern.startswith("!")])
    matching = (file for file in found if taken.fullmatch(file.path) and not left_out.fullmatch(file.path))
    return sorted(matching, key=lambda file: file.path)


def _any(patterns: list[str]) -> re.Pattern:
    """What matches one of the patterns; of no pattern nothing does."""
    return re.compile("|".join(map(_translated, patterns)) or "(?!)")


def _translated(pattern: str) -> str:
    """A glob pattern as a regular expression: `**/` is any directories, `*` and `?` stay within a name."""
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(special.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))


def _text(file: SourceFile) -> tuple[str, str | None]:
    """A file's text and None, or why it is passed over."""
    if any(part.startswith(".") or part in VENDORED for part in file.path.split("/")[:-1]):
        return "", "vendored"
    if file.size > LARGEST:
        return "", "huge"
    data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "", "binary"
    if "\0" in text:
        return "", "binary"
    lines = text.splitlines()
    if not text.strip():
        return "", "empty"
    if max(map(len, lines)) > LONGEST_LINE or len(text) > MEAN_LINE * len(lines):
        return "", "minified"
    return text, None
