"""The report's texts beside its tables: remarks on benchmarks, the setting of each matrix, one example for each domain.

`tabulate` writes them as page.json beside the tables, so that the report reads no scores.
"""

from dataclasses import asdict
from pathlib import Path

from submodels import files
from submodels.analysis.formats import not_run
from submodels.analysis.study import Setting, Study
from submodels.checkpoints.base import quantised_types
from submodels.terms import DENSE

_PROMPT_FIELDS = ("prompt", "question", "source", "query")


def describe_page(study: Study) -> dict:
    """The content of page.json."""
    return {
        "resampling": asdict(study.resampling),
        "calibration_sizes": study.sizes(),
        "remarks": study.remarks(study.benchmarks),
        "local_rows": study.grid["local_rows"],
        "quantised": _quantised(study),
        "benchmarks": [_benchmark(study, name) for name in study.benchmarks],
        "matrices": [
            {"model": model, **setting.columns}
            for model in study.models
            for setting in study.compared(model)
            if study.scored_by_calibration(model, setting)
        ],
        "examples": [_example(study, study.models[0], domain) for domain in study.domains()],
    }


def _quantised(study: Study) -> dict[str, dict[str, int]]:
    """`quantised_types` of the base models that have any."""
    manifests = {model: entry["manifest"] for model, entry in study.grid["models"].items() if entry["manifest"]}
    return {model: types for model, path in manifests.items() if (types := quantised_types(Path(path).parent))}


def _benchmark(study: Study, name: str) -> dict:
    """`remarks` and `notes`: how the benchmark's scores must be read, in short and in sentences."""
    metric = study.metric(name)
    scores = [score for (_, benchmark), score in study.scores.items() if benchmark == name]
    notes = list(dict.fromkeys(quirk for score in scores for quirk in score["quirks"]))
    if any(score["contamination"] is None for score in scores):
        notes.append("Not checked for overlap with calibration rows.")
    notes += [_cut(score) for score in scores if score["truncated"]]
    about = {"name": name, "metric": metric.name, "higher_is_better": metric.higher_is_better}
    return about | {"remarks": study.remarks([name]), "notes": notes}


def _cut(score: dict) -> str:
    """A sentence on the requests and answers that were longer than the model's context."""
    prompts, answers = score["truncated"]["prompts"], score["truncated"]["answers"]
    return (
        f"The context of {score['model']} is too short: the prompts of {prompts} items lost their beginning, and up to "
        f"{answers} answers of a sub-model their end."
    )


def _example(study: Study, model: str, domain: str) -> dict:
    """One item of a domain: the answers of dense, a matched and an unmatched sub-model, or the reason for no example.

    A fixed rule: first benchmark of the domain; first item, in the order of its file, on which dense reaches its
    highest item score; first calibrating method at its highest unstructured sparsity; first matched and first unmatched
    set of another domain, lowest seed, first sample.
    """
    benchmark = study.scored(model, domain)[0]
    about = {"domain": domain, "benchmark": benchmark}
    items = _items(study, benchmark)
    dense = study.items(model, [DENSE], benchmark)
    solved = dict(zip(study.task_ids(model, benchmark), dense, strict=False))  # without items if dense was not run
    order = [task for task in items if task in solved] or list(solved)
    setting = _example_setting(study, model)
    if not order or setting is None or max(solved.values()) == 0:
        return about | {"reason": "dense was not run or solves no item, or the grid has no calibrated sub-model"}
    task = max(order, key=solved.get)
    item = items.get(task, {})
    groups = study.scored_by_calibration(model, setting)
    same, other = (
        [calibration for calibration in sets if calibration in groups]
        for sets in study.matched(model, setting, benchmark)
    )
    other = [calibration for calibration in other if calibration.domain != domain]
    chosen = {"dense": DENSE}
    chosen |= {"matched": groups[same[0]][0]} if same else {}
    chosen |= {"unmatched": groups[other[0]][0]} if other else {}
    answers = [
        {"role": role, "submodel": id} | _answer(study, model, id, benchmark, task, item) for role, id in chosen.items()
    ]
    prompt = next((item[key] for key in _PROMPT_FIELDS if key in item), None)
    return about | {"reason": None, "task": task, "prompt": prompt, "answers": answers}


def _items(study: Study, benchmark: str) -> dict[str, dict]:
    path = Path(study.benchmark(benchmark)["items"])
    return {item["task_id"]: item for item in files.read_jsonl(path)} if path.is_file() else {}


def _example_setting(study: Study, model: str) -> Setting | None:
    settings = [setting for setting in study.settings(model) if study.scored_by_calibration(model, setting)]
    method = [setting for setting in settings if setting.method == settings[0].method]
    return max(method, key=lambda setting: (not setting.is_structured, setting.order), default=None)


def _answer(study: Study, model: str, id: str, benchmark: str, task: str, item: dict) -> dict:
    """`text`: the answer; `verdict`: its result or score; `good`: whether it is right; `samples`: its file."""
    score = study.score(model, id, benchmark)
    answer = {"samples": score.get("samples")}
    if score["status"] != "ok":
        return answer | {"text": "", "verdict": not_run(score["reason"]), "good": False}
    lines = files.read_jsonl(answer["samples"]) if Path(answer["samples"]).is_file() else []
    line = next((line for line in lines if line["task_id"] == task), None)
    primary = study.metric(benchmark).name
    value = score["items"][primary][study.task_ids(model, benchmark).index(task)]
    if line is None:
        return answer | {
            "text": "(the file of samples does not exist)",
            "verdict": f"{primary} {value:.2f}",
            "good": bool(value > 0),
        }
    verdict = line.get("result") or f"{primary} {value:.2f}"
    good = line["passed"] is True if "passed" in line else bool(value > 0.5)
    return answer | {"text": _text(line, item), "verdict": verdict, "good": good}


def _text(line: dict, item: dict) -> str:
    """The completion, or the choice with the highest likelihood."""
    if "completion" in line:
        return line["completion"]
    likelihoods = line["loglikelihoods"]
    best = likelihoods.index(max(likelihoods))
    return item["choices"][best] if "choices" in item else f"choice {best}"
