"""The points of a set as one picture: pictures with their classes, or cells of colour
with the names of columns.
"""

import math

import numpy as np

from .. import files
from ..npz import shortened
from ..tables.encoder import TableEncoder
from .canvas import LINE, Canvas, Shades, both_signs
from .points import Group, caption, groups, shown, written

PIXELS = 1 << 23  # of a picture, all points together
WIDTH, HEIGHT = 1200, 16_000  # of a picture, where one point is not larger
TILE, GAP = 96, 6  # pixels: the longer side of a small picture, what is between two
SMALLEST = 40  # a narrower picture has no caption
BEYOND = 0.25  # of the range of the data: points that far outside still look like data
COLUMNS, POINTS = 60, 16  # of a table whose values are written into its cells


def sheet(saved: files.Saved) -> tuple[np.ndarray, str]:
    """The points as one picture (height, width, 3) of bytes, and what its colours mean.

    Points of one class stand together, in a block of their own where there are several.
    Pictures that look like the data are grey, signed values blue and red.
    """
    return _tables(saved) if saved.image_shape is None else _pictures(saved)


# -------------------------------------------------------------------------- pictures


def _pictures(saved):
    tiles, said = _tiles(saved)
    m, height, width = tiles.shape[:3]
    zoom = max(1, TILE // max(height, width))
    if m * height * width * zoom**2 > PIXELS:  # smaller first, then fewer
        zoom = max(1, math.isqrt(PIXELS // (m * height * width)))
    found = groups(saved, max(1, PIXELS // (height * width * zoom**2)))
    shades = _shades(tiles, saved.value_range)

    def enlarged(rows):
        rgb = shades.rgb(tiles[rows].astype(np.float64), tiles.ndim == 4)
        return np.repeat(np.repeat(rgb, zoom, axis=1), zoom, axis=2)

    several = saved.classes is not None and any(len(g.rows) > 1 for g in found)
    named = not several and width * zoom >= SMALLEST
    rows = np.concatenate([group.rows for group in found])
    canvas = Canvas(
        [caption(saved, row) for row in rows] if named else [g.name for g in found]
    )
    if not several:  # one block, each point with its own name
        found = [Group("", rows)]
    bottom = _blocks(canvas, saved, found, enlarged, several)
    if tiles.ndim == 3:
        canvas.legend(shades, GAP, bottom)
    meaning = _meaning(shades._replace(signed=shades.signed and tiles.ndim == 3))
    other = "behind >: the class of the largest score, where it is another"
    moved = several and saved.source_classes is not None
    said = [said, meaning, shown(found, saved), other if moved else ""]
    return canvas.drawn(GAP), "; ".join(filter(None, said))


def _tiles(saved):
    """Points (m, h, w), or (m, h, w, 3) in three colours; and in which units."""
    tiles = saved.X_S.reshape(len(saved.X_S), *saved.image_shape)
    said = "in units of the data"
    if tiles.ndim == 3 or tiles.shape[3] == 3:
        return tiles, said
    if tiles.shape[3] > 1:
        said = f"the mean of {tiles.shape[3]} channels, {said}"
    return (tiles / tiles.shape[3]).sum(axis=3), said  # no sum overflows


def _shades(tiles, data_range):
    """Grey where points look like data that are not negative; else 0 in the middle."""
    low, high = float(tiles.min()), float(tiles.max())
    bottom, top = data_range or (0.0, math.inf)
    beyond = BEYOND * (top - bottom)
    near = bottom - low <= beyond and high - top <= beyond
    if low >= 0 or data_range is not None and bottom >= 0 and near:
        return Shades(low, high)
    return both_signs(tiles)


def _meaning(shades):
    if shades.signed:
        return f"blue is below 0, red above, up to {shades.high:.6g} either way"
    return (
        f"black is {shades.low:.6g}, white {shades.high:.6g}, the same for all points"
    )


def _blocks(canvas, saved, found, enlarged, several):
    """Put the points of each class into a block, and write what they are; returns where
    the last block ends.
    """
    left, top = GAP, GAP
    if several:
        left += max(canvas.width(group.name) for group in found) + GAP
    for group in found:
        pictures = enlarged(group.rows)
        height, width = pictures.shape[1:3]
        across = max(1, (WIDTH - left) // (width + GAP))
        line = height + GAP + (LINE if width >= SMALLEST else 0)
        canvas.write(group.name, GAP, top + max(0, (height - LINE) // 2))
        for i, (row, picture) in enumerate(zip(group.rows, pictures, strict=True)):
            x, y = left + i % across * (width + GAP), top + i // across * line
            canvas.put(picture, x, y)
            if width >= SMALLEST:
                text = _number(saved, group, row) if several else caption(saved, row)
                canvas.write(text, x, y + height + 1, width)
        top += -(-len(group.rows) // across) * line + GAP
    return top


def _number(saved, group, row):
    """The number of a point, and the class of its largest score if that is another."""
    largest = shortened(saved.class_names[int(np.argmax(saved.Y_S[row]))], 40)
    return f"no. {row}" if largest == group.name else f"no. {row} > {largest}"


# ---------------------------------------------------------------------------- tables


def _tables(saved):
    values, how = _deviations(saved)
    m, d = values.shape
    shades, found = both_signs(values), groups(saved)
    if d <= COLUMNS and m <= POINTS:
        page = _written_cells(saved, values, shades)
        said = "a line a column, a point beside the other"
    else:
        found, page = _plain_cells(saved, values, shades)
        said = "a line a point, a cell a column"
    said = [f"{said}, {how}", _meaning(shades), shown(found, saved)]
    return page, "; ".join(filter(None, said))


def _deviations(saved):
    """How far each value is from the mean of its column, and in what unit."""
    if saved.scaling == "columns":
        return (saved.X_S - saved.mean) / saved.scale, "deviations from its mean"
    rows = saved.X_S.astype(np.float64)
    size = np.abs(rows).max(axis=0)  # first, so that no square overflows
    rows = rows / np.where(size == 0, 1.0, size)
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread == 0, 1.0, spread)
    return rows, "from the mean of the points, by their own spread"


def column_names(saved: files.Saved) -> list[str]:
    """What the columns of the points are called, in a line each."""
    if saved.table is None:
        return [f"column {i}" for i in range(saved.X_S.shape[1])]
    names = TableEncoder.from_dict(saved.table).get_feature_names_out()
    return [shortened(name, 40) for name in names]


def _written_cells(saved, values, shades):
    """A line a column of the table, with the value in each cell, and a line a class."""
    order = np.concatenate([group.rows for group in groups(saved)])
    names, titles = column_names(saved), [caption(saved, row) for row in order]
    canvas = Canvas([*names, *titles])
    cells = [_texts(saved, row) for row in order]
    left = max(map(canvas.width, names)) + 2 * GAP
    widest = max(canvas.width(text) for texts in [titles, *cells] for text in texts)
    width = min(140, widest + 2 * GAP)
    for i, name in enumerate(names):
        canvas.write(name, GAP, GAP + (i + 1) * (LINE + 2))
    for j, (row, title, texts) in enumerate(zip(order, titles, cells, strict=True)):
        x = left + j * (width + 2)
        canvas.write(title, x + 3, GAP, width - 3)
        for i, text in enumerate(texts):
            y = GAP + (i + 1) * (LINE + 2)
            rgb = shades.rgb(values[row, i].reshape(1, 1))
            canvas.put(np.broadcast_to(rgb, (LINE, width, 3)), x, y)
            canvas.write(
                text, x + 3, y, colour="white" if rgb.mean() < 120 else "black"
            )
    canvas.legend(shades, left, canvas.bottom + GAP)
    return canvas.drawn(GAP)


def _texts(saved, row):
    """The values of a point, in units of the table."""
    kinds = ["number"] * saved.X_S.shape[1]
    if saved.table is not None:
        entries = TableEncoder.from_dict(saved.table).entries
        kinds = [entry.kind for entry in entries for _ in range(entry.width)]
    values = saved.X_S[row].tolist()
    return [written(kind, value) for kind, value in zip(kinds, values, strict=True)]


def _plain_cells(saved, values, shades):
    """A line a point, class after class, with the names of these and of columns; and
    the points that are there.
    """
    m, d = values.shape
    zoom = max(1, min(24, WIDTH // d, HEIGHT // m, math.isqrt(PIXELS // values.size)))
    found = groups(saved, max(1, min(HEIGHT // zoom, PIXELS // (d * zoom**2))))
    names = column_names(saved) if zoom >= LINE else []
    canvas = Canvas([*names, *(group.name for group in found)])
    left = max(canvas.width(group.name) for group in found) + 2 * GAP
    top = GAP + max(map(canvas.width, names), default=0)
    for i, name in enumerate(names):
        x = left + i * zoom + (zoom - LINE) // 2
        canvas.write_upright(name, x, top - canvas.width(name) - 2)
    for group in found:
        rgb = shades.rgb(values[group.rows])
        canvas.put(np.repeat(np.repeat(rgb, zoom, axis=0), zoom, axis=1), left, top)
        canvas.write(group.name, GAP, top)
        top += max(len(rgb) * zoom, LINE) + GAP
    canvas.legend(shades, left, top)
    return found, canvas.drawn(GAP)
