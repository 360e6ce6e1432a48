"""The report in a real browser, from disk: no error, no request but its own files, every image there, filter works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import analysis_fixture

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
  const filter = document.getElementById("filter");
  const all = document.getElementById("shown").textContent;
  filter.elements.words.value = "wanda python 0.50";
  filter.elements.benchmark.value = "tiny_java";
  filter.dispatchEvent(new Event("input"));
  const seen = {
    images: images.length,
    broken: images.filter((image) => image.naturalWidth === 0).map((image) => image.src),
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    stolen: window.stolen === 1,
    all: all,
    filtered: document.getElementById("shown").textContent,
    visible: Array.from(document.querySelectorAll("#scores tbody tr")).filter((row) => !row.hidden).length,
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


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        message = "no chromium on PATH; install it (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def report() -> Path:
    directory, paths = analysis_fixture.built_study()
    return Path(directory.name) / paths["report"]


def browse(chromium: str, page: Path, profile: Path, width: int = 1280) -> tuple[str, str, list[str]]:
    """The page's final HTML, the console lines and every address the browser asked for on its behalf."""
    log = profile / "net.json"
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},2000", "--enable-logging=stderr"]
    command += [f"--log-net-log={log}", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    console = "\n".join(line for line in run.stderr.splitlines() if "CONSOLE" in line)
    asked = [
        event["params"]["url"]
        for event in json.loads(log.read_text(encoding="utf-8"))["events"]
        if "url" in event.get("params", {})
    ]
    return run.stdout, console, asked


def test_page_opens_without_an_error_or_a_request(chromium, report, tmp_path):
    dom, console, asked = browse(chromium, report, tmp_path)
    assert "The paper’s claims" in dom
    assert console == ""
    # A blank profile makes the browser itself ask its maker for updates; the page must have no part in it.
    assert [url for url in asked if not url.startswith(("file:", "data:", "chrome")) and "google" not in url] == []


@pytest.mark.parametrize("width", [1280, 500])
def test_images_filter_and_width(chromium, report, tmp_path, width):
    text = report.read_text(encoding="utf-8")
    start = text.index('<meta http-equiv="Content-Security-Policy"')
    without_policy = text[:start] + LISTEN + text[text.index(">", start) + 1 :]
    probed = report.with_name(f"probed-{width}.html")
    probed.write_text(without_policy.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    dom, _, _ = browse(chromium, probed, tmp_path, width)
    probed.unlink()
    seen = json.loads(dom.rsplit('id="probe">', 1)[1].split("</script>", 1)[0])
    assert seen["errors"] == []
    assert seen["images"] == 10
    assert seen["broken"] == []
    assert not seen["stolen"]
    assert all(address.startswith("file:") for address in seen["requests"])
    rows = analysis_fixture.MODELS, ["dense", *analysis_fixture.submodel_entries()], analysis_fixture.BENCHMARKS
    total = len(rows[0]) * len(rows[1]) * len(rows[2])
    assert seen["all"] == f"{total} of {total} rows"
    assert seen["filtered"] == f"{seen['visible']} of {total} rows"
    assert seen["visible"] == 4  # two base models x two seeds
    assert seen["overflow"] <= 0
