"""Small sets that need no download: scikit-learn's digits, and a sample of
Fashion-MNIST that is shipped with the package.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..npz import load_npz

SAMPLE = Path(__file__).parents[1] / "data" / "fashion_sample.npz"
SAMPLE_SHA256 = "6f8596ccb3e4234b48241378a3619d486e8d3455dc87b1a8de62d15de1b974d3"

DIGIT_NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Dataset(NamedTuple):
    """Images and classes, as stored: pixels are unsigned bytes, classes count from 0.

    Attributes
    ----------
    X_train, X_test : ndarray of uint8, (n, height, width), or (n, height, width, 3)
        The latter in colour.
    y_train, y_test : ndarray of int64, (n,)
    class_names : tuple of str
        The name of class i is `class_names[i]`.
    notes : tuple of str
        What was done to images on the way, in words; see `image_folder`.
    files : tuple of str
        Names of the training images, where they came from files of their own.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def as_dataset(
    arrays: Sequence[np.ndarray],
    class_names: tuple[str, ...],
    notes: Sequence[str] = (),
) -> Dataset:
    """A `Dataset` of X_train, y_train, X_test, y_test."""
    X_train, y_train, X_test, y_test = arrays
    y_train, y_test = (y.astype(np.int64) for y in (y_train, y_test))
    return Dataset(X_train, y_train, X_test, y_test, class_names, tuple(notes))


def digits() -> Dataset:
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels, values 0 to 16.

    Small enough for every check to be instant. The set has no official split; the first
    1,437 images are used for training and the last 360 for testing, in scikit-learn's
    order.

    Returns
    -------
    Dataset
        Images uint8, (1437, 8, 8) and (360, 8, 8), still on their scale of 0 to 16.

    Raises
    ------
    ImportError
        When scikit-learn is not installed.

    References
    ----------
    `sklearn.datasets.load_digits`; E. Alpaydin and C. Kaynak, Optical Recognition of
    Handwritten Digits, UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> from ddref.datasets import digits
    >>> data = digits()
    >>> data.X_train.shape, data.X_test.shape, int(data.X_train.max())
    ((1437, 8, 8), (360, 8, 8), 16)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "digits() needs scikit-learn: install scikit-learn, or ddref with its "
            "extra 'sklearn'. fashion_sample() needs neither."
        ) from error
    bunch = load_digits()
    X, y = bunch.images.astype(np.uint8), bunch.target
    return as_dataset((X[:1437], y[:1437], X[1437:], y[1437:]), DIGIT_NAMES)


def fashion_sample() -> Dataset:
    """The first 6,000 training and the first 1,000 test images of Fashion-MNIST.

    Shipped with the package: needs no network and no data folder, so that every chapter
    and every test can run on real images.

    Returns
    -------
    Dataset
        Images uint8, (6000, 28, 28) and (1000, 28, 28), values 0 to 255.

    Raises
    ------
    FileNotFoundError, ValueError
        When the shipped file is missing or damaged.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms, 2017, arXiv:1708.07747; (c) 2017 Zalando
    SE, MIT licence (the text lies beside the file).

    Examples
    --------
    >>> from ddref.datasets import fashion_sample
    >>> data = fashion_sample()
    >>> data.X_train.shape, data.X_test.shape
    ((6000, 28, 28), (1000, 28, 28))
    >>> data.class_names[data.y_train[0]]
    'Ankle boot'
    """
    if not SAMPLE.is_file():
        raise FileNotFoundError(
            f"{SAMPLE} is missing: reinstall ddref, or run tools/make_sample.py"
        )
    fields = Dataset._fields[:4]
    try:
        stored = load_npz(SAMPLE, only=fields)
        arrays = [stored[field] for field in fields]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{SAMPLE} is damaged ({error}): reinstall ddref") from error
    found = sha256_of(*arrays)
    if found != SAMPLE_SHA256:
        raise ValueError(
            f"{SAMPLE} is damaged: SHA-256 of its arrays {found}, expected "
            f"{SAMPLE_SHA256}; reinstall ddref"
        )
    return as_dataset(arrays, FASHION_NAMES)


def sha256_of(*arrays: np.ndarray) -> str:
    """SHA-256 of the bytes of arrays, one after the other."""
    found = hashlib.sha256()
    for A in arrays:
        found.update(np.ascontiguousarray(A).tobytes())
    return found.hexdigest()
