"""The page "I want to ...", the README's table and the glossary name what exists, and words that readers type are found."""

import functools
import importlib
import re
import shlex

import pytest
from test_layout import ROOT, labels, markdown, resolve

PAGES = markdown()
FIND = PAGES["find.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WITHOUT_A_WISH = {"ddref.arrays", "ddref.npz", "ddref.book", "ddref.exercises"}  # the ground, and what pages are made with


def table(text):
    """The rows of the tables with four columns, as lists of cells."""
    lines = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [row for row in rows if len(row) == 4 and row[0] != "I want to"]


def functions(cell):
    return re.findall(r"`(?:[\w.]+ <)?(ddref\.[\w.]+)>?`", cell)


@functools.cache
def home(label):
    """The page that defines a label, or that `{doc}` names, without its ending."""
    return next(
        (
            name.partition(".")[0]
            for name, text in PAGES.items()
            if label in labels(text)
        ),
        label,
    )


def homes(cell):
    """The pages to which a cell of the second column leads."""
    return {
        home(label) for label in re.findall(r"\{(?:prf:ref|eq|ref)\}`([\w-]+)`", cell)
    } | set(re.findall(r"\{doc\}`[^`<]*<?(\w+)>?`", cell))


@pytest.mark.parametrize("row", table(FIND), ids=[row[0] for row in table(FIND)])
def test_each_wish_leads_to_a_page_a_function_and_a_command_that_exist(row):
    wish, proved, called, typed = row
    assert homes(proved) and all(
        f"{page}.ipynb" in PAGES or f"{page}.md" in PAGES for page in homes(proved)
    )
    assert functions(called)
    for name in functions(called):
        resolve(name)
    for line in re.findall(r"`([^`]+)`", typed):
        assert understood(line), line


def understood(line):
    """Whether the command takes the words of a line; only the two that start PyTorch are not asked."""
    words = shlex.split(line.partition(">")[0])
    if words[0] == "ddref":
        arguments = importlib.import_module("ddref.command.arguments")
        return arguments.parser().parse_args(words[1:]).command == words[1]
    statistics = importlib.import_module("ddref.statistics.__main__")
    return bool(
        statistics._parser().parse_args(words[words.index("ddref.statistics") + 1 :])
    )


def test_every_command_and_every_file_of_the_package_is_somebodys_wish():
    called = {name for row in table(FIND) for name in functions(row[2])}
    typed = {
        word for row in table(FIND) for word in re.findall(r"`ddref (\w+)", row[3])
    }
    listed = (
        set(re.findall(r"automodule:: (ddref\.\w+)", PAGES["api.md"])) - WITHOUT_A_WISH
    )
    assert {
        file
        for file in listed
        if not any(name.startswith(file + ".") for name in called)
    } == set()
    commands = (
        importlib.import_module("ddref.command.arguments")
        .parser()
        ._subparsers._group_actions[0]
        .choices
    )
    assert set(commands) == typed


def test_the_table_of_the_readme_is_drawn_from_the_page():
    rows = {row[0]: row for row in table(FIND)}
    assert len(table(README)) >= 12
    for wish, page, called, typed in table(README):
        _, proved, theirs, line = rows[wish]
        assert functions(called) == functions(theirs) and typed == line
        assert set(re.findall(r"\(chapters/(\w+)\.ipynb\)", page)) <= homes(proved), (
            wish
        )


def test_every_word_of_the_glossary_is_explained_once_and_in_order():
    text = re.search(r"\{glossary\}\n(.*?)\n:::", PAGES["glossary.md"], re.DOTALL)[1]
    words = re.findall(r"^(\S.*)$", text, re.MULTILINE)
    assert len(words) > 25 and words == sorted(set(words), key=str.lower)
    used = {
        word
        for page in PAGES.values()
        for word in re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", page)
    }
    assert used <= set(words)


def sections():
    """Title and text of every section of the book, code left out."""
    for name, text in PAGES.items():
        if name != "api.md":
            for part in re.split(r"^(?=#{1,4} )", text, flags=re.MULTILINE):
                yield name, part.partition("\n")[0], part


@pytest.mark.parametrize("typed", ["pipeline", "gpu", "sample_weight", "image folder"])
def test_what_readers_type_is_the_title_of_a_section(typed):
    """The search counts words of titles most."""
    titles = [title.lower() for _, title, _ in sections() if title.startswith("#")]
    assert any(
        all(word in re.findall(r"\w+", title) for word in typed.split())
        for title in titles
    )


def test_links_to_words_of_the_glossary_lead_to_one_and_the_words_are_used():
    block = re.search(r":::\{glossary\}\n(.*?)\n:::", PAGES["glossary.md"], re.DOTALL)[1]
    words = set(re.findall(r"^(\S.*)$", block, re.MULTILINE))
    rest = {name: text for name, text in PAGES.items() if name != "glossary.md"}
    linked = {found for text in rest.values() for found in re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", text)}
    assert len(linked) > 10 and linked <= words
    everything = " ".join(rest.values()).lower().replace("-", " ")
    assert [word for word in words if word.lower().replace("-", " ") not in everything] == []
