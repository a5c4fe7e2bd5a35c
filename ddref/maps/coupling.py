"""Affine couplings: bijective steps of a flow, whatever functions are inside."""

from collections.abc import Callable

from array_api_compat import array_namespace

from ..arrays import Array, check_arrays, check_count
from .base import Map


class AffineCoupling(Map):
    """A RealNVP step: half of the entries passes, the rest is scaled and shifted by
    functions of it.

    ``z_1 = x_1``, ``z_2 = x_2 exp(s(x_1)) + t(x_1)``: bijective whatever s and t are.

    Parameters
    ----------
    d : int
        Width, at least 2.
    log_scale, shift : callable
        s and t: rows (n, half) to rows (n, d - half), in the library of the inputs;
        feature maps do, and can be saved.
    half : int, optional
        How many entries pass unchanged; default d // 2.
    swap : bool
        True: the last `half` entries pass, and the others are changed. Alternate, so
        that all are.

    Notes
    -----
    Book: ex-coupling. Source: Dinh, Sohl-Dickstein and Bengio (2017), eq. (7)-(8);
    Chen, Huang and Weng (2024), Example 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> phi = AffineCoupling(2, log_scale=lambda x: 0 * x, shift=lambda x: x**2)
    >>> phi(np.array([[3.0, 1.0]])), phi.preimage(np.array([[3.0, 10.0]]))
    (array([[ 3., 10.]]), array([[3., 1.]]))
    """

    kind, numbers, maps = (
        "AffineCoupling",
        ("d", "half", "swap"),
        ("log_scale", "shift"),
    )

    def __init__(
        self,
        d: int,
        log_scale: Callable[[Array], Array],
        shift: Callable[[Array], Array],
        *,
        half: int | None = None,
        swap: bool = False,
    ):
        self.d = self.input_dim = self.output_dim = check_count(d, "d", 2)
        self.half = d // 2 if half is None else check_count(half, "half")
        if self.half >= d:
            raise ValueError(
                f"half = {self.half} leaves none of the d = {d} entries to change; use "
                f"1 to {d - 1}"
            )
        self.log_scale, self.shift, self.swap = log_scale, shift, bool(swap)

    def forward(self, X: Array) -> Array:
        """``(x_1, x_2 exp(s(x_1)) + t(x_1))``."""
        kept, changed = self._split(X)
        s, t = self._functions(kept)
        return self._join(kept, changed * array_namespace(X).exp(s) + t)

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """``(z_1, (z_2 - t(z_1)) exp(-s(z_1)))``; `near` changes nothing."""
        kept, changed = self._split(Z)
        s, t = self._functions(kept)
        xp = array_namespace(Z)
        x = (changed - t) * xp.exp(-s)
        x = x + (changed - (x * xp.exp(s) + t)) * xp.exp(-s)  # what rounding left
        return self._join(kept, x)

    def _split(self, X):
        cut = self.d - self.half if self.swap else self.half
        halves = X[:, :cut], X[:, cut:]
        return halves[::-1] if self.swap else halves

    def _join(self, kept, changed):
        halves = (changed, kept) if self.swap else (kept, changed)
        return array_namespace(kept).concat(halves, axis=1)

    def _functions(self, kept):
        s, t = self.log_scale(kept), self.shift(kept)
        expected = kept.shape[0], self.d - self.half
        for name, value in (("log_scale", s), ("shift", t)):
            if tuple(value.shape) != expected:
                raise ValueError(
                    f"{name} returned rows of shape {tuple(value.shape)}, {expected} "
                    "are needed"
                )
        try:
            check_arrays(kept=kept, log_scale=s, shift=t)
        except RuntimeError:
            pass  # inside torch.func.vmap no entry can be looked at
        return s, t
