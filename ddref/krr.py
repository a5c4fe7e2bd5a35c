"""Ridge and kernel ridge regression: one model, four ways to compute it.

`W` minimises ``||Phi W - Y||_F^2 + lam ||W||_F^2``. The rows of `Phi` (n, p) are the
features of the samples, the rows of `Y` (n, k) their targets. NumPy and PyTorch arrays
alike, on any device.

Gradients flow through PyTorch inputs. `fit` and `fit_dual` are differentiable wherever
they solve a linear system; the SVD and the eigendecomposition (`regularized_pinv`,
`path`, `fit` on small systems or at lam = 0) are so only where the singular values are
distinct: at ties PyTorch returns NaN gradients.
"""

import math
import warnings
from collections.abc import Iterable

from array_api_compat import array_namespace, device

from .arrays import (
    Array,
    ThinSVD,
    check_arrays,
    check_count,
    check_lam,
    check_shapes,
    check_symmetric,
    eps_of,
    graded_svd,
    number,
    semidefinite_eigh,
    thin_svd,
)
from .spectrum import eigenvalue_rounding, from_gram, models, solve_definite

SMALL = 2**20  # entries of Phi up to which an SVD, which squares nothing, is affordable


def regularized_pinv(Phi: Array, lam: float, *, rtol: float | None = None) -> Array:
    """Regularised pseudo-inverse of the rows of `Phi`; the Moore-Penrose inverse at
    ``lam = 0``.

    ``(Phi^T Phi + lam I)^-1 Phi^T``, from the SVD ``Phi = U diag(t) V^T`` as ``V diag(t
    / (t^2 + lam)) U^T``: the condition number is not squared, and ``lam = 0`` needs no
    limit.

    Parameters
    ----------
    Phi : array (m, p)
        Features, rows are samples.
    lam : float
        Regularisation, added to the diagonal as given.
    rtol : float, optional
        Singular values up to `rtol` times the largest count as zero. Default: max(m, p)
        * eps of the dtype (NumPy's and PyTorch's own defaults differ from each other).

    Returns
    -------
    array (p, m)

    Raises
    ------
    ValueError, TypeError
        For NaN, Inf, empty or integer arrays, a negative or non-finite `lam`.

    Notes
    -----
    Book: eq-phi-lam-plus. Source: Chen, Huang and Weng (2024), Sec. 3.2. SciPy's twin
    at lam = 0 is ``scipy.linalg.pinv``.

    Examples
    --------
    >>> import numpy as np
    >>> regularized_pinv(np.array([[2.0, 0.0]]), 0.0)
    array([[0.5],
           [0. ]])
    >>> regularized_pinv(np.array([[2.0, 0.0]]), 4.0)
    array([[0.25],
           [0.  ]])
    """
    check_arrays(Phi=Phi)
    lam = check_lam(lam)
    return _ridge_svd(Phi, lam, rtol).pinv(lam)


def fit(Phi: Array, Y: Array, lam: float, *, rtol: float | None = None) -> Array:
    """Model `W` (p, k) of kernel ridge regression with features `Phi` and targets `Y`.

    Chooses the way by shape: the SVD when ``lam = 0``, `rtol` is given or the system is
    small, else the primal system ``(Phi^T Phi + lam I_p) W = Phi^T Y`` when p <= n,
    else the dual one with ``W = Phi^T alpha``; the SVD again where `lam` does not
    outweigh what rounding has done to the Gram matrix.

    Parameters
    ----------
    Phi : array (n, p)
        Features, rows are samples; for linear ridge regression the data themselves.
    Y : array (n, k)
        Targets: one-hot rows for k classes, or real values.
    lam : float
        Regularisation, added to the diagonal as given: not scaled by n.
    rtol : float, optional
        Singular values up to `rtol` times the largest count as zero, at any `lam`.
        Default: max(shape) * eps at ``lam = 0``, nothing at ``lam > 0``.

    Returns
    -------
    array (p, k)
        Predictions are ``phi(x) @ W``.

    Raises
    ------
    ValueError, TypeError
        For mismatched or unusable arrays, a bad `lam`, or float32 features of a large
        system on a device that has no float64 (the Gram matrix is always accumulated in
        float64).

    Notes
    -----
    Book: eq-ridge. Source: Chen, Huang and Weng (2024), Sec. 3.2. scikit-learn's twin
    is ``Ridge(alpha=lam, fit_intercept=False)``, whose ``coef_`` is ``W.T``.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [2.0]])
    >>> fit(X, X, 5.0)  # (1 + 4) / (1 + 4 + 5)
    array([[0.5]])
    """
    xp = check_arrays(Phi=Phi, Y=Y)
    check_shapes(Phi=(Phi, "np"), Y=(Y, "nk"))
    lam = check_lam(lam)
    n, p = Phi.shape
    if lam == 0 or rtol is not None or n * p <= SMALL:
        return _from_data(Phi, Y, lam, rtol)
    W = _primal(Phi, Y, lam) if p <= n else _dual(Phi, Y, lam)
    if W is None:  # lam is below what rounding did to the Gram matrix
        W = _from_data(_float64(Phi), _float64(Y), lam, None)
    return xp.astype(W, Phi.dtype)


def fit_dual(K: Array, Y: Array, lam: float) -> Array:
    """Coefficients `alpha` (n, k) of the dual problem ``(K + lam I) alpha = Y``.

    The model is ``x -> sum_i K(x, x_i) alpha_i``; with explicit features ``W = Phi^T
    alpha``. At ``lam = 0`` the coefficients of least norm: eigenvalues of `K` up to n *
    eps times the largest count as zero where `lam` does not outweigh rounding.

    Parameters
    ----------
    K : array (n, n)
        Kernel matrix, symmetric and positive semi-definite.
    Y : array (n, k)
        Targets.
    lam : float
        Regularisation, added to the diagonal as given.

    Returns
    -------
    array (n, k)

    Raises
    ------
    ValueError, TypeError
        Also when `K` is not square, not symmetric, or ``K + lam I`` is not positive
        definite. An indefinite `K` passes where `lam` outweighs it.

    Notes
    -----
    Book: eq-dual. scikit-learn's twin is ``KernelRidge(alpha=lam,
    kernel="precomputed").dual_coef_``.

    Examples
    --------
    >>> import numpy as np
    >>> fit_dual(np.array([[3.0]]), np.array([[2.0]]), 1.0)
    array([[0.5]])
    """
    check_arrays(K=K, Y=Y)
    lam = check_lam(lam)
    check_symmetric(K, "K")
    check_shapes(K=(K, "nn"), Y=(Y, "nk"))
    if lam > eigenvalue_rounding(K):
        return solve_definite(K, Y, lam)
    return _least_norm(K, Y, lam)


def path(
    G: Array, B: Array, lams: Iterable[float], *, rtol: float | None = None
) -> Array:
    """Models for every regularisation in `lams` from one eigendecomposition of `G`.

    ``W(lam) = V diag(1 / (w + lam)) V^T B`` with ``G = V diag(w) V^T``, see
    `spectrum.from_gram`: directions that are rounding are left out where `lam` does not
    outweigh them, with a warning if they may carry part of the targets.

    Parameters
    ----------
    G, B : array (p, p), array (p, k)
        ``Phi^T Phi`` and ``Phi^T Y`` (see `gram`): sums over samples, so they may be
        accumulated.
    lams : sequence of float
        Regularisations, each added to the diagonal as given.
    rtol : float, optional
        Rank cutoff relative to the largest singular value (here: eigenvalue) of `G`.
        Default: p * eps.

    Returns
    -------
    array (len(lams), p, k)

    Raises
    ------
    ValueError, TypeError
        Also when `G` is not square, not symmetric or not positive semi-definite.

    Notes
    -----
    Book: eq-path. Forming `G` squares the condition number of `Phi`: the relative error
    of `W` is about ``eps (s_1^2 + lam) / (s_min^2 + lam)``, s the singular values of
    `Phi` with its columns scaled to one size. Where that is too much,
    `spectrum.from_data` works on `Phi` itself.

    Examples
    --------
    >>> import numpy as np
    >>> path(np.array([[5.0]]), np.array([[5.0]]), [0.0, 5.0])[:, 0, 0]
    array([1. , 0.5])
    """
    return models(from_gram(G, B, rtol=rtol), lams)


def gram(
    Phi: Array, Y: Array | None = None, *, chunk: int = 8192
) -> tuple[Array, Array | None]:
    """``G = Phi^T Phi`` (p, p) and ``B = Phi^T Y`` (p, k), in float64 whatever the
    dtype of the features.

    Both are sums over samples: those of two halves of the data add up to those of the
    whole. float32 features are converted `chunk` rows at a time, so that no float64
    copy of the data is made.

    Parameters
    ----------
    Phi : array (n, p)
        Features, rows are samples.
    Y : array (n, k), optional
        Targets; without them B is None.
    chunk : int
        Rows converted at a time (float32 only).

    Returns
    -------
    (G, B) : array (p, p), array (p, k) or None

    Raises
    ------
    ValueError
        When the features are float32 on a device without float64.

    Notes
    -----
    Book: eq-statistics. In float32 the accumulation itself loses the small singular
    values: a third of the rank of MNIST's Gram matrix disappears.

    Examples
    --------
    >>> import numpy as np
    >>> G, B = gram(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]))
    >>> float(G[0, 0]), float(B[0, 0])
    (5.0, 5.0)
    """
    xp = check_arrays(Phi=Phi, Y=Y)
    check_shapes(Phi=(Phi, "np"), Y=(Y, "nk"))
    chunk = check_count(chunk, "chunk")
    if Phi.dtype == xp.float64:
        return Phi.mT @ Phi, None if Y is None else Phi.mT @ Y
    G, B = 0.0, 0.0
    for start in range(0, Phi.shape[0], chunk):
        rows = slice(start, min(start + chunk, Phi.shape[0]))
        part = _float64(Phi[rows, :])
        G = G + part.mT @ part
        B = None if Y is None else B + part.mT @ _float64(Y[rows, :])
    return G, B


def _ridge_svd(Phi: Array, lam: float, rtol: float | None) -> ThinSVD:
    """SVD of the features: at lam > 0 nothing is cut, at lam = 0 what is rounding."""
    return graded_svd(Phi, 0.0 if lam > 0 and rtol is None else rtol)


def _from_data(Phi: Array, Y: Array, lam: float, rtol: float | None) -> Array:
    """Ridge regression by SVD; nothing is squared."""
    xp = array_namespace(Phi)
    sizes = xp.max(xp.abs(Phi), axis=0)
    sizes = xp.hypot(sizes, xp.full_like(sizes, lam**0.5))
    alike = number(xp.max(sizes)) < eps_of(Phi) ** -0.5 * number(xp.min(sizes))
    if lam == 0 or rtol is not None or alike:
        return _ridge_svd(Phi, lam, rtol).solve(Y, lam)
    return _from_scaled_columns(Phi, Y, lam, sizes)


def _from_scaled_columns(Phi: Array, Y: Array, lam: float, sizes: Array) -> Array:
    """Ridge regression with columns scaled to one size, each with its own penalty:
    least squares with p rows more, ``lam^1/2`` over the sizes and targets 0.
    """
    xp = array_namespace(Phi)
    p, like = Phi.shape[1], {"dtype": Phi.dtype, "device": device(Phi)}
    A = xp.concat([Phi / sizes, lam**0.5 * xp.eye(p, **like) / sizes], axis=0)
    T = xp.concat([Y, xp.zeros((p, Y.shape[1]), **like)], axis=0)
    return thin_svd(A, 0.0).solve(T) / sizes[:, None]


def _primal(Phi: Array, Y: Array, lam: float) -> Array | None:
    """``(Phi^T Phi + lam I_p)^-1 Phi^T Y``; None where rounding would lose a part."""
    G, B = gram(Phi, Y)
    if lam > eigenvalue_rounding(G):
        return solve_definite(G, B, lam)
    spectrum = from_gram(G, B)  # keeps small columns beside large ones
    # of more than 25 columns LAPACK knows singular values to eps of the largest only
    blurred = G.shape[0] > 25 and lam < 1e6 * spectrum.cut
    return None if blurred or spectrum.lost else models(spectrum, [lam])[0, :, :]


def _dual(Phi: Array, Y: Array, lam: float) -> Array | None:
    """``Phi^T (Phi Phi^T + lam I_n)^-1 Y``; None where rounding would lose a part."""
    K, _ = gram(Phi.mT)
    if not lam > eigenvalue_rounding(K):
        return None
    alpha = solve_definite(K, _float64(Y), lam)
    return Phi.mT @ array_namespace(Phi).astype(alpha, Phi.dtype)


def _least_norm(K: Array, Y: Array, lam: float) -> Array:
    """``(K + lam I)^-1 Y`` without the eigenvalues of `K` that are rounding."""
    xp = array_namespace(K)
    w, V = semidefinite_eigh(K, "K")
    cut = K.shape[0] * eps_of(K) * number(w[-1])
    below = number(xp.max(xp.where(w > cut, 0.0, w)))
    above = number(xp.min(xp.where(w > cut, w, w[-1])))
    if above < 10 * below:  # no gap: these are not the null directions of features
        warnings.warn(
            f"lam = {lam} does not outweigh rounding in K: eigenvalues up to {cut:.2g} "
            f"count as zero, though they fall without a gap from {above:.2g} to "
            f"{below:.2g}; use a larger lam for a solution that does not depend on it",
            stacklevel=3,
        )
    gain = 1 / xp.where(w > cut, w + lam, math.inf)
    return V @ (gain[:, None] * (V.mT @ Y))


def _float64(A: Array) -> Array:
    """`A` in float64, or refused on a device without it."""
    xp = array_namespace(A)
    try:
        return xp.astype(A, xp.float64, copy=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the Gram matrix is accumulated in float64, which device {device(A)} does "
            "not have; move the arrays to the CPU first"
        ) from error
