"""ddref.kernel_points: projections, Cholesky gains and greedy orders against searches that try everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lapack
from sklearn.kernel_ridge import KernelRidge

from conftest import conditioned, error, numpy64
from ddref import kernel_points, labels_only
from ddref.measure import tolerance


def problem(rng, n, k=2, rank=None, condition=30.0, scale=1.0):
    """A kernel matrix of chosen rank and conditioning with its features, coefficients, values and squared norm."""
    Phi = conditioned(rng, n, n, condition**0.5, rank=rank, scale=scale)
    alpha = rng.normal(size=(n, k))
    K = Phi @ Phi.T
    K = (K + K.T) / 2
    return Phi, K, alpha, K @ alpha, float(np.linalg.norm(Phi.T @ alpha) ** 2)


def naive_errors(Phi, alpha, order):
    """In features: how much of W = Phi^T alpha the first j rows do not span."""
    W, found = Phi.T @ alpha, []
    for j in range(len(order) + 1):
        span = Phi[order[:j]].T
        found.append(np.linalg.norm(W - (span @ np.linalg.lstsq(span, W, rcond=1e-9)[0] if j else 0)))
    return np.array(found) / np.linalg.norm(W)


# -- labels


@pytest.mark.parametrize("lam_S", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("m", [1, 4, 9])
def test_labels_train_the_projection_whatever_lam_is(nx, rng, m, lam_S):
    Phi, K, alpha, F, size = problem(rng, 9)
    K_SS, F_S = K[:m, :m], F[:m]
    fit = kernel_points.labels(nx.asarray(K_SS), nx.asarray(F_S), lam_S, squared_norm=size)
    assert nx.is_mine(fit.Y_S) and nx.is_mine(fit.beta)
    bare = kernel_points.labels(nx.asarray(K_SS), nx.asarray(F_S), lam_S)
    assert bare.error is None and error(bare.Y_S, fit.Y_S) == error(bare.beta, fit.beta) == 0
    slack = tolerance(np.linalg.cond(K_SS), nx.dtype)
    assert error(fit.beta, np.linalg.solve(K_SS, F_S)) < slack
    trained = KernelRidge(alpha=lam_S, kernel="precomputed").fit(K_SS, numpy64(fit.Y_S)).dual_coef_
    assert error(trained, numpy64(fit.beta)) < slack
    assert fit.error == pytest.approx(naive_errors(Phi, alpha, np.arange(m))[-1], abs=50 * nx.eps**0.5)


def test_with_explicit_features_labels_are_those_of_labels_only(rng):
    Phi, K, alpha, F, size = problem(rng, 9)
    for lam_S in (0.0, 0.7):
        ours = kernel_points.labels(K[:5, :5], F[:5], lam_S, squared_norm=size)
        theirs = labels_only.least_squares(Phi[:5], Phi.T @ alpha, lam_S)
        assert error(ours.Y_S, theirs.Y_S) < 1e-11 and ours.error == pytest.approx(theirs.parameters, rel=1e-9)


def test_no_other_coefficients_come_closer(rng):
    Phi, K, alpha, F, size = problem(rng, 8)
    fit = kernel_points.labels(K[:4, :4], F[:4], squared_norm=size)
    for step in np.logspace(-4, 1, 30):
        other = Phi[:4].T @ (fit.beta + step * rng.normal(size=(4, 2)))
        assert np.linalg.norm(Phi.T @ alpha - other) >= fit.error * size**0.5 * (1 - 1e-12)


def test_repeated_points_share_their_coefficient(rng):
    X = rng.normal(size=(3, 2))
    rows = np.vstack([X, X[:1]])
    K, K_SS = (np.exp(-((A[:, None] - A) ** 2).sum(2)) for A in (rows, X))
    F = rng.normal(size=(3, 2))
    four, three = kernel_points.labels(K, np.vstack([F, F[:1]])).beta, kernel_points.labels(K_SS, F).beta
    assert error(four[:3] + np.vstack([four[3:], np.zeros((2, 2))]), three) < 1e-12
    assert error(four[0], four[3]) < 1e-12


# -- equal points


def test_equal_points_are_merged_into_one_with_the_sum_of_their_coefficients(nx, rng):
    X = rng.integers(0, 2, size=(12, 2)).astype(float)  # four different points at most
    X[0, 0] = -0.0
    alpha = rng.normal(size=(12, 3))
    merged = kernel_points.merge_equal(nx.asarray(X), nx.asarray(alpha))
    assert all(map(nx.is_mine, merged))
    seen = list(dict.fromkeys(map(tuple, X.tolist())))  # in order; -0.0 equals 0.0
    assert [tuple(row) for row in numpy64(merged.X).tolist()] == seen
    for i, row in enumerate(seen):
        here = (X == row).all(axis=1)
        assert int(merged.counts[i]) == here.sum()
        assert error(numpy64(merged.alpha)[i], alpha[here].sum(axis=0)) < tolerance(10, nx.dtype)


def test_a_merged_model_is_that_of_mean_labels_and_lam_over_the_count(rng):
    X, lam = rng.integers(0, 3, size=(20, 1)).astype(float), 0.3
    Y = rng.normal(size=(20, 2))
    K_all = np.exp(-((X - X.T) ** 2))
    alpha = np.linalg.solve(K_all + lam * np.eye(20), Y)
    points, alpha, counts = kernel_points.merge_equal(X, alpha)
    K = np.exp(-((points - points.T) ** 2))
    means = np.stack([Y[X[:, 0] == x].mean(axis=0) for x in points[:, 0]])
    assert error(alpha, np.linalg.solve(K + lam * np.diag(1 / counts), means)) < 1e-12
    assert error(alpha, np.linalg.solve(K + lam * np.eye(len(K)), means)) > 1e-2  # with lam itself


# -- errors


@pytest.mark.parametrize("m", [1, 5, 9])
def test_one_cholesky_factor_gives_the_error_of_every_number_of_points(nx, rng, m):
    Phi, K, alpha, F, size = problem(rng, 9)
    order = rng.permutation(9)[:m]
    found = kernel_points.errors(nx.asarray(K[np.ix_(order, order)]), nx.asarray(F[order]), size)
    assert nx.is_mine(found) and tuple(found.shape) == (m + 1,)
    assert np.abs(numpy64(found) - naive_errors(Phi, alpha, order)).max() < 50 * nx.eps**0.5
    assert np.all(np.diff(numpy64(found)) <= 0) and numpy64(found)[0] == 1
    fits = [kernel_points.labels(K[np.ix_(i, i)], F[i], squared_norm=size).error for i in (order, order[:1])]
    assert fits == pytest.approx(numpy64(found)[[m, 1]].tolist(), abs=50 * nx.eps**0.5)


def test_the_zero_function_has_no_error():
    zero = np.zeros((2, 1))
    assert kernel_points.errors(np.eye(2), zero, 0.0).tolist() == [0, 0, 0]
    assert kernel_points.labels(np.eye(2), zero, squared_norm=0.0).error == 0


# -- greedy


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 9), st.booleans(), st.integers(-8, 8), st.data())
def test_greedy_takes_the_best_next_point_over_shapes_ranks_and_scales(n, k, rank, knows, exponent, data):
    rng, rank = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), min(rank, n)
    Phi, K, alpha, F, _ = problem(rng, n, k, rank=rank, scale=10.0**exponent)
    copies = K.copy(), F.copy()
    order = kernel_points.greedy(K, F if knows else None, rtol=1e-10)
    assert len(order) == len(set(order.tolist())) == rank == np.linalg.matrix_rank(Phi, rtol=1e-9)
    for j in range(rank):
        span = np.linalg.qr(Phi[order[:j]].T)[0] if j else np.zeros((n, 1))
        rest = Phi - Phi @ span @ span.T
        if not knows:
            scores = np.linalg.norm(rest, axis=1)
        else:
            W, length = Phi.T @ alpha, np.linalg.norm(rest, axis=1)
            safe = np.where(length > 1e-6 * length.max(), length, np.inf)
            scores = np.linalg.norm(rest @ (W - span @ span.T @ W), axis=1) / safe
        assert scores[order[j]] >= scores.max() * (1 - 1e-6) - 1e-9 * np.abs(Phi).max()
    assert all(np.array_equal(A, B) for A, B in zip(copies, (K, F), strict=True))


@pytest.mark.parametrize("knows", [False, True])
def test_fewer_points_are_the_first_of_more_and_every_library_agrees(nx, rng, knows):
    _, K, _, F, _ = problem(rng, 12, condition=5.0)
    args = (nx.asarray(K), nx.asarray(F) if knows else None)
    full = kernel_points.greedy(*args)
    want = kernel_points.greedy(K, F if knows else None)
    assert "int64" in str(full.dtype) and full.tolist() == want.tolist() and sorted(want.tolist()) == list(range(12))
    assert kernel_points.greedy(*args, m=5).tolist() == want.tolist()[:5]
    assert error(nx.asarray(K)[full[:3]], K[want[:3]]) < 10 * nx.eps


def test_independent_points_carry_every_model_of_a_kernel_with_few_features(rng):
    """Also where the gain leads to a point almost explained already, and rounding grows by the inverse of its pivot."""
    for n, condition in [(20, 1e2), (20, 1e4), (60, 1e6)] * 10:
        _, K, _, F, size = problem(rng, n, rank=4, condition=condition)
        for values in (None, F):
            order = kernel_points.greedy(K, values)
            assert len(order) == 4
            fit = kernel_points.labels(K[np.ix_(order, order)], F[order], squared_norm=size)
            assert error(K[:, order] @ fit.beta, F) < tolerance(condition * 100, "float64") and fit.error < 1e-6


@pytest.mark.parametrize("knows", [False, True])
def test_every_independent_point_is_taken_however_little_is_left_of_the_last(rng, knows):
    """As by LAPACK's pivoted Cholesky: small pivots before do not make the rounding of those after them larger."""
    for n, rank, condition in [(300, 80, 1e5), (300, 80, 3e5), (500, 200, 6e4)]:
        Phi = conditioned(rng, n, rank, condition)
        K = Phi @ Phi.T
        order = kernel_points.greedy(K, K @ rng.normal(size=(n, 2)) if knows else None)
        assert len(order) == lapack.dpstrf(K)[2] == rank
        assert np.linalg.matrix_rank(Phi[order]) == rank


def test_the_best_next_point_is_better_than_the_least_explained_one(rng):
    """On average over models: it knows what is to be approximated."""
    ratios = []
    for _ in range(30):
        _, K, _, F, size = problem(rng, 15, k=1)
        at = [kernel_points.greedy(K, values, m=4) for values in (F, None)]
        ratios.append(np.divide(*(kernel_points.labels(K[np.ix_(i, i)], F[i], squared_norm=size).error for i in at)))
    assert np.mean(np.log(ratios)) < -0.05


# -- the library, the device, the input


def test_gradients_flow_through_labels_and_errors(rng):
    torch = pytest.importorskip("torch")
    _, K, _, F, size = problem(rng, 5)
    K, F = torch.tensor(K[:3, :3], requires_grad=True), torch.tensor(F[:3], requires_grad=True)
    for call in (lambda A, F: kernel_points.labels(A, F, 0.4).Y_S, lambda A, F: kernel_points.errors(A, F, 2 * size)):
        assert torch.autograd.gradcheck(lambda A, F, call=call: call((A + A.mT) / 2, F), (K, F))


def test_arrays_stay_on_their_device(rng):
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    _, K, _, F, size = problem(rng, 5)
    K, F = xp.asarray(K, device=device), xp.asarray(F, device=device)
    assert kernel_points.labels(K, F, 0.3, squared_norm=size).Y_S.device == device
    assert kernel_points.errors(K, F, size).device == device
    assert kernel_points.greedy(K, F, m=3).device == device and kernel_points.greedy(K).device == device


K_OK, F_OK = np.eye(3) + 0.1, np.ones((3, 1))
SINGULAR = np.ones((2, 2))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: kernel_points.labels(K_OK[:2], F_OK), ValueError, r"K_SS must be square, its shape is \(2, 3\)"),
        (lambda: kernel_points.labels(K_OK, F_OK[:2]), ValueError, r"K_SS \(m, m\), F_S \(m, k\) do not fit.*\(2, 1\)"),
        (lambda: kernel_points.labels(np.triu(K_OK), F_OK), ValueError, "K_SS is not symmetric: .* by 0.1"),
        (lambda: kernel_points.labels(-K_OK, F_OK), ValueError, "not positive semi-definite: its smallest .* -1.3"),
        (lambda: kernel_points.labels(K_OK, F_OK, -1), ValueError, "lam_S = -1.0 must be finite and not negative"),
        (lambda: kernel_points.labels(K_OK, F_OK, squared_norm=0.5), ValueError, r"explain 2\.30\d+, more .* = 0\.5"),
        (lambda: kernel_points.labels(K_OK, F_OK, squared_norm=-1), ValueError, "squared_norm = -1.0 must be finite"),
        (lambda: kernel_points.labels(K_OK * np.nan, F_OK), ValueError, "K_SS contains NaN or Inf"),
        (lambda: kernel_points.labels(K_OK, F_OK[:, 0]), ValueError, "F_S must have 2 dimensions"),
        (lambda: kernel_points.labels(K_OK.astype(int), F_OK), TypeError, "K_SS has dtype int64"),
        (lambda: kernel_points.errors(SINGULAR, F_OK[:2], 1.0), ValueError, "2 points is not positive definite"),
        (lambda: kernel_points.errors(K_OK, F_OK, 1.0), ValueError, "more than squared_norm = 1: pass trace"),
        (lambda: kernel_points.errors(K_OK, F_OK, None), TypeError, "squared_norm must be a number, got NoneType"),
        (lambda: kernel_points.greedy(K_OK, F_OK[:2]), ValueError, r"K \(m, m\), F \(m, k\) do not fit"),
        (lambda: kernel_points.greedy(K_OK, m=0), ValueError, "m = 0 must be at least 1"),
        (lambda: kernel_points.greedy(K_OK, m=1.5), TypeError, "m must be an integer, got 1.5"),
        (lambda: kernel_points.greedy(K_OK, m=4), ValueError, "m = 4 points .* only 3 of the 3 are independent"),
        (lambda: kernel_points.greedy(SINGULAR, m=2), ValueError, "only 1 of the 2 are independent; pass m=1"),
        (lambda: kernel_points.greedy(-K_OK), ValueError, "K is not positive semi-definite"),
        (lambda: kernel_points.greedy(np.array([[1.0, 2], [2, 1]])), ValueError, "an entry of size 2 exceeds all"),
        (
            lambda: kernel_points.greedy(np.array([[1.0, 0.9, 0.9], [0.9, 1, 0], [0.9, 0, 1]])),
            ValueError,
            "not positive semi-definite: -3.26 is left on its diagonal after 2 points",
        ),
        (lambda: kernel_points.greedy(K_OK, rtol=-1.0), ValueError, "rtol = -1.0 must be finite"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
