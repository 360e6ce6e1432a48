"""A small tokenizer, a pool of rows, and the calibrate stage run on them."""

import json

from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from submodels.calibration.calibrate import calibrate
from submodels.calibration.registry import CalibrationSet

TEXTS = [f"the {animal} number {number} says hello" for number in range(20) for animal in ("cat", "dog")]


def make_model(directory, **config):
    """A byte-level BPE tokenizer that adds <s>, in a directory with tokenizer.json and tokenizer_config.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(named | config))
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 300}))
    return directory


def write_rows(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def spec(**change):
    entry = {"domain": "code", "language": "python", "source": {"tiny_world": "python"}, "template": "{text}"}
    return CalibrationSet.model_validate(entry | change)


def run(spec, model, out, **options):
    calibrate(spec, model, out, **options)
    return load_file(out / "windows.safetensors"), json.loads((out / "manifest.json").read_text())["results"]
