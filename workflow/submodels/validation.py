"""Validated YAML and JSON: unknown keys are errors, and every fault is one line with its file, key and value."""

import json

from pydantic import BaseModel, ConfigDict, ValidationError

from submodels.errors import SubmodelsError


class Strict(BaseModel):
    """Unknown keys are errors: a misspelt key must not silently keep a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(model: type[BaseModel], value, where: str):
    """Validate `value`; faults come as lines `where: key: message (got value)`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [f"{where}: {_key(fault['loc'])}{_message(fault, model)}" for fault in error.errors()]
        raise SubmodelsError("\n".join(lines)) from error


def parse_json(model: type[BaseModel], text: str, where: str):
    """`parse` of a value written as JSON, as on a command line."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SubmodelsError(f"{where}: not valid JSON ({error})") from error
    return parse(model, value, where)


def _key(location: tuple) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{key}: " if key else ""


def _message(fault: dict, model: type[BaseModel]) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        owner = _owner(model, fault["loc"][:-1])
        return f"unknown key; valid keys: {', '.join(owner.model_fields)}" if owner else "unknown key"
    if fault["type"] == "missing":
        return "missing"
    shown = fault["input"]
    if isinstance(shown, dict | list):
        return message
    quotes = "; write it in quotes, because YAML does not read it as a text" if fault["type"] == "string_type" else ""
    return f"{message} (got {shown!r}){quotes if shown is not None else ''}"


def _owner(model: type[BaseModel], location: tuple) -> type[BaseModel] | None:
    """The model class that a location inside `model` belongs to, to list its keys."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            nested = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
            model = next((kind for kind in nested if issubclass(kind, BaseModel)), None)
            if model is None:
                return None
    return model
