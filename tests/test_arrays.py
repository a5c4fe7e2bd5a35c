"""ddref.arrays: every threshold from both sides of it, and the parts by hand."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest

from conftest import EPS, error
from ddref import arrays

# ------------------------------------------------------------------------------ checks


def test_arrays_are_passed_with_their_namespace_and_none_is_passed_over():
    xp = arrays.check_arrays(A=np.eye(2), B=None)
    assert xp.sum(np.eye(2)) == 2
    arrays.check_arrays(A=np.ones((1, 1), dtype="float32"), B=np.ones((3, 2), dtype="float32"))
    arrays.check_arrays(A=np.full((1, 1), 1e200))  # no word on squares that overflow


@pytest.mark.parametrize(
    "given, kind, message",
    [
        ({"A": [[1.0]]}, TypeError, "of one library are needed, got A: builtins.list"),
        ({"A": np.eye(2, dtype=int)}, TypeError, "A has dtype int64; convert it"),
        ({"A": np.eye(2, dtype="float16")}, TypeError, "A has dtype float16"),
        ({"A": np.ones(2)}, ValueError, "A must have 2 dimensions"),
        ({"A": np.ones((2, 0))}, ValueError, "A is empty"),
        ({"A": np.eye(2), "B": np.array([[1.0, np.nan]])}, ValueError, "B contains NaN or Inf"),
        ({"A": np.eye(2), "B": np.eye(2, dtype="float32")}, TypeError, "A, B differ in dtype: float64, float32"),
    ],
)
def test_arrays_of_another_kind_are_refused_by_name(given, kind, message):
    with pytest.raises(kind, match=message):
        arrays.check_arrays(**given)


def test_arrays_on_two_devices_are_refused_by_name():
    xp = pytest.importorskip("array_api_strict")
    A, B = (xp.ones((2, 2), device=xp.Device(name)) for name in ("CPU_DEVICE", "device1"))
    arrays.check_arrays(A=A, B=A)
    with pytest.raises(ValueError, match="A, B are on different devices: "):
        arrays.check_arrays(A=A, B=B)


def test_products_in_another_precision_are_refused():
    torch = pytest.importorskip("torch")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(TypeError, match="A is torch.float32, its products would be torch.bfloat16"):
            arrays.check_arrays(A=torch.ones(2, 2))


def test_one_letter_is_one_size_and_a_digit_is_itself():
    A, B = np.ones((3, 2)), np.ones((3, 1))
    arrays.check_shapes(A=(A, "np"), B=(B, "nk"), C=(None, "pp"))
    arrays.check_shapes(A=(A, "32"), B=(B, "n1"))
    for wrong in ({"A": (A, "np"), "B": (B, "pk")}, {"B": (B, "n2")}, {"A": (A, "nn")}):
        with pytest.raises(ValueError, match="do not fit: their shapes are"):
            arrays.check_shapes(**wrong)


def test_a_regularisation_is_a_finite_number_from_zero_on():
    assert arrays.check_lam(0) == 0.0 and arrays.check_lam(np.float32(0.5)) == 0.5
    assert arrays.check_lam(1.7e308) == 1.7e308
    for value in (-1e-300, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            arrays.check_lam(value)
    for value in ("much", None):
        with pytest.raises(TypeError, match="must be a number"):
            arrays.check_lam(value)


def test_a_count_is_an_integer_from_its_least_on():
    assert arrays.check_count(1, "n") == 1 and arrays.check_count(np.int64(2), "n", 2) == 2
    assert arrays.check_count(0, "n", 0) == 0
    with pytest.raises(ValueError, match="n = 0 must be at least 1"):
        arrays.check_count(0, "n")
    for value, least in ((0, 1), (1, 2), (-1, 0)):
        with pytest.raises(ValueError, match=f"n = {value} must be at least {least}"):
            arrays.check_count(value, "n", least)
    with pytest.raises(TypeError, match="n must be an integer, got 1.0"):
        arrays.check_count(1.0, "n")


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("n", [2, 5])
def test_symmetry_may_lack_a_hundred_roundings_a_row_and_no_more(n, size):
    limit = 100 * n * EPS
    for gap, refused in ((0.9 * limit, False), (1.1 * limit, True)):
        for sign in (1, -1):
            G = np.full((n, n), size / 2)
            G[0, 0] = size  # the largest entry is `size`
            G[0, 1] += sign * gap * size
            if refused:
                with pytest.raises(ValueError, match="G is not symmetric"):
                    arrays.check_symmetric(G)
            else:
                arrays.check_symmetric(G)
    with pytest.raises(ValueError, match="G must be square"):
        arrays.check_symmetric(np.ones((n, n + 1)))
    arrays.check_symmetric(np.zeros((n, n)))


@pytest.mark.parametrize("n", [2, 5])
def test_eigenvalues_below_zero_may_be_a_hundred_roundings_a_row_and_no_more(n):
    limit = 100 * n * EPS
    w, V = arrays.semidefinite_eigh(np.diag([-0.9 * limit] + [1.0] * (n - 1)))
    assert w[0] == 0 and w[-1] == 1 and error(V @ np.diag(w) @ V.T, np.diag([0.0] + [1.0] * (n - 1))) < 1e-14
    for least in (-1.1 * limit, -1.0):
        with pytest.raises(ValueError, match="not positive semi-definite: its smallest"):
            arrays.semidefinite_eigh(np.diag([least] + [1.0] * (n - 1)))
    with pytest.raises(ValueError, match="not symmetric"):
        arrays.semidefinite_eigh(np.triu(np.ones((2, 2))))
    # negative eigenvalues larger than the others are measured by their own size
    with pytest.raises(ValueError, match="smallest eigenvalue is -1"):
        arrays.semidefinite_eigh(np.diag([-1.0, 1e-20]))
    assert arrays.semidefinite_eigh(np.zeros((2, 2)))[0].tolist() == [0, 0]
    assert arrays.semidefinite_eigh(np.diag([1e-30, 1.0]))[0][0] == 1e-30  # positive ones stay


# ------------------------------------------------------------- one SVD, one rank cutoff


@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_singular_values_are_cut_at_the_larger_side_times_eps(shape):
    cut = 8 * EPS
    for small, rank in ((0.9 * cut, 2), (1.1 * cut, 3)):
        A = np.zeros(shape)
        A[0, 0], A[1, 1], A[2, 2] = 4.0, 2.0, 4 * small
        svd = arrays.thin_svd(A)
        assert svd.rank == rank and svd.rtol == cut and svd.condition == (2.0 if rank == 2 else 1 / small)
        assert svd.next == (4 * small if rank == 2 else 0.0)
        assert svd.lost == (pytest.approx(4 * small / math.sqrt(20), rel=1e-9, abs=0) if rank == 2 else 0.0)


def test_the_cutoff_itself_is_cut_and_zero_cuts_true_zeros_only():
    A = np.diag([1.0, 0.25, 1e-30, 0.0])
    assert arrays.thin_svd(A, 0.25).rank == 1 and arrays.thin_svd(A, 0.249).rank == 2
    exact = arrays.thin_svd(A, 0.0)
    assert exact.rank == 3 and exact.lost == 0.0 and exact.next == 0.0 and exact.rtol == 0.0
    nothing = arrays.thin_svd(np.zeros((2, 3)))
    assert nothing.rank == 0 and nothing.condition == 1.0 and nothing.lost == 0.0
    with pytest.raises(ValueError, match="rtol = -1.0"):
        arrays.thin_svd(A, -1)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_a_decomposition_inverts_solves_and_tells_what_is_outside(rng, shape, lam):
    A, Y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    svd = arrays.thin_svd(A)
    P = np.linalg.pinv(A) if lam == 0 else np.linalg.solve(A.T @ A + lam * np.eye(shape[1]), A.T)
    assert error(svd.pinv(lam), P) < 1e-12 and error(svd.solve(Y, lam), P @ Y) < 1e-12
    if lam == 0:
        assert error(svd.pinv(), P) < 1e-12 and error(svd.solve(Y), P @ Y) < 1e-12
    W = rng.normal(size=(shape[1], 2))
    assert error(svd.outside(W), W - np.linalg.pinv(A) @ A @ W) < 1e-12 or shape[0] >= shape[1]


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("ratio, graded", [(99.0, False), (100.0, False), (101.0, True), (1e9, True)])
def test_columns_are_told_apart_where_sizes_differ_by_more_than_a_hundred(rng, monkeypatch, ratio, graded, place):
    A = np.sign(rng.normal(size=(9, 4)))
    A[:, place] *= -ratio
    seen = []
    plain = arrays.thin_svd
    monkeypatch.setattr(arrays, "thin_svd", lambda A, rtol=None: seen.append(A) or plain(A, rtol))
    svd = arrays.graded_svd(A, 1e-20)
    assert error((svd.U * svd.s) @ svd.Vh, A) < 1e-13 and svd.rtol == 1e-20
    assert (seen[0] is not A) is graded
    if graded:
        assert np.abs(seen[0][:, 0]).max() == ratio  # the largest first, the others in their order
        assert np.array_equal(seen[0][:, 1:], np.delete(A, place, axis=1))
    assert arrays.graded_svd(A[:, [0, 0]]).rank == 1


def test_the_cutoff_of_models_is_1e_10_or_that_of_the_dtype_where_larger():
    for small, rank in ((0.9e-10, 1), (1.1e-10, 2)):
        assert arrays.model_svd(np.diag([1.0, small])).rank == rank
    assert arrays.model_svd(np.ones((1, 1))).rtol == 1e-10
    single = np.ones((3, 7), dtype="float32")
    assert arrays.model_svd(single).rtol == 7 * 2.0**-23 == arrays.model_svd(single.T.copy()).rtol
    assert arrays.model_svd(np.diag([1.0, 1e-20]), 0.0).rank == 2


def test_a_loss_is_worth_a_word_above_a_hundred_roundings():
    for dtype, eps in (("float64", EPS), ("float32", 2.0**-23)):
        A = np.ones((1, 1), dtype=dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            arrays.warn_dropped(99 * eps, A)
            arrays.warn_dropped(100 * eps, A)
        with pytest.warns(UserWarning, match="the rank cutoff drops a fraction .* of W") as found:
            (lambda: arrays.warn_dropped(101 * eps, A))()  # noqa: B023  the caller's caller is named
            arrays.warn_dropped(101 * eps, A, stacklevel=2)
        assert [each.filename for each in found] == [__file__] * 2


def test_the_larger_root_solves_its_equation_up_to_the_bound_and_64_eps_beyond():
    s = np.array([2.0, 0.5, 1e-3])
    assert error(arrays.larger_root(s, 0.0), 1 / s) < 1e-15
    for lam in (1e-8, 0.03, 1 / 16):
        t = arrays.larger_root(s, lam)
        assert np.all(t**2 >= lam * (1 - 1e-12)) and error(t / (t**2 + lam), s) < 1e-12
    a = 1 + 60 * EPS  # of 2 sqrt(lam) s
    assert arrays.larger_root(np.array([1.0]), (a / 2) ** 2).tolist() == [0.5]
    assert arrays.larger_root(s[:0], 5.0).shape == (0,)
    with pytest.raises(ValueError, match=r"exceeds 1/\(4 s_max\^2\) = 0.25; scale Y_S by at least 1 and Z, or pass"):
        arrays.larger_root(np.array([1.0]), ((1 + 70 * EPS) / 2) ** 2, " and Z")
    with pytest.raises(ValueError, match=r"= 0.0625; scale Y_S by at least 2, or"):
        arrays.larger_root(s, 0.25)
    limit = 1 + 64 * EPS  # itself a double, and accepted
    assert arrays.larger_root(np.array([limit]), 0.25).tolist() == [0.5 / limit]


def test_the_root_near_the_bound_keeps_its_digits():
    """1 - a^2 cancels there; (1 - a)(1 + a) does not: against the exact value of the same doubles."""
    s = np.array([1 - 2.0**-27 - 3 * 2.0**-53])  # = a, as sqrt(lam_S) is exact
    t = arrays.larger_root(s, 0.25)[0]
    exact = 1 - Fraction(float(s[0])) ** 2
    q = 2 * Fraction(float(t)) * Fraction(float(s[0])) - 1
    assert abs(float(q**2 / exact) - 1) < 1e-10


@pytest.mark.parametrize("p, r, of", [(6, 2, None), (6, 2, 3), (4, 4, None), (5, 0, None)])
def test_a_complement_is_orthonormal_and_orthogonal(rng, p, r, of):
    Q = np.linalg.qr(rng.normal(size=(p, p)))[0][:, :r]
    A = None if of is None else rng.normal(size=(p, of))
    E = arrays.complement(Q, A)
    assert E.shape == (p, p - r if of is None else of)
    assert np.abs(E.T @ E - np.eye(E.shape[1])).max(initial=0) < 1e-14 and np.abs(Q.T @ E).max(initial=0) < 1e-14
    if of:
        assert np.linalg.matrix_rank(np.c_[Q, A, E], tol=1e-10) == r + of


@pytest.mark.parametrize("m, n", [(1, 1), (5, 5), (9, 4)])
def test_cosines_are_orthonormal_and_the_first_is_constant(m, n):
    C = arrays.cosines(m, n, np.ones((1, 1)))
    assert np.abs(C.T @ C - np.eye(n)).max() < 1e-14 and np.abs(C[:, 0] - m**-0.5).max() < 1e-15
    if n > 1:
        assert np.all(np.diff(C[:, 1]) < 0)  # half a turn
        wave = np.cos((2 * np.arange(m) + 1) * (n - 1) * math.pi / (2 * m)) * math.sqrt(2 / m)
        assert error(C[:, -1], wave) < 1e-13


def test_cosines_of_many_points_keep_their_digits_in_float32():
    C = arrays.cosines(3000, 3, np.ones((1, 1), dtype="float32"))
    assert np.abs(C.astype(float).T @ C.astype(float) - np.eye(3)).max() < 1e-5


# -------------------------------------------------------------------- sizes, rounding


def test_norms_survive_sizes_whose_squares_do_not():
    for size in (1e-300, 1.0, 1e300):
        assert arrays.norm(np.array([[3.0, 4.0]]) * size) == pytest.approx(5 * size, rel=1e-15)
    assert arrays.norm(np.zeros((2, 2))) == 0.0 == arrays.norm(np.zeros((0, 3)))
    assert arrays.relative(np.full((1, 1), 3.0), np.full((1, 1), 2.0)) == 1.5
    assert arrays.relative(np.full((1, 1), 3.0), np.zeros((1, 1))) == 3.0


def test_rounding_explains_a_hundred_eps_times_the_condition_up_to_its_root():
    for dtype, eps in (("float64", EPS), ("float32", 2.0**-23)):
        A = np.ones((1, 1), dtype=dtype)
        assert arrays.eps_of(A) == eps
        assert arrays.explained(A, 3.0) == 300 * eps
        assert arrays.explained(A, 1e12) == math.sqrt(eps)


def test_numbers_lose_their_gradient():
    torch = pytest.importorskip("torch")
    assert arrays.number(torch.tensor(2.0, requires_grad=True)) == 2.0 == arrays.number(np.float32(2))


# --------------------------------------------- what training makes of rounding, by hand


def test_damped_singular_values_are_infinite_where_they_overflow_and_finite_before():
    def damped(s, lam):
        return arrays.thin_svd(np.eye(2))._replace(s=np.array([1.0, s])).damped(lam).tolist()[1]

    assert damped(4.0, 9.0) == 4.0 + 9 / 4 and damped(4.0, 0.0) == 4.0
    # lam / s, with lam = 1e20 and 1 / 4: the largest double is 1.8e308
    assert damped(6e-289, 1e20) == pytest.approx(1e20 / 6e-289, rel=1e-12) and damped(5e-289, 1e20) == math.inf
    for s in (3e-309, 4e-309):
        assert 5e307 < damped(s, 0.25) < 1e308
    assert damped(2e-309, 0.25) == math.inf  # root / s itself overflows
    assert damped(0.0, 0.0) == math.inf and damped(0.0, 1.0) == math.inf


@pytest.mark.parametrize(
    "s, lam, gain",
    [
        ([4.0, 1.0], 0.0, 1 / 4),  # the second is cut: at lam = 0 it has no part
        ([4.0, 1.0], 1.0, 1 / 2),  # below the cutoff, 2, the worst value is sqrt(lam)
        ([4.0, 1.0], 9.0, 4 / 25),
        ([4.0, 1.0], 16.0, 1 / 8),
        ([4.0, 1.0], 6.25, 1 / (2 + 6.25 / 2)),  # the cutoff itself
        ([4.0, 3.0], 4.0, 3 / 13),  # both are kept: what could be cut is none of them
        ([4.0, 3.0], 0.0, 1 / 3),
        ([0.0, 0.0], 1.0, 0.0),
    ],
)
def test_the_gain_counts_the_worst_value_below_the_cutoff(s, lam, gain):
    assert arrays.thin_svd(np.diag(s), 0.5).gain(lam) == pytest.approx(gain, rel=1e-12, abs=0)
    wide = arrays.thin_svd(np.diag(s + [0.0])[:2], 0.5)
    assert wide.gain(lam) == pytest.approx(gain, rel=1e-12, abs=0)


@pytest.mark.parametrize("lam", [0.0, 0.3])
@pytest.mark.parametrize("m, p, rank", [(3, 5, 3), (5, 3, 3), (4, 4, 4), (5, 4, 2), (4, 5, 2)])
def test_rounding_is_that_of_rows_and_labels_times_what_training_makes_of_it(rng, m, p, rank, lam):
    s = np.array([3.0, 1.5, 1.0, 0.7])[:rank]
    U, V = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in (m, p))
    A, Y = (U * s) @ V.T, rng.normal(size=(m, 2))
    svd = arrays.thin_svd(A, 1e-9)
    W = V.T @ np.linalg.pinv(A, rcond=1e-9) @ Y if lam == 0 else (U.T @ Y) * (s / (s**2 + lam))[:, None]
    gain = np.max(s / (s**2 + lam))
    if lam and rank < min(m, p):
        gain = max(gain, 1 / (3e-9 + lam / 3e-9))
    least = lam + (0.0 if lam and rank < p else s[-1] ** 2)
    R = np.linalg.norm(Y - U @ (U.T @ Y)) if rank < m else 0.0
    alpha = np.linalg.norm(W / s[:, None]) * (lam / least if rank == p else 1.0)
    per_row = gain * np.linalg.norm(W) + alpha + R / least
    by_hand = EPS * (np.linalg.norm(Y) * gain + 3.0 * per_row)
    assert svd.rounding(Y, lam) == pytest.approx(by_hand, rel=1e-9, abs=0)
    if lam == 0:
        assert svd.rounding(Y) == svd.rounding(Y, 0.0)
    doubled = svd.rounding(Y, lam, rows=2 * A, labels=5 * Y)
    by_hand = EPS * (5 * np.linalg.norm(Y) * gain + 2 * np.linalg.norm(A) * per_row)
    assert doubled == pytest.approx(by_hand, rel=1e-9, abs=0)


def test_nothing_is_lost_of_features_of_rank_zero_and_all_where_the_rank_is_open():
    assert arrays.thin_svd(np.zeros((2, 2))).rounding(np.ones((2, 1))) == 0.0
    for small, open_ in ((2.9 * EPS, True), (3.1 * EPS, False)):  # the cutoff is 2 eps, kept to eps beyond
        svd, Y = arrays.thin_svd(np.diag([1.0, small])), np.ones((2, 1))
        assert svd.rank == 2 and svd.near_cutoff is open_ and (svd.rounding(Y) == math.inf) is open_
        assert svd.rounding(Y, 1e-3) < 1e-9  # at lam > 0 nothing hangs on the rank


@pytest.mark.parametrize(
    "kept, cut, rtol, near",
    [
        (1.0, 0.0, 1e-3, False),
        (1e-3 + EPS, 0.0, 1e-3, True),
        (1e-3 + 2 * EPS, 0.0, 1e-3, False),
        (1.0, 1e-3 - EPS, 1e-3, True),
        (1.0, 1e-3 - 2 * EPS, 1e-3, False),
        (1.0, EPS / 2, EPS, True),  # half the cutoff, where eps is more than the other half
        (1.0, 0.49 * EPS, EPS, False),
        (1.0, 1.4 * EPS, 2.5 * EPS, False),
        (1.0, 1.5 * EPS, 2.5 * EPS, True),
        (1e-9, 1e-9, 0.0, False),  # no cutoff, no question
    ],
)
def test_a_rank_is_open_where_a_singular_value_is_within_precision_of_the_cutoff(kept, cut, rtol, near):
    svd = arrays.thin_svd(np.diag([4.0, 2.0]))._replace(s=4 * np.array([1.0, kept]), next=4 * cut, rtol=rtol)
    assert svd.near_cutoff is near
    assert svd._replace(s=svd.s[:0]).near_cutoff is False


def test_last_bits_are_eps_of_the_norm_and_the_smallest_number_of_each_entry():
    tiny = 2.0**-1074
    assert arrays.last_bits(np.zeros((2, 2))) == 2 * tiny and arrays.last_bits(np.zeros((3, 3))) == 3 * tiny
    assert arrays.last_bits(np.array([[3.0, 4.0]])) == 5 * EPS
    assert arrays.last_bits(np.full((1, 1), 1.0, dtype="float32")) == pytest.approx(2.0**-23, rel=1e-12, abs=0)
    assert arrays.last_bits(np.zeros((1, 1), dtype="float32")) == 2.0**-149


def test_what_overflows_or_loses_every_digit_is_refused():
    W, made = np.array([[3.0], [4.0]]), np.ones((1, 1))
    arrays.check_finite(result=made, other=W)
    for bad in (np.inf, np.nan):
        with pytest.raises(ValueError, match="the result overflows float64: scale"):
            arrays.check_finite(first=made, result=np.array([[1.0, bad]]))
        with pytest.raises(ValueError, match="the result overflows float64: scale"):
            arrays.check_kept(W, 0.0, np.array([[1.0, bad]]))
    arrays.check_kept(W, 0.0, made), arrays.check_kept(W, 0.5, made)
    arrays.check_kept(W, 2.4, made, 0.5), arrays.check_kept(0 * W, 0.09, made)
    for model, lost, allowed in ((W, 0.51, 0.1), (W, 2.6, 0.5), (0 * W, 0.11, 0.1), (W, math.nan, 0.1)):
        with pytest.raises(ValueError, match="rounding in float64 costs about a fraction"):
            arrays.check_kept(model, lost, made, allowed)
    with pytest.raises(ValueError, match="costs about a fraction 0.1 "):
        arrays.check_kept(W, 0.51, made)


def test_what_is_no_plain_dense_array_is_refused_by_name():
    one = np.ones((1, 1))
    arrays.check_dense(A=one, B=[1.0], C=3)
    for odd, message in ((np.ma.masked_array(one), "B is masked: fill"), (one.view(np.matrix), "B is a np.matrix")):
        with pytest.raises(TypeError, match=message):
            arrays.check_dense(A=one, B=odd)
        with pytest.raises(TypeError, match=message):
            arrays.check_arrays(A=one, B=odd)
    torch = pytest.importorskip("torch")
    arrays.check_dense(A=torch.ones(1, 1))
    for odd, message in (
        (torch.ones(1, 1).to_sparse(), r"B is sparse_coo: pass its to_dense\(\)"),
        (torch.ones(1, 1, device="meta"), "B is on the meta device"),
    ):
        with pytest.raises(TypeError, match=message):
            arrays.check_dense(A=torch.ones(1, 1), B=odd)
