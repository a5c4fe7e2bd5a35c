"""Twice is always enough: a solver that cannot fail where a rank is full.

F(X, alpha) = phi(X)^T alpha          all models that m points reach
at X_1, alpha_1 = unit vectors in turn: is the rank of the derivative r p?
Q = F'(dX, d_alpha)                   then every direction is reached
N = a basis of what phi(X_1) leaves out
solve N^T Q = (phi(X) N)^T beta       from X_1 + e dX, e smaller until it succeeds
X_S = X_1 and X                       2 m points; X_1 is the same for every model
"""

from collections.abc import Callable, Iterator

import torch

from ..arrays import Array, check_arrays, check_lam, eps_of, norm, size_of, thin_svd
from .count import smooth_count
from .layer import check_tensors
from .linearised import Linearisation
from .solver import (
    TOL,
    Problem,
    SolvedSet,
    column_basis,
    finished,
    is_finished,
    solve,
    solved_set,
)

LOOSER = 10.0  # than solve: X_1 is given: of 248 random layers 4 miss 1e-12
FULL = 1e-10  # smallest singular value, relative to the largest, of a full rank
SHRINKINGS = 10  # of the first step, each by 4; below 1e-6 of it rounding wins


@torch.no_grad()
def solve_twice(
    phi: Callable[[Array], Array],
    W: Array,
    X_1: Array,
    *,
    lam_S: float = 0.0,
    tol: float | None = None,
    rtol: float | None = None,
) -> SolvedSet:
    """An exact set of 2 m points for *every* model of rank r, m of them the given ones,
    wherever the derivative of the models by points and coefficients has rank r p.

    Almost every tanh or cosine layer has it from `smooth_count` points on. The m points
    `X_1` serve all models alike; the others start beside them.

    Parameters
    ----------
    phi : callable
        As in `solve`; smooth, so that small steps do what the derivative says.
    W : tensor (p, k)
        Model to reproduce, of any rank r, float64 or float32.
    X_1 : tensor (m, d)
        Points that will be in the set, all different, m >= r.
    lam_S : float
        Regularisation that will be used to train on the set; it enters the labels only.
    tol : float, optional
        Largest relative residual. Default: 1e-11 in float64, 2e-4 in float32.
    rtol : float, optional
        Rank cutoff of `W`, as in `solve`.

    Returns
    -------
    SolvedSet
        `X_1` first, then m more points; `X_1` alone where that is exact.

    Raises
    ------
    NoConvergence
        A ValueError: rounding won. Its `found` has the best points.
    ValueError, TypeError
        Where the rank is not full, with the rank, r p and what to do; for arrays that
        `solve` refuses.

    Notes
    -----
    Book: thm-twice, thm-smooth-rank. The rank is that at ``alpha_1``, unit vectors in
    turn: r matrices of p rows. Singular values up to 1e-10 of the largest count as
    zero.

    Examples
    --------
    >>> import torch
    >>> phi = lambda X: torch.cat([X**0, X, X**2], dim=1)
    >>> W = torch.tensor([[0.0], [0.0], [1.0]]).double()  # x^2: no two points train it
    >>> found = solve_twice(phi, W, torch.tensor([[-1.0], [2.0]]).double())
    >>> found.certificate.exact, len(found.X_S), found.X_S[:2].ravel().tolist()
    (True, 4, [-1.0, 2.0])
    """
    check_tensors(W=W, X_1=X_1)
    check_arrays(W=W, X_1=X_1)
    lam_S = check_lam(lam_S, "lam_S")
    aim = None if tol is None else check_lam(tol, "tol")
    tol = LOOSER * TOL[W.dtype] if aim is None else aim
    W, X_1 = W.detach(), X_1.detach()
    Q, C, dropped = column_basis(W, rtol)
    problem = Problem(phi, Q, X_1, None)

    fit, steps = problem.first_fit(), 0
    best = solved_set(phi, W, C, X_1, fit, steps, dropped, lam_S)
    if is_finished(best, aim):
        return best
    dX = full_rank_direction(phi, Q, X_1, fit.Phi)
    for X_2, taken in moved_apart(phi, W, X_1, dX, fit.Phi, tol / 20):
        steps += taken
        X = torch.cat([X_1, X_2])
        fit = problem.best_coefficients(phi(X).to(torch.float64))
        one = solved_set(phi, W, C, X, fit, steps, dropped, lam_S)
        best = one if one.residual < best.residual else best
        if is_finished(best, aim):
            break
    return finished(best, aim)


def moved_apart(
    phi: Callable[[Array], Array],
    W: Array,
    X_1: Array,
    dX: Array,
    Phi: Array,
    tol: float,
) -> Iterator[tuple[Array, int]]:
    """Points that carry, with `X_1`, what is left of W, and the steps taken, from
    smaller and smaller distances to `X_1`.

    What `X_1` cannot carry of a vector are its products with the columns of N.
    """
    N = left_out(Phi).to(W.dtype)
    e = norm(X_1) / norm(dX) if norm(X_1) else 1.0
    for _ in range(SHRINKINGS):
        X_0 = X_1 + e * dX.to(W.dtype)
        if bool(phi(X_0).isfinite().all()):
            found = solve(
                lambda X: phi(X) @ N,
                N.T @ W,
                X_0,
                damping=0.01,
                tol=tol,
                unfinished=True,
            )
            yield found.X_S, found.steps
        e /= 4


def left_out(Phi: Array) -> Array:
    """Orthonormal basis (p, p - rank) of what the rows of Phi do not span."""
    Vh = torch.linalg.svd(Phi)[2]
    return Vh[thin_svd(Phi).rank :].T


def full_rank_direction(
    phi: Callable[[Array], Array], Q: Array, X_1: Array, Phi: Array
) -> Array:
    """dX (m, d) that moves ``phi(X)^T alpha_1`` by Q, up to what `Phi` spans; refused
    where the derivative has not full rank.

    With unit vectors as coefficients column j is moved by the points j, j + r, ...
    """
    p, r = Q.shape
    dX, rank = torch.zeros_like(X_1, dtype=torch.float64), 0
    for j in range(r):
        dX[j::r], rank_j = move_of_column(phi, Q[:, j], X_1[j::r], Phi)
        rank += rank_j
    if rank < r * p:
        m, d = X_1.shape
        enough = smooth_count(p, d, r)
        raise ValueError(
            f"the derivative at X_1 has rank {rank}, not r p = {r * p}: twice {m} "
            "points need not be enough for every model. Almost every tanh or cosine "
            f"layer has the rank from {enough} points on, ReLU may not: take more "
            f"points ({p} with independent features always do), or look for a set with "
            "solve"
        )
    return dX


def move_of_column(
    phi: Callable[[Array], Array], q: Array, X: Array, Phi: Array
) -> tuple[Array, int]:
    """Changes dx_s of the points X with ``sum_s J_s dx_s = q`` up to what `Phi` spans,
    and the rank of the J_s and Phi together.
    """
    linearise = Linearisation(phi, X, len(q))
    linearise.blur = 0.0  # the derivative as it is
    J = linearise(X).transposed().reshape(-1, len(q))
    unit = norm(Phi) / size_of(J)  # features and derivatives count alike
    svd = thin_svd(torch.cat([unit * J, Phi]), max(FULL, len(q) * eps_of(X)))
    change = svd.U @ ((svd.Vh @ q) / svd.s)
    return unit * change[: len(J)].reshape(X.shape), svd.rank
