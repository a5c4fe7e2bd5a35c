"""The data that a command is given: folders of images, tables, arrays."""

import argparse
import contextlib
import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import datasets, files
from ..npz import load_npy, load_npz

# What an .npz file is read for; others may lie beside them, of any kind.
ARRAYS = "header X_S X y X_train y_train X_test y_test".split()
MAX_BYTES = 1 << 32  # what is unpacked or read at most, unless --max-bytes says more


class Data(NamedTuple):
    """What an input holds, whatever its kind."""

    X: np.ndarray  # (n, d)
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None  # names of the columns of X
    images: bool = False  # whether the values are pixels

    def parts(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The training samples and, where there are any, the test samples."""
        yield "training", self.X, self.y
        if self.X_test is not None and self.y_test is not None:
            yield "test", self.X_test, self.y_test


def read(options: argparse.Namespace, progress: Callable[..., None]) -> Data:
    """The data of INPUT."""
    path = Path(options.input).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    progress(f"reading {path.name}")
    ending = path.suffix.lower()
    if path.is_dir() or ending in (".tar", ".tgz", ".gz", ".bz2", ".xz"):
        return _images(path, options, progress)
    if ending == ".npz":
        return _arrays(path, options)
    if ending == ".npy":
        if not options.targets:
            raise ValueError(
                f"{path} holds samples only: name the file of their targets with "
                "--targets Y.npy"
            )
        X, y = (load_npy(p, options.max_bytes) for p in (path, options.targets))
        return _checked(X, y, str(path))
    if ending in (".csv", ".tsv", ".txt"):
        return _table(path, options)
    raise ValueError(
        f"{path}: a folder of images, or a file .npz, .npy, .csv or .tar "
        "(.gz, .bz2, .xz) is needed"
    )


def _images(path, options, progress):
    def report(done, total):
        progress("reading images", done, total)

    found = datasets.image_folder(path, max_bytes=options.max_bytes, progress=report)
    names = np.array(found.class_names)
    X, X_test = (A.reshape(len(A), -1) for A in (found.X_train, found.X_test))
    return Data(
        X,
        names[found.y_train],
        X_test,
        names[found.y_test],
        image_shape=found.X_train.shape[1:],
        images=True,
    )


# ---------------------------------------------------------------------------- arrays


def _arrays(path, options):
    arrays = load_npz(path, max_bytes=options.max_bytes, only=ARRAYS)
    if "header" in arrays and "X_S" in arrays:
        raise ValueError(
            f"{path} is a distilled set, not data: see ddref show, ddref info"
        )
    arrays = {name.lower(): A for name, A in arrays.items()}
    for x, y in (("x", "y"), ("x_train", "y_train")):
        if {x, y} <= set(arrays):
            test = arrays.get("x_test"), arrays.get("y_test")
            test = None if test[0] is None or test[1] is None else test
            return _checked(arrays[x], arrays[y], str(path), test)
    raise ValueError(
        f"{path} has the arrays {sorted(arrays)}: X and y are needed, or X_train and "
        "y_train (others are not looked at)"
    )


def _checked(X, y, name, test=None):
    """Data from arrays: images flattened, shapes checked."""
    X, shape = _rows(X, f"{name}: X")
    y = _column(y, len(X), f"{name}: y")
    images = shape is not None
    if test is None:
        return Data(X, y, image_shape=shape, images=images)
    X_test, shape_test = _rows(test[0], f"{name}: X_test")
    if X_test.shape[1] != X.shape[1] or shape_test != shape:
        raise ValueError(f"{name}: X_test has rows of another shape than X_train")
    y_test = _column(test[1], len(X_test), f"{name}: y_test")
    return Data(X, y, X_test, y_test, image_shape=shape, images=images)


def _rows(X, name):
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {X.dtype}, numbers are needed")
    if X.ndim not in (2, 3, 4) or 0 in X.shape:
        raise ValueError(
            f"{name} has shape {X.shape}: rows are samples, or images "
            "(n, height, width[, channels])"
        )
    _finite(X, name)
    return X.reshape(len(X), -1), X.shape[1:] if X.ndim > 2 else None


def _column(y, n, name):
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim not in (1, 2) or len(y) != n:
        raise ValueError(
            f"{name} has shape {y.shape}, one target for each of {n} samples is needed"
        )
    _finite(y, name)
    return y


def _finite(A, name):
    if A.dtype.kind == "f" and not np.isfinite(A).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(A))[0]]
        raise ValueError(
            f"{name} contains NaN or Inf, the first at {where}; fill or remove these "
            "samples"
        )


# ---------------------------------------------------------------------------- tables


def _table(path, options):
    """A table of numbers with a line of names or without, and the column of targets."""
    if options.target is None:
        raise ValueError(f"{path}: name the column of the targets with --target COLUMN")
    names, lines = _lines(path, options.max_bytes)
    target = _place(names, options.target, path)
    X, y = np.empty((len(lines), len(names) - 1)), []
    for i, (row, number) in enumerate(lines):
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(row)} columns, where there should be "
                f"{len(names)}"
            )
        y.append(row[target].strip())
        if y[-1].lower() in ("", "nan"):
            raise ValueError(
                f"{path}, line {number}: the target {names[target]!r} is missing "
                "(empty or NaN)"
            )
        cells = [_number(cell) for cell in row]
        for j, cell in enumerate(cells):
            if j != target and (cell is None or not math.isfinite(cell)):
                raise ValueError(
                    f"{path}, line {number}, column {names[j]!r}: {row[j]!r} is not a "
                    "finite number; fill or remove it, or turn words into numbers first"
                )
        X[i] = cells[:target] + cells[target + 1 :]
    columns = tuple(names[:target] + names[target + 1 :])
    return Data(X, _typed(y), columns=columns)


def _lines(path, max_bytes):
    """Names of the columns, and the other lines with their numbers."""
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path} is larger than --max-bytes {max_bytes:,}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
            lines = [(row, reader.line_num) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error})") from error
    lines = [line for line in lines if any(cell.strip() for cell in line[0])]
    if not lines:
        raise ValueError(f"{path} is empty")
    names = [cell.strip() for cell in lines[0][0]]
    if all(_number(cell) is not None for cell in names):
        return [str(i) for i in range(len(names))], lines
    if len(lines) == 1:
        raise ValueError(f"{path} has a line of names and no samples")
    return names, lines[1:]


def _place(names, wanted, path):
    """The number of the column that is called `wanted`, or has that number."""
    if len(names) < 2:
        raise ValueError(
            f"{path} has the target only: at least one more column is needed"
        )
    if names.count(wanted) > 1:
        raise ValueError(
            f"{path} has {names.count(wanted)} columns {wanted!r}; pass the number of "
            "the one you mean"
        )
    if wanted in names:
        return names.index(wanted)
    if wanted.lstrip("-").isdigit() and -len(names) <= int(wanted) < len(names):
        return int(wanted) % len(names)
    has = ", ".join(map(repr, names))
    raise ValueError(f"{path} has no column {wanted!r}; it has {has}")


def _typed(cells):
    """Whole numbers, numbers or texts, as the cells of a column are."""
    numbers = [_number(cell) for cell in cells]
    if any(number is None for number in numbers):
        return np.array(cells)
    if all(cell.lstrip("+-").isdigit() for cell in cells):
        with contextlib.suppress(OverflowError):
            return np.array([int(cell) for cell in cells], dtype=np.int64)
    return np.array(numbers)


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return None


# --------------------------------------------------------------------------- targets


def guessed_task(data: Data) -> str:
    """What the targets are: texts are classes, fractions are numbers.

    Whole numbers are classes where they are few enough to tell; else it is asked.
    """
    y, distinct = data.y, len(np.unique(data.y))
    whole = y.dtype.kind != "f" or bool((y == np.rint(y)).all())
    if (data.images and y.dtype.kind != "f") or y.dtype.kind in "Ub":
        return "classification"
    if y.ndim == 2 or not whole:
        return "regression"
    if y.dtype.kind in "iu" and distinct <= 100 and 2 * distinct <= len(y):
        return "classification"
    raise ValueError(
        f"the targets are whole numbers with {distinct} different values among "
        f"{len(y)}: say --task regression or --task classification"
    )


def targets_of(
    saved: files.Saved, y: np.ndarray, options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray | None]:
    """Targets (n, k) as the set was made from, and the classes as numbers, or None."""
    if saved.classes is None:
        Y = as_numbers(y, "the targets").reshape(len(y), -1)
        if Y.shape[1] != saved.Y_S.shape[1]:
            raise ValueError(
                f"{options.input} has {Y.shape[1]} targets, "
                f"{options.file} {saved.Y_S.shape[1]}"
            )
        return Y, None
    places = {label: i for i, label in enumerate(saved.classes.tolist())}
    unknown = sorted({str(label) for label in set(y.ravel().tolist()) - set(places)})
    if unknown or y.ndim != 1:
        raise ValueError(
            f"{options.input} has the classes {', '.join(unknown[:5])}, of which "
            f"{options.file} knows nothing; it knows "
            f"{shortened(', '.join(map(str, places)))}"
        )
    classes = np.array([places[label] for label in y.tolist()])
    return datasets.one_hot(classes, len(places)), classes


def as_numbers(y: np.ndarray, name: str) -> np.ndarray:
    """Targets in float64; texts are refused."""
    if y.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} are texts such as {str(y.ravel()[0])!r}: regression needs "
            "numbers, or say --task classification"
        )
    return y.astype(np.float64)


def shortened(text: str, length: int = 80) -> str:
    """`text` in at most `length` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."
