"""Stage `figures`: the tables as pictures (SVG), each with the data behind it (CSV of the same name).

Every figure exists for every base model; where data are missing, the figure says so. Equal tables give equal bytes.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from submodels import files
from submodels.analysis.figures import FIGURES
from submodels.analysis.figures.shared import STYLE, NoData, Plot
from submodels.analysis.table_files import read_tables
from submodels.terms import NOT_RUN


def draw_figures(tables: Path, grid: Path, out: Path) -> None:
    """Draw every figure of `FIGURES` for every base model: <out>/<figure>-<model>.svg and .csv.

    tables: the directory that `tabulate` wrote; grid: description of the grid (JSON).
    """
    read = read_tables(tables)
    models = list(files.read_json(grid)["models"])
    matplotlib.use("Agg")
    with tqdm(total=len(models) * len(FIGURES), desc="figures", unit="figure", mininterval=1) as progress:
        for model in models:
            for name, plot in FIGURES.items():
                with plt.rc_context(STYLE):
                    _write(Path(out) / f"{name}-{model}", plot, read, model)
                progress.update()


def _write(stem: Path, plot: Plot, tables: dict[str, pd.DataFrame], model: str) -> None:
    try:
        figure, data = plot.draw(tables, model)
    except NoData as reason:
        figure, data = _empty(str(reason)), pd.DataFrame({"reason": [str(reason)]})
    write_figure(stem, figure, data)


def write_figure(stem: Path, figure: Figure, data: pd.DataFrame) -> None:
    """Write a picture and the data behind it as <stem>.svg and <stem>.csv, and close the figure."""
    with files.atomic_path(stem.with_name(stem.name + ".svg")) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.1)
    plt.close(figure)
    files.write_text(stem.with_name(stem.name + ".csv"), data.to_csv(index=False, lineterminator="\n"))


def _empty(reason: str) -> Figure:
    figure = plt.figure(figsize=(8, 1.2))
    figure.text(0.5, 0.5, f"{NOT_RUN}: {reason}", ha="center", va="center")
    return figure
