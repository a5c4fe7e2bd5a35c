"""Where the distilled points start: samples, noise, or rows of your own."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ..arrays import check_dense, check_digits
from ..statistics.rows import FileRows, Lazy, parts
from ..tables.frames import as_frame, is_frame
from .weights import checked_weights, column_deviations, column_means

SOME = 8192  # rows on which predictions are compared on the way
ENTRIES = 1 << 25  # and values of sparse ones, which are made dense


def some_rows(Phi: Any) -> Any:
    """The first rows of the features, dense."""
    if isinstance(Phi, Lazy):
        some = parts(min(SOME, len(Phi)), Phi.shape[1])
        blocks = [Phi[part, :] for part in some]
        return array_namespace(*blocks).concat(blocks, axis=0)
    if not hasattr(Phi, "toarray"):
        return Phi[:SOME, :]
    return Phi[: max(1, min(SOME, ENTRIES // Phi.shape[1])), :].toarray()


def rows_by_class(rng: np.random.RandomState, y: np.ndarray, m: int) -> np.ndarray:
    """Rows of m samples, as many of each class as can be, class after class."""
    ranks = np.empty(len(y))
    for c in range(int(y.max()) + 1):
        members = np.flatnonzero(y == c)
        ranks[rng.permutation(members)] = np.arange(len(members))
    rows = np.lexsort((y, ranks))[:m]
    return rows[np.argsort(y[rows], kind="stable")]


def rows_by_target(rng: np.random.RandomState, Y: np.ndarray, m: int) -> np.ndarray:
    """Rows of m samples, one from each m-th part in the order of the target.

    Of several targets: of their main direction.
    """
    Y_c = Y - Y.mean(axis=0)
    main = np.linalg.svd(Y_c.T @ Y_c)[2][0]
    order = np.argsort(Y_c @ main, kind="stable")
    return np.array([rng.choice(part) for part in np.array_split(order, m)])


def samples_to_start_from(
    rng: np.random.RandomState,
    X: np.ndarray,
    Y: np.ndarray,
    y: np.ndarray | None,
    m: int,
) -> np.ndarray:
    """Rows of m samples, even over the classes y, or over the targets Y without them.

    Not all the same sample, nor all zero, where there are others.
    """
    if m > X.shape[0]:
        raise ValueError(
            f"n_points = {m}, but there are only {X.shape[0]} samples to start from; "
            "use init='noise'"
        )
    rows = rows_by_class(rng, y, m) if y is not None else rows_by_target(rng, Y, m)
    X_0 = dense_rows(X, rows)
    same = m > 1 and not np.ptp(X_0, axis=0).any()
    if same or not X_0.any():  # copies of one sample, or zero
        rows[-1] = _farthest(X, X_0[0])
    return rows


def copies(X_0: np.ndarray, X_S: np.ndarray) -> int:
    """How many rows of X_S (m, d) are rows of X_0 but for rounding, 1e-6 of their size.

    Examples
    --------
    >>> import numpy as np
    >>> copies(np.eye(2), np.array([[1.0, 1e-9], [0.0, 0.9]]))
    1
    """
    size = np.abs(X_0).max(axis=1)
    away = np.abs(X_S - X_0).max(axis=1)
    return int(np.sum(away <= 1e-6 * np.where(size > 0, size, 1.0)))


def _farthest(X, x):
    """The row of X that is farthest from x (d,)."""
    if isinstance(X, FileRows):
        away = [((A - x) ** 2).sum(axis=1) for A in X.blocks()]
        return int(np.argmax(np.concatenate(away)))
    if hasattr(X, "toarray"):
        return int(np.argmax(X.multiply(X).sum(axis=1) - 2 * (X @ x)))
    return int(np.argmax(((X - x) ** 2).sum(axis=1)))


def dense_rows(X: Any, rows: np.ndarray | slice) -> np.ndarray:
    """Some rows of X, which may be sparse, as a dense array."""
    chosen = X[rows]
    return chosen.toarray() if hasattr(chosen, "toarray") else chosen


def noise(
    rng: np.random.RandomState,
    X: np.ndarray,
    scale: np.ndarray | None,
    m: int,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Gaussian rows (m, d) with the columns' means and deviations, or `scale`."""
    mean = column_means(X, weights)
    if scale is None:
        scale = column_deviations(X, weights)
        size = np.sqrt(np.mean(scale**2 + (mean - mean.mean()) ** 2))  # of all values
        scale = np.maximum(scale, 1e-3 * (size or 1.0))
    return mean + scale * rng.standard_normal((m, len(mean)))


def plain_rows(X: Any, name: str = "X") -> Any:
    """Rows, or targets, as they are; a tensor as an array of NumPy, without its
    gradient; what is no plain dense array refused by name.
    """
    if hasattr(X, "toarray"):
        return X  # of scipy.sparse
    check_dense(**{name: X})
    if not hasattr(X, "detach"):
        check_digits(**{name: X})
        return X
    X = X.detach().resolve_conj().resolve_neg().cpu()
    return (X.float() if "bfloat16" in str(X.dtype) else X).numpy()


def present_in_frame(
    X: Any, y: Any, sample_weight: Any
) -> tuple[Any, Any, Any, np.ndarray | None]:
    """A data frame, its targets and checked weights, without rows of weight 0, before
    anything is read from them; and which rows these are. All else as it is, and None.

    Examples
    --------
    >>> import pandas
    >>> frame = pandas.DataFrame({"a": [1, None, 3]})
    >>> present_in_frame(frame, [1, 2, 3], [1, 0, 2])[1:]
    (array([1, 3]), array([1., 2.]), array([0, 2]))
    """
    if sample_weight is None or not is_frame(X):
        return X, y, sample_weight, None
    X = as_frame(X)
    weights: Any = checked_weights(plain_rows(sample_weight, "sample_weight"), len(X))
    rows = np.flatnonzero(weights)
    if len(rows) < len(X) == len(y):
        y = y.iloc[rows] if hasattr(y, "iloc") else np.asarray(plain_rows(y, "y"))[rows]
        X, weights = X.iloc[rows], weights[rows]
    return X, y, weights, rows
