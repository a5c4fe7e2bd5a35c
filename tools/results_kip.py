"""Measure KIP and simple coresets on MNIST beside the closed form: `results/kip.json`.

    python -m tools.results_kip [DATA_FOLDER]

Needs the data folder (an argument, or DDREF_DATA). Seconds per step are medians over the steps of one run; the machine,
its BLAS threads and PyTorch's are in the file. The closed form and KIP are timed in the same run.
"""

import functools
import os
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from sklearn.cluster import KMeans

from ddref import datasets, distill, kip, krr, maps, measure, recipe
from tools.results import GRID, LAM, save

STEPS, PUBLISHED_STEPS = 200, 30_000
LR = 0.1
BATCH = {1: 1000, 10: 4000}  # samples a step, by images a class: labels solved for need many more samples than points
BANDWIDTH = 1000**0.5  # sigma^2 = 1000, as for the random Fourier features


def stopwatch(function):
    start = time.perf_counter()
    found = function()
    return found, time.perf_counter() - start


def tensors(*arrays, dtype=torch.float64):
    return [torch.from_numpy(np.asarray(A)).to(dtype) for A in arrays]


def first_images(classes, per_class):
    return np.concatenate([np.flatnonzero(classes == c)[:per_class] for c in range(10)])


def closed_form(X, Y, X_test, y_test, phi):
    """Statistics, a model for each lam of the grid, lam on held-out images, exact sets: seconds and accuracy.

    The last twelfth of the training images chooses lam, by taking its statistics away; the model is that of all images.
    """
    n, seconds = len(X), {}
    Phi, seconds["features"] = stopwatch(lambda: X if phi is None else phi(X))
    fitting, held = slice(0, n - n // 12), slice(n - n // 12, n)
    parts, seconds["statistics"] = stopwatch(lambda: [krr.gram(Phi[rows], Y[rows]) for rows in (fitting, held)])

    def chosen():
        scores = [measure.accuracy(Phi[held] @ V, Y[held].argmax(1)) for V in krr.path(*parts[0], GRID)]
        return GRID[int(np.argmax(scores))]

    lam, seconds["choosing_lam"] = stopwatch(chosen)
    G, B = (a + b for a, b in zip(*parts, strict=True))
    W, seconds["model"] = stopwatch(lambda: krr.path(G, B, [lam])[0])
    phi = maps.Identity() if phi is None else phi
    distilled, accuracies = {}, {}
    for per_class in (1, 10):
        near = X[first_images(Y.argmax(1), per_class)]
        (X_S, Y_S, lam_S, _), spent = stopwatch(lambda near=near: recipe.distill(phi, W, near=near))
        distilled[str(per_class)] = spent
        accuracies[str(per_class)] = measure.accuracy(phi(X_test) @ krr.fit(phi(X_S), Y_S, lam_S), y_test)
    total = sum(seconds.values()) + max(distilled.values())
    return {"seconds": {**seconds, "distil": distilled, "total": total}, "lambdas": len(GRID), "lam": lam,
            "accuracy": accuracies, "loss": float(np.sum(Y**2) - 2 * np.sum(W * B) + np.sum(W * (G @ W)))}  # fmt: skip


def run(S, X, Y, X_test, y_test, *, lam_S, lr, steps=STEPS, **options):
    """One run of KIP with solved labels; accuracy before (labels solved for the starting points) and after."""
    how = {name: options[name] for name in ("kernel", "phi") if name in options}

    def score(state):
        return measure.accuracy(kip.predict(state, X_test, lam_S=lam_S, **how), y_test)

    before = kip.train(S, X, Y, steps=0, lam_S=lam_S, **options)
    state, wall = stopwatch(lambda: kip.train(S, X, Y, steps=steps, lam_S=lam_S, lr=lr, **options))
    per_step = float(np.median(np.diff([0.0, *state.seconds[:-1]])))  # the last one contains the final label solve
    rows = {name: options[name] for name in ("rows",) if name in options}
    return {"points": len(S.X_S), "batch": options.get("batch"), "lr": lr, "lam_S": lam_S, "steps": steps,
            "seconds_per_step": per_step, "seconds": wall, "accuracy_label_solve": score(before),
            "accuracy": score(state), "loss": kip.loss(state, X, Y, lam_S=lam_S, **how, **rows)}  # fmt: skip


def scaled_lam(kernel, X_S, phi=None):
    Z = X_S if phi is None else phi(X_S)
    return 1e-6 * float(kernel(Z, Z).trace()) / len(Z)


def linear_and_network(data, X, X_test):
    """KIP with finite features: minibatches, and full batches through the statistics; the closed form beside it."""
    Y = datasets.one_hot(data.y_train)
    found = {}
    for name, phi in (("linear", None), ("network", maps.leaky_relu_network([784, 784], seed=0))):
        found[name] = {"closed_form": closed_form(X, Y, X_test, data.y_test, phi), "kip": []}
        total = found[name]["closed_form"]["seconds"]["total"]
        G, B = krr.gram(X if phi is None else phi(X), Y)
        (R, Y_R), condensing = stopwatch(lambda G=G, B=B: kip.condense(*tensors(G, B), float(np.sum(Y**2))))
        found[name]["seconds_condense"] = condensing
        W_0 = krr.path(G, B, [0.0])[0]
        found[name]["least_loss"] = float(np.sum(Y**2) - np.sum(W_0 * B))
        for per_class in (1, 10):
            rows = first_images(data.y_train, per_class)
            for dtype, batch in ((torch.float32, BATCH[per_class]), (torch.float64, None)):
                like = torch.zeros(1, 1, dtype=dtype)
                phi_t = None if phi is None else maps.leaky_relu_network([784, 784], seed=0, like=like)
                X_t, Y_t, X_test_t = tensors(X, Y, X_test, dtype=dtype)
                S = kip.start(X_t[rows], Y_t[rows])
                options = {} if phi is None else {"phi": phi_t}
                if batch is None:
                    X_t, Y_t = R, Y_R
                    options |= {} if phi is None else {"rows": "features"}
                row = run(S, X_t, Y_t, X_test_t, torch.from_numpy(data.y_test),
                          lam_S=scaled_lam(kip.linear, S.X_S, phi_t), lr=LR, batch=batch, **options)  # fmt: skip
                row |= {"data": "statistics" if batch is None else "minibatches", "dtype": str(dtype)[6:]}
                seconds = PUBLISHED_STEPS * row["seconds_per_step"]
                row["extrapolated"] = {"steps": PUBLISHED_STEPS, "seconds": seconds,
                                       "times_closed_form": seconds / total}  # fmt: skip
                found[name]["kip"].append(row)
                print(name, per_class, row, flush=True)
    return found


def infinite(data, X, X_test):
    """Kernels without finite features; the same kernels on coresets of the same size."""
    found = []
    X_t, X_test_t, Y = tensors(X, X_test, datasets.one_hot(data.y_train), dtype=torch.float32)
    y_test = torch.from_numpy(data.y_test)
    kernels = {"gaussian": functools.partial(kip.gaussian, bandwidth=BANDWIDTH),
               "nngp": functools.partial(kip.nngp, depth=1), "ntk": functools.partial(kip.ntk, depth=1)}  # fmt: skip
    for per_class in (1, 10):
        sets = coresets(data, X, per_class)
        for name, kernel in kernels.items():
            S = kip.start(X_t[first_images(data.y_train, per_class)], Y[first_images(data.y_train, per_class)])
            row = {"kernel": name} | run(S, X_t, Y, X_test_t, y_test, lam_S=scaled_lam(kernel, S.X_S), lr=LR,
                                         batch=BATCH[per_class], kernel=kernel)  # fmt: skip
            row["coresets"] = {}
            for kind, (points, classes) in sets.items():
                points, labels = tensors(points, datasets.one_hot(classes, 10), dtype=torch.float32)
                lam_S = scaled_lam(kernel, points)
                solved = kip.solve_labels(points, X_t, Y, lam_S=lam_S, kernel=kernel)
                row["coresets"][kind] = {
                    way: measure.accuracy(kip.predict((points, Y_S), X_test_t, lam_S=lam_S, kernel=kernel), y_test)
                    for way, Y_S in (("one_hot", labels), ("label_solve", solved))
                }
            found.append(row)
            print(row, flush=True)
    return found


def coresets(data, X, per_class):
    """Points and classes: drawn at random, k-means centres of each class, herding in each class."""
    rng, found = np.random.default_rng(0), {"random": [], "k_means": [], "herding": []}
    for c in range(10):
        of_class = X[data.y_train == c]
        found["random"].append(of_class[rng.choice(len(of_class), per_class, replace=False)])
        found["k_means"].append(KMeans(per_class, n_init=1, random_state=0).fit(of_class[:2000]).cluster_centers_)
        found["herding"].append(of_class[kip.herding(torch.from_numpy(of_class), per_class).numpy()])
    return {kind: (np.concatenate(points), np.repeat(np.arange(10), per_class)) for kind, points in found.items()}


def theorem(data, X):
    """The published loss of an exact set at lam = 1e3 and of the best set, for two ways to scale the pixels."""
    found, Y = {}, datasets.one_hot(data.y_train)
    pixels = data.X_train.reshape(len(X), -1) / 255
    for scaling, features in (("pixels / 255", pixels), ("standardised", X)):
        G, B = krr.gram(features, Y)
        R, Y_R = kip.condense(*tensors(G, B), float(np.sum(Y**2)))
        rows = {}
        for lam in (0.0, LAM):
            Phi_S, Y_S = tensors(distill.features(krr.path(G, B, [lam])[0], np.eye(10)), np.eye(10))
            rows[str(lam)] = {penalty: kip.loss((Phi_S, Y_S), R, Y_R, lam_S=0.0, lam=value)
                              for penalty, value in (("published", 0.0), ("with_penalty", LAM))}  # fmt: skip
        found[scaling] = rows
        print(scaling, rows, flush=True)
    return found


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DDREF_DATA")
    if not root:
        raise SystemExit("the data folder is needed: set DDREF_DATA, or pass it as an argument")
    data = datasets.load("mnist", root)
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test)
    start = time.perf_counter()
    mnist = {
        "images": len(X),
        "theorem": theorem(data, X),
        **linear_and_network(data, X, X_test),
        "infinite": infinite(data, X, X_test),
        "seconds_in_all": time.perf_counter() - start,
    }
    save("kip", {"torch": {"version": version("torch"), "threads": torch.get_num_threads()}, "mnist": mnist})


if __name__ == "__main__":
    main()
