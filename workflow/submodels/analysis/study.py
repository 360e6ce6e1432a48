"""The data of all tables: scores, overlaps, manifests, the grid's description; and the queries that tables share."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from submodels import files
from submodels.analysis import overlap
from submodels.analysis.metric import Metric
from submodels.calibration.sizes import DrawSize
from submodels.checkpoints import masks
from submodels.errors import SubmodelsError
from submodels.pruning import patterns
from submodels.terms import CONTROL, DENSE, DOMAINS, GENERIC, LANGUAGES, NO_CALIBRATION, NOT_RUN
from submodels.verdict import STATUSES

REFERENCE = "wanda"  # the method of the paper: it comes first, and others are compared with it
_DOMAIN_ORDER = (*DOMAINS, GENERIC, CONTROL)


@dataclass(frozen=True)
class CalibrationSet:
    """A calibration set as the analysis sees it; `none` for methods that need no data."""

    name: str
    domain: str | None
    language: str | None

    @property
    def is_special(self) -> bool:
        """True for sets of no domain: neither matched nor unmatched to any benchmark."""
        return self.domain in (None, GENERIC, CONTROL)

    def matches(self, domain: str, language: str | None) -> bool:
        """Same domain and, when both have a language, the same language."""
        same_language = language is None or self.language is None or self.language == language
        return self.domain == domain and same_language


@dataclass(frozen=True)
class Setting:
    """The values that a comparison of calibration sets holds fixed.

    size: how much of a set is used; None for methods that need no data.
    """

    method: str
    sparsity: str
    size: DrawSize | None

    @property
    def pruned_fraction(self) -> float:
        return patterns.parse(self.sparsity).fraction

    @property
    def is_structured(self) -> bool:
        return patterns.parse(self.sparsity).is_structured

    @property
    def calibration_size(self) -> str | None:
        """`128 rows` or `65536 tokens`, as tables write it."""
        return None if self.size is None else str(self.size)

    @property
    def columns(self) -> dict[str, str | None]:
        """The setting as columns of a table."""
        return {"method": self.method, "sparsity": self.sparsity, "calibration_size": self.calibration_size}

    @property
    def order(self):
        unit, amount = ("", 0) if self.size is None else (self.size.unit, self.size.amount)
        return self.method != REFERENCE, self.method, self.pruned_fraction, self.sparsity, unit, amount


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap; taken from the score files, so that all intervals of a grid have equal settings."""

    resamples: int
    seed: int
    level: float


class Study:
    """Everything measured on one grid."""

    def __init__(
        self,
        grid: dict,
        scores: dict[tuple[str, str], dict],
        overlaps: dict[str, pd.DataFrame],
        manifests: dict[tuple[str, str], dict] | None = None,
    ):
        """`scores`: (model, benchmark) -> score file; `overlaps`: model -> rows of its overlap file; `manifests`:
        (model, sub-model) -> manifest of its pruning."""
        self.grid = grid
        self.scores = scores
        self.overlaps = overlaps
        self.manifests = manifests or {}
        self.models = list(grid["models"])
        self._submodels = {
            model: {id: grid["submodels"][id] for id in entry["submodels"]} for model, entry in grid["models"].items()
        }
        self._evaluated = {model: self._in_order(model) for model in self.models}
        self._groups = {model: self._group(model) for model in self.models}
        self._halves: dict[tuple[str, str], np.ndarray] = {}
        self._pairs: dict[tuple[str, Setting], pd.DataFrame] = {}
        self._remarks: dict[str, dict[str, None]] = {}
        for (_, benchmark), score in scores.items():
            self._remarks.setdefault(benchmark, {}).update(dict.fromkeys([*_remarks(score), *self._cuts(score)]))
        self._lower_is_better = {name for (_, name), score in scores.items() if not score["higher_is_better"]}
        self.benchmarks = sorted(grid["benchmarks"], key=self._benchmark_order)
        drawn = [score["bootstrap"] for score in scores.values()]
        self.resampling = Resampling(**drawn[0])
        if any(other != drawn[0] for other in drawn):
            raise SubmodelsError("score files disagree on `bootstrap`; score all benchmarks again with one setting")

    def _benchmark_order(self, benchmark: str):
        entry = self.grid["benchmarks"][benchmark]
        domain, language = _position(_DOMAIN_ORDER, entry["domain"]), _position(LANGUAGES, entry["language"])
        return not self.metric(benchmark).higher_is_better, domain, language

    def benchmark(self, name: str) -> dict:
        return self.grid["benchmarks"][name]

    def metric(self, benchmark: str) -> Metric:
        """The primary metric of a benchmark."""
        return Metric(self.benchmark(benchmark)["primary"], benchmark not in self._lower_is_better)

    def remarks(self, benchmarks: list[str]) -> str:
        """Remarks that a reader needs to judge scores of these benchmarks: partial, made-up or truncated items, another
        sampling than in the task file, the paper's protocol.

        A remark that applies to only some of the benchmarks names them.
        """
        held: dict[str, list[str]] = {}
        for benchmark in benchmarks:
            for remark in self._remarks.get(benchmark, ()):
                held.setdefault(remark, []).append(benchmark)
        return "; ".join(
            remark if len(of) == len(benchmarks) else f"{remark} ({', '.join(of)})" for remark, of in held.items()
        )

    def _cuts(self, score: dict) -> list[str]:
        """Remarks on texts that the context of the score's model cut; the model is named if the grid has several."""
        cut = score["truncated"] or {}
        whose = f" of {score['model']}" if len(self.models) > 1 else ""
        return [f"truncated {what}{whose}" for what in ("prompts", "answers") if cut.get(what)]

    @property
    def accuracies(self) -> list[str]:
        """Benchmarks whose scores can be averaged with each other: fractions, higher is better."""
        return [name for name in self.benchmarks if self.metric(name).higher_is_better]

    @property
    def perplexities(self) -> list[str]:
        """Benchmarks whose scores enter no mean: in their own unit, lower is better."""
        return [name for name in self.benchmarks if not self.metric(name).higher_is_better]

    def domains(self) -> list[str]:
        """Domains that have an accuracy, in the fixed order."""
        return list(dict.fromkeys(self.benchmark(name)["domain"] for name in self.accuracies))

    def of_domain(self, domain: str) -> list[str]:
        """Accuracies of a domain."""
        return [name for name in self.accuracies if self.benchmark(name)["domain"] == domain]

    def scored(self, model: str, domain: str) -> list[str]:
        """Accuracies of a domain that the dense baseline ran; all of them when it ran none, to say why."""
        ran = [name for name in self.of_domain(domain) if len(self.items(model, [DENSE], name))]
        return ran or self.of_domain(domain)

    def submodels(self, model: str) -> dict[str, dict]:
        """Pruned sub-models of a base model by id, whether scored or not."""
        return self._submodels[model]

    def evaluated(self, model: str) -> list[str]:
        """Ids that should have scores, the dense baseline first, then in the fixed order of calibration sets."""
        return self._evaluated[model]

    def _in_order(self, model: str) -> list[str]:
        ids, entries = self.grid["models"][model]["evaluated"], self.submodels(model)
        return [DENSE, *sorted((id for id in ids if id != DENSE), key=lambda id: self._submodel_order(entries[id]))]

    def _submodel_order(self, entry: dict):
        uncalibrated = entry["calibration"] == NO_CALIBRATION
        calibration = self.calibration_order(self.calibration(entry))
        return uncalibrated, self.setting(entry).order, calibration, entry["seed"]

    @staticmethod
    def calibration_order(calibration: CalibrationSet):
        domain, language = _position(_DOMAIN_ORDER, calibration.domain), _position(LANGUAGES, calibration.language)
        return domain, language, calibration.name

    @staticmethod
    def calibration(entry: dict) -> CalibrationSet:
        return CalibrationSet(entry["calibration"], entry["domain"], entry["language"])

    def score(self, model: str, submodel: str, benchmark: str) -> dict:
        """The score's entry; one of status `not run` with a reason when there is none."""
        missing = {"status": NOT_RUN, "reason": "no score was written", "items": {}, "metrics": {}, "counts": {}}
        missing |= {"wall_seconds": {"generate": None, "execute": None}}
        missing |= {"prompt_tokens": None, "generated_tokens": None}
        score = self.scores.get((model, benchmark), {"submodels": {}})
        return score["submodels"].get(submodel, missing)

    def outcomes(self) -> list[str]:
        """Every way in which samples ended: the verdicts of programs, then the other benchmarks' own words."""
        entries = [self.score(*place) for place in self._places()]
        return list(dict.fromkeys([*STATUSES, *(outcome for entry in entries for outcome in entry["counts"])]))

    def _places(self):
        for benchmark in self.benchmarks:
            for model in self.models:
                for id in self.evaluated(model):
                    yield model, id, benchmark

    def items(self, model: str, ids: list[str], benchmark: str) -> np.ndarray:
        """Per item [items], the mean primary value over those of `ids` that ran (seeds or sets); [0] when none did."""
        primary = self.benchmark(benchmark)["primary"]
        scores = [self.score(model, id, benchmark) for id in ids]
        ran = [score["items"][primary] for score in scores if score["status"] == "ok"]
        return np.mean(ran, axis=0) if ran else np.empty(0)

    def task_ids(self, model: str, benchmark: str) -> list[str]:
        """The items of a benchmark, in the order of all arrays of item values."""
        return self.scores[model, benchmark]["task_ids"] if (model, benchmark) in self.scores else []

    def for_choice(self, model: str, benchmark: str) -> np.ndarray:
        """Which items [items] belong to the half on which a best sub-model is chosen; the other half reports it."""
        if (model, benchmark) not in self._halves:
            tasks = self.task_ids(model, benchmark)
            self._halves[model, benchmark] = np.array([for_selection(task) for task in tasks], dtype=bool)
        return self._halves[model, benchmark]

    def settings(self, model: str) -> list[Setting]:
        """Every method that calibrates, with each of its sparsities."""
        return sorted(self._groups[model], key=lambda setting: setting.order)

    def compared(self, model: str) -> list[Setting]:
        """The settings with at least two calibration sets to compare; all settings if there are no such settings."""
        settings = self.settings(model)
        return [setting for setting in settings if len(self.by_calibration(model, setting)) > 1] or settings

    @staticmethod
    def setting(entry: dict) -> Setting:
        rows, tokens = entry["rows"], entry["tokens_per_set"]
        size = None if rows is None and tokens is None else DrawSize(rows, tokens)
        return Setting(entry["method"], entry["sparsity"], size)

    def sizes(self) -> list[str]:
        """Every size of calibration sets in the grid."""
        sizes = {setting.size for model in self.models for setting in self.settings(model)}
        return [str(size) for size in sorted(sizes, key=lambda size: (size.unit, size.amount))]

    def by_calibration(self, model: str, setting: Setting) -> dict[CalibrationSet, list[str]]:
        """Calibration set -> ids of its seeds, in the fixed order of calibration sets."""
        return self._groups[model].get(setting, {})

    def _group(self, model: str) -> dict[Setting, dict[CalibrationSet, list[str]]]:
        grouped: dict[Setting, dict[CalibrationSet, list[str]]] = {}
        for id, entry in sorted(self.submodels(model).items()):
            if entry["calibration"] != NO_CALIBRATION:
                of_setting = grouped.setdefault(self.setting(entry), {})
                of_setting.setdefault(self.calibration(entry), []).append(id)
        return {
            setting: {key: groups[key] for key in sorted(groups, key=self.calibration_order)}
            for setting, groups in grouped.items()
        }

    def scored_by_calibration(self, model: str, setting: Setting) -> dict[CalibrationSet, list[str]]:
        """As `by_calibration`, without sub-models that are pruned only to compare masks."""
        evaluated = set(self.evaluated(model))
        groups = self.by_calibration(model, setting).items()
        return {calibration: kept for calibration, ids in groups if (kept := [id for id in ids if id in evaluated])}

    def without_calibration(self, model: str) -> dict[tuple[str, str], list[str]]:
        """(method, sparsity) -> ids of the scored sub-models of methods that need no data."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for id in self.evaluated(model)[1:]:
            entry = self.submodels(model)[id]
            if entry["calibration"] == NO_CALIBRATION:
                grouped.setdefault((entry["method"], entry["sparsity"]), []).append(id)
        return grouped

    def matches(self, calibration: CalibrationSet, benchmark: str) -> bool:
        entry = self.benchmark(benchmark)
        return calibration.matches(entry["domain"], entry["language"])

    def matched(
        self, model: str, setting: Setting, benchmark: str
    ) -> tuple[list[CalibrationSet], list[CalibrationSet]]:
        """Calibration sets that match a benchmark, and sets that do not; generic and control sets are in neither."""
        sets = [calibration for calibration in self.by_calibration(model, setting) if not calibration.is_special]
        same = [calibration for calibration in sets if self.matches(calibration, benchmark)]
        return same, [calibration for calibration in sets if calibration not in same]

    def set_items(self, model: str, setting: Setting, sets: list[CalibrationSet], benchmark: str) -> np.ndarray:
        """Per item, the mean over calibration sets; every set weighs the same, for any number of seeds."""
        groups = self.by_calibration(model, setting)
        values = [self.items(model, groups[calibration], benchmark) for calibration in sets]
        values = [items for items in values if len(items)]
        return np.mean(values, axis=0) if values else np.empty(0)

    def pairs(self, model: str, setting: Setting) -> pd.DataFrame:
        """Overlap rows between sub-models of one setting, with `set_a`, `set_b` (CalibrationSet) and `kind` of pair."""
        if (model, setting) not in self._pairs:
            self._pairs[model, setting] = self._find_pairs(model, setting)
        return self._pairs[model, setting]

    def _find_pairs(self, model: str, setting: Setting) -> pd.DataFrame:
        groups = self.by_calibration(model, setting)
        position = {id: place for place, ids in enumerate(groups.values()) for id in ids}
        rows = self.overlaps.get(model, pd.DataFrame(columns=overlap.COLUMNS))
        a, b = rows["a"].map(position), rows["b"].map(position)
        wanted = a.notna() & b.notna() & (rows["a"] != rows["b"])
        a, b = a[wanted].to_numpy(dtype=int), b[wanted].to_numpy(dtype=int)
        sets = np.empty(len(groups), dtype=object)
        sets[:] = list(groups)
        kinds = np.array([[pair_kind(first, second) for second in groups] for first in groups], dtype=object)
        return rows[wanted].assign(set_a=sets[a], set_b=sets[b], kind=kinds[a, b])


def _remarks(score: dict) -> list[str]:
    remarks = [f"first {score['partial']['items']} items"] if score["partial"] else []
    remarks += [_sampled(score["sampling"])] if score["sampling"] else []
    remarks += ["fixture"] * score["fixture"]
    remarks += ["paper protocol"] * (score["protocol"] == "paper")
    return remarks


def _sampled(sampling: int | str) -> str:
    """Remark on samples that were drawn in another way than the task file says."""
    return f"{sampling} sample{'s' * (sampling > 1)}" if isinstance(sampling, int) else sampling


def _position(order: tuple, value) -> int:
    return order.index(value) if value in order else len(order)


def pair_kind(a: CalibrationSet, b: CalibrationSet) -> str:
    """Kind of a pair of sub-models: `seeds` (one set, two draws), `within domain`, `cross domain` or `other`."""
    if a == b:
        return "seeds"
    if a.is_special or b.is_special:
        return "other"
    return "within domain" if a.domain == b.domain else "cross domain"


def for_selection(task_id: str) -> bool:
    """Whether an item belongs to the half on which a best sub-model is chosen; the other half reports it."""
    return hashlib.sha256(str(task_id).encode("utf-8")).digest()[0] % 2 == 0


def paired(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences a - b [items, 1] of two sub-models on one benchmark; [0, 1] where either did not run."""
    return (a - b)[:, None] if len(a) and len(b) else np.empty((0, 1))


_SCORE_KEYS = ("model", "benchmark", "bootstrap", "higher_is_better", "protocol", "quirks", "partial", "fixture")
_SCORE_KEYS += ("primary", "sampling", "truncated", "contamination", "task_ids", "submodels")


def load_study(scores: list[Path], overlaps: list[Path], grid: Path, submodels: Path | None = None) -> Study:
    """Read a study from its files; an overlap file is named after its model. Errors name the file and the key.

    submodels: the directory with <model>/<sub-model>/manifest.json of every evaluated sub-model; None: no manifests.
    """
    description = files.read_json(grid)
    for key in ("name", "seed", "models", "submodels", "benchmarks", "roots", "missing", "local_rows"):
        if key not in description:
            raise SubmodelsError(f"{grid}: key '{key}' is missing; write the grid's description again")
    if not scores:
        raise SubmodelsError("no score files given; run the score stage first")
    read = {}
    for path in scores:
        score = files.read_json(path)
        if missing := [key for key in _SCORE_KEYS if key not in score]:
            raise SubmodelsError(f"{path}: key '{missing[0]}' is missing; score this benchmark again")
        for axis in ("model", "benchmark"):
            if score[axis] not in description[f"{axis}s"]:
                raise SubmodelsError(f"{path}: {axis} '{score[axis]}' is not in {grid}; delete the file or extend it")
        primary = description["benchmarks"][score["benchmark"]]["primary"]
        if score["primary"] != primary:
            raise SubmodelsError(
                f"{path}: its primary metric is {score['primary']}, that of {grid} {primary}; score this benchmark "
                "again"
            )
        for id, entry in score["submodels"].items():
            entry["items"] = {name: np.array(values, dtype=np.float64) for name, values in entry["items"].items()}
            if any(len(values) != len(score["task_ids"]) for values in entry["items"].values()):
                raise SubmodelsError(
                    f"{path}: {id} does not have one value for each of `task_ids`; score this benchmark again"
                )
        read[score["model"], score["benchmark"]] = score
    manifests = {} if submodels is None else _read_manifests(Path(submodels), description)
    return Study(description, read, {Path(path).stem: _read_overlap(path) for path in overlaps}, manifests)


def _read_manifests(directory: Path, description: dict) -> dict[tuple[str, str], dict]:
    read = {}
    for model, entry in description["models"].items():
        for id in entry["evaluated"]:
            if id != DENSE:
                path = directory / model / id / "manifest.json"
                manifest = read[model, id] = files.read_json(path)
                missing = {"wall_seconds", "peak_memory_mb", "results"} - set(manifest)
                if missing:
                    raise SubmodelsError(f"{path}: key '{min(missing)}' is missing; prune this sub-model again")
                mask = path.with_name(masks.FILE_NAME)
                if "bytes" not in manifest["results"] and mask.is_file():  # pruned by an earlier version
                    manifest["results"]["bytes"] = mask.stat().st_size
    return read


def _read_overlap(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype={"a": str, "b": str, "level": "category", "module": "category"})
    except FileNotFoundError as error:
        raise SubmodelsError(f"{path}: no such file") from error
    missing = [column for column in overlap.COLUMNS if column not in rows]
    if missing:
        raise SubmodelsError(f"{path}: column '{missing[0]}' is missing; run the overlap stage again")
    return rows[rows["level"].isin(["model", "layer"])]
