"""Judge a distilled set: relative errors, tolerances, and the one certificate that a
set is exact.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    check_arrays,
    check_dense,
    check_lam,
    check_shapes,
    norm,
    size_of,
    thin_svd,
)


class Certificate(NamedTuple):
    """What training on a distilled set gave, as plain numbers; errors and distances are
    relative.

    Fields that do not apply are None, and are not printed.
    """

    relative_error: float  # ||W_S - W|| / ||W||, W_S trained on the set as returned
    condition: float  # of the features that are trained on, at least 1
    rounding: float  # change of features with the last bits of the set, at least eps
    tolerance: float  # 50 * condition * rounding, at most the cube root of eps
    exact: (
        bool  # errors, known well enough, <= tolerances; 50 * condition * eps <= 1e-2
    )
    distance: float | None = None  # ||Phi_S - Phi_0|| / ||Phi_0||, in features
    lower_bound: float | None = None  # no exact set with as many points is nearer
    input_distance: float | None = None  # ||X_S - X_0|| / ||X_0||, in inputs
    largest_input: float | None = None  # max |X_S|
    scale: float | None = None  # least factor of features to reach the map's range
    label_distance: float | None = None  # from given labels; 0.0: unchanged
    float32_error: float | None = None  # relative_error when stored in float32
    # ||b_S - b|| / (||b|| + ||mean|| ||W||), or of a small part of the predictions
    intercept_error: float | None = None
    intercept_tolerance: float | None = None  # tolerance, and the rounding of labels
    prediction_error: float | None = None  # of predictions on the training samples
    decisions_changed: int | None = None  # training samples that get another class
    samples: int | None = None  # training samples
    uncertain: float | None = None  # of relative_error, where that leaves exact open
    copies: int | None = None  # points that are training samples, but for rounding

    def __repr__(self) -> str:
        fields = self._asdict().items()
        said = ", ".join(
            f"{name}={value!r}" for name, value in fields if value is not None
        )
        if self.copies:
            said += f": {self.copies} point(s) are copies of your samples"
        return f"{type(self).__name__}({said})"


def relative_error(A: Array, B: Array) -> float:
    """``||A - B||_F / ||B||_F``: how far `A` is from the reference `B`.

    Parameters
    ----------
    A, B : array
        Of one shape, any number of dimensions.

    Returns
    -------
    float
        0.0 when both are zero, inf when only the reference is.

    Raises
    ------
    ValueError, TypeError
        For different shapes or libraries, NaN or Inf.

    Notes
    -----
    Book: eq-relative-error. Neither the cosine nor the accuracy would do: both are
    blind to scale.

    Examples
    --------
    >>> import numpy as np
    >>> relative_error(np.array([[2.2]]), np.array([[2.0]])) < 0.1 + 1e-12
    True
    """
    check_dense(A=A, B=B)
    if not (hasattr(A, "shape") and hasattr(B, "shape")):
        kinds = f"{type(A).__name__} and {type(B).__name__}"
        raise TypeError(f"A and B must be NumPy or PyTorch arrays, got {kinds}")
    if tuple(A.shape) != tuple(B.shape):
        raise ValueError(
            f"A has shape {tuple(A.shape)} and B has {tuple(B.shape)}; they must match"
        )
    row = (1, math.prod(A.shape))
    A, B = (array_namespace(C).reshape(C, row) for C in (A, B))
    check_arrays(A=A, B=B)
    error, size = norm(A - B), norm(B)
    return error / size if size else (math.inf if error else 0.0)


def accuracy(scores: Array, classes: Array) -> float:
    """Fraction of rows whose largest score is at the true class (the first, where
    scores tie).

    Parameters
    ----------
    scores : array (n, k)
        One score per class, for instance ``Phi @ W``.
    classes : integer array (n,)
        True classes, 0 to k - 1.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError, TypeError
        For mismatched shapes, NaN scores, classes that are not integers or out of
        range.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    0.5
    """
    xp = check_arrays(scores=scores)
    n, k = scores.shape
    if not hasattr(classes, "shape"):
        raise TypeError(
            f"classes must be an array of integers, got {type(classes).__name__}"
        )
    if tuple(classes.shape) != (n,):
        raise ValueError(
            f"scores has {n} rows, classes must have shape ({n},), "
            f"it is {tuple(classes.shape)}"
        )
    classes = xp.asarray(classes, device=device(scores))
    if not xp.isdtype(classes.dtype, "integral"):
        raise TypeError(f"classes must be integers, their dtype is {classes.dtype}")
    low, high = int(xp.min(classes)), int(xp.max(classes))
    if low < 0 or high >= k:
        raise ValueError(
            f"classes must lie in 0..{k - 1}, they reach from {low} to {high}"
        )
    hits = xp.astype(xp.argmax(scores, axis=1), classes.dtype) == classes
    return int(xp.sum(xp.astype(hits, xp.int64))) / n


def tolerance(condition: float, dtype: Any, *, constant: float = 50.0) -> float:
    """Relative error that rounding explains: ``constant * condition * eps``.

    Parameters
    ----------
    condition : float
        Condition number of the system that is actually solved, at least 1.
    dtype : array, or dtype of NumPy, PyTorch
        Whose machine precision counts; an array stands for its dtype.
    constant : float
        One constant for every test and chapter.

    Returns
    -------
    float

    Notes
    -----
    Book: eq-tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> bool(tolerance(10.0, np.float64) == 500 * np.finfo(float).eps)
    True
    """
    if not condition >= 1:
        raise ValueError(f"condition = {condition} must be a number of at least 1")
    name = str(dtype if isinstance(dtype, type) else getattr(dtype, "dtype", dtype))
    for bits, eps in (("float64", 2.0**-52), ("float32", 2.0**-23)):
        if bits in name:
            return constant * float(condition) * eps
    raise TypeError(f"dtype must be float64 or float32, got {name}")


def certify(
    error: float,
    condition: float,
    dtype: Any,
    *,
    rounding: float = 0.0,
    uncertain: float = 0.0,
    intercept_error: float | None = None,
    intercept_rounding: float = 0.0,
    **found: Any,
) -> Certificate:
    """The rule by which a set is called exact, the same for every kind of set.

    Parameters
    ----------
    error : float
        Relative error of the model that training on the set gave.
    condition : float
        Condition number of the features that were trained on, at least 1.
    dtype : array, or dtype of NumPy, PyTorch
        What the set is stored in.
    rounding : float
        Relative change of the features when the stored numbers move by their last bit,
        as measured by the caller where a map stands between them; at least eps of the
        dtype.
    uncertain : float
        By how much `error` itself may be wrong: rounding in the training that it was
        measured by, see `ThinSVD.rounding`.
    intercept_error, intercept_rounding : float, optional
        Error of the intercept that training gave, and its change with the last bits of
        the labels: an intercept is judged by itself, so that neither excuses an error
        of the other.
    found : float
        Other fields of the certificate.

    Returns
    -------
    Certificate

    Notes
    -----
    Book: eq-certificate. Above ``50 * condition * eps = 1e-2`` nothing can be decided
    in this dtype, and the set is not called exact whatever its error.

    Examples
    --------
    >>> import numpy as np
    >>> certify(1e-15, 10.0, np.float64).exact, certify(1e-12, 10.0, np.float64).exact
    (True, False)
    """
    noise = tolerance(condition, dtype)
    eps = tolerance(1.0, dtype, constant=1.0)
    rounding = max(rounding, eps)
    most = eps ** (1 / 3)
    allowed = min(50.0 * condition * rounding, most)
    exact = bool(error + uncertain <= allowed and noise <= 1e-2)
    if error <= allowed < error + uncertain:
        found["uncertain"] = uncertain
    if intercept_error is not None:
        allowed_b = min(allowed + 50.0 * intercept_rounding, most)
        exact = exact and bool(intercept_error <= allowed_b)
        found |= {"intercept_error": intercept_error, "intercept_tolerance": allowed_b}
    return Certificate(error, condition, rounding, allowed, exact, **found)


def verify(
    Phi_S: Array,
    Y_S: Array,
    lam_S: float,
    W: Array,
    *,
    Phi_0: Array | None = None,
    rounding: float = 0.0,
) -> Certificate:
    """Retrain on a distilled set and compare with the model it was distilled from.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points, as they are stored.
    Y_S : array (m, k)
        Their labels.
    lam_S : float
        Regularisation of the training on the set.
    W : array (p, k)
        The model that was distilled (not an independent retraining, whose own rounding
        is larger).
    Phi_0 : array (m, p), optional
        Where the points started, for `distance`.
    rounding : float
        See `certify`.

    Returns
    -------
    Certificate
        Plain numbers: `relative_error`, `condition`, `rounding`, `tolerance`, `exact`,
        `distance`.

    Raises
    ------
    ValueError, TypeError
        For mismatched shapes or unusable arrays. A set that is not exact is reported,
        not refused.

    Notes
    -----
    Book: eq-certificate. `W_S` is solved from the SVD of `Phi_S`; `condition` is that
    of `Phi_S`, largest over smallest singular value above max(m, p) * eps. The
    tolerance is for labels from the formula. What rounding may do to this training, see
    `ThinSVD.rounding`, has to be within it as well: labels with a large part R outside
    the range of `Phi_S` lose up to ``condition^2 ||R|| / (||Phi_S|| ||W||)`` times eps
    more, and so does a tiny `lam_S` beside singular values below the cutoff. Such sets
    are reported as not exact, with `uncertain`.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.array([[3.0], [0.0]])
    >>> verify(np.array([[2.0, 0.0]]), np.array([[12.0]]), 4.0, W).exact
    True
    """
    check_arrays(Phi_S=Phi_S, Y_S=Y_S, W=W, Phi_0=Phi_0)
    check_shapes(Phi_S=(Phi_S, "mp"), Y_S=(Y_S, "mk"), W=(W, "pk"), Phi_0=(Phi_0, "mp"))
    lam_S = check_lam(lam_S, "lam_S")
    svd = thin_svd(Phi_S)
    # at lam_S > 0 nothing is cut: whoever solves the linear system cuts nothing either
    W_S = (thin_svd(Phi_S, 0.0) if lam_S else svd).solve(Y_S, lam_S)
    distance = None if Phi_0 is None else relative_error(Phi_S, Phi_0)
    error = relative_error(W_S, W)
    uncertain = svd.rounding(Y_S, lam_S) / size_of(W)
    return certify(
        error,
        svd.condition,
        Phi_S,
        rounding=rounding,
        uncertain=uncertain,
        distance=distance,
    )


def feature_rounding(phi: Any, X_S: Array, Phi_S: Array, eps: float) -> float:
    """Relative change of the features when the stored points move by their last bit.

    The entries are moved by 4 eps, so that it shows also where phi adds something
    larger to them, and with two sets of signs.

    Parameters
    ----------
    phi : callable
        Feature map, from (m, d) to (m, p).
    X_S, Phi_S : array (m, d), array (m, p)
        The points, and their features.
    eps : float
        Of the dtype that the points are stored in.

    Notes
    -----
    Book: eq-recipe-certificate. The `rounding` of `certify` and `verify`.

    Examples
    --------
    >>> import numpy as np
    >>> X_S, eps = np.array([[1.0], [3.0]]), 2.0**-52
    >>> round(feature_rounding(lambda X: X**8, X_S, X_S**8, eps) / eps)
    8
    """
    xp, rng = array_namespace(X_S), np.random.default_rng(0)
    changes = []
    for _ in range(2):
        signs = rng.choice([-1.0, 1.0], size=tuple(X_S.shape))
        signs = xp.asarray(signs, dtype=X_S.dtype, device=device(X_S))
        changes.append(relative_error(phi(X_S * (1 + 4 * eps * signs)), Phi_S) / 4)
    return max(changes)


class Sensitivity(NamedTuple):
    """How far a model moves, relative to its norm, for changes of the set it is trained
    on that are 1 in Frobenius norm.
    """

    features: float  # per change of Phi_S
    labels: float  # per change of Y_S


def sensitivity(Phi_S: Array, Y_S: Array, lam_S: float) -> Sensitivity:
    """What a change of a set, as by storing it in a short format, does to its model.

    Changes E of the features and F of the labels move the model W that the set trains
    by at most ``(features ||E|| + labels ||F||) ||W||``, in Frobenius norms and to
    first order in the changes.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the distilled points.
    Y_S : array (m, k)
        Their labels.
    lam_S : float
        Regularisation of the training on the set.

    Returns
    -------
    Sensitivity
        `features`, `labels`. Both infinite at ``lam_S = 0`` for features that have not
        full rank (any change may then add a direction), and for a model of zeros.

    Raises
    ------
    ValueError, TypeError
        For mismatched shapes or unusable arrays.

    Notes
    -----
    Book: thm-stability. `features` is mostly ``||alpha|| / ||W||``, the coefficients of
    ``W = Phi_S^T alpha``: how much the model leans on small singular values.

    Examples
    --------
    >>> import numpy as np
    >>> sensitivity(np.array([[0.5, 0.0]]), np.array([[1.0]]), 0.0)  # W = (2, 0)
    Sensitivity(features=4.0, labels=1.0)
    """
    check_arrays(Phi_S=Phi_S, Y_S=Y_S)
    check_shapes(Phi_S=(Phi_S, "mp"), Y_S=(Y_S, "mk"))
    lam_S = check_lam(lam_S, "lam_S")
    svd = thin_svd(Phi_S)
    W_S = norm(svd.solve(Y_S, lam_S))
    if W_S == 0 or (lam_S == 0 and svd.rank < min(Phi_S.shape)):
        return Sensitivity(math.inf, math.inf)
    features, labels = svd.sensitivity(Y_S, lam_S)
    return Sensitivity(features / W_S, labels / W_S)
