"""The registry of domains, and the files of a world: training documents, calibration pools and benchmarks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from submodels import files, versions
from submodels.errors import SubmodelsError, unknown
from submodels.products import take_over
from submodels.provenance import Manifest
from submodels.world import arithmetic, code, facts, translation


@dataclass(frozen=True)
class Domain:
    """One domain of the world.

    `draw(random)` gives a problem, a hashable value; `document(problem)` the text for training and calibration, cut
    into prompt and completion; `item(problem)` its benchmark row, None for a domain without a benchmark. Domains with
    the same `draw` share their problems.
    """

    draw: Callable[[Random], tuple]
    document: Callable[[tuple], tuple[str, str]]
    item: Callable[[tuple], dict] | None = None


DOMAINS: dict[str, Domain] = {
    language: Domain(code.draw, partial(code.document, language=language), partial(code.item, language=language))
    for language in code.LANGUAGES
} | {
    "math": Domain(arithmetic.draw_story, arithmetic.story_document, arithmetic.story_item),
    "math_steps": Domain(arithmetic.draw_equation, arithmetic.equation_document),
    "csr": Domain(facts.draw, facts.document, facts.item),
    "translation": Domain(translation.draw, translation.document, translation.item),
}
MIX = "mix"  # the pool of all domains
TEXT = "text"  # the benchmark of all domains: whole documents, for perplexity
POOLS = (*DOMAINS, MIX)
BENCHMARKS = (*(f"tiny_{name}" for name, domain in DOMAINS.items() if domain.item), f"tiny_{TEXT}")

BENCHMARK_ITEMS = {name: 24 for name in code.LANGUAGES} | {"math": 60, "csr": 60, "translation": 48, TEXT: 128}
TRAIN_DOCUMENTS = {name: 2500 for name in code.LANGUAGES} | {
    "math": 9000,
    "math_steps": 2000,
    "csr": 2000,
    "translation": 4000,
}
CALIBRATION_ROWS = 384


def draw_distinct(draw: Callable[[Random], tuple], random: Random, count: int) -> list[tuple]:
    """`count` different problems in the order drawn; an error where the space of problems is too small."""
    problems: dict[tuple, None] = {}
    for _ in range(100 * count):
        if len(problems) == count:
            return list(problems)
        problems[draw(random)] = None
    raise SubmodelsError(f"{draw.__module__} has fewer than {count} problems; ask for fewer documents or items")


def split_problems(
    seed: int, train_documents: dict[str, int], calibration_rows: int, benchmark_items: dict[str, int]
) -> dict[str, dict[str, list[tuple]]]:
    """Problems of every domain, by use: `benchmark`, `calibration`, `mix`, `train`, `text`, drawn in this order.

    No problem has two uses. Domains that share their problems get the same problems: the programming languages differ
    only in the language.
    """
    sizes = {
        name: {
            "benchmark": benchmark_items[name] if domain.item else 0,
            "calibration": calibration_rows,
            "mix": -(-calibration_rows // len(DOMAINS)),
            "train": train_documents[name],
            "text": -(-benchmark_items[TEXT] // len(DOMAINS)),
        }
        for name, domain in DOMAINS.items()
    }
    problems = {}
    for name, domain in DOMAINS.items():
        sharing = [sizes[other] for other in DOMAINS if DOMAINS[other].draw is domain.draw]
        drawn = {use: max(size[use] for size in sharing) for use in sizes[name]}
        random = Random(f"{seed} {domain.draw.__module__}.{domain.draw.__name__}")
        rest = iter(draw_distinct(domain.draw, random, sum(drawn.values())))
        split = {use: list(islice(rest, size)) for use, size in drawn.items()}
        problems[name] = {use: split[use][: sizes[name][use]] for use in split}
    return problems


def _documents(problems: dict, use: str) -> Iterator[dict]:
    for name, domain in DOMAINS.items():
        for problem in problems[name][use]:
            prompt, completion = domain.document(problem)
            yield {"domain": name, "prompt": prompt, "text": prompt + completion}


def check_disjoint(**texts: set[str]) -> None:
    """Raise where a text has two uses."""
    names = sorted(texts)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            if common := texts[first] & texts[second]:
                raise AssertionError(f"{first} and {second} share {len(common)} texts, such as {min(common)!r}")


def write_world(
    out: Path,
    seed: int,
    train_documents: dict[str, int] | None = None,
    calibration_rows: int = CALIBRATION_ROWS,
    benchmark_items: dict[str, int] | None = None,
) -> None:
    """Write a world: train.jsonl, calibration/<pool>.jsonl, benchmarks/tiny_<domain>.jsonl and manifest.json.

    The pools are the domains and `mix`, which holds held-out documents of all domains; tiny_text holds further
    documents of all domains. `train_documents` and `benchmark_items` change the default counts of some domains.
    """
    out = Path(out)
    train_documents = _counts("train_documents", TRAIN_DOCUMENTS, train_documents)
    benchmark_items = _counts("benchmark_items", BENCHMARK_ITEMS, benchmark_items)
    parameters = {
        "version": versions.WORLD,
        "seed": seed,
        "train_documents": train_documents,
        "calibration_rows": calibration_rows,
        "benchmark_items": benchmark_items,
    }
    manifest, place = Manifest("world", parameters), out / "manifest.json"
    if take_over(manifest, place):
        return
    problems = split_problems(seed, train_documents, calibration_rows, benchmark_items)
    rows = {use: list(_documents(problems, use)) for use in ("benchmark", "calibration", "mix", "train", "text")}
    check_disjoint(**{use: {row["text"] for row in documents} for use, documents in rows.items()})

    Random(f"{seed} train").shuffle(rows["train"])
    Random(f"{seed} mix").shuffle(rows["mix"])
    Random(f"{seed} text").shuffle(rows["text"])
    pools = {name: [row["text"] for row in rows["calibration"] if row["domain"] == name] for name in DOMAINS}
    pools[MIX] = [row["text"] for row in rows["mix"]][:calibration_rows]
    written = {out / "train.jsonl": rows["train"]}
    for pool, texts in pools.items():
        written[out / "calibration" / f"{pool}.jsonl"] = ({"text": text} for text in texts)
    items = {name: map(domain.item, problems[name]["benchmark"]) for name, domain in DOMAINS.items() if domain.item}
    texts = rows["text"][: benchmark_items[TEXT]]
    items[TEXT] = ({"domain": row["domain"], "text": row["text"]} for row in texts)
    for name, benchmark in items.items():
        task = f"tiny_{name}"
        numbered = [{"task_id": f"{task}/{i}"} | item for i, item in enumerate(benchmark)]
        written[out / "benchmarks" / f"{task}.jsonl"] = numbered
    for path, lines in written.items():
        files.write_jsonl(path, lines)
    manifest.write(place, written, documents={use: len(documents) for use, documents in rows.items()})


def _counts(name: str, default: dict[str, int], changes: dict[str, int] | None) -> dict[str, int]:
    for domain in changes or {}:
        if domain not in default:
            raise unknown(f"domain in {name}", domain, default)
    return default | (changes or {})
