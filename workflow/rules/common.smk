# The validated grid, and the helpers that rules share. Parsing this must stay light: every cluster job does it again.
import inspect
import json
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)

from submodels import config as grid_config, defaults, layout as paths, trees, versions
from submodels.calibration import source_files
from submodels.errors import SubmodelsError
from submodels.prompts import INSTRUCTION
from submodels.evaluation.runners import missing_toolchains
from submodels.files import fingerprint, read_yaml, temporary_path
from submodels.grid import Grid
from submodels.planning.work import Work
from submodels.pruning.methods import METHODS
from submodels.terms import DENSE
from submodels.world import corpus

# Jobs find this interpreter without an activated environment, import the package from the checkout, and stay offline.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    PYTHONPATH=PACKAGE,
    HF_HUB_OFFLINE="1",
    NLTK_DATA=str(Path(paths.FETCHED_WORDNET).resolve()),
    TQDM_MININTERVAL="10",  # a log file needs few lines of progress
)

# A plan gives Snakemake a copy of the grid, and the original files in this variable.
GRID_FILES = json.loads(os.environ.get(trees.GRID_FILES, "[]")) or list(map(str, workflow.configfiles))
try:
    for file in workflow.configfiles:
        read_yaml(file)  # Snakemake has read the file, but silently accepts faults that read_yaml refuses
    GRID = Grid(grid_config.check_grid(config, " + ".join(GRID_FILES)), " + ".join(GRID_FILES))
    GRID.check_files()
    trees.check_origin(GRID.tree, GRID_FILES)
except SubmodelsError as error:
    raise WorkflowError(str(error)) from None

TREE = GRID.tree
DRAWS = GRID.draws()
COLLECTED = {name: source for name, source in GRID.row_sources().items() if source.directory}
PRUNED = [  # manifests with time and memory of the pruning of every evaluated sub-model
    f"{TREE.submodel}/manifest.json".format(model=model, submodel=id)
    for model in GRID.models
    for id in GRID.evaluated(model)
    if id != DENSE
]
SCORES = [f"{TREE.scores}/{name}.json".format(model=model) for model in GRID.models for name in GRID.benchmarks]
work_by = cache(lambda threads: Work(GRID, threads=threads))
WORK = work_by(1)
LANGUAGES = {GRID.benchmarks[name].language for name in GRID.code}
MISSING_TOOLCHAINS = {name: hint for name, hint in missing_toolchains().items() if name in LANGUAGES}


def any_of(names):
    """A wildcard constraint: one of these names; it matches nothing if there are no names."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def any_submodel():
    """A wildcard constraint, part by part: Snakemake reads it again for every file of every job, so it must be short."""
    cells = [cell for model in GRID.models for cell in GRID.submodels(model).values()]
    parts = zip(*((cell.method, cell.sized_calibration, cell.sparsity, f"s{cell.seed}") for cell in cells))
    return "|".join([DENSE, "-".join(f"(?:{any_of(set(part))})" for part in parts)])


wildcard_constraints:
    model=any_of(GRID.models),
    submodel=any_submodel(),
    benchmark=any_of(GRID.benchmarks),
    calibration=any_of(DRAWS),


def environment(name):
    """A file of envs/, with doubled braces, because Snakemake formats this path."""
    return f"{workflow.basedir}/envs/{name}.yaml".replace("{", "{{").replace("}", "}}")


def stand_in(file):
    """The path that represents a user's file in the graph: the file, or a link if its path has braces or brackets.

    Snakemake would take such a path for a pattern, even from an input function, and has no way to quote it.
    """
    if not re.search("[{}<>]", file):
        return file
    link = Path(TREE.links, fingerprint(file)[:16], re.sub("[{}<>]", "_", Path(file).name))
    if not link.is_symlink() or os.readlink(link) != os.path.abspath(file):
        temporary = temporary_path(link)
        temporary.symlink_to(os.path.abspath(file))
        os.utime(temporary, (0, 0), follow_symlinks=False)  # so that the file's time counts, not the link's
        temporary.replace(link)
    return str(link)


def options(**values):
    """`--name value` for the shell, quoted; a list repeats the option, and None and empty values are left out."""
    pairs = []
    for name, value in values.items():
        for entry in value if isinstance(value, list) else [value]:
            if entry not in (None, ""):
                pairs.append(f"--{name.replace('_', '-')} {shlex.quote(str(entry))}")
    return " ".join(pairs)


def as_json(model):
    return model.model_dump_json(exclude_defaults=True)


def get_grid(wildcards):
    """The grid as JSON; a function, because Snakemake would take the braces of a plain string for wildcards."""
    return GRID.config.model_dump_json()


def get_grid_files(wildcards):
    return json.dumps(GRID_FILES)


def get_description(wildcards):
    """Identity of the expanded grid, which changes with the registries too."""
    return fingerprint(GRID.describe())[:16]


def get_model_dir(wildcards):
    return GRID.model_dir(wildcards.model)


def get_prompt(model):
    """A base model's prompt format; None for the default."""
    prompt = GRID.spec(model).prompt
    return None if prompt == defaults.PROMPT else prompt


def get_model(wildcards):
    """The files that represent a base model in the graph."""
    return list(map(stand_in, GRID.model_files(wildcards.model)))


def get_training_options(wildcards):
    spec = GRID.spec(wildcards.model)
    return options(
        architecture=spec.tiny_world, steps=spec.steps or defaults.STEPS, domain=spec.domains,
        seed=GRID.config.seed if spec.seed is None else spec.seed,
    )  # fmt: skip


def get_submodel(wildcards):
    return GRID.submodels(wildcards.model)[wildcards.submodel]


def get_draw_dirs(wildcards):
    """Directories of the draws that a sub-model sees: none for the dense model and for methods that need no data."""
    draws = [] if wildcards.submodel == DENSE else GRID.draws_of(get_submodel(wildcards))
    names = dict.fromkeys(of.draw for of in draws)
    return [TREE.calibration.format(model=wildcards.model, calibration=name) for name in names]


def get_windows(wildcards):
    """Windows of a sub-model's calibration draw; nothing for methods that need no data."""
    draw = get_submodel(wildcards).draw
    return TREE.windows.format(model=wildcards.model, calibration=draw) if draw else []


def get_general_windows(wildcards):
    """Windows of the generic set; nothing for methods that take none."""
    general = GRID.general(get_submodel(wildcards))
    return TREE.windows.format(model=wildcards.model, calibration=general.draw) if general else []


def get_drawn_rows(wildcards):
    return [f"{draw}/{paths.DRAWN_ROWS}" for draw in get_draw_dirs(wildcards)]


def get_method_options(wildcards):
    """Several options in one parameter: every parameter takes time in the job of every sub-model.

    They are not made from the job's input, because Snakemake does not notice changes of parameters made from input.
    """
    cell, windows = get_submodel(wildcards), get_windows(wildcards)
    told = {"windows": windows, "calibration": cell.calibration} if windows else {}
    told |= {name: getattr(GRID.config.pruning, name) for name in METHODS[cell.method].settings}
    if "general" in told:
        told["general"] = get_general_windows(wildcards)
    return options(method=cell.method, sparsity=cell.sparsity, seed=cell.seed, **told)


def get_calibration_spec(wildcards):
    return as_json(GRID.registries.calibration_sets[DRAWS[wildcards.calibration].calibration])


def get_draw_options(wildcards):
    """How a calibration set is drawn, in the base model's prompt format if there are instructions in it."""
    draw, calibration = DRAWS[wildcards.calibration], GRID.config.calibration
    entries = [GRID.registries.calibration_sets[draw.calibration], *GRID.components(draw.calibration).values()]
    instructs, size = any(entry.style == INSTRUCTION for entry in entries), GRID.size(draw)
    return options(
        prompt=get_prompt(wildcards.model) if instructs else None, seed=draw.seed, seqlen=calibration.seqlen,
        windows=calibration.windows, protocol=calibration.protocol,
        **{"rows": size.rows} if size.tokens is None else {"tokens_per_set": size.tokens},
    )  # fmt: skip


def get_calibration_source(wildcards):
    """The file of rows, or the files of a mix's components."""
    return list(map(stand_in, GRID.calibration_sources(DRAWS[wildcards.calibration].calibration).values()))


def get_source_options(wildcards):
    """Options for the file of rows, or `<component>=<file>` and the entries of the components."""
    name = DRAWS[wildcards.calibration].calibration
    sources, components = GRID.calibration_sources(name), GRID.components(name)
    if not components:
        return options(source=list(sources.values()))
    entries = {of: entry.model_dump(mode="json", exclude_defaults=True) for of, entry in components.items()}
    return options(source=[f"{of}={file}" for of, file in sources.items()], components=json.dumps(entries))


def get_mem_mb(wildcards, attempt, threads, rulename):
    """Memory request of a job in MB, from the sizes of its model and its work; more on each attempt."""
    return work_by(threads).memory_mb(rulename, attempt, **dict(wildcards))


def get_runtime(wildcards, attempt, threads, rulename):
    """Time request of a job in minutes."""
    return work_by(threads).minutes(rulename, attempt, **dict(wildcards))


def get_weights(wildcards):
    """The files that represent the weights of a sub-model: its mask, or the dense base model."""
    return list(map(stand_in, GRID.weights(wildcards.model, wildcards.submodel)))


def of_submodels(pattern, submodels):
    """A function of wildcards: the files of a base model's sub-models, which `submodels` lists."""
    return lambda wildcards: expand(pattern, model=wildcards.model, submodel=submodels(wildcards.model))


def get_rows(wildcards):
    """The file of rows from which a benchmark's items are made, if there is one."""
    file = GRID.rows(wildcards.benchmark)
    return stand_in(file) if file else []


def get_rows_options(wildcards):
    """Options for the file of rows, or for a fixture, and for the adapter."""
    benchmark, adapter = GRID.benchmarks[wildcards.benchmark], GRID.adapter(wildcards.benchmark)
    rows = GRID.rows(benchmark.name)
    fixture = "--fixture " if GRID.config.sources.get(benchmark.name) == "fixture" else ""
    return fixture + options(rows=rows, adapter=adapter)


def benchmark_options(names):
    """Benchmarks with their items, as one string; a function, as `get_grid`."""
    return lambda wildcards: options(benchmark=[f"{name}={GRID.items(name)}" for name in names])


def get_submodel_options(wildcards):
    """Nothing for the dense base model; else the sub-model, and the draws that must hold no items."""
    if wildcards.submodel == DENSE:
        return ""
    return options(submodel=TREE.submodel.format(**wildcards), draw=get_draw_dirs(wildcards))


def get_generation_options(wildcards):
    evaluation = GRID.config.evaluation
    return options(
        prompt=get_prompt(wildcards.model), seed=GRID.config.seed, limit=LIMIT, samples=SAMPLES,
        dtype=evaluation.computed_in, backend=evaluation.backend,
    )  # fmt: skip


# The grid's `samples`, if it differs from the task files.
SAMPLES = next(iter({task.sampling for task in GRID.benchmarks.values()} - {None}), None)
# `N`, or `NAME=N` for each benchmark that has a limit.
LIMIT = GRID.config.evaluation.limit
LIMIT = [f"{name}={count}" for name, count in LIMIT.items()] if isinstance(LIMIT, dict) else LIMIT
SCORING = options(
    synonyms=GRID.config.evaluation.synonyms, limit=LIMIT, samples=SAMPLES,
    resamples=GRID.config.evaluation.resamples, seed=GRID.config.seed,
)  # fmt: skip
QUESTIONS = {model: GRID.questions(model) for model in GRID.models}


def shown(path, caption, category, **labels):
    """An output that `snakemake --report` shows."""
    return report(path, caption=f"../report/{caption}.rst", category=category, labels=labels)


def get_output_dir(wildcards, output):
    return str(Path(output[0]).parent)


def directory_of(name):
    """The directory of the files of an input."""
    return lambda wildcards, input: str(Path(input[name][0]).parent)


# Snakemake inspects these functions' signatures several times for each job; storing them saves a tenth of the time to
# plan a large grid.
for function in [value for value in globals().values() if inspect.isfunction(value)]:
    function.__signature__ = inspect.signature(function)
