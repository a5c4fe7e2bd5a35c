"""Convolutional networks that can be inverted: each layer with an exact right inverse, in PyTorch.

A feature map is called on rows, images flattened in the order (channel, row, column): ``phi(X) -> Phi``. It is onto
when each of its steps is, and then ``phi.preimage(Phi, near)`` returns rows with ``phi(X) = Phi``: where a step leaves
freedom, those nearest to what `near` gives there. A convolution is a linear map of the image: one whose patches do not
overlap is inverted patch by patch, any other through a block Cholesky factor of ``L L^T``. A step that is not onto is
refused with its rank.

`datasets` has colour images as (n, height, width, 3): move the channels to the front before flattening,
``X.transpose(0, 3, 1, 2).reshape(len(X), -1)``.
"""

import math

import torch
import torch.nn.functional as F
from array_api_compat import array_namespace, device

# L L^T squares the condition number of L: convolutions with overlapping patches are refused above these.
MAX_CONDITION = {torch.float64: 1e6, torch.float32: 1e4}
DENSE = 2**24  # entries of L up to which a doubtful convolution is written out, to find its rank


# -- input checks (the same lines in every room, so that each can be copied alone)
def check_arrays(**arrays):
    """Array namespace of 2-D, non-empty, finite, real arrays of one library, dtype and device."""
    arrays = {name: A for name, A in arrays.items() if A is not None}
    names = ", ".join(arrays)
    try:
        xp = array_namespace(*arrays.values())
    except TypeError as error:
        kinds = ", ".join(f"{name}: {type(A).__module__}.{type(A).__name__}" for name, A in arrays.items())
        raise TypeError(f"NumPy or PyTorch arrays of one library are needed, got {kinds}") from error
    for name, A in arrays.items():
        if A.dtype not in (xp.float32, xp.float64):
            raise TypeError(f"{name} has dtype {A.dtype}; convert it to float64 (or float32) first")
        if A.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions, rows are samples; its shape is {tuple(A.shape)}")
        if 0 in A.shape:
            raise ValueError(f"{name} is empty: its shape is {tuple(A.shape)}")
        if not bool(xp.all(xp.isfinite(A))):
            raise ValueError(f"{name} contains NaN or Inf")
    if len({str(A.dtype) for A in arrays.values()}) > 1:
        raise TypeError(f"{names} differ in dtype: {', '.join(str(A.dtype) for A in arrays.values())}")
    if len({str(device(A)) for A in arrays.values()}) > 1:
        raise ValueError(f"{names} are on different devices: {', '.join(str(device(A)) for A in arrays.values())}")
    return xp


def check_lam(lam, name="lam"):
    """`lam` as a float, refused when negative, NaN or infinite."""
    try:
        value = float(lam)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {type(lam).__name__}") from error
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} = {value} must be finite and not negative")
    return value


# -- end of input checks


class _Step:
    """What every map has in common.

    A subclass sets `input_dim`, `output_dim`, `dtype` and `device` (None: any), and defines `_forward(X)`;
    `_pull(Z, near)`, one pass of the inverse; `_moved(dtype, device)`, a copy; `_find_obstacle()`; `condition()`;
    `_norm()`, a Lipschitz constant; `_rounding(X, Z)`, what rounding in float64 does to ``phi(X) - Z``, row by row.
    """

    def __call__(self, X):
        """Features (n, output_dim) of the rows `X` (n, input_dim). Differentiable; NaN in gives NaN out."""
        self._check_rows(X, "X", self.input_dim)
        return self._forward(X)

    @property
    def obstacle(self):
        """Why the map is not onto, with the numbers; None for a map that is."""
        if not hasattr(self, "_obstacle"):
            with torch.no_grad():
                self._obstacle = self._find_obstacle()
        return self._obstacle

    def is_onto(self):
        """Whether `preimage` can reach every feature vector."""
        return self.obstacle is None

    @torch.no_grad()
    def preimage(self, Phi, near=None):
        """Rows X (n, input_dim) with ``phi(X) = Phi``, step by step the pre-image nearest to `near`.

        Parameters
        ----------
        Phi : tensor (n, output_dim)
            Features to reach, rows are samples.
        near : tensor (n, input_dim), optional
            Rows to stay close to. Default: each step takes its pre-image of smallest norm.

        Returns
        -------
        tensor (n, input_dim)
            Without gradient. Computed in float64, corrected by the residual of the forward map, then rounded to the
            dtype of the map.

        Raises
        ------
        ValueError
            When the map is not onto, or when ``phi(X) - Phi`` is more than rounding explains.
        """
        check_arrays(Phi=Phi, near=near)
        self._check_rows(Phi, "Phi", self.output_dim)
        if near is not None:
            self._check_rows(near, "near", self.input_dim)
            if near.shape[0] != Phi.shape[0]:
                raise ValueError(f"near has {near.shape[0]} rows and Phi has {Phi.shape[0]}; they must match")
            near = near.to(torch.float64)
        if self.obstacle is not None:
            raise ValueError(f"{self!r} is not onto: {self.obstacle}")
        double, Z = self._double(), Phi.to(torch.float64)
        X = _corrected(double, Z, double._pull(Z, near)).to(Phi.dtype)
        stored = X.to(torch.float64)
        missed = _row_norms(double._forward(stored) - Z)
        allowed = double._rounding(stored, Z) * (torch.finfo(Phi.dtype).eps * 2.0**52)
        if not bool((missed <= allowed).all()):
            i = int(torch.argmax(missed - allowed))
            raise ValueError(
                f"row {i}: the pre-image misses Phi by {float(missed[i]):.3g}, more than the {float(allowed[i]):.3g} "
                f"that rounding explains (condition number of the map: at most {self.condition():.3g}); use float64, "
                "or better conditioned layers"
            )
        return X

    def to(self, *, dtype=None, device=None):
        """A copy of the map in another dtype (float64 or float32) or on another device."""
        dtype = self.dtype if dtype is None else dtype
        if dtype not in (None, torch.float32, torch.float64):
            raise TypeError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
        return self._moved(dtype, self.device if device is None else torch.device(device))

    def _double(self):
        """The map in float64, where all that is inverted is inverted."""
        if self.dtype in (None, torch.float64):
            return self
        if not hasattr(self, "_copy"):
            self._copy = self._moved(torch.float64, self.device)
        return self._copy

    def _check_rows(self, X, name, dim):
        if not isinstance(X, torch.Tensor):
            raise TypeError(f"{name} must be a PyTorch tensor, got {type(X).__module__}.{type(X).__name__}")
        if X.ndim != 2 or X.shape[1] != dim:
            raise ValueError(f"{name} has shape {tuple(X.shape)}, expected (n, {dim}): rows are samples")
        if self.dtype is not None and (X.dtype != self.dtype or X.device != self.device):
            raise TypeError(
                f"{name} is {X.dtype} on {X.device}, the map {self.dtype} on {self.device}: convert one (see phi.to)"
            )


class _Affine(_Step):
    """``phi(X) = L(X) + bias``: a subclass gives L, its adjoint, and a factor of ``L L^T`` to solve with."""

    def _forward(self, X):
        return self._linear(X) if self._bias is None else self._linear(X) + self._bias

    def _pull(self, Z, near):
        if near is None:
            near = Z.new_zeros(Z.shape[0], self.input_dim)
        return near + self._right(Z - self._forward(near))

    def _right(self, R):
        """The rows of smallest norm that L maps to `R`: ``L^T (L L^T)^-1``."""
        return self._adjoint(self._solve(R))

    def rank(self):
        """Numerical rank of L: singular values above max(shape) * eps of the dtype, times the largest."""
        cutoff = max(self.input_dim, self.output_dim) * torch.finfo(self.dtype).eps
        s = self._double()._singular_values()
        return int((s > cutoff * s[0]).sum())

    def _precision(self):
        return "" if self.dtype == torch.float64 else " (judged in float32; float64, phi.to, may see more)"

    def condition(self):
        """Condition number of L, largest over smallest singular value; inf when the map is not onto."""
        low, high = self._double()._extremes() if self.is_onto() else (0.0, 1.0)
        return high / low if low else math.inf

    def _norm(self):
        return self._extremes()[1]

    def _rounding(self, X, Z):
        shift = 0.0 if self._bias is None else float(torch.linalg.vector_norm(self._bias))
        return 100 * 2.0**-52 * (self._norm() * _row_norms(X) + _row_norms(Z) + shift)

    def _singular_values(self):
        with torch.no_grad():
            return torch.linalg.svdvals(
                self._linear(torch.eye(self.input_dim, dtype=torch.float64, device=self.device))
            )

    @torch.no_grad()
    def _extremes(self):
        """Smallest and largest singular value of L, estimated by 40 steps of block iteration with ``L L^T``."""
        if not hasattr(self, "_ends"):
            start = torch.randn(  # any start will do: this one is the same each time
                min(4, self.output_dim),
                self.output_dim,
                dtype=torch.float64,
                generator=torch.Generator().manual_seed(0),
            )
            low = high = start.to(self.device)
            for _ in range(40):
                high = torch.linalg.qr(self._linear(self._adjoint(high)).mT)[0].mT
                low = torch.linalg.qr(self._solve(low).mT)[0].mT
            low, high = (torch.linalg.svdvals(self._adjoint(V)) for V in (low, high))
            self._ends = float(low.min()), float(high.max())
        return self._ends


class Linear(_Affine):
    """``phi(X) = X A + b``: onto if and only if A has full column rank.

    Parameters
    ----------
    A : tensor (d, p)
        Float64 or float32; copied, as is `b`. The transpose of the weight of `torch.nn.Linear`.
    b : tensor (p,), optional

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit. A map that is not onto can be computed; `preimage` refuses it.

    Notes
    -----
    Book: thm-surjective. ``X = near + (Phi - phi(near)) A^+``, through the QR factors of A.

    Examples
    --------
    >>> import torch
    >>> phi = Linear(torch.tensor([[2.0], [0.0]], dtype=torch.float64))
    >>> phi.preimage(torch.tensor([[6.0]], dtype=torch.float64), near=torch.tensor([[9.0, 5.0]], dtype=torch.float64))
    tensor([[3., 5.]], dtype=torch.float64)
    """

    def __init__(self, A, b=None):
        self._A, self._bias = _weights(A, b, "A", 2, 1)
        self.input_dim, self.output_dim = A.shape
        self.dtype, self.device = A.dtype, A.device

    def __repr__(self):
        return f"Linear({self.input_dim} -> {self.output_dim})"

    def _moved(self, dtype, device):
        return Linear(self._A.to(device, dtype), None if self._bias is None else self._bias.to(device, dtype))

    def _linear(self, X):
        return X @ self._A

    def _adjoint(self, R):
        return R @ self._A.mT

    def _find_obstacle(self):
        d, p = self.input_dim, self.output_dim
        if p > d:
            return f"{p} outputs of {d} inputs, so its rank is at most {d}; at most {d} outputs can be reached"
        rank = self.rank()
        if rank < p:
            return f"rank {rank}, with {p} outputs of {d} inputs; rank {p} is needed" + self._precision()
        return None

    def _factors(self):
        if not hasattr(self, "_QR"):
            self._QR = torch.linalg.qr(self._A)
        return self._QR

    def _solve(self, R):  # (A^T A)^-1 = T^-1 T^-T with A = Q T
        T = self._factors()[1]
        half = torch.linalg.solve_triangular(T, R, upper=True, left=False)
        return torch.linalg.solve_triangular(T.mT, half, upper=False, left=False)

    def _right(self, R):  # A^+ = T^-1 Q^T: the condition number is not squared
        Q, T = self._factors()
        return torch.linalg.solve_triangular(T, R, upper=True, left=False) @ Q.mT


class Conv2d(_Affine):
    """A convolution of images with zero padding, on rows: what `torch.nn.Conv2d` computes.

    Parameters
    ----------
    weight : tensor (c_out, c_in, kh, kw)
        Float64 or float32; copied, as is `bias`.
    bias : tensor (c_out,), optional
    input_shape : (c_in, h, w)
        Of one image; a row has its ``c_in * h * w`` entries in this order.
    stride, padding : int or (int, int)
        For rows and columns. Default 1 and 0.

    Attributes
    ----------
    output_shape : (c_out, oh, ow)

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit. A convolution that is not onto can be computed; `preimage` refuses it.

    Notes
    -----
    Book: prop-convolution. Source: Chen, Huang and Weng (2024), Thm 5.1 and Ex. 5.1-5.4.

    Patches that do not overlap (stride at least the kernel, no padding) are inverted one by one: onto if and only if
    the matrix of the kernel, (c_in kh kw, c_out), has full column rank. Pixels outside all patches stay as in `near`.

    Otherwise ``L L^T`` couples only output rows less than ``kh / stride`` apart, so it is block tridiagonal, and the
    blocks of its Cholesky factor have ``c_out * ow`` rows for each output row they hold, not ``c_out * oh * ow``. Its
    condition number is the square of that of L: L is refused above `MAX_CONDITION` (1e6 in float64, 1e4 in float32)
    even at full rank. With stride 1 that is common: for many kernels the smallest singular value falls exponentially
    with the size of the image.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[[[3.0, 4.0]]]], dtype=torch.float64)
    >>> phi = Conv2d(weight, input_shape=(1, 1, 4), stride=(1, 2))
    >>> phi.preimage(torch.tensor([[25.0, 50.0]], dtype=torch.float64)).round(decimals=12)
    tensor([[3., 4., 6., 8.]], dtype=torch.float64)
    """

    def __init__(self, weight, bias=None, *, input_shape, stride=1, padding=0):
        self._weight, self._channel_bias = _weights(weight, bias, "weight", 4, 0)
        c_out, c_in, kh, kw = weight.shape
        self.input_shape = _image_shape(input_shape)
        if self.input_shape[0] != c_in:
            raise ValueError(
                f"weight takes {c_in} channels, input_shape = {self.input_shape} has {self.input_shape[0]}"
            )
        self.stride, self.padding = _pair(stride, "stride", 1), _pair(padding, "padding", 0)
        h, w = (side + 2 * pad for side, pad in zip(self.input_shape[1:], self.padding, strict=True))
        if h < kh or w < kw:
            raise ValueError(f"the kernel, {kh} x {kw}, is larger than the padded image, {h} x {w}")
        oh, ow = (h - kh) // self.stride[0] + 1, (w - kw) // self.stride[1] + 1
        self._left_over = (h - kh) % self.stride[0], (w - kw) % self.stride[1]
        self.output_shape = (c_out, oh, ow)
        self.input_dim, self.output_dim = math.prod(self.input_shape), math.prod(self.output_shape)
        self.dtype, self.device = weight.dtype, weight.device
        self._bias = None if bias is None else self._channel_bias.repeat_interleave(oh * ow)
        apart = self.padding == (0, 0) and self.stride[0] >= kh and self.stride[1] >= kw
        self._patch = Linear(self._weight.reshape(c_out, -1).mT) if apart else None

    def __repr__(self):
        c_out, c_in, kh, kw = self._weight.shape
        (sh, sw), (ph, pw), (_, h, w) = self.stride, self.padding, self.input_shape
        return (
            f"Conv2d({c_in} -> {c_out} channels, kernel {kh} x {kw}, stride {sh} x {sw}, padding {ph} x {pw}, "
            f"images {h} x {w})"
        )

    def _moved(self, dtype, device):
        bias = None if self._channel_bias is None else self._channel_bias.to(device, dtype)
        weight = self._weight.to(device, dtype)
        return Conv2d(weight, bias, input_shape=self.input_shape, stride=self.stride, padding=self.padding)

    def _linear(self, X):
        images = X.reshape(-1, *self.input_shape)
        return F.conv2d(images, self._weight, stride=self.stride, padding=self.padding).flatten(1)

    def _adjoint(self, R):
        R, options = R.reshape(-1, *self.output_shape), {"stride": self.stride, "padding": self.padding}
        return F.conv_transpose2d(R, self._weight, output_padding=self._left_over, **options).flatten(1)

    def rank(self):
        """Numerical rank of the convolution without its bias: from the kernel where no patches overlap."""
        patches = math.prod(self.output_shape[1:])
        return super().rank() if self._patch is None else self._patch.rank() * patches

    def _find_obstacle(self):
        d, p, limit = self.input_dim, self.output_dim, MAX_CONDITION[self.dtype]
        sizes = f"{p} outputs of {d} inputs"
        if self._patch is not None:
            if self._patch.is_onto():
                return None
            (inside, channels), patches = self._patch._A.shape, math.prod(self.output_shape[1:])
            return (
                f"rank {self.rank()}, with {sizes}; the matrix of the kernel, {inside} x {channels}, has rank "
                f"{self._patch.rank()} in each of {patches} patches, and rank {channels} is needed{self._precision()}"
            )
        if p > d:
            return f"{sizes}, so its rank is at most {d}; at most {d} outputs can be reached"
        low, high = self._double()._extremes() if self._double()._factors() else (0.0, 1.0)
        if limit * low >= high:
            return None
        if d * p > DENSE:
            known = f"{high / low:.3g}" if low else "too large to be measured"
            return f"its condition number is {known}, above the limit {limit:.0e} ({sizes})" + self._precision()
        s = self._double()._singular_values()
        rank = int((s > max(d, p) * torch.finfo(self.dtype).eps * s[0]).sum())
        if rank < p:
            return f"rank {rank}, with {sizes}; rank {p} is needed" + self._precision()
        if limit * s[-1] >= s[0]:
            return f"its singular values, {s[-1]:.3g} to {s[0]:.3g}, cannot be squared; scale the weights ({sizes})"
        return (
            f"rank {p}, as is needed for {sizes}, but the condition number {float(s[0] / s[-1]):.3g} is above the "
            f"limit {limit:.0e}, too large for an accurate pre-image" + self._precision()
        )

    def _extremes(self):
        return super()._extremes() if self._patch is None else self._patch._double()._extremes()

    def _solve(self, R):
        return self._tridiagonal(R) if self._patch is None else self._by_patch(R, self._patch._solve).flatten(1)

    def _right(self, R):
        if self._patch is None:
            return super()._right(R)
        columns = self._by_patch(R, self._patch._right)  # (n, c_in kh kw, patches)
        return F.fold(columns, self.input_shape[1:], self._weight.shape[2:], stride=self.stride).flatten(1)

    def _by_patch(self, R, solve):
        R = R.reshape(len(R), self.output_shape[0], -1).mT  # (n, patches, c_out)
        return solve(R.reshape(-1, R.shape[2])).reshape(*R.shape[:2], -1).mT

    def _groups(self):
        """Ranges of output rows such that ``L L^T`` couples a group with its neighbours alone."""
        reach, oh = max(1, -(-self._weight.shape[2] // self.stride[0]) - 1), self.output_shape[1]
        return [(a, min(a + reach, oh)) for a in range(0, oh, reach)]

    def _factors(self):
        """Blocks (C_i, E_i) of the Cholesky factor of ``L L^T``: diagonal and below; False when it breaks down."""
        if not hasattr(self, "_blocks"):
            self._blocks, start = [], 0
            for a, b in self._groups():
                left, own = self._gram_rows(a, b, start)
                E = None
                if a > 0:
                    E = torch.linalg.solve_triangular(self._blocks[-1][0].mT, left, upper=True, left=False)
                    own = own - E @ E.mT
                C, failed = torch.linalg.cholesky_ex(own)
                if failed:
                    self._blocks = False
                    break
                self._blocks.append((C, E))
                start = a
        return self._blocks

    def _gram_rows(self, a, b, start):
        """The rows of ``L L^T`` for output rows a to b: their block with rows `start` to a, and with themselves."""
        c_out, _, ow = self.output_shape
        size, parts = c_out * (b - a) * ow, []
        for unit in torch.eye(size, dtype=self.dtype, device=self.device).split(256):  # 256: for the memory
            R = unit.new_zeros(len(unit), *self.output_shape)
            R[:, :, a:b] = unit.reshape(len(unit), c_out, b - a, ow)
            G = self._linear(self._adjoint(R)).reshape(R.shape)
            parts.append((G[:, :, start:a].flatten(1), G[:, :, a:b].flatten(1)))
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def _tridiagonal(self, R):
        """``R (L L^T)^-1`` by the factor: forward through the groups of output rows, then back."""
        R, groups, blocks, Y = R.reshape(-1, *self.output_shape), self._groups(), self._factors(), []
        for (a, b), (C, E) in zip(groups, blocks, strict=True):
            part = R[:, :, a:b].flatten(1)
            part = part if E is None else part - Y[-1] @ E.mT
            Y.append(torch.linalg.solve_triangular(C.mT, part, upper=True, left=False))
        X, behind = torch.empty_like(R), 0.0
        for (a, b), (C, E), part in zip(reversed(groups), reversed(blocks), reversed(Y), strict=True):
            solved = torch.linalg.solve_triangular(C, part - behind, upper=False, left=False)
            X[:, :, a:b] = solved.reshape(X[:, :, a:b].shape)
            behind = 0.0 if E is None else solved @ E
        return X.flatten(1)


class LeakyReLU(_Step):
    """``phi(x) = x`` where x is positive and ``slope * x`` elsewhere: a bijection of R^d for every positive slope.

    Parameters
    ----------
    dim : int
        Number of features.
    slope : float
        Positive and finite; 0 would be ReLU, which has no inverse.

    Raises
    ------
    ValueError, TypeError
        For a slope that is not positive.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import torch
    >>> LeakyReLU(2, 0.5).preimage(torch.tensor([[3.0, -1.0]]))
    tensor([[ 3., -2.]])
    """

    dtype = device = None

    def __init__(self, dim, slope=0.1):
        self.input_dim = self.output_dim = _integer(dim, "dim", 1)
        self.slope = check_lam(slope, "slope")
        if self.slope == 0:
            raise ValueError("slope = 0 is ReLU: its range is [0, inf), it is not onto; take a positive slope")

    def __repr__(self):
        return f"LeakyReLU({self.input_dim}, slope {self.slope:g})"

    def _moved(self, dtype, device):
        return self

    def _forward(self, X):
        return torch.where(X > 0, X, self.slope * X)

    def _pull(self, Z, near):
        return torch.where(Z > 0, Z, Z / self.slope)

    def _find_obstacle(self):
        return None

    def condition(self):
        """Largest over smallest slope."""
        return max(self.slope, 1 / self.slope)

    def _norm(self):
        return max(self.slope, 1.0)

    def _rounding(self, X, Z):
        return 2 * 2.0**-52 * _row_norms(Z)


class Chain(_Step):
    """One map after the other, the first listed first.

    Parameters
    ----------
    steps : sequence of maps of this room
        Each takes as many features as the one before it gives.

    Attributes
    ----------
    steps : tuple

    Raises
    ------
    ValueError, TypeError
        For steps whose sizes, dtypes or devices do not fit.

    Notes
    -----
    Book: thm-surjective. A chain counts as onto when each step is: its pre-image is taken step by step, from the last
    to the first. The result is nearest to `near` among all pre-images if every step after the first is a bijection.

    Examples
    --------
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> phi = Chain([Linear(A), LeakyReLU(2, 0.5)])
    >>> phi.preimage(torch.tensor([[4.0, -1.0]], dtype=torch.float64))
    tensor([[ 2., -2.]], dtype=torch.float64)
    """

    def __init__(self, steps):
        self.steps = tuple(steps)
        if not self.steps or not all(isinstance(step, _Step) for step in self.steps):
            raise TypeError("steps must be one or more of Linear, Conv2d, LeakyReLU, Chain of this module")
        for i in range(1, len(self.steps)):
            given, taken = self.steps[i - 1].output_dim, self.steps[i].input_dim
            if given != taken:
                raise ValueError(f"step {i}, {self.steps[i]!r}, takes {taken} features; step {i - 1} gives {given}")
        kinds = {(step.dtype, step.device): None for step in self.steps if step.dtype is not None}
        if len(kinds) > 1:
            raise TypeError(f"the steps differ in dtype or device: {', '.join(f'{t} on {d}' for t, d in kinds)}")
        self.dtype, self.device = next(iter(kinds), (None, None))
        self.input_dim, self.output_dim = self.steps[0].input_dim, self.steps[-1].output_dim

    def __repr__(self):
        return f"Chain([{', '.join(map(repr, self.steps))}])"

    def _moved(self, dtype, device):
        return Chain([step._moved(dtype, device) for step in self.steps])

    def _forward(self, X):
        for step in self.steps:
            X = step._forward(X)
        return X

    def _pull(self, Z, near):
        nears = [near]  # what `near` is before each step
        for step in self.steps[:-1]:
            nears.append(None if near is None else step._forward(nears[-1]))
        for step, start in zip(reversed(self.steps), reversed(nears), strict=True):
            Z = _corrected(step, Z, step._pull(Z, start))
        return Z

    def _find_obstacle(self):
        for i, step in enumerate(self.steps):
            if not step.is_onto():
                return f"step {i}, {step!r}, is the first that is not: {step.obstacle}"
        return None

    def condition(self):
        """Product of the condition numbers of the steps: an upper bound."""
        return math.prod(step.condition() for step in self.steps)

    def _norm(self):
        return math.prod(step._norm() for step in self.steps)

    def _rounding(self, X, Z):
        bound = 0.0
        for step in self.steps:
            out = step._forward(X)
            bound, X = step._norm() * bound + step._rounding(X, out), out
        return bound + 2.0**-52 * _row_norms(Z)


# ---------------------------------------------------------------------------------------- networks


# Not onto, by their range.
RANGES = {
    "ReLU": "[0, inf)", "ReLU6": "[0, 6]", "ELU": "(-alpha, inf)", "CELU": "(-alpha, inf)", "SELU": "(-1.76, inf)",
    "GELU": "[-0.17, inf)", "SiLU": "[-0.28, inf)", "Mish": "[-0.31, inf)", "Softplus": "(0, inf)",
    "Sigmoid": "(0, 1)", "LogSigmoid": "(-inf, 0)", "Tanh": "(-1, 1)", "Softsign": "(-1, 1)", "Hardtanh": "bounded",
    "Hardsigmoid": "[0, 1]", "Hardswish": "[-0.375, inf)", "Softmax": "the simplex", "LogSoftmax": "(-inf, 0]",
}  # fmt: skip
SUPPORTED = "Linear, Conv2d, LeakyReLU, PReLU with one slope, Flatten, Unflatten, Identity, Sequential"


def from_sequential(network, input_shape):
    """The feature map of a `torch.nn.Sequential` whose every layer is onto.

    Parameters
    ----------
    network : torch.nn.Sequential
        Of Linear, Conv2d, LeakyReLU, PReLU with one slope, Flatten, Unflatten, Identity and Sequential. Weights are
        copied: training the network later does not change the map.
    input_shape : (c, h, w) or (d,)
        Of one input.

    Returns
    -------
    Chain
        On rows; it gives what the network gives, flattened.

    Raises
    ------
    ValueError
        Names the first layer that is not onto, with its rank or range, or that is not supported, whichever comes first.
    TypeError
        When `network` is not a Sequential.

    Notes
    -----
    Book: thm-surjective, prop-convolution.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 2, stride=2), torch.nn.ReLU())
    >>> from_sequential(network, (1, 4, 4))
    Traceback (most recent call last):
        ...
    ValueError: layer 1, ReLU(), is not onto: its range is [0, inf); use LeakyReLU
    """
    if not isinstance(network, torch.nn.Sequential):
        raise TypeError(f"network must be a torch.nn.Sequential, got {type(network).__name__}")
    shape, steps = _shape(input_shape), []
    for name, layer in _layers(network):
        where = f"layer {name}, {layer},"
        step, shape = _convert(layer, shape, where)
        if step is not None and not step.is_onto():
            raise ValueError(f"{where} is not onto: {step.obstacle}")
        steps += [] if step is None else [step]
    if not steps:
        raise ValueError(f"network has no layer that computes anything; supported are {SUPPORTED}")
    return Chain(steps)


def small_cnn(input_shape, channels, *, seed, kernel=2, slope=0.1, weights="orthogonal", dtype=torch.float64):
    """A convolutional network that is onto: patches of `kernel` x `kernel` pixels side by side, each layer one size up.

    Each layer is a `Conv2d` without padding, its stride its kernel, followed by `LeakyReLU`.

    Parameters
    ----------
    input_shape : (c, h, w)
        Of one image; h and w are multiples of ``kernel ** len(channels)``.
    channels : sequence of int
        Channels after each layer, at most ``kernel ** 2`` times those before it: with exactly so many, p = d.
    seed : int
        Of the weights, drawn on the CPU; use `to` for another device.
    kernel : int
        Sides of a patch.
    slope : float
        Of LeakyReLU.
    weights : {"orthogonal", "gaussian"}
        Orthonormal kernels (condition number 1), or independent normal entries of variance 1 / (inputs of a patch).
    dtype : torch.float64 or torch.float32

    Returns
    -------
    Chain

    Raises
    ------
    ValueError, TypeError
        For too many channels, or images that the patches do not tile.

    Notes
    -----
    Book: prop-convolution. Orthonormal kernels keep distances in pixels comparable with distances in features.

    Examples
    --------
    >>> phi = small_cnn((1, 28, 28), (4, 16), seed=0)
    >>> phi.input_dim, phi.output_dim, phi.is_onto()
    (784, 784, True)
    """
    shape, kernel = _image_shape(input_shape), _integer(kernel, "kernel", 1)
    if weights not in ("orthogonal", "gaussian"):
        raise ValueError(f"weights = {weights!r} must be 'orthogonal' or 'gaussian'")
    if dtype not in (torch.float64, torch.float32):
        raise TypeError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
    generator, steps = torch.Generator().manual_seed(seed), []
    for c_out in channels:
        c_in, h, w = shape
        size, c_out = c_in * kernel**2, _integer(c_out, "channels", 1)
        if c_out > size:
            raise ValueError(
                f"layer {len(steps) // 2}: {c_out} channels of patches of {size} values; at most {size} are onto"
            )
        if h % kernel or w % kernel:
            raise ValueError(f"layer {len(steps) // 2}: patches of {kernel} x {kernel} do not tile images of {h} x {w}")
        A = torch.randn(size, c_out, generator=generator, dtype=torch.float64)
        if weights == "orthogonal":
            Q, T = torch.linalg.qr(A)
            A = Q * torch.sign(T.diagonal())  # uniformly distributed with these signs
        else:
            A = A / math.sqrt(size)
        kernels = A.mT.reshape(c_out, c_in, kernel, kernel).to(dtype)
        step = Conv2d(kernels, input_shape=shape, stride=kernel)
        steps += [step, LeakyReLU(step.output_dim, slope)]
        shape = step.output_shape
    return Chain(steps)


def _layers(network, prefix=""):
    for name, layer in network.named_children():
        if isinstance(layer, torch.nn.Sequential):
            yield from _layers(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer


def _convert(layer, shape, where):
    """The step of a layer (None where rows do not change) and the shape after it."""
    nn, dim = torch.nn, math.prod(shape)
    if isinstance(layer, nn.Identity):
        return None, shape
    if isinstance(layer, nn.Flatten):
        if layer.start_dim != 1 or layer.end_dim not in (-1, len(shape)):
            raise ValueError(f"{where} is not supported: it must flatten all of an image, Flatten()")
        return None, (dim,)
    if isinstance(layer, nn.Unflatten):
        sizes = tuple(layer.unflattened_size)
        if layer.dim not in (1, -1) or len(shape) != 1 or not all(isinstance(n, int) and n > 0 for n in sizes):
            raise ValueError(f"{where} is not supported: it must give (channels, height, width) to a row, no -1")
        if math.prod(sizes) != dim:
            raise ValueError(f"{where} does not fit its input of {dim} features")
        return None, sizes
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise ValueError(f"{where} gets images of shape {shape}: put Flatten() before it")
        if dim != layer.in_features:
            raise ValueError(f"{where} takes {layer.in_features} features and gets {dim}")
        return Linear(layer.weight.mT, layer.bias), (layer.out_features,)
    if isinstance(layer, nn.Conv2d):
        step = _convert_convolution(layer, shape, where)
        return step, step.output_shape
    if isinstance(layer, nn.LeakyReLU | nn.PReLU):
        slopes = [layer.negative_slope] if isinstance(layer, nn.LeakyReLU) else layer.weight.tolist()
        if len(slopes) > 1:
            raise ValueError(f"{where} has {len(slopes)} slopes, which is not supported; use one")
        if not slopes[0] > 0:
            raise ValueError(f"{where} is not onto: its slope is {slopes[0]:g}; a positive one is needed")
        return LeakyReLU(dim, slopes[0]), shape
    kind = type(layer).__name__
    if kind in RANGES and type(layer).__module__.startswith("torch.nn"):
        raise ValueError(f"{where} is not onto: its range is {RANGES[kind]}; use LeakyReLU")
    raise ValueError(f"{where} is not supported; supported are {SUPPORTED}")


def _convert_convolution(layer, shape, where):
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros":
        raise ValueError(f"{where} is not supported: groups and dilation must be 1, padding_mode 'zeros'")
    if len(shape) != 3:
        raise ValueError(f"{where} gets rows of {shape[0]} features: pass input_shape=(c, h, w), or Unflatten them")
    padding = layer.padding
    if padding == "valid":
        padding = 0
    elif padding == "same":
        if not all(side % 2 for side in layer.kernel_size):
            raise ValueError(f"{where} is not supported: padding 'same' with a kernel of even size is not symmetric")
        padding = tuple(side // 2 for side in layer.kernel_size)
    try:
        return Conv2d(layer.weight, layer.bias, input_shape=shape, stride=layer.stride, padding=padding)
    except ValueError as error:
        raise ValueError(f"{where} does not fit its input: {error}") from error


# ---------------------------------------------------------------------------------------- small parts


def _corrected(step, Z, X):
    """Rows X with ``step(X)`` about Z, corrected by the residual: once, and again while a pass still halves it."""
    missed = _row_norms(step._forward(X) - Z)
    for _ in range(4):
        again = step._pull(Z, X)
        now = _row_norms(step._forward(again) - Z)
        X, halved = torch.where((now < missed)[:, None], again, X), bool((now < missed / 2).any())
        missed = torch.minimum(now, missed)
        if not halved or bool((missed <= step._rounding(X, Z) / 100).all()):
            break
    return X


def _row_norms(A):
    return torch.linalg.vector_norm(A, dim=1)


def _weights(weight, bias, name, ndim, axis):
    """Detached copies of weight and bias, after every check."""
    for part, A in ((name, weight), ("bias", bias)):
        if not isinstance(A, torch.Tensor) and not (A is None and part == "bias"):
            raise TypeError(f"{part} must be a PyTorch tensor, got {type(A).__module__}.{type(A).__name__}")
    if weight.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, its shape is {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (weight.shape[axis],):
        raise ValueError(f"the bias has shape {tuple(bias.shape)}, expected ({weight.shape[axis]},)")
    check_arrays(**{name: weight.detach().flatten(1), "bias": None if bias is None else bias.detach()[None, :]})
    return weight.detach().clone(), None if bias is None else bias.detach().clone()


def _integer(value, name, least):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} = {value!r} must be an integer of at least {least}")
    return value


def _pair(value, name, least):
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} = {value!r} must be one integer or two, for rows and columns")
    return tuple(_integer(part, name, least) for part in pair)


def _shape(value):
    sizes = tuple(value) if isinstance(value, tuple | list | torch.Size) else (value,)
    if len(sizes) not in (1, 3):
        raise ValueError(f"input_shape = {value!r} must be (c, h, w), or (d,) for rows")
    return tuple(_integer(size, "input_shape", 1) for size in sizes)


def _image_shape(value):
    sizes = _shape(value)
    if len(sizes) != 3:
        raise ValueError(f"input_shape = {value!r} must be (channels, height, width)")
    return sizes
