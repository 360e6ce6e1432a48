"""C++: compiled without optimisation, with the headers at the program's start precompiled (`cpp_headers`), then run.

GNU gold, which most binutils bring, links such a program in 20 ms, the usual linker in 60 ms. A program that gold does
not link, or that finds no gold, is linked by the usual linker, whose word counts.
"""

import hashlib
import re
from pathlib import Path

from submodels.benchmarks.metrics.base import text_fault
from submodels.evaluation.extraction import program_start, without_comments
from submodels.evaluation.runners import cpp_headers
from submodels.evaluation.runners.verdicts import program_verdict
from submodels.verdict import Verdict

TOOLS = {"g++": "apt-get install g++"}
JAVA = None
EMPTY = "int main() {\n}\n"
SEES = "Programs see only the headers under /usr: install it there"

_FLAGS = ("-std=c++17", "-O0", "-w")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<([\w+-]*[./][\w./+-]*)>", re.MULTILINE)  # except C++'s headers
_LINK = '"$0" -fuse-ld=gold -o program program.o 2>/dev/null || exec "$0" -o program program.o'
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
    return {f"#include <{header}>": header for header in headers if header != cpp_headers.WHOLE_LIBRARY}


def prepare(programs: list[tuple[dict, str]], tools: dict[str, Path]) -> dict[str, Path]:
    """Precompiled headers for the (item, completion) pairs."""
    blocks = (cpp_headers.block(program_start(item) + completion) for item, completion in programs)
    return cpp_headers.prepare(blocks, tools["g++"], _FLAGS)


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    start, end = _MAIN.search(item["test"]), _MAIN_END.search(item["test"])
    before, body = item["test"][: start.start()], item["test"][start.start() : end.start()]  # before: MultiPL-E's brace
    name = "n" + hashlib.sha256(nonce.encode()).hexdigest()[:16]
    say = f'{name}_call(true, 1, "\\n{nonce}\\n", {len(nonce) + 2});\n{name}_call(true, 1, {name}, 33);'
    test = f"\n{before}{_ASSERT}{body}\n{say}\n{end.group()}\n"
    solution = program_start(item) + completion
    header = cpp_headers.options(solution, tools)
    gcc, limits = str(tools["g++"]), {"timeout": _COMPILE_FACTOR * timeout, "memory_mb": max(memory_mb, _COMPILER_MB)}
    return {
        "files": {"program.cpp": f"{_NONCE.format(name=name)}{solution}{test}"},
        "java": None,
        "steps": [
            {"command": [gcc, *_FLAGS, *header, "-c", "program.cpp"]} | limits,
            {"command": ["/bin/sh", "-c", _LINK, gcc]} | limits,
            {
                "command": ["./program"],
                "remove": ["program.cpp", "program.o"],
                "timeout": timeout,
                "memory_mb": memory_mb,
            },
        ],
    }


def verdict(outcome: dict, nonce: str) -> Verdict:
    return program_verdict(outcome, (nonce, outcome["nonce"]), memory_errors=("std::bad_alloc",))
