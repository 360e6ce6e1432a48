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
    probabilities = logits.softmax(-1)
    if top_k or top_p < 1:
        probabilities = probabilities.where(_kept(logits, probabilities, top_k, top_p), 0)
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:].clone()
    chosen = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
    last = torch.searchsorted(cumulative, total)  # where rounding makes the product the total
    return chosen.minimum(last).squeeze(-1)


def _kept(logits: torch.Tensor, probabilities: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Which tokens `top_k` and `top_p` keep, bool [rows, vocabulary]; of equally likely tokens the first are kept.

    The likeliest tokens alone mostly show the last token that is kept, which spares the sort of a whole vocabulary.
    """
    vocabulary = logits.shape[-1]
    rows, most = torch.arange(len(logits), device=logits.device), min(top_k or vocabulary, vocabulary)
    value, token = torch.empty_like(logits[:, 0]), torch.empty_like(rows)
    for count in (min(max(_FIRST, top_k), vocabulary), vocabulary):
        values, tokens = _likeliest(logits[rows], count)
        cumulative = probabilities[rows].gather(-1, tokens).cumsum(-1, dtype=torch.float64)[:, :most]
        total = cumulative[:, -1] if most <= count else probabilities[rows].sum(-1, dtype=torch.float64)
        reached, last = (cumulative >= top_p * total[:, None]).max(-1)
        # Which of the tokens as likely as the last of these are the first is not known before all are ordered.
        known = reached & (values.gather(-1, last[:, None]).squeeze(-1) > values[:, -1]) if count < vocabulary else True
        value[rows], token[rows] = (each.gather(-1, last[:, None]).squeeze(-1) for each in (values, tokens))
        if known is True or not len(rows := rows[~known]):
            break
    tokens = torch.arange(vocabulary, device=logits.device)
    return (logits > value[:, None]) | ((logits == value[:, None]) & (tokens <= token[:, None]))


def _likeliest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest logits of each row in descending order, equal ones by their token, and their tokens."""
    if count == logits.shape[-1]:
        return logits.sort(dim=-1, descending=True, stable=True)
    tokens = logits.topk(count, dim=-1, sorted=False).indices.sort(dim=-1).values
    values, order = logits.gather(-1, tokens).sort(dim=-1, descending=True, stable=True)
    return values, tokens.gather(-1, order)
