"""Coresets that look at no labels."""

import math

import torch

from ..arrays import check_arrays, check_count
from .kernels import check_tensors


def herding(Phi: torch.Tensor, m: int) -> torch.Tensor:
    """Rows of `Phi` whose running mean stays as near as possible to the mean of all: a
    coreset without any labels.

    Greedy: the next row is the one that brings the mean of those chosen closest to the
    mean of all.

    Parameters
    ----------
    Phi : tensor (n, p)
        Features of one class (or of everything).
    m : int
        Rows to choose, at most n.

    Returns
    -------
    integer tensor (m,)
        Indices, in the order chosen; none twice.

    Raises
    ------
    ValueError, TypeError
        For m outside 1 to n, unusable arrays.

    Notes
    -----
    Book: sec-coresets. Source: Welling (2009), in the greedy form of Rebuffi,
    Kolesnikov, Sperl and Lampert (2017).

    Examples
    --------
    >>> rows = torch.tensor([[0.0], [4.0], [5.0], [9.0]])  # the mean is 4.5
    >>> herding(rows, 3).tolist()
    [1, 2, 0]
    """
    check_tensors(Phi=Phi)
    check_arrays(Phi=Phi)
    if not 1 <= check_count(m, "m") <= Phi.shape[0]:
        raise ValueError(
            f"m = {m} must be between 1 and the {Phi.shape[0]} rows of Phi"
        )
    mean = Phi.mean(0)
    squares = Phi.square().sum(1)
    total = torch.zeros_like(mean)
    chosen: list[int] = []
    for count in range(1, m + 1):
        score = squares - 2 * Phi @ (
            count * mean - total
        )  # ||total + row - count mean||^2 up to a constant
        score[chosen] = math.inf
        chosen.append(int(score.argmin()))
        total = total + Phi[chosen[-1]]
    return torch.tensor(chosen, device=Phi.device)
