"""Convolutions that can be inverted, in PyTorch.

Rows are images flattened in the order (channel, row, column). A convolution whose
patches do not overlap is inverted patch by patch, any other through a block Cholesky
factor of ``L L^T``.

`datasets` has colour images as (n, height, width, 3): move the channels to the front
before flattening, ``X.transpose(0, 3, 1, 2).reshape(len(X), -1)``.
"""

import math
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F

from ..arrays import Array, check_arrays, check_count, eps_of
from .activations import LeakyReLU
from .base import Chain, own_copy
from .linear import Affine, Linear

# L L^T squares the condition number of L: convolutions with overlapping patches are
# refused above these.
MAX_CONDITION = {torch.float64: 1e6, torch.float32: 1e4}
DENSE = 2**24  # entries of L up to which a doubtful one is written out, for its rank


class Conv2d(Affine):
    """A convolution of images with zero padding, on rows: what `torch.nn.Conv2d`
    computes.

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
        For shapes that do not fit. A convolution that is not onto can be computed;
        `preimage` refuses it.

    Notes
    -----
    Book: prop-convolution. Source: Chen, Huang and Weng (2024), Thm 5.1 and Ex.
    5.1-5.4.

    Patches that do not overlap (stride at least the kernel, no padding) are inverted
    one by one: onto if and only if the matrix of the kernel, (c_in kh kw, c_out), has
    full column rank. Pixels outside all patches stay as in `near`.

    Otherwise ``L L^T`` couples only output rows less than ``kh / stride`` apart, so it
    is block tridiagonal, and the blocks of its Cholesky factor have ``c_out * ow`` rows
    for each output row they hold, not ``c_out * oh * ow``. Its condition number is the
    square of that of L: L is refused above `MAX_CONDITION` (1e6 in float64, 1e4 in
    float32) even at full rank. With stride 1 that is common: for many kernels the
    smallest singular value falls exponentially with the size of the image.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[[[3.0, 4.0]]]], dtype=torch.float64)
    >>> phi = Conv2d(weight, input_shape=(1, 1, 4), stride=(1, 2))
    >>> Phi = torch.tensor([[25.0, 50.0]], dtype=torch.float64)
    >>> phi.preimage(Phi).round(decimals=12)
    tensor([[3., 4., 6., 8.]], dtype=torch.float64)
    """

    kind, numbers, arrays = (
        "Conv2d",
        ("input_shape", "stride", "padding"),
        ("weight", "bias"),
    )

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        *,
        input_shape: Any,
        stride: Any = 1,
        padding: Any = 0,
    ):
        _check_weights(weight, bias)
        self.weight = own_copy(weight)
        self.bias = None if bias is None else own_copy(bias)
        self.input_shape = image_shape(input_shape)
        self.stride = _pair(stride, "stride", 1)
        self.padding = _pair(padding, "padding", 0)
        self.output_shape = self._output_shape()
        self.input_dim = math.prod(self.input_shape)
        self.output_dim = math.prod(self.output_shape)
        self.shape = self.input_dim, self.output_dim
        if bias is not None:
            oh, ow = self.output_shape[1:]
            self.shift = self.bias.repeat_interleave(oh * ow)[None, :]

    def __repr__(self) -> str:
        c_out, c_in, kh, kw = self.weight.shape
        (sh, sw), (ph, pw), (_, h, w) = self.stride, self.padding, self.input_shape
        return (
            f"Conv2d({c_in} -> {c_out} channels, kernel {kh} x {kw}, stride {sh} x "
            f"{sw}, padding {ph} x {pw}, images {h} x {w})"
        )

    def _output_shape(self):
        c_out, c_in, kh, kw = self.weight.shape
        if self.input_shape[0] != c_in:
            raise ValueError(
                f"weight takes {c_in} channels, input_shape = {self.input_shape} has "
                f"{self.input_shape[0]}"
            )
        h, w = (
            side + 2 * pad
            for side, pad in zip(self.input_shape[1:], self.padding, strict=True)
        )
        if h < kh or w < kw:
            raise ValueError(
                f"the kernel, {kh} x {kw}, is larger than the padded image, {h} x {w}"
            )
        self._left_over = (h - kh) % self.stride[0], (w - kw) % self.stride[1]
        return c_out, (h - kh) // self.stride[0] + 1, (w - kw) // self.stride[1] + 1

    def linear(self, X: Array) -> Array:
        """The convolution without its bias."""
        images = X.reshape(-1, *self.input_shape)
        options = {"stride": self.stride, "padding": self.padding}
        return F.conv2d(images, self.weight, **options).flatten(1)

    def adjoint(self, R: Array) -> Array:
        """Its transpose: every output value spread over its patch."""
        R = R.reshape(-1, *self.output_shape)
        options = {"stride": self.stride, "padding": self.padding}
        options["output_padding"] = self._left_over
        return F.conv_transpose2d(R, self.weight, **options).flatten(1)

    def right(self, R: Array) -> Array:
        """``R A^+`` in each patch, or ``(L L^T)^-1``, then the transpose."""
        if self.patch is None:
            return self.adjoint(self.solve(R))
        R = R.reshape(len(R), self.output_shape[0], -1).mT  # (n, patches, c_out)
        pixels = self.patch.right(R.reshape(-1, R.shape[2]))
        columns = pixels.reshape(*R.shape[:2], -1).mT  # (n, c_in kh kw, patches)
        size, kernel = self.input_shape[1:], self.weight.shape[2:]
        return F.fold(columns, size, kernel, stride=self.stride).flatten(1)

    @cached_property
    def patch(self) -> Linear | None:
        """The layer on the pixels of one patch; None where patches overlap."""
        _, _, kh, kw = self.weight.shape
        apart = self.stride[0] >= kh and self.stride[1] >= kw
        if self.padding == (0, 0) and apart:
            return Linear(self.weight.flatten(1).mT)
        return None

    @property
    def rank(self) -> int:
        """Numerical rank without the bias, cut at max(shape) * eps of the dtype."""
        if self.patch is not None:
            return self.patch.rank * math.prod(self.output_shape[1:])
        s = self.double.singular_values()
        cutoff = max(self.shape) * eps_of(self.weight)
        return int((s > cutoff * s[0]).sum())

    @cached_property
    def double(self) -> "Conv2d":
        """The same in float64."""
        return self.to(dtype=torch.float64)

    @torch.no_grad()
    def singular_values(self) -> Array:
        """All of them, from the matrix written out."""
        options = {"dtype": self.weight.dtype, "device": self.weight.device}
        return torch.linalg.svdvals(self.linear(torch.eye(self.input_dim, **options)))

    @cached_property
    @torch.no_grad()
    def obstacle(self) -> str | None:
        """Its rank or condition number, where it cannot be inverted."""
        d, p = self.input_dim, self.output_dim
        sizes = f"{p} outputs of {d} inputs"
        if self.patch is not None:
            found = self._obstacle_in_patches(sizes)
        elif p > d:
            found = (
                f"{sizes}, so its rank is at most {d}; at most {d} outputs can be "
                "reached"
            )
        else:
            found = self._obstacle_of_overlaps(sizes)
        if found is None:
            return None
        single = " (judged in float32; float64 may see more)"
        single = single if self.weight.dtype == torch.float32 and p <= d else ""
        return f"{self!r} is not onto: {found}{single}"

    def _obstacle_in_patches(self, sizes):
        if self.patch.is_onto():
            return None
        inside, channels = self.patch.A.shape
        return (
            f"rank {self.rank}, with {sizes}; the matrix of the kernel, {inside} x "
            f"{channels}, has rank {self.patch.rank} in each of "
            f"{math.prod(self.output_shape[1:])} patches, and rank {channels} is needed"
        )

    def _obstacle_of_overlaps(self, sizes):
        d, p, limit = self.input_dim, self.output_dim, MAX_CONDITION[self.weight.dtype]
        low, high = self.double.extremes() if self.double.blocks else (0.0, 1.0)
        if limit * low >= high:
            return None
        if d * p > DENSE:
            known = f"{high / low:.3g}" if low else "too large to be measured"
            return (
                f"its condition number is {known}, above the limit {limit:.0e} "
                f"({sizes})"
            )
        s = self.double.singular_values()
        if self.rank < p:
            return f"rank {self.rank}, with {sizes}; rank {p} is needed"
        if limit * s[-1] >= s[0]:
            return (
                f"its singular values, {s[-1]:.3g} to {s[0]:.3g}, cannot be squared; "
                f"scale the weights ({sizes})"
            )
        return (
            f"rank {p}, as is needed for {sizes}, but the condition number "
            f"{float(s[0] / s[-1]):.3g} is above the limit {limit:.0e}, too large for "
            "an accurate pre-image"
        )

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest singular value, exactly for patches, else estimated."""
        if self.patch is not None:
            return self.patch.extremes()
        return self.double._estimated

    @cached_property
    @torch.no_grad()
    def _estimated(self):
        """By 40 steps of block iteration with ``L L^T`` and its inverse."""
        shape = min(4, self.output_dim), self.output_dim
        random = torch.Generator().manual_seed(0)  # any start will do, each time this
        start = torch.randn(shape, dtype=torch.float64, generator=random)
        low = high = start.to(self.weight.device)
        for _ in range(40):
            high = torch.linalg.qr(self.linear(self.adjoint(high)).mT)[0].mT
            low = torch.linalg.qr(self.solve(low).mT)[0].mT
        low, high = (torch.linalg.svdvals(self.adjoint(V)) for V in (low, high))
        return float(low.min()), float(high.max())

    def _groups(self):
        """Ranges of output rows such that ``L L^T`` couples a group with its neighbours
        alone.
        """
        reach, oh = (
            max(1, -(-self.weight.shape[2] // self.stride[0]) - 1),
            self.output_shape[1],
        )
        return [(a, min(a + reach, oh)) for a in range(0, oh, reach)]

    @cached_property
    def blocks(self) -> list:
        """Blocks (C_i, E_i) of the Cholesky factor of ``L L^T``: diagonal and below;
        empty where it breaks down.
        """
        blocks: list = []
        start = 0
        for a, b in self._groups():
            left, own = self._gram_rows(a, b, start)
            E = None
            if a > 0:
                E = _solve_right(blocks[-1][0].mT, left, upper=True)
                own = own - E @ E.mT
            C, failed = torch.linalg.cholesky_ex(own)
            if failed:
                return []
            blocks.append((C, E))
            start = a
        return blocks

    def _gram_rows(self, a, b, start):
        """The rows of ``L L^T`` for output rows a to b: their block with rows `start`
        to a, and with themselves.
        """
        c_out, _, ow = self.output_shape
        size, parts = c_out * (b - a) * ow, []
        for unit in _eye(size, self.weight).split(256):  # 256: for the memory
            R = unit.new_zeros(len(unit), *self.output_shape)
            R[:, :, a:b] = unit.reshape(len(unit), c_out, b - a, ow)
            G = self.linear(self.adjoint(R)).reshape(R.shape)
            parts.append((G[:, :, start:a].flatten(1), G[:, :, a:b].flatten(1)))
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def solve(self, R: Array) -> Array:
        """``R (L L^T)^-1`` by the factor: forward through the groups of output rows,
        then back.
        """
        R, groups = R.reshape(-1, *self.output_shape), self._groups()
        Y: list = []
        for (a, b), (C, E) in zip(groups, self.blocks, strict=True):
            part = R[:, :, a:b].flatten(1)
            part = part if E is None else part - Y[-1] @ E.mT
            Y.append(_solve_right(C.mT, part, upper=True))
        X, behind = [], 0.0
        for (a, b), (C, E) in zip(reversed(groups), reversed(self.blocks), strict=True):
            solved = _solve_right(C, Y.pop() - behind, upper=False)
            X.append(solved.reshape(len(R), -1, b - a, R.shape[3]))
            behind = 0.0 if E is None else solved @ E
        return torch.cat(X[::-1], dim=2).flatten(1)


def small_cnn(
    input_shape: Any,
    channels: Any,
    *,
    seed: int,
    kernel: int = 2,
    slope: float = 0.1,
    weights: str = "orthogonal",
    dtype: Any = torch.float64,
) -> Chain:
    """A convolutional network that is onto, of patches side by side.

    Each layer is a `Conv2d` without padding, its stride its kernel, followed by
    `LeakyReLU`.

    Parameters
    ----------
    input_shape : (c, h, w)
        Of one image; h and w are multiples of ``kernel ** len(channels)``.
    channels : sequence of int
        Channels after each layer, at most ``kernel ** 2`` times those before it: with
        exactly so many, p = d.
    seed : int
        Of the weights, drawn on the CPU; use `to` for another device.
    kernel : int
        Sides of a patch.
    slope : float
        Of LeakyReLU.
    weights : {"orthogonal", "gaussian"}
        Orthonormal kernels (condition number 1), or independent normal entries of
        variance 1 / (inputs of a patch).
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
    Book: prop-convolution. Orthonormal kernels keep distances in pixels comparable with
    distances in features.

    Examples
    --------
    >>> phi = small_cnn((1, 28, 28), (4, 16), seed=0)
    >>> phi.input_dim, phi.output_dim, phi.is_onto()
    (784, 784, True)
    """
    shape, kernel = image_shape(input_shape), check_count(kernel, "kernel")
    if weights not in ("orthogonal", "gaussian"):
        raise ValueError(f"weights = {weights!r} must be 'orthogonal' or 'gaussian'")
    if dtype not in (torch.float64, torch.float32):
        raise TypeError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
    generator, steps = torch.Generator().manual_seed(seed), []
    for layer, c_out in enumerate(channels):
        c_in, h, w = shape
        size, c_out = c_in * kernel**2, check_count(c_out, "channels")
        if c_out > size:
            raise ValueError(
                f"layer {layer}: {c_out} channels of patches of {size} values; at most "
                f"{size} are onto"
            )
        if h % kernel or w % kernel:
            raise ValueError(
                f"layer {layer}: patches of {kernel} x {kernel} do not tile images of "
                f"{h} x {w}"
            )
        A = torch.randn(size, c_out, generator=generator, dtype=torch.float64)
        if weights == "orthogonal":
            Q, T = torch.linalg.qr(A)
            A = Q * torch.sign(T.diagonal())  # uniformly distributed with these signs
        else:
            A = A / math.sqrt(size)
        kernels = A.mT.reshape(c_out, c_in, kernel, kernel).to(dtype)
        step = Conv2d(kernels, input_shape=shape, stride=kernel)
        steps += [step, LeakyReLU(slope)]
        shape = step.output_shape
    return Chain(steps)


# ------------------------------------------------------------------------- small parts


def _solve_right(T, R, *, upper):
    """``R T^-1`` for a triangular matrix."""
    return torch.linalg.solve_triangular(T, R, upper=upper, left=False)


def _eye(size, like):
    return torch.eye(size, dtype=like.dtype, device=like.device)


def _check_weights(weight, bias):
    for name, A in (("weight", weight), ("bias", bias)):
        if not isinstance(A, torch.Tensor) and not (A is None and name == "bias"):
            kind = f"{type(A).__module__}.{type(A).__name__}"
            raise TypeError(f"{name} must be a PyTorch tensor, got {kind}")
    if weight.ndim != 4:
        raise ValueError(
            f"weight must have 4 dimensions, its shape is {tuple(weight.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}, expected ({weight.shape[0]},)"
        )
    check_arrays(
        weight=weight.detach().flatten(1),
        bias=None if bias is None else bias.detach()[None, :],
    )


def _pair(value, name, least):
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} = {value!r} must be one integer or two")
    return tuple(check_count(part, name, least) for part in pair)


def input_sizes(value: Any) -> tuple[int, ...]:
    """Sizes of one input, (c, h, w) or (d,)."""
    sizes = tuple(value) if isinstance(value, tuple | list) else (value,)
    if len(sizes) not in (1, 3):
        raise ValueError(f"input_shape = {value!r} must be (c, h, w), or (d,) for rows")
    return tuple(check_count(size, "input_shape") for size in sizes)


def image_shape(value: Any) -> tuple[int, ...]:
    """Sizes of an image, (channels, height, width)."""
    sizes = input_sizes(value)
    if len(sizes) != 3:
        raise ValueError(f"input_shape = {value!r} must be (channels, height, width)")
    return sizes
