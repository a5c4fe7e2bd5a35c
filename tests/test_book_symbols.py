"""Symbols of the notation answer in formulas, each with its own meaning, in the chapters where it holds."""

import json
import re
import shutil
import sys

import pytest

from tools import notebooks, pages_check

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import book_symbols  # noqa: E402  (Sphinx loads it under this name, too)

NOTATION = (notebooks.ROOT / "chapters" / "notation.md").read_text(encoding="utf-8")
PAGES = sorted(path.stem for path in (notebooks.ROOT / "chapters").glob("*.ipynb"))


def meanings(page):
    return {entry["tex"]: entry["is"] for entry in book_symbols.table_for(f"chapters/{page}", NOTATION)}


def test_every_row_of_the_notation_is_read_and_each_symbol_has_a_meaning_of_its_own():
    rows = [line for line in NOTATION.splitlines() if line.startswith("| $")]
    found = book_symbols.symbols(NOTATION)
    assert len(rows) > 25 and len(found) == sum(len(row.split(" | ")[0].split("$, $")) for row in rows)
    for page in PAGES:
        of_page = list(meanings(page).values())
        assert len(set(of_page)) >= len(of_page) - 1, page  # s and t of chapter 6 are alike
    for entry in found:
        assert entry["is"] and "{" not in entry["is"] + entry["shape"] + entry["code"], entry


def test_several_symbols_of_a_row_get_a_part_each():
    first, second = book_symbols.symbols_of(
        {"book": "$N_0$, $N = x$", "shape": "$(p, 1)$, $(k, 1)$", "code": "`a`, `b`", "meaning": "one; two ({doc}`04_x`)"}
    )
    assert first == {"tex": "N_0", "is": "one", "shape": "(p, 1)", "code": "a", "chapters": ["04_x"]}
    assert second == {"tex": "N", "is": "two", "shape": "(k, 1)", "code": "b", "chapters": ["04_x"]}


def test_letters_that_change_their_meaning_have_that_of_the_chapter_and_none_where_none_is_known():
    assert meanings("04_realistic")["T"] == "the truncation of N_0"
    assert meanings("08_deep_linear")["T"] == "product of the layers of a linear network"
    assert meanings("05_fewer_or_all")["T"] == "N^⊤ G N"
    assert "T" not in meanings("03_sufficiency")
    assert meanings("03_sufficiency")["Z"] == "the free part of D"
    assert meanings("11_kip")["Z"].startswith("K_TS")
    assert meanings("01_ridge")["r"] == "rank of Φ" and meanings("02_necessity")["r"] == "rank of W"


def test_letters_said_to_hold_in_a_chapter_are_those_of_a_page_that_exists():
    chapters = {name for entry in book_symbols.symbols(NOTATION) for name in entry["chapters"] or []}
    assert all(any(page.startswith(name) for page in PAGES) for name in chapters)


def formulas(page):
    """All formulas of a chapter in one string."""
    cells = json.loads((notebooks.ROOT / "chapters" / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return " ; ".join(map("".join, re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, flags=re.DOTALL)))


def test_every_symbol_answers_on_a_page_that_writes_it():
    written, said = {page: formulas(page) for page in PAGES}, {page: meanings(page) for page in PAGES}
    for entry in book_symbols.symbols(NOTATION):
        alone = r"(?<![A-Za-z\\])" + re.escape(entry["tex"]) + r"(?![A-Za-z_'])"
        pages = [page for page in PAGES if said[page].get(entry["tex"]) == entry["is"]]
        assert any(re.search(alone, written[page]) for page in pages), (entry, pages)


FORMULAS = {
    r"\Phi_S^+ Y_S": [r"\Phi_S", "Y_S"],
    r"\Phi_S^\top W_S": [r"\Phi_S", "W_S"],
    r"\Phi_\lambda^+": [r"\Phi_\lambda^+"],
    r"\Phi^+ + \Phi^\top": [r"\Phi^+", r"\Phi"],
    r"(\Phi_S)^+_{\lambda_S}": [r"\Phi_S", r"\lambda_S"],
    r"W_1 + \tilde W + W^{(l)} + \hat X_S": [],
    r"\lambda' + \lambda^2": [r"\lambda"],
    r"K_{SS}": [],
    r"\operatorname{rank}(W)": ["W"],
}


@pytest.mark.slow  # a browser
def test_symbols_are_found_in_formulas_by_their_form_and_say_what_they_are(tmp_path):
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium; `make pages-check` needs one")
    table = book_symbols.table_for("chapters/04_realistic", NOTATION)
    asked = {**FORMULAS, **{entry["tex"]: [entry["tex"]] for entry in table}}
    vendor = notebooks.ROOT / "_vendor"
    body = "".join(f'<p class="math">\\({tex}\\)</p>' for tex in asked)
    (tmp_path / "a.html").write_text(
        f"""<!DOCTYPE html><html><head><meta charset="utf-8"><link rel="stylesheet" href="{vendor.as_uri()}/book/symbols.css">
<script>window.MathJax = {{options: {{enableMenu: false}}}}; window.ddrefSymbols = {json.dumps(table)};</script>
<script src="{vendor.as_uri()}/book/symbols.js"></script>
<script defer src="{vendor.as_uri()}/mathjax/tex-chtml-full.js"></script></head>
<body><div class="article-header-buttons"></div><article>{body}</article></body></html>""",
        encoding="utf-8",
    )
    with pages_check.opened_browser() as browser:
        page, complaints = pages_check.open_window(browser, (400, 800), tmp_path)
        page.goto((tmp_path / "a.html").as_uri(), wait_until="load")
        page.wait_for_selector(".ddref-symbols-button")
        found = page.evaluate(
            "() => [...document.querySelectorAll('p')].map("
            "p => [...p.querySelectorAll('mjx-math .ddref-symbol')].map(node => node.dataset.symbol))"
        )
        assert dict(zip(asked, found, strict=True)) == asked

        page.locator("p").nth(0).locator(".ddref-symbol").first.click()
        assert "features of the distilled points" in page.locator(".ddref-card").inner_text()
        assert page.locator(".ddref-card").bounding_box()["x"] >= 0
        page.keyboard.press("Escape")
        assert page.locator(".ddref-card").is_hidden()

        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator("dialog dt").count() == len(table)
        assert page.locator("dialog dt mjx-container").count() == len(table)
        page.keyboard.press("Escape")
        assert page.locator("dialog").is_hidden()
        stops = "() => [...document.querySelectorAll('*')].filter(node => node.tabIndex >= 0).length"
        assert page.evaluate(stops) < 5
    assert [said for said in complaints if "_vendor" not in said] == []
