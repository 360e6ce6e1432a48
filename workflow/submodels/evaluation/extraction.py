"""From a completion to the part of it that enters the program: pure functions of (completion, item).

An item names its function in `extraction` (default: the whole completion). Applied before execution; sample files keep
the whole completion.
"""

import re
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from submodels.errors import unknown

# Comments and literals, whose braces do not count, and the braces that do; one pattern for C++, Java and JavaScript.
_PIECES = re.compile(
    r"""
      //[^\n]* | /\*.*?(?:\*/|\Z)
    | \"{3}[ \t]*\n.*?\"{3}                              # Java's text block
    | "(?:\\.|[^"\\\n])*"? | (?<!\w)'(?:\\.|[^'\\\n])*'?   # not the ' inside C++'s 1'000
    | `(?:\\.|[^`\\])*`?
    | (?:(?<=[(,=:\[!&|?;{}])|(?<=return))\s*/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/  # JavaScript's regex
    | [{}]
    """,
    re.DOTALL | re.VERBOSE,
)

# What models put around code, in the order in which arXiv 2501.05248's code looks: opening mark, closing marks.
_FENCES = (
    ("```python", ("```",)),
    ("[PY]", ("[/PY]",)),
    ("[PYTHON]", ("[/PYTHON]", "[DONE]")),
    ("[SOL]", ("[/SOL]",)),
    ("```", ("```",)),
    ("[BEGIN]", ("[DONE]",)),
)


def whole(completion: str, item: dict) -> str:
    return completion


def before_stop(completion: str, item: dict) -> str:
    """The text before the first of the item's stop strings (`stop`)."""
    return _before(completion, item["stop"])


def fenced(completion: str, item: dict) -> str:
    """The code between the first pair of marks, or up to the end if no mark closes it; without marks the whole text."""
    for opening, closings in _FENCES:
        _, mark, rest = completion.partition(opening)
        if mark:
            return _before(rest, closings)
    return completion


def closing_brace(completion: str, item: dict) -> str:
    """The text up to the brace that closes the last brace opened by the program's start.

    A Java text that closes its method but not the class, as when it ran into the token limit, is cut after its last
    whole method and the class closed. A text that does not even close its function is left as it is.
    """
    opened = _opened(program_start(item))
    function_end = None
    for end, depth in _depths(completion, opened)[1:]:
        if depth == 0:
            return completion[:end]
        if depth == opened - 1:
            function_end = end
    return completion if function_end is None else completion[:function_end] + "\n" + "}" * (opened - 1)


# What follows a text can change where its pieces end: it may close a text block or a regular expression begun before.
_CLOSERS = ('"""', "/", "]/", "x/", "x]/")


def _before_stop_complete(completion: str, item: dict) -> bool:
    return any(stop in completion for stop in item["stop"])


def _fenced_complete(completion: str, item: dict) -> bool:
    """Only of the first kind of mark: where another kind has been closed, a mark of this kind may still come."""
    opening, closings = _FENCES[0]
    _, mark, rest = completion.partition(opening)
    return bool(mark) and any(closing in rest for closing in closings)


def _closing_brace_complete(completion: str, item: dict) -> bool:
    opened = _opened(program_start(item))

    def end(text: str) -> int | None:
        return next((end for end, depth in _depths(text, opened)[1:] if depth == 0), None)

    found = end(completion)
    return found is not None and all(end(completion + closer) == found for closer in _CLOSERS)


class Extraction(NamedTuple):
    """Both are functions of (completion, item). `complete`: whether text after the completion would change nothing."""

    extract: Callable[[str, dict], str]
    complete: Callable[[str, dict], bool]


EXTRACTIONS = {
    "whole": Extraction(whole, lambda completion, item: False),
    "before_stop": Extraction(before_stop, _before_stop_complete),
    "fenced": Extraction(fenced, _fenced_complete),
    "closing_brace": Extraction(closing_brace, _closing_brace_complete),
}


def extract(completion: str, item: dict) -> str:
    """The part of a completion that enters the item's program; the item has no `fault`."""
    return _of(item).extract(completion, item)


def complete(completion: str, item: dict) -> bool:
    """Whether the part that enters the item's program ends within this completion, whatever would follow it."""
    return _of(item).complete(completion, item)


def _of(item: dict) -> Extraction:
    return EXTRACTIONS[item.get("extraction", "whole")]


def fault(item: dict) -> str | None:
    """The fault of the fields of an item that this module and the stage read, or None."""
    name, stop, timeout = item.get("extraction", "whole"), item.get("stop"), item.get("timeout", 1)
    if name not in EXTRACTIONS:
        return str(unknown("extraction", name, EXTRACTIONS))
    if not isinstance(program_start(item), str):
        return "`program_start` must be a text"
    if name == "before_stop" and not (isinstance(stop, list) and stop and all(isinstance(text, str) for text in stop)):
        return "extraction before_stop needs `stop`, a list of texts"
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        return "`timeout` must be a number of seconds"
    return None


def program_start(item: dict) -> str:
    """The program's text before the completion: the item's `program_start`, else its prompt."""
    return item.get("program_start", item["prompt"])


def without_comments(code: str) -> str:
    """A program in C++, Java or JavaScript without its comments."""
    return _PIECES.sub(lambda piece: " " if piece[0].startswith(("//", "/*")) else piece[0], code)


def _before(text: str, marks: tuple[str, ...] | list[str]) -> str:
    return text[: min((text.index(mark) for mark in marks if mark in text), default=None)]


@cache  # asked at every end of a word while an item's answers are written
def _opened(start: str) -> int:
    """Braces that the program's start leaves open."""
    return _depths(start)[-1][1]


def _depths(text: str, opened: int = 0) -> list[tuple[int, int]]:
    """(end, braces open after it) of every brace of the code; `opened`: braces open before the code."""
    braces = [match for match in _PIECES.finditer(text) if match.group() in ("{", "}")]
    depths = accumulate((1 if brace.group() == "{" else -1 for brace in braces), initial=opened)
    return list(zip([0, *(brace.end() for brace in braces)], depths, strict=True))
