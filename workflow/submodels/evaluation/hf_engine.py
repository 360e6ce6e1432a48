"""A model in this process as the engine: it generates texts and scores given texts.

lm-eval's `generate_until` stops a batch only once every row has met one and the same stop string, and it decodes a
continuation without its prompt, which costs SentencePiece models (Llama 2, Mistral) the first space of the answer and
so the indentation of Python code. `EngineLM.generate` takes its place, with a batch that stays full (decoding.py).

lm-eval scores a text by the logits of a whole context, most of which are not needed: `likelihoods` takes its place.
"""

import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

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
from submodels.evaluation.decoding import Batch, Writing
from submodels.evaluation.engine import Ending, Engine, Prompt, Text, without_warnings
from submodels.evaluation.likelihoods import reads_branches, score_tokens, token_likelihoods
from submodels.evaluation.packed import pack_linears
from submodels.evaluation.truncation import context_of
from submodels.model_shape import key_width


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
        self.packed = pack_linears(model) if on_cpu else 0
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
        return score_tokens(self._decoder, pairs, **self._scored_at_once, branches=self._branches)

    def score_each(self, requests: list[tuple[list[int], list[int]]]) -> list[list[float]]:
        scored = token_likelihoods(self._decoder, requests, **self._scored_at_once)
        return [values.tolist() for values, _ in scored]

    @property
    def _scored_at_once(self) -> dict[str, int]:
        return {"most": self._scored_tokens, "head_bytes": self._head_bytes}

    @cached_property
    def _branches(self) -> bool:
        return reads_branches(self._decoder)

    def _first_batch(self, length: int) -> int:
        if self.device.type != "cuda":
            return cpu_batch(length)
        free, _ = torch.cuda.mem_get_info(self.device)
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return largest_batch(0.8 * free, text_bytes(self.model.config, length, self.model.dtype.itemsize))

    def generate(self, prompts: list[Prompt], settings: dict) -> Iterator[dict[int, Text]]:
        """Each text ends by itself or after `max_gen_toks` tokens, earlier if the context leaves less room."""
        ending = Ending(self.tokenizer, self.end_tokens(self.model.generation_config), settings["until"])
        drawing = {name: settings[name] for name in ("temperature", "top_k", "top_p")}
        room = settings["max_gen_toks"]

        def ended(number: int, tokens: list[int]) -> bool:
            return ending.reached(tokens) or ending.completed(tokens, prompts[number].complete)

        batch = Batch(
            self._decoder,
            [Writing(ids, seed, min(room, self.max_length - len(ids))) for ids, seed, _ in prompts],
            rows=self.batch_size,
            tokens=self._scored_tokens,
            ended=ended,
            settings=drawing if settings["do_sample"] else None,
        )
        for finished in batch.write():
            self.live, self.waiting = batch.live, batch.waiting
            yield {n: Text(ending.text(prompts[n].ids, tokens), len(tokens)) for n, tokens in finished.items()}


def text_bytes(config, length: int, itemsize: int) -> float:
    """`written_bytes` of a model's configuration."""
    config = config.get_text_config()
    keys, blocks = key_width(config.to_dict()) or config.hidden_size, config.num_hidden_layers
    return written_bytes(itemsize, length, blocks=blocks, keys=keys, vocabulary=config.vocab_size)
