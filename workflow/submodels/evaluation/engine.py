"""The part that all backends share: lm-eval builds a benchmark's requests, an engine answers them, answers are kept.

`run` turns a benchmark's items into sample lines; `Engine` is the contract of a backend (`hf_engine`, `vllm_engine`),
and `KINDS` says how requests of each output type are answered.

`loglikelihood_rolling` takes the place of lm-eval's: where a tokenizer begins a text with BOS, lm-eval gives the model
BOS twice and counts the likelihood of the second BOS. Here BOS is only context, as with `add_bos_token=False`.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cache, partial
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm
from transformers import GenerationConfig

from submodels import defaults, files
from submodels.benchmarks.questions import Questions
from submodels.benchmarks.registry import Benchmark, Generation
from submodels.errors import SubmodelsError
from submodels.evaluation.answers import Answers
from submodels.evaluation.extraction import complete
from submodels.evaluation.truncation import keep_end, prompt_room
from submodels.prompts import format_of, wrap

CHOICES_AT_ONCE, TEXTS_AT_ONCE = 256, 4  # requests that are answered, and kept, together at least


def sample_seed(seed: int, benchmark: str, task_id: str, sample: int) -> int:
    """Seed of one sample's draws, below 2^63; it depends only on these arguments."""
    return int(files.fingerprint([seed, benchmark, task_id, sample])[:16], 16) >> 1


class Text(NamedTuple):
    """A generated text and the number of its tokens, counting an end token and tokens after a stop string."""

    text: str
    tokens: int


class Prompt(NamedTuple):
    """Token ids to be continued, the seed of the draws, and whether a text so far is all that its item needs."""

    ids: list[int]
    seed: int
    complete: Callable[[str], bool]


class Engine(ABC):
    """The contract of a backend, which is also a model of lm-eval (a TemplateLM), and the code that backends share.

    `prompt_tokens` and `generated_tokens` count from the start; `live` and `waiting`: texts that are being written now,
    and prompts whose texts have not begun. lm-eval's class gives `tokenizer`, `tok_encode`, `max_length` and
    `batch_size`, the number of texts that are written at once.
    """

    prompt_tokens = generated_tokens = 0
    live = waiting = 0
    packed = 0  # linear layers that were packed for products of few rows

    def begin(self, length: int, resumed: int | None) -> None:  # noqa: B027 - a backend may have nothing to prepare
        """Called before texts of up to `length` tokens are generated; resumed: the last batch size of a resumed run."""

    def halve_batch(self) -> bool:
        """Continue with smaller batches after memory ran out; False where the engine does not choose the batch size."""
        return False

    def halve_scored(self) -> bool:
        """The same for texts that are scored."""
        return False

    @property
    @abstractmethod
    def window(self) -> int:
        """The most tokens that one request may predict."""

    @abstractmethod
    def generate(self, prompts: list[Prompt], settings: dict) -> Iterator[dict[int, Text]]:
        """The texts after the prompts, by the prompt's place, as they end; settings: the fields of `Generation`."""

    def end_tokens(self, settings: GenerationConfig) -> set[int]:
        """Tokens that end an answer: the end tokens of a model's settings and of its tokenizer, and BOS.

        BOS begins another text, which decoding would silently append to the answer.
        """
        declared = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        return {*declared, self.tokenizer.eos_token_id, self.tokenizer.bos_token_id} - {None}

    @property
    def adds_bos(self) -> bool:
        return self.tok_encode("a")[:1] == [self.tokenizer.bos_token_id]

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of a text that are predicted: all but BOS."""
        return self.tok_encode(text, add_special_tokens=False)

    def token_starts(self, text: str) -> list[int]:
        """Where, in characters, each token of `text_tokens` starts; needs a fast tokenizer."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [start for start, _ in encoded["offset_mapping"]]

    def loglikelihood_rolling(self, requests: list, disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood, in nats, of all tokens of each text after BOS (without BOS: after the end token).

        A text longer than the context is cut into lm-eval's windows: each predicts tokens that no other window
        predicts, the first after BOS and the others after the token before, the last after as many tokens as fit.
        """
        windows = self._windows([request.args[0] for request in requests])
        totals = [0.0] * len(requests)
        scored = self._loglikelihood_tokens([(None, *window) for _, window in windows], disable_tqdm)
        for (number, _), (loglikelihood, _) in zip(windows, scored, strict=True):
            totals[number] += loglikelihood
        return totals

    def _windows(self, texts: list[str]) -> list[tuple[int, tuple[list[int], list[int]]]]:
        """lm-eval's windows of the texts: number of the text, and (context, tokens that are predicted)."""
        return [
            (number, make_disjoint_window(window))
            for number, text in enumerate(texts)
            for window in get_rolling_token_windows(
                self.text_tokens(text), self.prefix_token_id, self.window, context_len=1
            )
        ]

    def fit(self, ids: list[int], room: int) -> list[int]:
        """The token ids, cut at the beginning to at most `room`."""
        return keep_end(ids, room, self.tokenizer.bos_token_id)

    def _loglikelihood_tokens(self, requests: list, *arguments, **options) -> list[tuple[float, bool]]:
        """Answers to requests cut to the context; `lost`: how many tokens each lost. The last token is not read."""
        fitting, self.lost = [], []
        for key, context, continuation in requests:
            kept = self.fit(context, self.window + 1 - len(continuation))
            fitting.append((key, kept, continuation))
            self.lost.append(len(context) - len(kept))
            self.prompt_tokens += len(kept) + len(continuation)
        return self.score(fitting)

    def token_loglikelihoods(self, texts: list[str]) -> list[list[float]]:
        """The log-likelihood, in nats, of every token of each text, in the windows of `loglikelihood_rolling`."""
        found, windows = [[] for _ in texts], self._windows(texts)
        self.prompt_tokens += sum(len(context) + len(tokens) for _, (context, tokens) in windows)
        for (number, _), values in zip(windows, self.score_each([window for _, window in windows]), strict=True):
            found[number] += values
        return found

    def score_each(self, requests: list[tuple[list[int], list[int]]]) -> list[list[float]]:
        """(context, continuation) -> log-likelihood of each token of the continuation."""
        raise SubmodelsError("this backend gives no likelihoods of single tokens; use backend hf")

    def score(self, requests: list[tuple[Any, list[int], list[int]]]) -> list[tuple[float, bool]]:
        """(key, context, continuation) -> log-likelihood of the continuation, and whether greedy decoding gives it."""
        return super()._loglikelihood_tokens(requests, disable_tqdm=True)


class Ending:
    """When an answer has ended: at an end token, once its text holds a stop string, or once it is all an item needs.

    Every token except special ones adds at least one byte, so the last `bytes of the longest stop string` tokens and
    one more hold any stop string that a new token completes.
    """

    def __init__(self, tokenizer, end_tokens: set[int], stops: list[str]):
        self.tokenizer, self.end_tokens, self.stops = tokenizer, end_tokens, stops
        self.window = max((len(stop.encode()) for stop in stops), default=0) + 1

    def reached(self, answer: list[int]) -> bool:
        if answer[-1] in self.end_tokens:
            return True
        tail = self._decode(answer[-self.window :]) if self.stops else ""
        return any(stop in tail for stop in self.stops)

    def completed(self, answer: list[int], complete: Callable[[str], bool]) -> bool:
        """Whether the text so far is all that its item needs; `complete` is asked where a token ends a word."""
        return not self._decode(answer[-1:]).strip(" _").isalnum() and complete(self._decode(answer))

    def text(self, prompt: list[int], answer: list[int]) -> str:
        """The answer's text, read after its prompt, up to its end."""
        if answer[-1] in self.end_tokens:
            answer = answer[:-1]
        return truncate(self._decode(prompt + answer)[len(self._decode(prompt)) :], self.stops)

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def truncate(text: str, stops: list[str]) -> str:
    """The text before the first stop string in it."""
    return text[: min((text.index(stop) for stop in stops if stop in text), default=None)]


class Documents(list):
    """Items in place of lm-eval's data set; a table would give all items the same fields and types."""

    @property
    def features(self) -> dict[str, None]:
        """The fields, by name; lm-eval uses the names only."""
        return dict.fromkeys(field for item in self for field in item)


def ask(benchmark: Benchmark, items: list[dict], seed: int, tokenizer, prompt: str = defaults.PROMPT) -> list[Instance]:
    """lm-eval's requests of one benchmark, one for each sample; instructions in the model's prompt format."""
    definition = deepcopy(benchmark.task) | Questions(benchmark.task, items).definition()
    documents = {definition["test_split"]: Documents(items)}
    with without_warnings():  # about arguments of a custom data set
        task = ConfigurableTask(config=definition | {"custom_dataset": lambda **_: documents})
    task.set_fewshot_seed(seed)
    task.build_all_requests()
    for instance in task.instances:
        text, *rest = instance.args
        instance.arguments = (wrap(format_of(prompt, benchmark), text, tokenizer).text, *rest)
    return [instance for instance in task.instances for _ in range(instance.repeats)]


def run(
    lm: Engine,
    benchmark: Benchmark,
    items: list[dict],
    seed: int,
    prompt: str = defaults.PROMPT,
    answers: Answers | None = None,
    known: Mapping[str, list[dict]] = MappingProxyType({}),
) -> list[dict]:
    """The sample lines of one benchmark, in the order of the items. answers: earlier answers; new answers are added.
    known: the lines of items that need not be asked.

    Draws depend on `seed`, the benchmark, the item and the number of the sample, on nothing else. A text shares its
    forward passes with others, in a resumed run with others than in an undisturbed run: the sums of floating-point
    numbers behind its logits may then round differently, and nothing else differs.
    """
    lm.add_bos_token = None if benchmark.bos else False  # lm-eval's switch; None leaves it to the tokenizer
    instances = ask(benchmark, items, seed, lm.tokenizer, prompt)
    answers = Answers() if answers is None else answers
    requests, counts = [], dict.fromkeys((item["task_id"] for item in items), 0)
    for instance in instances:
        task_id = instance.doc["task_id"]
        requests.append(Request(instance, sample_seed(seed, benchmark.name, task_id, counts[task_id])))
        counts[task_id] += 1
    kind = BY_TOKEN if benchmark.by_token else KINDS[benchmark.output_type]
    lengths = kind.prepare(lm, requests, answers.batch_size)
    numbers = [i for i, request in enumerate(requests) if request.instance.doc["task_id"] not in known]
    todo = [i for i in sorted(numbers, key=lambda i: -lengths[i]) if i not in answers.by_request]
    with tqdm(total=len(requests), initial=len(requests) - len(todo), desc=benchmark.name) as bar:
        while todo:
            _answer(lm, kind, {i: requests[i] for i in todo}, answers, bar)
            todo = [i for i in todo if i not in answers.by_request]
    grouped: dict[str, list] = {}
    for i in numbers:
        grouped.setdefault(requests[i].instance.doc["task_id"], []).append(
            (requests[i].instance, answers.by_request[i])
        )
    lines = {id: [{"task_id": id} | line for line in kind.lines(lm, group)] for id, group in grouped.items()}
    return [line for id in counts for line in (known[id] if id in known else lines[id])]


class Request(NamedTuple):
    """A request of lm-eval, and the seed of the sample's draws."""

    instance: Instance
    seed: int


def _answer(lm: Engine, kind: "Kind", requests: dict[int, Request], answers: Answers, bar: tqdm) -> None:
    """Answer requests and keep the answers as they come. After memory ran out, the engine works with smaller batches,
    and the requests left over have no answer yet."""
    counted, began = (lm.prompt_tokens, lm.generated_tokens), time.perf_counter()
    with suppress(torch.OutOfMemoryError):  # its traceback holds the batch's tensors: memory is freed only afterwards
        for responses in kind.ask(lm, requests):
            now, ended = (lm.prompt_tokens, lm.generated_tokens), time.perf_counter()
            answers.add(
                responses,
                batch_size=lm.batch_size,
                prompt_tokens=now[0] - counted[0],
                generated_tokens=now[1] - counted[1],
                seconds=round(ended - began, 4),
            )
            counted, began = now, ended
            bar.set_postfix_str(_activity(lm, answers.totals), refresh=False)
            bar.update(len(responses))
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not kind.halve(lm):
        raise SubmodelsError(
            f"out of memory with batches of {lm.batch_size}; choose a smaller batch size, or `batch_size: auto`"
            if kind is KINDS["generate_until"] and lm.batch_size > 1
            else "out of memory with one sequence at a time; use a device with more memory"
        )


def _activity(lm: Engine, totals: dict[str, float]) -> str:
    """The speed so far, and how many texts are being written and wait."""
    read, written = (totals[f"{kind}_tokens"] / max(totals["seconds"], 1e-3) for kind in ("prompt", "generated"))
    return f"{written:.0f} tokens/s, {lm.live} live, {lm.waiting} waiting" if written else f"{read:.0f} tokens/s"


def _prepare_prompts(lm: Engine, requests: list[Request], resumed: int | None) -> list[int]:
    """Tokens of each prompt, cut to the context; tells the engine how long the longest text may become."""
    count = cache(lambda text: len(lm.tok_encode(text)))
    room, max_new = _rooms(lm, requests)
    lengths = [min(room, count(request.instance.args[0])) for request in requests]
    lm.begin(min(lm.max_length, max(lengths) + max_new), resumed)
    return lengths


def _rooms(lm: Engine, requests: list[Request]) -> tuple[int, int]:
    """The most tokens of a prompt, and of an answer."""
    max_new = requests[0].instance.args[1]["max_gen_toks"]
    return prompt_room(lm.max_length, max_new), max_new


def _prepare_texts(lm: Engine, requests: list[Request], resumed: int | None) -> list[int]:
    """Length in characters of each request's first text; so the choices of one query stay together."""
    return [len(request.instance.args[0]) for request in requests]


def _prepare_choices(lm: Engine, requests: list[Request], resumed: int | None) -> list[int]:
    """As `_prepare_texts`; an error where a choice fills the context and leaves no room for its query."""
    for instance, _ in requests:
        query, choice = instance.args
        # Most choices are so short that their tokens need not be counted.
        if query and len(choice) > lm.window // 4 and (length := len(lm.text_tokens(choice))) >= lm.window:
            raise SubmodelsError(
                f"item {instance.doc['task_id']}: a choice has {length} tokens and leaves no room for its query in the "
                f"model's context of {lm.max_length}; choose another model, or leave the benchmark out"
            )
    return _prepare_texts(lm, requests, resumed)


def _prepare_tokens(lm: Engine, requests: list[Request], resumed: int | None) -> list[int]:
    """As `_prepare_texts`; an error where the tokenizer cannot say where its tokens start."""
    if not lm.tokenizer.is_fast:
        raise SubmodelsError("the tokenizer does not say where its tokens start; a tokenizer.json is needed")
    return _prepare_texts(lm, requests, resumed)


def _generate(lm: Engine, requests: dict[int, Request]) -> Iterator[dict[int, dict]]:
    """Completions and their tokens. `truncated`: number of tokens that the prompt lost; `cut_short`: the context ended
    the answer before `max_gen_toks`. Each only where it happened."""
    numbers, asked = list(requests), [*requests.values()]
    encode, (room, max_new) = cache(lm.tok_encode), _rooms(lm, asked)
    whole = [encode(request.instance.args[0]) for request in asked]
    prompts = [
        Prompt(lm.fit(ids, room), request.seed, partial(complete, item=request.instance.doc))
        for ids, request in zip(whole, asked, strict=True)
    ]
    settings = Generation(**asked[0].instance.args[1]).model_dump()
    for texts in lm.generate(prompts, settings):
        answers = {}
        for place, text in texts.items():
            ids = prompts[place].ids
            lm.prompt_tokens += len(ids)
            lm.generated_tokens += text.tokens
            answer = {"completion": text.text, "tokens": text.tokens} | _truncated(len(whole[place]) - len(ids))
            left = lm.max_length - len(ids)
            answers[numbers[place]] = answer | ({"cut_short": True} if left < max_new and text.tokens >= left else {})
        yield answers


def _truncated(lost: int) -> dict[str, int]:
    return {"truncated": lost} if lost else {}


def _score_choices(lm: Engine, requests: dict[int, Request]) -> Iterator[dict[int, tuple[float, bool, int]]]:
    """Log-likelihood, whether greedy decoding gives the same text, and how many tokens the query lost."""
    for shard in _shards(requests, CHOICES_AT_ONCE):
        scored = lm.loglikelihood([request.instance for request in shard.values()], disable_tqdm=True)
        yield {number: (*answer, lost) for number, answer, lost in zip(shard, scored, lm.lost, strict=True)}


def _score_texts(lm: Engine, requests: dict[int, Request]) -> Iterator[dict[int, float]]:
    for shard in _shards(requests, TEXTS_AT_ONCE):
        scored = lm.loglikelihood_rolling([request.instance for request in shard.values()], disable_tqdm=True)
        yield dict(zip(shard, scored, strict=True))


def _score_tokens(lm: Engine, requests: dict[int, Request]) -> Iterator[dict[int, list[float]]]:
    for shard in _shards(requests, TEXTS_AT_ONCE):
        yield dict(zip(shard, lm.token_loglikelihoods([r.instance.args[0] for r in shard.values()]), strict=True))


def _shards(requests: dict[int, Request], least: int) -> Iterator[dict[int, Request]]:
    """Requests that are answered and kept together: at least so many, with all requests of an item."""
    shard: dict[int, Request] = {}
    for _, same in groupby(requests.items(), key=lambda pair: pair[1].instance.doc["task_id"]):
        shard |= dict(same)
        if len(shard) >= least:
            yield shard
            shard = {}
    if shard:
        yield shard


Group = list[tuple[Instance, Any]]  # requests of one item, each with its response, of JSON's types


def _completion_lines(lm: Engine, group: Group) -> list[dict]:
    return [{"completion": answer["completion"], "sample": i} | answer for i, (_, answer) in enumerate(group)]


def _choice_lines(lm: Engine, group: Group) -> list[dict]:
    loglikelihoods, greedy, lost = zip(*(response for _, response in group), strict=True)
    return [{"loglikelihoods": list(loglikelihoods), "greedy": list(greedy)} | _truncated(max(lost))]


def _document_lines(lm: Engine, group: Group) -> list[dict]:
    ((request, loglikelihood),) = group
    (text,) = request.args
    return [{"loglikelihood": loglikelihood, "tokens": len(lm.text_tokens(text)), "bytes": len(text.encode())}]


def _token_lines(lm: Engine, group: Group) -> list[dict]:
    """As `_document_lines`, with the place in the text where each token starts, and its log-likelihood."""
    ((request, loglikelihoods),) = group
    (text,) = request.args
    starts = lm.token_starts(text)
    about = {"loglikelihood": sum(loglikelihoods), "tokens": len(starts), "bytes": len(text.encode())}
    return [about | {"starts": starts, "loglikelihoods": [round(value, 5) for value in loglikelihoods]}]


class Kind(NamedTuple):
    """How requests of one output type are answered.

    prepare: (engine, requests, batch size of a resumed run) -> a length of each; the longest are answered first.
    ask: answers by the number of their request, as they come. halve: make batches smaller (memory ran out).
    """

    prepare: Callable[[Engine, list[Request], int | None], list[int]]
    ask: Callable[[Engine, dict[int, Request]], Iterator[dict[int, Any]]]
    lines: Callable[[Engine, Group], list[dict]]
    halve: Callable[[Engine], bool]


KINDS = {
    "generate_until": Kind(_prepare_prompts, _generate, _completion_lines, lambda lm: lm.halve_batch()),
    "multiple_choice": Kind(_prepare_choices, _score_choices, _choice_lines, lambda lm: lm.halve_scored()),
    "loglikelihood_rolling": Kind(_prepare_texts, _score_texts, _document_lines, lambda lm: lm.halve_scored()),
}
BY_TOKEN = Kind(_prepare_tokens, _score_tokens, _token_lines, lambda lm: lm.halve_scored())


@contextmanager
def without_warnings():
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
