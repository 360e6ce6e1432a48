"""The report: untrusted text stays text, links lead somewhere, gaps are said."""

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import analysis_fixture
import pytest

from submodels import files
from submodels.analysis.claims import CLAIMS
from submodels.analysis.report import write_report
from submodels.analysis.table_files import read_table
from submodels.config import read_grid
from submodels.errors import SubmodelsError
from submodels.grid import Grid
from submodels.layout import PAGE


class Page(HTMLParser):
    """Tags, links and the visible text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.words, self.ids = [], [], [], [], []
        self.data = ""
        self._in_data = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._in_data = ("type", "application/json") in attributes
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("href", "src"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
            if name.startswith("on"):
                self.handlers.append((tag, name))

    def handle_data(self, data):
        if self._in_data:
            self.data += data
        else:
            self.words.append(data)

    def handle_endtag(self, tag):
        self._in_data = False

    @property
    def scores(self) -> dict:
        """What the page's script makes the list of scores from."""
        return json.loads(self.data)


@pytest.fixture(scope="module")
def report():
    directory, paths = analysis_fixture.built_study()
    return Path(directory.name), paths


@pytest.fixture
def page(report, monkeypatch):
    root, paths = report
    monkeypatch.chdir(root)
    return Page(paths["report"].read_text(encoding="utf-8"))


def test_hostile_completions_stay_text(page):
    assert analysis_fixture.HOSTILE in "".join(page.words)
    assert page.tags.count("script") == 2  # the scores as data, and the page's own
    assert not page.handlers


def test_hostile_names_stay_text(report, monkeypatch):
    root, paths = report
    monkeypatch.chdir(root)
    grid = files.read_json(paths["grid"])
    grid["name"] = analysis_fixture.HOSTILE
    grid["models"]["tiny-llama"]["description"] = analysis_fixture.HOSTILE
    grid["missing"] = {analysis_fixture.HOSTILE: analysis_fixture.HOSTILE}
    files.write_json("hostile.json", grid)
    write_report("hostile.json", paths["tables"], paths["figures"], "results/demo/report/hostile.html")
    hostile = Page(Path("results/demo/report/hostile.html").read_text(encoding="utf-8"))
    assert hostile.tags.count("script") == 2
    assert "<" not in hostile.data
    assert not hostile.handlers


def test_every_address_is_relative_and_leads_somewhere(page, report):
    root, paths = report
    data = page.scores
    listed = {run["manifest"] for run in data["runs"]}
    for run, benchmark, *_, samples, generation in data["rows"]:
        place = f"{data['runs'][run]['model']}/{data['runs'][run]['submodel']}/{data['benchmarks'][benchmark]['name']}"
        patterns = data["samples"][samples], data["generations"][generation]
        listed |= {pattern.replace("{}", place) for pattern in patterns if pattern}
    assert len(listed) > 500
    for address in {*page.addresses, *listed}:
        parsed = urlparse(address)
        assert not parsed.scheme, address
        assert not parsed.netloc, address
        if parsed.path:
            assert (root / paths["report"].parent / unquote(parsed.path)).is_file(), address
        else:
            assert parsed.fragment.partition("?")[0] in page.ids


def test_not_run_is_said_with_its_reason(page):
    text = " ".join(page.words)
    assert "not run: node is not installed" in text
    assert "apt-get install nodejs" in text


def test_scope_depends_on_the_models(page, report, monkeypatch):
    root, paths = report
    monkeypatch.chdir(root)
    assert "Synthetic models of about a million parameters" in " ".join(page.words)
    grid = files.read_json(paths["grid"])
    grid["models"]["tiny-llama"]["tiny_world"] = False
    files.write_json("large.json", grid)
    write_report("large.json", paths["tables"], paths["figures"], "results/demo/report/large.html")
    assert "Synthetic models" not in Path("results/demo/report/large.html").read_text(encoding="utf-8")


def test_examples_follow_the_rule(page):
    """Dense solves the first shown item; the matched set is the first of the domain."""
    text = " ".join(page.words)
    score = files.read_json("results/demo/scores/tiny-llama/tiny_math.json")
    solved = score["task_ids"][score["submodels"]["dense"]["items"]["exact_match"].index(1)]
    assert f"item {solved}" in text
    assert "wanda-math-0.70-s0" in text


def test_no_object_is_shown_by_its_address(page):
    assert " at 0x" not in "".join(page.words)


def test_a_second_report_is_identical(report, monkeypatch):
    root, paths = report
    monkeypatch.chdir(root)
    again = Path("results/demo/report/again.html")
    write_report(paths["grid"], paths["tables"], paths["figures"], again)
    assert again.read_bytes() == paths["report"].read_bytes()


def test_every_claim_leads_to_the_table_behind_it(page):
    assert {f"../tables/{claim.table}.csv" for claim in CLAIMS.values()} <= set(page.addresses)


def test_outcomes_are_said(page):
    assert any("out of memory" in ended for ended in page.scores["ended"])
    assert "8 correct" in page.scores["ended"]


def test_a_base_model_from_elsewhere_has_no_manifest(report, monkeypatch):
    root, paths = report
    monkeypatch.chdir(root)
    grid = files.read_json(paths["grid"])
    grid["models"]["tiny-llama"]["manifest"] = None
    files.write_json("local.json", grid)
    write_report("local.json", paths["tables"], paths["figures"], "results/demo/report/local.html")
    local = Page(Path("results/demo/report/local.html").read_text(encoding="utf-8"))
    assert "../base_models/tiny-llama/manifest.json" not in local.addresses
    assert "../base_models/tiny-gemma/manifest.json" in local.addresses


def test_the_fixture_is_a_grid_as_the_workflow_describes_it(root, report):
    made, paths = report
    grid, real = (
        files.read_json(made / paths["grid"]),
        Grid(read_grid(root / "config.yaml"), "config.yaml").describe(),
    )
    assert grid.keys() | {"config"} == real.keys()
    for part in ("models", "submodels", "benchmarks"):
        assert {key for entry in grid[part].values() for key in entry} == {
            key for entry in real[part].values() for key in entry
        }


def test_perplexities_are_numbers_and_lower_is_better(report, page):
    root, _ = report
    dense = files.read_json(root / "results/demo/scores/tiny-llama/tiny_text.json")["submodels"]["dense"]["metrics"]
    value = dense["perplexity"]["value"]
    assert f"{value:.3f}" in page.words
    assert f"{100 * value:.1f}" not in " ".join(page.words)
    assert page.words.count("perplexity (lower is better)") > 2
    listed = {entry["name"]: entry["metrics"] for entry in page.scores["benchmarks"]}
    assert listed["tiny_text"] == [
        {"label": "perplexity (lower is better)", "percent": False},
        {"label": "bits_per_byte (lower is better)", "percent": False},
    ]


def test_methods_are_compared_in_groups(page):
    assert "tiny-llama, 0.50 pruned, calibration set python" in page.words
    assert "Nothing to compare" not in " ".join(page.words)


def test_the_kind_of_product_is_named_everywhere(report, page, monkeypatch, tmp_path):
    """The same page, with sparsegpt in the place of wanda: in claims, matrices, tables, examples and the list."""
    assert "mask + values" not in " ".join(page.words)
    root, paths = report
    monkeypatch.chdir(root)
    grid = files.read_json(paths["grid"])
    for entry in grid["submodels"].values():
        entry["method"] = entry["method"].replace("wanda", "sparsegpt")
    files.write_json(tmp_path / "grid.json", grid)
    shutil.copy(paths["tables"] / PAGE, tmp_path)
    content = files.read_json(tmp_path / PAGE)
    for entry in content["matrices"]:
        entry["method"] = entry["method"].replace("wanda", "sparsegpt")
    files.write_json(tmp_path / PAGE, content)
    for path in paths["tables"].glob("*.csv"):
        frame = read_table(path)
        if "method" in frame:
            frame["method"] = frame["method"].replace("wanda", "sparsegpt")
        frame.to_csv(tmp_path / path.name, index=False)
    out = Path("results/demo/report/values.html")
    write_report(tmp_path / "grid.json", tmp_path, paths["figures"], out)
    page = Page(out.read_text(encoding="utf-8"))
    words = " ".join(page.words)
    assert "Mask + values: the method also changes the weights" in words
    assert "sparsegpt," not in words
    assert {"sparsegpt (mask + values), 0.50 pruned", "sparsegpt (mask + values)"} <= set(page.words)
    assert any(word.startswith(", wanda-math-0.70-s0 (mask + values)") for word in page.words), "in the examples"
    runs = {run["submodel"]: run for run in page.scores["runs"]}
    shown = runs["wanda-math-0.70-s0"]
    assert (shown["name"], shown["method"]) == ("wanda-math-0.70-s0 (mask + values)", "sparsegpt (mask + values)")
    assert runs["dense"]["name"] == "dense"


def test_a_grid_of_one_method_says_that_there_is_nothing_to_compare(report, monkeypatch, tmp_path):
    root, paths = report
    monkeypatch.chdir(root)
    shutil.copy(paths["tables"] / PAGE, tmp_path)
    for table in paths["tables"].glob("*.csv"):
        lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = lines[:1] if table.stem == "methods" else lines
        files.write_text(tmp_path / table.name, "".join(kept))
    out = Path("results/demo/report/alone.html")
    write_report(paths["grid"], tmp_path, paths["figures"], out)
    assert "Nothing to compare: no two methods" in out.read_text(encoding="utf-8")


def test_numbers_come_to_the_page_as_numbers(page):
    for row in page.scores["rows"]:
        value, low, high, items = row[4:8]
        assert value is None or all(isinstance(number, int | float) for number in (value, low, high, items))


def test_it_reads_no_score(report, monkeypatch, tmp_path):
    """What `tabulate` and `figures` wrote is enough: the page is the same when the score files are gone."""
    root, paths = report
    monkeypatch.chdir(root)
    again = Path("results/demo/report/without.html")
    shutil.move("results/demo/scores", tmp_path)
    try:
        write_report(paths["grid"], paths["tables"], paths["figures"], again)
    finally:
        shutil.move(tmp_path / "scores", "results/demo/scores")
    assert again.read_bytes() == paths["report"].read_bytes()


def test_missing_texts_are_named(report, monkeypatch, tmp_path):
    root, paths = report
    monkeypatch.chdir(root)
    for table in paths["tables"].glob("*.csv"):
        shutil.copy(table, tmp_path)
    with pytest.raises(SubmodelsError, match=r"page\.json: no such file; run `submodels tabulate` first"):
        write_report(paths["grid"], tmp_path, paths["figures"], paths["report"])


def test_missing_figures_are_named(report, monkeypatch, tmp_path):
    root, paths = report
    monkeypatch.chdir(root)
    with pytest.raises(SubmodelsError, match=r"cross_task-tiny-llama\.svg: no such file"):
        write_report(paths["grid"], paths["tables"], tmp_path, paths["report"])


def test_partial_made_up_and_paper_scores_are_said(page):
    text = " ".join(page.words)
    assert "To know before reading on:" in text
    assert "first 8 items (tiny_math)" in text
    assert "fixture (tiny_translation); paper protocol (tiny_translation)" in text
    assert analysis_fixture.QUIRK in text
    assert page.words.count("fixture; paper protocol") > 2  # in the matrices
    listed = {entry["name"]: entry["remarks"] for entry in page.scores["benchmarks"]}
    assert listed["tiny_translation"] == "fixture; paper protocol"
    assert text.count("Not checked for overlap with calibration rows.") == 1
    assert "conditions" in page.ids


def test_the_noise_floor_says_which_sets_are_not_told_apart(page, report):
    root, paths = report
    rows = list(csv.DictReader((root / paths["tables"] / "noise.csv").open(encoding="utf-8")))
    below = [row for row in rows if row["below"]]
    assert below
    assert all(len(row["below"].split()) == int(row["n_below"]) for row in below)
    assert {row["below"].replace(" ", ", ") for row in below} <= set(page.words)
    assert page.words.count("another draw") == len({(row["model"], row["method"], row["sparsity"]) for row in rows})


def test_a_grid_of_one_draw_a_set_has_no_noise_floor(report, monkeypatch, tmp_path):
    root, paths = report
    monkeypatch.chdir(root)
    shutil.copy(paths["tables"] / PAGE, tmp_path)
    for table in paths["tables"].glob("*.csv"):
        lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
        files.write_text(tmp_path / table.name, "".join(lines[:1] if table.stem == "noise" else lines))
    out = Path("results/demo/report/once.html")
    write_report(paths["grid"], tmp_path, paths["figures"], out)
    text = out.read_text(encoding="utf-8")
    assert "no calibration set of this grid has two scored draws" in text
    assert "another draw</th>" not in text
