"""Which file holds the rows of a calibration set."""

from collections.abc import Callable
from pathlib import Path

from submodels.calibration.registry import RowSource
from submodels.errors import SubmodelsError, fetch_first

ROWS_FILE = "rows.parquet"  # the file of a fetched Hub data set, beside its manifest.json


def _given(source: RowSource, path: Path | None) -> Path:
    if path is None:
        remedy = f"; {fetch_first(f'data set {source.hub}', 'fetch-calibration-set')}" if source.hub else ""
        raise SubmodelsError(
            f"a {source.kind} calibration set needs `source`, the file or directory with its rows{remedy}"
        )
    return path


def _tiny_world(source: RowSource, path: Path | None) -> Path:
    return _given(source, path)


def _hub(source: RowSource, path: Path | None) -> Path:
    given = _given(source, path)
    file = given / ROWS_FILE if given.is_dir() else given
    if not file.is_file():
        remedy = fetch_first(f"data set {source.hub}", "fetch-calibration-set")
        raise SubmodelsError(f"{file}: no such file; {remedy}")
    return file


def _file(source: RowSource, path: Path | None) -> Path:
    return path or source.file


LOCATORS: dict[str, Callable[[RowSource, Path | None], Path]] = {"tiny_world": _tiny_world, "hub": _hub, "file": _file}


def locate(source: RowSource, path: Path | None = None) -> Path:
    """The file with the rows of `source`. `path`: the pool's file (tiny_world), the fetched directory or file (hub)."""
    file = LOCATORS[source.kind](source, path)
    if not file.is_file():
        raise SubmodelsError(f"{file}: {'a directory, not a file of rows' if file.is_dir() else 'no such file'}")
    return file
