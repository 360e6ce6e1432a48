"""The registry of calibration sets: resources/calibration_sets.yaml, and the sets a grid adds. Light to import."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from submodels import files
from submodels.calibration.templates import Template
from submodels.errors import SubmodelsError, unknown
from submodels.hub import HubSource
from submodels.prompts import INSTRUCTION
from submodels.resources import resource
from submodels.terms import CONTROL, DOMAINS, GENERIC, LANGUAGES
from submodels.validation import Strict, parse, parse_json

KINDS = ("tiny_world", "hub", "file", "directory", "git", "random_tokens", "mix")
_WHOLE_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RowSource(HubSource):
    """Where rows come from: exactly one of `tiny_world`, `hub`, `file`, `directory`, `git`, `random_tokens`, `mix`."""

    KEYS: ClassVar = HubSource.KEYS | {"directory": (("files",), ()), "git": (("revision", "files"), ())}

    tiny_world: str | None = Field(None, description="pool of rows of the tiny world, such as `python`")
    file: Path | None = Field(
        None,
        description="local file of rows: .jsonl, .json, .txt (one row in a line; each also with .gz) or .parquet",
    )
    directory: Path | None = Field(
        None,
        description="directory of source files, such as a code base; the files that match a pattern of `files`, but "
        "none that begins with `!`, are the rows, with the fields `path` and `text`",
    )
    git: str | None = Field(
        None,
        pattern=r"^((https|ssh|file)://|[\w.-]+@[\w.-]+:)[^\s]+$",
        description="git repository of source files, by https, ssh or file; needs `revision` (a whole commit) and "
        "`files`",
    )
    random_tokens: Literal[True] | None = Field(None, description="control: token ids drawn uniformly at random")
    mix: Annotated[dict[str, Weight], Field(min_length=2)] | None = Field(
        None, description="other calibration sets and their weights: `{python: 2, math: 1}`"
    )

    @model_validator(mode="after")
    def _one_kind(self):
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)} (got {', '.join(given) or 'none'})")
        self.check_keys(given[0])
        if given[0] not in ("directory", "git") and any(pattern.startswith("!") for pattern in self.files or ()):
            raise ValueError("files: patterns that begin with `!` belong to a directory or git source")
        if self.git is not None and not _WHOLE_COMMIT.fullmatch(self.revision):
            raise ValueError(f"revision: give the whole commit of a git source (got {self.revision})")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def fetched(self) -> bool:
        """Whether the rows come over a network."""
        return self.hub is not None or self.git is not None


class CalibrationSet(Strict):
    """A calibration set: the domain it represents, where its rows come from, and how a row becomes a text."""

    domain: Literal[*DOMAINS, GENERIC, CONTROL] = Field(description="domain that the set represents")
    language: Literal[LANGUAGES] | None = Field(None, description="programming language; only for domain code")
    source: RowSource = Field(description="where the rows come from")
    template: str | None = Field(
        None, description="text made of a row, with its fields in braces: `{question}`, `{translation[en]}`"
    )
    style: Literal["plain", INSTRUCTION] = Field(
        "plain", description="instruction: each text is wrapped in the prompt format of the base model"
    )
    skip_incomplete: bool = Field(
        False, description="skip rows whose fields are missing, null, NaN, empty or not text; else they are an error"
    )
    hold_out: bool = Field(
        False, description="leave out every tenth file, by a hash of its `path`, for benchmarks of held-out files"
    )
    max_tokens: int | None = Field(None, ge=1, description="skip rows with more tokens than this")
    paper_padding: bool = Field(
        False, description="under protocol paper, pad rows to seqlen and count the padding, as the paper's code does"
    )

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
        if self.source.kind in ("random_tokens", "mix"):
            keys = {"template", "style", "skip_incomplete", "hold_out", "max_tokens", "paper_padding"}
            of_rows = self.model_fields_set & keys
            if given := sorted(key for key in of_rows if getattr(self, key) not in (None, False, "plain")):
                raise ValueError(f"{given[0]} belongs to a set that has rows itself, not to {self.source.kind}")
        elif self.template is None:
            raise ValueError("a template is needed for every source but random_tokens and mix")
        return self


def load_calibration_sets(path: Path | str | None = None) -> dict[str, CalibrationSet]:
    """The sets in `path` (default: the registry that ships). SubmodelsError names file, set, key, value and choices."""
    path = Path(path) if path is not None else resource("calibration_sets.yaml")
    entries = files.read_yaml(path)
    if not isinstance(entries, dict):
        raise SubmodelsError(f"{path}: a registry is a mapping of names to calibration sets")
    sets, faults = {}, []
    for name, entry in entries.items():
        try:
            sets[name] = parse(CalibrationSet, entry, f"{path}: {name}")
        except SubmodelsError as error:
            faults.append(str(error))
    faults += [f"{path}: {name}: {fault}" for name, spec in sets.items() for fault in mix_faults(spec, sets)]
    if faults:
        raise SubmodelsError("\n".join(faults))
    return sets


def mix_faults(spec: CalibrationSet, known: Mapping[str, CalibrationSet]) -> Iterator[str]:
    """The faults of the components of a mix; nothing for any other set."""
    for name in spec.source.mix or ():
        if name not in known:
            yield f"source.mix: {unknown('calibration set', name, known)}"
        elif known[name].source.mix is not None:
            yield f"source.mix: '{name}' is itself a mix; name its components instead"


def find_calibration_set(spec: str) -> CalibrationSet:
    """The set given on a command line: a name in the registry that ships, or an entry as JSON."""
    if spec.lstrip().startswith("{"):
        return parse_json(CalibrationSet, spec, "calibration set")
    sets = load_calibration_sets()
    if spec not in sets:
        raise unknown("calibration set", spec, sets)
    return sets[spec]


def find_components(
    spec: CalibrationSet, entries: Mapping[str, CalibrationSet] | None = None
) -> dict[str, CalibrationSet]:
    """The components of a mix by name, in its order, out of `entries` or else the registry that ships."""
    known = load_calibration_sets() if entries is None else entries
    faults = list(mix_faults(spec, known))
    if faults:
        raise SubmodelsError("\n".join(faults))
    return {name: known[name] for name in spec.source.mix or ()}


def parse_components(text: str) -> dict[str, CalibrationSet]:
    """Entries by name, written as one JSON object."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise SubmodelsError(f"components: not valid JSON ({error})") from error
    if not isinstance(entries, dict):
        raise SubmodelsError("components: not a JSON object of names and entries")
    return {name: parse(CalibrationSet, entry, f"component {name}") for name, entry in entries.items()}
