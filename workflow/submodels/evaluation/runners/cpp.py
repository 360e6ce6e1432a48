"""C++: compiled without optimisation, then run.

A precompiled <bits/stdc++.h> takes 3 s and 100 MB to make, once on a machine, and saves 0.8 s of 1.1 s for each
program that includes it. Other programs never see it: with it they would compile even where they lack an include.
"""

import hashlib
import re
import subprocess
from pathlib import Path

from submodels.benchmarks.metrics.base import text_fault
from submodels.evaluation.extraction import program_start, without_comments
from submodels.evaluation.prepared import prepared, tool_identity
from submodels.evaluation.runners.verdicts import program_verdict
from submodels.verdict import Verdict

TOOLS = {"g++": "apt-get install g++"}
JAVA = None
EMPTY = "int main() {\n}\n"
SEES = "Programs see only the headers under /usr: install it there"

_FLAGS = ("-std=c++17", "-O0", "-w")
_HEADER = "bits/stdc++.h"
_HEADER_TEXT = f"#pragma once\n#include_next <{_HEADER}>\n"  # read where the precompiled form does not fit
_PREPARED = "cpp-header"
_WORTH_IT = 5  # number of programs that gain as much time as the header costs to make
# Only blanks, comments and other headers may come before it: then it can come first without changing the program.
_HEADER_EARLY = re.compile(
    r"(?:\s|//[^\n\\]*\n|/\*(?:[^*]|\*(?!/))*+\*/|#[ \t]*include[ \t]*<(?!bits/stdc\+\+\.h>)[\w./+]+>)*+"
    r"#[ \t]*include[ \t]*<bits/stdc\+\+\.h>"
)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<([\w+-]*[./][\w./+-]*)>", re.MULTILINE)  # except C++'s headers
_COMPILE_FACTOR = 3  # compilation may take this many time limits
_COMPILER_MB = 2048
_MAIN = re.compile(r"\bint\s+main\s*\(")
_MAIN_END = re.compile(r"(return\s+0\s*;\s*)?\}\s*$")
# The first initialiser of all takes one half of the nonce from stdin, and the tests' last statement writes both; the
# names cannot be guessed. They call the kernel directly, because a solution may define its own `read` or `puts`.
_NONCE = """\
static char {name}[33];
static long {name}_call(bool write, long file, const char* at, long size) {{
#if defined(__x86_64__)
long result;
__asm__ volatile("syscall" : "=a"(result) : "0"(write ? 1L : 0L), "D"(file), "S"(at), "d"(size)
: "rcx", "r11", "memory");
return result;
#elif defined(__aarch64__)
register long call __asm__("x8") = write ? 64 : 63, first __asm__("x0") = file;
register long to __asm__("x1") = (long)at, most __asm__("x2") = size;
__asm__ volatile("svc 0" : "+r"(first) : "r"(call), "r"(to), "r"(most) : "memory");
return first;
#else
#error "no system call for this machine"
#endif
}}
__attribute__((constructor(0))) static void {name}_take() {{
for (long n = 0, m; n < 32; n += m) if ((m = {name}_call(false, 0, {name} + n, 32 - n)) <= 0) break;
{name}[32] = '\\n';
}}
#line 1
"""
_ASSERT = "\n#undef NDEBUG\n#include <cassert>\n"  # a solution may not switch the tests' assert off


def fault(item: dict, quiet: bool) -> str | None:
    if found := text_fault(item, "prompt", "test"):
        return found
    whole = _MAIN.search(item["test"]) and _MAIN_END.search(item["test"])
    return None if whole else "a C++ `test` must end with the end of `int main()`"


def libraries(item: dict) -> dict[str, str]:
    """Include directive -> header, for each header that the prompt and the tests include."""
    headers = _INCLUDE.findall(without_comments(f"{program_start(item)}\n{item['test']}"))
    return {f"#include <{header}>": header for header in headers if header != _HEADER}


def prepare(programs: list[tuple[dict, str]], tools: dict[str, Path]) -> dict[str, Path]:
    """The precompiled header, if enough of the (item, completion) pairs use it or if it exists already."""
    users = sum(bool(_HEADER_EARLY.match(program_start(item) + completion)) for item, completion in programs)
    if not users:
        return {}

    def make(place: Path) -> None:
        source = place / _HEADER
        source.parent.mkdir()
        source.write_text(_HEADER_TEXT)
        command = [tools["g++"], *_FLAGS, "-x", "c++-header", source, "-o", f"{source}.gch"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    made = prepared(
        _PREPARED, [*tool_identity(tools["g++"]), *_FLAGS, _HEADER_TEXT], make if users >= _WORTH_IT else None
    )
    return {_PREPARED: made} if made else {}


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    start, end = _MAIN.search(item["test"]), _MAIN_END.search(item["test"])
    before, body = item["test"][: start.start()], item["test"][start.start() : end.start()]  # before: MultiPL-E's brace
    name = "n" + hashlib.sha256(nonce.encode()).hexdigest()[:16]
    say = f'{name}_call(true, 1, "\\n{nonce}\\n", {len(nonce) + 2});\n{name}_call(true, 1, {name}, 33);'
    test = f"\n{before}{_ASSERT}{body}\n{say}\n{end.group()}\n"
    solution, header = program_start(item) + completion, ()
    if _PREPARED in tools and _HEADER_EARLY.match(solution):
        header = ("-I", str(tools[_PREPARED]), "-include", _HEADER)
    compiler = [str(tools["g++"]), *_FLAGS, *header, "-o", "program", "program.cpp"]
    compilation = {"command": compiler, "timeout": _COMPILE_FACTOR * timeout, "memory_mb": max(memory_mb, _COMPILER_MB)}
    return {
        "files": {"program.cpp": f"{_NONCE.format(name=name)}{solution}{test}"},
        "java": None,
        "steps": [
            compilation,
            {"command": ["./program"], "remove": ["program.cpp"], "timeout": timeout, "memory_mb": memory_mb},
        ],
    }


def verdict(outcome: dict, nonce: str) -> Verdict:
    return program_verdict(outcome, (nonce, outcome["nonce"]), memory_errors=("std::bad_alloc",))
