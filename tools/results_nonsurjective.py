"""Measure the solver for maps that are not onto: `results/nonsurjective.json`.

    python -m tools.results_nonsurjective [transition digits realistic paths accuracy]

Digits, random maps and the shipped sample of Fashion-MNIST: no data folder is needed. Names restrict the run; what is
measured replaces its part of the file and leaves the rest. Every part keeps the threads it was measured with. Seconds
on the clock depend on what else the machine does, seconds of computing less so; both are in the file.
"""

import functools
import math
import statistics
import time

import numpy as np
import torch

from ddref import datasets, krr, labels_only, maps, measure, recipe
from ddref.nonsurjective import OneLayer, generic_count, solve, solve_many
from tools.results import save_parts

SHAPES = [(4, 12, 2), (5, 20, 3), (3, 10, 1), (6, 24, 2), (8, 30, 4)]  # d, p, r
INSTANCES, STARTS = 8, 3


def stopwatch(function):
    start, computing = time.perf_counter(), time.process_time()
    found = function()
    return found, {"seconds": time.perf_counter() - start, "computing_seconds": time.process_time() - computing}


def tensor(A):
    return torch.from_numpy(np.asarray(A))


def layer(rng, d, p, activation, bias=True):
    """Gaussian weights of variance 1/d; biases normal, for cosine features uniform on the circle."""
    A = rng.normal(size=(d, p)) / math.sqrt(d)
    b = rng.uniform(0, 2 * np.pi, size=p) if activation == "cos" else rng.normal(size=p)
    return OneLayer(tensor(A), tensor(b) if bias else None, activation)


def in_turn(classes):
    """Rows ordered so that the first image of each class comes first, then the second of each, and so on."""
    turn = np.empty(len(classes), dtype=int)
    for c in np.unique(classes):
        turn[classes == c] = np.arange(np.sum(classes == c))
    return np.lexsort((classes, turn))


# -- random maps


def transition(say):
    """Residuals at each number of points from 0.6 to 1.8 times the count, for random maps, models and starts."""
    found = []
    for activation in ("tanh", "cos", "relu"):
        for d, p, r in SHAPES:
            exact_count = r * p / (d + r)
            first = max(r, math.ceil(0.6 * exact_count))
            for m in range(first, math.ceil(1.8 * exact_count) + 1):
                best, rates, steps = [], [], []
                for seed in range(INSTANCES):
                    rng = np.random.default_rng(seed)
                    phi, W = layer(rng, d, p, activation), tensor(rng.normal(size=(p, r)))
                    starts = [tensor(rng.normal(size=(m, d))) for _ in range(STARTS)]
                    many = solve_many(phi, W, starts)
                    best.append(many.best.residual)
                    rates.append(many.success_rate)
                    steps += [n for n, good in zip(many.steps, many.exact, strict=True) if good]
                found.append({"activation": activation, "d": d, "p": p, "r": r, "m": m, "count": exact_count,
                              "starts": STARTS, "success_rates": rates, "best_residuals": best,
                              "median_steps_where_exact": statistics.median(steps) if steps else None})  # fmt: skip
            say(activation, (d, p, r))
    return {"instances": INSTANCES, "starts": STARTS, "max_steps": 200, "sets": found}


# -- digits


def digits():
    data = datasets.digits()
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test, max_value=16)
    return data, tensor(X), tensor(X_test)


def trained(p, activation, lam=0.1):
    data, X, X_test = digits()
    phi = layer(np.random.default_rng(0), 64, p, activation)
    W = tensor(krr.fit(phi(X).numpy(), datasets.one_hot(data.y_train), lam))
    return data, X, X_test, phi, W


def judged(phi, W, X_0, X_test, classes, **options):
    """One run of the solver, retrained by NumPy's least squares."""
    found, times = stopwatch(lambda: solve(phi, W, X_0, unfinished=True, **options))
    W_S = tensor(np.linalg.lstsq(phi(found.X_S).numpy(), found.Y_S.numpy(), rcond=None)[0])
    before, after = phi(X_test) @ W, phi(X_test) @ W_S
    return {"m": len(X_0), "residual": found.residual, "relative_error": measure.relative_error(W_S, W),
            "steps": found.steps, "converged": found.certificate.exact, "condition": found.certificate.condition,
            "moved": measure.relative_error(found.X_S, X_0), "largest_change": float((found.X_S - X_0).abs().max()),
            "accuracy": measure.accuracy(before.numpy(), classes),
            "accuracy_distilled": measure.accuracy(after.numpy(), classes),
            "decisions_changed": int((before.argmax(dim=1) != after.argmax(dim=1)).sum()), **times}, found  # fmt: skip


def all_digits(say):
    """d = 64, k = 10, lam = 0.1: three activations, from two thirds of the count to twice the count."""
    found = []
    for activation, p, ms in (
        ("tanh", 256, (32, 35, 36, 37, 38, 40, 44, 52, 70)),
        ("cos", 256, (32, 35, 36, 37, 38, 40, 44, 52, 70)),
        ("relu", 256, (32, 36, 38, 40, 44, 52, 70)),
        ("tanh", 512, (75, 79, 90, 104)),
        ("cos", 512, (79, 104)),
    ):
        data, X, X_test, phi, W = trained(p, activation)
        order = in_turn(data.y_train)
        for m in ms:
            row, _ = judged(phi, W, X[order[:m]], X_test, data.y_test, max_steps=60 if m < 36 else 200)
            found.append({"activation": activation, "p": p, "count": 10 * p / 74, **row})
            say(activation, p, m, row["steps"], row["residual"], f"{row['computing_seconds']:.1f} s")
    return {"d": 64, "k": 10, "lam": 0.1, "sets": found}


def accuracy(say):
    """Digits, 256 tanh features: test accuracy against points, for the solver and for labels alone on real digits."""
    data, X, X_test, phi, W = trained(256, "tanh")
    order, G, found = in_turn(data.y_train), phi(X).T @ phi(X), []

    def score(Phi_S):  # labels that predict best on the training images: exact where the rows span W
        Y_S = labels_only.least_squares(Phi_S, W, G=G, minimise="predictions").Y_S
        W_S = np.linalg.lstsq(Phi_S.numpy(), Y_S.numpy(), rcond=None)[0]
        return measure.accuracy(phi(X_test).numpy() @ W_S, data.y_test), measure.relative_error(tensor(W_S), W)

    for m in (10, 15, 20, 25, 30, 35, 40, 50, 70, 100, 150, 200, 256):
        X_0 = X[order[:m]]
        one = solve(phi, W, X_0, max_steps=100, unfinished=True)
        (solver, missed), (labels, missed_labels) = score(phi(one.X_S)), score(phi(X_0))
        found.append({"m": m, "solver": solver, "solver_error": missed, "exact": one.certificate.exact, "labels": labels,
                      "labels_error": missed_labels})  # fmt: skip
        say(m, found[-1])
    scores = phi(X_test) @ W
    return {"p": 256, "lam": 0.1, "accuracy": measure.accuracy(scores.numpy(), data.y_test), "sets": found}


# -- images


def realistic(say):
    """The sample, one Gaussian LeakyReLU(0.1) layer with p = d = 784, lam = 100; then p = 1568 > d.

    Beside the solver: the layer by layer inverse of chapter 6, from the same images, where the map is onto.
    """
    sample = datasets.fashion_sample()
    X, X_test, *_ = datasets.standardize(sample.X_train, sample.X_test)
    found = []
    for p, ms in ((784, (50, 100, 200)), (1568, (50, 200))):
        A = np.random.default_rng(0).normal(size=(784, p)) / 28
        phi = OneLayer(tensor(A), None, "leaky_relu", slope=0.1)
        W = tensor(krr.fit(phi(tensor(X)).numpy(), datasets.one_hot(sample.y_train), 100.0))
        for m in ms:
            near = tensor(X[in_turn(sample.y_train)[:m]])
            row, _ = judged(phi, W, near, tensor(X_test), sample.y_test)
            if p == 784:
                inverse = maps.Chain([maps.Linear(tensor(A)), maps.LeakyReLU(0.1)])
                row["moved_by_inversion"] = recipe.distill(inverse, W, near=near).certificate.input_distance
            found.append({"p": p, "count": generic_count(p, 784, 10), "images": len(X), "lam": 100.0, **row})
            say(p, m, row["steps"], row["residual"], f"moved {row['moved']:.3f}, {row['computing_seconds']:.0f} s")
    return {"map": "LeakyReLU(0.1), Gaussian weights", "d": 784, "k": 10, "sets": found}


# -- the fast path


def paths(say):
    """The same steps through the structure of one layer and through its Jacobians; median seconds of five runs."""
    found = []
    for p, m in ((64, 40), (128, 40), (256, 52)):
        data, X, _, phi, W = trained(p, "tanh")
        X_0, seconds, sets = X[in_turn(data.y_train)[:m]], {"fast": [], "generic": []}, {}
        for _ in range(5):
            for name, one in (("fast", phi), ("generic", lambda X, phi=phi: phi(X))):
                run = functools.partial(solve, one, W, X_0, max_steps=5, method="equations")
                sets[name], times = stopwatch(run)
                seconds[name].append(times["seconds"])
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        found.append({"p": p, "m": m, "steps": [one.steps for one in sets.values()],
                      "difference": measure.relative_error(sets["generic"].X_S, sets["fast"].X_S),
                      "median_seconds": medians, "ratio": medians["generic"] / medians["fast"]})  # fmt: skip
        say(p, m, found[-1]["ratio"])
    return {"d": 64, "k": 10, "sets": found}


PARTS = {"transition": transition, "digits": all_digits, "accuracy": accuracy, "realistic": realistic, "paths": paths}



if __name__ == "__main__":
    save_parts("nonsurjective", PARTS, threads=torch.get_num_threads(), torch=torch.__version__)
