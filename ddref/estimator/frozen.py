"""A frozen network of PyTorch as the feature map of an estimator: any differentiable
one, onto or not, by the solver in the place of a pre-image.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from ..arrays import Array
from ..nonsurjective import generic_count

ENOUGH = 1.5  # points taken, over those that the equations count
CHUNK = 1024  # rows that go through a network at a time


class FrozenNetwork:
    """A copy of a network, in evaluation mode and float64, on rows (n, d).

    Parameters
    ----------
    network : torch.nn.Module
        Takes rows (n, d), or images (n, channels, height, width) where `image_shape` is
        given.
    image_shape : tuple of int, optional
        (height, width) or (height, width, channels) of a row.
    """

    def __init__(
        self, network: Any, image_shape: tuple[int, ...] | None = None
    ) -> None:
        self.network = copy.deepcopy(network).double().eval().requires_grad_(False)
        self.image_shape = image_shape
        self.output_dim: int | None = None  # known after the first call

    def __call__(self, X: Array) -> Array:
        """Features (n, p)."""
        if len(X) > CHUNK and not X.requires_grad:
            xp = array_namespace(X)
            parts = (self(X[i : i + CHUNK]) for i in range(0, len(X), CHUNK))
            return xp.concat(list(parts), axis=0)
        if self.image_shape is not None and self._takes_images():
            height, width, *channels = self.image_shape
            X = X.reshape(len(X), height, width, *(channels or [1]))
            X = X.permute(0, 3, 1, 2)
        Phi = self.network(X).flatten(1)
        self.output_dim = Phi.shape[1]
        return Phi

    def _takes_images(self):
        """Whether the first layer with a matrix or more reads images."""
        ranks = [A.ndim for A in self.network.parameters() if A.ndim > 1]
        return bool(ranks) and ranks[0] == 4


class FoundPoints:
    """A map at points that a solver has found: they are the pre-image."""

    def __init__(self, phi: Any) -> None:
        self.phi, self.output_dim = phi, None

    def __call__(self, X: Array) -> Array:
        return self.phi(X)

    def preimage(self, Phi: Array, near: Array) -> Array:
        """The points near which features are wanted."""
        return near


def is_network(phi: Any) -> bool:
    """Whether this is a network of PyTorch without a pre-image of its own."""
    return hasattr(phi, "state_dict") and not hasattr(phi, "preimage")


def enough_points(p: int, d: int, rank: int, intercept: bool) -> int:
    """Points that the solver starts with: half more than the equations count, and no
    more than span all features.

    Examples
    --------
    >>> enough_points(256, 64, 10, False)
    53
    """
    if rank == 0:
        return 1
    count = generic_count(p + intercept, d, rank)
    return min(math.ceil(ENOUGH * count), p + intercept)


def solved(
    phi: Any,
    W: Array,
    b: Array | None,
    X_0: Array,
    report: Callable[..., None] | None = None,
) -> tuple[Array, float, int]:
    """Points near X_0 whose features train W (p, k), with an intercept where b is
    given; the residual and the number of steps.

    With an intercept the coefficients sum to zero: one more feature, a constant, that
    the model does not use.
    """
    from ..nonsurjective import solve

    def told(progress: Any) -> None:
        if report is not None:
            report(f"moving {len(X_0)} points, step {progress.step}")

    xp, features = array_namespace(W), phi
    if b is not None:
        size = float(phi(X_0).std()) or 1.0
        W = xp.concat([W, 0 * W[:1, :]], axis=0)

        def features(X):
            Phi = phi(X)
            return xp.concat([Phi, size + 0 * Phi[:, :1]], axis=1)

    # judged by the estimator, with the intercept and scaling that it trains with
    found = solve(features, W, X_0, tol=1e-13, callback=told, unfinished=True)
    return found.X_S, found.residual, found.steps
