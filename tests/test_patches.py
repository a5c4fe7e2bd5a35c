"""ddref.maps.patches against loops over patches in NumPy and against automatic differentiation; sets found through it."""

import numpy as np
import pytest

from conftest import error, numpy64, refit
from ddref import datasets, krr

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from ddref.maps import Chain, Linear, Patches, patch_features, patches  # noqa: E402
from ddref.maps.written import describe, restore  # noqa: E402
from ddref.measure import tolerance  # noqa: E402
from ddref.nonsurjective import solve  # noqa: E402

SHAPES = [((3, 7, 8), {"size": 3}), ((1, 9, 9), {"size": 4, "stride": 2, "cells": 3}), ((2, 5, 5), {"size": 5, "cells": 1})]


@pytest.fixture(params=["cpu-float64", "cpu-float32", "cuda-float64"])
def kind(request):
    where, dtype = request.param.split("-")
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return {"device": where, "dtype": getattr(torch, dtype)}


def drawn(shape, options, count=4, **kind):
    """A map with filters, biases and statistics that no routine chose, and images."""
    rng = np.random.default_rng(1)
    q, cells = shape[0] * options["size"] ** 2, options.get("cells", 2)
    arrays = rng.normal(size=(q, 5)), rng.normal(size=5), rng.normal(size=10 * cells**2), 1 + rng.random(10 * cells**2)
    kind = {"dtype": torch.float64, **kind}
    phi = Patches(*(torch.tensor(A, **kind) for A in arrays), input_shape=shape, alpha=0.3, eps=0.4, **options)
    return phi, torch.tensor(rng.random((count, int(np.prod(shape)))), **kind)


def by_loops(phi, X):
    """The features of rows, patch after patch, from the definition."""
    (c, h, w), size, step, cells = phi.input_shape, phi.size, phi.stride, phi.cells
    A, b, mean, scale = (numpy64(each) for each in (phi.A, phi.b, phi.mean, phi.scale))
    down, across = (h - size) // step + 1, (w - size) // step + 1
    found = []
    for image in numpy64(X).reshape(-1, c, h, w):
        t = np.empty((A.shape[1], down, across))
        for i in range(down):
            for j in range(across):
                x = image[:, i * step : i * step + size, j * step : j * step + size].ravel()
                t[:, i, j] = (x - x.mean()) / np.sqrt(x.var() + phi.noise) @ A + b
        row = []
        for u in (t - phi.alpha, -t - phi.alpha):
            rho = (u + np.sqrt(u**2 + phi.eps**2)) / 2
            for f in range(A.shape[1]):
                for i in range(cells):
                    for j in range(cells):
                        rows = slice(i * down // cells, -(-(i + 1) * down // cells))
                        columns = slice(j * across // cells, -(-(j + 1) * across // cells))
                        row.append(rho[f, rows, columns].mean())
        found.append((np.array(row) - mean) / scale)
    return np.array(found)


@pytest.mark.parametrize("shape, options", SHAPES)
@pytest.mark.parametrize("axes", [None, 3])
def test_features_are_those_of_loops_with_and_without_gradients(shape, options, axes, kind, monkeypatch):
    phi, X = drawn(shape, options, **kind)
    expected = by_loops(phi, X)
    if axes:
        phi = phi.projected(last_axes(phi, axes))
        expected = expected @ numpy64(phi.P)
    for at_once in (1, 2**19):
        monkeypatch.setattr(patches, "AT_ONCE", at_once)
        with torch.no_grad():
            fast = phi(X)
        for found in (phi(X), fast):
            assert found.dtype == kind["dtype"] and found.device.type == kind["device"]
            assert error(found, expected) < tolerance(50, X.dtype)
    assert phi.output_dim == expected.shape[1] and phi.input_dim == X.shape[1]


def last_axes(phi, axes):
    return torch.tensor(np.random.default_rng(3).normal(size=(phi.output_dim, axes))).to(phi.A)


def jacobians(phi, X):
    return torch.stack([torch.autograd.functional.jacobian(lambda x: phi(x[None])[0], x) for x in X])


@pytest.mark.parametrize("shape, options", SHAPES)
@pytest.mark.parametrize("axes", [None, 3])
def test_the_derivative_is_that_of_automatic_differentiation(shape, options, axes):
    phi, X = drawn(shape, options)
    phi = phi.projected(last_axes(phi, axes)) if axes else phi
    J, at = jacobians(phi, X), phi.linearise(X)
    rng = np.random.default_rng(2)
    dX, Z = torch.tensor(rng.normal(size=X.shape)), torch.tensor(rng.normal(size=J.shape[:2]))
    assert error(at.jacobians(), J) < 1e-13
    assert error(at.push(dX), (J @ dX[:, :, None])[:, :, 0]) < 1e-13
    assert error(at.pull(Z), (Z[:, None, :] @ J)[:, 0]) < 1e-13
    with torch.no_grad():  # where the memory of the answers is used again
        _, change = torch.func.jvp(phi, (X,), (dX,))
    assert error(change, at.push(dX)) < 1e-13


def test_a_map_of_float32_is_linearised_in_float64():
    phi, X = drawn(*SHAPES[0], dtype=torch.float32)
    exact = phi.to(dtype="float64").linearise(X.double())
    assert torch.equal(phi.linearise(X).jacobians(), exact.jacobians())


def test_brightness_and_contrast_of_an_image_do_not_count():
    phi, X = drawn(*SHAPES[0])
    phi = Patches(phi.A, input_shape=phi.input_shape, size=3, noise=1e-12)
    assert error(phi(0.2 + 0.3 * X), phi(X)) < 1e-6


def test_filters_are_white_for_the_patches_they_were_taken_from():
    """The answers of many filters have the covariance of unit vectors: no direction of the patches dominates."""
    sample = datasets.fashion_sample()
    X = sample.X_train[:200].reshape(200, -1) / 255
    phi = patch_features((1, 28, 28), 400, seed=0, X=X, size=4, zca=1e-3)
    y, _ = phi.normalised(torch.tensor(X).view(-1, 1, 28, 28))
    y = y.transpose(1, 2).reshape(-1, 16)
    lengths = torch.linalg.norm(phi.A.T @ torch.linalg.cholesky(torch.cov(y.T) + 1e-3 * torch.eye(16)), dim=1)
    assert 0.9 < float(lengths.min()) and float(lengths.max()) < 1.1
    assert float((phi.A.T @ y.mean(dim=0) + phi.b).abs().max()) < 0.1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8)])
def test_maps_come_back_bit_for_bit_by_seed_and_by_their_arrays(shape):
    _, X = drawn(shape, {"size": 6})
    by_seed = patch_features(shape, 7, seed=3, alpha=0.1)
    by_arrays = patch_features(shape, 7, seed=3, X=X, size=4).standardized(torch.ones(56).double(), torch.full((56,), 2.0).double())
    fewer = by_arrays.projected(last_axes(by_arrays, 5))
    for phi, stored in ((by_seed, 0), (by_arrays, 4), (fewer, 5), (Chain([by_seed, Linear(torch.eye(56).double())]), 1)):
        arrays = {}
        found = describe(phi, "map", arrays, map_arrays=False)
        assert len(arrays) == stored
        again = restore(found, "map", arrays)
        assert repr(again) == repr(phi) and torch.equal(again(X), phi(X))
    assert not torch.equal(patch_features(shape, 7, seed=4, alpha=0.1)(X), by_seed(X))
    with pytest.raises(ValueError, match=r"feature map, drawn again .* more than max_bytes = 1,000"):
        restore(describe(by_seed, "map", {}, map_arrays=False), "map", {}, max_bytes=1000)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: patch_features((3, 8, 8), 4, seed=None), TypeError, "seed must be an integer"),
        (lambda: patch_features((3, 8, 8), 4, seed=0, size=8), ValueError, r"8 x 8 have 1 x 1 patches of size = 8 .* cells = 2"),
        (lambda: patch_features((3, 4, 8), 4, seed=0), ValueError, r"4 x 8 have 0 x 3 patches of size = 6"),
        (lambda: patch_features((3, 8, 8), 4, seed=0, zca=0.0), ValueError, "zca = 0 must be positive"),
        (lambda: patch_features((1, 8, 8), 4, seed=0, X=np.ones((3, 64))), ValueError, "0 of 20000 random patches .* filters = 4"),
        (lambda: patch_features((1, 8, 8), 4, seed=0, X=np.ones((3, 63))), ValueError, r"63 columns, input_shape = \(1, 8, 8\) needs 64"),
        (lambda: Patches(np.eye(4), input_shape=(1, 4, 4), size=2), TypeError, "A must be a PyTorch tensor, got ndarray"),
        (lambda: Patches(torch.eye(4), input_shape=(1, 4, 4)), ValueError, "A has 4 rows, patches have 36 values|fewer than cells"),
        (lambda: Patches(torch.eye(4), input_shape=(3, 4, 4), size=2), ValueError, "A has 4 rows, patches have 12 values"),
        (lambda: Patches(torch.eye(4), torch.zeros(3), input_shape=(1, 4, 4), size=2), ValueError, r"b must be .* \(4,\), got \(3,\)"),
        (
            lambda: Patches(torch.eye(4), scale=torch.zeros(32), input_shape=(1, 4, 4), size=2),
            ValueError,
            "scale must be positive",
        ),
        (lambda: patch_features((1, 8, 8), 4, seed=0).projected(torch.eye(31)), ValueError, r"P must be .* 32 rows.*got \(31, 31\)"),
        (lambda: patch_features((1, 8, 8), 4, seed=0).preimage(torch.zeros(1, 32).double()), ValueError, "is not onto.*nonsurjective"),
        (lambda: patch_features((1, 8, 8), 4, seed=0)(torch.zeros(1, 63).double()), ValueError, "63 columns, this map needs 64"),
    ],
)
def test_what_is_no_patch_map_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# -- sets through it


def small_problem(m=8, filters=6, seed=0, dtype=torch.float64):
    """Fashion images of 10 x 10 pixels, 48 features, three classes; the targets add up to zero, so W has rank 2."""
    sample = datasets.fashion_sample()
    which = np.flatnonzero(sample.y_train < 3)[:300]
    X = torch.tensor(sample.X_train[which, 4:24:2, 4:24:2].reshape(300, -1) / 255, dtype=dtype)
    phi = patch_features((1, 10, 10), filters, seed=seed, size=4, like=X)
    phi = phi.standardized(phi(X).mean(dim=0), phi(X).std(dim=0))
    Y = torch.tensor(np.eye(3)[sample.y_train[which]] - 1 / 3, dtype=dtype)
    return phi, krr.fit(phi(X), Y, 1.0), X[:m]


@pytest.mark.parametrize("method", ["equations", "unknowns", "products", None])
def test_every_method_finds_an_exact_set_of_images(method):
    phi, W, X_0 = small_problem()
    found = solve(phi, W, X_0, method=method)
    assert found.certificate.exact and len(phi.A.T) * 8 == len(W) == 48
    W_S, condition = refit(phi(found.X_S), found.Y_S, 0.0)
    assert error(W_S, W) < tolerance(condition, "float64") + found.residual


@pytest.mark.parametrize("method", ["equations", "products"])
def test_pixels_stay_between_black_and_white_where_that_is_asked_for(method):
    phi, W, X_0 = small_problem(12)
    free = solve(phi, W, X_0, method=method)
    assert free.X_S.min() < -0.01
    found = solve(phi, W, X_0, method=method, bounds=(0.0, 1.0))
    assert found.certificate.exact and found.X_S.min() == 0 and found.X_S.max() <= 1
    W_S, condition = refit(phi(found.X_S), found.Y_S, 0.0)
    assert error(W_S, W) < tolerance(condition, "float64") + found.residual
