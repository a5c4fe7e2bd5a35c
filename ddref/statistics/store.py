"""The folder of shards: each is summed once, kept in a file that is complete or absent,
and known by a checksum of its data.
"""

import contextlib
import functools
import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..arrays import Array, check_count
from ..maps.devices import as_numpy
from ..npz import load_npz
from .processes import Processes
from .stream import accumulate
from .sums import Statistics

Batches: TypeAlias = Callable[[], Iterable[tuple[Any, Array]]]


def row_shards(
    X: Any, Y: Any, *, rows: int = 65536, batch: int = 4096
) -> dict[str, Batches]:
    """Arrays cut into shards of consecutive rows.

    Parameters
    ----------
    X, Y : array, memory-mapped or not
        Inputs and targets of n samples; anything with a length that gives rows for a
        slice.
    rows : int
        Rows of a shard. The file of a shard has p x p numbers: at least p rows are
        sensible.
    batch : int
        Rows read at a time.

    Returns
    -------
    dict
        From the name of each shard, which says its rows, to a function that gives its
        batches.

    Examples
    --------
    >>> import numpy as np
    >>> shards = row_shards(np.zeros((5, 2)), np.zeros((5, 1)), rows=3)
    >>> list(shards), [len(X) for X, Y in shards["rows-0-3"]()]
    (['rows-0-3', 'rows-3-5'], [3])
    """
    n = len(X)
    if len(Y) != n:
        raise ValueError(
            f"X has {n} rows and Y has {len(Y)}; rows are samples and must match"
        )
    if n == 0:
        raise ValueError("X has no rows")
    check_count(rows, "rows")
    check_count(batch, "batch")

    def batches(start: int, stop: int) -> Iterator[tuple[Any, Any]]:
        for i in range(start, stop, batch):
            j = min(i + batch, stop)
            yield X[i:j], Y[i:j]

    ends = [(i, min(i + rows, n)) for i in range(0, n, rows)]
    return {f"rows-{i}-{j}": functools.partial(batches, i, j) for i, j in ends}


def accumulate_shards(
    shards: dict[str, Batches],
    phi: Callable[[Any], Array] | None = None,
    *,
    folder: str | Path | None = None,
    run: str = "",
    processes: Processes | None = None,
    bar: bool = False,
    total: Statistics | None = None,
    **options: Any,
) -> Statistics:
    """This process's part of the statistics of `shards`; each is summed once, and saved
    when it is complete.

    Shards that `folder` holds are read instead, while their data are what they were. A
    run that is killed loses the shard in hand and no other, and no sample is counted
    twice: the file of a shard is either complete or absent.

    Parameters
    ----------
    shards : dict of str to callable
        Named functions that give batches (X, Y), see `row_shards`; the names become
        file names. Process i of N takes every N-th shard, from the i-th on.
    phi : callable, optional
        Feature map, see `accumulate`.
    folder : str or path, optional
        Where the sums of each shard are kept, with a checksum of its data. On the next
        call the data are read again, which is far quicker than summing them; a shard
        whose data have changed is summed anew, with a warning. Default: nowhere.
    run : str
        A name for what else the shards are made of, the feature map: another map
        needs another name. Files that were saved under another name are refused.
    processes : Processes, optional
        Default: this one alone.
    bar : bool
        Draw a progress bar; needs tqdm, and draws nothing without it.
    total : Statistics, optional
        Add to these. Needed where a process may have no shard. Default: new ones.
    **options
        `classes` and `products`, as in `accumulate`.

    Returns
    -------
    Statistics
        Of this process's shards; ``processes.reduce`` adds those of the others.

    Raises
    ------
    ValueError, TypeError
        With the name of the shard and the number of the batch; for a file that is
        damaged or of another run, with its name.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.arange(5.0)[:, None], np.ones((5, 1))
    >>> accumulate_shards(row_shards(X, Y, rows=2))
    Statistics(p=1, k=1, n=5)
    """
    _check_names(shards)
    rank, count = (0, 1) if processes is None else (processes.rank, processes.count)
    mine = list(shards)[rank::count]
    found: Any = total
    if total is None and not mine:
        raise ValueError(
            f"process {rank} has none of the {len(shards)} shards: pass "
            "total=Statistics(p, k)"
        )
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with _bar(bar and rank == 0, len(mine)) as step:
        for name in mine:
            with _shard_named(name):
                if folder is None:
                    part = accumulate(shards[name](), phi, **options)
                else:
                    path = Path(folder, f"{name}.npz")
                    belongs = f"{run} {name}"
                    like = None if found is None else found.B
                    part = _kept(path, belongs, shards[name], like) or _summed(
                        path, belongs, shards[name], phi, options
                    )
            found = part if found is None else found.__iadd__(part)
            step(part.n)
    return found


class ChangedData(UserWarning):
    """The data of a shard are not those that its file was made from."""


class Checksum:
    """Of all batches that pass through, whatever their sizes: of the bytes of their
    rows, inputs and targets apart.
    """

    def __init__(self) -> None:
        self.hashes = [hashlib.blake2b(digest_size=16) for _ in "XY"]
        self.kinds: list[Any] = [None, None]

    def passing(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same batches, each taken into account before it is given on."""
        for batch in batches:
            for place, A in zip((0, 1), batch, strict=True):
                self._take(place, A)
            yield batch

    def _take(self, place: int, A: Any) -> None:
        A = np.ascontiguousarray(as_numpy(A))
        if A.dtype.hasobject:
            raise TypeError(f"{'XY'[place]} holds objects: only arrays have a checksum")
        kind = f"{A.dtype.str} {A.shape[1:]};"
        if kind != self.kinds[place]:
            self.hashes[place].update(kind.encode())
            self.kinds[place] = kind
        self.hashes[place].update(A.reshape(-1).view(np.uint8))

    def __str__(self) -> str:
        return "-".join(found.hexdigest() for found in self.hashes)


def _summed(
    path: Path, belongs: str, batches: Batches, phi: Any, options: dict[str, Any]
) -> Statistics:
    """The sums of a shard, and their file."""
    checksum = Checksum()
    part = accumulate(checksum.passing(batches()), phi, **options)
    part.save(path, note=f"{belongs} {checksum}")
    return part


def _kept(
    path: Path, belongs: str, batches: Batches, like: Array | None
) -> Statistics | None:
    """The sums in the file of a shard; None where it has to be made."""
    if not path.exists():
        return None
    try:
        part = Statistics.load(path, like=like)
        note = str(load_npz(path, only=("note",))["note"])
        made_for, _, known = note.rpartition(" ")
        if belongs not in (made_for, note):  # the first edition had no checksum
            raise ValueError(
                f"{path} holds the statistics of {note!r}, not {belongs!r}"
            )
    except ValueError as error:
        raise ValueError(
            f"{error}; delete this file, and the shard is summed again"
        ) from error
    checksum = Checksum()
    for _ in checksum.passing(batches()):
        pass
    if known == str(checksum):
        return part
    warnings.warn(
        f"{path}: the data of this shard have changed, or their checksum was not kept; "
        "it is summed again, the others stay",
        ChangedData,
        stacklevel=3,
    )
    return None


def _check_names(shards: dict[str, Batches]) -> None:
    for name in shards:
        if not re.fullmatch(r"\w[\w.-]*", str(name)):
            raise ValueError(
                f"the shard {name!r} cannot name a file: use letters, digits, '_', '-' "
                "and '.'"
            )


@contextlib.contextmanager
def _shard_named(name: str) -> Iterator[None]:
    """An error of a batch names the shard."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"shard {name}, {error}") from error


@contextlib.contextmanager
def _bar(wanted: bool, shards: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of samples of each finished shard."""
    try:
        if not (wanted and shards):
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        yield lambda samples: None
        return
    seen = 0
    with tqdm(total=shards, unit="shard") as drawn:

        def step(samples: int) -> None:
            nonlocal seen
            seen += samples
            drawn.set_postfix_str(f"{seen:,} samples", refresh=False)
            drawn.update()

        yield step
