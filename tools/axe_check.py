"""Run axe-core, the accessibility checker, on every built page in Chromium, light and dark, wide and on a phone.

    python -m tools.axe_check [_build/html] [--only TEXT]

A page fails on a finding that axe calls serious or critical; what is less is printed. Folded parts are opened first.
axe's script comes with the package axe-playwright-python (`make axe` has it from requirements.txt); without it this
says so and looks at nothing. Formulas are left to `pages_check.py`: axe would look at each of their thousands of glyphs.
"""

import argparse
import sys
import time
from importlib import resources
from pathlib import Path

from playwright.sync_api import Error

from tools.pages_check import (
    IS_DARK,
    PREPARE,
    TYPESET,
    Site,
    open_window,
    opened_browser,
    resize,
)

GRAVE = ("serious", "critical")
WAIT = 120_000  # milliseconds for one page
VIEWS = (("wide", "light"), ("wide", "dark"), ("phone", "dark"))
RUN = """async view => {
  const without = {exclude: [["mjx-container > *"]]};
  // Colours take most of the time, and do not change with the size.
  const rules = {"color-contrast": {enabled: view !== "phone"}};
  const found = await axe.run(without, {resultTypes: ["violations"], rules});
  // A formula is text that axe does not read.
  const spoken = ({target}) => document.querySelector(target.at(-1))?.querySelector("mjx-container");
  return found.violations
    .map(each => ({...each, nodes: each.nodes.filter(node => each.id !== "empty-table-header" || !spoken(node))}))
    .filter(({nodes}) => nodes.length)
    .map(({impact, id, help, nodes}) => ({
      impact, text: `${id}: ${help} (${nodes.length}): ${nodes.slice(0, 3).map(node => node.target.join(" ")).join(" | ")}`,
    }));
}"""


def script():
    """The source of axe-core; None where the package that brings it is not installed."""
    try:
        return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    except ModuleNotFoundError:
        return None


def findings(window, path, source):
    """What axe finds in a page, in each view: pairs of its impact and a sentence."""
    page, found = window[0], []
    try:
        page.emulate_media(color_scheme="light")
        resize(page, "wide")
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate(TYPESET)
        page.evaluate(PREPARE)
        page.evaluate(source)
        for view, scheme in VIEWS:
            page.emulate_media(color_scheme=scheme)
            if scheme == "dark":
                page.evaluate(IS_DARK)
            resize(page, view)  # and waits: what fades in would count as pale
            found += [(each["impact"], f"{view}: {scheme}: {each['text']}") for each in page.evaluate(RUN, view)]
    except Error as error:
        found.append(("critical", f"not checked: {error.message.splitlines()[0]}"))
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="_build/html", type=Path, help="folder of the built HTML")
    parser.add_argument("--only", default="", metavar="TEXT", help="only pages whose path contains TEXT")
    options = parser.parse_args(arguments)
    root, start, source = options.root.resolve(), time.perf_counter(), script()
    if source is None:
        print("skipped: axe-playwright-python is not installed (pip install axe-playwright-python)")
        return 0
    pages = Site(root).pages
    chosen = [path for path in pages if not pages[path].redirect and "_modules" not in path.parts]
    chosen = [path for path in chosen if options.only in str(path.relative_to(root))]
    if not chosen:
        raise SystemExit(f"no page to look at in {root}; build the book first (make book)")

    failed = 0
    with opened_browser() as browser:
        window = open_window(browser, (1400, 900), root)
        window[0].set_default_timeout(WAIT)
        for path in chosen:
            found = findings(window, path, source)
            grave = [text for impact, text in found if impact in GRAVE]
            failed += bool(grave)
            said = [f"{impact}: {text}" for impact, text in found]
            print(f"{'FAIL' if grave else 'ok  '} {path.relative_to(root)}", *said, sep="\n       ", flush=True)
    seconds = time.perf_counter() - start
    print(f"{len(chosen) - failed} of {len(chosen)} pages without a serious finding, in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
