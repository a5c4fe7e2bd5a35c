"""The gauge of exact distilled sets: which changes of basis keep the model, and the
best-conditioned set.

Multiplying features and labels by one matrix mixes the points. Whether the same model
is trained afterwards depends on the labels: predictions of the model allow every
invertible matrix, others only some.
"""

import math
from typing import NamedTuple

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    check_arrays,
    check_count,
    check_finite,
    check_lam,
    check_shapes,
    complement,
    cosines,
    eps_of,
    model_svd,
    norm,
    number,
    relative,
    thin_svd,
    warn_dropped,
)
from .measure import certify


class ChangedSet(NamedTuple):
    """A distilled set after a change of basis: it trains the same model."""

    Phi_S: Array  # M Phi_S
    Y_S: Array  # M Y_S
    lam_S: float  # as given, or c^2 times that for M = c times an isometry


def change_of_basis(
    Phi_S: Array, Y_S: Array, M: Array, lam_S: float = 0.0
) -> ChangedSet:
    """The set ``(M Phi_S, M Y_S)``, refused where it would train another model.

    Let W be the model that the given set trains and ``R = Y_S - Phi_S W`` what it
    leaves unexplained. Always allowed: orthogonal `M`, and c times an orthogonal one
    with `lam_S` times c^2 (so that a set fits the lambda that somebody trains with; at
    ``lam_S = 0`` it stays 0, and no c helps who trains with another). At ``lam_S = 0``
    any `M` that loses no direction of `W` is allowed if and only if ``Phi_S^T (M^T M -
    I) R = 0``: every invertible one where R = 0.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points, rows are samples.
    Y_S : array (m, k)
        Their labels.
    M : array (n, m)
        The change: square and invertible to mix m points, tall to spread them over
        more, wide to merge some.
    lam_S : float
        Regularisation used to train on the given set.

    Returns
    -------
    ChangedSet
        `Phi_S` (n, p), `Y_S` (n, k), and the `lam_S` to train on them with.

    Raises
    ------
    ValueError
        When the changed set trains another model; the message says how far away and
        what `M` may be.

    Notes
    -----
    Book: prop-gauge. Judged by training on both sets, by `measure.certify`: relative to
    ``||W|| + ||Y_S|| / (t + lam_S / t)``, t the largest singular value of `Phi_S`,
    their models may differ by what rounding explains.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S, Y_S = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[2.0], [2.0]])
    >>> merge = np.array([[0.5, 0.5]])  # one point, given twice
    >>> Phi_S, Y_S, lam_S = change_of_basis(Phi_S, Y_S, merge)
    >>> Phi_S, Y_S
    (array([[1., 0.]]), array([[2.]]))
    """
    check_arrays(Phi_S=Phi_S, Y_S=Y_S, M=M)
    check_shapes(M=(M, "nm"), Phi_S=(Phi_S, "mp"), Y_S=(Y_S, "mk"))
    old = ChangedSet(Phi_S, Y_S, check_lam(lam_S, "lam_S"))
    new = ChangedSet(M @ Phi_S, M @ Y_S, old.lam_S * _scale_of_lam(M))
    check_finite(**{"M @ Phi_S": new.Phi_S, "M @ Y_S": new.Y_S})
    _check_same_model(old, new, M)
    return new


def orthonormal(W: Array, m: int | None = None, *, rtol: float | None = None) -> Array:
    """The best-conditioned features of an exact distilled set: condition number 1.

    The first r rows are an orthonormal basis of the columns of `W`, r its rank, and the
    others complete it. Labels are ``(1 + lam_S) Phi_S W``, those of `distill.labels`;
    further rows get label zero. With more points than features the columns are
    orthonormal instead, and every point carries a label.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    m : int, optional
        Number of points, at least r. Default: r.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value. Default: 1e-10, or
        max(p, k) * eps where larger.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError, TypeError
        For m < r, or m not an integer.

    Notes
    -----
    Book: prop-gauge. All singular values are 1, so rounding the features to a shorter
    dtype does the least harm.

    Examples
    --------
    >>> import numpy as np
    >>> np.abs(orthonormal(np.array([[3.0], [4.0]]))).round(12)
    array([[0.6, 0.8]])
    """
    xp = check_arrays(W=W)
    svd = model_svd(W, rtol)
    m = _enough_points(m, svd.rank)
    warn_dropped(svd.lost, W)
    p, r = svd.U.shape
    axes = xp.eye(p, dtype=W.dtype, device=device(W))[:, : min(m, p) - r]
    rows = xp.concat([svd.U, complement(svd.U, of=axes)], axis=1).mT
    return rows if m <= p else cosines(m, p, like=W) @ rows


def _scale_of_lam(M: Array) -> float:
    """c^2 for M = c times an isometry, else 1.0."""
    xp = array_namespace(M)
    MtM = M.mT @ M
    m = M.shape[1]
    scale = number(xp.linalg.trace(MtM)) / m
    eye = xp.eye(m, dtype=M.dtype, device=device(M))
    isometry = norm(MtM - scale * eye) <= math.sqrt(eps_of(M)) * scale
    return scale if isometry and abs(scale - 1) > 100 * eps_of(M) else 1.0


def _check_same_model(old: ChangedSet, new: ChangedSet, M: Array) -> None:
    """Refuse a change after which training gives another model, beyond rounding."""
    W, unit, lost, condition = _trained(*old)
    W_new, unit_new, lost_new, condition_new = _trained(*new)
    error, unit = norm(W_new - W), max(unit, unit_new) or 1.0
    lost, condition = (lost + lost_new) / unit, max(condition, condition_new)
    judged = certify(
        error / unit, condition, W, rounding=lost / condition, uncertain=lost
    )
    if not judged.exact:
        R = old.Y_S - old.Phi_S @ W
        broken = old.Phi_S.mT @ (M.mT @ (M @ R) - R)
        raise ValueError(
            f"the changed set trains a model {error / (norm(W) or 1.0):.3g} away from "
            f"that of the given set, relative to its norm: R = Y_S - Phi_S W is "
            f"{relative(R, old.Y_S):.3g} of Y_S, Phi_S^T (M^T M - I) R is "
            f"{relative(broken, old.Phi_S.mT @ old.Y_S):.3g} of Phi_S^T Y_S, lam_S = "
            f"{old.lam_S:.3g}; use an orthogonal M, or at lam_S = 0 labels Phi_S W and "
            "an M that keeps the rank"
        )


def _trained(Phi: Array, Y: Array, lam: float) -> tuple[Array, float, float, float]:
    """The model of a set, the size that its rounding errors are relative to, what
    rounding may do to it, and the condition number of the features.
    """
    svd = thin_svd(Phi)  # also at lam > 0: what rounding can change is not judged
    W = svd.solve(Y, lam)
    if svd.rank == 0:
        return W, 0.0, 0.0, 1.0
    unit = norm(W) + norm(Y) / number(svd.damped(lam)[0])
    return W, unit, svd.rounding(Y, lam), svd.condition


def _enough_points(m: int | None, r: int) -> int:
    """Number of points, by default the fewest; refused below the rank r of W."""
    least = max(r, 1)
    m = least if m is None else check_count(m, "m", 0)
    if m < least:
        raise ValueError(
            f"m = {m} points cannot carry W of rank {r}; use {least} or a model of "
            "lower rank"
        )
    return m
