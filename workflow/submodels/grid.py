"""The grid expanded: every sub-model of the product of the axes, with its id and the files that it needs."""

import fnmatch
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from submodels import layout
from submodels.benchmarks.registry import PACKAGES, Benchmark, load_benchmark
from submodels.calibration.registry import CalibrationSet, RowSource
from submodels.calibration.sizes import DrawSize
from submodels.config import Axes, BaseModelSpec, GridConfig, HeldOut, LocalRows, Registries
from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.runners import missing_toolchains
from submodels.files import fingerprint
from submodels.hub import HubSource
from submodels.layout import Tree
from submodels.prompts import settings as prompt_settings
from submodels.prompts import template_files
from submodels.pruning.methods import METHODS
from submodels.resources import resource
from submodels.terms import DENSE, NO_CALIBRATION


@dataclass(frozen=True)
class Submodel:
    """One cell of the grid. `rows`: those of its block; None for the grid's `calibration.rows` or token budget."""

    method: str
    calibration: str
    sparsity: str
    seed: int
    rows: int | None = None

    @property
    def sized_calibration(self) -> str:
        """The calibration set, with the number of rows if its block names it, as in `python-n32`."""
        return self.calibration if self.rows is None else f"{self.calibration}-n{self.rows}"

    @property
    def id(self) -> str:
        return f"{self.method}-{self.sized_calibration}-{self.sparsity}-s{self.seed}"

    @property
    def draw(self) -> str | None:
        """Name of the sub-model's calibration windows; None for methods that need no data."""
        return None if self.calibration == NO_CALIBRATION else f"{self.sized_calibration}-s{self.seed}"


class Grid:
    """A validated grid with its registries, expanded to sub-models and paths; faults name the grid's file, `where`."""

    def __init__(self, grid: GridConfig, where: str):
        self.config, self.where, self.tree = grid, where, Tree(grid.name)
        self.registries = Registries(grid)
        self.benchmarks: dict[str, Benchmark] = {
            name: load_benchmark(name).with_sampling(grid.evaluation.samples) for name in grid.benchmarks
        }
        self._items = {name: str(_items_file(task, self.tree)) for name, task in self.benchmarks.items()}
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
                    for draw in self.draws_of(submodel):
                        self._check_draw(draw, place)
                    self._submodels[model][submodel.id] = submodel
                    if axes.evaluate:
                        self._evaluated[model].append(submodel.id)
        known = {f"{model}/{id}": (model, id) for model, ids in self._submodels.items() for id in ids}
        for pattern in grid.keep:
            if not fnmatch.filter(known, pattern):
                raise SubmodelsError(f"{where}: keep: {unknown('sub-model', pattern, known)}")
        self.kept = [
            pair for name, pair in known.items() if any(fnmatch.fnmatchcase(name, pattern) for pattern in grid.keep)
        ]
        self.fetched_models, self.fetched_sets, self.fetched_benchmarks = self._find_fetched()
        self.converted_models = {
            _model_name(name, self.spec(name)): self.spec(name) for name in self.models if self.spec(name).gguf
        }
        self._model_files = {model: self._find_files(model) for model in grid.base_models}

    def _check_draw(self, submodel: Submodel, place: str) -> None:
        """Refuse two draws of one name: the name of a set may equal another set's name with its number of rows."""
        other = self._draws.setdefault(submodel.draw, submodel)
        if (other.calibration, other.rows) != (submodel.calibration, submodel.rows):
            raise SubmodelsError(
                f"{place}: the draw '{submodel.draw}' would be both {_of(other)} and {_of(submodel)}; rename a "
                "calibration set"
            )

    @property
    def models(self) -> list[str]:
        return list(self.config.base_models)

    def submodels(self, model: str) -> dict[str, Submodel]:
        """Every pruned sub-model of a base model, by id."""
        return self._submodels[model]

    def evaluated(self, model: str) -> list[str]:
        """Ids that are scored: the dense baseline and every sub-model of a block with `evaluate: true`."""
        return self._evaluated[model]

    def size(self, submodel: Submodel) -> DrawSize | None:
        """How much of the sub-model's calibration set is drawn; None for methods that need no data."""
        if submodel.draw is None:
            return None
        return self.config.calibration.size if submodel.rows is None else DrawSize(rows=submodel.rows)

    def general(self, submodel: Submodel) -> Submodel | None:
        """The sub-model as if it were calibrated on the generic set, for methods that take general importance from
        such a draw; None for other methods."""
        takes = "general" in METHODS[submodel.method].settings
        return replace(submodel, calibration=self.config.pruning.general) if takes else None

    def draws_of(self, submodel: Submodel) -> list[Submodel]:
        """The sub-model and `general`, where they have a draw: all rows that a sub-model sees."""
        both = [submodel, self.general(submodel)]
        return [of for of in both if of is not None and of.draw is not None]

    def draws(self) -> dict[str, Submodel]:
        """Every calibration draw `<set>[-n<rows>]-s<seed>` that the grid needs -> one sub-model that needs it."""
        return dict(sorted(self._draws.items()))

    def spec(self, model: str) -> BaseModelSpec:
        return self.registries.models[model]

    def model_dir(self, model: str) -> str:
        spec = self.spec(model)
        if spec.path is not None:
            return str(spec.path)
        if spec.hub is not None or spec.gguf is not None:
            return layout.FETCHED_MODEL.format(fetched=_model_name(model, spec))
        return self.tree.trained_model.format(model=model)

    def model_files(self, model: str) -> list[str]:
        """The files that represent a base model: its manifest if it is made here, else all files of its directory."""
        return self._model_files[model]

    def _find_files(self, model: str) -> list[str]:
        if path := self.spec(model).path:
            files = {file for file in path.glob("*") if file.suffix in layout.MODEL_SUFFIXES}
            return [str(file) for file in sorted(files.union(template_files(path)))]
        return [f"{self.model_dir(model)}/manifest.json"]

    def check_files(self) -> None:
        """SubmodelsError, a line for each key, where files that the grid names are not there."""
        named = {f"models.{name}.path": self.spec(name).path for name in self.models}
        named |= {f"models.{name}.gguf": self.spec(name).gguf for name in self.models}
        for name, source in self.row_sources().items():
            named[f"calibration_sets.{name}.source.{source.kind}"] = source.file or source.directory
        for name, task in self.benchmarks.items():
            if task.source.file is not None:
                named[f"benchmarks: {name}: source.file"] = self.items(name)
            elif name in self.config.sources and not isinstance(self.config.sources[name], HeldOut):
                named[f"sources.{name}"] = self.rows(name)
        lacking = [
            f"{self.where}: {key}: {path}: no such file or directory"
            for key, path in named.items()
            if path is not None and not Path(path).exists()
        ]
        if lacking:
            raise SubmodelsError("\n".join(lacking))

    def weights(self, model: str, submodel: str) -> list[str]:
        """The files that represent the weights of a sub-model: its mask, or the dense base model."""
        return self.model_files(model) if submodel == DENSE else [self.tree.mask.format(model=model, submodel=submodel)]

    def items(self, benchmark: str) -> str:
        """The benchmark's items file."""
        return self._items[benchmark]

    def rows(self, benchmark: str) -> str | None:
        """The file of rows from which the items are made; None for a fixture, and for items without rows."""
        local, source = self.config.sources.get(benchmark), self.benchmarks[benchmark].source
        if local == "fixture" or not source.has_rows:
            return None
        if isinstance(local, HeldOut):
            return self._rows_file(local.calibration_set)
        if local is None:
            return layout.FETCHED_BENCHMARK_ROWS.format(fetched=_set_name(benchmark, source))
        return str(local.path if isinstance(local, LocalRows) else local)

    def adapter(self, benchmark: str) -> str | None:
        """The adapter that makes items of these rows."""
        local = self.config.sources.get(benchmark)
        return (isinstance(local, LocalRows) and local.adapter) or self.benchmarks[benchmark].adapter

    def components(self, name: str) -> dict[str, CalibrationSet]:
        """The components of a mix by name; nothing for any other calibration set."""
        sets = self.registries.calibration_sets
        return {component: sets[component] for component in sets[name].source.mix or ()}

    def calibration_sources(self, name: str) -> dict[str, str]:
        """Calibration set, or component of a mix -> the file with its rows."""
        files = {of: self._rows_file(of) for of in self.components(name) or (name,)}
        return {of: file for of, file in files.items() if file is not None}

    def _rows_file(self, name: str) -> str | None:
        source = self.registries.calibration_sets[name].source
        if source.tiny_world:
            return self.tree.world_pool.format(pool=source.tiny_world)
        if source.file:
            return str(source.file)
        if source.directory:
            return self.tree.collected_rows.format(calibration_set=name)
        return layout.FETCHED_ROWS.format(fetched=_set_name(name, source)) if source.fetched else None

    def _find_fetched(self) -> tuple[dict[str, BaseModelSpec], dict[str, HubSource], dict[str, HubSource]]:
        """Name of a download -> its source, for base models, calibration sets and benchmarks."""
        models = {_model_name(name, self.spec(name)): self.spec(name) for name in self.models if self.spec(name).hub}
        of_sets = {_set_name(name, source): source for name, source in self.row_sources().items() if source.fetched}
        of_benchmarks = {
            _set_name(name, task.source): task.source
            for name, task in self.benchmarks.items()
            if task.source.hub and name not in self.config.sources
        }
        return models, of_sets, of_benchmarks

    def row_sources(self) -> dict[str, RowSource]:
        """Calibration set, or component of a mix, that a draw or a benchmark needs -> where its rows come from."""
        draws = self._draws.values()
        used = {name for draw in draws for name in self.components(draw.calibration) or [draw.calibration]}
        scored = (self.config.sources.get(name) for name in self.benchmarks)
        used |= {source.calibration_set for source in scored if isinstance(source, HeldOut)}
        return {name: self.registries.calibration_sets[name].source for name in sorted(used)}

    def fetched(self) -> list[str]:
        """The manifests of all downloads that the grid needs."""
        places = {
            layout.FETCHED_MODEL: self.fetched_models,
            layout.FETCHED_SET: self.fetched_sets,
            layout.FETCHED_BENCHMARK: self.fetched_benchmarks,
        }
        manifests = [f"{place}/manifest.json".format(fetched=name) for place, names in places.items() for name in names]
        return [
            *manifests,
            *([layout.FETCHED_WORDNET_MANIFEST] if any(map(self.takes_wordnet, self.benchmarks)) else []),
        ]

    def takes_wordnet(self, benchmark: str) -> bool:
        """Whether METEOR scores the benchmark, with WordNet's synonyms."""
        return self.benchmarks[benchmark].takes_synonyms and self.config.evaluation.synonyms == "wordnet"

    def questions(self, model: str) -> str:
        """Identity of a base model's questions: its prompt format, and the parts of task files that decide samples."""
        prompt = self.spec(model).prompt
        return self._identity(lambda task: [prompt_settings(prompt, task), task.task])

    def programs(self) -> str:
        """Identity of task files and missing tools, which decide verdicts beside samples, items and settings."""
        missing = missing_toolchains()
        return self._identity(lambda task: [task.quiet, missing.get(task.language)])

    def metrics(self) -> str:
        """Identity of how benchmarks are scored."""
        return self._identity(lambda task: [task.task, task.scorer, task.primary])

    def _identity(self, values: Callable[[Benchmark], list]) -> str:
        """A few digits of the hash of `values` of each benchmark."""
        return fingerprint({name: values(task) for name, task in self.benchmarks.items()})[:16]

    @property
    def code(self) -> list[str]:
        """The benchmarks whose samples are programs."""
        return [name for name, task in self.benchmarks.items() if task.is_code]

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
            "name": self.config.name,
            "seed": self.config.seed,
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
            "roots": {"submodels": self.tree.submodels, "generations": f"{self.tree.root}/generations"},
            "missing": missing_toolchains(),
            "local_rows": {name: str(file) for name, file in self.config.calibration.sources.items()},
            "config": self.config.model_dump(mode="json"),
        }


def find_items(benchmark: Benchmark, grid: str | None = None) -> Path:
    """The default file of a benchmark's items: inside their package, or in the tree of the grid of that name."""
    if benchmark.source.package is not None and benchmark.adapter is None:
        return PACKAGES[benchmark.source.package]()
    if grid is None and benchmark.source.file is None:
        raise SubmodelsError(
            f"{benchmark.name}: give the file of its items as {benchmark.name}=FILE, or with --grid the name of a grid "
            "that was run here"
        )
    path = _items_file(benchmark, Tree(grid or ""))
    if not path.exists():
        raise SubmodelsError(f"{path}: no such file; run the grid, or name the file of {benchmark.name}'s items")
    return path


def _items_file(benchmark: Benchmark, tree: Tree) -> Path:
    """The file of the tiny world's items, the task file's local file, or the file of the stage `items`."""
    if benchmark.source.is_converted:
        return Path(tree.items.format(benchmark=benchmark.name))
    if benchmark.source.file is not None:
        return resource("tasks") / benchmark.source.file
    return Path(tree.world_items.format(benchmark=benchmark.name))


def _model_name(name: str, spec: BaseModelSpec) -> str:
    if spec.gguf is not None:
        return layout.fetched_name(name, "gguf", {"gguf": str(spec.gguf)})
    return layout.fetched_name(name, spec.revision, {"hub": spec.hub, "revision": spec.revision})


def _set_name(name: str, source: HubSource) -> str:
    return layout.fetched_name(name, source.revision, source.model_dump(mode="json", exclude_defaults=True))


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
    """The name of an equal sub-model in the earlier block, if it differs."""
    return "" if other.id == submodel.id else f" as {other.id}, with as many rows"
