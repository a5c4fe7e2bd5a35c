"""Exact distilled sets: which features and labels train the same model.

A set `(Phi_S, Y_S, lam_S)` is exact when kernel ridge regression on it returns the given `W` (p, k).
`labels` completes given features, `features` completes given labels; both refuse what cannot be done.

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


class RankReport(NamedTuple):
    """Numerical rank of a model and what the cutoff separated, relative to the largest singular value."""

    rank: int
    kept: float  # smallest singular value kept
    discarded: float  # largest singular value taken for zero
    rtol: float


def rank_report(W, *, rtol=None):
    """Numerical rank of `W`, with the smallest singular value kept and the largest one discarded.

    Parameters
    ----------
    W : array (p, k)
        Model.
    rtol : float, optional
        Singular values up to `rtol` times the largest count as zero. Default: 1e-10, or max(p, k) * eps of
        the dtype where that is larger (float32). Rounding in a fitted W is far above max(p, k) * eps: with
        accurately centred features and lam = 1e3 the tenth singular value of ten is 1e-12 of the first, and is
        zero. Small `lam`, or column means that carry rounding, lift it further: look at what was discarded.

    Returns
    -------
    RankReport
        `rank`, and `kept`, `discarded` relative to the largest singular value (0.0 where there is none).

    Notes
    -----
    Book: thm-necessity.

    Examples
    --------
    >>> import numpy as np
    >>> rank_report(np.diag([2.0, 1.0, 2e-12]))
    RankReport(rank=2, kept=0.5, discarded=1e-12, rtol=1e-10)
    """
    xp = check_arrays(W=W)
    s, rtol = xp.linalg.svdvals(W), _rank_rtol(xp, W, rtol)
    r = int(xp.sum(xp.astype(s > rtol * s[0], xp.int64)))
    relative = [_number(value) / _number(s[0]) for value in s] if r else [0.0]
    return RankReport(r, relative[r - 1], relative[r] if r < len(relative) else 0.0, rtol)


def minimal_points(W, *, rtol=None):
    """Fewest points of an exact distilled set for `W`: its rank.

    Parameters
    ----------
    W : array (p, k)
        Model.
    rtol : float, optional
        Rank cutoff relative to the largest singular value, see `rank_report`, which also tells what the cutoff
        discarded.

    Returns
    -------
    int
        ``rank(W)``; no set with fewer points is exact, and for features free in R^p this many are enough.

    Notes
    -----
    Book: thm-necessity. Source: Chen, Huang and Weng (2024), Thm 4.1 (there for given labels and m < k).

    Examples
    --------
    >>> import numpy as np
    >>> minimal_points(np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]]))
    1
    """
    return rank_report(W, rtol=rtol).rank


def labels(Phi_S, W, lam_S=0.0, *, rtol=None, span_tol=None):
    """Labels that make the features `Phi_S` an exact distilled set for `W`, for any ``lam_S >= 0``.

    ``Y_S = (Phi_S + lam_S (Phi_S^+)^T) W``: at ``lam_S = 0`` the predictions of the model on its own
    distilled points. Works if and only if the rows of `Phi_S` span the columns of `W`.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points, rows are samples.
    W : array (p, k)
        Model to reproduce.
    lam_S : float
        Regularisation that will be used to train on the distilled set.
    rtol : float, optional
        Rank cutoff of `Phi_S` relative to its largest singular value. Default: max(m, p) * eps.
    span_tol : float, optional
        How much of `W` may be missing from the span of the rows, relative to its norm. Default: 100 * eps *
        the condition number of `Phi_S` (what rounding in `Phi_S` can do), at most sqrt(eps).

    Returns
    -------
    array (m, k)

    Raises
    ------
    ValueError
        When the rows do not span the columns of `W`; the message names the missing fraction. Only the part of `W`
        below its rank cutoff may be missing (see `rank_report`), and a warning says so.

    Notes
    -----
    Book: thm-characterisation. Source: extends Chen, Huang and Weng (2024), Thm 4.2. All other labels that are
    exact for the same features differ by ``(I - Phi_S Phi_S^+) E``. They grow as ``lam_S / t_min``, t_min the
    smallest singular value of `Phi_S`.

    Examples
    --------
    >>> import numpy as np
    >>> labels(np.array([[2.0, 0.0]]), np.array([[3.0], [0.0]]), lam_S=4.0)  # (2 + 4 / 2) * 3
    array([[12.]])
    """
    xp, lam_S = check_arrays(Phi_S=Phi_S, W=W), check_lam(lam_S, "lam_S")
    if Phi_S.shape[1] != W.shape[0]:
        raise ValueError(f"Phi_S has {Phi_S.shape[1]} features and W has {W.shape[0]} rows; they must match")
    U, t, Vh = xp.linalg.svd(Phi_S, full_matrices=False)
    keep = t > _rtol(xp, Phi_S, rtol) * t[0]
    t_safe = xp.where(keep, t, xp.ones_like(t))
    kept = xp.astype(keep, t.dtype)
    inside = Vh @ W * kept[:, None]  # coordinates of W in the row space of Phi_S
    missing = _norm(xp, W - Vh.mT @ inside) / (_norm(xp, W) or 1.0)
    t_min, eps = _number(xp.min(xp.where(keep, t, t[0]))), float(xp.finfo(t.dtype).eps)
    condition = _number(t[0]) / t_min if t_min else 0.0
    rounding = min(100 * eps * condition, math.sqrt(eps))
    span_tol = rounding if span_tol is None else check_lam(span_tol, "span_tol")
    if missing > span_tol and _lost(xp, W, lambda A: A - Vh.mT @ (Vh @ A * kept[:, None]), span_tol, condition):
        r, rank_S = minimal_points(W), int(xp.sum(xp.astype(keep, xp.int64)))
        raise ValueError(
            f"the {Phi_S.shape[0]} rows of Phi_S (rank {rank_S}) miss a fraction {missing:.3g} of W (rank {r}), more "
            f"than span_tol = {span_tol:.3g}: no labels make them exact; use at least {r} rows that span the columns "
            "of W"
        )
    # Phi_S W is formed from Phi_S itself: more accurate than U diag(t) V^T W
    return Phi_S @ W + lam_S * (U @ (inside / t_safe[:, None]))


def features(W, Y_S, lam_S=0.0, *, Z=None, signs=None, rtol=None):
    """Features that make the labels `Y_S` an exact distilled set for `W`.

    ``D = W Y_S^+ + Z (I - Y_S Y_S^+)`` must be the regularised pseudo-inverse of the features. Its SVD
    ``U diag(s) V^T`` gives ``Phi_S = V diag(t) U^T`` with ``t / (t^2 + lam_S) = s``: a quadratic equation with
    two positive roots per singular value (one at lam_S = 0), solvable for ``lam_S <= 1 / (4 s_max^2)``.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points, one row each; rank k is enough.
    lam_S : float
        Regularisation that will be used to train on the distilled set, at most ``largest_lam(W, Y_S, Z=Z)``.
        Up to 64 eps above the bound are accepted and treated as the bound (the discriminant is clipped at zero).
    Z : array (p, m), optional
        The free part; default 0, which admits the largest `lam_S`. With more points than classes it decides
        what the points look like (with repeated one-hot labels and Z = 0, points repeat).
    signs : sequence of +1 and -1, optional
        Branch of the root for each non-zero singular value of D, largest first. Default: all +1, the
        only choice at ``lam_S = 0``. Mixed branches are exact but lose ``log10(t_max / t_min)`` digits, as a warning
        says.
    rtol : float, optional
        Singular values of D up to `rtol` times the largest count as zero, *before* they are inverted.
        Default as in `rank_report`: 1e-10, or max(p, m) * eps where larger. What is lost of W, if more than rounding,
        is named in a warning.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError
        When the labels cannot carry `W` (``W Y_S^+ Y_S != W``, for instance m < rank(W)), when `lam_S` is above
        the bound, when `signs` has the wrong length or asks for the minus branch at ``lam_S = 0``.

    Notes
    -----
    Book: thm-given-labels. Source: Chen, Huang and Weng (2024), Thm 4.1 and 5.1. Departures from the printed
    formula: ``t = (1 - sqrt(1 - 4 lam s^2)) / (2 s)`` cancels for small ``lam s^2`` and is computed as
    ``2 lam s / (1 + q)``; ``1 - 4 lam s^2`` is factored before its root is taken; each singular value may take
    its own sign; zero singular values are cut for every lam_S.

    Examples
    --------
    >>> import numpy as np
    >>> W, Y_S = np.array([[2.0], [0.0]]), np.array([[1.0]])
    >>> features(W, Y_S)
    array([[0.5, 0. ]])
    >>> t = features(W, Y_S, lam_S=0.04)[0, 0]
    >>> float(round(t / (t**2 + 0.04), 12))
    2.0
    """
    xp, lam_S = check_arrays(W=W, Y_S=Y_S, Z=Z), check_lam(lam_S, "lam_S")
    D = _carrier(xp, W, Y_S, Z)
    U, s, Vh = xp.linalg.svd(D, full_matrices=False)
    keep = s > _rank_rtol(xp, D, rtol) * s[0]
    r = int(xp.sum(xp.astype(keep, xp.int64)))
    U, s, Vh = U[:, :r], s[:r], Vh[:r, :]
    rounding = _norm(xp, D) * _norm(xp, Y_S)  # of the product W = D Y_S, in units of eps
    _warn_lost(xp, W, D @ Y_S - (U * s) @ (Vh @ Y_S), rounding)
    if r == 0:
        return xp.zeros_like(D.mT)
    signs = _branches(signs, r, lam_S)
    s_max, eps = _number(s[0]), float(xp.finfo(s.dtype).eps)
    if 2 * math.sqrt(lam_S) * s_max > 1 + 64 * eps:
        raise ValueError(
            f"lam_S = {lam_S:.6g} exceeds 1/(4 s_max^2) = {(0.5 / s_max) ** 2:.6g}; scale Y_S by at least "
            f"{2 * math.sqrt(lam_S) * s_max:.6g}{'' if Z is None else ' (and Z by its inverse)'}, or pass lam_S=0"
        )
    a = 2 * math.sqrt(lam_S) * s
    q = xp.sqrt(xp.where(a < 1, (1 - a) * (1 + a), xp.zeros_like(a)))  # sqrt(1 - 4 lam s^2)
    plus, minus = (1 + q) / (2 * s), 2 * lam_S * s / (1 + q)
    t = xp.stack([plus[i] if sign > 0 else minus[i] for i, sign in enumerate(signs)])
    if len(set(signs)) > 1:
        ratio = _number(xp.max(t)) / _number(xp.min(t))
        warnings.warn(
            f"mixed branches: t_max / t_min = {ratio:.3g}, so about {ratio * eps:.1g} of W is lost to rounding",
            stacklevel=2,
        )
    return (Vh.mT * t) @ U.mT


def largest_lam(W, Y_S, *, Z=None):
    """Largest `lam_S` for which the labels `Y_S` admit exact features: ``1 / (4 ||D||_2^2)``.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points. Scaling them by c multiplies the bound by c^2.
    Z : array (p, m), optional
        The free part of ``D = W Y_S^+ + Z (I - Y_S Y_S^+)``; the default 0 admits the largest bound.

    Returns
    -------
    float
        Infinite for ``W = 0`` with ``Z = 0``.

    Raises
    ------
    ValueError
        When the labels cannot carry `W`.

    Notes
    -----
    Book: thm-given-labels. Source: Chen, Huang and Weng (2024), Thm 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> largest_lam(np.array([[2.0], [0.0]]), np.array([[1.0]]))
    0.0625
    """
    xp = check_arrays(W=W, Y_S=Y_S, Z=Z)
    _, s, _ = xp.linalg.svd(_carrier(xp, W, Y_S, Z), full_matrices=False)  # as `features` does, to the last bit
    s_max = _number(s[0])
    return (0.5 / s_max) ** 2 if s_max else math.inf


def _carrier(xp, W, Y_S, Z):
    """D = W Y_S^+ + Z (I - Y_S Y_S^+), eq. (carrier); refuses labels whose rows do not span those of W."""
    (p, k), (m, k_S) = W.shape, Y_S.shape
    if k != k_S:
        raise ValueError(f"W has {k} columns and Y_S has {k_S}; they must match")
    if Z is not None and tuple(Z.shape) != (p, m):
        raise ValueError(f"Z must have shape (p, m) = ({p}, {m}), it is {tuple(Z.shape)}")
    U, t, Vh = xp.linalg.svd(Y_S, full_matrices=False)
    keep = t > _rank_rtol(xp, Y_S, None) * t[0]  # predictions of a model have its rank, and its rounding
    inverse = xp.where(keep, 1 / xp.where(keep, t, xp.ones_like(t)), xp.zeros_like(t))
    Y_pinv = (Vh.mT * inverse) @ U.mT
    D = W @ Y_pinv
    missing = _norm(xp, D @ Y_S - W) / (_norm(xp, W) or 1.0)
    eps, condition = float(xp.finfo(t.dtype).eps), _number(t[0] * xp.max(inverse))
    limit = min(100 * eps * condition, math.sqrt(eps))  # what rounding in Y_S explains
    if missing > limit and _lost(xp, W, lambda A: A @ Y_pinv @ Y_S - A, limit, condition):
        r, r_Y = minimal_points(W), minimal_points(Y_S)
        raise ValueError(
            f"the labels cannot carry W: a fraction {missing:.3g} of it is lost in W Y_S^+ Y_S (at most {limit:.2g} is "
            f"allowed); Y_S has {m} rows and rank {r_Y}, W has rank {r}: use labels of rank {k}, or whose rows span "
            "those of W"
        )
    return D if Z is None else D + Z - (Z @ Y_S) @ Y_pinv


def _lost(xp, W, part, limit, condition):
    """Whether `part`, what the set misses, takes more from W than rounding and what is below W's rank cutoff explain.

    Warns where it is not lost but the cutoff was needed. What the cutoff discards also tilts spans computed from W.
    """
    U, s, Vh = xp.linalg.svd(W, full_matrices=False)
    r = int(xp.sum(xp.astype(s > _rank_rtol(xp, W, None) * s[0], xp.int64)))
    tilt = 10 * condition * _number(s[r] / s[0]) if 0 < r < s.shape[0] else 0.0
    limit = min(limit + tilt, math.sqrt(float(xp.finfo(s.dtype).eps)))
    if _norm(xp, part((U[:, :r] * s[:r]) @ Vh[:r, :])) > limit * _norm(xp, W):
        return True
    fraction = _norm(xp, part(W)) / _norm(xp, W)
    warnings.warn(f"a fraction {fraction:.2g} of W, below its rank cutoff, is lost; see rank_report", stacklevel=4)
    return False


def _branches(signs, r, lam_S):
    """One sign per non-zero singular value, checked."""
    signs = [1] * r if signs is None else [int(sign) if sign in (1, -1) else 0 for sign in signs]
    if len(signs) != r or 0 in signs:
        raise ValueError(f"signs must be {r} values +1 or -1, one per non-zero singular value of D")
    if lam_S == 0 and -1 in signs:
        raise ValueError("at lam_S = 0 only the + branch exists: the - branch is t = 0; pass lam_S > 0 or signs=None")
    return signs


def _warn_lost(xp, W, lost, rounding):
    """Warn when the rank cutoff took more than rounding from W."""
    size = _norm(xp, lost)
    if size > 100 * float(xp.finfo(W.dtype).eps) * rounding:
        fraction = size / _norm(xp, W)
        warnings.warn(
            f"the rank cutoff drops a fraction {fraction:.2g} of W; pass a smaller rtol to keep it", stacklevel=3
        )


def _rtol(xp, A, rtol):
    """Rank cutoff relative to the largest singular value; default max(shape) * eps of the dtype."""
    return max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")


def _rank_rtol(xp, W, rtol):
    return max(W_RTOL, _rtol(xp, W, None)) if rtol is None else check_lam(rtol, "rtol")


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
