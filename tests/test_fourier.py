"""ddref.maps.fourier: the cube is reached, branches are the nearest by brute force, scaling keeps the model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import conditioned, error, numpy64, refit
from ddref import distill
from ddref.maps import fourier
from ddref.measure import tolerance


@st.composite
def problems(draw):
    d = draw(st.integers(1, 10))
    return d, draw(st.integers(1, d)), draw(st.integers(1, 7)), draw(st.integers(0, 2**32 - 1))


@settings(max_examples=150, deadline=None)
@given(problems(), st.floats(0, 5), st.sampled_from([None, 0.1, 30.0]))
def test_every_point_of_the_cube_is_reached(problem, digits, far):
    d, p, n, seed = problem
    rng = np.random.default_rng(seed)
    A, b = conditioned(rng, d, p, 10**digits), rng.uniform(0, 2 * math.pi, p)
    phi, Phi = fourier.RandomFourier(A, b), math.sqrt(2 / p) * rng.uniform(-1, 1, size=(n, p))
    Phi[0, 0] = math.sqrt(2 / p) * (-1) ** seed  # a corner is in the range too
    near = None if far is None else far * rng.normal(size=(n, d))
    copies = Phi.copy(), None if near is None else near.copy()
    X = phi.preimage(Phi, near)
    assert phi.is_onto_cube() and not phi.is_onto() and X.shape == (n, d) == (n, phi.input_dim)
    size = np.linalg.norm(X) + (0 if near is None else np.linalg.norm(near)) + 2 * math.pi * n
    assert np.linalg.norm(phi(X) - Phi) <= tolerance(1, "float64") * math.sqrt(2 / p) * size  # ||A|| = 1
    assert np.array_equal(Phi, copies[0]) and (near is None or np.array_equal(near, copies[1]))


@settings(max_examples=150, deadline=None)
@given(problems(), st.floats(0.1, 20))
def test_the_branch_is_the_nearest_of_all(problem, far):
    d, _, n, seed = problem
    rng = np.random.default_rng(seed)
    b, near = rng.uniform(0, 2 * math.pi, d), far * rng.normal(size=(n, d))
    phi, Phi = fourier.RandomFourier(np.eye(d), b), math.sqrt(2 / d) * rng.uniform(-1, 1, size=(n, d))
    X = phi.preimage(Phi, near)
    angle, t_near = np.arccos(Phi / math.sqrt(2 / d)), near + b
    j = np.floor(t_near / (2 * math.pi))
    branches = [sign * angle + 2 * math.pi * (j + turn) for sign in (1, -1) for turn in range(-3, 4)]
    best = np.min([np.abs(t - t_near) for t in branches], axis=0)
    assert np.abs(np.abs(X + b - t_near) - best).max() < 1e-12 * (1 + far)
    assert np.abs(X - near).max() <= math.pi * (1 + 1e-12)


def test_a_preimage_near_an_input_that_fits_already_is_that_input(rng):
    phi, X = fourier.orthogonal_features(9, 6, 0.5, seed=1), 3 * rng.normal(size=(5, 9))
    assert error(phi.preimage(phi(X), X), X) < 1e-7  # at the edge of the cube the arc cosine loses half the digits
    assert error(phi(phi.preimage(phi(X), X)), phi(X)) < tolerance(10, "float64")


def test_where_inputs_are_left_free_they_stay_at_the_reference(rng):
    phi = fourier.gaussian_features(8, 3, 2.0, seed=0)
    Phi, near = phi.half_width * rng.uniform(-1, 1, size=(4, 3)), rng.normal(size=(4, 8))
    free = np.linalg.svd(phi.A)[0][:, 3:]
    assert np.abs((phi.preimage(Phi, near) - near) @ free).max() < 1e-13
    assert np.abs(phi.preimage(Phi) @ free).max() < 1e-13


@pytest.mark.parametrize("make", [fourier.gaussian_features, fourier.orthogonal_features])
def test_features_keep_library_device_and_dtype_and_agree_with_numpy(nx, rng, make):
    phi, reference = make(7, 5, 1.5, seed=2, like=nx.asarray([[1.0]])), make(7, 5, 1.5, seed=2)
    X, Phi = rng.normal(size=(4, 7)), 0.9 * reference.half_width * rng.uniform(-1, 1, size=(4, 5))
    assert nx.is_mine(phi(nx.asarray(X))) and error(phi(nx.asarray(X)), reference(X)) < tolerance(10, nx.dtype)
    for near in (None, X):
        back = phi.preimage(nx.asarray(Phi), None if near is None else nx.asarray(near))
        assert nx.is_mine(back) and nx.is_mine(phi.range_scale(nx.asarray(Phi)))
        assert error(phi(back), Phi) < tolerance(20, nx.dtype)
        assert error(back, reference.preimage(Phi, near)) < tolerance(20 * np.linalg.cond(reference.A), nx.dtype)


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    like = xp.asarray(np.ones((1, 1)), device=device)
    phi = fourier.orthogonal_features(6, 4, 1.0, seed=0, like=like)
    X = xp.asarray(np.linspace(-1, 1, 12).reshape(2, 6), device=device)
    Phi = phi(X)
    assert Phi.device == phi.preimage(Phi).device == phi.preimage(Phi, X).device == device
    assert phi.range_scale(Phi).device == fourier.into_cube(Phi, Phi).Phi_S.device == device


@pytest.mark.parametrize("make", [fourier.gaussian_features, fourier.orthogonal_features])
def test_inner_products_approximate_the_gaussian_kernel(make, rng):
    X = rng.normal(size=(6, 20))
    squared = ((X[:, None, :] - X[None, :, :]) ** 2).sum(-1)
    K, p = np.exp(-squared / (2 * 5.0**2)), 20000
    Phi = make(20, p, 5.0, seed=0)(X)
    assert np.abs(Phi @ Phi.T - K).max() < 5 / math.sqrt(p)  # each entry: mean K, deviation at most 1/sqrt(p)
    wrong = np.exp(-squared / 5.0**2)  # the bandwidth without its factor of 2
    assert np.abs(Phi @ Phi.T - wrong).max() > 10 / math.sqrt(p)


def test_orthogonal_frequencies_have_lower_variance_without_bias(rng):
    x = 1.5 * np.eye(1, 16)
    exact, values = math.exp(-(1.5**2) / 2), {}
    for make in (fourier.gaussian_features, fourier.orthogonal_features):
        pairs = [make(16, 16, 1.0, seed=s).A for s in range(1500)]
        values[make] = np.array([np.cos(x @ A).mean() for A in pairs])  # the kernel without the noise of the phases
        assert abs(values[make].mean() - exact) < 5 * values[make].std() / math.sqrt(1500)
    assert values[fourier.orthogonal_features].var() < 0.7 * values[fourier.gaussian_features].var()


def test_orthogonal_frequencies_are_orthogonal_in_blocks_and_well_conditioned():
    A = fourier.orthogonal_features(100, 250, 2.0, seed=0).A
    for start, stop in ((0, 100), (100, 200), (200, 250)):
        G = A[:, start:stop].T @ A[:, start:stop]
        lengths = np.sqrt(np.diag(G))
        assert np.abs(G / np.outer(lengths, lengths) - np.eye(stop - start)).max() < 1e-13
        assert abs((2.0 * lengths).mean() - 10) < 0.5  # a Gaussian vector in R^100
    square = [make(100, 100, 2.0, seed=0).A for make in (fourier.orthogonal_features, fourier.gaussian_features)]
    assert np.linalg.cond(square[0]) < 2 < 50 < np.linalg.cond(square[1])


@settings(max_examples=120, deadline=None)
@given(problems(), st.integers(1, 4), st.sampled_from([0.0, 0.1, 3.0]), st.sampled_from([0.0, 1e-3, 0.5]))
def test_scaling_into_the_cube_keeps_the_model(problem, k, lam_S, margin):
    _, p, m, seed = problem
    rng = np.random.default_rng(seed)
    Phi_S, Y_S = conditioned(rng, m, p, 10, scale=10.0 ** rng.integers(-2, 3)), rng.normal(size=(m, k))
    W, condition = refit(Phi_S, Y_S, lam_S)
    inside = fourier.into_cube(Phi_S, Y_S, lam_S, margin=margin)
    limit = (1 - margin) * math.sqrt(2 / p)
    assert np.abs(inside.Phi_S).max() <= limit * (1 + 1e-15) and 0 < inside.c <= 1
    assert inside.c == 1 or abs(np.abs(inside.Phi_S).max() / limit - 1) < 1e-14  # no smaller than needed
    W_S, condition_S = refit(inside.Phi_S, inside.Y_S, inside.lam_S)
    # labels that hardly any model explains cancel in Phi^T Y, whose rounding counts relative to W
    cancelled = max(1.0, np.linalg.norm(Y_S) / (np.linalg.norm(Phi_S) * np.linalg.norm(W)))
    assert error(W_S, W) < tolerance(max(condition, condition_S) * cancelled, "float64")


def test_scaling_features_without_labels_and_lam_trains_another_model(rng):
    Phi_S, Y_S, lam_S = rng.normal(size=(5, 8)), rng.normal(size=(5, 2)), 0.3
    W, inside = refit(Phi_S, Y_S, lam_S)[0], fourier.into_cube(Phi_S, Y_S, lam_S)
    assert inside.c < 0.5
    for wrong in ((Y_S, inside.lam_S), (inside.Y_S, lam_S), (Y_S, lam_S)):
        assert error(refit(inside.Phi_S, *wrong)[0], W) > 0.05


def test_rows_may_be_scaled_one_by_one_when_labels_follow(rng):
    phi, W = fourier.orthogonal_features(12, 12, 1.0, seed=0), rng.normal(size=(12, 3))
    Phi_S = np.concatenate([W.T, rng.normal(size=(4, 12))]) * 10.0 ** rng.uniform(-2, 1, size=(7, 1))
    c = phi.range_scale(Phi_S)
    inside = c * Phi_S
    assert c.shape == (7, 1) and np.ptp(c) > 0.5
    assert np.abs(inside).max() <= (1 - fourier.MARGIN) * phi.half_width * (1 + 1e-15)
    for lam_S in (0.0, 0.01):
        W_S, condition = refit(inside, distill.labels(inside, W, lam_S), lam_S)
        assert error(W_S, W) < tolerance(max(condition, np.linalg.cond(inside)), "float64")


def test_features_that_rounding_puts_just_outside_are_on_the_boundary(nx):
    phi = fourier.RandomFourier(nx.asarray(np.eye(3)), nx.asarray(np.zeros((1, 3)))[0])
    edge = nx.asarray(np.full((1, 3), math.sqrt(2 / 3) * (1 + 4 * nx.eps)))
    assert numpy64(phi.preimage(edge)).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(ValueError, match="3 of 3 features are outside the cube"):
        phi.preimage(edge * (1 + 32 * nx.eps))


def test_features_follow_the_seed():
    for make in (fourier.gaussian_features, fourier.orthogonal_features):
        one, again, other = (make(4, 3, 1.0, seed=s) for s in (1, np.random.default_rng(1), 2))
        assert np.array_equal(one.A, again.A) and np.array_equal(one.b, again.b)
        assert not np.array_equal(one.A, other.A)
        assert 0 <= one.b.min() and one.b.max() < 2 * math.pi


PHI = fourier.RandomFourier(np.eye(2), np.zeros(2))
DEFICIENT = conditioned(np.random.default_rng(0), 5, 3, 2, rank=2)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: PHI.preimage(np.array([[0.5, -2.0]])), ValueError,
         r"1 of 2 features are outside the cube of half-width sqrt\(2/p\) = 1, the largest 2 times as far out; "
         r"scale the set by c = 0.4995: \(c Phi_S, c Y_S, c\^2 lam_S\)"),
        (lambda: PHI.preimage(np.ones((1, 3))), ValueError, "Phi has 3 columns, this map needs 2"),
        (lambda: PHI.preimage(np.ones((1, 2)), np.ones((1, 3))), ValueError, r"near has shape \(1, 3\), one input"),
        (lambda: PHI(np.ones((1, 3))), ValueError, "X has 3 columns, this map needs 2"),
        (lambda: PHI.range_scale(np.ones((1, 2)), margin=1.0), ValueError, "margin = 1.0 must be below 1"),
        (lambda: fourier.RandomFourier(np.eye(2), np.zeros(3)), ValueError, r"b must have shape \(2,\)"),
        (lambda: fourier.RandomFourier(np.eye(2), np.zeros(2, "float32")), TypeError, "differ in dtype: .*float64.*float32"),
        (lambda: fourier.RandomFourier(np.ones((2, 3)), np.zeros(3)).preimage(np.zeros((1, 3))), ValueError,
         r"\(d, p\) = \(2, 3\) and rank 1 is not onto the cube: more features than inputs"),
        (lambda: fourier.RandomFourier(DEFICIENT, np.zeros(3)).preimage(np.zeros((1, 3))), ValueError,
         "rank 2 is not onto the cube: rank-deficient frequencies; .*at most 2 columns"),
        (lambda: fourier.into_cube(np.ones((2, 2)), np.ones((1, 1))), ValueError, r"Phi_S \(m, p\), Y_S \(m, k\) do not fit: their shapes are \(2, 2\), \(1, 1\)"),
        (lambda: fourier.into_cube(np.ones((2, 2)), np.ones((2, 1)), -1.0), ValueError, "lam_S = -1.0 must be finite"),
        (lambda: fourier.into_cube(np.ones((2, 2)), np.ones((2, 1)), margin=2), ValueError, "margin = 2.0 must be"),
        (lambda: fourier.gaussian_features(3, 2, 0.0, seed=0), ValueError, "bandwidth = 0 must be positive"),
        (lambda: fourier.gaussian_features(3, 0, 1.0, seed=0), ValueError, "p = 0 must be at least 1"),
        (lambda: fourier.orthogonal_features(3.0, 2, 1.0, seed=0), TypeError, "d must be an integer, got 3.0"),
        (lambda: fourier.orthogonal_features(3, 2, 1.0, seed=None), TypeError, "seed must be an integer or"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("features", [fourier.gaussian_features, fourier.orthogonal_features])
def test_phases_fill_the_whole_circle(features):
    b = numpy64(features(30, 400, 1.0, seed=0).b)
    assert 0 <= b.min() < 0.1 and 2 * math.pi - 0.1 < b.max() < 2 * math.pi
    assert np.histogram(b, 4, (0, 2 * math.pi))[0].min() > 60  # of 100


@pytest.mark.parametrize("eps, dtype", [(2.0**-52, "float64"), (2.0**-23, "float32")])
def test_the_cube_is_left_eight_roundings_beyond_its_boundary(eps, dtype):
    phi = fourier.Cosine(1.0)
    inside = np.array([[1 + 8 * eps, -1 - 7 * eps]], dtype=dtype)
    assert phi.preimage(inside)[0] == pytest.approx([0.0, math.pi], abs=1e-6)
    with pytest.raises(ValueError, match="1 of 2 features are outside the cube"):
        phi.preimage(np.array([[1 + 9 * eps, 1.0]], dtype=dtype))


def test_a_margin_below_one_is_kept_from_the_boundary():
    Phi, Y = np.array([[0.5, -4.0]]), np.ones((1, 1))
    for margin in (0.0, 0.25, 0.999):
        found = fourier.into_cube(Phi, Y, 3.0, margin=margin)
        assert np.abs(found.Phi_S).max() == pytest.approx(1 - margin)  # the half-width of 2 features is 1
        assert found.lam_S == pytest.approx(3 * found.c**2) and found.Y_S[0, 0] == found.c
    found = fourier.into_cube(Phi, Y)
    assert np.abs(found.Phi_S).max() == pytest.approx(0.999) and found.lam_S == 0.0
    for margin in (1.0, -0.1):
        with pytest.raises(ValueError, match="margin = "):
            fourier.into_cube(Phi, Y, margin=margin)


def test_without_a_reference_inputs_are_near_zero_and_not_their_angles():
    phi = fourier.RandomFourier(np.eye(1), np.array([4.0]))  # of 1.57 and 4.71 the second is nearer to 4
    assert phi.preimage(np.array([[0.0]]))[0, 0] == pytest.approx(1.5 * math.pi - 4, rel=1e-12)
