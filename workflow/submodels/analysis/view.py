"""Which weights of one matrix two sub-models keep, and where they differ, as one page: the stage `view`, and the pages
that the report links to.

Drawn by treescope, the array view of penzai, which the paper used. The page holds everything it needs.
"""

import re
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from submodels import files
from submodels.analysis.overlap import check_comparable, jaccard_distance, layer_and_module
from submodels.analysis.study import Study
from submodels.analysis.tables.shared import SETTING
from submodels.checkpoints.masks import FILE_NAME, Masks
from submodels.defaults import VIEW_CELLS
from submodels.errors import SubmodelsError, unknown
from submodels.terms import NO_CALIBRATION

_PIXELS = 4  # of a cell
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem; }} h2 {{ font-size: 1.1rem; }}
p {{ max-width: 48rem; }} section {{ overflow-x: auto; }}</style></head><body>
<h1>{title}</h1>
<p>{about}</p>
{sections}
</body></html>
"""


def view(a: Path, b: Path, layer: int, module: str, out: Path) -> None:
    """Write the page `out` for a matrix of the sub-models in the directories `a` and `b`.

    layer: number of the decoder block, from 0. module: path of the linear layer in its block, or the end of it.
    """
    masks = Masks(Path(a))
    _write(masks, Masks(Path(b)), find_parameter(masks, layer, module), out)


def _write(a: Masks, b: Masks, parameter: str, out: Path) -> None:
    masks = {"A": a, "B": b}
    check_comparable(masks)
    kept = {name: mask.mask(parameter) for name, mask in masks.items()}
    rows, columns = a.shapes[parameter]
    side = max(1, -(-max(rows, columns) // VIEW_CELLS))
    shares = {name: shares_of_blocks(mask, side) for name, mask in kept.items()}
    both = np.count_nonzero(kept["A"] & kept["B"])
    distance = float(jaccard_distance(both, *(np.count_nonzero(mask) for mask in kept.values())))
    cell = "a weight" if side == 1 else f"a block of {side} × {side} weights, coloured by the share that is kept"
    about = (
        f"{rows:,} × {columns:,} weights (outputs × inputs); {both:,} are kept by both; Jaccard distance of the kept "
        f"weights {distance:.3f}. Each cell is {cell}."
    )
    sections = [
        _section(f"{name}: {_name(masks[name])}, {kept[name].mean():.1%} kept", _drawn(name, shares[name], 0))
        for name in masks
    ]
    difference = _drawn("difference", shares["A"] - shares["B"], -1)
    sections.append(_section("A minus B: blue is kept by A alone, red by B alone", difference))
    title = f"{parameter}: {_name(a)} and {_name(b)}"
    files.write_text(out, _PAGE.format(title=escape(title), about=escape(about), sections="\n".join(sections)))


def view_sets(grid: dict, distances: pd.DataFrame, out: Path) -> list[dict]:
    """Write a page for every two calibration sets of the table `jaccard` whose masks are there into directory `out`:
    for the first draw of each set, its matrix of queries in the middle block, or the first matrix of that block.

    Returns for each page its model, setting, sets `a` and `b`, and its `path`.
    """
    first: dict[tuple, str] = {}
    for model, entry in grid["models"].items():
        for id in entry["submodels"]:
            cell = grid["submodels"][id]
            if cell["calibration"] != NO_CALIBRATION:
                first.setdefault((model, Study.setting(cell), cell["calibration"]), id)
    draws = {(model, *setting.columns.values(), calibration): id for (model, setting, calibration), id in first.items()}
    root, pages = Path(grid["roots"]["submodels"]), []
    Path(out).mkdir(parents=True, exist_ok=True)
    for row in tqdm(distances[distances["a"] != distances["b"]].to_dict("records"), desc="views", unit="page"):
        setting = [row[column] for column in SETTING]
        a, b = (root / row["model"] / draws[*setting, row[side]] for side in ("a", "b"))
        if not all((directory / FILE_NAME).is_file() for directory in (a, b)):
            continue
        path = Path(out) / row["model"] / f"{a.name}--{b.name}.html"
        masks = Masks(a)
        _write(masks, Masks(b), _shown_parameter(masks), path)
        pages.append({name: row[name] for name in (*SETTING, "a", "b")} | {"path": path})
    return pages


def _shown_parameter(masks: Masks) -> str:
    numbers = sorted({layer_and_module(name)[0] for name in masks})
    middle = numbers[len(numbers) // 2]
    names = [name for name in masks if layer_and_module(name)[0] == middle]
    return next((name for name in names if layer_and_module(name)[1].endswith("q_proj")), names[0])


def find_parameter(masks: Masks, layer: int, module: str) -> str:
    """The pruned parameter of a module in a block."""
    places = {name: layer_and_module(name) for name in masks}
    modules = {of: name for name, (number, of) in places.items() if number == layer}
    if not modules:
        numbers = sorted({number for number, _ in places.values()})
        raise SubmodelsError(f"layer {layer}: {masks.path} has the layers {numbers[0]} to {numbers[-1]}")
    found = [name for of, name in modules.items() if of == module or of.endswith(f".{module}")]
    if len(found) != 1:
        raise unknown("module", module, modules)
    return found[0]


def shares_of_blocks(mask: np.ndarray, side: int) -> np.ndarray:
    """bool [rows, columns] -> float64, the share of True in each block of side x side, fewer at the edges."""
    starts = [np.arange(0, size, side) for size in mask.shape]
    sums = np.add.reduceat(np.add.reduceat(mask, starts[0], axis=0, dtype=np.int32), starts[1], axis=1)
    heights, widths = (np.minimum(side, size - start) for size, start in zip(mask.shape, starts, strict=True))
    return sums / np.outer(heights, widths)


def _drawn(name: str, values: np.ndarray, least: int) -> str:
    """The array as HTML. Treescope gives it a random class; with `name` in its place, equal masks give equal pages."""
    import treescope
    from treescope import lowering

    colours = {"vmin": least, "vmax": 1, "around_zero": least < 0, "continuous": True, "trim_outliers": False}
    labels = {0: "outputs", 1: "inputs"}
    figure = treescope.render_array(
        values, rows=(0,), columns=(1,), axis_labels=labels, pixels_per_cell=_PIXELS, **colours
    )
    drawn = lowering.render_to_html_as_root(figure.treescope_part, compressed=False)
    return re.sub("treescope_out_[0-9a-f]{32}", f"treescope_out_{name}", drawn)


def _section(title: str, drawn: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{drawn}</section>"


def _name(masks: Masks) -> str:
    return masks.path.parent.name
