"""Measure `results/privacy_release.json`: what a private release of MNIST and Fashion-MNIST costs in accuracy.

    python -m tools.results_privacy_release [DATA_FOLDER]

Sums of clipped rows once a map; then for each epsilon five releases, with lambda from the formula of the package: nothing
is chosen by a look at the data. What is public: the size of the images, mean and deviation of a pixel as they are
published everywhere for these data sets, the map (drawn from a seed), the bounds, the ten classes.

Bandwidth 18 is the best of three on MNIST. The accuracies of all three are stored under "bandwidths", so that the one which
is best on the *other* data set can be looked up. Needs the data folder (an argument, or DDREF_DATA).
"""

import math
import os
import sys

import numpy as np

from ddref import datasets, measure, privacy, recipe
from ddref.maps.fourier import RandomFourier, orthogonal_features
from tools.results import save

CONSTANTS = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}  # mean, deviation; pixels from 0 to 1
SIDE, PIXELS, CLASSES = 28, 784, 10
BOUND = math.sqrt(0.9)  # length of a one-hot row minus 0.1
DELTA = 1e-5
EPSILONS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SEEDS = range(5)
BANDWIDTHS = (12.0, 18.0, 26.0)
BANDWIDTH = 18.0
LAMS = (0.01, 0.1, 1.0, 10.0)  # without privacy


def smoothing():
    """(784, 784): keeps means over 2 x 2 pixels, and a tenth of what differs from them, so that it can be undone."""
    pairs = np.kron(np.eye(SIDE // 2), np.full((2, 2), 0.5))
    means = np.kron(pairs, pairs)
    return means + 0.1 * (np.eye(PIXELS) - means)


def fourier(p, bandwidth=BANDWIDTH):
    drawn = orthogonal_features(PIXELS, p, bandwidth, seed=0)
    return RandomFourier(smoothing() @ drawn.A, drawn.b)


def linear(X):
    """Pixels over 28, the root of their number: rows of length about 1."""
    return X @ smoothing() / SIDE


def loaded(name, root):
    mean, deviation = CONSTANTS[name]
    data = datasets.load(name, root)
    X, T = ((A.reshape(len(A), -1) / 255.0 - mean) / deviation for A in (data.X_train, data.X_test))
    return X, np.eye(CLASSES)[data.y_train] - 0.1, T, data.y_test


def summed(phi, X, Y, step=5000):
    p = phi(X[:1]).shape[1]
    sums = privacy.ClippedStatistics(p, CLASSES, bound=BOUND)
    for i in range(0, len(X), step):
        sums.update(phi(X[i : i + step]), Y[i : i + step])
    return sums


def accuracy(F, W, labels):
    return float((np.argmax(F @ W, axis=1) == labels).mean())


def curve(sums, F, labels, epsilons=EPSILONS, seeds=SEEDS):
    """For each epsilon the accuracies of the seeds, and what was released."""
    found = []
    for epsilon in epsilons:
        made = [privacy.release(sums, epsilon, DELTA, np.random.default_rng([seed, 13])) for seed in seeds]
        rates = [accuracy(F, one.solve(), labels) for one in made]
        found.append({"epsilon": epsilon, "sigma": made[0].sigma, "lam": made[0].lam, "accuracy": rates})
        print("  epsilon", epsilon, f"{np.mean(rates):.1%}", flush=True)
    return found


def factors(sums, F, labels, seeds=SEEDS):
    """Accuracy at epsilon = 1 where lambda is not the package's but so many times as large."""
    made = [privacy.release(sums, 1.0, DELTA, np.random.default_rng([seed, 13])) for seed in seeds]
    return {
        str(factor): float(np.mean([accuracy(F, one.solve(factor * one.lam), labels) for one in made]))
        for factor in (0.25, 0.5, 1.0, 2.0, 4.0)
    }


def output_perturbation(sums, F, labels, n, epsilons=EPSILONS, seeds=SEEDS):
    """Noise on the model instead. Its bound needs the number of samples, taken as public here; its lambda is the best of a
    grid *on the test set*, which flatters it."""
    found = []
    for epsilon in epsilons:
        best = []
        for lam in 10.0 ** np.arange(0, 6):
            moves = (BOUND + math.sqrt(n) * BOUND / (2 * math.sqrt(lam))) / (1 + lam)
            sigma, W = privacy.noise_scale(epsilon, DELTA, moves), sums.solve(lam)
            noise = [np.random.default_rng([seed, 17]).standard_normal(W.shape) for seed in seeds]
            best.append([accuracy(F, W + sigma * N, labels) for N in noise])
        found.append({"epsilon": epsilon, "accuracy": max(best, key=np.mean)})
    return found


def ten_points(phi, sums, F, labels, epsilon=1.0, seeds=SEEDS):
    """Distilled sets of the released models, trained again by least squares."""
    found = []
    for seed in seeds:
        W = privacy.release(sums, epsilon, DELTA, np.random.default_rng([seed, 13])).solve()
        points = recipe.distill(phi, W, near=np.random.default_rng(seed).standard_normal((CLASSES, PIXELS)))
        W_S = np.linalg.lstsq(phi(points.X_S), points.Y_S, rcond=None)[0]
        found.append({
            "points": len(points.X_S), "error": measure.relative_error(W_S, W), "accuracy": accuracy(F, W_S, labels),
        })  # fmt: skip
    return found


def measured(name, root):
    X, Y, T, labels = loaded(name, root)
    found = {"bandwidths": {}, "fourier": {}}
    for bandwidth in BANDWIDTHS:
        phi = fourier(PIXELS, bandwidth)
        sums = summed(phi, X, Y)
        found["bandwidths"][f"{bandwidth:.0f}"] = curve(sums, phi(T), labels, (1.0,))[0]["accuracy"]
    for p in (200, 400, 784, 1000):
        print(name, "fourier", p, flush=True)
        phi = fourier(p)
        sums, F = summed(phi, X, Y), phi(T)
        part = {"private": curve(sums, F, labels), "without": max(accuracy(F, sums.solve(lam), labels) for lam in LAMS)}
        if p == PIXELS:
            part["ten_points"] = ten_points(phi, sums, F, labels)
            part["output_perturbation"] = output_perturbation(sums, F, labels, len(X))
            part["factors"] = factors(sums, F, labels)
            part["clipped"] = float(np.mean(np.linalg.norm(phi(X[:10_000]), axis=1) > 1))
        found["fourier"][str(p)] = part
    print(name, "linear", flush=True)
    sums, F = summed(linear, X, Y), linear(T)
    without = max(accuracy(F, sums.solve(lam), labels) for lam in LAMS)
    found["linear"] = {"private": curve(sums, F, labels), "without": without}
    return found


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DDREF_DATA")
    if not root:
        raise SystemExit("the data folder is needed: set DDREF_DATA, or pass it as an argument")
    figures = {name: measured(name, root) for name in CONSTANTS}
    save("privacy_release", {"delta": DELTA, **figures})


if __name__ == "__main__":
    main()
