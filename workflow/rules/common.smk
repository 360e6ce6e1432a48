# The validated grid, and the helpers that rules share. Parsing this must stay light: every cluster job does it again.
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)

from submodels import config as grid_config, grid as layout, versions
from submodels.errors import SubmodelsError
from submodels.evaluation.prompts import INSTRUCTION
from submodels.evaluation.runners import missing_toolchains
from submodels.files import fingerprint, read_yaml, temporary_path
from submodels.planning.work import Work
from submodels.pruning.methods import METHODS
from submodels.world import corpus

# Jobs find this interpreter without an activated environment, import the package from the checkout, and stay offline.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    PYTHONPATH=PACKAGE,
    HF_HUB_OFFLINE="1",
    NLTK_DATA=str(Path(layout.FETCHED_WORDNET).resolve()),
    TQDM_MININTERVAL="10",  # a log file wants a line now and then
)

try:
    GRID_FILE = " + ".join(map(str, workflow.configfiles))
    for file in workflow.configfiles:
        read_yaml(file)  # Snakemake has read it already, and passed over what this refuses
    GRID = layout.Expansion(grid_config.check_grid(config, GRID_FILE), GRID_FILE)
except SubmodelsError as error:
    raise WorkflowError(str(error)) from None

DRAWS = GRID.draws()
work_by = cache(lambda threads: Work(GRID, threads=threads))
WORK = work_by(1)
LANGUAGES = {task.language for task in GRID.benchmarks.values()} - {None}
MISSING_TOOLCHAINS = {name: hint for name, hint in missing_toolchains().items() if name in LANGUAGES}


def any_of(names):
    """A wildcard constraint: one of these names, or nothing at all when there are none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def any_submodel():
    """A wildcard constraint, part by part: Snakemake reads it again for every file of every job, so it must be short."""
    cells = [cell for model in GRID.models for cell in GRID.submodels(model).values()]
    parts = zip(*((cell.method, cell.sized_calibration, cell.sparsity, f"s{cell.seed}") for cell in cells))
    return "|".join([layout.DENSE, "-".join(f"(?:{any_of(set(part))})" for part in parts)])


wildcard_constraints:
    model=any_of(GRID.models),
    submodel=any_submodel(),
    benchmark=any_of(GRID.benchmarks),
    calibration=any_of(DRAWS),


def environment(name):
    """A file of envs/, its braces doubled, for Snakemake formats this path."""
    return f"{workflow.basedir}/envs/{name}.yaml".replace("{", "{{").replace("}", "}}")


def stand_in(file):
    """What stands for a file of the user's in the graph: itself, or a link where its path has braces or brackets.

    Snakemake would take them for a pattern, in whatever an input function returns too, and knows no way to quote them.
    """
    if not re.search("[{}<>]", file):
        return file
    if not os.path.exists(file):
        raise WorkflowError(f"{file}: no such file")
    link = Path(layout.LINK.format(path=fingerprint(file)[:16], name=re.sub("[{}<>]", "_", Path(file).name)))
    if not link.is_symlink() or os.readlink(link) != os.path.abspath(file):
        temporary = temporary_path(link)
        temporary.symlink_to(os.path.abspath(file))
        os.utime(temporary, (0, 0), follow_symlinks=False)  # the file's time counts
        temporary.replace(link)
    return str(link)


def get_grid(wildcards):
    """The grid as JSON; a function, because Snakemake would take the braces of a plain string for wildcards."""
    return GRID.grid.model_dump_json()


def get_description(wildcards):
    """Identity of what the registries say of the grid."""
    return fingerprint(GRID.describe())[:16]


def get_model_dir(wildcards):
    return GRID.model_dir(wildcards.model)


def get_prompt(wildcards):
    """The base model's prompt format; nothing for the default."""
    prompt = GRID.spec(wildcards.model).prompt
    return "" if prompt == "base" else f"--prompt {prompt}"


def get_model(wildcards):
    """The files that stand for a base model in the graph."""
    return list(map(stand_in, GRID.model_files(wildcards.model)))


def get_architecture(wildcards):
    return GRID.spec(wildcards.model).tiny_world


def get_submodel(wildcards):
    return GRID.submodels(wildcards.model)[wildcards.submodel]


def get_windows(wildcards):
    """Calibration windows of a sub-model; none for methods that need no data."""
    draw = get_submodel(wildcards).draw
    return f"{layout.WINDOWS}/windows.safetensors".format(model=wildcards.model, calibration=draw) if draw else []


def get_windows_arguments(wildcards, input):
    if not input.windows:
        return ""
    return f"--windows {shlex.quote(input.windows)} --calibration {get_submodel(wildcards).calibration}"


def get_method_arguments(wildcards):
    """One parameter for three: there is a job for each sub-model, and each parameter takes time in each."""
    cell = get_submodel(wildcards)
    return f"--method {cell.method} --sparsity {cell.sparsity} --seed {cell.seed}"


def get_method_version(wildcards):
    return METHODS[get_submodel(wildcards).method].version


def get_draw(wildcards):
    """A sub-model that a calibration draw is made for."""
    return DRAWS[wildcards.calibration]


def get_calibration_seed(wildcards):
    return get_draw(wildcards).seed


def get_calibration_spec(wildcards):
    return GRID.registries.calibration_sets[get_draw(wildcards).calibration].model_dump_json(exclude_defaults=True)


def get_calibration_prompt(wildcards):
    """The base model's prompt format, for a set with instructions in it."""
    name = get_draw(wildcards).calibration
    entries = [GRID.registries.calibration_sets[name], *GRID.components(name).values()]
    return get_prompt(wildcards) if any(entry.style == INSTRUCTION for entry in entries) else ""


def get_calibration_size(wildcards):
    size = GRID.size(get_draw(wildcards))
    return f"--rows {size.rows}" if size.tokens is None else f"--tokens-per-set {size.tokens}"


def get_calibration_source(wildcards):
    """The file of rows, or those of a mix's components."""
    return list(map(stand_in, GRID.calibration_sources(get_draw(wildcards).calibration).values()))


def get_source_arguments(wildcards):
    """That file, or `<component>=<file>` and the entries of the components."""
    name = get_draw(wildcards).calibration
    sources, components = GRID.calibration_sources(name), GRID.components(name)
    if not components:
        return " ".join(f"--source {shlex.quote(file)}" for file in sources.values())
    named = [f"--source {shlex.quote(f'{component}={file}')}" for component, file in sources.items()]
    entries = {of: entry.model_dump(mode="json", exclude_defaults=True) for of, entry in components.items()}
    return " ".join([*named, "--components", shlex.quote(json.dumps(entries))])


def get_hub_source(wildcards):
    """Where a calibration set is fetched from; its template is no part of it and may change without fetching anew."""
    return GRID.registries.calibration_sets[wildcards.set].source.model_dump_json(exclude_defaults=True)


def get_mem_mb(wildcards, attempt, threads, rulename):
    """What a job asks for, by the sizes of its model and of its work; more on each attempt."""
    return work_by(threads).memory_mb(rulename, attempt, **dict(wildcards))


def get_runtime(wildcards, attempt, threads, rulename):
    """The minutes it asks for."""
    return work_by(threads).minutes(rulename, attempt, **dict(wildcards))


def get_masks(wildcards):
    """Every mask of a base model."""
    return [layout.MASK.format(model=wildcards.model, submodel=id) for id in GRID.submodels(wildcards.model)]


def get_weights(wildcards):
    """The files that stand for the weights of a sub-model: its mask, or the dense base model."""
    return list(map(stand_in, GRID.weights(wildcards.model, wildcards.submodel)))


def get_evaluated_weights(wildcards):
    """The weights behind the scores of a base model."""
    return [stand_in(file) for id in GRID.evaluated(wildcards.model) for file in GRID.weights(wildcards.model, id)]


def of_evaluated(pattern):
    """An input function: a file of each evaluated sub-model of a base model."""
    return lambda wildcards: expand(pattern, model=wildcards.model, submodel=GRID.evaluated(wildcards.model))


def get_benchmark_source(wildcards):
    """Where a benchmark's rows are fetched from."""
    return GRID.benchmarks[wildcards.benchmark].source.model_dump_json(exclude_defaults=True)


def get_rows(wildcards):
    """The file of rows that a benchmark's items are made of, if they are made of one."""
    file = GRID.rows(wildcards.benchmark)
    return stand_in(file) if file else []


def get_rows_arguments(wildcards):
    """That file, or a fixture, and what makes items of it."""
    source, adapter = GRID.benchmarks[wildcards.benchmark].source, GRID.adapter(wildcards.benchmark)
    file = GRID.rows(wildcards.benchmark)
    rows = f"--rows {shlex.quote(file)}" if file else "--fixture" if source.hub else ""
    return f"{rows} --adapter {adapter}" if adapter else rows


def benchmark_arguments(names):
    """Benchmarks with their items, as one string; a function, as `get_grid`."""
    return lambda wildcards: " ".join(f"--benchmark {shlex.quote(f'{name}={GRID.items(name)}')}" for name in names)


def get_items(wildcards):
    return stand_in(GRID.items(wildcards.benchmark))


def get_submodel_argument(wildcards):
    if wildcards.submodel == layout.DENSE:
        return ""
    return f"--submodel {layout.SUBMODEL}".format(**wildcards)


def get_generation_settings(wildcards):
    return json.dumps(GRID.generation_settings(wildcards.model, wildcards.benchmark))


def get_generation_environment():
    """The backend's environment: the pins of vLLM conflict with the lock."""
    return environment({"hf": "submodels", "vllm": "vllm"}[GRID.grid.evaluation.backend])


def get_evaluated_draws(wildcards):
    """Manifests of the calibration draws behind the scores of a base model."""
    draws = GRID.evaluated_draws(wildcards.model)
    return [f"{layout.WINDOWS}/manifest.json".format(model=wildcards.model, calibration=draw) for draw in draws]


def get_draw_arguments(wildcards, input):
    return [f"--draw {Path(manifest).parent}" for manifest in input.draws]


def get_execution_settings(wildcards):
    """With what is missing to run the programs, if anything: a later installation then runs them."""
    missing = MISSING_TOOLCHAINS.get(GRID.benchmarks[wildcards.benchmark].language)
    return json.dumps(GRID.execution_settings(wildcards.benchmark) | {"missing": missing})


def get_scored_settings(wildcards):
    """The settings behind a benchmark's samples, and behind the verdicts on programs."""
    is_code = GRID.benchmarks[wildcards.benchmark].is_code
    return [layout.SETTINGS, *([layout.EXECUTION_SETTINGS] if is_code else [])]


def get_scored(wildcards):
    """What must stand before scoring: the executions of every sub-model, or their generations."""
    return layout.ALL_EXECUTED if GRID.benchmarks[wildcards.benchmark].is_code else layout.ALL_GENERATED


def get_sample_arguments(wildcards):
    model, benchmark = wildcards.model, wildcards.benchmark
    return [f"{id}={GRID.samples(model, id, benchmark)}" for id in GRID.evaluated(model)]


def get_limit():
    limit = GRID.grid.evaluation.limit
    return f"--limit {limit}" if limit else ""


def get_samples(*names):
    """How samples are drawn, where the grid says otherwise than the task files of these benchmarks."""
    drawn = {GRID.benchmarks[name].sampling for name in names} - {None}
    return f"--samples {drawn.pop()}" if drawn else ""


def get_scored_samples(wildcards):
    return get_samples(wildcards.benchmark)


def get_synonyms(wildcards):
    """METEOR's synonyms, for benchmarks that METEOR scores."""
    return "wordnet" if GRID.takes_wordnet(wildcards.benchmark) else "none"


def get_wordnet(wildcards):
    return layout.FETCHED_WORDNET_MANIFEST if GRID.takes_wordnet(wildcards.benchmark) else []


def get_submodel_dirs(wildcards):
    return [layout.SUBMODEL.format(model=wildcards.model, submodel=id) for id in GRID.submodels(wildcards.model)]


def get_scores(wildcards):
    return expand(layout.SCORES, model=GRID.models, benchmark=GRID.benchmarks)


def get_manifests(wildcards):
    """What the pruning of every evaluated sub-model took."""
    places = [(model, id) for model in GRID.models for id in GRID.evaluated(model) if id != layout.DENSE]
    return [f"{layout.SUBMODEL}/manifest.json".format(model=model, submodel=id) for model, id in places]


def get_overlaps(wildcards):
    return expand(layout.OVERLAP, model=GRID.models)


def shown(path, caption, category, **labels):
    """An output that `snakemake --report` shows."""
    return report(path, caption=f"../report/{caption}.rst", category=category, labels=labels)


def shown_tables():
    return [shown(f"{layout.TABLES}/{name}.csv", "tables", "Tables", table=name) for name in layout.TABLE_NAMES]


def shown_figures():
    return [
        shown(f"{layout.FIGURES}/{figure}-{model}.svg", figure, "Figures", figure=figure, model=model)
        for figure in layout.FIGURE_NAMES
        for model in GRID.models
    ]


def get_output_dir(wildcards, output):
    return str(Path(output[0]).parent)


def get_tables_dir(wildcards, input):
    return str(Path(input.tables[0]).parent)


def get_figures_dir(wildcards, input):
    return str(Path(input.figures[0]).parent)


def get_kept():
    """The checkpoints that the grid asks for."""
    names = (name.split("/") for name in GRID.kept)
    return [f"{layout.CHECKPOINT}/config.json".format(model=model, submodel=submodel) for model, submodel in names]


def refuse_orphans():
    """Stop where jobs of a killed Snakemake are still in Slurm's queue: they would write this run's files.

    Snakemake's marks know those that wait, Slurm's logs in this directory those that run.
    """
    try:
        command = ["squeue", "--me", "--noheader", "--format=%i"]
        queued = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return
    if not queued:
        return
    known = {id for job in workflow.dag.jobs for id in workflow.persistence.external_jobids(job)}
    logs = getattr(workflow.executor_settings, "logdir", None) or ".snakemake/slurm_logs"
    known |= {log.stem for log in Path(logs).rglob("*.log")}
    if orphans := [id for id in queued if id in known]:
        raise WorkflowError(
            f"{len(orphans)} jobs of an earlier Snakemake that was killed are still in Slurm's queue and write the "
            f"same files; wait for their end or cancel them, then start again: scancel {' '.join(orphans)}"
        )


# Snakemake asks several times a job what parameters these take; found once, a tenth of planning a large grid is saved.
for function in [value for value in globals().values() if inspect.isfunction(value)]:
    function.__signature__ = inspect.signature(function)
