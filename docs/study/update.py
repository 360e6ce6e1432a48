"""The study's data. `python docs/study/update.py laptop ...` takes scores, distances and manifests of results/laptop/;
in any case, tables and figures are made again of what is here.

A manifest is taken without its list of modules, and of the tables and figures only the data and the pictures are kept.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from submodels import files
from submodels.analysis.draw_figures import draw_figures
from submodels.analysis.tabulate import tabulate

HERE = Path(__file__).resolve().parent


def take(results: Path, out: Path) -> None:
    """Copy what `make` needs from the tree of a finished grid."""
    if not (results / "report/index.html").is_file():
        sys.exit(f"{results}: no report; run the grid first, and this script in the repository's root")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    shutil.copy(results / "grid.json", out)
    for pattern in ("scores/*/*.json", "overlap/*.csv", "submodels/*/*/manifest.json"):
        for path in results.glob(pattern):
            to = out / path.relative_to(results)
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.name == "manifest.json":
                manifest = files.read_json(path)
                manifest["results"].pop("modules", None)
                files.write_json(to, manifest)
            else:
                shutil.copy(path, to)


def make(study: Path, out: Path) -> None:
    """Write tables (CSV) and figures (SVG, CSV) of a grid's data in the directory `study` to `out`."""
    with tempfile.TemporaryDirectory() as temporary:
        made, grid = Path(temporary), study / "grid.json"
        scores, overlaps = sorted(study.glob("scores/*/*.json")), sorted(study.glob("overlap/*.csv"))
        tabulate(scores, overlaps, grid, study / "submodels", made / "tables")
        draw_figures(made / "tables", grid, made / "figures")
        for path in sorted(made.glob("*/*")):
            if path.suffix in (".csv", ".svg"):
                to = out / path.relative_to(made)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        take(Path("results") / name, HERE / name)
    for grid in sorted(HERE.glob("*/grid.json")):
        make(grid.parent, grid.parent)
