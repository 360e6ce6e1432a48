"""Source files that are held out of calibration: one item for each, in an order by chance.

Rows have the fields `path` and `text`, as the stages `collect-files` and `fetch-calibration-set` write them.
"""

from pathlib import PurePosixPath

from submodels.benchmarks.adapters.rows import each
from submodels.benchmarks.prose import ENDINGS
from submodels.errors import SubmodelsError, unknown
from submodels.held_out import OF, is_held_out, rank


def items(rows) -> list[dict]:
    found = [item for item in each(rows, _item) if item is not None]
    if not found:
        raise SubmodelsError(f"no file is held out: about one in {OF} is, and there are {len(rows)}")
    return sorted(found, key=lambda item: rank(item["path"]))


def _item(row: dict) -> dict | None:
    path = str(row["path"])
    if not is_held_out(path):
        return None
    ending = PurePosixPath(path).suffix
    if ending not in ENDINGS:
        raise unknown(f"ending of {path}", ending, ENDINGS)
    return {"path": path, "language": ENDINGS[ending], "text": str(row["text"])}


def fixture() -> list[dict]:
    paths = [path for path in (f"made_up_{number}.py" for number in range(60)) if is_held_out(path)]
    text = '"""Add numbers."""\n\n\ndef add(first, second):\n    # The sum.\n    return first + second\n'
    return [{"path": path, "text": text + f"\n\nprint(add({number}, 1))\n"} for number, path in enumerate(paths)]
