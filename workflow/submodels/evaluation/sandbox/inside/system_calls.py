"""The system calls a sample may not make, as a seccomp filter: a second wall behind the namespaces.

No solution of a programming problem makes the calls in `FORBIDDEN`: they look into other processes, change namespaces,
mounts or the machine, or have a history of holes in the kernel. The kernel ends a process that makes one with SIGSYS,
which gives the verdict "sandbox violation". Calls in `ABSENT` fail as on a kernel that lacks them: runtimes try some of
them at their start, and the others make objects that no process owns: no limit on processes would see them, and the
next sample would find them. Calls in `REFUSED` could slow down the sample's init, from which the next sample inherits.
"""

import errno
import platform
import struct

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*, in the order of the numbers below
FORBIDDEN = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),  # the kernel's log
}
ABSENT = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "vmsplice": (278, 75),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
REFUSED = {
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30),
}
# Sockets of other families reach parts that no namespace separates: the hypervisor (VSOCK), the kernel's ciphers.
SOCKET = {"socket": (41, 198)}
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
PRLIMIT = {"prlimit64": (302, 261)}  # a process may limit itself, but not the sample's init
SECCOMP = {"seccomp": (317, 277)}

_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_ALLOW, _ERRNO, _KILL_PROCESS
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_X32 = 0x40000000  # x86_64's third set of calls, which nothing here uses


def number(table: dict[str, tuple[int, int]], name: str, machine: str | None = None) -> int:
    return table[name][[*MACHINES].index(machine or platform.machine())]


def program(machine: str) -> bytes:
    """The filter in classic BPF, an array of struct sock_filter: code, steps to jump if true, if false, operand."""
    lines = [
        (_LOAD, 0, 0, _MACHINE),
        (_IF_EQUAL, 1, 0, MACHINES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for table, answer in (
        (FORBIDDEN, _KILL),
        (ABSENT, _ERROR | errno.ENOSYS),
        (REFUSED, _ERROR | errno.EPERM),
    ):
        for name in table:
            lines += [(_IF_EQUAL, 0, 1, number(table, name, machine)), (_RETURN, 0, 0, answer)]
    lines += [
        (_IF_EQUAL, 0, len(FAMILIES) + 3, number(SOCKET, "socket", machine)),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *((_IF_EQUAL, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)),
        (_RETURN, 0, 0, _ERROR | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    lines += [
        (_IF_EQUAL, 0, 3, number(PRLIMIT, "prlimit64", machine)),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
