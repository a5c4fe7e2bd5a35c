"""Exact sets whose features stay within bounds, as the pixels of an image do.

Rows of an exact set may be shortened one by one: they span the same. `nearest` does
better: it keeps the coefficients of such a set and moves the points as little as the
bounds allow, one small quadratic program a feature.
"""

from array_api_compat import array_namespace, device

from .arrays import Array, check_arrays, eps_of, model_svd, number, thin_svd
from .nearest import condition_carrying, condition_limit
from .nearest import nearest as nearest_anywhere

STEPS = 60  # of Newton's method; it needs about ten where there is a solution


def nearest(
    Phi_0: Array,
    W: Array,
    low: float | Array,
    high: float | Array,
    *,
    max_condition: float | None = None,
    rtol: float | None = None,
) -> Array:
    """Features near `Phi_0` that are within bounds and part of an exact set of `W`.

    With the coefficients alpha of `nearest.nearest` (or, where the bounds do not allow
    these, of its rows after `shrink`) the nearest features with ``Phi_S^T alpha = Q``
    within the bounds, Q an orthonormal basis of the columns of `W`.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples; m is at least the rank of `W`.
    W : array (p, k)
        Model to reproduce.
    low, high : float or array (p,)
        Bounds of each feature: for standardised pixels those of black and white.
    max_condition : float, optional
        As in `nearest.nearest`.
    rtol : float, optional
        Rank cutoff of `W`, see `distill.rank_report`.

    Returns
    -------
    array (m, p)
        ``low <= Phi_S <= high``, without rounding. `distill.labels` has its labels, for
        any ``lam_S``.

    Raises
    ------
    ValueError
        As `nearest.nearest`; when nothing within the bounds is found. With 0 inside
        them, only the condition number can be in the way.

    Notes
    -----
    Book: prop-box. Nearest for its coefficients, not of all exact sets in the box: how
    much is left, `nearest.nearest_lower_bound` tells.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.array([[1.0], [1.0]])
    >>> nearest(np.array([[1.0, 3.0]]), W, -1.5, 1.5).round(12)  # unbounded: (2, 2)
    array([[1.5, 1.5]])
    """
    Phi_S = nearest_anywhere(Phi_0, W, max_condition=max_condition, rtol=rtol)
    low, high = _bounds(Phi_0, low, high)
    if _within(Phi_S, low, high):
        return Phi_S
    svd = model_svd(W, rtol)
    W, limit = svd.U @ (svd.U.mT @ W), condition_limit(Phi_0, max_condition)
    starts = [Phi_S]
    if _zero_inside(low, high):
        starts.append(shrink(Phi_S, low, high))
    for start in starts:
        alpha = thin_svd(start).pinv().mT @ svd.U
        nearer = _projected(Phi_0, alpha, svd.U, low, high)
        if nearer is not None and condition_carrying(nearer, W) <= limit:
            return nearer
    if _within(start, low, high) and condition_carrying(start, W) <= limit:
        return start
    raise ValueError(_why_not(Phi_S, low, high, limit))


def shrink(Phi_S: Array, low: float | Array, high: float | Array) -> Array:
    """Features with each row shortened until it is within bounds around 0.

    Rows span the same afterwards, so that what was exact is exact again, with labels
    computed anew (`distill.labels`).

    Parameters
    ----------
    Phi_S : array (m, p)
        Features, rows are samples.
    low, high : float or array (p,)
        Bounds of each feature, ``low < 0 < high``.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError
        When 0 is not inside the bounds of each feature; the message names one.

    Notes
    -----
    Book: prop-box.

    Examples
    --------
    >>> import numpy as np
    >>> shrink(np.array([[4.0, 1.0], [0.5, -0.5]]), -1.0, 2.0)
    array([[ 2. ,  0.5],
           [ 0.5, -0.5]])
    """
    xp = check_arrays(Phi_S=Phi_S)
    low, high = _bounds(Phi_S, low, high)
    if not _zero_inside(low, high):
        j = int(xp.argmax(xp.astype((low >= 0) | (high <= 0), xp.int64)))
        raise ValueError(
            f"0 is not inside the bounds {number(low[j]):.3g} to {number(high[j]):.3g} "
            f"of feature {j}: rows cannot be shortened into them; standardise the data "
            "first, with the bounds moved along"
        )
    used = xp.max(xp.where(Phi_S > 0, Phi_S / high, Phi_S / low), axis=1)  # 1: at one
    c = xp.where(used > 1, (1 - 2 * eps_of(Phi_S)) / used, xp.ones_like(used))
    return c[:, None] * Phi_S


def _bounds(A: Array, low: float | Array, high: float | Array) -> tuple[Array, Array]:
    """Bounds as arrays (p,) of the kind of `A`; refused where they leave no room."""
    xp = array_namespace(A)
    zero = xp.zeros(A.shape[1], dtype=A.dtype, device=device(A))
    low, high = (
        zero + xp.asarray(one, dtype=A.dtype, device=device(A)) for one in (low, high)
    )
    room = number(xp.min(high - low))
    if not room > 0:
        raise ValueError(f"low must be below high; high - low is {room:.3g} somewhere")
    return low, high


def _within(A: Array, low: Array, high: Array) -> bool:
    return bool(array_namespace(A).all((low <= A) & (high >= A)))


def _zero_inside(low: Array, high: Array) -> bool:
    return bool(array_namespace(low).all((low < 0) & (high > 0)))


def _projected(
    A: Array, alpha: Array, Q: Array, low: Array, high: Array
) -> Array | None:
    """The rows nearest to `A` within bounds with ``B^T alpha = Q``; None if none are.

    For each feature, ``B = clip(A + alpha nu)``: nu (r,) is where the convex function
    ``sum(h) - nu Q``, h the integral of the clipping, is least. Newton's method; a step
    is halved for the features whose function rises at its end.
    """
    xp = array_namespace(A)
    r = alpha.shape[1]
    alpha, K = xp.linalg.qr(alpha)  # the same equations, well conditioned
    T = xp.linalg.solve(K.mT, Q.mT)  # (r, p)
    pairs = xp.reshape(alpha[:, :, None] * alpha[:, None, :], (-1, r * r))
    damping = 2 * eps_of(A) * xp.eye(r, dtype=A.dtype, device=device(A))
    done = 50 * eps_of(A) * number(xp.max(xp.sqrt(xp.sum(A * A, axis=0))))

    def moved(nu: Array) -> tuple[Array, Array]:
        """The points, and the slope of the function."""
        B = xp.clip(A + alpha @ nu, low, high)
        return B, alpha.mT @ B - T

    result, nu, j = 0 * A, 0 * T, xp.arange(A.shape[1], device=device(A))
    for _ in range(STEPS):
        result[:, j], slope = moved(nu)
        left = xp.sqrt(xp.sum(slope * slope, axis=0)) > done
        if not bool(xp.any(left)):
            return result
        A, T, low, high, nu, slope, j = (
            x[..., left] for x in (A, T, low, high, nu, slope, j)
        )
        free = (low < result[:, j]) & (high > result[:, j])
        H = xp.reshape((pairs.mT @ xp.astype(free, A.dtype)).mT, (-1, r, r))
        step = -xp.linalg.solve(H + damping, slope.mT[:, :, None])[:, :, 0].mT
        for _ in range(50):
            _, end = moved(nu + step)
            # a tenth of the first slope: at the least value the end is rounding
            rises = xp.sum((end + 0.1 * slope) * step, axis=0) > 0
            if not bool(xp.any(rises)):
                break
            step = xp.where(rises, step / 2, step)
        nu = nu + step
    return None


def _why_not(Phi_S: Array, low: Array, high: Array, limit: float) -> str:
    xp = array_namespace(Phi_S)
    outside = xp.mean(xp.astype((low > Phi_S) | (high < Phi_S), Phi_S.dtype))
    return (
        f"{number(outside):.1%} of the features of the nearest set are out of bounds, "
        f"and nothing found within them has a condition number up to {limit:.3g}; "
        "take more points, raise max_condition, or standardise the data so that 0 is "
        "inside the bounds"
    )
