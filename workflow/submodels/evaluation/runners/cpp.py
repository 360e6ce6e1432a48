"""C++: compiled without optimisation, then run.

A precompiled <bits/stdc++.h> was measured: it takes 4 s and 100 MB to make and saves 0.1 s a sample, so there is none.
"""

import re
from pathlib import Path

from submodels.evaluation.metrics.base import text_fault
from submodels.evaluation.runners.verdicts import program_verdict

TOOLS = {"g++": "apt-get install g++"}
JAVA = None

_COMPILE_FACTOR = 3  # compilation may take this many time limits
_COMPILER_MB = 2048
_MAIN = re.compile(r"\bint\s+main\s*\(")
_MAIN_END = re.compile(r"(return\s+0\s*;\s*)?\}\s*$")
# A solution may not switch the tests' assert off.
_ASSERT = "\n#undef NDEBUG\n#include <cassert>\n#include <cstdio>\n"


def fault(item: dict) -> str | None:
    if found := text_fault(item, "prompt", "test"):
        return found
    whole = _MAIN.search(item["test"]) and _MAIN_END.search(item["test"])
    return None if whole else "a C++ `test` must end with the end of `int main()`"


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    end = _MAIN_END.search(item["test"])
    test = f'{item["test"][: end.start()]}\nstd::puts("\\n{nonce}");\n{end.group()}\n'
    compiler = [str(tools["g++"]), "-std=c++17", "-O0", "-w", "-o", "program", "program.cpp"]
    compilation = {"command": compiler, "timeout": _COMPILE_FACTOR * timeout, "memory_mb": max(memory_mb, _COMPILER_MB)}
    return {
        "files": {"program.cpp": f"{item['prompt']}{completion}{_ASSERT}{test}"},
        "java": None,
        "steps": [
            compilation | {"remove": ["program.cpp"]},
            {"command": ["./program"], "timeout": timeout, "memory_mb": memory_mb},
        ],
    }


def verdict(outcome: dict, nonce: str) -> str:
    return program_verdict(outcome, nonce, memory_errors=("std::bad_alloc",))
