"""How each language's samples are put together, run and judged: one module for each language, registered here.

A module has `TOOLS` (command -> how to install it), `JAVA` (the tool whose resident compiler is needed, or None),
`fault(item, quiet)` (the fault of a benchmark item, or None), `libraries(item)` (the libraries that its prompt and
tests load: statement -> name), `EMPTY` (tests that hold nothing), `SEES` (a sentence on the libraries that programs
can load), `prepare(programs, tools)` (directories by name that make the (item, completion) pairs run faster, see
`prepared`), `job(item, completion, nonce, tools, timeout, memory_mb)`, where `tools` holds the paths of those
directories too, and `verdict(outcome, nonce)`. Benchmarks that are `quiet` have tests that fail by writing to stderr:
a pass leaves it empty; for all other benchmarks the exit status decides.
"""

import shutil
from pathlib import Path

from submodels.errors import unknown
from submodels.evaluation.runners import cpp, java, javascript, python

LANGUAGES = {"python": python, "java": java, "cpp": cpp, "javascript": javascript}


def language_runner(language: str):
    if language not in LANGUAGES:
        raise unknown("language", language, LANGUAGES)
    return LANGUAGES[language]


def find_tools(language: str) -> dict[str, Path]:
    """The language's tools on this machine by name; missing ones are left out.

    Links are not resolved: a wrapper such as ccache serves many tools and chooses the tool by the link's name.
    """
    paths = {tool: shutil.which(tool) for tool in language_runner(language).TOOLS}
    return {tool: Path(path).absolute() for tool, path in paths.items() if path}


def missing_toolchain(language: str) -> str | None:
    """The missing tools of a language and how to install them; None if nothing is missing."""
    present, tools = find_tools(language), language_runner(language).TOOLS
    missing = [f"{tool} not found; install with: {hint}" for tool, hint in tools.items() if tool not in present]
    return "; ".join(missing) or None


def missing_toolchains() -> dict[str, str]:
    """The languages that cannot run here, each with its missing tools and how to install them."""
    hints = {language: missing_toolchain(language) for language in LANGUAGES}
    return {language: hint for language, hint in hints.items() if hint}
