"""Speed and memory of `submodels overlap` on masks of random bits, beside a straightforward implementation.

Run it with `python tests/benchmarks/overlap.py`; README.md, next to this file, says what the columns mean. Every
measurement is a fresh process with one thread, so that peak memory is that of one comparison alone.
"""

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from submodels.analysis.overlap import jaccard_distance, overlap
from submodels.checkpoints.masks import FILE_NAME, Masks, packed_length, writing

MODULES = {  # the linear layers of one block of a Llama of seven billion parameters
    **{f"self_attn.{name}_proj": (4096, 4096) for name in "qkvo"},
    **{f"mlp.{name}_proj": (11008, 4096) for name in ("gate", "up")},
    "mlp.down_proj": (4096, 11008),
}
BLOCKS = 4  # of the model's 32
SUBMODELS = 17
COLUMNS = ("implementation", "files", "wall s", "CPU s", "GB/s", "peak MB", "bytes read", "from disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--submodels", type=int, default=SUBMODELS)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest run of each kind is shown")
    parser.add_argument("--directory", help="where to put the masks while measuring; default: the system's own")
    parser.add_argument("--measure", nargs=2, metavar=("IMPLEMENTATION", "MASKS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return
    shapes = {
        f"model.layers.{i}.{name}.weight": shape for i in range(options.blocks) for name, shape in MODULES.items()
    }
    size = sum(map(packed_length, shapes.values()))
    pairs = options.submodels * (options.submodels - 1) // 2
    print(f"{options.submodels} masks of {size / 1e6:.1f} MB, {pairs} pairs, {size * pairs / 1e9:.1f} GB of pair bytes")
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        write_random(Path(directory), shapes, options.submodels)
        kinds = list(itertools.product(IMPLEMENTATIONS, ("cached", "cold")))
        runs = {kind: [] for kind in kinds}
        for kind in kinds * options.repeats:  # turn and turn about: a busy moment of the machine meets all kinds
            runs[kind].append(run(*kind, Path(directory)))
    best = {kind: min(measured, key=lambda one: one["wall"]) for kind, measured in runs.items()}
    if len({json.dumps(one["distances"]) for measured in runs.values() for one in measured}) != 1:
        sys.exit("the implementations disagree")
    print_table(best, size * pairs, size * options.submodels)


def write_random(directory: Path, shapes: dict[str, tuple[int, int]], number: int) -> None:
    """Masks of random bits, half of them set, one sub-model a directory."""
    about = {"method": "random", "sparsity": "0.50", "calibration": None, "base": "random"}
    for seed in range(number):
        generator = np.random.default_rng(seed)
        bits = {name: np.frombuffer(generator.bytes(packed_length(shape)), np.uint8) for name, shape in shapes.items()}
        with writing(directory / f"random-none-0.50-s{seed}", shapes, seed=seed, **about) as writer:
            for name, packed in bits.items():
                writer.add(name, packed)


def run(implementation: str, state: str, directory: Path) -> dict:
    """One measurement in a fresh process; `cold`: the files leave the page cache first."""
    for path in directory.glob(f"*/{FILE_NAME}"):
        with open(path, "rb") as file:
            if state == "cold":
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(1 << 24):
                    pass
    command = [sys.executable, __file__, "--measure", implementation, str(directory)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | one_thread).stdout
    return json.loads(output)


def measure(implementation: str, directory: Path) -> dict:
    """Seconds, bytes and the distances that one implementation finds; imports are not part of the seconds."""
    submodels = sorted(directory.iterdir())
    before, cpu, start = counters(), time.process_time(), time.perf_counter()
    distances = IMPLEMENTATIONS[implementation](submodels)
    wall, cpu, after = time.perf_counter() - start, time.process_time() - cpu, counters()
    read = {name: after[name] - before[name] for name in ("rchar", "read_bytes")}
    return {"wall": wall, "cpu": cpu, "peak": after["VmHWM"] * 1024, "distances": distances} | read


def counters() -> dict[str, int]:
    """Linux's account of this process: `rchar` (bytes read), `read_bytes` (from disk), `VmHWM` (peak memory, KiB).

    Unlike getrusage's, this peak does not begin with that of the parent process.
    """
    lines = Path("/proc/self/io").read_text().splitlines() + Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines)
    return {field[0].rstrip(":"): int(field[1]) for field in fields if field[0] in ("rchar:", "read_bytes:", "VmHWM:")}


def stage(submodels: list[Path]) -> list[float]:
    """The stage as the command line calls it. Returns each pair's distance over the whole model."""
    with tempfile.TemporaryDirectory() as directory:
        overlap(submodels, Path(directory) / "overlap.csv")
        with open(Path(directory) / "overlap.csv", newline="") as file:
            return [float(row["kept_distance"]) for row in csv.DictReader(file) if row["level"] == "model"]


def straightforward(submodels: list[Path]) -> list[float]:
    """The same distances as one would first write them: whole matrices, one pair after the other."""
    masks = [Masks(directory) for directory in submodels]
    pairs = list(itertools.combinations(range(len(masks)), 2))
    kept, both = [0] * len(masks), dict.fromkeys(pairs, 0)
    for parameter in masks[0]:
        bits = [one.packed(parameter) for one in masks]
        words = [np.pad(row, (0, -len(row) % 8)).view(np.uint64) for row in bits]
        for i, row in enumerate(words):
            kept[i] += int(np.bitwise_count(row).sum(dtype=np.int64))
        for i, j in pairs:
            both[i, j] += int(np.bitwise_count(words[i] & words[j]).sum(dtype=np.int64))
    return [jaccard_distance(both[i, j], kept[i], kept[j]) for i, j in pairs]


IMPLEMENTATIONS = {"straightforward": straightforward, "submodels overlap": stage}


def print_table(best: dict[tuple[str, str], dict], pair_bytes: int, file_bytes: int) -> None:
    rows = [
        (
            *kind,
            f"{one['wall']:.2f}",
            f"{one['cpu']:.2f}",
            f"{pair_bytes / one['wall'] / 1e9:.2f}",
            f"{one['peak'] / 1e6:.0f}",
            f"{one['rchar'] / file_bytes:.2f} x",
            f"{one['read_bytes'] / file_bytes:.2f} x",
        )
        for kind, one in best.items()
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(cells)))
    for state in ("cached", "cold"):
        ratio = best["straightforward", state]["wall"] / best["submodels overlap", state]["wall"]
        print(f"{state}: {ratio:.2f} times as fast as the straightforward implementation")


if __name__ == "__main__":
    main()
