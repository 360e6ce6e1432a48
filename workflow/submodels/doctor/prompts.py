"""Checks of prompts: BOS, chat template, context, stop strings."""

from collections.abc import Iterator
from contextlib import suppress

from submodels import prompts
from submodels.benchmarks.registry import Benchmark
from submodels.doctor.subject import (
    LOOKED_AT,
    Finding,
    Subject,
    canonical_answers,
    generated,
    ok,
    problem,
    stop_strings,
    warning,
)
from submodels.evaluation.truncation import context_of, prompt_room

# Families whose models were never trained without BOS and answer nonsense when it is missing.
_NEED_BOS = ("gemma", "gemma2", "gemma3", "gemma3_text")


def check_bos(subject: Subject) -> Iterator[Finding]:
    """Every text begins with exactly one BOS; no end token follows a prompt."""
    tokenizer = subject.tokenizer
    ids, bos = tokenizer.encode("a"), tokenizer.bos_token_id
    if ids[-1] == tokenizer.eos_token_id:
        yield problem(
            "the tokenizer puts the end token after every prompt, so the model takes the text for finished; set "
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
        yield ok(f"every text begins with {tokenizer.bos_token!r}, once")


def _other_use_of_bos(tokenizer) -> str | None:
    """The use of BOS in a model that was not trained with BOS before every text; None if the files do not show it."""
    if tokenizer.chat_template:
        turns = [{"role": role, "content": "text"} for role in ("user", "assistant", "user")]
        with suppress(Exception):  # of any type: another check reports faults of the template
            if prompts.render(turns, tokenizer, answer=False).count(tokenizer.bos_token) > 1:
                return "marks turns in the chat template"
    others = {"the padding": tokenizer.pad_token, "the end token": tokenizer.eos_token}
    return next((f"is {name}" for name, token in others.items() if token == tokenizer.bos_token), None)


def _leading(ids: list[int], token: int | None) -> int:
    return next((place for place, number in enumerate(ids) if number != token), len(ids))


def check_template(subject: Subject) -> Iterator[Finding]:
    """The prompt format agrees with the model's chat template."""
    tokenizer, name = subject.tokenizer, subject.prompt
    if name == "base":
        wrapped = [task for task in subject.benchmarks if _is_instruction(subject.benchmarks[task])]
        if tokenizer.chat_template and wrapped:
            yield warning(
                "the model has a chat template, so it was tuned on conversations, but the instructions of "
                f"{', '.join(wrapped)} would be sent without it; set `prompt: chat_template` for the model"
            )
        else:
            yield ok("instructions are sent without a chat format (prompt: base)")
        return
    for mark in prompts.FORMATS[name].marks:
        if (pieces := len(tokenizer.tokenize(mark))) != 1:
            yield problem(
                f"format {name} writes {mark}, which this tokenizer splits into {pieces} tokens: the model was not "
                "tuned on this format; choose another prompt format"
            )
    instruction = "Say hello."
    prompt = prompts.wrap(name, instruction, tokenizer)
    if not tokenizer.chat_template:
        yield warning(f"the tokenizer has no chat template to compare format {name} with")
        return
    templated = prompts.chat_template(instruction, tokenizer).text
    if templated.removeprefix(tokenizer.bos_token or "") != prompt.text.removeprefix(tokenizer.bos_token or ""):
        say = warning if name.endswith("_paper") else problem
        yield say(
            f"format {name} writes {prompt.text!r}, the model's chat template {templated!r}; use prompt: chat_template"
        )
        return
    if _after_bos(tokenizer, tokenizer.encode(templated, add_special_tokens=False)) != _after_bos(
        tokenizer, subject.read(prompt.text)
    ):
        yield problem(f"format {name} gives other tokens than the model's chat template; use prompt: chat_template")
    else:
        yield ok(f"format {name} and the model's chat template agree: {prompt.text!r}")


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
        answer = benchmark.task["generation_kwargs"]["max_gen_toks"] if name in generated(subject) else 0
        # The last token of a scored text is predicted, not read.
        room = prompt_room(context, answer) if answer else context + 1
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
            f"answers may be cut: {', '.join(short)}"
        )
    if fit:
        yield ok(f"the longest prompts and their answers fit the context of {context} tokens: {', '.join(fit)}")


def _prompt_lengths(subject: Subject, name: str) -> dict[str, int]:
    """task_id -> tokens of the item's longest prompt, choices included."""
    texts = {
        "".join(part for part in request.args if isinstance(part, str)): request.doc["task_id"]
        for request in subject.requests(name, LOOKED_AT)
    }
    lengths: dict[str, int] = {}
    for text, task_id in texts.items():
        lengths[task_id] = max(lengths.get(task_id, 0), len(subject.read(text)))
    return lengths


def check_stops(subject: Subject) -> Iterator[Finding]:
    """Stop strings are recognised in generated text, and occur in no canonical answer."""
    from submodels.evaluation.engine import Ending

    fine = []
    for name, benchmark in generated(subject).items():
        stops = stop_strings(benchmark)
        if not stops:
            continue
        answers = list(canonical_answers(subject, name))
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
                f"{name}: the stop strings {', '.join(map(repr, unseen))} are not recognised once this tokenizer has "
                "encoded and decoded them, so answers would run past them"
            )
        if not cut and not unseen:
            fine.append(f"{name} {len(answers)}")
    if fine:
        yield ok(f"stop strings are recognised and occur in no canonical answer of {', '.join(fine)}")


def _is_seen(ending, stop: str) -> bool:
    """Whether generation stops at a string that is generated token by token, and keeps the text before it."""
    ids = ending.tokenizer.encode(f"answer{stop} more", add_special_tokens=False)
    end = next((count for count in range(1, len(ids) + 1) if ending.reached(ids[:count])), None)
    return end is not None and ending.text([], ids[:end]).strip() == "answer"
