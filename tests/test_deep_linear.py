"""ddref.deep_linear: every set is refitted from its inputs by an oracle; nothing nearer exists; refusals by name."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from conftest import EPS, conditioned, error, numpy64, refit, words
from ddref import deep_linear
from ddref.measure import tolerance

D, P, K = 8, 13, 3


def network(rng, d, p, depth=1, biases=True, scale=0.3):
    """Layers of a Gaussian linear network with widths d, p, ..., p, multiplied out."""
    widths = [d, *[p] * depth]
    layers = [rng.normal(size=pair) / np.sqrt(pair[0]) for pair in zip(widths, widths[1:], strict=False)]
    return deep_linear.product([(A, scale * rng.normal(size=(1, p))) if biases else A for A in layers])


def trained(rng, T, b, k, lam=0.1, n=200):
    """A model that ridge regression on the network trains, as an outsider would: it lies in the network's row space."""
    U, t, Vh = np.linalg.svd(features(rng.normal(size=(n, len(T))), T, b), full_matrices=False)
    r = int(np.sum(t > 1e-10 * t[0]))
    return Vh[:r].T @ (U.T[:r] @ rng.normal(size=(n, k)) * (t / (t**2 + lam))[:r, None])


def features(X, T, b):
    return X @ T if b is None else X @ T + b


def assert_exact(found, W, T, b, lam_S=0.0):
    """Refitted from the inputs as returned; what rounding in X_S T does to the features counts, too."""
    W, T, b, dtype = numpy64(W), numpy64(T), None if b is None else numpy64(b), str(W.dtype).removeprefix("torch.")
    X_S = numpy64(found.X_S)
    W_S, condition = refit(features(X_S, T, b).astype(dtype), found.Y_S, lam_S)
    t = np.linalg.svd(features(X_S, T, b), compute_uv=False)
    t_min = np.min(t[t > max(X_S.shape[0], T.shape[1]) * np.finfo(dtype).eps * t[0]])
    reach = np.linalg.norm(X_S, 2) * np.linalg.norm(T, 2) / t_min
    slack = max(condition, found.condition, reach)
    assert error(W_S, W) < tolerance(slack, dtype), (condition, reach, error(W_S, W))
    return error(W_S, W)


def parts(W, T, b):
    """What the theorem needs, by full SVDs: the constant direction u, beta, a basis of the columns of W, its row c."""
    V = np.linalg.svd(T, full_matrices=False)[2]
    rest = b - b @ V.T @ V
    beta = np.linalg.norm(rest)
    U, s, _ = np.linalg.svd(W, full_matrices=False)
    Q = U[:, s > 1e-10 * s[0]]
    return rest / beta, beta, Q, rest / beta @ Q


def without_constant(W, T, b):
    """W with no component along the constant direction."""
    u = parts(W, T, b)[0]
    return W - u.T @ (u @ W)


# -- labels free


@pytest.mark.parametrize("lam_S", [0.0, 0.7])
@pytest.mark.parametrize("biases", [False, True], ids=["no biases", "biases"])
@pytest.mark.parametrize("m", [K, K + 1, D, D + 1, D + 5])
def test_points_are_exact_for_every_number_of_them(nx, rng, m, biases, lam_S):
    T, b = network(rng, D, P, 2, biases)
    W = nx.asarray(trained(rng, T, b, K))
    T, b = nx.asarray(T), None if b is None else nx.asarray(b)
    found = deep_linear.points(W, T, b, m=m, lam_S=lam_S)
    assert nx.is_mine(found.X_S) and nx.is_mine(found.Y_S) and found.lam_S == lam_S
    assert tuple(found.X_S.shape) == (m, D) and tuple(found.Y_S.shape) == (m, K)
    assert_exact(found, W, T, b, lam_S)
    if lam_S == 0:
        predictions = features(numpy64(found.X_S), numpy64(T), 0 if b is None else numpy64(b)) @ numpy64(W)
        assert error(found.Y_S, predictions) < tolerance(100, nx.dtype)
    if m <= (D + 1 if biases else D):
        assert found.condition < 1 + 1e4 * nx.eps


@pytest.mark.parametrize("p", [65, 128, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_networks_with_64_inputs_are_exact_to_1e_9(rng, p, depth):
    for k in (1, 2, 10):
        for biases in (False, True):
            T, b = network(rng, 64, p, depth, biases)
            W = trained(rng, T, b, k)
            given = np.eye(k + 1)[:, :k]
            for how in ({"m": k}, {"m": k + 1}, {"Y_S": given}, {"near": rng.normal(size=(k + 1, 64))}):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # k = 1 may reach far
                    X_S, Y_S, *_ = deep_linear.points(W, T, b, **how)
                assert error(refit(features(X_S, T, b), Y_S, 0.0)[0], W) <= 1e-9
                assert "Y_S" not in how or np.array_equal(Y_S, given)


def test_rank_many_points_need_a_constant_component_and_one_more_does_not(rng):
    """The flat that the points must contain: through beta a / c where c is not zero, nowhere where it is."""
    T, b = network(rng, D, P)
    W = trained(rng, T, b, K)
    assert len(deep_linear.points(W, T, b).X_S) == K
    W_0 = without_constant(W, T, b)
    with pytest.raises(ValueError, match=rf"m = {K} points are not enough .* c, is .*counts as zero .*use {K + 1}"):
        deep_linear.points(W_0, T, b, m=K)
    found = deep_linear.points(W_0, T, b)
    assert len(found.X_S) == K + 1
    assert_exact(found, W_0, T, b)


@pytest.mark.slow
def test_no_inputs_within_reach_give_the_refused_number_of_points(rng):
    """An optimiser over inputs in a box does not find what is refused, and finds what is not."""
    T, b = network(rng, 3, 5)
    W = trained(rng, T, b, 2)
    for M, possible in ((W, True), (without_constant(W, T, b), False)):

        def loss(z, M=M):  # the part of M outside the row space of the features of two points
            Phi = features(z.reshape(2, 3), T, b)
            return error(np.linalg.pinv(Phi) @ (Phi @ M), M) ** 2

        starts = rng.normal(size=(5, 6))
        options = {"ftol": 1e-15, "gtol": 1e-10}
        box = [(-20, 20)] * 6
        best = min(minimize(loss, z, bounds=box, method="L-BFGS-B", options=options).fun for z in starts)
        assert (best < 1e-10) if possible else (best > 1e-6)


def test_a_small_constant_component_is_exact_far_out_and_says_so(rng):
    T, b = network(rng, D, P)
    W = trained(rng, T, b, K)
    u, _, Q, c = parts(W, T, b)
    W = W - (1 - 1e-5) * u.T @ (u @ W)
    with pytest.warns(UserWarning, match=rf"c, .* is only [\d.e-]+ of W: with m = {K} .* norm of .* pass m={K + 1}"):
        found = deep_linear.points(W, T, b, m=K)
    assert_exact(found, W, T, b)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_more = deep_linear.points(W, T, b, m=K + 1)
    assert_exact(one_more, W, T, b)
    assert np.linalg.norm(found.X_S) > 1e3 * np.linalg.norm(one_more.X_S)


@pytest.mark.parametrize("m", [K, K + 2])
def test_biases_that_are_features_of_an_input_need_no_extra_point(nx, rng, m):
    T = rng.normal(size=(D, P))
    x_b = rng.normal(size=(1, D))
    W = nx.asarray(T.T @ rng.normal(size=(D, K)))
    T, b = nx.asarray(T), nx.asarray(x_b @ T)
    assert_exact(deep_linear.points(W, T, b, m=m), W, T, b)
    assert_exact(deep_linear.points(W, T, b, Y_S=nx.asarray(np.eye(m)[:, :K])), W, T, b)
    shifted = deep_linear.points(W, T, b, near=nx.asarray(np.eye(D)[:m] - x_b))
    plain = deep_linear.points(W, T, near=nx.asarray(np.eye(D)[:m]))
    assert error(numpy64(shifted.X_S) + x_b, plain.X_S) < tolerance(1e3, nx.dtype)


def test_a_model_outside_the_row_space_is_refused_with_the_missing_fraction(rng):
    T, b = network(rng, D, P)
    W = trained(rng, T, b, K)
    u = parts(W, T, b)[0]
    fraction = np.linalg.norm(u @ W) / np.linalg.norm(W)
    with pytest.raises(
        ValueError, match=rf"a fraction {fraction:.3g} of W lies outside the row space of T \(rank 8 of"
    ):
        deep_linear.points(W, T)
    with pytest.raises(ValueError, match=r"outside the row space of T and b \(rank 9 of 13 .* no inputs, however many"):
        deep_linear.points(rng.normal(size=(P, K)), T, b, m=50)


def test_ridge_regression_on_the_network_never_leaves_the_row_space(rng):
    for lam in (1e-8, 1.0, 1e4):
        T, b = network(rng, D, P, 3)
        W = trained(rng, T, b, K, lam)
        assert_exact(deep_linear.points(W, T, b), W, T, b)


@pytest.mark.parametrize("m", [2, 3, D, D + 4])
def test_a_bottleneck_leaves_what_it_ignores_as_it_was(rng, m):
    T = rng.normal(size=(D, 4)) @ rng.normal(size=(4, P))  # rank 4
    W, near = T.T @ rng.normal(size=(D, 2)), rng.normal(size=(m, D))
    found = deep_linear.points(W, T, near=near)
    assert_exact(found, W, T, None)
    ignored = np.linalg.svd(T)[0][:, 4:]
    assert error(found.X_S @ ignored, near @ ignored) < 1e-12


# -- near real inputs


def closest_by_search(near, W, T, b, start, rng, tries=4):
    """Squared distance of the nearest exact inputs, searched over the weights with which the points combine into W.

    For fixed weights N (m, r) the inputs solve linear equations X_S^T N = M; the constant fixes 1^T N.
    """
    m, d = near.shape
    M, c = np.linalg.lstsq(np.concatenate([T] if b is None else [T, b]).T, np.linalg.svd(W)[0][:, :K], rcond=None)[0], 0
    M, c = (M, None) if b is None else (M[:d], M[d:])

    def value(z):
        N = z.reshape(m, K)
        N = N if c is None else N + (c - N.sum(0)) / m
        return np.linalg.norm((M - near.T @ N) @ np.linalg.pinv(N)) ** 2

    N = np.linalg.lstsq(features(start, T, b).T, np.linalg.svd(W)[0][:, :K], rcond=None)[0]
    starts = [N + 0.3 * rng.normal(size=(m, K)) for _ in range(tries)]
    return value(N.ravel()), min(minimize(value, z.ravel(), method="BFGS").fun for z in starts)


QUICK = [("no biases", K), ("biases", K), ("no component along the biases", K + 1)]  # with K it is refused, see above
MORE = [("no biases", K + 1), ("biases", K + 1), *((case, K + 3) for case, _ in QUICK)]


@pytest.mark.parametrize("case, m", [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)])
def test_no_exact_inputs_are_nearer(rng, m, case):
    T, b = network(rng, 5, 9, 1, case != "no biases")
    W = trained(rng, T, b, K)
    if case == "no component along the biases":
        W = without_constant(W, T, b)
    near = rng.normal(size=(m, 5))
    found = deep_linear.points(W, T, b, near=near)
    assert_exact(found, W, T, b)
    distance = np.linalg.norm(found.X_S - near) ** 2
    ours, searched = closest_by_search(near, W, T, b, found.X_S, rng)
    assert abs(ours - distance) < 1e-6 * (1 + distance)
    assert searched > distance * (1 - 1e-6) - 1e-9


@pytest.mark.parametrize("m", [K + 1, K + 3, D + 2])
def test_without_a_component_along_the_biases_the_mean_stays_and_differences_are_truncated(rng, m):
    T, b = network(rng, D, P)
    W, near = without_constant(trained(rng, T, b, K), T, b), rng.normal(size=(m, D))
    R, mean = np.linalg.qr(np.linalg.pinv(T).T @ W)[0], near.mean(0)
    U, s, Vh = np.linalg.svd((near - mean) @ (np.eye(D) - R @ R.T), full_matrices=False)
    s[m - 1 - K :] = 0
    closed = mean + (near - mean) @ R @ R.T + (U * s) @ Vh
    assert error(deep_linear.points(W, T, b, near=near).X_S, closed) < tolerance(100, "float64")


@pytest.mark.parametrize("m", [K, K + 2, D, D + 1, D + 7])
@pytest.mark.parametrize("biases", [False, True], ids=["no biases", "biases"])
def test_nearest_inputs_are_exact_for_every_lam(nx, rng, m, biases):
    T, b = network(rng, D, P, 2, biases)
    W = nx.asarray(trained(rng, T, b, K))
    T, b, near = nx.asarray(T), None if b is None else nx.asarray(b), nx.asarray(rng.normal(size=(m, D)))
    for lam_S in (0.0, 0.5, 40.0):
        found = deep_linear.points(W, T, b, near=near, lam_S=lam_S)
        assert nx.is_mine(found.X_S)
        assert_exact(found, W, T, b, lam_S)
    if m >= D + 1:
        assert np.array_equal(numpy64(found.X_S), numpy64(near))  # they carry every W of the map


@pytest.mark.parametrize("m", [K, K + 1, D + 4])
@pytest.mark.parametrize("case", ["no biases", "biases", "no component along the biases"])
@pytest.mark.parametrize("defect", ["equal rows", "repeated rows", "zero columns"])
def test_a_start_that_cannot_carry_w_is_repaired(rng, m, case, defect):
    T, b = network(rng, D, P, 1, case != "no biases")
    W, near = trained(rng, T, b, K), rng.normal(size=(m, D))
    if case == "no component along the biases":
        W = without_constant(W, T, b)
        if m == K:
            return
    if defect == "zero columns":
        near[:, 2:] = 0
    else:
        near = near[np.zeros(m, int)] if defect == "equal rows" else near[np.arange(m) // 2]
    found = deep_linear.points(W, T, b, near=near)
    assert_exact(found, W, T, b)
    assert found.condition <= 1e6 * (1 + 1e-9)
    loose = deep_linear.points(W, T, b, near=near, max_condition=1e9)
    assert np.linalg.norm(loose.X_S - near) <= np.linalg.norm(found.X_S - near) * (1 + 1e-6)


# -- labels given


@pytest.mark.parametrize("m", [K, 2 * K, D])
def test_without_biases_given_labels_need_no_extra_point(nx, rng, m):
    T, _ = network(rng, D, P, 2, False)
    W, Y_S = nx.asarray(trained(rng, T, None, K)), nx.asarray(np.eye(K)[np.arange(m) % K])
    T = nx.asarray(T)
    for fraction in (0.0, 0.5, 0.99):
        s_max = np.linalg.norm(numpy64(W) @ np.linalg.pinv(numpy64(Y_S)), 2)
        lam_S = fraction / (4 * s_max**2)
        found = deep_linear.points(W, T, Y_S=Y_S, lam_S=lam_S)
        assert np.array_equal(numpy64(found.Y_S), numpy64(Y_S))
        assert_exact(found, W, T, None, lam_S)
    with pytest.raises(ValueError, match=r"exceeds 1/\(4 s_max\^2\) = .*; scale Y_S by at least 2"):
        deep_linear.points(W, T, Y_S=Y_S, lam_S=1 / s_max**2)


LABELS = {
    "[I; 0]": np.eye(K + 1)[:, :K],
    "any labels": np.random.default_rng(5).normal(size=(K + 1, K)),
    "many points": np.concatenate([np.eye(K), np.eye(K), np.zeros((2, K))]),
    "more points than dimensions": np.concatenate([np.eye(K)] * 4 + [np.zeros((1, K))]),
}


@pytest.mark.parametrize("labels", LABELS)
def test_with_biases_labels_that_leave_the_constant_free_are_exact(nx, rng, labels):
    T, b = network(rng, D, P, 2)
    W = nx.asarray(trained(rng, T, b, K))
    T, b, Y_S = nx.asarray(T), nx.asarray(b), nx.asarray(LABELS[labels])
    found = deep_linear.points(W, T, b, Y_S=Y_S)
    assert nx.is_mine(found.X_S)
    assert_exact(found, W, T, b)


def constant(T, b):
    """The vector h in the row space of T and b with ``(X T + b) h = 1`` for all X."""
    return np.linalg.pinv(np.concatenate([T, b]), rcond=1e-10)[:, -1:]


ONE_HOT = [np.eye(K), np.eye(K)[[0, 1, 2, 0]], np.eye(K)[[0, 1, 2] * 4]]


@pytest.mark.parametrize("Y_S", ONE_HOT, ids=len)
def test_with_biases_labels_among_which_is_1_must_lie_on_a_hyperplane(rng, Y_S):
    """1 = Y_S a: exact if and only if each label row has y . W^+ h = 1, whatever the number of points."""
    T, b = network(rng, D, P, 2)
    W = trained(rng, T, b, K)  # on random targets
    a = np.linalg.pinv(W) @ constant(T, b)
    needed = rf"\(a\) 1 = Y_S a, .* not {re.escape(f'{a.min():.4g}')} to {re.escape(f'{a.max():.4g}')}; divide it"
    with pytest.raises(ValueError, match=rf"constant feature wrong by a fraction .*{needed} .*\(\[I; 0\]\)"):
        deep_linear.points(W, T, b, Y_S=Y_S)
    scaled = Y_S / (Y_S @ a)  # as the message says: one-hot up to a factor a class, and as many points
    assert_exact(deep_linear.points(W, T, b, Y_S=scaled), W, T, b)
    with pytest.raises(ValueError, match=r"\(a\) 1 = Y_S a"):
        deep_linear.points(W, T, b, Y_S=scaled * [1, 1, 1 + 1e-6])


@pytest.mark.parametrize("Y_S", ONE_HOT, ids=len)
def test_a_model_trained_without_regularisation_on_rows_that_sum_to_one_takes_one_hot_labels(rng, Y_S):
    T, b = network(rng, D, P, 2)
    Phi = features(rng.normal(size=(60, D)), T, b)
    soft = rng.random((60, K))
    for targets in (np.eye(K)[rng.integers(0, K, 60)], soft / soft.sum(1, keepdims=True)):
        W = np.linalg.pinv(Phi, rcond=1e-10) @ targets
        assert_exact(deep_linear.points(W, T, b, Y_S=Y_S), W, T, b)


def test_the_bias_row_is_the_sum_of_the_residuals_over_lambda(rng):
    """c = h^T W = 1^T (Y - Phi W) / lam; an intercept that is not penalised makes both zero."""
    T, b = network(rng, D, P, 2)
    Phi, Y, h = features(rng.normal(size=(60, D)), T, b), rng.normal(size=(60, K)), constant(T, b)
    for lam in (0.1, 10.0):
        W = np.linalg.solve(Phi.T @ Phi + lam * np.eye(P), Phi.T @ Y)
        assert error((Y - Phi @ W).sum(0) / lam, (h.T @ W)[0]) < 1e-10
    centred = Phi - Phi.mean(0)
    W = np.linalg.solve(centred.T @ centred + np.eye(P), centred.T @ Y)
    assert np.linalg.norm(h.T @ W) < 1e-12 * np.linalg.norm(h) * np.linalg.norm(W)
    assert len(deep_linear.points(W, T, b).X_S) == K + 1


def test_labels_of_an_exact_set_may_be_given_back(rng):
    T, b = network(rng, D, P)
    W = trained(rng, T, b, K)
    for m in (K, K + 1, K + 3):
        Y_S = deep_linear.points(W, T, b, m=m).Y_S
        assert_exact(deep_linear.points(W, T, b, Y_S=Y_S), W, T, b)


def test_given_labels_of_another_rank_are_refused_with_both_ranks(rng):
    T, b = network(rng, D, P)
    W = trained(rng, T, b, K)
    W[:, 2] = W[:, 0] - W[:, 1]
    with pytest.raises(ValueError, match="Y_S has rank 3 and W has rank 2, so labels Y_S z with W z = 0 must sum to"):
        deep_linear.points(W, T, b, Y_S=LABELS["[I; 0]"])
    Y_S = LABELS["[I; 0]"] @ np.linalg.pinv(W) @ W  # the way out that the message names
    assert_exact(deep_linear.points(W, T, b, Y_S=Y_S), W, T, b)
    residual = np.array([[1.0, 1, -1, -1, 0]]).T  # W z = 0 for z = (1, -1, -1), and the labels Y_S z sum to zero
    Y_S = np.concatenate([np.eye(2), np.eye(2), [[0, 0]]])
    Y_S = np.concatenate([Y_S, Y_S @ [[1], [-1]]], axis=1) + residual @ [[1, -1, -1]]
    assert np.linalg.matrix_rank(Y_S) == 3
    assert_exact(deep_linear.points(W, T, b, Y_S=Y_S), W, T, b)
    with pytest.raises(
        ValueError, match=r"the labels cannot carry W: a fraction 0\.\d+ of it is lost in W Y_S\^\+ Y_S"
    ):
        deep_linear.points(trained(rng, T, b, K), T, b, Y_S=LABELS["[I; 0]"] * [1, 1, 0])


@pytest.mark.parametrize("labels", LABELS)
def test_where_the_constant_is_an_output_the_mean_label_must_lie_on_the_hyperplane(rng, labels):
    T, b = network(rng, D, P)
    W, g = trained(rng, T, b, K), np.array([[1.0], [-1.0], [0.5]])
    W[:, :1] += constant(T, b) - W @ g  # h = W g, as g_1 = 1
    Y_S = LABELS[labels]
    mean = (Y_S @ g).mean()
    needed = r"\(c\) h = W g up to \S+e-1\d .* the mean row y needs y . W\^\+ h = 1, not .*; divide Y_S"
    with pytest.raises(ValueError, match=rf"wrong by a fraction .*{needed}") as refused:
        deep_linear.points(W, T, b, Y_S=Y_S)
    assert float(re.search(r"not (\S+);", str(refused.value))[1]) == pytest.approx(mean, rel=1e-12)
    assert_exact(deep_linear.points(W, T, b, Y_S=Y_S / mean), W, T, b)
    assert_exact(deep_linear.points(W, T, b), W, T, b)
    given = np.eye(K) * 2.0  # 1 is a combination of them, and a row that makes it independent is no way out by itself
    with pytest.raises(ValueError, match=r"\(a\) .* or add a row that makes 1 independent, with mean 1 of all y . W\^\+ h, or"):
        deep_linear.points(W, T, b, Y_S=given)
    with pytest.raises(ValueError, match=r"\(c\) "):
        deep_linear.points(W, T, b, Y_S=np.vstack([given, np.zeros(K)]))
    last = ((K + 1 - (given @ g).sum()) * g / (g**2).sum()).T
    assert_exact(deep_linear.points(W, T, b, Y_S=np.vstack([given, last])), W, T, b)
    aside = trained(rng, T, b, 1)
    aside *= np.linalg.norm(constant(T, b)) / np.linalg.norm(aside)
    with pytest.raises(ValueError, match=r"\(c\) h = W g up to \d(\.\d)?e-09 "):  # an output, as far as float64 can tell
        deep_linear.points(W + 1e-8 * aside, T, b, Y_S=Y_S)
    assert_exact(deep_linear.points(W + 1e-5 * aside, T, b, Y_S=Y_S), W + 1e-5 * aside, T, b)  # case (b)


@pytest.mark.parametrize("m", [2, 3, 4, D + 3])
def test_a_bottleneck_with_biases_is_no_obstacle(rng, m):
    """T of rank 4 for 8 inputs; only b outside its row space matters."""
    T, b = rng.normal(size=(D, 4)) @ rng.normal(size=(4, P)), rng.normal(size=(1, P))
    W, near = trained(rng, T, b, 2), rng.normal(size=(m, D))
    ignored = np.linalg.svd(T)[0][:, 4:]
    found = deep_linear.points(W, T, b, near=near)
    assert_exact(found, W, T, b)
    assert error(found.X_S @ ignored, near @ ignored) < 1e-12
    assert_exact(deep_linear.points(W, T, b, m=m), W, T, b)
    given = np.eye(m)[:, :2] if m > 2 else np.eye(2) / (np.linalg.pinv(W) @ constant(T, b)).T
    assert_exact(deep_linear.points(W, T, b, Y_S=given), W, T, b)


def test_given_labels_with_biases_are_for_lam_zero_only(rng):
    T, b = network(rng, D, P)
    with pytest.raises(ValueError, match="with biases and given labels a set is known only for lam_S = 0"):
        deep_linear.points(trained(rng, T, b, K), T, b, Y_S=LABELS["[I; 0]"], lam_S=0.1)


# -- the network multiplied out


def test_a_torch_network_is_multiplied_out(rng):
    torch = pytest.importorskip("torch")
    nn, double = torch.nn, {"dtype": torch.float64}
    for biases in (False, True):
        hidden = nn.Sequential(
            nn.Linear(5, 7, bias=biases, **double), nn.Identity(), nn.Linear(7, 9, bias=True, **double)
        )
        net = nn.Sequential(nn.Flatten(), hidden, nn.Linear(9, 9, bias=biases, **double), nn.Linear(9, 2, **double))
        T, b = deep_linear.product(net[:-1])
        X = torch.tensor(rng.normal(size=(6, 5)))
        assert tuple(T.shape) == (5, 9) and tuple(b.shape) == (1, 9) and not T.requires_grad
        assert error(X @ T + b, net[:-1](X).detach()) < tolerance(10, "float64")
    T, b = deep_linear.product(nn.Sequential(nn.Linear(5, 7, bias=False)))
    assert b is None and tuple(T.shape) == (5, 7)
    with pytest.raises(TypeError, match="layer 1 is LeakyReLU, which is not linear"):
        deep_linear.product(nn.Sequential(nn.Linear(5, 7), nn.LeakyReLU()))


def test_a_torch_module_used_twice_counts_twice(rng):
    torch = pytest.importorskip("torch")
    nn, double = torch.nn, {"dtype": torch.float64}
    square = nn.Linear(6, 6, **double)
    inner = nn.Sequential(square, nn.Identity(), square)
    net = nn.Sequential(nn.Linear(4, 6, **double), inner, square, inner)
    T, b = deep_linear.product(net)
    X = torch.tensor(rng.normal(size=(5, 4)))
    assert error(X @ T + b, net(X).detach()) < tolerance(100, "float64")
    assert error(deep_linear.product(nn.ModuleList(net)).T, T) == 0  # which has no forward of its own


def test_a_module_with_a_forward_of_its_own_is_not_taken_for_its_layers():
    torch = pytest.importorskip("torch")

    class Residual(torch.nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    with pytest.raises(TypeError, match="layer 0 is Residual, which is not linear"):
        deep_linear.product([Residual(torch.nn.Linear(3, 3))])


def test_the_product_is_a_copy_and_refuses_what_does_not_follow(nx, rng):
    A, B, c = (nx.asarray(rng.normal(size=shape)) for shape in ((4, 6), (6, 5), (1, 6)))
    T, b = deep_linear.product([(A, c), B])
    X = rng.normal(size=(3, 4))
    assert nx.is_mine(T) and nx.is_mine(b)
    assert error(X @ numpy64(T) + numpy64(b), (X @ numpy64(A) + numpy64(c)) @ numpy64(B)) < tolerance(100, nx.dtype)
    T, b = deep_linear.product([(A, c)])
    T *= 0
    b *= 0
    assert np.any(numpy64(A)) and np.any(numpy64(c))
    for layers, kind, message in (
        ([A, A], ValueError, "layer 1 takes 4 inputs, and the layers before it give 6"),
        ([(A, c[:, :3])], ValueError, r"layer 0: weights \(4, 6\) and biases \(1, 3\) do not fit"),
        ([], ValueError, "no layers"),
        ([3.0], TypeError, "layer 0 is float, which is not linear"),
        ([A * float("nan")], ValueError, "the weights of layer 0 contains NaN or Inf"),
    ):
        with pytest.raises(kind, match=message):
            deep_linear.product(layers)


# -- properties


@st.composite
def problems(draw):
    d, extra, k = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    m, rank = draw(st.integers(1, 10)), draw(st.integers(0, min(d, k)))
    kind, near = draw(st.sampled_from(["none", "any", "inside", "zero row"])), draw(st.booleans())
    return d, d + extra, k, m, rank, kind, near, draw(st.integers(0, 2**32 - 1)), draw(st.integers(-6, 6))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(problems())
@example((4, 7, 1, 2, 1, "any", True, 4194303, 1))  # the affine span must pass a point at 330 times the usual distance
def test_points_are_exact_or_refused_over_shapes_ranks_and_biases(problem):
    d, p, k, m, rank, kind, near, seed, scale = problem
    rng = np.random.default_rng(seed)
    T = conditioned(rng, d, p, 10)
    b = {"none": None, "inside": rng.normal(size=(1, d)) @ T}.get(kind, rng.normal(size=(1, p)))
    basis = np.linalg.qr((T if kind in ("none", "inside", "zero row") else np.concatenate([T, b])).T)[0]
    W = basis @ (conditioned(rng, basis.shape[1], k, 5, rank=rank) if rank else np.zeros((basis.shape[1], k)))
    W *= 10.0**scale
    X_0 = rng.normal(size=(m, d)) if near else None
    copies = [None if A is None else A.copy() for A in (W, T, b, X_0)]
    least = rank + (kind == "zero row") if rank else 1
    how = {"near": X_0} if near else {"m": m}
    if m < least:
        with pytest.raises(ValueError, match=f"W of rank {rank}.*use {least}"):
            deep_linear.points(W, T, b, **how)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = deep_linear.points(W, T, b, **how)
    for A, B in zip(copies, (W, T, b, X_0), strict=True):
        assert A is B is None or np.array_equal(A, B)
    if rank:
        assert_exact(found, W, T, b)
    else:
        assert np.abs(refit(features(found.X_S, T, b), found.Y_S, 0.0)[0]).max() < 1e-10 * 10.0**scale


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(problems())
def test_given_labels_are_exact_or_refused(problem):
    d, p, k, m, _, kind, _, seed, scale = problem
    rng = np.random.default_rng(seed)
    T = conditioned(rng, d, p, 10)
    b = {"none": None, "inside": rng.normal(size=(1, d)) @ T}.get(kind, rng.normal(size=(1, p)))
    W = trained(rng, T, b, k)
    W = (without_constant(W, T, b) if kind == "zero row" else W) * 10.0**scale
    Y_S = conditioned(rng, m, k, 5) * np.linalg.norm(W)  # labels of the size of W
    free = kind in ("none", "inside")
    if np.linalg.matrix_rank(W) < k or np.linalg.cond(W) > 1e4 or (not free and d < k):
        return
    if m < k:
        with pytest.raises(ValueError, match="the labels cannot carry W"):
            deep_linear.points(W, T, b, Y_S=Y_S)
    elif not free and m == k:
        with pytest.raises(ValueError, match="1 = Y_S a"):
            deep_linear.points(W, T, b, Y_S=Y_S)
    else:
        try:
            found = deep_linear.points(W, T, b, Y_S=Y_S)
        except ValueError as refused:  # 1 nearly among the labels: the set exists, too ill conditioned to be trained on
            ones = np.ones(m) / np.sqrt(m)
            assert np.linalg.norm(ones - Y_S @ np.linalg.pinv(Y_S) @ ones) < 1e-3, refused
            return
        assert_exact(found, W, T, b)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_numpy_and_torch_agree(problem):
    torch = pytest.importorskip("torch")
    d, p, k, m, _, kind, _, seed, _ = problem
    rng = np.random.default_rng(seed)
    T = conditioned(rng, d, p, 10)
    b = None if kind in ("none", "inside") else rng.normal(size=(1, p))
    W, near = trained(rng, T, b, min(k, d)), rng.normal(size=(m + k + 1, d))
    A = deep_linear.points(W, T, b, near=near)
    B = deep_linear.points(*(None if C is None else torch.tensor(C) for C in (W, T, b)), near=torch.tensor(near))
    assert error(B.X_S, A.X_S) < 1e-8 and error(B.Y_S, A.Y_S) < 1e-8  # a truncation moves by eps / gap


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    rng = np.random.default_rng(3)
    T, b = network(rng, 4, 6)
    W = trained(rng, T, b, 2)
    W, T, b, near, Y_S = (xp.asarray(A, device=device) for A in (W, T, b, rng.normal(size=(3, 4)), np.eye(3)[:, :2]))
    equal = near * 0 + near[:1, :]
    for how in ({}, {"m": 3}, {"m": 9, "lam_S": 0.3}, {"near": near}, {"Y_S": Y_S}, {"near": equal}):
        found = deep_linear.points(W, T, b, **how)
        assert found.X_S.device == device and found.Y_S.device == device and found.X_S.dtype == xp.float64
    assert deep_linear.points(deep_linear.product([T]).T.mT @ xp.ones((4, 1), device=device), T).X_S.device == device


T_OK, W_OK = np.eye(3)[:2], np.eye(3)[:, :1]


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: deep_linear.points(W_OK, T_OK[:, :2]), ValueError, r"W \(p, k\), T \(d, p\) do not fit"),
        (lambda: deep_linear.points(W_OK, T_OK, np.ones(2)), ValueError, r"b \(1, p\) do not fit: .* \(3, 1\), \(2, 3\), \(1, 2\)"),
        (lambda: deep_linear.points(W_OK, 0 * T_OK), ValueError, "T is zero: every input has the same features"),
        (lambda: deep_linear.points(W_OK, T_OK, m=0), ValueError, "m = 0 must be at least 1"),
        (lambda: deep_linear.points(W_OK, T_OK, m=1.5), TypeError, "m must be an integer, got 1.5"),
        (lambda: deep_linear.points(W_OK, T_OK, near=np.ones((2, 3))), ValueError, r"T \(d, p\), near \(m, d\) do not fit"),
        (lambda: deep_linear.points(W_OK, T_OK, Y_S=np.ones((2, 2))), ValueError, r"W \(p, k\), Y_S \(m, k\) do not fit"),
        (lambda: deep_linear.points(W_OK, T_OK, m=3, Y_S=np.ones((2, 1))), ValueError, "m = 3, but 2 rows are given; leave out m"),
        (lambda: deep_linear.points(W_OK, T_OK, near=T_OK, Y_S=W_OK), ValueError, "near and Y_S cannot both be given"),
        (lambda: deep_linear.points(W_OK, T_OK, near=np.zeros((2, 2))), ValueError, "near is zero, it has no scale"),
        (lambda: deep_linear.points(W_OK, T_OK, lam_S=-1), ValueError, "lam_S = -1.0 must be finite and not negative"),
        (lambda: deep_linear.points(W_OK, T_OK, max_condition=2), ValueError, "max_condition = 2 must lie between 3"),
        (lambda: deep_linear.points(W_OK, T_OK, rtol=-1), ValueError, "rtol = -1.0 must be finite and not negative"),
        (lambda: deep_linear.points(W_OK, T_OK * np.nan), ValueError, "T contains NaN or Inf"),
        (lambda: deep_linear.points(W_OK.astype(int), T_OK), TypeError, "W has dtype int64"),
        (lambda: deep_linear.points(W_OK, T_OK.astype(np.float32)), TypeError, "W, T differ in dtype"),
        (lambda: deep_linear.points(np.eye(3)[:, :2], T_OK, m=1), ValueError, "m = 1 points cannot carry W of rank 2"),
        (
            lambda: deep_linear.points(W_OK, np.diag([1.0, 1e-7, 1.0])[:2], near=np.ones((2, 2)), max_condition=3),
            ValueError,
            r"no rows near these have a condition number up to 3; .* \(that of T is 1e\+07\); pass a larger max_condition",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_cutoff_that_drops_part_of_w_warns():
    W, T = np.diag([1.0, 1e-3, 0.0])[:, :2], np.eye(3)[:2]
    with pytest.warns(UserWarning, match="the rank cutoff drops a fraction 0.001 of W; pass a smaller rtol"):
        assert len(deep_linear.points(W, T, rtol=0.01).X_S) == 1


# -- images


@pytest.mark.slow
def test_clothes_through_a_linear_network_stay_recognisable_and_exact():
    from ddref import datasets

    sample = datasets.fashion_sample()
    X = datasets.standardize(sample.X_train).X_train
    rng = np.random.default_rng(0)
    T, b = network(rng, 784, 1000, 1)
    Phi = features(X, T, b)
    W = np.linalg.solve(Phi.T @ Phi + 1e3 * np.eye(1000), Phi.T @ datasets.one_hot(sample.y_train))
    near = np.concatenate([X[sample.y_train == c][:10] for c in range(10)])
    X_S, Y_S, *_ = deep_linear.points(W, T, b, near=near)
    assert error(refit(features(X_S, T, b), Y_S, 0.0)[0], W) <= 1e-9
    assert error(X_S, near) < 0.5


# -- the published theorem


def test_the_two_hypotheses_of_the_published_theorem_exclude_each_other(rng):
    """Chen, Huang and Weng, Thm 5.3(2), samples as columns: where H has full rank p, its last block has the rank of
    the first layer, d or less, which is below p."""
    full = 0
    for d, p, k in [(2, 3, 1), (3, 7, 2), (5, 6, 4), (4, 9, 4), (8, 20, 3)]:
        for depth in (1, 2, 3):
            widths = [d, *[p] * depth]
            layers = [rng.normal(size=(out, into)) for into, out in zip(widths, widths[1:], strict=False)]
            rank = d - 1 if d > k else d
            layers[0] = layers[0] @ np.diag([1.0] * rank + [0.0] * (d - rank))
            product = np.linalg.multi_dot(layers[::-1]) if depth > 1 else layers[0]
            for W in (rng.normal(size=(k, p)), rng.normal(size=(k, d)) @ np.linalg.pinv(product)):
                H = np.hstack([product @ np.linalg.pinv(layers[0]), np.linalg.pinv(W) @ W - np.eye(p)])
                if np.linalg.matrix_rank(H, tol=1e-9) == p:
                    full += 1
                    V_H = np.linalg.svd(H)[2].T
                    assert np.linalg.matrix_rank(V_H[p:, p:], tol=1e-9) == rank
    assert full >= 15


# -- thresholds, from both sides of each


def test_biases_beyond_the_row_space_by_a_hundred_cutoffs_are_a_constant():
    T = np.array([[1.0, 0.0]])  # cutoff: 2 eps
    for size, beta in ((0.0, 0.0), (198, 0.0), (200, 0.0), (202, 202 * EPS), (1e5, 1e5 * EPS)):
        assert deep_linear._reached_space(T, np.array([[1.0, size * EPS]])).beta == beta
    assert deep_linear._reached_space(T, None).beta == 0.0


def test_features_are_as_ill_conditioned_as_the_terms_that_cancel_in_them():
    T, b = np.diag([2.0, 1.0]), np.array([[-4.0, 0.0]])
    X = np.array([[2.0, 1.0], [3.0, 0.0]])  # features [0, 1] and [2, 0]
    Phi, svd, worst = deep_linear._reached_space(T, b).features(X)
    reach = np.linalg.norm(X) * np.linalg.norm(T) + np.sqrt(2) * 4
    assert svd.condition == pytest.approx(2, rel=1e-12) and worst == pytest.approx(reach, rel=1e-12)
    Phi, svd, worst = deep_linear._reached_space(T, None).features(X)
    assert worst == pytest.approx(np.linalg.norm(X) * np.linalg.norm(T) / svd.s[-1], rel=1e-12)
    assert deep_linear._reached_space(T, None).features(0 * X)[2] == 1.0


def test_features_that_overflow_are_refused_by_name():
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="the features overflows float64"):
        deep_linear.points(np.eye(2)[:, :1], 1e200 * np.eye(2), near=1e200 * np.eye(2))


@pytest.mark.parametrize(
    "T, b, size, limit",
    [
        (np.eye(2), None, 2.0, 1e6),
        (np.diag([1.0, 2.0**-20]), None, 2.0, 100 * 2.0**20),
        (np.diag([1.0, 2.0**-45]), None, 2.0, 0.01 / EPS),
        (np.eye(3)[:2], np.array([[0.0, 0.0, 2.0**20]]), 1.0, 100 * 2.0**20),
        (np.eye(3)[:2], np.array([[0.0, 0.0, 2.0**-20]]), 4.0, 400 * 2.0**20),
        (np.eye(3)[:2], np.array([[0.0, 0.0, 1.0]]), 4.0, 1e6),
    ],
)
def test_what_the_map_makes_of_any_points_is_not_held_against_them(T, b, size, limit):
    reached = deep_linear._reached_space(T, b)
    assert deep_linear._limit_near(size, reached, None) == limit
    assert deep_linear._limit_near(size, reached, 5e6) == 5e6


def test_the_limit_given_for_the_condition_number_is_met_exactly(rng):
    T, b = network(rng, D, P)
    W, near = trained(rng, T, b, K), rng.normal(size=(1, D)) + 0.01 * rng.normal(size=(K, D))
    for biases in (b, None):
        model = W if biases is not None else without_constant(W, T, b)
        best = deep_linear.points(model, T, biases, near=near)
        same = deep_linear.points(model, T, biases, near=near, max_condition=best.condition)
        assert np.array_equal(same.X_S, best.X_S)
        less = deep_linear.points(model, T, biases, near=near, max_condition=best.condition * 0.9)
        assert less.condition <= best.condition * 0.9 and error(less.X_S, best.X_S) > 1e-6
        assert error(less.X_S, near) > error(best.X_S, near)


def test_points_have_the_size_of_the_map_or_of_its_biases():
    W, T = np.eye(3)[:, :1], np.diag([3.0, 0.5, 0.5])
    for b, size in ((None, 3.0), ([[1e3, 0.0, 0.0]], 1e3), ([[0.3, 0.0, 0.0]], 3.0)):
        b = None if b is None else np.array(b)
        for m in (1, 3):
            found = deep_linear.points(W, T, b, m=m)
            assert np.allclose(np.linalg.svd(features(found.X_S, T, b))[1], size, rtol=1e-12, atol=0)
        contrasts = features(deep_linear.points(W, T, b, m=5).X_S, T, b) - (0 if b is None else 2 * b)
        assert np.linalg.norm(contrasts) > size  # more points than dimensions: around the biases


def test_a_model_of_zeros_leaves_inputs_as_they_are_zeros_too():
    W, T = np.zeros((3, 2)), np.eye(3)
    for near in (np.zeros((2, 3)), np.eye(3)[:2]):
        found = deep_linear.points(W, T, near=near)
        assert np.array_equal(found.X_S, near) and found.X_S is not near and not np.any(found.Y_S)
        assert found.condition == 1.0
    for b in (None, np.ones((1, 3)), np.ones(3)):
        assert len(deep_linear.points(W, T, b).X_S) == 1


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_given_labels_of_any_size_train_zeros(size):
    """Without biases by features of zero, with them by equal inputs: the labels add up to zero."""
    Y_S = size * np.array([[0.3, 1.0], [0.1, -2.0], [-0.4, 1.0]])
    none = deep_linear.points(np.zeros((3, 2)), np.eye(3)[:2], Y_S=Y_S)
    assert not np.any(none.X_S)
    assert not np.any(deep_linear.points(np.zeros((3, 2)), np.eye(3)[:2], Y_S=0 * Y_S).X_S)
    T, b = np.eye(3)[:2], np.array([[0.5, 0.5, 1.0]])
    found = deep_linear.points(np.zeros((3, 2)), T, b, Y_S=Y_S)
    W_S = np.linalg.lstsq(features(found.X_S, T, b), Y_S, rcond=1e-10)[0]
    assert np.abs(W_S).max() < 1e-13 * size


@pytest.mark.parametrize("size", [0.5, 1.0, 2.0])
def test_inputs_of_any_size_are_stayed_close_to(size):
    found = deep_linear.points(np.eye(2)[:, :1], np.eye(2), near=np.array([[size, 0.0]]))
    assert np.array_equal(found.X_S, [[size, 0.0]])


def test_part_of_w_that_is_dropped_may_be_missing_near_given_inputs():
    W, T = np.diag([1.0, 1e-3, 0.0])[:, :2], np.eye(3)[:2]
    (said,) = words(lambda: deep_linear.points(W, T, near=np.ones((1, 2)), rtol=0.01))
    assert "drops a fraction 0.001 of W" in said


def test_a_model_may_lie_outside_the_row_space_by_its_cutoff_or_by_what_rounding_explains():
    T = np.array([[1.0, 0.0]])
    for outside in (0.9e-10, 1e-10):  # the cutoff of a model
        assert len(deep_linear.points(np.array([[1.0], [outside]]), T).X_S) == 1
    T_ill = np.diag([1.0, 1e-5, 1.0])[:2]  # a hundred eps times 1e5
    assert len(deep_linear.points(np.array([[1.0], [0.0], [2.1e-9]]), T_ill).X_S) == 1
    for W, map_ in (([[1.0], [1.1e-10]], T), ([[1.0], [0.0], [2.4e-9]], T_ill)):
        with pytest.raises(ValueError, match="lies outside the row space of T"):
            deep_linear.points(np.array(W), map_)


def test_a_constant_component_counts_above_the_cutoff(rng):
    """gamma, the length of the part of the columns of W along the biases, may be a cutoff to the last bit."""
    T, b = np.eye(3)[:2], np.array([[0.0, 0.0, 1.0]])
    W = np.array([[0.6], [0.0], [0.8]])
    model = deep_linear._coordinates(W, deep_linear._reached_space(T, b), None)
    gamma = model.gamma
    assert gamma == pytest.approx(0.8, rel=1e-12)
    below, above = np.nextafter(gamma, 0), np.nextafter(gamma, 1)
    assert len(deep_linear.points(W, T, b, rtol=below).X_S) == 1
    for cut in (gamma, above):
        assert len(deep_linear.points(W, T, b, rtol=cut).X_S) == 2
        with pytest.raises(ValueError, match="counts as zero .*use 2"):
            deep_linear.points(W, T, b, m=1, rtol=cut)
    near = rng.normal(size=(2, 2))
    flat, same, zero = (deep_linear.points(W, T, b, near=near, rtol=cut).X_S for cut in (below, gamma, above))
    assert np.array_equal(same, zero) and error(flat, zero) > 1e-3


def reaching(c):
    """A map with constant feature 1, and a model that one point carries at 1 / c, two at 1."""
    return np.array([[1.0], [c]]), np.eye(2)[:1], np.array([[0.0, 1.0]])


def test_points_a_hundred_times_as_far_as_one_more_are_worth_a_word():
    assert words(lambda: deep_linear.points(*reaching(1 / 99))) == []
    (said,) = words(lambda: deep_linear.points(*reaching(1 / 101)))
    assert said == (
        "c, the component of W along the biases, is only 0.0099 of W: with m = 1 points the inputs reach a norm of "
        "1e+02, with one more they need 1; pass m=2"
    )
    (said,) = words(lambda: deep_linear.points(*reaching(1e-4), near=np.array([[5.0]])))
    assert "reach a norm of 1e+04, with one more they need 5;" in said
    assert words(lambda: deep_linear.points(*reaching(1e-4), near=np.array([[200.0]]))) == []
    # more points than the rank are never far out, however large the constant
    T, b = np.eye(3)[:2], np.array([[0.0, 0.0, 1e4]])
    for m in (2, 3, 4):
        assert words(lambda m=m: deep_linear.points(np.ones((3, 1)), T, b, m=m)) == []


def test_one_and_two_points_far_out_keep_their_digits(rng):
    """The nearest points lie at 1e5 times the distance of those they are near to."""
    for m in (1, 2):
        T, b = np.eye(5)[:4], np.eye(5)[4:]
        W = rng.normal(size=(5, m))
        W[4] *= 1e-5
        near = rng.normal(size=(m, 4))
        with pytest.warns(UserWarning, match="only .* of W"):
            found = deep_linear.points(W, T, b, near=near)
        assert error(refit(features(found.X_S, T, b), found.Y_S, 0.0)[0], W) < 1e-10


def test_warnings_of_points_point_at_the_call():
    W, T = np.diag([1.0, 1e-3, 0.0])[:, :2], np.eye(3)[:2]
    assert len(words(lambda: deep_linear.points(W, T, rtol=0.01))) == 1


@pytest.mark.parametrize("m", [3, 5, 8, 11])
def test_with_given_labels_points_to_spare_are_independent(rng, m):
    T, b = network(rng, D, P)
    W = trained(rng, T, b, K)
    for biases, model in ((None, without_constant(W, T, b)), (b, W)):
        Y_S = rng.normal(size=(m + (biases is not None), K))
        found = deep_linear.points(model, T, biases, Y_S=Y_S)
        dims = min(len(Y_S), D + (biases is not None))
        assert np.linalg.matrix_rank(features(found.X_S, T, biases), tol=1e-6) == dims


def test_a_constant_may_be_wrong_by_what_rounding_explains():
    """One point, x = 0, has the feature 1 alone: its label is W."""
    W, T, b = np.array([[0.0], [1.0]]), np.eye(2)[:1], np.array([[0.0, 1.0]])

    def label(y):
        try:
            deep_linear.points(W, T, b, Y_S=np.array([[y]]))
        except ValueError as refused:
            return str(refused)
        return ""

    assert label(1.0) == ""
    assert "constant feature wrong" not in label(1 + 100 * EPS)
    assert "make the constant feature wrong by a fraction 2.26e-14" in label(1 + 102 * EPS)
    assert "make the constant feature wrong by a fraction 0.5" in label(1.5)


def test_layers_may_be_pairs_or_tuples_of_matrices(rng):
    A, B, c = rng.normal(size=(2, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    for layers in ((A, B), [A, B], ((A, None), B), [(A, None), (B, None)]):
        T, b = deep_linear.product(layers)
        assert error(T, A @ B) < 1e-15 and b is None
    for bias in (c, c[None, :]):
        for layers in ([(A, bias)], (A, bias)):
            T, b = deep_linear.product(layers)
            assert np.array_equal(T, A) and np.array_equal(b, c[None, :])
    T, b = deep_linear.product((A[:, :2], A[:, :2], A))  # three matrices are no pair
    assert b is None and error(T, A[:, :2] @ A[:, :2] @ A) < 1e-14


def test_points_to_spare_are_independent_where_the_constant_is_an_output_too():
    """W is the constant and the first feature; five points span the three features."""
    T, b, W = np.eye(3)[:2], np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    Y_S = np.array([[1.0, 0.3], [2.0, -1.0], [0.0, 0.5], [1.0, 2.0], [1.0, -0.4]])  # the first column adds up to 5
    found = deep_linear.points(W, T, b, Y_S=Y_S)
    assert_exact(found, W, T, b)
    assert np.linalg.matrix_rank(features(found.X_S, T, b), tol=1e-6) == 3


def test_sets_that_retraining_cannot_confirm_are_refused_with_their_error():
    T = np.diag([1.0, 1e-10])
    with pytest.raises(ValueError, match=r"the inputs found, retrained, miss W by .*T is too ill conditioned"):
        deep_linear.points(np.ones((2, 1)), T, near=np.ones((2, 2)))
    with pytest.raises(ValueError, match="m = 3, but 2 rows are given; leave out m"):
        deep_linear.points(np.ones((2, 1)), np.eye(2), near=np.eye(2), m=3)
