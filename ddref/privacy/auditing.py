"""A privacy claim put to the test: how well can two neighbouring data sets be told
apart by what is released?

The distinguishing game: a coin decides which of two worlds, data sets that differ by
one sample, the mechanism runs on; the adversary sees the output and guesses. Whatever
it gets right more often than the claim allows refutes the claim. The guess is made by a
linear statistic, chosen together with its threshold on runs of their own; for Gaussian
noise no guess is better.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ..arrays import check_arrays, check_count
from .accounting import gaussian_epsilon
from .mechanism import gaussian_noise, noisy

World = Callable[[int, np.random.Generator], np.ndarray]
Mechanism = Callable[..., tuple[np.ndarray, np.ndarray]]


class Audit(NamedTuple):
    """A lower bound on what a mechanism gives away, at the confidence asked for."""

    epsilon: float  # the mechanism is not (less than this, delta)-private
    mu: float  # the same as a distance of normal distributions
    true_positives: float  # rates among the runs that count
    false_positives: float


def audit(
    without: World,
    having: World,
    delta: float,
    rng: np.random.Generator,
    *,
    runs: int = 100_000,
    confidence: float = 0.999,
) -> Audit:
    """Attack a mechanism on two neighbouring data sets.

    Parameters
    ----------
    without, having : callable
        ``(runs, rng) -> array (runs, q)``: so many outputs of the mechanism on the data
        set without the sample and on that with it.
    delta : float
        That of the claim.
    rng : numpy.random.Generator
        Source of all randomness.
    runs : int
        Runs in each world: half to choose the guess, half to count.
    confidence : float
        Of the bound. Both rates are bounded by Clopper and Pearson, each at half of
        what is left of 1.

    Returns
    -------
    Audit
        `epsilon` above the claim refutes it, `epsilon` below does not prove it.

    Notes
    -----
    Book: eq-audit. ``mu >= Phi^-1(TPR) - Phi^-1(FPR)`` holds for Gaussian mechanisms
    (Dong, Roth and Su 2022); it is turned into epsilon at `delta`. For other
    mechanisms `mu` is a description, and epsilon with it.

    Examples
    --------
    >>> import numpy as np
    >>> def world(mean):
    ...     return lambda runs, rng: rng.standard_normal((runs, 1)) + mean
    >>> found = audit(world(0.0), world(1.0), 1e-5, np.random.default_rng(0))
    >>> 0.9 < found.mu < 1.0
    True
    """
    half = check_count(runs, "runs", 200) // 2
    outputs = [world(2 * half, rng) for world in (without, having)]
    check_arrays(without=outputs[0], having=outputs[1])
    weights, threshold = _guess(*(A[:half, :] for A in outputs))
    hits = [int(np.sum(A[half:, :] @ weights > threshold)) for A in outputs]
    doubt = (1 - confidence) / 2
    least = _least_rate(hits[1], half, doubt)
    most = 1 - _least_rate(half - hits[0], half, doubt)
    mu = max(0.0, _quantile(least) - _quantile(most))
    epsilon = gaussian_epsilon(mu, delta) if mu > 0 else 0.0
    return Audit(epsilon, mu, hits[1] / half, hits[0] / half)


def outcomes(
    G: np.ndarray, B: np.ndarray, sigma: float, mechanism: Mechanism = noisy
) -> World:
    """The world in which the sums are `G` (p, p) and `B` (p, k): runs of a `mechanism`,
    by default that of `release`, on stacks of them.

    Notes
    -----
    Book: eq-audit.

    Examples
    --------
    >>> import numpy as np
    >>> world = outcomes(np.eye(2), np.zeros((2, 1)), 0.1)
    >>> world(5, np.random.default_rng(0)).shape  # four numbers of G, two of B
    (5, 6)
    """

    def run(runs: int, rng: np.random.Generator) -> np.ndarray:
        stacks = (np.broadcast_to(A, (runs, *A.shape)) for A in (G, B))
        made = mechanism(*stacks, sigma, gaussian_noise(rng))
        return np.concatenate([A.reshape(runs, -1) for A in made], axis=1)

    return run


def _guess(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, float]:
    """Fisher's linear discriminant of two samples, and the middle of their means.

    A number without noise that differs outweighs all others, as it should.
    """
    means = [C.mean(axis=0) for C in (A, B)]
    difference = means[1] - means[0]
    spread = (np.cov(A.T) + np.cov(B.T)).reshape(len(difference), -1) / 2
    w, V = np.linalg.eigh(spread)
    tiny = 1e-12 * max(w[-1], float(difference @ difference))
    weights = V @ ((V.T @ difference) / np.maximum(w, max(tiny, 1e-300)))
    return weights, float(weights @ (means[0] + means[1])) / 2


def _least_rate(hits: int, runs: int, doubt: float) -> float:
    """Lower confidence bound of a rate, exact (Clopper and Pearson)."""
    try:
        from scipy.stats import binomtest
    except ModuleNotFoundError as error:
        raise ImportError(
            "privacy.audit needs SciPy: install scipy, or ddref with its extra "
            "'sklearn'"
        ) from error
    interval = binomtest(hits, runs).proportion_ci(1 - 2 * doubt, method="exact")
    return float(interval.low)


def _quantile(rate: float) -> float:
    """Quantile of N(0, 1); rates of 0 and 1 count as the number next to them."""
    return NormalDist().inv_cdf(min(max(rate, 1e-300), 1 - 2.0**-53))
