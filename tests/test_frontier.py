"""ddref.frontier: the excess against the objective itself, competitors, decisions counted, every lambda retrained."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Nx, conditioned, error, numpy64, refit
from ddref import distill, frontier, gauge
from ddref.measure import tolerance

# what the property tests run on; the other tests run on the fixture nx
EACH = [Nx("numpy", "cpu", "float64"), Nx("numpy", "cpu", "float32"), Nx("torch", "cpu", "float32")]
in_each_dtype = pytest.mark.parametrize("nx", EACH, ids=repr)


def objective(X, Y, W, lam):
    return float(np.sum((X @ W - Y) ** 2) + lam * np.sum(W**2))


def ridge(X, Y, lam):
    """The minimiser from a stacked least-squares problem."""
    p, k = X.shape[1], Y.shape[1]
    A = np.concatenate([X, np.sqrt(lam) * np.eye(p)])
    return np.linalg.lstsq(A, np.concatenate([Y, np.zeros((p, k))]), rcond=None)[0]


def rank_of(W):
    return np.linalg.matrix_rank(W, tol=1e-9 * np.linalg.norm(W, 2))


@pytest.mark.parametrize("lam", [0.0, 0.5, 40.0])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 7])
def test_the_excess_is_that_of_the_training_objective(nx, rng, m, lam):
    X, Y = conditioned(rng, 60, 12, 30, scale=10), rng.normal(size=(60, 5))
    W = ridge(X, Y, lam)
    best = frontier.truncate(nx.asarray(W), m, nx.asarray(X.T @ X), lam)
    assert nx.is_mine(best.W)
    assert nx.eps > 1e-9 or rank_of(numpy64(best.W)) <= m
    expected = objective(X, Y, numpy64(best.W), lam) - objective(X, Y, W, lam)
    slack = 1e-10 if nx.eps < 1e-9 else 1e-5
    assert best.excess == pytest.approx(expected, abs=slack * objective(X, Y, W, lam))
    assert (best.excess < slack * objective(X, Y, W, lam)) == (m >= 5)


def test_no_model_of_that_rank_has_a_smaller_objective(rng):
    X, Y, lam = conditioned(rng, 60, 12, 100, scale=10), rng.normal(size=(60, 5)), 0.5
    W, G = ridge(X, Y, lam), None
    G = X.T @ X
    U, s, Vh = np.linalg.svd(W, full_matrices=False)
    for m in (1, 2, 3, 4):
        best = frontier.truncate(W, m, G, lam)
        value = objective(X, Y, best.W, lam)
        assert objective(X, Y, (U[:, :m] * s[:m]) @ Vh[:m], lam) > value + 0.01 * best.excess  # truncated SVD of W
        for _ in range(50):  # random models of rank m, each with the best left factor for its right one
            V = np.linalg.qr(rng.normal(size=(5, m)))[0]
            assert objective(X, Y, ridge(X, Y @ V, lam) @ V.T, lam) > value
        for step in np.logspace(-6, 0, 20):  # neighbours of the minimiser
            left, right = best.W @ np.linalg.svd(best.W)[2][:m].T, np.linalg.svd(best.W)[2][:m]
            near = (left + step * rng.normal(size=left.shape)) @ (right + step * rng.normal(size=right.shape))
            assert objective(X, Y, near, lam) >= value * (1 - 1e-13)


def test_an_independent_optimiser_does_not_beat_it_and_comes_close(rng):
    optimize = pytest.importorskip("scipy.optimize")
    X, Y, lam, m = conditioned(rng, 40, 6, 10, scale=5), rng.normal(size=(40, 4)), 0.5, 2
    W = ridge(X, Y, lam)
    best = frontier.truncate(W, m, X.T @ X, lam)

    def loss(x):
        A, B = x[: 6 * m].reshape(6, m), x[6 * m :].reshape(m, 4)
        D = 2 * X.T @ (X @ A @ B - Y) + 2 * lam * A @ B
        return objective(X, Y, A @ B, lam), np.concatenate([(D @ B.T).ravel(), (A.T @ D).ravel()])

    values = [optimize.minimize(loss, rng.normal(size=10 * m), jac=True, options={"gtol": 1e-10}).fun for _ in range(4)]
    excess = min(values) - objective(X, Y, W, lam)
    assert best.excess * (1 - 1e-9) <= excess <= best.excess * 1.01


def test_without_the_data_it_is_the_truncated_svd(nx, rng):
    W = conditioned(rng, 9, 5, 10)
    U, s, Vh = np.linalg.svd(W, full_matrices=False)
    for m in (1, 3, 5):
        best = frontier.truncate(nx.asarray(W), m)
        assert error(best.W, (U[:, :m] * s[:m]) @ Vh[:m]) < tolerance(30, nx.dtype)
        assert best.excess == pytest.approx(np.sum(s[m:] ** 2), abs=tolerance(10, nx.dtype))


def test_for_another_model_than_the_minimiser_the_excess_is_not_that_of_the_objective(rng):
    """Dropping the hypothesis: the cross term does not vanish."""
    X, Y = rng.normal(size=(40, 6)), rng.normal(size=(40, 4))
    W = ridge(X, Y, 0.5)
    best = frontier.truncate(W, 2, X.T @ X, 30.0)  # W was not trained with 30
    difference = objective(X, Y, best.W, 30.0) - objective(X, Y, W, 30.0)
    assert abs(best.excess - difference) > 0.1 * best.excess


def test_a_truncated_model_is_distilled_into_m_points(rng):
    X, Y = rng.normal(size=(60, 12)), rng.normal(size=(60, 5))
    best = frontier.truncate(ridge(X, Y, 1.0), 3, X.T @ X, 1.0)
    Phi_S = gauge.orthonormal(best.W)
    assert len(Phi_S) == 3 == distill.minimal_points(best.W)
    assert error(refit(Phi_S, distill.labels(Phi_S, best.W), 0.0)[0], best.W) < tolerance(1, "float64")


@in_each_dtype
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 5), st.integers(1, 6), st.data())
def test_the_excess_over_shapes_ranks_and_scales(nx, n, p, k, m, data):
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scale, lam = 10.0 ** data.draw(st.integers(-6, 6)), data.draw(st.sampled_from([0.1, 1.0]))
    X, Y = rng.normal(size=(n, p)) * scale, rng.normal(size=(n, k))
    if data.draw(st.booleans()):
        X[:, 0] = scale
    if data.draw(st.booleans()):
        X[-1] = X[0]
    lam = lam * scale**2
    W, G = nx.asarray(ridge(X, Y, lam)), nx.asarray(X.T @ X)
    copies = numpy64(W).copy(), numpy64(G).copy()
    best = frontier.truncate(W, m, G, lam)
    assert nx.is_mine(best.W) and tuple(best.W.shape) == (p, k) and isinstance(best.excess, float)
    expected = objective(X, Y, numpy64(best.W), lam) - objective(X, Y, numpy64(W), lam)
    total = objective(X, Y, np.zeros((p, k)), lam)
    slack = tolerance(np.linalg.cond(X.T @ X + lam * np.eye(p)) ** 0.5, nx.dtype) * total  # as W was rounded
    assert best.excess == pytest.approx(expected, abs=slack)
    s = np.linalg.svd(numpy64(best.W), compute_uv=False)
    assert np.all(s[m:] <= tolerance(1, nx.dtype) * s[0])
    assert best.excess <= frontier.truncate(W, max(m - 1, 1), G, lam).excess + slack
    assert all(np.array_equal(A, numpy64(B)) for A, B in zip(copies, (W, G), strict=True))


# -- decisions


def test_the_centred_model_decides_alike_from_one_point_less(nx, rng):
    W = rng.normal(size=(20, 6))
    C = frontier.centre(nx.asarray(W))
    assert nx.is_mine(C) and distill.minimal_points(C) == 5
    Phi_S = gauge.orthonormal(C)
    assert tuple(Phi_S.shape) == (5, 20)
    W_S, _ = refit(Phi_S, distill.labels(Phi_S, C, 0.3), 0.3)
    inputs = rng.normal(size=(10_000, 20))
    decisions, scores = np.argmax(inputs @ W, axis=1), np.sort(inputs @ W, axis=1)
    clear = scores[:, -1] - scores[:, -2] > 1e3 * nx.eps * np.abs(scores).max()  # in float32 a few are ties
    assert clear.mean() > 0.99 and (clear.all() or nx.eps > 1e-9)
    assert np.array_equal(np.argmax(inputs @ W_S, axis=1)[clear], decisions[clear])


def test_two_points_less_cannot_decide_alike(rng):
    """k = 6: no model of rank 4 makes all the decisions, whatever the truncation."""
    W, inputs = rng.normal(size=(20, 6)), rng.normal(size=(10_000, 20))
    decisions = np.argmax(inputs @ W, axis=1)
    C = frontier.centre(W)
    for model in (frontier.truncate(C, 4).W, frontier.truncate(C, 4, inputs.T @ inputs).W, frontier.truncate(W, 4).W):
        assert np.mean(np.argmax(inputs @ model, axis=1) == decisions) < 0.99
    # and where the models differ is no accident of the sample: an input that the rank 4 model cannot see decides
    null = np.linalg.svd(frontier.truncate(C, 4).W.T)[2][4:].T
    x = null @ (null.T @ C)[:, :1]
    assert np.linalg.norm(frontier.truncate(C, 4).W.T @ x) < 1e-12 and np.ptp(W.T @ x) > 1e-3


@in_each_dtype
@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.integers(2, 6), st.integers(0, 2**32 - 1), st.integers(-8, 8), st.sampled_from([0, 1, 30]))
def test_centring_keeps_decisions_and_lowers_the_rank(nx, p, k, seed, scale, common):
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    W = nx.asarray((rng.normal(size=(p, k)) + common * rng.normal(size=(p, 1))) * 10.0**scale)
    C, x = frontier.centre(W), rng.normal(size=(50, p))
    assert nx.is_mine(C) and distill.minimal_points(C) <= min(p, k - 1)
    W, C = numpy64(W), numpy64(C)
    assert np.abs(C.sum(1)).max() <= tolerance(1, nx.dtype) * np.abs(C).max()
    scores = np.sort(x @ W, axis=1)
    clear = scores[:, -1] - scores[:, -2] > tolerance(1, nx.dtype) * np.abs(x).sum(1) * np.abs(W).max()
    assert np.array_equal(np.argmax(x @ C, axis=1)[clear], np.argmax(x @ W, axis=1)[clear])
    assert nx.eps > 1e-9 or clear.all()


# -- every lambda


@pytest.mark.parametrize("shape", [(40, 9), (9, 40), (9, 9)])
def test_one_set_trains_every_model(nx, rng, shape):
    X, Y = conditioned(rng, *shape, condition=10), rng.normal(size=(shape[0], 3))
    Phi_S, Y_S = frontier.every_lambda(nx.asarray(X), nx.asarray(Y))
    assert nx.is_mine(Phi_S) and nx.is_mine(Y_S) and tuple(Phi_S.shape) == (9, shape[1])
    assert error(refit(Phi_S, Y_S, 0.0)[0], np.linalg.pinv(X) @ Y) < tolerance(10, nx.dtype)
    for lam in (1e-6, 1e-3, 0.1, 1.0, 10.0, 1e3):
        assert error(refit(Phi_S, Y_S, lam)[0], ridge(X, Y, lam)) < tolerance(1e3 if nx.eps < 1e-9 else 30, nx.dtype)


def test_one_point_less_does_not(rng):
    X, Y = conditioned(rng, 40, 6, 10), rng.normal(size=(40, 3))
    Phi_S, Y_S = frontier.every_lambda(X, Y)
    errors = [error(refit(Phi_S[:-1], Y_S[:-1], lam)[0], ridge(X, Y, lam)) for lam in (1e-3, 1.0)]
    assert min(errors) > 1e-3
    W = ridge(X, Y, 1.0)  # nor does a set that is exact at one lam
    Q = gauge.orthonormal(W)
    assert error(refit(Q, distill.labels(Q, W, 1.0), 0.1)[0], ridge(X, Y, 0.1)) > 1e-2


@in_each_dtype
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 3), st.integers(1, 9), st.integers(-8, 8), st.data())
def test_every_lambda_over_shapes_ranks_and_scales(nx, n, p, k, rank, scale, data):
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng, rank = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), min(rank, n, p)
    X, Y = conditioned(rng, n, p, 10, rank=rank, scale=10.0**scale), rng.normal(size=(n, k))
    A, B = nx.asarray(X), nx.asarray(Y)
    X, Y = numpy64(A), numpy64(B)
    distilled = frontier.every_lambda(A, B, rtol=1e-10 if nx.eps < 1e-9 else None)
    assert nx.is_mine(distilled.Phi_S) and nx.is_mine(distilled.Y_S)
    Phi_S, Y_S = numpy64(distilled.Phi_S), numpy64(distilled.Y_S)
    assert Phi_S.shape == (rank, p) and Y_S.shape == (rank, k)
    size = np.linalg.norm(X, 2) * np.linalg.norm(Y)
    assert error(Phi_S.T @ Phi_S, X.T @ X) < tolerance(1, nx.dtype)
    assert np.linalg.norm(Phi_S.T @ Y_S - X.T @ Y) < tolerance(1, nx.dtype) * size
    lam = data.draw(st.sampled_from([1e-3, 0.1, 10.0])) * 10.0 ** (2 * scale)
    W, W_S = ridge(X, Y, lam), refit(Phi_S, Y_S, lam)[0]
    condition = (10.0 ** (2 * scale) + lam) / (10.0 ** (2 * scale - 2) + lam) * size / lam / np.linalg.norm(W)
    assert error(W_S, W) < tolerance(max(condition, 1), nx.dtype)  # ||Phi^T Y|| / lam, what rounding outside Phi sees


def test_gradients_flow_where_singular_values_are_distinct(rng):
    torch = pytest.importorskip("torch")
    X, W = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((6, 4), (4, 3)))
    assert torch.autograd.gradcheck(lambda X, W: frontier.truncate(W, 2, X.mT @ X, 0.3).W, (X, W))
    assert torch.autograd.gradcheck(frontier.centre, (W,))
    assert torch.autograd.gradcheck(
        lambda X, W: (lambda s: s.Phi_S.mT @ s.Y_S)(frontier.every_lambda(X, X @ W)), (X, W)
    )


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    W, X = (xp.asarray(np.arange(18.0).reshape(6, 3) ** 2 % 7, device=device) for _ in range(2))
    assert frontier.truncate(W, 2).W.device == device and frontier.centre(W).device == device
    assert frontier.truncate(W, 2, W @ W.mT, 0.5).W.device == device
    assert frontier.every_lambda(X, W).Y_S.device == device


W_OK, G_OK = np.eye(4)[:, :2], np.eye(4)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: frontier.truncate(W_OK, 0), ValueError, "m = 0 must be at least 1"),
        (lambda: frontier.truncate(W_OK, 1.5), TypeError, "m must be an integer, got 1.5"),
        (lambda: frontier.truncate(W_OK, 1, lam=0.5), ValueError, "lam = 0.5 has a meaning only with G"),
        (lambda: frontier.truncate(W_OK, 1, G_OK[:3, :3]), ValueError, r"W \(p, k\), G \(p, p\) do not fit"),
        (lambda: frontier.truncate(W_OK, 1, np.triu(np.ones((4, 4)))), ValueError, "G is not symmetric"),
        (lambda: frontier.truncate(W_OK, 1, -G_OK), ValueError, "its smallest eigenvalue is -1"),
        (lambda: frontier.truncate(W_OK, 1, G_OK, -1), ValueError, "lam = -1.0 must be finite and not negative"),
        (lambda: frontier.truncate(W_OK * np.nan, 1), ValueError, "W contains NaN or Inf"),
        (lambda: frontier.centre(W_OK[:, :1]), ValueError, "W has 1 column, so no decision"),
        (lambda: frontier.centre(W_OK[0]), ValueError, "W must have 2 dimensions"),
        (lambda: frontier.every_lambda(G_OK, W_OK[:3]), ValueError, r"Phi \(n, p\), Y \(n, k\) do not fit"),
        (lambda: frontier.every_lambda(0 * G_OK, W_OK), ValueError, "Phi is zero"),
        (lambda: frontier.every_lambda(G_OK.astype(int), W_OK), TypeError, "Phi has dtype int64"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# -- real images


def images(raw):
    from ddref import datasets

    scaled = datasets.standardize(raw.X_train, raw.X_test)
    X, X_test = scaled.X_train, scaled.X_test
    G = X.T @ X
    Y = np.eye(10)[raw.y_train]
    return X, Y, X_test, G, np.linalg.solve(G + 1e3 * np.eye(G.shape[0]), X.T @ Y)


def check_decisions(X_test, W, G, rng):
    """Nine points decide like ten classes on every test image and on random inputs; eight do not."""
    C = frontier.centre(W)
    Phi_S = gauge.orthonormal(C)
    assert len(Phi_S) == 9
    W_S, _ = refit(Phi_S, distill.labels(Phi_S, C), 0.0)
    for inputs in (X_test, rng.normal(size=(10_000, W.shape[0]))):
        decisions = np.argmax(inputs @ W, axis=1)
        assert np.array_equal(np.argmax(inputs @ W_S, axis=1), decisions)
        for model in (frontier.truncate(C, 8).W, frontier.truncate(C, 8, G, 1e3).W):
            assert np.mean(np.argmax(inputs @ model, axis=1) == decisions) < 0.999


def check_frontier(X, Y, W, G, rng):
    """The excess of every m against the objective, and against the truncated SVD of W and random right factors."""
    full = objective(X, Y, W, 1e3)
    U, s, Vh = np.linalg.svd(W, full_matrices=False)
    for m in (1, 3, 6, 9):
        best = frontier.truncate(W, m, G, 1e3)
        value = objective(X, Y, best.W, 1e3)
        assert best.excess == pytest.approx(value - full, abs=1e-10 * full)
        assert objective(X, Y, (U[:, :m] * s[:m]) @ Vh[:m], 1e3) > value
        V = np.linalg.qr(rng.normal(size=(10, m)))[0]
        assert objective(X, Y, W @ V @ V.T, 1e3) > value


def test_sample_images(rng):
    from ddref import datasets

    X, Y, X_test, G, W = images(datasets.fashion_sample())
    check_decisions(X_test, W, G, rng)
    check_frontier(X, Y, W, G, rng)


def test_mnist_accuracy_of_fewer_points(mnist, rng):
    X_test, G, W = mnist.X_test, mnist.G, mnist.W
    check_decisions(X_test, W, G, rng)
    check_frontier(mnist.X, mnist.Y, W, G, rng)
    C = frontier.centre(W)
    found = []
    for m in range(1, 10):
        scores = X_test @ frontier.truncate(C, m, G, 1e3).W
        found.append(np.mean(np.argmax(scores, axis=1) == mnist.y_test))
    assert found == pytest.approx([0.211, 0.314, 0.456, 0.590, 0.686, 0.699, 0.757, 0.855, 0.862], abs=6e-4)
