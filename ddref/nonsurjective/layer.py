"""A map of one layer, whose structure makes the steps of the solver cheap."""

import math
from typing import Any

import torch

from ..arrays import Array, check_arrays, check_lam

ACTIVATIONS = {  # value, and derivative from the argument and the value
    "tanh": (torch.tanh, lambda Z, F: 1 - F * F),
    "sigmoid": (torch.sigmoid, lambda Z, F: F * (1 - F)),
    "softplus": (torch.nn.functional.softplus, lambda Z, F: torch.sigmoid(Z)),
    "asinh": (torch.asinh, lambda Z, F: (Z * Z + 1).rsqrt()),
    "cos": (torch.cos, lambda Z, F: -torch.sin(Z)),
    "sin": (torch.sin, lambda Z, F: torch.cos(Z)),
}
WITH_KINK = ("relu", "leaky_relu")


class OneLayer:
    """``phi(X) = scale * act(X A + b)``: a map whose structure makes the steps of
    `solve` cheap.

    Parameters
    ----------
    A : tensor (d, p)
        Float64 or float32. The transpose of the weight of `torch.nn.Linear`.
    b : tensor (p,), optional
        Biases; default none.
    activation : str
        "tanh", "sigmoid", "softplus", "asinh", "cos", "sin", "relu" or "leaky_relu".
    slope : float
        Of "leaky_relu", for negative arguments.
    scale : float
        Factor of all features, for instance ``sqrt(2 / p)`` for random Fourier
        features.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN, an unknown activation, arrays that are not
        PyTorch tensors.

    Notes
    -----
    Book: eq-layer-normal.

    Examples
    --------
    >>> import torch
    >>> A = torch.tensor([[1.0, -2.0]]).double()
    >>> phi = OneLayer(A, activation="leaky_relu", slope=0.5)
    >>> phi(torch.tensor([[3.0]]).double())
    tensor([[ 3., -3.]], dtype=torch.float64)
    """

    def __init__(
        self,
        A: Array,
        b: Array | None = None,
        activation: str = "tanh",
        *,
        slope: float = 0.1,
        scale: float = 1.0,
    ) -> None:
        b = _bias_row(A, b)
        check_arrays(A=A, b=b)
        known = sorted([*ACTIVATIONS, *WITH_KINK])
        if activation not in known:
            raise ValueError(
                f"activation must be one of {', '.join(known)}, got {activation!r}"
            )
        self.A = A.detach().clone()
        self.b = b
        self.activation = activation
        self.slope = check_lam(slope, "slope")
        self.scale = float(scale)
        if not 0 < abs(self.scale) < math.inf:
            raise ValueError(f"scale = {scale} must be finite and not zero")
        self.input_dim, self.output_dim = A.shape
        self._below = 0.0 if activation == "relu" else self.slope  # of the kink

    def __repr__(self) -> str:
        return f"OneLayer({self.input_dim} -> {self.output_dim}, {self.activation})"

    def __call__(self, X: Array) -> Array:
        """Features (n, p) of the rows `X` (n, d); differentiable."""
        Z = self.arguments(X)
        if self.has_kink:
            return self.scale * torch.where(Z > 0, Z, self._below * Z)
        value, _ = ACTIVATIONS[self.activation]
        return self.scale * value(Z)

    @property
    def has_kink(self) -> bool:
        """Whether the derivative jumps, at arguments that are zero."""
        return self.activation in WITH_KINK

    def arguments(self, X: Array) -> Array:
        """``X A + b`` (n, p): what the activation is applied to."""
        return X @ self.A if self.b is None else X @ self.A + self.b

    def derivative(self, X: Array, blur: float = 0.0) -> Array:
        """``scale * act'(X A + b)`` (n, p): the Jacobian at the row x is
        ``diag(derivative(x)) A^T``.

        With `blur` above 0 the kink of "relu" and "leaky_relu" is smoothed over
        arguments of that size: a step that crosses kinks is predicted better so, and
        features that are off everywhere can be switched on.
        """
        Z = self.arguments(X)
        if self.has_kink:
            above = torch.sigmoid(Z / blur) if blur else (Z > 0).to(Z.dtype)
            return self.scale * (self._below + (1 - self._below) * above)
        value, derivative = ACTIVATIONS[self.activation]
        return self.scale * derivative(Z, value(Z))


def as_layer(phi: Any) -> OneLayer | None:
    """`phi` as a `OneLayer`: what it is, or what a Sequential of Linear and an
    activation is; None for every other map.

    Softplus counts with its default beta and threshold, which are those of `OneLayer`.

    Examples
    --------
    >>> import torch
    >>> as_layer(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()))
    OneLayer(2 -> 3, tanh)
    """
    if isinstance(phi, OneLayer):
        return phi
    if type(phi) is not torch.nn.Sequential or len(phi) != 2:
        return None
    linear, activation = phi
    names = {
        torch.nn.Tanh: "tanh",
        torch.nn.Sigmoid: "sigmoid",
        torch.nn.Softplus: "softplus",
        torch.nn.ReLU: "relu",
        torch.nn.LeakyReLU: "leaky_relu",
    }
    name = names.get(type(activation))
    if type(linear) is not torch.nn.Linear or name is None:
        return None
    if name == "softplus" and (activation.beta, activation.threshold) != (1, 20):
        return None
    slope = getattr(activation, "negative_slope", 0.1)
    return OneLayer(linear.weight.T, linear.bias, name, slope=slope)


def check_tensors(**tensors: object) -> None:
    """Refuse what is no PyTorch tensor; None is passed over."""
    for name, A in tensors.items():
        if A is not None and not isinstance(A, torch.Tensor):
            kind = f"{type(A).__module__}.{type(A).__name__}"
            raise TypeError(
                f"{name} must be a PyTorch tensor, got {kind}; "
                "torch.from_numpy converts an array"
            )


def _bias_row(A: Array, b: Array | None) -> Array | None:
    """The biases as a row of their own memory."""
    check_tensors(A=A, b=b)
    if b is None:
        return None
    p = A.shape[-1]
    if tuple(b.shape) not in ((p,), (1, p)):
        raise ValueError(
            f"b must have shape ({p},), it is {tuple(b.shape)}; A is {tuple(A.shape)}"
        )
    return b.detach().reshape(1, -1).clone()
