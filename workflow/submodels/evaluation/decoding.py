"""Many texts written by one model at once, in a batch that stays full.

A row that ends makes room for a waiting prompt. Prompts are read ahead of their rows, several at once; the keys and
values of one prompt serve all its samples, and a beginning that all prompts share is read once.
"""

from collections.abc import Callable, Iterator
from inspect import signature
from itertools import groupby
from typing import NamedTuple

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from submodels.checkpoints.decoder import Decoder
from submodels.evaluation.drawing import draw, uniform_numbers
from submodels.evaluation.likelihoods import as_added, batches, padded, reach, shared_beginning
from submodels.evaluation.live_rows import LiveRows, Read

_SHARED = 8  # tokens; a shorter beginning of all prompts is not worth a forward pass for itself


class Writing(NamedTuple):
    """A text to be written: its prompt, the seed of its draws, and the most new tokens."""

    prompt: list[int]
    seed: int
    room: int


class Batch:
    """The texts that are written at once. `live` and `waiting`: how many are being written, and have not begun.

    rows: texts at once. tokens: of the prompts read at once, padding included. ended: (number of a text, its tokens so
    far) -> whether it has ended. settings: `temperature`, `top_k` and `top_p` of `draw`; None: greedy.
    """

    def __init__(
        self,
        decoder: Decoder,
        texts: list[Writing],
        *,
        rows: int,
        tokens: int,
        ended: Callable[[int, list[int]], bool],
        settings: dict | None = None,
    ):
        self._decoder, self._texts, self._most, self._ended, self._settings = decoder, texts, rows, ended, settings
        longest, longest_prompt = max(len(t.prompt) + t.room for t in texts), max(len(t.prompt) for t in texts)
        self._cache = LiveRows(min(rows, len(texts)), longest, longest_prompt, len(decoder.blocks))
        self._reads = _read_ahead(decoder, [text.prompt for text in texts], tokens)
        self._rows: list[_Row] = []  # those of the cache
        has_positions = "position_ids" in signature(decoder.body.forward).parameters  # else they follow from the mask
        self._reach = reach(decoder.model.config) if has_positions else 0
        self.waiting = len(texts)

    @property
    def live(self) -> int:
        return len(self._rows)

    @torch.inference_mode()
    def write(self) -> Iterator[dict[int, list[int]]]:
        """The tokens of texts by their number, as the texts end."""
        while self.live or self.waiting:
            while self.waiting and self.live < self._most:
                if finished := self._take(*self._begin()):
                    yield finished
            if self.live and (finished := self._take(0, self._step())):
                yield finished

    def _begin(self) -> tuple[int, torch.Tensor]:
        """Fill the free rows with waiting prompts: the first of these rows, and the logits after each prompt."""
        first, logits = self.live, []
        while self.waiting and self.live < self._most:
            number, read = next(self._reads)
            text = self._texts[number]
            self._cache.add(read)
            self._rows.append(_Row(number, [], self._settings and uniform_numbers(text.seed, text.room)))
            self.waiting -= 1
            logits.append(read.logits)
        return first, torch.stack(logits)

    def _step(self) -> torch.Tensor:
        """Logits after the last token of every row, [rows, vocabulary]."""
        seen, positions = self._cache.step()
        tokens = torch.tensor([[row.tokens[-1]] for row in self._rows]).to(seen.device)
        # Within every block's window the mask is made once, in the form that all of them would make of it.
        within = seen.shape[1] <= self._reach
        mask = as_added(seen[:, None, None], self._decoder.model.dtype) if within else seen.long()
        given = {"attention_mask": mask, "position_ids": positions, "past_key_values": self._cache, "use_cache": True}
        return self._decoder.model(input_ids=tokens, logits_to_keep=1, **given).logits[:, -1]

    def _take(self, first: int, logits: torch.Tensor) -> dict[int, list[int]]:
        """Draw a token for every row from `first` on; the texts that end with it leave their rows."""
        finished = {}
        for place, token in reversed([*enumerate(self._draw(self._rows[first:], logits), start=first)]):
            row = self._rows[place]
            row.tokens.append(token)
            if len(row.tokens) == self._texts[row.number].room or self._ended(row.number, row.tokens):
                finished[row.number] = row.tokens
                self._cache.remove(place)
                last = self._rows.pop()
                if last is not row:
                    self._rows[place] = last
        return finished

    def _draw(self, rows: list["_Row"], logits: torch.Tensor) -> list[int]:
        if self._settings is None:
            return draw(logits).tolist()
        numbers = torch.stack([row.uniform[len(row.tokens)] for row in rows])
        return draw(logits, numbers.to(logits.device), **self._settings).tolist()


class _Row(NamedTuple):
    """A text being written: its number, its new tokens, and the numbers that draw them, None for greedy texts."""

    number: int
    tokens: list[int]
    uniform: torch.Tensor | None


def _read_ahead(decoder: Decoder, prompts: list[list[int]], tokens: int) -> Iterator[tuple[int, Read]]:
    """(number, the prompt read) of every prompt, longest first; equal prompts follow each other and are read once."""
    order = sorted(range(len(prompts)), key=lambda number: (-len(prompts[number]), prompts[number]))
    numbers = {prompt: [*same] for prompt, same in groupby(order, key=lambda number: tuple(prompts[number]))}
    first, last = min(numbers), max(numbers)
    shared, before = first[: shared_beginning(first[:-1], last[:-1])], None  # of each prompt at least a token is left
    if len(numbers) > 1 and len(shared) >= _SHARED:
        [before] = read_prompts(decoder, [shared], tokens)
    else:
        shared = ()
    rests = [prompt[len(shared) :] for prompt in numbers]
    for batch in batches(rests, tokens):
        for rest, read in zip(batch, read_prompts(decoder, batch, tokens, before), strict=True):
            for number in numbers[(*shared, *rest)]:
                yield number, read


def read_prompts(
    decoder: Decoder, prompts: list[tuple[int, ...]], tokens: int, before: Read | None = None
) -> list[Read]:
    """The prompts, each after the beginning `before`; a prompt of more than `tokens` tokens comes alone, in pieces."""
    layers = [DynamicLayer() for _ in decoder.blocks]
    if before is not None:
        for layer, pair in zip(layers, before.blocks, strict=True):
            layer.lazy_initialization(*pair)
            layer.keys, layer.values = (tensor.expand(len(prompts), *tensor.shape) for tensor in pair)
    ids = padded(prompts, decoder.model.device)
    for piece in ids.split(tokens, dim=1):
        hidden = decoder.read(input_ids=piece, past_key_values=Cache(layers=layers), use_cache=True)
    unread, rows = ids.shape[1] - hidden.shape[1], torch.arange(len(prompts))
    ends = torch.tensor([len(prompt) for prompt in prompts])
    logits = decoder.logits(hidden[rows, ends - 1 - unread])
    ends = ends + (0 if before is None else before.length)
    return [
        Read([(layer.keys[row, :, :end], layer.values[row, :, :end]) for layer in layers], logits[row])
        for row, end in zip(rows.tolist(), ends.tolist(), strict=True)
    ]
