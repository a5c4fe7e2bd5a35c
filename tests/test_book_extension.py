"""Listings show functions whole, as they stand in the file (tools/listings.py, tools/book_extension.py)."""

import collections
import re
import sys
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document

from ddref import copying
from tools import notebooks

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import book_extension  # noqa: E402  (Sphinx loads it under this name, too)
import listings  # noqa: E402

FILES = {
    "__init__.py": '__version__ = "1.0"\n',
    "plain.py": '''\
"""A file."""

# Why it is this one.
def half(
    x,  # a number
):
    """Half of `x`.

    >>> half(4)
    2
    """

    # the equation
    return x / 2


def _helper(x):
    return x  # kept
''',
    "maps/__init__.py": """\
from importlib import import_module

__all__ = ["Linear", "train"]


def __getattr__(name):
    return getattr(import_module(f".{name.lower()}", __name__), name)
""",
    "maps/linear.py": '''\
from .train import train


class Linear:
    """A map."""

    def __init__(self, A: "Array", *, rtol: float = 1.0):
        """Keep it."""
        self.A = A

    def grow(self, by: int) -> Linear:
        return self

    @property
    def size(self):
        """Its size."""
        return train(self.A)
''',
    "maps/train.py": "def train(A):\n    return A\n",
}


def clear():
    for remembered in (copying.read, copying.files_in, copying.texts_in):
        remembered.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / "ddref" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(copying, "PACKAGE", tmp_path / "ddref")
    clear()
    yield
    clear()


def test_a_function_is_shown_whole_but_for_its_docstring(package):
    text, name, file = listings.listed("ddref.plain.half")
    assert text == "def half(\n    x,  # a number\n):\n    # the equation\n    return x / 2"
    assert (name, file) == ("ddref.plain.half", "ddref/plain.py")


def test_a_private_helper_and_a_method_are_shown_too(package):
    assert listings.listed("ddref.plain._helper")[0] == "def _helper(x):\n    return x  # kept"
    text, name, file = listings.listed("ddref.maps.linear.Linear.size")
    assert text == "@property\ndef size(self):\n    return train(self.A)"
    assert file == "ddref/maps/linear.py"


def test_a_class_loses_every_docstring_in_it(package):
    assert '"""' not in listings.listed("ddref.maps.linear.Linear")[0]


@pytest.mark.parametrize("name", ["ddref.maps.Linear.size", "maps.Linear.size"])
def test_names_that_a_folder_hands_on_are_found_in_its_files(package, name):
    assert listings.listed(name)[1] == "ddref.maps.linear.Linear.size"


def test_in_a_folder_a_name_is_the_function_rather_than_its_file(package):
    assert listings.listed("ddref.maps.train")[1] == "ddref.maps.train.train"
    assert listings.listed("ddref.maps.train.train")[1] == "ddref.maps.train.train"


@pytest.mark.parametrize(
    "name", ["ddref.plain", "ddref.plain.no", "ddref.no.half", "ddref.maps.Linear.no", "ddref.plain.half.x"]
)
def test_a_wrong_name_is_refused(package, name):
    with pytest.raises(LookupError):
        listings.listed(name)


def test_the_reference_may_have_it_by_its_file_or_by_its_folder(package):
    assert book_extension.other_names("ddref.maps.Linear.size") == [
        "ddref.maps.linear.Linear.size",
        "ddref.maps.Linear.size",
        "ddref.Linear.size",
    ]


def test_the_copy_of_a_method_is_that_of_its_class(package):
    name, text = book_extension.one_file("ddref.maps.Linear.size")
    assert name == "maps.linear.Linear"
    assert "class Linear:" in text and "def train(A):" in text and "import_module" not in text


def test_a_name_with_an_underscore_anywhere_is_not_public():
    assert book_extension.is_public("ddref.krr.path")
    assert not book_extension.is_public("ddref.krr._helper")
    assert not book_extension.is_public("ddref.maps.Linear.__call__")


def test_signatures_are_those_of_the_files(package):
    assert book_extension.signature_of("ddref.plain.half") == ("(x)", None)
    assert book_extension.signature_of("ddref.maps.Linear") == ("(A: 'Array', *, rtol: float=1.0)", None)
    assert book_extension.signature_of("ddref.maps.Linear.grow") == ("(by: int)", "Linear")
    assert book_extension.signature_of("ddref.plain.no") is None


TOC = {
    "root": "chapters/index",
    "parts": [
        {"chapters": [{"file": "chapters/notation"}]},
        {"caption": "I A & B", "numbered": 2, "chapters": [{"file": "chapters/01_a"}]},
        {"caption": "II C", "numbered": 2, "chapters": [{"file": "chapters/02_b"}, {"file": "chapters/04_d"}]},
    ],
}
TITLES = {"chapters/01_a": "One", "chapters/02_b": 'The "two"', "chapters/04_d": "Three"}


def test_the_map_has_every_chapter_once_in_its_part_and_says_where_one_is():
    text = book_extension.map_of(TOC, "chapters/02_b", TITLES)
    assert re.findall('href="(.*?)" title="(.*?)"( aria-current="page")?', text) == [
        ("01_a.html", "1 One", ""),
        ("02_b.html", "2 The &quot;two&quot;", ' aria-current="page"'),
        ("04_d.html", "3 Three", ""),
    ]
    assert re.findall('class="part">(.*?)<', text) == ["I A &amp; B", "II C"]


def test_pages_that_are_no_chapters_have_no_map():
    assert book_extension.map_of(TOC, "chapters/index", TITLES) == ""
    assert book_extension.map_of(TOC, "chapters/notation", TITLES) == ""


def test_the_map_of_the_book_is_small():
    toc = yaml.safe_load((notebooks.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    titles = collections.defaultdict(lambda: "A title of some thirty letters")
    assert 500 < len(book_extension.map_of(toc, "chapters/01_ridge", titles)) < 3000


SCRIPT = '<script{} src="../_static/{}.js?digest=5"></script>'
SIZE = '<meta name="viewport" content="width=device-width">'


def test_pages_and_folder_lose_what_no_page_needs(tmp_path):
    script = tmp_path / "_static" / "scripts" / "fontawesome.js"
    script.parent.mkdir(parents=True)
    script.touch()
    search = [SCRIPT.format("", name) for name in ("searchtools", "language_data", "searchindex")]
    icons, own = SCRIPT.format(" defer", "scripts/fontawesome"), SCRIPT.format("", "tables")
    for name in ("page", "search"):
        text = "".join([SIZE, own, SIZE, "<title>", *search, icons, SIZE, "x"])
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"))
    book_extension.lighter(app, None)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == SIZE + own + "<title>x"
    assert (tmp_path / "search.html").read_text(encoding="utf-8") == SIZE + own + "<title>" + "".join(search) + "x"
    assert not script.exists()


def test_the_title_of_the_menu_is_a_landmark_and_header_cells_head_something():
    text = '<div class="sidebar-primary-item">\n<a class="navbar-brand logo"></a></div><div class="sidebar-primary-item">'
    table = '<tr><th class="head"><p></p></th>\n<th></th><th class="head"><p>n</p></th></tr>'
    logo, cells = book_extension.accessible(text), book_extension.accessible(table)
    assert logo.count('role="navigation" aria-label="Home"') == 1 and logo.index("role=") < logo.index("logo")
    assert cells == '<tr><td></td>\n<td></td><th class="head"><p>n</p></th></tr>'
    assert book_extension.accessible(cells + "<p>th</p>") == cells + "<p>th</p>"


def test_parameters_line_by_line_are_no_definitions_and_references_are_items_of_their_list():
    lines = ['<dd><em class="sig-param">a</em>,</dd>\n', '<dd><em class="sig-param">b</em>,</dd>\n']
    own = "<dl>\n<dt>term</dt>\n<dd>words</dd>\n</dl>"
    found = book_extension.accessible(f"<dl>\n{''.join(lines)}</dl>{own}")
    assert found == f'<div class="sig-lines">\n{"".join(lines).replace("dd>", "div>")}</div>{own}'
    assert book_extension.accessible('<div class="citation" role="doc-biblioentry">') == '<div class="citation" role="listitem">'


def test_the_folded_code_of_a_picture_stands_below_it_and_other_code_stays():
    def cell(tag, *outputs):
        return nodes.container("", nodes.literal_block(text="code"), *outputs, classes=["cell", tag])

    picture, printed = nodes.container("", nodes.image(uri="x.png")), nodes.paragraph(text="printed")
    document = new_document("page")
    document += [cell("tag_hide-input", picture), cell("tag_hide-input", printed), cell("tag_hide-cell", picture.deepcopy())]
    document += [cell("tag_hide-input"), cell("cell_shown", picture.deepcopy())]
    book_extension.pictures_first(None, document, "page")
    firsts = [cell.children[0].tagname for cell in document.children]
    assert firsts == ["container", "literal_block", "literal_block", "literal_block", "literal_block"]
    assert document.children[0].children[1].astext() == "code"


def test_a_formula_stays_on_a_line_with_the_marks_around_it():
    document = new_document("page")
    paragraph = nodes.paragraph("", "", nodes.Text("Let ("), nodes.math("", "a"), nodes.Text("), "), nodes.math("", "b"))
    paragraph += [nodes.Text(" and "), nodes.math("", "c"), nodes.emphasis("", "", nodes.math("", "d"), nodes.Text("."))]
    document += paragraph
    text = document.astext()
    book_extension.with_their_stops(None, document, "page")
    assert document.astext() == text
    assert [kept.astext() for kept in document.findall(nodes.inline)] == ["(a),", "d."]
