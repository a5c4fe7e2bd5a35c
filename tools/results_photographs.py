"""Measure exact sets of photographs through patch features: `results/photographs.json`, and the sets themselves.

    python -m tools.results_photographs [DATA_FOLDER] [cifar-100 ...]

Needs the data folder (an argument, or DDREF_DATA), except for `fashion-50`. CIFAR-10 is the copy recompressed as JPEG. Names
restrict the run; what is measured replaces its part of the file and leaves the rest, set by set. The maps, the sets, the
images that they started from and a slice of the test images go to `results/photographs/`. There a search keeps its points
while it runs (`*.partial.npz`, not committed), and goes on from them when it was stopped.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ddref import datasets, labels_only, measure
from ddref.maps import patch_features
from ddref.nonsurjective import generic_count, solve
from tools.results import ROOT, save

FOLDER = ROOT / "results" / "photographs"
BATCH = 500  # images whose features are taken at once
SHOWN = 250  # test images that are kept for the book
FLOATS = 50  # up to so many images are kept in float32, more in 16 bits


class Part(NamedTuple):
    """A model and the sets that are to carry it."""

    data: str
    images: int  # of the training set, from which the model is trained
    filters: int
    lam: float
    sizes: tuple[int, ...]  # numbers of points
    axes: int | None = None  # principal axes that the features are projected on
    seconds: int = 36_000  # that a set may take
    flips: bool = False  # the mirror images are samples, too
    bounds: tuple[float, float] | None = None  # of the pixels


PARTS = {
    "fashion-50": Part("fashion sample", 6_000, 50, 100.0, (20,)),
    "cifar-100": Part("cifar10", 10_000, 100, 300.0, (12, 20, 60)),
    "fashion-200": Part("fashion-mnist", 10_000, 200, 100.0, (73,)),
    "mnist-200": Part("mnist", 10_000, 200, 100.0, (73,)),
    "cifar-400": Part("cifar10", 50_000, 400, 100.0, (48,)),
    "cifar-400-few": Part("cifar10", 10_000, 400, 100.0, (48,)),
    "cifar-400-axes": Part("cifar10", 50_000, 400, 100.0, (20,), axes=1_600),
    "cifar-400-twenty": Part("cifar10", 50_000, 400, 100.0, (20,)),
    "cifar-400-inside": Part("cifar10", 50_000, 400, 100.0, (48,), bounds=(0.0, 1.0)),
    "cifar-400-flips": Part("cifar10", 50_000, 400, 200.0, (48,), flips=True),
    "cifar-800-flips": Part("cifar10", 50_000, 800, 200.0, (100,), flips=True),
}
HOURS = {name for name in PARTS if name.startswith(("cifar-400", "cifar-800"))}  # measured only where they are named
SHOWN_SETS = {"cifar-100", "cifar-400"}  # whose maps and sets are kept


def rows(images):
    """Images (n, h, w) or (n, h, w, 3) of bytes as rows from 0 to 1, channels first."""
    images = images[..., None] if images.ndim == 3 else images
    return torch.from_numpy(images.transpose(0, 3, 1, 2).reshape(len(images), -1) / 255)


def load(name, root):
    """The data set and what it is called."""
    if name == "fashion sample":
        return datasets.fashion_sample(), "the sample of Fashion-MNIST that is shipped with the package"
    if not root:
        raise SystemExit("name the data folder, or set DDREF_DATA")
    if name == "cifar10":
        return datasets.image_folder(Path(root) / "cifar10-jpeg.tar.gz"), "CIFAR-10, recompressed as JPEG"
    return datasets.load(name, root), name


def in_turn(classes, n):
    """The first n rows of the classes in turn: the first of each, the second of each, and so on."""
    turn = np.empty(len(classes), dtype=int)
    for c in np.unique(classes):
        turn[classes == c] = np.arange(np.sum(classes == c))
    return np.lexsort((classes, turn))[:n]


def sums(phi, X, Y):
    """Sums over the features in float32, added up in float64: of the features, their products, and those with Y."""
    p, single = phi.output_dim, phi.to(dtype="float32")
    total, G, B = (torch.zeros(size, dtype=torch.float64) for size in ((p,), (p, p), (p, Y.shape[1])))
    for part, targets in zip(X.split(BATCH), Y.split(BATCH), strict=True):
        Phi = single(part.float()).double()
        total += Phi.sum(dim=0)
        G.addmm_(Phi.T, Phi)
        B.addmm_(Phi.T, targets)
    return total, G, B


def mirrored(X, shape, Y):
    """The images and their mirror images, with the targets of both: to the sums they only add."""
    turned = X.view(-1, *shape).flip(dims=[3]).flatten(1)
    return torch.cat([X, turned]), torch.cat([Y, Y])


def trained(phi, X, Y, lam, axes=None):
    """The map with its features standardized, or projected then on so many principal axes; the ridge model of the targets."""
    n = len(X)
    total, G, B = sums(phi, X, Y)
    mean = total / n
    scale = torch.sqrt(G.diagonal() / n - mean**2)
    G = (G - n * torch.outer(mean, mean)) / torch.outer(scale, scale)
    G, B = (G + G.T) / 2, (B - torch.outer(mean, Y.sum(dim=0))) / scale[:, None]
    phi = phi.standardized(mean, scale)
    if axes:
        P = torch.linalg.eigh(G).eigenvectors[:, -axes:]
        phi, G, B = phi.projected(P), P.T @ G @ P, P.T @ B
    W = torch.linalg.solve(G + lam * torch.eye(len(G), dtype=G.dtype), B)
    W = W - W.mean(dim=1, keepdim=True)  # it is zero, to rounding: W has rank k - 1
    return phi, W, G


def features(phi, X):
    single = phi.to(dtype="float32")
    return torch.cat([single(part.float()) for part in X.split(BATCH)]).double()


def retrained(phi, X_S, Y_S):
    """The model that NumPy's least squares finds on the set."""
    return torch.from_numpy(np.linalg.lstsq(phi(X_S).numpy(), Y_S.numpy(), rcond=None)[0])


class Judge:
    """How models do on the test set, and against the model W."""

    def __init__(self, phi, W, X_test, classes):
        self.phi, self.W, self.classes = phi, W, classes
        self.Phi = features(phi, X_test)
        self.decisions = (self.Phi @ W).argmax(dim=1)

    def accuracy(self, W):
        return measure.accuracy((self.Phi @ W).numpy(), self.classes)

    def __call__(self, X_S, Y_S):
        W_S = retrained(self.phi, X_S, Y_S)
        changed = int(((self.Phi @ W_S).argmax(dim=1) != self.decisions).sum())
        return {"relative_error": measure.relative_error(W_S, self.W), "accuracy": self.accuracy(W_S), "decisions_changed": changed}

    def stored(self, X_S):
        """As above from images as they are stored, with their labels fitted again."""
        X_S = X_S.double()
        return self(X_S, self.phi(X_S) @ self.W)


def in_levels(X, bits):
    """X in whole steps over its range: (steps, lowest, step)."""
    low, high = float(X.min()), float(X.max())
    step = (high - low) / (2**bits - 1)
    return torch.round((X - low) / step), low, step


def in_bytes(X):
    return np.round(X.numpy() * 255).astype(np.uint8)


def keep(name, **arrays):
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)


def solved(name, phi, W, X_0, judge, limit, bounds, say):
    """`solve` from X_0, or from where a run was stopped; and how accuracy followed the residual."""
    partial, trail, damping, before = FOLDER / f"{name}.partial.npz", [], 4.0, 0.0
    X = X_0
    if partial.exists():
        kept = np.load(partial)
        X, damping, before = torch.from_numpy(kept["X"]), float(kept["damping"]), float(kept["seconds"])
        trail = json.loads(str(kept["trail"]))[:-1]  # `solve` begins by telling where it stands

    def callback(at):
        judged = judge.stored(at.X_S)
        trail.append([at.residual, judged["accuracy"], judged["decisions_changed"]])
        seconds = before + at.seconds
        say(f"step {len(trail) - 1}: {at.residual:.3g}, damping {at.damping:.2g}, accuracy {judged['accuracy']:.4f}, {seconds:.0f} s")
        keep(partial.name.removesuffix(".npz"), X=at.X_S.numpy(), damping=at.damping, seconds=seconds, trail=json.dumps(trail))
        return seconds > limit

    start, computing = time.perf_counter(), time.process_time()
    found = solve(phi, W, X, callback=callback, damping=damping, bounds=bounds, unfinished=True)
    times = {"seconds": before + time.perf_counter() - start, "computing_seconds_since_resumed": time.process_time() - computing}
    partial.unlink()
    return found, {**times, "steps": len(trail) - 1, "residuals_accuracies_changed": trail}


def one_set(name, phi, W, G, X_0, judge, limit, bounds, say):
    """The figures of one set; its images are kept."""
    found, run = solved(name, phi, W, X_0, judge, limit, bounds, say)
    X_S, Phi_0 = found.X_S, phi(X_0)
    row = {"m": len(X_0), "residual": found.residual, "converged": found.certificate.exact, "condition": found.certificate.condition,
           "moved": measure.relative_error(X_S, X_0), "rms_change": float((X_S - X_0).square().mean().sqrt()),
           "lowest": float(X_S.min()), "highest": float(X_S.max()), "largest_label": float(found.Y_S.abs().max()),
           **judge(X_S, found.Y_S), **run}  # fmt: skip
    row["float32"] = judge.stored(X_S.float())
    if bounds:
        row["at_a_bound"] = float(((X_S <= bounds[0]) | (X_S >= bounds[1])).double().mean())
    for bits in (16, 8):
        whole, low, step = in_levels(X_S, bits)
        row[f"{bits} bits"] = judge.stored(low + step * whole)
    row["clipped, 8 bits"] = judge.stored(torch.round(X_S.clamp(0, 1) * 255) / 255)
    for what in ("parameters", "predictions"):
        labels = labels_only.least_squares(Phi_0, W, G=G, minimise=what).Y_S
        row[f"unmoved, best {what}"] = judge(X_0, labels)
    say({key: value for key, value in row.items() if key != "residuals_accuracies_changed"})
    if name.rpartition("-")[0] in SHOWN_SETS:
        keep_set(name, phi, W, X_S)
    return row


def keep_set(name, phi, W, X_S):
    """The images, and labels fitted again to them as they are stored."""
    if len(X_S) <= FLOATS:
        keep(name, X_S=X_S.float().numpy(), Y_S=(phi(X_S.float().double()) @ W).numpy())
        return
    whole, low, step = in_levels(X_S, 16)
    Y_S = phi(low + step * whole) @ W
    keep(name, X_S=whole.numpy().astype(np.uint16), low=low, step=step, Y_S=Y_S.numpy())


def of_a_seed(shape, filters, X, Y, lam, X_test, y_test):
    """Test accuracy of the same model with filters that no image gave."""
    phi, W, _ = trained(patch_features(shape, filters, seed=0), X, Y, lam)
    return Judge(phi, W, X_test, y_test).accuracy(W)


def part(name, root, write, say):
    """A model, and sets of it; `write` is given the figures after each."""
    source, n, filters, lam, sizes, axes, limit, flips, bounds = PARTS[name]
    data, described = load(source, root)
    chosen = in_turn(data.y_train, n)
    X, y, X_test = rows(data.X_train[chosen]), data.y_train[chosen], rows(data.X_test)
    k, (h, w) = len(data.class_names), data.X_train.shape[1:3]
    start = time.perf_counter()
    shape, Y = (X.shape[1] // (h * w), h, w), torch.from_numpy(datasets.one_hot(y)) - 1 / k
    with_mirrored = mirrored(X, shape, Y) if flips else (X, Y)
    phi, W, G = trained(patch_features(shape, filters, seed=0, X=X), *with_mirrored, lam, axes)
    seconds = time.perf_counter() - start
    judge = Judge(phi, W, X_test, data.y_test)
    d, p, r = phi.input_dim, phi.output_dim, int(torch.linalg.matrix_rank(W, rtol=1e-10))
    found = {"data": described, "images": n, "filters": filters, "p": p, "d": d, "rank": r, "count": generic_count(p, d, r),
             "lam": lam, "mirror_images": flips, "bounds": bounds, "seconds_of_the_model": seconds, "accuracy": judge.accuracy(W), "sets": []}  # fmt: skip
    say(found)
    if name in SHOWN_SETS:
        found["accuracy_with_filters_of_a_seed"] = of_a_seed(shape, filters, X, Y, lam, X_test, data.y_test)
        numbers, arrays, _ = phi.written()
        keep(f"{name}-map", **{key: A.numpy() for key, A in arrays.items() if A is not None}, W=W.numpy(), numbers=json.dumps(numbers))
        few = in_turn(data.y_test, SHOWN)
        keep(f"{source}-test", X=in_bytes(X_test[few]), y=data.y_test[few])
        keep(f"{source}-start", X=in_bytes(X[: PARTS["cifar-100"].sizes[-1]]), y=y[: PARTS["cifar-100"].sizes[-1]])
    write(found)  # the model stands by itself, where a search is stopped
    for m in sizes:
        row = one_set(f"{name}-{m}", phi, W, G, X[:m], judge, limit, bounds, lambda *text, m=m: say(m, *text))
        found["sets"].append(row)
        write(found)


def picture(name="cifar-400", m=48, shown=8):
    """The first picture of the book: photographs of the training set, and those of the set."""
    import matplotlib.pyplot as plt
    from PIL import Image

    part = json.loads((ROOT / "results" / "photographs.json").read_text(encoding="utf-8"))[name]
    row = next(row for row in part["sets"] if row["m"] == m)
    with np.load(FOLDER / "cifar10-start.npz") as start, np.load(FOLDER / f"{name}-{m}.npz") as kept:
        pairs = start["X"][:shown] / 255, kept["X_S"][:shown].clip(0, 1)
    titles = (f"{part['images']:,} photographs: ridge regression reads {part['accuracy']:.1%} of the test images",
              f"{m} of them, moved: the same model, {row['accuracy']:.1%}")  # fmt: skip
    path = ROOT / "chapters" / "images" / "photographs.png"
    with plt.style.context("ddref.book"):
        figure, axes = plt.subplots(2, shown, figsize=(7.5, 2.6), layout="none", gridspec_kw={"hspace": 0.25, "wspace": 0.05})
        for line, images, title in zip(axes, pairs, titles, strict=True):
            for axis, image in zip(line, images.reshape(shown, 3, 32, 32).transpose(0, 2, 3, 1), strict=True):
                axis.imshow(image, interpolation="nearest")
                axis.set_axis_off()
            line[0].set_title(title, fontsize=11, loc="left")
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)
    with Image.open(path) as whole:  # 128 colours: a third of the bytes
        whole.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path.relative_to(ROOT)}")


def main():
    words = sys.argv[1:]
    names = [word for word in words if word in PARTS] or [name for name in PARTS if name not in HOURS]
    root = next((word for word in words if word not in PARTS), os.environ.get("DDREF_DATA"))
    path = ROOT / "results" / "photographs.json"
    for name in names:

        def write(figures, name=name):
            found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            found[name] = {"threads": torch.get_num_threads(), "torch": torch.__version__, **figures}
            found.pop("machine", None)
            save("photographs", found)

        part(name, root, write, lambda *words, name=name: print(name, *words, flush=True))
        if name == "cifar-400":
            picture()


if __name__ == "__main__":
    with torch.no_grad():
        main()
