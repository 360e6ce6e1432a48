"""The contents of a plan, as data."""

from dataclasses import dataclass


@dataclass
class Row:
    """Costs of a rule's jobs: jobs left to run and done, hours of those left, the largest job's request. Disk of all
    jobs, done or not: at the end, at its peak, with full checkpoints instead, and still to be written. Hours of
    reserved cores and GPUs; memory and disk in bytes.
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
    """Bytes by content, as the workflow stores it and in ordinary form: sub-models as full checkpoints, samples and
    executions uncompressed.
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
    """A grid's costs: `rows` by rule in the order of work, their `total`, the `disk`, and the assumptions."""

    name: str
    rows: list[Row]
    total: Row
    disk: Disk
    assumptions: list[str]
