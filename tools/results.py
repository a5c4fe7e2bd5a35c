"""Measure the figures of `results/*.json` on real data, and draw the picture of the README.

    python -m tools.results [DATA_FOLDER]

Needs the data folder (an argument, or DDREF_DATA). Every file holds the machine and the versions it was
measured with; the book reads its figures from these files and never from typed numbers.
"""

import json
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np
from threadpoolctl import threadpool_info

from ddref import (
    box,
    datasets,
    distill,
    frontier,
    gauge,
    krr,
    labels_only,
    maps,
    measure,
    nearest,
    recipe,
)
from ddref.maps import fourier

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parent.parent
LAM = 1e3


def machine():
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "blas_threads": max((pool["num_threads"] for pool in threadpool_info()), default=1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scikit-learn", "ddref")},
    }


def save(name, figures):
    path = ROOT / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


def save_parts(name, parts, **about):
    """Measure the parts of a file that the command line names, or all: each replaces its part and leaves the rest.
    `about` goes into each."""
    chosen = sys.argv[1:] or list(parts)
    if not set(chosen) <= set(parts):
        raise SystemExit(f"parts: {' '.join(parts)}")
    path = ROOT / "results" / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in chosen:
        found[part] = {**about, **parts[part](lambda *words, part=part: print(part, *words, flush=True))}
        found.pop("machine", None)
        save(name, found)


def linear(name, root):
    """Identity features, lam = 1e3: the ten points of Theorem 4.1 for every size, lam_S and branch."""
    data = datasets.load(name, root)
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test)
    W = krr.fit(X, datasets.one_hot(data.y_train), LAM)
    k, p = len(data.class_names), X.shape[1]
    sets = []
    for m in (k, k + 1, 3 * k, p, p + 20):
        Y_S = np.eye(k)[np.arange(m) % k]
        for fraction in (0.0, 0.5, 1.0):
            lam_S = fraction * distill.largest_lam(W, Y_S)
            for branch in (1,) if lam_S == 0 else (1, -1):
                Phi_S = distill.features(W, Y_S, lam_S, signs=[branch] * k)
                certificate = measure.verify(Phi_S, Y_S, lam_S, W)
                W_S = krr.fit(Phi_S, Y_S, lam_S)
                sets.append({"points": m, "lam_S": lam_S, "fraction_of_bound": fraction, "branch": branch,
                             "relative_error": certificate.relative_error, "condition": certificate.condition,
                             "exact": certificate.exact,
                             "accuracy": measure.accuracy(X_test @ W_S, data.y_test)})  # fmt: skip
    return {"images": X.shape[0], "lam": LAM, "rank": distill.minimal_points(W),
            "accuracy": measure.accuracy(X_test @ W, data.y_test), "sets": sets}  # fmt: skip


def realistic(name, root):
    """Exact sets near real images, identity features, lam = 1e3, first images of each class in file order.

    Distances are relative to the real images. `published` is Cor. 4.1.1, with the model's predictions or one-hot
    rows as labels, at lam_S = 0; `published_large_lam` at lam_S = 1e6 on the smaller root, with the labels of the real
    images. `box` stays between black and white. `given` fits one-hot labels exactly. Where nothing else is said training
    is with lam_S = 0 by an SVD; `retrained` holds the
    errors of the nearest set for more lam_S, the dual system solved where lam_S > 0, which squares the condition; `_5e4`
    are the same figures for the limit 5e4 of the condition number in place of the default.
    """
    data = datasets.load(name, root)
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test)
    W = krr.fit(X, datasets.one_hot(data.y_train), LAM)
    G, _ = krr.gram(X)

    def judge(choose, Y_S, Phi_0, lam_S=0.0):
        try:
            Phi_S = choose(Phi_0, W, *(() if Y_S is None else (Y_S,)))
        except ValueError as error:
            return {"refused": str(error)}
        Y_S = distill.labels(Phi_S, W) if Y_S is None else Y_S
        certificate = measure.verify(Phi_S, Y_S, lam_S, W, Phi_0=Phi_0)
        found = {field: value for field, value in certificate._asdict().items() if value is not None}
        return {**found, "accuracy": measure.accuracy(X_test @ krr.fit(Phi_S, Y_S, lam_S), data.y_test)}

    def retrained(Phi_S):
        errors = {}
        for lam_S in (0.0, 1.0, 1e3):
            Y_S = distill.labels(Phi_S, W, lam_S)
            W_S = Phi_S.T @ krr.fit_dual(Phi_S @ Phi_S.T, Y_S, lam_S) if lam_S else krr.fit(Phi_S, Y_S, 0.0)
            errors[f"{lam_S:g}"] = measure.relative_error(W_S, W)
        return errors

    def smaller_limit(Phi_0, W):
        return nearest.nearest(Phi_0, W, max_condition=5e4)

    def within(Phi_0, W):
        return box.nearest(Phi_0, W, X.min(), X.max())

    def large_lam(Phi_0, W, Y_S):
        signs = [-1] * np.linalg.matrix_rank(Phi_0)
        return nearest.nearest_pseudoinverse(Phi_0, W, Y_S, 1e6, signs=signs)

    table = []
    for per_class in (2, 5, 10, 20, 35, 50, 55, 75, 100):
        rows = np.concatenate([np.flatnonzero(data.y_train == c)[:per_class] for c in range(10)])
        Phi_0, one_hot = X[rows], datasets.one_hot(data.y_train[rows])
        table.append({
            "points": len(rows),
            "rank": int(np.linalg.matrix_rank(Phi_0)),
            "lower_bound": nearest.nearest_lower_bound(Phi_0, W) / float(np.linalg.norm(Phi_0)),
            "missing_without_moving": labels_only.least_squares(Phi_0, W, G=G)._asdict() | {"Y_S": None},
            "nearest": judge(nearest.nearest, None, Phi_0),
            "retrained": retrained(nearest.nearest(Phi_0, W)),
            "nearest_5e4": judge(smaller_limit, None, Phi_0),
            "retrained_5e4": retrained(smaller_limit(Phi_0, W)),
            "box": judge(within, None, Phi_0),
            "published_large_lam": judge(large_lam, labels_only.least_squares(Phi_0, W, 1e6).Y_S, Phi_0, 1e6),
            "published_predictions": judge(nearest.nearest_pseudoinverse, Phi_0 @ W, Phi_0),
            "published_one_hot": judge(nearest.nearest_pseudoinverse, one_hot, Phi_0),
            "given_one_hot": judge(nearest.nearest_given_labels, one_hot, Phi_0),
        })  # fmt: skip
    return {"images": X.shape[0], "lam": LAM, "accuracy": measure.accuracy(X_test @ W, data.y_test),
            "table": table, "storage": storage(X, X_test, data, W)}  # fmt: skip


def storage(X, X_test, data, W):
    """Each kind of set stored in 16 or 8 bits, then trained on; labels as they were, or from what is stored.

    By thm-stability the error with labels from what is stored is that of (I - P) E^T alpha: `bound` is ||E|| ||alpha||,
    `expected` its size for a random E of that norm, both relative to ||W||.
    """

    def eight_bits(A):  # one linear scale for the whole array, as an image file has
        low, high = A.min(), A.max()
        return np.round((A - low) / (high - low) * 255).astype(np.uint8) * ((high - low) / 255) + low

    def real(per_class):
        return X[np.concatenate([np.flatnonzero(data.y_train == c)[:per_class] for c in range(10)])]

    kinds = {
        "one-hot": lambda lam: (distill.features(W, np.eye(10), lam), np.eye(10)),
        "orthonormal": lambda lam: (gauge.orthonormal(W), None),
        "nearest, 500": lambda lam: (nearest.nearest(real(50), W), None),
        "nearest, 500, condition 100": lambda lam: (nearest.nearest(real(50), W, max_condition=100), None),
        "nearest, 1000": lambda lam: (nearest.nearest(real(100), W, max_condition=1e4), None),  # 1e4: see the chapter
    }
    formats = {"float16": lambda A: A.astype(np.float16).astype(A.dtype), "uint8": eight_bits}
    rows = []
    for kind, build in kinds.items():
        for lam_S in (0.0, 0.5 * distill.largest_lam(W, np.eye(10))):
            Phi_S, Y_S = build(lam_S)
            Y_S = distill.labels(Phi_S, W, lam_S) if Y_S is None else Y_S
            moved = None if "nearest" not in kind else measure.relative_error(Phi_S, real(len(Phi_S) // 10))
            for stored, store in formats.items():
                kept = store(Phi_S)
                again = labels_only.least_squares(kept, W, lam_S).Y_S
                alpha = np.linalg.pinv(Phi_S).T @ W
                rank, (m, p) = np.linalg.matrix_rank(kept), kept.shape
                change = float(np.linalg.norm(kept - Phi_S) / np.linalg.norm(W)) * (rank < p)
                bound = change * float(np.linalg.norm(alpha, 2))
                expected = change * float(np.linalg.norm(alpha)) * ((p - rank) / (m * p)) ** 0.5
                predictions = {"bound": bound, "expected": expected}
                for labels, Y in (("as they were", Y_S), ("computed again", again)):
                    W_S = krr.fit(kept, Y, lam_S)
                    rows.append({"set": kind, "points": len(Phi_S), "moved": moved, "lam_S": lam_S, "stored": stored,
                                 "labels": labels, **(predictions if Y is again else {}),
                                 "relative_error": measure.relative_error(W_S, W),
                                 "accuracy": measure.accuracy(X_test @ W_S, data.y_test)})  # fmt: skip
    return rows


def fewer_points(name, root):
    """Identity features, lam = 1e3: models of rank m = 1..k, their excess, the accuracy of plain and centred ones."""
    data = datasets.load(name, root)
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test)
    Y = datasets.one_hot(data.y_train)
    W, (G, B) = krr.fit(X, Y, LAM), krr.gram(X, Y)
    least = float(np.sum(Y**2) - np.sum(W * B))  # the objective at W
    rows = []
    for m in range(1, W.shape[1] + 1):
        plain, excess = frontier.truncate(W, m, G, LAM)
        centred, _ = frontier.truncate(frontier.centre(W), m, G, LAM)
        rows.append({"points": m, "excess": excess / least,
                     "accuracy": measure.accuracy(X_test @ plain, data.y_test),
                     "accuracy_centred": measure.accuracy(X_test @ centred, data.y_test)})  # fmt: skip
    return rows


GRID = [float(lam) for lam in np.logspace(-6, 6, 25)]  # for choosing lam where a page does not fix it
SIGMA = 1000**0.5  # the paper's sigma^2 = 1000


def feature_maps(d, *, deep):
    """Name, weights, depth and map, p = d."""
    for weights in ("orthogonal", "gaussian"):
        for depth in (1, 2, 3) if deep else (1,):
            yield "network", weights, depth, maps.leaky_relu_network([d] * (depth + 1), seed=0, weights=weights)
        features = fourier.orthogonal_features if weights == "orthogonal" else fourier.gaussian_features
        yield "fourier", weights, 1, features(d, d, SIGMA, seed=0)


def surjective(data, *, deep, source):
    """Networks and random Fourier features with p = d: lam on held-out data, sets near real images and from labels.

    The last twelfth of the training images chooses lam over GRID, by taking its statistics away; the model is then
    that of all images. `real` sets start at the first images of each class, `noise` at normal pixels, `labels` are
    one-hot with no image behind.
    """
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test)
    Y, n = datasets.one_hot(data.y_train), len(data.y_train)
    found = {"source": source, "images": n, "grid": [GRID[0], GRID[-1], len(GRID)], "network": [], "fourier": []}

    def statistics_of(phi, rows):
        parts = [krr.gram(phi(X[rows][i : i + 4000]), Y[rows][i : i + 4000]) for i in range(0, len(Y[rows]), 4000)]
        return [sum(part[j] for part in parts) for j in (0, 1)]

    for kind, weights, depth, phi in feature_maps(X.shape[1], deep=deep):
        fitting, held = statistics_of(phi, slice(0, n - n // 12)), statistics_of(phi, slice(n - n // 12, n))
        Phi_held, Phi_test = phi(X[n - n // 12 :]), phi(X_test)
        scores = [measure.accuracy(Phi_held @ V, data.y_train[n - n // 12 :]) for V in krr.path(*fitting, GRID)]
        lam = GRID[int(np.argmax(scores))]
        W = krr.path(*(a + b for a, b in zip(fitting, held, strict=True)), [lam])[0]
        decisions = np.argmax(Phi_test @ W, axis=1)
        for per_class in (1, 10, 50):
            near = X[np.concatenate([np.flatnonzero(data.y_train == c)[:per_class] for c in range(10)])]
            noise = np.random.default_rng(0).normal(size=near.shape)
            labels = datasets.one_hot(np.repeat(np.arange(10), per_class))
            bound = distill.largest_lam(W, labels)
            # deep Gaussian layers amplify rounding in X_S by up to 1e7: fewer digits are left for ill conditioned sets
            limit = {"max_condition": 1e3 if (weights, depth > 1) == ("gaussian", True) else None}
            for start, options in (
                ("real", {"near": near, **limit}),
                ("real", {"near": near, "lam_S": 0.5 * bound, **limit}),
                ("noise", {"near": noise, **limit}),
                ("noise", {"near": noise, "lam_S": 0.5 * bound, **limit}),
                ("labels", {"Y_S": labels}),
                ("labels", {"Y_S": labels, "lam_S": 0.5 * bound}),
            ):
                row = {"map": kind, "weights": weights, "depth": depth, "lam": lam, "points": 10 * per_class,
                       "accuracy": measure.accuracy(Phi_test @ W, data.y_test), "start": start}  # fmt: skip
                try:
                    X_S, Y_S, lam_S, certificate = recipe.distill(phi, W, **options)
                except ValueError as error:
                    found[kind].append({**row, "refused": str(error)})
                    continue
                W_S = krr.fit(phi(X_S), Y_S, lam_S)
                found[kind].append({
                    **row, "lam_S": lam_S, "relative_error": certificate.relative_error, "exact": certificate.exact,
                    "condition": certificate.condition, "input_distance": certificate.input_distance,
                    "largest_pixel": certificate.largest_input, "float32_error": certificate.float32_error,
                    "accuracy_distilled": measure.accuracy(Phi_test @ W_S, data.y_test),
                    "decisions_changed": int(np.sum(np.argmax(Phi_test @ W_S, axis=1) != decisions)),
                })  # fmt: skip
        print(kind, weights, depth, f"lam = {lam:.3g}", f"accuracy {found[kind][-1]['accuracy']:.2%}", flush=True)
    return found


def all_surjective(root):
    """MNIST with 1 to 3 layers, Fashion-MNIST with one; CIFAR-10 with one, from the JPEG-recompressed image folder."""
    found = {
        name: surjective(datasets.load(name, root), deep=name == "mnist", source="the official files")
        for name in ("mnist", "fashion-mnist")
    }
    archive = Path(root) / "cifar10-jpeg.tar.gz"
    if archive.exists():
        source = "image folder, recompressed as JPEG"
        found["cifar10"] = surjective(datasets.image_folder(archive), deep=False, source=source)
    return found


def path_against_one_fit(root):
    """Seconds of one fit and of 24 regularisations on MNIST, Gram matrix included in both; medians of 7."""
    data = datasets.load("mnist", root)
    X, Y = datasets.standardize(data.X_train).X_train, datasets.one_hot(data.y_train)
    lams = list(np.logspace(-2, 6, 24))
    ways = {"fit": lambda: krr.fit(X, Y, LAM), "path": lambda: krr.path(*krr.gram(X, Y), lams)}
    seconds = {name: [] for name in ways}
    for _ in range(7):  # alternating, so that a slow moment of the machine hits both
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"lambdas": len(lams), "median_seconds": medians, "ratio": medians["path"] / medians["fit"]}


def picture(root):
    """The README's and the index page's picture: images, ten distilled points, and the nearest exact set of 500."""
    import matplotlib.pyplot as plt

    data = datasets.load("mnist", root)
    X, X_test, *_ = datasets.standardize(data.X_train, data.X_test)
    W = krr.fit(X, datasets.one_hot(data.y_train), LAM)
    first = np.stack([X[np.argmax(data.y_train == c)] for c in range(10)])
    Phi_S = distill.features(W, np.eye(10))
    scale = first.std() / Phi_S.std()  # points and labels scaled together: still exact
    Phi_S, Y_S = scale * Phi_S, scale * np.eye(10)
    Phi_0 = X[np.concatenate([np.flatnonzero(data.y_train == c)[:50] for c in range(10)])]
    near = nearest.nearest(Phi_0, W)
    sets = ((X, datasets.one_hot(data.y_train), LAM), (Phi_S, Y_S, 0), (near, distill.labels(near, W), 0))
    scores = [measure.accuracy(X_test @ krr.fit(*one), data.y_test) for one in sets]
    with plt.style.context("ddref.book"):
        figure, axes = plt.subplots(3, 10, figsize=(7, 3.2), layout="none", gridspec_kw={"hspace": 0.5})
        for row, images in zip(axes, (first, Phi_S, near[::50]), strict=True):
            for axis, image in zip(row, images, strict=True):
                axis.imshow(image.reshape(28, 28), vmin=-2.8, vmax=2.8)
                axis.set_xticks([])
                axis.set_yticks([])
                axis.grid(False)
        moved = measure.relative_error(near, Phi_0)
        titles = (f"{len(X):,} images: ridge regression reads {scores[0]:.1%} of the test digits",
                  f"these 10 points: the same model, {scores[1]:.1%}",
                  f"500 images moved by {moved:.2%}: also the same, {scores[2]:.1%}")  # fmt: skip
        for axis, title in zip(axes[:, 0], titles, strict=True):
            axis.set_title(title, fontsize=11)
        figure.savefig(ROOT / "chapters" / "images" / "ten_points.png", metadata={"Software": None})
        plt.close(figure)
    print("wrote chapters/images/ten_points.png")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DDREF_DATA")
    if not root:
        raise SystemExit("make results needs the data folder: set DDREF_DATA, or pass it as an argument")
    (ROOT / "chapters" / "images").mkdir(exist_ok=True)
    picture(root)
    save("linear", {name: linear(name, root) for name in ("mnist", "fashion-mnist")})
    save("realistic", {name: realistic(name, root) for name in ("mnist", "fashion-mnist")})
    save("frontier", {name: fewer_points(name, root) for name in ("mnist", "fashion-mnist")})
    save("surjective", all_surjective(root))
    save("path", path_against_one_fit(root))


if __name__ == "__main__":
    main()
