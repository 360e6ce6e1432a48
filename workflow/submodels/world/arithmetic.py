"""Domains math (word problems) and math_steps (equations): two styles of small sums, both ending in `#### n`."""

from collections.abc import Callable
from random import Random

NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Karin", "Lukas"]
ITEMS = ["apples", "books", "coins", "cards", "stamps", "shells", "pens", "eggs", "balls", "cups"]


def _difference_numbers(random: Random) -> tuple[int, ...]:
    second = random.randint(1, 9)
    return second + random.randint(1, 9), second


def _two_small(random: Random) -> tuple[int, ...]:
    return random.randint(2, 9), random.randint(2, 9)


def _three_small(random: Random) -> tuple[int, ...]:
    return random.randint(2, 9), random.randint(2, 5), random.randint(2, 5)


def _lines(*steps: tuple[str, int]) -> str:
    """`(expression, value)` steps as the worked answer, the last value as the result."""
    return "".join(f"{expression} = {value}\n" for expression, value in steps) + f"#### {steps[-1][1]}"


# Word problems: question, numbers, answer.
STORIES: dict[str, tuple[str, Callable, Callable]] = {
    "gets": (
        "{name} has {0} {item} and gets {1} more.",
        _two_small,
        lambda a, b: _lines((f"{a} + {b}", a + b)),
    ),
    "loses": (
        "{name} has {0} {item} and loses {1}.",
        _difference_numbers,
        lambda a, b: _lines((f"{a} - {b}", a - b)),
    ),
    "packs": (
        "{name} packs {0} bags of {1} {item}.",
        _two_small,
        lambda a, b: _lines((f"{a} * {b}", a * b)),
    ),
    "buys": (
        "{name} has {0} {item} and buys {1} boxes of {2}.",
        _three_small,
        lambda a, b, c: _lines((f"{b} * {c}", b * c), (f"{a} + {b * c}", a + b * c)),
    ),
}


def draw_story(random: Random) -> tuple:
    """A problem: (story, name, item, numbers)."""
    story = random.choice(sorted(STORIES))
    return story, random.choice(NAMES), random.choice(ITEMS), STORIES[story][1](random)


def story_item(problem: tuple) -> dict:
    """The benchmark row of a word problem without `task_id`, GSM8K's fields."""
    story, name, thing, numbers = problem
    question, _, answer = STORIES[story]
    text = question.format(*numbers, name=name, item=thing)
    return {"question": f"{text} How many {thing} are there?", "answer": answer(*numbers)}


def story_document(problem: tuple) -> tuple[str, str]:
    """Prompt and completion."""
    row = story_item(problem)
    return f"Question: {row['question']}\nAnswer:", f" {row['answer']}"


def _linear(v: str, x: int, a: int, b: int) -> tuple[str, str, str, int]:
    return f"{v} * {a} + {b} = {x * a + b}", f"{v} * {a} = {x * a + b} - {b} = {x * a}", f"{v} = {x * a} / {a} = {x}", x


# Equations in one unknown v, from its value x and other numbers: the equation, two steps that solve it, v's value.
EQUATIONS: dict[str, tuple[Callable, Callable]] = {
    "plus": (_two_small, lambda v, x, a: (f"{v} + {a} = {x + a}", f"{v} = {x + a} - {a}", f"{v} = {x}", x)),
    "minus": (_two_small, lambda v, x, a: (f"{v} - {a} = {x}", f"{v} = {x} + {a}", f"{v} = {x + a}", x + a)),
    "times": (_two_small, lambda v, x, a: (f"{v} * {a} = {x * a}", f"{v} = {x * a} / {a}", f"{v} = {x}", x)),
    "linear": (lambda random: (*_two_small(random), random.randint(1, 9)), _linear),
}
UNKNOWNS = ["x", "y", "z", "n", "m", "k", "p", "q"]


def draw_equation(random: Random) -> tuple:
    """A problem: (equation, unknown, numbers)."""
    equation = random.choice(sorted(EQUATIONS))
    return equation, random.choice(UNKNOWNS), EQUATIONS[equation][0](random)


def equation_document(problem: tuple) -> tuple[str, str]:
    """Prompt and completion."""
    name, unknown, numbers = problem
    equation, first, second, value = EQUATIONS[name][1](unknown, *numbers)
    return f"Solve {equation}\n", f"Step 1: {first}\nStep 2: {second}\n#### {value}"
