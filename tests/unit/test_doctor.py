"""The self-check: a healthy model, and one directory for each thing that can be wrong with another."""

import json
import subprocess
import sys

import pytest
import torch
from chat_models import LLAMA2, TURNS, make, make_tokenizer
from safetensors.torch import load_file
from tiny_models import DECODERS, change_tensors, masks_of, save_model
from typer.testing import CliRunner

from submodels import files
from submodels.benchmarks.registry import Benchmark, benchmark_names, load_benchmark
from submodels.cli import app
from submodels.doctor import subject as subject_module
from submodels.doctor.checks import CHECKS
from submodels.doctor.doctor import examine, items_at_hand
from submodels.doctor.subject import Subject
from submodels.errors import SubmodelsError
from submodels.evaluation.sandbox import sandbox_status
from submodels.prompts import FORMATS

PYTHON = [
    {
        "task_id": "python/0",
        "prompt": "def double(x):\n",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n",
        "entry_point": "double",
    }
]
CSR = [{"task_id": "csr/0", "query": "Anna drinks from the", "choices": ["cup", "hammer"], "gold": 0}]
TEXT = [{"task_id": "text/0", "text": "Anna drinks from the cup."}]
ANY_SANDBOX = pytest.mark.skipif(None not in sandbox_status().values(), reason="no sandbox works here")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return make(tmp_path_factory.mktemp("healthy"))


def found(directory, *names, items=None, **options) -> list[tuple[str, str]]:
    """(level, text) of what the named checks find."""
    items = {"tiny_csr": CSR, "tiny_text": TEXT} if items is None else items
    subject = Subject(directory, items=items, named=True, **options)
    return [(finding.level, finding.text) for finding in examine(subject, {name: CHECKS[name] for name in names})]


def the_one(directory, name, level, text, **options):
    """The check finds one thing, of this level and with this text in it."""
    findings = found(directory, name, **options)
    assert [said for said, _ in findings] == [level], findings
    assert text in findings[0][1], findings


def task(name: str, monkeypatch, *, style="completion", **generation) -> str:
    """Change a registered benchmark for a test."""
    known = load_benchmark(name).task
    changed = {"metadata": known["metadata"] | {"style": style}}
    if generation:
        changed["generation_kwargs"] = known["generation_kwargs"] | generation
    changed = Benchmark(known | changed)
    monkeypatch.setattr(
        subject_module, "load_benchmark", lambda asked: changed if asked == name else load_benchmark(asked)
    )
    return name


# --- Healthy ----------------------------------------------------------------------------------------------------------


@ANY_SANDBOX
def test_nothing_is_wrong_with_a_healthy_model(healthy):
    items = {"tiny_python": PYTHON, "tiny_csr": CSR, "tiny_text": TEXT}
    findings = examine(Subject(healthy, items=items, named=True))
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert {finding.check for finding in findings} == set(CHECKS) - {"stops"}  # none of these has stop strings


def test_the_model_says_what_generation_would_make_it_say(healthy):
    subject = Subject(healthy, items={"tiny_python": PYTHON, "tiny_csr": CSR, "tiny_text": TEXT})
    assert [line["prompt"] for lines in subject.samples.values() for line in lines] == [
        PYTHON[0]["prompt"], CSR[0]["query"], TEXT[0]["text"],
    ]  # fmt: skip
    assert len(subject.samples["tiny_csr"][0]["loglikelihoods"]) == 2


@pytest.mark.parametrize("template", [None, LLAMA2])
def test_prompts_are_read_as_the_engine_reads_them(tmp_path, template, monkeypatch):
    prompt = "chat_template" if template else "base"
    name = task("tiny_python", monkeypatch, style="instruction")
    subject = Subject(make(tmp_path / "m", template=template), items={name: PYTHON}, prompt=prompt)
    (request, *_) = subject.requests(name, 1)
    assert subject.read(request.args[0]) == subject.engine.tok_encode(request.args[0])
    assert subject.read(request.args[0]).count(0) == 1


def test_a_submodel_must_belong_to_the_model(tmp_path, healthy):
    out = tmp_path / "sub"
    masks_of(healthy, out, method="magnitude")
    assert [level for level, _ in found(healthy, "weights", submodel=out)] == ["ok", "ok"]
    other = make(tmp_path / "other", seed=1)
    assert "was pruned from another base model" in found(other, "weights", submodel=out)[-1][1]


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_has_items_at_hand(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert items_at_hand(load_benchmark(name))


# --- The machine ------------------------------------------------------------------------------------------------------


def test_an_empty_path_has_no_toolchains_and_no_sandbox(healthy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    items = {"tiny_java": PYTHON, "tiny_python": PYTHON}
    assert sandbox_status().keys() >= {"bubblewrap", "unshare"}
    findings = found(healthy, "toolchains", "sandbox", "canonical", items=items)
    assert [level for level, _ in findings] == ["problem", "ok", "problem"]
    assert "javac not found; install with: apt-get install" in findings[0][1]
    assert "install bubblewrap" in findings[2][1]


def test_a_toolchain_for_benchmarks_nobody_named_is_a_warning(healthy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    subject = Subject(healthy, items={"tiny_java": PYTHON}, named=False)
    assert [finding.level for finding in CHECKS["toolchains"](subject)] == ["warning"]


@ANY_SANDBOX
def test_canonical_solutions_that_fail_are_named(healthy):
    wrong = [PYTHON[0] | {"canonical_solution": "    return x\n"}]
    the_one(healthy, "canonical", "problem", "python/0: failed: AssertionError", items={"tiny_python": wrong})
    needs = [PYTHON[0] | {"test": "import no_such\n" + PYTHON[0]["test"]}]
    the_one(healthy, "canonical", "problem", "tiny_python: not run: needs no_such", items={"tiny_python": needs})


def test_memory_that_does_not_suffice(healthy, monkeypatch):
    monkeypatch.setattr("submodels.pruning.memory.free_host_memory", lambda: 10_000)
    the_one(healthy, "memory", "problem", "Try --dtype bfloat16", dtype="float32")
    findings = found(healthy, "memory", "answers")
    assert findings[1] == ("warning", "not checked, for the reason given at memory")


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_torn_weight_file(tmp_path):
    path = make(tmp_path / "m") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    findings = found(path.parent, "weights", "memory", "answers")
    assert [level for level, _ in findings] == ["problem", "warning", "warning"]
    assert "not a complete safetensors file" in findings[0][1]


def test_a_tokenizer_that_loses_white_space(tmp_path):
    model = make(tmp_path / "m", tokenizer=make_tokenizer(spaces=False))
    findings = found(model, "tokenizer", items={"tiny_python": PYTHON})
    assert [level for level, _ in findings] == ["warning", "problem"]
    assert "1 of 1 canonical answers change when the tokenizer encodes and decodes them (first" in findings[1][1]


def test_a_vocabulary_larger_than_the_embedding(tmp_path):
    model = make(tmp_path / "m", vocab_size=200)
    the_one(model, "vocabulary", "problem", "gives ids up to 257, but config.json has 200 rows")
    assert found(model, "answers", items={})[0][0] == "problem"


def test_an_embedding_that_is_not_what_the_configuration_says(tmp_path):
    model = make(tmp_path / "m")
    path = model / "model.safetensors"
    change_tensors(path, {name: torch.ones(300, 16) for name in load_file(path) if "embed_tokens" in name})
    the_one(
        model, "vocabulary", "problem", "sizes of the vocabulary differ: config.json 258, model.embed_tokens.weight 300"
    )


def test_a_weight_that_is_missing(tmp_path):
    model = make(tmp_path / "m")
    change_tensors(model / "model.safetensors", {"model.norm.weight": None})
    the_one(
        model, "weights", "problem", "the weight files lack model.norm.weight; transformers would put random numbers"
    )


@pytest.mark.parametrize("family", DECODERS)
def test_no_family_lacks_anything(tmp_path, family):
    the_one(save_model(tmp_path / "m", family), "weights", "ok", "none is missing", items={})


def test_a_weight_of_another_shape(tmp_path):
    model = make(tmp_path / "m")
    path = model / "model.safetensors"
    name = next(name for name in load_file(path) if "down_proj" in name)
    change_tensors(path, {name: torch.ones(16, 30)})
    findings = found(model, "weights", "answers", items={})
    assert findings[0][0] == "problem"
    assert f"{name} has shape (16, 30), config.json asks for (16, 28)" in findings[0][1]
    assert findings[1] == ("warning", "not checked, for the reason given at weights")


def test_weights_that_are_no_numbers(tmp_path):
    model = make(tmp_path / "m")
    path = model / "model.safetensors"
    name = next(name for name in load_file(path) if "down_proj" in name)
    change_tensors(path, {name: torch.full((16, 28), torch.nan)})
    the_one(model, "answers", "problem", f"NaN or infinite weights, read as torch.float32, in {name}")


def test_activations_that_are_no_numbers(tmp_path):
    """Every weight is finite, what the norm makes of them is not."""
    model = make(tmp_path / "m")
    change_tensors(model / "model.safetensors", {"model.norm.weight": torch.full((16,), 1e38)})
    the_one(model, "answers", "problem", "computes NaN or infinite values in float32")


# --- BOS and prompt formats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "level"), [("llama", "warning"), ("gemma", "problem")])
def test_a_tokenizer_without_bos(tmp_path, family, level):
    model = make(tmp_path / "m", family, tokenizer=make_tokenizer(bos="$A"))
    the_one(model, "bos", level, "set add_bos_token: true in tokenizer_config.json")


@pytest.mark.parametrize(("family", "level"), [("llama", "ok"), ("qwen2", "ok"), ("gemma", "problem")])
@pytest.mark.parametrize(
    ("template", "special", "use"),
    [
        ("{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}", {}, "marks turns"),
        (TURNS, {"pad_token": "<s>"}, "is the padding"),
        (None, {"eos_token": "<s>"}, "is the end token"),
    ],
)
def test_a_bos_that_is_for_something_else(tmp_path, family, level, template, special, use):
    """SmolLM2, Qwen 2 with converted files and GPT-2 name one and add it to no text; Gemma was trained on it."""
    model = make(tmp_path / "m", family, tokenizer=make_tokenizer(bos="$A"), template=template)
    config = files.read_json(model / "tokenizer_config.json")
    files.write_json(model / "tokenizer_config.json", config | special)
    the_one(model, "bos", level, use if level == "ok" else "set add_bos_token: true")


def test_a_tokenizer_that_puts_bos_twice(tmp_path):
    model = make(tmp_path / "m", tokenizer=make_tokenizer(bos="<s> <s> $A"))
    the_one(model, "bos", "problem", "begin with BOS 2 times")


def test_a_tokenizer_that_ends_every_prompt(tmp_path):
    model = make(tmp_path / "m", tokenizer=make_tokenizer(bos="<s> $A </s>"))
    assert "set add_eos_token: false" in found(model, "bos")[0][1]


@pytest.mark.parametrize(("template", "level"), [(LLAMA2, "ok"), ("{{ bos_token }}" + LLAMA2, "problem")])
def test_a_template_may_write_the_bos_that_the_tokenizer_adds_but_not_two(tmp_path, template, level, monkeypatch):
    name = task("tiny_python", monkeypatch, style="instruction")
    model = make(tmp_path / "m", template=template)
    text = "once" if level == "ok" else "tiny_python's prompts begin with BOS 2 times"
    the_one(model, "bos", level, text, items={name: PYTHON}, prompt="chat_template")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "base"])
def test_a_model_without_a_chat_template(healthy, name):
    findings = found(healthy, "template", prompt=name)
    assert findings[-1][0] == ("problem" if name == "chat_template" else "warning")
    assert "the tokenizer has no" in findings[-1][1]


@pytest.mark.parametrize(
    ("prompt", "level", "text"),
    [
        ("llama2", "ok", "agree: '[INST] Say hello. [/INST]'"),
        ("chat_template", "ok", "agree"),
        ("llama2_paper", "warning", "use prompt: chat_template"),
    ],
)
def test_a_format_is_compared_with_the_models_own_template(tmp_path, prompt, level, text):
    the_one(make(tmp_path / "m", template=LLAMA2), "template", level, text, prompt=prompt)


def test_a_format_of_another_family(tmp_path):
    model = make(tmp_path / "m", template=LLAMA2)
    levels = [level for level, _ in found(model, "template", prompt="gemma")]
    assert levels == ["problem"] * 3  # two marks that are no tokens, and another text
    assert "which this tokenizer splits into" in found(model, "template", prompt="gemma")[0][1]


def test_a_tuned_model_asked_without_its_template(tmp_path, monkeypatch):
    model = make(tmp_path / "m", template=LLAMA2)
    the_one(model, "template", "ok", "prompt: base")
    name = task("tiny_python", monkeypatch, style="instruction")
    the_one(model, "template", "warning", "set `prompt: chat_template` for the model", items={name: PYTHON})


# --- Where answers end ------------------------------------------------------------------------------------------------


def test_no_end_token(tmp_path):
    model = make(tmp_path / "m", eos_token_id=None)
    config = files.read_json(model / "tokenizer_config.json")
    files.write_json(model / "tokenizer_config.json", config | {"eos_token": None})
    (model / "generation_config.json").unlink(missing_ok=True)
    the_one(model, "end", "problem", "no end token is declared", items={"tiny_python": PYTHON})
    the_one(model, "end", "warning", "no end token is declared", items={"tiny_csr": CSR})


def test_end_tokens_that_differ(tmp_path):
    model = make(tmp_path / "m", generation={"eos_token_id": 5})
    the_one(model, "end", "warning", "end tokens differ (generation_config.json: 5")


def test_an_end_token_outside_the_vocabulary(tmp_path):
    model = make(tmp_path / "m", generation={"eos_token_id": [1, 999]})
    the_one(model, "end", "problem", "the end token 999 is outside the vocabulary of 258")


@pytest.mark.parametrize(("ends", "levels"), [([1], ["ok", "problem"]), ([1, 3], ["ok"])])
def test_the_end_of_a_turn_must_end_the_answer(tmp_path, ends, levels):
    tokenizer = make_tokenizer(extra=("<turn>", "<end>"))
    model = make(tmp_path / "m", tokenizer=tokenizer, template=TURNS, generation={"eos_token_id": ends})
    findings = found(model, "end", prompt="chat_template")
    assert [level for level, _ in findings] == levels
    if "problem" in levels:
        assert "ends its turn with <end>, which is no end token" in findings[1][1]
        assert "add 3 to eos_token_id" in findings[1][1]


def test_an_end_of_turn_that_is_no_token_is_left_to_the_check_of_the_template(healthy):
    the_one(healthy, "end", "ok", "answers end at", prompt="gemma")


def test_a_stop_string_inside_a_canonical_answer(healthy, monkeypatch):
    name = task("tiny_python", monkeypatch, until=["\ndef", " * "])
    the_one(healthy, "stops", "problem", "(first python/0: ' * ') and would be cut", items={name: PYTHON})


def test_stop_strings_that_are_seen(healthy, monkeypatch):
    name = task("tiny_python", monkeypatch, until=["\ndef", "\n\n", "é"])
    the_one(healthy, "stops", "ok", "tiny_python 1", items={name: PYTHON})


def test_a_stop_string_that_never_comes_out_of_the_tokenizer(tmp_path, monkeypatch):
    name = task("tiny_python", monkeypatch, until=["\ndef", "def"])
    model = make(tmp_path / "m", tokenizer=make_tokenizer(spaces=False))
    the_one(model, "stops", "problem", "the stop strings '\\ndef' are not recognised", items={name: PYTHON})


@pytest.mark.parametrize(
    ("context", "level", "text"),
    [
        (31, "problem", "1 of 1 prompts lose their beginning in the context of 31 tokens (longest python/0: 16 + 48"),
        (32, "warning", "tiny_python 16 + 48"),
        (64, "ok", "tiny_python 64"),
    ],
)
def test_prompts_and_the_context(tmp_path, context, level, text):
    model = make(tmp_path / "m", max_position_embeddings=context)
    the_one(model, "context", level, text, items={"tiny_python": PYTHON})


def test_a_context_that_nothing_states_is_said(tmp_path):
    model = make(tmp_path / "m", "bloom", max_position_embeddings=None)
    findings = found(model, "context", items={"tiny_python": PYTHON})
    assert [level for level, _ in findings] == ["warning", "ok"]
    assert (
        "config.json states no context; longer prompts and texts are cut to 2048 tokens, as nothing" in findings[0][1]
    )
    said = files.read_json(model / "tokenizer_config.json") | {"model_max_length": 64}
    files.write_json(model / "tokenizer_config.json", said)
    findings = found(model, "context", items={"tiny_python": PYTHON})
    assert "cut to 64 tokens, model_max_length of tokenizer_config.json" in findings[0][1]
    assert "fit the context of 64 tokens" in findings[1][1]


def test_weights_that_nobody_reads_are_said(tmp_path):
    model = make(tmp_path / "m")
    change_tensors(model / "model.safetensors", {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 16)})
    (model / "model.safetensors.index.json").write_text("{}")
    findings = found(model, "weights", items={})
    assert [level for level, _ in findings] == ["ok", "warning", "warning"]
    assert "no part of the model are not read: model.layers.0.self_attn.q_proj.lora_A.weight" in findings[1][1]
    assert "model.safetensors.index.json and the shards that it names are not read" in findings[2][1]


# --- The command ------------------------------------------------------------------------------------------------------


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "submodels", "doctor", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def test_the_command_prints_findings_and_answers_and_exits_by_them(tmp_path, healthy):
    files.write_jsonl(tmp_path / "csr.jsonl", CSR)
    done = command("--model", healthy, "--benchmark", f"tiny_csr={tmp_path}/csr.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       bos        every text begins with '<s>', once" in done.stdout
    assert "    > Anna drinks from the\n    < " in done.stdout
    assert done.stdout.endswith("\nnothing is wrong\n")


def test_the_command_speaks_json_and_exits_1_if_something_is_wrong(tmp_path):
    arguments = ["doctor", "--model", str(make(tmp_path / "m", vocab_size=200)), "--benchmark", "tiny_csr", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["healthy"] is False
    assert {"level", "text", "check"} == set(said["findings"][0])
    assert "problem" in {finding["level"] for finding in said["findings"] if finding["check"] == "vocabulary"}


def test_a_check_that_breaks_does_not_hide_the_others(healthy):
    def broken(subject):
        raise IndexError("index out of range")
        yield

    findings = examine(Subject(healthy, items={}), {"broken": broken, "weights": CHECKS["weights"]})
    assert [finding.level for finding in findings] == ["problem", "ok"]
    assert findings[0].text == "cannot be checked: IndexError: index out of range"


def test_faulty_arguments_are_errors(tmp_path):
    done = command("--model", "m", "--prompt", "lama", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown prompt format 'lama'")
    with pytest.raises(SubmodelsError, match="unknown benchmark 'tinny'"):
        Subject(tmp_path, items={"tinny": []})


def test_items_that_a_template_cannot_render_are_named_and_nothing_stands_in_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results/mine/world/benchmarks/tiny_math.jsonl"
    path.parent.mkdir(parents=True)
    files.write_jsonl(path, [{"task_id": "a", "question": None, "answer": "#### 2"}])
    with pytest.raises(SubmodelsError, match=r"tiny_math\.jsonl, row 1 \(a\)"):
        items_at_hand(load_benchmark("tiny_math"), "mine")
    assert len(items_at_hand(load_benchmark("tiny_math"))) > 1


@pytest.mark.real_data
def test_a_real_model(shared):
    directory = shared / "data/models/stories260K"
    findings = found(directory, "weights", "tokenizer", "vocabulary", "bos", "end", "answers")
    assert {level for level, _ in findings} == {"ok"}, findings
