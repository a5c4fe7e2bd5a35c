"""Weights of samples: read with care, and what they do to means, scalings and rows.

A sample of weight w counts as w samples would: means and scalings are weighted, and
then every row of features and targets, a column of ones too, is multiplied by sqrt(w).
A sample of weight 0 is absent.
"""

from typing import Any

import numpy as np
from sklearn.utils import compute_sample_weight
from sklearn.utils.sparsefuncs import mean_variance_axis


def checked_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Weights (n,) in float64, or None where every sample counts once.

    Raises
    ------
    ValueError, TypeError
        For weights that are negative, no finite numbers, all zero, or not one a sample.

    Examples
    --------
    >>> checked_weights([1, 0.5], 2)
    array([1. , 0.5])
    >>> checked_weights([1, -1], 2)
    Traceback (most recent call last):
        ...
    ValueError: sample_weight has 1 negative value(s), -1 at row 1 the smallest; leave
    a sample out with weight 0
    """
    if sample_weight is None:
        return None
    try:
        w = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"sample_weight must be numbers ({error})") from error
    if w.ndim == 0:
        w = np.full(n, float(w))
    if w.shape != (n,):
        raise ValueError(
            f"sample_weight has shape {w.shape}, one weight for each of {n} samples is "
            f"needed, shape ({n},)"
        )
    if not np.isfinite(w).all():
        row = int(np.argmin(np.isfinite(w)))
        raise ValueError(f"sample_weight contains NaN or Inf, at row {row}")
    if w.min() < 0:
        raise ValueError(
            f"sample_weight has {int((w < 0).sum())} negative value(s), {w.min():g} at "
            f"row {int(w.argmin())} the smallest; leave a sample out with weight 0"
        )
    if not w.any():
        raise ValueError("sample_weight is zero for every sample: none is left")
    return w


def present(*arrays: Any) -> tuple[Any, ...]:
    """Arrays of n rows, the weights the last of them, without rows of weight 0.

    Examples
    --------
    >>> import numpy as np
    >>> present(np.array([1.0, 2.0]), np.array([0.0, 3.0]))
    (array([2.]), array([3.]))
    """
    weights = arrays[-1]
    if weights is None or weights.all():
        return arrays
    return tuple(A[weights > 0] for A in arrays)


def with_class_weight(
    weights: np.ndarray | None, class_weight: Any, y: np.ndarray
) -> np.ndarray | None:
    """Weights times those of the classes y (n,): a dict, or "balanced", n / (classes *
    samples of the class).

    ValueError where a weight is negative, no class of y has a weight above 0, or a
    name of the dict is no class.

    Examples
    --------
    >>> import numpy as np
    >>> with_class_weight(None, "balanced", np.array([0, 0, 0, 1])).round(3)
    array([0.667, 0.667, 0.667, 2.   ])
    """
    if class_weight is None:
        return weights
    if isinstance(class_weight, dict):
        unknown = [c for c in class_weight if not np.isin(c, y)]
        if unknown:
            raise ValueError(
                f"class_weight names {unknown[:3]}, and y has no such class: its "
                f"classes are {np.unique(y)[:5].tolist()}"
            )
    elif class_weight != "balanced":
        raise ValueError(
            f"class_weight = {class_weight!r} must be None, 'balanced' or a dict from "
            "class to weight"
        )
    by_class = checked_weights(compute_sample_weight(class_weight, y), len(y))
    return by_class if weights is None else weights * by_class


def column_means(X: Any, weights: np.ndarray | None) -> np.ndarray:
    """Means (d,) of the columns of X (n, d), which may be sparse."""
    if hasattr(X, "toarray"):
        return mean_variance_axis(X, axis=0, weights=weights)[0]
    return X.mean(axis=0) if weights is None else weights @ X / weights.sum()


def column_deviations(X: Any, weights: np.ndarray | None) -> np.ndarray:
    """Standard deviations (d,) of the columns of X (n, d), which may be sparse."""
    if hasattr(X, "toarray"):
        return np.sqrt(mean_variance_axis(X, axis=0, weights=weights)[1])
    if weights is None:
        return X.std(axis=0)
    rest = X - column_means(X, weights)
    return np.sqrt(weights @ rest**2 / weights.sum())
