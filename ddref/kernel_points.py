"""The best that given points can do for a kernel model, and which of the data to take.

For kernels with infinitely many features, such as the Gaussian one, no small set is exact. The function
``f = sum_i K(., x_i) alpha_i`` is then replaced by the nearest one of m points, in the norm of the kernel
``||f||^2 = trace(alpha^T K alpha)``. `labels` trains it, `errors` says how far away it is, `greedy` chooses points.

Gradients flow through PyTorch inputs; at ties of the eigenvalues of `K_SS` those of `labels` are NaN.
"""

import math
import operator
from typing import NamedTuple

from array_api_compat import array_namespace, device


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


class PointFit(NamedTuple):
    """Labels for given points, the coefficients they train, and how far the function is away, see `labels`."""

    Y_S: object  # (m, k)
    beta: object  # (m, k); the function is sum_s K(., z_s) beta_s
    error: float | None  # ||f - f_S|| / ||f|| in the norm of the kernel; None without squared_norm


def labels(K_SS, F_S, lam_S=0.0, *, squared_norm=None, rtol=None):
    """Labels with which points train the function nearest to f, whatever `lam_S`: ``Y_S = F_S + lam_S K_SS^+ F_S``.

    The coefficients are ``beta = K_SS^+ F_S``: the projection of f onto the functions of the points, known as Nystroem
    approximation. At ``lam_S = 0`` the labels are the values of f.

    Parameters
    ----------
    K_SS : array (m, m)
        Kernel matrix of the points, which may be anywhere.
    F_S : array (m, k)
        Values of f at the points: ``K(Z, X) @ alpha``.
    lam_S : float
        Regularisation that will be used to train on the set. It changes the labels, not the function.
    squared_norm : float, optional
        ``trace(alpha^T K alpha)``, for `error`.
    rtol : float, optional
        Eigenvalues of `K_SS` up to `rtol` times the largest count as zero. Default: m * eps of the dtype.

    Returns
    -------
    PointFit
        `Y_S` and `beta` (m, k), and the relative `error`: the root of a difference, so below sqrt(eps) it is rounding.

    Raises
    ------
    ValueError, TypeError
        For a `K_SS` that is not square, symmetric and positive semi-definite, shapes that do not fit, a `squared_norm`
        that is smaller than what the points explain.

    Notes
    -----
    Book: prop-points. With explicit features these are the labels of `ddref.labels_only.least_squares`.

    Examples
    --------
    >>> import numpy as np
    >>> labels(np.array([[1.0]]), np.array([[1.5]]), lam_S=2.0, squared_norm=3.0)  # 1.5 + 2 * 1.5; 1 - 2.25 / 3
    PointFit(Y_S=array([[4.5]]), beta=array([[1.5]]), error=0.5)
    """
    xp, lam_S = _check_points(K_SS, F_S), check_lam(lam_S, "lam_S")
    w, V = xp.linalg.eigh(K_SS)
    largest, rtol = _number(xp.max(xp.abs(w))), _rtol(xp, K_SS, rtol)
    if _number(w[0]) < -100 * _rtol(xp, K_SS, None) * largest:
        raise ValueError(
            f"K_SS is not positive semi-definite: its smallest eigenvalue is {_number(w[0]):.3g}, the largest "
            f"{_number(w[-1]):.3g}; pass the matrix of a kernel"
        )
    keep = w > rtol * largest
    gain = xp.where(keep, 1 / xp.where(keep, w, xp.ones_like(w)), xp.zeros_like(w))
    beta = V @ (gain[:, None] * (V.mT @ F_S))
    Y_S = F_S + lam_S * beta
    if squared_norm is None:
        return PointFit(Y_S, beta, None)
    left, total = _left(xp, xp.sum(F_S * beta), squared_norm)
    return PointFit(Y_S, beta, math.sqrt(_number(left) / total) if total else 0.0)


def errors(K_SS, F_S, squared_norm):
    """Relative errors of the first 0, 1, ..., m points with their best labels, from one Cholesky factor.

    With ``K_SS = L L^T`` in the order of the points and ``u = L^-1 F_S``, the first j points leave
    ``||f||^2 - ||u_1||^2 - ... - ||u_j||^2`` of the squared norm.

    Parameters
    ----------
    K_SS : array (m, m)
        Kernel matrix of the points, in their order: for training points ``K[np.ix_(order, order)]``.
    F_S : array (m, k)
        Values of f at the points: for training points ``(K @ alpha)[order]``.
    squared_norm : float
        ``trace(alpha^T K alpha)``.

    Returns
    -------
    array (m + 1,)
        From 1 downwards. The last ones, where the points explain all but sqrt(eps), are rounding.

    Raises
    ------
    ValueError, TypeError
        As `labels`, and when some point depends on those before it, so that `K_SS` is singular to rounding.

    Notes
    -----
    Book: eq-newton.

    Examples
    --------
    >>> import numpy as np
    >>> errors(np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([[1.5], [1.5]]), 3.0)
    array([1. , 0.5, 0. ])
    """
    xp = _check_points(K_SS, F_S)
    try:
        L = xp.linalg.cholesky(K_SS)
    except Exception as error:
        raise ValueError(
            f"K_SS of {K_SS.shape[0]} points is not positive definite: its smallest eigenvalue is "
            f"{_number(xp.linalg.eigvalsh(K_SS)[0]):.3g}; leave out points that depend on others, as greedy does"
        ) from error
    gains = xp.sum(xp.linalg.solve(L, F_S) ** 2, axis=1)
    left, total = _left(xp, xp.sum(gains), squared_norm)
    if not total:
        return xp.zeros((K_SS.shape[0] + 1,), dtype=K_SS.dtype, device=device(K_SS))
    # what the later points explain, summed from the last one: no cancellation
    tail = xp.flip(xp.cumulative_sum(xp.flip(gains, axis=0), include_initial=True), axis=0)
    return xp.sqrt((left + tail) / (left + tail[0]))


def greedy(K, F=None, *, m=None, rtol=None):
    """Order in which to take points: each the one of largest gain (with `F`), or the least explained (without).

    With `F` the next point is the one that lowers the error of `errors` most. Without it is the one whose function
    ``K(., x_i)`` the points before it explain least: pivoted Cholesky, which serves every model on the data alike.

    Parameters
    ----------
    K : array (n, n)
        Kernel matrix of the candidates.
    F : array (n, k), optional
        Values of f at the candidates: ``K @ alpha``.
    m : int, optional
        Number of points. Default: as many as are independent.
    rtol : float, optional
        A point counts as dependent when less than `rtol` times the largest diagonal entry of `K` is left of its own,
        or less than rounding: n * eps, divided by the smallest such fraction taken before. Default: n * eps.

    Returns
    -------
    integer array (m,)
        Row numbers of `K`. The first j of them are what ``m=j`` gives.

    Raises
    ------
    ValueError, TypeError
        For a `K` that is not square, symmetric and positive semi-definite, shapes that do not fit, an `m` below 1
        or above the number of independent points.

    Notes
    -----
    Book: eq-gain. n m (m + k) operations and an n x m array. For a kernel with finitely many features the independent
    points are exact: as many as its rank.

    Examples
    --------
    >>> import numpy as np
    >>> K = np.diag([1.0, 4.0, 2.0])
    >>> greedy(K)
    array([1, 2, 0])
    >>> greedy(K, np.array([[3.0], [4.0], [0.0]]), m=2)  # gains 9, 4 and 0
    array([0, 1])
    """
    xp = _check_points(K, F, "K", "F")
    n, m = K.shape[0], None if m is None else _count(m)
    V = xp.zeros((n, n if m is None else min(n, m)), dtype=K.dtype, device=device(K))
    P, R, order = xp.linalg.diagonal(K), F, []  # P: what is left of each point's own, R: of f at the points
    if (size := _number(xp.max(xp.abs(K)))) > 1.001 * _number(xp.max(P)):
        raise ValueError(
            f"K is not positive semi-definite: an entry of size {size:.3g} exceeds all on its diagonal, at most "
            f"{_number(xp.max(P)):.3g}; pass the matrix of a kernel"
        )
    largest, rtol, eps = _number(xp.max(P)), _rtol(xp, K, rtol), _rtol(xp, K, None)
    noise = eps * largest  # of P: grows with the largest ratio of a diagonal entry to a pivot taken
    for j in range(V.shape[1]):
        if _number(xp.min(P)) < -100 * noise:
            raise ValueError(f"K is not positive semi-definite: {_number(xp.min(P)):.3g} is left on its diagonal after "
                             f"{j} points; pass the matrix of a kernel")  # fmt: skip
        free = (P > max(rtol * largest, noise)) & (P < math.inf)
        if not bool(xp.any(free)):
            break
        gain = P if R is None else xp.sum(R**2, axis=1) / xp.where(free, P, xp.ones_like(P))
        i = int(xp.argmax(xp.where(free, gain, -xp.ones_like(P))))
        v = (K[:, i] - V[:, :j] @ V[i, :j]) / P[i] ** 0.5
        R = None if R is None else R - v[:, None] * (R[i, :] / P[i] ** 0.5)
        P = P - v**2
        noise = max(noise, eps * largest * (largest / _number(v[i]) ** 2))
        V[:, j], P[i] = v, math.inf  # taken
        order.append(i)
    if m is not None and len(order) < m:
        raise ValueError(
            f"m = {m} points were asked for, but only {len(order)} of the {n} are independent; "
            f"pass m={len(order)}, these reach every function of all {n}"
        )
    return xp.asarray(order, dtype=xp.int64, device=device(K))


def _check_points(K, F, name="K_SS", name_F="F_S"):
    xp = check_arrays(**{name: K, name_F: F})
    if K.shape[0] != K.shape[1]:
        raise ValueError(f"{name} must be square, its shape is {tuple(K.shape)}")
    if F is not None and F.shape[0] != K.shape[0]:
        raise ValueError(f"{name} has {K.shape[0]} rows and {name_F} has {F.shape[0]}; rows are points and must match")
    size, gap = _number(xp.max(xp.abs(K))), _number(xp.max(xp.abs(K - K.mT)))
    if gap > 100 * K.shape[0] * float(xp.finfo(K.dtype).eps) * size:
        raise ValueError(
            f"{name} is not symmetric: entries differ from their mirror image by {gap:.3g}, the largest is {size:.3g}"
        )
    return xp


def _left(xp, explained, squared_norm):
    """What the points leave of the squared norm, and that; refused where they explain more than there is."""
    total, eps = check_lam(squared_norm, "squared_norm"), float(xp.finfo(explained.dtype).eps)
    if _number(explained) > total * (1 + 100 * math.sqrt(eps)):
        raise ValueError(
            f"the points explain {_number(explained):.6g}, more than squared_norm = {total:.6g}: pass "
            "trace(alpha^T K alpha) of the function whose values F_S are, and leave out points that depend on others"
        )
    return xp.where(explained < total, total - explained, xp.zeros_like(explained)), total


def _rtol(xp, A, rtol):
    """Rank cutoff relative to the largest singular value; default max(shape) * eps of the dtype."""
    return max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")


def _count(value):
    try:
        value = operator.index(value)
    except TypeError as error:
        raise TypeError(f"m must be an integer, got {value!r}") from error
    if value < 1:
        raise ValueError(f"m = {value} must be at least 1")
    return value


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
