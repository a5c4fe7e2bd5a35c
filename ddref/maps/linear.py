"""Linear layers: ``X A + b``, and the same for every column alone, ``X * a + b``."""

import math
from functools import cached_property
from typing import Any

from array_api_compat import array_namespace

from ..arrays import (
    Array,
    ThinSVD,
    check_arrays,
    check_lam,
    eps_of,
    norm,
    number,
    thin_svd,
)
from .base import EPS, Map, own_copy, rounded, row_norms


class Affine(Map):
    """``phi(X) = linear(X) + shift``.

    A subclass gives `linear(X)`, `right(R)`, the rows of smallest norm that `linear`
    maps to `R`, the `shift` (1, p) or None, and `extremes()`, the smallest and the
    largest singular value.
    """

    shift: Array | None = None

    def linear(self, X: Array) -> Array:
        """The map without its shift."""
        raise NotImplementedError

    def right(self, R: Array) -> Array:
        """The rows of smallest norm that `linear` maps to `R`."""
        raise NotImplementedError

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest singular value."""
        raise NotImplementedError

    def forward(self, X: Array) -> Array:
        """``linear(X) + shift``."""
        Z = self.linear(X)
        return Z if self.shift is None else Z + self.shift

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``near + (Z - phi(near)) A^+``: of all inputs with features `Z`, the nearest
        to `near`, or to zero.
        """
        if near is None:
            return self.right(Z if self.shift is None else Z - self.shift)
        return near + self.right(Z - self.forward(near))

    def lipschitz(self) -> float:
        """The largest singular value."""
        return self.extremes()[1]

    def condition(self) -> float:
        """Largest over smallest singular value; inf where it is not onto."""
        if not self.is_onto():
            return math.inf
        low, high = self.extremes()
        return high / low

    def rounding(self, X: Array, Z: Array) -> Array:
        """At most what the sizes of `X`, `Z` and the shift explain."""
        shift = 0.0 if self.shift is None else norm(self.shift)
        return 100 * EPS * (self.lipschitz() * row_norms(X) + row_norms(Z) + shift)


class Linear(Affine):
    """``phi(X) = X A + b``, onto if and only if `A` has full column rank (so p <= d).

    Parameters
    ----------
    A : array (d, p)
        Weights; copied, as is `b`. PyTorch's ``nn.Linear`` stores the transpose.
    b : array (p,), optional
        Biases; default none. The attribute has shape (1, p).
    rtol : float, optional
        Singular values of `A` up to `rtol` times the largest count as zero. Default:
        max(d, p) * eps of the dtype.

    Raises
    ------
    ValueError, TypeError
        For weights that are not finite, or biases of another shape. `preimage` refuses
        a layer that is not onto, with its rank.

    Notes
    -----
    Book: prop-linear-preimage. Source: Chen, Huang and Weng (2024), Example 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Linear(np.array([[2.0], [0.0]]))  # two inputs, one feature
    >>> phi.preimage(np.array([[6.0]]), near=np.array([[1.0, 5.0]]))  # one is free
    array([[3., 5.]])
    """

    kind, numbers, arrays = "Linear", ("rtol",), ("A", "b")

    def __init__(self, A: Array, b: Array | None = None, *, rtol: float | None = None):
        check_arrays(A=A)
        self.A, self.b = own_copy(A), bias_row(b, A)
        self.input_dim, self.output_dim = A.shape
        self.rtol = None if rtol is None else check_lam(rtol, "rtol")
        self.shift = self.b

    def linear(self, X: Array) -> Array:
        """``X A``."""
        return X @ self.A

    def right(self, R: Array) -> Array:
        """``R A^+``."""
        return ((R @ self.svd.Vh.mT) / self.svd.s) @ self.svd.U.mT

    @cached_property
    def svd(self) -> ThinSVD:
        """SVD of `A` in float64, cut at its rank in the dtype it has."""
        cut = max(self.A.shape) * eps_of(self.A) if self.rtol is None else self.rtol
        return thin_svd(rounded(self.A, None), cut)

    @property
    def rank(self) -> int:
        """Number of singular values of `A` above `rtol` times the largest."""
        return self.svd.rank

    @cached_property
    def obstacle(self) -> str | None:
        """The rank, where it is less than the number of columns."""
        d, p = self.A.shape
        if self.rank == p:
            return None
        kind = "more features than inputs" if p > d else "a rank-deficient layer"
        single = " (judged in float32; float64 may see more)"
        return (
            f"X A + b with A of shape (d, p) = ({d}, {p}) and rank {self.rank} is not "
            f"onto R^{p}: {kind}; use p <= d, at most {self.rank} columns"
            f"{single if eps_of(self.A) > EPS else ''}"
        )

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest singular value that count."""
        s = self.svd.s
        return (number(s[-1]), number(s[0])) if self.rank else (0.0, 0.0)


class Scale(Affine):
    """``phi(X) = X * a + b``, column by column; onto where no factor is zero.

    Parameters
    ----------
    a : array (d,)
        Factors; those up to d * eps times the largest count as zero.
    b : array (d,), optional
        Shifts; default none. The attributes have shape (1, d).

    Notes
    -----
    Book: prop-linear-preimage. With a diagonal matrix, it is batch normalisation once
    that is trained.

    Examples
    --------
    >>> import numpy as np
    >>> Scale(np.array([2.0, 4.0])).preimage(np.array([[6.0, 2.0]]))
    array([[3. , 0.5]])
    """

    kind, arrays, torch_modules = (
        "Scale",
        ("a", "b"),
        ("BatchNorm1d", "BatchNorm2d"),
    )

    def __init__(self, a: Array, b: Array | None = None):
        row = array_namespace(a).reshape(a, (1, -1))
        check_arrays(a=row)
        self.a, self.b = own_copy(row), bias_row(b, row)
        self.input_dim = self.output_dim = row.shape[1]
        self.shift = self.b

    @classmethod
    def from_torch(cls, layer: Any) -> "Scale":
        """Batch normalisation with its running mean and variance."""
        if layer.training or layer.running_mean is None:
            raise ValueError(
                "normalises with the mean of each batch, so that the features of a row "
                "depend on the others; call net.eval() on a network with running means"
            )
        a = (layer.running_var.detach().double() + layer.eps) ** -0.5
        a = a if layer.weight is None else a * layer.weight.detach().double()
        b = -layer.running_mean.detach().double() * a
        b = b if layer.bias is None else b + layer.bias.detach().double()
        return cls(*(A.to(layer.running_mean.dtype) for A in (a, b)))

    def repeated(self, times: int) -> "Scale":
        """The same for channels of `times` entries each."""
        xp = array_namespace(self.a)
        rows = (self.a, self.b)
        return Scale(*(A if A is None else xp.repeat(A, times, axis=1) for A in rows))

    def linear(self, X: Array) -> Array:
        """``X * a``."""
        return X * self.a

    def right(self, R: Array) -> Array:
        """``R / a``."""
        return R / self.a

    @cached_property
    def obstacle(self) -> str | None:
        """How many factors are zero."""
        xp = array_namespace(self.a)
        size = xp.abs(self.a)
        cut = self.a.shape[1] * eps_of(self.a) * number(xp.max(size))
        zero = int(xp.sum(xp.astype(size <= cut, xp.int64)))
        if zero == 0:
            return None
        return (
            f"X * a + b is not onto: {zero} of {self.input_dim} factors are zero; "
            "leave these columns out"
        )

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest factor in size."""
        xp = array_namespace(self.a)
        size = xp.abs(self.a)
        return number(xp.min(size)), number(xp.max(size))


def bias_row(b: Array | None, A: Array) -> Array | None:
    """Biases as a row of their own (1, p), checked against weights `A` (d, p)."""
    if b is None:
        return None
    if tuple(b.shape) not in ((A.shape[1],), (1, A.shape[1])):
        raise ValueError(
            f"b must have shape ({A.shape[1]},), it is {tuple(b.shape)}; A is "
            f"{tuple(A.shape)}"
        )
    b = array_namespace(b).reshape(b, (1, -1))
    check_arrays(A=A, b=b)
    return own_copy(b)
