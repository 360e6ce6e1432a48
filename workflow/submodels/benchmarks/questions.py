"""The text that a model reads of an item: the templates of a task file, filled in as lm-eval fills them.

A template is the name of a field, whose value is taken as it is, or Jinja. Each item is rendered from its own fields
only: an Arrow table, through which lm-eval reads data sets, would give all items the same fields and types. A field
that an item lacks, or holds as null, is an error where a template writes it.
"""

import ast
import math
import re
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

_NEEDS_TARGET = "loglikelihood_rolling"  # output type whose target is the text that is scored


def asks_alone(task: dict) -> bool:
    """Whether an item's question depends on no other item: false where other items are its worked examples."""
    return not (task.get("num_fewshot") and _examples_split(task))


def _examples_split(task: dict) -> str | None:
    """The split that worked examples are drawn from, or None; only items are available."""
    return task.get("fewshot_split") or (task.get("fewshot_config") or {}).get("split")


class Questions:
    """The templates of a task (a task file's content) as functions of an item; ValueError names the item's fault.

    `items`: all items. A template that is a field of any of them is a name.
    """

    def __init__(self, task: dict, items: list[dict]):
        self.task, self._items = task, items
        self.fields = list(dict.fromkeys(field for item in items for field in item))
        self._shots = task.get("fewshot_config") or {}
        self._examples = (
            (items if _examples_split(task) else self._shots.get("samples", [])) if task.get("num_fewshot") else []
        )

    def definition(self) -> dict[str, Any]:
        """The fields of the task that render items, for lm-eval."""
        has_choices = self.task.get("doc_to_choice") is not None
        return {
            "doc_to_text": self.text,
            "doc_to_target": lambda item: self.target(item) if self._needs_target(item) else "",
            "doc_to_choice": self.choices if has_choices else None,
            "fewshot_config": self._shots
            | {
                "doc_to_text": self.example_text,
                "doc_to_target": self.example_target,
                "doc_to_choice": self.choices if has_choices else None,
            },
        }

    def check(self, item: dict) -> None:
        """Render every text that will be asked of an item."""
        self._check_names()
        text = self.text(item)
        if isinstance(text, int) != self._is_numbered:
            raise ValueError(
                "doc_to_text gives a number for only some items, and a number is the index of the right one of several "
                "contexts; to take a text as it is, let doc_to_text be the name of its field"
            )
        if self.task["output_type"] == "multiple_choice":
            self.choices(item)
        if self._needs_target(item) and not isinstance(self.target(item), str):
            raise ValueError("doc_to_target must give a text")
        for part in ("description", "gen_prefix"):
            if self.task.get(part):
                self._text(part, self.task[part], item)

    def check_examples(self) -> None:
        """Render the worked examples before each question."""
        for number, example in enumerate(self._examples, start=1):
            try:
                self.example_text(example)
                self.example_target(example)
            except ValueError as error:
                raise ValueError(f"worked example {number}: {error}") from error

    def text(self, item: dict) -> str | int:
        """The question; where the choices are contexts, the index of the right choice."""
        if self.task["output_type"] == _NEEDS_TARGET:
            return ""
        return self._question("doc_to_text", self.task["doc_to_text"], item)

    def target(self, item: dict) -> Any:
        return self._render("doc_to_target", self.task["doc_to_target"], item)

    def choices(self, item: dict) -> list[str]:
        found = self._literal(self._render("doc_to_choice", self.task["doc_to_choice"], item))
        if not isinstance(found, list) or not all(isinstance(choice, str) and choice for choice in found):
            raise ValueError("doc_to_choice must give a list of texts that are not empty")
        if "choices" in item and len(found) != len(item["choices"]):
            raise ValueError(f"doc_to_choice gives {len(found)} texts, but the item has {len(item['choices'])} choices")
        return found

    def example_text(self, example: dict) -> str | int:
        part = "doc_to_text"
        return self._question(part, self._shots.get(part) or self.task[part], example)

    def example_target(self, example: dict) -> Any:
        """The answer of a worked example, or the index of the right choice; of several answers the first."""
        part = "doc_to_target"
        template = self._shots.get(part) or self.task[part]
        found = self._render(part, template, example)
        if not self._is_jinja(template):
            return found
        return self._number(found) if found.isdecimal() else self._literal(found, found)

    @cached_property
    def _is_numbered(self) -> bool:
        return isinstance(self.text(self._items[0]), int)

    def _needs_target(self, item: dict) -> bool:
        return self.task["output_type"] == _NEEDS_TARGET or isinstance(self.text(item), int)

    def _check_names(self) -> None:
        """Refuse a question of constant text: a misspelt field, unless choices are scored without a question."""
        template, kind = self.task["doc_to_text"], self.task["output_type"]
        if kind == _NEEDS_TARGET or (kind == "multiple_choice" and not template) or self._names_a_field(template):
            return
        raise ValueError(
            f"doc_to_text {template!r} names no field of the items; fields that exist: {', '.join(self.fields)}"
        )

    def _question(self, part: str, template: str, item: dict) -> str | int:
        found = self._text(part, template, item, (str, int) if self.task.get("doc_to_choice") is not None else (str,))
        return self._number(found) if self._is_jinja(template) and found.isdecimal() else found

    def _number(self, text: str) -> str | int:
        """As in lm-eval, a number that a template gives is an index where there are choices."""
        return int(text) if self.task.get("doc_to_choice") is not None else text

    def _is_jinja(self, template: str | int) -> bool:
        return isinstance(template, str) and template not in self.fields

    def _names_a_field(self, template: str) -> bool:
        return template in self.fields or not _template(template).names.isdisjoint(self.fields)

    def _text(self, part: str, template: str, item: dict, kinds: tuple[type, ...] = (str,)) -> Any:
        found = self._render(part, template, item)
        if not isinstance(found, kinds) or isinstance(found, bool):
            raise ValueError(f"{part} is the field `{template}`, which must be a text")
        return found

    def _render(self, part: str, template: str | int, item: dict) -> Any:
        if self._is_jinja(template):
            return _template(template).render(part, item)
        if isinstance(template, int):
            return template
        if item.get(template) is None:
            raise ValueError(f"no `{template}`, which {part} asks for")
        return item[template]

    @staticmethod
    def _literal(found: Any, otherwise: Any = None) -> Any:
        """The list that a template wrote as a text."""
        if not isinstance(found, str):
            return found
        try:
            value = ast.literal_eval(found)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return otherwise
        return value if isinstance(value, list) else otherwise


class _NullWritten(Exception):
    """A null value would have been written."""


class _Null:
    """A null in an item: false, equal to no value, and an error wherever it would become a text."""

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other) -> bool:
        return other is None or isinstance(other, _Null)

    __hash__ = None

    def _refuse(self, *arguments):
        raise _NullWritten

    __str__ = __repr__ = __html__ = __format__ = __add__ = __radd__ = _refuse


def _is_null(value: Any) -> bool:
    return value is None or isinstance(value, _Null) or (isinstance(value, float) and math.isnan(value))


def _marked(value: Any) -> Any:
    """A value whose nulls, however deep inside, are `_Null`."""
    if isinstance(value, dict):
        return {key: _marked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_marked(inner) for inner in value]
    return _Null() if _is_null(value) else value


def _written(value: Any) -> Any:
    from jinja2 import Undefined

    if isinstance(value, list | tuple):
        for inner in value:
            if isinstance(inner, Undefined):
                str(inner)  # raises for a null, as outside of a list
    if _is_null(value):
        raise _NullWritten
    return value


@cache
def _environment():
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_written)
    environment.tests["none"] = lambda value: value is None or isinstance(value, _Null)
    environment.filters["regex_replace"] = lambda text, pattern, by, count=0: re.sub(pattern, by, text, count=count)
    return environment


class _Template:
    """A Jinja template as lm-eval reads it, and the `names` in it."""

    def __init__(self, text: str):
        from jinja2 import TemplateError, meta

        self.names: set[str] = set()
        self._render: Callable[[dict], str] | None = None
        self._fault = ""
        try:
            self.names = meta.find_undeclared_variables(_environment().parse(text))
            self._render = _environment().from_string(text).render
        except TemplateError as error:
            self._fault = f"{error}"

    def render(self, part: str, item: dict) -> str:
        from jinja2 import UndefinedError

        if self._render is None:
            raise ValueError(f"{part}: {self._fault}")
        try:
            return self._render({name: _marked(item[name]) for name in self.names & item.keys()})
        except UndefinedError as error:
            raise ValueError(f"{part} asks for a field that the item lacks: {error}") from error
        except _NullWritten as error:
            nulls = [path for name in sorted(self.names) for path in _nulls(item.get(name, ""), name)]
            raise ValueError(
                f"{part} would write a null value as a text: {', '.join(nulls) or 'an expression'}"
            ) from error
        except Exception as error:  # of any type: a template may use a value that it was not made for
            raise ValueError(f"{part} cannot be rendered: {type(error).__name__}: {error}") from error


_template = cache(_Template)


def _nulls(value: Any, path: str) -> list[str]:
    """Where nulls are in a value."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _nulls(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for place, inner in enumerate(value) for found in _nulls(inner, f"{path}[{place}]")]
    return [f"`{path}`"] if _is_null(value) else []
