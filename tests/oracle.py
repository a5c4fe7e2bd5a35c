"""Ridge regression on arrays as they are stored, in as many digits as it takes: mpmath, no line shared with ddref.

What training means. At lam > 0 the one solution of ``(Phi^T Phi + lam I) W = Phi^T Y`` for the stored numbers, nothing
cut. At lam = 0 the least-norm solution after singular values up to `cut` times the largest are taken for zero, the
rule of NumPy, SciPy and PyTorch: of rows that are dependent up to rounding, the stored numbers are independent by
chance, and without a cut each last bit would decide about the model. A singular value that is
about as far from the cutoff as an SVD in the dtype errs is kept by one library and cut by another: `models` gives both.
"""

import math

import mpmath
import numpy as np


def models(Phi, Y, lam, *, cut=None):
    """The models of exact training, as mpmath matrices in object arrays; more where a singular
    value is within eps of the cutoff.

    `cut`: relative to the largest singular value, default max(m, p) * eps of the dtype.
    """
    cut = max(Phi.shape) * float(np.finfo(Phi.dtype).eps) if cut is None else cut
    if not np.any(Phi):
        return [exact(np.zeros((Phi.shape[1], Y.shape[1])))]
    s, unit = singular_values(Phi)
    with mpmath.workdps(digits_for(s, unit, lam)):
        if lam > 0 or s[-1] > 10 * cut * s[0]:
            return [solved(exact(Phi), exact(Y), mpmath.mpf(lam))]
        return least_norm(exact(Phi), exact(Y), cut, Phi.dtype)


def digits_for(s, unit, lam):
    """Digits in which the Gram matrix of features with these singular values is solved to 40."""
    if lam > 0:
        ratio = mpmath.mpf(lam) / mpmath.mpf(unit) ** 2
        return 45 + max(0, int(mpmath.log10((1 + ratio) / ratio)))
    return 80


def models_with_intercept(Phi, Y, lam):
    """(W, b, centred rows, centred labels) of exact training with an intercept that is not penalised.

    At lam = 0 the cutoff is relative to the rows before centring: below it, differences of rows are rounding.
    """
    s, unit = singular_values(Phi)
    with mpmath.workdps(digits_for(s, unit, lam)):
        P, T = exact(Phi), exact(Y)
        mean, mean_Y = P.sum(0) / len(P), T.sum(0) / len(T)
        P, T, cut = P - mean, T - mean_Y, max(Phi.shape) * float(np.finfo(Phi.dtype).eps)
        if not np.any(Phi != Phi[:1]):
            found = [exact(np.zeros((Phi.shape[1], Y.shape[1])))]
        elif lam > 0:
            found = [solved(P, T, mpmath.mpf(lam))]
        else:
            found = least_norm(P, T, cut, Phi.dtype, s[0] * mpmath.mpf(unit))
        return [(W, mean_Y[None, :] - mean[None, :] @ W, P, T) for W in found]


def solved(P, T, lam):
    """``(P^T P + lam I)^-1 P^T T`` from the smaller of the two Gram matrices."""
    m, p = P.shape
    if m <= p:
        K = P @ P.T
        K[np.diag_indices(m)] += lam
        return P.T @ cholesky_solve(K, T)
    G = P.T @ P
    G[np.diag_indices(p)] += lam
    return cholesky_solve(G, P.T @ T)


def cholesky_solve(A, B):
    """``A^-1 B`` for a positive definite A, by elimination."""
    A, B, n = A.copy(), B.copy(), len(A)
    for i in range(n):
        factors = A[i + 1 :, i] / A[i, i]
        A[i + 1 :, i + 1 :] -= np.outer(factors, A[i, i + 1 :])
        B[i + 1 :] -= np.outer(factors, B[i])
    for i in reversed(range(n)):
        B[i] = (B[i] - A[i, i + 1 :] @ B[i + 1 :]) / A[i, i] if i + 1 < n else B[i] / A[i, i]
    return B


def least_norm(P, T, cut, dtype, size=None):
    """The least-norm solutions for every cutoff that rounding of the singular values may mean."""
    wide = P.shape[0] <= P.shape[1]
    w, Q = mpmath.eigsy(mpmath.matrix((P @ P.T if wide else P.T @ P).tolist()))
    w, Q = np.array(list(w), dtype=object), np.array(Q.tolist(), dtype=object)
    top = max(max(w), mpmath.mpf(size or 0) ** 2)
    found = []
    for shift in (0, 1, -1):  # the error of an SVD in the dtype
        level = mpmath.mpf(cut) + shift * float(np.finfo(dtype).eps)
        kept = [i for i in range(len(w)) if w[i] > top * max(level, 0) ** 2]
        if kept not in found:
            found.append(kept)
    models = []
    for kept in found:
        V, inverse = Q[:, kept], np.array([1 / w[i] for i in kept], dtype=object)
        if not kept:
            models.append(exact(np.zeros((P.shape[1], T.shape[1]))))
        elif wide:
            models.append(P.T @ (V @ (inverse[:, None] * (V.T @ T))))
        else:
            models.append(V @ (inverse[:, None] * (V.T @ (P.T @ T))))
    return models


def error(W_S, W):
    """Relative Frobenius error of exact W_S against the stored W, as a float; the norm of W_S where W is zero."""
    with mpmath.workdps(60):
        size = norm(exact(W))
        value = norm(W_S - exact(W)) / (size or 1)
        return float(value) if value < 1e300 else math.inf


def worst(Phi, Y, lam, W, **options):
    """The larger error of the models that exact training gives."""
    return max(error(W_S, W) for W_S in models(Phi, Y, lam, **options))


def norm(A):
    """Frobenius norm of exact numbers."""
    return mpmath.sqrt(sum((a * a for a in A.flat), mpmath.mpf(0)))


def exact(A):
    """Stored numbers as mpmath numbers, in an object array."""
    if A.dtype == object:
        return A
    flat = [mpmath.mpf(float(a)) for a in A.flat]
    found = np.empty(len(flat), dtype=object)
    found[:] = flat
    return found.reshape(A.shape)


def singular_values(A):
    """Singular values of A over a power of two, and that power: safe at any scale."""
    A = np.asarray(A, dtype=float)
    unit = 2.0 ** np.frexp(np.max(np.abs(A)))[1] if np.any(A) else 1.0
    unit = min(max(unit, 2.0**-1000), 2.0**1000)
    return np.linalg.svd(A / unit, compute_uv=False), unit


def conditioning(Phi, Y, lam, W_S, *, rows=None, labels=None):
    """How many times its last bits a set can move the exact model W_S that it trains, relative to it, to first order.

    ``s_1 (g + ||R|| / ((s^2 + lam) ||W_S||)) + g ||Y|| / ||W_S||``, g the largest gain ``s / (s^2 + lam)``, R = Y - Phi
    W_S, s the smallest singular value, 0 for what the rows do not span. Singular values up to max(m, p) * eps of the
    largest are known to be small, and nothing else: at lam > 0 the worst of them counts, at lam = 0 they are cut.
    `rows` and `labels`, before these were centred, are what has last bits.
    """
    s, unit = singular_values(Phi)
    t, unit_of_rows = (s, unit) if rows is None else singular_values(rows)
    largest = t[0] * (unit_of_rows / unit)
    unknown = max(Phi.shape) * float(np.finfo((Phi if rows is None else rows).dtype).eps) * largest
    kept = s[s > unknown]
    if not len(kept):
        return math.inf
    with mpmath.workdps(digits_for(s, unit, lam)):
        size = norm(W_S) * mpmath.mpf(unit)
        if not size:
            return math.inf
        R, T = exact(Y) - exact(Phi) @ W_S, exact(Y)
        rest, lam = norm(R) / size, mpmath.mpf(lam) / mpmath.mpf(unit) ** 2
        least_bits = mpmath.mpf(float(np.finfo(Phi.dtype if rows is None else rows.dtype).smallest_normal)) * T.size
        labels = (norm(T if labels is None else exact(labels)) + least_bits) / size
        gains = [mpmath.mpf(t) / (mpmath.mpf(t) ** 2 + lam) for t in kept]
        least = mpmath.mpf(kept[-1]) ** 2
        if lam > 0 and (len(kept) < len(s) or Phi.shape[0] < Phi.shape[1]):
            least = mpmath.mpf(0)
        if lam > 0 and len(kept) < len(s):
            worst = min(mpmath.mpf(unknown), mpmath.sqrt(lam))
            gains.append(worst / (worst**2 + lam))
        value = largest * (max(gains) + rest / (least + lam)) + max(gains) * labels
        return float(value) if value < 1e300 else math.inf
