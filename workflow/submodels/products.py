"""Finished products: whether a product is up to date, and taking over the products of other grids."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from submodels import files, layout
from submodels.errors import SubmodelsError
from submodels.provenance import Manifest


def read_manifest(path: Path) -> dict | None:
    """The manifest of a finished stage; None if there is no file, or if it lacks a part of a manifest."""
    if not path.is_file():
        return None
    content = files.read_json(path)
    return content if {"parameters", "inputs", "fingerprint", "products", "results"} <= content.keys() else None


def check_replaceable(out: Path, made: str) -> None:
    """Refuse to replace a directory that holds files but no manifest. made: how this workflow makes it: `fetched`."""
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise SubmodelsError(f"{out}: exists and was not {made} by this workflow; remove it or choose another place")


def is_whole(path: Path, content: dict) -> bool:
    """Whether all products of a manifest are beside it, with the hashes that it names."""
    return all(
        (path.parent / name).is_file() and files.sha256_file(path.parent / name) == sha256
        for name, sha256 in content["products"].items()
    )


def up_to_date(manifest: Manifest, path: Path) -> dict | None:
    """The manifest at `path` if its products are whole and have the fingerprint of `manifest`; else None."""
    content = read_manifest(path)
    current = content is not None and content["fingerprint"] == manifest.fingerprint and is_whole(path, content)
    return content if current else None


def like(
    manifest: Manifest, path: Path, *, but: str, of: str = "parameters", others: Iterable[Path] = ()
) -> Iterator[tuple[Path, dict]]:
    """Manifests, at `path`, in the trees of other grids and at `others`, that differ at most in the parameter or input
    `but`.

    Their products are whole. of: `parameters` or `inputs`.
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
    **results,
) -> dict | None:
    """Take over products that another grid made under the same names from equal inputs; returns the manifest written.

    None if there are no such products. link: make hard links where the file system has them, only for files that are
    never touched (Snakemake touches the outputs of a rule); else copies, which share their blocks if possible. accept:
    a condition on the stage's results. results: results that differ in this grid, such as a domain. Versions, git and
    times stay those of the other grid; `taken_from` names its manifest.
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
            inputs = {"inputs": manifest.content["inputs"], "results": content["results"] | results}
            content |= inputs | {"taken_from": os.fspath(place)}
            files.write_json(path, content)
            return content
    return None
