"""What the chapters show besides text (ddref/book.py)."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ddref import book

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
