"""The pruning methods compared: the cost of each method, and the accuracy that its sub-models keep.

Only comparable methods are compared: a group of rows holds the methods that were run with one calibration set, at one
sparsity of one base model, and the methods that need no data on the same benchmarks.
"""

from dataclasses import asdict, replace

import pandas as pd

from submodels.analysis import perplexities
from submodels.analysis.formats import not_run
from submodels.analysis.metric import Metric
from submodels.analysis.study import REFERENCE, CalibrationSet, Setting, Study, paired
from submodels.analysis.tables.shared import COST, Table, cost, setting_columns, show_cost, with_remarks
from submodels.bootstrap import Interval, stratified_bootstrap
from submodels.pruning.methods import METHODS
from submodels.terms import DENSE

CAPTION = (
    "Pruning methods on the same calibration set. Time, peak memory, size on disk and the tokens that the method "
    "computed are means over the manifests of the sub-models. Matched: mean accuracy over the benchmarks of the "
    "calibration set’s domain (and, for code with a language, of that language); outside: over all other benchmarks; "
    f"methods without data are scored on the same benchmarks. Changes are against {REFERENCE}, with intervals over "
    "items: accuracies in percentage points, perplexities and bits per byte in their own unit; ≈: the interval "
    "contains zero."
)
_SIDES = ("matched", "outside")
_OF_SCORE = ("", "_low", "_high")
_OF_CHANGE = ("_change", "_change_low", "_change_high")
COLUMNS = ["model", "sparsity", "calibration", "calibration_size", "calibration_domain", "language", "method"]
COLUMNS += ["product", "remarks", *COST]
COLUMNS += [f"{side}{end}" for side in _SIDES for end in (*_OF_SCORE, *_OF_CHANGE, "_benchmarks", "_items", "_reason")]


def compute(study: Study) -> pd.DataFrame:
    """One row for each base model, sparsity, calibration set and method, the dense baseline on top of each group.

    `_change` is against `REFERENCE`. Each perplexity follows as columns `<benchmark>_<metric>...`.
    """
    rows = []
    for model in study.models:
        for sparsity, size, calibration, members in _groups(study, model):
            entry = {"model": model, "sparsity": sparsity, "calibration": calibration.name, "calibration_size": size}
            entry |= {"calibration_domain": calibration.domain, "language": calibration.language}
            sides = _sides(study, model, calibration, [id for ids in members.values() for id in ids])
            remarks = study.remarks([name for names in sides.values() for name in names] + study.perplexities)
            reference = members.get(REFERENCE, [])
            for method, ids in members.items():
                row = entry | {"method": method, "remarks": remarks}
                if method != DENSE:
                    row |= {"product": METHODS[method].product} | cost(study, model, ids)
                for side, benchmarks in sides.items():
                    row |= _kept(study, model, ids, reference, benchmarks, side)
                for benchmark in study.perplexities:
                    row |= _perplexity(study, model, ids, reference, benchmark)
                rows.append(row)
    return pd.DataFrame(rows, columns=[*COLUMNS, *_perplexity_columns(study)])


_OF_A_PERPLEXITY = (*_OF_SCORE, *_OF_CHANGE, "_reason")


def _perplexity_columns(study: Study) -> list[str]:
    return [f"{_name(study, benchmark)}{end}" for benchmark in study.perplexities for end in _OF_A_PERPLEXITY]


def _name(study: Study, benchmark: str) -> str:
    return f"{benchmark}_{study.benchmark(benchmark)['primary']}"


def _perplexities_in(frame: pd.DataFrame) -> list[str]:
    """The names `<benchmark>_<metric>` in a table of this module."""
    return list(frame.columns[len(COLUMNS) :: len(_OF_A_PERPLEXITY)])


def _groups(study: Study, model: str):
    """(sparsity, size, calibration set, method -> ids of its scored sub-models), where two methods calibrated on it.

    Methods in the order of the table: dense, `REFERENCE`, other methods that calibrate, methods that need no data.
    """
    groups: dict[tuple[Setting, CalibrationSet], dict[str, list[str]]] = {}
    for setting in study.settings(model):
        for calibration, ids in study.scored_by_calibration(model, setting).items():
            groups.setdefault((replace(setting, method=""), calibration), {})[setting.method] = ids
    for shared, calibration in sorted(groups, key=lambda key: (key[0].order, study.calibration_order(key[1]))):
        group, sparsity = groups[shared, calibration], shared.sparsity
        if len(group) > 1:
            with_data = {method: group[method] for method in sorted(group, key=lambda name: (name != REFERENCE, name))}
            bare = {method: ids for (method, at), ids in study.without_calibration(model).items() if at == sparsity}
            yield sparsity, shared.calibration_size, calibration, {DENSE: [DENSE]} | with_data | bare


def _sides(study: Study, model: str, calibration: CalibrationSet, ids: list[str]) -> dict[str, list[str]]:
    """Benchmarks that match the set and benchmarks that do not, without those that were not run."""
    ran = [name for name in study.accuracies if len(study.items(model, ids, name))]
    matched = [name for name in ran if study.matches(calibration, name)]
    return {"matched": matched, "outside": [name for name in ran if name not in matched]}


def _kept(study: Study, model: str, ids: list[str], reference: list[str], benchmarks: list[str], side: str) -> dict:
    """Mean accuracy over benchmarks, every benchmark weighing the same, and its difference from the reference."""
    if not benchmarks:
        return {f"{side}_benchmarks": ""}
    row = {f"{side}_benchmarks": " ".join(benchmarks)}
    items = [study.items(model, ids, name) for name in benchmarks]
    if not all(map(len, items)):
        lacking = benchmarks[[len(values) for values in items].index(0)]
        return row | {f"{side}_reason": study.score(model, ids[0], lacking)["reason"] or "no reason recorded"}
    groups = [values[:, None] for values in items]
    row |= _columns(side, _OF_SCORE, stratified_bootstrap(groups, **asdict(study.resampling)))
    row[f"{side}_items"] = sum(map(len, items))
    pairs = [
        paired(values, study.items(model, reference, name)) for values, name in zip(items, benchmarks, strict=True)
    ]
    if ids != reference and all(len(pair) for pair in pairs):
        row |= _columns(side, _OF_CHANGE, stratified_bootstrap(pairs, **asdict(study.resampling)))
    return row


def _perplexity(study: Study, model: str, ids: list[str], reference: list[str], benchmark: str) -> dict:
    name, level = _name(study, benchmark), perplexities.level(study, model, ids, benchmark)
    if level is None:
        return {f"{name}_reason": study.score(model, ids[0], benchmark)["reason"] or "no reason recorded"}
    row = _columns(name, _OF_SCORE, level.interval)
    if reference and ids != reference:
        change = perplexities.change(study, model, ids, reference, benchmark)
        row |= _columns(name, _OF_CHANGE, change.interval) if change else {}
    return row


def _columns(name: str, ends: tuple[str, ...], interval: Interval) -> dict:
    values = (interval.value, interval.low, interval.high)
    return {f"{name}{end}": value for end, value in zip(ends, values, strict=True)}


def show(frame: pd.DataFrame) -> pd.DataFrame:
    size = [name for name in setting_columns(frame) if name == "calibration_size"]
    shown = frame[["model", "sparsity", "calibration", *size, "method"]].join(show_cost(frame))
    for side in _SIDES:
        _show_score(shown, frame, side, Metric(side, higher_is_better=True))
    for name in _perplexities_in(frame):
        _show_score(shown, frame, name, Metric(name.replace("_", " "), higher_is_better=False))
    return with_remarks(shown, frame)


def _show_score(shown: pd.DataFrame, frame: pd.DataFrame, name: str, metric: Metric) -> None:
    """Add columns for a score and its change; without a score the reason, or nothing.

    The intervals of scores are only in the data.
    """
    reasons = zip(frame[name], frame[f"{name}_reason"], strict=True)
    shown[metric.label()] = [
        not_run(reason) if isinstance(reason, str) else metric.show(value) for value, reason in reasons
    ]
    changes = frame[[f"{name}{end}" for end in _OF_CHANGE]].itertuples(index=False)
    shown[f"{metric.name}, change"] = [
        "" if pd.isna(difference) else metric.show_change(difference, low, high) for difference, low, high in changes
    ]


TABLE = Table(CAPTION, compute, show)
