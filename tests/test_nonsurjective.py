"""ddref.nonsurjective: the count against brute force, the solver against a refit, a naive step and planted sets."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import conditioned, error, numpy64, refit
from ddref import datasets, krr
from ddref.measure import tolerance

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
conv, maps, nonsurjective = (pytest.importorskip(f"ddref.{name}") for name in ("maps.conv", "maps", "nonsurjective"))
OneLayer, generic_count, solve = nonsurjective.OneLayer, nonsurjective.generic_count, nonsurjective.solve
smooth_count, solve_twice = nonsurjective.smooth_count, nonsurjective.solve_twice
linearised, systems = nonsurjective.linearised, nonsurjective.systems

SHAPES = [(4, 12, 2), (5, 20, 3), (3, 10, 1), (6, 24, 2), (8, 30, 4)]  # d, p, r
SMOOTH = ["tanh", "sigmoid", "softplus", "asinh", "cos", "sin"]


def tensor(A, dtype=torch.float64):
    return torch.tensor(np.asarray(A), dtype=dtype)


def instance(seed, d, p, k, m, activation="tanh", dtype=torch.float64):
    """A random layer, a random model, which no data trained, and random points."""
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(d, p)) / np.sqrt(d), rng.normal(size=p)
    phi = OneLayer(tensor(A, dtype), tensor(b, dtype), activation)
    return phi, tensor(rng.normal(size=(p, k)), dtype), tensor(rng.normal(size=(m, d)), dtype)


def assert_exact(found, phi, W, lam_S=0.0):
    """Retrained from the arrays as returned, by an outsider."""
    assert found.certificate.exact
    Phi_S = phi(found.X_S)
    W_S, condition = refit(Phi_S, found.Y_S, lam_S)
    t = np.linalg.svd(numpy64(Phi_S), compute_uv=False)
    slack = max(condition, t[0] / t[-1])
    assert error(W_S, W) < tolerance(slack, W.dtype) + found.residual, (error(W_S, W), condition)


# -- the count


def test_the_count_needs_no_pytorch():
    """Both ways to name it; the solver's files are loaded when they are asked for."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import ddref\n"
        "from ddref.nonsurjective import count\n"
        "assert ddref.nonsurjective.generic_count(256, 64, 10) == count.generic_count(256, 64, 10) == 35\n"
        "assert ddref.nonsurjective.smooth_count(256, 64, 10) == 40\n"
        "assert {'solve', 'OneLayer', 'solver'} <= set(dir(ddref.nonsurjective))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_function_keeps_its_name_when_the_files_are_loaded():
    for name in nonsurjective.__all__:
        assert getattr(nonsurjective, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        nonsurjective.nothing  # noqa: B018

@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data(), st.booleans())
def test_the_count_is_the_smallest_number_with_enough_unknowns(p, d, data, homogeneous):
    r = data.draw(st.integers(1, p))
    enough = (m for m in range(r, p + r + 1) if m * (d + r - homogeneous) >= r * p)
    assert generic_count(p, d, r, homogeneous=homogeneous) == next(enough)


def test_counts_by_hand():
    assert generic_count(3, 1, 1) == 2  # a curve in space: two of its points span a plane through a given direction
    assert generic_count(12, 4, 2) == 4 and generic_count(256, 64, 10) == 35 and generic_count(512, 64, 10) == 70
    assert generic_count(10, 64, 3) == 3 and generic_count(67, 64, 3) == 3 and generic_count(68, 64, 3) == 4
    assert generic_count(67, 64, 3, homogeneous=True) == 4
    assert generic_count(10**40, 1, 1) == 5 * 10**39  # integers, no rounding


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: generic_count(0, 4, 1), ValueError, "p = 0 must be at least 1"),
        (lambda: generic_count(4, 2, 5), ValueError, "r = 5 exceeds p = 4"),
        (lambda: generic_count(4.0, 2, 1), TypeError, "p must be an integer, got 4.0"),
        (lambda: generic_count(4, 2, -1), ValueError, "r = -1 must be at least 1"),
        (lambda: generic_count(4, None, 1), TypeError, "d must be an integer, got None"),
    ],
)
def test_counts_of_bad_numbers_are_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("activation, homogeneous", [("tanh", False), ("cos", False), ("relu", True)])
@pytest.mark.parametrize("m", [3, 5, 9])
def test_points_and_coefficients_reach_as_many_dimensions_as_the_count_says(rng, m, activation, homogeneous):
    """The rank of (X, alpha) -> phi(X)^T alpha at random places, by autograd: m (d + r), one less a point for ReLU."""
    d, p, r = 4, 13, 2
    A, b = tensor(rng.normal(size=(d, p))), None if homogeneous else tensor(rng.normal(size=p))
    phi, X, alpha = OneLayer(A, b, activation), tensor(rng.normal(size=(m, d))), tensor(rng.normal(size=(m, r)))
    J = torch.autograd.functional.jacobian(lambda X, alpha: phi(X).T @ alpha, (X, alpha))
    J = torch.cat([part.reshape(p * r, -1) for part in J], dim=1)
    assert int(torch.linalg.matrix_rank(J, rtol=1e-10)) == min(m * (d + r - homogeneous), r * p)


@pytest.mark.parametrize("d, p, r", [(3, 10, 1), *(pytest.param(*shape, marks=pytest.mark.slow) for shape in SHAPES if shape[0] != 3)])
def test_one_point_above_the_count_is_exact_and_one_below_is_not(d, p, r):
    """The phase transition, on seven random tanh maps for each of five shapes."""
    count, first, within_three = generic_count(p, d, r), 0, 0
    for seed in range(7):
        phi, W, X_0 = instance(seed, d, p, r, count + 1)
        starts = [X_0, *(instance(100 * seed + i, d, p, r, count + 1)[2] for i in (1, 2))]
        found = nonsurjective.solve_many(phi, W, starts)
        first, within_three = first + found.exact[0], within_three + found.best.certificate.exact
        if found.best.certificate.exact:
            assert found.best.residual <= 1e-12
            assert_exact(found.best, phi, W)
        below = solve(phi, W, X_0[: count - 1], max_steps=40, unfinished=True)
        assert below.residual > 1e-8 and not below.certificate.exact
    assert within_three == 7 and first >= 6


def test_a_model_of_two_points_has_an_exact_set_of_two_points_whatever_the_count(rng):
    phi, _, X = instance(0, 4, 30, 3, 2)
    W = phi(X).T @ tensor(rng.normal(size=(2, 3)))  # rank 2
    assert generic_count(30, 4, 2) == 10
    found = solve(phi, W, X + 0.1 * tensor(rng.normal(size=(2, 4))))
    assert_exact(found, phi, W)
    assert error(found.X_S, X) < 1e-9  # found again: far more equations than unknowns


def test_k_points_can_be_enough_for_p_below_d_plus_k_though_the_map_is_not_onto():
    d, p, k = 8, 9, 3
    assert generic_count(p, d, k) == k
    for seed in range(5):
        phi, W, X_0 = instance(seed, d, p, k, k, "asinh")
        assert_exact(solve(phi, W, X_0), phi, W)


# -- twice is always enough


def full_derivative_rank(phi, X, r):
    """The rank of (X, alpha) -> phi(X)^T alpha at unit vectors in turn, whole, by autograd."""
    alpha = torch.eye(r, dtype=X.dtype).repeat(len(X), 1)[: len(X)]
    J = torch.autograd.functional.jacobian(lambda X, alpha: (phi(X).T @ alpha).ravel(), (X, alpha))
    return int(torch.linalg.matrix_rank(torch.cat([part.flatten(1) for part in J], 1), rtol=1e-10))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_count_of_smooth_layers_is_the_smallest_with_enough_equations_for_each_column(p, d, data):
    r = data.draw(st.integers(1, p))
    count = smooth_count(p, d, r)
    assert count == next(m for m in range(r, p + 1) if m + (m // r) * d >= p)
    assert 0 <= count - generic_count(p, d, r) < r and count <= r * -(-p // (d + r))


def test_the_four_counts_of_the_book():
    assert (generic_count(256, 64, 10), smooth_count(256, 64, 10), 2 * smooth_count(256, 64, 10)) == (35, 40, 80)
    with pytest.raises(ValueError, match="r = 5 exceeds p = 4"):
        smooth_count(4, 2, 5)


def two_layers(seed, d, p):
    rng = np.random.default_rng(seed)
    A, B, b = (tensor(rng.normal(size=size) / 2) for size in ((d, 7), (7, p), (p,)))
    return lambda X: torch.tanh(torch.tanh(X @ A) @ B + b)


@pytest.mark.parametrize("d, p, r", SHAPES)
def test_almost_every_smooth_layer_has_the_rank_at_its_count_and_not_below(d, p, r):
    m = smooth_count(p, d, r)
    for activation in ("tanh", "cos"):
        phi, _, X = instance(1, d, p, r, m, activation)
        assert full_derivative_rank(phi, X, r) == r * p
        assert m == r or full_derivative_rank(phi, X[:-1], r) < r * p
    assert full_derivative_rank(two_layers(1, d, p), X, r) == r * p


@pytest.mark.parametrize("d, p, r", [(5, 20, 3), *(pytest.param(*shape, marks=pytest.mark.slow) for shape in ((4, 12, 2), (3, 10, 1)))])
def test_twice_is_always_enough_and_half_of_the_points_are_given(d, p, r):
    """A random model and one of unit vectors, with the same half; two layers and a model of smaller rank."""
    m = smooth_count(p, d, r)
    _, W, X_1 = instance(2, d, p, r, m)
    tanh, cos = (instance(1, d, p, r, m, activation)[0] for activation in ("tanh", "cos"))
    units = tensor(np.eye(p)[:, :r])
    small = (W[:, :1] @ tensor(np.ones((1, 2))), 0.0)
    for phi, V, lam_S in (
        (tanh, W, 0.0),
        (tanh, units, 0.3),
        (cos, W, 0.3),
        (cos, *small),
        (two_layers(1, d, p), W, 0.0),
    ):
        found = solve_twice(phi, V, X_1, lam_S=lam_S)
        assert len(found.X_S) == 2 * m and torch.equal(found.X_S[:m], X_1)
        assert found.residual <= 1e-11 and found.lam_S == lam_S
        assert_exact(found, phi, V, lam_S)


def test_a_model_that_two_points_miss_has_four():
    X_1 = tensor([[-1.0], [2.0]])
    for w in np.eye(3):
        found = solve_twice(parabola, tensor(w[:, None]), X_1)
        assert_exact(found, parabola, tensor(w[:, None]))
        assert torch.equal(found.X_S[:2], X_1) and len(found.X_S) == 4


def test_points_that_carry_the_model_alone_are_returned_alone():
    phi, W, X_1 = instance(3, 4, 12, 2, 12)
    assert torch.equal(solve_twice(phi, W, X_1).X_S, X_1)  # as many as features
    V = phi(X_1[:6]).T @ X_1[:6, :2]
    found = solve_twice(phi, V, X_1[:6])
    assert torch.equal(found.X_S, X_1[:6])
    assert_exact(found, phi, V)


def test_twice_in_float32():
    phi, W, X_1 = instance(4, 5, 20, 3, smooth_count(20, 5, 3), dtype=torch.float32)
    found = solve_twice(phi, W, X_1)
    assert found.X_S.dtype == torch.float32 and torch.equal(found.X_S[: len(X_1)], X_1)
    assert_exact(found, phi, W)


@pytest.mark.parametrize("d, p, r", SHAPES)
def test_relu_is_refused_with_the_rank_that_automatic_differentiation_finds(d, p, r):
    m = smooth_count(p, d, r)
    phi, W, X_1 = instance(5, d, p, r, m, "relu")
    rank = full_derivative_rank(phi, X_1, r)
    assert rank < r * p
    with pytest.raises(ValueError, match=rf"has rank {rank}, not r p = {r * p}: twice {m} .* from {m} points"):
        solve_twice(phi, W, X_1)


def test_a_direction_that_the_model_does_not_need_is_still_asked_for():
    """The guarantee is for every model: too few points are refused, though this model has a set."""
    phi, _, X_1 = instance(6, 4, 30, 2, 9)
    W = phi(X_1 + 1).T @ X_1[:, :2]
    with pytest.raises(ValueError, match="rank 54, not r p = 60"):
        solve_twice(phi, W, X_1)
    with pytest.raises(ValueError, match="m = 1 points cannot carry W of rank 2"):
        solve_twice(phi, W, X_1[:1])


def monomials(X):
    """All monomials of degree at most 2."""
    i, j = np.triu_indices(X.shape[1] + 1)
    Z = torch.cat([torch.ones_like(X[:, :1]), X], dim=1)
    return Z[:, i] * Z[:, j]


@pytest.mark.parametrize("d", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_for_monomials_of_degree_2_almost_every_model_needs_more_than_the_count(rng, d):
    """A model is a symmetric matrix, a point a matrix of rank 1: generic models need d + 1 points."""
    p = (d + 1) * (d + 2) // 2
    count = generic_count(p, d, 1)
    assert count == -(-(d + 2) // 2) <= d
    X = tensor(rng.normal(size=(d + 1, d)))
    assert full_derivative_rank(monomials, X[:-1], 1) < p == full_derivative_rank(monomials, X, 1)
    for _ in range(4):
        S = rng.normal(size=(d + 1, d + 1))
        S = S + S.T
        W = tensor(S[np.triu_indices(d + 1)][:, None])
        E = np.linalg.eigh(S)[1]
        points = tensor((E / E[0])[1:].T)  # the eigenvectors, scaled to a first entry 1
        assert error(refit(monomials(points), monomials(points) @ W, 0.0)[0], W) < 1e-9
        for m in range(count, d + 1):
            found = solve(monomials, W, tensor(rng.normal(size=(m, d))), max_steps=60, unfinished=True)
            assert not found.certificate.exact
        assert_exact(solve_twice(monomials, W, X), monomials, W)


# -- by hand: phi(x) = (1, x, x^2), one input, three features


def parabola(X):
    return torch.cat([X**0, X, X**2], dim=1)


def test_two_points_on_the_parabola_by_hand(rng):
    """W = (2, 0, 2): a line through (0, 1) meets the parabola in s and t with s t = -1, and each such pair is exact."""
    W = tensor([[2.0], [0.0], [2.0]])
    for _ in range(5):
        s = np.exp(rng.normal())
        pair = tensor([[s], [-1 / s]])
        assert error(refit(parabola(pair), parabola(pair) @ W, 0.0)[0], W) < 1e-9
        found = solve(parabola, W, tensor([[-2.0 * s], [1.0]]))
        assert_exact(found, parabola, W)
        assert abs(float(found.X_S[0] * found.X_S[1]) + 1) < 1e-9


def test_almost_every_model_is_not_every_model():
    """(0, 0, 1) is no combination of two points: (1, s) and (1, t) are independent. The solver creeps to infinity."""
    W = tensor([[0.0], [0.0], [1.0]])
    found = solve(parabola, W, tensor([[-1.0], [2.0]]), max_steps=40, unfinished=True)
    assert not found.certificate.exact and found.residual > 1e-12
    assert float(found.X_S.abs().max()) > 20 and found.residual < 0.1
    assert_exact(solve(parabola, W, tensor([[-1.0], [2.0], [0.5]])), parabola, W)


# -- the solver


@pytest.mark.parametrize("lam_S", [0.0, 0.7])
@pytest.mark.parametrize("activation", SMOOTH)
def test_sets_are_exact_for_every_smooth_activation(activation, lam_S):
    phi, W, X_0 = instance(1, 5, 14, 2, 8, activation)
    found = solve(phi, W, X_0, lam_S=lam_S)
    assert found.lam_S == lam_S and found.residual <= 1e-12
    assert_exact(found, phi, W, lam_S)
    if lam_S == 0:
        assert error(found.Y_S, phi(found.X_S) @ W) < 1e-12


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.integers(2, 5), st.integers(4, 10), st.integers(1, 3), st.integers(0, 10**6), st.sampled_from([0.0, 0.1]))
def test_whatever_is_called_exact_is_and_has_no_residual_to_speak_of(d, p, k, seed, lam_S):
    m = generic_count(p, d, min(k, p)) + 2
    phi, W, X_0 = instance(seed, d, p, k, m)
    found = solve(phi, W, X_0, lam_S=lam_S, max_steps=25, unfinished=True)
    W_S, condition = refit(phi(found.X_S), found.Y_S, lam_S)
    missed = error(W_S, W)
    t = torch.linalg.svdvals(phi(found.X_S))
    rounding = tolerance(max(condition, float(t[0] / t[-1])), W.dtype)
    assert abs(missed - found.residual) < max(rounding, 1e-3 * found.residual)
    assert found.certificate.exact == (found.residual <= found.certificate.tolerance)
    assert found.certificate.exact == (missed <= found.certificate.tolerance)


def test_the_fast_path_takes_the_same_steps_as_the_generic_one():
    for activation in ("tanh", "cos", "softplus"):
        phi, W, X_0 = instance(2, 4, 11, 2, 7, activation)
        trails = []
        for one in (phi, lambda X, phi=phi: phi(X)):
            trail = []
            found = solve(one, W, X_0, max_steps=4, unfinished=True, callback=trail.append)
            trails.append((trail, found))
        (fast, a), (generic, b) = trails
        assert a.steps == b.steps and len(fast) == len(generic)
        assert error(a.X_S, b.X_S) < 1e-8
        assert np.allclose([x.residual for x in fast], [x.residual for x in generic], rtol=1e-8, atol=1e-12)


def naive_step(phi, W, X, damp):
    """The first step as the formula says: J by autograd, the normal equations with an explicit Kronecker product."""
    Q = torch.linalg.svd(W, full_matrices=False)[0]
    Phi = phi(X)
    alpha = torch.linalg.pinv(Phi.T) @ Q
    m, (p, r) = len(X), Q.shape
    J = [torch.autograd.functional.jacobian(lambda x: phi(x[None])[0], x) for x in X]
    K = sum(torch.kron(a[:, None] * a[None], Js @ Js.T) for a, Js in zip(alpha, J, strict=True))
    mean = float(K.diagonal().mean())
    w = systems.CHEAPER * mean * m / float((Phi**2).sum())
    K = K + w * torch.kron(torch.eye(r).double(), Phi.T @ Phi) + damp * mean * torch.eye(r * p).double()
    z = torch.linalg.solve(K, (Q - Phi.T @ alpha).T.reshape(-1)).view(r, p).T
    return torch.stack([Js.T @ (z @ a) for a, Js in zip(alpha, J, strict=True)])


@pytest.mark.parametrize("method", ["equations", "unknowns", "products"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("m", [4, 9])
def test_every_method_takes_the_step_of_the_formula(method, fast, m):
    layer, W, X_0 = instance(3, 5, 16, 2, m)
    phi = layer if fast else lambda X: layer(X)
    found = solve(phi, W, X_0, method=method, max_steps=1, unfinished=True, damping=3.0)
    expected = naive_step(layer, W, X_0, 3.0)
    assert error(found.X_S - X_0, expected) < (0.05 if method == "products" else 1e-10)  # products: as far as needed


def test_every_method_finds_an_exact_set():
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    for method in ("equations", "unknowns", "products", None):
        assert_exact(solve(phi, W, X_0, method=method), phi, W)


def test_conjugate_gradients_do_without_the_jacobians(monkeypatch):
    network, (_, W, X_0) = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU()).double(), instance(5, 4, 8, 1, 4)
    stored = solve(network, W, X_0, method="products")
    monkeypatch.setattr(linearised, "STORED", 0)
    found = solve(network, W, X_0, method="products")
    for one in (found, stored):
        assert_exact(one, lambda X: network(X).detach(), W)
    with pytest.raises(ValueError, match="Jacobians have more than 0 entries; use method='products'"):
        solve(network, W, X_0, method="equations")


def test_large_problems_are_solved_by_products(monkeypatch):
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    monkeypatch.setattr(systems, "DENSE", 10)
    monkeypatch.setitem(systems.SYSTEMS, "equations", None)
    monkeypatch.setitem(systems.SYSTEMS, "unknowns", None)
    assert_exact(solve(phi, W, X_0), phi, W)
    monkeypatch.setattr(systems, "DENSE", 59)
    with pytest.raises(TypeError):  # one side has 60 rows
        monkeypatch.setattr(systems, "DENSE", 60)
        solve(phi, W, X_0)


def projected_step(phi, W, X, mu):
    """The first step where coefficients cost nothing: P J J^T P written out, with J by autograd."""
    Q = torch.linalg.svd(W, full_matrices=False)[0]
    Phi, (m, d), (p, r) = phi(X), X.shape, Q.shape
    alpha = torch.linalg.pinv(Phi.T) @ Q
    J = [torch.autograd.functional.jacobian(lambda x: phi(x[None])[0], x) for x in X]
    J = torch.cat([torch.kron(a[:, None], Js) for a, Js in zip(alpha, J, strict=True)], dim=1)  # (r p, m d)
    J = torch.kron(torch.eye(r).double(), torch.eye(p) - torch.linalg.pinv(Phi) @ Phi) @ J
    right = (Q - Phi.T @ alpha).T.reshape(-1)
    return (J.T @ torch.linalg.solve(J @ J.T + mu * torch.eye(r * p).double(), right)).view(m, d)


@pytest.mark.parametrize("kind", ["one layer", "any map", "too large to keep"])
def test_with_many_features_a_step_is_that_of_the_projected_formula(kind, monkeypatch):
    """However K is had. Far off, conjugate gradients stop early; here they are asked for all digits."""
    layer, W, X_0 = instance(3, 5, 16, 2, 6)
    monkeypatch.setattr(systems, "DENSE", 10)
    if kind == "too large to keep":
        monkeypatch.setattr(linearised, "STORED", 80)  # the Jacobian of one point
    phi = layer if kind == "one layer" else lambda X: layer(X)
    problem = nonsurjective.solver.Problem(phi, torch.linalg.svd(W, full_matrices=False)[0], X_0, None)
    fit = problem.first_fit()
    system = problem.system(X_0, fit)
    assert type(system) is systems.Projected and len(system.typical.e) == 16
    expected = projected_step(layer, W, X_0, 3.0 * system.mean)
    assert error(system.solve(3.0, 1.0)[0], expected) < 0.5
    system.R = 1e-9 * fit.R  # near the end all digits are asked for
    assert error(1e9 * system.solve(3.0, 1e-9)[0], expected) < 1e-6
    system.typical = systems.Typical(torch.empty(0), torch.empty(0))  # without it, too, but slower
    assert error(1e9 * system.solve(3.0, 1e-9)[0], expected) < 1e-6


def test_with_many_features_sets_are_exact_with_and_without_a_matrix_for_all_points(monkeypatch):
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    monkeypatch.setattr(systems, "DENSE", 10)
    for largest in (20, 19):
        monkeypatch.setattr(linearised, "LARGEST", largest)
        for one in (phi, lambda X: phi(X)):
            assert_exact(solve(one, W, X_0), phi, W)


@pytest.mark.parametrize("many", [10**9, 0])
def test_the_matrix_for_all_points_is_formed_anew_where_it_has_become_a_poor_guess(many, monkeypatch):
    """After a step that took many products, and then at the points of the step."""
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    monkeypatch.setattr(systems, "DENSE", 10)
    monkeypatch.setattr(systems, "MANY_PRODUCTS", many)
    problem = nonsurjective.solver.Problem(phi, torch.linalg.svd(W, full_matrices=False)[0], X_0, None)
    fit, X = problem.first_fit(), X_0 + 0.1
    first = problem.system(X_0, fit)
    assert problem.system(X, fit).typical is first.typical  # nothing was solved: no guess was poor
    first = problem.system(X_0, fit)
    first.solve(3.0, 1e-9)
    second = problem.system(X, problem.fit(X))
    assert first.products > 0 and (second.typical is first.typical) == (many > 0)
    K = (second.typical.V * second.typical.e) @ second.typical.V.T
    at = X_0 if many else X
    J = torch.autograd.functional.jacobian(lambda x: phi(x[None])[0], at[0])
    every = [torch.autograd.functional.jacobian(lambda x: phi(x[None])[0], x) for x in linearised.spread(at)]
    assert error(K, sum(J @ J.T for J in every) / len(every)) < 1e-12 < error(K, J @ J.T)


def test_a_search_goes_on_where_it_was_stopped():
    """From the points and the damping that the callback was given, to the last bit."""
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    whole, trail = solve(phi, W, X_0), []
    stopped = solve(phi, W, X_0, callback=lambda at: trail.append(at) or at.step == 3, unfinished=True)
    assert not stopped.certificate.exact and torch.equal(stopped.X_S, trail[-1].X_S)
    at = trail[-1]
    found = solve(phi, W, at.X_S, damping=at.damping)
    assert torch.equal(found.X_S, whole.X_S) and found.steps == whole.steps - 3
    assert all(0 <= a.seconds <= b.seconds < 60 for a, b in zip(trail, trail[1:], strict=False))


def test_the_points_that_a_callback_is_given_are_its_own():
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    found = solve(phi, W, X_0, callback=lambda at: at.X_S.zero_() is None)
    assert torch.equal(found.X_S, solve(phi, W, X_0).X_S)


@pytest.mark.parametrize("method", ["equations", "unknowns", "products"])
def test_inputs_stay_within_bounds(method):
    phi, W, X_0 = instance(4, 6, 20, 3, 16)
    X_0 = X_0.clamp(-1.5, 1.5)
    assert float(solve(phi, W, X_0).X_S.abs().max()) > 1.6
    found = solve(phi, W, X_0, method=method, bounds=(-1.5, 1.5))
    assert float(found.X_S.abs().max()) <= 1.5
    assert_exact(found, phi, W)
    wide = solve(phi, W, X_0, method="unknowns", bounds=(-100.0, 100.0))
    assert error(wide.X_S, solve(lambda X: phi(X), W, X_0, method="unknowns").X_S) < 1e-8
    with pytest.raises(ValueError, match=r"X_0 goes from .* outside bounds = \(-1.0, 1.0\): .*clamp\(-1.0, 1.0\)"):
        solve(phi, W, X_0, bounds=(-1.0, 1.0))


def test_maps_of_the_package_and_of_pytorch_are_solved():
    """Checks of the input inside the map keep vmap out; reverse differentiation of the batch does it."""
    like, (_, W, X_0) = torch.zeros(1, dtype=torch.float64), instance(6, 6, 14, 2, 9)
    torch.manual_seed(0)
    smooth = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.GELU(), torch.nn.Linear(20, 14), torch.nn.Tanh())
    one_layer = torch.nn.Sequential(torch.nn.Linear(6, 14), torch.nn.LeakyReLU(0.3))
    for phi in (maps.leaky_relu_network([6, 14, 14], seed=0, bias=0.5, like=like), smooth.double(), one_layer.double()):
        found = solve(phi, W, X_0)
        assert_exact(found, lambda X, phi=phi: phi(X).detach(), W)
        assert not found.X_S.requires_grad and not found.Y_S.requires_grad
    network = conv.small_cnn((1, 8, 8), (4, 8), seed=0)  # 64 pixels, 32 features: onto
    rng = np.random.default_rng(0)
    W = tensor(rng.normal(size=(32, 3)))
    assert_exact(solve(network, W, tensor(rng.normal(size=(8, 64)))), network, W)


class Counted(torch.nn.Sequential):
    """A Sequential that is none to `type`: the fast path is not taken for it."""


def jacobians_asked_for(network, monkeypatch):
    """Whether `solve` takes Jacobians of the network, and the set that it finds."""
    asked, (_, W, X_0) = [], instance(6, 4, 9, 1, 6)
    with monkeypatch.context() as patch:
        found_by = linearised.JacobianAt
        patch.setattr(linearised, "JacobianAt", lambda J: asked.append(len(J)) or found_by(J))
        found = solve(network, W, X_0, max_steps=5, unfinished=True)
    return bool(asked), found


@pytest.mark.parametrize(
    "activation, fast",
    [
        (torch.nn.Tanh(), True),
        (torch.nn.Sigmoid(), True),
        (torch.nn.Softplus(), True),
        (torch.nn.ReLU(), True),
        (torch.nn.LeakyReLU(0.3), True),
        (torch.nn.Softplus(beta=2.0), False),
        (torch.nn.Softplus(threshold=1.0), False),
        (torch.nn.GELU(), False),
    ],
    ids=repr,
)
def test_a_sequential_of_one_layer_takes_the_fast_path_and_the_same_steps(activation, fast, monkeypatch):
    """As the docstring of `solve` says; Softplus where beta and threshold are its defaults."""
    torch.manual_seed(1)
    linear = torch.nn.Linear(4, 9).double()
    generic, found = jacobians_asked_for(torch.nn.Sequential(linear, activation), monkeypatch)
    assert generic is not fast
    generic, other = jacobians_asked_for(Counted(linear, activation), monkeypatch)
    assert generic
    kink = isinstance(activation, torch.nn.ReLU | torch.nn.LeakyReLU)  # smoothed on the fast path only
    assert found.steps == other.steps and error(found.X_S, other.X_S) < 1e-8 or kink


def test_other_maps_are_no_layer():
    linear = torch.nn.Linear(4, 9).double()
    as_layer = nonsurjective.layer.as_layer
    for other in (torch.nn.Sequential(linear), linear, torch.tanh, torch.nn.Sequential(linear, torch.nn.Tanh(), linear)):
        assert as_layer(other) is None
    layer = as_layer(torch.nn.Sequential(linear, torch.nn.LeakyReLU(0.3)))
    X = torch.linspace(-1, 1, 20, dtype=torch.float64).view(5, 4)
    assert error(layer(X), torch.nn.functional.leaky_relu(linear(X), 0.3)) < 1e-15


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_a_blurred_derivative_is_the_mean_slope_near_the_kink(rng, activation):
    """Softplus, tempered, is what it belongs to; without blur it is the derivative itself."""
    phi = OneLayer(tensor(rng.normal(size=(3, 7))), tensor(rng.normal(size=7)), activation, slope=0.3, scale=1.7)
    X, below, blur = tensor(rng.normal(size=(5, 3))), 0.3 if activation == "leaky_relu" else 0.0, 0.2
    Z = (X @ phi.A + phi.b).requires_grad_()
    smooth = 1.7 * (below * Z + (1 - below) * blur * torch.nn.functional.softplus(Z / blur))
    assert error(phi.derivative(X, blur), torch.autograd.grad(smooth.sum(), Z)[0]) < 1e-13
    assert error(phi.derivative(X, 1e-12), phi.derivative(X)) < 1e-14


@pytest.mark.parametrize("activation", [*SMOOTH, "relu", "leaky_relu"])
def test_the_derivative_of_a_layer_is_that_of_autograd(rng, activation):
    phi = OneLayer(tensor(rng.normal(size=(3, 7))), tensor(rng.normal(size=7)), activation, slope=0.3, scale=1.7)
    X = tensor(rng.normal(size=(5, 3)))
    J = torch.func.vmap(torch.func.jacrev(lambda x: phi(x[None])[0]))(X)
    assert error(phi.derivative(X)[:, :, None] * phi.A.T, J) < 1e-14


@pytest.mark.parametrize("k", [1, 3])
def test_centred_models_count_by_their_rank(rng, k):
    """Decisions only: r = k - 1 after centring, and r, not k, decides; a single column is a vector."""
    phi, W, _ = instance(7, 5, 18, k, 1)
    W = W - W.mean(dim=1, keepdim=True) if k > 1 else W
    r = max(k - 1, 1)
    m = generic_count(18, 5, r) + 1
    found = solve(phi, W, tensor(rng.normal(size=(m, 5))))
    assert found.Y_S.shape == (m, k)
    assert_exact(found, phi, W)


def test_enough_points_need_no_step():
    """The paper's remark: p points carry every model, and only the labels are computed."""
    for m in (12, 15):
        phi, W, X_0 = instance(8, 4, 12, 2, m)
        found = solve(phi, W, X_0, lam_S=0.5)
        assert found.steps == 0 and torch.equal(found.X_S, X_0)
        assert_exact(found, phi, W, 0.5)


def test_the_zero_model_is_trained_by_label_zero():
    phi, W, X_0 = instance(8, 4, 12, 2, 3)
    found = solve(phi, 0 * W, X_0)
    assert found.certificate.exact and found.residual == 0 and not found.Y_S.any() and torch.equal(found.X_S, X_0)


def test_float32_inputs_give_float32_sets():
    phi, W, X_0 = instance(9, 6, 14, 2, 9, dtype=torch.float32)
    for one in (phi, lambda X: phi(X)):
        found = solve(one, W, X_0)
        assert found.X_S.dtype == found.Y_S.dtype == torch.float32 and found.residual < 2e-5
        assert_exact(found, phi, W)
    finest = solve(phi, W, X_0, tol=0.0)  # it ends where rounding wins, and is exact
    assert finest.certificate.exact and finest.residual < tolerance(finest.certificate.condition, torch.float32)


@pytest.mark.slow
def test_relu_reaches_an_exact_set_at_one_and_a_half_times_the_count():
    X, Y = digits()
    rng = np.random.default_rng(0)
    phi = OneLayer(tensor(rng.normal(size=(64, 96)) / 8), tensor(rng.normal(size=96)), "relu")
    W = tensor(krr.fit(phi(X).numpy(), Y, 0.1))
    found = solve(phi, W, X[first(Y, 20)], damping=1.0)  # the count is 13.0
    assert_exact(found, phi, W)


def test_a_set_that_is_not_found_is_flagged():
    phi, W, X_0 = instance(11, 4, 12, 2, 6)
    found = solve(phi, W, X_0, max_steps=2, unfinished=True)
    assert found.steps == 2 and not found.certificate.exact and found.residual > 1e-3
    W_S, _ = refit(phi(found.X_S), found.Y_S, 0.0)
    assert abs(error(W_S, W) - found.residual) < 1e-10
    assert solve(phi, W, X_0, max_steps=0, unfinished=True).steps == 0


def test_a_set_that_is_not_exact_comes_back_only_where_it_is_asked_for():
    """The error says what is missed and the way out, and has the points."""
    phi, W, X_0 = instance(11, 4, 12, 2, 6)
    said = (
        r"the search ended after 2 steps, and its 6 points are not exact: training on them misses W by 0\.\d+, 0\.\d+ of it "
        r"theirs \([\d.e-]+ allowed at condition [\d.]+\); .* or pass unfinished=True for the points as they are"
    )
    with pytest.raises(nonsurjective.NoConvergence, match=said) as stopped:
        solve(phi, W, X_0, max_steps=2)
    asked_for = solve(phi, W, X_0, max_steps=2, unfinished=True)
    assert isinstance(stopped.value, ValueError) and not asked_for.certificate.exact
    assert torch.equal(stopped.value.found.X_S, asked_for.X_S)
    with pytest.raises(nonsurjective.NoConvergence):
        solve(phi, W, X_0, callback=lambda at: at.step == 1)


def test_a_tolerance_of_ones_own_is_solved_to_and_no_more_is_claimed():
    phi, W, X_0 = instance(11, 4, 12, 2, 6)
    rough = solve(phi, W, X_0, tol=1e-4)
    assert not rough.certificate.exact and 1e-12 < rough.residual <= 1e-4
    assert abs(rough.certificate.relative_error - rough.residual) < 1e-10
    with pytest.raises(nonsurjective.NoConvergence):
        solve(phi, W, X_0, tol=1e-4, max_steps=1)


def test_the_callback_sees_every_step_and_can_stop():
    phi, W, X_0 = instance(11, 4, 12, 2, 6)
    seen = []
    found = solve(phi, W, X_0, callback=seen.append)
    assert [one.step for one in seen] == list(range(found.steps + 1))
    residuals = [one.residual for one in seen]
    assert seen[0].distance == 0 and abs(residuals[-1] - found.residual) < 1e-15
    moved = error(found.X_S, X_0)
    assert abs(seen[-1].distance - moved) < 1e-12
    stopped = solve(phi, W, X_0, callback=lambda one: one.step == 3, unfinished=True)
    assert stopped.steps == 3 and not stopped.certificate.exact and stopped.residual == residuals[3]


def test_the_same_start_gives_the_same_set_and_nothing_is_changed():
    phi, W, X_0 = instance(12, 5, 20, 3, 10)
    before = W.clone(), X_0.clone(), phi.A.clone()
    for method in ("equations", "unknowns", "products"):
        a, b = (solve(phi, W, X_0.requires_grad_(), method=method) for _ in range(2))
        assert torch.equal(a.X_S, b.X_S) and torch.equal(a.Y_S, b.Y_S) and not a.X_S.requires_grad
    assert all(torch.equal(x, y) for x, y in zip(before, (W, X_0.detach(), phi.A), strict=True))


def test_scaling_the_model_or_turning_its_columns_changes_only_the_labels(rng):
    phi, W, X_0 = instance(13, 5, 16, 3, 10)
    U = tensor(np.linalg.qr(rng.normal(size=(3, 3)))[0])
    found = solve(phi, W, X_0, max_steps=5, unfinished=True)
    for V in (1e-6 * W, 1e5 * W, W @ U, W @ tensor(conditioned(rng, 3, 3, 50.0))):
        other = solve(phi, V, X_0, max_steps=5, unfinished=True)
        assert error(other.X_S, found.X_S) < 1e-7


def test_a_rank_cutoff_that_drops_part_of_the_model_is_reported():
    phi, W, X_0 = instance(13, 5, 16, 2, 10)
    W = W @ tensor([[1.0, 0.0], [0.0, 1e-6]])
    with pytest.warns(UserWarning, match=r"the rank cutoff drops a fraction [\d.e-]+ of W; pass a smaller rtol"):
        found = solve(phi, W, X_0, rtol=1e-4, unfinished=True)
    assert 1e-8 < found.residual < 1e-5 and error(refit(phi(found.X_S), found.Y_S, 0.0)[0], W) < 1.01 * found.residual
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_exact(solve(phi, W, X_0), phi, W)


# -- several starts


def test_many_starts_report_their_success_rate():
    phi, W, X_0 = instance(14, 4, 12, 2, 5)
    starts = [X_0, X_0[:3], 2 * X_0, X_0[:2]]
    found = nonsurjective.solve_many(phi, W, starts, max_steps=100)
    assert len(found.exact) == len(found.residuals) == len(found.steps) == 4
    assert found.exact[1] is False and found.success_rate == sum(found.exact) / 4 > 0
    pairs = zip(starts, found.exact, strict=True)
    conditions = [solve(phi, W, X, max_steps=100, unfinished=True).certificate.condition for X, good in pairs if good]
    assert found.best.certificate.condition == min(conditions)
    again = nonsurjective.solve_many(phi, W, (X for X in starts), max_steps=100)
    assert again.residuals == found.residuals
    worst = nonsurjective.solve_many(phi, W, [X_0[:2], X_0[:3]], max_steps=3)
    assert worst.success_rate == 0 and worst.best.residual == min(worst.residuals) and not worst.best.certificate.exact
    with pytest.raises(ValueError, match="no starts: give at least one X_0"):
        nonsurjective.solve_many(phi, W, [])


# -- digits


def digits():
    data = datasets.digits()
    X = datasets.standardize(data.X_train, max_value=16).X_train
    return tensor(X), datasets.one_hot(data.y_train)


def first(Y, m):
    """The first images, class by class in turn."""
    ranks = np.cumsum(Y, axis=0)[np.arange(len(Y)), np.argmax(Y, axis=1)]
    return np.lexsort((np.argmax(Y, axis=1), ranks))[:m]


@pytest.mark.slow
def test_forty_digits_train_256_features_exactly():
    """The count is 34.6; every test decision stays, and the condition number is below 1000."""
    X, Y = digits()
    rng = np.random.default_rng(0)
    phi = OneLayer(tensor(rng.normal(size=(64, 256)) / 8), tensor(rng.normal(size=256)))
    W = tensor(krr.fit(phi(X).numpy(), Y, 0.1))
    found = solve(phi, W, X[first(Y, 40)])
    assert found.residual <= 1e-12 and found.certificate.condition < 1e3 and found.steps <= 60
    assert_exact(found, phi, W)
    data = datasets.digits()
    X_test = tensor(datasets.standardize(data.X_train, data.X_test, max_value=16).X_test)
    W_S = tensor(refit(phi(found.X_S), found.Y_S, 0.0)[0])
    assert torch.equal((phi(X_test) @ W_S).argmax(dim=1), (phi(X_test) @ W).argmax(dim=1))


@pytest.mark.slow
def test_forty_points_twenty_of_them_digits_train_128_features_exactly():
    """The guaranteed set: twice 20 points; almost every model needs at least 18."""
    X, Y = digits()
    rng = np.random.default_rng(0)
    phi = OneLayer(tensor(rng.normal(size=(64, 128)) / 8), tensor(rng.normal(size=128)))
    W = tensor(krr.fit(phi(X).numpy(), Y, 0.1))
    assert (generic_count(128, 64, 10), smooth_count(128, 64, 10)) == (18, 20)
    found = solve_twice(phi, W, X[first(Y, 20)])
    assert len(found.X_S) == 40 and torch.equal(found.X_S[:20], X[first(Y, 20)])
    assert_exact(found, phi, W)


def test_the_more_points_the_less_real_images_move():
    """An onto map, p = d: exact sets near real images, without any inverse."""
    X, Y = digits()
    rng = np.random.default_rng(0)
    phi = OneLayer(tensor(rng.normal(size=(64, 64)) / 8), None, "leaky_relu")
    W = tensor(krr.fit(phi(X).numpy(), Y, 10.0))
    moved = []
    for m in (15, 30, 50):
        X_0 = X[first(Y, m)]
        found = solve(phi, W, X_0)
        assert_exact(found, phi, W)
        moved.append(error(found.X_S, X_0))
    assert moved == sorted(moved, reverse=True) and moved[-1] < 0.25


# -- what the paper states


def deep_network(rng, d, p, slope=0.3):
    first, second = rng.normal(size=(d, p)) / np.sqrt(d), rng.normal(size=(p, p)) / np.sqrt(p)
    act, back = (lambda Z: np.where(Z > 0, Z, slope * Z)), (lambda Z: np.where(Z > 0, Z, Z / slope))
    return first, (lambda X: act(act(X @ first) @ second)), (lambda Phi: back(back(Phi) @ np.linalg.inv(second)))


def test_theorem_5_2_k_points_with_given_labels_exist_if_and_only_if_the_condition_holds(rng):
    """sigma^-1(... sigma^-1((W Y_S^+)^+)) lies in the row space of the first layer: planted models yes, trained no."""
    d, p, k = 5, 9, 3
    for _ in range(20):
        A, phi, back = deep_network(rng, d, p)
        Y_S = rng.normal(size=(k, k))

        def outside(W, A=A, back=back, Y_S=Y_S):
            Z = back(np.linalg.pinv(W @ np.linalg.pinv(Y_S)))
            return np.linalg.norm(Z - Z @ np.linalg.pinv(A) @ A) / np.linalg.norm(Z), Z @ np.linalg.pinv(A)

        planted = rng.normal(size=(k, d))
        W = np.linalg.pinv(phi(planted)) @ Y_S
        fraction, X_S = outside(W)
        assert fraction < 1e-9 and error(X_S, planted) < 1e-8
        assert error(refit(phi(X_S), Y_S, 0.0)[0], W) < 1e-8
        W = krr.fit(phi(rng.normal(size=(100, d))), rng.normal(size=(100, k)), 0.1)
        fraction, X_S = outside(W)
        assert fraction > 1e-2 and error(refit(phi(X_S), Y_S, 0.0)[0], W) > 1e-2
        # the only features: any others with these labels train another model
        D = W @ np.linalg.pinv(Y_S)
        assert error(np.linalg.pinv(np.linalg.pinv(D)) @ Y_S, W) < 1e-9


def test_theorem_d_1_one_more_trainable_layer_only_rescales_the_labels(rng):
    """Exact features with labels Y_S, c > 0: through the layer S, S^T S = lam_S c (Phi_S^T Phi_S)^+, the labels
    (c + 1)/c Y_S train W, and the condition of the theorem holds for them. Where the features do not carry W no labels
    help, with or without the layer."""
    m, p, k = 6, 9, 3
    for c, lam_S in ((0.3, 0.5), (4.0, 1e-2)):
        Phi_S, Y_S = rng.normal(size=(m, p)), rng.normal(size=(m, k))
        W = np.linalg.pinv(Phi_S) @ Y_S
        U, t, Vh = np.linalg.svd(Phi_S, full_matrices=False)
        S = (Vh.T * (np.sqrt(lam_S * c) / t)) @ Vh  # (p, p)
        scaled = (c + 1) / c * Y_S
        W_S = refit(Phi_S @ S.T, scaled, lam_S)[0]
        assert error(S.T @ W_S, W) < 1e-12
        assert error(np.linalg.pinv(Phi_S) @ scaled * (c / (c + 1)), W) < 1e-12
        elsewhere = rng.normal(size=(p, k))
        best = np.linalg.lstsq(Phi_S.T, elsewhere, rcond=None)[0]
        assert error(Phi_S.T @ best, elsewhere) > 0.1  # S^T W_S is in the row space of Phi_S


# -- refusals


def ok():
    return instance(0, 4, 12, 2, 6)


def with_nan(A):
    A = A.clone()
    A[0, 0] = float("nan")
    return A


@pytest.mark.parametrize(
    "change, kind, message",
    [
        (lambda phi, W, X: (phi, W.numpy(), X), TypeError, "W must be a PyTorch tensor, got numpy.ndarray; "),
        (lambda phi, W, X: (phi, W, X.numpy()), TypeError, "X_0 must be a PyTorch tensor"),
        (lambda phi, W, X: (phi, W, X.float()), TypeError, "W, X_0 differ in dtype"),
        (lambda phi, W, X: (phi, W, X.long()), TypeError, "X_0 has dtype torch.int64; convert it to float64"),
        (lambda phi, W, X: (phi, W[:, 0], X), ValueError, "W must have 2 dimensions"),
        (lambda phi, W, X: (phi, W, X[:0]), ValueError, r"X_0 is empty: its shape is \(0, 4\)"),
        (lambda phi, W, X: (phi, with_nan(W), X), ValueError, "W contains NaN or Inf"),
        (lambda phi, W, X: (phi, W, X / 0), ValueError, "X_0 contains NaN or Inf"),
        (lambda phi, W, X: (phi, W, X[:1]), ValueError, r"m = 1 points cannot carry W of rank 2: .* use at least 4"),
        (lambda phi, W, X: (phi, W[:9], X), ValueError, r"phi gives features of shape \(6, 12\) .* W has 9 rows"),
        (lambda phi, W, X: (phi, W, X[[0, 1, 2, 0]]), ValueError, "X_0 has equal rows: they would stay equal"),
        (lambda phi, W, X: (lambda X: phi(X - X.mean(0)), W, X), ValueError, "rows influence each other"),
        (lambda phi, W, X: (lambda X: phi(X) / 0, W, X), ValueError, r"phi\(X_0\) contains NaN or Inf"),
        (lambda phi, W, X: (lambda X: phi(X).numpy(), W, X), TypeError, r"phi\(X_0\) must be a PyTorch tensor"),
        (lambda phi, W, X: (lambda X: phi(X).detach(), W, X), ValueError, "its Jacobian is zero at every point"),
        (lambda phi, W, X: (lambda X: phi(X.float()), W, X), RuntimeError, "dtype"),
    ],
)
def test_bad_arrays_and_maps_are_refused(change, kind, message):
    with pytest.raises(kind, match=message):
        solve(*change(*ok()))


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"lam_S": -1}, ValueError, "lam_S = -1.0 must be finite and not negative"),
        ({"tol": float("nan")}, ValueError, "tol = nan must be finite"),
        ({"max_steps": -1}, ValueError, "max_steps = -1 must be at least 0"),
        ({"max_steps": 2.5}, TypeError, "max_steps must be an integer, got 2.5"),
        ({"damping": 0}, ValueError, "damping = 0: undamped steps"),
        ({"method": "magic"}, ValueError, "method must be one of equations, unknowns, products, or None, got 'magic'"),
        ({"rtol": -1e-3}, ValueError, "rtol = -0.001 must be finite and not negative"),
    ],
)
def test_bad_options_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        solve(*ok(), **options)


@pytest.mark.parametrize(
    "arguments, options, kind, message",
    [
        ((np.ones((2, 3)),), {}, TypeError, "A must be a PyTorch tensor, got numpy.ndarray"),
        ((torch.ones(3).double(),), {}, ValueError, "A must have 2 dimensions"),
        ((torch.ones(2, 3).double(), torch.ones(2).double()), {}, ValueError, r"b must have shape \(3,\), it is"),
        ((torch.ones(2, 3).double(), torch.ones(3)), {}, TypeError, "A, b differ in dtype"),
        ((torch.ones(2, 3).double() / 0,), {}, ValueError, "A contains NaN or Inf"),
        ((torch.ones(2, 3).double(), None, "gelu"), {}, ValueError, "activation must be one of asinh, .*, got 'gelu'"),
        ((torch.ones(2, 3).double(),), {"slope": -0.1}, ValueError, "slope = -0.1 must be finite and not negative"),
        ((torch.ones(2, 3).double(),), {"scale": 0}, ValueError, "scale = 0 must be finite and not zero"),
    ],
)
def test_layers_that_make_no_sense_are_refused(arguments, options, kind, message):
    with pytest.raises(kind, match=message):
        OneLayer(*arguments, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("method", ["equations", "unknowns", "products"])
def test_sets_on_a_gpu_are_those_of_the_cpu(method):
    phi, W, X_0 = instance(4, 6, 20, 3, 12)
    there = OneLayer(phi.A.cuda(), phi.b.cuda())
    with pytest.raises(ValueError, match="W, X_0 are on different devices"):
        solve(there, W, X_0.cuda())
    for one in (there, lambda X: there(X)):
        found = solve(one, W.cuda(), X_0.cuda(), method=method)
        assert found.X_S.device.type == found.Y_S.device.type == "cuda"
        assert_exact(found, there, W.cuda())
    assert error(solve(there, W.cuda(), X_0.cuda(), method=method, max_steps=3, unfinished=True).X_S,
                 solve(phi, W, X_0, method=method, max_steps=3, unfinished=True).X_S) < 1e-8  # fmt: skip


def test_autocast_is_refused_by_name_and_float64_keeps_its_digits():
    phi, W, X_0 = instance(0, 4, 12, 2, 6)
    layer, W_32, X_32 = instance(0, 4, 12, 2, 6, dtype=torch.float32)
    before = solve(phi, W, X_0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(TypeError, match="W is torch.float32, its products would be torch.bfloat16: leave"):
            solve(layer, W_32, X_32)
        assert torch.equal(solve(phi, W, X_0).X_S, before.X_S)
