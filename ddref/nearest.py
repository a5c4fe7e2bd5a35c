"""The exact sets nearest to given features, and the distance no exact set can beat.

A set is exact for `W` (p, k) when training on it returns `W`. Features that allow it,
whatever the labels and `lam_S`, are those whose rows span the columns of `W`; `nearest`
finds the closest of them to `Phi_0` (m, p). Its labels are those of `distill.labels`:
at ``lam_S = 0`` the predictions of the model on the returned points. "Near" is meant in
features; in pixels only where the feature map is the identity.
"""

import math
from collections.abc import Callable, Sequence

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    ThinSVD,
    check_arrays,
    check_kept,
    check_lam,
    check_shapes,
    complement,
    eps_of,
    explained,
    model_svd,
    norm,
    number,
    relative,
    size_of,
    thin_svd,
    warn_dropped,
)  # fmt: skip
from .distill import features
from .measure import certify

# Default by bits of the dtype: the largest condition number of the features
MAX_CONDITION = {64: 1e6, 32: 1e3}


def nearest(
    Phi_0: Array,
    W: Array,
    *,
    max_condition: float | None = None,
    size: float = 0.0,
    rtol: float | None = None,
) -> Array:
    """Features nearest to `Phi_0` among all exact distilled sets of `W`.

    ``Phi_0 Q Q^T + trunc_{m-r}(Phi_0 (I - Q Q^T))``, Q (p, r) an orthonormal basis of
    the columns of `W`; labels are free, and any ``lam_S >= 0`` will do. Where this
    minimum is not attained, or only by features too ill conditioned to be stored and
    trained on, well-conditioned ones a little farther away, exact as well.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples; m is at least the rank r of `W`.
    W : array (p, k)
        Model to reproduce.
    max_condition : float, optional
        Largest condition number of the returned features, from 3 to 0.01 / eps.
        Default: 1e6 in float64, 1e3 in float32. A larger limit moves the points less
        and costs digits.
    size : float
        The condition number counts from `size` where that exceeds ``||Phi_0||_2``: for
        differences of features (`intercept.contrasts`), the norm of the features.
    rtol : float, optional
        Rank cutoff of `W`, see `distill.rank_report`.

    Returns
    -------
    array (m, p)
        `Phi_0` to the last bit where that carries `W`; at the distance
        `nearest_lower_bound` where the closed form is within `max_condition`; else a
        little farther, see `spanning_rows`. `distill.labels` has its labels.

    Raises
    ------
    ValueError
        For m < r, for ``Phi_0 = 0`` (no scale to keep), for an impossible limit.

    Notes
    -----
    Book: thm-nearest. Improves on Chen, Huang and Weng (2024), Cor. 4.1.1.

    Retraining by an SVD errs by about ``max_condition * eps``; solvers that square the
    condition number, as ``(K + lam_S I) a = Y`` does, by up to ``eps ||Phi_S||^2
    ||alpha|| / (2 sqrt(lam_S) ||W||)`` with ``W = Phi_S^T alpha``. Near 550 to 1,000
    images of MNIST, at ``lam_S = 1``, that is 3e-10 to 7e-10; ``max_condition=5e4``
    gives 2e-11 to 4e-11, and moves 550 images by 5 % more, 1,000 by 1.6e-4 of their
    norm in place of 8e-6.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.array([[3.0], [0.0]])
    >>> nearest(np.array([[1.0, 0.5]]), W).round(12)  # one point must be parallel to W
    array([[1., 0.]])
    >>> nearest(np.array([[1.0, 1.0], [2.0, 1.0]]), W)  # two that span W already
    array([[1., 1.],
           [2., 1.]])
    """
    Q = _svd_of_model(Phi_0, W, rtol).U
    W = Q @ (Q.mT @ W)  # without what is below its rank cutoff
    limit = condition_limit(Phi_0, max_condition)

    def condition(Phi_S: Array) -> float:
        return condition_carrying(Phi_S, W, size)

    return spanning_rows(Phi_0, Q, limit, condition, size=size)


def nearest_lower_bound(Phi_0: Array, W: Array, *, rtol: float | None = None) -> float:
    """Distance from `Phi_0` that no exact distilled set of `W` with as many points
    beats.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features, rows are samples; m is at least the rank r of `W`.
    W : array (p, k)
        Model to reproduce.
    rtol : float, optional
        Rank cutoff of `W`, see `distill.rank_report`.

    Returns
    -------
    float
        In units of `Phi_0`: ``||Phi_S - Phi_0||_F`` is at least this for every exact
        set, whatever its labels and ``lam_S``. 0.0 for m >= p.

    Raises
    ------
    ValueError
        For m < r: no exact set exists.

    Notes
    -----
    Book: thm-nearest. The square is the sum of the r smallest of the m squared singular
    values (padded by zeros) of ``Phi_0 (I - Q Q^T)``. An infimum: exact sets come as
    close as one likes, and the page says when one attains it.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_lower_bound(np.array([[1.0, 0.5]]), np.array([[3.0], [0.0]]))
    0.5
    """
    Q = _svd_of_model(Phi_0, W, rtol).U
    _, s, _ = outside(Phi_0, Q)
    return norm(s[min(Phi_0.shape) - Q.shape[1] :])


def nearest_given_labels(
    Phi_0: Array,
    W: Array,
    Y_S: Array,
    *,
    max_condition: float | None = None,
    rtol: float | None = None,
) -> Array:
    """Features nearest to `Phi_0` among those that fit given labels exactly.

    ``Y_S W^+ + trunc_{m-r}(Phi_0 (I - W W^+))``, for ``Phi_S W = Y_S`` and
    ``lam_S = 0``. With labels free, `nearest` comes closer.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples; m is at least the rank r of `W`.
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points.
    max_condition : float, optional
        Condition number above which the result is refused. Default as in `nearest`.
    rtol : float, optional
        Rank cutoff of `W`, see `distill.rank_report`.

    Returns
    -------
    array (m, p)
        Training on it with the labels `Y_S` and ``lam_S = 0`` gives `W`.

    Raises
    ------
    ValueError
        When the labels are not in the row space of `W` (``Y_S W^+ W != Y_S``), or the
        nearest features do not determine `W`, or only with a condition number above
        `max_condition`.

    Notes
    -----
    Book: thm-nearest-labels. An exact set that does not fit its labels is moved
    although it need not be. For ``lam_S > 0`` no closed form is known.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_0, W = np.array([[1.0, 0.5]]), np.array([[2.0], [0.0]])
    >>> nearest_given_labels(Phi_0, W, np.array([[1.0]])).round(12)
    array([[0.5, 0. ]])
    """
    svd = _svd_of_model(Phi_0, W, rtol, Y_S)
    limit = condition_limit(Phi_0, max_condition)
    fitted = Y_S @ svd.pinv()
    fitted = fitted + (Y_S - fitted @ W) @ svd.pinv()  # takes away what rounding left
    _check_fitted(fitted @ W, Y_S, svd)
    if svd.rank == 0:
        return 1 * Phi_0  # a copy: W = 0 and Y_S = 0
    _, U, s, V = truncated(Phi_0, svd.U)
    Phi_S = fitted + (U * s) @ V.mT
    _check_determined(Phi_S, svd.U @ (svd.U.mT @ W), svd.rank, limit)
    check_kept(W, thin_svd(Phi_S).rounding(Y_S), Phi_S)
    return Phi_S


def nearest_pseudoinverse(
    Phi_0: Array,
    W: Array,
    Y_S: Array,
    lam_S: float = 0.0,
    *,
    signs: Sequence[int] | None = None,
) -> Array:
    """Features whose regularised *pseudo-inverse* is nearest to that of `Phi_0`.

    The published choice, for comparison: ``D = W Y_S^+ + Z (I - Y_S Y_S^+)`` with ``Z =
    (Phi_0)_{lam_S}^+`` is the matrix nearest to Z with ``D Y_S = W``; the features are
    those whose regularised pseudo-inverse is D.

    Parameters
    ----------
    Phi_0 : array (m, p)
        Features to stay close to, rows are samples.
    W : array (p, k)
        Model to reproduce.
    Y_S : array (m, k)
        Labels of the distilled points.
    lam_S : float
        Regularisation that will be used to train on the distilled set, at most ``1 / (4
        ||D||_2^2)``.
    signs : sequence of +1 and -1, optional
        The root for each non-zero singular value of D, as in `distill.features`;
        default all +1. Singular values of `Phi_0` up to ``sqrt(lam_S)`` lie on the
        smaller root: with all of them there, all -1 comes much nearer, unless the
        points are few.

    Returns
    -------
    array (m, p)

    Raises
    ------
    ValueError
        As `distill.features`, and when training on the result, by the SVD or, where
        `lam_S` is not negligible in it, by the linear system, misses `W` by more than
        `measure.certify` allows: near 1,000 images of Fashion-MNIST with one-hot labels
        changing the last bit of the features changes the retrained model by 1e-5.

    Notes
    -----
    Book: cor-nearest-pseudoinverse. Source: Chen, Huang and Weng (2024), Cor. 4.1.1 and
    Algorithm 1. Nearest pseudo-inverses are not nearest features: at a small `lam_S`
    inverting weighs the small singular values of `Phi_0` most.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_0, W = np.array([[1.0, 0.5]]), np.array([[2.0], [0.0]])
    >>> nearest_pseudoinverse(Phi_0, W, np.array([[1.0]]))
    array([[0.5, 0. ]])
    """
    check_arrays(Phi_0=Phi_0, W=W, Y_S=Y_S)
    check_shapes(Phi_0=(Phi_0, "mp"), W=(W, "pk"), Y_S=(Y_S, "mk"))
    lam_S = check_lam(lam_S, "lam_S")
    Z = thin_svd(Phi_0).pinv(lam_S)  # of what is rounding the larger root is huge
    Phi_S = features(W, Y_S, lam_S, Z=Z, signs=signs)
    _check_trained(Phi_S, Y_S, lam_S, W)
    return Phi_S


# ---------------------------------------------- what is outside the span of W, raised


def outside(A: Array, Q: Array) -> tuple[Array, Array, Array]:
    """SVD U, s, V of ``A (I - Q Q^T)``, for orthonormal columns Q (p, r).

    Every column of V is orthogonal to Q, also at singular value zero. Singular values
    up to max(m, p) * eps of the largest of `A` count as zero.
    """
    xp = array_namespace(A)
    (m, p), r = A.shape, Q.shape[1]
    # E is orthonormal whatever the rank of the rest. Projecting the rows themselves
    # would leave eps ||A|| of Q in them, and their singular vectors in its span.
    E = complement(Q, of=A.mT if m < p - r else None)
    U, s, Vh = xp.linalg.svd(A @ E, full_matrices=False)
    rounding = max(A.shape) * eps_of(A) * number(xp.linalg.svdvals(A)[0])
    return U, xp.where(s > rounding, s, xp.zeros_like(s)), E @ Vh.mT


def truncated(
    A: Array, Q: Array, rows: int | None = None
) -> tuple[Array, Array, Array, Array]:
    """The rows nearest to `A` that leave `rows` (default m) rows room to span `Q` too.

    Parameters
    ----------
    A : array (m, p)
        Rows to change.
    Q : array (p, r)
        Orthonormal columns, r <= rows.
    rows : int, optional
        Most rows, or directions, that everything has to be spanned by.

    Returns
    -------
    B : array (m, p)
        ``A Q Q^T + trunc_c(A (I - Q Q^T))``, c = min(rows, p) - r. `A` to the last bit
        where nothing had to be dropped.
    U, s, V : array (m, c), array (c,), array (p, c)
        ``B (I - Q Q^T) = U diag(s) V^T``, see `outside`.

    Notes
    -----
    Book: thm-nearest.

    Examples
    --------
    >>> import numpy as np
    >>> truncated(np.array([[1.0, 0.5]]), np.array([[1.0], [0.0]]))[0].round(12)
    array([[1., 0.]])
    """
    xp = array_namespace(A)
    (m, p), r = A.shape, Q.shape[1]
    c = min(m if rows is None else rows, p) - r
    U, s, V = outside(A, Q)
    dropped = s[c:]
    U, s, V = U[:, :c], s[:c], V[:, :c]
    B = A @ Q @ Q.mT + (U * s) @ V.mT if bool(xp.any(dropped > 0)) else 1 * A
    return B, U, s, V


def spanning_rows(
    A: Array,
    Q: Array,
    limit: float,
    condition: Callable[[Array], float],
    *,
    size: float = 0.0,
    hint: str = "",
) -> Array:
    """Rows near `A` that span the columns of `Q` and are well conditioned.

    Parameters
    ----------
    A : array (m, p)
        Rows to change, as little as possible.
    Q : array (p, r)
        Orthonormal columns, r <= m.
    limit : float
        Largest condition number.
    condition : callable
        ``condition(B)`` is the condition number of what is trained on with the rows B,
        and infinite where that misses the model: see `condition_carrying`.
    size : float
        The scale of the rows, where it exceeds ``||A||_2``.
    hint : str
        Ends the message where nothing is within the limit.

    Returns
    -------
    array (m, p)
        `A`, or the `truncated` rows, where these are within the limit. Otherwise their
        smallest singular values are raised to size / limit, or twice, four times ...
        that, until they are.

    Raises
    ------
    ValueError
        For rows of zeros without a `size`; where nothing is within the limit.

    Notes
    -----
    Book: thm-nearest.

    Examples
    --------
    >>> import numpy as np
    >>> A, Q = np.diag([1.0, 1e-9]), np.array([[0.0], [1.0]])
    >>> spanning_rows(A, Q, 1e3, np.linalg.cond).round(5)
    array([[1.     , 0.     ],
           [0.     , 0.00101]])
    """
    xp = array_namespace(A)
    if Q.shape[1] == 0:
        return 1 * A  # a copy: there is nothing to span
    B, U, s, V = truncated(A, Q)
    if condition(B) <= limit:
        return B
    size = max(size, number(xp.linalg.svdvals(A)[0]))
    if size == 0:
        raise ValueError(
            "the rows to stay close to are zero, they have no scale to keep; take "
            "orthonormal rows that span W, times a scale"
        )
    # [A Q, U diag(s)] = G diag(t) H^T are the rows B in the orthonormal coordinates
    # [Q, V]; of full column rank they span Q. The smallest change that bounds their
    # condition number raises small t: B + G diag(max(floor - t, 0)) H^T [Q, V]^T
    G, t, Hh = xp.linalg.svd(xp.concat([A @ Q, U * s], axis=1), full_matrices=False)
    directions = Hh @ xp.concat([Q, V], axis=1).mT
    floor = 1.01 * size / limit
    while floor < 4 * size:
        more = xp.where(t < floor, floor - t, xp.zeros_like(t))
        raised = B + (G * more) @ directions
        last = condition(raised)  # measured, on what will be trained on
        if last <= limit:
            return raised
        floor = 2 * floor
    raise ValueError(
        f"no rows near these have a condition number up to {limit:.3g}; the last had "
        f"{last:.3g}{hint}"
    )


def condition_carrying(Phi_S: Array, W: Array, size: float = 0.0) -> float:
    """Condition number of the rows `Phi_S`; infinite where they miss `W` by more than
    rounding.

    Counted from `size` where that exceeds ``||Phi_S||_2``.
    """
    svd = thin_svd(Phi_S)
    small = number(svd.s[-1]) if svd.rank else math.inf
    condition = max(svd.condition, size / small)
    carried = relative(svd.outside(W), W) <= explained(W, condition)
    return condition if carried else math.inf


def condition_limit(A: Array, max_condition: float | None = None) -> float:
    """`max_condition`, or its default for the dtype of `A`; refused below 3 and above
    0.01 / eps.
    """
    if max_condition is None:
        return MAX_CONDITION[array_namespace(A).finfo(A.dtype).bits]
    value = check_lam(max_condition, "max_condition")
    most = 0.01 / eps_of(A)
    if not 3 <= value <= most:
        raise ValueError(
            f"max_condition = {value:.3g} must lie between 3 and {most:.3g}, which is "
            f"0.01 / eps of {A.dtype}; for a condition number of 1 take orthonormal "
            "rows that span W"
        )
    return value


# ----------------------------------------------------------------------------- refusals


def _svd_of_model(
    Phi_0: Array, W: Array, rtol: float | None, Y_S: Array | None = None
) -> ThinSVD:
    """SVD of W; refuses arrays that do not fit, and fewer rows than its rank."""
    check_arrays(Phi_0=Phi_0, W=W, Y_S=Y_S)
    check_shapes(Phi_0=(Phi_0, "mp"), W=(W, "pk"), Y_S=(Y_S, "mk"))
    svd = model_svd(W, rtol)
    if Phi_0.shape[0] < svd.rank:
        raise ValueError(
            f"Phi_0 has {Phi_0.shape[0]} rows and W has rank {svd.rank} (number "
            f"{svd.rank} is {1 / svd.condition:.2g} of its largest singular value): no "
            f"exact set has fewer points; use {svd.rank} rows or a model of lower rank"
        )
    warn_dropped(svd.lost, W, stacklevel=4)
    return svd


def _check_fitted(predicted: Array, Y_S: Array, svd: ThinSVD) -> None:
    """Refuse labels that differ from Y_S W^+ W."""
    missing = relative(predicted - Y_S, Y_S)
    allowed = explained(Y_S, svd.condition)
    if missing > allowed:
        raise ValueError(
            f"a fraction {missing:.3g} of the labels is outside the row space of W "
            f"(rank {svd.rank}; at most {allowed:.2g} is allowed): no features fit "
            "them; project them, Y_S W^+ W, or take predictions of the model"
        )


def _check_determined(Phi_S: Array, W: Array, r: int, limit: float) -> None:
    """Refuse features that fit their labels and do not determine W, or hardly do."""
    svd = thin_svd(Phi_S)
    missing = relative(svd.outside(W), W)
    if svd.condition > limit or missing > explained(W, svd.condition):
        raise ValueError(
            f"the nearest features that fit these labels have rank {svd.rank}, "
            f"condition number {svd.condition:.3g} (at most {limit:.3g} is allowed) "
            f"and miss a fraction {missing:.3g} of W: N^T Y_S W^+ Q, N a basis of the "
            f"left null space of their part outside W, has not full column rank {r}, "
            "or hardly so; use other labels, raise max_condition, or leave the labels "
            "free (nearest)"
        )


def _check_trained(Phi_S: Array, Y_S: Array, lam_S: float, W: Array) -> None:
    """Refuse a set that does not train W: by the SVD, and by the linear system where
    lam_S is not negligible in it.
    """
    xp = array_namespace(W)
    m, p = Phi_S.shape
    svd, dual = thin_svd(Phi_S), m <= p
    W_S = (thin_svd(Phi_S, 0.0) if lam_S else svd).solve(Y_S, lam_S)
    error = relative(W_S - W, W)
    K = Phi_S @ Phi_S.mT if dual else Phi_S.mT @ Phi_S
    if lam_S > K.shape[0] * eps_of(K) * number(xp.linalg.trace(K)):
        eye = xp.eye(K.shape[0], dtype=K.dtype, device=device(K))
        W_S = xp.linalg.solve(K + lam_S * eye, Y_S if dual else Phi_S.mT @ Y_S)
        error = max(error, relative((Phi_S.mT @ W_S if dual else W_S) - W, W))
    lost = svd.rounding(Y_S, lam_S) / size_of(W)
    # at lam_S = 0 labels that do not fit are no excuse: there the last bit decides
    rounding = lost / svd.condition if lam_S else 0.0
    found = certify(error, svd.condition, W, rounding=rounding, uncertain=lost)
    if not found.exact:
        known = f" (known to {found.uncertain:.2g})" if found.uncertain else ""
        raise ValueError(
            f"training on these features misses W by {found.relative_error:.3g}{known} "
            f"of its norm (at most {found.tolerance:.2g} is allowed): their condition "
            f"number is {found.condition:.3g} and their norm {norm(Phi_S):.3g}; take "
            "nearest, or other labels"
        )
