"""Dry runs of the workflow, and what they would do."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def snakemake(directory: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run Snakemake of this environment on the checkout, in a working directory of its own."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(directory)]
    result = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C.UTF-8"}
    )
    if check and result.returncode:
        raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{result.stdout}\n{result.stderr}")
    return result


def planned(directory: Path, *arguments: str) -> Counter:
    """Jobs per rule that a run would do, without the total."""
    result = snakemake(directory, "--cores", "2", "--dry-run", "--quiet", "rules", *arguments)
    found = Counter()
    for line in (result.stdout + result.stderr).splitlines():
        if match := re.fullmatch(r"(\w+)\s+(\d+)", line.strip()):
            found[match[1]] += int(match[2])
    del found["total"]
    return found
