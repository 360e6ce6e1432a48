"""Memory of a prune job: its need, and the machine's free memory."""

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from submodels.errors import SubmodelsError
from submodels.pruning.blocks import BlockStream
from submodels.pruning.input_statistics import InputGram
from submodels.pruning.methods import Gradients
from submodels.pruning.need import fixed_bytes, gram_bytes, whole_bytes, windows_at_once, working_bytes
from submodels.pruning.patterns import Pattern
from submodels.pruning.rules import Rule
from submodels.pruning.windows import Windows

# Where the whole model is too large.
SMALLER = "take shorter windows, --dtype bfloat16, a smaller model, or a method without gradients"
_GB = 1e9
_ADVISED = 0.9  # of the memory free now; less may be free at the next start, and holes between buffers take memory


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that an allocation failed; for the host's memory PyTorch raises a RuntimeError."""
    text = str(error)
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in text or "CUBLAS_STATUS_ALLOC_FAILED" in text


@dataclass(frozen=True)
class Need:
    """Estimated bytes in one place: `fixed`, for every calibration window, and for every window computed at once."""

    place: str
    fixed: int
    per_window: int
    per_batched: int

    def total(self, windows: int, batch_size: int) -> int:
        return self.fixed + windows * self.per_window + min(batch_size, windows) * self.per_batched


def estimate(stream: BlockStream, windows: Windows | None, rule: Rule, batch_size: int, *, offload: bool) -> list[Need]:
    """Memory that pruning needs, by place.

    Fixed: the block at work and the next one, or the embeddings if they are larger, the largest matrix's scores while
    they are sorted, and Gram matrices. Per window: its hidden states and, if padded, its attention mask. Per window
    computed at once: the memory of a block's forward pass at its widest point.
    """
    size = stream.dtype.itemsize
    text = stream.config.get_text_config()
    shapes = stream.shapes.values()
    widest = max(max(shape) for shape in shapes)
    block = max(sum(weight.numel() for weight in block.parameters()) for block in stream.blocks)
    everything = sum(weight.numel() for weight in stream.body.parameters())
    embeddings = everything - sum(weight.numel() for block in stream.blocks for weight in block.parameters())
    matrix = max(out * columns for out, columns in shapes)
    fixed = fixed_bytes(size, embeddings=embeddings, block=block, matrix=matrix)
    if windows is None:
        return [Need(stream.device.type, fixed, 0, 0)]
    if rule.statistic is InputGram:
        fixed += gram_bytes([linear.in_features for linear in stream.linears(0).values()])
    batches = windows.batches(batch_size)
    length = max(part.ids.shape[1] for part in batches)  # without the padding that no window of a batch needs
    hidden = sum(part.ids.numel() for part in batches) * text.hidden_size * size // len(windows.ids)
    hidden += 0 if windows.tokens is None else length**2
    working = working_bytes(size, length, hidden=text.hidden_size, widest=widest)
    if getattr(stream.config, "_attn_implementation", None) == "eager":
        working += 3 * text.num_attention_heads * length**2 * size
    if offload and stream.device.type != "cpu":
        return [Need(stream.device.type, fixed, 0, working), Need("cpu", 0, hidden, 0)]
    return [Need(stream.device.type, fixed, hidden, working)]


def check(stream: BlockStream, windows: Windows | None, rule: Rule, batch_size: int, *, offload: bool) -> None:
    """Refuse at once a job that will not fit, and advise a job that would."""
    count = 0 if windows is None else len(windows.ids)
    for need in estimate(stream, windows, rule, batch_size, offload=offload):
        free = free_host_memory() if need.place == "cpu" else torch.cuda.mem_get_info(stream.device)[0]
        if need.total(count, batch_size) <= free:
            continue
        safe = int(_ADVISED * free)
        fitting = [size for size in range(1, batch_size) if count and need.total(count, size) <= safe]
        fewer = (safe - need.fixed - need.per_batched) // max(need.per_window, 1)
        if fitting:
            advice = f"a batch size of {fitting[-1]} would fit"
        elif count and fewer > 0:
            advice = f"{fewer} windows in batches of 1 would fit"
            if need.place != "cpu" and not offload:
                advice += ", or keep the hidden states on the host with --offload"
        else:
            advice = f"even the smallest job needs {need.total(min(count, 1), 1) / _GB:.2g} GB"
        windows_in_batches = f"{count} windows in batches of {batch_size} need " if count else "this model needs "
        raise SubmodelsError(
            f"not enough memory ({need.place}): {windows_in_batches}"
            f"about {need.total(count, batch_size) / _GB:.2g} GB, {free / _GB:.2g} GB are free; {advice}"
        )


def check_whole(stream: BlockStream, length: int, gradients: Gradients, pattern: Pattern, one_shot: float) -> None:
    """Say how much memory the whole model with gradients needs, and refuse a job that will not fit.

    length: of a window. one_shot: bytes for the method's pass through single blocks, before or after the whole model is
    in memory.
    """
    text, shapes, place = stream.config.get_text_config(), stream.shapes.values(), stream.device.type
    prunable = sum(out * columns for out, columns in shapes)
    need = whole_bytes(
        stream.dtype.itemsize,
        gradients.state_bytes(pattern),
        weights=sum(parameter.numel() for parameter in stream.model.parameters()),
        prunable=prunable,
        matrix=max(out * columns for out, columns in shapes),
        blocks=len(stream),
        length=length * windows_at_once(length, gradients.windows),
        hidden=text.hidden_size,
        widest=max(max(shape) for shape in shapes),
        vocabulary=text.vocab_size,
    )
    need = max(need, one_shot + gradients.held_bytes * prunable)
    free = free_host_memory() if place == "cpu" else torch.cuda.mem_get_info(stream.device)[0]
    print(f"the whole model with gradients needs about {need / _GB:.2g} GB, {free / _GB:.2g} GB are free", flush=True)
    if need > free:
        raise SubmodelsError(
            f"not enough memory ({place}): the whole model with gradients needs about {need / _GB:.2g} GB, "
            f"{free / _GB:.2g} GB are free; {SMALLER}"
        )


def free_host_memory() -> int:
    """Bytes this process may still allocate, by the limits of the machine, control groups (v2) and address space."""
    free = psutil.virtual_memory().available
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        free = min(free, limit - psutil.Process().memory_info().vms)
    for group in _control_groups():
        try:
            most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # the root group has no limit
        if most != "max":  # the kernel frees the file cache when memory runs short
            cache = sum(int(stat.get(kind, 0)) for kind in ("inactive_file", "active_file", "slab_reclaimable"))
            free = min(free, int(most) - int(used) + cache)
    return max(free, 0)


def _control_groups() -> list[Path]:
    """This process's control group and the groups around it."""
    root = Path("/sys/fs/cgroup")
    try:
        entries = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    names = [line.removeprefix("0::/") for line in entries if line.startswith("0::/")]
    return [path for name in names for path in [root / name, *(root / name).parents] if path.is_relative_to(root)]
