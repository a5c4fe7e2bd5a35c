"""From pixels and classes to the `X` and `Y` of the formulas, and back."""

import math
from typing import NamedTuple

import numpy as np

from ..arrays import Array, check_arrays, check_count, check_lam


class Standardized(NamedTuple):
    """Standardised rows and what is needed to undo the scaling.

    Attributes
    ----------
    X_train, X_test : ndarray, (n, d)
        `X_test` is None where none was given.
    mean, std : float
        One mean and one standard deviation over all training pixels, after division by
        `max_value`.
    shape : tuple of int
        Shape of one image, before flattening.
    max_value : float
        What the pixels were divided by.
    """

    X_train: np.ndarray
    X_test: np.ndarray | None
    mean: float
    std: float
    shape: tuple[int, ...]
    max_value: float


def standardize(
    X_train: np.ndarray,
    X_test: np.ndarray | None = None,
    *,
    max_value: float = 255,
    dtype: type | str = np.float64,
) -> Standardized:
    """Rows with training mean 0 and variance 1: the preprocessing of every figure of
    this project.

    Pixels are divided by `max_value`; then the mean of all training pixels is
    subtracted, and the result divided by the standard deviation of all training pixels.
    One mean and one deviation for all pixel positions, so images keep their look and
    pixels that never change do no harm. `max_value` cancels in the rows; it sets the
    unit of `mean` and `std`.

    Parameters
    ----------
    X_train : ndarray of integers or floats, (n, ...)
        Images, values from 0 to `max_value`.
    X_test : ndarray, (n_test, ...), optional
        Scaled with the numbers of the training images.
    max_value : float, default 255
        The largest possible pixel value: 255 for bytes, 16 for `digits`, 1 for images
        already in [0, 1].
    dtype : float64 (default) or float32
        Of the rows; mean and deviation are always computed in float64.

    Returns
    -------
    Standardized
        Rows (n, d), d the number of pixels of an image, and what `unstandardize` needs.

    Raises
    ------
    TypeError, ValueError
        Not NumPy arrays of real numbers, or empty; pixels outside 0 to `max_value`;
        test images of another shape; constant training images.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.datasets import standardize
    >>> images = np.array([[[0, 0], [0, 255]], [[255, 0], [255, 255]]], dtype=np.uint8)
    >>> result = standardize(images)
    >>> result.X_train
    array([[-1., -1., -1.,  1.],
           [ 1., -1.,  1.,  1.]])
    >>> result.mean, result.std, result.shape
    (0.5, 0.5, (2, 2))
    """
    dtype = _float_type(dtype)
    max_value = check_lam(max_value, "max_value")
    rows = _pixel_rows(X_train, "X_train", max_value)
    test = None if X_test is None else _pixel_rows(X_test, "X_test", max_value)
    shape = X_train.shape[1:]
    if test is not None and X_test.shape[1:] != shape:
        raise ValueError(
            f"X_test holds images of shape {X_test.shape[1:]}, X_train of shape {shape}"
        )
    mean = float(rows.mean())
    rows -= mean
    # That is rows.std(), without a second array.
    std = math.sqrt(np.einsum("ij,ij->i", rows, rows).sum() / rows.size)
    # Of a constant, rounding can leave 1e-17.
    if X_train.min() == X_train.max() or std == 0:
        raise ValueError(
            f"all pixels of X_train are {X_train.flat[0]}: a constant has no standard "
            "deviation to divide by"
        )
    rows /= std
    if test is not None:
        test -= mean
        test /= std
        test = test.astype(dtype, copy=False)
    return Standardized(
        rows.astype(dtype, copy=False), test, mean, std, shape, max_value
    )


def unstandardize(X: Array, like: Standardized) -> Array:
    """Images (m, ...) from standardised rows (m, d): the inverse of `standardize`.

    For looking at distilled points. Nothing is clipped: a distilled point may have
    pixels below 0 or above `like.max_value`.

    Parameters
    ----------
    X : NumPy array or tensor of floats, (m, d)
    like : Standardized
        What `standardize` returned for the images that X came from.

    Returns
    -------
    array (m, *like.shape)
        `(X * like.std + like.mean) * like.max_value`, in the library and dtype of X.

    Raises
    ------
    TypeError, ValueError
        `X` no matrix of d finite floats a row; `like` not a `Standardized`.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.datasets import standardize, unstandardize
    >>> images = np.array([[[0, 0], [0, 255]], [[255, 0], [255, 255]]], dtype=np.uint8)
    >>> scaled = standardize(images)
    >>> unstandardize(scaled.X_train[:1], scaled)
    array([[[  0.,   0.],
            [  0., 255.]]])
    """
    if not isinstance(like, Standardized):
        raise TypeError(
            f"like must be what standardize() returned, got {type(like).__name__}"
        )
    check_arrays(X=X)
    d = math.prod(like.shape)
    if X.shape[1] != d:
        raise ValueError(
            f"X has shape {tuple(X.shape)}, expected (m, {d}): one row an image of "
            f"shape {like.shape}"
        )
    images = (X * like.std + like.mean) * like.max_value
    return images.reshape((X.shape[0], *like.shape))


def one_hot(
    classes: np.ndarray, k: int | None = None, *, dtype: type | str = np.float64
) -> np.ndarray:
    """Targets `Y` (n, k) of a classification: row i is 1 at the class of sample i, else
    0.

    Parameters
    ----------
    classes : ndarray of integers, (n,)
        From 0 to k - 1.
    k : int, optional
        Number of classes. The default is the largest class present plus one: pass k
        where the last class may be absent.
    dtype : float64 (default) or float32

    Raises
    ------
    TypeError, ValueError
        Not a NumPy array of integers, (n,); a class below 0 or above k - 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.datasets import one_hot
    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    dtype = _float_type(dtype)
    _check_numbers(classes, "classes", "ui", "integers")
    if classes.ndim != 1 or classes.size == 0:
        raise ValueError(
            f"classes has shape {classes.shape}, expected (n,) with n >= 1"
        )
    low, high = int(classes.min()), int(classes.max())
    if low < 0:
        raise ValueError(f"classes contains {low}: classes count from 0")
    k = high + 1 if k is None else check_count(k, "k")
    if high >= k:
        raise ValueError(
            f"classes contains {high}, but k = {k} allows 0 to {k - 1}: pass "
            f"k >= {high + 1}"
        )
    Y = np.zeros((classes.size, k), dtype)
    Y[np.arange(classes.size), classes] = 1
    return Y


def _pixel_rows(X: np.ndarray, name: str, max_value: float) -> np.ndarray:
    """Images as rows (n, d) of float64, divided by `max_value`; X is left as it is."""
    _check_numbers(X, name, "uif", "real numbers")
    if X.ndim < 2 or X.size == 0:
        raise ValueError(
            f"{name} has shape {X.shape}, expected (n, ...) with n >= 1 and at least "
            "one pixel"
        )
    low, high = X.min(), X.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} contains NaN or Inf")
    if low < 0 or high > max_value or max_value == 0:
        raise ValueError(
            f"{name} has pixels from {low} to {high}, outside 0 to max_value = "
            f"{max_value:g}: pass raw pixels, and their largest possible value as "
            "max_value="
        )
    rows = X.reshape(len(X), -1).astype(np.float64)
    rows /= max_value
    return rows


def _check_numbers(X: np.ndarray, name: str, kinds: str, what: str) -> None:
    if not isinstance(X, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array, got {type(X).__name__}: use numpy.asarray"
        )
    if X.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold {what}, got {X.dtype}")


def _float_type(dtype: type | str) -> np.dtype:
    try:
        found = "" if dtype is None else np.dtype(dtype).name  # None would be float64
    except TypeError:
        found = ""
    if found not in ("float32", "float64"):
        raise TypeError(f"dtype must be numpy.float32 or numpy.float64, got {dtype!r}")
    return np.dtype(found)
