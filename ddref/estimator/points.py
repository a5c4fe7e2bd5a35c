"""Where the distilled points start: samples, noise, or rows of your own."""

import numpy as np


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
    """m samples (m, d), even over the classes y, or over the targets Y without them."""
    if m > len(X):
        raise ValueError(
            f"n_points = {m}, but there are only {len(X)} samples to start from; "
            "use init='noise'"
        )
    rows = rows_by_class(rng, y, m) if y is not None else rows_by_target(rng, Y, m)
    if m > 1 and not np.ptp(X[rows], axis=0).any():  # copies of one sample
        rows[-1] = int(np.argmax(((X - X[rows[0]]) ** 2).sum(axis=1)))
    return X[rows]


def noise(
    rng: np.random.RandomState, X: np.ndarray, scale: np.ndarray | None, m: int
) -> np.ndarray:
    """Gaussian rows (m, d) with the columns' means and deviations, or `scale`."""
    if scale is None:
        scale = np.maximum(X.std(axis=0), 1e-3 * (X.std() or 1.0))
    return X.mean(axis=0) + scale * rng.standard_normal((m, X.shape[1]))
