"""Domain translation: English sentences in French, with agreement of gender and number.

A problem is (subject, verb, object); subject and object are (noun, adjective or None, plural).
"""

from random import Random

# English singular and plural, French singular and plural, feminine
ANIMALS = {
    "cat": ("cats", "chat", "chats", False),
    "dog": ("dogs", "chien", "chiens", False),
    "rabbit": ("rabbits", "lapin", "lapins", False),
    "boy": ("boys", "garçon", "garçons", False),
    "cow": ("cows", "vache", "vaches", True),
    "girl": ("girls", "fille", "filles", True),
    "mouse": ("mice", "souris", "souris", True),
    "woman": ("women", "femme", "femmes", True),
}
THINGS = {
    "book": ("books", "livre", "livres", False),
    "garden": ("gardens", "jardin", "jardins", False),
    "cake": ("cakes", "gâteau", "gâteaux", False),
    "hat": ("hats", "chapeau", "chapeaux", False),
    "apple": ("apples", "pomme", "pommes", True),
    "house": ("houses", "maison", "maisons", True),
    "table": ("tables", "table", "tables", True),
    "flower": ("flowers", "fleur", "fleurs", True),
}
# French masculine and feminine; the plural adds s, and every adjective follows its noun
ADJECTIVES = {
    "black": ("noir", "noire"),
    "green": ("vert", "verte"),
    "blue": ("bleu", "bleue"),
    "red": ("rouge", "rouge"),
    "white": ("blanc", "blanche"),
    "clean": ("propre", "propre"),
    "full": ("plein", "pleine"),
    "perfect": ("parfait", "parfaite"),
}
# English singular and plural, French singular and plural
VERBS = {
    "see": ("sees", "voit", "voient"),
    "want": ("wants", "veut", "veulent"),
    "look for": ("looks for", "cherche", "cherchent"),
    "find": ("finds", "trouve", "trouvent"),
    "take": ("takes", "prend", "prennent"),
    "touch": ("touches", "touche", "touchent"),
    "leave": ("leaves", "quitte", "quittent"),
    "know": ("knows", "connaît", "connaissent"),
}


def _draw_phrase(random: Random, nouns: dict) -> tuple:
    adjective = random.choice(sorted(ADJECTIVES)) if random.random() < 0.7 else None
    return random.choice(sorted(nouns)), adjective, random.random() < 0.5


def draw(random: Random) -> tuple:
    """A problem: (subject, verb, object)."""
    return _draw_phrase(random, ANIMALS), random.choice(sorted(VERBS)), _draw_phrase(random, THINGS)


def _english(noun: str, adjective: str | None, plural: bool) -> str:
    word = (ANIMALS | THINGS)[noun][0] if plural else noun
    return " ".join(["the", *([adjective] if adjective else []), word])


def _french(noun: str, adjective: str | None, plural: bool) -> str:
    _, singular, plural_form, feminine = (ANIMALS | THINGS)[noun]
    words = ["les", plural_form] if plural else ["la" if feminine else "le", singular]
    if adjective:
        words.append(ADJECTIVES[adjective][feminine] + ("s" if plural else ""))
    return " ".join(words)


def item(problem: tuple) -> dict:
    """The benchmark row of a problem without `task_id`."""
    subject, verb, thing = problem
    verb_singular, french_singular, french_plural = VERBS[verb]
    plural = subject[2]
    return {
        "source": f"{_english(*subject)} {verb if plural else verb_singular} {_english(*thing)}",
        "target": f"{_french(*subject)} {french_plural if plural else french_singular} {_french(*thing)}",
    }


def document(problem: tuple) -> tuple[str, str]:
    """Prompt and completion."""
    row = item(problem)
    return f"English: {row['source']}\nFrench:", f" {row['target']}"
