"""bubblewrap (https://github.com/containers/bubblewrap): used where it is installed."""

import os
from pathlib import Path

from submodels.evaluation.sandbox.layout import DEVICES, INSIDE_PLACE, UNPRIVILEGED, Layout

EXECUTABLE = "bwrap"
INSTALL = "apt-get install bubblewrap"


def start(layout: Layout) -> tuple[list[str], dict]:
    """Command line and settings of the supervisor."""
    as_root = os.geteuid() == 0
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    command += ["--new-session", "--tmpfs", "/dev", "--tmpfs", "/tmp", "--chmod", "1777", "/tmp"]
    # Made first and readable: a directory that bubblewrap adds by itself takes its mode from the files in it.
    for parent in sorted({str(parent) for place in layout.binds.values() for parent in Path(place).parents} - {"/"}):
        command += ["--dir", parent]
    for source, place in layout.binds.items():
        command += ["--ro-bind", source, place]
    for device in DEVICES:
        command += ["--dev-bind", device, device]
    for place, target in layout.symlinks.items():
        command += ["--symlink", target, place]
    if as_root:
        # Root binds paths that only root can reach, then the supervisor itself becomes an ordinary user. bubblewrap's
        # /proc, mounted by root, is partly covered, and the kernel then refuses a new /proc for each sample.
        command += ["--dir", "/proc"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN", "CAP_SETPCAP"):
            command += ["--cap-add", capability]
    else:
        command += ["--unshare-user", "--proc", "/proc"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    command += ["--", layout.python, "-S", "-s", f"{INSIDE_PLACE}/supervisor.py"]
    settings = {
        "namespaces": True,
        "build_root": None,
        "mount_proc": as_root,
        "drop_to": UNPRIVILEGED if as_root else None,
        "here": INSIDE_PLACE,
    }
    return command, settings
