"""Figures: every one exists with its data, equal tables give equal bytes, missing data are said."""

import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import analysis_fixture
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

import submodels.analysis.figures
from submodels import files
from submodels.analysis.draw_figures import draw_figures
from submodels.analysis.figures import FIGURES
from submodels.analysis.figures.shared import DOMAIN_COLOURS, PAGE_WIDTH, STYLE
from submodels.analysis.figures.sparsity import OTHER_SERIES, SERIES
from submodels.analysis.table_files import read_table
from submodels.errors import SubmodelsError
from submodels.layout import FIGURE_NAMES

USED = ("relative", "jaccard", "jaccard_layers", "sparsity_curves", "code_languages", "bits_per_byte")


@pytest.fixture(scope="module")
def drawn():
    directory, paths = analysis_fixture.built_study()
    return {name: Path(directory.name) / paths[name] for name in ("grid", "tables", "figures")}


@pytest.fixture
def small_grid(drawn, tmp_path) -> Path:
    """The grid with one base model only, to draw less."""
    grid = files.read_json(drawn["grid"])
    grid["models"] = {"tiny-llama": grid["models"]["tiny-llama"]}
    files.write_json(tmp_path / "grid.json", grid)
    return tmp_path / "grid.json"


def test_every_figure_of_every_model_has_a_picture_and_its_data(drawn):
    for name in FIGURES:
        for model in analysis_fixture.MODELS:
            root = ElementTree.parse(drawn["figures"] / f"{name}-{model}.svg").getroot()
            assert root.tag.endswith("svg")
            assert len(pd.read_csv(drawn["figures"] / f"{name}-{model}.csv")) > 0


def test_the_figures_are_the_modules_of_their_room():
    modules = {path.stem for path in Path(submodels.analysis.figures.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "shared"} == set(FIGURE_NAMES) == set(FIGURES)


def test_the_report_of_snakemake_has_the_same_captions(root):
    for name, figure in FIGURES.items():
        text = (root / f"workflow/report/{name}.rst").read_text(encoding="utf-8")
        assert " ".join(text.split()) == figure.caption, f"write the caption of figures/{name}.py into {name}.rst"


def visible_texts(figure) -> list[Text]:
    """Without slanted tick labels, whose boxes are larger than their letters."""
    out_of_view = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            out_of_view |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in texts if text.get_rotation() in (0, 90) and text not in out_of_view]


@pytest.mark.parametrize("name", FIGURES)
def test_texts_neither_overlap_nor_leave_the_page(drawn, name):
    """Also with a single panel, where there is the least room."""
    tables = {path.stem: read_table(path) for path in drawn["tables"].glob("*.csv")}
    single = {key: frame.query("sparsity == '0.50' or sparsity.isna()") for key, frame in tables.items() if key in USED}
    for shown in (tables, single):
        with plt.rc_context(STYLE):
            figure, _ = FIGURES[name].draw(shown, "tiny-llama")
            figure.canvas.draw()
        boxes = [(text.get_text(), text.get_window_extent()) for text in visible_texts(figure)]
        clashes = [
            (a, b) for (a, box), (b, other) in combinations(boxes, 2) if box.padded(-1).overlaps(other.padded(-1))
        ]
        assert clashes == []
        assert len(boxes) > 10
        page = figure.bbox.padded(2)
        assert [a for a, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))] == []
        assert figure.get_figwidth() <= PAGE_WIDTH
        plt.close(figure)


def test_random_masks_stay_in_view_at_every_sparsity(drawn):
    """Panels share their axis, and random masks are farther apart the more is pruned."""
    tables = {path.stem: read_table(path) for path in drawn["tables"].glob("*.csv")}
    figure, data = FIGURES["jaccard_layers"].draw(tables, "tiny-llama")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "wanda, 0.50 pruned",
        "wanda, 0.70 pruned",
        "ria, 0.50 pruned",
    ]
    assert all(axes.get_ylim()[1] > data["random"].max() for axes in figure.axes)
    plt.close(figure)


def test_one_colour_means_one_thing():
    assert len({colour for colour, _, _ in [*SERIES.values(), *OTHER_SERIES]}) == len(SERIES) + 1
    assert len({tuple(style) for style in OTHER_SERIES}) == len(OTHER_SERIES)
    series_of_sets = {SERIES[name][0] for name in ("matched", "unmatched")} | {OTHER_SERIES[0][0]}
    assert not series_of_sets & set(DOMAIN_COLOURS.values())
    assert SERIES["generic"][0] == DOMAIN_COLOURS["generic"]


def test_perplexities_stay_out_of_figures_of_accuracies(drawn):
    for name in ("cross_task", "sparsity", "languages"):
        assert "tiny_text" not in (drawn["figures"] / f"{name}-tiny-llama.csv").read_text(encoding="utf-8")


def test_a_figure_says_what_is_partial_or_made_up(drawn):
    """The study's math is a pilot and its translation made up; its code is neither."""
    tables = {path.stem: read_table(path) for path in drawn["tables"].glob("*.csv")}
    titles = {}
    for name in ("cross_task", "sparsity", "languages"):
        with plt.rc_context(STYLE):
            titles[name] = " ".join(FIGURES[name].draw(tables, "tiny-llama")[0].get_suptitle().split())
    assert titles["cross_task"].endswith("first 8 items (tiny_math); fixture; paper protocol (tiny_translation)")
    assert titles["sparsity"].endswith("first 8 items (math); fixture; paper protocol (translation)")
    assert titles["languages"].endswith("of its calibration set?")
    code = tables["code_languages"].assign(remarks="fixture")
    with plt.rc_context(STYLE):
        figure, _ = FIGURES["languages"].draw(tables | {"code_languages": code}, "tiny-llama")
    assert figure.get_suptitle().endswith("\nfixture")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_names_the_kind_of_product(drawn, name):
    """Also where it is the only method that calibrates, above the curves of those that do not."""
    tables = {path.stem: read_table(path) for path in drawn["tables"].glob("*.csv")}
    for key in USED:
        frame = tables[key][tables[key]["method"] != "ria"]
        tables[key] = frame.assign(method=frame["method"].replace("wanda", "sparsegpt"))
    with plt.rc_context(STYLE):
        figure, data = FIGURES[name].draw(tables, "tiny-llama")
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles
    assert all("sparsegpt (mask + values)" in title for title in titles)
    assert "Mask + values: the method also changes" in " ".join(figure.get_suptitle().split())
    assert "method" not in data or "sparsegpt" in set(data["method"]), "the data have the plain name"
    plt.close(figure)


def test_sizes_of_calibration_sets_have_panels_of_their_own(drawn):
    """Half of the rows are said to come from smaller sets: nothing is merged, and titles say which is which."""
    tables = {path.stem: read_table(path) for path in drawn["tables"].glob("*.csv")}
    for name in USED:
        small = tables[name].assign(calibration_size=tables[name]["calibration_size"].replace("128 rows", "32 rows"))
        tables[name] = pd.concat([tables[name], small])
    for name in FIGURES:
        figure, _ = FIGURES[name].draw(tables, "tiny-llama")
        titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
        assert len(set(titles)) == len(titles)
        assert sum("32 rows" in title for title in titles) == sum("128 rows" in title for title in titles) > 0
        plt.close(figure)


def test_figures_are_deterministic(drawn, small_grid, tmp_path):
    draw_figures(drawn["tables"], small_grid, tmp_path / "again")
    again = sorted((tmp_path / "again").iterdir())
    assert len(again) == 2 * len(FIGURES)
    for path in again:
        assert path.read_bytes() == (drawn["figures"] / path.name).read_bytes(), path.name


def test_calibration_sets_keep_one_order(drawn):
    order = list(analysis_fixture.SETS)
    for name, column in (("cross_task", "calibration"), ("jaccard", "a"), ("languages", "calibration")):
        frame = pd.read_csv(drawn["figures"] / f"{name}-tiny-llama.csv")
        for _, panel in frame.groupby("panel" if "panel" in frame else ["method", "sparsity"]):
            shown = [one for one in panel[column].drop_duplicates() if one in order]
            assert shown == [one for one in order if one in shown]


def test_missing_data_are_said(drawn, small_grid, tmp_path):
    for path in drawn["tables"].glob("*.csv"):
        frame = pd.read_csv(path, dtype=str)
        kept = frame if path.stem in ("scores", "claims") else frame.iloc[:0]
        kept.to_csv(tmp_path / path.name, index=False)
    draw_figures(tmp_path, small_grid, tmp_path / "figures")
    reason = pd.read_csv(tmp_path / "figures" / "jaccard-tiny-llama.csv")["reason"].item()
    assert "no two sub-models" in reason
    assert pd.read_csv(tmp_path / "figures" / "sparsity-tiny-llama.csv")["reason"].item() == "no sub-model was scored"


def test_missing_tables_are_named(drawn, tmp_path):
    with pytest.raises(SubmodelsError, match=r"scores\.csv: no such file; run `submodels tabulate` first"):
        draw_figures(tmp_path, drawn["grid"], tmp_path / "figures")
