"""The subject of the self-check: a model, benchmarks and this machine, each part read when a check first needs it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path

from submodels import defaults, files, prompts
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.registry import Benchmark, load_benchmark
from submodels.dtypes import AUTO, DTYPE_BYTES, find_dtype
from submodels.errors import SubmodelsError
from submodels.evaluation.runners import LANGUAGES
from submodels.evaluation.sandbox import sandbox_status

OK, WARNING, PROBLEM = "ok", "warning", "problem"

SHOWN = 3  # items of each benchmark that are asked and whose solutions are run
LOOKED_AT = 200  # items of each benchmark whose prompts and answers are read
_NEW_TOKENS = 64  # of a completion that is shown
GB = 1e9
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")


@dataclass(frozen=True)
class Finding:
    """One result of a check; the self-check fills in `check`, the check's name."""

    level: str
    text: str
    check: str = ""


def ok(text: str) -> Finding:
    return Finding(OK, text)


def warning(text: str) -> Finding:
    return Finding(WARNING, text)


def problem(text: str) -> Finding:
    return Finding(PROBLEM, text)


def _once(method):
    """A property computed once; an error is kept as well, so that nothing slow is tried twice."""
    name = f"_{method.__name__}"

    @property
    @wraps(method)
    def kept(self):
        if name not in self.__dict__:
            try:
                self.__dict__[name] = method(self)
            except Exception as error:  # of any type: a broken model can fail in many ways
                self.__dict__[name] = error
        if isinstance(value := self.__dict__[name], Exception):
            raise value
        return value

    return kept


class Subject:
    """The model, sub-model and benchmarks under examination; every part is read when a check first needs it."""

    def __init__(
        self,
        model: Path,
        submodel: Path | None = None,
        items: dict[str, list[dict]] | None = None,
        *,
        named: bool = False,
        prompt: str = defaults.PROMPT,
        device: str = "cpu",
        dtype: str = AUTO,
    ):
        """items: benchmark -> items at hand. named: the user asked for these benchmarks, so all must run here.

        dtype: see `find_dtype`.
        """
        self.model, self.submodel = Path(model), submodel
        self.prompt, self.device, self.named = prompt, device, named
        self.computed_in = find_dtype(dtype, device)
        self.items = items or {}
        self.benchmarks: dict[str, Benchmark] = {name: load_benchmark(name) for name in self.items}

    @cached_property
    def languages(self) -> list[str]:
        """Languages of the programs that the benchmarks run."""
        run = {task.language for task in self.benchmarks.values() if task.is_code}
        return [name for name in LANGUAGES if name in run]

    @_once
    def sandboxes(self) -> dict[str, str | None]:
        return sandbox_status()

    @_once
    def dtype(self) -> str:
        """The data type that the model computes in."""
        from submodels.checkpoints.base import known_dtype

        return known_dtype(self.computed_in, self.model)

    @_once
    def weights(self):
        from submodels.checkpoints.base import Weights

        return Weights(self.model)

    @_once
    def config(self):
        """The part of the configuration that describes the language model."""
        from submodels.checkpoints.base import load_config

        return load_config(self.model).get_text_config()

    @_once
    def tokenizer(self):
        from submodels.checkpoints.load import load_tokenizer

        return load_tokenizer(self.model)

    @_once
    def engine(self):
        """The loaded sub-model; not loaded where it does not fit or would read outside its embedding."""
        if fault := memory_fault(self) or vocabulary_fault(self):
            raise SubmodelsError(fault)
        from submodels.checkpoints.load import load_submodel
        from submodels.evaluation.hf_engine import EngineLM

        model = load_submodel(self.model, self.submodel, dtype=self.dtype, device=self.device)
        return EngineLM(model, self.tokenizer, SHOWN)

    @_once
    def end_tokens(self) -> dict[str, list[int]]:
        """Place that declares end tokens -> their ids; places that declare none are left out."""
        path = self.model / "generation_config.json"
        known = files.read_json(path) if path.is_file() else {}
        source, declared = path.name, known.get("eos_token_id")
        if declared is None:
            source, declared = "config.json", getattr(self.config, "eos_token_id", None)
        places = {source: declared, "the tokenizer": self.tokenizer.eos_token_id}
        return {name: ids if isinstance(ids, list) else [ids] for name, ids in places.items() if ids is not None}

    @property
    def end_ids(self) -> set[int]:
        return {number for ids in self.end_tokens.values() for number in ids}

    def format_of(self, name: str) -> str:
        return prompts.format_of(self.prompt, self.benchmarks[name])

    def requests(self, name: str, count: int) -> list:
        """lm-eval's requests of a benchmark's first items, as in generation, one sample each."""
        from submodels.evaluation.engine import ask

        return ask(_pilot(self.benchmarks[name]), self.items[name][:count], 0, self.tokenizer, self.prompt)

    @_once
    def samples(self) -> dict[str, list[dict]]:
        """Benchmark -> the first items' prompts and sample lines; benchmarks the model cannot answer are left out."""
        from submodels.evaluation.engine import run

        samples = {}
        for name in self.items:
            items = self.items[name][:SHOWN]
            texts = {request.doc["task_id"]: request.args[0] for request in reversed(self.requests(name, SHOWN))}
            try:
                lines = run(self.engine, _pilot(self.benchmarks[name]), items, 0, self.prompt)
            except SubmodelsError:
                continue  # the check of the context gives the reason
            samples[name] = [{"task_id": line["task_id"], "prompt": texts[line["task_id"]]} | line for line in lines]
        return samples

    def read(self, text: str) -> list[int]:
        """The token ids of a prompt as generation makes them: no second BOS."""
        begun = bool(self.tokenizer.bos_token) and text.startswith(self.tokenizer.bos_token)
        return prompts.one_bos(self.tokenizer.encode(text, verbose=False), prompts.Prompt(text, begun))


def _pilot(benchmark: Benchmark) -> Benchmark:
    """The benchmark with one short sample an item."""
    metadata = benchmark.task["metadata"] | {"primary": SCORERS[benchmark.scorer].metrics(1)[0]}
    task = benchmark.task | {"repeats": 1, "metadata": metadata}
    if benchmark.output_type == "generate_until":
        settings = task["generation_kwargs"]
        task["generation_kwargs"] = settings | {"max_gen_toks": min(settings["max_gen_toks"], _NEW_TOKENS)}
    return Benchmark(task, benchmark.name)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def generated(subject: Subject) -> dict[str, Benchmark]:
    return {name: task for name, task in subject.benchmarks.items() if task.output_type == "generate_until"}


def stop_strings(benchmark: Benchmark) -> list[str]:
    return benchmark.task["generation_kwargs"]["until"]


def canonical_answers(subject: Subject, name: str) -> Iterator[tuple[str, str]]:
    """(task_id, canonical answer) of a benchmark's items at hand; none where there is no text to compare with."""
    benchmark = subject.benchmarks[name]
    target = "canonical_solution" if benchmark.is_code else benchmark.task["doc_to_target"]
    for item in subject.items[name][:LOOKED_AT]:
        if isinstance(target, str) and isinstance(answer := item.get(target), str):
            yield item["task_id"], answer


def memory_fault(subject: Subject) -> str | None:
    """The message if the weights do not fit into the memory of the device; else None."""
    size, free = memory(subject)
    if size <= free:
        return None
    smaller = "" if DTYPE_BYTES[subject.dtype] == 2 else " Try --dtype bfloat16."
    return (
        f"the weights take {size / GB:.2g} GB in {subject.dtype}, but {free / GB:.2g} GB are free ({subject.device})."
        f"{smaller} Otherwise use a machine with more memory"
    )


def memory(subject: Subject) -> tuple[int, int]:
    """Bytes of the weights in the chosen dtype, bytes free on the device."""
    from submodels.checkpoints.base import usable_device
    from submodels.pruning.memory import free_host_memory

    device = usable_device(subject.device)
    if device.type == "cpu":
        free = free_host_memory()
    else:
        import torch

        free = torch.cuda.mem_get_info(device)[0]
    return parameters(subject) * DTYPE_BYTES[subject.dtype], free


def parameters(subject: Subject) -> int:
    total = 0
    for name in subject.weights:
        count = 1
        for size in subject.weights.shape(name):
            count *= size
        total += count
    return total


def _embedding_rows(subject: Subject) -> dict[str, int]:
    """Rows of the embedding by source: config.json and the weights."""
    tensors = {name: subject.weights.shape(name)[0] for name in subject.weights if name.endswith(_EMBEDDINGS)}
    return {"config.json": subject.config.vocab_size} | tensors


def vocabulary_fault(subject: Subject) -> str | None:
    """The message if the tokenizer gives ids that have no row in the embedding, or if sizes differ; else None."""
    highest, rows = max(subject.tokenizer.get_vocab().values()), _embedding_rows(subject)
    least = min(rows, key=rows.get)
    if highest >= rows[least]:
        return (
            f"the tokenizer gives ids up to {highest}, but {least} has {rows[least]} rows: the tokenizer belongs to "
            "another model, or the embedding was not resized; use the files of one model"
        )
    if len(set(rows.values())) > 1:
        sizes = ", ".join(f"{name} {count}" for name, count in rows.items())
        return f"sizes of the vocabulary differ: {sizes}; use the files of one model"
    return None
