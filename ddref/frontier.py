"""Fewer points than rank(W), and one set for every regularisation: what to give up, and
what it costs exactly.

A model of rank m is distilled into m points: `truncate` finds the best one in the
training objective, `centre` the one that keeps every decision, `every_lambda` the set
that trains the same models as the data for all lam at once.

Gradients flow through PyTorch inputs where the singular values involved are distinct;
at ties they are NaN.
"""

from typing import NamedTuple

from array_api_compat import array_namespace

from .arrays import (
    Array,
    check_arrays,
    check_count,
    check_lam,
    check_shapes,
    norm,
    semidefinite_eigh,
    thin_svd,
)


class Truncated(NamedTuple):
    """A model of lower rank and what it costs."""

    W: Array  # (p, k), rank at most m
    excess: (
        float  # of the training objective, or the squared distance to the given model
    )


class EveryLambda(NamedTuple):
    """A distilled set that trains the same model as the data for every lam, lam_S =
    lam.
    """

    Phi_S: Array  # (r, p), r = rank(Phi)
    Y_S: Array  # (r, k)


def truncate(W: Array, m: int, G: Array | None = None, lam: float = 0.0) -> Truncated:
    """Best model of rank at most `m` in the training objective of `W`, or nearest to
    `W` when `G` is None.

    ``W V_m V_m^T``, with the m leading right singular vectors of ``(G + lam I)^{1/2}
    W``. Its training objective exceeds that of `W` by the sum of the other squared
    singular values, and no model of rank m does better.

    Parameters
    ----------
    W : array (p, k)
        Model that minimises ``||Phi W - Y||^2 + lam ||W||^2``: the excess is that of
        the objective only then.
    m : int
        Rank allowed, at least 1: the number of distilled points that the result needs.
    G : array (p, p), optional
        ``Phi^T Phi`` of the training data. Without it the distance in parameters,
        ``||W_m - W||^2``, is minimised.
    lam : float
        Regularisation that `W` was trained with; used with `G`.

    Returns
    -------
    Truncated
        `W` (p, k) of rank at most m, and `excess` as a float.

    Raises
    ------
    ValueError, TypeError
        For m < 1 or not an integer, `lam` without `G`, `G` of the wrong shape, not
        symmetric or not positive semi-definite.

    Notes
    -----
    Book: thm-frontier. Not the truncated SVD of `W`, which weighs directions that the
    data hardly have as much as the others. For accuracy, truncate the centred model,
    see `centre`.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.diag([3.0, 2.0])
    >>> truncate(W, 1)
    Truncated(W=array([[3., 0.],
           [0., 0.]]), excess=4.0)
    >>> truncate(W, 1, np.diag([1.0, 4.0])).excess  # 9 * 1 < 4 * 4
    9.0
    """
    check_arrays(W=W, G=G)
    check_shapes(W=(W, "pk"), G=(G, "pp"))
    m = check_count(m, "m")
    lam = check_lam(lam)
    if G is None and lam > 0:
        raise ValueError(
            f"lam = {lam} has a meaning only with G = Phi^T Phi; pass both, or neither"
        )
    svd = thin_svd(W if G is None else _weighted(W, G, lam), 0.0)
    V_m = svd.Vh[:m, :].mT
    return Truncated((W @ V_m) @ V_m.mT, norm(svd.s[m:]) ** 2)


def centre(W: Array) -> Array:
    """The model minus its mean column, ``W (I - 1 1^T / k)``: the same decisions from
    rank k - 1 at most.

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
    Book: thm-decisions. All scores of a sample change by the same number.
    ``rank(centre(W))`` points are necessary for the same decisions on all of R^p.

    Examples
    --------
    >>> import numpy as np
    >>> centre(np.array([[3.0, 1.0]]))
    array([[ 1., -1.]])
    """
    xp = check_arrays(W=W)
    if W.shape[1] == 1:
        raise ValueError(
            "W has 1 column, so no decision between classes to keep, and centring "
            "would make it zero"
        )
    C = W - xp.mean(W, axis=1, keepdims=True)
    # twice: a large mean leaves rounding that would count as rank
    return C - xp.mean(C, axis=1, keepdims=True)


def every_lambda(Phi: Array, Y: Array, *, rtol: float | None = None) -> EveryLambda:
    """One distilled set for every regularisation: ridge regression on it gives the
    data's `W` for all ``lam >= 0``.

    From the SVD ``Phi = U diag(s) V^T``: ``Phi_S = diag(s) V^T``, ``Y_S = U^T Y``, with
    ``lam_S = lam``. The set has the data's ``Phi^T Phi`` and ``Phi^T Y``, the only two
    things that ridge regression looks at.

    Parameters
    ----------
    Phi : array (n, p)
        Features, rows are samples.
    Y : array (n, k)
        Targets.
    rtol : float, optional
        Rank cutoff of `Phi` relative to its largest singular value. Default: max(n, p)
        * eps.

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
    Book: thm-every-lambda. Source: Maalouf, Jubran and Feldman (2022), as cited by
    Chen, Huang and Weng (2024). Fewer points are enough where the targets reach only
    part of the features: the minimum is the dimension of the span of all G^j B.

    Examples
    --------
    >>> import numpy as np
    >>> Phi_S, Y_S = every_lambda(np.array([[3.0], [4.0]]), np.array([[1.0], [2.0]]))
    >>> (Phi_S.T @ Phi_S).round(12), (Phi_S.T @ Y_S).round(12)
    (array([[25.]]), array([[11.]]))
    """
    check_arrays(Phi=Phi, Y=Y)
    check_shapes(Phi=(Phi, "np"), Y=(Y, "nk"))
    svd = thin_svd(Phi, rtol)
    if svd.rank == 0:
        raise ValueError(
            "Phi is zero: its model is zero for every lam, and no point is needed"
        )
    return EveryLambda(svd.s[:, None] * svd.Vh, svd.U.mT @ Y)


def _weighted(W: Array, G: Array, lam: float) -> Array:
    """``(G + lam I)^{1/2} W`` up to an orthogonal factor from the left."""
    w, V = semidefinite_eigh(G)
    return array_namespace(G).sqrt(w + lam)[:, None] * (V.mT @ W)
