"""Chapter 10: what a strictly positive definite kernel needs, and the hypothesis without which it needs less."""

import ast
import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.kernel_ridge import KernelRidge

from conftest import error
from ddref import krr
from ddref.measure import tolerance
from tools import notebooks


def gauss(A, B, gamma=0.5):
    return np.exp(-gamma * cdist(A, B, "sqeuclidean"))


def square(A, B):
    return (1 + A @ B.T) ** 2


def left(Z, X, alpha, kernel=gauss):
    """Relative error of the best function of the points Z, from one positive definite matrix of all the points.

    The difference of the two functions has the coefficients c at the rows of U; its squared norm is c^T K_UU c.
    """
    beta = np.linalg.lstsq(kernel(Z, Z), kernel(Z, X) @ alpha, rcond=None)[0]
    U, c = np.vstack([X, Z]), np.vstack([alpha, -beta])
    return np.sqrt(max(np.sum(c * (kernel(U, U) @ c)), 0) / np.sum(alpha * (kernel(X, X) @ alpha)))


def apart(rng, n, d, least=0.5):
    """Points whose distances are at least `least`, so that their kernel matrix is well conditioned."""
    points = rng.uniform(-1, 1, size=(1, d)) * n
    while len(points) < n:
        new = rng.uniform(-1, 1, size=(1, d)) * n
        points = np.vstack([points, new]) if cdist(points, new).min() > least else points
    return points


def test_the_functions_of_distinct_points_are_independent_in_exact_arithmetic():
    """Kernel 2^-(x - x')^2 at whole numbers: the determinants are rational numbers, and positive."""

    def determinant(A):
        A, value = [list(row) for row in A], Fraction(1)
        for j in range(len(A)):
            value *= A[j][j]
            for i in range(j + 1, len(A)):
                factor = A[i][j] / A[j][j]
                A[i] = [a - factor * b for a, b in zip(A[i], A[j], strict=True)]
        return value

    for chosen in itertools.chain(*(itertools.combinations(range(-3, 4), size) for size in range(1, 7))):
        assert determinant([[Fraction(1, 2 ** ((a - b) ** 2)) for b in chosen] for a in chosen]) > 0


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 7), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_every_point_with_a_coefficient_is_needed(n, d, k, seed):
    """Without x_i, whatever the labels of the others, ||alpha_i|| / sqrt((K^-1)_ii) is missing."""
    rng = np.random.default_rng(seed)
    X, alpha = apart(rng, n, d), rng.normal(size=(n, k))
    alpha[rng.random(n) < 0.3] = 0
    if not alpha.any():
        return
    K = gauss(X, X)
    size = np.sqrt(np.sum(alpha * (K @ alpha)))
    for i in range(n):
        missing = np.linalg.norm(alpha[i]) / np.sqrt(np.linalg.inv(K)[i, i]) / size
        found = left(np.delete(X, i, axis=0), X, alpha)
        assert abs(found - missing) < 1e-6 * np.linalg.cond(K) ** 0.5  # a root of rounding where it is zero
        assert (found > 1e-4) or missing < 2e-4


def test_no_fewer_points_are_exact_wherever_they_are(rng):
    X, alpha = apart(rng, 4, 2, 1.0), rng.normal(size=(4, 2))
    for m in (1, 2, 3):
        tries = (minimize(lambda z: left(z.reshape(-1, 2), X, alpha), rng.normal(size=2 * m) * 2) for _ in range(5))
        assert min(found.fun for found in tries) > 0.01
    start = X + 0.1 * rng.normal(size=X.shape)
    assert minimize(lambda z: left(z.reshape(-1, 2), X, alpha) ** 2, start.ravel()).fun < 1e-6


def test_the_points_with_a_coefficient_suffice_for_every_lam(rng):
    """Repeated points merged, a point labelled by its prediction left out: the same predictions, by scikit-learn."""
    X, lam, far = apart(rng, 6, 2), 0.3, rng.normal(size=(40, 2)) * 4
    extra = rng.normal(size=(1, 2))
    rows, Y = np.vstack([X, X[:3], extra]), rng.normal(size=(10, 2))
    Y[9] = gauss(extra, rows[:9]) @ krr.fit_dual(gauss(rows[:9], rows[:9]), Y[:9], lam)
    full = krr.fit_dual(gauss(rows, rows), Y, lam)
    assert np.abs(full[9]).max() < 1e-12
    alpha = full[:6] + np.vstack([full[6:9], np.zeros((3, 2))])
    want = KernelRidge(alpha=lam, kernel="rbf", gamma=0.5).fit(rows, Y).predict(far)
    for lam_S in (0.0, 0.3, 20.0):
        Y_S = gauss(X, X) @ alpha + lam_S * alpha
        again = KernelRidge(alpha=lam_S, kernel="rbf", gamma=0.5).fit(X, Y_S).predict(far)
        assert error(again, want) < tolerance(np.linalg.cond(gauss(X, X)), "float64")


def test_the_only_exact_set_of_n_points_is_the_training_set(rng):
    """Among n + 4 candidate points, the only coefficients with the same function are those of the training points."""
    X, Y, lam, lam_S = apart(rng, 5, 2), rng.normal(size=(5, 2)), 0.2, 1.5
    alpha = krr.fit_dual(gauss(X, X), Y, lam)
    more = np.vstack([X, X + 0.7])
    K = gauss(more, more)
    found = np.linalg.solve(K, K[:, :5] @ alpha)  # the values at all the points fix the coefficients
    assert error(found, np.vstack([alpha, np.zeros((5, 2))])) < tolerance(np.linalg.cond(K), "float64")
    assert error(krr.fit_dual(gauss(X, X), Y + (lam_S - lam) * alpha, lam_S), alpha) < 1e-12


@pytest.mark.parametrize("lam", [0.0, 0.4])
def test_a_point_whose_label_is_predicted_is_not_needed(rng, lam):
    X, Y = apart(rng, 6, 2), rng.normal(size=(6, 1))
    K = gauss(X, X)
    Y[5] = K[5:, :5] @ krr.fit_dual(K[:5, :5], Y[:5], lam)
    assert abs(krr.fit_dual(K, Y, lam)[5, 0]) < 1e-12
    Y[5] += 0.1
    assert abs(krr.fit_dual(K, Y, lam)[5, 0]) > 0.01


def test_a_kernel_with_finitely_many_features_needs_no_more_points_than_features(rng):
    """The hypothesis dropped: for (1 + x x')^2 three of thirty points are exact, and two if they may be chosen."""
    X, far = rng.uniform(-2, 2, size=(30, 1)), np.linspace(-3, 3, 50)[:, None]
    alpha = krr.fit_dual(square(X, X), rng.normal(size=(30, 2)), 0.1)
    want = square(far, X) @ alpha
    limit = tolerance(np.linalg.cond(square(X, X) + 0.1 * np.eye(30)), "float64")  # alpha is large and cancels
    for three in (X[:3], np.array([[-1.0], [0.0], [1.0]])):
        beta = np.linalg.solve(square(three, three), square(three, X) @ alpha)
        assert error(square(far, three) @ beta, want) < limit
    # one output: f = (1, x) M (1, x)^T, and the eigenvectors (a, b) of M are the points b / a
    f = np.polyfit(far[:, 0], want[:, 0], 2)
    M = np.array([[f[2], f[1] / 2], [f[1] / 2, f[0]]])
    two = (lambda V: (V[1] / V[0])[:, None])(np.linalg.eigh(M)[1])
    beta = np.linalg.solve(square(two, two), np.polyval(f, two))
    assert error(square(far, two) @ beta, want[:, :1]) < limit
    assert np.linalg.matrix_rank(gauss(X[:8] * 3, X[:8] * 3)) == 8 > np.linalg.matrix_rank(square(X[:8], X[:8])) == 3


def test_the_optimiser_of_the_chapter_follows_the_gradient(rng):
    """`moved` of the chapter ends where the error, computed without it, has no slope, and below its start."""
    cells = notebooks.code_cells(notebooks.read(notebooks.CHAPTERS / "10_infinite.ipynb"))
    (cell,) = [cell for cell in cells if "function" in cell.metadata.get("tags", [])]
    from sklearn.metrics.pairwise import rbf_kernel

    from ddref import kernel_points

    namespace = {"np": np, "rbf_kernel": rbf_kernel, "kernel_points": kernel_points, "minimize": minimize}
    exec(compile(ast.parse(cell.source), "10_infinite", "exec"), namespace)
    X, alpha, start = apart(rng, 7, 2), rng.normal(size=(7, 2)), rng.normal(size=(3, 2))
    Z = namespace["moved"](start, X, alpha, 0.5)
    here = left(Z, X, alpha) ** 2
    steps = 1e-4 * np.eye(6).reshape(6, 3, 2)
    slope = [(left(Z + step, X, alpha) ** 2 - left(Z - step, X, alpha) ** 2) / 2e-4 for step in steps]
    assert np.abs(slope).max() < 1e-4 and here < left(start, X, alpha) ** 2 - 1e-3
