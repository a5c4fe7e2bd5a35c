"""Exact distilled sets of inputs for a deep linear network: ``phi(x) = x T + b`` with more features than inputs.

A linear network is one matrix `T` (d, p), the product of its layers, and one row of biases `b`. For p > d not every
set of features is the image of inputs, and k points may not be enough: `points` returns inputs and labels that train
`W`, or names the hypothesis that fails. Training is ridge regression on the features, without a further intercept.

With biases that are no feature vector of a linear map, the features of m points are ``[A, beta 1]`` in a suitable
orthonormal basis: A is free, and the last column is the same for every point.
"""

import math
import operator
import warnings
from typing import NamedTuple

from array_api_compat import array_namespace, device

W_RTOL = 1e-10  # default cutoff for the rank of W: below it, singular values of a fitted W are rounding
MAX_CONDITION = {64: 1e6, 32: 1e3}  # default limit by bits of the dtype, see points


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


class LinearMap(NamedTuple):
    """A linear network as one layer: features are ``X @ T + b``."""

    T: object  # (d, p)
    b: object  # (1, p), or None without biases


class PointSet(NamedTuple):
    """A distilled set of inputs: training on the features of `X_S` with `lam_S` gives the model it was made for."""

    X_S: object  # (m, d)
    Y_S: object  # (m, k)
    lam_S: float
    condition: float  # of the features X_S T + b


def product(layers):
    """The layers of a linear network multiplied out: ``(x A_1 + b_1) A_2 + b_2 = x T + b``.

    Parameters
    ----------
    layers : sequence
        In the order in which they are applied. Each is a matrix A (d_in, d_out), a pair (A, b), or a PyTorch layer
        ``nn.Linear`` (whose weight is the transpose of A); ``nn.Sequential`` of them, nested or not, is one too.
        Leave out the last layer, the one that is trained: ``net[:-1]``.

    Returns
    -------
    LinearMap
        `T` (d, p) and `b` (1, p), None where no layer has biases; detached from the weights' gradients.

    Raises
    ------
    ValueError, TypeError
        For a layer that is not linear (named), widths that do not follow each other, no layer at all.

    Notes
    -----
    Book: eq-deep-linear.

    Examples
    --------
    >>> import numpy as np
    >>> T, b = product([(np.array([[1.0, 2.0]]), np.array([0.0, 1.0])), np.array([[3.0], [1.0]])])
    >>> T, b
    (array([[5.]]), array([[1.]]))
    """
    T = b = None
    for i, (A, c) in enumerate(_flat(layers, "layer")):
        xp = check_arrays(T=T, **{f"the weights of layer {i}": A}, b=b, **{f"the biases of layer {i}": c})
        if c is not None and tuple(c.shape) != (1, A.shape[1]):
            raise ValueError(f"layer {i}: weights {tuple(A.shape)} and biases {tuple(c.shape)} do not fit")
        if T is not None and T.shape[1] != A.shape[0]:
            raise ValueError(f"layer {i} takes {A.shape[0]} inputs, and the layers before it give {T.shape[1]}")
        T = xp.asarray(A, copy=True) if T is None else T @ A
        b = None if b is None else b @ A
        if c is not None:
            b = 1 * c if b is None else b + c  # a copy
    if T is None:
        raise ValueError("no layers: give at least one matrix or nn.Linear")
    return LinearMap(T, b)


def points(W, T, b=None, *, m=None, near=None, Y_S=None, lam_S=0.0, max_condition=None, rtol=None):
    """Inputs and labels whose features ``X_S T + b`` train the model `W`.

    Without biases, or with ``b = x_b T``: possible if and only if the columns of `W` lie in the row space of `T`; then
    ``rank(W)`` points are enough. With other biases the features carry a constant. Let c be the component of `W` along
    the part of `b` outside the row space of `T`: ``rank(W)`` points are enough if and only if c is not zero, and
    ``rank(W) + 1`` always are.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    T : array (d, p)
        Product of the layers, see `product`.
    b : array (1, p) or (p,), optional
        Biases carried through to the features; default none.
    m : int, optional
        Number of points. Default: the number of rows of `near` or `Y_S`, else the smallest that is possible.
    near : array (m, d), optional
        Inputs to stay close to, for instance real images; the labels are then free. Returned are the nearest inputs
        that can carry `W`, or, where these are not within `max_condition`, well-conditioned ones a little farther.
    Y_S : array (m, k), optional
        Given labels. Default: free, those of the characterisation for the inputs found.
    lam_S : float
        Regularisation that will be used to train on the set. With given labels, at most the bound of
        ``distill.largest_lam`` without biases, and 0 with them.
    max_condition : float, optional
        With `near`: largest condition number of the features, at least 3. Default: 1e6 in float64, 1e3 in float32, or
        100 times what the map itself makes of points the size of `near`, where that is larger.
    rtol : float, optional
        Rank cutoff of `W`, relative to its largest singular value, below which c counts as zero, too. Default: 1e-10,
        or max(p, k) * eps where larger. As much of `W` may be missing from the row space of the map.

    Returns
    -------
    PointSet
        `X_S` (m, d), `Y_S` (m, k), `lam_S`, and the condition number of the features.

    Raises
    ------
    ValueError, TypeError
        When no set exists, with the hypothesis that fails: `W` leaves the row space of the map; too few points; labels
        that cannot carry `W`, or that fix the constant feature to a wrong value. When the set found, retrained, misses
        `W` by more than its condition number explains.

    Warns
    -----
    UserWarning
        When ``rank(W)`` points exist only far out, because c is small: with the numbers, and one more point is better.

    Notes
    -----
    Book: thm-linear-no-bias, thm-linear-bias, thm-linear-labels. Source: corrects Chen, Huang and Weng (2024), Thm 5.3.
    Without `near` and `Y_S`, and with at most as many points as the map has dimensions, the features have condition
    number 1 up to the rounding of T. T counts as rank deficient below max(d, p) * eps; `b` counts as ``x_b T`` when no
    more than 100 times that of it is outside the row space.

    Examples
    --------
    >>> import numpy as np
    >>> T = np.array([[1.0, 1.0]])  # one input, two equal features
    >>> X_S, Y_S, *_ = points(np.array([[2.0], [2.0]]), T)  # prediction 4 x
    >>> bool(abs(Y_S / X_S - 4) < 1e-12)
    True
    >>> points(np.array([[1.0], [3.0]]), T)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: a fraction 0.447 of W lies outside the row space of T ...
    """
    b = b.reshape(1, -1) if getattr(b, "ndim", 2) == 1 else b
    xp, lam_S = check_arrays(W=W, T=T, b=b, near=near, Y_S=Y_S), check_lam(lam_S, "lam_S")
    m = _number_of_points(W, T, b, m, near, Y_S)
    max_condition, cut = _max_condition(xp, W, max_condition), _rank_rtol(xp, W, rtol)
    if not bool(xp.any(xp.abs(T) > 0)):
        raise ValueError("T is zero: every input has the same features")
    space = _space(xp, T, b)
    C, P, lost = _coordinates(xp, W, space, b, cut)
    if Y_S is None:
        gamma = _norm(xp, P[space.q :, :]) if space.beta and P.shape[1] else 0.0
        m = _fewest(P.shape[1], space.beta, gamma, cut, m)
        if near is None:
            A = _spread(xp, P, space, gamma, m)
            X_S = (A - space.x_b) @ space.U.mT
        else:
            judge = _judge(xp, near, W, T, b, space, lost)
            X_S = near + _move(xp, near, P, space, gamma > cut, max_condition, judge) @ space.U.mT
        if space.beta and m == P.shape[1]:
            _warn_far(xp, X_S, near, P, space, gamma, m)
    else:
        X_S = (_given(xp, C, P, Y_S, space, lam_S, cut) - space.x_b) @ space.U.mT
    return _certified(xp, X_S, Y_S, lam_S, W, T, b, lost, max_condition)


class _Space(NamedTuple):
    """The rows that the map reaches: ``X T + b = (A * s) V^T + beta u``, with ``A = X U + x_b`` free."""

    U: object  # (d, q)
    s: object  # (q,)
    x_b: object  # (1, q)
    basis: object  # (p, q) or, with beta > 0, (p, q + 1): V and u
    beta: float
    q: int
    size: float  # of the biases inside the row space, for the scale of the points


def _space(xp, T, b):
    U, s, Vh = xp.linalg.svd(T, full_matrices=False)
    q = int(xp.sum(xp.astype(s > max(T.shape) * float(xp.finfo(T.dtype).eps) * s[0], xp.int64)))
    U, s, V = U[:, :q], s[:q], Vh[:q, :].mT
    if b is None:
        return _Space(U, s, xp.zeros_like(s)[None, :], V, 0.0, q, 0.0)
    inside = b @ V
    rest = b - inside @ V.mT
    rest = rest - (rest @ V) @ V.mT  # twice is enough
    beta, small = _norm(xp, rest), 100 * max(T.shape) * float(xp.finfo(T.dtype).eps) * _norm(xp, b)
    if beta <= small:
        return _Space(U, s, inside / s, V, 0.0, q, _norm(xp, inside))
    return _Space(U, s, inside / s, xp.concat([V, rest.mT / beta], axis=1), beta, q, _norm(xp, inside))


def _coordinates(xp, W, space, b, cut):
    """W in the basis, C (q or q + 1, k), an orthonormal basis P of its columns, and the fraction of W that is lost."""
    C = space.basis.mT @ W
    missing = _relative(xp, W - space.basis @ C, W)
    eps, condition = float(xp.finfo(W.dtype).eps), _number(space.s[0] / space.s[-1])
    allowed = max(cut, min(100 * eps * condition, math.sqrt(eps)))
    if missing > allowed:
        rows, way = ("T", ", or add biases") if b is None else ("T and b", "")
        raise ValueError(
            f"a fraction {missing:.3g} of W lies outside the row space of {rows} (rank {space.basis.shape[1]} of "
            f"{W.shape[0]} features; {allowed:.2g} is allowed): no inputs, however many, train it; a W trained on this "
            f"map lies inside: check T and the order of its layers{way}"
        )
    U, s, Vh = xp.linalg.svd(C, full_matrices=False)
    r = int(xp.sum(xp.astype(s > cut * s[0], xp.int64)))
    dropped = _relative(xp, (U[:, r:] * s[r:]) @ Vh[r:, :], W)
    if dropped > 100 * eps:
        warnings.warn(
            f"the rank cutoff drops a fraction {dropped:.2g} of W; pass a smaller rtol to keep it", stacklevel=3
        )
    return (U[:, :r] * s[:r]) @ Vh[:r, :], U[:, :r], missing + dropped


def _fewest(r, beta, gamma, cut, m):
    """The number of points, refused when too small."""
    fewest = max(r, 1) if gamma > cut or not beta else r + 1
    m = fewest if m is None else m
    if m < fewest and m >= r and r > 0:
        raise ValueError(
            f"m = {m} points are not enough for W of rank {r}: its component along the biases, c, is {gamma:.2g} of W, "
            f"which counts as zero (cutoff {cut:.2g}), and every point has the same constant feature; use {fewest}"
        )
    if m < fewest:
        raise ValueError(
            f"m = {m} points cannot carry W of rank {r}: no exact set has fewer than rank(W) points; use {fewest} or a "
            "model of lower rank"
        )
    return m


def _spread(xp, P, space, gamma, m):
    """Points without a model to follow, as A (m, q): features of condition number 1 where m is at most their number."""
    q, r = space.q, P.shape[1]
    eye = xp.eye(q, dtype=P.dtype, device=device(P))
    size = max(_number(space.s[0]), space.size)
    if space.beta and m == r:  # only for points of this affine span has the constant feature the right value
        D = P @ _first(xp, P[q:, :])  # orthonormal, and only the first column has a component along u
        around = _cosines(xp, m, m, P)[:, 1:] @ D[:q, 1:].mT
        F = (space.beta / D[q:, :1]) * D[:q, :1].mT + math.sqrt(m) * space.beta / gamma * around
        return F / space.s
    n = m - 1 if space.beta else m  # points with mean zero are orthogonal to the constant feature
    D = xp.linalg.qr(xp.concat([P[:q, :], eye], axis=1))[0][:, : min(n, q)]
    if n <= q:
        spread = _cosines(xp, m, m, P)[:, m - n :]
        return (math.sqrt(m) * space.beta if space.beta else size) * (spread @ D.mT) / space.s
    # more points than dimensions: the rows of X_S T are dependent, to rounding, only for inputs of moderate size
    return space.x_b + math.sqrt(m) * size / _number(space.s[0]) * _cosines(xp, m, q + 1, P)[:, 1:]


def _judge(xp, near, W, T, b, space, lost):
    """Condition number of the features after a change of the points, twice; the second infinite where W is missed."""

    def judge(change):
        X_S = near + change @ space.U.mT
        _, _, Vh, condition, worst = _trained_on(xp, X_S, T, b)
        missing = _relative(xp, W - Vh.mT @ (Vh @ W), W)
        return condition, condition if missing <= _rounding(xp, W, worst) + 2 * lost else math.inf

    return judge


def _move(xp, near, P, space, through, max_condition, judge):
    """The smallest change of A = near U + x_b after which the points carry W, a little more where ill conditioned.

    Without a constant feature the rows of A must span the columns of P, in the coordinates of A. With one, the affine
    span of the rows must contain an affine subspace: one that is given where c is not zero, any translate where it is.
    """
    m, q, r = near.shape[0], space.q, P.shape[1]
    A = near @ space.U + space.x_b
    size = _number(xp.linalg.svdvals(A)[0])
    if r == 0:
        return xp.zeros_like(A)
    if size == 0:
        raise ValueError("near is zero, it has no scale to keep; leave it out")
    limit = max_condition
    if limit is None:
        own = [_number(space.s[i]) * size / math.sqrt(m) for i in (0, -1)] + [space.beta] * bool(space.beta)
        default, most = MAX_CONDITION[xp.finfo(A.dtype).bits], 0.01 / float(xp.finfo(A.dtype).eps)
        limit = min(max(default, 100 * max(own) / min(own)), most)
    flat = P[:q, :] / space.s[:, None]
    if not space.beta:
        return _carry(xp, A, _orthonormal(xp, flat), size, limit, judge, space)
    # Turned so that c is in the first column: the others, D, are directions of the points' affine span, and
    # beta a / c = origin is a point of it. So is the mean: beta a - c mean is one more direction, for every c.
    first, mean = _first(xp, P[q:, :]), xp.mean(A, axis=0, keepdims=True)
    flat, c = flat @ first, P[q:, :] @ first[:, :1]
    D, a = flat[:, 1:], space.beta * flat[:, :1]
    if through:
        origin = (a / c).mT
        D = _orthonormal(xp, D) if r > 1 else D
        change = _tail(xp, A - origin, D, m - 1)[0]
        if bool(xp.any(change != 0)):  # rounding, of an origin that is far away where c is small
            change = change + _rounding_of(xp, A + change, P, space)
        if judge(change)[1] <= limit:
            return change
    contrasts, shift = _cosines(xp, m, m, P)[:, 1:], xp.zeros_like(A)  # the mean aside, m points are m - 1 free rows
    if m == r:  # no room for one more direction: the mean moves to the affine span
        shift = shift + (origin - mean) - ((origin - mean) @ D) @ D.mT
    else:
        D = _orthonormal(xp, xp.concat([D, a - c * mean.mT], axis=1))
    move = _carry(xp, contrasts.mT @ A, D, size, limit, lambda change: judge(shift + contrasts @ change), space)
    return shift + contrasts @ move


def _carry(xp, A, D, size, limit, judge, space):
    """The smallest change of A after which its rows span the columns of D, or a little more: weak directions raised."""
    if D.shape[1] == 0:
        return xp.zeros_like(A)
    change, U, s, V = _tail(xp, A, D, A.shape[0])
    if judge(change)[1] <= limit:
        return change
    F, rank = A @ D, D.shape[1]
    c_0 = int(xp.sum(xp.astype(s > 0, xp.int64)))  # the other columns of U are free: taken orthogonal to F
    basis = xp.linalg.qr(xp.concat([U[:, :c_0], F, U[:, c_0:]], axis=1))[0]
    rest, U = basis[:, c_0 : c_0 + rank], xp.concat([U[:, :c_0], basis[:, c_0 + rank :]], axis=1)
    G, h, Bh = xp.linalg.svd(rest.mT @ F)
    tau = 1 / limit
    while tau < 4:
        more_s, more_h = (xp.where(x < tau * size, tau * size - x, xp.zeros_like(x)) for x in (s, h))
        raised = change + (U * more_s) @ V.mT + ((rest @ G) * more_h) @ (Bh @ D.mT)
        condition, needed = judge(raised)
        if needed <= limit:
            return raised
        tau = 2 * tau
    raise ValueError(
        f"no inputs near these have features with a condition number up to {limit:.3g}, the last had {condition:.3g} "
        f"(that of T is {_number(space.s[0] / space.s[-1]):.3g}); pass a larger max_condition, or leave out near"
    )


def _rounding_of(xp, A, P, space):
    """The smallest change of points that carry P but for rounding, with coefficients that keep the constant's part."""
    scaled, m = (A * space.s).mT, A.shape[0]
    alpha = xp.ones_like(A[:, :1]) @ (P[space.q :, :] / (m * space.beta))
    if m > 1:
        contrasts = _cosines(xp, m, m, P)[:, 1:]
        alpha = alpha + contrasts @ (xp.linalg.pinv(scaled @ contrasts) @ (P[: space.q, :] - scaled @ alpha))
    missed = (P[: space.q, :] - scaled @ alpha) / space.s[:, None]
    return xp.linalg.pinv(alpha).mT @ missed.mT


def _tail(xp, A, D, rows):
    """What to take from A (I - D D^T) so that `rows` rows span it and D; and the SVD of what is left."""
    q, rank = D.shape
    if rank == q:
        return xp.zeros_like(A), A[:, :0], A[0, :0], D[:, :0]
    E = xp.linalg.qr(xp.concat([D, xp.eye(q, dtype=D.dtype, device=device(D))], axis=1))[0][:, rank:]
    U, s, Vh = xp.linalg.svd(A @ E, full_matrices=False)
    rounding = max(A.shape) * float(xp.finfo(A.dtype).eps) * _number(xp.linalg.svdvals(A)[0])
    s, V, c = xp.where(s > rounding, s, xp.zeros_like(s)), E @ Vh.mT, min(rows, q) - rank
    return -(U[:, c:] * s[c:]) @ V[:, c:].mT, U[:, :c], s[:c], V[:, :c]


def _given(xp, C, P, Y_S, space, lam_S, cut):
    """Points A (m, q) for given labels: D with ``D Y_S = C`` and, with a constant feature, ``D 1 = h``; then D^+."""
    (m, k), n, r = Y_S.shape, C.shape[0], P.shape[1]
    U, t, Vh = xp.linalg.svd(Y_S, full_matrices=False)
    r_Y = int(xp.sum(xp.astype(t > _rank_rtol(xp, Y_S, None) * t[0], xp.int64)))
    taken, rows = U[:, :r_Y], Vh[:r_Y, :]
    D = (C @ rows.mT / t[:r_Y]) @ taken.mT  # C Y_S^+
    missing, condition = _relative(xp, C - (C @ rows.mT) @ rows, C), _number(t[0] / t[r_Y - 1]) if r_Y else 1.0
    if missing > _rounding(xp, C, condition):
        raise ValueError(
            f"the labels cannot carry W: a fraction {missing:.3g} of it is lost in W Y_S^+ Y_S (Y_S has {m} rows and "
            f"rank {r_Y}, W has rank {r}); use labels of rank {k}, or whose rows span those of W"
        )
    if r == 0:
        return xp.zeros_like(Y_S[:, :1] @ C[:1, :1]) + xp.zeros_like(space.x_b)
    columns, s_max = P, _number(xp.linalg.svdvals(D)[0])
    if space.beta:
        D, taken, columns = _constant(xp, D, taken, P, Y_S, space, lam_S, cut)
    extra = min(m - taken.shape[1], n - columns.shape[1])
    if extra > 0:  # D Y_S and D 1 stay; more independent rows make no use of rounding
        N, G = (
            xp.linalg.qr(xp.concat([B, xp.eye(B.shape[0], dtype=B.dtype, device=device(B))], axis=1))[0]
            [:, B.shape[1] : B.shape[1] + extra]
            for B in (taken, columns)
        )  # fmt: skip
        D = D + s_max * G @ N.mT
    U, s, Vh = xp.linalg.svd(D, full_matrices=False)
    rank = int(xp.sum(xp.astype(s > cut * s[0], xp.int64)))
    U, s, Vh, s_max = U[:, :rank], s[:rank], Vh[:rank, :], _number(s[0])
    if 2 * math.sqrt(lam_S) * s_max > 1 + 64 * float(xp.finfo(s.dtype).eps):
        raise ValueError(
            f"lam_S = {lam_S:.6g} exceeds 1/(4 s_max^2) = {(0.5 / s_max) ** 2:.6g}; scale Y_S by at least "
            f"{2 * math.sqrt(lam_S) * s_max:.6g}, or pass lam_S=0"
        )
    a = 2 * math.sqrt(lam_S) * s
    root = xp.sqrt(xp.where(a < 1, (1 - a) * (1 + a), xp.zeros_like(a)))
    F = (Vh.mT * ((1 + root) / (2 * s))) @ U.mT  # features whose regularised pseudo-inverse is D
    if space.beta:
        wrong = _relative(xp, space.beta - F[:, space.q :], space.beta * xp.ones_like(F[:, :1]))
        if wrong > max(cut, _rounding(xp, C, s_max / _number(s[-1]))):
            raise ValueError(
                f"these labels do not allow the constant feature: it would have to be wrong by a fraction {wrong:.3g}. "
                + _why(xp, m, taken.shape[1] - r_Y, r, r_Y)
            )
    return F[:, : space.q] / space.s


def _constant(xp, D, taken, P, Y_S, space, lam_S, cut):
    """D with ``D 1 = h`` added, where ``Phi_S h = 1`` for all inputs; what the labels and the columns then take up."""
    if lam_S:
        raise ValueError(
            f"lam_S = {lam_S:.6g}: with biases and given labels a set is known only for lam_S = 0; pass lam_S=0, or "
            "leave the labels free"
        )
    m, n = Y_S.shape[0], D.shape[0]
    ones = xp.ones_like(Y_S[:, :1])
    h = xp.astype(xp.arange(n, device=device(D))[:, None] == n - 1, D.dtype) / space.beta
    nu = ones - taken @ (taken.mT @ ones)
    nu = nu - taken @ (taken.mT @ nu)
    gap = h - D @ ones
    if _norm(xp, nu) <= cut * math.sqrt(m):  # the constant is among the labels: D 1 is what W makes of it
        rest = gap - P @ (P.mT @ gap)
        small = _norm(xp, rest) <= cut * _norm(xp, h)
        return D, taken, P if small else xp.concat([P, rest / _norm(xp, rest)], axis=1)
    outside = _relative(xp, h - P @ (P.mT @ h), h)
    if outside <= cut:
        raise ValueError(
            f"the constant feature is itself a combination of the outputs: h, with Phi_S h = 1, lies in the columns of "
            f"W (a fraction {outside:.2g} is outside), and given labels fix it twice; leave the labels free"
        )
    square = _norm(xp, nu) ** 2  # nu is the part of 1 outside the labels: nu^T Y_S = 0, nu^T 1 = ||nu||^2
    z = gap / square
    D = D + z @ nu.mT
    rest = z - P @ (P.mT @ z)
    return D, xp.concat([taken, nu / math.sqrt(square)], axis=1), xp.concat([P, rest / _norm(xp, rest)], axis=1)


def _why(xp, m, free, r, r_Y):
    """Which hypothesis of the closed form fails, and the way out."""
    if not free:
        return (
            "The labels contain the constant, 1 = Y_S a, and then W^T W a = W^T h is needed (h: Phi_S h = 1 for all "
            f"inputs); add a point whose label makes 1 independent of them, such as one of label 0 ([I; 0]): {r + 1} "
            "points, or leave the labels free"
        )
    return (
        f"Y_S has rank {r_Y} and W has rank {r}: the closed form needs equal ranks; project the labels onto the rows "
        "of W (Y_S W^+ W), or leave them free"
    )


def _trained_on(xp, X_S, T, b):
    """SVD of the features as they are computed, their condition number, and that of X_S T with its own rounding."""
    Phi_S = X_S @ T if b is None else X_S @ T + b
    U, t, Vh = xp.linalg.svd(Phi_S, full_matrices=False)
    rank = int(xp.sum(xp.astype(t > max(Phi_S.shape) * float(xp.finfo(t.dtype).eps) * t[0], xp.int64)))
    if rank == 0:
        return U[:, :0], t[:0], Vh[:0, :], 1.0, 1.0
    reach = _norm(xp, X_S) * _norm(xp, T) + (0.0 if b is None else math.sqrt(X_S.shape[0]) * _norm(xp, b))
    condition, t_min = _number(t[0] / t[rank - 1]), _number(t[rank - 1])
    return U[:, :rank], t[:rank], Vh[:rank, :], condition, max(condition, reach / t_min)


def _certified(xp, X_S, Y_S, lam_S, W, T, b, lost, max_condition):
    """The set, its labels computed from the inputs as returned where they are free, after retraining on it."""
    U, t, Vh, condition, worst = _trained_on(xp, X_S, T, b)
    Phi_S = X_S @ T if b is None else X_S @ T + b
    if Y_S is None:
        Y_S = Phi_S @ W + lam_S * (U @ (Vh @ W / t[:, None]))
    error = _relative(xp, Vh.mT @ ((U.mT @ Y_S) / (t + lam_S / t)[:, None]) - W, W)
    residual = _relative(xp, Y_S - Phi_S @ W, W) / (_number(t[-1]) if t.shape[0] else 1.0)
    eps = float(xp.finfo(W.dtype).eps)
    allowed = (
        min(100 * eps * worst * (1 + residual), max(math.sqrt(eps), 100 * eps * (max_condition or 1.0))) + 2 * lost
    )
    if error > allowed:
        raise ValueError(
            f"the inputs found, retrained, miss W by {error:.3g}, more than the {allowed:.2g} that rounding explains: "
            f"their features have condition number {condition:.3g} and lose a factor {worst / condition:.3g} in X_S T: "
            "T is too ill conditioned for this number of points and this dtype"
        )
    return PointSet(X_S, Y_S, lam_S, condition)


def _warn_far(xp, X_S, near, P, space, gamma, m):
    """Warn when rank(W) points exist only far out."""
    if near is None:
        near = (_spread(xp, P, space, gamma, m + 1) - space.x_b) @ space.U.mT
    far, close = (math.sqrt(_number(xp.max(xp.sum(X * X, axis=1)))) for X in (X_S, near))
    if far > 100 * close:
        warnings.warn(
            f"c, the component of W along the biases, is only {gamma:.2g} of W: with m = {m} points the inputs reach a "
            f"norm of {far:.2g}, with one more they need {close:.2g}; pass m={m + 1}",
            stacklevel=3,
        )


def _flat(layers, name):
    """The layers one by one, as (A, b or None)."""
    if hasattr(layers, "ndim"):
        yield layers, None
        return
    weight = getattr(layers, "weight", None)
    if type(layers).__name__ == "Linear" and weight is not None:
        bias = layers.bias
        yield weight.detach().T, None if bias is None else bias.detach().reshape(1, -1)
        return
    if type(layers).__name__ in ("Identity", "Flatten", "Dropout"):
        return
    if isinstance(layers, tuple) and len(layers) == 2 and getattr(layers[1], "ndim", 0) == 1:
        yield layers[0], layers[1].reshape(1, -1)
        return
    if isinstance(layers, tuple) and len(layers) == 2 and (layers[1] is None or tuple(layers[1].shape)[:1] == (1,)):
        yield layers
        return
    if not hasattr(layers, "__iter__"):
        raise TypeError(
            f"{name} is {type(layers).__name__}, which is not linear; give matrices, pairs (A, b) or nn.Linear"
        )
    for i, layer in enumerate(layers):
        yield from _flat(layer, f"{name} {i}")


def _number_of_points(W, T, b, m, near, Y_S):
    """Shapes checked, and m as far as the arguments fix it."""
    (p, k), d = W.shape, T.shape[0]
    if T.shape[1] != p or (b is not None and tuple(b.shape) != (1, p)):
        shapes = tuple(W.shape), tuple(T.shape), None if b is None else tuple(b.shape)
        raise ValueError("W (p, k), T (d, p), b (1, p) do not fit: {}, {}, {}".format(*shapes))
    if near is not None and Y_S is not None:
        raise ValueError("near and Y_S cannot both be given: inputs near given ones have free labels; leave out one")
    given, name, width = (near, "near", d) if near is not None else (Y_S, "Y_S", k)
    if m is not None:
        try:
            m = operator.index(m)
        except TypeError as error:
            raise TypeError(f"m must be an integer, got {m!r}") from error
        if m < 1:
            raise ValueError(f"m = {m} must be at least 1")
    if given is None:
        return m
    if given.shape[1] != width or m not in (None, given.shape[0]):
        want = f"({'m' if m is None else m}, {width})"
        raise ValueError(f"{name} must have shape {want}, it is {tuple(given.shape)}")
    return given.shape[0]


def _max_condition(xp, A, max_condition):
    if max_condition is None:
        return None
    value, most = check_lam(max_condition, "max_condition"), 0.01 / float(xp.finfo(A.dtype).eps)
    if not 3 <= value <= most:
        raise ValueError(
            f"max_condition = {value:.3g} must lie between 3 and {most:.3g}, which is 0.01 / eps of {A.dtype}"
        )
    return value


def _first(xp, row):
    """Orthogonal matrix whose first column is parallel to the row."""
    return _orthonormal(xp, xp.concat([row.mT, xp.eye(row.shape[1], dtype=row.dtype, device=device(row))], axis=1))


def _orthonormal(xp, A):
    """As many orthonormal columns as fit; their span contains the columns of A, whatever its rank."""
    return xp.linalg.qr(A)[0]


def _cosines(xp, m, n, like):
    """(m, n) matrix with orthonormal columns, the first constant: cosines of the discrete cosine transform."""
    i = xp.arange(m, dtype=xp.int64, device=device(like))[:, None]
    j = xp.arange(n, dtype=xp.int64, device=device(like))[None, :]
    angle = xp.astype((2 * i + 1) * j % (4 * m), like.dtype) * (math.pi / (2 * m))  # reduced before it is rounded
    first = xp.astype(j == 0, like.dtype)
    return xp.cos(angle) * (first * math.sqrt(1 / m) + (1 - first) * math.sqrt(2 / m))


def _rounding(xp, A, condition):
    """Relative error that rounding explains at this condition number, at most sqrt(eps)."""
    eps = float(xp.finfo(A.dtype).eps)
    return min(100 * eps * condition, math.sqrt(eps))


def _rank_rtol(xp, W, rtol):
    default = max(W_RTOL, max(W.shape) * float(xp.finfo(W.dtype).eps))
    return default if rtol is None else check_lam(rtol, "rtol")


def _relative(xp, A, B):
    return _norm(xp, A) / (_norm(xp, B) or 1.0)


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
