"""A chat model as real ones come, through the stages: Qwen 2's biases and grouped queries, an embedding with more rows
than the tokenizer has tokens, a context of 32k, several end tokens, a BOS that no text gets, a system prompt."""

import math

import pytest
import torch
from chat_models import make, make_tokenizer
from generate_support import CODE, CSR, MATH, TEXT
from safetensors.numpy import load_file
from tiny_models import masks_of

from submodels import files
from submodels.benchmarks.items import write_items
from submodels.calibration.calibrate import calibrate
from submodels.calibration.registry import CalibrationSet
from submodels.checkpoints.export import export
from submodels.checkpoints.load import load_submodel, load_tokenizer
from submodels.checkpoints.masks import Masks
from submodels.doctor.checks import CHECKS, Subject
from submodels.doctor.doctor import examine
from submodels.evaluation.generate import generate
from submodels.evaluation.hf_engine import EngineLM
from submodels.evaluation.score import score
from submodels.pruning.methods import METHODS

MARKS = ("<|start|>", "<|end|>")
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|start|>system\nYou help.<|end|>\n{% endif %}"
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
PADDED = 40  # rows of the embedding beyond the tokenizer
ITEMS = {"tiny_python": CODE, "tiny_math": MATH, "tiny_csr": CSR, "tiny_text": TEXT}


@pytest.fixture(scope="module", params=[False, True], ids=["head", "tied head"])
def model(request, tmp_path_factory):
    tokenizer = make_tokenizer(bos="$A", extra=MARKS)
    directory = make(
        tmp_path_factory.mktemp("model") / "chat", "qwen2", tokenizer=tokenizer, template=TEMPLATE,
        generation={"eos_token_id": [3, 1], "bos_token_id": 0, "pad_token_id": 0},
        vocab_size=tokenizer.get_vocab_size() + PADDED, max_position_embeddings=32768, hidden_size=32,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=request.param, eos_token_id=3,
        dtype=torch.bfloat16,
    )  # fmt: skip
    path = directory / "tokenizer_config.json"
    files.write_json(path, files.read_json(path) | {"eos_token": "<|end|>", "pad_token": "<s>"})
    return directory


@pytest.mark.parametrize("sparsity", ["0.50", "2of4"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_prunes_it_and_what_is_exported_is_what_is_loaded(model, tmp_path, method, sparsity):
    if METHODS[method].only_patterns and sparsity == "0.50":
        pytest.skip("the method makes masks of patterns only")
    masks_of(model, tmp_path / "out", method=method, sparsity=sparsity)
    export(model, tmp_path / "out", tmp_path / "exported")
    loaded, exported = load_submodel(model, tmp_path / "out"), load_submodel(tmp_path / "exported", None)
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, exported(ids).logits)
    kept = torch.cat(
        [torch.from_numpy(Masks(tmp_path / "out").mask(name)).flatten() for name in Masks(tmp_path / "out")]
    )
    assert kept.float().mean() == pytest.approx(0.5, abs=0.03)
    stored = load_submodel(model, None).state_dict()
    biases = [name for name in stored if name.endswith("bias")]
    assert len(biases) == 6
    assert all(torch.equal(loaded.state_dict()[name], stored[name]) for name in biases)


@pytest.mark.parametrize("windows", ["rows", "packed"])
def test_calibration_texts_get_its_turns(model, tmp_path, windows):
    rows = tmp_path / "rows.jsonl"
    files.write_jsonl(rows, [{"text": f"Add {n} and {n}."} for n in range(30)])
    spec = {"domain": "math", "source": {"file": str(rows)}, "template": "{text}", "style": "instruction"}
    calibrate(
        CalibrationSet.model_validate(spec), model, tmp_path / "out", rows=4, seqlen=48, windows=windows, source=rows,
        prompt="chat_template",
    )  # fmt: skip
    text = load_tokenizer(model).decode(load_file(tmp_path / "out" / "windows.safetensors")["input_ids"][0])
    assert text.startswith("<|start|>system\nYou help.<|end|>\n<|start|>user\nAdd ")


@pytest.fixture
def items(tmp_path):
    paths = {name: tmp_path / f"{name}.jsonl" for name in [*ITEMS, "wmt14_en_fr"]}
    for name, rows in ITEMS.items():
        files.write_jsonl(paths[name], rows)
    write_items("wmt14_en_fr", paths["wmt14_en_fr"], fixture=True)
    return paths


@pytest.mark.parametrize("model", [False], indirect=True, ids=["head"])
def test_it_answers_every_kind_of_benchmark_and_is_scored(model, items, tmp_path):
    generate(model, None, items, tmp_path / "samples", limit=1, prompt="chat_template", batch_size=16)
    for name in items.keys() - {"tiny_python"}:
        samples = tmp_path / "samples" / f"{name}.jsonl.gz"
        score(name, items[name], {"dense": samples}, tmp_path / f"{name}.json", model="m", synonyms="none", limit=1)
        found = files.read_json(tmp_path / f"{name}.json")["submodels"]["dense"]
        assert found["status"] == "ok"
        assert all(math.isfinite(metric["value"]) for metric in found["metrics"].values())


def test_every_end_token_and_a_text_that_begins_end_an_answer(model):
    lm = EngineLM(load_submodel(model, None), load_tokenizer(model), 4)
    assert lm.end_tokens(lm.model.generation_config) == {0, 1, 3}


def test_nothing_false_is_said_of_it(model, items):
    given = {name: files.read_jsonl(path)[:1] for name, path in items.items()}
    names = [name for name in CHECKS if name not in ("toolchains", "sandbox", "canonical")]
    subject = Subject(model, None, given, named=True, prompt="chat_template")
    findings = examine(subject, {name: CHECKS[name] for name in names})
    assert [(found.check, found.text) for found in findings if found.level != "ok"] == []
