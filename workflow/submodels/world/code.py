"""Domains python, java, cpp and javascript: the same short functions, with a comment, in four languages.

A problem is (family, subject, constants): `("add", "price", (7,))` is "Add 7 to price." in every language. The
subject names the argument and, behind the family's verb, the function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import Template

SUBJECTS = [
    "price",
    "score",
    "weight",
    "age",
    "height",
    "speed",
    "width",
    "level",
    "salary",
    "distance",
    "volume",
    "power",
    "length",
    "depth",
    "balance",
    "fuel",
]


@dataclass(frozen=True)
class Family:
    """One kind of function.

    `python` and `braces` are bodies, a line each; `$x` is the argument, `$a` and `$b` are the constants, and the other
    names are the pieces of a language (see `Language.pieces`). The tests are computed with `solve(x, *constants)` on
    the arguments `inputs(*constants)`.
    """

    verb: str
    comment: str
    argument: str
    result: str
    constants: tuple[range, ...]
    python: tuple[str, ...]
    braces: tuple[str, ...]
    solve: Callable
    inputs: Callable


def _expression(verb, comment, result, constants, expression, solve, inputs, argument="int") -> Family:
    """A family whose body is one `return`, written alike in all languages except `==`."""
    python = f"return {Template(expression).safe_substitute(same='==')}"
    return Family(verb, comment, argument, result, constants, (python,), (f"return {expression};",), solve, inputs)


_NUMBERS = range(2, 21)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"

FAMILIES = {
    "add": _expression(
        "add", "Add $a to $x.", "int", (_NUMBERS,), "$x + $a",
        lambda x, a: x + a, lambda a: [0, 5, a]
    ),
    "subtract": _expression(
        "reduce", "Subtract $a from $x.", "int", (_NUMBERS,), "$x - $a",
        lambda x, a: x - a, lambda a: [0, 50, a]
    ),
    "multiply": _expression(
        "scale", "Multiply $x by $a.", "int", (_NUMBERS,), "$x * $a",
        lambda x, a: x * a, lambda a: [0, 1, 7]
    ),
    "linear": _expression(
        "convert", "Multiply $x by $a and add $b.", "int", (range(2, 10), _NUMBERS), "$x * $a + $b",
        lambda x, a, b: x * a + b, lambda a, b: [0, 1, 6]
    ),
    "greater": _expression(
        "check", "Check if $x is greater than $a.", "bool", (_NUMBERS,), "$x > $a",
        lambda x, a: x > a, lambda a: [a - 1, a, a + 1]
    ),
    "divisible": _expression(
        "divide", "Check if $x is divisible by $a.", "bool", (_NUMBERS,), "$x % $a $same 0",
        lambda x, a: x % a == 0, lambda a: [a, a + 1, 3 * a]
    ),
    "take": Family(
        "take", "Keep the first $a letters of $x.", "str", "str", (range(2, 10),),
        ("return $x[:$a]",), ("return $x$part(0, $a);",),
        lambda x, a: x[:a], lambda a: [_ALPHABET[:a], _ALPHABET[: a + 3]]
    ),
    "skip": Family(
        "skip", "Drop the first $a letters of $x.", "str", "str", (range(2, 10),),
        ("return $x[$a:]",), ("return $x$part($a);",),
        lambda x, a: x[a:], lambda a: [_ALPHABET[:a], _ALPHABET[: a + 3]]
    ),
    "limit": Family(
        "limit", "Return $x, but at most $a.", "int", "int", (_NUMBERS,),
        ("if $x > $a:", "    return $a", "return $x"),
        ("if ($x > $a) {", "    return $a;", "}", "return $x;"),
        lambda x, a: min(x, a), lambda a: [a - 1, a, a + 3]
    ),
    "repeat": Family(
        "repeat", "Add $a to the total $x times.", "int", "int", (_NUMBERS,),
        ("total = 0", "for i in range($x):", "    total += $a", "return total"),
        ("$int total = 0;", "for ($int i = 0; i < $x; i++) {", "    total += $a;", "}", "return total;"),
        lambda x, a: x * a, lambda a: [0, 1, 4]
    ),
    "sum": Family(
        "sum", "Sum the values of $x, starting at $a.", "ints", "int", (_NUMBERS,),
        ("total = $a", "for value in $x:", "    total += value", "return total"),
        ("$int total = $a;", "for ($value $of $x) {", "    total += value;", "}", "return total;"),
        lambda x, a: a + sum(x), lambda a: [[1], [2, 5, 9]]
    ),
    "count": Family(
        "count", "Count the values of $x greater than $a.", "ints", "int", (_NUMBERS,),
        ("count = 0", "for value in $x:", "    if value > $a:", "        count += 1", "return count"),
        (
            "$int count = 0;", "for ($value $of $x) {", "    if (value > $a) {", "        count++;", "    }", "}",
            "return count;",
        ),
        lambda x, a: sum(value > a for value in x), lambda a: [[a], [a + 1, a - 1, a + 2], [0, 90]]
    ),
}  # fmt: skip


def draw(random: Random) -> tuple:
    """A problem: (family, subject, constants)."""
    name = random.choice(sorted(FAMILIES))
    constants = tuple(random.choice(values) for values in FAMILIES[name].constants)
    return name, random.choice(SUBJECTS), constants


@dataclass(frozen=True)
class Language:
    """How one language writes a function and its test.

    `opening` and `closing` wrap the body, `indent` begins each of its lines; `types` are the names of the argument and
    result types, `pieces` fill the placeholders in the bodies of `Family`, `check` is one test of a call.
    """

    opening: str
    closing: str
    indent: str
    types: dict[str, str]
    pieces: dict[str, str]
    body: str
    camel_case: bool
    literal: Callable
    check: Callable
    test: str


def _plain_literal(value) -> str:
    """A boolean, number or string as C++, Java and JavaScript write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _list_literal(opening: str, closing: str) -> Callable:
    def literal(value) -> str:
        if isinstance(value, list):
            return opening + ", ".join(map(str, value)) + closing
        return _plain_literal(value)

    return literal


def _check_java(call: str, expected, literal: Callable) -> str:
    equal = f"{call}.equals({literal(expected)})" if isinstance(expected, str) else f"{call} == {literal(expected)}"
    return f"        if (!(Solution.{equal})) throw new AssertionError();\n"


LANGUAGES = {
    "python": Language(
        opening='def $function($x):\n    """$comment"""\n',
        closing="",
        indent="    ",
        types={"int": "", "ints": "", "str": "", "bool": ""},
        pieces={},
        body="python",
        camel_case=False,
        literal=repr,
        check=lambda call, expected, literal: f"    assert {call} == {literal(expected)}\n",
        test="def check(candidate):\n$checks",
    ),
    "java": Language(
        opening="class Solution {\n    // $comment\n    static $result $function($argument $x) {\n",
        closing="    }\n}\n",
        indent="        ",
        types={"int": "int", "ints": "int[]", "str": "String", "bool": "boolean"},
        pieces={"int": "int", "value": "int value", "of": ":", "same": "==", "part": ".substring"},
        body="braces",
        camel_case=True,
        literal=_list_literal("new int[] {", "}"),
        check=_check_java,
        test="public class Main {\n    public static void main(String[] arguments) {\n$checks    }\n}\n",
    ),
    "cpp": Language(
        opening="$include// $comment\n$result $function($argument $x) {\n",
        closing="}\n",
        indent="    ",
        types={"int": "int", "ints": "vector<int>", "str": "string", "bool": "bool"},
        pieces={"int": "int", "value": "int value", "of": ":", "same": "==", "part": ".substr"},
        body="braces",
        camel_case=False,
        literal=_list_literal("{", "}"),
        check=lambda call, expected, literal: f"    assert({call} == {literal(expected)});\n",
        test="#include <cassert>\nint main() {\n$checks}\n",
    ),
    "javascript": Language(
        opening="// $comment\nfunction $function($x) {\n",
        closing="}\n",
        indent="    ",
        types={"int": "", "ints": "", "str": "", "bool": ""},
        pieces={"int": "let", "value": "const value", "of": "of", "same": "===", "part": ".slice"},
        body="braces",
        camel_case=True,
        literal=_list_literal("[", "]"),
        check=lambda call, expected, literal: f"console.assert({call} === {literal(expected)});\n",
        test="$checks",
    ),
}
_CPP_HEADERS = {"vector<int>": "vector", "string": "string"}


def item(problem: tuple, language: str) -> dict:
    """The benchmark row of a problem in one language, HumanEval's fields without `task_id`."""
    name, subject, constants = problem
    family, style = FAMILIES[name], LANGUAGES[language]
    function = family.verb + (subject.capitalize() if style.camel_case else f"_{subject}")
    argument = style.types[family.argument]
    names = {"x": subject, "function": function} | style.pieces | dict(zip("ab", map(str, constants), strict=False))
    header = _CPP_HEADERS.get(argument)
    prompt = Template(style.opening).substitute(
        names,
        comment=Template(family.comment).substitute(names),
        argument=argument,
        result=style.types[family.result],
        include=f"#include <{header}>\nusing namespace std;\n" if header else "",
    )
    lines = [Template(line).substitute(names) for line in getattr(family, style.body)]
    body = "".join(f"{style.indent}{line}\n" for line in lines)
    called = "candidate" if language == "python" else function
    checks = ""
    for value in family.inputs(*constants):
        call = f"{called}({style.literal(value)})"
        checks += style.check(call, family.solve(value, *constants), style.literal)
    return {
        "language": language,
        "prompt": prompt,
        "canonical_solution": body + style.closing,
        "test": Template(style.test).substitute(checks=checks),
        "entry_point": function,
    }


def document(problem: tuple, language: str) -> tuple[str, str]:
    """Prompt and completion."""
    row = item(problem, language)
    return row["prompt"], row["canonical_solution"]
