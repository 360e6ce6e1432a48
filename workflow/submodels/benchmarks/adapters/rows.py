"""Code that adapters share."""

from collections.abc import Callable, Iterable

from submodels.errors import SubmodelsError
from submodels.rows import fault, faults


class _Row(dict):
    """A row that raises for a value that is missing or no text, which would end in an item as "None" or worse."""

    def __init__(self, row: dict, name: str = ""):
        super().__init__(row)
        self._name = name

    def __getitem__(self, key):
        value = super().__getitem__(key)
        name = f"{self._name}[{key}]" if self._name else key
        members = value if isinstance(value, list) else [value]
        wrong = [text for member in members if (text := fault(member))] or [text for _, text in faults(members)]
        if wrong:
            raise SubmodelsError(f"field '{name}' {wrong[0]}; fix the row or leave it out")
        return _Row(value, name) if isinstance(value, dict) else value


def each(rows: Iterable[dict], to_item: Callable[[dict], dict]) -> list[dict]:
    """`to_item` of every row; SubmodelsError names a row that does not have the data set's schema."""
    items = []
    for number, row in enumerate(rows):
        try:
            items.append(to_item(_Row(row) if isinstance(row, dict) else row))
        except SubmodelsError as error:
            raise SubmodelsError(f"row {number}: {error}") from error
        except KeyError as error:
            names = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise SubmodelsError(f"row {number}: no field {error}; fields that exist: {names}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise SubmodelsError(f"row {number}: not of the data set's schema ({error})") from error
    return items


def labelled(question: str, row: dict) -> dict:
    """A question of AI2, whose choices have labels: A to D, seldom 1 to 4 or with an E."""
    choices = row["choices"]
    return {"query": question, "choices": choices["text"], "gold": choices["label"].index(row["answerKey"].strip())}
