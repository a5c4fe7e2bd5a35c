"""Exact distilled sets for a model with an unpenalised intercept: ``f = phi W + b``.

Training with an intercept is training without one on features and labels minus their means, and the intercept puts the
means back. Subtracting a mean costs a point, so a set needs rank(W) + 1 points: m centred rows are m - 1 free ones.

Gradients flow through PyTorch inputs where the singular values involved are distinct; at ties they are NaN.
"""

import math
import warnings
from typing import NamedTuple

from array_api_compat import array_namespace, device

W_RTOL = 1e-10  # default cutoff for the rank of W: below it, singular values of a fitted W are rounding


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


class Model(NamedTuple):
    """A model with an intercept: predictions are ``Phi @ W + b``."""

    W: object  # (p, k)
    b: object  # (1, k)


class InterceptSet(NamedTuple):
    """A distilled set: training on it with an unpenalised intercept and `lam_S` gives the model it was made for."""

    Phi_S: object  # (m, p)
    Y_S: object  # (m, k)
    lam_S: float


def fit(Phi, Y, lam):
    """Ridge regression with an unpenalised intercept: minimises ``||Phi W + 1 b - Y||^2 + lam ||W||^2``.

    Parameters
    ----------
    Phi : array (n, p)
        Features, rows are samples.
    Y : array (n, k)
        Targets.
    lam : float
        Regularisation of `W`, added to the diagonal as given.

    Returns
    -------
    Model
        `W` (p, k) and `b` (1, k).

    Raises
    ------
    ValueError, TypeError
        For mismatched or unusable arrays, a bad `lam`.

    Notes
    -----
    Book: thm-intercept. scikit-learn's twin is ``Ridge(alpha=lam)``. Solved by an SVD, of which nothing is cut at
    ``lam > 0`` and at ``lam = 0`` what is rounding in the features before centring. For many samples centre them and
    use `krr.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> W, b = fit(np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]]), 0.0)
    >>> W.round(12), b.round(12)
    (array([[2.]]), array([[3.]]))
    """
    xp, lam = check_arrays(Phi=Phi, Y=Y), check_lam(lam)
    if Phi.shape[0] != Y.shape[0]:
        raise ValueError(f"Phi has {Phi.shape[0]} rows and Y has {Y.shape[0]}; rows are samples and must match")
    (Phi_c, mean), (Y_c, mean_Y) = _centre(xp, Phi), _centre(xp, Y)
    U, t, Vh, _ = _svd(xp, Phi_c, Phi, 0.0 if lam > 0 else None)
    W = Vh.mT @ ((U.mT @ Y_c) / (t + lam / t)[:, None])
    return Model(W, mean_Y - mean @ W)


def labels(Phi_S, W, b, lam_S=0.0, *, rtol=None, span_tol=None):
    """Labels that make the features `Phi_S` an exact distilled set for ``phi W + b``, for any ``lam_S >= 0``.

    ``Y_S = Phi_S W + 1 b + lam_S (Phi_c^+)^T W`` with `Phi_c` the centred features: the predictions of the model, and
    at ``lam_S > 0`` what makes up for the shrinking. Works if and only if the rows of `Phi_c` span the columns of `W`.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points, rows are samples.
    W : array (p, k)
        Model to reproduce.
    b : array (1, k) or (k,)
        Its intercept.
    lam_S : float
        Regularisation of `W` that will be used to train on the distilled set.
    rtol : float, optional
        Rank cutoff of the centred features relative to the largest singular value of `Phi_S`. Default: max(m, p) * eps.
    span_tol : float, optional
        How much of `W` may be missing from the span of the centred rows, relative to its norm. Default: what rounding
        in `Phi_S` can do, 100 * eps * ||Phi_S|| / t_min (t_min the smallest singular value kept), at most sqrt(eps).

    Returns
    -------
    array (m, k)

    Raises
    ------
    ValueError
        When the centred rows do not span the columns of `W`, for instance m <= rank(W); the message names the missing
        fraction.

    Notes
    -----
    Book: thm-intercept.

    Examples
    --------
    >>> import numpy as np
    >>> labels(np.array([[1.0], [3.0]]), np.array([[2.0]]), np.array([[3.0]]))
    array([[5.],
           [9.]])
    """
    b = b.reshape(1, -1) if getattr(b, "ndim", 2) == 1 else b
    xp, lam_S = check_arrays(Phi_S=Phi_S, W=W, b=b), check_lam(lam_S, "lam_S")
    _check_model(Phi_S, W, b, "Phi_S")
    Phi_c, _ = _centre(xp, Phi_S)
    U, t, Vh, size = _svd(xp, Phi_c, Phi_S, rtol)
    inside = Vh @ W
    missing = _norm(xp, W - Vh.mT @ inside) / (_norm(xp, W) or 1.0)
    if span_tol is None:
        eps = float(xp.finfo(W.dtype).eps)
        span_tol = min(100 * eps * size / _number(t[-1]), math.sqrt(eps)) if t.shape[0] else 0.0
    span_tol = check_lam(span_tol, "span_tol")
    if missing > span_tol:
        r, (A, s, Bh) = _rank(xp, W, None), xp.linalg.svd(W, full_matrices=False)
        kept = (A[:, :r] * s[:r]) @ Bh[:r, :]  # W without what is below its rank cutoff
        if _norm(xp, kept - Vh.mT @ (Vh @ kept)) <= span_tol * _norm(xp, W):
            warnings.warn(f"a fraction {missing:.2g} of W, below its rank cutoff, is lost", stacklevel=2)
            missing = 0.0
    if missing > span_tol:
        lost = float(xp.finfo(W.dtype).eps) * size / _number(t[-1]) if t.shape[0] >= max(r, 1) else 0.0
        blame = (
            f", or, as rounding in Phi_S costs about {lost:.1g} here, float64, a smaller mean, better conditioned rows"
        )
        raise ValueError(
            f"the {Phi_S.shape[0]} rows of Phi_S, centred (rank {t.shape[0]}), miss a fraction {missing:.3g} of W "
            f"(rank {r}), more than span_tol = {span_tol:.3g}: no labels make them exact with an intercept; use at "
            f"least {r + 1} rows that span the columns of W after centring" + (blame if lost > 0.01 * span_tol else "")
        )
    return Phi_S @ W + b if lam_S == 0 else Phi_S @ W + b + lam_S * (U @ (inside / t[:, None]))


def contrasts(Phi):
    """The m - 1 free rows behind m centred ones: ``J Phi``, J (m - 1, m) with orthonormal rows that sum to zero.

    Singular values and row space are those of the centred `Phi`. A set of m points is exact with an intercept if and
    only if its contrasts are exact without one, and it is as far from `Phi` as the contrasts and the means are.

    Parameters
    ----------
    Phi : array (m, p)
        Features, rows are samples; at least 2.

    Returns
    -------
    array (m - 1, p)

    Raises
    ------
    ValueError
        For a single row.

    Notes
    -----
    Book: thm-intercept. J is the lower part of the Householder reflection that sends 1 to a multiple of the first unit
    vector.

    Examples
    --------
    >>> import numpy as np
    >>> contrasts(np.array([[1.0], [3.0]])).round(6)  # (3 - 1) / sqrt(2)
    array([[1.414214]])
    """
    xp = check_arrays(Phi=Phi)
    if Phi.shape[0] < 2:
        raise ValueError("Phi has 1 row: nothing is left of it after centring; use 2 rows or more")
    return _reflect(xp, Phi - xp.mean(Phi, axis=0, keepdims=True))[1:, :]


def exact_set(Phi_0, W, b, lam_S=0.0, *, choose=None, rtol=None):
    """Exact distilled set for ``phi W + b`` with the mean of `Phi_0`, its features chosen by a function or left alone.

    With ``choose=nearest.nearest`` it is the exact set nearest to `Phi_0`: mean and contrasts are orthogonal parts, the
    mean need not move, and the contrasts are m - 1 points without an intercept.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to start from, rows are samples; m is at least rank(W) + 1.
    W : array (p, k)
        Model to reproduce.
    b : array (1, k) or (k,)
        Its intercept.
    lam_S : float
        Regularisation of `W` that will be used to train on the distilled set.
    choose : callable, optional
        ``choose(A, W)`` takes the contrasts A (m - 1, p) and returns features of that shape whose rows span the columns
        of `W`: `nearest.nearest`, or ``lambda A, W: gauge.orthonormal(W, len(A))``. Default: `Phi_0` is kept, and must
        span `W` after centring.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value, for counting points. Default: 1e-10, or max(p, k) *
        eps where larger. `choose` and the labels have their own.

    Returns
    -------
    InterceptSet
        `Phi_S` (m, p), `Y_S` (m, k), `lam_S`.

    Raises
    ------
    ValueError
        For m <= rank(W), for features that do not span the columns of `W` after centring.

    Notes
    -----
    Book: thm-intercept. One-hot targets with an intercept give rank(W) = k - 1, so k points; one real-valued target
    needs 2.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S, Y_S, lam_S = exact_set(np.array([[1.0], [3.0]]), np.array([[2.0]]), np.array([[3.0]]))
    >>> fit(Phi_S, Y_S, lam_S).W.round(12)
    array([[2.]])
    """
    b = b.reshape(1, -1) if getattr(b, "ndim", 2) == 1 else b
    xp, lam_S = check_arrays(Phi_0=Phi_0, W=W, b=b), check_lam(lam_S, "lam_S")
    _check_model(Phi_0, W, b, "Phi_0")
    m, r = Phi_0.shape[0], _rank(xp, W, rtol)
    if m <= r:
        raise ValueError(
            f"Phi_0 has {m} rows and W has rank {r}: with an intercept no exact set has fewer than {r + 1} points; "
            f"use {r + 1} rows or more, or a model of lower rank"
        )
    Phi_S = 1 * Phi_0  # a copy
    if choose is not None and m > 1:
        A = contrasts(Phi_0)
        chosen = choose(A, W)
        check_arrays(W=W, chosen=chosen)
        if chosen.shape != A.shape:
            raise ValueError(f"choose must return features of shape {tuple(A.shape)}, got {tuple(chosen.shape)}")
        Phi_S = Phi_0 + _reflect(xp, xp.concat([xp.zeros_like(A[:1, :]), chosen - A], axis=0))
    return InterceptSet(Phi_S, labels(Phi_S, W, b, lam_S), lam_S)


def _reflect(xp, A):
    """The Householder reflection that swaps 1 / sqrt(m) and minus the first unit vector, applied to the rows of A."""
    m = A.shape[0]
    first = xp.arange(m, device=device(A))[:, None] == 0
    v = xp.astype(first, A.dtype) + 1 / math.sqrt(m)  # no cancellation with this sign
    return A - v * ((v.mT @ A) / (1 + 1 / math.sqrt(m)))  # v^T v / 2 = 1 + 1 / sqrt(m)


def _centre(xp, A):
    """A minus its mean row, and that row; centred twice, so that a large mean leaves no trace."""
    mean = xp.mean(A, axis=0, keepdims=True)
    rest = A - mean
    more = xp.mean(rest, axis=0, keepdims=True)
    return rest - more, mean + more


def _svd(xp, A, whole, rtol):
    """SVD U, t, V^T of A without singular values that are rounding in the uncentred matrix, and the norm of that."""
    U, t, Vh = xp.linalg.svd(A, full_matrices=False)
    size = _number(xp.linalg.svdvals(whole)[0])
    cut = size * (max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol"))
    rank = int(xp.sum(xp.astype(t > cut, xp.int64)))
    return U[:, :rank], t[:rank], Vh[:rank, :], size


def _rank(xp, W, rtol):
    """Numerical rank of W, by default with the cutoff 1e-10."""
    default = max(W_RTOL, max(W.shape) * float(xp.finfo(W.dtype).eps))
    s = xp.linalg.svdvals(W)
    return int(xp.sum(xp.astype(s > (default if rtol is None else check_lam(rtol, "rtol")) * s[0], xp.int64)))


def _check_model(Phi, W, b, name):
    if Phi.shape[1] != W.shape[0] or tuple(b.shape) != (1, W.shape[1]):
        shapes = tuple(Phi.shape), tuple(W.shape), tuple(b.shape)
        raise ValueError(f"{name} (m, p), W (p, k), b (1, k) do not fit: " + "{}, {}, {}".format(*shapes))


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
