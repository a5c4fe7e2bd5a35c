"""Judge a distilled set: relative errors, tolerances, and the certificate that a set is exact."""

import math
from typing import NamedTuple

from array_api_compat import array_namespace, device


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


class Certificate(NamedTuple):
    """What retraining on a distilled set gave, see `verify`. All errors are relative Frobenius norms."""

    relative_error: float  # ||W_S - W|| / ||W||
    condition: float  # of the features W_S was solved from
    tolerance: float  # relative errors up to this are rounding: 50 * condition * eps
    exact: bool  # relative_error <= tolerance, and the tolerance itself is meaningful (at most 1e-2)
    distance: float | None  # ||Phi_S - Phi_0|| / ||Phi_0||, None without Phi_0


def relative_error(A, B):
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
    Book: eq-relative-error. Neither the cosine nor the accuracy would do: both are blind to scale.

    Examples
    --------
    >>> import numpy as np
    >>> relative_error(np.array([[2.2]]), np.array([[2.0]])) < 0.1 + 1e-12
    True
    """
    if not (hasattr(A, "shape") and hasattr(B, "shape")):
        raise TypeError(f"A and B must be NumPy or PyTorch arrays, got {type(A).__name__} and {type(B).__name__}")
    if tuple(A.shape) != tuple(B.shape):
        raise ValueError(f"A has shape {tuple(A.shape)} and B has {tuple(B.shape)}; they must match")
    A, B = (array_namespace(C).reshape(C, (1, -1)) for C in (A, B))
    xp = check_arrays(A=A, B=B)
    error, size = _norm(xp, A - B), _norm(xp, B)
    return error / size if size else (math.inf if error else 0.0)


def accuracy(scores, classes):
    """Fraction of rows whose largest score is at the true class (the first, where scores tie).

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
        For mismatched shapes, NaN scores, classes that are not integers or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    0.5
    """
    xp = check_arrays(scores=scores)
    if not hasattr(classes, "shape"):
        raise TypeError(f"classes must be an array of integers, got {type(classes).__name__}")
    if tuple(classes.shape) != (scores.shape[0],):
        raise ValueError(
            f"scores has {scores.shape[0]} rows, classes must have shape ({scores.shape[0]},), "
            f"it is {tuple(classes.shape)}"
        )
    classes = xp.asarray(classes, device=device(scores))
    if not xp.isdtype(classes.dtype, "integral"):
        raise TypeError(f"classes must be integers, their dtype is {classes.dtype}")
    if int(xp.min(classes)) < 0 or int(xp.max(classes)) >= scores.shape[1]:
        raise ValueError(
            f"classes must lie in 0..{scores.shape[1] - 1}, they reach from {int(xp.min(classes))} "
            f"to {int(xp.max(classes))}"
        )
    hits = xp.astype(xp.argmax(scores, axis=1), classes.dtype) == classes
    return int(xp.sum(xp.astype(hits, xp.int64))) / scores.shape[0]


def tolerance(condition, dtype, *, constant=50.0):
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


def verify(Phi_S, Y_S, lam_S, W, *, Phi_0=None):
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
        The model that was distilled (not an independent retraining, whose own rounding is larger).
    Phi_0 : array (m, p), optional
        Where the points started, for `distance`.

    Returns
    -------
    Certificate
        Plain numbers: `relative_error`, `condition`, `tolerance`, `exact`, `distance`.

    Raises
    ------
    ValueError, TypeError
        For mismatched shapes or unusable arrays. A set that is not exact is reported, not refused.

    Notes
    -----
    Book: eq-certificate. `W_S` is solved here from the SVD of `Phi_S`, by lines shared with nothing else in the
    package, so `condition` is that of `Phi_S`: largest over smallest singular value above max(m, p) * eps. A set
    whose tolerance exceeds 1e-2 is never called exact. The tolerance is for labels from the formula: labels with a
    large part R outside the range of `Phi_S` lose up to ``condition^2 ||R|| / (||Phi_S|| ||W||)`` times eps more, and
    may be reported as not exact.

    Examples
    --------
    >>> import numpy as np
    >>> verify(np.array([[2.0, 0.0]]), np.array([[12.0]]), 4.0, np.array([[3.0], [0.0]])).exact
    True
    """
    xp = check_arrays(Phi_S=Phi_S, Y_S=Y_S, W=W, Phi_0=Phi_0)
    lam_S = check_lam(lam_S, "lam_S")
    if Y_S.shape != (Phi_S.shape[0], W.shape[1]) or Phi_S.shape[1] != W.shape[0]:
        raise ValueError(
            f"Phi_S (m, p), Y_S (m, k), W (p, k) do not fit: {tuple(Phi_S.shape)}, {tuple(Y_S.shape)}, {tuple(W.shape)}"
        )
    if Phi_0 is not None and Phi_0.shape != Phi_S.shape:
        raise ValueError(f"Phi_0 has shape {tuple(Phi_0.shape)}, Phi_S has {tuple(Phi_S.shape)}; they must match")
    left, t, right = xp.linalg.svd(Phi_S, full_matrices=False)
    r = int(xp.sum(xp.astype(t > max(Phi_S.shape) * float(xp.finfo(t.dtype).eps) * t[0], xp.int64)))
    coefficients = (left[:, :r].mT @ Y_S) / (t[:r] + lam_S / t[:r])[:, None]
    error = relative_error(right[:r, :].mT @ coefficients, W) if r else float(_norm(xp, W) > 0)
    condition = _number(t[0]) / _number(t[r - 1]) if r else 1.0
    limit = tolerance(condition, t)
    distance = None if Phi_0 is None else relative_error(Phi_S, Phi_0)
    return Certificate(error, condition, limit, error <= limit <= 1e-2, distance)


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
