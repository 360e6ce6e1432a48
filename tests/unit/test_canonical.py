"""The benchmarks' own solutions pass their own tests; an empty completion passes none. On the real data sets."""

from pathlib import Path

import pytest
from sandbox_support import USERS, need_language, need_sandbox, run

from submodels.benchmarks.adapters import ADAPTERS
from submodels.benchmarks.registry import PACKAGES, load_benchmark
from submodels.files import read_jsonl

HUMAN_EVAL_X = {language: f"humaneval-x/humaneval_{language}" for language in ("python", "java", "cpp")}
HUMAN_EVAL_X |= {"javascript": "humaneval-x/humaneval_js"}
# Benchmark -> (files of its rows, how many solutions must pass).
BENCHMARKS = {
    "humaneval": ((), 164),
    "humaneval_paper": ((), 164),
    "mbpp": (("mbpp/mbpp",), 500),
    "mbpp_paper": (("mbpp/mbpp",), 498),
    "humanevalx_python": ((HUMAN_EVAL_X["python"],), 164),
    "humanevalx_java": ((HUMAN_EVAL_X["java"],), 164),
    "humanevalx_cpp": ((HUMAN_EVAL_X["cpp"],), 161),
    "humanevalx_javascript": ((HUMAN_EVAL_X["javascript"],), 161),
}
# Their programs begin with the declaration instead of the prompt; the language that is given does not enter them.
TRANSLATIONS = {
    f"{source}_to_{target}": ((HUMAN_EVAL_X[source], HUMAN_EVAL_X[target]), needed)
    for source, target, needed in [
        ("java", "python", 163),
        ("python", "java", 164),
        ("python", "cpp", 161),
        ("python", "javascript", 161),
    ]
}


def real_items(name: str, shared: Path) -> list[dict]:
    files, _ = (BENCHMARKS | TRANSLATIONS)[name]
    paths = [shared / f"data/{file}.jsonl.gz" for file in files] or [PACKAGES["human-eval"]()]
    rows = [row for path in paths for row in read_jsonl(path)]
    adapter = load_benchmark(name).adapter
    return ADAPTERS[adapter](rows) if adapter else rows


def check(name: str, shared: Path) -> None:
    task = load_benchmark(name)
    language = task.language
    need_language(language)
    need_sandbox("unshare")
    items = real_items(name, shared)
    _, needed = (BENCHMARKS | TRANSLATIONS)[name]
    solutions = [(item["task_id"], item["canonical_solution"]) for item in items]
    empty = [(item["task_id"], "") for item in items]
    results = run(items, solutions + empty, language, "unshare", USERS[0], quiet=task.quiet, timeout=30)
    failed = {item["task_id"]: result for item, result in zip(items, results, strict=False) if result != "passed"}
    faulty = {item["task_id"] for item in items if "faulty" in item}
    assert not {task_id: result for task_id, result in failed.items() if task_id not in faulty}
    assert len(items) - len(failed) >= needed
    assert "passed" not in results[len(items) :]


@pytest.mark.real_data
@pytest.mark.parametrize("name", BENCHMARKS)
def test_solutions_pass_and_nothing_else_does(shared, name):
    check(name, shared)


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exhaustive] * name.endswith("_cpp")) for name in TRANSLATIONS]
)
def test_solutions_pass_after_a_declaration(shared, name):
    check(name, shared)
