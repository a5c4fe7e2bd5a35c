"""Measure how the statistics scale, on synthetic rows; writes `results/scaling.json`.

    python -m tools.results_scaling [--quick]

Needs no data folder. About ten minutes on two cores; `--quick` is for trying it out, and says so in the file. Times are
medians over repeats that alternate between what is compared. The number of threads is in the file: it is that of the
BLAS, set by OMP_NUM_THREADS.
"""

import argparse
import resource
import subprocess
import sys
import time
from statistics import median

import numpy as np

BATCH, D, K = 8192, 784, 10


def stream(n):
    """Synthetic rows (float32) and one-hot targets, `BATCH` at a time, in one array that is filled again and again."""
    rng, X = np.random.default_rng(0), np.empty((BATCH, D), dtype=np.float32)
    for start in range(0, n, BATCH):
        rows = min(BATCH, n - start)
        rng.standard_normal(out=X, dtype=np.float32)
        yield X[:rows], rng.integers(0, K, rows)


def peak_memory(n):
    """Run in a process of its own: statistics of `n` streamed rows, then a model; prints the peak resident memory."""
    from ddref.statistics import accumulate

    start = time.perf_counter()
    s = accumulate(stream(n), classes=K)
    s.solve(1e3)
    assert s.n == n
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, time.perf_counter() - start)  # Linux counts in KiB


def memory(sizes):
    """First of all: a process inherits the peak of the one that starts it."""
    found = []
    for n in sizes:
        command = [sys.executable, "-m", "tools.results_scaling", "--peak-memory", str(n)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        found.append({"n": n, "d": D, "dtype": "float32", "peak_bytes": int(said[0]), "seconds": float(said[1])})
        print(f"n = {n:,}: {found[-1]['peak_bytes'] / 1e6:.0f} MB, {found[-1]['seconds']:.1f} s", flush=True)
    return found


def alternating(ways, repeats, *, warm=True):
    """Median seconds of each way; they take turns, so that a slow moment of the machine hits all.

    Each has one call for free before the timed one: the idle threads of another library (PyTorch and NumPy have a pool
    each) keep the cores busy for some milliseconds after its last product.
    """
    seconds = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            if warm:
                way()
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def rates(widths, repeats):
    """Updates against general products of the same shape and dtype, ``A^T B`` with two different arrays."""
    import torch

    from ddref.statistics import Statistics

    torch.set_num_threads(threads())
    rng, found = np.random.default_rng(0), []
    for p in widths:
        rows = 2 * BATCH
        A, B = rng.standard_normal((2, rows, p))
        Y = rng.standard_normal((rows, K))
        for dtype, products in (("float64", "float64"), ("float32", "float64"), ("float32", "float32")):
            X, Z, T = (M.astype(products) for M in (A, B, Y))
            out, X_t, Z_t = np.empty((p, p), products), torch.from_numpy(X), torch.from_numpy(Z)
            Phi, T = X.astype(dtype), T.astype(dtype)
            s = Statistics(p, K, products=products)
            medians = alternating(
                {"numpy": lambda X=X, Z=Z, out=out: np.matmul(X.T, Z, out=out),
                 "torch": lambda X_t=X_t, Z_t=Z_t: X_t.T @ Z_t,
                 "update": lambda s=s, Phi=Phi, T=T: s.update(Phi, T)}, repeats)  # fmt: skip
            general = min(medians["numpy"], medians["torch"])
            found.append({"p": p, "rows": rows, "batches": dtype, "products": products, "median_seconds": medians,
                          "general_gflops": 2e-9 * rows * p * p / general,
                          "share_of_general_rate": general / medians["update"]})  # fmt: skip
            print(p, dtype, products, f"{found[-1]['share_of_general_rate']:.2f} of the general rate", flush=True)
    return found


def exponent(table, name, value):
    """Slope in logarithms over the largest three sizes: what is small is not the method's cost."""
    rows = sorted(table, key=lambda row: row[name])[-3:]
    sizes, seconds = (np.log([row[key] for row in rows]) for key in (name, value))
    return float(np.polyfit(sizes, seconds, 1)[0])


def against_n(sizes, repeats):
    """Seconds to sum n rows, p = 784: one batch in memory, again and again."""
    from ddref.statistics import Statistics

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((BATCH, D)), rng.standard_normal((BATCH, K))

    def add(n):
        s = Statistics(D, K)
        for start in range(0, n, BATCH):
            s.update(X[: n - start], Y[: n - start])

    add(BATCH)
    medians = alternating({n: lambda n=n: add(n) for n in sizes}, repeats, warm=False)
    return [{"n": n, "seconds": medians[n]} for n in sizes]


def against_p(widths, repeats):
    """Seconds to sum 16,384 rows, and for the models of 24 regularisations from the sums."""
    from ddref.statistics import Statistics

    rng, found = np.random.default_rng(0), []
    for p in widths:
        X, Y = rng.standard_normal((2 * BATCH, p)), rng.standard_normal((2 * BATCH, K))
        s, lams = Statistics(p, K).update(X, Y), np.logspace(-2, 6, 24)
        medians = alternating(
            {"update": lambda s=s, X=X, Y=Y: s.update(X, Y), "path": lambda s=s, lams=lams: s.path(lams),
             "solve": lambda s=s: s.solve(1e3)}, repeats if p < 4096 else 1, warm=p < 2048)  # fmt: skip
        found.append({"p": p, "rows": 2 * BATCH, **medians})
        print(p, {name: f"{seconds:.2f} s" for name, seconds in medians.items()}, flush=True)
    return found


def against_m(sizes, repeats):
    """Seconds to distil m points near given ones, p = 784, rank 10, and to compute their labels. Its SVD is m x p."""
    from ddref import distill, nearest

    rng = np.random.default_rng(0)
    W, X = rng.standard_normal((D, K)), rng.standard_normal((max(sizes), D))
    medians = alternating({m: lambda m=m: distill.labels(nearest.nearest(X[:m], W), W) for m in sizes}, repeats)
    return [{"m": m, "seconds": medians[m]} for m in sizes]


def graphics_card(repeats):
    """The rates on a CUDA device; None without one."""
    import torch

    from ddref.statistics import Statistics

    if not torch.cuda.is_available():
        return None
    found = {"device": torch.cuda.get_device_name(), "rates": []}
    for p in (784, 4096):
        for products in ("float64", "float32"):
            dtype = getattr(torch, products)
            X, Z = (torch.randn(16 * BATCH, p, dtype=dtype, device="cuda") for _ in range(2))
            Y = torch.randn(16 * BATCH, K, dtype=dtype, device="cuda")
            s = Statistics(p, K, products=products, chunk=16 * BATCH)

            def waited(way):
                way()
                torch.cuda.synchronize()

            medians = alternating(
                {"torch": lambda X=X, Z=Z: waited(lambda: X.T @ Z),
                 "update": lambda s=s, X=X, Y=Y: waited(lambda: s.update(X, Y))}, repeats)  # fmt: skip
            found["rates"].append({"p": p, "products": products, "median_seconds": medians,
                                   "general_gflops": 2e-9 * 16 * BATCH * p * p / medians["torch"],
                                   "share_of_general_rate": medians["torch"] / medians["update"]})  # fmt: skip
    return found


def threads():
    from threadpoolctl import threadpool_info

    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and one repeat for what is timed")
    parser.add_argument("--peak-memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory:
        return peak_memory(options.peak_memory)
    quick, repeats = options.quick, 1 if options.quick else 5
    figures = {"quick": quick, "threads": threads(), "repeats": repeats}
    figures["memory"] = memory((100_000, 300_000, 1_000_000))
    figures["rates"] = rates((256, 784) if quick else (256, 784, 2048), repeats if quick else 7)
    n = against_n((10_000, 30_000, 100_000, 300_000, 1_000_000)[: 3 if quick else 5], min(repeats, 3))
    p = against_p((256, 512, 1024, 2048, 4096)[: 4 if quick else 5], min(repeats, 3))
    m = against_m((10, 25, 50, 100, 200, 400, 784), repeats)
    figures |= {
        "against_n": {"p": D, "table": n, "exponent": exponent(n, "n", "seconds"), "expected": 1},
        "against_p": {
            "table": p,
            "exponents": {name: exponent(p, "p", name) for name in ("update", "path", "solve")},
            "expected": {"update": 2, "path": 3, "solve": 3},
        },
        "against_m": {"p": D, "rank": K, "table": m, "exponent": exponent(m, "m", "seconds"), "expected": 2},
        "graphics_card": graphics_card(repeats),
    }
    from tools.results import save

    save("scaling", figures)


if __name__ == "__main__":
    main()
