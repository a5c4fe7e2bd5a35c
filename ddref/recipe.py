"""From a feature map and a model to a distilled set of inputs, checked by retraining on what is returned.

Puts the rooms together: features by `ddref.distill`, `ddref.nearest` or `ddref.gauge`, inputs by the pre-image of the
map, labels from the features that these inputs really have, a certificate by `ddref.measure`.
"""

import operator
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from ddref.distill import features, labels, largest_lam, minimal_points
from ddref.gauge import orthonormal
from ddref.krr import regularized_pinv
from ddref.measure import check_arrays, check_lam, relative_error, tolerance, verify
from ddref.nearest import nearest, nearest_given_labels, nearest_pseudoinverse


class RecipeCertificate(NamedTuple):
    """What retraining on the returned inputs gave, and what they look like. Errors and distances are relative."""

    relative_error: float  # ||W_S - W|| / ||W||, W_S trained on (phi(X_S), Y_S, lam_S)
    condition: float  # of the features phi(X_S)
    rounding: float  # change of phi(X_S) when every entry of X_S moves by eps of itself; at least eps
    tolerance: float  # errors up to this are rounding: 50 * condition * rounding, at most the cube root of eps
    exact: bool  # relative_error <= tolerance; sets for which it is False are not returned
    distance: float | None  # ||phi(X_S) - phi(near)|| / ||phi(near)||, in features
    input_distance: float | None  # ||X_S - near|| / ||near||, in inputs
    largest_input: float  # max |X_S|
    scale: float  # smallest factor that features were multiplied by to reach the range of phi; 1.0 where it is R^p
    label_distance: float | None  # of the returned labels from the given ones (times scale); 0.0: unchanged
    float32_error: float  # ||W_S - W|| / ||W|| when X_S and Y_S are stored in float32, and trained on as above


class DistilledInputs(NamedTuple):
    """An exact distilled set of inputs: training on ``(phi(X_S), Y_S)`` with ``lam_S`` gives the model."""

    X_S: object  # (m, d)
    Y_S: object  # (m, k)
    lam_S: float
    certificate: RecipeCertificate


def distill(phi, W, *, m=None, near=None, Y_S=None, lam_S=0.0, max_condition=None):
    """Inputs and labels on which kernel ridge regression with the feature map `phi` trains the model `W`.

    What is given decides the features, which are then pulled back by ``phi.preimage``:

    - `near`: the exact features nearest to ``phi(near)``, labels free. Noise as `near` gives a set that shows no data.
    - `Y_S`: features for these labels, the smallest that carry them. With more points than labels can tell apart the
      free part is filled with orthogonal directions, so that no two points coincide.
    - both: the nearest features that fit the labels (``lam_S = 0``), or those with the nearest regularised
      pseudo-inverse (``lam_S > 0``, for which nothing nearer is known in closed form).
    - neither: orthonormal features, the best conditioned set; points beyond rank(W) carry label zero (m <= p).

    Parameters
    ----------
    phi : feature map
        With `__call__`, `preimage`, `output_dim`; `range_scale` where its range is bounded. From `ddref.maps`,
        `ddref.fourier`, `ddref.conv`, or your own.
    W : array (p, k)
        Model to reproduce.
    m : int, optional
        Number of points, at least rank(W). Default: that of `near` or `Y_S`, else rank(W).
    near : array (m, d), optional
        Inputs to stay close to: real ones, or noise. "Close" is measured in features; the certificate tells how far
        the inputs went. Where `phi` is ill conditioned that is very far.
    Y_S : array (m, k), optional
        Labels wanted, for instance one-hot rows.
    lam_S : float
        Regularisation to train on the set with.
    max_condition : float, optional
        Largest condition number of the features with `near`, see `ddref.nearest.nearest`. Default: the default there;
        with free labels lowered to ``max(1e3, sqrt(eps) / rounding)``, where the pre-image of a first set shows that
        the map amplifies rounding too much for it. The certificate has the condition number reached.

    Returns
    -------
    DistilledInputs
        `X_S` (m, d), `Y_S` (m, k), `lam_S` and `certificate`. `lam_S` and the labels are as given, except where the
        range of `phi` is bounded and labels are given: then they are ``c^2 lam_S`` and ``c Y_S``, c the
        certificate's `scale`.

    Raises
    ------
    ValueError
        When `phi` is not onto (its own message says why), fewer points than rank(W) are asked for, the labels cannot
        carry W; and when the certificate fails, with its numbers: an inexact set is never returned.

    Notes
    -----
    Book: thm-surjective, thm-cube, eq-recipe-certificate. Source: Chen, Huang and Weng (2024), Thm 5.1, Examples
    5.1-5.4.

    Labels are computed from the *recovered* features phi(X_S): rounding in the pre-image does not matter then, only
    that rows span W. Given labels are kept where retraining with them is exact to ``50 * condition * eps``; otherwise
    they are moved to the nearest labels that are exact for the recovered features, if these have the smaller error,
    and `label_distance` says how far. `rounding` is measured: each entry of X_S is moved by 4 eps of itself, up or
    down, and the change of the features divided by 4. Rows are scaled into a bounded range one by one where the
    labels are free, with one factor otherwise.

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
    xp, lam_S = check_arrays(W=W, near=near, Y_S=Y_S), check_lam(lam_S, "lam_S")
    m = _points(W, m, near, Y_S)
    if phi.output_dim is not None and phi.output_dim != W.shape[0]:
        raise ValueError(f"phi has {phi.output_dim} features and W has {W.shape[0]} rows; they must match")
    Phi_0 = None if near is None else phi(near)
    X_S, scale = _pull_back(xp, phi, _features(W, m, Phi_0, Y_S, lam_S, max_condition), near, Y_S)
    if max_condition is None and near is not None and Y_S is None:
        max_condition = _bearable_condition(xp, phi, X_S)
        if max_condition is not None:
            X_S, scale = _pull_back(xp, phi, nearest(Phi_0, W, max_condition=max_condition), near, Y_S)
    wanted = None
    if Y_S is not None:  # given labels are scaled with the features: (c Phi_S, c Y_S, c^2 lam_S)
        wanted, lam_S = scale * Y_S, _number(scale[0, 0]) ** 2 * lam_S
    Phi_S = phi(X_S)  # the features that the returned inputs really have
    Y_S = _recomputed(Phi_S, W, lam_S) if wanted is None else _kept_or_moved(Phi_S, wanted, W, lam_S)
    certificate = _certify(xp, phi, X_S, Phi_S, Y_S, lam_S, W)
    if not certificate.exact:
        raise ValueError(
            f"the set found is not exact: training on it gives a model {certificate.relative_error:.3g} away from W, "
            f"more than the {certificate.tolerance:.2g} allowed. Rounding X_S (entries up to "
            f"{certificate.largest_input:.3g}) in {W.dtype} changes its features by {certificate.rounding:.2g}, their "
            f"condition number is {certificate.condition:.3g}; use a better conditioned map (orthogonal weights, fewer "
            "layers), float64, other points, or with near a smaller max_condition"
        )
    return DistilledInputs(
        X_S,
        Y_S,
        float(lam_S),
        certificate._replace(
            distance=None if near is None else relative_error(Phi_S, Phi_0),
            input_distance=None if near is None else relative_error(X_S, near),
            scale=_number(xp.min(scale)),
            label_distance=None if wanted is None else relative_error(Y_S, wanted),
        ),
    )


def _points(W, m, near, Y_S):
    """The number of points, where everything that fixes it agrees."""
    counts = {"near": None if near is None else near.shape[0], "Y_S": None if Y_S is None else Y_S.shape[0]}
    if m is not None:
        try:
            counts["m"] = operator.index(m)
        except TypeError as error:
            raise TypeError(f"m must be an integer, got {m!r}") from error
    counts = {name: count for name, count in counts.items() if count is not None}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the numbers of points differ: {', '.join(f'{name} {n}' for name, n in counts.items())}")
    return next(iter(counts.values()), max(minimal_points(W), 1))


def _features(W, m, Phi_0, Y_S, lam_S, max_condition):
    """Exact features: near `Phi_0`, for the labels `Y_S`, both, or orthonormal."""
    if Y_S is None:
        return orthonormal(W, m) if Phi_0 is None else nearest(Phi_0, W, max_condition=max_condition)
    if Phi_0 is None:
        return features(W, Y_S, lam_S, Z=_free_part(W, Y_S))
    if lam_S == 0:
        return nearest_given_labels(Phi_0, W, Y_S, max_condition=max_condition)
    return nearest_pseudoinverse(Phi_0, W, Y_S, lam_S, max_error=1.0)  # judged at the end, on the inputs found


def _pull_back(xp, phi, Phi_S, near, Y_S):
    """Inputs with the features `Phi_S` scaled into the range of phi, and the factors (m, 1): all equal with labels."""
    scale = phi.range_scale(Phi_S) if hasattr(phi, "range_scale") else xp.ones_like(Phi_S[:, :1])
    if Y_S is not None:
        scale = xp.min(scale) * xp.ones_like(scale)
    return phi.preimage(scale * Phi_S, near), scale


def _bearable_condition(xp, phi, X_S):
    """Condition number that keeps condition * rounding at sqrt(eps), at least 1e3; None where that is so already."""
    Phi_S, target = phi(X_S), float(xp.finfo(X_S.dtype).eps) ** 0.5
    t, rounding = xp.linalg.svdvals(Phi_S), _rounding(xp, phi, X_S, Phi_S)
    limit = max(1e3, target / rounding)
    return limit if _number(t[0]) > limit * _number(t[-1]) else None


def _free_part(W, Y_S):
    """Z = s E^T N^T: N a basis of the left null space of Y_S, E orthonormal directions outside the columns of W.

    With s = ||W Y_S^+||_2 the largest singular value of D, and with it the largest lam_S, stays that of Z = 0.
    """
    xp, rank_Y, r = array_namespace(Y_S), minimal_points(Y_S), minimal_points(W)
    free, (p, bound) = Y_S.shape[0] - rank_Y, (W.shape[0], largest_lam(W, Y_S))
    if free == 0 or r in (0, p):
        return None
    N = xp.linalg.svd(Y_S, full_matrices=True)[0][:, rank_Y:]
    outside = orthonormal(W, p)[r:, :]
    E = orthonormal(outside[:, :1], free) @ outside  # (free, p); a tight frame where free > p - r
    return (0.5 / bound**0.5) * (E.mT @ N.mT)


def _recomputed(Phi_S, W, lam_S):
    return labels(Phi_S, W, lam_S, span_tol=2.0)  # above any fraction: what the rows miss, the certificate measures


def _kept_or_moved(Phi_S, Y_S, W, lam_S):
    """The given labels, or the nearest ones that are exact for the recovered features if these are needed."""
    given = verify(Phi_S, Y_S, lam_S, W)
    if given.exact:
        return Y_S
    explained = Phi_S @ (regularized_pinv(Phi_S, 0.0) @ Y_S)
    moved = _recomputed(Phi_S, W, lam_S) + (Y_S - explained)
    return moved if verify(Phi_S, moved, lam_S, W).relative_error < given.relative_error else Y_S


def _certify(xp, phi, X_S, Phi_S, Y_S, lam_S, W):
    """Retrain on the set as returned, and as it would be after storage in float32."""
    eps, rounding = float(xp.finfo(X_S.dtype).eps), _rounding(xp, phi, X_S, Phi_S)
    found = verify(Phi_S, Y_S, lam_S, W)
    allowed = min(tolerance(found.condition, X_S) * rounding / eps, eps ** (1 / 3))
    X_32, Y_32 = (xp.astype(xp.astype(A, xp.float32), X_S.dtype) for A in (X_S, Y_S))
    stored = verify(phi(X_32), Y_32, lam_S, W).relative_error if _finite(xp, X_32, Y_32) else float("inf")
    return RecipeCertificate(
        relative_error=found.relative_error,
        condition=found.condition,
        rounding=rounding,
        tolerance=allowed,
        exact=found.relative_error <= allowed,
        distance=None,
        input_distance=None,
        largest_input=_number(xp.max(xp.abs(X_S))),
        scale=1.0,
        label_distance=None,
        float32_error=stored,
    )


def _rounding(xp, phi, X_S, Phi_S):
    """Relative change of the features for each eps of themselves that the entries of X_S move by; at least eps.

    They are moved by 4 eps, so that it shows also where phi adds something larger to them, and with two sets of signs.
    """
    eps, rng = float(xp.finfo(X_S.dtype).eps), np.random.default_rng(0)
    changes = [eps]
    for _ in range(2):
        signs = xp.asarray(rng.choice([-1.0, 1.0], size=tuple(X_S.shape)), dtype=X_S.dtype, device=device(X_S))
        changes.append(relative_error(phi(X_S * (1 + 4 * eps * signs)), Phi_S) / 4)
    return max(changes)


def _finite(xp, *arrays):
    return all(bool(xp.all(xp.isfinite(A))) for A in arrays)


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
