"""Whether the programs of a benchmark could be run, known before a model writes them."""

from types import ModuleType

from submodels.benchmarks.registry import Benchmark
from submodels.errors import SubmodelsError
from submodels.evaluation import extraction
from submodels.evaluation.runners import language_runner


def check_programs(benchmark: Benchmark, items: list[dict], where: str) -> None:
    """SubmodelsError, naming the row, where programs could not be run."""
    if not benchmark.is_code:
        return
    runner = language_runner(benchmark.language)
    for row, item in enumerate(items, start=1):
        if fault := program_fault(runner, item, benchmark.quiet):
            raise SubmodelsError(f"{where}, row {row} ({item['task_id']}): {fault}")


def program_fault(runner: ModuleType, item: dict, quiet: bool) -> str | None:
    """Why programs for this item could not be run; quiet: its tests fail by writing to stderr."""
    return runner.fault(item, quiet) or extraction.fault(item)
