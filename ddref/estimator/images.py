"""Distilled points as images of bytes, and the way back from a shade to a value."""

import math
import operator
from typing import NamedTuple

import numpy as np


class Images(NamedTuple):
    """Points as images to look at, and how to get back from a shade to a value."""

    images: np.ndarray  # (m, *image_shape) of uint8
    low: float  # value shown as 0
    high: float  # value shown as 255
    clipped: float  # fraction of the values beyond low or high
    mapping: str  # the same in a sentence


def displayed(
    X: np.ndarray,
    image_shape: tuple[int, ...] | None,
    value_range: tuple[float, float] | None = None,
) -> Images:
    """Rows (m, d) as grey or colour images of bytes.

    Parameters
    ----------
    X : ndarray (m, d)
    image_shape : tuple of int
        (height, width) or (height, width, channels), d values in all.
    value_range : (low, high), optional
        Values shown as 0 and as 255; what is beyond is clipped, and its fraction
        reported. Default: the smallest and the largest value, so that none is.

    Returns
    -------
    Images

    Examples
    --------
    >>> displayed(np.array([[0.0, 1.0]]), (1, 2)).images
    array([[[  0, 255]]], dtype=uint8)
    """
    if image_shape is None:
        raise ValueError(
            "no image shape is known: pass image_shape=(height, width) or "
            "(height, width, channels)"
        )
    shape = tuple(operator.index(side) for side in image_shape)
    if math.prod(shape) != X.shape[1]:
        raise ValueError(
            f"image_shape = {shape} has {math.prod(shape)} values, "
            f"a point has {X.shape[1]}"
        )
    low, high = _shown_range(X, value_range)
    clipped = float(np.mean((X < low) | (X > high)))
    parts = (np.clip(X.astype(np.float64), low, high) - low) / (high - low)
    shades = np.rint(255 * parts).astype(np.uint8)
    mapping = (
        f"value = {low:.6g} + shade * {(high - low) / 255:.6g}, shades 0 to 255, one "
        f"mapping for all points; values from {float(X.min()):.6g} to "
        f"{float(X.max()):.6g} in units of X, {clipped:.1%} of them clipped"
    )
    return Images(shades.reshape(len(X), *shape), low, high, clipped, mapping)


def _shown_range(X, value_range):
    """Values shown as black and as white."""
    if value_range is None:
        low, high = float(X.min()), float(X.max())
        return low, (high if low < high else low + 1.0)
    low, high = map(float, value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"value_range = ({low}, {high}) must be two finite numbers, "
            "the smaller first"
        )
    return low, high
