"""Labels only: the features stay as they are, and the labels come as close to the model
as those features allow.

Exact where the rows span the columns of `W`: there `distill.labels` is the strict form
of the same formula. Otherwise the part of `W` outside their span is out of reach of any
labels, and its size is reported.

Gradients flow through PyTorch inputs where the singular values involved are distinct;
at ties they are NaN.
"""

from typing import NamedTuple

from array_api_compat import array_namespace

from .arrays import (
    Array,
    check_arrays,
    check_finite,
    check_lam,
    check_shapes,
    eps_of,
    norm,
    number,
    relative,
    semidefinite_eigh,
    thin_svd,
)


class LabelFit(NamedTuple):
    """Least-squares labels for given features and what they miss; both residuals are
    relative Frobenius norms.
    """

    Y_S: Array  # (m, k)
    parameters: float  # ||W_S - W|| / ||W||, W_S the model trained on the set
    predictions: (
        float | None
    )  # ||Phi W_S - Phi W|| / ||Phi W|| on the training data, None without G


def least_squares(
    Phi_S: Array,
    W: Array,
    lam_S: float = 0.0,
    *,
    G: Array | None = None,
    minimise: str = "parameters",
    rtol: float | None = None,
) -> LabelFit:
    """Labels for the features `Phi_S` whose trained model is nearest to `W`, and how
    far away that is.

    ``Y_S = (Phi_S + lam_S (Phi_S^+)^T) W`` trains ``W_S = Phi_S^+ Phi_S W``, the
    projection of `W` onto the span of the rows: no labels come closer in parameters.
    With `G` they can be made to come closest in predictions instead.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the points, for instance real samples; rows are samples.
    W : array (p, k)
        Model to approximate.
    lam_S : float
        Regularisation that will be used to train on the set. It changes the labels, not
        the model.
    G : array (p, p), optional
        ``Phi^T Phi`` of the data on which predictions are compared.
    minimise : {"parameters", "predictions"}
        Which residual the labels minimise; "predictions" needs `G` and, where several
        labels predict equally well, takes those whose model is nearest to `W`.
    rtol : float, optional
        Rank cutoff of `Phi_S` relative to its largest singular value. Default: max(m,
        p) * eps.

    Returns
    -------
    LabelFit
        `Y_S` (m, k), and the residuals `parameters` and `predictions` (None without
        `G`). 0 up to rounding where the rows span `W`.

    Raises
    ------
    ValueError
        For mismatched shapes, an unknown `minimise`, "predictions" without `G`, a `G`
        that is not symmetric or not positive semi-definite.

    Notes
    -----
    Book: thm-labels-only. Source: Chen, Huang and Weng (2024), Thm 4.2. Labels with the
    same model differ by ``(I - Phi_S Phi_S^+) E``; these are the smallest.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S = np.array([[2.0, 0.0]])  # sees the first feature only
    >>> least_squares(Phi_S, np.array([[3.0], [4.0]]))
    LabelFit(Y_S=array([[6.]]), parameters=0.8, predictions=None)
    """
    check_arrays(Phi_S=Phi_S, W=W, G=G)
    check_shapes(Phi_S=(Phi_S, "mp"), W=(W, "pk"), G=(G, "pp"))
    lam_S = check_lam(lam_S, "lam_S")
    _check_minimise(minimise, G)
    svd = thin_svd(Phi_S, rtol)
    C = svd.Vh @ W  # W_S = V C, here the nearest to W
    if minimise == "predictions":
        C = C + _towards_predictions(svd.Vh, svd.outside(W), G)
    miss = svd.Vh.mT @ C - W
    Y_S = svd.U @ (C * svd.damped(lam_S)[:, None])
    check_finite(labels=Y_S)
    return LabelFit(Y_S, relative(miss, W), _predictions_missed(miss, W, G))


def _towards_predictions(Vh: Array, rest: Array, G: Array) -> Array:
    """Least-norm C with ``(V^T G V) C = V^T G rest``: what the rows can do in
    predictions about the part of the model that they do not span.
    """
    if Vh.shape[0] == 0:
        return Vh @ rest
    xp = array_namespace(G)
    w, Q = xp.linalg.eigh(Vh @ G @ Vh.mT)
    # relative to G, not to w[-1]: V^T G V may be a small part of G, with its rounding
    keep = w > w.shape[0] * eps_of(G) * norm(G)
    gain = xp.where(keep, 1 / xp.where(keep, w, 1.0), 0.0)
    return Q @ (gain[:, None] * (Q.mT @ (Vh @ (G @ rest))))


def _predictions_missed(miss: Array, W: Array, G: Array | None) -> float | None:
    """``||Phi miss|| / ||Phi W||`` from ``G = Phi^T Phi``, None without G."""
    if G is None:
        return None
    G = G / (norm(G) or 1.0)  # its size cancels, and may overflow
    return _energy(miss, G) / (_energy(W, G) or 1.0)


def _energy(A: Array, G: Array) -> float:
    """``||Phi A||`` from ``G = Phi^T Phi``."""
    size = norm(A)
    if not size:
        return 0.0
    square = number(array_namespace(A).sum((A / size) * (G @ (A / size))))
    return size * max(0.0, square) ** 0.5


def _check_minimise(minimise: str, G: Array | None) -> None:
    if minimise not in ("parameters", "predictions") or (
        minimise == "predictions" and G is None
    ):
        raise ValueError(
            'minimise must be "parameters", or "predictions" together with G; got '
            f"{minimise!r}"
        )
    if G is not None:
        semidefinite_eigh(G)  # refuses what is no Gram matrix
