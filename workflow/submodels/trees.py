"""The owner of a tree results/<name>/: a grid's name belongs to one grid file of a checkout."""

import os
from pathlib import Path

from submodels import files
from submodels.errors import SubmodelsError
from submodels.layout import RESULTS, Tree

# Environment variable with the original files of a grid that is given as a copy: a list in JSON.
GRID_FILES = "SUBMODELS_GRID_FILES"
_OLD = ("grid.json", "submodels", "generations", "scores", "world")  # formerly in results/ itself


def check_origin(tree: Tree, grid_files: list[str]) -> None:
    """SubmodelsError if the tree was made from other grid files that still exist; an edited file is the same file."""
    others = _read(tree)
    if others != _named(grid_files) and others and all(map(os.path.exists, others)):
        here, there = " + ".join(grid_files), " + ".join(others)
        raise SubmodelsError(
            f"{here}: name: {Path(tree.root).name}: {tree.root}/ holds the products of {there}; give one of the two "
            "grids another name"
        )


def record_origin(tree: Tree, grid_files: list[str]) -> None:
    """Record the grid files from which the tree is made, before work on it begins."""
    check_origin(tree, grid_files)
    if _read(tree) != _named(grid_files):
        files.write_json(tree.origin, {"grid_files": _named(grid_files)})


def _read(tree: Tree) -> list[str]:
    return files.read_json(tree.origin)["grid_files"] if os.path.exists(tree.origin) else []


def _named(grid_files: list[str]) -> list[str]:
    """The files by paths relative to the working directory, so that a checkout may be moved and copied."""
    return [os.path.relpath(file) if Path(file).resolve().is_relative_to(Path.cwd()) else file for file in grid_files]


def old_layout() -> str | None:
    """Parts of the former layout, in which all grids shared results/, that still exist; None if there are none."""
    parts = [name for name in _OLD if Path(RESULTS, name).exists() and not Path(RESULTS, name, "origin.json").exists()]
    return ", ".join(parts) or None
