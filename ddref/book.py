"""What the pages of the book show besides text.

A cell of a chapter ends with ``book.table(rows, header)`` in the place of printed
columns, or with ``book.scrub(frames, said)``, a figure with a slider. Python alone is
enough for a table; frames need NumPy and Pillow.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# What counts as a number: 1,437 or -0.5 % or 3e-16 or < 1e-12 or 1.2 s or 3 / 10
_NUMBER = re.compile(
    r"[<>≤≥~±+−-]*\s*"
    r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?:\s*/\s*[\d,]+)?"
    r"\s*(?:%|[a-zA-Zµ]{1,3})?"
)
_NOTHING = ("", "–", "-", "nan")


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of text below a header, which a notebook shows as a table.

    `str` gives the same in columns of plain text, where there is no HTML.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        places = [">" if is_right else "<" for is_right in self._are_right()]
        columns = zip(self.header, *self.rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        lines = []
        for row in (self.header, *self.rows):
            cells = zip(row, places, widths, strict=True)
            lines.append(
                "  ".join(f"{cell:{place}{width}}" for cell, place, width in cells)
            )
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = _html_row(
            self.header, self._are_right(), tag="th", attribute=' scope="col"'
        )
        body = [_html_row(row, self._are_right(), tag="td") for row in self.rows]
        above = [
            '<table class="dataframe table">',
            "<thead>",
            head,
            "</thead>",
            "<tbody>",
        ]
        return "\n".join([*above, *body, "</tbody>", "</table>"])

    def _are_right(self) -> list[bool]:
        """Of each column whether nothing but numbers stands in it."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.header))]
        columns = [
            [cell for cell in column if cell not in _NOTHING] for column in columns
        ]
        return [
            bool(column) and all(map(_NUMBER.fullmatch, column)) for column in columns
        ]


def _html_row(
    row: Iterable[str], are_right: Iterable[bool], *, tag: str, attribute: str = ""
) -> str:
    made = []
    for cell, is_right in zip(row, are_right, strict=True):
        style = f'style="text-align: {"right" if is_right else "left"}"'
        made.append(f"<{tag}{attribute} {style}>{html.escape(cell)}</{tag}>")
    return f"<tr>{''.join(made)}</tr>"


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> Table:
    """A table of a page: each row a sequence of cells, one to each name in `header`.

    Text stays as it is, so that a number has the digits that the chapter gives it
    (``f"{error:.0e}"``); a whole number gets commas between thousands, another number
    six digits at most, and None is a dash. Columns of numbers, with a unit or a sign
    before them or not, are set to the right.

    Parameters
    ----------
    rows
        The rows, of `str`, `int`, `float` or None.
    header
        The name of each column, with its unit.

    Returns
    -------
    Table
        As the last value of a cell it is shown; ``display(table)`` shows it elsewhere.

    Raises
    ------
    ValueError
        If a row has not as many cells as `header`, or there are no columns.

    Examples
    --------
    >>> rows = [("MNIST", 60000, "86.2 %"), ("digits", 1437, None)]
    >>> table(rows, ["data", "images", "right"])
    data    images   right
    MNIST   60,000  86.2 %
    digits   1,437       –
    """
    names = tuple(str(name) for name in header)
    texts = tuple(tuple(_text(cell) for cell in row) for row in rows)
    if not names:
        raise ValueError("a table needs the name of at least one column in `header`")
    for number, row in enumerate(texts):
        if len(row) != len(names):
            sizes = (
                f"row {number} has {len(row)} cells and the header {len(names)} names"
            )
            raise ValueError(f"{sizes}; give one to each")
    return Table(names, texts)


def _text(cell: object) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, str | bool):
        return str(cell)
    try:
        return f"{cell:,d}"  # also of NumPy's whole numbers
    except (TypeError, ValueError):
        pass
    try:
        return f"{cell:g}"
    except (TypeError, ValueError):
        return str(cell)


@dataclass(frozen=True)
class Scrub:
    """Frames below each other in one picture, and a sentence for each.

    A notebook shows all of them. A page does, on paper; on a screen one at a time, with
    a slider, if the cell has the tag `scrub`.
    """

    said: tuple[str, ...]
    png: bytes = field(repr=False)

    def _ipython_display_(self) -> None:
        """A picture, and the sentences as printed lines: they must be the same on every
        machine, and no figure of their own.
        """
        from IPython.display import display

        picture = base64.b64encode(self.png).decode()
        plain = f"{len(self.said)} frames"
        display({"image/png": picture, "text/plain": plain}, raw=True)
        print("\n".join(self.said))


def scrub(
    frames: Sequence[Any],
    said: Sequence[str],
    *,
    zoom: int = 1,
    colours: int = 32,
) -> Scrub:
    """A figure with a slider, where one number tells the story.

    Parameters
    ----------
    frames
        Pictures of one size: arrays (height, width) of greys or (height, width, 3) of
        colours, from 0 to 1, or figures of Matplotlib, which are closed.
    said
        A sentence for each frame, in one line, with the number that changes in front.
        It is what a screen reader says, so the cell should assert what it claims.
    zoom
        So many pixels of the picture for each of an array, across and down.
    colours
        Of the picture, at most 256. Fewer make it smaller.

    Returns
    -------
    Scrub
        As the last value of a cell it is shown. Caption and alternative text are in the
        metadata of the cell, as for any figure, and `scrub` is among its tags.

    Raises
    ------
    ValueError
        If there are not as many sentences as frames, at least two, or the frames have
        different sizes.

    Examples
    --------
    >>> import numpy as np
    >>> scrub([np.zeros((2, 3)), np.ones((2, 3))], ["0: black", "1: white"])
    Scrub(said=('0: black', '1: white'))
    """
    if not len(frames) == len(said) >= 2:
        counts = f"{len(frames)} frames have {len(said)} sentences"
        raise ValueError(f"{counts}; give one to each, and two at least")
    if lines := [sentence for sentence in said if "\n" in sentence]:
        raise ValueError(f"a sentence is one line, this one is not: {lines[0]!r}")
    pictures = [_pixels(frame, zoom) for frame in frames]
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        raise ValueError(f"the frames have different sizes: {sorted(shapes)}")
    return Scrub(tuple(said), _as_png(pictures, colours))


def _pixels(frame: Any, zoom: int) -> Any:
    """The bytes of a frame, (height, width) or (height, width, 3)."""
    import numpy as np

    if hasattr(frame, "canvas"):
        from matplotlib import pyplot as plt
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(frame)
        canvas.draw()
        plt.close(frame)  # else a notebook would show it, too
        return np.array(canvas.buffer_rgba())[:, :, :3]
    A = np.asarray(frame, dtype=float)
    A = np.round(255 * np.clip(A, 0.0, 1.0)).astype(np.uint8)
    return A.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _as_png(pictures: Sequence[Any], colours: int) -> bytes:
    import numpy as np
    from PIL import Image

    strip = Image.fromarray(np.concatenate(pictures))
    if strip.mode == "L":  # even steps: a palette made for noise has no black, no white
        steps = colours - 1
        strip = strip.point(lambda v: round(round(v / 255 * steps) * 255 / steps))
        method = Image.Quantize.MEDIANCUT
    else:
        method = Image.Quantize.FASTOCTREE  # keeps the few colours of lines on white
    strip = strip.quantize(colours, method=method, dither=Image.Dither.NONE)
    file = io.BytesIO()
    strip.save(file, format="png", optimize=True)
    return file.getvalue()
