"""Features of the patches of an image, in PyTorch: those of Coates and Ng, smooth.

    x_n   = patch n of the image, q values
    y_n   = (x_n - mean) / sqrt(var + noise)        brightness and contrast are gone
    t_n   = A^T y_n + b                             A: whitened filters
    phi+- = mean over a cell of rho(+-t_n - alpha)
    rho(u) = (u + sqrt(u^2 + eps^2)) / 2

One layer, yet it tells photographs apart far better than maps of whole images. It has
more features than inputs where that pays, so it is not onto:
`ddref.nonsurjective.solve` finds the sets. Rows are images flattened in the order
(channel, row, column), as in `ddref.maps.conv`.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..arrays import Array, check_arrays, check_count, check_lam, check_positive
from .base import Map, own_copy
from .conv import image_shape
from .devices import as_numpy
from .networks import drawn_by, generator

NOISE = 3e-3  # of pixels from 0 to 1: a deviation of 14 grey levels
AT_ONCE = 2**19  # answers t of a batch: they stay in the cache
PATCHES = 20_000  # for the covariance
FALL_OFF = 0.01  # cycles a pixel below which the power of photographs is taken as flat
BETWEEN_COLOURS = 0.9  # correlation of two colours of a pixel


class Patches(Map):
    """Answers of filters to the patches of an image, rectified on both sides and
    averaged over cells: p = 2 * cells^2 * F features.

    Parameters
    ----------
    A : tensor (channels * size^2, F)
        A filter a column, in the order (channel, row, column); float64 or float32.
    b : tensor (F,), optional
        Added to the answers.
    mean, scale : tensors (p,), optional
        Taken off the features, and what they are divided by then: see `standardized`.
    P : tensor (p, p'), optional
        What the features are multiplied by at the end, for instance the principal axes
        of those of a training set: see `projected`.
    input_shape : (channels, height, width)
        Of one image.
    size : int
        Side of a patch.
    stride : int
        From one patch to the next. 2 is four times as fast and costs about two points
        of accuracy on CIFAR-10.
    cells : int
        The patches are averaged over cells x cells parts of the image, those of
        `torch.nn.AdaptiveAvgPool2d`.
    alpha : float
        Answers below it count little: 0 to 0.5 make no difference of more than a point.
    eps : float
        Over which answers the corner of the rectifier is rounded; above 0.
    noise : float
        Added to the variance of a patch: flatter patches are not blown up. The default
        is for pixels from 0 to 1, a deviation of 14 grey levels; with a twentieth of it
        CIFAR-10 is told apart no better, and sets of Fashion-MNIST take three times as
        many steps: its flat parts become wild.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit. `preimage` refuses: it is not onto.

    Notes
    -----
    Source: Coates and Ng (2011), with a rectifier that is differentiable everywhere.
    Order of the features: sign, filter, cell.

    Examples
    --------
    >>> import torch
    >>> A = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).double()  # left minus right
    >>> phi = Patches(A, input_shape=(1, 2, 2), size=2, cells=1, alpha=0.0, eps=1e-9)
    >>> X = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 7.0, 0.0, 7.0]]).double()
    >>> phi(X).round(decimals=2)
    tensor([[3.9800, 0.0000],
            [0.0000, 4.0000]], dtype=torch.float64)
    """

    kind = "Patches"
    numbers = ("input_shape", "size", "stride", "cells", "alpha", "eps", "noise")
    arrays = ("A", "b", "mean", "scale", "P")

    def __init__(
        self,
        A: Array,
        b: Array | None = None,
        mean: Array | None = None,
        scale: Array | None = None,
        P: Array | None = None,
        *,
        input_shape: Any,
        size: int = 6,
        stride: int = 1,
        cells: int = 2,
        alpha: float = 0.25,
        eps: float = 0.25,
        noise: float = NOISE,
    ):
        self.input_shape = image_shape(input_shape)
        self.size = check_count(size, "size")
        self.stride = check_count(stride, "stride")
        self.cells = check_count(cells, "cells")
        self.alpha, self.eps = check_lam(alpha, "alpha"), check_positive(eps, "eps")
        self.noise = check_positive(noise, "noise")
        self.positions = patch_positions(
            self.input_shape, self.size, self.stride, cells
        )
        self.A = checked_filters(A, self.input_shape[0] * self.size**2)
        self.input_dim = math.prod(self.input_shape)
        found = 2 * self.cells**2 * self.A.shape[1]
        self.b = own_row(b, "b", self.A, self.A.shape[1])
        self.mean = own_row(mean, "mean", self.A, found)
        self.scale = own_row(scale, "scale", self.A, found)
        self.P = None if P is None else last_layer(P, self.A, found)
        self.output_dim = found if self.P is None else self.P.shape[1]
        if self.scale is not None and not bool((self.scale > 0).all()):
            raise ValueError(
                "scale must be positive: a feature that is constant has none"
            )

    def __repr__(self) -> str:
        return (
            f"Patches({self.A.shape[1]} filters of {self.size} x {self.size}, "
            f"{self.input_dim} -> {self.output_dim})"
        )

    @property
    def obstacle(self) -> str | None:
        """It is never onto."""
        return (
            f"{self!r} is not onto: the cells of an image share its pixels, and an "
            "average over a cell does not say which patch answered"
        )

    def standardized(self, mean: Array, scale: Array) -> "Patches":
        """The map whose features are ``(phi - mean) / scale``, for instance the mean
        and the standard deviation of the features of a training set.
        """
        numbers, arrays, _ = self.written()
        return Patches(**numbers, **{**arrays, "mean": mean, "scale": scale})

    def projected(self, P: Array) -> "Patches":
        """The map whose features are ``phi P``: fewer features, with most of the
        accuracy where the columns of `P` (p, p') are the first principal axes.
        """
        numbers, arrays, _ = self.written()
        return Patches(**numbers, **{**arrays, "P": P})

    def forward(self, X: Array) -> Array:
        """Some images at a time; differentiable."""
        images = X.reshape(-1, *self.input_shape)
        at_once = max(1, AT_ONCE // (math.prod(self.positions) * self.A.shape[1]))
        found = torch.cat([self._pooled(part) for part in images.split(at_once)])
        found = found if self.mean is None else found - self.mean
        found = found if self.scale is None else found / self.scale
        return found if self.P is None else found @ self.P

    def linearise(self, X: Array) -> "PatchesAt":
        """The map to first order at the rows `X` (m, d), in float64: products with its
        Jacobians, which are not formed.
        """
        return PatchesAt(self.to(dtype="float64"), X.detach().to(torch.float64))

    def normalised(self, images: Array) -> tuple[Array, Array]:
        """The patches y (n, q, N) without brightness and contrast, and the contrasts
        (n, 1, N) they were divided by.
        """
        # All patches at once, for one product with the filters: conv2d takes twice as
        # long (results/photographs_uses.json, speed).
        patches = F.unfold(images, self.size, stride=self.stride)
        deviation = patches - patches.mean(dim=1, keepdim=True)
        contrast = torch.sqrt((deviation**2).mean(dim=1, keepdim=True) + self.noise)
        return deviation / contrast, contrast

    def answers(self, y: Array) -> Array:
        """``t = A^T y + b`` (n, F, N)."""
        t = self.A.T @ y
        return t if self.b is None else t + self.b[:, None]

    @cached_property
    def cell_means(self) -> Array:
        """The matrix (N, cells^2) that takes answers to their means over the cells."""
        N = math.prod(self.positions)
        each = torch.eye(N, dtype=self.A.dtype, device=self.A.device)
        return F.adaptive_avg_pool2d(each.view(N, *self.positions), self.cells).flatten(
            1
        )

    def _pooled(self, images):
        y, _ = self.normalised(images)
        t = self.answers(y)
        # rho(+-t - alpha) = (+-t - alpha + sqrt((t -+ alpha)^2 + eps^2)) / 2
        linear = t @ self.cell_means
        above = smooth_size(t - self.alpha, self.eps) @ self.cell_means
        below = smooth_size(t + self.alpha, self.eps) @ self.cell_means
        both = torch.cat([linear + above, below - linear], dim=1)
        return (both.flatten(1) - self.alpha) / 2


class PatchesAt:
    """`Patches` to first order at points, as `ddref.nonsurjective.solve` asks for it.

    With u = +-t - alpha and rho' = (1 + u / sqrt(u^2 + eps^2)) / 2, for each patch

        dt = (A^T dx - A^T y (y . dx) / q) / contrast

    because A and y have columns of mean zero here. One image after the other: its
    arrays stay in the cache.
    """

    def __init__(self, phi: Patches, X: Array) -> None:
        self.phi = phi
        q = len(phi.A)
        self.A = phi.A - phi.A.mean(dim=0)  # patches y have mean zero: the same answers
        self.cell_means = phi.cell_means.T.contiguous()
        self.scale = 1.0 if phi.scale is None else phi.scale
        self.P = phi.P
        self.images = []
        for image in X.reshape(-1, 1, *phi.input_shape):
            y, contrast = phi.normalised(image)
            t = phi.answers(y)[0]
            slopes = torch.cat(
                [slope(t - phi.alpha, phi.eps), -slope(-t - phi.alpha, phi.eps)]
            )
            self.images.append((y[0] / q, self.A.T @ y[0], slopes / contrast[0]))

    def push(self, dX: Array) -> Array:
        """Changes of the features (m, p) from changes of the points (m, d)."""
        found = torch.cat(
            [self._push(*at, dx) for at, dx in zip(self.images, dX, strict=True)]
        )
        return self._last(found / self.scale)

    def pull(self, Z: Array) -> Array:
        """The adjoint of `push`: (m, p) to (m, d)."""
        Z = (Z if self.P is None else Z @ self.P.T) / self.scale
        return torch.cat(
            [self._pull(*at, z) for at, z in zip(self.images, Z, strict=True)]
        )

    def jacobians(self) -> Array:
        """The Jacobians J (m, p, d), written out."""
        return torch.stack(
            [self._last(self._jacobian(*at).T / self.scale).T for at in self.images]
        )

    def _last(self, Z):
        return Z if self.P is None else Z @ self.P

    def _push(self, y, C, slopes, dx):
        image = dx.reshape(1, *self.phi.input_shape)
        change = F.unfold(image, self.phi.size, stride=self.phi.stride)[0]
        dt = self.A.T @ change
        dt.addcmul_(C, (y * change).sum(dim=0), value=-1)
        return (torch.cat([dt, dt]).mul_(slopes) @ self.cell_means.T).view(1, -1)

    def _pull(self, y, C, slopes, z):
        both = (z.view(len(slopes), -1) @ self.cell_means).mul_(slopes)
        g = both[: len(C)] + both[len(C) :]
        return self._folded(
            (self.A @ g).addcmul_(y, (C * g).sum(dim=0), value=-1)[None]
        )

    def _jacobian(self, y, C, slopes):
        rows = []  # one filter with a sign at a time, its cells a batch
        for j, each in enumerate(slopes):
            g, f = self.cell_means * each, j % len(C)
            back = self.A[:, f, None] * g[:, None, :]
            rows.append(self._folded(back.sub_(y * (C[f] * g)[:, None, :])))
        return torch.cat(rows)

    def _folded(self, patches):
        size = self.phi.input_shape[1:]
        return F.fold(patches, size, self.phi.size, stride=self.phi.stride).flatten(1)


def patch_features(
    input_shape: Any,
    filters: int,
    *,
    seed: Any,
    X: Array | None = None,
    size: int = 6,
    stride: int = 1,
    cells: int = 2,
    zca: float = 0.1,
    alpha: float = 0.25,
    eps: float = 0.25,
    noise: float = NOISE,
    like: Array | None = None,
) -> Patches:
    """`Patches` with random filters of length 1 after whitening (ZCA): patches of the
    images `X`, or without images normal vectors, whitened for photographs in general.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Of one image.
    filters : int
        F; there are ``2 * cells^2 * F`` features.
    seed : int or numpy.random.Generator
        Of the patches or the vectors.
    X : array (n, d), optional
        Images, of which patches are taken: three points better on CIFAR-10 than none,
        but then the filters are data: a file holds them all. Patches whose variance is
        at most `noise` become no filters.
    zca : float
        Added to the eigenvalues of the covariance of normalised patches, whose mean is
        near 1.
    size, stride, cells, alpha, eps, noise
        As in `Patches`.
    like : tensor, optional
        The map gets its dtype and device. Default: float64 on the CPU.

    Returns
    -------
    Patches
        Without `mean` and `scale`.

    Raises
    ------
    ValueError, TypeError
        For sizes that do not fit, images of too few patches that are not flat, no seed.

    Notes
    -----
    Source: Coates and Ng (2011). Without `X` the covariance is that of images whose
    power falls as one over the squared frequency, and whose colours have correlation
    0.9.

    Examples
    --------
    >>> phi = patch_features((3, 32, 32), 100, seed=0)
    >>> phi
    Patches(100 filters of 6 x 6, 3072 -> 800)
    """
    shape, filters = image_shape(input_shape), check_count(filters, "filters")
    size, stride = check_count(size, "size"), check_count(stride, "stride")
    patch_positions(shape, size, stride, cells)
    rounding = {"alpha": float(alpha), "eps": float(eps), "noise": float(noise)}
    geometry: dict[str, Any] = {"size": size, "stride": stride, "cells": cells}
    geometry |= {"input_shape": list(shape), **rounding}
    weights = whitened_filters(shape, size, filters, X, zca, noise, generator(seed))
    if not isinstance(like, torch.Tensor):
        like = torch.zeros((), dtype=torch.float64)
    phi = Patches(*(torch.as_tensor(A).to(like) for A in weights), **geometry)
    if X is not None:
        return phi
    return drawn_by(
        "patch_features", seed, phi, {**geometry, "filters": filters, "zca": float(zca)}
    )


# ------------------------------------------------------------------------- small parts


def smooth_size(u: Array, eps: float) -> Array:
    """``sqrt(u^2 + eps^2)``; the memory of `u` is used where no gradient is wanted."""
    if torch.is_grad_enabled():
        return torch.sqrt(u * u + eps**2)
    return u.square_().add_(eps**2).sqrt_()


def slope(u: Array, eps: float) -> Array:
    """The derivative of ``(u + sqrt(u^2 + eps^2)) / 2``."""
    return (1 + u / torch.sqrt(u * u + eps**2)) / 2


def whitened_filters(
    shape: tuple[int, ...],
    size: int,
    filters: int,
    X: Array | None,
    zca: float,
    noise: float,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """The matrix A (q, F) of `patch_features`; with images also b (F,), which takes the
    mean of their patches off.
    """
    if X is None:
        mean, covariance = None, photograph_covariance(shape[0], size)
        vectors = rng.normal(size=(filters, len(covariance)))
    else:
        patches, mean, covariance = sampled_patches(X, shape, size, filters, noise, rng)
    root = inverse_root(covariance, check_positive(zca, "zca"))
    if mean is not None:
        vectors = (patches - mean) @ root
    A = root @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    return [A] if mean is None else [A, -mean @ A]


def photograph_covariance(channels: int, size: int) -> np.ndarray:
    """The covariance (q, q) of normalised patches of images whose power falls as
    ``1 / (f^2 + FALL_OFF^2)``: trace q.
    """
    frequency = np.fft.fftfreq(16 * size)
    power = 1 / (frequency[:, None] ** 2 + frequency**2 + FALL_OFF**2)
    far = np.fft.ifft2(power).real  # by the distance, in rows and in columns
    rows, columns = (index.ravel() for index in np.indices((size, size)))
    space = far[np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns)]
    colours = np.eye(channels) * (1 - BETWEEN_COLOURS) + BETWEEN_COLOURS
    whole = np.kron(colours, space)
    centred = np.eye(len(whole)) - 1 / len(whole)  # the mean of a patch is taken off
    whole = centred @ whole @ centred
    return whole * (len(whole) / np.trace(whole))


def sampled_patches(
    X: Array,
    shape: tuple[int, ...],
    size: int,
    filters: int,
    noise: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random normalised patches that are not flat (filters, q); mean and covariance of
    all.
    """
    check_arrays(X=X)
    noise = check_positive(noise, "noise")
    images = np.asarray(as_numpy(X), dtype=np.float64)
    if images.shape[1] != math.prod(shape):
        raise ValueError(
            f"X has {images.shape[1]} columns, input_shape = {shape} needs "
            f"{math.prod(shape)}"
        )
    images = images.reshape(-1, *shape)
    (_, h, w), count = shape, max(PATCHES, 2 * filters)
    which = rng.integers(len(images), size=count)
    rows, columns = (rng.integers(side - size + 1, size=count) for side in (h, w))
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), (2, 3))
    patches = windows[which, :, rows, columns].reshape(count, -1)
    patches = patches - patches.mean(axis=1, keepdims=True)
    variance = (patches**2).mean(axis=1, keepdims=True)
    patches = patches / np.sqrt(variance + noise)
    rough = patches[variance[:, 0] > noise]
    if len(rough) < filters:
        raise ValueError(
            f"{len(rough)} of {count} random patches of X have a variance above noise "
            f"= {noise:.3g}, fewer than filters = {filters}: are its pixels 0 to 1?"
        )
    mean = patches.mean(axis=0)
    return rough[:filters], mean, np.cov(patches.T)


def inverse_root(covariance: np.ndarray, zca: float) -> np.ndarray:
    """``(covariance + zca)^(-1/2)``."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values + zca)) @ vectors.T


def patch_positions(
    shape: tuple[int, ...], size: int, stride: int, cells: int
) -> tuple[int, int]:
    """How many patches there are, down and across; refused where they are fewer than
    cells.
    """
    _, h, w = shape
    down, across = ((side - size) // stride + 1 for side in (h, w))
    if min(h, w) < size or min(down, across) < check_count(cells, "cells"):
        raise ValueError(
            f"images of {h} x {w} have {max(down, 0)} x {max(across, 0)} patches of "
            f"size = {size} at stride = {stride}, fewer than cells = {cells} in each "
            "direction"
        )
    return down, across


def checked_filters(A: Array, q: int) -> Array:
    """A copy of the filters, refused where they are no tensor (q, F)."""
    if not isinstance(A, torch.Tensor):
        raise TypeError(f"A must be a PyTorch tensor, got {type(A).__name__}")
    check_arrays(A=A.detach())
    if len(A) != q:
        raise ValueError(
            f"A has {len(A)} rows, patches have {q} values (channels * size^2)"
        )
    return own_copy(A)


def last_layer(P: Array, A: Array, width: int) -> Array:
    """A copy of P, refused where it does not take `width` features to fewer."""
    if not isinstance(P, torch.Tensor) or P.ndim != 2 or len(P) != width:
        found = tuple(P.shape) if isinstance(P, torch.Tensor) else type(P).__name__
        raise ValueError(
            f"P must be a tensor of {width} rows, one a feature, got {found}"
        )
    check_arrays(A=A, P=P.detach())
    return own_copy(P)


def own_row(b: Array | None, name: str, A: Array, width: int) -> Array | None:
    """A copy of `width` numbers that belong to the filters A."""
    if b is None:
        return None
    if not isinstance(b, torch.Tensor) or tuple(b.shape) != (width,):
        found = tuple(b.shape) if isinstance(b, torch.Tensor) else type(b).__name__
        raise ValueError(f"{name} must be a tensor of shape ({width},), got {found}")
    check_arrays(**{"A": A, name: b.detach()[None, :]})
    return own_copy(b)
