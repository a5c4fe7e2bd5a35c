"""Right and wrong answers to the exercises of the book, by the label of the exercise."""

from functools import cache

import numpy as np
from sklearn.linear_model import Ridge

from ddref import datasets, distill, frontier, krr, maps, measure, nearest
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier
from ddref.nonsurjective import generic_count
from ddref.statistics import Statistics

# What a reader types, in Python and on the page: right answers, as exact as the text asks for, and wrong ones.
NUMBERS = {
    "ex-ridge-hand": (["10.0", "10", "9 + 1"], ["5.0", "0.0", "10.1"]),
    "ex-ridge-half": (["0.01", "1e-2", "0.1**2", "1 / 100"], ["0.1", "0.0101", "0.0099"]),
    "ex-necessity-count": (["(2, 1)", "2, 1", "[2, 1]"], ["(2, 2)", "(1, 1)", "(1, 2)", "2"]),
    "ex-necessity-one-point": (
        ["([1, 2, 2], [10, 20])", "[2, 4, 4], [37 / 2, 37]", "((-1, -2, -2), (-10, -20))"],
        ["([1, 2, 2], [9, 18])", "([1, 2, 2], [1, 2])", "([0, 0, 0], [0, 0])", "([1, 2, 2], [10, 21])", "([1, 2], [10, 20])"],
    ),
    "ex-necessity-cutoff": (["1e-6", "3e-8", "0.0000999", "1e-3**2"], ["1e-10", "0.5", "1e-4", "0", "-1e-6"]),
    "ex-two-branches": (["(0.1, 0.3)", "(0.3, 0.1)", "0.1, 3/10"], ["(0.1, 0.1)", "(0.2, 0.3)", "(0.1,)", "(0.1, 0.3, 0.1)"]),
    "ex-scale": (["11.343", "11.3", "11.34", "11.4", "sqrt(128.66)"], ["1.0", "1e3", "11.2", "11.5"]),  # "to 1 %"
    "ex-nearest-hand": (["3.0", "3"], ["4.0", "5.0", "0"]),
    "ex-fewer-tie": (["1.4", "7 / 5"], ["0.0", "3.0", "1.0", "1.39", "1.414"]),
    "ex-fewer-every": (
        [
            "([[2**0.5, 2**0.5, 0], [0, 0, 1]], [[2**0.5], [3]])",
            "[[0, 0, 1], [sqrt(2), sqrt(2), 0]], [3, sqrt(2)]",
            "([[1.4142, 1.4142, 0], [0, 0, -1]], [1.4142, -3])",
        ],
        [
            "([[2, 0, 0], [0, 2, 0], [0, 0, 1]], [[1], [1], [3]])",  # three points
            "([[1, 1, 0], [0, 0, 1]], [[2], [3]])",  # B right, G wrong
            "([[1, 1, 0], [1, 1, 0]], [[1], [1]])",
        ],
    ),
    "ex-invert": (["(2, -6)", "[2, -6.0]"], ["(2, -3)", "(2, -4)", "(-6, 2)"]),  # (2, -3) does not undo the LeakyReLU
    "ex-nearer": (["(2.4, -2.8)", "12 / 5, -14 / 5"], ["(3, -4)", "(2, -2)", "(2.4, 2.8)"]),  # (3, -4): step by step only
    "ex-fourier-factor": (["(0.25, 0.05)", "(1 / 4, 0.8 / 16)"], ["(0.25, 0.2)", "(0.5, 0.2)"]),  # c once; half-width
    "ex-linear-one-point": (["(-1.5, -6.5)", "(-3 / 2, -13 / 2)"], ["(0, -2)", "(1, 1)", "(1.5, 2.5)"]),
    "ex-parabola-partner": (["1.5", "3 / 2"], ["3.0", "-1.5"]),  # 3.0: the same point twice
    "ex-point-count": (["(26, 23)"], ["(25, 22)", "(26, 26)", "(25.2, 22.7)"]),  # rounded down; the rank not reduced
    "ex-infinite-label": (["9 / 16", "0.5625", "2**-4 + 2**-1"], ["0", "1.5", "0.56"]),
    "ex-infinite-parabola": (
        ["([1, -1], [2, 2])", "[2, -0.5], [5, 1.25]", "(-1, 1), (2, 2)"],
        ["([1, 2], [2, 5])", "([1, -1], [0.5, 0.5])", "([0, 1], [1, 2])"],
    ),
    "ex-kip-excess": (["3.2", "5 * 0.8**2"], ["0.64", "0.0"]),  # 0.64: without G
    "ex-scale-hand": (["2.0", "11 - 18 + 9"], ["11.0", "0.0"]),  # 11.0: nothing subtracted
    "ex-scale-cancel": (["2 / 1001", "0.002", "0.001998"], ["0.001", "0.002 * 2", "0.0021"]),  # 0.001: what was added only
    "ex-privacy-one-sample": (["(3, 183)"], ["(3, 182)", "(-3, 183)", "(3, 2)"]),  # 182: without lam * alpha
    "ex-privacy-replace": (["3 / sqrt(2)", "2.12", "sqrt(4.5)"], ["2.0", "2 * sqrt(2)", "sqrt(2)"]),
    "ex-your-alpha": (["255**2 * 0.02", "1300.5"], ["255 * 0.02", "0.02", "0.02 / 255**2", "1300"]),
    "ex-your-points": (["(7, 4, 21)"], ["(7, 3, 100)", "(8, 4, 21)", "(7, 4, 100)", "(7, 4)"]),
    "ex-results-bytes": (["258"], ["257", "65793"]),  # 65793 = 2**24 // 255: one pixel, not a product of two
    "ex-patch-answers": (["(0.6, -0.6)", "(3 / 5, -3 / 5)"], ["(3, -3)", "(1, -1)", "(0.75, -0.75)"]),  # no variance; no c
    "ex-photograph-count": (["10"], ["9", "11", "36", "9.35"]),
    "ex-compare-table": (["(5, 28)"], ["(5, 30)", "(28, 28)", "(5, 5)"]),
    "ex-compare-counts": (["(400, 16, 12)"], ["(400, 15, 11)", "(400, 16, 16)", "(100, 16, 12)"]),
}

# Functions and arrays as Python expressions: the solution, and wrong ones.
DIGITS = "datasets.standardize(datasets.digits().X_train, max_value=16).X_train"
TARGETS, CLASSES = "datasets.one_hot(datasets.digits().y_train, 10)", "datasets.digits().y_train"
CODE = {
    "ex-ridge-forget": (
        "(lambda Phi, Y, y: krr.path(*(a - b for a, b in zip(krr.gram(Phi, Y), krr.gram(Phi[y == 9], Y[y == 9]))),"
        f" [10.0])[0])({DIGITS}, {TARGETS}, {CLASSES})",
        [f"krr.fit({DIGITS}, {TARGETS}, 10.0)"],  # nothing forgotten
    ),
    "ex-ridge-augment": (
        "lambda P, Y, lam: (np.vstack([P, np.sqrt(lam) * np.eye(P.shape[1])]),"
        " np.vstack([Y, np.zeros((P.shape[1], Y.shape[1]))]))",
        [
            "lambda P, Y, lam: (P, Y)",  # nothing added
            "lambda P, Y, lam: (np.vstack([P, lam * np.eye(P.shape[1])]),"  # no square root
            " np.vstack([Y, np.zeros((P.shape[1], Y.shape[1]))]))",
            "lambda P, Y, lam: (np.vstack([P, np.sqrt(lam) * np.eye(P.shape[1])]),"  # targets that count
            " np.vstack([Y, np.ones((P.shape[1], Y.shape[1]))]))",
            "lambda P, Y, lam: (np.eye(P.shape[1]), krr.fit(P, Y, lam))",  # the model itself, as samples
        ],
    ),
    "ex-necessity-merge": (
        "lambda p, r: (np.eye(p, r), np.eye(p, r) * np.arange(1, r + 1))",
        [
            "lambda p, r: (np.eye(p, r), 2 * np.eye(p, r))",  # a multiple
            "lambda p, r: (np.eye(p, r), np.eye(p)[:, -r:])",  # other columns
            "lambda p, r: (np.eye(p, r), np.ones((p, r)))",  # of rank one
        ],
    ),
    "ex-labels": (
        "lambda Phi_S, W, lam_S: (Phi_S + lam_S * np.linalg.pinv(Phi_S).T) @ W",
        [
            "lambda Phi_S, W, lam_S: Phi_S @ W",
            "lambda Phi_S, W, lam_S: (1 + lam_S) * Phi_S @ W",
            "lambda Phi_S, W, lam_S: Phi_S @ W + lam_S * Phi_S @ np.linalg.inv(Phi_S.T @ Phi_S) @ W",
        ],
    ),
    "ex-two-lambdas": (
        "lambda W, lam_1, lam_2: np.sqrt(lam_2 - 2 * lam_1) * np.linalg.qr(W)[0].T",
        [
            "lambda W, lam_1, lam_2: np.linalg.qr(W)[0].T",  # any size
            "lambda W, lam_1, lam_2: np.sqrt(lam_2 - 2 * lam_1) * W.T",  # singular values that differ
            "lambda W, lam_1, lam_2: np.sqrt(lam_2 - 2 * lam_1) / 2**0.5"
            " * np.vstack(2 * [np.linalg.qr(W)[0].T])",  # twice as many points
        ],
    ),
    "ex-nearest-code": (
        "lambda P, W: (lambda I, U, s, V: I + (U * np.where(np.arange(len(s)) < len(P) - 2, s, 0)) @ V)("
        "P @ W @ np.linalg.pinv(W), *np.linalg.svd(P - P @ W @ np.linalg.pinv(W), full_matrices=False))",
        ["lambda P, W: P @ W @ np.linalg.pinv(W)", "lambda P, W: P"],  # nothing outside the span; nothing moved
    ),
    "ex-nearest-coefficients": (
        "lambda P, W, a: P + np.linalg.pinv(a).T @ (W - P.T @ a).T",
        [
            "lambda P, W, a: np.linalg.pinv(a).T @ W.T",  # nearest to zero
            "lambda P, W, a: P + a @ (W - P.T @ a).T",  # the pseudo-inverse forgotten
            "lambda P, W, a: P",
        ],
    ),
    "ex-fewer-weights": (
        "lambda W, H, w, m: frontier.truncate(W * np.sqrt(w), m, H).W / np.sqrt(w)",
        [
            "lambda W, H, w, m: frontier.truncate(W, m, H).W",  # weights forgotten
            "lambda W, H, w, m: frontier.truncate(W * w, m, H).W / w",  # their squares
            "lambda W, H, w, m: frontier.truncate(W * np.sqrt(w), m).W / np.sqrt(w)",  # H forgotten
            "lambda W, H, w, m: W",  # of full rank
        ],
    ),
    "ex-relu": (
        "lambda W: (lambda Q: np.vstack([Q.T + abs(Q).max(), np.full((1, len(W)), abs(Q).max())]))"
        "(np.linalg.qr(W)[0])",
        [
            "lambda W: np.linalg.qr(W)[0].T",
            "lambda W: np.vstack([abs(np.linalg.qr(W)[0].T), np.ones((1, len(W)))])",
        ],
    ),
    "ex-all-preimages": (
        "lambda A, s, P, V: np.where(P < 0, P / s, P) @ np.linalg.pinv(A) + V - V @ A @ np.linalg.pinv(A)",
        [
            "lambda A, s, P, V: np.where(P < 0, P / s, P) @ np.linalg.pinv(A)",  # V forgotten
            "lambda A, s, P, V: np.where(P < 0, P / s, P) @ np.linalg.pinv(A) + V",  # V moves the features
            "lambda A, s, P, V: P @ np.linalg.pinv(A) + V - V @ A @ np.linalg.pinv(A)",  # LeakyReLU left
        ],
    ),
    "ex-fourier-rows": (
        "lambda P, W, lam: (lambda F: (F, distill.labels(F, W, lam)))("
        "P * np.minimum(1, 0.999 * np.sqrt(2 / P.shape[1]) / np.abs(P).max(axis=1, keepdims=True)))",
        [
            "lambda P, W, lam: (P, distill.labels(P, W, lam))",  # outside the cube
            "lambda P, W, lam: maps.into_cube(P, distill.labels(P, W, lam), lam)[:2]",  # one factor, lam kept
        ],
    ),
    "ex-fourier-far": (
        "lambda A, x, R: (lambda u: x + np.ceil(R / np.linalg.norm(u)) * u)(2 * np.pi * np.linalg.inv(A)[:1])",
        [
            "lambda A, x, R: x + 2 * np.pi * np.linalg.inv(A)[:1]",  # a period, not far
            "lambda A, x, R: (lambda u: x + R / np.linalg.norm(u) * u)(np.linalg.inv(A)[:1])",  # no whole number
            "lambda A, x, R: x + 2 * np.pi * np.ceil(R) * np.eye(1, len(A))",  # a period of x, not of x A
        ],
    ),
    "ex-linear-count": (
        "lambda W, T, b: np.linalg.matrix_rank(W) + int("
        "np.linalg.norm(np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1] @ W) < 1e-9)",
        [
            "lambda W, T, b: np.linalg.matrix_rank(W)",
            "lambda W, T, b: np.linalg.matrix_rank(W) + 1",
            "lambda W, T, b: np.linalg.matrix_rank(W) + int(np.linalg.norm(W[2]) < 1e-9)",  # a row of W, not c
            "lambda W, T, b: np.linalg.matrix_rank(W) + int(np.linalg.norm(b @ W) < 1e-9)",  # b in the place of h
        ],
    ),
    "ex-linear-factors": (
        "lambda W, T, b, Y: (lambda heights: Y / heights if np.abs(heights).min() > 1e-9 else None)("
        "Y @ np.linalg.pinv(W) @ np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1:])",
        [
            "lambda W, T, b, Y: Y / (Y @ np.linalg.pinv(W)"  # never None
            " @ np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1:])",
            "lambda W, T, b, Y: Y / (Y @ W.T @ np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1:])",  # c for g
            "lambda W, T, b, Y: Y / Y.sum(axis=1, keepdims=True)",  # on the hyperplane of g = 1
            "lambda W, T, b, Y: None",
        ],
    ),
    "ex-quadratic-points": (
        "lambda S: (lambda E: (E / E[0])[1:].T)(np.linalg.eigh(S)[1])",
        ["lambda S: np.linalg.eigh(S)[1][1:].T", "lambda S: np.eye(len(S))[:, 1:]"],  # not scaled; any points
    ),
    "ex-infinite-without": (
        "lambda K, Y, lam, i: (lambda I: Y[i] - (I @ Y)[i] / I[i, i])(np.linalg.inv(K + lam * np.eye(len(K))))",
        [
            "lambda K, Y, lam, i: K[i] @ np.linalg.solve(K + lam * np.eye(len(K)), Y)",  # point i still in it
            "lambda K, Y, lam, i: (lambda I: Y[i] - lam * (I @ Y)[i])(np.linalg.inv(K + lam * np.eye(len(K))))",
        ],
    ),
    "ex-kip-labels": (
        "lambda K_SS, K_TS, Y, lam_S: (lambda alpha: K_SS @ alpha + lam_S * alpha)(np.linalg.lstsq(K_TS, Y)[0])",
        ["lambda K_SS, K_TS, Y, lam_S: K_SS @ np.linalg.lstsq(K_TS, Y)[0]"],  # lam_S forgotten
    ),
    "ex-kip-long": (
        "lambda Phi, Y: (np.vstack([Phi, 0 * Phi[:1]]), np.vstack([Y, 1 + 0 * Y[:1]]))",
        ["lambda Phi, Y: (Phi, Y)", "lambda Phi, Y: (Phi, 2 * Y)"],  # not longer; the second equation lost
    ),
    "ex-scale-centre": (
        "lambda s: s.G[:-1, :-1] - np.outer(s.G[-1, :-1], s.G[-1, :-1]) / s.n",
        ["lambda s: s.G[:-1, :-1]", "lambda s: s.G[:-1, :-1] - np.outer(s.G[-1, :-1], s.G[-1, :-1])"],
    ),
    "ex-scale-downdate": (
        "lambda R, x: (lambda q: np.linalg.qr(R - (1 - np.sqrt(1 - q @ q)) / (q @ q) * np.outer(q, q @ R))[1])("
        "np.linalg.solve(R.T, x))",
        [
            "lambda R, x: R",  # nothing taken out
            "lambda R, x: (lambda w, V: np.linalg.qr((V * np.sqrt(abs(w))).T)[1])("
            "*np.linalg.eigh(R.T @ R - np.outer(x, x)))",  # through the Gram matrix
        ],
    ),
    "ex-privacy-attack": (
        "lambda X_S, W_S, lam_S: X_S @ W_S + lam_S * np.linalg.pinv(X_S.T) @ W_S",
        ["lambda X_S, W_S, lam_S: X_S @ W_S", "lambda X_S, W_S, lam_S: (1 + lam_S) * X_S @ W_S"],
    ),
    "ex-privacy-year": (
        "lambda sensitivity: math.sqrt(12) * privacy.noise_scale(1.0, 1e-5, sensitivity)",
        [
            "lambda sensitivity: 12 * privacy.noise_scale(1.0, 1e-5, sensitivity)",  # not in squares
            "lambda sensitivity: privacy.noise_scale(1.0 / 12, 1e-5, sensitivity)",  # epsilon shared out
        ],
    ),
    "ex-your-weights": (
        "lambda X, y, w: (np.sqrt(w)[:, None] * (X - np.average(X, 0, w)), np.sqrt(w) * (y - np.average(y, 0, w)))",
        [
            "lambda X, y, w: (np.sqrt(w)[:, None] * X, np.sqrt(w) * y)",  # no means
            "lambda X, y, w: (np.sqrt(w)[:, None] * (X - X.mean(0)), np.sqrt(w) * (y - y.mean()))",  # plain means
            "lambda X, y, w: (w[:, None] * (X - np.average(X, 0, w)), w * (y - np.average(y, 0, w)))",  # no roots
            "lambda X, y, w: (lambda A, b: (A - A.mean(0), b - b.mean()))(np.sqrt(w)[:, None] * X, np.sqrt(w) * y)",
        ],
    ),
    "ex-results-pays": (
        "lambda n, p: (n + 9 * p) // (2 * n) + 1",
        ["lambda n, p: (n + 9 * p) // (2 * n)", "lambda n, p: 24"],
    ),
    "ex-compare-between": (
        "lambda r, s: (np.diag(np.arange(1.0, s + 1)), np.eye(r)[np.arange(s) % r])",
        [
            "lambda r, s: (np.eye(s), np.eye(r)[np.arange(s) % r])",  # one eigenvalue
            "lambda r, s: (np.diag(np.arange(1.0, s + 1)), np.eye(s, r))",  # eigenvalues without targets
            "lambda r, s: (np.diag(np.arange(1.0, s + 1)), np.ones((s, r)))",  # a model of rank one
        ],
    ),
}


# What each exercise asks for, computed by the package: true for the right numbers, false for others.


def ex_ridge_hand(lam):
    W = krr.fit(np.array([[1.0], [3.0]]), np.array([[2.0], [1.0]]), lam).item()
    return abs(W - 0.25) < 1e-6


def ex_ridge_half(lam):
    return abs(0.1**2 / (0.1**2 + lam) - 0.5) < 1e-3


def ex_necessity_count(exact, decisions):
    W = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    centred = W - W.mean(axis=1, keepdims=True)
    return (exact, decisions) == (distill.minimal_points(W), distill.minimal_points(centred))


def ex_necessity_one_point(*numbers):
    x, y = np.array([numbers[:3]], dtype=float), np.array([numbers[3:]], dtype=float)
    return measure.verify(x, y, 1.0, np.array([[1.0, 2.0], [2.0, 4.0], [2.0, 4.0]])).exact


def ex_necessity_cutoff(rtol):
    return rtol >= 0 and distill.minimal_points(np.diag([1.0, 1e-2, 1e-4, 3e-8]), rtol=rtol) == 3


def ex_two_branches(*points):
    fits = [krr.fit(np.array([[float(t)]]), np.array([[1.0]]), 0.03).item() for t in points]
    return np.allclose(fits, 2.5, rtol=1e-9) and points[0] != points[1]


@cache
def smallest_factor():
    data = datasets.fashion_sample()
    X = datasets.standardize(data.X_train).X_train
    W = krr.fit(X, datasets.one_hot(data.y_train), 1e3)
    return np.sqrt(1e3 / distill.largest_lam(W, np.eye(10)))


def ex_scale(c):
    return abs(c / smallest_factor() - 1) <= 0.01


def ex_nearest_hand(distance):
    points, W = np.array([[3.0, 0, 1], [0, 4, 1]]), np.array([[0.0], [0], [2]])
    return abs(nearest.nearest_lower_bound(points, W) - distance) < 1e-9


def ex_fewer_tie(lam):
    by_hand = np.diag([3.0, 2.0]), 1, np.diag([1.0, 4.0])
    below, above = (frontier.truncate(*by_hand, c * lam).W[0, 0] for c in (1 - 1e-6, 1 + 1e-6))
    return below < above


def ex_fewer_every(*numbers):
    data = np.diag([2.0, 2.0, 1.0]), np.array([[1.0], [1.0], [3.0]])
    points = np.reshape(numbers[:6], (2, 3)) * 1.0, np.reshape(numbers[6:], (2, 1)) * 1.0
    fits = [[krr.fit(*pair, lam) for lam in (0.1, 1.0, 10.0)] for pair in (data, points)]
    return np.allclose(*fits, rtol=1e-4)


def ex_invert(*x):
    phi = maps.Chain([maps.Linear(np.array([[1.0, 1.0], [0.0, 1.0]])), maps.LeakyReLU(0.25)])
    return np.allclose(phi(np.array([x], dtype=float)), [[2, -1]])


def ex_nearer(*x):
    phi = maps.Chain([maps.LeakyReLU(0.5), maps.Linear(np.ones((2, 1)))])
    return np.allclose(phi(np.array([x], dtype=float)), 1) and np.hypot(x[0] - 4, x[1] + 2) < 1.79


def ex_fourier_factor(*answer):
    solved = maps.into_cube(np.array([[2.0] + 7 * [0.0]]), np.ones((1, 1)), 0.8, margin=0)
    return np.allclose(answer, (solved.c, solved.lam_S))


def ex_linear_one_point(x, label):
    return np.allclose(krr.fit(np.array([[x, 1.0]]), np.array([[1.0 * label]]), 0.0).ravel(), [3, -2])


def ex_parabola_partner(second):
    Phi_S = np.array([[1.0, x, x**2] for x in (3.0, float(second))])
    return np.allclose(krr.fit(Phi_S, Phi_S @ np.array([[1.0], [1.0], [0.0]]), 0.0).ravel(), [1, 1, 0])


def ex_point_count(*counts):
    return counts == (generic_count(2000, 784, 10), generic_count(2000, 784, 9))


def ex_infinite_label(label):
    distances = np.subtract.outer([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    return abs(krr.fit_dual(2.0 ** -(distances**2), np.array([[1.5], [1.5], [float(label)]]), 0.0)[2, 0]) < 1e-9


def ex_infinite_parabola(*numbers):
    grid, Z, Y_S = np.linspace(-2, 3, 101), np.array(numbers[:2]), np.array(numbers[2:], dtype=float)[:, None]
    alpha = krr.fit_dual((1.0 + np.outer(Z, Z)) ** 2, Y_S, 0.0)
    return np.allclose(((1.0 + np.outer(grid, Z)) ** 2 @ alpha).ravel(), 1 + grid**2)


def ex_kip_excess(excess):
    of_W, of_W_0 = ((v - 1) ** 2 + (2 * v - 4) ** 2 for v in (1.0, 1.8))
    return abs(of_W - of_W_0 - excess) < 1e-9


def ex_scale_hand(loss):
    s = Statistics(1, 1).update(np.array([[1.0], [2.0], [2.0]]), np.array([[1.0], [3.0], [1.0]]))
    return abs(loss - s.squared_loss(s.solve(0.0))) < 1e-6


def ex_scale_cancel(share):
    stay = round(100_000 * share)
    s = Statistics(1, 1).update(np.ones((100_000, 1)), np.ones((100_000, 1)))
    found = s.remove(np.ones((100_000 - stay, 1)), np.ones((100_000 - stay, 1))).cancellation
    return abs(found - 1000) < 10


def ex_privacy_one_sample(x, y):
    return np.allclose(krr.fit(np.array([[1.0, x, x**2]]), np.array([[1.0 * y]]), 0.5).ravel(), [2, 6, 18])


def ex_privacy_replace(most):
    """No pair of samples moves the sums further, and one of them does so."""
    moves = []
    for t in (*np.random.default_rng(0).uniform(-1, 1, 200), -0.5):
        f, g = np.array([[1.0, 0.0]]), np.array([[t, np.sqrt(1 - t * t)]])
        G, B = f.T @ f - g.T @ g, f.T - g.T  # the same target, y = 1
        moves.append(np.hypot(np.linalg.norm(G), np.linalg.norm(B)))
    return abs(most / max(moves) - 1) <= 0.01


@cache
def distilled_digits():
    data = datasets.digits()
    X = data.X_train.reshape(len(data.X_train), -1) / 16.0
    return DistilledRidgeClassifier(lam_s=0.02, lam=5.0).fit(X, data.y_train)


def ex_your_alpha(alpha):
    found = distilled_digits()
    raw = Ridge(alpha=float(alpha), solver="svd").fit(255 * found.X_distilled_, found.y_distilled_)
    return measure.relative_error(255 * raw.coef_, found.coef_) < 1e-9


@cache
def smallest_sets():
    rng, y = np.random.default_rng(0), np.arange(600)
    X, targets = rng.normal(size=(600, 50)), rng.normal(size=(600, 3))
    cases = (
        (DistilledRidgeClassifier(), X, y % 7),
        (DistilledRidge(), X, targets),
        (DistilledRidgeClassifier(), X[:, :20], y % 100),
    )
    return tuple(estimator.fit(X, y).n_points_ for estimator, X, y in cases)


def ex_your_points(*counts):
    return counts == smallest_sets()


def ex_results_bytes(rows):
    """Sums of the largest products up to `rows` of them are exact, and one more is not sure to be."""
    return rows * 255**2 <= 2**24 < (rows + 1) * 255**2 and rows == int(rows)


def ex_patch_answers(*values):
    patch = np.array([7.0, 1.0])
    return np.allclose(values, (patch - patch.mean()) / np.sqrt(patch.var() + 16))


def ex_photograph_count(count):
    return count == generic_count(3200, 3072, 9)


def ex_compare_table(*counts):
    table = np.random.default_rng(1).normal(size=(500, 28))
    table, targets = np.concatenate([table, table[:, :2]], axis=1), table[:, :5] ** 3
    one = distill.minimal_points(krr.fit(table, targets, 1.0))
    return counts == (one, len(frontier.every_lambda(table, targets)[0]))


def ex_compare_counts(*counts):
    return counts == (400, generic_count(400, 100, 4), generic_count(400, 100, 3))


COMPUTED = {
    name.replace("_", "-"): function for name, function in globals().items() if name.startswith("ex_")
}
