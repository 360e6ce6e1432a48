"""The figures a plan assumes: resources/hardware.yaml, whose comments explain each."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from submodels import files
from submodels.resources import resource
from submodels.terms import DTYPES
from submodels.validation import Strict, parse

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Machine(Strict):
    """The computing device: a GPU, or one core of a CPU."""

    name: str
    flops: dict[Literal[DTYPES], Rate]
    bandwidth: Rate
    thin: Rate
    block_seconds: Amount
    sorted: Rate
    columns: Rate
    relaxed: Rate
    start: Amount
    memory: Rate
    host_memory: Amount


class Process(Strict):
    light_start: Amount
    torch_start: Amount
    light_memory: Amount
    torch_memory: Amount


class DiskFigures(Strict):
    read: Rate


class Training(Strict):
    operations: Rate
    efficiency: Rate


class EvaluationFigures(Strict):
    vllm_speed: Rate
    rambling: Rate
    token_seconds: Amount
    request_seconds: Amount
    chosen: Amount
    choices: Rate
    programs: dict[str, Rate]
    hanging: Amount
    sandbox_memory: Amount
    scored: dict[str, Rate]
    resampled: Rate


class AnalysisFigures(Strict):
    compared: Rate
    tokenised: Rate
    filled: Rate
    searched: Rate
    cell_seconds: Amount


class Page(Strict):
    model: Amount
    cell: Amount


class FileFigures(Strict):
    token_bytes: Amount
    line_bytes: Amount
    compression: Rate
    piece_bytes: Amount
    log_bytes: Amount
    manifest_bytes: Amount
    grid_bytes: Amount
    parameter_bytes: Amount
    matrices: Rate
    pair_bytes: Amount
    item_score_bytes: Amount
    score_bytes: Amount
    pages: dict[str, Page]
    view_bytes: Amount
    view_cell_bytes: Amount
    unpacked: Rate
    world_bytes: Amount
    item_bytes: Amount
    downloads: dict[str, Amount]


class Requests(Strict):
    memory: Rate
    least_memory: Amount
    runtime: Rate
    least_runtime: Amount


class Hardware(Strict):
    """Every figure of the file; an unknown or missing figure is an error."""

    gpu: Machine
    cpu: Machine
    process: Process
    disk: DiskFigures
    network: Rate
    training: Training
    evaluation: EvaluationFigures
    analysis: AnalysisFigures
    files: FileFigures
    requests: Requests
    parallel_jobs: Annotated[int, Field(ge=1)]

    def machine(self, device: str) -> Machine:
        return self.cpu if device == "cpu" else self.gpu


def rate_of(rates: dict[str, float], name: str) -> float:
    """The rate of a language or scorer; without a figure for it, the slowest of the others."""
    return rates.get(name, min(rates.values()))


@cache
def read_hardware(path: Path | None = None) -> Hardware:
    """The figures in `path`; by default the shipped figures."""
    path = path or resource("hardware.yaml")
    return parse(Hardware, files.read_yaml(path), str(path))
