"""The benchmark scripts run; what they measure is for a quiet machine."""

import subprocess
import sys

import pytest

from submodels.planning.hardware import read_hardware

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


def test_evaluation(root):
    """Both sides write answers of the same lengths."""
    lines = run(root, "evaluation.py", "--small", "--rounds", "1", "--workloads", "greedy")
    ours, theirs = (line.split() for line in lines[2:])
    assert ours[:2] == ["greedy", "submodels"]
    assert theirs[:3] == ["greedy", "hflm,", "1"]
    assert ours[-1] == theirs[-1] == "56"


def test_hardware(root, tmp_path):
    """What is printed is a whole file of figures, of this machine."""
    (tmp_path / "here.yaml").write_text("\n".join(run(root, "hardware.py")))
    found, shipped = read_hardware(tmp_path / "here.yaml"), read_hardware()
    assert found.gpu == shipped.gpu
    assert found.cpu.name != shipped.cpu.name
    assert 1e9 < found.cpu.flops["float32"] < 1e12
    assert 0 < found.cpu.thin <= 1
    assert 2e8 < found.process.torch_memory < 2e9
