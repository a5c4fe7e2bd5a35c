"""The command: ``python -m ddref``, or ``ddref`` where the package is installed."""

import argparse
import contextlib
import csv
import json
import math
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddref import __version__, datasets, files

DONE, NOT_EXACT, MISTAKE, INTERRUPTED = 0, 1, 2, 130  # exit codes
MAX_BYTES = 1 << 32
EXAMPLES = """\
examples:
  ddref distill photos/ --out ten.npz               a folder train/<class>/*.png, test/<class>/*.png, or a tar of it
  ddref distill wine.csv --target quality --task regression --out wine.npz
  ddref distill data.npz --points 100 --out data100.npz             arrays X and y (or X_train, y_train, ...)
  ddref distill X.npy --targets y.npy --out small.npz               features of an encoder, say
  ddref verify ten.npz photos/                      trains on both; exit code 1 where the models differ
  ddref show ten.npz                                writes ten.png and prints what the file holds
  ddref info ten.npz                                the header of the file; without a file, versions

exit codes: 0 done, 1 not exact (verify), 2 a mistake in the input, 130 interrupted
"""


class Data(NamedTuple):
    """What an input holds, whatever its kind."""

    X: np.ndarray  # (n, d)
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    image_shape: tuple | None = None
    columns: tuple | None = None  # names of the columns of X
    images: bool = False  # whether the values are pixels


def main(argv=None):
    """Run the command with the arguments `argv`; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help()
        return MISTAKE
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("ddref: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        if options.debug:
            raise
        text = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        print(f"ddref: error: {text}", file=sys.stderr)
        return MISTAKE


def _parser():
    kind = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": EXAMPLES}
    about = "Distil a data set into a few points that train the same ridge regression, exactly."
    parser = argparse.ArgumentParser(prog="ddref", description=about, **kind)
    parser.add_argument("--version", action="version", version=f"ddref {__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    one = commands.add_parser("distill", help="fit, distil, check, write one file", **kind)
    _add_input(one)
    one.add_argument("--out", required=True, metavar="OUT.npz", help="the file to write")
    one.add_argument("--task", choices=("classification", "regression"), help="default: by the targets, and said")
    one.add_argument("--points", type=int, metavar="M", help="number of distilled points; default: the fewest")
    one.add_argument("--lam", nargs="+", default=["auto"], metavar="LAM",
                     help="regularisation; of several values --select chooses; default: auto, 25 values")  # fmt: skip
    one.add_argument("--select", choices=("gcv", "loo", "validation"), default="gcv", help="how; default: %(default)s")
    one.add_argument("--lam-s", type=float, metavar="LAM", help="regularisation to train on the distilled set with")
    one.add_argument("--init", choices=("real", "noise", "orthonormal"), default="real",
                     help="what the points are near to; default: real samples")  # fmt: skip
    one.add_argument("--map", choices=("fourier", "network"), help="a feature map; default: none, the columns")
    one.add_argument("--scaling", choices=("auto", "none", "columns", "global"), default="auto",
                     help="default: global for images, columns for tables")  # fmt: skip
    one.add_argument("--no-intercept", action="store_true", help="a model without an intercept")
    one.add_argument("--image-shape", type=int, nargs="+", metavar="SIDE", help="height width [channels] of a row")
    one.add_argument("--seed", type=int, default=0, help="draws the samples; default: %(default)s")
    one.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of the file")
    one.add_argument("--force", action="store_true", help="replace OUT.npz where it exists")
    one.set_defaults(run=_distill)

    one = commands.add_parser("verify", help="train on the file and on the data, compare", **kind)
    one.add_argument("file", metavar="OUT.npz")
    _add_input(one)
    one.set_defaults(run=_verify)

    one = commands.add_parser("show", help="a picture of the points, and what the file says", **kind)
    one.add_argument("file", metavar="OUT.npz")
    one.add_argument("--out", metavar="SHEET.png", help="default: the name of the file, ending in .png")
    one.add_argument("--force", action="store_true", help="replace the picture where it exists")
    one.set_defaults(run=_show)

    one = commands.add_parser("info", help="the header of a file; versions", **kind)
    one.add_argument("file", metavar="OUT.npz", nargs="?")
    one.set_defaults(run=_info)
    for one in commands.choices.values():
        one.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    return parser


def _add_input(parser):
    parser.add_argument("input", metavar="INPUT", help=".npz, .npy with --targets, .csv with --target, folder or tar")
    parser.add_argument("--target", metavar="COLUMN", help="of a .csv: the name of the column, or its number from 0")
    parser.add_argument("--targets", metavar="Y.npy", help="of a .npy: the file of the targets")
    parser.add_argument("--max-bytes", type=int, default=MAX_BYTES, metavar="N", help="limit for what is unpacked")
    parser.add_argument("--quiet", action="store_true", help="no progress")


# ---------------------------------------------------------------------------------------------- the commands


def _distill(options):
    out = Path(options.out)
    _check_out(out, ".npz", options.force)
    lam = _lam(options.lam)
    estimator = _estimators()
    with _Progress(options.quiet) as progress:
        data = _read(options, progress)
        task = options.task or _task(data, progress)
        scaling = options.scaling
        if scaling == "auto":
            scaling = "global" if data.images else "columns"
        make = estimator.DistilledRidgeClassifier if task == "classification" else estimator.DistilledRidge
        model = make(
            options.points,
            feature_map=options.map,
            lam=lam,
            select=options.select,
            lam_s=options.lam_s,
            init=options.init,
            fit_intercept=not options.no_intercept,
            scaling=None if scaling == "none" else scaling,
            image_shape=options.image_shape or data.image_shape,
            random_state=options.seed,
            dtype=options.dtype,
        )
        model._report = progress
        if task == "regression":
            _numbers(data.y, "the targets")
        _note_constants(data, progress)
        model.fit(data.X, data.y)
        model.save(out, overwrite=options.force)
    saved = files.load(out)
    print(_summary(saved))
    print(f"training samples       {len(data.X):,}")
    for name, X, y in (("training", data.X, data.y), ("test", data.X_test, data.y_test)):
        if X is not None:
            kind = "accuracy" if task == "classification" else "R^2"
            score = f"{model.score(X, y):.1%}" if task == "classification" else f"{model.score(X, y):.4f}"
            print(f"{f'{kind} on {name}':23}{score}")
    print(f"wrote {out}")
    return DONE


def _verify(options):
    saved = files.load(options.file)
    estimator = _estimators()
    with _Progress(options.quiet) as progress:
        data = _read(options, progress)
        if data.X.shape[1] != saved.X_S.shape[1]:
            raise ValueError(f"{options.input} has {data.X.shape[1]} columns, {options.file} {saved.X_S.shape[1]}")
        progress("training on the data")
        Y, y = _targets(saved, data.y, options)
        Phi = files.features(saved, data.X)
        W, b = estimator.trained(Phi, Y, saved.lam, saved.fit_intercept, classes=y is not None)
        progress("training on the distilled set")
        W_S, b_S = files.model(saved)
    size = np.linalg.norm(b) + np.linalg.norm(Phi.mean(axis=0)) * np.linalg.norm(W)
    error = np.linalg.norm(W_S - W) / (np.linalg.norm(W) or 1.0)
    error = float(max(error, np.linalg.norm(b_S - b) / size if size else 0.0))
    allowed = float(np.finfo(saved.X_S.dtype).eps) ** 0.5
    print(f"relative error         {error:.2e} (exact: at most {allowed:.1e}, half the digits of {saved.X_S.dtype})")
    for name, X, y_ in (("training", data.X, data.y), ("test", data.X_test, data.y_test)):
        if X is not None:
            _compare(saved, X, y_, (W, b), (W_S, b_S), name, options)
    exact = error <= allowed
    print("exact: the distilled set trains the same model" if exact else "NOT EXACT: the models differ")
    return DONE if exact else NOT_EXACT


def _compare(saved, X, y, model, small, name, options):
    Phi = files.features(saved, X)
    P, P_S = (Phi @ W + b for W, b in (model, small))
    Y, classes = _targets(saved, y, options)
    if classes is None:
        total = np.sum((Y - Y.mean(axis=0)) ** 2) or 1.0
        print(f"{f'R^2 on {name}':23}{1 - np.sum((Y - P) ** 2) / total:.6f} trained on the data, "
              f"{1 - np.sum((Y - P_S) ** 2) / total:.6f} on {len(saved.X_S)} points")  # fmt: skip
        return
    right, right_S = (np.argmax(scores, axis=1) == classes for scores in (P, P_S))
    changed = int(np.sum(np.argmax(P, axis=1) != np.argmax(P_S, axis=1)))
    print(f"{f'accuracy on {name}':23}{right.mean():.2%} trained on the data, {right_S.mean():.2%} on "
          f"{len(saved.X_S)} points; {changed} of {len(X):,} decisions differ")  # fmt: skip


def _show(options):
    saved = files.load(options.file)
    out = Path(options.out) if options.out else Path(options.file).with_suffix(".png")
    _check_out(out, ".png", options.force)
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("show needs Pillow: install pillow, or ddref with its extra 'data'") from error
    sheet, mapping = _sheet(saved)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        Image.fromarray(sheet).save(part, format="PNG")
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    print(_summary(saved))
    print(f"wrote {out}: {mapping}")
    return DONE


def _info(options):
    if options.file is not None:
        saved = files.load(options.file)
        print(_summary(saved))
        print(json.dumps({"certificate": saved.certificate}, indent=1))
        return DONE
    print(f"ddref {__version__}, file format {files.FORMAT}")
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, use in (("numpy", "needed"), ("array-api-compat", "needed"), ("scikit-learn", "distill, verify"),
                      ("pillow", "image folders, show"), ("torch", "convolutional maps, GPU")):  # fmt: skip
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        print(f"{name:18} {found:14} {use}")
    return DONE


def _summary(saved):
    """What a file holds, as lines of text."""
    m, d = saved.X_S.shape
    lines = [
        ("distilled set", f"{m} points of {d} values, {saved.X_S.dtype}" +
         (f", images of {' x '.join(map(str, saved.image_shape))}" if saved.image_shape else "")),
        ("task", saved.task + ("" if saved.classes is None else f", {len(saved.classes)} classes: "
                               + _shortened(", ".join(saved.class_names)))),
        ("model", "ridge regression " + ("with" if saved.fit_intercept else "without") + " an intercept on "
         + ("the columns" if saved.feature_map is None else f"the features of {_map_name(saved.feature_map)}")),
        ("lam, lam_S", f"{saved.lam:.6g} on the data, {saved.lam_S:.6g} on the set"),
        ("scaling", {"none": "none", "columns": "each column by its mean and deviation",
                     "global": f"({'value'} - {saved.mean[0]:.6g}) / {saved.scale[0]:.6g}"}[saved.scaling]),
        ("labels", f"from {saved.Y_S.min():.4g} to {saved.Y_S.max():.4g}"),
    ]  # fmt: skip
    found = saved.certificate or {}
    if "relative_error" in found:
        lines.append(("relative error", f"{found['relative_error']:.1e}, condition number {found['condition']:.3g}"))
    if found.get("distance") is not None:
        lines.append(("distance to samples", f"{found['distance']:.3g} (no exact set is nearer than "
                                             f"{found['lower_bound'] or 0.0:.3g})"))  # fmt: skip
    if found.get("decisions_changed") is not None:
        lines.append(("decisions changed", f"{found['decisions_changed']} of {found['samples']:,} training samples"))
    lines.append(("seed, written by", f"{saved.seed}, ddref {saved.version}"))
    return "\n".join(f"{name:23}{text}" for name, text in lines)


def _shortened(text, length=80):
    return text if len(text) <= length else text[: length - 3] + "..."


def _map_name(phi):
    return f"{type(phi).__name__} ({phi.input_dim} values, {phi.output_dim} features)"


def _sheet(saved):
    """The points as one picture, and what its shades mean."""
    if saved.image_shape is not None:
        tiles, mapping = saved.X_S.reshape(len(saved.X_S), *saved.image_shape), "in units of the data"
        if tiles.ndim == 4 and tiles.shape[3] not in (1, 3):
            tiles = tiles.mean(axis=3)
        zoom = max(1, 96 // max(tiles.shape[1:3]))
    else:
        rows = (saved.X_S - saved.mean) / saved.scale
        spread = rows.std(axis=0) if saved.scaling == "none" else 1.0
        rows = (rows - (rows.mean(axis=0) if saved.scaling == "none" else 0)) / np.where(spread == 0, 1.0, spread)
        tiles, zoom = rows[:, None, :], max(1, min(24, 1200 // rows.shape[1]))
        mapping = "a line a point, a cell a column" + (", scaled" if saved.scaling != "none" else ", by its own spread")
    low, high = float(tiles.min()), float(tiles.max())
    shades = np.rint(255 * (tiles - low) / ((high - low) or 1.0)).astype(np.uint8)
    shades = np.repeat(np.repeat(shades, zoom, axis=1), zoom, axis=2)
    if shades.ndim == 4 and shades.shape[3] == 1:
        shades = shades[..., 0]
    across = 1 if saved.image_shape is None else min(len(shades), max(1, 1200 // (shades.shape[2] + 4)))
    down = -(-len(shades) // across)
    height, width = shades.shape[1] + 4, shades.shape[2] + 4
    sheet = np.full((down * height + 4, across * width + 4, *shades.shape[3:]), 255, dtype=np.uint8)
    for i, tile in enumerate(shades):
        top, left = 4 + i // across * height, 4 + i % across * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet, f"{mapping}; black is {low:.6g}, white {high:.6g}, the same for all points"


# ------------------------------------------------------------------------------------------------ the inputs


def _read(options, progress):
    """The data of INPUT."""
    path = Path(options.input).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    progress(f"reading {path.name}")
    if path.is_dir():
        return _read_images(path, options, progress)
    ending = path.suffix.lower()
    if ending == ".npz":
        return _read_npz(path, options)
    if ending == ".npy":
        if not options.targets:
            raise ValueError(f"{path} holds samples only: name the file of their targets with --targets Y.npy")
        return _data(_read_npy(path, options), _read_npy(Path(options.targets), options), str(path))
    if ending in (".csv", ".tsv", ".txt"):
        return _read_csv(path, options)
    if ending in (".tar", ".tgz", ".gz", ".bz2", ".xz"):
        return _read_images(path, options, progress)
    raise ValueError(f"{path}: a folder of images, or a file .npz, .npy, .csv or .tar (.gz, .bz2, .xz) is needed")


def _read_images(path, options, progress):
    found = datasets.image_folder(
        path, max_bytes=options.max_bytes, progress=lambda done, total: progress("reading images", done, total)
    )
    names = np.array(found.class_names)
    shape = found.X_train.shape[1:]
    return Data(
        found.X_train.reshape(len(found.X_train), -1), names[found.y_train],
        found.X_test.reshape(len(found.X_test), -1), names[found.y_test], shape, None, True,
    )  # fmt: skip


def _read_npz(path, options):
    try:
        arrays = files._arrays(path, options.max_bytes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if "header" in arrays and "X_S" in arrays:
        raise ValueError(f"{path} is a distilled set, not data: see ddref show, ddref info")
    arrays = {name.lower(): A for name, A in arrays.items()}
    names = next((pair for pair in (("x", "y"), ("x_train", "y_train")) if set(pair) <= set(arrays)), None)
    if names is None:
        raise ValueError(f"{path} has the arrays {sorted(arrays)}: X and y are needed, or X_train and y_train")
    test = (arrays["x_test"], arrays["y_test"]) if {"x_test", "y_test"} <= set(arrays) else None
    return _data(*(arrays[name] for name in names), str(path), test)


def _read_npy(path, options):
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size > options.max_bytes:
        raise ValueError(f"{path} is larger than --max-bytes {options.max_bytes:,}")
    content = path.read_bytes()
    if content[:6] != b"\x93NUMPY":
        raise ValueError(f"{path}: not an .npy file: it begins with {content[:6].hex(' ') or 'nothing'}")
    try:
        return files._array(path.name, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _data(X, y, name, test=None):
    """Data from arrays: images flattened, shapes checked."""
    X, shape = _rows(X, f"{name}: X")
    y = _column(y, len(X), f"{name}: y")
    if test is None:
        return Data(X, y, image_shape=shape, images=shape is not None)
    X_test, shape_test = _rows(test[0], f"{name}: X_test")
    if X_test.shape[1] != X.shape[1] or shape_test != shape:
        raise ValueError(f"{name}: X_test has rows of another shape than X_train")
    return Data(X, y, X_test, _column(test[1], len(X_test), f"{name}: y_test"), shape, None, shape is not None)


def _rows(X, name):
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {X.dtype}, numbers are needed")
    if X.ndim not in (2, 3, 4) or 0 in X.shape:
        raise ValueError(f"{name} has shape {X.shape}: rows are samples, or images (n, height, width[, channels])")
    _finite(X, name)
    return X.reshape(len(X), -1), X.shape[1:] if X.ndim > 2 else None


def _column(y, n, name):
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if len(y.shape) not in (1, 2) or len(y) != n:
        raise ValueError(f"{name} has shape {y.shape}, one target for each of {n} samples is needed")
    if y.dtype.kind == "f":
        _finite(y, name)
    return y


def _finite(A, name):
    if A.dtype.kind == "f" and not np.isfinite(A).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(A))[0])
        raise ValueError(f"{name} contains NaN or Inf, the first at {list(where)}; fill or remove these samples")


def _read_csv(path, options):
    if options.target is None:
        raise ValueError(f"{path}: name the column of the targets with --target COLUMN")
    if path.stat().st_size > options.max_bytes:
        raise ValueError(f"{path} is larger than --max-bytes {options.max_bytes:,}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            lines = [(row, reader.line_num) for reader in [csv.reader(file, delimiter=delimiter)] for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error})") from error
    lines = [(row, number) for row, number in lines if any(cell.strip() for cell in row)]
    if not lines:
        raise ValueError(f"{path} is empty")
    names = [cell.strip() for cell in lines[0][0]]
    if all(_number(cell) is not None for cell in names):
        names = [str(i) for i in range(len(names))]
    else:
        lines = lines[1:]
    if not lines:
        raise ValueError(f"{path} has a line of names and no samples")
    target = _target(names, options.target, path)
    X, y = np.empty((len(lines), len(names) - 1)), []
    for i, (row, number) in enumerate(lines):
        if len(row) != len(names):
            raise ValueError(f"{path}, line {number}: {len(row)} columns, where there should be {len(names)}")
        y.append(row[target].strip())
        cells = [_number(cell) for cell in row]
        for j, cell in enumerate(cells):
            if j != target and (cell is None or not math.isfinite(cell)):
                raise ValueError(
                    f"{path}, line {number}, column {names[j]!r}: {row[j]!r} is not a finite number; fill or remove "
                    "it, or turn words into numbers first"
                )
        X[i] = cells[:target] + cells[target + 1 :]
    missing = next((number for (_, number), cell in zip(lines, y, strict=True) if cell.lower() in ("", "nan")), None)
    if missing is not None:
        raise ValueError(f"{path}, line {missing}: the target {names[target]!r} is missing (empty or NaN)")
    return Data(X, _typed(y), columns=tuple(names[:target] + names[target + 1 :]))


def _target(names, wanted, path):
    if wanted in names:
        if names.count(wanted) > 1:
            raise ValueError(
                f"{path} has {names.count(wanted)} columns {wanted!r}; pass the number of the one you mean"
            )
        place = names.index(wanted)
    elif wanted.lstrip("-").isdigit() and -len(names) <= int(wanted) < len(names):
        place = int(wanted) % len(names)
    else:
        raise ValueError(f"{path} has no column {wanted!r}; it has {', '.join(map(repr, names))}")
    if len(names) < 2:
        raise ValueError(f"{path} has the target only: at least one more column is needed")
    return place


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


def _task(data, progress):
    """What the targets are: texts are classes, fractions numbers; whole numbers where they are few enough to tell."""
    y = data.y
    distinct = len(np.unique(y))
    if data.images and y.dtype.kind != "f" or y.dtype.kind in "Ub":
        found = "classification"
    elif y.ndim == 2 or y.dtype.kind == "f" and not (y == np.rint(y)).all():
        found = "regression"
    elif y.dtype.kind in "iu" and distinct <= 100 and 2 * distinct <= len(y):
        found = "classification"
    else:
        raise ValueError(
            f"the targets are whole numbers with {distinct} different values among {len(y)}: say --task regression or "
            "--task classification"
        )
    progress.note(f"task: {found} (by the targets; --task says otherwise)")
    return found


def _targets(saved, y, options):
    """Targets (n, k) as the set was made from, and the classes as numbers (None in regression)."""
    if saved.classes is None:
        y = _numbers(y, "the targets")
        Y = y.reshape(len(y), -1)
        if Y.shape[1] != saved.Y_S.shape[1]:
            raise ValueError(f"{options.input} has {Y.shape[1]} targets, {options.file} {saved.Y_S.shape[1]}")
        return Y, None
    places = {label: i for i, label in enumerate(saved.classes.tolist())}
    unknown = sorted({str(label) for label in set(np.asarray(y).ravel().tolist()) - set(places)})
    if unknown or np.ndim(y) != 1:
        raise ValueError(
            f"{options.input} has the classes {', '.join(unknown[:5])}, of which {options.file} knows nothing; it "
            f"knows {_shortened(', '.join(map(str, places)))}"
        )
    classes = np.array([places[label] for label in y.tolist()])
    return datasets.one_hot(classes, len(places)), classes


def _numbers(y, name):
    if y.dtype.kind not in "fiu":
        raise ValueError(f"{name} are texts such as {str(y.ravel()[0])!r}: regression needs numbers, or say --task "
                         "classification")  # fmt: skip
    return y.astype(np.float64)


def _note_constants(data, progress):
    constant = np.flatnonzero(data.X.max(axis=0) == data.X.min(axis=0))
    if len(constant) and not data.images:
        names = [data.columns[i] if data.columns else f"column {i}" for i in constant]
        progress.note(f"{len(constant)} constant columns, which no model uses: {_shortened(', '.join(names))}")


def _lam(values):
    if values == ["auto"]:
        return "auto"
    try:
        values = [float(value) for value in values]
    except ValueError as error:
        raise ValueError(f"--lam {' '.join(values)}: numbers, or auto, are needed") from error
    return values[0] if len(values) == 1 else values


def _check_out(out, ending, force):
    """Refuse a name that cannot be written before any work is done."""
    if out.suffix != ending:
        raise ValueError(f"{out}: the name of the file must end in {ending}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent} does not exist: make the folder first")
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists: pass --force to replace it, or another name")


def _estimators():
    try:
        from ddref import estimator
    except ImportError as error:
        raise ImportError(
            f"this needs scikit-learn ({error}): install scikit-learn, or ddref with its extra 'sklearn'"
        ) from error
    return estimator


class _Progress:
    """Stages of long work on stderr: one line that changes on a terminal, else a line a stage."""

    def __init__(self, quiet):
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.stage, self.start, self.shown = None, time.perf_counter(), 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.terminal and not self.quiet and self.stage:
            print(file=sys.stderr)

    def __call__(self, stage, done=None, total=None):
        if self.quiet:
            return
        now = time.perf_counter() - self.start
        new = stage != self.stage
        if not new and (not self.terminal or now - self.shown < 0.2 and done != total):
            return
        far = "" if done is None else f" {done:,} of {total:,}"
        if self.terminal:
            print(f"\r\x1b[K[{now:5.1f} s] {stage}{far}", end="", file=sys.stderr, flush=True)
        else:
            print(f"[{now:5.1f} s] {stage}", file=sys.stderr, flush=True)
        self.stage, self.shown = stage, now

    def note(self, text):
        """A line that stays."""
        if not self.quiet:
            print(("\r\x1b[K" if self.terminal else "") + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
