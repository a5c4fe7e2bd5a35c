"""The file of a distilled set: one `.npz` that NumPy alone reads, without pickle, and
that nothing in it can execute.

It holds the array `header`, a text in JSON, and the arrays `X_S` (m, d), `Y_S` (m, k),
`mean` (d,), `scale` (d,), `classes` (k,) of a classification, `sources` (m,) where the
points started from samples, and those of the feature map, `map/...`, where no seed
draws them again. Ridge regression with `lam_S` on ``phi((X_S - mean) / scale)`` and
`Y_S`, with an intercept where `fit_intercept` says so, gives the model.

`load` believes nothing: sizes before anything is unpacked, the checksum of every array,
every shape and number. What it returns can be printed and computed with: numbers are
finite and of a size that a float has, texts are letters.
"""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import intercept, krr
from .arrays import check_dense, check_digits
from .maps.written import describe, on_rows, restore
from .maps.written import plain as plain
from .measure import Certificate
from .npz import load_npz, save_npz, shortened
from .tables import TableEncoder

MAGIC, FORMAT = "ddref distilled set", 2  # 2: feature maps by their seed
ONE_HOT = (
    "column i of Y_S is the score of classes[i]; the class of a row is that of its "
    "largest score"
)
TARGETS = "columns of Y_S are the targets"
INDICATORS = (
    "column i of Y_S is the score of label i; a row has the labels whose scores are "
    "above 0.5"
)
PRESENT = 0.5  # above it a label is there
SCALINGS = ("none", "columns", "global")
HEADER = 1 << 26  # bytes of the header, four a letter
# Figures of tests/test_files.py, which measures them.
NOTHING_ELSE = (
    "# Another alpha, or the classes of Y_S in place of its numbers, train another",
    "# model. On scikit-learn's digits, from 10 points (in brackets through random",
    "# Fourier features), right of the test images: with this alpha 0.864 (0.883), as",
    "# from all samples; alpha=lam=1 0.747 (0.103); classes as labels 0.653 (0.458).",
)
NOTES = 64  # numbers a certificate may have
LARGEST = 1 << 128  # no integer of a header is as large; a seed may have 128 bits


class Saved(NamedTuple):
    """What a file of a distilled set holds."""

    X_S: np.ndarray  # (m, d), in the units of the data
    Y_S: np.ndarray  # (m, k)
    lam_S: float  # regularisation to train on the set with
    lam: float  # that of the original training
    fit_intercept: bool
    mean: np.ndarray  # (d,), subtracted from the rows before the feature map
    scale: np.ndarray  # (d,), what they are divided by then
    scaling: str = "none"  # how mean and scale were found: "none", "columns", "global"
    feature_map: Any = None  # None: the scaled rows themselves
    image_shape: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None  # of the original data
    task: str = "regression"  # or "classification", "multilabel"
    classes: np.ndarray | None = None  # (k,), the labels as they were given
    class_names: tuple[str, ...] | None = None  # words for them, or of the labels
    seed: int | None = None
    certificate: dict[str, float | None] | None = None
    version: str = ""  # of the ddref that wrote the file
    table: dict[str, Any] | None = None  # TableEncoder.describe(): how rows are made
    data_sha256: str | None = None  # digest of the data that the set was made from
    sources: np.ndarray | None = None  # (m,), rows of that data the points started from
    source_names: tuple[str, ...] | None = None  # what these are called: files, lines
    source_classes: tuple[int, ...] | None = (
        None  # and of which of the classes they are
    )
    means: np.ndarray | None = None  # (k, d) of each class of a table, or (1, d) of all
    privacy: dict[str, Any] | None = None  # what a private release of the model cost

    @property
    def X(self) -> np.ndarray:
        """The points (m, d), in the units of the data."""
        return self.X_S

    @property
    def y(self) -> np.ndarray:
        """Their labels (m, k): scores of the classes, or targets."""
        return self.Y_S

    def train(self) -> intercept.Model:
        """The model that training on the set gives, see `model`."""
        return model(self)

    def predict(self, X: Any) -> np.ndarray:
        """Classes (n,), targets (n, k), or labels (n, k) of 0 and 1, of new samples:
        rows (n, d) in the units of the data, or a data frame with the columns that the
        set was made from.
        """
        scores = self.scores(X)
        if self.task == "multilabel":
            return (scores > PRESENT).astype(int)
        return scores if self.classes is None else self.classes[scores.argmax(axis=1)]

    def scores(self, X: Any) -> np.ndarray:
        """Scores (n, k) of the classes of new samples, or their targets."""
        if self.table is not None and hasattr(X, "columns"):
            X = TableEncoder.from_dict(self.table).transform(X)
        W, b = self.train()
        return features(self, X) @ W + b


def save(
    path: str | Path,
    saved: Saved,
    *,
    overwrite: bool = False,
    map_arrays: bool = False,
) -> None:
    """Write a distilled set to one `.npz` file, whole or not at all.

    Parameters
    ----------
    path : str or path
        Its name ends in `.npz`.
    saved : Saved
        Classes may be an array of objects that are all texts.
    overwrite : bool
        Whether an existing file may be replaced.
    map_arrays : bool
        Whether the weights of a feature map that was drawn from a seed are stored, too.
        Default: where the seed draws every bit again, only the seed and a checksum, by
        which `load` refuses a map that became another one. With the weights no version
        of NumPy matters, and the file is larger.

    Raises
    ------
    FileExistsError
        When the file exists and `overwrite` is False.
    ValueError, TypeError
        For what `load` would refuse; for a feature map of your own, which a file cannot
        hold.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> points, zero, one = np.eye(2), np.zeros(2), np.ones(2)
    >>> set_ = Saved(points, points, 0.1, 1.0, False, zero, one)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "set.npz")
    ...     save(path, set_)
    ...     again = load(path)
    >>> np.array_equal(again.X_S, set_.X_S), again.lam_S
    (True, 0.1)
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: the name of the file must end in .npz")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; pass overwrite=True (--force) to replace it, or another "
            "name"
        )
    if not isinstance(saved, Saved):
        raise TypeError(f"saved must be a Saved, got {type(saved).__name__}")
    if (saved.certificate or {}).get("exact") is False:
        raise ValueError(
            "the certificate says that the set is not exact, and a file promises that "
            "it is: finish the set, or keep its points as arrays (numpy.savez)"
        )
    saved = saved._replace(classes=_texts(saved.classes))
    _check(saved)
    save_npz(path, _file_arrays(saved, map_arrays, path.name))


def load(path: str | Path, *, max_bytes: int = 1 << 30) -> Saved:
    """Read a distilled set.

    Parameters
    ----------
    path : str or path
    max_bytes : int, default 1 GiB
        Limit for all arrays, unpacked: a file made to fill the memory is refused before
        it does.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no `.npz`, damaged, not a distilled set, of a newer format, or too
        large, or the seed of its feature map draws other weights here; the message, one
        line, says which. Where only their last bits are others (another processor
        rounds in another way), there is a warning.

    Examples
    --------
    >>> load("no/such/file.npz")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no/such/file.npz does not exist
    """
    path = Path(path)
    arrays = load_npz(path, max_bytes=max_bytes)
    try:
        saved = _saved(arrays, max_bytes)
        _check(saved)
    except KeyError as error:
        raise ValueError(f"{path}: {shortened(f'{error} is missing')}") from error
    except Exception as error:  # maps made from what a file says raise what they like
        raise ValueError(f"{path}: {shortened(str(error))}") from error
    return saved


def model(saved: Saved) -> intercept.Model:
    """Train on a distilled set: ridge regression on its features.

    Returns
    -------
    ddref.intercept.Model
        `W` (p, k) and `b` (1, k), zero without an intercept.

    Notes
    -----
    Book: thm-intercept.

    Examples
    --------
    >>> import numpy as np
    >>> X_S, Y_S = np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]])
    >>> model(Saved(X_S, Y_S, 0.0, 1.0, True, np.zeros(1), np.ones(1))).b
    array([[3.]])
    """
    Phi_S = features(saved, saved.X_S)
    Y_S = saved.Y_S.astype(np.float64)
    if saved.fit_intercept:
        return intercept.fit(Phi_S, Y_S, saved.lam_S)
    W = krr.fit(Phi_S, Y_S, saved.lam_S)
    return intercept.Model(W, np.zeros((1, Y_S.shape[1])))


def features(saved: Saved, X: np.ndarray) -> np.ndarray:
    """Features (n, p), in float64, of rows `X` (n, d): ``phi((X - mean) / scale)``.

    The distilled set is trained on those of its points. Tensors become arrays of NumPy.
    ValueError for rows of another width, TypeError for what float64 does not hold.

    Examples
    --------
    >>> import numpy as np
    >>> points, zero = np.eye(2), np.zeros(2)
    >>> set_ = Saved(points, points, 0.0, 1.0, False, zero + 1, zero + 2, "global")
    >>> features(set_, np.array([[3.0, 1.0]]))
    array([[1., 0.]])
    """
    check_dense(X=X)
    if hasattr(X, "detach"):  # a tensor, whatever its dtype
        real = X.detach().resolve_conj().cpu()
        X = (real if real.is_complex() else real.double()).numpy()
    check_digits(X=X)
    if hasattr(X, "toarray"):
        raise TypeError("X is sparse: pass X.toarray(), of some rows at a time")
    if np.asarray(X).dtype.kind not in "biufO":
        raise TypeError(f"rows of numbers are needed, X has {np.asarray(X).dtype}")
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != len(saved.mean):
        raise ValueError(
            f"rows of {len(saved.mean)} values are needed, X has shape {X.shape}"
        )
    with np.errstate(all="ignore"):
        rows = X if saved.scaling == "none" else (X - saved.mean) / saved.scale
    if not np.isfinite(rows).all():
        raise ValueError(
            "rows minus the mean of the file, divided by its scale, contain NaN or Inf"
        )
    if saved.feature_map is None:
        return rows
    return on_rows(saved.feature_map, rows)


def how_to(saved: Saved, name: str = "set.npz") -> str:
    """Lines of Python that train on the set in the file `name`, and what else would
    train another model.

    NumPy reads the file; with a feature map this package does.

    >>> import numpy as np
    >>> points, zero = np.eye(2), np.zeros(2)
    >>> set_ = Saved(points, points, 0.5, 1.0, True, zero, zero + 1)
    >>> print(how_to(set_, "two.npz").partition("# Another")[0].rstrip())
    import numpy as np
    from sklearn.linear_model import Ridge
    with np.load('two.npz') as opened:
        file = dict(opened)
    <BLANKLINE>
    def rows(X):
        return X.astype(np.float64)
    <BLANKLINE>
    model = Ridge(alpha=0.5, fit_intercept=True, solver="svd")
    model.fit(rows(file["X_S"]), file["Y_S"].astype(np.float64))
    # New samples X, in the units of X_S: model.predict(rows(X))
    """
    ridge = f"Ridge(alpha={saved.lam_S!r}, fit_intercept={saved.fit_intercept}"
    ridge += ', solver="svd")'
    if saved.lam_S == 0:  # which Ridge calls ill conditioned
        ridge = f"LinearRegression(fit_intercept={saved.fit_intercept})"
    lines = [
        "import numpy as np",
        f"from sklearn.linear_model import {ridge.partition('(')[0]}",
        f"with np.load({name!r}) as opened:",
        "    file = dict(opened)",
        "",
        "def rows(X):",
        f"    return {_treated(saved)}",
        "",
        f"model = {ridge}",
        'model.fit(rows(file["X_S"]), file["Y_S"].astype(np.float64))',
        *_predicting(saved, name),
        *NOTHING_ELSE,
    ]
    if saved.feature_map is not None:
        lines[:4] = ["import ddref", *lines[:4], f"found = ddref.load({name!r})"]
    return "\n".join(lines)


def _treated(saved: Saved) -> str:
    """What makes samples X rows to train on and to predict, in Python."""
    if saved.feature_map is not None:
        return "ddref.files.features(found, X)  # scaled, then through the feature map"
    if saved.scaling != "none":
        return '(X - file["mean"]) / file["scale"]'
    return "X.astype(np.float64)"


def _predicting(saved: Saved, name: str) -> list[str]:
    """Comments on what to do with new samples."""
    lines = ["# New samples X, in the units of X_S: model.predict(rows(X))"]
    if saved.task == "classification":
        largest = "model.predict(rows(X)).argmax(axis=1)"
        lines.append(f'# Their classes: file["classes"][{largest}]')
    if saved.task == "multilabel":
        lines.append(f"# A sample has the labels that it predicts above {PRESENT}.")
    if saved.table is not None:
        lines.append(
            f"# A data frame with the columns of the table: ddref.load({name!r})"
            ".predict(frame)"
        )
    return lines


def digest(X: Any, y: np.ndarray) -> str:
    """SHA-256 of a data set: dtypes, shapes and values of samples and targets.

    >>> import numpy as np
    >>> digest(np.eye(2), np.arange(2))[:8] == digest(np.eye(2), np.arange(2))[:8]
    True
    """
    return hashlib.sha256((_sha256(X) + _sha256(y)).encode()).hexdigest()


def means(X: np.ndarray, y: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """Mean rows (k, d) of the samples of each class, or (1, d) of all.

    >>> means(np.array([[1.0], [3.0], [7.0]]), np.array([0, 0, 1]), np.arange(2))
    array([[2.],
           [7.]])
    """
    if classes is None:
        return X.mean(axis=0, keepdims=True, dtype=np.float64)
    return np.stack([X[y == c].mean(axis=0, dtype=np.float64) for c in classes])


def numbers(certificate: Certificate) -> dict[str, float | None]:
    """A certificate as a file holds it: None in place of what is not finite.

    >>> numbers(Certificate(math.inf, 1.0, 0.0, 1e-14, False))["relative_error"] is None
    True
    """
    found = certificate._asdict()
    return {n: v if v is None or math.isfinite(v) else None for n, v in found.items()}


# -------------------------------------------------------------------- header and arrays


def _file_arrays(saved: Saved, map_arrays: bool, name: str) -> dict[str, np.ndarray]:
    """The arrays of the file, the header before all others."""
    arrays = {name: getattr(saved, name) for name in ("X_S", "Y_S", "mean", "scale")}
    if saved.classes is not None:
        arrays["classes"] = saved.classes
    if saved.sources is not None:
        arrays["sources"] = saved.sources
    described = describe(saved.feature_map, "map", arrays, map_arrays=map_arrays)
    from . import __version__

    header = {
        "magic": MAGIC,
        "format": FORMAT,
        "ddref": __version__,
        "task": saved.task,
        "labels": _convention(saved),
        "class_names": saved.class_names,
        "lam_S": saved.lam_S,
        "lam": saved.lam,
        "fit_intercept": saved.fit_intercept,
        "scaling": saved.scaling,
        "image_shape": saved.image_shape,
        "value_range": saved.value_range,
        "feature_map": described,
        "dtype": saved.X_S.dtype.name,
        "seed": saved.seed,
        "certificate": saved.certificate,
        "table": saved.table,
        "how_to": how_to(saved, name),
        "data_sha256": saved.data_sha256,
        "source_names": saved.source_names,
        "source_classes": saved.source_classes,
        "means": None if saved.means is None else saved.means.tolist(),
        "privacy": saved.privacy,
        "sha256": {name: _sha256(A) for name, A in arrays.items()},
    }
    text = json.dumps(header, indent=1, allow_nan=False)
    return {"header": np.array(text), **arrays}


def _saved(arrays: dict[str, np.ndarray], max_bytes: int) -> Saved:
    """A Saved from the arrays, with everything but the values themselves checked."""
    header = _header(arrays.pop("header", None))
    sums = header["sha256"]
    if not isinstance(sums, dict) or set(sums) != set(arrays):
        raise ValueError(
            f"damaged: it has the arrays {sorted(arrays)}, and its header those of "
            "another file"
        )
    for name, A in arrays.items():
        if _sha256(A) != sums[name]:
            raise ValueError(f"array {name!r} is damaged: its checksum is wrong")
    feature_map = restore(header["feature_map"], "map", arrays, max_bytes=max_bytes)
    names = "lam_S lam fit_intercept scaling task seed certificate".split()
    values: dict[str, Any] = {name: header[name] for name in names}
    for name in ("X_S", "Y_S", "mean", "scale"):
        values[name] = arrays.pop(name)
    later = ("source_names", "source_classes")
    for name in ("image_shape", "value_range", "class_names", *later):
        found = header.get(name) if name in later else header[name]
        values[name] = tuple(found) if isinstance(found, list) else found
    saved = Saved(
        **values,
        feature_map=feature_map,
        classes=arrays.pop("classes", None),
        version=header["ddref"],
        table=header.get("table"),
        data_sha256=header.get("data_sha256"),
        sources=arrays.pop("sources", None),
        means=_rows_of_header(header.get("means")),
        privacy=header.get("privacy"),
    )
    if arrays:
        raise ValueError(f"the arrays {sorted(arrays)} belong to nothing")
    said = header["dtype"], header["labels"]
    if said != (saved.X_S.dtype.name, _convention(saved)):
        raise ValueError(
            "the header is damaged: its dtype or label convention is not that of the "
            "arrays"
        )
    return saved


def _convention(saved: Saved) -> str:
    """What the columns of Y_S are."""
    if saved.task == "multilabel":
        return INDICATORS
    return TARGETS if saved.classes is None else ONE_HOT


def _rows_of_header(rows: Any) -> Any:
    """Rows of numbers as a matrix; what is none is left to the checks."""
    lists = isinstance(rows, list) and all(isinstance(row, list) for row in rows)
    if not lists or len({len(row) for row in rows}) != 1:
        return rows
    if not all(_is_number(value) for row in rows for value in row):
        return rows
    return np.array(rows, dtype=np.float64)


def _header(text: np.ndarray | None) -> dict[str, Any]:
    if text is None or text.shape != () or text.dtype.kind != "U":
        raise ValueError("not a distilled set of ddref: the text 'header' is missing")
    if text.nbytes > HEADER:
        raise ValueError(f"the header has {text.nbytes:,} bytes, more than {HEADER:,}")
    try:
        header = json.loads(
            str(text),
            parse_int=_header_number,
            parse_float=_header_number,
            parse_constant=_header_number,
            object_pairs_hook=_named_once,
        )
        json.dumps(header, ensure_ascii=False).encode()  # letters, no halves of them
    except ValueError as error:
        raise ValueError(f"the header is damaged ({error})") from error
    if not isinstance(header, dict) or header.get("magic") != MAGIC:
        raise ValueError(
            f"not a distilled set of ddref: its header does not say {MAGIC!r}"
        )
    written = header.get("format")
    if not _is(written, int) or written < 1:
        raise ValueError(f"the header is damaged: format = {written!r}")
    if written > FORMAT:
        raise ValueError(
            f"format {written}, written by ddref {header.get('ddref')}; this ddref "
            f"reads up to format {FORMAT}: install a newer one"
        )
    return header


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of an object: of two of one name, one would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _header_number(text: str) -> float:
    """A number of the header, anywhere in it."""
    if "N" in text or "I" in text:
        raise ValueError(f"{text} is not a number")
    value = float(text) if set(text) & set(".eE") else int(text)
    if not _is_number(value):
        raise ValueError(f"the number {shortened(text, 40)} is too large")
    return value


# ------------------------------------------------------------------------------ checks


def _check(saved: Saved) -> None:
    """Every value of a Saved, or a ValueError that says which is wrong."""
    m, d = _matrix_shape(saved.X_S, "X_S", (np.float32, np.float64))
    rows, k = _matrix_shape(saved.Y_S, "Y_S", (saved.X_S.dtype.type,))
    if rows != m:
        raise ValueError(f"X_S has {m} rows and Y_S has {rows}")
    _check_training(saved, d)
    _check_images(saved, d)
    _check_classes(saved, k)
    if saved.seed is not None and not (_is(saved.seed, int) and _is_number(saved.seed)):
        raise ValueError(f"seed = {saved.seed!r} must be an integer or None")
    if not isinstance(saved.version, str) or len(saved.version) > 100:
        raise ValueError(f"the version is {saved.version!r}, not a short text")
    digits = re.fullmatch("[0-9a-f]{64}", str(saved.data_sha256))
    if saved.data_sha256 is not None and not digits:
        raise ValueError("data_sha256 is not a checksum of 64 hexadecimal digits")
    _check_sources(saved, m)
    _check_certificate(saved.certificate)
    _check_means(saved, d)
    _check_privacy(saved)
    _check_table(saved.table, d)
    _check_stored_map(saved, d)


def _check_training(saved: Saved, d: int) -> None:
    for name in ("mean", "scale"):
        A = getattr(saved, name)
        vector = isinstance(A, np.ndarray) and A.shape == (d,) and A.dtype == np.float64
        if not vector or not np.isfinite(A).all():
            raise ValueError(f"{name} must be {d} finite numbers in float64")
    for name in ("lam_S", "lam"):
        value = getattr(saved, name)
        if not _is_number(value) or value < 0:
            raise ValueError(
                f"{name} = {value!r} must be a finite number, not negative"
            )
    if saved.scaling not in SCALINGS or not (saved.scale > 0).all():
        raise ValueError(
            f"scaling = {saved.scaling!r} must be one of {SCALINGS}, with positive "
            "scales"
        )
    if saved.scaling == "none" and (saved.mean.any() or (saved.scale != 1).any()):
        raise ValueError("scaling = 'none', but mean and scale are not 0 and 1")
    if not isinstance(saved.fit_intercept, bool):
        raise ValueError(
            f"fit_intercept = {saved.fit_intercept!r} must be True or False"
        )


def _matrix_shape(A: Any, name: str, dtypes: tuple[type, ...]) -> tuple[int, int]:
    matrix = isinstance(A, np.ndarray) and A.ndim == 2 and 0 not in A.shape
    if not matrix or A.dtype not in dtypes:
        array = isinstance(A, np.ndarray)
        found = f"{A.shape} of {A.dtype}" if array else type(A).__name__
        kinds = " or ".join(dtype.__name__ for dtype in dtypes)
        raise ValueError(f"{name} must be a matrix of {kinds}, it is {found}")
    if not np.isfinite(A).all():
        raise ValueError(f"{name} contains NaN or Inf")
    return A.shape


def _check_images(saved: Saved, d: int) -> None:
    shape, bounds = saved.image_shape, saved.value_range
    if shape is not None and not (
        isinstance(shape, tuple)
        and len(shape) in (2, 3)
        and all(_is(side, int) and side > 0 for side in shape)
        and math.prod(shape) == d
    ):
        raise ValueError(
            f"image_shape = {shape!r} does not describe rows of {d} values"
        )
    if bounds is not None and not (
        isinstance(bounds, tuple)
        and len(bounds) == 2
        and all(_is_number(value) for value in bounds)
        and bounds[0] <= bounds[1]
    ):
        raise ValueError(
            f"value_range = {bounds!r} must be two numbers, the smaller first"
        )


def _check_classes(saved: Saved, k: int) -> None:
    classes, names = saved.classes, saved.class_names
    tasks = {"classification": True, "regression": False, "multilabel": False}
    if tasks.get(saved.task) != (classes is not None):
        raise ValueError(
            f"task = {saved.task!r} must be 'classification', with classes, or "
            "'regression' or 'multilabel', without"
        )
    if saved.task == "regression":
        if names is not None:
            raise ValueError("class_names without classes")
        return
    words = isinstance(names, tuple) and len(names) == k
    if not words or not all(isinstance(name, str) for name in names or ()):
        raise ValueError(f"class_names must be {k} texts, one for each class or label")
    if classes is None:
        return
    array = isinstance(classes, np.ndarray) and classes.shape == (k,)
    finite = array and (classes.dtype.kind != "f" or np.isfinite(classes).all())
    if not finite or classes.dtype.kind not in "iufbU":
        raise ValueError(
            f"classes must be {k} numbers or texts, one for each column of Y_S"
        )
    if len(set(classes.tolist())) != k:
        raise ValueError(f"classes are not {k} different values")


def _check_means(saved: Saved, d: int) -> None:
    if saved.means is None:
        return
    rows, _ = _matrix_shape(saved.means, "means", (np.float64,))
    wanted = 1 if saved.classes is None else len(saved.classes)
    if saved.means.shape != (wanted, d):
        raise ValueError(f"means have {rows} rows of numbers, not {wanted} of {d}")


def _check_privacy(saved: Saved) -> None:
    found = saved.privacy
    if found is None:
        return
    names = {"epsilon", "delta", "clip", "bound", "sigma", "relation"}
    if not isinstance(found, dict) or set(found) != names:
        raise ValueError(f"privacy must have {sorted(names)}")
    relation = found["relation"]
    if not isinstance(relation, str) or len(relation) > 100:
        raise ValueError(f"privacy says relation = {relation!r}, not a short text")
    for name in sorted(names - {"relation"}):
        if not _is_number(found[name]) or not found[name] > 0:
            raise ValueError(f"privacy says {name} = {found[name]!r}")
    of_data = ("data_sha256", "sources", "means", "value_range", "table")
    told = [name for name in of_data if getattr(saved, name) is not None]
    counted = ("samples", "decisions_changed", "prediction_error", "copies")
    told += [name for name in counted if (saved.certificate or {}).get(name)]
    if told or saved.scaling != "none":
        raise ValueError(
            f"the set is said to be private, and the file has {told or 'a scaling'} "
            "of the data"
        )


def _check_sources(saved: Saved, m: int) -> None:
    rows, names = saved.sources, saved.source_names
    array = isinstance(rows, np.ndarray) and rows.shape == (m,)
    if rows is not None and not (array and rows.dtype == np.int64 and rows.min() >= 0):
        raise ValueError(f"sources must be {m} numbers of samples in int64, from 0")
    texts = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
    if names is not None and (rows is None or not texts or len(names) != m):
        raise ValueError(f"source_names must be {m} texts, beside sources")
    found, k = saved.source_classes, saved.Y_S.shape[1]
    codes = isinstance(found, tuple) and all(_is(c, int) and 0 <= c < k for c in found)
    known = rows is not None and saved.classes is not None
    if found is not None and not (codes and known and len(found) == m):
        raise ValueError(f"source_classes must be {m} of the numbers 0 to {k - 1}")


def _check_certificate(certificate: Any) -> None:
    if certificate is None:
        return
    if not isinstance(certificate, dict) or not all(
        value is None or _is(value, bool) or _is_number(value)
        for value in certificate.values()
    ):
        raise ValueError("the certificate must be finite numbers by name")
    if len(certificate) > NOTES:
        raise ValueError(f"the certificate has more than {NOTES} numbers")
    for name, value in certificate.items():
        if value is not None and not _may_certify(name, value):
            raise ValueError(f"the certificate says {name} = {value!r}")
    changed, samples = map(certificate.get, ("decisions_changed", "samples"))
    if changed is not None and samples is not None and changed > samples:
        raise ValueError(
            f"the certificate says {changed} decisions changed of {samples} samples"
        )


def _may_certify(name: str, value: Any) -> bool:
    """Whether a certificate can say so: of names not known here, any number."""
    if name == "exact":
        return _is(value, bool)
    if name in ("decisions_changed", "samples"):
        return _is(value, int) and value >= 0
    if name not in Certificate._fields:
        return True
    return _is_number(value) and value >= (1 if name == "condition" else 0)


def _check_table(table: Any, d: int) -> None:
    if table is None:
        return
    width = len(TableEncoder.from_dict(table).get_feature_names_out())
    if width != d:
        raise ValueError(f"the table has {width} columns of numbers, a point {d}")


def _check_stored_map(saved: Saved, d: int) -> None:
    phi = saved.feature_map
    if phi is None:
        return
    describe(phi, "map", {})  # refuses a map of your own
    if phi.input_dim not in (None, d):
        raise ValueError(
            f"the feature map takes {phi.input_dim} values, a point has {d}"
        )
    with np.errstate(all="ignore"):
        Phi_S = features(saved, saved.X_S)
    if not np.isfinite(Phi_S).all():
        raise ValueError("the features of the distilled points contain NaN or Inf")


def _texts(classes: np.ndarray | None) -> np.ndarray | None:
    """Classes in an array of texts where they are dates, or texts in an array of
    objects.
    """
    if isinstance(classes, np.ndarray) and classes.dtype.kind == "M":
        days = classes.astype("datetime64[D]")
        return np.datetime_as_string(days if (days == classes).all() else classes)
    if isinstance(classes, np.ndarray) and classes.dtype == object:
        if all(isinstance(name, str) for name in classes.flat):
            texts = classes.astype(str)
            if texts.tolist() != classes.tolist():
                raise ValueError("a class ends in a zero byte, which arrays cut off")
            return texts
    return classes


# ------------------------------------------------------------------------- small parts


def _sha256(A: Any) -> str:
    if hasattr(A, "sha256"):  # of rows of a file, found as they were read
        return A.sha256
    found = hashlib.sha256(f"{A.dtype.str} {A.shape} ".encode())
    found.update(np.ascontiguousarray(A).data.cast("B") if A.size else b"")
    return found.hexdigest()


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of that type, where True and False are no integers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_number(value: Any) -> bool:
    """Whether a value is a finite float, or an integer of a size that floats have."""
    if _is(value, int):
        return abs(value) < LARGEST
    return _is(value, float) and math.isfinite(value)
