"""The table of methods and pooled perplexities: numbers from paper."""

import shutil

import analysis_fixture
import pandas as pd
import pytest
from test_tables import accuracy, study

from submodels.analysis import perplexities
from submodels.analysis.formats import number, setting_name, signed_number
from submodels.analysis.study import load_study
from submodels.analysis.tables import TABLES
from submodels.checkpoints.masks import FILE_NAME
from submodels.errors import SubmodelsError

methods, show_methods = TABLES["methods"].compute, TABLES["methods"].show
WANDA, SECOND, RIA = "wanda-python-0.50-s0", "wanda-python-0.50-s1", "ria-python-0.50-s0"
MAGNITUDE = "magnitude-none-0.50-s0"


def manifest(seconds: float, megabytes: float, pruned: float = 0.5, **results) -> dict:
    return {"wall_seconds": seconds, "peak_memory_mb": megabytes, "results": {"sparsity": pruned} | results}


MANIFESTS = {
    WANDA: manifest(2, 100, tokens=1000, bytes=2e6),
    SECOND: manifest(4, 300, tokens=3000, bytes=4e6),
    RIA: manifest(5, 400, 0.51),  # of an earlier version, which counted neither tokens nor bytes
    MAGNITUDE: manifest(1, 50),
}
ACCURACIES = {  # benchmark -> values of dense, the draws of wanda, ria and magnitude
    "tiny_python": ([1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]),
    "tiny_java": ([1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
    "tiny_math": ([1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]),
}
TEXTS = ((2, 8), (4, 16), (8, 32), (4, 4), (64, 64))  # perplexities of two documents of one length


def text(*documents: tuple[float, int]) -> dict:
    return analysis_fixture.perplexity({str(i): document for i, document in enumerate(documents)})


def four_submodels(**changes):
    ids = ("dense", WANDA, SECOND, RIA, MAGNITUDE)
    scores = {
        name: dict(zip(ids, (accuracy(one, analysis_fixture.BENCHMARKS[name][2]) for one in values), strict=True))
        for name, values in ACCURACIES.items()
    }
    scores["tiny_text"] = {id: text((a, 10), (b, 10)) for id, (a, b) in zip(ids, TEXTS, strict=True)}
    return study({**scores, **changes}, manifests=MANIFESTS)


def column(frame: pd.DataFrame, name: str) -> dict:
    return frame.set_index("method")[name].to_dict()


def test_methods_by_hand():
    frame = methods(four_submodels())
    assert frame["method"].tolist() == ["dense", "wanda", "ria", "magnitude"]
    assert set(frame["calibration"]) == {"python"}
    assert frame["n_submodels"].tolist()[1:] == [2, 1, 1]
    assert frame["wall_seconds"].tolist()[1:] == [3, 5, 1]
    assert frame["peak_memory_mb"].tolist()[1:] == [200, 400, 50]
    assert frame["pruned"].tolist()[1:] == [0.5, 0.51, 0.5]
    assert column(frame, "tokens")["wanda"] == 2000
    assert column(frame, "bytes")["wanda"] == 3e6
    assert pd.isna(column(frame, "tokens")["ria"])
    assert set(frame["product"].dropna()) == {"mask only"}
    assert column(frame, "matched") == {"dense": 1.0, "wanda": 0.375, "ria": 0.75, "magnitude": 0.0}
    assert column(frame, "outside") == {"dense": 1.0, "wanda": 0.625, "ria": 0.25, "magnitude": 0.0}
    assert frame["matched_benchmarks"].tolist() == ["tiny_python"] * 4
    assert frame["outside_benchmarks"].tolist() == ["tiny_java tiny_math"] * 4
    change = column(frame, "matched_change")
    assert (change["dense"], change["ria"], change["magnitude"]) == (0.625, 0.375, -0.375)
    assert pd.isna(change["wanda"])
    assert column(frame, "outside_change")["ria"] == -0.375
    perplexity = column(frame, "tiny_text_perplexity")
    assert perplexity == pytest.approx({"dense": 4, "wanda": (8 + 16) / 2, "ria": 4, "magnitude": 64})
    assert column(frame, "tiny_text_perplexity_change")["ria"] == pytest.approx(-8)


def test_methods_to_read():
    shown = show_methods(methods(four_submodels()))
    assert shown.columns.tolist() == [
        *("model", "sparsity", "calibration", "method", "sub-models", "time (s)", "peak memory (MB)"),
        *("calibration tokens", "size (MB)", "pruned (%)"),
        *("matched (%)", "matched, change", "outside (%)", "outside, change"),
        *("tiny text perplexity (lower is better)", "tiny text perplexity, change"),
    ]
    dense, wanda, ria, _ = shown.to_dict("records")
    assert [dense[name] for name in ("sub-models", "time (s)", "peak memory (MB)", "pruned (%)")] == [""] * 4
    assert (wanda["time (s)"], wanda["peak memory (MB)"], wanda["matched, change"]) == ("3.000", "200", "")
    assert (wanda["calibration tokens"], wanda["size (MB)"], ria["size (MB)"]) == ("2,000", "3.000", "")
    assert dense["matched (%)"] == "100.0"
    assert ria["matched, change"].removeprefix("≈ ").startswith("+37.5 [")
    assert ria["tiny text perplexity (lower is better)"] == "4.000"
    assert ria["tiny text perplexity, change"].startswith("−8.000 [")


def test_equal_accuracies_are_marked_as_noise():
    same = {id: accuracy([1, 0, 1, 0], "pass@1") for id in ("dense", WANDA, SECOND, RIA, MAGNITUDE)}
    shown = show_methods(methods(four_submodels(tiny_python=same)))
    assert shown["matched, change"].tolist() == ["≈ 0.0 [0.0, 0.0]", "", "≈ 0.0 [0.0, 0.0]", "≈ 0.0 [0.0, 0.0]"]


def test_a_method_alone_on_its_set_is_no_comparison():
    scores = {id: accuracy([1, 0]) for id in ("dense", "wanda-math-0.50-s0", RIA, MAGNITUDE)}
    frame = methods(study({"tiny_csr": scores}, manifests=MANIFESTS | {"wanda-math-0.50-s0": manifest(1, 1)}))
    assert frame.empty
    assert show_methods(frame).empty


def test_sets_of_other_sizes_are_another_group():
    small = {
        f"{method}-python-n32-0.50-s0": analysis_fixture.submodel_entry(method, "python", "0.50", 0, rows=32)
        for method in ("wanda", "ria")
    }
    one, other = small
    scores = {id: accuracy([1, 0], "pass@1") for id in ("dense", WANDA, RIA)} | {one: accuracy([1, 1], "pass@1")}
    made = study({"tiny_python": scores}, extra=small, manifests=MANIFESTS | {one: manifest(9, 9)})
    assert set(methods(made)["calibration_size"]) == {"128 rows"}
    scores[other] = accuracy([0, 0], "pass@1")
    made = study({"tiny_python": scores}, extra=small, manifests=MANIFESTS | dict.fromkeys(small, manifest(9, 9)))
    frame = methods(made)
    assert frame["calibration_size"].tolist() == ["32 rows"] * 3 + ["128 rows"] * 3
    assert frame["matched"].tolist() == [0.5, 1.0, 0.0, 0.5, 0.5, 0.5]
    assert "calibration_size" in show_methods(frame)
    relative = TABLES["relative"].compute(made).set_index(["method", "calibration_size"])
    assert relative.loc[("wanda", "32 rows"), "value"] == 1.0
    assert relative.loc[("wanda", "128 rows"), "value"] == 0.5


def test_a_generic_set_has_no_matched_benchmark():
    ids = ("wanda-mix-0.50-s0", "ria-mix-0.50-s0")
    extra = {ids[1]: analysis_fixture.submodel_entry("ria", "mix", "0.50", 0)}
    scores = {id: accuracy([1, 0]) for id in ("dense", *ids)}
    frame = methods(study({"tiny_csr": scores}, extra=extra, manifests=dict.fromkeys(ids, manifest(1, 1))))
    assert frame["matched"].isna().all()
    assert frame["outside"].tolist() == [0.5, 0.5, 0.5]
    assert set(show_methods(frame)["matched (%)"]) == {""}


def test_what_was_not_run_says_why():
    absent = analysis_fixture.not_run("node is not installed")
    ids = {id: accuracy([1, 0], "exact_match") for id in ("dense", WANDA, SECOND, MAGNITUDE)}
    texts = {id: text((2, 1)) for id in ids}
    shown = show_methods(methods(four_submodels(tiny_math={**ids, RIA: absent}, tiny_text={**texts, RIA: absent})))
    ria = shown[shown["method"] == "ria"].iloc[0]
    assert ria["outside (%)"] == "not run: node is not installed"
    assert ria["outside, change"] == ""
    assert ria["tiny text perplexity (lower is better)"] == "not run: node is not installed"
    assert ria["matched (%)"] == "75.0"


def test_perplexity_weighs_documents_by_their_tokens():
    """(2 ** 3 * 16) ** (1 / 4) = 2 ** (7 / 4); in bits a byte, four bytes a token: (3 * 1 + 4) / 4 / 4."""
    made = study({"tiny_text": {"dense": text((2, 3), (16, 1)), WANDA: text((4, 3), (4, 1))}})
    assert perplexities.level(made, "m", ["dense"], "tiny_text").interval.value == pytest.approx(2 ** (7 / 4))
    change = perplexities.change(made, "m", [WANDA], ["dense"], "tiny_text")
    assert change.interval.value == pytest.approx(4 - 2 ** (7 / 4))
    assert (change.n_items, change.n_submodels) == (2, 1)
    made.grid["benchmarks"]["tiny_text"]["primary"] = "bits_per_byte"
    assert perplexities.level(made, "m", ["dense"], "tiny_text").interval.value == pytest.approx(7 / 16)


def test_perplexity_against_dense_is_a_difference_and_never_a_percentage():
    scores = {"dense": text((2, 1), (8, 1)), WANDA: text((4, 1), (16, 1)), RIA: text((2, 1), (8, 1))}
    frame = TABLES["relative"].compute(study({"tiny_text": scores})).set_index("method")
    assert frame["dense"].tolist() == pytest.approx([4, 4])
    assert frame.loc["wanda", ["value", "difference"]].tolist() == pytest.approx([8, 4])
    assert frame["inside_noise"].to_dict() == {"wanda": False, "ria": True}
    assert frame["kept"].isna().all()
    cells = TABLES["relative"].show(frame.reset_index())["tiny_text, perplexity (lower is better)"].tolist()
    assert cells[0].startswith("+4.000 [+2.000, +8.000]")
    assert cells[1] == "≈ 0.000 [0.000, 0.000]"
    shown = TABLES["scores"].show(
        TABLES["scores"].compute(study({"tiny_text": scores, "tiny_csr": {"dense": accuracy([1, 0])}}))
    )
    by_metric = shown[shown["submodel"] == "dense"].set_index("metric")["value"].to_dict()
    assert by_metric == {
        "accuracy (%)": "50.0",
        "perplexity (lower is better)": "4.000",
        "bits_per_byte (lower is better)": "0.500",
    }


def test_the_best_submodel_of_a_perplexity_has_the_lowest():
    documents = range(40)
    scores = {"dense": 4, WANDA: 9, RIA: 5, MAGNITUDE: 90}
    made = study({"tiny_text": {id: text(*((value, 1 + i % 3) for i in documents)) for id, value in scores.items()}})
    row = TABLES["best_submodels"].compute(made).iloc[0]
    assert (row["submodel"], row["measure"], row["matched"]) == (RIA, "perplexity", False)
    assert (row["dense"], row["value"], row["difference"]) == pytest.approx((4, 5, 1))
    shown = TABLES["best_submodels"].show(TABLES["best_submodels"].compute(made)).iloc[0]
    assert (shown["dense → pruned"], shown["change"]) == ("4.000 → 5.000", "+1.000 [+1.000, +1.000]")
    assert shown["measure"] == "perplexity (lower is better)"


def test_perplexities_enter_no_mean_of_accuracies():
    """A benchmark of perplexity in the domain of accuracies, and one in a domain that nobody knows."""
    made = four_submodels()
    before = {name: TABLES[name].compute(made) for name in ("sparsity_curves", "claims", "code_languages")}
    for domain in ("math", "weather"):
        made.grid["benchmarks"]["tiny_text"]["domain"] = domain
        for name, frame in before.items():
            pd.testing.assert_frame_equal(TABLES[name].compute(made), frame)
        best = TABLES["best_submodels"].compute(made)
        assert best.loc[best["measure"] == "perplexity", "domain"].tolist() == [domain]
        assert best.loc[best["higher_is_better"], "dense"].dropna().le(1).all()


def test_numbers_are_as_fine_as_they_are_worth():
    shown = ["0.638", "7.346", "31.25", "250", "1,234,567"]
    assert [number(value) for value in (0.6382, 7.346, 31.25, 250.4, 1234567.0)] == shown
    assert [signed_number(value) for value in (-0.001, 0.5, -12.34)] == ["−0.001", "+0.500", "−12.34"]


def test_a_missing_manifest_is_named(tmp_path, monkeypatch):
    directory, paths = analysis_fixture.built_study()
    monkeypatch.chdir(directory.name)
    with pytest.raises(SubmodelsError, match=r"wanda-python-0\.50-s0/manifest\.json: no such file"):
        load_study(paths["scores"], [], paths["grid"], tmp_path)


def sparsegpt(calibration: str) -> tuple[str, dict]:
    return f"sparsegpt-{calibration}-0.50-s0", analysis_fixture.submodel_entry("sparsegpt", calibration, "0.50", 0)


def test_table_one_by_hand():
    """Wanda has sets of two domains: on python 1 against 1/2, on math 1 against 1/4, so it gains 5/8. RIA has a single
    set, and magnitude takes none."""
    math = "wanda-math-0.50-s0"
    python = {WANDA: [1, 1, 1, 1], math: [1, 1, 0, 0], RIA: [1, 1, 1, 0], MAGNITUDE: [0, 0, 0, 0]}
    sums = {WANDA: [1, 0, 0, 0], math: [1, 1, 1, 1], RIA: [1, 1, 0, 0], MAGNITUDE: [0, 0, 0, 0]}
    scores = {
        name: {id: accuracy(values, analysis_fixture.BENCHMARKS[name][2]) for id, values in by_id.items()}
        | {"dense": accuracy([1, 1, 1, 1], analysis_fixture.BENCHMARKS[name][2])}
        for name, by_id in (("tiny_python", python), ("tiny_math", sums))
    }
    made = study(scores, manifests=MANIFESTS | {math: manifest(4, 300, tokens=3000, bytes=4e6)})
    frame = TABLES["table_one"].compute(made).set_index("method")
    assert frame.index.tolist() == ["wanda", "ria", "magnitude"]
    assert frame["value"].tolist()[:1] == [0.625]
    assert (frame.loc["wanda", "n"], frame.loc["wanda", "tokens"], frame.loc["wanda", "wall_seconds"]) == (8, 2000, 3)
    assert frame["needs_calibration"].tolist() == [True, True, False]
    assert not frame["needs_gradients"].any()
    shown = TABLES["table_one"].to_read(frame.reset_index()).set_index("method")
    assert shown.loc["wanda", "domain gain"].startswith("+62.5 [")
    assert shown.loc["ria", "domain gain"] == "not testable here: needs calibration sets of two domains"
    assert shown.loc["magnitude", "needs calibration data"] == "no"
    assert shown.loc["magnitude", "domain gain"] == "not testable here: takes no calibration data"


def test_table_one_says_what_a_method_needs_and_what_the_paper_ticks():
    ids = {"maskllm-python-2of4-s0": ("maskllm", "2of4"), "dpruner-python-0.50-s0": ("dpruner", "0.50")}
    extra = {id: analysis_fixture.submodel_entry(of, "python", at, 0) for id, (of, at) in ids.items()}
    scores = {id: accuracy([1, 0], "pass@1") for id in ("dense", *ids)}
    made = study({"tiny_python": scores}, extra=extra, manifests=dict.fromkeys(ids, manifest(1, 1)))
    shown = TABLES["table_one"].to_read(TABLES["table_one"].compute(made)).set_index("method")
    needs = ["needs calibration data", "needs gradients / training", "the paper’s ticks"]
    ticks = "efficient; needs no calibration data"
    assert shown.loc["maskllm", needs].tolist() == ["yes", "gradients, training", ticks]
    assert shown.loc["dpruner", needs].tolist() == ["yes", "gradients", ""]


def test_two_languages_of_one_domain_are_no_two_domains():
    scores = {id: accuracy([1, 0], "pass@1") for id in ("dense", WANDA, "wanda-java-0.50-s0")}
    manifests = dict.fromkeys(scores, manifest(1, 1))
    row = TABLES["table_one"].compute(study({"tiny_python": scores}, manifests=manifests)).squeeze()
    assert (row["status"], row["reason"]) == ("not run", "needs calibration sets of two domains")
    assert pd.isna(row["value"])


def test_methods_that_change_values_are_labelled_wherever_they_are_shown():
    id, entry = sparsegpt("python")
    scores = {name: accuracy([1, 0] * 20, "pass@1") for name in ("dense", WANDA)}
    scores[id] = accuracy([1, 1] * 20, "pass@1")
    made = study({"tiny_python": scores}, extra={id: entry}, manifests=dict.fromkeys((WANDA, id), manifest(1, 1)))
    label = "sparsegpt (mask + values)"
    for name in ("methods", "table_one", "relative", "sparsity_curves"):
        frame = TABLES[name].compute(made)
        assert "sparsegpt" in set(frame["method"]), name
        assert label in set(TABLES[name].to_read(frame)["method"]), name
    best = TABLES["best_submodels"].to_read(TABLES["best_submodels"].compute(made))
    assert set(best["best sub-model"]) == {f"{id} (mask + values)"}
    scores = TABLES["scores"].compute(made)
    products = scores.set_index("submodel")["product"]
    assert (products[WANDA], products[id]) == ("mask only", "mask + values")
    assert pd.isna(products["dense"])
    assert set(TABLES["scores"].to_read(scores)["submodel"]) == {"dense", WANDA, f"{id} (mask + values)"}
    assert setting_name("sparsegpt", "0.50", "", 1) == f"{label}, 0.50 pruned"
    assert setting_name("wanda", "0.50", "", 1) == "wanda, 0.50 pruned"


def test_captions_say_what_the_label_means_where_it_is_shown():
    """Also after the table was read from its file, where the dense baseline may have no method."""
    for methods_shown, said in ((["none", "wanda", "magnitude"], False), (["wanda", "sparsegpt", None], True)):
        frame = pd.DataFrame({"method": methods_shown})
        assert ("Mask + values: " in TABLES["relative"].about(frame)) == said
    assert TABLES["relative"].about(pd.DataFrame()) == TABLES["relative"].caption


def test_methods_at_a_pattern_with_bits_per_byte():
    """At 2of4 maskllm keeps 3/4 where wanda keeps 1/2, and needs 2 bits a byte where wanda needs 4."""
    ids = {name: f"{name}-python-2of4-s0" for name in ("wanda", "maskllm")}
    extra = {id: analysis_fixture.submodel_entry(name, "python", "2of4", 0) for name, id in ids.items()}
    kept, bits = {"dense": [1, 1, 1, 1]}, {"dense": [1, 1]}
    kept |= {ids["wanda"]: [1, 1, 0, 0], ids["maskllm"]: [1, 1, 1, 0]}
    bits |= {ids["wanda"]: [4, 4], ids["maskllm"]: [2, 2]}
    scores = {"tiny_python": {id: accuracy(values, "pass@1") for id, values in kept.items()}}
    scores["source_python"] = {id: analysis_fixture.source_files(values, values) for id, values in bits.items()}
    frame = methods(study(scores, extra=extra, manifests=dict.fromkeys(extra, manifest(1, 1))))
    assert set(frame["sparsity"]) == {"2of4"}
    assert column(frame, "matched") == {"dense": 1.0, "wanda": 0.5, "maskllm": 0.75}
    assert column(frame, "matched_change")["maskllm"] == 0.25
    change = [f"source_python_bits_per_byte_change{end}" for end in ("", "_low", "_high")]
    assert frame.set_index("method").loc["maskllm", change].tolist() == [-2, -2, -2]
    shown = show_methods(frame).set_index("method")
    assert shown.loc["maskllm", "source python bits per byte (lower is better)"] == "2.000"
    assert shown.loc["maskllm", "source python bits per byte, change"] == "−2.000 [−2.000, −2.000]"


def test_the_size_of_a_sub_model_without_it_in_its_manifest_is_that_of_its_file(tmp_path, monkeypatch):
    directory, paths = analysis_fixture.built_study()
    monkeypatch.chdir(directory.name)
    shutil.copytree(paths["submodels"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny-llama" / WANDA / FILE_NAME).write_bytes(bytes(12))
    read = load_study(paths["scores"], [], paths["grid"], tmp_path).manifests
    assert read["tiny-llama", WANDA]["results"]["bytes"] == 12
    assert "bytes" not in read["tiny-llama", MAGNITUDE]["results"]
