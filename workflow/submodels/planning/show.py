"""A plan as text for a terminal, as CSV, and as an HTML page."""

import csv
import textwrap
from dataclasses import asdict, fields
from pathlib import Path

from submodels import files
from submodels.planning.report_rows import Disk, Plan, Row

GB = 1e9
HEAD = ("rule", "jobs", "done", "GPU hours", "CPU hours", "memory", "GPU memory", "disk", "at peak", "to come")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of HEAD."""
    return (
        row.rule,
        f"{row.jobs:,}",
        f"{row.done:,}",
        hours(row.gpu_hours),
        hours(row.cpu_hours),
        size(row.memory),
        size(row.gpu_memory),
        size(row.disk),
        size(row.disk_peak),
        size(row.disk_left),
    )


def hours(value: float) -> str:
    return "-" if not value else f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def size(value: float) -> str:
    """Bytes with a decimal unit and three digits."""
    if not value:
        return "-"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:.3g} TB"


def disk_rows(disk: Disk) -> list[tuple[str, str, str]]:
    """The files kept, with masks and with full checkpoints side by side; they differ only in the sub-models."""
    both = [
        ("base models", disk.base_models),
        ("samples and executions, compressed", disk.samples),
        ("other files", disk.rest),
    ]
    with_checkpoints = disk.end_with_checkpoints
    return [
        ("sub-models", size(disk.submodels), size(disk.checkpoints)),
        *((name, size(value), size(value)) for name, value in both),
        ("total, at the end", size(disk.end), size(with_checkpoints)),
        ("total, at the peak", size(disk.peak), size(with_checkpoints + disk.temporary)),
    ]


def disk_shares(disk: Disk) -> str:
    """The comparison in one sentence."""
    submodels = f"{_share(disk.submodels, disk.checkpoints)} for the sub-models, " if disk.checkpoints else ""
    return (
        f"Masks take a fraction of the disk of full checkpoints: {submodels}"
        f"{_share(disk.end, disk.end_with_checkpoints)} for all files. Samples and executions would take "
        f"{size(disk.plain_samples)} uncompressed."
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}%"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Columns of text, the first aligned left, the others right; a line under the head and above the last row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_text(plan: Plan) -> str:
    disk = [("disk", "with masks", "with checkpoints"), *disk_rows(plan.disk)]
    return "\n".join(
        [
            f"Plan of {plan.name}: {plan.total.jobs:,} jobs to run, {plan.total.done:,} done",
            "",
            _table([HEAD, *map(cells, plan.rows), cells(plan.total)]),
            "",
            _table(disk),
            disk_shares(plan.disk),
            "",
            "Assumed:",
            *(textwrap.fill(f"- {sentence}", 110, subsequent_indent="  ") for sentence in plan.assumptions),
        ]
    )


def write_csv(plan: Plan, out: Path) -> None:
    """One line a rule and the total: hours, and bytes for memory and disk."""
    with files.atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in (*plan.rows, plan.total):
            writer.writerow(
                {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(row).items()}
            )


def write_html(plan: Plan, out: Path) -> None:
    """A page without scripts that loads nothing."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template("plan.html.j2").render(
        plan=plan, head=HEAD, rows=[cells(row) for row in plan.rows], total=cells(plan.total),
        disk=disk_rows(plan.disk), shares=disk_shares(plan.disk),
    )  # fmt: skip
    files.write_text(out, page)
