"""``python -m ddref.statistics``: ridge regression on large data, resumable.

    torchrun --nproc-per-node=4 -m ddref.statistics X.npy y.npy --classes 10 \\
        --lam 1e3 --shards run --out model.npz

`X.npy` (n, ...) and `y.npy` (n,) or (n, k) are memory-mapped and cut into shards of
rows. Every process sums its share of the shards and writes the sums of each to the
folder `run`; one all-reduce adds them up, and every process ends with the same model.
Without `torchrun` one process does everything. A run that was stopped, by whatever, is
repeated with the same command: it takes the finished shards from the folder, with any
number of processes; shards whose data have changed are summed again.

Several machines: the same command on each, with `--nnodes` and `--rdzv-endpoint` of
`torchrun`. The folder may be shared, or be one on each machine.
"""

import argparse
import hashlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..arrays import Array, relative
from ..maps.devices import as_numpy
from ..npz import load_npz, save_npz
from .processes import Processes
from .store import Batches, ChangedData, accumulate_shards, row_shards
from .stream import accumulate
from .sums import Statistics

PROBES = 16  # rows by whose features a folder of shards knows its feature map


def main(arguments: list[str] | None = None) -> Array:
    """Run the command, see ``--help``; returns the model (p, k), the same in every
    process.

    SystemExit with one sentence for everything that input or another process did wrong;
    ``--traceback`` shows where. An interruption exits with 130, and keeps the shards
    that are finished.
    """
    options = _parser().parse_args(arguments)
    try:
        with (
            warnings.catch_warnings(),
            Processes(options.backend, options.timeout) as processes,
        ):
            warnings.simplefilter("always", ChangedData)
            warnings.showwarning = _said_on_stderr
            return _trained(options, processes)
    except KeyboardInterrupt:
        print(
            "ddref.statistics: interrupted; finished shards are kept in "
            f"{options.shards}, the same command goes on from there",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    except (OSError, TypeError, ValueError) as error:
        if options.traceback:
            raise
        raise SystemExit(f"ddref.statistics: {error}") from error


def _trained(options: argparse.Namespace, processes: Processes) -> Array:
    X = _mapped(options.X)
    Y = _mapped(options.Y)
    if options.classes is None and Y.ndim == 1:
        Y = Y[:, None]
    phi = _function(options.phi) if options.phi else _flat
    shards = row_shards(X, Y, rows=options.rows, batch=options.batch)
    held_names = _held_out(list(shards), options.hold_out)
    Phi, k = _probe(X, Y, phi, options.classes)
    run = _same_map(Path(options.shards), _describe(X, Y, options), X, phi)
    sums = []
    for names in [name for name in shards if name not in held_names], held_names:
        batches = {name: _like_features(shards[name], Phi, options) for name in names}
        part = accumulate_shards(
            batches,
            phi,
            folder=options.shards,
            run=run,
            processes=processes,
            bar=not options.quiet,
            total=Statistics(Phi.shape[1], k, like=Phi, products=options.products),
            classes=options.classes,
            products=options.products,
        )
        sums.append(processes.reduce(part) if names else part)
    fit, held = sums
    everything = fit + held
    if everything.n != len(X):
        raise RuntimeError(f"{everything.n} samples were summed, there are {len(X)}")
    lam, scores, how = _chosen_lam(options.lam, fit, held)
    W = processes.share(everything.solve(lam))
    if processes.rank == 0:
        save_npz(
            options.out,
            {
                "W": _numpy(W),
                "lam": np.array(lam),
                "n": np.array(everything.n),
                "lams": np.array(options.lam),
                "scores": np.array(scores),
                "classes": np.array(options.classes or 0),
                "phi": np.array(options.phi or ""),
            },
        )
        if options.statistics:
            everything.save(options.statistics, note=run)
        print(
            f"{everything.n:,} samples in {len(shards)} shards, "
            f"{processes.count} process(es)\n"
            f"lam = {lam:g}{how}; W ({everything.p}, {everything.k}) is in "
            f"{options.out}"
        )
    return W


def _chosen_lam(
    lams: list[float], fit: Statistics, held: Statistics
) -> tuple[float, list[float], str]:
    """The best of `lams`, the scores of all, and how they were compared."""
    if not held.n and len(lams) == 1:
        return lams[0], [], ""
    choice = fit.validation(lams, held) if held.n else fit.gcv(lams)
    score = "held-out loss" if held.n else "generalised cross-validation"
    return choice.lam, choice.scores, f", chosen from {len(lams)} by {score}"


def _said_on_stderr(message: Warning | str, *where: Any) -> None:
    print(f"ddref.statistics: {message}", file=sys.stderr)


def _mapped(path: str) -> np.ndarray:
    """A memory-mapped .npy file."""
    try:
        A = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a NumPy array (.npy): {error}") from error
    if not isinstance(A, np.ndarray) or A.ndim == 0:
        raise ValueError(f"{path} does not hold one array (.npy) of samples")
    return A


def _function(text: str) -> Callable[[Any], Array]:
    """What `package.module:name` names."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"--phi {text}: give MODULE:FUNCTION, importable from here ({error})"
        ) from error


def _flat(X: np.ndarray) -> np.ndarray:
    """The identity: images become rows."""
    if X.dtype.kind != "f":
        raise TypeError(
            f"X holds {X.dtype}: pass --phi MODULE:FUNCTION, which turns it into "
            "features (X / 255, say)"
        )
    return np.asarray(X).reshape(len(X), -1)


def _targets(Y: np.ndarray, Phi: Array, classes: int | None) -> Array:
    """Classes as they are; numbers in the library and dtype of the features."""
    if classes is not None:
        return Y
    xp = array_namespace(Phi)
    return xp.asarray(np.array(Y), dtype=Phi.dtype, device=device(Phi))


def _like_features(shard: Batches, Phi: Array, options: argparse.Namespace) -> Batches:
    """The batches of a shard with targets that fit features like `Phi`."""

    def batches() -> Iterator[tuple[np.ndarray, Array]]:
        for X, Y in shard():
            yield X, _targets(Y, Phi, options.classes)

    return batches


def _held_out(names: list[str], share: float) -> list[str]:
    """Every q-th shard, q = 1 / share."""
    if not share:
        return []
    if not 0 < share <= 0.5:
        raise ValueError(f"--hold-out {share} must be more than 0 and at most 0.5")
    held = names[round(1 / share) - 1 :: round(1 / share)]
    if not held:
        raise ValueError(
            f"--hold-out {share} of {len(names)} shard(s) is none: pass a smaller "
            "--rows"
        )
    return held


def _spread_rows(X: np.ndarray) -> np.ndarray:
    """Numbers of a few rows spread over the data."""
    return np.unique(np.linspace(0, len(X) - 1, PROBES).astype(int))


def _probe(
    X: np.ndarray, Y: np.ndarray, phi: Callable, classes: int | None
) -> tuple[Array, int]:
    """Features of a few rows, and the number of targets, after every check that a batch
    has to pass.
    """
    rows = _spread_rows(X)
    Phi = phi(np.asarray(X[rows]))
    found = accumulate([(Phi, _targets(Y[rows], Phi, classes))], classes=classes)
    return Phi, found.k


def _describe(X: np.ndarray, Y: np.ndarray, options: argparse.Namespace) -> str:
    """What a shard is made of, besides its rows, which may grow in number."""
    kinds = [f"{n} {A.dtype} {(*A.shape[1:],)}" for n, A in (("X", X), ("Y", Y))]
    return (
        f"{', '.join(kinds)}, phi {options.phi}, classes {options.classes}, "
        f"products {options.products}"
    )


def _same_map(folder: Path, description: str, X: np.ndarray, phi: Callable) -> str:
    """The name of the run, which goes into every shard, after a look at whether the
    folder belongs to it.

    The folder keeps a few rows and their features: the map has to give them again,
    whatever has happened to the data since.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.npz"
    if not path.exists():
        rows = np.asarray(X[_spread_rows(X)])
        kept = {"X": rows, "Phi": _numpy(phi(rows))}
        save_npz(path, {"description": np.array(description), **kept})
    try:
        stored = load_npz(path)
    except ValueError as error:
        raise ValueError(f"{error}: use another folder, or delete this one") from error
    known = str(stored.get("description", "without a description"))
    if known != description or not {"X", "Phi"} <= stored.keys():
        raise ValueError(
            f"{folder} belongs to another run ({known}), this one is {description}: "
            "use another folder"
        )
    before, now = stored["Phi"], _numpy(phi(stored["X"]))
    if before.shape != now.shape or not relative(now - before, before) <= 1e-5:
        raise ValueError(
            f"the feature map has changed since the shards in {folder} were summed "
            f"({len(before)} rows were compared): use another folder, or delete this "
            "one"
        )
    return hashlib.sha256(description.encode()).hexdigest()[:16]


def _numpy(A: Array) -> np.ndarray:
    return np.asarray(as_numpy(A), dtype=np.float64)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ddref.statistics",
        description="Ridge regression on large data, resumable.",
    )
    add = parser.add_argument
    add("X", help="inputs, a .npy file (n, ...)")
    add("Y", help="targets, a .npy file: (n,) with --classes, else (n,) or (n, k)")
    add("--lam", type=float, nargs="+", required=True,
        help="regularisation; among several the best")  # fmt: skip
    add("--shards", required=True, metavar="FOLDER",
        help="where finished shards are kept")  # fmt: skip
    add("--out", required=True, metavar="FILE",
        help="the model (.npz): W, lam, n, lams, scores, classes (0: none), phi; "
        "ddref info and ddref distill read it")  # fmt: skip
    add("--statistics", metavar="FILE", help="also keep the sums of all samples (.npz)")
    add("--classes", type=int, help="number of classes, where the targets are classes")
    add("--phi", metavar="MODULE:FUNCTION",
        help="feature map; default: the inputs as rows")  # fmt: skip
    add("--hold-out", type=float, default=0.0, metavar="SHARE",
        help="share of shards that choose lam")  # fmt: skip
    add("--products", choices=("float64", "float32"), default="float64",
        help="see Statistics")  # fmt: skip
    add("--rows", type=int, default=65536, help="rows of a shard")
    add("--batch", type=int, default=4096, help="rows read at a time")
    add("--backend", choices=("gloo", "nccl"), default="gloo",
        help="nccl: phi returns CUDA tensors")  # fmt: skip
    add("--timeout", type=float, default=3600.0,
        help="seconds that the first process waits for the last")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar")
    add("--traceback", action="store_true", help="show where an error comes from")
    return parser


if __name__ == "__main__":
    main()
