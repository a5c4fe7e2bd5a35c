"""Names of functions in the texts become links, and a name that the package does not have is refused."""

import re
import sys

import pytest
from docutils import nodes
from sphinx import addnodes

from ddref import copying
from tools import notebooks

sys.path.insert(0, str(notebooks.ROOT / "tools"))
import function_links  # noqa: E402  (Sphinx loads it under this name, too)


@pytest.mark.parametrize(
    "text, name",
    [
        ("distill.features", "ddref.distill.features"),
        ("ddref.distill.features", "ddref.distill.features"),
        ("ddref.krr.fit(Phi, Y, 1.0)", "ddref.krr.fit"),
        ("ddref.kip.train", "ddref.kip.training.train"),
        ("ddref.estimator", "ddref.estimator"),
        ("ddref.maps.Linear.preimage", "ddref.maps.linear.Linear.preimage"),
    ],
)
def test_functions_classes_and_files_are_found(text, name):
    assert function_links.named(text) == name


@pytest.mark.parametrize(
    "text", ["features", "krr", "np.sqrt(2)", "arrays.py", "model.P", "points.csv", "ddref copy krr.fit", "x.y z", "1.5", ""]
)
def test_other_words_are_left_alone(text):
    assert function_links.named(text) is None


@pytest.mark.parametrize("text", ["distill.feature", "ddref.krr.no(Phi)", "ddref.nothing.fit"])
def test_a_name_that_the_package_does_not_have_is_refused(text):
    with pytest.raises(LookupError):
        function_links.named(text)


def texts():
    for path in sorted((notebooks.ROOT / "chapters").glob("*.*")):
        if path.suffix == ".md":
            yield path.name, path.read_text(encoding="utf-8")
        elif path.suffix == ".ipynb":
            for cell in notebooks.read(path).cells:
                if cell.cell_type == "markdown":
                    yield path.name, cell.source


def test_every_name_in_the_book_is_in_the_package():
    found = 0
    for page, text in texts():
        for literal in re.findall(r"(?<![`}\w])`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            try:
                found += function_links.named(literal) is not None
            except LookupError:
                pytest.fail(f"{page}: {literal}")
    assert found >= 139


def test_links_stand_in_the_text_and_not_in_titles_and_links():
    inside = nodes.paragraph("", "", nodes.literal("", "krr.fit"), nodes.literal("", "krr._solve"))
    title = nodes.title("", "", nodes.literal("", "krr.fit"))
    linked = nodes.paragraph("", "", nodes.reference("", "", nodes.literal("", "krr.fit")))
    document = nodes.section("", title, inside, linked)
    app = type("app", (), {"env": type("env", (), {"docname": "chapters/x"})})
    function_links.with_links(app, document)
    (link,) = document.findall(addnodes.pending_xref)
    assert link.parent is inside and link["reftarget"] == "ddref.krr.fit" and link.astext() == "krr.fit"
    assert copying.path_of("ddref.krr")
