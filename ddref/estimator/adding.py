"""Samples that come and go: their sums, and rows with the same sums to train on.

The sums are `Statistics` of rows ``[Phi - shift, 1]``, times sqrt(w) where samples have
weights: means, scalings, intercept and every lam follow from them. The shift, the mean
of the first batch, keeps digits where columns are far from zero.
"""

import copy
from typing import Any, NamedTuple

import numpy as np

from ..maps.devices import as_numpy
from ..statistics import Statistics
from .weights import column_means

KEPT = 1000  # samples that are kept as points to start from


class Alike(NamedTuple):
    """Weighted rows with the sums of all samples."""

    Phi: np.ndarray  # (q, p)
    Y: np.ndarray  # (q, k)
    weights: np.ndarray  # (q,)


class Added:
    """The sums over samples that came and did not go, and some of them to start from.

    Parameters
    ----------
    Phi, Y : ndarray (n, p), ndarray (n, k)
        The first batch, for its mean and sizes; it is not added yet.
    weights : ndarray (n,), optional
    classes : ndarray (k,), optional
        Where the targets are one-hot.
    flat : bool
        Whether the targets had one dimension.

    Attributes
    ----------
    statistics : Statistics
        Of rows ``[Phi - shift, 1]``.
    X, Y, codes : ndarray
        At most KEPT samples with their targets, evenly over classes.
    rows : ndarray
        Their numbers, counted over all that were added.
    """

    def __init__(
        self,
        Phi: np.ndarray,
        Y: np.ndarray,
        weights: np.ndarray | None,
        *,
        classes: np.ndarray | None = None,
        flat: bool = False,
    ) -> None:
        self.shift = column_means(Phi, weights)[None, :]
        self.statistics = Statistics(Phi.shape[1] + 1, Y.shape[1])
        self.classes, self.flat = classes, flat
        self.X: Any = None
        self.Y: Any = None
        self.codes: Any = None
        self.keys: Any = None
        self.rows: Any = None
        self.seen = 0
        self.range: tuple[float, float] | None = (np.inf, -np.inf)

    def changed(
        self,
        sign: int,
        X: np.ndarray,
        Phi: np.ndarray,
        Y: np.ndarray,
        codes: np.ndarray | None,
        weights: np.ndarray | None,
        numbers: np.ndarray,
        size: int,
    ) -> "Added":
        """These with a batch more, or less; they stay as they are themselves.

        `numbers` (n,) are those of the rows in the batch, which had `size`.
        """
        after = copy.copy(self)
        after.statistics = copy.deepcopy(self.statistics)
        rows = np.hstack([Phi - self.shift, np.ones((len(Phi), 1))])
        roots = 1.0 if weights is None else np.sqrt(weights)[:, None]
        change = after.statistics.update if sign > 0 else after.statistics.remove
        change(roots * rows, roots * Y)
        if sign < 0:
            after._without(X, Y)
            after.range = None  # of what is left it is not known
        else:
            after._with(X, Y, codes, self.seen + numbers)
            after.seen += size
            if after.range is not None:
                low, high = after.range
                after.range = min(low, float(X.min())), max(high, float(X.max()))
        return after

    def _with(self, X, Y, codes, numbers):
        """Keep those of all samples whose random keys are smallest, class by class."""
        keys = np.random.default_rng(self.statistics.n).random(len(X))
        if self.X is not None:
            X, Y = np.vstack([self.X, X]), np.vstack([self.Y, Y])
            keys = np.concatenate([self.keys, keys])
            numbers = np.concatenate([self.rows, numbers])
            codes = codes if codes is None else np.concatenate([self.codes, codes])
        groups = [np.arange(len(X))]
        if codes is not None:
            groups = [np.flatnonzero(codes == c) for c in np.unique(codes)]
        most = max(KEPT // len(groups), 1)
        rows = np.concatenate([g[np.argsort(keys[g])[:most]] for g in groups])
        self.X, self.Y, self.keys = X[rows], Y[rows], keys[rows]
        self.codes = None if codes is None else codes[rows]
        self.rows = numbers[rows]

    def _without(self, X, Y):
        """Samples that go are no points to start from."""
        gone = {row.tobytes() for row in np.hstack([X, Y]) + 0.0}
        here = np.hstack([self.X, self.Y]) + 0.0
        rows = [i for i, row in enumerate(here) if row.tobytes() not in gone]
        self.X, self.Y, self.keys = self.X[rows], self.Y[rows], self.keys[rows]
        self.codes = None if self.codes is None else self.codes[rows]
        self.rows = self.rows[rows]


def rows_alike(statistics: Statistics, shift: np.ndarray, ones: bool) -> Alike:
    """Weighted rows with the same sums as the samples in `statistics`.

    Two rows for each direction of the centred features, on either side of the mean, as
    far out as they spread; and two at the mean for what no model explains.

    Parameters
    ----------
    statistics : Statistics
        With ``ones`` of rows ``[Phi - shift, 1]``, else of rows `Phi`.
    shift : ndarray (1, p)
    ones : bool

    Raises
    ------
    ValueError
        Without samples, or where fewer than two digits are left of their sums.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[1.0], [2.0], [6.0]]), np.array([[2.0], [4.0], [0.0]])
    >>> sums = Statistics(2, 1).update(np.hstack([X, np.ones((3, 1))]), Y)
    >>> rows = rows_alike(sums, np.zeros((1, 1)), True)
    >>> (rows.weights @ rows.Phi).round(9), (rows.weights @ rows.Phi**2).round(9)
    (array([9.]), array([41.]))
    """
    if not statistics.n:
        raise ValueError("there are no samples in these sums: add some first")
    G, B, yy = _as_array(statistics.G), _as_array(statistics.B), statistics.yy
    total = float(statistics.n)
    mean, mean_Y = np.zeros((1, len(G) - ones)), np.zeros((1, B.shape[1]))
    if ones:
        total = float(G[-1, -1])
        mean, mean_Y = G[-1:, :-1] / total, B[-1:, :] / total
        G = G[:-1, :-1]
    lost = len(G) * 2.0**-52 * statistics.cancellation
    if lost > 1e-2:
        raise ValueError(
            "fewer than two digits are left of the sums, which were "
            f"{statistics.cancellation:.1e} times larger: sum the samples that remain"
        )
    spread = G - total * mean.T @ mean
    B = (B[:-1] if ones else B) - total * mean.T @ mean_Y
    R, Z = _rows_with(spread, B, G.diagonal(), lost)
    rest = yy - total * float((mean_Y**2).sum()) - float((Z**2).sum())
    if rest > lost * yy:
        R = np.vstack([R, np.zeros((1, R.shape[1]))])
        Z = np.vstack([Z, [[rest**0.5] + [0.0] * (Z.shape[1] - 1)]])
    if not len(R):  # all samples are the same
        R, Z = np.zeros((1, R.shape[1])), np.zeros((1, Z.shape[1]))
    out = (len(R) / total) ** 0.5
    return Alike(
        np.vstack([mean + out * R, mean - out * R]) + (shift if ones else 0.0),
        np.vstack([mean_Y + out * Z, mean_Y - out * Z]),
        np.full(2 * len(R), total / (2 * len(R))),
    )


def _rows_with(G, B, before, lost):
    """Rows R (q, p), Z (q, k) with ``R^T R = G``, ``R^T Z = B``, each column known to
    its own digits; `before` is the diagonal of G before means were subtracted.
    """
    d = G.diagonal()
    varies = d > 100 * lost * before
    sizes = np.sqrt(np.where(varies, d, 1.0))
    each = np.where(varies, 1.0, 0.0) / sizes
    h, Q = np.linalg.eigh(G * each[:, None] * each)
    keep = h > lost * max(h[-1], 0.0)
    roots = np.sqrt(h[keep])[:, None]
    R = roots * Q[:, keep].T * np.where(varies, sizes, 0.0)
    return R, (Q[:, keep].T @ (B * each[:, None])) / roots


def _as_array(A):
    return np.asarray(as_numpy(A), dtype=np.float64)
