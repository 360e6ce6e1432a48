"""Stage items: the items of a benchmark, made from the rows of a package or of a data set; needs no network."""

from pathlib import Path

from submodels import files, versions
from submodels.benchmarks.adapters import ADAPTERS, FIXTURES
from submodels.benchmarks.registry import PACKAGES, Benchmark, check_items, load_benchmark
from submodels.errors import SubmodelsError, fetch_first, unknown
from submodels.layout import manifest_of
from submodels.products import take_over
from submodels.provenance import Manifest
from submodels.rows import read_rows


def write_items(
    benchmark: str, out: Path, *, rows: Path | None = None, adapter: str | None = None, fixture: bool = False
) -> None:
    """Write the items of a benchmark to `out`, and a manifest beside it.

    rows: the fetched rows of its data set, or another file of rows (.jsonl, .json, .parquet, .txt). adapter: replaces
    the benchmark's adapter, for rows of another schema. fixture: a few made-up rows instead; every item says so.
    """
    task = load_benchmark(benchmark)
    if adapter is not None and adapter not in ADAPTERS:
        raise unknown("adapter", adapter, ADAPTERS)
    path = None if fixture and rows is None else _rows_file(task, rows)
    parameters = {"version": versions.ITEMS, "benchmark": task.name, "adapter": adapter or task.adapter}
    manifest = Manifest("items", parameters | {"fixture": fixture}, {"rows": path} if path else {})
    place = manifest_of(out)
    if take_over(manifest, place):
        return
    given, where = _fixture(task, path) if fixture else (list(read_rows(path)), str(path))
    to_items = ADAPTERS.get(adapter or task.adapter, list)  # without an adapter the rows are items already
    try:
        items = to_items(given)
    except SubmodelsError as error:
        raise SubmodelsError(f"{where}, {error}") from error
    marked = {"fixture": True} if fixture else {}
    items = [{"task_id": f"{task.name}/{number}"} | item | marked for number, item in enumerate(items)]
    check_items(task, items, f"{where}: items of {task.name}")
    files.write_jsonl(out, items)
    manifest.write(place, [out], items=len(items))


def _fixture(task: Benchmark, path: Path | None) -> tuple[list[dict], str]:
    if path is not None:
        raise SubmodelsError(f"{task.name}: a fixture takes no rows; leave out the rows or the fixture")
    if task.adapter not in FIXTURES:
        raise SubmodelsError(f"{task.name}: it has no fixture; only benchmarks with an adapter have a fixture")
    return FIXTURES[task.adapter](), "fixture"


def _rows_file(task: Benchmark, path: Path | None) -> Path:
    if path is None and task.source.package is not None:
        path = PACKAGES[task.source.package]()
    if path is None:
        remedy = {
            "hub": fetch_first(f"data set {task.source.hub}", "fetch-benchmark"),
            "tiny_world": "`submodels world` writes its items",
            "held_out": "its rows are those of a calibration set, which `sources` of a grid names",
            "file": f"its items are in {task.source.file}, beside its task file",
        }[task.source.kind]
        raise SubmodelsError(f"{task.name}: no rows given, and no package has its rows; {remedy}")
    if not Path(path).is_file():
        hint = f"; {fetch_first(f'data set {task.source.hub}', 'fetch-benchmark')}" if task.source.hub else ""
        raise SubmodelsError(f"{path}: no such file{hint}")
    return Path(path)
