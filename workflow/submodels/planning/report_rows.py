"""What a plan says, as data."""

from dataclasses import dataclass


@dataclass
class Row:
    """What the jobs of a rule take: jobs left to run and done, hours of those left, the largest job's request. Disk of
    all, done or not: at the end, at its peak, as it would be with full checkpoints, and what is still to come. Hours
    of cores and GPUs that are reserved; memory and disk in bytes.
    """

    rule: str
    jobs: int = 0
    done: int = 0
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    memory: float = 0.0
    gpu_memory: float = 0.0
    disk: float = 0.0
    disk_peak: float = 0.0
    disk_with_checkpoints: float = 0.0
    disk_left: float = 0.0

    def add(self, other: "Row") -> None:
        for name in ("jobs", "done", "gpu_hours", "cpu_hours", "disk", "disk_with_checkpoints", "disk_left"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("memory", "gpu_memory"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))


@dataclass
class Disk:
    """Bytes by what they hold, as the workflow keeps them and as others would: sub-models as full checkpoints, samples
    and executions uncompressed.
    """

    base_models: float = 0.0
    submodels: float = 0.0
    checkpoints: float = 0.0
    samples: float = 0.0
    plain_samples: float = 0.0
    rest: float = 0.0
    temporary: float = 0.0

    @property
    def end(self) -> float:
        return self.base_models + self.submodels + self.samples + self.rest

    @property
    def peak(self) -> float:
        return self.end + self.temporary

    @property
    def end_with_checkpoints(self) -> float:
        return self.end - self.submodels + self.checkpoints


@dataclass
class Plan:
    """A grid's costs: `rows` by rule in the order of work, their `total`, the `disk`, and what was assumed."""

    name: str
    rows: list[Row]
    total: Row
    disk: Disk
    assumptions: list[str]
