"""The gauge of exact distilled sets: which changes of basis keep the model, and the best-conditioned set.

Multiplying features and labels by one matrix mixes the points. Whether the same model is trained afterwards depends
on the labels: predictions of the model allow every invertible matrix, others only some.

Gradients flow through PyTorch inputs where the singular values involved are distinct; at ties they are NaN.
"""

import math
import operator
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


class ChangedSet(NamedTuple):
    """A distilled set after a change of basis: it trains the same model with the same or the rescaled `lam_S`."""

    Phi_S: object  # M Phi_S
    Y_S: object  # M Y_S
    lam_S: float  # as given, or c^2 times that for M = c times an isometry


def change_of_basis(Phi_S, Y_S, M, lam_S=0.0):
    """The set ``(M Phi_S, M Y_S)``, refused where it would train another model than ``(Phi_S, Y_S)`` does.

    Let W be the model that the given set trains and ``R = Y_S - Phi_S W`` what it leaves unexplained. Always allowed:
    orthogonal `M`, and c times an orthogonal one with `lam_S` times c^2. At ``lam_S = 0`` any `M` that loses no
    direction of `W` is allowed if and only if ``Phi_S^T (M^T M - I) R = 0``: every invertible one where R = 0.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points, rows are samples.
    Y_S : array (m, k)
        Their labels.
    M : array (n, m)
        The change: square and invertible to mix m points, tall to spread them over more, wide to merge some.
    lam_S : float
        Regularisation used to train on the given set.

    Returns
    -------
    ChangedSet
        `Phi_S` (n, p), `Y_S` (n, k), and the `lam_S` to train on them with.

    Raises
    ------
    ValueError
        When the changed set trains another model; the message says how far away and what `M` may be.

    Notes
    -----
    Book: prop-gauge. Judged by training on both sets. Relative to ``||W|| + ||Y_S|| / ||Phi_S||`` their models may
    differ by what rounding explains, at most sqrt(eps).

    Examples
    --------
    >>> import numpy as np
    >>> twice = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[2.0], [2.0]])  # one point, two times
    >>> Phi_S, Y_S, lam_S = change_of_basis(*twice, np.array([[0.5, 0.5]]))
    >>> Phi_S, Y_S
    (array([[1., 0.]]), array([[2.]]))
    """
    xp, lam_S = check_arrays(Phi_S=Phi_S, Y_S=Y_S, M=M), check_lam(lam_S, "lam_S")
    m = Phi_S.shape[0]
    if Y_S.shape[0] != m or M.shape[1] != m:
        shapes = tuple(M.shape), tuple(Phi_S.shape), tuple(Y_S.shape)
        raise ValueError("M (n, m), Phi_S (m, p), Y_S (m, k) do not fit: {}, {}, {}".format(*shapes))
    eps = float(xp.finfo(M.dtype).eps)
    MtM = M.mT @ M
    scale = _number(xp.linalg.trace(MtM)) / m  # c^2, should M be c times an isometry
    isometry = _norm(xp, MtM - scale * xp.eye(m, dtype=M.dtype, device=device(M))) <= math.sqrt(eps) * scale
    new_lam = lam_S * scale if isometry and abs(scale - 1) > 100 * eps else lam_S
    new = ChangedSet(M @ Phi_S, M @ Y_S, new_lam)
    W, unit, allowed = _train(xp, Phi_S, Y_S, lam_S)
    W_new, unit_new, allowed_new = _train(xp, *new)
    error, unit, allowed = _norm(xp, W_new - W), max(unit, unit_new) or 1.0, max(allowed, allowed_new)
    if error > allowed * unit:
        R = Y_S - Phi_S @ W
        broken = _norm(xp, Phi_S.mT @ (MtM @ R - R)) / (_norm(xp, Phi_S.mT @ Y_S) or 1.0)
        raise ValueError(
            f"the changed set trains a model {error / (_norm(xp, W) or 1.0):.3g} away from that of the given set, "
            f"relative to its norm: R = Y_S - Phi_S W is {_norm(xp, R) / (_norm(xp, Y_S) or 1.0):.3g} of Y_S, "
            f"Phi_S^T (M^T M - I) R is {broken:.3g} of Phi_S^T Y_S, lam_S = {lam_S:.3g}; use an orthogonal M, or at "
            "lam_S = 0 labels Phi_S W and an M that keeps the rank"
        )
    return new


def orthonormal(W, m=None, *, rtol=None):
    """The best-conditioned features of an exact distilled set for `W`: condition number 1, for every ``lam_S >= 0``.

    The first r rows are an orthonormal basis of the columns of `W`, r its rank, and the others complete it. Labels are
    ``(1 + lam_S) Phi_S W``, those of `distill.labels`; further rows get label zero. With more points than features the
    columns are orthonormal instead, and every point carries a label.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    m : int, optional
        Number of points, at least r. Default: r.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value. Default: 1e-10, or max(p, k) * eps where larger.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError, TypeError
        For m < r, or m not an integer.

    Notes
    -----
    Book: prop-gauge. All singular values are 1, so rounding the features to a shorter dtype does the least harm.

    Examples
    --------
    >>> import numpy as np
    >>> np.abs(orthonormal(np.array([[3.0], [4.0]]))).round(12)
    array([[0.6, 0.8]])
    """
    xp = check_arrays(W=W)
    U, s, Vh = xp.linalg.svd(W, full_matrices=False)
    p, r = W.shape[0], int(xp.sum(xp.astype(s > _rank_rtol(xp, W, rtol) * s[0], xp.int64)))
    m = max(r, 1) if m is None else m
    try:
        m = operator.index(m)
    except TypeError as error:
        raise TypeError(f"m must be an integer, got {m!r}") from error
    if m < max(r, 1):
        raise ValueError(f"m = {m} points cannot carry W of rank {r}; use {max(r, 1)} or a model of lower rank")
    Q = U[:, :r]
    _warn_dropped(xp, W, (U[:, r:] * s[r:]) @ Vh[r:, :])
    eye = xp.eye(p, dtype=W.dtype, device=device(W))
    more = xp.linalg.qr(xp.concat([Q, eye[:, : min(m, p) - r]], axis=1))[0][:, r:]  # orthonormal at any rank
    rows = xp.concat([Q, more], axis=1).mT
    return rows if m <= p else _frame(xp, m, W) @ rows


def _frame(xp, m, like):
    """(m, p) matrix with orthonormal columns, m >= p: the first p cosines of the discrete cosine transform."""
    i = xp.arange(m, dtype=xp.int64, device=device(like))[:, None]
    j = xp.arange(like.shape[0], dtype=xp.int64, device=device(like))[None, :]
    angle = xp.astype((2 * i + 1) * j % (4 * m), like.dtype) * (math.pi / (2 * m))  # reduced before it is rounded
    first = xp.astype(j == 0, like.dtype)
    return xp.cos(angle) * (first * math.sqrt(1 / m) + (1 - first) * math.sqrt(2 / m))


def _train(xp, Phi, Y, lam):
    """The model of a set, the size that its rounding errors are relative to, and how large they may be."""
    U, t, Vh = xp.linalg.svd(Phi, full_matrices=False)
    eps = float(xp.finfo(t.dtype).eps)
    rank = int(xp.sum(xp.astype(t > max(Phi.shape) * eps * t[0], xp.int64)))
    if rank == 0:
        return xp.zeros_like(Phi.mT @ Y), 0.0, 0.0
    U, t, Vh = U[:, :rank], t[:rank], Vh[:rank, :]
    W = Vh.mT @ ((U.mT @ Y) / (t + lam / t)[:, None])
    condition, unit = _number(t[0]) / _number(t[-1]), _norm(xp, W) + _norm(xp, Y) / _number(t[0])
    residual = _norm(xp, Y - Phi @ W) / _number(t[0]) / (unit or 1.0)
    return W, unit, min(100 * eps * (condition + condition**2 * residual), math.sqrt(eps))


def _warn_dropped(xp, W, part):
    lost = _norm(xp, part) / (_norm(xp, W) or 1.0)
    if lost > 100 * float(xp.finfo(W.dtype).eps):
        warnings.warn(f"the rank cutoff drops a fraction {lost:.2g} of W; pass a smaller rtol to keep it", stacklevel=3)


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
