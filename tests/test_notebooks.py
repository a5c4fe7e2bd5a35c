"""The chapters keep the book's habits, and `tools/notebooks.py` tells a stale notebook from a fresh one."""

import ast
import re
import statistics
import sys
import tomllib

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import listings  # noqa: E402  (it is run as a script)

CHAPTERS = notebooks.find()
PYPROJECT = tomllib.loads((notebooks.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PYPROJECT["project"]["urls"]["Repository"]
CLOCKS = {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "process_time", "timeit"}


@pytest.fixture(params=CHAPTERS, ids=[path.stem for path in CHAPTERS])
def chapter(request):
    return request.param


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def mentions(node, names):
    """Whether `node` reads one of the variables `names`, or calls a clock."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            return True
        if isinstance(part, ast.Call) and ast.unparse(part.func).rpartition(".")[2] in CLOCKS:
            return True
    return False


def asserts_on_time(trees):
    """The assert statements whose condition depends on a clock, directly or through other names."""
    statements, timed, known = [node for tree in trees for node in ast.walk(tree)], set(), -1
    while known < len(timed):
        known = len(timed)
        for node in statements:
            if isinstance(node, ast.FunctionDef) and mentions(node, timed):
                timed.add(node.name)
            elif isinstance(node, ast.Assign | ast.AugAssign) and mentions(node.value, timed):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                timed |= {part.id for t in targets for part in ast.walk(t) if isinstance(part, ast.Name)}
    asserts = [node for node in statements if isinstance(node, ast.Assert)]
    return [ast.unparse(node) for node in asserts if mentions(node.test, timed)]


def habits_broken(notebook):
    """What a chapter does that a chapter of this book must not, as sentences."""
    cells = notebooks.code_cells(notebook)
    trees = [tree for tree in map(notebooks.parse_cell, (cell.source for cell in cells)) if tree]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    opening = re.split(r"^## ", text, flags=re.MULTILINE)[0]
    broken = []
    if notebook.cells[0].cell_type != "markdown" or not notebook.cells[0].source.startswith("# "):
        broken.append("the first cell is not a title")
    if not re.search(r"\d+ minutes", opening):
        broken.append("what is before the first section does not state the time the chapter takes")
    if not re.search(r"prerequisite|you need", opening, re.IGNORECASE):
        broken.append("what is before the first section does not state the prerequisites")
    if not re.search(r"find_spec|ImportError", cells[0].source) or f"git+{REPOSITORY}" not in cells[0].source:
        broken.append(f"the first code cell does not install git+{REPOSITORY} where ddref is missing")
    read = [cell for cell in cells if "hide-input" not in cell.metadata.get("tags", [])]
    median = statistics.median(len(lines(cell)) for cell in read)
    if median > 6:
        broken.append(f"the median code cell has {median:g} lines, the limit is 6")
    long = [(number, len(lines(cell))) for number, cell in enumerate(cells, 1) if len(lines(cell)) > 20]
    broken += [f"code cell {number} has {size} lines, the limit is 20" for number, size in long]
    code = sum(not line.lstrip().startswith("#") for cell in read for line in lines(cell))
    if not 60 <= code <= 200:
        broken.append(f"{code} lines of code that is not folded, not between 60 and 200")
    ignored = sum("nbval-ignore-output" in cell.metadata.get("tags", []) for cell in cells)
    if ignored > 2:
        broken.append(f"{ignored} cells are tagged nbval-ignore-output, the limit is 2")
    if any({"nbval-skip", "raises-exception"} & set(cell.metadata.get("tags", [])) for cell in cells):
        broken.append("a cell is skipped or may fail")
    if not any(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree)):
        broken.append("nothing is asserted")
    broken += [f"asserts a time: {text}" for text in asserts_on_time(trees)]
    return broken


def test_the_chapter_is_fresh(chapter):
    assert not notebooks.is_stale(chapter), f"python tools/notebooks.py run {chapter.stem}"


def test_the_chapter_stores_outputs_without_errors_warnings_or_large_pictures(chapter):
    assert notebooks.faults(notebooks.read(chapter), chapter.stat().st_size) == []


def test_the_chapter_was_saved_by_the_tool(chapter):
    saved = chapter.read_text(encoding="utf-8")
    assert nbformat.writes(notebooks.tidy(notebooks.read(chapter)), version=4) + "\n" == saved


def test_the_chapter_shows_the_package_as_it_is(chapter):
    for cell in notebooks.read(chapter).cells:
        assert listings.written(cell.source) == cell.source, f"python tools/listings.py {chapter.stem}"
    assert "{literalinclude}" not in chapter.read_text(encoding="utf-8")  # functions are shown whole


def test_listings_are_written_anew_and_nothing_else_is(tmp_path):
    others = "Text.\n\n```python\nddref.krr.fit\n```\n\n```\n# ddref.krr.fit\n```\n"
    shown = "```python\n# ddref.arrays.larger_root\n{}```\n"
    path = tmp_path / "01_x.ipynb"
    cells = [new_markdown_cell(others + shown.format("") + shown.format("x = 1\n")), new_code_cell("# ddref.krr.fit")]
    nbformat.write(new_notebook(cells=cells), path)
    assert listings.write([path]) == 1 and listings.write([path]) == 0
    markdown, code = notebooks.read(path).cells
    source, _, _ = listings.listed("ddref.arrays.larger_root")
    assert source.startswith("def larger_root(") and code.source == "# ddref.krr.fit"
    assert markdown.source == others + 2 * shown.format(source + "\n")


def test_the_chapter_keeps_the_habits_of_the_book(chapter):
    assert habits_broken(notebooks.read(chapter)) == []


# -- the checks themselves can fail


def cells_of(*sources, tags=()):
    return [new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]


def test_a_chapter_without_the_habits_is_told_each_of_them():
    long = "\n".join(["x = 1"] * 30)
    cells = cells_of(*[long] * 7, tags=["nbval-ignore-output", "nbval-skip"])
    bad = new_notebook(cells=[new_markdown_cell("Some text"), *cells])
    told = "\n".join(habits_broken(bad))
    for words in (
        "not a title",
        "time the chapter takes",
        "prerequisites",
        "does not install",
        "limit is 6",
        "cell 3 has 30 lines",
        "210 lines of code",
        "7 cells are tagged",
        "a cell is skipped",
        "nothing is asserted",
    ):
        assert words in told


@pytest.mark.parametrize(
    "source",
    [
        "start = time.perf_counter()\nfit()\nseconds = time.perf_counter() - start\nassert seconds < 2",
        "def cost(f):\n    return timeit.timeit(f)\na = cost(f)\nratio = a / cost(g)\nassert ratio < 1.5",
        "begin = time.time()\nassert begin > 0",
    ],
)
def test_an_assert_on_a_time_is_found(source):
    assert len(asserts_on_time([ast.parse(source)])) == 1


def test_an_assert_beside_a_time_is_not_mistaken_for_one():
    source = "start = time.time()\nW = fit(Phi)\nprint(time.time() - start)\nassert W.shape == (3, 2)"
    assert asserts_on_time([ast.parse(source)]) == []


def test_stored_errors_warnings_and_large_outputs_are_found():
    cells = cells_of("a", "b", "c", "d")
    for number, cell in enumerate(cells[:3], 1):
        cell.execution_count = number
    cells[0].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]
    cells[1].outputs = [new_output("stream", name="stderr", text="RuntimeWarning: overflow")]
    cells[2].outputs = [new_output("display_data", data={"image/png": "A" * 100_000})]
    told = "\n".join(notebooks.faults(new_notebook(cells=cells), 500_000))
    for words in ("an error: ValueError", "RuntimeWarning", "cell 3 draws 73 KB", "cell 4 was not", "488 KB"):
        assert words in told


# -- the stamp


@pytest.fixture
def book(tmp_path):
    """A tiny book: a package of two rooms, a style, a result; and a notebook that uses one room."""
    files = {
        "ddref/__init__.py": "",
        "ddref/krr.py": '"""Ridge."""\n\n\ndef fit(x):\n    """Fit."""\n    return x  # the answer\n',
        "ddref/other.py": "VALUE = 1\n",
        "ddref/ground.py": "ONE = 1\n",
        "ddref/maps/__init__.py": "from .linear import Linear\n",
        "ddref/maps/linear.py": "from ..ground import ONE\n\n\nclass Linear:\n    size = ONE\n",
        "ddref/maps/deep/__init__.py": "from ...ground import ONE\n",
        "ddref/book.mplstyle": "font.size: 12\n",
        "results/mnist.json": "{}",
    }
    (tmp_path / "chapters").mkdir()
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    cells = [new_markdown_cell("# Title"), *cells_of("from ddref.krr import fit", "print(fit(1))  # one")]
    return tmp_path, new_notebook(cells=cells)


def stamps(book, change):
    root, notebook = book
    before = notebooks.stamp(notebook, root)
    change(root, notebook)
    return before, notebooks.stamp(notebook, root)


def edit(name, old, new):
    def change(root, notebook):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return change


def rewrite(cell, source):
    return lambda root, notebook: notebook.cells[cell].update(source=source)


@pytest.mark.parametrize(
    "change",
    [
        rewrite(0, "# Another title"),
        rewrite(2, "print(\n    fit(1)\n)"),
        edit("ddref/krr.py", "# the answer", "# a comment"),
        edit("ddref/krr.py", "Fit.", "Fit it."),
        edit("ddref/krr.py", "Ridge.", "Ridge regression."),
        edit("ddref/other.py", "1", "2"),
        edit("ddref/__init__.py", "", "__all__ = ['krr', 'other', 'new']"),
        edit("results/mnist.json", "{}", "[]"),
    ],
)
def test_the_stamp_does_not_change_with_text_layout_comments_and_what_is_not_used(book, change):
    before, after = stamps(book, change)
    assert before == after


@pytest.mark.parametrize(
    "change",
    [
        rewrite(2, "print(fit(2))"),
        edit("ddref/krr.py", "return x", "return -x"),
        edit("ddref/book.mplstyle", "12", "13"),
    ],
)
def test_the_stamp_changes_with_code_the_rooms_it_uses_and_the_style(book, change):
    before, after = stamps(book, change)
    assert before != after


@pytest.mark.parametrize(
    "source",
    [
        "import ddref.other",
        "if 0:\n    %pip install ddref\nfrom ddref import other",
        "from ddref import other as o",
        "import ddref\nddref.other.VALUE",
        "import ddref as d\nd.other.VALUE",
        "from ddref import VALUE",
        "from ddref import *",
        "%time 1\n",
    ],
)
def test_each_way_to_import_a_room_counts(book, source):
    book[1].cells[2].source = source
    before, after = stamps(book, edit("ddref/other.py", "1", "2"))
    assert (before != after) == ("ddref" in source)


@pytest.mark.parametrize(
    "source",
    [
        "from ddref.maps import Linear",
        "from ddref import maps",
        "from ddref.maps.linear import Linear",
        "import ddref\nddref.maps.Linear",
        "import ddref.maps.linear",
    ],
)
@pytest.mark.parametrize("name", ["ddref/maps/linear.py", "ddref/maps/__init__.py", "ddref/ground.py"])
def test_a_folder_counts_whole_with_what_its_files_import(book, source, name):
    book[1].cells[2].source = source
    before, after = stamps(book, lambda root, _: (root / name).write_text("NEW = 1\n"))
    assert before != after
    before, after = stamps(book, edit("ddref/other.py", "1", "2"))
    assert before == after


@pytest.mark.parametrize("source", ["from ddref import VALUE", "import ddref\nddref.VALUE"])
def test_the_list_of_rooms_counts_only_where_a_name_could_come_from_it(book, source):
    book[1].cells[2].source = source
    before, after = stamps(book, edit("ddref/__init__.py", "", "VALUE = 1"))
    assert before != after


def test_rooms_that_a_room_imports_and_results_that_a_cell_names_count(book):
    root, notebook = book
    edit("ddref/krr.py", '"""Ridge."""', "from . import other")(root, notebook)
    before, after = stamps(book, edit("ddref/other.py", "1", "2"))
    assert before != after
    notebook.cells[2].source = 'open("../results/mnist.json")'
    before, after = stamps(book, edit("results/mnist.json", "{}", "[]"))
    assert before != after


# -- execution


@pytest.mark.slow
def test_executing_twice_gives_the_same_file_and_a_failing_cell_changes_nothing(book, capsys):
    path = book[0] / "chapters" / "00_test.ipynb"
    picture = "import matplotlib.pyplot as plt\nfrom ddref.krr import fit\nprint(fit(1))\nplt.plot([1, 2]);"
    notebook = new_notebook(cells=cells_of(picture, "%matplotlib inline\nassert fit(2) == 2"))
    nbformat.write(notebook, path)
    assert notebooks.check([path]) == 1
    assert "00_test: stale" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="notebooks.py run 00_test"):  # so `make test` fails
        test_the_chapter_is_fresh(path)

    assert notebooks.run([path]) == 0
    assert notebooks.check([path]) == 0
    first = path.read_bytes()
    assert b"image/png" in first and b"iopub" not in first
    assert notebooks.run([path], force=True) == 0
    assert path.read_bytes() == first
    assert "executed" in capsys.readouterr().out
    assert notebooks.run([path]) == 0
    assert capsys.readouterr().out == "00_test: fresh\n"

    notebook.cells[0].source = "from ddref.krr import fit\nprint(fit(1))"
    notebook.cells[1].source = "assert fit(2) == 3"
    nbformat.write(notebook, path)
    broken = path.read_bytes()
    assert notebooks.run([path]) == 1
    assert "00_test: FAILED" in capsys.readouterr().err
    assert path.read_bytes() == broken


def test_text_in_a_picture_is_removed_and_the_picture_is_not():
    from io import BytesIO

    import matplotlib.image
    import numpy as np

    drawn = BytesIO()
    matplotlib.image.imsave(drawn, np.eye(4), metadata={"Software": "a program", "Title": "x"})
    clean = notebooks.without_png_text(drawn.getvalue())
    assert b"a program" in drawn.getvalue() and b"tEXt" not in clean
    before, after = (matplotlib.image.imread(BytesIO(data)) for data in (drawn.getvalue(), clean))
    assert (before == after).all()


@pytest.mark.parametrize("alpha", [255, 200])
def test_a_picture_loses_its_transparency_only_where_it_has_none_and_no_pixel_changes(alpha):
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, size=(40, 40, 4), dtype=np.uint8)
    pixels[..., 3] = alpha
    drawn = io.BytesIO()
    Image.fromarray(pixels).save(drawn, format="png")
    kept = notebooks.opaque_png(drawn.getvalue())
    opened = Image.open(io.BytesIO(kept))
    assert opened.mode == ("RGB" if alpha == 255 else "RGBA")
    assert np.array_equal(np.asarray(opened.convert("RGBA")), pixels)


def test_a_name_that_is_no_chapter_is_refused():
    with pytest.raises(SystemExit, match="no such notebook in chapters/: 99_nothing"):
        notebooks.find(["99_nothing"])
