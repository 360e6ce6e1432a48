"""The next token of a text: pure functions of logits and of the numbers by which a sample draws."""

import torch

_FIRST = 256  # likeliest tokens that are ordered before the whole vocabulary is, or `top_k` if that is more


def uniform_numbers(seed: int, count: int) -> torch.Tensor:
    """The numbers in [0, 1), float64 [count], by which one sample draws its tokens; the same on every device."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(
    logits: torch.Tensor,
    uniform: torch.Tensor | None = None,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> torch.Tensor:
    """The next token of each row: logits [rows, vocabulary] -> [rows] int64; no row depends on another.

    Greedy without `uniform`, numbers in [0, 1) of each row, float64 [rows]. Sampling keeps the `top_k` likeliest
    tokens (0: all), then the fewest of them whose share of the rest reaches `top_p` (Holtzman et al. 2020), always at
    least one token. Of those it takes the first, in the order of the vocabulary, at which the cumulative probability
    exceeds the row's number: an order by probability would turn wherever two tokens are about as likely.
    """
    if uniform is None:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    probabilities, vocabulary = logits.softmax(-1), logits.shape[-1]
    if not top_k and top_p == 1:
        return _first_beyond(probabilities, uniform)
    # The likeliest tokens alone mostly hold all that are kept, which spares the sort of a whole vocabulary.
    most = min(top_k or vocabulary, vocabulary)
    chosen, rows = torch.empty(len(logits), dtype=torch.int64, device=logits.device), slice(None)
    for count in (min(max(_FIRST, top_k), vocabulary), vocabulary):
        tokens, kept, known = _kept(logits[rows], probabilities[rows], count, most, top_p)
        chosen[rows] = tokens.gather(-1, _first_beyond(kept, uniform[rows])[:, None]).squeeze(-1)
        if known.all():
            break
        rows = (~known).nonzero().squeeze(-1)
    return chosen


def _first_beyond(probabilities: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first column at which the cumulative share exceeds the row's number: [rows, columns] -> [rows] int64."""
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:].clone()
    chosen = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
    last = torch.searchsorted(cumulative, total)  # where rounding makes the product the total
    return chosen.minimum(last).squeeze(-1)


def _kept(
    logits: torch.Tensor, probabilities: torch.Tensor, count: int, most: int, top_p: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The `count` likeliest tokens of each row in the order of the vocabulary, [rows, count]; their probabilities, 0
    where a token is not kept; and whether these are all that are kept, bool [rows].

    Kept are the `most` likeliest, and of these the fewest that reach `top_p`; of equally likely tokens the first.
    """
    values, tokens = _likeliest(logits, count)
    likeliest = probabilities.gather(-1, tokens)
    cumulative = likeliest.cumsum(-1, dtype=torch.float64)[:, :most]
    total = cumulative[:, -1] if most <= count else probabilities.sum(-1, dtype=torch.float64)
    reached, last = (cumulative >= top_p * total[:, None]).max(-1)
    # Which of the tokens as likely as the last of these are the first is not known before all are ordered.
    known = reached & (values.gather(-1, last[:, None]).squeeze(-1) > values[:, -1])
    kept = likeliest.where(torch.arange(count, device=logits.device) <= last[:, None], 0)
    tokens, order = tokens.sort(dim=-1)
    return tokens, kept.gather(-1, order), known | (count == logits.shape[-1])


def _likeliest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest logits of each row in descending order, equal ones by their token, and their tokens."""
    if count == logits.shape[-1]:
        return logits.sort(dim=-1, descending=True, stable=True)
    tokens = logits.topk(count, dim=-1, sorted=False).indices.sort(dim=-1).values
    values, order = logits.gather(-1, tokens).sort(dim=-1, descending=True, stable=True)
    return values, tokens.gather(-1, order)
