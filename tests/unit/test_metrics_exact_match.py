import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.metrics.exact_match import final_number, last_number, paper_number, stated_number


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (" 3 + 4 = 7\n#### 7", "7"),
        ("#### 1,000", "1000"),
        ("#### 18.00.", "18"),
        ("#### 2.50", "2.5"),
        ("#### -3", "-3"),
        ("#### -0.0", "0"),
        ("#### +5", "5"),
        ("#### 007", "7"),
        ("#### .5", "0.5"),
        ("####7\n#### 8", "7"),  # the first counts
        ("#### 72 apples", "72"),
        ("the answer is 7", None),
        ("#### none", None),
        ("#### ", None),
        ("####\n7", None),  # the number stands in the same line
        ("### 7", None),
        ("", None),
    ],
)
def test_final_number(text, wanted):
    assert final_number(text) == wanted


@given(st.integers(-(10**9), 10**9), st.integers(0, 3))
def test_spellings_of_a_number_are_one(number, zeros):
    spellings = [f"{number}", f"{number:,}", f"{number}.", f"{number}.{'0' * zeros}"]
    assert {final_number(f"so\n#### {spelling}\n") for spelling in spellings} == {str(number)}


@given(st.decimals(-1000, 1000, places=2), st.decimals(-1000, 1000, places=2))
def test_two_numbers_match_when_they_are_equal(a, b):
    assert (final_number(f"#### {a}") == final_number(f"#### {b}")) == (a == b)


def test_scores():
    items = [{"task_id": "a", "answer": "#### 7"}, {"task_id": "b", "answer": "1 + 1 = 2\n#### 2"}]
    samples = {"a": [{"completion": "#### 7.0"}, {"completion": "7"}], "b": [{"completion": "#### 3"}] * 2}
    scores = SCORERS["exact_match"].score(items, samples, "none")
    assert scores.items == {"a": {"exact_match": 0.5}, "b": {"exact_match": 0.0}}
    assert scores.counts == {"correct": 1, "wrong": 2, "unanswered": 1}


@pytest.mark.parametrize(
    ("text", "stated", "last", "paper"),
    [
        ("So 3 + 4 = 7. The answer is 7.", "7", "7", "7"),
        ("The answer is 7.\n\nQ: 1 + 1? A: The answer is 2.\n", "7", "2", "7"),
        ("The answer is 1,250 stamps", "1250", "1250", "1250"),
        ("The answer is 17", "1", "17", "17"),  # lm-eval's pattern wants a character after the number
        ("The answer is $18.", None, "18", "18"),
        ("the answer is the sum of 3 and 4", None, "4", "3"),
        ("The answer is no number. 4, the answer is 5", None, "5", "4"),
        ("The answer is none, the answer is 5", None, "5", None),
        ("3 apples and 4.50 pears", None, "4.50", "4.50"),
        ("-3.", None, "-3", "-3"),
        ("no number", None, None, None),
        ("", None, None, None),
    ],
)
def test_numbers_after_worked_examples(text, stated, last, paper):
    assert (stated_number(text), last_number(text), paper_number(text)) == (stated, last, paper)


def test_scores_of_the_paper_compare_texts():
    items = [{"task_id": "a", "answer": "#### 1,018"}]
    samples = {"a": [{"completion": text} for text in ("The answer is 1018.", "1,018", "The answer is 1018.0", "none")]}
    scores = SCORERS["gsm8k_paper"].score(items, samples, "none")
    assert scores.items == {"a": {"exact_match": 0.5}}
    assert scores.counts == {"correct": 2, "wrong": 1, "unanswered": 1}


@pytest.mark.real_data
def test_every_answer_of_gsm8k_has_its_number(shared):
    from submodels.files import read_jsonl

    answers = [row["answer"] for row in read_jsonl(shared / "data/gsm8k/test.jsonl.gz")]
    numbers = [final_number(answer) for answer in answers]
    assert None not in numbers
    assert [float(n) for n in numbers] == [float(a.rpartition("####")[2].replace(",", "")) for a in answers]
