"""Ridge regression on sparse rows: sums over samples, without a dense copy of the data.

With at most as many columns as samples ``X^T X`` (d, d) is formed, else ``X X^T``
(n, n); means are subtracted from the product. Where that would cost digits, because a
column is large beside its spread, rows are centred a few at a time instead.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arrays import norm
from ..spectrum import Spectrum, models
from .training import Training

CANCELS = 1e4  # squares of a column over those left after centring
ENTRIES = 1 << 24  # of rows that are made dense at a time
LARGEST = 30_000  # rows of the Gram matrix, 7 GB


class Sums(NamedTuple):
    """What `Training` reads of `Statistics`."""

    G: np.ndarray  # (d, d), of centred rows
    B: np.ndarray  # (d, k)
    yy: float
    n: int


class SparseTraining(Training):
    """`Training` for a sparse matrix (n, d) of SciPy, in csr form."""

    def __init__(
        self,
        Phi: Any,
        Y: np.ndarray,
        centred: bool,
        report: Callable[..., None] | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        if min(Phi.shape) > LARGEST:
            raise ValueError(
                f"X is sparse of shape {Phi.shape}: its Gram matrix would have "
                f"{min(Phi.shape):,} rows, at most {LARGEST:,} are formed; reduce the "
                "columns first (TruncatedSVD, HashingVectorizer)"
            )
        self.report = report
        self._prepare(Phi, Y, centred, weights)
        roots = np.ones((self.n, 1)) if self.roots is None else self.roots
        self.small = self.p > self.n
        self._scaled = Phi.multiply(roots).tocsr()  # sparse, a row times its root
        self._own = roots if centred else 0 * roots
        Y_c = roots * (Y - self.mean_Y)
        if self.small:
            self._spectrum = self._dual(Y_c)
            return
        sums = self._primal(Y_c)
        if sums is None:
            self._sum_chunks()
        else:
            self.sums = sums

    def _mean_features(self):
        """Mean row (1, d), zero without an intercept."""
        if not self.centred:
            return np.zeros((1, self.p))
        weights = np.ones(self.n) if self.roots is None else self.roots[:, 0] ** 2
        return (weights @ self.Phi)[None, :] / self.total

    @property
    def chunk(self) -> int:
        """Rows that are made dense at a time."""
        return max(1, ENTRIES // self.p)

    def rows(self, part: slice) -> tuple[Any, Any]:
        """Dense rows of some samples; in place of more columns than samples, rows of
        the same products (n, q).
        """
        roots = 1.0 if self.roots is None else self.roots[part, :]
        Y_c = roots * (self.Y[part, :] - self.mean_Y)
        if self.small:
            return self._U[part, :] * self._s, Y_c
        return roots * (self.Phi[part, :].toarray() - self.mean), Y_c

    def fit(self, lam: float, *, classes: bool = False) -> tuple[Any, Any]:
        """W (d, k) and b (1, k)."""
        if not self.small:
            return super().fit(lam, classes=classes)
        return self._finished(self.models(np.array([lam]))[0], classes)

    def models(self, lams: np.ndarray) -> Any:
        """W (len(lams), d, k)."""
        found = models(self.spectrum(), lams)
        if not self.small:
            return found
        return np.stack([self._columns((self._U / self._s) @ W) for W in found])

    def predictions(self, Phi: Any, W: np.ndarray) -> np.ndarray:
        """Those of a model on other sparse rows (n, d)."""
        return Phi @ W + (self.mean_Y - self.mean @ W)

    def _columns(self, A: np.ndarray) -> np.ndarray:
        """Centred rows, transposed, times A (n, k)."""
        return self._scaled.T @ A - self.mean.T @ (self._own.T @ A)

    def _primal(self, Y_c):
        """Sums of centred rows, None where subtracting the means costs digits."""
        G = (self._scaled.T @ self._scaled).toarray()
        before = G.diagonal().copy()
        if self.centred:
            G -= self.total * self.mean.T @ self.mean
        if (before > CANCELS * G.diagonal()).any():
            return None
        return Sums(G, self._columns(Y_c), norm(Y_c) ** 2, self.n)

    def _dual(self, Y_c):
        """The spectrum of K = U diag(s^2) U^T, for which rows U diag(s) stand."""
        K = (self._scaled @ self._scaled.T).toarray()
        before = K.diagonal().sum()
        means = self._scaled @ self.mean.T
        K -= means @ self._own.T + self._own @ means.T
        K += self._own @ self._own.T * (self.mean @ self.mean.T)
        if before > CANCELS * max(K.diagonal().sum(), 0.0) and before > 0:
            raise ValueError(
                "columns of X are so far from zero that centring a sparse matrix "
                "costs digits: subtract a constant from them, or pass X.toarray()"
            )
        self._announce("decomposing", (self.n, self.n))
        w, U = np.linalg.eigh(0.5 * (K + K.T))
        keep = w > self.n * 2.0**-52 * max(w[-1], 0.0)
        w, U = w[keep], U[:, keep]
        self._U, self._s = U, np.sqrt(w)
        UtY = U.T @ Y_c
        hidden = self.n - len(w) - int(self.centred)
        lost = f"rounding in X X^T hides {hidden} directions" if hidden > 0 else ""
        return Spectrum(
            w=w,
            V=np.eye(len(w)),
            VtB=self._s[:, None] * UtY,
            squares=(UtY**2).sum(axis=1),
            rest=norm(Y_c - U @ UtY) ** 2,
            n=self.n,
            dof=int(self.centred),
            cut=0.0,
            least=float(w[0]) if lost and len(w) else 0.0,
            rounding=self.n * 2.0**-52,
            lost=lost,
        )
