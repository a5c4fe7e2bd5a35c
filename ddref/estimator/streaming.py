"""Ridge regression on rows of a file, which are read in blocks and not kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ..arrays import Array
from ..statistics import Statistics
from ..statistics.rows import Lazy, parts
from .sparse import Sums
from .training import Training

SPREAD = 1024  # rows spread over the file whose mean is subtracted first


class StreamedTraining(Training):
    """`Training` for features (n, p) that are made a block at a time.

    One pass sums rows minus a mean that is nearly theirs; what is left of it is
    subtracted from the sums, where it costs no digits.
    """

    def __init__(
        self,
        Phi: Lazy,
        Y: Any,
        centred: bool,
        report: Callable[..., None] | None = None,
        weights: None = None,
    ) -> None:
        self.Phi, self.Y, self.centred = Phi, Y, centred
        self.report = report
        self.n, self.p = Phi.shape
        self.total, self.roots, self.small = float(self.n), None, False
        self.mean_Y = self._mean_targets()
        self._sum_blocks()

    def _parts(self):
        return parts(self.n, self.p)

    def _mean_targets(self):
        """Mean targets (1, k), zero without an intercept."""
        if not self.centred:
            return 0 * self.Y[:1, :]
        mean = sum(_sum(self.Y[part, :]) for part in self._parts()) / self.n
        rest = sum(_sum(self.Y[part, :] - mean) for part in self._parts())
        return mean + rest / self.n

    def _sum_blocks(self):
        """Sums over centred rows, and the mean row."""
        near, rest = 0 * self.Phi[:1, :], 0.0
        if self.centred:
            some = np.unique(np.linspace(0, self.n - 1, SPREAD).astype(int))
            near = _sum(self.Phi[some, :]) / len(some)
        sums = Statistics(self.p, self.Y.shape[1])
        for part in self._parts():
            A = self.Phi[part, :] - near
            sums.update(A, self.Y[part, :] - self.mean_Y)
            rest = rest + _sum(A)
            if self.report is not None:
                self.report("statistics", sums.n, self.n)
        if not self.centred:
            self.mean, self.sums = near, sums
            return
        self.mean = near + rest / self.n
        G = sums.G - rest.mT @ (rest / self.n)
        self.sums = Sums(G, sums.B, sums.yy, self.n)

    @property
    def chunk(self) -> int:
        """Rows that are centred at a time."""
        return next(self._parts()).stop


def _sum(A: Array) -> Array:
    """Sum of the rows (1, p)."""
    return array_namespace(A).sum(A, axis=0, keepdims=True)
