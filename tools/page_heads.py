"""What others show of a page: its description, its address and a picture; `_config.yml` loads this as an extension.

Search engines and messengers read the head of a page. Each page of the book gets the sentence it answers as its
description (the **Question** of a chapter, else the first sentences), and a card of 1200 x 630 pixels with its title.
"""

import html
import re
import textwrap
from pathlib import Path

from docutils import nodes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

CARDS = "_static/cards"  # folder of the pictures, in the built book
PICTURE = "chapters/images/ten_points.png"
LONGEST = 200  # characters of a description
SYMBOLS = dict(
    alpha="α", beta="β", gamma="γ", delta="δ", epsilon="ε", varepsilon="ε", kappa="κ", lambda_="λ", mu="μ", rho="ρ",
    sigma="σ", tau="τ", phi="φ", Phi="Φ", times="x", cdot="·", le="≤", ge="≥", ne="≠", to="→", top="⊤", ell="l", dots="…",
)  # fmt: skip
SYMBOLS["in"], SYMBOLS["lambda"] = "∈", SYMBOLS.pop("lambda_")
FONTS = r"\\(?:math[a-z]+|tilde|hat|bar|left|right|[bB]igg?[lr]?|q?quad|sqrt|t?frac|displaystyle)(?![a-zA-Z])"


# -- the description


def described(doctree):
    """One or a few sentences about a page: its question, or how it begins."""
    paragraphs = [node for node in doctree.findall(nodes.paragraph) if isinstance(node.parent, nodes.section)]
    texts = [plain(node) for node in paragraphs]
    questions = [text.removeprefix("Question. ") for text in texts if text.startswith("Question. ")]
    others = [text for text in texts if len(text) > 40 and not text.startswith("About ")]
    return shortened((questions or others or [plain(doctree.next_node(nodes.title))])[0])


def plain(node):
    """The text of a node in one line, formulas as a reader would type them."""
    parts = [
        words_of(part.astext()) if isinstance(part, nodes.math) else part
        for part in node.findall(lambda part: isinstance(part, nodes.Text | nodes.math))
        if not isinstance(part.parent, nodes.math)
    ]
    return " ".join("".join(parts).split())


def words_of(formula):
    formula = re.sub(r"\\(?:operatorname|mathrm|text)\s*\{([^}]*)\}", r"\1", formula)
    formula = re.sub(FONTS, "", formula.replace(r"\|", "‖"))
    formula = re.sub(r"\\([a-zA-Z]+)", lambda found: SYMBOLS.get(found[1], found[1]), formula)
    return re.sub(r"\\.|[{}$]", "", formula)


def shortened(text):
    """The first sentences of a text that fit; of a first sentence that does not, its first words."""
    if len(text) <= LONGEST:
        return text
    ends = [found.end() for found in re.finditer(r"[.?!](?= )", text[: LONGEST + 1])]
    if ends and ends[-1] >= 60:
        return text[: ends[-1]]
    return textwrap.shorten(text, LONGEST, placeholder=" …")


# -- the head


def with_description(app, pagename, templatename, context, doctree):
    """Add to the head of a page what others show of it."""
    if doctree is None or app.builder.format != "html":
        return
    title, description = plain(doctree.next_node(nodes.title)), described(doctree)
    card = f"{CARDS}/{pagename.rpartition('/')[2]}.png"
    draw_card(Path(app.outdir, card), title, description, app.config.html_title, Path(app.srcdir, PICTURE))
    base = app.config.html_baseurl
    about = {
        "og:type": "article", "og:site_name": app.config.html_title, "og:title": title,
        "og:description": description, "og:url": base + app.builder.get_target_uri(pagename),
        "og:image": base + card, "og:image:width": "1200", "og:image:height": "630",
        "og:image:alt": f"{title}: {description}",
    }  # fmt: skip
    named = {"description": description, "twitter:card": "summary_large_image"}
    context["metatags"] += "".join(
        f'<meta {kind}="{name}" content="{html.escape(content)}" />\n'
        for kind, entries in (("property", about), ("name", named))
        for name, content in entries.items()
    )


def draw_card(path, title, description, book, picture):
    """Title and description of a page above the picture of the book."""
    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    lines = textwrap.wrap(title, 34)[:2]
    texts = [(0.9, book, 22, "#48566b"), (0.8, "\n".join(lines), 40, "#14181e")]
    below = "\n".join(textwrap.wrap(description, 72)[:3])
    texts.append((0.64 if len(lines) < 2 else 0.54, below, 21, "#323f4f"))
    for height, text, size, colour in texts:
        figure.text(0.05, height, text, size=size, color=colour, va="top", parse_math=False)
    axes = figure.add_axes((0.05, 0.04, 0.9, 0.3), anchor="SW")
    pixels = imread(picture)
    axes.imshow(pixels[: round(0.64 * len(pixels))])  # images above, distilled points below
    axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def write_start(app, error):
    """The page at the root leads to the first one, also where nothing is forwarded."""
    if error or app.builder.format != "html":
        return
    first, title = app.builder.get_target_uri(app.config.root_doc), html.escape(app.config.html_title)
    Path(app.outdir, "index.html").write_text(
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta http-equiv="Refresh" content="0; url={first}">\n'
        f'<link rel="canonical" href="{app.config.html_baseurl}{first}"></head>\n'
        f'<body><p><a href="{first}">{title}</a></p></body></html>\n',
        encoding="utf-8",
    )


def setup(app):
    app.connect("html-page-context", with_description)
    app.connect("build-finished", write_start)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
