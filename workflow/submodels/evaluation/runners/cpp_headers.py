"""Precompiled headers for C++ programs: the standard headers at a program's start, compiled once on a machine.

Reading its headers is most of a program's compilation. A program's *block* is the list of standard headers that it
includes before anything but comments. GCC reads a precompiled header only at the very start of a program. One that
holds the block, or a beginning of it, in the program's order, does not change the program, which would begin with the
same text. Everything else is compiled as it stands: a program that lacks an include still lacks it.

The headers are compiled outside the sandbox, so their names come from a list: no text of a benchmark or a model does.

HumanEval-X's ten headers take 1.2 s and 36 MB to make and save each program 0.3 s; <bits/stdc++.h> takes 4.4 s and
101 MB and saves 1.1 s. A job makes at most 16: for HumanEval-X 0.6 GB, which serve 161 of its 164 problems, and never
more than 1.6 GB.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from submodels import files
from submodels.evaluation.prepared import prepared, tool_identity
from submodels.evaluation.sandbox.layout import clean_environment

PREPARED = "cpp-headers"
HEADER = "headers.h"  # read where the precompiled form beside it does not fit
WORTH_IT = 5  # number of programs that gain as much time as a header costs to make
MOST = 16  # headers for one job; they fill a disk and take one mount each in every sandbox

WHOLE_LIBRARY = "bits/stdc++.h"
# Headers of C++17 and of C, three of POSIX that often stand among them, and GCC's header of all. They are part of the
# compiler and of the C library, so this machine's owner trusts them already.
_STANDARD = """
    algorithm any array atomic bitset charconv chrono codecvt complex condition_variable deque exception
    filesystem forward_list fstream functional future initializer_list iomanip ios iosfwd iostream istream iterator
    limits list locale map memory memory_resource mutex new numeric optional ostream queue random ratio regex
    scoped_allocator set shared_mutex sstream stack stdexcept streambuf string string_view system_error thread tuple
    type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector
    cassert cctype cerrno cfenv cfloat cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio
    cstdlib cstring ctime cuchar cwchar cwctype
    assert.h ctype.h errno.h fenv.h float.h inttypes.h limits.h locale.h math.h setjmp.h signal.h stdarg.h stdbool.h
    stddef.h stdint.h stdio.h stdlib.h string.h time.h uchar.h wchar.h wctype.h
    sys/time.h sys/types.h unistd.h
    bits/stdc++.h
"""
STANDARD = frozenset(_STANDARD.split())
# A line at the start of a program: blanks, comments, perhaps an include, and then nothing but a // comment. A backslash
# can join lines, and for GCC a lone "\r" ends one, so that a comment ends elsewhere than it seems: it ends the block.
_COMMENT = r"/\*(?:[^*\\]|\\(?!\s)|\*(?!/))*+\*/"
_LINE = re.compile(
    rf"(?:[ \t]|{_COMMENT})*+"
    r"(?:#[ \t]*include[ \t]*<(?P<header>[\w./+]+)>[ \t]*)?"
    r"(?://[^\r\n\\]*)?(?:\r?\n|\Z)"
)


def block(program: str) -> tuple[str, ...]:
    """The standard headers that the program includes at its start, in order, each once; no more than that it has."""
    names, position = {}, 0
    while position < len(program) and (line := _LINE.match(program, position)):
        position = line.end()
        if line["header"] is None:
            continue
        if line["header"] not in STANDARD:
            break
        names[line["header"]] = None
        if line["header"] == WHOLE_LIBRARY:  # what follows adds nothing that takes time
            break
    return tuple(names)


def prepare(blocks: Iterable[tuple[str, ...]], gcc: Path, flags: Iterable[str]) -> dict[str, Path]:
    """Directories by name: the headers of the most frequent blocks that pay off, or that exist already.

    blocks: one for each program; `gcc` and `flags` are those that compile the programs.
    """
    made_by = [*tool_identity(gcc), *flags]

    def made(names: tuple[str, ...], users: int) -> Path | None:
        text = "".join(f"#include <{name}>\n" for name in names)

        def make(place: Path) -> None:
            (place / HEADER).write_text(text)
            command = [gcc, *flags, "-x", "c++-header", place / HEADER, "-o", place / f"{HEADER}.gch"]
            environment = clean_environment([gcc])  # that of the sandbox: variables can name other directories
            subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)

        return prepared(name_of(names), [*made_by, text], make if users >= WORTH_IT else None)

    frequent = [(names, users) for names, users in Counter(blocks).most_common(MOST + 1) if names][:MOST]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        places = list(pool.map(lambda pair: made(*pair), frequent))
    return {name_of(names): place for (names, _), place in zip(frequent, places, strict=True) if place}


def options(program: str, places: dict[str, Path]) -> tuple[str, ...]:
    """The compiler's options that put the program's block first, or the longest beginning of it that is in `places`."""
    names = block(program)
    for length in range(len(names), 0, -1):
        if place := places.get(name_of(names[:length])):
            return "-include", f"{place}/{HEADER}"
    return ()


def name_of(names: tuple[str, ...]) -> str:
    """The name of a block's directory."""
    return f"{PREPARED}-{files.fingerprint(names)[:16]}"
