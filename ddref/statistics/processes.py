"""The processes of a run that `torchrun` started: which one this is, and the sums of
all.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from ..arrays import Array
from ..npz import shortened
from .sums import Statistics


class Processes:
    """The processes of a run, in a `with` statement.

    Started by `torchrun`, it joins the others; otherwise it is one process alone, which
    needs no PyTorch. Whether all are alive is for `torchrun` to see: where one dies, it
    ends the others, and with ``--max-restarts`` starts all again.

    Parameters
    ----------
    backend : {"gloo", "nccl"}
        Of `torch.distributed`: gloo for NumPy and the CPU, nccl for CUDA.
    timeout : float
        Seconds that the first to arrive at a meeting waits for the last one.

    Attributes
    ----------
    rank, count : int

    Raises
    ------
    ConnectionError
        By every method, with the ranks that did not come in time.

    Examples
    --------
    >>> with Processes() as processes:
    ...     print(processes.rank, processes.count)
    0 1
    """

    def __init__(self, backend: str = "gloo", timeout: float = 3600.0) -> None:
        if not 0 < timeout < float("inf"):
            raise ValueError(
                f"timeout = {timeout} must be a positive number of seconds"
            )
        self.rank = 0
        self.count = 1
        self._meeting: Any = None
        if "RANK" not in os.environ:  # not started by torchrun
            return
        import torch
        import torch.distributed as dist

        if backend == "nccl":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        patience = self.patience = timedelta(seconds=float(timeout))
        # After a restart the agent's store may still hold the addresses of those that
        # were ended: what this start writes goes under a name of its own.
        start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")

        def join() -> None:
            store, rank, count = next(dist.rendezvous("env://", timeout=patience))
            dist.init_process_group(
                backend,
                store=dist.PrefixStore(f"start-{start}", store),
                rank=rank,
                world_size=count,
                timeout=patience,
            )

        self._together(join)
        self.rank = dist.get_rank()
        self.count = dist.get_world_size()
        # Only gloo can say who is missing.
        self._meeting = self._together(
            lambda: dist.new_group(backend="gloo", timeout=patience)
        )

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        if self._meeting is not None:
            import torch.distributed as dist

            dist.destroy_process_group()

    def wait(self) -> None:
        """Return once every process has come here."""
        if self._meeting is not None:
            import torch.distributed as dist

            # Process 0 knows who is missing: it has to be the first to lose patience.
            patience = self.patience * (1 if self.rank == 0 else 2)
            self._together(
                lambda: dist.monitored_barrier(
                    self._meeting, timeout=patience, wait_all_ranks=True
                )
            )

    def reduce(self, statistics: Statistics) -> Statistics:
        """Turn the statistics of this process into those of all, in every process."""
        if self._meeting is None:
            return statistics
        self.wait()
        return self._together(statistics.all_reduce)

    def share(self, A: Array) -> Array:
        """`A` as process 0 has it, so that machines that round differently end with the
        same numbers.
        """
        if self._meeting is None:
            return A
        import torch
        import torch.distributed as dist

        self.wait()
        tensor = (
            torch.tensor(A) if isinstance(A, np.ndarray) else A.clone().contiguous()
        )
        self._together(lambda: dist.broadcast(tensor, 0))
        return tensor.numpy() if isinstance(A, np.ndarray) else tensor

    def _together(self, call: Callable[[], Any]) -> Any:
        """A call that needs the other processes."""
        try:
            return call()
        except RuntimeError as error:  # gloo, nccl and the store have no narrower type
            why = shortened(str(error))
            raise ConnectionError(
                f"process {self.rank} of {self.count} stops, the processes did not "
                f"come together ({why}). Finished shards are kept: the same command "
                "goes on from them"
            ) from error
