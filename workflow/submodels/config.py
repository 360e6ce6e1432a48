"""A grid: what to prune, with which data, and how to score it. Docs and the schema of grid files are made from this.

`check_grid` validates a whole grid, registries included, and reports each fault in one line (file, key, value, valid
values) before any job starts. Imports stay light: every cluster job parses this again.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from submodels import defaults, files
from submodels.benchmarks.adapters import ADAPTERS
from submodels.benchmarks.registry import GREEDY, Benchmark, benchmark_names, check_sampling, load_benchmark
from submodels.calibration.registry import CalibrationSet, RowSource, load_calibration_sets, mix_faults
from submodels.calibration.sizes import DrawSize, find_size
from submodels.dtypes import AUTO, CHOICES, find_dtype
from submodels.errors import SubmodelsError, unknown
from submodels.model_shape import ModelShape, read_gguf_shape, read_shape
from submodels.prompts import FORMATS as PROMPT_FORMATS
from submodels.pruning import patterns
from submodels.pruning.methods import METHODS, get_one_shot
from submodels.resources import resource
from submodels.terms import NO_CALIBRATION
from submodels.validation import Strict, parse
from submodels.world.corpus import DOMAINS, POOLS
from submodels.world.shape import tiny_shape


def _refuse_repeats(values: list) -> list:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"listed twice: {', '.join(repeated)}")
    return values


def _sparsity(value) -> str:
    try:
        return str(patterns.parse(value))
    except SubmodelsError as error:
        raise ValueError(str(error)) from error


def _sampling(value):
    try:
        check_sampling(value)
    except SubmodelsError as error:
        raise ValueError(str(error).partition(" (got")[0]) from error
    return value


MODEL_SOURCES = ("tiny_world", "hub", "gguf", "path")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Sparsity = Annotated[str, BeforeValidator(_sparsity)]
Unique = AfterValidator(_refuse_repeats)


class BaseModelSpec(Strict):
    """A base model: exactly one of `tiny_world` (trained here), `hub` (fetched at a commit), `gguf` and `path`."""

    tiny_world: Literal["llama", "gemma"] | None = Field(
        None, description="train a tiny model of this architecture on the tiny world"
    )
    steps: int | None = Field(None, ge=1, description=f"training steps of a tiny model (default: {defaults.STEPS})")
    domains: Annotated[list[Literal[tuple(DOMAINS)]], Field(min_length=1), Unique] | None = Field(
        None, description="domains of the tiny world that a tiny model is trained on; left out: all of them"
    )
    seed: int | None = Field(None, ge=0, description="seed of a tiny model's weights (default: the grid's `seed`)")
    hub: str | None = Field(
        None, pattern=r"^[\w.-]+(/[\w.-]+)?$", description="Hub repository, `owner/name`; needs `revision` and `shape`"
    )
    revision: str | None = Field(None, pattern=r"^[\w./-]+$", description="commit of the Hub repository")
    shape: ModelShape | None = Field(
        None, description="sizes of a Hub model; other models have their sizes in their files"
    )
    gguf: Path | None = Field(None, description="GGUF file of a model, unpacked once to `resources/fetched/models/`")
    path: Path | None = Field(None, description="local Hugging Face directory with safetensors files")
    prompt: Literal[tuple(PROMPT_FORMATS)] = Field(
        defaults.PROMPT, description="prompt format that wraps instructions; completions are never wrapped"
    )
    description: str = Field("", description="a note for readers of the file")

    @model_validator(mode="after")
    def _one_source(self):
        given = [key for key in MODEL_SOURCES if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(MODEL_SOURCES)} (got {', '.join(given) or 'none'})")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("hub and revision go together: a Hub model is pinned to a commit")
        if self.hub is not None and self.shape is None:
            raise ValueError(f"a Hub model needs a shape ({', '.join(ModelShape.model_fields)}): see docs/extending.md")
        for key in ("steps", "domains", "seed"):
            if getattr(self, key) is not None and self.tiny_world is None:
                raise ValueError(f"{key} belongs to training a tiny model; leave {key} out, or give tiny_world")
        if self.hub is None and self.shape is not None:
            raise ValueError(f"shape belongs to a Hub model; leave it out, the shape of {given[0]} is found without it")
        return self

    def find_shape(self) -> ModelShape:
        """The shape of a Hub model in the registry, of local files, or of the tiny world's model."""
        if self.shape is not None:
            return self.shape
        if self.gguf is not None:
            return read_gguf_shape(self.gguf)
        return tiny_shape(self.tiny_world) if self.tiny_world else read_shape(self.path)


class Axes(Strict):
    """A block of the grid: one sub-model for each combination of its lists. No sub-model may be in two blocks."""

    base_models: Annotated[list[Name], Field(min_length=1), Unique] | None = Field(
        None, description="base models of this block; left out: all base models of the grid"
    )
    methods: Annotated[list[Name], Field(min_length=1), Unique] = Field(
        ["wanda"], description="pruning methods; methods with and methods without calibration data need separate blocks"
    )
    calibration_sets: Annotated[list[Name], Unique] = Field(
        [],
        description="names in resources/calibration_sets.yaml or `calibration_sets`; left out for methods without data",
    )
    sparsities: Annotated[list[Sparsity], Field(min_length=1), Unique] = Field(
        description="shares to prune, such as `0.50`, or patterns: `2of4` prunes 2 of every 4 consecutive inputs"
    )
    rows: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), Unique] | None = Field(
        None, description="numbers of calibration windows, such as `[32, 128]`; left out: the size under `calibration`"
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Unique] = Field(
        [0], description="seeds of the draw of calibration rows; `random` also uses these seeds for its masks"
    )
    evaluate: bool = Field(True, description="false: prune and compare masks, without scores")

    @model_validator(mode="after")
    def _methods_known(self):
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(str(unknown("method", method, METHODS)))
            if METHODS[method].needs_calibration != bool(self.calibration_sets):
                wants = "needs calibration_sets" if not self.calibration_sets else "takes no calibration_sets"
                raise ValueError(f"method '{method}' {wants}: put it in a separate block")
            free = [at for at in self.sparsities if not patterns.parse(at).is_structured]
            if METHODS[method].only_patterns and free:
                raise ValueError(
                    f"method '{method}' makes masks of patterns such as 2of4 only (got {', '.join(free)}): put it in a "
                    "separate block"
                )
        if self.rows is not None and not self.calibration_sets:
            raise ValueError("rows need calibration_sets, and this block has none; leave rows out")
        return self


class Calibration(Strict):
    """How calibration windows are made."""

    rows: int | None = Field(
        None,
        ge=1,
        description=f"number of windows of each calibration set; left out: {defaults.ROWS}, or by `tokens_per_set`",
    )
    tokens_per_set: int | None = Field(
        None, ge=1, description="instead of `rows`: every calibration set gives exactly this number of counted tokens"
    )
    seqlen: int = Field(defaults.SEQLEN, ge=2, description="number of tokens in a window")
    windows: Literal["rows", "packed"] = Field(
        "rows", description="rows: one row in each window, padded or cut; packed: rows joined and cut into windows"
    )
    protocol: Literal["strict", "paper"] = Field(
        "strict",
        description="strict: a row is drawn once at most, padding never counts; paper: as the paper's code does it",
    )
    sources: dict[Name, Path] = Field(
        {}, description="rows of calibration sets from files instead of their sources: `{py_alpaca: rows.jsonl}`"
    )

    @model_validator(mode="after")
    def _one_size(self):
        try:
            find_size(self.rows, self.tokens_per_set)
        except SubmodelsError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def size(self) -> DrawSize:
        """How much of a calibration set is used unless a block of the grid names `rows`."""
        return find_size(self.rows, self.tokens_per_set)


class Evaluation(Strict):
    """How sub-models are scored."""

    device: str = Field(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device that generates: `cpu`, `cuda` or `cuda:N`"
    )
    dtype: Literal[CHOICES] = Field(
        AUTO, description="data type that generation computes in; auto: float32 on a CPU, the checkpoint's on a GPU"
    )
    backend: Literal["hf", "vllm"] = Field(
        "hf", description="library that generates: transformers, or vLLM in the environment envs/vllm.yaml (only GPUs)"
    )
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="texts generated at once; auto: as many as fit (on a CPU at most 32), halved when memory runs out",
    )
    limit: Annotated[int, Field(ge=1)] | dict[Name, Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="take only the first items of each benchmark, for a pilot: a number, or one by benchmark, "
        "`{source_python: 9}`; left out: all items",
    )
    samples: Annotated[Annotated[int, Field(ge=1)] | Literal[GREEDY] | None, BeforeValidator(_sampling)] = Field(
        None,
        description="samples of each item where pass@k is scored: a number, or `greedy` for one answer; left out: the "
        "number in the task file",
    )
    sandbox: Literal["auto", "bubblewrap", "unshare", "apptainer", "none"] = Field(
        "auto",
        description="sandbox for generated code; none: programs run with all your rights, and auto never chooses it",
    )
    timeout: float = Field(defaults.TIMEOUT, gt=0, description="seconds that one program may take")
    memory_mb: int = Field(defaults.MEMORY_MB, ge=64, description="memory in MB that one program may take")
    synonyms: Literal["none", "wordnet"] = Field(
        "wordnet", description="synonyms that METEOR accepts; wordnet is fetched"
    )
    resamples: int = Field(
        defaults.RESAMPLES, ge=100, description="number of bootstrap resamples over the items of a benchmark"
    )

    @model_validator(mode="after")
    def _vllm_on_gpus(self):
        if self.backend == "vllm" and self.device == "cpu":
            raise ValueError("backend: vllm generates only on GPUs; set device: cuda, or backend: hf")
        return self

    @property
    def computed_in(self) -> str:
        """A data type, or `auto` for the checkpoint's."""
        return find_dtype(self.dtype, self.device)


class Pruning(Strict):
    """How sub-models are pruned."""

    device: str = Field(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device that prunes: `cpu`, `cuda` or `cuda:N`"
    )
    dtype: Literal[CHOICES] = Field(
        AUTO, description="data type that pruning computes in; auto: float32 on a CPU, the checkpoint's on a GPU"
    )
    batch_size: int = Field(defaults.PRUNED_AT_ONCE, ge=1, description="calibration windows in one forward pass")
    offload: bool = Field(False, description="true: activations wait in the memory of the host, for a small GPU")
    general: Name | None = Field(
        None, description="calibration set of general importance, for `dpruner` and `dpruner_matrix`, such as `c4`"
    )
    general_weight: float = Field(
        defaults.GENERAL_WEIGHT,
        ge=0,
        allow_inf_nan=False,
        description="weight of general importance, beside 1 for the domain's",
    )
    tokens: int = Field(
        defaults.TRAINED_TOKENS, ge=1, description="number of tokens on which `maskllm` learns each sub-model's masks"
    )
    prior: Name = Field(defaults.PRIOR, description="method whose masks `maskllm` begins with")

    @model_validator(mode="after")
    def _one_shot_prior(self):
        try:
            get_one_shot(self.prior)
        except SubmodelsError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def computed_in(self) -> str:
        """A data type, or `auto` for the checkpoint's."""
        return find_dtype(self.dtype, self.device)


class LocalRows(Strict):
    """A file that replaces a benchmark's data set."""

    path: Path = Field(description="file of rows: .jsonl, .json, .txt (each also with .gz) or .parquet")
    adapter: Literal[tuple(ADAPTERS)] | None = Field(
        None, description="adapter that makes items of the rows; left out: the adapter of the benchmark"
    )


class HeldOut(Strict):
    """The files that a calibration set with `hold_out: true` leaves out."""

    calibration_set: Name = Field(description="name of the calibration set")


class GridConfig(Strict):
    """A whole grid, as written in config.yaml."""

    name: Name = Field(description="name of the grid: shown in the report, and its directory is `results/<name>/`")
    seed: int = Field(0, ge=0, description="seed of the tiny world, of training and of generation")
    base_models: Annotated[list[Name], Field(min_length=1), Unique] = Field(
        description="names in resources/models.yaml or under `models`"
    )
    submodels: Annotated[list[Axes], Field(min_length=1)] = Field(
        description="blocks of sub-models; the grid is their union and the `dense` base models"
    )
    benchmarks: Annotated[list[Name], Field(min_length=1), Unique] = Field(description="names in resources/tasks/")
    sources: dict[Name, Literal["fixture"] | Path | LocalRows | HeldOut] = Field(
        {},
        description="rows of Hub benchmarks from files, `{gsm8k: test.jsonl}`, or `fixture`: a few made-up rows; for "
        "benchmarks of held-out files the calibration set",
    )
    calibration: Calibration = Field(Calibration(), description="how calibration windows are made")
    pruning: Pruning = Field(Pruning(), description="how sub-models are pruned")
    evaluation: Evaluation = Field(Evaluation(), description="how sub-models are scored")
    keep: Annotated[list[str], Unique] = Field(
        [],
        description="sub-models to write as ordinary checkpoints too: `<base model>/<sub-model>`, `*` for any text",
    )
    models: dict[Name, BaseModelSpec] = Field(
        {}, description="further base models, under names that resources/models.yaml does not have"
    )
    calibration_sets: dict[Name, CalibrationSet] = Field(
        {}, description="further calibration sets, under names that resources/calibration_sets.yaml does not have"
    )


class Registries:
    """The names a grid may use: the entries in resources/ and those that the grid adds."""

    def __init__(self, grid: GridConfig):
        self.models = _extend("models", load_models(), grid.models)
        self.calibration_sets = _extend("calibration_sets", _shipped_sets(), grid.calibration_sets)
        for name, file in grid.calibration.sources.items():
            if name in self.calibration_sets:
                local = {"source": RowSource(file=file)}
                self.calibration_sets[name] = self.calibration_sets[name].model_copy(update=local)


@cache
def load_models() -> dict[str, BaseModelSpec]:
    """The base models that ship in resources/models.yaml."""
    path = resource("models.yaml")
    entries = files.read_yaml(path)
    if not isinstance(entries, dict):
        raise SubmodelsError(f"{path}: a registry is a mapping of names to base models")
    return {name: parse(BaseModelSpec, entry, f"{path}: {name}") for name, entry in entries.items()}


@cache
def _shipped_sets() -> dict[str, CalibrationSet]:
    return load_calibration_sets()


def _extend(key: str, shipped: dict, added: dict) -> dict:
    taken = sorted(set(shipped) & set(added))
    if taken:
        raise SubmodelsError(f"{key}: '{taken[0]}' is already in the registry; choose another name")
    return shipped | added


def read_grid(path: Path | str) -> GridConfig:
    """Read and validate a grid file."""
    return check_grid(files.read_yaml(path), str(path))


def check_grid(value, where: str) -> GridConfig:
    """Validate a grid and every name it uses; all faults of a kind are reported together, one line each."""
    if not isinstance(value, dict):
        raise SubmodelsError(f"{where}: a grid is a mapping of keys to values")
    grid = parse(GridConfig, value, where)
    try:
        registries = Registries(grid)
    except SubmodelsError as error:
        raise SubmodelsError(f"{where}: {error}") from error
    faults = list(_unknown_names(grid, registries))
    if faults:
        raise SubmodelsError("\n".join(f"{where}: {fault}" for fault in faults))
    return grid


def _unknown_names(grid: GridConfig, registries: Registries):
    for i, name in enumerate(grid.base_models):
        if name not in registries.models:
            yield f"base_models[{i}]: {unknown('base model', name, registries.models)}"
    for i, name in enumerate(grid.benchmarks):
        if name not in benchmark_names():
            yield f"benchmarks[{i}]: {unknown('benchmark', name, benchmark_names())}"
        else:
            yield from _benchmark_faults(grid, load_benchmark(name))
    for name, source in grid.sources.items():
        if name not in benchmark_names():
            yield f"sources: {unknown('benchmark', name, benchmark_names())}"
        elif not load_benchmark(name).source.has_rows:
            yield f"sources.{name}: its items do not come from the Hub; only rows of Hub benchmarks have local sources"
        elif isinstance(source, HeldOut):
            yield from _held_out_faults(f"sources.{name}", load_benchmark(name), source.calibration_set, registries)
    for name in grid.evaluation.limit if isinstance(grid.evaluation.limit, dict) else ():
        if name not in grid.benchmarks:
            yield f"evaluation.limit: {unknown('benchmark of the grid', name, grid.benchmarks)}"
    for name in grid.base_models:
        if not any(axes.base_models is None or name in axes.base_models for axes in grid.submodels):
            yield f"base_models: '{name}' is in no block of submodels; add it to a block, or leave it out"
    known = _shipped_sets() | grid.calibration_sets  # with the sources that they name themselves
    for name in grid.calibration.sources:
        if name not in known:
            yield f"calibration.sources: {unknown('calibration set', name, known)}"
        elif known[name].template is None:
            yield f"calibration.sources.{name}: a {known[name].source.kind} calibration set has no rows itself"
    for name, entry in grid.calibration_sets.items():
        if name == NO_CALIBRATION:
            yield f"calibration_sets.{name}: the name is reserved for methods without calibration; choose another"
        if entry.source.tiny_world is not None and entry.source.tiny_world not in POOLS:
            yield f"calibration_sets.{name}.source: {unknown('pool of the tiny world', entry.source.tiny_world, POOLS)}"
        for fault in mix_faults(entry, registries.calibration_sets):
            yield f"calibration_sets.{name}.{fault}"
    for i, axes in enumerate(grid.submodels):
        for name in axes.base_models or ():
            if name not in grid.base_models:
                yield f"submodels[{i}].base_models: {unknown('base model', name, grid.base_models)}"
        for name in axes.calibration_sets:
            if name not in registries.calibration_sets:
                known = registries.calibration_sets
                yield f"submodels[{i}].calibration_sets: {unknown('calibration set', name, known)}"
    yield from _general_faults(grid, registries)


def _general_faults(grid: GridConfig, registries: Registries):
    name, known = grid.pruning.general, registries.calibration_sets
    takes = [method for axes in grid.submodels for method in axes.methods if "general" in METHODS[method].settings]
    if name is not None and name not in known:
        yield f"pruning.general: {unknown('calibration set', name, known)}"
    elif takes and name is None:
        yield f"pruning.general: method '{takes[0]}' needs a generic calibration set; name one, such as `general: c4`"


def _benchmark_faults(grid: GridConfig, task: Benchmark):
    try:
        task.with_sampling(grid.evaluation.samples)
    except SubmodelsError as error:
        yield f"evaluation.samples: {grid.evaluation.samples}: {error}"
    if task.by_token and grid.evaluation.backend == "vllm":
        yield f"benchmarks: '{task.name}' needs the likelihoods of single tokens; use `backend: hf`"
    if task.source.held_out and task.name not in grid.sources:
        yield (
            f"benchmarks: '{task.name}' scores the files that a calibration set leaves out; name the set: "
            f"`sources: {{{task.name}: {{calibration_set: ...}}}}`"
        )


def _held_out_faults(key: str, task: Benchmark, name: str, registries: Registries):
    known = registries.calibration_sets
    if task.source.held_out is None:
        yield f"{key}: its items are no held-out files; give a file of rows"
    elif name not in known:
        yield f"{key}: {unknown('calibration set', name, known)}"
    elif not known[name].hold_out:
        yield f"{key}: calibration set '{name}' leaves no files out; give it `hold_out: true`"
    elif known[name].language != task.language:
        yield (
            f"{key}: the files of calibration set '{name}' are of language {known[name].language or 'unknown'}, those "
            f"of the benchmark of language {task.language}; name a set of `language: {task.language}`"
        )
