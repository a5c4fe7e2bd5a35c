"""ddref.distill: every set it returns is refitted by an oracle; every hypothesis, when broken, is refused by name."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import EPS, conditioned, error, numpy64, refit, words
from ddref import arrays, distill
from ddref.measure import tolerance

K, P = 5, 40


def one_hot(m, k=K):
    return np.eye(k)[np.arange(m) % k]


def assert_exact(nx, Phi_S, Y_S, lam_S, W):
    assert nx.is_mine(Phi_S) and nx.is_mine(Y_S)
    W_S, condition = refit(Phi_S, Y_S, lam_S)
    assert error(W_S, W) < tolerance(condition, nx.dtype), (condition, lam_S)


@pytest.mark.parametrize("branch", [+1, -1])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("free", [False, True], ids=["Z=0", "Z"])
@pytest.mark.parametrize("m", [K, K + 1, 3 * K, P, P + 20])
def test_features_are_exact_for_every_number_of_points(nx, rng, m, free, fraction, branch):
    W, Y_S = nx.asarray(conditioned(rng, P, K, 20)), nx.asarray(one_hot(m))
    Z = nx.asarray(0.1 * rng.normal(size=(P, m))) if free else None
    lam_S = fraction * distill.largest_lam(W, Y_S, Z=Z)
    if lam_S == 0 and branch < 0:
        return  # refused: see test_bad_input_is_refused_by_name
    r = np.linalg.matrix_rank(numpy64(distill.features(W, Y_S, lam_S, Z=Z)), tol=1e-4)
    assert_exact(nx, distill.features(W, Y_S, lam_S, Z=Z, signs=[branch] * r), Y_S, lam_S, W)


@pytest.mark.parametrize("lam_S", [0.0, 1e-3, 0.7, 50.0])
@pytest.mark.parametrize("m", [K, K + 1, 3 * K, P, P + 20])
def test_labels_are_exact_for_every_number_of_points_and_lam(nx, rng, m, lam_S):
    W = nx.asarray(conditioned(rng, P, K, 20))
    Phi_S = rng.normal(size=(m, P))
    Phi_S[:K] = numpy64(W).T + 0.1 * Phi_S[:K] @ numpy64(W) @ numpy64(W).T  # rows that span the columns of W
    Phi_S = nx.asarray(Phi_S)
    assert_exact(nx, Phi_S, distill.labels(Phi_S, W, lam_S), lam_S, W)


def test_labels_at_lam_zero_are_the_models_predictions(nx, rng):
    W, Phi_S = nx.asarray(rng.normal(size=(6, 2))), nx.asarray(rng.normal(size=(9, 6)))
    assert error(distill.labels(Phi_S, W), numpy64(Phi_S) @ numpy64(W)) < tolerance(1, nx.dtype)


def test_labels_of_rank_deficient_features_that_still_span_w(nx, rng):
    W = conditioned(rng, 12, 2, 3)
    Phi_S = conditioned(rng, 8, 5, 4) @ np.concatenate([W.T, rng.normal(size=(3, 12))])  # 8 points of rank 5
    t = np.linalg.svd(Phi_S, compute_uv=False)
    for lam_S in (0.0, 0.3):
        A, B = nx.asarray(Phi_S), nx.asarray(W)
        W_S, _ = refit(A, distill.labels(A, B, lam_S), lam_S)
        assert error(W_S, W) < tolerance(t[0] / t[4] if lam_S == 0 else (t[0] ** 2 + lam_S) / lam_S, nx.dtype)


def test_all_signs_are_exact_and_differ(rng):
    W, Y_S = conditioned(rng, 7, 3, 2), np.eye(3)
    lam_S = 0.5 * distill.largest_lam(W, Y_S)
    sets = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for signs in itertools.product([1, -1], repeat=3):
            sets.append(distill.features(W, Y_S, lam_S, signs=signs))
            W_S, condition = refit(sets[-1], Y_S, lam_S)
            assert error(W_S, W) < tolerance(condition, "float64")
    for A, B in itertools.combinations(sets, 2):
        assert error(A, B) > 1e-2


def test_branches_merge_at_the_bound(rng):
    W = np.linalg.qr(rng.normal(size=(6, 2)))[0]  # both singular values are 1: both merge
    lam_S = distill.largest_lam(W, np.eye(2))
    plus, minus = (distill.features(W, np.eye(2), lam_S, signs=[sign] * 2) for sign in (1, -1))
    assert error(plus, minus) < 1e-7  # t = sqrt(lam) (1 +- q), q of the order sqrt(eps)


def test_the_minus_branch_keeps_its_digits_where_the_textbook_formula_has_none(nx, rng):
    """4 lam s^2 = 4e-18 (4e-8 in float32): 1 - sqrt(1 - tiny) is zero, 2 lam s / (1 + q) is not."""
    lam_S = 1e-18 if nx.dtype == "float64" else 1e-9
    W, Y_S = nx.asarray(np.eye(3)[:, :1]), nx.asarray([[1.0]])
    one = W[0, 0]
    assert float((1 - (1 - 4 * lam_S * one) ** 0.5) / 2) == 0.0  # the textbook t-
    Phi_S = distill.features(W, Y_S, lam_S, signs=[-1])
    assert abs(float(Phi_S[0, 0]) / lam_S - 1) < 4 * nx.eps  # t- = lam s (1 + lam s^2 + ...)


def test_the_bound_is_accepted_a_few_eps_above_and_refused_beyond(rng):
    W, Y_S = conditioned(rng, 9, 3, 4), np.eye(3)
    bound = distill.largest_lam(W, Y_S)
    Phi_S = distill.features(W, Y_S, bound * (1 + 8 * 2.0**-52))
    W_S, condition = refit(Phi_S, Y_S, bound)
    assert error(W_S, W) < tolerance(condition, "float64")
    with pytest.raises(
        ValueError, match=r"lam_S = .* exceeds 1/\(4 s_max\^2\) = .*scale Y_S by at least 2, or pass lam_S=0"
    ):
        distill.features(W, Y_S, 4 * bound)
    assert distill.features(W, 2 * Y_S, 4 * bound).shape == (3, 9)  # the way out that the message names


def test_scaling_labels_scales_the_bound_by_its_square(rng):
    W, Y_S = conditioned(rng, 9, 3, 4), rng.normal(size=(5, 3))
    assert distill.largest_lam(W, 3 * Y_S) == pytest.approx(9 * distill.largest_lam(W, Y_S), rel=1e-12)
    assert distill.largest_lam(np.zeros((4, 2)), np.eye(2)) == np.inf


def test_z_zero_admits_the_largest_lam(rng):
    W, Y_S = conditioned(rng, 9, 3, 4), one_hot(7, 3)
    bounds = [distill.largest_lam(W, Y_S, Z=scale * rng.normal(size=(9, 7))) for scale in (1e-3, 0.1, 1, 10)]
    assert max(bounds) <= distill.largest_lam(W, Y_S) * (1 + 1e-12) and bounds[-1] < 0.1 * distill.largest_lam(W, Y_S)


def test_repeated_labels_without_z_repeat_points(rng):
    Phi_S = distill.features(conditioned(rng, 9, 3, 4), one_hot(6, 3))
    assert error(Phi_S[:3], Phi_S[3:]) < tolerance(4, "float64")


def test_zero_singular_values_are_cut_for_every_lam(rng):
    W = conditioned(rng, 10, 4, 3, rank=2)
    for lam_S in (0.0, 1e-3):
        Phi_S = distill.features(W, np.eye(4), lam_S)
        assert np.linalg.matrix_rank(Phi_S, tol=1e-8) == 2 and np.abs(Phi_S).max() < 10
        W_S = np.linalg.pinv(Phi_S, rcond=1e-8) @ np.eye(4) if lam_S == 0 else refit(Phi_S, np.eye(4), lam_S)[0]
        assert error(W_S, W) < tolerance(1e3, "float64")


def test_mixed_branches_warn_and_a_lossy_cutoff_warns(rng):
    W, Y_S = conditioned(rng, 9, 3, 4), np.eye(3)
    with pytest.warns(UserWarning, match="mixed branches: t_max / t_min = "):
        distill.features(W, Y_S, 0.5 * distill.largest_lam(W, Y_S), signs=[1, -1, 1])
    tiny = np.diag([1.0, 1.0, 3e-12])
    with pytest.warns(UserWarning, match="drops a fraction 2.1e-12 of W; pass a smaller rtol"):
        distill.features(tiny, Y_S)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert error(distill.features(tiny, Y_S, rtol=1e-15), np.diag([1.0, 1.0, 1 / 3e-12])) < 1e-12


def test_rank_of_w_is_planted_and_reported(nx, rng):
    W = nx.asarray(conditioned(rng, 30, 8, 10, rank=5))
    report = distill.rank_report(W)
    assert distill.minimal_points(W) == report.rank == 5
    assert report.kept == pytest.approx(0.1, rel=1e-3) and report.discarded < report.rtol
    assert distill.minimal_points(W, rtol=0.5) == 2  # singular values 1, 0.56, 0.32, 0.18, 0.1
    assert distill.minimal_points(nx.asarray(np.zeros((3, 2)))) == 0


def test_centred_targets_leave_a_tiny_singular_value_that_counts_as_zero(rng):
    """One-hot targets sum to one: centred features or targets give rank k - 1, with rounding above max(shape) eps."""
    X = rng.normal(size=(500, 20)) + 3
    Y = np.eye(4)[rng.integers(0, 4, 500)]
    W = np.linalg.solve(X.T @ X + 1e-6 * np.eye(20), X.T @ (Y - Y.mean(0)))
    assert distill.minimal_points(W) == 3
    assert distill.rank_report(W).discarded > 0
    assert distill.minimal_points(np.linalg.solve(X.T @ X + 1e-6 * np.eye(20), X.T @ Y)) == 4


@st.composite
def problems(draw):
    p, k = draw(st.integers(1, 10)), draw(st.integers(1, 4))
    m = draw(st.integers(1, 14))
    rank = draw(st.integers(0, min(p, k)))
    seed, scale = draw(st.integers(0, 2**32 - 1)), 10.0 ** draw(st.integers(-8, 8))
    return p, k, m, rank, seed, scale, draw(st.sampled_from([0.0, 0.3, 1.0]))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(problems())
def test_features_are_exact_or_refused_over_shapes_ranks_and_scales(problem):
    p, k, m, rank, seed, scale, fraction = problem
    rng = np.random.default_rng(seed)
    W = conditioned(rng, p, k, 10, rank=rank, scale=scale) if rank else np.zeros((p, k))
    Y_S, Z = conditioned(rng, m, k, 5), rng.normal(size=(p, m)) * scale * 0.1
    copies = W.copy(), Y_S.copy(), Z.copy()
    if m < rank:
        with pytest.raises(ValueError, match=f"W has rank {rank}"):
            distill.features(W, Y_S, Z=Z)
        return
    if m < k and rank:  # labels of rank m < k carry W only when its rows lie in theirs
        Y_S = np.concatenate([W / scale, np.ones((m, k))])[:m] if p <= m else Y_S
        if error(W @ np.linalg.pinv(Y_S) @ Y_S, W) > 1e-6:
            with pytest.raises(ValueError, match="the labels cannot carry W"):
                distill.features(W, Y_S)
            return
        copies = W.copy(), Y_S.copy(), Z.copy()
    lam_S = fraction * distill.largest_lam(W, Y_S, Z=Z)
    lam_S = lam_S if np.isfinite(lam_S) else 1.0
    Phi_S = distill.features(W, Y_S, lam_S, Z=Z)
    W_S, condition = refit(Phi_S, Y_S, lam_S)
    D = np.linalg.svd(W @ np.linalg.pinv(Y_S) + Z @ (np.eye(m) - Y_S @ np.linalg.pinv(Y_S)), compute_uv=False)
    condition = max(condition, D[0] / max(np.linalg.norm(W), 1e-300))  # where Z outweighs W, so does its rounding
    assert error(W_S, W) < tolerance(max(condition, 1), "float64") if rank else np.abs(W_S).max() < 1e-8 * scale
    assert all(np.array_equal(A, B) for A, B in zip(copies, (W, Y_S, Z), strict=True))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(problems())
def test_labels_are_exact_or_refused_over_shapes_ranks_and_scales(problem):
    p, k, m, rank, seed, scale, fraction = problem
    rng = np.random.default_rng(seed)
    W = conditioned(rng, p, k, 10, rank=rank, scale=scale) if rank else np.zeros((p, k))
    Phi_S, lam_S = conditioned(rng, m, p, 20), fraction * 0.1
    if rank and m < p:
        with pytest.raises(ValueError, match=r"miss a fraction .* of W"):
            distill.labels(Phi_S, W, lam_S)
        Phi_S = Phi_S @ W @ np.linalg.pinv(W)  # rows inside the span of W's columns
        if m < rank:
            with pytest.raises(ValueError, match=rf"\(rank {m}\) miss a fraction .* \(rank {rank}\)"):
                distill.labels(Phi_S, W, lam_S)
            return
    Y_S = distill.labels(Phi_S, W, lam_S, rtol=1e-9)
    W_S, condition = refit(Phi_S, Y_S, lam_S) if lam_S else (np.linalg.pinv(Phi_S, rcond=1e-9) @ Y_S, 0)
    t = np.linalg.svd(Phi_S, compute_uv=False)
    condition = max(condition, t[0] / np.min(t[t > 1e-9 * t[0]]))
    assert error(W_S, W) < tolerance(condition, "float64")


@settings(max_examples=100, deadline=None)
@given(problems())
def test_numpy_and_torch_agree(problem):
    torch = pytest.importorskip("torch")
    p, k, m, _, seed, scale, fraction = problem
    rng = np.random.default_rng(seed)
    W, Y_S = conditioned(rng, p, k, 10, scale=scale), conditioned(rng, m + k, k, 5)
    lam_S = 0.9 * fraction * distill.largest_lam(W, Y_S)
    A = distill.features(W, Y_S, lam_S)
    B = distill.features(torch.tensor(W), torch.tensor(Y_S), lam_S)
    assert error(B, A) < tolerance(100, "float64")
    assert error(distill.labels(torch.tensor(A), torch.tensor(W), lam_S), distill.labels(A, W, lam_S)) < tolerance(
        100, "float64"
    )


def test_gradients_flow_where_singular_values_are_distinct_and_are_nan_at_ties():
    torch = pytest.importorskip("torch")
    W = torch.tensor(np.diag([3.0, 2.0, 1.0])[:, :2] + 0.1, requires_grad=True)
    Y_S = torch.eye(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda W, Y: distill.features(W, Y, 0.01), (W, Y_S * torch.tensor([1.0, 2.0])))
    tied = torch.eye(3, dtype=torch.float64)[:, :2].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distill.features(tied, Y_S.detach(), 0.01)[0, 0], tied)
    assert not torch.isfinite(gradient).all()


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    W = xp.asarray(np.arange(12.0).reshape(6, 2) % 5, device=device)
    Y_S = xp.asarray(np.eye(2), device=device)
    Phi_S = distill.features(W, Y_S, 1e-4)
    assert Phi_S.device == device and distill.labels(Phi_S, W, 1e-4).device == device


W_OK, Y_OK = np.eye(4)[:, :2], np.eye(2)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: distill.features(W_OK, np.ones((2, 3))), ValueError, r"Y_S \(m, k\) do not fit: .* \(2, 3\)"),
        (
            lambda: distill.features(W_OK, np.ones((1, 2))),
            ValueError,
            r"the labels cannot carry W: .*1 rows and rank 1, W has rank 2",
        ),
        (
            lambda: distill.features(W_OK, np.ones((5, 2))),
            ValueError,
            r"a fraction 0.707 of it is lost.*5 rows and rank 1",
        ),
        (lambda: distill.features(W_OK, Y_OK, Z=np.ones((2, 4))), ValueError, r"Z \(p, m\) do not fit: .* \(2, 4\)"),
        (lambda: distill.features(W_OK, Y_OK, 0.01, signs=[1]), ValueError, "signs must be 2 values"),
        (lambda: distill.features(W_OK, Y_OK, 0.01, signs=[1, 2]), ValueError, "signs must be 2 values"),
        (lambda: distill.features(W_OK, Y_OK, signs=[1, -1]), ValueError, r"only the \+ branch exists"),
        (lambda: distill.features(W_OK, Y_OK, -0.5), ValueError, "lam_S = -0.5 must be finite and not negative"),
        (lambda: distill.features(W_OK, Y_OK, 0.5), ValueError, r"lam_S = 0.5 exceeds 1/\(4 s_max\^2\) = 0.25"),
        (lambda: distill.features(W_OK * np.nan, Y_OK), ValueError, "W contains NaN or Inf"),
        (lambda: distill.features(W_OK.astype(int), Y_OK), TypeError, "W has dtype int64"),
        (lambda: distill.features(W_OK[0], Y_OK), ValueError, "W must have 2 dimensions"),
        (lambda: distill.labels(np.ones((2, 3)), W_OK), ValueError, r"Phi_S \(m, p\), W \(p, k\) do not fit: .* \(2, 3\), \(4, 2\)"),
        (
            lambda: distill.labels(np.eye(4)[:1], W_OK),
            ValueError,
            r"the 1 rows of Phi_S \(rank 1\) miss a fraction 0.707 of W",
        ),
        (lambda: distill.labels(np.eye(4)[2:], W_OK), ValueError, "miss a fraction 1 of W"),
        (lambda: distill.labels(np.eye(4), W_OK, np.nan), ValueError, "lam_S = nan"),
        (lambda: distill.labels(np.eye(4)[2:], W_OK, span_tol=np.nan), ValueError, "span_tol = nan"),
        (lambda: distill.labels(np.zeros((0, 4)), W_OK), ValueError, "Phi_S is empty"),
        (lambda: distill.minimal_points(np.ones(3)), ValueError, "W must have 2 dimensions"),
        (lambda: distill.largest_lam(W_OK, np.ones((1, 2))), ValueError, "the labels cannot carry W"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_what_lies_below_the_rank_cutoff_of_w_may_be_missing_with_a_warning(rng):
    W = np.diag([1.0, 0.5, 3e-12])[:, :3]
    with pytest.warns(UserWarning, match="a fraction 2.7e-12 of W, below its rank cutoff, is lost"):
        Y_S = distill.labels(np.eye(3)[:2], W)
    assert error(refit(np.eye(3)[:2], Y_S, 0.0)[0], W) < 1e-11
    with pytest.raises(ValueError, match="miss a fraction 2.68e-09 of W"):
        distill.labels(np.eye(3)[:2], np.diag([1.0, 0.5, 3e-9]))


def test_predictions_of_a_rank_deficient_model_serve_as_labels(rng):
    W = conditioned(rng, 12, 4, 3, rank=2) + 1e-13 * rng.normal(size=(12, 4))  # rank 2, and rounding above eps
    Y_S = rng.normal(size=(6, 12)) @ W
    with pytest.warns(UserWarning, match="of W, below its rank cutoff, is lost"):
        Phi_S = distill.features(W, Y_S)
    assert np.linalg.matrix_rank(Phi_S, tol=1e-8) == 2
    assert error(np.linalg.pinv(Phi_S, rcond=1e-8) @ Y_S, W) < 1e-11


def test_span_tol_decides_how_much_of_w_may_be_missing(rng):
    W = np.array([[1.0], [1e-6]])
    with pytest.raises(ValueError, match="miss a fraction 1e-06 of W"):
        distill.labels(np.array([[1.0, 0.0]]), W)
    assert distill.labels(np.array([[1.0, 0.0]]), W, span_tol=1e-5).shape == (1, 1)


def test_real_images_become_ten_points(mnist):
    """MNIST, lam = 1e3, identity features: 60,000 images, 10 points, relative error at most 1e-12."""
    from ddref import krr

    W = krr.fit(mnist.X, mnist.Y, 1e3)
    assert error(W, mnist.W) <= 1e-9
    assert distill.minimal_points(W) == 10
    for fraction in (0.0, 0.5, 1.0):
        lam_S = fraction * distill.largest_lam(W, np.eye(10))
        W_S, _ = refit(distill.features(W, np.eye(10), lam_S), np.eye(10), lam_S)
        assert error(W_S, W) <= 1e-12


def test_labels_are_refused_where_rounding_may_take_a_tenth_of_w():
    """Scanned in the condition number: the first refused loses just above a tenth, the last that is not just below."""
    W, lost, refused = np.array([[1.0], [1.0]]), [], []
    for small in np.geomspace(1e-3, 1e-15, 700):
        Phi_S = np.diag([1.0, small])
        try:
            Y_S = distill.labels(Phi_S, W, 1.0)
        except ValueError as error:
            refused.append(float(str(error).split("about a fraction ")[1].split()[0]))
            assert distill.labels(Phi_S, W, 1.0, span_tol=1e9).shape == (2, 1)  # who allows more, gets it
        else:
            lost.append(arrays.thin_svd(Phi_S).rounding(Y_S, 1.0) / np.linalg.norm(W))
    assert 0.09 < max(lost) <= 0.1 <= min(refused) < 0.12


def test_a_model_of_zeros_has_rank_zero_and_nothing_to_keep():
    assert distill.rank_report(np.zeros((3, 2)), rtol=0.5) == (0, 0.0, 0.0, 0.5)


def test_mixed_branches_say_the_ratio_of_their_roots():
    W, Y_S = np.diag([2.0, 1.0]), np.eye(2)
    with pytest.warns(UserWarning, match=r"mixed branches: t_max / t_min = ") as said:
        Phi_S = distill.features(W, Y_S, 0.01, signs=[1, -1])
    t = np.linalg.svd(Phi_S, compute_uv=False)
    assert f"t_max / t_min = {t[0] / t[1]:.3g}," in str(said[0].message) and t[0] / t[1] > 10


def test_what_rows_miss_is_told_with_its_cause_only_where_rounding_is_one():
    W = np.array([[1.0], [1.0], [0.0]])
    with pytest.raises(ValueError, match="use at least 1 rows that span the columns of W$"):
        distill.labels(np.array([[1.0, 0.0, 0.0]]), W, span_tol=0.5)
    with pytest.raises(ValueError, match="of W$"):  # two of rank two, at a condition of 1: no fault of rounding
        distill.labels(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), W, span_tol=1e-3)
    rows = np.array([[1.0, 1.0, 1e-3], [1.0, -1.0, 1e-3]])
    with pytest.raises(ValueError, match="rounding costs about .* here, float64, better conditioned rows$"):
        distill.labels(rows, W, span_tol=0.0)


# ------------------------------------------------------ thresholds, from both sides of each


def test_labels_that_lose_as_much_of_w_as_rounding_explains_are_taken_and_more_is_refused():
    W, Y_S = np.array([[1.0, 100 * EPS]]), np.array([[1.0, 0.0]])
    assert words(lambda: distill.carrier(W, Y_S)) == []
    with pytest.raises(ValueError, match="a fraction 2.24e-14 of it is lost"):
        distill.carrier(W + [[0, EPS]], Y_S)


def test_what_the_cutoff_of_w_takes_may_tilt_the_span_by_ten_times_as_much():
    """The first column of W is missed by `tilt`, the second, 5e-11, is below the rank cutoff of W."""
    W, rows = np.diag([1.0, 5e-11]), np.array([[1.0, 0.0]])
    for tilt in (0.0, 4.9e-10):
        (said,) = words(lambda tilt=tilt: distill.labels(rows + [[0.0, tilt]], W))
        assert "below its rank cutoff, is lost" in said
    with pytest.raises(ValueError, match="miss a fraction"):
        distill.labels(rows + [[0.0, 5.2e-10]], W)


@pytest.mark.parametrize("missed, taken", [(2.0**-26, True), (2.0**-26 * 1.01, False)])
def test_never_more_than_the_root_of_eps_is_missed(missed, taken):
    W = np.array([[1.0, 0, 0], [0, missed, 0], [0, 0, 5e-11]])
    rows = np.array([[1.0, 0, 0], [0, 0, 2.0**-7]])  # of condition 128: ten times 128 * 5e-11 is more
    if taken:
        assert len(words(lambda: distill.labels(rows, W))) == 1
    else:
        with pytest.raises(ValueError, match="miss a fraction"):
            distill.labels(rows, W)


def test_warnings_of_labels_carriers_and_features_point_at_the_call():
    W = np.diag([1.0, 3e-12])
    assert len(words(lambda: distill.labels(np.eye(2)[:1], W))) == 1
    assert len(words(lambda: distill.carrier(W, np.eye(2)[:1]))) == 1
    assert len(words(lambda: distill.features(W, np.eye(2)))) == 1
    assert len(words(lambda: distill.features(np.diag([2.0, 1.0]), np.eye(2), 0.01, signs=[1, -1]))) == 1


@pytest.mark.parametrize("small, word", [(0.0, 0), (198, 0), (200, 0), (202, 1)])
def test_a_cut_of_the_carrier_is_told_from_a_hundred_roundings_of_its_product_on(small, word):
    W = np.diag([1.0, small * EPS, 0.0, 0.0])  # ||D|| ||Y_S|| = 2
    assert len(words(lambda: distill.features(W, np.eye(4)))) == word


def test_a_free_part_that_outweighs_w_cuts_nothing_and_is_no_cause_for_a_word(rng):
    W, Y_S = conditioned(rng, 9, 3, 4), rng.normal(size=(7, 3))
    assert words(lambda: distill.features(W, Y_S, Z=1e5 * rng.normal(size=(9, 7)))) == []


def test_a_span_without_any_gap_is_exact_at_a_tolerance_of_zero():
    W = np.array([[1.0], [0.0]])
    assert words(lambda: distill.labels(np.eye(2), W, span_tol=0.0)) == []


def test_rows_are_judged_at_the_condition_number_that_is_given():
    svd, W = arrays.thin_svd(np.array([[1.0, 0.0]])), np.array([[1.0], [1e-9]])
    distill.check_span(svd, W, condition=1e6)
    for condition in (None, 1.0, 1e4):
        with pytest.raises(ValueError, match="miss a fraction 1e-09 of W"):
            distill.check_span(svd, W, condition=condition)


def test_rounding_is_called_a_cause_where_there_are_rows_enough_and_it_passes_the_tolerance():
    W, row = np.array([[1.0], [1.0], [0.0]]), np.array([[1.0, 0.0, 0.0]])

    def end(rows, W, **how):
        with pytest.raises(ValueError, match="use at least") as refused:
            distill.check_span(arrays.thin_svd(rows), W, **how)
        return str(refused.value).split("use at least ")[1]

    assert end(row, W) == "1 rows that span the columns of W"  # the default is what rounding explains
    assert end(row, W, span_tol=101 * EPS) == "1 rows that span the columns of W"
    noisy = "1 rows that span the columns of W, or, as rounding costs about 2e-16 here, float64, better conditioned rows"
    assert end(row, W, span_tol=99 * EPS) == noisy
    assert end(row, np.eye(3)[:, :2], span_tol=0.0) == "2 rows that span the columns of W"  # one row cannot
    after = "2 rows that span the columns of W after centring"
    assert end(row, W, centred=True) == after
    assert end(row, W, span_tol=0.0, centred=True).startswith(after + ", or")
    assert end(row, W, span_tol=0.0, centred=True).endswith("better conditioned rows, a smaller mean")


def test_carriers_and_features_that_overflow_are_refused_by_name():
    with np.errstate(all="ignore"):
        with pytest.raises(ValueError, match="the features overflows float64"):
            distill.features(np.array([[1e-309]]), np.array([[1.0]]))
        with pytest.raises(ValueError, match="the carrier overflows float64"):
            distill.carrier(np.array([[1e200]]), np.array([[1e-200]]))


def test_above_the_bound_z_has_to_be_scaled_as_well_where_it_is_given():
    W, Y_S = np.eye(2)[:, :1], np.ones((1, 1))
    with pytest.raises(ValueError, match=r"scale Y_S by at least 2 \(and Z by its inverse\), or"):
        distill.features(W, Y_S, 1.0, Z=np.zeros((2, 1)))
    with pytest.raises(ValueError, match="scale Y_S by at least 2, or"):
        distill.features(W, Y_S, 1.0)


def test_features_are_refused_where_rounding_may_take_a_tenth_of_w():
    """In float32, labels 1: the points are as ill conditioned as W."""
    taken = refused = 0
    for small in np.geomspace(1e-2, 3e-7, 40):
        W = np.diag([1.0, small]).astype(np.float32)
        try:
            Phi_S = distill.features(W, np.eye(2, dtype=np.float32))
        except ValueError as said:
            refused += 1
            assert "no digit of W may be left after training" in str(said) and small < 1e-5
        else:
            taken += 1
            assert refused == 0 and distill.retraining_loss(Phi_S, np.eye(2, dtype=np.float32), 0.0, W) <= 0.1
    assert taken > 20 and refused > 3
