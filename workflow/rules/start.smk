# Before a run: record the tree's grid, look for jobs of an earlier run in a cluster's queue, and share slow imports.
import subprocess
import tempfile

from submodels import warm

# Rules whose stages are slow to import.
SLOW_RULES = {"train_base_model": "train", "prune": "prune", "generate": "generate"}


def say_what_is_missing():
    for language, hint in MISSING_TOOLCHAINS.items():
        logger.warning(f"{language} programs will not run and are listed as not run: {hint}")
    if parts := trees.old_layout():
        logger.warning(
            f"results/ holds {parts} from an older layout, in which grids had no separate directories; these files "
            "are no longer read: delete them"
        )


def refuse_orphans(logs):
    """Stop if jobs of a killed Snakemake are still in Slurm's queue: they would write this run's files.

    Snakemake's records name the waiting jobs; the names of Slurm's logs of this grid, in `logs`, the running jobs.
    """
    try:
        command = ["squeue", "--me", "--noheader", "--format=%i"]
        queued = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return
    known = {id for job in workflow.dag.jobs for id in workflow.persistence.external_jobids(job)}
    known |= {log.stem for log in logs.rglob("*.log")}
    if orphans := [id for id in queued if id in known]:
        raise WorkflowError(
            f"{len(orphans)} jobs of an earlier Snakemake that was killed are still in Slurm's queue and write the "
            f"same files; wait for their end or cancel them, then start again: scancel {' '.join(orphans)}"
        )


def separate_slurm_logs():
    """Give each grid a separate directory of Slurm's logs, so that jobs of another grid do not count as orphans."""
    executor = workflow.scheduler._executor
    if hasattr(executor, "slurm_logdir"):  # only the executor of Slurm has it; the profile cannot name the grid
        chosen = workflow.executor_settings.logdir
        executor.slurm_logdir = Path(chosen, GRID.config.name) if chosen else Path(TREE.logs, "slurm").resolve()
        return executor.slurm_logdir


def start_warm():
    """Import slow modules once for all jobs on this machine's CPU. See submodels/warm.py."""
    if not workflow.local_exec or any(map(WORK.gpus, SLOW_RULES)):
        return
    jobs = [job.rule.name for job in workflow.dag.needrun_jobs() if job.rule.name in SLOW_RULES]
    if len(jobs) > 1:
        modules = sorted({module for rule in jobs for module in warm.SLOW_IMPORTS[SLOW_RULES[rule]]})
        socket = str(Path(tempfile.mkdtemp(prefix="submodels-"), "socket"))
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # each job sets its number of threads itself
        command = [sys.executable, "-m", "submodels.warm", socket, str(os.getpid()), *modules]
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        os.environ[warm.SERVER] = socket


onstart:
    trees.record_origin(TREE, GRID_FILES)
    if logs := separate_slurm_logs():
        refuse_orphans(logs)
    say_what_is_missing()
    start_warm()
