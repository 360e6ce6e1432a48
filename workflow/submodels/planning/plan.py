"""Stage `plan`: estimate a grid's jobs, hours, memory and disk."""

from collections import defaultdict
from datetime import datetime
from pathlib import Path

from submodels.dtypes import AUTO
from submodels.evaluation.samples import samples_of
from submodels.files import read_json
from submodels.grid import Grid
from submodels.layout import manifest_of
from submodels.planning import show
from submodels.planning.costs import Cost
from submodels.planning.hardware import Hardware, read_hardware
from submodels.planning.jobs import Job, find_jobs
from submodels.planning.report_rows import Disk, Plan, Row
from submodels.planning.timings import Fit, fit_kinds, read_timing
from submodels.planning.work import RULES, UNKNOWN_SIZE, Work

HOUR, GB = 3600, 1e9


_BASES = ("fetch_base_model", "train_base_model")
_SAMPLES = ("generate", "execute")


def make_plan(
    grid: Grid, jobs: list[Job], hardware: Hardware | None = None, source: str = "resources/hardware.yaml"
) -> Plan:
    """Plan a grid with these jobs; the times of jobs finished in the working directory correct the estimates.

    source: name of the source of the hardware's figures.
    """
    work, order = Work(grid, hardware), {rule: place for place, rule in enumerate(RULES)}
    jobs = sorted(jobs, key=lambda job: order.get(job.rule, len(order)))
    fits, measured_memory = learn(work, jobs)
    rows: dict[str, Row] = {}
    disk, temporary = Disk(), defaultdict(list)
    for job in jobs:
        cost, row = work.cost(job.rule, **job.wildcards), rows.setdefault(job.rule, Row(job.rule))
        product, runs = cost.product + work.hardware.files.log_bytes, job.runs
        row.add(
            Row(
                job.rule,
                jobs=int(runs),
                done=int(not runs),
                gpu_hours=work.gpus(job.rule) * seconds(work, job, cost, fits) / HOUR if runs else 0,
                cpu_hours=work.threads * seconds(work, job, cost, fits) / HOUR if runs else 0,
                memory=work.memory_mb(job.rule, **job.wildcards) * 1e6 if runs else 0,
                gpu_memory=cost.device_memory if runs else 0,
                disk=product,
                disk_with_checkpoints=cost.plain if job.rule == "prune" else product,
                disk_left=product if runs else 0,
            )
        )
        temporary[job.rule].append(cost.temporary)
        if job.rule in _BASES:
            disk.base_models += product
        elif job.rule == "prune":
            disk.submodels += product
            disk.checkpoints += cost.plain
        elif job.rule in _SAMPLES:
            disk.samples += product
            disk.plain_samples += cost.plain
        else:
            disk.rest += product
    at_once = work.hardware.parallel_jobs
    at_work = {rule: sum(sorted(sizes)[-at_once:]) for rule, sizes in temporary.items()}
    disk.temporary = max(at_work.values())
    total = Row("total", disk_peak=disk.peak)
    for row in rows.values():
        row.disk_peak = row.disk + at_work[row.rule]
        total.add(row)
    return Plan(grid.config.name, list(rows.values()), total, disk, assumptions(work, source, fits, measured_memory))


def kind(work: Work, job: Job) -> str:
    """The kind of a job: its rule, and for `prune` its method. Jobs of one kind are timed together."""
    if job.rule == "prune":
        return f"prune {work.grid.submodels(job.wildcards['model'])[job.wildcards['submodel']].method}"
    return job.rule


def learn(work: Work, jobs: list[Job]) -> tuple[dict[str, Fit], dict[str, float]]:
    """Fits by kind of job, and the highest memory measured by rule, from the jobs that Snakemake has timed here."""
    measured, memory = [], {}
    for job in jobs:
        path = Path(work.grid.tree.timing(job.rule, *job.wildcards).format(**job.wildcards))
        timing = read_timing(path)
        manifests = [read_json(place) for place in _manifests(work, job) if place.is_file()]
        if timing and _did_all(manifests, path.stat().st_mtime - timing.seconds):
            measured.append((kind(work, job), work.cost(job.rule, **job.wildcards), timing.seconds))
            # A job that starts warm is no child of the process that Snakemake looks at; its manifest knows its memory.
            peaks = [1e6 * manifest["peak_memory_mb"] for manifest in manifests if "peak_memory_mb" in manifest]
            if peak := max([*peaks, timing.memory or 0]):
                memory[job.rule] = max(memory.get(job.rule, 0), peak)
    return fit_kinds(measured), memory


def _did_all(manifests: list[dict], begun: float) -> bool:
    """Whether the timed run, which began at `begun` (seconds since the epoch), did all of a job with these manifests.

    False where an earlier run had finished a part of the job, or where another grid had made its product.
    """
    if any(each.get("taken_from") or each.get("kept") or each.get("results", {}).get("taken") for each in manifests):
        return False
    started = (datetime.fromisoformat(each["started"]).timestamp() for each in manifests if "started" in each)
    return all(moment >= begun - 2 for moment in started)  # a manifest has whole seconds


def _manifests(work: Work, job: Job) -> list[Path]:
    """The files in which a job records its work, if its stage can keep or take over products; else none."""
    tree, grid = work.grid.tree, work.grid
    places = {
        "world": (f"{tree.world}/manifest.json",),
        "train_base_model": (f"{tree.trained_model}/manifest.json",),
        "calibrate": (f"{tree.calibration}/manifest.json",),
        "prune": (f"{tree.submodel}/manifest.json",),
        "generate": [manifest_of(samples_of(f"{tree.generations}/{{submodel}}", name)) for name in grid.benchmarks],
        "score": (tree.scored,),
        "execute": [manifest_of(samples_of(f"{tree.executions}/{{submodel}}", name)) for name in grid.code],
    }
    return [Path(str(place).format(**job.wildcards)) for place in places.get(job.rule, ())]


def seconds(work: Work, job: Job, cost: Cost, fits: dict[str, Fit]) -> float:
    """How long a job takes: by finished jobs of its kind, or by the hardware's figures."""
    fit = fits.get(kind(work, job))
    return fit.seconds(cost) if fit else cost.seconds


def assumptions(work: Work, source: str, fits: dict[str, Fit], memory: dict[str, float]) -> list[str]:
    """The assumptions behind the figures, one sentence each."""
    grid, hardware = work.grid.config, work.hardware
    pruning, evaluation, figures = grid.pruning, grid.evaluation, hardware.evaluation
    on = {"cpu": hardware.cpu.name}
    sentences = [
        f"Figures of {source}: pruning on {on.get(pruning.device, hardware.gpu.name)} "
        f"in {_named(pruning.computed_in)}; generating on "
        f"{on.get(evaluation.device, hardware.gpu.name)} in {_named(evaluation.computed_in)} with "
        f"{evaluation.backend}; all other work on {hardware.cpu.name}.",
        f"Answers are {figures.rambling:g} times as long as right answers; each batch takes as many steps as a "
        f"benchmark allows tokens; {100 * figures.hanging:g}% of programs run into the time limit.",
        "Jobs to run are those of `snakemake --dry-run --rerun-incomplete`; some of them will find their work done by "
        "another grid. Hours are those of reserved cores and GPUs, without waiting and retries.",
        f"Memory is the request of the largest job: {hardware.requests.memory:g} times its estimate, at least "
        f"{hardware.requests.least_memory / GB:g} GB. The peak of the disk includes the temporary files of "
        f"{hardware.parallel_jobs} jobs at once.",
    ]
    if unknown := [name for name, task in work.grid.benchmarks.items() if not task.size]:
        sentences.append(
            f"{', '.join(unknown)}: no `size` in the task file; {UNKNOWN_SIZE.items} items are assumed if no file of "
            "items can be counted."
        )
    if fits:
        jobs = sum(fit.jobs for fit in fits.values())
        sentences.append(
            f"Updated from {jobs} finished jobs in {work.grid.tree.root}/timings: "
            + "; ".join(map(_fitted, fits.items()))
            + "."
        )
    else:
        sentences.append("No finished job has been timed here yet, so all hours are estimates from these figures.")
    if memory:
        sentences.append(
            "Highest memory measured: " + ", ".join(f"{rule} {size / GB:.1f} GB" for rule, size in memory.items()) + "."
        )
    return sentences


def _named(dtype: str) -> str:
    return "the checkpoint's dtype" if dtype == AUTO else dtype


def _fitted(entry: tuple[str, Fit]) -> str:
    name, fit = entry
    return f"{name} {fit.start:.0f} s + {fit.factor:.2g} x work ({fit.jobs} jobs)"


def plan(grid: Grid, grid_files: list[str], out: Path | None = None, hardware: Path | None = None) -> None:
    """Print the plan of a grid and write `out`/plan.csv and `out`/plan.html, by default in the grid's tree.

    hardware: a file of figures in place of the shipped figures.
    """
    figures, source = read_hardware(hardware), str(hardware or "resources/hardware.yaml")
    result, out = make_plan(grid, find_jobs(grid, grid_files), figures, source), out or Path(grid.tree.plan)
    print(show.as_text(result))
    show.write_csv(result, out / "plan.csv")
    show.write_html(result, out / "plan.html")
    print(f"This plan is also in {out}/plan.csv and plan.html")
