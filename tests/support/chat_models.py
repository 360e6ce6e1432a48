"""Tiny models with a tokenizer, some with a chat template: directories that are right, or wrong in one way."""

from tiny_models import save_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from submodels import files

LLAMA2 = "{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]"
TURNS = (
    "{{ bos_token }}{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


def make_tokenizer(bos: str = "<s> $A", spaces: bool = True, extra: tuple[str, ...] = ()) -> Tokenizer:
    """Byte-level: every text survives. bos: what it adds to a text. spaces: False loses white space, as few do."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if not spaces:
        parts = [pre_tokenizers.WhitespaceSplit(), tokenizer.pre_tokenizer]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", *extra]
    tokenizer.train_from_iterator([], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet))
    tokenizer.post_processor = processors.TemplateProcessing(single=bos, special_tokens=[("<s>", 0), ("</s>", 1)])
    return tokenizer


def make(directory, family="llama", *, tokenizer=None, template=None, generation=None, **changes):
    """A model directory; changes: of config.json."""
    tokenizer = tokenizer or make_tokenizer()
    size = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 256}
    save_model(directory, family, **(size | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None} | changes))
    tokenizer.save(str(directory / "tokenizer.json"))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    files.write_json(directory / "tokenizer_config.json", named | ({"chat_template": template} if template else {}))
    if generation is not None:
        files.write_json(directory / "generation_config.json", generation)
    return directory
