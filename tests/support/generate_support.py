"""A random two-block Llama with a tokenizer that adds BOS, and items of a benchmark of every kind."""

import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from submodels import files
from submodels.benchmarks.registry import Benchmark, load_benchmark

CSR = [
    {"task_id": "csr/0", "query": "Anna drinks from the", "choices": ["cup", "hammer", "map"], "gold": 0},
    {"task_id": "csr/1", "query": "Ben opens the door with the", "choices": ["key", "soup"], "gold": 0},
    {"task_id": "csr/2", "query": "Ida hits a nail with the", "choices": ["pillow", "hammer", "long spoon"], "gold": 1},
]
CODE = [
    {
        "task_id": f"python/{n}",
        "prompt": f'def add_{n}(x):\n    """Add {n}."""\n',
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {1 + n}\n",
        "entry_point": f"add_{n}",
    }
    for n in range(3)
]
TEXT = [
    {"task_id": f"text/{n}", "domain": "csr", "text": text}
    for n, text in enumerate(
        [
            "Anna drinks from the cup.",
            "Le garçon ouvre la porte avec la clé.",
            "Anna drinks from the cup.",
            "Anna drinks from the cup,",  # all but the last token are those of another text
            "?",
            "Ben opens the door with the key. " * 24,  # longer than the context
        ]
    )
]
MATH = [{"task_id": "math/0", "question": "How many are 1 and 2?", "answer": "1 + 2 = 3\n#### 3"}]


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<eos>", padding_side="left"
    )


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    texts = [json.dumps(item) for item in CSR + CODE + MATH]
    tokenizer = _tokenizer(texts)
    tokenizer.save_pretrained(path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture
def items(tmp_path):
    paths = {}
    for name, rows in {"tiny_csr": CSR, "tiny_python": CODE, "tiny_math": MATH, "tiny_text": TEXT}.items():
        paths[name] = tmp_path / f"{name}.jsonl"
        files.write_jsonl(paths[name], rows)
    return paths


@pytest.fixture(scope="session")
def lm(model_dir):
    from submodels.checkpoints.load import load_tokenizer
    from submodels.evaluation.hf_engine import EngineLM

    return EngineLM(LlamaForCausalLM.from_pretrained(model_dir).eval(), load_tokenizer(model_dir), batch_size=4)


def with_generation(name: str, **generation) -> Benchmark:
    task = load_benchmark(name).task
    return Benchmark(task | {"generation_kwargs": task["generation_kwargs"] | generation})
