"""What the chapters show besides text (ddref/book.py)."""

import io
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ddref import book
from tools import notebooks, pages_check

ROWS = [
    ("a <b>", 60000, 0.25, "3e-16"),
    ("c & d", np.int64(12), np.float64(1 / 3), None),
]
HEADER = ["name", "images", "share", "error"]


class Cells(HTMLParser):
    """The cells of an HTML table, as (tag, attributes, text)."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("th", "td"):
            self.found.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.found[-1][2] += data


def test_html_has_a_header_cell_a_column_and_the_texts_as_they_are():
    cells = Cells(book.table(ROWS, HEADER)._repr_html_())
    assert cells.open == []
    assert [text for _, _, text in cells.found] == [
        "name", "images", "share", "error", "a <b>", "60,000", "0.25", "3e-16", "c & d", "12", "0.333333", "–",
    ]  # fmt: skip
    assert [(tag, attributes.get("scope")) for tag, attributes, _ in cells.found] == [
        ("th", "col")
    ] * 4 + [("td", None)] * 8


def test_columns_of_numbers_are_set_to_the_right_with_their_names():
    cells = Cells(book.table(ROWS, HEADER)._repr_html_()).found
    assert [attributes["style"] for _, attributes, _ in cells] == 3 * (
        ["text-align: left"] + ["text-align: right"] * 3
    )


@pytest.mark.parametrize(
    "cell, right",
    [("86.2 %", True), ("-0.5", True), ("−0.5", True), ("< 1e-12", True), ("1.2 s", True), ("3 / 10", True), (True, False),
     ("10 points", False), ("1e-9 to 1", False), ("", False), (None, False), ("two", False)],
)  # fmt: skip
def test_what_is_a_number(cell, right):
    assert book.table([(cell,)], ["x"])._are_right() == [right]


def test_plain_text_has_the_same_in_columns():
    lines = [
        "name   images     share  error",
        "a <b>  60,000      0.25  3e-16",
        "c & d      12  0.333333      –",
    ]
    table = book.table(ROWS, HEADER)
    assert str(table) == repr(table) == "\n".join(lines)


def test_a_table_without_rows_is_its_header():
    assert str(book.table([], ["a", "b"])) == "a  b"


def test_a_row_of_another_length_is_refused_with_its_place():
    with pytest.raises(ValueError, match="row 1 has 1 cells and the header 2 names"):
        book.table([(1, 2), (1,)], ["a", "b"])
    with pytest.raises(ValueError, match="at least one column"):
        book.table([], [])


def test_a_notebook_takes_the_html_and_the_text():
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    formatter.active_types = ["text/plain", "text/html"]
    found, _ = formatter.format(book.table(ROWS, HEADER))
    assert found["text/html"].startswith("<table") and found["text/plain"].startswith(
        "name   images"
    )


def test_neither_the_package_nor_this_file_loads_anything_for_it():
    code = "import sys, ddref; assert 'ddref.book' not in sys.modules; import ddref.book; print('numpy' in sys.modules)"
    root = Path(book.__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False", done.stderr


# -- figures with a slider


def greys(*values):
    return [np.full((4, 6), float(value)) for value in values]


def test_frames_stand_below_each_other_and_keep_black_and_white():
    Image = pytest.importorskip("PIL.Image")
    found = book.scrub(greys(0, 0.5, 1), ["a", "b", "c"], zoom=2, colours=4)
    with Image.open(io.BytesIO(found.png)) as strip:
        pixels = np.asarray(strip.convert("RGB"))
    assert pixels.shape == (24, 12, 3)
    assert np.array_equal(np.unique(pixels[:8]), [0])
    assert np.array_equal(np.unique(pixels[16:]), [255])


def test_figures_become_frames_and_are_closed():
    plt = pytest.importorskip("matplotlib.pyplot")
    figures = [plt.figure(figsize=(2, 1), dpi=50) for _ in range(2)]
    found = book.scrub(figures, ["a", "b"])
    assert found.png.startswith(b"\x89PNG") and plt.get_fignums() == []


def test_a_notebook_gets_the_picture_and_the_sentences_in_lines(monkeypatch, capsys):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append(data))
    book.scrub(greys(0, 1), ["1: <b>", "2: & more"])._ipython_display_()
    assert capsys.readouterr().out == "1: <b>\n2: & more\n"
    assert [set(data) for data in shown] == [{"image/png", "text/plain"}]


@pytest.mark.parametrize(
    "frames, said, fault",
    [
        (greys(0, 1), ["a"], "2 frames have 1 sentences"),
        (greys(0), ["a"], "1 frames have 1 sentences"),
        (greys(0, 1), ["a", "b\nc"], "one line"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], ["a", "b"], "different sizes"),
    ],
)
def test_frames_that_make_no_figure_are_refused(frames, said, fault):
    with pytest.raises(ValueError, match=fault):
        book.scrub(frames, said)


@pytest.mark.slow  # a browser
def test_the_slider_shows_a_frame_and_its_sentence_at_a_time(tmp_path):
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium; it is needed to run the script")
    said = ["one: black", "two: grey", "three: λ_S"]
    lines = "\n".join(said)
    figure = book.scrub(greys(0, 0.5, 1), said)
    (tmp_path / "strip.png").write_bytes(figure.png)
    vendor = (notebooks.ROOT / "_vendor" / "book").as_uri()
    (tmp_path / "page.html").write_text(
        f'<!DOCTYPE html><link rel="stylesheet" href="{vendor}/scrub.css"><script defer src="{vendor}/scrub.js"></script>'
        '<main class="bd-article"><div class="cell tag_scrub"><div class="cell_output"><img src="strip.png" alt="x">'
        f'<div class="output stream"><div class="highlight"><pre>{lines}</pre></div></div></div></div>'
    )
    state = """() => [document.querySelector(".scrub-said").textContent,
      document.querySelector("input").getAttribute("aria-valuetext"),
      Math.round(-new DOMMatrix(getComputedStyle(document.querySelector("img")).transform).f
                 / document.querySelector(".scrub-view").getBoundingClientRect().height * 100) / 100]"""
    with pages_check.opened_browser() as browser:
        window = browser.new_page(viewport={"width": 400, "height": 700})
        window.goto((tmp_path / "page.html").as_uri(), wait_until="load")
        assert window.evaluate(state) == ["one: black", "one: black", 0]
        window.locator("input").focus()
        window.keyboard.press("ArrowRight")
        assert window.evaluate(state) == ["two: grey", "two: grey", 1]
        window.keyboard.press("End")
        assert window.evaluate(state) == ["three: λS", "three: λ_S", 2]
        window.keyboard.press("Home")
        assert window.evaluate(state) == ["one: black", "one: black", 0]
        assert not window.locator("pre").is_visible()
        window.emulate_media(media="print")
        assert (
            window.locator("pre").is_visible()
            and not window.locator("input").is_visible()
        )
        sizes = window.evaluate(
            "['img', '.scrub-view'].map(name => document.querySelector(name).offsetHeight)"
        )
        assert sizes[0] == sizes[1]  # all frames
        for _ in range(2):  # a browser says so before it prints, and may twice
            window.evaluate("dispatchEvent(new Event('beforeprint'))")
        on_paper = window.locator(".scrub-paper > div")
        assert on_paper.all_inner_texts() == [*said[:2], "three: λS"] and not window.locator("pre").is_visible()
        assert [frame.locator("img").is_visible() for frame in on_paper.all()] == [True] * 3
        assert not window.locator(".scrub-view").is_visible()
        window.evaluate("dispatchEvent(new Event('afterprint'))")
        assert on_paper.count() == 0
