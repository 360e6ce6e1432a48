"""What models read of items: every prompt is rendered from its item alone, and what an item lacks is named."""

import pytest
import yaml

from submodels import files
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.questions import Questions
from submodels.benchmarks.registry import Benchmark, load_benchmark, load_items
from submodels.errors import SubmodelsError
from submodels.evaluation.engine import ask

MATH = {"question": "1 + 1?", "answer": "#### 2"}
CSR = {"query": "Anna drinks from the", "choices": ["cup", "map"], "gold": 0}
CONTEXTS = {"query": "q", "choices": ["Anna drinks the", "Anna eats the"], "gold": 0, "continuation": "tea."}


def _benchmark(name: str, **changes) -> Benchmark:
    task = load_benchmark(name).task | {"task": "mine"} | changes
    return Benchmark({key: value for key, value in task.items() if value is not None}, "mine.yaml")


def _items(shared: dict, *rows: dict) -> list[dict]:
    return [{"task_id": f"a/{number}"} | shared | row for number, row in enumerate(rows)]


def _asked(benchmark: Benchmark, items: list[dict]) -> list[str]:
    return [request.args[0] for request in ask(benchmark, items, 0, None)]


def _checked(tmp_path, benchmark: Benchmark, items: list[dict]) -> list[dict]:
    files.write_jsonl(tmp_path / "items.jsonl", items)
    return load_items(benchmark, tmp_path / "items.jsonl")


HINT = "{% if hint is defined %}Hint: {{hint}} {% endif %}{{question}}"


@pytest.mark.parametrize(
    ("template", "rows", "wanted"),
    [
        ("{{question}}", [{"seed": 1}, {"seed": 10**30}], ["1 + 1?", "1 + 1?"]),  # no table holds both
        ("{{question}}", [{"id": 1}, {"id": "2a"}, {"id": [3]}, {"id": {"b": None}}], ["1 + 1?"] * 4),
        (HINT, [{}, {"hint": "Count."}], ["1 + 1?", "Hint: Count. 1 + 1?"]),
        (HINT, [{"hint": "Count."}, {}], ["Hint: Count. 1 + 1?", "1 + 1?"]),
        (
            "{% if meta.hint is defined %}{{meta.hint}} {% endif %}{{question}}",
            [{"meta": {"topic": "sums"}}, {"meta": {"topic": "sums", "hint": "Count."}}],
            ["1 + 1?", "Count. 1 + 1?"],
        ),
        ("{% if hint %}{{hint}} {% endif %}{{question}}", [{"hint": None}, {"hint": "A"}], ["1 + 1?", "A 1 + 1?"]),
        ("{{level}}: {{question}}", [{"level": 1}, {"level": 2.5}], ["1: 1 + 1?", "2.5: 1 + 1?"]),
        ("{{level}}: {{question}}", [{"level": True}, {"level": 0}], ["True: 1 + 1?", "0: 1 + 1?"]),
        ("{{level}}", [{"level": 10**30}, {"level": "7"}, {"level": "007"}], ["1" + "0" * 30, "7", "007"]),
        ("{{tests[0]}} {{tests|length}}", [{"tests": ["a"]}, {"tests": ["b", 2, None]}], ["a 1", "b 3"]),
        ("question", [{"question": "{{ answer }} {% if %} {# no #}"}, {"question": "é\u2028\n\n"}],
         ["{{ answer }} {% if %} {# no #}", "é\u2028\n\n"]),
        ("{{question}}\n\n", [{"question": "{{ answer }} {% raw %}"}], ["{{ answer }} {% raw %}\n\n"]),
        ("{{question}}", [{"question": "a", "two words": 1, "{{x}}": 2, "self": 3, "doc": 4}], ["a"]),
        ("two words", [{"two words": "a"}, {"two words": "b"}], ["a", "b"]),
        ("{{question|regex_replace('[0-9]', 'n')}}", [{}], ["n + n?"]),
    ],
)  # fmt: skip
def test_a_prompt_is_rendered_from_its_item(tmp_path, template, rows, wanted):
    benchmark, items = _benchmark("tiny_math", doc_to_text=template), _items(MATH, *rows)
    assert _asked(benchmark, _checked(tmp_path, benchmark, items)) == wanted
    assert _asked(benchmark, items[-1:]) == wanted[-1:]  # whatever the others hold


@pytest.mark.parametrize(
    ("name", "changes", "rows", "message"),
    [
        ("tiny_math", {"doc_to_text": "{{hint}} {{question}}"}, [{"hint": "a"}, {}],
         "row 2 (a/1): mine: doc_to_text asks for a field that the item lacks: 'hint' is undefined"),
        ("tiny_math", {"doc_to_text": "hint"}, [{"hint": "a"}, {}], "row 2 (a/1): mine: no `hint`, which doc_to_t"),
        ("tiny_math", {"doc_to_text": "hint"}, [{}, {"hint": "a"}], "row 1 (a/0): mine: no `hint`, which doc_to_t"),
        ("tiny_math", {"doc_to_text": "hint"}, [{"hint": 3}], "doc_to_text is the field `hint`, which must be a text"),
        ("tiny_math", {"doc_to_text": "{{meta.hint}}"}, [{"meta": {"hint": "a"}}, {"meta": {}}],
         "row 2 (a/1): mine: doc_to_text asks for a field that the item lacks: 'dict object' has no attribute 'hint'"),
        ("tiny_math", {"doc_to_text": "{{meta.hint}}"}, [{"meta": {"hint": None, "b": None}}],
         "row 1 (a/0): mine: doc_to_text would write a null value as a text: `meta.hint`, `meta.b`"),
        ("tiny_math", {"doc_to_text": "{{hint}} {{question}}"}, [{"hint": "a"}, {"hint": None}],
         "row 2 (a/1): mine: doc_to_text would write a null value as a text: `hint`"),
        ("tiny_math", {"doc_to_text": "{{hint}} {{question}}"}, [{"hint": float("nan")}], "null value as a text: `h"),
        ("tiny_math", {"doc_to_text": "{{hint ~ '!'}} {{question}}"}, [{"hint": None}], "null value as a text: `hint`"),
        ("tiny_math", {"doc_to_text": "{{'Q: ' + hint|string}}"}, [{"hint": None}], "null value as a text: `hint`"),
        ("tiny_math", {"doc_to_text": "{{hints|join(', ')}}"}, [{"hints": ["a", None]}], "as a text: `hints[1]`"),
        ("tiny_math", {"doc_to_text": "{{'%s' % hint}}"}, [{"hint": float("nan")}], "null value as a text: `hint`"),
        ("tiny_math", {"doc_to_text": "{{hints}}"}, [{"hints": [{"a": None}]}], "null value as a text: `hints[0].a`"),
        ("tiny_math", {"doc_to_text": "quesion"}, [{}],
         "doc_to_text 'quesion' names no field of the items; fields that exist: task_id, question, answer"),
        ("tiny_math", {"doc_to_text": "Question: {{quesion}}"}, [{}], "{{quesion}}' names no field of the items"),
        ("tiny_math", {"doc_to_text": "{{question}} {{quesion}}"}, [{}], "item lacks: 'quesion' is undefined"),
        ("tiny_math", {"doc_to_text": ""}, [{}], "doc_to_text '' names no field of the items"),
        ("tiny_math", {"doc_to_text": "{{question"}, [{}], "doc_to_text"),
        ("tiny_math", {"doc_to_text": "{{question + 1}}"}, [{}], "doc_to_text cannot be rendered: TypeError: can"),
        ("tiny_math", {"description": "{{hint}}"}, [{}], "description asks for a field that the item lacks: 'hint'"),
        ("tiny_csr", {"doc_to_choice": "{{[wrong, query]}}"}, [{}], "doc_to_choice asks for a field that the item"),
        ("tiny_csr", {"doc_to_choice": "['a', '{{query}}']"}, [{"query": "it's"}], "doc_to_choice must give a list of"),
        ("tiny_csr", {"doc_to_choice": "{{choices[:1]}}"}, [{}], "doc_to_choice gives 1 texts, but the item has 2"),
        ("tiny_csr", {"doc_to_choice": "{{choices[0]}}"}, [{}], "doc_to_choice must give a list of"),
        ("tiny_csr", {"doc_to_text": "{{query}}"}, [{}, {"query": "7"}], "doc_to_text gives a number for only some"),
        ("winogrande", {"doc_to_target": "end"}, [CONTEXTS | {"end": "a"}, CONTEXTS],
         "row 2 (a/1): mine: no `end`, which doc_to_target asks for"),
    ],
)  # fmt: skip
def test_what_an_item_lacks_is_named_before_anything_is_asked(tmp_path, name, changes, rows, message):
    shared = {"tiny_math": MATH, "tiny_csr": CSR, "winogrande": {}}[name]
    with pytest.raises(SubmodelsError) as error:
        _checked(tmp_path, _benchmark(name, **changes), _items(shared, *rows))
    assert str(error.value).startswith(f"{tmp_path / 'items.jsonl'}, row ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "template",
    ["{% if hint %}{{hint}}{% endif %}{{question}}", "{{hint or ''}}{{question}}", "{{question}}",
     "{% if hint is none %}{{question}}{% endif %}", "{% if hint == none %}{{question}}{% endif %}",
     "{% if hint is defined and not hint %}{{question}}{% endif %}"],
)  # fmt: skip
def test_a_null_may_be_asked_for(tmp_path, template):
    _checked(
        tmp_path, benchmark := _benchmark("tiny_math", doc_to_text=template), items := _items(MATH, {"hint": None})
    )
    assert Questions(benchmark.task, items).text(items[0]) == MATH["question"]


def test_programs_need_no_solution(tmp_path):
    """What the target names is asked of no item whose prompt does not hold it."""
    program = {"prompt": "def f():\n", "test": "def check(f): pass", "entry_point": "f"}
    items = _items(program, {"canonical_solution": "    pass"}, {}, {"canonical_solution": None})
    for rows in (items, items[::-1]):
        assert _asked(load_benchmark("tiny_python"), _checked(tmp_path, load_benchmark("tiny_python"), rows)) == [
            "def f():\n"
        ] * (3 * 10)


def test_choices_are_the_items_own():
    items = _items(CSR, {}, {"choices": ["it's", 'a "key"', "{{query}}"], "gold": 2}, {"query": "7"})
    wanted = [" cup", " map", " it's", ' a "key"', " {{query}}", " cup", " map"]
    for choices in ("choices", "{{choices}}"):
        requests = ask(_benchmark("tiny_csr", doc_to_choice=choices), items, 0, None)
        assert [request.args[1] for request in requests] == wanted
        assert requests[-1].args[0] == "7"


def test_choices_as_contexts():
    requests = ask(load_benchmark("winogrande"), _items(CONTEXTS, {}, {"gold": 1, "note": 3}), 0, None)
    assert [request.args for request in requests] == [(context, " tea.") for context in CONTEXTS["choices"] * 2]


@pytest.mark.parametrize("target", ["text", "{{text}}"])
def test_texts_are_read_as_they_are(tmp_path, target):
    texts = ["[1, 2]", "7", "None", "{{text}}", "a\n\n"]
    benchmark = _benchmark("tiny_text", doc_to_target=target)
    items = _checked(tmp_path, benchmark, _items({}, *({"text": text} for text in texts)))
    assert _asked(benchmark, items) == texts


EXAMPLES = [{"question": "2 + 2?", "answer": "4"}, {"question": "{{question}}", "answer": "[5]", "more": None}]


def test_worked_examples_by_hand(tmp_path):
    benchmark = _benchmark("tiny_math", num_fewshot=2, fewshot_config={"sampler": "first_n", "samples": EXAMPLES})
    (prompt,) = _asked(benchmark, _checked(tmp_path, benchmark, _items(MATH, {})))
    worked = "Question: 2 + 2?\nAnswer: 4\n\nQuestion: {{question}}\nAnswer: [5]\n\n"
    assert prompt == f"{worked}Question: 1 + 1?\nAnswer:"


def test_a_worked_example_of_the_items_is_never_the_item_itself():
    benchmark = _benchmark("tiny_math", num_fewshot=1, fewshot_split="test")
    prompts = _asked(benchmark, _items(MATH, {}, {"question": "2 + 2?", "answer": "#### 4", "hint": 1}))
    assert prompts[0] == "Question: 2 + 2?\nAnswer: #### 4\n\nQuestion: 1 + 1?\nAnswer:"
    assert prompts[1] == "Question: 1 + 1?\nAnswer: #### 2\n\nQuestion: 2 + 2?\nAnswer:"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_fewshot": 1}, "num_fewshot: 1, but fewshot_config.samples holds 0 worked examples; give as many, or"),
        ({"num_fewshot": 3, "fewshot_config": {"samples": EXAMPLES}}, "num_fewshot: 3, but fewshot_config.samples ho"),
        ({"num_fewshot": 1, "fewshot_split": "train"}, "worked examples of split train: give them as fewshot_config"),
        ({"training_split": "train"}, "training_split is not supported: items are asked as they are"),
        ({"process_docs": "f"}, "process_docs is not supported"),
    ],
)  # fmt: skip
def test_worked_examples_come_from_the_task_file_or_the_items(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(load_benchmark("tiny_math").task | {"task": "mine"} | changes))
    with pytest.raises(SubmodelsError) as error:
        load_benchmark(str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_worked_example_that_lacks_a_field_is_named(tmp_path):
    benchmark = _benchmark("tiny_math", num_fewshot=1, fewshot_config={"samples": [{"question": "2 + 2?"}]})
    with pytest.raises(SubmodelsError, match=r"mine: worked example 1: no `answer`, which doc_to_target asks for"):
        _checked(tmp_path, benchmark, _items(MATH, {}))


@pytest.mark.parametrize("name", ["tiny_math", "mbpp", "arc_easy", "opus_books_en_fr_paper"])
def test_templates_are_rendered_as_by_lm_eval(name):
    """lm-eval's own function, of items whose texts look like templates."""
    from lm_eval.utils import apply_template

    text = "é {{ x }} {% if %} 'a' \"b\"\n\n"
    item = {key: text for key in ("question", "query", "source", "prompt")} | {"test_list": [text, "b", "c"]}
    benchmark = load_benchmark(name)
    assert Questions(benchmark.task, [item]).text(item) == apply_template(benchmark.task["doc_to_text"], item)
    assert SCORERS[benchmark.scorer].output_type == benchmark.output_type
