"""`tools/pages_check.py` passes a good page and names each fault of a bad one."""

import re
import shutil
from contextlib import redirect_stdout
from io import StringIO

import pytest

from tools import pages_check

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, pages_check.BROWSERS)), reason="no Chromium; `make pages-check` needs one"
)

PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>.math {{ overflow-x: auto; overflow-y: hidden }}</style></head>
<body><button class="search-button">Search</button>
<main><h1 id="top">Title</h1>
<pre>a = "$x$ \\\\frac"</pre><a href="#top">up</a>
{body}</main></body></html>"""
FORMULA = """<script src="mathjax/tex-chtml-full.js"></script>
<p>Inline, <span class="math">\\(x^2\\)</span>, and displayed:</p><div class="math">\\[ %s \\]</div>"""
LONG = "+".join(["a_{1234}"] * 40)

FAULTS = {
    "latex-error": ({"body": FORMULA % r"\frac{1}{2} \right)"}, "formula with an error"),
    "unbalanced": ({"body": FORMULA % r"\frac{1}{"}, "formula not typeset"),
    "unknown-macro": ({"body": FORMULA % r"\nosuchmacro x"}, "red text"),
    "without-mathjax": ({"body": '<div class="math"><b>x</b></div>'}, "formula not typeset"),
    "raw-dollars": ({"body": "<p>Let $x = 1$.</p>"}, "left as text"),
    "raw-macro": ({"body": r"<p>The norm \|x\| of \alpha.</p>"}, "left as text"),
    "raw-role": ({"body": "<p>See {prf:ref}`thm-a`.</p>"}, "left as text"),
    "raw-title": ({"title": r"On \(x\)"}, "left as text"),
    "red": ({"body": '<p style="color: #e00">wrong</p>'}, "red text"),
    "stderr": ({"body": '<div class="output stderr">Warning</div>'}, "stored error or warning"),
    "two-searches": ({"body": '<input type="search">'}, "2 visible search bars"),
    "wide": ({"body": '<div style="width: 2000px">wide</div>'}, "scrolls sideways"),
    "cut-off": (
        {"body": '<div style="overflow: hidden"><b style="padding-right: 1500px">wide</b></div>'},
        "sticks out of the page",
    ),
    "console": ({"body": "<script>console.error('oh no')</script>"}, "console: oh no"),
    "exception": ({"body": "<script>undefined.x</script>"}, "script error"),
    "network": ({"body": '<script src="https://example.org/x.js"></script>'}, "asks for https://example.org/x.js"),
    "picture": ({"body": '<img src="nothing.png" alt="a">'}, "picture missing"),
    "no-alt": ({"body": '<div class="cell_output"><img src="data:," alt=""></div>'}, "without a description"),
    "link": ({"body": '<a href="nothing.html">x</a>'}, "link to a missing file: nothing.html"),
    "anchor": ({"body": '<a href="good.html#nothing">x</a>'}, "missing anchor: good.html#nothing"),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the tool prints by page, for one good page and one page a fault; the last line; the exit status; what it
    prints of the good page alone; the screenshots."""
    root = tmp_path_factory.mktemp("html")
    mathjax = pages_check.Path(__file__).resolve().parent.parent / "_vendor" / "mathjax"
    shutil.copytree(mathjax, root / "mathjax")
    pages = {"good": {"body": FORMULA % LONG}, **{name: changes for name, (changes, _) in FAULTS.items()}}
    for name, changes in pages.items():
        text = PAGE.format(**{"title": "Page", "body": "", **changes})
        (root / f"{name}.html").write_text(text, encoding="utf-8")

    printed = StringIO()
    with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        pages_check.main([str(root), "--only", "good", "--screenshots", str(root / "shots")])
        patch.setattr(pages_check, "VIEWPORTS", {"phone": pages_check.VIEWPORTS["phone"]})  # half the time
        status = pages_check.main([str(root)])
    good, _, *pages, summary = re.split(r"\n(?! )", printed.getvalue().strip())
    pages = {text.split()[1].removesuffix(".html"): text for text in pages}
    return pages, summary, status, good, sorted(path.name for path in (root / "shots").iterdir())


def test_a_good_page_passes_and_its_screenshots_are_taken_wide_and_on_a_phone(report):
    assert report[0]["good"] == report[3] == "ok   good.html"
    assert report[4] == ["good-phone.png", "good-wide.png"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(report, name):
    assert report[0][name].startswith("FAIL")
    assert FAULTS[name][1] in report[0][name]


def test_the_exit_status_and_the_summary_count_the_failures(report):
    assert report[2] == 1
    assert report[1].startswith(f"1 of {len(FAULTS) + 1} pages passed, {len(FAULTS)} failed")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="build the book first"):
        pages_check.main([str(tmp_path)])
