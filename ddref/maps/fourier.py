"""Random Fourier features and their right inverse: the image is a cube.

``phi(X) = sqrt(2/p) cos(X A + b)``. The inner product of two feature vectors
approximates a Gaussian kernel, the better the larger p. Every entry lies between
-sqrt(2/p) and sqrt(2/p), and for p <= d and `A` of full column rank every point of that
cube is reached. A distilled set stays exact when it is scaled into the cube as
``(c Phi_S, c Y_S, c^2 lam_S)``: trained with ``c^2 lam_S``, which at ``lam_S = 0`` is 0
again and helps nobody who trains with another lambda.

Gradients flow, except where a feature is at the boundary of the cube.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from ..arrays import (
    Array,
    check_arrays,
    check_count,
    check_lam,
    check_positive,
    check_shapes,
    eps_of,
    number,
)
from .activations import Activation
from .base import OTHERWISE, Chain, room_factors
from .linear import Linear
from .networks import as_like, drawn_by, generator, orthonormalised

MARGIN = 1e-3  # distance kept from the boundary, relative to the half-width of the cube


class Cosine(Activation):
    """``half_width * cos(x)``: every value of the closed range comes from many angles.

    Parameters
    ----------
    half_width : float
        Largest value, above 0.

    Notes
    -----
    Book: eq-fourier, thm-cube.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Cosine()
    >>> phi.preimage(np.array([[0.0]]), near=np.array([[8.0]])).round(6)  # 5 pi / 2
    array([[7.853982]])
    """

    kind, numbers, attained, margin = "Cosine", ("half_width",), True, MARGIN

    def __init__(self, half_width: float = 1.0):
        self.half_width = check_positive(half_width, "half_width")
        self.bounds = -self.half_width, self.half_width

    def forward(self, X: Array) -> Array:
        """``half_width * cos(x)``."""
        return self.half_width * array_namespace(X).cos(X)

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``+-arccos(z / half_width) + 2 pi j``, of all the nearest to `near`."""
        xp, near = array_namespace(Z), 0 * Z if near is None else near
        u, one = Z / self.half_width, xp.ones_like(Z)
        angle = xp.acos(xp.where(u > 1, one, xp.where(u < -1, -one, u)))
        turns = 2 * math.pi * xp.round(near / (2 * math.pi))
        return turns + xp.where(near < turns, -angle, angle)

    def check_reach(self, Phi: Array) -> None:
        """Refuse features outside, and count them; up to 8 eps outside count as on the
        boundary: phi itself may round that far.
        """
        xp, u = array_namespace(Phi), Phi / self.half_width
        size = number(xp.max(xp.abs(u)))
        if size > 1 + 8 * eps_of(Phi):
            outside = int(xp.sum(xp.astype(xp.abs(u) > 1, xp.int64)))
            raise ValueError(
                f"{outside} of {math.prod(Phi.shape)} features are outside the cube of "
                f"half-width sqrt(2/p) = {self.half_width:.4g}, the largest {size:.3g} "
                f"times as far out; scale the set by c = {(1 - MARGIN) / size:.4g}: "
                "(c Phi_S, c Y_S, c^2 lam_S), see into_cube"
            )

    def lipschitz(self) -> float:
        """The half-width."""
        return self.half_width


class RandomFourier(Chain):
    """``phi(X) = sqrt(2/p) cos(X A + b)``: a `Linear` and a `Cosine`.

    Onto the cube of half-width ``sqrt(2/p)`` for p <= d and `A` of full rank.

    Parameters
    ----------
    A : array (d, p)
        Frequencies, a column a feature.
    b : array (p,)
        Phases.
    rtol : float, optional
        Singular values of `A` up to `rtol` times the largest count as zero. Default:
        max(d, p) * eps of the dtype.

    Raises
    ------
    ValueError, TypeError
        For arrays that are not finite or do not fit. `preimage` refuses frequencies
        that have not full column rank, with their rank, and features outside the cube,
        with their number.

    Notes
    -----
    Book: eq-fourier, thm-cube. Source: Rahimi and Recht (2007); Chen, Huang and Weng
    (2024), Example 5.4.

    Examples
    --------
    >>> import numpy as np
    >>> phi = RandomFourier(np.array([[1.0], [0.0]]), np.array([0.0]))
    >>> phi(np.array([[0.0, 5.0]])).round(12)
    array([[1.41421356]])
    >>> phi.preimage(np.array([[0.0]]), near=np.array([[8.0, 5.0]])).round(6)
    array([[7.853982, 5.      ]])
    """

    kind, numbers, arrays, maps = "RandomFourier", ("rtol",), ("A", "b"), ()

    def __init__(self, A: Array, b: Array, *, rtol: float | None = None):
        layer = Linear(A, b, rtol=rtol)
        self.half_width = math.sqrt(2 / layer.output_dim)
        super().__init__([layer, Cosine(self.half_width)])
        self.A, self.b, self.rtol = layer.A, layer.b, rtol

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``near + (t - t_near) A^+``, where ``t = +-arccos(Z / sqrt(2/p)) + 2 pi j``
        is the nearest to ``t_near = near A + b``; `near` is zero where it is not given.
        """
        xp = array_namespace(Z)
        zero = xp.zeros_like(Z[:, :1]) + 0 * self.A[:1, :1]
        near = xp.repeat(zero, self.input_dim, axis=1) if near is None else near
        return super().inverse(Z, near)

    @property
    def rank(self) -> int:
        """Number of singular values of `A` above `rtol` times the largest."""
        return self.steps[0].rank

    def is_onto(self) -> bool:
        """False: the range is a cube, not R^p; see `is_onto_cube`, `range_scale`."""
        return False

    def is_onto_cube(self) -> bool:
        """Whether every point of the cube is the feature vector of some input."""
        return self.steps[0].is_onto()

    def check_reach(self, Phi: Array) -> None:
        """Refuse frequencies without full column rank, and features outside."""
        d, p = self.A.shape
        if not self.is_onto_cube():
            kind = (
                "more features than inputs" if p > d else "rank-deficient frequencies"
            )
            raise ValueError(
                f"cos(X A + b) with A of shape (d, p) = ({d}, {p}) and rank "
                f"{self.rank} is not onto the cube: {kind}; use p <= d, at most "
                f"{self.rank} columns; {OTHERWISE}"
            )
        self.steps[1].check_reach(Phi)


class CubeSet(NamedTuple):
    """A distilled set scaled into the cube of random Fourier features, see
    `into_cube`.
    """

    Phi_S: Array  # c times the features
    Y_S: Array  # c times the labels
    lam_S: float  # c^2 times lam_S
    c: float


def into_cube(
    Phi_S: Array, Y_S: Array, lam_S: float = 0.0, *, margin: float = MARGIN
) -> CubeSet:
    """The same model inside the cube: ``(c Phi_S, c Y_S, c^2 lam_S)``.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points.
    Y_S : array (m, k)
        Their labels.
    lam_S : float
        Regularisation used to train on them.
    margin : float
        Distance kept from the boundary of the cube, relative to its half-width
        ``sqrt(2/p)``. A larger margin moves points near real ones further; without any,
        rounding may leave the cube, and the arc cosine has no derivative.

    Returns
    -------
    CubeSet
        `Phi_S`, `Y_S`, `lam_S`, and c, the largest number up to 1 that leaves the
        margin.

    Raises
    ------
    ValueError
        For shapes that do not fit, a margin not in [0, 1).

    Notes
    -----
    Book: thm-cube. Exactness is kept for every c > 0: ``(c^2 G_S + c^2 lam_S I)^-1 c^2
    Phi_S^T Y_S`` does not depend on it. At ``lam_S = 0`` the set is exact for lambda 0
    whatever c is, which does not help who trains with another. To keep `lam_S` instead,
    scale the features alone and compute their labels with `distill.labels`.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S = np.array([[2.0, 0.0]])  # two features: the half-width is 1
    >>> into_cube(Phi_S, np.array([[3.0]]), 8.0, margin=0.5)
    CubeSet(Phi_S=array([[0.5, 0. ]]), Y_S=array([[0.75]]), lam_S=0.5, c=0.25)
    """
    xp, lam_S = check_arrays(Phi_S=Phi_S, Y_S=Y_S), check_lam(lam_S, "lam_S")
    check_shapes(Phi_S=(Phi_S, "mp"), Y_S=(Y_S, "mk"))
    half_width = math.sqrt(2 / Phi_S.shape[1])
    c = number(xp.min(room_factors(Phi_S, half_width, margin)))
    return CubeSet(c * Phi_S, c * Y_S, c**2 * lam_S, c)


def gaussian_features(
    d: int, p: int, bandwidth: float, *, seed: Any, like: Array | None = None
) -> RandomFourier:
    """Random Fourier features of the kernel ``exp(-||x - x'||^2 / (2 bandwidth^2))``.

    The frequencies are independent.

    Parameters
    ----------
    d, p : int
        Number of inputs and of features; p <= d is needed for pre-images.
    bandwidth : float
        sigma, in units of the inputs: the paper's sigma^2 = 1000 is
        ``math.sqrt(1000)``.
    seed : int or numpy.random.Generator
        Of the frequencies, N(0, 1/sigma^2), and the phases, uniform in [0, 2 pi).
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy,
        float64.

    Returns
    -------
    RandomFourier

    Raises
    ------
    ValueError, TypeError
        For counts below 1, a bandwidth that is not positive, no seed.

    Notes
    -----
    Book: eq-fourier. Source: Rahimi and Recht (2007); the choice of Chen, Huang and
    Weng (2024), Example 5.4. At p = d the frequencies are ill conditioned (1e3 to 1e4
    at 784): `orthogonal_features` stay nearer to real inputs.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> Phi = gaussian_features(2, 20000, 1.0, seed=0)(X)
    >>> bool(abs(Phi[0] @ Phi[1] - np.exp(-0.5)) < 0.02)
    True
    """
    d, p, rng = check_count(d, "d"), check_count(p, "p"), generator(seed)
    phi = _random_fourier(rng.normal(size=(d, p)), bandwidth, rng, like)
    options = {"d": d, "p": p, "bandwidth": float(bandwidth)}
    return drawn_by("gaussian_features", seed, phi, options)


def orthogonal_features(
    d: int, p: int, bandwidth: float, *, seed: Any, like: Array | None = None
) -> RandomFourier:
    """Random Fourier features of that kernel with orthogonal frequencies.

    They are well conditioned at p = d. Columns of a random orthogonal matrix, each with
    the length of a Gaussian vector of its own; for p > d, blocks of d. Every single
    frequency is distributed as in `gaussian_features`, so the kernel is approximated
    without bias, and with less variance.

    Parameters
    ----------
    d, p : int
        Number of inputs and of features; p <= d is needed for pre-images.
    bandwidth : float
        sigma, in units of the inputs.
    seed : int or numpy.random.Generator
        Of the frequencies and of the phases.
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy,
        float64.

    Returns
    -------
    RandomFourier

    Raises
    ------
    ValueError, TypeError
        For counts below 1, a bandwidth that is not positive, no seed.

    Notes
    -----
    Book: eq-orthogonal-features. Source: Yu, Suresh, Choromanski, Holtmann-Rice and
    Kumar (2016).

    Examples
    --------
    >>> import numpy as np
    >>> A = orthogonal_features(50, 50, 1.0, seed=0).A
    >>> bool(np.abs(A.T @ A - np.diag(np.diag(A.T @ A))).max() < 1e-12)
    True
    """
    d, p, rng = check_count(d, "d"), check_count(p, "p"), generator(seed)
    blocks = []
    for _ in range(-(-p // d)):  # of d columns each
        Q = orthonormalised(rng.normal(size=(d, d)))
        lengths = np.sqrt(rng.chisquare(d, size=d))  # of Gaussian vectors
        blocks.append(Q * lengths)
    A = np.concatenate(blocks, axis=1)[:, :p]
    phi = _random_fourier(A, bandwidth, rng, like)
    options = {"d": d, "p": p, "bandwidth": float(bandwidth)}
    return drawn_by("orthogonal_features", seed, phi, options)


def _random_fourier(A, bandwidth, rng, like):
    """Frequencies for bandwidth 1, scaled; phases drawn."""
    bandwidth = check_positive(bandwidth, "bandwidth")
    b = rng.uniform(0, 2 * math.pi, size=A.shape[1])
    return RandomFourier(as_like(A / bandwidth, like), as_like(b, like))
