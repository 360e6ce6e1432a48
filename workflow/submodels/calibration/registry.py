"""The registry of calibration sets: resources/calibration_sets.yaml, and the sets a grid adds. Light to import."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from submodels.calibration.templates import Template
from submodels.errors import SubmodelsError, unknown
from submodels.resources import resource

KINDS = ("tiny_world", "hub", "file", "random_tokens")


class Source(BaseModel):
    """Where the rows come from: exactly one of `tiny_world`, `hub`, `file`, `random_tokens`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tiny_world: str | None = Field(None, description="calibration pool of the tiny world")
    hub: str | None = Field(None, description="Hub data set, `owner/name`; needs `revision` and `split`")
    config: str | None = Field(None, description="configuration of the Hub data set, if it has several")
    revision: str | None = Field(None, description="commit of the Hub data set, whole or its first 7 or more digits")
    split: str | None = Field(None, description="split of the Hub data set; a slice such as `train[:50%]` is allowed")
    files: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="read only these files of the Hub data set (glob patterns)"
    )
    file: Path | None = Field(None, description="local .jsonl, .json (a list of objects; both also .gz) or .parquet")
    random_tokens: Literal[True] | None = Field(None, description="control: uniformly random token ids")

    @model_validator(mode="after")
    def _one_kind(self):
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)} (got {', '.join(given) or 'none'})")
        hub_keys = [key for key in ("config", "revision", "split", "files") if getattr(self, key) is not None]
        if self.hub is None and hub_keys:
            raise ValueError(f"{hub_keys[0]} belongs to a hub source, not to {given[0]}")
        if self.hub is not None and not (self.revision and self.split):
            raise ValueError("a hub source needs revision and split")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


class CalibrationSet(BaseModel):
    """A calibration set: the domain it stands for, where its rows come from, and how a row becomes a text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Literal["code", "math", "csr", "translation", "generic", "control"] = Field(
        description="what the set is about"
    )
    language: Literal["python", "java", "cpp", "javascript"] | None = Field(None, description="only for domain code")
    source: Source
    template: str | None = Field(None, description="text of a row, fields in braces: `{question}`, `{translation[en]}`")
    skip_incomplete: bool = Field(False, description="pass over rows with missing, null or empty fields, do not stop")
    max_tokens: int | None = Field(None, ge=1, description="pass over rows longer than this")

    @field_validator("template")
    @classmethod
    def _parses(cls, template: str | None) -> str | None:
        if template is not None:
            try:
                Template(template)
            except SubmodelsError as error:
                raise ValueError(str(error)) from error
        return template

    @model_validator(mode="after")
    def _consistent(self):
        if self.language is not None and self.domain != "code":
            raise ValueError(f"language belongs to domain code, not to {self.domain}")
        if (self.template is None) != (self.source.kind == "random_tokens"):
            raise ValueError("a template is needed for every source but random_tokens, which takes none")
        return self


def load_calibration_sets(path: Path | str | None = None) -> dict[str, CalibrationSet]:
    """The sets in `path` (default: the registry that ships). SubmodelsError names file, set, key, value and choices."""
    path = Path(path) if path is not None else resource("calibration_sets.yaml")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SubmodelsError(f"{path}: no such file") from error
    except yaml.YAMLError as error:
        raise SubmodelsError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(entries, dict):
        raise SubmodelsError(f"{path}: a registry is a mapping of names to calibration sets")
    sets, faults = {}, []
    for name, entry in entries.items():
        try:
            sets[str(name)] = CalibrationSet.model_validate(entry)
        except ValidationError as error:
            faults += _lines(error, str(path), str(name))
    if faults:
        raise SubmodelsError("\n".join(faults))
    return sets


def find_calibration_set(spec: str) -> CalibrationSet:
    """The set a command line means: a name in the registry that ships, or an entry as JSON."""
    if spec.lstrip().startswith("{"):
        try:
            return CalibrationSet.model_validate_json(spec)
        except ValidationError as error:
            raise SubmodelsError("\n".join(_lines(error, "calibration set"))) from error
    sets = load_calibration_sets()
    if spec not in sets:
        raise unknown("calibration set", spec, sets)
    return sets[spec]


def _lines(error: ValidationError, where: str, *keys: str) -> list[str]:
    faults = error.errors()
    return [": ".join(filter(None, (where, ".".join(map(str, (*keys, *f["loc"]))), _message(f)))) for f in faults]


def _message(fault: dict) -> str:
    if fault["type"] == "extra_forbidden":
        owner = Source if fault["loc"][0] == "source" and len(fault["loc"]) > 1 else CalibrationSet
        return f"unknown key; valid keys: {', '.join(owner.model_fields)}"
    message = fault["msg"].removeprefix("Value error, ")
    return message if isinstance(fault["input"], dict | list) else f"{message} (got {fault['input']!r})"
