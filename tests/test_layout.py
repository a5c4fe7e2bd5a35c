"""The shape of the repository: what stands on what, names in the text exist, nothing foreign is committed."""

import ast
import contextlib
import functools
import graphlib
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from ddref import copying

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PYPROJECT["project"]["urls"]["Repository"]

# What stands on what: a file or folder of ddref/ imports from the floors below it. On one floor nothing imports
# sideways, but for what SIDEWAYS names.
FLOORS = (
    {"arrays", "npz", "copying", "lazy", "book", "exercises"},
    {"measure"},  # the one rule by which a set is exact
    {"distill", "nearest", "box", "labels_only", "gauge", "intercept", "frontier", "kernel_points", "spectrum"}
    | {"maps", "nonsurjective", "datasets", "tables", "kip"},
    {"krr", "deep_linear", "statistics"},
    {"privacy"},
    {"recipe", "files"},
    {"estimator"},
    {"command"},
    {"__init__", "__main__"},
    {"conv", "distributed", "fourier"},  # they only say where their functions went
)
SIDEWAYS = {("nearest", "distill"), ("box", "nearest"), ("intercept", "distill")}
COMPOSING = {"recipe", "files", "estimator", "command"}  # may import a file whole: `krr.fit` beside `intercept.fit`
ALGEBRA = sorted((FLOORS[0] | FLOORS[1] | FLOORS[2] | FLOORS[3] | {"recipe"}) - {"kip"})  # no PyTorch, no scikit-learn

# What the paper numbers; the map has a row for each.
PAPER = (
    *(f"Theorem {number}" for number in "4.1 4.2 5.1 5.2 5.3 6.1 6.2 C.1 C.2 D.1".split()),
    *(f"Proposition {number}" for number in ("4.1", "6.1")),
    "Corollary 4.1.1",
    *(f"Example 5.{number}" for number in (1, 2, 3, 4)),
    "Algorithm 1",
    *(f"Table {number}" for number in (1, 2, 3, 4)),
    *(f"Figure {number}" for number in (1, 2, 3)),
)


def tracked():
    """The files of the repository: what git has, or would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})
    hidden = (".venv", ".venv-oldest", "_build", "__pycache__")
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in found if not set(hidden) & set(path.relative_to(ROOT).parts))


def texts():
    """The text of every file of ours, by its name."""
    found = {}
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        data = path.read_bytes()
        if not name.startswith("_vendor/") and b"\0" not in data:
            found[name] = data.decode("utf-8")
    return found


def markdown():
    """The Markdown of every page, by the file's name."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "chapters").glob("*.md")}
    for path in (ROOT / "chapters").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        pages[path.name] = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return pages


def labels(text):
    """The labels that Markdown defines: of directives, sections and equations."""
    written = (r"^:(?:label|name):\s*(\S+)", r"^\(([\w:-]+)\)=\s*$", r"\$\$\s*\(([\w:-]+)\)", r"\{#([\w:-]+)")
    return {label for pattern in written for label in re.findall(pattern, text, re.MULTILINE)}


# -- what stands on what


@functools.cache
def sources(root=ROOT):
    """The files of the package, as a dictionary of their syntax trees by path below ddref/."""
    return {
        path.relative_to(root / "ddref"): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((root / "ddref").rglob("*.py"))
    }


def imported(path, tree):
    """What a file imports of the package, inside of functions too: (module, name) pairs; module as a tuple of
    names below ddref/, name None for `import ddref.module`."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                folder = path.parts[:-1]
                module = folder[: len(folder) - node.level + 1] + module
            elif module[:1] != ("ddref",):
                continue
            else:
                module = module[1:]
            found += [(module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
            found += [(name[1:], None) for name in names if name[0] == "ddref"]
    return found


def is_file(module, trees):
    path = Path(*module) if module else Path()
    return path.with_suffix(".py") in trees or path / "__init__.py" in trees


def unit(path):
    """The file or folder directly in ddref/ that a path belongs to."""
    return path.with_suffix("").parts[0]


def arrows(trees):
    """Pairs of files and folders of ddref/ of which the first imports from the second."""
    found = set()
    for path, tree in trees.items():
        for module, name in imported(path, tree):
            target = module[0] if module else name
            if target and is_file((target,), trees) and target != unit(path):
                found.add((unit(path), target))
    return found


def floor(name):
    return next((number for number, names in enumerate(FLOORS) if name in names), None)


def upwards(found):
    """The arrows that lead up, or sideways where they must not."""
    return sorted(
        (a, b) for a, b in found if floor(b) > floor(a) or floor(b) == floor(a) and (a, b) not in SIDEWAYS
    )


def circle(trees):
    """Files that import each other in a circle, within a folder too; None where there is none."""
    graph = {}
    for path, tree in trees.items():
        if path.name != "__init__.py":
            for module, name in imported(path, tree):
                with contextlib.suppress(LookupError):
                    whole = module + (name,) if name and is_file(module + (name,), trees) else None
                    file = ".".join(("ddref", *module))
                    target = ".".join(("ddref", *whole)) if whole else copying.definition(file, name)[0].name
                    graph.setdefault(".".join(("ddref", *path.with_suffix("").parts)), set()).add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]


def test_every_file_is_on_a_floor():
    assert {unit(path) for path in sources()} <= set().union(*FLOORS)


def test_nothing_imports_upwards():
    assert upwards(arrows(sources())) == []


def test_no_files_import_each_other_in_a_circle():
    assert circle(sources()) is None


def test_an_import_upwards_and_a_circle_are_found():
    trees = {
        Path("arrays.py"): ast.parse("def f():\n    from .krr import fit"),
        Path("krr.py"): ast.parse("from . import arrays"),
        Path("gauge.py"): ast.parse("from ddref.distill import labels"),
        Path("distill.py"): ast.parse(""),
        Path("maps/linear.py"): ast.parse("import ddref.krr\nfrom ..arrays import norm"),
    }
    assert upwards(arrows(trees)) == [("arrays", "krr"), ("gauge", "distill"), ("maps", "krr")]
    trees = {Path("krr.py"): ast.parse("from . import gauge"), Path("gauge.py"): ast.parse("from . import krr")}
    assert set(circle(trees)) == {"ddref.krr", "ddref.gauge"}


def strange_imports(trees):
    """Imports that are not relative, not of names one by one, or of a private name; as sentences."""
    found = []
    for path, tree in trees.items():
        whole = {}
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(module.split(".")[0] == "ddref" for module in modules):
                found.append(f"{path}: {ast.unparse(node)} is not relative")
        for module, name in imported(path, tree):
            if name and name.startswith("_") and not name.startswith("__"):
                found.append(f"{path}: {name} of {'.'.join(module)} is private")
            if name == "*":
                found.append(f"{path}: imports everything of {'.'.join(module)}")
            if name and is_file((*module, name), trees):
                whole[name] = module
                if unit(path) not in COMPOSING and path.name not in ("__init__.py", "__main__.py"):
                    if not any(name == inner.stem for inner in trees if inner.parts[:-1] == (*module, name)):
                        found.append(f"{path}: imports the file {name}, not names one by one")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
                if node.attr.startswith("_") and not node.attr.startswith("__"):
                    found.append(f"{path}: {ast.unparse(node)} is private")
    return found


def test_names_are_imported_relatively_one_by_one_and_none_is_private():
    assert strange_imports(sources()) == []


def test_a_strange_import_is_found():
    trees = {
        Path("krr.py"): ast.parse("from ddref.arrays import norm\nfrom .arrays import _each\nfrom . import arrays"),
        Path("recipe.py"): ast.parse("from . import arrays\narrays._each\narrays.norm"),
        Path("arrays.py"): ast.parse("import math\nfrom math import _private"),
    }
    found = strange_imports(trees)
    assert len(found) == 4 and "recipe.py: arrays._each is private" in found


def without_annotations(trees):
    """The public functions and methods of which an argument or the result has no annotation."""
    found = []
    for path, tree in trees.items():
        pending = [(node, "") for node in tree.body]
        while pending:
            node, prefix = pending.pop()
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not re.match(r"_(?!_init__|_call__)", node.name)
            if public and isinstance(node, ast.ClassDef):
                pending += [(inner, f"{prefix}{node.name}.") for inner in node.body]
            elif public:
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                arguments += filter(None, [node.args.vararg, node.args.kwarg])
                free = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
                free += ["its result"] if node.returns is None and node.name != "__init__" else []
                if free:
                    found.append(f"{path}: {prefix}{node.name}: {', '.join(free)}")
    return sorted(found)


def test_every_public_function_and_method_is_annotated():
    assert without_annotations(sources()) == []


def test_a_missing_annotation_is_found():
    text = "class A:\n    def f(self, x): pass\n    def _g(x): pass\ndef h(*a: int, b: int) -> int: pass"
    assert without_annotations({Path("a.py"): ast.parse(text)}) == ["a.py: A.f: x, its result"]


WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ImportError(f"{{name}} is not here")

sys.meta_path.insert(0, Absent())
sys.path.insert(0, {folder!r})
"""


def python(code, absent):
    """Run `code` in a new Python to which the modules `absent` are not installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = WITHOUT.format(folder=str(ROOT), absent=set(absent)) + code
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_the_package_and_its_algebra_import_without_torch_and_scikit_learn():
    here = [name for name in ALGEBRA if is_file((name,), sources())]
    code = "".join(f"\nimport ddref.{name}" for name in here) + "\nfrom ddref.nonsurjective import generic_count"
    absent = {"torch", "sklearn", "pooch", "tqdm", "PIL", "dask", "matplotlib"}
    done = python(code, absent)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy():
    done = python("import ddref; print(sorted({'numpy', 'torch', 'sklearn'} & set(sys.modules)))", ())
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# -- names in the text


def cited_labels():
    """The labels that docstrings cite, as (file, label): a line `Book: thm-name.` or `Book: a, b.`"""
    cited = []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            text = (ast.get_docstring(node) or "") if documented else ""
            for names in re.findall(r"^\s*Book: ([\w-]+(?:, [\w-]+)*)", text, re.MULTILINE):
                cited += [(path.as_posix(), label) for label in names.split(", ")]
    return cited


def test_labels_cited_in_docstrings_exist_in_the_book():
    known = set().union(*map(labels, markdown().values()))
    assert cited_labels()
    assert [(file, label) for file, label in cited_labels() if label not in known] == []


def test_each_way_to_write_a_label_is_read():
    text = ":label: thm-a\n$$\nx\n$$ (eq-b)\n(sec-c)=\n# C\n:name: fig-d\n"
    assert labels(text) == {"thm-a", "eq-b", "sec-c", "fig-d"}


def resolve(name):
    """What `ddref.maps.linear.Linear.preimage` names; ImportError or AttributeError where that is nothing."""
    head, *rest = name.split(".")
    found = importlib.import_module(head)
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            if not hasattr(found, "__path__"):
                raise
            found = importlib.import_module(f"{found.__name__}.{part}")
    return found


@functools.cache
def functions_of(name):
    """The names of the functions of a file, none where there is no such file."""
    text = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).exists() else ""
    return frozenset(node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))


def unresolved(text):
    """The names in backticks that are neither a function of the package nor a test."""
    missing = []
    for name in re.findall(r"`(ddref(?:\.\w+)+)(?:\(.*?\))?`", text):
        try:
            resolve(name)
        except (ImportError, AttributeError):
            missing.append(name)
    for name, test in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?[^`]*`", text):
        functions = functions_of(name)
        if test not in {"", *functions} or not functions:
            missing.append(f"{name}::{test}")
    return missing


@pytest.mark.parametrize("name", ["chapters/paper_map.md", "README.md"])
def test_functions_and_tests_named_in_the_tables_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "`ddref." in text and "`tests/" in text
    assert unresolved(text) == []


def test_a_name_that_does_not_exist_is_found():
    wrong = "`ddref.krr.nothing` `ddref.no.fit` `tests/test_no.py::test_x` `tests/test_layout.py::test_no`"
    right = "`ddref.krr` `ddref.krr.fit` `tests/test_layout.py` `tests/test_layout.py::test_no_file_is_large`"
    assert len(unresolved(wrong)) == 4
    assert unresolved(right) == []


def test_the_map_has_a_row_for_everything_the_paper_numbers():
    text = (ROOT / "chapters/paper_map.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines()]
    entries = "\n".join(row[1] for row in rows if len(row) > 3)
    assert [item for item in PAPER if not re.search(rf"\b{re.escape(item)}(?![\d.]*\d)", entries)] == []


def test_the_reference_lists_every_file_with_public_functions():
    text = (ROOT / "chapters/api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"automodule:: (ddref[\w.]*)", text))
    files = {f"ddref.{name}".rpartition(".")[0] for name in copying.public()}
    assert {file for file in files if not {file, file.rpartition(".")[0]} & listed} == set()
    assert {module for module in listed if copying.path_of(module) is None} == set()


# -- the repository


def test_the_table_of_contents_lists_every_chapter_and_only_pages_that_exist():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    pages = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for kind in ("md", "ipynb")
        for path in (ROOT / "chapters").glob(f"*.{kind}")
    }
    assert sorted(listed) == sorted(pages)


def test_no_file_names_a_path_of_a_machine_or_the_host_of_a_package_registry():
    folders = "|".join(("work", "farm", "root", r"home/\w+", r"Users/\w+", r"tmp/\w+", r"opt/\w+"))
    hosts = "|".join(("pypi", "pythonhosted", "registry.npmjs", "anaconda", "download.pytorch"))
    foreign = re.compile(rf"(?<![\w.<])/(?:{folders})/|\.(?:pyenv|conda)/|\b(?:{hosts})\.org")
    found = [
        f"{name}: {match.group()}"
        for name, text in texts().items()
        for match in foreign.finditer(text)
    ]
    assert found == []
    for example in ("/ro" + "ot/x", "'/ho" + "me/ann/x'", "https://py" + "pi.org/simple"):
        assert foreign.search(example), example


def test_no_file_is_large():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    assert {name: size for name, size in sizes.items() if size > 4 * 2**20} == {}
    assert sum(sizes.values()) < 20 * 2**20


def test_the_repository_has_one_address():
    owner, name = REPOSITORY.removeprefix("https://github.com/").split("/")
    address = re.compile(r"(?:github\.com[/:]|google\.com/github/|mybinder\.org/v2/gh/)([\w.-]+)/([\w-]+)")
    for file, text in texts().items():
        for found in address.findall(text):
            if name in found[0] or name in found[1]:
                assert found == (owner, name), f"{file}: {'/'.join(found)}"
    book = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert book["repository"]["url"] == REPOSITORY
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == REPOSITORY
    version = importlib.import_module("ddref").__version__
    assert citation["version"] == version == PYPROJECT["project"]["version"]


def test_every_requirement_is_pinned_and_every_extra_is_among_them():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    entries = [line.partition("#")[0].strip() for line in text.splitlines()]
    pinned = {re.fullmatch(r"([\w.-]+)==[\w.]+", entry)[1] for entry in entries if entry}
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    wanted = [*PYPROJECT["project"]["dependencies"], *(entry for extra in extras for entry in extra)]
    assert {re.match(r"[\w.-]+", entry)[0] for entry in wanted} <= pinned


def test_the_oldest_versions_tested_are_the_lower_bounds():
    text = (ROOT / "requirements-oldest.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w-]+)==([\w.]+)$", text, re.MULTILINE))
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(entry for name in ("torch", "data", "sklearn", "tables") for entry in extras[name])]
    bounds = dict(re.fullmatch(r"([\w-]+)>=([\w.]+)", entry).groups() for entry in wanted if ">=" in entry)
    assert {name: re.sub(r"(\.0)+$", "", version) for name, version in tested.items()} == {
        name: re.sub(r"(\.0)+$", "", version) for name, version in bounds.items()
    }
