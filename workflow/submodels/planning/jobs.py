"""The jobs of a grid and which of them are left, as the rules have them; a test equates both with `snakemake -n`."""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from submodels import grid as layout
from submodels.grid import Expansion
from submodels.world import corpus


@dataclass(frozen=True)
class Job:
    """One job. `inputs`: what it waits for; `ancient`: what must stand, but whose renewal makes nothing stale."""

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    ancient: tuple[str, ...] = ()
    wildcards: tuple[tuple[str, str], ...] = ()

    @property
    def timing(self) -> str | None:
        """Where Snakemake writes down what it took."""
        pattern = layout.TIMINGS.get(self.rule)
        return pattern and pattern.format(**dict(self.wildcards))


def find_jobs(grid: Expansion) -> list[Job]:
    """Every job that the grid needs from nothing, each after those it waits for; without `all`, which does nothing."""
    found = {job.outputs[0]: job for job in _all_jobs(grid)}
    makers = {output: job for job in found.values() for output in job.outputs}
    needed: dict[Job, None] = {}

    def need(output: str) -> None:
        job = makers.get(output)
        if job is not None and job not in needed:
            for one in (*job.inputs, *job.ancient):
                need(one)
            needed[job] = None

    for target in targets(grid):
        need(target)
    return list(needed)


def targets(grid: Expansion) -> list[str]:
    """The files that `all` asks for."""
    names = (name.split("/") for name in grid.kept)
    kept = [f"{layout.CHECKPOINT}/config.json".format(model=model, submodel=submodel) for model, submodel in names]
    return [layout.REPORT, *kept]


def left(jobs: list[Job], wanted: list[str]) -> list[Job]:
    """The jobs that would run, by what exists: those whose output is missing and needed, and those behind them.

    That a file is stale, because its parameters or an input changed, only Snakemake knows.
    """
    makers = {output: job for job in jobs for output in job.outputs}
    behind: dict[Job, list[tuple[Job, str, bool]]] = {job: [] for job in jobs}
    for job in jobs:
        for files, ancient in ((job.inputs, False), (job.ancient, True)):
            for file in files:
                if file in makers:
                    behind[makers[file]].append((job, file, ancient))
    running: set[Job] = set()
    queue = deque()

    def run(job: Job) -> None:
        if job not in running:
            running.add(job)
            queue.append(job)

    for file in wanted:
        if not os.path.exists(file):
            run(makers[file])
    while queue:
        job = queue.popleft()
        for file in (*job.inputs, *job.ancient):
            if file in makers and not os.path.exists(file):
                run(makers[file])
        for other, file, ancient in behind[job]:
            if not (ancient and os.path.exists(file)):
                run(other)
    return [job for job in jobs if job in running]


def _all_jobs(grid: Expansion) -> Iterator[Job]:
    """Every job there could be; those that nothing needs are dropped later."""
    world = [layout.WORLD_POOL.format(pool=pool) for pool in corpus.POOLS]
    items = [layout.WORLD_ITEMS.format(benchmark=name) for name in corpus.BENCHMARKS]
    yield Job("world", (layout.WORLD_TRAIN, *world, *items))
    for name, entry in grid.registries.calibration_sets.items():
        if entry.source.hub:
            yield Job("fetch_calibration_set", (layout.FETCHED_ROWS.format(set=name),), wildcards=(("set", name),))
    yield Job("fetch_wordnet", (layout.FETCHED_WORDNET_MANIFEST,))
    for name, task in grid.benchmarks.items():
        wildcards = (("benchmark", name),)
        if task.source.hub:
            yield Job("fetch_benchmark", (layout.FETCHED_BENCHMARK_ROWS.format(benchmark=name),), wildcards=wildcards)
        if task.source.hub or task.source.package:
            rows = grid.rows(name)
            yield Job("benchmark_items", (grid.items(name),), (rows,) if rows else (), wildcards=wildcards)
        yield Job("execution_settings", (layout.EXECUTION_SETTINGS.format(benchmark=name),), wildcards=wildcards)
    for model in grid.models:
        yield from _jobs_of(grid, model)
    scores = [layout.SCORES.format(model=model, benchmark=name) for model in grid.models for name in grid.benchmarks]
    overlaps = [layout.OVERLAP.format(model=model) for model in grid.models]
    masks = [
        layout.MASK.format(model=model, submodel=id)
        for model in grid.models
        for id in grid.evaluated(model)
        if id != layout.DENSE
    ]
    tables = tuple(f"{layout.TABLES}/{name}.csv" for name in layout.TABLE_NAMES)
    figures = tuple(f"{layout.FIGURES}/{name}-{model}.svg" for name in layout.FIGURE_NAMES for model in grid.models)
    yield Job("describe", (layout.GRID,))
    yield Job("tabulate", tables, (layout.GRID, *scores, *overlaps, *masks))
    yield Job("figures", figures, (layout.GRID, *tables))
    yield Job("report", (layout.REPORT,), (layout.GRID, *scores, *tables, *figures))


def _jobs_of(grid: Expansion, model: str) -> Iterator[Job]:
    """The jobs of one base model."""
    of_model = (("model", model),)
    spec, base = grid.spec(model), tuple(grid.model_files(model))
    if spec.tiny_world:
        yield Job("train_base_model", base, (layout.WORLD_TRAIN,), wildcards=of_model)
    if spec.hub:
        yield Job("fetch_base_model", base, wildcards=of_model)
    windows = {
        name: f"{layout.WINDOWS}/windows.safetensors".format(model=model, calibration=name) for name in grid.draws()
    }
    for name, draw in grid.draws().items():
        sources = tuple(grid.calibration_sources(draw.calibration).values())
        yield Job("calibrate", (windows[name],), (*base, *sources), wildcards=(*of_model, ("calibration", name)))
    for id, submodel in grid.submodels(model).items():
        wildcards = (*of_model, ("submodel", id))
        mask = layout.MASK.format(model=model, submodel=id)
        data = (windows[submodel.draw],) if submodel.draw else ()
        yield Job("prune", (mask,), (*base, *data), wildcards=wildcards)
        checkpoint = f"{layout.CHECKPOINT}/config.json".format(model=model, submodel=id)
        yield Job("export", (checkpoint,), (*base, mask), wildcards=wildcards)
    contamination = layout.CONTAMINATION.format(model=model)
    questions = tuple(grid.items(name) for name in grid.benchmarks)
    settings = {name: layout.SETTINGS.format(model=model, benchmark=name) for name in grid.benchmarks}
    yield Job(
        "contamination",
        (contamination,),
        (*(windows[name] for name in grid.evaluated_draws(model)), *questions),
        wildcards=of_model,
    )
    for name, file in settings.items():
        yield Job("benchmark_settings", (file,), wildcards=(*of_model, ("benchmark", name)))
    execution = {name: layout.EXECUTION_SETTINGS.format(benchmark=name) for name in grid.code}
    asked, programs = layout.QUESTIONS.format(model=model), layout.PROGRAMS.format(model=model)
    yield Job("questions", (asked,), (*questions, *settings.values()), wildcards=of_model)
    behind = (grid.items(name) for name in grid.code), (settings[name] for name in grid.code), execution.values()
    yield Job("programs", (programs,), tuple(chain(*behind)), wildcards=of_model)
    evaluated = {id: tuple(grid.weights(model, id)) for id in grid.evaluated(model)}
    generated = {id: layout.GENERATED.format(model=model, submodel=id) for id in evaluated}
    executed = {id: layout.EXECUTED.format(model=model, submodel=id) for id in evaluated}
    for id, weights in evaluated.items():
        wildcards = (*of_model, ("submodel", id))
        yield Job("generate", (generated[id],), (*base, *weights, asked), (contamination,), wildcards)
        yield Job("execute", (executed[id],), (*weights, programs), (generated[id],), wildcards)
    summed = {
        "weights": (layout.WEIGHTS, chain(*evaluated.values())),
        "generated": (layout.ALL_GENERATED, generated.values()),
        "executed": (layout.ALL_EXECUTED, executed.values()),
    }
    for rule, (output, files) in summed.items():
        yield Job(rule, (output.format(model=model),), tuple(files), wildcards=of_model)
    for name, task in grid.benchmarks.items():
        samples = layout.ALL_EXECUTED if task.is_code else layout.ALL_GENERATED
        decided = (settings[name], *((execution[name],) if task.is_code else ()))
        wordnet = (layout.FETCHED_WORDNET_MANIFEST,) if grid.takes_wordnet(name) else ()
        yield Job(
            "score",
            (layout.SCORES.format(model=model, benchmark=name),),
            (layout.WEIGHTS.format(model=model), grid.items(name), *decided, *wordnet),
            (contamination, samples.format(model=model)),
            (*of_model, ("benchmark", name)),
        )
    masks = tuple(layout.MASK.format(model=model, submodel=id) for id in grid.submodels(model))
    yield Job("overlap", (layout.OVERLAP.format(model=model),), masks, wildcards=of_model)
