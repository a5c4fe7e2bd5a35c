"""The points of a set in the order in which they are shown: class after class."""

from typing import NamedTuple

import numpy as np

from .. import files
from ..npz import shortened
from ..tables.encoder import TableEncoder

DAYS = 10**6  # a date farther from 1970 is a number of days


class Group(NamedTuple):
    """Points that are shown together."""

    name: str  # of their class; "" where there are no classes
    rows: np.ndarray  # their numbers in the file


def class_of(saved: files.Saved) -> np.ndarray | None:
    """The class (m,) of the sample that each point started from, where that is known,
    else that of its largest score; None without classes.
    """
    if saved.classes is None:
        return None
    if saved.source_classes is not None:
        return np.array(saved.source_classes)
    return np.argmax(saved.Y_S, axis=1)


def groups(saved: files.Saved, most: int | None = None) -> list[Group]:
    """The points of each class; of `most` points in all, as many of each as can be.

    Examples
    --------
    >>> points, one = np.eye(3), np.ones(3)
    >>> names = {"classes": np.arange(3), "class_names": ("a", "b", "c")}
    >>> set_ = files.Saved(points, points[::-1], 0.0, 1.0, True, 0 * one, one, **names)
    >>> [(group.name, group.rows.tolist()) for group in groups(set_)]
    [('a', [2]), ('b', [1]), ('c', [0])]
    """
    classes = class_of(saved)
    if classes is None:
        found = [Group("", np.arange(len(saved.X_S)))]
    else:
        names = [shortened(name, 40) for name in saved.class_names or ()]
        found = [Group(names[c], np.flatnonzero(classes == c)) for c in set(classes)]
        found.sort(key=lambda group: classes[group.rows[0]])
    if most is None or len(saved.X_S) <= most:
        return found
    each = max(1, most // len(found))
    return [group._replace(rows=group.rows[:each]) for group in found[:most]]


def caption(saved: files.Saved, row: int) -> str:
    """What a point is: its class, its labels, or its targets.

    Examples
    --------
    >>> zero, one = np.zeros(1), np.ones(1)
    >>> set_ = files.Saved(np.eye(1), 2.5 * np.eye(1), 0.0, 1.0, True, zero, one)
    >>> caption(set_, 0)
    '2.5'
    """
    scores = saved.Y_S[row]
    if saved.class_names is None:
        return ", ".join(f"{score:.4g}" for score in scores[:4])
    classes = class_of(saved)
    if classes is not None:
        return shortened(saved.class_names[classes[row]], 40)
    named = zip(saved.class_names, scores, strict=True)
    there = [name for name, score in named if score > files.PRESENT]
    return shortened(", ".join(there) or "none", 40)


def outputs(saved: files.Saved) -> tuple[str, ...]:
    """Names of the columns of Y_S: classes, labels or targets; none where not known."""
    if saved.class_names is not None or saved.table is None:
        return saved.class_names or ()
    targets = TableEncoder.from_dict(saved.table).targets
    return targets if len(targets) == saved.Y_S.shape[1] else ()


def shown(found: list[Group], saved: files.Saved) -> str:
    """How many of the points are shown, where that is not all; else nothing."""
    count, m = sum(len(group.rows) for group in found), len(saved.X_S)
    if count == m:
        return ""
    each = "the first" if saved.classes is None else "the first of each class:"
    return f"{each} {count:,} of {m:,} points"


def plainly(value: float, digits: int, sign: str = "") -> str:
    """A number in so many digits, large ones whole and without an exponent.

    >>> plainly(3.14159, 3), plainly(88291.2, 4), plainly(-4123.0, 2, "+")
    ('3.14', '88,291', '-4,123')
    """
    whole = 10**digits <= abs(value) < 10**9
    return format(value, f"{sign},.0f" if whole else f"{sign}.{digits}g")


def written(kind: str, value: float) -> str:
    """A value of a column of this kind, dates as they are written.

    >>> written("date", 18000.2), written("number", 2.5)
    ('2019-04-14', '2.5')
    """
    if kind == "date" and abs(value) < DAYS:
        return str(np.datetime64(round(value), "D"))
    return plainly(value, 4)
