"""Small repairs of the built pages, loaded by `_config.yml` as a local Sphinx extension."""

import re


def without_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of sphinx-thebe, which Jupyter Book always loads.

    The book does not use them, they name an outside host, and one of them is written twice on each page,
    which the browser reports as an error.
    """
    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if "thebe" not in source(script).lower()]


def source(script):
    """The file name of a script, and its text when it stands in the page."""
    return f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', {}).get('body')}"


def without_field_aliases(app, what, name, member, skip, options):
    """Leave out the fields of named tuples, which the class's own docstring explains."""
    return True if type(member).__name__ == "_tuplegetter" else None


def with_links_to_the_book(app, what, name, obj, options, lines):
    """Turn the labels that a docstring cites, `Book: thm-name.`, into links; a wrong one fails the build."""
    for number, line in enumerate(lines):
        if found := re.match(r"Book: ([\w-]+(?:, [\w-]+)*)", line):
            linked = ", ".join(f":{role(label)}:`{label}`" for label in found[1].split(", "))
            lines[number] = f"Book: {linked}{line[found.end() :]}"


def role(label):
    return {"eq": "eq", "fig": "numref", "sec": "ref"}.get(label.partition("-")[0], "prf:ref")


def setup(app):
    app.connect("html-page-context", without_thebe)
    app.connect("autodoc-skip-member", without_field_aliases)
    app.connect("autodoc-process-docstring", with_links_to_the_book)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
