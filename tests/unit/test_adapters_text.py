"""Adapters of the benchmarks that are no code: by hand, against lm-eval's own tasks, and on the real data."""

import random
import re
from pathlib import Path
from types import SimpleNamespace

import lm_eval
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from local_sources import local_sources

from submodels import files
from submodels.benchmarks.adapters import ADAPTERS, FIXTURES, gsm8k
from submodels.benchmarks.adapters.hellaswag import clean
from submodels.benchmarks.items import write_items
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.registry import benchmark_names, load_benchmark, load_items
from submodels.errors import SubmodelsError
from submodels.evaluation.score import score

LM_EVAL = Path(lm_eval.__file__).parent / "tasks"
CHOICE_TASKS = {
    "openbookqa": "openbookqa/openbookqa.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
}
TEXT_TASKS = [
    *CHOICE_TASKS, *(f"{name}_paper" for name in CHOICE_TASKS), "gsm8k", "gsm8k_paper", "wmt14_en_fr",
    "wmt14_en_fr_paper", "opus_books_en_fr", "opus_books_en_fr_paper", "wikitext2",
]  # fmt: skip


def test_questions_with_labels():
    choices = {"text": ["a", "b", "c"], "label": ["1", "2", "3"]}
    row = {"id": "x", "question": "Which?", "question_stem": "The", "choices": choices, "answerKey": "2"}
    assert ADAPTERS["arc"]([row]) == [{"query": "Which?", "choices": ["a", "b", "c"], "gold": 1}]
    assert ADAPTERS["openbookqa"]([row])[0]["query"] == "The"


def test_hellaswag_is_cleaned():
    assert clean(" How to cut [title] Wash [step] it [substeps] well. ") == "How to cut. Wash it well."
    row = {"activity_label": "Roof", "ctx_a": "A man sits.", "ctx_b": "he", "endings": ["a", "b"], "label": "1"}
    assert ADAPTERS["hellaswag"]([row]) == [{"query": "Roof: A man sits. He", "choices": ["a", "b"], "gold": 1}]


def test_winogrande_fills_the_blank_and_scores_the_rest():
    row = {"sentence": "Ann met Eve; _ smiled. _", "option1": "Ann", "option2": "Eve", "answer": "2"}
    (item,) = ADAPTERS["winogrande"]([row])
    assert item["choices"] == ["Ann met Eve; Ann", "Ann met Eve; Eve"]
    assert (item["continuation"], item["gold"]) == ("smiled. _", 1)


def test_boolq_and_prepared_rows():
    row = {"passage": "Hens are birds.", "question": "is a hen a bird", "label": 1, "idx": 0}
    assert ADAPTERS["boolq"]([row]) == [
        {"query": "Hens are birds.\nQuestion: is a hen a bird?", "choices": ["no", "yes"], "gold": 1}
    ]
    rows = [
        {"query": "q", "choices": ["a", "b"], "gold": 0, "more": 1},
        {"context_options": ["x a", "x b"], "continuation": "c", "gold": 1},
    ]
    assert ADAPTERS["multiple_choice"](rows) == [
        {"query": "q", "choices": ["a", "b"], "gold": 0},
        {"query": "x a", "choices": ["x a", "x b"], "continuation": "c", "gold": 1},
    ]


def test_gsm8k_asks_after_eight_examples():
    (item,) = ADAPTERS["gsm8k"]([{"question": "1 + 1?", "answer": "2\n#### 2"}])
    assert item["prompt"].startswith("Q: There are 15 trees in the grove.")
    assert item["prompt"].endswith("23 - 15 is 8. The answer is 8.\n\nQ: 1 + 1?\nA:")
    assert (item["prompt"].count("Q: "), item["prompt"].count("The answer is")) == (9, 8)
    for example in gsm8k.examples():
        reasoning, _, answer = example["target"].partition(" The answer is ")
        assert re.findall(r"\d+", reasoning)[-1] == answer.removesuffix(".")


def test_gsm8k_needs_the_examples_of_the_installed_lm_eval(monkeypatch, tmp_path):
    monkeypatch.setattr(gsm8k, "examples", gsm8k.examples.__wrapped__)
    monkeypatch.setattr(gsm8k, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(SubmodelsError, match=r"gsm8k-cot\.yaml: needs the 8 worked examples .* found 0"):
        gsm8k.items([{"question": "1 + 1?", "answer": "#### 2"}])


def test_gsm8k_of_the_paper_shuffles_for_every_question():
    rows = [{"question": f"{n}?", "answer": "#### 2"} for n in range(3)]
    prompts = [item["prompt"] for item in ADAPTERS["gsm8k_paper"](rows)]
    random.seed(42)  # what the authors' code does, once, before the first of its shuffles
    for prompt in prompts:
        order = list(range(8))
        random.shuffle(order)
        questions = [part.split("\nA:")[0] for part in prompt.split("Q: ")[1:-1]]
        assert questions == [gsm8k.examples()[i]["question"] for i in order]


def _pair(number, text=None):
    return {"translation": {"en": text or f"en {number}", "fr": text or f"fr {number}"}}


def test_books_are_asked_from_the_half_that_calibration_leaves():
    rows = [_pair(n) for n in range(2001)]
    rows[1500] = _pair(1500, "en 3")  # stands in the first half
    items = ADAPTERS["opus_books"](rows)
    numbers = [int(item["task_id"].split("/")[1]) for item in items]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 1001
    assert 1500 not in numbers
    assert 15 < len(items) < 50  # one in 32 of 1000
    first = {rows[n]["translation"][side] for n in range(1001) for side in ("en", "fr")}
    assert not first & {item[side] for item in items for side in ("source", "target")}
    assert ADAPTERS["opus_books"](rows) == items


@given(st.lists(st.sampled_from("abcdefgh "), max_size=40))
def test_no_sentence_of_the_books_is_asked_twice_or_known(texts):
    rows = [_pair(n, text) for n, text in enumerate(texts)]
    asked = [item["source"] for item in ADAPTERS["opus_books"](rows)]
    assert len(asked) == len(set(asked))
    assert not set(asked) & (set(texts[: len(texts) // 2]) | {" "})


def test_the_paper_draws_400_pairs():
    rows = [_pair(n) for n in range(1000)]
    for adapter, first in (("wmt14_paper", 0), ("opus_books_paper", 500)):
        items = ADAPTERS[adapter](rows)
        assert len(items) == len({item["task_id"] for item in items}) == 400
        numbers = [int(item["source"].split()[1]) for item in items]
        assert min(numbers) < first + 20
        assert min(numbers) >= first
        assert max(numbers) > 980
        assert len(set(numbers)) < 400  # with replacement
    assert len(ADAPTERS["translation"](rows)) == 1000


@pytest.mark.parametrize("end", ["", "\n"])
def test_articles_of_wikitext_begin_at_their_titles(end):
    lines = ["", " = Hen = ", "", " Text . ", " = 1 k = ", " = = Part = = ", "", "", " = A = ", "", " More . "]
    texts = [item["text"] for item in ADAPTERS["wikitext2"]([{"text": line + end} for line in lines])]
    assert texts == [" = Hen = \n\n Text . \n = 1 k = \n = = Part = = \n\n\n", " = A = \n\n More . \n"]


@pytest.mark.parametrize(
    ("adapter", "row", "message"),
    [
        ("gsm8k", {"question": "?"}, "row 1: no field 'answer'; fields that exist: question"),
        ("arc", {"question": "?", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "B"}, "row 1: not of the"),
        ("boolq", {"passage": "", "question": "", "label": ""}, "row 1: not of the data set's schema"),
        ("boolq", {"passage": "", "question": "", "label": None}, "row 1: field 'label' is null or NaN"),
        ("translation", {"translation": "x"}, "row 1: not of the data set's schema"),
        ("winogrande", ["x"], "row 1: not of the data set's schema"),
    ],
)
def test_rows_of_another_schema_are_named(adapter, row, message):
    with pytest.raises(SubmodelsError) as error:
        ADAPTERS[adapter]([FIXTURES[adapter]()[0], row])
    assert message in str(error.value)


def _lm_eval_task(path, documents):
    """lm-eval's own task on these rows."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(LM_EVAL / path)
    splits = {config.get("test_split") or config["validation_split"]: Dataset.from_list(documents)}
    keys = ("training_split", "fewshot_split", "validation_split", "test_split")
    config = {key: value for key, value in config.items() if key not in keys or value in splits}
    task = ConfigurableTask(config=config | {"custom_dataset": lambda **_: splits})
    task.build_all_requests()
    return task


def _our_requests(benchmark, items):
    from submodels.evaluation.engine import ask

    return [instance.args for instance in ask(benchmark, items, 0, None)]


@pytest.mark.parametrize("name", CHOICE_TASKS)
def test_choices_are_asked_and_scored_as_by_lm_eval(name):
    """The same contexts and continuations, and the same scores for the same log-likelihoods."""
    benchmark, rows = load_benchmark(name), FIXTURES[load_benchmark(name).adapter]()
    items = [{"task_id": str(n)} | item for n, item in enumerate(ADAPTERS[benchmark.adapter](rows))]
    theirs = _lm_eval_task(CHOICE_TASKS[name], rows)
    assert _our_requests(benchmark, items) == [instance.args for instance in theirs.instances]

    draw, seen = random.Random(name), set()
    for _ in range(20):
        for item, document in zip(items, theirs.eval_docs, strict=True):
            values = [draw.uniform(-20, -1) for _ in item["choices"]]
            line = {"loglikelihoods": values, "greedy": [False] * len(values)}
            ours = SCORERS["accuracy"].score([item], {item["task_id"]: [line]}, "none").items[item["task_id"]]
            wanted = theirs.process_results(document, [(value, False) for value in values])
            wanted.setdefault("acc_norm", wanted["acc"])  # lm-eval has acc alone where lengths do not count
            if name == "boolq":
                wanted["acc_norm"] = ours["acc_norm"]  # lm-eval's task has acc alone
            assert ours == wanted
            seen.add(ours["acc"])
    assert seen == {0.0, 1.0}


@pytest.mark.parametrize("name", CHOICE_TASKS)
def test_the_paper_asks_the_same_questions_without_bos(name):
    """Its older lm-eval has the same prompts, so that all but BOS, what is named first and what says so is one task."""
    strict, paper = (load_benchmark(task) for task in (name, f"{name}_paper"))
    own = {"protocol": "paper", "bos": False, "quirks": paper.quirks, "primary": "acc"}
    assert paper.task == strict.task | {"task": paper.name, "metadata": strict.task["metadata"] | own}
    assert len(paper.quirks) == 1
    assert "without BOS" in paper.quirks[0]


COMPLETIONS = [
    " 12 + 5 = 17. The answer is 17.",
    " The answer is 17.\n\n",
    " The answer is 17",
    " The answer is 1,017.50. Really",
    " The answer is $17.",
    " So 17. the answer is 16.",
    " The answer is -17. The answer is 5.",
    " He pays $1,017 and 3 cents .",
    " 17",
    " The answer is 1,024 stamps.",
    " none",
    "",
    " ...",
    " The answer is ,.",
]
NUMBERS = st.sampled_from(
    ["The answer is ", "17", "1024", "1,024", ".", ",", "$", "-", " ", "\n", "x", "the answer is"]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(NUMBERS, max_size=12).map("".join), min_size=1, max_size=4))
def test_answers_are_read_as_by_lm_eval(gsm8k_of_lm_eval, texts):
    _compare_answers(gsm8k_of_lm_eval, texts)


def test_answers_by_hand_are_read_as_by_lm_eval(gsm8k_of_lm_eval):
    found = _compare_answers(gsm8k_of_lm_eval, COMPLETIONS)
    assert {0.0, 1.0} == {value["exact_match"] for value in found} == {value["flexible"] for value in found}


@pytest.fixture(scope="module")
def gsm8k_of_lm_eval():
    return _lm_eval_task("gsm8k/gsm8k-cot.yaml", FIXTURES["gsm8k"]())


def _compare_answers(task, texts):
    """The scores of samples, each taken for the answer to every item; as lm-eval's filters and metric have them."""
    items = [{"task_id": str(n)} | item for n, item in enumerate(ADAPTERS["gsm8k"](FIXTURES["gsm8k"]()))]
    found = []
    for text in texts:
        samples = {item["task_id"]: [{"completion": text}] for item in items}
        ours = SCORERS["chain_of_thought"].score(items, samples, "none").items
        for instance in task.instances:
            instance.resps = [text]
        task.apply_filters()
        for item, instance in zip(items, task.instances, strict=True):
            wanted = {
                ours_name: float(task.process_results(instance.doc, [instance.filtered_resps[name]])["exact_match"])
                for ours_name, name in (("exact_match", "strict-match"), ("flexible", "flexible-extract"))
            }
            assert ours[item["task_id"]] == wanted, (text, item["answer"])
            found.append(wanted)
    return found


def test_gsm8k_prompts_are_those_of_lm_eval(gsm8k_of_lm_eval):
    items = [{"task_id": str(n)} | item for n, item in enumerate(ADAPTERS["gsm8k"](FIXTURES["gsm8k"]()))]
    ours = [text for text, _ in _our_requests(load_benchmark("gsm8k"), items)]
    assert ours == [instance.args[0] for instance in gsm8k_of_lm_eval.instances]


def test_every_adapter_of_a_benchmark_has_a_fixture():
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        if benchmark.adapter is not None:
            assert FIXTURES[benchmark.adapter]()


def _samples(benchmark, items):
    """Some answer to every item."""
    for number, item in enumerate(items):
        if benchmark.output_type == "multiple_choice":
            values = [-1.0 - (i + number) % 3 for i in range(len(item["choices"]))]
            yield {"task_id": item["task_id"], "loglikelihoods": values, "greedy": [False] * len(values)}
        elif benchmark.output_type == "loglikelihood_rolling":
            size = len(item["text"].encode())
            yield {"task_id": item["task_id"], "loglikelihood": -2.0 * size, "tokens": size // 2, "bytes": size}
        else:
            for sample in range(benchmark.repeats):
                text = " The answer is 17." if benchmark.domain == "math" else " Le chat voit la maison."
                yield {"task_id": item["task_id"], "completion": text, "sample": sample}


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_a_fixture_is_marked_from_its_items_to_its_score(name, tmp_path):
    benchmark, path = load_benchmark(name), tmp_path / "items.jsonl"
    write_items(name, path, fixture=True)
    items = load_items(benchmark, path)
    assert all(item["fixture"] for item in items)
    files.write_jsonl(path, items[:12])
    files.write_jsonl(tmp_path / "samples.jsonl", _samples(benchmark, items[:12]))
    score(name, path, {"dense": tmp_path / "samples.jsonl"}, tmp_path / "score.json", model="tiny")
    found = files.read_json(tmp_path / "score.json")
    assert found["fixture"] is True
    assert found["protocol"] == ("paper" if name.endswith("_paper") else "strict")
    assert bool(found["quirks"]) == (found["protocol"] == "paper")
    metrics = found["submodels"]["dense"]["metrics"]
    assert list(metrics) == SCORERS[benchmark.scorer].metrics(benchmark.repeats)
    assert benchmark.primary in metrics


ROWS = {
    "openbookqa": 500, "openbookqa_paper": 500, "hellaswag": 10042, "winogrande": 1267, "boolq": 3270,
    "arc_easy": 2376, "arc_challenge": 1172, "gsm8k": 1319, "gsm8k_paper": 1319, "wmt14_en_fr": 3003,
    "wmt14_en_fr_paper": 400, "wikitext2": 60,
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(shared, tmp_path_factory):
    return local_sources(shared / "data", tmp_path_factory.mktemp("local"))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ROWS)
def test_the_local_data_become_items(name, sources, tmp_path):
    """As many as the data have, 60 articles of WikiText-2's test split among them, and valid: no field lacks."""
    source = sources[name] if isinstance(sources[name], dict) else {"path": sources[name]}
    write_items(name, tmp_path / "items.jsonl", rows=Path(source["path"]), adapter=source.get("adapter"))
    items = load_items(load_benchmark(name), tmp_path / "items.jsonl")
    assert len(items) == ROWS[name]
    assert not any("fixture" in item for item in items)
    assert items[0]["task_id"].startswith(("wmt14/0/", f"{name}/0"))


@pytest.mark.real_data
def test_the_local_programs_become_items(sources, tmp_path):
    """Every benchmark of code that has local data; problems known to be faulty may be left out."""
    for name in sorted(name for name in sources if load_benchmark(name).is_code):
        write_items(name, tmp_path / "items.jsonl", rows=Path(sources[name]))
        items = load_items(load_benchmark(name), tmp_path / "items.jsonl")
        assert len(items) == 500 if name.startswith("mbpp") else 161 <= len(items) <= 164, name


@pytest.mark.real_data
def test_the_local_texts_are_those_of_the_benchmarks(sources, tmp_path):
    write_items("wikitext2", tmp_path / "a.jsonl", rows=Path(sources["wikitext2"]))
    articles = files.read_jsonl(tmp_path / "a.jsonl")
    assert articles[0]["text"].startswith(" = Robert <unk> = \n")
    assert articles[1]["text"].startswith(" = Du Fu = \n")
    assert sum(len(item["text"].split()) for item in articles) == 241211
    write_items("wmt14_en_fr", tmp_path / "b.jsonl", rows=Path(sources["wmt14_en_fr"]))
    assert files.read_jsonl(tmp_path / "b.jsonl")[0]["source"] == "Spectacular Wingsuit Jump Over Bogota"
