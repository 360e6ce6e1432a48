"""Whether a sub-model calibrated on a language predicts that language better: paired over held-out source files."""

import math

import pandas as pd

from submodels.analysis import perplexities
from submodels.analysis.formats import marked
from submodels.analysis.perplexities import Sets
from submodels.analysis.study import Setting, Study
from submodels.analysis.tables.bits_per_byte import METRIC, PARTS, benchmarks_of
from submodels.analysis.tables.shared import SETTING, Table, setting_columns
from submodels.terms import GENERIC

CAPTION = (
    "Bits per byte of held-out source files after calibration on their language, minus those after calibration on "
    "other programming languages (unmatched) or on generic text, paired over files; last the mean over languages. "
    "Below zero: the language helps. ≈: the interval contains zero; so many files would decide it. Intervals resample "
    "files; the last column shows the difference by one draw of every set alone, from the lowest draw to the highest."
)
MOST = 100_000  # files; a difference that needs more of them is too small to look for
ALL = "all"  # in place of a benchmark and a language: their mean
AGAINST = ("unmatched", "generic")
COLUMNS = [*SETTING, "benchmark", "language", "part", "against", "remarks", "difference", "low", "high", "n_items"]
COLUMNS += ["n_needed", "lowest_draw", "highest_draw"]


def compute(study: Study) -> pd.DataFrame:
    """One row for each setting, contrast, part and benchmark whose sub-models were scored, and one for their mean."""
    rows, benchmarks = [], benchmarks_of(study)
    for model in study.models:
        for setting in study.settings(model):
            sides = {benchmark: _sides(study, model, setting, benchmark) for benchmark in benchmarks}
            for against in AGAINST:
                compared = {
                    benchmark: (matched, others[against])
                    for benchmark, (matched, others) in sides.items()
                    if matched and others[against]
                }
                groups = {benchmark: {benchmark: ids} for benchmark, ids in compared.items()}
                if len(groups) > 1:
                    groups[ALL] = compared
                for part, metric in PARTS.items():
                    for name, group in groups.items():
                        change = perplexities.mean_change(study, model, group, metric=metric)
                        if change is None:
                            continue
                        value, _, low, high = change.interval
                        language = ALL if name == ALL else study.benchmark(name)["language"]
                        rows.append(
                            {"model": model, **setting.columns, "benchmark": name, "language": language}
                            | {"part": part, "against": against, "remarks": study.remarks(list(group))}
                            | {"difference": value, "low": low, "high": high, "n_items": change.n_items}
                            | {"n_needed": needed_files(value, low, high, change.n_items)}
                            | _range_of_draws(study, model, group, metric)
                        )
    return pd.DataFrame(rows, columns=COLUMNS)


def needed_files(value: float, low: float, high: float, n_items: int) -> int | None:
    """How many files would put zero outside the interval of an undecided difference, if it is as large as it looks:
    widths shrink by the root of n. None for a decided difference, and where more than `MOST` files would be needed."""
    reach = high - value if value < 0 else value - low  # from the value to the end beyond zero
    if low > 0 or high < 0 or n_items * reach**2 >= MOST * value**2:
        return None
    return math.floor(n_items * (reach / value) ** 2) + 1


def _range_of_draws(study: Study, model: str, compared: dict[str, tuple[Sets, Sets]], metric: str) -> dict:
    """The lowest and the highest difference by one draw of every set alone; nothing if the sets share only one draw."""
    seed_of = {id: entry["seed"] for id, entry in study.submodels(model).items()}
    sets = [ids for sides in compared.values() for side in sides for ids in side]
    shared = set.intersection(*({seed_of[id] for id in ids} for ids in sets))
    differences = []
    for seed in shared:
        alone = {
            benchmark: tuple([[id for id in ids if seed_of[id] == seed] for ids in side] for side in sides)
            for benchmark, sides in compared.items()
        }
        change = perplexities.mean_change(study, model, alone, metric=metric)
        if change is not None:
            differences.append(change.interval.value)
    if len(differences) < 2:
        return {}
    return {"lowest_draw": min(differences), "highest_draw": max(differences)}


def _sides(study: Study, model: str, setting: Setting, benchmark: str) -> tuple[Sets, dict[str, Sets]]:
    """Scored sub-models of the sets of the benchmark's language, and of the sets that they are compared with, by kind.

    Sets of no single language are on no side.
    """
    groups, language = study.scored_by_calibration(model, setting), study.benchmark(benchmark)["language"]
    matched = [ids for calibration, ids in groups.items() if calibration.language == language]
    unmatched = [ids for calibration, ids in groups.items() if calibration.language not in (None, language)]
    generic = [ids for calibration, ids in groups.items() if calibration.domain == GENERIC]
    return matched, {"unmatched": unmatched, "generic": generic}


def show(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[[*setting_columns(frame), "language", "part", "against"]].copy()
    shown["benchmark"] = [marked(row.benchmark, row.remarks) for row in frame.itertuples()]
    shown["matched minus it"] = [METRIC.show_change(row.difference, row.low, row.high) for row in frame.itertuples()]
    shown["files"] = frame["n_items"]
    shown["files to decide it"] = ["" if pd.isna(n) else f"{n:.0f}" for n in frame["n_needed"]]
    shown["by one draw"] = [
        "" if pd.isna(row.lowest_draw) else METRIC.show_difference_interval(row.lowest_draw, row.highest_draw)
        for row in frame.itertuples()
    ]
    return shown


TABLE = Table(CAPTION, compute, show)
