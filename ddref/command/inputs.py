"""The data that a command is given: folders of images, tables, arrays."""

import argparse
import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import datasets, files
from ..npz import NpyFile, load_npy, load_npz, names_in, shortened
from ..statistics.rows import FileRows
from ..tables.cells import shown
from ..tables.columns import Misfit, target_from_cells, target_from_series
from ..tables.encoder import TableEncoder, names_of, place_of
from ..tables.frames import READERS, read_frame
from ..tables.text import PACKED, Text, read_text

# What an .npz file is read for; others may lie beside them, of any kind.
ARRAYS = "header X_S X y X_train y_train X_test y_test".split()
TEXTS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")  # endings of text tables
# Options that say something about one kind of input; given for another, they are
# refused rather than passed over.
OPTIONS = {
    "a table": ("target", "header", "decimal_comma", "missing", "words", "leave_out"),
    "a folder of images": ("test", "size"),
    ".npz": ("channels",),
    ".npy": ("channels", "targets"),
}
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zip")
LARGE = 1 << 27  # bytes of an .npy file of samples that is read in blocks
MAX_BYTES = 1 << 32  # what is unpacked or read at most, unless --max-bytes says more


class Data(NamedTuple):
    """What an input holds, whatever its kind."""

    X: Any  # array (n, d), or FileRows where the samples stay in their file
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None  # names of the columns of X
    images: bool = False  # whether the values are pixels
    table: TableEncoder | None = None  # how a table became X
    notes: tuple[str, ...] = ()  # what was done on the way
    name_of: Callable[[int], str] | None = None  # of a row of X: its file, or line

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the columns of y, where a table has them."""
        return None if self.table is None else self.table.targets

    def parts(self) -> Iterator[tuple[str, Any, np.ndarray]]:
        """The training samples and, where there are any, the test samples."""
        yield "training", self.X, self.y
        if self.X_test is not None and self.y_test is not None:
            yield "test", self.X_test, self.y_test


def read(
    options: argparse.Namespace,
    progress: Callable[..., None],
    saved: files.Saved | None = None,
) -> Data:
    """The data of INPUT; a table in the columns that a saved set was made from."""
    path = Path(options.input).expanduser()
    kind = _kind(path)
    if kind == ".npy" and not options.targets:
        raise ValueError(
            f"{path} holds samples only: name the file of their targets with "
            "--targets Y.npy"
        )
    progress(f"reading {path.name}")
    check_options(options, kind)
    if kind == "a table":
        return _table(path, options, saved)
    if kind == "a folder of images":
        return _images(path, options, progress, saved)
    if kind == ".npz":
        return _arrays(path, options, saved)
    return _array_pair(path, options, progress, saved)


def _kind(path: Path) -> str:
    """What an input is, one of `OPTIONS`, by its name."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    ending, inner = path.suffix.lower(), Path(path.stem).suffix.lower()
    packed = ending in PACKED and inner in TEXTS
    if path.is_file() and (packed or ending in TEXTS or ending in READERS):
        return "a table"
    if path.is_dir() or ending in ARCHIVES:
        return "a folder of images"
    if ending in (".npz", ".npy"):
        return ending
    raise ValueError(
        f"{path}: a folder of images, or a file .npz, .npy, .csv, .tsv, .txt, "
        ".parquet, .xlsx, .zip or .tar (.gz, .bz2, .xz) is needed"
    )


def check_options(options: argparse.Namespace, kind: str) -> None:
    """Refuse what is said about an input of another kind."""
    for names in OPTIONS.values():
        for name in set(names) - set(OPTIONS[kind]):
            value = getattr(options, name, None)
            if value or (name == "header" and value is not None):
                meant = " or ".join(k for k, own in OPTIONS.items() if name in own)
                raise ValueError(
                    f"--{name.replace('_', '-')} is for {meant}, and {options.input} "
                    f"is {kind}: leave it out"
                )


def samples(options: argparse.Namespace, saved: files.Saved) -> Any:
    """Rows (n, d) to predict, or `FileRows`, as the points of a saved set are: of a
    table with its columns, or of arrays; targets beside them are not looked at.
    """
    path = Path(options.input).expanduser()
    kind = _kind(path)
    check_options(options, kind)
    if kind == "a table":
        if saved.table is None:
            raise ValueError(
                f"{options.file} was not made from a table: pass rows as .npy or .npz"
            )
        encoder = TableEncoder.from_dict(saved.table)
        try:
            return encoder.transform(_source(path, options, encoder))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if kind == ".npz":
        found = load_npz(path, max_bytes=options.max_bytes, only=["X"])
        if len(found) != 1:
            raise ValueError(f"{path}: one array named X is needed")
        X = next(iter(found.values()))
    elif kind == ".npy":
        file = NpyFile(path)
        if _is_large(file):
            return _file_rows(file, options, lambda *_: None)
        X = load_npy(path, options.max_bytes)
    else:
        raise ValueError(f"{path}: a table, or a file .npy or .npz (X), is needed")
    X = _channels_last(X, str(path), options.channels, [])
    return _rows(X, str(path))[0]


def _images(path, options, progress, saved):
    def report(done, total):
        progress("reading images", done, total)

    size, seed = options.size, getattr(options, "seed", None)
    if saved is not None:  # as the set was made
        size = size or (saved.image_shape and saved.image_shape[:2])
        seed = saved.seed
    found = datasets.image_folder(
        path,
        test=options.test,
        size=size,
        seed=seed or 0,
        max_bytes=options.max_bytes,
        progress=report,
    )
    names = np.array(found.class_names)
    shape = found.X_train.shape[1:]
    X, X_test = (A.reshape(-1, math.prod(shape)) for A in (found.X_train, found.X_test))
    test = (X_test, names[found.y_test]) if len(X_test) else (None, None)
    return Data(
        X,
        names[found.y_train],
        *test,
        image_shape=shape,
        images=True,
        notes=found.notes,
        name_of=found.files.__getitem__,
    )


# ---------------------------------------------------------------------------- arrays


def _arrays(path, options, saved):
    found = load_npz(path, max_bytes=options.max_bytes, only=ARRAYS)
    if "header" in found and "X_S" in found:
        raise ValueError(
            f"{path} is a distilled set, not data: see ddref show, ddref info"
        )
    arrays = {name.lower(): A for name, A in found.items()}
    if len(arrays) < len(found):
        raise ValueError(f"{path} has {sorted(found)}: one name in two spellings")
    for x, y in (("x", "y"), ("x_train", "y_train")):
        if {x, y} <= set(arrays):
            tests = arrays.get("x_test"), arrays.get("y_test")
            test = None if tests[0] is None or tests[1] is None else tests
            used = {x, y, *(("x_test", "y_test") if test else ())}
            data = _checked(arrays[x], arrays[y], str(path), options, saved, test)
            return data._replace(notes=(*data.notes, *_not_looked_at(path, used)))
    raise ValueError(
        f"{path} has the arrays {shown(names_in(path))}: X and y are needed, or "
        "X_train and y_train; write them with these names (np.savez)"
    )


def _array_pair(path, options, progress, saved):
    """Samples and targets in two files; many samples are read in blocks."""
    y = load_npy(options.targets, options.max_bytes)
    file = NpyFile(path)
    if _is_large(file) and getattr(options, "select", "gcv") == "validation":
        progress.note("--select validation: all samples are read into memory")
    elif _is_large(file) and len(file) > math.prod(file.shape[1:]):
        return _blocks(file, y, options, progress, saved)
    X = load_npy(path, options.max_bytes)
    return _checked(X, y, str(path), options, saved)


def _blocks(file, y, options, progress, saved):
    """Data whose samples stay in their file."""
    name, notes = str(file.path), [f"{file.nbytes:,} bytes of samples: read in blocks"]
    like = np.broadcast_to(file[:1], file.shape)  # its shape, without its memory
    like = _channels_last(like, f"{name}: X", options.channels, notes)
    shape = _rows(like[:1], f"{name}: X")[1]
    y = _column(y, len(file), f"{name}: y")
    y = _labels(y, _wanted_classes(options, saved), f"{name}: y", notes)
    X = _file_rows(file, options, progress)
    images = shape is not None
    return Data(X, y, image_shape=shape, images=images, notes=tuple(notes))


def _is_large(file):
    return file.nbytes > LARGE and len(file.shape) > 1


def _file_rows(file, options, progress):
    """Rows of a file that is read in blocks."""

    def flat(A):
        return _channels_last(A, "X", options.channels, []).reshape(len(A), -1)

    def report(done, total):
        progress(f"reading {file.path.name}", done, total)

    return FileRows(file, flat, report)


def _not_looked_at(path, used):
    others = [name for name in names_in(path) if name.lower() not in used]
    return [f"arrays not looked at: {shown(others)}"] if others else []


def _checked(X, y, name, options, saved, test=None):
    """Data from arrays: images flattened, shapes checked."""
    notes: list[str] = []
    X = _channels_last(X, f"{name}: X", options.channels, notes)
    X, shape = _rows(X, f"{name}: X")
    y = _column(y, len(X), f"{name}: y")
    images = shape is not None
    classes = _wanted_classes(options, saved)
    if test is None:
        y = _labels(y, classes, f"{name}: y", notes)
        return Data(X, y, image_shape=shape, images=images, notes=tuple(notes))
    X_test = _channels_last(test[0], f"{name}: X_test", options.channels, [])
    X_test, shape_test = _rows(X_test, f"{name}: X_test")
    if X_test.shape[1] != X.shape[1] or shape_test != shape:
        raise ValueError(f"{name}: X_test has rows of another shape than X_train")
    y_test = _column(test[1], len(X_test), f"{name}: y_test")
    if y_test.shape[1:] != y.shape[1:] or (y_test.dtype.kind == "U") != (
        y.dtype.kind == "U"
    ):
        raise ValueError(
            f"{name}: y_test is coded in another way than y: {_kind_of(y_test)}, and "
            f"{_kind_of(y)}; write both in the same way"
        )
    y = _labels(y, classes, f"{name}: y", notes)
    y_test = _labels(y_test, y.ndim == 1, f"{name}: y_test", [])
    return Data(X, y, X_test, y_test, shape, images=images, notes=tuple(notes))


def _channels_last(X, name, channels, notes):
    """Images (n, height, width, channels); those of PyTorch have channels first."""
    if X.ndim != 4:
        return X
    first, last = (X.shape[axis] in (1, 3, 4) for axis in (1, 3))
    if first and last:  # pictures of equal sides tell
        square = X.shape[2] == X.shape[3], X.shape[1] == X.shape[2]
        first, last = (first, last) if square[0] == square[1] else square
    if channels is None and first == last:  # both may be, or none
        raise ValueError(
            f"{name} has shape {X.shape}: which axis is the channels? pass --channels "
            "first or --channels last"
        )
    if channels == "first" or (channels is None and first):
        notes.append(
            f"{name} has shape {X.shape}: channels first; points have them last"
        )
        return X.transpose(0, 2, 3, 1)
    return X


def _wanted_classes(options, saved):
    """Whether the targets are to be classes; None where it is not known."""
    if saved is not None:
        return saved.classes is not None
    return None if options.task is None else options.task == "classification"


def _labels(y, classes, name, notes, columns=None):
    """Classes of one-hot rows, unless they are numbers to predict: the numbers of their
    columns, or the names.
    """
    if y.ndim == 1 or classes is False:
        return y
    if ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all():
        if columns is not None:
            notes.append(f"{name} is one-hot: classes are the names of its columns")
            return np.array(columns)[np.argmax(y, axis=1)]
        notes.append(f"{name} is one-hot: class i is its column i (argmax)")
        return np.argmax(y, axis=1)
    if classes:
        raise ValueError(
            f"{name} has shape {y.shape}, and its rows are not one-hot: classes are a "
            "number or a word a sample; of scores take argmax first, or say --task "
            "regression"
        )
    return y


def _kind_of(y):
    kind = "texts" if y.dtype.kind == "U" else "numbers"
    return f"{kind} of shape {y.shape}"


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


def _table(path, options, saved):
    """A table and the column of targets: as a saved set has them, or found here."""
    encoder = TableEncoder.from_dict(saved.table) if saved and saved.table else None
    source = _source(path, options, encoder)
    names = names_of(source)
    wanted = options.target or (encoder.targets if encoder else None)
    if not wanted:
        raise ValueError(f"{path}: name the column of the targets with --target COLUMN")
    targets = _wanted(names, wanted, path)
    words = list(getattr(options, "words", []))
    if saved is not None and len(targets) == 1 and _were_words(saved.classes):
        words += targets
    if encoder is None:
        encoder = TableEncoder(
            missing=getattr(options, "missing", None),
            words=[word for word in words if word not in targets],
            leave_out=getattr(options, "leave_out", []),
        )
    encoder.target = targets[0] if len(targets) == 1 else tuple(targets)
    y, whole = _all_targets(path, source, targets, words, encoder.missing)
    try:
        X, kept = _encoded(encoder, source, whole, saved is None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    said = source.notes if isinstance(source, Text) else source.attrs["notes"]
    notes = [*said, *encoder.notes()]
    y = _labels(y, _wanted_classes(options, saved), f"{path}: y", notes, targets)
    if len(X) < len(kept):
        notes.append(f"rows without missing values: {len(X)} of {len(kept)}")
    columns, rows = (
        tuple(encoder.get_feature_names_out().tolist()),
        np.flatnonzero(kept),
    )
    found = Data(X, y[kept], columns=columns, table=encoder, notes=tuple(notes))
    return found._replace(name_of=lambda row: place_of(source, int(rows[row])))


def _were_words(classes):
    """Whether classes would be read as others, or as missing, were they not said to be
    words.
    """
    if classes is None or classes.dtype.kind != "U":
        return False
    try:
        y, missing = target_from_cells(classes.tolist())
    except Misfit:
        return True
    return y.dtype.kind != "U" or bool(missing.any())


def _source(path, options, encoder):
    """A data frame or a text table, with names where it has them."""
    if path.suffix.lower() in READERS:
        if path.stat().st_size > options.max_bytes:
            raise ValueError(f"{path} is larger than --max-bytes {options.max_bytes:,}")
        return read_frame(path)
    return read_text(
        path,
        header=options.header,
        known=_known_names(options, encoder),
        decimal_comma=options.decimal_comma,
        words=getattr(options, "words", ()),
        max_bytes=options.max_bytes,
    )


def _known_names(options, encoder):
    """Names that the first line has, if it is one of names."""
    known, targets = [], list(options.target or [])
    if encoder is not None:
        known = [entry.name for entry in encoder.entries if entry.width]
        targets = targets or list(encoder.targets)
    return known + [name for name in targets if not _is_place(name) and "," not in name]


def _encoded(encoder, source, whole, new):
    """The matrix, and which rows are in it."""
    if new:
        encoder.fit(source, whole)
    if encoder.missing == "drop":
        whole = whole & encoder.complete(source)
        if not whole.any():
            raise ValueError("no row is without missing values")
    return encoder.transform(source, whole), whole


def _all_targets(path, source, names, words, missing):
    """The targets (n,), or (n, k) of several columns, and which rows have them all."""
    columns = []
    for name in names:
        y, whole = _targets(path, source, name, name in words)
        _check_targets(path, source, names_of(source).index(name), whole, missing)
        if len(names) > 1 and y.dtype.kind == "U":
            raise ValueError(
                f"{path}: the target {shown([name])} has words such as "
                f"{shown([str(y[whole][0])])}, and several targets are numbers, or "
                "labels of 0 and 1"
            )
        columns.append((y, whole))
    whole = np.all([whole for _, whole in columns], axis=0)
    if not whole.any():
        raise ValueError(f"{path}: no row has all targets {shown(names)}")
    if len(names) == 1:
        return columns[0][0], whole
    return np.column_stack([y for y, _ in columns]), whole


def _targets(path, source, name, words):
    """The targets, and which of them are there."""
    at = names_of(source).index(name)
    try:
        if isinstance(source, Text):
            y, missing = target_from_cells(source.columns[at], words=words)
        else:
            y, missing = target_from_series(source.iloc[:, at])
    except Misfit as misfit:
        place = "" if misfit.row is None else f", {place_of(source, misfit.row)}"
        hint = "correct it; if these are classes, --words and its name"
        raise ValueError(
            f"{path}{place}: the target {shown([name])}: {misfit}; {hint}"
        ) from misfit
    return y, ~missing


def _check_targets(path, source, target, whole, missing):
    if whole.all() or missing == "drop" and whole.any():
        return
    row = int(np.argmin(whole))
    said = ""
    if isinstance(source, Text):
        said = f" ({shown([source.columns[target][row] or 'empty'])})"
    more = int(np.sum(~whole)) - 1
    others = f", and in {more} other rows" if more else ""
    name = shown(names_of(source)[target : target + 1])
    raise ValueError(
        f"{path}, {place_of(source, row)}: the target {name} is "
        f"missing{said}{others}; --missing drop leaves such rows out"
        f"{', --words makes it a word' if said else ''}"
    )


def _is_place(name):
    return name.lstrip("-").isdigit()


def _wanted(names, wanted, path):
    """Names of the columns that are wanted, several of them with commas between."""
    found = []
    for name in wanted:
        try:
            found.append(names[_place(names, name, path)])
        except ValueError:
            parts = next(csv.reader([name], skipinitialspace=True), [])
            if len(parts) < 2:
                raise
            found += [names[_place(names, part.strip(), path)] for part in parts]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: the target {shown(twice)} is named twice")
    if len(found) == len(names):
        raise ValueError(
            f"{path}: every column is a target: none is left to predict by"
        )
    return found


def _place(names, wanted, path):
    """The number of the column that is called `wanted`, or has that number."""
    if len(names) < 2:
        raise ValueError(
            f"{path} has one column only, {shown(names)}: no comma, semicolon, tab, | "
            "or blank parts its lines; a target and one more column are needed"
        )
    if wanted in names:
        return names.index(wanted)
    if _is_place(wanted) and -len(names) <= int(wanted) < len(names):
        return int(wanted) % len(names)
    raise ValueError(f"{path} has no column {shown([wanted])}; it has {shown(names)}")


# --------------------------------------------------------------------------- targets


def guessed_task(data: Data) -> str:
    """What the targets are: texts are classes, fractions are numbers.

    Whole numbers are classes where they are few enough to tell; else it is asked.
    """
    y, distinct = data.y, len(np.unique(data.y))
    whole = y.dtype.kind != "f" or bool((y == np.rint(y)).all())
    if y.dtype.kind == "U" and 2 * distinct > len(y) and not data.images:
        raise ValueError(
            f"the targets are texts with {distinct} different values among {len(y)}, "
            f"such as {str(y[0])!r}: say --task classification if they are classes"
        )
    if y.ndim == 2:
        return "multilabel" if _are_labels(y) else "regression"
    if (data.images and y.dtype.kind != "f") or y.dtype.kind in "Ub":
        return "classification"
    if not whole:
        return "regression"
    if y.dtype.kind in "iu" and distinct <= 100 and 2 * distinct <= len(y):
        return "classification"
    raise ValueError(
        f"the targets are whole numbers with {distinct} different values among "
        f"{len(y)}: say --task regression or --task classification"
    )


def _are_labels(y: np.ndarray) -> bool:
    return y.ndim == 2 and bool(((y == 0) | (y == 1)).all())


def check_labels(data: Data) -> None:
    """Refuse targets that are no columns of 0 and 1."""
    for name, _, y in data.parts():
        if not _are_labels(y):
            raise ValueError(
                f"the {name} targets have shape {y.shape}, of {y.dtype}: labels are "
                "several columns (n, k) of 0 and 1, as --target a,b names them"
            )


def check_classes(data: Data) -> None:
    """Refuse fractions as classes, and test samples of classes that no training sample
    has.
    """
    if data.y.dtype.kind == "f" and (data.y != np.rint(data.y)).any():
        odd = data.y[data.y != np.rint(data.y)].ravel()[0]
        words = ", --words and the target if they are words" if data.table else ""
        raise ValueError(
            f"the targets have fractions such as {odd:.6g}: classes are words or whole "
            f"numbers; say --task regression{words}"
        )
    if data.y_test is None:
        return
    unknown = sorted(set(data.y_test.tolist()) - set(data.y.tolist()))
    if unknown:
        raise ValueError(
            f"y_test has {shown(list(map(str, unknown)), 60)}, of which y has no "
            "sample: are they coded in the same way?"
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
    labels, codes = np.unique(y, return_inverse=True)
    unknown = sorted({str(label) for label in labels.tolist() if label not in places})
    if unknown or y.ndim != 1:
        raise ValueError(
            f"{options.input} has the classes {', '.join(unknown[:5])}, of which "
            f"{options.file} knows nothing; it knows "
            f"{shortened(', '.join(map(str, places)), 80)}"
        )
    classes = np.array([places[label] for label in labels.tolist()])[codes]
    return datasets.one_hot(classes, len(places)), classes


def as_numbers(y: np.ndarray, name: str) -> np.ndarray:
    """Targets in float64; texts are refused."""
    if y.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} are texts such as {str(y.ravel()[0])!r}: regression needs "
            "numbers, or say --task classification"
        )
    return y.astype(np.float64)
