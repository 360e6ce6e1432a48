"""Checks of the model's files: weights, tokenizer, vocabulary, end tokens."""

from collections.abc import Iterator

from submodels import prompts
from submodels.doctor.subject import (
    Finding,
    Subject,
    canonical_answers,
    generated,
    ok,
    parameters,
    problem,
    stop_strings,
    vocabulary_fault,
    warning,
)

_PROBE = "Two  spaces,\na line\n    and an indented one: naïve Œuvre, 2 < 3 && x != {y}\t\"quoted\" 'text' # 100%\n"


def check_weights(subject: Subject) -> Iterator[Finding]:
    """Complete weight files, and a mask that was made for them."""
    from submodels.checkpoints.base import INDEX_NAME, SINGLE_NAME, has_unread_index
    from submodels.checkpoints.tensors import read_stored, shown

    tensors = sum(1 for _ in subject.weights)
    stored = read_stored(subject.model)
    yield ok(f"{tensors} tensors, {parameters(subject):,} parameters, none is missing")
    if stored.unread:
        yield warning(
            f"tensors that are no part of the model are not read: {shown(stored.unread)}; check that the weight files "
            "are those of this model"
        )
    if has_unread_index(subject.model):
        yield warning(
            f"{INDEX_NAME} and the shards that it names are not read, because {SINGLE_NAME} exists; remove the files "
            "that are not to be used"
        )
    if subject.submodel is not None:
        from submodels.checkpoints.load import read_matching_masks

        masks = read_matching_masks(subject.model, subject.submodel)
        yield ok(f"the sub-model's masks ({masks.header['method']}, {masks.header['sparsity']}) belong to this model")


def check_tokenizer(subject: Subject) -> Iterator[Finding]:
    """The tokenizer decodes an encoded text to the same text."""
    tokenizer = subject.tokenizer

    def survives(text: str) -> bool:
        ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return back.lstrip(" ") == text.lstrip(" ")  # some tokenizers add or drop a space at the start

    if survives(_PROBE):
        yield ok("spaces, indentation, line ends, accents and punctuation survive encoding and decoding")
    else:
        ids = tokenizer.encode(_PROBE, add_special_tokens=False)
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield warning(f"not every character survives encoding and decoding: {_PROBE!r} comes back as {back!r}")
    for name in subject.benchmarks:
        answers = list(canonical_answers(subject, name))
        lost = [task_id for task_id, answer in answers if not survives(answer)]
        if lost:
            yield problem(
                f"{name}: {len(lost)} of {len(answers)} canonical answers change when the tokenizer encodes and "
                f"decodes them (first {lost[0]}): the model cannot give these answers; use the tokenizer that the "
                "model was trained with"
            )


def check_vocabulary(subject: Subject) -> Iterator[Finding]:
    """Every token the tokenizer gives has a row in the embedding."""
    if fault := vocabulary_fault(subject):
        yield problem(fault)
    else:
        rows = subject.config.vocab_size
        yield ok(f"ids up to {max(subject.tokenizer.get_vocab().values())}, {rows} rows in the embedding")


def check_end(subject: Subject) -> Iterator[Finding]:
    """End tokens are declared, in the vocabulary, and among them the mark that ends the model's turn."""
    declared, tokenizer = subject.end_tokens, subject.tokenizer
    if not declared:
        say = problem if any(not stop_strings(task) for task in generated(subject).values()) else warning
        yield say("no end token is declared, so answers run on to a stop string or their maximum length; set eos_token")
        return
    if too_high := sorted(number for number in subject.end_ids if number >= subject.config.vocab_size):
        yield problem(
            f"the end token {too_high[0]} is outside the vocabulary of {subject.config.vocab_size}, so the model never "
            "generates it; correct eos_token_id in generation_config.json"
        )
    declarations = "; ".join(
        f"{source}: {', '.join(f'{number} {tokenizer.convert_ids_to_tokens(number)!r}' for number in ids)}"
        for source, ids in declared.items()
        if max(ids) < len(tokenizer)
    )
    of_tokenizer = declared.get("the tokenizer")
    others = [ids for source, ids in declared.items() if source != "the tokenizer"]
    if of_tokenizer and others and of_tokenizer[0] not in others[0]:
        yield warning(
            f"end tokens differ ({declarations}); all of them end an answer: make sure that none is part of an answer"
        )
    elif not too_high:
        yield ok(f"answers end at {declarations}")
    mark = _end_of_turn(subject)
    number = tokenizer.get_vocab().get(mark)  # a mark that is no token is reported by the check of the template
    if number is not None and number not in subject.end_ids:
        yield problem(
            f"the model ends its turn with {mark}, which is no end token, so the model would go on talking to itself; "
            f"add {number} to eos_token_id in generation_config.json"
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
