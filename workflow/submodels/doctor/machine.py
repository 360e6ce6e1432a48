"""Checks of the machine: toolchains, sandbox, memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from submodels import files
from submodels.benchmarks.registry import Benchmark
from submodels.doctor.subject import GB, SHOWN, Finding, Subject, memory, memory_fault, ok, problem, warning
from submodels.evaluation.runners import missing_toolchain


def check_toolchains(subject: Subject) -> Iterator[Finding]:
    """Compilers and interpreters of the benchmarks' languages."""
    missing = {name: hint for name in subject.languages if (hint := missing_toolchain(name))}
    for language, hint in missing.items():
        say = problem if subject.named else warning
        yield say(f"{language} programs cannot run here, their scores would be 'not run': {hint}")
    if working := [name for name in subject.languages if name not in missing]:
        yield ok(f"programs can run here in {', '.join(working)}")


def check_sandbox(subject: Subject) -> Iterator[Finding]:
    """A sandbox for generated programs."""
    if not subject.languages:
        return
    working = [name for name, fault in subject.sandboxes.items() if fault is None]
    if working:
        yield ok(f"generated programs run in {working[0]}")
        return
    reasons = "; ".join(f"{name}: {fault}" for name, fault in subject.sandboxes.items())
    yield problem(f"no sandbox works, so no generated program would run ({reasons}); install bubblewrap")


def check_canonical(subject: Subject) -> Iterator[Finding]:
    """The benchmarks' canonical solutions pass the benchmarks' tests, in the sandbox."""
    passed, without = [], []
    for name, benchmark in subject.benchmarks.items():
        if not benchmark.is_code or missing_toolchain(benchmark.language) or None not in subject.sandboxes.values():
            continue
        items = [item for item in subject.items[name] if isinstance(item.get("canonical_solution"), str)][:SHOWN]
        failing = _failing(benchmark, items)
        failed = [f"{line['task_id']}: {line['result']}" for line in failing]
        if failing and failing[0]["passed"] is None:
            yield problem(f"{name}: {failing[0]['result']}")
        elif failed:
            yield problem(f"{name}: canonical solutions fail ({'; '.join(failed)}); fix the items or the toolchain")
        elif items:
            passed.append(f"{name} {len(items)}")
        else:
            without.append(name)
    if passed:
        yield ok(f"canonical solutions that were run pass: {', '.join(passed)}")
    if without:
        yield ok(f"no canonical solutions to run: {', '.join(without)}")


def _failing(benchmark: Benchmark, items: list[dict]) -> list[dict]:
    """The execution lines of canonical solutions that do not pass."""
    if not items:
        return []
    from submodels.evaluation.execute import execute

    samples = [{"task_id": item["task_id"], "completion": item["canonical_solution"]} for item in items]
    with tempfile.TemporaryDirectory(prefix="submodels-") as directory:
        paths = [Path(directory) / f"{part}.jsonl" for part in ("items", "samples", "executed")]
        files.write_jsonl(paths[0], items)
        files.write_jsonl(paths[1], samples)
        execute(paths[0], benchmark.language, paths[1], paths[2], quiet=benchmark.quiet, workers=1)
        return [line for line in files.read_jsonl(paths[2]) if not line["passed"]]


def check_memory(subject: Subject) -> Iterator[Finding]:
    """The weights fit, with room for batches."""
    if fault := memory_fault(subject):
        yield problem(fault)
        return
    size, free = memory(subject)
    text = f"{size / GB:.2g} GB of weights in {subject.dtype}, {free / GB:.2g} GB free ({subject.device})"
    if 1.3 * size > free:
        yield warning(f"{text}: little is left for batches; lower the batch size if generation runs out of memory")
    else:
        yield ok(text)
