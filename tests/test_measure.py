"""ddref.measure: numbers by hand, and a certificate that says no when it should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import conditioned, error, refit
from ddref import arrays, distill, measure


def test_relative_error_by_hand_and_its_direction(nx):
    A, B = nx.asarray([[3.0, 4.0]]), nx.asarray([[0.0, 4.0]])
    assert measure.relative_error(A, B) == pytest.approx(0.75) and measure.relative_error(B, A) == pytest.approx(0.6)
    zero = nx.asarray([[0.0, 0.0]])
    assert measure.relative_error(zero, zero) == 0.0 and measure.relative_error(A, zero) == np.inf


def test_relative_error_sees_scale_where_cosine_does_not(rng):
    W = rng.normal(size=(8, 3))
    assert measure.relative_error(2 * W, W) == pytest.approx(1.0)
    assert np.sum(2 * W * W) / np.linalg.norm(2 * W) / np.linalg.norm(W) == pytest.approx(1.0)


def test_relative_error_survives_sizes_whose_squares_overflow():
    for size in (3e200, 3e-200):
        A = np.full((2, 2), size)
        assert measure.relative_error(A, A / 2) == pytest.approx(1.0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_relative_error_is_numpys_and_takes_any_dimension(seed, n, p):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(n, p, 2)), rng.normal(size=(n, p, 2))
    assert measure.relative_error(A, B) == pytest.approx(np.linalg.norm(A - B) / np.linalg.norm(B), rel=1e-12)


def test_accuracy_by_hand(nx):
    scores = nx.asarray([[1.0, 2.0, 0.0], [5.0, 1.0, 1.0], [0.0, 0.0, 1.0], [2.0, 2.0, 0.0]])
    classes = np.array([1, 0, 0, 0])
    assert measure.accuracy(scores, classes if nx.library == "numpy" else __import__("torch").tensor(classes)) == 0.75


def test_tolerance_is_constant_times_condition_times_eps():
    assert measure.tolerance(1, "float64", constant=1) == 2.0**-52
    assert measure.tolerance(7, np.float32(0).dtype, constant=2) == 14 * 2.0**-23
    with pytest.raises(ValueError, match="condition = 0.5 must be a number of at least 1"):
        measure.tolerance(0.5, "float64")
    with pytest.raises(ValueError, match="condition = nan"):
        measure.tolerance(float("nan"), "float64")
    with pytest.raises(TypeError, match="float16"):
        measure.tolerance(1, np.float16)


@pytest.mark.parametrize("lam_S", [0.0, 1e-3, 2.0])
@pytest.mark.parametrize("shape", [(3, 9), (9, 9), (14, 9)])
def test_certificate_agrees_with_the_outside_refit(nx, rng, lam_S, shape):
    m, p = shape
    W = nx.asarray(conditioned(rng, p, 3, 4))
    Phi_S = nx.asarray(
        conditioned(rng, m, p, 5) if m > 3 else conditioned(rng, 3, 3, 2) @ np.linalg.pinv(np.asarray(W))
    )
    Y_S = distill.labels(Phi_S, W, lam_S)
    certificate = measure.verify(Phi_S, Y_S, lam_S, W)
    assert certificate.exact and certificate.distance is None
    off = measure.verify(Phi_S, 1.001 * Y_S, lam_S, W)
    assert not off.exact and off.relative_error == pytest.approx(1e-3, rel=1e-2)
    assert off.relative_error == pytest.approx(error(refit(Phi_S, 1.001 * Y_S, lam_S)[0], W), rel=1e-2)
    assert certificate.tolerance == measure.tolerance(certificate.condition, nx.dtype)


def test_certificate_says_no_to_each_thing_that_breaks_a_set(rng):
    W = conditioned(rng, 9, 3, 4)
    Phi_S = distill.features(W, np.eye(3), 0.01)
    assert measure.verify(Phi_S, np.eye(3), 0.01, W).exact
    assert not measure.verify(Phi_S, np.eye(3), 0.02, W).exact  # another lam_S
    assert not measure.verify(Phi_S, np.eye(3)[[1, 0, 2]], 0.01, W).exact  # labels in another order
    assert not measure.verify(Phi_S[:2], np.eye(3)[:2], 0.01, W).exact  # a point less
    assert not measure.verify(Phi_S.astype("float32").astype(float), np.eye(3), 0.01, W).exact  # stored in float32
    assert not measure.verify(np.zeros((3, 9)), np.eye(3), 0.01, W).exact


def test_a_set_too_ill_conditioned_to_judge_is_never_called_exact():
    Phi_S = np.diag([1.0, 1e-14])
    certificate = measure.verify(Phi_S, Phi_S @ np.ones((2, 1)), 0.0, np.ones((2, 1)))
    assert 50 * certificate.condition * np.finfo(float).eps > 1e-2
    assert certificate.relative_error <= certificate.tolerance and not certificate.exact


def test_distance_is_relative_to_the_start(rng):
    W = rng.normal(size=(4, 2))
    Phi_S = rng.normal(size=(6, 4))
    certificate = measure.verify(1.5 * Phi_S, 1.5 * Phi_S @ W, 0.0, W, Phi_0=Phi_S)
    assert certificate.exact and certificate.distance == pytest.approx(0.5)


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: measure.relative_error(ONES, np.ones((2, 3))), ValueError, r"A has shape \(3, 2\) and B has \(2, 3\)"),
        (lambda: measure.relative_error([1.0], [1.0]), TypeError, "A and B must be NumPy or PyTorch arrays, got list"),
        (lambda: measure.accuracy(ONES, [0, 1, 0]), TypeError, "classes must be an array of integers, got list"),
        (lambda: measure.relative_error(ONES * np.nan, ONES), ValueError, "A contains NaN or Inf"),
        (lambda: measure.accuracy(ONES, np.zeros(2, dtype=int)), ValueError, r"classes must have shape \(3,\)"),
        (lambda: measure.accuracy(ONES, np.zeros(3)), TypeError, "classes must be integers"),
        (lambda: measure.accuracy(ONES, np.array([0, 1, 2])), ValueError, "must lie in 0..1, they reach from 0 to 2"),
        (lambda: measure.accuracy(ONES * np.inf, np.zeros(3, dtype=int)), ValueError, "scores contains NaN or Inf"),
        (lambda: measure.verify(ONES, np.ones((2, 1)), 0.0, np.ones((2, 1))), ValueError, "do not fit"),
        (lambda: measure.verify(ONES, np.ones((3, 1)), -1.0, np.ones((2, 1))), ValueError, "lam_S = -1.0"),
        (lambda: measure.verify(ONES, ONES[:, :1], 0.0, ONES[:2, :1], Phi_0=ONES[:2]), ValueError, r"Phi_0 \(m, p\) do not fit"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_an_intercept_and_the_matrix_are_judged_each_by_itself():
    """Large labels move the intercept by their last bits: that excuses its error, and none of W."""
    allowed = measure.tolerance(10.0, "float64")
    fine = measure.certify(1e-14, 10.0, "float64", intercept_error=1e-10, intercept_rounding=1e-11)
    assert fine.exact and fine.tolerance == allowed and fine.intercept_tolerance == allowed + 50 * 1e-11
    assert not measure.certify(1e-10, 10.0, "float64", intercept_error=1e-10, intercept_rounding=1e-11).exact
    assert not measure.certify(1e-14, 10.0, "float64", intercept_error=1e-9, intercept_rounding=1e-11).exact
    assert not measure.certify(1e-14, 10.0, "float64", intercept_error=1e-5, intercept_rounding=1.0).exact  # the cap
    assert measure.certify(1e-14, 10.0, "float64").intercept_error is None


@pytest.mark.parametrize("lam_S", [0.0, 1e-3, 10.0])
def test_labels_outside_the_range_cost_what_rounding_says(rng, lam_S):
    """Features changed at random by 1e-8 change W by at most what `rounding` says of eps, and not far less."""
    W = conditioned(rng, 9, 2, 3)
    Phi_S = conditioned(rng, 12, 9, 20)
    for Y_S in (Phi_S @ W, Phi_S @ W + 5 * rng.normal(size=(12, 2))):
        svd = arrays.thin_svd(Phi_S)
        W_S = refit(Phi_S, Y_S, lam_S)[0]
        amplified = svd.rounding(Y_S, lam_S) / np.linalg.norm(W_S) * 2.0**52
        E = rng.normal(size=(200, 12, 9))
        E *= 1e-8 * svd.s[0] / np.linalg.norm(E, axis=(1, 2), ord=2)[:, None, None]
        moved = max(error(refit(Phi_S + change, Y_S, lam_S)[0], W_S) for change in E) / 1e-8
        assert amplified / 200 < moved <= amplified
        assert amplified < 4 * svd.condition or np.linalg.norm(Y_S - Phi_S @ W) > 1


# ------------------------------------------------------ thresholds, from both sides of each


@pytest.mark.parametrize("dtype, eps", [("float64", 2.0**-52), ("float32", 2.0**-23)])
def test_each_limit_of_a_certificate_is_met_on_both_sides(dtype, eps):
    def exact(error, condition=1.0, **found):
        return measure.certify(error, condition, dtype, **found).exact

    limit = 50 * 8.0 * eps
    assert exact(limit, 8.0) and exact(0.99 * limit, 8.0) and not exact(1.01 * limit, 8.0)
    # what the caller measured counts from eps on
    assert exact(3.99 * limit, 8.0, rounding=4 * eps) and not exact(4.01 * limit, 8.0, rounding=4 * eps)
    assert not exact(1.01 * limit, 8.0, rounding=eps / 4) and exact(0.99 * limit, 8.0, rounding=eps / 4)
    most = eps ** (1 / 3)  # no tolerance is above the cube root of eps
    assert exact(0.99 * most, 10.0, rounding=most) and not exact(1.01 * most, 10.0, rounding=most)
    worst = 1e-2 / (50 * eps)  # no set above this condition is exact
    assert exact(0.0, 0.99 * worst) and not exact(0.0, 1.01 * worst)
    # what is uncertain counts as error, and is told where it decides
    assert exact(limit / 2, 8.0, uncertain=0.49 * limit) and not exact(limit / 2, 8.0, uncertain=0.51 * limit)


def test_an_intercept_has_the_tolerance_of_the_matrix_and_its_own_rounding():
    eps = 2.0**-52

    def judged(error, own=0.0):
        found = measure.certify(0.0, 8.0, "float64", intercept_error=error, intercept_rounding=own)
        return found.exact, found.intercept_error, found.intercept_tolerance

    limit = 50 * 8 * eps
    assert judged(limit) == (True, limit, limit) and judged(1.01 * limit)[0] is False
    assert judged(limit + 49 * 1e-10, 1e-10)[0] and not judged(limit + 51 * 1e-10, 1e-10)[0]
    most = eps ** (1 / 3)
    assert judged(0.99 * most, 1.0) == (True, 0.99 * most, most) and not judged(1.01 * most, 1.0)[0]
    assert not measure.certify(1.0, 8.0, "float64", intercept_error=0.0).exact  # neither excuses the other


def test_condition_numbers_begin_at_one_and_classes_at_zero():
    assert measure.tolerance(1, np.float64, constant=1.0) == 2.0**-52
    for condition in (0.999, float("nan")):
        with pytest.raises(ValueError, match="must be a number of at least 1"):
            measure.tolerance(condition, np.float64)
    scores = np.eye(3)
    assert measure.accuracy(scores, np.array([0, 1, 2])) == 1.0 and measure.accuracy(scores, np.array([0, 1, 1])) == 2 / 3
    for wrong in ([0, 1, 3], [-1, 1, 2]):
        with pytest.raises(ValueError, match=r"classes must lie in 0\.\.2"):
            measure.accuracy(scores, np.array(wrong))


def test_fields_that_do_not_apply_are_not_printed_and_copies_are_told():
    plain = measure.certify(0.0, 1.0, "float64")
    assert repr(plain) == (
        "Certificate(relative_error=0.0, condition=1.0, rounding=2.220446049250313e-16, "
        "tolerance=1.1102230246251565e-14, exact=True)"
    )
    assert repr(measure.certify(0.0, 1.0, "float64", copies=0)).endswith(", copies=0)")
    said = repr(measure.certify(0.0, 1.0, "float64", copies=2))
    assert said.endswith(", copies=2: 2 point(s) are copies of your samples)")


def test_relative_errors_are_of_arrays_of_one_kind_only():
    one = np.ones((1, 2))
    for A, B in (([[1.0, 1.0]], one), (one, [[1.0, 1.0]])):
        with pytest.raises(TypeError, match="A and B must be NumPy or PyTorch arrays, got"):
            measure.relative_error(A, B)
    with pytest.raises(TypeError, match="B is masked: fill its gaps"):
        measure.relative_error(one, np.ma.masked_array(one))
    torch = pytest.importorskip("torch")
    sparse = torch.ones(1, 2).to_sparse()
    with pytest.raises(TypeError, match="A is sparse_coo: pass its to_dense"):
        measure.relative_error(sparse, sparse)


def test_uncertainty_is_told_only_where_it_leaves_exact_open():
    limit = 50 * 8 * 2.0**-52

    def uncertain(error, by):
        found = measure.certify(error, 8.0, "float64", uncertain=by)
        return found.exact, found.uncertain

    assert uncertain(0.5 * limit, 0.4 * limit) == (True, None)
    assert uncertain(0.5 * limit, 0.6 * limit) == (False, 0.6 * limit)
    assert uncertain(limit, 0.6 * limit) == (False, 0.6 * limit)
    assert uncertain(1.1 * limit, 0.6 * limit) == (False, None)  # not exact whatever is uncertain


def test_nothing_is_added_to_a_tolerance_by_default():
    limit, eps = 50 * 8 * 2.0**-52, 2.0**-52
    assert not measure.certify(0.0, 8.0, "float64", intercept_error=1.01 * limit).exact
    assert measure.certify(0.0, 8.0, "float64", intercept_error=0.99 * limit).exact
    W = np.array([[1.0], [1.0]])
    found = measure.verify(np.eye(2), W, 0.0, W)
    assert found.exact and found.rounding == eps and found.tolerance == 50 * eps == measure.tolerance(1.0, W)
    assert measure.verify(np.eye(2), W, 0.0, W, rounding=1e-9).tolerance == 50 * 1e-9
    worst = 1e-2 / (50 * eps)
    assert 50 * worst * eps == 1e-2 and measure.certify(0.0, worst, "float64").exact


def test_sets_that_cannot_be_trained_on_are_refused_by_name():
    W, nan = np.ones((2, 1)), np.array([[1.0, np.nan]])
    with pytest.raises(ValueError, match="Phi_S contains NaN or Inf"):
        measure.verify(nan, W[:1], 0.0, W)
    with pytest.raises(ValueError, match="Phi_0 contains NaN or Inf"):
        measure.verify(np.ones((1, 2)), W[:1], 0.0, W, Phi_0=nan)
    with pytest.raises(ValueError, match=r"Phi_S \(m, p\), Y_S \(m, k\), W \(p, k\) do not fit"):
        measure.verify(np.ones((1, 2)), W, 0.0, W)


def test_at_lam_zero_rounding_is_cut_and_above_nothing_is():
    Phi_S, W = np.diag([1.0, 1e-17]), np.array([[1.0], [1.0]])
    assert measure.verify(Phi_S, Phi_S @ W, 0.0, W).relative_error == pytest.approx(0.5**0.5, rel=1e-12)
    Y_S = Phi_S @ W + 1e-40 * np.diag([1.0, 1e17]) @ W
    found = measure.verify(Phi_S, Y_S, 1e-40, W)
    assert found.relative_error < 1e-9 and not found.exact  # what another solver cuts is not known


def test_what_is_uncertain_is_relative_to_the_model():
    """The last label, which no model explains, moves W by about 1e4 eps: much of 1e-3, little of 1e3."""
    Phi_S, W = np.eye(3)[:, :2], np.array([[1.0], [1.0]])
    for size in (1e-3, 1e3):
        Y_S = np.array([[size], [size], [1e4]])
        found = measure.verify(Phi_S, Y_S, 0.0, size * W)
        lost = arrays.thin_svd(Phi_S).rounding(Y_S) / (size * 2**0.5)
        assert found.relative_error < 1e-15 and found.exact is (size > 1)
        assert found.uncertain is None if size > 1 else found.uncertain == pytest.approx(lost, rel=1e-12, abs=0)
    nothing = measure.verify(np.ones((1, 2)), np.zeros((1, 1)), 0.0, np.zeros((2, 1)))
    assert nothing.exact and nothing.relative_error == 0.0


@pytest.mark.parametrize("lam_S", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("shape", [(4, 7), (7, 7), (11, 7)])
def test_no_small_change_moves_the_model_more_than_its_sensitivity_says(rng, shape, lam_S):
    """Random changes stay below; the worst change of the labels is met, and one of the features within a factor of 5."""
    m, p = shape
    Phi_S, Y_S = conditioned(rng, m, p, 20), rng.normal(size=(m, 2))
    W = refit(Phi_S, Y_S, lam_S)[0]
    found, size = measure.sensitivity(Phi_S, Y_S, lam_S), np.linalg.norm(W)
    U, s, Vh = np.linalg.svd(Phi_S, full_matrices=False)
    largest = np.zeros(2)
    worst = np.argmax(s / (s**2 + lam_S))
    directions = [
        np.outer(U[:, worst], Vh[worst]),
        np.outer(Y_S @ W.T @ Vh[worst], Vh[worst]),
    ]
    for E in [rng.normal(size=shape) for _ in range(50)] + directions:
        E = 1e-7 * E / np.linalg.norm(E)
        F = 1e-7 * np.outer(U[:, worst], rng.normal(size=2))
        for i, (dE, dF) in enumerate(((E, 0 * F), (0 * E, F))):
            change = np.linalg.norm(dE if i == 0 else dF)
            moved = np.linalg.norm(refit(Phi_S + dE, Y_S + dF, lam_S)[0] - W) / size / change
            assert moved <= found[i] * (1 + 1e-4)
            largest[i] = max(largest[i], moved / found[i])
    assert largest[1] > 0.999 and largest[0] > 0.2


def test_sensitivity_by_hand_and_where_it_is_infinite(nx):
    ten = measure.sensitivity(nx.asarray([[0.1, 0.0]]), nx.asarray([[1.0]]), 0.0)  # W = 10
    assert ten.labels == pytest.approx(1.0, rel=1e-6) and ten.features == pytest.approx(20.0, rel=1e-6)
    orthonormal = measure.sensitivity(nx.asarray(np.eye(3)), nx.asarray(np.ones((3, 2))), 0.0)
    assert orthonormal.features == pytest.approx(1.0, rel=1e-6)  # square: alpha moves nothing
    lost = nx.asarray([[1.0, 0.0], [1.0, 0.0]]), nx.asarray([[1.0], [1.0]])
    assert measure.sensitivity(*lost, 0.0) == (np.inf, np.inf)
    assert max(measure.sensitivity(*lost, 0.1)) < 30
    assert measure.sensitivity(nx.asarray(np.eye(2)), nx.asarray(np.zeros((2, 1))), 0.0) == (np.inf, np.inf)
