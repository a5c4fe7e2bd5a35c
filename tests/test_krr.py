"""ddref.krr against its obvious twins, planted solutions, scikit-learn and bad input."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ALL, EPS, conditioned, error, numpy64
from ddref import krr
from ddref.measure import tolerance


def naive_primal(Phi, Y, lam):
    return np.linalg.solve(Phi.T @ Phi + lam * np.eye(Phi.shape[1]), Phi.T @ Y)


def naive_dual(Phi, Y, lam):
    return Phi.T @ np.linalg.solve(Phi @ Phi.T + lam * np.eye(Phi.shape[0]), Y)


@pytest.mark.parametrize("shape", [(30, 7), (7, 30), (9, 9), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("lam", [1e-3, 0.7, 50.0])
def test_pinv_equals_both_textbook_forms(nx, rng, shape, lam):
    Phi = conditioned(rng, *shape, condition=10)
    P = krr.regularized_pinv(nx.asarray(Phi), lam)
    tol = tolerance((1 + lam) / (1e-2 + lam), nx.dtype)
    assert nx.is_mine(P)
    assert error(P, np.linalg.solve(Phi.T @ Phi + lam * np.eye(shape[1]), Phi.T)) < tol
    assert error(P, Phi.T @ np.linalg.inv(Phi @ Phi.T + lam * np.eye(shape[0]))) < tol


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6, 1e10])
def test_pinv_at_zero_is_moore_penrose_for_every_conditioning(rng, condition):
    Phi = conditioned(rng, 40, 12, condition)
    assert error(krr.regularized_pinv(Phi, 0), np.linalg.pinv(Phi)) < tolerance(condition, "float64")


def test_pinv_at_zero_drops_null_directions_and_obeys_penrose(nx, rng):
    Phi = conditioned(rng, 20, 11, condition=30, rank=4)
    A, P = nx.asarray(Phi), krr.regularized_pinv(nx.asarray(Phi), 0)
    tol = tolerance(30, nx.dtype)
    assert error(A @ P @ A, A) < tol and error(P @ A @ P, P) < tol
    assert error((A @ P).T, A @ P) < tol and error((P @ A).T, P @ A) < tol
    assert np.linalg.matrix_rank(numpy64(P), tol=1e-3) == 4


@pytest.mark.parametrize("small", [True, False], ids=["svd", "gram"])
@pytest.mark.parametrize("shape", [(60, 8), (8, 60), (12, 12)])
def test_fit_equals_the_textbook_for_every_way(nx, rng, monkeypatch, small, shape):
    monkeypatch.setattr(krr, "SMALL", 10**9 if small else 0)
    Phi, Y, lam = conditioned(rng, *shape, condition=100), rng.normal(size=(shape[0], 3)), 0.01
    W = krr.fit(nx.asarray(Phi), nx.asarray(Y), lam)
    twin = naive_primal(Phi, Y, lam) if shape[0] >= shape[1] else naive_dual(Phi, Y, lam)
    assert nx.is_mine(W) and W.shape == (shape[1], 3)
    assert error(W, twin) < tolerance(1.01 / (1e-4 + lam), nx.dtype)


@pytest.mark.parametrize("shape", [(50, 9), (9, 50)])
def test_fit_finds_a_planted_model(nx, rng, shape):
    Phi, W_0 = conditioned(rng, *shape, condition=1e3), rng.normal(size=(shape[1], 2))
    W_0 = np.linalg.pinv(Phi) @ Phi @ W_0  # the part that the data can see
    assert error(krr.fit(nx.asarray(Phi), nx.asarray(Phi @ W_0), 0), W_0) < tolerance(1e3, nx.dtype)


@pytest.mark.parametrize("lam", [0.1, 1e3])
def test_fit_agrees_with_scikit_learn(rng, lam):
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import LinearRegression, Ridge

    Phi, Y = rng.normal(size=(80, 6)), rng.normal(size=(80, 2))
    W, cond = krr.fit(Phi, Y, lam), np.linalg.cond(Phi) ** 2
    assert error(W, Ridge(alpha=lam, fit_intercept=False, solver="svd").fit(Phi, Y).coef_.T) < tolerance(
        cond, "float64"
    )
    assert error(krr.fit(Phi, Y, 0), LinearRegression(fit_intercept=False).fit(Phi, Y).coef_.T) < tolerance(
        cond, "float64"
    )
    K = Phi @ Phi.T
    alpha = KernelRidge(alpha=lam, kernel="precomputed").fit(K, Y).dual_coef_
    assert error(krr.fit_dual(K, Y, lam), alpha) < tolerance(np.linalg.cond(K + lam * np.eye(80)), "float64")


@pytest.mark.parametrize("lam", [0.0, 1e-9, 1.0])
def test_dual_coefficients_give_the_primal_model(nx, rng, lam):
    Phi, Y = conditioned(rng, 30, 8, condition=5), rng.normal(size=(30, 2))  # K has rank 8 of 30
    alpha = krr.fit_dual(nx.asarray(Phi @ Phi.T), nx.asarray(Y), lam)
    # the condition of K + lam I where it is solved, of the kept part of K (5^2) where null directions are dropped
    condition = (1 + lam) / lam if lam > 30 * nx.eps * 8 else 25
    assert error(Phi.T @ numpy64(alpha), krr.fit(Phi, Y, lam)) < tolerance(condition, nx.dtype)


def test_path_equals_separate_fits(nx, rng):
    Phi, Y, lams = conditioned(rng, 60, 12, condition=100), rng.normal(size=(60, 3)), np.logspace(-4, 3, 24)
    G, B = Phi.T @ Phi, Phi.T @ Y
    models = krr.path(nx.asarray(G), nx.asarray(B), lams)
    assert nx.is_mine(models) and models.shape == (24, 12, 3)
    for lam, W in zip(lams, models, strict=True):
        assert error(W, np.linalg.solve(G + lam * np.eye(12), B)) < tolerance((1 + lam) / (1e-4 + lam), nx.dtype)


def test_path_drops_null_directions_only_below_the_smallest_eigenvalue_kept(rng):
    Phi, W_0 = conditioned(rng, 200, 30, condition=10, rank=20), rng.normal(size=(30, 2))
    G, B = Phi.T @ Phi, Phi.T @ (Phi @ W_0)
    w, V = np.linalg.eigh(G)
    uncut = V @ ((V.T @ B) / (w + 1e-14)[:, None])
    target = np.linalg.pinv(Phi) @ (Phi @ W_0)
    assert error(krr.path(G, B, [1e-14])[0], target) < 1e-10 < error(uncut, target)
    # above the smallest eigenvalue nothing is dropped, not even what lies under the cutoff
    G, B = np.diag([1.0, 1e-18]), np.array([[1.0], [1e-9]])
    assert krr.path(G, B, [10.0], rtol=1e-15)[0][1, 0] == pytest.approx(1e-10, rel=1e-12)


def test_float32_statistics_are_summed_in_float64(rng, nx):
    if nx.dtype != "float32":
        pytest.skip("only float32 is converted")
    Phi, Y = conditioned(rng, 300, 20, condition=1e4), rng.normal(size=(300, 2))
    Phi32, Y32 = nx.asarray(Phi), nx.asarray(Y)
    G, B = krr.gram(Phi32, Y32, chunk=64)
    assert str(G.dtype) == "torch.float64" and str(B.dtype) == "torch.float64"
    assert error(G, numpy64(Phi32).T @ numpy64(Phi32)) < 1e-14
    assert np.linalg.matrix_rank(numpy64(G)) == 20 > np.linalg.matrix_rank(numpy64(Phi32.T @ Phi32), tol=300 * 2.0**-23)


def test_gram_of_two_halves_adds_up_and_labels_are_optional(nx, rng):
    Phi, Y = nx.asarray(rng.normal(size=(50, 6))), nx.asarray(rng.normal(size=(50, 2)))
    G, B = krr.gram(Phi, Y)
    (G_1, B_1), (G_2, B_2) = krr.gram(Phi[:20], Y[:20]), krr.gram(Phi[20:], Y[20:])
    assert error(G_1 + G_2, G) < tolerance(1, "float64") and error(B_1 + B_2, B) < tolerance(1, "float64")
    assert krr.gram(Phi)[1] is None


@st.composite
def planted(draw):
    n, p, k = draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 4))
    rank = draw(st.integers(1, min(n, p)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale, condition = 10.0 ** draw(st.integers(-8, 8)), 10.0 ** draw(st.integers(0, 4))
    U = np.linalg.qr(rng.normal(size=(n, rank)))[0]
    V = np.linalg.qr(rng.normal(size=(p, rank)))[0]
    t = scale * np.logspace(0, -np.log10(condition), rank)
    lam = draw(st.sampled_from([0.0, 1e-6, 1.0, 1e3])) * scale**2
    return U, t, V, rng.normal(size=(rank, k)), lam


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(planted())
def test_fit_recovers_planted_factors_over_shapes_ranks_and_scales(case):
    U, t, V, C, lam = case
    Phi, Y = (U * t) @ V.T, U @ C
    copies = Phi.copy(), Y.copy()
    expected = (V * (t / (t**2 + lam))) @ C
    tol = tolerance(t[0] / t[-1], "float64")
    W = krr.fit(Phi, Y, lam)
    assert error(W, expected) < tol
    # below full rank the system has the condition t_1^2 / lam: nothing is cut at lam > 0, and a singular value that is
    # rounding, eps t_1, has its gain eps t_1 / lam. (The targets above have no part along it.)
    deficient = lam and len(t) < min(Phi.shape)
    tol_pinv = max(tol, tolerance((t[0] ** 2 + lam) / lam, "float64")) if deficient else tol
    assert error(krr.regularized_pinv(Phi, lam), (V * (t / (t**2 + lam))) @ U.T) < tol_pinv
    assert np.array_equal(Phi, copies[0]) and np.array_equal(Y, copies[1])
    for nx in ALL[1:2]:
        assert error(krr.fit(nx.asarray(Phi), nx.asarray(Y), lam), W) < 2 * tol


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8))
def test_duplicated_rows_and_constant_columns_change_nothing(seed, n, p):
    rng = np.random.default_rng(seed)
    Phi, Y = rng.normal(size=(n, p)), rng.normal(size=(n, 2))
    Phi[:, 0] = 1.0  # a constant column
    twice = krr.fit(np.concatenate([Phi, Phi]), np.concatenate([Y, Y]), 2.0)  # every sample twice = half of lam
    assert error(twice, krr.fit(Phi, Y, 1.0)) < tolerance(1 + np.linalg.norm(Phi) ** 2, "float64")


def test_gradients_flow_through_the_linear_solve_and_end_at_ties(monkeypatch):
    torch = pytest.importorskip("torch")
    Phi = torch.eye(5, dtype=torch.float64).repeat(2, 1).requires_grad_()  # all singular values tie
    Y = torch.randn(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    monkeypatch.setattr(krr, "SMALL", 0)
    assert torch.autograd.gradcheck(lambda A, B: krr.fit(A, B, 0.5), (Phi, Y))
    monkeypatch.setattr(krr, "SMALL", 10**9)
    (gradient,) = torch.autograd.grad(krr.fit(Phi, Y, 0.5).sum(), Phi)
    assert not torch.isfinite(gradient).all()  # as the module says: NaN where singular values coincide
    distinct = (Phi.detach() * torch.linspace(1, 2, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda A, B: krr.fit(A, B, 0.5), (distinct, Y))


def test_arrays_stay_on_their_device_and_float64_is_asked_for_clearly(monkeypatch):
    xp = pytest.importorskip("array_api_strict")
    Phi = xp.asarray(np.random.default_rng(0).normal(size=(12, 4)), device=xp.Device("device1"))
    Y = xp.asarray(np.ones((12, 2)), device=xp.Device("device1"))
    for small in (10**9, 0):
        monkeypatch.setattr(krr, "SMALL", small)
        assert krr.fit(Phi, Y, 1.0).device == xp.Device("device1")
    G, B = krr.gram(Phi, Y)
    assert krr.path(G, B, [0.0, 1.0]).device == xp.Device("device1")
    with pytest.raises(ValueError, match="different devices"):
        krr.fit(Phi, xp.asarray(np.ones((12, 2))), 1.0)
    no64 = xp.Device("no_float64")
    Phi, Y = (xp.asarray(np.ones((12, 4)), dtype=xp.float32, device=no64) for _ in range(2))
    with pytest.raises(ValueError, match="float64, which device .* does not have; move the arrays to the CPU"):
        krr.fit(Phi, Y, 1.0)


PHI, Y_OK = np.ones((3, 2)), np.ones((3, 1))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: krr.fit(np.array([[np.nan, 1.0]]), np.ones((1, 1)), 1.0), ValueError, "Phi contains NaN or Inf"),
        (lambda: krr.fit(PHI, np.array([[1.0], [np.inf], [1.0]]), 1.0), ValueError, "Y contains NaN or Inf"),
        (lambda: krr.fit(np.ones(3), Y_OK, 1.0), ValueError, r"Phi must have 2 dimensions.*\(3,\)"),
        (lambda: krr.fit(PHI, np.ones(3), 1.0), ValueError, r"Y must have 2 dimensions"),
        (lambda: krr.fit(PHI, np.ones((4, 1)), 1.0), ValueError, r"Phi \(n, p\), Y \(n, k\) do not fit.*\(3, 2\), \(4, 1\)"),
        (lambda: krr.fit(np.ones((3, 2), dtype=int), Y_OK, 1.0), TypeError, "Phi has dtype int64; convert it"),
        (lambda: krr.fit(PHI, Y_OK.astype("float32"), 1.0), TypeError, "differ in dtype: float64, float32"),
        (lambda: krr.fit(np.ones((0, 2)), np.ones((0, 1)), 1.0), ValueError, r"Phi is empty.*\(0, 2\)"),
        (lambda: krr.fit(PHI, Y_OK, -1.0), ValueError, r"lam = -1.0 must be finite and not negative"),
        (lambda: krr.fit(PHI, Y_OK, math.nan), ValueError, "lam = nan must be finite"),
        (lambda: krr.fit(PHI, Y_OK, math.inf), ValueError, "lam = inf must be finite"),
        (lambda: krr.fit(PHI, Y_OK, "much"), TypeError, "lam must be a number"),
        (lambda: krr.fit([[1.0]], [[1.0]], 1.0), TypeError, "NumPy or PyTorch arrays"),
        (lambda: krr.fit(PHI, Y_OK, 1.0, rtol=-1), ValueError, "rtol = -1.0"),
        (lambda: krr.regularized_pinv(PHI, -2), ValueError, "lam = -2.0"),
        (lambda: krr.regularized_pinv(PHI * np.nan, 1.0), ValueError, "Phi contains NaN or Inf"),
        (lambda: krr.fit_dual(PHI, Y_OK, 1.0), ValueError, r"K must be square.*\(3, 2\)"),
        (lambda: krr.fit_dual(np.triu(np.ones((3, 3))), Y_OK, 1.0), ValueError, "K is not symmetric"),
        (lambda: krr.fit_dual(-np.eye(3), Y_OK, 0.5), ValueError, "not positive"),
        (lambda: krr.path(np.diag([1.0, -1.0]), np.ones((2, 1)), [1.0]), ValueError, "smallest eigenvalue is -1"),
        (lambda: krr.path(np.eye(2), np.ones((2, 1)), []), ValueError, "lams is empty"),
        (lambda: krr.path(np.eye(2), np.ones((2, 1)), [1.0, -1.0]), ValueError, "a value of lams = -1.0"),
        (lambda: krr.path(np.eye(3), np.ones((2, 1)), [1.0]), ValueError, r"G \(p, p\), B \(p, k\) do not fit"),
        (lambda: krr.path(np.eye(2), np.ones((2, 1)), 1.0), TypeError, "lams must be a sequence"),
        (lambda: krr.gram(PHI.astype("float32"), chunk=-1), ValueError, "chunk = -1 must be at least 1"),
        (lambda: krr.gram(PHI, np.ones((4, 1))), ValueError, r"Phi \(n, p\), Y \(n, k\) do not fit.*\(3, 2\), \(4, 1\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_two_libraries_at_once_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="one library.*Phi: numpy.ndarray, Y: torch.Tensor"):
        krr.fit(PHI, torch.ones(3, 1, dtype=torch.float64), 1.0)


def test_autocast_is_refused():
    torch = pytest.importorskip("torch")
    Phi, Y = torch.ones(3, 2), torch.ones(3, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(TypeError, match=r"Phi is torch.float32, its products would be torch.bfloat16: .*autocast"):
            krr.fit(Phi, Y, 1.0)
        with torch.autocast("cpu", enabled=False):
            assert krr.fit(Phi, Y, 1.0).dtype == torch.float32


def test_float32_accumulation_would_lose_the_rank_of_mnist(mnist):
    X = mnist.X[:5000].astype("float32")
    wrong = np.linalg.svd((X.T @ X).astype(float), compute_uv=False)
    right = np.linalg.svd(krr.gram(X)[0], compute_uv=False)
    rank = lambda s: int(np.sum(s > s[0] * 1e-10))  # noqa: E731
    # float32 noise fills the null space: the spectrum below 1e-7 of the top is rounding
    assert np.sum(wrong > wrong[0] * 784 * 2.0**-23) < np.sum(right > right[0] * 784 * EPS)
    assert rank(right) == rank(np.linalg.svd(X.astype(float), compute_uv=False) ** 2)


def ordinary_beside_large(rng, n, p, size, place=0):
    """p ordinary columns, which alone explain the targets, and one of that size at a place among them."""
    F = rng.normal(size=(n, p))
    Y = F @ np.ones((p, 1)) + 0.1 * rng.normal(size=(n, 1))
    return np.insert(F, place, size * rng.normal(size=n), axis=1), Y


@pytest.mark.parametrize("size", [1e3, 3e7, 1e12, 1e18])
@pytest.mark.parametrize("place", [0, 7])
@pytest.mark.parametrize("shape", [(300, 20), (40, 60), (100, 60)])
@pytest.mark.parametrize("small", [True, False], ids=["svd", "gram"])
def test_a_large_column_wipes_out_no_other(rng, monkeypatch, size, place, shape, small):
    monkeypatch.setattr(krr, "SMALL", 10**9 if small else 0)
    Phi, Y = ordinary_beside_large(rng, *shape, size, place)
    sizes = np.where(np.arange(Phi.shape[1]) == place, size, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [krr.fit(Phi, Y, 1.0)]
        if shape[1] < 25:
            found += [krr.regularized_pinv(Phi, 1.0) @ Y, krr.path(*krr.gram(Phi, Y), [1.0])[0]]
    # an oracle that never meets the large numbers: scaled columns, each with its own penalty
    scaled = Phi / sizes
    expected = np.linalg.solve(scaled.T @ scaled + np.diag(1 / sizes**2), scaled.T @ Y) / sizes[:, None]
    small_ones = np.arange(Phi.shape[1]) != place
    # of K + I, where it is solved; else of an SVD, up to the ratio from which columns are scaled
    dual = not small and shape[0] < shape[1] and size == 1e3
    tol = tolerance(shape[0] * size**2 if dual else min(size, 1e8), "float64")
    assert all(error(W[small_ones], expected[small_ones]) < tol for W in found)


@pytest.mark.parametrize("size", [1.0, 1e9])
@pytest.mark.parametrize("p", [5, 40])
def test_columns_that_centring_left_as_rounding_do_no_harm(rng, size, p):
    """A constant column minus its mean is 1e-16, and its correlation with the targets is that of chance."""
    Phi, Y = ordinary_beside_large(rng, 100, p, size)
    noise = 1e-16 * rng.normal(size=(100, 3))
    G, B = krr.gram(np.c_[Phi, noise], Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for lam in (1e-3, 1.0):
            expected = krr.fit(Phi, Y, lam)[1:]
            for W in (krr.fit(np.c_[Phi, noise], Y, lam), krr.path(G, B, [lam])[0]):
                assert error(W[1 : p + 1], expected) < tolerance(size, "float64")
                assert np.abs(W[p + 1 :]).max() < 1e-3  # of a column of 1e-16


def test_float32_features_keep_small_columns_beside_large_ones(rng, monkeypatch):
    monkeypatch.setattr(krr, "SMALL", 0)
    Phi, Y = (A.astype("float32") for A in ordinary_beside_large(rng, 300, 5, 1e9))
    W = krr.fit(Phi, Y, 1.0)
    assert W.dtype == np.float32 and error(W[1:], krr.fit(Phi.astype(float), Y.astype(float), 1.0)[1:]) < 1e-5


def test_what_a_gram_matrix_would_lose_is_found_in_the_data(rng, monkeypatch):
    """Two columns that differ by 1e-8, with a lam that does not outweigh rounding in G: `fit` goes back to the data."""
    Phi = rng.normal(size=(200, 4))
    Phi[:, 1] = Phi[:, 0] + 1e-8 * rng.normal(size=200)
    Y = Phi @ np.array([[1e8], [-1e8], [1.0], [2.0]])
    monkeypatch.setattr(krr, "SMALL", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert error(Phi @ krr.fit(Phi, Y, 1e-24), Y) < 1e-6
    with pytest.warns(UserWarning, match="hides 1 of 4 directions"):
        krr.path(*krr.gram(Phi, Y), [1e-24])


def test_a_kernel_matrix_without_a_gap_is_solved_with_a_word(rng):
    x = np.linspace(0, 1, 40)[:, None]
    K = np.exp(-50 * (x - x.T) ** 2)  # eigenvalues fall below rounding without a gap
    with pytest.warns(UserWarning, match=r"lam = 0.0 does not outweigh rounding in K: .* without a gap"):
        krr.fit_dual(K, rng.normal(size=(40, 1)), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # null directions of few features, and a lam that outweighs rounding
        krr.fit_dual((1 + x @ x.T) ** 2, rng.normal(size=(40, 1)), 0.0)
        krr.fit_dual(K, rng.normal(size=(40, 1)), 1e-6)


# ------------------------------------------------------ thresholds, from both sides of each


def watched(monkeypatch, *names):
    """The names of the helpers of `krr` that are called from here on, in order."""
    called = []
    for name in names:
        plain = getattr(krr, name)
        monkeypatch.setattr(krr, name, lambda *given, name=name, plain=plain: called.append(name) or plain(*given))
    return called


@pytest.mark.parametrize("shape, way", [((6, 3), "_primal"), ((3, 3), "_primal"), ((3, 6), "_dual")])
def test_an_svd_is_taken_where_it_is_affordable_or_lam_is_zero(rng, monkeypatch, shape, way):
    Phi, Y = rng.normal(size=shape), rng.normal(size=(shape[0], 1))
    called = watched(monkeypatch, "_from_data", "_primal", "_dual")
    for entries, lam, expected in ((18, 1.0, "_from_data"), (17, 1.0, way), (0, 0.0, "_from_data")):
        monkeypatch.setattr(krr, "SMALL", entries if Phi.size == 18 else entries - 18 + Phi.size)
        called.clear()
        assert error(krr.fit(Phi, Y, lam), np.linalg.pinv(Phi) @ Y if lam == 0 else naive_primal(Phi, Y, lam)) < 1e-12
        assert called == [expected]


def test_at_lam_above_zero_nothing_is_cut_but_what_rtol_asks_for():
    Phi = np.diag([1.0, 1e-17])
    assert krr.regularized_pinv(Phi, 0.0)[1, 1] == 0.0
    assert krr.regularized_pinv(Phi, 1e-34)[1, 1] == pytest.approx(5e16)
    assert krr.regularized_pinv(Phi, 1e-34, rtol=1e-10)[1, 1] == 0.0
    assert krr.regularized_pinv(Phi, 0.0, rtol=1e-20)[1, 1] == pytest.approx(1e17)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_a_cutoff_is_heeded_at_every_size_of_the_system(rng, monkeypatch, shape):
    U, V = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in shape)
    Phi, Y, lam = (U * [1.0, 0.5, 1e-3, 1e-3]) @ V.T, rng.normal(size=(shape[0], 2)), 1e-8
    cut = V[:, :2] @ ((U[:, :2].T @ Y) * (np.array([1.0, 0.5]) / np.array([1.0 + lam, 0.25 + lam]))[:, None])
    for small in (krr.SMALL, 0):
        monkeypatch.setattr(krr, "SMALL", small)
        assert error(krr.fit(Phi, Y, lam, rtol=1e-2), cut) < 1e-10
        assert error(krr.fit(Phi, Y, lam), naive_primal(Phi, Y, lam)) < 1e-6  # without it nothing is cut
        with pytest.raises(ValueError, match="rtol = -1.0"):
            krr.fit(Phi, Y, lam, rtol=-1)


@pytest.mark.parametrize("dtype, bits", [("float64", 26), ("float32", 11.5)])
def test_columns_are_scaled_where_their_sizes_differ_by_more_than_an_svd_keeps(monkeypatch, dtype, bits):
    called = watched(monkeypatch, "_from_scaled_columns")
    for size, lam, rtol, scaled in (
        (1.01 * 2.0**-bits, 1e-30, None, False),
        (0.99 * 2.0**-bits, 1e-30, None, True),
        (0.99 * 2.0**-bits, 2 * 2.0 ** (-2 * bits), None, False),  # lam makes them alike
        (0.99 * 2.0**-bits, 0.0, None, False),
        (0.99 * 2.0**-bits, 1e-30, 0.0, False),
    ):
        called.clear()
        Phi = np.diag([1.0, size]).astype(dtype)
        W = krr.fit(Phi, np.ones((2, 1), dtype=dtype), lam, rtol=rtol)
        assert bool(called) is scaled and W[1, 0] == pytest.approx(size / (size**2 + lam), rel=1e-5)


def test_a_gram_matrix_serves_down_to_the_rounding_of_its_eigenvalues(rng, monkeypatch):
    Phi = conditioned(rng, 9, 3, condition=10)
    for A, way, size in ((Phi, "_primal", 3), (Phi.T.copy(), "_dual", 3)):
        G = A.T @ A if way == "_primal" else A @ A.T
        rounding = size * EPS * np.trace(G)
        monkeypatch.setattr(krr, "SMALL", 0)
        called = watched(monkeypatch, "solve_definite", "from_gram", "_from_data")
        Y = rng.normal(size=(len(A), 1))
        for lam, expected in ((1.01 * rounding, "solve_definite"), (0.99 * rounding, None)):
            called.clear()
            assert error(A @ krr.fit(A, Y, lam), A @ np.linalg.pinv(A) @ Y) < 1e-9
            other = "from_gram" if way == "_primal" else "_from_data"
            assert called == [expected or other]
        monkeypatch.undo()


@pytest.mark.parametrize("p, factor, blurred", [(25, 0.5e6, False), (26, 0.9e6, True), (26, 1e6, False), (26, 1.1e6, False)])
def test_of_more_than_25_columns_the_data_are_asked_below_a_million_cutoffs(rng, monkeypatch, p, factor, blurred):
    Phi = conditioned(rng, 40, p, condition=10)
    Phi[:, 0] *= 1e9
    Y = rng.normal(size=(40, 1))
    spectrum = krr.from_gram(*krr.gram(Phi, Y))
    lam = factor * spectrum.cut
    assert 0 < lam
    monkeypatch.setattr(krr, "SMALL", 0)
    monkeypatch.setattr(krr, "eigenvalue_rounding", lambda G: np.inf)
    called = watched(monkeypatch, "_from_data")
    krr.fit(Phi, Y, lam)
    assert bool(called) is blurred


def test_dual_coefficients_are_solved_for_above_rounding_and_of_least_norm_below(monkeypatch):
    K = np.diag([1.0, 0.5])
    called = watched(monkeypatch, "solve_definite", "_least_norm")
    for lam in (1.01 * 3 * EPS, 3 * EPS, 0.99 * 3 * EPS):  # 2 eps times a trace of 1.5
        krr.fit_dual(K, np.ones((2, 1)), lam)
    assert called == ["solve_definite", "_least_norm", "_least_norm"]


def test_eigenvalues_of_a_kernel_matrix_are_kept_above_n_eps_and_a_gap_of_ten_is_one():
    Y = np.ones((3, 1))
    for below, above, gap in ((2.9, 3.1, False), (2.9, 28.0, False), (2.9, 30.0, True), (0.0, 3.1, True), (0.3, 3.1, True)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            alpha = krr.fit_dual(np.diag([1.0, above * EPS, below * EPS]), Y, 0.0)
        assert bool(said) is not gap
        assert alpha[:, 0] == pytest.approx([1.0, 1 / (above * EPS), 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert krr.fit_dual(np.eye(2), np.ones((2, 1)), 0.0).tolist() == [[1.0], [1.0]]  # nothing is cut
        assert krr.fit_dual(np.zeros((2, 2)), np.ones((2, 1)), 0.0).tolist() == [[0.0], [0.0]]


def test_an_indefinite_or_asymmetric_kernel_matrix_is_refused_a_hundred_roundings_on():
    limit, Y = 200 * EPS, np.ones((2, 1))
    for off, refused in ((0.9, False), (1.1, True)):
        for K, message in ((np.diag([1.0, -off * limit]), "positive"), (np.eye(2) + [[0, off * limit], [0, 0]], "symmetric")):
            if refused:
                with pytest.raises(ValueError, match=f"not {message}"):
                    krr.fit_dual(K, Y, 0.0)
            else:
                krr.fit_dual(K, Y, 0.0)


@pytest.mark.parametrize("chunk", [1, 3, 4, 5])
def test_float32_rows_are_summed_in_chunks_of_any_size(rng, chunk):
    Phi, Y = rng.normal(size=(4, 2)).astype("float32"), rng.normal(size=(4, 1)).astype("float32")
    G, B = krr.gram(Phi, Y, chunk=chunk)
    assert G.dtype == B.dtype == np.float64
    assert error(G, Phi.T.astype(float) @ Phi) < 1e-15 and error(B, Phi.T.astype(float) @ Y) < 1e-15
    assert krr.gram(Phi, chunk=chunk)[1] is None is krr.gram(Phi.astype(float))[1]


def test_an_svd_is_affordable_up_to_a_million_entries(monkeypatch):
    monkeypatch.setattr(krr, "_from_data", lambda Phi, Y, lam, rtol: "by SVD")
    monkeypatch.setattr(krr, "_primal", lambda Phi, Y, lam: np.zeros((1, 1)))
    for n, way in ((1024, "by SVD"), (1025, "by a linear system")):
        found = krr.fit(np.zeros((n, 1024)), np.zeros((n, 1)), 1.0)
        assert (found if isinstance(found, str) else "by a linear system") == way


def test_kernel_matrices_that_cannot_be_used_are_refused_by_name():
    with pytest.raises(ValueError, match="K contains NaN or Inf"):
        krr.fit_dual(np.full((1, 1), np.nan), np.ones((1, 1)), 1.0)
    with pytest.raises(TypeError, match="Y has dtype int64"):
        krr.fit_dual(np.eye(1), np.ones((1, 1), dtype=int), 1.0)
    with pytest.raises(ValueError, match=r"K \(n, n\), Y \(n, k\) do not fit"):
        krr.fit_dual(np.eye(2), np.ones((3, 1)), 1.0)


def test_at_a_threshold_itself_the_safer_way_is_taken(monkeypatch):
    """Of columns 2^26 times as large, and of lam that is the rounding of a Gram matrix to the last bit."""
    called = watched(monkeypatch, "_from_scaled_columns", "solve_definite")
    krr.fit(np.diag([2.0**26, 1.0]), np.ones((2, 1)), 1e-40)
    assert called == ["_from_scaled_columns"]
    Phi, Y = np.array([[1.0, 0.5], [0.0, 2.0]]), np.ones((2, 1))
    for way, G in ((krr._primal, Phi.T @ Phi), (krr._dual, Phi @ Phi.T)):
        lam = krr.eigenvalue_rounding(G)
        for factor, solved in ((1.0, False), (1 + 1e-9, True)):
            called.clear()
            way(Phi, Y, lam * factor)
            assert bool(called) is solved


def test_the_gap_of_a_kernel_matrix_is_told_to_the_caller_with_its_ends():
    """Three eigenvalues: the cutoff, 3 eps, counts as zero itself."""
    with pytest.warns(UserWarning, match="without a gap from 6.9e-16 to 6.7e-16; use a larger lam") as said:
        krr.fit_dual(np.diag([3 * EPS, 3.1 * EPS, 1.0]), np.ones((3, 1)), 0.0)
    assert said[0].filename == __file__
