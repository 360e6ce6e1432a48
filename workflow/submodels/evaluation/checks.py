"""What the self-check looks at: functions from a `Subject` to findings, registered in CHECKS."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path

from submodels import files
from submodels.dtypes import AUTO, DTYPE_BYTES, find_dtype
from submodels.errors import SubmodelsError
from submodels.evaluation import prompts
from submodels.evaluation.benchmarks import Benchmark, load_benchmark
from submodels.evaluation.metrics import SCORERS
from submodels.evaluation.runners import LANGUAGES, missing_toolchain
from submodels.evaluation.sandbox import sandbox_status
from submodels.evaluation.truncation import context_of, prompt_room

OK, WARNING, PROBLEM = "ok", "warning", "problem"

SHOWN = 3  # items of each benchmark that are asked and whose solutions are run
_LOOKED_AT = 200  # items of each benchmark whose prompts and answers are read
_NEW_TOKENS = 64  # of a completion that is shown
_GB = 1e9
# Families whose models were never trained without BOS and answer nonsense when it is missing.
_NEED_BOS = ("gemma", "gemma2", "gemma3", "gemma3_text")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
_PROBE = "Two  spaces,\na line\n    and an indented one: naïve Œuvre, 2 < 3 && x != {y}\t\"quoted\" 'text' # 100%\n"


@dataclass(frozen=True)
class Finding:
    """What a check found; `check` is filled in by the self-check."""

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
    """A property made once; an error is kept as well, so that nothing slow is tried twice."""
    name = f"_{method.__name__}"

    @property
    @wraps(method)
    def kept(self):
        if name not in self.__dict__:
            try:
                self.__dict__[name] = method(self)
            except Exception as error:  # of any kind: a broken model breaks in its own ways
                self.__dict__[name] = error
        if isinstance(value := self.__dict__[name], Exception):
            raise value
        return value

    return kept


class Subject:
    """The model, sub-model and benchmarks under examination; every part is read when a check first asks for it."""

    def __init__(
        self,
        model: Path,
        submodel: Path | None = None,
        items: dict[str, list[dict]] | None = None,
        *,
        named: bool = False,
        prompt: str = "base",
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
        """Languages of the benchmarks."""
        return [name for name in LANGUAGES if any(task.language == name for task in self.benchmarks.values())]

    @_once
    def sandboxes(self) -> dict[str, str | None]:
        return sandbox_status()

    @_once
    def dtype(self) -> str:
        """What the model computes in."""
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
        from submodels.evaluation.engine import EngineLM

        model = load_submodel(self.model, self.submodel, dtype=self.dtype, device=self.device)
        return EngineLM(model, self.tokenizer, SHOWN)

    @_once
    def end_tokens(self) -> dict[str, list[int]]:
        """Where end tokens are declared -> their ids; what is not declared is left out."""
        path = self.model / "generation_config.json"
        known = files.read_json(path) if path.is_file() else {}
        source, declared = path.name, known.get("eos_token_id")
        if declared is None:
            source, declared = "config.json", getattr(self.config, "eos_token_id", None)
        found = {source: declared, "the tokenizer": self.tokenizer.eos_token_id}
        return {name: ids if isinstance(ids, list) else [ids] for name, ids in found.items() if ids is not None}

    @property
    def end_ids(self) -> set[int]:
        return {number for ids in self.end_tokens.values() for number in ids}

    def format_of(self, name: str) -> str:
        return prompts.format_of(self.prompt, self.benchmarks[name])

    def requests(self, name: str, count: int) -> list:
        """lm-eval's requests of a benchmark's first items, as generation asks them, one sample each."""
        from submodels.evaluation.engine import ask

        return ask(_pilot(self.benchmarks[name]), self.items[name][:count], 0, self.tokenizer, self.prompt)

    @_once
    def said(self) -> dict[str, list[dict]]:
        """Benchmark -> the first items' prompts and sample lines; benchmarks that cannot be asked are left out."""
        from submodels.evaluation.engine import run

        said = {}
        for name in self.items:
            items = self.items[name][:SHOWN]
            asked = {request.doc["task_id"]: request.args[0] for request in reversed(self.requests(name, SHOWN))}
            try:
                lines = run(self.engine, _pilot(self.benchmarks[name]), items, 0, self.prompt)
            except SubmodelsError:
                continue  # the check of the context says why
            said[name] = [{"task_id": line["task_id"], "prompt": asked[line["task_id"]]} | line for line in lines]
        return said

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


def _answers(subject: Subject, name: str) -> Iterator[tuple[str, str]]:
    """(task_id, canonical answer) of a benchmark's items at hand; none where there is no text to compare with."""
    benchmark = subject.benchmarks[name]
    target = "canonical_solution" if benchmark.is_code else benchmark.task["doc_to_target"]
    for item in subject.items[name][:_LOOKED_AT]:
        if isinstance(target, str) and isinstance(answer := item.get(target), str):
            yield item["task_id"], answer


# --- The machine ------------------------------------------------------------------------------------------------------


def check_toolchains(subject: Subject) -> Iterator[Finding]:
    """Compilers and interpreters of the benchmarks' languages."""
    missing = {name: hint for name in subject.languages if (hint := missing_toolchain(name))}
    for language, hint in missing.items():
        say = problem if subject.named else warning
        yield say(f"{language} programs cannot run here, their scores would be 'not run': {hint}")
    if working := [name for name in subject.languages if name not in missing]:
        yield ok(f"programs can run here in {', '.join(working)}")


def check_sandbox(subject: Subject) -> Iterator[Finding]:
    """A sandbox for generated programs."""
    if not subject.languages:
        return
    working = [name for name, fault in subject.sandboxes.items() if fault is None]
    if working:
        yield ok(f"generated programs run in {working[0]}")
        return
    reasons = "; ".join(f"{name}: {fault}" for name, fault in subject.sandboxes.items())
    yield problem(f"no sandbox works, so no generated program would run ({reasons}); install bubblewrap")


def check_canonical(subject: Subject) -> Iterator[Finding]:
    """The benchmarks' own solutions pass their own tests, in the sandbox."""
    passed, without = [], []
    for name, benchmark in subject.benchmarks.items():
        if not benchmark.is_code or missing_toolchain(benchmark.language) or None not in subject.sandboxes.values():
            continue
        items = [item for item in subject.items[name] if isinstance(item.get("canonical_solution"), str)][:SHOWN]
        failing = _failing(benchmark, items)
        failed = [f"{line['task_id']}: {line['result']}" for line in failing]
        if failing and failing[0]["passed"] is None:
            yield problem(f"{name}: {failing[0]['result']}")
        elif failed:
            yield problem(f"{name}: canonical solutions fail ({'; '.join(failed)}); mend the items or the toolchain")
        elif items:
            passed.append(f"{name} {len(items)}")
        else:
            without.append(name)
    if passed:
        yield ok(f"canonical solutions that were run pass: {', '.join(passed)}")
    if without:
        yield ok(f"no canonical solutions to run: {', '.join(without)}")


def _failing(benchmark: Benchmark, items: list[dict]) -> list[dict]:
    """The execution lines of canonical solutions that do not pass."""
    if not items:
        return []
    from submodels.evaluation.execute import execute

    samples = [{"task_id": item["task_id"], "completion": item["canonical_solution"]} for item in items]
    with tempfile.TemporaryDirectory(prefix="submodels-") as directory:
        paths = [Path(directory) / f"{part}.jsonl" for part in ("items", "samples", "executed")]
        files.write_jsonl(paths[0], items)
        files.write_jsonl(paths[1], samples)
        execute(paths[0], benchmark.language, paths[1], paths[2], quiet=benchmark.quiet, workers=1)
        return [line for line in files.read_jsonl(paths[2]) if not line["passed"]]


def memory_fault(subject: Subject) -> str | None:
    """What to say if the weights do not fit where they would be loaded."""
    size, free = _memory(subject)
    if size <= free:
        return None
    smaller = "" if DTYPE_BYTES[subject.dtype] == 2 else " Try --dtype bfloat16."
    return (
        f"the weights take {size / _GB:.2g} GB in {subject.dtype}, but {free / _GB:.2g} GB are free ({subject.device})."
        f"{smaller} Otherwise use a machine with more memory"
    )


def _memory(subject: Subject) -> tuple[int, int]:
    """Bytes of the weights in the chosen dtype, bytes free on the device."""
    from submodels.checkpoints.base import usable_device
    from submodels.pruning.memory import free_host_memory

    device = usable_device(subject.device)
    if device.type == "cpu":
        free = free_host_memory()
    else:
        import torch

        free = torch.cuda.mem_get_info(device)[0]
    return _parameters(subject) * DTYPE_BYTES[subject.dtype], free


def _parameters(subject: Subject) -> int:
    total = 0
    for name in subject.weights:
        count = 1
        for size in subject.weights.shape(name):
            count *= size
        total += count
    return total


def check_memory(subject: Subject) -> Iterator[Finding]:
    """The weights fit, with room for batches."""
    if fault := memory_fault(subject):
        yield problem(fault)
        return
    size, free = _memory(subject)
    text = f"{size / _GB:.2g} GB of weights in {subject.dtype}, {free / _GB:.2g} GB free ({subject.device})"
    if 1.3 * size > free:
        yield warning(f"{text}: little is left for batches; lower the batch size if generation runs out of memory")
    else:
        yield ok(text)


# --- The files of the model -------------------------------------------------------------------------------------------


def check_weights(subject: Subject) -> Iterator[Finding]:
    """Complete weight files, and a mask that was made for them."""
    from submodels.checkpoints.base import INDEX_NAME, SINGLE_NAME, has_unread_index
    from submodels.checkpoints.tensors import read_stored, shown

    tensors = sum(1 for _ in subject.weights)
    stored = read_stored(subject.model)
    yield ok(f"{tensors} tensors, {_parameters(subject):,} parameters, none is missing")
    if stored.unread:
        yield warning(f"no part of the model, and not read: {shown(stored.unread)}; check that nothing else is meant")
    if has_unread_index(subject.model):
        yield warning(
            f"{INDEX_NAME} and the shards that it names are not read, for there is {SINGLE_NAME}; remove those that "
            "are not meant"
        )
    if subject.submodel is not None:
        from submodels.checkpoints.load import read_matching_masks

        masks = read_matching_masks(subject.model, subject.submodel)
        yield ok(f"the sub-model's masks ({masks.header['method']}, {masks.header['sparsity']}) belong to this model")


def check_tokenizer(subject: Subject) -> Iterator[Finding]:
    """Texts come back from the tokenizer as they went in."""
    tokenizer = subject.tokenizer

    def survives(text: str) -> bool:
        ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return back.lstrip(" ") == text.lstrip(" ")  # a space in front comes and goes with what is before the text

    if survives(_PROBE):
        yield ok("spaces, indentation, line ends, accents and punctuation survive")
    else:
        ids = tokenizer.encode(_PROBE, add_special_tokens=False)
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield warning(f"not every character survives: {_PROBE!r} comes back as {back!r}")
    for name in subject.benchmarks:
        answers = list(_answers(subject, name))
        lost = [task_id for task_id, answer in answers if not survives(answer)]
        if lost:
            yield problem(
                f"{name}: {len(lost)} of {len(answers)} canonical answers change on their way through the tokenizer "
                f"(first {lost[0]}): the model cannot give them; use the tokenizer the model was trained with"
            )


def _embedding_rows(subject: Subject) -> dict[str, int]:
    """Rows of the embedding by what says so: config.json and the weights."""
    tensors = {name: subject.weights.shape(name)[0] for name in subject.weights if name.endswith(_EMBEDDINGS)}
    return {"config.json": subject.config.vocab_size} | tensors


def vocabulary_fault(subject: Subject) -> str | None:
    """What to say if the tokenizer gives ids that have no row in the embedding, or if sizes differ."""
    highest, rows = max(subject.tokenizer.get_vocab().values()), _embedding_rows(subject)
    least = min(rows, key=rows.get)
    if highest >= rows[least]:
        return (
            f"the tokenizer gives ids up to {highest}, but {least} has {rows[least]} rows: the tokenizer belongs to "
            "another model, or the embedding was not resized; use the files of one model"
        )
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in rows.items())
        return f"sizes of the vocabulary differ: {said}; use the files of one model"
    return None


def check_vocabulary(subject: Subject) -> Iterator[Finding]:
    """Every token the tokenizer gives has a row in the embedding."""
    if fault := vocabulary_fault(subject):
        yield problem(fault)
    else:
        rows = subject.config.vocab_size
        yield ok(f"ids up to {max(subject.tokenizer.get_vocab().values())}, {rows} rows in the embedding")


def check_end(subject: Subject) -> Iterator[Finding]:
    """What ends an answer."""
    declared, tokenizer = subject.end_tokens, subject.tokenizer
    if not declared:
        say = problem if any(not _stops(task) for task in _generated(subject).values()) else warning
        yield say(
            "no end token is declared, so answers run on to a stop string or their greatest length; set eos_token"
        )
        return
    if too_high := sorted(number for number in subject.end_ids if number >= subject.config.vocab_size):
        yield problem(
            f"the end token {too_high[0]} is outside the vocabulary of {subject.config.vocab_size}, so it never comes; "
            "correct eos_token_id in generation_config.json"
        )
    said = "; ".join(
        f"{source}: {', '.join(f'{number} {tokenizer.convert_ids_to_tokens(number)!r}' for number in ids)}"
        for source, ids in declared.items()
        if max(ids) < len(tokenizer)
    )
    own = declared.get("the tokenizer")
    others = [ids for source, ids in declared.items() if source != "the tokenizer"]
    if own and others and own[0] not in others[0]:
        yield warning(f"end tokens differ ({said}); both end an answer: make sure that none of them occurs within one")
    elif not too_high:
        yield ok(f"answers end at {said}")
    mark = _end_of_turn(subject)
    number = tokenizer.get_vocab().get(mark)  # a mark that is no token at all is the template's fault
    if number is not None and number not in subject.end_ids:
        yield problem(
            f"the model ends its turn with {mark}, which is no end token, so it would go on talking to itself; add "
            f"{number} to eos_token_id in generation_config.json"
        )


def _end_of_turn(subject: Subject) -> str | None:
    """The special token after an answer in the model's prompt format; None if that is unknown."""
    format = prompts.FORMATS[subject.prompt]
    if not format.needs_tokenizer or not subject.tokenizer.chat_template:
        return format.end
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    rendered = prompts.render(turns, subject.tokenizer, answer=False)
    after = subject.tokenizer.tokenize(rendered.rpartition("answer")[2])
    special = set(subject.tokenizer.all_special_tokens) | set(subject.tokenizer.get_added_vocab())
    return next((token for token in after if token in special), None)


# --- Prompts ----------------------------------------------------------------------------------------------------------


def check_bos(subject: Subject) -> Iterator[Finding]:
    """BOS stands before every text, once; nothing stands after a prompt."""
    tokenizer = subject.tokenizer
    ids, bos = tokenizer.encode("a"), tokenizer.bos_token_id
    if ids[-1] == tokenizer.eos_token_id:
        yield problem(
            "the tokenizer puts the end token after every prompt, so the model reads that the text is over; set "
            "add_eos_token: false in tokenizer_config.json"
        )
    texts = {f"{name}'s prompts": request.args[0] for name in subject.items for request in subject.requests(name, 1)}
    texts["texts"] = "a"
    times = {where: _leading(subject.read(text), bos) for where, text in texts.items()}
    twice = [where for where, count in times.items() if count > 1]
    if bos is None:
        yield ok("the tokenizer has no BOS")
    elif twice:
        yield problem(
            f"{', '.join(twice)} begin with BOS {times[twice[0]]} times: the tokenizer or its chat template adds it "
            "more than once; correct post_processor in tokenizer.json or the template"
        )
    elif not times["texts"]:
        needed = subject.config.model_type in _NEED_BOS
        if not needed and (use := _other_use_of_bos(tokenizer)):
            yield ok(f"the tokenizer puts no BOS before a text: {tokenizer.bos_token!r} {use}")
            return
        say = problem if needed else warning
        yield say(
            f"the tokenizer has {tokenizer.bos_token!r} but does not put it before a text. If the model was trained "
            "with it, as Llama and Gemma were, all scores suffer: set add_bos_token: true in tokenizer_config.json"
        )
    else:
        yield ok(f"{tokenizer.bos_token!r} stands before every text, once")


def _other_use_of_bos(tokenizer) -> str | None:
    """What a token that is named BOS is for in a model that was not trained with it before every text, if it tells."""
    if tokenizer.chat_template:
        turns = [{"role": role, "content": "text"} for role in ("user", "assistant", "user")]
        with suppress(Exception):  # of any kind: what is wrong with the template is another check's finding
            if prompts.render(turns, tokenizer, answer=False).count(tokenizer.bos_token) > 1:
                return "marks turns in the chat template"
    others = {"the padding": tokenizer.pad_token, "the end token": tokenizer.eos_token}
    return next((f"is {name}" for name, token in others.items() if token == tokenizer.bos_token), None)


def _leading(ids: list[int], token: int | None) -> int:
    return next((place for place, number in enumerate(ids) if number != token), len(ids))


def check_template(subject: Subject) -> Iterator[Finding]:
    """The model's chat template says what its prompt format assumes."""
    tokenizer, name = subject.tokenizer, subject.prompt
    if name == "base":
        wrapped = [task for task in subject.benchmarks if _is_instruction(subject.benchmarks[task])]
        if tokenizer.chat_template and wrapped:
            yield warning(
                f"the model has a chat template, so it was tuned on conversations, but {', '.join(wrapped)} would be "
                "asked without; give the model `prompt: chat_template`"
            )
        else:
            yield ok("instructions are given as they are (prompt: base)")
        return
    for mark in prompts.FORMATS[name].marks:
        if (pieces := len(tokenizer.tokenize(mark))) != 1:
            yield problem(
                f"format {name} writes {mark}, which this tokenizer spells in {pieces} tokens: the model was not tuned "
                "on it; choose another prompt format"
            )
    instruction = "Say hello."
    prompt = prompts.wrap(name, instruction, tokenizer)
    if not tokenizer.chat_template:
        yield warning(f"the tokenizer has no chat template to compare format {name} with")
        return
    own = prompts.chat_template(instruction, tokenizer).text
    if own.removeprefix(tokenizer.bos_token or "") != prompt.text.removeprefix(tokenizer.bos_token or ""):
        say = warning if name.endswith("_paper") else problem
        yield say(f"format {name} writes {prompt.text!r}, the model's own template {own!r}; use prompt: chat_template")
        return
    if _after_bos(tokenizer, tokenizer.encode(own, add_special_tokens=False)) != _after_bos(
        tokenizer, subject.read(prompt.text)
    ):
        yield problem(f"format {name} gives other tokens than the model's own template; use prompt: chat_template")
    else:
        yield ok(f"format {name} and the model's own template agree: {prompt.text!r}")


def _after_bos(tokenizer, ids: list[int]) -> list[int]:
    return ids[_leading(ids, tokenizer.bos_token_id) :]


def _is_instruction(benchmark: Benchmark) -> bool:
    return prompts.format_of("llama2", benchmark) != "base"


def check_context(subject: Subject) -> Iterator[Finding]:
    """Prompts, and answers after them, fit the model's context."""
    context, unstated = context_of(subject.config, subject.tokenizer)
    if unstated:
        yield warning(unstated)
    fit, short = [], []
    for name, benchmark in subject.benchmarks.items():
        if benchmark.output_type == "loglikelihood_rolling":
            continue  # longer texts are scored in windows
        lengths = _prompt_lengths(subject, name)
        longest = max(lengths, key=lengths.get)
        answer = benchmark.task["generation_kwargs"]["max_gen_toks"] if name in _generated(subject) else 0
        room = prompt_room(context, answer) if answer else context + 1  # of a scored text the last token is not read
        too_long = sum(length > room for length in lengths.values())
        if too_long:
            say = problem if subject.named else warning
            yield say(
                f"{name}: {too_long} of {len(lengths)} prompts lose their beginning in the context of {context} tokens "
                f"(longest {longest}: {lengths[longest]}{f' + {answer}' * bool(answer)}), and their scores say so; "
                "choose another model, or leave the benchmark out"
            )
        elif answer and lengths[longest] + answer > context:
            short.append(f"{name} {lengths[longest]} + {answer}")
        else:
            fit.append(f"{name} {lengths[longest] + answer}")
    if short:
        yield warning(
            f"the longest prompt leaves less room in the context of {context} tokens than answers may take, so some "
            f"may be cut: {', '.join(short)}"
        )
    if fit:
        yield ok(f"the longest prompts and their answers fit the context of {context} tokens: {', '.join(fit)}")


def _prompt_lengths(subject: Subject, name: str) -> dict[str, int]:
    """task_id -> tokens of the item's longest prompt, choices included."""
    texts = {
        "".join(part for part in request.args if isinstance(part, str)): request.doc["task_id"]
        for request in subject.requests(name, _LOOKED_AT)
    }
    lengths: dict[str, int] = {}
    for text, task_id in texts.items():
        lengths[task_id] = max(lengths.get(task_id, 0), len(subject.read(text)))
    return lengths


def _generated(subject: Subject) -> dict[str, Benchmark]:
    return {name: task for name, task in subject.benchmarks.items() if task.output_type == "generate_until"}


def _stops(benchmark: Benchmark) -> list[str]:
    return benchmark.task["generation_kwargs"]["until"]


def check_stops(subject: Subject) -> Iterator[Finding]:
    """Stop strings are seen in what the model says, and cut no canonical answer."""
    from submodels.evaluation.engine import Ending

    fine = []
    for name, benchmark in _generated(subject).items():
        stops = _stops(benchmark)
        if not stops:
            continue
        answers = list(_answers(subject, name))
        cut = [(task_id, stop) for task_id, answer in answers for stop in stops if stop in answer]
        unseen = [stop for stop in stops if not _is_seen(Ending(subject.tokenizer, subject.end_ids, [stop]), stop)]
        if cut:
            items = len({task_id for task_id, _ in cut})
            yield problem(
                f"{name}: {items} of {len(answers)} canonical answers contain a stop string (first {cut[0][0]}: "
                f"{cut[0][1]!r}) and would be cut; take it out of `until` in the task file"
            )
        if unseen:
            yield problem(
                f"{name}: this tokenizer does not give back the stop strings {', '.join(map(repr, unseen))}, so "
                "answers would run past them"
            )
        if not cut and not unseen:
            fine.append(f"{name} {len(answers)}")
    if fine:
        yield ok(f"stop strings are seen and cut none of the canonical answers of {', '.join(fine)}")


def _is_seen(ending, stop: str) -> bool:
    """Whether generation stops at a string that arrives token by token, and leaves what was before it."""
    ids = ending.tokenizer.encode(f"answer{stop} more", add_special_tokens=False)
    end = next((count for count in range(1, len(ids) + 1) if ending.reached(ids[:count])), None)
    return end is not None and ending.text([], ids[:end]).strip() == "answer"


# --- The model --------------------------------------------------------------------------------------------------------


def check_answers(subject: Subject) -> Iterator[Finding]:
    """The model computes numbers, and says something."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([subject.read("The answer is")], device=subject.engine.device)
        logits = subject.engine.model(ids).logits
    if not torch.isfinite(logits).all():
        yield problem(
            f"the model computes NaN or infinite values in {subject.dtype}; use bfloat16 or float32, and look for "
            "broken weights"
        )
        return
    yield ok(f"loaded in {subject.dtype} on {subject.device}, all its numbers are finite")
    said = {name: subject.said[name] for name in _generated(subject) if name in subject.said}
    empty = [name for name, lines in said.items() if not any(line["completion"].strip() for line in lines)]
    if empty:
        yield warning(
            f"all completions shown are empty ({', '.join(empty)}): the model ends at once; compare the prompt format "
            "and the end tokens with the model's documentation"
        )


CHECKS: dict[str, Callable[[Subject], Iterator[Finding]]] = {
    "toolchains": check_toolchains,
    "sandbox": check_sandbox,
    "canonical": check_canonical,
    "weights": check_weights,
    "memory": check_memory,
    "tokenizer": check_tokenizer,
    "vocabulary": check_vocabulary,
    "bos": check_bos,
    "template": check_template,
    "end": check_end,
    "stops": check_stops,
    "context": check_context,
    "answers": check_answers,
}
