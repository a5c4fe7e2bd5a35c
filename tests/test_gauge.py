"""ddref.gauge: what keeps the model is kept, what does not is refused, judged by an oracle; orthonormal sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Nx, conditioned, error, numpy64, refit
from ddref import distill, gauge
from ddref.measure import tolerance

P, K = 12, 3
# what the property tests run on; the other tests run on the fixture nx
EACH = [Nx("numpy", "cpu", "float64"), Nx("numpy", "cpu", "float32"), Nx("torch", "cpu", "float32")]
in_each_dtype = pytest.mark.parametrize("nx", EACH, ids=repr)


def a_set(nx, rng, m, lam_S=0.0, noise=0.0):
    """Features, exact labels for a planted W, plus `noise` times labels that training does not see."""
    W, Phi_S = conditioned(rng, P, K, 5), conditioned(rng, m, P, 5)
    Phi_S = Phi_S if m >= P else Phi_S @ W @ np.linalg.pinv(W) + 0.3 * Phi_S
    if m < P:  # put W into the span of the rows
        W = Phi_S.T @ np.linalg.lstsq(Phi_S.T, W, rcond=None)[0]
    Y_S = distill.labels(Phi_S, W, lam_S)
    Y_S = Y_S + noise * (np.eye(m) - Phi_S @ np.linalg.pinv(Phi_S)) @ rng.normal(size=Y_S.shape)
    return nx.asarray(Phi_S), nx.asarray(Y_S), W


def assert_same_model(changed, W, dtype):
    W_S, condition = refit(*changed)
    assert error(W_S, W) < tolerance(max(condition, 30), dtype)


@pytest.mark.parametrize("lam_S", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("m", [K + 2, P, P + 5])
def test_every_orthogonal_matrix_is_allowed_at_every_lam(nx, rng, m, lam_S):
    Phi_S, Y_S, W = a_set(nx, rng, m, lam_S, noise=1.0)
    M = nx.asarray(np.linalg.qr(rng.normal(size=(m, m)))[0])
    changed = gauge.change_of_basis(Phi_S, Y_S, M, lam_S)
    assert nx.is_mine(changed.Phi_S) and nx.is_mine(changed.Y_S) and changed.lam_S == lam_S
    assert_same_model(changed, W, nx.dtype)
    assert error(changed.Phi_S, numpy64(M) @ numpy64(Phi_S)) < tolerance(1, nx.dtype)


@pytest.mark.parametrize("lam_S", [0.0, 0.3])
def test_scaling_takes_lam_with_it_by_the_square(nx, rng, lam_S):
    Phi_S, Y_S, W = a_set(nx, rng, P + 5, lam_S, noise=1.0)
    changed = gauge.change_of_basis(Phi_S, Y_S, nx.asarray(-3 * np.eye(P + 5)), lam_S)
    assert changed.lam_S == pytest.approx(9 * lam_S, rel=10 * nx.eps)
    assert_same_model(changed, W, nx.dtype)


@pytest.mark.parametrize("m", [K + 2, P, P + 5])
def test_labels_that_are_predictions_allow_every_invertible_matrix_at_lam_zero(nx, rng, m):
    Phi_S, Y_S, W = a_set(nx, rng, m)
    M = nx.asarray(conditioned(rng, m, m, 20))
    changed = gauge.change_of_basis(Phi_S, Y_S, M)
    assert_same_model(changed, W, nx.dtype)


def test_other_labels_do_not_and_the_model_that_would_be_trained_is_far_away(rng):
    """Two copies of a point labelled 3 and -1 train 1; weighing the first twice makes it 2.2: 120 % off."""
    Phi_S, Y_S = np.array([[1.0], [1.0]]), np.array([[3.0], [-1.0]])
    M = np.diag([2.0, 1.0])
    assert refit(Phi_S, Y_S, 0.0)[0][0, 0] == pytest.approx(1.0)
    assert refit(M @ Phi_S, M @ Y_S, 0.0)[0][0, 0] == pytest.approx(2.2)
    with pytest.raises(ValueError, match=r"a model 1.2 away .* is 0.894 of Y_S, .* use an orthogonal M"):
        gauge.change_of_basis(Phi_S, Y_S, M)


def test_at_lam_zero_exactly_the_matrices_of_the_criterion_are_allowed(rng):
    """``Phi_S^T (M^T M - I) R = 0``: an M built to satisfy it passes, far from orthogonal; a neighbour does not."""
    Phi_S, Y_S, W = a_set(np, rng, P + 5, noise=1.0)
    Q = np.linalg.qr(Phi_S)[0]
    M = np.eye(P + 5) + Q @ np.diag(np.arange(P)) @ Q.T  # changes only what R does not have: M R = R
    changed = gauge.change_of_basis(Phi_S, Y_S, M)
    assert_same_model(changed, W, "float64")
    R = Y_S - Phi_S @ W
    assert np.linalg.norm(Phi_S.T @ (M.T @ M - np.eye(P + 5)) @ R) < 1e-12 < np.linalg.norm(R)
    with pytest.raises(ValueError, match="the changed set trains a model"):
        gauge.change_of_basis(Phi_S, Y_S, M + 1e-3 * rng.normal(size=M.shape))


@pytest.mark.parametrize("lam_S", [1e-3, 0.3, 20.0])
def test_at_lam_above_zero_an_invertible_matrix_is_refused_even_for_labels_without_noise(nx, rng, lam_S):
    Phi_S, Y_S, _ = a_set(nx, rng, K + 2, lam_S)
    with pytest.raises(ValueError, match=f"lam_S = {lam_S:.3g}; use an orthogonal M"):
        gauge.change_of_basis(Phi_S, Y_S, nx.asarray(conditioned(rng, K + 2, K + 2, 20)), lam_S)


def test_points_can_be_spread_over_more_and_copies_merged(nx, rng):
    Phi_S, Y_S, W = a_set(nx, rng, K + 2, 0.3)
    more = gauge.change_of_basis(Phi_S, Y_S, nx.asarray(np.linalg.qr(rng.normal(size=(9, K + 2)))[0]), 0.3)
    assert tuple(more.Phi_S.shape) == (9, P) and more.lam_S == 0.3
    assert_same_model(more, W, nx.dtype)
    copies = [nx.asarray(np.repeat(numpy64(A), 2, axis=0) / np.sqrt(2)) for A in (Phi_S, Y_S)]
    merge = nx.asarray(np.kron(np.eye(K + 2), [[1.0, 1.0]]) / np.sqrt(2))
    fewer = gauge.change_of_basis(*copies, merge, 0.3)
    assert error(fewer.Phi_S, Phi_S) < tolerance(1, nx.dtype)
    assert_same_model(fewer, W, nx.dtype)


def test_a_matrix_that_loses_a_direction_of_w_is_refused(rng):
    Phi_S, Y_S = np.eye(3), np.diag([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"a model 0.267 away .* an M that keeps the rank"):
        gauge.change_of_basis(Phi_S, Y_S, np.diag([0.0, 1.0, 1.0]))
    Y_S[0] = 0  # a direction that W does not need may go
    assert gauge.change_of_basis(Phi_S, Y_S, np.diag([0.0, 1.0, 1.0])).lam_S == 0.0


@in_each_dtype
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 3), st.integers(-8, 8), st.data())
def test_what_is_allowed_agrees_with_retraining(nx, m, p, k, scale, data):
    """Refused exactly where an outsider, retraining on both sets, finds two models."""
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    lam = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    kind = data.draw(st.sampled_from(["orthogonal", "scaled", "invertible", "singular"]))
    Phi_S, Y_S = conditioned(rng, m, p, 5, scale=10.0**scale), rng.normal(size=(m, k))
    M = np.linalg.qr(rng.normal(size=(m, m)))[0] if kind in ("orthogonal", "scaled") else conditioned(rng, m, m, 10)
    M = 2 * M if kind == "scaled" else M
    if kind == "singular":
        M[0] = 0.0
    lam_S, factor = lam * 10.0 ** (2 * scale), 4.0 if kind == "scaled" else 1.0
    if m == 1 and kind == "invertible":
        factor = M[0, 0] ** 2  # one point: every number is a scale
    arrays = [nx.asarray(A) for A in (Phi_S, Y_S, M)]
    Phi_S, Y_S, M = (numpy64(A) for A in arrays)  # as they were rounded
    W, W_new = refit(Phi_S, Y_S, lam_S)[0], refit(M @ Phi_S, M @ Y_S, lam_S * factor)[0]
    unit = np.linalg.norm(W) + np.linalg.norm(Y_S) / np.linalg.norm(Phi_S, 2)
    difference = np.linalg.norm(W_new - W) / unit
    if difference < tolerance(1, nx.dtype):  # rounding in M alone makes that much
        changed = gauge.change_of_basis(*arrays, lam_S)
        assert nx.is_mine(changed.Phi_S) and nx.is_mine(changed.Y_S)
        assert error(changed.Phi_S, M @ Phi_S) < tolerance(1, nx.dtype) > error(changed.Y_S, M @ Y_S)
        assert changed.lam_S == pytest.approx(lam_S * factor, rel=tolerance(1, nx.dtype))
        if kind in ("orthogonal", "scaled"):
            W_S, condition = refit(*changed)
            assert error(W_S, W) < tolerance(condition * max(1.0, unit / np.linalg.norm(W)), nx.dtype)
    elif difference > 7 * nx.eps**0.5:
        with pytest.raises(ValueError, match="the changed set trains a model"):
            gauge.change_of_basis(*arrays, lam_S)
    else:
        assert kind in ("invertible", "singular")  # not every change is large; between the two it is left open


@pytest.mark.parametrize("m", [None, K, K + 1, P, P + 1, 5 * P])
def test_orthonormal_features_have_condition_number_one_and_are_exact_at_every_lam(nx, rng, m):
    W = nx.asarray(conditioned(rng, P, K, 10))
    Phi_S = gauge.orthonormal(W, m)
    assert nx.is_mine(Phi_S) and tuple(Phi_S.shape) == (m or K, P)
    assert np.allclose(np.linalg.svd(numpy64(Phi_S), compute_uv=False), 1, rtol=0, atol=100 * nx.eps)
    for lam_S in (0.0, 0.7, 50.0):
        Y_S = distill.labels(Phi_S, W, lam_S)
        assert error(Y_S, (1 + lam_S) * numpy64(Phi_S) @ numpy64(W)) < tolerance(1 + lam_S, nx.dtype)
        assert error(refit(Phi_S, Y_S, lam_S)[0], W) < tolerance(1, nx.dtype)


def test_orthonormal_sets_survive_float16(rng):
    """Why the condition number matters: stored in 16 bits, labels recomputed, the error is that of the features."""
    W = conditioned(rng, 200, 10, 5)
    Phi_S = gauge.orthonormal(W).astype(np.float16).astype(np.float64)
    W_S = np.linalg.pinv(Phi_S) @ (Phi_S @ W)
    assert error(W_S, W) < 1e-3
    mixed = np.linalg.qr(rng.normal(size=(10, 10)))[0] @ (np.logspace(0, -4, 10)[:, None] * gauge.orthonormal(W))
    mixed = mixed.astype(np.float16).astype(np.float64)
    assert error(np.linalg.pinv(mixed) @ (mixed @ W), W) > 100 * error(W_S, W)


@in_each_dtype
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 5), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_orthonormal_over_shapes_and_ranks(nx, p, k, rank, extra, seed):
    if nx.library == "torch":
        pytest.importorskip("torch")
    rng, rank = np.random.default_rng(seed), min(rank, p, k)
    W = nx.asarray(conditioned(rng, p, k, 10, rank=rank) if rank else np.zeros((p, k)))
    m = max(rank, 1) + extra
    Phi_S = gauge.orthonormal(W, m)
    assert nx.is_mine(Phi_S) and tuple(Phi_S.shape) == (m, p)
    assert np.allclose(np.linalg.svd(numpy64(Phi_S), compute_uv=False), 1, rtol=0, atol=tolerance(1, nx.dtype))
    W_S = refit(Phi_S, distill.labels(Phi_S, W), 0.0)[0]
    assert error(W_S, W) < tolerance(1, nx.dtype)
    if rank > 1:
        with pytest.raises(ValueError, match=f"m = {rank - 1} points cannot carry W of rank {rank}"):
            gauge.orthonormal(W, rank - 1)


def test_the_rank_cutoff_of_w_is_1e_10_and_what_it_drops_is_said(rng):
    W = np.linalg.qr(rng.normal(size=(8, 3)))[0] * [1.0, 1.0, 1e-11]
    with pytest.warns(UserWarning, match="drops a fraction 7.1e-12 of W; pass a smaller rtol"):
        assert gauge.orthonormal(W).shape == (2, 8)
    assert gauge.orthonormal(W, rtol=1e-12).shape == (3, 8)


def test_gradients_flow_where_singular_values_are_distinct_and_are_nan_at_ties(rng):
    torch = pytest.importorskip("torch")
    W, M = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((7, 2), (2, 2)))
    assert torch.autograd.gradcheck(lambda W: gauge.orthonormal(W, 2) @ W, (W,))
    Phi_S = torch.tensor(rng.normal(size=(2, 7)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda P, W, M: gauge.change_of_basis(P, P @ W, M)[:2], (Phi_S, W, M))
    tied = torch.eye(7, dtype=torch.float64)[:, :2].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gauge.orthonormal(tied)[0, 1], tied)
    assert not torch.isfinite(gradient).all()


def test_arrays_stay_on_their_device():
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device2")
    W = xp.asarray(np.arange(12.0).reshape(6, 2) % 5, device=device)
    for m in (2, 5, 9):
        Phi_S = gauge.orthonormal(W, m)
        assert Phi_S.device == device and Phi_S.shape == (m, 6)
        M = xp.asarray(np.linalg.qr(np.ones((m, m)) + np.eye(m))[0], device=device)
        assert gauge.change_of_basis(Phi_S, Phi_S @ W, M).Y_S.device == device


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: gauge.orthonormal(np.eye(3), 2), ValueError, "m = 2 points cannot carry W of rank 3; use 3"),
        (lambda: gauge.orthonormal(np.zeros((3, 1)), 0), ValueError, "m = 0 points cannot carry W of rank 0; use 1"),
        (lambda: gauge.orthonormal(np.eye(3), 3.0), TypeError, "m must be an integer, got 3.0"),
        (lambda: gauge.orthonormal(np.full((3, 3), np.inf)), ValueError, "W contains NaN or Inf"),
        (lambda: gauge.orthonormal(np.eye(3, dtype=int)), TypeError, "W has dtype int64"),
        (
            lambda: gauge.change_of_basis(np.eye(3), np.eye(3), np.eye(2)),
            ValueError,
            r"M \(n, m\), Phi_S \(m, p\), Y_S \(m, k\) do not fit: .* \(2, 2\), \(3, 3\), \(3, 3\)",
        ),
        (lambda: gauge.change_of_basis(np.eye(3), np.eye(2), np.eye(3)), ValueError, "do not fit"),
        (lambda: gauge.change_of_basis(np.eye(3), np.eye(3), np.ones(3)), ValueError, "M must have 2 dimensions"),
        (lambda: gauge.change_of_basis(np.eye(3), np.eye(3), np.eye(3), -1), ValueError, "lam_S = -1.0 must be finite"),
    ],
)
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("away, taken", [(90, False), (-90, False), (110, True), (-110, True), (1e6, True)])
def test_lam_S_is_scaled_beyond_a_hundred_roundings_of_the_square_and_not_below(away, taken):
    """So that an orthogonal matrix, which is so up to rounding, gives back the same lam_S."""
    square = 1 + away * 2.0**-52
    changed = gauge.change_of_basis(np.array([[2.0]]), np.array([[3.0]]), np.array([[np.sqrt(square)]]), 1.0)
    assert (changed.lam_S != 1.0) == taken and abs(changed.lam_S - square) <= (2 if taken else 100) * 2.0**-52


@pytest.mark.parametrize("skew, isometry", [(0.9, True), (1.1, False)])
def test_a_multiple_of_an_isometry_is_one_up_to_the_root_of_eps(skew, isometry):
    """3 times an M that is not quite orthogonal: lam_S goes along, up to sqrt(eps), and both are refused with numbers."""
    d = skew * 2.0**-26 / np.sqrt(8)  # M^T M = 9 diag(1 + 2 d, 1 - 2 d)
    M = 3 * np.diag([1 + d, 1 - d])
    Y_S = np.array([[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"trains a model \S+ away") as refused:
        gauge.change_of_basis(np.eye(2), Y_S, M, 1.0)
    away = float(str(refused.value).split("trains a model ")[1].split()[0])
    assert away < 1e-8 if isometry else away > 0.1


@pytest.mark.parametrize("Y_S", [np.zeros((2, 1)), np.array([[1.0], [2.0]])], ids=["zero labels", "labels"])
def test_features_of_zeros_train_zero_after_every_change_and_keep_their_lam_S(Y_S):
    changed = gauge.change_of_basis(np.zeros((2, 3)), Y_S, np.diag([1.0, 5.0]), 0.25)
    assert changed.lam_S == 0.25 and not changed.Phi_S.any()
