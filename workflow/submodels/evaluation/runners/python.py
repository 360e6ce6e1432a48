"""Python: a warm interpreter forks once a sample (sandbox/inside/python_sample.py)."""

from pathlib import Path

from submodels.evaluation.metrics.base import text_fault
from submodels.evaluation.runners.verdicts import python_verdict

TOOLS: dict[str, str] = {}  # this interpreter runs the samples, with the standard library only
JAVA = None


def fault(item: dict) -> str | None:
    return text_fault(item, "prompt", "test", "entry_point")


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    solution = item["prompt"] + completion + "\n"
    test = f"{item['test']}\ncheck({item['entry_point']})\n"
    step = {"python": {"solution": solution, "test": test}, "timeout": timeout, "memory_mb": memory_mb}
    return {"files": {}, "java": None, "steps": [step]}


def verdict(outcome: dict, nonce: str) -> str:
    return python_verdict(outcome)
