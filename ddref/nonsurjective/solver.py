"""A solver for exact sets of inputs: Levenberg-Marquardt steps from given points.

    W = Q C                        Q (p, r) with orthonormal columns, r = rank(W)
    repeat
        Phi   = phi(X)
        alpha = (Phi^T)^+ Q        the best coefficients, (m, r)
        R     = Q - Phi^T alpha    what the points cannot carry
        stop where ||R C|| <= tol ||W||
        J     = derivative of Phi^T alpha by v = (X, alpha)
        v     = argmin ||R - J v||^2 + mu (||dX||^2 + ||d_alpha||^2 / w)
        X    <- X + dX and mu smaller where that reduces ||R||; else mu larger, again
    Y_S = Phi W + lam_S alpha C    in exact arithmetic these labels train W

The second part of v is not used: alpha is fitted again.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from ..arrays import (
    Array,
    check_arrays,
    check_count,
    check_lam,
    eps_of,
    model_svd,
    norm,
    relative,
    thin_svd,
    warn_dropped,
)
from ..measure import Certificate, feature_rounding, tolerance, verify
from .count import generic_count
from .layer import check_tensors
from .linearised import Linearisation, with_free
from .systems import SYSTEMS, Fit, System, Systems

TOL = {torch.float64: 1e-12, torch.float32: 2e-5}  # default tolerance of solve


class SolvedSet(NamedTuple):
    """A distilled set of inputs; exact only where `certificate.exact` is True."""

    X_S: Array  # (m, d)
    Y_S: Array  # (m, k), from phi(X_S) as returned
    lam_S: float
    certificate: Certificate  # of the set as returned, by training on it
    residual: float  # ||W - phi(X_S)^T alpha|| / ||W||, best alpha: what is not carried
    steps: int


class NoConvergence(ValueError):
    """A search that ended at points which do not train the model; `found` has them."""

    def __init__(self, message: str, found: SolvedSet) -> None:
        super().__init__(message)
        self.found = found


class Progress(NamedTuple):
    """What the callback of `solve` is given, once a step."""

    step: int
    residual: float
    damping: float  # relative to the mean of the diagonal of J J^T
    distance: float  # ||X - X_0|| / ||X_0||
    seconds: float  # since `solve` was called
    X_S: Array  # the points (m, d); `solve` from them, with this damping, goes on


class ManyStarts(NamedTuple):
    """`solve` from several starts."""

    best: SolvedSet  # of the exact ones the best conditioned, else least residual
    success_rate: float
    exact: tuple[bool, ...]
    residuals: tuple[float, ...]
    steps: tuple[int, ...]


@torch.no_grad()
def solve(
    phi: Callable[[Array], Array],
    W: Array,
    X_0: Array,
    *,
    lam_S: float = 0.0,
    tol: float | None = None,
    max_steps: int = 200,
    callback: Callable[[Progress], Any] | None = None,
    damping: float = 30.0,
    method: str | None = None,
    bounds: tuple[float, float] | None = None,
    rtol: float | None = None,
    unfinished: bool = False,
) -> SolvedSet:
    """Inputs near `X_0` that train the model `W` through any differentiable map, with
    their labels.

    Solves ``W = phi(X_S)^T alpha`` for the inputs and the coefficients by
    Levenberg-Marquardt steps: each is a damped form of the smallest change of the
    points that solves the linearised equations. From real images, the result is a
    realistic exact set; how far it moved depends on how many points there are, see
    `generic_count`.

    Parameters
    ----------
    phi : callable
        Rows (n, d) to features (n, p), row by row, differentiable by `torch.func`. The
        fast path is taken for a `OneLayer` and for ``torch.nn.Sequential(Linear, Tanh |
        Sigmoid | Softplus | ReLU | LeakyReLU)``, Softplus with its default beta and
        threshold. A map with a method `linearise` gives its derivative itself, as
        `ddref.maps.Patches` does, and is solved by products.
    W : tensor (p, k)
        Model to reproduce, float64 or float32.
    X_0 : tensor (m, d)
        Where to start: one row a point, all different. m is at least the rank of `W`.
    lam_S : float
        Regularisation that will be used to train on the set; it enters the labels only.
    tol : float, optional
        Residual to stop at, relative to the norm of `W`. Default: 1e-12 in float64,
        2e-5 in float32, or 50 times eps and the condition number where that is less;
        and the set has to be exact. With a `tol` of your own it is solved to that.
    max_steps : int
        Accepted steps. A step that does not reduce the residual is damped more and
        tried again, at the same price.
    callback : callable, optional
        Called with a `Progress` before each step and at the end; the solver stops where
        it returns True: ``callback=lambda at: at.seconds > 600`` is a limit of time.
    damping : float
        Of the first step, relative to the mean of the diagonal of J J^T; adapted
        afterwards. The default starts with short steps and stays near `X_0`; 0.01
        begins with a long jump, and often needs fewer steps.
    method : str, optional
        "equations" or "unknowns" (Cholesky of the normal matrix of that side, r p or m
        (d + r) rows), or "products" (conjugate gradients, nothing of that size is
        formed). Default: the smaller side, and products where it has more than 2,000
        rows, or where the Jacobians are too large to keep.
    bounds : (float, float), optional
        Smallest and largest value of the inputs, for instance black and white. Needs
        more steps, and more points where many coordinates end at a bound: they are no
        unknowns any more.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value. Default: 1e-10, or
        max(p, k) * eps where larger. Warns when it drops more than rounding; the
        residual includes what it drops.
    unfinished : bool
        Return the points where the search ends, whatever they are worth. Where
        `certificate.exact` is False they are *not* exact: retraining misses `W` by the
        `residual`.

    Returns
    -------
    SolvedSet

    Raises
    ------
    NoConvergence
        A ValueError: the search ended before the set was exact, or solved to `tol`. Its
        `found` has the points.
    ValueError, TypeError
        For shapes that do not fit, fewer points than rank(W), equal rows in `X_0`, NaN
        or Inf; a `phi` that mixes rows, whose features are not finite at `X_0`, or that
        does not depend on its inputs.

    Notes
    -----
    Book: eq-levenberg, thm-point-count. The columns of `W` enter through an orthonormal
    basis, so that small and large ones count alike. The kinks of a `OneLayer` are
    blurred in the derivative, less and less as the steps become shorter; those of other
    maps are not, and there a search may stall. Everything but `phi` is computed in
    float64, for float32 inputs, too. The same start gives the same set.

    Examples
    --------
    >>> import torch
    >>> phi = lambda X: torch.cat([X**0, X, X**2], dim=1)  # one input, three features
    >>> W = torch.tensor([[2.0], [0.0], [2.0]]).double()  # the model 2 + 2 x^2
    >>> found = solve(phi, W, torch.tensor([[-2.0], [1.0]]).double())
    >>> found.certificate.exact, bool(abs(found.X_S.prod() + 1) < 1e-9)  # the product
    (True, True)
    """
    check_tensors(W=W, X_0=X_0)
    check_arrays(W=W, X_0=X_0)
    lam_S = check_lam(lam_S, "lam_S")
    aim = None if tol is None else check_lam(tol, "tol")
    check_count(max_steps, "max_steps", 0)
    check_search(damping, method)
    Q, C, dropped = column_basis(W.detach(), rtol)
    problem = Problem(phi, Q, X_0.detach(), method, checked_bounds(bounds, X_0))

    X = X_0.detach().to(torch.float64)
    fit, steps, start = problem.first_fit(), 0, time.monotonic()
    while True:
        residual = relative(fit.R @ C, W)
        tol = default_tol(fit.condition, W.dtype) if aim is None else aim
        moved, seconds = relative(X - X_0, X_0), time.monotonic() - start
        points = X.to(W.dtype, copy=True)
        progress = Progress(steps, residual, damping, moved, seconds, points)
        stopped = callback is not None and callback(progress) is True
        if stopped or residual <= tol or steps >= max_steps:
            break
        accepted = next_points(problem, X, fit, damping, tol / residual)
        if accepted is None:  # a local minimum, or the limit of rounding
            break
        X, fit, damping = accepted
        steps += 1

    found = solved_set(phi, W, C, X, fit, steps, dropped, lam_S)
    return found if unfinished else finished(found, aim)


def default_tol(condition: float, dtype: torch.dtype) -> float:
    """Where a search stops: at what is exact, and at that finely."""
    return min(TOL[dtype], tolerance(condition, dtype))


def solved_set(
    phi: Callable[[Array], Array],
    W: Array,
    C: Array,
    X: Array,
    fit: Fit,
    steps: int,
    dropped: float,
    lam_S: float,
) -> SolvedSet:
    """The points X with their labels and what they miss of ``W = Q C``."""
    residual = relative(fit.R @ C, W)
    Y_S = fit.Phi @ W.to(torch.float64) + lam_S * (fit.alpha @ C)
    X_S, Y_S, Phi_S = X.to(W.dtype), Y_S.to(W.dtype), fit.Phi.to(W.dtype)
    rounding = feature_rounding(phi, X_S, Phi_S, eps_of(W))
    certificate = verify(Phi_S, Y_S, lam_S, W.detach(), rounding=rounding)
    return SolvedSet(X_S, Y_S, lam_S, certificate, residual + dropped, steps)


def is_finished(found: SolvedSet, tol: float | None) -> bool:
    """Whether the set is exact, or solved to the `tol` that was asked for."""
    return found.certificate.exact or (tol is not None and found.residual <= tol)


def finished(found: SolvedSet, tol: float | None) -> SolvedSet:
    """The set, refused where it is not finished."""
    if is_finished(found, tol):
        return found
    missed, allowed = found.certificate.relative_error, found.certificate.tolerance
    raise NoConvergence(
        f"the search ended after {found.steps} steps, and its {len(found.X_S)} points "
        f"are not exact: training on them misses W by {missed:.2g}, "
        f"{found.residual:.2g} of it theirs ({allowed:.2g} allowed at condition "
        f"{found.certificate.condition:.2g}); start from more points, or other ones, "
        "allow more steps (max_steps), or pass unfinished=True for the points as they "
        "are",
        found,
    )


def solve_many(
    phi: Callable[[Array], Array],
    W: Array,
    starts: Iterable[Array],
    **options: Any,
) -> ManyStarts:
    """`solve` from every start, and how often the set was exact.

    Parameters
    ----------
    phi, W
        As in `solve`.
    starts : iterable of tensors (m, d)
        For instance different choices of real images. A generator is drawn from one at
        a time.
    **options
        Passed on to `solve`.

    Raises
    ------
    ValueError, TypeError
        Without any start, and what `solve` raises.

    Notes
    -----
    Book: thm-point-count. A local search can fail where a set exists, so its success
    rate is a lower bound.

    Examples
    --------
    >>> import torch
    >>> phi = lambda X: torch.cat([X**0, X, X**2], dim=1)
    >>> W = torch.tensor([[2.0], [0.0], [2.0]]).double()
    >>> starts = (torch.tensor([[-t], [t]]).double() for t in (0.5, 2.0, 3.0))
    >>> solve_many(phi, W, starts).success_rate
    1.0
    """
    found = [solve(phi, W, X_0, unfinished=True, **options) for X_0 in starts]
    if not found:
        raise ValueError("no starts: give at least one X_0")
    exact = [one for one in found if one.certificate.exact]
    best = (
        min(exact, key=lambda one: one.certificate.condition)
        if exact
        else min(found, key=lambda one: one.residual)
    )
    return ManyStarts(
        best,
        len(exact) / len(found),
        tuple(one.certificate.exact for one in found),
        tuple(one.residual for one in found),
        tuple(one.steps for one in found),
    )


# ---------------------------------------------------------------------------- one step


class Problem:
    """The map, the basis Q of the model, and how steps are computed."""

    def __init__(
        self,
        phi: Callable[[Array], Array],
        Q: Array,
        X_0: Array,
        method: str | None,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        self.phi = phi
        self.bounds = bounds
        self.Q = Q
        self.dtype = X_0.dtype
        self.systems = Systems(method)
        self.Phi_0 = checked_features(phi, X_0, Q)
        self.linearise = Linearisation(phi, X_0, len(Q))

    def first_fit(self) -> Fit:
        """The fit at X_0."""
        return self.best_coefficients(self.Phi_0)

    def fit(self, X: Array) -> Fit | None:
        """The fit at the points X as they would be returned; None where their features
        are not finite.
        """
        Phi = self.phi(X.to(self.dtype)).detach().to(torch.float64)
        return self.best_coefficients(Phi) if bool(Phi.isfinite().all()) else None

    def best_coefficients(self, Phi: Array) -> Fit:
        """``alpha = (Phi^T)^+ Q``, and what is left of Q."""
        svd = thin_svd(Phi, max(Phi.shape) * torch.finfo(self.dtype).eps)
        alpha = svd.U @ ((svd.Vh @ self.Q) / svd.s[:, None])
        return Fit(Phi, alpha, self.Q - Phi.T @ alpha, svd.condition)

    def system(self, X: Array, fit: Fit) -> System:
        """The equations of a step from X; coordinates at a bound that would leave are
        no unknowns.
        """
        at = self.linearise(X)
        if self.bounds is not None:
            low, high = self.bounds
            uphill = at.pull(fit.alpha @ fit.R.T)
            at = with_free(
                at, ~((X <= low) & (uphill < 0) | (X >= high) & (uphill > 0))
            )
        return self.systems.at(at, fit, X.shape[1])

    def moved(self, X: Array, dX: Array) -> Array:
        """The points after a step, within the bounds."""
        return X + dX if self.bounds is None else (X + dX).clamp(*self.bounds)


def next_points(
    problem: Problem, X: Array, fit: Fit, damping: float, needed: float
) -> tuple[Array, Fit, float] | None:
    """Points that leave less of R, their fit, and the damping to go on with; None where
    no step reduces the residual.

    With F = ||R||^2, a step is judged by its gain, the decrease of F over the decrease
    that the linearised equations predict. It is taken where that is positive. Nielsen's
    rule: the nearer the gain is to 1, the less damping comes next, down to a tenth;
    each failure in turn multiplies it by 2, 4, 8, ...
    """
    system = problem.system(X, fit)
    F, growth = float((fit.R**2).sum()), 2.0
    while damping < 1e20:
        change = system.solve(damping, needed)
        if change is None:  # not positive definite to rounding
            damping *= 10
            continue
        predicted = F - float(((fit.R - system.push(*change)) ** 2).sum())
        if not predicted > 1e-10 * F:
            return None
        moved = problem.moved(X, change[0])
        trial = problem.fit(moved)
        if trial is not None:
            gain = (F - float((trial.R**2).sum())) / predicted
            if gain > 0:
                problem.linearise.sharpen(moved - X, trial.R)
                less = max(0.1, 1 - (2 * min(gain, 1.0) - 1) ** 3)
                return moved, trial, max(damping * less, 1e-15)
        damping *= growth
        growth *= 2
    return None


# ------------------------------------------------------------------------ what comes in


def column_basis(W: Array, rtol: float | None) -> tuple[Array, Array, float]:
    """Orthonormal Q (p, r) and C (r, k) with ``W = Q C``, in float64, and the fraction
    of W that the rank cutoff dropped.
    """
    cutoff = model_svd(W, rtol).rtol  # that of the dtype of W
    svd = thin_svd(W.to(torch.float64), cutoff)
    warn_dropped(svd.lost, W, stacklevel=5)  # names the line that calls `solve`
    return svd.U, svd.s[:, None] * svd.Vh, svd.lost


def check_search(damping: float, method: str | None) -> None:
    """Refuse a damping or a method that is none."""
    if check_lam(damping, "damping") == 0:
        raise ValueError(
            "damping = 0: undamped steps leave the range of the linearisation; "
            "use 1 to 100"
        )
    if method not in (None, *SYSTEMS):
        raise ValueError(
            f"method must be one of {', '.join(SYSTEMS)}, or None, got {method!r}"
        )


def checked_bounds(
    bounds: tuple[float, float] | None, X_0: Array
) -> tuple[float, float] | None:
    """The bounds, refused where the points to start from are not between them."""
    if bounds is None:
        return None
    low, high = bounds
    lowest, highest = float(X_0.min()), float(X_0.max())
    if not low <= lowest <= highest <= high:
        raise ValueError(
            f"X_0 goes from {lowest:.6g} to {highest:.6g}, outside bounds = ({low}, "
            f"{high}): start from points between them, X_0.clamp({low}, {high})"
        )
    return low, high


def checked_features(phi: Callable[[Array], Array], X_0: Array, Q: Array) -> Array:
    """``phi(X_0)`` in float64, where the points can carry Q and the map is one that
    gives each row its features; else ValueError or TypeError.
    """
    (m, d), (p, r) = X_0.shape, Q.shape
    if m < r:
        raise ValueError(
            f"m = {m} points cannot carry W of rank {r}: no exact set has fewer than "
            f"rank(W) points; use at least {generic_count(p, d, r)}, the generic count "
            f"for d = {d}, p = {p}"
        )
    few = 2 if m > 2 else 1
    Phi = finite_features(phi, X_0, p)
    alone = finite_features(phi, X_0[:few], p)
    if norm(Phi[:few] - alone) > math.sqrt(eps_of(X_0)) * (norm(alone) + norm(Phi)):
        raise ValueError(
            f"phi of the first {few} rows differs from what it gives them in the "
            "batch: rows influence each other, or phi is random (batch normalisation, "
            "dropout: call eval())"
        )
    if m <= p and len(torch.unique(X_0, dim=0)) < m:
        raise ValueError(
            "X_0 has equal rows: they would stay equal for ever; leave one out, or "
            "change it a little"
        )
    return Phi


def finite_features(phi: Callable[[Array], Array], X: Array, p: int) -> Array:
    """``phi(X)`` in float64, refused where it is no finite tensor (len(X), p)."""
    Phi = phi(X)
    check_tensors(**{"phi(X_0)": Phi})
    if tuple(Phi.shape) != (len(X), p):
        raise ValueError(
            f"phi gives features of shape {tuple(Phi.shape)} for {len(X)} rows, and W "
            f"has {p} rows: {len(X), p} is needed"
        )
    check_arrays(**{"X_0": X, "phi(X_0)": Phi.detach()})
    return Phi.detach().to(torch.float64)
