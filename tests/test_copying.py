"""`ddref copy`: every public function runs when it is written alone, with all it needs, into one file."""

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ddref import copying

ROOT = Path(__file__).resolve().parent.parent

# What looks for something in the package: the file that is shipped, every map that there is.
INSIDE = {"datasets.samples.fashion_sample", "maps.written.restore"}

# -- every public function, alone

# One Python for all of them, in which nothing of the package is there, and first nothing but NumPy.
RUN = """
import doctest, importlib, json, sys, traceback

class Absent:
    names = ()

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{{name}} is not here")

absent, failed = Absent(), {{}}
sys.meta_path.insert(0, absent)
sys.path.insert(0, {folder!r})
for stage, names, modules in {stages!r}:
    absent.names, failed[stage] = names, []
    for module, name in modules:
        try:
            copied = importlib.import_module(module)
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            for test in doctest.DocTestFinder().find(getattr(copied, name), name, copied):
                runner.run(test)
            if runner.summarize(verbose=False).failed:
                failed[stage].append(module)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed[stage].append(module)
    failed[stage] += {{module.partition(".")[0] for module in sys.modules}} & set(names)
print("failed:", json.dumps(failed))
"""
ABSENT = {
    "NumPy alone": ["ddref", "torch", "sklearn", "array_api_compat"],
    "two files of your own": ["ddref", "torch", "sklearn"],
    "algebra": ["ddref", "torch", "sklearn"],
    "torch": ["ddref", "sklearn"],
    "sklearn+torch": ["ddref"],
}


@functools.cache
def copies(numpy=False):
    """The text of each public function, or why it cannot be copied."""
    texts, refused = {}, {}
    for name in copying.public():
        try:
            texts[name] = copying.copied([name], numpy=numpy)
        except ValueError as error:
            refused[name] = str(error)
    return texts, refused


@functools.cache
def imported(part):
    nodes = [node for node in ast.walk(ast.parse(part)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in nodes}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def needs(text):
    """The packages that a file imports, anywhere in it; each definition, which many copies have, is read once."""
    return set().union(*map(imported, text.split("\n\n\n")))


def runs_alone(stage):
    """The texts of the functions that a stage runs, by their names."""
    texts = {name: text for name, text in copies(stage == "NumPy alone")[0].items() if name not in INSIDE}
    if stage == "NumPy alone":
        return {name: text for name, text in texts.items() if needs(text) <= {"numpy"}}
    heavy = set(stage.split("+")) & {"torch", "sklearn"}
    return {name: text for name, text in texts.items() if needs(text) & {"torch", "sklearn"} == heavy}


def in_two_files(folder):
    """The ground and a file, where that imports nothing else of the package, in a package of one's own."""
    texts = {}
    for name in ("krr", "distill", "nearest"):
        package = folder / f"my_{name}"
        package.mkdir()
        (package / "__init__.py").write_text("")
        names = {"arrays", name} | {file.split(".")[1] for file, _ in copying.read(f"ddref.{name}").ours.values()}
        for stem in names:
            (package / f"{stem}.py").write_bytes((ROOT / "ddref" / f"{stem}.py").read_bytes())
        public = [each for each in copying.read(f"ddref.{name}").here if each[0].islower()]
        texts |= {f"two.{name}.{each}": f"from my_{name}.{name} import {each}\n" for each in public}
    return texts


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """How many functions each stage has run, which of them failed, and what was printed."""
    folder, stages = tmp_path_factory.mktemp("copies"), []
    for stage, absent in ABSENT.items():
        modules = []
        texts = in_two_files(folder) if stage == "two files of your own" else runs_alone(stage)
        for name, text in texts.items():
            module = f"{name}_{stage}".replace(".", "_").replace(" ", "_").replace("+", "_")
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
            modules.append((module, name.rpartition(".")[2]))
        stages.append((stage, absent, modules))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-I", "-B", "-c", RUN.format(folder=str(folder), stages=stages)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    said, _, failed = done.stdout.rpartition("failed: ")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {stage: len(modules) for stage, _, modules in stages}, json.loads(failed), said


def test_every_public_function_can_be_copied():
    assert copies()[1] == {}


@pytest.mark.slow  # all of them, in five stages
@pytest.mark.parametrize("stage", ABSENT)
def test_every_public_function_runs_alone(ran, stage):
    """What needs PyTorch or scikit-learn has them; to all others they are not installed."""
    number, failed, said = ran
    assert number[stage] >= {"sklearn+torch": 0, "two files of your own": 15}.get(stage, 30)
    assert failed[stage] == [], said[-6000:]


@pytest.mark.slow
def test_the_algebra_needs_numpy_alone():
    refused, plain = copies(numpy=True)[1], copies()[0]
    assert {"krr.fit", "distill.labels", "nearest.nearest"} <= runs_alone("NumPy alone").keys()
    assert [name for name in refused if name in plain and needs(plain[name]) <= {"numpy", "array_api_compat"}] == []


def test_what_a_stage_must_not_have_and_what_fails_in_it_is_named(tmp_path):
    (tmp_path / "bad.py").write_text('def f():\n    """\n    >>> 1\n    2\n    """\n')
    (tmp_path / "wants.py").write_text("import json.tool, array_api_compat\n")
    stages = [("one", ["array_api_compat"], [("bad", "f"), ("wants", "f")]), ("two", ["json"], [])]
    command = [sys.executable, "-I", "-c", RUN.format(folder=str(tmp_path), stages=stages)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.endswith('failed: {"one": ["bad", "wants"], "two": ["json"]}\n'), done.stdout


def test_a_copy_uses_no_name_that_it_does_not_define(tmp_path):
    for name, text in copies()[0].items():
        (tmp_path / f"{name.replace('.', '_')}.py").write_text(text, encoding="utf-8")
    # undefined names, names defined twice, imports that nothing uses
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,F811,F401", "--no-cache"]
    done = subprocess.run([*check, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]


def test_a_copy_imports_nothing_of_the_package():
    for name, text in copies()[0].items():
        assert "ddref" not in needs(text), name
        assert not re.search(r"^\s*from \.", text, re.MULTILINE), name


# -- what a file looks like


def test_the_licence_version_and_address_are_on_top():
    first, second, *rest = copying.copied(["krr.fit"]).splitlines()
    version = re.search(r'__version__ = "(.*)"', (ROOT / "ddref/__init__.py").read_text(encoding="utf-8"))[1]
    assert first == f"# ddref.krr.fit of version {version}, https://github.com/ddref/ddref"
    assert second == "# Needs Python 3.11 or later; pip install numpy array-api-compat"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence == copying.LICENCE
    assert [line.lstrip("# ") for line in rest[1:22]] == [line.strip() for line in licence.splitlines()]


def test_what_is_asked_for_comes_first_and_the_ground_last():
    text = copying.copied(["distill.labels", "krr.fit"])
    tree = ast.parse(text)
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names[:2] == ["labels", "fit"]
    assert names.index("check_arrays") > max(map(names.index, ["labels", "fit"]))
    assert text.rindex("ddref/arrays.py") > text.rindex("ddref/distill.py")


@pytest.mark.parametrize(
    "name, near",
    [("nearest.nearst", "nearest.nearest"), ("nearest", "nearest.nearest"), ("path", "krr.path|spectrum.path")],
)
def test_a_wrong_name_is_refused_with_those_near_it(name, near):
    with pytest.raises(ValueError, match=near):
        copying.copied([name])


# -- small packages: what the walk has to see


def clear():
    for remembered in (copying.read, copying.files_in, copying.texts_in):
        remembered.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package of the name ddref; returns a function that copies from it and runs the copy."""

    def write(**files):
        for name, text in {"__init__": '__version__ = "1.0"\n', **files}.items():
            path = tmp_path / "ddref" / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(copying, "PACKAGE", tmp_path / "ddref")
        clear()

        def run(*names, **options):
            text, found = copying.copied(names, **options), {"__name__": "copied"}
            exec(compile(text, "copied.py", "exec"), found)
            return found, text

        return run

    yield write
    clear()


def test_what_is_needed_is_followed_through_files_folders_and_what_they_hand_on(package):
    run = package(
        arrays="SCALE = 2\ndef check(x):\n    return x * SCALE\n",
        maps__in____init__="def __getattr__(name):\n    from . import linear\n    return getattr(linear, name)\n",
        maps__in__linear="from ..arrays import check\n\n\nclass Linear:\n    def go(self, x):\n        return check(x)\n",
        recipe="from .maps import Linear\n\n\ndef distill(x):\n    return Linear().go(x)\n\n\ndef unused():\n    pass\n",
    )
    found, text = run("recipe.distill")
    assert found["distill"](3) == 6
    assert "unused" not in text and "import" not in text.partition("annotations")[2]


def test_what_is_needed_while_something_is_defined_comes_before_it(package):
    run = package(
        a="""
from typing import NamedTuple
from .b import Base, decorated, make


def asked(x=make(1)):
    return Result(x, Late())


@decorated
class Result(NamedTuple):
    x: int
    y: "Late"


class Late(Base):
    pass
""",
        b="""
def decorated(cls):
    return helper(cls)


def helper(cls):
    return cls


def make(x):
    return x + ONE


ONE = 1


class Base:
    kind = KIND = "k" * ONE
""",
    )
    found, _ = run("a.asked")
    assert found["asked"]().x == 2


def test_an_import_inside_a_function_is_followed_and_taken_out(package):
    run = package(
        a='def asked(x):\n    """Asked."""\n    from .b import half as halved\n\n    return halved(x)\n',
        b="def half(x):\n    return x / 2\n",
    )
    found, text = run("a.asked")
    assert found["asked"](4) == 2 and "from ." not in text


def test_names_of_others_are_imported_once_and_only_where_they_are_used(package):
    run = package(
        a="import math\nimport os\nfrom math import pi, tau\nfrom .b import b\n\n\ndef asked():\n    return pi, b()\n",
        b="import math as m\n\ntry:\n    import numpy as np\nexcept ImportError:\n    np = None\n\n\n"
        "def b():\n    return m.e, np is None\n",
    )
    found, text = run("a.asked")
    assert found["asked"]()[1][1] is False
    assert "import os" not in text and "tau" not in text and "import math\n" not in text


def test_public_functions_of_one_name_are_told_apart(package):
    run = package(
        a="from .b import labels as other\n\n\ndef labels(x):\n    return other(x) + 1\n",
        b="def labels(x):\n    return 10 * x if x < 9 else labels(x - 1)\n",
    )
    found, _ = run("a.labels")
    assert found["labels"](1) == 11 and found["labels"](9) == 81


def test_what_a_file_uses_of_another_file_as_a_whole_is_followed(package):
    run = package(
        a="from . import b, maps as m\n\nKIND = m.Linear\n\n\ndef fit(x):\n    return b.fit(x) + KIND.one\n",
        b="def fit(x):\n    return 2 * x\n",
        maps__in____init__="from .linear import Linear\n",
        maps__in__linear="class Linear:\n    one = 1\n",
    )
    found, text = run("a.fit")
    assert found["fit"](3) == 7 and "    return b_fit(x) + KIND.one" in text


def test_what_an_example_uses_comes_along(package):
    run = package(
        a='''
def asked(x):
    """Asked.

    >>> from ddref.b import two
    >>> asked(two()) + three()
    5
    """
    return x


def three():
    return 3
''',
        b="def two():\n    return 2\n",
    )
    found, text = run("a.asked")
    assert found["two"]() == 2 and found["three"]() == 3 and "from ddref" not in text


def test_annotations_are_defined_even_where_only_a_type_checker_sees_them(package):
    run = package(
        a="from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from .b import Map\n\n\n"
        'def asked(phi: "Map | None" = None):\n    return phi\n',
        b="class Map:\n    pass\n",
    )
    assert "class Map" in run("a.asked")[1]


def test_the_sections_of_what_is_needed_stay_in_the_reference(package):
    helper = '''def helper(x):
    """Twice `x`.

    More of it.

    Parameters
    ----------
    x : float
    """
    return 2 * x
'''
    text = package(a=helper + "\n\ndef asked(x):\n    return helper(x)\n")("a.asked")[1]
    assert '    """Twice `x`.\n\n    More of it.\n    """\n' in text
    assert "Parameters" in package(a=helper)("a.helper")[1]


@pytest.mark.parametrize(
    "a, message",
    [
        ("from .b import b\ndef _same(): return 1\ndef asked(): return b(), _same()", "_same"),
        ("import json as m\nfrom .b import b\ndef asked(): return b(), m", "import m differently"),
    ],
)
def test_what_cannot_be_one_file_is_refused(package, a, message):
    b = "import math as m\ndef _same(): return m\ndef b(): return _same()"
    with pytest.raises(ValueError, match=message):
        package(a=a, b=b)("a.asked")


def test_numpy_alone_is_refused_where_more_is_needed(package):
    run = package(a="import torch\nfrom array_api_compat import device\ndef asked(x): return torch, device(x)")
    with pytest.raises(ValueError, match="needs torch"):
        run("a.asked", numpy=True)
