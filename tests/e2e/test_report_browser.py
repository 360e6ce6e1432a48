"""The report in a real browser, from disk: no error, no request but its own files, all there and legible.

`findings(page)` says what is wrong with any report.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

import analysis_fixture
import pytest
import scale_fixture

from submodels.analysis.table_files import read_table
from submodels.analysis.tables import TABLES

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
# Runs after the page: reports what a reader would see. The page's own policy is lifted for this probe only.
PROBE = """
<script>
addEventListener("load", () => {
  const images = Array.from(document.images);
  const name = (image) => image.getAttribute("src");
  const filter = document.getElementById("filter");
  const more = document.getElementById("more");
  const said = () => document.getElementById("shown").textContent;
  const cells = (n) => Array.from(document.querySelectorAll("#scores tbody tr"), (row) => row.cells[n].textContent);
  const choose = (values) => {
    for (const [name, value] of Object.entries(values)) filter.elements[name].value = value;
    filter.dispatchEvent(new Event("input"));
    while (!more.hidden) more.click();
  };
  const first = { rows: cells(1).length, said: said() };
  const entries = JSON.parse(document.getElementById("data").textContent);
  const last = entries.rows[entries.rows.length - 1];
  const benchmark = entries.benchmarks[last[1]].name;
  const model = entries.runs[last[0]].model;
  choose({ metrics: "all", model, benchmark });
  const filtered = { models: cells(0), benchmarks: cells(2), said: said() };
  choose({ words: "python 0.50" });
  const words = cells(1);
  choose({ words: "" });
  const value = document.querySelector("#scores th[data-key=number]");
  value.querySelector("button").click();
  while (!more.hidden) more.click();
  const sorted = { order: value.getAttribute("aria-sort"), numbers: listed.map((score) => score.number) };
  location.hash = `#all?model=${model}&sparsity=0.50&benchmark=${benchmark}`;
  follow();
  const followed = { said: said(), models: cells(0), submodels: cells(1) };
  const addresses = scores.flatMap((score) => [score.samples, score.generation, score.manifest]).filter(Boolean);
  const seen = {
    rows: entries.rows.length,
    main: entries.rows.filter((row) => row[3]).length,
    first: first,
    model: model,
    benchmark: benchmark,
    wanted: entries.rows.filter((row) => row[1] === last[1] && entries.runs[row[0]].model === model).length,
    filtered: filtered,
    words: words,
    sorted: sorted,
    written: scores.map((score) => [score.submodel, score.metric, score.value, score.interval]),
    followed: followed,
    images: images.length,
    broken: images.filter((image) => image.naturalWidth === 0).map(name),
    shrunk: images.filter((image) => image.width < 0.98 * image.naturalWidth).map(name),
    wide: images.filter((image) => image.parentNode.scrollWidth > image.parentNode.clientWidth).map(name),
    links: [...new Set([...Array.from(document.links, (link) => link.getAttribute("href")), ...addresses])],
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    stolen: window.stolen === 1,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    errors: window.seenErrors,
  };
  const box = document.createElement("script");
  box.type = "application/json";
  box.id = "probe";
  box.textContent = JSON.stringify(seen);
  document.body.append(box);
});
</script>
"""
LISTEN = "<script>window.seenErrors = []; addEventListener('error', (e) => seenErrors.push(e.message), true);</script>"
WIDE, NARROW = 1280, 500


def chromium() -> str:
    """The browser's program; without one the test skips, or fails where everything must run."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        message = "no chromium on PATH; install it (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def browse(page: Path, width: int = WIDE) -> tuple[str, str, list[str]]:
    """The page's final HTML, the console lines and every address the browser asked for on its behalf."""
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "net.json"
        command = [chromium(), *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},2000"]
        command += ["--enable-logging=stderr", f"--log-net-log={log}", "--virtual-time-budget=5000", "--dump-dom"]
        run = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=90, check=True)
        console = "\n".join(line for line in run.stderr.splitlines() if "CONSOLE" in line)
        events = json.loads(log.read_text(encoding="utf-8"))["events"]
    return run.stdout, console, [event["params"]["url"] for event in events if "url" in event.get("params", {})]


def look(page: Path, width: int) -> dict:
    """What the probe sees on a page of this width."""
    text = page.read_text(encoding="utf-8")
    start = text.index('<meta http-equiv="Content-Security-Policy"')
    without_policy = text[:start] + LISTEN + text[text.index(">", start) + 1 :]
    probed = page.with_name(f"probed-{width}.html")
    without_policy = without_policy.replace('<img loading="lazy"', "<img")  # pictures that nobody scrolls to, too
    probed.write_text(without_policy.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    try:
        dom, _, _ = browse(probed, width)
    finally:
        probed.unlink()
    return json.loads(dom.rsplit('id="probe">', 1)[1].split("</script>", 1)[0])


def findings(page: Path) -> list[str]:
    """What is wrong with the report `page`, one sentence each; empty if nothing is."""
    page = page.resolve()
    dom, console, asked = browse(page)
    found = [f"console: {line}" for line in console.splitlines()]
    if "The paper’s claims" not in dom:
        found.append("the claims are missing")
    # A blank profile makes the browser itself ask its maker for updates; the page must have no part in it.
    own = ("file:", "data:", "chrome")
    found += [f"request: {url}" for url in asked if not url.startswith(own) and "google" not in url]
    for width in (WIDE, NARROW):
        found += [f"{width} px: {finding}" for finding in _judge(look(page, width), page.parent, width)]
    return found


def _judge(seen: dict, directory: Path, width: int) -> list[str]:
    found = [f"error: {error}" for error in seen["errors"]]
    found += [f"request: {address}" for address in seen["requests"] if not address.startswith("file:")]
    found += ["text of a sample ran as a script"] if seen["stolen"] else []
    found += [f"image does not load: {name}" for name in seen["broken"]]
    found += [f"image is shown smaller than drawn: {name}" for name in seen["shrunk"]]
    found += [f"image is wider than the page: {name}" for name in seen["wide"] if width == WIDE]
    found += ["no image"] if not seen["images"] else []
    found += [f"page is {seen['overflow']} px wider than the window"] if seen["overflow"] > 0 else []
    found += _judge_scores(seen)
    for link in sorted(set(seen["links"])):
        address = urlparse(link)
        if address.scheme or address.netloc:
            found.append(f"link is not relative: {link}")
        elif address.path and not (directory / unquote(address.path)).is_file():
            found.append(f"link leads nowhere: {link}")
    return found


def _judge_scores(seen: dict) -> list[str]:
    """What is wrong with the list of scores: first sight, filters, words, order, and links into it."""
    found, first, filtered = [], seen["first"], seen["filtered"]
    if first["rows"] != min(100, seen["main"]) or not first["said"].startswith(f"{seen['main']} of {seen['rows']} "):
        found.append(f"{seen['main']} main scores, but {first['rows']} rows, and the page says {first['said']}")
    right = set(filtered["models"]) == {seen["model"]} and all(
        name.split(" ")[0] == seen["benchmark"] for name in filtered["benchmarks"]
    )
    if (
        not right
        or len(filtered["models"]) != seen["wanted"]
        or not filtered["said"].startswith(f"{seen['wanted']} of")
    ):
        found.append(f"filter keeps {len(filtered['models'])} of {seen['wanted']} scores and says {filtered['said']}")
    if not all("py" in name and "0.50" in name for name in seen["words"]):
        found.append(f"words keep {seen['words'][:3]}")
    numbers = seen["sorted"]["numbers"]
    values = [number for number in numbers if number is not None]  # scores that were not run come last
    missing = [None] * (len(numbers) - len(values))
    if seen["sorted"]["order"] != "descending" or numbers != [*sorted(values, reverse=True), *missing]:
        found.append(f"sorted {seen['sorted']['order']}: {values[:5]}")
    followed = seen["followed"]
    if set(followed["models"]) != {seen["model"]} or not all("-0.50-" in id for id in followed["submodels"]):
        found.append(f"a link into the list shows {followed['said']}")
    return found


@pytest.fixture(scope="module")
def report() -> Path:
    directory, paths = analysis_fixture.built_study()
    return Path(directory.name) / paths["report"]


def test_nothing_is_wrong_with_a_report(report):
    assert findings(report) == []


def test_findings_name_what_is_wrong(report):
    text = report.read_text(encoding="utf-8")
    broken = report.with_name("broken.html")
    text = text.replace("sparsity-tiny-llama.svg", "absent.svg", 1).replace("claims.csv", "absent.csv", 1)
    broken.write_text(text.replace("max-width: 74rem", "width: 3000px"), encoding="utf-8")
    found = "\n".join(findings(broken))
    broken.unlink()
    assert "1280 px: image does not load: figures/absent.svg" in found
    assert "500 px: link leads nowhere: ../tables/absent.csv" in found
    assert "wider than the window" in found


def test_every_score_and_figure_of_the_grid_is_there(report):
    seen = look(report, WIDE)
    total = len(analysis_fixture.MODELS) * (1 + len(analysis_fixture.submodel_entries()))
    assert seen["rows"] == total * (len(analysis_fixture.BENCHMARKS) + 1 + 2 * 2)  # tiny_text has two, source_* three
    assert seen["images"] == 12
    assert not seen["stolen"]


def test_numbers_are_written_as_in_the_tables(report):
    """The page's script and the tables to read round alike, also what is exactly between two numbers."""
    scores = TABLES["scores"].to_read(read_table(report.parents[1] / "tables/scores.csv"))
    assert look(report, WIDE)["written"] == scores[["submodel", "metric", "value", "interval"]].values.tolist()


@pytest.fixture(scope="module")
def paper() -> Path:
    directory, page = scale_fixture.built_page()
    return Path(directory.name) / page


@pytest.mark.slow
def test_nothing_is_wrong_with_the_report_of_the_whole_paper(paper):
    assert findings(paper) == []


@pytest.mark.slow
def test_the_whole_paper_is_on_one_page_that_opens_at_once(paper):
    """Every score is listed, no table of them stands in the page, and few rows are made before somebody asks."""
    seen = look(paper, WIDE)
    assert seen["main"] == (4 * 16 * 3 * 5 + 4) * len(scale_fixture.N_ITEMS)
    assert seen["first"]["rows"] == 100
    assert seen["images"] == 4 * 6
    assert paper.stat().st_size < 5_000_000
