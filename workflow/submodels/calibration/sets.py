"""The draw of one calibration set: rows in a random order -> texts -> token ids -> windows, not yet padded."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from submodels.calibration import drawing
from submodels.calibration import row_statistics as statistics
from submodels.calibration.registry import CalibrationSet
from submodels.calibration.sizes import DrawSize
from submodels.calibration.templates import Incomplete, Template
from submodels.calibration.tokenising import TextTokenizer
from submodels.calibration.windowing import cut_lengths, pack_rows
from submodels.errors import SubmodelsError
from submodels.held_out import is_held_out
from submodels.prompts import INSTRUCTION, Prompt, one_bos
from submodels.rows import read_rows

_PREVIEWS, _PREVIEW_CHARACTERS = 3, 200


@dataclass(frozen=True)
class Recipe:
    """How windows are made of any set. `windows`: a name in MODES; `protocol`: a name in PROTOCOLS."""

    size: DrawSize
    seqlen: int
    seed: int
    windows: str
    protocol: str
    wrap: Callable[[str], Prompt] = Prompt  # an instruction -> the text that the base model reads

    def prompt(self, spec: CalibrationSet, text: str) -> Prompt:
        """A row's text as the base model reads it: wrapped if it is an instruction."""
        return self.wrap(text) if spec.style == INSTRUCTION else Prompt(text)

    def counts_padding(self, spec: CalibrationSet) -> bool:
        """Whether the set is padded and its padding counted, as in the paper's code."""
        return spec.paper_padding and self.protocol == "paper" and self.windows == "rows"


@dataclass(frozen=True)
class Drawn:
    """The draw of a set.

    windows: token ids, at most `seqlen` each. counted: how many leading positions of each window, padding included,
    enter the statistics: the window's length, except where padding counts. always_masked: an attention mask is written
    even if every window is full. rows: statistics of the rows used, {} for random tokens. texts: the rows used, by
    their index in the set, as the template renders them.
    """

    windows: list[list[int]]
    counted: list[int]
    always_masked: bool
    rows: dict
    texts: dict[int, str]


def draw_set(spec: CalibrationSet, path: Path | None, tokenizer: TextTokenizer, recipe: Recipe) -> Drawn:
    """The windows of a set. `path`: the file of its rows, None for random tokens."""
    if path is None:
        return _random_tokens(tokenizer, recipe)
    return MODES[recipe.windows](spec, path, tokenizer, recipe)


class _Rows:
    """The rows of a set that are used, in the order drawn."""

    def __init__(self, spec: CalibrationSet, path: Path):
        self.spec, self.path = spec, path
        self.template = Template(spec.template)
        self.source = read_rows(path, [*self.template.fields, *(["path"] if spec.hold_out else [])])
        self.total = len(self.source)
        self.skipped = self.held_out = 0
        self.indices: list[int] = []
        self.texts: dict[int, str] = {}
        self.previews: list[str] = []
        self.tokens: list[list[int]] = []

    def use(self, recipe: Recipe, encode, enough: int, worth: Callable[[list[int]], int]) -> int:
        """Draw until the sum of `worth` of the rows used is `enough`; returns the sum, less if no row is left."""
        held = 0
        for index in drawing.order(self.total, recipe.seed, recipe.protocol):
            if self._holds_out(index):
                self.held_out += 1
                continue
            try:
                text = self.template.render(self.source[index], f"{self.path}, row {index}")
            except Incomplete as error:
                if not self.spec.skip_incomplete:
                    raise Incomplete(f"{error}; fix the row, or skip such rows: `skip_incomplete: true`") from error
                self.skipped += 1
                continue
            prompt = recipe.prompt(self.spec, text)
            tokens = one_bos(encode(prompt.text), prompt)
            if self.spec.max_tokens is not None and len(tokens) > self.spec.max_tokens:
                self.skipped += 1
                continue
            self.indices.append(index)
            self.texts[index] = text
            self.previews.append(prompt.text[:_PREVIEW_CHARACTERS])
            self.tokens.append(tokens)
            held += worth(tokens)
            # A token budget is not filled by drawing rows repeatedly, which only the paper's protocol could do.
            if held >= enough or (recipe.size.tokens is not None and len(self.tokens) == self.total):
                break
        if not self.tokens:
            raise SubmodelsError(f"{self.path}: none of its {self.total} rows is usable; all were skipped")
        return held

    def _holds_out(self, index: int) -> bool:
        if not self.spec.hold_out:
            return False
        path = self.source[index].get("path")
        if not isinstance(path, str):
            raise SubmodelsError(f"{self.path}, row {index}: no text `path`, by whose hash `hold_out` leaves files out")
        return is_held_out(path)

    def statistics(self, windows: list[list[int]] | None) -> dict:
        """`windows`: the window made of each row, None if rows run on into the next window."""
        lengths = [len(tokens) for tokens in self.tokens]
        cut = None
        if windows is not None:
            cut = sum(len(row) > len(window) for row, window in zip(self.tokens, windows, strict=True)) / len(windows)
        return {
            "rows_in_source": self.total,
            "rows_used": len(self.indices),
            "rows_skipped": self.skipped,
            **({"rows_held_out": self.held_out} if self.spec.hold_out else {}),
            "row_tokens": statistics.length_distribution(lengths),
            "fraction_truncated": cut,
            "indices": self.indices,
            "preview": self.previews[:_PREVIEWS],
        }


def _one_row_a_window(spec: CalibrationSet, path: Path, tokenizer: TextTokenizer, recipe: Recipe) -> Drawn:
    size, seqlen, rows = recipe.size, recipe.seqlen, _Rows(spec, path)

    def length(tokens: list[int]) -> int:
        return seqlen if recipe.counts_padding(spec) else min(len(tokens), seqlen)

    if size.tokens is None:
        wanted = size.rows if recipe.protocol == "strict" else min(size.rows, rows.total)
        usable = rows.use(recipe, tokenizer.encode, wanted, lambda tokens: 1)
        if usable < wanted:
            skipped = f", {rows.skipped} of them skipped" if rows.skipped else ""
            raise SubmodelsError(
                f"{path}: {size.rows} rows needed, but it has {rows.total}{skipped}; lower rows to at most {usable}"
            )
        counted = [length(tokens) for tokens in rows.tokens]
    else:
        held = rows.use(recipe, tokenizer.encode, size.tokens, length)
        if held < size.tokens:
            raise _too_few_tokens(rows, size.tokens, held, f", cut at {seqlen} tokens,")
        counted = cut_lengths([length(tokens) for tokens in rows.tokens], size.tokens)
    windows = [tokens[:count] for tokens, count in zip(rows.tokens, counted, strict=True)]
    return Drawn(windows, counted, always_masked=True, rows=rows.statistics(windows), texts=rows.texts)


def _packed(spec: CalibrationSet, path: Path, tokenizer: TextTokenizer, recipe: Recipe) -> Drawn:
    size, seqlen, rows = recipe.size, recipe.seqlen, _Rows(spec, path)

    def with_end(tokens: list[int]) -> list[int]:
        if tokenizer.eos_id is not None and tokens[-1:] != [tokenizer.eos_id]:
            tokens.append(tokenizer.eos_id)
        return tokens

    wanted = size.rows * seqlen if size.tokens is None else size.tokens
    held = rows.use(recipe, tokenizer.encode, wanted, lambda tokens: len(with_end(tokens)))
    if held < wanted and size.tokens is None:
        raise SubmodelsError(
            f"{path}: its rows hold {held} tokens, enough for {held // seqlen} packed windows of {seqlen}, "
            f"not for {size.rows}; lower rows or seqlen"
        )
    if held < wanted:
        raise _too_few_tokens(rows, wanted, held)
    windows = pack_rows(rows.tokens, seqlen, wanted)
    counted = [len(window) for window in windows]
    return Drawn(windows, counted, always_masked=False, rows=rows.statistics(None), texts=rows.texts)


MODES = {"rows": _one_row_a_window, "packed": _packed}


def _random_tokens(tokenizer: TextTokenizer, recipe: Recipe) -> Drawn:
    """Ids drawn uniformly, without special tokens: windows without any structure, the control."""
    size, seqlen = recipe.size, recipe.seqlen
    wanted = size.rows * seqlen if size.tokens is None else size.tokens
    ids = random.Random(recipe.seed).choices(tokenizer.ordinary_ids, k=wanted)
    windows = pack_rows([ids], seqlen, wanted)
    return Drawn(windows, [len(window) for window in windows], always_masked=False, rows={}, texts={})


def _too_few_tokens(rows: _Rows, wanted: int, held: int, cut: str = "") -> SubmodelsError:
    skipped = f" ({rows.skipped} skipped)" if rows.skipped else ""
    return SubmodelsError(
        f"{rows.path}: {wanted} tokens needed, but its {len(rows.tokens)} usable rows{skipped}{cut} hold {held}; "
        f"lower tokens_per_set to at most {held}"
    )
