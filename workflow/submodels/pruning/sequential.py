"""Pruning block by block: each block is scored on what the pruned blocks before it produce."""

from collections.abc import Iterator

import torch
from torch import nn
from tqdm import tqdm

from submodels.errors import SubmodelsError
from submodels.pruning.blocks import Batch, BlockStream, run_block
from submodels.pruning.patterns import Pattern
from submodels.pruning.rules import Rule


def prune_blocks(
    stream: BlockStream, batches: list[Batch], rule: Rule, pattern: Pattern
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (parameter name, mask) of every linear layer of every block, in the model's order.

    Per block: run the dense block over all batches and collect the statistic of every linear layer, prune them all,
    then run the pruned block to make the inputs of the next. `batches` are moved along in place; a rule
    without a statistic needs none.
    """
    for index in tqdm(range(len(stream)), desc="prune", unit="block", mininterval=1):
        with stream.block(index) as block:
            linears = stream.linears(index)
            statistics = collect(block, index, stream.name(index), linears, batches, rule)
            for name, linear in linears.items():
                kept = rule.prune(linear.weight, statistics.get(name), pattern)
                # Not in place: the weight may be a memory-mapped view of the checkpoint.
                linear.weight = nn.Parameter(linear.weight.masked_fill(~kept, 0), requires_grad=False)
                yield f"{stream.name(index)}.{name}.weight", kept
            if index < len(stream) - 1:
                for batch in batches:
                    batch.hidden = run_block(block, batch, index)


def collect(
    block: nn.Module,
    index: int,
    block_name: str,
    linears: dict[str, nn.Linear],
    batches: list[Batch],
    rule: Rule,
) -> dict[str, torch.Tensor]:
    """The rule's statistic of every linear layer of a dense block; empty for a rule without one."""
    if rule.statistic is None:
        return {}
    with rule.statistic(linears) as statistic:
        for batch in batches:
            statistic.announce(batch.hidden.shape[:2], batch.tokens)
            run_block(block, batch, index)
    result = statistic.result()
    for name in linears:
        if name not in result:
            raise SubmodelsError(f"{block_name}.{name}: saw no calibration token; this architecture is not supported")
        if not torch.isfinite(result[name]).all():
            raise SubmodelsError(
                f"{block_name}.{name}: NaN or infinite activations; use --dtype bfloat16 or float32 (float16 overflows "
                "in some models), and check the base model"
            )
    return result
