"""Java: a resident compiler (sandbox/inside/Compiler.java), then a separate virtual machine for each sample.

The virtual machine begins in sandbox/inside/Launcher.java, before it loads any class of the sample.
"""

import re
import subprocess
import zipfile
from pathlib import Path

from submodels import files
from submodels.benchmarks.metrics.base import text_fault
from submodels.evaluation.extraction import program_start, without_comments
from submodels.evaluation.prepared import prepared, tool_identity
from submodels.evaluation.runners.verdicts import program_verdict
from submodels.evaluation.sandbox.inside import java_compiler
from submodels.evaluation.sandbox.layout import INSIDE
from submodels.verdict import Verdict

# The package of javac contains java as well; the java beside javac is used.
TOOLS = {"javac": "apt-get install default-jdk-headless"}
JAVA = "javac"
EMPTY = "class Main {\n    public static void main(String[] arguments) {\n    }\n}\n"
SEES = "Programs see only the JDK and org.javatuples: write the tests without it"

_COMPILE_FACTOR = 3  # compilation may take this many time limits
_WORTH_IT = 12  # number of programs that gain as much time as the prepared compiler costs to make
_VM_MB = 512  # memory of a virtual machine beside its heap
_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto")
_MAIN_END = re.compile(r"\}\s*\}\s*$")
_CLASS = re.compile(r"^(?:public\s+)?class\s+(\w+)", re.MULTILINE)  # not indented, so in no comment of a prompt
_IMPORT = re.compile(r"^\s*(import\s+(?:static\s+)?(?!java\.|org\.javatuples\.)([\w.]+)(?:\.\*)?\s*;)", re.MULTILINE)
_TUPLES = "org.javatuples."  # a library that MultiPL-E's prompts import
_TUPLES_IMPORT = re.compile(r"import\s+org\.javatuples\.[\w*]+\s*;")
_TUPLES_CLASS = re.compile(r"^(?:abstract|final) class (\w+).*?^}\n", re.MULTILINE | re.DOTALL)


def java_of(javac: Path) -> Path:
    return javac.resolve().parent / "java"


def prepare(programs: list[tuple[dict, str]], tools: dict[str, Path]) -> dict[str, Path]:
    """The resident compiler, compiled, with an archive of javac's loaded classes: it starts in less than half the
    time."""
    java, source = java_of(tools["javac"]), INSIDE / "Compiler.java"
    typical = Path(__file__).with_name("typical.java")

    def make(place: Path) -> None:
        command = [tools["javac"], "-d", place, source]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with zipfile.ZipFile(place / java_compiler.JAR, "w") as jar:
            for path in sorted(place.glob("*.class")):
                jar.write(path, path.name)
                path.unlink()
        archive = f"-XX:ArchiveClassesAtExit={place / java_compiler.ARCHIVE}"
        program = ["-XX:+IgnoreUnrecognizedVMOptions", "-Xlog:disable", archive]  # archives came with Java 13
        compiler = java_compiler.JavaCompiler(java, [*program, "-cp", place / java_compiler.JAR, "Compiler"])
        compiler.compile(typical.read_text(encoding="utf-8"), 60)
        compiler.close()

    made_from = [*tool_identity(java), files.sha256_file(source), files.sha256_file(typical)]
    made = prepared(java_compiler.PREPARED, made_from, make if len(programs) >= _WORTH_IT else None)
    return {java_compiler.PREPARED: made} if made else {}


def libraries(item: dict) -> dict[str, str]:
    """Import statement -> package or class, for each import of the prompt and the tests."""
    return dict(_IMPORT.findall(without_comments(f"{program_start(item)}\n{item['test']}")))


def fault(item: dict, quiet: bool) -> str | None:
    if found := text_fault(item, "prompt", "test"):
        return found
    return None if _MAIN_END.search(item["test"]) else "a Java `test` must end with the end of main and of class Main"


def _main_class(item: dict) -> str:
    """HumanEval-X's tests open a class with main; MultiPL-E's put main into the prompt's class."""
    return _CLASS.findall(f"class Main\n{program_start(item)}\n{item['test']}")[-1]


def _with_tuples(source: str) -> str:
    """The source with the library's classes in it, in one file without packages; classes of the source win."""
    if _TUPLES not in source:
        return source
    library = Path(__file__).with_name("javatuples.java").read_text(encoding="utf-8")
    classes = [
        match.group()
        for match in _TUPLES_CLASS.finditer(library)
        if not re.search(rf"^(?:\w+ +)*(?:class|record|interface|enum) +{match[1]}\b", source, re.MULTILINE)
    ]
    return "\n".join([_TUPLES_IMPORT.sub("", source).replace(_TUPLES, ""), *classes])


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    end = _MAIN_END.search(item["test"])
    test = f'{item["test"][: end.start()]}\njava.lang.System.out.println("\\n{nonce}");\n{end.group()}'
    main = _main_class(item)
    # Tests may fail by `assert`. A solution's asserts count where it shares the class of the tests (MultiPL-E).
    java = [str(java_of(tools["javac"])), *_FLAGS, f"-ea:{main}", f"-Xmx{memory_mb}m", "-cp", "."]
    command = [*java, java_compiler.LAUNCHER, main]
    return {
        "files": {},
        "java": _with_tuples(f"{program_start(item)}{completion}\n{test}"),
        "compile_timeout": _COMPILE_FACTOR * timeout,
        "steps": [{"command": command, "timeout": timeout, "memory_mb": memory_mb + _VM_MB}],
    }


def verdict(outcome: dict, nonce: str) -> Verdict:
    memory_errors = ("java.lang.OutOfMemoryError", "insufficient memory")
    return program_verdict(outcome, (nonce, outcome["nonce"]), memory_errors)
