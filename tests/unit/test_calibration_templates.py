import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodels.calibration.registry import load_calibration_sets
from submodels.calibration.templates import Incomplete, Template
from submodels.errors import SubmodelsError


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("Q: {q}\nA: {a}", {"q": "1+1?", "a": 2}, "Q: 1+1?\nA: 2"),
        ("{t[en]} = {t[fr]}", {"t": {"en": "cat", "fr": "chat"}}, "cat = chat"),
        ("{{{x}}}", {"x": "y"}, "{y}"),
        ("{x}{x}", {"x": "{x}"}, "{x}{x}"),
        ("{c:lettered}", {"c": {"text": ["u", "v"], "label": ["A", "B"]}}, "A: u, B: v"),
        ("{c:lettered}", {"c": [{"label": "1", "text": "u"}, {"label": "2", "text": "v"}]}, "1: u, 2: v"),
        ("{c:lettered}", {"c": ["u", "v"]}, "A: u, B: v"),
        ("{q[c]:numbered}", {"q": {"c": ["u", "v"]}}, "1: u 2: v"),
        ("{a}{b}", {"a": "", "b": "x"}, "x"),
    ],
)
def test_render(template, row, text):
    assert Template(template).render(row, "here") == text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"q": "x"}, r"f.jsonl, row 3: no field 'a\[b\]'; fields that exist: q$"),
        ({"q": "x", "a": {"c": 1}}, r"f.jsonl, row 3: no field 'a\[b\]'; fields that exist: c$"),
        ({"q": "x", "a": {"b": None}}, r"f.jsonl, row 3: field 'a\[b\]' is null"),
        ({"q": " ", "a": {"b": "\n"}}, "f.jsonl, row 3: the text is empty"),
        ("text", r"f.jsonl, row 3: no field 'q'; 'text' has no fields"),
    ],
)
def test_incomplete_rows(row, message):
    with pytest.raises(Incomplete, match=message):
        Template("{q} {a[b]}").render(row, "f.jsonl, row 3")


def test_lists_need_a_renderer():
    with pytest.raises(SubmodelsError, match="field 'c' is a list, not text; renderers: lettered, numbered"):
        Template("{c}").render({"c": ["u"]}, "here")
    with pytest.raises(SubmodelsError, match="field 'c': not a list of options, so 'numbered' cannot write it"):
        Template("{c:numbered}").render({"c": "u"}, "here")


@pytest.mark.parametrize("template", ["{x", "x}", "{}", "{x.y}", "{x!r}", "{x:>3}", "{x[}", "plain", ""])
def test_bad_templates(template):
    with pytest.raises(SubmodelsError, match="template"):
        Template(template)


@given(st.text(), st.text(min_size=1).filter(str.strip), st.text())
def test_literal_text_survives(before, value, after):
    def double(text):
        return text.replace("{", "{{").replace("}", "}}")

    assert Template(double(before) + "{x}" + double(after)).render({"x": value}, "here") == before + value + after


def test_the_papers_prompts():
    sets = load_calibration_sets()

    def text(name, row):
        return Template(sets[name].template).render(row, name)

    choices = {"label": ["A", "B"], "text": ["sun", "moon"]}
    assert text("ob_qa", {"question_stem": "What shines?", "choices": choices}) == (
        "[INST]\nWhich option completes this? What shines?#Choices: A: sun, B: moon\n[/INST]\n"
    )
    assert text("hellaswag", {"ctx": "He runs", "endings": ["on", "up"]}).endswith(
        "He runs###Options: 1: on 2: up\n[/INST]n"
    )
    assert text("wmt14", {"translation": {"en": "cat", "fr": "chat"}}) == "#Text: cat #Translation: chat"
    assert text("math_qa", {"original_question": "1+1", "response": "2"}) == "1+1\n2"
