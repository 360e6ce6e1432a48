"""English to French: WMT14 (wmt/wmt14) and OPUS Books (Helsinki-NLP/opus_books); rows of `translation: {en, fr}`."""

import hashlib
import random

from submodels.benchmarks.adapters.rows import each

# OPUS Books has no test split. Calibration draws from its first half, so a part of the second half is asked.
_BOOKS_PART = 32
_PAPER_ITEMS, _PAPER_SEED = 400, 0


def items(rows) -> list[dict]:
    """All pairs."""
    return each(rows, lambda row: {"source": row["translation"]["en"], "target": row["translation"]["fr"]})


def books_items(rows) -> list[dict]:
    """A part of the second half, chosen by hash, without sentences that are, in either language, in the first half.

    Of an odd number of rows the middle row counts to the first half here, because the split depends on rounding.
    """
    pairs = items(rows)
    middle = (len(pairs) + 1) // 2
    seen = {pair[side] for pair in pairs[:middle] for side in ("source", "target")}
    chosen = []
    for number in range(middle, len(pairs)):
        pair = pairs[number]
        if pair["source"] in seen or pair["target"] in seen or not (pair["source"].strip() and pair["target"].strip()):
            continue
        digest = hashlib.sha256(f"{pair['source']}\t{pair['target']}".encode()).digest()
        if int.from_bytes(digest[:8], "big") % _BOOKS_PART == 0:
            seen |= {pair["source"], pair["target"]}  # a sentence that the books repeat is asked only once
            chosen.append({"task_id": f"opus_books/{number}"} | pair)
    return chosen


def _paper_draw(name: str, pairs: list[dict], numbers: range) -> list[dict]:
    """400 pairs drawn with replacement. The authors set no seed, so their pairs are unknown."""
    generator = random.Random(_PAPER_SEED)
    drawn = [generator.choice(numbers) for _ in range(min(_PAPER_ITEMS, len(numbers)))]
    return [{"task_id": f"{name}/{draw}/{number}"} | pairs[number] for draw, number in enumerate(drawn)]


def paper_items(rows) -> list[dict]:
    pairs = items(rows)
    return _paper_draw("wmt14", pairs, range(len(pairs)))


def paper_books_items(rows) -> list[dict]:
    """The paper's draw from the second half."""
    pairs = items(rows)
    return _paper_draw("opus_books", pairs, range(len(pairs) // 2, len(pairs)))


_SUBJECTS = [
    ("The cat", "Le chat"),
    ("The girl", "La fille"),
    ("My brother", "Mon frère"),
    ("The doctor", "Le médecin"),
]
_VERBS = [("sees", "voit"), ("wants", "veut"), ("finds", "trouve"), ("knows", "connaît")]
_OBJECTS = [("the house", "la maison"), ("the book", "le livre"), ("the garden", "le jardin"), ("the town", "la ville")]
_TIMES = [("today", "aujourd'hui"), ("again", "de nouveau"), ("at last", "enfin"), ("now", "maintenant")]


def fixture() -> list[dict]:
    rows = []
    for subject in _SUBJECTS:
        for verb in _VERBS:
            for thing in _OBJECTS:
                for time in _TIMES:
                    en, fr = (" ".join(words) + "." for words in zip(subject, verb, thing, time, strict=True))
                    rows.append({"id": str(len(rows)), "translation": {"en": en, "fr": fr}})
    return rows
