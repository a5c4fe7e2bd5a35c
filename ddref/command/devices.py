"""Features and scores of a saved set, with NumPy or on a device of PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import files
from ..arrays import Array
from ..maps.devices import as_numpy, check_device, on_device
from ..maps.written import with_arrays


def features_on(saved: files.Saved, device: str | None) -> Callable[[Any], Array]:
    """From rows of NumPy (n, d) to features (n, p): `ddref.files.features`, as tensors
    where a device is named.
    """
    if device is None:
        return lambda A: files.features(saved, A)
    check_device(device)
    rows, phi = saved._replace(feature_map=None), saved.feature_map
    if phi is None:
        return lambda A: on_device(files.features(rows, A), device)
    phi = with_arrays(phi, lambda A: on_device(A, device))
    return lambda A: phi(on_device(files.features(rows, A), device))


def scores_on(
    saved: files.Saved, device: str | None
) -> Callable[[Any, Array, Array], np.ndarray]:
    """From rows (n, d), W (p, k) and b (1, k) to scores (n, k) of NumPy."""
    features = features_on(saved, device)

    def scores(A: Any, W: Array, b: Array) -> np.ndarray:
        W, b = (on_device(B, device) for B in (W, b))
        return as_numpy(features(A) @ W + b)

    return scores
