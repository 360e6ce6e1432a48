"""The calibrate stage: a calibration set and a base model's tokenizer -> windows.safetensors and manifest.json."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from submodels import files, versions
from submodels.calibration import drawing, sources, statistics
from submodels.calibration.registry import CalibrationSet, find_calibration_set
from submodels.calibration.templates import Incomplete, Template
from submodels.calibration.tokenising import FILES, TextTokenizer, load_tokenizer
from submodels.calibration.windows import pack_rows, pad_rows
from submodels.errors import SubmodelsError, unknown
from submodels.provenance import Manifest

_PREVIEWS, _PREVIEW_CHARACTERS = 3, 200


@dataclass
class _Used:
    """The rows used, in the order drawn."""

    path: Path
    total: int
    protocol: str
    indices: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    skipped: int = 0


def calibrate(
    spec: CalibrationSet | str,
    model: Path,
    out: Path,
    *,
    rows: int = 128,
    seqlen: int = 2048,
    seed: int = 0,
    windows: str = "rows",
    source: Path | None = None,
    protocol: str = "strict",
) -> None:
    """Write `out`/windows.safetensors and `out`/manifest.json.

    `spec`: a calibration set, the name of one in the registry, or an entry as JSON. `model`: directory with the base
    model's tokenizer. `rows`: number of windows. `windows`: `rows` (one row a window, cut and padded to `seqlen`) or
    `packed` (as many rows as needed, each with its beginning and end token, joined and cut into full windows: the same
    number of tokens from every set). `source`: file of the tiny world's pool, or what `fetch_dataset` left (the
    directory or its file).
    `protocol`: `strict` (every row at most once) or `paper` (with replacement, as the paper's code draws).
    """
    if windows not in MODES:
        raise unknown("kind of windows", windows, MODES)
    if protocol not in drawing.PROTOCOLS:
        raise unknown("protocol", protocol, drawing.PROTOCOLS)
    if rows < 1 or seqlen < 2:
        raise SubmodelsError(f"rows must be at least 1 and seqlen at least 2 (got {rows} and {seqlen})")
    spec = find_calibration_set(spec) if isinstance(spec, str) else spec
    path = sources.locate(spec.source, source) if spec.source.kind in sources.LOCATORS else None
    tokenizer = load_tokenizer(model)
    manifest = Manifest(
        "calibrate",
        parameters={
            "version": versions.CALIBRATE,
            "kind": spec.source.kind,
            "template": spec.template,
            "skip_incomplete": spec.skip_incomplete,
            "max_tokens": spec.max_tokens,
            "rows": rows,
            "seqlen": seqlen,
            "seed": seed,
            "windows": windows,
            "protocol": protocol,
        },
        inputs={name: model / name for name in FILES if (model / name).is_file()} | ({"source": path} if path else {}),
    )
    if path is None:
        arrays, results = _random_windows(tokenizer, rows, seqlen, seed), {}
    else:
        drawn = _draw_rows(spec, path, tokenizer, seed, protocol)
        arrays, used = MODES[windows](drawn, rows, seqlen, tokenizer.eos_id)
        results = _row_statistics(used, seqlen if windows == "rows" else None)
    _check_ids(arrays["input_ids"], model)
    with files.atomic_path(out / "windows.safetensors") as temporary:
        save_file(arrays, temporary)
    about = spec.model_dump(mode="json", include={"domain", "language", "source"}, exclude_none=True)
    manifest.write(out / "manifest.json", **about, **_window_statistics(arrays), **results)


def _draw_rows(spec: CalibrationSet, path: Path, tokenizer: TextTokenizer, seed: int, protocol: str) -> Iterator[_Used]:
    """Yield the rows used so far, each time with one more, until no row is left."""
    template = Template(spec.template)
    rows = sources.read_rows(path, template.fields)
    used = _Used(path, len(rows), protocol)
    for index in drawing.order(len(rows), seed, protocol):
        try:
            text = template.render(rows[index], f"{path}, row {index}")
        except Incomplete:
            if not spec.skip_incomplete:
                raise
            used.skipped += 1
            continue
        tokens = tokenizer.encode(text)
        if spec.max_tokens is not None and len(tokens) > spec.max_tokens:
            used.skipped += 1
            continue
        used.indices.append(index)
        used.texts.append(text)
        used.tokens.append(tokens)
        yield used
    if not used.tokens:
        raise SubmodelsError(f"{path}: none of its {used.total} rows is usable; all were skipped")


def _one_row_a_window(drawn: Iterator[_Used], rows: int, seqlen: int, eos_id: int | None):
    for used in drawn:
        wanted = rows if used.protocol == "strict" else min(rows, used.total)
        if len(used.tokens) == wanted:
            break
    else:
        skipped = f", {used.skipped} of them skipped" if used.skipped else ""
        raise SubmodelsError(
            f"{used.path}: {rows} rows asked of {used.total}{skipped}; lower rows to at most {len(used.tokens)}"
        )
    input_ids, attention_mask = pad_rows(used.tokens, seqlen)
    return {"input_ids": input_ids, "attention_mask": attention_mask}, used


def _packed(drawn: Iterator[_Used], rows: int, seqlen: int, eos_id: int | None):
    count = 0
    for used in drawn:
        last = used.tokens[-1]
        if eos_id is not None and last[-1:] != [eos_id]:
            last.append(eos_id)
        count += len(last)
        if count >= rows * seqlen:
            break
    else:
        raise SubmodelsError(
            f"{used.path}: its rows hold {count} tokens, enough for {count // seqlen} packed windows of {seqlen}, "
            f"not for {rows}; lower rows or seqlen"
        )
    return {"input_ids": pack_rows(used.tokens, seqlen)[:rows]}, used


MODES = {"rows": _one_row_a_window, "packed": _packed}


def _random_windows(tokenizer: TextTokenizer, rows: int, seqlen: int, seed: int) -> dict[str, np.ndarray]:
    """Ids drawn uniformly, special tokens left out: windows without any structure, the control."""
    ids = random.Random(seed).choices(tokenizer.ordinary_ids, k=rows * seqlen)
    return {"input_ids": np.array(ids, dtype=np.int64).reshape(rows, seqlen)}


def _check_ids(input_ids: np.ndarray, model: Path) -> None:
    """A tokenizer that does not belong to the model must not reach its embedding."""
    size = files.read_json(model / "config.json").get("vocab_size") if (model / "config.json").is_file() else None
    if size is not None and input_ids.max() >= size:
        raise SubmodelsError(
            f"{model}: the tokenizer gives id {input_ids.max()}, but config.json says vocab_size {size}: "
            "the tokenizer belongs to another model"
        )


def _window_statistics(arrays: dict[str, np.ndarray]) -> dict:
    ids = arrays["input_ids"]
    lengths = arrays["attention_mask"].sum(axis=1) if "attention_mask" in arrays else [ids.shape[1]] * len(ids)
    windows = [window[:length].tolist() for window, length in zip(ids, lengths, strict=True)]
    return {
        "windows": len(ids),
        "tokens": int(sum(lengths)),
        "four_gram_repetition": statistics.ngram_repetition(windows),
    }


def _row_statistics(used: _Used, cut_at: int | None) -> dict:
    """`cut_at`: length beyond which a row was cut; None if rows run on into the next window."""
    lengths = [len(tokens) for tokens in used.tokens]
    return {
        "rows_in_source": used.total,
        "rows_skipped": used.skipped,
        "row_tokens": statistics.length_distribution(lengths),
        "fraction_truncated": None if cut_at is None else sum(length > cut_at for length in lengths) / len(lengths),
        "indices": used.indices,
        "preview": [text[:_PREVIEW_CHARACTERS] for text in used.texts[:_PREVIEWS]],
    }
