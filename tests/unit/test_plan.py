"""A plan: what rules ask for, how large benchmarks are, what is shown."""

import csv
import gzip
import subprocess
import sys

import pytest
import yaml
from gguf_files import write_model
from local_sources import local_sources

from submodels import files
from submodels.benchmarks.items import write_items
from submodels.benchmarks.registry import Benchmark, benchmark_names, load_benchmark
from submodels.config import check_grid, read_grid
from submodels.errors import SubmodelsError
from submodels.grid import Grid
from submodels.planning import show
from submodels.planning.hardware import read_hardware
from submodels.planning.jobs import find_jobs
from submodels.planning.plan import make_plan, plan
from submodels.planning.report_rows import Disk
from submodels.planning.work import RULES, Work
from submodels.resources import resource
from submodels.world.corpus import BENCHMARK_ITEMS, BENCHMARKS

GRID = {
    "name": "two",
    "base_models": ["codellama-7b-instruct", "codellama-13b-instruct"],
    "submodels": [
        {"calibration_sets": ["py_alpaca", "c4"], "sparsities": [0.5]},
        {"methods": ["sparsegpt"], "calibration_sets": ["c4"], "sparsities": [0.5]},
    ],
    "benchmarks": ["humaneval", "gsm8k", "wmt14_en_fr", "wikitext2"],
    "pruning": {"device": "cuda"},
    "evaluation": {"device": "cuda", "dtype": "bfloat16", "batch_size": "auto"},
    "keep": ["codellama-7b-instruct/wanda-c4-0.50-s0"],
}


def expand(**changes):
    return Grid(check_grid(GRID | changes, "grid.yaml"), "grid.yaml")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The jobs of GRID where nothing is there yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        return find_jobs(expand(), ["grid.yaml"])


@pytest.fixture
def shipped_plan(tmp_path, monkeypatch):
    """The plan of a file's grid where nothing is there yet."""

    def shipped_plan(path):
        monkeypatch.chdir(tmp_path)
        grid = Grid(read_grid(path), str(path))
        return make_plan(grid, find_jobs(grid, [str(path)]))

    return shipped_plan


def test_every_job_has_a_cost_and_every_cost_a_job(root, jobs, shipped_plan, tmp_path):
    demo = {row.rule for row in shipped_plan(root / "config.yaml").rows}
    write_model(tmp_path / "mine.gguf")
    (tmp_path / "code").mkdir()
    source = {"directory": "code", "files": ["*.py"]}
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "own",
                "base_models": ["mine"],
                "models": {"mine": {"gguf": "mine.gguf"}},
                "calibration_sets": {"code": {"domain": "code", "source": source, "template": "{text}"}},
                "submodels": [{"calibration_sets": ["code"], "sparsities": [0.5]}],
                "benchmarks": ["tiny_text"],
            }
        ),
        encoding="utf-8",
    )
    own = {row.rule for row in shipped_plan(tmp_path / "own.yaml").rows}
    assert own >= {"convert_gguf", "collect_files"}
    assert demo | own | {job.rule for job in jobs} == set(RULES)
    for job in jobs:
        cost = Work(expand()).cost(job.rule, **job.wildcards)
        assert cost.seconds > 0
        assert cost.memory > 0


def test_requests_follow_the_model_the_dtype_the_device_and_the_attempt():
    work = Work(expand())
    seven = {"model": "codellama-7b-instruct", "submodel": "wanda-c4-0.50-s0"}
    thirteen = seven | {"model": "codellama-13b-instruct"}
    for rule in ("prune", "generate"):
        for ask in (work.memory_mb, work.minutes):
            assert ask(rule, **seven) <= ask(rule, **thirteen)
            assert ask(rule, 2, **seven) == 2 * ask(rule, **seven)
        assert work.memory_mb(rule, **seven) < work.memory_mb(rule, **thirteen)
        assert work.gpus(rule) == 1
    assert work.gpus("score") == 0
    on_cpu = Work(expand(pruning={}, evaluation={}))
    assert on_cpu.gpus("prune") == on_cpu.gpus("generate") == 0
    assert (
        on_cpu.memory_mb("generate", **seven) > work.memory_mb("generate", **seven) + 10_000
    )  # float32: twice as much
    assert on_cpu.memory_mb("prune", **seven) > work.memory_mb("prune", **seven)  # hidden states are on the host
    assert on_cpu.minutes("prune", **seven) > 10 * work.minutes("prune", **seven)
    assert work.memory_mb("describe") >= 1000


def test_a_half_precision_7b_model_asks_for_its_weights_and_a_margin():
    asked = Work(expand()).memory_mb("generate", model="codellama-7b-instruct", submodel="dense")
    assert 13_500 < asked < 40_000


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_says_how_large_it_is(name):
    size = load_benchmark(name).size
    assert size.items > 0
    assert (size.written > 0) == (load_benchmark(name).output_type == "generate_until")


def test_the_size_is_no_part_of_the_task():
    """It decides no sample: correcting it makes none stale."""
    assert "size" not in load_benchmark("gsm8k").task["metadata"]


def test_sizes_of_the_tiny_world_and_of_packages(tmp_path):
    for name in BENCHMARKS:
        assert load_benchmark(name).size.items == BENCHMARK_ITEMS[name.removeprefix("tiny_")]
    write_items("humaneval", tmp_path / "items.jsonl")
    assert load_benchmark("humaneval").size.items == len(files.read_jsonl(tmp_path / "items.jsonl"))


@pytest.mark.real_data
def test_sizes_of_real_data(shared, tmp_path):
    data, sizes = shared / "data", {name: load_benchmark(name).size.items for name in benchmark_names()}
    for name, file in {
        "gsm8k": "gsm8k/test", "hellaswag": "commonsense/hellaswag", "openbookqa": "commonsense/openbook_qa",
        "winogrande": "commonsense/winogrande", "boolq": "commonsense/boolq", "arc_easy": "commonsense/arc_easy",
        "arc_challenge": "commonsense/arc_challenge", "humanevalx_java": "humaneval-x/humaneval_java",
    }.items():  # fmt: skip
        assert sizes[name] == len(files.read_jsonl(data / f"{file}.jsonl.gz"))
    with gzip.open(data / "translation/newstest2014.en.gz") as file:
        assert sizes["wmt14_en_fr"] == sum(1 for _ in file)
    for name, source in local_sources(data, tmp_path / "rows").items():
        if name in sizes and isinstance(source, str) and name != "opus_books_en_fr":
            write_items(name, tmp_path / "items.jsonl", rows=source)
            assert sizes[name] == len(files.read_jsonl(tmp_path / "items.jsonl")), name


def test_items_of_ones_own_are_counted(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n' * 7, encoding="utf-8")
    assert Work(expand()).asked("gsm8k").items == 1319
    assert Work(expand(sources={"gsm8k": str(rows)})).asked("gsm8k").items == 7
    assert Work(expand(sources={"gsm8k": str(rows)}, evaluation={"limit": 5})).asked("gsm8k").items == 5
    assert Work(expand(sources={"gsm8k": "fixture"})).asked("gsm8k").items < 20


def test_a_question_is_read_once_for_all_its_choices():
    """With 0.3 of the tokens in the choices, four of them: 0.3 + 0.7 / 4 of the tokens are read, and 0.3 are scored."""
    work = Work(expand(benchmarks=["arc_easy", "wikitext2"]))
    size, asked = load_benchmark("arc_easy").size, work.asked("arc_easy")
    assert asked.read == pytest.approx(0.475 * size.read)
    assert asked.read * asked.scored == pytest.approx(0.3 * size.read)
    assert work.asked("wikitext2").scored == 1


def test_samples_of_a_grid_are_what_is_planned():
    """A tenth of the answers of HumanEval, and of the programs to run; a fixed amount of all else."""
    dense = {"model": "codellama-7b-instruct", "submodel": "dense"}
    evaluation = GRID["evaluation"]
    plain, greedy, many = (
        Work(expand(benchmarks=["humaneval"], evaluation=evaluation | {"samples": samples}))
        for samples in (None, "greedy", 100)
    )
    assert [work.asked("humaneval").samples for work in (plain, greedy, many)] == [10, 1, 100]
    assert [work.asked("humaneval").draws for work in (plain, greedy, many)] == [True, False, True]
    assert plain.asked("humaneval").items == greedy.asked("humaneval").items == 164
    for rule in ("generate", "execute"):
        seconds = [work.cost(rule, **dense).seconds for work in (greedy, plain, many)]
        assert seconds == sorted(set(seconds)), rule
    both = {"benchmarks": ["humaneval", "gsm8k"]}
    assert Work(expand(**both, evaluation=evaluation | {"samples": "greedy"})).asked("gsm8k") == Work(
        expand(**both)
    ).asked("gsm8k")


def test_a_benchmark_without_a_size_is_named(jobs, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    grid = expand()
    grid.benchmarks["gsm8k"] = Benchmark(load_benchmark("gsm8k").task)
    assert any("gsm8k: no `size`" in sentence for sentence in make_plan(grid, jobs).assumptions)


def test_masks_against_full_checkpoints(jobs, monkeypatch, tmp_path):
    """Two 7B and 13B masks of one bit, a third with half of the weights' 16 bits; checkpoints of 16 bits a weight."""
    monkeypatch.chdir(tmp_path)
    disk = make_plan(expand(), jobs).disk
    prunable, parameters = 6476005376 + 12687769600, 6738546688 + 13016028160
    assert disk.submodels == pytest.approx(prunable * (3 / 8 + 1), rel=1e-3)
    assert disk.checkpoints == pytest.approx(3 * parameters * 2, rel=1e-3)
    assert disk.base_models == pytest.approx(parameters * 2, rel=1e-3)
    assert disk.rest > 6738546688 * 2  # the exported one is full
    assert disk.end_with_checkpoints - disk.end == disk.checkpoints - disk.submodels
    assert disk.plain_samples > 4 * disk.samples
    assert disk.peak > disk.end


def test_the_papers_grid_takes_less_than_an_eighth_of_full_checkpoints(shipped_plan):
    disk = shipped_plan(resource("grids/paper.yaml")).disk
    assert disk.submodels < 0.12 * disk.checkpoints
    assert disk.end < 0.12 * disk.end_with_checkpoints  # base models and all else counted on both sides


def test_the_figures_that_ship_are_read_and_checked(tmp_path):
    text = resource("hardware.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("network: 5.0e+7", "network: fast"), encoding="utf-8")
    with pytest.raises(SubmodelsError, match=r"mine\.yaml: network: .*'fast'"):
        read_hardware(tmp_path / "mine.yaml")
    (tmp_path / "other.yaml").write_text(text.replace("network:", "net:"), encoding="utf-8")
    with pytest.raises(SubmodelsError, match=r"other\.yaml: net: unknown key"):
        read_hardware(tmp_path / "other.yaml")


def test_other_figures_give_other_hours(jobs, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    hardware = read_hardware()
    slow = hardware.model_copy(update={"gpu": hardware.gpu.model_copy(update={"start": 3600})})
    on_gpu = sum(job.rule in ("prune", "generate") for job in jobs)
    more = make_plan(expand(), jobs, slow).total.gpu_hours - make_plan(expand(), jobs).total.gpu_hours
    assert more == pytest.approx(on_gpu * (3600 - hardware.gpu.start) / 3600)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "-"), (999, "0.999 kB"), (1500, "1.5 kB"), (999_400, "999 kB"), (999_600, "1 MB"), (2.5e12, "2.5 TB")],
)
def test_sizes_in_words(value, text):
    assert show.size(value) == text


def test_shares_in_words():
    disk = Disk(base_models=50, submodels=6, checkpoints=100, samples=3, plain_samples=12, rest=1)
    assert show.disk_shares(disk).startswith(
        "Masks take a fraction of the disk of full checkpoints: 6.00% for the sub-models, 38.96% for all files."
    )


def test_a_small_model_with_a_long_context_asks_for_little(root, shipped_plan):
    """Whole contexts' logits would take tens of gigabytes: neither its vocabulary nor its context decides."""
    path = root / "tests/grids/smollm2.yaml"
    assert max(row.memory for row in shipped_plan(path).rows) <= 4.1e9
    work = Work(Grid(read_grid(path), str(path)))
    by_kind = {name: work.answer("smollm2-135m-instruct", name) for name in ("wikitext2", "hellaswag", "gsm8k")}
    assert all(cost.device_memory < 1.3e9 for cost in by_kind.values())
    assert by_kind["wikitext2"].work > 10 * by_kind["hellaswag"].work, "it has far more tokens, and scores them all"


def test_text_csv_and_page(jobs, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    plan(expand(), ["grid.yaml"], tmp_path / "out")
    said = capsys.readouterr().out
    with open(tmp_path / "out/plan.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    page = (tmp_path / "out/plan.html").read_text(encoding="utf-8")
    total = rows.pop()
    assert total["rule"] == "total"
    assert int(total["jobs"]) == sum(int(row["jobs"]) for row in rows) == len(jobs)
    assert float(total["gpu_hours"]) == pytest.approx(sum(float(row["gpu_hours"]) for row in rows), abs=1e-4)
    assert float(total["disk"]) == pytest.approx(sum(float(row["disk"]) for row in rows))
    assert float(total["disk_peak"]) - float(total["disk"]) == pytest.approx(
        max(float(row["disk_peak"]) - float(row["disk"]) for row in rows)
    )
    pruned = next(row for row in rows if row["rule"] == "prune")
    saved = float(pruned["disk_with_checkpoints"]) - float(pruned["disk"])
    assert float(total["disk_with_checkpoints"]) - float(total["disk"]) == pytest.approx(saved)
    assert float(total["memory"]) == max(float(row["memory"]) for row in rows)
    for row in rows:
        assert f"\n{row['rule']} " in said
        assert f">{row['rule']}<" in page


def test_planning_imports_nothing_heavy():
    command = "import sys, submodels.planning.plan; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "pandas", "numpy", "lm_eval", "matplotlib", "safetensors"} & {
        *done.stdout.split()
    }
