"""Processes for tests/test_distributed.py: what they do, and feature maps that stop them."""

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import numpy as np

from ddref.privacy import ClippedStatistics
from ddref.statistics import Processes, Statistics
from ddref.statistics.__main__ import PROBES, main


def run(task, count, folder, *arguments, seconds=60):
    """Start `count` processes that do `task`; return what each said, `ok`, a message, or the signal that ended it."""
    context = multiprocessing.get_context("forkserver")  # it imports PyTorch once, before the first process
    context.set_forkserver_preload(["torch.distributed", "ddref.statistics"])
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        context.Process(target=_work, args=(task, rank, count, port, str(folder), arguments)) for rank in range(count)
    ]
    for process in started:
        process.start()
    until = time.monotonic() + seconds
    for process in started:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    said = [Path(folder) / f"said-{rank}.txt" for rank in range(count)]
    codes = [process.exitcode for process in started]
    return [path.read_text() if path.exists() else f"ended by {code}" for path, code in zip(said, codes, strict=True)]


def _work(task, rank, count, port, folder, arguments):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="localhost",
                      MASTER_PORT=str(port))  # fmt: skip
    os.chdir(folder)
    try:
        TASKS[task](rank, *arguments)
        said = "ok"
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
    Path(f"said-{rank}.txt").write_text(said)


def train(rank, *arguments):
    """The command; the model goes to a file of each process."""
    np.save(f"W-{rank}.npy", main(list(arguments)))


def reduce(rank, n, tensors):
    """Statistics of an uneven split of the rows, process 0 without any; then together."""
    Phi, Y = np.load("Phi.npy"), np.load("Y.npy")
    s = Statistics(Phi.shape[1], Y.shape[1])
    with Processes(timeout=20) as processes:
        if rank:
            ends = [0, n] if processes.count == 2 else [0, n // 3, n]
            rows = slice(ends[rank - 1], ends[rank])
            batch = Phi[rows], Y[rows]
            if tensors:
                import torch

                batch = tuple(torch.from_numpy(A) for A in batch)
            s.update(*batch)
        processes.reduce(s)
        np.savez(f"sums-{rank}.npz", G=s.G, B=s.B, n=s.n, yy=s.yy, cancellation=s.cancellation)
        np.save(f"shared-{rank}.npy", processes.share(np.full(3, float(rank))))


def differ(rank):
    """Statistics of different shapes."""
    with Processes(timeout=20):
        Statistics(3 + rank, 1).all_reduce()


def differ_in_bounds(rank):
    """Sums of rows that are clipped differently."""
    with Processes(timeout=20):
        ClippedStatistics(3, 1, clip=1.0 + rank).all_reduce()


def stay_away(rank):
    """One process neither arrives nor dies."""
    with Processes(timeout=1) as processes:
        if rank == 1:
            time.sleep(4)
        processes.wait()


TASKS = {"train": train, "reduce": reduce, "differ": differ, "differ_in_bounds": differ_in_bounds, "stay_away": stay_away}


# -- feature maps, for --phi


def halves(X):
    return np.concatenate([X / 2, X[:, :2] ** 2], axis=1)


def tensors(X):
    import torch

    return torch.from_numpy(halves(np.asarray(X)))


FACTOR = 1.0


def times_factor(X):
    return FACTOR * X


def kills_a_worker(X):
    """The map `halves`; the first block of rows that differ kills its process, once."""
    try:
        if len(X) > 1 and np.ptp(X[:, 0]):
            os.remove("die")  # one process succeeds
            time.sleep(1)  # the others have blocks in hand, and done
            os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        time.sleep(0.05)
    return halves(X)


def kills_process_1(X):
    """The map `halves`; process 1 dies in its second shard while the file `die` is there (once, if that says so)."""
    die = Path("die")
    if os.environ.get("RANK") == "1" and die.exists() and len(list(Path("run").glob("rows-*.npz"))) >= 2:
        if die.read_text() == "once":
            die.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return halves(X)


def fails_in_process_1(X):
    """The map `halves`; process 1 meets a bad value."""
    if os.environ.get("RANK") == "1" and len(X) > PROBES:
        X = X * np.nan
    return halves(X)
