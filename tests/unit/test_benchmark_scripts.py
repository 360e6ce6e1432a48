"""The benchmark scripts run; what they measure is for a quiet machine."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run(root, script, *arguments):
    """The lines that it prints."""
    command = [sys.executable, str(root / "tests/benchmarks" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_planning(root):
    grid = str(root / "resources/grids/methods.yaml")
    rows = [line.split() for line in run(root, "planning.py", "--rounds", "1", "--grid", grid)]
    assert [row[:2] for row in rows[1:]] == [["methods", "workflow"], ["methods", "bare"]]
    assert 0 <= int(rows[1][2]) - int(rows[2][2]) < 10  # the bare one has no tables


def test_pruning(root):
    lines = run(root, "pruning.py", "--size", "tiny", "--windows", "8", "--length", "16", "--memory")
    assert [line.split()[0] for line in lines[2:5]] == ["floor", "stage", "straightforward"]
    assert "with 2 blocks" in lines[5]
    assert "with 4: 1.0" in lines[5]
