"""ddref.spectrum: models and scores for every lam, against brute force, scikit-learn, and columns of every size."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import EPS, conditioned, error, numpy64
from ddref import krr, spectrum
from ddref.measure import tolerance


def of(Phi, Y, way, dof=0):
    """The spectrum of rows, or of their sums."""
    if way == "data":
        return spectrum.from_data(Phi, Y, dof=dof)
    return spectrum.from_gram(Phi.T @ Phi, Phi.T @ Y, n=len(Phi), yy=float((Y**2).sum()), dof=dof)


def train(Phi, Y, lam, dof):
    """(W, b) of krr.fit, with an intercept where dof is 1."""
    mean, mean_Y = dof * Phi.mean(0), dof * Y.mean(0)
    W = krr.fit(Phi - mean, Y - mean_Y, lam)
    return W, mean_Y - mean @ W


def brute_leave_one_out(Phi, Y, lam, dof):
    total = 0.0
    for i in range(len(Phi)):
        others = np.arange(len(Phi)) != i
        W, b = train(Phi[others], Y[others], lam, dof)
        total += np.sum((Y[i] - Phi[i] @ W - b) ** 2)
    return total / len(Phi)


def brute_gcv(Phi, Y, lam, dof):
    """The hat matrix column by column: predictions of the model that is trained on one label that is 1."""
    n = len(Phi)
    W, b = train(Phi, np.eye(n), lam, dof)
    H = Phi @ W + b
    return n * np.sum((Y - H @ Y) ** 2) / (n - np.trace(H)) ** 2


def large_column(rng, n, size, p=20, place=0):
    """One column of that size among p ordinary ones, which alone explain the targets."""
    F = rng.normal(size=(n, p))
    Y = F @ np.ones((p, 1)) + 0.1 * rng.normal(size=(n, 1))
    return np.insert(F, place, size * rng.normal(size=n), axis=1), Y


@pytest.mark.parametrize("way", ["data", "gram"])
@pytest.mark.parametrize("dof", [0, 1])
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 14), st.integers(1, 8), st.integers(1, 3), st.integers(-6, 6))
def test_each_score_is_that_of_the_model_fitted_at_that_lam(way, dof, seed, n, p, k, exponent):
    rng = np.random.default_rng(seed)
    scale = 10.0**exponent
    Phi, Y = scale * rng.normal(size=(n, p)), rng.normal(size=(n, k)) + 1
    lams = [lam * scale**2 for lam in (1e-2, 1.0, 30.0)]
    Phi_c, Y_c = Phi - dof * Phi.mean(0), Y - dof * Y.mean(0)
    found = of(Phi_c, Y_c, way, dof)
    smallest = 1e-2 / (1e-2 + np.linalg.norm(Phi / scale, 2) ** 2)  # of 1 - leverage, and of what is left of Y
    rel = tolerance(1 / smallest**3, "float64")
    batches = [(Phi_c[i : i + 5], Y_c[i : i + 5]) for i in range(0, n, 5)]
    for lam, W, g, one in zip(
        lams, spectrum.models(found, lams), spectrum.gcv(found, lams),
        spectrum.leave_one_out(found, lams, batches), strict=True,
    ):  # fmt: skip
        assert error(W, train(Phi, Y, lam, dof)[0]) < tolerance(1 / smallest, "float64")
        assert g == pytest.approx(brute_gcv(Phi, Y, lam, dof), rel=rel)
        assert one == pytest.approx(brute_leave_one_out(Phi, Y, lam, dof), rel=rel)


@pytest.mark.parametrize("way", ["data", "gram"])
@pytest.mark.parametrize("size", [1.0, 1e3, 3e7, 1e12])
@pytest.mark.parametrize("place", [0, 3])
def test_a_large_column_hides_no_other(rng, way, size, place):
    linear_model = pytest.importorskip("sklearn.linear_model")
    Phi, Y = large_column(rng, 60, size, p=5, place=place)
    large = np.arange(6) == place
    sizes = np.where(large, size, 1.0)
    lams = [0.0, 1e-3, 1.0, 10.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = of(Phi, Y, way)
        models, g = spectrum.models(found, lams), spectrum.gcv(found, lams)
        one = spectrum.leave_one_out(found, lams, [(Phi, Y)])
    scaled = Phi / sizes
    for i, lam in enumerate(lams):
        # an oracle that never meets the large numbers: scaled columns, each with its own penalty
        A = np.linalg.solve(scaled.T @ scaled + np.diag(lam / sizes**2), scaled.T)
        assert error(models[i][~large], (A @ Y)[~large]) < tolerance(10, "float64")
        assert error(models[i][large] * size, (A @ Y)[large]) < tolerance(1e4, "float64")
        H, n = scaled @ A, len(Phi)
        left = Y - H @ Y
        assert g[i] == pytest.approx(n * np.sum(left**2) / (n - np.trace(H)) ** 2, rel=1e-9)
        assert one[i] == pytest.approx(np.mean((left[:, 0] / (1 - np.diag(H))) ** 2), rel=1e-9)
    theirs = linear_model.RidgeCV(lams[1:], fit_intercept=False).fit(Phi, Y[:, 0])
    # (elsewhere than in the first place the large column disturbs the scores of scikit-learn)
    assert place or lams[1 + int(np.argmin(one[1:]))] == theirs.alpha_


def test_lam_is_chosen_with_the_small_columns_in_sight(rng):
    Phi, Y = large_column(rng, 500, 1e8)
    lams = [1e-3, 1.0, 1e9]
    for way in ("data", "gram"):
        found = of(Phi, Y, way)
        for scores in (spectrum.gcv(found, lams), spectrum.leave_one_out(found, lams, [(Phi, Y)])):
            assert int(np.argmin(scores)) == 0 and scores[0] < 0.02 < 10 < scores[2]


def test_what_the_gram_matrix_has_lost_is_named_with_numbers(rng):
    """Two columns that differ by 1e-8: the data know the difference, their Gram matrix does not."""
    Phi = rng.normal(size=(200, 4))
    Phi[:, 1] = Phi[:, 0] + 1e-8 * rng.normal(size=200)
    W = np.array([[1e8], [-1e8], [1.0], [2.0]])
    Y = Phi @ W
    with pytest.warns(UserWarning, match=r"rounding in the Gram matrix hides 1 of 4 directions .*fit on the data"):
        spectrum.models(of(Phi, Y, "gram"), [1e-20])
    assert error(Phi @ spectrum.models(of(Phi, Y, "data"), [1e-24])[0], Y) < 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # above the smallest eigenvalue kept nothing is left out
        spectrum.models(of(Phi, Y, "gram"), [1e3])


def test_a_decay_without_a_gap_is_told_where_lam_does_not_outweigh_it(rng):
    Phi, Y = conditioned(rng, 200, 40, condition=1e12), rng.normal(size=(200, 1))
    found = of(Phi, Y, "gram")
    with pytest.warns(UserWarning, match=r"at lam = 0.0 rounding .* use lam >= "):
        spectrum.models(found, [1.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum.models(found, [1.0, 1e-10])


def test_at_zero_what_lies_below_the_rank_cutoff_is_named(rng):
    Phi, Y = large_column(rng, 50, 1e18, p=5)
    found = of(Phi, Y, "gram")
    with pytest.warns(UserWarning, match=r"columns differ in size too much, from [\d.]+ to .* \(column 0\)"):
        spectrum.models(found, [0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum.models(found, [1e-9])


@pytest.mark.parametrize("sizes", [1.0, 1e5])
def test_null_directions_are_left_out_without_a_word(rng, sizes):
    """Constant and repeated columns, sums of others, fewer samples than features: no targets are lost."""
    X = rng.normal(size=(50, 6)) * np.array([sizes, 1, 1, 1, 1, 1])
    Phi = np.c_[X, X[:, :2], X @ rng.normal(size=(6, 2)), np.zeros((50, 3)), np.ones((50, 2))]
    for rows in (slice(50), slice(5)):
        A, Y = Phi[rows], rng.normal(size=(50, 2))[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            W = spectrum.models(of(A, Y, "gram"), [0.0, 1e-12])[0]
        best = A @ np.linalg.lstsq(A, Y, rcond=1e-12)[0]
        assert error(A @ W, best) < 1e-6


def test_models_and_scores_stay_in_their_library_and_on_their_device(nx, rng):
    Phi, Y = conditioned(rng, 30, 6, condition=10), rng.normal(size=(30, 2))
    Phi, Y = nx.asarray(Phi), nx.asarray(Y)
    for found in (
        spectrum.from_data(Phi, Y),
        spectrum.from_gram(Phi.T @ Phi, Phi.T @ Y, n=30, yy=float((Y**2).sum())),
    ):
        models = spectrum.models(found, [0.1, 1.0])
        assert nx.is_mine(models) and models.shape == (2, 6, 2)
        for score in (spectrum.gcv(found, [0.1]), spectrum.leave_one_out(found, [0.1], [(Phi, Y)])):
            assert isinstance(score[0], float)
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device1")
    for size in (1.0, 1e6):
        A, B = (xp.asarray(a, device=device) for a in (numpy64(Phi) * np.array([size, 1, 1, 1, 1, 1]), numpy64(Y)))
        for found in (spectrum.from_data(A, B), spectrum.from_gram(A.mT @ A, A.mT @ B, n=30, yy=60.0)):
            assert spectrum.models(found, [0.0, 1.0]).device == device
            spectrum.gcv(found, [1.0]), spectrum.leave_one_out(found, [1.0], [(A, B)])


def test_scores_that_are_not_defined_are_infinite(rng):
    Phi, Y = rng.normal(size=(5, 5)), rng.normal(size=(5, 2))
    for way in ("data", "gram"):
        found = of(Phi, Y, way)
        assert spectrum.gcv(found, [0.0, 1.0])[0] == np.inf > spectrum.gcv(found, [0.0, 1.0])[1]
        assert spectrum.leave_one_out(found, [0.0], [(Phi, Y)]) == [np.inf]
        with pytest.raises(ValueError, match="rows has 4 samples and these statistics hold 5"):
            spectrum.leave_one_out(found, [1.0], [(Phi[:4], Y[:4])])


def test_removed_samples_leave_rounding_that_is_no_column(rng):
    """What cancellation left in a column, eps of what was there, is not scaled up to a column."""
    small, Y = rng.normal(size=(40, 3)) * np.array([1.0, 1.0, 0.0]), rng.normal(size=(40, 1))
    large = rng.normal(size=(40, 3)) * 1e4
    G = (small.T @ small + large.T @ large) - large.T @ large
    cancellation = 1e8
    found = spectrum.from_gram((G + G.T) / 2, small.T @ Y, rtol=3 * 2.0**-52 * cancellation)
    expected = krr.fit(small, Y, 1.0)
    assert error(spectrum.models(found, [1.0])[0], expected) < 1e-6


@pytest.mark.parametrize("lam", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("size", [1.0, 1e9])
def test_a_column_whose_samples_were_all_removed_stays_without_a_word(rng, lam, size):
    """What is left of it is rounding; a small column that explains the targets beside it keeps its digits."""
    Phi, Y = large_column(rng, 100, size, p=3)
    both = np.c_[Phi, np.zeros((100, 2))]
    gone = np.c_[rng.normal(size=(50, 4)) * np.array([size, 1, 1, 1]), 3 * rng.normal(size=(50, 2))]
    T = rng.normal(size=(50, 1))
    G, B = both.T @ both + gone.T @ gone, both.T @ Y + gone.T @ T
    for part in (slice(20), slice(20, 50)):
        G, B = G - gone[part].T @ gone[part], B - gone[part].T @ T[part]
    assert np.abs(G[4:, 4:]).max() > 0  # rounding
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        W = spectrum.models(spectrum.from_gram((G + G.T) / 2, B), [lam])[0]
    expected = krr.fit(Phi, Y, lam)
    assert error(W[1:4], expected[1:]) < 1e-6 and np.abs(W[4:]).max() < 1e-6


def test_solve_is_the_linear_system_or_the_spectrum(rng):
    Phi, Y = large_column(rng, 100, 1e9)
    G, B = Phi.T @ Phi, Phi.T @ Y
    for lam in (1.0, 1e16):
        assert error(spectrum.solve(G, B, lam), krr.fit(Phi, Y, lam)) < 1e-9


def test_gradients_flow_through_models_and_end_at_ties():
    torch = pytest.importorskip("torch")
    Phi = torch.tensor(np.random.default_rng(0).normal(size=(8, 3)), requires_grad=True)
    Y = torch.tensor(np.random.default_rng(1).normal(size=(8, 2)), requires_grad=True)
    for size in (1.0, 1e4):
        sizes = torch.tensor([size, 1.0, 1.0], dtype=torch.float64)

        def small_columns(A, B, sizes=sizes):
            A = A * sizes
            return spectrum.models(spectrum.from_gram(A.T @ A, A.T @ B), [0.5])[:, 1:]

        assert torch.autograd.gradcheck(small_columns, (Phi, Y), atol=1e-4)
    assert torch.autograd.gradcheck(lambda A, B: spectrum.models(spectrum.from_data(A, B), [0.5]), (Phi, Y))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: spectrum.from_gram(np.diag([1.0, -1.0]), np.ones((2, 1))), ValueError, "smallest eigenvalue is -1"),
        (lambda: spectrum.from_gram(np.triu(np.ones((2, 2))), np.ones((2, 1))), ValueError, "G is not symmetric"),
        (lambda: spectrum.from_gram(np.eye(2), np.ones((3, 1))), ValueError, r"G \(p, p\), B \(p, k\) do not fit"),
        (lambda: spectrum.from_gram(np.eye(2), np.ones((2, 1)), rtol=-1), ValueError, "rtol = -1.0"),
        (lambda: spectrum.from_data(np.eye(2), np.ones((3, 1))), ValueError, r"Phi \(n, p\), Y \(n, k\) do not fit"),
        (lambda: spectrum.check_lams(1.0), TypeError, r"for one value pass \[lam\]"),
        (lambda: spectrum.check_lams([]), ValueError, "lams is empty"),
        (lambda: spectrum.solve(-np.eye(2), np.ones((2, 1)), 0.5), ValueError, "not positive definite"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# ------------------------------------------------------ thresholds, from both sides of each


def by_hand(w=(1.0,), n=1.0, dof=0, rest=0.0, rounding=0.0, cut=0.0, least=0.0, lost="", squares=None, VtB=None):
    """A spectrum with these values, of as many features."""
    q = len(w)
    squares = np.ones(q) if squares is None else np.array(squares)
    VtB = np.ones((q, 1)) if VtB is None else np.array(VtB)
    return spectrum.Spectrum(np.array(w), np.eye(q), VtB, squares, rest, n, dof, cut, least, rounding, lost)


def turned(w, seed=0):
    """(Q diag(w) Q^T, Q) with columns of alike sizes."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(w), len(w))))[0]
    G = (Q * np.array(w)) @ Q.T
    return (G + G.T) / 2, Q


def test_a_score_is_defined_above_a_thousand_roundings_of_freedom():
    for lam, defined in ((1.0, False), (0.99, False), (1.01, True)):  # the freedom left is lam / (1 + lam)
        found = by_hand(rounding=0.5e-3)
        (score,) = spectrum.gcv(found, [lam])
        assert np.isfinite(score) == defined
        (score,) = spectrum.leave_one_out(found, [lam], [(np.ones((1, 1)), np.ones((1, 1)))])
        assert np.isfinite(score) == defined
    found = by_hand(n=100.0, dof=1, w=(1.0, 1e-3), rounding=0.97e-3)  # the freedom of 100 samples, less dof and 2
    assert np.isfinite(spectrum.gcv(found, [0.0])).tolist() == [False] == [98 - 1 > 97.1]
    assert np.isfinite(spectrum.gcv(by_hand(n=100.0, dof=1, w=(1.0, 1e-3), rounding=0.969e-3), [0.0])).tolist() == [True]


def test_gcv_by_hand_where_squares_are_known_and_where_not():
    for squares, gone in (([4.0, 0.0], 0.0), ([4.0, 1.0], None)):
        found = by_hand((2.0, 1.0), n=7.0, rest=3.0, squares=squares, VtB=[[8**0.5], [2.0]])
        left = np.array([1 / 3, 0.5])  # lam / (w + lam)
        loss = squares * left**2
        if gone is not None:
            loss[1] -= 4 * 0.5 * 1.5  # what a direction of unknown squares takes from the rest
        expected = 7 * max(3 + loss.sum(), 0.0) / (7 - 2 + left.sum()) ** 2
        assert spectrum.gcv(found, [1.0]) == [pytest.approx(expected, rel=1e-14)]
    found = by_hand((1.0,), n=7.0, rest=0.1, squares=[0.0], VtB=[[5.0]])
    assert spectrum.gcv(found, [1.0]) == [0.0]  # never below zero


def test_each_sample_takes_the_share_of_the_intercept_or_its_own():
    found = by_hand((1.0,), n=2.0, dof=1)  # at lam = 3 the model is 1/4, as is the leverage of the first sample
    Phi, Y, lams = np.array([[1.0], [0.0]]), np.array([[3.0], [0.0]]), [3.0]
    assert spectrum.leave_one_out(found, lams, [(Phi, Y)]) == [pytest.approx((2.75 / (1 - 0.5 - 0.25)) ** 2 / 2)]
    own = [(Phi, Y, np.array([0.125, 0.0]))]
    assert spectrum.leave_one_out(found, lams, own) == [pytest.approx((2.75 / (1 - 0.125 - 0.25)) ** 2 / 2)]


def test_below_the_least_lam_what_lies_under_the_cutoff_is_left_out():
    found = by_hand((1e-20, 1e-9, 1.0), cut=1e-9, least=1e-6)
    assert spectrum.gains(found, [0.0])[0].tolist() == [0, 0, 1]
    assert spectrum.gains(found, [0.9e-6])[0][:2].tolist() == [0, 0]
    assert spectrum.gains(found, [1e-6])[0][:2] == pytest.approx([1e6, 1 / (1e-9 + 1e-6)])
    assert spectrum.gains(by_hand((0.0, 1.0)), [0.0])[0].tolist() == [0, 1]
    assert spectrum.gains(by_hand((0.0, 1.0)), [0.5])[0].tolist() == [2, 1 / 1.5]


def test_lost_directions_are_named_below_the_least_lam_alone():
    found = by_hand((1e-20, 1.0), cut=1e-9, least=1e-6, lost="something is lost")
    for lams, said in (([1e-6], False), ([1.0, 0.99e-6], True), ([0.0], True)):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            spectrum.models(found, lams)
        assert bool(heard) is said
        assert not said or ("lam >= 1e-06" in str(heard[0].message) and heard[0].filename == __file__)
    with pytest.warns(UserWarning, match="or use lam > 0"):
        spectrum.models(found._replace(least=5e-324), [0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum.models(found._replace(lost=""), [0.0])
        spectrum.models(by_hand((0.0,), cut=0.0, least=1.0), [0.0])  # zero features: W = 0
    with pytest.raises(ValueError, match="every eigenvalue of G lies below the cutoff 1,? *"):
        spectrum.models(by_hand((0.5, 1.0), cut=1.0, least=1.0), [0.0])


def test_an_eigenvalue_below_zero_may_be_rounding_and_no_more():
    for off, refused in ((0.9, False), (1.1, True)):
        G, _ = turned([-off * 1e-6, 0.5, 1.0])
        if refused:
            with pytest.raises(ValueError, match="G is not positive semi-definite"):
                spectrum.from_gram(G, np.ones((3, 1)), rounding=1e-6)
        else:
            found = spectrum.from_gram(G, np.ones((3, 1)), rounding=1e-6)
            assert found.w[0] == 0 and found.rounding == 1e-6
    with pytest.raises(ValueError, match="smallest eigenvalue is -1"):
        spectrum.from_gram(-np.eye(2), np.ones((2, 1)), rounding=0.5)


def test_the_cutoff_is_rtol_of_the_largest_or_four_times_the_smallest_below_zero():
    for w, kept in (
        ([-1e-7, 3.9e-7, 0.5, 1.0], 2),
        ([-1e-7, 4.1e-7, 0.5, 1.0], 3),
        ([0.9e-8, 0.3, 0.5, 1.0], 3),
        ([1.1e-8, 0.3, 0.5, 1.0], 4),
    ):
        G, Q = turned(w)
        found = spectrum.from_gram(G, G @ np.ones((4, 1)), rtol=1e-8, rounding=1e-6)
        assert int((found.w > found.cut).sum()) == kept
        assert found.least == (pytest.approx(w[4 - kept], rel=1e-6) if kept < 4 else 0.0)
        assert found.cut == pytest.approx(max(1e-8, -4 * w[0]), rel=1e-6)
        squares = (Q.T @ G @ np.ones((4, 1)))[:, 0] ** 2 / np.array(w)
        assert found.squares == pytest.approx(np.where(np.arange(4) < 4 - kept, 0, squares), rel=1e-4)
    assert spectrum.from_gram(np.eye(4), np.ones((4, 1))).cut == 4 * EPS == spectrum.from_gram(np.eye(4), np.ones((4, 1))).rounding


def test_what_no_model_explains_is_the_rest_or_rounding_of_the_squares():
    G, B = np.eye(2), np.array([[1.0], [2.0]])
    assert spectrum.from_gram(G, B, yy=7.0).rest == 2.0
    assert spectrum.from_gram(G, B, yy=5.0, rounding=1e-3).rest == 5e-3
    assert spectrum.from_gram(G, B, yy=5.0, n=3, dof=1)[5:7] == (3, 1)


@pytest.mark.parametrize(
    "w, held, lost",
    [
        (0.5e-8, 0.9e-6, False),  # 100 cutoffs of a model of norm 1
        (0.5e-8, 1.1e-6, True),
        (0.9e-8, 0.9e-6, False),
    ],
)
def test_directions_are_lost_where_they_hold_more_than_rounding_brings(w, held, lost):
    G, Q = turned([w, 1.0, 1.0])
    B = Q @ np.array([[held], [1.0], [0.0]])
    assert bool(spectrum.from_gram(G, B, rtol=1e-8).lost) is lost


@pytest.mark.parametrize("above, held, lost", [(9.0, 1e-9, True), (11.0, 1e-9, False), (9.0, 0.0, False)])
def test_directions_are_lost_where_no_gap_of_ten_separates_them(above, held, lost):
    G, B = np.diag([1e-8, above * 1e-8, 1.0]), np.array([[held], [0.0], [1.0]])
    found = spectrum._lost(np.diag(G), B, 1, 1e-8)  # by hand: turned, what is held is never zero
    assert bool(found) is lost
    assert spectrum._lost(np.diag(G), B, 0, 0.0) == "" == spectrum._lost(np.diag(G), B, 3, 2.0)


@pytest.mark.parametrize("ratio, scaled", [(99.0, False), (101.0, True)])
def test_a_gram_matrix_is_scaled_where_columns_differ_by_more_than_a_hundred(rng, ratio, scaled):
    Phi = np.linalg.qr(rng.normal(size=(30, 3)))[0] * np.array([ratio, 1.0, 1.0])
    found = of(Phi, Phi @ np.ones((3, 1)), "gram")
    # by columns the largest comes first, and the cutoff is that of an SVD
    assert (found.w[0] > found.w[-1]) == scaled and (found.cut < EPS * found.w.max()) == scaled


def test_linear_systems_serve_above_the_larger_of_both_roundings(rng, monkeypatch):
    G, B, called = np.diag([2.0, 1.0]), np.ones((2, 1)), []
    plain = spectrum.solve_definite
    monkeypatch.setattr(spectrum, "solve_definite", lambda *given: called.append(given[2]) or plain(*given))
    for lam, options in (
        (7 * EPS, {}),  # 2 eps times the trace of 3 is 6 eps
        (3.1e-3, {"rtol": 1e-3}),
        (3.1e-3, {"rounding": 1e-3}),
        (3.1e-3, {"rtol": 1e-3, "rounding": 1e-4}),
        (3.1e-3, {"rtol": 1e-4, "rounding": 1e-3}),
    ):
        for value, direct in ((lam, True), (0.8 * lam, False)):
            called.clear()
            assert error(spectrum.solve(G, B, value, **options), np.array([[1 / (2 + value)], [1 / (1 + value)]])) < 1e-12
            assert bool(called) is direct


def test_rows_by_hand_give_squares_rest_and_cutoff():
    found = spectrum.from_data(np.diag([4.0, 2.0, 0.0])[:, :2], np.array([[1.0], [2.0], [3.0]]), dof=1)
    assert found.w.tolist() == [16, 4] and np.abs(found.VtB[:, 0]).tolist() == [4, 4]
    assert found.squares.tolist() == [1, 4] and found.rest == pytest.approx(9) and (found.n, found.dof) == (3, 1)
    assert found.cut == (3 * EPS * 4) ** 2 and found.least == 0.0 and found.rounding == 2 * EPS
    assert spectrum.from_data(np.zeros((2, 2)), np.ones((2, 1))).cut == 0.0


def test_what_is_not_said_about_the_samples_is_zero():
    found = spectrum.from_gram(np.eye(2), np.ones((2, 1)))
    assert (found.rest, found.n, found.dof, found.lost) == (0.0, 0, 0, "")
    assert spectrum.from_data(np.eye(2), np.ones((2, 1))).dof == 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_norms_whose_squares_lose_digits_are_refused(dtype):
    limits, one = np.finfo(dtype), np.ones((1, 1), dtype)
    low, high = float(limits.smallest_normal) ** 0.5 / limits.eps, float(limits.max) ** 0.5 * limits.eps
    for size, refused in ((1.01 * low, False), (0.99 * low, True), (0.99 * high, False), (1.01 * high, True)):
        Phi, G = one * np.array(size, dtype), one * np.array(size, dtype) ** 2
        for call in (
            lambda Phi=Phi: spectrum.from_data(Phi, one),
            lambda G=G: spectrum.from_gram(G, one),
            lambda G=G: spectrum.solve(G, one, 1e-3),
        ):
            if refused:
                with pytest.raises(ValueError, match=f"has norm .*; squares in {dtype} keep their digits for norms from"):
                    call()
            else:
                call()
    assert spectrum.solve(0 * one, one, 2.0) == 0.5


def test_at_zero_the_cutoff_holds_whatever_the_least_lam():
    assert spectrum.gains(by_hand((1e-10, 1.0), cut=1e-9), [0.0])[0].tolist() == [0, 1]
    with pytest.warns(UserWarning, match="or use lam >= 1e-20"):
        spectrum.models(by_hand((1e-30, 1.0), cut=1e-25, least=1e-20, lost="something is lost"), [0.0])


def test_values_at_a_threshold_are_on_its_lower_side(monkeypatch):
    found = spectrum.from_gram(np.diag([-(2.0**-20), 1.0]), np.ones((2, 1)), rounding=2.0**-20)
    assert found.w[0] == 0.0  # as negative as rounding may be
    assert spectrum._above_rounding(np.array([0.25, 2.0]), 0.125)[1:] == (0.25, 1)
    assert spectrum._above_rounding(np.array([-0.25, 1.0, 2.0]), 0.125)[1:] == (1.0, 2)
    B = np.array([[1e-9], [0.0], [1.0]])
    assert spectrum._lost(np.array([1.0, 10.0, 100.0]), B, 1, 1.0) != "" == spectrum._lost(np.array([1.0, 10.1, 100.0]), B, 1, 1.0)
    assert spectrum._lost(np.array([0.0, 1.0]), np.array([[0.0], [1.0]]), 1, 0.0) == ""
    called = []
    monkeypatch.setattr(spectrum, "solve_definite", lambda *given: called.append(given[2]))
    spectrum.solve(np.diag([2.0, 1.0]), np.ones((2, 1)), 6 * EPS)
    assert called == []


@pytest.mark.parametrize("d, options, scaled", [
    ([1e4, 1.0, 1e4], {}, False),  # a ratio of 100
    ([1.0001e4, 1.0, 1e4], {}, True),
    ([1e6, 1.0, 0.0], {"rtol": 0.0}, True),  # its smallest eigenvalue is zero, and not below
])  # fmt: skip
def test_columns_of_a_diagonal_are_scaled_where_they_differ(d, options, scaled):
    found = spectrum.from_gram(np.diag(d), np.ones((3, 1)), **options)
    assert (found.w[0] > found.w[-1]) == scaled  # an SVD has the largest first


def test_columns_whose_scaled_sums_are_indefinite_stay_as_they_are():
    found = spectrum.from_gram(np.array([[1e6, 2e3], [2e3, 1.0]]), np.ones((2, 1)), rtol=1e-9, rounding=1e-5)
    assert found.w == pytest.approx([0.0, 1e6 + 4], rel=1e-6) and found.cut == pytest.approx(12, rel=1e-4)


@pytest.mark.parametrize("d, b, sizes", [
    ([1.0, 4.3e-14], [1.0, 0.0], [1.0, 1.0]),  # 100 * 2 eps of the largest is 4.44e-14
    ([1.0, 200 * EPS], [1.0, 0.0], [1.0, 1.0]),
    ([1.0, 4.6e-14], [1.0, 0.0], [1.0, 4.6e-14**0.5]),
    ([1.0, 1e-14], [1.0, 3.1e-12], [1.0, 1.0]),  # a correlation of sqrt(1e-9), 3.16e-5
    ([1.0, 1e-14], [1.0, 3.2e-12], [1.0, 1e-7]),
    ([1.0, 1e-14], [-1e-3, 2e-15], [1.0, 1.0]),
    ([1.0, 1e-14], [-1e-3, -4e-15], [1.0, 1e-7]),
    ([1.0, 1e-14], [0.0, 0.0], [1.0, 1.0]),
    ([4.0, 0.0], [1.0, 0.0], [2.0, 2.0]),
    ([4.0, 0.0], [1.0, 1.0], [2.0, 2.0]),
    ([4.0, -1.0], [1.0, 1.0], [2.0, 2.0]),
    ([4.0, 0.25], [1.0, 0.0], [2.0, 0.5]),
    ([1e-20, 1e-22], [0.0, 0.0], [1e-10, 1e-11]),
    ([0.0, 0.0], [0.0, 0.0], [1.0, 1.0]),
    ([-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]),
])  # fmt: skip
def test_what_is_no_column_counts_as_large_as_the_largest(d, b, sizes):
    found = spectrum._column_sizes(np.diag(d), np.array(b)[:, None])
    assert found == pytest.approx(sizes, rel=1e-12, abs=0)


def two_columns(correlation_short_of_one, B):
    """Sums of columns of size 1000 and 1, and B after both were scaled to 1."""
    D = np.diag([1e3, 1.0])
    c = 1 - correlation_short_of_one
    return D @ np.array([[1.0, c], [c, 1.0]]) @ D, D @ np.array(B)[:, None]


def test_above_a_thousand_cutoffs_of_the_largest_column_nothing_is_lost():
    G, B = two_columns(0.5e-3, [1.0, -1.0])
    found = spectrum.from_gram(G, B, rtol=1e-3)
    assert "hides 1 of 2 directions" in found.lost
    assert found.least == pytest.approx(1e3 * (2 - 0.5e-3) * 1e-3 * 1e6, rel=1e-9)


def test_what_is_left_out_and_harmless_counts_from_the_cutoff_of_the_largest_column_on():
    G, B = two_columns(1e-9, [1.0, 1.0 + 1e-9])
    found = spectrum.from_gram(G, B, rtol=1e-8)
    assert found.lost == "" and found.least == pytest.approx(2e-8 * 1e6, rel=1e-6)
    assert found.w.shape == (2,) and found.w[1] == 0.0 == found.squares[1]
    assert error(found.V @ found.VtB, B) < 1e-14  # nothing of B is lost


def test_a_part_of_the_targets_outside_the_rows_is_added_to_them():
    few = by_hand((4.0,), least=0.5)._replace(V=np.array([[1.0], [0.0]]))
    assert spectrum._with_rest_of(few, np.zeros((2, 1)), 9.0) is few
    for least, expected in ((9.0, 9.0), (0.1, 0.5)):
        found = spectrum._with_rest_of(few, np.array([[2.0], [3.0]]), least)
        assert found.least == expected and found.w.tolist() == [4, 0] and found.squares.tolist() == [1, 0]
        assert np.abs(found.VtB[:, 0]).tolist() == [3, 3] and (found.V @ found.VtB)[:, 0].tolist() == [3, 3]


@pytest.mark.parametrize("p, x, y, lost", [
    (25, 1e-10, 1.01e-9, True),
    (25, 1e-10, 0.99e-9, False),
    (25, 1.01e-10, 1.0, False),
    (26, 0.99e-8, 1.01e-9, True),
    (26, 0.99e-8, 0.99e-9, False),
    (26, 1.01e-8, 1.0, False),
])  # fmt: skip
def test_small_columns_are_lost_below_the_cutoff_or_a_hundred_of_more_than_25(p, x, y, lost, monkeypatch):
    G = np.diag([1e6] + [1.0] * (p - 1))
    for least in (0.0, 1.0):
        made = by_hand((1.0, x), cut=1e-10, squares=[1.0, y], least=least)
        monkeypatch.setattr(spectrum, "from_data", lambda *given, made=made: made)
        found = spectrum._by_columns(G, np.ones((p, 1)), 0.0, 0.0)
        if lost:
            assert found.lost.startswith("columns differ in size too much, from 1 to 1e+03 (column 0), and rounding")
            assert found.least == max(least, 5e-324 if p == 25 else 1e2 * 1e-10)
        else:
            assert found is made
    none = made._replace(squares=np.zeros(2))
    monkeypatch.setattr(spectrum, "from_data", lambda *given: none)
    assert spectrum._by_columns(G, np.ones((p, 1)), 0.0, 0.0) is none
