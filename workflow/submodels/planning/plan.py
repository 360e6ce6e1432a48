"""Stage `plan`: what a grid takes - jobs, hours, memory, disk."""

from collections import defaultdict
from datetime import datetime
from pathlib import Path

from submodels.dtypes import AUTO
from submodels.files import read_json
from submodels.grid import EXECUTIONS, GENERATIONS, Expansion
from submodels.planning import show
from submodels.planning.costs import Cost
from submodels.planning.hardware import Hardware, read_hardware
from submodels.planning.jobs import Job, find_jobs, left, targets
from submodels.planning.model import Disk, Plan, Row
from submodels.planning.timings import Fit, Timing, fit_kinds, read_timing
from submodels.planning.work import RULES, UNKNOWN_SIZE, Work

HOUR, GB = 3600, 1e9


_BASES = ("fetch_base_model", "train_base_model")
_SAMPLES = ("generate", "execute")


def make_plan(grid: Expansion, hardware: Hardware | None = None, source: str = "resources/hardware.yaml") -> Plan:
    """Plan a grid in the working directory: what exists there is done, and its times teach those to come.

    source: where the hardware's figures are from, to be named.
    """
    work, jobs = Work(grid, hardware), find_jobs(grid)
    to_run = set(left(jobs, targets(grid)))
    fits, measured_memory = learn(work, jobs)
    rows: dict[str, Row] = {}
    disk, temporary = Disk(), defaultdict(list)
    for job in jobs:
        cost, row = work.cost(job.rule, **dict(job.wildcards)), rows.setdefault(job.rule, Row(job.rule))
        product = cost.product + work.hardware.files.log_bytes
        runs = job in to_run
        row.add(
            Row(
                job.rule,
                jobs=int(runs),
                done=int(not runs),
                gpu_hours=work.gpus(job.rule) * seconds(work, job, cost, fits) / HOUR if runs else 0,
                cpu_hours=work.threads * seconds(work, job, cost, fits) / HOUR if runs else 0,
                memory=work.memory_mb(job.rule, **dict(job.wildcards)) * 1e6 if runs else 0,
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
    in_order = [rows[rule] for rule in RULES if rule in rows]
    return Plan(grid.grid.name, in_order, total, disk, assumptions(work, source, fits, measured_memory))


def kind(work: Work, job: Job) -> str:
    """Jobs of one kind are timed together: of a rule, and of a method or a scorer."""
    wildcards = dict(job.wildcards)
    if job.rule == "prune":
        return f"prune {work.grid.submodels(wildcards['model'])[wildcards['submodel']].method}"
    if job.rule == "score":
        return f"score {work.grid.benchmarks[wildcards['benchmark']].scorer}"
    return job.rule


def learn(work: Work, jobs: list[Job]) -> tuple[dict[str, Fit], dict[str, float]]:
    """Fits by kind of job, and the most memory measured by rule, from the jobs that Snakemake has timed here."""
    measured, memory = [], {}
    for job in jobs:
        timing = job.timing and read_timing(job.timing)
        if timing and _did_all(work, job, timing):
            measured.append((kind(work, job), work.cost(job.rule, **dict(job.wildcards)), timing.seconds))
            if timing.memory:
                memory[job.rule] = max(memory.get(job.rule, 0), timing.memory)
    return fit_kinds(measured), memory


def _did_all(work: Work, job: Job, timing: Timing) -> bool:
    """Whether the timed run did all of the job: two rules keep those benchmarks that an earlier run finished."""
    if job.rule not in _SAMPLES:
        return True
    generates = job.rule == "generate"
    directory = Path((GENERATIONS if generates else EXECUTIONS).format(**dict(job.wildcards)))
    names = work.grid.benchmarks if generates else work.grid.code
    manifests = [directory / f"{name}.manifest.json" for name in names]
    begun = Path(job.timing).stat().st_mtime - timing.seconds - 2  # a manifest says whole seconds
    started = (datetime.fromisoformat(read_json(path)["started"]) for path in manifests if path.is_file())
    return all(one.timestamp() >= begun for one in started)


def seconds(work: Work, job: Job, cost: Cost, fits: dict[str, Fit]) -> float:
    """How long a job takes: by finished jobs of its kind, or by the hardware's figures."""
    found = fits.get(kind(work, job))
    return found.seconds(cost) if found else cost.seconds


def assumptions(work: Work, source: str, fits: dict[str, Fit], memory: dict[str, float]) -> list[str]:
    """What the figures rest on, one sentence each."""
    grid, hardware = work.grid.grid, work.hardware
    pruning, evaluation, figures = grid.pruning, grid.evaluation, hardware.evaluation
    on = {"cpu": hardware.cpu.name}
    said = [
        f"Figures of {source}: pruning on {on.get(pruning.device, hardware.gpu.name)} "
        f"in {_named(pruning.computed_in)}; generating on "
        f"{on.get(evaluation.device, hardware.gpu.name)} in {_named(evaluation.computed_in)} by {evaluation.backend}; "
        f"all else on {hardware.cpu.name}.",
        f"Answers are {figures.rambling:g} times as long as right ones; each batch goes on for as many tokens as a "
        f"benchmark allows; {100 * figures.hanging:g}% of programs run into the time limit.",
        "Jobs are done where their output exists; that a file is stale only `snakemake --dry-run` sees. Hours are "
        "those of reserved cores and GPUs, without waiting and retries.",
        f"Memory is what the largest job asks for: {hardware.requests.memory:g} times its estimate, at least "
        f"{hardware.requests.least_memory / GB:g} GB. Disk at its peak holds the temporary files of "
        f"{hardware.parallel_jobs} jobs at once.",
    ]
    if unknown := [name for name, task in work.grid.benchmarks.items() if not task.size]:
        said.append(
            f"{', '.join(unknown)}: no `size` in the task file; {UNKNOWN_SIZE.items} items where none are counted."
        )
    if fits:
        jobs = sum(found.jobs for found in fits.values())
        said.append(
            f"Updated from {jobs} finished jobs in results/timings: " + "; ".join(map(_fitted, fits.items())) + "."
        )
    else:
        said.append("No finished job has been timed here yet, so all hours are estimates from figures.")
    if memory:
        said.append(
            "Most memory measured: " + ", ".join(f"{rule} {size / GB:.1f} GB" for rule, size in memory.items()) + "."
        )
    return said


def _named(dtype: str) -> str:
    return "the checkpoint's dtype" if dtype == AUTO else dtype


def _fitted(entry: tuple[str, Fit]) -> str:
    name, found = entry
    return f"{name} {found.start:.0f} s + {found.factor:.2g} x work ({found.jobs})"


def plan(grid: Expansion, out: Path, hardware: Path | None = None) -> None:
    """Print the plan of a grid and write `out`/plan.csv and `out`/plan.html. hardware: other figures."""
    found = make_plan(grid, read_hardware(hardware), str(hardware or "resources/hardware.yaml"))
    print(show.as_text(found))
    show.write_csv(found, out / "plan.csv")
    show.write_html(found, out / "plan.html")
    print(f"Also in {out}/plan.csv and plan.html")
