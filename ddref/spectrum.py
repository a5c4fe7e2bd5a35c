"""Every regularisation from one decomposition: the models, and the scores by which
lambda is chosen.

With ``Phi = U diag(s) V^T`` ridge regression is ``W(lam) = V diag(1 / (s^2 + lam)) V^T
Phi^T Y`` for every `lam`. A `Spectrum` holds what that needs, made from the data
(`from_data`, nothing squared) or from sums over samples (`from_gram`, memory free of
n). `models`, `gcv` and `leave_one_out` read it, so each score is that of the very model
which `models` gives at that `lam`. NumPy and PyTorch arrays alike, on any device.

Gradients flow through PyTorch inputs where the eigenvalues are distinct; at ties they
are NaN.
"""

import math
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from array_api_compat import array_namespace, device

from .arrays import (
    GRADED,
    Array,
    check_arrays,
    check_lam,
    check_shapes,
    check_symmetric,
    complement,
    eps_of,
    graded_svd,
    norm,
    number,
)


class Spectrum(NamedTuple):
    """One decomposition of a training set, for every `lam`; q directions."""

    w: Array  # (q,), squared singular values of the features
    V: Array  # (p, q), orthonormal columns
    VtB: Array  # (q, k), V^T Phi^T Y
    squares: Array  # (q,), squared norms of the rows of U^T Y; 0 where not known
    rest: float  # ||Y - U U^T Y||^2: no model explains it
    n: float  # samples, or the sum of their weights; 0 where not told
    dof: int  # degrees of freedom that an unpenalised intercept has taken: 0 or 1
    cut: float  # values of w up to here are rounding, and are left out ...
    least: float  # ... where lam = 0 or lam is below this
    rounding: float  # relative size of rounding in what was decomposed
    lost: str = ""  # what is left out and carries part of the targets, in words


def from_data(Phi: Array, Y: Array, *, dof: int = 0) -> Spectrum:
    """The spectrum of a training set, from the SVD of its features.

    Parameters
    ----------
    Phi, Y : array (n, p), array (n, k)
        Features and targets; with an intercept both minus their means.
    dof : int
        1 where means were subtracted, else 0: it counts in the scores.

    Returns
    -------
    Spectrum
        Nothing is cut at ``lam > 0``. At ``lam = 0`` singular values up to max(n, p) *
        eps times the largest count as zero.

    Notes
    -----
    Book: eq-path.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])
    >>> models(from_data(X, Y), [0.0, 5.0])[:, 0, 0].round(12)
    array([1. , 0.5])
    """
    xp = check_arrays(Phi=Phi, Y=Y)
    check_shapes(Phi=(Phi, "np"), Y=(Y, "nk"))
    _check_square(norm(Phi), Phi, "Phi")
    svd = graded_svd(Phi, 0.0)
    UtY = svd.U.mT @ Y
    tiny = max(Phi.shape) * eps_of(Phi)
    return Spectrum(
        w=svd.s**2,
        V=svd.Vh.mT,
        VtB=svd.s[:, None] * UtY,
        squares=xp.sum(UtY**2, axis=1),
        rest=norm(Y - svd.U @ UtY) ** 2,
        n=Phi.shape[0],
        dof=dof,
        cut=(tiny * number(svd.s[0])) ** 2 if svd.rank else 0.0,
        least=0.0,
        rounding=Phi.shape[1] * eps_of(Phi),
    )


def from_gram(
    G: Array,
    B: Array,
    *,
    n: int = 0,
    yy: float = 0.0,
    dof: int = 0,
    rtol: float | None = None,
    rounding: float | None = None,
) -> Spectrum:
    """The spectrum of a training set, from its sums.

    Parameters
    ----------
    G, B : array (p, p), array (p, k)
        ``Phi^T Phi`` and ``Phi^T Y``.
    n, yy : int, float
        Number of samples and ``||Y||^2``; the scores need them, the models do not.
    dof : int
        1 where means were subtracted from the rows before summing, else 0.
    rtol : float, optional
        Eigenvalues up to `rtol` times the largest are rounding, and so are those up to
        four times the most negative one. Default: p * eps of the dtype.
    rounding : float, optional
        Rounding in `G` relative to its size, where it is more than `rtol`: a matrix
        with an eigenvalue below minus this is refused.

    Returns
    -------
    Spectrum
        Directions that are rounding are left out where `lam` is smaller than the
        smallest eigenvalue kept. Where that may lose part of the targets, `lost` says
        so in words, and whoever asks for such a `lam` is warned.

    Raises
    ------
    ValueError, TypeError
        Also when `G` is not square, symmetric and positive semi-definite.

    Notes
    -----
    Book: eq-path. Where columns differ in size by more than 100, the matrix is scaled
    to a unit diagonal first: no column is lost beside a larger one.

    Examples
    --------
    >>> import numpy as np
    >>> models(from_gram(np.array([[5.0]]), np.array([[5.0]])), [5.0])[:, 0, 0]
    array([0.5])
    """
    xp = check_arrays(G=G, B=B)
    check_symmetric(G)
    check_shapes(G=(G, "pp"), B=(B, "pk"))
    _check_square(math.sqrt(norm(G)), G, "the root of G")
    rtol = G.shape[0] * eps_of(G) if rtol is None else check_lam(rtol, "rtol")
    rounding = max(rtol, rounding or 0.0)
    found = _by_columns(G, B, rtol, rounding) or _by_size(G, B, rtol, rounding)
    rest = max(yy - number(xp.sum(found.squares)), rounding * yy)
    return found._replace(rest=rest, n=n, dof=dof, rounding=rounding)


def models(spectrum: Spectrum, lams: Iterable[float]) -> Array:
    """Models (L, p, k) for the L values of `lams`: ``V diag(1 / (w + lam)) V^T B``.

    Warns where rounding hides directions that may carry part of the targets.

    Notes
    -----
    Book: eq-path.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])
    >>> models(from_data(X, Y), [5.0]).round(12)
    array([[[0.5]]])
    """
    each = gains(spectrum, check_lams(lams))
    xp = array_namespace(spectrum.w)
    return xp.stack([spectrum.V @ (g[:, None] * spectrum.VtB) for g in each])


def gains(spectrum: Spectrum, lams: list[float]) -> list[Array]:
    """``1 / (w + lam)`` (q,) for each of `lams`, 0 for what is left out there."""
    w, cut, least = spectrum.w, spectrum.cut, spectrum.least
    xp = array_namespace(w)
    each = []
    for lam in lams:
        keep = w + lam > 0 if lam >= least and lam > 0 else w > cut
        each.append(xp.where(keep, 1 / xp.where(keep, w + lam, 1.0), 0.0))
    if min(lams) < least:
        _warn_lost(spectrum, min(lams))
    return each


def gcv(spectrum: Spectrum, lams: Iterable[float]) -> list[float]:
    """Generalised cross-validation for each of `lams`, the mean over samples of squared
    errors summed over targets.

    ``n ||Y - Phi W||^2 / (n - dof - sum(w / (w + lam)))^2``; inf where the model has as
    many degrees of freedom as there are samples, 0/0.

    Notes
    -----
    Book: eq-gcv. Source: Golub, Heath and Wahba (1979).

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])
    >>> np.round(gcv(from_data(X, Y), [5.0]), 6)  # 2 * 1.25 / (2 - 0.5)^2
    array([1.111111])
    """
    w, n, dof, squares = spectrum.w, spectrum.n, spectrum.dof, spectrum.squares
    xp = array_namespace(w)
    energy = xp.sum(spectrum.VtB**2, axis=1)
    unknown = xp.where(squares > 0, 0.0 * energy, energy)
    lams, scores = check_lams(lams), []
    for lam, g in zip(lams, gains(spectrum, lams), strict=True):
        left = xp.where(g > 0, lam * g, 1.0)  # 1 - w g, without cancellation
        loss = squares * left**2 - unknown * g * (1 + left)
        free = n - dof - w.shape[0] + number(xp.sum(left))
        defined = free > 1e3 * spectrum.rounding * n
        total = max(spectrum.rest + number(xp.sum(loss)), 0.0)
        scores.append(n * total / free**2 if defined else math.inf)
    return scores


def leave_one_out(
    spectrum: Spectrum, lams: Iterable[float], rows: Iterable[tuple[Array, ...]]
) -> list[float]:
    """Leave-one-out error for each of `lams`, exact: the mean over samples of squared
    errors summed over targets, each of the model that was trained on all others.

    Parameters
    ----------
    spectrum : Spectrum
    lams : sequence of float
    rows : iterable of (Phi, Y)
        All the samples again, in batches of any size; with an intercept minus the
        means that were subtracted before. For arrays at hand ``[(Phi, Y)]``. With
        weights (rows times their roots) and an intercept (Phi, Y, what it takes of the
        leverage (n, 1): the weight over the sum of all).

    Returns
    -------
    list of float
        inf where a sample has leverage 1: without it the model is not determined.

    Raises
    ------
    ValueError
        Where the rows are not as many as the samples.

    Notes
    -----
    Book: eq-loo. Source: Allen (1974), as PRESS: ``r_i / (1 - h_i)``, with the leverage
    ``h_i = phi_i (G + lam I)^-1 phi_i^T``, and 1 / n more with an intercept.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])
    >>> np.round(leave_one_out(from_data(X, Y), [5.0], [(X, Y)]), 6)
    array([1.54321])
    """
    xp, V, n = array_namespace(spectrum.w), spectrum.V, spectrum.n
    each = gains(spectrum, check_lams(lams))
    scores, seen = [0.0] * len(each), 0
    for Phi, Y, *shares in rows:
        Z = xp.astype(Phi, V.dtype) @ V
        Y = xp.astype(Y, V.dtype)
        taken = shares[0] if shares else spectrum.dof / n
        free = 1 - taken - (Z * Z) @ xp.stack(each, axis=1)
        for i, g in enumerate(each):
            errors = (Y - Z @ (g[:, None] * spectrum.VtB)) / free[:, i : i + 1]
            defined = bool(xp.all(free[:, i] > 1e3 * spectrum.rounding))
            scores[i] += number(xp.sum(errors**2)) / n if defined else math.inf
        seen += Phi.shape[0]
    if seen != n:
        raise ValueError(
            f"rows has {seen} samples and these statistics hold {n}; the same samples "
            "are needed"
        )
    return scores


def solve(
    G: Array,
    B: Array,
    lam: float,
    *,
    rtol: float | None = None,
    rounding: float | None = None,
) -> Array:
    """``(G + lam I)^-1 B`` (p, k): a linear system where `lam` is larger than rounding
    in `G`, else `from_gram`, with the same options.
    """
    _check_square(math.sqrt(norm(G)), G, "the root of G")
    if lam > max(eigenvalue_rounding(G, rtol), eigenvalue_rounding(G, rounding)):
        return solve_definite(G, B, lam)
    return models(from_gram(G, B, rtol=rtol, rounding=rounding), [lam])[0, :, :]


def eigenvalue_rounding(G: Array, relative: float | None = None) -> float:
    """What rounding may add to an eigenvalue of `G`: the fraction `relative`, default p
    * eps, of its trace, which bounds the largest.
    """
    tiny = G.shape[0] * eps_of(G)
    part = tiny if relative is None else check_lam(relative, "rtol")
    return part * number(array_namespace(G).linalg.trace(G))


def solve_definite(G: Array, B: Array, lam: float) -> Array:
    """``(G + lam I)^-1 B``; ValueError where the matrix is not positive definite."""
    xp = array_namespace(G)
    A = G + lam * xp.eye(G.shape[0], dtype=G.dtype, device=device(G))
    try:
        xp.linalg.cholesky(A)  # only to refuse
    except Exception as error:
        smallest = number(xp.linalg.eigvalsh(A)[0])
        raise ValueError(
            "the matrix + lam I is not positive definite: its smallest eigenvalue is "
            f"{smallest:.3g}"
        ) from error
    return xp.linalg.solve(A, B)


def check_lams(lams: Iterable[float]) -> list[float]:
    """`lams` as a list of floats, refused when empty or with a value that is no
    regularisation.
    """
    if not hasattr(lams, "__iter__"):
        raise TypeError(
            f"lams must be a sequence of numbers, got {type(lams).__name__}; for one "
            "value pass [lam]"
        )
    values = [check_lam(lam, "a value of lams") for lam in lams]
    if not values:
        raise ValueError("lams is empty")
    return values


def _check_square(size: float, like: Array, name: str) -> None:
    """Refuse features of a norm whose square overflows, or leaves no room for small
    ones.
    """
    limits = array_namespace(like).finfo(like.dtype)
    low = math.sqrt(float(limits.smallest_normal)) / eps_of(like)
    high = math.sqrt(float(limits.max)) * eps_of(like)
    if size and not low <= size <= high:
        raise ValueError(
            f"{name} has norm {size:.3g}; squares in {like.dtype} keep their digits "
            f"for norms from {low:.1g} to {high:.1g}: scale it by a power of two"
        )


def _by_size(G: Array, B: Array, rtol: float, rounding: float) -> Spectrum:
    """The spectrum from the eigenvalues of `G`, known to eps of the largest."""
    xp = array_namespace(G)
    w, V = xp.linalg.eigh(G)
    smallest, largest = number(w[0]), number(w[-1])
    if smallest < -rounding * max(largest, -smallest):
        raise ValueError(
            "G is not positive semi-definite: its smallest eigenvalue is "
            f"{smallest:.3g}, the largest {largest:.3g}; pass Phi^T Phi, or add at "
            f"least {-smallest:.3g} to its diagonal"
        )
    w, cut, first = _above_rounding(w, rtol)
    VtB = V.mT @ B
    explained = xp.sum((VtB[first:, :] / xp.sqrt(w[first:])[:, None]) ** 2, axis=1)
    squares = xp.concat([xp.zeros_like(w[:first]), explained])
    # above the smallest eigenvalue kept the others are harmless, and may be signal
    least = number(w[min(first, w.shape[0] - 1)]) if first else 0.0
    lost = _lost(w, VtB, first, cut)
    return Spectrum(w, V, VtB, squares, 0.0, 0, 0, cut, least, rounding, lost)


def _by_columns(G: Array, B: Array, rtol: float, rounding: float) -> Spectrum | None:
    """The spectrum by way of at most p rows R, Z with the same sums, for columns of
    different sizes D; None where the sizes are alike.

    With ``D^-1 G D^-1 = Q diag(h) Q^T`` the rows ``R = diag(h)^1/2 Q^T D`` and ``Z =
    diag(h)^-1/2 Q^T D^-1 B`` have ``R^T R = G`` and ``R^T Z = B``. The scaled matrix
    has entries up to 1, each known to eps: small columns keep their digits beside large
    ones, and the SVD of R squares nothing.
    """
    xp = array_namespace(G)
    sizes = _column_sizes(G, B)
    if number(xp.max(sizes)) <= GRADED * number(xp.min(sizes)):
        return None
    h, Q = xp.linalg.eigh(G / sizes[:, None] / sizes)
    if number(h[0]) < -rounding * number(h[-1]):
        return None  # small columns are rounding of samples that were removed
    h, cut, first = _above_rounding(h, rtol)
    QtB = Q.mT @ (B / sizes[:, None])
    lost = _lost(h, QtB, first, cut)
    roots = xp.sqrt(h[first:])[:, None]
    found = from_data(roots * Q[:, first:].mT * sizes, QtB[first:, :] / roots)
    found = _with_rest_of(
        found,
        sizes[:, None] * (Q[:, :first] @ QtB[:first, :]),
        cut * number(xp.max(sizes)) ** 2,
    )
    # of more than 25 columns LAPACK knows singular values to eps of the largest only
    blurred = 1.0 if G.shape[0] <= 25 else 10.0**2
    hidden = xp.sum(xp.where(found.w <= blurred * found.cut, found.squares, 0.0))
    if lost:  # a larger lam outweighs all that was left out
        return found._replace(lost=lost, least=1e3 * cut * number(xp.max(sizes)) ** 2)
    if number(hidden) <= 1e-9 * number(xp.sum(found.squares)):
        return found
    lost = (
        f"columns differ in size too much, from {number(xp.min(sizes)):.2g} to "
        f"{number(xp.max(sizes)):.2g} (column {int(xp.argmax(sizes))}), and rounding "
        "hides the smallest"
    )
    least = blurred * found.cut if blurred > 1 else math.ulp(0.0)
    return found._replace(lost=lost, least=max(found.least, least))


def _with_rest_of(found: Spectrum, B: Array, least: float) -> Spectrum:
    """The spectrum with a part of ``Phi^T Y`` added that its rows do not have; what is
    orthogonal to them counts from ``lam = least`` on.
    """
    xp, q = array_namespace(B), found.w.shape[0]
    if not bool(xp.any(B != 0)):
        return found
    V = xp.concat([found.V, complement(found.V)], axis=1)
    more = xp.zeros_like(V[0, q:])
    VtB = V.mT @ B
    return found._replace(
        w=xp.concat([found.w, more]),
        V=V,
        VtB=xp.concat([found.VtB + VtB[:q, :], VtB[q:, :]]),
        squares=xp.concat([found.squares, more]),
        least=max(found.least, least),
    )


def _column_sizes(G: Array, B: Array) -> Array:
    """Sizes (p,) of the columns whose Gram matrix is `G`.

    Columns that are zero, or rounding of samples that were removed, count as large as
    the largest, so that they stay what they are. Rounding has a correlation of about
    sqrt(eps) with the targets.
    """
    xp = array_namespace(G)
    d = xp.linalg.diagonal(G)
    reach = xp.max(xp.abs(B), axis=1) / xp.sqrt(xp.where(d > 0, d, 1.0))
    largest = max(number(xp.max(d)), 0.0)
    tiny = d <= 100 * G.shape[0] * eps_of(G) * largest
    silent = reach <= 1e-9**0.5 * xp.max(xp.where(tiny, 0.0, reach))
    rounding = (d <= 0) | (tiny & silent)
    return xp.sqrt(xp.where(rounding, largest or 1.0, d))


def _above_rounding(w: Array, rtol: float) -> tuple[Array, float, int]:
    """Eigenvalues that are not negative, the cutoff, and the place of the first above
    it; w ascends.
    """
    xp = array_namespace(w)
    cut = max(rtol * number(w[-1]), -4 * number(w[0]))
    first = int(xp.sum(xp.astype(w <= cut, xp.int64)))
    return xp.where(w > 0, w, xp.zeros_like(w)), cut, first


def _lost(w: Array, VtB: Array, first: int, cut: float) -> str:
    """Whether the directions before `first` may carry part of the targets, in words.

    They do when they hold more of B than rounding in G can bring there, ``cut ||W||``,
    or when no gap separates them from those that are kept. Null directions of the
    features (constant columns, fewer samples than features) do neither.
    """
    if first == 0 or first == w.shape[0]:
        return ""
    kept, dropped = number(w[first]), number(w[first - 1])
    held = norm(VtB[:first, :])
    size = norm(VtB[first:, :] / w[first:, None])
    if held <= 100 * cut * size and (kept > 10 * dropped or held == 0):
        return ""
    return (
        f"rounding in the Gram matrix hides {first} of {w.shape[0]} directions of the "
        "features that may carry part of the targets (eigenvalues up to "
        f"{dropped:.2g}, the next is {kept:.2g}, the largest {number(w[-1]):.2g})"
    )


def _warn_lost(spectrum: Spectrum, lam: float) -> None:
    """Say that directions are left out at this `lam`; refuse where none remains."""
    w, cut, least = spectrum.w, spectrum.cut, spectrum.least
    if number(w[-1]) > 0 and not bool(array_namespace(w).any(w > cut)):
        raise ValueError(
            f"every eigenvalue of G lies below the cutoff {cut:.3g}, and lam = {lam} "
            "too: sum the samples anew, or use a larger lam"
        )
    if spectrum.lost:
        enough = f"lam >= {least:.2g}" if least > math.ulp(0.0) else "lam > 0"
        warnings.warn(
            f"at lam = {lam} {spectrum.lost}; scale the columns, or fit on the data "
            f"(krr.fit, spectrum.from_data), or use {enough}",
            stacklevel=4,
        )
