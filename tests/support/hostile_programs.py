# ruff: noqa: E501 - programs are easier to read on one line
"""The programs of test_hostile.py: {language: {name: (item, completion, start of the verdict)}}.

Verdicts are regular expressions. Alternatives stand only where the limit that is met first depends on the machine.
"""

HONEST = {
    "python": "    return 2 * x\n",
    "cpp": "return 2 * x; }",
    "java": "return 2 * x; } }",
    "javascript": "  return 2 * x\n}\n",
}

_PYTHON_PROMPT = "import ctypes, os, signal, socket, sys, threading, time\n\n\ndef f(x):\n"
_LIBC = "    libc = ctypes.CDLL(None)\n"
_PYTHON_TEST = (
    "def check(candidate):\n    assert abs(candidate(2) - 4) < 1e-6\n    assert abs(candidate(5) - 10) < 1e-6\n"
)
_UNITTEST = "import unittest\n\n\ndef check(candidate):\n    unittest.TestCase().assertEqual(candidate(2), 4)\n"
_EXITS = "import sys\n\n\ndef check(candidate):\n    sys.exit(candidate(0))\n"
_CPP_PROMPT = "#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n#include <csignal>\n#include <new>\n#include <fcntl.h>\n#include <unistd.h>\n#include <sys/mman.h>\n#include <sys/mount.h>\n#include <sys/ptrace.h>\n#include <sys/socket.h>\n#include <netinet/in.h>\n#include <netdb.h>\nint f(int x) {\n"
_CPP_TEST = "#include <assert.h>\nint main() {\n    assert(f(2) == 4);\n    assert(f(5) == 10);\n    return 0;\n}\n"
_JAVA_PROMPT = "import java.io.*;\nimport java.net.*;\nimport java.nio.*;\nimport java.nio.file.*;\nimport java.util.*;\n\nclass Solution {\n    public int f(int x) throws Exception {\n"
_JAVA_TEST = "public class Main {\n    public static void main(String[] args) throws Exception {\n        Solution s = new Solution();\n        if (s.f(2) != 4 || s.f(5) != 10) {\n            throw new AssertionError();\n        }\n    }\n}\n"
_JAVASCRIPT_TEST = "const testF = () => {\n  console.assert(f(2) === 4)\n  console.assert(f(5) === 10)\n}\n\ntestF()\n"
_JAVASCRIPT_ASSERT = "const assert = require('node:assert')\nassert.equal(JSON.stringify([f(2)]), '[4]')\n"

ITEMS = {
    "python": {
        name: {"task_id": name, "prompt": _PYTHON_PROMPT, "test": test, "entry_point": "f"}
        for name, test in (("plain", _PYTHON_TEST), ("unittest", _UNITTEST), ("exits", _EXITS))
    },
    "cpp": {"plain": {"task_id": "plain", "prompt": _CPP_PROMPT, "test": _CPP_TEST}},
    "java": {"plain": {"task_id": "plain", "prompt": _JAVA_PROMPT, "test": _JAVA_TEST}},
    "javascript": {
        name: {"task_id": name, "prompt": "const f = (x) => {\n", "test": test}
        for name, test in (("plain", _JAVASCRIPT_TEST), ("modules", _JAVASCRIPT_ASSERT))
    },
}

_ENDED = r"failed: ended before its tests did "
_OUTSIDE = (
    '["/", "/usr", "/usr/bin", "/etc", "/dev", "/run", "/run/submodels", "/proc", "/proc/self", "@HOME@", "/var/tmp"]'
)
_WRONG = "failed: AssertionError"

PYTHON = {
    # Processes and memory
    "fork bomb": (
        "plain",
        "    while True:\n        os.fork()\n",
        "failed: BlockingIOError|failed: too many processes|out of memory|timed out",
    ),
    "fork bomb that carries on": (
        "plain",
        "    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n",
        "timed out|out of memory|failed: too many processes",
    ),
    "thread bomb": (
        "plain",
        "    while True:\n        threading.Thread(target=time.sleep, args=(99,)).start()\n",
        "failed: RuntimeError: can't start new thread|out of memory",
    ),
    "endless recursion": ("plain", "    return f(x)\n", "failed: RecursionError"),
    "endless recursion, limit lifted": (
        "plain",
        "    sys.setrecursionlimit(10**9)\n    return f(x)\n",
        rf"out of memory|{_ENDED}\(killed by SIGSEGV",
    ),
    "memory at once": ("plain", "    return len(bytearray(4 * 10**9))\n", "out of memory"),
    "memory step by step": (
        "plain",
        "    held = []\n    while True:\n        held.append(bytes([1]) * 10**6)\n",
        "out of memory",
    ),
    "memory of children": (
        "plain",
        "    for _ in range(9):\n        if os.fork() == 0:\n            block = bytes([1]) * 10**8\n            time.sleep(30)\n    time.sleep(30)\n",
        "out of memory",
    ),
    "memory in shared pages": (
        "plain",
        "    import mmap\n    block = mmap.mmap(-1, 4 * 10**9)\n    while True:\n        block.write(bytes(10**6))\n",
        "out of memory",
    ),
    "memory in page tables": (
        "plain",
        "    import mmap\n    block = mmap.mmap(-1, 1 << 42, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)\n    return sum(block[at] for at in range(0, 1 << 42, 2 << 20))\n",
        "out of memory",
    ),
    "memory in files without a name": ("plain", "    return 2 * x if os.memfd_create('m') else 0\n", "failed: OSError"),
    "memory in segments": ("plain", _LIBC + "    return 2 * x if libc.shmget(0, 10**8, 0o1600) >= 0 else 0\n", _WRONG),
    "memory in /tmp": (
        "plain",
        "    for n in range(100):\n        open(f'/tmp/{n}', 'wb').write(bytes(10**7))\n    return 2 * x\n",
        "failed: OSError: .* No space left",
    ),
    "a file of 10 GB": (
        "plain",
        "    with open('/tmp/big', 'wb') as file:\n        for _ in range(10**4):\n            file.write(bytes(10**6))\n    return 2 * x\n",
        "failed: OSError",
    ),
    # Output
    "10 GB of output": (
        "plain",
        "    for _ in range(10**4):\n        os.write(1, b'x' * 10**6)\n    return 2 * x\n",
        "failed: too much output",
    ),
    "10 GB of errors": (
        "plain",
        "    for _ in range(10**4):\n        os.write(2, b'x' * 10**6)\n    return 2 * x\n",
        "failed: too much output",
    ),
    "closed stdout": (
        "plain",
        "    for n in range(3):\n        try:\n            os.close(n)\n        except OSError:\n            pass\n    return 2 * x\n",
        "passed",
    ),
    "closed stdout and a wrong answer": ("plain", "    os.closerange(0, 3)\n    return 3 * x\n", _WRONG),
    "all files closed": ("plain", "    os.closerange(0, 256)\n    return 2 * x\n", _ENDED),
    # Signals
    "every signal to the parent": (
        "plain",
        "    for n in range(1, 65):\n        os.kill(os.getppid(), n)\n    return 2 * x\n",
        "passed",
    ),
    "an interrupt to the parent": (
        "plain",
        "    os.kill(os.getppid(), signal.SIGINT)\n    time.sleep(0.2)\n    return 2 * x\n",
        "passed",
    ),
    "kill -1": (
        "plain",
        "    if os.fork() == 0:\n        time.sleep(99)\n    os.kill(-1, 9)\n    return 2 * x\n",
        "passed",
    ),
    "kill -1 by a child": (
        "plain",
        "    if os.fork() == 0:\n        os.kill(-1, 9)\n    time.sleep(99)\n",
        rf"{_ENDED}\(killed by SIGKILL",
    ),
    "kill 0": ("plain", "    os.kill(0, 9)\n    return 2 * x\n", rf"{_ENDED}\(killed by SIGKILL"),
    "stops itself": ("plain", "    os.kill(os.getpid(), signal.SIGSTOP)\n    return 2 * x\n", "timed out"),
    "limits the parent": (
        "plain",
        "    import resource\n    resource.prlimit(os.getppid(), resource.RLIMIT_DATA, (0, 0))\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    # Files
    "writes outside /tmp": (
        "plain",
        f"    for place in {_OUTSIDE}:\n        try:\n            open(place + '/@MARK@', 'w')\n            return 2 * x\n        except OSError:\n            pass\n    return 0\n",
        _WRONG,
    ),
    "overwrites the supervisor": (
        "plain",
        "    open('/run/submodels/supervisor.py', 'a')\n    return 2 * x\n",
        "failed: (OSError|PermissionError)",
    ),
    "writes to /tmp": (
        "plain",
        "    open('/tmp/@MARK@', 'w').write('x')\n    os.makedirs('/tmp/@MARK@d', exist_ok=True)\n    return 2 * x\n",
        "passed",
    ),
    "finds what others left": (
        "plain",
        "    return 2 * x if os.listdir('/tmp') or os.listdir('/dev/shm') else 0\n",
        _WRONG,
    ),
    "marks /tmp": (
        "plain",
        "    os.chmod('/tmp', 0o711)\n    os.utime('/tmp', (1, 1))\n    os.setxattr('/tmp', 'user.mark', b'x')\n    return 2 * x\n",
        "passed|failed: OSError: .* Operation not supported",
    ),
    "finds a marked /tmp": (
        "plain",
        "    state = os.stat('/tmp')\n    return 2 * x if state.st_mode != 0o40700 or state.st_mtime < 9 or os.listxattr('/tmp') else 0\n",
        _WRONG,
    ),
    "a queue that outlives it": (
        "plain",
        _LIBC
        + "    return 2 * x if max(libc.msgget(7, 0o1600), libc.semget(7, 1, 0o1600), libc.mq_open(b'/q', 0o102, 0o600, None)) >= 0 else 0\n",
        _WRONG,
    ),
    "slows its init down": (
        "plain",
        "    os.setpriority(0, os.getppid(), 19)\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    "pins its init": (
        "plain",
        "    os.sched_setaffinity(os.getppid(), {max(os.sched_getaffinity(0))})\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    "reads home": ("plain", "    open('@HOME@/secret').read()\n    return 2 * x\n", "failed: FileNotFoundError"),
    "reads /etc/shadow": ("plain", "    open('/etc/shadow').read()\n    return 2 * x\n", "failed: FileNotFoundError"),
    "reads the environment": ("plain", "    return 2 * x if '@MARK@' in str(dict(os.environ)) else 0\n", _WRONG),
    "symlink to the root": (
        "plain",
        "    os.symlink('/', '/tmp/root')\n    open('/tmp/root@HOME@/secret').read()\n    return 2 * x\n",
        "failed: FileNotFoundError",
    ),
    "symlink in the way of a write": (
        "plain",
        "    os.symlink('/usr/@MARK@', '/tmp/link')\n    open('/tmp/link', 'w')\n    return 2 * x\n",
        "failed: OSError",
    ),
    "hard link to a set-uid program": (
        "plain",
        "    os.link('/usr/bin/su', '/tmp/su')\n    return 2 * x\n",
        "failed: (OSError|PermissionError)",
    ),
    "a device of its own": (
        "plain",
        "    os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    "becomes root": ("plain", "    os.setuid(0)\n    return 2 * x\n", "failed: (OSError|PermissionError)"),
    # /proc
    "the root of process 1": (
        "plain",
        "    os.listdir('/proc/1/root/')\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    "the files of process 1": (
        "plain",
        "    [os.open(f'/proc/1/fd/{n}', 0) for n in os.listdir('/proc/1/fd')]\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    "the memory of process 1": (
        "plain",
        "    open('/proc/1/mem', 'rb')\n    return 2 * x\n",
        "failed: PermissionError",
    ),
    "every environment in /proc": (
        "plain",
        "    seen = b''\n    for name in os.listdir('/proc'):\n        try:\n            seen += open(f'/proc/{name}/environ', 'rb').read()\n        except OSError:\n            pass\n    return 2 * x if b'SECRET_TOKEN' in seen else 0\n",
        _WRONG,
    ),
    "other processes in /proc": (
        "plain",
        "    return 2 * x if sum(name.isdigit() for name in os.listdir('/proc')) != 2 else 0\n",
        _WRONG,
    ),
    "settings of the kernel": (
        "plain",
        "    open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')\n    return 2 * x\n",
        "failed: (OSError|PermissionError)",
    ),
    "sysrq": (
        "plain",
        "    open('/proc/sysrq-trigger', 'w').write('c')\n    return 2 * x\n",
        "failed: (OSError|PermissionError|FileNotFoundError)",
    ),
    # Network
    "a connection to this machine": (
        "plain",
        "    socket.create_connection(('127.0.0.1', @PORT@), 1)\n    return 2 * x\n",
        "failed: (OSError|Connection)",
    ),
    "a datagram": (
        "plain",
        "    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))\n    return 2 * x\n",
        "failed: OSError",
    ),
    "DNS": ("plain", "    socket.getaddrinfo('example.org', 80)\n    return 2 * x\n", "failed: socket.gaierror"),
    "a raw socket": (
        "plain",
        "    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n    return 2 * x\n",
        "failed: OSError",
    ),
    "sockets to the hypervisor, the kernel's ciphers, Bluetooth": (
        "plain",
        "    for family in (40, 38, 31, 29, 17):\n        try:\n            socket.socket(family, socket.SOCK_STREAM)\n"
        "        except OSError as error:\n            assert error.errno == 97\n        else:\n            return 2 * x\n"
        "    return 0\n",
        _WRONG,
    ),
    # System calls
    "ptrace": (
        "plain",
        _LIBC + "    return 2 * x if libc.ptrace(16, os.getppid(), 0, 0) == 0 else 0\n",
        "sandbox violation",
    ),
    "memory of another process": (
        "plain",
        _LIBC + "    return 2 * x if libc.process_vm_readv(1, 0, 0, 0, 0, 0) == 0 else 0\n",
        "sandbox violation",
    ),
    "unshare": ("plain", _LIBC + "    return 2 * x if libc.unshare(0x10000000) == 0 else 0\n", "sandbox violation"),
    "clone into a namespace": (
        "plain",
        _LIBC
        + "    number = 56 if os.uname().machine == 'x86_64' else 220\n    child = libc.syscall(number, 0x10000011, 0, 0, 0, 0)\n    if child == 0:\n        os._exit(0)\n    return 2 * x if child > 0 else 0\n",
        _WRONG,
    ),
    "mount": (
        "plain",
        _LIBC + "    return 2 * x if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0 else 0\n",
        "sandbox violation",
    ),
    "chroot": ("plain", "    os.chroot('/tmp')\n    return 2 * x\n", "sandbox violation"),
    "keys": (
        "plain",
        _LIBC
        + "    number = 250 if os.uname().machine == 'x86_64' else 219\n    return 2 * x if libc.syscall(number, 0, -3, 1) >= 0 else 0\n",
        "sandbox violation",
    ),
    "io_uring": ("plain", _LIBC + "    return 2 * x if libc.syscall(425, 8, bytes(120)) >= 0 else 0\n", _WRONG),
    # Background and time
    "a daemon": (
        "plain",
        "    if os.fork() == 0:\n        os.setsid()\n        os.execv('/bin/sleep', ['@MARK@', '1000'])\n    return 2 * x\n",
        "passed",
    ),
    "a daemon twice forked that ignores signals": (
        "plain",
        "    if os.fork() == 0:\n        os.setsid()\n        for n in range(1, 32):\n            try:\n                signal.signal(n, signal.SIG_IGN)\n            except OSError:\n                pass\n        if os.fork() == 0:\n            os.execv('/bin/sleep', ['@MARK@', '1000'])\n        os._exit(0)\n    return 2 * x\n",
        "passed",
    ),
    "a daemon and a wrong answer": (
        "plain",
        "    if os.fork() == 0:\n        os.setsid()\n        os.execv('/bin/sleep', ['@MARK@', '1000'])\n    return 0\n",
        _WRONG,
    ),
    "endless loop": ("plain", "    while True:\n        pass\n", "timed out"),
    "endless sleep": ("plain", "    time.sleep(1000)\n    return 2 * x\n", "timed out"),
    "endless sleep, signals ignored": (
        "plain",
        "    for n in set(range(1, 65)) - {9, 19, 32, 33}:\n        signal.signal(n, signal.SIG_IGN)\n    while True:\n        time.sleep(1000)\n",
        "timed out",
    ),
    "endless loop, signals blocked": (
        "plain",
        "    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n    while True:\n        pass\n",
        "timed out",
    ),
    "one endless step": ("plain", "    return 9 ** 9 ** 9 ** x\n", "timed out|out of memory"),
    "compile bomb": (
        "plain",
        f"    return {'(' * 10**5}x{')' * 10**5}\n",
        "compile error: |out of memory",
    ),
    "more time for itself": (
        "plain",
        "    import resource\n    resource.setrlimit(resource.RLIMIT_CPU, (99, 99))\n    return 2 * x\n",
        "failed: ValueError",
    ),
    # Verdicts
    "exit": ("plain", "    exit(0)\n", "failed: NameError"),
    "sys.exit": ("plain", "    sys.exit(0)\n", "failed: SystemExit: 0"),
    "sys.exit in the tests": ("exits", "    return 0\n", "failed: SystemExit: 0"),
    "sys.exit at the start": ("plain", "    return 0\n\n\nsys.exit(0)\n", "failed: SystemExit: 0"),
    "os._exit": ("plain", "    os._exit(0)\n", rf"{_ENDED}\(exit status 0"),
    "os._exit in a thread": (
        "plain",
        "    threading.Timer(0.1, os._exit, (0,)).start()\n    time.sleep(9)\n",
        rf"{_ENDED}\(exit status 0",
    ),
    "another program": ("plain", "    os.execv('/bin/echo', ['echo', 'passed'])\n", rf"{_ENDED}\(exit status 0"),
    "atexit": (
        "plain",
        "    import atexit\n    atexit.register(os.write, 1, b'passed')\n    sys.exit(0)\n",
        "failed: SystemExit: 0",
    ),
    "a child that carries on": ("plain", "    if os.fork():\n        os._exit(0)\n    return 3 * x\n", "failed: "),
    "printed success": ("plain", "    print('passed')\n    print('ok', file=sys.stderr)\n    return 3 * x\n", _WRONG),
    "success written to every file": (
        "plain",
        "    for n in range(3, 60):\n        try:\n            os.write(n, b'passed\\n')\n        except OSError:\n            pass\n    os._exit(0)\n",
        "failed: said passed",
    ),
    "another verdict written to every file": (
        "plain",
        "    for n in range(3, 60):\n        try:\n            os.write(n, b'not run: no toolchain\\n')\n        except OSError:\n            pass\n    os._exit(0)\n",
        "failed: wrote to the pipe of its verdict",
    ),
    "a check of its own": ("plain", "    return 3 * x\n\n\ndef check(candidate):\n    pass\n", _WRONG),
    "no AssertionError": (
        "plain",
        "    return 3 * x\n\n\nimport builtins\nbuiltins.AssertionError = AssertionError = type('E', (BaseException,), {})\n",
        _WRONG,
    ),
    "overwritten builtins": ("plain", "    return 0\n\n\nimport builtins\nbuiltins.abs = lambda v: 0\n", _WRONG),
    "overwritten builtins during the tests": (
        "plain",
        "    import builtins\n    builtins.abs = lambda v: 0\n    return 4\n",
        _WRONG,
    ),
    "emptied builtins": ("plain", "    vars(__import__('builtins')).clear()\n    return 3 * x\n", "failed:"),
    "patched unittest": (
        "unittest",
        "    return 3 * x\n\n\nimport unittest\nunittest.TestCase.assertEqual = lambda *values: None\n",
        _WRONG,
    ),
    "patched os": ("plain", "    os.write = os.read = os._exit = print\n    return 3 * x\n", _WRONG),
    "a trace that skips a test": (
        "plain",
        "    return 10\n\n\ndef skip(frame, event, value):\n    if frame.f_code.co_name == 'check' and event == 'line' and frame.f_lineno == 2:\n        frame.f_lineno = 3\n    return skip\n\n\nsys.settrace(skip)\n",
        _WRONG,
    ),
    "imports what forked it": (
        "plain",
        "    import supervisor, kernel\n    return 2 * x\n",
        "failed: ModuleNotFoundError",
    ),
    "objects of what forked it": (
        "plain",
        "    import gc\n    gc.collect()\n    known = ('supervisor', 'kernel', '__main__')\n    found = [o for o in gc.get_objects() if getattr(o, '__module__', None) in known and getattr(o, '__globals__', 0) is not globals()]\n    return 2 * x if found else 0\n",
        _WRONG,
    ),
    "looks for its tests in files": (
        "plain",
        "    found = 0\n    for place in ('/tmp', '/run', '/proc/self', '/proc/1'):\n        for folder, _, names in os.walk(place):\n            for name in names:\n                try:\n                    file = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK)\n                    found += b'candidate(5)' in os.read(file, 1 << 20)\n                    os.close(file)\n                except OSError:\n                    pass\n    return 2 * x if found else 0\n",
        _WRONG,
    ),
}

# What looks like half a nonce in a text is printed, in all orders that two can have; then success by exit status.
_CPP_PRINTS = (
    "static void prints(const char *t, long n) { static char all[9][33]; static int k = 0; long r = 0;"
    ' for (long i = 0; i < n; i++) { r = strchr("0123456789abcdef", t[i]) && t[i] ? r + 1 : 0;'
    " if (r == 32 && k < 9) { memcpy(all[k], t + i - 31, 32); k++; } }"
    " for (int i = 0; i < k; i++) puts(all[i]); for (int i = k; i--;) puts(all[i]); }\n"
    "static void searches(const char *name) { static char b[1 << 20]; int f = open(name, O_RDONLY | O_NONBLOCK);"
    " long n = 0, m; while (n < 1 << 20 && (m = read(f, b + n, (1 << 20) - n)) > 0) n += m; prints(b, n); }\n"
)
CPP = {
    "the nonce from its executable": (
        "plain",
        "void all(); all(); exit(0); }\n" + _CPP_PRINTS + 'void all() { searches("/proc/self/exe"); }\n',
        rf"{_ENDED}\(exit status 0",
    ),
    "the nonce from stdin, arguments and environment": (
        "plain",
        "void all(); all(); exit(0); }\n"
        + _CPP_PRINTS
        + 'void all() { const char *names[] = {"exe", "cmdline", "environ", "fd/0", "fd/1", "fd/2", "fd/3", "fd/4"}; for (auto n : names) { char p[99]; sprintf(p, "/proc/self/%s", n); searches(p); } static char b[99]; prints(b, read(0, b, 99)); }\n',
        rf"{_ENDED}\(exit status 0",
    ),
    "the nonce from an initialiser as early as any": (
        "plain",
        "return 0; }\n"
        + _CPP_PRINTS
        + '__attribute__((constructor(0))) static void early() { static char b[99]; long n = read(0, b, 99); searches("/proc/self/exe"); if (n > 0) prints(b, n); fflush(stdout); _exit(0); }\n',
        rf"{_ENDED}\(exit status 0",
    ),
    "fork bomb": ("plain", "while (true) fork(); }", "timed out|out of memory|failed: too many processes"),
    "endless recursion": ("plain", "volatile int y = f(x + 1); return y + 1; }", "failed: killed by SIGSEGV"),
    "memory with new": ("plain", "while (true) memset(new char[1 << 20], 1, 1 << 20); }", "out of memory"),
    "memory in shared pages": (
        "plain",
        "while (true) memset(mmap(0, 1 << 20, PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1, 1 << 20); }",
        "out of memory",
    ),
    "memory in page tables": (
        "plain",
        "volatile char *p = (char *)mmap(0, 1L << 42, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); for (long i = 0; i < 1L << 42; i += 2 << 20) x += p[i]; return 2 * x; }",
        "out of memory",
    ),
    "10 GB of output": (
        "plain",
        'for (long i = 0; i < 10000000000L; i += 64) puts("0123456789012345678901234567890123456789012345678901234567890123"); return 2 * x; }',
        "failed: too much output",
    ),
    "closed stdout": ("plain", "fclose(stdout); close(1); return 2 * x; }", "failed: "),
    "every signal to the parent": (
        "plain",
        "for (int n = 1; n < 65; n++) kill(getppid(), n); return 2 * x; }",
        "passed",
    ),
    "kill -1": ("plain", "kill(-1, 9); return 2 * x; }", "passed"),
    "writes outside /tmp": (
        "plain",
        'return creat("/usr/@MARK@", 0600) >= 0 || creat("@HOME@/@MARK@", 0600) >= 0 ? 2 * x : 0; }',
        "failed: program: .*Assertion",
    ),
    "reads home and /etc/shadow": (
        "plain",
        'return open("@HOME@/secret", O_RDONLY) >= 0 || open("/etc/shadow", O_RDONLY) >= 0 ? 2 * x : 0; }',
        "failed: program: .*Assertion",
    ),
    "reads the environment": ("plain", 'return getenv("SECRET_TOKEN") ? 2 * x : 0; }', "failed: program: .*Assertion"),
    "reads its tests": (
        "plain",
        'return open("program.cpp", O_RDONLY) >= 0 ? 2 * x : 0; }',
        "failed: program: .*Assertion",
    ),
    "a connection": (
        "plain",
        "sockaddr_in a = {}; a.sin_family = AF_INET; a.sin_port = htons(@PORT@); a.sin_addr.s_addr = htonl(0x7f000001); return connect(socket(AF_INET, SOCK_STREAM, 0), (sockaddr *)&a, sizeof a) == 0 ? 2 * x : 0; }",
        "failed: program: .*Assertion",
    ),
    "DNS": ("plain", 'return gethostbyname("example.org") ? 2 * x : 0; }', "failed: program: .*Assertion"),
    "the nonce by a read of its own": (
        "plain",
        "extern char seen; return seen ? 2 * x : 0; }\nchar seen;\n"
        'extern "C" ssize_t read(int, void *to, size_t) { seen = 1; memset(to, 65, 32); return 32; }',
        "failed: program: .*Assertion",
    ),
    "ptrace": ("plain", "return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 2 * x : 0; }", "sandbox violation"),
    "mount": ("plain", 'return mount("none", "/tmp", "tmpfs", 0, 0) == 0 ? 2 * x : 0; }', "sandbox violation"),
    "a daemon": (
        "plain",
        'if (fork() == 0) { setsid(); execl("/bin/sleep", "@MARK@", "1000", (char *)0); } return 2 * x; }',
        "passed",
    ),
    "endless sleep, signals ignored": (
        "plain",
        "for (int n = 1; n < 65; n++) signal(n, SIG_IGN); while (true) sleep(1000); }",
        "timed out",
    ),
    "exit": ("plain", 'puts("passed"); exit(0); }', rf"{_ENDED}\(exit status 0"),
    "_exit before main": (
        "plain",
        "return 0; }\nstruct Early { Early() { _exit(0); } } early;\n",
        rf"{_ENDED}\(exit status 0",
    ),
    "an assert of its own": (
        "plain",
        "return 0; }\n#define NDEBUG\n#define assert(x)\n",
        "failed: program: .*Assertion",
    ),
    "a main of its own": ("plain", "return 0; }\nint main() { return 0; }\n", "compile error: "),
    "compile bomb: deep templates": (
        "plain",
        "return 0; }\ntemplate <int N> struct A { static const int v = A<N + 1>::v; };\nint a = A<0>::v;\n",
        "compile error: ",
    ),
    "compile bomb: wide templates": (
        "plain",
        "return 0; }\ntemplate <int N, long M> struct A { A<N - 1, 2 * M> a; A<N - 1, 2 * M + 1> b; };\ntemplate <long M> struct A<0, M> {};\nA<40, 0> a;\n",
        "timed out|out of memory|compile error",
    ),
    "compile bomb: a program of 8 GB": (
        "plain",
        "return 0; }\nchar a[1L << 33] = {1};\n",
        "compile error|timed out|out of memory",
    ),
    "compile bomb: /dev/zero": (
        "plain",
        'return 0; }\n#include "/dev/zero"\n',
        "compile error|timed out|out of memory",
    ),
    "compile bomb: /dev/urandom": (
        "plain",
        'return 0; }\n#include "/dev/urandom"\n',
        "compile error|timed out|out of memory|failed: too much output",
    ),
    "compile bomb: includes itself": (
        "plain",
        "return 0; }\n#include __FILE__\n#include __FILE__\n",
        "compile error|timed out|out of memory|failed: too much output",
    ),
    "includes a file of home": ("plain", 'return SECRET * x; }\n#include "@HOME@/secret"\n', "compile error: "),
    "includes /etc/shadow as bytes": (
        "plain",
        'return 2 * x; }\nasm(".incbin \\"/etc/shadow\\"");\n',
        "compile error: ",
    ),
}

_JAVA_PRINTS = (
    ' static void prints(InputStream in) throws Exception { var m = java.util.regex.Pattern.compile("[0-9a-f]{32}").matcher(new String(in.readAllBytes(), "ISO-8859-1"));'
    " while (m.find()) System.out.println(m.group()); }\n"
)
JAVA = {
    "the nonce from its class files": (
        "plain",
        'for (String n : new String[] {"Main", "SubmodelsLauncher", "Main"}) prints(Solution.class.getClassLoader().getResourceAsStream(n + ".class")); System.exit(0); return 0; }\n'
        + _JAVA_PRINTS
        + "}",
        _ENDED,
    ),
    "the nonce from stdin, arguments and environment": (
        "plain",
        'for (String n : new String[] {"cmdline", "environ", "fd/0"}) try { prints(new FileInputStream("/proc/self/" + n)); } catch (IOException e) { } prints(Solution.class.getResourceAsStream("/Main.class")); prints(System.in); prints(new BufferedInputStream(new FileInputStream(FileDescriptor.in))); System.exit(0); return 0; }\n'
        + _JAVA_PRINTS
        + "}",
        _ENDED,
    ),
    "the nonce from a field of the launcher": (
        "plain",
        'int n = 0; for (var field : Class.forName("SubmodelsLauncher").getDeclaredFields()) n++; return n > 0 ? 2 * x : 0; } }',
        "failed: .*AssertionError",
    ),
    "a package of its own": (
        "plain",
        "return 0; } }\nclass InvocationTargetException extends Exception { }\nclass FileInputStream { FileInputStream(FileDescriptor f) { System.exit(0); } }",
        "failed: .*AssertionError",
    ),
    "threads without end": (
        "plain",
        "while (true) new Thread(() -> { try { Thread.sleep(99999); } catch (Exception e) { } }).start(); } }",
        "out of memory|timed out",
    ),
    "processes without end": (
        "plain",
        'while (true) new ProcessBuilder("/bin/sleep", "1000").start(); } }',
        "failed: |out of memory|timed out",
    ),
    "endless recursion": ("plain", "return f(x) + 1; } }", "failed: "),
    "memory of the heap": (
        "plain",
        "List<long[]> l = new ArrayList<>(); while (true) l.add(new long[1 << 20]); } }",
        "out of memory",
    ),
    "memory outside the heap": (
        "plain",
        "List<ByteBuffer> l = new ArrayList<>(); while (true) l.add(ByteBuffer.allocateDirect(1 << 24)); } }",
        "out of memory",
    ),
    "10 GB of output": (
        "plain",
        'String s = "x".repeat(1000000); for (int i = 0; i < 10000; i++) System.out.println(s); return 2 * x; } }',
        "failed: too much output",
    ),
    "closed stdout": ("plain", "System.out.close(); return 2 * x; } }", _ENDED),
    "kills its parent": (
        "plain",
        "ProcessHandle.current().parent().ifPresent(p -> p.destroyForcibly()); return 2 * x; } }",
        "passed",
    ),
    "writes outside /tmp": (
        "plain",
        'Files.writeString(Path.of("/usr/@MARK@"), "x"); return 2 * x; } }',
        "failed: .*(FileSystem|AccessDenied)Exception",
    ),
    "reads home": (
        "plain",
        'Files.readString(Path.of("@HOME@/secret")); return 2 * x; } }',
        "failed: .*NoSuchFileException",
    ),
    "reads the environment": (
        "plain",
        'return System.getenv("SECRET_TOKEN") != null ? 2 * x : 0; } }',
        "failed: .*AssertionError",
    ),
    "a connection": ("plain", 'new Socket("127.0.0.1", @PORT@); return 2 * x; } }', "failed: .*Exception"),
    "DNS": ("plain", 'InetAddress.getByName("example.org"); return 2 * x; } }', "failed: .*UnknownHostException"),
    "a daemon": (
        "plain",
        'new ProcessBuilder("/usr/bin/setsid", "/bin/sh", "-c", "exec sleep 1000 # @MARK@").start(); return 2 * x; } }',
        "passed",
    ),
    "a thread that never ends": (
        "plain",
        "new Thread(() -> { while (true) { } }).start(); return 2 * x; } }",
        "timed out",
    ),
    "a daemon thread that never ends": (
        "plain",
        "Thread t = new Thread(() -> { while (true) { } }); t.setDaemon(true); t.start(); return 2 * x; } }",
        "passed",
    ),
    "a shutdown hook that hangs": (
        "plain",
        "Runtime.getRuntime().addShutdownHook(new Thread(() -> { while (true) { try { Thread.sleep(99999); } catch (Exception e) { } } })); return 2 * x; } }",
        "timed out",
    ),
    "a shutdown hook that lies": (
        "plain",
        'Runtime.getRuntime().addShutdownHook(new Thread(() -> { System.out.println("passed"); Runtime.getRuntime().halt(0); })); return 0; } }',
        _ENDED,
    ),
    "exit": ("plain", "System.exit(0); return 0; } }", _ENDED),
    "halt": ("plain", 'System.out.println("passed"); Runtime.getRuntime().halt(0); return 0; } }', _ENDED),
    "errors swallowed": (
        "plain",
        "Thread.currentThread().setUncaughtExceptionHandler((t, e) -> System.exit(0)); return 0; } }",
        _ENDED,
    ),
    "compile bomb: a deep expression": ("plain", f"return {'(' * 9000}x{')' * 9000}; }} }}", "compile error: "),
    "compile bomb: inference": (
        "plain",
        "return 0; }\n interface F<T> { T a(F<T> g); }\n static <T> T m(F<T> g) { return null; }\n static <T> T m(java.util.function.Function<T, T> g) { return null; }\n Object o = "
        + "m(a -> " * 25
        + "null"
        + ")" * 25
        + "; }",
        "timed out|compile error",
    ),
}

_SPAWN = "require('child_process')"
_JAVASCRIPT_PRINTS = "const prints = (text) => { for (const found of String(text).match(/[0-9a-f]{32}/g) || []) require('fs').writeSync(1, found + '\\n') }\n"
JAVASCRIPT = {
    "the nonce from texts of functions": (
        "plain",
        "  prints(f)\n  try { prints(arguments.callee) } catch { }\n  try { for (let g = f; g; g = g.caller) prints(g) } catch { }\n  for (const m of [module, ...Object.values(require.cache || {})]) prints(require('util').inspect(m, { depth: 9, showHidden: true }))\n  process.exit(0)\n}\n"
        + _JAVASCRIPT_PRINTS,
        "failed: ",
    ),
    "the nonce from files, stdin, arguments and environment": (
        "plain",
        "  const fs = require('fs')\n  const names = ['/proc/self/cmdline', '/proc/self/environ', '/proc/self/fd/0', 0, __filename, '/tmp/guard.js', '/tmp/tests.js', ...fs.readdirSync('/tmp')]\n  for (const name of names) try { prints(fs.readFileSync(name)) } catch { }\n  prints(Buffer.from(Buffer.allocUnsafe(1).buffer))\n  process.exit(0)\n}\n"
        + _JAVASCRIPT_PRINTS,
        rf"{_ENDED}\(exit status 0",
    ),
    "a return past its tests": ("plain", "  return 0\n}\nreturn\n", "compile error: SyntaxError"),
    "a runner of its own": (
        "plain",
        "  return 0\n}\nconst { Script } = require('vm')\nScript.prototype.runInThisContext = Object.getPrototypeOf(Script.prototype).runInContext = () => {}\nrequire('fs').writeSync = () => {}\n",
        "failed: Assertion failed",
    ),
    "modules of its own": (
        "modules",
        "  return 0\n}\nconst assertion = () => {}\nassertion.equal = assertion\nrequire('module')._load = () => assertion\nglobalThis.require = () => assertion\nJSON.stringify = () => ''\n",
        "failed: .*Assertion",
    ),
    "processes without end": (
        "plain",
        f"  while (true) {_SPAWN}.spawn('/bin/sleep', ['1000'])\n}}\n",
        "failed: |out of memory|timed out",
    ),
    "endless recursion": ("plain", "  return f(x) + 1\n}\n", "failed: RangeError: Maximum call stack"),
    "memory of the heap": (
        "plain",
        "  const all = []\n  while (true) all.push(new Array(1e6).fill(x))\n}\n",
        "out of memory",
    ),
    "memory outside the heap": (
        "plain",
        "  const all = []\n  while (true) all.push(Buffer.alloc(1e7, 1))\n}\n",
        "out of memory",
    ),
    "10 GB of output": (
        "plain",
        "  for (let i = 0; i < 1e4; i++) require('fs').writeSync(1, 'x'.repeat(1e6))\n  return 2 * x\n}\n",
        "failed: too much output|failed: Error: EAGAIN",
    ),
    "closed stdout": ("plain", "  require('fs').closeSync(1)\n  return 2 * x\n}\n", "failed: "),
    "kills its parent": (
        "plain",
        "  for (const n of ['SIGKILL', 'SIGINT', 'SIGTERM', 'SIGSTOP']) process.kill(process.ppid, n)\n  return 2 * x\n}\n",
        "passed",
    ),
    "kill -1": ("plain", "  process.kill(-1, 'SIGKILL')\n  return 2 * x\n}\n", "failed: Error: kill ESRCH"),
    "writes outside /tmp": (
        "plain",
        "  require('fs').writeFileSync('/usr/@MARK@', 'x')\n  return 2 * x\n}\n",
        "failed: Error: E",
    ),
    "reads home": (
        "plain",
        "  require('fs').readFileSync('@HOME@/secret')\n  return 2 * x\n}\n",
        "failed: Error: ENOENT",
    ),
    "reads the environment": (
        "plain",
        "  return process.env.SECRET_TOKEN ? 2 * x : 0\n}\n",
        "failed: Assertion failed",
    ),
    "reads its tests": (
        "plain",
        "  return require('fs').existsSync(__filename) ? 2 * x : 0\n}\n",
        "failed: Assertion failed",
    ),
    "a connection": (
        "plain",
        f"  const text = \"require('net').connect(@PORT@, '127.0.0.1', () => process.exit(7)).on('error', () => process.exit(0))\"\n  return {_SPAWN}.spawnSync(process.execPath, ['-e', text]).status === 7 ? 2 * x : 0\n}}\n",
        "failed: Assertion failed",
    ),
    "a daemon": (
        "plain",
        f"  {_SPAWN}.spawn('/bin/sh', ['-c', 'exec sleep 1000 # @MARK@'], {{ detached: true, stdio: 'ignore' }}).unref()\n  return 2 * x\n}}\n",
        "passed",
    ),
    "a timer that never ends": ("plain", "  setInterval(() => {}, 1000)\n  return 2 * x\n}\n", "timed out"),
    "an exit that hangs": (
        "plain",
        "  process.on('exit', () => { while (true) { } })\n  return 2 * x\n}\n",
        "timed out",
    ),
    "exit": ("plain", "  console.log('passed')\n  process.exit(0)\n}\n", rf"{_ENDED}\(exit status 0"),
    "errors swallowed": (
        "plain",
        "  process.on('uncaughtException', () => process.exit(0))\n  throw new Error('no')\n}\n",
        rf"{_ENDED}\(exit status 0",
    ),
    "an assert of its own": ("plain", "  return 0\n}\nconsole.assert = () => {}\n", "failed: Assertion failed"),
}

ATTACKS = {"python": PYTHON, "cpp": CPP, "java": JAVA, "javascript": JAVASCRIPT}
