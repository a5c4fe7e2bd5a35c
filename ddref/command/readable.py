"""The points of a table as a table to read: units, dates and words again."""

import numpy as np

from .. import files
from ..npz import shortened
from ..tables.encoder import Entry, TableEncoder
from .points import caption, class_of, groups, outputs, plainly, shown, written

WIDTH, NAME, CELL = 110, 28, 30  # letters: of a line, a name, a cell
COLUMNS, POINTS, LABELS = 60, 12, 6  # that are printed at most
SURE = 0.1  # parts of words that are nearer to 0 and 1 are one word


def points_as_table(saved: files.Saved) -> str:
    """A line a column of the table, points beside each other; nothing without a table.

    Numbers are in the units of the table, and in brackets is how far they are from the
    mean of the samples of the class; dates are dates; words are words where one is
    nearly 1 and the others nearly 0, else their largest parts.
    """
    if saved.table is None:
        return ""
    entries = TableEncoder.from_dict(saved.table).entries
    used = [entry for entry in entries if entry.width]
    names = ["", *(shortened(entry.name, NAME) for entry in used), *_label_names(saved)]
    for most in range(
        min(POINTS, len(saved.X_S)), 0, -1
    ):  # as many as there is room for
        found = groups(saved, most)
        columns = [_cells(saved, used, row) for group in found for row in group.rows]
        columns = [names, *columns]
        widths = [max(map(len, column)) for column in columns]
        if sum(widths) + 2 * len(widths) <= WIDTH:
            break
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in zip(*columns, strict=True)
    ]
    kept = lines[: COLUMNS + 1]
    if len(lines) > len(kept):
        kept.append(f"and {len(lines) - len(kept)} more lines: ddref export writes all")
    head = "; ".join(filter(None, [_head(saved), shown(found, saved)]))
    return "\n".join([head, *(line.rstrip() for line in kept)])


def _head(saved):
    said = "the points in units of the table"
    if _mean_of(saved, 0) is None:
        return said
    of = (
        "the samples" if saved.means is None or saved.classes is None else "their class"
    )
    return f"{said}, in brackets the difference from the mean of {of}"


def _mean_of(saved, row):
    """The mean row (d,) that a point is compared with, None where none is known."""
    if saved.means is None:
        return saved.mean if saved.scaling == "columns" else None
    classes = class_of(saved)
    return saved.means[0 if classes is None else classes[row]]


def _cells(saved, used, row):
    """What a point is, the value of each column of the table, and its labels."""
    title = f"no. {row}" if saved.class_names is None else caption(saved, row)
    cells, at, mean = [title[:CELL]], 0, _mean_of(saved, row)
    for entry in used:
        values = saved.X_S[row, at : at + entry.width].astype(np.float64)
        if entry.kind == "words":
            cells.append(_words(entry, values))
        else:
            cells.append(
                _number(
                    entry.kind, float(values[0]), None if mean is None else mean[at]
                )
            )
        at += entry.width
    return cells + [plainly(score, 4) for score in saved.Y_S[row, :LABELS].tolist()]


def _label_names(saved):
    kind = "label" if saved.class_names is None else "score"
    names = outputs(saved) or list(map(str, range(saved.Y_S.shape[1])))
    return [f"{kind} {shortened(name, NAME - 6)}" for name in names[:LABELS]]


def _number(kind: str, value: float, mean: float | None) -> str:
    """A number or date, and how far it is from the mean.

    >>> _number("number", 13.25, 12.0), _number("date", 18000.2, 17990.0)
    ('13.25 (+1.2)', '2019-04-14 (+10 d)')
    """
    if mean is None:
        return written(kind, value)
    unit = " d" if kind == "date" else ""
    return f"{written(kind, value)} ({plainly(value - mean, 2, '+')}{unit})"


def _words(entry: Entry, values: np.ndarray) -> str:
    """The word that a point has, or the parts of several.

    >>> hue = Entry("hue", "words", ("blue", "red"))
    >>> _words(hue, np.array([0.02, 0.98])), _words(hue, np.array([1.3, -0.3]))
    ('red', 'blue 1.3, red -0.3')
    """
    words = ["(missing)" if level is None else str(level) for level in entry.levels]
    order = np.argsort(-np.abs(values), kind="stable")
    rest = np.delete(values, order[0])
    if abs(values[order[0]] - 1) <= SURE and (np.abs(rest) <= SURE).all():
        return shortened(words[order[0]], CELL)
    parts = [f"{shortened(words[i], 12)} {values[i]:.2g}" for i in order[:3]]
    left_out = ", .." if len(order) > 3 else ""
    return ", ".join(parts) + left_out
