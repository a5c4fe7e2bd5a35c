"""Activations: one function for every entry.

A new one is one class: `forward` and `inverse`, its `kind`, the `numbers` of its
`__init__`, its `bounds` where it does not take every value, and in `torch_modules` the
layers of PyTorch that it is. It is saved, restored, converted and undone from there on.
(A class of this file is named in `ACTIVATIONS` as well, below.)
"""

import math
from typing import Any

from array_api_compat import array_namespace

from ..arrays import Array, check_arrays, check_lam, number
from .base import Map, check_overflow, room_factors


class Activation(Map):
    """One function for every entry; `bounds` are the ends of its range."""

    bounds: tuple[float, float] = (-math.inf, math.inf)
    attained = False  # whether the ends belong to the range
    margin = 0.05

    @property
    def obstacle(self) -> str | None:
        """The range, where it is not all of R."""
        if self.bounds == (-math.inf, math.inf):
            return None
        return (
            f"{type(self).__name__} is not onto: its range is {self._range}; "
            "use LeakyReLU"
        )

    @property
    def _range(self):
        ends = [f"{end:g}" for end in self.bounds]
        left, right = (
            "[]"[i] if self.attained and math.isfinite(end) else "()"[i]
            for i, end in enumerate(self.bounds)
        )
        return f"{left}{ends[0]}, {ends[1]}{right}"

    def check_reach(self, Phi: Array) -> None:
        """Refuse values that the function does not take, and count them."""
        xp, (low, high) = array_namespace(Phi), self.bounds
        if self.attained:
            bad = (Phi < low) | (Phi > high)
        else:
            bad = (Phi <= low) | (Phi >= high)
        if outside := int(xp.sum(xp.astype(bad, xp.int64))):
            ends = "included" if self.attained else "excluded"
            raise ValueError(
                f"{type(self).__name__} takes values between {low:g} and {high:g}, "
                f"ends {ends}: {outside} of {math.prod(Phi.shape)} values lie outside "
                f"(from {number(xp.min(Phi)):.3g} to {number(xp.max(Phi)):.3g}); "
                "scale the features into the range, or use an activation that is onto "
                "(LeakyReLU, Asinh)"
            )

    def solved(self, Z: Array, near: Array | None) -> Array:
        """The inverse, entry by entry: there is nothing to correct."""
        X = self.inverse(Z, near)
        check_overflow(self, Z, X)
        return X

    def range_scale(self, Phi: Array, *, margin: float | None = None) -> Array:
        """Largest c <= 1, one a row (m, 1), for which no entry of ``c * Phi`` is nearer
        to the ends of a symmetric range than `margin` of it; ones for other ranges.
        """
        low, high = self.bounds
        if not math.isfinite(high) or low != -high:
            return super().range_scale(Phi)
        return room_factors(Phi, high, self.margin if margin is None else margin)

    def lipschitz(self) -> float | None:
        """1: nothing is stretched."""
        return 1.0


class LeakyReLU(Activation):
    """``x`` for positive x, ``slope * x`` for others: bijective for every slope > 0.

    Parameters
    ----------
    slope : float
        Above 0. Small slopes amplify in `preimage`: negative features are divided by
        it.

    Raises
    ------
    ValueError
        For a slope of 0 (that is ReLU, which is not onto) or below.

    Notes
    -----
    Book: thm-surjective. Source: Chen, Huang and Weng (2024), Example 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> phi = LeakyReLU(0.5)
    >>> phi(np.array([[2.0, -2.0]])), phi.preimage(np.array([[2.0, -1.0]]))
    (array([[ 2., -1.]]), array([[ 2., -2.]]))
    """

    kind, numbers, torch_modules = "LeakyReLU", ("slope",), ("LeakyReLU", "PReLU")

    def __init__(self, slope: float = 0.1):
        self.slope = check_lam(slope, "slope")
        if self.slope == 0:
            raise ValueError(
                "slope = 0 is ReLU, which takes no negative value: it is not onto; use "
                "a slope above 0"
            )

    @classmethod
    def from_torch(cls, layer: Any) -> "LeakyReLU":
        """Of the same slope."""
        prelu = not hasattr(layer, "negative_slope")
        slopes = layer.weight.tolist() if prelu else [layer.negative_slope]
        if len(slopes) > 1:
            raise ValueError(
                f"has {len(slopes)} slopes, which is not supported; use one"
            )
        if not slopes[0] > 0:
            raise ValueError(
                f"is not onto: its slope is {slopes[0]:g}; a positive one is needed"
            )
        return cls(float(slopes[0]))

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope:g})"

    def forward(self, X: Array) -> Array:
        """``x`` or ``slope * x``."""
        return array_namespace(X).where(X > 0, X, self.slope * X)

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``z`` or ``z / slope``."""
        return array_namespace(Z).where(Z > 0, Z, Z / self.slope)

    def lipschitz(self) -> float:
        """The largest slope."""
        return max(self.slope, 1.0)

    def condition(self) -> float:
        """Largest over smallest slope."""
        return max(self.slope, 1 / self.slope)


class Asinh(Activation):
    """``log(x + sqrt(x^2 + 1))``: smooth, bijective, near x at zero; undone by sinh.

    Features of size 10 already come from inputs of size 1e4: scale them down.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Asinh()
    >>> phi(phi.preimage(np.array([[0.0, -3.0]])))
    array([[ 0., -3.]])
    """

    kind = "Asinh"

    def forward(self, X: Array) -> Array:
        """``asinh(x)``."""
        return array_namespace(X).asinh(X)

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``sinh(z)``."""
        return array_namespace(Z).sinh(Z)


class Tanh(Activation):
    """Hyperbolic tangent: onto the open cube (-1, 1)^p, and nothing outside.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Tanh()
    >>> phi(phi.preimage(np.array([[0.5, -0.5]]))).round(12), phi.is_onto()
    (array([[ 0.5, -0.5]]), False)
    """

    kind, bounds, torch_modules = "Tanh", (-1.0, 1.0), ("Tanh",)

    def forward(self, X: Array) -> Array:
        """``tanh(x)``."""
        return array_namespace(X).tanh(X)

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``atanh(z)``."""
        return array_namespace(Z).atanh(Z)


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``: onto (0, 1)^p, and nothing outside.

    No scaling brings negative features into this range: where you can, use `Tanh`.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid().preimage(np.array([[0.5]]))
    array([[0.]])
    """

    kind, bounds, torch_modules = "Sigmoid", (0.0, 1.0), ("Sigmoid",)

    def forward(self, X: Array) -> Array:
        """``1 / (1 + exp(-x))``."""
        xp = array_namespace(X)
        e = xp.exp(-xp.abs(X))  # never overflows
        return xp.where(X >= 0, 1 / (1 + e), e / (1 + e))

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``log(z / (1 - z))``."""
        xp = array_namespace(Z)
        return xp.log(Z) - xp.log1p(-Z)


class ReLU(Activation):
    """``max(x, 0)``: takes no negative value, so it is not onto.

    A feature 0 comes from every input up to 0: the one nearest to `near` is taken, 0
    without `near`.

    Notes
    -----
    Book: thm-surjective. Distilled features have negative entries, whatever their
    scale: use `LeakyReLU`.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU().preimage(np.array([[2.0, 0.0]]), near=np.array([[5.0, -3.0]]))
    array([[ 2., -3.]])
    """

    kind, bounds, attained = "ReLU", (0.0, math.inf), True
    torch_modules = ("ReLU",)

    def check_reach(self, Phi: Array) -> None:
        """Refuse negative features, and count them."""
        xp = check_arrays(Phi=Phi)
        if negative := int(xp.sum(xp.astype(Phi < 0, xp.int64))):
            raise ValueError(
                f"ReLU is not onto: it takes no negative value, and {negative} of "
                f"{math.prod(Phi.shape)} features are negative (the smallest is "
                f"{number(xp.min(Phi)):.3g}); use LeakyReLU, onto for every slope > 0"
            )

    def forward(self, X: Array) -> Array:
        """``max(x, 0)``."""
        return array_namespace(X).where(X > 0, X, 0 * X)

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``z``; where it is 0, what is nearest to `near`."""
        xp = array_namespace(Z)
        free = 0 * Z if near is None else xp.where(near < 0, near, 0 * near)
        return xp.where(Z > 0, Z, free)


# Those of this file: a copy of what restores or converts maps holds them, too.
ACTIVATIONS = (LeakyReLU, Asinh, Tanh, Sigmoid, ReLU)
