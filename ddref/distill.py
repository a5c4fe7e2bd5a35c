"""Exact distilled sets: which features and labels train the same model.

A set `(Phi_S, Y_S, lam_S)` is exact when kernel ridge regression on it returns the
given `W` (p, k). `labels` completes given features, `features` completes given labels;
both refuse what cannot be done.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    ThinSVD,
    check_arrays,
    check_finite,
    check_kept,
    check_lam,
    check_shapes,
    eps_of,
    explained,
    larger_root,
    model_svd,
    norm,
    number,
    relative,
    thin_svd,
    warn_dropped,
)  # fmt: skip


class RankReport(NamedTuple):
    """Numerical rank of a model and what the cutoff separated, relative to the largest
    singular value.
    """

    rank: int
    kept: float  # smallest singular value kept
    discarded: float  # largest singular value taken for zero
    rtol: float


def rank_report(W: Array, *, rtol: float | None = None) -> RankReport:
    """Numerical rank of `W`, the smallest singular value kept and the largest
    discarded.

    Parameters
    ----------
    W : array (p, k)
        Model.
    rtol : float, optional
        Singular values up to `rtol` times the largest count as zero. Default: 1e-10, or
        max(p, k) * eps of the dtype where that is larger (float32): rounding in a
        fitted W is far above max(p, k) * eps, and for small `lam`, or column means that
        carry rounding, may be above 1e-10. Look at what was discarded.

    Returns
    -------
    RankReport
        `rank`, and `kept`, `discarded` relative to the largest singular value (0.0
        where there is none).

    Notes
    -----
    Book: thm-necessity.

    Examples
    --------
    >>> import numpy as np
    >>> rank_report(np.diag([2.0, 1.0, 2e-12]))
    RankReport(rank=2, kept=0.5, discarded=1e-12, rtol=1e-10)
    """
    check_arrays(W=W)
    svd = model_svd(W, rtol)
    if svd.rank == 0:
        return RankReport(0, 0.0, 0.0, svd.rtol)
    largest, smallest = number(svd.s[0]), number(svd.s[-1])
    return RankReport(svd.rank, smallest / largest, svd.next / largest, svd.rtol)


def minimal_points(W: Array, *, rtol: float | None = None) -> int:
    """Fewest points of an exact distilled set for `W`: its rank.

    Parameters
    ----------
    W : array (p, k)
        Model.
    rtol : float, optional
        Rank cutoff relative to the largest singular value, see `rank_report`, which
        also tells what the cutoff discarded.

    Returns
    -------
    int
        ``rank(W)``; no set with fewer points is exact, and for features free in R^p
        this many are enough.

    Notes
    -----
    Book: thm-necessity. Source: Chen, Huang and Weng (2024), Thm 4.1 (there for given
    labels and m < k).

    Examples
    --------
    >>> import numpy as np
    >>> minimal_points(np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]]))
    1
    """
    return rank_report(W, rtol=rtol).rank


def labels(
    Phi_S: Array,
    W: Array,
    lam_S: float = 0.0,
    *,
    rtol: float | None = None,
    span_tol: float | None = None,
) -> Array:
    """Labels that make the features `Phi_S` an exact distilled set for `W`.

    ``Y_S = (Phi_S + lam_S (Phi_S^+)^T) W``, for any ``lam_S >= 0``: at ``lam_S = 0``
    the predictions of the model on its own distilled points. Works if and only if the
    rows of `Phi_S` span the columns of `W`.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points, rows are samples.
    W : array (p, k)
        Model to reproduce.
    lam_S : float
        Regularisation that will be used to train on the distilled set.
    rtol : float, optional
        Rank cutoff of `Phi_S` relative to its largest singular value. Default: max(m,
        p) * eps.
    span_tol : float, optional
        How much of `W` may be missing from the span of the rows, relative to its norm.
        Default: 100 * eps * the condition number of `Phi_S` (what rounding in `Phi_S`
        can do), at most sqrt(eps).

    Returns
    -------
    array (m, k)

    Raises
    ------
    ValueError
        When the rows do not span the columns of `W`; the message names the missing
        fraction. Only the part of `W` below its rank cutoff may be missing (see
        `rank_report`), and a warning says so.

    Notes
    -----
    Book: thm-characterisation. Source: extends Chen, Huang and Weng (2024), Thm 4.2.
    All other labels that are exact for the same features differ by
    ``(I - Phi_S Phi_S^+) E``. They grow as ``lam_S / t_min``, t_min the smallest
    singular value of `Phi_S`.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S, W = np.array([[2.0, 0.0]]), np.array([[3.0], [0.0]])
    >>> labels(Phi_S, W, lam_S=4.0)  # (2 + 4 / 2) * 3
    array([[12.]])
    """
    check_arrays(Phi_S=Phi_S, W=W)
    check_shapes(Phi_S=(Phi_S, "mp"), W=(W, "pk"))
    lam_S = check_lam(lam_S, "lam_S")
    svd = thin_svd(Phi_S, rtol)
    check_span(svd, W, span_tol)
    Y_S = Phi_S @ W + lam_S * (svd.U @ ((svd.Vh @ W) / svd.s[:, None]))
    check_kept(W, svd.rounding(Y_S, lam_S), Y_S, max(0.1, span_tol or 0.0))
    return Y_S


def features(
    W: Array,
    Y_S: Array,
    lam_S: float = 0.0,
    *,
    Z: Array | None = None,
    signs: Sequence[int] | None = None,
    rtol: float | None = None,
) -> Array:
    """Features that make the labels `Y_S` an exact distilled set for `W`.

    The `carrier` D must be the regularised pseudo-inverse of the features. Its SVD ``U
    diag(s) V^T`` gives ``Phi_S = V diag(t) U^T`` with ``t / (t^2 + lam_S) = s``: two
    positive roots per singular value (one at lam_S = 0), for ``lam_S <= 1 / (4
    s_max^2)``.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points, one row each; rank k is enough.
    lam_S : float
        Regularisation that will be used to train on the distilled set, at most
        ``largest_lam(W, Y_S, Z=Z)`` (64 eps above it still count as the bound).
    Z : array (p, m), optional
        The free part; default 0, which admits the largest `lam_S`. With more points
        than classes it decides what the points look like (with repeated one-hot labels
        and Z = 0, points repeat).
    signs : sequence of +1 and -1, optional
        Larger (+1) or smaller root for each non-zero singular value of D, largest
        first. Default: all +1, the only choice at ``lam_S = 0``. Mixed branches are
        exact but lose ``log10(t_max / t_min)`` digits, as a warning says.
    rtol : float, optional
        Singular values of D up to `rtol` times the largest count as zero, for every
        `lam_S`. Default: 1e-10, or max(p, m) * eps where larger. A warning names what
        is lost of W, if more than rounding.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError
        When the labels cannot carry `W`, see `carrier`; when `lam_S` is above the
        bound; when `signs` has the wrong length or asks for the smaller root at
        ``lam_S = 0``.

    Notes
    -----
    Book: thm-given-labels. Source: Chen, Huang and Weng (2024), Thm 4.1 and 5.1.

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
    lam_S = check_lam(lam_S, "lam_S")
    D = carrier(W, Y_S, Z)
    svd = model_svd(D, rtol)
    _warn_cut_of_carrier(D, svd, Y_S, W)
    t = larger_root(svd.s, lam_S, "" if Z is None else " (and Z by its inverse)")
    if signs is not None:
        t = _on_branches(t, lam_S, signs)
    Phi_S = (svd.Vh.mT * t) @ svd.U.mT
    check_kept(W, retraining_loss(Phi_S, Y_S, lam_S, W), Phi_S)
    return Phi_S


def largest_lam(W: Array, Y_S: Array, *, Z: Array | None = None) -> float:
    """Largest `lam_S` for which the labels `Y_S` admit exact features.

    ``1 / (4 ||D||_2^2)`` with D the `carrier`.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points. Scaling them by c multiplies the bound by c^2,
        and a set ``(Phi_S, Y_S, lam_S)`` becomes ``(c Phi_S, c Y_S, c^2 lam_S)``; at
        ``lam_S = 0`` that does not help who trains with another lambda.
    Z : array (p, m), optional
        The free part of D; the default 0 admits the largest bound.

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
    s = model_svd(carrier(W, Y_S, Z)).s  # as `features` does, to the last bit
    root = 0.5 / number(s[0]) if s.shape[0] else math.inf
    return root * root


def carrier(W: Array, Y_S: Array, Z: Array | None = None) -> Array:
    """What the regularised pseudo-inverse of features with labels `Y_S` must be.

    ``D = W Y_S^+ + Z (I - Y_S Y_S^+)``: every solution of ``D Y_S = W``.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points.
    Z : array (p, m), optional
        The free part; default 0.

    Returns
    -------
    array (p, m)

    Raises
    ------
    ValueError
        When the labels cannot carry `W`: ``W Y_S^+ Y_S != W``, for instance for m <
        rank(W). Only the part of `W` below its rank cutoff may be lost, and a warning
        says so.

    Notes
    -----
    Book: thm-given-labels.

    Examples
    --------
    >>> import numpy as np
    >>> carrier(np.array([[2.0], [0.0]]), np.array([[4.0]]))
    array([[0.5],
           [0. ]])
    """
    check_arrays(W=W, Y_S=Y_S, Z=Z)
    check_shapes(W=(W, "pk"), Y_S=(Y_S, "mk"), Z=(Z, "pm"))
    svd = model_svd(Y_S)  # predictions of a model have its rank, and its rounding
    Y_pinv = svd.pinv()
    _check_carried(W, Y_S, Y_pinv, svd)
    D = W @ Y_pinv if Z is None else Z - (Z @ Y_S) @ Y_pinv
    for _ in range(3):  # each step takes away what rounding left in the last
        D = D + (W - D @ Y_S) @ Y_pinv
    check_finite(carrier=D)
    return D


def check_span(
    svd: ThinSVD,
    W: Array,
    span_tol: float | None = None,
    *,
    condition: float | None = None,
    centred: bool = False,
) -> None:
    """Refuse rows, given by their SVD, that do not span the columns of `W`.

    What may be missing is `span_tol`, or what rounding explains at this `condition`
    number (default: that of the rows), and what lies below the rank cutoff of `W`.
    ValueError with the fraction that is missing.
    """
    condition = svd.condition if condition is None else condition
    given = explained(W, condition) if span_tol is None else span_tol
    span_tol = check_lam(given, "span_tol")
    missing = relative(svd.outside(W), W)
    if missing > span_tol and _beyond_rank_cutoff(W, svd.outside, span_tol, condition):
        r = minimal_points(W)
        after = " after centring" if centred else ""
        noise = eps_of(W) * condition
        noisy = svd.rank >= r and 100 * noise > span_tol
        cause = f", or, as rounding costs about {noise:.1g} here, float64, better "
        cause += "conditioned rows, a smaller mean" if centred else "conditioned rows"
        raise ValueError(
            f"the {svd.U.shape[0]} rows of Phi_S (rank {svd.rank}{after}) miss a "
            f"fraction {missing:.3g} of W (rank {r}), more than span_tol = "
            f"{span_tol:.3g}: no labels make them exact; use at least {r + centred} "
            f"rows that span the columns of W{after}{cause if noisy else ''}"
        )


def retraining_loss(Phi_S: Array, Y_S: Array, lam_S: float, W: Array) -> float:
    """How far training on a set is from W, and what its last bits add."""
    check_finite(features=Phi_S)
    svd = thin_svd(Phi_S)
    return norm(svd.solve(Y_S, lam_S) - W) + svd.rounding(Y_S, lam_S)


def _check_carried(W: Array, Y_S: Array, Y_pinv: Array, svd: ThinSVD) -> None:
    """Refuse labels, given with their pseudo-inverse and SVD, that cannot carry W."""

    def missed(A: Array) -> Array:
        return A - (A @ Y_pinv) @ Y_S

    missing = relative(missed(W), W)
    allowed = explained(W, svd.condition)
    if missing > allowed and _beyond_rank_cutoff(W, missed, allowed, svd.condition):
        raise ValueError(
            f"the labels cannot carry W: a fraction {missing:.3g} of it is lost in W "
            f"Y_S^+ Y_S (at most {allowed:.2g} is allowed); Y_S has {Y_S.shape[0]} "
            f"rows and rank {svd.rank}, W has rank {minimal_points(W)}: use labels of "
            f"rank {W.shape[1]}, or whose rows span those of W"
        )


def _beyond_rank_cutoff(
    W: Array, missed: Callable[[Array], Array], allowed: float, condition: float
) -> bool:
    """Whether a set misses more of W than what W's own rank cutoff takes for zero.

    Warns where it does not. What the cutoff discards also tilts spans computed from W.
    """
    svd = model_svd(W)
    tilt = 10 * condition * svd.next / number(svd.s[0])
    allowed = min(allowed + tilt, math.sqrt(eps_of(W)))
    if norm(missed((svd.U * svd.s) @ svd.Vh)) > allowed * norm(W):
        return True
    warnings.warn(
        f"a fraction {relative(missed(W), W):.2g} of W, below its rank cutoff, is "
        "lost; see rank_report",
        stacklevel=4,
    )
    return False


def _on_branches(t_plus: Array, lam_S: float, signs: Sequence[int]) -> Array:
    """The larger or the smaller root for each singular value, as `signs` ask."""
    xp, r = array_namespace(t_plus), t_plus.shape[0]
    if len(signs) != r or any(sign not in (1, -1) for sign in signs):
        raise ValueError(
            f"signs must be {r} values +1 or -1, one per non-zero singular value of D"
        )
    if lam_S == 0 and -1 in signs:
        raise ValueError(
            "at lam_S = 0 only the + branch exists: the - branch is t = 0; pass "
            "lam_S > 0 or signs=None"
        )
    plus = xp.asarray(
        [sign == 1 for sign in signs], dtype=xp.bool, device=device(t_plus)
    )
    root = math.sqrt(lam_S)  # the product of the two roots is lam_S
    t = xp.where(plus, t_plus, root / t_plus * root)
    if len(set(signs)) > 1:
        ratio = number(xp.max(t)) / number(xp.min(t))
        warnings.warn(
            f"mixed branches: t_max / t_min = {ratio:.3g}, so about "
            f"{ratio * eps_of(t):.1g} of W is lost to rounding",
            stacklevel=3,
        )
    return t


def _warn_cut_of_carrier(D: Array, svd: ThinSVD, Y_S: Array, W: Array) -> None:
    """Warn when the rank cutoff of D took more than the rounding of D Y_S from W."""
    lost = D @ Y_S - (svd.U * svd.s) @ (svd.Vh @ Y_S)
    if norm(lost) > 100 * eps_of(W) * norm(D) * norm(Y_S):
        warn_dropped(relative(lost, W), W, stacklevel=4)
