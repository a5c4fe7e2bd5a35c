"""Ridge and kernel ridge regression: one model, four ways to compute it.

`W` minimises ``||Phi W - Y||_F^2 + lam ||W||_F^2``. The rows of `Phi` (n, p) are the features of the
samples, the rows of `Y` (n, k) their targets. NumPy and PyTorch arrays alike, on any device.

Gradients flow through PyTorch inputs. `fit` and `fit_dual` are differentiable wherever they solve a
linear system; the SVD and the eigendecomposition (`regularized_pinv`, `path`, `fit` on small systems or
at lam = 0) are so only where the singular values are distinct: at ties PyTorch returns NaN gradients.
"""

import math

from array_api_compat import array_namespace, device

SMALL = 2**20  # up to this many entries of Phi an SVD is affordable, and it does not square the condition


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


def regularized_pinv(Phi, lam, *, rtol=None):
    """Regularised pseudo-inverse of the rows of `Phi`; the Moore-Penrose inverse at ``lam = 0``.

    ``(Phi^T Phi + lam I)^-1 Phi^T``, from the SVD ``Phi = U diag(t) V^T`` as ``V diag(t / (t^2 + lam)) U^T``:
    the condition number is not squared, and ``lam = 0`` needs no limit.

    Parameters
    ----------
    Phi : array (m, p)
        Features, rows are samples.
    lam : float
        Regularisation, added to the diagonal as given.
    rtol : float, optional
        Singular values up to `rtol` times the largest count as zero. Default: max(m, p) * eps of the dtype
        (NumPy's and PyTorch's own defaults differ from each other).

    Returns
    -------
    array (p, m)

    Raises
    ------
    ValueError, TypeError
        For NaN, Inf, empty or integer arrays, a negative or non-finite `lam`.

    Notes
    -----
    Book: eq-phi-lam-plus. Source: Chen, Huang and Weng (2024), Sec. 3.2. SciPy's twin at lam = 0 is
    ``scipy.linalg.pinv``.

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
    xp, lam = check_arrays(Phi=Phi), check_lam(lam)
    U, gain, Vh = _regularized_svd(xp, Phi, lam, rtol)
    return (Vh.mT * gain) @ U.mT


def fit(Phi, Y, lam, *, rtol=None):
    """Model `W` (p, k) of kernel ridge regression with features `Phi` and targets `Y`.

    Chooses the way by shape: the SVD when ``lam = 0`` or the system is small, else the primal system
    ``(Phi^T Phi + lam I_p) W = Phi^T Y`` when p <= n, else the dual one with ``W = Phi^T alpha``.

    Parameters
    ----------
    Phi : array (n, p)
        Features, rows are samples; for linear ridge regression the data themselves.
    Y : array (n, k)
        Targets: one-hot rows for k classes, or real values.
    lam : float
        Regularisation, added to the diagonal as given: not scaled by n.
    rtol : float, optional
        Cutoff of the SVD relative to its largest singular value. Default: max(shape) * eps. A large system with
        ``lam > 0`` is solved without a cutoff unless ``lam <= rtol * trace(Phi^T Phi)``; then it is relative to the
        largest eigenvalue.

    Returns
    -------
    array (p, k)
        Predictions are ``phi(x) @ W``.

    Raises
    ------
    ValueError, TypeError
        For mismatched or unusable arrays, a bad `lam`, or float32 features of a large system on a device
        that has no float64 (the Gram matrix is always accumulated in float64).

    Notes
    -----
    Book: eq-ridge. Source: Chen, Huang and Weng (2024), Sec. 3.2. scikit-learn's twin is
    ``Ridge(alpha=lam, fit_intercept=False)``, whose ``coef_`` is ``W.T``.

    Examples
    --------
    >>> import numpy as np
    >>> fit(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]), 5.0)  # (1 + 4) / (1 + 4 + 5)
    array([[0.5]])
    """
    xp, lam = check_arrays(Phi=Phi, Y=Y), check_lam(lam)
    _check_rows(Phi, Y)
    n, p = Phi.shape
    if lam == 0 or n * p <= SMALL:
        U, gain, Vh = _regularized_svd(xp, Phi, lam, rtol)
        return (Vh.mT * gain) @ (U.mT @ Y)  # as regularized_pinv, without forming its p x n matrix
    if p <= n:
        G, B = gram(Phi, Y)
        return xp.astype(_solve(xp, G, B, lam, rtol), Phi.dtype)
    K, _ = gram(Phi.mT)
    alpha = _solve(xp, K, xp.astype(Y, K.dtype), lam, rtol)
    return Phi.mT @ xp.astype(alpha, Phi.dtype)


def fit_dual(K, Y, lam, *, rtol=None):
    """Coefficients `alpha` (n, k) of the dual problem ``(K + lam I) alpha = Y``.

    The model is ``x -> sum_i K(x, x_i) alpha_i``; with explicit features ``W = Phi^T alpha``. At
    ``lam = 0`` the coefficients of least norm.

    Parameters
    ----------
    K : array (n, n)
        Kernel matrix, symmetric and positive semi-definite.
    Y : array (n, k)
        Targets.
    lam : float
        Regularisation, added to the diagonal as given.
    rtol : float, optional
        Rank cutoff relative to the largest singular value (here: eigenvalue) of `K`. Default: n * eps.

    Returns
    -------
    array (n, k)

    Raises
    ------
    ValueError, TypeError
        Also when `K` is not square, not symmetric, or ``K + lam I`` is not positive definite. An indefinite `K` passes
        where `lam` outweighs it.

    Notes
    -----
    Book: eq-dual. scikit-learn's twin is ``KernelRidge(alpha=lam, kernel="precomputed").dual_coef_``.

    Examples
    --------
    >>> import numpy as np
    >>> fit_dual(np.array([[3.0]]), np.array([[2.0]]), 1.0)
    array([[0.5]])
    """
    xp, lam = check_arrays(K=K, Y=Y), check_lam(lam)
    _check_symmetric(xp, K, "K")
    _check_rows(K, Y, "K")
    return _solve(xp, K, Y, lam, rtol)


def path(G, B, lams, *, rtol=None):
    """Models for every regularisation in `lams` from one eigendecomposition of `G`.

    ``W(lam) = V diag(1 / (w + lam)) V^T B`` with ``G = V diag(w) V^T``. Directions whose eigenvalue is
    rounding (w <= rtol * max(w)) are dropped where `lam` is smaller than the smallest eigenvalue kept, and
    kept otherwise: there they are harmless, and may carry signal that rounding in `G` did not reach.

    Parameters
    ----------
    G, B : array (p, p), array (p, k)
        ``Phi^T Phi`` and ``Phi^T Y`` (see `gram`): sums over samples, so they may be accumulated.
    lams : sequence of float
        Regularisations, each added to the diagonal as given.
    rtol : float, optional
        Rank cutoff relative to the largest singular value (here: eigenvalue) of `G`. Default: p * eps.

    Returns
    -------
    array (len(lams), p, k)

    Raises
    ------
    ValueError, TypeError
        Also when `G` is not square, not symmetric or not positive semi-definite.

    Notes
    -----
    Book: eq-path. Forming `G` squares the condition number of `Phi`: the relative error of `W` is about
    ``eps (s_1^2 + lam) / (s_min^2 + lam)``, s the singular values of `Phi`. Where that is too much, `fit`
    with ``lam = 0`` works on `Phi` itself.

    Examples
    --------
    >>> import numpy as np
    >>> path(np.array([[5.0]]), np.array([[5.0]]), [0.0, 5.0])[:, 0, 0]
    array([1. , 0.5])
    """
    xp = check_arrays(G=G, B=B)
    if not hasattr(lams, "__iter__"):
        raise TypeError(f"lams must be a sequence of numbers, got {type(lams).__name__}; for one value pass [lam]")
    lams = [check_lam(lam, "a value of lams") for lam in lams]
    if not lams:
        raise ValueError("lams is empty")
    _check_symmetric(xp, G, "G")
    _check_rows(G, B, "G", "B")
    w, V = xp.linalg.eigh(G)
    cut = _rtol(xp, G, rtol) * xp.max(xp.abs(w))
    if bool(w[0] < -cut):
        raise ValueError(
            f"G is not positive semi-definite: its smallest eigenvalue is {_number(w[0]):.3g}, the largest "
            f"{_number(w[-1]):.3g}; pass Phi^T Phi, or add at least {-_number(w[0]):.3g} to its diagonal"
        )
    w = xp.where(w > 0, w, xp.zeros_like(w))
    significant = w > cut
    smallest_kept = xp.min(xp.where(significant, w, w[-1]))
    VtB = V.mT @ B
    models = []
    for lam in lams:
        keep = significant | (smallest_kept <= lam)
        keep = keep & (w + lam > 0)
        w_safe = xp.where(keep, w + lam, xp.ones_like(w))
        gain = xp.where(keep, 1 / w_safe, xp.zeros_like(w))
        models.append(V @ (gain[:, None] * VtB))
    return xp.stack(models)


def gram(Phi, Y=None, *, chunk=8192):
    """``G = Phi^T Phi`` (p, p) and ``B = Phi^T Y`` (p, k), in float64 whatever the dtype of the features.

    Both are sums over samples: those of two halves of the data add up to those of the whole. float32
    features are converted `chunk` rows at a time, so that no float64 copy of the data is made.

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
    Book: eq-statistics. In float32 the accumulation itself loses the small singular values: a third of the
    rank of MNIST's Gram matrix disappears.

    Examples
    --------
    >>> import numpy as np
    >>> G, B = gram(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]))
    >>> float(G[0, 0]), float(B[0, 0])
    (5.0, 5.0)
    """
    xp = check_arrays(Phi=Phi, Y=Y)
    if Y is not None:
        _check_rows(Phi, Y)
    if not chunk >= 1:
        raise ValueError(f"chunk = {chunk} must be at least 1")
    if Phi.dtype == xp.float64:
        return Phi.mT @ Phi, None if Y is None else Phi.mT @ Y
    G, B = 0.0, 0.0
    for start in range(0, Phi.shape[0], chunk):
        rows = slice(start, min(start + chunk, Phi.shape[0]))
        part = _float64(xp, Phi[rows, :])
        G = G + part.mT @ part
        B = None if Y is None else B + part.mT @ _float64(xp, Y[rows, :])
    return G, B


def _regularized_svd(xp, Phi, lam, rtol):
    """U, t / (t^2 + lam), V^T of the SVD of Phi; singular values below the cutoff stay zero."""
    U, t, Vh = xp.linalg.svd(Phi, full_matrices=False)
    keep = t > _rtol(xp, Phi, rtol) * t[0]
    t_safe = xp.where(keep, t, xp.ones_like(t))  # no 0/0 where t = lam = 0
    # the textbook's t / (t^2 + lam), written so that t^2 neither overflows nor underflows
    return U, xp.where(keep, 1 / (t_safe + lam / t_safe), xp.zeros_like(t)), Vh


def _solve(xp, G, B, lam, rtol):
    """(G + lam I)^-1 B for a symmetric positive semi-definite G; the pseudo-inverse at lam = 0."""
    floor = _rtol(xp, G, rtol) * _number(xp.linalg.trace(G))  # the trace bounds the largest eigenvalue
    if not lam > floor:
        return path(G, B, [lam], rtol=rtol)[0, :, :]  # ill conditioned: an eigendecomposition, null directions dropped
    A = G + lam * xp.eye(G.shape[0], dtype=G.dtype, device=device(G))
    try:
        xp.linalg.cholesky(A)  # only to refuse what is not positive definite
    except Exception as error:
        smallest = _number(xp.linalg.eigvalsh(A)[0])
        raise ValueError(
            f"the matrix + lam I is not positive definite: its smallest eigenvalue is {smallest:.3g}"
        ) from error
    return xp.linalg.solve(A, B)


def _rtol(xp, A, rtol):
    """Rank cutoff relative to the largest singular value; default max(shape) * eps of the dtype."""
    return max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")


def _float64(xp, A):
    try:
        return xp.astype(A, xp.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the Gram matrix is accumulated in float64, which device {device(A)} does not have; "
            "move the arrays to the CPU first"
        ) from error


def _check_rows(A, Y, name="Phi", name_Y="Y"):
    if A.shape[0] != Y.shape[0]:
        raise ValueError(f"{name} has {A.shape[0]} rows and {name_Y} has {Y.shape[0]}; rows are samples and must match")


def _check_symmetric(xp, G, name):
    if G.shape[0] != G.shape[1]:
        raise ValueError(f"{name} must be square, its shape is {tuple(G.shape)}")
    size, gap = _number(xp.max(xp.abs(G))), _number(xp.max(xp.abs(G - G.mT)))
    if gap > 100 * G.shape[0] * float(xp.finfo(G.dtype).eps) * size:
        raise ValueError(
            f"{name} is not symmetric: entries differ from their mirror image by {gap:.3g}, the largest is {size:.3g}"
        )


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
