"""Made-up results of a whole grid, as files where the workflow puts them. Seeded.

`PAPER` is the paper's grid with three sparsities and five seeds: 960 sub-models of 4 base models and their dense ones.
Domains make the scores: a sub-model keeps most on the domain (and language) of its calibration set.
"""

import contextlib
import functools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from submodels import files
from submodels.analysis.overlap import COLUMNS
from submodels.benchmarks.metrics import SCORERS
from submodels.config import read_grid
from submodels.grid import Grid
from submodels.terms import DENSE

MODELS = ("code-7b", "code-13b", "general-7b", "small-7b")
SETS = ["py_alpaca", "apps", "github_python", "code-java", "code-cpp", "code-javascript", "math_qa", "math_inst"]
SETS += ["math_o", "ob_qa", "hellaswag", "commonsense_qa", "wmt14", "croissant", "opus_books", "c4"]
N_ITEMS = {  # benchmark -> its items
    **{"humaneval": 164, "mbpp": 500},
    **{f"humanevalx_{language}": 164 for language in ("python", "java", "cpp", "javascript")},
    **{"multiple_java": 158, "multiple_cpp": 161, "multiple_javascript": 161, "gsm8k": 1319, "openbookqa": 500},
    **{"hellaswag": 10042, "winogrande": 1267, "boolq": 3270, "arc_easy": 2376, "arc_challenge": 1172},
    **{"wmt14_en_fr": 3003, "opus_books_en_fr": 3000, "wikitext2": 62},
}
BOOTSTRAP = {"resamples": 1000, "seed": 0, "level": 0.95}
KEPT = {"code": 0.55, "math": 0.45, "csr": 0.9, "translation": 0.7}  # share that a stranger's data set keeps at 0.50
FIRST = {"code": 0.6, "math": 0.4, "csr": 0.6, "translation": 0.55}  # of dense

SHAPE = {"parameters": 7_000_000_000, "prunable": 6_500_000_000, "blocks": 32, "hidden": 4096, "intermediate": 11008}
HUB = {"revision": "0" * 40, "shape": SHAPE | {"vocabulary": 32000, "dtype": "bfloat16"}}


def grid_of(models=MODELS, sets=SETS, sparsities=(0.3, 0.5, 0.7), seeds=range(5), benchmarks=tuple(N_ITEMS)) -> dict:
    return {
        "name": "made-up",
        "base_models": list(models),
        "models": {name: {"description": "made up", "hub": f"made-up/{name}"} | HUB for name in models},
        "submodels": [
            {"calibration_sets": list(sets), "sparsities": list(sparsities), "seeds": list(seeds)},
        ],
        "benchmarks": list(benchmarks),
    }


PAPER = grid_of()


@functools.cache
def built_page() -> tuple[tempfile.TemporaryDirectory, Path]:
    """The tables, figures and report of `PAPER`, with few items a benchmark; keep the directory object alive."""
    directory = tempfile.TemporaryDirectory(prefix="scale-")
    write_results(Path(directory.name), PAPER, most_items=24, blocks=4)
    return directory, analyse(Path(directory.name))


def analyse(root: Path) -> Path:
    """Run the stages that make tables, figures and report; returns the page's path."""
    from submodels.analysis.draw_figures import draw_figures
    from submodels.analysis.report import write_report
    from submodels.analysis.tabulate import tabulate

    with contextlib.chdir(root):
        expansion = Grid(read_grid(Path("grid.yaml")), "grid.yaml")
        tree, models = expansion.tree, expansion.models
        scores = [f"{tree.scores.format(model=model)}/{name}.json" for model in models for name in expansion.benchmarks]
        overlaps = [tree.overlap.format(model=model) for model in models]
        tabulate(scores, overlaps, tree.grid, tree.submodels, tree.tables)
        draw_figures(tree.tables, tree.grid, tree.figures)
        write_report(tree.grid, tree.tables, tree.figures, tree.report)
    return root / tree.report


def write_results(root: Path, content: dict, most_items: int | None = None, blocks: int = 32) -> None:
    """Write grid.yaml and everything that analysis reads under `root`, with real file sizes unless `most_items` says
    less; samples are empty files."""
    rng = np.random.default_rng(0)
    _write(root / "grid.yaml", yaml.safe_dump(content))
    with contextlib.chdir(root):
        expansion = Grid(read_grid(Path("grid.yaml")), "grid.yaml")
        description, tree = expansion.describe(), expansion.tree
        files.write_json(tree.grid, description)
        for model in expansion.models:
            _write_manifests(expansion, model)
            entries = {id: description["submodels"].get(id) for id in expansion.evaluated(model)}
            for name, task in expansion.benchmarks.items():
                n = min(N_ITEMS[name], most_items or N_ITEMS[name])
                place = (tree.executions if task.is_code else tree.generations).format(model=model)
                samples = {id: f"{place}/{id}/{name}.jsonl.gz" for id in entries}
                for path in samples.values():
                    _write(Path(path), "")
                files.write_json_lines(
                    f"{tree.scores.format(model=model)}/{name}.json",
                    {"model": model, "benchmark": name, "domain": task.domain, "language": task.language}
                    | {"primary": task.primary, "higher_is_better": task.higher_is_better, "protocol": "strict"}
                    | {"quirks": [], "partial": None, "sampling": None, "truncated": None, "fixture": False}
                    | {"contamination": {"items": 0}}
                    | {"bootstrap": BOOTSTRAP, "task_ids": [f"{name}/{i}" for i in range(n)]}
                    | {"submodels": {id: _score(task, entries[id], n, samples[id], rng) for id in entries}},
                    key="submodels",
                )
            _overlap(description["submodels"], blocks, rng).to_csv(tree.overlap.format(model=model), index=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_manifests(expansion: Grid, model: str) -> None:
    common = '{"versions": {"python": "3.11.2"}, "git": null, "wall_seconds": 1.5, "peak_memory_mb": 300.0, "results": '
    tree = expansion.tree
    for id in expansion.evaluated(model):
        if id != DENSE:
            place = tree.submodel.format(model=model, submodel=id)
            _write(Path(place) / "manifest.json", common + '{"sparsity": 0.5}, "stage": "prune"}\n')
        for name in expansion.benchmarks:
            place = tree.generations.format(model=model)
            _write(Path(place, id, f"{name}.manifest.json"), common + '{}, "stage": "generate"}\n')
    Path(tree.overlap).parent.mkdir(parents=True, exist_ok=True)


def _score(task, entry: dict | None, n: int, samples: str, rng) -> dict:
    """A score entry whose values stand for what the sub-model would keep."""
    names = SCORERS[task.scorer].metrics(task.repeats)
    if not task.higher_is_better:
        values = {
            name: rng.uniform(3, 12, n) * (1 if entry is None else 1 / _kept(entry, None, None)) for name in names
        }
        values |= {"tokens": rng.integers(50, 200, n), "bytes": rng.integers(200, 800, n)}
    else:
        mean = FIRST[task.domain] * (1 if entry is None else _kept(entry, task.domain, task.language))
        values = {name: (rng.random(n) < mean).astype(float) for name in names}
    about = {name: float(np.mean(values[name])) for name in names}
    errors = {name: float(np.std(values[name]) / n**0.5) for name in names}
    right = round(about[names[0]] * n)
    return {
        "status": "ok",
        "reason": None,
        "n_items": n,
        "n_samples": n * task.repeats,
        "counts": {"correct": right, "wrong": n - right} if task.higher_is_better else {"scored": n},
        "metrics": {
            name: {"value": value, "stderr": errors[name]}
            | {"low": value - 2 * errors[name], "high": value + 2 * errors[name]}
            for name, value in about.items()
        },
        "corpus": {},
        "items": {name: column.tolist() for name, column in values.items()},
        "samples": samples,
        "fingerprint": "0" * 64,
        "wall_seconds": {"generate": 2.5, "execute": None},
        "prompt_tokens": 1200,
        "generated_tokens": 340,
    }


def _kept(entry: dict, domain: str | None, language: str | None) -> float:
    """Share of the dense score: less at a higher sparsity, most on the set's own domain and language."""
    harsh = {"0.30": 0.2, "0.50": 1.0, "0.70": 1.6}[entry["sparsity"]]
    lost = 1 - KEPT.get(domain, 0.6)
    if entry["domain"] == domain:
        lost *= 0.25 if language in (None, entry["language"]) else 0.5
    elif {entry["domain"], domain} == {"code", "math"} or entry["domain"] == "generic":
        lost *= 0.7
    return max(1 - harsh * lost, 0.02)


def _overlap(entries: dict, blocks: int, rng) -> pd.DataFrame:
    """Every pair of masks as a whole; those of one sparsity by block too."""
    ids = sorted(entries)
    first, second = np.triu_indices(len(ids), k=1)
    axes = {key: np.array([str(entries[id][key]) for id in ids]) for key in ("calibration", "domain", "sparsity")}
    same = {key: values[first] == values[second] for key, values in axes.items()}
    distance = np.where(same["calibration"], 0.05, np.where(same["domain"], 0.15, 0.25)) * 2 * axes["sparsity"].astype(
        float
    )[first] + np.where(same["sparsity"], 0, 0.3)
    parts = []
    for level, layer in [("model", ""), *(("layer", i) for i in range(blocks))]:
        wanted = np.flatnonzero(same["sparsity"]) if level != "model" else np.arange(len(first))
        kept = distance[wanted] + (0.0 if layer == "" else 0.003 * layer) + rng.normal(0, 0.004, len(wanted))
        columns = [np.array(ids)[first[wanted]], np.array(ids)[second[wanted]], level, layer, ""]
        columns += [kept.clip(0, 1), 0.8 * kept.clip(0, 1), 202375168]
        parts.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
    return pd.concat(parts)


if __name__ == "__main__":
    import sys

    write_results(Path(sys.argv[1]), PAPER, most_items=int(sys.argv[2]) if len(sys.argv) > 2 else None)
