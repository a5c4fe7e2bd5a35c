"""ddref.maps.conv and from_torch against convolutions written out as matrices by loops, in NumPy."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from conftest import conditioned, error, numpy64, refit

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from ddref import datasets  # noqa: E402
from ddref.maps import Chain, LeakyReLU, Linear, conv, from_torch  # noqa: E402
from ddref.maps.conv import Conv2d, small_cnn  # noqa: E402

nn, f64 = torch.nn, torch.float64
ONE3 = torch.zeros(1, 1, 3, 3, dtype=f64)
ONE3[0, 0, 1, 1] = 1


@pytest.fixture(params=["cpu-float64", "cpu-float32", "cuda-float64"])
def kind(request):
    where, dtype = request.param.split("-")
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return {"device": where, "dtype": getattr(torch, dtype)}


def tensor(A, **kind):
    return torch.as_tensor(np.asarray(A), **{"dtype": f64, **kind})


def written_out(weight, shape, stride, padding):
    """The matrix M (d, p) of a convolution: rows @ M. One loop an index, from the definition."""
    c_out, c_in, kh, kw = weight.shape
    _, h, w = shape
    oh, ow = (h + 2 * padding[0] - kh) // stride[0] + 1, (w + 2 * padding[1] - kw) // stride[1] + 1
    M = np.zeros((c_in, h, w, c_out, oh, ow))
    for o, i, j, c, a, b in itertools.product(*map(range, (c_out, oh, ow, c_in, kh, kw))):
        row, column = i * stride[0] + a - padding[0], j * stride[1] + b - padding[1]
        if 0 <= row < h and 0 <= column < w:
            M[c, row, column, o, i, j] += weight[o, c, a, b]
    return M.reshape(c_in * h * w, c_out * oh * ow)


@st.composite
def convolutions(draw):
    """Weight, bias, and the options of Conv2d: small, of any stride and padding that fit."""
    c_in, c_out = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    h, w = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    kernel = [draw(st.integers(1, min(4, side + 2 * pad))) for side, pad in zip((h, w), padding, strict=True)]
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = rng.normal(size=(c_out, c_in, *kernel))
    return weight, rng.normal(size=c_out), {"input_shape": (c_in, h, w), "stride": stride, "padding": padding}, rng


SEEN = {"onto, apart": 0, "onto, overlapping": 0, "refused": 0}


@settings(max_examples=300, deadline=None, derandomize=True)  # enough for 30 of each kind
@given(convolutions())
def check_against_the_matrix(case):
    weight, bias, options, rng = case
    M = written_out(weight, options["input_shape"], options["stride"], options["padding"])
    d, p = M.shape
    phi = Conv2d(tensor(weight), tensor(bias), **options)
    X, shift = rng.normal(size=(3, d)), np.repeat(bias, p // len(bias))
    assert (phi.input_dim, phi.output_dim) == (d, p)
    np.testing.assert_allclose(phi(tensor(X)), X @ M + shift, rtol=0, atol=1e-12 * (1 + np.abs(X).sum()))
    s = np.linalg.svd(M, compute_uv=False)
    rank = int((s > max(d, p) * 2.0**-52 * s[0]).sum())
    assert phi.rank == rank
    condition = s[0] / s[p - 1] if rank == p else math.inf
    assume(not 2e5 < condition < 5e6 or p > d)  # the estimate decides at 1e6
    Z = rng.normal(size=(3, p))
    if rank < p or (condition > 1e6 and phi.patch is None):
        SEEN["refused"] += 1
        assert not phi.is_onto() and phi.condition() == math.inf
        with pytest.raises(ValueError, match=f"is not onto.*{p} outputs of {d} inputs"):
            phi.preimage(tensor(Z))
        return
    SEEN["onto, overlapping" if phi.patch is None else "onto, apart"] += 1
    assert phi.is_onto()
    assert 0.8 * condition <= phi.condition() <= 1.001 * condition
    pinv = np.linalg.pinv(M, rcond=1e-14)
    for near in (None, X):
        found = numpy64(phi.preimage(tensor(Z), near=None if near is None else tensor(near)))
        start = 0 if near is None else near
        expected = start + (Z - shift - start @ M if near is not None else Z - shift) @ pinv
        bound = 1e-14 * (s[0] * np.linalg.norm(expected) + np.linalg.norm(Z) + np.linalg.norm(shift))
        assert np.linalg.norm(found @ M + shift - Z) <= 50 * bound  # the right-inverse property
        assert np.linalg.norm(found - expected) <= 50 * bound / s[p - 1]  # and the nearest of all


def test_forward_rank_and_preimage_are_those_of_the_matrix():
    SEEN.update(dict.fromkeys(SEEN, 0))
    check_against_the_matrix()
    assert all(count >= 30 for count in SEEN.values()), SEEN


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_linear_is_onto_exactly_when_its_columns_are_independent(d, p, biased, deficient, seed):
    rng = np.random.default_rng(seed)
    rank = min(d, p) - (1 if deficient and min(d, p) > 1 else 0)
    A, b = conditioned(rng, d, p, 100.0, rank=rank), rng.normal(size=p)
    phi = Linear(tensor(A), tensor(b) if biased else None)
    b = b if biased else 0 * b
    X, Z = rng.normal(size=(4, d)), rng.normal(size=(4, p))
    np.testing.assert_allclose(phi(tensor(X)), X @ A + b, atol=1e-13)
    assert phi.rank == rank and phi.is_onto() == (rank == p)
    if rank < p:
        with pytest.raises(ValueError, match=f"rank {rank} is not onto R.{p}: {'more features' if p > d else 'a rank-deficient'}"):
            phi.preimage(tensor(Z))
        return
    found = numpy64(phi.preimage(tensor(Z), tensor(X)))
    assert np.linalg.norm(found @ A + b - Z) <= 1e-12 * (np.linalg.norm(found) + np.linalg.norm(Z))
    np.testing.assert_allclose(found, X + (Z - b - X @ A) @ np.linalg.pinv(A), rtol=0, atol=1e-9)


SHAPES = st.tuples(st.integers(1, 3), st.sampled_from([2, 4, 6]), st.sampled_from([2, 4]))


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(SHAPES, st.integers(1, 4), st.floats(0.05, 3.0), st.booleans(), st.integers(0, 2**32 - 1), st.booleans())
def test_a_network_has_a_right_inverse(shape, channels, slope, last, seed, single):
    """Patches, LeakyReLU, an overlapping convolution close to the identity, LeakyReLU, and a linear layer."""
    rng, dtype = np.random.default_rng(seed), torch.float32 if single else f64
    first = small_cnn(shape, [channels], seed=seed, slope=slope)
    _, h, w = first.steps[0].output_shape
    kernel = 0.1 * rng.normal(size=(channels, channels, 3, 3)) / channels
    kernel[:, :, 1, 1] += np.eye(channels)
    middle = Conv2d(tensor(kernel), input_shape=(channels, h, w), padding=1)
    p = max(1, middle.output_dim - 2)
    steps = [first, middle, LeakyReLU(slope)]
    steps += [Linear(tensor(conditioned(rng, middle.output_dim, p, 10.0)), tensor(rng.normal(size=p)))] if last else []
    phi = Chain(steps).to(dtype=dtype)
    Phi = tensor(rng.normal(size=(3, phi.output_dim)), dtype=dtype)
    for near in (None, tensor(rng.normal(size=(3, phi.input_dim)), dtype=dtype)):
        X = phi.preimage(Phi, near)
        assert X.dtype == dtype
        again = phi.to(dtype=f64)(X.to(f64))  # judged without further rounding
        assert error(again, Phi) <= 50 * phi.condition() * torch.finfo(dtype).eps


def test_by_hand():
    """Kernel (3, 4) on the pairs of a row: 3 x + 4 y = 25 is nearest to zero at (3, 4), to (7, 1) at itself."""
    phi = Conv2d(tensor([[[[3.0, 4.0]]]]), input_shape=(1, 1, 3), stride=(1, 2))
    np.testing.assert_allclose(phi.preimage(tensor([[25.0]])), [[3, 4, 0]], atol=1e-14)
    near = tensor([[7.0, 1.0, 9.0]])
    np.testing.assert_allclose(phi.preimage(tensor([[25.0]]), near), near, atol=1e-14)
    assert phi.condition() == pytest.approx(1, rel=1e-12)


# ------------------------------------------------------------------------------------ library, dtype, device


def test_results_keep_dtype_and_device_and_inputs_are_unchanged(kind):
    phi = small_cnn((1, 8, 8), (4, 16), seed=0, dtype=kind["dtype"]).to(device=kind["device"])
    overlapping = Conv2d(tensor([[[[0.1, 2.0, 0.3]]]], **kind), input_shape=(1, 8, 8), padding=(0, 1))
    rng = np.random.default_rng(0)
    Phi, near = (tensor(rng.normal(size=(5, 64)), **kind) for _ in range(2))
    before = Phi.clone(), near.clone()
    for step in (phi, overlapping, Linear(torch.eye(64, **kind)), LeakyReLU()):
        X = step.preimage(Phi, near)
        assert X.dtype == step(X).dtype == kind["dtype"] and X.device.type == kind["device"]
        assert not X.requires_grad
        assert error(step(X), Phi) <= 50 * step.condition() * torch.finfo(kind["dtype"]).eps
    assert torch.equal(Phi, before[0]) and torch.equal(near, before[1])


def test_float32_is_inverted_in_float64_and_only_then_rounded():
    rng = np.random.default_rng(0)
    A = conditioned(rng, 50, 50, 1e3).astype(np.float32)
    Phi = rng.normal(size=(4, 50)).astype(np.float32)
    X = Linear(torch.as_tensor(A)).preimage(torch.as_tensor(Phi))
    best = Phi.astype(float) @ np.linalg.inv(A.astype(float))
    np.testing.assert_array_equal(X, best.astype(np.float32))


def test_gradients_flow_through_the_map():
    phi = small_cnn((1, 4, 4), (3, 5), seed=1, weights="gaussian")
    X = torch.randn(2, 16, dtype=f64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(phi, (X,))
    J = torch.func.vmap(torch.func.jacrev(lambda x: phi(x[None])[0]))(X)
    assert J.shape == (2, phi.output_dim, 16)
    assert phi.preimage(phi(X)).requires_grad  # through preimages too: one mechanism for all maps


def test_the_map_keeps_its_own_weights():
    weight, bias = torch.ones(1, 1, 1, 1, dtype=f64), torch.zeros(1, dtype=f64)
    phi, X = Conv2d(weight, bias, input_shape=(1, 1, 2)), tensor([[1.0, 2.0]])
    weight.mul_(7), bias.add_(7)
    assert torch.equal(phi(X), X)


# ------------------------------------------------------------------------------------ the structured solve


@pytest.mark.parametrize("stride, padding", [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), ((1, 2), (2, 0)), (3, 1)])
def test_a_factor_of_many_blocks_solves_as_the_matrix_does(stride, padding):
    """More output rows than blocks couple, the last block smaller than the others."""
    rng = np.random.default_rng(3)
    weight = 0.2 * rng.normal(size=(2, 2, 3, 3))
    weight[0, 0, 1, 1] += 1
    weight[1, 1, 1, 1] += 1
    phi = Conv2d(tensor(weight), input_shape=(2, 13, 9), stride=stride, padding=padding)
    M = written_out(weight, (2, 13, 9), phi.stride, phi.padding)
    if phi.output_dim > phi.input_dim:
        assert phi.padding == (2, 2) and not phi.is_onto()
        return
    assert phi.is_onto() and len(phi._groups()) > 2
    R = rng.normal(size=(3, phi.output_dim))
    s = np.linalg.svd(M, compute_uv=False)
    assert error(phi.solve(tensor(R)), np.linalg.solve(M.T @ M, R.T).T) <= 50 * (s[0] / s[-1]) ** 2 * 2.0**-52
    assert error(phi.right(tensor(R)), R @ np.linalg.pinv(M)) <= 50 * (s[0] / s[-1]) ** 2 * 2.0**-52


def test_correction_recovers_what_squaring_the_condition_number_costs():
    """Condition 1e5: one solve with L L^T may miss by 1e10 eps, the corrected one is as good as the matrix."""
    weight = np.array([[[[1.84, 1.0, 0.0]]]])  # the condition number grows as 1.84^n
    phi = Conv2d(tensor(weight), input_shape=(1, 1, 19), padding=(0, 1))
    M = written_out(weight, (1, 1, 19), (1, 1), (0, 1))
    condition = np.linalg.cond(M)
    assert 1e4 < condition < 1e6 and phi.condition() == pytest.approx(condition, rel=1e-3)
    Z = np.random.default_rng(0).normal(size=(5, 19))
    X = numpy64(phi.preimage(tensor(Z)))
    assert np.linalg.norm(X @ M - Z) <= 1e-15 * np.linalg.norm(M, 2) * np.linalg.norm(X) * 10
    assert error(X, np.linalg.solve(M.T, Z.T).T) <= 50 * condition * 2.0**-52


def test_a_large_convolution_is_never_written_out(monkeypatch):
    """4 channels on 20 x 20: L has 2.6 million entries, the solve handles blocks of 160 rows."""
    monkeypatch.setattr(Conv2d, "singular_values", lambda self: pytest.fail("written out"))
    rng = np.random.default_rng(0)
    weight = 0.02 * rng.normal(size=(4, 4, 3, 3))
    weight[range(4), range(4), 1, 1] += 1
    phi = Conv2d(tensor(weight), input_shape=(4, 20, 20), padding=1)
    Phi = tensor(rng.normal(size=(2, 1600)))
    assert error(phi(phi.preimage(Phi)), Phi) <= 1e-13
    assert max(len(C) for C, _ in phi.blocks) == 2 * 4 * 20
    monkeypatch.setattr(conv, "MAX_CONDITION", {f64: 1.01})
    monkeypatch.setattr(conv, "DENSE", 2**20)
    hard = Conv2d(tensor(weight), input_shape=(4, 20, 20), padding=1)
    with pytest.raises(ValueError, match=r"not onto: its condition number is 1\.\d+, above the limit 1e\+00 \(1600"):
        hard.preimage(Phi)


@pytest.mark.parametrize("scale, message", [(0.0, "rank 0, with 16 outputs of 16"), (1e-170, "cannot be squared")])
def test_weights_too_small_to_square_are_refused_for_that_reason(scale, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(scale * ONE3, input_shape=(1, 4, 4), padding=1).preimage(torch.ones(1, 16, dtype=f64))


def test_a_wrong_factor_is_noticed():
    """The residual is checked against the forward map, whatever the solve says."""
    phi = Conv2d(tensor([[[[0.1, 2.0, 0.3]]]]), input_shape=(1, 4, 6), padding=(0, 1))
    assert phi.is_onto()
    phi.blocks = [(C, None if E is None else E) for C, E in phi.blocks]
    phi.blocks[1] = (1.5 * phi.blocks[1][0], phi.blocks[1][1])
    with pytest.raises(ValueError, match="row 0: the pre-image misses Phi by .* more than the .* rounding explains"):
        phi.preimage(torch.ones(1, 24, dtype=f64))


# ------------------------------------------------------------------------------------ nearest


def test_the_preimage_of_a_chain_is_the_nearest_when_later_steps_are_bijections(rng):
    A, B = rng.normal(size=(9, 5)), rng.normal(size=(5, 5))
    phi = Chain([Linear(tensor(A)), LeakyReLU(0.3), Linear(tensor(B)), LeakyReLU(0.3)])
    X, near = rng.normal(size=(2, 9)), rng.normal(size=(2, 9))
    found = numpy64(phi.preimage(phi(tensor(X)), tensor(near)))
    np.testing.assert_allclose(found, near + (X - near) @ A @ np.linalg.pinv(A), atol=1e-11)
    for _ in range(20):
        other = found + rng.normal(size=(2, 9)) @ (np.eye(9) - A @ np.linalg.pinv(A))
        np.testing.assert_allclose(phi(tensor(other)), phi(tensor(found)), atol=1e-11)
        assert np.linalg.norm(other - near) > np.linalg.norm(found - near)


def test_a_preimage_near_a_preimage_is_that_preimage(rng):
    phi = small_cnn((3, 12, 12), (6, 9), seed=0)
    X = tensor(rng.normal(size=(4, 432)))
    assert error(phi.preimage(phi(X), X), X) <= 1e-14
    assert error(phi.preimage(phi(X)), X) > 0.1  # p < d: without it another one is found


# ------------------------------------------------------------------------------------ torch.nn.Sequential


def test_a_network_becomes_the_map_it_computes():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Unflatten(1, (2, 6, 6)), nn.Conv2d(2, 8, 2, stride=2), nn.LeakyReLU(0.2),
        nn.Sequential(nn.Identity(), nn.Conv2d(8, 8, 1, bias=False, padding="same"), nn.PReLU()), nn.Flatten(),
        nn.Linear(72, 40), nn.LeakyReLU(), nn.Linear(40, 30, bias=False),
    ).to(f64)  # fmt: skip
    X = torch.randn(5, 72, dtype=f64)
    phi = from_torch(network, 72)
    expected = network(X).detach()
    assert error(phi(X), expected) <= 1e-14 and not phi(X).requires_grad
    assert (phi.input_dim, phi.output_dim, len(phi.steps)) == (72, 30, 7) and phi.is_onto()
    Phi = torch.randn(4, 30, dtype=f64)
    assert error(network(phi.preimage(Phi)).detach(), Phi) <= 50 * phi.condition() * 2.0**-52
    with torch.no_grad():
        network[1].weight.zero_()
    assert error(phi(X), expected) <= 1e-14
    images = from_torch(network[4:], (8, 3, 3))
    assert images.input_dim == 72


@pytest.mark.parametrize("padding", ["valid", "same", 1, (1, 0)])
def test_every_way_to_pad_is_understood(padding):
    layer = nn.Conv2d(1, 1, 3, padding=padding).to(f64)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.weight[0, 0, 1, 1] += 1
    X = torch.randn(2, 1, 7, 6, dtype=f64)
    phi = from_torch(nn.Sequential(layer), (1, 7, 6))
    assert error(phi(X.flatten(1)), layer(X).flatten(1).detach()) <= 1e-14
    assert phi.is_onto()


def sequential(*layers, shape=(1, 4, 4), dtype=f64):
    torch.manual_seed(0)
    return from_torch(nn.Sequential(*layers).to(dtype), shape)


def deficient_layer():
    layer = nn.Linear(16, 4)
    with torch.no_grad():
        layer.weight[3] = layer.weight[0] - layer.weight[1]
    return layer


GOOD = nn.Conv2d(1, 4, 2, stride=2)
LAYERS = [
    (lambda: sequential(GOOD, nn.ReLU()), r"layer 1, ReLU\(\), is not onto: its range is \[0, inf\); use LeakyReLU; otherwise ddref.nonsurjective.solve"),
    (lambda: sequential(nn.Tanh()), r"layer 0, Tanh\(\), is not onto: its range is \(-1, 1\)"),
    (lambda: sequential(nn.ELU()), r"layer 0, ELU\(alpha=1.0\), is not onto: its range is \(-alpha, inf\)"),
    (lambda: sequential(nn.Softplus()), r"Softplus.* is not onto: its range is \(0, inf\)"),
    (lambda: sequential(nn.LeakyReLU(0.0)), "layer 0, LeakyReLU.*is not onto: its slope is 0;"),
    (lambda: sequential(nn.LeakyReLU(-1.0)), "is not onto: its slope is -1;"),
    (lambda: sequential(GOOD, nn.Sequential(nn.LeakyReLU(), nn.MaxPool2d(2))),
     r"layer 1\.1, MaxPool2d.* is not supported; supported are Linear, Conv2d"),
    (lambda: sequential(GOOD, nn.BatchNorm2d(4)), r"layer 1, BatchNorm2d.* depend on the others; call net.eval\(\)"),
    (lambda: sequential(GOOD, nn.Dropout()), r"layer 1, Dropout.* is in training mode, .* call net.eval\(\)"),
    (lambda: sequential(nn.Conv2d(1, 5, 2, stride=2)),
     "layer 0, Conv2d.* is not onto: rank 16, with 20 outputs of 16 inputs; the matrix of the kernel, 4 x 5, has rank "
     "4 in each of 4 patches, and rank 5 is needed"),
    (lambda: sequential(nn.Conv2d(1, 1, 3, padding=2)), "layer 0, .* 36 outputs of 16 inputs, so its rank is at most"),
    (lambda: sequential(nn.Flatten(), nn.Linear(16, 17)), "layer 1, Linear.* not onto: .* more features than inputs"),
    (lambda: sequential(nn.Flatten(), deficient_layer()), "layer 1, .*not onto: .*at most 3 columns"),
    (lambda: sequential(nn.Linear(4, 4)), r"layer 0, Linear.* gets images of shape \(1, 4, 4\): put Flatten"),
    (lambda: sequential(nn.Flatten(), nn.Linear(15, 4)), "layer 1, .* takes 15 features and gets 16"),
    (lambda: sequential(nn.Flatten(), GOOD), "layer 1, Conv2d.* gets rows of 16 features: pass input_shape"),
    (lambda: sequential(nn.Conv2d(2, 1, 2)), "layer 0, .* does not fit its input: weight takes 2 channels"),
    (lambda: sequential(nn.Conv2d(1, 1, 5)), "does not fit its input: the kernel, 5 x 5, is larger than .*, 4 x 4"),
    (lambda: sequential(nn.Conv2d(1, 1, 2, dilation=2)), "is not supported: groups and dilation must be 1"),
    (lambda: sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), "padding_mode 'zeros'"),
    (lambda: sequential(nn.Conv2d(1, 1, 2, padding="same")), "padding 'same' with a kernel of even size"),
    (lambda: sequential(nn.PReLU(3)), "has 3 slopes, which is not supported"),
    (lambda: sequential(nn.Flatten(2)), "is not supported: it must flatten all of an image"),
    (lambda: sequential(nn.Unflatten(1, (1, 16))), "layer 0, Unflatten.* is not supported"),
    (lambda: sequential(nn.Unflatten(1, (1, 4, 5)), shape=16), "layer 0, .* does not fit its input of 16 features"),
    (lambda: sequential(nn.Identity()), "no layer that computes anything"),
    (lambda: sequential(GOOD, shape=(4, 4)), r"input_shape = \(4, 4\) must be \(c, h, w\), or \(d,\)"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", LAYERS)
def test_the_first_layer_that_cannot_be_inverted_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


BLOCK = nn.TransformerEncoderLayer(16, 2)


@pytest.mark.parametrize("layer", [nn.Linear(16, 1700), nn.LayerNorm(16), BLOCK, nn.Conv2d(1, 9, 2, 2, dtype=torch.float32)])
def test_a_refusal_of_a_layer_is_one_line_below_300_letters_however_long_the_layer_is(layer):
    with pytest.raises(ValueError, match="layer 1, .*otherwise ddref.nonsurjective.solve") as refused:
        if isinstance(layer, nn.Conv2d):
            sequential(nn.Identity(), layer)
        else:
            sequential(nn.Flatten(), layer)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_only_a_sequential_is_converted():
    with pytest.raises(TypeError, match="must be a torch.nn.Sequential, got Linear"):
        from_torch(nn.Linear(2, 2), 2)


# ------------------------------------------------------------------------------------ refusals


ONE = torch.ones(1, 1, 1, 1, dtype=f64)
EYE = Linear(torch.eye(3, dtype=f64))
ROWS = torch.ones(2, 3, dtype=f64)
REFUSED = [
    (lambda: Conv2d(np.ones((1, 1, 1, 1)), input_shape=(1, 2, 2)), TypeError, "must be a PyTorch tensor, got numpy"),
    (lambda: Conv2d(ONE[0], input_shape=(1, 2, 2)), ValueError, r"4 dimensions, its shape is \(1, 1, 1\)"),
    (lambda: Conv2d(ONE.half(), input_shape=(1, 2, 2)), TypeError, "float16; convert it to float64"),
    (lambda: Conv2d(ONE * math.nan, input_shape=(1, 2, 2)), ValueError, "weight contains NaN or Inf"),
    (lambda: Conv2d(ONE, torch.ones(2, dtype=f64), input_shape=(1, 2, 2)), ValueError, r"bias has shape \(2,\)"),
    (lambda: Conv2d(ONE, torch.ones(1), input_shape=(1, 2, 2)), TypeError, "differ in dtype"),
    (lambda: Conv2d(ONE, input_shape=(2, 2, 2)), ValueError, "weight takes 1 channels, input_shape"),
    (lambda: Conv2d(ONE, input_shape=(1, 2)), ValueError, r"input_shape = \(1, 2\) must be"),
    (lambda: Conv2d(ONE, input_shape=4), ValueError, r"must be \(channels, height, width\)"),
    (lambda: Conv2d(ONE, input_shape=(1, 0, 2)), ValueError, "input_shape = 0 must be at least 1"),
    (lambda: Conv2d(ONE, input_shape=(1, 2, 2), stride=0), ValueError, "stride = 0 must be at least 1"),
    (lambda: Conv2d(ONE, input_shape=(1, 2, 2), stride=1.5), TypeError, "stride must be an integer, got 1.5"),
    (lambda: Conv2d(ONE, input_shape=(1, 2, 2), padding=(0, -1)), ValueError, "padding = -1 must be at least 0"),
    (lambda: Conv2d(ONE, input_shape=(1, 2, 2), stride=(1, 1, 1)), ValueError, "one integer or two"),
    (lambda: Linear(ROWS, torch.ones(2, dtype=f64)), ValueError, r"b must have shape \(3,\), it is \(2,\)"),
    (lambda: Linear([[1.0]]), TypeError, "arrays of one library are needed, got A: builtins.list"),
    (lambda: LeakyReLU(0), ValueError, "slope = 0 is ReLU, which takes no negative value"),
    (lambda: LeakyReLU(-0.1), ValueError, "slope = -0.1 must be finite and not negative"),
    (lambda: Chain([]), ValueError, "a chain needs at least one step"),
    (lambda: Chain([nn.ReLU()]), TypeError, "ReLU has no preimage, input_dim"),
    (lambda: Chain([EYE, Linear(torch.eye(4, dtype=f64))]), ValueError, r"step 1 \(Linear\(4 -> 4\)\) takes 4 entries, step 0"),
    (lambda: Chain([EYE, EYE.to(dtype=torch.float32)]), TypeError, "differ in dtype: .*torch.float64.*torch.float32"),
    (lambda: EYE(ROWS.numpy()), TypeError, "arrays of one library are needed, got X: numpy"),
    (lambda: EYE(ROWS[0]), ValueError, r"X must have 2 dimensions, rows are samples; its shape is \(3,\)"),
    (lambda: EYE(ROWS.float()), TypeError, "differ in dtype: .*torch.float32.*torch.float64"),
    (lambda: EYE.preimage(ROWS[:, :2]), ValueError, "Phi has 2 columns, this map needs 3"),
    (lambda: EYE.preimage(ROWS * math.inf), ValueError, "Phi contains NaN or Inf"),
    (lambda: EYE.preimage(ROWS, ROWS[:1]), ValueError, r"near has shape \(1, 3\), one input a row of Phi is needed: \(2, 3\)"),
    (lambda: EYE.preimage(ROWS, ROWS.float()), TypeError, "differ in dtype: .*torch.float32"),
    (lambda: EYE.to(dtype=torch.float16), TypeError, "dtype must be float64 or float32"),
    (lambda: small_cnn((1, 4, 4), [5], seed=0), ValueError, "layer 0: 5 channels of patches of 4 values; at most 4"),
    (lambda: small_cnn((1, 6, 6), [4, 16], seed=0), ValueError, "layer 1: patches of 2 x 2 do not tile .* 3 x 3"),
    (lambda: small_cnn((1, 4, 4), [4], seed=0, weights="unit"), ValueError, "weights = 'unit' must be 'orthogonal'"),
    (lambda: small_cnn((1, 4, 4), [4], seed=0, dtype=torch.float16), TypeError, "dtype must be torch.float64"),
    (lambda: small_cnn((1, 4, 4), [], seed=0), ValueError, "a chain needs at least one step"),
]


@pytest.mark.parametrize("call, kind_of_error, message", REFUSED)
def test_bad_input_is_refused_with_the_numbers(call, kind_of_error, message):
    with pytest.raises(kind_of_error, match=message):
        call()


def test_a_map_that_is_not_onto_is_refused_with_its_rank():
    repeated = torch.ones(2, 1, 2, 2, dtype=f64)
    phi = Chain([LeakyReLU(), Conv2d(repeated, input_shape=(1, 4, 4), stride=2), LeakyReLU()])
    assert phi(torch.ones(1, 16, dtype=f64)).shape == (1, 8)  # it can be computed
    with pytest.raises(
        ValueError, match=r"step 1 of 3 \(Conv2d\): Conv2d.* is not onto: rank 4, with 8 outputs of 16 inputs"
    ):
        phi.preimage(torch.ones(1, 8, dtype=f64))
    overlapping = Conv2d(repeated, input_shape=(1, 4, 4), stride=(2, 1))
    assert overlapping.rank == 6
    with pytest.raises(ValueError, match="not onto: rank 6, with 12 outputs of 16 inputs; rank 12 is needed"):
        overlapping.preimage(torch.ones(1, 12, dtype=f64))


def test_full_rank_that_no_solve_can_use_is_refused_with_its_condition_number():
    """The matrix has 1 on the diagonal and 3 beside it: determinant 1, condition number about 3^n."""
    phi = Conv2d(tensor([[[[3.0, 1.0, 0.0]]]]), input_shape=(1, 1, 20), padding=(0, 1))
    M = written_out(np.array([[[[3.0, 1.0, 0.0]]]]), (1, 1, 20), (1, 1), (0, 1))
    assert phi.rank == np.linalg.matrix_rank(M) == 20
    found = re.escape(f"condition number {np.linalg.cond(M):.3g} is above the limit 1e+06")
    with pytest.raises(ValueError, match=f"rank 20, as is needed.*{found}"):
        phi.preimage(torch.ones(1, 20, dtype=f64))
    short = Conv2d(tensor([[[[3.0, 1.0, 0.0]]]]), input_shape=(1, 1, 11), padding=(0, 1))
    assert short.is_onto()
    single = short.to(dtype=torch.float32)
    assert not single.is_onto() and "judged in float32; float64" in single.obstacle


# ------------------------------------------------------------------------------------ distillation


@pytest.mark.parametrize("weights, depth", [("orthogonal", 1), ("orthogonal", 2), ("gaussian", 1), ("gaussian", 2)])
def test_ten_images_train_the_same_model_through_a_network(weights, depth):
    """Fashion-MNIST sample, p = d = 784: features that carry W, pulled back near real images, refitted."""
    data = datasets.fashion_sample()
    X, Y = tensor(datasets.standardize(data.X_train[:2000]).X_train), tensor(datasets.one_hot(data.y_train[:2000]))
    phi = small_cnn((1, 28, 28), (4, 16)[:depth], seed=0, weights=weights)
    Phi = phi(X)
    W = torch.linalg.solve(Phi.mT @ Phi + 10 * torch.eye(784, dtype=f64), Phi.mT @ Y)
    Q = torch.linalg.qr(W)[0]
    first = torch.as_tensor([int(np.flatnonzero(data.y_train == c)[0]) for c in range(10)])
    X_S = phi.preimage(Phi[first] @ Q @ Q.mT, near=X[first])
    features = phi(X_S)
    W_S, _ = refit(features, features @ W, 0.0)
    assert error(W_S, W) <= 1e-8
    if weights == "orthogonal":
        assert phi.condition() == pytest.approx(10**depth, rel=1e-9)
        for step in phi.steps[::2]:
            assert step.rank == 784 and step.condition() == pytest.approx(1, rel=1e-12)


# ------------------------------------------------------------------------------------ thresholds, both sides of each


def mixing(low, dtype=f64):
    """Two channels, each kept in its place, the second times `low`: singular values 1 and `low`."""
    weight = torch.zeros(2, 2, 3, 3, dtype=dtype)
    weight[0, 0, 1, 1], weight[1, 1, 1, 1] = 1, low
    return Conv2d(weight, input_shape=(2, 4, 4), padding=1)


@pytest.mark.parametrize("dtype, limit", [(f64, 1e6), (torch.float32, 1e4)])
def test_a_condition_number_is_squared_up_to_its_limit(dtype, limit):
    phi = mixing(1 / (0.99 * limit), dtype)
    assert phi.patch is None and phi.is_onto() and phi.condition() == pytest.approx(0.99 * limit, rel=1e-6)
    phi = mixing(1 / (1.01 * limit), dtype)
    assert phi.condition() == math.inf and "rank 32, as is needed for 32 outputs of 32 inputs, but the condition number" in phi.obstacle
    assert ("judged in float32" in phi.obstacle) == (dtype == torch.float32)


def told(monkeypatch, singular_values, estimated, side=64, blocks=True):
    """The obstacle of a convolution on images of that width, where nothing is computed but what is given."""
    phi = Conv2d(ONE3, input_shape=(1, 64, side), padding=1)
    phi.double.__dict__.update(_estimated=estimated, blocks=[None] if blocks else [])
    monkeypatch.setattr(Conv2d, "singular_values", lambda self: torch.tensor(singular_values, dtype=f64))
    return phi.obstacle


def test_what_is_at_a_limit_is_within_it(monkeypatch):
    assert told(monkeypatch, [], (1.0, 1e6)) is None
    rank = 4096 * [1e6]  # 2^24 entries are written out
    assert "cannot be squared" in told(monkeypatch, [*rank[1:], 1.0], (1.0, 1.1e6))
    assert "rank 4096, as is needed" in told(monkeypatch, [*rank[1:], 0.999], (1.0, 1.1e6))
    assert "; rank 4096 is needed" in told(monkeypatch, [*rank[1:], 1e-7], (1.0, 1.1e6))
    assert "its condition number is 1.1e+06, above" in told(monkeypatch, [], (1.0, 1.1e6), side=65)
    assert "its condition number is too large to be measured" in told(monkeypatch, [], None, side=65, blocks=False)


def test_patches_are_apart_where_the_stride_is_the_kernel_at_least():
    weight = torch.ones(1, 1, 2, 3, dtype=f64)
    for stride, padding, apart in (
        ((2, 3), 0, True), ((3, 4), 0, True), ((1, 3), 0, False), ((2, 2), 0, False), ((2, 3), (1, 0), False),
        ((2, 3), (0, 1), False),
    ):  # fmt: skip
        assert (Conv2d(weight, input_shape=(1, 6, 6), stride=stride, padding=padding).patch is not None) == apart


@pytest.mark.parametrize("kernel, stride, groups", [
    (1, 1, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
    (2, 1, [(0, 1), (1, 2), (2, 3), (3, 4)]),
    (3, 1, [(0, 2), (2, 3)]),
    (4, 1, [(0, 2)]),
    (3, 2, [(0, 1), (1, 2)]),
])  # fmt: skip
def test_output_rows_are_grouped_with_those_that_share_their_pixels(kernel, stride, groups):
    weight = torch.ones(1, 1, kernel, 1, dtype=f64)
    assert Conv2d(weight, input_shape=(1, 5, 1), stride=stride)._groups() == groups


def test_what_is_not_said_of_a_convolution_is_the_default():
    phi = Conv2d(torch.ones(1, 1, 2, 2, dtype=f64), input_shape=(1, 5, 4))
    assert (phi.stride, phi.padding, phi.output_shape, phi.bias) == ((1, 1), (0, 0), (1, 4, 3), None)
    for shape in ((1, 1, 9), (1, 9, 1)):
        with pytest.raises(ValueError, match="the kernel, 2 x 2, is larger than the padded image"):
            Conv2d(phi.weight, input_shape=shape)
    cnn = small_cnn((1, 4, 4), [4], seed=0)
    assert cnn.steps[1].slope == 0.1 and cnn.steps[0].stride == (2, 2) and cnn.dtype == f64


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: small_cnn((1, 4, 6), [4, 16], seed=0), ValueError, "layer 1: patches of 2 x 2 do not tile .* 2 x 3"),
        (lambda: small_cnn((1, 4, 4), [4], seed=0, kernel=0), ValueError, "kernel = 0 must be at least 1"),
        (lambda: small_cnn((1, 4, 4), [0], seed=0), ValueError, "channels = 0 must be at least 1"),
        (lambda: Conv2d(None, input_shape=(1, 2, 2)), TypeError, "weight must be a PyTorch tensor, got builtins.NoneType"),
        (lambda: Conv2d(ONE, np.ones(1), input_shape=(1, 2, 2)), TypeError, "bias must be a PyTorch tensor, got numpy"),
        (lambda: Conv2d(ONE, torch.ones(1, 1, dtype=f64), input_shape=(1, 2, 2)), ValueError, "bias has shape"),
        (lambda: Conv2d(ONE, math.nan * ONE[0, 0, 0], input_shape=(1, 2, 2)), ValueError, "bias contains NaN"),
    ],
)
def test_other_bad_input_is_refused_with_the_numbers(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_gaussian_kernels_have_variance_one_over_the_pixels_of_a_patch():
    weight = small_cnn((100, 4, 4), [400], seed=0, weights="gaussian").steps[0].weight
    assert abs(float(weight.var()) * 400 - 1) < 0.02
    means = sum(small_cnn((1, 2, 2), [4], seed=seed).steps[0].weight for seed in range(400)) / 400
    assert float(means.abs().max()) < 0.12  # of orthonormal ones, uniformly: no sign is preferred


# layers at the edge of what is understood

ACCEPTED = {
    "dropout that drops nothing": (lambda: nn.Dropout(0.0).train(), 16),
    "flatten all": (lambda: nn.Sequential(nn.Flatten(1, 3), nn.LeakyReLU()), (1, 4, 4)),
    "unflatten a row": (lambda: nn.Sequential(nn.Unflatten(-1, (1, 4, 4)), nn.LeakyReLU()), 16),
    "one channel of one row": (lambda: nn.Sequential(nn.Unflatten(1, (16, 1, 1)), nn.LeakyReLU()), 16),
    "normalised images": (lambda: nn.BatchNorm2d(1).eval(), (1, 4, 4)),
}


@pytest.mark.parametrize("make, shape", ACCEPTED.values(), ids=ACCEPTED)
def test_layers_that_are_just_understood(make, shape):
    layer = make().to(f64)
    phi, X = from_torch(nn.Sequential(layer, nn.LeakyReLU()), shape), tensor(np.arange(-8.0, 8.0))[None]
    expected = nn.Sequential(layer, nn.LeakyReLU())(X.reshape(-1, *(shape if isinstance(shape, tuple) else [shape])))
    assert error(phi(X), expected.detach().flatten(1)) < 1e-14


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (lambda: nn.Flatten(1, 2), (1, 4, 4), "is not supported: it must flatten all of an image"),
        (lambda: nn.Flatten(2, 3), (1, 4, 4), "is not supported: it must flatten all of an image"),
        (lambda: nn.Flatten(0), (1, 4, 4), "is not supported: it must flatten all of an image"),
        (lambda: nn.Unflatten(2, (1, 4, 4)), 16, "is not supported: it must give"),
        (lambda: nn.Unflatten(1, (-1, 4, 4)), 16, "is not supported: it must give"),
        (lambda: nn.Unflatten(1, (0, 4, 4)), 16, "is not supported: it must give"),
        (lambda: nn.Unflatten(1, (1, 2, 2, 4)), 16, "is not supported: it must give"),
        (lambda: nn.Unflatten(1, (1, 1, 1)), (1, 4, 4), "is not supported: it must give"),
        (lambda: nn.BatchNorm1d(1).eval(), (1, 4, 4), "does not fit its input, .1, 4, 4.: BatchNorm1d is for other"),
        (lambda: nn.BatchNorm2d(16).eval(), 16, "does not fit its input, .16,.: BatchNorm2d is for other"),
        (lambda: nn.BatchNorm1d(15).eval(), 16, "takes 15 features and gets 16"),
        (lambda: nn.Conv2d(2, 2, 1, groups=2), (2, 2, 2), "is not supported: groups and dilation must be 1"),
        (lambda: nn.Conv2d(1, 1, 3, dilation=(1, 2)), (1, 9, 9), "is not supported: groups and dilation must be 1"),
    ],
)  # fmt: skip
def test_layers_just_beyond_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=f"layer 0, .* {message}"):
        from_torch(nn.Sequential(layer()).to(f64), shape)


class Shifted(nn.Module):
    """Shifts its inputs, by so much that the map may or may not know."""

    def forward(self, X):
        return X + 1


@pytest.mark.parametrize("off, stretch, refused", [(1e-9, None, False), (1e-7, None, True), (1e-15, 1.0, False), (1e-12, 1.0, True)])
def test_a_map_agrees_to_its_rounding_or_where_that_is_not_known_to_half_the_digits(off, stretch, refused, monkeypatch):
    from ddref.maps import Map

    class Unknown(Map):
        torch_modules = (Shifted,)

        def forward(self, X):
            return (X + 1) * (1 + off)

        def lipschitz(self):
            return stretch

    monkeypatch.setitem(Map.kinds, "test_conv.Unknown", Unknown)
    if refused:
        with pytest.raises(ValueError, match="the map differs from the network, by .*e-(07|08|12|13) relative"):
            from_torch(nn.Sequential(Shifted()), 3)
    else:
        assert (from_torch(nn.Sequential(Shifted()), 3).rounding(ROWS, ROWS) is None) == (stretch is None)


def test_networks_in_float32_are_compared_in_float32():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU())
    phi, X = from_torch(network, 4), torch.ones(2, 4)
    assert phi.dtype == torch.float32 and torch.equal(phi(X), network(X).detach())


def test_a_map_that_agrees_to_the_last_bit_needs_no_rounding(monkeypatch):
    monkeypatch.setattr(Chain, "rounding", lambda self, X, Z: torch.zeros(len(X), dtype=X.dtype))
    assert from_torch(nn.Sequential(nn.LeakyReLU()), 3)(ROWS).tolist() == ROWS.tolist()


def test_patches_are_judged_by_the_matrix_of_their_kernel():
    def kernel(low):
        return Conv2d(torch.diag(torch.tensor([1.0, low], dtype=f64))[:, :, None, None], input_shape=(2, 8, 8))

    phi = kernel(1e-14)  # above 2 eps, below 128 eps
    assert phi.patch is not None and phi.rank == 128 and phi.is_onto()
    A = conditioned(np.random.default_rng(0), 2, 2, 1e7)  # overlapping patches are refused from 1e6 on
    phi = Conv2d(tensor(A.T)[:, :, None, None], input_shape=(2, 1, 1))
    assert phi.is_onto() and phi.condition() == pytest.approx(np.linalg.cond(A), rel=1e-12)
    assert error(phi.right(tensor([[1.0, 2.0]])), np.linalg.solve(A.T, [[1.0], [2.0]]).T) < 1e-8
    assert kernel(1e-17).rank == 64


def test_the_rank_of_overlapping_patches_is_cut_at_the_larger_side():
    weight = torch.zeros(2, 2, 3, 3, dtype=f64)
    for low, rank in ((16 * 2.0**-52, 4), (64 * 2.0**-52, 8)):  # 32 inputs, 8 outputs
        weight[0, 0, 1, 1], weight[1, 1, 1, 1] = 1, low
        assert Conv2d(weight, input_shape=(2, 4, 4), stride=2, padding=1).rank == rank


def test_gaussian_kernels_are_not_orthonormal():
    A = numpy64(small_cnn((4, 2, 2), [16], seed=0, weights="gaussian").steps[0].weight).reshape(16, 16)
    assert np.abs(A @ A.T - np.eye(16)).max() > 0.3
