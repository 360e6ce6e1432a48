"""A made-up but plausible study on disk: grid.json, score files, overlap tables, samples and items. Seeded."""

import contextlib
import functools
import math
import tempfile
from pathlib import Path

import numpy as np

from submodels import files
from submodels.verdict import STATUSES

SETS = {
    "python": ("code", "python"),
    "java": ("code", "java"),
    "cpp": ("code", "cpp"),
    "javascript": ("code", "javascript"),
    "math": ("math", None),
    "math_steps": ("math", None),
    "csr": ("csr", None),
    "translation": ("translation", None),
    "mix": ("generic", None),
    "random_tokens": ("control", None),
}
BENCHMARKS = {
    "tiny_python": ("code", "python", "pass@1"),
    "tiny_java": ("code", "java", "pass@1"),
    "tiny_cpp": ("code", "cpp", "pass@1"),
    "tiny_javascript": ("code", "javascript", "pass@1"),
    "tiny_math": ("math", None, "exact_match"),
    "tiny_csr": ("csr", None, "accuracy"),
    "tiny_translation": ("translation", None, "meteor"),
    "tiny_text": ("text", None, "perplexity"),
    "source_python": ("code", "python", "bits_per_byte"),
    "source_java": ("code", "java", "bits_per_byte"),
}
RIA_SETS = ("python", "math")  # those that a second method was run with, at the first sparsity
MODELS = ("tiny-llama", "tiny-gemma")
SPARSITIES = ("0.50", "0.70")
SEEDS = (0, 1)
HOSTILE = "</pre><script>window.stolen = 1</script><img src=x onerror=alert(1)>"
TOOK = {"wall_seconds": {"generate": 2.5, "execute": None}, "prompt_tokens": 1200, "generated_tokens": 340}
PLAIN = {"protocol": "strict", "quirks": [], "partial": None, "fixture": False, "contamination": {"items": 0}}
PLAIN |= {"truncated": None, "sampling": None}
QUIRK = "Sentences are drawn with replacement."
MARKED = {
    "tiny_translation": {"protocol": "paper", "quirks": [QUIRK], "fixture": True},
    "tiny_math": {"partial": {"items": 8, "of": 60}, "contamination": None},
}
SAMPLES = "results/demo/generations/m/s/b.jsonl.gz"
BOOTSTRAP = {"resamples": 200, "seed": 0, "level": 0.95}


def submodel_entries() -> dict:
    cells = []
    for sparsity in SPARSITIES:
        for name in SETS:
            cells += [("wanda", name, sparsity, seed) for seed in (SEEDS if name in ("python", "math") else SEEDS[:1])]
        cells.append(("magnitude", "none", sparsity, 0))
    cells += [("ria", name, SPARSITIES[0], 0) for name in RIA_SETS]
    return {"-".join([*cell[:3], f"s{cell[3]}"]): submodel_entry(*cell) for cell in cells}


def submodel_entry(method: str, calibration: str, sparsity: str, seed: int, rows: int | None = 128) -> dict:
    """A sub-model as the grid's description has it; sets of the names in `SETS`."""
    domain, language = SETS.get(calibration, (None, None))
    about = {"method": method, "calibration": calibration, "sparsity": sparsity, "seed": seed}
    rows = None if calibration == "none" else rows
    return about | {"rows": rows, "tokens_per_set": None, "domain": domain, "language": language}


@functools.cache
def built_study() -> tuple[tempfile.TemporaryDirectory, dict]:
    """A study with its tables, figures and report, made once for all tests; keep the directory object alive."""
    from submodels.analysis.draw_figures import draw_figures
    from submodels.analysis.report import write_report
    from submodels.analysis.tabulate import tabulate

    directory = tempfile.TemporaryDirectory(prefix="study-")
    with contextlib.chdir(directory.name):
        paths = write_study(Path(directory.name), n_items=8)
        tabulate(paths["scores"], paths["overlaps"], paths["grid"], paths["submodels"], paths["tables"])
        draw_figures(paths["tables"], paths["grid"], paths["figures"])
        write_report(paths["grid"], paths["tables"], paths["figures"], paths["report"])
    return directory, paths


def write_study(root: Path, n_items: int = 40) -> dict:
    """Write a study under `root`/results/demo; returns the paths that the stages take, relative to `root`."""
    results = root / "results/demo"
    entries = submodel_entries()
    grid = {
        "name": "demo",
        "seed": 0,
        "models": {
            model: {
                "description": f"1M parameters, {model.removeprefix('tiny-')} architecture",
                "tiny_world": True,
                "manifest": f"results/demo/base_models/{model}/manifest.json",
                "submodels": list(entries),
                "evaluated": ["dense", *entries],
            }
            for model in MODELS
        },
        "submodels": entries,
        "benchmarks": {
            name: {
                "domain": domain,
                "language": language,
                "primary": primary,
                "items": f"results/demo/world/benchmarks/{name}.jsonl",
            }
            for name, (domain, language, primary) in BENCHMARKS.items()
        },
        "missing": {"node": "apt-get install nodejs"},
        "local_rows": {"web": "web.jsonl"},
        "roots": {"submodels": "results/demo/submodels", "generations": "results/demo/generations"},
    }
    files.write_json(results / "grid.json", grid)
    for benchmark in BENCHMARKS:
        files.write_jsonl(results / f"world/benchmarks/{benchmark}.jsonl", _items(benchmark, n_items))
    rng, of_files = np.random.default_rng(0), np.random.default_rng(1)
    for model in MODELS:
        _write_manifests(results, model, entries)
        for benchmark, (domain, language, primary) in BENCHMARKS.items():
            scores = {}
            for id, entry in {"dense": None, **entries}.items():
                stage = "executions" if primary == "pass@1" else "generations"
                samples = f"results/demo/{stage}/{model}/{id}/{benchmark}.jsonl.gz"
                if model == "tiny-gemma" and benchmark == "tiny_javascript":
                    scores[id] = not_run("node is not installed")
                    continue
                tasks = [f"{benchmark}/{i}" for i in range(n_items)]
                if primary == "bits_per_byte":
                    matched = entry is not None and entry["language"] == language
                    values, prose = of_files.uniform(0.5, 0.6, (2, n_items)) + (0.3 if entry and not matched else 0.1)
                    scores[id] = source_files(values, prose, samples)
                elif domain == "text":
                    values = rng.uniform(3, 12, n_items) * (1 if entry is None else 1.5)
                    documents = zip(values, rng.integers(50, 200, n_items), strict=True)
                    scores[id] = perplexity(dict(zip(tasks, documents, strict=True)), samples)
                else:
                    values = (rng.random(n_items) < _accuracy(entry, domain, language)).astype(float)
                    if entry is None or (entry["sparsity"] == "0.70" and entry["domain"] != domain):
                        values[0] = entry is None  # the report's example: solved by dense, and by no unmatched set
                    scores[id] = score(primary, dict(zip(tasks, values, strict=True)), samples)
                files.write_jsonl(root / samples, _samples(benchmark, _kind(benchmark), values))
            files.write_json(
                results / f"scores/{model}/{benchmark}.json",
                {"model": model, "benchmark": benchmark, "domain": domain, "language": language, "primary": primary}
                | {
                    "higher_is_better": primary not in ("perplexity", "bits_per_byte"),
                    "bootstrap": BOOTSTRAP,
                    "task_ids": tasks,
                }
                | {"submodels": scores}
                | PLAIN
                | MARKED.get(benchmark, {}),
            )
        files.write_text(results / f"overlap/{model}.csv", _overlap(entries, rng))
    return {
        "scores": sorted(Path(f"results/demo/scores/{model}/{name}.json") for model in MODELS for name in BENCHMARKS),
        "overlaps": [Path(f"results/demo/overlap/{model}.csv") for model in MODELS],
        "grid": Path("results/demo/grid.json"),
        "submodels": Path("results/demo/submodels"),
        "tables": Path("results/demo/tables"),
        "figures": Path("results/demo/figures"),
        "report": Path("results/demo/report/index.html"),
    }


def score(primary: str, items: dict[str, float], samples: str = SAMPLES) -> dict:
    """A score entry of status ok with the mean of `items` (values 0 or 1)."""
    value = sum(items.values()) / len(items)
    error = (value * (1 - value) / len(items)) ** 0.5
    right = int(sum(items.values()))
    wrong = len(items) - right
    counts = {"correct": right, "wrong": wrong}
    if primary == "pass@1":
        counts = dict.fromkeys(STATUSES, 0) | {"passed": right, "out of memory": wrong}
    return {
        "status": "ok",
        "reason": None,
        "n_items": len(items),
        "n_samples": len(items),
        **TOOK,
        "counts": counts,
        "metrics": {
            primary: {
                "value": value,
                "stderr": error,
                "low": max(0, value - 2 * error),
                "high": min(1, value + 2 * error),
            }
        },
        "items": {primary: list(items.values())},
        "samples": samples,
        "fingerprint": "0" * 64,
    }


def perplexity(documents: dict[str, tuple[float, int]], samples: str = SAMPLES) -> dict:
    """A score entry of status ok from task -> (perplexity of the document, its tokens), each of four bytes."""
    items = {
        "perplexity": [float(value) for value, _ in documents.values()],
        "bits_per_byte": [math.log2(value) / 4 for value, _ in documents.values()],
        "tokens": [int(n) for _, n in documents.values()],
        "bytes": [4 * int(n) for _, n in documents.values()],
    }
    nats = sum(math.log(value) * n for value, n in documents.values()) / sum(n for _, n in documents.values())
    value, bits = math.exp(nats), nats / math.log(2) / 4
    return {
        "status": "ok",
        "reason": None,
        "n_items": len(documents),
        "n_samples": len(documents),
        **TOOK,
        "counts": {"scored": len(documents)},
        "metrics": {
            "perplexity": {"value": value, "stderr": 0.1, "low": value - 0.2, "high": value + 0.2},
            "bits_per_byte": {"value": bits, "stderr": 0.01, "low": bits - 0.02, "high": bits + 0.02},
        },
        "items": items,
        "samples": samples,
        "fingerprint": "0" * 64,
    }


def source_files(code: list[float], prose: list[float], samples: str = SAMPLES) -> dict:
    """A score entry of files of 100 bytes each, 75 of code and 25 of prose, with the bits per byte of each part."""
    whole = [0.75 * c + 0.25 * p for c, p in zip(code, prose, strict=True)]
    columns = {"bits_per_byte": whole, "code_bits_per_byte": list(code), "prose_bits_per_byte": list(prose)}
    means = {name: sum(values) / len(values) for name, values in columns.items()}
    weights = {"bytes": 100, "code_bytes": 75, "prose_bytes": 25}
    return score("bits_per_byte", dict.fromkeys(map(str, range(len(whole))), 1.0), samples) | {
        "counts": {"scored": len(whole)},
        "metrics": {
            name: {"value": mean, "stderr": 0.01, "low": mean - 0.02, "high": mean + 0.02}
            for name, mean in means.items()
        },
        "items": columns | {name: [value] * len(whole) for name, value in weights.items()},
    }


def not_run(reason: str) -> dict:
    return {
        "status": "not run",
        "reason": reason,
        "n_items": 0,
        "n_samples": 0,
        **dict.fromkeys(TOOK, None),
        "wall_seconds": {"generate": None, "execute": None},
        "counts": {},
        "metrics": {},
        "items": {},
    }


def _accuracy(entry: dict | None, domain: str, language: str | None) -> float:
    base = {"code": 0.97, "math": 0.7, "csr": 1.0, "translation": 0.9}[domain]
    if entry is None:
        return base
    harsh = 1.0 if entry["sparsity"] == "0.70" else 0.35
    if entry["domain"] == domain and language in (None, entry["language"]):
        return base * (1 - 0.1 * harsh)
    loss = {"code": 0.35, "math": 0.7, "generic": 0.25, "control": 0.95, None: 1.0}.get(entry["domain"], 0.9)
    if domain == "csr":
        loss *= 0.2
    return base * (1 - loss * harsh)


def _kind(benchmark: str) -> str:
    """The domain of a benchmark, or `text` where whole texts are scored."""
    domain, _, primary = BENCHMARKS[benchmark]
    return "text" if primary == "bits_per_byte" else domain


def _items(benchmark: str, n: int) -> list[dict]:
    fields = {
        "code": lambda i: {"prompt": f'def add_{i}(x):\n    """Return x plus {i}."""\n', "entry_point": f"add_{i}"},
        "math": lambda i: {"question": f"Anna has {i} apples and buys 3. How many has she?", "answer": f"#### {i + 3}"},
        "csr": lambda i: {"query": f"What is the colour of thing {i}?", "choices": ["red", "blue"], "gold": 0},
        "translation": lambda i: {"source": f"the cat sees {i} dogs", "target": f"le chat voit {i} chiens"},
        "text": lambda i: {"text": f"The cat sees {i} dogs."},
    }[_kind(benchmark)]
    return [{"task_id": f"{benchmark}/{i}"} | fields(i) for i in range(n)]


def _samples(benchmark: str, kind: str, values) -> list[dict]:
    rows = []
    for i, value in enumerate(values):
        row = {"task_id": f"{benchmark}/{i}"}
        if kind == "csr":
            rows.append(row | {"loglikelihoods": [-1.0, -2.0] if value else [-2.0, -1.0], "greedy": [False, False]})
            continue
        if kind == "text":
            rows.append(row | {"loglikelihood": -100.0 * value, "tokens": 100, "bytes": 400})
            continue
        text = {"code": f"    return x + {i}\n" if value else f"    return x - {i}  # {HOSTILE}\n"}
        row |= {"completion": text.get(kind, f"answer {i}" if value else HOSTILE), "sample": 0}
        if kind == "code":
            row |= {"passed": bool(value), "result": "passed" if value else "failed: AssertionError"}
        rows.append(row)
    return rows


def _write_manifests(results: Path, model: str, entries: dict) -> None:
    common = {"versions": {"python": "3.11.2", "torch": "2.13.0", "submodels": "0.1.0"}, "git": None}
    common |= {"started": "2025-01-01T00:00:00+00:00", "wall_seconds": 1.5, "peak_memory_mb": 300.0, "fingerprint": "0"}
    common |= {"results": {"sparsity": 0.5}}
    files.write_json(
        results / f"base_models/{model}/manifest.json", common | {"stage": "train", "parameters": {"seed": 0}}
    )
    for id, entry in entries.items():
        content = common | {"stage": "prune", "parameters": {"seed": entry["seed"]}}
        files.write_json(results / f"submodels/{model}/{id}/manifest.json", content)
    for id in ("dense", *entries):
        for benchmark in BENCHMARKS:
            path = results / f"generations/{model}/{id}/{benchmark}.manifest.json"
            files.write_json(path, common | {"stage": "generate", "parameters": {"seed": 0}})


def _overlap(entries: dict, rng) -> str:
    lines = ["a,b,level,layer,module,kept_distance,pruned_distance,n_weights"]
    ids = list(entries)
    for i, a in enumerate(ids):
        for b in ids[i + 1 :]:
            one, two = entries[a], entries[b]
            near = (
                0.05 if one["calibration"] == two["calibration"] else 0.12 if one["domain"] == two["domain"] else 0.25
            )
            near += 0.2 * (one["sparsity"] != two["sparsity"]) + 0.15 * ("magnitude" in (one["method"], two["method"]))
            layers = [near + 0.02 * layer + rng.normal(0, 0.005) for layer in range(4)]
            mean = sum(layers) / len(layers)
            lines.append(f"{a},{b},model,,,{mean:.6f},{mean * 0.8:.6f},400")
            lines += [f"{a},{b},layer,{k},,{value:.6f},{value * 0.8:.6f},100" for k, value in enumerate(layers)]
    return "\n".join(lines) + "\n"
