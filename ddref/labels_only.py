"""Labels only: the features stay as they are, and the labels come as close to the model as those features allow.

Exact where the rows span the columns of `W`: there `distill.labels` is the strict form of the same formula. Otherwise
the part of `W` outside their span is out of reach of any labels, and its size is reported.

Gradients flow through PyTorch inputs where the singular values involved are distinct; at ties they are NaN.
"""

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


class LabelFit(NamedTuple):
    """Least-squares labels for given features and what they miss; both residuals are relative Frobenius norms."""

    Y_S: object  # (m, k)
    parameters: float  # ||W_S - W|| / ||W||, W_S the model trained on the set
    predictions: float | None  # ||Phi W_S - Phi W|| / ||Phi W|| on the training data, None without G


def least_squares(Phi_S, W, lam_S=0.0, *, G=None, minimise="parameters", rtol=None):
    """Labels for the features `Phi_S` whose trained model is nearest to `W`, and how far away that is.

    ``Y_S = (Phi_S + lam_S (Phi_S^+)^T) W`` trains ``W_S = Phi_S^+ Phi_S W``, the projection of `W` onto the span of the
    rows: no labels come closer in parameters. With `G` they can be made to come closest in predictions instead.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the points, for instance real samples; rows are samples.
    W : array (p, k)
        Model to approximate.
    lam_S : float
        Regularisation that will be used to train on the set. It changes the labels, not the model.
    G : array (p, p), optional
        ``Phi^T Phi`` of the data on which predictions are compared.
    minimise : {"parameters", "predictions"}
        Which residual the labels minimise; "predictions" needs `G` and, where several labels predict equally well,
        takes those whose model is nearest to `W`.
    rtol : float, optional
        Rank cutoff of `Phi_S` relative to its largest singular value. Default: max(m, p) * eps.

    Returns
    -------
    LabelFit
        `Y_S` (m, k), and the residuals `parameters` and `predictions` (None without `G`). 0 up to rounding where the
        rows span `W`.

    Raises
    ------
    ValueError
        For mismatched shapes, an unknown `minimise`, "predictions" without `G`, a `G` that is not symmetric or not
        positive semi-definite.

    Notes
    -----
    Book: thm-labels-only. Source: Chen, Huang and Weng (2024), Thm 4.2. Labels with the same model differ by
    ``(I - Phi_S Phi_S^+) E``; these are the smallest.

    Examples
    --------
    >>> import numpy as np
    >>> least_squares(np.array([[2.0, 0.0]]), np.array([[3.0], [4.0]]))  # sees the first feature only
    LabelFit(Y_S=array([[6.]]), parameters=0.8, predictions=None)
    """
    xp, lam_S = check_arrays(Phi_S=Phi_S, W=W, G=G), check_lam(lam_S, "lam_S")
    if Phi_S.shape[1] != W.shape[0]:
        raise ValueError(f"Phi_S has {Phi_S.shape[1]} features and W has {W.shape[0]} rows; they must match")
    if minimise not in ("parameters", "predictions") or (minimise == "predictions" and G is None):
        raise ValueError(f'minimise must be "parameters", or "predictions" together with G; got {minimise!r}')
    if G is not None:
        _check_gram(xp, G, W)
    U, t, Vh = xp.linalg.svd(Phi_S, full_matrices=False)
    rank = int(xp.sum(xp.astype(t > _rtol(xp, Phi_S, rtol) * t[0], xp.int64)))
    U, t, Vh = U[:, :rank], t[:rank], Vh[:rank, :]
    # W_S = V C: the nearest to W has C = V^T W, the one nearest in predictions solves (V^T G V) C = V^T G W
    C = Vh @ W
    if minimise == "predictions":
        C = C + _solve(xp, Vh @ G @ Vh.mT, Vh @ (G @ (W - Vh.mT @ C)), _norm(xp, G))
    miss = Vh.mT @ C - W
    predictions = None if G is None else _energy(xp, miss, G) / (_energy(xp, W, G) or 1.0)
    return LabelFit(U @ (C * (t + lam_S / t)[:, None]), _norm(xp, miss) / (_norm(xp, W) or 1.0), predictions)


def _solve(xp, A, B, size):
    """Least-norm solution of A C = B for a symmetric positive semi-definite A that carries the rounding of `size`."""
    if A.shape[0] == 0:
        return B
    w, V = xp.linalg.eigh(A)
    keep = w > A.shape[0] * float(xp.finfo(w.dtype).eps) * size  # not of w[-1]: A may be a small part of G
    gain = xp.where(keep, 1 / xp.where(keep, w, xp.ones_like(w)), xp.zeros_like(w))
    return V @ (gain[:, None] * (V.mT @ B))


def _energy(xp, A, G):
    """||Phi A|| from G = Phi^T Phi."""
    scale = _norm(xp, A)
    return scale * math.sqrt(max(0.0, _number(xp.sum((A / scale) * (G @ (A / scale)))))) if scale else 0.0


def _check_gram(xp, G, W):
    if tuple(G.shape) != (W.shape[0], W.shape[0]):
        raise ValueError(f"G must have shape ({W.shape[0]}, {W.shape[0]}) to match W, it is {tuple(G.shape)}")
    size, gap = _number(xp.max(xp.abs(G))), _number(xp.max(xp.abs(G - G.mT)))
    rounding = 100 * G.shape[0] * float(xp.finfo(G.dtype).eps) * size
    if gap > rounding:
        raise ValueError(
            f"G is not symmetric: entries differ from their mirror image by {gap:.3g}, the largest entry is {size:.3g}"
        )
    smallest = _number(xp.linalg.eigvalsh(G)[0])
    if smallest < -rounding:
        raise ValueError(
            f"G is not positive semi-definite: its smallest eigenvalue is {smallest:.3g}, the largest entry {size:.3g};"
            " pass Phi^T Phi"
        )


def _rtol(xp, A, rtol):
    """Rank cutoff relative to the largest singular value; default max(shape) * eps of the dtype."""
    return max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")


def _norm(xp, A):
    """Frobenius norm, safe from overflow and underflow of the squares."""
    size = _number(xp.max(xp.abs(A)))
    return size * math.sqrt(_number(xp.sum((A / size) ** 2))) if size else 0.0


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
