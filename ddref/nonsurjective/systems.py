"""The linear system of one step of the solver, solved in three ways.

J takes a change v = (dX, d_alpha) of the points and their coefficients to the change of
``Phi^T alpha``. A step minimises

    ||R - J v||^2 + mu (||dX||^2 + ||d_alpha||^2 / w) ,

where w says how much cheaper it is to change a coefficient than a coordinate of a
point. With d_alpha in units of sqrt(w), which turns the second term into mu ||v||^2,

    v = J^T (J J^T + mu)^-1 R          `Equations`: r p rows, by Cholesky
      = (J^T J + mu)^-1 J^T R          `Unknowns`: m (d + r) rows, by Cholesky
                                       `Products`: the first, by conjugate gradients
                                       `Projected`: w without bound, for large p
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..arrays import Array, norm, thin_svd
from .linearised import LinearisedMap, ProductsAt

DENSE = (
    2000  # largest normal matrix formed unless asked for: products are faster beyond
)
CHEAPER = 30.0  # see `System`
MOST_PRODUCTS = 2000  # of one solution by conjugate gradients
FEWER_PRODUCTS = 400  # of one of `Projected`: the next step gains more than the rest
MANY_PRODUCTS = 150  # after a step that took so many, K is formed at the points anew


class Typical(NamedTuple):
    """K = V diag(e) V^T (p, p), the mean of J_s J_s^T over some points; without columns
    where it is not formed.
    """

    V: Array
    e: Array


class Fit(NamedTuple):
    """Features of the current points, and the best coefficients for them."""

    Phi: Array  # (m, p)
    alpha: Array  # (m, r), of least norm
    R: Array  # (p, r), Q - Phi^T alpha: the part of Q outside the row space of Phi
    condition: float  # of Phi


class System:
    """The linearised equations ``J v = R`` at a fit; `at` is the map, linearised.

    `mean` is the mean of the diagonal of ``sum_s alpha_s alpha_s^T kron J_s J_s^T``; mu
    is the damping times it. The coefficients are the freer ones, as they are fitted
    again after every step: w is `CHEAPER` times `mean`, over the mean of
    ||phi(x_s)||^2.
    """

    def __init__(self, at: LinearisedMap, fit: Fit) -> None:
        self.at = at
        self.Phi, self.alpha, self.R, _ = fit
        p, r = self.R.shape
        m = len(self.Phi)
        self.mean = float((at.squares() * (self.alpha**2).sum(dim=1)).sum()) / (r * p)
        if not self.mean > 0:
            raise ValueError(
                "phi does not change with its inputs here: its Jacobian is zero at "
                "every point of X_0"
            )
        self.w = CHEAPER * self.mean * m / float((self.Phi**2).sum())
        self._prepare()

    def push(self, dX: Array, d_alpha: Array) -> Array:
        """``J v`` (p, r)."""
        return self.at.push(dX).T @ self.alpha + self.Phi.T @ d_alpha

    def pull(self, Z: Array) -> tuple[Array, Array]:
        """``J^T Z`` of a (p, r) matrix, scaled by w for the coefficients."""
        return self.at.pull(self.alpha @ Z.T), self.w * (self.Phi @ Z)

    def solve(self, damping: float, needed: float) -> tuple[Array, Array] | None:
        """dX (m, d) and d_alpha (m, r), or None where rounding prevents it.

        `needed` is how far the residual has to go down, as a factor.
        """
        raise NotImplementedError

    def _prepare(self) -> None:
        """What does not depend on the damping."""
        raise NotImplementedError


class Equations(System):
    """``v = J^T (J J^T + mu)^-1 R``, with ``J J^T = sum_s alpha_s alpha_s^T kron J_s
    J_s^T + w I kron Phi^T Phi``.
    """

    def _prepare(self) -> None:
        p, r = self.R.shape
        # (r, p, r, p): the columns of a (p, r) matrix one below the other, both ways
        M = self.at.equations(self.alpha)
        gram = self.w * (self.Phi.T @ self.Phi)
        for a in range(r):
            M[a, :, a, :] += gram
        self.M = M.view(r * p, r * p)
        self.diagonal = self.M.diagonal().clone()

    def solve(self, damping: float, needed: float) -> tuple[Array, Array] | None:
        p, r = self.R.shape
        stacked = self.R.T.reshape(-1, 1)
        z = solve_positive(self.M, self.diagonal + damping * self.mean, stacked)
        return None if z is None else self.pull(z.view(r, p).T)


class Unknowns(System):
    """``v = (J^T J + mu)^-1 J^T R``, the points first."""

    def _prepare(self) -> None:
        Jt = self.at.transposed()  # (m, d, p)
        m, d, _ = Jt.shape
        r = self.alpha.shape[1]
        n = m * d
        rows = Jt.reshape(n, -1)
        unit = math.sqrt(self.w)  # of d_alpha
        H = rows.new_empty(n + m * r, n + m * r)
        # <J_s^T alpha_s, J_t^T alpha_t>, points s and t, coordinates of both
        products = (rows @ rows.T).view(m, d, m, d)
        weights = (self.alpha @ self.alpha.T)[:, None, :, None]
        H[:n, :n] = (products * weights).view(n, n)
        mixed = unit * (rows @ self.Phi.T).view(m, d, m, 1)
        H[:n, n:] = (mixed * self.alpha[:, None, None, :]).reshape(n, m * r)
        H[n:, :n] = H[:n, n:].T
        identity = torch.eye(r, dtype=rows.dtype, device=rows.device)
        H[n:, n:] = torch.kron(self.w * (self.Phi @ self.Phi.T), identity)
        self.M = H
        self.diagonal = H.diagonal().clone()

    def solve(self, damping: float, needed: float) -> tuple[Array, Array] | None:
        unit = math.sqrt(self.w)
        dX, d_alpha = self.pull(self.R)
        n = dX.numel()
        right = torch.cat([dX.reshape(-1), d_alpha.reshape(-1) / unit])[:, None]
        v = solve_positive(self.M, self.diagonal + damping * self.mean, right)
        if v is None:
            return None
        return v[:n].view(dX.shape), unit * v[n:].view(d_alpha.shape)


class Products(System):
    """As `Equations`, by conjugate gradients: J and J^T are applied, and only blocks of
    size p are factorised.
    """

    def _prepare(self) -> None:
        # columns turned so that alpha^T alpha is diagonal: the blocks then say most
        self.turn = torch.linalg.eigh(self.alpha.T @ self.alpha)[1]
        small = len(self.R) <= DENSE
        self.blocks = self.at.blocks(self.alpha @ self.turn) if small else None
        if self.blocks is not None:
            self.blocks = self.blocks + self.w * (self.Phi.T @ self.Phi)

    def solve(self, damping: float, needed: float) -> tuple[Array, Array] | None:
        # as accurate as quadratic convergence needs, and no more than the last step
        # does
        missed = norm(self.R) / math.sqrt(self.R.shape[1])
        accuracy = min(1e-2, max(missed, 0.05 * needed))
        mu = damping * self.mean
        z, _ = conjugate_gradients(
            lambda Z: self.push(*self.pull(Z)) + mu * Z,
            self.R,
            accuracy,
            self._preconditioner(mu),
        )
        return self.pull(z)

    def _preconditioner(self, mu: float) -> Callable[[Array], Array]:
        """An approximate inverse of ``J J^T + mu``, by its blocks on the diagonal."""
        if self.blocks is None:
            return lambda Z: Z
        identity = torch.eye(len(self.R), dtype=self.R.dtype, device=self.R.device)
        factors = torch.linalg.cholesky_ex(self.blocks + mu * identity)
        if bool((factors.info > 0).any()):
            return lambda Z: Z

        def solve_blocks(Z: Array) -> Array:
            columns = (Z @ self.turn).T[:, :, None]
            return torch.cholesky_solve(columns, factors.L)[:, :, 0].T @ self.turn.T

        return solve_blocks


class Projected(System):
    """The coefficients cost nothing, so the equations are those outside the row space
    of Phi, ``P J dX = R``:

        dX = J^T z ,   (P J J^T P + mu) z = R ,   P = 1 - Vh^T Vh ,

    by conjugate gradients, preconditioned by ``(alpha^T alpha) kron K + mu``, where K
    (p, p) stands for the J_s J_s^T of all points, and of steps before this one, too.
    """

    def __init__(self, at: LinearisedMap, fit: Fit, typical: Typical) -> None:
        self.typical = typical
        self.products = 0  # of the last solution: many where K has become a poor guess
        super().__init__(at, fit)

    def _prepare(self) -> None:
        self.Vh = thin_svd(self.Phi).Vh
        self.g, self.H = torch.linalg.eigh(self.alpha.T @ self.alpha)

    def push(self, dX: Array, d_alpha: Array) -> Array:
        """``P J dX`` (p, r): d_alpha, which is zero, is fitted."""
        return self.outside(self.at.push(dX).T @ self.alpha)

    def pull(self, Z: Array) -> tuple[Array, Array]:
        """``J^T Z``, and no change of the coefficients."""
        return self.at.pull(self.alpha @ Z.T), torch.zeros_like(self.alpha)

    def outside(self, Z: Array) -> Array:
        """``P Z``: what the features of the points do not span."""
        return Z - self.Vh.T @ (self.Vh @ Z)

    def solve(self, damping: float, needed: float) -> tuple[Array, Array] | None:
        missed = norm(self.R) / math.sqrt(self.R.shape[1])
        accuracy = max(1e-8, min(0.3, max(2 * missed, 0.05 * needed)))
        mu = damping * self.mean
        z, self.products = conjugate_gradients(
            lambda Z: self.push(*self.pull(Z)) + mu * Z,
            self.outside(self.R),
            accuracy,
            self._preconditioner(mu),
            FEWER_PRODUCTS,
        )
        return self.pull(z)

    def _preconditioner(self, mu: float) -> Callable[[Array], Array]:
        """``P V [(V^T Z H) / (e g^T + mu)] H^T``."""
        V, e = self.typical
        if not len(e):
            return lambda Z: Z
        size = e[:, None] * self.g + mu
        return lambda Z: self.outside(V @ ((V.T @ Z @ self.H) / size) @ self.H.T)


def typical_of(at: LinearisedMap) -> Typical:
    """K at these points, decomposed; rounding leaves no eigenvalue below zero."""
    K = at.typical()
    if K is None:
        return Typical(torch.empty(0), torch.empty(0))
    e, V = torch.linalg.eigh(K)
    return Typical(V, e.clamp(min=0))


SYSTEMS: dict[str, type[System]] = {
    "equations": Equations,
    "unknowns": Unknowns,
    "products": Products,
}


class Systems:
    """The system of each step in turn: on the side asked for, or the smaller one, and
    by products where that has more than `DENSE` rows or the map gives only products.
    """

    def __init__(self, method: str | None) -> None:
        self.method = method
        self.last: Projected | None = None  # its K is kept while it serves

    def at(self, at: LinearisedMap, fit: Fit, d: int) -> System:
        """The system of a step from points at which the map is linearised."""
        p, r = fit.R.shape
        sizes = {"equations": r * p, "unknowns": len(fit.Phi) * (d + r)}
        method = self.method
        if method is None:
            method = min(sizes, key=lambda side: sizes[side])
            if isinstance(at, ProductsAt) or sizes[method] > DENSE:
                method = "products"
        if method == "products" and (isinstance(at, ProductsAt) or p > DENSE):
            last = self.last
            anew = last is None or last.products > MANY_PRODUCTS
            self.last = Projected(at, fit, typical_of(at) if anew else last.typical)
            return self.last
        return SYSTEMS[method](at, fit)


def solve_positive(M: Array, diagonal: Array, right: Array) -> Array | None:
    """``M^-1 right`` with the diagonal of M replaced; None where that is not positive
    definite to rounding.
    """
    M.diagonal().copy_(diagonal)
    L, failed = torch.linalg.cholesky_ex(M)
    return None if int(failed) else torch.cholesky_solve(right, L)


def conjugate_gradients(
    apply: Callable[[Array], Array],
    right: Array,
    accuracy: float,
    precondition: Callable[[Array], Array],
    most: int = MOST_PRODUCTS,
) -> tuple[Array, int]:
    """z with ``||right - apply(z)|| <= accuracy ||right||``, for a positive definite
    `apply`; less accurate where rounding or the number of products ends it. And that
    number.
    """
    z = torch.zeros_like(right)
    residual = right.clone()
    y = precondition(residual)
    direction = y
    energy = float((residual * y).sum())
    products = 0
    while products < most:
        products += 1
        image = apply(direction)
        curvature = float((direction * image).sum())
        if not curvature > 0:  # rounding
            break
        length = energy / curvature
        z = z + length * direction
        residual = residual - length * image
        if norm(residual) <= accuracy * norm(right):
            break
        y = precondition(residual)
        before, energy = energy, float((residual * y).sum())
        direction = y + (energy / before) * direction
    return z, products
