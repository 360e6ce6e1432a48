"""The benchmark registry and items."""

import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from submodels import files
from submodels.benchmarks.items import write_items
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.registry import Benchmark, benchmark_names, load_benchmark, load_items
from submodels.errors import SubmodelsError
from submodels.world import PROMPTS

TINY = {
    "tiny_python": ("code", "python", 10),
    "tiny_java": ("code", "java", 1),
    "tiny_cpp": ("code", "cpp", 1),
    "tiny_javascript": ("code", "javascript", 1),
    "tiny_math": ("math", None, 1),
    "tiny_csr": ("csr", None, 1),
    "tiny_translation": ("translation", None, 1),
    "tiny_text": ("text", None, 1),
}


def _task(tmp_path, **changes):
    """tiny_math as a file of one's own, with changes (None removes)."""
    task = load_benchmark("tiny_math").task | {"task": "mine"} | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in task.items() if value is not None}))
    return str(path)


def _metadata(**changes):
    metadata = load_benchmark("tiny_math").task["metadata"] | changes
    return {"metadata": {key: value for key, value in metadata.items() if value is not None}}


def test_all_shipped_tasks_load():
    assert {*TINY, "humaneval"} <= set(benchmark_names())
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        assert benchmark.name == name
        assert benchmark.primary in SCORERS[benchmark.scorer].metrics(benchmark.repeats)
    for name, wanted in TINY.items():
        benchmark = load_benchmark(name)
        assert (benchmark.domain, benchmark.language, benchmark.repeats) == wanted
        assert benchmark.is_code == (benchmark.domain == "code")
        assert benchmark.source.tiny_world


def test_quiet_is_a_rule_for_verdicts_and_decides_no_sample(tmp_path):
    """Those whose tests fail by console.assert alone: HumanEval-X's and the tiny world's, not MultiPL-E's."""
    quiet = {name for name in benchmark_names() if load_benchmark(name).quiet}
    translations = {f"{source}_to_javascript" for source in ("python", "java", "cpp")}
    assert quiet == {"humanevalx_javascript", "tiny_javascript", *translations}
    assert "quiet" not in load_benchmark("tiny_javascript").task["metadata"]
    with pytest.raises(SubmodelsError, match="`quiet` says how the tests of a program fail"):
        load_benchmark(_task(tmp_path, **_metadata(quiet=True)))


def test_tiny_prompts_are_those_the_tiny_models_are_trained_on():
    prompts = {name: load_benchmark(name).task["doc_to_text"] for name in TINY if name != "tiny_text"}
    assert prompts["tiny_math"] == PROMPTS["math"]
    assert prompts["tiny_translation"] == PROMPTS["translation"]
    fields = {PROMPTS["code"].strip("{}"), PROMPTS["csr"].strip("{}")}  # a lone field is named without braces
    assert {prompts[name] for name in prompts if name not in ("tiny_math", "tiny_translation")} == fields


def test_texts_are_read_whole_and_lower_is_better():
    benchmark = load_benchmark("tiny_text")
    assert (benchmark.output_type, benchmark.scorer) == ("loglikelihood_rolling", "perplexity")
    assert (benchmark.task["doc_to_text"], benchmark.task["doc_to_target"]) == ("", "text")
    sources = [f"source_{language}" for language in ("cpp", "java", "javascript", "python")]
    lower = [name for name in benchmark_names() if not load_benchmark(name).higher_is_better]
    assert lower == [*sources, "tiny_text", "wikitext2"]


def test_humaneval_asks_as_the_paper_does():
    benchmark = load_benchmark("humaneval")
    settings = benchmark.task["generation_kwargs"]
    assert (benchmark.repeats, settings["temperature"], settings["top_p"], settings["max_gen_toks"]) == (
        10,
        0.8,
        0.95,
        500,
    )
    assert settings["until"] == ["\ndef", "\nclass", "\nif", "\n#", "\nprint"]
    assert benchmark.task["doc_to_text"] == "prompt"


def test_humaneval_items_ship_with_their_package(tmp_path):
    write_items("humaneval", tmp_path / "humaneval.jsonl")
    items = load_items(load_benchmark("humaneval"), tmp_path / "humaneval.jsonl")
    assert len(items) == 164
    assert items[0]["task_id"] == "HumanEval/0"
    assert items[0]["prompt"].endswith('"""\n')


ROWS = [{"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"}, {"question": "2 + 2?", "answer": "#### 4"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet"])
def test_rows_of_a_data_set_become_items(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif name.endswith(".json"):
        files.write_json(path, ROWS)
    else:
        files.write_jsonl(path, ROWS)
    write_items("gsm8k", tmp_path / "items.jsonl", rows=path)
    items = load_items(load_benchmark("gsm8k"), tmp_path / "items.jsonl")
    assert [item["task_id"] for item in items] == ["gsm8k/0", "gsm8k/1"]
    assert [{key: item[key] for key in ROWS[0]} for item in items] == ROWS
    assert set(items[0]) == {"task_id", "question", "answer", "prompt"}


def test_rows_of_another_schema_have_another_adapter(tmp_path):
    files.write_jsonl(tmp_path / "rows.jsonl", [{"query": "Why?", "choices": ["a", "b"], "gold": 1}])
    arguments = {"out": tmp_path / "items.jsonl", "rows": tmp_path / "rows.jsonl"}
    with pytest.raises(SubmodelsError, match=r"rows.jsonl, row 0: no field 'question'; fields that exist: query, ch"):
        write_items("arc_easy", **arguments)
    assert not (tmp_path / "items.jsonl").exists()
    write_items("arc_easy", **arguments, adapter="multiple_choice")
    (item,) = files.read_jsonl(tmp_path / "items.jsonl")
    assert item == {"task_id": "arc_easy/0", "query": "Why?", "choices": ["a", "b"], "gold": 1}


@pytest.mark.parametrize(
    ("benchmark", "options", "message"),
    [
        ("tiny_math", {}, "tiny_math: no rows given, and no package has its rows; `submodels world` writes its items"),
        ("gsm8k", {}, "gsm8k: no rows given, and no package has its rows; "),
        (
            "gsm8k",
            {"rows": "none.parquet"},
            "none.parquet: no such file; fetch data set openai/gsm8k first, on a machine with a net",
        ),
        ("gsm8k", {"rows": "bad.jsonl"}, "bad.jsonl: items of gsm8k, row 1 (gsm8k/0): `answer` needs a last line"),
        ("gsm8k", {"rows": "bad.jsonl", "adapter": "gsm"}, "unknown adapter 'gsm'; known: arc, boolq"),
        (
            "gsm8k",
            {"rows": "bad.jsonl", "fixture": True},
            "gsm8k: a fixture takes no rows; leave out the rows or the fixture",
        ),
        ("tiny_math", {"fixture": True}, "tiny_math: it has no fixture; only benchmarks with an adapter"),
    ],
)
def test_faults_of_sources_are_named(tmp_path, monkeypatch, benchmark, options, message):
    monkeypatch.chdir(tmp_path)
    files.write_jsonl("bad.jsonl", [{"question": "?", "answer": "2"}])
    with pytest.raises(SubmodelsError) as error:
        write_items(benchmark, tmp_path / "items.jsonl", **options)
    assert message in str(error.value)
    assert not (tmp_path / "items.jsonl").exists()


def test_a_task_file_of_ones_own(tmp_path):
    assert load_benchmark(_task(tmp_path)).name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (_metadata(licence="MIT"), "metadata.licence: unknown key; valid keys: version, domain, language, source"),
        (_metadata(domain=None), "metadata.domain: missing"),
        (_metadata(domain="poetry"), "metadata.domain: Input should be 'code'"),
        (_metadata(scorer="rouge"), "metadata.scorer: Input should be 'pass_at_k', 'exact_match'"),
        (_metadata(language="python"), "`language` belongs only to `domain: code`"),
        (_metadata(source={}), "metadata.source: give exactly one of"),
        (_metadata(source={"url": "x"}), "metadata.source.url: unknown key; valid keys: hub, config, revision, split"),
        (_metadata(source={"hub": "a/b", "split": "test"}), "metadata.source: a hub source needs revision and split"),
        (_metadata(source={"file": "a.jsonl", "split": "test"}), "metadata.source: split belongs to a hub source, not"),
        (
            _metadata(adapter="gsm8k"),
            "`adapter` belongs to a source with hub, package or held_out; rows of tiny_world",
        ),
        (_metadata(adapter="gsm"), "metadata.adapter: Input should be 'arc'"),
        (_metadata(protocol="paper"), "`quirks`, its differences, and `protocol: paper` go together"),
        (_metadata(quirks=["a"]), "`quirks`, its differences, and `protocol: paper` go together"),
        (_metadata(bos=False), "`bos: false` is a quirk of `protocol: paper`; leave it out"),
        (_metadata(style="chat"), "metadata.style: Input should be 'completion' or 'instruction'"),
        (_metadata(primary="acc"), "primary acc is none of exact_match's metrics: exact_match"),
        (_metadata(scorer="accuracy", primary="acc"), "scorer accuracy needs output_type: multiple_choice"),
        (_metadata(scorer="perplexity"), "scorer perplexity needs output_type: loglikelihood_rolling"),
        ({"output_type": "loglikelihood_rolling", "repeats": 2}, "loglikelihood_rolling draws no samples; leave out"),
        ({"metadata": None}, "metadata: missing"),
        ({"repeats": 5}, "repeats: 5 would copy one answer"),
        ({"generation_kwargs": {"until": []}}, "generation_kwargs.max_gen_toks: missing"),
        ({"generation_kwargs": None}, "generate_until needs generation_kwargs"),
        ({"generation_kwargs": {"num_beams": 4}}, "num_beams: unknown key; valid keys: until, max_gen_toks, do_sample"),
        ({"output_type": "loglikelihood"}, "output_type: Input should be 'generate_until'"),
        ({"task": "other"}, "task is 'other' but must be the file's name, 'mine'"),
    ],
)
def test_faults_of_task_files_are_named(tmp_path, changes, message):
    path = _task(tmp_path, **changes)
    with pytest.raises(SubmodelsError) as error:
        load_benchmark(path)
    assert message in str(error.value)
    assert path in str(error.value)


def test_other_samples_change_nothing_but_the_samples():
    """What decides no sample stays too: how the tests of a program fail, how large a plan takes the benchmark to be."""
    for name in benchmark_names():
        plain = load_benchmark(name)
        if not SCORERS[plain.scorer].takes_samples or plain.protocol == "paper":
            continue
        greedy = plain.with_sampling("greedy")
        assert (greedy.quiet, greedy.size, greedy.source) == (plain.quiet, plain.size, plain.source), name
    assert load_benchmark("humanevalx_javascript").with_sampling("greedy").quiet


@pytest.mark.parametrize(
    ("sampling", "repeats", "metrics"),
    [
        ("greedy", 1, ["pass@1"]),
        (1, 1, ["pass@1"]),
        (9, 9, ["pass@1"]),
        (10, 10, ["pass@1", "pass@10"]),
        (None, 10, ["pass@1", "pass@10"]),
        (100, 100, ["pass@1", "pass@10", "pass@100"]),
    ],
)
def test_samples_of_a_benchmark_of_pass_at_k(sampling, repeats, metrics):
    plain = load_benchmark("humaneval")
    benchmark = plain.with_sampling(sampling)
    assert (benchmark.repeats, benchmark.sampling) == (repeats, None if repeats == 10 else sampling)
    assert SCORERS[benchmark.scorer].metrics(benchmark.repeats) == metrics
    assert (benchmark.name, benchmark.size, benchmark.primary) == ("humaneval", plain.size, "pass@1")
    settings = plain.task["generation_kwargs"]
    if sampling == "greedy":
        settings = {"until": settings["until"], "max_gen_toks": 500, "do_sample": False}
    assert benchmark.task == plain.task | {"repeats": repeats, "generation_kwargs": settings}
    assert load_benchmark("humaneval").task == plain.task


def test_a_primary_that_needs_more_samples_is_replaced():
    task = load_benchmark("humaneval").task
    benchmark = Benchmark(task | {"metadata": task["metadata"] | {"primary": "pass@10"}})
    primaries = [benchmark.with_sampling(sampling).primary for sampling in (None, 100, 10, 9, "greedy")]
    assert primaries == ["pass@10", "pass@10", "pass@10", "pass@1", "pass@1"]


def test_samples_leave_alone_what_draws_none():
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        if benchmark.scorer != "pass_at_k":
            assert benchmark.with_sampling("greedy") is benchmark.with_sampling(7) is benchmark
    greedy = load_benchmark("mbpp")
    assert greedy.with_sampling("greedy") is greedy.with_sampling(1) is greedy
    with pytest.raises(
        SubmodelsError, match="mbpp: its answers are greedy, so 2 samples would be copies of one answer; leave"
    ):
        greedy.with_sampling(2)
    for sampling in ("greedy", 10):
        with pytest.raises(SubmodelsError, match="humaneval_paper: draws its samples as the paper's authors did"):
            load_benchmark("humaneval_paper").with_sampling(sampling)
    for wrong in (0, "many", 1.0, True, ""):
        with pytest.raises(SubmodelsError, match="samples must be `greedy` or a number of at least 1"):
            load_benchmark("tiny_math").with_sampling(wrong)


def test_no_such_task_and_functions_in_yaml(tmp_path):
    with pytest.raises(
        SubmodelsError, match="unknown benchmark 'tiny_rust'; known: arc_challenge, arc_challenge_paper, arc_easy"
    ):
        load_benchmark("tiny_rust")
    with pytest.raises(SubmodelsError, match="no such file"):
        load_benchmark(str(tmp_path / "none.yaml"))
    (tmp_path / "f.yaml").write_text("task: f\ndoc_to_text: !function x.y\n")
    with pytest.raises(
        SubmodelsError, match=r"f.yaml: not plain YAML .*line 2.*tags such as `!function` are not supported"
    ):
        load_benchmark(str(tmp_path / "f.yaml"))


GOOD = {
    "tiny_python": {
        "prompt": "def f():\n",
        "canonical_solution": "    pass\n",
        "test": "def check(f): pass",
        "entry_point": "f",
    },
    "tiny_math": {"question": "1 + 1?", "answer": "#### 2"},
    "tiny_csr": {"query": "a", "choices": ["b", "c"], "gold": 1},
    "tiny_translation": {"source": "a", "target": "b"},
    "tiny_text": {"text": "a b"},
}


@pytest.mark.parametrize("name", GOOD)
def test_good_items_load(tmp_path, name):
    rows = [{"task_id": "a"} | GOOD[name], {"task_id": "b"} | GOOD[name]]
    files.write_jsonl(tmp_path / "items.jsonl", rows)
    assert load_items(load_benchmark(name), tmp_path / "items.jsonl") == rows


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tiny_python", {"test": None}, "needs a text `test`"),
        ("tiny_python", {"prompt": 3}, "needs a text `prompt`"),
        ("tiny_python", {"canonical_solution": ["pass"]}, "needs a text `canonical_solution`"),
        ("tiny_math", {"answer": "2"}, "`answer` needs a last line '#### <number>'"),
        ("tiny_csr", {"choices": ["b"]}, "`choices` needs at least two texts"),
        ("tiny_csr", {"choices": ["b", ""]}, "`choices` needs at least two texts"),
        ("tiny_csr", {"gold": 2}, "`gold` needs the index of a choice, 0 to 1"),
        ("tiny_csr", {"gold": "1"}, "`gold` needs the index of a choice"),
        ("tiny_translation", {"target": None}, "needs a text `target`"),
        ("tiny_text", {"text": None}, "needs a text `text`"),
        ("tiny_text", {"text": " \n"}, "`text` needs more than white space"),
        ("tiny_translation", {"task_id": "a"}, "task_id 'a' is there twice"),
        ("tiny_translation", {"task_id": None}, "needs a text `task_id`"),
    ],
)
def test_faults_of_items_name_file_and_row(tmp_path, name, changes, message):
    path = tmp_path / "items.jsonl"
    files.write_jsonl(path, [{"task_id": "a"} | GOOD[name], {"task_id": "b"} | GOOD[name] | changes])
    with pytest.raises(SubmodelsError) as error:
        load_items(load_benchmark(name), path)
    assert str(error.value).startswith(f"{path}, row 2")
    assert message in str(error.value)


def test_no_items_is_an_error(tmp_path):
    (tmp_path / "items.jsonl").write_text("")
    with pytest.raises(SubmodelsError, match="no items"):
        load_items(load_benchmark("tiny_math"), tmp_path / "items.jsonl")


def test_the_registry_is_light():
    """The workflow's parser imports it: no numerical library may come with it."""
    heavy = "{'numpy', 'torch', 'transformers', 'pandas', 'nltk', 'datasets', 'lm_eval', 'sacrebleu'}"
    load = "from submodels.benchmarks.registry import load_benchmark; load_benchmark('humaneval')"
    code = f"import sys; {load}; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
