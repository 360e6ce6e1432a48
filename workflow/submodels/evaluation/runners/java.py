"""Java: a resident compiler (sandbox/inside/Compiler.java), then a virtual machine of its own for each sample."""

import re
from pathlib import Path

from submodels.evaluation.metrics.base import text_fault
from submodels.evaluation.runners.verdicts import program_verdict

# The package of javac brings java as well; the one beside javac is used.
TOOLS = {"javac": "apt-get install default-jdk-headless"}
JAVA = "javac"

_COMPILE_FACTOR = 3  # compilation may take this many time limits
_VM_MB = 512  # what a virtual machine takes beside its heap
_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto", "-ea")
_MAIN_END = re.compile(r"\}\s*\}\s*$")


def java_of(javac: Path) -> Path:
    return javac.resolve().parent / "java"


def fault(item: dict) -> str | None:
    if found := text_fault(item, "prompt", "test"):
        return found
    return None if _MAIN_END.search(item["test"]) else "a Java `test` must end with the end of main and of class Main"


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    end = _MAIN_END.search(item["test"])
    test = f'{item["test"][: end.start()]}\nSystem.out.println("\\n{nonce}");\n{end.group()}'
    command = [str(java_of(tools["javac"])), *_FLAGS, f"-Xmx{memory_mb}m", "-cp", ".", "Main"]
    return {
        "files": {},
        "java": f"{item['prompt']}{completion}\n{test}",
        "compile_timeout": _COMPILE_FACTOR * timeout,
        "steps": [{"command": command, "timeout": timeout, "memory_mb": memory_mb + _VM_MB}],
    }


def verdict(outcome: dict, nonce: str) -> str:
    return program_verdict(outcome, nonce, memory_errors=("java.lang.OutOfMemoryError", "insufficient memory"))
