"""A causal language model taken apart into its decoder blocks and the layers before and after them.

It uses only the structure, with or without weights in memory, for every architecture whose blocks are in one list.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from submodels.errors import SubmodelsError

Call = tuple[list, dict]  # the arguments that follow the hidden states when the model calls a block


def find_body(model: nn.Module) -> tuple[str, nn.Module]:
    """Path and module that computes hidden states from token ids: of a larger model only its language model."""
    body = model.base_model if model.config.get_text_config() is model.config else model.get_decoder()
    return next(path for path, module in model.named_modules() if module is body), body


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Path and list of the decoder blocks: the only outermost ModuleList of equal-class layers, one a hidden layer."""
    layers = model.config.get_text_config().num_hidden_layers
    found: dict[str, nn.ModuleList] = {}
    prefix, body = find_body(model)
    for path, module in body.named_modules(prefix=prefix):
        nested = any(path.startswith(f"{outer}.") for outer in found)
        if (
            isinstance(module, nn.ModuleList)
            and not nested
            and len(module) == layers
            and len({*map(type, module)}) == 1
        ):
            found[path] = module
    if len(found) != 1:
        raise SubmodelsError(
            f"{type(model).__name__}: expected one list of {layers} decoder blocks of one class, "
            f"found {', '.join(found) or 'none'}; this architecture is not supported"
        )
    return next(iter(found.items()))


def find_linears(block: nn.Module, name: str) -> dict[str, nn.Linear]:
    """The block's linear layers by name within the block; an error if other layers hold matrices too.

    Fused experts or transposed convolutions would silently stay dense, and the sub-model's sparsity would be false.
    """
    linears = {path: module for path, module in block.named_modules() if isinstance(module, nn.Linear)}
    prunable = {f"{path}.weight" for path in linears}
    if others := [path for path, weight in block.named_parameters() if weight.ndim > 1 and path not in prunable]:
        raise SubmodelsError(
            f"{name}: {', '.join(others)}: not weights of linear layers; this architecture is not supported"
        )
    return linears


def run_block(block: nn.Module, hidden: torch.Tensor, call: Call) -> torch.Tensor:
    """Output of a decoder block: hidden states [rows, length, hidden_size], in and out."""
    args, kwargs = call
    output = block(hidden, *args, **kwargs)
    return output[0] if isinstance(output, tuple) else output


class Decoder:
    """A model, the module that computes its hidden states (`body`), and its decoder blocks, with their paths."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.body_path, self.body = find_body(model)
        self.path, self.blocks = find_blocks(model)
        self._tuples = False  # whether blocks return tuples; found out at the first call

    def record(self, **inputs) -> tuple[torch.Tensor, list[Call]]:
        """The arguments with which the model calls its blocks, without running them, for inputs of its forward pass.

        The hidden states before the first block [rows, length, hidden_size], and each block's further arguments: blocks
        may be called differently (sliding-window and full attention in turn).
        """
        first, calls = [], []

        def recorder(*args, **kwargs):
            hidden, *args = args or [kwargs.pop("hidden_states")]
            if first and hidden.shape != first[0].shape:
                raise _TakesFirst
            first.append(hidden)
            calls.append((args, kwargs))
            if len(calls) == len(self.blocks):
                raise _Recorded
            return self._returned(hidden)

        try:
            with self._blocks_replaced(recorder):
                self.body(**inputs)
        except _Recorded:
            pass
        except _TakesFirst:
            if self._tuples:
                raise SubmodelsError(f"{self.path}: the blocks' inputs change shape; it is not supported") from None
            self._tuples = True
            return self.record(**inputs)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError) as error:
            raise SubmodelsError(
                f"{type(self.model).__name__} cannot be run up to its blocks ({error}); it is not supported"
            ) from error
        return first[0], calls

    def read(self, **inputs) -> torch.Tensor:
        """Outputs of the last block [rows, length, hidden_size] for inputs of the model's forward pass."""
        hidden, calls = self.record(**inputs)
        for block, call in zip(self.blocks, calls, strict=True):
            hidden = run_block(block, hidden, call)
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [count, vocabulary] of outputs of the last block [count, hidden_size], after at least one `record`.

        The model itself computes them, so a last norm, a projection, a bias, a scale and a cap of logits are applied as
        in its forward pass.
        """
        ids = torch.zeros(len(hidden), 1, dtype=torch.long, device=hidden.device)
        with self._blocks_replaced(lambda *args, **kwargs: self._returned(hidden[:, None])):
            return self.model(input_ids=ids, use_cache=True).logits[:, 0]

    def _returned(self, hidden: torch.Tensor):
        return (hidden,) if self._tuples else hidden

    @contextmanager
    def _blocks_replaced(self, forward: Callable) -> Iterator[None]:
        for block in self.blocks:
            block.forward = forward
        try:
            yield
        finally:
            for block in self.blocks:
                block.__dict__.pop("forward", None)


class _Recorded(Exception):
    """All blocks have been called; the rest of the forward pass is not needed."""


class _TakesFirst(Exception):
    """The model takes the first element of a block's result: it expects a tuple, not a tensor."""
