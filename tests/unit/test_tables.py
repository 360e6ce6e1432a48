"""Tables: hand-computed values, escaping, and scores that were not run."""

import csv
import shutil
import subprocess
from pathlib import Path

import analysis_fixture
import pandas as pd
import pytest

import submodels.analysis.tables
from submodels import files
from submodels.analysis.draw_figures import draw_figures
from submodels.analysis.formats import points, show_counts
from submodels.analysis.overlap import COLUMNS
from submodels.analysis.report import write_report
from submodels.analysis.study import CalibrationSet, Study, for_selection, load_study, pair_kind
from submodels.analysis.table_files import latex, markdown
from submodels.analysis.tables import TABLES
from submodels.analysis.tables.language_contrasts import needed_files
from submodels.analysis.tabulate import tabulate
from submodels.errors import SubmodelsError
from submodels.layout import TABLE_NAMES
from submodels.pruning import patterns
from submodels.terms import CONTROL, GENERIC
from submodels.verdict import STATUSES


def study(
    scores: dict[str, dict[str, dict]],
    overlap: list[dict] = (),
    extra: dict | None = None,
    manifests: dict[str, dict] | None = None,
    marks: dict[str, dict] | None = None,
) -> Study:
    """A study of one base model from benchmark -> sub-model -> score; sets and benchmarks of the fixture's names.

    extra: further sub-models of the grid by id. manifests: of their pruning, by id. marks: of score files, by
    benchmark.
    """
    entries = analysis_fixture.submodel_entries() | (extra or {})
    used = list(dict.fromkeys(id for group in scores.values() for id in group if id != "dense"))
    known, keys = analysis_fixture.BENCHMARKS, ("domain", "language", "primary")
    benchmarks = {name: dict(zip(keys, known[name], strict=True)) for name in scores}
    models = {"m": {"submodels": used, "evaluated": ["dense", *used]}}
    grid = {"name": "test", "models": models, "submodels": entries, "benchmarks": benchmarks}
    files_of_scores = {
        ("m", name): {
            "bootstrap": analysis_fixture.BOOTSTRAP,
            "higher_is_better": benchmarks[name]["primary"] not in ("perplexity", "bits_per_byte"),
            "task_ids": [str(i) for i in range(max((entry["n_items"] for entry in group.values()), default=0))],
            "submodels": group,
            **analysis_fixture.PLAIN,
            **(marks or {}).get(name, {}),
        }
        for name, group in scores.items()
    }
    read = {("m", id): manifest for id, manifest in (manifests or {}).items()}
    return Study(grid, files_of_scores, {"m": pd.DataFrame(overlap, columns=COLUMNS)}, read)


def accuracy(values: list[float], primary: str = "accuracy") -> dict:
    return analysis_fixture.score(primary, {str(i): value for i, value in enumerate(values)})


def test_relative_is_the_paired_difference_to_dense():
    made = study({"tiny_csr": {"dense": accuracy([1, 1, 1, 0]), "wanda-csr-0.50-s0": accuracy([1, 0, 0, 0])}})
    row = TABLES["relative"].compute(made).iloc[0]
    assert (row["dense"], row["value"], row["difference"]) == (0.75, 0.25, -0.5)
    assert row["kept"] == pytest.approx(1 / 3)
    assert row["matched"]
    assert row["n_items"] == 4


def test_every_axis_of_a_score_is_a_column():
    scores = (
        TABLES["scores"]
        .compute(
            study(
                {"tiny_csr": {"dense": accuracy([1]), "wanda-csr-0.50-s0": accuracy([1])}},
                marks={"tiny_csr": {"protocol": "paper", "fixture": True}},
            )
        )
        .set_index("submodel")
    )
    row = scores.loc["wanda-csr-0.50-s0"].to_dict()
    axes = {"method": "wanda", "calibration": "csr", "calibration_size": "128 rows", "rows": 128, "domain": "csr"}
    axes |= {"sparsity": "0.50", "pruned_fraction": 0.5, "seed": 0, "protocol": "paper", "benchmark_domain": "csr"}
    assert {name: row[name] for name in axes} == axes
    assert row["remarks"] == "fixture; paper protocol"
    assert (scores.loc["dense", "pruned_fraction"], scores.loc["dense", "method"]) == (0, "none")


def test_seeds_of_one_set_are_averaged_item_by_item():
    scores = {"dense": accuracy([1, 1]), "wanda-math-0.50-s0": accuracy([1, 0]), "wanda-math-0.50-s1": accuracy([0, 0])}
    row = TABLES["relative"].compute(study({"tiny_csr": scores})).iloc[0]
    assert row["value"] == 0.25
    assert row["n_seeds"] == 2


def test_equal_accuracies_are_inside_the_noise_and_marked():
    made = study({"tiny_csr": {"dense": accuracy([1, 0, 1]), "wanda-csr-0.50-s0": accuracy([1, 0, 1])}})
    frame = TABLES["relative"].compute(made)
    assert frame["inside_noise"].all()
    assert TABLES["relative"].show(frame).iloc[0]["tiny_csr"].startswith("≈")


def test_not_run_says_why_and_is_never_zero():
    absent = analysis_fixture.not_run("node is not installed")
    made = study(
        {"tiny_csr": {"dense": accuracy([1]), "wanda-csr-0.50-s0": absent, "wanda-math-0.50-s0": accuracy([1])}}
    )
    scores = TABLES["scores"].compute(made)
    row = scores[scores["submodel"] == "wanda-csr-0.50-s0"].iloc[0]
    assert row["status"] == "not run"
    assert pd.isna(row["value"])
    shown = TABLES["scores"].show(scores)
    cells = shown[shown["submodel"] == "wanda-csr-0.50-s0"].iloc[0]
    assert cells["value"] == "not run: node is not installed"
    assert (cells["items"], cells["samples"]) == ("", "")
    shown = TABLES["relative"].show(TABLES["relative"].compute(made))
    assert shown["tiny_csr"].tolist()[0].startswith(("not run", "≈"))


def test_a_score_missing_from_its_file_is_not_run():
    made = study({"tiny_csr": {"dense": accuracy([1]), "wanda-csr-0.50-s0": accuracy([1])}, "tiny_math": {}})
    row = TABLES["scores"].compute(made).query("benchmark == 'tiny_math' and submodel == 'dense'").iloc[0]
    assert row["status"] == "not run"
    assert row["reason"]


def test_best_submodel_is_chosen_and_reported_on_different_halves():
    tasks = [str(i) for i in range(40)]
    lucky = {task: float(for_selection(task)) for task in tasks}  # all right where it is chosen, all wrong elsewhere
    steady = {task: 1.0 if i % 2 else 0.0 for i, task in enumerate(tasks)}
    dense = dict.fromkeys(tasks, 1.0)
    ids = {"dense": dense, "wanda-csr-0.50-s0": lucky, "wanda-math-0.50-s0": steady}
    scores = {id: analysis_fixture.score("accuracy", items) for id, items in ids.items()}
    row = TABLES["best_submodels"].compute(study({"tiny_csr": scores})).iloc[0]
    assert row["submodel"] == "wanda-csr-0.50-s0"
    assert (row["dense"], row["value"], row["difference"]) == (1.0, 0.0, -1.0)
    assert row["n_items"] == sum(not for_selection(task) for task in tasks)


def test_halves_are_about_equal_and_depend_on_the_id_alone():
    made = study({"tiny_csr": {"dense": accuracy([0.0] * 100)}})
    chosen = made.for_choice("m", "tiny_csr")
    assert chosen.tolist() == [for_selection(str(i)) for i in range(100)]
    assert 25 < chosen.sum() < 75


def overlap_row(a: str, b: str, distance: float, level: str = "model", layer=None) -> dict:
    row = {"a": a, "b": b, "level": level, "layer": layer, "module": None, "kept_distance": distance}
    return row | {"pruned_distance": distance / 2, "n_weights": 8}


def test_jaccard_averages_seed_pairs_and_knows_the_random_expectation():
    ids = ["wanda-math-0.50-s0", "wanda-math-0.50-s1", "wanda-csr-0.50-s0"]
    rows = [overlap_row(ids[0], ids[1], 0.1), overlap_row(ids[0], ids[2], 0.3), overlap_row(ids[1], ids[2], 0.5)]
    made = study({"tiny_csr": {"dense": accuracy([1]), **{id: accuracy([1]) for id in ids}}}, rows)
    frame = TABLES["jaccard"].compute(made).set_index(["a", "b"])
    assert frame.loc[("math", "math"), ["kind", "kept_distance"]].tolist() == ["seeds", 0.1]
    assert frame.loc[("math", "csr"), "kept_distance"] == pytest.approx(0.4)
    assert frame.loc[("math", "csr"), "pruned_distance"] == pytest.approx(0.2)
    assert frame["random_kept"].tolist() == pytest.approx([2 / 3, 2 / 3])
    shown = TABLES["jaccard"].show(frame.reset_index())
    assert shown.columns.tolist() == ["model", "method", "sparsity", "calibration", "math", "csr", "random"]
    assert shown["math"].tolist() == ["0.100 / 0.050", "0.400 / 0.200"]


def test_within_domain_compares_with_the_distance_across_domains():
    ids = ["wanda-math-0.50-s0", "wanda-math_steps-0.50-s0", "wanda-csr-0.50-s0"]
    rows = [overlap_row(ids[0], ids[1], 0.1), overlap_row(ids[0], ids[2], 0.3), overlap_row(ids[1], ids[2], 0.5)]
    values = {"dense": [1, 1], ids[0]: [1, 1], ids[1]: [1, 0], ids[2]: [0, 0]}
    made = study({"tiny_math": {id: accuracy(items, "exact_match") for id, items in values.items()}}, rows)
    row = TABLES["within_domain"].compute(made).iloc[0]
    assert (row["a"], row["b"], row["difference"]) == ("math", "math_steps", 0.5)
    assert (row["within_distance"], row["cross_distance"]) == (0.1, pytest.approx(0.4))


def test_code_languages_marks_the_set_of_the_language():
    scores = {"dense": [1.0], "wanda-java-0.50-s0": [0.0], "wanda-python-0.50-s0": [1.0]}
    made = study({"tiny_java": {id: accuracy(values, "pass@1") for id, values in scores.items()}})
    frame = TABLES["code_languages"].compute(made).set_index("calibration")
    assert frame["matched"].to_dict() == {"dense": False, "python": False, "java": True}
    assert frame["value"].to_dict() == {"dense": 1.0, "python": 1.0, "java": 0.0}


def test_sparsity_curves_split_matched_from_unmatched():
    ids = ["wanda-csr-0.50-s0", "wanda-math-0.50-s0", "wanda-translation-0.50-s0", "magnitude-none-0.50-s0"]
    scores = {id: accuracy(values) for id, values in zip(ids, ([1, 1], [1, 0], [0, 0], [0, 0]), strict=True)}
    made = study({"tiny_csr": {"dense": accuracy([1, 1]), **scores}})
    frame = TABLES["sparsity_curves"].compute(made).set_index("series")
    assert frame["value"].to_dict() == {"dense": 1.0, "matched": 1.0, "unmatched": 0.25, "magnitude": 0.0}
    assert frame["pruned_fraction"].to_dict() == {"dense": 0.0, "matched": 0.5, "unmatched": 0.5, "magnitude": 0.5}


def test_all_generic_sets_and_all_controls_stand_in_the_curves():
    sets = {"mix": GENERIC, "c4": GENERIC, "random_tokens": CONTROL, "shuffled": CONTROL}
    ids = {name: f"wanda-{name}-0.50-s0" for name in sets}
    extra = {
        ids[name]: analysis_fixture.submodel_entry("wanda", name, "0.50", 0) | {"domain": domain}
        for name, domain in sets.items()
    }
    values = dict(zip(ids.values(), ([1, 1], [1, 0], [1, 0], [0, 0]), strict=True))
    scores = {"dense": accuracy([1, 1]), **{id: accuracy(items) for id, items in values.items()}}
    frame = TABLES["sparsity_curves"].compute(study({"tiny_csr": scores}, extra=extra)).set_index("series")
    assert frame["value"].to_dict() == {"dense": 1.0, "generic": 0.75, "random tokens": 0.25}


def test_outcomes_of_every_benchmark_add_up_to_its_samples(made):
    frame = pd.read_csv(made["tables"] / "scores.csv")
    frame = frame[frame["primary"]]
    ended = [outcome.replace(" ", "_") for outcome in (*STATUSES, "correct", "wrong", "scored")]
    ran = frame[frame["status"] == "ok"]
    assert (ran[ended].sum(axis=1) == ran["n_samples"]).all()
    assert ran["out_of_memory"].sum() > 0
    assert ran.loc[ran["benchmark"] == "tiny_math", "wrong"].sum() > 0
    assert show_counts({"passed": 3, "out of memory": 1, "failed": 0, "wrong": float("nan")}) == (
        "3 passed, 1 out of memory"
    )


def test_a_best_submodel_matches_a_language_only_if_calibrated_on_it():
    tasks = [float(i % 2) for i in range(20)]
    ids = {"dense": tasks, "wanda-python-0.50-s0": tasks}
    rows = TABLES["best_submodels"].compute(
        study({"tiny_java": {id: accuracy(values, "pass@1") for id, values in ids.items()}})
    )
    assert dict(zip(rows["language"].fillna(""), rows["matched"], strict=True)) == {"": True, "java": False}


def test_a_change_of_nothing_has_no_sign():
    assert [points(value) for value in (0.0, -0.0001, 0.051, -0.051)] == ["0.0", "0.0", "+5.1", "−5.1"]


@pytest.mark.parametrize(
    ("id", "claims"),
    [("wanda-python-0.50-s0", "needs distances of both kinds of pairs"), ("magnitude-none-0.50-s0", "")],
)
def test_a_single_submodel_has_tables_and_figures(made, tmp_path, id, claims):
    """Its overlap file holds a header alone; without calibration data there is no claim to test either."""
    grid = files.read_json(made["grid"])
    entry = grid["models"]["tiny-llama"] | {"submodels": [id], "evaluated": ["dense", id]}
    grid |= {"models": {"tiny-llama": entry}, "submodels": {id: grid["submodels"][id]}}
    files.write_json(tmp_path / "grid.json", grid)
    files.write_text(tmp_path / "tiny-llama.csv", ",".join(COLUMNS) + "\n")
    scores = [path for path in made["scores"] if "tiny-llama" in str(path)]
    overlaps = [tmp_path / "tiny-llama.csv"]
    tabulate(scores, overlaps, tmp_path / "grid.json", made["submodels"], tmp_path / "tables")
    draw_figures(tmp_path / "tables", tmp_path / "grid.json", tmp_path / "figures")
    page = tmp_path / "report" / "index.html"
    write_report(tmp_path / "grid.json", tmp_path / "tables", tmp_path / "figures", page)
    assert "no two sub-models" in (tmp_path / "figures/jaccard-tiny-llama.csv").read_text()
    assert (len(pd.read_csv(tmp_path / "tables/claims.csv")) > 0) == bool(claims)
    assert claims in page.read_text(encoding="utf-8")


def test_sub_models_pruned_only_to_compare_masks_have_no_scores():
    ids = ["wanda-java-0.50-s0", "wanda-java-0.70-s0"]
    made = study({"tiny_java": {id: accuracy([1.0], "pass@1") for id in ("dense", *ids)}})
    made.grid["models"]["m"]["evaluated"] = ["dense", ids[0]]
    made = Study(made.grid, made.scores, made.overlaps)
    assert set(TABLES["scores"].compute(made)["submodel"]) == {"dense", ids[0]}
    assert set(TABLES["relative"].compute(made)["sparsity"]) == {"0.50"}
    assert set(TABLES["code_languages"].compute(made)["sparsity"]) == {"0.50"}
    assert set(TABLES["jaccard"].compute(made)["sparsity"]) == set()


def test_pair_kinds():
    python, java, math = (
        CalibrationSet(name, domain, None) for name, domain in (("p", "code"), ("j", "code"), ("m", "math"))
    )
    kinds = [pair_kind(python, python), pair_kind(python, java), pair_kind(python, math)]
    assert kinds == ["seeds", "within domain", "cross domain"]
    assert pair_kind(python, CalibrationSet("mix", "generic", None)) == "other"


@pytest.mark.parametrize(
    ("sparsity", "fraction", "structured"),
    [("0.50", 0.5, False), ("2of4", 0.5, True), ("4of8", 0.5, True), ("0.70", 0.7, False)],
)
def test_what_a_pattern_says_of_itself(sparsity, fraction, structured):
    pattern = patterns.parse(sparsity)
    assert (pattern.fraction, pattern.is_structured) == (fraction, structured)


def test_sizes_of_calibration_sets_come_in_the_order_of_their_numbers():
    """The same in rows and in tokens: 32 before 128, whatever the order of their texts."""
    extra = {
        f"wanda-csr-n{rows}-0.50-s0": analysis_fixture.submodel_entry("wanda", "csr", "0.50", 0, rows=rows)
        for rows in (1024, 32)
    }
    made = study({"tiny_csr": {id: accuracy([1]) for id in ("dense", "wanda-csr-0.50-s0", *extra)}}, extra=extra)
    assert made.sizes() == ["32 rows", "128 rows", "1024 rows"]
    assert [setting.calibration_size for setting in made.settings("m")] == made.sizes()


def test_the_tables_are_the_modules_of_their_room():
    shared = {"__init__", "shared"}
    modules = {path.stem for path in Path(submodels.analysis.tables.__file__).parent.glob("*.py")}
    assert modules - shared == set(TABLE_NAMES) == set(TABLES)


def test_markdown_and_latex_escape_every_cell():
    frame = pd.DataFrame({"a_b": ["x|y", "50% & $1", "<b>", "\\cmd{~^#}"], "n": ["*", "_", "`", "two\nlines"]})
    assert markdown(frame, "c") == (
        "c\n\n| a\\_b | n |\n| --- | --- |\n| x\\|y | \\* |\n| 50% & $1 | \\_ |\n"
        "| &lt;b&gt; | \\` |\n| \\\\cmd{~^#} | two lines |\n"
    )
    text = latex(frame, "100% of it", "name")
    assert "a\\_b & n \\\\" in text
    assert "50\\% \\& \\$1" in text
    assert "\\textbackslash{}cmd\\{\\textasciitilde{}\\textasciicircum{}\\#\\}" in text
    assert "\\caption{100\\% of it}" in text


@pytest.fixture
def made(monkeypatch):
    directory, paths = analysis_fixture.built_study()
    monkeypatch.chdir(directory.name)
    return paths


def test_tabulate_writes_three_forms_of_every_table(made):
    for name in TABLES:
        text = (made["tables"] / f"{name}.csv").read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))
        assert len(rows) > 1, name
        assert {len(row) for row in rows} == {len(rows[0])}
        lines = (made["tables"] / f"{name}.md").read_text(encoding="utf-8").splitlines()[2:]
        assert len({line.count("|") - line.count("\\|") for line in lines}) == 1
        assert "\\toprule" in (made["tables"] / f"{name}.tex").read_text(encoding="utf-8")


def test_scores_table_equals_the_score_file(made):
    score = files.read_json("results/demo/scores/tiny-llama/tiny_math.json")["submodels"]["wanda-math-0.70-s1"]
    frame = pd.read_csv(made["tables"] / "scores.csv", dtype={"sparsity": str})
    row = frame.query("model == 'tiny-llama' and benchmark == 'tiny_math' and submodel == 'wanda-math-0.70-s1'").iloc[0]
    assert row["value"] == pytest.approx(score["metrics"]["exact_match"]["value"])
    assert (row["sparsity"], row["seed"], row["samples"]) == ("0.70", 1, score["samples"])


def test_tabulate_twice_gives_the_same_bytes(made, tmp_path):
    tabulate(made["scores"], made["overlaps"], made["grid"], made["submodels"], tmp_path / "again")
    for path in made["tables"].iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_errors_name_the_file_and_the_key(made, tmp_path):
    broken, score = tmp_path / "broken.json", tmp_path / "score.json"
    files.write_json(broken, {"name": "x", "seed": 0, "models": {}, "submodels": {}})
    with pytest.raises(SubmodelsError, match=r"broken\.json: key 'benchmarks' is missing"):
        load_study(made["scores"], [], broken)
    content = {"model": "other", "benchmark": "tiny_csr", "bootstrap": {}, "task_ids": ["0"], "submodels": {}}
    files.write_json(score, content)
    with pytest.raises(SubmodelsError, match=r"score\.json: key 'higher_is_better' is missing; score this benchmark"):
        load_study([score], [], made["grid"])
    content |= {"higher_is_better": True, "primary": "acc"} | analysis_fixture.PLAIN
    files.write_json(score, content | {"model": "tiny-llama"})
    with pytest.raises(
        SubmodelsError, match=r"score\.json: its primary metric is acc, that of .* accuracy; score this"
    ):
        load_study([score], [], made["grid"])
    content |= {"primary": "accuracy"}
    short = {"model": "tiny-llama", "task_ids": ["0", "1"], "submodels": {"dense": {"items": {"acc": [1.0]}}}}
    files.write_json(score, content | short)
    with pytest.raises(SubmodelsError, match=r"score\.json: dense does not have one value for each of `task_ids`"):
        load_study([score], [], made["grid"])
    files.write_json(score, content)
    with pytest.raises(SubmodelsError, match=r"score\.json: model 'other' is not in"):
        load_study([score], [], made["grid"])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(made, tmp_path):
    body = "".join(f"\\input{{{made['tables'].resolve() / name}}}\n" for name in TABLES)
    source = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\\end{document}\n"
    files.write_text(tmp_path / "all.tex", source)
    subprocess.run(["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True, capture_output=True, timeout=60)


MARKS = {
    "tiny_csr": {"partial": {"items": 2, "of": 60}, "fixture": True},
    "tiny_math": {"partial": {"items": 2, "of": 60}, "protocol": "paper", "truncated": {"prompts": 0, "answers": 1}},
    "tiny_python": {"sampling": "greedy"},
    "tiny_java": {"sampling": 5},
    "tiny_cpp": {"sampling": 1},
}


def marked_study(marks=MARKS):
    ids = ["wanda-python-0.50-s0", "wanda-java-0.50-s0", "wanda-math-0.50-s0", "wanda-math-0.50-s1"]
    ids += ["wanda-math_steps-0.50-s0", "ria-math-0.50-s0", "magnitude-none-0.50-s0"]
    scores = {
        name: {"dense": accuracy([1, 1, 1, 1], primary), **{id: accuracy([1, 0, 1, 0], primary) for id in ids}}
        for name, (_, _, primary) in analysis_fixture.BENCHMARKS.items()
        if primary in ("accuracy", "exact_match", "pass@1")
    }
    for name in ("source_python", "source_java"):
        scores[name] = dict.fromkeys(["dense", *ids], analysis_fixture.source_files([0.4] * 4, [0.5] * 4))
    manifest = {"wall_seconds": 1.0, "peak_memory_mb": 1.0, "results": {"sparsity": 0.5}}
    return study(scores, marks=marks, manifests=dict.fromkeys(ids, manifest))


def test_remarks_name_the_benchmarks_they_hold_for():
    made = marked_study()
    assert made.remarks(["tiny_csr"]) == "first 2 items; fixture"
    assert made.remarks(["tiny_csr", "tiny_math"]) == (
        "first 2 items; fixture (tiny_csr); paper protocol (tiny_math); truncated answers (tiny_math)"
    )
    assert (
        made.remarks(["tiny_csr", "tiny_python"])
        == "first 2 items (tiny_csr); fixture (tiny_csr); greedy (tiny_python)"
    )
    assert [made.remarks([name]) for name in ("tiny_python", "tiny_java", "tiny_cpp")] == [
        "greedy",
        "5 samples",
        "1 sample",
    ]
    assert made.remarks(["tiny_javascript"]) == made.remarks([]) == ""


WITHOUT_SCORES = {"jaccard", "jaccard_layers"}


def test_every_table_of_scores_says_what_is_partial_made_up_or_the_papers_way():
    marks = {"partial": {"items": 2, "of": 60}, "sampling": 3, "fixture": True, "protocol": "paper"}
    marks |= {"truncated": {"prompts": 4, "answers": 0}}
    marked = marked_study(dict.fromkeys(analysis_fixture.BENCHMARKS, marks))
    plain = marked_study(marks=None)
    for name, table in TABLES.items():
        if name not in WITHOUT_SCORES:
            text, without = (markdown(table.to_read(table.compute(made)), "") for made in (marked, plain))
            assert "first 2 items; 3 samples; fixture; paper protocol; truncated prompts" in text, name
            assert not any(word in without for word in ("items; ", "3 samples", "fixture", "truncated", "remarks")), (
                name
            )


def test_scores_say_what_their_samples_took(made):
    frame = pd.read_csv(made["tables"] / "scores.csv")
    ran = frame[frame["status"] == "ok"]
    assert set(ran["generate_seconds"]) == {2.5}
    assert ran["execute_seconds"].isna().all()
    assert (set(ran["prompt_tokens"]), set(ran["generated_tokens"])) == ({1200}, {340})
    shown = TABLES["scores"].show(frame)
    assert shown.loc[frame["status"] == "ok", "prompt tokens"].unique().tolist() == ["1,200"]
    assert shown.loc[frame["status"] != "ok", "time (s)"].unique().tolist() == [""]


def test_bits_per_byte_by_language_and_part():
    score = analysis_fixture.source_files
    scores = {
        "dense": score([0.4, 0.6], [1.0, 1.0]),
        "wanda-python-0.50-s0": score([0.5, 0.7], [1.6, 1.8]),
        "wanda-java-0.50-s0": score([0.8, 0.8], [1.5, 1.5]),
        "wanda-mix-0.50-s0": score([1.0, 1.2], [1.2, 1.2]),
    }
    made = study({"source_python": scores})
    frame = TABLES["bits_per_byte"].compute(made).set_index(["part", "calibration"])
    assert frame.loc[("code", "dense"), "value"] == pytest.approx(0.5)
    assert frame.loc[("prose", "python"), "value"] == pytest.approx(1.7)
    assert frame.loc[("all", "python"), "value"] == pytest.approx(0.75 * 0.6 + 0.25 * 1.7)
    assert frame.loc[("all", "python"), "matched"]
    assert not frame.loc[("all", "java"), "matched"]
    contrasts = TABLES["language_contrasts"].compute(made).set_index(["part", "against"])["difference"]
    assert contrasts["code", "unmatched"] == pytest.approx(0.6 - 0.8)
    assert contrasts["code", "generic"] == pytest.approx(0.6 - 1.1)
    assert contrasts["prose", "generic"] == pytest.approx(1.7 - 1.2)
    shown = TABLES["language_contrasts"].to_read(TABLES["language_contrasts"].compute(made))
    assert shown["matched minus it"].str.startswith("−0.200").any()
    assert (shown["files"] == 2).all()
    assert (shown["by one draw"] == "").all()


def test_the_mean_over_languages_gives_each_language_the_same_weight():
    """Python gains 0.2 in one file, Java loses 0.1 in both of two; the file without prose counts for nothing."""

    def score(code, prose, prose_bytes):
        made = analysis_fixture.source_files(code, prose)
        made["items"]["prose_bytes"] = prose_bytes
        return made

    scores = {
        "source_python": {
            "dense": score([0.4], [1.0], [25]),
            "wanda-python-0.50-s0": score([0.5], [1.6], [25]),
            "wanda-java-0.50-s0": score([0.7], [1.5], [25]),
        },
        "source_java": {
            "dense": score([0.4, 0.4], [1.0, 0.0], [25, 0]),
            "wanda-python-0.50-s0": score([0.5, 0.7], [1.0, 0.0], [25, 0]),
            "wanda-java-0.50-s0": score([0.6, 0.8], [1.4, 0.0], [25, 0]),
        },
    }
    frame = TABLES["language_contrasts"].compute(study(scores))
    assert set(frame["against"]) == {"unmatched"}
    mean = frame[frame["benchmark"] == "all"].set_index("part")
    assert mean.loc["code", "difference"] == pytest.approx((-0.2 + 0.1) / 2)
    assert mean.loc["prose", "difference"] == pytest.approx((0.1 + 0.4) / 2)
    assert mean["n_items"].to_dict() == {"all": 3, "code": 3, "prose": 2}
    assert (mean.loc["prose", "low"], mean.loc["prose", "high"]) == pytest.approx((0.25, 0.25))


def test_contrasts_weigh_sets_alike_and_leave_out_sets_of_no_language():
    """Java has two draws and C++ one: the unmatched mean is (0.7 + 0.9) / 2, not (0.6 + 0.8 + 0.9) / 3."""
    bits = {"dense": 0.4, "wanda-python-0.50-s0": 0.5, "wanda-java-0.50-s0": 0.6, "wanda-java-0.50-s1": 0.8}
    bits |= {"wanda-cpp-0.50-s0": 0.9, "wanda-both-0.50-s0": 0.1}
    extra = {
        "wanda-java-0.50-s1": analysis_fixture.submodel_entry("wanda", "java", "0.50", 1),
        "wanda-both-0.50-s0": analysis_fixture.submodel_entry("wanda", "both", "0.50", 0) | {"domain": "code"},
    }
    scores = {id: analysis_fixture.source_files([value] * 2, [value] * 2) for id, value in bits.items()}
    frame = TABLES["language_contrasts"].compute(study({"source_python": scores}, extra=extra))
    assert frame["difference"].tolist() == pytest.approx([0.5 - 0.8] * 3)


def test_contrasts_show_how_far_one_draw_leads():
    """Seed 0 gives 0.5 - 0.6, seed 1 0.5 - 0.3; the third draw of Java has no partner."""
    bits = {"python-0.50-s0": 0.5, "python-0.50-s1": 0.5}
    bits |= {"java-0.50-s0": 0.6, "java-0.50-s1": 0.3, "java-0.50-s2": 0.9}
    scores = {f"wanda-{id}": analysis_fixture.source_files([value] * 2, [value] * 2) for id, value in bits.items()}
    entry = analysis_fixture.submodel_entry
    extra = {
        f"wanda-{name}-0.50-s{seed}": entry("wanda", name, "0.50", seed)
        for name, seed in [("python", 1), ("java", 1), ("java", 2)]
    }
    frame = TABLES["language_contrasts"].compute(
        study({"source_python": {"dense": scores["wanda-python-0.50-s0"], **scores}}, extra=extra)
    )
    assert frame["lowest_draw"].tolist() == pytest.approx([-0.1] * 3)
    assert frame["highest_draw"].tolist() == pytest.approx([0.2] * 3)
    shown = TABLES["language_contrasts"].to_read(frame)
    assert set(shown["by one draw"]) == {"[−0.100, +0.200]"}


def test_perplexities_of_a_language_are_no_source_files():
    """A benchmark of whole texts may have a language, but it has no bits of code and of prose."""
    texts = analysis_fixture.perplexity({"0": (2.0, 10)})
    made = study({"source_python": dict.fromkeys(["dense", "wanda-python-0.50-s0"], texts)})
    assert TABLES["bits_per_byte"].compute(made).empty
    assert TABLES["language_contrasts"].compute(made).empty


def test_an_undecided_difference_says_how_many_files_would_decide_it():
    """The interval [-0.3, +0.1] around -0.1 reaches twice the difference beyond it, and over 8 files."""
    assert needed_files(-0.1, -0.3, 0.1, 8) == needed_files(0.1, -0.1, 0.3, 8) == 33
    assert needed_files(-0.1, -0.2, -0.01, 8) is None
    assert needed_files(0.0, -0.2, 0.2, 8) is None


def test_files_without_prose_have_no_row_of_prose():
    scores = {
        id: analysis_fixture.source_files([0.5, 0.6], [0.0, 0.0])
        for id in ("dense", "wanda-python-0.50-s0", "wanda-java-0.50-s0")
    }
    for entry in scores.values():
        entry["items"]["prose_bytes"] = [0, 0]
    made = study({"source_python": scores})
    frame = TABLES["bits_per_byte"].compute(made)
    assert set(frame.loc[frame["part"] == "prose", "status"]) == {"not run"}
    assert set(TABLES["language_contrasts"].compute(made)["part"]) == {"all", "code"}
