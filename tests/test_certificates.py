"""Sets and certificates against training in high precision: a fixed sample of the search, and what it has found."""

import certificates
import numpy as np
import oracle
import pytest

from conftest import conditioned
from ddref import (
    arrays,
    distill,
    gauge,
    intercept,
    krr,
    measure,
    nearest,
    spectrum,
)


@pytest.mark.parametrize("name", certificates.TRIALS)
def test_a_sample_of_the_search_finds_nothing(name):
    """Draws of every kind; `python tests/certificates.py --draws 1000` looks at as many as one likes."""
    counts, found = certificates.search([name], range(25))
    assert not found, found
    assert counts[name]["ok"] + counts[name]["tame"] >= 5


def test_the_search_finds_what_is_wrong(monkeypatch):
    """A certificate that believes its training, labels that are off, refusals of what is harmless: each is found."""
    certify, labels = measure.certify, distill.labels
    monkeypatch.setattr(measure, "certify", lambda *args, **kw: certify(0.0, *args[1:], **{**kw, "uncertain": 0.0}))
    assert certificates.search(["measure.verify"], range(60))[0]["measure.verify"]["wrong"] > 5
    monkeypatch.setattr(distill, "labels", lambda *args: labels(*args) * (1 + 1e-3))
    assert certificates.search(["distill.labels"], range(20))[0]["distill.labels"]["silent"] > 5

    def refuse(*args, **kw):
        raise ValueError("no")

    monkeypatch.setattr(distill, "labels", refuse)
    assert certificates.search(["distill.labels"], range(20))[0]["distill.labels"]["overrefused"] > 2


# -- the oracle


@pytest.mark.parametrize("shape", [(2, 5), (5, 5), (9, 4)])
@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_the_oracle_is_numpys_where_that_is_good_enough(rng, shape, lam):
    Phi, Y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    rows = np.concatenate([Phi, lam**0.5 * np.eye(shape[1])])
    W = np.linalg.lstsq(rows, np.concatenate([Y, np.zeros((shape[1], 2))]))[0] if lam else np.linalg.pinv(Phi) @ Y
    (found,) = oracle.models(Phi, Y, lam)
    assert oracle.error(found, W) < 1e-13
    found, b, *_ = oracle.models_with_intercept(Phi, Y, lam)[0]
    expected = intercept.fit(Phi, Y, lam)
    assert oracle.error(found, expected.W) < 1e-12 and oracle.error(b, expected.b) < 1e-12


def test_the_oracle_keeps_what_float64_loses_and_cuts_what_is_cut_by_everyone():
    Phi, Y = np.diag([1.0, 1e-12]), np.array([[1.0], [1.0]])
    assert oracle.error(oracle.models(Phi, Y, 1e-30)[0], np.array([[1.0], [1e-12 / (1e-24 + 1e-30)]])) < 1e-15
    Phi = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-52]])  # dependent, up to the last bit
    W = np.array([[1.0], [2.0]])
    least = oracle.models(Phi, Phi @ W, 0.0)[0]
    assert oracle.error(least, np.array([[1.5], [1.5]])) < 1e-15
    near = np.diag([1.0, 2.5 * 2.0**-52])  # the cutoff is 2 eps: another SVD may keep it
    assert len(oracle.models(near, near @ W, 0.0)) == 2 and len(oracle.models(Phi, Phi @ W, 0.0)) == 1


def test_the_conditioning_of_the_oracle_is_what_last_bits_do(rng):
    for lam in (0.0, 1e-3):
        Phi, Y = conditioned(rng, 6, 4, 1e3), rng.normal(size=(6, 2))
        (W,) = oracle.models(Phi, Y, lam)
        amplified = oracle.conditioning(Phi, Y, lam, W)
        moved = [
            float(oracle.norm(oracle.models(Phi * (1 + 1e-9 * signs), Y, lam)[0] - W) / oracle.norm(W)) / 1e-9
            for signs in rng.choice([-1.0, 1.0], size=(20, 6, 4))
        ]
        assert amplified / 50 < max(moved) < amplified


# -- what the search has found


def turned(rng, m, p, s):
    """A matrix with the singular values s."""
    U, V = (np.linalg.qr(rng.normal(size=(n, len(s))))[0] for n in (m, p))
    return (U * s) @ V.T


def test_a_tiny_lam_beside_what_the_cutoff_drops_is_not_called_exact(rng):
    """A certificate said exact where exact training missed W by 1e-3 to 1."""
    lam_S, wrong = 7e-33, 0
    for _ in range(20):
        Phi_S = turned(rng, 6, 5, [1, 1e-6, 5e-7, 2e-10, 7e-18])
        W = Phi_S[:3].T @ rng.normal(size=(3, 2))
        Y_S = Phi_S @ W
        found = measure.verify(Phi_S, Y_S, lam_S, W)
        wrong += oracle.worst(Phi_S, Y_S, lam_S, W) > found.tolerance
        assert not found.exact
        with pytest.raises(ValueError, match="no digit of W may be left"):
            distill.labels(Phi_S, W, lam_S)
    assert wrong > 5
    assert measure.verify(Phi_S[:3], Phi_S[:3] @ W, 0.0, W).exact


def test_a_singular_value_at_the_cutoff_is_not_decided():
    W = np.array([[1.0], [1.0]])
    for cut, exact in ((0.9, True), (1.7, False), (2.3, False), (1e5, False)):
        Phi_S = np.diag([1.0, cut * 2.0**-52])
        found = measure.verify(Phi_S, np.array([[1.0], [1e-16]]), 0.0, np.array([[1.0], [0.0]]))
        assert found.exact == exact or cut > 3
        svd = arrays.thin_svd(Phi_S)
        assert np.isinf(svd.rounding(Phi_S @ W)) == svd.near_cutoff == (1 < cut < 3)


def test_a_certificate_counts_the_rounding_of_its_own_training():
    allowed = measure.tolerance(10.0, "float64")
    assert measure.certify(0.4 * allowed, 10.0, "float64", uncertain=0.5 * allowed).exact
    found = measure.certify(0.4 * allowed, 10.0, "float64", uncertain=0.7 * allowed)
    assert not found.exact and found.uncertain == 0.7 * allowed and "uncertain" in repr(found)
    assert measure.certify(2 * allowed, 10.0, "float64", uncertain=allowed).uncertain is None


def test_labels_of_small_directions_leave_large_ones_alone(rng):
    """``(Phi_S^+)^T W`` by way of a matrix ``Phi_S^+`` was wrong by eps times the condition number squared."""
    Phi_S = turned(rng, 8, 6, [1.0, 1e-5]).astype("float32")
    W = (np.linalg.svd(Phi_S)[2][:1].T @ rng.normal(size=(1, 2))).astype("float32")
    Y_S = distill.labels(Phi_S, W, 1e4)
    assert oracle.worst(Phi_S, Y_S, 1e4, W) < 1e-5


def test_a_large_free_part_leaves_no_trace_in_the_carrier(rng):
    W, Y_S = 1e-9 * rng.normal(size=(7, 2)), rng.normal(size=(4, 2))
    for size in (1.0, 1e6, 1e12):
        D = distill.carrier(W, Y_S, size * rng.normal(size=(7, 4)))
        assert np.linalg.norm(D @ Y_S - W) < 1e-13 * np.linalg.norm(D) * np.linalg.norm(Y_S)
    with pytest.raises(ValueError, match="no digit of W may be left"):
        distill.features(1e-12 * W, Y_S, Z=rng.normal(size=(7, 4)))
    Y_S, W = turned(rng, 3, 3, [1, 1e-3, 1e-7]), turned(rng, 5, 3, [1, 1e-3, 1e-7])
    Y_S = W[:3] if np.linalg.cond(W[:3]) < 1e9 else Y_S
    D = distill.carrier(W, Y_S)
    assert np.linalg.norm(D @ Y_S - W) < 1e-14 * np.linalg.norm(D) * np.linalg.norm(Y_S)


def test_bounds_that_overflow_are_infinite():
    W, Y_S = np.array([[1e-160]]), np.array([[1.0]])
    assert distill.largest_lam(W, Y_S) == np.inf
    assert distill.features(W, Y_S, 1e300)[0, 0] == pytest.approx(1e160)
    with pytest.raises(ValueError, match="lam_S = 1 exceeds"):
        distill.features(np.array([[1e160]]), Y_S, 1.0)


def test_a_changed_set_is_judged_by_its_model_at_large_lam_too(rng):
    """At lam_S far above the features the model is small: another one passed as rounding of the labels."""
    Phi_S, Y_S = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    with pytest.raises(ValueError, match="trains a model"):
        gauge.change_of_basis(Phi_S, Y_S, np.diag([1.0, 1.0, 0.5, 0.5, 0.5]), 1e13)
    Q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert gauge.change_of_basis(Phi_S, Y_S, Q, 1e13).lam_S == 1e13
    with pytest.raises(ValueError, match="M @ Y_S overflows"), np.errstate(over="ignore", invalid="ignore"):
        gauge.change_of_basis(Phi_S, 1e200 * Y_S, 1e200 * Q)


def test_labels_given_for_an_ill_conditioned_model_keep_their_digits(rng):
    W = turned(rng, 3, 3, [1, 1e-3, 1e-7])
    Y_S = rng.normal(size=(4, 3)) @ W
    Phi_S = nearest.nearest_given_labels(rng.normal(size=(4, 3)), W, Y_S)
    assert oracle.worst(Phi_S, Y_S, 0.0, W) < 1e-14 * oracle.conditioning(Phi_S, Y_S, 0.0, oracle.exact(W))


def test_a_model_below_the_last_bits_of_its_intercept_is_refused(rng):
    Phi, W, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), np.ones((1, 2))
    assert np.all(np.isfinite(intercept.labels(Phi, 1e-12 * W, b)))
    with pytest.raises(ValueError, match="rounding in float64 costs about a fraction"):
        intercept.labels(Phi, 1e-18 * W, b)


def test_regularisation_below_the_range_of_the_dtype_trains():
    """lam = 1e-57 is 0 in float32, and its root is not: the SVD did not converge."""
    Phi = np.array([[1e-26, 2e-26, 1e-30], [2e-26, -1e-26, 1e-35]], "float32")
    Y = np.array([[1.0], [2.0]], "float32")
    for lam in (1e-57, 1e-52):
        W = krr.fit(Phi, Y, lam)
        assert oracle.error(oracle.models(Phi, Y, lam)[0], W) < 1e-5


def test_the_smaller_root_keeps_its_digits_where_lam_is_below_the_range_of_the_dtype():
    W, Y_S, lam_S = np.array([[1e14]], "float32"), np.array([[7e-7]], "float32"), 3e-42
    Phi_S = distill.features(W, Y_S, lam_S, signs=[-1])
    assert oracle.worst(Phi_S, Y_S, lam_S, W) < 1e-5


def test_small_columns_cost_large_ones_no_digits_in_sums(rng):
    """Scaled to one size, columns of rank 2 hid a part of Phi^T Y: 4e-7 of W where sums give 1e-13."""
    for _ in range(10):
        Phi = turned(rng, 2, 7, [1.0, 1e-7]) * np.array([1, 1, 1, 1, 1, 1e-2, 1e-5])
        Y, lam = rng.normal(size=(2, 1)), 1e-4
        W = krr.path(*krr.gram(Phi, Y), [lam])[0]
        assert oracle.error(oracle.models(Phi, Y, lam)[0], W) < 1e-10


def test_features_whose_squares_lose_their_digits_are_refused():
    Phi, Y = np.eye(2), np.ones((2, 1))
    for size in (1e-150, 1e150):
        with pytest.raises(ValueError, match="scale it by a power of two"):
            spectrum.from_data(size * Phi, Y)
        with pytest.raises(ValueError, match="scale it by a power of two"):
            krr.path(size * size * Phi, Y, [1.0])
    assert np.allclose(krr.path(1e200 * Phi, 1e100 * Y, [0.0]), 1e-100, rtol=1e-12, atol=0)
