"""Symbols that answer: the table that the script in the pages reads; `_config.yml` loads this as an extension.

The two tables of `chapters/notation.md` say what each symbol is, its shape and its name in the code. Every page with
formulas gets those that hold in it, and `_vendor/book/symbols.js`, which marks them in the formulas.
"""

import json
import re
from pathlib import Path

from page_heads import words_of

SCRIPT = "../book/symbols"  # from _static/
KINDS = {
    "data": [r"X", r"Y", r"\Phi"],
    "set": [r"X_S", r"Y_S", r"\Phi_S"],
    "regularisation": [r"\lambda", r"\lambda_S"],
}
# Letters that are used freely elsewhere answer only in these chapters.
ONLY = {
    "r": "02 03 04 05 06 08 09 13 16 comparison", "Q": "02 03 04 06 09", "G": "05 08 11 12 13 comparison",
    "B": "05 11 12 13", "K": "01 07 10 11 13", "D": "03 04 08 13", "Z": "03 04 13", "s": "03 04", "t": "03 04",
    "P": "03", "C": "02 05", "J": "05",
}  # fmt: skip
OUTER_COMMA = r", (?![^(]*\))"
CHAPTER = re.compile(r"\{doc\}`([^`]*)`")


def symbols(text):
    """All symbols of the page on notation, in its order: TeX, meaning, shape, name in the code, chapters or None."""
    found = []
    for head, rows in tables(text):
        for row in rows:
            cells = dict(zip(head, row, strict=True))
            if "meaning" in cells:
                found += symbols_of(cells)
    return found


def tables(text):
    """Head and rows of each table, as lists of cells."""
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in clean(block)]
        yield rows[0], [row for row in rows[2:] if len(row) == len(rows[0])]


def clean(block):
    """Lines of a table with a space on each side of its bars, also where a cell is empty."""
    return [re.sub(r"\|(?= ?\|)", "| ", line) for line in block.splitlines()]


def symbols_of(cells):
    """The symbols of one row; what is said of several is a list of as many parts."""
    names = [re.split(" = ", tex)[0] for tex in re.findall(r"\$([^$]*)\$", cells.get("book") or cells["letter"])]
    places = cells.get("chapter", "") + " " + cells["meaning"]
    chapters = CHAPTER.findall(places) or None
    meaning = re.sub(r"\s*\([^()]*\{doc\}[^()]*\)|^in \{doc\}`[^`]*`: |, \{eq\}`[^`]*`", "", cells["meaning"])
    columns = [
        each_of(meaning, "; ", len(names)),
        each_of(cells.get("shape", ""), OUTER_COMMA, len(names)),
        each_of(cells.get("code", "").replace("`", ""), OUTER_COMMA, len(names), common=False),
    ]
    return [
        {"tex": name, "is": plain(is_), "shape": plain(shape), "code": plain(code), "chapters": chapters or only(name)}
        for name, is_, shape, code in zip(names, *columns, strict=True)
    ]


def each_of(text, mark, count, *, common=True):
    """What is said of each of several symbols: a part each, or the same of all where that can be."""
    parts = re.split(mark, text)
    return parts if len(parts) == count else [text if common or count == 1 else ""] * count


def only(name):
    return ONLY[name].split() if name in ONLY else None


def plain(text):
    """A cell in one line, its formulas as one types them."""
    return re.sub(r"\$([^$]*)\$", lambda formula: words_of(formula[1]), text).strip()


def table_for(page, text):
    """The symbols that hold in a page, by their TeX; what is said of one chapter comes before what is said of all."""
    number = Path(page).name
    here = {}
    for entry in symbols(text):
        chapters = entry.pop("chapters")
        if number == "notation" or chapters is None or any(number.startswith(chapter) for chapter in chapters):
            if entry["tex"] not in here or (chapters and number != "notation"):
                here[entry["tex"]] = entry
    for kind, names in KINDS.items():
        for name in names:
            here[name]["kind"] = kind
    return list(here.values())


def with_symbols(app, pagename, templatename, context, doctree):
    """Give a page with formulas its table and the script."""
    if doctree is None or app.builder.format != "html" or 'class="math' not in context["body"]:
        return
    text = Path(app.srcdir, "chapters", "notation.md").read_text(encoding="utf-8")
    table = json.dumps(table_for(pagename, text), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    app.add_js_file(None, body=f"window.ddrefSymbols = {table};", priority=600)
    app.add_js_file(f"{SCRIPT}.js", priority=601)  # after the settings of MathJax, and before it starts
    app.add_css_file(f"{SCRIPT}.css")


def setup(app):
    app.connect("html-page-context", with_symbols)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
