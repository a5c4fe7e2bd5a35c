"""What a page says of itself to search engines and messengers (tools/page_heads.py)."""

import sys

import pytest
from docutils import nodes
from matplotlib.image import imread

from tools import notebooks

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import page_heads  # noqa: E402  (Sphinx loads it under this name, too)


def page(*texts):
    section = nodes.section("", nodes.title("", "", nodes.Text("A title")))
    for text in texts:
        section += nodes.paragraph("", "", *(text if isinstance(text, list) else [nodes.Text(text)]))
    document = nodes.Element()
    document += section
    return document


def test_a_chapter_is_described_by_its_question():
    bold, rest = nodes.strong("", "", nodes.Text("Question.")), nodes.Text(" Is it\nexact?")
    assert (
        page_heads.described(page("About 40 minutes. You need: much, and a good deal more.", [bold, rest]))
        == "Is it exact?"
    )


def test_other_pages_by_how_they_begin_and_a_list_by_its_title():
    assert page_heads.described(page("Short.", "A sentence that says what the page is for.")) == (
        "A sentence that says what the page is for."
    )
    assert page_heads.described(page()) == "A title"


@pytest.mark.parametrize(
    "formula, words",
    [(r"\operatorname{rank}(W)", "rank(W)"), (r"\lambda", "λ"), (r"k - 1", "k - 1"), (r"W_{S}\,", "W_S")],
)
def test_formulas_become_words(formula, words):
    text = page_heads.plain(nodes.paragraph("", "", nodes.Text("for "), nodes.math("", "", nodes.Text(formula))))
    assert text == f"for {words}"


def test_long_texts_end_with_a_sentence_or_a_word():
    sentence = "x" * 70 + "."
    assert page_heads.shortened(f"{sentence} {sentence} {sentence}") == f"{sentence} {sentence}"
    cut = page_heads.shortened("word " * 60)
    assert len(cut) <= 200 and cut.endswith("word …")


def test_a_card_has_the_size_that_messengers_ask_for(tmp_path):
    path = tmp_path / "cards" / "a.png"
    page_heads.draw_card(path, "A title " * 8, "A $description " * 20, "The book", notebooks.ROOT / page_heads.PICTURE)
    assert imread(path).shape[:2] == (630, 1200)
