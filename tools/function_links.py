"""Functions of the package that a text names lead to their entry in the reference; `_config.yml` loads this.

`distill.features` or `ddref.krr.fit(Phi, Y, 1.0)` between backticks becomes a link, outside titles, links and the
reference itself. A name that begins with a file of the package and that the package does not have is a warning, and
so fails the strict build.
"""

import re

from book_extension import find, is_public
from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

from ddref import copying

NAME = re.compile(r"((?:ddref\.)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\(.*\))?")
FILES = ("py", "npz", "csv", "json")  # endings of what is a file and no function
OUTSIDE = (nodes.title, nodes.reference, nodes.citation, addnodes.pending_xref, addnodes.desc, nodes.caption)


def named(text):
    """The full name of the function, class or file of the package that `text` names; None where it names none.

    Raises LookupError where it begins like one and the package has no such thing.
    """
    match = NAME.fullmatch(text)
    parts = match[1].removeprefix("ddref.").split(".") if match else []
    whole = bool(match) and match[1].startswith("ddref.")
    if not parts or parts[-1] in FILES or not (whole or len(parts) > 1):
        return None
    if not whole and not copying.path_of(f"ddref.{parts[0]}"):
        return None
    try:
        source, path = copying.locate(".".join(parts))
        find(source, path[:1])
    except LookupError:
        if whole and copying.path_of(match[1]):
            return match[1]
        raise
    return ".".join([source.name, *path])


def with_links(app, doctree):
    """Put a reference around every name of a function; Sphinx resolves it where the reference has an entry."""
    for literal in list(doctree.findall(nodes.literal)):
        if any(isinstance(above, OUTSIDE) for above in ancestors(literal)):
            continue
        try:
            name = named(literal.astext())
        except LookupError as error:
            message = f"{literal.astext()!r} is not in the package: {error}"
            logging.getLogger(__name__).warning(message, location=literal)
            continue
        if name and is_public(name):
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=name, refexplicit=True, refwarn=False,
                refdoc=app.env.docname, classes=["to-function"],
            )  # fmt: skip
            link.source, link.line = literal.source, literal.line
            literal.replace_self(link)
            link += literal


def ancestors(node):
    while node.parent is not None:
        node = node.parent
        yield node


def setup(app):
    app.connect("doctree-read", with_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
