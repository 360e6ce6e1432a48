"""Log-likelihoods of given tokens, in memory that depends neither on the vocabulary nor on the context.

A forward pass makes logits of every token: with a vocabulary of 262,144 and a context of 8,192 tokens 8.6 GB of
float32, most of them unused. Here only tokens that are scored go through the output head, a few at a time. Batches
are counted in tokens: short texts share a batch, and a long text is read in pieces; each block reads all pieces
before the next block begins, so only the keys and values of one block are in memory.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.utils._pytree import tree_map
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from submodels.allocator import return_freed_memory
from submodels.checkpoints.decoder import Call, Decoder, run_block


@torch.inference_mode()
def score_tokens(
    decoder: Decoder, requests: Sequence[tuple[list[int], list[int]]], *, most: int, head_bytes: int
) -> list[tuple[float, bool]]:
    """Log-likelihood, in nats, of each continuation after its context, and whether each of its tokens is the likeliest.

    requests: (context, continuation) as token ids, neither empty. most: tokens of a batch or of a piece, padding
    included. head_bytes: of the float32 logits that are in memory at once. Requests that read the same tokens share a
    row.
    """
    device = decoder.model.device
    rows: dict[tuple[int, ...], list[int]] = {}
    for number, (context, continuation) in enumerate(requests):
        rows.setdefault((*context, *continuation[:-1]), []).append(number)
    results: dict[int, tuple[float, bool]] = {}
    for batch in batches(sorted(rows, key=len, reverse=True), most):
        numbers = [number for ids in batch for number in rows[ids]]
        wanted = [torch.tensor(requests[number][1], device=device) for number in numbers]
        ends = [(row, len(ids)) for row, ids in enumerate(batch) for _ in rows[ids]]
        hidden = _read(decoder, _padded(batch, device), most)
        hidden = torch.cat([hidden[row, end - len(w) : end] for (row, end), w in zip(ends, wanted, strict=True)])
        scored = _score(decoder, hidden, torch.cat(wanted), head_bytes)
        per_request = (values.split([*map(len, wanted)]) for values in scored)
        for number, values, greedy in zip(numbers, *per_request, strict=True):
            results[number] = values.sum().item(), greedy.all().item()
    return [results[number] for number in range(len(requests))]


def batches(rows: list[tuple[int, ...]], most: int) -> Iterator[list[tuple[int, ...]]]:
    """Rows, longest first, in batches of at most `most` tokens with padding; a longer row is a batch by itself."""
    while rows:
        count = max(1, most // len(rows[0]))
        yield rows[:count]
        rows = rows[count:]


def _padded(rows: list[tuple[int, ...]], device: torch.device) -> torch.Tensor:
    """Token ids int64 [rows, longest], padded on the right, which no scored token attends to."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)


def _read(decoder: Decoder, ids: torch.Tensor, most: int) -> torch.Tensor:
    """Outputs of the last block [rows, length, hidden_size] for token ids [rows, length].

    A single row of more than `most` tokens is read in pieces: block by block, all pieces one after another.
    """
    if ids.numel() <= most:
        hidden, calls = decoder.record(input_ids=ids, use_cache=False)
        for block, call in zip(decoder.blocks, calls, strict=True):
            hidden = run_block(block, hidden, call)
        return hidden
    past = [_Past() for _ in decoder.blocks]
    cache, length, pieces, masks = Cache(layers=past), ids.shape[1], [], []
    ends = [*range(length, 0, -most)][::-1]  # the first piece may be shorter than the others
    starts = [0, *ends[:-1]]
    for start, end in [*zip(starts, ends, strict=True)][::-1]:
        _set_length(past, start)
        hidden, calls = decoder.record(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True)
        pieces.insert(0, (hidden, _share_masks(calls, masks)))
    hidden, calls = (list(each) for each in zip(*pieces, strict=True))
    for index, block in enumerate(decoder.blocks):
        for piece, start in enumerate(starts):
            _set_length(past, start)
            hidden[piece] = run_block(block, hidden[piece], calls[piece][index])
        past[index].drop()
    return torch.cat(hidden, dim=1)


def _share_masks(calls: list[Call], known: list[torch.Tensor]) -> list[Call]:
    """The calls of a piece with attention masks that are parts of `known` masks, to which new masks are added.

    A mask says which of the tokens so far each token of the piece sees, [..., piece, so far]. Causal masks, with or
    without a sliding window, depend only on the distance, so an earlier piece's mask is the end of a later mask, and
    the masks of all pieces, which would grow with the square of the text, take only the memory of the last mask.
    """
    shared: dict[int, torch.Tensor] = {}

    def share(leaf):
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.bool or leaf.ndim < 2:
            return leaf
        if id(leaf) not in shared:
            rows, columns = leaf.shape[-2:]
            ends = (mask[..., -rows:, -columns:] for mask in known if mask.shape[-1] >= columns)
            shared[id(leaf)] = next((end for end in ends if torch.equal(end, leaf)), leaf)
            if shared[id(leaf)] is leaf:
                known.append(leaf)
        return shared[id(leaf)]

    return tree_map(share, calls)


class _Past(DynamicLayer):
    """The keys and values of a block; it knows how many there will be when the block is called."""

    length = 0

    def get_seq_length(self) -> int:
        return self.length

    def drop(self) -> None:
        self.keys = self.values = None
        self.is_initialized = False


def _set_length(past: list[_Past], length: int) -> None:
    for layer in past:
        layer.length = length


def _score(
    decoder: Decoder, hidden: torch.Tensor, tokens: torch.Tensor, head_bytes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-likelihood float32 [count] of each token after an output of the last block [count, hidden_size], and bool
    [count], whether it is the likeliest."""
    at_once = max(1, head_bytes // (4 * decoder.model.config.get_text_config().vocab_size))
    values, greedy = [], []
    for states, wanted in zip(hidden.split(at_once), tokens.split(at_once), strict=True):
        logits = decoder.logits(states).float()
        largest, likeliest = logits.max(-1, keepdim=True)
        greedy.append(likeliest.squeeze(-1) == wanted)
        chosen = logits.gather(-1, wanted[:, None]) - largest
        values.append((chosen - logits.sub_(largest).exp_().sum(-1, keepdim=True).log()).squeeze(-1))
        del logits
        if hidden.device.type == "cpu":
            return_freed_memory()
    return torch.cat(values), torch.cat(greedy)
