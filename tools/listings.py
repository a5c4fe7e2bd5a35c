"""The functions of the package that chapters show: whole, as they stand in their files, in any viewer of notebooks.

    python tools/listings.py

writes each anew below its name, in the Markdown of `chapters/*.ipynb`, where a block of Python begins with that name:

    ```python
    # ddref.krr.fit
    ```

Such a block is code in JupyterLab, on Colab and where a repository is browsed, too. In the book it is given links below
(tools/book_extension.py), and is compared with the package: a chapter never shows what the package no longer is.
"""

import ast
import re
import sys
import textwrap

import nbformat
import notebooks

from ddref import copying

NAMED = r"# (ddref(?:\.\w+)+)\n"  # the first line of a block
BLOCK = re.compile(rf"^```python\n{NAMED}(.*?)^```$", re.MULTILINE | re.DOTALL)


def written(text):
    """Markdown with every listing as the package has it now."""
    return BLOCK.sub(lambda found: f"```python\n# {found[1]}\n{listed(found[1])[0]}\n```", text)


def write(paths):
    """Bring the listings of notebooks up to date; return how many notebooks were changed."""
    changed = 0
    for path in paths:
        notebook = notebooks.read(path)
        cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
        texts = [written(cell.source) for cell in cells]
        if texts == [cell.source for cell in cells]:
            continue
        for cell, text in zip(cells, texts, strict=True):
            cell.source = text
        path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
        print(f"{path.stem}: listings written")
        changed += 1
    return changed


def listed(name):
    """The source of the function, method or class `name` without its docstrings, its full name and its file."""
    source, path = copying.locate(name)
    node = find(source, path)
    hidden = {line for inner in ast.walk(node) for line in docstring_lines(inner, source.lines)}
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    shown = [source.lines[i - 1] for i in range(first, node.end_lineno + 1) if i not in hidden]
    file = source.path.relative_to(copying.PACKAGE.parent).as_posix()
    return textwrap.dedent("\n".join(shown)), ".".join([source.name, *path]), file


def find(source, path):
    """The function, method or class at `path`, a list of names, in a file."""
    node, body = None, list(source.here.values())
    for part in path:
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        node = next((n for n in body if isinstance(n, defined) and n.name == part), None)
        if node is None:
            raise LookupError(f"{source.name} defines no {'.'.join(path)}")
        body = node.body
    return node


def docstring_lines(node, lines):
    """The numbers of the lines of a docstring and of empty lines after it."""
    documented = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    if not documented or ast.get_docstring(node, clean=False) is None:
        return set()
    end = node.body[0].end_lineno
    while end < node.end_lineno and not lines[end].strip():
        end += 1
    return set(range(node.body[0].lineno, end + 1))


if __name__ == "__main__":
    write(notebooks.find(sys.argv[1:]))
