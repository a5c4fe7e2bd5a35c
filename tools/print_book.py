"""Print the built book as one PDF: a title, a table of contents, every page in the book's order, numbered.

    python -m tools.print_book [_build/html] [_build/ddref.pdf]

Headless Chromium prints each page as it prints from the browser: proofs open, solutions closed. pypdf joins them.
Addresses of other pages lead to the book on the web.
"""

import argparse
import html
import io
import sys
from pathlib import Path

import yaml
from pypdf import PdfReader, PdfWriter

from tools.pages_check import PREPARE_IMAGES, TYPESET, open_window, opened_browser

ROOT = Path(__file__).resolve().parent.parent
MARGIN = {"top": "18mm", "bottom": "20mm", "left": "16mm", "right": "16mm"}
SCALE = 0.78  # letters of 9.4 points, code of 7.6
WINDOW = (round((210 - 2 * 16) / 25.4 * 96 / SCALE), 1123)  # pixels: as wide as the paper between its margins
WAIT = 180_000  # milliseconds for one page
FRONT = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><style>
body {{ font-family: "DejaVu Sans", sans-serif; font-size: 10.5pt; }} h1 {{ margin: 35% 0 1em; font-size: 26pt; }}
h2 {{ break-before: page; font-size: 16pt; }} p.part {{ margin: 1.2em 0 0.3em; font-weight: bold; }}
p.line {{ display: flex; justify-content: space-between; gap: 1em; margin: 0.25em 0; }}
</style></head><body><h1>{title}</h1><p>{author}</p><h2>Contents</h2>{lines}</body></html>"""
NUMBERS = """<!DOCTYPE html><html><head><meta charset="utf-8"><style>@page {{ size: A4; margin: 0; }} body {{ margin: 0; }}
p {{ height: 297mm; box-sizing: border-box; padding-top: 282mm; margin: 0; text-align: center; break-after: page;
font: 9pt "DejaVu Sans", sans-serif; }}</style></head><body>{}</body></html>"""

# What a browser says before it prints, said while the page can still be waited for.
OPENED = """() => {
  dispatchEvent(new Event("resize")); // which tables are too wide for the paper
  dispatchEvent(new Event("beforeprint"));
  for (const motion of document.getAnimations()) motion.finish();
}"""

# Addresses on this machine become those on the web, and anchors are named for their page, since all share one file.
ADDRESSES = """([place, base, name]) => {
  const here = location.href.split("#")[0];
  for (const link of document.querySelectorAll("a[href]")) {
    const [file, anchor] = link.href.split("#");
    if (file === here && anchor) link.setAttribute("href", `#${name}-${anchor}`);
    else if (file.startsWith(place)) link.setAttribute("href", base + link.href.slice(place.length));
  }
  for (const node of document.querySelectorAll("article [id]")) node.id = `${name}-${node.id}`;
}"""


def contents(toc):
    """The pages of the book in their order, each with the caption of the part that it begins, if it begins one."""
    pages = [(toc["root"], None)]
    for part in toc["parts"]:
        for place, entry in enumerate(part["chapters"]):
            pages.append((entry["file"], part.get("caption") if place == 0 else None))
    return pages


def print_page(window, root, name, base):
    """Title and PDF of one page of the book."""
    page = window[0]
    page.emulate_media(media="screen")
    page.goto((root / f"{name}.html").as_uri(), wait_until="load")
    page.evaluate(TYPESET)
    page.evaluate(PREPARE_IMAGES)
    page.evaluate(ADDRESSES, [f"{root.as_uri()}/", base, Path(name).name])
    page.emulate_media(media="print")
    page.evaluate(OPENED)
    title = page.title().partition(" — ")[0]
    return title, page.pdf(format="A4", margin=MARGIN, scale=SCALE, outline=True, tagged=False)


def print_text(window, text):
    window[0].set_content(text)
    return window[0].pdf(format="A4", margin=MARGIN, prefer_css_page_size=True)


def front(config, entries, starts):
    """The title and the table of contents."""
    lines = []
    for (title, caption), start in zip(entries, starts, strict=True):
        if caption:
            lines.append(f'<p class="part">{html.escape(caption)}</p>')
        lines.append(f'<p class="line"><span>{html.escape(title)}</span><span>{start}</span></p>')
    return FRONT.format(title=html.escape(config["title"]), author=html.escape(config["author"]), lines="".join(lines))


def starts_of(counts, before):
    """The number of the first page of each part of the PDF, after as many pages as the front has."""
    return [before + 1 + sum(counts[:i]) for i in range(len(counts))]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="_build/html", type=Path, help="folder of the built HTML")
    parser.add_argument("pdf", nargs="?", default="_build/ddref.pdf", type=Path, help="where to write")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    chosen = [
        (name, caption)
        for name, caption in contents(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
        if (root / f"{name}.html").is_file()
    ]
    if not chosen:
        raise SystemExit(f"no page to print in {root}; build the book first (make book)")

    with opened_browser() as browser:
        window = open_window(browser, WINDOW, root)
        window[0].set_default_timeout(WAIT)
        printed = []
        for name, caption in chosen:
            title, pdf = print_page(window, root, name, config["html"]["baseurl"])
            printed.append((title, caption, PdfReader(io.BytesIO(pdf))))
            print(f"{len(printed[-1][2].pages):4} pages  {title}", flush=True)
        entries = [(title, caption) for title, caption, _ in printed]
        counts = [len(reader.pages) for *_, reader in printed]
        length = len(PdfReader(io.BytesIO(print_text(window, front(config, entries, counts)))).pages)
        starts = starts_of(counts, length)
        first = PdfReader(io.BytesIO(print_text(window, front(config, entries, starts))))
        total = length + sum(counts)
        numbers = "".join(f"<p>{i}</p>" for i in range(length + 1, total + 1))
        footers = PdfReader(io.BytesIO(print_text(window, NUMBERS.format(numbers))))

    book = PdfWriter()
    book.append(first, import_outline=False)
    for title, _, reader in printed:
        book.append(reader, outline_item=title)
    for page, footer in zip(book.pages[length:], footers.pages, strict=False):
        page.merge_page(footer)
    book.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    book.compress_identical_objects()
    for page in book.pages:
        page.compress_content_streams()
    options.pdf.parent.mkdir(parents=True, exist_ok=True)
    book.write(options.pdf)
    print(f"{options.pdf}: {total} pages, {options.pdf.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
