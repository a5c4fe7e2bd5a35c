"""Ridge regression in rational arithmetic: equality without a tolerance, for small matrices of integers."""

from fractions import Fraction

import numpy as np


def fractions(A):
    """A as an array of fractions; floats count as they are stored."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(A))


def integers(rng, *shape, largest=5):
    """Random integers as fractions."""
    return fractions(rng.integers(-largest, largest + 1, size=shape).astype(object))


def eye(n):
    return fractions(np.eye(n, dtype=int).astype(object))


def equal(A, B):
    return A.shape == B.shape and bool(np.all(A == B))


def reduced(A):
    """The reduced row echelon form of A without its rows of zeros, and the columns of its pivots."""
    A, pivots = A.copy(), []
    for j in range(A.shape[1]):
        row = len(pivots)
        below = [i for i in range(row, len(A)) if A[i, j] != 0]
        if below:
            A[[row, below[0]]] = A[[below[0], row]]
            A[row] = A[row] / A[row, j]
            for i in set(range(len(A))) - {row}:
                A[i] = A[i] - A[i, j] * A[row]
            pivots.append(j)
    return A[: len(pivots)], pivots


def rank(A):
    return len(reduced(A)[1])


def inverse(A):
    """The inverse; AssertionError for a singular matrix."""
    n = len(A)
    both, pivots = reduced(np.hstack([A, eye(n)]))
    assert pivots == list(range(n)), "singular"
    return both[:, n:]


def pinv(A):
    """The pseudo-inverse, from A = C F with C the columns of pivots and F the reduced rows."""
    F, pivots = reduced(A)
    if not pivots:
        return fractions(np.zeros(A.shape[::-1], dtype=int).astype(object))
    C = A[:, pivots]
    return F.T @ inverse(F @ F.T) @ inverse(C.T @ C) @ C.T


def train(Phi, Y, lam):
    """The model of least squares with ridge `lam`; at 0 the one of least norm."""
    if lam == 0:
        return pinv(Phi) @ Y
    return inverse(Phi.T @ Phi + Fraction(lam) * eye(Phi.shape[1])) @ Phi.T @ Y


def spans(Phi, W):
    """Whether every column of W lies in the row space of Phi."""
    return rank(np.vstack([Phi, W.T])) == rank(Phi)
