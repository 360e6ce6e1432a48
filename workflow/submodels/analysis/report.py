"""Stage `report`: one page that opens from disk, without a network, and leads from every number to its samples.

Completions are untrusted text: the template escapes everything, and the page's policy runs its own script
alone.
"""

import base64
import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote, urlencode

import jinja2
import pandas as pd

from submodels import files
from submodels.analysis import paper
from submodels.analysis.claims import CLAIMS, NOT_SUPPORTED, SUPPORTED, UNDECIDED
from submodels.analysis.figures import read_table
from submodels.analysis.formats import (
    interval,
    measured,
    named,
    not_run,
    not_testable,
    of_change,
    of_score,
    setting_name,
)
from submodels.analysis.study import REFERENCE, Setting, Study, load_study
from submodels.analysis.tables import TABLES, show_counts
from submodels.errors import SubmodelsError
from submodels.evaluation.samples import samples_of
from submodels.layout import manifest_of
from submodels.terms import DENSE, NO_CALIBRATION

FIGURE_CAPTIONS = {
    "cross_task": "Change of accuracy against dense in percentage points, calibration set by benchmark. ≈: the "
    "interval holds zero. Framed: calibrated on the benchmark’s domain (and language). Strips show domains; blank "
    "cells are not in the grid.",
    "sparsity": "Accuracy against the share of weights pruned: mean over the benchmarks of a domain, and over the "
    "calibration sets that match them or do not. Bands are intervals over items; N:M sparsities are single points.",
    "languages": "Score of the code sets, generic sets and controls on each programming language. Framed: the set of "
    "the benchmark’s language. Blank cells are not in the grid.",
    "jaccard": "Jaccard distance of kept weights between calibration sets. Diagonal: two draws of one set, the floor "
    "of any distance. Last column: two random masks of this sparsity, the end of the scale. Blank cells are not in the "
    "grid.",
    "jaccard_layers": "Jaccard distance of kept weights by decoder block: mean over pairs of sub-models, bands from "
    "the nearest to the farthest pair.",
}
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')  # Matplotlib's; a pixel is 3/4 point
_PROMPT_FIELDS = ("prompt", "question", "source", "query")


def write_report(scores: list[Path], grid: Path, tables: Path, figures: Path, out: Path) -> None:
    """Write the page `out`, which links to tables, samples and manifests by relative paths, and copies of the pictures
    on it beside it: a directory to send or to open anywhere.

    scores: score files; grid: description of the grid (JSON); tables, figures: directories of the stages before.
    Paths inside score files and the grid are relative to the working directory.
    """
    study = load_study(scores, [], grid)
    read = {name: _read(tables, name) for name in TABLES}
    links = Links(study, Path(out).parent)
    template = _environment().get_template("report.html.j2")
    script = _template_text("report.js")
    page = template.render(
        study=study,
        grid=study.grid,
        tiny_world=all(entry.get("tiny_world") for entry in study.grid["models"].values()),
        level=f"{100 * study.resampling.level:g}%",
        counts=_counts(read["scores"]),
        claims=_claims(read["claims"]),
        remarks=study.remarks(study.benchmarks),
        matrices=_matrices(study, read["relative"], read["noise"], links),
        floors=_floors(study, read["noise"]),
        conditions=_conditions(study),
        figures=_figures(study, Path(figures), Path(out), links),
        readable=[
            _readable(name, read[name]) for name in ("methods", "best_submodels", "code_languages", "within_domain")
        ],
        examples=_examples(study, links),
        gaps=_gaps(read["scores"]),
        provenance=_provenance(links),
        data=_as_script(_score_data(study, read["scores"], links)),
        tables_href=links.to(tables),
        paper=paper,
        script=script,
        policy=_policy(script),
        reference=REFERENCE,
        named=named,
    )
    files.write_text(out, page)


class Links:
    """Relative addresses from the report's directory; None for files that are not there."""

    def __init__(self, study: Study, directory: Path):
        self._study = study
        self._directory = directory
        self._roots = study.grid["roots"]

    def to(self, path: Path | str) -> str:
        return quote(os.path.relpath(path, self._directory).replace(os.sep, "/"))

    def existing(self, path: Path | str | None) -> str | None:
        return self.to(path) if path and Path(path).is_file() else None

    def samples(self, model: str, submodel: str, benchmark: str) -> str | None:
        return self.existing(self._study.score(model, submodel, benchmark).get("samples"))

    def manifest_path(self, model: str, submodel: str) -> Path | None:
        """Manifest of the mask, or of the base model for `dense`; None for a base model that was not made here."""
        if submodel == DENSE:
            path = self._study.grid["models"][model]["manifest"]
            return Path(path) if path else None
        return Path(self._roots["submodels"]) / model / submodel / "manifest.json"

    def manifest(self, model: str, submodel: str) -> str | None:
        return self.existing(self.manifest_path(model, submodel))

    def generation_path(self, model: str, submodel: str, benchmark: str) -> Path:
        return manifest_of(samples_of(Path(self._roots["generations"]) / model / submodel, benchmark))

    def manifest_paths(self) -> list[Path]:
        """Every manifest behind the scores that exists."""
        paths = []
        for model in self._study.models:
            for submodel in self._study.evaluated(model):
                paths.append(self.manifest_path(model, submodel))
                paths += [self.generation_path(model, submodel, name) for name in self._study.benchmarks]
        return [path for path in dict.fromkeys(paths) if path and path.is_file()]


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("submodels.analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template_text(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _read(tables: Path, name: str) -> pd.DataFrame:
    path = Path(tables) / f"{name}.csv"
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; run `submodels tabulate` first")
    return read_table(path)


def _counts(scores: pd.DataFrame) -> dict:
    primary = scores[scores["primary"]]
    ran = primary["status"] == "ok"
    pruned = primary.loc[primary["submodel"] != DENSE, ["model", "submodel"]].drop_duplicates()
    return {
        "models": primary["model"].nunique(),
        "submodels": len(pruned),
        "benchmarks": primary["benchmark"].nunique(),
        "ran": int(ran.sum()),
        "not_run": int((~ran).sum()),
    }


_TALLY = (SUPPORTED, UNDECIDED, NOT_SUPPORTED, "not testable")


def _claims(frame: pd.DataFrame) -> list[dict]:
    grouped, sizes = [], frame["calibration_size"].nunique()
    for name, claim in CLAIMS.items():
        rows = [
            {
                "model": row.model,
                "setting": setting_name(row.method, row.sparsity, row.calibration_size, sizes),
                "value": measured(row.value, claim.unit) if row.status == "ok" else "",
                "interval": interval(row.low, row.high, lambda bound, unit=claim.unit: measured(bound, unit)),
                "verdict": row.verdict if row.status == "ok" else not_testable(row.reason),
                "kind": row.verdict.replace(" ", "-") if row.status == "ok" else "not-run",
                "short": row.verdict if row.status == "ok" else "not testable",
            }
            for row in frame[frame["claim"] == name].itertuples()
        ]
        stated = "no figure" if claim.paper is None else measured(claim.paper, claim.unit)
        claimed = "above zero" if claim.direction > 0 else "below zero"
        tally = Counter((row["short"], row["kind"]) for row in sorted(rows, key=lambda row: _TALLY.index(row["short"])))
        grouped.append({"claim": claim, "paper": stated, "claimed": claimed, "rows": rows, "tally": tally})
    return grouped


def _matrices(study: Study, relative: pd.DataFrame, noise: pd.DataFrame, links: Links) -> list[dict]:
    """One matrix a base model and setting that compares sets; below it the controls without calibration at the same
    sparsity, and what another draw changes."""
    matrices = []
    for model in study.models:
        own = relative[relative["model"] == model]
        for fixed in study.compared(model):
            if not study.scored_by_calibration(model, fixed):
                continue
            at = own["sparsity"] == fixed.sparsity
            of_size = own["calibration_size"] == fixed.calibration_size
            calibrated = own[at & of_size & (own["method"] == fixed.method)]
            bare = own[at & (own["calibration"] == NO_CALIBRATION)]
            rows = [_dense_row(study, model, links)]
            for part in (calibrated, bare):
                for name, cells in part.groupby("calibration" if part is calibrated else "method", sort=False):
                    rows.append(_matrix_row(name, model, cells, study, links))
            rows += _noise_row(study, _of_setting(noise, model, fixed))
            name = setting_name(**asdict(fixed), sizes=len(study.sizes()))
            matrices.append({"model": model, "setting": name, "rows": rows})
    return matrices


_CELL = {"text": "", "note": "", "noise": False, "matched": False, "loss": 0, "href": None, "missing": False}
_CELL |= {"seeds": 1, "query": ""}


def _of_setting(frame: pd.DataFrame, model: str, setting: Setting) -> pd.DataFrame:
    fixed = {"model": model} | asdict(setting)
    return frame[(frame[list(fixed)] == pd.Series(fixed)).all(axis="columns")]


def _noise_row(study: Study, floors: pd.DataFrame) -> list[dict]:
    """The difference that two draws of one calibration set make; nothing where none was drawn twice."""
    if floors.empty:
        return []
    by_benchmark = {row.benchmark: f"± {of_score(row.higher_is_better)(row.floor)}" for row in floors.itertuples()}
    cells = [_CELL | {"text": by_benchmark.get(name, "")} for name in study.benchmarks]
    return [{"name": "another draw", "note": "noise floor", "href": None, "cells": cells}]


def _floors(study: Study, noise: pd.DataFrame) -> list[dict]:
    """One table a base model and setting: the noise floor of each score, and the pairs of sets that lie below it."""
    floors = []
    for model in study.models:
        for setting in study.settings(model):
            own = _of_setting(noise, model, setting)
            if own.empty:
                continue
            shown = TABLES["noise"].to_read(own)
            shown = shown.loc[:, "score":]
            below = ["" if pd.isna(pairs) else pairs.replace(" ", ", ") for pairs in own["below"]]
            name = setting_name(**asdict(setting), sizes=len(study.sizes()))
            rows = list(zip(shown.values.tolist(), below, strict=True))
            floors.append({"model": model, "setting": name, "columns": list(shown.columns), "rows": rows})
    return floors


def _conditions(study: Study) -> list[dict]:
    """The benchmarks whose scores need a word: remarks, quirks of the paper's protocol, overlap nobody looked for."""
    conditions = []
    for benchmark in study.benchmarks:
        scores = [score for (_, name), score in study.scores.items() if name == benchmark]
        notes = list(dict.fromkeys(quirk for score in scores for quirk in score["quirks"]))
        if any(score["contamination"] is None for score in scores):
            notes.append("Nobody looked for its items in the calibration rows.")
        notes += [_cut(score) for score in scores if score["truncated"]]
        remarks = study.remarks([benchmark])
        if remarks or notes:
            conditions.append({"benchmark": benchmark, "remarks": remarks, "notes": notes})
    return conditions


def _cut(score: dict) -> str:
    """How much of the requests and answers the model's context did not hold."""
    prompts, answers = score["truncated"]["prompts"], score["truncated"]["answers"]
    return (
        f"The context of {score['model']} is too short: the prompts of {prompts} items lost their beginning, and up to "
        f"{answers} answers of a sub-model their end."
    )


def _dense_row(study: Study, model: str, links: Links) -> dict:
    cells = []
    for benchmark in study.benchmarks:
        score = study.score(model, DENSE, benchmark)
        metric = score["metrics"].get(study.benchmark(benchmark)["primary"])
        show = of_score(study.higher_is_better(benchmark))
        href = links.samples(model, DENSE, benchmark)
        cells.append(
            _CELL
            | {
                "text": show(metric["value"]),
                "note": interval(metric["low"], metric["high"], show),
                "href": href,
            }
            if metric
            else _CELL | {"text": not_run(score["reason"]), "missing": True}
        )
    return {"name": DENSE, "note": "score", "href": links.manifest(model, DENSE), "cells": cells}


def _matrix_row(name: str, model: str, cells: pd.DataFrame, study: Study, links: Links) -> dict:
    by_benchmark = {row.benchmark: row for row in cells.itertuples()}
    shown = []
    for benchmark in study.benchmarks:
        row = by_benchmark[benchmark]
        if row.status != "ok":
            shown.append(_CELL | {"text": not_run(row.reason), "missing": True})
            continue
        ids = row.submodels.split()
        axes = {"model": model, "method": row.method, "calibration": row.calibration, "sparsity": row.sparsity}
        if isinstance(row.calibration_size, str):
            axes["calibration_size"] = row.calibration_size
        shown.append(
            _CELL
            | {
                "text": of_change(row.higher_is_better)(row.difference),
                "note": interval(row.low, row.high, of_change(row.higher_is_better)),
                "noise": row.inside_noise,
                "matched": row.matched,
                "loss": _loss(row),
                "href": links.samples(model, ids[0], benchmark),
                "seeds": len(ids),
                "query": urlencode(axes | {"benchmark": benchmark}),
            }
        )
    first = cells.iloc[0]
    note = "control, no calibration" if first["calibration"] == NO_CALIBRATION else first["calibration_domain"]
    return {"name": name, "note": note, "href": links.manifest(model, first["submodels"].split()[0]), "cells": shown}


def _loss(row) -> float:
    """How dark a cell is, 0..1: the accuracy lost, or the share of a perplexity that pruning added."""
    lost = -row.difference if row.higher_is_better else row.difference / row.value
    return round(min(max(lost, 0), 1), 3)


def _readable(name: str, frame: pd.DataFrame) -> dict:
    """A table to read; that of methods is wide and comes in groups, so that what a group shares is its heading."""
    shown = TABLES[name].to_read(frame).fillna("")
    groups = [("", shown)]
    if name == "methods":
        shared = list(shown.columns[: shown.columns.get_loc("method")])
        groups = [
            (f"{model}, {sparsity} pruned, calibration set {', '.join(calibration)}", own)
            for (model, sparsity, *calibration), own in shown.groupby(shared, sort=False)
        ]
        shown = shown.drop(columns=shared)
    columns = list(shown.columns)
    rows = [(title, own[columns].values.tolist()) for title, own in groups]
    return {"name": name, "caption": TABLES[name].caption, "columns": columns, "groups": rows, "empty": shown.empty}


def _figures(study: Study, directory: Path, page: Path, links: Links) -> list[dict]:
    shown = []
    for name, caption in FIGURE_CAPTIONS.items():
        for model in study.models:
            stem = directory / f"{name}-{model}"
            if not stem.with_name(stem.name + ".svg").is_file():
                raise SubmodelsError(f"{stem}.svg: no such file; run `submodels figures` first")
            picture = Path("figures") / f"{stem.name}.svg"
            drawn = stem.with_name(picture.name).read_text(encoding="utf-8")
            files.write_text(page.parent / picture, drawn)
            width, height = (round(float(points) * 4 / 3) for points in _SIZE.search(drawn).groups())
            shown.append(
                {
                    "name": name,
                    "model": model,
                    "caption": caption,
                    "svg": quote(picture.as_posix()),
                    "width": width,
                    "height": height,
                    "csv": links.to(f"{stem}.csv"),
                }
            )
    return shown


def _examples(study: Study, links: Links) -> list[dict]:
    """One item a domain: what dense, a matched and an unmatched sub-model said.

    A fixed rule: first base model; first benchmark of the domain; first item, in the order of its file, on which dense
    reaches its highest item score; first calibrating method at its highest unstructured sparsity; first matched and
    first unmatched set of another domain, lowest seed, first sample.
    """
    model = study.models[0]
    examples = []
    for domain in study.domains():
        benchmark = study.scored(model, domain)[0]
        rows = {row["task_id"]: row for row in _items(study, benchmark)}
        dense = study.items(model, [DENSE], benchmark)
        solved = dict(zip(study.task_ids(model, benchmark), dense, strict=False))  # of no items if dense was not run
        order = [task for task in rows if task in solved] or list(solved)
        setting = _example_setting(study, model)
        if not order or setting is None or max(solved.values()) == 0:
            reason = "dense was not run or solves no item, or the grid has no calibrated sub-model"
            examples.append({"domain": domain, "benchmark": benchmark, "reason": reason})
            continue
        task = max(order, key=solved.get)
        groups = study.scored_by_calibration(model, setting)
        same, other = ([one for one in sets if one in groups] for sets in study.matched(model, setting, benchmark))
        other = [calibration for calibration in other if calibration.domain != domain]
        chosen = {"dense": DENSE}
        chosen |= {"matched": groups[same[0]][0]} if same else {}
        chosen |= {"unmatched": groups[other[0]][0]} if other else {}
        answers = [
            _answer(study, links, model, id, benchmark, task, rows.get(task, {}), role) for role, id in chosen.items()
        ]
        prompt = next((rows[task][key] for key in _PROMPT_FIELDS if key in rows.get(task, {})), None)
        examples.append(
            {
                "domain": domain,
                "benchmark": benchmark,
                "task": task,
                "prompt": prompt,
                "answers": answers,
                "reason": None,
            }
        )
    return examples


def _items(study: Study, benchmark: str) -> list[dict]:
    path = Path(study.benchmark(benchmark)["items"])
    return files.read_jsonl(path) if path.is_file() else []


def _example_setting(study: Study, model: str) -> Setting | None:
    settings = [setting for setting in study.settings(model) if study.scored_by_calibration(model, setting)]
    method = [setting for setting in settings if setting.method == settings[0].method]
    return max(method, key=lambda one: ("of" not in one.sparsity, one.order), default=None)


def _answer(study: Study, links: Links, model: str, id: str, benchmark: str, task: str, item: dict, role: str) -> dict:
    score = study.score(model, id, benchmark)
    answer = {"role": role, "submodel": id, "href": links.samples(model, id, benchmark)}
    if score["status"] != "ok":
        return answer | {"text": "", "verdict": not_run(score["reason"]), "good": False}
    lines = files.read_jsonl(score["samples"]) if answer["href"] else []
    line = next((line for line in lines if line["task_id"] == task), None)
    primary = study.benchmark(benchmark)["primary"]
    value = score["items"][primary][study.task_ids(model, benchmark).index(task)]
    if line is None:
        return answer | {"text": "(samples are not at hand)", "verdict": f"{primary} {value:.2f}", "good": value > 0}
    verdict = line.get("result") or f"{primary} {value:.2f}"
    good = line["passed"] is True if "passed" in line else value > 0.5
    return answer | {"text": _said(line, item), "verdict": verdict, "good": good}


def _said(line: dict, item: dict) -> str:
    """The completion, or the choice with the highest likelihood."""
    if "completion" in line:
        return line["completion"]
    likelihoods = line["loglikelihoods"]
    best = likelihoods.index(max(likelihoods))
    return item["choices"][best] if "choices" in item else f"choice {best}"


def _gaps(scores: pd.DataFrame) -> list[dict]:
    """What did not run: reason, base model, benchmark and how many sub-models."""
    missing = scores[scores["primary"] & (scores["status"] != "ok")]
    counted = Counter((row.model, row.benchmark, not_run(row.reason)) for row in missing.itertuples())
    return [
        {"model": model, "benchmark": benchmark, "reason": reason, "n": n}
        for (model, benchmark, reason), n in counted.items()
    ]


def _provenance(links: Links) -> dict:
    """Versions, commits, hours and machines' peak memory over all manifests behind the scores."""
    manifests = [files.read_json(path) for path in links.manifest_paths()]
    versions: dict[str, set] = {}
    for manifest in manifests:
        for library, version in manifest.get("versions", {}).items():
            versions.setdefault(library, set()).add(version)
    commits = {(git["commit"], git["dirty"]) for manifest in manifests if (git := manifest.get("git"))}
    seconds: Counter = Counter()
    for manifest in manifests:
        own = manifest.get("results", {}).get("wall_seconds")  # of one benchmark, where a process ran several
        seconds[manifest["stage"]] += manifest.get("wall_seconds", 0) if own is None else own
    return {
        "n": len(manifests),
        "versions": {library: ", ".join(sorted(found)) for library, found in sorted(versions.items())},
        "commits": [f"{commit}{' with uncommitted changes' if dirty else ''}" for commit, dirty in sorted(commits)],
        "minutes": {stage: f"{total / 60:.1f}" for stage, total in sorted(seconds.items())},
        "peak": max((manifest.get("peak_memory_mb", 0) for manifest in manifests), default=None),
    }


def _score_data(study: Study, scores: pd.DataFrame, links: Links) -> dict:
    """Every score for the page's script: what repeats (sub-models, benchmarks, sentences, addresses) stands once.

    rows: sub-model, benchmark, metric (all three by position), whether it is the benchmark's main one, value, interval
    (null: not run), items, and by position how samples ended and the addresses of samples and of their manifest, in
    which {} stands for <base model>/<sub-model>/<benchmark>.
    """
    runs, ended, samples, generations = _Places(), _Places(), _Places(), _Places()
    benchmarks: dict[str, _Places] = {name: _Places() for name in study.benchmarks}
    rows, positions = [], {name: position for position, name in enumerate(benchmarks)}
    for row in scores.itertuples():
        ok, show = row.status == "ok", of_score(row.higher_is_better)
        axes = {"model": row.model, "submodel": row.submodel, "method": row.method, "calibration": row.calibration}
        axes |= {"calibration_size": row.calibration_size, "domain": row.domain}
        axes |= {"sparsity": row.sparsity, "seed": row.seed}
        run = {name: "" if pd.isna(value) else value for name, value in axes.items()}
        run["seed"] = run["seed"] and int(run["seed"])
        place = f"/{row.model}/{row.submodel}/{row.benchmark}."
        addresses = [
            (path or "").replace(place, "/{}.")
            for path in (
                links.existing(row.samples) if ok else None,
                links.existing(links.generation_path(row.model, row.submodel, row.benchmark)),
            )
        ]
        rows.append(
            [
                runs.add((row.model, row.submodel), run),
                positions[row.benchmark],
                benchmarks[row.benchmark].add(row.metric, named(row.metric, row.higher_is_better, "%")),
                int(row.primary),
                show(row.value) if ok else not_run(row.reason),
                interval(row.low, row.high, show) if ok else None,
                int(row.n_items) if ok else "",
                ended.add(text := show_counts(study.score(row.model, row.submodel, row.benchmark)["counts"]), text),
                *(places.add(path, path) for places, path in zip((samples, generations), addresses, strict=True)),
            ]
        )
    for (model, submodel), run in runs.items():
        run["manifest"] = links.manifest(model, submodel)
    return {
        "runs": list(runs.values()),
        "benchmarks": [
            {"name": name, "remarks": study.remarks([name]), "metrics": list(metrics.values())}
            for name, metrics in benchmarks.items()
        ],
        "rows": rows,
        "ended": list(ended.values()),
        "samples": list(samples.values()),
        "generations": list(generations.values()),
    }


class _Places(dict):
    """What stands once, by its key, in the order of first appearance."""

    def __init__(self):
        super().__init__()
        self._positions: dict = {}

    def add(self, key, value) -> int:
        """The position of `key`, with `value` if it is new."""
        if key not in self._positions:
            self._positions[key] = len(self._positions)
            self[key] = value
        return self._positions[key]


def _as_script(data: dict) -> str:
    """JSON that can stand in a script element: no character of it can end or open one."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
