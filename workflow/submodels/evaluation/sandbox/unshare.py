"""Plain Linux namespaces through util-linux's `unshare`, which every Linux distribution has."""

import os

from submodels.evaluation.sandbox.layout import DEVICES, INSIDE, INSIDE_PLACE, UNPRIVILEGED, Layout

EXECUTABLE = "unshare"
INSTALL = "apt-get install util-linux"


def start(layout: Layout) -> tuple[list[str], dict]:
    """Command line and settings of the supervisor, which builds the root itself (inside/root.py)."""
    as_root = os.geteuid() == 0
    command = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    command += [] if as_root else ["--user", "--map-root-user"]
    command += ["--", layout.python, "-S", "-s", str(INSIDE / "supervisor.py")]
    settings = {
        "namespaces": True,
        "build_root": {"binds": layout.binds, "devices": list(DEVICES), "symlinks": layout.symlinks},
        "mount_proc": False,
        "drop_to": UNPRIVILEGED if as_root else None,
        "here": INSIDE_PLACE,
    }
    return command, settings
