"""`tools/pages_check.py` passes a good page and names each fault of a bad one."""

import re
import shutil
from contextlib import nullcontext, redirect_stdout
from io import StringIO

import pytest

from tools import pages_check

PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="card.png">
<link rel="canonical" href="https://example.org/{name}.html"><meta name="description" content="About {name}">
<meta property="og:title" content="T"><meta property="og:description" content="D"><meta property="og:url" content="U">
<meta property="og:image" content="https://example.org/card.png"><meta name="twitter:card" content="summary">
<style>.math {{ overflow-x: auto; overflow-y: hidden; padding-block: 2px }} :root {{ color-scheme: light dark }}
body {{ background: Canvas }}</style></head>
<body><button class="search-button">Search</button>
<main><h1 id="top">Title</h1>
<pre>a = "$x$ \\\\frac"</pre><a href="#top">up</a>
{body}</main></body></html>"""
FORMULA = """<script src="mathjax/tex-chtml-full.js"></script>
<p>Inline, <span class="math">\\(x^2\\)</span>, and displayed:</p><div class="math">\\[ %s \\]</div>"""
LONG = "+".join(["a_{1234}"] * 40)

MAP = '<nav class="book-map"><a href="#top" {}>1</a></nav>'
DRAWN = f'<article>{MAP.format("aria-current")}<svg width="200" height="100"></svg></article>'

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
    "cut-code": ({"body": f'<div style="overflow: auto"><pre>{"x" * 80}</pre></div>'}, "code cut at the right"),
    "long-code": ({"body": f"<p>See <code>{'x' * 80}</code></p>"}, "inline code leaves the column"),
    "clipped": (
        {"body": "<style>.math { padding: 0 } mjx-container { margin: 0 !important }</style>" + FORMULA % r"\Phi^\top"},
        "a box cuts glyphs of its formula (1): Φ⊤",
    ),
    "many-stops": ({"body": '<a href="#top">up</a>' * 150}, "152 stops of the Tab key"),
    "thin": ({"body": '<p style="font-weight: 300">Fig. 1</p>'}, "thin text (1): Fig. 1"),
    "pale": ({"body": '<p style="color: #767676; background: #eee">Fig. 1</p>'}, 'pale text (1): 3.91:1 "Fig. 1"'),
    "pale-symbol": (
        {"body": '<mjx-container><mjx-math><b class="ddref-set" data-symbol="X_S" style="color: #aaa">x</b></mjx-math></mjx-container>'},
        'pale text (1): 2.32:1 "X_S"',
    ),
    "pale-in-the-dark": ({"body": '<p style="color: #333">Fig. 1</p>'}, "wide: dark: pale text (1): 1."),
    "always-light": ({"body": "<style>:root { color-scheme: light }</style>"}, "dark: the page stays light"),
    "table": (
        {"body": f'<div style="overflow: auto"><table><tr><td>a</td><td>{"x" * 90}</td><td>b</td></tr></table></div>'},
        "column of a table out of reach (1): axxx",
    ),
    "closed-proof": (
        {"body": '<details><summary>Proof</summary><div class="proof"><p>Short.</p></div></details>'},
        "paper: proof closed on paper (1): Short.",
    ),
    "closed-dropdown": (
        {"body": "<details><summary>Proof</summary><p>Short, too.</p></details>"},
        "paper: proof closed on paper (1): Short, too.",
    ),
    "fading-solution": (
        {
            "body": """<style>.solution p { transition: opacity 9s }</style>
        <div class="solution"><p style="opacity: 0">Ten.</p></div>
        <script>addEventListener("beforeprint", () => { document.querySelector(".solution p").style.opacity = 1; });</script>"""
        },
        "paper: solution open on paper (1): Ten.",
    ),
    "open-solution": (
        {"body": '<div class="solution"><p class="admonition-title">Solution</p><p>Ten.</p></div>'},
        "paper: solution open on paper (1): SolutionTen.",
    ),
    "other-title": (
        {"body": "<article><h1>1. On rank</h1></article>"},
        'paper: the title on paper is "Title / 1. On rank" in the place of "1. On rank"',
    ),
    "late-picture": (
        {"body": f"<article>{MAP.format('aria-current')}<svg width=20></svg>{'<p>x</p>' * 30}<svg></svg></article>"},
        "px, below the first screen (700 px)",
    ),
    "no-picture": (
        {"body": f"<article>{MAP.format('aria-current')}<details><svg></svg></details></article>"},
        "a chapter without a picture",
    ),
    "lost": ({"body": f"<article>{MAP.format('')}<svg></svg></article>"}, "0 current nodes in the map"),
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
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium; `make pages-check` needs one")
    root = tmp_path_factory.mktemp("html")
    mathjax = pages_check.Path(__file__).resolve().parent.parent / "_vendor" / "mathjax"
    shutil.copytree(mathjax, root / "mathjax")
    pages = {"good": {"body": DRAWN + FORMULA % LONG}, **{name: changes for name, (changes, _) in FAULTS.items()}}
    (root / "card.png").touch()
    for name, changes in pages.items():
        text = PAGE.format(**{"title": "Page", "body": "", "name": name, **changes})
        (root / f"{name}.html").write_text(text, encoding="utf-8")

    printed = StringIO()
    with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch, pages_check.opened_browser() as browser:
        patch.setattr(pages_check, "opened_browser", lambda: nullcontext(browser))  # one for both times
        pages_check.main([str(root), "--only", "good", "--screenshots", str(root / "shots"), "--jobs", "1"])
        patch.setattr(pages_check, "VIEWPORTS", {"wide": pages_check.VIEWPORTS["phone"]})  # half the time
        status = pages_check.main([str(root), "--jobs", "1"])
    good, _, *pages, summary = re.split(r"\n(?! )", printed.getvalue().strip())
    pages = {text.split()[1].removesuffix(".html"): text for text in pages}
    return pages, summary, status, good, sorted(path.name for path in (root / "shots").iterdir())


@pytest.mark.slow  # a browser
def test_a_good_page_passes_and_its_screenshots_are_taken_wide_and_on_a_phone(report):
    assert report[0]["good"] == report[3] == "ok   good.html"
    assert report[4] == ["good-phone.png", "good-wide.png"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(report, name):
    assert report[0][name].startswith("FAIL")
    assert FAULTS[name][1] in report[0][name]


@pytest.mark.slow  # a browser
def test_the_exit_status_and_the_summary_count_the_failures(report):
    assert report[2] == 1
    assert report[1].startswith(f"1 of {len(FAULTS) + 1} pages passed, {len(FAULTS)} failed")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="build the book first"):
        pages_check.main([str(tmp_path)])


# -- links, without a browser

MISSING = {
    "raw HTML": '<a href="nothing.html">x</a>',
    "raw HTML without quotes": "<a href=nothing.html>x</a>",
    "capitals": '<A HREF="nothing.html">x</A>',
    "a picture": '<img src="nothing.png">',
    "a picture of several sizes": '<img src="there.png" srcset="there.png, nothing.png 2x">',
    "a source": '<picture><source srcset="there.png 400w, sub/nothing.png 800w"></picture>',
    "a preload": '<link rel="preload" imagesrcset="nothing.png 1x" href="there.png">',
    "a video's picture": '<video src="there.png" poster="nothing.png"></video>',
    "an object": '<object data="nothing.svg"></object>',
    "a form": '<form action="nothing.html"></form>',
    "a drawing": '<svg><use xlink:href="nothing.svg#x"/></svg>',
    "a script": '<script src="nothing.js"></script>',
    "a style sheet": '<link rel="stylesheet" href="nothing.css">',
    "what a style sheet shows": '<link rel="stylesheet" href="sub/style.css">',
    "what a style sheet imports": '<link rel="stylesheet" href="sub/import.css">',
    "a style": '<p style="background: url(nothing.png)">x</p>',
    "a style in quotes": "<p style='background: url( \"nothing.png\" )'>x</p>",
    "styles of the page": "<style>p { background: url('nothing.png') }</style>",
    "a forwarding": '<meta http-equiv="Refresh" content="0; url=nothing.html">',
    "a folder without a page": '<a href="empty/">x</a>',
    "another query": '<a href="nothing.html?q=1#top">x</a>',
    "escapes": '<a href="noth%69ng.html">x</a>',
}
GOOD = """<a href="page.html#here">x</a> <a href="#s%20pace">x</a> <a href="#">x</a> <a href="#top">x</a> <a href="sub/">x</a>
<a href="https://example.org/nothing.html">x</a> <a href="//example.org/nothing">x</a> <a href="mailto:x@example.org">x</a>
<a href="there.png?v=1">x</a> <a href="../ROOT/there.png">x</a> <!-- <a href="nothing.html"> -->
<img src="data:image/png;base64,AA" srcset="there.png, there.png 2x"> <p style="background: url(there.png)" id="s pace">x</p>
<script>const text = '<a href="nothing.html">';</script> <style>/* url(nothing.png) */ p { background: url(there.png) }</style>
<link rel="stylesheet" href="sub/good.css"> <a name="here">x</a>"""


@pytest.fixture
def site(tmp_path):
    """Writes a page beside a few files, and returns its faults."""
    files = {
        "there.png": "", "card.png": "", "empty/a.png": "", "sub/index.html": '<p id="in-sub">', "elsewhere/x.html": "",
        "sub/good.css": "p { background: url('../there.png#x') } @import 'https://example.org/x.css';",
        "sub/style.css": "p { background: url(there.png) }", "sub/import.css": '@import "there.css";',
    }  # fmt: skip
    root = tmp_path.resolve() / "html"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (tmp_path / "secret.html").write_text("", encoding="utf-8")

    def faults(body):
        (root / "page.html").write_text(PAGE.format(title="Page", body=body, name="page"), encoding="utf-8")
        return pages_check.Site(root).broken(root / "page.html")

    return faults


def test_good_links_of_every_kind_pass(site):
    assert site(GOOD.replace("ROOT", "html")) == []


@pytest.mark.parametrize("kind", MISSING)
def test_what_leads_nowhere_is_found_wherever_it_stands(site, kind):
    (fault,) = site(MISSING[kind])
    assert re.search("link to a missing file: .*(noth|there|empty)", fault)


@pytest.mark.parametrize(
    "body, fault",
    [
        ('<a href="#nothing">x</a>', "link to a missing anchor: #nothing"),
        ('<a href="sub/#in-su">x</a>', "link to a missing anchor: sub/#in-su"),
        ('<a href="page.html#Top2">x</a>', "link to a missing anchor: page.html#Top2"),
        ('<a href="../secret.html">x</a>', "link out of the book: ../secret.html"),
        ('<a href="/page.html">x</a>', "link out of the book: /page.html"),
        ('<a href="">x</a>', "link without an address"),
    ],
)
def test_anchors_and_what_is_there_on_this_machine_alone(site, body, fault):
    assert site(body) == [fault]


# -- heads and weight, without a browser


@pytest.fixture
def heads(tmp_path):
    """Writes two pages, `a` with the change, and returns the faults of its head."""
    root = tmp_path.resolve()
    (root / "card.png").touch()

    def faults(old="", new=""):
        for name in ("a", "b"):
            text = PAGE.format(title="Page", body="", name=name)
            assert old in text or name == "b"
            (root / f"{name}.html").write_text(text.replace(old, new) if name == "a" else text, encoding="utf-8")
        return pages_check.Site(root).unannounced(root / "a.html")

    return faults


def test_a_head_that_says_everything_passes(heads):
    assert heads() == []


@pytest.mark.parametrize("what", ["icon", *pages_check.HEAD])
def test_what_a_head_does_not_say_is_named(heads, what):
    assert f"no {what} in the head" in heads(f'="{what}"', '="other"')


def test_a_picture_must_be_there_and_a_description_its_own(heads):
    assert heads("org/card.png", "org/other.png") == ["the picture of its card is missing: other.png"]
    assert heads('"About a"', '"About b"') == ["the same description as b.html"]


def test_a_large_script_is_named_unless_it_sets_formulas(tmp_path):
    root = tmp_path.resolve()
    for name in ("icons.js", "mathjax/tex.js", "small.js"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x" * (1_500_000 if name != "small.js" else 5), encoding="utf-8")
    body = "".join(f'<script src="{name}"></script>' for name in ("icons.js?v=1", "mathjax/tex.js", "small.js"))
    (root / "a.html").write_text(PAGE.format(title="Page", body=body, name="a"), encoding="utf-8")
    assert pages_check.Site(root).heavy(root / "a.html") == ["a script of 1500 KB: icons.js"]


RESULT = '<li><a href="{}">Found</a> {}</li>'


@pytest.mark.slow  # a browser
@pytest.mark.parametrize(
    "results, fault",
    [
        (RESULT.format("a.html#top", "and the words around it"), None),
        ("", "search: nothing found for word"),
        (RESULT.format("a.html", "and the words around it"), "search: a result leads to no section: a.html"),
        (RESULT.format("a.html#x", "and the words around it"), "search: a result leads to no section: a.html#x"),
        (RESULT.format("a.html#top", ""), "search: a result shows no words: a.html#top"),
    ],
)
def test_a_search_leads_to_sections_and_shows_their_words(tmp_path, results, fault):
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium; `make pages-check` needs one")
    root = tmp_path.resolve()
    (root / "card.png").touch()
    body = f'<p class="search-summary">found some</p><ul class="search">{results}</ul>'
    for name in ("a", "search"):
        (root / f"{name}.html").write_text(PAGE.format(title="Page", body=body, name=name), encoding="utf-8")
    with pages_check.opened_browser() as browser:
        window = pages_check.open_window(browser, (400, 400), root)
        found = pages_check.look_for("word", window, pages_check.Site(root))
    assert found == ([fault] if fault else [])
