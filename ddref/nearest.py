"""The exact distilled sets nearest to given features, and the distance that no exact set can beat.

A set is exact for `W` (p, k) when training on it returns `W`. Features that allow it, whatever the labels and
`lam_S`, are those whose rows span the columns of `W`; `nearest` finds the closest of them to `Phi_0` (m, p). Its
labels are those of the characterisation, ``(Phi_S + lam_S (Phi_S^+)^T) W``: at ``lam_S = 0`` the predictions of the
model on the returned points. "Near" is meant in features; in pixels only where the feature map is the identity.

Gradients flow through PyTorch inputs where the singular values involved are distinct; at ties they are NaN.
"""

import math
import warnings

from array_api_compat import array_namespace, device

W_RTOL = 1e-10  # default cutoff for the rank of W: below it, singular values of a fitted W are rounding
# Defaults by bits of the dtype, see max_condition of nearest
RAISED_TO = {64: 5e4, 32: 1e3}  # condition number that small singular values are raised to
MAX_CONDITION = {64: 1.5e6, 32: 1e3}  # above RAISED_TO up to here where raising would cost distance, and
MAX_STRETCH = 3.2e4  # the coefficients of W are not longer than this allows
SLACK = 9e-7  # what raising for free may add to the distance, relative
MAX_ERROR = {64: 1e-10, 32: 1e-3}  # see nearest_pseudoinverse


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


def nearest(Phi_0, W, *, max_condition=None, rtol=None):
    """Features nearest to `Phi_0` among all exact distilled sets of `W`, labels free, for any ``lam_S >= 0``.

    ``Phi_0 Q Q^T + trunc_{m-r}(Phi_0 (I - Q Q^T))``, Q (p, r) an orthonormal basis of the columns of `W`. Where this
    minimum is not attained, or only by features too ill conditioned to be stored and trained on, well-conditioned ones
    with the same singular vectors: still an exact set, a little farther away.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples; m is at least the rank r of `W`.
    W : array (p, k)
        Model to reproduce.
    max_condition : float, optional
        Largest condition number of the returned features, at least 3. The closed form is kept up to it. Rounding makes
        a relative error of about ``max_condition * eps`` in the retrained model, and storing in a shorter dtype one of
        ``max_condition`` times that dtype's eps. A larger limit moves the points less. Default: 1e3 in float32 (errors
        of about 1e-4). In float64 5e4, and up to 1.5e6 where the distance would otherwise exceed the bound by more than
        9e-7 of it and `W` does not lean on small singular values (``||Phi_S|| ||alpha|| <= 3.2e4 ||W||`` for
        the smallest alpha with ``W = Phi_S^T alpha``): see Notes.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value. Default: 1e-10, or max(p, k) * eps where larger.

    Returns
    -------
    array (m, p)
        At distance `nearest_lower_bound` from `Phi_0` where the closed form is within `max_condition`: a copy of
        `Phi_0`, to the last bit, when that can carry `W` already. Otherwise a little farther: singular values of
        the closed form below ``||Phi_0||_2 / max_condition`` are raised to it. The default raises them farther,
        where this adds at most 9e-7 of the bound. The labels are those of `distill.labels` for the returned array.

    Raises
    ------
    ValueError
        For m < r, for ``Phi_0 = 0`` (no scale to keep), for `max_condition` below 3 or above 0.01 / eps.

    Notes
    -----
    Book: thm-nearest. Improves on Chen, Huang and Weng (2024), Cor. 4.1.1, see `nearest_pseudoinverse`. To store the
    set in a shorter dtype, round these features first and compute the labels from the rounded ones.

    Why the default is small: solvers that square the condition number, as ``(K + lam_S I) a = Y`` does, err by about
    ``eps ||Phi_S||^2 ||alpha|| / (40 sqrt(lam_S) ||W||)`` for small `lam_S`, and no labels can prevent it. With the
    default this is below 1e-10 at ``lam_S = 1`` for sets near 10 to 1,000 standardised images of 784 pixels; a limit of
    1e6 gives 7e-10. Where the bound is attained, but too ill conditioned for that (520 to 570 images of MNIST), the
    default prefers the digits: 550 images move by 7.4e-5 of their norm, 5 % more than the bound.

    Departures from the textbook formula: where nothing is truncated, `Phi_0` keeps its bits; right singular vectors are
    sought in the orthogonal complement of Q, where those of singular value zero lie too; small singular values are
    raised, not dropped; the condition number is measured on the result.

    Examples
    --------
    >>> import numpy as np
    >>> nearest(np.array([[1.0, 1.0], [2.0, 1.0]]), np.array([[3.0], [0.0]]))  # spans W already
    array([[1., 1.],
           [2., 1.]])
    >>> nearest(np.array([[1.0, 0.5]]), np.array([[3.0], [0.0]])).round(12)  # one point must be parallel to W
    array([[1., 0.]])
    """
    xp = check_arrays(Phi_0=Phi_0, W=W)
    bits, limit = xp.finfo(Phi_0.dtype).bits, _max_condition(xp, Phi_0, max_condition)
    aim = limit if max_condition is not None else RAISED_TO[bits]
    Q = _columns(xp, Phi_0, W, rtol)
    r = Q.shape[1]
    if r == 0:
        return 1 * Phi_0  # a copy: for W = 0, with labels zero, every set is exact
    size, W = _number(xp.linalg.svdvals(Phi_0)[0]), Q @ (Q.mT @ W)
    if size == 0:
        raise ValueError("Phi_0 is zero, it has no scale to keep; take orthonormal rows that span W, times a scale")
    U, s, V = _outside(xp, Phi_0, Q)
    c = min(Phi_0.shape) - r  # as many directions outside Q as an exact set has room for
    dropped, s, V, F = s[c:], s[:c], V[:, :c], Phi_0 @ Q
    Phi_S = F @ Q.mT + (U[:, :c] * s) @ V.mT if bool(xp.any(dropped > 0)) else 1 * Phi_0
    condition, missing, _, _ = _span(xp, Phi_S, W)
    if condition <= aim and missing <= _rounding(xp, W, condition):
        return Phi_S
    # In the orthonormal coordinates [Q, V] the rows are [F, U diag(s)], with c + r = min(m, p) columns; of full column
    # rank they span Q. Raising the small singular values of this matrix is the smallest change that bounds its
    # condition number.
    A, t, Bh = xp.linalg.svd(xp.concat([F, U[:, :c] * s], axis=1), full_matrices=False)
    back = Bh @ xp.concat([Q, V], axis=1).mT
    tries = [(1.01 * size / aim * 2**i, aim, math.inf) for i in range(2 + int(math.log2(2 * aim)))]
    if aim < limit:
        tries.insert(0, (_free_floor(t / size, dropped / size, 1.01 / aim) * size, limit, MAX_STRETCH))
    for floor, most, longest in tries:
        more = xp.where(t < floor, floor - t, xp.zeros_like(t))
        raised = Phi_S + (A * more) @ back if floor else Phi_S
        condition, missing, rank, stretch = _span(xp, raised, W)  # measured, on the rows as returned
        carried = missing <= _rounding(xp, W, condition) and (rank == c + r or not floor)
        if carried and condition <= most and stretch <= longest:
            return raised
    raise RuntimeError(f"no features with a condition number up to {limit:.3g} found, the last had {condition:.3g}")


def nearest_lower_bound(Phi_0, W, *, rtol=None):
    """Distance from `Phi_0` that no exact distilled set of `W` with as many points can beat.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features, rows are samples; m is at least the rank r of `W`.
    W : array (p, k)
        Model to reproduce.
    rtol : float, optional
        Rank cutoff of `W`, see `nearest`.

    Returns
    -------
    float
        In units of `Phi_0`: ``||Phi_S - Phi_0||_F`` is at least this for every exact set, whatever its labels and
        ``lam_S``; divide by ``||Phi_0||_F`` for the relative distance. 0.0 for m >= p.

    Raises
    ------
    ValueError
        For m < r: no exact set exists.

    Notes
    -----
    Book: thm-nearest. The square is the sum of the r smallest of the m squared singular values (padded by zeros) of
    ``Phi_0 (I - Q Q^T)``. An infimum: where ``N^T Phi_0 Q`` (N a basis of the left null space of the truncated part)
    is rank deficient, exact sets come as close as one likes and none attains it. Rounding, max(m, p) * eps of the
    largest singular value, counts as zero.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_lower_bound(np.array([[1.0, 0.5]]), np.array([[3.0], [0.0]]))
    0.5
    """
    xp = check_arrays(Phi_0=Phi_0, W=W)
    Q = _columns(xp, Phi_0, W, rtol)
    s = _outside(xp, Phi_0, Q)[1][min(Phi_0.shape) - Q.shape[1] :]
    return _norm(xp, s) if s.shape[0] else 0.0


def nearest_given_labels(Phi_0, W, Y_S, *, max_condition=None, rtol=None):
    """Features nearest to `Phi_0` among those that fit given labels exactly, ``Phi_S W = Y_S``; for ``lam_S = 0``.

    ``Y_S W^+ + trunc_{m-r}(Phi_0 (I - W W^+))``. With labels free, `nearest` comes closer.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples; m is at least the rank r of `W`.
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points.
    max_condition : float, optional
        Condition number above which the result is refused, at least 3. Default as in `nearest`.
    rtol : float, optional
        Rank cutoff of `W`, see `nearest`.

    Returns
    -------
    array (m, p)
        Training on it with the labels `Y_S` and ``lam_S = 0`` gives `W`.

    Raises
    ------
    ValueError
        When the labels are not in the row space of `W` (``Y_S W^+ W != Y_S``), when the nearest features do not
        determine `W` (``N^T Y_S W^+ Q`` rank deficient, N a basis of the left null space of the truncated part), or
        do so only with a condition number above `max_condition`.

    Notes
    -----
    Book: thm-nearest-labels. Every exact set of full row rank fits its labels; an exact set that does not is moved
    although it need not be. For ``lam_S > 0`` no closed form is known.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_given_labels(np.array([[1.0, 0.5]]), np.array([[2.0], [0.0]]), np.array([[1.0]])).round(12)
    array([[0.5, 0. ]])
    """
    xp = check_arrays(Phi_0=Phi_0, W=W, Y_S=Y_S)
    limit = _max_condition(xp, Phi_0, max_condition)
    _check_labels(Phi_0, W, Y_S)
    Q = _columns(xp, Phi_0, W, rtol)
    r = Q.shape[1]
    W_pinv, condition = _regularized_pinv(xp, W, 0.0, _rank_rtol(xp, W, rtol))
    F = Y_S @ (W_pinv @ Q)
    missing, allowed = _relative(xp, F @ (Q.mT @ W) - Y_S, Y_S), _rounding(xp, W, condition)
    if missing > allowed:
        raise ValueError(
            f"a fraction {missing:.3g} of the labels is outside the row space of W (rank {r}; at most {allowed:.2g} "
            "is allowed): no features fit them; project them, Y_S W^+ W, or take predictions of the model"
        )
    if r == 0:
        return 1 * Phi_0  # a copy: W = 0 and Y_S = 0
    U, s, V = _outside(xp, Phi_0, Q)
    c = min(Phi_0.shape) - r
    Phi_S = F @ Q.mT + (U[:, :c] * s[:c]) @ V[:, :c].mT
    condition, missing, rank, _ = _span(xp, Phi_S, Q @ (Q.mT @ W))
    if condition > limit or missing > _rounding(xp, W, condition):
        raise ValueError(
            f"the nearest features that fit these labels have rank {rank}, condition number {condition:.3g} (at most "
            f"{limit:.3g} is allowed) and miss a fraction {missing:.3g} of W: N^T Y_S W^+ Q, N a basis of the left "
            f"null space of their part outside W, has not full column rank {r}, or hardly so; use other labels, "
            "raise max_condition, or leave the labels free (nearest)"
        )
    return Phi_S


def nearest_pseudoinverse(Phi_0, W, Y_S, lam_S=0.0, *, rtol=None, max_error=None):
    """Features whose regularised *pseudo-inverse* is nearest to that of `Phi_0`: the published choice, for comparison.

    ``D = W Y_S^+ + (Phi_0)_{lam_S}^+ (I - Y_S Y_S^+)`` is the matrix nearest to ``(Phi_0)_{lam_S}^+`` with
    ``D Y_S = W``; the features are those whose regularised pseudo-inverse is D, on the larger root.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples.
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points.
    lam_S : float
        Regularisation that will be used to train on the distilled set, at most ``1 / (4 ||D||_2^2)``.
    rtol : float, optional
        Singular values of D up to `rtol` times the largest count as zero. Default: 1e-10, or max(p, m) * eps.
    max_error : float, optional
        Relative error of the retrained model above which the result is refused. Default: 1e-10 in float64, 1e-3 in
        float32. Retraining is tried by the SVD and, where `lam_S` is not negligible, by solving the linear system.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError
        When the labels cannot carry `W` (``W Y_S^+ Y_S != W``), when `lam_S` is above the bound, or when training on
        the result misses `W` by more than `max_error`.

    Notes
    -----
    Book: cor-nearest-pseudoinverse. Source: Chen, Huang and Weng (2024), Cor. 4.1.1 and Algorithm 1. Nearest
    pseudo-inverses are not nearest features: inverting weighs the small singular values of `Phi_0` most.

    Exact on paper is not always exact in floating point, and no order of computation helps: near 1,000 images of
    Fashion-MNIST, with one-hot labels, the condition number is 5e7 and a third of the labels is not ``Phi_S W``, so
    that changing the last bit of the features changes the retrained model by 1e-5; near 750 of MNIST it is 1e7
    (predictions) and 1e8 (one-hot), and the last bit changes the model by up to 2e-10. Such sets are refused.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_pseudoinverse(np.array([[1.0, 0.5]]), np.array([[2.0], [0.0]]), np.array([[1.0]]))
    array([[0.5, 0. ]])
    """
    xp, lam_S = check_arrays(Phi_0=Phi_0, W=W, Y_S=Y_S), check_lam(lam_S, "lam_S")
    _check_labels(Phi_0, W, Y_S)
    Y_pinv, condition = _regularized_pinv(xp, Y_S, 0.0, _rank_rtol(xp, Y_S, None))
    D = W @ Y_pinv
    missing, allowed = _relative(xp, D @ Y_S - W, W), _rounding(xp, W, condition)
    if missing > allowed:
        raise ValueError(
            f"the labels cannot carry W: a fraction {missing:.3g} of it is lost in W Y_S^+ Y_S (at most {allowed:.2g} "
            f"is allowed); use labels of rank {W.shape[1]}, or whose rows span those of W"
        )
    Z = _regularized_pinv(xp, Phi_0, lam_S, _rtol(xp, Phi_0, None))[0]
    D = D + Z - (Z @ Y_S) @ Y_pinv
    U, s, Vh = xp.linalg.svd(D, full_matrices=False)
    r = int(xp.sum(xp.astype(s > _rank_rtol(xp, D, rtol) * s[0], xp.int64)))
    _warn_dropped(xp, W, (U[:, r:] * s[r:]) @ (Vh[r:, :] @ Y_S))
    U, s, Vh = U[:, :r], s[:r], Vh[:r, :]
    a = 2 * math.sqrt(lam_S) * s  # t / (t^2 + lam) = s has real roots for a <= 1, that is lam_S <= 1/(4 s^2)
    if r and _number(a[0]) > 1 + 64 * float(xp.finfo(s.dtype).eps):
        raise ValueError(
            f"lam_S = {lam_S:.6g} exceeds 1/(4 s_max^2) = {(0.5 / _number(s[0])) ** 2:.6g}, s_max the largest singular "
            "value of D; scale Y_S up, or pass a smaller lam_S"
        )
    q = xp.sqrt(xp.where(a < 1, (1 - a) * (1 + a), xp.zeros_like(a)))  # sqrt(1 - 4 lam s^2) without cancellation
    Phi_S = (Vh.mT * ((1 + q) / (2 * s))) @ U.mT
    _check_refit(xp, Phi_S, Y_S, lam_S, W, max_error)
    return Phi_S


def _columns(xp, Phi_0, W, rtol):
    """Orthonormal basis Q (p, r) of the columns of W; refuses fewer points than r."""
    if Phi_0.shape[1] != W.shape[0]:
        raise ValueError(f"Phi_0 has {Phi_0.shape[1]} features and W has {W.shape[0]} rows; they must match")
    U, s, Vh = xp.linalg.svd(W, full_matrices=False)
    r = int(xp.sum(xp.astype(s > _rank_rtol(xp, W, rtol) * s[0], xp.int64)))
    if Phi_0.shape[0] < r:
        raise ValueError(
            f"Phi_0 has {Phi_0.shape[0]} rows and W has rank {r} (number {r} is {_number(s[r - 1] / s[0]):.2g} of "
            f"its largest singular value): no exact set has fewer points; use {r} rows or a model of lower rank"
        )
    _warn_dropped(xp, W, (U[:, r:] * s[r:]) @ Vh[r:, :])
    return U[:, :r]


def _outside(xp, Phi_0, Q):
    """SVD U, s, V of Phi_0 (I - Q Q^T), with every column of V orthogonal to Q, also at singular value zero."""
    (m, p), r = Phi_0.shape, Q.shape[1]
    if r == p:
        empty = Phi_0[:, :0]
        return empty, Phi_0[0, :0], Q[:, :0]
    # QR gives orthonormal columns whatever the rank: the first r span Q, the others, E, what is outside it. Projecting
    # the rows themselves would leave eps ||Phi_0|| of Q in them, and their singular vectors in its span.
    rows = Phi_0.mT if m < p - r else xp.eye(p, dtype=Q.dtype, device=device(Q))
    E = xp.linalg.qr(xp.concat([Q, rows], axis=1))[0][:, r:]
    U, s, Vh = xp.linalg.svd(Phi_0 @ E, full_matrices=False)
    rounding = _rtol(xp, Phi_0, None) * _number(xp.linalg.svdvals(Phi_0)[0])
    return U, xp.where(s > rounding, s, xp.zeros_like(s)), E @ Vh.mT


def _free_floor(t, dropped, floor):
    """Largest floor, up to `floor`, to which raising t adds at most SLACK to the norm of what is dropped, or 0.0."""
    t, room = [_number(x) for x in t], 2 * SLACK * sum(_number(x) ** 2 for x in dropped)
    low, high = 0.0, floor
    for _ in range(40):  # what is raised is orthogonal to what is dropped, so their squares add up
        cost = sum(max(floor - x, 0.0) ** 2 for x in t)
        low, high = (floor, high) if cost <= room else (low, floor)
        floor = (low + high) / 2
    return low if low > min(t) else 0.0


def _span(xp, Phi_S, W):
    """Condition number of the rows, the fraction of W outside their span, their rank, as a refit will meet them.

    And the stretch: ``||Phi_S|| ||alpha|| / ||W||``, alpha the smallest coefficients with ``W = Phi_S^T alpha``.
    """
    _, t, Vh = xp.linalg.svd(Phi_S, full_matrices=False)
    rank = int(xp.sum(xp.astype(t > _rtol(xp, Phi_S, None) * t[0], xp.int64)))
    condition, inside = _number(t[0]) / _number(t[rank - 1]) if rank else 1.0, Vh[:rank, :] @ W
    stretch = _relative(xp, inside / (t[:rank] / t[0])[:, None], W) if rank else 0.0
    return condition, _relative(xp, W - Vh[:rank, :].mT @ inside, W), rank, stretch


def _regularized_pinv(xp, A, lam, rtol):
    """Regularised pseudo-inverse of A without singular values up to the cutoff, and its condition number."""
    U, t, Vh = xp.linalg.svd(A, full_matrices=False)
    rank = int(xp.sum(xp.astype(t > rtol * t[0], xp.int64)))
    U, t, Vh = U[:, :rank], t[:rank], Vh[:rank, :]
    return (Vh.mT / (t + lam / t)) @ U.mT, _number(t[0]) / _number(t[-1]) if rank else 1.0


def _check_refit(xp, Phi_S, Y_S, lam_S, W, max_error):
    """Refuse a set that does not train W, by the SVD or by the linear system where lam_S is not negligible in it."""
    most = MAX_ERROR[xp.finfo(W.dtype).bits] if max_error is None else check_lam(max_error, "max_error")
    pinv, condition = _regularized_pinv(xp, Phi_S, lam_S, _rtol(xp, Phi_S, None))
    error, (m, p) = _relative(xp, pinv @ Y_S - W, W), Phi_S.shape
    K, B = (Phi_S @ Phi_S.mT, Y_S) if m <= p else (Phi_S.mT @ Phi_S, Phi_S.mT @ Y_S)
    if lam_S > _rtol(xp, K, None) * _number(xp.linalg.trace(K)):
        W_S = xp.linalg.solve(K + lam_S * xp.eye(K.shape[0], dtype=K.dtype, device=device(K)), B)
        error = max(error, _relative(xp, (Phi_S.mT @ W_S if m <= p else W_S) - W, W))
    if error > most:
        raise ValueError(
            f"training on these features misses W by {error:.3g} of its norm (at most {most:.2g} is allowed): their "
            f"condition number is {condition:.3g} and their norm {_norm(xp, Phi_S):.3g}; take nearest, other labels, "
            "or raise max_error"
        )


def _max_condition(xp, A, max_condition):
    if max_condition is None:
        return MAX_CONDITION[xp.finfo(A.dtype).bits]
    value, most = check_lam(max_condition, "max_condition"), 0.01 / float(xp.finfo(A.dtype).eps)
    if not 3 <= value <= most:
        raise ValueError(
            f"max_condition = {value:.3g} must lie between 3 and {most:.3g}, which is 0.01 / eps of {A.dtype}; for a "
            "condition number of 1 take orthonormal rows that span W"
        )
    return value


def _check_labels(Phi_0, W, Y_S):
    if tuple(Y_S.shape) != (Phi_0.shape[0], W.shape[1]) or Phi_0.shape[1] != W.shape[0]:
        shapes = tuple(Phi_0.shape), tuple(W.shape), tuple(Y_S.shape)
        raise ValueError("Phi_0 (m, p), W (p, k), Y_S (m, k) do not fit: {}, {}, {}".format(*shapes))


def _rounding(xp, A, condition):
    """Relative error that rounding explains at this condition number, at most sqrt(eps)."""
    eps = float(xp.finfo(A.dtype).eps)
    return min(100 * eps * condition, math.sqrt(eps))


def _warn_dropped(xp, W, part):
    lost = _relative(xp, part, W)
    if lost > 100 * float(xp.finfo(W.dtype).eps):
        warnings.warn(f"the rank cutoff drops a fraction {lost:.2g} of W; pass a smaller rtol to keep it", stacklevel=3)


def _rtol(xp, A, rtol):
    """Rank cutoff relative to the largest singular value; default max(shape) * eps of the dtype."""
    return max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")


def _rank_rtol(xp, W, rtol):
    return max(W_RTOL, _rtol(xp, W, None)) if rtol is None else check_lam(rtol, "rtol")


def _relative(xp, A, B):
    return _norm(xp, A) / (_norm(xp, B) or 1.0)


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
