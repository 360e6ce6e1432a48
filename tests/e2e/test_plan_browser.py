"""The plan's page in a real browser, from disk: no error, no request, all there, no wider than the window."""

import pytest
from test_report_browser import NARROW, WIDE, browse

from submodels.config import read_grid
from submodels.grid import Grid
from submodels.planning import show
from submodels.planning.jobs import find_jobs
from submodels.planning.plan import make_plan
from submodels.resources import resource


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path, directory = resource("grids/paper.yaml"), tmp_path_factory.mktemp("plan")
    grid = Grid(read_grid(path), str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        show.write_html(make_plan(grid, find_jobs(grid, [str(path)])), directory / "plan.html")
    return directory / "plan.html"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_it_opens_without_fault(page, width):
    dom, console, asked = browse(page, width)
    assert console == ""
    assert [url for url in asked if not url.startswith(("file:", "data:", "chrome")) and "google" not in url] == []
    assert "<h1>Plan: paper</h1>" in dom
    assert all(f'<th scope="row">{rule}</th>' in dom for rule in ("fetch_base_model", "generate", "report", "total"))
    assert "total, at the end" in dom


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_tables_scroll_and_the_page_does_not(page, width):
    measure = (
        "<script>addEventListener('load', () => { document.title = 'over ' + (document.documentElement.scrollWidth"
    )
    measure += " - document.documentElement.clientWidth); });</script>"
    text = page.read_text(encoding="utf-8")
    start = text.index('<meta http-equiv="Content-Security-Policy"')
    probed = page.with_name(f"probed-{width}.html")
    probed.write_text(text[:start] + measure + text[text.index(">", start) + 1 :], encoding="utf-8")
    dom, _, _ = browse(probed, width)
    assert "<title>over 0</title>" in dom
