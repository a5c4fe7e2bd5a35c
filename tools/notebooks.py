"""Execute the chapters whose code has changed, and say which are stale.

    python tools/notebooks.py run [--force] [NAME ...]
    python tools/notebooks.py check [NAME ...]

A NAME is a path or a chapter's name (`01_ridge`); without one, every notebook of `chapters/`.

Executing a notebook stores a stamp in its metadata: a hash of its code cells, of the `ddref` files and folders
they import (and those that these import; not of `ddref/__init__`, which only lists them), of the figures' style
`ddref/*.mplstyle`, and of the files in `results/` and `ddref/data/` that this code names. Comments,
docstrings, layout and Markdown do not count, nor do times.
A notebook whose stamp no longer agrees is stale: its stored figures cannot be trusted, and nothing else
compares them.
"""

import argparse
import ast
import base64
import contextlib
import functools
import hashlib
import io
import os
import re
import struct
import sys
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"
CELL_TIMEOUT = 300  # seconds
MAX_NOTEBOOK = 400 * 1024  # bytes, outputs included
MAX_PNG = 60 * 1024
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def find(names=()):
    """The paths of the notebooks called `names`, or of all of them."""
    if not names:
        return sorted(CHAPTERS.glob("*.ipynb"))
    paths = [CHAPTERS / f"{Path(name).stem}.ipynb" for name in names]
    missing = [path.stem for path in paths if not path.exists()]
    if missing:
        raise SystemExit(f"no such notebook in {CHAPTERS.name}/: {', '.join(missing)}")
    return paths


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# -- the stamp


def canonical(node, *, docstrings=False):
    """A syntax tree as text that is the same for every Python version: no positions, no empty fields."""
    if isinstance(node, list):
        return "[" + ",".join(canonical(item, docstrings=docstrings) for item in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in sorted(ast.iter_fields(node)):
        if name == "body" and not docstrings and isinstance(value, list) and ast_docstring(node):
            value = value[1:]
        if name not in ("ctx", "kind", "type_comment") and value is not None and value != []:
            fields.append(f"{name}={canonical(value, docstrings=docstrings)}")
    return f"{type(node).__name__}({','.join(fields)})"


def ast_docstring(node):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None


@functools.cache
def parse_file(source):
    """The tree of a file with this text, and the tree as text; each once, whatever notebooks use the file."""
    tree = ast.parse(source)
    return tree, canonical(tree)


def parse_cell(source):
    """The tree of a cell without its magics and shell lines, or None for one that is no Python."""
    try:
        return ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))
    except SyntaxError:
        return None


def is_plain(source):
    """Whether a cell is Python alone, without magics and shell lines."""
    with contextlib.suppress(SyntaxError):
        return bool(ast.parse(source))
    return False


def rooms_of(package):
    """The files of each file or folder directly in `package`, by its name."""
    rooms = {path.stem: {path} for path in package.glob("*.py")}
    folders = {path.parent for path in package.glob("*/__init__.py")}
    return rooms | {folder.name: set(folder.rglob("*.py")) for folder in folders}


def imported_rooms(trees, package, depth=0):
    """The files of `package` that code `depth` folders below it uses; all where it is not plain which.

    A folder counts whole: what its `__init__` hands on may come from any of its files. The package's own
    `__init__` is run by every import and yet left out: it lists the rooms and computes nothing, so a new room
    would make every notebook stale for no figure's sake. A list that is wrong shows: the import fails.
    """
    rooms = rooms_of(package)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used, aliases = set(), set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                head, *rest = alias.name.split(".")
                if head == package.name:
                    used |= set(rest[:1])
                    aliases.add(alias.asname or head)
        elif isinstance(node, ast.ImportFrom) and node.level in (0, depth + 1):  # else from its own folder
            module = node.module.split(".") if node.module else []
            module = [package.name, *module] if node.level else module
            if module and module[0] == package.name:
                used |= set(module[1:2] or [alias.name for alias in node.names])
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            used |= set() if node.attr.startswith("__") else {node.attr}
    if used - rooms.keys():  # a name of the package itself: it could come from any room, or from `__init__`
        return set().union(*rooms.values())
    return set().union(*(rooms[name] for name in used))


def strings(trees):
    """The file names among the string constants of `trees`, and other short strings."""
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value.rpartition("/")[2] for node in nodes if isinstance(node.value, str)}


def stamp(notebook, root):
    """The hash, as hexadecimal text, of everything the outputs of `notebook` depend on."""
    parts, trees = [], []
    for cell in code_cells(notebook):
        tree = parse_cell(cell.source)
        trees += [tree] if tree else []
        parts.append(canonical(tree, docstrings=True) if is_plain(cell.source) else cell.source)

    package, seen = root / "ddref", {}
    pending = imported_rooms(trees, package)
    while pending:
        path = pending.pop()
        seen[path] = parse_file(path.read_text(encoding="utf-8"))
        depth = len(path.relative_to(package).parts) - 1
        pending |= imported_rooms([seen[path][0]], package, depth) - seen.keys()
    parts += [f"{path.relative_to(package).as_posix()}: {text}" for path, (_, text) in sorted(seen.items())]

    named = strings([*trees, *(tree for tree, _ in seen.values())])
    files = [*(root / "results").glob("*.json"), *(package / "data").glob("*")]
    files = [*package.glob("*.mplstyle"), *(path for path in files if path.name in named)]
    for path in sorted(files):
        parts.append(f"{path.name}: {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_stale(path):
    notebook = read(path)
    return notebook.metadata.get("ddref", {}).get("stamp") != stamp(notebook, path.parent.parent)


# -- execution


def without_png_text(data):
    """PNG bytes without their text and time chunks, which name the program that drew the picture."""
    kept, position = [data[:8]], 8
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        end = position + 12 + length
        if data[position + 4 : position + 8] not in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf"):
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def opaque_png(data):
    """PNG bytes of the same picture without a channel for transparency where nothing is transparent: an eighth smaller."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data))
    if picture.mode != "RGBA" or picture.getextrema()[3][0] < 255:
        return data
    file = io.BytesIO()
    picture.convert("RGB").save(file, format="png", optimize=True)
    return min(file.getvalue(), data, key=len)


def tidy(notebook):
    """Remove from `notebook` what differs between machines or runs and is not a result."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3", "file_extension": ".py"},
            **{key: notebook.metadata[key] for key in ("mystnb", "ddref") if key in notebook.metadata},
        }
    )
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled", "jupyter", "trusted"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            data = output.get("data", {})
            if "image/png" in data:
                raw = without_png_text(base64.b64decode(data["image/png"]))
                data["image/png"] = base64.b64encode(raw).decode()
    return notebook


def execute(notebook, folder):
    """Run `notebook` in a new kernel, in `folder`, with one BLAS thread; an error stops it."""
    from nbclient import NotebookClient

    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(folder.parent)}
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors: it warns that it listens on localhost
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = base64.b64encode(opaque_png(base64.b64decode(data["image/png"]))).decode()


def faults(notebook, size):
    """What is wrong with a stored notebook of `size` bytes: errors, warnings, missing or large outputs."""
    found = []
    if size > MAX_NOTEBOOK:
        found.append(f"{size // 1024} KB, the limit is {MAX_NOTEBOOK // 1024}")
    for number, cell in enumerate(code_cells(notebook), 1):
        if cell.execution_count is None and cell.source.strip():
            found.append(f"code cell {number} was not executed")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"code cell {number} stores an error: {output.ename}")
            if output.get("name") == "stderr":
                found.append(f"code cell {number} stores a warning: {output.text.strip()[:100]}")
            for kind, data in output.get("data", {}).items():
                if kind == "image/png" and len(base64.b64decode(data)) > MAX_PNG:
                    found.append(
                        f"code cell {number} draws {len(base64.b64decode(data)) // 1024} KB, "
                        f"the limit is {MAX_PNG // 1024}"
                    )
    return found


def run(paths, *, force=False):
    """Execute and save the stale notebooks; return the number that failed."""
    failed = 0
    for path in paths:
        if not force and not is_stale(path):
            print(f"{path.stem}: fresh")
            continue
        notebook, start = read(path), time.perf_counter()
        try:
            execute(notebook, path.parent)
        except Exception as error:  # a failing cell, a dead kernel, a timeout: say which chapter
            print(f"{path.stem}: FAILED\n{error}", file=sys.stderr)
            failed += 1
            continue
        notebook.metadata["ddref"] = {"stamp": stamp(notebook, path.parent.parent)}
        text = nbformat.writes(tidy(notebook), version=4) + "\n"
        problems = faults(notebook, len(text.encode()))
        path.write_text(text, encoding="utf-8")
        print(f"{path.stem}: executed in {time.perf_counter() - start:.1f} s, {len(text) // 1024} KB")
        for problem in problems:
            print(f"{path.stem}: {problem}", file=sys.stderr)
        failed += bool(problems)
    return failed


def check(paths):
    """Name the stale notebooks; return their number."""
    stale = [path for path in paths if is_stale(path)]
    for path in stale:
        print(f"{path.stem}: stale; run `make book`, or python tools/notebooks.py run {path.stem}")
    return len(stale)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="execute the stale notebooks and store their outputs")
    runs.add_argument("--force", action="store_true", help="execute fresh ones too")
    checks = commands.add_parser("check", help="exit 1 and name them when notebooks are stale")
    for command in (runs, checks):
        command.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    paths = find(options.names)
    return 1 if (run(paths, force=options.force) if options.command == "run" else check(paths)) else 0


if __name__ == "__main__":
    sys.exit(main())
