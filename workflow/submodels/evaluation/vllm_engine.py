"""vLLM as the engine: the same requests, answered from a checkpoint on disk. It needs a separate environment.

vLLM schedules by itself, so texts may differ in rounding from run to run; the draws of a sample still follow its seed.
The draws differ from those of backend hf, which uses other random generators. A text longer than the context is cut
into windows of two tokens less than with backend hf.
"""

from collections.abc import Iterator
from pathlib import Path

from lm_eval.models.vllm_causallms import VLLM
from transformers import GenerationConfig
from vllm import SamplingParams

from submodels.evaluation.engine import Ending, Engine, Prompt, Text, without_warnings

REQUESTS = 256  # at once; vLLM fills the memory with as many of them as it holds


class VllmLM(Engine, VLLM):
    """A checkpoint as lm-eval sees it through vLLM. batch_size: requests handed over at once, None = many."""

    def __init__(self, checkpoint: Path, dtype: str, batch_size: int | None):
        with without_warnings():
            super().__init__(pretrained=str(checkpoint), dtype=dtype, batch_size=batch_size or REQUESTS, seed=0)
        self._settings = GenerationConfig()
        if (Path(checkpoint) / "generation_config.json").is_file():
            self._settings = GenerationConfig.from_pretrained(checkpoint)

    @property
    def window(self) -> int:
        return self.max_length - 2  # vLLM needs room for a token before and for a token that it generates

    def generate(self, prompts: list[Prompt], settings: dict) -> Iterator[dict[int, Text]]:
        """`complete` is not asked: vLLM calls nothing back, so a text may run on after all that its item needs."""
        ends = self.end_tokens(self._settings)
        ending = Ending(self.tokenizer, ends, settings["until"])
        sampling = {"temperature": settings["temperature"], "top_k": settings["top_k"], "top_p": settings["top_p"]}
        if not settings["do_sample"]:
            sampling = {"temperature": 0.0}
        for first in range(0, len(prompts), self.batch_size):
            batch = prompts[first : first + self.batch_size]
            parameters = [
                SamplingParams(
                    max_tokens=min(settings["max_gen_toks"], self.max_length - len(prompt.ids)),
                    stop=settings["until"],
                    stop_token_ids=sorted(ends),
                    seed=prompt.seed,
                    **sampling,
                )
                for prompt in batch
            ]
            ids = [prompt.ids for prompt in batch]
            outputs = self._model_generate(requests=ids, generate=True, sampling_params=parameters)
            answers = [list(output.outputs[0].token_ids) for output in outputs]
            texts = (Text(ending.text(*pair), len(pair[1])) for pair in zip(ids, answers, strict=True))
            yield dict(enumerate(texts, start=first))
