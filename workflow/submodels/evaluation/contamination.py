"""Stage `contamination`: whether the calibration rows behind a base model's sub-models hold items of its benchmarks.

An item counts as seen if one of its texts - a question, with or without its answer, a reference solution - stands whole
in one row. Texts are compared as hashes of their normalised words: NFKC, lower case, without punctuation and without
labels such as `Question:` that open a line; programs as hashes of their tokens, signs included, so that templates and
layout do not matter. Texts of fewer words than SHORTEST say too little to tell. A document that is scored by perplexity
is seen, too, if a whole row stands in it.

Whole texts and no share of n-grams: 13-grams (Brown et al. 2020, arXiv 2005.14165, appendix C) are for leaving rows
out of a corpus, where a false alarm costs little. Problems of one kind share most of them - to rotate a list left or
right, to add 5 or 6 - and here a false alarm would refuse a whole calibration set.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from submodels import files, versions
from submodels.calibration.templates import Template
from submodels.errors import SubmodelsError
from submodels.evaluation.benchmarks import Benchmark, load_benchmark, load_items
from submodels.provenance import Manifest
from submodels.rows import read_rows

_ANCHOR = 8  # words of a text that are looked up first, and so the least that SHORTEST can be
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no word of a run is lost in its hash
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
    found = re.findall(pattern, unicodedata.normalize("NFKC", text).casefold())
    return np.fromiter(map(_hash, found), dtype=np.uint64, count=len(found))


# Splits of one data set share shorter texts by chance: OpenBookQA questions of 6 words, MBPP ones of 7.
SHORTEST = {words: 8, tokens: 20}


def contained(texts: list[np.ndarray], places: list[np.ndarray], shortest: int) -> Iterator[tuple[int, int]]:
    """Every pair (text, place) of which the text stands whole in the place; texts shorter than `shortest` in none."""
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


Texts = list[tuple[Callable[[str], np.ndarray], str]]  # how it is normalised, and a text


def _program(item: dict) -> Texts:
    solution = item.get("canonical_solution") or ""  # some data sets have none
    return [(words, item["prompt"]), (tokens, solution), (tokens, item["prompt"] + solution)]


def _problem(item: dict) -> Texts:
    return [(words, item["question"]), (words, f"{item['question']}\n{item['answer']}")]


def _choice(item: dict) -> Texts:
    right = item["choices"][item["gold"]]
    if "continuation" in item:
        return [(words, f"{right} {item['continuation']}")]
    return [(words, item["query"]), (words, f"{item['query']} {right}")]


def _translation(item: dict) -> Texts:
    source, target = item["source"], item["target"]
    return [(words, source), (words, target), (words, f"{source}\n{target}")]


TEXTS: dict[str, Callable[[dict], Texts]] = {  # by the benchmark's scorer
    "pass_at_k": _program,
    "exact_match": _problem,
    "chain_of_thought": _problem,
    "gsm8k_paper": _problem,
    "accuracy": _choice,
    "translation": _translation,
    "translation_paper": _translation,
    "perplexity": lambda item: [(words, item["text"])],
}
DOCUMENTS = ("perplexity",)  # scorers of whole documents, in which rows may stand


@dataclass
class Rows:
    """Rows of one file. set: what they were drawn for. texts, draws: by index, the row's text and who drew it."""

    set: str
    path: Path
    texts: dict[int, str] = field(default_factory=dict)
    draws: dict[int, list[str]] = field(default_factory=dict)
    _hashes: dict[Callable, list[np.ndarray]] = field(default_factory=dict)

    def hashes(self, normalise: Callable[[str], np.ndarray]) -> list[np.ndarray]:
        """The normalised texts, in order; made once for all benchmarks."""
        if normalise not in self._hashes:
            self._hashes[normalise] = [normalise(text) for text in self.texts.values()]
        return self._hashes[normalise]


def contamination(draws: list[Path], benchmarks: dict[str, Path], out: Path) -> None:
    """Compare the rows of `draws` (directories that `calibrate` wrote) with benchmarks (name -> items); write `out`.

    Items in rows are an error under a benchmark's protocol `strict`; under `paper` they are recorded, as a quirk.
    """
    tasks = [load_benchmark(name) for name in benchmarks]
    manifests = {Path(draw).name: Path(draw) / "manifest.json" for draw in draws}
    parameters = {"version": versions.CONTAMINATION, "shortest": {one.__name__: n for one, n in SHORTEST.items()}}
    inputs = {f"draw:{name}": path for name, path in manifests.items()}
    inputs |= {f"items:{task.name}": Path(path) for task, path in zip(tasks, benchmarks.values(), strict=True)}
    manifest = Manifest("contamination", parameters, inputs)
    rows = _read_rows(manifests)
    found = {
        task.name: list(_find(task, load_items(task, path), rows))
        for task, path in zip(tasks, benchmarks.values(), strict=True)
    }
    refused = [(task.name, one) for task in tasks if task.protocol == "strict" for one in found[task.name]]
    if refused:
        shown = "\n".join(f"  {_sentence(benchmark, one)}" for benchmark, one in refused[:_SHOWN])
        more = f"\n  and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise SubmodelsError(
            f"calibration rows hold items of the benchmarks that would score them:\n{shown}{more}\n"
            "leave these rows or sets out of the grid, or score a benchmark whose `metadata.protocol` is paper"
        )
    manifest.write(
        out,
        draws=sorted(manifests),
        benchmarks={name: {"seen": pairs, "quirks": _quirks(name, pairs)} for name, pairs in found.items()},
    )


def _sentence(benchmark: str, one: dict) -> str:
    return f"{one['set']}: row {one['row']} of {one['source']} holds item {one['item']} of {benchmark}"


def _quirks(benchmark: str, pairs: list[dict]) -> list[str]:
    """One sentence for each calibration set that holds items."""
    items: dict[str, list[str]] = {}
    for one in pairs:
        items.setdefault(one["set"], []).append(one["item"])
    sentences = []
    for name, held in items.items():
        held = list(dict.fromkeys(held))
        which = ", ".join(held[:_SHOWN]) + (", ..." if len(held) > _SHOWN else "")
        sentences.append(f"Rows of calibration set {name} hold {len(held)} items of {benchmark}: {which}.")
    return sentences


def _read_rows(manifests: dict[str, Path]) -> list[Rows]:
    """The rows that were drawn, each file of them read once."""
    held: dict[tuple[str, Path, str], Rows] = {}
    for draw, place in manifests.items():
        content = files.read_json(place)
        for component, template, indices in _parts(content):
            source = content["inputs"][f"source:{component}" if component else "source"]
            name = draw.rpartition("-s")[0] + (f" (component {component})" if component else "")
            path = Path(source["path"])
            if not path.is_file() or files.sha256_file(path) != source["sha256"]:
                raise SubmodelsError(f"{path}: not the rows that {place} was made of; run `calibrate` again")
            rows = held.setdefault((name, path, template), Rows(name, path))
            for index in indices:
                drawn = rows.draws.setdefault(index, [])
                if draw not in drawn:
                    drawn.append(draw)
    for (_, path, text), rows in held.items():
        template = Template(text)
        source = read_rows(path, template.fields)
        for index in sorted(rows.draws):
            rows.texts[index] = template.render(source[index], f"{path}, row {index}")
    return list(held.values())


def _parts(manifest: dict) -> Iterator[tuple[str | None, str, list[int]]]:
    """(component or None, template, indices of its rows) of a draw; nothing for random tokens."""
    parameters, results = manifest["parameters"], manifest["results"]
    if parameters["kind"] != "mix":
        parts = [(None, parameters, results)]
    else:
        parts = [(one["name"], one, results["components"][one["name"]]) for one in parameters["components"]]
    for component, about, drawn in parts:
        if "indices" in drawn:
            yield component, about["template"], drawn["indices"]


def _find(task: Benchmark, items: list[dict], rows: list[Rows]) -> Iterator[dict]:
    """Every pair of an item and a row that holds it."""
    texts = [
        (item["task_id"], normalise, normalise(text)) for item in items for normalise, text in TEXTS[task.scorer](item)
    ]
    for group in rows:
        seen = set()
        for normalise, shortest in SHORTEST.items():
            chosen = [(item, hashes) for item, of, hashes in texts if of is normalise]
            if not chosen:
                continue
            ids, hashes = zip(*chosen, strict=True)
            places = group.hashes(normalise)
            seen |= {(ids[text], place) for text, place in contained(list(hashes), places, shortest)}
            if task.scorer in DOCUMENTS:
                seen |= {(ids[text], place) for place, text in contained(places, list(hashes), shortest)}
        indices = list(group.texts)
        for item, place in sorted(seen):
            row = indices[place]
            yield {"set": group.set, "draws": group.draws[row], "source": str(group.path), "row": row, "item": item}
