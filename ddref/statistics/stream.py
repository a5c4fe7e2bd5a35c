"""One pass over batches, from whatever gives them: an iterable, or blocks of Dask."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..arrays import Array, check_count
from .loaders import check_sampler, watched
from .sums import CHUNK, Statistics, check_batch, keeper_of

FAN_IN = 8  # sums that one Dask task adds up


def accumulate(
    loader: Iterable[tuple[Any, Array]],
    phi: Callable[[Any], Array] | None = None,
    *,
    classes: int | None = None,
    into: Statistics | None = None,
    products: str = "float64",
    progress: Callable[[int], None] | None = None,
) -> Statistics:
    """Statistics of everything that `loader` gives, in one pass.

    Parameters
    ----------
    loader : iterable of (X, Y)
        Batches of any size: a list, a generator over memory-mapped files, a
        `torch.utils.data.DataLoader`. Batches of fewer rows than `CHUNK` are put
        together first, so that small ones cost no more.
    phi : callable, optional
        Feature map, from a batch `X` to an array (rows, p). Default: `X` itself.
    classes : int, optional
        Number of classes: the second part of each batch holds integers (rows,) and
        becomes one-hot rows.
    into : Statistics, optional
        Add to these. Default: new ones, in the library and on the device of the first
        features.
    products : {"float64", "float32"}
        As in `Statistics`, for new ones.
    progress : callable, optional
        Called with the number of samples read so far, after every batch.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError, TypeError
        With the number of the batch. What was added before stays in `into`.

    Warns
    -----
    UserWarning
        Of a `DataLoader`, with the numbers: `drop_last=True`, a `DistributedSampler`
        that repeats samples or leaves some out, sampling with replacement, workers that
        each give all of an `IterableDataset`, another count than the data set's length.

    Notes
    -----
    Book: eq-statistics. `accumulate_shards` adds several processes and resuming. Every
    sample has to come once, in whatever process: `Subset(dataset, range(rank,
    len(dataset), count))` shares a data set out without padding.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([0, 1, 1])
    >>> s = accumulate([(X[:2], y[:2]), (X[2:], y[2:])], classes=2)
    >>> s.n, s.G, s.B
    (3, array([[14.]]), array([[1., 5.]]))
    """
    statistics = into
    check_sampler(loader)
    batches = _checked_batches(loader, phi, classes, into, progress)
    for first, last, Phi, Y in _gathered(watched(loader, batches)):
        with _numbered(first, last):
            if statistics is None:
                p, k = Phi.shape[1], Y.shape[1]
                statistics = Statistics(p, k, like=Phi, products=products)
            statistics.update(Phi, Y)
    if statistics is None:
        raise ValueError("the loader has no batches")
    return statistics


def from_dask(
    X: Any, Y: Any, phi: Callable[[Any], Array] | None = None, **options: Any
) -> Statistics:
    """Statistics of Dask arrays, block by block where the blocks are.

    Parameters
    ----------
    X, Y : dask.array.Array, or sequences of delayed blocks
        Inputs and targets; blocks of rows. `Y` is cut like `X`.
    phi : callable, optional
        Feature map, see `accumulate`; workers have to be able to import it.
    **options
        `classes` and `products`, as in `accumulate`.

    Returns
    -------
    Statistics
        Only sums travel. A block whose worker is lost is summed again by another one.

    Raises
    ------
    ValueError
        For other numbers of blocks in `X` and `Y`.

    Notes
    -----
    Book: eq-statistics.

    Examples
    --------
    >>> import pytest
    >>> da = pytest.importorskip("dask.array")
    >>> from_dask(da.ones((6, 2), chunks=3), da.ones((6, 1), chunks=2))
    Statistics(p=2, k=1, n=6)
    """
    import dask

    blocks = _row_blocks(X, Y)
    parts = [dask.delayed(_block_sums)(x, y, phi, options) for x, y in blocks]
    while len(parts) > 1:  # a tree: no task holds more than FAN_IN sums
        groups = [parts[i : i + FAN_IN] for i in range(0, len(parts), FAN_IN)]
        parts = [dask.delayed(sum)(group) for group in groups]
    return parts[0].compute()


def _row_blocks(X: Any, Y: Any) -> list[tuple[Any, Any]]:
    """Pairs of delayed blocks of the same rows."""
    if hasattr(X, "rechunk"):
        X = X.rechunk({axis: -1 for axis in range(1, X.ndim)})
    if hasattr(Y, "rechunk"):
        Y = Y.rechunk({axis: -1 for axis in range(1, Y.ndim)})
        if hasattr(X, "chunks") and X.shape[0] == Y.shape[0]:
            Y = Y.rechunk({0: X.chunks[0]})
    X, Y = (A.to_delayed().ravel() if hasattr(A, "to_delayed") else A for A in (X, Y))
    if len(X) != len(Y) or not len(X):
        raise ValueError(
            f"X has {len(X)} blocks and Y has {len(Y)}: the same rows are needed in "
            "the same blocks"
        )
    return list(zip(X, Y, strict=True))


def _block_sums(X: Any, Y: Array, phi: Any, options: dict[str, Any]) -> Statistics:
    return accumulate([(X, Y)], phi, **options)


def _checked_batches(
    loader: Iterable[tuple[Any, Array]],
    phi: Any,
    classes: int | None,
    into: Statistics | None,
    progress: Any,
) -> Iterator[tuple[int, Array, Array]]:
    """The number, features and targets of each batch, all of one width."""
    p, k = (None, None) if into is None else (into.p, into.k)
    seen = 0
    for number, batch in enumerate(loader, 1):
        with _numbered(number, number):
            Phi, Y = _features_and_targets(batch, phi, classes)
            check_batch(Phi, Y, p, k)
        p, k = Phi.shape[1], Y.shape[1]
        yield number, Phi, Y
        seen += Phi.shape[0]
        if progress is not None:
            progress(seen)


def _gathered(
    batches: Iterable[tuple[int, Array, Array]],
) -> Iterator[tuple[int, int, Array, Array]]:
    """Batches put together up to CHUNK rows: numbers of the first and the last, and
    their rows, in space that is used again.
    """
    space: Any = None
    kind: Any = None
    rows, first, number = 0, 1, 0
    for number, Phi, Y in batches:
        count = Phi.shape[0]
        fits = kind == (keeper_of(Phi, "Phi"), Phi.dtype) and rows + count <= CHUNK
        if rows and not fits:
            yield first, number - 1, space[0][:rows, :], space[1][:rows, :]
            rows, first = 0, number
        if count >= CHUNK:
            yield number, number, Phi, Y
            first = number + 1
            continue
        if kind != (keeper_of(Phi, "Phi"), Phi.dtype):
            kind = keeper_of(Phi, "Phi"), Phi.dtype
            space = [_chunk_like(Phi), _chunk_like(Y)]
        space[0][rows : rows + count, :] = Phi
        space[1][rows : rows + count, :] = Y
        rows += count
    if rows:
        yield first, number, space[0][:rows, :], space[1][:rows, :]


def _chunk_like(A: Array) -> Array:
    xp = array_namespace(A)
    return xp.empty((CHUNK, A.shape[1]), dtype=A.dtype, device=device(A))


def _features_and_targets(
    batch: Any, phi: Any, classes: int | None
) -> tuple[Array, Array]:
    """Features and targets of one batch, without gradients."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"a batch must be a pair (X, Y), got {type(batch).__name__}")
    X, Y = batch
    Phi = X if phi is None else phi(X)
    Phi = Phi.detach() if hasattr(Phi, "detach") else Phi
    if classes is not None:
        return Phi, _one_hot(Y, check_count(classes, "classes"), Phi)
    if getattr(Y, "ndim", None) == 1:
        raise ValueError(
            f"Y must have 2 dimensions, not shape {tuple(Y.shape)}: pass classes= for "
            "classes, Y[:, None] for numbers"
        )
    return Phi, Y.detach() if hasattr(Y, "detach") else Y


def _one_hot(y: Array, classes: int, Phi: Array) -> Array:
    """Rows with a one at the class, like `Phi`."""
    y = np.asarray(y.cpu() if hasattr(y, "cpu") else y)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise TypeError(
            "with classes= the targets must be integers (rows,), got "
            f"{y.dtype} of shape {y.shape}"
        )
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(
            f"classes must lie in 0..{classes - 1}, they reach from {y.min()} to "
            f"{y.max()}"
        )
    rows = np.zeros((len(y), classes))
    rows[np.arange(len(y)), y] = 1.0
    return array_namespace(Phi).asarray(rows, dtype=Phi.dtype, device=device(Phi))


@contextlib.contextmanager
def _numbered(first: int, last: int) -> Iterator[None]:
    """An error names the batches."""
    try:
        yield
    except (TypeError, ValueError) as error:
        which = f"batch {last}" if first == last else f"batches {first} to {last}"
        raise type(error)(f"{which}: {error}") from error
