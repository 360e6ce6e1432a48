"""Texts -> token ids, exactly as `AutoTokenizer.from_pretrained(model)(text).input_ids`, at the least start-up cost.

Importing AutoTokenizer takes seconds, because it imports torch: most of the time of a short job. A tokenizer that is
wholly described by its tokenizer.json needs only the `tokenizers` library, the same code AutoTokenizer would call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from submodels import files
from submodels.checkpoints.base import TOKENIZER_FILES
from submodels.errors import SubmodelsError

_PLAIN_CLASSES = {"PreTrainedTokenizerFast", "TokenizersBackend"}
_SPECIAL = {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}
# Keys of tokenizer_config.json that leave the ids of a text as tokenizer.json defines them. With any other key
# (add_bos_token, extra_special_tokens, ...) transformers changes the tokenizer after loading it.
_HARMLESS = {
    "backend",
    "chat_template",
    "clean_up_tokenization_spaces",
    "is_local",
    "local_files_only",
    "model_input_names",
    "model_max_length",
    "padding_side",
    "tokenizer_class",
}
_LARGEST_PLAIN_VOCABULARY = 100_000  # above it transformers may replace the pre-tokenizer of Mistral's models


@dataclass(frozen=True)
class TextTokenizer:
    encode: Callable[[str], list[int]]  # with the special tokens the tokenizer adds by default
    eos_id: int | None
    ordinary_ids: list[int]  # the vocabulary without special tokens, ascending
    paper_pad: tuple[str, int] | None  # padding of the paper's code: token and id


def load_text_tokenizer(model: Path) -> TextTokenizer:
    """The tokenizer in a Hugging Face directory. SubmodelsError if there is none."""
    if not any((model / name).is_file() for name in TOKENIZER_FILES):
        raise SubmodelsError(f"{model}: no tokenizer; expected one of {', '.join(TOKENIZER_FILES)}")
    return _load_plain(model) or _load_any(model)


def _load_plain(model: Path) -> TextTokenizer | None:
    """Load with the `tokenizers` library only; None if its ids might differ from AutoTokenizer's."""
    if not (model / "tokenizer.json").is_file() or not (model / "tokenizer_config.json").is_file():
        return None
    if (model / "special_tokens_map.json").is_file() or (model / "added_tokens.json").is_file():
        return None
    config = files.read_json(model / "tokenizer_config.json")
    backend = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    added = {token.content: number for number, token in backend.get_added_tokens_decoder().items() if token.special}
    named = {key: config[key] for key in _SPECIAL & config.keys() if config[key] is not None}
    if (
        config.get("tokenizer_class") not in _PLAIN_CLASSES
        or not config.keys() <= _HARMLESS | _SPECIAL
        or not all(isinstance(token, str) and token in added for token in named.values())
        or backend.get_vocab_size() > _LARGEST_PLAIN_VOCABULARY
    ):
        return None
    backend.no_truncation()
    backend.no_padding()
    vocabulary = backend.get_vocab()
    return TextTokenizer(
        encode=lambda text: backend.encode(text).ids,
        eos_id=added.get(named.get("eos_token")),
        ordinary_ids=sorted(set(vocabulary.values()) - set(added.values())),
        paper_pad=_paper_pad(vocabulary, named.get("unk_token"), named.get("pad_token")),
    )


def _load_any(model: Path) -> TextTokenizer:
    from submodels.checkpoints import load

    tokenizer = load.load_tokenizer(model)
    vocabulary = tokenizer.get_vocab()
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= set(tokenizer.all_special_ids)  # an unknown token may be an ordinary piece
    return TextTokenizer(
        # verbose=False: no warning on texts beyond the model's length, which windows cut anyway
        encode=lambda text: tokenizer(text, verbose=False)["input_ids"],
        eos_id=tokenizer.eos_token_id,
        ordinary_ids=sorted(set(vocabulary.values()) - special),
        paper_pad=_paper_pad(vocabulary, tokenizer.unk_token, tokenizer.pad_token),
    )


def _paper_pad(vocabulary: dict[str, int], unknown: str | None, padding: str | None) -> tuple[str, int] | None:
    """The paper's code declares "[PAD]" the padding token. Where the vocabulary lacks it, it is the unknown token.

    A tokenizer without an unknown token breaks the paper's code; its padding token, if any, is the closest replacement.
    """
    return next(((token, vocabulary[token]) for token in ("[PAD]", unknown, padding) if token in vocabulary), None)
