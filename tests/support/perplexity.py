"""Perplexity of a causal language model on token windows."""

import math

import torch


@torch.inference_mode()
def perplexity(model: torch.nn.Module, input_ids: torch.Tensor, batch_size: int = 8) -> float:
    """exp(mean negative log-likelihood, in nats) of every token but the first of each window.

    model: maps input_ids to `.logits` (sequences, length, vocabulary). input_ids: (n, length) int64, length > 1, on
    the model's device, without padding. Log-likelihoods are float32, their sum float64.
    """
    total = 0.0
    for batch in input_ids.split(batch_size):
        logits = model(input_ids=batch).logits[:, :-1].float()
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none")
        total += nll.double().sum().item()
    windows, length = input_ids.shape
    return math.exp(total / (windows * (length - 1)))
