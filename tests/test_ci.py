"""`.ci/run` and the commands behind it fail when one step fails, is killed or is not there, and when the book has a fault."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tools import pages_check

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import listings  # noqa: E402  (it is run as a script)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.name == "nt" or not all(map(shutil.which, ("make", "bash"))), reason="the commands need make and bash"
    ),
]

ROOT = Path(__file__).resolve().parent.parent
STEPS = ["ruff check", "mypy", "pytest", "notebooks.py run", "jupyter-book build", "pages_check.py"]  # as they come
TARGETS = {"ruff check": "test-all", "mypy": "test-all", "pytest": "test-all", "notebooks.py run": "book",
           "jupyter-book build": "book", "pages_check.py": "pages-check"}  # fmt: skip
PROGRAM = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> {log}
case "$(basename "$0") $*" in *{step}*) {then} ;; esac
"""
SETTINGS = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VENV", "PYTHON", "CHROMIUM", "DDREF_DATA")


@pytest.fixture
def clone(tmp_path):
    """A clone whose programs only write down that they were called; all but one, of which it is said what it does."""
    for name in ("Makefile", ".ci/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("requirements.txt", "pyproject.toml", ".venv/.installed-from"):  # the last is the newest
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return Clone(tmp_path)


class Clone:
    def __init__(self, folder):
        self.folder, self.log = folder, folder / "log"

    def program(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        path.chmod(0o755)

    def programs(self, step="no step", then="true"):
        for name in ("python", "jupyter-book"):
            self.program(f".venv/bin/{name}", PROGRAM.format(log=self.log, step=f"'{step}'", then=then))

    def run(self, *command, **settings):
        """Its exit status, what it printed, and the steps that were begun."""
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        options = {"cwd": self.folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, env=kept | settings, timeout=300, **options)
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        begun = [step for line in lines for step in STEPS if step in line]
        return done.returncode, done.stdout, begun


def test_every_step_is_run_in_order_and_its_time_is_printed(clone):
    clone.programs()
    status, said, begun = clone.run(".ci/run", CHROMIUM="true")
    assert (status, begun) == (0, STEPS), said
    assert [line.split(" s  ")[1] for line in said.splitlines()[-4:]] == [
        *(f"make {target}" for target in ("test-all", "book", "pages-check")), "in all"]  # fmt: skip


@pytest.mark.parametrize("then", ["exit 3", "kill -KILL $$"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_or_is_killed_ends_the_run(clone, step, then):
    clone.programs(step, then)
    status, said, begun = clone.run(".ci/run", CHROMIUM="true")
    assert status != 0 and begun == STEPS[: STEPS.index(step) + 1]
    assert f"FAILED: make {TARGETS[step]} (exit status {status})" in said


@pytest.mark.parametrize("step", [step for step in STEPS if "jupyter" not in step])
def test_a_program_that_is_not_installed_ends_the_run(clone, step):
    """Python without packages, in a folder without tools."""
    clone.programs(step, f'exec {sys.executable} -I -S "$@"')
    status, said, begun = clone.run(".ci/run", CHROMIUM="true")
    assert status != 0 and begun[-1] == step and "FAILED: make" in said
    assert "No module named" in said or "can't open file" in said


def test_a_browser_that_cannot_be_installed_ends_the_run(clone):
    clone.programs()
    for name in ("bash", "make", "sh", "dirname", "basename", "env"):
        clone.program(f"bin/{name}", f'#!/bin/sh\nexec {shutil.which(name)} "$@"\n')
    clone.program("bin/id", "#!/bin/sh\necho 0\n")
    clone.program("bin/apt-get", "#!/bin/sh\nexit 100\n")
    status, said, begun = clone.run(".ci/run", PATH=str(clone.folder / "bin"))
    assert (status, begun) == (100, []) and "FAILED: install_chromium (exit status 100)" in said


# -- the book

GOOD = """# A page

$$ x = 1 $$ (eq-x)

(a-place)=
## A place

See {eq}`eq-x`, {ref}`a-place`, [a place](#a-place), {prf:ref}`thm-x`, {cite:t}`chen2024`, [a page](page.md),
<a href="page.html#more">raw HTML</a>.

:::{prf:theorem} One
:label: thm-x
It is.
:::

```{figure} picture.png
:name: fig-x
A picture, {numref}`fig-x`.
```

```python
# ddref.krr.fit
```
"""
OTHER = '# Another page\n\n(more)=\n## More\n\n<a href="index.html#more">raw HTML</a>\n\n```{bibliography}\n```\n'
FAULTS = {
    "link": ("[x](nothing.md)", "'nothing.md'"),
    "anchor": ("[x](#nothing)", "'nothing'"),
    "reference": ("{ref}`nothing`", "undefined label: 'nothing'"),
    "equation": ("{eq}`eq-nothing`", "equation not found: eq-nothing"),
    "theorem": ("{prf:ref}`thm-nothing`", "label 'thm-nothing' not found"),
    "page": ("{doc}`nothing`", "unknown document: 'nothing'"),
    "citation": ("{cite:t}`nobody1900`", 'could not find bibtex key "nobody1900"'),
    "image": ("![x](nothing.png)", "image file not readable: nothing.png"),
    "figure": ("```{figure} nothing.png\nx\n```", "image file not readable: nothing.png"),
    "download": ("{download}`nothing.zip`", "download file not readable: .*nothing.zip"),
    "listing": ("```python\n# ddref.krr.nothing\n```", "ddref.krr defines no nothing"),
    "old_listing": ("```python\n# ddref.krr.fit\nreturn 1\n```", "ddref.krr.fit is another in the package"),
    "fragment": (":::{literalinclude} ../ddref/nothing.py\n:::", "nothing.py' not found"),
    "role": ("{nothing}`x`", 'role "nothing"'),
    "directive": (":::{nothing} x\n:::", "directive type: 'nothing'"),
}


@pytest.fixture
def book(clone):
    """A clone of the real programs, and a function that writes a book of a few pages into it and builds that."""
    folder, programs = clone.folder, Path(sys.executable).parent
    for name in ("tools", "ddref", "_vendor"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "references.bib"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("_static/favicon.svg", "chapters/images/ten_points.png", "chapters/notation.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("python", "jupyter-book"):
        clone.program(f".venv/bin/{name}", f'#!/usr/bin/env bash\nexec {programs / name} "$@"\n')
    matplotlib.image.imsave(folder / "picture.png", np.eye(2))

    def build(**pages):
        listed = "".join(f"- file: {name}\n" for name in pages if name != "index")
        (folder / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{listed}")
        for name, text in pages.items():
            (folder / f"{name}.md").write_text(text)
        return clone.run("make", "book")

    return build


def test_a_book_with_a_fault_is_not_built_and_every_fault_is_named(book):
    faulty = {f"fault_{name}": f"# Fault\n\n{text}\n" for name, (text, _) in FAULTS.items()}
    status, said, _ = book(index=listings.written(GOOD), page=OTHER, **faulty)
    assert status != 0
    warnings = [line for line in said.splitlines() if "WARNING" in line]
    for name, (_, words) in FAULTS.items():
        (found,) = [line for line in warnings if f"fault_{name}." in line]
        assert re.search(words, found)
    assert len(warnings) == len(FAULTS)  # none of the good pages


def test_a_good_book_is_built_and_raw_html_that_leads_nowhere_is_found_in_its_pages(book, clone):
    status, said, _ = book(index=listings.written(GOOD), page=OTHER)
    assert status == 0, said
    pages = pages_check.Site(clone.folder / "_build" / "html")
    faults = {path.name: pages.broken(path) for path in pages.pages}
    assert faults["page.html"] == ["link to a missing anchor: index.html#more"]
    assert faults["index.html"] == []
