"""The fields under the exercises (tools/exercise_answers.py, _vendor/book/answers.js) say what the notebooks say."""

import math
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from answers import NUMBERS
from docutils import nodes
from sphinx_exercise.nodes import exercise_node

from ddref.exercises import entries, verdict
from tools import notebooks, pages_check

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import exercise_answers  # noqa: E402  (Sphinx loads it under this name, too)

SCRIPT = notebooks.ROOT / "_vendor" / "book" / "answers.js"
PAGE = """<!DOCTYPE html><html><meta charset="utf-8"><script defer src="answers.js"></script><body>
<section><h2>Exercises</h2>{forms}</section></body></html>"""

READ = {  # what a reader may write, in Python as well or not: the numbers
    "λ = 10": [10],
    "lam_S=2.5": [2.5],
    "x = -1.5, y = -6.5": [-1.5, -6.5],
    "0.1 and 0.3": [0.1, 0.3],
    "(0.1; 0.3)": [0.1, 0.3],
    "(0.1,)": [0.1],
    "255^2*0.02": [1300.5],
    "255² · 0.02": [1300.5],
    "10⁻⁶": [1e-6],
    "−2^2 + 2^-1": [-3.5],
    "2^3^2": [512],
    "0.2 %": [0.002],
    "2√2": [2 * math.sqrt(2)],
    "3 / math.sqrt(2)": [3 / math.sqrt(2)],
    "½": [0.5],
    "2 pi": [2 * math.pi],
    "1 - 2 - 3 * 4 / 6": [-3],
    "[[1, 2], (3, [4])]": [1, 2, 3, 4],
    ".5e1": [5],
}
NOT_READ = ["", "  ", "two", "1 2", "(1, 2", "1, 2)", "1 +", "(1, 2) + 1", "sqrt(1, 2)", "1..2", "2 ** ", "λ =", "alert(1)", "1;;2", "(" * 9999]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page, read from the disk, with the forms of all exercises."""
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium")
    folder = tmp_path_factory.mktemp("html").resolve()
    shutil.copy(SCRIPT, folder)
    forms = "".join(exercise_answers.form_of(*item) for item in entries().items())
    (folder / "page.html").write_text(PAGE.format(forms=forms), encoding="utf-8")
    with pages_check.opened_browser() as browser:
        page, complaints = pages_check.open_window(browser, (400, 800), folder)
        page.goto((folder / "page.html").as_uri())
        yield page
        assert complaints == []


def said(page, label, answer):
    """What stands under an exercise, and whether it is right, after an answer was typed or a line chosen."""
    return page.evaluate(
        """([label, answer]) => {
            const form = document.querySelector(`[data-exercise="${label}"]`);
            const line = [...form.querySelectorAll("[type=radio]")].find(one => one.value === answer);
            line ? line.checked = true : form.querySelector("[type=text]").value = answer;
            form.requestSubmit();
            return [form.matches(".right"), form.querySelector("output").textContent];
        }""",
        [label, answer],
    )


@pytest.mark.slow  # a browser
def test_the_page_says_to_every_answer_what_the_notebook_says(page):
    for label, (right, wrong) in NUMBERS.items():
        known = [", ".join(map(repr, one["value"])) for one in entries()[label]["wrong"]]
        for text in right + wrong + known:
            ours = verdict(label, eval(text, {"sqrt": math.sqrt}))
            tick = "✓ " if ours.right else ""
            assert said(page, label, text) == [ours.right, tick + ours.said], f"{label}: {text}"


@pytest.mark.slow  # a browser
def test_one_line_of_four_is_right_and_the_others_are_told_why_not(page):
    for label, entry in entries().items():
        for choice in entry.get("choices", []):
            right = "right" in choice
            wanted = f"✓ Correct. {entry.get('why', '')}".strip() if right else choice["say"]
            assert said(page, label, choice["code"]) == [right, wanted], label


@pytest.mark.slow  # a browser
def test_numbers_are_read_as_they_are_written_and_nothing_else_is(page):
    found = page.evaluate("texts => texts.map(text => ddrefAnswers.read(text))", list(READ))
    assert found == [pytest.approx(numbers, rel=1e-15) for numbers in READ.values()]
    told = page.evaluate("texts => texts.map(text => ddrefAnswers.verdict({value: [1], wrong: []}, text))", NOT_READ)
    assert not any(right for right, _ in told)
    assert all("Write numbers, such as" in text for _, text in told)


@pytest.mark.slow  # a browser
def test_answers_by_keyboard_are_counted_kept_and_forgotten(page):
    page.evaluate("localStorage.clear()")
    page.reload()
    total = len(entries())
    count = page.locator("[role=status]")
    assert count.inner_text() == f"0 of {total} exercises answered"
    page.locator("#ex-ridge-hand-answer").focus()
    page.keyboard.type("λ = 10")
    page.keyboard.press("Enter")
    code = page.locator("[data-exercise=ex-ridge-augment]")
    code.locator("summary").focus()
    page.keyboard.press("Enter")
    assert code.locator("fieldset").is_visible()
    code.locator("button").click()
    assert code.locator("output").inner_text() == "Choose a line first."
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.value") in [one["code"] for one in entries()["ex-ridge-augment"]["choices"]]
    right = next(one["code"] for one in entries()["ex-ridge-augment"]["choices"] if "right" in one)
    assert said(page, "ex-ridge-augment", right)[0]
    assert said(page, "ex-ridge-half", "0.1")[1] == "The factor compares λ with s², not with s."
    assert count.inner_text() == f"2 of {total} exercises answered"
    page.reload()
    assert count.inner_text() == f"2 of {total} exercises answered"
    assert page.locator("#ex-ridge-hand-answer").input_value() == "λ = 10"
    assert page.locator("#ex-ridge-hand-said").inner_text() == "✓ Correct."
    page.locator("#ex-ridge-hand-answer").fill("λ = 1")  # what was said belonged to the old answer
    assert page.locator("#ex-ridge-hand-said").inner_text() == ""
    page.get_by_role("button", name="forget my answers").click()
    page.reload()
    assert count.inner_text() == f"0 of {total} exercises answered"
    assert page.locator("#ex-ridge-hand-answer").input_value() == ""


@pytest.mark.slow  # a browser
def test_a_browser_that_keeps_nothing_marks_all_the_same_and_one_without_scripts_shows_no_field(page):
    url, context = page.url, page.context.browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(url)
    assert bare.locator("form").count() == len(entries()) and not bare.locator("form:visible").count()
    context.close()
    context = page.context.browser.new_context()
    private = context.new_page()
    private.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})")
    private.goto(url)
    assert said(private, "ex-ridge-hand", "10") == [True, "✓ Correct."]
    context.close()


# -- the extension


def test_every_exercise_gets_its_form_and_one_that_is_not_known_a_warning(monkeypatch):
    warned = []
    logger = SimpleNamespace(warning=lambda message, location: warned.append(message))
    monkeypatch.setattr(exercise_answers.logging, "getLogger", lambda name: logger)
    known, unknown = exercise_node(label="ex-ridge-hand"), exercise_node(label="ex-no")
    exercise_answers.add_forms(None, nodes.section("", known, unknown))
    assert [node["label"] for node in known.findall(exercise_answers.exercise_answer)] == ["ex-ridge-hand"]
    assert not unknown.children and warned == ["ddref/data/exercises.json has no entry for ex-no"]


def test_a_form_is_hidden_and_has_a_name_for_every_field():
    for label, entry in entries().items():
        form = exercise_answers.form_of(label, entry)
        assert re.match(rf'<form class="exercise-answer" data-exercise="{label}" data-entry="[^"]+" hidden>', form)
        assert form.count("<input") == form.count("<label") == len(entry.get("choices", [0]))
        assert form.count('aria-live="polite"') == 1


@pytest.mark.parametrize("body, loaded", [('<form class="exercise-answer" hidden>', 2), ("<p>exercise-answer</p>", 0)])
def test_only_a_page_with_a_form_loads_the_script_and_its_style(body, loaded):
    files = []
    app = SimpleNamespace(
        builder=SimpleNamespace(format="html"),
        add_js_file=lambda name, loading_method: files.append(name),
        add_css_file=files.append,
    )
    exercise_answers.add_script(app, "page", "page.html", {"body": body}, None)
    assert len(files) == loaded
    assert all((SCRIPT.parent / name.rpartition("/")[2]).exists() for name in files)
