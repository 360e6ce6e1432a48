"""Stage `tabulate`: every number of the report as a table, once as data (.csv) and once to read (.md, .tex).

Accuracies are fractions 0..1 in the data and percentages in the tables to read; perplexities are what they are.
Intervals resample items; `seeds` of one calibration set are averaged item by item first.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations, combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from submodels import files
from submodels.analysis import methods, perplexities
from submodels.analysis.claims import claims
from submodels.analysis.formats import (
    change,
    count,
    interval,
    marked,
    measured,
    named,
    not_run,
    not_testable,
    number,
    of_change,
    of_score,
    percent,
    points,
    signed_number,
)
from submodels.analysis.noise import noise
from submodels.analysis.overlap import expected_random_distance
from submodels.analysis.study import (
    REFERENCE,
    CalibrationSet,
    Setting,
    Study,
    load_study,
    paired,
    pruned_fraction,
)
from submodels.bootstrap import Interval, paired_bootstrap, stratified_bootstrap
from submodels.terms import CONTROL, DENSE, GENERIC, NO_CALIBRATION, NOT_RUN

SETTING = ["model", "method", "sparsity", "calibration_size"]
RANDOM_TOKENS = "random tokens"  # name of the control's series
_LATEX = str.maketrans(
    {
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
)
_MARKDOWN = str.maketrans(
    {"\\": "\\\\", "|": "\\|", "<": "&lt;", ">": "&gt;", "*": "\\*", "_": "\\_", "`": "\\`", "\n": " "}
)


def scores(study: Study) -> pd.DataFrame:
    """One row for each base model, sub-model, benchmark and metric; a score that was not run keeps its row.

    Every axis of the grid is a column: `calibration_size` names a size whatever its unit, `rows` is a number. One
    column for each way in which samples ended; those of a row add up to its `n_samples`.
    """
    rows, ended = [], study.outcomes()
    for model in study.models:
        for benchmark in study.benchmarks:
            entry = study.benchmark(benchmark)
            for id in study.evaluated(model):
                score = study.score(model, id, benchmark)
                axes, file = _axes(study, model, id), study.scores.get((model, benchmark), {})
                metrics = score["metrics"] or {entry["primary"]: {}}
                for metric, value in metrics.items():
                    rows.append(
                        {"model": model, "submodel": id}
                        | axes
                        | {
                            "benchmark": benchmark,
                            "benchmark_domain": entry["domain"],
                            "language": entry["language"],
                            "metric": metric,
                            "primary": metric == entry["primary"],
                            "higher_is_better": study.higher_is_better(benchmark),
                            "protocol": file.get("protocol"),
                            "remarks": study.remarks([benchmark]),
                        }
                        | {key: value.get(key) for key in ("value", "stderr", "low", "high")}
                        | {key: score.get(key) for key in ("n_items", "n_samples")}
                        | {name.replace(" ", "_"): score["counts"].get(name) for name in ended}
                        | {key: score.get(key) for key in ("status", "reason", "samples", "fingerprint")}
                        | {f"{stage}_seconds": score["wall_seconds"][stage] for stage in ("generate", "execute")}
                        | {key: score[key] for key in ("prompt_tokens", "generated_tokens")}
                    )
    return pd.DataFrame(rows)


def _axes(study: Study, model: str, id: str) -> dict:
    if id == DENSE:
        entry = {"method": "none", "calibration": NO_CALIBRATION, "pruned_fraction": 0.0}
        return dict.fromkeys(AXES) | entry
    entry = study.submodels(model)[id] | asdict(study.setting(study.submodels(model)[id]))
    entry |= {"pruned_fraction": pruned_fraction(entry["sparsity"])}
    return {key: entry[key] for key in AXES}


AXES = ("method", "calibration", "calibration_size", "rows", "domain", "sparsity", "pruned_fraction", "seed")


def show_scores(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["model", "submodel"]].copy()
    rows = list(frame.itertuples())
    shown["benchmark"] = [marked(row.benchmark, row.remarks) for row in rows]
    shown["metric"] = [named(row.metric, row.higher_is_better, "%") for row in rows]
    shown["value"] = [
        of_score(row.higher_is_better)(row.value) if row.status == "ok" else not_run(row.reason) for row in rows
    ]
    shown["interval"] = [interval(row.low, row.high, of_score(row.higher_is_better)) for row in rows]
    shown["items"] = ["" if pd.isna(n) else str(int(n)) for n in frame["n_items"].where(frame["status"] == "ok")]
    first, last = frame.columns.get_loc("n_samples") + 1, frame.columns.get_loc("status")
    counts = frame.iloc[:, first:last].to_dict("records")
    shown["samples"] = [show_counts({name.replace("_", " "): n for name, n in row.items()}) for row in counts]
    seconds = frame[["generate_seconds", "execute_seconds"]].astype(float).sum(axis="columns", min_count=1)
    shown["time (s)"] = [count(value) for value in seconds]
    for column in ("prompt_tokens", "generated_tokens"):
        shown[column.replace("_", " ")] = [count(value) for value in frame[column]]
    return shown


def _with_remarks(shown: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """A column of remarks, if there are any."""
    remarks = frame["remarks"].astype(object).fillna("")
    return shown.assign(remarks=remarks) if remarks.any() else shown


def show_counts(counts: dict[str, float | None]) -> str:
    """How samples ended, without what never happened: `30 passed, 6 failed`."""
    return ", ".join(f"{int(n)} {name}" for name, n in counts.items() if n == n and n)


def relative(study: Study) -> pd.DataFrame:
    """Calibration set x benchmark: change against the dense base model, with magnitude and random-token controls.

    `kept` is the share of an accuracy that is left; a perplexity has none.
    """
    rows = []
    for model in study.models:
        grouped: dict[tuple[Setting, CalibrationSet], list[str]] = {}
        for id in study.evaluated(model)[1:]:
            entry = study.submodels(model)[id]
            grouped.setdefault((study.setting(entry), study.calibration(entry)), []).append(id)
        for benchmark in study.benchmarks:
            against_dense = _against_dense if study.higher_is_better(benchmark) else _perplexity_against_dense
            for (setting, calibration), ids in grouped.items():
                rows.append(
                    {
                        "model": model,
                        **asdict(setting),
                        "calibration": calibration.name,
                        "calibration_domain": calibration.domain,
                        "benchmark": benchmark,
                        "benchmark_domain": study.benchmark(benchmark)["domain"],
                        "language": study.benchmark(benchmark)["language"],
                        "primary": study.benchmark(benchmark)["primary"],
                        "higher_is_better": study.higher_is_better(benchmark),
                        "remarks": study.remarks([benchmark]),
                        "matched": study.matches(calibration, benchmark),
                        "submodels": " ".join(ids),
                    }
                    | against_dense(study, model, ids, benchmark)
                )
    return pd.DataFrame(rows, columns=RELATIVE)


RELATIVE = ["model", "method", "sparsity", "calibration_size", "calibration", "calibration_domain", "benchmark"]
RELATIVE += ["benchmark_domain", "language", "primary", "higher_is_better", "remarks", "matched", "submodels", "dense"]
RELATIVE += ["value", "kept", "difference", "low", "high", "inside_noise", "n_items", "n_seeds", "status", "reason"]


def _against_dense(study: Study, model: str, ids: list[str], benchmark: str) -> dict:
    items, dense = study.items(model, ids, benchmark), study.items(model, [DENSE], benchmark)
    if not len(items) or not len(dense):
        return _no_change(study, model, ids, benchmark)
    found = paired_bootstrap(items, dense, **asdict(study.resampling))
    ran = [id for id in ids if study.score(model, id, benchmark)["status"] == "ok"]
    value, baseline = items.mean(), dense.mean()
    kept = value / baseline if baseline else None
    return {"dense": baseline, "value": value, "kept": kept} | _changed(found, len(items), len(ran))


def _perplexity_against_dense(study: Study, model: str, ids: list[str], benchmark: str) -> dict:
    found = perplexities.change(study, model, ids, [DENSE], benchmark)
    if found is None:
        return _no_change(study, model, ids, benchmark)
    value, baseline = (perplexities.level(study, model, side, benchmark).interval.value for side in (ids, [DENSE]))
    return {"dense": baseline, "value": value, "kept": None} | _changed(
        found.interval, found.n_items, found.n_submodels
    )


def _changed(found: Interval, n_items: int, n_seeds: int) -> dict:
    return {
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "inside_noise": found.low <= 0 <= found.high,
        "n_items": n_items,
        "n_seeds": n_seeds,
        "status": "ok",
        "reason": None,
    }


def _no_change(study: Study, model: str, ids: list[str], benchmark: str) -> dict:
    ran = any(study.score(model, id, benchmark)["status"] == "ok" for id in ids)
    reason = study.score(model, DENSE if ran else ids[0], benchmark)["reason"]
    dense_lacks = "the dense baseline was not run: " if ran else ""
    return {"status": NOT_RUN, "reason": dense_lacks + (reason or "no reason recorded")}


def show_relative(frame: pd.DataFrame) -> pd.DataFrame:
    """Matrix of changes, accuracies in points; `≈` marks those whose interval holds zero."""
    cells = [
        not_run(row.reason)
        if row.status != "ok"
        else change(row.difference, row.low, row.high, of_change(row.higher_is_better))
        for row in frame.itertuples()
    ]
    columns = [
        name if row.higher_is_better else named(f"{name}, {row.primary}", row.higher_is_better)
        for row in frame.itertuples()
        for name in [marked(row.benchmark, row.remarks)]
    ]
    shown = frame.assign(cell=cells, column=columns)
    return _matrix(shown, [*SETTING, "calibration"], "column")


def _setting_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that say what a row holds fixed; a size of calibration sets that all share goes without saying."""
    return [name for name in SETTING if name != "calibration_size" or frame[name].nunique() > 1]


def _matrix(frame: pd.DataFrame, rows: list[str], column: str) -> pd.DataFrame:
    """Wide table of `cell` in the order of first appearance, on both sides; a size that all share is left out."""
    wide: dict[tuple, dict] = {}
    rows = [name for name in rows if name not in SETTING or name in _setting_columns(frame)]
    for record in frame.fillna(dict.fromkeys(rows, "")).to_dict("records"):
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
    on the same items would flatter it. A domain's value is the mean over its benchmarks; languages also stand alone,
    and so does every perplexity, whose best sub-model has the lowest.
    """
    rows = []
    for model in study.models:
        ids = study.evaluated(model)[1:]
        entries = study.submodels(model)
        sparsities = {entries[id]["sparsity"] for id in ids}
        for domain, language, benchmarks in _targets(study, model):
            higher = study.higher_is_better(benchmarks[0])
            measure = ACCURACY if higher else study.benchmark(benchmarks[0])["primary"]
            for sparsity in sorted(sparsities, key=lambda name: (pruned_fraction(name), name)):
                candidates = [id for id in ids if entries[id]["sparsity"] == sparsity]
                row = {"model": model, "domain": domain, "language": language, "measure": measure}
                row |= {"higher_is_better": higher, "benchmarks": " ".join(benchmarks), "sparsity": sparsity}
                row |= {"remarks": study.remarks(benchmarks)}
                best = _best if higher else _least_perplexity
                rows.append(row | best(study, model, candidates, benchmarks, domain, language))
    return pd.DataFrame(rows, columns=BEST_SUBMODELS)


def _targets(study: Study, model: str):
    """(domain, language, benchmarks): every domain as a whole, each of its languages; then every perplexity."""
    for domain in study.domains():
        yield domain, None, study.scored(model, domain)
        benchmarks = study.of_domain(domain)
        languages = dict.fromkeys(study.benchmark(name)["language"] for name in benchmarks)
        for language in filter(None, languages):
            yield domain, language, [name for name in benchmarks if study.benchmark(name)["language"] == language]
    for name in study.perplexities:
        yield study.benchmark(name)["domain"], study.benchmark(name)["language"], [name]


ACCURACY = "accuracy"  # mean over the primary metrics of a domain's benchmarks
BEST_SUBMODELS = ["model", "domain", "language", "measure", "higher_is_better", "benchmarks", "sparsity", "submodel"]
BEST_SUBMODELS += ["method", "calibration", "matched", "dense", "value", "difference", "low", "high", "n_benchmarks"]
BEST_SUBMODELS += ["n_items", "n_candidates", "remarks", "status", "reason"]


def _best(
    study: Study, model: str, candidates: list[str], benchmarks: list[str], domain: str, language: str | None
) -> dict:
    dense = {name: study.items(model, [DENSE], name) for name in benchmarks}
    items = {id: {name: study.items(model, [id], name) for name in benchmarks} for id in candidates}
    ran = [id for id in candidates if all(map(len, items[id].values()))]
    if not all(map(len, dense.values())) or not ran:
        return {"status": NOT_RUN, "reason": "dense or every sub-model lacks a benchmark of this domain"}
    first = {name: study.for_choice(model, name) for name in benchmarks}
    second = {name: ~chosen for name, chosen in first.items()}
    if not all(half.any() for half in [*first.values(), *second.values()]):
        return {"status": NOT_RUN, "reason": "too few items to choose on one half and report on the other"}
    best = max(ran, key=lambda id: _domain_mean(items[id], first))
    groups = [paired(items[best][name], dense[name])[second[name]] for name in benchmarks]
    difference = stratified_bootstrap(groups, **asdict(study.resampling))
    values = {"dense": _domain_mean(dense, second), "value": _domain_mean(items[best], second)}
    values |= {"n_candidates": len(ran)}
    values |= {"n_benchmarks": len(benchmarks), "n_items": sum(len(group) for group in groups)}
    return _chosen(study, model, best, domain, language) | values | _apart(difference)


def _least_perplexity(
    study: Study, model: str, candidates: list[str], benchmarks: list[str], domain: str, language: str | None
) -> dict:
    """The same for one perplexity."""
    (benchmark,) = benchmarks
    chosen = study.for_choice(model, benchmark)
    dense = perplexities.level(study, model, [DENSE], benchmark, ~chosen)
    found = {id: perplexities.level(study, model, [id], benchmark, chosen) for id in candidates}
    ran = {id: level.interval.value for id, level in found.items() if level}
    if dense is None or not ran:
        return {"status": NOT_RUN, "reason": "dense or every sub-model lacks this benchmark, or it has too few items"}
    best = min(ran, key=ran.get)
    difference = perplexities.change(study, model, [best], [DENSE], benchmark, ~chosen)
    value = perplexities.level(study, model, [best], benchmark, ~chosen).interval.value
    values = {"dense": dense.interval.value, "value": value, "n_candidates": len(ran)}
    values |= {"n_benchmarks": 1, "n_items": difference.n_items}
    return _chosen(study, model, best, domain, language) | values | _apart(difference.interval)


def _chosen(study: Study, model: str, id: str, domain: str, language: str | None) -> dict:
    entry = study.submodels(model)[id]
    calibration = study.calibration(entry)
    matched = calibration.matches(domain, language)
    return {"submodel": id, "method": entry["method"], "calibration": calibration.name, "matched": matched}


def _apart(difference: Interval) -> dict:
    change = {"difference": difference.value, "low": difference.low, "high": difference.high}
    return change | {"status": "ok", "reason": None}


def _domain_mean(items: dict[str, np.ndarray], half: dict[str, np.ndarray]) -> float:
    """Mean over benchmarks of the mean over one half of the items."""
    return float(np.mean([values[half[name]].mean() for name, values in items.items()]))


def show_best_submodels(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["model", "domain", "language"]].copy()
    ran = frame["status"] == "ok"
    rows = list(frame.itertuples())
    shown["measure"] = [named(row.measure, row.higher_is_better, "%") for row in rows]
    shown["sparsity"] = frame["sparsity"]
    shown["best sub-model"] = [row.submodel if ok else not_run(row.reason) for row, ok in zip(rows, ran, strict=True)]
    shown["matched"] = [("yes" if row.matched else "no") if ok else "" for row, ok in zip(rows, ran, strict=True)]
    shown["dense → pruned"] = [
        " → ".join(map(of_score(row.higher_is_better), (row.dense, row.value))) if ok else ""
        for row, ok in zip(rows, ran, strict=True)
    ]
    shown["change"] = [
        change(row.difference, row.low, row.high, of_change(row.higher_is_better)) if ok else ""
        for row, ok in zip(rows, ran, strict=True)
    ]
    shown["items"] = [str(int(row.n_items)) if ok else "" for row, ok in zip(rows, ran, strict=True)]
    return _with_remarks(shown, frame)


def code_languages(study: Study) -> pd.DataFrame:
    """Table IV: dense, the code sets, the generic sets and the controls on the benchmark of each language."""
    rows = []
    benchmarks = [name for name in study.accuracies if study.benchmark(name)["language"]]
    for model in study.models:
        uncalibrated = study.without_calibration(model)
        for setting in study.compared(model):
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
                    row = {"model": model, **asdict(setting), "calibration": name}
                    language = study.benchmark(benchmark)["language"]
                    row |= {"benchmark": benchmark, "language": language, "matched": spoken.get(name) == language}
                    row |= {"remarks": study.remarks([benchmark])}
                    rows.append(row | _level(study, model, ids, [benchmark]))
    columns = [*SETTING, "calibration", "benchmark", "language", "matched", "remarks", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


LEVEL = ["value", "low", "high", "n_items", "status", "reason"]


def _level(study: Study, model: str, ids: list[str], benchmarks: list[str]) -> dict:
    """Mean accuracy of `ids` over `benchmarks` with its interval, or why there is none."""
    items = [study.items(model, ids, name) for name in benchmarks]
    if not items or not all(map(len, items)):
        reasons = [study.score(model, id, name)["reason"] for name in benchmarks for id in ids]
        return {"status": NOT_RUN, "reason": next(filter(None, reasons), "no reason recorded")}
    return _mean_level(study, items)


def _mean_level(study: Study, items: list[np.ndarray]) -> dict:
    groups = [values[:, None] for values in items]
    value, _, low, high = stratified_bootstrap(groups, **asdict(study.resampling))
    n_items = sum(len(values) for values in items)
    return {"value": value, "low": low, "high": high, "n_items": n_items, "status": "ok", "reason": None}


def show_code_languages(frame: pd.DataFrame) -> pd.DataFrame:
    cells = [
        f"{percent(row.value)} {interval(row.low, row.high)}" if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    columns = [marked(row.benchmark, row.remarks) for row in frame.itertuples()]
    return _matrix(frame.assign(cell=cells, column=columns), [*SETTING, "calibration"], "column")


def jaccard(study: Study) -> pd.DataFrame:
    """Mean distance between the masks of every two calibration sets, with what random masks would give.

    A set against itself compares its seeds: the floor, the distance that a new draw of the same set makes.
    """
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            between_sets = _by_sets(pairs[pairs["level"] == "model"])
            pruned = pruned_fraction(setting.sparsity)
            sets = list(study.by_calibration(model, setting))
            for a, b in combinations_with_replacement(sets, 2):
                between = between_sets.get(frozenset((a, b)))
                if between is None:
                    continue
                rows.append(
                    {"model": model, **asdict(setting)}
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


def _by_sets(pairs: pd.DataFrame) -> dict[frozenset[CalibrationSet], pd.DataFrame]:
    """The rows between every two calibration sets, whichever comes first."""
    both = [frozenset(pair) for pair in zip(pairs["set_a"], pairs["set_b"], strict=True)]
    return dict(iter(pairs.groupby(pd.Series(both, index=pairs.index, dtype=object), sort=False)))


JACCARD = [*SETTING, "a", "b", "a_domain", "b_domain", "kind"]
JACCARD += ["kept_distance", "pruned_distance", "n_pairs", "random_kept", "random_pruned"]


def show_jaccard(frame: pd.DataFrame) -> pd.DataFrame:
    """Symmetric matrix, `kept / pruned`; the diagonal is the floor between seeds."""
    cells = [f"{row.kept_distance:.3f} / {row.pruned_distance:.3f}" for row in frame.itertuples()]
    there = frame.assign(cell=cells)
    back = there[there["a"] != there["b"]].rename(columns={"a": "b", "b": "a"})
    random = there.drop_duplicates([*SETTING, "a"])
    random = random.assign(
        b="random", cell=[f"{r.random_kept:.3f} / {r.random_pruned:.3f}" for r in random.itertuples()]
    )
    both = pd.concat([there, back, random[random["a"] != random["b"]]])
    sets = list(dict.fromkeys([*there["a"], *there["b"]]))
    wide = _matrix(both, [*SETTING, "a"], "b")
    keys = list(wide.columns[: wide.columns.get_loc("a") + 1])
    return wide[[*keys, *sets, *random["b"].unique()]].rename(columns={"a": "calibration"})


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
                    {"model": model, **asdict(setting), "kind": kind}
                    | {"layer": int(layer), "mean": distances.mean(), "min": distances.min(), "max": distances.max()}
                    | {"n_pairs": len(distances)}
                    | {"random": expected_random_distance(1 - pruned_fraction(setting.sparsity))}
                )
    columns = [*SETTING, "kind", "layer", "mean", "min", "max", "n_pairs", "random"]
    return pd.DataFrame(rows, columns=columns)


def within_domain(study: Study) -> pd.DataFrame:
    """Two calibration sets of one domain: how far apart in accuracy and in weights, against sets of other domains."""
    rows = []
    for model in study.models:
        for setting in study.settings(model):
            pairs = study.pairs(model, setting)
            between = _by_sets(pairs[pairs["level"] == "model"])
            groups = study.by_calibration(model, setting)
            sets = [calibration for calibration in groups if not calibration.is_special]
            for a, b in combinations(sets, 2):
                if a.domain != b.domain:
                    continue
                rows.append(
                    {"model": model, **asdict(setting), "domain": a.domain}
                    | {"a": a.name, "b": b.name, "same_language": a.language == b.language}
                    | {"remarks": study.remarks(study.scored(model, a.domain))}
                    | _accuracy_apart(study, model, groups[a], groups[b], study.scored(model, a.domain))
                    | {
                        "within_distance": _mean_distance([between.get(frozenset((a, b)))]),
                        "cross_distance": _mean_distance(
                            [rows for of, rows in between.items() if _kind(rows) == "cross domain" and of & {a, b}]
                        ),
                        "seed_floor": _mean_distance([between.get(frozenset((one,))) for one in (a, b)]),
                    }
                )
    return pd.DataFrame(rows, columns=WITHIN_DOMAIN)


WITHIN_DOMAIN = [*SETTING, "domain", "a", "b", "same_language", "remarks", "difference", "low", "high"]
WITHIN_DOMAIN += ["n_items", "status", "reason", "within_distance", "cross_distance", "seed_floor"]


def _accuracy_apart(study: Study, model: str, a: list[str], b: list[str], benchmarks: list[str]) -> dict:
    groups = [paired(study.items(model, a, name), study.items(model, b, name)) for name in benchmarks]
    if not groups or not all(len(group) for group in groups):
        return {"status": NOT_RUN, "reason": "a sub-model lacks a benchmark of this domain"}
    difference, _, low, high = stratified_bootstrap(groups, **asdict(study.resampling))
    n_items = sum(len(group) for group in groups)
    return {"difference": difference, "low": low, "high": high, "n_items": n_items, "status": "ok", "reason": None}


def _kind(pairs: pd.DataFrame) -> str:
    return pairs["kind"].iloc[0]


def _mean_distance(pairs: list[pd.DataFrame | None]) -> float | None:
    chosen = [rows["kept_distance"] for rows in pairs if rows is not None]
    return float(pd.concat(chosen).mean()) if chosen else None


def show_within_domain(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[[*_setting_columns(frame), "domain", "a", "b"]].copy()
    shown["accuracy a − b (points)"] = [
        change(row.difference, row.low, row.high) if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    for column in ("within_distance", "cross_distance", "seed_floor"):
        shown[column.replace("_", " ")] = ["" if pd.isna(value) else f"{value:.3f}" for value in frame[column]]
    return _with_remarks(shown, frame)


def show_noise(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[_setting_columns(frame)].copy()
    rows = list(frame.itertuples())
    names = [f"{row.domain}, mean" if pd.isna(row.benchmark) else row.benchmark for row in rows]
    shown["score"] = [
        marked(named(name, row.higher_is_better), row.remarks) for name, row in zip(names, rows, strict=True)
    ]
    shown["spread over draws"] = [of_score(row.higher_is_better)(row.spread) for row in rows]
    shown["two draws differ by"] = [of_score(row.higher_is_better)(row.floor) for row in rows]
    shown["items (±)"] = [of_score(row.higher_is_better)(row.items) for row in rows]
    shown["sets drawn again"] = frame["sets"]
    shown["draws"] = [count(n) for n in frame["n_draws"]]
    shown["pairs of sets below"] = [f"{row.n_below} of {row.n_pairs}" for row in rows]
    return shown


def sparsity_curves(study: Study) -> pd.DataFrame:
    """Accuracy of each domain against the pruned fraction: matched, unmatched, generic and control sets, and no set."""
    rows = []
    for model in study.models:
        for domain in study.domains():
            benchmarks = study.scored(model, domain)
            base = {"model": model, "domain": domain, "n_benchmarks": len(benchmarks)}
            base |= {"remarks": study.remarks(benchmarks)}
            rows.append(
                base
                | {"method": "none", "series": DENSE, "sparsity": None, "pruned_fraction": 0.0}
                | _level(study, model, [DENSE], benchmarks)
            )
            for setting in study.compared(model):
                at = {"sparsity": setting.sparsity, "pruned_fraction": pruned_fraction(setting.sparsity)}
                for name, of_benchmark in _series(study, model, setting).items():
                    items = [study.set_items(model, setting, of_benchmark(name), name) for name in benchmarks]
                    if all(map(len, items)):  # empty where the setting has no such set
                        row = base | asdict(setting) | {"series": name} | at
                        rows.append(row | _mean_level(study, items))
            for (method, sparsity), ids in study.without_calibration(model).items():
                at = {"sparsity": sparsity, "pruned_fraction": pruned_fraction(sparsity)}
                rows.append(base | {"method": method, "series": method} | at | _level(study, model, ids, benchmarks))
    columns = ["model", "domain", "n_benchmarks", "remarks", "method", "calibration_size", "series", "sparsity"]
    columns += ["pruned_fraction", *LEVEL]
    return pd.DataFrame(rows, columns=columns)


def _series(study: Study, model: str, setting: Setting) -> dict[str, Callable[[str], list[CalibrationSet]]]:
    """Series name -> the calibration sets it averages, by benchmark."""
    sets = study.by_calibration(model, setting)
    chosen: dict[str, Callable[[str], list[CalibrationSet]]] = {
        "matched": lambda benchmark: study.matched(model, setting, benchmark)[0],
        "unmatched": lambda benchmark: study.matched(model, setting, benchmark)[1],
    }
    for domain, label in ((GENERIC, GENERIC), (CONTROL, RANDOM_TOKENS)):
        special = [calibration for calibration in sets if calibration.domain == domain]
        chosen[label] = lambda benchmark, special=special: special
    return chosen


def show_sparsity_curves(frame: pd.DataFrame) -> pd.DataFrame:
    size = [name for name in _setting_columns(frame) if name == "calibration_size"]
    shown = frame[["model", "domain", "method", *size, "series", "sparsity"]].fillna("")
    shown["score (%)"] = [
        f"{percent(row.value)} {interval(row.low, row.high)}" if row.status == "ok" else not_run(row.reason)
        for row in frame.itertuples()
    ]
    return _with_remarks(shown, frame)


def show_claims(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["claim", *_setting_columns(frame)]].copy()
    shown["measured"] = [
        f"{measured(row.value, row.unit)} [{measured(row.low, row.unit)}, {measured(row.high, row.unit)}]"
        if row.status == "ok"
        else ""
        for row in frame.itertuples()
    ]
    shown["verdict"] = [row.verdict if row.status == "ok" else not_testable(row.reason) for row in frame.itertuples()]
    return _with_remarks(shown, frame)


def show_methods(frame: pd.DataFrame) -> pd.DataFrame:
    size = [name for name in _setting_columns(frame) if name == "calibration_size"]
    shown = frame[["model", "sparsity", "calibration", *size, "method"]].copy()
    shown["sub-models"] = ["" if pd.isna(n) else str(int(n)) for n in frame["n_submodels"]]
    shown["time (s)"] = [number(value) for value in frame["wall_seconds"]]
    shown["peak memory (MB)"] = ["" if pd.isna(value) else f"{value:.0f}" for value in frame["peak_memory_mb"]]
    shown["pruned (%)"] = [percent(value) for value in frame["pruned"]]
    for side in methods.SIDES:
        shown[f"{side} (%)"] = _levels(frame, side, percent)
        shown[f"{side}, change"] = _changes(frame, side, points)
    for name in methods.perplexities_in(frame):
        words = name.replace("_", " ")
        shown[named(words, higher_is_better=False)] = _levels(frame, name, number)
        shown[f"{words}, change"] = _changes(frame, name, signed_number)
    return _with_remarks(shown, frame)


def _levels(frame: pd.DataFrame, name: str, show: Callable) -> list[str]:
    """Values, or why there is none; nothing where there is nothing to say. Their intervals stand in the data."""
    reasons = zip(frame[name], frame[f"{name}_reason"], strict=True)
    return [not_run(reason) if isinstance(reason, str) else show(value) for value, reason in reasons]


def _changes(frame: pd.DataFrame, name: str, show: Callable) -> list[str]:
    values = frame[[f"{name}{end}" for end in methods.CHANGE]].itertuples(index=False)
    return ["" if pd.isna(difference) else change(difference, low, high, show) for difference, low, high in values]


@dataclass(frozen=True)
class Table:
    caption: str
    compute: Callable[[Study], pd.DataFrame]
    show: Callable[[pd.DataFrame], pd.DataFrame]

    def to_read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Cells as text, the columns with the names that people read."""
        return self.show(frame).rename(columns={"calibration_size": "calibration size"})


TABLES = {
    "scores": Table("Every score with its interval over items, and how its samples ended.", scores, show_scores),
    "relative": Table(
        "Change against the dense base model: accuracies in percentage points, perplexities in their own unit. ≈: the "
        "interval holds zero.",
        relative,
        show_relative,
    ),
    "best_submodels": Table(
        "Dense and the best sub-model, controls included, by domain (mean of its benchmarks) and by language: chosen "
        "on one half of the items, reported on the other. Matched: calibrated on this domain (and language). Changes: "
        "accuracies in percentage points, perplexities in their own unit.",
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
    "noise": Table(
        "What another draw of the same calibration set changes, beside the interval over items of one score; "
        "accuracies in percentage points. Pairs of sets below: their scores differ by less than their draws would.",
        noise,
        show_noise,
    ),
    "sparsity_curves": Table("Accuracy against sparsity.", sparsity_curves, show_sparsity_curves),
    "claims": Table("The claims and their verdicts.", claims, show_claims),
    "methods": Table(
        "Pruning methods on the same calibration set. Time and peak memory of a pruning, mean over its sub-models, as "
        "their manifests say. Matched: mean accuracy over the benchmarks of the calibration set’s domain (and, for "
        "code with a language, of that language); outside: over all others; methods without data are scored on the "
        f"same. Changes are against {REFERENCE}, with intervals over items: accuracies in percentage points, "
        "perplexities in their own unit; ≈: the interval holds zero.",
        methods.methods,
        show_methods,
    ),
}


def tabulate(scores: list[Path], overlaps: list[Path], grid: Path, submodels: Path, out: Path) -> None:
    """Write every table of `TABLES` as .csv, .md and .tex into the directory `out`.

    scores: score files; overlaps: overlap files named after their base model; grid: description of the grid (JSON);
    submodels: the directory with <model>/<sub-model>/manifest.json.
    """
    study = load_study(scores, overlaps, grid, submodels)
    for name, table in tqdm(TABLES.items(), desc="tables", unit="table", mininterval=1):
        frame = table.compute(study)
        write_table(Path(out), name, frame, table.to_read(frame), table.caption)


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


def _escape(value, table: dict[int, str]) -> str:
    return "" if value is None or value != value else str(value).translate(table)
