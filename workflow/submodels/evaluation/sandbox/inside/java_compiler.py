"""The resident Java compiler's other end. It runs beside the supervisor: it reads hostile text but executes none."""

import os
import select
import struct
import time

PREPARED = "java-compiler"  # the directory with the compiler's classes and its archive, if it was made
JAR, ARCHIVE = "compiler.jar", "compiler.jsa"
LAUNCHER = "SubmodelsLauncher"  # the class in Launcher.java


def ready(place: str) -> list[str]:
    """The program of a prepared directory; Java silently ignores an archive of another virtual machine."""
    return ["-Xlog:disable", f"-XX:SharedArchiveFile={place}/{ARCHIVE}", "-cp", f"{place}/{JAR}", "Compiler"]


class CompileError(Exception):
    """The source does not compile; the text is the first error."""


class JavaCompiler:
    def __init__(self, java: str, program: list[str], launcher: str = ""):
        """`program`: the compiler's source file, or the result of `ready`; `launcher`: the path of Launcher.java."""
        # Started at once and not waited for: it warms up while the first request is on its way.
        flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto", "-Xmx512m"]
        self.command = [java, *flags, *program]
        self.works = False  # until the first reply
        self.launcher, self.launcher_classes = launcher, {}
        self._start()

    def _start(self) -> None:
        import subprocess  # it imports locks of threads, which make every fork of a process slower

        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe)

    def compile_program(self, source: str, timeout: float) -> dict[str, bytes]:
        """`compile`, and the launcher's class beside the program's."""
        if not self.launcher_classes:  # compiled by itself: no name in it can mean a class of the sample
            with open(self.launcher, encoding="utf-8") as file:
                self.launcher_classes = self.compile(file.read(), 60)
        return self.compile(source, timeout) | self.launcher_classes

    def compile(self, source: str, timeout: float) -> dict[str, bytes]:
        """Class files by path. Raises CompileError, or TimeoutError after killing the compiler."""
        deadline = time.monotonic() + timeout
        data = source.encode("utf-8", "replace")
        try:
            self.process.stdin.write(struct.pack(">i", len(data)) + data)
            self.process.stdin.flush()
            (length,) = struct.unpack(">i", self._read(4, deadline))
            reply = self._read(length, deadline)
            self.works = True
        except (TimeoutError, OSError, EOFError) as error:
            self.process.kill()
            status = self.process.wait()
            if not self.works and not isinstance(error, TimeoutError):
                raise RuntimeError(f"the Java compiler does not start (exit status {status})") from error
            self._start()
            if isinstance(error, TimeoutError):
                raise
            raise CompileError("the compiler stopped") from error
        if reply[0] == 0:
            raise CompileError(reply[1:].decode("utf-8", "replace"))
        return _class_files(reply)

    def close(self) -> None:
        """Let the compiler end by itself; then it writes an archive of its classes."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def _read(self, length: int, deadline: float) -> bytes:
        file = self.process.stdout.fileno()
        data = b""
        while len(data) < length:
            if not select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(file, length - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def _class_files(reply: bytes) -> dict[str, bytes]:
    files, at = {}, 1
    while at < len(reply):
        (size,) = struct.unpack_from(">H", reply, at)
        name = reply[at + 2 : at + 2 + size].decode("utf-8", "replace")
        at += 2 + size
        (size,) = struct.unpack_from(">i", reply, at)
        files[name.replace(".", "/") + ".class"] = reply[at + 4 : at + 4 + size]
        at += 4 + size
    return files
