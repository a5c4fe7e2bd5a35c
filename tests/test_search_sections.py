"""The results of a search lead to sections and show their words (tools/search_sections.py and .js)."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from docutils import nodes
from sphinx import addnodes

from tools import notebooks, pages_check

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import search_sections  # noqa: E402  (Sphinx loads it under this name, too)


def section(name, title, *children):
    node = nodes.section("", nodes.title("", "", nodes.Text(title)), *children, ids=[name])
    return node


def paragraph(*children):
    return nodes.paragraph("", "", *[nodes.Text(x) if isinstance(x, str) else x for x in children])


def test_each_section_has_its_own_words_and_the_formulas_as_words():
    formula = nodes.math("", "", nodes.Text(r"\lambda \ge 0"))
    inner = section("inner", "Inside", paragraph("What is inside."))
    document = nodes.Element("", section("page", "A page", paragraph("With ", formula, ", always."), inner))
    assert search_sections.sections_of(document) == [
        ["page", "A page", "With λ ≥ 0, always."],
        ["inner", "Inside", "What is inside."],
    ]


def test_an_entry_of_the_reference_is_a_section():
    signature = addnodes.desc_signature("", "", nodes.Text("fit(Phi)"), ids=["ddref.krr.fit"], fullname="fit")
    entry = addnodes.desc("", signature, addnodes.desc_content("", paragraph("The model.")))
    assert search_sections.sections_of(nodes.Element("", entry)) == [["ddref.krr.fit", "fit", "fit(Phi) The model."]]


SPHINX = """
const output = [];
const Search = {
  _performSearch: () => [["a", "A page", "", null, 1, "a"], ["a", "Named", "#named", null, 2, "a"],
                         ["b", "ddref.f", "#ddref.f", "Python function", 3, "b"]],
};
"""
SECTIONS = {
    "a": [["page", "A page", "Nothing."], ["two", "Two & more", "Theories of points: theory. " + "word " * 99],
          ["one", "One", "word " * 60 + "A theory."], ["named", "Named", "Its text."]],
}  # fmt: skip
ASK = """async () => {
  const terms = new Set(["theori"]), results = Search._performSearch("theories", terms);
  const said = async ([page, title, anchor]) =>
    Search.makeSearchSummary(await (await fetch(`./${page}.html`)).text(), terms, anchor).textContent;
  return [results.map(result => result.slice(0, 4)), await said(results[1]), await said(results[0])];
}"""


def test_a_build_that_writes_one_page_anew_keeps_the_sections_of_the_others(tmp_path):
    (tmp_path / "_static").mkdir()

    def built(found_docs, **sections):
        app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path, ddref_sections=sections)
        app.env = SimpleNamespace(found_docs=found_docs)
        search_sections.write_script(app, None)
        return search_sections.written(tmp_path / "_static" / search_sections.SCRIPT)

    first = built({"a", "b", "c"}, a=[["x", "A", "old"]], b=[["y", "B", "; words"]], c=[["z", "C", "gone"]])
    assert set(first) == {"a", "b", "c"}
    assert built({"a", "b"}, a=[["x", "A", "new"]]) == {"a": [["x", "A", "new"]], "b": [["y", "B", "; words"]]}


@pytest.mark.slow  # a browser
def test_a_page_that_is_found_becomes_its_sections_best_last_as_sphinx_wants_them(tmp_path):
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium")
    script = (notebooks.ROOT / "tools" / "search_sections.js").read_text(encoding="utf-8")
    (tmp_path / "search.html").write_text(
        f'<html data-content_root="./"><script>{SPHINX}const sections = {json.dumps(SECTIONS)};{script}</script></html>',
        encoding="utf-8",
    )
    with pages_check.opened_browser() as browser:
        page, complaints = pages_check.open_window(browser, (400, 400), tmp_path.resolve())
        page.goto((tmp_path.resolve() / "search.html").as_uri())
        results, late, _ = page.evaluate(ASK)
    assert results == [
        ["a", "A page &gt; One", "#one", None],
        ["a", "A page &gt; Two &amp; more", "#two", None],
        ["a", "Named", "#named", None],
        ["b", "ddref.f", "#ddref.f", "Python function"],
    ]
    assert late.startswith("Theories of points: theory.") and late.endswith(" …")
    assert complaints == []
