"""Python: a warm interpreter forks once a sample (sandbox/inside/python_sample.py)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from submodels.benchmarks.metrics.base import text_fault
from submodels.evaluation.extraction import program_start
from submodels.evaluation.runners.verdicts import python_verdict
from submodels.verdict import Verdict

TOOLS: dict[str, str] = {}  # this interpreter runs the samples, with the standard library only
JAVA = None
EMPTY = ""
SEES = "Programs see only Python's standard library: write the tests without it"

_RUNS = re.compile(r"^(assert|check)\b", re.MULTILINE)
_CHECK = re.compile(r"\bcheck\b")


def fault(item: dict, quiet: bool) -> str | None:
    """HumanEval's tests define `check` for the function named in `entry_point`; others run by themselves."""
    if found := text_fault(item, "prompt", "test", *(["entry_point"] if "entry_point" in item else [])):
        return found
    if "entry_point" not in item:
        return None if _RUNS.search(item["test"]) else "without a text `entry_point`, the `test` must assert by itself"
    if item["entry_point"] == "check":
        return "`entry_point` is check, the name of the function that the tests define; rename the solution's function"
    return None if _CHECK.search(item["test"]) else "with an `entry_point`, the `test` must define `check(candidate)`"


_IMPORT = re.compile(r"^(?:import|from)[ \t]+([A-Za-z_][\w.]*)", re.MULTILINE)
_LONG = 500_000  # characters; the syntax tree of a longer text (tests that are mostly data) takes gigabytes
_GUARDS = re.compile(r"ImportError|ModuleNotFoundError|\bException|TYPE_CHECKING|version_info|platform")


def libraries(item: dict) -> dict[str, str]:
    """Import statement -> library, for each unconditional import of prompt and tests."""
    texts = [program_start(item), item["test"]]
    names = [name for text in texts if "import" in text for name in _imported(text)]
    return {f"import {name}": name.partition(".")[0] for name in names}


def _imported(text: str) -> list[str]:
    for whole in (text, text + "\n    pass\n") if len(text) < _LONG else ():  # a prompt may end with its `def`
        try:
            return list(_imports(ast.parse(whole)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return _IMPORT.findall(text)


def _imports(node: ast.AST) -> Iterator[str]:
    """The modules that a tree imports, except imports that may fail and imports under a condition on the machine."""
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom(level=0):
            yield node.module
        case ast.Try() if any(handler.type is None or _guards(handler.type) for handler in node.handlers):
            pass
        case ast.If() if _guards(node.test):
            pass
        case ast.With() if any(_guards(entry.context_expr) for entry in node.items):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case | ast.mod):
                    yield from _imports(child)


def _guards(node: ast.expr) -> bool:
    return _GUARDS.search(ast.unparse(node)) is not None


def prepare(programs: list[tuple[dict, str]], tools: dict[str, Path]) -> dict[str, Path]:
    return {}


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    solution = program_start(item) + completion + "\n"
    call = f"check({item['entry_point']})\n" if "entry_point" in item else ""
    test = f"{item['test']}\n{call}"
    step = {"python": {"solution": solution, "test": test}, "timeout": timeout, "memory_mb": memory_mb}
    return {"files": {}, "java": None, "steps": [step]}


def verdict(outcome: dict, nonce: str) -> Verdict:
    return python_verdict(outcome)
