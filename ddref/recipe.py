"""From a feature map and a model to a distilled set of inputs, checked by retraining on
it.

Puts the steps together: exact features by `distill`, `nearest`, `gauge` or `intercept`,
inputs by the pre-image of the map, labels from the features that these inputs really
have, a certificate by `measure`. Nothing is returned that is not exact.
"""

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from . import intercept as with_intercept
from .arrays import (
    Array,
    check_arrays,
    check_count,
    check_lam,
    check_shapes,
    eps_of,
    norm,
    number,
    thin_svd,
)
from .distill import features, labels, largest_lam, minimal_points
from .gauge import orthonormal
from .maps.base import OTHERWISE
from .measure import (
    Certificate,
    certify,
    feature_rounding,
    relative_error,
    verify,
)
from .nearest import nearest, nearest_given_labels


class DistilledInputs(NamedTuple):
    """An exact set of inputs: training on ``(phi(X_S), Y_S)`` with `lam_S` gives W."""

    X_S: Array  # (m, d)
    Y_S: Array  # (m, k)
    lam_S: float
    certificate: Certificate


def distill(
    phi: Any,
    W: Array,
    *,
    m: int | None = None,
    near: Array | None = None,
    Y_S: Array | None = None,
    lam_S: float | None = 0.0,
    intercept: Array | bool = False,
    max_condition: float | None = None,
    goal: float | None = None,
    like: Array | None = None,
    dtype: str | None = None,
) -> DistilledInputs:
    """Inputs and labels on which ridge regression with `phi` trains the model `W`.

    What is given decides the features, which are then pulled back by ``phi.preimage``:

    - `near`: the exact features nearest to ``phi(near)``, labels free. Noise as `near`
      gives a set that shows no data.
    - `Y_S`: features for these labels, the smallest that carry them. With more points
      than labels can tell apart the free part is filled with orthogonal directions, so
      that no two points coincide.
    - both: the nearest features that fit the labels (``lam_S = 0``), or those with the
      nearest regularised pseudo-inverse (``lam_S > 0``).
    - neither: orthonormal features, the best conditioned set; without an intercept,
      points beyond rank(W) carry label zero.

    Parameters
    ----------
    phi : feature map
        With `__call__`, `preimage`, `output_dim`; `range_scale` where its range is
        bounded. From `ddref.maps`, or your own.
    W : array (p, k)
        Model to reproduce.
    m : int, optional
        Number of points. Default: that of `near` or `Y_S`, else the fewest: rank(W),
        and one more with an intercept.
    near : array (m, d), optional
        Inputs to stay close to, measured in features: where `phi` is ill conditioned
        the inputs may still go far; the certificate says how far.
    Y_S : array (m, k), optional
        Labels wanted, for instance one-hot rows; without an intercept.
    lam_S : float, optional
        Regularisation to train on the set with. None: 1e-3 times the product of the
        largest and the smallest nonzero singular value that training meets, which every
        solver bears.
    intercept : array (1, k) or (k,), optional
        b of the model ``phi W + b``, which training on the set then has, too,
        unpenalised. Default: False, no intercept.
    max_condition : float, optional
        Largest condition number of the features with `near`, see `nearest.nearest`.
        Default: the default there, lowered to ``max(1e3, sqrt(eps) / rounding)``, or
        100 in float32, where the map amplifies rounding too much for it.
    goal : float, optional
        Relative error wanted of the model (and of its predictions on `like`): with
        `near`, better conditioned sets, a little farther, are tried until it holds.
    like : array (n, p), optional
        Features of data: orthonormal points take their spread, and their mean with an
        intercept. Default: norm 1, mean 0.
    dtype : {"float64", "float32"}, optional
        What X_S and Y_S will be stored in: they are rounded to it, and labels and
        certificate are those of the rounded inputs. Default: the dtype of `W`.

    Returns
    -------
    DistilledInputs
        `lam_S` and the labels are as given, except where the range of `phi` is bounded
        and labels are given: then they are ``c^2 lam_S`` and ``c Y_S``, c the
        certificate's `scale` (0 stays 0: no scale makes such a set exact for who trains
        with another lambda).

    Raises
    ------
    ValueError
        When `phi` is not onto, fewer points than W needs are asked for, the labels
        cannot carry W; and when the certificate fails, with its numbers.

    Notes
    -----
    Book: thm-surjective, thm-cube, eq-recipe-certificate, thm-intercept. Source: Chen,
    Huang and Weng (2024), Thm 5.1, Examples 5.1-5.4. Given labels are kept where
    retraining with them is exact, otherwise moved to the nearest labels that are exact
    for the recovered features, if these have the smaller error; `label_distance` says
    how far.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.maps import leaky_relu_network
    >>> phi = leaky_relu_network([3, 3], seed=0)
    >>> W = np.array([[1.0], [2.0], [0.5]])
    >>> X_S, Y_S, lam_S, certificate = distill(phi, W, Y_S=np.array([[1.0]]))
    >>> X_S.shape, certificate.exact, certificate.relative_error < 1e-14
    ((1, 3), True, True)
    """
    b = _row(intercept)
    _check_map(phi)
    check_arrays(W=W, b=b, near=near, Y_S=Y_S, like=like)
    m = _number_of_points(phi, W, b, m, near, Y_S)
    lam_S = _regularisation(lam_S, Y_S)
    Phi_0 = None if near is None else phi(near)
    if Y_S is not None:
        Phi_S = _features_for_labels(W, Y_S, lam_S, Phi_0, max_condition)
        X_S, c = _inputs(phi, Phi_S, near, b, Y_S, dtype)
        # labels are scaled with the features: (c Phi_S, c Y_S, c^2 lam_S)
        found = _with_given_labels(phi, X_S, W, c * Y_S, c**2 * lam_S, dtype)
    elif near is None:
        Phi_S = _features_orthonormal(W, b, m, like)
        X_S, c = _inputs(phi, Phi_S, near, b, Y_S, dtype)
        found = _with_free_labels(phi, X_S, W, b, lam_S, dtype)
    else:
        limits = _limits(W, max_condition, goal, dtype)
        found, c = _set_near(phi, W, b, near, lam_S, limits, goal, like, dtype)
    if not found.certificate.exact:
        raise ValueError(_why_not_exact(found, lam_S))
    certificate = found.certificate._replace(scale=c)
    if near is not None:
        certificate = certificate._replace(
            distance=relative_error(phi(found.X_S), Phi_0),
            input_distance=relative_error(found.X_S, near),
        )
    return found._replace(certificate=certificate)


def _set_near(phi, W, b, near, lam_S, limits, goal, like, dtype):
    """The set near given inputs, and the factor that its features were scaled by.

    Of the limits of the condition number the first is taken whose set is exact with an
    error of at most `goal`, or the one with the smallest error.
    """
    Phi_0, best, least = phi(near), None, float("inf")
    for limit in limits:
        Phi_S = _features_near(Phi_0, W, b, limit)
        X_S, c = _inputs(phi, Phi_S, near, b, None, dtype)
        if limit is None and goal is None:
            bearable = _bearable_condition(phi, X_S, b, dtype)
            if bearable is not None:
                Phi_S = _features_near(Phi_0, W, b, bearable)
                X_S, c = _inputs(phi, Phi_S, near, b, None, dtype)
        found = _with_free_labels(phi, X_S, W, b, lam_S, dtype)
        error = max(_largest_error(found), _missed(phi, found, W, b, like))
        if not found.certificate.exact:
            error = float("inf")
        if error < least or best is None:
            best, least = (found, c), error
        if goal is None or error <= goal or norm(X_S - near) == 0:
            break  # good enough, or a smaller limit changes nothing
    return best


def _limits(W, max_condition, goal, dtype):
    """Limits of the condition number to try; None is the default of `nearest`."""
    double = _eps(W, dtype) < 1e-10
    if max_condition is not None:
        return [max_condition]
    if goal is None:
        return [None if double == (eps_of(W) < 1e-10) else 1e3]
    return [10.0**i for i in ((6, 5, 4, 3, 2, 1) if double else (3, 2, 1))]


# ------------------------------------------------------------------- exact features


def _features_for_labels(W, Y_S, lam_S, Phi_0, max_condition):
    """Exact features (m, p) for given labels: the smallest, or those near Phi_0."""
    if Phi_0 is None:
        return features(W, Y_S, lam_S, Z=_free_part(W, Y_S))
    if lam_S == 0:
        return nearest_given_labels(Phi_0, W, Y_S, max_condition=max_condition)
    # those of nearest.nearest_pseudoinverse, judged on the inputs found
    return features(W, Y_S, lam_S, Z=thin_svd(Phi_0).pinv(lam_S))


def _features_near(Phi_0, W, b, max_condition):
    """The exact features nearest to Phi_0; with an intercept their mean stays."""
    if b is None:
        return nearest(Phi_0, W, max_condition=max_condition)
    size = number(array_namespace(Phi_0).linalg.svdvals(Phi_0)[0])

    def choose(A, W):  # differences far below the mean row would be rounding of it
        return nearest(A, W, max_condition=max_condition, size=size)

    return with_intercept.exact_set(Phi_0, W, b, choose=choose).Phi_S


def _features_orthonormal(W, b, m, like):
    """Orthonormal features that carry W, with the mean and the spread of `like`."""
    xp = array_namespace(W)
    rows = xp.zeros_like(W[:, :1].mT) if like is None else like
    mean = 0 * rows[:1, :] if b is None else xp.mean(rows, axis=0, keepdims=True)
    size = norm(rows - mean) / rows.shape[0] ** 0.5 or 1.0
    if b is None:
        return size * orthonormal(W, m)

    def choose(A, W):
        return size * orthonormal(W, A.shape[0])

    return with_intercept.exact_set(xp.concat([mean] * m), W, b, choose=choose).Phi_S


def _free_part(W, Y_S):
    """``Z = s E^T N^T`` (p, m), which makes points differ whose labels are the same.

    N is a basis of the left null space of Y_S, E are orthonormal directions outside the
    columns of W. With s = ||W Y_S^+||_2 the largest singular value of D, and with it
    the largest lam_S, stays that of Z = 0.
    """
    p, r, rank_Y = W.shape[0], minimal_points(W), minimal_points(Y_S)
    free, bound = Y_S.shape[0] - rank_Y, largest_lam(W, Y_S)
    if free == 0 or r in (0, p):
        return None
    U, _, _ = array_namespace(Y_S).linalg.svd(Y_S, full_matrices=True)
    N = U[:, rank_Y:]
    outside = orthonormal(W, p)[r:, :]
    E = orthonormal(outside[:, :1], free) @ outside  # a tight frame where free > p - r
    return (0.5 / bound**0.5) * (E.mT @ N.mT)


# ----------------------------------------------------------- inputs, as they are stored


def _inputs(phi, Phi_S, near, b, Y_S, dtype):
    """Inputs (m, d) with features in the direction of Phi_S, and the least factor."""
    xp = array_namespace(Phi_S)
    if b is None:
        scale = _range_scale(phi, Phi_S)
        if Y_S is not None:  # one factor for all: the labels are scaled with it
            scale = xp.min(scale) + 0 * scale
        X_S = phi.preimage(scale * Phi_S, near)
        return _stored(X_S, dtype), number(xp.min(scale))
    mean = xp.mean(Phi_S, axis=0, keepdims=True)
    c = _factor_towards(mean, phi, Phi_S)  # spans of centred rows stay
    X_S = phi.preimage(mean + c * (Phi_S - mean) if c < 1 else Phi_S, near)
    return _stored(X_S, dtype), c


def _range_scale(phi, Phi_S):
    """Factors (m, 1), at most 1, that bring each row into the range of the map."""
    if hasattr(phi, "range_scale"):
        return phi.range_scale(Phi_S)
    return 0 * Phi_S[:, :1] + 1


def _factor_towards(mean, phi, Phi_S):
    """The factor c for which ``mean + c (Phi_S - mean)`` is in the range of the map."""
    xp, c = array_namespace(Phi_S), 1.0
    while c > 1e-6:
        if number(xp.min(_range_scale(phi, mean + c * (Phi_S - mean)))) >= 1:
            return c
        c = 0.9 * c
    raise ValueError(
        "the mean of the features is outside the range of the map, so that no set with "
        "an intercept can have it; choose points nearer to the data, or no intercept"
    )


def _stored(A, dtype):
    """`A` after rounding to `dtype`, in the dtype that it had."""
    xp = array_namespace(A)
    if dtype is None or dtype in str(A.dtype):
        return A
    if number(xp.max(abs(A))) > float(np.finfo(dtype).max):
        raise ValueError(f"the distilled set overflows {dtype}; use dtype='float64'")
    return xp.astype(xp.astype(A, getattr(xp, dtype)), A.dtype)


def _bearable_condition(phi, X_S, b, dtype):
    """Condition number that keeps the loss to rounding at sqrt(eps), where it is less.

    At least 1e3, or 1e2 in float32; None where the set has it already.
    """
    Phi_S, eps = phi(X_S), _eps(X_S, dtype)
    rounding = max(eps, feature_rounding(phi, X_S, Phi_S, eps))
    limit = max(1e3 if eps < 1e-10 else 1e2, eps**0.5 / rounding)
    return limit if _trained_on(Phi_S, b)[0] > limit else None


def _missed(phi, found, W, b, like):
    """Relative error of the predictions on the features `like`, 0.0 without them."""
    if like is None:
        return 0.0
    if b is None:
        W_S = thin_svd(phi(found.X_S), 0.0 if found.lam_S else None)
        return relative_error(like @ W_S.solve(found.Y_S, found.lam_S), like @ W)
    W_S, b_S = with_intercept.fit(phi(found.X_S), found.Y_S, found.lam_S)
    return relative_error(like @ W_S + b_S, like @ W + b)


# --------------------------------------------------------------- labels and certificate


def _with_free_labels(phi, X_S, W, b, lam_S, dtype):
    """The set with the labels that suit the features its inputs really have."""
    Phi_S = phi(X_S)
    if lam_S is None:
        _, t = _trained_on(Phi_S, b)
        lam_S = 1e-3 * number(t[0]) * number(t[-1]) if t.shape[0] else 1.0
    Y_S = _stored(_exact_labels(Phi_S, W, b, lam_S), dtype)
    certificate = certified(phi, X_S, Y_S, lam_S, W, b, dtype=dtype)
    return DistilledInputs(X_S, Y_S, lam_S, certificate)


def _with_given_labels(phi, X_S, W, Y_S, lam_S, dtype):
    """The set with given labels, moved to the nearest exact ones if these are
    needed.
    """
    Phi_S = phi(X_S)
    given = verify(Phi_S, Y_S, lam_S, W)
    chosen = Y_S
    if not given.exact:
        explained = Phi_S @ thin_svd(Phi_S).solve(Y_S)
        moved = _exact_labels(Phi_S, W, None, lam_S) + (Y_S - explained)
        better = verify(Phi_S, moved, lam_S, W).relative_error < given.relative_error
        chosen = moved if better else Y_S
    chosen = _stored(chosen, dtype)
    certificate = certified(phi, X_S, chosen, lam_S, W, dtype=dtype)
    certificate = certificate._replace(label_distance=relative_error(chosen, Y_S))
    return DistilledInputs(X_S, chosen, lam_S, certificate)


def _exact_labels(Phi_S, W, b, lam_S):
    # span_tol above any fraction: what the rows miss of W, the certificate measures
    if b is None:
        return labels(Phi_S, W, lam_S, span_tol=2.0)
    return with_intercept.labels(Phi_S, W, b, lam_S, span_tol=2.0)


def certified(
    phi: Any,
    X_S: Array,
    Y_S: Array,
    lam_S: float,
    W: Array,
    b: Array | None = None,
    *,
    dtype: str | None = None,
    data_condition: float = 0.0,
) -> Certificate:
    """Certificate of inputs and labels as they are stored, by training on them.

    Parameters
    ----------
    phi : callable
        Feature map, from (m, d) to (m, p).
    X_S, Y_S : array (m, d), array (m, k)
        The set.
    lam_S : float
        Regularisation of the training on it.
    W, b : array (p, k), array (1, k)
        The model; without `b` training has no intercept.
    dtype : {"float64", "float32"}, optional
        What the set is stored in. Default: the dtype of `X_S`.
    data_condition : float
        Condition number of the training that gave `W`, where its rounding counts too:
        for a model trained anew on the data, not the one that was distilled.

    Returns
    -------
    Certificate
        See `measure.certify`. `rounding` adds up the change of the features with the
        last bits of `X_S`, measured, and that of the model with those of `Y_S`.

    Notes
    -----
    Book: eq-recipe-certificate.

    Examples
    --------
    >>> import numpy as np
    >>> X_S, W = np.array([[1.0], [3.0]]), np.array([[2.0]])
    >>> certified(np.tanh, X_S, np.tanh(X_S) @ W, 0.0, W).exact
    True
    """
    Phi_S, eps = phi(X_S), _eps(X_S, dtype)
    condition, t = _trained_on(Phi_S, b)
    rounding = feature_rounding(phi, X_S, Phi_S, eps)
    rounding = max(rounding, eps) + eps_of(W) * data_condition / condition
    if t.shape[0] and norm(W):  # and what the last bits of the labels do to W
        gain = number(array_namespace(t).max(1 / (t + lam_S / t)))
        rounding = rounding + eps * norm(Y_S) * gain / (condition * norm(W))
    error, error_b, size = _errors(Phi_S, Y_S, lam_S, W, b, eps)
    return certify(
        error,
        condition,
        X_S if dtype is None else dtype,
        rounding=rounding,
        # of a model of zeros, what rounding makes of the labels counts
        uncertain=_uncertain(Phi_S, Y_S, lam_S, b) / (norm(W) or norm(Y_S) or 1.0),
        intercept_error=error_b,
        intercept_rounding=eps * norm(Y_S) / Y_S.shape[0] ** 0.5 / size,
        largest_input=number(array_namespace(X_S).max(abs(X_S))),
        float32_error=_error_in_float32(phi, X_S, Y_S, lam_S, W, b),
    )


def _errors(Phi_S, Y_S, lam_S, W, b, eps):
    """Relative errors of the model that the set trains: of W, and of the intercept;
    and what the latter is relative to.

    An intercept that is rounding beside the predictions of the points, as that of
    centred data is, has no digits of its own: 50 eps of these are no error.
    """
    if b is None:
        return verify(Phi_S, Y_S, lam_S, W).relative_error, None, 1.0
    W_S, b_S = with_intercept.fit(Phi_S, Y_S, lam_S)
    mean = array_namespace(Phi_S).mean(Phi_S, axis=0, keepdims=True)
    size = norm(b) + norm(mean) * norm(W)  # b is what is left of a difference
    least = 50 * max(eps, eps_of(Phi_S)) ** (2 / 3)
    size = max(size, least * norm(Phi_S @ W) / Phi_S.shape[0] ** 0.5) or 1.0
    return relative_error(W_S, W), norm(b_S - b) / size, size


def _uncertain(Phi_S, Y_S, lam_S, b):
    """What rounding may do to the model that the set trains."""
    svd = thin_svd(Phi_S)
    if b is None or not svd.rank or Phi_S.shape[0] < 2:
        return svd.rounding(Y_S, lam_S)
    rows, Y_c = with_intercept.contrasts(Phi_S), with_intercept.contrasts(Y_S)
    cut = svd.rtol * number(svd.s[0]) / (norm(rows) or 1.0)
    return thin_svd(rows, cut).rounding(Y_c, lam_S, rows=svd.s[:1], labels=Y_S)


def _error_in_float32(phi, X_S, Y_S, lam_S, W, b):
    try:
        X_32, Y_32 = _stored(X_S, "float32"), _stored(Y_S, "float32")
    except ValueError:
        return float("inf")
    error, error_b, _ = _errors(phi(X_32), Y_32, lam_S, W, b, 2.0**-23)
    return max(error, error_b or 0.0)


def _largest_error(found):
    certificate = found.certificate
    return max(certificate.relative_error, certificate.intercept_error or 0.0)


def _trained_on(Phi_S, b):
    """Condition number of what is trained on, and its singular values.

    With an intercept these are the centred rows; rounding in them is that of the rows
    themselves, so the condition number is ||Phi_S||_2 over the smallest one.
    """
    svd = thin_svd(Phi_S)
    if b is None or not svd.rank:
        return svd.condition, svd.s
    if Phi_S.shape[0] < 2:
        return 1.0, svd.s[:0]
    size = number(svd.s[0])
    xp = array_namespace(Phi_S)
    t = xp.linalg.svdvals(with_intercept.contrasts(Phi_S))
    t = t[t > svd.rtol * size]
    return max(1.0, size / number(t[-1])) if t.shape[0] else 1.0, t


def _why_not_exact(found, lam_S):
    certificate = found.certificate
    single = "float64, " if eps_of(found.X_S) > 1e-10 else ""
    way = f"use {single}a better conditioned map"
    if lam_S:
        way = f"leave lam_S = {lam_S:.3g} out, or {way}"
    else:
        way += ", scaling='columns' or a smaller max_condition"
    doubt, error_b = "", ""
    if certificate.uncertain is not None:
        doubt = f", training adds {certificate.uncertain:.2g}"
    if certificate.intercept_error is not None:
        error_b = f" and {certificate.intercept_error:.2g} from b"
        error_b += f" ({certificate.intercept_tolerance:.2g})"
    return (
        f"the set found is not exact: training on it gives a model "
        f"{certificate.relative_error:.2g} away from W "
        f"({certificate.tolerance:.2g} allowed{doubt}){error_b}; rounding X_S (up "
        f"to {certificate.largest_input:.2g}) moves features by "
        f"{certificate.rounding:.2g}, condition {certificate.condition:.2g}; {way}"
    )


# -------------------------------------------------------------------------- arguments


def _check_map(phi):
    """Refuse what cannot be inverted, a network for instance."""
    needed = ("__call__", "preimage", "output_dim")
    missing = [name for name in needed if not hasattr(phi, name)]
    if missing:
        raise TypeError(
            f"phi, a {type(phi).__name__}, has no {' and no '.join(missing)}: it is a "
            "map of ddref.maps (from_torch makes one of a network that is onto), or "
            f"has these; {OTHERWISE}"
        )


def _row(intercept):
    """The intercept as a row (1, k), None where there is none."""
    if intercept is False or intercept is None:
        return None
    if intercept is True:
        raise TypeError(
            "intercept = True: pass the row b (1, k) of the model phi W + b"
        )
    return intercept.reshape(1, -1) if getattr(intercept, "ndim", 2) == 1 else intercept


def _number_of_points(phi, W, b, m, near, Y_S):
    """The number of points, where everything that fixes it agrees."""
    check_shapes(W=(W, "pk"), b=(b, "1k"))
    if Y_S is not None and b is not None:
        raise ValueError("with an intercept the labels are free: leave out Y_S")
    if phi.output_dim is not None and phi.output_dim != W.shape[0]:
        raise ValueError(
            f"phi has {phi.output_dim} features and W has {W.shape[0]} rows; "
            "they must match"
        )
    counts = {
        "near": None if near is None else near.shape[0],
        "Y_S": None if Y_S is None else Y_S.shape[0],
        "m": None if m is None else check_count(m, "m"),
    }
    counts = {name: count for name, count in counts.items() if count is not None}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"the numbers of points differ: {said}")
    fewest = max(minimal_points(W) + (b is not None), 1)
    return next(iter(counts.values()), fewest)


def _regularisation(lam_S, Y_S):
    if lam_S is None and Y_S is not None:
        raise ValueError("lam_S = None is for free labels; with Y_S pass a number")
    return lam_S if lam_S is None else check_lam(lam_S, "lam_S")


def _eps(A, dtype):
    return eps_of(A) if dtype is None else float(np.finfo(dtype).eps)
