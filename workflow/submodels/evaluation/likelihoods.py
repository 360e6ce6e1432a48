"""Log-likelihoods of given tokens, in memory that depends neither on the vocabulary nor on the context.

A forward pass makes logits of every token: with a vocabulary of 262,144 and a context of 8,192 tokens 8.6 GB of
float32, most of them unused. Here only tokens that are scored go through the output head, a few at a time. Batches
are counted in tokens: short texts share a batch, and a long text is read in pieces; each block reads all pieces
before the next block begins, so only the keys and values of one block are in memory.

Texts that begin alike, as the choices after one query do, are read as a trunk with branches: the beginning once, and
after it every ending, which sees the beginning and itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils._pytree import tree_map
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from submodels.allocator import return_freed_memory
from submodels.checkpoints.decoder import Call, Decoder, run_block
from submodels.errors import SubmodelsError

_TREE = 1024  # the most tokens of a trunk with its branches, whose mask takes the square of it

Tokens = tuple[int, ...]


def score_tokens(*arguments, **options) -> list[tuple[float, bool]]:
    """Log-likelihood, in nats, of each continuation after its context, and whether each of its tokens is the likeliest.

    The arguments are those of `token_likelihoods`.
    """
    scored = token_likelihoods(*arguments, **options)
    return [(values.sum().item(), greedy.all().item()) for values, greedy in scored]


@torch.inference_mode()
def token_likelihoods(
    decoder: Decoder,
    requests: Sequence[tuple[list[int], list[int]]],
    *,
    most: int,
    head_bytes: int,
    branches: bool = False,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each continuation after its context, for each token, its log-likelihood in nats, float32 [tokens], and whether
    it is the likeliest, bool [tokens].

    requests: (context, continuation) as token ids, neither empty. most: tokens of a batch or of a piece, padding
    included. head_bytes: of the float32 logits that are in memory at once. branches: whether texts that begin alike
    share the beginning (`reads_branches`); requests that read the same tokens always share them.
    """
    device = decoder.model.device
    rows: dict[Tokens, list[int]] = {}
    for number, (context, continuation) in enumerate(requests):
        rows.setdefault((*context, *continuation[:-1]), []).append(number)
    longest = min(_TREE, most, reach(decoder.model.config)) if branches else 0
    results: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    trees = sorted(_trees(rows, longest), key=len, reverse=True)
    # A mask of branches has no window, which single texts may be longer than.
    single, branched = ([tree for tree in trees if (len(tree.rows) > 1) == several] for several in (False, True))
    for batch in (*batches(single, most), *batches(branched, most)):
        hidden = _read_trees(decoder, batch, most)
        numbers, places = [], []
        for tree, states in zip(batch, hidden, strict=True):
            for row in tree.rows:
                numbers += rows[row]
                of_row = tree.places(row)
                places += (states[of_row[len(row) - len(requests[number][1]) :]] for number in rows[row])
        wanted = [torch.tensor(requests[number][1], device=device) for number in numbers]
        scored = _score(decoder, torch.cat(places), torch.cat(wanted), head_bytes)
        per_request = (values.split([*map(len, wanted)]) for values in scored)
        results |= {number: scored for number, *scored in zip(numbers, *per_request, strict=True)}
    return [results[number] for number in range(len(requests))]


@dataclass(frozen=True)
class _Tree:
    """Different texts, in the order of their tokens, and how many tokens they begin with alike (`trunk`)."""

    rows: tuple[Tokens, ...]
    trunk: int

    def __len__(self) -> int:
        return self.trunk + sum(len(row) - self.trunk for row in self.rows)

    def tokens(self) -> tuple[list[int], list[int], list[int]]:
        """The trunk and every branch one after the other: token ids, their positions, and the branch they are of (0:
        the trunk)."""
        ids, positions, branches = list(self.rows[0][: self.trunk]), [*range(self.trunk)], [0] * self.trunk
        for number, row in enumerate(self.rows, start=1):
            ids += row[self.trunk :]
            positions += range(self.trunk, len(row))
            branches += [number] * (len(row) - self.trunk)
        return ids, positions, branches

    def places(self, row: Tokens) -> list[int]:
        """Where each token of a row lies among `tokens`."""
        before = self.rows[: self.rows.index(row)]
        start = self.trunk + sum(len(other) - self.trunk for other in before)
        return [*range(self.trunk), *range(start, start + len(row) - self.trunk)]


def _trees(rows: Sequence[Tokens], longest: int) -> Iterator[_Tree]:
    """Texts with their neighbours in the order of tokens, where at least half of each is a beginning they share and
    together they have at most `longest` tokens."""
    tree = None
    for row in sorted(rows):
        if tree is not None:
            shared = shared_beginning(tree.rows[0], row)
            joined = _Tree((*tree.rows, row), min(tree.trunk, shared))
            if 2 * joined.trunk >= max(map(len, joined.rows)) and len(joined) <= longest:
                tree = joined
                continue
            yield tree
        tree = _Tree((row,), len(row))
    if tree is not None:
        yield tree


def shared_beginning(one: Tokens, other: Tokens) -> int:
    """How many tokens two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (left, right) in pairs if left != right), min(len(one), len(other)))


def reach(config) -> float:
    """How far back every block sees, in tokens; within it a mask of branches is all that a block needs."""
    config = config.get_text_config()
    limits = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((limit for limit in limits if limit), default=float("inf"))


@torch.inference_mode()
def reads_branches(decoder: Decoder) -> bool:
    """Whether a model follows given positions and masks, so that branches read as whole texts do. It is tried out."""
    rows = tuple(tuple(range(8)) + ending for ending in ((1, 2, 3, 4, 5, 6), (3, 2, 1, 0), (7,)))
    tree = _Tree(rows, 8)
    try:
        [states] = _read_trees(decoder, [tree], len(tree))
        wanted = [_read(decoder, padded([row], decoder.model.device), len(row))[0] for row in rows]
    except SubmodelsError:
        return False
    tolerance = 1e-3 if decoder.model.dtype == torch.float32 else 5e-2
    pairs = [(states[tree.places(row)], whole) for row, whole in zip(rows, wanted, strict=True)]
    return all((found - whole).abs().max() <= tolerance * whole.abs().max() for found, whole in pairs)


def _read_trees(decoder: Decoder, trees: list[_Tree], most: int) -> torch.Tensor:
    """Outputs of the last block [trees, length, hidden_size] for the tokens of trees, padded on the right; either all
    trees have branches or none."""
    device = decoder.model.device
    ids, positions, branches = zip(*(tree.tokens() for tree in trees), strict=True)
    if len(trees[0].rows) == 1:
        return _read(decoder, padded(ids, device), most)
    branches = padded(branches, device, -1)
    sees = (branches[:, None] == 0) | (branches[:, None] == branches[:, :, None])
    mask = as_added(sees.tril()[:, None], decoder.model.dtype)
    return _read(decoder, padded(ids, device), most, position_ids=padded(positions, device), attention_mask=mask)


def as_added(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask that is added to attention's products, for bool [rows, 1, tokens, seen tokens]."""
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, torch.finfo(dtype).min)


def batches(rows: list, most: int) -> Iterator[list]:
    """Rows, longest first, in batches of at most `most` tokens with padding; a longer row is a batch by itself."""
    while rows:
        count = max(1, most // len(rows[0]))
        yield rows[:count]
        rows = rows[count:]


def padded(rows: Sequence[Sequence[int]], device: torch.device, padding: int = 0) -> torch.Tensor:
    """int64 [rows, longest], padded on the right, which no token attends to."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows], device=device)


def _read(decoder: Decoder, ids: torch.Tensor, most: int, **given: torch.Tensor) -> torch.Tensor:
    """Outputs of the last block [rows, length, hidden_size] for token ids [rows, length]; given: further inputs.

    A single row of more than `most` tokens is read in pieces: block by block, all pieces one after another.
    """
    if ids.numel() <= most:
        return decoder.read(input_ids=ids, use_cache=False, **given)
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
