"""The documentation is in step with the code: what is generated, where links lead, and which names there are."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

from submodels import cli, reference
from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.registry import benchmark_names
from submodels.calibration.registry import load_calibration_sets
from submodels.config import load_models
from submodels.prompts import FORMATS
from submodels.pruning.methods import METHODS
from submodels.terms import CONTROL, DOMAINS, GENERIC

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "results/README.md"])
]
LARGEST_README = 9000  # bytes
LONGEST_LINE = 120  # characters, as in the code
LANGUAGES = ("python", "java", "cpp", "javascript")


@cache
def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def without_code(text):
    """The text without its code blocks and code spans."""
    text = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", text)
    text = re.sub(r"(?m)^ {4}(?! *[-*\d]).*$", "", text)
    return re.sub(r"`[^`\n]+`", "", text)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    found, text = [], re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", read(page))
    for heading in re.findall(r"(?m)^#+ +(.+?) *$", text):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(anchor if anchor not in found else f"{anchor}-{found.count(anchor)}")
    return found


def section(page, heading):
    """The text below a heading, up to the next of its level or above."""
    level, text = heading.split()[0], read(page)
    assert f"\n{heading}\n" in text, f"{page} has no heading '{heading}'"
    return re.split(rf"(?m)^#{{1,{len(level)}}} ", text.split(f"\n{heading}\n")[1])[0]


def names_in(text):
    """Names in code spans, `<language>` filled in."""
    found = set()
    for name in re.findall(r"`([\w.<>-]+)`", text):
        parts = name.split("<language>")
        if len(parts) == 3:
            found |= {f"{parts[0]}{a}{parts[1]}{b}{parts[2]}" for a in LANGUAGES for b in LANGUAGES if a != b}
        elif len(parts) == 2:
            found |= {language.join(parts) for language in LANGUAGES} & set(benchmark_names())
        else:
            found.add(name)
    return found


def test_the_keys_of_a_grid_are_those_of_the_configuration():
    page = read("docs/grid.md")
    current = reference.replace_generated(page, reference.grid_keys(reference.grid_schema()))
    assert page == current, "run: python -m submodels.reference docs/grid.md"


def test_every_key_of_a_grid_says_what_it_means():
    schema = reference.grid_schema()
    for name, kind in [("the grid", schema), *schema["$defs"].items()]:
        for key, entry in kind["properties"].items():
            meaning = entry.get("description", "")
            assert meaning, f"{name}: {key} has no description"
            assert not meaning.endswith("."), (
                f"{name}: the description of {key} is a sentence's beginning, without a stop"
            )


def test_a_page_without_the_marks_is_refused():
    with pytest.raises(Exception, match="needs each of these lines once"):
        reference.replace_generated("# A page\n", "")


def test_the_readme_is_short():
    size = (ROOT / "README.md").stat().st_size
    assert size <= LARGEST_README, f"README.md has {size} bytes; move what is more than {LARGEST_README} to docs/"


def test_the_readme_names_every_page():
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", read("README.md"))}
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")} <= linked


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(<?([^)\s>]+)>?\)", without_code(read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target} leads to no file"
        if anchor:
            assert file.suffix == ".md", f"{page}: {target} has an anchor into a file that is no page"
            there = file.resolve().relative_to(ROOT).as_posix()
            assert anchor in anchors(there), f"{page}: {there} has no heading '#{anchor}'"


@pytest.mark.parametrize("page", PAGES)
def test_every_subcommand_exists(page):
    known = set(typer.main.get_command(cli.app).commands)
    for name in re.findall(r"(?m)(?:^ *|`|\. |python -m )submodels ([a-z][a-z-]*)", read(page)):
        assert name in known, f"{page}: there is no `submodels {name}`"


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_a_subcommand_exists(page):
    commands = typer.main.get_command(cli.app).commands
    for name, arguments in re.findall(r"(?m)(?:^ *|`)submodels ([a-z][a-z-]*)((?:\\\n|[^`\n#|])*)", read(page)):
        known = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", arguments):
            assert option in known, f"{page}: `submodels {name}` has no option {option}"


@pytest.mark.parametrize("page", PAGES)
def test_no_table_cell_is_longer_than_a_sentence(page):
    for row in re.findall(r"(?m)^\|.*\|$", read(page)):
        for cell in re.split(r"(?<!\\)\|", row)[1:-1]:
            assert not re.search(r"[.!?] +[A-Z]", cell), f"{page}: a table cell of more than a sentence: {cell.strip()}"


@pytest.mark.parametrize("page", PAGES)
def test_no_line_is_too_long(page):
    """Tables and fenced blocks, which may hold rows of data, are not wrapped."""
    text = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", read(page))
    for line in text.splitlines():
        assert line.startswith("|") or len(line) <= LONGEST_LINE, f"{page}: a line of {len(line)} characters: {line}"


def test_benchmarks():
    table = section("docs/grid.md", "## Benchmarks").split("### Samples")[0]
    names = names_in(table.replace("`<language>` is", "")) - set(LANGUAGES)
    assert names & set(benchmark_names()) == set(benchmark_names()), "docs/grid.md lists every benchmark"
    assert not {name for name in names if name not in benchmark_names()} - {
        "fetch_benchmark", "_paper", "humanevalx_", "multiple_", "multiple_python",
    }  # fmt: skip


def test_methods():
    rows = section("docs/grid.md", "## Methods").splitlines()
    assert {match[1] for row in rows if (match := re.match(r"\| `(\w+)` \|", row))} == set(METHODS)


def test_prompt_formats():
    assert set(re.findall(r"(?m)^- `(\w+)`:", section("docs/grid.md", "## Prompt formats"))) == set(FORMATS)


def test_calibration_sets():
    listed = section("docs/grid.md", "## Calibration sets").split("\n- ", 1)[1].split("\n###")[0]
    assert set(re.findall(r"`([\w-]+)`", listed)) == set(load_calibration_sets())


def test_domains_of_calibration_sets():
    named = re.search(r"(?m)^#   domain +(.+)$", read("resources/calibration_sets.yaml"))[1]
    assert re.split(r", | or ", named) == [*DOMAINS, GENERIC, CONTROL]


def test_grids_that_ship():
    rows = section("docs/grid.md", "## Grids that ship").splitlines()
    listed = {match[1] for row in rows if (match := re.match(r"\| `(\w+)` \|", row))}
    assert listed == {path.stem for path in ROOT.glob("resources/grids/*.yaml")}


def test_scorers():
    named = re.findall(
        r"`(\w+)`", section("docs/extending.md", "## A benchmark").split("names the metrics:")[1].split("These")[0]
    )
    assert set(named) == set(SCORERS)
    assert set(SCORERS) <= names_in(section("docs/formats.md", "## Items")) | {"pass_at_k"}


def test_the_grid_of_the_readme_is_valid(tmp_path, monkeypatch):
    """The grids on two pages, as somebody would copy them."""
    import yaml

    from submodels.config import check_grid

    for page in ("README.md", "docs/grid.md"):
        block = re.search(r"(?m)(?:^    .*\n)*^    name: mine\n(?:^    .*\n)+", read(page))[0]
        check_grid(yaml.safe_load(block), page)
    assert "my-model" not in load_models()
