"""Search results that lead to a section and show its words; `_config.yml` loads this as an extension."""

import json
import re
from pathlib import Path

from docutils import nodes
from page_heads import words_of
from sphinx import addnodes

SCRIPT = "search_sections.js"
BEGIN = "const sections = "
LEFT_OUT = (nodes.math_block, nodes.raw, nodes.image, nodes.comment, nodes.target)
BY_THEMSELVES = (nodes.section, addnodes.desc)


def sections_of(doctree):
    """Anchor, title and text of every section and every entry of the reference, in their order."""
    found = []
    for node in doctree.findall(lambda node: isinstance(node, BY_THEMSELVES)):
        named = node if isinstance(node, nodes.section) else node.next_node(addnodes.desc_signature)
        if named is not None and named["ids"]:
            title = node.next_node(nodes.title) if named is node else None
            name = named.get("fullname") if title is None else " ".join(words(title))
            found.append([named["ids"][0], name or named["ids"][0], " ".join(words(node, title))])
    return found


def words(node, title=None):
    """The words of a node, but for those of its title and of the sections in it."""
    for child in node.children:
        if child is title or isinstance(child, (*BY_THEMSELVES, *LEFT_OUT)):
            continue
        if isinstance(child, nodes.math):
            yield words_of(child.astext())
        elif isinstance(child, nodes.Text):
            yield from child.astext().split()
        else:
            yield re.sub(r" (?=[.,;:?!)])", "", " ".join(words(child)))


def remember(app, pagename, templatename, context, doctree):
    """Keep the sections of a page; the page of the search reads all of them."""
    if app.builder.format != "html":
        return
    if doctree is not None:
        app.ddref_sections[pagename] = sections_of(doctree)
    if pagename == "search":
        context["metatags"] = context.get("metatags", "") + f'<script src="_static/{SCRIPT}"></script>\n'


def write_script(app, error):
    if error or app.builder.format != "html":
        return
    path = Path(app.outdir, "_static", SCRIPT)
    sections = {page: found for page, found in written(path).items() if page in app.env.found_docs} | app.ddref_sections
    data = json.dumps(sections, ensure_ascii=False, separators=(",", ":"))
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    path.write_text(f"{BEGIN}{data};\n{script}", encoding="utf-8")


def written(path):
    """The sections in the script of the last build: this one has those of the pages that it wrote anew."""
    if not path.exists():
        return {}
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    return json.loads(line.removeprefix(BEGIN).removesuffix(";"))


def setup(app):
    app.ddref_sections = {}
    app.connect("html-page-context", remember)
    app.connect("build-finished", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
