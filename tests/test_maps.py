"""ddref.maps: every map undone by its pre-image over random shapes, checked by naive loops; refusals by message."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import EPS, conditioned, error, numpy64
from ddref import maps
from ddref.measure import tolerance


def arrays(nx, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [nx.asarray(rng.normal(size=shape)) for shape in shapes]


def stretch(phi):
    """A bound on how much the map stretches differences: the product of its layers' norms (slopes are up to 1)."""
    steps = phi.steps if isinstance(phi, maps.Chain) else [phi]
    return math.prod(max(1.0, float(np.linalg.norm(numpy64(s.A), 2))) for s in steps if isinstance(s, maps.Linear))


def assert_right_inverse(phi, Phi, X, dtype="float64"):
    """phi(X) = Phi up to what rounding in X (and in the layers between) explains: no condition number enters."""
    residual = np.linalg.norm(numpy64(phi(X)) - numpy64(Phi))
    size = stretch(phi) * np.linalg.norm(numpy64(X)) + np.linalg.norm(numpy64(Phi))
    assert residual <= tolerance(1, dtype) * size, (residual, size)


@st.composite
def problems(draw):
    """Widths that never increase, points, seed, and how far away the reference is."""
    widths = sorted(draw(st.lists(st.integers(1, 12), min_size=2, max_size=5)), reverse=True)
    return widths, draw(st.integers(1, 8)), draw(st.integers(0, 2**32 - 1)), 10.0 ** draw(st.integers(-6, 6))


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from(["orthogonal", "gaussian"]), st.sampled_from([1e-3, 0.1, 0.9]), st.booleans())
def test_networks_are_undone_over_shapes_weights_slopes_and_references(problem, weights, slope, with_near):
    widths, n, seed, scale = problem
    rng = np.random.default_rng(seed)
    phi = maps.leaky_relu_network(widths, seed=seed, slope=slope, weights=weights, bias=1.0)
    Phi, near = rng.normal(size=(n, widths[-1])), scale * rng.normal(size=(n, widths[0])) if with_near else None
    copies = Phi.copy(), None if near is None else near.copy()
    X = phi.preimage(Phi, near)
    assert phi.is_onto() and (phi.input_dim, phi.output_dim) == (widths[0], widths[-1])
    assert X.shape == (n, widths[0])
    # what the layers between take and give is rounded too, divided by the slope on the way back
    residual = np.linalg.norm(phi(X) - Phi)
    far = np.linalg.norm(X) + (0 if near is None else np.linalg.norm(near)) + n * len(widths)
    assert residual <= tolerance(1, "float64") * (stretch(phi) * far + np.linalg.norm(Phi))
    assert np.array_equal(Phi, copies[0]) and (near is None or np.array_equal(near, copies[1]))


@settings(max_examples=150, deadline=None)
@given(problems(), st.floats(0, 6))
def test_linear_takes_the_nearest_preimage_of_least_squares(problem, digits):
    (d, *_, p), n, seed, scale = problem
    rng = np.random.default_rng(seed)
    A, b = conditioned(rng, d, p, 10**digits), rng.normal(size=p)
    phi, Phi, near = maps.Linear(A, b), rng.normal(size=(n, p)), scale * rng.normal(size=(n, d))
    for reference in (None, near):
        X = phi.preimage(Phi, reference)
        start = np.zeros((n, d)) if reference is None else reference
        step = np.linalg.lstsq(A.T, (Phi - start @ A - b).T, rcond=None)[0].T  # minimum norm
        size = np.linalg.norm(X) + np.linalg.norm(start) + np.linalg.norm(Phi - b)
        assert np.linalg.norm(X - (start + step)) <= tolerance(10**digits, "float64") * (1 + size)
        assert np.linalg.norm(phi(X) - Phi) <= tolerance(1, "float64") * size


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_flows_are_undone_and_undo(d, steps, n, seed, hidden):
    rng = np.random.default_rng(seed)
    phi, X = maps.flow(d, steps, seed=seed, hidden=hidden), rng.normal(size=(n, d))
    bound = tolerance(math.exp(0.5 * steps) * (2 + steps) ** 2, "float64")
    assert error(phi(phi.preimage(X)), X) <= bound and error(phi.preimage(phi(X)), X) <= bound


ACTIVATIONS = [maps.LeakyReLU(0.1), maps.LeakyReLU(3.0), maps.Asinh(), maps.Tanh(), maps.Sigmoid(), maps.ReLU(),
               maps.Identity()]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ACTIVATIONS), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_activations_are_undone_inside_their_range(phi, n, d, seed):
    rng = np.random.default_rng(seed)
    Phi = phi(3 * rng.normal(size=(n, d)))
    assert error(phi(phi.preimage(Phi)), Phi) <= tolerance(2, "float64")
    if not isinstance(phi, maps.ReLU):
        assert error(phi(phi.preimage(Phi, Phi)), Phi) <= tolerance(2, "float64")


@pytest.mark.parametrize("make", [
    lambda like: maps.leaky_relu_network([9, 6, 4], seed=3, bias=0.5, like=like),
    lambda like: maps.leaky_relu_network([6, 6, 6], seed=3, weights="gaussian", like=like),
    lambda like: maps.flow(6, 3, seed=3, like=like),
    lambda like: maps.Chain([maps.leaky_relu_network([6, 5], seed=1, like=like), maps.Identity(5), maps.Asinh()]),
])  # fmt: skip
def test_maps_keep_library_device_and_dtype_and_agree_with_numpy(nx, make, rng):
    like = nx.asarray(np.ones((1, 1)))
    phi, reference = make(like), make(None)
    X, Phi = rng.normal(size=(5, phi.input_dim)), rng.normal(size=(5, phi.output_dim))
    value, back = phi(nx.asarray(X)), phi.preimage(nx.asarray(Phi), nx.asarray(X))
    assert nx.is_mine(value) and nx.is_mine(back) and nx.is_mine(phi.preimage(nx.asarray(Phi)))
    assert error(value, reference(X)) < tolerance(10, nx.dtype)
    assert_right_inverse(phi, Phi, back, nx.dtype)
    condition = math.prod(np.linalg.cond(s.A) / 0.1 for s in getattr(reference, "steps", []) if hasattr(s, "A"))
    assert error(back, reference.preimage(Phi, X)) < tolerance(max(condition, 10), nx.dtype)


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    like = xp.asarray(np.ones((1, 1)), device=device)
    X = xp.asarray(np.linspace(-1, 1, 12).reshape(2, 6), device=device)
    relu, tanh = maps.ReLU(), maps.Tanh()
    for phi in (maps.leaky_relu_network([6, 4], seed=0, bias=1, like=like), maps.flow(6, seed=0, like=like)):
        Phi = phi(X)
        assert Phi.device == phi.preimage(Phi).device == phi.preimage(Phi, X).device == device
    assert relu.preimage(relu(X), X).device == device and tanh.range_scale(X).device == device
    assert all(f.preimage(f(X)).device == device for f in (tanh, maps.Sigmoid(), maps.Asinh(), maps.Identity()))


def test_a_network_is_the_loop_over_its_neurons(rng):
    phi = maps.leaky_relu_network([4, 3, 2], seed=5, slope=0.2, bias=1.0)
    X = rng.normal(size=(6, 4))
    rows = []
    for x in X:
        for layer in phi.steps[::2]:
            y = [sum(x[i] * layer.A[i, j] for i in range(len(x))) + layer.b[0, j] for j in range(layer.A.shape[1])]
            x = [value if value > 0 else 0.2 * value for value in y]
        rows.append(x)
    assert error(phi(X), np.array(rows)) < tolerance(1, "float64")


def test_the_activations_are_those_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    X = torch.tensor(5 * rng.normal(size=(7, 5)))
    F = torch.nn.functional
    for phi, theirs in (
        (maps.LeakyReLU(0.3), F.leaky_relu(X, 0.3)),
        (maps.ReLU(), F.relu(X)),
        (maps.Tanh(), torch.tanh(X)),
        (maps.Sigmoid(), torch.sigmoid(X)),
        (maps.Asinh(), torch.asinh(X)),
    ):
        assert error(phi(X), theirs) < tolerance(1, "float64")


def test_a_coupling_is_triangular_with_the_scales_on_its_diagonal():
    torch = pytest.importorskip("torch")
    coupling = maps.flow(5, 1, seed=2, like=torch.zeros(1, 1, dtype=torch.float64)).steps[0]
    x = torch.tensor([[0.3, -1.0, 0.7, 2.0, -0.4]], dtype=torch.float64)
    J = torch.autograd.functional.jacobian(lambda v: coupling(v[None, :])[0], x[0])
    assert torch.equal(torch.triu(J, 1), torch.zeros_like(J))
    expected = torch.cat([torch.zeros(2, dtype=torch.float64), coupling.log_scale(x[:, :2])[0]])
    assert torch.allclose(torch.log(torch.diag(J)), expected, rtol=1e-12, atol=1e-14)
    assert float(coupling.log_scale(100 * x[:, :2]).abs().max()) <= 0.5


def test_swapped_couplings_change_the_other_entries(rng):
    X = rng.normal(size=(3, 5))
    for swap, same in ((False, slice(0, 1)), (True, slice(4, 5))):
        phi = maps.AffineCoupling(5, lambda x: 0 * x + np.ones(4), lambda x: x + np.zeros(4), half=1, swap=swap)
        kept = phi(X) == X
        assert kept[:, same].all() and not np.delete(kept, same, axis=1).any()
        assert error(phi.preimage(phi(X)), X) < tolerance(10, "float64")


def test_step_by_step_nearest_is_globally_nearest_when_only_the_first_step_has_freedom(rng):
    phi = maps.leaky_relu_network([7, 3, 3], seed=4, weights="gaussian")
    Phi, near = rng.normal(size=(2, 3)), rng.normal(size=(2, 7))
    X = phi.preimage(Phi, near)
    A = phi.steps[0].A
    free = np.linalg.svd(A)[0][:, 3:]  # directions that do not change the features
    assert np.abs((X - near) @ free).max() < tolerance(1, "float64") * np.abs(near).max() * 10
    assert np.linalg.norm(X - near) < np.linalg.norm(phi.preimage(Phi) - near)
    other = X + rng.normal(size=(2, 4)) @ free.T
    assert error(phi(other), Phi) < 1e-12 and np.linalg.norm(other - near) > np.linalg.norm(X - near)


def test_a_preimage_near_an_input_that_fits_already_is_that_input(rng):
    phi = maps.leaky_relu_network([8, 5, 4], seed=1, weights="gaussian", bias=1.0)
    X = rng.normal(size=(6, 8))
    assert error(phi.preimage(phi(X), X), X) < tolerance(1e2, "float64")
    assert error(phi.preimage(phi(X)), X) > 1e-2  # without the reference another one is found


def test_relu_keeps_the_reference_where_the_feature_is_zero():
    X = maps.ReLU().preimage(np.array([[0.0, 0.0, 2.0]]), np.array([[-4.0, 3.0, -1.0]]))
    assert X.tolist() == [[-4.0, 0.0, 2.0]]
    assert not maps.ReLU().is_onto() and not maps.Tanh().is_onto() and maps.Asinh().is_onto()


def test_the_range_scale_of_tanh_leaves_its_margin_row_by_row(nx):
    Phi = nx.asarray([[3.0, -1.0], [0.2, 0.1], [0.0, 0.0]])
    c = numpy64(maps.Tanh().range_scale(Phi, margin=0.1))
    assert c == pytest.approx(np.array([[0.3], [1.0], [1.0]]), rel=4 * nx.eps)
    chain = maps.Chain([maps.Identity(2), maps.Tanh()])
    assert np.array_equal(numpy64(chain.range_scale(Phi, margin=0.1)), c)
    assert numpy64(maps.Chain([maps.Tanh(), maps.Identity(2)]).range_scale(Phi)).tolist() == [[1.0]] * 3
    assert error(chain(chain.preimage(nx.asarray(c) * Phi)), c * numpy64(Phi)) < tolerance(10, nx.dtype)


def test_weights_follow_the_seed_and_nothing_else():
    state = np.random.get_state()[1].copy()
    one, again, other = (maps.leaky_relu_network([5, 4], seed=seed).steps[0].A for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert np.array_equal(state, np.random.get_state()[1])
    generator = np.random.default_rng(1)
    assert np.array_equal(maps.leaky_relu_network([5, 4], seed=generator).steps[0].A, one)


def test_weights_are_orthogonal_or_gaussian_of_variance_one_over_inputs():
    for widths in ([30, 20], [20, 30]):
        A = maps.leaky_relu_network(widths, seed=0).steps[0].A
        small = A.T @ A if widths[0] > widths[1] else A @ A.T
        assert np.abs(small - np.eye(20)).max() < 1e-13
    A = maps.leaky_relu_network([400, 300], seed=0, weights="gaussian").steps[0].A
    assert abs(A.var() * 400 - 1) < 0.02 and abs(A.mean()) < 1e-3
    means = np.mean([maps.leaky_relu_network([3, 3], seed=s).steps[0].A for s in range(2000)], axis=0)
    assert np.abs(means).max() < 0.06  # uniform on the orthogonal group: no sign is preferred


def test_a_widening_network_can_be_called_but_not_undone():
    phi = maps.leaky_relu_network([3, 5], seed=0)
    assert not phi.is_onto() and phi(np.ones((2, 3))).shape == (2, 5)
    with pytest.raises(ValueError, match=r"step 0 of 2 \(Linear\): .*\(d, p\) = \(3, 5\) and rank 3 is not onto R\^5"):
        phi.preimage(np.ones((2, 5)))


def planted(d, p, rank):
    return conditioned(np.random.default_rng(0), d, p, 10, rank=rank)


ONE = np.ones((1, 2))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: maps.Linear(planted(6, 4, 3)).preimage(np.ones((1, 4))), ValueError,
         r"rank 3 is not onto R\^4: a rank-deficient layer; .*at most 3 columns"),
        (lambda: maps.Linear(planted(4, 6, 4)).preimage(np.ones((1, 6))), ValueError,
         r"rank 4 is not onto R\^6: more features than inputs"),
        (lambda: maps.Linear(np.diag([1.0, 1e-9]), rtol=1e-6).preimage(ONE), ValueError, r"rank 1 is not onto R\^2"),
        (lambda: maps.Linear(np.zeros((2, 2))).preimage(ONE), ValueError, r"rank 0 is not onto R\^2"),
        (lambda: maps.Linear(np.eye(2), np.ones(3)), ValueError, r"b must have shape \(2,\), it is \(3,\)"),
        (lambda: maps.Linear(np.eye(2), np.array([1.0, np.nan])), ValueError, "b contains NaN or Inf"),
        (lambda: maps.Linear(np.eye(2, dtype=int)), TypeError, "A has dtype int64; convert it to float64"),
        (lambda: maps.Linear(np.eye(2))(np.ones((1, 3))), ValueError, "X has 3 columns, this map needs 2"),
        (lambda: maps.Linear(np.eye(2)).preimage(np.ones((1, 3))), ValueError, "Phi has 3 columns, this map needs 2"),
        (lambda: maps.Linear(np.eye(2)).preimage(ONE, np.ones((2, 2))), ValueError,
         r"near has shape \(2, 2\), one input a row of Phi is needed: \(1, 2\)"),
        (lambda: maps.Linear(np.eye(2))(ONE.astype("float32")), TypeError, "differ in dtype: .*float32.*float64"),
        (lambda: maps.Identity(3)(ONE), ValueError, "X has 2 columns, this map needs 3"),
        (lambda: maps.Identity(0), ValueError, "d = 0 must be at least 1"),
        (lambda: maps.LeakyReLU(0), ValueError, "slope = 0 is ReLU, which takes no negative value"),
        (lambda: maps.LeakyReLU(-0.1), ValueError, "slope = -0.1 must be finite and not negative"),
        (lambda: maps.LeakyReLU("a"), TypeError, "slope must be a number, got str"),
        (lambda: maps.ReLU().preimage(np.array([[1.0, -0.5]])), ValueError,
         r"ReLU is not onto: it takes no negative value, and 1 of 2 features are negative \(the smallest is -0.5\)"),
        (lambda: maps.Tanh().preimage(np.array([[0.5, -1.5]])), ValueError,
         r"Tanh takes values between -1 and 1, ends excluded: 1 of 2 values lie outside \(from -1.5 to 0.5\)"),
        (lambda: maps.Tanh().preimage(np.array([[1.0]])), ValueError, "ends excluded: 1 of 1 values lie outside"),
        (lambda: maps.Sigmoid().preimage(np.array([[0.5, -1.5, 2]])), ValueError,
         "Sigmoid takes values between 0 and 1, ends excluded: 2 of 3"),
        (lambda: maps.Tanh().range_scale(ONE, margin=1), ValueError, "margin = 1.0 must be below 1"),
        (lambda: maps.LeakyReLU(1e-300).preimage(np.array([[-1e10]])), ValueError,
         r"the inputs overflow: LeakyReLU takes 1e\+10, the largest feature, at no finite float64"),
        (lambda: maps.AffineCoupling(1, abs, abs), ValueError, "d = 1 must be at least 2"),
        (lambda: maps.AffineCoupling(3, abs, abs, half=3), ValueError, "half = 3 leaves none of the d = 3 entries"),
        (lambda: maps.AffineCoupling(3, abs, abs)(np.ones((1, 3))), ValueError,
         r"log_scale returned rows of shape \(1, 1\), \(1, 2\) are needed"),
        (lambda: maps.AffineCoupling(2, np.log, abs)(np.zeros((1, 2))), ValueError, "log_scale contains NaN or Inf"),
        (lambda: maps.Chain([]), ValueError, "a chain needs at least one step"),
        (lambda: maps.Chain([maps.Linear(np.ones((3, 2))), maps.LeakyReLU(), maps.Linear(np.eye(3))]), ValueError,
         r"step 2 \(Linear\(3 -> 3\)\) takes 3 entries, step 0 \(Linear\(3 -> 2\)\) gives 2"),
        (lambda: maps.Chain([maps.Identity(), maps.Tanh()]).preimage(2 * ONE), ValueError,
         r"step 1 of 2 \(Tanh\): Tanh takes values between"),
        (lambda: maps.leaky_relu_network([3], seed=0), ValueError, r"widths = \[3\] needs the number of inputs"),
        (lambda: maps.leaky_relu_network([3, 0], seed=0), ValueError, "a width = 0 must be at least 1"),
        (lambda: maps.leaky_relu_network([3, 2.0], seed=0), TypeError, "a width must be an integer, got 2.0"),
        (lambda: maps.leaky_relu_network([3, 2], seed=None), TypeError, "seed must be an integer or a"),
        (lambda: maps.leaky_relu_network([3, 2], seed=0, weights="he"), ValueError,
         "weights must be 'orthogonal' or 'gaussian', got 'he'"),
        (lambda: maps.flow(1, seed=0), ValueError, "d = 1 must be at least 2"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_a_layer_is_onto_exactly_when_its_rank_is_its_number_of_features(d, p, rank, seed):
    rank = min(rank, d, p)
    A = conditioned(np.random.default_rng(seed), d, p, 1e3, rank=rank) if rank else np.zeros((d, p))
    phi = maps.Linear(A)
    assert phi.rank == rank and phi.is_onto() == (rank == p)
    if rank < p:
        with pytest.raises(ValueError, match=rf"\(d, p\) = \({d}, {p}\) and rank {rank} is not onto"):
            phi.preimage(np.ones((2, p)))


def test_gradients_flow_through_a_preimage(rng):
    torch = pytest.importorskip("torch")
    phi = maps.leaky_relu_network([4, 3], seed=0, like=torch.zeros(1, 1, dtype=torch.float64))
    Phi = torch.tensor(rng.normal(size=(2, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda A: phi.preimage(A), (Phi,))


# -- one suite for every kind of map, in both libraries


def convolution(like, **options):
    torch = pytest.importorskip("torch")
    if not isinstance(like, torch.Tensor):
        pytest.skip("convolutions are of PyTorch")
    rng = np.random.default_rng(7)
    weight = 0.1 * rng.normal(size=(2, 2, 3, 3))
    weight[[0, 1], [0, 1], 1, 1] += 1
    if not options:
        weight = weight[:, :, :2, :2] + 0
    weight, bias = (torch.tensor(A, dtype=like.dtype, device=like.device) for A in (weight, rng.normal(size=2)))
    return maps.Conv2d(weight, bias, input_shape=(2, 4, 4), **(options or {"stride": 2}))


def matrix(like, *shape):
    A = np.random.default_rng(3).normal(size=shape)
    xp = maps.base.array_namespace(like)
    return xp.asarray(A, dtype=like.dtype, device=maps.base.device_of(like))


EVERY = {
    "Identity": lambda like: maps.Identity(6),
    "Linear": lambda like: maps.Linear(matrix(like, 6, 4), matrix(like, 4)),
    "Scale": lambda like: maps.Scale(matrix(like, 6), matrix(like, 6)),
    "LeakyReLU": lambda like: maps.LeakyReLU(0.2),
    "Asinh": lambda like: maps.Asinh(),
    "Tanh": lambda like: maps.Tanh(),
    "Sigmoid": lambda like: maps.Sigmoid(),
    "ReLU": lambda like: maps.ReLU(),
    "Cosine": lambda like: maps.Cosine(0.7),
    "AffineCoupling": lambda like: maps.flow(6, 1, seed=0, like=like).steps[0],
    "Chain": lambda like: maps.leaky_relu_network([6, 5, 4], seed=0, bias=1.0, like=like),
    "RandomFourier": lambda like: maps.orthogonal_features(6, 5, 1.5, seed=0, like=like),
    "Conv2d": convolution,
    "Conv2d, overlapping": lambda like: convolution(like, padding=1),
    "flow": lambda like: maps.flow(6, 3, seed=0, like=like),
    "nested": lambda like: maps.Chain([EVERY["Chain"](like), maps.Chain([maps.Tanh()])]),
}


@pytest.fixture(params=EVERY)
def any_map(request, nx):
    """A map, rows of inputs, and features that it reaches, in the library, device and dtype of `nx`."""
    phi = EVERY[request.param](nx.asarray([[1.0]]))
    rng = np.random.default_rng(11)
    X, other = (nx.asarray(rng.normal(size=(5, phi.input_dim or 6))) for _ in range(2))
    return phi, X, phi(other)


def test_the_suite_has_every_kind_of_map():
    pytest.importorskip("torch")
    kinds = {kind for kind, cls in maps.Map.kinds.items() if cls.__module__.startswith("ddref.")}
    assert (kinds | {"Conv2d"}) - {"Patches"} <= EVERY.keys()  # patches are never onto, see test_patches.py


def test_every_map_is_undone_to_rounding_near_a_reference_and_without(nx, any_map):
    phi, X, Phi = any_map
    copies = numpy64(X).copy(), numpy64(Phi).copy()
    for near in (None, X):
        found = phi.preimage(Phi, near)
        assert nx.is_mine(found) and nx.is_mine(phi(found)) and tuple(found.shape) == tuple(X.shape)
        assert error(phi(found), Phi) < tolerance(50, nx.dtype)
    assert np.array_equal(numpy64(X), copies[0]) and np.array_equal(numpy64(Phi), copies[1])


def test_every_map_keeps_the_reference_where_it_fits_already(nx, any_map):
    phi, X, _ = any_map
    found = phi.preimage(phi(X), X)
    lost = 1e3 if nx.dtype == "float32" else 1e8  # of eps: the arc cosine is flat at the edge of its range
    assert error(found, X) < tolerance(min(lost, 1e6), nx.dtype) * 100
    assert np.linalg.norm(numpy64(found) - numpy64(X)) <= np.linalg.norm(numpy64(phi.preimage(phi(X))) - numpy64(X)) * (1 + 1e-6) + 1e-3


def test_every_map_comes_back_from_plain_data(nx, any_map):
    from ddref.maps.written import on_rows, plain

    phi, X, Phi = any_map
    again, rows = plain(phi), numpy64(X).astype(nx.dtype)
    assert type(again) is type(phi) and repr(again) == repr(phi) and again.is_onto() == phi.is_onto()
    assert error(on_rows(again, rows), phi(X)) < tolerance(10, nx.dtype)


def test_every_map_moves_to_another_dtype_and_back(nx, any_map):
    phi, X, Phi = any_map
    for name in ("float32", "float64"):
        moved = phi.to(dtype=name)
        assert phi.dtype is None or str(moved.dtype).endswith(name)
        cast = type(nx)(nx.library, nx.device, name)
        assert error(moved(cast.asarray(numpy64(X))), phi(X)) < tolerance(20, "float32")
    with pytest.raises(TypeError, match="dtype must be float64 or float32, got int8"):
        phi.to(dtype="int8")


def test_every_map_says_how_to_scale_features_into_its_range(nx, any_map):
    phi, X, Phi = any_map
    c = phi.range_scale(100 * Phi)
    assert tuple(c.shape) == (5, 1) and nx.is_mine(c) and 0 < numpy64(c).min() and numpy64(c).max() <= 1
    inside = c * (100 * Phi)
    if not isinstance(phi, maps.Sigmoid | maps.Asinh):  # nothing scales into (0, 1); sinh(100) is out of reach
        assert error(phi(phi.preimage(inside)), inside) < tolerance(1e3, nx.dtype)


def test_every_map_refuses_nan_other_widths_and_other_dtypes(nx, any_map):
    phi, X, Phi = any_map
    with pytest.raises(ValueError, match="X contains NaN or Inf"):
        phi(X * math.nan)
    with pytest.raises(ValueError, match="Phi contains NaN or Inf"):
        phi.preimage(Phi * math.nan)
    with pytest.raises(ValueError, match="near has shape"):
        phi.preimage(Phi, X[:2])
    if phi.input_dim is not None:
        with pytest.raises(ValueError, match="X has 1 columns, this map needs"):
            phi(X[:, :1])
        with pytest.raises(ValueError, match="Phi has 1 columns, this map needs"):
            phi.preimage(Phi[:, :1])
    if phi.dtype is not None:
        other = type(nx)(nx.library, nx.device, "float32" if nx.dtype == "float64" else "float64")
        with pytest.raises(TypeError, match="differ in dtype"):
            phi(other.asarray(numpy64(X)))


def test_every_map_has_gradients_one_way_and_back(nx, any_map):
    torch = pytest.importorskip("torch")
    if nx.library != "torch" or nx.dtype != "float64":
        pytest.skip("gradients are of PyTorch, and checked in float64")
    phi, X, Phi = any_map
    assert torch.autograd.gradcheck(phi, (X[:2].clone().requires_grad_(),))
    if isinstance(phi, maps.ReLU):
        return  # a feature 0 is the end of what it takes
    assert torch.autograd.gradcheck(lambda A: phi.preimage(A, X[:2]), (Phi[:2].clone().requires_grad_(),))


def test_a_map_may_hold_functions_and_maps_of_your_own(rng):
    class Doubled:
        input_dim = output_dim = None

        def is_onto(self):
            return True

        def __call__(self, X):
            return 2 * X

        def preimage(self, Phi, near=None):
            return Phi / 2

    phi = maps.Chain([Doubled(), maps.AffineCoupling(4, lambda x: 0 * x, lambda x: x**2), maps.LeakyReLU()])
    for dtype in ("float64", "float32"):
        Phi = rng.normal(size=(3, 4)).astype(dtype)
        X = phi.preimage(Phi)
        assert X.dtype == dtype and error(phi(X), Phi) < tolerance(10, dtype)
    assert phi.is_onto() and maps.Chain([Doubled()]).range_scale(Phi).tolist() == [[1.0]] * 3
    with pytest.raises(TypeError, match="is a function of your own"):
        phi.to(dtype="float32")


def test_an_inverse_that_is_wrong_is_noticed():
    class Wrong(maps.LeakyReLU):
        def inverse(self, Z, near):
            return 1.001 * super().inverse(Z, near)

    with pytest.raises(ValueError, match="row 0: the pre-image misses Phi by 0.001.*more than the .* that rounding explains"):
        Wrong().preimage(np.array([[1.0]]))


# -- a new activation: one class in one file, all the way


class Softshrink(maps.Activation):
    """Towards zero by `lambd`, and zero for what is smaller: onto, and 0 comes from an interval."""

    kind, numbers, torch_modules = "Softshrink", ("lambd",), ("Softshrink",)

    def __init__(self, lambd=0.5):
        self.lambd = float(lambd)

    @classmethod
    def from_torch(cls, layer):
        return cls(layer.lambd)

    def forward(self, X):
        return X - X.clip(-self.lambd, self.lambd)

    def inverse(self, Z, near):
        free = 0 * Z if near is None else near.clip(-self.lambd, self.lambd)
        xp = maps.base.array_namespace(Z)
        return xp.where(Z == 0, free, Z + self.lambd * xp.sign(Z))


def test_a_new_activation_is_one_class_in_one_file_all_the_way(tmp_path, rng):
    torch = pytest.importorskip("torch")
    from ddref import files, krr, recipe

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Softshrink(0.3)).double()
    phi = maps.from_torch(network, 6)  # converted
    X = torch.tensor(rng.normal(size=(8, 6)))
    Phi = network(X).detach()
    assert error(phi(X), Phi) < 1e-14 and error(phi(phi.preimage(Phi, X)), Phi) < 1e-14  # called and undone
    W = torch.tensor(rng.normal(size=(4, 2)))
    found = recipe.distill(phi, W, near=X[:4])  # distilled
    assert found.certificate.exact
    assert error(krr.fit(network(found.X_S).detach(), found.Y_S, found.lam_S), W) < 1e-9
    X_S, Y_S = (numpy64(A) for A in found[:2])
    set_ = files.Saved(X_S, Y_S, found.lam_S, 1.0, False, np.zeros(6), np.ones(6), feature_map=phi)
    files.save(tmp_path / "set.npz", set_)  # saved
    again = files.load(tmp_path / "set.npz")  # and restored
    assert type(again.feature_map.steps[1]) is Softshrink and again.feature_map.steps[1].lambd == 0.3
    assert error(files.model(again).W, W) < 1e-9
    with pytest.raises(TypeError, match="kind 'Softshrink' is taken by"):
        type("Other", (maps.Activation,), {"kind": "Softshrink"})


# -- networks of PyTorch, as their forward goes


def from_torch(*layers, shape=8, mode="eval"):
    torch = pytest.importorskip("torch")
    network = layers[0] if len(layers) == 1 else torch.nn.Sequential(*layers)
    network = getattr(network.double(), mode)()
    return network, maps.from_torch(network, shape)


def test_modules_used_twice_and_shared_blocks_count_each_time(rng):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    a, square = nn.LeakyReLU(0.1), nn.Linear(8, 8)
    block = nn.Sequential(square, a)
    network, phi = from_torch(nn.Linear(8, 8), a, block, nn.Sequential(block, block), a, square)
    X = torch.tensor(rng.normal(size=(4, 8)))
    assert len(phi.steps) == 10 and error(phi(X), network(X).detach()) < 1e-14
    assert error(network(phi.preimage(X)).detach(), X) < tolerance(phi.condition(), "float64")


def test_batch_normalisation_and_dropout_are_understood_once_trained(rng):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 2, stride=2), nn.BatchNorm2d(6), nn.LeakyReLU(), nn.Dropout2d(), nn.Flatten(),
        nn.BatchNorm1d(24), nn.Linear(24, 10), nn.BatchNorm1d(10, affine=False), nn.Dropout(0.3),
    ).double()  # fmt: skip
    for _ in range(3):
        network(2 + 3 * torch.randn(50, 2, 4, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"layer 1, BatchNorm2d.* call net.eval\(\).* ddref.nonsurjective.solve"):
        maps.from_torch(network, (2, 4, 4))
    phi = maps.from_torch(network.eval(), (2, 4, 4))
    X = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    assert error(phi(X.flatten(1)), network(X).detach()) < 1e-13
    Phi = torch.tensor(rng.normal(size=(3, 10)))
    assert error(network(phi.preimage(Phi).reshape(-1, 2, 4, 4)).detach(), Phi) < 1e-11


def refusals():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Residual(nn.Module):
        def forward(self, X):
            return X + 1

    class Doubling(nn.Sequential):
        def forward(self, X):
            return super().forward(super().forward(X))

    def hooked(layer):
        layer.register_forward_hook(lambda module, inputs, output: 2 * output)
        return layer

    def replaced(layer):
        layer.forward = lambda X: 2 * X
        return layer

    class MyLinear(nn.Linear):
        def forward(self, X):
            return 2 * super().forward(X)

    class Wrong(maps.Activation):
        kind, torch_modules = "test_maps.Wrong", (Residual,)

        def forward(self, X):
            return X + 1 + 1e-7

        def inverse(self, Z, near):
            return Z - 1 - 1e-7

    del maps.Map.kinds["test_maps.Wrong"]
    linear, weight_norm = nn.Linear(8, 8), torch.nn.utils.parametrizations.weight_norm
    return Wrong, {
        "layer 1, Residual.* is not supported": (linear, Residual()),
        "layer 1, AvgPool1d.* is not supported": (linear, nn.AvgPool1d(2)),
        r"layer 1, GELU.* is not onto: its range is \[-0.17, inf\); use LeakyReLU": (linear, nn.GELU()),
        r"layer 1, Sigmoid.* is not onto: its range is \(0, 1\); use LeakyReLU": (linear, nn.Sigmoid()),
        "the network, a Doubling, has a forward of its own": (Doubling(linear, nn.LeakyReLU()),),
        "layer 1, a Doubling, has a forward of its own": (linear, Doubling(nn.LeakyReLU())),
        "layer 0, MyLinear.* is not supported": (MyLinear(8, 8), linear),
        "layer 0, Linear.* has hooks or a forward that was replaced": (hooked(nn.Linear(8, 8)), linear),
        "layer 1, LeakyReLU.* has hooks or a forward that was replaced": (linear, replaced(nn.LeakyReLU())),
        "layer 0, Parametrized.* has parametrised weights": (weight_norm(nn.Linear(8, 8)), linear),
        "layer 1, BatchNorm1d.* takes 7 features and gets 8": (linear, nn.BatchNorm1d(7)),
        "the network has hooks": (hooked(nn.Sequential(linear)),),
    }  # fmt: skip


def test_what_a_map_cannot_be_is_refused_with_what_can_be_done():
    for message, layers in refusals()[1].items():
        with pytest.raises(ValueError, match=f"(?s){message}.*ddref.nonsurjective.solve"):
            from_torch(*layers)


def test_a_map_that_differs_from_its_network_is_not_returned(monkeypatch):
    torch = pytest.importorskip("torch")
    Wrong, cases = refusals()
    monkeypatch.setitem(maps.Map.kinds, "test_maps.Wrong", Wrong)
    layers = cases["layer 1, Residual.* is not supported"]
    with pytest.raises(ValueError, match=r"differs from the network, by .*e-0[78] relative to its features"):
        from_torch(*layers)
    state = torch.random.get_rng_state()
    from_torch(torch.nn.Linear(8, 8), torch.nn.LeakyReLU())
    assert not torch.equal(state, torch.random.get_rng_state())  # by the Linear above
    state = torch.random.get_rng_state()
    maps.from_torch(torch.nn.Sequential(torch.nn.LeakyReLU()), 8)
    assert torch.equal(state, torch.random.get_rng_state())  # the comparison draws from its own generator


def test_importing_the_maps_loads_no_torch():
    code = "import sys, ddref.maps; assert 'torch' not in sys.modules; ddref.maps.flow(4, seed=0)"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- thresholds, both sides of each


@pytest.mark.parametrize("dtype, eps", [("float64", 2.0**-52), ("float32", 2.0**-23)])
@pytest.mark.parametrize("count, onto", [(21, True), (19, False)])
def test_a_matrix_is_onto_above_the_larger_side_times_eps(dtype, eps, count, onto):
    A = np.zeros((20, 2), dtype)
    A[0, 0], A[1, 1] = 4.0, 4 * count * eps
    phi = maps.Linear(A)
    assert phi.is_onto() == onto and phi.rank == 1 + onto
    if not onto:
        with pytest.raises(ValueError, match=r"a rank-deficient layer; use p <= d, at most 1 columns") as refused:
            phi.preimage(np.ones((1, 2), dtype))
        assert ("judged in float32" in str(refused.value)) == (dtype == "float32")
    assert maps.Linear(A, rtol=1e-3).rank == 1 and maps.Linear(np.diag([1.0, 1e-3]), rtol=0.9e-3).rank == 2


@pytest.mark.parametrize("count, onto", [(0, False), (3.9, False), (4, False), (4.1, True)])
def test_a_factor_is_zero_up_to_d_eps_of_the_largest(count, onto):
    phi = maps.Scale(np.array([-8.0, 1.0, 2.0, 8 * count * 2.0**-52]))
    assert phi.is_onto() == onto
    if not onto:
        with pytest.raises(ValueError, match="1 of 4 factors are zero"):
            phi.preimage(np.ones((1, 4)))


def test_the_edges_of_open_and_closed_ranges():
    below = np.nextafter(1.0, 0.0)
    for phi, inside, outside in (
        (maps.Tanh(), [-below, 0.0, below], [-1.0, 1.0]),
        (maps.Sigmoid(), [1e-300, 0.5, below], [0.0, 1.0, -1e-300]),
        (maps.ReLU(), [0.0, 1e-300, 1e300], [-1e-300]),
    ):
        for value in inside:
            phi.check_reach(np.array([[value]]))
        for value in outside:
            with pytest.raises(ValueError):
                phi.check_reach(np.array([[value]]))


def test_activations_by_hand_on_both_sides_of_zero():
    X = np.array([[-2.0, 0.0, 3.0]])
    assert maps.LeakyReLU(0.5)(X).tolist() == [[-1.0, 0.0, 3.0]]
    assert maps.LeakyReLU(0.5).preimage(X).tolist() == [[-4.0, 0.0, 3.0]]
    assert maps.ReLU()(X).tolist() == [[0.0, 0.0, 3.0]]
    assert maps.ReLU().preimage(np.array([[0.0, 0.0, 3.0]]), near=np.array([[-2.0, 5.0, 1.0]])).tolist() == [[-2.0, 0.0, 3.0]]
    assert np.allclose(maps.Sigmoid()(np.array([[-800.0, -1.0, 0.0, 1.0, 800.0]])), [[0.0, 0.2689414213699951, 0.5, 0.7310585786300049, 1.0]], atol=1e-16)
    for slope in (0.25, 4.0):
        phi = maps.LeakyReLU(slope)
        assert phi.lipschitz() == max(slope, 1.0) and phi.condition() == 4.0


def one_row(phi, X):
    """What a map gives one row, as a list."""
    return phi(np.array([X], float))[0].tolist()


def test_what_is_not_said_is_the_default():
    assert maps.LeakyReLU().slope == 0.1 and maps.Cosine().half_width == 1.0
    assert one_row(maps.Tanh().range_scale, [4.0]) == [0.95 / 4]
    network = maps.leaky_relu_network([3, 3], seed=0)
    assert network.steps[1].slope == 0.1 and network.steps[0].b is None
    flow = maps.flow(5, seed=0)
    assert [step.swap for step in flow.steps] == [False, True, False, True]
    assert [(step.d, step.half) for step in flow.steps] == [(5, 2)] * 4 == [(maps.AffineCoupling(5, abs, abs).d, 2)] * 4
    for step in flow.steps:
        for part, bound in ((step.log_scale, 0.5), (step.shift, 1.0)):
            assert part.steps[0].A.shape == (2, 32)
            assert np.abs(part.steps[2].A).sum(axis=0) == pytest.approx([bound] * 3, rel=1e-14)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: maps.Cosine(0), "half_width = 0 must be positive"),
        (lambda: maps.flow(4, 0, seed=0), "steps = 0 must be at least 1"),
        (lambda: maps.flow(4, seed=0, hidden=0), "hidden = 0 must be at least 1"),
        (lambda: maps.flow(4, seed=0, log_scale=-1), "log_scale = -1.0 must be finite"),
        (lambda: maps.leaky_relu_network([2, 2], seed=0, bias=-1), "bias = -1.0 must be finite"),
        (lambda: maps.AffineCoupling(3, abs, abs, half=0), "half = 0 must be at least 1"),
        (lambda: maps.Scale(np.array([1.0, np.nan])), "a contains NaN"),
        (lambda: maps.Scale(np.ones(2), np.ones(3)), r"b must have shape \(2,\)"),
        (lambda: maps.Linear(np.ones((2, 2)), rtol=-1), "rtol = -1.0 must be finite"),
        (lambda: maps.Linear(np.ones((2, 2))).preimage(ONE), "rank 1 is not onto R.2: a rank-deficient layer"),
        (lambda: maps.RandomFourier(np.ones((2, 2)), np.ones(2)).preimage(ONE), "cube: rank-deficient frequencies"),
        (lambda: maps.flow(4, seed=0, like=np.ones((1, 1)))(np.ones((1, 3))), "X has 3 columns, this map needs 4"),
    ],
)
def test_numbers_below_their_least_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_smallest_flows_are_made_and_undone():
    for d in (2, 3):
        phi = maps.flow(d, 1, seed=0, hidden=1)
        assert error(phi(phi.preimage(np.ones((1, d)))), np.ones((1, d))) < 1e-14
    assert maps.AffineCoupling(2, abs, abs, half=1).half == 1


def test_singular_values_condition_and_stretch_by_hand():
    A = np.diag([3.0, -4.0])
    for phi in (maps.Linear(A), maps.Scale(np.array([3.0, -4.0]))):
        assert phi.extremes() == pytest.approx((3, 4)) and phi.lipschitz() == pytest.approx(4)
        assert phi.condition() == pytest.approx(4 / 3) and phi.is_onto()
    for phi, stretch in (
        (maps.Linear(np.zeros((2, 2))), 0.0),
        (maps.Linear(np.ones((2, 3))), 6**0.5),
        (maps.Linear(np.diag([5.0, 0.0])), 5.0),
        (maps.Scale(np.array([0.0, 5.0])), 5.0),
    ):
        assert phi.condition() == math.inf and phi.lipschitz() == pytest.approx(stretch) and not phi.is_onto()
    assert maps.Linear(np.zeros((2, 2))).extremes() == (0.0, 0.0)
    for phi in (maps.Identity(), maps.Tanh(), maps.Sigmoid(), maps.Asinh(), maps.ReLU()):
        assert phi.lipschitz() == 1.0
    assert maps.Identity().condition() == 1.0 and maps.Tanh().condition() is None and maps.Cosine(3.0).lipschitz() == 3.0
    chain = maps.Chain([maps.Linear(A), maps.LeakyReLU(0.5), maps.Scale(np.array([2.0, 1.0]))])
    assert chain.lipschitz() == pytest.approx(8) and chain.condition() == pytest.approx(4 / 3 * 2 * 2)
    assert maps.Chain([maps.Linear(A), maps.Tanh()]).condition() is None


class Bare(maps.Map):
    """A map with what every map has."""

    def __init__(self, stretch=None):
        self.stretch = stretch

    def forward(self, X):
        return 3 * X

    def lipschitz(self):
        return self.stretch


@pytest.mark.parametrize(
    "phi, X, Z, sizes",
    [
        (maps.Linear(np.array([[1.0]])), 1.0, 1.0, 2),
        (maps.Linear(np.array([[3.0]])), 1.0, 3.0, 6),
        (maps.Linear(np.array([[1.0]]), np.array([1.0])), 1.0, 2.0, 4),
        (maps.Scale(np.array([2.0]), np.array([-8.0])), 0.0, -8.0, 16),
        (Bare(3.0), 1.0, 3.0, 6),
        (Bare(5.0), 1.0, 3.0, 8),
        (maps.Chain([Bare(3.0)]), 1.0, 3.0, 6 + 0.03),
        (maps.Chain([maps.Scale(np.array([2.0])), Bare(3.0)]), 1.0, 6.0, 3 * 4 + 12 + 0.06),
    ],
)
def test_a_miss_is_rounding_up_to_a_hundred_eps_of_all_sizes(phi, X, Z, sizes):
    for eps in (EPS, 2.0**-23):
        for part, refused in ((0.99, False), (1.01, True)):
            missed = np.array([[Z + part * 100 * eps * sizes * np.sign(Z)]])
            if refused:
                with pytest.raises(ValueError, match="row 0: the pre-image misses Phi by .*more than"):
                    phi.check_missed(np.array([[X]]), missed, eps)
            else:
                phi.check_missed(np.array([[X]]), missed, eps)
    Bare().check_missed(np.ones((1, 1)), np.ones((1, 1)), EPS)  # not known: not judged
    assert maps.Chain([Bare(2.0), Bare()]).rounding(np.ones((1, 1)), np.ones((1, 1))) is None


def test_the_row_that_misses_most_is_named():
    phi, X = maps.Linear(np.eye(1)), np.array([[1.0], [1.0], [1.0]])
    with pytest.raises(ValueError, match="row 1: the pre-image misses Phi by 0.5, .*at most 1[)]"):
        phi.check_missed(X, np.array([[1.1], [1.5], [1.0]]), EPS)


class Slow(maps.Map):
    """Each correction leaves a part of what was missed."""

    def __init__(self, part):
        self.part, self.called = part, 0

    def forward(self, X):
        return 1.0 * X

    def inverse(self, Z, near):
        self.called += 1
        return Z + self.part * ((0 * Z if near is None else near) - Z)


@pytest.mark.parametrize("part, called", [(0.0, 2), (0.51, 2), (0.49, 5), (0.25, 5), (1.5, 2), (-1.0, 2)])
def test_inputs_are_corrected_once_and_while_that_halves_what_is_missed(part, called):
    phi = Slow(part)
    X = phi.solved(np.array([[1.0], [2.0]]), None)
    assert phi.called == called
    kept = called if abs(part) < 1 else 1  # a correction that makes it no better is not taken
    assert X == pytest.approx(np.array([[1.0], [2.0]]) * (1 - part**kept), rel=1e-14)


def test_norms_of_rows_of_any_size():
    rows = np.array([[3e200, 4e200], [0.0, 0.0], [-3e-200, 4e-200], [0.3, -0.4]])
    assert maps.base.row_norms(rows) == pytest.approx([5e200, 0, 5e-200, 0.5], rel=1e-15, abs=0)


def test_scaling_into_the_range_is_the_largest_that_leaves_the_margin():
    Phi = np.array([[2.0, -4.0], [0.0, 0.0], [0.97, 0.0], [0.95, 0.1], [-0.9, 0.2]])
    assert maps.Tanh().range_scale(Phi)[:, 0] == pytest.approx([0.95 / 4, 1, 0.95 / 0.97, 1, 1], rel=1e-15)
    assert maps.Cosine(2.0).range_scale(Phi, margin=0)[:, 0].tolist() == [0.5, 1, 1, 1, 1]
    for phi in (maps.Sigmoid(), maps.ReLU(), maps.Asinh(), maps.Identity(), maps.Linear(np.eye(2))):
        assert phi.range_scale(Phi).tolist() == [[1.0]] * 5
    with pytest.raises(ValueError, match="margin = -0.5 must be finite"):
        maps.Tanh().range_scale(Phi, margin=-0.5)
    with pytest.raises(ValueError, match="Phi contains NaN"):
        maps.Identity().range_scale(np.nan * Phi)


class Clip(maps.Activation):
    """Takes the ends of its range, and is not one of this package."""

    bounds, attained = (-1.0, 2.0), True

    def forward(self, X):
        return X.clip(-1, 2)

    def inverse(self, Z, near):
        return 1 * Z


def test_an_activation_of_your_own_may_take_the_ends_of_its_range():
    assert Clip().preimage(np.array([[-1.0, 2.0]])).tolist() == [[-1.0, 2.0]]
    assert Clip().range_scale(np.array([[-9.0]])).tolist() == [[1.0]]
    for value, words in ((2.1, "from -1 to 2.1"), (-1.1, "from -1.1 to -1")):
        with pytest.raises(ValueError, match=f"Clip takes values between -1 and 2, ends included: 1 of 2 .*{words}"):
            Clip().preimage(np.array([[-1.0, value]]))
    for phi, ends in ((Clip(), r"\[-1, 2\]"), (maps.Tanh(), r"\(-1, 1\)"), (maps.ReLU(), r"\[0, inf\)"), (maps.Cosine(), r"\[-1, 1\]")):
        assert not phi.is_onto()
        with pytest.raises(ValueError, match=f"step 0 of 2 .*: {type(phi).__name__} is not onto: its range is {ends}; use"):
            raise ValueError(maps.Chain([phi, maps.Identity()]).obstacle)
    assert maps.Asinh().is_onto() and maps.LeakyReLU().is_onto()


def test_a_map_that_changes_nothing_is_itself():
    A = np.eye(2)
    for phi in (maps.Linear(A), maps.Scale(A[0]), maps.LeakyReLU()):
        assert phi.to(dtype="float64") is phi is phi.to()
    assert maps.Linear(A).to(dtype="float32").dtype == np.float32
    assert maps.LeakyReLU(0.3).to(dtype=np.float32).slope == 0.3
    chain = maps.Chain([maps.Linear(A), maps.LeakyReLU()])
    assert chain.to(dtype="float32").dtype == np.float32 and chain.to(dtype="float32") is not chain
    assert maps.Linear(A).like.tolist() == [[1.0]] and maps.LeakyReLU().like is None is maps.LeakyReLU().device
    assert maps.Chain([maps.LeakyReLU(), maps.Linear(A)]).device == "cpu"


def test_maps_say_their_widths():
    assert repr(maps.Linear(np.ones((3, 2)))) == "Linear(3 -> 2)" and repr(maps.Tanh()) == "Tanh(any -> any)"
    chain = maps.Chain([maps.Tanh(), maps.Linear(np.ones((3, 2))), maps.LeakyReLU(0.5), maps.Linear(np.ones((2, 4)))])
    assert repr(chain) == "Chain([Tanh(any -> any), Linear(3 -> 2), LeakyReLU(0.5), Linear(2 -> 4)])"
    assert (chain.input_dim, chain.output_dim) == (3, 4)
    assert maps.Chain([maps.Tanh()]).input_dim is None is maps.Identity().input_dim
    with pytest.raises(ValueError, match="near has shape .1, 2., one input a row of Phi is needed: .1, 3."):
        maps.Linear(np.ones((3, 2))).preimage(ONE, ONE)


def test_a_map_keeps_its_own_copy_of_the_weights():
    A, b = np.eye(2), np.ones(2)
    layer, scale = maps.Linear(A, b), maps.Scale(b, b)
    A[:], b[:] = 7, 7
    assert layer.A.tolist() == np.eye(2).tolist() and layer.b.tolist() == scale.a.tolist() == scale.b.tolist() == [[1, 1]]
    X = ONE.copy()
    assert maps.Identity()(X) is not X and maps.Identity()(X).tolist() == X.tolist()


def test_a_scale_may_be_repeated_with_shifts_and_without():
    assert one_row(maps.Scale(np.array([2.0, 3.0])).repeated(2), [1, 1, 1, 1]) == [2, 2, 3, 3]
    assert one_row(maps.Scale(np.array([2.0, 3.0]), np.array([1.0, 0.0])).repeated(2), [1, 1, 1, 1]) == [3, 3, 3, 3]
    assert maps.Scale(np.ones(2)).repeated(3).input_dim == 6


def test_batch_normalisation_without_running_means_is_refused():
    nn = pytest.importorskip("torch").nn
    for layer in (nn.BatchNorm1d(2, track_running_stats=False).eval(), nn.BatchNorm1d(2)):
        with pytest.raises(ValueError, match="normalises with the mean of each batch"):
            maps.Scale.from_torch(layer)


def test_slopes_of_pytorch_are_taken_where_they_are_one_and_positive():
    nn = pytest.importorskip("torch").nn
    for layer, slope in ((nn.LeakyReLU(0.2), 0.2), (nn.PReLU(init=0.5), 0.5), (nn.LeakyReLU(2.0), 2.0)):
        assert maps.LeakyReLU.from_torch(layer).slope == slope
    for layer, words in (
        (nn.PReLU(2), "has 2 slopes, which is not supported"),
        (nn.LeakyReLU(0.0), "is not onto: its slope is 0; a positive one is needed"),
        (nn.LeakyReLU(-0.1), "is not onto: its slope is -0.1"),
    ):
        with pytest.raises(ValueError, match=words):
            maps.LeakyReLU.from_torch(layer)


def nested(depth, kind):
    """Plain data of a map inside of so many others."""
    found = {"kind": "Identity", "d": None}
    for _ in range(depth):
        if kind == "Chain":
            found = {"kind": "Chain", "steps": [found]}
        else:
            found = {"kind": "AffineCoupling", "d": 2, "half": 1, "swap": False, "log_scale": found, "shift": None}
    return found


@pytest.mark.parametrize("kind", ["Chain", "AffineCoupling"])
def test_maps_are_restored_twenty_deep_and_no_deeper(kind):
    from ddref.maps.written import describe, plain, restore, with_arrays

    phi = restore(nested(20, kind), "map", {})
    for copy in (phi, plain(phi), with_arrays(phi, np.asarray)):
        assert describe(copy, "map", {}) == nested(20, kind)
    with pytest.raises(ValueError, match="the feature map is damaged"):
        restore(nested(21, kind), "map", {})


def test_plain_data_are_searched_fifty_deep_and_no_deeper():
    from ddref.maps.written import _has_convolution, restore

    found = {"kind": "Conv2d"}
    for _ in range(50):
        found = [found]
    assert _has_convolution(found) and not _has_convolution({"kind": "Chain", "steps": [{"kind": "Tanh"}, 3]})
    assert _has_convolution({"kind": "Chain", "steps": [{"kind": "Tanh"}, {"kind": "conv.Linear"}]})
    for more in ([found], {"steps": found}):
        with pytest.raises(ValueError, match="the feature map is damaged"):
            _has_convolution(more)
    for found in ([], 3, "Chain"):
        with pytest.raises(ValueError, match="the feature map is damaged"):
            restore(found, "map", {})
    assert restore(None, "map", {}) is None


def test_a_map_of_another_edition_or_class_is_no_plain_data():
    from ddref.maps.written import describe, restore

    class Mine(maps.Identity):
        pass

    with pytest.raises(TypeError, match="not .*Mine: give its class one"):
        describe(Mine(), "map", {})
    with pytest.raises(ValueError, match="a step 'conv.Tanh' that this ddref does not know"):
        restore({"kind": "conv.Tanh"}, "map", {})


def test_float32_is_inverted_in_float64_unless_a_part_is_a_function():
    rng = np.random.default_rng(0)
    A = conditioned(rng, 20, 20, 1e3).astype("float32")
    Phi = rng.normal(size=(4, 20)).astype("float32")
    assert np.array_equal(maps.Linear(A).preimage(Phi), np.linalg.solve(A.T.astype(float), Phi.T).T.astype("float32"))
    expected = np.where(Phi > 0, Phi, Phi.astype(float) / 0.1).astype("float32")
    assert np.array_equal(maps.LeakyReLU(0.1).preimage(Phi), expected)
    seen = []
    phi = maps.AffineCoupling(20, lambda x: seen.append(x.dtype) or 0 * x, abs)
    assert phi.preimage(Phi).dtype == np.float32 and set(seen) == {np.dtype("float32")}


def test_features_that_rounding_puts_outside_in_float32_are_no_further_out_in_float64():
    phi = maps.Chain([maps.Linear(np.eye(1, dtype="float32")), maps.Cosine(1.0)])
    assert phi.preimage(np.array([[1 + 4 * 2.0**-23]], "float32")).tolist() == [[0.0]]


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_inputs_that_overflow_are_refused_where_they_do():
    with pytest.raises(ValueError, match="the inputs overflow: LeakyReLU takes 1e.10, the largest feature, at no finite float32"):
        maps.LeakyReLU(1e-30).preimage(np.array([[-1e10]], "float32"))
    phi = maps.Chain([maps.Tanh(), maps.Linear(1e-300 * np.eye(1))])
    with pytest.raises(ValueError, match=r"step 1 of 2 \(Linear\): the inputs overflow: Linear takes 1e.10"):
        phi.preimage(np.array([[1e10]]))


def test_maps_move_to_another_device_and_keep_their_dtype():
    xp = pytest.importorskip("array_api_strict")
    where = xp.Device("device1")
    phi = maps.Linear(xp.asarray(np.eye(2), dtype=xp.float32), xp.asarray(np.ones(2), dtype=xp.float32))
    moved = phi.to(device=where)
    assert moved.device == moved.b.device == where and moved.dtype == xp.float32 and phi.device != where


class Optional(Bare):
    """A map whose first weights are not there, and whose rounding is not known."""

    arrays = ("first", "second")

    def __init__(self, first=None, second=None):
        self.first, self.second, self.stretch = first, second, 2.0

    def rounding(self, X, Z):
        return None


def test_what_is_not_there_or_not_known_is_passed_over():
    phi = Optional(second=np.ones((1, 2)))
    assert phi.like.tolist() == [[1.0]] and phi.to(dtype="float32").dtype == np.float32 and Optional().like is None
    assert maps.Chain([Bare(1.0), phi]).rounding(ONE, ONE) is None
    assert maps.Chain([Bare(None), Bare(1.0)]).rounding(ONE, ONE) is None


def test_weights_of_one_chain_are_of_one_dtype_and_without_gradient():
    with pytest.raises(TypeError, match="differ in dtype: .*float64.*float32"):
        maps.Chain([maps.Linear(np.eye(2)), maps.LeakyReLU(), maps.Linear(np.eye(2, dtype="float32"))])
    torch = pytest.importorskip("torch")
    A = torch.eye(2, requires_grad=True)
    assert not maps.Linear(A).A.requires_grad and A.requires_grad


class Yours:
    """A map of your own that is not onto and knows its range."""

    input_dim = output_dim = 2

    def is_onto(self):
        return False

    def __call__(self, X):
        return 1 * X

    preimage = None

    def range_scale(self, Phi, margin=0.5):
        return (1 - margin) + 0 * Phi[:, :1]


def test_a_step_of_your_own_says_whether_it_is_onto_and_how_far_it_reaches():
    phi = maps.Chain([Yours()])
    assert not phi.is_onto() and phi.obstacle == "step 0 of 1 (Yours): Yours is not onto"
    assert phi.range_scale(ONE).tolist() == [[0.5]] and phi.range_scale(ONE, margin=0.25).tolist() == [[0.75]]
    with pytest.raises(TypeError, match="a step is a map of ddref.maps or has .* has no preimage, input_dim"):
        maps.Chain([abs])


def test_one_pass_of_a_layer_takes_its_shift_off():
    assert maps.Linear(np.array([[2.0]]), np.array([1.0])).inverse(np.array([[7.0]]), None).tolist() == [[3.0]]
    assert maps.Scale(np.array([2.0]), np.array([1.0])).inverse(np.array([[7.0]]), None).tolist() == [[3.0]]


def test_batch_normalisation_has_its_weights_and_biases():
    torch = pytest.importorskip("torch")
    layer, X = torch.nn.BatchNorm1d(2).double().eval(), torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0])), layer.bias.copy_(torch.tensor([5.0, 7.0]))
    assert error(maps.Scale.from_torch(layer)(X), layer(X).detach()) < 1e-14


def test_gaussian_weights_are_not_orthonormal():
    A = maps.leaky_relu_network([30, 30], seed=0, weights="gaussian").steps[0].A
    assert np.abs(A.T @ A - np.eye(30)).max() > 0.3


def test_a_flow_is_drawn_network_by_network():
    rng = np.random.default_rng(3)
    for part, bound in zip(("log_scale", "shift"), (0.5, 1.0), strict=True):
        first, second, b = rng.normal(size=(1, 1)), rng.normal(size=(1, 1)), rng.normal(size=1)
        drawn = getattr(maps.flow(2, 1, seed=3, hidden=1).steps[0], part)
        assert drawn.steps[0].A == first and drawn.steps[0].b == b and drawn.steps[2].A == bound * np.sign(second)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_an_activation_that_overflows_within_a_chain_is_named():
    with pytest.raises(ValueError, match=r"step 0 of 2 \(Asinh\): the inputs overflow: Asinh takes 1e.03"):
        maps.Chain([maps.Asinh(), maps.Linear(np.eye(1))]).preimage(np.array([[1e3]]))


def test_a_map_is_stored_by_an_integer_seed_and_drawn_again_within_the_limit():
    from ddref.maps.drawn import KIND, entries
    from ddref.maps.written import describe, restore

    arrays = {}
    found = describe(maps.leaky_relu_network([30, 20], seed=np.int64(1)), "map", arrays, map_arrays=False)
    assert found["kind"] == KIND and not arrays
    size = 8 * entries(found)
    assert size == 8 * (30 * 20 + 4096)
    assert restore(found, "map", {}, max_bytes=size).output_dim == 20
    with pytest.raises(ValueError, match=f"has {size:,} bytes, more than max_bytes = {size - 1:,}; refused"):
        restore(found, "map", {}, max_bytes=size - 1)
    found = describe(maps.flow(4, 3, seed=1, hidden=5), "map", arrays, map_arrays=False)
    assert entries({"kind": "Chain", "steps": [found]}) == entries(found) == 3 * (4 * 4 * 5 + 4096)
    for seed, kind in ((0, KIND), ((1 << 128) - 1, KIND), (1 << 128, "RandomFourier")):  # up to 128 bits
        phi = maps.gaussian_features(3, 2, 1.0, seed=seed)
        assert describe(phi, "map", {}, map_arrays=False)["kind"] == kind
    used = describe(maps.leaky_relu_network([3, 2], seed=np.random.default_rng(1)), "map", arrays, map_arrays=False)
    assert used["kind"] == "Chain" and arrays["map/0/A"].shape == (3, 2)


def test_a_class_that_was_defined_anew_is_no_longer_stored():
    from ddref.maps.written import describe

    def defined():
        class Anew(maps.Identity):
            kind = "test_maps.Anew"

        return Anew

    old, new = defined()(), defined()()
    try:
        assert describe(new, "map", {}) == {"kind": "test_maps.Anew", "d": None}
        with pytest.raises(TypeError, match="a file holds maps with a `kind`"):
            describe(old, "map", {})
    finally:
        del maps.Map.kinds["test_maps.Anew"]


def test_plain_data_hold_lists_and_arrays_without_gradient():
    torch = pytest.importorskip("torch")
    from ddref.maps.devices import as_numpy
    from ddref.maps.written import describe

    phi = maps.Conv2d(torch.ones(1, 1, 1, 1), input_shape=(1, 2, 2))
    assert describe(phi, "map", {})["input_shape"] == [1, 2, 2]
    assert as_numpy(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
