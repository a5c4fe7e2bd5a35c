"""Ridge regression for the estimators: few passes, and no copy of large data."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from .. import krr
from ..arrays import Array, number
from ..maps.devices import as_numpy
from ..spectrum import (
    Spectrum,
    eigenvalue_rounding,
    from_data,
    from_gram,
    gcv,
    leave_one_out,
    models,
    solve,
)
from ..statistics import Statistics

CHUNK = 8192  # rows at a time, where the centred features are not kept
LONG = 1500  # rows of a matrix whose decomposition takes seconds
QUICK = 400  # and of one that takes a moment
NO_RELATION = 100 * 2.0**-52  # correlations up to this are rounding


def trained(
    Phi: Array,
    Y: Array,
    lam: float,
    fit_intercept: bool = True,
    *,
    classes: bool = False,
    weights: np.ndarray | None = None,
) -> tuple[Array, Array]:
    """The model that the estimators train: W (p, k) and b (1, k).

    Parameters
    ----------
    Phi : array (n, p)
        Features in float64, rows are samples.
    Y : array (n, k)
        Targets.
    lam : float
        Regularisation, added to the diagonal as given.
    fit_intercept : bool
        Whether b, which is not penalised, is fitted or zero.
    classes : bool
        Whether the rows of Y are one-hot: with an intercept the columns of W then sum
        to zero.
    weights : ndarray (n,), optional
        What each sample counts. Default: 1.

    Returns
    -------
    (W, b) : array (p, k), array (1, k)

    Raises
    ------
    ValueError, TypeError
        As `ddref.krr.fit`.

    Notes
    -----
    Book: thm-intercept.

    Examples
    --------
    >>> import numpy as np
    >>> W, b = trained(np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]]), 0.0)
    >>> W.round(12), b.round(12)
    (array([[2.]]), array([[3.]]))
    """
    return Training(Phi, Y, fit_intercept, weights=weights).fit(lam, classes=classes)


class Training:
    """Ridge regression of one data set for any lam.

    Small data are centred and kept, large ones are summed in chunks of centred rows.
    With weights the means are weighted, and every centred row counts times sqrt(w).
    """

    sums: Any  # G, B, yy, n

    def __init__(
        self,
        Phi: Array,
        Y: Array,
        centred: bool,
        report: Callable[..., None] | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        self.report = report
        self._prepare(Phi, Y, centred, weights)
        self.small = self.p > self.n or self.n * self.p <= krr.SMALL
        if not self.small:
            self._sum_chunks()

    def _prepare(self, Phi, Y, centred, weights):
        """Sizes, weights and means."""
        self.Phi, self.Y, self.centred = Phi, Y, centred
        self.n, self.p = Phi.shape
        self.total = float(self.n) if weights is None else float(weights.sum())
        self.roots = None if weights is None else _column(np.sqrt(weights), Y)
        self.mean_Y = _mean(Y, self.roots) if centred else 0 * Y[:1, :]
        self.mean = self._mean_features()

    def _mean_features(self):
        """Mean row (1, p), zero without an intercept."""
        return _mean(self.Phi, self.roots) if self.centred else 0 * self.Phi[:1, :]

    def _sum_chunks(self):
        """Sums over centred rows, a few at a time."""
        self.sums = Statistics(self.p, self.Y.shape[1])
        for Phi_c, Y_c, *_ in self.chunks():
            self.sums.update(Phi_c, Y_c)
            if self.report is not None:
                self.report("statistics", self.sums.n, self.n)

    @property
    def chunk(self) -> int:
        """Rows that are centred at a time."""
        return CHUNK

    def rows(self, part: slice) -> tuple[Array, Array]:
        """Centred features and targets of some samples, times the roots of their
        weights.
        """
        Phi_c, Y_c = self.Phi[part, :] - self.mean, self.Y[part, :] - self.mean_Y
        if self.roots is None:
            return Phi_c, Y_c
        return self.roots[part, :] * Phi_c, self.roots[part, :] * Y_c

    def chunks(self) -> Iterator[tuple[Array, ...]]:
        """Centred features and targets, a few rows at a time; with weights also what
        the intercept takes of the leverage of each.
        """
        for start in range(0, self.n, self.chunk):
            part = slice(start, min(start + self.chunk, self.n))
            if self.roots is None or not self.centred:
                yield self.rows(part)
            else:
                yield *self.rows(part), self.roots[part, :] ** 2 / self.total

    def fit(self, lam: float, *, classes: bool = False) -> tuple[Array, Array]:
        """W (p, k) and b (1, k)."""
        least = 0.0 if self.small else eigenvalue_rounding(self.sums.G)
        self._announce("solving" if lam > least else "decomposing")
        if self.small:
            W = krr.fit(*self.rows(slice(0, self.n)), lam)
        else:
            W = solve(self.sums.G, self.sums.B, lam)
        return self._finished(W, classes)

    def _finished(self, W, classes):
        """W (p, k) and b (1, k)."""
        if classes and self.centred:  # one-hot rows sum to 1: W 1 = 0, not to rounding
            W = W - array_namespace(W).mean(W, axis=1, keepdims=True)
        return W, self.mean_Y - self.mean @ W

    def related(self) -> bool:
        """Whether a column of the features goes with a target by more than rounding;
        also true where none of them varies.

        Correlations count, and not the model, which a large lam makes small.
        """
        if self.small:
            Phi_c, Y_c = self.rows(slice(0, self.n))
            B, squares = Phi_c.mT @ Y_c, _squares(Phi_c)
            total_Y = _squares(Y_c)
        else:
            B, squares = self.sums.B, _diagonal(self.sums.G)
            total_Y = 0 * B[0, :] + self.sums.yy
        xp = array_namespace(B)
        before, before_Y = squares, total_Y
        if B.shape[0] == self.mean.shape[1]:  # means were subtracted with rounding
            before = squares + self.total * self.mean[0, :] ** 2
            before_Y = total_Y + self.total * self.mean_Y[0, :] ** 2
        varies = xp.any(squares > NO_RELATION * before)
        if not bool(varies & xp.any(total_Y > NO_RELATION * before_Y)):
            return True  # features or targets are constant: no model to be lost
        sizes = xp.sqrt(before[:, None] * before_Y[None, :])
        return bool(xp.any(xp.abs(B) > NO_RELATION * sizes))

    def predictions(self, Phi: Array, W: Array) -> Array:
        """Those of a model on other rows (n, p)."""
        return (Phi - self.mean) @ W + self.mean_Y

    def spectrum(self) -> Spectrum:
        """One decomposition for every lam; computed once."""
        if not hasattr(self, "_spectrum"):
            dof = int(self.centred)
            self._announce("decomposing")
            if self.small:
                self._spectrum = from_data(*self.rows(slice(0, self.n)), dof=dof)
            else:
                G, B, yy = self.sums.G, self.sums.B, self.sums.yy
                self._spectrum = from_gram(G, B, n=self.n, yy=yy, dof=dof)
        return self._spectrum

    def condition(self, lam: float) -> float:
        """Condition number of the normal equations, without directions of rounding."""
        found = self.spectrum()
        w = found.w if lam > found.least else found.w[found.w > found.cut]
        if not w.shape[0]:
            return 1.0
        xp = array_namespace(w)
        least = number(xp.min(w)) + lam
        return (number(xp.max(w)) + lam) / least if least > 0 else math.inf

    def grid(self) -> np.ndarray:
        """25 values from 1e-10 to 100 times the largest eigenvalue."""
        w = self.spectrum().w
        largest = number(array_namespace(w).max(w)) if w.shape[0] else 1.0
        return largest * np.logspace(-10, 2, 25)

    def models(self, lams: np.ndarray) -> Array:
        """W (len(lams), p, k)."""
        return models(self.spectrum(), lams)

    def scores(self, lams: np.ndarray, select: str) -> np.ndarray:
        """Mean squared error by "gcv" or by "loo", for each lam; inf where
        undefined.

        By "gcv" a sample counts as often as its weight says; "loo" leaves it out with
        its whole weight.
        """
        if select == "gcv":
            return np.asarray(gcv(self.spectrum()._replace(n=self.total), lams))
        found = self.spectrum()
        return np.asarray(leave_one_out(found, lams, self._counted(self.chunks())))

    def _announce(self, what: str, shape: tuple[int, int] | None = None) -> None:
        """Name a step that is long, with its size and about how long it takes."""
        if shape is None:
            shape = (self.n, self.p) if self.small else (self.p, self.p)
        if self.report is None or min(shape) < LONG:
            return
        text = f"{what} {shape[0]:,} x {shape[1]:,}"
        times = 1.0 if shape[0] == shape[1] else 2.0  # an SVD
        times = 0.1 if what == "solving" else times
        seconds = _seconds(self.Y, times * min(shape) ** 2 * max(shape))
        self.report(f"{text}, about {max(seconds, 1):.0f} s")

    def _counted(self, chunks: Iterator[tuple[Array, ...]]) -> Iterator[Any]:
        """The same chunks, with the samples that have come told."""
        done = 0
        for chunk in chunks:
            yield chunk
            done += chunk[0].shape[0]
            if self.report is not None:
                self.report("leave-one-out", done, self.n)


def by_validation(
    Phi: Array,
    Y: Array,
    y: np.ndarray | None,
    lams: np.ndarray,
    centred: bool,
    rng: np.random.RandomState,
    weights: np.ndarray | None = None,
    train: Callable[..., Any] = Training,
    report: Callable[..., None] | None = None,
) -> np.ndarray:
    """For each lam the error on a fifth of the samples, of the model of the others."""
    xp, n = array_namespace(Y), Phi.shape[0]
    order = rng.permutation(n)
    if y is not None:
        order = order[np.argsort(y[order], kind="stable")]  # every fifth of each class
    held = np.zeros(n, dtype=bool)
    held[order[::5]] = True
    if not 2 <= held.sum() <= n - 2:
        raise ValueError(
            f"{n} samples are too few to hold some out; use select='gcv' or 'loo'"
        )
    rest, out = (xp.asarray(np.flatnonzero(which)) for which in (~held, held))
    weights = np.ones(n) if weights is None else weights
    model = train(Phi[rest, :], Y[rest, :], centred, report, weights[~held])
    scores = []
    for W in model.models(lams):
        P = model.predictions(Phi[out, :], W)
        if y is None:
            errors = as_numpy(xp.mean((P - Y[out, :]) ** 2, axis=1))
        else:
            errors = as_numpy(xp.argmax(P, axis=1)) != y[held]
        scores.append(float(np.average(errors, weights=weights[held])))
    return np.array(scores)


def _seconds(like: Array, work: float) -> float:
    """About how long an eigendecomposition of ``p^3 = work`` takes where `like` is, by
    one that is quick.
    """
    xp, p = array_namespace(like), QUICK
    A = xp.reshape(xp.arange(p * p, dtype=like.dtype, device=device(like)), (p, p))
    A = xp.sin(A)
    A = A @ A.mT
    start = time.perf_counter()
    number(xp.linalg.eigh(A)[0][0])
    return (time.perf_counter() - start) * work / p**3


def _column(a: np.ndarray, like: Array) -> Array:
    """A vector as a column (n, 1) beside `like`."""
    xp = array_namespace(like)
    return xp.asarray(a, dtype=like.dtype, device=device(like))[:, None]


def _squares(A: Array) -> Array:
    return array_namespace(A).sum(A**2, axis=0)


def _diagonal(G: Array) -> Array:
    return array_namespace(G).linalg.diagonal(G)


def _mean(A: Array, roots: Array | None = None) -> Array:
    """Mean row, corrected by the mean of what is left: a large mean leaves no trace."""
    xp, n = array_namespace(A), A.shape[0]
    weights = None if roots is None else roots**2
    total = n if weights is None else xp.sum(weights)
    mean = xp.mean(A, axis=0, keepdims=True)
    rest = 0.0
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        away = A[part, :] - mean
        away = away if weights is None else weights[part, :] * away
        rest = rest + xp.sum(away, axis=0, keepdims=True)
    return mean + rest / total
