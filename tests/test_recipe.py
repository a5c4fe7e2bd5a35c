"""ddref.recipe: inputs come back with labels, an oracle trains on them, what is not exact is refused with numbers."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import conditioned, error, numpy64, refit
from ddref import datasets, distill, krr, maps, recipe
from ddref.maps import fourier
from ddref.measure import tolerance

D, P, K = 24, 20, 4

MAPS = {
    "identity": lambda like: maps.Identity(),
    "linear": lambda like: maps.leaky_relu_network([D, P], seed=1, like=like).steps[0],
    "orthogonal network": lambda like: maps.leaky_relu_network([D, P, P], seed=1, bias=0.3, like=like),
    "gaussian network": lambda like: maps.leaky_relu_network([D, P], seed=1, weights="gaussian", like=like),
    "flow": lambda like: maps.flow(D, 3, seed=1, like=like),
    "orthogonal fourier": lambda like: fourier.orthogonal_features(D, P, 3.0, seed=1, like=like),
    "gaussian fourier": lambda like: fourier.gaussian_features(D, P, 3.0, seed=1, like=like),
    "network, tanh": lambda like: maps.Chain(
        [maps.leaky_relu_network([D, P], seed=1, slope=0.5, like=like), maps.Tanh()]
    ),
    "network, fourier": lambda like: maps.Chain(
        [maps.leaky_relu_network([D, D], seed=1, like=like), fourier.orthogonal_features(D, P, 3.0, seed=1, like=like)]
    ),
}


def problem(nx, name, m, rng):
    phi = MAPS[name](nx.asarray([[1.0]]))
    p = phi.output_dim or P
    return phi, nx.asarray(conditioned(rng, p, K, 5)), nx.asarray(rng.normal(size=(m, phi.input_dim or P)))


def assert_exact(nx, phi, found, W, amplification=None):
    """Trains on the arrays as returned, with solvers that share no line with the package."""
    X_S, Y_S, lam_S, certificate = found
    assert nx.is_mine(X_S) and nx.is_mine(Y_S) and X_S.shape[0] == Y_S.shape[0]
    W_S, condition = refit(phi(X_S), Y_S, lam_S)
    rounding = certificate.rounding if amplification is None else amplification * nx.eps
    limit = tolerance(max(condition, certificate.condition), nx.dtype) * rounding / nx.eps
    assert error(W_S, W) < min(limit, 1e-2), (condition, certificate)
    assert certificate.exact and certificate.relative_error <= certificate.tolerance


@pytest.mark.parametrize("lam_S", [0.0, 0.01])
@pytest.mark.parametrize("how", ["free", "near", "labels", "labels and near"])
@pytest.mark.parametrize("name", MAPS)
def test_inputs_are_exact_for_every_map_and_everything_that_may_be_given(nx, rng, name, how, lam_S):
    m = 2 * K
    phi, W, near = problem(nx, name, m, rng)
    Y_S = nx.asarray(3.0 * np.eye(K)[np.arange(m) % K])
    given_ = {"m": m}
    if "near" in how:
        given_["near"] = near
    if "labels" in how:
        given_["Y_S"] = Y_S
    found = recipe.distill(phi, W, lam_S=lam_S, **given_)
    assert_exact(nx, phi, found, W)
    assert tuple(found.X_S.shape) == tuple(near.shape)
    c = found.certificate.scale
    assert (c < 1) <= (hasattr(phi, "range_scale"))
    if "labels" in how:
        assert found.lam_S == pytest.approx(c**2 * lam_S, rel=1e-6)
        assert error(found.Y_S, c * numpy64(Y_S)) < (1e-10 if nx.dtype == "float64" else 1e-2)
    else:
        assert found.lam_S == lam_S and found.certificate.label_distance is None


def test_the_certificate_says_what_the_arrays_say(rng):
    phi, W = maps.leaky_relu_network([D, P], seed=1, weights="gaussian"), conditioned(rng, P, K, 5)
    near = rng.normal(size=(9, D))
    X_S, Y_S, lam_S, certificate = recipe.distill(phi, W, near=near)
    Phi_S = phi(X_S)
    assert certificate.input_distance == pytest.approx(error(X_S, near), rel=1e-12)
    assert certificate.distance == pytest.approx(error(Phi_S, phi(near)), rel=1e-12)
    assert certificate.largest_input == np.abs(X_S).max() and certificate.scale == 1.0
    assert certificate.condition == pytest.approx(np.linalg.cond(Phi_S), rel=1e-9)
    stored = [A.astype("float32").astype("float64") for A in (X_S, Y_S)]
    W_32 = refit(phi(stored[0]), stored[1], lam_S)[0]
    assert certificate.float32_error == pytest.approx(error(W_32, W), rel=1e-6)
    assert 1e-8 < certificate.float32_error < 1e-2 and certificate.relative_error < 1e-11


def test_labels_follow_the_recovered_features_not_the_wanted_ones(rng):
    """What the pre-image misses is no error of the model: labels are those of the inputs that are returned."""

    class Sloppy(maps.Linear):
        def preimage(self, Phi, near=None):
            return super().preimage(Phi, near) * (1 + 1e-3 * np.cos(np.arange(D)))

    A, W = rng.normal(size=(D, P)), conditioned(rng, P, K, 5)
    X_S, Y_S, lam_S, certificate = recipe.distill(Sloppy(A), W, near=rng.normal(size=(P + 3, D)))
    assert error(refit(Sloppy(A)(X_S), Y_S, lam_S)[0], W) < tolerance(certificate.condition, "float64")
    with pytest.raises(ValueError, match="the set found is not exact: training on it gives a model 0.00.* away from W"):
        recipe.distill(Sloppy(A), W, near=rng.normal(size=(K + 3, D)))  # the rows no longer span W
    with pytest.raises(ValueError, match="leave lam_S = 5 out, or use a better conditioned map") as refused:
        recipe.distill(Sloppy(A), W, near=rng.normal(size=(K + 3, D)), lam_S=5.0)
    assert len(str(refused.value)) < 300


def test_any_object_with_the_protocol_will_do(nx, rng):
    class Reversed:
        """Entries in reverse order, doubled; says nothing about its width."""

        input_dim = output_dim = None

        def is_onto(self):
            return True

        def __call__(self, X):
            return 2 * (X.flip(1) if hasattr(X, "flip") else X[:, ::-1])

        def preimage(self, Phi, near=None):
            return self(Phi) / 4

    W, near = nx.asarray(conditioned(rng, P, K, 5)), nx.asarray(rng.normal(size=(7, P)))
    for options in ({}, {"near": near}, {"Y_S": nx.asarray(np.eye(K)), "lam_S": 1e-3}):
        assert_exact(nx, Reversed(), recipe.distill(Reversed(), W, **options), W)


def test_given_labels_are_returned_to_the_last_bit_where_they_are_exact(nx, rng):
    W, Y_S = nx.asarray(conditioned(rng, P, K, 5)), nx.asarray(np.eye(K))
    phi = maps.leaky_relu_network([D, P], seed=0, like=W)
    found = recipe.distill(phi, W, Y_S=Y_S)
    assert np.array_equal(numpy64(found.Y_S), np.eye(K)) and found.certificate.label_distance == 0.0


def test_given_labels_move_by_the_rounding_of_an_ill_conditioned_map_and_say_so(rng):
    W = conditioned(rng, P, K, 5)
    phi = maps.Linear(conditioned(rng, D, P, 1e7))
    found = recipe.distill(phi, W, Y_S=np.eye(K))
    assert 1e-14 < found.certificate.label_distance < 1e-7
    assert found.certificate.label_distance == pytest.approx(error(found.Y_S, np.eye(K)), rel=1e-12)
    kept = error(refit(phi(found.X_S), np.eye(K), 0.0)[0], W)
    assert error(refit(phi(found.X_S), found.Y_S, 0.0)[0], W) < kept < 1e-6


def test_labels_that_are_moved_stay_near_the_given_ones_where_these_are_no_predictions(rng):
    """More points than features: labels have a part that no model explains, and keep it when they move."""
    W, Y_S = conditioned(rng, P, K, 5), np.eye(K)[np.arange(2 * P) % K]
    phi = maps.Linear(conditioned(rng, D, P, 1e7))
    near = rng.normal(size=(2 * P, D))
    X_S, moved, lam_S, certificate = recipe.distill(phi, W, Y_S=Y_S, near=near, lam_S=1e-6)
    assert error(phi(X_S) @ W, Y_S) > 0.1
    assert 0 < certificate.label_distance < 1e-6
    assert certificate.label_distance == pytest.approx(error(moved, Y_S), rel=1e-14)  # norms of two makers
    W_S, condition = refit(phi(X_S), moved, lam_S)
    assert error(W_S, W) < tolerance(condition, "float64")


@pytest.mark.parametrize("m", [K, K + 3, P, P + 7])
def test_repeated_labels_do_not_repeat_points(rng, m):
    W, Y_S = conditioned(rng, P, K, 5), np.eye(K)[np.arange(m) % K]
    bound = distill.largest_lam(W, Y_S)
    for lam_S in (0.0, 0.5 * bound, bound):
        X_S, _, _, certificate = recipe.distill(maps.Identity(), W, Y_S=Y_S, lam_S=lam_S)
        assert error(refit(X_S, Y_S, lam_S)[0], W) < tolerance(1e3, "float64")
        assert certificate.label_distance < 1e-13 and certificate.condition < 100
        gaps = np.linalg.norm(X_S[:, None, :] - X_S[None, :, :], axis=2) + 1e3 * np.eye(m)
        assert gaps.min() > 1e-2 * np.abs(X_S).max()


def test_the_default_is_as_many_points_as_the_rank(rng):
    W = conditioned(rng, P, 6, 5, rank=3)
    phi = maps.leaky_relu_network([D, P], seed=0)
    found = recipe.distill(phi, W)
    assert found.X_S.shape == (3, D) and found.certificate.condition == pytest.approx(1, abs=1e-9)
    assert recipe.distill(phi, W, m=7).X_S.shape == (7, D)
    assert recipe.distill(phi, np.zeros((P, 2))).Y_S.tolist() == [[0.0, 0.0]]


def test_inputs_near_real_ones_are_nearer_than_without_them(rng):
    W, near = conditioned(rng, P, K, 5), rng.normal(size=(15, D))
    for name in ("orthogonal network", "orthogonal fourier"):
        phi = MAPS[name](None)
        with_near, without = recipe.distill(phi, W, near=near), recipe.distill(phi, W, m=15)
        assert with_near.certificate.input_distance < 0.75 * error(without.X_S, near)
        assert without.certificate.input_distance is None and without.certificate.distance is None


def test_rows_are_scaled_into_the_cube_one_by_one_when_labels_are_free(rng):
    phi, W = fourier.orthogonal_features(D, P, 3.0, seed=1), conditioned(rng, P, K, 5)
    near = rng.normal(size=(15, D))
    found = recipe.distill(phi, W, near=near, lam_S=0.01)
    assert found.lam_S == 0.01 and found.certificate.scale < 0.99
    assert np.abs(phi(found.X_S)).max() <= (1 - 0.9 * fourier.MARGIN) * phi.half_width


def test_an_error_within_what_rounding_explains_is_no_excuse_above_the_cube_root_of_eps(rng):
    """Three Gaussian layers, scaled apart: float64 still works, the same map in float32 is refused with its numbers."""
    torch = pytest.importorskip("torch")
    W = conditioned(rng, 60, K, 5)
    phi = maps.leaky_relu_network([60] * 4, seed=2, weights="gaussian")
    certificate = recipe.distill(phi, W).certificate
    assert 1e-13 < certificate.relative_error < 1e-6 and certificate.float32_error > 5e-3
    W_32 = torch.tensor(W, dtype=torch.float32)
    phi_32 = maps.leaky_relu_network([60] * 4, seed=2, weights="gaussian", like=W_32)
    with pytest.raises(ValueError, match=r"is not exact: .* away from W \(0.0049 allowed\); rounding X_S"):
        recipe.distill(phi_32, W_32)


@pytest.mark.parametrize("lam_S", [0.0, 1.0, 1e3, 1e6])
def test_a_large_lam_s_with_an_intercept_is_exact_each_part_to_its_own_digits(rng, lam_S):
    """Labels grow with lam_S, and their last bits with them: they move the intercept, and not W."""
    W, b = conditioned(rng, 8, 2, 3), rng.normal(size=(1, 2))
    X_S, Y_S, _, certificate = recipe.distill(maps.Identity(), W, m=4, lam_S=lam_S, intercept=b)
    mean, mean_Y = X_S.mean(axis=0), Y_S.mean(axis=0)
    W_S = refit(X_S - mean, Y_S - mean_Y, lam_S)[0]
    assert error(W_S, W) <= certificate.tolerance <= 200 * certificate.condition * 2.0**-52
    size = np.linalg.norm(b) + np.linalg.norm(mean) * np.linalg.norm(W)
    assert np.linalg.norm(mean_Y - mean @ W_S - b) / size <= certificate.intercept_tolerance
    assert (certificate.intercept_tolerance > 100 * certificate.tolerance) == (lam_S > 1e2)


@st.composite
def problems(draw):
    p = draw(st.integers(1, 9))
    d, k, m = draw(st.integers(p, 11)), draw(st.integers(1, 4)), draw(st.integers(1, 12))
    return d, p, k, m, draw(st.integers(1, min(p, k))), draw(st.integers(0, 2**32 - 1))


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from(["network", "fourier", "identity"]), st.sampled_from([0.0, 0.3]), st.booleans())
def test_sets_are_exact_or_refused_over_shapes_and_ranks(problem, kind, lam_S, with_near):
    d, p, k, m, rank, seed = problem
    rng = np.random.default_rng(seed)
    d = p if kind == "identity" else d
    phi = {
        "network": lambda: maps.leaky_relu_network([d, p, p], seed=seed, slope=0.3),
        "fourier": lambda: fourier.orthogonal_features(d, p, 2.0, seed=seed),
        "identity": maps.Identity,
    }[kind]()
    W, near = conditioned(rng, p, k, 5, rank=rank), rng.normal(size=(m, d))
    copies = W.copy(), near.copy()
    if m < rank:
        with pytest.raises(ValueError, match=f"rank {rank}"):
            recipe.distill(phi, W, m=m, near=near if with_near else None, lam_S=lam_S)
        return
    found = recipe.distill(phi, W, m=m, near=near if with_near else None, lam_S=lam_S)
    W_S, condition = refit(phi(found.X_S), found.Y_S, found.lam_S)
    condition = max(condition, found.certificate.condition)
    assert error(W_S, W) < tolerance(condition, "float64") * found.certificate.rounding / 2**-52
    assert all(np.array_equal(A, B) for A, B in zip(copies, (W, near), strict=True))


def test_arrays_stay_on_their_device(rng):
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    given_ = conditioned(rng, 5, 2, 3), rng.normal(size=(4, 6)), np.eye(2)[[0, 1, 1, 0]]
    W, near, Y_S = (xp.asarray(A, device=device) for A in given_)
    for phi in (maps.leaky_relu_network([6, 5], seed=0, like=W), fourier.gaussian_features(6, 5, 1.0, seed=0, like=W)):
        for options in ({}, {"near": near}, {"Y_S": Y_S}, {"near": near, "Y_S": Y_S}, {"Y_S": Y_S, "lam_S": 1e-3}):
            found = recipe.distill(phi, W, **options)
            assert found.X_S.device == found.Y_S.device == device


EYE, W_OK = maps.Identity(), conditioned(np.random.default_rng(0), 6, 2, 3)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: recipe.distill(maps.leaky_relu_network([4, 6], seed=0), W_OK), ValueError,
         r"\(d, p\) = \(4, 6\) and rank 4 is not onto R\^6: more features than inputs"),
        (lambda: recipe.distill(maps.Linear(np.diag([1.0] * 5 + [0.0])), W_OK), ValueError, "rank 5 is not onto"),
        (lambda: recipe.distill(maps.ReLU(), W_OK), ValueError, "ReLU is not onto: it takes no negative value"),
        (lambda: recipe.distill(maps.Sigmoid(), W_OK), ValueError, "Sigmoid takes values between 0 and 1"),
        (lambda: recipe.distill(fourier.gaussian_features(4, 6, 1.0, seed=0), W_OK), ValueError,
         "rank 4 is not onto the cube: more features than inputs"),
        (lambda: recipe.distill(maps.Identity(5), W_OK), ValueError, "phi has 5 features and W has 6 rows"),
        (lambda: recipe.distill(EYE, W_OK, m=1), ValueError, "m = 1 points cannot carry W of rank 2"),
        (lambda: recipe.distill(EYE, W_OK, near=np.ones((1, 6))), ValueError, "Phi_0 has 1 rows and W has rank 2"),
        (lambda: recipe.distill(EYE, W_OK, Y_S=np.ones((3, 2))), ValueError, "cannot carry W"),
        (lambda: recipe.distill(EYE, W_OK, m=2, near=np.ones((3, 6)), Y_S=np.eye(2)), ValueError,
         "the numbers of points differ: near 3, Y_S 2, m 2"),
        (lambda: recipe.distill(EYE, W_OK, m=2.0), TypeError, "m must be an integer, got 2.0"),
        (lambda: recipe.distill(EYE, W_OK, lam_S=-1), ValueError, "lam_S = -1.0 must be finite"),
        (lambda: recipe.distill(EYE, W_OK, Y_S=np.eye(2), lam_S=1e9), ValueError, r"lam_S = 1e\+09 exceeds"),
        (lambda: recipe.distill(EYE, W_OK, near=np.ones((3, 6), "float32")), TypeError, "W, near differ in dtype"),
        (lambda: recipe.distill(EYE, [[1.0]]), TypeError, "NumPy or PyTorch arrays of one library are needed"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# -- images: p = d = 784


GRID = 10.0 ** np.arange(-4, 6)  # regularisations to choose from


def trained(phi, X, y):
    """The model, with the regularisation of `GRID` that does best on the last sixth of the training images."""
    Phi, Y, cut = phi(X), np.eye(10)[y], len(X) - len(X) // 6
    (G, B), (G_v, B_v) = ((A.T @ A, A.T @ C) for A, C in ((Phi[:cut], Y[:cut]), (Phi[cut:], Y[cut:])))
    right = [np.mean((Phi[cut:] @ W).argmax(1) == y[cut:]) for W in krr.path(G, B, GRID)]
    return krr.path(G + G_v, B + B_v, [GRID[np.argmax(right)]])[0]


def first(y, ipc):
    """The first `ipc` images of every class, in file order."""
    return np.concatenate([np.flatnonzero(y == c)[:ipc] for c in range(10)])


# -- with an intercept


def refit_with_intercept(Phi_S, Y_S, lam_S):
    """Ridge regression with an unpenalised intercept, on centred rows. Returns (W_S, b_S, condition)."""
    Phi, Y = numpy64(Phi_S), numpy64(Y_S)
    mean, mean_Y = Phi.mean(axis=0), Y.mean(axis=0)
    W_S, condition = refit(Phi - mean, Y - mean_Y, lam_S)
    return W_S, mean_Y - mean @ W_S, condition


@pytest.mark.parametrize("lam_S", [0.0, 0.3, None])
@pytest.mark.parametrize("how", ["free", "near"])
@pytest.mark.parametrize("name", MAPS)
def test_sets_with_an_intercept_are_exact_for_every_map(nx, rng, name, how, lam_S):
    phi, W, near = problem(nx, name, 2 * K, rng)
    b = nx.asarray(rng.normal(size=(1, K)))
    options = {"near": near} if how == "near" else {"m": K + 1, "like": 0.3 * phi(near)}
    found = recipe.distill(phi, W, lam_S=lam_S, intercept=b, **options)
    assert found.certificate.exact and nx.is_mine(found.X_S) and nx.is_mine(found.Y_S)
    W_S, b_S, condition = refit_with_intercept(phi(found.X_S), found.Y_S, found.lam_S)
    limit = tolerance(max(condition, found.certificate.condition), nx.dtype) * found.certificate.rounding / nx.eps
    size = np.linalg.norm(b_S) + np.linalg.norm(numpy64(phi(found.X_S)).mean(axis=0)) * np.linalg.norm(W_S)
    assert error(W_S, W) < min(limit, 1e-2) and np.linalg.norm(b_S - numpy64(b)) / size < min(limit, 1e-2)


def test_with_an_intercept_one_point_more_is_needed_and_labels_are_free(rng):
    W, b = conditioned(rng, P, K, 5), rng.normal(size=K)
    assert len(recipe.distill(maps.Identity(P), W, intercept=b).X_S) == K + 1
    with pytest.raises(ValueError, match=rf"Phi_0 has {K} rows and W has rank {K}: with an intercept"):
        recipe.distill(maps.Identity(P), W, near=rng.normal(size=(K, P)), intercept=b)
    with pytest.raises(ValueError, match="with an intercept the labels are free"):
        recipe.distill(maps.Identity(P), W, Y_S=np.eye(K), intercept=b)
    with pytest.raises(TypeError, match="pass the row b"):
        recipe.distill(maps.Identity(P), W, intercept=True)
    with pytest.raises(ValueError, match="do not fit"):
        recipe.distill(maps.Identity(P), W, intercept=b[:2])


def test_a_set_stored_in_float32_is_certified_as_it_is_stored(rng):
    W = conditioned(rng, P, K, 5)
    found = recipe.distill(maps.Identity(P), W, near=rng.normal(size=(2 * K, P)), dtype="float32")
    assert found.X_S.dtype == np.float64 and (found.X_S == found.X_S.astype("float32")).all()
    assert (found.Y_S == found.Y_S.astype("float32")).all()
    W_S = refit(found.X_S, found.Y_S, 0.0)[0]
    assert found.certificate.relative_error == pytest.approx(error(W_S, W), rel=1e-6)
    assert 1e-12 < found.certificate.relative_error < found.certificate.tolerance < 1e-3
    with pytest.raises(ValueError, match="overflows float32"):
        recipe.distill(maps.Identity(P), W, near=1e39 * rng.normal(size=(2 * K, P)), dtype="float32")


def test_a_goal_is_reached_by_moving_farther(rng):
    near = conditioned(rng, 3 * K, D, 1e7)
    phi = maps.Linear(conditioned(rng, D, P, 1e3))
    W = conditioned(rng, P, K, 5)
    close, exact = (recipe.distill(phi, W, near=near, max_condition=limit, goal=goal)
                    for limit, goal in ((1e6, None), (None, 1e-13)))  # fmt: skip
    assert exact.certificate.relative_error <= 1e-13 < close.certificate.relative_error
    assert exact.certificate.distance > close.certificate.distance


@pytest.fixture(scope="module")
def sample():
    data = datasets.fashion_sample()
    scaled = datasets.standardize(data.X_train, data.X_test)
    return scaled.X_train, data.y_train, scaled.X_test


IMAGE_MAPS = {  # name: the map, the largest error of W allowed, and in float32 (inf: reported, whatever it is)
    "orthogonal 1": (lambda: maps.leaky_relu_network([784] * 2, seed=0), 1e-8, 1e-4),
    "orthogonal 2": (lambda: maps.leaky_relu_network([784] * 3, seed=0), 1e-8, 1e-4),
    "orthogonal 3": (lambda: maps.leaky_relu_network([784] * 4, seed=0), 1e-8, 1e-2),
    "gaussian 1": (lambda: maps.leaky_relu_network([784] * 2, seed=0, weights="gaussian"), 1e-8, math.inf),
    "gaussian 2": (lambda: maps.leaky_relu_network([784] * 3, seed=0, weights="gaussian"), 1e-8, math.inf),
    "gaussian 3": (lambda: maps.leaky_relu_network([784] * 4, seed=0, weights="gaussian"), 1e-6, math.inf),
    "flow": (lambda: maps.flow(784, seed=0), 1e-8, 1e-3),
    "orthogonal fourier": (lambda: fourier.orthogonal_features(784, 784, math.sqrt(1000), seed=0), 1e-8, 1e-4),
    "gaussian fourier": (lambda: fourier.gaussian_features(784, 784, math.sqrt(1000), seed=0), 1e-8, math.inf),
}


def assert_figures(phi, W, X, y, Phi_test, limit, limit_32, rng, ipcs):
    """Every set retrained by an oracle: its error, its decisions on test images, its error after float32 storage."""
    scores, found = Phi_test @ W, {}
    for ipc in ipcs:
        real, noise = X[first(y, ipc)], rng.normal(size=(10 * ipc, 784))
        others = ((real, 10.0), (noise, 0.0)) if ipc == max(ipcs) else ()
        for near, lam_S in ((real, 0.0), *others):
            X_S, Y_S, lam, certificate = recipe.distill(phi, W, near=near, lam_S=lam_S)
            W_S = refit(phi(X_S), Y_S, lam)[0]
            assert lam == lam_S and error(W_S, W) <= limit, (ipc, lam_S, certificate)
            assert np.array_equal((Phi_test @ W_S).argmax(1), scores.argmax(1)), (ipc, lam_S)
            if near is real and lam_S == 0:
                found[ipc] = certificate
                stored = [A.astype("float32").astype("float64") for A in (X_S, Y_S)]
                stored_error = error(refit(phi(stored[0]), stored[1], lam)[0], W)
                assert certificate.float32_error == pytest.approx(stored_error, rel=0.1)
                assert stored_error <= limit_32
    return found


@pytest.fixture(scope="module")
def models(sample):
    """Each map of `IMAGE_MAPS` with its model of the sample, built once."""

    @functools.cache
    def model(name):
        phi = IMAGE_MAPS[name][0]()
        return phi, trained(phi, *sample[:2])

    return model


@pytest.mark.parametrize("name", IMAGE_MAPS)
def test_fashion_images_reach_the_figures(sample, models, rng, name):
    (X, y, X_test), (phi, W) = sample, models(name)
    found = assert_figures(phi, W, X, y, phi(X_test), *IMAGE_MAPS[name][1:], rng, ipcs=(1, 10))
    assert found[1].distance > found[10].distance
    distances = [found[ipc].input_distance for ipc in (1, 10)]
    if name == "gaussian 1":
        assert distances[1] > 10  # near in features, dozens of times the images' own size away in pixels
    if name == "orthogonal 1":
        assert distances[0] < 1.8 and distances[1] < 0.3


def test_500_images_move_by_less_than_a_tenth_under_one_orthogonal_layer(sample, models):
    (X, y, _), (phi, W) = sample, models("orthogonal 1")
    certificate = recipe.distill(phi, W, near=X[first(y, 50)]).certificate
    assert certificate.input_distance < 0.1 and certificate.relative_error < 1e-8
    assert certificate.float32_error < 1e-4


def test_ten_points_with_one_hot_labels(models):
    for name in ("orthogonal 1", "gaussian 1", "orthogonal fourier"):
        phi, W = models(name)
        for lam_S in (0.0, 0.5 * distill.largest_lam(W, np.eye(10))):
            X_S, Y_S, lam, certificate = recipe.distill(phi, W, Y_S=np.eye(10), lam_S=lam_S)
            assert error(refit(phi(X_S), Y_S, lam)[0], W) <= 1e-8
            assert certificate.label_distance < 1e-8 and error(Y_S, certificate.scale * np.eye(10)) < 1e-8


def test_features_are_conditioned_for_a_map_that_amplifies_rounding(sample, models):
    """Three Gaussian layers: trained on the nearest features W loses ten digits; better conditioned ones are used."""
    (X, y, _), (phi, W) = sample, models("gaussian 3")
    near = X[first(y, 10)]
    careful = recipe.distill(phi, W, near=near)
    assert careful.certificate.condition <= 1200 and careful.certificate.relative_error < 1e-6
    assert error(refit(phi(careful.X_S), careful.Y_S, 0.0)[0], W) < 1e-6
    with pytest.raises(ValueError, match="is not exact.* or a smaller max_condition"):
        recipe.distill(phi, W, near=near, max_condition=1e6)


def test_mnist_reaches_the_figures(mnist, rng):
    """Fourier features; `results/surjective.json` has the other maps, read by `tests/test_results.py`."""
    make, limit, limit_32 = IMAGE_MAPS["gaussian fourier"]
    phi = make()
    W, Phi_test = trained(phi, mnist.X, mnist.y), phi(mnist.X_test)
    assert_figures(phi, W, mnist.X, mnist.y, Phi_test, limit, limit_32, rng, (10,))
    reached = float(np.mean((Phi_test @ W).argmax(1) == mnist.y_test))
    assert abs(reached - 0.937) < 0.005, reached


def test_autocast_is_refused_by_name():
    torch = pytest.importorskip("torch")
    phi = maps.leaky_relu_network([4, 4], seed=0, like=torch.ones(1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(TypeError, match="W is torch.float32, its products would be torch.bfloat16: leave"):
            recipe.distill(phi, torch.eye(4)[:, :2])
        with pytest.raises(TypeError, match="X is torch.float32, its products would be torch.bfloat16: leave"):
            phi(torch.ones(3, 4))
        with torch.autocast("cpu", enabled=False):  # as the message says
            assert recipe.distill(phi, torch.eye(4)[:, :2]).X_S.dtype == torch.float32
