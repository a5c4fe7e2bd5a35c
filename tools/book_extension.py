"""What stands below listings, the map above each title and small repairs; `_config.yml` loads this as an extension.

A block of Python that begins with the name of a function, `# ddref.krr.path`, shows it whole (tools/listings.py).
Below each is a link to its entry in the reference, and the function with all it needs, written by
`ddref.copying` as one file: a button puts it into the clipboard, a link downloads it.
"""

import ast
import html
import re
from pathlib import Path

import yaml
from docutils import nodes
from listings import NAMED, find, listed
from sphinx import addnodes
from sphinx.util import logging

from ddref import copying

COPIES = "_static/copies"  # folder of the files to download, in the built book
WIDGETS = {"ddref-playground": "playground", "tag_scrub": "scrub"}  # a class, and the .js and .css of _vendor/book/ for it

# -- the listing


def is_public(full_name):
    return not any(part.startswith("_") for part in full_name.split("."))


class listing_links(nodes.Inline, nodes.Element):
    """The buttons under a listing: the function with all it needs, as one file."""


def with_listing_lines(app, document):
    """Below each listing of a page: its name and the buttons. One that is not the package's code fails the build."""
    for block in list(document.findall(nodes.literal_block)):
        text = block.astext() + "\n"  # a block of the name alone, too, is a listing, and an old one
        if block.get("language") == "python" and (found := re.match(NAMED, text)):
            with_listing_line(app.env, block, found[1], text[found.end() :])


def with_listing_line(env, block, name, text):
    try:
        source, full_name, file = listed(name)
    except LookupError as error:
        logging.getLogger(__name__).warning(f"listing: {error}", location=block)
        return
    if text.rstrip("\n") != source:
        message = f"listing: {name} is another in the package; python tools/listings.py writes it anew"
        logging.getLogger(__name__).warning(message, location=block)
    env.note_dependency(str(copying.PACKAGE.parent / file))
    code = nodes.literal_block(source, source, language="python", classes=["listing"])
    line = nodes.paragraph(classes=["listing-line"])
    code.source, code.line = line.source, line.line = block.source, block.line
    line += link(env, name, full_name, file)
    if is_public(full_name) and (copy := one_file(full_name)):
        line += listing_links(name=copy[0], text=copy[1])
        env.metadata[env.docname].setdefault("ddref_copies", {})[copy[0]] = copy[1]
    block.replace_self([code, line])


def link(env, name, full_name, file):
    """The name of what is shown: a link to its entry in the reference, where it has one."""
    if not is_public(full_name):
        short = full_name.removeprefix(file.removesuffix(".py").replace("/", ".") + ".")
        return nodes.inline("", "", nodes.literal("", short), nodes.Text(f" of {file}"))
    return addnodes.pending_xref(
        "", nodes.literal("", name), refdomain="py", reftype="obj", reftarget=name,
        refexplicit=True, refwarn=False, refdoc=env.docname,
    )  # fmt: skip


def one_file(full_name):
    """Name and text of the one-file copy of a public function, or of the class of a method.

    None where there is none; that there is one for every function is a matter of tests/test_copying.py.
    """
    source, path = copying.locate(full_name)
    name = f"{source.name}.{path[0]}".removeprefix("ddref.")
    try:
        return name, copying.copied([name])
    except ValueError:
        return None


def visit_listing_links(writer, node):
    """In HTML: a button, a link, and the text itself, which a page read from a disk cannot fetch."""
    name, text = node["name"], node["text"]
    file = f"{name}.py"
    up = "../" * writer.builder.current_docname.count("/")
    what = f"with all it needs, {text.count(chr(10))} lines"
    parts = [
        f'<button type="button" class="listing-copy" title="Copy this {what}">copy this</button>',
        f'<a class="listing-download" href="{up}{COPIES}/{file}" download="{name.rpartition(".")[2]}.py" '
        f'title="Download this {what}">download</a>',
        f'<template>{html.escape(text)}</template>',
    ]
    writer.body.append("".join(parts))
    raise nodes.SkipNode


def leave_out(writer, node):
    raise nodes.SkipNode


def written_elsewhere(app, env, node, contnode):
    """Find the entry of `ddref.maps.linear.Linear` where the reference has it as `ddref.maps.Linear`."""
    if node.get("refdomain") != "py" or not node.get("reftarget", "").startswith("ddref."):
        return None
    for target in other_names(node["reftarget"]):
        found = env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, "obj", target, addnodes.pending_xref(refspecific=False), contnode
        )
        if found is not None:
            return found
    return None


def other_names(name):
    """The names under which the reference may have what is called `name`: by its file, and by its folder."""
    try:
        source, path = copying.locate(name)
    except LookupError:
        return []
    modules = [source.name]
    while "." in modules[-1]:
        modules.append(modules[-1].rpartition(".")[0])
    return [".".join([module, *path]) for module in modules]


def write_copies(app, error):
    """The files to download, beside the pages."""
    if error or app.builder.format != "html":
        return
    folder = Path(app.outdir, COPIES)
    for metadata in app.env.metadata.values():
        for name, text in metadata.get("ddref_copies", {}).items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.py").write_text(text, encoding="utf-8", newline="\n")


# -- scripts that some pages need


def with_widgets(app, pagename, templatename, context, doctree):
    """Load script and style of what stands in the page, and of nothing else."""
    for name, file in WIDGETS.items():
        if re.search(rf'class="(?:[^"]* )?{name}[ "]', context.get("body") or ""):
            app.add_js_file(f"../book/{file}.js", loading_method="defer")  # from _static/
            app.add_css_file(f"../book/{file}.css")


# -- the map of the chapters


def with_map(app, pagename, templatename, context, doctree):
    """Above the title of a chapter: where in the book it is."""
    if doctree is None or app.builder.format != "html":
        return
    toc = yaml.safe_load(Path(app.srcdir, "_toc.yml").read_text(encoding="utf-8"))
    titles = {page: title.astext() for page, title in app.env.titles.items()}
    context["body"] = map_of(toc, pagename, titles) + context["body"]


def map_of(toc, current, titles):
    """All numbered chapters in their parts, each a link, with `current` marked; nothing above other pages."""
    parts = [part for part in toc.get("parts", []) if part.get("numbered")]
    chapters = [entry["file"] for part in parts for entry in part["chapters"]]
    if current not in chapters:
        return ""
    rows = []
    for part in parts:
        links = "".join(
            f"<li>{link_to(chapters.index(entry['file']) + 1, entry['file'], current, titles)}</li>"
            for entry in part["chapters"]
        )
        rows.append(f'<li><span class="part">{html.escape(part["caption"])}</span><ol>{links}</ol></li>')
    return f'<nav class="book-map" aria-label="Chapters"><ol>{"".join(rows)}</ol></nav>\n'


def link_to(number, page, current, titles):
    title = html.escape(f"{number} {titles[page]}")
    # Tab passes the others by: the menu of the book has the same links.
    here = ' aria-current="page"' if page == current else ' tabindex="-1"'
    return f'<a href="{Path(page).name}.html" title="{title}"{here}><span>{number}</span></a>'


# -- repairs


def pictures_first(app, document, docname):
    """The code of a picture, where it is folded, stands below the picture and not above it."""
    for cell in document.findall(nodes.container):
        folded = "tag_hide-input" in cell["classes"] and len(cell.children) > 1
        if folded and any(output.next_node(nodes.image) for output in cell.children[1:]):
            cell.children = [*cell.children[1:], cell.children[0]]


def with_their_stops(app, document, docname):
    """Keep a formula on one line with the bracket before it and the full stop after it: browsers break there."""
    for formula in list(document.findall(nodes.math)):
        parent, at = formula.parent, formula.parent.index(formula)
        before, after = (parent[i] if 0 <= i < len(parent) else None for i in (at - 1, at + 1))
        opening = re.search(r"[(\[]*$", before)[0] if isinstance(before, nodes.Text) else ""
        closing = re.match(r"[.,;:!?)\]]*", after)[0] if isinstance(after, nodes.Text) else ""
        if opening or closing:
            kept = nodes.inline("", opening, formula, nodes.Text(closing), classes=["kept"])
            parent[at] = kept
            if opening:
                parent[at - 1] = nodes.Text(before[: -len(opening)])
            if closing:
                parent[at + 1] = nodes.Text(after[len(closing) :])


def without_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of sphinx-thebe, which Jupyter Book always loads.

    The book does not use them, they name an outside host, and one of them is written twice on each page,
    which the browser reports as an error.
    """
    scripts = context.get("script_files", [])
    scripts[:] = [script for script in scripts if "thebe" not in source(script).lower()]  # others add to this list


def source(script):
    """The file name of a script, and its text when it stands in the page."""
    return f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', {}).get('body')}"


def lighter(app, error):
    """Leave out what the theme's templates write into every page and no page needs; mend what they leave open.

    1.4 MB with which the theme draws icons that its web fonts have, too; the index of the search, but for its
    own page; the size of the window, said three times.
    """
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        kept = accessible(without_surplus(text, searches=page.name == "search.html"))
        if kept != text:
            page.write_text(kept, encoding="utf-8", newline="\n")
    Path(app.outdir, "_static", "scripts", "fontawesome.js").unlink(missing_ok=True)


def without_surplus(text, *, searches):
    """The HTML of a page without what is said elsewhere or not needed."""
    names = "fontawesome" if searches else "fontawesome|searchtools|language_data|searchindex"
    text = re.sub(rf'[ \t]*<script[^>]* src="[^"]*\b(?:{names})\.js[^"]*"></script>\n?', "", text)
    first, *others = re.split(r'(?=<meta name="viewport"[^>]*>)', text)
    return first + "".join(others[:1] + [re.sub("^<meta[^>]*>", "", other) for other in others[1:]])


def accessible(text):
    """The HTML of a page with its title in a landmark of its own, no header cell that heads nothing, and lists that are some:
    Sphinx writes the parameters of a function as definitions without a term, docutils references as no items of their list.
    """
    signature = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')
    text = signature.sub(lambda found: '<div class="sig-lines">\n' + found[1].replace("dd>", "div>") + "</div>", text)
    text = text.replace('role="doc-biblioentry"', 'role="listitem"')
    logo = r'<div class="sidebar-primary-item">(?=\s*<a class="navbar-brand logo")'
    text = re.sub(logo, '<div class="sidebar-primary-item" role="navigation" aria-label="Home">', text)
    return re.sub(r"<th(?: [^>]*)?>\s*(?:<p></p>)?\s*</th>", "<td></td>", text)


def without_field_aliases(app, what, name, member, skip, options):
    """Leave out the fields of named tuples, which the class's own docstring explains."""
    return True if type(member).__name__ == "_tuplegetter" else None


def with_links_to_the_book(app, what, name, obj, options, lines):
    """Turn the labels that a docstring cites, `Book: thm-name.`, into links; a wrong one fails the build."""
    for number, line in enumerate(lines):
        if found := re.match(r"Book: ([\w-]+(?:, [\w-]+)*)", line):
            linked = ", ".join(f":{role(label)}:`{label}`" for label in found[1].split(", "))
            lines[number] = f"Book: {linked}{line[found.end() :]}"


def with_annotations(app, what, name, obj, options, signature, returns):
    """The signature as the file has it: annotations as they are written, `Array` and not what it stands for."""
    written = signature_of(name) if what in ("function", "method", "class") else None
    return written or (signature, returns)


def signature_of(name):
    """Arguments and result of the function, method or class `name`; None where no file defines them."""
    try:
        source, path = copying.locate(name)
        node = find(source, path)
        node = find(source, [*path, "__init__"]) if isinstance(node, ast.ClassDef) else node
    except LookupError:
        return None
    arguments = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(node.args))
    returns = ast.unparse(node.returns) if node.returns and node.name != "__init__" else None
    return f"({arguments})", returns


def role(label):
    return {"eq": "eq", "fig": "numref", "sec": "ref"}.get(label.partition("-")[0], "prf:ref")


def setup(app):
    hidden = (leave_out, None)
    app.add_node(listing_links, html=(visit_listing_links, None), latex=hidden, text=hidden, man=hidden)
    app.connect("doctree-read", with_listing_lines)
    app.connect("doctree-resolved", pictures_first)
    app.connect("doctree-resolved", with_their_stops)
    app.connect("missing-reference", written_elsewhere)
    app.connect("build-finished", write_copies)
    app.connect("build-finished", lighter)
    app.connect("html-page-context", with_widgets)
    app.connect("html-page-context", without_thebe)
    app.connect("html-page-context", with_map)
    app.connect("autodoc-skip-member", without_field_aliases)
    app.connect("autodoc-process-docstring", with_links_to_the_book)
    app.connect("autodoc-process-signature", with_annotations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
