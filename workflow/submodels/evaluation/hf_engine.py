"""A model in this process as the engine: it generates texts and scores given texts.

lm-eval's `generate_until` stops a batch only once every row has met one and the same stop string, and it decodes a
continuation without its prompt, which costs SentencePiece models (Llama 2, Mistral) the first space of the answer and
so the indentation of Python code. `EngineLM.generate` takes its place. It also reads a prompt once for all its samples
and drops a row that has ended: most of the work when samples are many and short.

lm-eval scores a text by the logits of a whole context, most of which are not needed: `likelihoods` takes its place.
"""

import sys
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import DynamicCache

from submodels.checkpoints.decoder import Decoder
from submodels.evaluation.batches import (
    CPU_BATCH,
    CPU_HEAD,
    CPU_TOKENS,
    GPU_HEAD,
    GPU_TOKENS,
    cpu_batch,
    largest_batch,
    written_bytes,
)
from submodels.evaluation.engine import Ending, Engine, Text, without_warnings
from submodels.evaluation.likelihoods import score_tokens
from submodels.evaluation.truncation import context_of
from submodels.model_shape import key_width


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
    least one token, and takes the first at which the cumulative probability exceeds the row's number.
    """
    if uniform is None:
        return logits.argmax(-1)
    logits, tokens = (logits.float() / temperature).sort(dim=-1, descending=True, stable=True)
    probabilities = logits.softmax(-1).double()
    if top_k:
        probabilities[:, top_k:] = 0
    cumulative = probabilities.cumsum(-1)
    before = cumulative - probabilities
    kept = (probabilities > 0) & (before < top_p * cumulative[:, -1:])
    last = (kept.sum(-1, keepdim=True) - 1).clamp(min=0)  # likeliest first: the kept tokens are the first ones
    chosen = torch.searchsorted(cumulative, uniform[:, None] * cumulative.gather(-1, last), right=True)
    return tokens.gather(-1, chosen.minimum(last)).squeeze(-1)


class EngineLM(Engine, HFLM):
    """A loaded model as lm-eval sees it. batch_size: None: begin with a size that fits, halve when memory runs out."""

    def __init__(self, model, tokenizer, batch_size: int | None):
        context, unstated = context_of(model.config, tokenizer)
        if unstated:
            print(f"warning: {unstated}", file=sys.stderr)
        with without_warnings():  # about arguments that a loaded model leaves unused
            super().__init__(
                pretrained=model,
                tokenizer=tokenizer,
                backend="causal",
                batch_size=batch_size or CPU_BATCH,
                max_length=context,
                softmax_dtype="float32",
            )
        self._automatic = batch_size is None
        self._decoder, on_cpu = Decoder(model), self.device.type == "cpu"
        self._scored_tokens, self._head_bytes = (CPU_TOKENS, CPU_HEAD) if on_cpu else (GPU_TOKENS, GPU_HEAD)

    @property
    def window(self) -> int:
        return self.max_length

    def begin(self, length: int, resumed: int | None) -> None:
        if self._automatic:
            self.batch_size_per_gpu = resumed or self._first_batch(length)

    def halve_batch(self) -> bool:
        if not self._automatic or self.batch_size == 1:
            return False
        self.batch_size_per_gpu = self.batch_size // 2
        return True

    def halve_scored(self) -> bool:
        self._scored_tokens //= 2
        return self._scored_tokens > 0

    def score(self, requests: list[tuple[Any, list[int], list[int]]]) -> list[tuple[float, bool]]:
        pairs = [(context, continuation) for _, context, continuation in requests]
        return score_tokens(self._decoder, pairs, most=self._scored_tokens, head_bytes=self._head_bytes)

    def _first_batch(self, length: int) -> int:
        if self.device.type != "cuda":
            return cpu_batch(length)
        free, _ = torch.cuda.mem_get_info(self.device)
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return largest_batch(0.8 * free, text_bytes(self.model.config, length, self.model.dtype.itemsize))

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], seeds: list[int], settings: dict) -> list[Text]:
        """Each row ends by itself or after `max_gen_toks` tokens, earlier if the context leaves less room."""
        max_new, stops = settings["max_gen_toks"], settings["until"]
        choose = {name: settings[name] for name in ("temperature", "top_k", "top_p")}
        distinct = list(dict.fromkeys(map(tuple, prompts)))
        ids, mask = (tensor.to(self.device) for tensor in _left_padded(distinct))
        cache = DynamicCache(config=self.model.config)

        def forward(tokens, mask, positions):
            given = {"attention_mask": mask, "position_ids": positions, "past_key_values": cache, "use_cache": True}
            return self.model(input_ids=tokens, logits_to_keep=1, **given).logits[:, -1]

        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = forward(ids, mask, positions)
        rows = torch.tensor([distinct.index(tuple(prompt)) for prompt in prompts], device=self.device)
        cache.batch_select_indices(rows)
        logits, mask, position = logits[rows], mask[rows], positions[rows, -1:]
        uniform = None
        if settings["do_sample"]:
            uniform = torch.stack([uniform_numbers(seed, max_new) for seed in seeds], dim=1).to(self.device)
        new = [[] for _ in prompts]
        live = list(range(len(prompts)))  # whose continuation each row of the cache is
        room = [min(max_new, self.max_length - len(prompt)) for prompt in prompts]
        ending = Ending(self.tokenizer, self.end_tokens(self.model.generation_config), stops)
        for step in range(max(room)):
            tokens = draw(logits, None if uniform is None else uniform[step, live], **choose)
            for i, token in zip(live, tokens.tolist(), strict=True):
                new[i].append(token)
            going = [row for row, i in enumerate(live) if len(new[i]) < room[i] and not ending.reached(new[i])]
            if not going:
                break
            if len(going) < len(live):
                live = [live[row] for row in going]
                rows = torch.tensor(going, device=self.device)
                cache.batch_select_indices(rows)
                tokens, mask, position = tokens[rows], mask[rows], position[rows]
            mask, position = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1), position + 1
            logits = forward(tokens[:, None], mask, position)
        return [Text(ending.text(*pair), len(pair[1])) for pair in zip(prompts, new, strict=True)]


def _left_padded(prompts: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (1 = token), int64 [prompts, longest], padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask


def text_bytes(config, length: int, itemsize: int) -> float:
    """`written_bytes` of a model's configuration."""
    config = config.get_text_config()
    keys, blocks = key_width(config.to_dict()) or config.hidden_size, config.num_hidden_layers
    return written_bytes(itemsize, length, blocks=blocks, keys=keys, vocabulary=config.vocab_size)
