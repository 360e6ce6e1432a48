"""Pruning block by block: each block is scored on the outputs of the pruned blocks before it."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import nn
from tqdm import tqdm

from submodels.allocator import return_freed_memory
from submodels.errors import SubmodelsError
from submodels.pruning.blocks import Batch, BlockStream
from submodels.pruning.input_statistics import EverythingSeen, Observer
from submodels.pruning.memory import is_out_of_memory
from submodels.pruning.patterns import Pattern
from submodels.pruning.rules import Pruned, Rule


def prune_blocks(
    stream: BlockStream, batches: list[Batch], rule: Rule, pattern: Pattern, seed: int
) -> Iterator[tuple[str, Pruned]]:
    """Yield (parameter name, `Pruned`) for every linear layer of every block, in the model's order.

    Per block: run the dense block over all batches and collect the statistic of every linear layer, prune them all,
    then run the pruned block to make the inputs of the next block. `batches` are updated in place; a rule without a
    statistic needs none. Updated weights are yielded in the checkpoint's dtype, and the next block's inputs are
    computed with that precision: they are those of the sub-model as it will be loaded.
    """
    blocks = tqdm(stream, desc="prune", unit="block", mininterval=1, total=len(stream))
    for index, block in enumerate(blocks):
        try:
            yield from prune_block(stream, index, block, batches, rule, pattern, seed)
            if index < len(stream) - 1:
                for batch in batches:
                    batch.advance(block, index, stream.device)
            return_freed_memory()
            continue
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: until here the exception kept the failed computation's memory.
        raise SubmodelsError(
            f"{stream.name(index)}: out of memory; {what_would_fit(stream, index, block, batches, rule)}"
        )


def prune_block(
    stream: BlockStream, index: int, block: nn.Module, batches: list[Batch], rule: Rule, pattern: Pattern, seed: int
) -> Iterator[tuple[str, Pruned]]:
    """Score and prune the linear layers of one block."""
    linears = stream.linears(index)
    statistics = collect(stream, index, block, batches, rule)
    for name, linear in linears.items():
        parameter = f"{stream.name(index)}.{name}.weight"
        try:
            pruned = rule.prune(linear.weight, statistics.get(name), pattern, layer_seed(seed, parameter))
        except SubmodelsError as error:
            raise SubmodelsError(f"{parameter}: {error}") from error
        if pruned.weight is not None:
            pruned = Pruned(pruned.kept, pruned.weight.to(linear.weight.dtype).to(stream.stored))
            if not torch.isfinite(pruned.weight).all():
                narrow = min(linear.weight.dtype, stream.stored, key=lambda dtype: torch.finfo(dtype).max)
                raise SubmodelsError(
                    f"{parameter}: updated weights beyond the range of {narrow}; save the model in bfloat16 or "
                    "float32, and compute in one of them (--dtype)"
                )
            linear.weight.copy_(pruned.weight)
        linear.weight.masked_fill_(~pruned.kept, 0)
        yield parameter, pruned


def what_would_fit(stream: BlockStream, index: int, block: nn.Module, batches: list[Batch], rule: Rule) -> str:
    """Advice after running out of memory: the batch size is found by trying."""
    full = len(batches[0].hidden) if batches else 0
    for size in (full >> shift for shift in range(full.bit_length())):
        try:
            collect(stream, index, block, [batches[0].part(size)], rule)
        except (RuntimeError, MemoryError):
            continue
        if size < full:
            return f"a batch size of {size} would fit"
        break  # the forward pass did not fail
    return "no smaller batch would help: use fewer or shorter windows, --offload, or a device with more memory"


def layer_seed(seed: int, parameter: str) -> int:
    """The seed of one parameter's random choices: independent of other parameters and of the order of work."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{parameter}".encode()).digest()[:7])


def collect(
    stream: BlockStream, index: int, block: nn.Module, batches: list[Batch], rule: Rule
) -> dict[str, torch.Tensor]:
    """The rule's statistic of every linear layer of a dense block; empty for a rule without a statistic."""
    if rule.statistic is None:
        return {}
    linears = stream.linears(index)
    with Observer(rule.statistic, linears) as observer:
        for batch in batches:
            observer.announce(batch.hidden.shape[:2], batch.counted)
            with suppress(EverythingSeen):
                batch.forward(block, index, stream.device)
    statistics = observer.results()
    for name in linears:
        if name not in statistics:
            raise SubmodelsError(
                f"{stream.name(index)}.{name}: saw no calibration token; this architecture is not supported"
            )
        if not torch.isfinite(statistics[name]).all():
            raise SubmodelsError(
                f"{stream.name(index)}.{name}: NaN or infinite activations; use --dtype bfloat16 or float32 (float16 "
                "overflows in some models), and check the base model"
            )
    return statistics
