"""Every path of the workflow: each grid has a separate tree of products, and all grids share the downloads.

Patterns hold the workflow's wildcards ({model}, {submodel}, {benchmark}, {calibration}); fill them with `str.format`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from submodels.files import fingerprint

RESULTS = "results"
DRAWN_WINDOWS = "windows.safetensors"  # of a calibration draw
DRAWN_ROWS = "rows.jsonl.gz"  # the rows that the windows are made of
COLLECTED_ROWS = "rows.jsonl.gz"  # the files of a directory
# The report's tables and figures in their order: the names of modules in analysis/tables and analysis/figures.
TABLE_NAMES = (
    "scores",
    "relative",
    "best_submodels",
    "code_languages",
    "bits_per_byte",
    "language_contrasts",
    "jaccard",
    "jaccard_layers",
    "within_domain",
    "noise",
    "sparsity_curves",
    "claims",
    "methods",
    "table_one",
)
FIGURE_NAMES = ("cross_task", "sparsity", "languages", "bits_per_byte", "jaccard", "jaccard_layers")
PAGE = "page.json"  # beside the tables: the report's other texts
# Suffixes of the files that decide a base model's numbers and prompts.
MODEL_SUFFIXES = (".json", ".jinja", ".safetensors", ".model", ".txt", ".tiktoken")
# Downloads are outside results/, so that they survive when results/ is deleted. {fetched}: see `fetched_name`.
FETCHED_MODEL = "resources/fetched/models/{fetched}"
FETCHED_SET = "resources/fetched/calibration_sets/{fetched}"
FETCHED_ROWS = f"{FETCHED_SET}/rows.parquet"
FETCHED_BENCHMARK = "resources/fetched/benchmarks/{fetched}"
FETCHED_BENCHMARK_ROWS = f"{FETCHED_BENCHMARK}/rows.parquet"
FETCHED_WORDNET = "resources/fetched/nltk_data"
FETCHED_WORDNET_MANIFEST = f"{FETCHED_WORDNET}/manifest.json"


class Tree:
    """The paths of one grid, results/<name>/."""

    def __init__(self, name: str):
        self.root = root = f"{RESULTS}/{name}"
        self.origin = f"{root}/origin.json"  # the grid file that the tree is made from
        self.grid = f"{root}/grid.json"
        self.world = f"{root}/world"
        self.world_train = f"{self.world}/train.jsonl"
        self.world_pool = f"{self.world}/calibration/{{pool}}.jsonl"
        self.world_items = f"{self.world}/benchmarks/{{benchmark}}.jsonl"
        self.items = f"{root}/benchmarks/{{benchmark}}.jsonl"
        self.items_manifest = f"{root}/benchmarks/{{benchmark}}.manifest.json"
        self.trained_model = f"{root}/base_models/{{model}}"
        self.collected = f"{root}/collected/{{calibration_set}}"
        self.collected_rows = f"{self.collected}/{COLLECTED_ROWS}"
        self.calibration = f"{root}/calibration/{{model}}/{{calibration}}"
        self.windows = f"{self.calibration}/{DRAWN_WINDOWS}"
        self.drawn_rows = f"{self.calibration}/{DRAWN_ROWS}"
        self.submodels = f"{root}/submodels"
        self.submodel = f"{self.submodels}/{{model}}/{{submodel}}"
        self.mask = f"{self.submodel}/submodel.safetensors"
        self.checkpoint = f"{root}/checkpoints/{{model}}/{{submodel}}"
        self.generations = f"{root}/generations/{{model}}"
        self.generated = f"{self.generations}/{{submodel}}/done.json"
        self.executions = f"{root}/executions/{{model}}"
        self.executed = f"{self.executions}/{{submodel}}/done.json"
        self.scores = f"{root}/scores/{{model}}"
        self.scored = f"{self.scores}.json"
        self.overlap = f"{root}/overlap/{{model}}.csv"
        self.tables = f"{root}/tables"
        self.page = f"{self.tables}/{PAGE}"
        self.figures = f"{root}/figures"
        self.report = f"{root}/report/index.html"
        self.views = f"{root}/views"
        self.plan = f"{root}/plan"
        self.links = f"{root}/links"  # to the user's files whose paths Snakemake would take for patterns
        self.logs = f"{root}/logs"

    def log(self, rule: str, *wildcards: str) -> str:
        """The log files of a rule's jobs."""
        return "/".join([self.logs, rule, *_braced(wildcards)]) + ".log"

    def timing(self, rule: str, *wildcards: str) -> str:
        """The files in which Snakemake records time and memory of a rule's jobs."""
        return "/".join([self.root, "timings", rule, *_braced(wildcards)]) + ".tsv"


def _braced(wildcards: tuple[str, ...]) -> list[str]:
    return [f"{{{name}}}" for name in wildcards]


def fetched_name(name: str, revision: str, source: dict) -> str:
    """Name of a download: the name of the model or data set, its revision, and a few digits of its source's hash.

    The digits are needed because two grids may use one name for different sources.
    """
    return f"{name}@{re.sub('[^A-Za-z0-9.-]', '_', revision)[:12]}-{fingerprint(source)[:6]}"


def manifest_of(product: Path | str) -> Path:
    """The manifest beside a file of samples or of items."""
    return beside(product, "manifest.json")


def beside(path: Path | str, suffix: str) -> Path:
    """The file `<name>.<suffix>` beside `<name>.jsonl` or `<name>.jsonl.gz`."""
    path = Path(path)
    return path.with_name(f"{path.name.split('.jsonl')[0]}.{suffix}")


def siblings(path: Path | str) -> Iterator[Path]:
    """The paths of the same product in the trees of other grids, for a path in the tree of a grid."""
    parts = Path(path).parts
    if len(parts) > 2 and parts[0] == RESULTS:
        for tree in sorted(Path(RESULTS).glob("*/")):
            if tree.name != parts[1]:
                yield tree.joinpath(*parts[2:])
