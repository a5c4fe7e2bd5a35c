"""ddref.statistics against naive sums, scikit-learn, models trained on the rows themselves, and damaged files."""

import copy
import math
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import EPS, conditioned, error, numpy64
from ddref import files, krr, npz
from ddref.measure import tolerance
from ddref.statistics import Statistics, accumulate, loaders, stream
from ddref.statistics import rows as rows_file
from ddref.statistics import sums as sums_file
from ddref.statistics.rows import FileRows, Lazy


def sums(Phi, Y):
    """The obvious twin: loops over samples would do the same, more slowly. Long sums need the longer numbers."""
    Phi, Y = (numpy64(A).astype(np.longdouble) for A in (Phi, Y))
    found = np.einsum("ni,nj->ij", Phi, Phi), np.einsum("ni,nj->ij", Phi, Y), np.einsum("nj,nj->", Y, Y)
    return tuple(A.astype(float) for A in found)


def agree(s, Phi, Y, slack=1.0):
    """Whether `s` holds the statistics of these rows, up to `slack` * eps."""
    G, B, yy = sums(Phi, Y)
    tol = tolerance(max(1.0, slack), "float64")
    size = math.sqrt(np.trace(G) * yy) if len(numpy64(Phi)) else 1.0  # of B, which may cancel in itself
    return (
        s.n == len(Phi)
        and np.linalg.norm(numpy64(s.G) - G) <= tol * np.linalg.norm(G)
        and np.linalg.norm(numpy64(s.B) - B) <= tol * size
        and abs(s.yy - yy) <= tol * yy
    )


def rows(rng, n=60, p=5, k=2):
    return rng.normal(size=(n, p)), rng.normal(size=(n, k))


# -- sums


@pytest.mark.parametrize("chunk", [1, 7, 60, 4096])
def test_sums_are_those_of_a_loop_for_every_library_and_chunk(nx, rng, chunk):
    Phi, Y = (nx.asarray(A) for A in rows(rng))
    s = Statistics(5, 2, chunk=chunk).update(Phi[:25], Y[:25]).update(Phi[25:], Y[25:])
    assert agree(s, Phi, Y)
    for A in (s.G, s.B, s.solve(0.1)):
        assert type(A) is type(Phi) and A.device == Phi.device and str(A.dtype).endswith("float64")
    assert np.array_equal(numpy64(s.G), numpy64(s.G).T)


@st.composite
def histories(draw):
    """Batches of any shape, scale, dtype and memory layout, and the order in which they come, go and merge."""
    p, k = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    limit = 10 if dtype == "float32" else 70
    scale = 10.0 ** draw(st.integers(-limit, limit))
    batches = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 9))
        Phi, Y = (scale * rng.normal(size=(n, p))).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
        layout = draw(st.sampled_from(["C", "F", "strided", "reversed"]))
        if layout == "F":
            Phi = np.asfortranarray(Phi)
        elif layout == "strided":
            Phi = np.repeat(Phi, 2, axis=1)[:, ::2]
        elif layout == "reversed":
            Phi, Y = Phi[::-1], Y[::-1]
        batches.append((Phi, Y))
    removed = draw(st.sets(st.integers(0, len(batches) - 1)))
    return p, k, batches, removed, draw(st.integers(1, 10)), draw(st.sampled_from(["numpy", "torch"]))


@settings(max_examples=200, deadline=None)
@given(histories())
def test_adding_removing_and_merging_give_the_sums_of_what_is_left(case):
    p, k, batches, removed, chunk, library = case
    if library == "torch":
        torch = pytest.importorskip("torch")
        batches = [tuple(torch.tensor(A.copy()) for A in batch) for batch in batches]
    before = [tuple(numpy64(A).copy() for A in batch) for batch in batches]
    one_by_one = Statistics(p, k, chunk=chunk)
    for batch in batches:
        one_by_one.update(*batch)
    merged = sum(Statistics(p, k).update(*batch) for batch in batches)
    for i in sorted(removed):
        one_by_one.remove(*batches[i])
        merged = merged - Statistics(p, k, chunk=chunk).update(*batches[i])
    left = [before[i] for i in range(len(batches)) if i not in removed]
    Phi, Y = (np.concatenate(A) for A in zip(*left, strict=True)) if left else (np.zeros((0, p)), np.zeros((0, k)))
    largest = sum(np.sum(A**2) for batch in before for A in batch)
    slack = 2 * largest / min((np.sum(A**2) for A in (Phi, Y)), default=1.0) if left else 1.0
    for s in (one_by_one, merged):
        assert agree(s, Phi, Y, slack=max(slack, 4 * s.cancellation))
        assert left or (s.n, s.yy, s.cancellation, numpy64(s.G).any(), numpy64(s.B).any()) == (0, 0, 1, 0, 0)
    for old, new in zip(before, batches, strict=True):  # inputs unchanged
        assert all(np.array_equal(a, numpy64(b)) for a, b in zip(old, new, strict=True))


def test_the_last_samples_may_be_smaller_than_the_rounding_that_others_left(tmp_path):
    Phi, large, small = np.ones((1, 1)), np.full((1, 1), 1e8), np.full((1, 1), 1e-3)
    s = Statistics(1, 1).update(Phi, large).update(Phi, small).remove(Phi, large)
    assert s.yy == 0  # 1e-6 went with the 1e16
    s.save(tmp_path / "s.npz")
    for one in (Statistics.load(tmp_path / "s.npz"), s):
        assert one.remove(Phi, small).n == 0
    with pytest.raises(ValueError, match="would become -1e-06: these targets were not among the samples"):
        Statistics(1, 1).update(Phi, small).update(Phi, 0 * small).remove(Phi, np.sqrt(2) * small)


def test_float32_batches_are_summed_in_float64(rng):
    Phi, Y = (A.astype("float32") for A in rows(rng, 3000, 20))
    s = Statistics(20, 2).update(Phi, Y)
    assert error(s.G, sums(Phi, Y)[0]) < 1e-14 < 1e-8 < error(Phi.T @ Phi, sums(Phi, Y)[0])


def test_float32_products_have_the_error_the_documentation_states(nx, rng):
    Phi, Y = rng.normal(size=(20000, 20)), rng.normal(size=(20000, 2))
    s = Statistics(20, 2, products="float32")
    if nx.dtype != "float32":
        with pytest.raises(TypeError, match='dtype .*float64; products="float32" needs float32'):
            s.update(nx.asarray(Phi), nx.asarray(Y))
        assert s.n == 0
        return
    s.update(nx.asarray(Phi), nx.asarray(Y))
    found = error(s.G, sums(nx.asarray(Phi), nx.asarray(Y))[0])
    assert 1e-9 < found < 1e-6  # float64 would be 1e-16
    assert str(s.G.dtype) == "torch.float64"
    assert error(s.solve(20.0), krr.fit(Phi, Y, 20.0)) < 1e-5


def test_float32_products_keep_the_directions_that_lie_above_their_noise(rng):
    Phi, Y = (A.astype("float32") for A in (conditioned(rng, 400, 60, 1e5, rank=50), rng.normal(size=(400, 2))))
    s, fine = (Statistics(60, 2, products=products).update(Phi, Y) for products in ("float32", "float64"))
    lams = np.array([1e-6, 1e-5, 1e-4, 1e-2])  # of the largest eigenvalue, 1
    errors = [error(W, V) for W, V in zip(s.path(lams), fine.path(lams), strict=True)]
    assert np.all(errors < 100 * 2.0**-23 / lams) and errors[0] < 0.1
    assert all(error(s.solve(lam), W) < 2.0**-23 / lam for lam, W in zip(lams, s.path(lams), strict=True))
    with pytest.warns(UserWarning, match=r"hides \d+ of 60 directions .* that may carry part of the targets"):
        dropped = s.path(lams[:1], rtol=60 * 2.0**-23)[0]  # the rule for float64, with the eps of float32
    assert error(dropped, fine.path(lams[:1])[0]) > 0.5
    one = s.leave_one_out([1e-2], [(Phi, Y)])
    assert one.scores == pytest.approx(fine.leave_one_out([1e-2], [(Phi, Y)]).scores, rel=1e-3)


def test_other_devices_form_the_product_by_blocks():
    torch = pytest.importorskip("torch")
    for p in (1, 5, 127, 128, 300, 600):
        A = torch.randn(40, p, dtype=torch.float64, generator=torch.Generator().manual_seed(p))
        out = torch.full((p, p), math.nan, dtype=torch.float64)
        sums_file.square(A, out)
        assert error(out, A.mT @ A) < 1e-15


def test_arrays_stay_on_their_device_and_float64_is_asked_for_clearly():
    xp = pytest.importorskip("array_api_strict")
    Phi = xp.asarray(np.random.default_rng(0).normal(size=(12, 4)), device=xp.Device("device1"))
    Y = xp.asarray(np.ones((12, 2)), device=xp.Device("device1"))
    s = Statistics(4, 2, chunk=5).update(Phi, Y)
    held = Statistics(4, 2).update(Phi[:3, :], Y[:3, :])
    lams = [0.1, 1.0]
    for A in (s.G, s.B, s.solve(1.0), s.path(lams), s.validation(lams, held).W, s.gcv(lams).W, (s - held).solve(1.0)):
        assert A.device == xp.Device("device1")
    assert s.leave_one_out(lams, [(Phi, Y)]).W.device == xp.Device("device1")
    with pytest.raises(ValueError, match="different devices|kept by"):
        s.update(Phi, xp.asarray(np.ones((12, 2))))
    no64 = xp.Device("no_float64")
    with pytest.raises(ValueError, match="float64, which device .* does not have; move the arrays to the CPU"):
        Statistics(4, 2).update(*(xp.asarray(np.ones((12, j)), dtype=xp.float32, device=no64) for j in (4, 2)))


def test_no_gradient_gets_into_the_sums(rng):
    torch = pytest.importorskip("torch")
    Phi = torch.tensor(rng.normal(size=(6, 3)), requires_grad=True)
    s = Statistics(3, 1).update(Phi, torch.ones(6, 1, dtype=torch.float64))
    assert not s.G.requires_grad and not s.solve(1.0).requires_grad


def test_what_is_returned_is_a_copy(nx, rng):
    Phi, Y = (nx.asarray(A) for A in rows(rng))
    s = Statistics(5, 2).update(Phi, Y)
    for _ in range(2):
        s.G[0, 0], s.B[0, 0] = 1e9, 1e9
    assert agree(s, Phi, Y)
    G = s.G
    s.update(Phi, Y)
    assert agree(s - Statistics(5, 2).update(Phi, Y), Phi, Y, 3) and error(G, sums(Phi, Y)[0]) < 1e-14


def test_addition_leaves_its_terms_alone_and_in_place_changes_one(rng):
    (Phi_1, Y_1), (Phi_2, Y_2) = rows(rng), rows(rng, 9)
    a, b = Statistics(5, 2).update(Phi_1, Y_1), Statistics(5, 2).update(Phi_2, Y_2)
    both = a + b
    assert agree(a, Phi_1, Y_1) and agree(b, Phi_2, Y_2)
    assert agree(both, np.vstack([Phi_1, Phi_2]), np.vstack([Y_1, Y_2]))
    empty = Statistics(5, 2)
    assert agree(both - b, Phi_1, Y_1, 2) and agree(empty + b, Phi_2, Y_2) and agree(b + empty, Phi_2, Y_2)
    kept = a
    a += b
    assert kept is a and a.n == 69 and np.array_equal(a.G, both.G)
    assert agree(copy.deepcopy(b), Phi_2, Y_2) and agree(pickle.loads(pickle.dumps(b)), Phi_2, Y_2)


def test_memory_does_not_depend_on_the_number_of_samples(rng, tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype="float32", shape=(200_000, 20))
    X[:] = rng.normal(size=X.shape)
    Y = np.ones((200_000, 2), dtype="float32")
    s = Statistics(20, 2, chunk=1024)
    tracemalloc.start()
    s.update(X, Y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert s.n == 200_000
    assert peak < 2**20 < X.nbytes / 15  # a chunk in float64 and a few 20 x 20 matrices; the data have 16 MB


def test_an_update_that_is_refused_or_interrupted_changes_nothing(rng, monkeypatch):
    Phi, Y = rows(rng, 50)
    s = Statistics(5, 2, chunk=10).update(Phi, Y)
    broken = Phi.copy()
    broken[45, 3] = np.nan
    with pytest.raises(ValueError, match=r"Phi contains NaN or Inf \(rows 40 to 49\); nothing was changed"):
        s.update(broken, Y)
    assert agree(s, Phi, Y)

    def interrupt(A, out):
        out[:] = math.nan
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sums_file, "square", interrupt)
        s.update(Phi, Y)
    assert agree(s, Phi, Y) and agree(s.update(Phi, Y).remove(Phi, Y), Phi, Y, 4)
    # the library of a refused first batch does not count
    torch = pytest.importorskip("torch")
    fresh = Statistics(5, 2)
    with pytest.raises(ValueError, match="NaN"):
        fresh.update(torch.tensor(broken), torch.tensor(Y))
    assert agree(fresh.update(Phi, Y), Phi, Y)


# -- models


@pytest.mark.parametrize("lam", [0.0, 1e-6, 0.1, 1e3])
def test_solve_is_training_on_the_rows(nx, rng, lam):
    Phi, Y = conditioned(rng, 60, 7, condition=30), rng.normal(size=(60, 3))
    s = Statistics(7, 3).update(nx.asarray(Phi), nx.asarray(Y))
    Phi, Y = numpy64(nx.asarray(Phi)), numpy64(nx.asarray(Y))
    expected = np.linalg.solve(Phi.T @ Phi + lam * np.eye(7), Phi.T @ Y)
    assert error(s.solve(lam), expected) < tolerance((1 + lam) / (1 / 900 + lam), "float64")
    assert error(s.path([lam, 5.0])[0], expected) < tolerance((1 + lam) / (1 / 900 + lam), "float64")
    twin = krr.path(s.G, s.B, [lam])[0]
    assert error(s.path([lam])[0], twin) < tolerance((1 + lam) / (1 / 900 + lam), "float64")


def test_what_rounding_in_the_sums_has_lost_is_said_with_numbers(rng):
    Phi, Y = conditioned(rng, 60, 40, condition=1e10), rng.normal(size=(60, 2))  # squared: 1e20
    s = Statistics(40, 2).update(Phi, Y)
    with pytest.warns(UserWarning, match=r"hides \d+ of 40 directions .*scale the columns, or fit on the data.*lam >= "):
        s.solve(0.0)
    for size in (1e6, 1e9, 1e12):  # one large column hides no other
        large = np.hstack([size * rng.normal(size=(60, 1)), rng.normal(size=(60, 4))])
        s = Statistics(5, 2).update(large, Y)
        for W in (s.solve(1.0), s.path([1.0])[0], s.gcv([1.0]).W):
            assert error(W, krr.fit(large, Y, 1.0)) < 1e-12


def test_null_directions_are_dropped_at_zero(rng):
    Phi, W_0 = conditioned(rng, 40, 9, condition=10, rank=4), rng.normal(size=(9, 2))
    W = Statistics(9, 2).update(Phi, Phi @ W_0).solve(0)
    assert error(W, np.linalg.pinv(Phi) @ (Phi @ W_0)) < tolerance(100, "float64")
    zero = Statistics(3, 1).update(np.zeros((4, 3)), np.ones((4, 1)))
    assert not zero.solve(0).any() and not zero.solve(1.0).any()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(-6, 6))
def test_deleting_samples_is_training_without_them(seed, stay, go, p, exponent):
    rng = np.random.default_rng(seed)
    scale = 10.0**exponent
    Phi, Y = scale * rng.normal(size=(stay + go, p)), rng.normal(size=(stay + go, 2))
    lam = 0.1 * scale**2
    s = Statistics(p, 2).update(Phi, Y).remove(Phi[stay:], Y[stay:])
    G = Phi[:stay].T @ Phi[:stay]
    expected = np.linalg.solve(G + lam * np.eye(p), Phi[:stay].T @ Y[:stay])
    largest = np.linalg.norm(Phi) * np.linalg.norm(Y)  # of B before the removal
    condition = (s.cancellation * np.trace(G) + lam) / lam
    error_in_W = np.linalg.norm(s.solve(lam) - expected)
    assert error_in_W <= tolerance(condition, "float64") * (np.linalg.norm(expected) + largest / (condition * lam))
    again = s.update(Phi[stay:], Y[stay:])
    assert agree(again, Phi, Y, 3 * again.cancellation)


def test_cancellation_says_how_many_digits_a_removal_costs(rng):
    large, Y = 1e4 * rng.normal(size=(50, 4)), rng.normal(size=(50, 1))
    small, T = rng.normal(size=(50, 4)), rng.normal(size=(50, 1))
    s = Statistics(4, 1).update(small, T)
    assert s.cancellation == 1.0
    s.update(large, Y).remove(large, Y)
    lost = error(s.G, sums(small, T)[0])
    assert 1e7 < s.cancellation < 1e9
    assert tolerance(1, "float64") < lost < tolerance(s.cancellation, "float64")
    huge = Statistics(4, 1).update(small, T).update(1e6 * large, Y).remove(1e6 * large, Y)
    with pytest.raises(ValueError, match="fewer than two digits of G are left: it once was .* times larger"):
        huge.solve(1.0)


def test_removing_what_was_never_added_is_refused_where_it_shows(rng):
    Phi, Y = rows(rng, 8)
    s = Statistics(5, 2).update(Phi, Y)
    with pytest.raises(ValueError, match="9 samples cannot be removed: there are 8"):
        s.remove(np.ones((9, 5)), np.ones((9, 2)))
    with pytest.raises(ValueError, match=r"squares of feature \d would become -.*were not among the samples"):
        s.remove(100 * Phi, Y)
    with pytest.raises(ValueError, match=r"\|\|Y\|\|\^2 would become -.*not among the samples"):
        s.remove(Phi, 100 * Y)
    with pytest.raises(ValueError, match="squares of feature"):
        Statistics(5, 2).update(Phi, Y) - Statistics(5, 2).update(2 * Phi, Y)
    assert agree(s, Phi, Y)
    t, V = np.linalg.svd(Phi)[1:]  # along the weakest direction no diagonal entry shows it
    indefinite = s.remove(1.2 * t[-1] * V[-1:], np.zeros((1, 2)))
    for lam in (0.0, 0.1 * t[-1] ** 2):
        with pytest.raises(ValueError, match="not positive .*definite.* removed that had not been added"):
            indefinite.solve(lam)


# -- losses and choices of lam


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8), st.integers(1, 3), st.integers(-8, 8))
def test_the_loss_on_held_out_rows_needs_only_their_sums(seed, n, p, k, exponent):
    rng = np.random.default_rng(seed)
    scale = 10.0**exponent
    Phi, Y, W = scale * rng.normal(size=(n, p)), rng.normal(size=(n, k)), rng.normal(size=(3, p, k)) / scale
    s = Statistics(p, k).update(Phi, Y)
    for V, loss in zip(W, s.squared_loss(W), strict=True):
        terms = np.sum(Y**2) + 2 * np.linalg.norm(Phi @ V) * np.linalg.norm(Y) + np.sum(Phi**2) * np.sum(V**2)
        assert abs(loss - np.sum((Phi @ V - Y) ** 2)) <= tolerance(1, "float64") * terms
        assert s.squared_loss(V) == loss
    assert Statistics(p, k).update(Phi, Phi @ W[0]).squared_loss(W[0]) >= 0  # rounding cannot make it negative


def test_validation_chooses_as_the_rows_would(nx, rng):
    Phi, W_0 = conditioned(rng, 90, 12, condition=100), rng.normal(size=(12, 2))
    Y = Phi @ W_0 + 0.1 * rng.normal(size=(90, 2))
    fit, held = (Statistics(12, 2).update(nx.asarray(Phi[r]), nx.asarray(Y[r])) for r in (slice(60), slice(60, 90)))
    lams = np.logspace(-5, 2, 15)
    choice = fit.validation(lams, held)
    direct = [np.sum((Phi[60:] @ krr.fit(Phi[:60], Y[:60], lam) - Y[60:]) ** 2) / 30 for lam in lams]
    assert choice.scores == pytest.approx(direct, rel=1e-4 if nx.dtype == "float32" else 1e-10)
    assert choice.lam == lams[np.argmin(direct)] and 0 < np.argmin(direct) < 14
    tol = tolerance((1 + choice.lam) / (1e-4 + choice.lam), nx.dtype)
    assert error(choice.W, fit.solve(choice.lam)) < tol
    assert error((fit + held).solve(choice.lam), krr.fit(Phi, Y, choice.lam)) < tol


def naive_gcv(Phi, Y, lam):
    H = Phi @ np.linalg.solve(Phi.T @ Phi + lam * np.eye(Phi.shape[1]), Phi.T)
    return len(Phi) * np.sum((Y - H @ Y) ** 2) / (len(Phi) - np.trace(H)) ** 2


def naive_leave_one_out(Phi, Y, lam):
    errors = 0.0
    for i in range(len(Phi)):
        others = np.arange(len(Phi)) != i
        A = Phi[others].T @ Phi[others] + lam * np.eye(Phi.shape[1])
        errors += np.sum((Y[i] - Phi[i] @ np.linalg.solve(A, Phi[others].T @ Y[others])) ** 2)
    return errors / len(Phi)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 15), st.integers(1, 8), st.integers(1, 3), st.integers(-6, 6))
def test_gcv_and_leave_one_out_equal_their_definitions(seed, n, p, k, exponent):
    rng = np.random.default_rng(seed)
    scale = 10.0**exponent
    Phi, Y = scale * rng.normal(size=(n, p)), rng.normal(size=(n, k))
    lams = [lam * scale**2 for lam in (1e-2, 1.0, 30.0)]
    s = Statistics(p, k, chunk=4).update(Phi, Y)
    batches = [(Phi[i : i + 5], Y[i : i + 5]) for i in range(0, n, 5)]
    gcv, one = s.gcv(lams), s.leave_one_out(lams, batches)
    smallest = 1e-2 / (1e-2 + np.linalg.norm(Phi / scale, 2) ** 2)  # of 1 - h and of the share of Y that is left
    rel = tolerance(1 / smallest**3, "float64")
    assert gcv.scores == pytest.approx([naive_gcv(Phi, Y, lam) for lam in lams], rel=rel)
    assert one.scores == pytest.approx([naive_leave_one_out(Phi, Y, lam) for lam in lams], rel=rel)
    for choice in (gcv, one):
        assert choice.lam == lams[int(np.argmin(choice.scores))]
        assert error(choice.W, krr.fit(Phi, Y, choice.lam)) < tolerance(1 / smallest, "float64")


def test_leave_one_out_takes_the_rows_in_the_library_of_the_batches(nx, rng):
    Phi, Y = (nx.asarray(A) for A in rows(rng, 30))
    found = Statistics(5, 2, chunk=7).update(Phi, Y).leave_one_out([0.1, 1.0], [(Phi, Y)])
    naive = [naive_leave_one_out(numpy64(Phi), numpy64(Y), lam) for lam in (0.1, 1.0)]
    assert found.scores == pytest.approx(naive, rel=1e-10) and type(found.W) is type(Phi)


@pytest.mark.slow
def test_leave_one_out_agrees_with_scikit_learn(rng):
    from sklearn.linear_model import RidgeCV

    Phi, Y, lams = rng.normal(size=(50, 6)), rng.normal(size=(50, 2)), [0.1, 1.0, 10.0, 100.0]
    twin = RidgeCV(alphas=lams, fit_intercept=False, store_cv_results=True).fit(Phi, Y)
    found = Statistics(6, 2).update(Phi, Y).leave_one_out(lams, [(Phi, Y)])
    assert found.scores == pytest.approx(2 * twin.cv_results_.mean(axis=(0, 1)), rel=1e-10)  # means over targets
    assert found.lam == twin.alpha_


def test_choices_that_are_not_defined_are_refused(rng):
    Phi, Y = rows(rng, 5, 5)
    s = Statistics(5, 2).update(Phi, Y)
    with pytest.raises(ValueError, match=r"at lam = 0.0 the model has as many degrees of freedom as samples \(5\)"):
        s.gcv([1.0, 0.0])
    with pytest.raises(ValueError, match="at lam = 0.0 a sample has leverage 1"):
        s.leave_one_out([0.0], [(Phi, Y)])
    with pytest.raises(ValueError, match="rows has 4 samples and these statistics hold 5"):
        s.leave_one_out([1.0], [(Phi[:4], Y[:4])])
    with pytest.raises(TypeError, match="held must be Statistics"):
        s.validation([1.0], (Phi, Y))
    with pytest.raises(ValueError, match="no samples"):
        s.validation([1.0], Statistics(5, 2))
    with pytest.raises(ValueError, match="k = 2, the others k = 1"):
        s.validation([1.0], Statistics(5, 1).update(Phi, Y[:, :1]))


def test_squared_loss_and_accuracy_may_choose_differently(digits):
    Phi, Y, classes = digits
    fit, held = Statistics(64, 10).update(Phi[:1150], Y[:1150]), Statistics(64, 10).update(Phi[1150:], Y[1150:])
    lams = np.logspace(-2, 6, 24)
    by_loss = int(np.argmin(fit.validation(lams, held).scores))
    hits = [np.mean(np.argmax(Phi[1150:] @ W, axis=1) == classes[1150:]) for W in fit.path(lams)]
    assert hits[by_loss] < max(hits)


@pytest.fixture
def digits():
    from ddref import datasets

    data = datasets.digits()
    Phi = datasets.standardize(data.X_train, max_value=16).X_train
    return Phi, datasets.one_hot(data.y_train, 10), data.y_train


def test_digits_are_the_same_streamed_and_at_once(digits):
    Phi, Y, classes = digits
    parts = [(Phi[i : i + 100], classes[i : i + 100]) for i in range(0, len(Phi), 100)]
    s = accumulate(parts, classes=10)
    assert agree(s, Phi, Y)
    W = krr.fit(Phi, Y, 10.0)
    assert error(s.solve(10.0), W) < tolerance((np.linalg.norm(Phi, 2) ** 2 + 10) / 10, "float64")


# -- files


@pytest.fixture
def saved(rng, tmp_path):
    Phi, Y = rows(rng)
    s = Statistics(5, 2).update(Phi, Y)
    s.remove(Phi[:10], Y[:10])
    s.save(tmp_path / "s.npz", note="the first hundred")
    return s, tmp_path / "s.npz"


def test_a_file_gives_back_what_was_saved(nx, saved):
    s, path = saved
    again = Statistics.load(path, like=nx.asarray([1.0]), note="the first hundred")
    assert (again.p, again.k, again.n, again.yy, again.cancellation) == (5, 2, 50, s.yy, s.cancellation)
    assert np.array_equal(numpy64(again.G), s.G) and np.array_equal(numpy64(again.B), s.B)
    assert type(again.G) is type(nx.asarray([1.0])) and again.G.device == nx.asarray([1.0]).device
    again.update(nx.asarray(np.ones((1, 5))), nx.asarray(np.ones((1, 2))))
    assert again.n == 51
    again.save(path)
    assert Statistics.load(path).n == 51 and [file.name for file in path.parent.iterdir()] == ["s.npz"]
    Statistics(3, 1).save(path)
    assert Statistics.load(path).n == 0


def test_a_save_that_fails_leaves_the_old_file(saved, monkeypatch):
    s, path = saved
    before = path.read_bytes()

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(npz, "_write_array", full)
    with pytest.raises(OSError, match="No space left"):
        s.save(path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["s.npz"]


def test_a_file_cut_anywhere_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for cut in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="s.npz does not hold statistics"):
            Statistics.load(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_refused_or_harmless(tmp_path, data):
    rng = np.random.default_rng(0)
    s, path = Statistics(3, 1).update(*rows(rng, 9, 3, 1)), tmp_path / "s.npz"
    if not path.exists():
        s.save(path)
    content = bytearray(path.read_bytes())
    place, change = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    content[place] ^= change
    (tmp_path / "t.npz").write_bytes(content)
    try:
        again = Statistics.load(tmp_path / "t.npz")
    except ValueError as refused:
        assert "does not hold statistics" in str(refused)
        return
    assert (again.n, again.yy, again.products) == (s.n, s.yy, s.products)  # times and the like in the archive
    assert np.array_equal(again.G, s.G) and np.array_equal(again.B, s.B)


def rewritten(path, **changes):
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **{name: A for name, A in {**arrays, **changes}.items() if A is not None})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": np.int64(2)}, "its format is 2, this version reads 1"),
        ({"format": None}, "not written by Statistics.save"),
        ({"B": None}, "it lacks B"),
        ({"G": np.ones((4, 4))}, r"float64 \(4, 4\)"),
        ({"G": np.ones((50, 50))}, "bytes, unpacked, are more than"),
        ({"G": np.ones((5, 5), dtype="int64")}, "G and B are int64"),
        ({"G": np.triu(np.ones((5, 5)))}, "not a sum of squares"),
        ({"G": -np.eye(5)}, "not a sum of squares"),
        ({"G": 1e9 * np.eye(5)}, "not a sum of squares"),
        ({"G": np.full((5, 5), np.nan)}, "NaN or Inf"),
        ({"products": np.array("float16")}, "of an unknown kind"),
        ({"shape": np.array([5, 2, -1])}, "impossible"),
        ({"shape": np.array([5, 2, 0])}, "sums and no samples"),
        ({"shape": np.array([10**12, 2, 1])}, r"G and B are float64 \(5, 5\)"),
        ({"shape": np.array([5.0, 2.0, 1.0])}, "of another kind"),
        ({"numbers": np.array([-1.0, 1.0, 1.0])}, "impossible"),
        ({"numbers": np.array([np.nan, 1.0, 1.0])}, "impossible"),
        ({"note": np.array("x" * 10**6)}, "more than .* max_bytes"),
        ({"note": np.array({"a": 1}, dtype=object)}, "only numbers and texts"),
    ],
)
def test_a_file_of_another_content_is_refused(saved, changes, message):
    _, path = saved
    rewritten(path, **changes)
    with pytest.raises(ValueError, match=message):
        Statistics.load(path)


def test_files_of_another_kind_are_refused(saved, tmp_path):
    _, path = saved
    with pytest.raises(ValueError, match="the statistics of 'the first hundred', not 'the rest'"):
        Statistics.load(path, note="the rest")
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"G": 1}))
    (tmp_path / "a.txt").write_text("G")
    np.savez(tmp_path / "a.npz", W=np.ones(3))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb:  # 100 MB of zeros in 100 KB
        bomb.writestr("format.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + b" " * 118 + bytes(10**8))
    for file in tmp_path.glob("a.*"):
        with pytest.raises(ValueError, match=f"{file.name} does not hold statistics"):
            Statistics.load(file)
    with pytest.raises(ValueError, match="more than .* max_bytes"):
        Statistics.load(tmp_path / "bomb.npz")
    with pytest.raises(FileNotFoundError):
        Statistics.load(tmp_path / "none.npz")


# -- accumulate


def test_any_iterable_of_batches_will_do(rng, tmp_path):
    torch = pytest.importorskip("torch")
    X, classes = rng.normal(size=(257, 6)), rng.integers(0, 4, 257)
    Y = np.eye(4)[classes]
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(classes)), batch_size=10, shuffle=True,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for s in (
        accumulate([(X, Y)]),
        accumulate((X[i : i + 3], Y[i : i + 3]) for i in range(0, 257, 3)),
        accumulate(((mapped[i : i + 50], classes[i : i + 50]) for i in range(0, 257, 50)), classes=4),
        accumulate(loader, classes=4),
        accumulate([(X[:200], Y[:200])], into=Statistics(6, 4).update(X[200:], Y[200:])),
    ):
        assert agree(s, X, Y)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 40))
def test_batches_of_any_sizes_are_put_together_without_loss(seed, sizes, chunk):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(sum(sizes), 3)), rng.normal(size=(sum(sizes), 2))
    space, seen = np.empty((30, 3)), []

    def reused():  # a loader may fill one array again and again
        start = 0
        for size in sizes:
            space[:size] = X[start : start + size]
            yield space[:size], Y[start : start + size]
            start += size

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", chunk)
        s = accumulate(reused(), lambda X: 2 * X[:, :2], progress=seen.append)
    assert agree(s, 2 * X[:, :2], Y)
    assert seen == list(np.cumsum(sizes))


def test_small_batches_do_not_cost_an_update_each(rng, monkeypatch):
    updates = []
    update = Statistics.update
    monkeypatch.setattr(Statistics, "update", lambda s, Phi, Y: updates.append(len(Phi)) or update(s, Phi, Y))
    X, Y = rows(rng, 10_000)
    accumulate((X[i : i + 8], Y[i : i + 8]) for i in range(0, 10_000, 8))
    assert updates == [4096, 4096, 1808]


def test_batches_of_two_dtypes_are_not_rounded_into_each_other(rng):
    X, Y = rows(rng, 40)
    X[20:] += 1e-9 * rng.normal(size=(20, 5))
    halves = [(X[:20].astype("float32"), Y[:20].astype("float32")), (X[20:], Y[20:])]
    s = accumulate(halves)
    assert agree(s, np.vstack([numpy64(X[:20].astype("float32")), X[20:]]), np.vstack([numpy64(halves[0][1]), Y[20:]]))


def test_a_network_may_be_the_feature_map(rng):
    torch = pytest.importorskip("torch")
    phi = torch.nn.Linear(5, 4, dtype=torch.float64)
    X, Y = (torch.tensor(A) for A in rows(rng))
    s = accumulate([(X[:30], Y[:30]), (X[30:], Y[30:])], phi)
    assert agree(s, phi(X).detach(), Y) and not s.G.requires_grad


TWO, ONES = np.ones((2, 3)), np.ones((3, 1))


def bad_second(*batch):
    return [(TWO, np.ones((2, 1))), batch]


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: accumulate([]), ValueError, "no batches"),
        (lambda: accumulate([TWO]), TypeError, r"batch 1: a batch must be a pair \(X, Y\), got ndarray"),
        (lambda: accumulate([(TWO, np.zeros(2, dtype=int))]), ValueError, "batch 1: Y must have 2 dim.*classes="),
        (lambda: accumulate([(TWO, np.zeros(2))], classes=2), TypeError, "batch 1: .*integers"),
        (lambda: accumulate([(TWO, np.array([0, 2]))], classes=2), ValueError, "batch 1: .*0..1, they"),
        (lambda: accumulate([(TWO, np.array([0, 2]))], classes=0), ValueError, "classes = 0"),
        (lambda: accumulate(bad_second(np.ones((2, 4)), ONES)), ValueError, "batch 2: Phi has 4 columns.*p = 3"),
        (lambda: accumulate(bad_second(TWO, ONES)), ValueError, "batch 2: Phi has 2 rows and Y has 3"),
        (lambda: accumulate(bad_second(TWO, np.nan * ONES[:2])), ValueError, "batches 1 to 2: Y"),
        (lambda: accumulate([(np.ones(3), np.ones((3, 1)))]), ValueError, r"batch 1: Phi must have 2 dimensions"),
        (lambda: accumulate([(np.ones((3, 2), dtype=int), np.ones((3, 1)))]), TypeError, "batch 1: Phi has dtype"),
        (lambda: accumulate([([[1.0]], np.ones((1, 1)))]), TypeError, "batch 1: "),
    ],
)  # fmt: skip
def test_a_bad_batch_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_batches_before_a_bad_one_stay_counted(rng):
    X, Y = rows(rng, 5000)
    s = Statistics(5, 2)
    with pytest.raises(ValueError, match="batch 2: Phi contains NaN"):
        accumulate([(X, Y), (np.full((4096, 5), np.nan), np.ones((4096, 2)))], into=s)
    assert agree(s, X, Y)


# -- bad input

PHI = np.ones((3, 2))


def ready():
    return Statistics(2, 1).update(PHI, ONES)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: Statistics(0, 1), ValueError, "p = 0 must be at least 1"),
        (lambda: Statistics(2, -1), ValueError, "k = -1 must be at least 1"),
        (lambda: Statistics(2.5, 1), TypeError, "p must be an integer, got 2.5"),
        (lambda: Statistics(2, 1, chunk=0), ValueError, "chunk = 0"),
        (lambda: Statistics(2, 1, products="half"), ValueError, "products = 'half' must be"),
        (lambda: Statistics(2, 1, like=[1.0]), TypeError, "like must be a NumPy or PyTorch array, got list"),
        (lambda: ready().update(np.array([[np.inf, 1.0]]), np.ones((1, 1))), ValueError, "Phi contains NaN or Inf"),
        (lambda: ready().update(PHI, np.full((3, 1), np.nan)), ValueError, "Y contains NaN or Inf"),
        (lambda: ready().update(np.ones(2), ONES), ValueError, r"Phi must have 2 dimensions.*\(2,\)"),
        (lambda: ready().update(PHI, np.ones(3)), ValueError, "Y must have 2 dimensions"),
        (lambda: ready().update(np.ones((0, 2)), np.ones((0, 1))), ValueError, r"Phi is empty.*\(0, 2\)"),
        (lambda: ready().update(np.ones((3, 4)), ONES), ValueError, "Phi has 4 columns and these .* have p = 2"),
        (lambda: ready().update(PHI, np.ones((3, 2))), ValueError, "Y has 2 columns and these statistics have k = 1"),
        (lambda: ready().update(PHI, np.ones((4, 1))), ValueError, "Phi has 3 rows and Y has 4"),
        (lambda: ready().update(PHI.astype(int), ONES), TypeError, "Phi has dtype int64; convert it"),
        (lambda: ready().update(PHI, ONES.astype("float32")), TypeError, "differ in dtype: float64, float32"),
        (lambda: ready().update([[1.0, 2.0]], [[1.0]]), TypeError, "NumPy or PyTorch arrays"),
        (lambda: ready().update(1e200 * PHI, ONES), ValueError, "squares of Phi or Y overflow float64: scale them"),
        (lambda: ready().update(1e-200 * PHI, ONES), ValueError, "squares of Phi underflow float64 to 0"),
        (lambda: Statistics(2, 1, products="float32").update((1e30 * PHI).astype("float32"), ONES.astype("float32")),
         ValueError, "overflow float32"),
        (lambda: ready().solve(-1.0), ValueError, "lam = -1.0 must be finite and not negative"),
        (lambda: ready().solve("much"), TypeError, "lam must be a number"),
        (lambda: ready().solve(1.0, rtol=-1), ValueError, "rtol = -1.0"),
        (lambda: ready().path([]), ValueError, "lams is empty"),
        (lambda: ready().path(1.0), TypeError, "lams must be a sequence"),
        (lambda: ready().gcv([1.0, math.nan]), ValueError, "a value of lams = nan"),
        (lambda: Statistics(2, 1).solve(1.0), ValueError, "no samples in these statistics"),
        (lambda: Statistics(2, 1).gcv([1.0]), ValueError, "no samples in these statistics"),
        (lambda: Statistics(2, 1).squared_loss(PHI), ValueError, "no samples in these statistics"),
        (lambda: ready().squared_loss(ONES), ValueError, r"W has shape \(3, 1\), these statistics need \(2, 1\)"),
        (lambda: ready() + Statistics(3, 1), ValueError, "p = 2, the others p = 3"),
        (lambda: ready() + Statistics(2, 1, products="float32"), ValueError, "products = float64, the others"),
        (lambda: ready() + 1.0, TypeError, "unsupported operand"),
        (lambda: ready() - 1.0, TypeError, "unsupported operand"),
        (lambda: ready().all_reduce(), ValueError, "torch.distributed is not initialised"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(call, kind, message):
    if "all_reduce" in call.__code__.co_names:
        pytest.importorskip("torch")
    with pytest.raises(kind, match=message):
        call()


def test_libraries_do_not_mix_unless_asked_to():
    torch = pytest.importorskip("torch")
    tensors = torch.ones(3, 2, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64)
    with pytest.raises(TypeError, match="Phi is an array of torch cpu and these statistics are kept by numpy.*like="):
        ready().update(*tensors)
    with pytest.raises(TypeError, match="one library.*Phi: numpy.ndarray, Y: torch.Tensor"):
        ready().update(PHI, tensors[1])
    with pytest.raises(TypeError, match="kept by numpy and by torch cpu do not mix"):
        ready() + Statistics(2, 1).update(*tensors)
    with pytest.raises(TypeError, match="W is an array of torch cpu"):
        ready().squared_loss(tensors[0][:2, :1])
    assert Statistics(2, 1, like=tensors[0]).update(*tensors).n == 3


@pytest.mark.parametrize("products, eps", [("float64", 2.0**-52), ("float32", 2.0**-23)])
@pytest.mark.parametrize("excess, refused", [(0.9, False), (1.1, True)])
def test_a_removal_may_leave_a_hundred_roundings_below_zero_and_no_more(products, eps, excess, refused):
    """Sums of squares of 1 twice: 200 eps. Of features and of targets, each judged by itself."""
    more = np.array([[np.sqrt(1 + excess * 200 * eps)], [0.0]]).astype(products)
    one, nothing = np.array([[1.0], [0.0]]).astype(products), np.zeros((1, 1), products)
    for Phi, Y, words in ((more, one, "squares of feature 0 would become -"), (one, more, r"\|\|Y\|\|\^2 would become -")):
        s = Statistics(1, 1, products=products).update(np.r_[one, nothing], np.r_[one, nothing])
        if refused:
            with pytest.raises(ValueError, match=words):
                s.remove(Phi, Y)
            assert s.n == 3 and s.G[0, 0] == 1.0 and s.yy == 1.0
        else:
            s.remove(Phi, Y)
            assert s.n == 1 and s.yy >= 0.0


@pytest.mark.parametrize("products, eps", [("float64", 2.0**-52), ("float32", 2.0**-23)])
@pytest.mark.parametrize("part, refused", [(0.9, False), (1.1, True)])
def test_models_need_two_digits_of_what_a_removal_left(products, eps, part, refused):
    """Cancellation times eps of the products is at most 1e-2."""
    large = np.array([[2.0 ** round(0.5 * math.log2(1e-2 / eps))]]).astype(products)
    rest = np.sqrt(2 * large**2 * eps / 1e-2 / part)
    s = Statistics(1, 1, products=products).update(rest, rest)
    s.update(large, large).remove(large, large)
    assert s.cancellation * eps == pytest.approx(part * 1e-2, rel=0.05)
    if refused:
        with pytest.raises(ValueError, match="fewer than two digits of G are left"):
            s.solve(1.0)
    else:
        assert s.solve(0.0)[0, 0] == pytest.approx(1.0, rel=0.05)


def test_only_the_zero_that_sum_starts_from_is_added(rng):
    s = Statistics(5, 2).update(*rows(rng))
    assert sum([s, s]).n == 120 and np.array_equal((0 + s).G, s.G)
    for other in (3, 0.0, "0", None):
        with pytest.raises(TypeError):
            other + s


def test_sums_that_overflow_together_are_refused_and_nothing_is_changed():
    large = np.array([[1e154]])
    s = Statistics(1, 1).update(large, np.ones((1, 1)))
    with pytest.raises(ValueError, match="the sums overflow float64: scale the features; nothing was changed"):
        s += Statistics(1, 1).update(large, np.ones((1, 1)))
    assert s.n == 1 and s.G[0, 0] == 1e154**2


def test_after_the_last_sample_is_removed_nothing_is_remembered_of_its_size(rng):
    Phi, Y = rows(rng)
    s = Statistics(5, 2).update(1e6 * Phi, 1e6 * Y).remove(1e6 * Phi, 1e6 * Y)
    assert s.n == 0 and s.yy == 0.0 and s.cancellation == 1.0
    assert s.update(Phi, Y).cancellation == 1.0 and agree(s, Phi, Y)


def test_sums_of_any_library_are_returned_as_they_are(rng):
    xp = pytest.importorskip("array_api_strict")
    Phi, Y = rows(rng)
    s = Statistics(5, 2).update(xp.asarray(Phi), xp.asarray(Y))
    assert error(np.asarray(s.G), Phi.T @ Phi) < 1e-14 and error(np.asarray(s.B), Phi.T @ Y) < 1e-13


# -- loaders of PyTorch: what is repeated or left out is said, with the numbers


class Rows:
    """A data set of PyTorch: 10 samples of 2 features and a target."""

    X = np.random.default_rng(0).normal(size=(10, 3)).astype("float64")

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i, :2], self.X[i, 2:]


def streamed(length=None, shared=False):
    """The same rows as an IterableDataset, which each worker gives as a whole unless it is shared out."""
    torch = pytest.importorskip("torch")

    class Streamed(torch.utils.data.IterableDataset):
        def __iter__(self):
            worker = torch.utils.data.get_worker_info()
            share = slice(worker.id, None, worker.num_workers) if shared and worker else slice(None)
            order = np.random.default_rng(worker.id if worker else 0).permutation(10)  # of each worker another one
            return ((x[:2], x[2:]) for x in (Rows.X if shared else Rows.X[order])[share])

    if length is not None:
        Streamed.__len__ = lambda self: length
    return Streamed()


def distributed(rank, count, **options):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DistributedSampler(Rows(), count, rank, shuffle=False, **options)


def sampled(name, **options):
    torch = pytest.importorskip("torch")
    return getattr(torch.utils.data, name)(**options)


LOADERS = {
    "padded": (lambda: {"sampler": distributed(1, 4)}, 3, "DistributedSampler repeats 2 of 10 samples, .*Subset"),
    "cut": (lambda: {"sampler": distributed(0, 4, drop_last=True)}, 2, "DistributedSampler leaves out 2 of 10 samples"),
    "drop_last": (lambda: {"drop_last": True, "batch_size": 4}, 8, "drop_last=True leaves out 2 of 10 samples"),
    "drawn": (
        lambda: {"sampler": sampled("RandomSampler", data_source=Rows(), replacement=True, num_samples=7)},
        7,
        "RandomSampler draws 7 of 10 samples with replacement",
    ),
    "batches": (
        lambda: {"batch_sampler": [[0, 1], [1, 2], *([i] for i in range(10))]},
        14,
        "14 samples were counted, the data set says 10: some count several times",
    ),
    "too many": (lambda: {"dataset": streamed(7)}, 10, "10 samples were counted, the data set says 7: some count"),
    "too few": (
        lambda: {"dataset": streamed(10), "drop_last": True, "batch_size": 4},
        8,
        r"8 samples were counted, the data set says 10: the others are left out \(drop_last=True\)",
    ),
    "who knows": (
        lambda: {"dataset": streamed(), "drop_last": True, "batch_size": 4},
        8,
        "8 samples were counted; drop_last=True may have left out more",
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", LOADERS)
def test_what_a_loader_repeats_or_leaves_out_is_said_with_the_numbers(name):
    torch = pytest.importorskip("torch")
    options, n, words = LOADERS[name]
    with pytest.warns(UserWarning, match=words):
        s = accumulate(torch.utils.data.DataLoader(**{"dataset": Rows(), **options()}))
    assert s.n == n


@pytest.mark.filterwarnings("error")
def test_a_loader_that_gives_every_sample_once_is_summed_without_a_word():
    torch = pytest.importorskip("torch")
    parts = []
    for rank in range(4):
        share = torch.utils.data.Subset(Rows(), range(rank, 10, 4))  # as the warning says
        parts.append(accumulate(torch.utils.data.DataLoader(share, batch_size=4, shuffle=True)))
    for rank in range(2):  # nothing to pad
        parts.append(accumulate(torch.utils.data.DataLoader(Rows(), sampler=distributed(rank, 2))))
    for more in ({}, {"dataset": streamed(10)}, {"drop_last": True}):
        parts.append(accumulate(torch.utils.data.DataLoader(**{"dataset": Rows(), "batch_size": 5, **more})))
    assert sum(parts).n == 50 and agree(sum(parts[:4]), Rows.X[:, :2], Rows.X[:, 2:])


@pytest.mark.slow
@pytest.mark.parametrize("length", [None, 10])
def test_workers_that_each_give_all_are_told_from_those_that_share(length, recwarn):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(streamed(length, shared=True), batch_size=4, num_workers=3)
    assert accumulate(loader).n == 10
    assert not [one for one in recwarn.list if "samples were counted" in str(one.message)]  # PyTorch counts CPUs
    loader = torch.utils.data.DataLoader(streamed(length), batch_size=4, num_workers=3)
    with pytest.warns(UserWarning, match="30 samples were counted, each at least 3 times: .*the 3 workers"):
        assert accumulate(loader).n == 30


def test_rows_are_watched_in_a_part_of_them_that_stays_small(rng, monkeypatch):
    monkeypatch.setattr(loaders, "MOST", 50)
    rows = loaders.Repeats()
    Phi = rng.normal(size=(2000, 2))
    for order in (np.arange(2000), rng.permutation(2000)):
        rows.add(Phi[order], Phi[order])
    assert rows.least == 2 and 0 < len(rows.counts) <= 50 and set(rows.counts.values()) == {2}
    rows.add(rng.normal(size=(500, 2)), rng.normal(size=(500, 2)))
    assert rows.least == 1


def test_autocast_is_refused_by_name():
    torch = pytest.importorskip("torch")
    X, Y = torch.ones(8, 3), torch.ones(8, 1)
    s = Statistics(3, 1).update(X, Y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for products in ("float64", "float32"):
            with pytest.raises(TypeError, match="Phi is torch.float32, its products would be torch.bfloat16"):
                Statistics(3, 1, products=products).update(X, Y)
        with pytest.raises(TypeError, match="batch 1: Phi has dtype torch.bfloat16"):
            accumulate([(X, Y)], torch.nn.Linear(3, 2))
        W = s.solve(1.0)
    assert W.dtype == torch.float64 and torch.equal(W, s.solve(1.0))


# -- rows that stay in their file


def test_rows_of_a_file_know_what_arrays_know(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(rows_file, "BLOCK", 8 * 5 * 7)
    A = np.sort(rng.normal(size=(101, 5)), axis=0) * [1, 1e-3, 1e3, 1, 0] + [1e6, 0, 0, 1, 2]
    np.save(tmp_path / "A.npy", A)
    seen = []
    found = FileRows(tmp_path / "A.npy", progress=lambda done, n: seen.append((done, n)))
    assert seen == [(min(i, 101), 101) for i in range(7, 108, 7)] and found.shape == A.shape
    assert np.array_equal(np.concatenate(list(found.blocks())), A) and np.array_equal(found[[3, 99]], A[[3, 99]])
    for name in ("min", "max", "mean", "std"):
        for axis in (0, None):
            kept, expected = getattr(found, name)(axis=axis), getattr(A, name)(axis=axis)
            np.testing.assert_allclose(kept, expected, rtol=1e-13 if name != "std" else 1e-9, atol=1e-300)
    assert found.std(axis=0)[4] == 0.0
    assert files.digest(found, A[:, 0]) == files.digest(A, A[:, 0])
    A[77, 3] = math.inf
    np.save(tmp_path / "A.npy", A)
    with pytest.raises(ValueError, match="A.npy: row 77 contains NaN or Inf, in column 3 of 5"):
        FileRows(tmp_path / "A.npy")


def test_what_is_lazy_is_made_for_the_rows_asked_for():
    calls = []
    lazy = Lazy(np.arange(6.0), lambda a: calls.append(len(a)) or np.stack([a, -a], axis=1))
    assert lazy.shape == (6, 2) and len(lazy) == 6
    assert np.array_equal(lazy[2:4, :], [[2, -2], [3, -3]]) and np.array_equal(lazy[[5], :], [[5, -5]])
    assert calls == [1, 2, 1]
# -- thresholds, both sides of each


def one_sum(G, touched, n=1, **options):
    """Statistics of one feature and one target with these sums."""
    s = Statistics(1, 1, **options).update(np.ones((1, 1), options.get("products")), np.ones((1, 1), options.get("products")))
    s._G[0, 0], s._touched, s.n = G, touched, n
    return s


def test_two_digits_are_enough_and_no_sum_of_squares_is_infinitely_cancelled():
    assert one_sum(1.0, 1e-2 * 2.0**52).solve(0.0)[0, 0] == 1.0
    with pytest.raises(ValueError, match="fewer than two digits"):
        one_sum(1.0, 1.001e-2 * 2.0**52).solve(0.0)
    Phi, Y = np.array([[1.0], [0.0]]), np.ones((2, 1))
    s = Statistics(1, 1).update(Phi, Y).remove(Phi[:1], Y[:1])
    assert s.n == 1 and s.cancellation == math.inf
    with pytest.raises(ValueError, match="it once was inf times larger"):
        s.solve(1.0)


def test_cancellation_is_one_where_rounding_alone_says_less():
    parts = np.array([[0.1], [0.2], [0.7], [1.1], [1.3]])
    s = Statistics(1, 1)
    for part in parts:
        s.update(part[None], part[None])
    s._touched *= 1 - 2.0**-50
    assert s.cancellation == 1.0


@pytest.mark.parametrize("products, eps", [("float64", 2.0**-52), ("float32", 2.0**-23)])
def test_rounding_is_told_to_the_decomposition_by_features_eps_and_cancellation(products, eps):
    Phi = np.eye(5).astype(products)
    s = Statistics(5, 5, products=products).update(Phi, Phi)
    assert s._rounding(None) == {"rtol": 5 * EPS, "rounding": 5 * eps} and s._rounding(1e-3)["rtol"] == 1e-3
    assert s._spectrum(None).rounding == max(eps, 5 * EPS) and s._spectrum(None).n == 5
    s.update(3 * Phi, Phi).remove(3 * Phi, Phi)
    assert s.cancellation == 19.0
    assert s._rounding(None) == {"rtol": 95 * EPS, "rounding": 95 * eps}
    assert s._spectrum(None).rounding == max(eps, 95 * EPS)


def test_a_small_loss_is_told_and_none_is_below_zero():
    s = Statistics(1, 1).update(np.array([[1.0]]), np.array([[0.5]]))
    W = np.array([[[0.5]], [[0.25]], [[1.0]]])
    assert s.squared_loss(W) == [0.0, 0.0625, 0.25]
    s.yy = 0.2  # less than the model explains, as rounding may leave it
    assert s.squared_loss(W[0]) == 0.0
    with pytest.raises(ValueError, match="W contains NaN"):
        s.squared_loss(np.array([[np.nan]]))


@pytest.mark.parametrize("kind", ["array_api_strict", "torch"])
def test_chunks_are_added_in_every_library(kind, rng):
    xp = pytest.importorskip(kind)
    Phi, Y = rows(rng, 50)
    s = Statistics(5, 2, chunk=9).update(xp.asarray(Phi), xp.asarray(Y)).update(xp.asarray(Phi), xp.asarray(Y))
    s.remove(xp.asarray(Phi), xp.asarray(Y))
    for _ in range(2):
        assert agree(s, Phi, Y, 3)
        s.G[0, 0], s.B[0, 0] = 7.0, 7.0  # of copies
    float32 = Statistics(5, 2, chunk=9, products="float32")
    float32.update(xp.asarray(Phi.astype("float32")), xp.asarray(Y.astype("float32")))
    assert error(np.asarray(float32.G), Phi.T @ Phi) < 1e-6 and error(np.asarray(float32.B), Phi.T @ Y) < 1e-5


def test_sums_of_tensors_are_added_where_they_are_told():
    torch = pytest.importorskip("torch")
    A, B, out = torch.ones(2, 2), 3 * torch.ones(2, 2), torch.zeros(2, 2)
    for sign, value in ((1, 4.0), (-1, -2.0)):
        assert sums_file._plus(A, B, sign, out) is out and out.tolist() == [[value] * 2] * 2


def test_sums_are_taken_off_their_device_to_be_saved(tmp_path, rng):
    class Elsewhere:
        def cpu(self):
            return np.ones(2)

    assert sums_file._off_device(Elsewhere()).tolist() == [1, 1]
    xp = pytest.importorskip("array_api_strict")
    Phi, Y = rows(rng)
    Statistics(5, 2).update(xp.asarray(Phi), xp.asarray(Y)).save(tmp_path / "s.npz")
    assert agree(Statistics.load(tmp_path / "s.npz"), Phi, Y)


def test_masked_rows_are_refused_by_name():
    masked = np.ma.masked_array(PHI)
    with pytest.raises(TypeError, match="Phi is masked"):
        ready().update(masked, ONES)
    with pytest.raises(TypeError, match="Y is masked"):
        ready().update(PHI, masked[:, :1])


def test_one_process_alone_reduces_to_its_own_sums(rng, monkeypatch):
    torch = pytest.importorskip("torch")
    dist = torch.distributed
    seen = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda group: "gloo")
    monkeypatch.setattr(dist, "all_reduce", lambda A, **options: seen.append((A.clone(), options)))
    Phi, Y = rows(rng)
    for asarray in (np.asarray, torch.asarray):
        s = Statistics(5, 2).update(asarray(2 * Phi), asarray(Y)).remove(asarray(Phi[:9]), asarray(0.5 * Y[:9]))
        before = s._touched, s._touched_yy, s.yy, 51
        assert s.all_reduce() is s and (s._touched, s._touched_yy, s.yy, s.n) == before
    s = Statistics(5, 2).update(Phi, Y)
    assert agree(s.all_reduce("mine"), Phi, Y)
    (sizes, options), (flat, _) = seen[-2:]
    assert sizes.tolist() == [5, -5, 2, -2, 0, 0, 0, 0, 0, 0] and options == {"op": dist.ReduceOp.MAX, "group": "mine"}
    assert flat.tolist() == [*s.G.ravel(), *s.B.ravel(), 60, s.yy, s._touched, s._touched_yy]
    monkeypatch.setattr(dist, "all_reduce", lambda A, **options: A.mul_(2) if len(A) > 10 else A)
    assert agree(s.all_reduce(), np.r_[Phi, Phi], np.r_[Y, Y])


@pytest.mark.parametrize(
    "place, words",
    [
        (1, "differ: p from 4 to 5$"),
        (3, "differ: k from 1 to 2$"),
        (4, "differ: clip from 0 to 1$"),  # rows that one process clips
        (6, "differ: bound from 0 to 1$"),
        (8, "differ: products in float32 and in float64$"),
    ],
)
def test_processes_that_differ_are_told_in_what(place, words, monkeypatch, rng):
    dist = pytest.importorskip("torch").distributed
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda group: "gloo")

    def another(A, **options):
        A[place] += 1

    monkeypatch.setattr(dist, "all_reduce", another)
    s = Statistics(5, 2).update(*rows(rng))
    with pytest.raises(ValueError, match=words):
        s.all_reduce()


def test_only_what_the_backend_can_reduce_is_given_to_it(monkeypatch, rng):
    dist = pytest.importorskip("torch").distributed
    xp = pytest.importorskip("array_api_strict")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda group: "nccl")
    Phi, Y = rows(rng)
    with pytest.raises(ValueError, match="nccl reduces CUDA tensors and these statistics are on the CPU"):
        Statistics(5, 2).update(Phi, Y).all_reduce()
    with pytest.raises(TypeError, match="needs NumPy or PyTorch arrays; these statistics are kept by array_api_strict"):
        Statistics(5, 2).update(xp.asarray(Phi), xp.asarray(Y)).all_reduce()
    monkeypatch.setattr(dist, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch.distributed is not initialised"):
        Statistics(5, 2).update(Phi, Y).all_reduce()


def stored(path, touched, G, B=0.0, n=1, products="float64"):
    """A file of two features with these sums."""
    arrays = {
        "format": np.array(1), "shape": np.array([2, 1, n]), "numbers": np.array([1.0, touched, 1.0]),
        "products": np.array(products), "note": np.array(""), "G": np.array(G), "B": np.full((2, 1), B),
    }  # fmt: skip
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("products, eps", [("float64", 2.0**-52), ("float32", 2.0**-23)])
@pytest.mark.parametrize("part, refused", [(0.5, False), (1.0, False), (1.25, True)])
def test_a_file_may_be_off_by_a_hundred_roundings_of_all_that_was_summed(part, refused, products, eps, tmp_path):
    slack = part * 400 * eps  # of squares of 4; each of these is exact in float64
    for G in ([[2.0, 1 + slack], [1.0, 2.0]], [[-slack, 0.0], [0.0, 1.0]], [[2 + slack / 2, 0.0], [0.0, 2 + slack / 2]]):
        path = stored(tmp_path / "s.npz", 4.0, G, products=products)
        if refused:
            with pytest.raises(ValueError, match="its G is not a sum of squares"):
                Statistics.load(path)
        else:
            assert Statistics.load(path).G.tolist() == G


def test_a_file_without_samples_holds_no_sums(tmp_path):
    zero = np.zeros((2, 2))
    assert Statistics.load(stored(tmp_path / "s.npz", 4.0, zero, n=0)).n == 0
    for G, B in ((np.eye(2), 0.0), (zero, 1.0)):
        with pytest.raises(ValueError, match="sums and no samples"):
            Statistics.load(stored(tmp_path / "s.npz", 4.0, G, B=B, n=0))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or Inf"):
            Statistics.load(stored(tmp_path / "s.npz", 4.0, np.eye(2), B=bad))


@pytest.mark.parametrize(
    "changes, message",
    [
        *(({name: None}, f"it lacks {name}$") for name in ("shape", "numbers", "products", "note", "G")),
        ({"format": np.array([1])}, "its format is .1., this version reads 1"),
        ({"format": np.array(0)}, "its format is 0"),
        *(({"shape": np.array(shape)}, "p, k, n = .* are impossible") for shape in ([0, 2, 1], [5, 0, 1], [-5, 2, 1])),
        ({"shape": np.array([5, 2])}, "of another kind"),
        ({"numbers": np.array([1.0, 1.0])}, "of another kind"),
        ({"numbers": np.array([1, 1, 1])}, "of another kind"),
        ({"numbers": np.array([1.0, math.inf, 1.0])}, "impossible"),
        ({"B": np.ones((5, 2), "f4")}, "B are float64 .5, 5. and float32"),
        ({"B": np.ones((2, 5))}, r"float64 \(2, 5\)"),
    ],
)
def test_a_file_that_lacks_or_mistakes_something_is_refused(saved, changes, message):
    _, path = saved
    rewritten(path, **changes)
    with pytest.raises(ValueError, match=message):
        Statistics.load(path)


def test_the_fields_of_a_file_have_128_kb(saved):
    _, path = saved
    room = (1 << 17) - (128 + 8) - 2 * (128 + 24) - (128 + 4 * len("float64")) - 128
    rewritten(path, note=np.array("x" * (room // 4)))
    assert Statistics.load(path).n == 50
    rewritten(path, note=np.array("x" * (room // 4 + 1)))
    with pytest.raises(ValueError, match="more than .* max_bytes"):
        Statistics.load(path)


@pytest.mark.parametrize("more, message", [(0, "G and B are float64"), (1, "bytes, unpacked, are more than")])
def test_the_sums_of_a_file_have_eight_kb_to_spare(saved, more, message):
    _, path = saved
    room = 8 * 5 * 7 + (1 << 13) - 128 - (128 + 8 * 5 * 2)
    rewritten(path, G=np.ones(room // 8 + more))
    with pytest.raises(ValueError, match=message):
        Statistics.load(path)


def test_a_removal_may_leave_exactly_a_hundred_roundings_below_zero():
    s = Statistics(1, 1).update(np.ones((1, 1)), np.ones((1, 1)))
    other = Statistics(1, 1).update(np.array([[1.0]]), np.ones((1, 1)))
    other._G[0, 0] = 1 + 400 * EPS
    s._check_removal(other, -400 * EPS, 4.0, 4.0)
    with pytest.raises(ValueError, match="squares of feature 0 would become -"):
        s._check_removal(other, 0.0, 3.99, 4.0)
    with pytest.raises(ValueError, match="Y.*2 would become -"):
        s._check_removal(other, -400 * EPS, 4.0, 3.99)


def test_float32_products_are_added_in_float64():
    Phi, Y = np.array([[1.0], [2.0**-13]], "float32"), np.ones((2, 1), "float32")
    one = Statistics(1, 1, products="float32", chunk=1).update(Phi, Y)
    two = Statistics(1, 1, products="float32").update(Phi[:1], Y[:1]).update(Phi[1:], Y[1:])
    for s in (one, two):
        assert s.G.dtype == s.B.dtype == np.float64 and s.G[0, 0] == 1 + 2.0**-26


def test_a_file_is_read_into_the_library_that_is_asked_for(saved):
    xp = pytest.importorskip("array_api_strict")
    s, path = saved
    again = Statistics.load(path, like=xp.ones(1))
    assert type(again.G) is type(xp.ones(1)) and np.array_equal(np.asarray(again.G), s.G)
    again.update(xp.asarray(np.ones((1, 5))), xp.asarray(np.ones((1, 2))))


def test_only_an_indefinite_sum_is_blamed_on_removals():
    tiny = Statistics(1, 1).update(np.array([[1e-160]]), np.array([[1e-160]]))
    with pytest.raises(ValueError, match="keep their digits") as refused:
        tiny.solve(0.0)
    assert sums_file.NOT_ADDED not in str(refused.value)


def test_sparse_tensors_are_refused_with_the_way_out():
    torch = pytest.importorskip("torch")
    sparse = torch.eye(3, dtype=torch.float64).to_sparse()
    with pytest.raises(TypeError, match=r"Phi is sparse_coo: pass its to_dense\(\)"):
        Statistics(3, 3).update(sparse, sparse)
