"""Whether the calibration rows of a sub-model hold items of the benchmarks that would score it.

An item counts as seen if one of its texts - a question, with or without its answer, a reference solution - is wholly
contained in one row. Texts are compared as hashes of their normalised words: NFKC, lower case, without punctuation and
without labels such as `Question:` that open a line; programs as hashes of their tokens, signs included, so that
templates and layout do not matter. Texts of fewer words than SHORTEST are not compared: they may be equal by chance. A
document that is scored by perplexity is seen, too, if it contains a whole row.

Whole texts are compared, not shares of n-grams: 13-grams (Brown et al. 2020, arXiv 2005.14165, appendix C) are for
leaving rows out of a corpus, where a false alarm costs little. Problems of one kind share most n-grams - to rotate a
list left or right, to add 5 or 6 - and here a false alarm would refuse a whole calibration set.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from submodels import files, versions
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.metrics.base import AS_TOKENS, AS_WORDS
from submodels.benchmarks.registry import Benchmark
from submodels.errors import SubmodelsError
from submodels.layout import DRAWN_ROWS

SEEN = "contamination.json"  # file of the pairs found, beside the samples
_ANCHOR = 8  # words of a text that are looked up first, and so the lower limit of SHORTEST
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that every word of a run changes its hash
_LABEL = re.compile(r"^\s*[^\W\d]\w*:", re.MULTILINE)
_SHOWN = 5


@cache
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def words(text: str) -> np.ndarray:
    """Hashes, uint64 [words], of the normalised words of a text."""
    return _hashes(r"\w+", _LABEL.sub(" ", text))


def tokens(program: str) -> np.ndarray:
    """Hashes, uint64 [tokens], of the names, numbers and single signs of a program in any language."""
    return _hashes(r"\w+|[^\w\s]", program)


def _hashes(pattern: str, text: str) -> np.ndarray:
    matches = re.findall(pattern, unicodedata.normalize("NFKC", text).casefold())
    return np.fromiter(map(_hash, matches), dtype=np.uint64, count=len(matches))


NORMALISE: dict[str, Callable[[str], np.ndarray]] = {AS_WORDS: words, AS_TOKENS: tokens}
# Splits of one data set share shorter texts by chance: OpenBookQA questions of 6 words, MBPP questions of 7.
SHORTEST = {AS_WORDS: 8, AS_TOKENS: 20}


def contained(texts: list[np.ndarray], places: list[np.ndarray], shortest: int) -> Iterator[tuple[int, int]]:
    """Every pair (text, place) where the place contains the whole text; no pairs for texts shorter than `shortest`."""
    anchors: dict[int, list[int]] = {}
    for number, text in enumerate(texts):
        if len(text) >= shortest:
            anchors.setdefault(int(_runs(text[:_ANCHOR])[0]), []).append(number)
    if not anchors:
        return
    known = np.sort(np.fromiter(anchors, dtype=np.uint64, count=len(anchors)))
    for place, hashes in enumerate(places):
        runs, found = _runs(hashes), set()
        nearest = known[np.searchsorted(known, runs).clip(max=len(known) - 1)]
        for start in np.flatnonzero(nearest == runs):
            for number in anchors[int(runs[start])]:
                if np.array_equal(texts[number], hashes[start : start + len(texts[number])]):
                    found.add(number)
        yield from ((number, place) for number in sorted(found))


def _runs(hashes: np.ndarray) -> np.ndarray:
    """Hashes of every run of `_ANCHOR` words."""
    found = np.zeros(max(len(hashes) - _ANCHOR + 1, 0), dtype=np.uint64)
    for offset in range(_ANCHOR):
        found = found * _MULTIPLIER + hashes[offset : offset + len(found)]
    return found


class Draw:
    """The rows of a calibration draw, from the directory that `calibrate` wrote."""

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        path = self.directory / DRAWN_ROWS
        self._rows = files.read_jsonl(path)
        self.fingerprint = files.sha256_file(path)
        self._inputs = files.read_json(self.directory / "manifest.json")["inputs"]

    @cached_property
    def hashes(self) -> dict[str, list[np.ndarray]]:
        """Way of comparing -> the normalised texts of the rows, in order."""
        return {way: [normalise(row["text"]) for row in self._rows] for way, normalise in NORMALISE.items()}

    def describe(self, number: int) -> dict:
        """The calibration set and file of a row, and its number in the file."""
        row, component = self._rows[number], self._rows[number]["component"]
        name = self.directory.name.rpartition("-s")[0] + (f" (component {component})" if component else "")
        source = self._inputs[f"source:{component}" if component else "source"]
        return {"set": name, "source": source["path"], "row": row["row"]}


def check_draws(draws: list[Path], benchmarks: list[tuple[Benchmark, Path, list[dict]]], out: Path) -> None:
    """Compare the rows of draws with benchmarks (task, file of items, items); write the pairs found to `out`.

    draws: directories that `calibrate` wrote; none for a model that saw no rows. Items in rows are an error under a
    benchmark's protocol `strict`; under `paper` they are recorded. Benchmarks that are in `out` are not searched again.
    """
    rows = [Draw(draw) for draw in draws]
    about = {"version": versions.CONTAMINATION, "shortest": SHORTEST}
    about["draws"] = {of.directory.name: of.fingerprint for of in rows}
    known = files.read_json(out) if out.is_file() else {}
    known = known["benchmarks"] if known.items() >= about.items() else {}
    found, refused = {}, []
    for task, path, items in benchmarks:
        found[task.name] = {"items": files.sha256_file(path), "scorer": task.scorer}
        if known.get(task.name, {}).items() >= found[task.name].items():
            found[task.name] = known[task.name]
        else:
            found[task.name]["seen"] = [pair for of in rows for pair in _find(task, items, of)]
        if task.protocol == "strict":
            refused += [(task.name, pair) for pair in found[task.name]["seen"]]
    if refused:
        shown = "\n".join(f"  {_sentence(benchmark, pair)}" for benchmark, pair in refused[:_SHOWN])
        more = f"\n  and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise SubmodelsError(
            f"calibration rows hold items of the benchmarks that would score them:\n{shown}{more}\n"
            "leave these rows or sets out of the grid, or score a benchmark whose `metadata.protocol` is paper"
        )
    files.write_json(out, about | {"benchmarks": found})


def _sentence(benchmark: str, pair: dict) -> str:
    return f"{pair['set']}: row {pair['row']} of {pair['source']} holds item {pair['item']} of {benchmark}"


def read_seen(paths: list[Path], benchmark: str) -> list[dict] | None:
    """The pairs of rows and items that `check_draws` found for a benchmark; None where it was not checked."""
    seen = {}
    for path in paths:
        found = files.read_json(path)["benchmarks"].get(benchmark) if path.is_file() else None
        if found is None:
            return None
        seen |= {(pair["set"], pair["row"], pair["item"]): pair for pair in found["seen"]}
    return list(seen.values())


def quirks(benchmark: str, seen: list[dict]) -> list[str]:
    """One sentence for each calibration set that holds items."""
    items: dict[str, list[str]] = {}
    for pair in seen:
        items.setdefault(pair["set"], []).append(pair["item"])
    sentences = []
    for name, held in items.items():
        held = list(dict.fromkeys(held))
        which = ", ".join(held[:_SHOWN]) + (", ..." if len(held) > _SHOWN else "")
        sentences.append(f"Rows of calibration set {name} hold {len(held)} items of {benchmark}: {which}.")
    return sentences


def _find(task: Benchmark, items: list[dict], rows: Draw) -> Iterator[dict]:
    """Every pair of an item and a row that holds it."""
    scorer = SCORERS[task.scorer]
    texts = [(item["task_id"], way, NORMALISE[way](text)) for item in items for way, text in scorer.texts(item)]
    seen = set()
    for way, shortest in SHORTEST.items():
        chosen = [(item, hashes) for item, of, hashes in texts if of == way]
        if not chosen:
            continue
        ids, hashes = zip(*chosen, strict=True)
        places = rows.hashes[way]
        seen |= {(ids[text], place) for text, place in contained(list(hashes), places, shortest)}
        if scorer.documents:
            seen |= {(ids[text], place) for place, text in contained(places, list(hashes), shortest)}
    for item, place in sorted(seen):
        yield rows.describe(place) | {"item": item}
