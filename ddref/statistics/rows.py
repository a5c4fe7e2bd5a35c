"""Rows of a file that does not fit into memory, in blocks, and what is made of them."""

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..npz import NpyFile

BLOCK = 1 << 24  # bytes of a block of rows in float64


class FileRows:
    """Rows (n, d) in float64 of the array (n, ...) in an `.npy` file, in blocks.

    ``rows[part]``, for a slice or for indices, reads these alone. What is to be known
    of all of them is found in one pass, at the beginning.

    Parameters
    ----------
    path : str or path
    flat : callable, optional
        From a part of the array (m, ...) to rows (m, d). Default: all its values.
    progress : callable, optional
        Called with the rows read so far and all, after every block.

    Attributes
    ----------
    shape : (n, d)
    sha256 : str
        Of dtype, shape and values, as `ddref.files.digest` takes it of an array.

    Raises
    ------
    ValueError
        For NaN or Inf, with the row and the column; as `ddref.npz.NpyFile`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/X.npy", np.float32([[1, 2], [3, 4]]))
    ...     rows = FileRows(folder + "/X.npy")
    ...     rows.mean(axis=0), rows.std(axis=0), rows[1:]
    (array([2., 3.]), array([1., 1.]), array([[3., 4.]]))
    """

    def __init__(
        self,
        path: Any,
        flat: Callable[[np.ndarray], np.ndarray] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.file = path if isinstance(path, NpyFile) else NpyFile(path)
        self._flat = flat or (lambda A: A.reshape(len(A), -1))
        n = len(self.file)
        self.shape = n, self._flat(self.file[:1]).shape[1]
        found = hashlib.sha256(f"{self.file.dtype.str} {self.shape} ".encode())
        self._seen = 0
        self._mean, self._squares = np.zeros((2, self.shape[1]))
        self._low, self._high = np.outer([np.inf, -np.inf], np.ones(self.shape[1]))
        for part in parts(*self.shape):
            A = self._read(part)
            found.update(np.ascontiguousarray(A).data.cast("B"))
            self._look_at(np.asarray(A, dtype=np.float64))
            if progress is not None:
                progress(part.stop, n)
        self.sha256 = found.hexdigest()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.asarray(self._read(rows), dtype=np.float64)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, a block at a time."""
        for part in parts(*self.shape):
            yield self[part]

    def _read(self, rows: slice | np.ndarray) -> np.ndarray:
        A = self._flat(self.file[rows])
        if A.dtype.kind == "f" and not np.isfinite(A).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(A))[0])
            row = int(np.arange(len(self))[rows][row])
            raise ValueError(
                f"{self.file.path}: row {row:,} contains NaN or Inf, in column "
                f"{column} of {A.shape[1]}; fill or remove such samples"
            )
        return A

    def _look_at(self, A: np.ndarray) -> None:
        """Means, squares about them, least and largest values, with a block more."""
        mean, before, seen = A.mean(axis=0), self._seen, self._seen + len(A)
        away = mean - self._mean
        self._squares = self._squares + (
            ((A - mean) ** 2).sum(axis=0) + away**2 * (before / seen * len(A))
        )
        self._mean = self._mean + away * (len(A) / seen)
        self._low = np.minimum(self._low, A.min(axis=0))
        self._high = np.maximum(self._high, A.max(axis=0))
        self._seen = seen

    # -- of all rows, as arrays have them

    def mean(self, axis: int | None = None) -> Any:
        """Means of the columns (axis 0), or of all values."""
        return self._mean if axis == 0 else self._mean.mean()

    def std(self, axis: int | None = None) -> Any:
        """Standard deviations of the columns (axis 0), or of all values."""
        squares = self._squares / self.shape[0]
        if axis == 0:
            return np.sqrt(squares)
        return math.sqrt(np.mean(squares + (self._mean - self.mean()) ** 2))

    def min(self, axis: int | None = None) -> Any:
        """Least values of the columns (axis 0), or of all."""
        return self._low if axis == 0 else self._low.min()

    def max(self, axis: int | None = None) -> Any:
        """Largest values of the columns (axis 0), or of all."""
        return self._high if axis == 0 else self._high.max()


class Lazy:
    """``function(source)`` (n, columns), of which only the rows asked for are made.

    >>> import numpy as np
    >>> codes = np.array([0, 1, 1])
    >>> Lazy(codes, lambda c: np.eye(2)[c], 2)[1:2, :]
    array([[0., 1.]])
    """

    def __init__(
        self, source: Any, function: Callable[[Any], Any], columns: int | None = None
    ) -> None:
        self.source, self.function = source, function
        if columns is None:
            columns = function(source[:1]).shape[1]
        self.shape = len(source), columns

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        return self.function(self.source[key[0] if isinstance(key, tuple) else key])


def parts(n: int, d: int) -> Iterator[slice]:
    """Slices of n rows of d values, each of BLOCK bytes in float64."""
    rows = max(1, BLOCK // (8 * d))
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))
