"""Stage `tabulate`: every number of the report as a table, once as data (.csv) and once to read (.md, .tex).

Values are fractions 0..1 in the data and percentages in the tables to read. Intervals resample items; `seeds` of one
calibration set are averaged item by item first.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations, combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from submodels import files
from submodels.analysis.claims import claims
from submodels.analysis.overlap import expected_random_distance
from submodels.analysis.study import Calibration, Setting, Study, half, half_mean, load_study, paired, pruned_fraction
from submodels.evaluation.statistics import paired_bootstrap, stratified_bootstrap
from submodels.terms import CONTROL, DENSE, GENERIC, NO_CALIBRATION, NOT_RUN

RANDOM_TOKENS = "random tokens"  # name of the control's series
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": r"$-$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "\n": " ",
}
_MARKDOWN = {"\\": "\\\\", "|": "\\|", "<": "&lt;", ">": "&gt;", "*": "\\*", "_": "\\_", "`": "\\`", "\n": " "}


def percent(value: float | None) -> str:
    """0.534 -> `53.4`; nothing for a missing value."""
    return "" if pd.isna(value) else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points, signed: -0.075 -> `−7.5`, but 0 -> `0.0`."""
    return "" if pd.isna(value) else signed(100 * value, 1)


def signed(value: float, digits: int) -> str:
    """A number with its sign, a true minus; what rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def interval(low: float, high: float, show: Callable = percent) -> str:
    return "" if pd.isna(low) else f"[{show(low)}, {show(high)}]"


def not_run(reason: str | None) -> str:
    return f"{NOT_RUN}: {reason or 'no reason recorded'}"


def noise_mark(low: float, high: float) -> str:
    """`≈` where the interval of a difference holds zero: the difference may be noise."""
    return "≈ " if low <= 0 <= high else ""


def scores(study: Study) -> pd.DataFrame:
    """One row for each base model, sub-model, benchmark and metric; a score that was not run keeps its row.

    One column for each way in which samples ended; those of a row add up to its `n_samples`.
    """
    rows, ended = [], study.outcomes()
    for model in study.models:
        for benchmark in study.benchmarks:
            entry = study.benchmark(benchmark)
            for id in study.evaluated(model):
                score = study.score(model, id, benchmark)
                metrics = score["metrics"] or {entry["primary"]: {}}
                for metric, value in metrics.items():
                    rows.append(
                        {"model": model, "submodel": id}
                        | _axes(study, model, id)
                        | {
                            "benchmark": benchmark,
                            "benchmark_domain": entry["domain"],
                            "language": entry["language"],
                            "metric": metric,
                            "primary": metric == entry["primary"],
                        }
                        | {key: value.get(key) for key in ("value", "stderr", "low", "high")}
                        | {key: score.get(key) for key in ("n_items", "n_samples")}
                        | {name.replace(" ", "_"): score["counts"].get(name) for name in ended}
                        | {key: score.get(key) for key in ("status", "reason", "samples", "fingerprint")}
                    )
    return pd.DataFrame(rows)


def _axes(study: Study, model: str, id: str) -> dict:
    if id == DENSE:
        return {"method": "none", "calibration": NO_CALIBRATION, "domain": None, "sparsity": None, "seed": None}
    entry = study.submodels(model)[id]
    return {key: entry[key] for key in ("method", "calibration", "domain", "sparsity", "seed")}


def show_scores(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["model", "submodel", "benchmark", "metric"]].copy()
    shown["value (%)"] = [
        percent(row.value) if row.status == "ok" else not_run(row.reason) for row in frame.itertuples()
    ]
    shown["interval"] = [interval(row.low, row.high) for row in frame.itertuples()]
    shown["items"] = ["" if pd.isna(n) else str(int(n)) for n in frame["n_items"].where(frame["status"] == "ok")]
    first, last = frame.columns.get_loc("n_samples") + 1, frame.columns.get_loc("status")
    counts = frame.iloc[:, first:last].to_dict("records")
    shown["samples"] = [show_counts({name.replace("_", " "): n for name, n in row.items()}) for row in counts]
    return shown


def show_counts(counts: dict[str, float | None]) -> str:
    """How samples ended, without what never happened: `30 passed, 6 failed`."""
    return ", ".join(f"{int(n)} {name}" for name, n in counts.items() if n == n and n)


def relative(study: Study) -> pd.DataFrame:
    """Calibration set x benchmark: change against the dense base model, with magnitude and random-token controls."""
    rows = []
    for model in study.models:
        grouped: dict[tuple[Setting, Calibration], list[str]] = {}
        for id in study.evaluated(model)[1:]:
            entry = study.submodels(model)[id]
            setting = Setting(entry["method"], entry["sparsity"])
            grouped.setdefault((setting, study.calibration(entry)), []).append(id)
        for benchmark in study.benchmarks:
            dense = study.items(model, [DENSE], benchmark)
            for (setting, calibration), ids in grouped.items():
                rows.append(
                    {
                        "model": model,
                        "method": setting.method,
                        "sparsity": setting.sparsity,
                        "calibration": calibration.name,
                        "calibration_domain": calibration.domain,
                        "benchmark": benchmark,
                        "benchmark_domain": study.benchmark(benchmark)["domain"],
                        "language": study.benchmark(benchmark)["language"],
                        "matched": calibration.matches(
                            study.benchmark(benchmark)["domain"], study.benchmark(benchmark)["language"]
                        ),
                        "submodels": " ".join(ids),
                    }
                    | _against_dense(study, model, ids, benchmark, dense)
                )
    return pd.DataFrame(rows, columns=RELATIVE)


RELATIVE = ["model", "method", "sparsity", "calibration", "calibration_domain", "benchmark", "benchmark_domain"]
RELATIVE += ["language", "matched", "submodels", "dense", "value", "kept", "difference", "low", "high"]
RELATIVE += ["inside_noise", "n_items", "n_seeds", "status", "reason"]


def _against_dense(study: Study, model: str, ids: list[str], benchmark: str, dense: dict[str, float]) -> dict:
    items = study.items(model, ids, benchmark)
    common = [task for task in items if task in dense]
    if not common:
        reason = study.score(model, ids[0] if not items else DENSE, benchmark)["reason"]
        dense_lacks = "the dense baseline was not run: " if items else ""
        return {"status": NOT_RUN, "reason": dense_lacks + (reason or "no reason recorded")}
    pruned, before = [items[task] for task in common], [dense[task] for task in common]
    change = paired_bootstrap(pruned, before, **asdict(study.resampling))
    ran = [id for id in ids if study.score(model, id, benchmark)["status"] == "ok"]
    value, baseline = sum(pruned) / len(common), sum(before) / len(common)
    return {
        "dense": baseline,
        "value": value,
        "kept": value / baseline if baseline else None,
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "inside_noise": change.low <= 0 <= change.high,
        "n_items": len(common),
        "n_seeds": len(ran),
        "status": "ok",
        "reason": None,
    }


def show_relative(frame: pd.DataFrame) -> pd.DataFrame:
    """Matrix of changes in points; `≈` marks those whose interval holds zero."""
    cells = [
        not_run(row.reason)
        if row.status != "ok"
        else f"{noise_mark(row.low, row.high)}{points(row.difference)} {interval(row.low, row.high, points)}"
        for row in frame.itertuples()
    ]
    return _matrix(frame.assign(cell=cells), ["model", "method", "sparsity", "calibration"], "benchmark")


def _matrix(frame: pd.DataFrame, rows: list[str], column: str) -> pd.DataFrame:
    """Wide table of `cell` in the order of first appearance, on both sides."""
    wide: dict[tuple, dict] = {}
    for record in frame.to_dict("records"):
        wide.setdefault(tuple(record[key] for key in rows), {})[record[column]] = record["cell"]
    columns = list(dict.fromkeys(frame[column]))
    data = [
        dict(zip(rows, key, strict=True)) | {name: cells.get(name, "") for name in columns}
        for key, cells in wide.items()
    ]
    return pd.DataFrame(data, columns=[*rows, *columns])


def best_submodels(study: Study) -> pd.DataFrame:
    """Table III: for each base model, domain and sparsity, dense against the best sub-model.

    The best is chosen on one half of the items (hash of the task id) and reported on the other: choosing and reporting
    on the same items would flatter it. A domain's value is the mean over its benchmarks; languages also stand alone.
    """
    rows = []
    for model in study.models:
        ids = study.evaluated(model)[1:]
        entries = study.submodels(model)
        sparsities = {entries[id]["sparsity"] for id in ids}
        for domain, language, benchmarks in _targets(study, model):
            for sparsity in sorted(sparsities, key=lambda name: (pruned_fraction(name), name)):
                candidates = [id for id in ids if entries[id]["sparsity"] == sparsity]
                row = {"model": model, "domain": domain, "language": language, "sparsity": sparsity}
                rows.append(row | _best(study, model, candidates, benchmarks, domain, language))
    return pd.DataFrame(rows, columns=BEST_SUBMODELS)


def _targets(study: Study, model: str):
    """(domain, language, benchmarks): every domain as a whole, then every language it has benchmarks of."""
    for domain in study.domains():
        yield domain, None, study.scored(model, domain)
        benchmarks = study.of_domain(domain)
        languages = dict.fromkeys(study.benchmark(name)["language"] for name in benchmarks)
        for language in filter(None, languages):
            yield domain, language, [name for name in benchmarks if study.benchmark(name)["language"] == language]


BEST_SUBMODELS = [
    "model",
    "domain",
    "language",
    "sparsity",
    "submodel",
    "method",
    "calibration",
    "matched",
    "dense",
    "value",
]
BEST_SUBMODELS += ["difference", "low", "high", "n_benchmarks", "n_items", "n_candidates", "status", "reason"]


def _best(
    study: Study, model: str, candidates: list[str], benchmarks: list[str], domain: str, language: str | None
) -> dict:
    dense = {name: study.items(model, [DENSE], name) for name in benchmarks}
    items = {id: {name: study.items(model, [id], name) for name in benchmarks} for id in candidates}
    ran = [id for id in candidates if all(items[id].values())]
    if not all(dense.values()) or not ran:
        return {"status": NOT_RUN, "reason": "dense or every sub-model lacks a benchmark of this domain"}
    chosen = {id: _domain_mean(items[id], for_choice=True) for id in ran}
    before = _domain_mean(dense, for_choice=False)
    if before is None or None in chosen.values():
        return {"status": NOT_RUN, "reason": "too few items to choose on one half and report on the other"}
    best = max(ran, key=lambda id: chosen[id])
    groups = [
        paired(half(items[best][name], for_choice=False), half(dense[name], for_choice=False)) for name in benchmarks
    ]
    difference, _, low, high = stratified_bootstrap(groups, **asdict(study.resampling))
    entry = study.submodels(model)[best]
    return {
        "submodel": best,
        "method": entry["method"],
        "calibration": entry["calibration"],
        "matched": study.calibration(entry).matches(domain, language),
        "dense": before,
        "value": _domain_mean(items[best], for_choice=False),
        "difference": difference,
        "low": low,
        "high": high,
        "n_benchmarks": len(benchmarks),
        "n_items": sum(len(group) for group in groups),
        "n_candidates": len(ran),
        "status": "ok",
        "reason": None,
    }


def _domain_mean(items: dict[str, dict[str, float]], for_choice: bool) -> float | None:
    """Mean over benchmarks of the mean over one half of the items; None if a half is empty."""
    means = [half_mean(values, for_choice) for values in items.values()]
    return None if None in means else sum(means) / len(means)


def show_best_submodels(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["model", "domain", "language", "sparsity"]].copy()
    ran = frame["status"] == "ok"
    rows = list(frame.itertuples())
    shown["best sub-model"] = [row.submodel if ok else not_run(row.reason) for row, ok in zip(rows, ran, strict=True)]
    shown["matched"] = [("yes" if row.matched else "no") if ok else "" for row, ok in zip(rows, ran, strict=True)]
    shown["dense → pruned (%)"] = [
        f"{percent(row.dense)} → {percent(row.value)}" if ok else "" for row, ok in zip(rows, ran, strict=True)
    ]
    shown["change (points)"] = [
        f"{noise_mark(row.low, row.high)}{points(row.difference)} {interval(row.low, row.high, points)}" if ok else ""
        for row, ok in zip(rows, ran, strict=True)
    ]
    shown["items"] = [str(int(row.n_items)) if ok else "" for row, ok in zip(rows, ran, strict=True)]
    return shown


def code_languages(study: Study) -> pd.DataFrame:
    """Table IV: dense, the code sets, the generic sets and the controls on the benchmark of each language."""
    rows = []
    benchmarks = [name for name in study.benchmarks if study.benchmark(name)["language"]]
    for model in study.models:
        uncalibrated = {
            (entry["method"], entry["sparsity"]): [id]
            for id, entry in study.submodels(model).items()
            if entry["calibration"] == NO_CALIBRATION and id in study.evaluated(model)
        }
        for setting in study.settings(model):
            groups = study.scored_by_calibration(model, setting)
            if not groups:
                continue
            spoken = {calibration.name: calibration.language for calibration in groups}
            shown = {
                calibration.name: ids
                for calibration, ids in groups.items()
                if calibration.domain in ("code", GENERIC, CONTROL)
            }
            for (method, sparsity), ids in uncalibrated.items():
                if sparsity == setting.sparsity:
                    shown[method] = ids
            for name, ids in {DENSE: [DENSE], **shown}.items():
                for benchmark in benchmarks:
                    row = {"model": model, "method": setting.method, "sparsity": setting.sparsity, "calibration": name}
                    language = study.benchmark(benchmark)["language"]
                    row |= {"benchmark": benchmark, "language": language, "matched": spoken.get(name) == language}
                    rows.append(row | _level(study, model, ids, [benchmark]))
    columns = ["model", "method", "sparsity", "calibration", "benchmark", "language", "matched", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


LEVEL = ["value", "low", "high", "n_items", "status", "reason"]


def _level(study: Study, model: str, ids: list[str], benchmarks: list[str]) -> dict:
    """Mean accuracy of `ids` over `benchmarks` with its interval, or why there is none."""
    items = [study.items(model, ids, name) for name in benchmarks]
    if not items or not all(items):
        reasons = [study.score(model, id, name)["reason"] for name in benchmarks for id in ids]
        return {"status": NOT_RUN, "reason": next(filter(None, reasons), "no reason recorded")}
    return _mean_level(study, items)


def _mean_level(study: Study, items: list[dict[str, float]]) -> dict:
    groups = [[[value] for value in values.values()] for values in items]
    value, _, low, high = stratified_bootstrap(groups, **asdict(study.resampling))
    n_items = sum(len(values) for values in items)
    return {"value": value, "low": low, "high": high, "n_items": n_items, "status": "ok", "reason": None}


def show_code_languages(frame: pd.DataFrame) -> pd.DataFrame:
    cells = [
        f"{percent(row.value)} {interval(row.low, row.high)}" if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    return _matrix(frame.assign(cell=cells), ["model", "method", "sparsity", "calibration"], "benchmark")


def jaccard(study: Study) -> pd.DataFrame:
    """Mean distance between the masks of every two calibration sets, with what random masks would give.

    A set against itself compares its seeds: the floor, the distance that a new draw of the same set makes.
    """
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            pairs = pairs[pairs["level"] == "model"]
            pruned = pruned_fraction(setting.sparsity)
            sets = list(study.by_calibration(model, setting))
            for a, b in combinations_with_replacement(sets, 2):
                both = zip(pairs["set_a"], pairs["set_b"], strict=True)
                between = pairs[np.array([{x, y} == {a, b} for x, y in both], dtype=bool)]
                if between.empty:
                    continue
                rows.append(
                    {"model": model, "method": setting.method, "sparsity": setting.sparsity}
                    | {"a": a.name, "b": b.name, "a_domain": a.domain, "b_domain": b.domain}
                    | {
                        "kind": between["kind"].iloc[0],
                        "kept_distance": between["kept_distance"].mean(),
                        "pruned_distance": between["pruned_distance"].mean(),
                        "n_pairs": len(between),
                        "random_kept": expected_random_distance(1 - pruned),
                        "random_pruned": expected_random_distance(pruned),
                    }
                )
    return pd.DataFrame(rows, columns=JACCARD)


JACCARD = ["model", "method", "sparsity", "a", "b", "a_domain", "b_domain", "kind"]
JACCARD += ["kept_distance", "pruned_distance", "n_pairs", "random_kept", "random_pruned"]


def show_jaccard(frame: pd.DataFrame) -> pd.DataFrame:
    """Symmetric matrix, `kept / pruned`; the diagonal is the floor between seeds."""
    cells = [f"{row.kept_distance:.3f} / {row.pruned_distance:.3f}" for row in frame.itertuples()]
    there = frame.assign(cell=cells)
    back = there[there["a"] != there["b"]].rename(columns={"a": "b", "b": "a"})
    random = there.drop_duplicates(["model", "method", "sparsity", "a"])
    random = random.assign(
        b="random", cell=[f"{r.random_kept:.3f} / {r.random_pruned:.3f}" for r in random.itertuples()]
    )
    both = pd.concat([there, back, random[random["a"] != random["b"]]])
    keys = ["model", "method", "sparsity", "a"]
    sets = list(dict.fromkeys([*there["a"], *there["b"]]))
    return _matrix(both, keys, "b")[[*keys, *sets, *random["b"].unique()]].rename(columns={"a": "calibration"})


def jaccard_layers(study: Study) -> pd.DataFrame:
    """Distance of kept weights by decoder block and kind of pair: mean and range over pairs."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            pairs = pairs[(pairs["level"] == "layer") & (pairs["kind"] != "other")]
            for (kind, layer), group in pairs.groupby(["kind", "layer"]):
                distances = group["kept_distance"]
                rows.append(
                    {"model": model, "method": setting.method, "sparsity": setting.sparsity, "kind": kind}
                    | {"layer": int(layer), "mean": distances.mean(), "min": distances.min(), "max": distances.max()}
                    | {"n_pairs": len(distances)}
                    | {"random": expected_random_distance(1 - pruned_fraction(setting.sparsity))}
                )
    columns = ["model", "method", "sparsity", "kind", "layer", "mean", "min", "max", "n_pairs", "random"]
    return pd.DataFrame(rows, columns=columns)


def within_domain(study: Study) -> pd.DataFrame:
    """Two calibration sets of one domain: how far apart in accuracy and in weights, against sets of other domains."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            pairs = pairs[pairs["level"] == "model"]
            groups = study.by_calibration(model, setting)
            sets = [calibration for calibration in groups if not calibration.is_special]
            for a, b in combinations(sets, 2):
                if a.domain != b.domain:
                    continue
                rows.append(
                    {"model": model, "method": setting.method, "sparsity": setting.sparsity, "domain": a.domain}
                    | {"a": a.name, "b": b.name, "same_language": a.language == b.language}
                    | _accuracy_apart(study, model, groups[a], groups[b], study.scored(model, a.domain))
                    | {
                        "within_distance": _mean_distance(pairs, lambda x, y, a=a, b=b: {x, y} == {a, b}),
                        "cross_distance": _mean_distance(
                            pairs[pairs["kind"] == "cross domain"], lambda x, y, a=a, b=b: bool({x, y} & {a, b})
                        ),
                        "seed_floor": _mean_distance(
                            pairs[pairs["kind"] == "seeds"], lambda x, y, a=a, b=b: bool({x, y} & {a, b})
                        ),
                    }
                )
    return pd.DataFrame(rows, columns=WITHIN_DOMAIN)


WITHIN_DOMAIN = ["model", "method", "sparsity", "domain", "a", "b", "same_language", "difference", "low", "high"]
WITHIN_DOMAIN += ["n_items", "status", "reason", "within_distance", "cross_distance", "seed_floor"]


def _accuracy_apart(study: Study, model: str, a: list[str], b: list[str], benchmarks: list[str]) -> dict:
    groups = [paired(study.items(model, a, name), study.items(model, b, name)) for name in benchmarks]
    if not groups or not all(len(group) for group in groups):
        return {"status": NOT_RUN, "reason": "a sub-model lacks a benchmark of this domain"}
    difference, _, low, high = stratified_bootstrap(groups, **asdict(study.resampling))
    n_items = sum(len(group) for group in groups)
    return {"difference": difference, "low": low, "high": high, "n_items": n_items, "status": "ok", "reason": None}


def _mean_distance(pairs: pd.DataFrame, wanted: Callable) -> float | None:
    chosen = [row.kept_distance for row in pairs.itertuples() if wanted(row.set_a, row.set_b)]
    return sum(chosen) / len(chosen) if chosen else None


def show_within_domain(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["model", "method", "sparsity", "domain", "a", "b"]].copy()
    shown["accuracy a − b (points)"] = [
        f"{noise_mark(row.low, row.high)}{points(row.difference)} {interval(row.low, row.high, points)}"
        if row.status == "ok"
        else not_run(row.reason)
        for row in frame.itertuples()
    ]
    for column in ("within_distance", "cross_distance", "seed_floor"):
        shown[column.replace("_", " ")] = ["" if pd.isna(value) else f"{value:.3f}" for value in frame[column]]
    return shown


def sparsity_curves(study: Study) -> pd.DataFrame:
    """Score of each domain against the pruned fraction: matched, unmatched, generic and control sets, and no set."""
    rows = []
    for model in study.models:
        for domain in study.domains():
            benchmarks = study.scored(model, domain)
            base = {"model": model, "domain": domain, "n_benchmarks": len(benchmarks)}
            rows.append(
                base
                | {"method": "none", "series": DENSE, "sparsity": None, "pruned_fraction": 0.0}
                | _level(study, model, [DENSE], benchmarks)
            )
            for setting in study.settings(model):
                at = {"sparsity": setting.sparsity, "pruned_fraction": pruned_fraction(setting.sparsity)}
                for name, of_benchmark in _series(study, model, setting).items():
                    items = [study.set_items(model, setting, of_benchmark(name), name) for name in benchmarks]
                    if all(items):  # {} where the setting has no such set
                        row = base | {"method": setting.method, "series": name} | at
                        rows.append(row | _mean_level(study, items))
            for id, entry in study.submodels(model).items():
                if entry["calibration"] == NO_CALIBRATION and id in study.evaluated(model):
                    at = {"sparsity": entry["sparsity"], "pruned_fraction": pruned_fraction(entry["sparsity"])}
                    level = _level(study, model, [id], benchmarks)
                    rows.append(base | {"method": entry["method"], "series": entry["method"]} | at | level)
    columns = ["model", "domain", "n_benchmarks", "method", "series", "sparsity", "pruned_fraction", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


def _series(study: Study, model: str, setting: Setting) -> dict[str, Callable[[str], list[Calibration]]]:
    """Series name -> the calibration sets it averages, by benchmark."""
    sets = study.by_calibration(model, setting)
    chosen: dict[str, Callable[[str], list[Calibration]]] = {
        "matched": lambda benchmark: study.matched(model, setting, benchmark)[0],
        "unmatched": lambda benchmark: study.matched(model, setting, benchmark)[1],
    }
    for domain, label in ((GENERIC, GENERIC), (CONTROL, RANDOM_TOKENS)):
        special = [calibration for calibration in sets if calibration.domain == domain]
        chosen[label] = lambda benchmark, special=special: special
    return chosen


def show_sparsity_curves(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["model", "domain", "method", "series", "sparsity"]].fillna("")
    shown["score (%)"] = [
        f"{percent(row.value)} {interval(row.low, row.high)}" if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    return shown


def show_claims(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["claim", "model", "method", "sparsity"]].copy()
    shown["measured"] = [
        f"{measured(row.value, row.unit)} [{measured(row.low, row.unit)}, {measured(row.high, row.unit)}]"
        if row.status == "ok"
        else ""
        for row in frame.itertuples()
    ]
    shown["verdict"] = [row.verdict if row.status == "ok" else not_testable(row.reason) for row in frame.itertuples()]
    return shown


def not_testable(reason: str) -> str:
    return f"not testable here: {reason}"


def measured(value: float, unit: str) -> str:
    """A signed value in its unit: accuracies in points, distances as they are."""
    return points(value) if unit == "points" else signed(value, 3)


@dataclass(frozen=True)
class Table:
    caption: str
    compute: Callable[[Study], pd.DataFrame]
    show: Callable[[pd.DataFrame], pd.DataFrame]


TABLES = {
    "scores": Table("Every score with its interval over items, and how its samples ended.", scores, show_scores),
    "relative": Table(
        "Change against the dense base model in points; ≈: the interval holds zero.", relative, show_relative
    ),
    "best_submodels": Table(
        "Dense and the best sub-model, controls included, by domain (mean of its benchmarks) and by language: chosen "
        "on one half of the items, reported on the other. Matched: calibrated on this domain (and language).",
        best_submodels,
        show_best_submodels,
    ),
    "code_languages": Table("Accuracy (%) by programming language.", code_languages, show_code_languages),
    "jaccard": Table(
        "Jaccard distance of kept / pruned weights; diagonal: two draws of one set; random: independent masks.",
        jaccard,
        show_jaccard,
    ),
    "jaccard_layers": Table(
        "Jaccard distance of kept weights by decoder block: mean and range over pairs.",
        jaccard_layers,
        lambda frame: frame.round(3),
    ),
    "within_domain": Table(
        "Two calibration sets of one domain, against sets of other domains.", within_domain, show_within_domain
    ),
    "sparsity_curves": Table("Score against sparsity.", sparsity_curves, show_sparsity_curves),
    "claims": Table("The claims and their verdicts.", claims, show_claims),
}


def tabulate(scores: list[Path], overlaps: list[Path], grid: Path, out: Path) -> None:
    """Write every table of `TABLES` as .csv, .md and .tex into the directory `out`.

    scores: score files; overlaps: overlap files named after their base model; grid: description of the grid (JSON).
    """
    study = load_study(scores, overlaps, grid)
    for name, table in tqdm(TABLES.items(), desc="tables", unit="table", mininterval=1):
        frame = table.compute(study)
        write_table(Path(out), name, frame, table.show(frame), table.caption)


def write_table(directory: Path, name: str, frame: pd.DataFrame, shown: pd.DataFrame, caption: str) -> None:
    """Write `frame` as <name>.csv and `shown`, cells as text, as <name>.md and <name>.tex (booktabs)."""
    files.write_text(directory / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    files.write_text(directory / f"{name}.md", markdown(shown, caption))
    files.write_text(directory / f"{name}.tex", latex(shown, caption, name))


def markdown(shown: pd.DataFrame, caption: str) -> str:
    """A pipe table under its caption; every cell is escaped."""
    lines = [[_escape(name, _MARKDOWN) for name in shown.columns], ["---"] * len(shown.columns)]
    lines += [[_escape(value, _MARKDOWN) for value in row] for row in shown.itertuples(index=False)]
    return f"{_escape(caption, _MARKDOWN)}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(shown: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table; every cell is escaped. Needs \\usepackage{booktabs}."""
    head = " & ".join(_escape(name, _LATEX) for name in shown.columns)
    body = "".join(
        " & ".join(_escape(value, _LATEX) for value in row) + " \\\\\n" for row in shown.itertuples(index=False)
    )
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_escape(caption, _LATEX)}}}\n\\label{{tab:{label}}}\n"
        f"\\begin{{tabular}}{{{'l' * len(shown.columns)}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _escape(value, table: dict[str, str]) -> str:
    text = "" if value is None or value != value else str(value)
    return "".join(table.get(character, character) for character in text)
