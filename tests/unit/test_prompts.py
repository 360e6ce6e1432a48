"""Prompt formats: what an instruction becomes, BOS once, and what a change of the format renews."""

import json

import pytest
from calibration_support import make_model, run, spec, write_rows
from chat_models import LLAMA2, make
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from submodels import files, prompts
from submodels.benchmarks.registry import Benchmark, load_benchmark
from submodels.errors import SubmodelsError
from submodels.grid import Grid
from submodels.prompts import FORMATS, Prompt, format_of, one_bos, settings, wrap, wrapper
from submodels.validation import parse

PLAIN = [name for name, format in FORMATS.items() if not format.needs_tokenizer]
# Templates that write what the two families document, each in its own way.
LLAMA2_TEMPLATE = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] | trim }} [/INST]{% endfor %}"
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def tokenizer(tmp_path, **config):
    return AutoTokenizer.from_pretrained(make_model(tmp_path / "model", **config))


def instruct(name: str, style: str = "instruction") -> Benchmark:
    task = load_benchmark(name).task
    return Benchmark(task | {"metadata": task["metadata"] | {"style": style}})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("base", " Say\nhello. "),
        ("llama2", "[INST] Say\nhello. [/INST]"),
        ("llama2_paper", "[INST]\n Say\nhello. \n[/INST]\n"),
        ("gemma", "<start_of_turn>user\nSay\nhello.<end_of_turn>\n<start_of_turn>model\n"),
    ],
)
def test_formats_by_hand(name, text):
    assert wrap(name, " Say\nhello. ") == Prompt(text, has_bos=False)


@pytest.mark.parametrize(("name", "template"), [("llama2", LLAMA2_TEMPLATE), ("gemma", GEMMA_TEMPLATE)])
@given(instruction=st.text(st.characters(codec="utf-8", categories=("L", "P", "Zs"), include_characters="\n")))
def test_a_format_is_the_familys_own_template_behind_bos(own, name, template, instruction):
    own.chat_template = template
    written = wrap("chat_template", instruction, own)
    assert written.has_bos
    assert written.text == "<s>" + wrap(name, instruction).text


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return tokenizer(tmp_path_factory.mktemp("own"))


def test_a_chat_template_may_be_missing_or_faulty(tmp_path):
    found = tokenizer(tmp_path)
    with pytest.raises(SubmodelsError, match=r"has no chat template; choose another of base, llama2"):
        wrap("chat_template", "hello", found)
    found.chat_template = "{{ raise_exception('only tools') }}"
    with pytest.raises(SubmodelsError, match=r"chat template fails \(only tools\)"):
        wrap("chat_template", "hello", found)


DATED = "{{ bos_token }}Today: {{ strftime_now('%d %b %Y %H:%M:%S') }}. {{ messages[0]['content'] }}"
LLAMA3 = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{% endif %}{{ date_string }}: {{ messages[0]['content'] }}"
)


@pytest.mark.parametrize(
    ("template", "text"),
    [(DATED, "<s>Today: 26 Jul 2024 00:00:00. hello"), (LLAMA3, "26 Jul 2024: hello")],
    ids=["dated", "llama3"],
)
def test_the_date_in_a_template_is_the_same_on_any_day(tmp_path, template, text):
    found = tokenizer(tmp_path, chat_template=template)
    assert wrap("chat_template", "hello", found).text == text
    turns = [{"role": "user", "content": "hello"}]
    assert found.apply_chat_template(turns, tokenize=False) != text, "outside, the day must count"


@pytest.mark.parametrize("template", ["{{ [1, 2] | random }}", "{{ lipsum() }}"])
def test_a_template_that_draws_at_random_is_refused(tmp_path, template):
    with pytest.raises(SubmodelsError, match=r"draws at random .*, so that equal runs would differ; remove that"):
        wrap("chat_template", "hello", tokenizer(tmp_path, chat_template=template))


@pytest.mark.parametrize("template", ["{{ messages[0]['content'] + 1 }}", "{{ 1 / 0 }}", "{% if %}", "{{ [].x.y }}"])
def test_a_template_that_breaks_is_one_line(tmp_path, template):
    with pytest.raises(SubmodelsError, match=r"the tokenizer's chat template fails \("):
        wrap("chat_template", "hello", tokenizer(tmp_path, chat_template=template))


def test_named_templates_and_their_files(tmp_path):
    """Of several, the default one counts, wherever the others are."""
    named = [{"name": "default", "template": LLAMA2_TEMPLATE}, {"name": "tool_use", "template": "tools"}]
    assert wrap("chat_template", "hello", tokenizer(tmp_path, chat_template=named)).text == "<s>[INST] hello [/INST]"
    (tmp_path / "none").mkdir()
    with pytest.raises(SubmodelsError, match=r"multiple chat templates with no default"):
        wrap("chat_template", "hello", tokenizer(tmp_path / "none", chat_template=named[1:]))
    model = make_model(tmp_path / "files")
    (model / "chat_template.jinja").write_text(LLAMA2_TEMPLATE)
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    assert wrap("chat_template", "hello", AutoTokenizer.from_pretrained(model)).text == "<s>[INST] hello [/INST]"
    assert prompts.template_files(model) == [
        model / "additional_chat_templates" / "tool_use.jinja", model / "chat_template.jinja",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja", "additional_chat_templates/x.jinja"])
def test_a_template_that_writes_the_date_has_it_recorded(tmp_path, place):
    model = make_model(tmp_path / "model", chat_template=LLAMA2_TEMPLATE)
    assert prompts.date("chat_template", model) == {}
    path = model / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"chat_template": DATED}))
    assert prompts.date("chat_template", model) == {"date": "2024-07-26"}
    assert prompts.date("llama2", model) == {}


def test_unknown_formats_are_refused():
    with pytest.raises(SubmodelsError, match=r"unknown prompt format 'lama2'; known: base, chat_template, gemma"):
        wrap("lama2", "hello")


@pytest.mark.parametrize("template_writes_bos", [True, False])
@pytest.mark.parametrize("tokenizer_adds_bos", [True, False])
def test_bos_is_there_once_whoever_writes_it(tmp_path, template_writes_bos, tokenizer_adds_bos):
    found = tokenizer(tmp_path)
    found.chat_template = LLAMA2_TEMPLATE if template_writes_bos else LLAMA2_TEMPLATE.removeprefix("{{ bos_token }}")
    prompt = wrap("chat_template", "the cat", found)
    ids = one_bos(found.encode(prompt.text, add_special_tokens=tokenizer_adds_bos), prompt)
    expected = found.encode("[INST] the cat [/INST]", add_special_tokens=False)
    bos = [found.bos_token_id] if template_writes_bos or tokenizer_adds_bos else []
    assert ids == bos + expected


def test_a_text_that_begins_with_a_doubled_word_keeps_both(tmp_path):
    found = tokenizer(tmp_path)
    ids = found.encode("aa", add_special_tokens=False)
    assert one_bos([5, 5, 6], Prompt("aa")) == [5, 5, 6]
    assert one_bos(ids, Prompt("aa")) == ids
    assert one_bos([], Prompt("")) == []


@pytest.mark.parametrize("name", FORMATS)
def test_completions_are_never_wrapped(name):
    completion = load_benchmark("tiny_math")
    assert completion.style == "completion"
    assert format_of(name, completion) == "base"
    assert settings(name, completion) == {}


def test_the_papers_protocol_writes_llama2_its_own_way():
    task = load_benchmark("tiny_math").task
    paper = Benchmark(
        task | {"metadata": task["metadata"] | {"style": "instruction", "protocol": "paper", "quirks": ["one"]}}
    )
    assert [format_of(name, paper) for name in FORMATS] == [
        "base", "llama2_paper", "llama2_paper", "gemma", "chat_template",
    ]  # fmt: skip
    assert format_of("llama2", instruct("tiny_math")) == "llama2"


def expand(prompt: str | None, benchmark: str = "tiny_math") -> Grid:
    from submodels.config import GridConfig

    grid = {
        "name": "test",
        "base_models": ["mine"],
        "models": {"mine": {"path": "somewhere"} | ({"prompt": prompt} if prompt else {})},
        "submodels": [{"methods": ["magnitude"], "sparsities": [0.5]}],
        "benchmarks": [benchmark],
    }
    return Grid(parse(GridConfig, grid, "grid.yaml"), "grid.yaml")


@pytest.mark.parametrize(("benchmark", "decided"), [("tiny_math", False), ("wmt14_en_fr", True)])
def test_a_models_format_decides_the_questions_of_instructions_alone(benchmark, decided):
    plain, base, chat = (expand(prompt, benchmark).questions("mine") for prompt in (None, "base", "llama2"))
    assert plain == base
    assert (plain != chat) == decided


def test_a_grid_with_an_unknown_format_is_refused():
    with pytest.raises(SubmodelsError, match=r"models.mine.prompt: Input should be 'base', 'llama2'.*got 'lama'"):
        expand("lama")


def test_requests_carry_the_format(tmp_path):
    from submodels.evaluation.engine import ask

    items = [{"task_id": "math/0", "question": "How many?", "answer": "#### 3"}]
    found = tokenizer(tmp_path, chat_template=LLAMA2_TEMPLATE)
    asked = "Question: How many?\nAnswer:"
    for benchmark, text in [
        (load_benchmark("tiny_math"), asked),
        (instruct("tiny_math"), f"<s>[INST] {asked} [/INST]"),
    ]:
        (request,) = ask(benchmark, items, 0, found, "chat_template")
        assert request.args[0] == text


def test_a_change_of_format_renews_the_samples_of_instructions_alone(tmp_path, monkeypatch):
    from submodels.evaluation import generate as stage

    asked = instruct("tiny_csr")
    monkeypatch.setattr(stage, "load_benchmark", lambda name: asked if name == "tiny_csr" else load_benchmark(name))
    items = {
        "tiny_csr": [{"task_id": "csr/0", "query": "Anna drinks from the", "choices": ["cup", "hammer"], "gold": 0}],
        "tiny_text": [{"task_id": "text/0", "text": "Anna drinks."}],
    }
    for name, rows in items.items():
        files.write_jsonl(tmp_path / f"{name}.jsonl", rows)
    model, out = make(tmp_path / "m", template=LLAMA2), tmp_path / "out"

    def generate(prompt: str) -> dict[str, tuple[str, float, int]]:
        """Of each benchmark the format recorded, the likelihood of the samples, and when they were written."""
        stage.generate(model, None, {name: tmp_path / f"{name}.jsonl" for name in items}, out, prompt=prompt)
        made = {}
        for name in items:
            recorded = files.read_json(out / f"{name}.manifest.json")["parameters"].get("prompt")
            (line,) = files.read_jsonl(out / f"{name}.jsonl.gz")
            value = line["loglikelihoods"][0] if name == "tiny_csr" else line["loglikelihood"]
            made[name] = recorded, value, (out / f"{name}.jsonl.gz").stat().st_mtime_ns
        return made

    base, chat, written = generate("base"), generate("chat_template"), generate("llama2")
    assert base["tiny_text"] == chat["tiny_text"] == written["tiny_text"]
    assert [made["tiny_csr"][0] for made in (base, chat, written)] == [None, "chat_template", "llama2"]
    assert base["tiny_csr"][1] != chat["tiny_csr"][1]
    assert chat["tiny_csr"][1] == written["tiny_csr"][1]  # one text, and one BOS, whoever writes it


# --- Calibration ------------------------------------------------------------------------------------------------------

ROWS = ["the cat number 1 says hello", "the dog number 2 says hello", "the cat"]
SIZE = {"rows": 3, "seqlen": 120}


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model", chat_template=LLAMA2_TEMPLATE)


def windows_of(arrays) -> list[list[int]]:
    pairs = zip(arrays["input_ids"], arrays["attention_mask"], strict=True)
    return sorted(ids[mask.astype(bool)].tolist() for ids, mask in pairs)


@pytest.mark.parametrize("name", FORMATS)
def test_calibration_texts_of_style_instruction_are_wrapped_behind_one_bos(tmp_path, model, rows, name):
    arrays, results = run(spec(style="instruction"), model, tmp_path / "out", source=rows, prompt=name, **SIZE)
    found = AutoTokenizer.from_pretrained(model)
    texts = [wrap(name, text, found).text for text in ROWS]
    expected = [found.encode("<s>" + text.removeprefix("<s>"), add_special_tokens=False) for text in texts]
    assert windows_of(arrays) == sorted(expected)
    assert sorted(results["preview"]) == sorted(texts)
    parameters = json.loads((tmp_path / "out/manifest.json").read_text())["parameters"]
    assert parameters.get("prompt") == (None if name == "base" else name)


def test_plain_sets_give_the_same_bytes_whatever_the_models_format(tmp_path, model, rows):
    for name in ("base", "llama2", "chat_template"):
        run(spec(), model, tmp_path / name, source=rows, prompt=name, **SIZE)
    windows = {
        files.sha256_file(tmp_path / name / "windows.safetensors") for name in ("base", "llama2", "chat_template")
    }
    manifests = {files.read_json(tmp_path / name / "manifest.json")["fingerprint"] for name in ("base", "llama2")}
    assert len(windows) == len(manifests) == 1


def test_windows_made_through_a_dated_template_say_the_date_and_follow_its_files(tmp_path, rows):
    model = make_model(tmp_path / "model")
    (model / "chat_template.jinja").write_text(DATED)
    asked = spec(style="instruction")

    def manifest(name: str, **options) -> dict:
        run(options.pop("asked", asked), model, tmp_path / name, source=rows, prompt="chat_template", **SIZE)
        return files.read_json(tmp_path / name / "manifest.json")

    first, again = manifest("a"), manifest("b")
    assert first["fingerprint"] == again["fingerprint"]
    assert first["parameters"]["date"] == "2024-07-26"
    assert all("Today: 26 Jul 2024 00:00:00." in text for text in first["results"]["preview"])
    windows = [(tmp_path / name / "windows.safetensors").read_bytes() for name in "ab"]
    assert windows[0] == windows[1]
    assert "date" not in manifest("plain", asked=spec())["parameters"]
    (model / "chat_template.jinja").write_text(DATED + "!")
    assert manifest("c")["fingerprint"] != first["fingerprint"]
    fourth = manifest("d")
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "other.jinja").write_text("x")
    assert manifest("e")["fingerprint"] != fourth["fingerprint"]


def test_samples_made_through_a_dated_template_say_the_date(tmp_path, monkeypatch):
    from submodels.evaluation import generate as stage

    asked = instruct("tiny_csr")
    monkeypatch.setattr(stage, "load_benchmark", lambda name: asked if name == "tiny_csr" else load_benchmark(name))
    item = {"task_id": "csr/0", "query": "Anna drinks from the", "choices": ["cup", "hammer"], "gold": 0}
    files.write_jsonl(tmp_path / "tiny_csr.jsonl", [item])
    files.write_jsonl(tmp_path / "tiny_text.jsonl", [{"task_id": "text/0", "text": "Anna drinks."}])
    model, made = make(tmp_path / "m", template=DATED), {}
    for out in ("a", "b"):
        names = ("tiny_csr", "tiny_text")
        stage.generate(
            model, None, {name: tmp_path / f"{name}.jsonl" for name in names}, tmp_path / out, prompt="chat_template"
        )
        parameters = [files.read_json(tmp_path / out / f"{name}.manifest.json")["parameters"] for name in names]
        assert [known.get("date") for known in parameters] == ["2024-07-26", None]
        made[out] = (tmp_path / out / "tiny_csr.jsonl.gz").read_bytes()
    assert made["a"] == made["b"]
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "other.jinja").write_text("x")
    assert stage._companions(model).keys() > {"additional_chat_templates/other.jinja", "tokenizer_config.json"}


def test_a_mix_wraps_the_components_that_ask_for_it(tmp_path, model, rows):
    components = {"asked": spec(style="instruction"), "plain": spec()}
    mix = {"domain": "generic", "source": {"mix": {"asked": 1, "plain": 1}}}
    arrays, _ = run(
        parse(type(spec()), mix, "mix"), model, tmp_path / "out", prompt="llama2", rows=4, seqlen=120,
        source=dict.fromkeys(components, rows), components=components,
    )  # fmt: skip
    start = AutoTokenizer.from_pretrained(model).encode("[INST] the")
    assert sorted(window[: len(start)] == start for window in windows_of(arrays)) == [False, False, True, True]


def test_style_belongs_to_sets_with_rows_of_their_own():
    entry = {"domain": "control", "source": {"random_tokens": True}, "style": "instruction"}
    with pytest.raises(SubmodelsError, match="style belongs to a set that has rows itself, not to random_tokens"):
        parse(type(spec()), entry, "set")


def test_the_tokenizer_is_read_only_for_its_own_template(tmp_path):
    for name in PLAIN:
        assert wrapper(name, tmp_path / "nothing")("hello") == wrap(name, "hello")
    with pytest.raises(SubmodelsError, match="nothing: transformers cannot read the tokenizer"):
        wrapper("chat_template", tmp_path / "nothing")("hello")


def test_prompts_import_nothing_heavy():
    import subprocess
    import sys

    program = f"import sys; import {prompts.__name__}; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "numpy", "jinja2", "pydantic"} & set(imported)
