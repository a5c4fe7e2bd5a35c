"""ddref.labels_only: least squares against NumPy's own, on the operator that training is."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from conftest import Nx, conditioned, error, numpy64, refit
from ddref import distill, labels_only
from ddref.measure import tolerance

# what the property tests run on; the other tests run on the fixture nx
EACH = [Nx("numpy", "cpu", "float64"), Nx("numpy", "cpu", "float32"), Nx("torch", "cpu", "float32")]
in_each_dtype = pytest.mark.parametrize("nx", EACH, ids=repr)


def training(Phi_S, lam_S):
    """The matrix that takes labels to the trained model."""
    m = len(Phi_S)
    return np.linalg.pinv(Phi_S) if lam_S == 0 else Phi_S.T @ np.linalg.inv(Phi_S @ Phi_S.T + lam_S * np.eye(m))


@pytest.mark.parametrize("lam_S", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("m", [1, 4, 9])
def test_labels_are_the_least_squares_ones_and_the_residuals_are_those_of_the_trained_model(nx, rng, m, lam_S):
    Phi_S, W, X = conditioned(rng, m, 9, 5), rng.normal(size=(9, 3)), rng.normal(size=(40, 9))
    fit = labels_only.least_squares(nx.asarray(Phi_S), nx.asarray(W), lam_S, G=nx.asarray(X.T @ X))
    assert nx.is_mine(fit.Y_S)
    T = training(Phi_S, lam_S)
    assert error(fit.Y_S, np.linalg.lstsq(T, W, rcond=None)[0]) < tolerance(100 * (1 + lam_S), nx.dtype)
    W_S = T @ numpy64(fit.Y_S)
    slack = tolerance(100 * (1 + lam_S), nx.dtype)
    assert fit.parameters == pytest.approx(error(W_S, W), abs=slack)
    assert fit.predictions == pytest.approx(error(X @ W_S, X @ W), abs=slack)
    assert (fit.parameters < slack) == (m == 9)


@pytest.mark.parametrize("lam_S", [0.0, 0.3])
def test_predictions_can_be_minimised_instead(nx, rng, lam_S):
    Phi_S, W, X = conditioned(rng, 4, 9, 5), rng.normal(size=(9, 3)), conditioned(rng, 40, 9, 10)
    A, B, G = nx.asarray(Phi_S), nx.asarray(W), nx.asarray(X.T @ X)
    parameters = labels_only.least_squares(A, B, lam_S, G=G)
    predictions = labels_only.least_squares(A, B, lam_S, G=G, minimise="predictions")
    T = training(Phi_S, lam_S)
    best = np.linalg.lstsq(X @ T, X @ W, rcond=None)[0]
    assert error(predictions.Y_S, best) < tolerance(1e4, nx.dtype)
    assert predictions.predictions == pytest.approx(error(X @ T @ best, X @ W), rel=1e-3)
    assert predictions.predictions < 0.9 * parameters.predictions
    assert parameters.parameters < 0.99 * predictions.parameters


def test_where_the_rows_span_w_the_labels_are_those_of_the_characterisation(rng):
    W, Phi_S = rng.normal(size=(7, 2)), rng.normal(size=(9, 7))
    for lam_S in (0.0, 0.5):
        fit = labels_only.least_squares(Phi_S, W, lam_S)
        assert error(fit.Y_S, distill.labels(Phi_S, W, lam_S)) < tolerance(100, "float64")
        assert fit.parameters < tolerance(100, "float64") and fit.predictions is None


def test_no_other_labels_come_closer(rng):
    Phi_S, W, X = rng.normal(size=(4, 9)), rng.normal(size=(9, 2)), rng.normal(size=(30, 9))
    for lam_S in (0.0, 0.5):
        for minimise, scale in (("parameters", np.eye(9)), ("predictions", X)):
            fit = labels_only.least_squares(Phi_S, W, lam_S, G=X.T @ X, minimise=minimise)
            best = getattr(fit, minimise)
            for step in np.logspace(-4, 1, 20):
                W_S, _ = refit(Phi_S, fit.Y_S + step * rng.normal(size=(4, 2)), lam_S)
                assert error(scale @ W_S, scale @ W) >= best * (1 - 1e-12)


@in_each_dtype
@settings(max_examples=120, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(0, 8), st.data())
def test_residuals_over_shapes_and_ranks(nx, m, p, k, rank, data):
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng, rank = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), min(rank, m, p)
    scale, lam = 10.0 ** data.draw(st.integers(-8, 8)), data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    Phi_S = conditioned(rng, m, p, 5, rank=rank, scale=scale) if rank else np.zeros((m, p))
    W, X = rng.normal(size=(p, k)), rng.normal(size=(int(rng.integers(1, 12)), p))
    arrays = [nx.asarray(A) for A in (Phi_S, W, X.T @ X)]
    Phi_S, W, _ = copies = [numpy64(A).copy() for A in arrays]  # as they were rounded
    minimise = data.draw(st.sampled_from(["parameters", "predictions"]))
    U, t, Vh = np.linalg.svd(Phi_S, full_matrices=False)
    U, t, V = U[:, :rank], t[:rank], Vh[:rank].T
    W_S, condition = V @ V.T @ W, 5.0
    if minimise == "predictions" and rank:  # of all that predict best, the nearest in parameters
        s = np.linalg.svd(X @ V, compute_uv=False)
        s = s[s > 1e-7 * s[0]]
        condition = 5 * (np.linalg.norm(X, 2) / s[-1]) ** 2  # G has the square of the condition number of X
        assume(condition < 0.01 / nx.eps)
        W_S = W_S + V @ np.linalg.pinv(X @ V, rcond=1e-7) @ X @ (W - W_S)
    options = {"minimise": minimise, "rtol": 1e-9 if nx.eps < 1e-9 else None}
    fit = labels_only.least_squares(*arrays[:2], lam * scale**2, G=arrays[2], **options)
    assert nx.is_mine(fit.Y_S) and isinstance(fit.parameters, float) and isinstance(fit.predictions, float)
    slack, size = tolerance(condition, nx.dtype), np.linalg.norm(W)
    assert fit.parameters == pytest.approx(error(W_S, W), abs=slack)
    predictions, seen = np.linalg.norm(X @ (W_S - W)), np.linalg.norm(X @ W)
    lost = np.sqrt(tolerance(1, nx.dtype)) * np.linalg.norm(X, 2) * size  # a root: sqrt(eps) where it is zero
    assert fit.predictions * seen == pytest.approx(predictions, abs=lost + slack * np.linalg.norm(X, 2) * size)
    Y_S = numpy64(fit.Y_S)
    if rank:
        trained = V @ ((U.T @ Y_S) / (t + lam * scale**2 / t)[:, None])
        assert np.linalg.norm(trained - W_S) < slack * size
    else:
        assert not Y_S.any()
    assert all(np.array_equal(A, numpy64(B)) for A, B in zip(copies, arrays, strict=True))


def test_data_that_hardly_vary_within_the_span_of_the_points_do_not_confuse_predictions(nx):
    """One sample, almost orthogonal to two points: what rounding in G adds there is no second direction of it."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        Q = np.linalg.qr(rng.normal(size=(7, 7)))[0].T
        Phi_S, W = numpy64(nx.asarray(Q[:2])), numpy64(nx.asarray(rng.normal(size=(7, 2))))
        X = 0.05 * Q[:1] + Q[2:3]
        arrays = [nx.asarray(A) for A in (Phi_S, W, X.T @ X)]
        fit = labels_only.least_squares(*arrays[:2], G=arrays[2], minimise="predictions")
        step = np.array([[20.0], [0.0]]) @ (X @ (W - Phi_S.T @ Phi_S @ W))  # the least: along what the sample sees
        assert error(fit.Y_S, Phi_S @ W + step) < tolerance(400, nx.dtype)


def test_gradients_flow_where_singular_values_are_distinct(rng):
    torch = pytest.importorskip("torch")
    A, W, X = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((3, 5), (5, 2), (9, 5)))
    for minimise in ("parameters", "predictions"):
        assert torch.autograd.gradcheck(
            lambda A, W, X, how=minimise: labels_only.least_squares(A, W, 0.3, G=X.mT @ X, minimise=how).Y_S, (A, W, X)
        )


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    Phi_S, W, G = (xp.asarray(A, device=device) for A in (np.eye(4)[:2] + 0.1, np.ones((4, 2)), np.eye(4)))
    for minimise in ("parameters", "predictions"):
        assert labels_only.least_squares(Phi_S, W, 0.1, G=G, minimise=minimise).Y_S.device == device


A, W_OK = np.eye(4)[:2], np.ones((4, 2))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: labels_only.least_squares(A[:, :3], W_OK), ValueError, r"Phi_S \(m, p\), W \(p, k\) do not fit.*\(2, 3\), \(4, 2\)"),
        (lambda: labels_only.least_squares(A, W_OK, minimise="accuracy"), ValueError, "got 'accuracy'"),
        (lambda: labels_only.least_squares(A, W_OK, minimise="predictions"), ValueError, "together with G"),
        (lambda: labels_only.least_squares(A, W_OK, G=np.eye(3)), ValueError, r"G \(p, p\) do not fit"),
        (
            lambda: labels_only.least_squares(A, W_OK, G=np.triu(np.ones((4, 4)))),
            ValueError,
            "G is not symmetric",
        ),
        (
            lambda: labels_only.least_squares(A, W_OK, G=-np.eye(4)),
            ValueError,
            "smallest eigenvalue is -1",
        ),
        (lambda: labels_only.least_squares(A, W_OK, -0.1), ValueError, "lam_S = -0.1 must be finite and not negative"),
        (lambda: labels_only.least_squares(A * np.nan, W_OK), ValueError, "Phi_S contains NaN or Inf"),
        (lambda: labels_only.least_squares(A[0], W_OK), ValueError, "Phi_S must have 2 dimensions"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_mnist_labels_alone_are_exact_only_when_the_images_span_w(mnist):
    """The first 1,000 images leave part of W out of reach; the 800 of highest leverage, of full rank 713, do not."""
    X, G, W = mnist.X, mnist.G, mnist.W
    last = 1.0
    for m in (100, 1000):
        fit = labels_only.least_squares(X[:m], W, G=G)
        W_S, _ = refit(X[:m], fit.Y_S, 0.0)
        assert fit.parameters == pytest.approx(error(W_S, W), rel=1e-6)
        better = labels_only.least_squares(X[:m], W, G=G, minimise="predictions")
        assert better.predictions <= fit.predictions and 0.05 < fit.parameters < last
        last = fit.parameters
    w, V = np.linalg.eigh(G)
    leverage = np.sum((X @ V[:, -713:]) ** 2 / w[-713:], axis=1)
    rows = X[np.argsort(-leverage)[:800]]
    assert w[-714] < 1e-15 * w[-1] and np.linalg.matrix_rank(rows, tol=1e-12 * np.linalg.norm(rows, 2)) == 713
    fit = labels_only.least_squares(rows, W)
    assert fit.parameters < 1e-12 and error(refit(rows, fit.Y_S, 0.0)[0], W) < 1e-10
