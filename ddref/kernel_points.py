"""The best that given points can do for a kernel model, and which of the data to take.

For kernels with infinitely many features, such as the Gaussian one, no small set is
exact. The function ``f = sum_i K(., x_i) alpha_i`` is then replaced by the nearest one
of m points, in the norm of the kernel ``||f||^2 = trace(alpha^T K alpha)``. `labels`
trains it, `errors` says how far away it is, `greedy` chooses points; `merge_equal`
merges equal ones. The usual names are kernel interpolation (Newton basis, power
function) and f/P-greedy or P-greedy points.

Gradients flow through PyTorch inputs; at ties of the eigenvalues of `K_SS` those of
`labels` are NaN.
"""

import math
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    check_arrays,
    check_count,
    check_lam,
    check_shapes,
    check_symmetric,
    eps_of,
    number,
    semidefinite_eigh,
)


class PointFit(NamedTuple):
    """Labels for given points, the coefficients they train, and how far the function is
    away, see `labels`.
    """

    Y_S: Array  # (m, k)
    beta: Array  # (m, k); the function is sum_s K(., z_s) beta_s
    error: (
        float | None
    )  # ||f - f_S|| / ||f|| in the norm of the kernel; None without squared_norm


def labels(
    K_SS: Array,
    F_S: Array,
    lam_S: float = 0.0,
    *,
    squared_norm: float | None = None,
) -> PointFit:
    """Labels with which points train the function nearest to f, whatever `lam_S`.

    ``Y_S = F_S + lam_S K_SS^+ F_S``. The coefficients are ``beta = K_SS^+ F_S``: the
    projection of f onto the functions of the points, which agrees with f at the points:
    kernel interpolation. At ``lam_S = 0`` the labels are the values of f. Eigenvalues
    of `K_SS` up to m * eps times the largest count as zero.

    Parameters
    ----------
    K_SS : array (m, m)
        Kernel matrix of the points, which may be anywhere.
    F_S : array (m, k)
        Values of f at the points: ``K(Z, X) @ alpha``.
    lam_S : float
        Regularisation that will be used to train on the set. It changes the labels, not
        the function.
    squared_norm : float, optional
        ``trace(alpha^T K alpha)``, for `error`.

    Returns
    -------
    PointFit
        `Y_S` and `beta` (m, k), and the relative `error`: the root of a difference, so
        below sqrt(eps) it is rounding.

    Raises
    ------
    ValueError, TypeError
        For a `K_SS` that is not square, symmetric and positive semi-definite, shapes
        that do not fit, a `squared_norm` that is smaller than what the points explain.

    Notes
    -----
    Book: prop-points. With explicit features these are the labels of
    `ddref.labels_only.least_squares`.

    Examples
    --------
    >>> import numpy as np
    >>> K_SS, F_S = np.array([[1.0]]), np.array([[1.5]])
    >>> labels(K_SS, F_S, lam_S=2.0, squared_norm=3.0)  # 1.5 + 2 * 1.5; 1 - 2.25 / 3
    PointFit(Y_S=array([[4.5]]), beta=array([[1.5]]), error=0.5)
    """
    xp = _check_points(K_SS, F_S)
    lam_S = check_lam(lam_S, "lam_S")
    w, V = semidefinite_eigh(K_SS, "K_SS")
    keep = w > K_SS.shape[0] * eps_of(K_SS) * w[-1]
    gain = xp.where(keep, 1 / xp.where(keep, w, 1.0), 0.0)
    beta = V @ (gain[:, None] * (V.mT @ F_S))  # K_SS^+ F_S
    error = None
    if squared_norm is not None:
        left, total = _remaining(xp.sum(F_S * beta), squared_norm)
        error = math.sqrt(number(left) / total) if total else 0.0
    return PointFit(F_S + lam_S * beta, beta, error)


def errors(K_SS: Array, F_S: Array, squared_norm: float) -> Array:
    """Relative errors of the first 0, 1, ..., m points with their best labels, from one
    Cholesky factor.

    With ``K_SS = L L^T`` in the order of the points and ``q = L^-1 F_S``, the first j
    points leave ``||f||^2 - ||q_1||^2 - ... - ||q_j||^2`` of the squared norm: q holds
    the coordinates of f in the Newton basis.

    Parameters
    ----------
    K_SS : array (m, m)
        Kernel matrix of the points, in their order: for training points
        ``K[np.ix_(order, order)]``.
    F_S : array (m, k)
        Values of f at the points: for training points ``(K @ alpha)[order]``.
    squared_norm : float
        ``trace(alpha^T K alpha)``.

    Returns
    -------
    array (m + 1,)
        From 1 downwards. The last ones, where the points explain all but sqrt(eps), are
        rounding.

    Raises
    ------
    ValueError, TypeError
        As `labels`, and when some point depends on those before it, so that `K_SS` is
        singular to rounding.

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
    gains = xp.sum(xp.linalg.solve(_factor(K_SS), F_S) ** 2, axis=1)
    left, total = _remaining(xp.sum(gains), squared_norm)
    if not total:
        return xp.zeros((len(gains) + 1,), dtype=K_SS.dtype, device=device(K_SS))
    # what the later points explain, summed from the last one: nothing cancels
    back = xp.cumulative_sum(xp.flip(gains, axis=0), include_initial=True)
    later = xp.flip(back, axis=0)
    return xp.sqrt((left + later) / (left + later[0]))


def greedy(
    K: Array,
    F: Array | None = None,
    *,
    m: int | None = None,
    rtol: float | None = None,
) -> Array:
    """Order in which to take points: each the one of largest gain (with `F`), or the
    least explained (without).

    With `F` the next point is the one that lowers the error of `errors` most:
    f/P-greedy. Without it is the one whose function ``K(., x_i)`` the points before it
    explain least: P-greedy, or pivoted Cholesky, which serves every model on the data
    alike.

    Parameters
    ----------
    K : array (n, n)
        Kernel matrix of the candidates.
    F : array (n, k), optional
        Values of f at the candidates: ``K @ alpha``.
    m : int, optional
        Number of points. Default: as many as are independent.
    rtol : float, optional
        A point counts as dependent when less than `rtol` times the largest diagonal
        entry of `K` is left of its own, or less than rounding: n * eps times 1 +
        ||w||^2, w its coefficients in the points before. Default: n * eps.

    Returns
    -------
    integer array (m,)
        Row numbers of `K`. The first j of them are what ``m=j`` gives.

    Raises
    ------
    ValueError, TypeError
        For a `K` that is not square, symmetric and positive semi-definite, shapes that
        do not fit, an `m` below 1 or above the number of independent points.

    Notes
    -----
    Book: eq-gain. n m (m + k) operations, an n x m and an m x m array. For a kernel
    with finitely many features the independent points are exact: as many as its rank.

    Examples
    --------
    >>> import numpy as np
    >>> K = np.diag([1.0, 4.0, 2.0])
    >>> greedy(K)
    array([1, 2, 0])
    >>> greedy(K, np.array([[3.0], [4.0], [0.0]]), m=2)  # gains 9, 4 and 0
    array([0, 1])
    """
    # P: what the points so far leave of K(x, x), the square of the power function
    # R: what they leave of f; both at the candidates
    # repeat:
    #     i = argmax of |R_i|^2 / P_i (with F), or of P_i
    #     v = (K_i - V V_i) / sqrt(P_i)      the next column of the Cholesky factor
    #     R = R - v R_i / sqrt(P_i)
    #     P = P - v^2
    xp = _check_points(K, F, "K", "F")
    n = K.shape[0]
    m = None if m is None else check_count(m, "m")
    rtol = n * eps_of(K) if rtol is None else check_lam(rtol, "rtol")
    P, R, order = 1 * xp.linalg.diagonal(K), F, []
    largest = _largest_of_kernel(K)
    like = {"dtype": K.dtype, "device": device(K)}
    V = xp.zeros((n, n if m is None else min(n, m)), **like)
    inverse = xp.zeros((V.shape[1], V.shape[1]), **like)  # of the rows of V taken
    noise = n * eps_of(K) * largest  # of P, where the coefficients are not large
    most = 1.0  # of what coefficients have made of it
    while len(order) < V.shape[1]:
        j = len(order)
        _check_remaining(P, V[:, :j], inverse[:j, :j], most * noise, noise)
        free = (P > max(rtol * largest, noise)) & (P < math.inf)
        if not bool(xp.any(free)):
            break
        gain = P if R is None else xp.sum(R**2, axis=1) / xp.where(free, P, 1.0)
        i = int(xp.argmax(xp.where(free, gain, -1.0)))
        pivot = number(P[i])
        w = V[i, :j] @ inverse[:j, :j]  # K(., x_i) is nearly sum_s K(., z_s) w_s
        amplified = 1 + number(xp.sum(w**2))
        P[i] = math.inf  # taken, or left out
        if pivot <= amplified * noise:
            continue
        most = max(most, amplified)
        v = (K[:, i] - V[:, :j] @ V[i, :j]) / pivot**0.5
        R = None if R is None else R - v[:, None] * (R[i, :] / pivot**0.5)
        P = P - v**2
        V[:, j] = v
        inverse[j, :j], inverse[j, j] = -w / pivot**0.5, 1 / pivot**0.5
        order.append(i)
    if m is not None and len(order) < m:
        raise ValueError(
            f"m = {m} points were asked for, but only {len(order)} of the {n} are "
            f"independent; pass m={len(order)}, these reach every function of all {n}"
        )
    return xp.asarray(order, dtype=xp.int64, device=device(K))


class MergedPoints(NamedTuple):
    """Distinct points with what their equals add up to, see `merge_equal`."""

    X: Array  # (m, d), in the order of their first appearance
    alpha: Array  # (m, k), sums of the coefficients of equal points
    counts: Array  # (m,), how many there were; of the dtype of alpha


def merge_equal(X: Array, alpha: Array) -> MergedPoints:
    """The same function from distinct points: equal rows of `X` once, with the sum of
    their coefficients.

    A model of ridge regression stays one: with the mean of the labels of equal points,
    and ``lam / counts`` in the place of lam on the diagonal of the kernel matrix.

    Parameters
    ----------
    X : array (n, d)
        Points. Rows are equal where all entries are.
    alpha : array (n, k)
        Coefficients of the function ``sum_i K(., x_i) alpha_i``.

    Returns
    -------
    MergedPoints
        `X` (m, d), `alpha` (m, k) and `counts` (m,), which add up to n.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or Inf.

    Notes
    -----
    Book: thm-infinite. It is about distinct points. n^2 d comparisons.

    Examples
    --------
    >>> import numpy as np
    >>> X, alpha = np.array([[0.0], [1.0], [0.0]]), np.array([[1.0], [2.0], [3.0]])
    >>> X, alpha, counts = merge_equal(X, alpha)
    >>> X.ravel(), alpha.ravel(), counts
    (array([0., 1.]), array([4., 2.]), array([2., 1.]))
    """
    xp = check_arrays(X=X, alpha=alpha)
    check_shapes(X=(X, "nd"), alpha=(alpha, "nk"))
    equal = xp.stack([xp.all(X == X[i, :], axis=1) for i in range(X.shape[0])])
    sums = xp.astype(equal, alpha.dtype)
    is_first = xp.sum(xp.tril(sums), axis=1) == 1.0  # no equal row before it
    sums = sums[is_first]
    return MergedPoints(X[is_first], sums @ alpha, xp.sum(sums, axis=1))


def _check_points(
    K: Array, F: Array | None, name: str = "K_SS", of: str = "F_S"
) -> Any:
    """The namespace of a kernel matrix and values at its points."""
    xp = check_arrays(**{name: K, of: F})
    check_symmetric(K, name)
    check_shapes(**{name: (K, "mm"), of: (F, "mk")})
    return xp


def _factor(K_SS: Array) -> Array:
    """Cholesky factor, refused where some point depends on the others."""
    xp = array_namespace(K_SS)
    try:
        return xp.linalg.cholesky(K_SS)
    except Exception as error:
        smallest = number(xp.linalg.eigvalsh(K_SS)[0])
        raise ValueError(
            f"K_SS of {K_SS.shape[0]} points is not positive definite: its smallest "
            f"eigenvalue is {smallest:.3g}; leave out points that depend on others, as "
            "greedy does"
        ) from error


def _remaining(explained: Array, squared_norm: float) -> tuple[Array, float]:
    """What the points leave of the squared norm, and that; refused where they explain
    more than there is.
    """
    total = check_lam(squared_norm, "squared_norm")
    if number(explained) > total * (1 + 100 * math.sqrt(eps_of(explained))):
        raise ValueError(
            f"the points explain {number(explained):.6g}, more than squared_norm = "
            f"{total:.6g}: pass trace(alpha^T K alpha) of the function whose values "
            "F_S are, and leave out points that depend on others"
        )
    xp = array_namespace(explained)
    return xp.where(explained < total, total - explained, 0.0), total


def _largest_of_kernel(K: Array) -> float:
    """Largest diagonal entry, which in a kernel matrix no other entry exceeds."""
    xp = array_namespace(K)
    largest = number(xp.max(xp.linalg.diagonal(K)))
    size = number(xp.max(xp.abs(K)))
    if size > 1.001 * largest:
        raise ValueError(
            f"K is not positive semi-definite: an entry of size {size:.3g} exceeds all "
            f"on its diagonal, at most {largest:.3g}; pass the matrix of a kernel"
        )
    return largest


def _check_remaining(
    P: Array, V: Array, inverse: Array, most: float, noise: float
) -> None:
    """Refuse a matrix that is not positive semi-definite, as seen after j points: more
    than rounding is missing, which grows with the coefficients of the row in these.
    """
    xp = array_namespace(P)
    i = int(xp.argmin(P))
    amplified = 1 + number(xp.sum((V[i, :] @ inverse) ** 2))
    if number(P[i]) < -100 * max(most, amplified * noise):
        raise ValueError(
            f"K is not positive semi-definite: {number(P[i]):.3g} is left on its "
            f"diagonal after {V.shape[1]} points; pass the matrix of a kernel"
        )
