"""Stage `report`: one page that opens from disk, without a network, and leads from every number to its samples.

It reads what `tabulate` and `figures` wrote, and the grid's description. Completions are untrusted text: the template
escapes everything, and the page's policy allows only its own script.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlencode

import jinja2
import pandas as pd

from submodels import files
from submodels.analysis import paper
from submodels.analysis.claims import CLAIMS, NOT_SUPPORTED, SUPPORTED, UNDECIDED
from submodels.analysis.figures import FIGURES
from submodels.analysis.formats import (
    interval,
    labelled,
    measured,
    method_name,
    not_run,
    not_testable,
    product_note,
    setting_name,
)
from submodels.analysis.links import Links
from submodels.analysis.metric import Metric
from submodels.analysis.score_list import list_scores
from submodels.analysis.study import REFERENCE
from submodels.analysis.table_files import read_tables, tabulated
from submodels.analysis.tables import TABLES
from submodels.analysis.tables.shared import SETTING
from submodels.analysis.view import view_sets
from submodels.errors import SubmodelsError
from submodels.layout import PAGE
from submodels.terms import DENSE, NO_CALIBRATION

# Tables shown as they are.
_READABLE = (
    "table_one",
    "methods",
    "best_submodels",
    "code_languages",
    "bits_per_byte",
    "language_contrasts",
    "within_domain",
)
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')  # Matplotlib's; a pixel is 3/4 point


def write_report(grid: Path, tables: Path, figures: Path, out: Path, views: Path | None = None) -> None:
    """Write the page `out`, which links to tables, samples and manifests by relative paths, and copies of its pictures
    beside it: a directory that can be sent and opened anywhere.

    grid: description of the grid (JSON); tables, figures: directories of the stages `tabulate` and `figures`. Paths
    inside their files are relative to the working directory. views: directory to write, with a page for the masks of
    every two calibration sets; None: no such pages.
    """
    description = files.read_json(grid)
    read = read_tables(tables)
    page = files.read_json(tabulated(tables, PAGE))
    benchmarks = [
        entry | {"label": Metric(entry["metric"], entry["higher_is_better"]).label()} for entry in page["benchmarks"]
    ]
    links = Links(description, read["scores"], Path(out).parent)
    viewed = view_sets(description, read["jaccard"], Path(views)) if views else []
    script = _template_text("report.js")
    template = _environment().get_template("report.html.j2")
    text = template.render(
        grid=description,
        page=page,
        benchmarks=benchmarks,
        conditions=[entry for entry in benchmarks if entry["remarks"] or entry["notes"]],
        remarks_of={entry["name"]: entry["remarks"] for entry in benchmarks},
        tiny_world=all(entry.get("tiny_world") for entry in description["models"].values()),
        level=f"{100 * page['resampling']['level']:g}%",
        counts=_counts(read["scores"]),
        product_note=product_note(read["scores"]["method"]),
        claims=_claims(read["claims"]),
        matrices=_matrices(page, read["scores"], read["relative"], read["noise"], links),
        floors=_floors(page, read["noise"]),
        figures=_figures(list(description["models"]), Path(figures), Path(out), links),
        views=_views(viewed, page, links),
        readable=[_readable(name, read[name]) for name in _READABLE],
        other_tables=[name for name in TABLES if name not in _READABLE],
        examples=_examples(page, description["submodels"], links),
        gaps=_gaps(read["scores"]),
        provenance=_provenance(links),
        data=_as_script(list_scores(read["scores"], benchmarks, links)),
        tables_href=links.to(tables),
        paper=paper,
        script=script,
        policy=_policy(script),
        reference=REFERENCE,
    )
    files.write_text(out, text)


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


_CELL = {"text": "", "note": "", "noise": False, "matched": False, "loss": 0, "href": None, "missing": False}
_CELL |= {"seeds": 1, "query": ""}


def _matrices(
    page: dict, scores: pd.DataFrame, relative: pd.DataFrame, noise: pd.DataFrame, links: Links
) -> list[dict]:
    """One matrix for each base model and each setting that compares sets; below it the controls without calibration at
    the same sparsity, and the noise floor."""
    benchmarks = [entry["name"] for entry in page["benchmarks"]]
    primary = scores[scores["primary"]]
    dense = primary[primary["submodel"] == DENSE]
    matrices = []
    for setting in page["matrices"]:
        model, sparsity = setting["model"], setting["sparsity"]
        bare = (relative["calibration"] == NO_CALIBRATION) & (relative["sparsity"] == sparsity)
        rows = [_dense_row(model, benchmarks, dense[dense["model"] == model], links)]
        for axis, part in (
            ("calibration", _of_setting(relative, setting)),
            ("method", relative[bare & (relative["model"] == model)]),
        ):
            for name, cells in part.groupby(axis, sort=False):
                rows.append(_matrix_row(name, model, benchmarks, cells, links))
        rows += _noise_row(benchmarks, _of_setting(noise, setting))
        matrices.append({"model": model, "setting": _name_setting(setting, page), "rows": rows})
    return matrices


def _of_setting(frame: pd.DataFrame, setting: dict) -> pd.DataFrame:
    return frame[(frame[SETTING] == pd.Series(setting)[SETTING]).all(axis="columns")]


def _name_setting(setting: dict, page: dict) -> str:
    sizes = len(page["calibration_sizes"])
    return setting_name(setting["method"], setting["sparsity"], setting["calibration_size"], sizes)


def _dense_row(model: str, benchmarks: list[str], dense: pd.DataFrame, links: Links) -> dict:
    by_benchmark = {row.benchmark: row for row in dense.itertuples()}
    cells = []
    for benchmark in benchmarks:
        row = by_benchmark[benchmark]
        metric = Metric(row.metric, row.higher_is_better)
        score = {"text": metric.show(row.value), "note": metric.show_interval(row.low, row.high)}
        score |= {"href": links.samples(model, DENSE, benchmark)}
        cells.append(_CELL | (score if row.status == "ok" else {"text": not_run(row.reason), "missing": True}))
    return {"name": DENSE, "note": "score", "href": links.manifest(model, DENSE), "cells": cells}


def _matrix_row(name: str, model: str, benchmarks: list[str], cells: pd.DataFrame, links: Links) -> dict:
    by_benchmark = {row.benchmark: row for row in cells.itertuples()}
    shown = []
    for benchmark in benchmarks:
        row = by_benchmark[benchmark]
        if row.status != "ok":
            shown.append(_CELL | {"text": not_run(row.reason), "missing": True})
            continue
        ids, metric = row.submodels.split(), Metric(row.primary, row.higher_is_better)
        axes = {
            "model": model,
            "method": method_name(row.method),
            "calibration": row.calibration,
            "sparsity": row.sparsity,
        }
        if isinstance(row.calibration_size, str):
            axes["calibration_size"] = row.calibration_size
        shown.append(
            _CELL
            | {
                "text": metric.show_difference(row.difference),
                "note": metric.show_difference_interval(row.low, row.high),
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


def _noise_row(benchmarks: list[str], floors: pd.DataFrame) -> list[dict]:
    """The difference between two draws of one calibration set; nothing where no set was drawn twice."""
    if floors.empty:
        return []
    shown = {
        row.benchmark: f"± {Metric(row.benchmark, row.higher_is_better).show(row.floor)}" for row in floors.itertuples()
    }
    cells = [_CELL | {"text": shown.get(name, "")} for name in benchmarks]
    return [{"name": "another draw", "note": "noise floor", "href": None, "cells": cells}]


def _floors(page: dict, noise: pd.DataFrame) -> list[dict]:
    """One table for each base model and setting: the noise floor of each score, and the pairs of sets below it."""
    floors = []
    for key, rows in noise.groupby(SETTING, sort=False):
        shown = TABLES["noise"].to_read(rows).loc[:, "score":]
        below = ["" if pd.isna(pairs) else pairs.replace(" ", ", ") for pairs in rows["below"]]
        name = _name_setting(dict(zip(SETTING, key, strict=True)), page)
        cells = list(zip(shown.values.tolist(), below, strict=True))
        floors.append({"model": key[0], "setting": name, "columns": list(shown.columns), "rows": cells})
    return floors


def _readable(name: str, frame: pd.DataFrame) -> dict:
    """A table to read; the table of methods is wide and comes in groups, whose common values are their headings."""
    shown = TABLES[name].to_read(frame).fillna("")
    groups = [("", shown)]
    if name == "methods":
        shared = list(shown.columns[: shown.columns.get_loc("method")])
        groups = [
            (f"{model}, {sparsity} pruned, calibration set {', '.join(calibration)}", rows)
            for (model, sparsity, *calibration), rows in shown.groupby(shared, sort=False)
        ]
        shown = shown.drop(columns=shared)
    columns = list(shown.columns)
    cells = [(title, rows[columns].values.tolist()) for title, rows in groups]
    caption = TABLES[name].about(frame)
    return {"name": name, "caption": caption, "columns": columns, "groups": cells, "empty": shown.empty}


def _figures(models: list[str], directory: Path, page: Path, links: Links) -> list[dict]:
    shown = []
    for name, figure in FIGURES.items():
        for model in models:
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
                    "caption": figure.caption,
                    "svg": quote(picture.as_posix()),
                    "width": width,
                    "height": height,
                    "csv": links.to(f"{stem}.csv"),
                }
            )
    return shown


def _views(viewed: list[dict], page: dict, links: Links) -> dict[str, list[dict]]:
    """The pages of `view_sets` by base model."""
    shown: dict[str, list[dict]] = {}
    for entry in viewed:
        name = f"{entry['a']} and {entry['b']}"
        link = {"name": name, "setting": _name_setting(entry, page), "href": links.to(entry["path"])}
        shown.setdefault(entry["model"], []).append(link)
    return shown


def _examples(page: dict, submodels: dict[str, dict], links: Links) -> list[dict]:
    """The examples of page.json, their answers with links to the samples."""
    examples = []
    for example in page["examples"]:
        answers = []
        for answer in example.get("answers", []):
            id = answer["submodel"]
            name = id if id == DENSE else labelled(id, submodels[id]["method"])
            answers.append(answer | {"submodel": name, "href": links.existing(answer["samples"])})
        examples.append(example | {"answers": answers})
    return examples


def _gaps(scores: pd.DataFrame) -> list[dict]:
    """Scores that were not run: reason, base model, benchmark and number of sub-models."""
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
        alone = manifest.get("results", {}).get("wall_seconds")  # of one benchmark, where a process ran several
        seconds[manifest["stage"]] += manifest.get("wall_seconds", 0) if alone is None else alone
    return {
        "n": len(manifests),
        "versions": {library: ", ".join(sorted(several)) for library, several in sorted(versions.items())},
        "commits": [f"{commit}{' with uncommitted changes' if dirty else ''}" for commit, dirty in sorted(commits)],
        "minutes": {stage: f"{total / 60:.1f}" for stage, total in sorted(seconds.items())},
        "peak": max((manifest.get("peak_memory_mb", 0) for manifest in manifests), default=None),
    }


def _as_script(data: dict) -> str:
    """JSON for the inside of a script element: no character of it can end or open an element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
