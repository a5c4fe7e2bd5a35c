"""What a loader of PyTorch leaves out or gives twice: said with the numbers.

Nothing is imported from PyTorch: a loader is known by its parts.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ..arrays import Array
from ..maps.devices import as_numpy

MOST = 1 << 12  # fingerprints of rows that are kept at most


def check_sampler(loader: Any) -> None:
    """Warn of what the settings of a loader leave out or repeat."""
    batches = getattr(loader, "batch_sampler", None)
    sampler = getattr(batches, "sampler", None)
    count = _length(getattr(loader, "dataset", None))
    if sampler is None or count is None:
        return
    given, batch = _length(sampler), getattr(batches, "batch_size", None)
    if hasattr(sampler, "total_size") and hasattr(sampler, "num_replicas"):
        _check_distributed(sampler, count)
    elif getattr(sampler, "replacement", False):
        _warn(
            f"{type(sampler).__name__} draws {given} of {count} samples with "
            "replacement: some count several times, others not at all"
        )
    if getattr(batches, "drop_last", False) and given and batch and given % batch:
        _warn(
            f"drop_last=True leaves out {given % batch} of {given} samples (batches of "
            f"{batch}): pass drop_last=False, statistics take batches of any size"
        )


def _check_distributed(sampler: Any, count: int) -> None:
    extra, processes = sampler.total_size - count, sampler.num_replicas
    if extra:
        _warn(
            f"DistributedSampler {'repeats' if extra > 0 else 'leaves out'} "
            f"{abs(extra)} of {count} samples, so that {processes} processes get as "
            "many each: pass torch.utils.data.Subset(dataset, range(rank, "
            f"len(dataset), {processes})) and no sampler"
        )


def watched(
    loader: Any, batches: Iterable[tuple[int, Array, Array]]
) -> Iterator[tuple[int, Array, Array]]:
    """The same batches; after the last one a warning where there were more samples than
    the data set has, or fewer of one that has no order, or where each worker gave all.
    """
    workers = getattr(loader, "num_workers", 0)
    sampler = getattr(loader, "sampler", None)
    iterable = sampler is not None and _length(sampler) is None
    rows = Repeats() if iterable and workers > 1 else None
    seen = 0
    for batch in batches:
        yield batch
        seen += batch[1].shape[0]
        if rows is not None:
            rows.add(*batch[1:])
    if rows is not None and rows.least >= workers:
        _warn(
            f"{seen} samples were counted, each at least {rows.least} times: each of "
            f"the {workers} workers of this IterableDataset gives all; share it by "
            "torch.utils.data.get_worker_info(), or pass num_workers=0"
        )
        return
    count = _length(getattr(loader, "dataset", None))
    dropped = iterable and getattr(loader, "drop_last", False)
    if count is not None and (seen > count or iterable and seen < count):
        why = "some count several times" if seen > count else "the others are left out"
        why += " (drop_last=True)" if seen < count and dropped else ""
        _warn(f"{seen} samples were counted, the data set says {count}: {why}")
    elif dropped:
        _warn(
            f"{seen} samples were counted; drop_last=True may have left out more: pass "
            "drop_last=False, statistics take batches of any size"
        )


class Repeats:
    """How often the same rows come, by fingerprints of a part of them: the same part
    each time, and smaller where there are many.

    >>> import numpy as np
    >>> rows = Repeats()
    >>> for _ in range(3):
    ...     rows.add(np.eye(2), np.ones((2, 1)))
    >>> rows.least
    3
    """

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.part = 1  # fingerprints that this divides are kept

    @property
    def least(self) -> int:
        """How often every row has come at least; 0 before the first."""
        return min(self.counts.values(), default=0)

    def add(self, Phi: Array, Y: Array) -> None:
        """Count the rows of a batch."""
        found = zip(as_numpy(Phi), as_numpy(Y), strict=True)
        marks = (hash(x.tobytes() + y.tobytes()) for x, y in found)
        self.counts.update(mark for mark in marks if mark % self.part == 0)
        while len(self.counts) > MOST:
            self.part *= 2
            kept = {m: n for m, n in self.counts.items() if m % self.part == 0}
            self.counts = Counter(kept)


def _length(A: Any) -> int | None:
    """The length of what has one."""
    try:
        return len(A)
    except (TypeError, NotImplementedError):
        return None


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=5)
