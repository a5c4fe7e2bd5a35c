"""The whole book as one PDF (tools/print_book.py)."""

import io
import shutil
from contextlib import redirect_stdout

import pytest
import yaml
from pypdf import PdfReader

from tools import pages_check, print_book

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title} — The book</title></head>
<body><article><h1>{title}</h1>{body}</article></body></html>"""
LONG = "<p>A line of text.</p>" * 120
CONFIG = yaml.safe_load((print_book.ROOT / "_config.yml").read_text(encoding="utf-8"))


def test_pages_stand_in_the_order_of_the_book_and_parts_begin_where_they_begin():
    toc = {"root": "a", "parts": [{"chapters": [{"file": "b"}]}, {"caption": "I", "chapters": [{"file": "c"}, {"file": "d"}]}]}
    assert print_book.contents(toc) == [("a", None), ("b", None), ("c", "I"), ("d", None)]
    assert print_book.starts_of([3, 1, 2], 2) == [3, 6, 7]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """A book of two pages, printed; and what was said."""
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium; `make pdf` needs one")
    root = tmp_path_factory.mktemp("html")
    (root / "chapters").mkdir()
    leading = '<p><a href="01_ridge.html#there">there</a> <a href="#here">here</a></p><p id="here">Here.</p>'
    pages = {"index": ("Home", leading), "01_ridge": ("1. Ridge & more", f'{LONG}<p id="there">The end.</p>')}
    for name, (title, body) in pages.items():
        (root / "chapters" / f"{name}.html").write_text(PAGE.format(title=title, body=body), encoding="utf-8")
    said = io.StringIO()
    with redirect_stdout(said):
        assert print_book.main([str(root), str(root / "out" / "book.pdf")]) == 0
    return PdfReader(root / "out" / "book.pdf"), said.getvalue()


def words(page):
    return page.extract_text().split()


@pytest.mark.slow  # a browser
def test_a_page_of_the_book_begins_a_page_and_none_is_empty(printed):
    book, said = printed
    counts = [int(line.split()[0]) for line in said.splitlines() if line.split()[1] == "pages"]
    front = len(book.pages) - sum(counts)
    assert counts[0] == 1 and counts[1] > 1 and f"{len(book.pages)} pages" in said
    assert words(book.pages[front])[0] == "Home" and words(book.pages[front + 1])[:2] == ["1.", "Ridge"]
    assert all(words(page) for page in book.pages)
    assert "The end." in book.pages[-1].extract_text()


@pytest.mark.slow  # a browser
def test_pages_are_numbered_and_the_contents_and_the_outline_lead_to_them(printed):
    book, said = printed
    front = len(book.pages) - sum(int(line.split()[0]) for line in said.splitlines() if line.split()[1] == "pages")
    for number, page in enumerate(book.pages[front:], front + 1):
        assert words(page)[-1] == str(number)
    contents = "\n".join(page.extract_text() for page in book.pages[:front])
    assert CONFIG["title"] in " ".join(contents.split())
    titles = [item for item in book.outline if not isinstance(item, list)]
    assert [item.title for item in titles] == ["Home", "1. Ridge & more"]
    assert [book.get_destination_page_number(item) for item in titles] == [front, front + 1]
    lines = contents.replace("\n", " ")
    assert f"Home {front + 1}" in lines and f"1. Ridge & more {front + 2}" in lines


@pytest.mark.slow  # a browser
def test_links_lead_to_the_web_and_within_a_page_to_the_place(printed):
    book, _ = printed
    links = [note.get_object() for page in book.pages for note in page.get("/Annots") or []]
    addresses = [link["/A"]["/URI"] for link in links if "/URI" in link.get("/A", {})]
    assert addresses == [f"{CONFIG['html']['baseurl']}chapters/01_ridge.html#there"]
    (place,) = [link for link in links if "/URI" not in link.get("/A", {})]
    assert "index-here" in str(place.get("/Dest") or place["/A"]["/D"])  # in this file, named for its page


def test_where_no_page_is_built_it_says_so(tmp_path):
    with pytest.raises(SystemExit, match="build the book first"):
        print_book.main([str(tmp_path)])
