"""Exact sets within bounds, against an optimiser that knows nothing of them."""

import numpy as np
import pytest
from exactly import equal, fractions, integers, rank, spans, train
from scipy.optimize import minimize

from conftest import error, refit
from ddref import box, distill, nearest
from ddref.measure import tolerance


def within(Phi_S, low, high):
    return bool(np.all(np.asarray(Phi_S) >= low) and np.all(np.asarray(Phi_S) <= high))


@pytest.mark.parametrize("m", [3, 6, 14])
def test_sets_in_the_box_are_exact_for_every_lam_and_nearer_than_shortened_rows(nx, rng, m):
    """prop-box: exact, within, not nearer than the bound."""
    W, Phi_0 = rng.normal(size=(9, 3)), rng.uniform(-1, 1, size=(m, 9))
    bound = nearest.nearest_lower_bound(Phi_0, W)
    given = [nx.asarray(A) for A in (Phi_0, W)]
    Phi_S = box.nearest(*given, -1, 1)
    assert within(Phi_S, -1, 1) and type(Phi_S) is type(given[0]) and Phi_S.dtype == given[0].dtype
    shorter = box.shrink(nearest.nearest(*given), -1, 1)
    moved, most = (np.linalg.norm(np.asarray(A) - Phi_0) for A in (Phi_S, shorter))
    assert bound * (1 - 1e-4) <= moved <= most * (1 + 1e-6)
    for lam_S in (0.0, 0.3):
        W_S, condition = refit(Phi_S, distill.labels(Phi_S, given[1], lam_S), lam_S)
        assert error(W_S, given[1]) < tolerance(condition, nx.dtype)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_one_point_more_than_the_rank_is_exact_in_every_box_to_the_last_digit(rng, r):
    """prop-box, part 1, for features between 1 and 2; and no r = 1 point there spans a model with two signs."""
    W = integers(rng, 4, r) @ integers(rng, r, 3)
    while rank(W) < r or rank(W[:, :r]) < r:
        W = integers(rng, 4, r) @ integers(rng, r, 3)
    middle = fractions(np.full((1, 4), 3)) / 2
    Phi = np.vstack([middle + W[:, :r].T / (3 * np.max(np.abs(W))), middle])
    assert len(Phi) == r + 1 and within(Phi, 1, 2) and spans(Phi, W)
    assert equal(train(Phi, Phi @ W, 0), W)
    signs = fractions([[1], [-1], [1], [1]])
    assert not any(spans(1 + abs(integers(rng, 1, 4)) / 5, signs) for _ in range(20))


def test_a_set_inside_the_box_already_is_the_nearest_of_all(rng):
    W, Phi_0 = rng.normal(size=(8, 2)), rng.normal(size=(5, 8))
    free = nearest.nearest(Phi_0, W)
    low, high = free.min(), free.max()
    assert np.array_equal(box.nearest(Phi_0, W, low, high), free)
    assert not np.array_equal(box.nearest(Phi_0, W, low, np.nextafter(high, 0)), free)


def slsqp(A, alpha, Q, high):
    """The nearest rows in the box with B^T alpha = Q, one feature after the other; None where there are none."""
    columns = []
    for j in range(A.shape[1]):
        best = minimize(
            lambda x, j=j: np.sum((x - A[:, j]) ** 2),
            np.zeros(len(A)),
            bounds=[(-high[j], high[j])] * len(A),
            constraints={"type": "eq", "fun": lambda x, j=j: alpha.T @ x - Q[j]},
            options={"ftol": 1e-14, "maxiter": 300},
        )
        if not best.success:
            return None
        columns.append(best.x)
    return np.array(columns).T


def test_no_other_set_with_the_same_coefficients_is_nearer():
    taken = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        W, Phi_0 = rng.normal(size=(4, 2)), rng.uniform(-1, 1, size=(5, 4))
        Q, high = np.linalg.qr(W)[0], rng.uniform(0.4, 1, size=4)
        free = nearest.nearest(Phi_0, W)
        starts = {"as it is": free, "shortened": box.shrink(free, -high, high)}
        for name in starts:
            expected = slsqp(Phi_0, np.linalg.pinv(starts[name]).T @ Q, Q, high)
            if expected is not None:
                taken.add(name)
                break
        assert np.allclose(box.nearest(Phi_0, W, -high, high), expected, atol=1e-6)
    assert taken == {"as it is", "shortened"}  # both kinds of coefficients were met


def test_float32_comes_as_near_as_float64():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        W, Phi_0 = rng.normal(size=(8, 2)), rng.uniform(-1, 1, size=(6, 8))
        exact, single = (box.nearest(Phi_0.astype(t), W.astype(t), -0.6, 0.6) for t in ("float64", "float32"))
        assert np.allclose(single, exact, rtol=0, atol=3e-6)


def test_bounds_without_zero_inside_serve_where_the_coefficients_allow_it(rng):
    """Pixels from 0 to 255 as they are: rows cannot be shortened, moving them may still do."""
    W, Phi_0 = rng.normal(size=(6, 2)), rng.uniform(0, 255, size=(9, 6))
    assert within(box.nearest(Phi_0, W, 0, 255), 0, 255)
    with pytest.raises(
        ValueError,
        match=r"of the features of the nearest set are out of bounds.*0 is inside",
    ):
        box.nearest(np.array([[1.0, 0.0]]), np.array([[1.0], [-1.0]]), 0, 5)


def test_shortened_rows_touch_the_box_and_others_are_left_alone():
    Phi_S = np.array([[4.0, 1.0, 0.0], [0.5, -0.5, 0.0], [-3.0, 0.0, 0.0]])
    shorter = box.shrink(Phi_S, -1.0, np.array([2.0, 2.0, 1.0]))
    assert np.array_equal(shorter[1], Phi_S[1]) and within(shorter, -1, 2)
    assert np.allclose(shorter[[0, 2]], [[2, 0.5, 0], [-1, 0, 0]], rtol=1e-15)


@pytest.mark.parametrize(
    "low, high, message",
    [
        (0.0, 1.0, "0 is not inside the bounds 0 to 1 of feature 0"),
        (
            np.array([-1.0, 0.5]),
            1.0,
            "0 is not inside the bounds 0.5 to 1 of feature 1",
        ),
        (1.0, -1.0, "low must be below high; high - low is -2"),
    ],
)
def test_rows_are_not_shortened_into_bounds_without_zero(low, high, message):
    with pytest.raises(ValueError, match=message):
        box.shrink(np.ones((1, 2)), low, high)


def test_a_limit_of_the_condition_holds_in_the_box_too():
    for seed, allowed in ((13, True), (1, False)):
        rng = np.random.default_rng(seed)
        W, Phi_0 = rng.normal(size=(8, 2)), rng.uniform(-1, 1, size=(5, 8))
        if allowed:
            assert 2.9 < np.linalg.cond(box.nearest(Phi_0, W, -0.5, 0.5, max_condition=3)) <= 3
        else:
            with pytest.raises(ValueError, match="55.0% of the features .* condition number up to 3"):
                box.nearest(Phi_0, W, -0.5, 0.5, max_condition=3)
            assert within(box.nearest(Phi_0, W, -0.5, 0.5, max_condition=100), -0.5, 0.5)
