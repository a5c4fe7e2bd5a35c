"""Statistics of large data: in pieces that a killed run keeps, by one process or many.

    torchrun --nproc-per-node=4 -m ddref.distributed X.npy y.npy --classes 10 --lam 1e3 --shards run --out model.npz

`X.npy` (n, ...) and `y.npy` (n,) or (n, k) are memory-mapped and cut into shards of rows. Every process sums its share
of the shards and writes the sums of each to the folder `run`; one all-reduce adds them up, and every process ends with
the same model. Without `torchrun` one process does everything. A run that was stopped, by whatever, is repeated with
the same command: it takes the finished shards from the folder, with any number of processes.

Several machines: the same command on each, with `--nnodes` and `--rdzv-endpoint` of `torchrun`. The folder may be
shared, or be one on each machine.
"""

import argparse
import contextlib
import hashlib
import importlib
import os
import re
import signal
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import numpy as np
from array_api_compat import array_namespace, device

from ddref.measure import relative_error
from ddref.statistics import Statistics, accumulate

PROBES = 16  # rows by which a folder of shards is known to belong to the same data and feature map
LINGER = 5.0  # seconds for which a process that fails, and holds the store, lets the others read why


class Lost(ConnectionError):
    """Another process of the run failed, was killed or cannot be reached."""


class Processes:
    """The processes of a run: which one this is, whether the others are alive, and the sums of all.

    To be used in a `with` statement. Started by `torchrun`, it joins the others; otherwise it is one process alone,
    which needs no PyTorch.

    Parameters
    ----------
    backend : {"gloo", "nccl"}
        Of `torch.distributed`: gloo for NumPy and the CPU, nccl for CUDA.
    timeout : float
        Seconds without a sign of life after which a process counts as lost. Signs are given after every batch, so this
        must be longer than any batch, and than the time for which processes may start one after the other.

    Attributes
    ----------
    rank, count : int

    Raises
    ------
    Lost
        By every method, when another process has failed, died or fallen silent.

    Examples
    --------
    >>> with Processes() as processes:
    ...     print(processes.rank, processes.count)
    0 1
    """

    def __init__(self, backend="gloo", timeout=60.0):
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout = {timeout} must be a positive number of seconds")
        self.rank, self.count, self.timeout = 0, 1, float(timeout)
        self._signs, self._beats, self._meetings = None, 0, 0
        if "RANK" not in os.environ:  # not started by torchrun
            return
        import torch
        import torch.distributed as dist

        if backend == "nccl":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        wait = timedelta(seconds=self.timeout)
        store, self.rank, self.count = next(dist.rendezvous("env://", timeout=wait))
        self._signs = dist.PrefixStore("signs of life", store)
        self._ask(lambda: dist.init_process_group(backend, None, wait, self.count, self.rank, store))

    def __enter__(self):
        self.alive()
        return self

    def __exit__(self, kind, error, trace):
        if self._signs is None:
            return
        import torch.distributed as dist

        with contextlib.suppress(Exception):  # leaving: whatever goes wrong here says less than `error`
            if error is not None and not isinstance(error, Lost):
                self._signs.set(f"failed {self.rank}", f"{kind.__name__}: {error}")
            self._signs.set(f"left {self.rank}", "")
            until = time.monotonic() + min(self.timeout, LINGER)
            waits = self.rank == 0 and not isinstance(error, SystemExit)
            while waits and time.monotonic() < until:  # its end may end the store, which the others still read
                if self._signs.check([f"left {rank}" for rank in range(self.count)]):
                    break
                time.sleep(0.02)
        with contextlib.suppress(Exception):
            dist.destroy_process_group()

    def alive(self):
        """Give a sign of life, and hear whether another process has failed."""
        if self._signs is None:
            return
        self._beats += 1
        self._ask(lambda: self._signs.set(f"beat {self.rank}", str(self._beats)))
        for rank in range(self.count):
            if rank != self.rank and self._has(f"failed {rank}"):
                raise self._lost(f"process {rank} failed, {self._get(f'failed {rank}')}")

    def wait(self):
        """Return once every process has come here."""
        if self._signs is None:
            return
        self._meetings += 1
        self._ask(lambda: self._signs.set(f"meeting {self._meetings} {self.rank}", ""))
        heard = dict.fromkeys(set(range(self.count)) - {self.rank}, (None, time.monotonic()))
        while heard:
            self.alive()
            for rank, (last, since) in list(heard.items()):
                if self._has(f"meeting {self._meetings} {rank}"):
                    del heard[rank]
                    continue
                beat = self._get(f"beat {rank}") if self._has(f"beat {rank}") else None
                if beat != last:
                    heard[rank] = beat, time.monotonic()
                elif time.monotonic() - since > self.timeout:
                    raise self._lost(f"process {rank} has given no sign of life for {self.timeout:g} s")
            if heard:
                time.sleep(0.02)

    def reduce(self, statistics):
        """Turn the statistics of this process into those of all, in every process: one all-reduce."""
        if self._signs is None:
            return statistics
        self.wait()
        return self._ask(statistics.all_reduce)

    def share(self, A):
        """`A` as process 0 has it, so that machines that round differently end with the same numbers."""
        if self._signs is None:
            return A
        import torch
        import torch.distributed as dist

        self.wait()
        tensor = torch.from_numpy(A.copy()) if isinstance(A, np.ndarray) else A.clone().contiguous()
        self._ask(lambda: dist.broadcast(tensor, 0))
        return tensor.numpy() if isinstance(A, np.ndarray) else tensor

    def _has(self, key):
        return self._ask(lambda: self._signs.check([key]))

    def _get(self, key):
        return self._ask(lambda: self._signs.get(key)).decode()

    def _ask(self, call):
        """A call that needs the other processes; a broken connection becomes `Lost`."""
        try:
            return call()
        except RuntimeError as error:  # PyTorch has no narrower type that covers gloo, nccl and the store
            raise self._lost(f"the exchange with the others broke off ({str(error).splitlines()[0]})") from error

    def _lost(self, why):
        return Lost(
            f"process {self.rank} of {self.count} stops: {why}. Finished shards are kept: "
            "the same command goes on from them"
        )


def row_shards(X, Y, *, rows=65536, batch=4096):
    """Arrays cut into shards of consecutive rows.

    Parameters
    ----------
    X, Y : array, memory-mapped or not
        Inputs and targets of n samples; anything with a length that gives rows for a slice.
    rows : int
        Rows of a shard. The file of a shard has p x p numbers: at least p rows are sensible.
    batch : int
        Rows read at a time.

    Returns
    -------
    dict
        From the name of each shard, which says its rows, to a function that gives its batches.

    Raises
    ------
    ValueError
        For no rows, or different numbers of them.

    Examples
    --------
    >>> import numpy as np
    >>> shards = row_shards(np.zeros((5, 2)), np.zeros((5, 1)), rows=3)
    >>> list(shards), [len(X) for X, Y in shards["rows-0-3"]()]
    (['rows-0-3', 'rows-3-5'], [3])
    """
    n = len(X)
    if len(Y) != n:
        raise ValueError(f"X has {n} rows and Y has {len(Y)}; rows are samples and must match")
    if n == 0:
        raise ValueError("X has no rows")
    for name, value in (("rows", rows), ("batch", batch)):
        if not value >= 1:
            raise ValueError(f"{name} = {value} must be at least 1")

    def shard(start, stop):
        return lambda: ((X[i : min(i + batch, stop)], Y[i : min(i + batch, stop)]) for i in range(start, stop, batch))

    return {f"rows-{i}-{min(i + rows, n)}": shard(i, min(i + rows, n)) for i in range(0, n, rows)}


def accumulate_shards(shards, phi=None, *, folder=None, run="", processes=None, bar=False, total=None, **options):
    """This process's part of the statistics of `shards`; each is summed once, and saved when it is complete.

    Shards that `folder` holds already are read instead. A run that is killed loses the shard in hand and no other, and
    no sample is counted twice: the file of a shard is either complete or absent.

    Parameters
    ----------
    shards : dict of str to callable
        Named functions that give batches (X, Y), see `row_shards`; the names become file names. Process i of N takes
        every N-th shard, from the i-th on.
    phi : callable, optional
        Feature map, see `ddref.statistics.accumulate`.
    folder : str or path, optional
        Where the sums of each shard are kept. Default: nowhere.
    run : str
        What the shards are made of: data, feature map. Files that were saved for something else are refused.
    processes : Processes, optional
        Default: this one alone.
    bar : bool
        Draw a progress bar; needs tqdm, and draws nothing without it.
    total : Statistics, optional
        Add to these. Needed where a process may have no shard. Default: new ones.
    **options
        `classes` and `products`, as in `ddref.statistics.accumulate`.

    Returns
    -------
    Statistics
        Of this process's shards; ``processes.reduce`` adds those of the others.

    Raises
    ------
    ValueError, TypeError
        With the name of the shard and the number of the batch; for a file that is damaged or of another run, with its
        name: delete it, and the shard is summed again.
    Lost
        When another process has failed.

    Examples
    --------
    >>> import numpy as np
    >>> accumulate_shards(row_shards(np.arange(5.0)[:, None], np.ones((5, 1)), rows=2))
    Statistics(p=1, k=1, n=5)
    """
    rank, count, alive = (0, 1, _nothing) if processes is None else (processes.rank, processes.count, processes.alive)
    unfit = [name for name in shards if not re.fullmatch(r"\w[\w.-]*", str(name))]
    if unfit:
        raise ValueError(f"the shard {unfit[0]!r} cannot name a file: use letters, digits, '_', '-' and '.'")
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    mine = list(shards)[rank::count]
    if total is None and not mine:
        raise ValueError(f"process {rank} has none of the {len(shards)} shards: pass total=Statistics(p, k)")
    with _bar(bar and rank == 0, len(mine)) as step:
        for name in mine:
            path, note = folder and folder / f"{name}.npz", f"{run} {name}"
            if path and path.exists():
                part = _kept(path, note, None if total is None else total.B)
            else:
                part = _named(name, accumulate, shards[name](), phi, progress=lambda seen: alive(), **options)
                if path:
                    part.save(path, note=note)
            total = part if total is None else total.__iadd__(part)
            step(part.n)
            alive()
    return total


def _kept(path, note, like):
    try:
        return Statistics.load(path, like=like, note=note)
    except ValueError as error:
        raise ValueError(f"{error}; delete this file, and the shard is summed again") from error


def _named(name, function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"shard {name}, {error}") from error


def _nothing(*arguments):
    pass


@contextlib.contextmanager
def _bar(wanted, shards):
    """A function to call with the number of samples of each finished shard."""
    try:
        if not (wanted and shards):
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        yield _nothing
        return
    seen = 0
    with tqdm(total=shards, unit="shard") as drawn:

        def step(samples):
            nonlocal seen
            seen += samples
            drawn.set_postfix_str(f"{seen:,} samples", refresh=False)
            drawn.update()

        yield step


# -- the command


def main(arguments=None):
    """The command ``python -m ddref.distributed``: returns the model, see ``--help`` for the options.

    Returns
    -------
    array (p, k)
        The same in every process.

    Raises
    ------
    SystemExit
        With one sentence, for everything that input or another process did wrong; ``--traceback`` shows where.
    """
    options = _parser().parse_args(arguments)
    catches = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _stopped) if catches else None
    try:
        with Processes(options.backend, options.timeout) as processes:
            return _train(options, processes)
    except (OSError, TypeError, ValueError) as error:
        if options.traceback:
            raise
        raise SystemExit(f"ddref.distributed: {error}") from error
    finally:
        if catches:
            signal.signal(signal.SIGTERM, previous)


def _train(options, processes):
    X, Y = _array(options.X), _array(options.Y)
    phi = _function(options.phi) if options.phi else _flat
    shards = row_shards(X, Y, rows=options.rows, batch=options.batch)
    held_names = _held_out(list(shards), options.hold_out)
    Phi, T = _probe(X, Y, phi, options.classes)
    run = _same_run(Path(options.shards), _describe(X, Y, options), Phi, T)
    sums = []
    for names in [name for name in shards if name not in held_names], held_names:
        batches = {name: _featured(shards[name], phi, options.classes) for name in names}
        empty = Statistics(Phi.shape[1], T.shape[1], like=Phi, products=options.products)
        part = accumulate_shards(
            batches, folder=options.shards, run=run, processes=processes, bar=not options.quiet, total=empty,
            classes=options.classes, products=options.products,
        )  # fmt: skip
        sums.append(processes.reduce(part) if names else part)
    fit, held = sums
    everything = fit + held
    if everything.n != len(X):
        raise RuntimeError(f"{everything.n} samples were summed and the data have {len(X)}")
    if held.n or len(options.lam) > 1:
        choice = fit.validation(options.lam, held) if held.n else fit.gcv(options.lam)
        lam, scores, how = choice.lam, choice.scores, "held-out loss" if held.n else "generalised cross-validation"
    else:
        lam, scores, how = options.lam[0], [], ""
    W = processes.share(everything.solve(lam))
    if processes.rank == 0:
        numbers = np.asarray(W.cpu() if hasattr(W, "cpu") else W)
        _write(Path(options.out), W=numbers, lam=lam, n=everything.n, lams=options.lam, scores=scores)
        if options.statistics:
            everything.save(options.statistics, note=run)
        chosen = f", chosen from {len(options.lam)} by {how}" if how else ""
        print(f"{everything.n:,} samples in {len(shards)} shards, {processes.count} process(es)")
        print(f"lam = {lam:g}{chosen}; W ({everything.p}, {everything.k}) is in {options.out}")
    return W


def _stopped(number, frame):
    raise SystemExit(
        "stopped by a signal: the run was cancelled, or another of its processes has died (the launcher says which). "
        "Finished shards are kept: the same command goes on from them"
    )


def _array(path):
    """A memory-mapped .npy file."""
    try:
        A = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a NumPy array (.npy): {error}") from error
    if not isinstance(A, np.ndarray) or A.ndim == 0:
        raise ValueError(f"{path} does not hold one array (.npy) of samples")
    return A


def _function(text):
    """What `package.module:name` names."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--phi {text}: give MODULE:FUNCTION, importable from here ({error})") from error


def _flat(X):
    """The identity: images become rows."""
    if X.dtype.kind != "f":
        raise TypeError(f"X holds {X.dtype}: pass --phi MODULE:FUNCTION, which turns it into features (X / 255, say)")
    return np.asarray(X).reshape(len(X), -1)


def _targets(Y, Phi, classes):
    """Targets that are no classes, as rows beside `Phi`."""
    if classes is not None:
        return Y
    Y = Y[:, None] if Y.ndim == 1 else Y
    return array_namespace(Phi).asarray(np.array(Y), dtype=Phi.dtype, device=device(Phi))


def _featured(shard, phi, classes):
    """The batches of a shard with the feature map applied."""

    def batches():
        for X, Y in shard():
            Phi = phi(X)
            yield Phi, _targets(Y, Phi, classes)

    return batches


def _held_out(names, share):
    """Every q-th shard, q = 1 / share."""
    if not share:
        return []
    if not 0 < share <= 0.5:
        raise ValueError(f"--hold-out {share} must be more than 0 and at most 0.5")
    held = names[round(1 / share) - 1 :: round(1 / share)]
    if not held:
        raise ValueError(f"--hold-out {share} of {len(names)} shard(s) is none: pass a smaller --rows")
    return held


def _probe(X, Y, phi, classes):
    """Features and targets of a few rows spread over the data."""
    rows = np.unique(np.linspace(0, len(X) - 1, PROBES).astype(int))
    Phi = phi(np.asarray(X[rows]))
    one = accumulate([(Phi, _targets(np.asarray(Y[rows]), Phi, classes))], classes=classes)  # every check of a batch
    return Phi, one.B


def _describe(X, Y, options):
    kinds = ", ".join(f"{name} {A.dtype} {A.shape}" for name, A in (("X", X), ("Y", Y)))
    return f"{kinds}, phi {options.phi}, classes {options.classes}, products {options.products}"


def _same_run(folder, description, Phi, B):
    """The name of the run, which goes into every shard, after a look at whether the folder belongs to it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, probe = folder / "run.npz", {"Phi": _numpy(Phi), "B": _numpy(B)}
    if not path.exists():
        _write(path, description=description, **probe)
    try:
        with np.load(path, allow_pickle=False) as stored:
            known, old = str(stored["description"]), {name: stored[name] for name in probe}
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}): use another folder, or delete this one") from error
    if known != description:
        raise ValueError(f"{folder} belongs to another run ({known}), this one is {description}: use another folder")
    if any(old[name].shape != probe[name].shape or relative_error(probe[name], old[name]) > 1e-5 for name in probe):
        raise ValueError(
            f"the data or the feature map have changed since the shards in {folder} were summed ({PROBES} rows were "
            "compared): use another folder, or delete this one"
        )
    return hashlib.sha256(description.encode()).hexdigest()[:16]


def _numpy(A):
    A = A.detach().cpu() if hasattr(A, "detach") else A
    return np.asarray(A, dtype=np.float64)


def _write(path, **arrays):
    """An npz file, whole or not at all."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(part, "xb") as file:
            np.savez(file, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _parser():
    parser = argparse.ArgumentParser(prog="ddref.distributed", description="Ridge regression on large data, resumable.")
    parser.add_argument("X", help="inputs, a .npy file (n, ...)")
    parser.add_argument("Y", help="targets, a .npy file: classes (n,) with --classes, else numbers (n,) or (n, k)")
    parser.add_argument("--lam", type=float, nargs="+", required=True, help="regularisation; among several the best")
    parser.add_argument("--shards", required=True, metavar="FOLDER", help="where finished shards are kept")
    parser.add_argument("--out", required=True, metavar="FILE", help="the model: W, lam, n, lams, scores (.npz)")
    parser.add_argument("--statistics", metavar="FILE", help="also keep the sums of all samples (.npz)")
    parser.add_argument("--classes", type=int, help="number of classes, where the targets are classes")
    parser.add_argument("--phi", metavar="MODULE:FUNCTION", help="feature map; default: the inputs as rows")
    parser.add_argument("--hold-out", type=float, default=0.0, metavar="SHARE", help="share of shards that choose lam")
    parser.add_argument("--products", choices=("float64", "float32"), default="float64", help="see Statistics")
    parser.add_argument("--rows", type=int, default=65536, help="rows of a shard")
    parser.add_argument("--batch", type=int, default=4096, help="rows read at a time")
    parser.add_argument("--backend", choices=("gloo", "nccl"), default="gloo", help="nccl: phi returns CUDA tensors")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds without a sign of life")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    return parser


if __name__ == "__main__":
    main()
