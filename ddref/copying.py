"""``ddref copy nearest.nearest``: a function and all it needs, in one file.

The file begins with licence, version and address, then come the function asked for,
what it needs from the package, and the checks of the ground. It is put together from
the sources, read as syntax trees; nothing is executed. Text and comments are those of
the package. What changes: imports of its own files go, in examples too; of names that
two files define the later one becomes ``file_name``; docstrings of what is needed end
before their sections, which are in the reference.
"""

import ast
import contextlib
import difflib
import doctest
import functools
import re
import symtable
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

PACKAGE = Path(__file__).resolve().parent
NOT_COPIED = {"command", "copying", "lazy", "exercises"}  # of no use elsewhere
ADDRESS = "https://github.com/ddref/ddref"

Node: TypeAlias = Any  # of a syntax tree; its fields depend on its kind

# ------------------------------------------------------------- the package as it reads


class Source(NamedTuple):
    """A file of the package, read and not run."""

    name: str  # "ddref.maps.linear"
    path: Path
    tree: ast.Module
    lines: list[str]
    here: dict[str, Node]  # the statements that define its names
    ours: dict[str, tuple[str, str]]  # names from the package: their file, name there
    theirs: dict[str, Node]  # names from elsewhere: an import of this one name


def path_of(name: str) -> Path | None:
    """The path of a file or folder of the package, ``ddref.maps.linear``; or None."""
    base = PACKAGE.joinpath(*name.split(".")[1:])
    found = [base / "__init__.py", base.with_name(base.name + ".py")]
    return next((path for path in found if path.is_file()), None)


@functools.cache
def read(name: str) -> Source:
    """The file called ``ddref.krr`` or, for a folder, its ``__init__``."""
    path = path_of(name)
    if path is None:
        raise LookupError(f"there is no file {name}")
    text = path.read_text(encoding="utf-8")
    source = Source(name, path, ast.parse(text), text.splitlines(), {}, {}, {})
    for node in _statements(source.tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            source.ours.update(_from_package(source, node))
            source.theirs.update(_from_elsewhere(node))
        else:
            source.here.update(dict.fromkeys(_bound(node), node))
    return source


def _statements(body: list[Node]) -> Iterator[Node]:
    """Statements of a file, those for type checkers alone among them."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body
        else:
            yield node


def _bound(node: Node) -> list[str]:
    """The names that a statement of a file defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    parts = [part for target in targets if target for part in ast.walk(target)]
    inner = [*getattr(node, "body", []), *getattr(node, "orelse", [])]
    for handler in getattr(node, "handlers", []):
        inner += handler.body
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    for statement in inner:
        names += [*_bound(statement), *_from_elsewhere(statement)]
    return list(dict.fromkeys(names))


def _from_package(source: Source, node: Node) -> dict[str, tuple[str, str]]:
    """What an import takes from the package: names here, and file and name there."""
    if not isinstance(node, ast.ImportFrom):
        return {}
    folder = source.name.split(".")
    if node.level:
        up = node.level - (source.path.name == "__init__.py")
        base = folder[: len(folder) - up] + (node.module or "").split(".")
    else:
        base = (node.module or "").split(".")
    if base[0] != PACKAGE.name:
        return {}
    file = ".".join(filter(None, base))
    return {alias.asname or alias.name: (file, alias.name) for alias in node.names}


def _from_elsewhere(node: Node) -> dict[str, Node]:
    """What an import takes from other packages, each name with an import of its own."""
    found: dict[str, Node] = {}
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] != PACKAGE.name:
                name = alias.asname or alias.name.partition(".")[0]
                found[name] = ast.Import([alias])
    elif isinstance(node, ast.ImportFrom) and not node.level:
        if (node.module or "").partition(".")[0] not in (PACKAGE.name, "__future__"):
            for alias in node.names:
                found[alias.asname or alias.name] = ast.ImportFrom(
                    node.module, [alias], 0
                )
    return found


@functools.cache
def files_in(name: str) -> list[str]:
    """The files and folders directly in a folder, as ``ddref.maps.linear``."""
    path = path_of(name)
    if path is None or path.name != "__init__.py":
        return []
    stems = {
        inner.stem if inner.is_file() else inner.name
        for inner in path.parent.iterdir()
        if inner.suffix == ".py" or (inner / "__init__.py").is_file()
    }
    return [f"{name}.{stem}" for stem in sorted(stems) if not stem.startswith("__")]


def definition(file: str, name: str) -> tuple[Source, str]:
    """The file that defines a name of `file`, and its name there.

    Imports are followed. What a folder hands on in another way, say when it is first
    used, is looked for in the files of the folder.
    """
    source = read(file)
    if name in source.here:
        return source, name
    if name in source.ours:
        return definition(*source.ours[name])
    pending = list(files_in(file))
    if file == PACKAGE.name and (
        path_of(f"{file}.{name}") or name not in texts_in(file)
    ):
        pending = []
    while pending:
        inner = pending.pop(0)
        if name in read(inner).here:
            return read(inner), name
        pending += files_in(inner)
    raise LookupError(f"{file} defines no {name}")


@functools.cache
def texts_in(file: str) -> set[str]:
    """The strings of a file."""
    nodes = ast.walk(read(file).tree)
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant)}


def locate(name: str) -> tuple[Source, list[str]]:
    """The file that defines ``ddref.maps.Linear.preimage``, and what follows it there:
    ``["Linear", "preimage"]``.
    """
    first, *rest = name.removeprefix(f"{PACKAGE.name}.").split(".")
    file = PACKAGE.name
    parts = [first, *rest]
    # In a folder, `kip.train` is the function of kip/train.py rather than the file.
    while len(parts) > (file != PACKAGE.name) and path_of(f"{file}.{parts[0]}"):
        file = f"{file}.{parts.pop(0)}"
    if not parts:
        raise LookupError(f"{name} is a file: name what you want of it")
    source, found = definition(file, parts[0])
    return source, [found, *parts[1:]]


def public() -> list[str]:
    """Every public function and class of the package, as ``maps.linear.Linear``."""
    names, pending = [], [PACKAGE.name]
    while pending:
        file = pending.pop(0)
        if not {*file.split(".")[1:2]} & NOT_COPIED:
            pending += files_in(file)
            for name, node in read(file).here.items():
                defined = isinstance(node, ast.FunctionDef | ast.ClassDef)
                if defined and not name.startswith("_") and file != PACKAGE.name:
                    names.append(f"{file}.{name}".removeprefix(f"{PACKAGE.name}."))
    return names


def suggestions(name: str) -> list[str]:
    """Names of the package that are close to a wrong one."""
    known = public()
    short = name.removeprefix(f"{PACKAGE.name}.").rpartition(".")[2]
    same = [each for each in known if each.rpartition(".")[2] == short]
    return same or difflib.get_close_matches(name, known, n=3, cutoff=0.5)


# -------------------------------------------------------------------- what needs what


class Part(NamedTuple):
    """A statement of a file that defines something: a function, a class, a constant."""

    source: Source
    node: Node

    @property
    def key(self) -> tuple[str, int]:
        return self.source.name, self.node.lineno

    @property
    def first(self) -> int:
        """Its first line: of its decorators, and of the comment right above it."""
        lines = self.source.lines
        decorators = [d.lineno for d in getattr(self.node, "decorator_list", [])]
        line = min([self.node.lineno, *decorators])
        while line > 1 and re.match(r"#(?! ?--)", lines[line - 2]):
            line -= 1
        return line

    @property
    def text(self) -> str:
        return "\n".join(self.source.lines[self.first - 1 : self.node.end_lineno])

    def imports(self) -> list[Node]:
        """Imports from the package inside of it."""
        return [
            inner
            for inner in _walk(self.node)
            if isinstance(inner, ast.ImportFrom) and _from_package(self.source, inner)
        ]

    def names(self) -> dict[str, tuple[str, str]]:
        """The names it uses of the file around it or imports inside of it, ``krr.fit``
        for what it uses of a whole file, and the file and the name there where these
        come from.
        """
        ours = dict(self.source.ours)
        for inner in self.imports():
            ours.update(_from_package(self.source, inner))
        found = {}
        for name in {*_globals(self.text), *(ours.keys() - self.source.ours.keys())}:
            file, there = ours.get(name, (self.source.name, name))
            if name in ours and (whole := _as_file(file, there)):
                for node in _walk(self.node):
                    if isinstance(node, ast.Attribute) and name == _dotted(node.value):
                        found[f"{name}.{node.attr}"] = whole, node.attr
            else:
                found[name] = file, there
        return found


@functools.cache
def _walk(node: Node) -> tuple[Node, ...]:
    """A statement and all in it; remembered, since many copies need it."""
    return tuple(ast.walk(node))


def _as_file(file: str, name: str) -> str | None:
    """The file that a name of `file` stands for, where it stands for a whole file."""
    whole = path_of(f"{file}.{name}") and f"{file}.{name}"
    if whole and file != PACKAGE.name:
        with contextlib.suppress(LookupError):  # kip.train, a function of kip/train.py
            return definition(file, name) and None
    return whole or None


def _dotted(node: Node) -> str:
    """A name, or what is taken of a name, as text; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return (before := _dotted(node.value)) and f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@functools.cache
def _globals(text: str) -> tuple[str, ...]:
    """The names that a statement takes from around it, annotations in quotes too."""
    pending, names = [symtable.symtable(text, "part", "exec")], set()
    top = pending[0]
    while pending:
        table = pending.pop()
        pending += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global() or (table is top and symbol.is_referenced()):
                names.add(symbol.get_name())
    for node in ast.walk(ast.parse(text)):
        quoted = getattr(node, "annotation", None) or getattr(node, "returns", None)
        for inner in ast.walk(quoted) if quoted else ():
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                names |= set(re.findall(r"\w+", inner.value))
    return tuple(sorted(names))


def _at_once(node: Node) -> Iterator[Node]:
    """The expressions that are evaluated when a statement of a file is reached."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from node.decorator_list
        yield from node.args.defaults
        yield from (default for default in node.args.kw_defaults if default)
    elif isinstance(node, ast.ClassDef):
        yield from [*node.bases, *node.decorator_list]
        yield from (keyword.value for keyword in node.keywords)
        for inner in node.body:
            yield from _at_once(inner)
    else:
        for field, inner in ast.iter_fields(node):
            if field != "annotation":
                listed = inner if isinstance(inner, list) else [inner]
                yield from (part for part in listed if isinstance(part, ast.expr))
                for statement in listed:
                    if isinstance(statement, ast.stmt):
                        yield from _at_once(statement)


def _used_at_once(node: Node) -> tuple[list[str], set[str]]:
    """The names that a statement of a file needs when it is reached, and those of them
    that it calls.
    """
    expressions = list(_at_once(node))
    inner = [part for expression in expressions for part in ast.walk(expression)]
    called = [part.func for part in inner if isinstance(part, ast.Call)]
    called += getattr(node, "decorator_list", [])
    return (
        list(dict.fromkeys(filter(None, map(_dotted, inner)))),
        set(filter(None, map(_dotted, called))),
    )


def _in_examples(part: Part) -> list[Part]:
    """What the examples of a docstring use of the package, or import from it."""
    found = []
    for node in _walk(part.node):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            text = ast.get_docstring(node) or ""
            lines = doctest.DocTestParser().get_examples(text)
            code = "".join(line.source for line in lines)
            used = {name: (part.source.name, name) for name in _globals(code)}
            for inner in ast.parse(code).body:
                used.update(_from_package(part.source, inner))
            for file, name in used.values():
                with contextlib.suppress(LookupError):
                    source, there = definition(file, name)
                    found.append(Part(source, source.here[there]))
    return found


class Closure:
    """What some functions and their examples need, transitively: parts of the package,
    imports of others.

    `parts` is in the order found, `names[part.key]` says which part each name is.
    """

    def __init__(self, wanted: Iterable[str]):
        self.parts: dict[tuple[str, int], Part] = {}
        self.names: dict[tuple[str, int], dict[str, tuple[Part, str]]] = {}
        self.outer: dict[str, Node] = {}
        self.asked: list[tuple[Part, str]] = []
        for name in wanted:
            source, path = locate(name)
            self.asked.append((Part(source, source.here[path[0]]), path[0]))
        pending = [part for part, _ in self.asked]
        pending += [used for part, _ in self.asked for used in _in_examples(part)]
        while pending:
            part = pending.pop(0)
            if part.key not in self.parts:
                self.parts[part.key] = part
                pending += self._needed(part)

    def _needed(self, part: Part) -> list[Part]:
        found: dict[str, tuple[Part, str]] = {}
        for name, (file, there) in part.names().items():
            theirs = read(file).theirs.get(there)
            if theirs is not None:
                self._take(name, theirs)
                continue
            try:
                source, there = definition(file, there)
            except LookupError:
                continue  # a name of Python itself
            found[name] = Part(source, source.here[there]), there
        self.names[part.key] = found
        return [needed for needed, _ in found.values()]

    def _take(self, name: str, line: ast.stmt) -> None:
        if ast.unparse(self.outer.setdefault(name, line)) != ast.unparse(line):
            raise LookupError(
                f"two files import {name} differently: it cannot be copied"
            )

    def ordered(self) -> list[Part]:
        """The parts as they can be run: the ones asked for first, the ground last, and
        before each what it needs while it is defined.
        """
        files = list(dict.fromkeys(name for name, _ in self.parts))
        ground = [f"{PACKAGE.name}.{stem}" for stem in ("npz", "arrays")]
        asked = [part.key for part, _ in self.asked]
        ranks = {name: (name in ground, i) for i, name in enumerate(files)}
        done: dict[tuple[str, int], Part] = {}
        complete: set[tuple[str, int]] = set()

        def emit(key: tuple[str, int], around: frozenset, whole: bool = False) -> None:
            if key in around or key in (complete if whole else done):
                return
            around |= {key}
            names = self.names[key]
            used, called = _used_at_once(self.parts[key].node)
            for name in filter(names.get, used):
                emit(names[name][0].key, around, name in called)
            if whole:  # it runs before the end of the file: all it uses must be there
                complete.add(key)
                for needed, _ in names.values():
                    emit(needed.key, around, True)
            done.setdefault(key, self.parts[key])

        for key in [*asked, *sorted(self.parts, key=lambda k: (ranks[k[0]], k[1]))]:
            emit(key, frozenset())
        return list(done.values())


# ----------------------------------------------------------------------- one file of it

LICENCE = """\
MIT License

Copyright (c) 2024 The ddref authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

# What array_api_compat does for NumPy arrays (NumPy 2.1 or later has the rest itself).
STAND_INS = {
    "array_namespace": """\
def array_namespace(*arrays):
    if not all(isinstance(A, np.ndarray | np.generic) for A in arrays if A is not None):
        raise TypeError("NumPy arrays are needed")
    return np
""",
    "device": """\
def device(A):
    return str(A.device)
""",
    "to_device": """\
def to_device(A, device):
    return A
""",
    "is_numpy_array": """\
def is_numpy_array(A):
    return isinstance(A, np.ndarray | np.generic)
""",
    "is_torch_array": """\
def is_torch_array(A):
    return False
""",
}

# Packages whose name to install is not the one to import.
INSTALLED_AS = {
    "array_api_compat": "array-api-compat",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
}


def copied(wanted: Iterable[str], *, numpy: bool = False) -> str:
    """The text of one file with the functions or classes `wanted`, ``nearest.nearest``,
    and all they need.

    With `numpy`, what is needed of array_api_compat is written into it, so that it runs
    with NumPy alone. ValueError for a name that does not exist, with those near it, and
    for what cannot be copied.

    >>> print(copied(["krr.fit"])[:20])
    # ddref.krr.fit of v
    """
    try:
        return _one_file(_closure(wanted), numpy)
    except LookupError as error:
        raise ValueError(str(error)) from error


def _closure(wanted: Iterable[str]) -> Closure:
    for name in wanted:
        try:
            locate(name)
        except LookupError as error:
            near = ", ".join(suggestions(name))
            raise LookupError(f"{error}; near it: {near}" if near else error) from None
    return Closure(wanted)


def _one_file(closure: Closure, numpy: bool) -> str:
    outer = dict(closure.outer)
    stand_ins = []
    if numpy:
        for name, line in closure.outer.items():
            known = getattr(line, "module", "") == "array_api_compat"
            if known and line.names[0].name in STAND_INS:
                stand_ins.append(STAND_INS[line.names[0].name])
                stand_ins[-1] = stand_ins[-1].replace("def device(", f"def {name}(")
                del outer[name]
        if stand_ins:
            outer["np"] = ast.parse("import numpy as np").body[0]
    packages = _packages(outer.values())
    if numpy and (more := [name for name in packages if name != "numpy"]):
        raise LookupError(f"it cannot run with NumPy alone: it needs {', '.join(more)}")
    emitted = _emitted_names(closure)
    text = _heading(closure, packages) + _import_block(outer.values())
    if stand_ins:
        said = "# In place of array_api_compat, for NumPy arrays alone."
        text += "\n\n\n".join(["", said, *stand_ins]).replace("\n\n\n\n", "\n\n\n")
        text = text.rstrip()
    file, defined = "", True
    for part in closure.ordered():
        defines = isinstance(part.node, ast.FunctionDef | ast.ClassDef)
        gap = "\n\n\n" if defines or defined else "\n"
        if part.source.name != file:
            file = part.source.name
            path = part.source.path.relative_to(PACKAGE.parent).as_posix()
            text += f"\n\n\n# {'-' * (85 - len(path))} {path}"
            gap = "\n\n\n" if defines else "\n\n"
        text += gap + _rewritten(part, closure, emitted)
        defined = defines
    return text + "\n"


def _heading(closure: Closure, packages: list[str]) -> str:
    names = [f"{part.source.name}.{name}" for part, name in closure.asked]
    version = read(PACKAGE.name).here["__version__"].value.value
    needs = " ".join(INSTALLED_AS.get(name, name) for name in packages)
    text = f"{', '.join(names)} of version {version}, {ADDRESS}\n"
    text += f"Needs Python 3.11 or later{f'; pip install {needs}' if needs else ''}\n"
    lines = [
        f"# {line}".rstrip() for line in [*text.splitlines(), "", *LICENCE.splitlines()]
    ]
    return "\n".join(lines) + "\n\nfrom __future__ import annotations\n\n"


def _packages(imports: Iterable[Node]) -> list[str]:
    """The packages that imports name, without the standard library."""
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    heads = {name.partition(".")[0] for name in names}
    if "array_api_compat" in heads:
        heads.add("numpy")  # or PyTorch
    return sorted(
        heads - sys.stdlib_module_names, key=lambda name: (name != "numpy", name)
    )


def _import_block(imports: Iterable[Node]) -> str:
    """Imports as they are written: the standard library first, names of one file
    together.
    """
    merged: dict[str, list[Node]] = {}
    plain = []
    for node in imports:
        if isinstance(node, ast.ImportFrom):
            merged.setdefault(str(node.module), []).extend(node.names)
        else:
            plain.append(node)
    lines = [(node.names[0].name, ast.unparse(node)) for node in plain]
    for module, aliases in merged.items():
        names = sorted({ast.unparse(alias) for alias in aliases})
        line = f"from {module} import {', '.join(names)}"
        if len(line) > 88:
            line = f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"
        lines.append((module, line))
    blocks: list[list[str]] = [[], []]
    for module, line in sorted(lines, key=lambda pair: (pair[1][:4] == "from", pair)):
        blocks[module.partition(".")[0] not in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _emitted_names(closure: Closure) -> dict[tuple[str, str], str]:
    """The name in the one file of every name, by its file and its name there."""
    emitted: dict[tuple[str, str], str] = {}
    owner: dict[str, Part] = {}
    for part in closure.parts.values():
        for name in _bound(part.node):
            taken = owner.get(name)
            new = name
            if taken is not None or name in closure.outer:
                if name.startswith("_") and taken is not None:
                    raise LookupError(
                        f"{taken.source.name} and {part.source.name} define {name} "
                        "differently: they cannot meet in one file"
                    )
                new = f"{part.source.name.rpartition('.')[2]}_{name}"
            owner[new] = part
            emitted[part.source.name, name] = new
    return emitted


def _rewritten(
    part: Part, closure: Closure, emitted: dict[tuple[str, str], str]
) -> str:
    """The text of a part without its imports from the package, and with the names of
    the one file.
    """
    lines: list[Any] = [None, *part.source.lines]  # by their numbers
    new = {
        name: emitted[needed.source.name, there]
        for name, (needed, there) in closure.names[part.key].items()
        if emitted[needed.source.name, there] != name
    }
    taken = {node.arg for node in _walk(part.node) if isinstance(node, ast.arg)}
    if both := taken & set(new):
        raise LookupError(
            f"{part.source.name} has {both.pop()} as a function and as an argument: it "
            "cannot be copied together with another function of this name"
        )
    places = [node for node in _walk(part.node) if new and _dotted(node) in new]
    for node in sorted(places, key=lambda node: (node.lineno, -node.col_offset)):
        line = lines[node.lineno].encode()
        before, after = line[: node.col_offset], line[node.end_col_offset :]
        lines[node.lineno] = (before + new[_dotted(node)].encode() + after).decode()
    number = part.node.lineno
    if isinstance(part.node, ast.FunctionDef | ast.ClassDef):
        name = emitted[part.source.name, part.node.name]
        lines[number] = re.sub(r"^(def|class) \w+", rf"\1 {name}", lines[number])
    for node in part.imports():
        lines[node.lineno : node.end_lineno + 1] = [None] * _height(node)
    for number in range(part.first, part.node.end_lineno + 1):
        # in an example: the name is in this file
        if re.match(rf"\s*>>> from {PACKAGE.name}\b[\w.]* import", lines[number] or ""):
            lines[number] = None
    if all(part.node is not asked.node for asked, _ in closure.asked):
        for node in _walk(part.node):
            _shorten_docstring(node, lines)
    kept = lines[part.first : part.node.end_lineno + 1]
    return "\n".join(line for line in kept if line is not None)


def _height(node: Node) -> int:
    return node.end_lineno - node.lineno + 1


def _shorten_docstring(node: Node, lines: list[Any]) -> None:
    """Take out the sections of a docstring, from `Parameters` on: they are in the
    reference, and their examples may need more.
    """
    documented = isinstance(node, ast.FunctionDef | ast.ClassDef)
    if not documented or ast.get_docstring(node) is None:
        return
    string = node.body[0]
    for number in range(string.lineno + 1, string.end_lineno):
        if re.fullmatch(r"\s+-{3,}", lines[number] or ""):
            last = number - 1 - (lines[number - 2] == "")  # the line after what stays
            lines[last : string.end_lineno + 1] = [None] * (
                string.end_lineno + 1 - last
            )
            if last == string.lineno + 1 and len(lines[last - 1] or "") <= 85:
                lines[last - 1] = f'{lines[last - 1]}"""'
            else:
                lines[last] = " " * string.col_offset + '"""'
            return
