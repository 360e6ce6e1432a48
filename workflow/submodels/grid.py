"""The grid expanded: every sub-model of the product of the axes, its id, and every path under results/.

This is the only place that knows paths. Patterns hold the workflow's wildcards ({model}, {submodel}, {benchmark},
{calibration}); fill them with `str.format`.
"""

import fnmatch
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from submodels import versions
from submodels.calibration.registry import CalibrationSet
from submodels.calibration.sizes import Size
from submodels.config import Axes, BaseModelSpec, Grid, LocalRows, Registries
from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.benchmarks import PACKAGES, Benchmark, load_benchmark
from submodels.evaluation.prompts import settings as prompt_settings
from submodels.evaluation.prompts import template_files
from submodels.evaluation.runners import missing_toolchains
from submodels.pruning.methods import METHODS
from submodels.resources import resource
from submodels.terms import DENSE, NO_CALIBRATION

GRID = "results/grid.json"
WORLD = "results/world"
WORLD_TRAIN = f"{WORLD}/train.jsonl"
WORLD_POOL = f"{WORLD}/calibration/{{pool}}.jsonl"
WORLD_ITEMS = f"{WORLD}/benchmarks/{{benchmark}}.jsonl"
ITEMS = "results/benchmarks/{benchmark}.jsonl"
SETTINGS = "results/benchmarks/{model}/{benchmark}.settings.json"
QUESTIONS = "results/benchmarks/{model}/questions.sha256"
EXECUTION_SETTINGS = "results/benchmarks/{benchmark}.execution.json"
PROGRAMS = "results/benchmarks/{model}/programs.sha256"
TRAINED_MODEL = "results/base_models/{model}"
WINDOWS = "results/calibration/{model}/{calibration}"
SUBMODELS = "results/submodels"
SUBMODEL = f"{SUBMODELS}/{{model}}/{{submodel}}"
MASK = f"{SUBMODEL}/submodel.safetensors"
WEIGHTS = "results/evaluated/{model}/weights.txt"
CHECKPOINT = "results/checkpoints/{model}/{submodel}"
GENERATIONS = "results/generations/{model}/{submodel}"
GENERATED = f"{GENERATIONS}/done.json"
SAMPLES = f"{GENERATIONS}/{{benchmark}}.jsonl.gz"
ALL_GENERATED = "results/evaluated/{model}/generated.txt"
EXECUTIONS = "results/executions/{model}/{submodel}"
EXECUTED = f"{EXECUTIONS}/done.json"
VERDICTS = f"{EXECUTIONS}/{{benchmark}}.jsonl.gz"
ALL_EXECUTED = "results/evaluated/{model}/executed.txt"
CONTAMINATION = "results/contamination/{model}.json"
SCORES = "results/scores/{model}/{benchmark}.json"
OVERLAP = "results/overlap/{model}.csv"
TABLES = "results/tables"
TABLE_NAMES = (
    "scores",
    "relative",
    "best_submodels",
    "code_languages",
    "jaccard",
    "jaccard_layers",
    "within_domain",
    "noise",
    "sparsity_curves",
    "claims",
    "methods",
)
FIGURES = "results/figures"
FIGURE_NAMES = ("cross_task", "sparsity", "languages", "jaccard", "jaccard_layers")
REPORT = "results/report/index.html"
PLAN = "results/plan"
LINK = "results/links/{path}/{name}"  # to files of the user's whose paths Snakemake would take for patterns
TIMINGS = {  # what finished jobs took, by rule
    "world": "results/timings/world.tsv",
    "train_base_model": "results/timings/base_models/{model}.tsv",
    "calibrate": "results/timings/calibration/{model}/{calibration}.tsv",
    "prune": "results/timings/pruning/{model}/{submodel}.tsv",
    "export": "results/timings/export/{model}/{submodel}.tsv",
    "contamination": "results/timings/contamination/{model}.tsv",
    "generate": "results/timings/generation/{model}/{submodel}.tsv",
    "execute": "results/timings/execution/{model}/{submodel}.tsv",
    "score": "results/timings/scores/{model}/{benchmark}.tsv",
    "overlap": "results/timings/overlap/{model}.tsv",
    "tabulate": "results/timings/tables.tsv",
    "figures": "results/timings/figures.tsv",
    "report": "results/timings/report.tsv",
}
# Of files that decide a base model's numbers and prompts.
MODEL_SUFFIXES = (".json", ".jinja", ".safetensors", ".model", ".txt", ".tiktoken")
# Downloads live outside results/, so that deleting results/ does not cost them.
FETCHED_MODEL = "resources/fetched/models/{model}"
FETCHED_SET = "resources/fetched/calibration_sets/{set}"
FETCHED_ROWS = f"{FETCHED_SET}/rows.parquet"
FETCHED_BENCHMARK = "resources/fetched/benchmarks/{benchmark}"
FETCHED_BENCHMARK_ROWS = f"{FETCHED_BENCHMARK}/rows.parquet"
FETCHED_WORDNET = "resources/fetched/nltk_data"
FETCHED_WORDNET_MANIFEST = f"{FETCHED_WORDNET}/manifest.json"


@dataclass(frozen=True)
class Submodel:
    """One cell of the grid. `rows`: those its block names; None for the grid's `calibration.rows` or token budget."""

    method: str
    calibration: str
    sparsity: str
    seed: int
    rows: int | None = None

    @property
    def sized_calibration(self) -> str:
        """The calibration set with the rows its block names, as in `python-n32`."""
        return self.calibration if self.rows is None else f"{self.calibration}-n{self.rows}"

    @property
    def id(self) -> str:
        return f"{self.method}-{self.sized_calibration}-{self.sparsity}-s{self.seed}"

    @property
    def draw(self) -> str | None:
        """Name of its calibration windows; None for methods that need no data."""
        return None if self.calibration == NO_CALIBRATION else f"{self.sized_calibration}-s{self.seed}"


class Expansion:
    """A validated grid with its registries, expanded to sub-models and paths; faults name the grid's file, `where`."""

    def __init__(self, grid: Grid, where: str):
        self.grid = grid
        self.registries = Registries(grid)
        self.benchmarks: dict[str, Benchmark] = {
            name: load_benchmark(name).with_sampling(grid.evaluation.samples) for name in grid.benchmarks
        }
        self._items = {name: str(_items_file(task)) for name, task in self.benchmarks.items()}
        self._submodels: dict[str, dict[str, Submodel]] = {model: {} for model in grid.base_models}
        self._evaluated: dict[str, list[str]] = {model: [DENSE] for model in grid.base_models}
        self._draws: dict[str, Submodel] = {}
        same: dict[tuple, Submodel] = {}
        for position, axes in enumerate(grid.submodels):
            for model in axes.base_models or grid.base_models:
                for submodel in _product(axes):
                    place = f"{where}: submodels[{position}]: {model}/{submodel.id}"
                    other = same.setdefault((model, replace(submodel, rows=None), self.size(submodel)), submodel)
                    if other is not submodel:
                        raise SubmodelsError(
                            f"{place} is in an earlier block already{_as(other, submodel)}; every sub-model belongs to "
                            "one block"
                        )
                    self._check_draw(submodel, place)
                    self._submodels[model][submodel.id] = submodel
                    if axes.evaluate:
                        self._evaluated[model].append(submodel.id)
        known = [f"{model}/{id}" for model, ids in self._submodels.items() for id in ids]
        for pattern in grid.keep:
            if not fnmatch.filter(known, pattern):
                raise SubmodelsError(f"{where}: keep: {unknown('sub-model', pattern, known)}")
        self.kept = [name for name in known if any(fnmatch.fnmatchcase(name, pattern) for pattern in grid.keep)]
        self._model_files = {model: self._find_files(model) for model in grid.base_models}

    def _check_draw(self, submodel: Submodel, place: str) -> None:
        """One name stands for one draw: a set may be called what another set with its number of rows is called."""
        if submodel.draw is None:
            return
        other = self._draws.setdefault(submodel.draw, submodel)
        if (other.calibration, other.rows) != (submodel.calibration, submodel.rows):
            raise SubmodelsError(
                f"{place}: the draw '{submodel.draw}' would be both {_of(other)} and {_of(submodel)}; rename a "
                "calibration set"
            )

    @property
    def models(self) -> list[str]:
        return list(self.grid.base_models)

    def submodels(self, model: str) -> dict[str, Submodel]:
        """Every pruned sub-model of a base model, by id."""
        return self._submodels[model]

    def evaluated(self, model: str) -> list[str]:
        """Ids that are scored: the dense baseline and every sub-model of a block with `evaluate: true`."""
        return self._evaluated[model]

    def size(self, submodel: Submodel) -> Size | None:
        """How much of its calibration set is drawn; None for methods that need no data."""
        if submodel.draw is None:
            return None
        return self.grid.calibration.size if submodel.rows is None else Size(rows=submodel.rows)

    def draws(self) -> dict[str, Submodel]:
        """Every calibration draw `<set>[-n<rows>]-s<seed>` that some sub-model needs, and one that needs it."""
        return dict(sorted(self._draws.items()))

    def evaluated_draws(self, model: str) -> list[str]:
        """The calibration draws behind the scores of a base model."""
        known = self.submodels(model)
        draws = {known[id].draw for id in self.evaluated(model) if id != DENSE}
        return sorted(draws - {None})

    def spec(self, model: str) -> BaseModelSpec:
        return self.registries.models[model]

    def model_dir(self, model: str) -> str:
        spec = self.spec(model)
        if spec.path is not None:
            return str(spec.path)
        return (FETCHED_MODEL if spec.hub else TRAINED_MODEL).format(model=model)

    def model_files(self, model: str) -> list[str]:
        """The files that stand for a base model: the manifest of one made here, all that a local directory holds."""
        return self._model_files[model]

    def _find_files(self, model: str) -> list[str]:
        if path := self.spec(model).path:
            found = {file for file in path.glob("*") if file.suffix in MODEL_SUFFIXES}
            return [str(file) for file in sorted(found.union(template_files(path)))]
        return [f"{self.model_dir(model)}/manifest.json"]

    def weights(self, model: str, submodel: str) -> list[str]:
        """The files that stand for the weights of a sub-model: its mask, or the dense base model."""
        return self.model_files(model) if submodel == DENSE else [MASK.format(model=model, submodel=submodel)]

    def items(self, benchmark: str) -> str:
        """The benchmark's items file."""
        return self._items[benchmark]

    def rows(self, benchmark: str) -> str | None:
        """The file of rows that the items are made of; None for a fixture, and for items that come from no rows."""
        local = self.grid.sources.get(benchmark)
        if local == "fixture" or self.benchmarks[benchmark].source.hub is None:
            return None
        if local is None:
            return FETCHED_BENCHMARK_ROWS.format(benchmark=benchmark)
        return str(local.path if isinstance(local, LocalRows) else local)

    def adapter(self, benchmark: str) -> str | None:
        """What makes the items of those rows."""
        local = self.grid.sources.get(benchmark)
        return (isinstance(local, LocalRows) and local.adapter) or self.benchmarks[benchmark].adapter

    def components(self, name: str) -> dict[str, CalibrationSet]:
        """The components of a mix by name; nothing for any other calibration set."""
        sets = self.registries.calibration_sets
        return {component: sets[component] for component in sets[name].source.mix or ()}

    def calibration_sources(self, name: str) -> dict[str, str]:
        """The files that hold the rows of a calibration set, each by the set or component it belongs to."""
        files = {of: self._rows_file(of) for of in self.components(name) or (name,)}
        return {of: file for of, file in files.items() if file is not None}

    def _rows_file(self, name: str) -> str | None:
        source = self.registries.calibration_sets[name].source
        if source.tiny_world:
            return WORLD_POOL.format(pool=source.tiny_world)
        if source.file:
            return str(source.file)
        return FETCHED_ROWS.format(set=name) if source.hub else None

    def fetched(self) -> list[str]:
        """The manifests of all that the grid needs from elsewhere."""
        sets = self.registries.calibration_sets
        used = {
            name for draw in self._draws.values() for name in self.components(draw.calibration) or [draw.calibration]
        }
        manifests = [f"{self.model_dir(model)}/manifest.json" for model in self.models if self.spec(model).hub]
        manifests += [f"{FETCHED_SET}/manifest.json".format(set=name) for name in sorted(used) if sets[name].source.hub]
        manifests += [
            f"{FETCHED_BENCHMARK}/manifest.json".format(benchmark=name)
            for name, task in self.benchmarks.items()
            if task.source.hub and name not in self.grid.sources
        ]
        if any(map(self.takes_wordnet, self.benchmarks)):
            manifests.append(FETCHED_WORDNET_MANIFEST)
        return manifests

    def takes_wordnet(self, benchmark: str) -> bool:
        """Whether METEOR scores the benchmark, with WordNet's synonyms."""
        return self.benchmarks[benchmark].takes_synonyms and self.grid.evaluation.synonyms == "wordnet"

    def samples(self, model: str, submodel: str, benchmark: str) -> str:
        """The file whose lines are scored: executed samples for code, generations for everything else."""
        pattern = VERDICTS if self.benchmarks[benchmark].is_code else SAMPLES
        return pattern.format(model=model, submodel=submodel, benchmark=benchmark)

    def generation_settings(self, model: str, benchmark: str) -> dict:
        """What decides a benchmark's samples besides the weights and the items."""
        return prompt_settings(self.spec(model).prompt, self.benchmarks[benchmark]) | {
            "version": versions.GENERATE,
            "task": self.benchmarks[benchmark].task,
            "seed": self.grid.seed,
            "dtype": self.grid.evaluation.computed_in,
            "backend": self.grid.evaluation.backend,
            "limit": self.grid.evaluation.limit,
        }

    @property
    def code(self) -> list[str]:
        """The benchmarks whose samples are programs."""
        return [name for name, task in self.benchmarks.items() if task.is_code]

    def execution_settings(self, benchmark: str) -> dict:
        """What decides the verdicts on a benchmark's programs besides samples, items and tools."""
        evaluation = self.grid.evaluation
        limits = {"timeout": evaluation.timeout, "memory_mb": evaluation.memory_mb}
        rule = {"sandbox": evaluation.sandbox, "quiet": self.benchmarks[benchmark].quiet}
        return {"version": versions.EXECUTE} | rule | limits

    def describe(self) -> dict:
        """The grid as plain data, for tables, figures and the report."""
        sets = self.registries.calibration_sets
        submodels = {}
        for model in self.models:
            for id, submodel in self.submodels(model).items():
                spec, size = sets.get(submodel.calibration), self.size(submodel)
                submodels[id] = asdict(submodel) | {
                    "rows": size and size.rows,
                    "tokens_per_set": size and size.tokens,
                    "domain": spec.domain if spec else None,
                    "language": spec.language if spec else None,
                }
        return {
            "name": self.grid.name,
            "seed": self.grid.seed,
            "models": {
                model: {
                    "description": self.spec(model).description,
                    "tiny_world": self.spec(model).tiny_world is not None,
                    "manifest": None if self.spec(model).path else self.model_files(model)[0],
                    "submodels": list(self.submodels(model)),
                    "evaluated": self.evaluated(model),
                }
                for model in self.models
            },
            "submodels": submodels,
            "benchmarks": {
                name: {
                    "domain": task.domain,
                    "language": task.language,
                    "primary": task.primary,
                    "items": self.items(name),
                }
                for name, task in self.benchmarks.items()
            },
            "roots": {"submodels": SUBMODELS, "generations": "results/generations"},
            "missing": missing_toolchains(),
            "config": self.grid.model_dump(mode="json"),
        }


def find_items(benchmark: Benchmark) -> Path:
    """Where a benchmark's items are when nobody says: inside their package, or in results/ after a run."""
    if benchmark.source.package is not None and benchmark.adapter is None:
        return PACKAGES[benchmark.source.package]()
    path = _items_file(benchmark)
    if not path.exists():
        command = f"world --out {WORLD}" if benchmark.source.tiny_world else "items --help"
        raise SubmodelsError(f"{path}: no such file; make it (`submodels {command}`), or name the file of its items")
    return path


def _items_file(benchmark: Benchmark) -> Path:
    """The items of the tiny world, of a file of one's own, or as the stage `items` writes them."""
    if benchmark.source.package is not None or benchmark.source.hub is not None:
        return Path(ITEMS.format(benchmark=benchmark.name))
    if benchmark.source.file is not None:
        return resource("tasks") / benchmark.source.file
    return Path(WORLD_ITEMS.format(benchmark=benchmark.name))


def _product(axes: Axes):
    for method in axes.methods:
        sets = axes.calibration_sets if METHODS[method].needs_calibration else [NO_CALIBRATION]
        for calibration in sets:
            for sparsity in axes.sparsities:
                for rows in axes.rows or [None]:
                    for seed in axes.seeds:
                        yield Submodel(method, calibration, sparsity, seed, rows)


def _of(submodel: Submodel) -> str:
    size = "" if submodel.rows is None else f" with {submodel.rows} rows"
    return f"calibration set '{submodel.calibration}'{size}"


def _as(other: Submodel, submodel: Submodel) -> str:
    """How an equal sub-model is called there, if differently."""
    return "" if other.id == submodel.id else f" as {other.id}, with as many rows"
