"""Random maps by their seed: what a file holds of them in the place of their weights.

The function that drew a map and its arguments draw it again. Beside them is a SHA-256
of the weights, and a number for each array, by which other last bits are told from
other weights: a QR decomposition rounds in another way on another processor.
"""

import hashlib
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from .base import EPS, Map
from .fourier import gaussian_features, orthogonal_features
from .networks import flow, leaky_relu_network

KIND = "drawn by seed"


def patch_features(**arguments: Any) -> Map:
    """`ddref.maps.patch_features`, which loads PyTorch."""
    from .patches import patch_features as draw

    return draw(**arguments)


FOURIER = {"d", "p", "bandwidth", "seed"}
PATCHED = {
    *("input_shape", "filters", "seed", "size", "stride", "cells"),
    *("zca", "alpha", "eps", "noise"),
}
# What draws a map, and its arguments.
MAKERS: dict[str, tuple[Callable[..., Map], set[str]]] = {
    "gaussian_features": (gaussian_features, FOURIER),
    "orthogonal_features": (orthogonal_features, FOURIER),
    "leaky_relu_network": (
        leaky_relu_network,
        {"widths", "slope", "weights", "bias", "seed"},
    ),
    "flow": (flow, {"d", "steps", "hidden", "log_scale", "seed"}),
    "patch_features": (patch_features, PATCHED),
}
FIELDS = {"kind", "maker", "arguments", "sha256", "check"}
SEEDS = 1 << 128  # a seed below has at most 128 bits
STEP = 1 << 12  # entries that a step of a network counts as, at least
ROUNDED = 1e4  # rounding may change a number of `check` by so many eps of the norm
OTHER = (
    "drawn again from its seed ({name}, {seed}), the feature map has other weights "
    "than in the file (another NumPy?): save it with map_arrays=True (--map-arrays)"
)
LAST_BITS = (
    "drawn again from its seed, the weights of the feature map have other last bits "
    "than where the file was written (another processor or NumPy); map_arrays=True "
    "(--map-arrays) stores them"
)


def by_seed(phi: Map, weights_of: Callable[[Map], Any]) -> dict[str, Any] | None:
    """A map as the arguments that draw it again; None where they draw another one.

    `weights_of` gives a map as plain data and its weights, by name.

    >>> by_seed(Map(), lambda phi: ({}, {})) is None
    True
    """
    if phi.drawn is None or not 0 <= phi.drawn.arguments["seed"] < SEEDS:
        return None
    plain, weights = weights_of(phi)
    again, same = weights_of(_drawn(*phi.drawn, np.asarray))
    if again != plain or _digest(same) != _digest(weights):
        return None  # it was changed since, or is in float32
    return {
        "kind": KIND,
        "maker": phi.drawn.maker,
        "arguments": phi.drawn.arguments,
        "sha256": _digest(weights),
        "check": _numbers_of(weights),
    }


def drawn_again(
    found: dict[str, Any],
    asarray: Callable[[np.ndarray], Array],
    weights_of: Callable[[Map], Any],
) -> Map:
    """The map that `by_seed` described.

    ValueError where its weights are others than those described; a warning where only
    their last bits are.
    """
    _check_fields(found)
    name = found["maker"]
    phi = _drawn(name, found["arguments"], asarray)
    _, weights = weights_of(phi)
    if _digest(weights) == found["sha256"]:
        return phi
    seed, numbers = found["arguments"]["seed"], _numbers_of(weights)
    allowed = [ROUNDED * EPS * np.linalg.norm(A) for _, A in sorted(weights.items())]
    if len(numbers) != len(found["check"]) or any(
        abs(a - b) > most
        for a, b, most in zip(numbers, found["check"], allowed, strict=True)
    ):
        raise ValueError(OTHER.format(name=name, seed=f"seed={seed}"))
    warnings.warn(LAST_BITS, UserWarning, stacklevel=2)
    return phi


def entries(found: Any) -> int:
    """Values that the maps drawn in plain data have, at most; nothing is drawn.

    >>> maker = {"maker": "gaussian_features", "arguments": {"d": 3, "p": 2}}
    >>> entries({"kind": "Chain", "steps": [{"kind": KIND, **maker}]})
    4105
    """
    if isinstance(found, list):
        return sum(map(entries, found))
    if not isinstance(found, dict):
        return 0
    if found.get("kind") != KIND:
        return sum(map(entries, found.values()))
    given = found["arguments"]
    if found["maker"] == "flow":
        d, hidden = int(given["d"]), int(given["hidden"])
        return int(given["steps"]) * (4 * d * hidden + STEP)
    if found["maker"] == "leaky_relu_network":
        widths = [int(width) for width in given["widths"]]
        pairs = zip(widths, widths[1:], strict=False)
        return sum(d * p + STEP for d, p in pairs)
    if found["maker"] == "patch_features":
        q = int(given["input_shape"][0]) * int(given["size"]) ** 2
        return q * max(q, int(given["filters"])) + STEP
    d, p = int(given["d"]), int(given["p"])
    return d * max(d, p) + STEP


def _drawn(maker, arguments, asarray):
    return MAKERS[maker][0](**arguments, like=asarray(np.zeros(())))


def _check_fields(found):
    """Refuse what `by_seed` does not write."""
    maker = found.get("maker")
    arguments = found.get("arguments")
    known = MAKERS[maker][1] if isinstance(maker, str) and maker in MAKERS else None
    if known is None:
        raise ValueError(f"the feature map is drawn by {maker!r}, not known here")
    if not isinstance(arguments, dict) or set(arguments) != known:
        raise ValueError(f"the arguments of {maker} must be {sorted(known)}")
    seed = arguments["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise ValueError(f"the seed of the feature map is {seed!r}, no such integer")
    numbers = found.get("check")
    if not isinstance(numbers, list) or not all(
        isinstance(value, float) and math.isfinite(value) for value in numbers
    ):
        raise ValueError("the feature map drawn by seed is damaged: no check numbers")
    if set(found) != FIELDS or not isinstance(found["sha256"], str):
        raise ValueError("the feature map drawn by seed is damaged")


def _digest(weights: dict[str, np.ndarray]) -> str:
    """SHA-256 of arrays: names, dtypes, shapes, values."""
    total = hashlib.sha256()
    for name, A in sorted(weights.items()):
        total.update(f"{name} {A.dtype.str} {A.shape} ".encode())
        total.update(np.ascontiguousarray(A).data.cast("B"))
    return total.hexdigest()


def _numbers_of(weights: dict[str, np.ndarray]) -> list[float]:
    """A weighted sum of each array, which other weights change."""
    return [
        float(A.ravel() @ np.cos(np.arange(A.size))) for _, A in sorted(weights.items())
    ]
