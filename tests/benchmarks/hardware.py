"""The figures of this machine, as `submodels plan --hardware FILE` takes them: those of resources/hardware.yaml with
what can be measured in a minute put in. Of one core of the CPU; figures of a GPU, the network and so on stay.

    python tests/benchmarks/hardware.py > here.yaml
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).resolve().parents[2]
WIDE, NARROW, FEW = 4864, 896, 16  # a matrix of a model of half a billion parameters; rows of a batch that decodes
MATRICES = 24  # together larger than any cache
START = "import torch, transformers, lm_eval.models.huggingface, submodels.evaluation.engine"


def seconds(work: Callable, repeats: int = 5) -> float:
    """The median time of one call, after one that warms up."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[repeats // 2]


@torch.inference_mode()
def of_the_cpu() -> dict:
    """Rates of one core: operations of large products by data type, bytes read, the share that thin products reach."""
    torch.set_num_threads(1)
    found = {"name": f"one core, measured ({platform.machine()})", "flops": {}}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        matrices = [torch.randn(WIDE, NARROW).to(dtype) for _ in range(4)]
        rows = torch.randn(512, NARROW).to(dtype)
        taken = seconds(lambda ms=matrices, x=rows: [torch.nn.functional.linear(x, m) for m in ms], 3)
        found["flops"][str(dtype).removeprefix("torch.")] = 4 * 2 * 512 * WIDE * NARROW / taken
    matrices = [torch.randn(WIDE, NARROW) for _ in range(MATRICES)]
    size = MATRICES * WIDE * NARROW
    found["bandwidth"] = 4 * size / seconds(lambda: [m.sum() for m in matrices])
    rows = torch.randn(FEW, NARROW)
    taken = seconds(lambda: [torch.nn.functional.linear(rows, m) for m in matrices])
    reading = 4 * size / found["bandwidth"]
    found["thin"] = min(1.0, 2 * FEW * size / max(taken - reading, 1e-9) / found["flops"]["float32"])
    scores = torch.rand(WIDE, NARROW)
    found["sorted"] = scores.numel() / seconds(lambda: scores.sort(dim=-1, stable=True))
    return found


def of_a_process() -> dict:
    """Seconds until a stage works, and what it holds then."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}

    def start(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, stderr=subprocess.DEVNULL)

    found = {
        "light_start": seconds(lambda: start("import submodels.cli, submodels.grid")),
        "torch_start": seconds(lambda: start(START), 3),
    }
    found["torch_memory"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024.0
    return found


def of_the_disk() -> dict:
    with tempfile.NamedTemporaryFile(dir=ROOT) as file:
        file.write(os.urandom(1 << 28))
        file.flush()
        return {"read": (1 << 28) / seconds(lambda: Path(file.name).read_bytes(), 3)}


def main() -> None:
    figures = yaml.safe_load((ROOT / "resources/hardware.yaml").read_text())
    figures["cpu"] |= of_the_cpu()
    figures["process"] |= of_a_process()
    figures["disk"] |= of_the_disk()
    print(yaml.safe_dump(figures, sort_keys=False), end="")


if __name__ == "__main__":
    main()
