"""Run one Python sample in this forked process.

The solution and its tests are executed one after the other in the namespace of a single `__main__`, as if they were
one file: a function under test may have a builtin's name. Changes to other modules do not reach the tests: an
assignment into `builtins`, a patch of `unittest`, a trace function that was set before them. "passed" is written only
after the last test returned, with a nonce that reaches this process through a pipe and did not exist when the
solution's text was written. The tests' text is in no file.

Limit: the solution shares the process with its tests. Code that searches for the pipes among its file descriptors or
in the frames of its callers, rewrites the tests' frames or the modules they use while they run, or answers with an
object whose `==` lies, can forge a pass for itself; it cannot reach other samples, their verdicts or the machine.
"""

import builtins
import marshal
import os
import sys
import traceback
import types

# By name: going through sys.modules would touch, and so copy, a page of memory for nearly every module.
_PARTS = ("_log", "async_case", "case", "loader", "main", "mock", "result", "runner", "signals", "suite", "util")
_ORIGINAL = dict(vars(builtins))  # made here, once: copying touches a page of memory for nearly every builtin
_UNITTEST = ("unittest", *(f"unittest.{part}" for part in _PARTS))


def run(solution: str, test: str | bytes, nonce_pipe: int, verdict_pipe: int) -> None:
    """Execute, then write one line to `verdict_pipe`: `passed <nonce>` or the verdict. `test`: text or marshalled code.

    `random` is repeatable. It is loaded only where it is used: it reseeds itself in each fork, which takes time.
    """
    write, read, leave = os.write, os.read, os._exit  # the solution may overwrite the module's
    present = vars(builtins)
    original = _ORIGINAL
    if "random" in solution or (b"random" if isinstance(test, bytes) else "random") in test:
        import random

        random.seed(0)
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        try:
            code = compile(solution, "<solution>", "exec")
            tests = marshal.loads(test) if isinstance(test, bytes) else compile(test, "<test>", "exec")
        except (SyntaxError, ValueError, OverflowError, RecursionError) as error:
            write(verdict_pipe, _line("compile error: ", error))
            return
        exec(code, vars(module))
        present.clear()
        present.update(original)
        for name in _UNITTEST:
            sys.modules.pop(name, None)  # tests that import it get a fresh module
        sys.settrace(None)
        sys.setprofile(None)
        vars(module)["__builtins__"] = original  # a copy, so a later assignment into the module `builtins` misses it
        exec(tests, vars(module))
        write(verdict_pipe, b"passed " + read(nonce_pipe, 64) + b"\n")
    except MemoryError:
        write(verdict_pipe, b"out of memory\n")
    except BaseException as error:
        write(verdict_pipe, _line("failed: ", error))
    finally:
        leave(0)


def _line(prefix: str, error: BaseException) -> bytes:
    """The last line of the traceback, with the line number of a syntax error."""
    text = traceback.format_exception_only(error)[-1].strip().split("\n")[0]
    if isinstance(error, SyntaxError):
        text += f" (line {error.lineno})"
    return (prefix + text[:500]).encode("utf-8", "backslashreplace") + b"\n"
