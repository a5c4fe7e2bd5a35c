"""Random Fourier features and their right inverse: the image is a cube, so distilled sets are scaled into it.

``phi(X) = sqrt(2/p) cos(X A + b)``. The inner product of two feature vectors approximates a Gaussian kernel, the better
the larger p. Every entry lies between -sqrt(2/p) and sqrt(2/p), and for p <= d and `A` of full column rank every
point of that cube is reached. A distilled set stays exact when it is scaled into the cube as
``(c Phi_S, c Y_S, c^2 lam_S)``.

Gradients flow through PyTorch inputs, except where a feature is at the boundary of the cube.
"""

import math
import operator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

MARGIN = 1e-3  # distance kept from the boundary of the cube, relative to its half-width


# -- input checks (the same lines in every room, so that each can be copied alone)
def check_arrays(**arrays):
    """Array namespace of 2-D, non-empty, finite, real arrays of one library, dtype and device."""
    arrays = {name: A for name, A in arrays.items() if A is not None}
    names = ", ".join(arrays)
    try:
        xp = array_namespace(*arrays.values())
    except TypeError as error:
        kinds = ", ".join(f"{name}: {type(A).__module__}.{type(A).__name__}" for name, A in arrays.items())
        raise TypeError(f"NumPy or PyTorch arrays of one library are needed, got {kinds}") from error
    for name, A in arrays.items():
        if A.dtype not in (xp.float32, xp.float64):
            raise TypeError(f"{name} has dtype {A.dtype}; convert it to float64 (or float32) first")
        if A.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions, rows are samples; its shape is {tuple(A.shape)}")
        if 0 in A.shape:
            raise ValueError(f"{name} is empty: its shape is {tuple(A.shape)}")
        if not bool(xp.all(xp.isfinite(A))):
            raise ValueError(f"{name} contains NaN or Inf")
    if len({str(A.dtype) for A in arrays.values()}) > 1:
        raise TypeError(f"{names} differ in dtype: {', '.join(str(A.dtype) for A in arrays.values())}")
    if len({str(device(A)) for A in arrays.values()}) > 1:
        raise ValueError(f"{names} are on different devices: {', '.join(str(device(A)) for A in arrays.values())}")
    return xp


def check_lam(lam, name="lam"):
    """`lam` as a float, refused when negative, NaN or infinite."""
    try:
        value = float(lam)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {type(lam).__name__}") from error
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} = {value} must be finite and not negative")
    return value


# -- end of input checks


class RandomFourier:
    """``phi(X) = sqrt(2/p) cos(X A + b)``, onto the cube of half-width ``sqrt(2/p)`` for p <= d and full rank.

    Parameters
    ----------
    A : array (d, p)
        Frequencies, a column a feature.
    b : array (p,)
        Phases.
    rtol : float, optional
        Singular values of `A` up to `rtol` times the largest count as zero. Default: max(d, p) * eps of the dtype.

    Raises
    ------
    ValueError, TypeError
        For arrays that are not finite or do not fit. `preimage` refuses frequencies that have not full column rank,
        with their rank, and features outside the cube, with their number.

    Notes
    -----
    Book: eq-fourier, thm-cube. Source: Rahimi and Recht (2007); Chen, Huang and Weng (2024), Example 5.4.

    Examples
    --------
    >>> import numpy as np
    >>> phi = RandomFourier(np.array([[1.0], [0.0]]), np.array([0.0]))
    >>> phi(np.array([[0.0, 5.0]])).round(12)
    array([[1.41421356]])
    >>> phi.preimage(np.array([[0.0]]), near=np.array([[8.0, 5.0]])).round(6)  # cos is 0 at 5 pi / 2 = 7.853982
    array([[7.853982, 5.      ]])
    """

    def __init__(self, A, b, *, rtol=None):
        xp = check_arrays(A=A)
        if tuple(b.shape) not in ((A.shape[1],), (1, A.shape[1])):
            raise ValueError(f"b must have shape ({A.shape[1]},), it is {tuple(b.shape)}; A is {tuple(A.shape)}")
        self.A, self.b = A, xp.reshape(b, (1, -1))
        check_arrays(A=A, b=self.b)
        self.input_dim, self.output_dim = A.shape
        self.half_width = math.sqrt(2 / self.output_dim)
        self.rtol = max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")

    @cached_property
    def svd(self):
        """U (d, q), s (q,), V^T (q, p) of `A`, q = min(d, p); computed on first use and kept."""
        return array_namespace(self.A).linalg.svd(self.A, full_matrices=False)

    @property
    def rank(self):
        """Number of singular values of `A` above `rtol` times the largest."""
        return sum(float(s) > self.rtol * float(self.svd[1][0]) for s in self.svd[1])

    def is_onto(self):
        """False: the range is a cube, not R^p. See `is_onto_cube` and `range_scale`."""
        return False

    def is_onto_cube(self):
        """Whether every point of the cube is the feature vector of some input: rank p, so p <= d."""
        return self.output_dim <= self.input_dim and self.rank == self.output_dim

    def range_scale(self, Phi, *, margin=MARGIN):
        """Largest c <= 1, one a row (m, 1), for which ``c * Phi`` is in the cube and keeps the margin.

        Rows may be scaled one by one where the labels are computed afterwards (`distill.labels`): what the rows span
        stays. Where labels are given, all rows need the smallest of them, see `into_cube`.
        """
        xp = check_arrays(Phi=Phi)
        self._check_width(Phi, self.output_dim, "Phi")
        size, room = xp.max(xp.abs(Phi), axis=1, keepdims=True), (1 - _check_margin(margin)) * self.half_width
        return xp.where(size > room, room / xp.where(size > 0, size, xp.ones_like(size)), xp.ones_like(size))

    def __call__(self, X):
        """Features (n, p) of `X` (n, d)."""
        xp = check_arrays(X=X, A=self.A)
        self._check_width(X, self.input_dim, "X")
        return self.half_width * xp.cos(X @ self.A + self.b)

    def preimage(self, Phi, near=None):
        """Inputs (n, d) with features `Phi` (n, p), on the branch of the arc cosine nearest to `near` (n, d).

        ``t = +-arccos(Phi / sqrt(2/p)) + 2 pi j`` nearest to ``t_near = near A + b``, then
        ``near + (t - t_near) A^+``; `near` is zero where it is not given. The residual of ``X A + b = t`` is pulled
        back once more. Features up to 8 eps outside the cube count as on its boundary (phi itself may round that far).
        """
        xp = check_arrays(Phi=Phi, near=near, A=self.A)
        d, p = self.A.shape
        self._check_width(Phi, p, "Phi")
        if near is not None and tuple(near.shape) != (Phi.shape[0], d):
            raise ValueError(f"near has shape {tuple(near.shape)}, one input a row of Phi is needed: {Phi.shape[0], d}")
        if not self.is_onto_cube():
            why = "more features than inputs" if p > d else "rank-deficient frequencies"
            raise ValueError(
                f"cos(X A + b) with A of shape (d, p) = ({d}, {p}) and rank {self.rank} is not onto the cube: {why}; "
                f"use p <= d with A of full column rank, for instance at most {self.rank} columns"
            )
        u = Phi / self.half_width
        size = _number(xp.max(xp.abs(u)))
        if size > 1 + 8 * float(xp.finfo(Phi.dtype).eps):
            outside = int(xp.sum(xp.astype(xp.abs(u) > 1, xp.int64)))
            raise ValueError(
                f"{outside} of {math.prod(Phi.shape)} features are outside the cube of half-width sqrt(2/p) = "
                f"{self.half_width:.4g}, the largest {size:.3g} times as far out; scale the set by c = "
                f"{(1 - MARGIN) / size:.4g}: (c Phi_S, c Y_S, c^2 lam_S), see into_cube"
            )
        one = xp.ones_like(u)
        angle = xp.acos(xp.where(u > 1, one, xp.where(u < -1, -one, u)))
        X = xp.zeros((Phi.shape[0], d), dtype=Phi.dtype, device=device(Phi)) if near is None else near
        t_near = X @ self.A + self.b
        turns = 2 * math.pi * xp.round(t_near / (2 * math.pi))
        t = turns + xp.where(t_near < turns, -angle, angle)
        U, s, Vh = self.svd
        for _ in range(2):  # the second time round, near is the answer and the correction is of the size of rounding
            X = X + ((t - (X @ self.A + self.b)) @ Vh.mT / s) @ U.mT
        return X

    @staticmethod
    def _check_width(A, width, name):
        if A.shape[1] != width:
            raise ValueError(f"{name} has {A.shape[1]} columns, this map needs {width}: its shape is {tuple(A.shape)}")


class CubeSet(NamedTuple):
    """A distilled set scaled into the cube of random Fourier features, see `into_cube`."""

    Phi_S: object  # c times the features
    Y_S: object  # c times the labels
    lam_S: float  # c^2 times lam_S
    c: float


def into_cube(Phi_S, Y_S, lam_S=0.0, *, margin=MARGIN):
    """The same model from features that random Fourier features reach: ``(c Phi_S, c Y_S, c^2 lam_S)``.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points.
    Y_S : array (m, k)
        Their labels.
    lam_S : float
        Regularisation used to train on them.
    margin : float
        Distance kept from the boundary of the cube, relative to its half-width ``sqrt(2/p)``. A larger margin moves
        points near real ones further; without any, rounding may leave the cube, and the arc cosine has no derivative.

    Returns
    -------
    CubeSet
        `Phi_S`, `Y_S`, `lam_S`, and c, the largest number up to 1 that leaves the margin.

    Raises
    ------
    ValueError
        For shapes that do not fit, a margin not in [0, 1).

    Notes
    -----
    Book: thm-cube. Exactness is kept for every c > 0:
    ``(c^2 G_S + c^2 lam_S I)^-1 c^2 Phi_S^T Y_S`` does not depend on it. To keep `lam_S` instead, scale the features
    alone and compute their labels with `distill.labels`.

    Examples
    --------
    >>> import numpy as np
    >>> into_cube(np.array([[2.0, 0.0]]), np.array([[3.0]]), 8.0, margin=0.5)  # half-width 1
    CubeSet(Phi_S=array([[0.5, 0. ]]), Y_S=array([[0.75]]), lam_S=0.5, c=0.25)
    """
    xp, lam_S, margin = check_arrays(Phi_S=Phi_S, Y_S=Y_S), check_lam(lam_S, "lam_S"), _check_margin(margin)
    if Phi_S.shape[0] != Y_S.shape[0]:
        raise ValueError(f"Phi_S has {Phi_S.shape[0]} rows and Y_S has {Y_S.shape[0]}; rows are samples and must match")
    size, room = _number(xp.max(xp.abs(Phi_S))), (1 - margin) * math.sqrt(2 / Phi_S.shape[1])
    c = room / size if size > room else 1.0
    return CubeSet(c * Phi_S, c * Y_S, c**2 * lam_S, c)


def gaussian_features(d, p, bandwidth, *, seed, like=None):
    """Random Fourier features of the Gaussian kernel ``exp(-||x - x'||^2 / (2 bandwidth^2))``, independent frequencies.

    Parameters
    ----------
    d, p : int
        Number of inputs and of features; p <= d is needed for pre-images.
    bandwidth : float
        sigma, in units of the inputs: the paper's sigma^2 = 1000 is ``math.sqrt(1000)``.
    seed : int or numpy.random.Generator
        Of the frequencies, N(0, 1/sigma^2), and the phases, uniform in [0, 2 pi).
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy, float64.

    Returns
    -------
    RandomFourier

    Raises
    ------
    ValueError, TypeError
        For counts below 1, a bandwidth that is not positive, no seed.

    Notes
    -----
    Book: eq-fourier. Source: Rahimi and Recht (2007); the choice of Chen, Huang and Weng (2024), Example 5.4. At p = d
    the frequencies are ill conditioned (1e3 to 1e4 at 784): `orthogonal_features` stay nearer to real inputs.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> Phi = gaussian_features(2, 20000, 1.0, seed=0)(X)
    >>> bool(abs(Phi[0] @ Phi[1] - np.exp(-0.5)) < 0.02)
    True
    """
    d, p, rng = _count(d, "d"), _count(p, "p"), np.random.default_rng(_seed(seed))
    return _random_fourier(rng.normal(size=(d, p)), bandwidth, rng, like)


def orthogonal_features(d, p, bandwidth, *, seed, like=None):
    """Random Fourier features of the same Gaussian kernel with orthogonal frequencies: well conditioned at p = d.

    Columns of a random orthogonal matrix, each with the length of a Gaussian vector of its own; for p > d, blocks of d.
    Every single frequency is distributed as in `gaussian_features`, so the kernel is approximated without bias, and
    with less variance.

    Parameters
    ----------
    d, p : int
        Number of inputs and of features; p <= d is needed for pre-images.
    bandwidth : float
        sigma, in units of the inputs.
    seed : int or numpy.random.Generator
        Of the frequencies and of the phases.
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy, float64.

    Returns
    -------
    RandomFourier

    Raises
    ------
    ValueError, TypeError
        For counts below 1, a bandwidth that is not positive, no seed.

    Notes
    -----
    Book: eq-orthogonal-features. Source: Yu, Suresh, Choromanski, Holtmann-Rice and Kumar (2016).

    Examples
    --------
    >>> import numpy as np
    >>> A = orthogonal_features(50, 50, 1.0, seed=0).A
    >>> bool(np.abs(A.T @ A - np.diag(np.diag(A.T @ A))).max() < 1e-12)
    True
    """
    d, p, rng = _count(d, "d"), _count(p, "p"), np.random.default_rng(_seed(seed))
    blocks = []
    for _ in range(-(-p // d)):
        Q, R = np.linalg.qr(rng.normal(size=(d, d)))
        blocks.append(Q * np.where(np.diag(R) < 0, -1.0, 1.0) * np.sqrt(rng.chisquare(d, size=d)))
    return _random_fourier(np.concatenate(blocks, axis=1)[:, :p], bandwidth, rng, like)


def _random_fourier(A, bandwidth, rng, like):
    """Frequencies for bandwidth 1, scaled; phases drawn."""
    bandwidth = check_lam(bandwidth, "bandwidth")
    if bandwidth == 0:
        raise ValueError("bandwidth = 0 must be positive")
    A, b = A / bandwidth, rng.uniform(0, 2 * math.pi, size=A.shape[1])
    if like is not None:
        A, b = (array_namespace(like).asarray(C, dtype=like.dtype, device=device(like)) for C in (A, b))
    return RandomFourier(A, b)


def _check_margin(margin):
    value = check_lam(margin, "margin")
    if value >= 1:
        raise ValueError(f"margin = {value} must be below 1: nothing is left of the cube")
    return value


def _seed(seed):
    if seed is None:
        raise TypeError("seed must be an integer or a numpy.random.Generator, so that the features can be drawn again")
    return seed


def _count(value, name):
    try:
        value = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {value!r}") from error
    if value < 1:
        raise ValueError(f"{name} = {value} must be at least 1")
    return value


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
