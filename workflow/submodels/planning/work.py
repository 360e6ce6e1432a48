"""The cost of every job of a grid, by rule and wildcards; plans and the rules' requests share this module."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from submodels import defaults, held_out
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.registry import BenchmarkSize, limit_of
from submodels.config import Evaluation, Pruning
from submodels.dtypes import DTYPE_BYTES, find_dtype
from submodels.evaluation.batches import cpu_batch, largest_batch
from submodels.grid import Grid, Submodel
from submodels.model_shape import ModelShape
from submodels.planning import costs
from submodels.planning.costs import Asked, Cost
from submodels.planning.hardware import Hardware, read_hardware
from submodels.pruning import patterns
from submodels.pruning.methods import METHODS
from submodels.terms import DENSE
from submodels.world import shape as tiny

UNKNOWN_ITEMS = 1000  # items of a benchmark that does not state their number
UNKNOWN_SIZE = BenchmarkSize(items=UNKNOWN_ITEMS, read=250, written=100)
FIXTURE_ITEMS = 6


class Work:
    """The cost of the jobs of an expanded grid; nothing needs to be fetched."""

    def __init__(self, grid: Grid, hardware: Hardware | None = None, threads: int = 1):
        """threads: cores of a job."""
        self.grid, self.hardware, self.threads = grid, hardware or read_hardware(), threads
        self.cost = cache(self._cost)

    def _cost(self, rule: str, **wildcards: str) -> Cost:
        """The cost of one job of `rule`; that of a light job if the rule is not in RULES."""
        return RULES.get(rule, _light)(self, **wildcards)

    def memory_mb(self, rule: str, attempt: int = 1, **wildcards: str) -> int:
        """Memory request of a job, in MB: the estimate with a margin, and as much again for each earlier attempt."""
        requests = self.hardware.requests
        needed = max(requests.memory * self.cost(rule, **wildcards).memory, requests.least_memory)
        return attempt * math.ceil(needed / 1e8) * 100

    def minutes(self, rule: str, attempt: int = 1, **wildcards: str) -> int:
        """Time request of a job, in minutes."""
        requests = self.hardware.requests
        needed = max(requests.runtime * self.cost(rule, **wildcards).seconds, requests.least_runtime)
        return attempt * math.ceil(needed / 60)

    def gpus(self, rule: str) -> int:
        """Number of GPUs that a job requests."""
        devices = {"prune": self.grid.config.pruning.device, "generate": self.grid.config.evaluation.device}
        return int(devices.get(rule, "cpu") != "cpu")

    @cache  # noqa: B019 (one for each process)
    def shape(self, model: str) -> ModelShape:
        return self.grid.spec(model).find_shape()

    def dtype(self, model: str, stage: Pruning | Evaluation) -> str:
        """The data type that a stage computes in."""
        return find_dtype(stage.dtype, stage.device, self.shape(model).dtype)

    def items(self, benchmark: str) -> int:
        """Number of items of a benchmark: the rows of its file, or the number in its task file."""
        task, local = self.grid.benchmarks[benchmark], self.grid.config.sources.get(benchmark)
        if local == "fixture":
            return FIXTURE_ITEMS
        file = self.grid.rows(benchmark) if local else self.grid.items(benchmark) if task.source.file else None
        counted = _lines(Path(file)) if file else None
        if counted and task.source.held_out:
            counted = math.ceil(counted / held_out.OF)
        return counted or ((task.size or UNKNOWN_SIZE).items)

    @cache  # noqa: B019
    def asked(self, benchmark: str) -> Asked:
        """A benchmark's size, with the limit of the grid."""
        task, items = self.grid.benchmarks[benchmark], self.items(benchmark)
        limit = limit_of(self.grid.config.evaluation.limit, benchmark)
        size, generation = task.size or UNKNOWN_SIZE, task.generation
        longest = generation.max_gen_toks if generation else 0
        written = min(self.hardware.evaluation.rambling * size.written, longest)
        draws = bool(generation and generation.do_sample)
        read, scored = size.read, float(task.output_type == "loglikelihood_rolling")
        if task.output_type == "multiple_choice":  # the question is read once for all its choices
            figures = self.hardware.evaluation
            once = figures.chosen + (1 - figures.chosen) / figures.choices
            read, scored = once * read, figures.chosen / once
        return Asked(min(items, limit or items), task.repeats, read, written, longest, draws, scored)

    @cache  # noqa: B019
    def answer(self, model: str, benchmark: str) -> Cost:
        evaluation = self.grid.config.evaluation
        batch = evaluation.batch_size
        if batch == "auto":
            batch = self._fitting(model, self.asked(benchmark))
        return costs.answer(
            self.shape(model),
            self.asked(benchmark),
            batch_size=batch,
            dtype=self.dtype(model, evaluation),
            device=evaluation.device,
            backend=evaluation.backend,
            threads=self.threads,
            hardware=self.hardware,
        )

    def _fitting(self, model: str, asked: Asked) -> int:
        """The batch size that `auto` begins with: on a GPU the batch that fits into most of the memory left."""
        if self.grid.config.evaluation.device == "cpu":
            return cpu_batch(asked.read + asked.longest)
        shape, size = self.shape(model), DTYPE_BYTES[self.dtype(model, self.grid.config.evaluation)]
        free = 0.8 * max(self.hardware.gpu.memory - shape.parameters * size, 0)
        return largest_batch(free, costs.written_bytes(shape, asked.read + asked.longest, size))

    def windows(self, submodel: Submodel) -> int:
        """Windows of its calibration draw, 0 for a method without data."""
        size = self.grid.size(submodel)
        if size is None:
            return 0
        return size.rows or math.ceil(size.tokens / self.grid.config.calibration.seqlen)

    def download(self, name: str, kind: str) -> float:
        """Bytes of a data set by its name, with or without a revision, or the usual bytes of its kind."""
        sizes = self.hardware.files.downloads
        return sizes.get(name.partition("@")[0], sizes[kind])

    def kept(self, submodel: Submodel) -> float:
        return 1 - patterns.parse(submodel.sparsity).fraction


def _world(work: Work) -> Cost:
    return costs.light(work.hardware, product=work.hardware.files.world_bytes)


def _train(work: Work, model: str) -> Cost:
    tokens = (work.grid.spec(model).steps or defaults.STEPS) * tiny.BATCH * tiny.WINDOW
    return costs.train(work.shape(model), tokens, threads=work.threads, hardware=work.hardware)


def _fetch_base_model(work: Work, fetched: str) -> Cost:
    shape = work.grid.fetched_models[fetched].find_shape()
    return costs.fetch(costs.checkpoint_bytes(shape, work.hardware), hardware=work.hardware)


def _convert_gguf(work: Work, fetched: str) -> Cost:
    return costs.convert(work.grid.converted_models[fetched].find_shape(), work.hardware)


def _fetch_calibration_set(work: Work, fetched: str) -> Cost:
    return costs.fetch(work.download(fetched, "calibration_set"), hardware=work.hardware)


def _fetch_benchmark(work: Work, fetched: str) -> Cost:
    return costs.fetch(work.download(fetched, "benchmark"), hardware=work.hardware)


def _fetch_wordnet(work: Work) -> Cost:
    return costs.fetch(work.download("wordnet", "wordnet"), hardware=work.hardware)


def _calibrate(work: Work, model: str, calibration: str) -> Cost:
    calibrating = work.grid.config.calibration
    draw = work.grid.draws()[calibration]
    padded = calibrating.windows == "rows"
    rows = sum(work.download(name, "calibration_set") for name in work.grid.calibration_sources(draw.calibration))
    return costs.calibrate(work.windows(draw), calibrating.seqlen, padded=padded, rows=rows, hardware=work.hardware)


def _prune(work: Work, model: str, submodel: str) -> Cost:
    cell = work.grid.submodels(model)[submodel]
    pruning, calibrating = work.grid.config.pruning, work.grid.config.calibration
    method, filled = METHODS[cell.method], work.hardware.analysis.filled if calibrating.windows == "rows" else 1
    prior = METHODS[pruning.prior] if "prior" in method.settings else method
    place = {"dtype": work.dtype(model, pruning), "device": pruning.device, "threads": work.threads}
    cost = costs.prune(
        work.shape(model),
        windows=work.windows(cell),
        seqlen=calibrating.seqlen,
        filled=filled,
        batch_size=pruning.batch_size,
        kept=work.kept(cell),
        solves=prior.updates_weights or "general" in method.settings,
        values=method.updates_weights,
        offload=pruning.offload,
        hardware=work.hardware,
        **place,
    )
    if not method.gradients:
        return cost
    pattern, length = patterns.parse(cell.sparsity), calibrating.seqlen * filled
    return costs.prune_whole(
        work.shape(model),
        cost,
        tokens=pruning.tokens if method.trains else work.windows(cell) * length,
        length=length,
        padded=calibrating.seqlen,
        windows=method.gradients.windows,
        state=method.gradients.state_bytes(pattern),
        saved=method.gradients.saved_bytes(pattern),
        held=method.gradients.held_bytes,
        logits=math.comb(pattern.m, pattern.n) / pattern.m if method.trains else 0,
        hardware=work.hardware,
        **place,
    )


def _export(work: Work, model: str, submodel: str) -> Cost:
    return costs.export(work.shape(model), work.hardware)


def _benchmark_items(work: Work, benchmark: str) -> Cost:
    return costs.light(work.hardware, product=work.items(benchmark) * work.hardware.files.item_bytes)


def _light(work: Work, **wildcards: str) -> Cost:
    return costs.light(work.hardware, product=work.hardware.files.grid_bytes)


def _generate(work: Work, model: str, submodel: str) -> Cost:
    evaluation = work.grid.config.evaluation
    draws = [] if submodel == DENSE else work.grid.draws_of(work.grid.submodels(model)[submodel])
    rows = sum(map(work.windows, draws))
    searched = costs.search(sum(map(work.items, work.grid.benchmarks)) if draws else 0, rows, work.hardware)
    cost = costs.generate(
        work.shape(model),
        [work.answer(model, benchmark) for benchmark in work.grid.benchmarks],
        dtype=work.dtype(model, evaluation),
        device=evaluation.device,
        backend=evaluation.backend,
        masked=submodel != DENSE,
        hardware=work.hardware,
    )
    return replace(cost, work=cost.work + searched.work, memory=max(cost.memory, searched.memory))


def _execute(work: Work, model: str, submodel: str) -> Cost:
    evaluation = work.grid.config.evaluation
    return costs.execute(
        [(work.asked(name), work.grid.benchmarks[name].language) for name in work.grid.code],
        timeout=evaluation.timeout,
        memory=evaluation.memory_mb * 1e6,
        threads=work.threads,
        hardware=work.hardware,
    )


def _score(work: Work, model: str) -> Cost:
    return costs.score(
        [
            (work.asked(name), task.scorer, len(SCORERS[task.scorer].metrics(task.repeats)))
            for name, task in work.grid.benchmarks.items()
        ],
        submodels=len(work.grid.evaluated(model)),
        resamples=work.grid.config.evaluation.resamples,
        threads=work.threads,
        hardware=work.hardware,
    )


def _overlap(work: Work, model: str) -> Cost:
    submodels = work.grid.submodels(model).values()
    alike = _pairs((submodel.method, submodel.sparsity) for submodel in submodels)
    return costs.overlap(work.shape(model), len(submodels), alike, work.hardware)


def _page(rule: str) -> Callable[[Work], Cost]:
    """Tables, figures or the report."""

    def cost(work: Work) -> Cost:
        models, page = work.grid.models, work.hardware.files.pages[rule]
        evaluated = sum(len(work.grid.evaluated(model)) for model in models)
        cells = len(work.grid.benchmarks) * evaluated
        values = evaluated * sum(work.asked(benchmark).items for benchmark in work.grid.benchmarks)
        views = sum(_view_bytes(work, model) for model in models) if rule == "report" else 0
        return costs.light(
            work.hardware,
            work=cells * work.hardware.analysis.cell_seconds,
            product=len(models) * page.model + cells * page.cell + views,
            memory=values * costs.VALUE_MEMORY,
        )

    return cost


def _view_bytes(work: Work, model: str) -> float:
    """The pages for the masks of every two calibration sets; each draws a square matrix three times, in cells."""
    hidden, figures = work.shape(model).hidden, work.hardware.files
    drawn = math.ceil(hidden / math.ceil(hidden / defaults.VIEW_CELLS))
    cells = work.grid.submodels(model).values()
    sets = {(cell.method, cell.sparsity, cell.rows, cell.calibration) for cell in cells if cell.draw}
    pages = _pairs(key[:-1] for key in sets)
    return pages * (figures.view_bytes + drawn**2 * figures.view_cell_bytes)


def _pairs(keys: Iterable[Hashable]) -> int:
    """How many pairs of equal keys there are."""
    return sum(math.comb(count, 2) for count in Counter(keys).values())


RULES: dict[str, Callable[..., Cost]] = {  # in the order of work, as plans show them
    "fetch_base_model": _fetch_base_model,
    "convert_gguf": _convert_gguf,
    "fetch_calibration_set": _fetch_calibration_set,
    "fetch_benchmark": _fetch_benchmark,
    "fetch_wordnet": _fetch_wordnet,
    "world": _world,
    "train_base_model": _train,
    "collect_files": _light,
    "calibrate": _calibrate,
    "prune": _prune,
    "export": _export,
    "overlap": _overlap,
    "benchmark_items": _benchmark_items,
    "generate": _generate,
    "execute": _execute,
    "score": _score,
    "describe": _light,
    "tabulate": _page("tabulate"),
    "figures": _page("figures"),
    "report": _page("report"),
}


def _lines(path: Path) -> int | None:
    """Lines of a JSONL file; None for another kind of file, or if there is no file."""
    if path.suffix != ".jsonl" or not path.is_file():
        return None
    with open(path, "rb") as file:
        return sum(1 for line in file if line.strip())
