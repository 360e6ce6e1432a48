"""Build a minimal read-only root out of bind mounts and move into it (used without bubblewrap).

Runs as root of a fresh mount, pid and (for an ordinary user) user namespace.
"""

import os
import re

from kernel import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, detach, mount, pivot_root, remount_read_only


def build(binds: dict[str, str], devices: list[str], symlinks: dict[str, str]) -> None:
    """`binds`: source -> place inside, read-only; `symlinks`: place inside -> target of the link."""
    # Two moves: first to an empty root that holds the old root as /old, so that sources below /tmp stay visible.
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, "mode=0755,size=1m")
    os.makedirs("/tmp/old")
    os.makedirs("/tmp/new")
    pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    mount("tmpfs", "/new", "tmpfs", MS_NOSUID, "mode=0755,size=1m")
    os.makedirs("/new/proc")
    mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)

    for source, place in binds.items():
        _bind("/old" + source, "/new" + place)
    for device in devices:
        if os.path.exists("/old" + device):  # a container around this sandbox may have fewer devices
            _bind("/old" + device, "/new" + device)
    for mount_point in _mounts_below("/new"):
        if mount_point not in ("/new", "/new/proc"):
            remount_read_only(mount_point, nodev=not mount_point.startswith("/new/dev/"))
    for place, target in symlinks.items():
        os.makedirs(os.path.dirname("/new" + place), exist_ok=True)
        os.symlink(target, "/new" + place)
    os.makedirs("/new/tmp")
    remount_read_only("/new")
    mount("tmpfs", "/new/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")

    os.chdir("/new")
    pivot_root(".", ".")
    detach(".")
    os.chdir("/")


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND | MS_REC)


def _mounts_below(prefix: str) -> list[str]:
    with open("/new/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        # The kernel writes blanks in paths as octal escapes.
        points = [re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in file]
    return sorted(point for point in points if point == prefix or point.startswith(prefix + "/"))
