"""The seccomp filter: its numbers against the kernel's headers, its program by an interpreter of a few lines."""

import errno
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from submodels.evaluation.sandbox.inside import system_calls
from submodels.evaluation.sandbox.layout import INSIDE

HEADERS = {
    "x86_64": Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
TABLES = (
    *(system_calls.FORBIDDEN, system_calls.ABSENT, system_calls.REFUSED),
    *(system_calls.PRLIMIT, system_calls.SOCKET, system_calls.SECCOMP),
)
ALLOW, KILL = 0x7FFF0000, 0x80000000


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_the_kernels(machine):
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", HEADERS[machine].read_text())
    kernel = {name: int(number) for name, number in found}
    for table in TABLES:
        # Some names are newer than some headers.
        ours = {name: system_calls.number(table, name, machine) for name in table if name in kernel}
        assert ours == {name: kernel[name] for name in ours}
        assert len(ours) >= len(table) - 5


def answer(program: bytes, arch: int, number: int, first: int = 0) -> int:
    """What the filter says to a system call, by the rules of classic BPF."""
    data = struct.pack("<IIQQ", number, arch, 0, first)
    lines = list(struct.iter_unpack("=HBBI", program))
    at = held = 0
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, operand)
        else:
            at += if_true if {0x15: held == operand, 0x35: held >= operand}[code] else if_false


@pytest.mark.parametrize("machine", system_calls.MACHINES)
def test_the_filter_by_hand(machine):
    program, arch = system_calls.program(machine), system_calls.MACHINES[machine]
    ptrace, memfd, priority, prlimit, read = {
        "x86_64": (101, 319, 141, 302, 0),
        "aarch64": (117, 279, 140, 261, 63),
    }[machine]
    assert answer(program, arch, read) == ALLOW
    assert answer(program, arch, ptrace) == KILL
    assert answer(program, arch, memfd) == 0x00050000 | errno.ENOSYS
    assert answer(program, arch, priority) == 0x00050000 | errno.EPERM
    assert answer(program, arch, prlimit) == ALLOW
    assert answer(program, arch, prlimit, first=1) == 0x00050000 | errno.EPERM
    socket = {"x86_64": 41, "aarch64": 198}[machine]
    refused = 0x00050000 | errno.EAFNOSUPPORT
    assert [number for number in range(50) if answer(program, arch, socket, first=number) == ALLOW] == [1, 2, 10, 16]
    assert {answer(program, arch, socket, first=number) for number in (0, 17, 38, 40)} == {refused}
    assert answer(program, arch, 0x40000000 | read) == KILL
    assert answer(program, 0x40000003, read) == KILL  # the 32-bit calls of a 64-bit machine
    allowed = [number for number in range(470) if answer(program, arch, number, first=0) == ALLOW or number == socket]
    assert len(allowed) == 470 - sum(map(len, TABLES[:3]))


@pytest.mark.skipif(platform.machine() not in system_calls.MACHINES, reason="no filter for this machine")
@pytest.mark.parametrize(
    ("code", "status"), [("os.getpid()", 0), ("os.chroot('/')", -31), ("os.memfd_create('m')", 1), ("os.nice(1)", 1)]
)
def test_the_kernel_takes_it(code, status):
    install = "import os, kernel, platform, system_calls\nkernel.drop_capabilities()\n"
    install += "kernel.filter_system_calls(system_calls.program(platform.machine()))\n"
    done = subprocess.run([sys.executable, "-c", install + code], cwd=INSIDE, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
