"""Exact distilled sets of inputs for a deep linear network: ``phi(x) = x T + b``.

A linear network is one matrix `T` (d, p), the product of its layers, and one row of
biases `b`. For p > d not every set of features is the image of inputs, and k points may
not be enough: `points` returns inputs and labels that train `W`, or names the
hypothesis that fails. Training is ridge regression on the features, without a further
intercept.
"""

import math
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    ThinSVD,
    check_arrays,
    check_count,
    check_finite,
    check_lam,
    check_shapes,
    complement,
    cosines,
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
from .distill import carrier, labels
from .measure import certify
from .nearest import condition_limit, spanning_rows, truncated

# `forward` of what only holds layers: lists and tuples, nn.ModuleList, nn.Sequential
PLAIN = ("", "_forward_unimplemented", "Sequential")


class LinearMap(NamedTuple):
    """A linear network as one layer: features are ``X @ T + b``."""

    T: Array  # (d, p)
    b: Array | None  # (1, p), or None without biases


class PointSet(NamedTuple):
    """A distilled set of inputs: training on the features of `X_S` with `lam_S` gives
    the model it was made for.
    """

    X_S: Array  # (m, d)
    Y_S: Array  # (m, k)
    lam_S: float
    condition: float  # of the features X_S T + b


def product(layers: Iterable) -> LinearMap:
    """The layers of a linear network multiplied out.

    ``(x A_1 + b_1) A_2 + b_2 = x T + b``, for any number of layers.

    Parameters
    ----------
    layers : sequence
        In the order in which they are applied. Each is a matrix A (d_in, d_out), a pair
        (A, b), or a PyTorch layer ``nn.Linear`` (whose weight is the transpose of A);
        ``nn.Sequential`` of them, nested or not, is one too. A layer that comes twice
        is applied twice. Leave out the last layer, the one that is trained:
        ``net[:-1]``.

    Returns
    -------
    LinearMap
        `T` (d, p) and `b` (1, p), None where no layer has biases; detached from the
        weights' gradients.

    Raises
    ------
    ValueError, TypeError
        For a layer that is not linear (named), widths that do not follow each other, no
        layer at all.

    Notes
    -----
    Book: eq-deep-linear.

    Examples
    --------
    >>> import numpy as np
    >>> first, second = np.array([[1.0, 2.0]]), np.array([[3.0], [1.0]])
    >>> T, b = product([(first, np.array([0.0, 1.0])), second])
    >>> T, b
    (array([[5.]]), array([[1.]]))
    """
    T = b = None
    for i, (A, c) in enumerate(_weights_and_biases(layers, "layer")):
        _check_layer(i, A, c, T, b)
        T = 1 * A if T is None else T @ A  # a copy, or the next product
        b = None if b is None else b @ A
        if c is not None:
            b = 1 * c if b is None else b + c
    if T is None:
        raise ValueError("no layers: give at least one matrix or nn.Linear")
    return LinearMap(T, b)


def points(
    W: Array,
    T: Array,
    b: Array | None = None,
    *,
    m: int | None = None,
    near: Array | None = None,
    Y_S: Array | None = None,
    lam_S: float = 0.0,
    max_condition: float | None = None,
    rtol: float | None = None,
) -> PointSet:
    """Inputs and labels whose features ``X_S T + b`` train the model `W`.

    Without biases, or with ``b = x_b T``: possible if and only if the columns of `W`
    lie in the row space of `T`; then ``rank(W)`` points are enough. With other biases
    the features carry a constant: ``rank(W)`` points are enough if and only if c, the
    component of `W` along it, is not zero, and ``rank(W) + 1`` always are.

    Parameters
    ----------
    W : array (p, k)
        Model to reproduce.
    T, b : array (d, p), array (1, p) or (p,)
        The map, of any rank, see `product`; default no biases.
    m : int, optional
        Number of points. Default: the rows of `near` or `Y_S`, else the fewest.
    near : array (m, d), optional
        Inputs to stay close to: the nearest that carry `W`, or well-conditioned ones a
        little farther.
    Y_S : array (m, k), optional
        Given labels. Default: free, those of `distill.labels`.
    lam_S : float
        Regularisation that will be used to train on the set. With given labels at most
        `distill.largest_lam`, and with biases 0.
    max_condition : float, optional
        With `near`: largest condition number of the features. Default: as in `nearest`,
        or 100 times what the map makes of points of this size, where that is larger.
    rtol : float, optional
        Cutoff for the rank of `W`, for c and for what may be outside the row space,
        relative to `W`. Default: 1e-10, or max(p, k) * eps where larger.

    Returns
    -------
    PointSet
        `X_S` (m, d), `Y_S` (m, k), `lam_S`, and the condition number of the features:
        1 up to the rounding of T for free points, no more than the map has dimensions.

    Raises
    ------
    ValueError, TypeError
        When no set exists, with the hypothesis that fails, or when training on it
        misses `W` by more than rounding. UserWarning where c is so small that
        ``rank(W)`` points exist only far out.

    Notes
    -----
    Book: thm-linear-no-bias, thm-linear-bias, thm-linear-labels. Source: corrects Chen,
    Huang and Weng (2024), Thm 5.3. Singular values of `T` up to max(d, p) * eps count
    as zero, and 100 times as much of `b` outside its row space.

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
    # With T = U diag(s) V^T, and b = x_b T + beta u^T, u orthogonal to the rows of T:
    #     X T + b = [A diag(s), beta 1] [V, u]^T    A = X U + x_b, any matrix (m, q)
    #     W = [V, u] C                              P, orthonormal: the columns of C
    # X carries W if and only if [A diag(s), beta 1]^T N = P for some N.
    b = _as_row(b)
    m = _count_that_fits(W, T, b, m, near, Y_S)
    lam_S = check_lam(lam_S, "lam_S")
    condition_limit(W, max_condition)  # refused here where nothing else looks at it
    reached = _reached_space(T, b)
    model = _coordinates(W, reached, rtol)
    if Y_S is not None:
        X_S = reached.inputs(_points_for_labels(Y_S, lam_S, model, reached))
    else:
        m = _enough_points(m, model, reached)
        if near is None:
            X_S = reached.inputs(_spread_points(m, model, reached))
        else:
            X_S = _points_near(near, model, reached, max_condition)
        _warn_far(X_S, near, model, reached)
    return _retrained(X_S, Y_S, lam_S, model, reached, max_condition)


# ---------------------------------------------------- what the map reaches, and W in it


class _Reached(NamedTuple):
    """``X T + b = [A diag(s), beta 1] basis^T``, where ``A = X U + x_b`` is free."""

    T: Array  # (d, p)
    b: Array | None  # (1, p)
    U: Array  # (d, q)
    s: Array  # (q,)
    x_b: Array  # (1, q)
    basis: Array  # (p, q): V; or (p, q + 1): V and u
    beta: float  # size of the constant feature, 0.0 where there is none

    def inputs(self, A: Array) -> Array:
        """The smallest inputs with these coordinates."""
        return (A - self.x_b) @ self.U.mT

    def features(self, X: Array) -> tuple[Array, ThinSVD, float]:
        """Features as computed from inputs, their SVD, and their condition number with
        the rounding of large terms that cancel in ``X T + b``.
        """
        Phi = X @ self.T if self.b is None else X @ self.T + self.b
        check_finite(features=Phi)
        svd, reach = thin_svd(Phi), norm(X) * norm(self.T)
        reach += 0.0 if self.b is None else math.sqrt(X.shape[0]) * norm(self.b)
        least = number(svd.s[-1]) if svd.rank else math.inf
        return Phi, svd, max(svd.condition, reach / least)


class _Model(NamedTuple):
    """``W = basis C`` in the coordinates of the map."""

    W: Array  # (p, k), as given
    C: Array  # (n, k), n = q or q + 1
    P: Array  # (n, r): orthonormal basis of the columns of C, see _coordinates
    gamma: float  # length of the part of P along u: 0.0 where c is zero
    cut: float  # up to here gamma counts as zero
    lost: float  # fraction of W that is not in basis C: its cutoff, and rounding


def _reached_space(T, b):
    """Coordinates of the features that inputs can have."""
    xp, svd = array_namespace(T), thin_svd(T)
    if svd.rank == 0:
        raise ValueError("T is zero: every input has the same features")
    V = svd.Vh.mT
    if b is None:
        return _Reached(T, b, svd.U, svd.s, xp.zeros_like(svd.s[None, :]), V, 0.0)
    x_b = (b @ V) / svd.s
    u = svd.outside(svd.outside(b.mT))  # once would leave eps ||b|| of V in it
    beta = norm(u)
    if beta <= 100 * svd.rtol * norm(b):  # rounding: the biases are features of x_b
        return _Reached(T, b, svd.U, svd.s, x_b, V, 0.0)
    return _Reached(T, b, svd.U, svd.s, x_b, xp.concat([V, u / beta], axis=1), beta)


def _coordinates(W, reached, rtol):
    """W in these coordinates; refused where the map does not reach it."""
    xp, cut = array_namespace(W), model_svd(W, rtol).rtol
    C = reached.basis.mT @ W
    _check_reached(W, C, reached, cut)
    svd = thin_svd(C, cut)
    warn_dropped(svd.lost, W, stacklevel=4)
    C, P, gamma = (svd.U * svd.s) @ svd.Vh, svd.U, 0.0
    if reached.beta and svd.rank:
        # Turned, so that only the first column has a part along u, of length gamma.
        P = P @ xp.linalg.qr(P[-1:, :].mT, mode="complete")[0]
        gamma = norm(P[-1:, :])
    return _Model(W, C, P, gamma, cut, relative(W - reached.basis @ C, W))


def _spanning(A, n):
    """n orthonormal columns, at least as many as A has, that span the columns of A."""
    xp = array_namespace(A)
    eye = xp.eye(A.shape[0], dtype=A.dtype, device=device(A))
    return xp.linalg.qr(xp.concat([A, eye], axis=1))[0][:, :n]  # at any rank of A


def _last_axis(P):
    """The unit vector (n, 1) along the constant, in the coordinates of P."""
    xp, n = array_namespace(P), P.shape[0]
    return xp.eye(n, dtype=P.dtype, device=device(P))[:, n - 1 :]


# ----------------------------------------------------------------- points, labels free


def _spread_points(m, model, reached):
    """Points A (m, q) that carry the model, without inputs to follow.

    Their features have condition number 1 where the map has m dimensions.
    """
    P, s, beta = model.P, reached.s, reached.beta
    xp, q, r = array_namespace(P), s.shape[0], P.shape[1]
    size = max(number(s[0]), norm(reached.x_b * s))  # of the map, or of its biases
    if m > P.shape[0]:  # more points than dimensions: contrasts in all of them
        contrasts = cosines(m, q + 1, P)[:, 1:]
        return reached.x_b + math.sqrt(m) * size / number(s[0]) * contrasts
    # Orthogonal rows, times E^T, whose columns span P. The first column of the cosines
    # is constant, and only the first column of E has a part along u: all points have
    # the same constant feature. That it must be beta fixes the size.
    E = _spanning(P, m)
    if beta:
        E = E if m == r else _spanning(xp.concat([_last_axis(P), P], axis=1), m)
        size = math.sqrt(m) * beta / E[q, 0]
    return size * (cosines(m, m, P) @ E.mT)[:, :q] / s


def _points_near(near, model, reached, max_condition):
    """Inputs near the given ones that carry the model: the nearest, or, where these are
    too ill conditioned, some a little farther.
    """
    xp, P, s, q = array_namespace(near), model.P, reached.s, reached.s.shape[0]
    if P.shape[1] == 0:
        return 1 * near  # a copy: with labels zero, all inputs train W = 0
    A = near @ reached.U + reached.x_b
    size = number(xp.linalg.svdvals(A)[0])
    limit = _limit_near(size / math.sqrt(A.shape[0]), reached, max_condition)
    hint = f" (that of T is {number(s[0] / s[-1]):.3g}); pass a larger max_condition, "
    hint += "or leave out near"

    def inputs(B):  # what the map ignores stays, to the last bit
        return near + (B - A) @ reached.U.mT

    def condition(B):
        _, svd, worst = reached.features(inputs(B))
        missing = relative(svd.outside(model.W), model.W) - model.lost
        return svd.condition if missing <= explained(A, worst) else math.inf

    # Points B carry W if B^T N = M and, with a constant, 1^T N = c for some N.
    M, c = P[:q, :] / s[:, None], P[q:, :] / reached.beta
    if model.gamma > model.cut:
        B = _points_on_flat(A, M, c, s)
        if condition(B) <= limit:
            return inputs(B)
    rows, Q, points_with = _rows_that_span(A, M, c)

    def condition_with(rows):
        return condition(points_with(rows))

    rows = spanning_rows(rows, Q, limit, condition_with, size=size, hint=hint)
    return inputs(points_with(rows))


def _points_on_flat(A, M, c, s):
    """The points nearest to A whose affine span contains ``x + span(R)``, as it must.

    ``B^T N = M`` and ``1^T N = c = (c_1, 0 ... 0)``: the first column of N / c_1 sums
    to one, the others to zero. So x = M_1 / c_1 is a weighted mean of the points, and
    the other columns of M, of span R, are combinations of their differences.
    """
    xp, m = array_namespace(A), A.shape[0]
    x, R = M[:, :1].mT / c[:, :1], _spanning(M[:, 1:], M.shape[1] - 1)
    change = truncated(A - x, R, m - 1)[0] - (A - x)
    if not bool(xp.any(change != 0)):
        return A
    # For small c, x is far away, and the points miss it by eps ||x||. So one step of
    # least squares for N, its sums kept, and the smallest change with B^T N = M. What
    # rounding does counts in features: coordinates times s.
    B, N = A + change, xp.ones_like(A[:, :1]) @ (c / m)
    if m > 1:
        K = cosines(m, m, A)[:, 1:]
        missed = (M - B.mT @ N) * s[:, None]
        N = N + K @ thin_svd((B * s).mT @ K).solve(missed)
    return B + thin_svd(N).pinv().mT @ (M - B.mT @ N).mT


def _rows_that_span(A, M, c):
    """Rows that make exact points once they span Q; Q; and the points that they make.

    Without a constant the rows are the points. With one, and N = 1 c / m + K G, K
    (m, m - 1) orthonormal and orthogonal to 1, ``B^T N = M`` says ``(K^T B)^T G = M -
    mean^T c``, for every c: the rows are contrasts K^T A.
    """
    xp, m, r = array_namespace(A), A.shape[0], M.shape[1]
    if c.shape[0] == 0:
        return A, _spanning(M, r), lambda rows: rows
    K, mean = cosines(m, m, A)[:, 1:], xp.mean(A, axis=0, keepdims=True)
    if m > r:  # rows enough: the mean stays
        shift, Q = xp.zeros_like(mean), _spanning(M - mean.mT @ c, r)
    else:  # r - 1 rows: the mean moves onto the flat, and R is left to span
        shift, Q = M[:, :1].mT / c[:, :1] - mean, _spanning(M[:, 1:], r - 1)
        shift = shift - (shift @ Q) @ Q.mT
    return K.mT @ A, Q, lambda rows: A + (shift + K @ (rows - K.mT @ A))


def _limit_near(size, reached, max_condition):
    """Largest condition number of the features of points of this size."""
    if size == 0:
        raise ValueError("near is zero, it has no scale to keep; leave it out")
    limit = condition_limit(reached.s, max_condition)
    if max_condition is not None:
        return limit
    # What the map makes of any points of this size is not held against them.
    own = [size * number(reached.s[0]), size * number(reached.s[-1])]
    own += [reached.beta] if reached.beta else []
    return min(max(limit, 100 * max(own) / min(own)), 0.01 / eps_of(reached.s))


# ---------------------------------------------------------------- points, labels given


def _points_for_labels(Y_S, lam_S, model, reached):
    """Points A (m, q) that train C with given labels: ``D Y_S = C``, and ``D 1 = h``
    with a constant, where D is the regularised pseudo-inverse of the features.
    """
    xp, q, P = array_namespace(Y_S), reached.s.shape[0], model.P
    D, taken = carrier(model.C, Y_S), model_svd(Y_S).U
    s_max = number(xp.linalg.svdvals(D)[0])
    if reached.beta:
        D, taken, P = _with_constant(D, taken, P, lam_S, reached.beta, model.cut)
    # Rows to spare are made independent, so that nothing is left to rounding.
    spare = max(min(Y_S.shape[0] - taken.shape[1], P.shape[0] - P.shape[1]), 0)
    D = D + s_max * complement(P)[:, :spare] @ complement(taken)[:, :spare].mT
    svd = thin_svd(D, model.cut)
    F = (svd.Vh.mT * larger_root(svd.s, lam_S)) @ svd.U.mT
    wrong = relative(F[:, q:] - reached.beta, 0 * F[:, q:] + reached.beta)
    if wrong > explained(D, svd.condition):  # no column: no constant
        raise ValueError(_why_not(wrong, Y_S, taken, model, reached.beta))
    return F[:, :q] / reached.s


def _with_constant(D, taken, P, lam_S, beta, cut):
    """D with ``D 1 = h`` added, where ``Phi_S h = 1`` for all inputs; and orthonormal
    bases of the labels and 1, and of the columns of C and h.
    """
    _check_lam_zero(lam_S)
    xp = array_namespace(D)
    h, ones = _last_axis(P) / beta, xp.ones_like(D[:1, :].mT)
    nu = ones - taken @ (taken.mT @ ones)
    nu = nu - taken @ (taken.mT @ nu)  # once would leave eps of the labels in it
    within = P @ (P.mT @ h)
    if relative(h - within, h) <= cut:
        h = within  # a combination of the outputs, to the last bit
    else:
        P = xp.concat([P, complement(P, of=h)], axis=1)
    if relative(nu, ones) <= cut:  # 1 is a combination of the labels
        return D, taken, P
    taken = xp.concat([taken, nu / norm(nu)], axis=1)
    nu = nu / norm(nu) ** 2  # nu^T Y_S = 0, nu^T 1 = 1
    return D + (h - D @ ones) @ nu.mT, taken, P


# --------------------------------------------------------------- retrained, and judged


def _retrained(X_S, Y_S, lam_S, model, reached, max_condition):
    """The set after training on the inputs as returned; free labels come from them."""
    W, (Phi_S, svd, worst) = model.W, reached.features(X_S)
    if Y_S is None:
        Y_S = labels(Phi_S, W, lam_S, span_tol=1.0)  # what is missing is judged here
    # where W is zero, its errors count beside labels over features, if these are not
    size = norm(W) or norm(Y_S) / (norm(Phi_S) or math.inf) or math.inf
    error = norm(svd.solve(Y_S, lam_S) - W) / size - model.lost
    lost = svd.rounding(Y_S, lam_S) / size
    rounding = lost / svd.condition
    rounding = rounding * worst / svd.condition  # of large terms that cancel in X T + b
    found = certify(error, svd.condition, W, rounding=rounding, uncertain=lost)
    if not found.exact:
        raise ValueError(
            f"the inputs found, retrained, miss W by {found.relative_error:.3g}, more "
            f"than the {found.tolerance:.2g} allowed or by what is not known (rounding "
            f"may change it by {lost:.2g}): their features have condition number "
            f"{svd.condition:.3g} and lose a factor {worst / svd.condition:.3g} in X_S "
            "T: T is too ill conditioned for this number of points and dtype"
        )
    return PointSet(X_S, Y_S, lam_S, svd.condition)


def _warn_far(X_S, near, model, reached):
    """Warn when rank(W) points exist only far out."""
    xp, m = array_namespace(X_S), X_S.shape[0]
    if not reached.beta or m > model.P.shape[1]:
        return
    if near is None:
        near = reached.inputs(_spread_points(m + 1, model, reached))
    far, close = (number(xp.max(xp.linalg.vector_norm(X, axis=1))) for X in (X_S, near))
    if far > 100 * close:
        warnings.warn(
            f"c, the component of W along the biases, is only {model.gamma:.2g} of W: "
            f"with m = {m} points the inputs reach a norm of {far:.2g}, with one more "
            f"they need {close:.2g}; pass m={m + 1}",
            stacklevel=3,
        )


# --------------------------------------------------------------- arguments and refusals


def _count_that_fits(W, T, b, m, near, Y_S):
    """Shapes checked, and m as far as the arguments fix it."""
    check_arrays(W=W, T=T, b=b, near=near, Y_S=Y_S)
    if near is not None and Y_S is not None:
        raise ValueError(
            "near and Y_S cannot both be given: inputs near given ones have free "
            "labels; leave out one"
        )
    check_shapes(W=(W, "pk"), T=(T, "dp"), b=(b, "1p"))
    check_shapes(T=(T, "dp"), near=(near, "md"))
    check_shapes(W=(W, "pk"), Y_S=(Y_S, "mk"))
    m, given = None if m is None else check_count(m, "m"), near if Y_S is None else Y_S
    if given is None:
        return m
    if m not in (None, given.shape[0]):
        raise ValueError(f"m = {m}, but {given.shape[0]} rows are given; leave out m")
    return given.shape[0]


def _check_reached(W, C, reached, cut):
    """Refuse a model outside the rows that the map reaches."""
    missing = relative(W - reached.basis @ C, W)
    allowed = max(cut, explained(W, number(reached.s[0] / reached.s[-1])))
    if missing > allowed:
        rows, way = ("T", ", or add biases") if reached.b is None else ("T and b", "")
        raise ValueError(
            f"a fraction {missing:.3g} of W lies outside the row space of {rows} (rank "
            f"{C.shape[0]} of {W.shape[0]} features; {allowed:.2g} is allowed): no "
            "inputs, however many, train it; a W trained on this map lies inside: "
            f"check T and the order of its layers{way}"
        )


def _enough_points(m, model, reached):
    """The number of points, by default the fewest; refused when too small."""
    r, gamma, cut = model.P.shape[1], model.gamma, model.cut
    fewest = r + 1 if reached.beta and gamma <= cut else max(r, 1)
    m = fewest if m is None else m
    if r <= m < fewest:
        raise ValueError(
            f"m = {m} points are not enough for W of rank {r}: its component along the "
            f"biases, c, is {gamma:.2g} of W, which counts as zero (cutoff {cut:.2g}), "
            f"and every point has the same constant feature; use {fewest}"
        )
    if m < fewest:
        raise ValueError(
            f"m = {m} points cannot carry W of rank {r}: no exact set has fewer than "
            f"rank(W) points; use {fewest} or a model of lower rank"
        )
    return m


def _check_lam_zero(lam_S):
    """Refuse given labels with biases where no formula is known."""
    if lam_S:
        raise ValueError(
            f"lam_S = {lam_S:.6g}: with biases and given labels a set is known only "
            "for lam_S = 0; pass lam_S=0, or leave the labels free"
        )


def _why_not(wrong, Y_S, taken, model, beta):
    """Which case of thm-linear-labels the labels fail, and by how much."""
    xp, r, r_Y = array_namespace(Y_S), model.P.shape[1], model_svd(Y_S).rank
    h = _last_axis(model.P) / beta
    g = thin_svd(model.C, model.cut).solve(h)
    low, high, mean = (number(f(Y_S @ g)) for f in (xp.min, xp.max, xp.mean))
    if r_Y != r:
        why = (
            f"Y_S has rank {r_Y} and W has rank {r}, so labels Y_S z with W z = 0 must "
            "sum to zero; project the labels onto the rows of W (Y_S W^+ W)"
        )
    elif taken.shape[1] == r_Y:
        row = "a row that makes 1 independent"
        among = relative(model.C @ g - h, h) <= model.cut  # the constant is an output
        row += ", with mean 1 of all y . W^+ h" if among else " ([I; 0])"
        why = (
            "(a) 1 = Y_S a, so each row y needs y . W^+ h = 1 (Phi_S h = 1 for all "
            f"inputs), not {low:.4g} to {high:.4g}; divide it by that, or add {row}"
        )
    else:
        why = (
            f"(c) h = W g up to {relative(model.C @ g - h, h):.2g} (Phi_S h = 1 for "
            f"all inputs), so the mean row y needs y . W^+ h = 1, not {mean:.16g}; "
            "divide Y_S by that"
        )
    return (
        f"these labels make the constant feature wrong by a fraction {wrong:.3g}: "
        f"{why}, or leave the labels free"
    )


def _check_layer(i, A, c, T, b):
    """Refuse weights A and biases c of layer i that do not fit, or do not follow T."""
    weights, biases = f"the weights of layer {i}", f"the biases of layer {i}"
    check_arrays(**{"T": T, weights: A, "b": b, biases: c})
    if c is not None and tuple(c.shape) != (1, A.shape[1]):
        shapes = f"weights {tuple(A.shape)} and biases {tuple(c.shape)}"
        raise ValueError(f"layer {i}: {shapes} do not fit")
    if T is not None and T.shape[1] != A.shape[0]:
        raise ValueError(
            f"layer {i} takes {A.shape[0]} inputs, and the layers before it give "
            f"{T.shape[1]}"
        )


def _weights_and_biases(layers, name):
    """The layers one by one, as they are applied: (A, b or None)."""
    forward = getattr(type(layers), "forward", None)  # of a PyTorch module, or None
    kind = getattr(forward, "__qualname__", "").removesuffix(".forward")
    if hasattr(layers, "ndim"):
        yield layers, None
    elif kind == "Linear":
        bias = layers.bias
        yield layers.weight.detach().T, _as_row(bias if bias is None else bias.detach())
    elif isinstance(layers, tuple) and len(layers) == 2 and _is_row(layers[1]):
        A, bias = layers
        yield A, _as_row(bias)
    elif hasattr(layers, "__iter__") and kind in PLAIN:
        for i, layer in enumerate(layers):  # as forward does: what comes twice, twice
            yield from _weights_and_biases(layer, f"{name} {i}")
    elif kind not in ("Identity", "Flatten", "Dropout"):  # no layers, when evaluated
        raise TypeError(
            f"{name} is {type(layers).__name__}, which is not linear; give matrices, "
            "pairs (A, b) or nn.Linear"
        )


def _as_row(bias):
    """Biases (p,) as a row (1, p); what is no vector as it is."""
    return bias[None, :] if getattr(bias, "ndim", None) == 1 else bias


def _is_row(bias):
    """Whether this can be the biases of a pair: None, (p,) or (1, p)."""
    shape = tuple(getattr(bias, "shape", ()))
    return bias is None or len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
