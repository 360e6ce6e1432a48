"""Prepared multiple choice: rows of `query`, `choices` and `gold`, as some collections publish them.

Rows of `context_options`, `continuation` and `gold` are those of WinoGrande, see `winogrande`.
"""

from submodels.benchmarks.adapters.rows import each


def _item(row: dict) -> dict:
    if "context_options" not in row:
        return {key: row[key] for key in ("query", "choices", "gold")}
    contexts = row["context_options"]
    return {"query": contexts[0], "choices": contexts, "continuation": row["continuation"], "gold": row["gold"]}


def items(rows) -> list[dict]:
    return each(rows, _item)
