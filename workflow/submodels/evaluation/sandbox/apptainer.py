"""Apptainer (https://apptainer.org), or its predecessor Singularity: common on clusters.

Some machines let only Apptainer make user namespaces for an ordinary user (Ubuntu's AppArmor). Apptainer then opens a
first container, over a directory of empty mount points in place of an image, and in it `unshare` builds the same
sandbox as everywhere else. Where user namespaces are forbidden, it does not start: every sample needs one.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from submodels.errors import SubmodelsError
from submodels.evaluation.prepared import prepared
from submodels.evaluation.sandbox import unshare
from submodels.evaluation.sandbox.layout import INSIDE_PLACE, Layout

EXECUTABLE = next(filter(shutil.which, ("apptainer", "singularity")), "apptainer")
INSTALL = "https://apptainer.org/docs/admin/latest/installation.html"

_OWN = ("/dev", "/proc", "/sys", "/tmp", "/var/tmp")  # directories that Apptainer fills by itself


def start(layout: Layout) -> tuple[list[str], dict]:
    """Command line and settings of the supervisor."""
    binds = dict(layout.binds)
    # Links such as /bin are directories in this container, and links again in the container that unshare builds.
    binds |= {place: place for place in layout.symlinks if os.path.isdir(place) and not place.startswith("/dev/")}
    command = [EXECUTABLE, "exec", "--containall", "--no-home", "--net", "--network", "none"]
    for source, place in binds.items():
        command += ["--bind", f"{source}:{place}:ro"]
    inner, settings = unshare.start(replace(layout, binds={place: place for place in layout.binds.values()}))
    inner[-1] = f"{INSIDE_PLACE}/supervisor.py"
    environment = [f"{name}={value}" for name, value in layout.environment.items()]
    return [*command, str(_mount_points(binds)), "/usr/bin/env", "-i", *environment, *inner], settings


def _mount_points(binds: dict[str, str]) -> Path:
    """A directory with an empty place for each bind."""
    kinds = {place: os.path.isdir(source) for source, place in binds.items()} | dict.fromkeys(_OWN, True)

    def make(root: Path) -> None:
        for place, is_directory in kinds.items():
            point = Path(f"{root}{place}")
            (point if is_directory else point.parent).mkdir(parents=True, exist_ok=True)
            if not is_directory:
                point.touch()

    root = prepared("apptainer-root", sorted(kinds.items()), make)
    if root is None:
        raise SubmodelsError("no mount points for a container: the cache directory ($XDG_CACHE_HOME) is not writable")
    return root
