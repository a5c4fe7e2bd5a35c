"""One test for each numbered statement of the book, and one that drops a hypothesis and must fail.

The statements are checked with NumPy alone wherever the package is not itself the claim.
"""

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest
from exactly import (
    equal,
    eye,
    fractions,
    integers,
    inverse,
    pinv,
    rank,
    reduced,
    spans,
    train,
)

from conftest import conditioned, error, refit
from ddref import (
    distill,
    frontier,
    gauge,
    intercept,
    krr,
    labels_only,
    measure,
    nearest,
)
from ddref.measure import tolerance


def one_hot(m, k):
    return np.eye(k)[np.arange(m) % k]


# -- chapter 1


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_primal_dual_and_limit_agree(rng, shape):
    Phi, Y = conditioned(rng, *shape, condition=10), rng.normal(size=(shape[0], 2))
    for lam in (0.3, 1e-8):
        primal = np.linalg.solve(Phi.T @ Phi + lam * np.eye(shape[1]), Phi.T @ Y)
        dual = Phi.T @ np.linalg.solve(Phi @ Phi.T + lam * np.eye(shape[0]), Y)
        assert error(primal, dual) < tolerance((1 + lam) / lam if lam < 1e-2 else 10, "float64")
        assert error(krr.fit(Phi, Y, lam), dual) < tolerance((1 + lam) / lam if lam < 1e-2 else 10, "float64")
    limits = [error(krr.fit(Phi, Y, lam), np.linalg.pinv(Phi) @ Y) for lam in (1e-5, 1e-6, 1e-7)]
    assert limits[0] > 5 * limits[1] > 25 * limits[2]  # the distance shrinks as lam does
    assert error(krr.fit(Phi, Y, 0), np.linalg.pinv(Phi) @ Y) < tolerance(10, "float64")


def test_without_regularisation_the_normal_equations_of_a_rank_deficient_map_have_no_single_solution(rng):
    Phi, Y = conditioned(rng, 12, 5, 10, rank=3), rng.normal(size=(12, 2))
    assert np.linalg.cond(Phi.T @ Phi) > 1e14  # no inverse; the pseudo-inverse picks the solution of least norm
    W, null = krr.fit(Phi, Y, 0), np.linalg.svd(Phi)[2][3:].T
    other = W + null @ rng.normal(size=(2, 2))
    assert np.linalg.norm(Phi @ (other - W)) < 1e-13 and np.linalg.norm(other) > np.linalg.norm(W)


def test_statistics_add_up(rng):
    Phi, Y = rng.normal(size=(90, 6)), rng.normal(size=(90, 3))
    parts = [krr.gram(Phi[i : i + 30], Y[i : i + 30]) for i in (0, 30, 60)]
    G, B = (sum(part[i] for part in parts) for i in (0, 1))
    assert error(krr.path(G, B, [0.5])[0], krr.fit(Phi, Y, 0.5)) < tolerance(100, "float64")
    G_1, B_1 = G - parts[2][0], B - parts[2][1]  # samples taken away again
    assert error(krr.path(G_1, B_1, [0.5])[0], krr.fit(Phi[:60], Y[:60], 0.5)) < tolerance(100, "float64")


# -- chapter 2


def test_fewer_points_than_rank_cannot_be_exact(rng):
    W = conditioned(rng, 8, 4, 5)
    s = np.linalg.svd(W, compute_uv=False)
    for m in (1, 2, 3):
        best = np.sqrt(np.sum(s[m:] ** 2)) / np.linalg.norm(W)
        for _ in range(
            50
        ):  # whatever the features, labels and lam_S: rank(W_S) <= m, so Eckart and Young bound the error
            lam_S = rng.choice([0.0, 0.1, 10.0])
            W_S, _ = refit(rng.normal(size=(m, 8)), 10 * rng.normal(size=(m, 4)), lam_S)
            assert np.linalg.matrix_rank(W_S) <= m and error(W_S, W) >= best
        U, s_all, Vh = np.linalg.svd(W, full_matrices=False)  # the bound is attained
        W_S, _ = refit(U[:, :m].T, s_all[:m, None] * Vh[:m], 0.0)
        assert error(W_S, W) == pytest.approx(best, rel=1e-10)
        with pytest.raises(ValueError, match="W has rank 4"):
            distill.features(W, np.eye(4)[:m])


def test_rank_many_points_are_enough(rng):
    W = conditioned(rng, 8, 5, 5, rank=2)
    Q = np.linalg.svd(W)[0][:, :2]
    assert distill.minimal_points(W) == 2
    assert error(refit(Q.T, Q.T @ W, 0.0)[0], W) < tolerance(1, "float64")


def test_k_minus_one_points_keep_every_decision(rng):
    k, p = 5, 20
    W = conditioned(rng, p, k, 3)
    C = np.eye(k) - np.ones((k, k)) / k
    X = rng.normal(size=(10_000, p))
    assert distill.minimal_points(W) == k and distill.minimal_points(W @ C) == k - 1
    Q = np.linalg.svd(W @ C)[0][:, : k - 1]
    W_S, _ = refit(Q.T, distill.labels(Q.T, W @ C), 0.0)
    assert np.array_equal(np.argmax(X @ W_S, 1), np.argmax(X @ W, 1))
    U, s, Vh = np.linalg.svd(W @ C, full_matrices=False)  # one point less: some decisions change
    fewer = (U[:, : k - 2] * s[: k - 2]) @ Vh[: k - 2]
    assert np.mean(np.argmax(X @ fewer, 1) != np.argmax(X @ W, 1)) > 0.01


# -- chapter 3: the characterisation


@pytest.mark.parametrize("lam_S", [0.0, 1e-3, 0.7, 50.0])
@pytest.mark.parametrize("m", [3, 5, 10, 14])
def test_characterisation_gives_every_exact_set(rng, m, lam_S):
    """Condition (i) and labels from (ii), plus anything in (I - P) E: exact, by NumPy and by the package."""
    W = conditioned(rng, 10, 3, 4)
    Phi_S = rng.normal(size=(m, 10)) if m >= 10 else rng.normal(size=(m, 3)) @ np.linalg.qr(W)[0].T
    Phi_S = Phi_S + (rng.normal(size=(m, 10)) @ (np.eye(10) - W @ np.linalg.pinv(W)) if m == 5 else 0)
    if m == 5:  # a rank-3 part that spans W and a part beside it
        Phi_S[:3] = rng.normal(size=(3, 3)) @ W.T
    pinv = np.linalg.pinv(Phi_S)
    Y_S = (Phi_S + lam_S * pinv.T) @ W
    beside = (np.eye(m) - Phi_S @ pinv) @ rng.normal(size=(m, 3))
    t = np.linalg.svd(Phi_S, compute_uv=False)
    t = t[t > 1e-10 * t[0]]
    condition = (t[0] ** 2 + lam_S) / ((0 if m > len(t) else t[-1] ** 2) + lam_S) if lam_S else t[0] / t[-1]
    for Y in (Y_S, Y_S + beside):
        W_S, _ = refit(Phi_S, Y, lam_S)
        assert error(W_S, W) < tolerance(max(condition, t[0] / t[-1]), "float64")
    assert error(distill.labels(Phi_S, W, lam_S), Y_S) < tolerance(t[0] / t[-1], "float64")


def test_characterisation_is_necessary(rng):
    """Drop (i): no labels at all will do. Drop (ii): a label moved inside the range of Phi_S moves the model."""
    W = conditioned(rng, 10, 3, 4)
    Phi_S = rng.normal(size=(5, 10))  # rows that do not span the columns of W
    best = np.linalg.lstsq(np.kron(np.linalg.pinv(Phi_S), np.eye(3)), W.ravel(), rcond=None)[0].reshape(5, 3)
    assert error(refit(Phi_S, best, 0.0)[0], W) > 0.1  # the best labels there are
    with pytest.raises(ValueError, match="miss a fraction"):
        distill.labels(Phi_S, W)
    Phi_S = np.linalg.qr(W)[0].T
    Y_S = distill.labels(Phi_S, W, 0.5)
    assert measure.verify(Phi_S, Y_S, 0.5, W).exact
    assert not measure.verify(Phi_S, Y_S + Phi_S @ rng.normal(size=(10, 3)) * 1e-6, 0.5, W).exact


def test_projection_keeps_exactness(rng):
    """The lemma: with a projector Pi and Pi W = W, (Phi_S Pi, Y_S, lam_S) is exact where (Phi_S, Y_S, lam_S) is."""
    W = conditioned(rng, 10, 3, 4)
    basis = np.linalg.qr(np.concatenate([W, rng.normal(size=(10, 2))], axis=1))[0]
    Pi = basis @ basis.T
    for m, lam_S in itertools.product((7, 12), (0.0, 0.4)):
        Phi_S = np.concatenate([W.T, rng.normal(size=(m - 3, 10))])
        Y_S = distill.labels(Phi_S, W, lam_S)
        Y_S = Y_S + (np.eye(m) - Phi_S @ np.linalg.pinv(Phi_S)) @ rng.normal(size=(m, 3))
        A = Phi_S @ Pi
        W_S = np.linalg.pinv(A, rcond=1e-10) @ Y_S if lam_S == 0 else refit(A, Y_S, lam_S)[0]
        assert error(W_S, W) < tolerance(1e3, "float64")
    away = np.eye(10) - np.outer(W[:, 0], W[:, 0]) / (W[:, 0] @ W[:, 0])  # Pi W != W
    W_S = np.linalg.pinv(Phi_S @ away, rcond=1e-10) @ Phi_S @ W
    assert error(W_S, W) > 0.1


def test_scaling_features_labels_and_lam_together_changes_nothing(rng):
    W = conditioned(rng, 10, 3, 4)
    Phi_S = distill.features(W, np.eye(3), 0.01)
    for c in (-2.0, 0.3):
        assert error(refit(c * Phi_S, c * np.eye(3), c**2 * 0.01)[0], W) < tolerance(100, "float64")
    assert error(refit(2 * Phi_S, 2 * np.eye(3), 0.01)[0], W) > 1e-3  # lam_S forgotten


# -- chapter 3: given labels (paper Theorems 4.1 and 5.1)


@pytest.mark.parametrize("m", [4, 5, 9])
def test_given_labels_every_branch_is_exact(rng, m):
    W, Y_S, Z = conditioned(rng, 9, 4, 3), one_hot(m, 4), 0.1 * rng.normal(size=(9, m))
    lam_S = 0.7 * distill.largest_lam(W, Y_S, Z=Z)
    r = np.linalg.matrix_rank(distill.features(W, Y_S, lam_S, Z=Z))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # mixed branches
        for signs in itertools.product((1, -1), repeat=r):
            Phi_S = distill.features(W, Y_S, lam_S, Z=Z, signs=signs)
            W_S, condition = refit(Phi_S, Y_S, lam_S)
            assert error(W_S, W) < tolerance(condition, "float64")


def test_given_labels_above_the_bound_have_no_features(rng):
    """t / (t^2 + lam) <= 1 / (2 sqrt(lam)) for every t, so beyond the bound no features exist."""
    W, Y_S = conditioned(rng, 9, 4, 3), np.eye(4)
    bound = distill.largest_lam(W, Y_S)
    t = np.logspace(-8, 8, 10_001)
    assert np.max(t / (t**2 + bound)) <= np.linalg.norm(W, 2) * (1 + 1e-12)
    assert np.max(t / (t**2 + 1.01 * bound)) < np.linalg.norm(W, 2) * 0.999
    assert error(refit(distill.features(W, Y_S, bound), Y_S, bound)[0], W) < tolerance(1e3, "float64")
    with pytest.raises(ValueError, match="exceeds"):
        distill.features(W, Y_S, 1.01 * bound)


def test_ties_with_different_signs_give_a_continuum(rng):
    """Equal singular values, different branches: every rotation inside the tie is another exact set."""
    W = np.linalg.qr(rng.normal(size=(6, 2)))[0]
    s, lam_S = 1.0, 0.1
    t = np.array([(1 + np.sqrt(1 - 4 * lam_S)) / 2, (1 - np.sqrt(1 - 4 * lam_S)) / 2])
    assert np.allclose(t / (t**2 + lam_S), s)
    sets = []
    for angle in np.linspace(0, np.pi / 2, 7)[:-1]:
        R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        sets.append((R * t) @ R.T @ W.T)
        assert error(refit(sets[-1], np.eye(2), lam_S)[0], W) < tolerance(100, "float64")
    assert all(error(A, B) > 0.01 for A, B in itertools.combinations(sets, 2))


def test_given_labels_cannot_carry_a_model_outside_their_row_space(rng):
    W = conditioned(rng, 9, 4, 3)
    with pytest.raises(ValueError, match="the labels cannot carry W"):
        distill.features(W, one_hot(9, 4)[:, [0, 1, 2, 2]])  # labels of rank 3
    inside = W @ np.diag([1.0, 1, 1, 0])  # the paper's exception: rows of W inside those of Y_S, with m < k
    Phi_S = distill.features(inside, np.eye(4)[:3])
    assert error(refit(Phi_S, np.eye(4)[:3], 0.0)[0], inside) < tolerance(10, "float64")


def test_full_rank_features_under_the_hypothesis_of_proposition_4_1(rng):
    """Paper Prop 4.1: Z of full rank with columns apart from those of W gives features of full rank."""
    p, k = 12, 3
    for m in (4, 9):
        W, Z = rng.normal(size=(p, k)), rng.normal(size=(p, m))
        assert np.linalg.matrix_rank(np.concatenate([W, Z], axis=1)) == k + m  # the hypothesis
        assert np.linalg.matrix_rank(distill.features(W, one_hot(m, k), Z=Z)) == m
    Z = rng.normal(size=(p, 10))  # m = 10 > p - k: ranges of dimension 3 and 10 in R^12 always meet
    assert np.linalg.matrix_rank(np.concatenate([W, Z], axis=1)) == p < k + 10
    assert (
        np.linalg.matrix_rank(distill.features(W, one_hot(9, k), Z=W @ rng.normal(size=(k, 9)))) == k
    )  # dropped: Z in range(W)


# -- chapter 4: choosing among the exact sets


def test_nearest_set_attains_the_bound_and_nothing_beats_it(rng):
    """The closed form with NumPy, the same from the package, and random exact features farther away."""
    for m, p, k in ((3, 9, 3), (5, 9, 3), (8, 9, 2)):
        W, Phi_0 = rng.normal(size=(p, k)), rng.normal(size=(m, p))
        Q = np.linalg.qr(W)[0]
        U, s, Vh = np.linalg.svd(Phi_0 - Phi_0 @ Q @ Q.T, full_matrices=False)
        closed = Phi_0 @ Q @ Q.T + (U[:, : m - k] * s[: m - k]) @ Vh[: m - k]
        Phi_S = nearest.nearest(Phi_0, W)
        assert error(Phi_S, closed) < tolerance(np.linalg.cond(closed), "float64")
        bound = np.linalg.norm(s[m - k :])
        assert nearest.nearest_lower_bound(Phi_0, W) == pytest.approx(bound, rel=1e-10)
        assert np.linalg.norm(Phi_S - Phi_0) == pytest.approx(bound, rel=1e-10)
        for lam_S in (0.0, 0.3):
            W_S, condition = refit(Phi_S, distill.labels(Phi_S, W, lam_S), lam_S)
            assert error(W_S, W) < tolerance(max(condition, np.linalg.cond(Phi_S)), "float64")
        for _ in range(200):  # C^T Phi_S inside the span of Q, for a random C
            C = np.linalg.qr(rng.normal(size=(m, k)))[0]
            other = Phi_0 - C @ (C.T @ Phi_0) @ (np.eye(p) - Q @ Q.T)
            assert np.linalg.norm(other - Phi_0) >= bound * (1 - 1e-12)


def test_the_nearest_set_is_not_attained_where_the_points_see_too_little_of_the_model(rng):
    """Drop the rank condition: the plain formula fails, and exact sets come closer the worse they are conditioned."""
    W = np.eye(4)[:, :1]
    Phi_0 = rng.normal(size=(3, 4)) * np.array([0.0, 1, 1, 0])  # feature 1 is zero in all points; rank 2 of 3
    assert nearest.nearest_lower_bound(Phi_0, W) == 0.0
    with pytest.raises(ValueError, match="miss a fraction 1 of W"):
        distill.labels(Phi_0, W)  # which is the plain formula here
    moved = []
    for limit in (1e2, 1e4, 1e6):
        Phi_S = nearest.nearest(Phi_0, W, max_condition=limit)
        assert error(refit(Phi_S, distill.labels(Phi_S, W), 0.0)[0], W) < tolerance(limit, "float64")
        moved.append(error(Phi_S, Phi_0))
    assert moved[0] > 20 * moved[1] > 400 * moved[2] > 0


def test_nearest_for_given_labels_fits_them_and_asks_for_its_hypotheses(rng):
    W, Phi_0 = rng.normal(size=(9, 3)), rng.normal(size=(6, 9))
    Y_S = one_hot(6, 3)
    Phi_S = nearest.nearest_given_labels(Phi_0, W, Y_S)
    assert error(Phi_S @ W, Y_S) < tolerance(100, "float64")
    assert error(refit(Phi_S, Y_S, 0.0)[0], W) < tolerance(np.linalg.cond(Phi_S), "float64")
    assert np.linalg.norm(Phi_S - Phi_0) >= nearest.nearest_lower_bound(Phi_0, W)
    low = W @ np.diag([1.0, 1, 0])  # rank 2: one-hot labels of three classes are outside its row space
    with pytest.raises(ValueError, match="outside the row space of W"):
        nearest.nearest_given_labels(Phi_0, low, Y_S)


def test_the_published_choice_is_nearest_in_pseudo_inverses(rng):
    """Paper Cor 4.1.1: exact, nearest among all D with D Y_S = W, yet farther than `nearest` in features."""
    W, Phi_0 = rng.normal(size=(9, 3)), rng.normal(size=(6, 9))
    Y_S = Phi_0 @ W
    Phi_S = nearest.nearest_pseudoinverse(Phi_0, W, Y_S)
    assert error(refit(Phi_S, Y_S, 0.0)[0], W) < tolerance(1e3, "float64")
    D, D_0 = np.linalg.pinv(Phi_S), np.linalg.pinv(Phi_0)
    off = np.eye(6) - Y_S @ np.linalg.pinv(Y_S)
    for _ in range(50):
        assert np.linalg.norm(D - D_0) <= np.linalg.norm(D + 0.1 * rng.normal(size=(9, 6)) @ off - D_0)
    assert np.linalg.norm(Phi_S - Phi_0) > np.linalg.norm(nearest.nearest(Phi_0, W) - Phi_0)


def test_labels_only_projects_the_model_onto_the_span(rng):
    """Paper Thm 4.2: least-squares labels train the projection of W, and no labels come closer."""
    W, Phi_S = rng.normal(size=(9, 3)), rng.normal(size=(5, 9))
    fitted = labels_only.least_squares(Phi_S, W, 0.3)
    projected = np.linalg.pinv(Phi_S) @ Phi_S @ W
    W_S, _ = refit(Phi_S, fitted.Y_S, 0.3)
    assert error(W_S, projected) < tolerance(1e3, "float64")
    assert fitted.parameters == pytest.approx(error(projected, W), rel=1e-10)
    for _ in range(50):
        other, _ = refit(Phi_S, fitted.Y_S + 0.1 * rng.normal(size=(5, 3)), 0.3)
        assert error(other, W) >= fitted.parameters


def test_a_change_of_basis_keeps_the_model_where_the_labels_are_predictions_and_not_otherwise(rng):
    W, Phi_S = rng.normal(size=(4, 2)), rng.normal(size=(7, 4))
    M = rng.normal(size=(7, 7))
    assert error(refit(M @ Phi_S, M @ Phi_S @ W, 0.0)[0], W) < tolerance(np.linalg.cond(M @ Phi_S), "float64")
    beside = (np.eye(7) - Phi_S @ np.linalg.pinv(Phi_S)) @ rng.normal(size=(7, 2))
    Y_S = Phi_S @ W + beside
    assert error(refit(Phi_S, Y_S, 0.0)[0], W) < tolerance(100, "float64")
    assert error(refit(M @ Phi_S, M @ Y_S, 0.0)[0], W) > 0.01
    with pytest.raises(ValueError, match="trains a model"):
        gauge.change_of_basis(Phi_S, Y_S, M)
    orthogonal = np.linalg.qr(M)[0]
    for lam_S in (0.0, 0.4):
        before, after = refit(Phi_S, Y_S, lam_S)[0], refit(orthogonal @ Phi_S, orthogonal @ Y_S, lam_S)[0]
        assert error(after, before) < tolerance(100, "float64")


# -- chapters 3 and 4 in rational arithmetic: equality, no tolerance


def exact_case(rng, m, p, k, lam):
    """Features, labels and the model they train, all of fractions; for m > p with labels that no model explains."""
    Phi, Y = integers(rng, m, p), integers(rng, m, k)
    while rank(Phi) < min(m, p):
        Phi = integers(rng, m, p)
    return Phi, Y, train(Phi, Y, lam)


@pytest.mark.parametrize("lam", [0, Fraction(1, 3), 2])
@pytest.mark.parametrize("m", [2, 3, 5])
def test_exactness_is_the_normal_equations_and_a_span_to_the_last_digit(rng, m, lam):
    """lem-normal, thm-characterisation: both directions, with and without the hypothesis."""
    Phi, Y, W = exact_case(rng, m, 3, 2, lam)
    P = Phi @ pinv(Phi)
    assert equal(Phi.T @ (Y - Phi @ W), Fraction(lam) * W) and spans(Phi, W)  # exact, so both hold
    assert equal(P @ Y, (Phi + Fraction(lam) * pinv(Phi).T) @ W)
    other = (Phi + Fraction(lam) * pinv(Phi).T) @ W + (eye(m) - P) @ integers(rng, m, 2)
    assert equal(train(Phi, other, lam), W)
    wrong = other + Phi @ integers(rng, 3, 2, largest=1) + Phi[:, :1] @ fractions([[1, 7]])
    assert not equal(train(Phi, wrong, lam), W)
    if m < 3:  # a model outside the span: no labels
        outside = W + (eye(3) - pinv(Phi) @ Phi) @ fractions([[1, 2], [3, 5], [2, 7]])
        assert not spans(Phi, outside)
        assert not equal(train(Phi, (Phi + Fraction(lam) * pinv(Phi).T) @ outside, lam), outside)


def test_given_labels_have_the_features_of_every_branch_to_the_last_digit(rng):
    """thm-given-labels at a lam_S at which all roots are fractions, and at lam_S = 0; labels that cannot carry W."""
    U = fractions([[2, -2], [2, 1], [1, 2]]) / 3  # orthonormal columns
    V = fractions([[1, 2], [2, 1], [2, -2]]) / 3
    lam, larger, smaller = Fraction(20, 441), fractions([[8, 20]]) / 21, fractions([[5, 2]]) / 42
    D, Y = (U * fractions([[2, 1]])) @ V.T, of_rank(rng, 3, 2, 2)
    W = D @ Y
    while rank(W) < 2:
        Y = of_rank(rng, 3, 2, 2)
        W = D @ Y
    for first, second in itertools.product([larger, smaller], repeat=2):
        t = np.hstack([first[:, :1], second[:, 1:]])
        assert equal(train((V * t) @ U.T, Y, lam), W)
    assert not equal(train((V * (larger + 1)) @ U.T, Y, lam), W)
    for _ in range(3):  # any Z
        carrier = W @ pinv(Y) + integers(rng, 3, 3) @ (eye(3) - Y @ pinv(Y))
        assert equal(carrier @ Y, W) and equal(train(pinv(carrier), Y, 0), W)
    Phi = np.vstack([W.T, integers(rng, 1, 3)])  # and back: every exact set has such a carrier
    Y_S = Phi @ W
    free = pinv(Phi) @ (eye(3) - Y_S @ pinv(Y_S))
    assert equal(W @ pinv(Y_S) + free, pinv(Phi)) and equal(train(Phi, Y_S, 0), W)
    lost = Y[:, :1] @ fractions([[1, 1]])  # of rank 1
    assert not equal(W @ pinv(lost) @ lost, W)
    assert not any(equal(train(integers(rng, 3, 3), lost, each), W) for each in 5 * [0, lam])


@pytest.mark.parametrize("lam", [0, Fraction(1, 2)])
def test_projections_that_keep_the_model_keep_exactness_to_the_last_digit(rng, lam):
    Phi, Y, W = exact_case(rng, 3, 5, 2, lam)
    basis = np.hstack([W, integers(rng, 5, 1)])
    for columns, kept in ((basis, True), (basis[:, 1:], False)):
        Pi = columns @ pinv(columns)
        assert equal(Pi @ W, W) is kept and equal(train(Phi @ Pi, Y, lam), W) is kept


@pytest.mark.parametrize("lam", [0, Fraction(1, 3)])
def test_the_changes_of_basis_are_those_of_the_condition_at_every_lam(rng, lam):
    """prop-gauge with a tall M that is not orthogonal: R in the kernel of Phi^T (M^T M - I), or not."""
    Phi, M = integers(rng, 6, 3), integers(rng, 7, 6)
    S = M.T @ M - eye(6)
    both = np.vstack([Phi.T @ S, Phi.T]) if lam == 0 else Phi.T @ S
    free = eye(6) - pinv(both) @ both
    R = free @ integers(rng, 6, 2)
    W = Phi.T @ R / lam if lam else integers(rng, 3, 2)
    Y = Phi @ W + R
    assert rank(Phi) == 3 and rank(M @ Phi) == 3
    assert lam == 0 or not equal(R, 0 * R)  # with six points and one condition there is room for R
    assert equal(train(Phi, Y, lam), W) and equal(train(M @ Phi, M @ Y, lam), W)
    R = (eye(6) - pinv(Phi.T) @ Phi.T) @ integers(rng, 6, 2) + (pinv(Phi).T @ (lam * W) if lam else 0 * R)
    Y = Phi @ W + R  # exact as well, but Phi^T S R is not zero
    assert equal(train(Phi, Y, lam), W) and not equal(train(M @ Phi, M @ Y, lam), W)


@pytest.mark.parametrize("lam", [0, Fraction(1, 5)])
@pytest.mark.parametrize("m", [2, 3, 5])
def test_the_stability_identity_holds_for_every_change_however_large(rng, m, lam):
    """thm-stability: not to first order, but equal."""
    Phi, Y, W = exact_case(rng, m, 3, 2, lam)
    if lam == 0:
        Y = Phi @ W
    alpha = (Y - Phi @ W) / lam if lam else pinv(Phi).T @ W
    E, F = integers(rng, m, 3, largest=2), integers(rng, m, 2)
    moved = train(Phi + E, Y + F, lam) - W
    if lam:
        G = (Phi + E).T @ (Phi + E)
        first = lam * inverse(G + lam * eye(3)) @ E.T @ alpha
    else:
        first = (eye(3) - pinv(Phi + E) @ (Phi + E)) @ E.T @ alpha
    assert equal(moved, first - train(Phi + E, E @ W - F, lam))
    labels = (Phi + E + lam * pinv(Phi + E).T) @ W  # computed from the changed points
    again = train(Phi + E, labels, lam) - W
    assert equal(again, -(eye(3) - pinv(Phi + E) @ (Phi + E)) @ W)
    assert equal(again, (eye(3) - pinv(Phi + E) @ (Phi + E)) @ E.T @ alpha)
    assert rank(Phi + E) < 3 or equal(again, 0 * again)  # full column rank: nothing lost


def test_the_published_choice_tends_to_the_nearest_for_its_coefficients(rng):
    """prop-published-limit: on the smaller root, as lam_S grows; and those are not the best coefficients."""
    W, Phi_0 = rng.normal(size=(9, 3)), rng.normal(size=(6, 9))
    alpha = np.linalg.pinv(Phi_0).T @ W
    limit = Phi_0 + np.linalg.pinv(alpha).T @ (W - Phi_0.T @ alpha).T
    assert error(limit.T @ alpha, W) < 1e-13
    away = []
    for lam_S in (1e4, 1e6, 1e8):
        Y_S = labels_only.least_squares(Phi_0, W, lam_S).Y_S
        Phi_S = nearest.nearest_pseudoinverse(Phi_0, W, Y_S, lam_S, signs=[-1] * 6)
        assert error(refit(Phi_S, Y_S, lam_S)[0], W) < tolerance(100, "float64")
        away.append(error(Phi_S, limit))
    assert away[0] > 50 * away[1] > 2500 * away[2] > 0
    assert np.linalg.norm(limit - Phi_0) > nearest.nearest_lower_bound(Phi_0, W) * 1.01


# -- chapter 5: fewer points, intercepts, every lambda


def test_the_frontier_is_the_best_model_of_its_rank(rng):
    Phi, Y, lam = rng.normal(size=(60, 8)) * np.logspace(0, -2, 8), rng.normal(size=(60, 4)), 0.1
    W, G = krr.fit(Phi, Y, lam), Phi.T @ Phi

    def objective(V):
        return np.linalg.norm(Phi @ V - Y) ** 2 + lam * np.linalg.norm(V) ** 2

    w, E = np.linalg.eigh(G + lam * np.eye(8))
    s = np.linalg.svd((E * np.sqrt(w)) @ E.T @ W, compute_uv=False)
    U, t, Vh = np.linalg.svd(W, full_matrices=False)
    for m in (1, 2, 3):
        best, excess = frontier.truncate(W, m, G, lam)[:2]
        assert np.linalg.matrix_rank(best) == m
        assert objective(best) - objective(W) == pytest.approx(np.sum(s[m:] ** 2), rel=1e-9)
        assert excess == pytest.approx(np.sum(s[m:] ** 2), rel=1e-9)
        assert objective((U[:, :m] * t[:m]) @ Vh[:m]) > objective(best)
        for _ in range(50):
            other = best + 0.1 * rng.normal(size=(8, m)) @ rng.normal(size=(m, 4)) @ np.linalg.pinv(best) @ best
            assert objective(other) >= objective(best)


def test_new_data_see_an_exact_set_as_the_model_and_fewer_points_at_a_known_cost(rng):
    """prop-generalisation: 500 weighted atoms are the distribution; W need not be trained on it."""
    W, chance = rng.normal(size=(6, 4)), rng.dirichlet(np.ones(500))
    phi, y = rng.normal(size=(500, 6)) * np.logspace(0, -1, 6), rng.normal(size=(500, 4))
    Sigma = (phi.T * chance) @ phi

    def root(errors):
        return np.sqrt(chance @ np.sum(errors**2, axis=1))

    def trained(m, M):
        Phi_S = gauge.orthonormal(M, m)
        return refit(Phi_S, distill.labels(Phi_S, M, 0.3), 0.3)[0]

    w, E = np.linalg.eigh(Sigma)
    s = np.linalg.svd((E * np.sqrt(w)) @ E.T @ W, compute_uv=False)
    assert root(phi @ trained(4, W) - y) == pytest.approx(root(phi @ W - y), rel=1e-12)
    for m in (1, 2, 3):
        W_S, cost = trained(m, frontier.truncate(W, m, Sigma).W), np.sqrt(np.sum(s[m:] ** 2))
        assert root(phi @ (W_S - W)) == pytest.approx(cost, rel=1e-9)
        assert root(phi @ W_S - y) <= root(phi @ W - y) + cost
        assert root(phi @ (trained(m, frontier.truncate(W, m).W) - W)) > 1.001 * cost  # Sigma forgotten
        for _ in range(50):
            other = refit(rng.normal(size=(m, 6)), rng.normal(size=(m, 4)), 0.3)[0]
            near = W_S + 0.1 * rng.normal(size=(6, 6)) @ W_S
            assert min(root(phi @ (other - W)), root(phi @ (near - W))) >= cost
    for changes in (E[:, -1:] @ rng.normal(size=(1, 4)), rng.normal(size=(6, 4))):  # a set stored with an error
        most = np.sqrt(w[-1]) * np.linalg.norm(changes)
        assert root(phi @ (W + changes) - y) <= root(phi @ W - y) + most
        assert root(phi @ changes) <= most * (1 + 1e-12)
    assert root(phi @ E[:, -1:]) == pytest.approx(np.sqrt(w[-1]), rel=1e-12)  # attained


@pytest.mark.parametrize("lam_S", [0.0, 0.7])
def test_sets_for_a_model_with_an_intercept(rng, lam_S):
    """r + 1 points, by scikit-learn; one point fewer has centred features of too low a rank."""
    from sklearn.linear_model import LinearRegression, Ridge

    W, b = conditioned(rng, 6, 3, 3, rank=2), rng.normal(size=(1, 3))
    Phi_S, Y_S, lam = intercept.exact_set(rng.normal(size=(3, 6)), W, b, lam_S, choose=nearest.nearest)
    model = (Ridge(lam, solver="svd") if lam else LinearRegression()).fit(Phi_S, Y_S)
    assert error(model.coef_.T, W) < 1e-9 and error(model.intercept_[None], b) < 1e-9
    with pytest.raises(ValueError, match="no exact set has fewer than 3 points"):
        intercept.exact_set(rng.normal(size=(2, 6)), W, b, lam_S)


def test_one_set_for_every_lambda(rng):
    Phi, Y = conditioned(rng, 40, 7, 10, rank=5), rng.normal(size=(40, 2))
    Phi_S, Y_S = frontier.every_lambda(Phi, Y)[:2]
    assert Phi_S.shape == (5, 7)
    for lam in (0.0, 1e-3, 1.0, 1e3):
        assert error(refit(Phi_S, Y_S, lam)[0], krr.fit(Phi, Y, lam)) < tolerance(1e3, "float64")
    smaller = distill.features(krr.fit(Phi, Y, 1.0), np.eye(2))  # exact at one lambda only
    assert error(refit(smaller, np.eye(2), 0.0)[0], krr.fit(Phi, Y, 1.0)) < tolerance(100, "float64")
    assert error(refit(smaller, np.eye(2), 0.01)[0], krr.fit(Phi, Y, 1.01)) > 1e-3


def test_the_krylov_space_counts_the_points_for_every_lambda(rng):
    w = np.array([4.0, 4, 4, 1, 1, 0.25, 0])  # B sees the eigenvalues 4 and 1, not 0.25
    U, V = np.linalg.qr(rng.normal(size=(40, 7)))[0], np.linalg.qr(rng.normal(size=(7, 7)))[0]
    Phi, Y = (U * np.sqrt(w)) @ V.T, U[:, [0, 1, 3]].sum(axis=1, keepdims=True)
    G, B, lams = Phi.T @ Phi, Phi.T @ Y, (0.01, 0.3, 1.0, 30.0)
    models = np.hstack([np.linalg.solve(G + lam * np.eye(7), B) for lam in lams])
    N, s, _ = np.linalg.svd(np.hstack([np.linalg.matrix_power(G, j) @ B for j in range(7)]))
    parts = [V[:, w == x] @ (V[:, w == x].T @ B) for x in (4.0, 1.0, 0.25)]
    dimension = int(np.sum(s > 1e-10 * s[0]))
    assert dimension == sum(np.linalg.norm(part) > 1e-10 for part in parts) == 2  # statement 4
    assert np.linalg.matrix_rank(models, tol=1e-10) == 2  # statement 2
    value, E = np.linalg.eigh(N[:, :2].T @ G @ N[:, :2])
    root = E * np.sqrt(value)  # statement 3: T^(1/2) up to a rotation
    Phi_S, Y_S = root.T @ N[:, :2].T, np.linalg.solve(root, N[:, :2].T @ B)
    for lam, W in zip(lams, models.T, strict=True):
        assert error(refit(Phi_S, Y_S, lam)[0][:, 0], W) < tolerance(1e3, "float64")
    for _ in range(50):  # one point fewer misses some model
        row = rng.normal(size=(1, 2)) @ N[:, :2].T
        row = row / np.linalg.norm(row)
        miss = np.linalg.norm(models - row.T @ (row @ models), axis=0) / np.linalg.norm(models, axis=0)
        assert np.max(miss) > 1e-2


# -- chapters 9 and 11: a hypothesis each


def test_decisions_at_all_inputs_may_need_fewer_points_than_the_count(rng):
    """phi(x) = (1, x, x^2), scores that never cross: one point keeps every decision; the centred model needs two."""
    x = np.linspace(-50, 50, 2001)[:, None]
    Phi = np.hstack([x**0, x, x**2])
    for _ in range(20):
        a, b, c = rng.uniform(0.5, 2), rng.normal(), rng.uniform(0.1, 3)
        w = np.array([[a * b**2 + c, 2 * a * b, a]]).T  # a (x + b)^2 + c, without real zeros
        W = rng.normal(size=(3, 1)) + w @ [[1.0, -1.0]] * rng.choice([-1.0, 1.0])
        sign = np.sign(W[0, 0] - W[0, 1])
        W_S, _ = refit(np.array([[1.0, 0.0, 0.0]]), np.array([[sign, -sign]]), 0.0)
        assert np.array_equal(np.argmax(Phi @ W_S, 1), np.argmax(Phi @ W, 1))
        z = rng.normal(size=(500, 3))  # vectors that are no features: there the decisions differ
        assert np.mean(np.argmax(z @ W_S, 1) != np.argmax(z @ W, 1)) > 0.01
    assert np.linalg.matrix_rank(frontier.centre(W)) == 1  # of the count max(1, ceil(3 / 2)) = 2


def test_statistics_are_enough_for_labels_no_longer_than_the_targets(rng):
    """R^T R = G and R^T Y_R = B: the losses differ by a constant, which a row of zeros makes up for if it is positive."""
    Phi, Y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    R = np.vstack([np.linalg.qr(Phi)[1], np.zeros((1, 4))])
    for length, enough in ((0.5, True), (30.0, False)):
        Y_R = np.vstack([np.linalg.lstsq(R[:4].T, Phi.T @ Y, rcond=None)[0], np.full((1, 2), length)])
        assert error(R.T @ R, Phi.T @ Phi) < 1e-13 and error(R.T @ Y_R, Phi.T @ Y) < 1e-13
        missing = np.linalg.norm(Y) ** 2 - np.linalg.norm(Y_R) ** 2
        assert bool(missing >= 0) is enough
        for V in rng.normal(size=(20, 4, 2)):
            gap = np.linalg.norm(Phi @ V - Y) ** 2 - np.linalg.norm(R @ V - Y_R) ** 2
            assert gap == pytest.approx(missing, rel=1e-9)
    R, Y_R = np.array([[5**0.5], [0]]), np.array([[2 / 5**0.5], [10]])  # of Phi = (1, 2), Y = (1, 1/2)
    assert 1.25 - np.sum(Y_R**2) == pytest.approx(-99.55)


# -- the appendix of the paper, Theorems C.1 and C.2, in our notation (rows are samples)


@pytest.mark.parametrize("lam_S", [0.0, 0.05])
def test_appendix_theorem_c1(rng, lam_S):
    """F = (Phi_lam^+)^+: full rank and F W = Y_S is necessary for m <= p, sufficient for m >= p."""
    p, k = 8, 3
    W = conditioned(rng, p, k, 2)
    for m in (5, 8, 11):
        Phi_S = np.concatenate([W.T, rng.normal(size=(m - k, p))])
        Y_S = distill.labels(Phi_S, W, lam_S)
        F = np.linalg.pinv(krr.regularized_pinv(Phi_S, lam_S))
        assert np.linalg.matrix_rank(F) == min(m, p)
        assert error(F @ W, Y_S) < tolerance(1e3, "float64")  # F = Y_S W^+ + Z' (I - W W^+) says just this
        if m >= p:  # sufficient: any F of full rank with F W = Y_S
            G = F + rng.normal(size=(m, p)) @ (np.eye(p) - W @ np.linalg.pinv(W))
            assert error(np.linalg.pinv(G) @ Y_S, W) < tolerance(1e3, "float64")


def test_appendix_theorem_c2(rng):
    """F = Y_S W^+ + (I - Y_S Y_S^+) Z' (I - W W^+) is exact at lam_S = 0. It need not be without the left projector,
    though F W = Y_S, and not at rank(W) < k, where (Y_S W^+)^+ is not W Y_S^+; the paper does not ask for rank k."""
    p, k, m = 9, 3, 6
    W, Y_S, Z = conditioned(rng, p, k, 2), one_hot(m, k), rng.normal(size=(m, p))
    Y_S = Y_S * rng.uniform(1, 4, size=(m, 1))  # labels of different sizes

    def family(W, left):
        return Y_S @ np.linalg.pinv(W) + left @ Z @ (np.eye(p) - W @ np.linalg.pinv(W))

    off_Y = np.eye(m) - Y_S @ np.linalg.pinv(Y_S)
    assert error(np.linalg.pinv(family(W, off_Y)) @ Y_S, W) < tolerance(100, "float64")
    F = family(W, np.eye(m))
    assert error(F @ W, Y_S) < tolerance(100, "float64") and error(np.linalg.pinv(F) @ Y_S, W) > 1e-2
    W = W[:, :1] @ rng.normal(size=(1, k))
    assert error(np.linalg.pinv(family(W, off_Y)) @ Y_S, W) > 1e-2


# -- the algorithm of the paper, and a library nobody here wrote


def test_algorithm_1_from_noise(rng):
    """Random Z, balanced one-hot labels, any m: exact, by scikit-learn's estimators trained on the set."""
    from sklearn.linear_model import LinearRegression, Ridge

    W = conditioned(rng, 30, 5, 4)
    for m in (5, 10, 25):
        Y_S, Z = one_hot(m, 5), 0.05 * rng.normal(size=(30, m))
        for fraction in (0.0, 0.5, 1.0):
            lam_S = fraction * distill.largest_lam(W, Y_S, Z=Z)
            Phi_S = distill.features(W, Y_S, lam_S, Z=Z)
            model = (
                Ridge(alpha=lam_S, fit_intercept=False, solver="svd")
                if lam_S
                else LinearRegression(fit_intercept=False)
            )
            assert error(model.fit(Phi_S, Y_S).coef_.T, W) < tolerance(np.linalg.cond(Phi_S), "float64")


# -- chapter 8 in rational arithmetic: equality, no tolerance


def linear_map(rng, d, p, q):
    """T (d, p) of rank q, b outside its row space, and h with ``(X T + b) h = 1`` for all X."""
    T, b = integers(rng, d, q) @ integers(rng, q, p), integers(rng, 1, p)
    while rank(T) < q or rank(np.vstack([T, b])) < q + 1:
        T, b = integers(rng, d, q) @ integers(rng, q, p), integers(rng, 1, p)
    return T, b, pinv(np.vstack([T, b]))[:, -1:]


def of_rank(rng, rows, columns, r):
    A = integers(rng, rows, r) @ integers(rng, r, columns)
    while rank(A) < r:
        A = integers(rng, rows, r) @ integers(rng, r, columns)
    return A


def labels_train(W, T, b, Y, Z=None):
    """Whether eq-linear-carrier gives inputs that train W with the labels Y; with Z any other D with ``D Y = W``."""
    ones, h = fractions(np.ones((len(Y), 1), dtype=int)), pinv(np.vstack([T, b]))[:, -1:]
    D, n = W @ pinv(Y), ones - Y @ (pinv(Y) @ ones)
    if Z is not None:
        D = D + Z @ (eye(len(Y)) - Y @ pinv(Y))
    elif np.any(n != 0):
        D = D + (h - D @ ones) @ n.T / (n.T @ n)[0, 0]
    Phi = pinv(D)
    X = (Phi - ones @ b) @ pinv(T)
    return equal(X @ T + ones @ b, Phi) and equal(train(X @ T + ones @ b, Y, 0), W)


LINEAR = [(3, 5, 3, 2), (4, 5, 2, 2), (3, 5, 3, 1)]  # d, p, rank of T, k: the second has a bottleneck


@pytest.mark.parametrize("shape", LINEAR)
@pytest.mark.parametrize("spare", [0, 1, 2])
def test_given_labels_can_be_had_in_three_cases_and_no_other(rng, shape, spare):
    """thm-linear-labels, cor-linear-one-hot (1)."""
    d, p, q, k = shape
    T, b, h = linear_map(rng, d, p, q)
    M = of_rank(rng, q + 1, k, k)
    rows, m = reduced(np.vstack([T, b]))[0].T, k + spare
    W = rows @ M
    g, Y = pinv(W) @ h, of_rank(rng, m, k, k)
    while np.any(Y @ g == 0) or len(np.unique(Y @ g)) < m:
        Y = of_rank(rng, m, k, k)
    ones = fractions(np.ones((m, 1), dtype=int))
    assert not spans(W.T, h)
    on = Y / (Y @ g)
    assert rank(np.hstack([on, ones])) == k and labels_train(W, T, b, on)  # (a)
    off = 2 * on
    others = [None, *(rows @ integers(rng, q + 1, m) for _ in range(3))]
    assert not any(labels_train(W, T, b, off, Z) for Z in others)  # 1 among the labels, but off the hyperplane
    if spare:
        free = of_rank(rng, m, k, k)
        while rank(np.hstack([free, ones])) == k or np.sum(free) == 0:
            free = of_rank(rng, m, k, k)
        assert labels_train(W, T, b, free)  # (b)
        W[:, :1] = W[:, :1] + h - W @ ones[:k]
        assert equal(W @ ones[:k], h) and rank(W) == k
        on = free / (np.sum(free) / m)
        assert labels_train(W, T, b, on)  # (c)
        assert not any(labels_train(W, T, b, 2 * on, Z) for Z in others)  # their mean off the hyperplane


def test_labels_of_a_larger_rank_must_sum_to_zero_where_the_model_is_zero(rng):
    T, b, _ = linear_map(rng, 3, 5, 3)
    W = np.vstack([T, b]).T @ integers(rng, 4, 1) @ fractions([[1, 2]])  # W z = 0 for z = (2, -1)
    Y = fractions([[3], [1], [0], [1]]) @ fractions([[1, 2]])
    for residual, fits in (([1, 0, -1, 0], True), ([1, 0, 1, 0], False)):
        labels = Y + fractions(residual)[:, None] @ fractions([[2, -1]])
        assert rank(labels) == 2 > rank(W) and labels_train(W, T, b, labels) == fits


@pytest.mark.parametrize("shape", LINEAR)
def test_models_of_targets_that_sum_to_one_take_one_hot_labels(rng, shape):
    """cor-linear-one-hot (2), (3): the normal g is 1 at lam = 0, and at every lam one factor a class is enough."""
    d, p, q, k = shape
    T, b, h = linear_map(rng, d, p, q)
    Phi = integers(rng, 7, d) @ T + fractions(np.ones((7, 1), dtype=int)) @ b
    targets = fractions(np.eye(k, dtype=int)[np.arange(7) % k])
    soft = fractions(1 + np.arange(7 * k).reshape(7, k) ** 2)
    for Y in (targets, soft / np.sum(soft, axis=1, keepdims=True)):
        W = train(Phi, Y, 0)
        assert rank(W) == k and equal(pinv(W) @ h, 0 * h[:k] + 1)
        assert labels_train(W, T, b, eye(k)) and labels_train(W, T, b, np.vstack([eye(k), eye(k)]))
    W = train(Phi, targets, 3)
    g = pinv(W) @ h
    assert np.all(g != 0) and not equal(g, 0 * g + 1)
    assert labels_train(W, T, b, eye(k) / g.T) and not labels_train(W, T, b, eye(k))


def test_the_bias_row_is_the_sum_of_the_residuals_over_lambda_to_the_last_digit(rng):
    """prop-linear-residuals; an intercept that is not penalised makes both zero."""
    T, b, h = linear_map(rng, 4, 5, 2)
    Phi, Y = integers(rng, 6, 4) @ T + fractions(np.ones((6, 1), dtype=int)) @ b, integers(rng, 6, 2)
    for lam in (Fraction(1, 3), 2):
        W = train(Phi, Y, lam)
        assert equal(lam * h.T @ W, np.sum(Y - Phi @ W, axis=0)[None, :]) and np.any(h.T @ W != 0)
        J = eye(6) - fractions(np.full((6, 6), 1)) / 6
        W = train(J @ Phi, J @ Y, lam)
        assert np.all(h.T @ W == 0) and np.any(W != 0)


@pytest.mark.parametrize("r", [1, 2])
def test_the_count_with_biases_is_that_of_the_constant_row(rng, r):
    """thm-linear-bias: the constructions of its proof, and too few points."""
    T, b, h = linear_map(rng, 3, 6, 3)
    ones = fractions(np.ones((r + 1, 1), dtype=int))
    M = of_rank(rng, 4, 3, r)
    while np.all(M[3] == 0) or rank(M[:3]) < r:
        M = of_rank(rng, 4, 3, r)
    F = M[:, reduced(M)[1]]
    j = int(np.flatnonzero(F[3] != 0)[0])
    S = eye(r)
    S[j] = S[j] + (1 - F[3]) / F[3, j]
    X = (F @ S)[:3].T  # part 2
    W, without = np.vstack([T, b]).T @ M, T.T @ M[:3]
    assert rank(W) == rank(without) == r and np.all(h.T @ without == 0)
    assert equal((F @ S)[3], ones[:r, 0]) and spans(X @ T + ones[:r] @ b, W)
    R = M[:3, reduced(M[:3])[1]]
    X = np.vstack([R.T, 0 * R[:, :1].T])  # part 3: c or not
    Phi = X @ T + ones @ b
    assert spans(Phi, W) and spans(Phi, without)
    for lam in (0, 2):
        assert equal(train(Phi, (Phi + lam * pinv(Phi).T) @ W, lam), W)
    for _ in range(10):  # part 1
        X = integers(rng, r, 3, largest=2)
        assert not spans(X @ T + ones[:r] @ b, without) and not spans(X[1:] @ T + ones[1:r] @ b, W)


def test_without_biases_inputs_do_whatever_features_do(rng):
    """thm-linear-no-bias: any exact features become inputs, and no inputs carry a model outside the row space."""
    T = of_rank(rng, 4, 5, 3)
    W = T.T @ integers(rng, 4, 2)
    for lam in (0, Fraction(1, 2)):
        Phi = np.vstack([W.T, integers(rng, 1, 5)])
        Y = (Phi + lam * pinv(Phi).T) @ W
        X = Phi @ pinv(T)
        assert not spans(T, Phi.T) and equal(train(Phi, Y, lam), W) and equal(train(X @ T, Y, lam), W)
    outside = W + (eye(5) - pinv(T) @ T) @ integers(rng, 5, 2)
    assert not spans(T, outside) and not spans(integers(rng, 9, 4) @ T, outside)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_the_block_of_the_published_theorem_has_the_rank_of_the_first_layer(rng, first):
    """prop-block-rank, samples as columns: where H has rank p its kernel, the last singular vectors, has too small a
    second half."""
    d, p, k = 3, 5, min(first, 2)
    H = eye(p)[:, :0]
    while rank(H) < p:
        layer, later, W = of_rank(rng, p, d, first), of_rank(rng, p, p, p), of_rank(rng, k, p, k)
        F = later @ layer @ pinv(layer)
        H = np.hstack([F, pinv(W) @ W - eye(p)])
    block = (eye(2 * p) - pinv(H) @ H)[p:]
    assert rank(block) == first < p
