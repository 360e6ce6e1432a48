"""The few Linux calls Python 3.11 lacks, through the C library. Errors raise OSError."""

import ctypes
import os
import signal

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_RELATIME = 32, 4096, 16384, 1 << 21
_ST_RELATIME, _KEPT_FLAGS = 4096, 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _call("unshare", flags)


def enter_user_namespace(more: int = 0) -> None:
    """A new user namespace (and `more` namespaces it owns) with one user in it, number 1000, for the present one."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | more)
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {user} 1"), ("gid_map", f"1000 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    _call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode(),
    )


def remount_read_only(target: str, nodev: bool = True) -> None:
    """Make one mount read-only and without set-uid; flags that a user namespace locks are kept."""
    present = os.statvfs(target).f_flag
    flags = present & _KEPT_FLAGS | (MS_RELATIME if present & _ST_RELATIME else 0) | (MS_NODEV if nodev else 0)
    mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | flags)


def pivot_root(new_root: str, put_old: str) -> None:
    _call("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def detach(target: str) -> None:
    _call("umount2", os.fsencode(target), _MNT_DETACH)


def set_dumpable(on: bool) -> None:
    """Off: no process of the same user may trace this one or open its /proc files."""
    _call("prctl", _PR_SET_DUMPABLE, ctypes.c_ulong(on), 0, 0, 0)


def die_with_parent() -> None:
    """SIGKILL when the launcher ends; a change of user clears an earlier wish, so it comes after that."""
    _call("prctl", _PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


def become_subreaper() -> None:
    """Orphaned descendants become children of this process."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability, for good: no later exec of a set-uid program brings any back."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _call("capset", header, (ctypes.c_uint32 * 6)())
