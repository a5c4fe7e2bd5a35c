"""Kernels of two sets of rows, which PyTorch can differentiate."""

import math

import torch

from ..arrays import check_count, check_positive, check_products


def linear(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """``A B^T`` (a, b): the kernel of linear ridge regression, and of any feature map
    applied before it.

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        For rows of different widths, for what is no PyTorch tensor.

    Notes
    -----
    Book: eq-kip-kernel. scikit-learn's twin is
    ``sklearn.metrics.pairwise.linear_kernel``.

    Examples
    --------
    >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    _check_pair(A, B)
    return A @ B.mT


def gaussian(A: torch.Tensor, B: torch.Tensor, *, bandwidth: float) -> torch.Tensor:
    """``exp(-||a - b||^2 / (2 bandwidth^2))`` (a, b).

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples.
    bandwidth : float
        sigma, in units of the inputs; ``functools.partial(gaussian, bandwidth=3.0)`` is
        a function of A and B.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        Also for a bandwidth that is not positive.

    Notes
    -----
    Book: eq-kip-kernel. scikit-learn's twin is ``rbf_kernel(A, B, gamma=1 / (2 *
    bandwidth**2))``.

    Examples
    --------
    >>> origin, point = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    >>> gaussian(origin, point, bandwidth=5.0).log()
    tensor([[-0.5000]])
    """
    _check_pair(A, B)
    bandwidth = check_positive(bandwidth, "bandwidth")
    centre = B.detach().mean(0)  # far from the origin the squares would lose digits
    A, B = A - centre, B - centre
    squared = A.square().sum(1)[:, None] + B.square().sum(1) - 2 * A @ B.mT
    return torch.exp(squared.clamp_min(0) / (-2 * bandwidth**2))


def nngp(A: torch.Tensor, B: torch.Tensor, *, depth: int = 1) -> torch.Tensor:
    """Covariance of the outputs of an infinitely wide ReLU network with random weights:
    the arc-cosine kernel.

    ``K(a, b) = |a| |b| / d * kappa_1(... kappa_1(c))``, c the cosine of a and b,
    `depth` times ``kappa_1(c) = (sqrt(1 - c^2) + (pi - arccos c) c) / pi``.

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples. The network has no biases: append a constant column to the
        data for one in the first layer.
    depth : int
        Hidden layers; 0 is ``A B^T / d``.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        Also for a negative depth.

    Notes
    -----
    Book: eq-arc-cosine. Source: Cho and Saul (2009), the kernel of order 1. Weights of
    variance 1 / d in the first layer and 2 / width in those after it keep ``K(a, a) =
    |a|^2 / d`` at every depth. Cosines within 32 eps of 1 or -1 count as that: a point
    beside itself, where the arc cosine has no derivative.

    Examples
    --------
    >>> A, B = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    >>> nngp(A, B) * math.pi  # cosine 0: 2 * 3 / 2 / pi
    tensor([[3.0000]])
    """
    size, c = _cosines(A, B)
    for _ in range(check_count(depth, "depth", 0)):
        c, _ = _arc_cosine(c)
    return size * c


def ntk(A: torch.Tensor, B: torch.Tensor, *, depth: int = 1) -> torch.Tensor:
    """Neural tangent kernel of an infinitely wide ReLU network: inner products of
    gradients by all its weights.

    ``Theta_0 = K_0``, ``Theta_l = K_l + kappa_0(c_(l-1)) Theta_(l-1)``, K_l the
    covariance of `nngp` at depth l, c its cosine, ``kappa_0(c) = (pi - arccos c) /
    pi``.

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples.
    depth : int
        Hidden layers; 0 is ``A B^T / d``.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        Also for a negative depth.

    Notes
    -----
    Book: eq-ntk. Source: Jacot, Gabriel and Hongler (2018). Weights are standard normal
    and multiplied by sqrt(2 / width), sqrt(1 / d) in the first layer; ``K(a, a) =
    (depth + 1) |a|^2 / d``.

    Examples
    --------
    >>> A = torch.tensor([[2.0, 0.0]])
    >>> ntk(A, A, depth=3)  # 4 * 4 / 2
    tensor([[8.]])
    """
    size, c = _cosines(A, B)
    theta = c
    for _ in range(check_count(depth, "depth", 0)):
        c, slope = _arc_cosine(c)
        theta = c + slope * theta
    return size * theta


def _cosines(A, B):
    """``|a| |b| / d`` and the cosines, for all pairs of rows; a row of zeros has the
    cosine 0 with everything.
    """
    _check_pair(A, B)
    tiny = 1e-30
    norm_A, norm_B = A.norm(dim=1, keepdim=True), B.norm(dim=1, keepdim=True)
    c = (A / norm_A.clamp_min(tiny)) @ (B / norm_B.clamp_min(tiny)).mT
    return norm_A * norm_B.mT / A.shape[1], c


def _arc_cosine(c):
    """kappa_1 and kappa_0 of the cosines, with finite derivatives at 1 and -1."""
    inside = c.abs() < 1 - 32 * torch.finfo(c.dtype).eps
    c_safe = torch.where(inside, c, torch.zeros_like(c))
    angle = torch.where(inside, torch.acos(c_safe), math.pi * (c < 0).to(c.dtype))
    rest = 1 - angle / math.pi
    sine = torch.where(
        inside, ((1 - c_safe) * (1 + c_safe)).sqrt(), torch.zeros_like(c)
    )
    return sine / math.pi + rest * c, rest


def _check_pair(A, B):
    check_tensors(A=A, B=B)
    if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[1]:
        raise ValueError(
            f"A (a, d) and B (b, d) do not fit: {tuple(A.shape)}, {tuple(B.shape)}"
        )
    if not A.is_floating_point() or A.dtype != B.dtype:
        raise TypeError(
            "A and B must have one floating-point dtype, they have "
            f"{A.dtype} and {B.dtype}"
        )
    check_products(A=A, B=B)


def check_tensors(**arrays: torch.Tensor) -> None:
    """Refuse what is no PyTorch tensor."""
    for name, A in arrays.items():
        if not isinstance(A, torch.Tensor):
            raise TypeError(
                f"{name} must be a PyTorch tensor, got {type(A).__name__}; "
                "see torch.from_numpy"
            )
