"""Rows of a calibration set: which file a source stands for. How each kind of file is read, for benchmarks as well."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from submodels import files
from submodels.calibration.registry import Source
from submodels.errors import SubmodelsError, fetch_first

ROWS_FILE = "rows.parquet"  # what a fetched Hub data set holds, beside its manifest.json


def _given(source: Source, path: Path | None) -> Path:
    if path is None:
        raise SubmodelsError(f"a {source.kind} calibration set needs `source`, the file or directory with its rows")
    return path


def _tiny_world(source: Source, path: Path | None) -> Path:
    return _given(source, path)


def _hub(source: Source, path: Path | None) -> Path:
    given = _given(source, path)
    found = given / ROWS_FILE if given.is_dir() else given
    if not found.is_file():
        remedy = fetch_first(f"data set {source.hub}", "fetch-calibration-set")
        raise SubmodelsError(f"{found}: no such file; {remedy}")
    return found


def _file(source: Source, path: Path | None) -> Path:
    return path or source.file


LOCATORS: dict[str, Callable[[Source, Path | None], Path]] = {"tiny_world": _tiny_world, "hub": _hub, "file": _file}


def locate(source: Source, path: Path | None = None) -> Path:
    """The file with the rows of `source`. `path`: the pool's file (tiny_world), the fetched directory or file (hub)."""
    found = LOCATORS[source.kind](source, path)
    if not found.is_file():
        raise SubmodelsError(f"{found}: no such file")
    return found


def _read_json(path: Path, fields: list[str] | None) -> list[dict]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            rows = json.load(file)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise SubmodelsError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(rows, list):
        raise SubmodelsError(f"{path}: holds one {type(rows).__name__}, not a list of objects")
    return rows


def _read_jsonl(path: Path, fields: list[str] | None) -> list[dict]:
    return files.read_jsonl(path)


def _read_lines(path: Path, fields: list[str] | None) -> list[dict]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return [{"text": line.rstrip("\n")} for line in file]
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise SubmodelsError(f"{path}: not a text in UTF-8 ({error})") from error


class _ParquetRows(Sequence):
    """Rows of a Parquet file, made into Python objects one at a time; only the columns a template uses are loaded."""

    def __init__(self, path: Path, fields: list[str] | None):
        import pyarrow
        import pyarrow.parquet

        try:
            parquet = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise SubmodelsError(f"{path}: not a Parquet file ({error})") from error
        columns = parquet.schema_arrow.names
        lacking = [field for field in fields or () if field not in columns]
        if lacking:
            raise SubmodelsError(f"{path}: no field '{lacking[0]}'; fields that exist: {', '.join(columns)}")
        self._table = parquet.read(columns=fields)

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, index: int) -> dict:
        return self._table.slice(index, 1).to_pylist()[0]


READERS: dict[str, Callable[[Path, list[str] | None], Sequence[dict]]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".json": _read_json,
    ".json.gz": _read_json,
    ".parquet": _ParquetRows,
    ".txt": _read_lines,
    ".txt.gz": _read_lines,
}


def read_rows(path: Path, fields: list[str] | None = None) -> Sequence[dict]:
    """The rows of a file, by its ending; each row a dict that holds at least `fields` (None: all) if the file has them.

    The rows of a text file are its lines, each as the field `text`.
    """
    ending = next((ending for ending in READERS if path.name.endswith(ending)), None)
    if ending is None:
        raise SubmodelsError(f"{path}: unknown kind of file; known endings: {', '.join(READERS)}")
    rows = READERS[ending](path, fields)
    if not len(rows):
        raise SubmodelsError(f"{path}: holds no rows")
    return rows
