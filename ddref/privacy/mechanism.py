"""A private release of ridge regression: noisy sums over samples, from which any number
of distilled sets may be made.

One sample (f, y) adds ``f^T f`` to `G` and ``f^T y`` to `B`. With ``|f| <= clip`` and
``|y| <= bound`` the two together move by at most

    sqrt(|f|^4 + |f|^2 |y|^2)  <=  clip sqrt(clip^2 + bound^2),

and Gaussian noise on all p^2 + p k numbers hides that. What is computed from the noisy
sums, the model and its distilled sets among it, is as private as they are.

Differences to the textbook: `G` is averaged with its transpose after the noise (which
is the law of noise on one triangle, entries off the diagonal counted sqrt(2)-fold), its
negative eigenvalues become 0, and the regularisation grows with the noise. None of this
looks at the data again.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from ..arrays import Array, check_arrays, check_lam, check_positive, eps_of
from ..spectrum import solve
from ..statistics.sums import Statistics
from .accounting import noise_scale

AddNoise = Callable[[np.ndarray, float], np.ndarray]


def clip_rows(A: Array, clip: float = 1.0) -> Array:
    """The rows of `A` (n, p), those longer than `clip` shortened to that length.

    Notes
    -----
    Book: eq-clip. The bound is public: chosen without a look at the data.

    Examples
    --------
    >>> import numpy as np
    >>> clip_rows(np.array([[3.0, 4.0], [0.3, 0.4]])).round(12)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """
    clip = check_positive(clip, "clip")
    xp = check_arrays(A=A)
    largest = xp.max(xp.abs(A), axis=1, keepdims=True)
    scaled = A / xp.where(largest > 0, largest, 1.0)  # no square over- or underflows
    length = xp.sqrt(xp.sum(scaled**2, axis=1, keepdims=True))  # in units of `largest`
    length = xp.where(length > 0, length, 1.0)
    # a little less than asked for: rounding must not leave a row above the bound
    kept = clip * (1 - eps_of(A) * (A.shape[1] + 8))
    return xp.where(largest > kept / length, scaled * (kept / length), A)


class ClippedStatistics(Statistics):
    """Sums over samples, of which none counts for more than public bounds allow: each
    row is shortened to them before it is added.

    Parameters
    ----------
    p, k : int
        Columns of the features and of the targets.
    clip, bound : float
        Most length of a row of features and of a row of targets. One-hot targets have
        length 1, one-hot minus 1/k a little less.
    like, chunk
        As in `Statistics`. There is no ``products="float32"``.

    Notes
    -----
    Book: eq-clip. Everything else is as in `Statistics`. They are exact, and no more
    private than the data; `release` is what may be given away.

    Examples
    --------
    >>> import numpy as np
    >>> s = ClippedStatistics(1, 1).update(np.array([[7.0]]), np.array([[1.0]]))
    >>> s.G.round(12)
    array([[1.]])
    """

    _ALIKE = (*Statistics._ALIKE, "clip", "bound")

    def __init__(
        self,
        p: int,
        k: int,
        *,
        clip: float = 1.0,
        bound: float = 1.0,
        like: Array | None = None,
        **options: Any,
    ) -> None:
        if options.get("products", "float64") != "float64":
            raise ValueError(
                "clipped statistics are summed in float64: rounding of float32 "
                "products grows with the samples, and the noise would not cover it"
            )
        self._clip = check_positive(clip, "clip")
        self._bound = check_positive(bound, "bound")
        super().__init__(p, k, like=like, **options)

    @property
    def clip(self) -> float:
        """Most length of a row of features: what was added was clipped to it."""
        return self._clip

    @property
    def bound(self) -> float:
        """Most length of a row of targets."""
        return self._bound

    def _sums(self, Phi: Array, Y: Array) -> Statistics:
        part: Any = super()._sums(Phi, Y)
        part.clip = self.clip
        part.bound = self.bound
        return part

    def _chunks(self, Phi: Array, Y: Array) -> Iterator[tuple[Array, Array]]:
        for A, T in super()._chunks(Phi, Y):
            yield clip_rows(A, self.clip), clip_rows(T, self.bound)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Statistics:
        """Refused: a file of sums does not tell how the rows were clipped."""
        raise ValueError(
            f"{path} does not tell how its rows were clipped: sum them anew, or pickle "
            "these statistics"
        )


class Release(NamedTuple):
    """What `release` gives away: noisy sums, and what they cost.

    Whatever is computed from it, and from nothing else of the data, is (epsilon,
    delta)-private: one sample added or removed changes the probability of any outcome
    by at most the factor exp(epsilon), but for delta.
    """

    G: Array  # (p, p), positive semi-definite
    B: Array  # (p, k)
    lam: float  # regularisation that the noise asks for, sigma sqrt(p) / 2
    sigma: float  # standard deviation of the noise in each number
    epsilon: float
    delta: float
    clip: float  # public bounds of the rows of the features ...
    bound: float  # ... and of the targets

    @property
    def mu(self) -> float:
        """Sensitivity over sigma; the root of the sum of squares over several
        releases of the same data goes into `gaussian_epsilon`."""
        return sensitivity(self.clip, self.bound) / self.sigma

    @property
    def rho(self) -> float:
        """The same in zero-concentrated differential privacy, ``mu^2 / 2``: it adds."""
        return self.mu**2 / 2

    def solve(self, lam: float | None = None) -> Array:
        """Model (p, k) for `lam` (default: the one that the noise asks for)."""
        return solve(self.G, self.B, self.lam if lam is None else check_lam(lam))


def sensitivity(clip: float, bound: float) -> float:
    """Most that one sample moves (G, B), in Euclidean length.

    Notes
    -----
    Book: lem-sensitivity.
    """
    return clip * math.hypot(clip, bound)


def release(
    statistics: ClippedStatistics,
    epsilon: float,
    delta: float,
    rng: np.random.Generator,
    *,
    add_noise: AddNoise | None = None,
) -> Release:
    """Noisy sums of the samples that are (epsilon, delta)-private.

    Neighbours are data sets of which one has one sample more. The number of samples is
    not released. Public, and so not to be chosen by a look at the data, are: the
    feature map with its scaling, the bounds, the names and number of the classes.

    Parameters
    ----------
    statistics : ClippedStatistics
        Sums of clipped rows.
    epsilon, delta : float
        What may be spent; epsilon in nats, delta well below one over the number of
        samples.
    rng : numpy.random.Generator
        Where the noise comes from: ``numpy.random.default_rng()``, seeded by the
        operating system. Whoever knows a seed can take the noise away.
    add_noise : callable, optional
        ``(values, sigma) -> values with noise``, one-dimensional float64 arrays, in the
        place of `rng`: a sampler whose floating-point numbers leak nothing.

    Raises
    ------
    TypeError
        For statistics whose rows nobody clipped, and a seed in the place of `rng`.
    ValueError
        Where epsilon or delta is out of range.

    Notes
    -----
    Book: thm-release. Sources: Dwork et al. (2014) and Wang (2018) for noise on the
    sums, Balle and Wang (2018) for its scale.

    Examples
    --------
    >>> import numpy as np
    >>> Phi, Y = np.full((500, 1), 1.0), np.full((500, 1), 0.5)
    >>> sums = ClippedStatistics(1, 1).update(Phi, Y)
    >>> r = release(sums, 1.0, 1e-5, np.random.default_rng(0))
    >>> round(r.sigma, 3), round(float(r.solve()[0, 0]), 1)
    (5.276, 0.5)
    """
    if not isinstance(statistics, ClippedStatistics):
        raise TypeError(
            "release needs ClippedStatistics, whose rows are bounded; "
            f"got {type(statistics).__name__}: the noise would not cover a long row"
        )
    if add_noise is None:
        add_noise = gaussian_noise(rng)
    clip, bound = statistics.clip, statistics.bound
    sigma = noise_scale(epsilon, delta, sensitivity(clip, bound))
    G, B = noisy(statistics.G, statistics.B, sigma, add_noise)
    lam = sigma * math.sqrt(statistics.p) / 2
    return Release(nonnegative(G), B, lam, sigma, epsilon, delta, clip, bound)


def gaussian_noise(rng: np.random.Generator) -> AddNoise:
    """``add_noise`` of NumPy's generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng = {rng!r} must be a numpy.random.Generator, best "
            "numpy.random.default_rng(): whoever knows a seed can take the noise away"
        )
    return lambda values, sigma: values + sigma * rng.standard_normal(values.shape)


def noisy(G: Array, B: Array, sigma: float, add_noise: AddNoise) -> tuple[Array, Array]:
    """The sums with noise of standard deviation `sigma`, `G` averaged with its
    transpose: still symmetric, and with less noise off the diagonal. Stacks of sums
    (..., p, p), (..., p, k) are taken, too.
    """
    xp = array_namespace(G)
    parts = [_on_cpu(A) for A in (G, B)]
    values = add_noise(np.concatenate([A.ravel() for A in parts]), sigma)
    N, M = np.split(np.asarray(values), [parts[0].size])
    N = N.reshape(parts[0].shape)
    made = ((N + np.swapaxes(N, -1, -2)) / 2, M.reshape(parts[1].shape))
    return tuple(xp.asarray(A, dtype=G.dtype, device=device(G)) for A in made)


def nonnegative(G: Array) -> Array:
    """The positive semi-definite matrix nearest to `G`: negative eigenvalues become 0.

    Notes
    -----
    Book: thm-release.
    """
    xp = array_namespace(G)
    w, V = xp.linalg.eigh(G)
    root = V * xp.sqrt(xp.clip(w, 0.0, None))
    return root @ root.mT


def _on_cpu(A: Array) -> np.ndarray:
    return A.detach().cpu().numpy() if is_torch_array(A) else np.asarray(A)
