"""D-Pruner: gradients of calibration windows, one window at a time, and the masks that follow from them."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn
from tqdm import tqdm

from submodels.errors import SubmodelsError
from submodels.pruning import selection
from submodels.pruning.criteria.dpruner import domain_importance, general_importance, normalised_ranks
from submodels.pruning.criteria.sparsegpt import inverse_factor
from submodels.pruning.input_statistics import InputGram
from submodels.pruning.progress import Progress
from submodels.pruning.rules import Pruned, Rule, select
from submodels.pruning.sequential import collect
from submodels.pruning.whole_model import EndToEnd, Job, on_device, window_loss
from submodels.pruning.windows import Windows

_GRAM = Rule(InputGram, None)  # only its statistic is collected


def mean_importance(
    model: nn.Module, linears: dict[str, nn.Linear], windows: Windows, progress: Progress
) -> dict[str, torch.Tensor]:
    """Importance of every weight for the windows, the mean of `domain_importance`, float32, by parameter.

    A gradient is used and freed as soon as it is there, so that the gradients of all weights are never in memory
    together.
    """
    device = next(model.parameters()).device
    totals = {name: torch.zeros_like(linear.weight, dtype=torch.float32) for name, linear in linears.items()}
    done = 0
    if saved := progress.load():
        tensors, done = saved
        for name, total in totals.items():
            total.copy_(tensors[name])

    def add(name: str, weight: nn.Parameter) -> None:
        totals[name] += domain_importance(weight.detach(), weight.grad)
        weight.grad = None

    for name, linear in linears.items():
        linear.weight.requires_grad_(True)
        linear.weight.register_post_accumulate_grad_hook(partial(add, name))
    parts = windows.batches(1)
    bar = tqdm(parts[done:], desc="gradients", unit="window", total=len(parts), initial=done, mininterval=1)
    for number, part in enumerate(bar, start=done):
        loss = window_loss(model, on_device(part, device))
        if not torch.isfinite(loss):
            raise SubmodelsError(f"window {number}: the loss is {loss.item()}; check the base model, or change --dtype")
        loss.backward()
        bar.set_postfix(loss=f"{loss.item():.3f}")
        progress.save_if_due(lambda: totals, number + 1)
    for name, total in totals.items():
        total /= len(parts)
        if not torch.isfinite(total).all():
            raise SubmodelsError(f"{name}: NaN or infinite gradients; use --dtype bfloat16 or float32")
    return totals


def _prune(job: Job, unstructured: Callable[[torch.Tensor, float], torch.Tensor]) -> Iterator[tuple[str, Pruned]]:
    """Importance for the domain of the windows, plus general importance on the windows of a generic set, by ranks
    within the group that `unstructured` compares."""
    per_row = unstructured is selection.per_row
    domain = mean_importance(job.model, job.linears, job.windows, job.progress)
    job.release()
    for name, general in _general_importance(job):
        score = normalised_ranks(domain.pop(name), per_row)
        score += job.settings.general_weight * normalised_ranks(general, per_row)
        yield name, Pruned(select(score, job.pattern, unstructured))


def _general_importance(job: Job) -> Iterator[tuple[str, torch.Tensor]]:
    """General importance of every weight, in the model's order: block by block, on the outputs of dense blocks."""
    stream = job.stream
    batches = job.embed(job.settings.general)
    for index, block in enumerate(tqdm(stream, desc="general", unit="block", total=len(stream), mininterval=1)):
        grams = collect(stream, index, block, batches, _GRAM)
        factors: dict[int, torch.Tensor] = {}  # layers that read the same tensor share the Gram matrix
        for name, linear in stream.linears(index).items():
            gram = grams[name]
            if id(gram) not in factors:
                factors = {id(gram): inverse_factor(gram)}
            importance = general_importance(linear.weight, factors[id(gram)])
            yield f"{stream.name(index)}.{name}.weight", importance.masked_fill_(gram.diagonal() == 0, 0)
        for batch in batches:
            batch.advance(block, index, stream.device)


def _tokens(job: Job) -> int:
    """The tokens of both sets."""
    return job.windows.n_tokens + job.settings.general.n_tokens


def _one_shot(job: Job) -> tuple[Windows, Rule]:
    return job.settings.general, _GRAM


DPRUNER = EndToEnd(partial(_prune, unstructured=selection.per_row), _tokens, _one_shot)
DPRUNER_MATRIX = EndToEnd(partial(_prune, unstructured=selection.per_matrix), _tokens, _one_shot)
