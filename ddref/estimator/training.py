"""Ridge regression for the estimators: few passes, and no copy of large data."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from array_api_compat import array_namespace

from .. import krr
from ..arrays import Array, number
from ..spectrum import (
    Spectrum,
    from_data,
    from_gram,
    gcv,
    leave_one_out,
    models,
    solve,
)
from ..statistics import Statistics

CHUNK = 8192  # rows at a time, where the centred features are not kept


def trained(
    Phi: Array,
    Y: Array,
    lam: float,
    fit_intercept: bool = True,
    *,
    classes: bool = False,
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
    return Training(Phi, Y, fit_intercept).fit(lam, classes=classes)


class Training:
    """Ridge regression of one data set for any lam.

    Small data are centred and kept, large ones are summed in chunks of centred rows.
    """

    def __init__(
        self,
        Phi: Array,
        Y: Array,
        centred: bool,
        report: Callable[..., None] | None = None,
    ) -> None:
        self.Phi, self.Y, self.centred = Phi, Y, centred
        self.n, self.p = Phi.shape
        self.mean, self.mean_Y = 0 * Phi[:1, :], 0 * Y[:1, :]
        if centred:
            self.mean, self.mean_Y = _mean(Phi), _mean(Y)
        self.small = self.p > self.n or self.n * self.p <= krr.SMALL
        if self.small:
            return
        self.sums = Statistics(self.p, Y.shape[1])
        for Phi_c, Y_c in self.chunks():
            self.sums.update(Phi_c, Y_c)
            if report is not None:
                report("statistics", self.sums.n, self.n)

    def chunks(self) -> Iterator[tuple[Array, Array]]:
        """Centred features and targets, CHUNK rows at a time."""
        for start in range(0, self.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.n))
            yield self.Phi[rows, :] - self.mean, self.Y[rows, :] - self.mean_Y

    def fit(self, lam: float, *, classes: bool = False) -> tuple[Array, Array]:
        """W (p, k) and b (1, k)."""
        if self.small:
            W = krr.fit(self.Phi - self.mean, self.Y - self.mean_Y, lam)
        else:
            W = solve(self.sums.G, self.sums.B, lam)
        if (
            classes and self.centred
        ):  # one-hot rows sum to 1: W 1 = 0, and not to rounding
            W = W - array_namespace(W).mean(W, axis=1, keepdims=True)
        return W, self.mean_Y - self.mean @ W

    def spectrum(self) -> Spectrum:
        """One decomposition for every lam; computed once."""
        if not hasattr(self, "_spectrum"):
            dof = int(self.centred)
            if self.small:
                Phi_c, Y_c = self.Phi - self.mean, self.Y - self.mean_Y
                self._spectrum = from_data(Phi_c, Y_c, dof=dof)
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
        """
        if select == "gcv":
            return np.asarray(gcv(self.spectrum(), lams))
        return np.asarray(leave_one_out(self.spectrum(), lams, self.chunks()))


def by_validation(
    Phi: Array,
    Y: Array,
    y: np.ndarray | None,
    lams: np.ndarray,
    centred: bool,
    rng: np.random.RandomState,
) -> np.ndarray:
    """For each lam the error on a fifth of the samples, of the model of the others."""
    xp, n = array_namespace(Phi), Phi.shape[0]
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
    model = Training(Phi[rest, :], Y[rest, :], centred)
    scores = []
    for W in model.models(lams):
        P = (Phi[out, :] - model.mean) @ W + model.mean_Y
        if y is None:
            scores.append(number(xp.mean((P - Y[out, :]) ** 2)))
        else:
            found = np.asarray(xp.argmax(P, axis=1))
            scores.append(float(np.mean(found != y[held])))
    return np.array(scores)


def _mean(A: Array) -> Array:
    """Mean row, corrected by the mean of what is left: a large mean leaves no trace."""
    xp, n = array_namespace(A), A.shape[0]
    mean, rest = xp.mean(A, axis=0, keepdims=True), 0.0
    for start in range(0, n, CHUNK):
        part = A[start : min(start + CHUNK, n), :] - mean
        rest = rest + xp.sum(part, axis=0, keepdims=True)
    return mean + rest / n
