"""Measure what the stored sets of photographs are worth elsewhere, and beside others: `results/photographs_uses.json`.

    python -m tools.results_photographs_uses [numbers ...]

Needs the data folder (DDREF_DATA), and the sets that `tools.results_photographs` keeps. The parts: `numbers`, accuracy against the number
of images, of exact sets, of real images with the best labels and of KIP, all through one map; `transfer`, the sets through
another map and in a small network; `bounds`, what pixels between black and white cost; `ways`, the solver in several ways; `count`, sets of 9 and 10 images;
`flips`, the model with mirror images; `speed`, the map by convolutions and by one product.
"""

import os
import time
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from ddref import datasets, kernel_points, kip, labels_only, measure
from ddref.kip import training
from ddref.maps import Patches, patch_features
from ddref.nonsurjective import solve
from tools.results import save_parts
from tools.results_photographs import (
    FOLDER,
    PARTS,
    Judge,
    features,
    in_turn,
    load,
    mirrored,
    rows,
    trained,
)

SEEDS = range(5)
CANDIDATES = 3_000  # images among which the greedy choice is made
STEPS, RATE = 500, 0.01  # of KIP
EPOCHS, TESTED = 200, 2_000  # of the small network: steps, and test images
LIMIT = 150  # computing seconds of a search
UNFINISHED = 0.1  # the residual at which a search that only gives a start is stopped


class Room:
    """The model of `cifar-100`, its training images, and how models do on the test set."""

    def __init__(self, root):
        part = PARTS["cifar-100"]
        data, self.described = load(part.data, root)
        chosen = in_turn(data.y_train, part.images)
        self.X, self.y = rows(data.X_train[chosen]), data.y_train[chosen]
        self.X_test, self.y_test = rows(data.X_test), data.y_test
        self.Y = torch.from_numpy(datasets.one_hot(self.y)) - 0.1
        self.lam = part.lam
        self.phi, self.W, self.G = self.model(patch_features((3, 32, 32), part.filters, seed=0, X=self.X))
        self.judge = Judge(self.phi, self.W, self.X_test, self.y_test)

    def model(self, phi):
        return trained(phi, self.X, self.Y, self.lam)


def close(phi, W, X_0, limit, **options):
    """`solve` in about so many computing seconds at most; the figures of the search."""
    start = time.process_time()
    found = solve(phi, W, X_0, damping=4.0, callback=lambda at: time.process_time() - start > limit, unfinished=True, **options)
    spent = time.process_time() - start
    moved = float((found.X_S - X_0).square().mean().sqrt())
    return found, {"residual": found.residual, "converged": found.certificate.exact, "steps": found.steps, "computing_seconds": spent,
                   "condition": found.certificate.condition, "rms_change": moved}  # fmt: skip


# -- accuracy against the number of images


def below_the_rank(room, m):
    """The best model of rank m, in the norm of predictions, and m images that carry it."""
    values, V = torch.linalg.eigh(room.G)
    root = V * values.clamp(min=1e-9 * values[-1]).sqrt() @ V.T
    U, s, Vh = torch.linalg.svd(root @ room.W, full_matrices=False)
    W_m = torch.linalg.solve(root, (U[:, :m] * s[:m]) @ Vh[:m])
    found, row = close(room.phi, W_m, room.X[:m], LIMIT, rtol=1e-8)
    return {"m": m, "accuracy": room.judge(found.X_S, found.Y_S)["accuracy"], **row}


def count(room, say):
    """Exact sets with as many images as the rank, and one more: the count is 9."""
    found = {"seconds_allowed": LIMIT, "sets": []}
    for m in (9, 10):
        one, row = close(room.phi, room.W, room.X[:m], LIMIT)
        found["sets"].append({"m": m, **row, **room.judge(one.X_S, one.Y_S)})
        say(found["sets"][-1])
    return found


def real_images(room, which):
    """Test accuracy of real images with the labels that predict best."""
    X = room.X[which]
    labels = labels_only.least_squares(room.phi(X), room.W, G=room.G, minimise="predictions").Y_S
    return room.judge(X, labels)["accuracy"]


def by_kip(room, m):
    """KIP through the same map from the same images."""
    Phi = features(room.phi, room.X)
    R, Y_R = kip.condense(room.G, Phi.T @ room.Y, float(room.Y.square().sum()))
    X_0 = room.X[:m]
    lam_S = 1e-6 * float(room.phi(X_0).square().sum()) / m
    start = time.process_time()
    with torch.enable_grad():
        state = training.train(training.start(X_0, room.Y[:m]), R, Y_R, steps=STEPS, lam_S=lam_S, phi=room.phi, rows="features", lr=RATE)
    Phi_S = room.phi(state.X_S)
    W_S = Phi_S.T @ torch.linalg.solve(Phi_S @ Phi_S.T + lam_S * torch.eye(m, dtype=Phi_S.dtype), state.Y_S)
    return {"m": m, "accuracy": room.judge.accuracy(W_S), "computing_seconds": time.process_time() - start,
            "relative_error": measure.relative_error(W_S, room.W), "first_loss": state.losses[0], "last_loss": state.losses[-1],
            "loss_of_the_model": float((Phi @ room.W - room.Y).square().sum())}  # fmt: skip


def numbers(room, say):
    Phi = features(room.phi, room.X[:CANDIDATES])
    order = kernel_points.greedy((Phi @ Phi.T).numpy(), (Phi @ room.W).numpy(), m=500)
    found = {"accuracy_of_the_model": room.judge.accuracy(room.W), "candidates": CANDIDATES, "steps_of_kip": STEPS, "rate_of_kip": RATE}
    found["random"], found["greedy"] = [], []
    for m in (10, 20, 50, 100, 200, 500):
        draws = [np.random.default_rng(seed).permutation(len(room.X))[:m] for seed in SEEDS]
        found["random"].append({"m": m, "accuracy": [real_images(room, which) for which in draws]})
        found["greedy"].append({"m": m, "accuracy": real_images(room, order[:m])})
    say({name: found[name] for name in ("random", "greedy")})
    found["below_the_rank"] = [below_the_rank(room, m) for m in (2, 5, 8)]
    say(found["below_the_rank"])
    found["kip"] = []
    for m in (10, 20, 50):
        found["kip"].append(by_kip(room, m))
        say(found["kip"][-1])
    return found


# -- other maps, other learners


def small_network():
    """Three layers of convolutions and a linear one."""
    layers = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.GroupNorm(8, after), torch.nn.ReLU(), torch.nn.AvgPool2d(2)]
    return torch.nn.Sequential(torch.nn.Unflatten(1, (3, 32, 32)), *layers, torch.nn.Flatten(), torch.nn.Linear(64 * 16, 10))


def by_network(X_S, Y_S, X_test, y_test):
    """Test accuracy of the small network, trained by Adam on the squared error; one seed after the other."""
    found = []
    X_S, Y_S, X_test = (A.float() for A in (X_S, Y_S, X_test))
    for seed in SEEDS[:3]:
        torch.manual_seed(seed)
        network = small_network()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-3)
        with torch.enable_grad():
            for _ in range(EPOCHS):
                optimiser.zero_grad()
                (network(X_S) - Y_S).square().sum(dim=1).mean().backward()
                optimiser.step()
        scores = torch.cat([network(part) for part in X_test.split(500)])
        found.append(measure.accuracy(scores.numpy(), y_test))
    return found


def by_map(judge, X_S, Y_S):
    """Test accuracy of the ridge model of a set through another map, at the best of a few lam_S, which flatters it."""
    Phi_S, found = judge.phi(X_S), {}
    for lam_S in (1e-6, 1e-3, 0.1, 10.0, 1000.0):
        alpha = torch.linalg.solve(Phi_S @ Phi_S.T + lam_S * torch.eye(len(X_S), dtype=Phi_S.dtype), Y_S)
        found[lam_S] = judge.accuracy(Phi_S.T @ alpha)
    lam_S = max(found, key=found.get)
    return {"accuracy": found[lam_S], "lam_S": lam_S}


def transfer(room, say):
    with_one_hot, found = room.Y, {"epochs": EPOCHS, "tested": TESTED, "sets": []}
    few = in_turn(room.y_test, TESTED)
    others = {"same kind, other filters": (100, 1, 6), "four times the filters": (400, 0, 6), "patches of 4 x 4": (100, 0, 4)}
    others = {name: patch_features((3, 32, 32), n, seed=seed, X=room.X, size=size) for name, (n, seed, size) in others.items()}
    judges = {name: Judge(*room.model(phi)[:2], room.X_test, room.y_test) for name, phi in others.items()}
    found["models"] = {name: judge.accuracy(judge.W) for name, judge in judges.items()}
    say(found)
    for m in PARTS["cifar-100"].sizes:
        X_0 = room.X[:m]
        X_S, Y_S = kept_set(room, m)
        row = {"m": m}
        for name, judge in judges.items():
            row[name] = {"set": by_map(judge, X_S, Y_S), "real images, one-hot": by_map(judge, X_0, with_one_hot[:m])}
        row["small network"] = {
            "set": by_network(X_S, Y_S, room.X_test[few], room.y_test[few]),
            "real images, one-hot": by_network(X_0, with_one_hot[:m], room.X_test[few], room.y_test[few]),
        }
        say(row)
        found["sets"].append(row)
    return found


def kept_set(room, m):
    """A stored set, its labels fitted again."""
    with np.load(FOLDER / f"cifar-100-{m}.npz") as kept:
        X_S = kept["X_S"].astype(float)
        X_S = torch.from_numpy(kept["low"] + kept["step"] * X_S if "step" in kept else X_S)
    return X_S, room.phi(X_S) @ room.W


# -- the solver


def bounds(room, say):
    """Pixels between black and white."""
    found = {"seconds_allowed": LIMIT, "sets": []}
    for m in PARTS["cifar-100"].sizes:
        one, row = close(room.phi, room.W, room.X[:m], LIMIT, bounds=(0.0, 1.0))
        at_a_bound = float(((one.X_S <= 0) | (one.X_S >= 1)).double().mean())
        eight = torch.round(one.X_S * 255) / 255
        row |= {"m": m, "at_a_bound": at_a_bound, **room.judge(one.X_S, one.Y_S), "8 bits": room.judge.stored(eight)}
        say(row)
        found["sets"].append(row)
    return found


class Single(Patches):
    """The same map with products in float32."""

    def linearise(self, X):
        at = super().linearise(X)
        at.A, at.cell_means, at.scale = at.A.float(), at.cell_means.float(), at.scale.float()
        at.images = [tuple(A.float() for A in each) for each in at.images]
        push, pull, jacobians = at.push, at.pull, at.jacobians
        at.push, at.pull = (lambda dX: push(dX.float()).double()), (lambda Z: pull(Z.float()).double())
        at.jacobians = lambda: jacobians().double()
        return at


class Bare(Patches):
    """The same map without what the preconditioner asks for."""

    def linearise(self, X):
        at = super().linearise(X)
        at.jacobians = lambda: torch.zeros(len(X), self.output_dim, self.input_dim, dtype=X.dtype)
        return at


def like(phi, kind):
    numbers, arrays, _ = phi.written()
    return kind(**numbers, **arrays)


def narrower(room, filters):
    """The model of the first filters, for a search that begins with it."""
    phi = room.phi
    numbers = {name: getattr(phi, name) for name in phi.numbers}
    return room.model(Patches(phi.A[:, :filters], phi.b[:filters], **numbers))


def merged(X):
    """Half as many images: each time the two nearest that are left give their mean."""
    left, means = list(range(len(X))), []
    while left:
        gaps = torch.cdist(X[left], X[left]).fill_diagonal_(torch.inf)
        pair = [left[i] for i in divmod(int(gaps.argmin()), len(left))]
        means.append(X[pair].mean(dim=0))
        left = [i for i in left if i not in pair]
    return torch.stack(means)


def ways(room, say):
    """12 images and the 800 features, in several ways."""
    X_0, limit, found = room.X[:12], 120, {}
    for name, phi, options in (
        ("products, preconditioned", room.phi, {}),
        ("products in float32", like(room.phi, Single), {}),
        ("products, not preconditioned", like(room.phi, Bare), {}),
        ("Cholesky of the r p equations", room.phi, {"method": "equations"}),
    ):
        _, found[name] = close(phi, room.W, X_0, limit, **options)
        say(name, found[name])
    phi, W, _ = narrower(room, 50)
    half, first = close(phi, W, X_0, limit)
    starts = {"50 filters first": (first, half.X_S)}
    # sets of more points, not finished: merged in pairs, or some of their points as they are
    more, first = close(room.phi, room.W, room.X[:24], limit, tol=UNFINISHED)
    starts["24 points first, merged"] = first, merged(more.X_S)
    more, first = close(room.phi, room.W, room.X[:60], limit, tol=UNFINISHED)
    starts["60 points first, 12 of them"] = first, more.X_S[:12]
    for name, (first, X) in starts.items():
        _, second = close(room.phi, room.W, X, limit)
        found[name] = {"first": first, **second}
        say(name, found[name])
    return {"m": 12, "seconds_allowed": limit, "ways": found}


# -- the map


def flips(room, say):
    """The model of the training images and of their mirror images: both only add to the sums."""
    phi = patch_features((3, 32, 32), PARTS["cifar-100"].filters, seed=0, X=room.X)
    phi, W, _ = trained(phi, *mirrored(room.X, (3, 32, 32), room.Y), room.lam)
    found = {"accuracy": Judge(phi, W, room.X_test, room.y_test).accuracy(W), "without": room.judge.accuracy(room.W)}
    say(found)
    return found


def by_conv2d(phi, X):
    """The answers of the filters by convolutions in place of one product with all patches."""
    images, kernels = X.view(-1, 3, 32, 32), phi.A.T.reshape(-1, 3, phi.size, phi.size)
    ones = torch.full_like(kernels[:1], 1 / len(phi.A))
    mean, square = F.conv2d(images, ones), F.conv2d(images**2, ones)
    contrast = torch.sqrt((square - mean**2).clamp(min=0) + phi.noise)
    t = (F.conv2d(images, kernels) - mean * kernels.sum(dim=(1, 2, 3))[:, None, None]) / contrast
    return (t + phi.b[:, None, None]).flatten(2)


def by_product(phi, X, at_once=7):
    return torch.cat([phi.answers(phi.normalised(part.view(-1, 3, 32, 32))[0]) for part in X.split(at_once)])


def speed(room, say):
    """Computing seconds of the answers to 300 images in float32, the quickest of five, and how far the two ways agree."""
    phi, X, found = room.phi.to(dtype="float32"), room.X[:300].float(), {"images": 300}
    for name, way in (("convolutions", by_conv2d), ("one product", by_product)):
        seconds = []
        for _ in range(5):
            start = time.process_time()
            answers = way(phi, X)
            seconds.append(time.process_time() - start)
        found[name] = min(seconds)
        found.setdefault("answers", []).append(answers)
    one, other = found.pop("answers")
    found["difference"] = measure.relative_error(one.double(), other.double())
    say(found)
    return found


def main():
    room = Room(os.environ.get("DDREF_DATA"))
    measures = {"numbers": numbers, "transfer": transfer, "bounds": bounds, "ways": ways, "count": count, "flips": flips, "speed": speed}
    save_parts("photographs_uses", {name: partial(measured, room) for name, measured in measures.items()}, data=room.described)


if __name__ == "__main__":
    with torch.no_grad():
        main()
