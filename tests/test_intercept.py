"""ddref.intercept: sets retrained with an intercept by oracles that do not centre, or that nobody here wrote."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Nx, conditioned, error, numpy64
from ddref import gauge, intercept, nearest
from ddref.measure import tolerance

P, R = 14, 3
# what the property tests run on; the other tests run on the fixture nx
EACH = [Nx("numpy", "cpu", "float64"), Nx("numpy", "cpu", "float32"), Nx("torch", "cpu", "float32")]
in_each_dtype = pytest.mark.parametrize("nx", EACH, ids=repr)


def retrain(Phi, Y, lam):
    """``(W, b, condition)`` with an unpenalised intercept; for lam > 0 one stacked least-squares problem, not centred.

    `condition`: labels for lam > 0 are of size ``lam / t_min``, and training divides by at least ``sqrt(lam)``.
    """
    eps = float(np.finfo(str(Phi.dtype).removeprefix("torch.")).eps)
    Phi, Y = numpy64(Phi), numpy64(Y)
    p, size = Phi.shape[1], np.linalg.norm(Phi, 2)
    centred = Phi - Phi.mean(0)
    t, cut = np.linalg.svd(centred, compute_uv=False), (100 if eps < 1e-9 else 1) * max(Phi.shape) * eps * size
    condition = float((size + np.sqrt(lam)) / np.min(t[t > cut], initial=size)) if size else 1.0
    if lam > 0:
        A = np.block([[Phi, size * np.ones((len(Phi), 1))], [np.sqrt(lam) * np.eye(p), np.zeros((p, 1))]])
        both, _, _, t = np.linalg.lstsq(A, np.concatenate([Y, np.zeros((p, Y.shape[1]))]), rcond=None)
        return both[:p], both[p:] * size, max(condition, float(t[0] / t[-1]))
    W = np.linalg.pinv(centred, rcond=min(cut / t[0], 1.0) if t[0] else 1.0) @ (Y - Y.mean(0))
    return W, Y.mean(0) - Phi.mean(0) @ W, condition


def assert_exact(Phi_S, Y_S, lam_S, W, b, dtype="float64"):
    W_S, b_S, condition = retrain(Phi_S, Y_S, lam_S)
    size = np.linalg.norm(numpy64(W)) + np.linalg.norm(numpy64(b))
    assert error(W_S, W) < tolerance(condition, dtype), condition
    assert np.linalg.norm(b_S - numpy64(b)) < tolerance(condition, dtype) * size * max(1, np.abs(numpy64(Phi_S)).max())


@pytest.mark.parametrize("lam_S", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("m", [R + 1, R + 2, P, P + 1, P + 8])
def test_nearest_sets_with_an_intercept_are_exact_from_rank_plus_one_points_on(nx, rng, m, lam_S):
    W, b = nx.asarray(conditioned(rng, P, R, 5)), nx.asarray(rng.normal(size=(1, R)))
    Phi_0 = nx.asarray(conditioned(rng, m, P, 10) + 0.2)
    distilled = intercept.exact_set(Phi_0, W, b, lam_S, choose=nearest.nearest)
    assert nx.is_mine(distilled.Phi_S) and nx.is_mine(distilled.Y_S) and distilled.lam_S == lam_S
    assert tuple(distilled.Phi_S.shape) == (m, P) and tuple(distilled.Y_S.shape) == (m, R)
    assert_exact(*distilled, W, b, nx.dtype)
    if lam_S == 0:
        predictions = numpy64(distilled.Phi_S) @ numpy64(W) + numpy64(b)
        assert error(distilled.Y_S, predictions) < tolerance(1, nx.dtype)


@pytest.mark.parametrize("m", [R + 1, R + 4, P, P + 1])
def test_the_mean_stays_and_the_distance_is_the_bound_of_m_minus_one_points(rng, m):
    W, b, Phi_0 = rng.normal(size=(P, R)), rng.normal(size=(1, R)), rng.normal(size=(m, P)) + 3
    Phi_S = intercept.exact_set(Phi_0, W, b, choose=nearest.nearest).Phi_S
    assert np.abs(Phi_S.mean(0) - Phi_0.mean(0)).max() < 1e-13
    low = nearest.nearest_lower_bound(intercept.contrasts(Phi_0), W)
    Q = np.linalg.svd(W)[0]
    s = np.linalg.svd((Phi_0 - Phi_0.mean(0)) @ Q[:, R:], compute_uv=False)  # the same bound, from the centred rows
    s = np.concatenate([s, np.zeros(m)])[: m - 1]
    assert low == pytest.approx(np.linalg.norm(s[m - 1 - R :]), abs=1e-12)
    assert np.linalg.norm(Phi_S - Phi_0) == pytest.approx(low, rel=1e-6, abs=1e-12)


def test_no_exact_set_with_an_intercept_comes_closer(rng):
    """Neighbours of the minimiser, made exact again by the smallest step, with means that may move."""
    m, W, b = 6, rng.normal(size=(8, 2)), rng.normal(size=(1, 2))
    Phi_0 = rng.normal(size=(m, 8))
    best = intercept.exact_set(Phi_0, W, b, choose=nearest.nearest).Phi_S
    low = np.linalg.norm(best - Phi_0)
    for step in np.logspace(-6, 0, 40):
        near = best + step * rng.normal(size=best.shape)
        centred = near - near.mean(0)
        alpha = np.linalg.pinv(centred.T) @ W  # sums to zero, as the dual coefficients of a model with intercept do
        near = near + np.linalg.pinv(alpha).T @ (W - near.T @ alpha).T
        assert error(retrain(near, near @ W + b, 0.0)[0], W) < 1e-8
        assert np.linalg.norm(near - Phi_0) >= low * (1 - 1e-12)


def test_features_that_span_w_keep_every_bit(nx, rng):
    W, b = nx.asarray(rng.normal(size=(4, 2))), nx.asarray(rng.normal(size=(1, 2)))
    Phi_0 = nx.asarray(rng.normal(size=(9, 4)))
    for choose in (None, nearest.nearest):
        Phi_S, Y_S, lam_S = intercept.exact_set(Phi_0, W, b, 0.3, choose=choose)
        assert np.array_equal(numpy64(Phi_S), numpy64(Phi_0)) and Phi_S is not Phi_0
        assert_exact(Phi_S, Y_S, lam_S, W, b, nx.dtype)


def test_orthonormal_contrasts_around_any_mean(nx, rng):
    W, b = nx.asarray(conditioned(rng, P, R, 5)), nx.asarray(rng.normal(size=(R,)))
    Phi_0 = nx.asarray(np.zeros((R + 1, P)) + 0.5)
    distilled = intercept.exact_set(Phi_0, W, b, 0.7, choose=lambda A, W: gauge.orthonormal(W, len(A)))
    centred = numpy64(distilled.Phi_S) - numpy64(distilled.Phi_S).mean(0)
    assert np.allclose(np.linalg.svd(centred, compute_uv=False)[:R], 1, rtol=0, atol=100 * nx.eps)
    assert_exact(*distilled, W, b, nx.dtype)


def test_what_lies_below_the_rank_cutoff_of_w_is_lost_with_a_warning(rng):
    W, b = np.linalg.qr(rng.normal(size=(8, 3)))[0] * np.array([1.0, 1.0, 5e-12]), np.zeros((1, 3))
    of_the_choice = pytest.warns(UserWarning, match="drops a fraction 3.5e-12 of W")
    with of_the_choice, pytest.warns(UserWarning, match="below its rank cutoff"):
        Phi_S, Y_S, _ = intercept.exact_set(rng.normal(size=(3, 8)), W, b, choose=nearest.nearest)
    assert error(intercept.fit(Phi_S, Y_S, 0.0).W, W) < 1e-10
    with pytest.raises(ValueError, match="span_tol = nan"):
        intercept.labels(Phi_S, W, b, span_tol=float("nan"))


def test_one_hot_targets_need_k_points_and_one_regression_target_two(rng):
    X = rng.normal(size=(200, 10)) + 2
    for Y, points in ((np.eye(4)[rng.integers(0, 4, 200)], 4), (rng.normal(size=(200, 1)), 2)):
        W, b = intercept.fit(X, Y, 1.0)
        with pytest.raises(ValueError, match=rf"W has rank {points - 1}: .*{points} points"):
            intercept.exact_set(X[: points - 1], W, b, choose=nearest.nearest)
        distilled = intercept.exact_set(X[:points], W, b, choose=nearest.nearest)
        assert len(distilled.Phi_S) == points
        assert_exact(*distilled, W, b)


@pytest.mark.parametrize("lam", [0.0, 0.1, 30.0])
def test_fit_agrees_with_scikit_learn_and_a_distilled_set_trains_its_models(rng, lam):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, Y = rng.normal(size=(60, 7)) + 5, rng.normal(size=(60, 3)) - 2
    W, b = intercept.fit(X, Y, lam)
    theirs = linear_model.Ridge(alpha=lam, solver="svd") if lam else linear_model.LinearRegression()
    theirs.fit(X, Y)
    assert error(W, theirs.coef_.T) < tolerance(100, "float64")
    assert error(b[0], theirs.intercept_) < tolerance(100, "float64")
    Phi_S, Y_S, lam_S = intercept.exact_set(X[:5], W, b, lam, choose=nearest.nearest)
    theirs.fit(Phi_S, Y_S)
    assert error(theirs.coef_.T, W) < tolerance(1e3, "float64")
    assert error(theirs.intercept_, b[0]) < tolerance(1e3, "float64")


def test_fit_minimises_what_it_says(nx, rng):
    X, Y = nx.asarray(rng.normal(size=(20, 5)) + 3), nx.asarray(rng.normal(size=(20, 2)))
    for lam in (0.0, 0.5):
        W, b = intercept.fit(X, Y, lam)
        assert nx.is_mine(W) and nx.is_mine(b) and tuple(b.shape) == (1, 2)
        W_S, b_S, condition = retrain(X, Y, lam)
        assert error(W, W_S) < tolerance(condition, nx.dtype) and error(b, b_S) < tolerance(10 * condition, nx.dtype)


@pytest.mark.parametrize("size", [1e3, 1e8, 1e12])
def test_a_large_column_wipes_out_no_other(rng, size):
    F = rng.normal(size=(300, 5))
    X, Y = np.c_[size * rng.normal(size=300), F], F @ np.ones((5, 1)) + 0.1 * rng.normal(size=(300, 1)) + 2
    sizes = np.array([size, 1, 1, 1, 1, 1])
    # an oracle that never meets the large numbers: scaled columns, each with its own penalty
    A, T = X / sizes - (X / sizes).mean(0), Y - Y.mean()
    expected = np.linalg.solve(A.T @ A + np.diag(1 / sizes**2), A.T @ T) / sizes[:, None]
    assert error(intercept.fit(X, Y, 1.0).W[1:], expected[1:]) < 1e-9


def test_contrasts_are_the_centred_rows_with_one_row_less(nx, rng):
    Phi = nx.asarray(rng.normal(size=(6, 4)) + 10)
    A = intercept.contrasts(Phi)
    assert nx.is_mine(A) and tuple(A.shape) == (5, 4)
    centred = numpy64(Phi) - numpy64(Phi).mean(0)
    assert error(numpy64(A).T @ numpy64(A), centred.T @ centred) < tolerance(100, nx.dtype)
    assert np.abs(numpy64(intercept.contrasts(nx.asarray(np.ones((5, 2)) * 7)))).max() < 100 * nx.eps


def test_labels_without_the_mean_or_without_the_shrinking_are_wrong(rng):
    """Dropping a hypothesis: labels carry the intercept and one lam_S, and no other."""
    W, b, Phi_S = rng.normal(size=(4, 2)), rng.normal(size=(1, 2)), rng.normal(size=(9, 4)) + 1
    Y_S = intercept.labels(Phi_S, W, b, 0.5)
    assert_exact(Phi_S, Y_S, 0.5, W, b)
    assert error(retrain(Phi_S, Y_S, 1.0)[0], W) > 1e-2
    assert error(retrain(Phi_S, Phi_S @ W + b, 0.5)[0], W) > 1e-2
    assert error(retrain(Phi_S, Y_S - b, 0.5)[1], b) > 0.5


def test_features_that_span_w_only_before_centring_are_refused(rng):
    W, b = rng.normal(size=(6, 2)), np.zeros((1, 2))
    Phi_S = W.T.copy()  # two rows that span both columns; centred, they are one
    with pytest.raises(
        ValueError, match=r"the 2 rows of Phi_S \(rank 1 after centring\) miss a fraction 0\.\d+ of W \(rank 2\)"
    ):
        intercept.labels(Phi_S, W, b)
    with pytest.raises(ValueError, match="span the columns of W after centring"):
        intercept.exact_set(rng.normal(size=(4, 6)), W, b)  # no choose: these rows do not span W
    Phi_S = np.concatenate([W.T, np.zeros((1, 6))])  # the origin as a third point is enough
    assert_exact(Phi_S, intercept.labels(Phi_S, W, b), 0.0, W, b)


def test_constant_targets_are_an_intercept_alone(rng):
    X = rng.normal(size=(9, 4))
    W, b = intercept.fit(X, np.full((9, 2), 3.0), 0.1)
    assert np.abs(W).max() < 1e-14 and np.allclose(b, 3.0)
    Phi_S, Y_S, _ = intercept.exact_set(X[:1], np.zeros((4, 2)), b)  # rank 0: one point
    assert np.array_equal(Phi_S, X[:1]) and np.array_equal(Y_S, b)


@in_each_dtype
@settings(max_examples=120, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 8), st.data())
def test_sets_are_exact_over_shapes_ranks_scales_and_means(nx, p, k, rank, extra, data):
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng, rank = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), min(rank, p, k)
    scale, lam = 10.0 ** data.draw(st.integers(-8, 8)), data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    W = conditioned(rng, p, k, 10, rank=rank) / scale
    b, m = rng.normal(size=(1, k)), rank + 1 + extra
    Phi_0 = scale * (rng.normal(size=(m, p)) + data.draw(st.sampled_from([0.0, 1.0, 100.0])))
    if data.draw(st.booleans()):
        Phi_0[:, rng.random(p) < 0.3] = scale
    if m > 2 and data.draw(st.booleans()):
        Phi_0[1] = Phi_0[0]
    arrays = [nx.asarray(A) for A in (Phi_0, W, b)]
    Phi_0, W, b = copies = [numpy64(A).copy() for A in arrays]  # as they were rounded
    if np.abs(Phi_0 - Phi_0.mean(0)).max() <= tolerance(10, nx.dtype) * np.abs(Phi_0).max():
        return  # one point, many times: no scale to keep
    try:
        distilled = intercept.exact_set(*arrays, lam * scale**2, choose=nearest.nearest)
    except ValueError as refused:  # in float32 a mean of a hundred times the spread leaves too few digits
        t = np.linalg.svd(numpy64(nearest.nearest(intercept.contrasts(arrays[0]), arrays[1])), compute_uv=False)
        rounding = nx.eps * np.linalg.norm(Phi_0, 2) / np.min(t[t > nx.eps * t[0]])
        assert nx.eps > 1e-9 and rounding > 0.01 * nx.eps**0.5
        assert re.search("as rounding costs about|no digit of W may be left", str(refused))  # for labels; for points
        return
    assert nx.is_mine(distilled.Phi_S) and nx.is_mine(distilled.Y_S)
    W_S, b_S, condition = retrain(*distilled)
    assert error(W_S, W) < tolerance(condition, nx.dtype)
    Phi_S, Y_S = numpy64(distilled.Phi_S), numpy64(distilled.Y_S)
    size = np.linalg.norm(b) + np.linalg.norm(Phi_S) * np.linalg.norm(W) + np.linalg.norm(Y_S)
    assert np.linalg.norm(b_S - b) < tolerance(condition, nx.dtype) * size
    assert all(np.array_equal(A, numpy64(B)) for A, B in zip(copies, arrays, strict=True))


def test_numpy_and_torch_agree(rng):
    torch = pytest.importorskip("torch")
    W, b, Phi_0 = rng.normal(size=(8, 3)), rng.normal(size=(1, 3)), rng.normal(size=(6, 8))
    ours = intercept.exact_set(Phi_0, W, b, 0.3, choose=nearest.nearest)
    theirs = intercept.exact_set(*map(torch.tensor, (Phi_0, W, b)), 0.3, choose=nearest.nearest)
    assert error(theirs.Phi_S, ours.Phi_S) < tolerance(100, "float64")
    assert error(theirs.Y_S, ours.Y_S) < tolerance(100, "float64")


def test_gradients_flow_where_singular_values_are_distinct(rng):
    torch = pytest.importorskip("torch")
    A, W, b = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((5, 7), (7, 2), (1, 2)))
    assert torch.autograd.gradcheck(
        lambda A, W, b: intercept.exact_set(A, W, b, 0.3, choose=nearest.nearest)[:2], (A, W, b)
    )
    assert torch.autograd.gradcheck(lambda A, W: intercept.fit(A, A @ W, 0.3), (A, W))


def test_arrays_stay_on_their_device(rng):
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    Phi_0, W, b = (xp.asarray(rng.normal(size=s), device=device) for s in ((5, 6), (6, 2), (1, 2)))
    distilled = intercept.exact_set(Phi_0, W, b, 0.1, choose=nearest.nearest)
    assert distilled.Phi_S.device == device and distilled.Y_S.device == device
    model = intercept.fit(*distilled)
    assert model.W.device == device and model.b.device == device
    assert float(xp.max(xp.abs(model.W - W))) < 1e-10


PHI, W_OK, B = np.arange(12.0).reshape(3, 4) ** 2, np.eye(4)[:, :2], np.zeros((1, 2))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: intercept.exact_set(PHI[:2], W_OK, B),
            ValueError,
            r"Phi_0 has 2 rows and W has rank 2: .* use 3 rows",
        ),
        (
            lambda: intercept.exact_set(PHI[:, :3], W_OK, B),
            ValueError,
            r"Phi_0 \(m, p\), W \(p, k\), b \(1, k\) do not",
        ),
        (lambda: intercept.exact_set(PHI, W_OK, B.T), ValueError, r"do not fit: .* \(3, 4\), \(4, 2\), \(2, 1\)"),
        (lambda: intercept.labels(PHI, W_OK, B[:, :1]), ValueError, r"Phi_S \(m, p\), W \(p, k\), b \(1, k\) do not"),
        (lambda: intercept.labels(PHI, W_OK, B, -1.0), ValueError, "lam_S = -1.0 must be finite and not negative"),
        (lambda: intercept.labels(PHI, W_OK, B * np.nan), ValueError, "b contains NaN or Inf"),
        (
            lambda: intercept.exact_set(PHI, W_OK, B, choose=lambda A, W: A[:1]),
            ValueError,
            "choose must return features of",
        ),
        (lambda: intercept.exact_set(PHI, W_OK, B, choose=lambda A, W: 0 * A), ValueError, "miss a fraction 1 of W"),
        (lambda: intercept.contrasts(PHI[:1]), ValueError, "Phi has 1 row: nothing is left"),
        (lambda: intercept.fit(PHI, W_OK, 0.0), ValueError, r"Phi \(n, p\), Y \(n, k\) do not fit: .* \(3, 4\), \(4, 2\)"),
        (lambda: intercept.fit(PHI, B, np.inf), ValueError, "lam = inf"),
        (lambda: intercept.fit(PHI.astype(int), B, 0.0), TypeError, "Phi has dtype int64"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_mean_far_larger_than_the_spread_leaves_no_trace():
    """The mean of such a column is itself rounded: centring once would leave the difference in every row."""
    x = np.array([[0.0], [2.0], [6.0], [8.0], [14.0], [16.0], [22.0]])
    W, _ = intercept.fit(2.0**53 + x, 3 * x, 5.0)
    spread = np.sum((x - x.mean()) ** 2)
    assert W[0, 0] == pytest.approx(3 * spread / (spread + 5), rel=1e-14)
    assert np.linalg.norm(intercept.contrasts(2.0**53 + x)) == pytest.approx(np.sqrt(spread), rel=1e-14)


def test_two_rows_have_a_contrast_and_rank_plus_one_rows_are_enough():
    assert intercept.contrasts(np.array([[1.0], [4.0]])).shape == (1, 1)
    W, b = np.eye(3, 2), np.zeros((1, 2))
    assert intercept.exact_set(np.diag([1.0, 1.0, 0.0]), W, b).Phi_S.shape == (3, 3)
    with pytest.raises(ValueError, match="no exact set has fewer than 3 points"):
        intercept.exact_set(np.eye(3)[:2], W, b)


def test_a_single_row_has_no_contrast_and_two_are_chosen_for(rng):
    with pytest.raises(ValueError, match="Phi has 1 row: nothing is left of it after centring"):
        intercept.contrasts(np.ones((1, 3)))
    W = np.array([[2.0], [0.0], [0.0]])
    Phi_S, _, _ = intercept.exact_set(rng.normal(size=(2, 3)), W, np.zeros((1, 1)), choose=nearest.nearest)
    assert np.abs((Phi_S[1] - Phi_S[0])[1:]).max() < 1e-14 < abs(Phi_S[1, 0] - Phi_S[0, 0])


@pytest.mark.parametrize("spread, kept", [(78, True), (64, False)])
def test_at_lam_zero_a_spread_counts_from_the_larger_side_times_eps_of_the_uncentred_rows(spread, kept):
    """2 rows of size sqrt(2), 50 columns: the cutoff is 50 * sqrt(2) = 70.7 eps."""
    Phi = np.zeros((2, 50))
    Phi[:, 0], Phi[1, 1] = 1.0, np.sqrt(2) * spread * 2.0**-52
    W, _ = intercept.fit(Phi, np.array([[0.0], [1.0]]), 0.0)
    assert (W[1, 0] > 0) == kept
    assert not intercept.fit(0 * Phi, np.array([[0.0], [1.0]]), 0.0).W.any()


def test_labels_are_refused_where_rounding_may_take_a_tenth_of_w():
    """Scanned in the mean: the first refused loses just above a tenth, and at a mean 3 % smaller nothing is refused."""
    W, b, taken, refused = np.ones((1, 1)), np.zeros((1, 1)), [], []
    for mean in np.geomspace(1e10, 1e15, 400):
        Phi_S = mean + np.array([[0.0], [1.0]])
        try:
            intercept.labels(Phi_S, W, b)
            taken.append(mean)
        except ValueError as error:
            refused.append((mean, float(str(error).split("about a fraction ")[1].split()[0])))
            assert intercept.labels(Phi_S, W, b, span_tol=1e9).shape == (2, 1)  # who allows more, gets it
    assert 0.1 <= refused[0][1] < 0.11 and taken[-1] < refused[0][0] < 1.1 * taken[-1]
