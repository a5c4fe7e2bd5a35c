"""ddref.nearest: exact sets refitted by an oracle, a bound that an optimiser cannot beat, refusals by name."""


import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import EPS, conditioned, error, numpy64, refit, words
from ddref import distill, nearest
from ddref.measure import tolerance

P, R = 24, 4


def outside(Phi_0, W, rtol=1e-5):
    """Orthonormal basis of W's columns and Phi_0 in a basis of their complement, from one full SVD: the obvious way."""
    U, s, _ = np.linalg.svd(W)
    r = int(np.sum(s > rtol * s[0]))
    return U[:, :r], Phi_0 @ U[:, r:], U[:, r:]


def bound(Phi_0, W):
    """The lower bound from its definition: the r smallest of m singular values, zeros padded."""
    Q, N, _ = outside(Phi_0, W)
    s = np.zeros(len(Phi_0))
    values = np.linalg.svd(N, compute_uv=False)[: len(Phi_0)]
    s[: len(values)] = values
    return float(np.linalg.norm(np.sort(s)[: Q.shape[1]]))


def textbook(Phi_0, W):
    """The closed form as it stands in the theorem, right or wrong."""
    Q, N, E = outside(Phi_0, W)
    U, s, Vh = np.linalg.svd(N, full_matrices=False)
    c = max(len(Phi_0) - Q.shape[1], 0)
    return Phi_0 @ Q @ Q.T + (U[:, :c] * s[:c]) @ Vh[:c] @ E.T


def assert_exact(Phi_S, W, lams=(0.0, 0.7, 50.0)):
    dtype = str(W.dtype).removeprefix("torch.")
    scale = float(np.linalg.norm(numpy64(Phi_S), 2)) ** 2
    for lam_S in lams:
        Y_S = distill.labels(Phi_S, W, lam_S * scale)
        W_S, condition = refit(Phi_S, Y_S, lam_S * scale)
        condition = max(condition, np.linalg.cond(numpy64(Phi_S)))
        assert error(W_S, W) < tolerance(condition, dtype), (lam_S, condition)


@pytest.mark.parametrize("m", [R, R + 1, 3 * R, P - 1, P, P + 9])
def test_nearest_is_exact_at_the_distance_of_the_bound_for_every_lam(nx, rng, m):
    W, Phi_0 = nx.asarray(conditioned(rng, P, R, 10)), nx.asarray(conditioned(rng, m, P, 30))
    Phi_S = nearest.nearest(Phi_0, W)
    assert nx.is_mine(Phi_S) and tuple(Phi_S.shape) == (m, P)
    assert_exact(Phi_S, W)
    distance = float(np.linalg.norm(numpy64(Phi_S) - numpy64(Phi_0)))
    expected, size = bound(numpy64(Phi_0), numpy64(W)), np.linalg.norm(numpy64(Phi_0))
    assert abs(nearest.nearest_lower_bound(Phi_0, W) - expected) < tolerance(1, nx.dtype) * size
    assert abs(distance - expected) < 1e-6 * expected + tolerance(1, nx.dtype) * size
    assert (expected > 0) == (m < P)


def test_nearest_needs_a_part_of_w_in_the_start_or_it_is_only_an_infimum(rng):
    """Rows orthogonal to W: the closed form does not contain W at all, and no exact set attains the bound."""
    W = conditioned(rng, P, 2, 3)
    Q, _, E = outside(np.zeros((1, P)), W)
    Phi_0 = rng.normal(size=(6, P - 2)) @ E.T
    assert np.abs(textbook(Phi_0, W) @ Q).max() < 1e-13
    Phi_S = nearest.nearest(Phi_0, W)
    assert_exact(Phi_S, W)
    low, distance = nearest.nearest_lower_bound(Phi_0, W), np.linalg.norm(Phi_S - Phi_0)
    assert low * (1 + 1e-13) < distance < low * (1 + 1e-6)
    closer = np.linalg.norm(nearest.nearest(Phi_0, W, max_condition=1e9) - Phi_0)
    assert low * (1 - 1e-13) < closer < distance


DEFECTS = {
    "pixels that are 0 in every row": lambda A: A * (np.arange(A.shape[1]) % 3 > 0),
    "repeated rows": lambda A: A[np.arange(len(A)) // 2],
    "all rows equal": lambda A: np.repeat(A[:1], len(A), axis=0),
    "low rank": lambda A: A @ conditioned(np.random.default_rng(1), A.shape[1], A.shape[1], 3, rank=5),
    "tiny singular values": lambda A: A @ np.diag(np.logspace(0, -14, A.shape[1])),
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("m", [R, R + 3, P, P + 9])
def test_a_start_that_cannot_carry_w_is_repaired_and_the_textbook_formula_is_wrong_there(nx, rng, m, defect):
    W, Phi_0 = nx.asarray(conditioned(rng, P, R, 10)), nx.asarray(DEFECTS[defect](rng.normal(size=(m, P))))
    Phi_S = nearest.nearest(Phi_0, W)
    assert nx.is_mine(Phi_S)
    assert_exact(Phi_S, W)
    bits = 64 if nx.dtype == "float64" else 32
    assert np.linalg.cond(numpy64(Phi_S)) <= nearest.MAX_CONDITION[bits] * (1 + 1e-3)
    distance = np.linalg.norm(numpy64(Phi_S) - numpy64(Phi_0))
    expected, size = bound(numpy64(Phi_0), numpy64(W)), np.linalg.norm(numpy64(Phi_0))
    assert distance > expected - tolerance(1, nx.dtype) * size
    if nx.dtype == "float64":
        assert distance < np.hypot(expected, 2.1 * np.sqrt(P) * size / nearest.MAX_CONDITION[64])  # all raised, floor twice
    if nx.dtype == "float64" and defect == "pixels that are 0 in every row" and m >= P:
        Phi_T = textbook(numpy64(Phi_0), numpy64(W))
        W_T = np.linalg.pinv(Phi_T, rcond=1e-12) @ (Phi_T @ numpy64(W))
        assert error(W_T, W) > 0.1  # silently wrong


def test_no_more_directions_are_raised_than_are_missing(nx, rng):
    """12 rows: 5 outside W, 2 inside, 5 of zeros; 3 + 9 directions are needed, so 1 is missing inside and 4 outside."""
    W = conditioned(rng, P, 3, 2)
    Q, _, E = outside(np.zeros((1, P)), W)
    Phi_0 = np.zeros((12, P))
    Phi_0[:5] = np.linalg.qr(rng.normal(size=(P - 3, 5)))[0].T @ E.T
    Phi_0[5:7] = Q[:, :2].T
    Phi_0, W = nx.asarray(Phi_0[rng.permutation(12)]), nx.asarray(W)
    limit = 100.0
    Phi_S = nearest.nearest(Phi_0, W, max_condition=limit)
    t = np.linalg.svd(numpy64(Phi_S), compute_uv=False)
    assert np.allclose(t[:7], 1, atol=1e-3) and np.allclose(t[7:], t[-1], rtol=1e-4)
    assert np.linalg.norm(numpy64(Phi_S) - numpy64(Phi_0)) == pytest.approx(np.sqrt(5) * t[-1], rel=1e-3)
    assert 1 / limit <= t[-1] * (1 + 1e-3) and t[-1] <= 2.01 / limit


@pytest.mark.parametrize("max_condition", [3, 30, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("m", [R, 2 * R, P, P + 5])
def test_the_condition_number_stays_under_the_one_asked_for_and_distance_falls_with_it(rng, m, max_condition):
    W, Phi_0 = conditioned(rng, P, R, 10), DEFECTS["pixels that are 0 in every row"](rng.normal(size=(m, P)))
    Phi_S = nearest.nearest(Phi_0, W, max_condition=max_condition)
    assert np.linalg.cond(Phi_S) <= max_condition * (1 + 1e-6)
    assert_exact(Phi_S, W)
    if max_condition > 3:
        closer = np.linalg.norm(Phi_S - Phi_0)
        assert closer <= np.linalg.norm(nearest.nearest(Phi_0, W, max_condition=3) - Phi_0)
        assert closer >= nearest.nearest_lower_bound(Phi_0, W) * (1 - 1e-12)


def test_a_set_that_is_exact_already_comes_back_to_the_last_bit_and_as_a_copy(nx, rng):
    W, Phi_0 = nx.asarray(conditioned(rng, P, R, 10)), nx.asarray(rng.normal(size=(11, P)))
    Phi_S = nearest.nearest(Phi_0, W)
    again = nearest.nearest(Phi_S, W)
    assert np.array_equal(numpy64(again), numpy64(Phi_S)) and again is not Phi_S
    assert nearest.nearest_lower_bound(Phi_S, W) == 0.0
    many = nx.asarray(rng.normal(size=(P + 3, P)))
    assert np.array_equal(numpy64(nearest.nearest(many, W)), numpy64(many))


def test_training_data_that_lack_directions_but_carry_their_own_model_are_not_moved(rng):
    """Bound 0 and attained although the start is rank deficient: W of a ridge fit lies in the span of its data."""
    X = conditioned(rng, 40, 20, 30, rank=11)
    W = np.linalg.solve(X.T @ X + 0.1 * np.eye(20), X.T @ rng.normal(size=(40, 3)))
    Phi_S = nearest.nearest(X, W)
    assert np.array_equal(Phi_S, X)
    assert error(refit(Phi_S, distill.labels(Phi_S, W), 0.0)[0], W) < tolerance(30, "float64")


def test_w_of_zero_and_rank_deficient_w(rng):
    Phi_0 = rng.normal(size=(3, 6))
    assert np.array_equal(nearest.nearest(Phi_0, np.zeros((6, 2))), Phi_0)
    assert nearest.nearest_lower_bound(Phi_0, np.zeros((6, 2))) == 0.0
    W = conditioned(rng, 6, 5, 4, rank=2)
    Phi_S = nearest.nearest(Phi_0, W)  # 3 points do for rank 2, not for 5 columns
    assert_exact(Phi_S, W)
    assert np.linalg.norm(Phi_S - Phi_0) == pytest.approx(bound(Phi_0, W), rel=1e-9)
    full = nearest.nearest(rng.normal(size=(4, 2)), conditioned(rng, 2, 3, 2))  # rank(W) = p: nothing is outside
    assert full.shape == (4, 2)


def test_the_rank_cutoff_of_w_is_1e_10_and_what_it_drops_is_said(rng):
    W = np.linalg.qr(rng.normal(size=(8, 3)))[0] * [1.0, 1.0, 1e-11]
    Phi_0 = rng.normal(size=(2, 8))
    with pytest.warns(UserWarning, match="drops a fraction 7.1e-12 of W; pass a smaller rtol"):
        assert nearest.nearest(Phi_0, W).shape == (2, 8)
    with pytest.raises(ValueError, match="Phi_0 has 2 rows and W has rank 3"):
        nearest.nearest(Phi_0, W, rtol=1e-12)


# -- the default limit


def rows(*diagonal, p):
    """Rows with one entry each, in the columns named: no arithmetic is needed to see their singular values."""
    A = np.zeros((len(diagonal), p))
    for row, entries in zip(A, diagonal, strict=True):
        for column, value in entries.items():
            row[column] = value
    return A


def test_the_closed_form_is_kept_up_to_the_limit_and_raised_to_it_beyond():
    # W needs the columns 0 and 1. The closed form drops 0.5 and 0.4 (bound 0.64) and keeps 1, 0.7 and 3e-6
    W = rows({0: 1.0}, {1: 1e-3}, p=5).T
    Phi_0 = rows({2: 1.0}, {0: 0.7, 3: 0.5}, {1: 3e-6, 4: 0.4}, p=5)
    Phi_S, low = nearest.nearest(Phi_0, W), nearest.nearest_lower_bound(Phi_0, W)
    assert low == pytest.approx(np.hypot(0.5, 0.4), rel=1e-15)
    assert np.linalg.norm(Phi_S - Phi_0) == pytest.approx(low, rel=1e-14)
    assert np.linalg.svd(Phi_S, compute_uv=False) == pytest.approx([1, 0.7, 3e-6])
    raised = nearest.nearest(Phi_0, W, max_condition=1e3)
    size = np.linalg.norm(Phi_0, 2)
    assert np.linalg.svd(raised, compute_uv=False) == pytest.approx([1, 0.7, 1.01e-3 * size])
    assert np.linalg.norm(raised - Phi_0) == pytest.approx(np.hypot(low, 1.01e-3 * size - 3e-6))


def test_points_that_carry_w_are_kept_up_to_a_condition_number_of_a_million():
    W = rows({2: 1.0}, p=3).T
    kept, beyond = np.diag([1.0, 0.5, 3e-6]), np.diag([1.0, 0.5, 3e-7])
    assert np.array_equal(nearest.nearest(kept, W), kept)
    Phi_S = nearest.nearest(beyond, W)
    assert np.linalg.cond(Phi_S) <= 1e6
    assert np.linalg.norm(Phi_S - beyond) == pytest.approx(1.01e-6 - 3e-7)
    assert np.array_equal(nearest.nearest(beyond, W, max_condition=1e7), beyond)
    raised = nearest.nearest(kept, W, max_condition=5e4)
    assert np.linalg.norm(raised - kept) == pytest.approx(1.01 / 5e4 - 3e-6)


def test_the_condition_number_counts_from_the_size_that_is_given(rng):
    """Differences of features near 1e3 carry the rounding of 1e3, whatever their own size."""
    W, A = rows({0: 1.0}, p=3).T, np.diag([1.0, 0.5, 3e-3])
    assert np.array_equal(nearest.nearest(A, W, max_condition=1e3, size=1.0), A)
    raised = nearest.nearest(A, W, max_condition=1e3, size=100.0)
    assert np.linalg.svd(raised, compute_uv=False) == pytest.approx([1, 0.5, 0.101])
    zero = nearest.nearest(0 * A, W, max_condition=1e3, size=100.0)  # a scale from outside
    assert np.linalg.svd(zero, compute_uv=False) == pytest.approx([0.101] * 3)


def test_rows_are_truncated_to_as_many_directions_as_asked_for(nx, rng):
    """Five rows whose span and that of Q have dimension 3: one direction is left outside Q."""
    A, Q = nx.asarray(rng.normal(size=(5, 9))), nx.asarray(np.linalg.qr(rng.normal(size=(9, 2)))[0])
    B, U, s, V = nearest.truncated(A, Q, 3)
    whole = np.concatenate([numpy64(B), numpy64(Q).T])
    assert np.linalg.matrix_rank(whole, tol=1e-4) == 3 and tuple(s.shape) == (1,)
    outside_Q = numpy64(B) @ (np.eye(9) - numpy64(Q) @ numpy64(Q).T)
    assert error((numpy64(U) * numpy64(s)) @ numpy64(V).T, outside_Q) < tolerance(10, nx.dtype)
    best = np.linalg.svd(numpy64(A) @ (np.eye(9) - numpy64(Q) @ numpy64(Q).T), compute_uv=False)[1:]
    assert np.linalg.norm(numpy64(B) - numpy64(A)) == pytest.approx(np.linalg.norm(best), rel=1e-5)


def test_where_no_rows_are_well_conditioned_the_last_condition_number_is_said():
    A, Q = np.diag([1.0, 1e-9]), np.eye(2)[:, 1:]
    with pytest.raises(ValueError, match=r"no rows near these have a condition number up to 10; the last had 50, ask"):
        nearest.spanning_rows(A, Q, 10.0, lambda B: 50.0, hint=", ask for more")


# -- an independent optimiser


def competitor(Phi_0, W, seed):
    """Nearest exact set by L-BFGS over the dual coefficients alpha, ``W = Phi^T alpha``; it knows no singular vector.

    For one alpha the nearest Phi is ``Phi_0 + alpha L^T`` with ``L = (W - Phi_0^T alpha) (alpha^T alpha)^-1``, and the
    derivative of the squared distance is ``-2 Phi L``.
    """
    optimize = pytest.importorskip("scipy.optimize")
    rng, (m, k) = np.random.default_rng(seed), (len(Phi_0), W.shape[1])

    def nearest_for(alpha):
        L = np.linalg.solve(alpha.T @ alpha, (W - Phi_0.T @ alpha).T).T
        return Phi_0 + alpha @ L.T, L

    def objective(x):
        Phi, L = nearest_for(x.reshape(m, k))
        return np.sum((Phi - Phi_0) ** 2), (-2 * Phi @ L).ravel()

    alpha = np.linalg.pinv(Phi_0.T) @ W if seed == 0 else rng.normal(size=(m, k))
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    best = optimize.minimize(objective, alpha.ravel(), jac=True, method="L-BFGS-B", options=options)
    return nearest_for(best.x.reshape(m, k))[0]


@pytest.mark.parametrize("shape", [(3, 6, 2), (4, 7, 3), (5, 6, 2), (2, 5, 2), (1, 4, 1), (4, 9, 1)])
def test_an_independent_optimiser_never_beats_the_bound_and_comes_close(shape):
    m, p, k = shape
    rng = np.random.default_rng(sum(shape))
    Phi_0, W = rng.normal(size=(m, p)), rng.normal(size=(p, k))
    low, found = nearest.nearest_lower_bound(Phi_0, W), []
    for seed in (0, 1):
        Phi_S = competitor(Phi_0, W, seed)
        # its sets are exact, as far as rounding lets one see where a start runs off to ill-conditioned ones
        assert error(refit(Phi_S, Phi_S @ W, 0.0)[0], W) < (1e-10 if seed == 0 else 1e-4)
        found.append(np.linalg.norm(Phi_S - Phi_0))
    assert min(found) >= low * (1 - 1e-9)
    assert min(found) <= low * 1.01 + 1e-9  # a real competitor, or the test would prove nothing
    assert np.linalg.norm(nearest.nearest(Phi_0, W) - Phi_0) <= min(found) * (1 + 1e-9) + 1e-14


def test_random_exact_sets_never_beat_the_bound(rng):
    Phi_0, W = rng.normal(size=(6, 10)), rng.normal(size=(10, 3))
    low = nearest.nearest_lower_bound(Phi_0, W)
    best = nearest.nearest(Phi_0, W)
    for step in np.logspace(-6, 0, 40):  # neighbours of the minimiser, exact again after the smallest correction
        alpha = np.linalg.pinv(best.T) @ W + step * rng.normal(size=(6, 3))
        near = best + step * rng.normal(size=best.shape)
        near = near + np.linalg.pinv(alpha).T @ (W - near.T @ alpha).T
        assert error(np.linalg.pinv(near) @ (near @ W), W) < 1e-9
        assert np.linalg.norm(near - Phi_0) >= low


# -- labels given


@pytest.mark.parametrize("m", [R, R + 1, 3 * R, P + 9])
def test_nearest_given_labels_fits_them_and_is_exact(nx, rng, m):
    W, Phi_0 = nx.asarray(conditioned(rng, P, R, 10)), nx.asarray(conditioned(rng, m, P, 20))
    Y_S = nx.asarray(np.eye(R)[np.arange(m) % R] + 0.1 * rng.normal(size=(m, R)))
    Phi_S = nearest.nearest_given_labels(Phi_0, W, Y_S)
    assert nx.is_mine(Phi_S)
    W_S, condition = refit(Phi_S, Y_S, 0.0)
    assert error(W_S, W) < tolerance(condition, nx.dtype)
    assert error(numpy64(Phi_S) @ numpy64(W), Y_S) < tolerance(10, nx.dtype)
    closer = np.linalg.norm(numpy64(nearest.nearest(Phi_0, W)) - numpy64(Phi_0))
    assert closer <= np.linalg.norm(numpy64(Phi_S) - numpy64(Phi_0)) * (1 + 1e-6)


def test_nearest_given_labels_is_the_nearest_of_the_sets_that_fit(rng):
    W, Phi_0, Y_S = rng.normal(size=(9, 2)), rng.normal(size=(5, 9)), rng.normal(size=(5, 2))
    Phi_S = nearest.nearest_given_labels(Phi_0, W, Y_S)
    best, E = np.linalg.norm(Phi_S - Phi_0), outside(Phi_0, W)[2]
    fixed = Y_S @ np.linalg.pinv(W)  # every set that fits is this plus rank m - r rows outside W
    U, _, Vh = np.linalg.svd((Phi_S - fixed) @ E, full_matrices=False)
    for step in np.logspace(-6, 0, 40):
        left = U[:, :3] + step * rng.normal(size=(5, 3))  # the best right factor for this left one is least squares
        other = fixed + left @ np.linalg.lstsq(left, (Phi_0 - fixed) @ E, rcond=None)[0] @ E.T
        assert error(refit(other, Y_S, 0.0)[0], W) < 1e-6
        assert np.linalg.norm(other - Phi_0) >= best * (1 - 1e-12)


def test_nearest_given_predictions_as_labels_is_the_nearest_of_all(rng):
    W, Phi_0 = rng.normal(size=(9, 2)), rng.normal(size=(5, 9))
    Phi_S = nearest.nearest_given_labels(Phi_0, W, Phi_0 @ W)
    assert error(Phi_S, nearest.nearest(Phi_0, W)) < tolerance(100, "float64")


def test_an_exact_set_that_does_not_fit_its_labels_is_moved_although_it_need_not_be(rng):
    """Two points at one place with labels 2 and 4 train 3; fitting both exactly needs two different points."""
    W, Phi_0, Y_S = np.array([[3.0]]), np.array([[1.0], [1.0]]), np.array([[2.0], [4.0]])
    assert error(refit(Phi_0, Y_S, 0.0)[0], W) < 1e-15
    Phi_S = nearest.nearest_given_labels(Phi_0, W, Y_S)
    assert np.linalg.norm(Phi_S - Phi_0) > 0.4 and error(Phi_S @ W, Y_S) < 1e-15


def test_given_labels_outside_the_hypotheses_are_refused_with_numbers(rng):
    W, Phi_0 = conditioned(rng, 9, 3, 4, rank=2), rng.normal(size=(5, 9))
    with pytest.raises(ValueError, match=r"a fraction 0\.\d+ of the labels is outside the row space of W \(rank 2"):
        nearest.nearest_given_labels(Phi_0, W, rng.normal(size=(5, 3)))
    W = conditioned(rng, 9, 3, 4)
    Y_S = np.eye(3)[[0, 1, 1, 0, 1]]  # no row of the third class
    with pytest.raises(ValueError, match=r"rank 4, .* miss a fraction 0\.\d+ of W: N\^T Y_S W\^\+ Q.* column rank 3"):
        nearest.nearest_given_labels(Phi_0, W, Y_S)
    Y_S = np.eye(3)[[0, 1, 2, 0, 1]] * [1, 1, 1e-7]
    with pytest.raises(ValueError, match=r"condition number \d\.\d+e\+\d+ \(at most 1e\+03 is allowed"):
        nearest.nearest_given_labels(Phi_0, W, Y_S, max_condition=1e3)
    with pytest.raises(ValueError, match="of the labels is outside the row space of W"):
        nearest.nearest_given_labels(Phi_0, 0 * W, Y_S)
    assert np.array_equal(nearest.nearest_given_labels(Phi_0, 0 * W, 0 * Y_S), Phi_0)


# -- the published choice


@pytest.mark.parametrize("m", [R, R + 2, P + 6])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_nearest_pseudoinverse_is_exact_and_nearest_among_pseudoinverses(nx, rng, m, fraction):
    W, Phi_0 = nx.asarray(conditioned(rng, P, R, 10)), nx.asarray(conditioned(rng, m, P, 5, scale=9.0))
    Y_S = nx.asarray(np.eye(R)[np.arange(m) % R])
    A, B, Y = numpy64(Phi_0), numpy64(W), numpy64(Y_S)

    def carrier(lam):
        Z = np.linalg.pinv(A) if lam == 0 else A.T @ np.linalg.inv(A @ A.T + lam * np.eye(m))
        return B @ np.linalg.pinv(Y) + Z @ (np.eye(m) - Y @ np.linalg.pinv(Y)), Z

    lam_S = 0.0
    for _ in range(200 if fraction else 0):  # D depends on lam_S, so the largest lam_S is a fixed point
        lam_S = 0.25 / np.linalg.norm(carrier(lam_S)[0], 2) ** 2
    lam_S = float(fraction * lam_S)
    Phi_S = nearest.nearest_pseudoinverse(Phi_0, W, Y_S, lam_S)
    assert nx.is_mine(Phi_S)
    W_S, condition = refit(Phi_S, Y_S, lam_S)
    assert error(W_S, W) < tolerance(max(condition, 10), nx.dtype)
    D, Z = carrier(lam_S)
    S = numpy64(Phi_S)
    D_S = np.linalg.pinv(S, rcond=1e-5) if lam_S == 0 else S.T @ np.linalg.inv(S @ S.T + lam_S * np.eye(m))
    slack = tolerance(100, nx.dtype) if fraction < 1 else 10 * nx.eps**0.5  # branches merge: q is about sqrt(eps)
    assert error(D_S, D) < slack
    for _ in range(20):  # any other pseudo-inverse that carries W is farther from Z
        other = D + rng.normal(size=D.shape) @ (np.eye(m) - Y @ np.linalg.pinv(Y))
        assert np.linalg.norm(other - Z) >= np.linalg.norm(D - Z) * (1 - 1e-12)


def test_nearest_pseudoinverse_is_farther_in_features_than_the_nearest(rng):
    W, Phi_0 = conditioned(rng, P, R, 10), conditioned(rng, 3 * R, P, 100, scale=9.0)
    paper = nearest.nearest_pseudoinverse(Phi_0, W, Phi_0 @ W)
    assert error(refit(paper, Phi_0 @ W, 0.0)[0], W) < tolerance(1e3, "float64")
    assert error(paper, Phi_0) > 3 * error(nearest.nearest(Phi_0, W), Phi_0)


def test_nearest_pseudoinverse_refuses_what_the_corollary_excludes(rng):
    W, Phi_0, Y_S = conditioned(rng, 9, 3, 4), rng.normal(size=(5, 9)), np.eye(3)[[0, 1, 2, 0, 1]]
    with pytest.raises(ValueError, match=r"lam_S = 50 exceeds 1/\(4 s_max\^2\) = 0\.\d+; scale Y_S by at least \d"):
        nearest.nearest_pseudoinverse(Phi_0, W, Y_S, 50.0)
    with pytest.raises(ValueError, match=r"labels cannot carry W: a fraction 0\.\d+ of it is lost in W Y_S\^\+ Y_S"):
        nearest.nearest_pseudoinverse(Phi_0, W, Y_S * [1, 1, 0])
    with pytest.raises(ValueError, match="lam_S = -1.0 must be finite and not negative"):
        nearest.nearest_pseudoinverse(Phi_0, W, Y_S, -1)
    zero = nearest.nearest_pseudoinverse(Phi_0, 0 * W, np.eye(5)[:, :3], 1e-3)[:3]  # W = 0: labelled points of zero
    assert np.abs(zero).max() < 1e-12


@pytest.mark.filterwarnings("ignore:the rank cutoff drops")
def test_a_published_set_that_does_not_train_w_is_refused_with_numbers(nx, rng):
    """W reaches out of the span of the points, and the labels do not fit them: the less, the larger the features.

    By 1e-3 (0.04 in float32) training still gives W to what rounding explains. By 1e-13 it is cut, and
    missed, and by 1e-6 in float32 nothing can be said.
    """
    Phi_0 = np.concatenate([np.eye(4), np.eye(4)])[:, [0, 1, 2, 3, 3]] * [1, 1, 1, 1, 0]
    inside, Y_S = rng.normal(size=(4, 2)), rng.normal(size=(8, 2))
    for outside in (nx.eps**0.2, nx.eps**0.8):
        args = [nx.asarray(A) for A in (Phi_0, np.concatenate([inside, [[outside, 0.0]]]), Y_S)]
        if outside > nx.eps**0.5:
            Phi_S = nearest.nearest_pseudoinverse(*args)
            assert nx.is_mine(Phi_S)
            continue
        with pytest.raises(
            ValueError, match=r"on these features misses W by [\d.e-]+ of its norm .* condition number is |no digit of W"
        ):
            nearest.nearest_pseudoinverse(*args)


def test_labels_of_a_rank_deficient_model_do_not_confuse_the_published_choice(rng):
    W, Phi_0 = conditioned(rng, 9, 4, 4, rank=3), rng.normal(size=(6, 9))
    Y_S = Phi_0 @ W  # rank 3, and a fourth singular value that is rounding
    assert error(refit(nearest.nearest_pseudoinverse(Phi_0, W, Y_S), Y_S, 0.0)[0], W) < tolerance(100, "float64")


# -- properties


@st.composite
def problems(draw):
    p, k, m = draw(st.integers(1, 10)), draw(st.integers(1, 4)), draw(st.integers(1, 14))
    rank = draw(st.integers(0, min(p, k)))
    defect = draw(st.sampled_from([None, "repeated rows", "constant columns", "zero columns", "one row", "low rank"]))
    return p, k, m, rank, defect, draw(st.integers(0, 2**32 - 1)), draw(st.integers(-8, 8)), draw(st.integers(-8, 8))


def build(problem):
    p, k, m, rank, defect, seed, scale, scale_W = problem
    rng = np.random.default_rng(seed)
    W = conditioned(rng, p, k, 10, rank=rank, scale=10.0**scale_W) if rank else np.zeros((p, k))
    Phi_0 = rng.normal(size=(m, p)) * 10.0**scale
    if defect == "repeated rows":
        Phi_0 = Phi_0[rng.integers(0, m, m)]
    elif defect == "one row":
        Phi_0 = Phi_0[np.zeros(m, dtype=int)]
    elif defect == "constant columns":
        Phi_0[:, rng.random(p) < 0.5] = 10.0**scale
    elif defect == "zero columns":
        Phi_0[:, rng.random(p) < 0.5] = 0.0
    elif defect == "low rank":
        Phi_0 = Phi_0 @ conditioned(rng, p, p, 10, rank=int(rng.integers(1, p + 1)))
    return Phi_0, W, rank


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_nearest_is_exact_well_conditioned_and_at_the_bound_where_attained(dtype, problem):
    Phi_0, W, rank = build(problem)
    Phi_0, W = Phi_0.astype(dtype), W.astype(dtype)
    copies = Phi_0.copy(), W.copy()
    if len(Phi_0) < rank:
        with pytest.raises(ValueError, match=rf"Phi_0 has {len(Phi_0)} rows and W has rank {rank}"):
            nearest.nearest(Phi_0, W)
        return
    if not Phi_0.any() and rank:
        with pytest.raises(ValueError, match="are zero, they have no scale to keep"):
            nearest.nearest(Phi_0, W)
        return
    limit = nearest.MAX_CONDITION[64 if dtype == "float64" else 32]
    size = np.linalg.norm(numpy64(Phi_0))
    Phi_S, low = nearest.nearest(Phi_0, W), nearest.nearest_lower_bound(Phi_0, W)
    assert Phi_S.dtype == dtype and all(np.array_equal(A, B) for A, B in zip(copies, (Phi_0, W), strict=True))
    if not rank:
        assert np.array_equal(Phi_S, Phi_0) and low == 0.0
        return
    W_S, condition = refit(Phi_S, distill.labels(Phi_S, W), 0.0)
    assert condition <= limit * (1 + 1e-3)
    assert error(W_S, W) < tolerance(condition, dtype)
    distance, rounding = np.linalg.norm(numpy64(Phi_S) - numpy64(Phi_0)), tolerance(1, dtype) * size
    assert abs(low - bound(numpy64(Phi_0), numpy64(W))) <= rounding
    assert low - rounding <= distance
    closed = textbook(numpy64(Phi_0), numpy64(W))
    if np.linalg.cond(closed) < limit / 2:  # attained, and within the limit
        assert distance <= low * (1 + 1e-6) + rounding
    elif (
        dtype == "float64"
    ):  # raised directions, at worst by a few times 1 / sqrt(limit), as the condition is cond(s) cond(h)
        assert distance <= low + 1.03 * np.sqrt(min(Phi_0.shape)) * size / limit + rounding


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_numpy_and_torch_agree(problem):
    torch = pytest.importorskip("torch")
    Phi_0, W, rank = build((*problem[:4], None, *problem[5:]))
    if len(Phi_0) < max(rank, 1) or not rank:
        return
    A, B = nearest.nearest(Phi_0, W), nearest.nearest(torch.tensor(Phi_0), torch.tensor(W))
    s = np.linalg.svd(outside(Phi_0, W)[1], compute_uv=False)
    gap = np.min(-np.diff(s)) / s[0] if len(s) > 1 else 1.0  # the truncation moves by eps / gap
    assert error(B, A) < tolerance(max(1 / max(gap, 1e-6), 1), "float64")
    low = nearest.nearest_lower_bound(Phi_0, W)
    assert abs(nearest.nearest_lower_bound(torch.tensor(Phi_0), torch.tensor(W)) - low) < 1e-12 * np.linalg.norm(Phi_0)


def test_gradients_flow_where_singular_values_are_distinct_and_are_nan_at_ties(rng):
    torch = pytest.importorskip("torch")
    A, W, Y = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((5, 7), (7, 2), (5, 2)))
    assert torch.autograd.gradcheck(nearest.nearest, (A, W))
    assert torch.autograd.gradcheck(nearest.nearest_given_labels, (A, W, Y))
    assert torch.autograd.gradcheck(lambda A, W, Y: nearest.nearest_pseudoinverse(A, W, Y, 1e-3), (A, W, Y))
    tied = torch.eye(7, dtype=torch.float64)[:5].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nearest.nearest(tied, W.detach())[0, 0], tied)
    # PyTorch 2.3 parts ties by their rounding: its gradient is a number there, and means as little.
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 4)
    assert old or not torch.isfinite(gradient).all()


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    rng = np.random.default_rng(3)
    W, Y_S = xp.asarray(rng.normal(size=(6, 2)), device=device), xp.asarray(np.eye(2)[[0, 1, 0]], device=device)
    for rows in (rng.normal(size=(3, 6)), np.ones((3, 6)), rng.normal(size=(9, 6)) * [1, 1, 1, 0, 0, 1]):
        Phi_0 = xp.asarray(rows, device=device)
        Phi_S = nearest.nearest(Phi_0, W)
        assert Phi_S.device == device and Phi_S.dtype == xp.float64
        assert nearest.nearest_lower_bound(Phi_0, W) <= float(xp.linalg.matrix_norm(Phi_S - Phi_0)) + 1e-12
    Phi_0 = xp.asarray(rng.normal(size=(3, 6)), device=device)
    assert nearest.nearest_given_labels(Phi_0, W, Y_S).device == device
    assert nearest.nearest_pseudoinverse(Phi_0, W, Y_S, 1e-3).device == device


W_OK, PHI_OK, Y_OK = np.eye(4)[:, :2] + 0.1, np.arange(12.0).reshape(3, 4) % 5, np.eye(3)[:, :2]


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: nearest.nearest(PHI_OK[:1], W_OK), ValueError, r"Phi_0 has 1 rows and W has rank 2 .*use 2 rows"),
        (lambda: nearest.nearest_lower_bound(PHI_OK[:1], W_OK), ValueError, "Phi_0 has 1 rows and W has rank 2"),
        (lambda: nearest.nearest_given_labels(PHI_OK[:1], W_OK, Y_OK[:1]), ValueError, "Phi_0 has 1 rows and W has"),
        (lambda: nearest.nearest(PHI_OK[:, :3], W_OK), ValueError, r"do not fit: .* \(3, 3\), \(4, 2\)"),
        (lambda: nearest.nearest(0 * PHI_OK, W_OK), ValueError, "rows to stay close to are zero, they have no scale"),
        (lambda: nearest.nearest(PHI_OK, W_OK, max_condition=2), ValueError, "max_condition = 2 must lie between 3"),
        (lambda: nearest.nearest(PHI_OK, W_OK, max_condition=1e15), ValueError, "max_condition = 1e"),
        (lambda: nearest.nearest(PHI_OK, W_OK, max_condition="high"), TypeError, "max_condition must be a number"),
        (lambda: nearest.nearest(PHI_OK, W_OK, rtol=-1), ValueError, "rtol = -1.0 must be finite and not negative"),
        (lambda: nearest.nearest(PHI_OK * np.nan, W_OK), ValueError, "Phi_0 contains NaN or Inf"),
        (lambda: nearest.nearest(PHI_OK.astype(int), W_OK), TypeError, "Phi_0 has dtype int64"),
        (lambda: nearest.nearest(PHI_OK[0], W_OK), ValueError, "Phi_0 must have 2 dimensions"),
        (lambda: nearest.nearest(PHI_OK[:0], W_OK), ValueError, "Phi_0 is empty"),
        (lambda: nearest.nearest(PHI_OK.astype(np.float32), W_OK), TypeError, "Phi_0, W differ in dtype"),
        (lambda: nearest.nearest_given_labels(PHI_OK, W_OK, Y_OK[:2]), ValueError, r"Y_S \(m, k\) do not fit"),
        (lambda: nearest.nearest_pseudoinverse(PHI_OK, W_OK, Y_OK[:, :1]), ValueError, r"\(4, 2\), \(3, 1\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# -- real images: first images of each class in file order, pixels/255 minus mean over standard deviation, lam = 1e3


def balanced(y, m, k=10):
    return np.concatenate([np.flatnonzero(y == c)[: m // k] for c in range(k)])


def worst_error(Phi_S, W, lams=(0.0, 1.0, 1e3)):
    """Largest error of W over lam_S, retrained by an SVD, and for lam_S > 0 by both linear systems too.

    The dual one, ``(K + lam_S I) a = Y``, has the square of the condition number of the features.
    """
    (m, p), errors = Phi_S.shape, []
    U, t, Vh = np.linalg.svd(Phi_S, full_matrices=False)
    r = int(np.sum(t > max(m, p) * 2.0**-52 * t[0]))
    for lam_S in lams:
        Y_S = distill.labels(Phi_S, W, lam_S)
        errors.append(error(Vh[:r].T @ ((U[:, :r].T @ Y_S) / (t[:r] + lam_S / t[:r])[:, None]), W))
        if lam_S:
            errors.append(error(Phi_S.T @ np.linalg.solve(Phi_S @ Phi_S.T + lam_S * np.eye(m), Y_S), W))
            errors.append(error(np.linalg.solve(Phi_S.T @ Phi_S + lam_S * np.eye(p), Phi_S.T @ Y_S), W))
    return max(errors)


def measured(X, y, W, m):
    """Distances of ours, of the published choice for predictions and one-hot labels; the worst error of all sets."""
    Phi_0 = X[balanced(y, m)]
    one_hot = np.eye(10)[y[balanced(y, m)]]
    Phi_S, paper = nearest.nearest(Phi_0, W), []
    errors = [worst_error(Phi_S, W)]
    for Y_S in (Phi_0 @ W, one_hot):
        theirs = nearest.nearest_pseudoinverse(Phi_0, W, Y_S)
        errors.append(error(refit(theirs, Y_S, 0.0)[0], W))
        paper.append(error(theirs, Phi_0))
    errors.append(error(refit(nearest.nearest_given_labels(Phi_0, W, one_hot), one_hot, 0.0)[0], W))
    low = nearest.nearest_lower_bound(Phi_0, W) / np.linalg.norm(Phi_0)
    return error(Phi_S, Phi_0), low, paper, max(errors), np.linalg.cond(Phi_S)


@pytest.fixture(scope="module")
def sample():
    from ddref import datasets, krr

    raw = datasets.fashion_sample()
    X = datasets.standardize(raw.X_train).X_train
    return X, raw.y_train, krr.fit(X, datasets.one_hot(raw.y_train), 1e3)


def test_sample_images_are_moved_as_little_as_possible(sample):
    for m in (10, 20, 100, 300):
        ours, low, paper, worst, condition = measured(*sample, m)
        assert worst <= 1e-10 and condition <= nearest.MAX_CONDITION[64]
        assert ours <= low * (1 + 1e-6)
        assert m == 10 or (ours < 0.5 * min(paper) and ours < 0.5)


@pytest.mark.slow
def test_750_sample_images_come_within_three_millionths_of_the_bound(sample):
    """The closed form has the condition number 1.4e6: an explicit limit attains the bound."""
    X, y, W = sample
    Phi_0 = X[balanced(y, 750)]
    Phi_S, low = nearest.nearest(Phi_0, W), nearest.nearest_lower_bound(Phi_0, W)
    assert 9e5 < np.linalg.cond(Phi_S) <= 1e6
    assert low < np.linalg.norm(Phi_S - Phi_0) <= low * (1 + 3e-6)
    assert worst_error(Phi_S, W) <= 1e-10
    attained = nearest.nearest(Phi_0, W, max_condition=1.5e6)
    assert np.linalg.norm(attained - Phi_0) == pytest.approx(low, rel=1e-12)
    assert worst_error(attained, W) <= 1e-10


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.X[:3000], mnist.y[:3000], mnist.W


@pytest.fixture(scope="module")
def fashion(data_root):
    from ddref import datasets, krr

    raw = datasets.load("fashion-mnist", data_root)
    X, y = datasets.standardize(raw.X_train).X_train, raw.y_train
    return X[:3000].copy(), y[:3000], krr.fit(X, datasets.one_hot(y), 1e3)


@pytest.mark.parametrize(
    "m, ours_at_most, paper_at_least",
    [(20, 0.4, 0.8), (50, 0.13, 0.7), (100, 0.06, 0.65), (200, 0.02, 0.6), (350, 0.006, 0.55), (500, 0.002, 0.3)],
)
def test_mnist_images_are_moved_as_little_as_possible(digits, m, ours_at_most, paper_at_least):
    ours, low, paper, worst, _ = measured(*digits, m)
    assert worst <= 1e-10
    assert low <= ours * (1 + 1e-12) and ours <= low * (1 + 1e-6) and ours <= ours_at_most
    assert min(paper) >= paper_at_least


@pytest.mark.parametrize("m", [100, *(pytest.param(m, marks=pytest.mark.slow) for m in (500, 750))])
def test_fashion_mnist_images_are_moved_as_little_as_possible(fashion, m):
    """The closed form of 500 has the condition number 1.5e7, and would retrain W with errors of 4e-9.

    The dual system squares the condition number: at 1e6 it errs by 3e-10 at lam_S = 1, at 5e4 by 2e-11.
    """
    X, y, W = fashion
    Phi_0 = X[balanced(y, m)]
    Phi_S, low = nearest.nearest(Phi_0, W), nearest.nearest_lower_bound(Phi_0, W)
    assert low * (1 - 1e-12) <= np.linalg.norm(Phi_S - Phi_0) <= low * (1 + 1e-6)
    assert worst_error(Phi_S, W, (0.0, 1e3)) <= 1e-10
    assert worst_error(Phi_S, W) <= (4e-10 if m == 500 else 1e-10)
    assert worst_error(nearest.nearest(Phi_0, W, max_condition=5e4), W) <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("m, rank, missing", [(750, 576, 0.27), (1000, 588, 0.22)])
def test_mnist_images_that_cannot_carry_w_are_repaired(digits, m, rank, missing):
    """m = 1000 images of rank 588: 22 % of W is missing from their span, so the closed form, Phi_0, is not exact."""
    X, y, W = digits
    Phi_0 = X[balanced(y, m)]
    t, Vh = np.linalg.svd(Phi_0, full_matrices=False)[1:]
    assert int(np.sum(t > 1e-12 * t[0])) == rank
    assert error(Vh[:rank].T @ (Vh[:rank] @ W), W) == pytest.approx(missing, abs=0.01)
    assert nearest.nearest_lower_bound(Phi_0, W) == 0.0
    Phi_S = nearest.nearest(Phi_0, W)
    assert np.linalg.cond(Phi_S) <= nearest.MAX_CONDITION[64] and error(Phi_S, Phi_0) <= 1e-5
    assert worst_error(Phi_S, W, (0.0, 1e3)) <= 1e-10
    # the price of the default: the dual system squares the condition number, and errs by 6e-10 at lam_S = 1
    assert 1e-10 < worst_error(Phi_S, W, (1.0,)) < 1e-9
    far = nearest.nearest(Phi_0, W, max_condition=5e4)
    assert worst_error(far, W) <= 1e-10 and 1e-4 < error(far, Phi_0) <= 2e-4


@pytest.mark.slow
def test_published_sets_that_rounding_destroys_are_refused(digits, fashion):
    """Of Fashion-MNIST the last bit of the features moves the model by 1e-6: no set stored in float64 trains it."""
    X, y, W = fashion
    Phi_0, Y_S = X[balanced(y, 1000)], np.eye(10)[y[balanced(y, 1000)]]
    with pytest.raises(ValueError, match=r"misses W by \d(\.\d+)?e-06 .* 4\.\d+e\+07"):
        nearest.nearest_pseudoinverse(Phi_0, W, Y_S)
    formula = distill.features(W, Y_S, Z=np.linalg.pinv(Phi_0, rcond=1e-13))
    W_S = np.linalg.lstsq(formula, Y_S, rcond=1e-13)[0]
    assert error(W_S, W) > 1e-6
    last_bit = np.where(np.arange(formula.size).reshape(formula.shape) % 2, formula, np.nextafter(formula, np.inf))
    assert error(np.linalg.lstsq(last_bit, Y_S, rcond=1e-13)[0], W_S) > 1e-6
    # of MNIST it explains the error, which is small; the linear system, with the square of the condition, errs more
    X, y, W = digits
    Phi_0, Y_S = X[balanced(y, 750)], np.eye(10)[y[balanced(y, 750)]]
    Phi_S = nearest.nearest_pseudoinverse(Phi_0, W, Y_S)
    assert np.linalg.cond(Phi_S) > 1e7 and 1e-11 < error(refit(Phi_S, Y_S, 0.0)[0], W) < 1e-9
    with pytest.raises(ValueError, match=r"misses W by \d(\.\d+)?e-09"):
        nearest.nearest_pseudoinverse(Phi_0, W, Y_S, 1.0)


@pytest.mark.slow
def test_mnist_as_pixels_gives_the_distances_of_the_literature_comparison(mnist):
    """First m rows in file order, pixels/255, lam = 1e3: 0.775, 0.634, 0.230 published, 0.337, 0.047, 0.0004 ours."""
    X = mnist.raw.X_train.reshape(60000, 784) / 255.0
    W = np.linalg.solve(X.T @ X + 1e3 * np.eye(784), X.T @ mnist.Y)
    for m, theirs, ours in ((20, 0.775, 0.337), (100, 0.634, 0.047), (500, 0.230, 0.0004)):
        Phi_0 = X[:m]
        assert error(nearest.nearest_pseudoinverse(Phi_0, W, Phi_0 @ W), Phi_0) == pytest.approx(theirs, abs=6e-4)
        assert error(nearest.nearest(Phi_0, W), Phi_0) == pytest.approx(ours, abs=6e-4 if m < 500 else 6e-5)


# ------------------------------------------------------ thresholds, from both sides of each


def test_a_limit_of_the_condition_lies_between_3_and_a_hundredth_of_precision():
    Phi, W = np.eye(3), np.eye(3)[:, :1]
    for dtype, eps in (("float64", 2.0**-52), ("float32", 2.0**-23)):
        A, B = Phi.astype(dtype), W.astype(dtype)
        for limit in (3, 0.01 / eps):
            assert np.array_equal(nearest.nearest(A, B, max_condition=limit), A)
        for limit in (2.99, 0.0101 / eps):
            with pytest.raises(ValueError, match="must lie between 3 and"):
                nearest.nearest(A, B, max_condition=limit)


def test_labels_may_be_outside_the_row_space_by_rounding_and_no_more():
    W, Phi = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    for off, refused in ((0.9, False), (1.1, True)):
        Y = np.array([[1.0, off * 100 * 2.0**-52], [0.0, 0.0]])
        if refused:
            with pytest.raises(ValueError, match="is outside the row space of W"):
                nearest.nearest_given_labels(Phi, W, Y)
        else:
            assert np.abs(nearest.nearest_given_labels(Phi, W, Y) - np.eye(2)).max() < 1e-12


def test_features_of_given_labels_are_as_well_conditioned_as_is_asked():
    W, Y = np.array([[1.0], [0.0]]), np.array([[1.0], [0.0]])
    found = nearest.nearest_given_labels(np.diag([0.0, 1.01e-3]), W, Y, max_condition=1e3)
    assert np.abs(found - np.diag([1.0, 1.01e-3])).max() < 1e-15
    with pytest.raises(ValueError, match="condition number 1.01e.03 .at most 1e.03 is allowed"):
        nearest.nearest_given_labels(np.diag([0.0, 0.99e-3]), W, Y, max_condition=1e3)


def test_rows_are_left_alone_up_to_the_limit_and_raised_beyond():
    W = np.eye(2)
    for small, same in ((1.01e-3, True), (0.99e-3, False)):
        Phi = np.diag([1.0, small])
        found = nearest.nearest(Phi, W, max_condition=1e3)
        assert np.array_equal(found, Phi) is same and np.linalg.cond(found) <= 1e3
        assert found[1, 1] == pytest.approx(small if same else 1.01e-3, rel=1e-9)



def test_the_default_limit_is_a_million_in_float64_and_a_thousand_in_float32():
    assert nearest.condition_limit(np.eye(2)) == 1e6
    assert nearest.condition_limit(np.eye(2, dtype="float32")) == 1e3
    W = np.eye(2)[:, :1]
    kept, beyond = (np.diag([1.0, small]).astype("float32") for small in (1.01e-3, 0.99e-3))
    assert np.array_equal(nearest.nearest(kept, W.astype("float32")), kept)
    assert not np.array_equal(nearest.nearest(beyond, W.astype("float32")), beyond)


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**40])
def test_the_size_of_rows_is_their_own_by_default(scale):
    W, Q = np.eye(2)[:, :1], np.eye(2)[:, 1:]
    kept = scale * np.diag([1.0, 3e-6])
    assert np.array_equal(nearest.nearest(kept, W), kept)
    raised = nearest.spanning_rows(scale * np.diag([1.0, 1e-9]), Q, 1e3, np.linalg.cond)
    assert np.allclose(raised / scale, np.diag([1.0, 1.01e-3]), rtol=1e-12, atol=1e-15)
    assert nearest.condition_carrying(scale * np.eye(2), W) == 1.0
    assert nearest.condition_carrying(scale * np.eye(2), W, 8 * scale) == 8.0


def test_rows_carry_what_they_miss_by_rounding_and_no_more():
    row = np.array([[1.0, 0.0]])
    assert nearest.condition_carrying(row, np.array([[1.0], [100 * EPS]])) == 1.0
    assert nearest.condition_carrying(row, np.array([[1.0], [101 * EPS]])) == np.inf
    assert nearest.condition_carrying(0 * row, np.array([[1.0], [0.0]]), 5.0) == np.inf


def test_rows_are_raised_twice_as_far_each_time_up_to_four_times_their_size():
    A, Q, seen = np.diag([1.0, 1e-3]), np.eye(2)[:, 1:], []

    def never(B):
        seen.append(np.linalg.svd(B)[1])
        return np.inf

    with pytest.raises(ValueError, match="the last had inf"):
        nearest.spanning_rows(A, Q, 1.01, never)
    assert np.allclose(seen, [[1, 1e-3], [1, 1], [2, 2]], rtol=1e-12, atol=0)


@pytest.mark.parametrize("attempt", [0, 1, 2])
def test_rows_whose_condition_number_is_the_limit_are_taken(attempt):
    A, Q, left = np.diag([1.0, 1e-3]), np.eye(2)[:, 1:], [50.0] * attempt + [10.0]
    found = nearest.spanning_rows(A, Q, 10.0, lambda B: left.pop(0))
    assert left == [] and found[1, 1] == pytest.approx([1e-3, 0.101, 0.202][attempt], rel=1e-12)


def test_singular_values_outside_w_count_from_the_rounding_of_the_larger_side_on():
    Q = np.eye(8)[:, :1]
    for shape in ((3, 8), (8, 3)):
        for small, kept in ((7.9 * EPS, 0.0), (8 * EPS, 0.0), (8.1 * EPS, 8.1 * EPS)):
            A = np.zeros(shape)
            A[0, 0], A[1, 1] = 1.0, small
            _, s, V = nearest.outside(A, Q[: shape[1]])
            assert s[0] == pytest.approx(kept, rel=1e-9, abs=0) and np.abs(V.T @ Q[: shape[1]]).max() == 0


def test_a_model_of_zeros_leaves_rows_of_any_kind_as_they_are():
    W = np.zeros((3, 2))
    for Phi_0 in (np.zeros((2, 3)), np.diag([1.0, 1e-9, 1e-13]), np.arange(12.0).reshape(4, 3) / 7):
        for found in (nearest.nearest(Phi_0, W), nearest.nearest_given_labels(Phi_0, W, np.zeros((len(Phi_0), 2)))):
            assert np.array_equal(found, Phi_0) and found is not Phi_0


def test_warnings_of_a_dropped_part_of_w_point_at_the_call():
    W, Phi_0 = np.diag([1.0, 3e-12]), np.eye(2)
    for call in (
        lambda: nearest.nearest(Phi_0, W),
        lambda: nearest.nearest_lower_bound(Phi_0, W),
        lambda: nearest.nearest_given_labels(Phi_0, W, np.diag([1.0, 0.0])),
    ):
        (said,) = words(call)
        assert "drops a fraction 3e-12 of W" in said


def test_limits_of_given_labels_are_met_to_the_last_bit():
    W, Y = np.eye(2)[:, :1], np.eye(2)[:, :1]
    assert nearest.nearest_given_labels(np.diag([0.0, 2.0**-10]), W, Y, max_condition=2.0**10).shape == (2, 2)
    Y = np.array([[1.0, 100 * EPS], [0.0, 0.0]])  # outside the rows of W by all that rounding explains
    assert nearest.nearest_given_labels(np.diag([0.0, 1.0]), np.diag([1.0, 0.0]), Y).shape == (2, 2)
    row = np.array([[1.0, 0.0]])
    nearest._check_determined(row, np.array([[1.0], [100 * EPS]]), 1, 1e6)
    with pytest.raises(ValueError, match="and miss a fraction 2.24e-14 of W"):
        nearest._check_determined(row, np.array([[1.0], [101 * EPS]]), 1, 1e6)
    with pytest.raises(ValueError, match="condition number 1.02e.03 .at most 1e.03"):
        nearest._check_determined(np.diag([1.0, 2.0**-10]), np.eye(2), 1, 1000.0)


def test_given_labels_are_refused_where_the_last_bit_decides_on_a_rank():
    W = Y = np.eye(128)[:, :1]
    for small, refused in ((130 * EPS, False), (128.5 * EPS, True)):  # the cutoff is 128 eps
        Phi_0 = np.diag([0.0] + [1.0] * 126 + [small])
        if refused:
            with pytest.raises(ValueError, match="no digit of W may be left after training"):
                nearest.nearest_given_labels(Phi_0, W, Y, max_condition=0.01 / EPS)
        else:
            assert nearest.nearest_given_labels(Phi_0, W, Y, max_condition=0.01 / EPS).shape == (128, 128)


def test_the_published_choice_is_refused_by_the_name_of_what_does_not_fit():
    for wrong, kind, message in (
        (PHI_OK.astype(int), TypeError, "Phi_0 has dtype int64"),
        (PHI_OK * np.nan, ValueError, "Phi_0 contains NaN"),
        (PHI_OK[:, :3], ValueError, r"Phi_0 \(m, p\), W \(p, k\), Y_S \(m, k\) do not fit"),
    ):
        with pytest.raises(kind, match=message):
            nearest.nearest_pseudoinverse(wrong, W_OK, Y_OK)


def test_the_published_choice_trains_sets_of_low_rank_and_zeros():
    W, Y_S = np.array([[2.0], [0.0]]), np.ones((4, 1))
    for lam_S in (0.0, 0.01):
        Phi_S = nearest.nearest_pseudoinverse(np.ones((4, 2)), W, Y_S, lam_S)
        assert error(refit(Phi_S, Y_S, lam_S)[0], W) < 1e-13
    assert not np.any(nearest.nearest_pseudoinverse(np.eye(2), np.zeros((2, 2)), np.eye(2)))


def misses(Phi_S, Y_S, lam_S, W):
    """What the refusal says after "misses W by", or "" where there is none."""
    try:
        nearest._check_trained(Phi_S, Y_S, lam_S, W)
    except ValueError as refused:
        return str(refused).split("misses W by ")[1]
    return ""


@pytest.mark.parametrize("shape", [(2, 3), (2, 2), (3, 2)])
def test_the_linear_system_is_asked_where_lam_is_not_negligible_in_it(shape):
    """Singular values 1 and 1e-6: the system has 1e-12 beside 1, an SVD loses six digits."""
    m, p = shape
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    Phi_S = np.zeros(shape)
    Phi_S[:2, :2] = turn @ np.diag([1.0, 1e-6]) @ turn
    W = np.zeros((p, 1))
    W[:2, 0] = [1.0, 2.0]
    limit = 2 * EPS * (1 + 1e-12)
    for lam_S, asked in ((0.9 * limit, False), (1.1 * limit, True)):
        Y_S = Phi_S @ W + lam_S * np.linalg.pinv(Phi_S).T @ W
        assert bool(misses(Phi_S, Y_S, lam_S, W)) is asked


def test_labels_that_do_not_fit_are_an_excuse_above_lam_zero_only():
    Phi_S, W = np.eye(3)[:, :2], np.array([[1.0], [1.0]])
    Y_S = np.array([[1.0], [1.0], [1e6]])  # the last one, which no model explains, moves W by 1e6 eps
    assert misses(Phi_S, 1.5 * Y_S, 1e-3, 1.5 / 1.001 * W) == ""
    said = misses(Phi_S, Y_S, 0.0, W)
    assert "(known to " in said
    assert "(known to " not in misses(Phi_S, 2 * Y_S, 0.0, W) and misses(Phi_S, 2 * Y_S, 0.0, W).startswith("1 of")


def test_at_lam_above_zero_nothing_is_cut_when_training_is_checked():
    Phi_S, W = np.diag([1.0, 1e-17]), np.array([[1.0], [1.0]])
    said = misses(Phi_S, Phi_S @ W + 1e-40 * np.diag([1.0, 1e17]) @ W, 1e-40, W)
    assert float(said.split()[0]) < 1e-9  # and not 0.7: refused for what is not known
    assert float(misses(Phi_S, Phi_S @ W, 0.0, W).split()[0]) == pytest.approx(0.5**0.5, rel=1e-2)
