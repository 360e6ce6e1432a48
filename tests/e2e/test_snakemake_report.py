"""`snakemake --report report.zip` on a finished run: made without a network, opens from disk, shows what there is.

Tables, figures and the page are the real stages' on made-up results; the rest of the tree is stand-in files.
"""

import json
import re
import zipfile
from pathlib import Path

import pytest
import scale_fixture
from dag import finish, snakemake
from test_report_browser import browse

from submodels.layout import FIGURE_NAMES, TABLE_NAMES

GRID = scale_fixture.grid_of(["code-7b"], ["py_alpaca", "math_o"], [0.5], [0, 1], ["humaneval", "gsm8k"])
# Proxies that nobody listens on: a request to anywhere fails at once.
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The directory of an unzipped report."""
    directory = tmp_path_factory.mktemp("run")
    scale_fixture.write_results(directory, GRID, most_items=12, blocks=2)
    scale_fixture.analyse(directory)
    config = ["--configfile", str(directory / "grid.yaml")]
    finish(directory, *config)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        snakemake(directory, *config, "--report", "report.zip")
    with zipfile.ZipFile(directory / "report.zip") as archive:
        archive.extractall(directory)
    return directory / "report"


def results(report: Path) -> list[dict]:
    text = (report / "report.html").read_text(encoding="utf-8")
    return list(json.loads(re.search(r"var results = (\{.*\});?\n", text)[1]).values())


def test_every_table_and_figure_is_listed_with_labels_and_a_caption(report):
    listed = results(report)
    assert {json.dumps(entry["labels"], sort_keys=True) for entry in listed} == {
        json.dumps(labels, sort_keys=True)
        for labels in [
            {"page": "everything"},
            *({"table": name} for name in TABLE_NAMES),
            *({"figure": name, "model": "code-7b"} for name in FIGURE_NAMES),
        ]
    }
    assert all("<p>" in entry["caption"] for entry in listed)


def test_the_page_in_it_has_its_pictures(report):
    (page,) = report.rglob("index.html")
    pictures = re.findall(r'<img [^>]*src="([^"]+)"', page.read_text(encoding="utf-8"))
    assert len(pictures) == len(FIGURE_NAMES)
    assert all((page.parent / name).is_file() for name in pictures)


def test_it_opens_from_disk_without_a_request(report):
    dom, console, asked = browse(report / "report.html")
    assert "Figures" in dom.split('id="app"', 1)[1].split("<script", 1)[0]
    assert [line for line in console.splitlines() if "Uncaught" in line] == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "chrome")) and "google" not in url] == []
