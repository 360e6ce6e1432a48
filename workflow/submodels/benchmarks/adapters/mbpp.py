"""MBPP (Austin et al. 2021, arXiv 2108.07732), google-research-datasets/mbpp: its 500 test problems, ids 11 to 510.

A program is the completion alone; the tests are the row's setup code, then its asserts.
"""

from submodels.benchmarks.adapters.rows import each

TEST_IDS = range(11, 511)  # the files with all 974 rows have prompts, training and validation problems as well


def items(rows) -> list[dict]:
    """For the three-shot prompt of lm-eval's `mbpp`, which the task file writes from `text` and `test_list`."""
    return each(_test_rows(rows), lambda row: _item(row, row["test_setup_code"]) | {"prompt": row["text"]})


def paper_items(rows) -> list[dict]:
    """The instruction of arXiv 2501.05248; its code runs the asserts without the setup code."""
    return each(_test_rows(rows), _paper_item)


def _paper_item(row: dict) -> dict:
    faulty = {"faulty": "its asserts need the setup code, which is not run"} if row["test_setup_code"] else {}
    return _item(row, "") | {"prompt": _instruction(row), "extraction": "fenced"} | faulty


def _test_rows(rows) -> list[dict]:
    """The rows of the test split; rows whose id is missing are kept, so that `each` names them."""
    return [row for row in rows if row.get("task_id") is None or row["task_id"] in TEST_IDS]


def _item(row: dict, setup: str) -> dict:
    return {
        "task_id": f"MBPP/{row['task_id']}",
        "canonical_solution": row["code"],
        "test": "\n".join([setup, *row["test_list"]]),
        "test_list": list(row["test_list"]),
        "program_start": "",
    }


def _instruction(row: dict) -> str:
    asserts = "\n".join(row["test_list"])
    return (
        "You are an expert in Python. Answer with the program alone, without any explanation.\n"
        f"The task: {row['text']}\nThe program has to pass these tests:\n\n{asserts}"
    )


def fixture() -> list[dict]:
    asked = [("twice", "double a number", "return 2 * x", "4", "10"), ("next_one", "add one", "return x + 1", "3", "6")]
    return [
        {
            "task_id": number,
            "text": f"Write a function to {task}.",
            "code": f"def {name}(x):\r\n    {body}",
            "test_list": [f"assert {name}(2) == {two}", f"assert {name}(5) == {five}", f"assert {name}(2) != 0"],
            "test_setup_code": "",
            "challenge_test_list": [],
        }
        for number, (name, task, body, two, five) in enumerate(asked, start=TEST_IDS[0])
    ]
