"""Which file holds the rows of a calibration set."""

from collections.abc import Callable
from pathlib import Path

from submodels.calibration.registry import RowSource
from submodels.errors import SubmodelsError, fetch_first
from submodels.layout import COLLECTED_ROWS

ROWS_FILE = "rows.parquet"  # the file of a fetched data set, beside its manifest.json


def _given(source: RowSource, path: Path | None) -> Path:
    if path is None:
        remedy = f"; {_remedy(source)}" if source.kind in _REMEDIES else ""
        raise SubmodelsError(
            f"a {source.kind} calibration set needs `source`, the file or directory with its rows{remedy}"
        )
    return path


def _file(source: RowSource, path: Path | None) -> Path:
    return path or source.file


def _made(name: str) -> Callable[[RowSource, Path | None], Path]:
    """The locator of rows that another stage wrote to a file `name`."""

    def located(source: RowSource, path: Path | None) -> Path:
        given = _given(source, path)
        file = given / name if given.is_dir() else given
        if not file.is_file():
            raise SubmodelsError(f"{file}: no such file; {_remedy(source)}")
        return file

    return located


def _remedy(source: RowSource) -> str:
    return _REMEDIES[source.kind](source)


_REMEDIES: dict[str, Callable[[RowSource], str]] = {
    "hub": lambda source: fetch_first(f"data set {source.hub}", "fetch-calibration-set"),
    "git": lambda source: fetch_first(f"repository {source.git}", "fetch-calibration-set"),
    "directory": lambda source: f"collect the files of {source.directory} with `submodels collect-files`",
}
LOCATORS: dict[str, Callable[[RowSource, Path | None], Path]] = {
    "tiny_world": _given,
    "hub": _made(ROWS_FILE),
    "git": _made(ROWS_FILE),
    "directory": _made(COLLECTED_ROWS),
    "file": _file,
}


def locate(source: RowSource, path: Path | None = None) -> Path:
    """The file with the rows of `source`.

    `path`: the pool's file (tiny_world), or the file or directory that another stage wrote (hub, git, directory).
    """
    file = LOCATORS[source.kind](source, path)
    if not file.is_file():
        raise SubmodelsError(f"{file}: {'a directory, not a file of rows' if file.is_dir() else 'no such file'}")
    return file
