"""Draw the still pictures of the playgrounds, for readers without JavaScript: _static/playground*.svg.

    python -m tools.playground_stills

Each page says which it shows, in the HTML of its playground: the picture is what the script draws there first.
"""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "_vendor" / "book"
PLAYGROUND = re.compile(r'(<div class="ddref-playground"[^>]*>)\s*<img src="\.\./_static/([\w-]+\.svg)"')

# Both panels as one drawing, with the colours that the style sheet gives to each element.
DRAWING = """root => {
  const panels = [...root.querySelectorAll("svg")].map((svg, i) => {
    const copy = svg.cloneNode(true), made = [...copy.querySelectorAll("*")];
    [...svg.querySelectorAll("*")].forEach((node, j) => {
      const style = getComputedStyle(node), kept = [];
      for (const name of ["fill", "fill-opacity", "opacity", "stroke", "stroke-width", "stroke-dasharray",
                          "stroke-linecap", "font-size", "font-weight", "text-anchor"])
        if (style[name] !== getComputedStyle(svg)[name]) kept.push(`${name}:${style[name]}`);
      for (const name of [...made[j].getAttributeNames()])
        if (/^(class|fill|tabindex|role|aria-.*)/.test(name)) made[j].removeAttribute(name);
      if (kept.length && node.children.length === 0) made[j].setAttribute("style", kept.join(";"));
    });
    made.filter(node => /fill:rgba\\(0, 0, 0, 0\\)/.test(node.getAttribute("style"))).forEach(node => node.remove());
    return `<svg x="${10 + 350 * i}" y="10" width="320" height="320" viewBox="0 0 320 320">${copy.innerHTML}` +
      '<rect width="320" height="320" fill="none" stroke="#999"/></svg>';
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 690 340" font-family="sans-serif">` +
    `<rect width="690" height="340" fill="#fff"/>${panels.join("")}</svg>\\n`;
}"""


def shown():
    """The opening tag of every playground of the book, by the name of its picture."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "chapters").glob("*.md")]
    for path in (ROOT / "chapters").glob("*.ipynb"):
        texts += [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    return {name: tag for text in texts for tag, name in PLAYGROUND.findall(text)}


def page(body):
    """A page with the script and nothing else."""
    head = f'<link rel="stylesheet" href="{VENDOR.as_uri()}/playground.css">'
    head += f'<script defer src="{VENDOR.as_uri()}/playground.js"></script>'
    return f'<!DOCTYPE html><html data-theme="light"><meta charset="utf-8">{head}<body>{body}</body></html>'


def drawn(window):
    """The pictures by their names; `window` is a page of a browser that shows `page` of all of them."""
    roots = window.query_selector_all(".ddref-playground")
    return dict(zip(shown(), [root.evaluate(DRAWING) for root in roots], strict=True))


def main():
    from tempfile import TemporaryDirectory

    from tools.pages_check import opened_browser

    with TemporaryDirectory() as folder, opened_browser() as browser:
        path = Path(folder, "stills.html")
        path.write_text(page("".join(f"{tag}</div>" for tag in shown().values())), encoding="utf-8")
        window = browser.new_page(viewport={"width": 700, "height": 800})
        window.goto(path.as_uri())
        for name, text in drawn(window).items():
            (ROOT / "_static" / name).write_text(text, encoding="utf-8", newline="\n")
            print(f"_static/{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
