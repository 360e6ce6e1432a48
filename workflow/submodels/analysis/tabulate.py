"""Stage `tabulate`: every number of the report as a table, once as data (.csv) and once to read (.md, .tex).

Accuracies are fractions 0..1 in the data and percentages in the tables to read; perplexities are numbers in their own
unit in both. Intervals resample items; `seeds` of one calibration set are averaged item by item first.
"""

from pathlib import Path

from tqdm import tqdm

from submodels import files
from submodels.analysis.page import describe_page
from submodels.analysis.study import load_study
from submodels.analysis.table_files import write_table
from submodels.analysis.tables import TABLES
from submodels.layout import PAGE


def tabulate(scores: list[Path], overlaps: list[Path], grid: Path, submodels: Path, out: Path) -> None:
    """Write every table of `TABLES` as .csv, .md and .tex into the directory `out`, and `page.json` for the report.

    scores: score files; overlaps: overlap files named after their base model; grid: description of the grid (JSON);
    submodels: the directory with <model>/<sub-model>/manifest.json.
    """
    study = load_study(scores, overlaps, grid, submodels)
    for name, table in tqdm(TABLES.items(), desc="tables", unit="table", mininterval=1):
        frame = table.compute(study)
        write_table(Path(out), name, frame, table.to_read(frame), table.about(frame))
    files.write_json(Path(out) / PAGE, describe_page(study))
