"""ddref.spectrum: models and scores for every lam, against brute force, scikit-learn, and columns of every size."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import conditioned, error, numpy64
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
