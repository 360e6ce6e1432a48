"""MaskLLM: the training of masks, around the pure functions of `criteria.maskllm`."""

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from submodels.errors import SubmodelsError
from submodels.pruning.criteria.maskllm import annealed, candidates, gumbel, hard_masks, relaxed_masks, with_prior
from submodels.pruning.methods import METHODS, get_method
from submodels.pruning.need import windows_at_once
from submodels.pruning.patterns import NofM
from submodels.pruning.rules import Pruned, Rule
from submodels.pruning.sequential import layer_seed, prune_blocks
from submodels.pruning.whole_model import EndToEnd, Job, n_targets, on_device, window_loss
from submodels.pruning.windows import Windows

# The recipe of the paper's released scripts; departures are listed in `criteria.maskllm`. The reward is 10 times the
# share of the squares that is kept, about as much as theirs is for a model of 7 billion parameters.
WINDOWS = METHODS["maskllm"].gradients.windows
SCALE, TEMPERATURE, REWARD = (100.0, 500.0), (4.0, 0.05), (10.0, 0.0)  # from the first step to the last, linear
STEPS, RATE, LAST_RATE, DECAY, BETAS, EPSILON, CLIP = 2000, 5e-4, 5e-5, 0.1, (0.9, 0.95), 1e-5, 1.0
SPREAD, PRIOR = 0.01, 3.0  # of the first logits, and how strongly the prior mask moves them


class LearnedMask:
    """The mask of one linear layer; from `begin` on, the layer multiplies its weight by it.

    The layer sees the mask as a tensor of its own with a gradient, `_mask`: it is computed once a step, though blocks
    run again in the backward pass, and `finish` passes the gradient on to the logits.
    """

    def __init__(self, name: str, linear: nn.Linear, pattern: NofM, seed: int, prior: torch.Tensor | None):
        out_features, in_features = linear.weight.shape
        if in_features % pattern.m:
            raise SubmodelsError(f"{name}: {in_features} inputs are no multiple of {pattern.m}; take another pattern")
        device = linear.weight.device
        self._linear, self._seed, self._dice = linear, layer_seed(seed, name), torch.Generator(device)
        self._choices = candidates(pattern.m - pattern.n, pattern.m).to(device)
        groups = out_features * in_features // pattern.m
        self._dice.manual_seed(self._seed)
        logits = torch.randn(len(self._choices), groups, generator=self._dice, device=device) * SPREAD
        if prior is not None:
            logits = with_prior(logits, prior.reshape(groups, pattern.m).to(device), self._choices, PRIOR)
        self.logits = nn.Parameter(logits)
        linear.forward = self._forward

    def begin(self, step: int, scale: float, temperature: float) -> None:
        """Draw the relaxed mask of a step."""
        noise = gumbel(self.logits.shape, self._dice.manual_seed(self._seed + step + 1))
        self._relaxed = relaxed_masks(self.logits, noise, self._choices, scale, temperature)
        weight = self._linear.weight
        self._mask = self._relaxed.detach().reshape(weight.shape).to(weight.dtype).requires_grad_(True)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self._linear.weight * self._mask, self._linear.bias)

    def finish(self, reward: float) -> None:
        """The gradient of the logits, for the gradient of the loss by the mask, and a reward for the squares that are
        kept: loss - reward * sum((W * mask) ** 2)."""
        kept = self._linear.weight.float().square() * self._mask.detach().float()
        gradient = self._mask.grad.float() - 2 * reward * kept
        self._relaxed.backward(gradient.reshape(self._relaxed.shape))
        self._relaxed = self._mask = None

    def kept(self) -> torch.Tensor:
        """(out_features, in_features) bool: the mask that was learned."""
        return hard_masks(self.logits.detach(), self._choices).reshape(self._linear.weight.shape)


def learn_masks(job: Job) -> Iterator[tuple[str, Pruned]]:
    """Learn the masks of all linear layers on `tokens` tokens of the windows; yield them in the model's order."""
    saved = job.progress.load()
    prior = {} if saved else _prior(job)  # a continued job has its logits already
    masks = {
        name: LearnedMask(name, linear, job.pattern, job.seed, prior.pop(name, None))
        for name, linear in job.linears.items()
    }
    logits = {name: mask.logits for name, mask in masks.items()}
    optimizer = torch.optim.AdamW(logits.values(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    steps, first = step_count(job.windows, job.settings.tokens), 0
    if saved:
        tensors, first = saved
        _restore(optimizer, logits, tensors)
    squares = sum(float(linear.weight.float().square().sum()) for linear in job.linears.values())
    device = next(iter(logits.values())).device
    bar = tqdm(range(first, steps), desc="masks", unit="step", total=steps, initial=first, mininterval=1)
    for step in bar:
        done = step / max(steps - 1, 1)
        for mask in masks.values():
            mask.begin(step, annealed(*SCALE, done), annealed(*TEMPERATURE, done))
        loss = add_gradients(job.model, on_device(drawn_windows(job.windows, step, job.seed), device))
        for mask in masks.values():
            mask.finish(annealed(*REWARD, done) / squares)
        norm = torch.nn.utils.clip_grad_norm_(logits.values(), CLIP)
        if not math.isfinite(loss) or not torch.isfinite(norm):
            raise SubmodelsError(
                f"step {step}: the loss is {loss}, the norm of its gradient {norm.item()}; check the base model, or "
                "change --dtype"
            )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(done, steps)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        bar.set_postfix(loss=f"{loss:.3f}")
        job.progress.save_if_due(lambda: _state(optimizer, logits), step + 1)
    for name, mask in masks.items():
        yield name, Pruned(mask.kept())


def add_gradients(model: nn.Module, windows: Windows) -> float:
    """Mean loss over all tokens of the windows, after a backward pass: as many windows at once as need allows."""
    total, found = n_targets(windows), 0.0
    for part in windows.batches(windows_at_once(windows.ids.shape[1], WINDOWS)):
        loss = window_loss(model, part) * (n_targets(part) / total)
        loss.backward()
        found += loss.item()
    return found


def _prior(job: Job) -> dict[str, torch.Tensor]:
    """The masks of the method that training begins with, by parameter."""
    method = get_method(job.settings.prior)
    with torch.inference_mode():
        batches = job.embed(job.windows) if method.needs_calibration else []
        pruned = prune_blocks(job.stream, batches, method.rule(), job.pattern, job.seed)
        return {name: result.kept for name, result in pruned}


def step_count(windows: Windows, tokens: int) -> int:
    """How many steps of `WINDOWS` windows hold about `tokens` tokens; at least one."""
    return max(1, round(tokens * len(windows.ids) / (windows.n_tokens * WINDOWS)))


def drawn_windows(windows: Windows, step: int, seed: int) -> Windows:
    """The windows of a step; every pass over all windows takes a new random order."""
    count, numbers = len(windows.ids), range(step * WINDOWS, (step + 1) * WINDOWS)
    orders = {
        turn: torch.randperm(count, generator=torch.Generator().manual_seed(layer_seed(seed, f"pass {turn}")))
        for turn in {number // count for number in numbers}
    }
    return windows.take(torch.stack([orders[number // count][number % count] for number in numbers]))


def learning_rate(done: float, steps: int) -> float:
    """A half cosine from `RATE` to `LAST_RATE`, for the share of the training that is done.

    A training of fewer than the recipe's `STEPS` must move the logits as far in less time: its rates are larger, by the
    square root of what is missing.
    """
    scale = max(1.0, math.sqrt(STEPS / steps))
    return scale * (LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2)


def _state(optimizer: torch.optim.Optimizer, logits: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """Logits and the optimiser's moments, by name."""
    state = {f"logits.{name}": tensor for name, tensor in logits.items()}
    for name, tensor in logits.items():
        state |= {f"{key}.{name}": value for key, value in optimizer.state[tensor].items()}
    return state


def _restore(optimizer: torch.optim.Optimizer, logits: dict[str, nn.Parameter], saved: dict[str, torch.Tensor]) -> None:
    for name, tensor in logits.items():
        with torch.no_grad():
            tensor.copy_(saved[f"logits.{name}"])
        keys = {"step", "exp_avg", "exp_avg_sq"}
        optimizer.state[tensor] = {
            key: saved[f"{key}.{name}"].to("cpu" if key == "step" else tensor.device) for key in keys
        }


def trained_tokens(job: Job) -> int:
    """The tokens of the prior and of all steps."""
    count = step_count(job.windows, job.settings.tokens) * WINDOWS
    prior = job.windows.n_tokens if get_method(job.settings.prior).needs_calibration else 0
    return prior + round(count * job.windows.n_tokens / len(job.windows.ids))


def _one_shot(job: Job) -> tuple[Windows | None, Rule]:
    method = get_method(job.settings.prior)
    return job.windows if method.needs_calibration else None, method.rule()


MASKLLM = EndToEnd(learn_masks, trained_tokens, _one_shot)
