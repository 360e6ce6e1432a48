"""Verdicts on programs with one bug: those of the stage are those of a plain compiler and interpreter.

Mutants of HumanEval-X's own solutions, one textual change each. The plain run has no sandbox: a file, the command a
person would type, and the exit status (JavaScript: and nothing on stderr).
"""

import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sandbox_support import USERS, need_language, need_sandbox, run

from submodels.benchmarks.adapters import ADAPTERS
from submodels.evaluation.extraction import program_start
from submodels.files import read_jsonl

COUNTS = {"python": 250, "javascript": 150, "java": 55, "cpp": 50}  # by what a plain run costs
FILES = {"python": "python", "javascript": "js", "java": "java", "cpp": "cpp"}
SECONDS = 4  # for a run; compilers get more
MEMORY = 4 << 30  # address space of a plain Python or C++ program: a bug may take all there is

# What is no code, then what a bug may change. Angle brackets with blanks around them are no type parameters.
COMMENTS = {"python": r"#[^\n]*|\"{3}.*?\"{3}|'{3}.*?'{3}"}
LITERALS = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`[^`]*`'
SWAPS = {
    **{"==": "!=", "!=": "==", "===": "!==", "!==": "===", "<=": "<", ">=": ">", " < ": " <= ", " > ": " >= "},
    **{" + ": " - ", " - ": " + ", " * ": " + ", "&&": "||", "||": "&&", " and ": " or ", " or ": " and "},
    **{"True": "False", "False": "True", "true": "false", "false": "true", "+=": "-=", "-=": "+="},
}
SITE = "|".join(re.escape(text) for text in sorted(SWAPS, key=len, reverse=True)) + r"|\b\d+\b(?!\.)"
CONDITION = {"python": r"\bif [^\n]*?:(?=\n)"}
BRACED_CONDITION = r"\bif ?\((?:[^()\n]|\([^()\n]*\))*\)"


def mutants_of(solution: str, language: str) -> list[str]:
    """Every single change that the rules know."""
    comments = COMMENTS.get(language, r"//[^\n]*|/\*.*?\*/")
    condition = CONDITION.get(language, BRACED_CONDITION)
    pieces = re.compile(f"(?P<text>{comments}|{LITERALS})|(?P<condition>{condition})|(?P<site>{SITE})", re.DOTALL)
    found, place = [], 0
    while match := pieces.search(solution, place):
        # The inside of a condition has sites of its own.
        place = match.start() + 2 if match.lastgroup == "condition" else match.end()
        found += [solution[: match.start()] + new + solution[match.end() :] for new in _changes(match, language)]
    return found


def _changes(match: re.Match, language: str) -> list[str]:
    text = match.group()
    if match.lastgroup == "condition":
        return [f"if not ({text[3:-1]}):" if language == "python" else f"if (!{text[2:].strip()})"]
    if match.lastgroup == "site":
        return [SWAPS[text]] if text in SWAPS else [str(int(text) + 1), str(max(int(text) - 1, 0))][: 1 + (text != "0")]
    return []


def test_mutants_by_hand():
    assert mutants_of("    if x == 1: # a < b\n        return 'a + b'\n", "python") == [
        "    if x != 1: # a < b\n        return 'a + b'\n",
        "    if x == 2: # a < b\n        return 'a + b'\n",
        "    if x == 0: # a < b\n        return 'a + b'\n",
    ]
    assert mutants_of("if a < f(0):\n", "python") == ["if not (a < f(0)):\n", "if a <= f(0):\n", "if a < f(1):\n"]
    assert mutants_of("if (f(a) && b) { List<A> x; }", "java") == [
        "if (!(f(a) && b)) { List<A> x; }",
        "if (f(a) || b) { List<A> x; }",
    ]
    assert mutants_of("x += 0.5; // 1", "cpp") == ["x -= 0.5; // 1", "x += 0.6; // 1", "x += 0.4; // 1"]


def draw(items: list[dict], language: str) -> list[tuple[dict, str]]:
    """As many mutants as COUNTS asks for, seeded, no program twice."""
    known = {item["task_id"]: item["canonical_solution"] for item in items}
    every = [(item, text) for item in items for text in dict.fromkeys(mutants_of(known[item["task_id"]], language))]
    drawn = random.Random(f"mutants {language}").sample(every, COUNTS[language])
    assert all(text != known[item["task_id"]] for item, text in drawn)
    return drawn


def test_five_hundred():
    assert sum(COUNTS.values()) >= 500


def command(language: str, directory: Path) -> list[list[str]]:
    """File name, then the commands of a plain run."""
    program = str(directory / "program")
    return {
        "python": [["program.py"], [sys.executable, f"{program}.py"]],
        "javascript": [["program.js"], ["node", f"{program}.js"]],
        "java": [["Main.java"], ["javac", "-d", str(directory), f"{directory}/Main.java"], ["java", "-ea", "Main"]],
        "cpp": [["program.cpp"], ["g++", "-std=c++17", "-w", "-o", program, f"{program}.cpp"], [program]],
    }[language]


def plain(item: dict, completion: str, language: str, limit: float) -> str:
    """passed, failed or timed out."""
    call = f"\ncheck({item['entry_point']})\n" if language == "python" else "\n"
    with tempfile.TemporaryDirectory() as directory:
        (name,), *commands = command(language, Path(directory))
        Path(directory, name).write_text(f"{program_start(item)}{completion}\n{item['test']}{call}", encoding="utf-8")
        for number, arguments in enumerate(commands, start=1):
            seconds = limit if number == len(commands) else 10 * limit
            memory = _limit_memory if language in ("python", "cpp") else None
            settings = {"cwd": directory, "env": os.environ | {"PYTHONHASHSEED": "0"}, "capture_output": True}
            try:
                done = subprocess.run(arguments, timeout=seconds, preexec_fn=memory, check=False, **settings)
            except subprocess.TimeoutExpired:
                return "timed out"
            if done.returncode != 0 or (language == "javascript" and done.stderr):
                return "failed"
    return "passed"


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.mark.real_data
@pytest.mark.exhaustive
@pytest.mark.parametrize("language", COUNTS)
def test_verdicts_are_those_of_a_plain_run(shared, language):
    need_language(language)
    need_sandbox("unshare")
    rows = read_jsonl(shared / f"data/humaneval-x/humaneval_{FILES[language]}.jsonl.gz")
    drawn = draw(ADAPTERS[f"humaneval_x_{language}"](rows), language)
    expected, wrong = compare(language, drawn, SECONDS, workers=2)
    if wrong:  # a busy machine may meet the limit of time in one run and not in the other: these alone, with more
        _, wrong = compare(language, [drawn[number] for number in wrong], 8 * SECONDS, workers=1)
    assert not wrong
    assert {"passed", "failed"} <= set(expected)  # some bugs are never tested; most are found


def compare(language: str, drawn: list[tuple[dict, str]], limit: float, workers: int) -> tuple[list[str], dict]:
    """The plain runs' verdicts, and where those of the stage differ: number -> both, and the program."""
    with ThreadPoolExecutor(workers) as pool:
        expected = list(pool.map(lambda pair: plain(*pair, language, limit), drawn))
    items = list({item["task_id"]: item for item, _ in drawn}.values())
    pairs = [(item["task_id"], text) for item, text in drawn]
    limits = {"quiet": language == "javascript", "timeout": limit, "workers": workers}
    results = run(items, pairs, language, "unshare", USERS[0], **limits)
    stopped = ("timed out", "out of memory")
    return expected, {
        number: (result, should, *pairs[number])
        for number, (result, should) in enumerate(zip(results, expected, strict=True))
        if (result == "passed") != (should == "passed") or (should == "timed out" and result not in stopped)
    }
