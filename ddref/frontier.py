"""Fewer points than rank(W), and one set for every regularisation: what to give up, and what it costs exactly.

A model of rank m is distilled into m points: `truncate` finds the best one in the training objective, `centre` the one
that keeps every decision, `every_lambda` the set that trains the same models as the data for all lam at once.

Gradients flow through PyTorch inputs where the singular values involved are distinct; at ties they are NaN.
"""

import math
import operator
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


class Truncated(NamedTuple):
    """A model of lower rank and what it costs."""

    W: object  # (p, k), rank at most m
    excess: float  # of the training objective, or the squared distance to the given model


class EveryLambda(NamedTuple):
    """A distilled set that trains the same model as the data for every lam, lam_S = lam."""

    Phi_S: object  # (r, p), r = rank(Phi)
    Y_S: object  # (r, k)


def truncate(W, m, G=None, lam=0.0):
    """Best model of rank at most `m` in the training objective of `W`, or nearest to `W` when `G` is None.

    ``W V_m V_m^T``, with the m leading right singular vectors of ``(G + lam I)^{1/2} W``. Its training objective
    exceeds that of `W` by the sum of the other squared singular values, and no model of rank m does better.

    Parameters
    ----------
    W : array (p, k)
        Model that minimises ``||Phi W - Y||^2 + lam ||W||^2``: the excess is that of the objective only then.
    m : int
        Rank allowed, at least 1: the number of distilled points that the result needs.
    G : array (p, p), optional
        ``Phi^T Phi`` of the training data. Without it the distance in parameters, ``||W_m - W||^2``, is minimised.
    lam : float
        Regularisation that `W` was trained with; used with `G`.

    Returns
    -------
    Truncated
        `W` (p, k) of rank at most m, and `excess` as a float.

    Raises
    ------
    ValueError, TypeError
        For m < 1 or not an integer, `lam` without `G`, `G` of the wrong shape, not symmetric or not positive
        semi-definite.

    Notes
    -----
    Book: thm-frontier. Not the truncated SVD of `W`, which weighs directions that the data hardly have as much as the
    others. For accuracy, truncate the centred model, see `centre`.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.diag([3.0, 2.0])
    >>> truncate(W, 1)
    Truncated(W=array([[3., 0.],
           [0., 0.]]), excess=4.0)
    >>> truncate(W, 1, np.diag([1.0, 4.0])).excess  # the second feature varies more: 9 * 1 < 4 * 4
    9.0
    """
    xp, lam = check_arrays(W=W, G=G), check_lam(lam)
    try:
        m = operator.index(m)
    except TypeError as error:
        raise TypeError(f"m must be an integer, got {m!r}") from error
    if m < 1:
        raise ValueError(f"m = {m} must be at least 1")
    if G is None and lam > 0:
        raise ValueError(f"lam = {lam} has a meaning only with G = Phi^T Phi; pass both, or neither")
    s, Vh = xp.linalg.svd(W if G is None else _weighted(xp, W, G, lam), full_matrices=False)[1:]
    V_m, rest = Vh[:m, :].mT, s[m:]
    return Truncated((W @ V_m) @ V_m.mT, _norm(xp, rest) ** 2 if rest.shape[0] else 0.0)


def centre(W):
    """The model minus its mean column, ``W (I - 1 1^T / k)``: the same decisions from rank k - 1 at most.

    Parameters
    ----------
    W : array (p, k)
        Model of k >= 2 classes: predictions ``Phi @ W``, decisions by the largest.

    Returns
    -------
    array (p, k)

    Raises
    ------
    ValueError
        For k = 1: one column decides nothing.

    Notes
    -----
    Book: thm-decisions. All scores of a sample change by the same number. ``rank(centre(W))`` points are necessary for
    the same decisions on all of R^p.

    Examples
    --------
    >>> import numpy as np
    >>> centre(np.array([[3.0, 1.0]]))
    array([[ 1., -1.]])
    """
    xp = check_arrays(W=W)
    if W.shape[1] == 1:
        raise ValueError("W has 1 column, so no decision between classes to keep, and centring would make it zero")
    C = W - xp.mean(W, axis=1, keepdims=True)
    return C - xp.mean(C, axis=1, keepdims=True)  # twice: a large mean leaves rounding that would count as rank


def every_lambda(Phi, Y, *, rtol=None):
    """One distilled set for every regularisation: ridge regression on it gives the data's `W` for all ``lam >= 0``.

    From the SVD ``Phi = U diag(s) V^T``: ``Phi_S = diag(s) V^T``, ``Y_S = U^T Y``, with ``lam_S = lam``. The set has
    the data's ``Phi^T Phi`` and ``Phi^T Y``, the only two things that ridge regression looks at.

    Parameters
    ----------
    Phi : array (n, p)
        Features, rows are samples.
    Y : array (n, k)
        Targets.
    rtol : float, optional
        Rank cutoff of `Phi` relative to its largest singular value. Default: max(n, p) * eps.

    Returns
    -------
    EveryLambda
        `Phi_S` (r, p) and `Y_S` (r, k) with r = rank(Phi) points.

    Raises
    ------
    ValueError
        For ``Phi = 0``.

    Notes
    -----
    Book: thm-every-lambda. Source: Izzo and Zou (2023). Fewer points are enough where the targets reach only part of
    the features: the minimum is the dimension of the span of all G^j B.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S, Y_S = every_lambda(np.array([[3.0], [4.0]]), np.array([[1.0], [2.0]]))
    >>> (Phi_S.T @ Phi_S).round(12), (Phi_S.T @ Y_S).round(12)
    (array([[25.]]), array([[11.]]))
    """
    xp = check_arrays(Phi=Phi, Y=Y)
    if Phi.shape[0] != Y.shape[0]:
        raise ValueError(f"Phi has {Phi.shape[0]} rows and Y has {Y.shape[0]}; rows are samples and must match")
    rtol = max(Phi.shape) * float(xp.finfo(Phi.dtype).eps) if rtol is None else check_lam(rtol, "rtol")
    U, s, Vh = xp.linalg.svd(Phi, full_matrices=False)
    r = int(xp.sum(xp.astype(s > rtol * s[0], xp.int64)))
    if r == 0:
        raise ValueError("Phi is zero: its model is zero for every lam, and no point is needed")
    return EveryLambda(s[:r, None] * Vh[:r, :], U[:, :r].mT @ Y)


def _weighted(xp, W, G, lam):
    """(G + lam I)^{1/2} W up to an orthogonal factor from the left, for a symmetric positive semi-definite G."""
    if tuple(G.shape) != (W.shape[0], W.shape[0]):
        raise ValueError(f"G must have shape ({W.shape[0]}, {W.shape[0]}) to match W, it is {tuple(G.shape)}")
    size, gap = _number(xp.max(xp.abs(G))), _number(xp.max(xp.abs(G - G.mT)))
    rounding = 100 * G.shape[0] * float(xp.finfo(G.dtype).eps)
    if gap > rounding * size:
        raise ValueError(
            f"G is not symmetric: entries differ from their mirror image by {gap:.3g}, the largest entry is {size:.3g}"
        )
    w, V = xp.linalg.eigh(G)
    if _number(w[0]) < -rounding * size:
        raise ValueError(
            f"G is not positive semi-definite: its smallest eigenvalue is {_number(w[0]):.3g}, the largest "
            f"{_number(w[-1]):.3g}; pass Phi^T Phi"
        )
    w = xp.where(w > 0, w, xp.zeros_like(w))
    return xp.sqrt(w + lam)[:, None] * (V.mT @ W)


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
