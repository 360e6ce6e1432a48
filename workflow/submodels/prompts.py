"""Prompt formats: how an instruction is written for a model that was tuned on conversations.

A format belongs to a base model (`prompt` of its entry); it wraps benchmarks and calibration texts whose style is
`instruction`, never completions. Nothing here imports a heavy library.
"""

import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from submodels.errors import SubmodelsError, unknown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from submodels.benchmarks.registry import Benchmark

INSTRUCTION = "instruction"  # the style of a text that is wrapped; texts of other styles stay as they are

# The date for templates that write today's date (`strftime_now`), so that equal inputs give equal prompts on any day.
# Llama 3's templates write this date where they are given none.
DATE = datetime.datetime(2024, 7, 26)
_CONFIG = "tokenizer_config.json"
_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/*.jinja")  # if not in tokenizer_config.json
_RANDOM = re.compile(r"\|\s*random\b|\blipsum\s*\(")  # random functions of Jinja, which no input decides


@dataclass(frozen=True)
class Prompt:
    """The text that a model reads. has_bos: it begins with BOS already, which the tokenizer must not add again."""

    text: str
    has_bos: bool = False


@dataclass(frozen=True)
class Format:
    """`wrap`: (instruction, tokenizer or None) -> Prompt. `marks`: parts of the format that must be single tokens.

    `end`: the mark that ends the model's turn, None where it is the tokenizer's end token or unknown.
    """

    wrap: Callable[[str, "PreTrainedTokenizerBase | None"], Prompt]
    needs_tokenizer: bool = False
    marks: tuple[str, ...] = ()
    end: str | None = None


def base(instruction: str) -> str:
    """Only the instruction, for models without tuning."""
    return instruction


def llama2(instruction: str) -> str:
    """One user's turn as Llama 2 chat was tuned on it (Touvron et al. 2023; BOS in front is the tokenizer's)."""
    return f"[INST] {instruction.strip()} [/INST]"


def llama2_paper(instruction: str) -> str:
    """The same turn as the code of arXiv 2501.05248 writes it: each mark on a separate line."""
    return f"[INST]\n{instruction}\n[/INST]\n"


def gemma(instruction: str) -> str:
    """One user's turn as Gemma was tuned on it (Gemma Team 2024; BOS in front is the tokenizer's)."""
    return f"<start_of_turn>user\n{instruction.strip()}<end_of_turn>\n<start_of_turn>model\n"


def chat_template(instruction: str, tokenizer: "PreTrainedTokenizerBase") -> Prompt:
    """One user's turn by the template that came with the tokenizer; SubmodelsError if it has none."""
    text = render([{"role": "user", "content": instruction}], tokenizer, answer=True)
    return Prompt(text, has_bos=bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token))


def render(turns: list[dict[str, str]], tokenizer: "PreTrainedTokenizerBase", *, answer: bool) -> str:
    """Turns in the tokenizer's chat template, the same on any day. answer: end where the model's turn begins."""
    where = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise SubmodelsError(
            f"{where}: prompt `chat_template` is set, but the tokenizer has no chat template; choose another of "
            f"{', '.join(FORMATS)}, or put the model's template into {_TEMPLATES[0]}"
        )
    try:
        template = tokenizer.get_chat_template()
        with _on_the_date():
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer)
    except Exception as error:  # of any type: templates are programs
        raise SubmodelsError(f"{where}: the tokenizer's chat template fails ({error})") from error
    if match := _RANDOM.search(template):
        raise SubmodelsError(
            f"{where}: the tokenizer's chat template draws at random ({match[0]}), so that equal runs would differ; "
            "remove that from the template"
        )
    return text


@contextmanager
def _on_the_date() -> Iterator[None]:
    """Give templates `DATE`: transformers reads the clock itself, and a caller can pass data but no function."""
    from transformers.utils import chat_template_utils as compiler

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return DATE

    before = compiler.datetime
    compiler.datetime = Fixed
    try:
        yield
    finally:
        compiler.datetime = before


def template_files(model: Path) -> list[Path]:
    """The files beside tokenizer_config.json that hold the templates of the tokenizer in a directory."""
    return sorted(path for pattern in _TEMPLATES for path in Path(model).glob(pattern))


def date(name: str, model: Path) -> dict[str, str]:
    """Recorded of texts in a format: the date in them, if the model's template writes a date."""
    if not FORMATS[name].needs_tokenizer:
        return {}
    paths = [path for path in [Path(model) / _CONFIG, *template_files(model)] if path.is_file()]
    writes = any("strftime_now" in path.read_text(encoding="utf-8") for path in paths)
    return {"date": DATE.date().isoformat()} if writes else {}


def _plain(write: Callable[[str], str], **details) -> Format:
    """A format whose text leaves BOS to the tokenizer."""
    return Format(lambda instruction, tokenizer: Prompt(write(instruction)), **details)


FORMATS = {
    "base": _plain(base),
    "llama2": _plain(llama2),
    "llama2_paper": _plain(llama2_paper),
    "gemma": _plain(gemma, marks=("<start_of_turn>", "<end_of_turn>"), end="<end_of_turn>"),
    "chat_template": Format(chat_template, needs_tokenizer=True),
}
_IN_PAPER = {"llama2": "llama2_paper"}


def format_of(name: str, benchmark: "Benchmark") -> str:
    """The format a benchmark's texts get from a model whose format is `name`: completions are never wrapped.

    The paper's protocol writes Llama 2's marks in its own way.
    """
    check(name)
    if benchmark.style != INSTRUCTION:
        return "base"
    return _IN_PAPER.get(name, name) if benchmark.protocol == "paper" else name


def settings(name: str, benchmark: "Benchmark") -> dict[str, str]:
    """The format's part of the settings of a benchmark's samples: empty where texts stay as they are."""
    chosen = format_of(name, benchmark)
    return {} if chosen == "base" else {"prompt": chosen}


def check(name: str) -> None:
    """Refuse a format that is not registered."""
    if name not in FORMATS:
        raise unknown("prompt format", name, FORMATS)


def wrap(name: str, instruction: str, tokenizer: "PreTrainedTokenizerBase | None" = None) -> Prompt:
    """The instruction in a format of the registry."""
    check(name)
    return FORMATS[name].wrap(instruction, tokenizer)


def wrapper(name: str, model: Path) -> Callable[[str], Prompt]:
    """Instruction -> prompt for the base model in a directory, whose tokenizer is read only if the format needs it."""
    check(name)
    if not FORMATS[name].needs_tokenizer:
        return partial(wrap, name)

    @cache
    def tokenizer():
        from submodels.checkpoints.load import load_tokenizer

        return load_tokenizer(model)

    return lambda instruction: wrap(name, instruction, tokenizer())


def one_bos(ids: list[int], prompt: Prompt) -> list[int]:
    """Token ids of a prompt, without the second BOS that a tokenizer puts before a BOS in the text."""
    return ids[1:] if prompt.has_bos and ids[:1] == ids[1:2] else ids
