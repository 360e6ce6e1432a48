"""Rows of a data set, as editors and exporters write them: one reader for calibration sets and benchmarks.

The ending of a file's name gives its family, its contents the rest: JSON is one row in a line or one list of rows,
gzip is recognised by its first bytes, and a byte order mark says UTF-8 or UTF-16. A row is a dict of texts, numbers,
booleans, None, lists and dicts; dates and decimals come as text, bytes as the text they encode. A missing value is
None, in whatever form it was written (null, NaN, NaT). Values that cannot be text - bytes that are not UTF-8, half a
surrogate pair, an infinite number - stay in the row, because most fields are never used; `fault` names the fault.

Light to import.
"""

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from submodels import files
from submodels.errors import SubmodelsError

_AS_TEXT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)


def clean(value):
    """A value of a row, however nested, with missing values and texts in one form."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {key: clean(member) for key, member in value.items()}
    if isinstance(value, list):
        return [clean(member) for member in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if isinstance(value, _AS_TEXT):
        return str(value)
    return value


def fault(value) -> str | None:
    """Why a cleaned value cannot be part of a text; None if it can. Does not look into lists and dicts."""
    if value is None or value != value:
        return "is null or NaN"
    if isinstance(value, bytes):
        return f"holds bytes that are not UTF-8 ({value[:8]!r}...)"
    if isinstance(value, float) and math.isinf(value):
        return "is an infinite number"
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            return f"holds half of a surrogate pair ({value[error.start]!a}), which is no character"
    return None


def faults(value, name: str = "") -> Iterator[tuple[str, str]]:
    """(field, fault) of every part of a cleaned value that no text can hold; missing values are no faults."""
    if isinstance(value, dict):
        for key, member in value.items():
            field = f"{name}[{key}]" if name else key
            if wrong := fault(key):
                yield field.encode("ascii", "backslashreplace").decode(), wrong
            yield from faults(member, field)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from faults(member, f"{name}[{number}]")
    elif value is not None and (text := fault(value)):
        yield name, text


def read_json(path: Path, fields: list[str] | None = None) -> list[dict]:
    """One object in each line, or all objects in one list, whatever the file's name."""
    with files.open_text(path) as file:
        first = next((line.strip() for line in file if line.strip()), "")
    if first[:1] == "[":
        rows = files.read_json(path, unique=True)
    else:
        rows = [files.read_json(path, unique=True)] if first == "{" else files.read_jsonl(path)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise SubmodelsError(f"{path}, row {number}: holds {json.dumps(row)[:40]}, not an object of fields")
    if len(rows) == 1 and first[:1] == "{" and ".jsonl" not in path.name:
        raise SubmodelsError(
            f"{path}: holds one object (its fields: {', '.join(rows[0])}), not rows; write an object for each row, one "
            "in each line or all in a list; if this object is a row, name the file .jsonl"
        )
    return _whole_numbers([clean(row) for row in rows], fields)


def _whole_numbers(rows: list[dict], fields: list[str] | None) -> list[dict]:
    """1 where pandas wrote 1.0: it turns a column of whole numbers with gaps into floats."""
    for name in fields or {name: None for row in rows for name in row}:
        values = [row[name] for row in rows if name in row]
        gaps = sum(value is None for value in values)
        if 0 < gaps < len(values) and all(value is None or _whole(value) for value in values):
            for row in rows:
                if row.get(name) is not None:
                    row[name] = int(row[name])
    return rows


def _whole(value) -> bool:
    return type(value) is float and value.is_integer() and abs(value) < 2**63


def _read_lines(path: Path, fields: list[str] | None) -> list[dict]:
    with files.open_text(path) as file:
        rows = [{"text": line.rstrip("\n")} for line in file]
    for number, row in enumerate(rows, start=1):
        if "\0" in row["text"]:
            raise SubmodelsError(
                f"{path}, line {number}: holds a NUL character, so it is not a text in UTF-8; {files.AS_UTF8}"
            )
    return rows


class _ParquetRows(Sequence):
    """Rows of a Parquet file, made into Python objects one at a time; only the columns a template uses are loaded."""

    def __init__(self, path: Path, fields: list[str] | None):
        import pyarrow
        import pyarrow.parquet

        self._path = path
        try:
            parquet = pyarrow.parquet.ParquetFile(path)
            columns = parquet.schema_arrow.names
            lacking = [field for field in fields or () if field not in columns]
            if lacking:
                raise SubmodelsError(f"{path}: no field '{lacking[0]}'; fields that exist: {', '.join(columns)}")
            twice = [name for name in fields or columns if columns.count(name) > 1]
            if twice:
                raise SubmodelsError(f"{path}: the column '{twice[0]}' is there twice; rename or drop one of them")
            table = parquet.read(columns=fields)
        except (pyarrow.ArrowException, OSError) as error:
            raise SubmodelsError(f"{path}: not a whole Parquet file ({error})") from error
        self._columns = {name: _repaired(table[name]) for name in table.column_names}
        self._length = table.num_rows

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict:
        row = {}
        for name, column in self._columns.items():
            try:
                row[name] = clean(column[index].as_py())
            except UnicodeDecodeError as error:  # a text inside a list or struct
                raise SubmodelsError(f"{self._path}, row {index}: field '{name}' is not UTF-8 ({error})") from error
        return row


def _repaired(column):
    """Texts as bytes, because writers of Parquet do not check that they are UTF-8; whole numbers: `_whole_numbers`."""
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        return column.cast(pyarrow.large_binary())
    if pyarrow.types.is_floating(column.type):
        column = pyarrow.compute.if_else(pyarrow.compute.is_nan(column), None, column)
        if 0 < column.null_count < len(column):
            with suppress(pyarrow.ArrowInvalid):  # some numbers are not whole
                return column.cast(pyarrow.int64())
    return column


READERS: dict[str, Callable[[Path, list[str] | None], Sequence[dict]]] = {
    ".jsonl": read_json,
    ".jsonl.gz": read_json,
    ".json": read_json,
    ".json.gz": read_json,
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
