"""Which standard headers a C++ program begins with, that GCC agrees, and that precompiling them changes no program."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from sandbox_support import need_language, need_sandbox

from submodels import files
from submodels.evaluation.execute import execute
from submodels.evaluation.runners import cpp, cpp_headers
from submodels.evaluation.runners.cpp_headers import block, name_of, options

BLOCKS = {  # the start of a program -> its block
    "": "",
    "int x;\n": "",
    "#include <vector>": "vector",
    "#include<vector>\n#  include\t<math.h>  \n\n": "vector math.h",
    "#include <math.h>\n#include <vector>\nint x;\n#include <map>\n": "math.h vector",
    "#include <set>\n#include <cassert>\n#include <set>\n#include <map>\n#include <cassert>": "set cassert map",
    "#include <map>\r\n#include <set>\r\n": "map set",
    # What is not standard ends the block, whatever it is called.
    "#include <vector>\n#include <boost/any.hpp>\n#include <map>\n": "vector",
    "#include <vector>\n#include <../c++/12/map>\n": "vector",
    "#include </etc/passwd>\n": "",
    "#include </usr/include/stdio.h>\n": "",
    "#include <execution>\n#include <map>\n": "",
    '#include <vector>\n#include "map"\n': "vector",
    "#include < vector>\n": "",
    "#include <vector >\n": "",
    # Nothing that follows the whole library takes time.
    "#include <assert.h>\n#include <bits/stdc++.h>\n#include <vector>\n": "assert.h bits/stdc++.h",
    # Code and directives end it: macros may change the headers after them.
    "#define NDEBUG\n#include <cassert>\n": "",
    "#include <vector>\n#define NDEBUG\n#include <cassert>\n": "vector",
    "#include <vector>\n#undef assert\n#include <cassert>\n": "vector",
    "#include <vector>\nusing namespace std;\n#include <map>\n": "vector",
    "#if 0\n#include <vector>\n#endif\n": "",
    "#include <vector>\n#ifdef X\n#include <map>\n#endif\n": "vector",
    "#pragma GCC optimize(3)\n#include <vector>\n": "",
    "#pragma once\n#include <vector>\n": "",
    "#include_next <vector>\n": "",
    "#import <vector>\n": "",
    "#include MAP\n#include <vector>\n": "",
    "#line 7\n#include <vector>\n": "",
    # An include ends with its line.
    "#include <vector> #include <map>\n#include <set>\n": "",
    "#include <vector> // #include <map>\n#include <set>\n": "vector set",
    "#include <vector> /* a word */\n#include <map>\n": "",
    "#include <vector> /* one\n*/ #include <map>\n": "",
    "#include <vector>;\n": "",
    "x #include <vector>\n": "",
    "#include \\\n<vector>\n": "",
    "#include <vec\\\ntor>\n": "",
    "#include <vector> \\\n#include <map>\n": "",
    "#include <vector>\\": "",
    # Comments, and what only looks like one
    "/* a */ /* b\n * c **/ // d\n /***/ #include <vector>\n/**/\n#include <map>//": "vector map",
    "// #include <vector>\n#include <map>\n": "map",
    "/* #include <vector>\n*/ #include <map>\n": "map",
    "/*/ #include <vector>\n/*/\n#include <map>\n": "map",
    '/* ">>> f("\\n")" // */\n#include <map>\n': "map",
    "/* a \\\n b */\n#include <map>\n": "",
    "/* a *\\\n/\n#define NDEBUG\n/* */\n#include <cassert>\n": "",
    "/* a *\\ \n/\nint x; /* */\n#include <map>\n": "",
    "/* a *??/\n/\n#include <vector>\n/* */\n#include <map>\n": "map",  # C++17 has no trigraphs
    "// a \\\n#include <vector>\n": "",
    "// a \\ \n#include <vector>\n": "",
    "// a \\\r\n#include <vector>\n": "",
    "// a\r\n#include <vector>\n": "vector",
    "// a\r#define NDEBUG\n#include <cassert>\n": "",  # a line of its own for GCC
    "// a ??/\n#include <vector>\n": "vector",
    "/\\\n/ a\n#include <vector>\n": "",
    "/\\\n* a */\n#include <vector>\n": "",
    "/* never closed\n#include <vector>\n": "",
    "*/\n#include <vector>\n": "",
    '"\n#include <vector>\n"': "",
    'R"(\n#include <vector>\n)"': "",
    "%:include <vector>\n#include <map>\n": "",
    "??=include <vector>\n#include <map>\n": "",
    "#/**/include <vector>\n": "",
    "\ufeff#include <vector>\n": "",
    "\u00a0#include <vector>\n": "",
    "\x1c#include <vector>\n": "",
    "\r#include <vector>\n": "",
    "#include <vector>\r#include <map>\n#include <set>\n": "",
    "#include <vector>\x0b\n": "",
}


def test_the_block_of_a_program():
    found = {start: block(start) for start in BLOCKS}
    assert found == {start: tuple(names.split()) for start, names in BLOCKS.items()}


@pytest.mark.parametrize(
    "many", ["/*" + "*" * 100_000, "\n" * 100_000, "/**/" * 100_000, " " * 100_000, "\\\n" * 100_000]
)
def test_long_starts_take_no_longer_than_their_length(many):
    assert block(many + "#") == ()
    assert block(f"/* {many.replace('*/', '')} */#include <map>")[1:] == ()


def read_by_gcc(starts: list[str], tmp_path: Path) -> list[list[str]]:
    """The words of each text after GCC has preprocessed it, where each header holds its own name, after a `:`."""
    headers = tmp_path / "headers"
    for name in [*cpp_headers.STANDARD, "boost/any.hpp"]:
        (headers / name).parent.mkdir(parents=True, exist_ok=True)
        (headers / name).write_text(f":{name}\n")
    texts = []
    for number, start in enumerate(starts):
        path = tmp_path / f"{number}.cpp"
        path.write_text(f"begin\n#line 1\n{start}\nend\n", newline="")
        command = ["g++", *cpp._FLAGS, "-nostdinc", "-nostdinc++", "-I", headers, "-E", "-P", path]
        said = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
        texts.append(said.stdout.split())
    return texts


def agrees(names: tuple[str, ...], words: list[str]) -> bool:
    """Whether a preprocessed program begins with these headers, in this order; one may come again."""
    found = []
    for word in words[1:]:  # after `begin`
        if not word.startswith(":"):
            break
        found.append(word[1:])
    return tuple(dict.fromkeys(found))[: len(names)] == names


def test_gcc_finds_the_same_headers_first(tmp_path):
    need_language("cpp")
    starts = [start for start in BLOCKS if "/etc/" not in start and "/usr/" not in start]
    wrong = [
        start
        for start, words in zip(starts, read_by_gcc(starts, tmp_path), strict=True)
        if not agrees(block(start), words)
    ]
    assert not wrong
    # The check can fail.
    (words,) = read_by_gcc(["#include <vector> #include <map>\n"], tmp_path)
    assert agrees(("vector",), words)
    assert not agrees(("vector", "map"), words)


def test_gcc_finds_the_same_headers_first_in_random_texts(tmp_path):
    need_language("cpp")
    pieces = [
        *'\n\r\t /*\\"#',
        "//",
        "/*",
        "*/",
        "\\\n",
        "\\ \n",
        "??/\n",
        "*\\\n/",
        "/\\\n/",
        "/* a */",
        "// b\n",
        "\r\n",
    ]
    pieces += ["<set>", "#include <vector>", "\n# include <math.h>", "#define vector\n", "int x;", "%:include"]
    pieces += ["#include<map>\n", "\n#include <cassert>\n", "#include <boost/any.hpp>\n"]
    pick = random.Random(0)
    starts = ["".join(pick.choices(pieces, k=pick.randint(1, 10))) for _ in range(400)]
    assert sum(block(start) != () for start in starts) > 40
    wrong = [
        start
        for start, words in zip(starts, read_by_gcc(starts, tmp_path), strict=True)
        if not agrees(block(start), words)
    ]
    assert not wrong


def test_a_header_that_comes_again_adds_nothing():
    """So a program may read its own includes after the precompiled ones."""
    need_language("cpp")
    once = "".join(f"#include <{name}>\n" for name in sorted(cpp_headers.STANDARD))
    commands = [["g++", *cpp._FLAGS, "-x", "c++", "-", "-E", option] for option in ("-P", "-dM")]
    for command in commands:
        texts = [
            subprocess.run(command, input=source, check=True, capture_output=True, text=True).stdout.split()
            for source in (once, once + once)
        ]
        assert texts[0] == texts[1]


def test_the_longest_beginning_of_the_block_is_used():
    program = "#include <vector>\n#include <map>\n#include <set>\n"
    places = {name_of(("vector",)): Path("/a"), name_of(("vector", "map")): Path("/b"), name_of(("map",)): Path("/c")}
    assert options(program, places) == ("-include", "/b/headers.h")
    assert options("#include <vector>\n#include <set>\n#include <map>\n", places) == ("-include", "/a/headers.h")
    assert options("#include <set>\n#include <vector>\n", places) == ()
    assert options("", places) == ()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    need_language("cpp")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "submodels"


def test_the_most_frequent_blocks_that_pay_off(cache, monkeypatch):
    gcc = Path(shutil.which("g++"))
    monkeypatch.setattr(cpp_headers, "MOST", 2)
    blocks = [("cstdio",)] * 6 + [("cctype",)] * 5 + [("cerrno",)] * 5 + [()] * 9 + [("climits",)]
    made = cpp_headers.prepare(blocks, gcc, cpp._FLAGS)
    assert list(made) == [name_of(("cstdio",)), name_of(("cctype",))]
    place = made[name_of(("cstdio",))]
    assert (place / "headers.h").read_text() == "#include <cstdio>\n"
    assert sorted(path.name for path in place.iterdir()) == ["headers.h", "headers.h.gch"]
    # One that exists is used, however few programs need it; other flags are another header.
    assert cpp_headers.prepare([("cstdio",), ("cerrno",)], gcc, cpp._FLAGS) == {name_of(("cstdio",)): place}
    assert cpp_headers.prepare([("cstdio",)], gcc, ["-std=c++14"]) == {}
    assert len(list(cache.iterdir())) == 2


def test_the_environment_adds_no_headers(cache, tmp_path, monkeypatch):
    """Variables of the user's shell hold outside the sandbox only."""
    for variable in ("CPATH", "CPLUS_INCLUDE_PATH"):
        monkeypatch.setenv(variable, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "cstdio").write_text("#error not this\n")
    assert cpp_headers.prepare([("cstdio",)] * 5, Path(shutil.which("g++")), cpp._FLAGS)


def test_one_that_cannot_be_made_is_gone_without(cache, capsys):
    gcc = Path(shutil.which("false"))
    assert cpp_headers.prepare([("cstdio",)] * 5, gcc, cpp._FLAGS) == {}
    assert "samples take longer without it" in capsys.readouterr().err


ITEM = {"prompt": "", "test": "int main() {\n    assert(f(2) == 4);\n    return 0;\n}\n"}
VECTOR = "int f(int x) { std::vector<int> v(x, 2); return v[0] + v[1]; }\n"
ASSERT = "int f(int x) { assert(x == 3); return 4; }\n"
PROGRAMS = {  # with its headers precompiled a program gets the verdict that it gets without
    "#include <vector>\n" + VECTOR: "passed",
    "#include <cstdio>\n" + VECTOR: "compile error",
    "#include <cstdio>\n" + VECTOR + "#include <vector>\n": "compile error",
    "#include <cstdio>\nint x;\n#include <vector>\n" + VECTOR: "passed",
    "#include <vector> #include <cstdio>\nint f(int x) { puts(0); return 4; }\n": "compile error",
    "#include <cstdio>\n#define std other\n#include <vector>\n" + VECTOR: "compile error",
    "#include <cassert>\n" + ASSERT: "failed",
    "#include <cassert>\n#define NDEBUG\n#include <cassert>\n" + ASSERT: "passed",
    "#include <cassert>\n#define NDEBUG\n" + ASSERT: "failed",
    "#define NDEBUG\n#include <cassert>\n" + ASSERT: "passed",
    "#include <cassert>\n#undef assert\nint assert(int x) { return x; }\nint f(int) { return assert(4); }\n": "passed",
    "#include <cstdio>\nint g(int);\nint f(int x) { return g(x); }\n": "compile error",
    "#include <cstdio>\nint x = __LINE__; int f(int) { return x * 2; }\n": "passed",
}


def results(tmp_path) -> list[str]:
    items = [{"task_id": str(number)} | ITEM for number in range(len(PROGRAMS))]
    rows = [{"task_id": str(number), "completion": text} for number, text in enumerate(PROGRAMS)]
    files.write_jsonl(tmp_path / "items.jsonl", items)
    files.write_jsonl(tmp_path / "samples.jsonl", rows)
    execute(tmp_path / "items.jsonl", "cpp", tmp_path / "samples.jsonl", tmp_path / "out.jsonl", sandbox="unshare")
    return [row["result"] for row in files.read_jsonl(tmp_path / "out.jsonl")]


def test_verdicts_stay_as_they_are(cache, tmp_path, monkeypatch):
    need_sandbox("unshare")
    monkeypatch.setattr(cpp_headers, "WORTH_IT", len(PROGRAMS))
    plain = results(tmp_path)
    assert not cache.exists()
    assert dict(zip(PROGRAMS, (result.partition(":")[0] for result in plain), strict=True)) == PROGRAMS
    assert any("undefined reference to `g(int)'" in result for result in plain)  # the usual linker's words
    monkeypatch.setattr(cpp_headers, "WORTH_IT", 1)
    assert results(tmp_path) == plain
    assert len(list(cache.iterdir())) == 3
