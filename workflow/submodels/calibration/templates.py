"""Templates: how a row of a calibration set becomes a text.

A template is text with fields in braces; literal braces are doubled. `{question}` is a field of the row,
`{translation[en]}` a field inside a field. Lists of answer options are written with one of two renderers:
`{choices:lettered}` gives "A: first, B: second", `{choices:numbered}` gives "1: first 2: second". The options come
as a list of texts, as `{"label": [...], "text": [...]}` or as a list of `{"label", "text"}`; `lettered` keeps the
labels of the data set.
"""

import re
import string

from submodels.errors import SubmodelsError, unknown
from submodels.rows import fault

_FIELD = re.compile(r"[^\[\].!:{}\s]+(\[[^\[\]{}]+\])*")


class Incomplete(SubmodelsError):
    """A row that cannot fill its template: a field is missing, null or holds no text, or the text is empty."""


def _options(value) -> list[tuple[str | None, str]]:
    """(label or None, text) of each option; ValueError if `value` has no options, Incomplete for one without text."""
    pairs = _pairs(value)
    for label, text in pairs:
        if wrong := fault(text) or (label is not None and fault(label)):
            raise Incomplete(f"an option {wrong}")
    return pairs


def _pairs(value) -> list[tuple[str | None, str]]:
    """Pairs from any of the three layouts that data sets use."""
    if isinstance(value, dict) and {"label", "text"} <= value.keys():
        return list(zip(value["label"], value["text"], strict=True))
    if isinstance(value, list) and all(option is None or isinstance(option, str) for option in value):
        return [(None, option) for option in value]
    if isinstance(value, list) and all(
        isinstance(option, dict) and {"label", "text"} <= option.keys() for option in value
    ):
        return [(option["label"], option["text"]) for option in value]
    raise ValueError("not a list of options")


def _lettered(value) -> str:
    pairs = zip(_options(value), string.ascii_uppercase, strict=False)
    return ", ".join(f"{label or letter}: {text}" for (label, text), letter in pairs)


def _numbered(value) -> str:
    return " ".join(f"{number}: {text}" for number, (_, text) in enumerate(_options(value), start=1))


RENDERERS = {"lettered": _lettered, "numbered": _numbered}


class Template:
    """A parsed template. SubmodelsError if `text` is no template."""

    def __init__(self, text: str):
        self._pieces: list[tuple[str, list[str], str]] = []  # literal text, then the keys of a field and its renderer
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise SubmodelsError(f"template {text!r}: {error}; literal braces are doubled") from error
        for literal, field, renderer, conversion in parsed:
            if field is not None and (conversion or not _FIELD.fullmatch(field)):
                raise SubmodelsError(
                    f"template {text!r}: '{field}' is not a field; write {{name}} or {{name[key]}}; double other braces"
                )
            if renderer and renderer not in RENDERERS:
                raise SubmodelsError(f"template {text!r}: {unknown('renderer', renderer, RENDERERS)}")
            keys = field.replace("]", "").split("[") if field else []
            self._pieces.append((literal, keys, renderer or ""))
        if not self.fields:
            raise SubmodelsError(f"template {text!r}: it has no field; write at least one field, such as {{text}}")

    @property
    def fields(self) -> list[str]:
        """Names of the row's fields the template uses, in order of first use."""
        return list(dict.fromkeys(keys[0] for _, keys, _ in self._pieces if keys))

    def render(self, row: dict, where: str) -> str:
        """The text of `row`. Incomplete, with `where` (file and row), if a field is missing or all are blank."""
        values = [_value(row, keys, renderer, where) for _, keys, renderer in self._pieces if keys]
        if not any(value.strip() for value in values):
            raise Incomplete(f"{where}: the text is empty (field {', '.join(self.fields)})")
        fills = iter(values)
        return "".join(literal + (next(fills) if keys else "") for literal, keys, _ in self._pieces)


def _value(row: dict, keys: list[str], renderer: str, where: str) -> str:
    name = keys[0] + "".join(f"[{key}]" for key in keys[1:])
    value = row
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            exist = f"fields that exist: {', '.join(value)}" if isinstance(value, dict) else f"'{value}' has no fields"
            raise Incomplete(f"{where}: no field '{name}'; {exist}")
        value = value[key]
    if wrong := fault(value):
        raise Incomplete(f"{where}: field '{name}' {wrong}")
    if renderer:
        try:
            return RENDERERS[renderer](value)
        except Incomplete as error:
            raise Incomplete(f"{where}: field '{name}': {error}") from error
        except (TypeError, ValueError) as error:
            raise SubmodelsError(f"{where}: field '{name}': {error}, so '{renderer}' cannot write it") from error
    if isinstance(value, list | dict):
        inner = f"its fields: {', '.join(value)}" if isinstance(value, dict) else f"renderers: {', '.join(RENDERERS)}"
        raise SubmodelsError(f"{where}: field '{name}' is a {type(value).__name__}, not text; {inner}")
    return str(value)
