"""Measure the paper's tables on real data, beside what a user would pick instead: `results/tables.json`.

    python -m tools.results_tables [DATA_FOLDER] [mnist fashion-mnist cifar10] [linear network fourier]

Names restrict the run: what is measured replaces its part of the file and leaves the rest, so that a long run can be
done in pieces. Every part keeps the machine, threads and versions it was measured with, and how busy the machine was.
Threads are those of the environment (OMP_NUM_THREADS; without it, one a core). With `--device cuda` only the linear map
is timed, there, beside the published procedure, as a part of its own.

Every twentieth training image helps to choose lambda (an image folder is sorted by class: its last images would all be
of one); the model distilled is the one trained on the others. The linear map starts from the bytes of the images.
"""

import argparse
import json
import math
import os
import statistics
import time
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from array_api_compat import array_namespace
from sklearn.linear_model import Ridge, RidgeCV

from ddref import datasets, deep_linear, distill, krr, maps, measure, nearest, recipe
from ddref.maps import fourier
from ddref.statistics import Statistics
from tools import results
from tools.results import ROOT

NAMES = ("mnist", "fashion-mnist", "cifar10")
MAPS = ("linear", "network", "fourier")
GRID = [float(lam) for lam in np.logspace(-6, 5.5, 24)]  # two values a decade
PER_CLASS = (1, 10, 50)
SEEDS = (0, 1, 2)
HELD_OUT = 20  # one image in so many chooses lambda
SIGMA = math.sqrt(1000)  # bandwidth of the Fourier features: the paper's sigma^2 = 1000
BATCH = 8192  # rows converted to floats at a time
MAX_CONDITION = 1e6  # of the sets that are timed: up to it the closed form is kept as it is
MIDDLE = 128  # subtracted from bytes; 1,024 products of numbers up to 128 add up exactly in float32

# What the paper reports (Chen, Huang and Weng, 2024), so that the book reads it from one place. Table 2: k, d, n.
# Table 3: test accuracy in percent, of the original model and at 1, 10, 50 images a class. Table 4: images a class ->
# accuracy and GPU seconds of KIP, then of the paper's algorithm (one A5000, a network).
PAPER = {
    "table2": {
        "MNIST": [10, 784, 60000],
        "CIFAR-10": [10, 3072, 50000],
        "CIFAR-100": [100, 3072, 50000],
        "ImageNet-1k": [1000, 196608, 1281167],
    },
    "table3": {
        "mnist": {
            "linear": [86.41, 86.41, 86.41, 86.41],
            "network": [93.89, 93.89, 93.89, 93.85],
            "fourier": [93.82, 93.82, 93.82, 93.82],
        },
        "cifar10": {
            "linear": [39.48, 39.48, 39.48, 39.48],
            "network": [47.86, 47.87, 47.84, 47.81],
            "fourier": [42.84, 42.84, 42.87, 42.73],
        },
    },
    "table4": {
        "mnist": {"1": [93.44, 159, 93.72, 16], "10": [93.75, 554, 93.69, 16], "50": [93.72, 3114, 93.62, 16]},
        "cifar10": {"1": [45.83, 225, 47.85, 21], "10": [47.50, 594, 47.76, 20], "50": [47.48, 3510, 47.77, 20]},
    },
}


class Images(NamedTuple):
    """Images as rows of bytes: those trained on, those that choose lambda, tests, and the first ones of each class."""

    name: str
    source: str
    fit: np.ndarray  # (n, d), uint8
    y_fit: np.ndarray
    held: np.ndarray
    y_held: np.ndarray
    test: np.ndarray
    y_test: np.ndarray
    first: dict  # images a class -> their rows and classes, in the order of the files
    classes: int
    load_seconds: float


class Watch(dict):
    """Seconds by the name of the step."""

    def __init__(self, device=None):
        super().__init__()
        self.wait = torch.cuda.synchronize if str(device).startswith("cuda") else lambda: None

    @contextmanager
    def __call__(self, step):
        self.wait()
        start = time.perf_counter()
        yield
        self.wait()
        self[step] = self.get(step, 0.0) + time.perf_counter() - start


def load(name, root):
    watch = Watch()
    with watch("load"):
        if name == "cifar10":
            data = datasets.image_folder(Path(root) / "cifar10-jpeg.tar.gz")
            source = "image folder, recompressed as JPEG"
        else:
            data, source = datasets.load(name, root), "the official files"
    return split(name, source, data, watch["load"])


def split(name, source, data, seconds=0.0):
    """Rows of bytes from a `datasets.Dataset`."""
    train, test = (A.reshape(len(A), -1) for A in (data.X_train, data.X_test))
    y, k = data.y_train, len(data.class_names)
    held = np.arange(len(train)) % HELD_OUT == HELD_OUT - 1
    first = {}
    for per_class in PER_CLASS:
        rows = np.concatenate([np.flatnonzero(y == c)[:per_class] for c in range(k)])
        first[per_class] = train[rows], y[rows]
    parts = train[~held], y[~held], train[held], y[held], test, data.y_test
    return Images(name, source, *parts, first, k, seconds)


# ------------------------------------------------------------------------------- the linear map, from bytes


class Scale(NamedTuple):
    """Rows are (bytes - centre) / std: one centre and one deviation for all pixels of all training images."""

    centre: float
    std: float

    def rows(self, bytes_, device=None):
        rows = on(device, bytes_, "float64")
        rows -= self.centre
        rows /= self.std
        return rows


def on(device, A, dtype):
    """A NumPy array in another dtype: NumPy again where `device` is None, else a tensor on that device."""
    return A.astype(dtype) if device is None else torch.from_numpy(A).to(device).to(getattr(torch, dtype))


def pixel_sums(bytes_, y, k, device=None):
    """Sums over bytes minus 128. They are integers, and exact: formed in float32 from 1,024 rows, added in float64."""
    sums = Statistics(bytes_.shape[1], k, products="float32", chunk=1024)
    for start in range(0, len(bytes_), BATCH):
        rows = on(device, bytes_[start : start + BATCH], "float32")
        rows -= MIDDLE
        sums.update(rows, on(device, datasets.one_hot(y[start : start + BATCH], k), "float32"))
    return sums


def scale_of(sums):
    """Mean and deviation of all pixels, from the sums."""
    entries = sums.n * sums.p
    mean = float(sums.B.sum()) / entries  # one-hot rows add up to 1: the columns of B add up to the pixels' sums
    return Scale(MIDDLE + mean, math.sqrt(float(sums.G.diagonal().sum()) / entries - mean**2))


def standardised(sums, scale, counts):
    """``X^T X`` and ``X^T Y`` of standardised rows X, from the sums over bytes; `counts` is the size of each class."""
    G, B, c = sums.G, sums.B, scale.centre - MIDDLE
    S = c * B.sum(axis=1)[:, None]
    G -= S
    G -= S.T
    G += sums.n * c**2
    G /= scale.std**2
    B -= c * counts
    B /= scale.std
    return G, B


def choose(G, B, held_rows, y_held, grid=GRID):
    """Position in the grid of the model with the best held-out accuracy (the first, where they tie); all of both."""
    models = krr.path(G, B, grid)
    k = B.shape[1]
    scores = held_rows @ array_namespace(models).permute_dims(models, (1, 0, 2)).reshape(len(G), -1)
    accuracies = [measure.accuracy(scores[:, i * k : (i + 1) * k], y_held) for i in range(len(grid))]
    return int(np.argmax(accuracies)), models, accuracies


def linear_pipeline(images, grid=GRID, device=None):
    """From bytes to three verified sets near real images: seconds, W, position in the grid, scale, sets, (G, B)."""
    watch, sets = Watch(device), []
    with watch("statistics"):
        fit, held = (
            pixel_sums(part, y, images.classes, device)
            for part, y in ((images.fit, images.y_fit), (images.held, images.y_held))
        )
        scale = scale_of(fit + held)
        counts = np.bincount(images.y_fit, minlength=images.classes)
        G, B = standardised(fit, scale, on(device, counts, "float64"))
    with watch("lambdas"):
        best, models, _ = choose(G, B, scale.rows(images.held, device), images.y_held, grid)
        W = models[best]
    with watch("verification"):
        test = scale.rows(images.test, device)
    for per_class in PER_CLASS:
        with watch("distillation"):
            X_S = nearest.nearest(scale.rows(images.first[per_class][0], device), W, max_condition=MAX_CONDITION)
            Y_S = X_S @ W  # at lambda_S = 0 the labels are the model's predictions
        with watch("verification"):
            W_S = krr.fit(X_S, Y_S, 0.0)
            error = measure.relative_error(W_S, W)
            accuracy = measure.accuracy(test @ W_S, images.y_test)
        sets.append({"per_class": per_class, "relative_error": error, "accuracy": accuracy})
    return watch, W, best, scale, sets, (G, B)


# ------------------------------------------------- the published procedure, written anew: it shares no code with ddref


def published_models(X, Y, X_held, y_held, grid):
    """One model for each lambda, its Gram matrix formed each time, in float32: W, position, seconds, drivers."""
    best, W, position, seconds, drivers = -1.0, None, None, [], []
    for i, lam in enumerate(grid):
        start = time.perf_counter()
        A = X.T @ X + lam * torch.eye(X.shape[1], device=X.device)
        R = X.T @ Y
        L, failed = torch.linalg.cholesky_ex(A)  # the fastest driver; in float32 it refuses small lambda
        drivers.append("LU" if failed else "Cholesky")
        model, failed = torch.linalg.solve_ex(A, R) if failed else (torch.cholesky_solve(R, L), failed)
        if failed or not bool(torch.isfinite(model).all()):
            drivers[-1] = "none"
        else:
            accuracy = float((torch.argmax(X_held @ model, 1) == y_held).double().mean())
            if accuracy > best:
                best, W, position = accuracy, model, i
        seconds.append(time.perf_counter() - start)
    return W, position, seconds, drivers


def published_set(W, one_hot, Phi_0=None, Z=None):
    """Algorithm 1 at lambda_S = 0, from features of real data or from noise Z (p, m). Returns Phi_S, Y_S."""
    Y_S = one_hot
    if Phi_0 is not None:
        predictions = Phi_0 @ W
        if int(torch.linalg.matrix_rank(predictions)) == W.shape[1]:
            Y_S = predictions
        Z = torch.linalg.pinv(Phi_0)
    Y_pinv = torch.linalg.pinv(Y_S)
    D = W @ Y_pinv + Z - (Z @ Y_S) @ Y_pinv
    return torch.linalg.pinv(D), Y_S


def published_pipeline(images, grid=GRID, device="cpu"):
    """From bytes to three verified sets near real images, in float32."""
    watch, sets = Watch(device), []
    with watch("statistics"):
        X, X_held, X_test = (
            torch.from_numpy(A).to(device).float().div_(255) for A in (images.fit, images.held, images.test)
        )
        n, n_held = len(X), len(X_held)
        mean = (n * X.mean() + n_held * X_held.mean()) / (n + n_held)
        for part in (X, X_held, X_test):
            part.sub_(mean)
        std = torch.sqrt((X.square().mean() * n + X_held.square().mean() * n_held) / (n + n_held))
        for part in (X, X_held, X_test):
            part.div_(std)
        y, y_held, y_test = (
            torch.from_numpy(A.astype(np.int64)).to(device) for A in (images.y_fit, images.y_held, images.y_test)
        )
        Y = torch.nn.functional.one_hot(y, images.classes).float()
    W, position, seconds, drivers = published_models(X, Y, X_held, y_held, grid)
    watch["lambdas"] = sum(seconds)
    for per_class in PER_CLASS:
        with watch("distillation"):
            bytes_, classes = images.first[per_class]
            X_0 = (torch.from_numpy(bytes_).to(device).float() / 255 - mean) / std
            one_hot = torch.nn.functional.one_hot(torch.from_numpy(classes.astype(np.int64)), images.classes)
            X_S, Y_S = published_set(W, one_hot.to(device).float(), Phi_0=X_0)
        with watch("verification"):
            W_S = torch.linalg.pinv(X_S) @ Y_S
            error = float(torch.linalg.norm(W_S - W) / torch.linalg.norm(W))
            accuracy = float((torch.argmax(X_test @ W_S, 1) == y_test).double().mean())
        sets.append({"per_class": per_class, "relative_error": error, "accuracy": accuracy})
    return watch, W, position, seconds, drivers, sets


def published_through(phi, W, near, one_hot):
    """Algorithm 1 in float32 through one Gaussian layer or Fourier features, as the paper inverts them."""
    W = torch.from_numpy(W).float()
    if isinstance(phi, fourier.RandomFourier):
        A, b = torch.from_numpy(phi.A).float(), torch.from_numpy(phi.b).float()
        width = math.sqrt(2 / A.shape[1])

        def forward(X):
            return width * torch.cos(X @ A + b)

        def backward(Phi):  # features divided by their largest entry: they then lie in the cube
            return torch.acos(Phi / Phi.abs().max()) - b
    else:
        A, slope = torch.from_numpy(phi.steps[0].A).float(), phi.steps[1].slope

        def forward(X):
            return torch.nn.functional.leaky_relu(X @ A, slope)

        def backward(Phi):
            return torch.where(Phi > 0, Phi, Phi / slope)

    Phi_S, Y_S = published_set(W, torch.from_numpy(one_hot).float(), Phi_0=forward(torch.from_numpy(near).float()))
    X_S = torch.linalg.solve(A.T, backward(Phi_S).T).T  # A is square: its inverse is its pseudo-inverse
    return (torch.linalg.pinv(forward(X_S)) @ Y_S).double().numpy()


# ---------------------------------------------------------------------------------------------- scikit-learn


def ridge_grid(X, Y, X_held, y_held, grid):
    """Seconds of one `Ridge` for each lambda, with its held-out accuracy."""
    seconds = []
    for lam in grid:
        start = time.perf_counter()
        model = Ridge(alpha=lam, fit_intercept=False).fit(X, Y)
        measure.accuracy(X_held @ model.coef_.T, y_held)
        seconds.append(time.perf_counter() - start)
    return seconds


def ridge_cv(X, Y, grid):
    """Seconds of `RidgeCV` over the grid, and the lambda it chooses by leave-one-out."""
    start = time.perf_counter()
    model = RidgeCV(alphas=grid, fit_intercept=False).fit(X, Y)
    return time.perf_counter() - start, float(model.alpha_)


# How often each way is timed, and over how many of the 24 values: all of them, except for scikit-learn on CIFAR-10,
# where seconds of few values are extended to 24 (each value costs the same).
PLAN = {
    "mnist": {"ours": 5, "published": 3, "ridge": (3, 24), "ridge_cv": (3, 24)},
    "fashion-mnist": {"ours": 5, "published": 3, "ridge": (1, 24), "ridge_cv": (1, 24)},
    "cifar10": {"ours": 3, "published": 1, "ridge": (1, 4), "ridge_cv": (1, 3)},
}


def timing(images, plan, grid=GRID):
    """The whole pipeline and its competitors, in turn, so that a slow moment of the machine hits all of them.

    Returns the times by way, and what the last `linear_pipeline` returned.
    """
    runs = {"ours": [], "published": [], "ridge": [], "ridge_cv": []}
    found = {}
    for repeat in range(max(plan["ours"], plan["published"], plan["ridge"][0], plan["ridge_cv"][0])):
        if repeat < plan["ours"]:
            last = watch, W, best, scale, sets, _ = linear_pipeline(images, grid)
            runs["ours"].append({**watch, "total": sum(watch.values())})
            found["ours"] = {"lam": grid[best], "sets": sets}
            say("ours", runs["ours"][-1])
        if repeat < plan["published"]:
            watch, W_32, position, seconds, drivers, sets = published_pipeline(images, grid)
            runs["published"].append({**watch, "total": sum(watch.values()), "each_lambda": seconds})
            found["published"] = {
                "lam": grid[position], "sets": sets, "drivers": drivers,
                "error_of_W": measure.relative_error(W_32.double().numpy(), W),
            }  # fmt: skip
            say("published", runs["published"][-1])
        if repeat < max(plan["ridge"][0], plan["ridge_cv"][0]):
            X, X_held = scale.rows(images.fit), scale.rows(images.held)
            Y = datasets.one_hot(images.y_fit, images.classes)
        if repeat < plan["ridge"][0]:
            few = grid[:: max(1, len(grid) // plan["ridge"][1])]
            seconds = ridge_grid(X, Y, X_held, images.y_held, few)
            runs["ridge"].append({"values": len(few), "total": sum(seconds) * len(grid) / len(few)})
            say("ridge", runs["ridge"][-1])
        if repeat < plan["ridge_cv"][0]:
            few = grid[:: max(1, len(grid) // plan["ridge_cv"][1])]
            seconds, lam = ridge_cv(X, Y, few)
            if len(few) < len(grid):
                one, _ = ridge_cv(X, Y, few[:1])
                seconds += (seconds - one) / (len(few) - 1) * (len(grid) - len(few))
                lam = None  # not from the whole grid
            runs["ridge_cv"].append({"values": len(few), "total": seconds})
            found["ridge_cv"] = {"lam": lam}
            say("ridge_cv", runs["ridge_cv"][-1])
        X = X_held = None
    medians = {way: statistics.median(run["total"] for run in times) for way, times in runs.items() if times}
    return {
        way: {"runs": runs[way], "median_seconds": median, "ratio": median / medians["ours"], **found.get(way, {})}
        for way, median in medians.items()
    }, last


def timing_on(images, device, repeats=5, grid=GRID):
    """Both pipelines on a PyTorch device: a part of its own, so that no ratio mixes two devices."""
    linear_pipeline(images, grid[-1:], device), published_pipeline(images, grid[-1:], device)  # warms up
    runs, found = {"ours": [], "published": []}, {}
    for _ in range(repeats):
        watch, W, best, _, sets, _ = linear_pipeline(images, grid, device)
        runs["ours"].append({**watch, "total": sum(watch.values())})
        found["ours"] = {"lam": grid[best], "sets": sets}
        watch, W_32, position, _, drivers, sets = published_pipeline(images, grid, device)
        runs["published"].append({**watch, "total": sum(watch.values())})
        error = measure.relative_error(W_32.double(), W)
        found["published"] = {"lam": grid[position], "sets": sets, "drivers": drivers, "error_of_W": error}
        say("ours", runs["ours"][-1]), say("published", runs["published"][-1])
    medians = {way: statistics.median(run["total"] for run in times) for way, times in runs.items()}
    return {
        "device": torch.cuda.get_device_name(device) if str(device).startswith("cuda") else str(device),
        **{
            way: {"runs": runs[way], "median_seconds": median, "ratio": median / medians["ours"], **found[way]}
            for way, median in medians.items()
        },
    }


def say(what, seconds):
    print(f"  {what}: " + ", ".join(f"{k} {v:.4g}" for k, v in seconds.items() if isinstance(v, float)), flush=True)


# ---------------------------------------------------------------------------------------- distilled sets, judged


class Timed:
    """A feature map that measures what its pre-images take."""

    def __init__(self, phi):
        self._phi, self.watch = phi, Watch()

    def __getattr__(self, name):
        return getattr(self._phi, name)

    def __call__(self, X):
        return self._phi(X)

    def preimage(self, Phi, near=None):
        with self.watch("inversion"):
            return self._phi.preimage(Phi, near)


def judged(phi, W, near, start, seed, Phi_test, y_test):
    """One exact set near `near`, retrained on; a refusal is a row, too."""
    timed, watch = Timed(phi), Watch()
    row = {"seed": seed, "start": start, "points": len(near)}
    try:
        with watch("distillation"):
            X_S, Y_S, lam_S, certificate = recipe.distill(timed, W, near=near)
    except ValueError as error:
        return {**row, "refused": str(error)}
    inversion = timed.watch.get("inversion", 0.0)
    W_S = krr.fit(phi(X_S), Y_S, lam_S)
    before, after = (np.argmax(Phi_test @ model, axis=1) for model in (W, W_S))
    kept = ("relative_error", "condition", "rounding", "tolerance", "exact", "distance", "input_distance",
            "largest_input", "float32_error")  # fmt: skip
    return {
        **row, **{name: getattr(certificate, name) for name in kept},
        "accuracy": measure.accuracy(Phi_test @ W_S, y_test), "decisions_changed": int(np.sum(before != after)),
        "distillation_seconds": watch["distillation"] - inversion, "inversion_seconds": inversion,
    }  # fmt: skip


def sets_of(phi, W, images, scale, Phi_test, seed, starts):
    rows = []
    for per_class in PER_CLASS:
        real = scale.rows(images.first[per_class][0])
        for start in starts:
            noise = np.random.default_rng([seed or 0, per_class]).normal(size=real.shape)
            rows.append(judged(phi, W, real if start == "real" else noise, start, seed, Phi_test, images.y_test))
    return rows


def linear(images):
    """Timing, accuracies, and the numbers of points of Table 1."""
    ways, (_, W, best, scale, _, (G, B)) = timing(images, PLAN[images.name])
    test = scale.rows(images.test)
    phi = maps.Identity(images.fit.shape[1])
    sets = sets_of(phi, W, images, scale, test, None, ["real"])
    for seed in SEEDS:  # of the noise that points start from: the linear map itself has no seed
        sets += sets_of(phi, W, images, scale, test, seed, ["noise"])
    eigenvalues = np.linalg.eigvalsh(G)
    return {
        "lam": GRID[best],
        "accuracy": measure.accuracy(test @ W, images.y_test),
        "sets": sets,
        "timing": ways,
        "points": {
            "rank_W": distill.minimal_points(W),
            "rank_X": int(np.sum(eigenvalues > len(G) * np.finfo(float).eps * eigenvalues[-1])),
            "deep_linear": widened(G, B, images, scale),
        },
    }


def widened(G, B, images, scale, p=None, lam=1e3):
    """Sets for a linear network that widens the images to p features, from the statistics of the pixels alone."""
    d, k = B.shape
    p = p or d + 216  # 1,000 for MNIST
    rng = np.random.default_rng(0)
    T, b = rng.normal(size=(d, p)) / math.sqrt(d), rng.normal(size=(1, p))
    n, counts = len(images.fit), np.bincount(images.y_fit, minlength=k)[None, :].astype(float)
    S = B.sum(axis=1, keepdims=True)  # one-hot rows add up to 1: the sum of the rows of X
    rows = []
    for biases in (False, True):
        bar_T = np.concatenate([T, b]) if biases else T
        bar_G = np.block([[G, S], [S.T, np.array([[n]])]]) if biases else G
        bar_B = np.concatenate([B, counts]) if biases else B
        W = krr.path(bar_T.T @ bar_G @ bar_T, bar_T.T @ bar_B, [lam])[0]
        r = distill.minimal_points(W)
        for points in (r, r + 1) if biases else (r,):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that points are far out: the row says how far
                found = deep_linear.points(W, T, b if biases else None, m=points)
            W_S = krr.fit(found.X_S @ T + (b if biases else 0.0), found.Y_S, 0.0)
            rows.append({"features": p, "lam": lam, "biases": biases, "rank_W": r, "points": len(found.X_S),
                         "relative_error": measure.relative_error(W_S, W),
                         "largest_input": float(np.abs(found.X_S).max())})  # fmt: skip
    return rows


def random_map(kind, weights, d, seed):
    if kind == "network":
        return maps.leaky_relu_network([d, d], seed=seed, weights=weights)
    features = fourier.orthogonal_features if weights == "orthogonal" else fourier.gaussian_features
    return features(d, d, SIGMA, seed=seed)


def through_map(kind, weights, seed, images, scale):
    """Features, statistics, all lambdas, sets from real images and from noise, for one random map with p = d."""
    watch, d, k = Watch(), images.fit.shape[1], images.classes
    with watch("map"):
        phi = random_map(kind, weights, d, seed)
    fit = Statistics(d, k)

    def batches(bytes_):
        for start in range(0, len(bytes_), BATCH):
            with watch("features"):
                Phi = phi(scale.rows(bytes_[start : start + BATCH]))
            yield start, Phi

    for start, Phi in batches(images.fit):
        with watch("statistics"):
            fit.update(Phi, datasets.one_hot(images.y_fit[start : start + BATCH], k))
    Phi_held, Phi_test = (np.concatenate([Phi for _, Phi in batches(part)]) for part in (images.held, images.test))
    with watch("lambdas"):
        best, models, accuracies = choose(fit.G, fit.B, Phi_held, images.y_held)
        W = models[best]
    sets = sets_of(phi, W, images, scale, Phi_test, seed, ["real", "noise"])
    done = [row for row in sets if "refused" not in row]
    for step in ("distillation", "inversion"):
        watch[step] = sum(row.pop(f"{step}_seconds") for row in done if row["start"] == "real")
    for row in done:
        row.pop("distillation_seconds", None), row.pop("inversion_seconds", None)
    found = {
        "weights": weights, "seed": seed, "lam": GRID[best], "accuracy": measure.accuracy(Phi_test @ W, images.y_test),
        "held_out_accuracy": accuracies[best], "seconds": dict(watch), "sets": sets,
    }  # fmt: skip
    if weights == "gaussian":  # the paper's weights
        found["published"] = [published_row(phi, W, images, scale, per_class, Phi_test) for per_class in PER_CLASS]
    print(f"  {kind} {weights} {seed}: {found['accuracy']:.2%} at lam = {GRID[best]:.3g};", end="")
    say("seconds", watch)
    return found


def published_row(phi, W, images, scale, per_class, Phi_test):
    bytes_, classes = images.first[per_class]
    W_S = published_through(phi, W, scale.rows(bytes_), datasets.one_hot(classes, images.classes))
    finite = bool(np.isfinite(W_S).all())
    return {
        "points": len(bytes_),
        "relative_error": measure.relative_error(W_S, W) if finite else None,
        "accuracy": measure.accuracy(Phi_test @ W_S, images.y_test) if finite else None,
    }


def nonlinear(kind, images):
    parts = (images.fit, images.y_fit), (images.held, images.y_held)
    scale = scale_of(sum(pixel_sums(part, y, images.classes) for part, y in parts))
    runs = [through_map(kind, weights, seed, images, scale) for weights in ("orthogonal", "gaussian") for seed in SEEDS]
    return {"runs": runs}


# ------------------------------------------------------------------------------------------------- the file


def machine():
    return {**results.machine(), "torch": version("torch"), "torch_threads": torch.get_num_threads()}


def short(value):
    """Floats to five digits; NaN and Inf do not occur in JSON."""
    if isinstance(value, dict):
        return {key: short(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [short(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a result is {value}")
        return float(f"{value:.5g}")
    return value


def merge(stored, name, kind, images, found, conditions):
    """`stored` with one part replaced."""
    n, d = images.fit.shape
    part = stored.setdefault(name, {})
    part.update(source=images.source, k=images.classes, d=d, n=n + len(images.held), fitting=n,
                held_out=len(images.held), n_test=len(images.test), load_seconds=images.load_seconds)  # fmt: skip
    part[kind] = {**found, **conditions}
    return stored


def write(path, stored):
    stored["paper"] = PAPER
    order = ["machine", "procedure", "paper", *NAMES]
    figures = {key: stored[key] for key in order if key in stored}
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(short(figures), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def procedure():
    return {
        "grid": GRID,
        "held_out": f"every {HELD_OUT}th training image, to choose lambda by accuracy",
        "preprocessing": "bytes minus the mean of all training pixels, over their standard deviation",
        "model": "trained on the images that are not held out",
        "lam_S": 0.0,
        "sigma_squared": SIGMA**2,
        "slope": 0.1,
        "per_class": list(PER_CLASS),
        "seeds": list(SEEDS),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="the data folder, data sets, maps; default: all")
    parser.add_argument("--output", default=ROOT / "results" / "tables.json", type=Path)
    parser.add_argument("--device", help="time the linear map on this PyTorch device, for instance cuda")
    options = parser.parse_args(arguments)
    words = options.words
    folders = [word for word in words if word not in NAMES + MAPS]
    if len(folders) > 1:
        parser.error(f"several data folders, or misspelt names: {', '.join(folders)}")
    root = folders[0] if folders else os.environ.get("DDREF_DATA")
    if not root:
        parser.error("the data folder is needed: set DDREF_DATA, or pass it as an argument")
    path = options.output
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in [name for name in NAMES if name in words] or NAMES:
        images = load(name, root)
        print(f"{name}: loaded in {images.load_seconds:.1f} s", flush=True)
        for kind in ["device"] if options.device else [kind for kind in MAPS if kind in words] or MAPS:
            conditions = {"machine": machine(), "load_average": os.getloadavg()[0]}
            start = time.perf_counter()
            if kind == "device":
                found = timing_on(images, options.device)
            else:
                found = linear(images) if kind == "linear" else nonlinear(kind, images)
            conditions["minutes"] = (time.perf_counter() - start) / 60
            stored |= {"machine": conditions["machine"], "procedure": procedure()}
            write(path, merge(stored, name, kind, images, found, conditions))
            print(f"{name}, {kind}: {conditions['minutes']:.1f} minutes, wrote {path.name}", flush=True)


if __name__ == "__main__":
    main()
