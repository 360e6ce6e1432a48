"""The self-check: find faults of a model, a machine or a benchmark before hours are spent on scores.

It prints every check's findings, then the model's answers to the first items of each benchmark. Nothing is downloaded.
"""

import json
import os
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from submodels import defaults, prompts
from submodels.benchmarks.registry import Benchmark, benchmark_names, load_benchmark, load_items
from submodels.doctor.checks import CHECKS
from submodels.doctor.subject import PROBLEM, WARNING, Finding, Subject, first_line
from submodels.dtypes import AUTO
from submodels.errors import SubmodelsError
from submodels.grid import find_items

_CLIPPED = 600  # characters of a prompt or completion that is shown


def examine(subject: Subject, checks: dict[str, Callable[[Subject], Iterator[Finding]]] = CHECKS) -> list[Finding]:
    """All findings, in the order of the checks; an error that stops a check is a finding too, spelled out once."""
    findings, known = [], {}
    for name, check in checks.items():
        try:
            new = list(check(subject))
        except SubmodelsError as error:
            if first := known.get(str(error)):
                new = [Finding(WARNING, f"not checked, for the reason given at {first}")]
            else:
                new = [Finding(PROBLEM, str(error))]
        except Exception as error:  # of any type: the other checks may still find the cause
            new = [Finding(PROBLEM, f"cannot be checked: {type(error).__name__}: {first_line(error)}")]
        known |= {finding.text: name for finding in new if finding.level == PROBLEM}
        findings += [replace(finding, check=name) for finding in new]
    return findings


def items_at_hand(benchmark: Benchmark, grid: str | None = None) -> list[dict]:
    """A benchmark's items found on this machine, where needed among the files of the grid of that name; else made now:
    the tiny world's items, or a fixture of the data set."""
    path = None
    with suppress(SubmodelsError):  # not made yet
        path = find_items(benchmark, grid)
    if path is not None and path.is_file():
        return load_items(benchmark, path)
    with tempfile.TemporaryDirectory(prefix="submodels-") as directory:
        if benchmark.source.tiny_world:
            from submodels.world.corpus import TRAIN_DOCUMENTS, write_world

            write_world(Path(directory), 0, dict.fromkeys(TRAIN_DOCUMENTS, 1), calibration_rows=1)
            path = Path(directory) / "benchmarks" / f"{benchmark.name}.jsonl"
        else:
            from submodels.benchmarks.items import write_items

            path = Path(directory) / "items.jsonl"
            write_items(benchmark.name, path, fixture=True)
        return load_items(benchmark, path)


def doctor(
    model: Path,
    submodel: Path | None = None,
    benchmarks: dict[str, Path | None] | None = None,
    *,
    prompt: str = defaults.PROMPT,
    device: str = "cpu",
    dtype: str = AUTO,
    threads: int | None = None,
    as_json: bool = False,
    grid: str | None = None,
) -> bool:
    """Print the findings and the model's answers to the first items; True if there is no problem.

    benchmarks: name -> file of items, None for the items at hand; all registered benchmarks if not given. grid: name
    of a grid that was run here, whose items count as at hand.
    """
    # Set before the libraries that read them are imported: no downloads, and no progress bars of a few steps.
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TQDM_DISABLE="1")
    prompts.check(prompt)
    items = {}
    for name, path in (benchmarks or dict.fromkeys(benchmark_names())).items():
        benchmark = load_benchmark(name)
        items[name] = items_at_hand(benchmark, grid) if path is None else load_items(benchmark, path)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    subject = Subject(model, submodel, items, named=benchmarks is not None, prompt=prompt, device=device, dtype=dtype)
    findings = examine(subject)
    samples = {}
    with suppress(Exception):  # where the model cannot answer, a finding gives the reason
        samples = subject.samples
    healthy = all(finding.level != PROBLEM for finding in findings)
    print(_as_json(subject, findings, samples, healthy) if as_json else _as_text(subject, findings, samples))
    return healthy


def _as_json(subject: Subject, findings: list[Finding], samples: dict, healthy: bool) -> str:
    about = {key: str(value) for key in ("model", "submodel", "prompt", "device") if (value := getattr(subject, key))}
    about["dtype"] = subject.computed_in
    return json.dumps(
        about | {"healthy": healthy, "findings": [asdict(finding) for finding in findings], "samples": samples},
        indent=2,
    )


def _as_text(subject: Subject, findings: list[Finding], samples: dict[str, list[dict]]) -> str:
    width = max(map(len, CHECKS))
    lines = [f"{finding.level:8} {finding.check:{width}} {' '.join(finding.text.split())}" for finding in findings]
    for name, answers in samples.items():
        items = {item["task_id"]: item for item in subject.items[name]}
        fixture = ", a fixture" if any(item.get("fixture") for item in items.values()) else ""
        lines += [
            "",
            f"{name} ({len(answers)} of {len(items)} items{fixture}; prompt format {subject.format_of(name)})",
        ]
        for answer in answers:
            shown = TELL[subject.benchmarks[name].output_type](answer, items[answer["task_id"]])
            lines += [f"  {answer['task_id']}", _quoted(answer["prompt"], "    > "), _quoted(shown, "    < ")]
    counts = Counter(finding.level for finding in findings)
    wrong = [f"{counts[level]} {level}{'s' * (counts[level] > 1)}" for level in (PROBLEM, WARNING) if counts[level]]
    return "\n".join([*lines, "", ", ".join(wrong) or "nothing is wrong"])


def _quoted(text: str, mark: str) -> str:
    text = text if len(text) <= _CLIPPED else f"[...]{text[-_CLIPPED:]}"
    return textwrap.indent(text.rstrip("\n") or "(nothing)", mark, lambda line: True)


def _tell_choice(line: dict, item: dict) -> str:
    values = line["loglikelihoods"]
    chosen = max(range(len(values)), key=values.__getitem__)
    return f"{item['choices'][chosen]} (log-likelihood {values[chosen]:.2f}; right: {item['choices'][item['gold']]})"


# Output type -> function of (sample line, item) that writes the model's answer as a readable text.
TELL: dict[str, Callable[[dict, dict], str]] = {
    "generate_until": lambda line, item: line["completion"],
    "multiple_choice": _tell_choice,
    "loglikelihood_rolling": lambda line, item: f"{-line['loglikelihood'] / line['tokens']:.2f} nats a token",
}
