"""The calibrate stage: a calibration set and a base model's tokenizer -> token windows, and the rows in them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from submodels import defaults, files, versions
from submodels.calibration import drawing, sources
from submodels.calibration import row_statistics as statistics
from submodels.calibration.registry import CalibrationSet, find_calibration_set, find_components
from submodels.calibration.sets import MODES, Drawn, Recipe, draw_set
from submodels.calibration.sizes import DrawSize, find_size, split
from submodels.calibration.tokenising import TextTokenizer, load_text_tokenizer
from submodels.calibration.windowing import PAD, leading_ones, pad_rows
from submodels.checkpoints.base import TOKENIZER_FILES
from submodels.errors import SubmodelsError, unknown
from submodels.layout import DRAWN_ROWS, DRAWN_WINDOWS
from submodels.products import take_over
from submodels.prompts import FORMATS, INSTRUCTION, date, template_files, wrapper
from submodels.provenance import Manifest


@dataclass(frozen=True)
class _Part:
    """A set to draw from: the calibration set itself (name None), or one component of a mix."""

    name: str | None
    weight: float
    spec: CalibrationSet
    path: Path | None  # the file of its rows, None for random tokens

    def parameters(self, prompt: str, model: Path) -> dict:
        """The parameters that decide its texts. prompt: the base model's format."""
        keys = ("template", "skip_incomplete", "max_tokens", "paper_padding")
        wrapped = self.spec.style == INSTRUCTION and prompt != "base"
        return (
            {"kind": self.spec.source.kind}
            | {key: getattr(self.spec, key) for key in keys}
            | ({"hold_out": True} if self.spec.hold_out else {})
            | ({"prompt": prompt} | date(prompt, model) if wrapped else {})
        )


def calibrate(
    spec: CalibrationSet | str,
    model: Path,
    out: Path,
    *,
    rows: int | None = None,
    tokens_per_set: int | None = None,
    seqlen: int = defaults.SEQLEN,
    seed: int = 0,
    windows: str = "rows",
    source: Path | Mapping[str, Path] | None = None,
    components: Mapping[str, CalibrationSet] | None = None,
    protocol: str = "strict",
    prompt: str = defaults.PROMPT,
) -> None:
    """Write `out`/windows.safetensors, `out`/rows.jsonl.gz (the rows drawn) and `out`/manifest.json.

    `spec`: a calibration set, a name in the registry, or an entry as JSON. `model`: directory with the base
    model's tokenizer. `windows`: `rows` (one row a window, cut and padded to `seqlen`) or `packed` (as many rows as
    needed, each with its beginning and end token, joined and cut into windows).
    `rows`: number of windows, 128 if `tokens_per_set` is not given either. `tokens_per_set`: instead of it, exactly
    this number of counted tokens: rows are drawn until they hold that number, and the last row is cut.
    `source`: file of the tiny world's pool, or the output of `fetch_dataset` (the directory or its file); for a mix,
    such a file for each component by name. `components`: the components' entries by name, by default the registry's.
    `protocol`: `strict` (every row at most once) or `paper` (with replacement, as the paper's code draws; sets with
    `paper_padding` are padded, and the padding counts). `prompt`: the base model's prompt format, which wraps the texts
    of sets whose style is `instruction`.
    """
    if windows not in MODES:
        raise unknown("kind of windows", windows, MODES)
    if protocol not in drawing.PROTOCOLS:
        raise unknown("protocol", protocol, drawing.PROTOCOLS)
    if seqlen < 2:
        raise SubmodelsError(f"seqlen must be at least 2 (got {seqlen})")
    recipe = Recipe(find_size(rows, tokens_per_set), seqlen, seed, windows, protocol, wrap=wrapper(prompt, model))
    spec = find_calibration_set(spec) if isinstance(spec, str) else spec
    parts = _parts(spec, source, components)
    sizes = _share_out(recipe.size, parts)
    tokenizer = load_text_tokenizer(model)
    pads = [_counted_padding(part.spec, recipe, tokenizer, model) for part in parts]
    manifest = Manifest(
        "calibrate",
        parameters={
            "version": versions.CALIBRATE,
            **(
                parts[0].parameters(prompt, model) if spec.source.mix is None else _mix_parameters(parts, prompt, model)
            ),
            "rows": recipe.size.rows,
            "tokens_per_set": recipe.size.tokens,
            "seqlen": seqlen,
            "seed": seed,
            "windows": windows,
            "protocol": protocol,
        },
        inputs={str(path.relative_to(model)): path for path in _tokenizer_files(parts, prompt, model)}
        | {f"source:{part.name}" if part.name else "source": part.path for part in parts if part.path},
    )
    about = spec.model_dump(mode="json", include={"domain", "language", "source"}, exclude_none=True)
    if take_over(manifest, out / "manifest.json", **about):
        return
    draws = []
    for part, size in zip(parts, sizes, strict=True):
        with _naming(part.name, f" ({size} of {recipe.size})"):
            draws.append(draw_set(part.spec, part.path, tokenizer, replace(recipe, size=size)))
    arrays = _assemble(draws, pads, seqlen)
    _check_ids(arrays["input_ids"], model)
    products = [out / DRAWN_WINDOWS, out / DRAWN_ROWS]
    with files.atomic_path(products[0]) as temporary:
        save_file(arrays, temporary)
    files.write_jsonl(products[1], _rows(parts, draws))
    sets = [_statistics([drawn]) | drawn.rows | _quirk(pad, seqlen) for drawn, pad in zip(draws, pads, strict=True)]
    if spec.source.mix is None:
        results = sets[0]
    else:
        of_components = {part.name: {"weight": part.weight} | values for part, values in zip(parts, sets, strict=True)}
        results = _statistics(draws) | {"components": of_components}
    manifest.write(out / "manifest.json", products, **about, **results)


def _rows(parts: list[_Part], draws: list[Drawn]) -> Iterator[dict]:
    """The rows drawn: their component of a mix (null: the set itself), their number in its file, and their text."""
    for part, drawn in zip(parts, draws, strict=True):
        for number, text in drawn.texts.items():
            yield {"component": part.name, "row": number, "text": text}


def _tokenizer_files(parts: list[_Part], prompt: str, model: Path) -> list[Path]:
    """The files that decide the tokens, with the chat template where texts are wrapped in it."""
    wrapped = any("prompt" in part.parameters(prompt, model) for part in parts) and FORMATS[prompt].needs_tokenizer
    present = [model / name for name in TOKENIZER_FILES if (model / name).is_file()]
    return [*present, *template_files(model)] if wrapped else present


def _parts(spec: CalibrationSet, source, components) -> list[_Part]:
    if spec.source.mix is None:
        if isinstance(source, Mapping):
            raise SubmodelsError(f"a {spec.source.kind} calibration set has no components: give one file")
        return [_Part(None, 1, spec, _locate(spec, source))]
    if source is not None and not isinstance(source, Mapping):
        raise SubmodelsError("a mix takes a file for each of its components: <component>=<file>")
    entries, parts, paths = find_components(spec, components), [], dict(source or {})
    for name, weight in spec.source.mix.items():
        with _naming(name):
            parts.append(_Part(name, weight, entries[name], _locate(entries[name], paths.pop(name, None))))
    if paths:
        raise unknown("component", min(paths), spec.source.mix)
    return parts


def _locate(spec: CalibrationSet, path: Path | None) -> Path | None:
    return sources.locate(spec.source, path) if spec.source.kind in sources.LOCATORS else None


@contextmanager
def _naming(component: str | None, share: str = ""):
    """Errors in this context name the component."""
    try:
        yield
    except SubmodelsError as error:
        if component is None:
            raise
        raise SubmodelsError(f"component '{component}' of the mix{share}: {error}") from error


def _share_out(size: DrawSize, parts: list[_Part]) -> list[DrawSize]:
    shares = split(size.amount, [part.weight for part in parts])
    for part, share in zip(parts, shares, strict=True):
        if not share:
            raise SubmodelsError(
                f"component '{part.name}' of the mix gets none of {size}; raise its weight, or take more"
            )
    return [size.share(share) for share in shares]


def _mix_parameters(parts: list[_Part], prompt: str, model: Path) -> dict:
    """A list, because the order of the components is the order of the windows."""
    named = [{"name": part.name, "weight": part.weight} | part.parameters(prompt, model) for part in parts]
    return {"kind": "mix", "components": named}


def _counted_padding(
    spec: CalibrationSet, recipe: Recipe, tokenizer: TextTokenizer, model: Path
) -> tuple[str, int] | None:
    """Token and id of a set's padding if it counts in the statistics; None for any other set."""
    if not recipe.counts_padding(spec):
        return None
    if tokenizer.paper_pad is None:
        raise SubmodelsError(
            f"{model}: the paper's padding cannot be repeated, because the tokenizer has neither '[PAD]' nor an "
            "unknown or padding token; use protocol strict"
        )
    return tokenizer.paper_pad


def _assemble(draws: list[Drawn], pads: list[tuple[str, int] | None], seqlen: int) -> dict[str, np.ndarray]:
    """Windows of all draws, one after the other; `counted` only if some padding counts."""
    padded = [pad_rows(drawn.windows, seqlen, pad[1] if pad else PAD) for drawn, pad in zip(draws, pads, strict=True)]
    ids, masks = (np.concatenate(arrays) for arrays in zip(*padded, strict=True))
    arrays = {"input_ids": ids}
    if any(drawn.always_masked for drawn in draws) or not masks.all():
        arrays["attention_mask"] = masks
    if any(pads):
        arrays["counted"] = np.concatenate([leading_ones(drawn.counted, seqlen) for drawn in draws])
    return arrays


def _check_ids(input_ids: np.ndarray, model: Path) -> None:
    """Refuse token ids outside the model's embedding: then the tokenizer does not belong to the model."""
    config = files.read_json(model / "config.json") if (model / "config.json").is_file() else {}
    size = config.get("text_config", config).get("vocab_size")
    if size is not None and input_ids.max() >= size:
        raise SubmodelsError(
            f"{model}: the tokenizer gives id {input_ids.max()}, but config.json says vocab_size {size}: "
            "the tokenizer belongs to another model"
        )


def _statistics(draws: list[Drawn]) -> dict:
    windows = [window for drawn in draws for window in drawn.windows]
    return {
        "windows": len(windows),
        "tokens": sum(map(len, windows)),
        "counted": sum(sum(drawn.counted) for drawn in draws),
        "four_gram_repetition": statistics.ngram_repetition(windows),
    }


def _quirk(pad: tuple[str, int] | None, seqlen: int) -> dict:
    if pad is None:
        return {}
    token, number = pad
    words = (
        f"As in the paper's code, rows are padded to {seqlen} tokens with {token!r} (id {number}), and the padding "
        "counts in the pruning statistics although attention does not see it."
    )
    return {"paper_padding": words}
