"""Domain csr: the things people use in everyday situations, asked as multiple choice.

A problem is (name, situation, phrasing); every situation is seen in training, with other names and phrasings.
"""

from random import Random

WOMEN = [
    "Anna",
    "Clara",
    "Emma",
    "Greta",
    "Ida",
    "Karin",
    "Maria",
    "Nora",
    "Olga",
    "Petra",
    "Eva",
    "Lena",
    "Julia",
    "Sara",
    "Vera",
    "Helga",
    "Nina",
    "Rosa",
    "Mila",
    "Tina",
]
MEN = [
    "Ben",
    "David",
    "Felix",
    "Hugo",
    "Jonas",
    "Lukas",
    "Martin",
    "Oscar",
    "Paul",
    "Simon",
    "Adam",
    "Bruno",
    "Emil",
    "Georg",
    "Ivan",
    "Karl",
    "Leo",
    "Max",
    "Otto",
    "Tom",
]

# A situation (after "wants to") and the thing it needs.
SITUATIONS = {
    "cut bread": "knife",
    "eat soup": "spoon",
    "open the door": "key",
    "stay dry in the rain": "umbrella",
    "write a letter": "pen",
    "sweep the floor": "broom",
    "see in the dark": "lamp",
    "dig a hole": "shovel",
    "hit a nail": "hammer",
    "know the time": "clock",
    "sleep well": "pillow",
    "dry the dishes": "towel",
    "climb to the roof": "ladder",
    "cross the river": "boat",
    "read a story": "book",
    "drink tea": "cup",
    "cut paper": "scissors",
    "sit down": "chair",
    "keep food cold": "fridge",
    "wash clothes": "soap",
    "brush hair": "comb",
    "carry books": "bag",
    "find the way": "map",
    "take a photo": "camera",
    "light a candle": "match",
    "send a parcel": "stamp",
    "fly a long way": "plane",
    "warm the hands": "gloves",
    "paint a wall": "brush",
    "catch fish": "net",
    "see small things": "lens",
    "sew a dress": "needle",
}
PHRASINGS = (
    "{name} wants to {situation}. {pronoun} needs the",
    "To {situation}, {name} takes the",
    "When {name} has to {situation}, {pronoun_inside} looks for the",
)
CHOICES = 4


def draw(random: Random) -> tuple:
    """A problem: (name, situation, phrasing)."""
    return random.choice(WOMEN + MEN), random.choice(sorted(SITUATIONS)), random.randrange(len(PHRASINGS))


def _query(problem: tuple) -> str:
    name, situation, phrasing = problem
    pronoun = "She" if name in WOMEN else "He"
    return PHRASINGS[phrasing].format(name=name, situation=situation, pronoun=pronoun, pronoun_inside=pronoun.lower())


def item(problem: tuple) -> dict:
    """The benchmark row of a problem without `task_id`; the wrong choices and the order follow from the problem."""
    random = Random(repr(problem))
    answer = SITUATIONS[problem[1]]
    choices = random.sample(sorted(set(SITUATIONS.values()) - {answer}), CHOICES - 1)
    gold = random.randrange(CHOICES)
    choices.insert(gold, answer)
    return {"query": _query(problem), "choices": choices, "gold": gold}


def document(problem: tuple) -> tuple[str, str]:
    """Prompt and completion."""
    return _query(problem), f" {SITUATIONS[problem[1]]}"
