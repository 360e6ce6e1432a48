"""Sub-models written from masks that a test makes."""

from pathlib import Path

import numpy as np

from submodels.checkpoints.masks import writing


def write_masks(directory: Path, packed: dict[str, np.ndarray], shapes: dict[str, tuple[int, int]], **about) -> None:
    """Write a sub-model from masks already packed; `about`: what `writing` asks for."""
    with writing(directory, dict(sorted(shapes.items())), **about) as writer:
        for name in sorted(shapes):
            writer.add(name, packed[name])
