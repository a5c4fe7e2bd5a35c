"""A map as it is to first order: what a step of the solver knows of it.

At the points X, phi(x_s + dx_s) is about phi(x_s) + J_s dx_s, with J_s (p, d).
`LayerAt`, `JacobianAt` and `ProductsAt` hold the J_s in three ways, and answer the same
questions:

    push(dX)        J_s dx_s, changes of the features (m, p)
    pull(Z)         J_s^T z_s, the adjoint (m, d)
    squares()       ||J_s||_F^2 (m,)
    equations(a)    sum_s a_s a_s^T kron J_s J_s^T, as (r, p, r, p)
    blocks(a)       its r blocks on the diagonal (r, p, p); None where not to be had
    transposed()    J_s^T (m, d, p)
    typical()       the mean of J_s J_s^T over a few points (p, p); None for p too large

A map that knows its derivative has a method `linearise`: called with points X it gives
an object with `push`, `pull` and `jacobians()` (m, p, d), as `ddref.maps.Patches` does.
"""

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ..arrays import Array, norm
from .layer import OneLayer, as_layer

STORED = 2**28  # entries of the Jacobians of all points up to which they are kept
AT_ONCE = 2**26  # entries of a temporary array
TYPICAL = 10  # points whose J_s J_s^T stand for those of all
LARGEST = 2**13  # features up to which that matrix is formed and decomposed
BLUR = 3.0  # kinks are smoothed over so many times the last change of the arguments

# PyTorch has one forward mode a process: two threads in it get wrong derivatives.
FORWARD_MODE = threading.RLock()


class LayerAt:
    """One layer: ``J_s = diag(D_s) A^T``, so ``J_s J_s^T = (A^T A) o (D_s D_s^T)``."""

    def __init__(self, layer: OneLayer, X: Array, blur: float = 0.0) -> None:
        self.D = layer.derivative(X, blur).to(torch.float64)  # (m, p), its rows are D_s
        self.A = layer.A.to(torch.float64)
        self.gram = self.A.T @ self.A

    def push(self, dX: Array) -> Array:
        return (dX @ self.A) * self.D

    def pull(self, Z: Array) -> Array:
        return (Z * self.D) @ self.A.T

    def squares(self) -> Array:
        return self.D**2 @ self.gram.diagonal()

    def equations(self, alpha: Array) -> Array:
        m, p = self.D.shape
        r = alpha.shape[1]
        # Column s of V holds alpha_sa D_sj: row a p + j is for the entry (j, a) of W.
        V = (alpha.T[:, None, :] * self.D.T).reshape(r * p, m)
        return (V @ V.T).view(r, p, r, p).mul_(self.gram[None, :, None, :])

    def blocks(self, alpha: Array) -> Array | None:
        squared = (alpha**2).T
        products = [(self.D * weight[:, None]).T @ self.D for weight in squared]
        return torch.stack(products).mul_(self.gram)

    def transposed(self) -> Array:
        return self.D[:, None, :] * self.A

    def typical(self) -> Array | None:
        if len(self.gram) > LARGEST:
            return None
        few = spread(self.D)
        return (few.T @ few) * self.gram / len(few)


class JacobianAt:
    """Any map, with its Jacobians J (m, p, d)."""

    def __init__(self, J: Array) -> None:
        self.J = J

    def push(self, dX: Array) -> Array:
        return (self.J @ dX[:, :, None])[:, :, 0]

    def pull(self, Z: Array) -> Array:
        return (Z[:, None, :] @ self.J)[:, 0, :]

    def squares(self) -> Array:
        return (self.J**2).sum(dim=(1, 2))

    def equations(self, alpha: Array) -> Array:
        p, r = self.J.shape[1], alpha.shape[1]
        pairs = (alpha[:, :, None] * alpha[:, None, :]).view(len(alpha), r * r)
        M = self._weighted_products(pairs).view(r, r, p, p)
        return M.permute(0, 2, 1, 3).contiguous()

    def blocks(self, alpha: Array) -> Array | None:
        return self._weighted_products(alpha**2)

    def transposed(self) -> Array:
        return self.J.mT

    def typical(self) -> Array | None:
        return None if self.J.shape[1] > LARGEST else mean_gram(spread(self.J))

    def _weighted_products(self, weights: Array) -> Array:
        """``sum_s weights_sj J_s J_s^T`` for each column j, some points at a time."""
        m, p, _ = self.J.shape
        total = self.J.new_zeros(weights.shape[1], p * p)
        for rows in torch.arange(m).split(max(1, AT_ONCE // p**2)):
            J = self.J[rows]
            total.addmm_(weights[rows].T, (J @ J.mT).reshape(len(rows), p * p))
        return total.view(-1, p, p)


class AutogradAt:
    """Any map whose Jacobians are too large to keep, by automatic differentiation."""

    def __init__(self, phi: Callable[[Array], Array], X: Array, p: int) -> None:
        self.phi = phi
        self.X = X
        self.p = p

    def push(self, dX: Array) -> Array:
        with FORWARD_MODE:
            _, change = torch.func.jvp(self.phi, (self.X,), (dX.to(self.X.dtype),))
        return change.detach().to(torch.float64)

    def pull(self, Z: Array) -> Array:
        _, back = torch.func.vjp(self.phi, self.X)
        return back(Z.to(self.X.dtype))[0].detach().to(torch.float64)

    def jacobians(self) -> Array:
        J = _jacobian_function(self.phi, self.X, self.p)(self.X)
        return J.to(torch.float64)


class ProductsAt:
    """A map by products with its Jacobians: `linearise` gives them for some points."""

    def __init__(self, linearise: Callable[[Array], Any], X: Array, p: int) -> None:
        self.linearise = linearise
        self.X = X
        self.p = p
        self.at = linearise(X)
        self.free: Array | None = None  # (m, d), where only some coordinates may change

    def push(self, dX: Array) -> Array:
        return self.at.push(dX if self.free is None else dX * self.free)

    def pull(self, Z: Array) -> Array:
        back = self.at.pull(Z)
        return back if self.free is None else back * self.free

    def squares(self) -> Array:
        # E ||J^T e||^2 = ||J||_F^2 for random signs e; the size is enough
        generator = torch.Generator().manual_seed(0)
        shape = 4, len(self.X), self.p
        signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
        signs = signs.to(self.X.device, torch.float64)
        return torch.stack([(self.pull(e) ** 2).sum(dim=1) for e in signs]).mean(dim=0)

    def equations(self, alpha: Array) -> Array:
        return self._written_out().equations(alpha)

    def blocks(self, alpha: Array) -> Array | None:
        return None

    def transposed(self) -> Array:
        return self._written_out().transposed()

    def typical(self) -> Array | None:
        if self.p > LARGEST or self.p * self.X.shape[1] > STORED:
            return None
        few = spread(self.X).split(1)  # one at a time, for the memory
        return mean_gram(self.linearise(x).jacobians()[0] for x in few)

    def _written_out(self) -> JacobianAt:
        if self.X.numel() * self.p > STORED:
            raise ValueError(
                f"the Jacobians have more than {STORED} entries; use method='products'"
            )
        J = self.at.jacobians()
        return JacobianAt(J if self.free is None else J * self.free[:, None, :])


LinearisedMap = LayerAt | JacobianAt | ProductsAt


def with_free(at: LinearisedMap, free: Array) -> LinearisedMap:
    """The map where only the coordinates change for which `free` (m, d) is True."""
    if isinstance(at, ProductsAt):
        at.free = free
        return at
    return JacobianAt((at.transposed() * free[:, :, None]).mT)


def spread(rows: Array) -> Array:
    """A few rows from first to last."""
    which = torch.linspace(0, len(rows) - 1, min(TYPICAL, len(rows))).round().long()
    return rows[which.to(rows.device)]


def mean_gram(jacobians: Iterable[Array]) -> Array:
    """The mean of J_s J_s^T."""
    grams = [J @ J.T for J in jacobians]
    return torch.stack(grams).mean(dim=0)


class Linearisation:
    """Linearises a map at the points of every step, in the cheapest way there is."""

    def __init__(self, phi: Callable[[Array], Array], X_0: Array, p: int) -> None:
        self.phi = phi
        self.p = p
        self.layer = as_layer(phi)
        self.dtype = X_0.dtype
        self.jacobians: Callable[[Array], Array] | None = None
        self.blur = 0.0  # size of the arguments over which a kink is smoothed
        if self.layer is not None and self.layer.has_kink:
            self.blur = float(self.layer.arguments(X_0).std())

    def __call__(self, X: Array) -> LinearisedMap:
        """The map at the points `X` (m, d)."""
        X = X.to(self.dtype)
        m, d = X.shape
        if self.layer is not None:
            return LayerAt(self.layer, X, self.blur)
        if hasattr(self.phi, "linearise"):
            return ProductsAt(self.phi.linearise, X, self.p)
        if m * self.p * d > STORED:
            phi, p = self.phi, self.p
            return ProductsAt(lambda X: AutogradAt(phi, X, p), X, p)
        if self.jacobians is None:
            self.jacobians = _jacobian_function(self.phi, X, self.p)
        return JacobianAt(self.jacobians(X).to(torch.float64))

    def sharpen(self, dX: Array, R: Array) -> None:
        """The points have changed by dX, and R is left: over what size of the arguments
        kinks are smoothed next.
        """
        if self.blur and self.layer is not None:
            changes = dX @ self.layer.A.to(dX.dtype)
            change = norm(changes) / math.sqrt(changes.numel())
            far = min(1.0, 1000 * norm(R) / math.sqrt(R.shape[1]))  # 0.0 at the end
            smallest = torch.finfo(self.dtype).tiny
            self.blur = max(BLUR * far * change, smallest)


def _jacobian_function(
    phi: Callable[[Array], Array], X: Array, p: int
) -> Callable[[Array], Array]:
    """X to J (m, p, d): forward differentiation row by row for d < p, and reverse
    differentiation of the batch.
    """

    def forward(X: Array) -> Array:
        one = torch.func.jacfwd(lambda x: phi(x[None, :])[0])
        with FORWARD_MODE:
            return torch.func.vmap(one)(X).detach()

    def reverse(X: Array) -> Array:
        m, d = X.shape
        _, back = torch.func.vjp(phi, X)
        J = X.new_empty(p, m, d)
        for outputs in torch.arange(p).split(max(1, AT_ONCE // (2 * m * max(p, d)))):
            wanted = X.new_zeros(len(outputs), m, p)
            wanted[torch.arange(len(outputs)), :, outputs] = 1
            J[outputs] = torch.func.vmap(back)(wanted)[0].detach()
        return J.transpose(0, 1).contiguous()

    if X.shape[1] < p:
        try:
            forward(X[:1])
            return forward
        except RuntimeError:
            pass  # phi looks at values, as checks of its input do: vmap cannot follow
    return reverse
