"""What was made before: whether a product is up to date, and products of other grids that need not be made again."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from submodels import files, layout
from submodels.provenance import Manifest


def read_manifest(path: Path) -> dict | None:
    """What a finished stage wrote there; None where there is nothing that has all of it."""
    if not path.is_file():
        return None
    content = files.read_json(path)
    return content if {"parameters", "inputs", "fingerprint", "products", "results"} <= content.keys() else None


def is_whole(path: Path, content: dict) -> bool:
    """Whether the products beside a manifest are those that it is of."""
    return all(
        (path.parent / name).is_file() and files.sha256_file(path.parent / name) == sha256
        for name, sha256 in content["products"].items()
    )


def up_to_date(manifest: Manifest, path: Path) -> dict | None:
    """The manifest at `path` if its product is whole and equals what `manifest` would be of; else None."""
    content = read_manifest(path)
    stands = content is not None and content["fingerprint"] == manifest.fingerprint and is_whole(path, content)
    return content if stands else None


def like(
    manifest: Manifest, path: Path, *, but: str, of: str = "parameters", others: Iterable[Path] = ()
) -> Iterator[tuple[Path, dict]]:
    """Manifests, there, in the trees of other grids and at `others`, whose whole products differ in that parameter or
    input at most.

    of: `parameters` or `inputs`.
    """
    wanted = _without(manifest.content, of, but)
    for place in (path, *layout.siblings(path), *others):
        content = read_manifest(place)
        if content is not None and _without(content, of, but) == wanted and is_whole(place, content):
            yield place, content


def _without(content: dict, of: str, key: str) -> list:
    inputs = {name: entry["sha256"] for name, entry in content["inputs"].items()}
    parts = {"parameters": content["parameters"], "inputs": inputs}
    parts[of] = {name: value for name, value in parts[of].items() if name != key}
    return [content["stage"], parts]


def take_over(
    manifest: Manifest,
    path: Path,
    *,
    link: bool = False,
    accept: Callable[[dict], bool] = lambda results: True,
    **anew,
) -> dict | None:
    """Take what another grid made under the same names from equal inputs; returns its manifest, written to `path`.

    None if there is nothing to take. link: as hard links where the file system has them, for files that nobody touches
    (Snakemake touches what a rule declares); else copies, which share their blocks where it can. accept: what else
    must be true of the stage's results. anew: results that this grid says otherwise, such as a domain.
    Versions, git and times stay those of the making; `taken_from` says where it was.
    """
    for place in layout.siblings(path):
        content = read_manifest(place)
        if content is None or content["fingerprint"] != manifest.fingerprint or not accept(content["results"]):
            continue
        copied = (
            files.copy_file(place.parent / name, path.parent / name, sha256, link=link)
            for name, sha256 in content["products"].items()
        )
        if all(copied):
            inputs = {"inputs": manifest.content["inputs"], "results": content["results"] | anew}
            content |= inputs | {"taken_from": os.fspath(place)}
            files.write_json(path, content)
            return content
    return None
