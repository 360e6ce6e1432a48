"""The few Linux calls Python 3.11 lacks, through the C library. Errors raise OSError."""

import ctypes
import os
import signal

import system_calls

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_BIND, MS_REC, MS_RELATIME = 32, 1024, 4096, 16384, 1 << 21
_ST_RELATIME, _KEPT_FLAGS = 4096, 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4

_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}  # the system call's number

_libc = ctypes.CDLL(None, use_errno=True)
_libc_keeping_the_lock = ctypes.PyDLL(None, use_errno=True)  # the interpreter's lock, which a child could not take back


def _call(name: str, *arguments) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _call("unshare", flags)


def fork_into(flags: int) -> int:
    """os.fork, but the child starts in new namespaces and costs a third: Python's work after a fork is left out.

    That work serves threads and reseeds `random`: the caller has no threads, and a sample is forked from the child in
    the usual way.
    """
    arguments = [ctypes.c_ulong(value) for value in (flags | signal.SIGCHLD, 0, 0, 0, 0)]
    pid = _libc_keeping_the_lock.syscall(ctypes.c_ulong(_CLONE[os.uname().machine]), *arguments)
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def enter_user_namespace() -> None:
    """Enter a new user namespace that holds only the present user."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    map_user(user, group)


def map_user(user: int, group: int) -> None:
    """In a new user namespace: map its only user, number 1000, to this user outside."""
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
    """SIGKILL when the launcher ends; call it after a change of user, which clears an earlier setting."""
    _call("prctl", _PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


def become_subreaper() -> None:
    """Orphaned descendants become children of this process."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability, for good: no later exec of a set-uid program restores any."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _call("capset", header, (ctypes.c_uint32 * 6)())


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def filter_system_calls(program: bytes) -> None:
    """Install a seccomp filter here and in all processes that this one starts, for good. After `drop_capabilities`.

    The flag keeps older kernels from slowing every filtered process down.
    """
    _call(
        "syscall",
        ctypes.c_long(system_calls.number(system_calls.SECCOMP, "seccomp")),
        ctypes.c_long(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(_SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        ctypes.byref(_Filter(len(program) // 8, program)),
    )
