"""Exact distilled sets for a model with an unpenalised intercept: ``f = phi W + b``.

Training with an intercept is training without one on features and labels minus their
means, and the intercept puts the means back. Subtracting a mean costs a point, so a set
needs rank(W) + 1 points: m centred rows are m - 1 free ones.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    ThinSVD,
    check_arrays,
    check_kept,
    check_lam,
    check_shapes,
    eps_of,
    graded_svd,
    number,
    thin_svd,
)
from .distill import check_span, minimal_points


class Model(NamedTuple):
    """A model with an intercept: predictions are ``Phi @ W + b``."""

    W: Array  # (p, k)
    b: Array  # (1, k)


class InterceptSet(NamedTuple):
    """A distilled set: training on it with an unpenalised intercept and `lam_S` gives
    the model it was made for.
    """

    Phi_S: Array  # (m, p)
    Y_S: Array  # (m, k)
    lam_S: float


def fit(Phi: Array, Y: Array, lam: float) -> Model:
    """Ridge regression with an intercept that is not penalised.

    Minimises ``||Phi W + 1 b - Y||^2 + lam ||W||^2``.

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
    Book: thm-intercept. scikit-learn's twin is ``Ridge(alpha=lam)``. Solved by an SVD:
    for many samples centre them and use `krr.fit`. Nothing is cut at ``lam > 0``; at
    ``lam = 0`` what is rounding in the features before centring counts as zero.

    Examples
    --------
    >>> import numpy as np
    >>> W, b = fit(np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]]), 0.0)
    >>> W.round(12), b.round(12)
    (array([[2.]]), array([[3.]]))
    """
    check_arrays(Phi=Phi, Y=Y)
    lam = check_lam(lam)
    check_shapes(Phi=(Phi, "np"), Y=(Y, "nk"))
    (Phi_c, mean), (Y_c, mean_Y) = _centred(Phi), _centred(Y)
    svd = graded_svd(Phi_c, 0.0) if lam > 0 else _centred_svd(Phi)[0]
    W = svd.solve(Y_c, lam)
    return Model(W, mean_Y - mean @ W)


def labels(
    Phi_S: Array,
    W: Array,
    b: Array,
    lam_S: float = 0.0,
    *,
    span_tol: float | None = None,
) -> Array:
    """Labels that make the features `Phi_S` an exact distilled set for ``phi W + b``.

    ``Y_S = Phi_S W + 1 b + lam_S (Phi_c^+)^T W``, for any ``lam_S >= 0``, with `Phi_c`
    the centred features: the predictions of the model, and at ``lam_S > 0`` what makes
    up for the shrinking. Works if and only if the rows of `Phi_c` span the columns of
    `W`.

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
    span_tol : float, optional
        How much of `W` may be missing from the span of the centred rows, relative to
        its norm. Default: what rounding in `Phi_S` can do, 100 * eps * ||Phi_S|| /
        t_min (t_min the smallest singular value kept), at most sqrt(eps).

    Returns
    -------
    array (m, k)

    Raises
    ------
    ValueError
        When the centred rows do not span the columns of `W`, for instance m <= rank(W);
        the message names the missing fraction.

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
    b = _as_row(b)
    check_arrays(Phi_S=Phi_S, W=W, b=b)
    check_shapes(Phi_S=(Phi_S, "mp"), W=(W, "pk"), b=(b, "1k"))
    lam_S = check_lam(lam_S, "lam_S")
    svd, condition = _centred_svd(Phi_S)
    check_span(svd, W, span_tol, condition=condition, centred=True)
    Y_S = Phi_S @ W + b + lam_S * (svd.U @ ((svd.Vh @ W) / svd.s[:, None]))
    lost = svd.rounding(_centred(Y_S)[0], lam_S, rows=Phi_S, labels=Y_S)
    check_kept(W, lost, Y_S, max(0.1, span_tol or 0.0))
    return Y_S


def contrasts(Phi: Array) -> Array:
    """The m - 1 free rows behind m centred ones.

    ``J Phi``, J (m - 1, m) with orthonormal rows that sum to zero. Singular values and
    row space are those of the centred `Phi`. A set of m points is exact with an
    intercept if and only if its contrasts are exact without one, and it is as far from
    `Phi` as the contrasts and the means are.

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
    Book: thm-intercept. J is the lower part of the Householder reflection that sends 1
    to a multiple of the first unit vector.

    Examples
    --------
    >>> import numpy as np
    >>> contrasts(np.array([[1.0], [3.0]])).round(6)  # (3 - 1) / sqrt(2)
    array([[1.414214]])
    """
    check_arrays(Phi=Phi)
    if Phi.shape[0] < 2:
        raise ValueError(
            "Phi has 1 row: nothing is left of it after centring; use 2 rows or more"
        )
    return _reflected(_centred(Phi)[0])[1:, :]


def exact_set(
    Phi_0: Array,
    W: Array,
    b: Array,
    lam_S: float = 0.0,
    *,
    choose: Callable[[Array, Array], Array] | None = None,
    rtol: float | None = None,
) -> InterceptSet:
    """Exact distilled set for ``phi W + b``, its features chosen by a function or kept.

    The mean of `Phi_0` stays. With ``choose=nearest.nearest`` it is the exact set
    nearest to `Phi_0`: mean and contrasts are orthogonal parts, the mean need not move,
    and the contrasts are m - 1 points without an intercept.

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
        ``choose(A, W)`` takes the contrasts A (m - 1, p) and returns features of that
        shape whose rows span the columns of `W`: `nearest.nearest`, or ``lambda A, W:
        gauge.orthonormal(W, len(A))``. Default: `Phi_0` is kept, and must span `W`
        after centring.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value, for counting points.
        Default: 1e-10, or max(p, k) * eps where larger. `choose` and the labels have
        their own.

    Returns
    -------
    InterceptSet
        `Phi_S` (m, p), `Y_S` (m, k), `lam_S`.

    Raises
    ------
    ValueError
        For m <= rank(W), for features that do not span the columns of `W` after
        centring.

    Notes
    -----
    Book: thm-intercept. One-hot targets with an intercept give rank(W) = k - 1, so k
    points; one real-valued target needs 2.

    Examples
    --------
    >>> import numpy as np
    >>> W, b = np.array([[2.0]]), np.array([[3.0]])
    >>> Phi_S, Y_S, lam_S = exact_set(np.array([[1.0], [3.0]]), W, b)
    >>> fit(Phi_S, Y_S, lam_S).W.round(12)
    array([[2.]])
    """
    b = _as_row(b)
    check_arrays(Phi_0=Phi_0, W=W, b=b)
    check_shapes(Phi_0=(Phi_0, "mp"), W=(W, "pk"), b=(b, "1k"))
    _check_enough_rows(Phi_0, minimal_points(W, rtol=rtol))
    lam_S = check_lam(lam_S, "lam_S")
    Phi_S = 1 * Phi_0  # a copy
    if choose is not None and Phi_0.shape[0] > 1:
        Phi_S = Phi_0 + _change_of_contrasts(contrasts(Phi_0), W, choose)
    return InterceptSet(Phi_S, labels(Phi_S, W, b, lam_S), lam_S)


def _change_of_contrasts(
    A: Array, W: Array, choose: Callable[[Array, Array], Array]
) -> Array:
    """What is added to m rows so that their contrasts A become those chosen."""
    xp = array_namespace(A)
    chosen = choose(A, W)
    check_arrays(W=W, chosen=chosen)
    if chosen.shape != A.shape:
        raise ValueError(
            f"choose must return features of shape {tuple(A.shape)}, "
            f"got {tuple(chosen.shape)}"
        )
    return _reflected(xp.concat([xp.zeros_like(A[:1, :]), chosen - A], axis=0))


def _reflected(A: Array) -> Array:
    """The rows of A after the Householder reflection that swaps 1 / sqrt(m) and minus
    the first unit vector; it is its own inverse.
    """
    xp = array_namespace(A)
    m = A.shape[0]
    first = xp.arange(m, device=device(A))[:, None] == 0
    v = xp.astype(first, A.dtype) + 1 / math.sqrt(m)  # no cancellation with this sign
    return A - v * ((v.mT @ A) / (1 + 1 / math.sqrt(m)))  # v^T v / 2 = 1 + 1 / sqrt(m)


def _centred(A: Array) -> tuple[Array, Array]:
    """A minus its mean row, and that row; twice: a large mean leaves no trace."""
    xp = array_namespace(A)
    mean = xp.mean(A, axis=0, keepdims=True)
    rest = A - mean
    more = xp.mean(rest, axis=0, keepdims=True)
    return rest - more, mean + more


def _centred_svd(Phi: Array) -> tuple[ThinSVD, float]:
    """SVD of the centred rows without what is rounding in the uncentred ones, and the
    condition number counted from the size of these.
    """
    xp = array_namespace(Phi)
    rest, _ = _centred(Phi)
    size = number(xp.linalg.svdvals(Phi)[0])
    spread = number(xp.linalg.svdvals(rest)[0])
    svd = thin_svd(rest, max(Phi.shape) * eps_of(Phi) * size / (spread or 1.0))
    return svd, size / number(svd.s[-1]) if svd.rank else 1.0


def _check_enough_rows(Phi_0: Array, r: int) -> None:
    """Refuse fewer rows than a model of rank r with an intercept needs."""
    if Phi_0.shape[0] <= r:
        raise ValueError(
            f"Phi_0 has {Phi_0.shape[0]} rows and W has rank {r}: with an intercept no "
            f"exact set has fewer than {r + 1} points; use {r + 1} rows or more, or a "
            "model of lower rank"
        )


def _as_row(b: Array) -> Array:
    """An intercept (k,) as (1, k)."""
    return b.reshape(1, -1) if getattr(b, "ndim", 2) == 1 else b
