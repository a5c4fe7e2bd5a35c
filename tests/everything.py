"""The main functions of the package, each once on small data: what tests/test_environment.py runs elsewhere again."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import ddref
from ddref import (
    deep_linear,
    distill,
    files,
    frontier,
    gauge,
    intercept,
    kernel_points,
    kip,
    krr,
    labels_only,
    maps,
    measure,
    nearest,
    nonsurjective,
    privacy,
    recipe,
    spectrum,
    statistics,
)
from ddref.maps import conv, fourier

D, P, K = 7, 6, 3


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, D))
    return X, np.tanh(X @ rng.normal(size=(D, K))), rng.normal(size=(5, D))


def algebra(asarray):
    """What takes arrays of either library."""
    X, Y, X_0 = map(asarray, data())
    Phi, Phi_0 = X[:, :P], X_0[:, :P]
    G, B = krr.gram(Phi, Y)
    W, model = krr.fit(Phi, Y, 0.1), intercept.fit(Phi, Y, 0.1)
    yield "krr.fit", W
    yield "krr.fit_dual", krr.fit_dual(Phi @ Phi.T, Y, 0.1)
    yield "krr.path", list(krr.path(G, B, [0.0, 0.1, 10.0]))
    decomposed = spectrum.from_data(Phi, Y)
    yield "spectrum.gcv", spectrum.gcv(decomposed, [0.1, 1.0])
    yield "spectrum.leave_one_out", spectrum.leave_one_out(decomposed, [0.1, 1.0], [(Phi, Y)])
    found = nearest.nearest(Phi_0, W)
    yield "nearest.nearest", found
    yield "nearest.nearest_lower_bound", nearest.nearest_lower_bound(Phi_0, W)
    yield "nearest.nearest_given_labels", nearest.nearest_given_labels(Phi_0, W, Y[:5])
    Y_S = distill.labels(found, W, 0.01)
    yield "distill.labels", Y_S
    yield "distill.features", distill.features(W, 10 * Y[:4], 0.01)
    yield "measure.verify", measure.verify(found, Y_S, 0.01, W)
    yield "privacy.recover_model", privacy.recover_model(found, Y_S, 0.01)
    yield "privacy.membership", privacy.membership(Phi, Y, W, G, 0.1, variance=0.2)
    yield "gauge.orthonormal", gauge.orthonormal(W, 4)
    yield "gauge.change_of_basis", gauge.change_of_basis(found, Y_S, 2 * asarray(np.eye(5)), 0.01)
    yield "frontier.truncate", frontier.truncate(W, 2, G, 0.1)
    yield "frontier.every_lambda", frontier.every_lambda(Phi, Y)
    yield "labels_only.least_squares", labels_only.least_squares(Phi_0, W, 0.1, G=G)
    yield "intercept.fit", model
    yield "intercept.exact_set", intercept.exact_set(Phi_0, *model, 0.01, choose=nearest.nearest)
    kernel = Phi @ Phi.T
    chosen = kernel_points.greedy(kernel, Y, m=4)
    yield "kernel_points.greedy", chosen
    fitted = kernel @ krr.fit_dual(kernel, Y, 0.1)
    yield "kernel_points.labels", kernel_points.labels(kernel[:4, :4], fitted[:4], 0.1)
    T, _ = deep_linear.product([asarray(np.eye(D, P)), asarray(np.full((P, P), 0.1) + np.eye(P))])
    yield "deep_linear.points", deep_linear.points(W, T, m=4, near=X_0[:4])
    total = statistics.Statistics(P, K).update(Phi[:20], Y[:20]).update(Phi[20:], Y[20:])
    yield "statistics", [total.solve(0.1), total.path([0.1, 1.0])]
    for name, phi in {
        "network": maps.leaky_relu_network([D, P], seed=0, like=X),
        "flow": maps.flow(D, seed=0, like=X),
        "fourier": fourier.orthogonal_features(D, P, 2.0, seed=0, like=X),
    }.items():
        yield name, phi(X)
        model = krr.fit(phi(X), Y, 0.1)
        yield f"recipe.distill {name}", recipe.distill(phi, model, near=X_0, lam_S=None)


def networks():
    """What takes tensors alone."""
    X, Y, X_0 = (torch.tensor(A) for A in data())
    A = torch.tensor(np.random.default_rng(1).normal(size=(D, 20)) / D**0.5)
    layer = nonsurjective.OneLayer(A, activation="tanh")
    W = krr.fit(layer(X), Y, 0.1)
    for name, phi in {"a layer": layer, "any function": lambda X: torch.tanh(X @ A)}.items():
        found = nonsurjective.solve(phi, W, X[:9], lam_S=1e-3)
        assert found.certificate.exact
        yield f"nonsurjective.solve {name}", [found.X_S, found.Y_S]
        rebuilt = privacy.reconstruct(phi, phi(X_0[:2]).T @ Y[:2], X_0[:2] + 0.1 * X[:2])
        yield f"privacy.reconstruct {name}", [rebuilt.X, rebuilt.alpha]
    for labels, kernel in (("solve", kip.linear), ("learn", kip.ntk)):
        state = kip.start(X_0, Y[:5], seed=0)
        state = kip.train(state, X, Y, steps=3, lam_S=0.1, kernel=kernel, labels=labels, batch=20)
        yield f"kip.train {labels}", [state.X_S, state.Y_S, *state.moments]
    phi = conv.small_cnn((1, 4, 4), (4, 8), seed=0)
    images = torch.tensor(np.random.default_rng(2).normal(size=(30, 16)))
    found = recipe.distill(phi, krr.fit(phi(images), images[:, :2], 0.1), near=images[:4])
    yield "conv", [phi(images), found.X_S, found.Y_S]
    kernels = torch.nn.Conv2d(1, 2, 3, padding=1, stride=2).double()
    network = torch.nn.Sequential(kernels, torch.nn.LeakyReLU(0.1), torch.nn.Flatten())
    with torch.no_grad():
        kernels.weight.copy_(torch.tensor(np.random.default_rng(3).normal(size=(2, 1, 3, 3))))
        kernels.bias.zero_()
    phi = maps.from_torch(network, (1, 4, 4))
    yield "maps.from_torch", [phi(images), phi.preimage(phi(images))]


def surroundings():
    """What scikit-learn users and the command see: estimators, and files."""
    X, Y, _ = data()
    y = np.argmax(Y, axis=1)
    for model, target in ((ddref.DistilledRidge(), Y), (ddref.DistilledRidgeClassifier(lam="auto"), y)):
        model.fit(X, target)
        yield f"{type(model).__name__}", [model.X_distilled_, model.coef_, model.predict(X)]
        with TemporaryDirectory() as folder:
            path = Path(folder) / "set.npz"
            model.save(path)
            saved = files.load(path)
            yield f"files, {type(model).__name__}", [saved.X_S, saved.Y_S, saved.lam_S]


WRONG = {  # no check may be an assert: what each of these says, too, is compared
    "empty": lambda: krr.fit(np.ones((0, 2)), np.ones((0, 1)), 0.1),
    "NaN": lambda: krr.fit(np.full((2, 2), np.nan), np.ones((2, 1)), 0.1),
    "shapes": lambda: krr.fit(np.ones((3, 2)), np.ones((2, 1)), 0.1),
    "dtype": lambda: nearest.nearest(np.ones((3, 2), int), np.ones((2, 1))),
    "negative lam": lambda: krr.fit(np.ones((3, 2)), np.ones((3, 1)), -0.5),
    "not symmetric": lambda: krr.path(np.array([[1.0, 2.5], [0.0, 1.0]]), np.ones((2, 1)), [0.1]),
    "span": lambda: distill.labels(np.array([[1.0, 0.0]]), np.array([[0.0], [1.5]])),
    "lam_S too large": lambda: distill.features(np.array([[1.5]]), np.array([[1.0]]), 9.0),
    "too few points": lambda: nearest.nearest(np.ones((1, 3)), np.eye(3)),
    "a map that is not onto": lambda: recipe.distill(maps.Linear(np.ones((1, 2))), np.ones((2, 1))),
    "no file": lambda: files.load("none.npz"),
    "lists": lambda: distill.rank_report([[1.0]]),
    "no tensors": lambda: kip.start(np.ones((1, 1)), np.ones((1, 1))),
    "options": lambda: nonsurjective.OneLayer(torch.ones(1, 2), activation="none"),
}


def refusals():
    """What is said of wrong arguments, by their name; nothing where they pass."""
    said = {}
    for name, call in WRONG.items():
        try:
            call()
        except (TypeError, ValueError, OSError) as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


def flat(found):
    """Everything that is a number in a result, as one list of NumPy arrays."""
    if isinstance(found, torch.Tensor):
        return [found.detach().numpy().copy()]
    if isinstance(found, np.ndarray | float | int):
        return [np.asarray(found)]
    if isinstance(found, list | tuple):
        return [A for part in found for A in flat(part)]
    return []


def results():
    """Every result, by its name."""
    parts = [("NumPy", algebra(np.asarray)), ("PyTorch", algebra(torch.tensor)), ("tensors", networks())]
    parts += [("", surroundings())]
    found = {f"{name}, {library}": flat(one) for library, part in parts for name, one in part}
    return found | {"refusals": refusals()}
