"""Code translation with HumanEval-X: a problem solved in one language, to be solved in another language.

The rows are those of both languages. The model reads the whole function in the first language and the declaration in
the second, without the problem's text; the tests are those of the second language.
"""

from functools import partial
from itertools import permutations

from submodels.benchmarks.adapters import humaneval_x
from submodels.benchmarks.adapters.rows import each
from submodels.errors import SubmodelsError

NAMES = {"python": "Python", "java": "Java", "cpp": "C++", "javascript": "JavaScript"}

# Problems of the target language that are faulty in addition to humaneval_x.FAULTY.
FAULTY = {"Python/142": "its declaration ends inside a text"}


def items(rows, source: str, target: str) -> list[dict]:
    """Items `<source>_to_<target>/N`; SubmodelsError where one language lacks a problem of the other."""
    sides = {
        language: {_number(row): row for row in rows if humaneval_x.language_of(row) == language}
        for language in (source, target)
    }
    if sides[source].keys() != sides[target].keys():
        lacking = sorted(sides[source].keys() ^ sides[target].keys(), key=int)[0]
        raise SubmodelsError(f"problem {lacking} exists in only one of {source} and {target}; give the rows of both")
    return each(sides[target].values(), lambda row: _item(sides[source][_number(row)], row, source, target))


def _number(row: dict) -> str:
    return row["task_id"].partition("/")[2]


def _item(solution: dict, problem: dict, source: str, target: str) -> dict:
    solved = (solution["declaration"] + solution["canonical_solution"]).strip("\n")
    declaration = problem["declaration"].lstrip("\n")
    prompt = f"{NAMES[source]}:\n{solved}\n\nThe same in {NAMES[target]}:\n{declaration}"
    item = {"faulty": FAULTY[problem["task_id"]]} if problem["task_id"] in FAULTY else {}
    item |= humaneval_x.program(problem, declaration)
    return item | {"task_id": f"{source}_to_{target}/{_number(problem)}", "prompt": prompt}


PAIRS = {f"{source}_to_{target}": (source, target) for source, target in permutations(NAMES, 2)}
ADAPTERS = {name: partial(items, source=source, target=target) for name, (source, target) in PAIRS.items()}
FIXTURES = {name: partial(humaneval_x.fixture, *pair) for name, pair in PAIRS.items()}
