"""Adapters of the code benchmarks, the extraction of programs, and the task files."""

import ast
import re
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_support import USERS, need_language, need_sandbox, run

from submodels import files
from submodels.benchmarks.adapters import ADAPTERS, FIXTURES, humaneval, humaneval_x, mbpp, multipl_e
from submodels.benchmarks.registry import benchmark_names, check_items, load_benchmark
from submodels.errors import SubmodelsError
from submodels.evaluation import extraction
from submodels.evaluation.execute import execute
from submodels.evaluation.extraction import complete, extract, program_start
from submodels.evaluation.runners import LANGUAGES
from submodels.evaluation.score import score

TASKS = [name for name in benchmark_names() if load_benchmark(name).is_code and load_benchmark(name).adapter]
PAIRS = list(permutations(("python", "java", "cpp", "javascript"), 2))


def braces(start: str, completion: str) -> str:
    return extract(completion, {"prompt": "", "program_start": start, "extraction": "closing_brace"})


# --- Extraction -------------------------------------------------------------------------------------------------------


def test_the_whole_completion_is_the_default():
    assert extract("    return 1\n\nmore", {"prompt": "def f():\n"}) == "    return 1\n\nmore"
    assert program_start({"prompt": "a"}) == "a"
    assert program_start({"prompt": "a", "program_start": ""}) == ""


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("    return 1\n}\nint g() {", "    return 1"),
        ("    a\n    }\n\n}", "    a\n    }\n"),
        ("no stop", "no stop"),
        ("\n#x\n}", ""),
        ("", ""),
    ],
)
def test_before_stop_cuts_at_the_first_of_all_stop_strings(completion, program):
    assert extract(completion, {"prompt": "", "extraction": "before_stop", "stop": ["\n}", "\n#"]}) == program


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("Sure:\n```python\nx = 1\n```\nDone.\n```python\ny\n```", "\nx = 1\n"),
        ("[PYTHON]\nx\n[/PYTHON] ok", "\nx\n"),
        ("[PYTHON]\nx\n[DONE] ok", "\nx\n"),
        ("[PYTHON]\nx", "\nx"),  # a stop string ended it
        ("[PY]x[/PY]", "x"),
        ("[SOL]x[/SOL]", "x"),
        ("```\nx\n```", "\nx\n"),
        ("[BEGIN]\nx\n[DONE]\n", "\nx\n"),
        ("[PYTHON]a[/PYTHON] ```python\nb\n```", "\nb\n"),  # the order of marks, not of places
        ("def f():\n    return 1\n", "def f():\n    return 1\n"),
        ("", ""),
    ],
)
def test_fenced(answer, program):
    assert extract(answer, {"prompt": "", "extraction": "fenced"}) == program


@pytest.mark.parametrize(
    ("start", "completion", "program"),
    [
        ("int f() {\n", "  if (a) { b; }\n  return 1;\n}\nint main() { }", "  if (a) { b; }\n  return 1;\n}"),
        (
            "int f() {\n",
            '  return \'}\' + g("}\\"}"); // }\n  /* } */ }\nx',
            '  return \'}\' + g("}\\"}"); // }\n  /* } */ }',
        ),
        ("int f() {\n", "  return 1'000; } '", "  return 1'000; }"),
        (
            "const f = () => {\n",
            "  return `}${1}`.replace(/[/}]'/g, '') }\n}",
            "  return `}${1}`.replace(/[/}]'/g, '') }",
        ),
        ("const f = () => {\n", "  return a / b } / c", "  return a / b }"),
        ("const f = () => {\n", "  return /}/.test(a)\n}\nf()", "  return /}/.test(a)\n}"),
        ("class S {\n  /** a } b's { */\n  int f() {\n", "  }\n  int g() { }\n}\nclass T { }", "  }\n  int g() { }\n}"),
        ("class S {\n  int f() {\n", "    return 1;\n  }\n  int g() {\n    ret", "    return 1;\n  }\n}"),
        ("class S {\n  int f() {\n", "    return 1;\n  }", "    return 1;\n  }\n}"),
        (
            "class S {\n  int f() {\n",
            '    String s = """\n   } " }\n  """;\n  }\n}\nx',
            '    String s = """\n   } " }\n  """;\n  }\n}',
        ),
        ("class S {\n  int f() {\n", "    if (a) { b; }\n    ret", "    if (a) { b; }\n    ret"),
        ("int f() {\n", "  return 1;", "  return 1;"),
        ("int f() {\n", "", ""),
    ],
)
def test_closing_brace(start, completion, program):
    assert braces(start, completion) == program


BRACES = {"prompt": "", "program_start": "int f() {\n", "extraction": "closing_brace"}
STOPS = {"prompt": "", "extraction": "before_stop", "stop": ["\n}", "\n#"]}
FENCED = {"prompt": "", "extraction": "fenced"}


@pytest.mark.parametrize(
    ("item", "completion", "rest"),
    [
        (BRACES, "  return 1;\n}", "\nint g() { }"),
        (BRACES, "  return / b }", None),  # a regular expression may end in what follows
        (BRACES, "  return / b }\n", "x"),
        (BRACES, '  s = """\n  } ', None),  # so may a text block
        (BRACES, "  // }\n  if (a) { b; }", None),
        (STOPS, "  return 1;\n}", "x"),
        (STOPS, "  return 1;\n", None),
        (FENCED, "So:\n```python\nx\n```", "\n```python\ny\n```"),
        (FENCED, "```python\nx\n", None),
        (FENCED, "```\nx\n```", None),  # a block of Python would come before it
        (FENCED, "[PYTHON]x[/PYTHON]", None),
        ({"prompt": ""}, "x = 1\n", None),
    ],
)
def test_a_text_is_complete_once_nothing_that_follows_matters(item, completion, rest):
    assert complete(completion, item) == (rest is not None)
    if rest is not None:
        assert extract(completion + rest, item) == extract(completion, item)
        assert not complete(completion[:-1], item)


@settings(max_examples=300, deadline=None)
@given(
    item=st.sampled_from([BRACES, STOPS, FENCED]),
    pieces=st.lists(
        st.sampled_from([*"{}/*\"'`[]\\=x \n", '"""', "```", "python", "[PY]", "//", "/*", "\n}"]), max_size=14
    ),
    cut=st.integers(0, 40),
)
def test_what_follows_a_complete_text_changes_nothing(item, pieces, cut):
    text = "".join(pieces)
    before = text[: min(cut, len(text))]
    if complete(before, item):
        assert extract(text, item) == extract(before, item)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extraction": "fence"}, "unknown extraction 'fence'.*closing_brace"),
        ({"extraction": "before_stop"}, "needs `stop`"),
        ({"extraction": "before_stop", "stop": "\n}"}, "needs `stop`"),
        ({"program_start": None}, "`program_start` must be a text"),
        ({"timeout": 0}, "`timeout` must be"),
        ({"timeout": "90"}, "`timeout` must be"),
    ],
)
def test_faults(changes, message):
    assert extraction.fault({"prompt": "a"}) is None
    assert re.search(message, extraction.fault({"prompt": "a"} | changes))


# --- Adapters by hand -------------------------------------------------------------------------------------------------


def test_humaneval_x_python():
    (item,) = ADAPTERS["humaneval_x_python"](humaneval_x.fixture("python"))
    row = humaneval_x.fixture("python")[0]
    assert item["entry_point"] == "twice"
    assert item["test"] == "\n\ndef check(twice):\n    assert twice(2) == 4\n    assert twice(5) == 10\n"
    assert item["prompt"] == program_start(item) == row["prompt"]
    assert "extraction" not in item
    with pytest.raises(SubmodelsError, match=r"row 0: .*`test` does not end with `check\(<function>\)`"):
        ADAPTERS["humaneval_x_python"]([row | {"test": "def check(f):\n    pass\n"}])
    with pytest.raises(SubmodelsError, match="row 0: no field 'prompt'; fields that exist: task_id, test"):
        ADAPTERS["humaneval_x_python"]([{"task_id": "Python/0", "test": ""}])


def test_humaneval_x_cpp_has_the_headers_its_prompt_lacks():
    (item,) = ADAPTERS["humaneval_x_cpp"](humaneval_x.fixture("cpp", "java"))
    assert item["prompt"] == humaneval_x.fixture("cpp")[0]["prompt"]
    added = program_start(item).removesuffix(item["prompt"]).splitlines()
    assert added == [
        *("#include<stdlib.h>", "#include<algorithm>", "#include<math.h>", "#include<vector>", "#include<string>"),
        *("#include<climits>", "#include<cstring>", "#include<iostream>", "#include<cassert>"),
    ]


def test_code_translation():
    rows = humaneval_x.fixture("javascript", "java")
    (item,) = ADAPTERS["javascript_to_java"](rows)
    assert item["task_id"] == "javascript_to_java/0"
    assert item["prompt"] == (
        "JavaScript:\nconst twice = (x) => {\n  return 2 * x;\n}\n\n"
        "The same in Java:\nclass Solution {\n    public int twice(int x) {\n"
    )
    assert program_start(item) == "class Solution {\n    public int twice(int x) {\n"
    assert item["canonical_solution"] == "        return 2 * x;\n    }\n}"
    with pytest.raises(SubmodelsError, match="problem 0 exists in only one of javascript and java"):
        ADAPTERS["javascript_to_java"](rows[:1])


def test_multipl_e():
    row = multipl_e.fixture("cpp")[0]
    (item,) = multipl_e.items([row])
    assert item == {
        "task_id": "HumanEval_0_twice",
        "prompt": row["prompt"],
        "test": row["tests"],
        "extraction": "before_stop",
        "stop": ["\n}"],
    }
    (paper,) = multipl_e.paper_items([row])
    assert paper["prompt"] == row["prompt"].strip()
    assert program_start(paper).endswith(f"#include<cassert>\n{row['prompt']}\n")
    assert paper["timeout"] == 90
    (paper,) = multipl_e.paper_items(multipl_e.fixture("js"))
    assert program_start(paper) == "//Two times x.\nfunction twice(x){\n\n"
    for adapter in (multipl_e.items, multipl_e.paper_items):
        for other in ({"doctests": "keep"}, {"doctests": "remove"}, {"prompt_terminology": "verbatim"}):
            with pytest.raises(SubmodelsError, match=r"row 1: .* of another variant; give the rows with '(tr|re)"):
                adapter([row, row | other])
        with pytest.raises(SubmodelsError, match="row 0: no field 'doctests'"):
            adapter([{key: value for key, value in row.items() if key != "doctests"}])


def test_mbpp():
    row = {
        "task_id": 11,
        "text": "Write f.",
        "code": "def f(x):\r\n    return x",
        "test_list": ["assert f(a) == 1", "assert f(2) == 2", "assert f(3) == 3"],
        "test_setup_code": "a = f(1)",
        "challenge_test_list": ["assert f(4) == 4"],
    }
    others = [row | {"task_id": number} for number in (1, 10, 511, 974)]
    (item,) = mbpp.items([*others, row])
    assert item == {
        "task_id": "MBPP/11",
        "prompt": "Write f.",
        "canonical_solution": "def f(x):\r\n    return x",
        "test": "a = f(1)\nassert f(a) == 1\nassert f(2) == 2\nassert f(3) == 3",
        "test_list": row["test_list"],
        "program_start": "",
    }
    (paper,) = mbpp.paper_items([row])
    assert paper["test"] == "\nassert f(a) == 1\nassert f(2) == 2\nassert f(3) == 3"
    assert paper["prompt"].endswith(
        "The task: Write f.\nThe program has to pass these tests:\n\n" + "\n".join(row["test_list"])
    )
    assert extract("```python\nx\n```", paper) == "\nx\n"


def test_humaneval_paper():
    (item,) = humaneval.paper_items(humaneval.fixture())
    row = humaneval.fixture()[0]
    assert item["prompt"] == row["prompt"].strip()
    assert program_start(item).startswith("import math\nimport re\n")
    assert program_start(item).endswith(f"from collections import *\n{row['prompt']}\n")
    assert extract("\n    return 1\n\nprint(2)", item) == "\n    return 1\n"
    assert item["stop"] == ["\ndef", "\nclass", "\nif", "\n#", "\nprint"]  # Chen et al. 2021, section 2
    assert item["timeout"] == 90


# --- Task files -------------------------------------------------------------------------------------------------------


def test_the_code_benchmarks_are_there():
    languages = ("java", "cpp", "javascript")
    assert set(TASKS) == {
        *("mbpp", "mbpp_paper", "humaneval_paper", "humanevalx_python"),
        *(f"humanevalx_{language}" for language in languages),
        *(f"multiple_{language}{kind}" for language in languages for kind in ("", "_paper")),
        *(f"{source}_to_{target}" for source, target in PAIRS),
    }


@pytest.mark.parametrize("name", TASKS)
def test_a_task_fits_its_fixture(name):
    benchmark = load_benchmark(name)
    items = ADAPTERS[benchmark.adapter](FIXTURES[benchmark.adapter]())
    check_items(benchmark, items, name)
    for item in items:
        assert extraction.fault(item) is None
        assert LANGUAGES[benchmark.language].fault(item, benchmark.quiet) is None
        assert benchmark.task["doc_to_text"] == "prompt" or name == "mbpp"
    metadata = benchmark.task["metadata"]
    assert re.fullmatch("[0-9a-f]{40}", metadata["source"]["revision"])
    assert (metadata.get("protocol") == "paper") == name.endswith("_paper")


def test_task_files_of_a_family_differ_in_their_languages_alone():
    for source, target in PAIRS:
        task = load_benchmark(f"{source}_to_{target}").task
        twin = load_benchmark(f"humanevalx_{target}").task
        assert {key for key in task if task[key] != twin[key]} == {"task", "metadata"}
        assert task["metadata"]["source"]["files"][1:] == twin["metadata"]["source"]["files"]
        assert (
            task["metadata"]["source"]["files"][:1]
            == load_benchmark(f"humanevalx_{source}").task["metadata"]["source"]["files"]
        )
    for task in (load_benchmark(name).task for name in TASKS if name.endswith("_paper")):
        kwargs = task["generation_kwargs"]
        assert (task["repeats"], kwargs["temperature"], kwargs["top_p"], kwargs["max_gen_toks"]) == (10, 0.8, 0.95, 500)


def test_stop_strings_of_the_strict_tasks_are_the_data_sets():
    for language, name in multipl_e._NAMES.items():
        until = load_benchmark(f"multiple_{language}").task["generation_kwargs"]["until"]
        assert until == multipl_e.fixture(name)[0]["stop_tokens"]


# --- Programs run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_fixtures_run(language):
    """The solution passes, whatever follows it; nothing and a wrong solution do not."""
    need_language(language)
    need_sandbox("unshare")
    sources = {target: source for source, target in PAIRS}  # one of the three programs that are the same
    once = {name for name in TASKS if "_to_" not in name} | {f"{sources[language]}_to_{language}"}
    tasks = [load_benchmark(name) for name in sorted(once) if load_benchmark(name).language == language]
    for quiet in sorted({task.quiet for task in tasks}):
        _run_fixtures([task for task in tasks if task.quiet == quiet], language, quiet)


def _run_fixtures(tasks: list, language: str, quiet: bool) -> None:
    items, completions, expected = [], [], []
    for task in tasks:
        name, adapter = task.name, task.adapter
        for item in ADAPTERS[adapter](FIXTURES[adapter]()):
            item |= {"task_id": f"{name}:{item['task_id']}"}
            items.append(item)
            solution = item.get("canonical_solution", SOLUTIONS.get(language))
            wrong = re.sub(r"2 \* x|x \+ 1", "x - 7", solution)
            more = MORE[language] if "extraction" in item and "fenced" not in item["extraction"] else ""
            completions += [(item["task_id"], text) for text in (solution + more, wrong, "")]
            expected += [True, False, False]
    results = run(items, completions, language, "unshare", USERS[0], quiet=quiet, timeout=20)
    wrong = [
        (task_id, result)
        for (task_id, _), result, passes in zip(completions, results, expected, strict=True)
        if (result == "passed") != passes
    ]
    assert not wrong


# MultiPL-E has no solutions. After a solution, models go on.
SOLUTIONS = {
    "java": "        return 2 * x;\n    }\n",
    "cpp": "    return 2 * x;\n}\n",
    "javascript": "  return 2 * x;\n}\n",
}
MORE = {
    "python": "\nprint(undefined_name)\n",
    "java": "\n    }\n}\nclass More { int f( }",
    "cpp": "\n}\nint main() { return 1; }\n",
    "javascript": "\nfunction more( {\n",
}


def test_the_stage_keeps_what_was_said_and_an_items_own_time_limit(tmp_path):
    need_sandbox("unshare")
    item = {
        "task_id": "a",
        "prompt": "Write f.",
        "program_start": "",
        "test": "assert f() == 1",
        "extraction": "fenced",
    }
    files.write_jsonl(tmp_path / "items.jsonl", [item | {"timeout": 20}, item | {"task_id": "b"}])
    said = "Here:\n```python\nimport time\ndef f():\n    time.sleep(1.5)\n    return 1\n```\n"
    files.write_jsonl(tmp_path / "s.jsonl", [{"task_id": task_id, "completion": said} for task_id in "ab"])
    execute(tmp_path / "items.jsonl", "python", tmp_path / "s.jsonl", tmp_path / "out.jsonl", timeout=1)
    assert files.read_jsonl(tmp_path / "out.jsonl") == [
        {"task_id": "a", "completion": said, "passed": True, "result": "passed"},
        {"task_id": "b", "completion": said, "passed": False, "result": "timed out"},
    ]


def test_a_score_names_faulty_items(tmp_path):
    rows = [humaneval_x.fixture("javascript")[0] | {"task_id": f"JavaScript/{number}"} for number in (111, 112)]
    items = ADAPTERS["humaneval_x_javascript"](rows)
    files.write_jsonl(tmp_path / "items.jsonl", items)
    line = {"completion": "", "passed": False, "result": "failed"}
    files.write_jsonl(tmp_path / "s.jsonl", [line | {"task_id": item["task_id"]} for item in items for _ in range(10)])
    samples = {"dense": tmp_path / "s.jsonl"}
    score("humanevalx_javascript", tmp_path / "items.jsonl", samples, tmp_path / "score.json", model="m")
    found = files.read_json(tmp_path / "score.json")["faulty_items"]
    assert found == {"JavaScript/112": "its solution does not pass its own tests"}


def test_a_pair_is_a_pair_in_multipl_e_java():
    """Its prompts import org.javatuples, which is no part of Java; no library is installed for it."""
    need_language("java")
    need_sandbox("unshare")
    (row,) = multipl_e.fixture("java")
    prompt = row["prompt"].replace("long twice(long x)", "Pair<Long, String> twice(long x)")
    tests = (
        "    }\n    public static void main(String[] args) {\n"
        '    assert(twice((2l)).equals((Pair.with(4l, "b"))));\n    assert(!twice((5l)).equals(twice((2l))));\n'
        "    }\n\n}\n"
    )
    items = multipl_e.items([row | {"prompt": prompt, "tests": tests}])
    completions = {
        '        return Pair.with(2 * x, "b");\n': True,
        '        return new org.javatuples.Pair<>(2 * x, "a").setAt1("b");\n': True,
        '        var p = new Pair<Long, String>(x, "b"); return Pair.with(2 * p.getValue0(), p.getValue1());\n': True,
        '        return Pair.with(x, "b");\n': False,
    }
    results = run(items, [("HumanEval_0_twice", text) for text in completions], "java", "unshare", USERS[0], timeout=20)
    assert [result == "passed" for result in results] == list(completions.values())


def test_a_pair_imported_by_its_name_and_a_pair_of_its_own():
    need_language("java")
    need_sandbox("unshare")
    prompt = "import org.javatuples.Pair;\nimport org.javatuples.Triplet;\nclass Solution {\n    public int f() {\n"
    test = (
        "public class Main {\n    public static void main(String[] args) {\n"
        "        if (new Solution().f() != 3) {\n            throw new AssertionError();\n        }\n    }\n}\n"
    )
    item = {"task_id": "a", "prompt": prompt, "test": test}
    every = {
        "task_id": "b",
        "prompt": prompt.replace("import org.javatuples.Pair", "import org.javatuples.*"),
        "test": test,
    }
    completions = {
        ("a", "        return Pair.with(3, 4).getValue0();\n    }\n}\n"): True,
        ("a", "        return Pair.with(4, 3).getValue0();\n    }\n}\n"): False,
        ("b", "        return new Pair().three + Triplet.with(0, 1, 2).getValue0();\n    }\n}\n"
              "class Pair {\n    int three = 3;\n}\n"): True,
    }  # fmt: skip
    results = run([item, every], list(completions), "java", "unshare", USERS[0], timeout=20)
    assert [result == "passed" for result in results] == list(completions.values())


def test_node_assert_cannot_be_replaced():
    need_language("javascript")
    need_sandbox("unshare")
    (item,) = multipl_e.items(multipl_e.fixture("js"))
    attacks = [
        "  return 0\n}\nrequire('assert').deepEqual = () => {}\n",
        "  require('node:assert').deepEqual = () => {}; return 0\n}\n",
        "  return 0\n}\nrequire('module')._load = () => ({ deepEqual() {} })\n",
    ]
    results = run([item], [(item["task_id"], text) for text in attacks], "javascript", "unshare", USERS[0], timeout=20)
    assert not [result for result in results if result == "passed"]


# --- Real data --------------------------------------------------------------------------------------------------------


def real_rows(shared: Path, *languages: str) -> list[dict]:
    names = {"javascript": "js"}
    paths = [shared / f"data/humaneval-x/humaneval_{names.get(name, name)}.jsonl.gz" for name in languages]
    return [row for path in paths for row in files.read_jsonl(path)]


@pytest.mark.real_data
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_real_solution_is_cut(shared, language):
    """Neither by the stop strings of the task nor by the extraction; CPP/94 ends with directives of no effect."""
    items = ADAPTERS[f"humaneval_x_{language}"](real_rows(shared, language))
    assert len(items) == 164
    stops = load_benchmark(f"humanevalx_{language}").task["generation_kwargs"]["until"]
    for item in items:
        solution = item["canonical_solution"]
        assert not [stop for stop in stops if stop in solution]
        program = extract(solution, item)
        rest = solution.removeprefix(program).strip()
        assert solution.startswith(program)
        assert rest in ("", ";") or item["task_id"] == "CPP/94"


@pytest.mark.real_data
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_real_problem_is_translated(shared, source, target):
    items = ADAPTERS[f"{source}_to_{target}"](real_rows(shared, source, target))
    assert [item["task_id"] for item in items] == [f"{source}_to_{target}/{number}" for number in range(164)]
    for item in items:
        assert item["prompt"].endswith(program_start(item)[-40:])


@pytest.mark.real_data
def test_mbpp_asks_as_lm_evals_own_task(shared):
    """The whole prompt, examples included, character for character."""
    import lm_eval
    import yaml
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    from submodels.evaluation.engine import ask

    rows = [row for row in files.read_jsonl(shared / "data/mbpp/mbpp.jsonl.gz") if row["task_id"] in mbpp.TEST_IDS][:40]
    theirs = Path(lm_eval.__file__).parent / "tasks/mbpp"

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    config = yaml.load((theirs / "mbpp.yaml").read_text(), Loader)
    tree = ast.parse((theirs / "utils.py").read_text())  # its import needs a network
    (examples,) = [node for node in tree.body if getattr(node, "name", None) == "list_fewshot_samples"]
    config["fewshot_config"]["samples"] = ast.literal_eval(examples.body[-1].value)
    config["metric_list"] = [{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}]
    task = ConfigurableTask(config=config | {"custom_dataset": lambda **_: {"test": Dataset.from_list(rows)}})
    task.build_all_requests()
    ours = ask(load_benchmark("mbpp"), mbpp.items(rows), 0, None)
    assert [request.args[0] for request in ours] == [request.args[0] for request in task.instances]
    assert all(ours[0].args[1][key] == value for key, value in task.instances[0].args[1].items())
