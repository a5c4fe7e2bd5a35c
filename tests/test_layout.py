"""The shape of the repository: rooms stand alone, names in the text exist, nothing foreign is committed."""

import ast
import functools
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

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PYPROJECT["project"]["urls"]["Repository"]

# Files that put rooms together may import them; every other file of ddref/ is a room.
COMPOSING = {"__init__", "__main__", "datasets", "recipe", "estimator", "files", "kip", "distributed"}
ROOMS = sorted(path for path in (ROOT / "ddref").glob("*.py") if path.stem not in COMPOSING)
TORCH_ROOMS = {"conv", "nonsurjective"}  # rooms that need gradients or convolutions, and say so

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
    hidden = (".venv", "_build", "__pycache__")
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


# -- rooms

ALONE = """
import doctest, sys

class Absent:
    names = set({absent!r})
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{{name}} is not here")

sys.meta_path.insert(0, Absent())
sys.path.insert(0, {folder!r})
"""


def python(code, folder, absent):
    """Run `code` in a new Python that sees `folder`, and to which the modules `absent` are not installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = ALONE.format(folder=str(folder), absent=sorted(absent)) + code
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.stem)
def test_a_room_copied_alone_imports_and_its_examples_run(room, tmp_path):
    (tmp_path / room.name).write_bytes(room.read_bytes())
    absent = {"ddref", "sklearn", *(() if room.stem in TORCH_ROOMS else ("torch",))}
    examples = "\nfailed, tried = doctest.testmod(room)\nsys.exit(bool(failed) or not tried)"
    done = python(f"import {room.stem} as room" + examples, tmp_path, absent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_room_that_imports_a_sibling_or_torch_would_be_caught(tmp_path):
    for line in ("from ddref import krr", "import torch", "import sklearn.linear_model"):
        (tmp_path / "room.py").write_text(line)
        assert "is not here" in python("import room", tmp_path, {"ddref", "sklearn", "torch"}).stderr


def test_the_package_and_its_algebra_import_without_torch_and_scikit_learn():
    rooms = "".join(f"\nddref.{path.stem}" for path in ROOMS if path.stem not in TORCH_ROOMS)
    done = python("import ddref" + rooms + "\nddref.datasets", ROOT, {"torch", "sklearn", "pooch", "tqdm"})
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy():
    done = python("import ddref; print(sorted({'numpy', 'torch', 'sklearn'} & set(sys.modules)))", ROOT, ())
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.stem)
def test_a_room_imports_no_sibling(room):
    for node in ast.walk(ast.parse(room.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and (node.module or "").partition(".")[0] != "ddref", ast.unparse(node)
        if isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] != "ddref" for alias in node.names), ast.unparse(node)


def test_the_input_checks_are_the_same_in_every_room_that_has_them():
    blocks = {}
    for path in ROOMS:
        text = path.read_text(encoding="utf-8")
        assert text.count("# -- input checks") == text.count("# -- end of input checks") <= 1, path.name
        if "# -- input checks" in text:
            blocks[path.name] = text[text.index("# -- input checks") : text.index("# -- end of input checks")]
    first = next(iter(blocks))
    for name, block in blocks.items():
        assert block == blocks[first], f"the input checks of {name} and {first} differ"
    assert len(blocks) >= 2


# -- names in the text


def cited_labels():
    """The labels that docstrings cite, as (room, label): a line `Book: thm-name.` or `Book: a, b.`"""
    cited = []
    for path in sorted((ROOT / "ddref").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            text = (ast.get_docstring(node) or "") if documented else ""
            for names in re.findall(r"^\s*Book: ([\w-]+(?:, [\w-]+)*)", text, re.MULTILINE):
                cited += [(path.name, label) for label in names.split(", ")]
    return cited


def test_labels_cited_in_docstrings_exist_in_the_book():
    known = set().union(*map(labels, markdown().values()))
    assert cited_labels()
    assert [(room, label) for room, label in cited_labels() if label not in known] == []


def test_each_way_to_write_a_label_is_read():
    text = ":label: thm-a\n$$\nx\n$$ (eq-b)\n(sec-c)=\n# C\n:name: fig-d\n"
    assert labels(text) == {"thm-a", "eq-b", "sec-c", "fig-d"}


def resolve(name):
    """Whether `ddref.room.function` names something."""
    module, *attributes = name.split(".")[1:]
    found = importlib.import_module(f"ddref.{module}")
    for attribute in attributes:
        found = getattr(found, attribute)
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
