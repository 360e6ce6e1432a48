"""Verdicts: how the run of a program ended. Files hold a verdict as a text, `status` or `status: detail`."""

from typing import NamedTuple

from submodels.terms import NOT_RUN

PASSED, FAILED, COMPILE_ERROR, TIMED_OUT = "passed", "failed", "compile error", "timed out"
OUT_OF_MEMORY, VIOLATION = "out of memory", "sandbox violation"
STATUSES = (PASSED, FAILED, COMPILE_ERROR, TIMED_OUT, OUT_OF_MEMORY, VIOLATION)  # of programs that ran


class Verdict(NamedTuple):
    """`status`: one of STATUSES, or `not run`. `detail`: the error line or reason, empty where there is none."""

    status: str
    detail: str = ""

    @classmethod
    def parse(cls, text: str) -> "Verdict":
        """The verdict that a file holds as a text."""
        status, _, detail = text.partition(":")
        return cls(status, detail.strip())

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}" if self.detail else self.status

    @property
    def passed(self) -> bool | None:
        """None where the program was not run."""
        return None if self.status == NOT_RUN else self.status == PASSED
