"""Files of samples: their paths, the files beside them, and their lines, which are checked before they are used.

A directory of `generate` or `execute` holds `<benchmark>.jsonl.gz` and `<benchmark>.manifest.json`, and
`<benchmark>.partial.jsonl` while these are being made.
"""

import json
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from submodels import files
from submodels.errors import SubmodelsError
from submodels.layout import beside


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Field -> (its kind in words, whether a value is of this kind).
FIELDS = {
    "completion": ("a text", lambda value: isinstance(value, str)),
    "passed": ("true, false or null", lambda value: value is None or isinstance(value, bool)),
    "result": ("a text", lambda value: isinstance(value, str)),
    "loglikelihoods": (
        "a list of numbers, none of them NaN",
        lambda value: isinstance(value, list) and all(_number(entry) and entry == entry for entry in value),  # no NaN
    ),
    "loglikelihood": ("a number", _number),
    "tokens": ("a number", _number),
    "bytes": ("a number", _number),
    "starts": ("a list of numbers", lambda value: isinstance(value, list) and all(map(_number, value))),
}


def samples_of(directory: Path, benchmark: str) -> Path:
    return Path(directory) / f"{benchmark}.jsonl.gz"


def unfinished_of(samples: Path) -> Path:
    """The journal of samples until all of them are made."""
    return beside(samples, "partial.jsonl")


def read_samples(path: Path, task_ids: Collection[str], fields: Iterable[str]) -> list[dict]:
    """The lines of a samples file; SubmodelsError names the first that is no sample of a benchmark with these items."""
    rows, seen = files.read_jsonl(path), set()
    if not rows:
        raise SubmodelsError(f"{path}: holds no samples; generate again")
    for number, row in enumerate(rows):
        if fault := _fault(row, task_ids, fields, seen):
            raise SubmodelsError(f"{path}, line {line_number(path, number)}: {fault}")
    return rows


def _fault(row, task_ids: Collection[str], fields: Iterable[str], seen: set) -> str | None:
    if not isinstance(row, dict):
        return f"a sample must be an object, not {json.dumps(row)[:40]}"
    task_id = row.get("task_id")
    if not isinstance(task_id, str):
        return "a sample needs `task_id`, a text"
    for field in fields:
        what, fits = FIELDS[field]
        if field not in row or not fits(row[field]):
            hint = "; execute the samples first" if field in ("passed", "result") else ""
            return f"a sample needs `{field}`, {what}{hint}"
    if "completion" in fields and not _is_json(row):
        return "NaN and Infinity are no JSON; write null, or leave the field out"
    if task_id not in task_ids:
        known = next(iter(task_ids), "none")
        return f"unknown task_id '{task_id}' (the benchmark's are like '{known}'); they belong to another benchmark"
    if "sample" in row:
        key = task_id, json.dumps(row["sample"])
        if key in seen:
            return f"sample {key[1]} of {task_id} is there twice; give each sample of an item a different number"
        seen.add(key)
    return None


def _is_json(row: dict) -> bool:
    """Whether the row can be written again as JSON: Python reads more."""
    try:
        json.dumps(row, allow_nan=False)
    except ValueError:
        return False
    return True


def line_number(path: Path, row: int) -> int:
    """The line of a file of JSON lines that holds this row (from 0), counting blank lines. For errors: reads again."""
    with files.open_text(path) as file:
        return next(islice((number for number, line in enumerate(file, start=1) if line.strip()), row, None))
