"""Training data rebuilt from the model alone (PyTorch).

Ridge regression trains W = phi(X)^T alpha. With r = rank(W) it is r p equations for
n (d + r) unknowns. The solver for exact sets finds X and alpha; the rank of the
derivative

    (dX, d_alpha) -> sum_s J_s dx_s alpha_s^T + phi(X)^T d_alpha

says whether other data near by would do as well: not where it is n (d + k), which it
can be for r p >= n (d + r) only.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..arrays import Array, eps_of, norm, size_of, thin_svd
from ..nonsurjective.linearised import STORED, Linearisation
from ..nonsurjective.solver import TOL, solve

FULL = 1e-10  # smallest singular value, relative to the largest, of a full rank


class Reconstruction(NamedTuple):
    """Data that explain a model; those that trained it only where `determined`, and
    then up to their order and whatever else phi cannot tell apart.
    """

    X: Array  # (n, d)
    alpha: Array  # (n, k), W = phi(X)^T alpha
    residual: float  # ||W - phi(X)^T alpha|| / ||W||
    steps: int
    converged: bool  # residual <= 1e-12, or 2e-5 in float32
    rank: int  # of the derivative of phi(X)^T alpha by X and alpha
    unknowns: int  # n (d + k)
    condition: float  # of the derivative: X has lost about so many times eps

    @property
    def determined(self) -> bool:
        """Whether the data explain W and no others near by do."""
        return self.converged and self.rank == self.unknowns


def reconstruct(
    phi: Callable[[Array], Array],
    W: Array,
    X_0: Array,
    *,
    max_steps: int = 200,
) -> Reconstruction:
    """Inputs and dual coefficients that explain the ridge model `W`, searched from
    `X_0`: the training data, where there are few enough.

    The adversary knows the feature map, `W`, and how many samples there were. Targets
    follow from the coefficients where `lam` is known, too: ``Y = phi(X) W + lam
    alpha``.

    Parameters
    ----------
    phi : callable
        As in `nonsurjective.solve`: rows (n, d) to features (n, p), differentiable.
    W : tensor (p, k)
        The model, float64 or float32.
    X_0 : tensor (n, d)
        Where to start: n guesses of the inputs, all different. A search is local; from
        random guesses try many.
    max_steps : int
        As in `nonsurjective.solve`.

    Returns
    -------
    Reconstruction
        `determined` is False where the search failed, and where other data near by
        explain W as well: always for ``r p < n (d + r)``, r the rank of W, and for maps
        with ``phi(t x) = t phi(x)``.

    Raises
    ------
    ValueError, TypeError
        As `nonsurjective.solve`, and where the derivative has more than 2^28 entries.

    Notes
    -----
    Book: thm-local-data.

    The same search distils a set: there fewer equations than unknowns leave a choice,
    here more leave none. The coefficients are those of least squares for X.

    Examples
    --------
    >>> import torch
    >>> phi = lambda X: torch.cat([X, X**2, X**3, X**4], dim=1)
    >>> X = torch.tensor([[1.0], [-2.0]]).double()  # 4 equations, 4 unknowns
    >>> W = phi(X).T @ torch.tensor([[3.0], [1.0]]).double()
    >>> found = reconstruct(phi, W, torch.tensor([[0.8], [-1.7]]).double())
    >>> found.determined, found.X.ravel().round(decimals=9).tolist()
    (True, [1.0, -2.0])
    """
    check_entries(W, X_0)
    options = {"max_steps": max_steps, "damping": 1.0, "unfinished": True}
    found = solve(phi, W, X_0, tol=0.0, **options)
    X, Phi = found.X_S, phi(found.X_S).detach().to(torch.float64)
    svd = thin_svd(Phi, max(Phi.shape) * eps_of(X))
    alpha = svd.U @ ((svd.Vh @ W.detach().to(torch.float64)) / svd.s[:, None])
    R = torch.linalg.qr(scaled_derivative(phi, X, Phi, alpha).T, mode="r").R  # smaller
    J = thin_svd(R, max(FULL, 100 * eps_of(X)))
    return Reconstruction(
        X,
        alpha.to(W.dtype),
        found.residual,
        found.steps,
        found.residual <= TOL[W.dtype],
        J.rank,
        alpha.shape[0] * (X.shape[1] + alpha.shape[1]),
        J.condition,
    )


def scaled_derivative(
    phi: Callable[[Array], Array], X: Array, Phi: Array, alpha: Array
) -> Array:
    """The derivative of ``phi(X)^T alpha`` by X and alpha, one row an unknown, both
    parts of one norm: (n (d + k), p k).

    Not each row: a point whose coefficients are rounding is not determined.
    """
    p, k = Phi.shape[1], alpha.shape[1]
    linearise = Linearisation(phi, X, p)
    linearise.blur = 0.0  # the derivative as it is
    Jt = linearise(X).transposed()  # (n, d, p)
    by_X = (Jt[:, :, :, None] * alpha[:, None, None, :]).reshape(-1, p * k)
    by_alpha = torch.kron(Phi, torch.eye(k, dtype=Phi.dtype, device=Phi.device))
    return torch.cat([by_X * (norm(by_alpha) / size_of(by_X)), by_alpha])


def check_entries(W: Array, X_0: Array) -> None:
    """Refuse a derivative that is too large to decompose."""
    if getattr(W, "ndim", 0) == getattr(X_0, "ndim", 0) == 2:  # solve refuses the rest
        (n, d), (p, k) = X_0.shape, W.shape
        if n * (d + k) * p * k > STORED:
            raise ValueError(
                f"the derivative of {n * (d + k)} unknowns and {p * k} equations has "
                f"more than {STORED} entries: fewer points, features or targets"
            )
