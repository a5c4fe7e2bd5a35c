"""Look at every page of the built book in headless Chromium, with no network, wide and on a phone.

    python tools/pages_check.py [_build/html] [--screenshots DIR] [--only TEXT] [--jobs N]

A page passes when a chapter shows its picture in the first screen and its place in the map above the title, every
formula is typeset, nothing is an error or red, no LaTeX is left as text, there is one
way to search, nothing sticks out of the page (what is wide scrolls inside its own box), no code is cut, no
box cuts a glyph of its formula, first and last column of every table are in reach, paper shows proofs and no
solution, a search leads to sections, no text is thin or pale, in the dark neither, no more than a few keys Tab
lead through it, its head says what others show of it (description, address, picture, icon), its scripts are
small, the browser reports no error and asks for nothing outside the book, and every address of the
book in it leads to a file of the book, and to an anchor there: links, pictures, forms, those of raw HTML, of
styles and style sheets. Chromium is $CHROMIUM, or the first found on the PATH. Exits 1 when a page fails.

Each page is loaded once and then gets its sizes: paper, a phone, a wide window. Several Chromium look at once.
"""

import argparse
import contextlib
import os
import queue
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

from playwright.sync_api import Error, sync_playwright

VIEWPORTS = {"phone": (400, 800), "wide": (1400, 900)}  # the last one in the dark, too
FIRST_SCREEN = {"wide": 700, "phone": 1000}  # pixels from the top within which the first picture of a chapter begins
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PAPER_SIZE = {"width": 794, "height": 1123}  # A4
SEARCHED = "regression"
READY = 20_000  # milliseconds for a page to load and typeset

# Runs in the page once it is loaded: waits for the mathematics.
TYPESET = """async () => {
  const missing = document.querySelector(".math") && !window.MathJax?.startup?.promise;
  if (!missing && window.MathJax?.startup) await window.MathJax.startup.promise;
}"""

# What no page may cut: code at the right, and the columns of a table.
REACH = r"""
  const visible = node => node.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const short = text => text.trim().replace(/\s+/g, " ").slice(0, 90);
  const found = [];
  const say = (what, items) => {
    const list = [...new Set(items)];
    if (list.length) found.push(`${what} (${list.length}): ${list.slice(0, 3).join(" | ")}`);
  };
  const cuts = node => ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(node).overflowX)
    && node.scrollWidth > node.clientWidth + 1;
  const cut = [...document.querySelectorAll("main pre")].filter(visible).filter(pre => {
    for (let box = pre; box && !box.matches("article, main"); box = box.parentElement) if (cuts(box)) return true;
  });
  say("code cut at the right", cut.map(pre => short(pre.textContent)));
  const outside = cell => {
    const box = cell.getBoundingClientRect();
    const place = cell.closest("table").parentElement.getBoundingClientRect();
    return box.width > 1 && (box.right > Math.min(place.right, document.documentElement.clientWidth) + 1
                             || box.left < place.left - 1);
  };
  say("column of a table out of reach", [...document.querySelectorAll("main tr")]
    .filter(row => row.cells.length && visible(row) && !row.closest("table.as-cards > thead") && [row.cells[0], [...row.cells].at(-1)].some(outside))
    .map(row => short(row.textContent)));
"""

# Chapters that do not open with their picture and their map: none; who writes one may name it here until it does.
LATE = set()

# Runs in a chapter as it opens: the picture of its claim is in the first screen, and the map says where one is.
OPENING = r"""limit => {
  const map = document.querySelector(".book-map");
  if (!map) return [];
  const found = [], nodes = map.querySelectorAll("[aria-current]").length;
  if (nodes !== 1) found.push(`${nodes} current nodes in the map of the chapters`);
  const tops = [...document.querySelectorAll("article :is(img, svg, canvas, .playground)")]
    .filter(node => !map.contains(node) && node.checkVisibility({visibilityProperty: true}))
    .map(node => node.getBoundingClientRect())
    .filter(box => box.width >= 100 && box.height >= 60)
    .map(box => Math.round(box.top + scrollY));
  if (!tops.length) found.push("a chapter without a picture");
  else if (Math.min(...tops) > limit)
    found.push(`the first picture is at ${Math.min(...tops)} px, below the first screen (${limit} px)`);
  return found;
}"""

# Runs in the page as it is printed: proofs can be read, solutions not, and the title has its number.
PAPER = (
    r"""() => {"""
    + REACH
    + r"""
  dispatchEvent(new Event("beforeprint"));
  for (const motion of document.getAnimations()) motion.finish();
  const called = node => /^\s*Proof/.test(node.closest("details")?.querySelector("summary").textContent);
  say("proof closed on paper", [...document.querySelectorAll("main .proof p, main details p")]
    .filter(node => !visible(node) && (node.closest(".proof") || called(node))).map(node => short(node.textContent)));
  say("solution open on paper", [...document.querySelectorAll("main .solution > :not(.admonition-title)")]
    .filter(node => visible(node) && node.getBoundingClientRect().height > 1)
    .map(node => short(node.parentElement.textContent)));
  const titles = [...document.querySelectorAll("main h1")].filter(visible).map(node => short(node.textContent));
  const title = document.querySelector("article h1");
  if (titles.length > 1 || (title && !visible(title)))
    found.push(`the title on paper is "${titles.join(" / ")}" in the place of "${short(title.textContent)}"`);
  dispatchEvent(new Event("afterprint"));
  return found;
}"""
)

# Runs after the page has got another size: what slides to its place, as the sidebar does, is there at once.
SETTLE = """async () => {
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (const motion of document.getAnimations()) motion.finish();
}"""

# Pictures below the window are loaded, too.
PREPARE_IMAGES = """async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.allSettled([...document.images].map(image => image.decode()));
  await document.fonts.ready;
}"""

# Runs then: unfolds what is folded.
PREPARE = (
    """async () => {
  for (const box of document.querySelectorAll("details")) box.open = true;
  for (const button of document.querySelectorAll("button.toggle-button-hidden")) button.click();
  await ("""
    + PREPARE_IMAGES
    + """)();
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
)

# Runs in the prepared page and returns a list of sentences, empty for a good page.
INSPECT = (
    r"""() => {"""
    + REACH
    + r"""
  const name = node => node.tagName.toLowerCase() +
    (node.id ? "#" + node.id : "") + (node.classList.length ? "." + [...node.classList].join(".") : "");
  const width = document.documentElement.clientWidth;

  // Formulas.
  say("formula not typeset", [...document.querySelectorAll(".math")]
    .filter(node => !node.querySelector("mjx-container") && !node.closest("mjx-container"))
    .map(node => short(node.textContent)));
  say("formula with an error", [...document.querySelectorAll("mjx-merror, merror, [data-mjx-error]")]
    .map(node => short(node.getAttribute("data-mjx-error") || node.textContent)));

  // Text: no LaTeX or markup left over, nothing red, no stored error.
  const raw = /\$(?![A-Z_]{3})|\\[()\[\]]|\\[a-zA-Z]{2,}|:::|\{(prf:)?(ref|eq|cite|numref|doc|term)\}/;
  const code = "pre, code, script, style, noscript, textarea, template, mjx-container, .math";
  const left = [], red = [];
  const isRed = node => {
    const [r, g, b] = getComputedStyle(node).color.match(/[\d.]+/g).map(Number);
    return r > 180 && g < 70 && b < 70;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, parent = text.parentElement;
    if (!text.data.trim() || parent.closest("script, style, noscript, template")) continue;
    if (!parent.closest(code) && raw.test(text.data)) left.push(short(text.data));
    const painted = parent.closest(".highlight:not(.output *)") && !parent.matches(".err");
    if (!painted && visible(parent) && isRed(parent)) red.push(short(text.data));
  }
  if (raw.test(document.title)) left.push(document.title);
  say("LaTeX or markup left as text", left);
  for (const node of document.querySelectorAll("mjx-container *")) {
    if (isRed(node)) red.push(short(node.closest("mjx-container").textContent) || name(node));
  }
  say("red text", red);
  say("stored error or warning", [...document.querySelectorAll(".output.stderr, .output.traceback")]
    .map(node => short(node.textContent)));

  // One way to search: a button that opens the dialogue, or a field (search.html has one more, in its text).
  const searches = [...document.querySelectorAll(
    ".search-button, .search-button-field, .search-button__button, input[type=search]")]
    .filter(node => visible(node) && !node.closest("dialog:not([open]), .bd-search-container"))
    .filter(node => { const box = node.getBoundingClientRect();
                      return box.width > 0 && box.right > 0 && box.left < width; })
    .filter((node, _, all) => !all.some(other => other !== node && other.contains(node)));
  if (searches.length !== 1)
    found.push(`${searches.length} visible search bars or buttons: ${searches.map(name).join(", ")}`);

  // Width: the page does not scroll sideways, and what is too wide is inside a box that does.
  const sideways = document.scrollingElement.scrollWidth;
  if (sideways > width + 1) found.push(`the page scrolls sideways: ${sideways} px of content in ${width}`);
  const scrolls = node => {
    for (let box = node.parentElement; box; box = box.parentElement) {
      const style = getComputedStyle(box);
      if (style.position === "fixed") return true;
      if (["auto", "scroll"].includes(style.overflowX) && box.getBoundingClientRect().right <= width + 1
          && box !== document.body && box !== document.documentElement && !box.matches("main, .bd-content"))
        return true;
    }
    return false;
  };
  const wide = [...document.querySelectorAll("main *")].filter(node =>
    !node.closest("mjx-assistive-mml, dialog, table.as-cards > thead") && !node.parentElement.closest("svg") && visible(node)
    && node.getBoundingClientRect().width > 1 && node.getBoundingClientRect().right > width + 1
    && !node.parentElement.closest("mjx-container") && !scrolls(node));
  say("sticks out of the page", wide.map(node => `${name(node)} "${short(node.textContent).slice(0, 40)}"`));

  // Inline code.
  const column = node => node.closest("article, main").getBoundingClientRect().right;
  say("inline code leaves the column", [...document.querySelectorAll("main code")]
    .filter(node => !node.closest("pre, table") && visible(node)
                    && node.getBoundingClientRect().right > column(node) + 1)
    .map(node => short(node.textContent)));

  // Glyphs: a box that scrolls sideways cuts at its top and bottom, and a pixel there is the bar of a letter.
  const clipped = [];
  for (const formula of document.querySelectorAll("main mjx-container")) {
    const boxes = [];
    for (let box = formula; box && !box.matches("article, main"); box = box.parentElement) {
      const {display, overflowY} = getComputedStyle(box);
      if (display !== "inline" && overflowY !== "visible") boxes.push(box.getBoundingClientRect());
    }
    if (!boxes.length || !visible(formula)) continue;
    const top = Math.max(...boxes.map(box => box.top)), bottom = Math.min(...boxes.map(box => box.bottom));
    const glyphs = [...formula.querySelectorAll("mjx-c")].map(glyph => glyph.getBoundingClientRect());
    if (glyphs.some(glyph => glyph.height && (glyph.top < top + 1 || glyph.bottom > bottom - 1)))
      clipped.push(short(formula.textContent));
  }
  say("a box cuts glyphs of its formula", clipped);

  // Keys: Tab does not stop at every formula. Entries of the reference are not counted: they are lists of links.
  const stops = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter(node => node.tabIndex >= 0 && !node.disabled && !node.closest("dl.py") && visible(node));
  if (stops.length > 150) found.push(`${stops.length} stops of the Tab key, ` +
    `${stops.filter(node => node.closest("mjx-container")).length} of them formulas`);

  // Pictures.
  say("picture missing", [...document.images].filter(image => !image.naturalWidth).map(image => image.src));
  say("picture without a description", [...document.querySelectorAll("main .cell_output img")]
    .filter(image => !image.alt.trim() || /^(\.\.\/)*_images\//.test(image.alt))
    .map(image => image.getAttribute("src")));
  return found;
}"""
)

# Runs in a page of either mode: text that is thin or hardly differs from what is behind it.
READABLE = r"""() => {
  const parse = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], below) => [r, g, b].map((x, i) => a * x + (1 - a) * below[i]);
  const light = colour => colour.map(x => x / 255)
    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = new Map();
  const background = node => {
    if (!node) return [255, 255, 255];
    if (!behind.has(node))
      behind.set(node, over(parse(getComputedStyle(node).backgroundColor), background(node.parentElement)));
    return behind.get(node);
  };
  const pale = new Set(), thin = new Set(), seen = new Set();
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, text = walker.currentNode.data.trim().slice(0, 60);
    if (!/[\p{L}\p{N}]/u.test(text) || seen.has(node) || node.closest("script, style, noscript, template, svg, mjx-container *")) continue;
    seen.add(node);
    if (!node.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize), weight = Number(style.fontWeight);
    if (weight < 400) thin.add(text);
    const large = size >= 24 || (size >= 18.66 && weight >= 700);
    const below = background(node), shades = [light(over(parse(style.color), below)), light(below)];
    const contrast = (Math.max(...shades) + 0.05) / (Math.min(...shades) + 0.05);
    if (contrast < (large ? 3 : 4.5)) pale.add(`${contrast.toFixed(2)}:1 "${text}"`);
  }
  for (const node of document.querySelectorAll("mjx-math :is(.ddref-data, .ddref-set, .ddref-regularisation)")) {
    const below = background(node), shades = [light(over(parse(getComputedStyle(node).color), below)), light(below)];
    const contrast = (Math.max(...shades) + 0.05) / (Math.min(...shades) + 0.05);
    if (contrast < 4.5) pale.add(`${contrast.toFixed(2)}:1 "${node.dataset.symbol}"`);
  }
  const say = (what, items) => items.size
    ? [`${what} (${items.size}): ${[...items].slice(0, 3).join(" | ")}`] : [];
  return [...say("thin text", thin), ...say("pale text", pale)];
}"""

# In the dark: whether the page follows the reader's system, which a script of the theme may take a moment to do.
IS_DARK = r"""async () => {
  for (let i = 0; i < 60; i++) {
    const [r, g, b, a = 1] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
    await new Promise(done => requestAnimationFrame(done));
    if (a > 0 && r + g + b < 3 * 80) return [];
  }
  return ["the page stays light where the reader's system is dark"];
}"""


# The results of a search: where each leads, and whether it shows what was found.
RESULTS = """() => [...document.querySelectorAll("ul.search > li")].map(item => ({
  href: item.querySelector("a").getAttribute("href"),
  words: item.textContent.trim().length > item.querySelector("a").textContent.trim().length + 10,
}))"""


# Attributes that hold one address, and those that hold several with a size each.
ADDRESSES = ("href", "xlink:href", "src", "poster", "data", "action", "formaction", "background", "cite")
SOURCES = ("srcset", "imagesrcset")
SOURCE = re.compile(r"[\s,]*(\S*[^\s,])(?:\s[^,]*)?")
HEAD = ("description", "canonical", "og:title", "og:description", "og:url", "og:image", "twitter:card")
LARGEST_SCRIPT = 1_000_000  # bytes
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)(?:"([^"]*)"|'([^']*)')|url\(\s*([^\s"')][^)]*?)\s*\)""")


def addresses_in_css(text):
    return ["".join(groups) for groups in CSS_ADDRESS.findall(CSS_COMMENT.sub("", text))]


class Links(HTMLParser):
    """The names of a page's anchors, and the addresses it refers to, those of raw HTML and of its styles too."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.addresses, self.redirect = {"", "top"}, [], False
        self.head, self.scripts = {}, []  # what the head says, by its name; addresses
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = {name: (value or "").strip() for name, value in attrs}
        self.anchors |= {attributes.get("id", ""), attributes.get("name", "") if tag == "a" else ""}
        names = [name for name in ADDRESSES if name in attributes and (name != "data" or tag == "object")]
        self.addresses += [attributes[name] for name in names]
        for name in SOURCES:
            self.addresses += SOURCE.findall(attributes.get(name, ""))
        self.addresses += addresses_in_css(attributes.get("style", ""))
        if tag == "script" and "src" in attributes:
            self.scripts.append(attributes["src"])
        if tag == "link":
            self.head |= {kind: attributes.get("href", "") for kind in attributes.get("rel", "").split()}
        if tag == "meta":
            self.head[attributes.get("name") or attributes.get("property", "")] = attributes.get("content", "")
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            self.redirect = True
            self.addresses.append(attributes["content"].partition("=")[2])

    def handle_data(self, data):
        if self.cdata_elem == "style":
            self.addresses += addresses_in_css(data)


class Site:
    """The files below `root`, and where the addresses in them lead."""

    def __init__(self, root):
        self.root = root
        files = [path for path in sorted(root.rglob("*.html")) if "_static" not in path.relative_to(root).parts]
        self.pages = {path: Links(path.read_text(encoding="utf-8")) for path in files}
        self.styles = {}  # what is wrong with a style sheet, by its path

    def broken(self, path):
        """The addresses of the page `path` that lead nowhere, those in the style sheets it uses too."""
        found = self._broken(path, self.pages[path].addresses)
        for address in self.pages[path].addresses:
            sheet = self._target(path, address)
            if sheet is not None and sheet.suffix == ".css" and sheet.is_file():
                if sheet not in self.styles:
                    self.styles[sheet] = self._broken(sheet, addresses_in_css(sheet.read_text(encoding="utf-8")))
                found += [f"{sheet.name}: {fault}" for fault in self.styles[sheet]]
        return found

    def unannounced(self, path):
        """What the head of the page `path` should say and does not; the source of a file has no card."""
        page, parts = self.pages[path], path.relative_to(self.root).parts
        wanted = ["icon"] if "_modules" in parts or path.name == "search.html" else ["icon", *HEAD]
        found = [f"no {name} in the head" for name in wanted if not page.head.get(name)]
        same = [other for other, its in self.pages.items()
                if other != path and its.head.get("description") == page.head.get("description") is not None]  # fmt: skip
        found += [f"the same description as {other.name}" for other in same[:1]]
        start = page.head.get("canonical", "").removesuffix("/".join(parts))
        picture = page.head.get("og:image", "").removeprefix(start)
        if "og:image" in wanted and not (self.root / picture).is_file():
            found.append(f"the picture of its card is missing: {picture}")
        return found

    def heavy(self, path):
        """Scripts of the page `path` that are too large; formulas need the one of MathJax."""
        targets = [self._target(path, address) for address in self.pages[path].scripts]
        return [
            f"a script of {target.stat().st_size // 1000} KB: {target.name}"
            for target in targets
            if target and target.is_file() and target.stat().st_size > LARGEST_SCRIPT and "mathjax" not in target.parts
        ]

    def _broken(self, path, addresses):
        found = []
        for address in dict.fromkeys(addresses):
            target, anchor = self._target(path, address), unquote(urldefrag(address).fragment)
            if target is None:
                continue
            if not address:
                found.append("link without an address")
            elif self.root not in target.parents:
                found.append(f"link out of the book: {address}")
            elif not target.is_file():
                found.append(f"link to a missing file: {address}")
            elif target in self.pages and anchor not in self.pages[target].anchors:
                found.append(f"link to a missing anchor: {address}")
        return found

    def _target(self, path, address):
        """The file that an address in `path` stands for; None for one elsewhere."""
        place = urldefrag(address).url
        if urlparse(place).scheme or place.startswith("//"):
            return None
        target = (path.parent / unquote(place.partition("?")[0])).resolve() if place else path
        return target / "index.html" if target.is_dir() else target


def find_browser():
    named = os.environ.get("CHROMIUM")
    browser = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        raise SystemExit(
            f"no Chromium: {named or ', '.join(BROWSERS)} not found; install it "
            "(Debian: apt-get install chromium) or set CHROMIUM to its path"
        )
    return browser


@contextlib.contextmanager
def opened_browser():
    with sync_playwright() as playwright:
        options = {"args": ["--no-sandbox", "--disable-dev-shm-usage"]}
        browser = playwright.chromium.launch(executable_path=find_browser(), **options)
        yield browser
        browser.close()


def open_window(browser, size, root):
    """A page without a network that should read files below `root` and nothing else; what it complains of goes
    to the list that comes with it."""
    complaints = []
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme="light", reduced_motion="reduce", offline=True)

    def note(request):
        address = urlparse(request.url)
        if address.scheme != "file" or root not in Path(unquote(address.path)).resolve().parents:
            complaints.append(f"asks for {request.url}")

    page = context.new_page()
    page.set_default_timeout(READY)
    page.on("request", note)
    page.on("console", lambda said: said.type == "error" and complaints.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: complaints.append(f"failed to load {request.url}"))
    return page, complaints


def look(window, path, screenshots=None, *, every=False, early=False):
    """What is wrong with the page `path` in each size; with `every`, on paper and in the dark, too; with `early`,
    whether a chapter's picture is in its first screen."""
    page, complaints = window
    complaints.clear()
    first, last, found = next(iter(VIEWPORTS)), list(VIEWPORTS)[-1], []
    try:
        page.emulate_media(color_scheme="light")
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate(TYPESET)
        found += opening(page, last) if early else []
        found += on_paper(page) if every else []
        for view in VIEWPORTS:
            resize(page, view)
            if view == first:
                found += opening(page, first) if early and first != last else []
                page.evaluate(PREPARE)
            found += [f"{view}: {fault}" for fault in page.evaluate(INSPECT) + page.evaluate(READABLE)]
            if screenshots:
                page.screenshot(path=f"{screenshots}-{view}.png", full_page=True)
        if every:
            page.emulate_media(color_scheme="dark")
            found += [f"{view}: dark: {fault}" for fault in page.evaluate(IS_DARK) + page.evaluate(READABLE)]
    except Error as error:
        found.append(f"not checked: {error.message.splitlines()[0]}")
    return list(dict.fromkeys([*complaints, *found]))


def resize(page, view):
    width, height = VIEWPORTS[view]
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(SETTLE)


def opening(page, view):
    return [f"{view}: {fault}" for fault in page.evaluate(OPENING, FIRST_SCREEN[view])]


def on_paper(page):
    """What is wrong with the page as it is printed on A4."""
    page.set_viewport_size(PAPER_SIZE)
    page.emulate_media(media="print")
    found = [f"paper: {fault}" for fault in page.evaluate(PAPER)]
    page.emulate_media(media="screen")
    return found


def look_for(word, window, site):
    """What is wrong with the results of a search: none, one that leads to no section, or shows no words of it."""
    page, complaints = window
    complaints.clear()
    try:
        page.goto(f"{(site.root / 'search.html').as_uri()}?q={word}", wait_until="load")
        page.wait_for_function("/found/.test(document.querySelector('.search-summary')?.textContent)")
        page.wait_for_timeout(300)  # the words of the last result come after it
        results = page.evaluate(RESULTS)
    except Error as error:
        return [f"search: not checked: {error.message.splitlines()[0]}"]
    found = [] if results else [f"search: nothing found for {word}"]
    for result in results:
        target, anchor = site._target(site.root / "search.html", result["href"]), urldefrag(result["href"]).fragment
        if not anchor or target not in site.pages or unquote(anchor) not in site.pages[target].anchors:
            found.append(f"search: a result leads to no section: {result['href']}")
        if not result["words"]:
            found.append(f"search: a result shows no words: {result['href']}")
    return [*(f"search: {said}" for said in dict.fromkeys(complaints)), *found[:5]]


def faults_of(path, site, window, screenshots=None):
    """All that is wrong with one page: its links and its head, what a browser shows, what a search finds."""
    page, found = site.pages[path], site.broken(path)
    if page.redirect:
        return found
    found += site.unannounced(path) + site.heavy(path)
    picture = screenshots and screenshots / re.sub(r"\W+", "-", str(path.relative_to(site.root).with_suffix("")))
    found += look(window, path, picture, every="_modules" not in path.parts, early=path.stem not in LATE)
    if path == site.root / "search.html":
        found += look_for(SEARCHED, window, site)
    return found


def work_off(todo, site, screenshots=None):
    """Look at pages until the queue is empty, in a browser of one's own; how many failed."""
    failed = 0
    with opened_browser() as browser:
        window = open_window(browser, list(VIEWPORTS.values())[-1], site.root)
        with contextlib.suppress(queue.Empty):
            while True:
                path = todo.get_nowait()
                found = faults_of(path, site, window, screenshots)
                failed += bool(found)
                said = [f"{'FAIL' if found else 'ok  '} {path.relative_to(site.root)}", *found]
                print("\n       ".join(said) + "\n", end="", flush=True)
    return failed


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="_build/html", type=Path, help="folder of the built HTML")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="save a picture of each page there")
    parser.add_argument("--only", default="", metavar="TEXT", help="only pages whose path contains TEXT")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many browsers look at once (2)")
    options = parser.parse_args(arguments)
    root, start = options.root.resolve(), time.perf_counter()

    site, todo = Site(root), queue.SimpleQueue()
    chosen = [path for path in site.pages if options.only in str(path.relative_to(root))]
    if not chosen:
        raise SystemExit(f"no page to look at in {root}; build the book first (make book)")
    for path in sorted(chosen, key=lambda path: -path.stat().st_size):  # what takes long comes first
        todo.put(path)
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)

    work = (todo, site, options.screenshots)
    if options.jobs == 1:
        failed = work_off(*work)
    else:
        with ThreadPoolExecutor(options.jobs) as pool:
            failed = sum(job.result() for job in [pool.submit(work_off, *work) for _ in range(options.jobs)])
    seconds = time.perf_counter() - start
    print(f"{len(chosen) - failed} of {len(chosen)} pages passed, {failed} failed, in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
