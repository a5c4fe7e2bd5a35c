"""Frozen networks of PyTorch as feature maps: points by the solver, exact whether the network is onto or not."""

import numpy as np
import pytest
from sklearn import datasets as toys
from sklearn.base import clone
from sklearn.linear_model import Ridge

torch = pytest.importorskip("torch")

from conftest import error  # noqa: E402
from ddref import maps, measure, nonsurjective, recipe  # noqa: E402
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier, from_model  # noqa: E402

nn = torch.nn


def made(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def features(net, X):
    with torch.no_grad():
        return net.double()(torch.as_tensor(X)).flatten(1).numpy()


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scaling", [None, "columns"])
def test_a_wide_network_has_an_exact_set(fit_intercept, scaling):
    X, y = toys.load_wine(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    net = made(nn.Linear(13, 24), nn.Tanh())
    model = DistilledRidgeClassifier(feature_map=net, lam=0.1, fit_intercept=fit_intercept, scaling=scaling).fit(X, y)
    found = model.certificate_
    assert found.exact and found.relative_error < 1e-9 and found.decisions_changed == 0 and found.distance > 0
    assert model.n_points_ < 24 and model.coef_.shape == (3, 24)
    Phi_S = features(net, (model.X_distilled_ - model.mean_) / model.scale_)
    ridge = Ridge(alpha=model.lam_s_, fit_intercept=fit_intercept, solver="svd").fit(Phi_S, model.y_distilled_)
    assert error(ridge.coef_, model.coef_) < 1e-9
    theirs = Ridge(alpha=0.1, fit_intercept=fit_intercept)
    theirs.fit(features(net, (X - model.mean_) / model.scale_), np.eye(3)[y])
    assert error(model.coef_, theirs.coef_) < 1e-9
    assert isinstance(model.X_distilled_, np.ndarray) and next(net.parameters()).requires_grad


def test_a_network_that_cannot_be_inverted_reads_images():
    X, y = toys.load_digits(return_X_y=True)
    layers = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    net = made(*layers).float()
    with pytest.raises(ValueError, match="nonsurjective.solve"):
        maps.from_torch(net, (1, 8, 8))
    model = DistilledRidgeClassifier(feature_map=net, image_shape=(8, 8), scaling="global", lam=1.0, n_points=55)
    model.fit(X[:500], y[:500])
    assert model.certificate_.exact and model.certificate_.relative_error < 1e-9 and model.coef_.shape == (10, 54)
    assert next(net.parameters()).dtype == torch.float32  # a copy was made
    rows = (model.X_distilled_ - model.mean_[0]) / model.scale_[0]
    ridge = Ridge(alpha=model.lam_s_, solver="svd")
    ridge.fit(features(net, rows.reshape(-1, 1, 8, 8)), model.y_distilled_)
    assert error(ridge.coef_, model.coef_) < 1e-9


def test_a_trained_head_on_a_frozen_network_has_a_set_of_inputs():
    X, y = toys.load_diabetes(return_X_y=True)
    net, head = made(nn.Linear(10, 20), nn.Softplus()), nn.Linear(20, 2).double()
    small = from_model(head, 20 * X, feature_map=net)
    ridge = Ridge(alpha=small.lam_s_, solver="svd").fit(features(net, small.X_distilled_), small.y_distilled_)
    assert error(ridge.coef_, head.weight) < 1e-9 and error(ridge.intercept_, head.bias) < 1e-9


def test_steps_of_the_solver_are_told(capsys):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh())
    X = np.random.default_rng(0).normal(size=(30, 3))
    DistilledRidge(feature_map=network, verbose=True).fit(X, X[:, 0] ** 3)
    assert "DistilledRidge: moving " in capsys.readouterr().err


def test_too_few_points_are_refused_with_how_many_to_take(tmp_path):
    X, y = toys.load_diabetes(return_X_y=True)
    net = made(nn.Linear(10, 26), nn.Tanh())
    model = DistilledRidge(2, feature_map=net, scaling="columns")
    with pytest.raises(ValueError, match=r"the solver stopped .* from 2 points: pass more \(n_points=4; with 27 no"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="init = 'orthonormal' wants features of its own"):
        clone(model).set_params(n_points=6, init="orthonormal").fit(X, y)
    full = clone(model).set_params(n_points=30).fit(X, y)
    assert full.certificate_.copies == 30 and full.certificate_.exact
    with pytest.raises(TypeError, match="a file holds maps with a `kind`"):
        full.save(tmp_path / "set.npz")


WIDE = maps.leaky_relu_network([4, 9], seed=0, like=torch.zeros(1, 1, dtype=torch.float64))
NET = made(nn.Linear(4, 9), nn.Softplus()).double()
DOORS = {
    "from_torch": lambda: maps.from_torch(NET, (4,)),
    "from_torch of a module": lambda: maps.from_torch(nn.MultiheadAttention(4, 1), (4,)),
    "recipe": lambda: recipe.distill(WIDE, torch.ones(9, 1, dtype=torch.float64)),
    "recipe of a network": lambda: recipe.distill(NET, torch.ones(9, 1, dtype=torch.float64)),
    "recipe of a function": lambda: recipe.distill(torch.tanh, torch.ones(9, 1, dtype=torch.float64)),
    "preimage": lambda: WIDE.preimage(torch.ones(2, 9, dtype=torch.float64)),
    "chain": lambda: maps.Chain([NET]),
    "random features": lambda: maps.gaussian_features(4, 9, 1.0, seed=0).preimage(np.zeros((1, 9))),
    "a convolution": lambda: maps.Conv2d(torch.ones(8, 1, 2, 2), input_shape=(1, 4, 4)).preimage(torch.ones(1, 72)),
    "an estimator": lambda: DistilledRidge(feature_map=maps.leaky_relu_network([4, 9], seed=0)).fit(*SAMPLES),
}
SAMPLES = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40.0)


@pytest.mark.parametrize("door", DOORS)
def test_where_a_map_is_not_onto_the_message_names_what_does_not_ask_for_it(door):
    with pytest.raises((ValueError, TypeError), match="solve, or feature_map=net .PyTorch. in an estimator") as refused:
        DOORS[door]()
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


@pytest.mark.parametrize("phi", [WIDE, NET], ids=["map", "network"])
def test_the_solver_that_messages_name_does_it(phi):
    W = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    X_S = nonsurjective.solve(phi, W, torch.as_tensor(SAMPLES[0][:6])).X_S
    Phi_S = phi(X_S).detach()
    assert measure.verify(Phi_S, Phi_S @ W, 0.0, W).relative_error < 1e-9


def test_the_estimator_that_messages_name_does_it_and_in_batches():
    model = DistilledRidge(feature_map=NET, n_points=8).fit(*SAMPLES)
    assert model.certificate_.exact
    batches = clone(model)
    for part in (slice(0, 25), slice(25, 40)):
        batches.partial_fit(*(A[part] for A in SAMPLES))
    assert batches.certificate_.exact and error(batches.coef_, model.coef_) < 1e-8


def test_a_map_in_float32_is_refused_with_the_way_out():
    narrow = maps.leaky_relu_network([4, 4], seed=0).to(dtype=np.float32)
    with pytest.raises(TypeError, match="differ in dtype.*map.to.dtype='float64'"):
        DistilledRidge(feature_map=narrow).fit(*SAMPLES)
    assert DistilledRidge(feature_map=narrow.to(dtype="float64")).fit(*SAMPLES).certificate_.exact
