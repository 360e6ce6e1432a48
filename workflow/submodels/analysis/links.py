"""The targets of the report's links: samples, manifests and tables, by relative addresses."""

import os
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from submodels.evaluation.samples import samples_of
from submodels.layout import manifest_of
from submodels.terms import DENSE


class Links:
    """Relative addresses from the report's directory; None for files that do not exist."""

    def __init__(self, grid: dict, scores: pd.DataFrame, directory: Path):
        """`grid`: its description; `scores`: the table of scores; `directory`: where the report is."""
        self._grid = grid
        self._directory = directory
        places = zip(scores["model"], scores["submodel"], scores["benchmark"], strict=True)
        self._samples = dict(zip(places, scores["samples"], strict=True))

    def to(self, path: Path | str) -> str:
        return quote(os.path.relpath(path, self._directory).replace(os.sep, "/"))

    def existing(self, path: Path | str | None) -> str | None:
        return None if not path or pd.isna(path) or not Path(path).is_file() else self.to(path)

    def samples(self, model: str, submodel: str, benchmark: str) -> str | None:
        return self.existing(self._samples[model, submodel, benchmark])

    def manifest(self, model: str, submodel: str) -> str | None:
        return self.existing(self._manifest_path(model, submodel))

    def generation(self, model: str, submodel: str, benchmark: str) -> str | None:
        """The manifest of the generated samples."""
        return self.existing(self._generation_path(model, submodel, benchmark))

    def manifest_paths(self) -> list[Path]:
        """Every manifest behind the scores that exists."""
        paths = [self._generation_path(*place) for place in self._samples]
        paths += [self._manifest_path(model, submodel) for model, submodel, _ in self._samples]
        return [path for path in dict.fromkeys(paths) if path and path.is_file()]

    def _manifest_path(self, model: str, submodel: str) -> Path | None:
        """Manifest of the mask, or of the base model for `dense`; None for a base model that was not made here."""
        if submodel == DENSE:
            path = self._grid["models"][model]["manifest"]
            return Path(path) if path else None
        return Path(self._grid["roots"]["submodels"]) / model / submodel / "manifest.json"

    def _generation_path(self, model: str, submodel: str, benchmark: str) -> Path:
        return manifest_of(samples_of(Path(self._grid["roots"]["generations"]) / model / submodel, benchmark))
