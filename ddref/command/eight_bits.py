"""Points as pictures of 8 bits, rounded so that they train nearly the same model, and
the labels that belong to them.

Let ``W = Phi_S^T alpha`` and let rounding add E to the features. With the best labels
for the rounded ones they train ``W + (I - P) E^T alpha``, P the projection onto their
rows: nothing is lost where these span W, and at most ``||E^T alpha||`` elsewhere. So
which neighbour a value is rounded to matters, and errors are made to cancel.
"""

from typing import NamedTuple

import numpy as np

from .. import labels_only

BLOCK = 1 << 22  # values that are rounded at a time


class Rounded(NamedTuple):
    """Points in 8 bits: a value is ``offset + scale * byte``."""

    pixels: np.ndarray  # (m, d) of uint8
    offset: float
    scale: float

    @property
    def values(self) -> np.ndarray:
        """The points that the bytes stand for, (m, d)."""
        return self.offset + self.scale * self.pixels.astype(np.float64)


def in_bytes(
    X: np.ndarray, alpha: np.ndarray | None = None, enough: bool = False
) -> Rounded:
    """Rows (m, d) in 8 bits, one scale and offset for all.

    Whole numbers that fit stay as they are; else the smallest value is 0, the largest
    255. With the coefficients `alpha` (m, k) of a model, a value takes the byte above
    or below it such that the errors cancel; where there are `enough` points for labels
    to absorb all errors, it is the nearest byte, and no pixel that varies becomes
    constant.

    Examples
    --------
    >>> in_bytes(np.array([[3.0, 255.0]])).scale
    1.0
    >>> in_bytes(np.array([[-1.0, 0.0, 1.0]])).pixels
    array([[  0, 128, 255]], dtype=uint8)
    """
    X = X.astype(np.float64)
    low, high = float(X.min()), float(X.max())
    if 0 <= low and high <= 255 and (X == np.rint(X)).all():
        return Rounded(X.astype(np.uint8), 0.0, 1.0)
    scale = (high / 255 - low / 255) or 1.0
    # halves, so that no difference overflows
    levels = ((X / 2 - low / 2) / (scale / 2)).clip(0, 255)
    found = np.rint(levels)
    if enough:
        _keep_varying(found, levels)
    elif alpha is not None:
        width = max(1, BLOCK // len(X))
        for start in range(0, X.shape[1], width):
            block = slice(start, start + width)
            found[:, block] = _balanced(found[:, block], levels[:, block], alpha)
    return Rounded(found.astype(np.uint8), low, scale)


def _balanced(found, levels, alpha):
    """Levels next to those wanted, one step after the other changed to the other side,
    as long as ``E^T alpha`` gets smaller; pixels do not depend on each other.
    """
    found, E = found.T.copy(), (found - levels).T  # a line a pixel
    rest, size = E @ alpha, np.sum(alpha**2, axis=1)
    pending = np.arange(len(E))
    while len(pending):
        overlap = rest[pending] @ alpha.T
        step = np.where(overlap > 0, -1.0, 1.0)
        change = size - 2 * np.abs(overlap)  # of ||rest||^2
        aside = np.abs(E[pending] + step) > 1
        outside = np.abs(found[pending] + step - 127.5) > 128
        change[aside | outside] = 0.0
        best = np.argmin(change, axis=1)
        lines = np.arange(len(pending))
        gains = change[lines, best] < -1e-9 * size.max()
        pending, best, step = pending[gains], best[gains], step[lines, best][gains]
        found[pending, best] += step
        E[pending, best] += step
        rest[pending] += step[:, None] * alpha[best]
    return found.T


def _keep_varying(found, levels):
    """Change one level of each pixel that would become constant, in points in turn."""
    lost = (np.ptp(found, axis=0) == 0) & (np.ptp(levels, axis=0) > 0)
    for i, pixel in enumerate(np.flatnonzero(lost)):
        s = i % len(found)
        up = levels[s, pixel] > found[s, pixel] or found[s, pixel] == 0
        found[s, pixel] += 1 if up else -1


def coefficients(Phi_S: np.ndarray, W: np.ndarray, centred: bool) -> np.ndarray:
    """``alpha`` (m, k) with ``W = Phi_S^T alpha``, of the centred rows where asked.

    Examples
    --------
    >>> coefficients(np.array([[2.0, 0.0]]), np.array([[3.0], [0.0]]), False)
    array([[1.5]])
    """
    rows, rtol = _rows(Phi_S, centred)
    return np.linalg.pinv(rows, rcond=rtol).T @ W


def labels_for(
    Phi_S: np.ndarray, W: np.ndarray, b: np.ndarray | None, lam_S: float
) -> labels_only.LabelFit:
    """Labels with which the features `Phi_S` train `W`, with the intercept `b` where
    there is one, or come as near to `W` as labels can; and how far that is.

    Examples
    --------
    >>> W, b = np.array([[2.0]]), np.array([[3.0]])
    >>> labels_for(np.array([[1.0], [3.0]]), W, b, 0.0).Y_S.round(12)
    array([[5.],
           [9.]])
    """
    rows, rtol = _rows(Phi_S, b is not None)
    found = labels_only.least_squares(rows, W, lam_S, rtol=rtol)
    if b is None:
        return found
    level = Phi_S.mean(axis=0) @ W + b
    return found._replace(Y_S=found.Y_S - found.Y_S.mean(axis=0) + level)


def _rows(Phi_S, centred):
    """What is trained on, and the share of its size that is rounding."""
    eps = max(Phi_S.shape) * float(np.finfo(np.float64).eps)
    if not centred:
        return Phi_S, eps
    rows = Phi_S - Phi_S.mean(axis=0)
    size, spread = np.linalg.norm(Phi_S, 2), np.linalg.norm(rows, 2)
    return rows, min(1.0, eps * float(size / (spread or size or 1.0)))
